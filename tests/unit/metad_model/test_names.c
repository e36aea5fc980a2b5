/* SPDX-License-Identifier: Apache-2.0 */
#include "metad/model/names.h"

#include <string.h>

#include "tests/support/test.h"

static void names_are_judged(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        bool is_valid;
    } rows[] = {
        {"a", true},          {"A.b_c-9", true}, {"...", true},   {"__internal", true},
        {"", false},          {".", false},      {"..", false},   {"a b", false},
        {"a/b", false},       {"../etc", false}, {"a\n", false},  {"caf\xc3\xa9", false},
        {"a\x1b[31m", false}, {"a:b", false},    {"a\\b", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_int_equal(topic_name_fault(slice_str(rows[i].name)) == NULL, rows[i].is_valid);
}

static void a_name_has_at_most_200_characters(void **state)
{
    (void)state;
    char name[202];
    memset(name, 'x', sizeof name);
    assert_null(topic_name_fault(slice_of(name, 200)));
    assert_non_null(topic_name_fault(slice_of(name, 201)));
}

static void a_nul_inside_is_no_name(void **state)
{
    (void)state;
    assert_non_null(topic_name_fault(slice_of("a\0b", 3)));
}

static void names_that_differ_by_dot_and_underscore_collide(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b;
        bool collide;
    } rows[] = {
        {"a.b", "a_b", true},  {"a.b", "a.b", true},   {"a.b_c", "a_b.c", true},
        {"a.b", "a-b", false}, {"a.b", "a.bc", false}, {"ab", "aB", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct slice a = slice_str(rows[i].a);
        const struct slice b = slice_str(rows[i].b);
        assert_int_equal(topic_names_collide(a, b), rows[i].collide);
        if (rows[i].collide)
            assert_int_equal(topic_name_hash(a), topic_name_hash(b));
    }
}

static void two_underscores_in_front_are_internal(void **state)
{
    (void)state;
    assert_true(topic_name_is_internal(slice_str("__consumer_offsets")));
    assert_true(topic_name_is_internal(slice_str("__")));
    assert_false(topic_name_is_internal(slice_str("_")));
    assert_false(topic_name_is_internal(slice_str("a__")));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_judged),
        cmocka_unit_test(a_name_has_at_most_200_characters),
        cmocka_unit_test(a_nul_inside_is_no_name),
        cmocka_unit_test(names_that_differ_by_dot_and_underscore_collide),
        cmocka_unit_test(two_underscores_in_front_are_internal),
    };
    return TEST_MAIN(tests, NULL, NULL);
}
