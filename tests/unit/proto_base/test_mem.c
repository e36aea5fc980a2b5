/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/base/mem.h"

#include <string.h>

#include "tests/support/test.h"

static void allocations_of_nothing_are_something(void **state)
{
    (void)state;
    void *p = mem_try_alloc(0);
    assert_non_null(p);
    mem_free(p);
    mem_free(NULL);
}

static void sizes_that_no_machine_has_return_null(void **state)
{
    (void)state;
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    /* Sanitizers end the program instead. */
    volatile size_t huge = SIZE_MAX / 2;
    assert_null(mem_try_alloc(huge));
#else
    skip();
#endif
}

static void printf_formats_into_new_memory(void **state)
{
    (void)state;
    char *s = mem_printf("%s-%d", "topic", 7);
    assert_string_equal(s, "topic-7");
    mem_free(s);
}

static void arena_is_aligned_and_bounded(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, 10000);
    size_t got = 0;
    for (size_t size = 1; size < 400; size += 13) {
        uint8_t *p = arena_alloc(&a, size);
        if (!p)
            break;
        assert_int_equal((uintptr_t)p % 16, 0);
        memset(p, 0xab, size);
        got += size;
    }
    assert_in_range(got, 1000, 10000);
    assert_true(a.used <= a.limit);
    assert_null(arena_alloc(&a, 10001));
    assert_null(arena_alloc(&a, SIZE_MAX));
    assert_null(arena_alloc(&a, SIZE_MAX - 15));
    arena_deinit(&a);
}

static void arena_never_gives_more_than_its_limit(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, 64 * 1024);
    size_t got = 0;
    while (arena_alloc(&a, 32))
        got += 32;
    assert_true(got <= 64 * 1024);
    assert_true(got >= 48 * 1024);
    arena_deinit(&a);
}

static void arena_may_be_used_up_to_the_last_byte(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, 4096);
    assert_non_null(arena_alloc(&a, 4096));
    assert_null(arena_alloc(&a, 1));
    arena_deinit(&a);
}

static void arena_reset_forgets_and_starts_again(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, 100000);
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < 20; i++)
            assert_non_null(arena_alloc(&a, 4000));
        arena_reset(&a);
        assert_true(a.used <= 8192);
    }
    assert_non_null(arena_alloc(&a, 60000));
    arena_reset(&a);
    arena_reset(&a);
    arena_deinit(&a);
    arena_deinit(&a);
}

static void arena_printf_formats_or_gives_null(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, 64);
    assert_string_equal(arena_printf(&a, "%05d", 42), "00042");
    assert_null(arena_printf(&a, "%200s", "x"));
    arena_deinit(&a);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(allocations_of_nothing_are_something),
        cmocka_unit_test(sizes_that_no_machine_has_return_null),
        cmocka_unit_test(printf_formats_into_new_memory),
        cmocka_unit_test(arena_is_aligned_and_bounded),
        cmocka_unit_test(arena_never_gives_more_than_its_limit),
        cmocka_unit_test(arena_may_be_used_up_to_the_last_byte),
        cmocka_unit_test(arena_reset_forgets_and_starts_again),
        cmocka_unit_test(arena_printf_formats_or_gives_null),
    };
    return TEST_MAIN(tests, NULL, NULL);
}
