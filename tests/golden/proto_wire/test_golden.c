/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes that may never change: what is on disks and in other people's clients.
 * They were made by a separate program (Python, its gzip, the lz4 and zstd
 * commands, a bitwise CRC-32C), not by the code they test. A new version of the
 * format brings new bytes; these keep passing.
 */
#include <stdio.h>

#include "proto/base/buf.h"
#include "proto/base/limits.h"
#include "proto/base/mem.h"
#include "proto/schema/request.pb-c.h"
#include "proto/wire/batch.h"
#include "proto/wire/codec.h"
#include "proto/wire/fetch.h"
#include "proto/wire/frame.h"
#include "proto/wire/msg.h"
#include "proto/wire/produce.h"
#include "proto/wire/record.h"
#include "tests/support/test.h"

/* clang-format off */
static const char batch_none[] =
    "0a 8d 81 80 80 00 09 05 04 03 02 01 00 00 00 15 06 00 00 00 1d 33 54 ca a0 25 74 ca 93 56 2d 00"
    "00 00 00 35 03 00 00 00 3d 02 00 00 00 41 00 68 e5 cf 8b 01 00 00 49 05 68 e5 cf 8b 01 00 00 51"
    "67 12 00 00 00 00 00 00 5d 02 00 00 00 65 2c 01 00 00 6d 66 29 a1 93 7a b6 80 80 80 00 0a 09 08"
    "00 22 05 66 69 72 73 74 0a 21 08 01 10 0a 1a 03 6b 65 79 22 06 73 65 63 6f 6e 64 2a 06 0a 01 68"
    "12 01 ff 2a 06 0a 04 6e 6f 6e 65 0a 06 08 02 10 05 1a 00";
static const char batch_gzip[] =
    "0a 9f 81 80 80 00 09 05 04 03 02 01 00 00 00 15 06 00 00 00 1d f5 4c 1a ad 25 46 99 97 7b 2d 01"
    "00 00 00 35 03 00 00 00 3d 02 00 00 00 41 00 68 e5 cf 8b 01 00 00 49 05 68 e5 cf 8b 01 00 00 51"
    "67 12 00 00 00 00 00 00 5d 02 00 00 00 65 2c 01 00 00 6d 66 29 a1 93 7a c8 80 80 80 00 1f 8b 08"
    "00 00 00 00 00 02 03 e3 e2 e4 60 50 62 4d cb 2c 2a 2e e1 52 e4 60 14 e0 92 62 ce 4e ad 54 62 2b"
    "4e 4d ce cf 4b d1 62 e3 62 cc 10 62 fc 0f a4 59 f2 f2 f3 52 b9 d8 38 98 04 58 a5 18 00 23 75 11"
    "f2 36 00 00 00";
static const char batch_snappy[] =
    "0a 8f 81 80 80 00 09 05 04 03 02 01 00 00 00 15 06 00 00 00 1d f1 8b 0f 52 25 e9 71 e6 75 2d 02"
    "00 00 00 35 03 00 00 00 3d 02 00 00 00 41 00 68 e5 cf 8b 01 00 00 49 05 68 e5 cf 8b 01 00 00 51"
    "67 12 00 00 00 00 00 00 5d 02 00 00 00 65 2c 01 00 00 6d 66 29 a1 93 7a b8 80 80 80 00 36 d4 0a"
    "09 08 00 22 05 66 69 72 73 74 0a 21 08 01 10 0a 1a 03 6b 65 79 22 06 73 65 63 6f 6e 64 2a 06 0a"
    "01 68 12 01 ff 2a 06 0a 04 6e 6f 6e 65 0a 06 08 02 10 05 1a 00";
static const char batch_lz4[] =
    "0a a0 81 80 80 00 09 05 04 03 02 01 00 00 00 15 06 00 00 00 1d 23 92 c2 e6 25 28 e2 98 cc 2d 03"
    "00 00 00 35 03 00 00 00 3d 02 00 00 00 41 00 68 e5 cf 8b 01 00 00 49 05 68 e5 cf 8b 01 00 00 51"
    "67 12 00 00 00 00 00 00 5d 02 00 00 00 65 2c 01 00 00 6d 66 29 a1 93 7a c9 80 80 80 00 04 22 4d"
    "18 64 40 a7 36 00 00 80 0a 09 08 00 22 05 66 69 72 73 74 0a 21 08 01 10 0a 1a 03 6b 65 79 22 06"
    "73 65 63 6f 6e 64 2a 06 0a 01 68 12 01 ff 2a 06 0a 04 6e 6f 6e 65 0a 06 08 02 10 05 1a 00 00 00"
    "00 00 f4 8f 85 f2";
static const char batch_zstd[] =
    "0a 9a 81 80 80 00 09 05 04 03 02 01 00 00 00 15 06 00 00 00 1d 6b a4 9e b0 25 fb 95 0a 0a 2d 04"
    "00 00 00 35 03 00 00 00 3d 02 00 00 00 41 00 68 e5 cf 8b 01 00 00 49 05 68 e5 cf 8b 01 00 00 51"
    "67 12 00 00 00 00 00 00 5d 02 00 00 00 65 2c 01 00 00 6d 66 29 a1 93 7a c3 80 80 80 00 28 b5 2f"
    "fd 04 58 b1 01 00 0a 09 08 00 22 05 66 69 72 73 74 0a 21 08 01 10 0a 1a 03 6b 65 79 22 06 73 65"
    "63 6f 6e 64 2a 06 0a 01 68 12 01 ff 2a 06 0a 04 6e 6f 6e 65 0a 06 08 02 10 05 1a 00 2d 29 63 26";
static const char hello_request[] =
    "00 00 00 1c 08 01 12 06 67 6f 6c 64 65 6e 52 10 08 01 10 01 1a 0a 67 6f 6c 64 65 6e 20 31 2e 30";
static const char hello_response[] =
    "00 00 00 2e 08 01 52 2a 08 01 12 0c 73 6c 75 69 63 65 20 30 2e 31 2e 30 22 06 62 72 6f 6b 65 72"
    "28 01 32 07 63 6c 75 73 74 65 72 38 80 80 80 32 40 03";
static const char produce_request[] =
    "00 00 00 5e 08 ac 02 12 06 67 6f 6c 64 65 6e 5a 51 08 01 10 dc 0b 1a 30 0a 05 74 6f 70 69 63 12"
    "10 10 11 12 13 14 15 16 17 18 19 1a 1b 1c 1d 1e 1f 1a 0d 08 03 10 06 1a 07 42 41 54 43 48 2d 41"
    "1a 06 08 04 1a 02 42 42 1a 18 12 10 10 11 12 13 14 15 16 17 18 19 1a 1b 1c 1d 1e 1f 1a 04 08 00"
    "1a 00";
static const char produce_response[] =
    "00 00 00 5b 08 ac 02 5a 56 0a 54 0a 05 74 6f 70 69 63 12 10 10 11 12 13 14 15 16 17 18 19 1a 1b"
    "1c 1d 1e 1f 1a 0f 08 03 18 64 20 6d 28 80 d0 95 ff bc 31 30 00 1a 28 08 04 12 17 08 06 10 02 1a"
    "11 62 72 6f 6b 65 72 20 32 20 6c 65 61 64 73 20 69 74 38 02 42 04 68 6f 73 74 48 cc 48 50 07";
static const char fetch_request_bytes[] =
    "00 00 00 3c 08 ad 02 12 06 67 6f 6c 64 65 6e 62 2f 08 64 10 01 18 80 80 40 22 25 0a 05 74 6f 70"
    "69 63 12 10 10 11 12 13 14 15 16 17 18 19 1a 1b 1c 1d 1e 1f 1a 0a 08 03 10 64 18 80 80 04 20 06";
static const char fetch_response[] =
    "00 00 00 54 08 ad 02 62 4f 0a 4d 0a 05 74 6f 70 69 63 12 10 10 11 12 13 14 15 16 17 18 19 1a 1b"
    "1c 1d 1e 1f 1a 0f 08 03 18 6e 20 05 7a 07 42 41 54 43 48 45 53 1a 21 08 04 12 19 08 01 10 03 1a"
    "13 6f 66 66 73 65 74 20 39 20 69 73 20 61 62 6f 76 65 20 35 18 05 20 02";
/* clang-format on */

/* What stands in all batches above. */
static const uint8_t topic_id[16] = {0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17,
                                     0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f};
static const struct record_header headers[] = {
    {{(const uint8_t *)"h", 1}, {(const uint8_t *)"\xff", 1}},
    {{(const uint8_t *)"none", 4}, {NULL, 0}}};
static const struct record records[] = {
    {.offset_delta = 0, .value = {(const uint8_t *)"first", 5}},
    {.offset_delta = 1,
     .timestamp_delta = 5,
     .key = {(const uint8_t *)"key", 3},
     .value = {(const uint8_t *)"second", 6},
     .headers = headers,
     .header_count = 2},
    {.offset_delta = 2, .timestamp_delta = -3, .key = {(const uint8_t *)"", 0}},
};

static struct slice bytes_of(const char *hex)
{
    static uint8_t bytes[1024];
    return slice_of(bytes, test_unhex(hex, bytes, sizeof bytes));
}

static struct buf written_records(void)
{
    struct buf b = {0};
    for (size_t i = 0; i < 3; i++) {
        const size_t size = record_size(&records[i]);
        record_write(buf_reserve(&b, size), &records[i]);
        b.size += size;
    }
    return b;
}

static struct batch golden_batch(enum batch_codec codec, struct slice payload)
{
    struct uuid id;
    memcpy(id.bytes, topic_id, sizeof id.bytes);
    struct batch b = {
        .base_offset = 0x0102030405,
        .leader_epoch = 6,
        .attributes = codec,
        .record_count = 3,
        .last_offset_delta = 2,
        .base_timestamp = 1700000000000,
        .max_timestamp = 1700000000005,
        .producer_id = 4711,
        .producer_epoch = 2,
        .base_sequence = 300,
        .topic_crc = batch_topic_crc(&id, 3),
        .records = payload,
    };
    b.batch_crc = batch_crc(&b);
    b.header_crc = batch_header_crc(b.base_offset, b.leader_epoch, b.batch_crc);
    return b;
}

static void batches_are_written_as_ever(void **state)
{
    (void)state;
    struct buf payload = written_records();
    const struct batch b = golden_batch(CODEC_NONE, buf_slice(&payload));
    struct buf bytes = {0};
    batch_write_header(&b, buf_reserve(&bytes, BATCH_HEADER_SIZE));
    bytes.size = BATCH_HEADER_SIZE;
    buf_append(&bytes, payload.data, payload.size);
    assert_slice_equal(buf_slice(&bytes), bytes_of(batch_none));
    buf_deinit(&bytes);
    buf_deinit(&payload);
}

static void batches_of_every_codec_are_read_as_ever(void **state)
{
    (void)state;
    static const char *const golden[] = {batch_none, batch_gzip, batch_snappy, batch_lz4,
                                         batch_zstd};
    struct codec_ctx *ctx = codec_ctx_new();
    struct buf expected = written_records();
    for (unsigned codec = CODEC_NONE; codec <= CODEC_ZSTD; codec++) {
        struct batch b;
        struct batch_summary summary;
        struct buf plain = {0};
        assert_ok(batch_read_canonical(bytes_of(golden[codec]), &b));
        assert_ok(batch_check_crcs(&b));
        assert_int_equal(b.attributes, codec);
        const struct batch same = golden_batch((enum batch_codec)codec, b.records);
        assert_int_equal(b.base_offset, same.base_offset);
        assert_int_equal(b.batch_crc, same.batch_crc);
        assert_int_equal(b.header_crc, same.header_crc);
        assert_int_equal(b.topic_crc, same.topic_crc);
        assert_ok(codec_decompress(ctx, (enum batch_codec)codec, b.records,
                                   codec_limit(b.records.size), &plain));
        assert_slice_equal(buf_slice(&plain), buf_slice(&expected));
        assert_ok(batch_check_records(&b, buf_slice(&plain), true, &summary));
        assert_int_equal(summary.max_timestamp_seen, 1700000000005);
        assert_int_equal(summary.max_timestamp_offset_delta, 1);
        buf_deinit(&plain);
    }
    buf_deinit(&expected);
    codec_ctx_free(ctx);
}

/* The schema's promise: stock tools read a segment as it lies on disk. */
static void protoc_prints_a_segment(void **state)
{
    (void)state;
    char *path = mem_printf("%s/00000000000000000000.log", test_dir());
    const struct slice bytes = bytes_of(batch_none);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes.data, 1, bytes.size, f), bytes.size);
    assert_int_equal(fclose(f), 0);
    char *command =
        mem_printf("protoc --decode=sluice.Segment -I proto/schema log.proto < %s", path);
    FILE *p = popen(command, "r");
    assert_non_null(p);
    char text[2048];
    text[fread(text, 1, sizeof text - 1, p)] = 0;
    assert_int_equal(pclose(p), 0);
    static const char expected[] =
        "batch {\n"
        "  base_offset: 4328719365\n"
        "  leader_epoch: 6\n"
        "  header_crc: 2697614387\n"
        "  batch_crc: 1452526196\n"
        "  attributes: 0\n"
        "  record_count: 3\n"
        "  last_offset_delta: 2\n"
        "  base_timestamp: 1700000000000\n"
        "  max_timestamp: 1700000000005\n"
        "  producer_id: 4711\n"
        "  producer_epoch: 2\n"
        "  base_sequence: 300\n"
        "  topic_crc: 2476812646\n"
        "  records: "
        "\"\\n\\t\\010\\000\\\"\\005first\\n!\\010\\001\\020\\n\\032\\003key\\\"\\006second"
        "*\\006\\n\\001h\\022\\001\\377*\\006\\n\\004none\\n\\006\\010\\002\\020\\005\\032\\000\"\n"
        "}\n";
    assert_string_equal(text, expected);
    mem_free(path);
    mem_free(command);
}

/* A frame's head in front of a body field that was written already. */
static void append_request(struct buf *out, uint64_t correlation_id, struct slice field)
{
    const struct slice me = slice_str("golden");
    const size_t size = frame_request_head_size(correlation_id, me);
    frame_request_head_write(buf_reserve(out, size), correlation_id, me, field.size);
    out->size += size;
    buf_append(out, field.data, field.size);
}

static void hello_is_as_ever(void **state)
{
    (void)state;
    Sluice__HelloRequest hello = SLUICE__HELLO_REQUEST__INIT;
    hello.has_min_version = hello.has_max_version = 1;
    hello.min_version = hello.max_version = 1;
    hello.software = (char *)(uintptr_t) "golden 1.0";
    Sluice__Request request = SLUICE__REQUEST__INIT;
    request.body_case = SLUICE__REQUEST__BODY_HELLO;
    request.hello = &hello;
    struct buf field = {0}, bytes = {0};
    msg_pack(&request, &field);
    append_request(&bytes, 1, buf_slice(&field));
    assert_slice_equal(buf_slice(&bytes), bytes_of(hello_request));
    buf_deinit(&field);
    buf_deinit(&bytes);

    const struct slice frame = bytes_of(hello_response);
    struct arena arena;
    void *out;
    arena_init(&arena, 64 * KIB);
    assert_ok(msg_unpack(&sluice__response__descriptor, slice_sub(frame, 4, SIZE_MAX), &arena, &out,
                         NULL));
    const Sluice__Response *response = out;
    assert_int_equal(response->correlation_id, 1);
    assert_int_equal(response->hello->version, 1);
    assert_string_equal(response->hello->software, "sluice 0.1.0");
    assert_string_equal(response->hello->role, "broker");
    assert_int_equal(response->hello->broker_id, 1);
    assert_string_equal(response->hello->cluster_id, "cluster");
    assert_int_equal(response->hello->frame_bytes_max, 104857600);
    assert_int_equal(response->hello->incarnation, 3);
    msg_pack(response, &bytes);
    assert_slice_equal(buf_slice(&bytes), slice_sub(frame, 4, SIZE_MAX));
    buf_deinit(&bytes);
    arena_deinit(&arena);
}

static void produce_is_as_ever(void **state)
{
    (void)state;
    const struct produce_part parts[] = {
        {true, slice_str("topic"), slice_of(topic_id, 16), 3, 6, slice_str("BATCH-A")},
        {false, slice_str("topic"), slice_of(topic_id, 16), 4, -1, slice_str("BB")},
        {true, slice_of(NULL, 0), slice_of(topic_id, 16), 0, -1, slice_of(NULL, 0)},
    };
    uint8_t heads[1024];
    size_t sizes[3], at = 0;
    struct buf field = {0}, bytes = {0};
    assert_true(3 * produce_head_size_max() <= sizeof heads);
    produce_request_heads(1, 1500, parts, 3, heads, sizes);
    for (size_t i = 0; i < 3; i++) {
        buf_append(&field, heads + at, sizes[i]);
        buf_append(&field, parts[i].batches.data, parts[i].batches.size);
        at += sizes[i];
    }
    append_request(&bytes, 300, buf_slice(&field));
    assert_slice_equal(buf_slice(&bytes), bytes_of(produce_request));

    const struct produce_result results[] = {
        {.topic_name = slice_str("topic"),
         .topic_id = slice_of(topic_id, 16),
         .first_of_topic = true,
         .partition = 3,
         .base_offset = 100,
         .last_offset = 109,
         .log_append_time_ms = 1700000000000,
         .log_start_offset = 0,
         .leader_id = -1,
         .leader_epoch = -1},
        {.partition = 4,
         .error = E_NOT_LEADER,
         .error_message = slice_str("broker 2 leads it"),
         .log_append_time_ms = -1,
         .log_start_offset = -1,
         .leader_id = 2,
         .leader_host = slice_str("host"),
         .leader_port = 9292,
         .leader_epoch = 7},
    };
    buf_clear(&bytes);
    const size_t size = produce_response_size(300, results, 2);
    produce_response_write(buf_reserve(&bytes, size), 300, results, 2);
    bytes.size = size;
    assert_slice_equal(buf_slice(&bytes), bytes_of(produce_response));
    buf_deinit(&field);
    buf_deinit(&bytes);
}

static void fetch_is_as_ever(void **state)
{
    (void)state;
    const struct fetch_request request = {.max_wait_ms = 100, .min_bytes = 1, .max_bytes = MIB};
    const struct fetch_part part = {
        true, slice_str("topic"), slice_of(topic_id, 16), 3, 100, 64 * KIB, 6};
    struct buf field = {0}, bytes = {0};
    const size_t size = fetch_request_size(&request, &part, 1);
    fetch_request_write(buf_reserve(&field, size), &request, &part, 1);
    field.size = size;
    append_request(&bytes, 301, buf_slice(&field));
    assert_slice_equal(buf_slice(&bytes), bytes_of(fetch_request_bytes));

    const struct fetch_result results[] = {
        {.topic_name = slice_str("topic"),
         .topic_id = slice_of(topic_id, 16),
         .first_of_topic = true,
         .partition = 3,
         .high_watermark = 110,
         .log_start_offset = 5,
         .leader_id = -1,
         .leader_epoch = -1,
         .batches = slice_str("BATCHES")},
        {.partition = 4,
         .error = E_OFFSET_OUT_OF_RANGE,
         .error_message = slice_str("offset 9 is above 5"),
         .high_watermark = 5,
         .log_start_offset = 2,
         .leader_id = -1,
         .leader_epoch = -1},
    };
    uint8_t heads[256];
    size_t sizes[2];
    assert_true(fetch_heads_size(301, results, 2) <= sizeof heads);
    fetch_response_heads(301, results, 2, heads, sizes);
    buf_clear(&bytes);
    buf_append(&bytes, heads, sizes[0]);
    buf_append_str(&bytes, "BATCHES");
    buf_append(&bytes, heads + sizes[0], sizes[1]);
    assert_slice_equal(buf_slice(&bytes), bytes_of(fetch_response));
    buf_deinit(&field);
    buf_deinit(&bytes);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batches_are_written_as_ever),
        cmocka_unit_test(batches_of_every_codec_are_read_as_ever),
        cmocka_unit_test(protoc_prints_a_segment),
        cmocka_unit_test(hello_is_as_ever),
        cmocka_unit_test(produce_is_as_ever),
        cmocka_unit_test(fetch_is_as_ever),
    };
    return TEST_MAIN(tests, NULL, NULL);
}
