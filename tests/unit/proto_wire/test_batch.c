/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/schema/log.pb-c.h"
#include "proto/wire/batch.h"
#include "proto/wire/prescan.h"
#include "proto/wire/record.h"
#include "tests/support/test.h"

#include "proto/base/buf.h"
#include "proto/base/crc32c.h"
#include "proto/base/limits.h"
#include "proto/base/mem.h"
#include "proto/base/writer.h"

enum { T0 = 1000 };

static void append_record(struct buf *out, const struct record *r)
{
    const size_t size = record_size(r);
    uint8_t *p = buf_reserve(out, size);
    assert_ptr_equal(record_write(p, r), p + size);
    out->size += size;
}

/* count records of value "value" with offset deltas 0, 1, 2 ... and timestamps T0, T0 + 1 ... */
static struct buf plain_records(uint32_t count)
{
    struct buf records = {0};
    for (uint32_t i = 0; i < count; i++)
        append_record(
            &records,
            &(struct record){.offset_delta = i, .timestamp_delta = i, .value = slice_str("value")});
    return records;
}

static struct batch batch_of(struct slice records, uint32_t count)
{
    struct batch b = {
        .base_offset = 42,
        .leader_epoch = 7,
        .attributes = CODEC_NONE,
        .record_count = count,
        .last_offset_delta = count - 1,
        .base_timestamp = T0,
        .max_timestamp = T0 + count - 1,
        .producer_id = -1,
        .producer_epoch = -1,
        .base_sequence = -1,
        .topic_crc = 0x01020304,
        .records = records,
        .has_header_crc = true,
        .has_batch_crc = true,
    };
    b.batch_crc = batch_crc(&b);
    b.header_crc = batch_header_crc(b.base_offset, b.leader_epoch, b.batch_crc);
    return b;
}

static struct buf canonical(const struct batch *b)
{
    struct buf bytes = {0};
    batch_write_header(b, buf_reserve(&bytes, batch_canonical_size(b)));
    bytes.size = BATCH_HEADER_SIZE;
    buf_append(&bytes, b->records.data, b->records.size);
    return bytes;
}

/* As a stock runtime writes it: a Segment of one batch, minimal lengths. */
static struct buf packed(const struct batch *b)
{
    Sluice__RecordBatch m = SLUICE__RECORD_BATCH__INIT;
#define SET(field)                                                                                 \
    m.field = b->field;                                                                            \
    m.has_##field = 1
    m.base_offset = (uint64_t)b->base_offset;
    m.has_base_offset = 1;
    m.leader_epoch = (uint32_t)b->leader_epoch;
    m.has_leader_epoch = 1;
    SET(header_crc);
    SET(batch_crc);
    SET(attributes);
    SET(record_count);
    SET(last_offset_delta);
    SET(base_timestamp);
    SET(max_timestamp);
    SET(producer_id);
    SET(producer_epoch);
    SET(base_sequence);
    SET(topic_crc);
#undef SET
    m.records.data = (uint8_t *)(uintptr_t)b->records.data;
    m.records.len = b->records.size;
    m.has_records = 1;
    Sluice__Segment s = SLUICE__SEGMENT__INIT;
    Sluice__RecordBatch *one = &m;
    s.batch = &one;
    s.n_batch = 1;
    struct buf bytes = {0};
    bytes.size =
        sluice__segment__pack(&s, buf_reserve(&bytes, sluice__segment__get_packed_size(&s)));
    return bytes;
}

static void assert_same_fields(const struct batch *a, const struct batch *b)
{
    assert_int_equal(a->base_offset, b->base_offset);
    assert_int_equal(a->leader_epoch, b->leader_epoch);
    assert_int_equal(a->header_crc, b->header_crc);
    assert_int_equal(a->batch_crc, b->batch_crc);
    assert_int_equal(a->attributes, b->attributes);
    assert_int_equal(a->record_count, b->record_count);
    assert_int_equal(a->last_offset_delta, b->last_offset_delta);
    assert_int_equal(a->base_timestamp, b->base_timestamp);
    assert_int_equal(a->max_timestamp, b->max_timestamp);
    assert_int_equal(a->producer_id, b->producer_id);
    assert_int_equal(a->producer_epoch, b->producer_epoch);
    assert_int_equal(a->base_sequence, b->base_sequence);
    assert_int_equal(a->topic_crc, b->topic_crc);
    assert_slice_equal(a->records, b->records);
}

static void canonical_batch_reads_back_as_written(void **state)
{
    (void)state;
    struct buf records = plain_records(5);
    const struct batch b = batch_of(buf_slice(&records), 5);
    struct buf bytes = canonical(&b);
    for (int strict = 0; strict < 2; strict++) {
        struct batch got;
        assert_ok(strict ? batch_read_canonical(buf_slice(&bytes), &got)
                         : batch_read(buf_slice(&bytes), &got));
        assert_same_fields(&got, &b);
        assert_true(got.is_canonical);
        assert_ptr_equal(got.start, bytes.data);
        assert_int_equal(got.size, bytes.size);
        assert_ok(batch_check_crcs(&got));
    }
    buf_deinit(&bytes);
    buf_deinit(&records);
}

static void protobuf_c_reads_a_canonical_batch(void **state)
{
    (void)state;
    struct buf records = plain_records(3);
    const struct batch b = batch_of(buf_slice(&records), 3);
    struct buf bytes = canonical(&b);
    Sluice__Segment *s = sluice__segment__unpack(NULL, bytes.size, bytes.data);
    assert_non_null(s);
    assert_int_equal(s->n_batch, 1);
    assert_int_equal(s->batch[0]->base_offset, 42);
    assert_int_equal(s->batch[0]->producer_id, -1);
    assert_int_equal(s->batch[0]->max_timestamp, T0 + 2);
    assert_int_equal(s->batch[0]->topic_crc, 0x01020304);
    assert_slice_equal(slice_of(s->batch[0]->records.data, s->batch[0]->records.len), b.records);
    sluice__segment__free_unpacked(s, NULL);
    buf_deinit(&bytes);
    buf_deinit(&records);
}

static void a_stock_encoding_reads_the_same_but_is_not_canonical(void **state)
{
    (void)state;
    struct buf records = plain_records(5);
    const struct batch b = batch_of(buf_slice(&records), 5);
    struct buf bytes = packed(&b);
    struct batch got;
    assert_ok(batch_read(buf_slice(&bytes), &got));
    assert_same_fields(&got, &b);
    assert_false(got.is_canonical);
    assert_int_equal(got.size, bytes.size);
    assert_ok(batch_check_crcs(&got));
    assert_err(batch_read_canonical(buf_slice(&bytes), &got), E_CORRUPT);
    buf_deinit(&bytes);
    buf_deinit(&records);
}

static void absent_fields_read_as_none_and_zero(void **state)
{
    (void)state;
    const uint8_t bytes[] = {0x0a, 0x03, 0x7a, 0x01, 0xff};
    struct batch b;
    assert_ok(batch_read(slice_of(bytes, sizeof bytes), &b));
    assert_int_equal(b.producer_id, -1);
    assert_int_equal(b.producer_epoch, -1);
    assert_int_equal(b.base_sequence, -1);
    assert_int_equal(b.record_count, 0);
    assert_false(b.has_header_crc);
    assert_false(b.has_batch_crc);
    assert_int_equal(b.records.size, 1);
    assert_err(batch_check_crcs(&b), E_CORRUPT);
}

static void a_batch_cut_anywhere_would_block(void **state)
{
    (void)state;
    struct buf records = plain_records(4);
    const struct batch b = batch_of(buf_slice(&records), 4);
    struct buf bytes = canonical(&b);
    for (size_t cut = 1; cut < bytes.size; cut++) {
        struct batch got;
        assert_err(batch_read_canonical(slice_of(bytes.data, cut), &got), E_WOULD_BLOCK);
        assert_int_equal(got.size, cut >= 6 ? bytes.size : 0);
        assert_int_equal(got.is_canonical, cut >= BATCH_HEADER_SIZE);
        assert_int_equal(got.records.size, 0);
        if (cut >= BATCH_HEADER_SIZE)
            assert_int_equal(got.base_offset, 42);
        assert_err(batch_read(slice_of(bytes.data, cut), &got), E_WOULD_BLOCK);
    }
    buf_deinit(&bytes);

    bytes = packed(&b);
    for (size_t cut = 1; cut < bytes.size; cut++) {
        struct batch got;
        assert_err(batch_read(slice_of(bytes.data, cut), &got), E_WOULD_BLOCK);
        assert_int_equal(got.size, cut >= 3 ? bytes.size : 0);
    }
    buf_deinit(&bytes);
    buf_deinit(&records);
}

static void nothing_zeros_and_padding_are_the_end(void **state)
{
    (void)state;
    struct batch b;
    const uint8_t zeros[32] = {0};
    const uint8_t padding[16] = {0x12, 0x04};
    const uint8_t long_padding[16] = {0x12, 0xff, 0xff, 0xff, 0x7f};
    const uint8_t full_padding[16] = {0x12, 0x04, 0, 0, 1};
    const uint8_t late[16] = {[15] = 1};
    for (int strict = 0; strict < 2; strict++) {
        err (*read)(struct slice, struct batch *) = strict ? batch_read_canonical : batch_read;
        assert_err(read(slice_of(NULL, 0), &b), E_END);
        assert_err(read(slice_of(zeros, sizeof zeros), &b), E_END);
        assert_err(read(slice_of(padding, sizeof padding), &b), E_END);
        assert_err(read(slice_of(padding, 1), &b), E_END);
        assert_err(read(slice_of(long_padding, sizeof long_padding), &b), E_END);
        assert_err(read(slice_of(full_padding, sizeof full_padding), &b), E_CORRUPT);
        assert_err(read(slice_of(late, sizeof late), &b), E_CORRUPT);
    }
}

static void every_flipped_bit_is_noticed(void **state)
{
    (void)state;
    struct buf records = plain_records(3);
    const struct batch b = batch_of(buf_slice(&records), 3);
    struct buf bytes = canonical(&b);
    for (size_t bit = 0; bit < bytes.size * 8; bit++) {
        bytes.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        struct batch got;
        if (batch_read_canonical(buf_slice(&bytes), &got) == OK)
            assert_err(batch_check_crcs(&got), E_CORRUPT);
        /* Here a damaged tag may hide a field, which then reads as absent: with the same value, or
         * not at all. */
        if (batch_read(buf_slice(&bytes), &got) == OK && batch_check_crcs(&got) == OK)
            assert_same_fields(&got, &b);
        bytes.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    buf_deinit(&bytes);
    buf_deinit(&records);
}

static void stamping_sets_offset_epoch_and_header_checksum(void **state)
{
    (void)state;
    struct buf records = plain_records(2);
    const struct batch b = batch_of(buf_slice(&records), 2);
    struct buf bytes = canonical(&b);
    batch_stamp(bytes.data, 1234567890123, 99, b.batch_crc);
    struct batch got;
    assert_ok(batch_read_canonical(buf_slice(&bytes), &got));
    assert_ok(batch_check_crcs(&got));
    assert_int_equal(got.base_offset, 1234567890123);
    assert_int_equal(got.leader_epoch, 99);
    struct batch expected = b;
    expected.base_offset = got.base_offset;
    expected.leader_epoch = got.leader_epoch;
    expected.header_crc = got.header_crc;
    assert_same_fields(&got, &expected);
    buf_deinit(&bytes);
    buf_deinit(&records);
}

static void checksums_are_over_packed_values(void **state)
{
    (void)state;
    const struct batch b = batch_of(slice_str("records"), 1);
    uint8_t covered[48 + 7];
    uint8_t *p = write_u32(covered, 0);
    p = write_u32(p, 1);
    p = write_u32(p, 0);
    p = write_u64(p, T0);
    p = write_u64(p, T0);
    p = write_u64(p, UINT64_MAX);
    p = write_u32(p, UINT32_MAX);
    p = write_u32(p, UINT32_MAX);
    p = write_u32(p, 0x01020304);
    p = write_bytes(p, "records", 7);
    assert_ptr_equal(p, covered + sizeof covered);
    assert_int_equal(b.batch_crc, crc32c(0, covered, sizeof covered));

    p = write_u64(covered, 42);
    p = write_u32(p, 7);
    p = write_u32(p, b.batch_crc);
    assert_int_equal(b.header_crc, crc32c(0, covered, (size_t)(p - covered)));

    const struct uuid id = {{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}};
    p = write_u32(write_bytes(covered, id.bytes, 16), 258);
    assert_int_equal(batch_topic_crc(&id, 258), crc32c(0, covered, 20));
}

static void an_unknown_version_is_told_apart_from_damage(void **state)
{
    (void)state;
    struct buf records = plain_records(1);
    struct batch b = batch_of(buf_slice(&records), 1);
    b.attributes = 1u << 24;
    struct batch got;
    struct buf bytes = canonical(&b);
    assert_err(batch_read(buf_slice(&bytes), &got), E_UNSUPPORTED_VERSION);
    assert_err(batch_read_canonical(buf_slice(&bytes), &got), E_UNSUPPORTED_VERSION);
    buf_deinit(&bytes);
    bytes = packed(&b);
    assert_err(batch_read(buf_slice(&bytes), &got), E_UNSUPPORTED_VERSION);
    buf_deinit(&bytes);
    buf_deinit(&records);
}

static void impossible_values_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *what, *hex;
    } cases[] = {
        {"a field twice", "0a 0a  35 01 00 00 00  35 01 00 00 00"},
        {"records twice", "0a 04  7a 00  7a 00"},
        {"another wire type", "0a 02  30 01"},
        {"a group", "0a 02  83 01"},
        {"records beyond the batch", "0a 02  7a 05"},
        {"field number 0", "0a 02  00 00"},
        {"a length above any segment", "0a ff ff ff ff 0f"},
        {"a length of six bytes", "0a 80 80 80 80 80 00"},
        {"a negative leader epoch", "0a 05  15 ff ff ff ff"},
        {"offsets up to 2^63", "0a 09  09 ff ff ff ff ff ff ff 7f"},
        {"another field of Segment", "1a 00"},
        {"not protobuf", "ff ff ff ff ff ff"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t bytes[64];
        struct batch b;
        const size_t size = test_unhex(cases[i].hex, bytes, sizeof bytes);
        if (batch_read(slice_of(bytes, size), &b) != E_CORRUPT)
            fail_msg("%s was not refused", cases[i].what);
    }
}

static void impossible_offsets_are_refused_in_canonical_form(void **state)
{
    (void)state;
    struct buf records = plain_records(1);
    static const struct {
        int64_t base_offset;
        int32_t leader_epoch;
        err expected;
    } cases[] = {
        {0, 0, OK},
        {INT64_MAX - UINT32_MAX - 1, INT32_MAX, OK},
        {INT64_MAX - UINT32_MAX, 0, E_CORRUPT},
        {-1, 0, E_CORRUPT},
        {0, -1, E_CORRUPT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct batch b = batch_of(buf_slice(&records), 1);
        b.base_offset = cases[i].base_offset;
        b.leader_epoch = cases[i].leader_epoch;
        struct buf bytes = canonical(&b);
        assert_err(batch_read_canonical(buf_slice(&bytes), &b), cases[i].expected);
        assert_err(batch_read(buf_slice(&bytes), &b), cases[i].expected);
        buf_deinit(&bytes);
    }
    buf_deinit(&records);
}

/* A five-byte length does not make a batch canonical, nor cut. */
static void a_short_batch_with_a_long_length_is_read(void **state)
{
    (void)state;
    uint8_t bytes[16];
    struct batch b;
    const size_t size = test_unhex("0a 83 80 80 80 00  7a 01 ff", bytes, sizeof bytes);
    assert_ok(batch_read(slice_of(bytes, size), &b));
    assert_false(b.is_canonical);
    assert_int_equal(b.size, size);
    assert_int_equal(b.records.size, 1);
}

static void unknown_fields_are_passed_over_up_to_the_limit(void **state)
{
    (void)state;
    for (uint32_t count = MESSAGE_UNKNOWN_MAX - 1; count <= MESSAGE_UNKNOWN_MAX + 1; count++) {
        uint8_t bytes[512];
        uint8_t *p = write_varint(write_tag(bytes, 1, 2), count * 3);
        for (uint32_t i = 0; i < count; i++)
            p = write_varint(write_tag(p, 100 + i % 2, 0), 1);
        struct batch b;
        assert_err(batch_read(slice_of(bytes, (size_t)(p - bytes)), &b),
                   count > MESSAGE_UNKNOWN_MAX ? E_CORRUPT : OK);
    }
}

/* --- records --------------------------------------------------------------------------------- */

static void check_tells_the_largest_timestamp_and_its_first_record(void **state)
{
    (void)state;
    struct buf records = {0};
    const int64_t deltas[] = {0, 5, -3, 9, 9, 2};
    for (uint32_t i = 0; i < 6; i++)
        append_record(&records, &(struct record){.offset_delta = i, .timestamp_delta = deltas[i]});
    struct batch b = batch_of(buf_slice(&records), 6);
    b.max_timestamp = T0 + 9;
    struct batch_summary s;
    assert_ok(batch_check_records(&b, b.records, true, &s));
    assert_int_equal(s.max_timestamp_seen, T0 + 9);
    assert_int_equal(s.max_timestamp_offset_delta, 3);

    b.max_timestamp = T0 + 8;
    assert_err(batch_check_records(&b, b.records, true, &s), E_INVALID_RECORD);
    b.attributes |= BATCH_LOG_APPEND_TIME;
    assert_ok(batch_check_records(&b, b.records, true, &s));
    assert_int_equal(s.max_timestamp_seen, T0 + 8);
    assert_int_equal(s.max_timestamp_offset_delta, 0);
    buf_deinit(&records);
}

static void check_refuses_wrong_counts_and_deltas(void **state)
{
    (void)state;
    struct buf records = plain_records(4);
    struct batch b = batch_of(buf_slice(&records), 4);
    struct batch_summary s;
    assert_ok(batch_check_records(&b, b.records, true, &s));
    b.record_count = 3;
    assert_err(batch_check_records(&b, b.records, true, &s), E_INVALID_RECORD);
    b.record_count = 4;
    b.last_offset_delta = 4;
    assert_err(batch_check_records(&b, b.records, true, &s), E_INVALID_RECORD);
    assert_ok(batch_check_records(&b, b.records, false, &s));
    b.last_offset_delta = 2;
    assert_err(batch_check_records(&b, b.records, true, &s), E_INVALID_RECORD);
    assert_err(batch_check_records(&b, b.records, false, &s), E_INVALID_RECORD);
    buf_deinit(&records);
}

static void gaps_are_for_compacted_batches_only(void **state)
{
    (void)state;
    struct buf records = {0};
    append_record(&records, &(struct record){.offset_delta = 3});
    append_record(&records, &(struct record){.offset_delta = 70000});
    struct batch b = batch_of(buf_slice(&records), 2);
    b.last_offset_delta = 70001;
    struct batch_summary s;
    assert_err(batch_check_records(&b, b.records, true, &s), E_INVALID_RECORD);
    assert_ok(batch_check_records(&b, b.records, false, &s));
    append_record(&records, &(struct record){.offset_delta = 70000});
    b.records = buf_slice(&records);
    b.record_count = 3;
    assert_err(batch_check_records(&b, b.records, false, &s), E_INVALID_RECORD);
    buf_deinit(&records);
}

static void an_empty_batch_is_for_compaction_only(void **state)
{
    (void)state;
    struct batch b = batch_of(slice_of(NULL, 0), 0);
    b.last_offset_delta = 9;
    struct batch_summary s;
    assert_err(batch_check_records(&b, b.records, true, &s), E_INVALID_RECORD);
    assert_ok(batch_check_records(&b, b.records, false, &s));
    assert_int_equal(s.max_timestamp_seen, b.max_timestamp);
}

static void check_refuses_timestamps_that_overflow(void **state)
{
    (void)state;
    struct buf records = {0};
    struct batch_summary s;
    append_record(&records, &(struct record){.timestamp_delta = INT64_MAX});
    struct batch b = batch_of(buf_slice(&records), 1);
    b.max_timestamp = INT64_MAX;
    assert_err(batch_check_records(&b, b.records, true, &s), E_INVALID_RECORD);
    b.base_timestamp = 0;
    assert_ok(batch_check_records(&b, b.records, true, &s));
    assert_int_equal(s.max_timestamp_seen, INT64_MAX);

    buf_clear(&records);
    append_record(&records, &(struct record){.timestamp_delta = INT64_MIN});
    b.records = buf_slice(&records);
    assert_ok(batch_check_records(&b, b.records, true, &s));
    b.base_timestamp = -1;
    assert_err(batch_check_records(&b, b.records, true, &s), E_INVALID_RECORD);
    b.base_timestamp = INT64_MIN;
    b.max_timestamp = INT64_MAX;
    assert_err(batch_check_records(&b, b.records, true, &s), E_INVALID_RECORD);
    buf_deinit(&records);
}

/* One record in each of the ways that are and are not legal, alone (the general way) and followed
 * by plain ones, which puts it on the quick way. */
static void check_knows_good_records_from_bad(void **state)
{
    (void)state;
    static const struct {
        const char *what, *hex;
        bool good;
    } cases[] = {
        {"the shortest", "0a 02  08 00", true},
        {"with all fields", "0a 12  08 00  10 00  1a 01 6b  22 01 76  2a 06 0a 01 68 12 01 76",
         true},
        {"an empty header", "0a 04  08 00  2a 00", true},
        {"value before key", "0a 08  08 00  22 01 76  1a 01 6b", true},
        {"offset delta last", "0a 05  22 01 76  08 00", true},
        {"headers apart", "0a 09  2a 00  08 00  22 01 76  2a 00", true},
        {"an unknown field", "0a 04  08 00  30 01", true},
        {"a long varint", "0a 04  08 80 80 00", true},
        {"a padded length", "0a 82 80 80 80 00  08 00", true},
        {"no offset delta", "0a 00", false},
        {"no offset delta", "0a 02  10 00", false},
        {"offset delta twice", "0a 04  08 00  08 00", false},
        {"value twice", "0a 06  08 00  22 00  22 00", false},
        {"value twice around a header", "0a 08  08 00  22 00  2a 00  22 00", false},
        {"key twice apart", "0a 08  08 00  1a 00  22 00  1a 00", false},
        {"value beyond the record", "0a 04  08 00  22 05", false},
        {"length cut short", "0a 03  08 00  22", false},
        {"a group", "0a 03  08 00  2b", false},
        {"another wire type", "0a 04  08 00  18 00", false},
        {"bytes behind the fields", "0a 03  08 00  00", false},
        {"not a record", "12 02  08 00", false},
        {"padding as in Segment", "12 00", false},
        {"header key twice", "0a 08  08 00  2a 04 0a 00 0a 00", false},
        {"header cut short", "0a 06  08 00  2a 02 0a 05", false},
        {"header key not UTF-8", "0a 07  08 00  2a 03 0a 01 ff", false},
        {"header key with a NUL", "0a 07  08 00  2a 03 0a 01 00", false},
        {"header value of any bytes", "0a 07  08 00  2a 03 12 01 ff", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (uint32_t followers = 0; followers <= 20; followers += 20) {
            uint8_t bytes[64];
            struct buf records = {0};
            buf_append(&records, bytes, test_unhex(cases[i].hex, bytes, sizeof bytes));
            for (uint32_t k = 1; k <= followers; k++)
                append_record(&records, &(struct record){.offset_delta = k});
            uint8_t *exact = mem_alloc(records.size);
            memcpy(exact, records.data, records.size);
            const struct batch b = batch_of(slice_of(exact, records.size), 1 + followers);
            struct batch_summary s;
            const err e = batch_check_records(&b, b.records, true, &s);
            if (e != (cases[i].good ? OK : E_INVALID_RECORD))
                fail_msg("%s, %u behind it: %s", cases[i].what, followers, err_name(e));
            mem_free(exact);
            buf_deinit(&records);
        }
    }
}

/* Each would be read beyond the end of its memory, or accepted, if the quick way looked one byte
 * too far. */
static void no_record_is_read_beyond_its_memory(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "0a",
        "0a 80",
        "0a ff ff ff ff",
        "0a 01  08",
        "0a 02  08 80",
        "0a 03  08 00  10",
        "0a 10  08 00  1a 0b 61 61 61 61 61 61 61 61 61 61 61  22",
        "0a 10  08 00  1a 0a 61 61 61 61 61 61 61 61 61 61  22 ff",
        "0a 10  08 00  22 0a 61 61 61 61 61 61 61 61 61 61  2a 80",
        "0a 12  08 00  22 0a 61 61 61 61 61 61 61 61 61 61  2a 7f  2a 00",
        "0a 03  08 00  1a  ff ff ff ff 07 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00",
        "0a 03  08 00  22  ff ff ff ff 07 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00",
        "0a 03  08 00  2a  ff ff ff ff 07 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00",
        "0a 02  08 80  80 80 80 10  1a ff ff ff ff 07 00 00 00 00 00 00 00 00 00 00 00 00 00 00",
        "0a ff ff ff ff 0f  08 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        uint8_t bytes[64];
        const size_t size = test_unhex(bad[i], bytes, sizeof bytes);
        uint8_t *exact = mem_alloc(size);
        memcpy(exact, bytes, size);
        struct batch b = batch_of(slice_of(exact, size), 1);
        struct batch_summary s;
        for (int strict = 0; strict < 2; strict++)
            if (batch_check_records(&b, b.records, strict, &s) != E_INVALID_RECORD)
                fail_msg("%s was taken", bad[i]);
        mem_free(exact);
    }
}

static struct slice random_bytes(struct rng *r, uint8_t *into, size_t size_max)
{
    if (rng_below(r, 4) == 0)
        return slice_of(NULL, 0);
    const size_t size = rng_below(r, size_max);
    for (size_t i = 0; i < size; i++)
        into[i] = (uint8_t)('a' + rng_below(r, 26));
    return slice_of(into, size);
}

static void append_random_record(struct rng *r, struct buf *out, uint32_t offset_delta)
{
    uint8_t key[40], value[300], header_key[8], header_value[8];
    const struct record_header header = {random_bytes(r, header_key, 8),
                                         random_bytes(r, header_value, 8)};
    append_record(out,
                  &(struct record){
                      .offset_delta = offset_delta,
                      .timestamp_delta = (int64_t)(rng_u64(r) >> (24 + rng_below(r, 40))) - 100,
                      .key = random_bytes(r, key, sizeof key),
                      .value = random_bytes(r, value, sizeof value),
                      .headers = &header,
                      .header_count = rng_below(r, 8) == 0,
                  });
}

/* Goal: what batch_check_records lets pass, any protobuf runtime can read, with the same values;
 * and what protobuf-c reads and the rules allow, passes. Method: random records, most of them then
 * damaged at random, judged by both. */
static void check_agrees_with_protobuf_c(void **state)
{
    (void)state;
    struct rng r = test_rng();
    unsigned passed = 0, refused = 0;
    for (int round = 0; round < 20000; round++) {
        struct buf records = {0};
        const uint32_t count = 1 + (uint32_t)rng_below(&r, 6);
        for (uint32_t i = 0; i < count; i++)
            append_random_record(&r, &records, i);
        for (uint64_t damage = rng_below(&r, 3); damage > 0; damage--)
            records.data[rng_below(&r, records.size)] ^= (uint8_t)(1 << rng_below(&r, 8));
        /* Exactly as much memory, so that a sanitizer sees a look beyond it. */
        uint8_t *exact = mem_alloc(records.size);
        memcpy(exact, records.data, records.size);
        struct batch b = batch_of(slice_of(exact, records.size), count);
        b.base_timestamp = 0;
        b.max_timestamp = INT64_MAX;
        struct batch_summary s;
        const bool ok = batch_check_records(&b, b.records, true, &s) == OK;
        Sluice__Records *m = prescan(&sluice__records__descriptor, b.records, NULL) == OK
                                 ? sluice__records__unpack(NULL, records.size, records.data)
                                 : NULL;
        bool rules = m && m->n_record == count && m->base.n_unknown_fields == 0;
        for (size_t i = 0; rules && i < count; i++) {
            const Sluice__Record *x = m->record[i];
            rules = x->has_offset_delta && x->offset_delta == i;
        }
        if (ok != rules)
            fail_msg("round %d: %s, but protobuf-c says %s", round, ok ? "passed" : "refused",
                     rules ? "good" : "bad");
        ok ? passed++ : refused++;
        if (m)
            sluice__records__free_unpacked(m, NULL);
        mem_free(exact);
        buf_deinit(&records);
    }
    assert_true(passed > 1000);
    assert_true(refused > 1000);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(canonical_batch_reads_back_as_written),
        cmocka_unit_test(protobuf_c_reads_a_canonical_batch),
        cmocka_unit_test(a_stock_encoding_reads_the_same_but_is_not_canonical),
        cmocka_unit_test(absent_fields_read_as_none_and_zero),
        cmocka_unit_test(a_batch_cut_anywhere_would_block),
        cmocka_unit_test(nothing_zeros_and_padding_are_the_end),
        cmocka_unit_test(every_flipped_bit_is_noticed),
        cmocka_unit_test(stamping_sets_offset_epoch_and_header_checksum),
        cmocka_unit_test(checksums_are_over_packed_values),
        cmocka_unit_test(an_unknown_version_is_told_apart_from_damage),
        cmocka_unit_test(impossible_values_are_refused),
        cmocka_unit_test(impossible_offsets_are_refused_in_canonical_form),
        cmocka_unit_test(a_short_batch_with_a_long_length_is_read),
        cmocka_unit_test(unknown_fields_are_passed_over_up_to_the_limit),
        cmocka_unit_test(check_tells_the_largest_timestamp_and_its_first_record),
        cmocka_unit_test(check_refuses_wrong_counts_and_deltas),
        cmocka_unit_test(gaps_are_for_compacted_batches_only),
        cmocka_unit_test(an_empty_batch_is_for_compaction_only),
        cmocka_unit_test(check_refuses_timestamps_that_overflow),
        cmocka_unit_test(check_knows_good_records_from_bad),
        cmocka_unit_test(no_record_is_read_beyond_its_memory),
        cmocka_unit_test(check_agrees_with_protobuf_c),
    };
    return TEST_MAIN(tests, NULL, NULL);
}
