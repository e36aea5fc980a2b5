/* SPDX-License-Identifier: Apache-2.0 */
#include "metad/model/topic_configs.h"

#include <inttypes.h>

#include "tests/support/test.h"

static bool holds(const struct buf *text, const char *part)
{
    return text->size > 0 && memmem(text->data, text->size, part, strlen(part)) != NULL;
}

static void every_row_of_the_table_is_whole(void **state)
{
    (void)state;
    for (unsigned i = 0; i < TOPIC_CONFIG_COUNT; i++) {
        const struct topic_config_def *d = topic_config_def((enum topic_config)i);
        assert_non_null(d->key);
        assert_true(strlen(d->doc) > 20);
        assert_int_equal(topic_config_find(d->key), i);
        if (d->broker_key != NULL)
            assert_int_equal(topic_config_find_broker_key(d->broker_key), i);
        assert_int_equal(d->choices != NULL, d->type == CONFIG_CHOICE || d->type == CONFIG_SET);
    }
    assert_int_equal(topic_config_find("no.such.key"), TOPIC_CONFIG_COUNT);
    assert_int_equal(topic_config_find_broker_key("retention.ms"), TOPIC_CONFIG_COUNT);
}

static void defaults_print_as_values_that_parse_to_them(void **state)
{
    (void)state;
    for (unsigned i = 0; i < TOPIC_CONFIG_COUNT; i++) {
        const enum topic_config config = (enum topic_config)i;
        const int64_t def = topic_config_def(config)->def;
        struct buf text = {0};
        struct buf why = {0};
        int64_t back;
        topic_config_print(config, def, &text);
        if (config == TOPIC_MIN_INSYNC_REPLICAS) { /* not set by default */
            assert_int_equal(text.size, 0);
            continue;
        }
        buf_append(&text, "", 1);
        assert_ok(topic_config_parse(config, (const char *)text.data, &back, &why));
        assert_int_equal(back, def);
        buf_deinit(&text);
    }
}

static void values_are_judged(void **state)
{
    (void)state;
    enum { BAD = INT32_MIN };
    static const struct {
        const char *key, *value;
        int64_t expected;
    } rows[] = {
        {"retention.ms", "-1", -1},
        {"retention.ms", "-2", BAD},
        {"retention.ms", "9223372036854775807", INT64_MAX},
        {"retention.ms", "9223372036854775808", BAD},
        {"retention.ms", "7d", BAD},
        {"retention.ms", "", BAD},
        {"retention.ms", " 1", BAD},
        {"retention.ms", "+1", BAD},
        {"retention.ms", "1 ", BAD},
        {"retention.ms", "--1", BAD},
        {"segment.bytes", "1048575", BAD},
        {"segment.bytes", "1048576", 1048576},
        {"segment.bytes", "2147418112", 0x7fff0000},
        {"segment.bytes", "2147418113", BAD},
        {"min.insync.replicas", "0", BAD},
        {"min.insync.replicas", "3", 3},
        {"preallocate", "true", 1},
        {"preallocate", "false", 0},
        {"preallocate", "TRUE", BAD},
        {"durability", "fsync", DURABILITY_FSYNC},
        {"durability", "page-cache", DURABILITY_PAGE_CACHE},
        {"durability", "pagecache", BAD},
        {"cleanup.policy", "delete", CLEANUP_DELETE},
        {"cleanup.policy", "compact", CLEANUP_COMPACT},
        {"cleanup.policy", "compact,delete", CLEANUP_DELETE | CLEANUP_COMPACT},
        {"cleanup.policy", " compact , delete ", CLEANUP_DELETE | CLEANUP_COMPACT},
        {"cleanup.policy", "", BAD},
        {"cleanup.policy", "compact,", BAD},
        {"cleanup.policy", ",compact", BAD},
        {"cleanup.policy", "compact delete", BAD},
        {"min.cleanable.dirty.ratio", "0", 0},
        {"min.cleanable.dirty.ratio", "0.25", 250000},
        {"min.cleanable.dirty.ratio", "1", 1000000},
        {"min.cleanable.dirty.ratio", "1.1", BAD},
        {"min.cleanable.dirty.ratio", "-0.1", BAD},
        {"min.cleanable.dirty.ratio", "nan", BAD},
        {"min.cleanable.dirty.ratio", "1e-1", BAD},
        {"min.cleanable.dirty.ratio", ".", BAD},
        {"message.timestamp.type", "LogAppendTime", TIMESTAMP_LOG_APPEND_TIME},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct buf why = {0};
        int64_t v = 77;
        const err e = topic_config_parse(topic_config_find(rows[i].key), rows[i].value, &v, &why);
        if (rows[i].expected == BAD) {
            assert_err(e, E_INVALID_CONFIG);
            assert_true(holds(&why, rows[i].key));
            assert_int_equal(v, 77);
        } else {
            assert_ok(e);
            assert_int_equal(v, rows[i].expected);
        }
        buf_deinit(&why);
    }
}

static void all_bad_keys_are_told_at_once(void **state)
{
    (void)state;
    const struct property set[] = {
        {"retention.ms", "soon"}, {"retention.bytes", "1"}, {"no.such", "1"},
        {"segment.bytes", "1"},   {"retention.bytes", "2"},
    };
    struct buf why = {0};
    assert_err(topic_configs_check(set, sizeof set / sizeof set[0], &why), E_INVALID_CONFIG);
    assert_true(holds(&why, "retention.ms=\"soon\": must be a whole number from -1 (ms)"));
    assert_true(holds(&why, "\"no.such\": no topic config has that name"));
    assert_true(holds(&why, "segment.bytes=\"1\""));
    assert_true(holds(&why, "retention.bytes: given more than once"));
    buf_deinit(&why);
}

static void configs_that_contradict_each_other_are_refused(void **state)
{
    (void)state;
    const struct property set[] = {{"min.compaction.lag.ms", "10"}, {"max.compaction.lag.ms", "9"}};
    struct buf why = {0};
    assert_err(topic_configs_check(set, 2, &why), E_INVALID_CONFIG);
    assert_true(holds(&why, "max.compaction.lag.ms"));
    buf_clear(&why);
    assert_ok(topic_configs_check(set, 1, &why));
    assert_int_equal(why.size, 0);
    buf_deinit(&why);
}

static void the_topic_wins_over_the_defaults(void **state)
{
    (void)state;
    const struct property configs[] = {{"retention.ms", "5"}, {"segment.bytes", "rubbish"}};
    const struct topic t = {.configs = configs, .config_count = 2};
    struct topic_config_values defaults;
    struct topic_config_values values;
    topic_config_values_init(&defaults);
    defaults.v[TOPIC_RETENTION_MS] = 6;
    defaults.v[TOPIC_RETENTION_BYTES] = 7;
    topic_config_values_of(&t, &defaults, &values);
    assert_int_equal(values.v[TOPIC_RETENTION_MS], 5);
    assert_int_equal(values.v[TOPIC_RETENTION_BYTES], 7);
    assert_int_equal(values.v[TOPIC_SEGMENT_BYTES], 1 << 30);
}

static void min_insync_follows_the_replication_factor(void **state)
{
    (void)state;
    static const struct {
        int64_t set;
        uint32_t factor, expected;
    } rows[] = {{0, 1, 1}, {0, 2, 1}, {0, 3, 2}, {0, 5, 2}, {1, 3, 1},
                {2, 1, 1}, {2, 2, 2}, {5, 3, 3}, {3, 3, 3}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_int_equal(topic_effective_min_insync(rows[i].set, rows[i].factor), rows[i].expected);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_of_the_table_is_whole),
        cmocka_unit_test(defaults_print_as_values_that_parse_to_them),
        cmocka_unit_test(values_are_judged),
        cmocka_unit_test(all_bad_keys_are_told_at_once),
        cmocka_unit_test(configs_that_contradict_each_other_are_refused),
        cmocka_unit_test(the_topic_wins_over_the_defaults),
        cmocka_unit_test(min_insync_follows_the_replication_factor),
    };
    return TEST_MAIN(tests, NULL, NULL);
}
