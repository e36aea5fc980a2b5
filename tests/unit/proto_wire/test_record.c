/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/wire/record.h"

#include "proto/base/buf.h"
#include "proto/schema/log.pb-c.h"
#include "tests/support/test.h"

static void append(struct buf *out, const struct record *r)
{
    const size_t size = record_size(r);
    uint8_t *p = buf_reserve(out, size);
    assert_ptr_equal(record_write(p, r), p + size);
    out->size += size;
}

static void assert_none(struct slice s)
{
    assert_null(s.data);
    assert_int_equal(s.size, 0);
}

static void none_and_empty_differ(void **state)
{
    (void)state;
    struct buf bytes = {0};
    const struct record_header header = {.key = slice_of(NULL, 0), .value = slice_of("", 0)};
    append(&bytes, &(struct record){.key = slice_of("", 0), .headers = &header, .header_count = 1});
    append(&bytes, &(struct record){.offset_delta = 1, .value = slice_of("", 0)});
    /* Once on the quick way, once behind its end. */
    for (int filler = 0; filler < 20; filler++)
        append(&bytes, &(struct record){.offset_delta = 2});

    struct reader r = reader_init(buf_slice(&bytes));
    struct record_view v;
    assert_ok(record_next(&r, &v));
    assert_non_null(v.key.data);
    assert_int_equal(v.key.size, 0);
    assert_none(v.value);
    struct reader headers = reader_init(v.headers);
    struct slice key, value;
    assert_ok(record_next_header(&headers, &key, &value));
    assert_non_null(key.data);
    assert_int_equal(key.size, 0);
    assert_non_null(value.data);
    assert_err(record_next_header(&headers, &key, &value), E_END);
    assert_ok(record_next(&r, &v));
    assert_none(v.key);
    assert_non_null(v.value.data);
    assert_int_equal(v.headers.size, 0);
    buf_deinit(&bytes);
}

static void the_end_and_damage_are_told_apart(void **state)
{
    (void)state;
    struct buf bytes = {0};
    struct record_view v = {.offset_delta = 77};
    append(&bytes, &(struct record){.value = slice_str("value")});
    struct reader r = reader_init(slice_of(bytes.data, bytes.size - 1));
    assert_err(record_next(&r, &v), E_CORRUPT);
    assert_err(record_next(&r, &v), E_CORRUPT);
    assert_int_equal(v.offset_delta, 77);
    r = reader_init(buf_slice(&bytes));
    assert_ok(record_next(&r, &v));
    assert_err(record_next(&r, &v), E_END);
    assert_err(record_next(&r, &v), E_END);
    buf_deinit(&bytes);
}

static void headers_apart_are_all_found(void **state)
{
    (void)state;
    uint8_t bytes[64];
    const size_t size =
        test_unhex("0a 0f  2a 03 0a 01 61  08 05  2a 06 0a 01 62 12 01 63", bytes, sizeof bytes);
    struct reader r = reader_init(slice_of(bytes, size));
    struct record_view v;
    assert_ok(record_next(&r, &v));
    assert_int_equal(v.offset_delta, 5);
    struct reader headers = reader_init(v.headers);
    struct slice key, value;
    assert_ok(record_next_header(&headers, &key, &value));
    assert_slice_equal(key, slice_str("a"));
    assert_null(value.data);
    assert_ok(record_next_header(&headers, &key, &value));
    assert_slice_equal(key, slice_str("b"));
    assert_slice_equal(value, slice_str("c"));
    assert_err(record_next_header(&headers, &key, &value), E_END);
}

static const uint64_t numbers[] = {0, 1, 127, 128, 16383, 16384, UINT32_MAX, INT64_MAX, UINT64_MAX};
enum { NUMBERS = sizeof numbers / sizeof numbers[0] };

/* Goal: what is written reads back, here and in protobuf-c, whatever the sizes of its numbers.
 * Method: all pairs of numbers at the edges of varint sizes, each record alone (the general way)
 * and followed by others (the quick one). */
static void written_records_read_back_everywhere(void **state)
{
    (void)state;
    static uint8_t text[20000];
    memset(text, 'x', sizeof text);
    const struct record_header headers[] = {{slice_str("k"), slice_str("v")},
                                            {slice_str("none"), slice_of(NULL, 0)}};
    for (size_t i = 0; i < NUMBERS * NUMBERS; i++) {
        const uint64_t a = numbers[i % NUMBERS], b = numbers[i / NUMBERS];
        const struct record in = {
            .offset_delta = (uint32_t)a,
            .timestamp_delta = (int64_t)b,
            .key = slice_of(text, a % 20000),
            .value = slice_of(text, b % 20000),
            .headers = headers,
            .header_count = i % 3,
        };
        struct buf bytes = {0};
        append(&bytes, &in);
        const size_t alone = bytes.size;
        for (int filler = 0; filler < 20; filler++)
            append(&bytes, &(struct record){0});
        const size_t sizes[] = {alone, bytes.size};
        for (int k = 0; k < 2; k++) {
            struct reader r = reader_init(slice_of(bytes.data, sizes[k]));
            struct record_view v;
            assert_ok(record_next(&r, &v));
            assert_int_equal(v.offset_delta, in.offset_delta);
            assert_int_equal(v.timestamp_delta, in.timestamp_delta);
            assert_slice_equal(v.key, in.key);
            assert_slice_equal(v.value, in.value);
            assert_ptr_equal(r.at, bytes.data + alone);
        }
        Sluice__Records *m = sluice__records__unpack(NULL, alone, bytes.data);
        assert_non_null(m);
        assert_int_equal(m->n_record, 1);
        assert_int_equal(m->record[0]->offset_delta, in.offset_delta);
        assert_true(m->record[0]->has_offset_delta);
        assert_int_equal(m->record[0]->timestamp_delta, in.timestamp_delta);
        assert_slice_equal(slice_of(m->record[0]->value.data, m->record[0]->value.len), in.value);
        assert_int_equal(m->record[0]->n_header, in.header_count);
        if (in.header_count == 2)
            assert_false(m->record[0]->header[1]->has_value);
        sluice__records__free_unpacked(m, NULL);
        buf_deinit(&bytes);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(none_and_empty_differ),
        cmocka_unit_test(the_end_and_damage_are_told_apart),
        cmocka_unit_test(headers_apart_are_all_found),
        cmocka_unit_test(written_records_read_back_everywhere),
    };
    return TEST_MAIN(tests, NULL, NULL);
}
