/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hand-written parsers of the hot messages; the first byte picks one.
 * Besides surviving: verdicts and values are those of protobuf-c behind the
 * pre-scan, and a request that was read and written anew reads the same.
 */
#include <stdlib.h>

#include "tests/support/wire_oracle.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PARTS_MAX = 64 };

static void must(bool held)
{
    if (!held)
        abort();
}

/* The body of a written field; what is behind it in bytes is the caller's. */
static struct slice body_of(const struct buf *bytes, uint32_t api)
{
    struct msg_peek m;
    must(msg_peek_request(buf_slice(bytes), &m) == OK && m.body_field == api);
    return m.body;
}

static void rewrite_produce(struct slice body)
{
    struct produce_request req, again;
    struct produce_cursor cur;
    struct produce_part parts[PARTS_MAX], part;
    size_t count = 0, sizes[PARTS_MAX], at = 0;
    if (produce_parse(body, &req) != OK || req.partition_count > PARTS_MAX ||
        req.partition_count == 0)
        return;
    produce_begin(&cur, &req);
    while (produce_next(&cur, &parts[count])) {
        if (parts[count].topic_name.size > TOPIC_NAME_MAX)
            return;
        count++;
    }
    uint8_t *heads = malloc(count * produce_head_size_max());
    struct buf bytes = {0};
    produce_request_heads(req.acks, req.timeout_ms, parts, count, heads, sizes);
    for (size_t i = 0; i < count; i++) {
        must(sizes[i] <= produce_head_size_max());
        buf_append(&bytes, heads + at, sizes[i]);
        buf_append(&bytes, parts[i].batches.data, parts[i].batches.size);
        at += sizes[i];
    }
    must(produce_parse(body_of(&bytes, API_PRODUCE), &again) == OK);
    must(again.acks == req.acks && again.timeout_ms == req.timeout_ms &&
         again.partition_count == count);
    produce_begin(&cur, &again);
    for (size_t i = 0; i < count; i++) {
        must(produce_next(&cur, &part));
        must(part.first_of_topic == parts[i].first_of_topic &&
             part.partition == parts[i].partition);
        must(slice_eq(part.topic_name, parts[i].topic_name) &&
             slice_eq(part.topic_id, parts[i].topic_id));
        must(part.leader_epoch == parts[i].leader_epoch &&
             slice_eq(part.batches, parts[i].batches));
    }
    free(heads);
    buf_deinit(&bytes);
}

static void rewrite_fetch(struct slice body)
{
    struct fetch_request req, again;
    struct fetch_cursor cur;
    struct fetch_part parts[PARTS_MAX], part;
    size_t count = 0;
    if (fetch_parse(body, &req) != OK || req.partition_count > PARTS_MAX)
        return;
    fetch_begin(&cur, &req);
    while (fetch_next(&cur, &parts[count]))
        count++;
    struct buf bytes = {0};
    const size_t size = fetch_request_size(&req, parts, count);
    must(fetch_request_write(buf_reserve(&bytes, size), &req, parts, count) == bytes.data + size);
    bytes.size = size;
    must(fetch_parse(body_of(&bytes, API_FETCH), &again) == OK);
    must(again.max_wait_ms == req.max_wait_ms && again.min_bytes == req.min_bytes &&
         again.max_bytes == req.max_bytes);
    fetch_begin(&cur, &again);
    for (size_t i = 0; i < count; i++) {
        must(fetch_next(&cur, &part));
        must(part.first_of_topic == parts[i].first_of_topic &&
             part.partition == parts[i].partition);
        must(slice_eq(part.topic_name, parts[i].topic_name) &&
             slice_eq(part.topic_id, parts[i].topic_id));
        must(part.fetch_offset == parts[i].fetch_offset && part.max_bytes == parts[i].max_bytes);
        must(part.leader_epoch == parts[i].leader_epoch);
    }
    buf_deinit(&bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *(*const oracles[])(struct slice) = {
        oracle_produce_request,
        oracle_fetch_request,
        oracle_produce_response,
        oracle_fetch_response,
    };
    if (size < 1)
        return 0;
    const struct slice body = slice_of(data + 1, size - 1);
    must(oracles[data[0] % 4](body) == NULL);
    if (data[0] % 4 == 0)
        rewrite_produce(body);
    if (data[0] % 4 == 1)
        rewrite_fetch(body);
    return 0;
}
