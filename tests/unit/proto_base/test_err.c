/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/base/err.h"

#include <errno.h>

#include "tests/support/test.h"

static void errors_have_name_class_and_text(void **state)
{
    (void)state;
    assert_string_equal(err_name(OK), "OK");
    assert_string_equal(err_name(E_CORRUPT), "E_CORRUPT");
    assert_int_equal(err_class(E_NOT_LEADER), CLASS_REROUTE);
    assert_int_equal(err_class(E_STORAGE), CLASS_STORAGE);
    assert_string_equal(err_text(E_NO_SPACE), "the disk of the partition is full");
    assert_string_equal(err_class_name(CLASS_REROUTE), "refresh metadata");
    assert_string_equal(err_class_name((enum err_class)99), "fatal");
}

static void numbers_are_unique(void **state)
{
    (void)state;
    static const int numbers[] = {
#define X(name, number, class_, text) number,
        ERR_TABLE(X)
#undef X
    };
    const size_t count = sizeof numbers / sizeof numbers[0];
    for (size_t i = 0; i < count; i++)
        for (size_t j = i + 1; j < count; j++)
            assert_int_not_equal(numbers[i], numbers[j]);
}

static void unknown_wire_numbers_read_as_unknown(void **state)
{
    (void)state;
    assert_err(err_from_wire(2), E_CORRUPT);
    assert_err(err_from_wire(999999), E_UNKNOWN);
    /* Signals never travel: a peer that sends one says nothing. */
    assert_err(err_from_wire(E_WOULD_BLOCK), E_UNKNOWN);
}

static void signals_and_bugs_travel_as_fatal(void **state)
{
    (void)state;
    assert_int_equal(err_wire_class(E_WOULD_BLOCK), CLASS_FATAL);
    assert_int_equal(err_wire_class(E_BUG), CLASS_FATAL);
    assert_int_equal(err_wire_class(E_CORRUPT), CLASS_RETRY);
    assert_int_equal(err_wire_code(E_BUG), E_UNKNOWN);
    assert_int_equal(err_wire_code(E_NO_SPACE), 1001);
}

static void every_wire_number_comes_back(void **state)
{
    (void)state;
#define X(name, number, class_, text)                                                              \
    if ((number) >= 0)                                                                             \
        assert_err(err_from_wire(err_wire_code(name)), name);
    ERR_TABLE(X)
#undef X
}

static void errno_maps_to_storage_unless_told_otherwise(void **state)
{
    (void)state;
    assert_err(err_from_errno(0), OK);
    assert_err(err_from_errno(ENOSPC), E_NO_SPACE);
    assert_err(err_from_errno(EDQUOT), E_NO_SPACE);
    assert_err(err_from_errno(ENOENT), E_NOT_FOUND);
    assert_err(err_from_errno(EEXIST), E_EXISTS);
    assert_err(err_from_errno(EAGAIN), E_WOULD_BLOCK);
    assert_err(err_from_errno(ENOMEM), E_NO_MEMORY);
    assert_err(err_from_errno(EIO), E_STORAGE);
    assert_err(err_from_errno(EROFS), E_STORAGE);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_have_name_class_and_text),
        cmocka_unit_test(numbers_are_unique),
        cmocka_unit_test(unknown_wire_numbers_read_as_unknown),
        cmocka_unit_test(signals_and_bugs_travel_as_fatal),
        cmocka_unit_test(every_wire_number_comes_back),
        cmocka_unit_test(errno_maps_to_storage_unless_told_otherwise),
    };
    return TEST_MAIN(tests, NULL, NULL);
}
