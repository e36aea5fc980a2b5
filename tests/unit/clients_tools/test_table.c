/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/tools/table.h"
#include "tests/support/test.h"

static void columns_are_as_wide_as_their_widest_cell(void **state)
{
    (void)state;
    const char *const columns[] = {"NAME", ">COUNT", "NOTE", NULL};
    struct table t;
    table_init(&t, columns);
    table_cell(&t, "a-long-name");
    table_cell(&t, "%d", 7);
    table_cell(&t, "x");
    table_cell(&t, "b");
    table_cell(&t, "%d", 1234567);
    table_cell(&t, "%s", "");
    struct buf out = {0};
    table_write(&t, &out);
    assert_slice_equal(buf_slice(&out), slice_str("NAME           COUNT  NOTE\n"
                                                  "a-long-name        7  x\n"
                                                  "b            1234567\n"));
    buf_deinit(&out);
    table_deinit(&t);
}

static void characters_count_not_bytes_and_controls_are_shown_harmless(void **state)
{
    (void)state;
    const char *const columns[] = {"A", "B", NULL};
    struct table t;
    table_init(&t, columns);
    table_cell(&t, "\xc3\xa4\xc3\xb6");
    table_cell(&t, "1");
    table_cell(&t, "a\x1b[");
    table_cell(&t, "2");
    struct buf out = {0};
    table_write(&t, &out);
    assert_slice_equal(buf_slice(&out), slice_str("A    B\n"
                                                  "\xc3\xa4\xc3\xb6   1\n"
                                                  "a?[  2\n"));
    buf_deinit(&out);
    table_deinit(&t);
}

static void a_table_without_rows_is_its_header(void **state)
{
    (void)state;
    const char *const columns[] = {"A", ">B", NULL};
    struct table t;
    table_init(&t, columns);
    struct buf out = {0};
    table_write(&t, &out);
    assert_slice_equal(buf_slice(&out), slice_str("A  B\n"));
    table_cell(&t, "half a row");
    expect_assert_failure(table_write(&t, &out));
    buf_deinit(&out);
    table_deinit(&t);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_are_as_wide_as_their_widest_cell),
        cmocka_unit_test(characters_count_not_bytes_and_controls_are_shown_harmless),
        cmocka_unit_test(a_table_without_rows_is_its_header),
    };
    return TEST_MAIN(tests, NULL, NULL);
}
