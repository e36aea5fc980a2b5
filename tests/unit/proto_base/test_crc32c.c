/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/base/crc32c.h"

#include <string.h>

#include "tests/support/test.h"

/* The definition, a bit at a time. */
static uint32_t crc32c_by_definition(uint32_t crc, const uint8_t *p, size_t size)
{
    crc = ~crc;
    for (size_t i = 0; i < size; i++) {
        crc ^= p[i];
        for (int bit = 0; bit < 8; bit++)
            crc = (crc >> 1) ^ (crc & 1 ? 0x82f63b78 : 0);
    }
    return ~crc;
}

/* RFC 3720, B.4. */
static void vectors_of_rfc_3720(void **state)
{
    (void)state;
    uint8_t bytes[32] = {0};
    assert_int_equal(crc32c(0, bytes, 32), 0x8a9136aa);
    memset(bytes, 0xff, 32);
    assert_int_equal(crc32c(0, bytes, 32), 0x62a8ab43);
    for (uint8_t i = 0; i < 32; i++)
        bytes[i] = i;
    assert_int_equal(crc32c(0, bytes, 32), 0x46dd794e);
    for (uint8_t i = 0; i < 32; i++)
        bytes[i] = (uint8_t)(31 - i);
    assert_int_equal(crc32c(0, bytes, 32), 0x113fdb5c);
    const uint8_t command[48] = {0x01, 0xc0, 0, 0, 0, 0, 0,    0, 0,    0, 0, 0,    0, 0, 0, 0,
                                 0x14, 0,    0, 0, 0, 0, 0x04, 0, 0,    0, 0, 0x14, 0, 0, 0, 0x18,
                                 0x28, 0,    0, 0, 0, 0, 0,    0, 0x02, 0, 0, 0,    0, 0, 0, 0};
    assert_int_equal(crc32c(0, command, 48), 0xd9963a56);
}

static void check_value_and_nothing(void **state)
{
    (void)state;
    assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283);
    assert_int_equal(crc32c(0, "", 0), 0);
    assert_int_equal(crc32c(0x12345678, "", 0), 0x12345678);
}

/* Goal: any size, alignment and cut gives what the definition gives. */
static void agrees_with_the_definition_however_cut(void **state)
{
    (void)state;
    static uint8_t bytes[70000];
    struct rng rng = test_rng();
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)rng_u64(&rng);
    for (int i = 0; i < 300; i++) {
        const size_t size = rng_below(&rng, i < 290 ? 2000 : sizeof bytes - 64);
        const uint8_t *p = bytes + rng_below(&rng, 64);
        const size_t cut = rng_below(&rng, size + 1);
        const uint32_t expected = crc32c_by_definition(0, p, size);
        assert_int_equal(crc32c(0, p, size), expected);
        assert_int_equal(crc32c(crc32c(0, p, cut), p + cut, size - cut), expected);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors_of_rfc_3720),
        cmocka_unit_test(check_value_and_nothing),
        cmocka_unit_test(agrees_with_the_definition_however_cut),
    };
    return TEST_MAIN(tests, NULL, NULL);
}
