/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/wire/fetch.h"

#include "proto/base/mem.h"
#include "proto/wire/frame.h"
#include "tests/support/test.h"
#include "tests/support/wire_oracle.h"

static const uint8_t id_a[16] = {1}, id_b[16] = {2};

static const struct fetch_part parts[] = {
    {true, {(const uint8_t *)"alpha", 5}, {id_a, 16}, 0, 0, 1 << 20, 3},
    {false, {(const uint8_t *)"alpha", 5}, {id_a, 16}, 7, INT64_MAX, 1, -1},
    {true, {NULL, 0}, {id_b, 16}, 1, 128, UINT32_MAX, 0},
};
enum { PARTS = sizeof parts / sizeof parts[0] };
static const struct fetch_request request = {
    .max_wait_ms = 0, .min_bytes = 100, .max_bytes = 1 << 30};

static void assert_agrees(const char *wrong)
{
    if (wrong)
        fail_msg("%s", wrong);
}

static struct buf written_request(size_t count)
{
    struct buf bytes = {0};
    const size_t size = fetch_request_size(&request, parts, count);
    uint8_t *p = buf_reserve(&bytes, size);
    assert_ptr_equal(fetch_request_write(p, &request, parts, count), p + size);
    bytes.size = size;
    return bytes;
}

static void a_written_request_reads_back(void **state)
{
    (void)state;
    for (size_t count = 0; count <= PARTS; count++) {
        struct buf bytes = written_request(count);
        struct msg_peek m;
        struct fetch_request req;
        assert_ok(msg_peek_request(buf_slice(&bytes), &m));
        assert_int_equal(m.body_field, API_FETCH);
        assert_ok(fetch_parse(m.body, &req));
        assert_int_equal(req.max_wait_ms, 0);
        assert_int_equal(req.min_bytes, 100);
        assert_int_equal(req.max_bytes, 1 << 30);
        assert_int_equal(req.partition_count, count);
        struct fetch_cursor cur;
        struct fetch_part part;
        fetch_begin(&cur, &req);
        for (size_t i = 0; i < count; i++) {
            assert_true(fetch_next(&cur, &part));
            assert_int_equal(part.first_of_topic, parts[i].first_of_topic);
            assert_slice_equal(part.topic_name, parts[i].topic_name);
            assert_slice_equal(part.topic_id, parts[i].topic_id);
            assert_int_equal(part.partition, parts[i].partition);
            assert_int_equal(part.fetch_offset, parts[i].fetch_offset);
            assert_int_equal(part.max_bytes, parts[i].max_bytes);
            assert_int_equal(part.leader_epoch, parts[i].leader_epoch);
        }
        assert_false(fetch_next(&cur, &part));
        assert_agrees(oracle_fetch_request(m.body));
        buf_deinit(&bytes);
    }
}

static void defaults_are_the_schemas(void **state)
{
    (void)state;
    uint8_t bytes[16];
    struct fetch_request req;
    const struct slice body = slice_of(bytes, test_unhex("22 02 1a 00", bytes, sizeof bytes));
    assert_ok(fetch_parse(body, &req));
    assert_int_equal(req.max_wait_ms, 500);
    assert_int_equal(req.min_bytes, 1);
    assert_int_equal(req.max_bytes, 52428800);
    struct fetch_cursor cur;
    struct fetch_part part;
    fetch_begin(&cur, &req);
    assert_true(fetch_next(&cur, &part));
    assert_int_equal(part.max_bytes, 1048576);
    assert_int_equal(part.leader_epoch, -1);
    assert_agrees(oracle_fetch_request(body));
}

static void bad_requests_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "08 01 08 01",             /* max_wait_ms twice */
        "22 05 0a 00",             /* topic cut short */
        "22 03 0a 01 00",          /* a name with a NUL */
        "22 03 12 01 61",          /* an id that is no id */
        "22 06 1a 04 10 01 10 01", /* fetch_offset twice */
        "22 05 1a 03 11 00 00",    /* fetch_offset of another type */
        "22 03 1a 01 08",          /* a number cut short */
        "2b 2c",                   /* a group */
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        uint8_t bytes[64];
        struct fetch_request req;
        const struct slice body = slice_of(bytes, test_unhex(bad[i], bytes, sizeof bytes));
        if (fetch_parse(body, &req) != E_INVALID_REQUEST)
            fail_msg("%s was taken", bad[i]);
        assert_agrees(oracle_fetch_request(body));
    }
}

static void five_thousand_partitions_are_legal(void **state)
{
    (void)state;
    enum { MANY = 5000 };
    struct fetch_part *many = mem_zalloc(MANY * sizeof *many);
    for (uint32_t i = 0; i < MANY; i++)
        many[i] = (struct fetch_part){.first_of_topic = i % 2 == 0,
                                      .topic_name = slice_str("t"),
                                      .partition = i,
                                      .max_bytes = 1,
                                      .leader_epoch = -1};
    struct buf bytes = {0};
    const size_t size = fetch_request_size(&request, many, MANY);
    fetch_request_write(buf_reserve(&bytes, size), &request, many, MANY);
    bytes.size = size;
    struct msg_peek m;
    struct fetch_request req;
    assert_ok(msg_peek_request(buf_slice(&bytes), &m));
    assert_ok(fetch_parse(m.body, &req));
    assert_int_equal(req.partition_count, MANY);
    assert_agrees(oracle_fetch_request(m.body));
    mem_free(many);
    buf_deinit(&bytes);
}

static const struct fetch_result results[] = {
    {.topic_name = {(const uint8_t *)"alpha", 5},
     .topic_id = {id_a, 16},
     .first_of_topic = true,
     .partition = 0,
     .high_watermark = 100,
     .log_start_offset = 0,
     .leader_id = -1,
     .leader_epoch = -1,
     .batches = {(const uint8_t *)"some batches", 12}},
    {.topic_name = {(const uint8_t *)"alpha", 5},
     .topic_id = {id_a, 16},
     .partition = 1,
     .error = E_OFFSET_OUT_OF_RANGE,
     .error_message = {(const uint8_t *)"offset 7", 8},
     .high_watermark = 5,
     .log_start_offset = 3,
     .leader_id = -1,
     .leader_epoch = -1},
    {.topic_id = {id_b, 16},
     .first_of_topic = true,
     .partition = 2,
     .error = E_NOT_LEADER,
     .error_message = {(const uint8_t *)"moved", 5},
     .high_watermark = -1,
     .log_start_offset = -1,
     .leader_id = 0,
     .leader_host = {(const uint8_t *)"::1", 3},
     .leader_port = 65535,
     .leader_epoch = 9},
    {.topic_name = {(const uint8_t *)"z", 1},
     .first_of_topic = true,
     .partition = 3,
     .high_watermark = INT64_MAX,
     .log_start_offset = 1,
     .leader_id = -1,
     .leader_epoch = -1,
     .batches = {(const uint8_t *)"x", 1}},
};
enum { RESULTS = sizeof results / sizeof results[0] };

/* The frame as it is on the wire: heads with the batches between them. */
static struct buf written_response(uint64_t correlation_id, size_t count)
{
    struct buf frame = {0};
    const size_t size = fetch_heads_size(correlation_id, results, count);
    uint8_t *heads = mem_alloc(size);
    size_t sizes[RESULTS] = {0}, at = 0;
    fetch_response_heads(correlation_id, results, count, heads, sizes);
    for (size_t i = 0; i < count; i++) {
        buf_append(&frame, heads + at, sizes[i]);
        buf_append(&frame, results[i].batches.data, results[i].batches.size);
        at += sizes[i];
    }
    if (count == 0)
        buf_append(&frame, heads, size);
    else
        assert_int_equal(at, size);
    mem_free(heads);
    return frame;
}

static void a_written_response_reads_back(void **state)
{
    (void)state;
    for (size_t count = 0; count <= RESULTS; count++) {
        struct buf frame = written_response(count << 40, count);
        size_t length;
        struct msg_peek m;
        assert_ok(frame_read_length(buf_slice(&frame), frame.size, &length));
        assert_int_equal(length, frame.size - FRAME_PREFIX_SIZE);
        assert_ok(msg_peek_response(slice_of(frame.data + FRAME_PREFIX_SIZE, length), &m));
        assert_int_equal(m.correlation_id, count << 40);
        assert_int_equal(m.body_field, API_FETCH);
        struct fetch_response_cursor cur;
        struct fetch_result r;
        fetch_response_begin(&cur, m.body);
        for (size_t i = 0; i < count; i++) {
            assert_ok(fetch_response_next(&cur, &r));
            assert_slice_equal(r.topic_name, results[i].topic_name);
            assert_slice_equal(r.topic_id, results[i].topic_id);
            assert_int_equal(r.first_of_topic, results[i].first_of_topic);
            assert_int_equal(r.partition, results[i].partition);
            assert_err(r.error, results[i].error);
            assert_slice_equal(r.error_message, results[i].error_message);
            assert_int_equal(r.high_watermark, results[i].high_watermark);
            assert_int_equal(r.log_start_offset, results[i].log_start_offset);
            assert_int_equal(r.leader_id, results[i].leader_id);
            assert_slice_equal(r.leader_host, results[i].leader_host);
            assert_int_equal(r.leader_port, results[i].leader_port);
            assert_int_equal(r.leader_epoch, results[i].leader_epoch);
            assert_slice_equal(r.batches, results[i].batches);
        }
        assert_err(fetch_response_next(&cur, &r), E_END);
        assert_agrees(oracle_fetch_response(m.body));
        buf_deinit(&frame);
    }
}

static void damaged_results_are_corrupt_and_stay_so(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "0a 06 1a 04 08 01 08 01",    /* partition twice */
        "0a 06 1a 04 7a 00 7a 00",    /* batches twice */
        "0a 04 1a 02 78 01",          /* batches of another type */
        "0a 05 1a 03 7a 05 61",       /* batches cut short */
        "0a 05 1a 03 32 01 ff",       /* a host that is not text */
        "0a 06 1a 04 12 02 08 80",    /* an error that is no message */
        "0a 05 1a 02 08 01",          /* a topic cut short */
        "0a 07 12 01 61 1a 02 08 01", /* an id that is no id */
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        uint8_t bytes[32];
        struct fetch_response_cursor cur;
        struct fetch_result r = {.partition = 77};
        fetch_response_begin(&cur, slice_of(bytes, test_unhex(bad[i], bytes, sizeof bytes)));
        for (int again = 0; again < 2; again++)
            if (fetch_response_next(&cur, &r) != E_CORRUPT)
                fail_msg("%s was taken", bad[i]);
        assert_int_equal(r.partition, 77);
    }
}

/* Goal and method: as in test_produce.c. */
static void parsers_agree_with_protobuf_c_on_damaged_messages(void **state)
{
    (void)state;
    struct rng r = test_rng();
    struct buf wholes[] = {written_request(PARTS), written_response(9, RESULTS)};
    for (int round = 0; round < 40000; round++) {
        const bool is_request = round % 2;
        const struct buf *whole = &wholes[!is_request];
        uint8_t bytes[1024];
        struct msg_peek m;
        assert_true(whole->size <= sizeof bytes);
        memcpy(bytes, whole->data, whole->size);
        if (is_request)
            assert_ok(msg_peek_request(slice_of(bytes, whole->size), &m));
        else
            assert_ok(msg_peek_response(slice_of(bytes + 4, whole->size - 4), &m));
        for (uint64_t n = rng_below(&r, 4); n > 0; n--) {
            uint8_t *byte = bytes + (m.body.data - bytes) + rng_below(&r, m.body.size);
            *byte = (uint8_t)(rng_below(&r, 2) ? *byte ^ 1 << rng_below(&r, 8)
                                               : (int)rng_below(&r, 256));
        }
        m.body.size -= rng_below(&r, 8) ? 0 : rng_below(&r, m.body.size);
        const char *wrong =
            is_request ? oracle_fetch_request(m.body) : oracle_fetch_response(m.body);
        if (wrong)
            fail_msg("round %d: %s", round, wrong);
    }
    buf_deinit(&wholes[0]);
    buf_deinit(&wholes[1]);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_written_request_reads_back),
        cmocka_unit_test(defaults_are_the_schemas),
        cmocka_unit_test(bad_requests_are_refused),
        cmocka_unit_test(five_thousand_partitions_are_legal),
        cmocka_unit_test(a_written_response_reads_back),
        cmocka_unit_test(damaged_results_are_corrupt_and_stay_so),
        cmocka_unit_test(parsers_agree_with_protobuf_c_on_damaged_messages),
    };
    return TEST_MAIN(tests, NULL, NULL);
}
