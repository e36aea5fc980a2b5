/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/base/rng.h"

#include <string.h>

#include "tests/support/test.h"

static void same_seed_same_numbers(void **state)
{
    (void)state;
    struct rng a;
    struct rng b;
    rng_init(&a, 42);
    rng_init(&b, 42);
    for (int i = 0; i < 100; i++)
        assert_true(rng_u64(&a) == rng_u64(&b));
    rng_init(&b, 43);
    assert_true(rng_u64(&a) != rng_u64(&b));
}

/* First outputs of splitmix64-seeded xoshiro256** for seed 0, as the authors' reference code gives
 * them: a simulation's seed must mean the same world for ever. */
static void numbers_of_seed_zero_are_fixed(void **state)
{
    (void)state;
    struct rng r;
    rng_init(&r, 0);
    assert_true(r.s[0] == 0xe220a8397b1dcdaf);
    assert_true(r.s[1] == 0x6e789e6aa1b965f4);
    assert_true(rng_u64(&r) == 0x99ec5f36cb75f2b4);
    assert_true(rng_u64(&r) == 0xbf6e1f784956452a);
}

static void below_stays_below_and_reaches_all(void **state)
{
    (void)state;
    struct rng r = test_rng();
    unsigned seen[7] = {0};
    for (int i = 0; i < 70000; i++) {
        const uint64_t v = rng_below(&r, 7);
        assert_true(v < 7);
        seen[v]++;
    }
    /* Within eight standard deviations (sqrt(70000 * 1/7 * 6/7) is 93). */
    for (size_t i = 0; i < 7; i++)
        assert_in_range(seen[i], 10000 - 750, 10000 + 750);
    assert_int_equal(rng_below(&r, 1), 0);
    assert_true(rng_below(&r, UINT64_MAX) < UINT64_MAX);
    expect_assert_failure(rng_below(&r, 0));
}

static void uuids_differ_and_print_as_hex(void **state)
{
    (void)state;
    struct rng r;
    rng_init_from_system(&r);
    const struct uuid a = rng_uuid(&r);
    const struct uuid b = rng_uuid(&r);
    assert_memory_not_equal(&a, &b, sizeof a);
    const struct uuid known = {{0x00, 0x01, 0xab, 0xff}};
    char text[UUID_TEXT];
    uuid_text(&known, text);
    assert_string_equal(text, "0001abff000000000000000000000000");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_seed_same_numbers),
        cmocka_unit_test(numbers_of_seed_zero_are_fixed),
        cmocka_unit_test(below_stays_below_and_reaches_all),
        cmocka_unit_test(uuids_differ_and_print_as_hex),
    };
    return TEST_MAIN(tests, NULL, NULL);
}
