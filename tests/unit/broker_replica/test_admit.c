/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/replica/admit.h"
#include "tests/support/test.h"

#include "proto/base/limits.h"
#include "proto/base/writer.h"
#include "proto/wire/record.h"

enum { RECORDS = 3, NOW = 1700000000 };
static const int64_t now_ms = (int64_t)NOW * 1000;

struct made {
    uint8_t bytes[4096];
    size_t size;
    uint8_t records[2048];
    size_t records_size;
    struct batch b;
};

static struct admit_rules rules(void)
{
    return (struct admit_rules){.topic_id = {{1, 2, 3}},
                                .partition = 7,
                                .batch_bytes_max = 4096,
                                .timestamp_before_ms_max = INT64_MAX,
                                .timestamp_after_ms_max = 3600000};
}

/* A good batch; tests damage `b` and finish it with seal(). */
static void make(struct made *m, bool with_keys)
{
    uint8_t *p = m->records;
    for (uint32_t i = 0; i < RECORDS; i++) {
        const struct record r = {.offset_delta = i,
                                 .timestamp_delta = i,
                                 .key = with_keys ? slice_str("key") : slice_of(NULL, 0),
                                 .value = slice_str("value")};
        p = record_write(p, &r);
    }
    m->records_size = (size_t)(p - m->records);
    m->b = (struct batch){.attributes = CODEC_NONE,
                          .record_count = RECORDS,
                          .last_offset_delta = RECORDS - 1,
                          .base_timestamp = now_ms,
                          .max_timestamp = now_ms + RECORDS - 1,
                          .producer_id = -1,
                          .producer_epoch = -1,
                          .base_sequence = -1,
                          .records = slice_of(m->records, m->records_size)};
}

static struct slice seal(struct made *m)
{
    m->b.batch_crc = batch_crc(&m->b);
    batch_write_header(&m->b, m->bytes);
    memcpy(m->bytes + BATCH_HEADER_SIZE, m->b.records.data, m->b.records.size);
    m->size = BATCH_HEADER_SIZE + m->b.records.size;
    return slice_of(m->bytes, m->size);
}

static struct log_batch out[ADMIT_BATCHES_MAX];

static err run(struct admit_ctx *x, const struct admit_rules *r, struct slice s, size_t *count)
{
    const char *why = NULL;
    const err e = admit(x, r, s, now_ms, out, count, &why);
    if (e != OK)
        assert_true(why != NULL && strlen(why) > 10);
    return e;
}

static int setup(void **state)
{
    struct admit_ctx *x = MEM_NEW(struct admit_ctx);
    admit_ctx_init(x);
    *state = x;
    return 0;
}

static int teardown(void **state)
{
    admit_ctx_deinit(*state);
    mem_free(*state);
    return 0;
}

static void canonical_batch_is_admitted_in_place(void **state)
{
    struct made m;
    const struct admit_rules r = rules();
    size_t count = 0;
    make(&m, false);
    assert_ok(run(*state, &r, seal(&m), &count));
    assert_int_equal(count, 1);
    assert_ptr_equal(out[0].header, m.bytes);
    assert_ptr_equal(out[0].records.data, m.bytes + BATCH_HEADER_SIZE);
    assert_int_equal(out[0].last_offset_delta, RECORDS - 1);
    assert_true(out[0].max_timestamp == now_ms + RECORDS - 1);
}

static void several_batches_are_admitted_together_or_not_at_all(void **state)
{
    struct made m;
    const struct admit_rules r = rules();
    uint8_t two[8192];
    size_t count = 0;
    make(&m, false);
    seal(&m);
    memcpy(two, m.bytes, m.size);
    memcpy(two + m.size, m.bytes, m.size);
    assert_ok(run(*state, &r, slice_of(two, 2 * m.size), &count));
    assert_int_equal(count, 2);
    two[2 * m.size - 1] ^= 1;
    count = 99;
    assert_err(run(*state, &r, slice_of(two, 2 * m.size), &count), E_CORRUPT);
    assert_int_equal(count, 99);
}

/* Protobuf allows a flip that changes nothing: a tag turned into an unknown field's whose value was
 * the default. What is admitted must be the batch that was sent. */
static void every_flipped_bit_is_refused_or_changes_nothing(void **state)
{
    struct made m;
    const struct admit_rules r = rules();
    make(&m, false);
    seal(&m);
    uint8_t copy[4096];
    /* The leader overwrites base offset, epoch and header CRC: bytes 6 to 24 with their tags. */
    const size_t stamped_from = 6, stamped_to = 6 + 9 + 5 + 5;
    size_t harmless = 0;
    for (size_t bit = 0; bit < m.size * 8; bit++) {
        size_t count;
        if (bit / 8 >= stamped_from && bit / 8 < stamped_to)
            continue;
        memcpy(copy, m.bytes, m.size);
        copy[bit / 8] ^= (uint8_t)(1 << bit % 8);
        if (run(*state, &r, slice_of(copy, m.size), &count) == OK) {
            harmless++;
            assert_int_equal(count, 1);
            assert_memory_equal(out[0].header + stamped_to, m.bytes + stamped_to,
                                BATCH_HEADER_SIZE - stamped_to);
            assert_slice_equal(out[0].records, m.b.records);
        }
        admit_ctx_reset(*state);
    }
    assert_true(harmless < 20);
}

static void rules_are_enforced(void **state)
{
    struct made m;
    struct admit_rules r = rules();
    size_t count;

#define CASE(expected, damage)                                                                     \
    do {                                                                                           \
        make(&m, false);                                                                           \
        damage;                                                                                    \
        assert_err(run(*state, &r, seal(&m), &count), expected);                                   \
        r = rules();                                                                               \
    } while (0)

    CASE(OK, (void)0);
    CASE(E_MESSAGE_TOO_LARGE, r.batch_bytes_max = BATCH_HEADER_SIZE);
    CASE(E_UNSUPPORTED_COMPRESSION, m.b.attributes = 5);
    CASE(E_INVALID_RECORD, m.b.attributes = BATCH_CONTROL);
    CASE(E_INVALID_RECORD, m.b.attributes = BATCH_TRANSACTIONAL);
    CASE(E_INVALID_RECORD, m.b.attributes = BATCH_LOG_APPEND_TIME);
    CASE(E_INVALID_RECORD, m.b.record_count = 0);
    CASE(E_INVALID_RECORD, m.b.record_count = RECORDS + 1; m.b.last_offset_delta = RECORDS);
    CASE(E_INVALID_RECORD, m.b.last_offset_delta = RECORDS);
    CASE(E_INVALID_RECORD, m.b.producer_id = 1);
    CASE(E_WRONG_PARTITION, m.b.topic_crc = batch_topic_crc(&r.topic_id, 8));
    CASE(OK, m.b.topic_crc = batch_topic_crc(&r.topic_id, 7));
    CASE(E_INVALID_TIMESTAMP, m.b.base_timestamp += 3600001; m.b.max_timestamp += 3600001);
    CASE(OK, m.b.base_timestamp += 3500000; m.b.max_timestamp += 3500000);
    CASE(E_INVALID_TIMESTAMP, r.timestamp_before_ms_max = 10; m.b.base_timestamp -= 11;
         m.b.max_timestamp -= 11);
    CASE(E_INVALID_RECORD, m.b.max_timestamp += 1);
    CASE(E_INVALID_RECORD, r.keys_required = true);
#undef CASE
    make(&m, true);
    r.keys_required = true;
    assert_ok(run(*state, &r, seal(&m), &count));
}

static void batch_without_crc_gets_one(void **state)
{
    struct made m;
    const struct admit_rules r = rules();
    size_t count;
    make(&m, false);
    m.b.max_timestamp = 0; /* left to the broker */
    seal(&m);
    /* As a stock runtime would write it: only what is set, minimal lengths, no CRCs. */
    uint8_t plain[4096];
    uint8_t body[4096];
    uint8_t *p = body;
    p = write_u32(write_tag(p, 6, 5), RECORDS);
    p = write_u32(write_tag(p, 7, 5), RECORDS - 1);
    p = write_u64(write_tag(p, 8, 1), (uint64_t)now_ms);
    p = write_varint(write_tag(p, 15, 2), m.records_size);
    p = write_bytes(p, m.records, m.records_size);
    uint8_t *q = write_varint(write_tag(plain, 1, 2), (uint64_t)(p - body));
    q = write_bytes(q, body, (size_t)(p - body));
    assert_ok(run(*state, &r, slice_of(plain, (size_t)(q - plain)), &count));
    assert_int_equal(count, 1);

    uint8_t whole[4096];
    memcpy(whole, out[0].header, BATCH_HEADER_SIZE);
    memcpy(whole + BATCH_HEADER_SIZE, out[0].records.data, out[0].records.size);
    batch_stamp(whole, 42, 3, out[0].batch_crc);
    struct batch b;
    assert_ok(batch_read_canonical(slice_of(whole, BATCH_HEADER_SIZE + out[0].records.size), &b));
    assert_ok(batch_check_crcs(&b));
    assert_int_equal(b.base_offset, 42);
    assert_true(b.max_timestamp == now_ms + RECORDS - 1);
    assert_int_equal(b.producer_id, -1);
}

static void log_append_time_is_stamped_and_checksummed(void **state)
{
    struct made m;
    struct admit_rules r = rules();
    size_t count;
    r.log_append_time = true;
    make(&m, false);
    m.b.base_timestamp = m.b.max_timestamp = 5;
    m.b.max_timestamp = 5 + RECORDS - 1;
    assert_ok(run(*state, &r, seal(&m), &count));
    struct batch b;
    batch_stamp(m.bytes, 0, 0, out[0].batch_crc);
    assert_ok(batch_read_canonical(slice_of(m.bytes, m.size), &b));
    assert_ok(batch_check_crcs(&b));
    assert_true(b.attributes & BATCH_LOG_APPEND_TIME);
    assert_true(b.max_timestamp == now_ms);
}

static void codec_of_the_topic_wins(void **state)
{
    for (int codec = CODEC_NONE; codec <= CODEC_ZSTD; codec++) {
        struct made m;
        struct admit_rules r = rules();
        size_t count;
        r.has_codec = true;
        r.codec = (enum batch_codec)codec;
        r.codec_level = CODEC_LEVEL_DEFAULT;
        make(&m, false);
        assert_ok(run(*state, &r, seal(&m), &count));
        uint8_t whole[4096];
        memcpy(whole, out[0].header, BATCH_HEADER_SIZE);
        memcpy(whole + BATCH_HEADER_SIZE, out[0].records.data, out[0].records.size);
        batch_stamp(whole, 0, 0, out[0].batch_crc);
        struct batch b;
        assert_ok(
            batch_read_canonical(slice_of(whole, BATCH_HEADER_SIZE + out[0].records.size), &b));
        assert_ok(batch_check_crcs(&b));
        assert_int_equal(b.attributes & BATCH_CODEC_MASK, codec);
        struct buf plain = {0};
        struct admit_ctx *x = *state;
        assert_ok(codec_decompress(x->codecs, (enum batch_codec)codec, b.records, 4096, &plain));
        assert_slice_equal(buf_slice(&plain), slice_of(m.records, m.records_size));
        buf_deinit(&plain);
    }
}

static void compressed_without_crc_or_damaged_is_refused(void **state)
{
    struct made m;
    const struct admit_rules r = rules();
    size_t count;
    struct admit_ctx *x = *state;
    struct buf packed = {0};
    make(&m, false);
    assert_ok(codec_compress(x->codecs, CODEC_ZSTD, CODEC_LEVEL_DEFAULT, m.b.records, &packed));
    m.b.records = buf_slice(&packed);
    m.b.attributes = CODEC_ZSTD;
    assert_ok(run(x, &r, seal(&m), &count));
    m.b.attributes = CODEC_GZIP; /* sealed with a right CRC, but not gzip */
    assert_err(run(x, &r, seal(&m), &count), E_CORRUPT);
    buf_deinit(&packed);
}

static void empty_and_trailing_bytes_are_refused(void **state)
{
    struct made m;
    const struct admit_rules r = rules();
    size_t count;
    make(&m, false);
    seal(&m);
    assert_err(run(*state, &r, slice_of(m.bytes, 0), &count), E_INVALID_RECORD);
    for (size_t size = 1; size < m.size; size++)
        assert_int_not_equal(run(*state, &r, slice_of(m.bytes, size), &count), OK);
    m.bytes[m.size] = 0;
    assert_err(run(*state, &r, slice_of(m.bytes, m.size + 1), &count), E_INVALID_RECORD);
}

int main(int argc, char **argv)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(canonical_batch_is_admitted_in_place),
        T(several_batches_are_admitted_together_or_not_at_all),
        T(every_flipped_bit_is_refused_or_changes_nothing),
        T(rules_are_enforced),
        T(batch_without_crc_gets_one),
        T(log_append_time_is_stamped_and_checksummed),
        T(codec_of_the_topic_wins),
        T(compressed_without_crc_or_damaged_is_refused),
        T(empty_and_trailing_bytes_are_refused),
    };
    return TEST_MAIN(tests, NULL, NULL);
}
