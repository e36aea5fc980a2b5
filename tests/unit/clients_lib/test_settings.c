/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/test.h"

#include <string.h>

#include "clients/lib/backoff.h"
#include "clients/lib/problem.h"
#include "clients/lib/settings.h"
#include "proto/wire/codec.h"

static void defaults_are_the_tables(void **state)
{
    (void)state;
    struct settings s;
    sluice_config *c = sluice_config_new();
    assert_int_equal(settings_load(c, SLUICE_PRODUCER, &s, NULL), SLUICE_OK);
    assert_int_equal(s.bootstrap_count, 1);
    assert_string_equal(s.bootstrap[0].host, "localhost");
    assert_int_equal(s.bootstrap[0].port, 9290);
    assert_int_equal(s.producer.acks, -1);
    assert_int_equal(s.producer.linger_us, 5000);
    assert_int_equal(s.producer.delivery_timeout_us, 120 * 1000 * 1000);
    assert_int_equal(s.producer.codec, CODEC_NONE);
    assert_int_equal(s.producer.codec_level, CODEC_LEVEL_DEFAULT);
    assert_int_equal(s.api_timeout_ms, 60000);
    settings_deinit(&s);
    assert_int_equal(settings_load(c, SLUICE_CONSUMER, &s, NULL), SLUICE_OK);
    assert_int_equal(s.consumer.reset, RESET_LATEST);
    assert_true(s.consumer.check_crcs);
    settings_deinit(&s);
    assert_int_equal(settings_load(c, SLUICE_ADMIN, &s, NULL), SLUICE_OK);
    settings_deinit(&s);
    sluice_config_free(c);
}

static void values_are_read(void **state)
{
    (void)state;
    struct settings s;
    sluice_config *c = sluice_config_new();
    sluice_config_set(c, "bootstrap.servers", "a:1,[::1]:2,10.0.0.1:3");
    sluice_config_set(c, "acks", "1");
    sluice_config_set(c, "compression.type", "lz4");
    sluice_config_set(c, "compression.level", "7");
    sluice_config_set(c, "linger.ms", "99");
    sluice_config_set(c, "linger.ms", "0");
    assert_string_equal(sluice_config_get(c, "linger.ms"), "0");
    assert_int_equal(settings_load(c, SLUICE_PRODUCER, &s, NULL), SLUICE_OK);
    assert_int_equal(s.bootstrap_count, 3);
    assert_string_equal(s.bootstrap[1].host, "::1");
    assert_int_equal(s.producer.acks, 1);
    assert_int_equal(s.producer.codec, CODEC_LZ4);
    assert_int_equal(s.producer.codec_level, 7);
    assert_int_equal(s.producer.linger_us, 0);
    settings_deinit(&s);
    sluice_config_set(c, "acks", "all");
    assert_int_equal(settings_load(c, SLUICE_PRODUCER, &s, NULL), SLUICE_OK);
    assert_int_equal(s.producer.acks, -1);
    settings_deinit(&s);
    sluice_config_set(c, "linger.ms", NULL);
    assert_null(sluice_config_get(c, "linger.ms"));
    sluice_config_free(c);
}

static void all_mistakes_are_named_at_once(void **state)
{
    (void)state;
    struct sluice_error error;
    sluice_config *c = sluice_config_new();
    sluice_config_set(c, "bootstrap.servers", "nowhere,host:99999");
    sluice_config_set(c, "acks", "2");
    sluice_config_set(c, "linger.mss", "1");
    sluice_config_set(c, "group.id", "g");
    sluice_config_set(c, "max.poll.records", "10");
    sluice_config_set(c, "batch.size", "lots");
    assert_int_equal(sluice_config_check(c, SLUICE_PRODUCER, &error), SLUICE_E_CONFIG);
    static const char *const named[] = {"nowhere",   "host:99999",
                                        "acks",      "linger.mss",
                                        "group.id",  "max.poll.records is not a key of a producer",
                                        "batch.size"};
    for (size_t i = 0; i < sizeof named / sizeof named[0]; i++) {
        if (!strstr(error.text, named[i]))
            fail_msg("%s is not in: %s", named[i], error.text);
    }
    assert_int_equal(error.error_class, SLUICE_CLASS_CALLER);
    assert_string_equal(error.tried, "create producer");
    assert_null(strchr(error.text, '\n'));
    sluice_config_free(c);
}

static void values_that_contradict_each_other_are_named(void **state)
{
    (void)state;
    struct sluice_error error;
    sluice_config *c = sluice_config_new();
    sluice_config_set(c, "delivery.timeout.ms", "1000");
    sluice_config_set(c, "buffer.memory", "100000");
    sluice_config_set(c, "retry.backoff.ms", "2000");
    assert_int_equal(sluice_config_check(c, SLUICE_PRODUCER, &error), SLUICE_E_CONFIG);
    assert_non_null(strstr(error.text, "delivery.timeout.ms"));
    assert_non_null(strstr(error.text, "buffer.memory"));
    assert_non_null(strstr(error.text, "retry.backoff.max.ms"));
    sluice_config_free(c);
    c = sluice_config_new();
    sluice_config_set(c, "queued.max.bytes", "5000");
    sluice_config_set(c, "fetch.max.wait.ms", "30000");
    assert_int_equal(sluice_config_check(c, SLUICE_CONSUMER, &error), SLUICE_E_CONFIG);
    assert_non_null(strstr(error.text, "queued.max.bytes"));
    assert_non_null(strstr(error.text, "fetch.max.wait.ms"));
    sluice_config_free(c);
}

static void every_key_has_a_valid_default_and_a_sentence(void **state)
{
    (void)state;
    size_t count;
    const struct sluice_config_key *keys = sluice_config_keys(&count);
    assert_true(count > 20);
    for (size_t i = 0; i < count; i++) {
        static const enum sluice_role roles[] = {SLUICE_PRODUCER, SLUICE_CONSUMER, SLUICE_ADMIN};
        assert_true(keys[i].roles != 0);
        assert_true(strlen(keys[i].doc) > 10);
        for (int r = 0; r < 3; r++) {
            sluice_config *c = sluice_config_new();
            sluice_config_set(c, keys[i].key, keys[i].default_value);
            const int code = sluice_config_check(c, roles[r], NULL);
            assert_int_equal(code, keys[i].roles & roles[r] ? SLUICE_OK : SLUICE_E_CONFIG);
            sluice_config_free(c);
        }
    }
}

static void backoff_doubles_within_its_spread(void **state)
{
    (void)state;
    struct rng rng = test_rng();
    static const int64_t middle_us[] = {100000, 200000, 400000, 800000, 1000000, 1000000};
    for (unsigned i = 0; i < 6; i++) {
        for (int k = 0; k < 200; k++) {
            const int64_t us = backoff_us(100000, 1000000, i + 1, &rng);
            assert_in_range(us, middle_us[i] * 8 / 10, middle_us[i] * 12 / 10);
        }
    }
    assert_in_range(backoff_us(100000, 1000000, 4000000000u, &rng), 800000, 1200000);
    assert_in_range(backoff_us(1, 1, 1, &rng), 1, 1);
}

static void errors_say_what_was_tried_and_where(void **state)
{
    (void)state;
    struct sluice_error e;
    assert_int_equal(problem(&e, E_NOT_LEADER, "produce", "topic t", "it is %d", 7),
                     SLUICE_E_NOT_LEADER);
    assert_string_equal(e.text, "produce, topic t: it is 7 (E_NOT_LEADER)");
    assert_string_equal(e.where, "topic t");
    assert_string_equal(e.name, "E_NOT_LEADER");
    assert_int_equal(e.error_class, SLUICE_CLASS_REROUTE);
    assert_int_equal(problem(NULL, E_CORRUPT, "x", "", "y"), SLUICE_E_CORRUPT);
    char longer[5000];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = 0;
    problem(&e, E_CORRUPT, "x", longer, "%s", longer);
    assert_int_equal(strlen(e.where), sizeof e.where - 1);
    assert_int_equal(strlen(e.text), sizeof e.text - 1);
    assert_string_equal(sluice_code_name(-3), "E_CANCELLED");
    assert_string_equal(sluice_code_name(424242), "E_UNKNOWN");
    assert_int_equal(wire_error_read(slice_of("\xff", 1)).code, E_CORRUPT);
    /* code 4000, class REROUTE, a message: what this build does not know is handled by its class.
     */
    const struct wire_error w = wire_error_read(slice_of("\x08\xa0\x1f\x10\x02\x1a\x03new", 10));
    assert_int_equal(w.code, E_UNKNOWN);
    assert_int_equal(w.err_class, CLASS_REROUTE);
    assert_slice_equal(w.message, slice_str("new"));
    assert_true(class_is_retriable(w.err_class));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_the_tables),
        cmocka_unit_test(values_are_read),
        cmocka_unit_test(all_mistakes_are_named_at_once),
        cmocka_unit_test(values_that_contradict_each_other_are_named),
        cmocka_unit_test(every_key_has_a_valid_default_and_a_sentence),
        cmocka_unit_test(backoff_doubles_within_its_spread),
        cmocka_unit_test(errors_say_what_was_tried_and_where),
    };
    return TEST_MAIN(tests, NULL, NULL);
}
