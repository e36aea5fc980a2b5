/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/base/conf.h"

#include <stdio.h>
#include <string.h>

#include "tests/support/test.h"

static const struct conf_key keys[] = {
    {"broker.id", CONF_INT, NULL, .min = 0, .max = INT32_MAX, .doc = "Who this is."},
    {"log.segment.bytes", CONF_INT, "1073741824", .min = 1048576, .max = 2147418112,
     .doc = "Size."},
    {"log.retention.ms", CONF_INT64, "604800000", .min = -1, .max = INT64_MAX, .doc = "Age.",
     .flags = CONF_DYNAMIC},
    {"auto.create.topics.enable", CONF_BOOL, "true", .doc = "Whether."},
    {"listener", CONF_STRING, "127.0.0.1:9292", .doc = "Where."},
    {"http.listener", CONF_STRING, "", .min = 0, .max = 20, .doc = "Metrics."},
    {"data.dirs", CONF_LIST, NULL, .min = 1, .max = 3, .doc = "Directories.",
     .flags = CONF_DYNAMIC},
    {"durability", CONF_ENUM, "fsync", .choices = "fsync|page-cache", .doc = "How hard."},
    {0},
};
static const struct conf_table table = {"Keys", keys};
static const struct conf_key more_keys[] = {
    {"metad.listener", CONF_STRING, "127.0.0.1:9290", .doc = "Where."},
    {"broker.id", CONF_INT, "7", .min = 0, .max = 9, .doc = "Shadowed."},
    {0},
};
static const struct conf_table more_table = {"More", more_keys};
static const struct conf_table *const one[] = {&table, NULL};
static const struct conf_table *const both[] = {&table, &more_table, NULL};

static struct conf *with_text(const char *text)
{
    struct conf *c = conf_new(one);
    conf_read_text(c, "test.properties", slice_str(text));
    return c;
}

static void assert_problems(const char *text, const char *expected)
{
    struct conf *c = with_text(text);
    assert_string_equal(conf_problems(c), expected);
    assert_err(conf_check(c), *expected ? E_CONFIG : OK);
    conf_free(c);
}

static void defaults_hold_until_set(void **state)
{
    (void)state;
    struct conf *c = conf_new(one);
    assert_ok(conf_check(c));
    assert_string_equal(conf_problems(c), "");
    assert_int_equal(conf_int(c, "log.segment.bytes"), 1073741824);
    assert_int_equal(conf_int64(c, "log.retention.ms"), 604800000);
    assert_true(conf_bool(c, "auto.create.topics.enable"));
    assert_string_equal(conf_string(c, "listener"), "127.0.0.1:9292");
    assert_int_equal(conf_enum(c, "durability"), 0);
    assert_false(conf_is_set(c, "broker.id"));
    assert_int_equal(conf_list(c, "data.dirs").count, 0);
    conf_free(c);
}

static void later_sources_win_and_are_remembered(void **state)
{
    (void)state;
    struct conf *c = conf_new(one);
    struct conf_view v;
    conf_read_text(c, "b.properties",
                   slice_str("# comment\n\n listener = a:1 \nlog.retention.ms=-1\nbroker.id=3\n"));
    conf_read_environment(c, (char *[]){(char *)"HOME=/", (char *)"SLUICE_LISTENER=b:2",
                                        (char *)"SLUICE_DURABILITY=page-cache", NULL});
    conf_set(c, "durability=fsync", CONF_ARGUMENT, "--set");
    assert_ok(conf_check(c));
    assert_int_equal(conf_int(c, "broker.id"), 3);
    assert_true(conf_find(c, "broker.id", &v));
    assert_int_equal(v.source, CONF_FILE);
    assert_string_equal(v.where, "b.properties:5");
    assert_string_equal(conf_string(c, "listener"), "b:2");
    assert_true(conf_find(c, "listener", &v));
    assert_int_equal(v.source, CONF_ENVIRONMENT);
    assert_string_equal(v.where, "environment SLUICE_LISTENER");
    assert_int_equal(conf_enum(c, "durability"), 0);
    assert_true(conf_find(c, "durability", &v));
    assert_string_equal(v.where, "--set");
    assert_true(conf_find(c, "log.segment.bytes", &v));
    assert_int_equal(v.source, CONF_DEFAULT);
    assert_string_equal(v.where, "default");
    assert_false(conf_find(c, "nothing", &v));
    conf_free(c);
}

static void values_keep_equals_signs_and_hashes(void **state)
{
    (void)state;
    struct conf *c = with_text("listener=a=b # c;d\r\nhttp.listener=\n");
    assert_ok(conf_check(c));
    assert_string_equal(conf_string(c, "listener"), "a=b # c;d");
    assert_string_equal(conf_string(c, "http.listener"), "");
    conf_free(c);
}

static void lists_are_split_and_trimmed(void **state)
{
    (void)state;
    struct conf *c = with_text("data.dirs = /a , /b b,/c");
    assert_ok(conf_check(c));
    const struct conf_list dirs = conf_list(c, "data.dirs");
    assert_int_equal(dirs.count, 3);
    assert_string_equal(dirs.items[0], "/a");
    assert_string_equal(dirs.items[1], "/b b");
    assert_string_equal(dirs.items[2], "/c");
    conf_free(c);
}

static void all_mistakes_are_reported_at_once(void **state)
{
    (void)state;
    assert_problems(
        "log.segmnt.bytes=1\n"
        "quux=1\n"
        "log.segment.bytes=1GiB\n"
        "log.segment.bytes=4096\n"
        "auto.create.topics.enable=yes\n"
        "durability=never\n"
        "a line\n"
        "=5\n"
        "data.dirs=/a,,/b\n"
        "data.dirs=/a,/b,/c,/d\n"
        "data.dirs=\n"
        "http.listener=a-very-long-name-indeed:1\n"
        "broker.id=2147483648\n",
        "test.properties:1: unknown key \"log.segmnt.bytes\" (did you mean "
        "\"log.segment.bytes\"?)\n"
        "test.properties:2: unknown key \"quux\"\n"
        "test.properties:3: log.segment.bytes: \"1GiB\" is not a whole number (plain digits, no "
        "unit)\n"
        "test.properties:4: log.segment.bytes: 4096 is below the minimum of 1048576\n"
        "test.properties:5: auto.create.topics.enable: \"yes\" is neither true nor false\n"
        "test.properties:6: durability: \"never\" is not one of fsync|page-cache\n"
        "test.properties:7: not a key=value line\n"
        "test.properties:8: not a key=value line\n"
        "test.properties:9: data.dirs: \"/a,,/b\" has an empty item\n"
        "test.properties:10: data.dirs: the number of items 4 is above the maximum of 3\n"
        "test.properties:11: data.dirs: the number of items 0 is below the minimum of 1\n"
        "test.properties:12: http.listener: the length 25 is above the maximum of 20\n"
        "test.properties:13: broker.id: 2147483648 is above the maximum of 2147483647\n");
}

static void a_key_twice_in_one_file_is_a_mistake(void **state)
{
    (void)state;
    assert_problems("broker.id=1\nbroker.id=2\n",
                    "test.properties:2: broker.id is set twice, before on line 1\n");
    struct conf *c = with_text("broker.id=1\n");
    conf_read_text(c, "other.properties", slice_str("broker.id=2\n"));
    conf_set(c, "broker.id=3", CONF_ARGUMENT, "--set");
    conf_set(c, "broker.id=4", CONF_ARGUMENT, "--set");
    assert_ok(conf_check(c));
    assert_int_equal(conf_int(c, "broker.id"), 4);
    conf_free(c);
}

static void numbers_are_plain_digits(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "", "-", "+1", "0x10", "1e6", "1 000", "1.0", "99999999999999999999", "- 1", "--1"};
    static const char *const good[] = {"0", "-1", "9223372036854775807", "007"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_err(conf_check_value(&keys[2], slice_str(bad[i]), NULL), E_INVALID_CONFIG);
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_ok(conf_check_value(&keys[2], slice_str(good[i]), NULL));
}

static void strange_characters_are_shown_escaped(void **state)
{
    (void)state;
    struct conf *c = conf_new(one);
    conf_read_text(c, "t", slice_of("brok\x1b[2Jer=1\nlistener=a\0b\n", 25));
    assert_string_equal(conf_problems(c), "t:1: unknown key \"brok\\x1b[2Jer\"\n"
                                          "t:2: listener: \"a\\x00b\" has a NUL character\n");
    conf_free(c);
}

static void environment_near_misses_are_reported_others_ignored(void **state)
{
    (void)state;
    struct conf *c = conf_new(one);
    conf_read_environment(c,
                          (char *[]){(char *)"SLUICE_SERVICE_HOST=10.0.0.1",
                                     (char *)"SLUICE_PORT=1", (char *)"SLUICE_LOG_SEGMENTS_BYTES=1",
                                     (char *)"SLUICE_", (char *)"SLUICE_=x", NULL});
    assert_string_equal(conf_problems(c),
                        "environment SLUICE_LOG_SEGMENTS_BYTES: unknown key "
                        "\"log.segments.bytes\" (did you mean \"log.segment.bytes\"?)\n");
    conf_free(c);
}

static void arguments_must_be_assignments(void **state)
{
    (void)state;
    struct conf *c = conf_new(one);
    conf_set(c, "broker.id", CONF_ARGUMENT, "--set");
    conf_set(c, "broker.id=x", CONF_ARGUMENT, "--set");
    assert_string_equal(conf_problems(c),
                        "--set: \"broker.id\" is not key=value\n"
                        "--set: broker.id: \"x\" is not a whole number (plain digits, no unit)\n");
    conf_free(c);
}

static void callers_add_problems_with_the_place_of_the_value(void **state)
{
    (void)state;
    struct conf *c = with_text("listener=nowhere\n");
    conf_problem(c, "listener", "is not host:port");
    conf_problem(c, "data.dirs", "must be given");
    assert_string_equal(conf_problems(c), "test.properties:1: listener is not host:port\n"
                                          "default: data.dirs must be given\n");
    conf_free(c);
}

static void problems_are_bounded(void **state)
{
    (void)state;
    struct buf text = {0};
    for (int i = 0; i < 100000; i++)
        buf_append_str(&text, "nonsense\n");
    struct conf *c = conf_new(one);
    conf_read_text(c, "t", buf_slice(&text));
    assert_in_range(strlen(conf_problems(c)), 1, 64 * 1024);
    conf_free(c);
    buf_deinit(&text);
}

static void tables_add_up_and_the_first_wins(void **state)
{
    (void)state;
    struct conf *c = conf_new(both);
    struct conf_view v;
    size_t count = 0;
    while (conf_at(c, count, &v))
        count++;
    assert_int_equal(count, 9);
    assert_false(conf_is_set(c, "broker.id"));
    assert_string_equal(conf_string(c, "metad.listener"), "127.0.0.1:9290");
    conf_free(c);
}

static void overrides_lie_over_static_values(void **state)
{
    (void)state;
    struct conf *c = with_text("log.retention.ms=5\ndata.dirs=/a\n");
    struct conf_view v;
    struct buf why = {0};
    assert_ok(conf_override(c, "log.retention.ms", "1000", NULL));
    assert_int_equal(conf_int64(c, "log.retention.ms"), 1000);
    assert_true(conf_find(c, "log.retention.ms", &v));
    assert_int_equal(v.source, CONF_CLUSTER);
    assert_ok(conf_override(c, "log.retention.ms", "2000", NULL));
    assert_ok(conf_override(c, "log.retention.ms", NULL, NULL));
    assert_int_equal(conf_int64(c, "log.retention.ms"), 5);
    assert_ok(conf_override(c, "data.dirs", "/x,/y", NULL));
    assert_int_equal(conf_list(c, "data.dirs").count, 2);
    assert_err(conf_override(c, "log.retention.ms", "soon", &why), E_INVALID_CONFIG);
    assert_err(conf_override(c, "listener", "a:1", &why), E_INVALID_CONFIG);
    assert_err(conf_override(c, "nothing", "1", &why), E_INVALID_CONFIG);
    assert_slice_equal(buf_slice(&why),
                       slice_str("\"soon\" is not a whole number (plain digits, no unit)"
                                 "listener cannot be changed while the program runs"
                                 "there is no key \"nothing\""));
    buf_deinit(&why);
    conf_free(c);
}

static void asking_wrongly_is_our_mistake(void **state)
{
    (void)state;
    struct conf *c = conf_new(one);
    expect_assert_failure(conf_int(c, "no.such.key"));
    expect_assert_failure(conf_int(c, "listener"));
    expect_assert_failure(conf_int(c, "broker.id"));
    conf_free(c);
}

static void files_that_cannot_be_read_are_problems(void **state)
{
    (void)state;
    struct conf *c = conf_new(one);
    conf_read_file(c, "/no/such/file");
    conf_read_file(c, "/");
    assert_string_equal(conf_problems(c),
                        "/no/such/file: cannot be opened: No such file or directory\n"
                        "/: cannot be read: Is a directory\n");
    conf_free(c);
}

static void files_are_read_whole(void **state)
{
    (void)state;
    char path[512];
    char text[2000];
    snprintf(path, sizeof path, "%s/b.properties", test_dir());
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    fprintf(f, "# %s\nlistener=%s", text, text); /* long lines, and no newline at the end */
    fclose(f);
    struct conf *c = conf_new(one);
    conf_read_file(c, path);
    assert_string_equal(conf_problems(c), "");
    assert_string_equal(conf_string(c, "listener"), text);
    conf_free(c);
}

static void the_manual_tells_all_of_a_key(void **state)
{
    (void)state;
    struct buf out = {0};
    conf_manual(&table, &out);
    buf_append(&out, "", 1);
    const char *text = (const char *)out.data;
    assert_non_null(strstr(text, "## Keys\n"));
    assert_non_null(
        strstr(text, "### `broker.id`\n\nWho this is.\n\nint, at least 0; not set by default.\n"));
    assert_non_null(strstr(text, "int, 1048576 to 2147418112; default `1073741824`.\n"));
    assert_non_null(
        strstr(text, "long, at least -1; default `604800000`; may be changed while running.\n"));
    assert_non_null(strstr(text, "boolean; default `true`.\n"));
    assert_non_null(strstr(text, "string, 0 to 20 characters; empty by default.\n"));
    assert_non_null(strstr(text, "one of `fsync`, `page-cache`; default `fsync`.\n"));
    buf_deinit(&out);
}

static void suggestions_are_near_or_none(void **state)
{
    (void)state;
    assert_string_equal(conf_key_suggest(keys, slice_str("broker.idd")), "broker.id");
    assert_string_equal(conf_key_suggest(keys, slice_str("durabilty")), "durability");
    assert_null(conf_key_suggest(keys, slice_str("zookeeper.connect")));
    assert_null(conf_key_suggest(keys, slice_str("")));
    char huge[1000];
    memset(huge, 'a', sizeof huge);
    assert_null(conf_key_suggest(keys, slice_of(huge, sizeof huge)));
    assert_ptr_equal(conf_key_find(keys, slice_str("listener")), &keys[4]);
    assert_null(conf_key_find(keys, slice_str("listen")));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_hold_until_set),
        cmocka_unit_test(later_sources_win_and_are_remembered),
        cmocka_unit_test(values_keep_equals_signs_and_hashes),
        cmocka_unit_test(lists_are_split_and_trimmed),
        cmocka_unit_test(all_mistakes_are_reported_at_once),
        cmocka_unit_test(a_key_twice_in_one_file_is_a_mistake),
        cmocka_unit_test(numbers_are_plain_digits),
        cmocka_unit_test(strange_characters_are_shown_escaped),
        cmocka_unit_test(environment_near_misses_are_reported_others_ignored),
        cmocka_unit_test(arguments_must_be_assignments),
        cmocka_unit_test(callers_add_problems_with_the_place_of_the_value),
        cmocka_unit_test(problems_are_bounded),
        cmocka_unit_test(tables_add_up_and_the_first_wins),
        cmocka_unit_test(overrides_lie_over_static_values),
        cmocka_unit_test(asking_wrongly_is_our_mistake),
        cmocka_unit_test(files_that_cannot_be_read_are_problems),
        cmocka_unit_test(files_are_read_whole),
        cmocka_unit_test(the_manual_tells_all_of_a_key),
        cmocka_unit_test(suggestions_are_near_or_none),
    };
    return TEST_MAIN(tests, NULL, NULL);
}
