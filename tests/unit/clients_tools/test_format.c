/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/tools/format.h"
#include "tests/support/test.h"

#include <string.h>

static void header(const struct format_record *r, size_t i, struct slice *name, struct slice *value)
{
    (void)r;
    static const char *const names[] = {"a", "b"};
    *name = slice_str(names[i]);
    *value = i == 0 ? slice_str("1") : slice_of(NULL, 0);
}

static void assert_format(const char *format, struct slice expected)
{
    const struct format_record r = {
        .topic = "t",
        .partition = 3,
        .offset = 9223372036854775807,
        .timestamp = -1,
        .key = slice_str("key"),
        .value = slice_str("value"),
        .header_count = 2,
        .header = header,
    };
    struct format f;
    struct buf message = {0};
    struct buf out = {0};
    assert_ok(format_compile(&f, format, &message));
    format_write(&f, &r, &out);
    assert_slice_equal(buf_slice(&out), expected);
    format_deinit(&f);
    buf_deinit(&out);
    buf_deinit(&message);
}

static void every_field_is_written(void **state)
{
    (void)state;
    assert_format("%v\\n", slice_str("value\n"));
    assert_format("%T-%p@%o %t %k=%v [%h] %K/%V%%",
                  slice_str("t-3@9223372036854775807 -1 key=value [a=1,b=] 3/5%"));
    assert_format("", slice_str(""));
    assert_format("plain", slice_str("plain"));
    assert_format("%v%v", slice_str("valuevalue"));
    assert_format("%%v", slice_str("%v"));
}

static void escapes_are_those_of_c(void **state)
{
    (void)state;
    assert_format("\\n\\t\\r\\\\\\x41\\xfF", slice_str("\n\t\r\\A\xff"));
    assert_format("a\\0b", slice_of("a\0b", 3));
    assert_format("\\\\n", slice_str("\\n"));
}

static void absent_keys_and_values_print_nothing(void **state)
{
    (void)state;
    const struct format_record r = {.topic = "t", .offset = 0};
    struct format f;
    struct buf message = {0};
    struct buf out = {0};
    assert_ok(format_compile(&f, "<%k><%v><%h> %K %V %o", &message));
    format_write(&f, &r, &out);
    assert_slice_equal(buf_slice(&out), slice_str("<><><> -1 -1 0"));
    format_deinit(&f);
    buf_deinit(&out);
    buf_deinit(&message);
}

static void mistakes_are_pointed_at(void **state)
{
    (void)state;
    const struct {
        const char *format;
        const char *says;
    } cases[] = {
        {"%v%q", "character 3: %q means nothing"},
        {"%", "character 1: nothing follows the %"},
        {"abc\\", "character 4: nothing follows the \\"},
        {"\\q", "\\q means nothing"},
        {"\\x4", "\\x means nothing"},
        {"%\x01", "is followed by a character that means nothing"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct format f;
        struct buf message = {0};
        assert_err(format_compile(&f, cases[i].format, &message), E_CONFIG);
        buf_append(&message, "", 1);
        assert_non_null(strstr((const char *)message.data, cases[i].says));
        buf_deinit(&message);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_field_is_written),
        cmocka_unit_test(escapes_are_those_of_c),
        cmocka_unit_test(absent_keys_and_values_print_nothing),
        cmocka_unit_test(mistakes_are_pointed_at),
    };
    return TEST_MAIN(tests, NULL, NULL);
}
