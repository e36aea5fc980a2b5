/* SPDX-License-Identifier: Apache-2.0 */
/* The sticky cursor, and the writer it is the mirror of. */
#include "proto/base/reader.h"

#include "proto/base/writer.h"
#include "tests/support/test.h"

static void values_come_back_as_written(void **state)
{
    (void)state;
    uint8_t bytes[64];
    uint8_t *p = write_u32(bytes, 0x01020304);
    p = write_u64(p, 0x1122334455667788);
    p = write_varint(p, 300);
    p = write_varint5(p, 300);
    p = write_varint(p, UINT64_MAX);
    p = write_bytes(p, "xyz", 3);
    p = write_u32_be(p, 0x01020304);
    struct reader r = reader_init(slice_of(bytes, (size_t)(p - bytes)));
    assert_int_equal(reader_u32(&r), 0x01020304);
    assert_int_equal(reader_u64(&r), 0x1122334455667788);
    assert_int_equal(reader_varint(&r), 300);
    assert_int_equal(reader_varint(&r), 300);
    assert_true(reader_varint(&r) == UINT64_MAX);
    assert_slice_equal(reader_bytes(&r, 3), slice_str("xyz"));
    assert_int_equal(reader_u8(&r), 1);
    assert_int_equal(reader_u8(&r), 2);
    assert_int_equal(reader_left(&r), 2);
    assert_ok(reader_end(&r));
}

/* Goal: every varint survives, in the size announced. Method: all lengths, then random values. */
static void varints_of_all_sizes_come_back(void **state)
{
    (void)state;
    struct rng rng = test_rng();
    for (int i = 0; i < 100000; i++) {
        uint8_t bytes[VARINT_MAX];
        const uint64_t v = rng_u64(&rng) >> rng_below(&rng, 64);
        const size_t size = (size_t)(write_varint(bytes, v) - bytes);
        assert_int_equal(size, varint_size(v));
        struct reader r = reader_init(slice_of(bytes, size));
        assert_true(reader_varint(&r) == v);
        assert_true(reader_done(&r));
        assert_ok(reader_end(&r));
        struct reader cut = reader_init(slice_of(bytes, size - 1));
        assert_true(reader_varint(&cut) == 0);
        assert_err(reader_end(&cut), E_CORRUPT);
        const int64_t s = (int64_t)v;
        assert_true(zigzag_decode(zigzag_encode(s)) == s);
        assert_true(zigzag_decode(zigzag_encode(-s)) == -s);
    }
}

static void varints_beyond_64_bits_fail(void **state)
{
    (void)state;
    const uint8_t eleven[] = {0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01};
    const uint8_t big_tenth[] = {0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x02};
    struct reader r = reader_init(slice_of(eleven, sizeof eleven));
    assert_int_equal(reader_varint(&r), 0);
    assert_err(reader_end(&r), E_CORRUPT);
    r = reader_init(slice_of(big_tenth, sizeof big_tenth));
    assert_int_equal(reader_varint(&r), 0);
    assert_err(reader_end(&r), E_CORRUPT);
}

static void a_short_read_is_remembered(void **state)
{
    (void)state;
    struct reader r = reader_init(slice_str("abc"));
    assert_int_equal(reader_u32(&r), 0);
    assert_int_equal(reader_u8(&r), 0); /* though three bytes would have been there */
    assert_true(reader_done(&r));
    assert_err(reader_end(&r), E_CORRUPT);
}

static void prefixes_longer_than_the_rest_fail(void **state)
{
    (void)state;
    struct reader r = reader_init(slice_str("\x03"
                                            "abc"));
    assert_slice_equal(reader_prefixed(&r), slice_str("abc"));
    assert_ok(reader_end(&r));
    r = reader_init(slice_str("\x04"
                              "abc"));
    assert_int_equal(reader_prefixed(&r).size, 0);
    assert_err(reader_end(&r), E_CORRUPT);
    const uint8_t huge[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 'a'};
    r = reader_init(slice_of(huge, sizeof huge));
    assert_int_equal(reader_prefixed(&r).size, 0);
    assert_err(reader_end(&r), E_CORRUPT);
}

static void skip_knows_the_wire_types_and_refuses_groups(void **state)
{
    (void)state;
    static const struct {
        unsigned wire_type;
        const char *bytes;
        size_t size;
        err end;
    } cases[] = {
        {0, "\x96\x01", 2, OK},   {1, "12345678", 8, OK},       {2, "\x02xy", 3, OK},
        {5, "1234", 4, OK},       {3, "\x0c", 1, E_CORRUPT},    {4, "", 0, E_CORRUPT},
        {6, "123", 3, E_CORRUPT}, {1, "1234567", 7, E_CORRUPT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct reader r = reader_init(slice_of(cases[i].bytes, cases[i].size));
        reader_skip(&r, cases[i].wire_type);
        assert_true(reader_done(&r));
        assert_err(reader_end(&r), cases[i].end);
    }
}

static void tags_are_number_and_wire_type(void **state)
{
    (void)state;
    uint8_t bytes[8];
    assert_int_equal(write_tag(bytes, 1, 1) - bytes, 1);
    assert_int_equal(bytes[0], 0x09);
    assert_int_equal(write_tag(bytes, 15, 2) - bytes, 1);
    assert_int_equal(bytes[0], 0x7a);
    assert_int_equal(write_tag(bytes, 16, 0) - bytes, 2);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_come_back_as_written),
        cmocka_unit_test(varints_of_all_sizes_come_back),
        cmocka_unit_test(varints_beyond_64_bits_fail),
        cmocka_unit_test(a_short_read_is_remembered),
        cmocka_unit_test(prefixes_longer_than_the_rest_fail),
        cmocka_unit_test(skip_knows_the_wire_types_and_refuses_groups),
        cmocka_unit_test(tags_are_number_and_wire_type),
    };
    return TEST_MAIN(tests, NULL, NULL);
}
