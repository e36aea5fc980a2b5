/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/base/buf.h"

#include "tests/support/test.h"

static void buf_grows_and_keeps_its_bytes(void **state)
{
    (void)state;
    struct buf b = {0};
    for (int i = 0; i < 10000; i++)
        buf_append(&b, &(uint8_t){(uint8_t)i}, 1);
    assert_int_equal(b.size, 10000);
    for (size_t i = 0; i < b.size; i++)
        assert_int_equal(b.data[i], (uint8_t)i);
    buf_deinit(&b);
    assert_null(b.data);
}

static void reserve_gives_room_behind_the_bytes(void **state)
{
    (void)state;
    struct buf b = {0};
    buf_append_str(&b, "ab");
    uint8_t *p = buf_reserve(&b, 100);
    assert_ptr_equal(p, b.data + 2);
    assert_true(b.capacity - b.size >= 100);
    assert_int_equal(b.size, 2);
    buf_deinit(&b);
}

static void printf_appends(void **state)
{
    (void)state;
    struct buf b = {0};
    buf_append_str(&b, "x=");
    buf_printf(&b, "%d %s", 42, "and a tail long enough to have to grow the buffer for it");
    assert_slice_equal(buf_slice(&b),
                       slice_str("x=42 and a tail long enough to have to grow the buffer for it"));
    buf_deinit(&b);
}

static void take_moves_and_leaves_empty(void **state)
{
    (void)state;
    struct buf a = {0};
    struct buf b = {0};
    buf_append_str(&a, "moved");
    buf_take(&b, &a);
    assert_null(a.data);
    assert_int_equal(a.size, 0);
    assert_slice_equal(buf_slice(&b), slice_str("moved"));
    buf_deinit(&b);
}

static void clear_keeps_the_memory(void **state)
{
    (void)state;
    struct buf b = {0};
    buf_append_str(&b, "hello");
    const size_t capacity = b.capacity;
    buf_clear(&b);
    assert_int_equal(b.size, 0);
    assert_int_equal(b.capacity, capacity);
    buf_deinit(&b);
}

static void slice_sub_stays_inside(void **state)
{
    (void)state;
    const struct slice s = slice_str("hello");
    assert_slice_equal(slice_sub(s, 1, 3), slice_str("ell"));
    assert_slice_equal(slice_sub(s, 3, SIZE_MAX), slice_str("lo"));
    assert_int_equal(slice_sub(s, 5, 1).size, 0);
    assert_int_equal(slice_sub(s, SIZE_MAX, SIZE_MAX).size, 0);
    assert_true(slice_eq(slice_of(NULL, 0), slice_str("")));
    assert_false(slice_eq(slice_str("a"), slice_str("b")));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buf_grows_and_keeps_its_bytes),
        cmocka_unit_test(reserve_gives_room_behind_the_bytes),
        cmocka_unit_test(printf_appends),
        cmocka_unit_test(take_moves_and_leaves_empty),
        cmocka_unit_test(clear_keeps_the_memory),
        cmocka_unit_test(slice_sub_stays_inside),
    };
    return TEST_MAIN(tests, NULL, NULL);
}
