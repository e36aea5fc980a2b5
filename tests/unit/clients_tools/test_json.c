/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/tools/json.h"
#include "tests/support/test.h"

#include <math.h>

static void objects_and_arrays_get_their_commas(void **state)
{
    (void)state;
    struct buf out = {0};
    struct json j = json_to(&out);
    json_begin(&j, '{');
    json_member_str(&j, "name", "t");
    json_key(&j, "parts");
    json_begin(&j, '[');
    for (int i = 0; i < 2; i++) {
        json_begin(&j, '{');
        json_member_int(&j, "id", i);
        json_end(&j, '}');
    }
    json_begin(&j, '[');
    json_end(&j, ']');
    json_end(&j, ']');
    json_member_bool(&j, "up", true);
    json_key(&j, "none");
    json_null(&j);
    json_member_number(&j, "rate", 1.256, 2);
    json_member_number(&j, "nan", NAN, 2);
    json_end(&j, '}');
    assert_slice_equal(buf_slice(&out),
                       slice_str("{\"name\":\"t\",\"parts\":[{\"id\":0},{\"id\":1},[]],\"up\":true,"
                                 "\"none\":null,\"rate\":1.26,\"nan\":null}"));
    buf_deinit(&out);
}

static void assert_string(struct slice in, const char *expected)
{
    struct buf out = {0};
    struct json j = json_to(&out);
    json_bytes(&j, in);
    assert_slice_equal(buf_slice(&out), slice_str(expected));
    buf_deinit(&out);
}

static void strings_are_escaped(void **state)
{
    (void)state;
    assert_string(slice_str(""), "\"\"");
    assert_string(slice_str("a\"b\\c/\b\f\n\r\t\x01\x7f"),
                  "\"a\\\"b\\\\c/\\b\\f\\n\\r\\t\\u0001\\u007f\"");
    assert_string(slice_of("a\0b", 3), "\"a\\u0000b\"");
    assert_string(slice_str("h\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"),
                  "\"h\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\"");
    assert_string(slice_of(NULL, 0), "null");
}

static void what_is_not_utf8_becomes_base64(void **state)
{
    (void)state;
    assert_string(slice_str("\xff"), "{\"base64\":\"/w==\"}");
    assert_string(slice_str("\xff\xfe"), "{\"base64\":\"//4=\"}");
    assert_string(slice_str("\xff\xfe\x01"), "{\"base64\":\"//4B\"}");
    assert_string(slice_str("\xff\xfe\x01\x02"), "{\"base64\":\"//4BAg==\"}");
}

static void text_that_is_not_utf8_is_mended(void **state)
{
    (void)state;
    struct buf out = {0};
    struct json j = json_to(&out);
    json_str(&j, "a\xff"
                 "b\xc3");
    assert_slice_equal(buf_slice(&out), slice_str("\"a\xef\xbf\xbd"
                                                  "b\xef\xbf\xbd\""));
    buf_deinit(&out);
}

static void utf8_is_told_from_other_bytes(void **state)
{
    (void)state;
    const char *const good[] = {"",
                                "a",
                                "\x7f",
                                "\xc2\x80",
                                "\xdf\xbf",
                                "\xe0\xa0\x80",
                                "\xed\x9f\xbf",
                                "\xee\x80\x80",
                                "\xf0\x90\x80\x80",
                                "\xf4\x8f\xbf\xbf"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(is_utf8(slice_str(good[i])));
    const char *const bad[] = {"\x80",
                               "\xc0\x80",
                               "\xc1\xbf",
                               "\xc2",
                               "\xe0\x9f\xbf",
                               "\xed\xa0\x80",
                               "\xe2\x82",
                               "\xf0\x8f\xbf\xbf",
                               "\xf4\x90\x80\x80",
                               "\xf5\x80\x80\x80",
                               "\xf0\x9f\x98",
                               "\xe2\x82\x28"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(is_utf8(slice_str(bad[i])));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(objects_and_arrays_get_their_commas),
        cmocka_unit_test(strings_are_escaped),
        cmocka_unit_test(what_is_not_utf8_becomes_base64),
        cmocka_unit_test(text_that_is_not_utf8_is_mended),
        cmocka_unit_test(utf8_is_told_from_other_bytes),
    };
    return TEST_MAIN(tests, NULL, NULL);
}
