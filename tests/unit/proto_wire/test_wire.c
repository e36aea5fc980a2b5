/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/wire/wire.h"
#include "tests/support/test.h"

static void tags_and_lengths_have_at_most_five_bytes(void **state)
{
    (void)state;
    static const struct {
        const char *hex;
        uint32_t value;
        bool good;
    } cases[] = {
        {"00", 0, true},
        {"7f", 127, true},
        {"80 01", 128, true},
        {"ff ff ff ff 0f", UINT32_MAX, true},
        {"81 80 80 80 00", 1, true},
        {"ff ff ff ff 1f", 0, false},
        {"81 80 80 80 80 00", 0, false},
        {"80", 0, false},
        {"", 0, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t bytes[8];
        struct reader r =
            reader_init(slice_of(bytes, test_unhex(cases[i].hex, bytes, sizeof bytes)));
        assert_int_equal(wire_varint32(&r), cases[i].value);
        assert_int_equal(!r.failed, cases[i].good);
        assert_true(reader_done(&r));
    }
}

static void a_prefix_beyond_the_end_fails(void **state)
{
    (void)state;
    const uint8_t bytes[] = {3, 'a', 'b'};
    struct reader r = reader_init(slice_of(bytes, sizeof bytes));
    assert_int_equal(wire_prefixed(&r).size, 0);
    assert_err(reader_end(&r), E_CORRUPT);
}

/* The definition, one code point at a time. */
static bool is_text_slowly(const uint8_t *p, size_t size)
{
    for (size_t i = 0; i < size;) {
        const uint8_t b = p[i];
        const size_t length = b < 0x80       ? 1
                              : b >> 5 == 6  ? 2
                              : b >> 4 == 14 ? 3
                              : b >> 3 == 30 ? 4
                                             : 0;
        if (length == 0 || length > size - i)
            return false;
        uint32_t c = length == 1 ? b : b & (0x7fu >> length);
        for (size_t k = 1; k < length; k++) {
            if (p[i + k] >> 6 != 2)
                return false;
            c = c << 6 | (p[i + k] & 0x3f);
        }
        static const uint32_t lowest[] = {0, 1, 0x80, 0x800, 0x10000};
        if (c < lowest[length] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
            return false;
        i += length;
    }
    return true;
}

static void every_short_sequence_is_judged_as_unicode_defines(void **state)
{
    (void)state;
    for (uint32_t v = 0; v < 1u << 24; v += v < 1u << 16 ? 1 : 7) {
        const uint8_t bytes[] = {(uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v};
        for (size_t from = 0; from < 3; from++)
            if (wire_is_text(slice_of(bytes + from, 3 - from)) !=
                is_text_slowly(bytes + from, 3 - from))
                fail_msg("%02x %02x %02x from %zu", bytes[0], bytes[1], bytes[2], from);
    }
}

/* Goal: the eight-byte steps lose nothing. Method: random text with a few arbitrary bytes in it,
 * against the definition. */
static void long_text_is_judged_as_unicode_defines(void **state)
{
    (void)state;
    static const char *const pieces[] = {"a", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x90\x9f",
                                         "plain text"};
    struct rng r = test_rng();
    unsigned good = 0;
    for (int round = 0; round < 20000; round++) {
        uint8_t bytes[128];
        size_t size = 0;
        while (size < 100 && rng_below(&r, 20)) {
            const char *piece = pieces[rng_below(&r, 5)];
            memcpy(bytes + size, piece, strlen(piece));
            size += strlen(piece);
        }
        if (size && rng_below(&r, 3) == 0)
            bytes[rng_below(&r, size)] = (uint8_t)(rng_below(&r, 8) ? rng_u64(&r) : 0);
        const bool expected = is_text_slowly(bytes, size);
        good += expected;
        assert_int_equal(wire_is_text(slice_of(bytes, size)), expected);
    }
    assert_in_range(good, 5000, 19000);
}

static void counting_and_writing_agree(void **state)
{
    (void)state;
    struct wire_out count = {0};
    uint8_t bytes[64];
    struct wire_out written = {.p = bytes};
    struct wire_out *outs[] = {&count, &written};
    for (int i = 0; i < 2; i++) {
        wire_put_uint(outs[i], 1, UINT64_MAX);
        wire_put_int(outs[i], 2047, -1);
        wire_put_bytes(outs[i], 3, slice_str("abc"));
        wire_put_some(outs[i], 4, slice_of(NULL, 0));
        wire_put_prefix(outs[i], 16, 300);
        wire_put_elsewhere(outs[i], 300);
    }
    assert_int_equal(count.size, written.size);
    assert_int_equal(written.p - bytes + 300, written.size);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tags_and_lengths_have_at_most_five_bytes),
        cmocka_unit_test(a_prefix_beyond_the_end_fails),
        cmocka_unit_test(every_short_sequence_is_judged_as_unicode_defines),
        cmocka_unit_test(long_text_is_judged_as_unicode_defines),
        cmocka_unit_test(counting_and_writing_agree),
    };
    return TEST_MAIN(tests, NULL, NULL);
}
