/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/base/diag.h"

#include <stdio.h>
#include <string.h>

#include "proto/base/buf.h"
#include "proto/base/check.h"
#include "tests/support/test.h"

static struct buf lines;

static void collect(void *arg, const char *line, size_t size)
{
    buf_append(arg, line, size);
}

static int setup(void **state)
{
    (void)state;
    buf_clear(&lines);
    diag_set_sink(collect, &lines);
    diag_set_level(DIAG_INFO);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    diag_set_sink(NULL, NULL);
    buf_deinit(&lines);
    return 0;
}

static const char *text(void)
{
    buf_append(&lines, "", 1);
    lines.size--;
    return (const char *)lines.data;
}

static void a_line_has_time_level_component_message_and_fields(void **state)
{
    (void)state;
    int year;
    int ms;
    char rest[128] = "";
    diag(DIAG_WARN, "log", "segment cut", "topic=%s pos=%d", DIAG_STR("t"), 42);
    assert_int_equal(
        sscanf(text(), "%4d-%*2d-%*2dT%*2d:%*2d:%*2d.%3dZ %127[^\n]", &year, &ms, rest), 3);
    assert_in_range(year, 2020, 9999);
    assert_string_equal(rest, "warn  log \"segment cut\" topic=\"t\" pos=42");
    assert_int_equal(lines.data[lines.size - 1], '\n');
}

static void lines_above_the_level_are_dropped(void **state)
{
    (void)state;
    diag(DIAG_DEBUG, "log", "detail", "x=1");
    assert_int_equal(lines.size, 0);
    diag_set_level(DIAG_DEBUG);
    diag(DIAG_DEBUG, "log", "detail", "%s", "");
    assert_true(lines.size > 0);
}

static void what_a_peer_sent_cannot_break_the_line(void **state)
{
    (void)state;
    assert_string_equal(diag_str("a\nb\x1b[2J\"\\\xff\0z", 12),
                        "\"a\\x0ab\\x1b[2J\\\"\\\\\\xff\\x00z\"");
    assert_string_equal(diag_str("", 0), "\"\"");
    assert_string_equal(diag_str(NULL, 0), "\"\"");
}

static void long_strings_are_cut_and_say_so(void **state)
{
    (void)state;
    static char huge[100000];
    memset(huge, '\n', sizeof huge);
    const char *shown = diag_str(huge, sizeof huge);
    assert_int_equal(strlen(shown), 256 * 4 + 2 + 3);
    assert_string_equal(shown + strlen(shown) - 4, "\"...");
}

static void eight_strings_live_side_by_side(void **state)
{
    (void)state;
    const char *shown[8];
    for (int i = 0; i < 8; i++)
        shown[i] = diag_str(&(char){(char)('a' + i)}, 1);
    for (int i = 0; i < 8; i++)
        assert_int_equal(shown[i][1], 'a' + i);
}

static void lines_longer_than_the_buffer_are_cut(void **state)
{
    (void)state;
    diag(DIAG_INFO, "test", "long", "%08000d", 7);
    assert_in_range(lines.size, 1000, 4096);
    assert_int_equal(lines.data[lines.size - 1], '\n');
    assert_null(memchr(lines.data, 0, lines.size));
}

static void a_limit_lets_one_through_and_counts_the_rest(void **state)
{
    (void)state;
    struct diag_limit limit = {.interval_ms = 60000};
    assert_true(diag_allowed(&limit));
    assert_false(diag_allowed(&limit));
    assert_false(diag_allowed(&limit));
    limit.next_ms = 0;
    assert_true(diag_allowed(&limit));
    assert_non_null(strstr(text(), "count=2"));
}

static void checks_call_the_hook(void **state)
{
    (void)state;
    const int two = 2;
    CHECK(two == 2);
    expect_assert_failure(CHECK(two == 3));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_line_has_time_level_component_message_and_fields, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(lines_above_the_level_are_dropped, setup, teardown),
        cmocka_unit_test(what_a_peer_sent_cannot_break_the_line),
        cmocka_unit_test(long_strings_are_cut_and_say_so),
        cmocka_unit_test(eight_strings_live_side_by_side),
        cmocka_unit_test_setup_teardown(lines_longer_than_the_buffer_are_cut, setup, teardown),
        cmocka_unit_test_setup_teardown(a_limit_lets_one_through_and_counts_the_rest, setup,
                                        teardown),
        cmocka_unit_test(checks_call_the_hook),
    };
    return TEST_MAIN(tests, NULL, NULL);
}
