/* SPDX-License-Identifier: Apache-2.0 */
/* clang-format off */
/*
 * The record batch, format version 0. A canonical batch, little-endian:
 *
 *    pos size
 *      0    1  0x0a, tag of Segment.batch
 *      1    5  length of what follows, five-byte varint: 87 + size of records
 *      6    9  0x09 base_offset        u64
 *     15    5  0x15 leader_epoch       u32, <= 2^31-1
 *     20    5  0x1d header_crc         u32, CRC-32C of 16 bytes: base_offset, leader_epoch, batch_crc
 *     25    5  0x25 batch_crc          u32, CRC-32C of 48 bytes, attributes to topic_crc, then records
 *     30    5  0x2d attributes         u32, bits 24-31 the version
 *     35    5  0x35 record_count       u32
 *     40    5  0x3d last_offset_delta  u32
 *     45    9  0x41 base_timestamp     i64
 *     54    9  0x49 max_timestamp      i64
 *     63    9  0x51 producer_id        i64, -1 none
 *     72    5  0x5d producer_epoch     i32, -1 none
 *     77    5  0x65 base_sequence      i32, -1 none
 *     82    5  0x6d topic_crc          u32, 0 not given
 *     87    6  0x7a records            tag and length, five-byte varint
 *     93       the records
 *
 * The checksums cover packed values, without tags, so that they are the same
 * for every encoding of the message. Fields that a client leaves out read as 0,
 * producer_id, producer_epoch and base_sequence as -1: that is what the
 * checksum then covers.
 *
 * Valid: header_crc and batch_crc are right, the version is known, and for
 * the rest the rules at batch_check_records.
 */
/* clang-format on */
#include "proto/wire/batch.h"

#include "proto/base/check.h"
#include "proto/base/crc32c.h"
#include "proto/base/limits.h"
#include "proto/base/reader.h"
#include "proto/base/writer.h"
#include "proto/wire/record_fast.h"
#include "proto/wire/wire.h"

enum {
    PREFIX_SIZE = 6,                              /* a tag and a five-byte length */
    LENGTH_MIN = BATCH_HEADER_SIZE - PREFIX_SIZE, /* of a canonical batch without records */
    HEADER_COVERED = 16,
    BATCH_COVERED = 48,
    VERSION_SHIFT = 24,
};

_Static_assert(LENGTH_MIN == 81 + PREFIX_SIZE, "13 fixed fields, then the prefix of records");

#define TAG_BATCH WIRE_TAG(1, WIRE_BYTES)
#define TAG_PADDING WIRE_TAG(2, WIRE_BYTES)
#define TAG_RECORDS WIRE_TAG(15, WIRE_BYTES)

/* The fixed fields where a canonical batch has them. */
struct fixed_field {
    uint8_t pos; /* of the tag */
    uint8_t tag;
};
static const struct fixed_field fixed_fields[] = {
    {6, 0x09},  {15, 0x15}, {20, 0x1d}, {25, 0x25}, {30, 0x2d}, {35, 0x35}, {40, 0x3d},
    {45, 0x41}, {54, 0x49}, {63, 0x51}, {72, 0x5d}, {77, 0x65}, {82, 0x6d}, {87, 0x7a},
};
enum { FIELD_COUNT = sizeof fixed_fields / sizeof fixed_fields[0] };

static uint32_t load_u32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static uint64_t load_u64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* A varint in exactly five bytes, below 2^35. */
static bool load_varint5(const uint8_t *p, uint64_t *out)
{
    if ((load_u32(p) & 0x80808080) != 0x80808080 || p[4] >= 0x80)
        return false;
    uint64_t v = 0;
    for (int i = 4; i >= 0; i--)
        v = v << 7 | (p[i] & 0x7f);
    *out = v;
    return true;
}

static bool is_zero(struct slice s)
{
    return s.size == 0 || (s.data[0] == 0 && memcmp(s.data, s.data + 1, s.size - 1) == 0);
}

/* Whether bytes are the beginning of a tag or length: all of them say that one more follows. */
static bool is_cut_varint(struct slice bytes)
{
    bool more = bytes.size < 5;
    for (size_t i = 0; more && i < bytes.size; i++)
        more = bytes.data[i] >= 0x80;
    return more;
}

/* Whether a segment's bytes hold no more batches: nothing, zeros, or a padding field of zeros and
 * then zeros. */
static bool is_end(struct slice bytes)
{
    if (bytes.size == 0 || bytes.data[0] == 0)
        return is_zero(bytes);
    if (bytes.data[0] != TAG_PADDING)
        return false;
    const struct slice rest = slice_sub(bytes, 1, SIZE_MAX);
    struct reader r = reader_init(rest);
    wire_varint32(&r);
    if (r.failed)
        return is_cut_varint(rest);
    /* The length may reach beyond the bytes that were given: all that is here is zero, in it or
     * behind it. */
    return is_zero(slice_of(r.at, reader_left(&r)));
}

static err check_version(const struct batch *b)
{
    return b->attributes >> VERSION_SHIFT == BATCH_VERSION ? OK : E_UNSUPPORTED_VERSION;
}

/* Every offset of the batch is one, and so is the one behind it. */
static bool has_possible_offsets(const struct batch *b)
{
    return b->leader_epoch >= 0 && b->base_offset >= 0 &&
           b->base_offset <= INT64_MAX - UINT32_MAX - 1;
}

/* The header's values from canonical bytes, whose tags and lengths were checked. */
static void load_header(const uint8_t *h, struct batch *out)
{
    *out = (struct batch){
        .base_offset = (int64_t)load_u64(h + 7),
        .leader_epoch = (int32_t)load_u32(h + 16),
        .header_crc = load_u32(h + 21),
        .batch_crc = load_u32(h + 26),
        .attributes = load_u32(h + 31),
        .record_count = load_u32(h + 36),
        .last_offset_delta = load_u32(h + 41),
        .base_timestamp = (int64_t)load_u64(h + 46),
        .max_timestamp = (int64_t)load_u64(h + 55),
        .producer_id = (int64_t)load_u64(h + 64),
        .producer_epoch = (int32_t)load_u32(h + 73),
        .base_sequence = (int32_t)load_u32(h + 78),
        .topic_crc = load_u32(h + 83),
        .has_header_crc = true,
        .has_batch_crc = true,
        .is_canonical = true,
        .start = h,
    };
}

static bool has_canonical_tags(const uint8_t *h)
{
    bool same = true;
    for (size_t i = 0; i < FIELD_COUNT; i++)
        same &= h[fixed_fields[i].pos] == fixed_fields[i].tag;
    return same;
}

/* OK, E_WOULD_BLOCK, E_UNSUPPORTED_VERSION, or E_CORRUPT: not canonical. */
static err read_canonical(struct slice bytes, struct batch *out)
{
    const uint8_t *h = bytes.data;
    uint64_t length = 0, records = 0;
    if (bytes.size && h[0] != TAG_BATCH)
        return E_CORRUPT;
    if (bytes.size < PREFIX_SIZE) {
        *out = (struct batch){.start = h};
        return E_WOULD_BLOCK;
    }
    if (!load_varint5(h + 1, &length) || length < LENGTH_MIN || length > SEGMENT_BYTES_MAX)
        return E_CORRUPT;
    const size_t size = PREFIX_SIZE + (size_t)length;
    if (bytes.size < BATCH_HEADER_SIZE) {
        *out = (struct batch){.start = h, .size = size};
        return E_WOULD_BLOCK;
    }
    if (!has_canonical_tags(h) || !load_varint5(h + 88, &records) || records != length - LENGTH_MIN)
        return E_CORRUPT;

    struct batch b;
    load_header(h, &b);
    b.size = size;
    if (!has_possible_offsets(&b))
        return E_CORRUPT;
    if (check_version(&b) != OK)
        return E_UNSUPPORTED_VERSION;
    const bool whole = size <= bytes.size;
    if (whole)
        b.records = slice_of(h + BATCH_HEADER_SIZE, (size_t)records);
    *out = b;
    return whole ? OK : E_WOULD_BLOCK;
}

err batch_read_canonical(struct slice bytes, struct batch *out)
{
    return is_end(bytes) ? E_END : read_canonical(bytes, out);
}

static void read_field(struct reader *r, uint32_t tag, struct batch *b, struct wire_budget *left)
{
    switch (tag) {
    case WIRE_TAG(1, WIRE_FIXED64):
        b->base_offset = (int64_t)reader_u64(r);
        break;
    case WIRE_TAG(2, WIRE_FIXED32):
        b->leader_epoch = (int32_t)reader_u32(r);
        break;
    case WIRE_TAG(3, WIRE_FIXED32):
        b->header_crc = reader_u32(r);
        b->has_header_crc = true;
        break;
    case WIRE_TAG(4, WIRE_FIXED32):
        b->batch_crc = reader_u32(r);
        b->has_batch_crc = true;
        break;
    case WIRE_TAG(5, WIRE_FIXED32):
        b->attributes = reader_u32(r);
        break;
    case WIRE_TAG(6, WIRE_FIXED32):
        b->record_count = reader_u32(r);
        break;
    case WIRE_TAG(7, WIRE_FIXED32):
        b->last_offset_delta = reader_u32(r);
        break;
    case WIRE_TAG(8, WIRE_FIXED64):
        b->base_timestamp = (int64_t)reader_u64(r);
        break;
    case WIRE_TAG(9, WIRE_FIXED64):
        b->max_timestamp = (int64_t)reader_u64(r);
        break;
    case WIRE_TAG(10, WIRE_FIXED64):
        b->producer_id = (int64_t)reader_u64(r);
        break;
    case WIRE_TAG(11, WIRE_FIXED32):
        b->producer_epoch = (int32_t)reader_u32(r);
        break;
    case WIRE_TAG(12, WIRE_FIXED32):
        b->base_sequence = (int32_t)reader_u32(r);
        break;
    case WIRE_TAG(13, WIRE_FIXED32):
        b->topic_crc = reader_u32(r);
        break;
    case TAG_RECORDS:
        b->records = wire_prefixed(r);
        break;
    default:
        wire_unknown(r, tag, tag >> 3 == 14 ? 13 : 15, left);
    }
}

/* Any encoding of the message that protobuf allows, apart from fields that come twice. */
static err read_any(struct slice bytes, struct batch *out)
{
    struct reader segment = reader_init(bytes);
    const uint32_t tag = wire_tag(&segment);
    if (tag != TAG_BATCH && !(segment.failed && is_cut_varint(bytes)))
        return E_CORRUPT;
    const struct slice rest = slice_of(segment.at, reader_left(&segment));
    const uint32_t length = wire_varint32(&segment);
    if (segment.failed) {
        if (!is_cut_varint(rest))
            return E_CORRUPT;
        *out = (struct batch){.start = bytes.data};
        return E_WOULD_BLOCK;
    }
    if (length > SEGMENT_BYTES_MAX)
        return E_CORRUPT;
    struct batch b = {
        .producer_id = -1, .producer_epoch = -1, .base_sequence = -1, .start = bytes.data};
    b.size = (size_t)(segment.at - bytes.data) + length;
    if (length > reader_left(&segment)) {
        *out = (struct batch){.start = bytes.data, .size = b.size};
        return E_WOULD_BLOCK;
    }

    struct reader r = reader_init(reader_bytes(&segment, length));
    struct wire_budget left = WIRE_BUDGET;
    uint32_t seen = 0;
    while (!reader_done(&r)) {
        const uint32_t field = wire_tag(&r);
        if (field >> 3 <= 15 && field >> 3 != 14)
            wire_once(&r, &seen, field);
        read_field(&r, field, &b, &left);
    }
    if (r.failed || !has_possible_offsets(&b))
        return E_CORRUPT;
    if (check_version(&b) != OK)
        return E_UNSUPPORTED_VERSION;
    *out = b;
    return OK;
}

err batch_read(struct slice bytes, struct batch *out)
{
    if (is_end(bytes))
        return E_END;
    struct batch b;
    const err e = read_canonical(bytes, &b);
    const bool may_be_other = e == E_CORRUPT || (e == E_WOULD_BLOCK && b.size == 0);
    if (may_be_other)
        return read_any(bytes, out);
    if (e == OK || e == E_WOULD_BLOCK)
        *out = b;
    return e;
}

uint32_t batch_header_crc(int64_t base_offset, int32_t leader_epoch, uint32_t crc)
{
    uint8_t covered[HEADER_COVERED];
    uint8_t *p = write_u64(covered, (uint64_t)base_offset);
    p = write_u32(p, (uint32_t)leader_epoch);
    write_u32(p, crc);
    return crc32c(0, covered, sizeof covered);
}

uint32_t batch_crc(const struct batch *b)
{
    uint8_t covered[BATCH_COVERED];
    uint8_t *p = write_u32(covered, b->attributes);
    p = write_u32(p, b->record_count);
    p = write_u32(p, b->last_offset_delta);
    p = write_u64(p, (uint64_t)b->base_timestamp);
    p = write_u64(p, (uint64_t)b->max_timestamp);
    p = write_u64(p, (uint64_t)b->producer_id);
    p = write_u32(p, (uint32_t)b->producer_epoch);
    p = write_u32(p, (uint32_t)b->base_sequence);
    write_u32(p, b->topic_crc);
    return crc32c(crc32c(0, covered, sizeof covered), b->records.data, b->records.size);
}

uint32_t batch_topic_crc(const struct uuid *topic_id, uint32_t partition)
{
    uint8_t covered[sizeof topic_id->bytes + sizeof partition];
    write_u32(write_bytes(covered, topic_id->bytes, sizeof topic_id->bytes), partition);
    return crc32c(0, covered, sizeof covered);
}

err batch_check_crcs(const struct batch *b)
{
    if (!b->has_header_crc || !b->has_batch_crc)
        return E_CORRUPT;
    if (batch_header_crc(b->base_offset, b->leader_epoch, b->batch_crc) != b->header_crc)
        return E_CORRUPT;
    return batch_crc(b) == b->batch_crc ? OK : E_CORRUPT;
}

static uint8_t *write_fixed32(uint8_t *p, uint32_t number, uint32_t v)
{
    return write_u32(write_tag(p, number, WIRE_FIXED32), v);
}

static uint8_t *write_fixed64(uint8_t *p, uint32_t number, uint64_t v)
{
    return write_u64(write_tag(p, number, WIRE_FIXED64), v);
}

void batch_write_header(const struct batch *b, uint8_t header[BATCH_HEADER_SIZE])
{
    uint8_t *p = write_varint5(write_tag(header, 1, WIRE_BYTES), LENGTH_MIN + b->records.size);
    p = write_fixed64(p, 1, (uint64_t)b->base_offset);
    p = write_fixed32(p, 2, (uint32_t)b->leader_epoch);
    p = write_fixed32(p, 3, b->header_crc);
    p = write_fixed32(p, 4, b->batch_crc);
    p = write_fixed32(p, 5, b->attributes);
    p = write_fixed32(p, 6, b->record_count);
    p = write_fixed32(p, 7, b->last_offset_delta);
    p = write_fixed64(p, 8, (uint64_t)b->base_timestamp);
    p = write_fixed64(p, 9, (uint64_t)b->max_timestamp);
    p = write_fixed64(p, 10, (uint64_t)b->producer_id);
    p = write_fixed32(p, 11, (uint32_t)b->producer_epoch);
    p = write_fixed32(p, 12, (uint32_t)b->base_sequence);
    p = write_fixed32(p, 13, b->topic_crc);
    p = write_varint5(write_tag(p, 15, WIRE_BYTES), b->records.size);
    CHECK(p == header + BATCH_HEADER_SIZE);
}

void batch_stamp(uint8_t header[BATCH_HEADER_SIZE], int64_t base_offset, int32_t leader_epoch,
                 uint32_t crc)
{
    write_u64(header + 7, (uint64_t)base_offset);
    write_u32(header + 16, (uint32_t)leader_epoch);
    write_u32(header + 21, batch_header_crc(base_offset, leader_epoch, crc));
    write_u32(header + 26, crc);
}

static err check_headers(struct slice headers)
{
    struct reader r = reader_init(headers);
    struct slice key, value;
    err e;
    while ((e = record_next_header(&r, &key, &value)) == OK)
        if (!wire_is_text(key))
            return E_INVALID_RECORD;
    return e == E_END ? OK : E_INVALID_RECORD;
}

/* What a record's timestamp delta may be so that its timestamp exists and is not above the batch's
 * largest. */
struct delta_range {
    int64_t min, max;
};

static struct delta_range delta_range(const struct batch *b)
{
    struct delta_range range = {INT64_MIN, INT64_MAX};
    if (b->attributes & BATCH_LOG_APPEND_TIME)
        return range; /* the records' own do not count */
    if (b->base_timestamp < 0)
        range.min = INT64_MIN - b->base_timestamp;
    if (__builtin_sub_overflow(b->max_timestamp, b->base_timestamp, &range.max))
        range.max = b->max_timestamp < b->base_timestamp ? INT64_MIN : INT64_MAX;
    return range;
}

/* A record that was not for the quick way. */
struct general_read {
    const uint8_t *end; /* NULL: it is malformed */
    struct record_view view;
};

static __attribute__((noinline)) struct general_read read_generally(struct slice records)
{
    struct reader r = reader_init(records);
    struct general_read read = {0};
    if (record_next(&r, &read.view) == OK)
        read.end = r.at;
    return read;
}

/* The loop that sees every record a producer sends: a constant `strict` leaves one comparison of
 * it. */
static inline __attribute__((always_inline)) err
check_each(const struct batch *b, struct slice records, bool strict, struct batch_summary *out)
{
    const struct delta_range range = delta_range(b);
    const struct reader all = reader_init(records);
    const uint8_t *p = all.at, *end = all.end;
    int64_t max = INT64_MIN;
    uint32_t max_at = 0;
    uint64_t count = 0, lowest = 0; /* the lowest offset delta that may come next */
    while (p != end) {
        struct record_view v;
        const uint8_t *next = record_fast(p, end, &v);
        if (!next) {
            const struct general_read read = read_generally(slice_of(p, (size_t)(end - p)));
            if (!read.end)
                return E_INVALID_RECORD;
            next = read.end;
            v = read.view;
        }
        p = next;
        if (strict ? v.offset_delta != lowest : v.offset_delta < lowest)
            return E_INVALID_RECORD;
        lowest = (strict ? lowest : v.offset_delta) + 1;
        count++;
        if (v.timestamp_delta < range.min || v.timestamp_delta > range.max)
            return E_INVALID_RECORD;
        if (v.timestamp_delta > max) {
            max = v.timestamp_delta;
            max_at = v.offset_delta;
        }
        if (v.headers.size && check_headers(v.headers) != OK)
            return E_INVALID_RECORD;
    }
    if (count != b->record_count)
        return E_INVALID_RECORD;
    if (strict ? lowest != (uint64_t)b->last_offset_delta + 1
               : lowest > (uint64_t)b->last_offset_delta + 1)
        return E_INVALID_RECORD;

    if (count == 0 || b->attributes & BATCH_LOG_APPEND_TIME)
        *out = (struct batch_summary){.max_timestamp_seen = b->max_timestamp};
    else
        *out = (struct batch_summary){b->base_timestamp + max, max_at};
    return OK;
}

err batch_check_records(const struct batch *b, struct slice records, bool strict,
                        struct batch_summary *out)
{
    if (b->record_count > BATCH_RECORDS_MAX)
        return E_INVALID_RECORD;
    return strict ? check_each(b, records, true, out) : check_each(b, records, false, out);
}
