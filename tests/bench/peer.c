/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/peer.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "proto/base/crc32c.h"
#include "proto/base/mem.h"
#include "proto/base/rng.h"
#include "proto/base/writer.h"
#include "proto/schema/request.pb-c.h"
#include "proto/wire/batch.h"
#include "proto/wire/record.h"
#include "tests/bench/bench.h"

enum { IN_BYTES = 1 << 20, REPLY_TIMEOUT_MS = 60000 };

/* --- bytes --- */

static uint32_t frame_size(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return __builtin_bswap32(v);
}

size_t peer_send_some(struct peer *p, struct slice bytes)
{
    const ssize_t n = send(p->fd, bytes.data, bytes.size, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN)
        die("send: %s", strerror(errno));
    return n < 0 ? 0 : (size_t)n;
}

void peer_send(struct peer *p, struct slice bytes)
{
    while (bytes.size > 0) {
        const size_t n = peer_send_some(p, bytes);
        bytes = slice_sub(bytes, n, bytes.size);
        if (bytes.size > 0)
            wait_for(p->fd, true, -1);
    }
}

bool peer_receive(struct peer *p)
{
    if (p->in_pos == p->in_size)
        p->in_pos = p->in_size = 0;
    const size_t left = p->in_size - p->in_pos;
    size_t want = IN_BYTES;
    if (left >= 4 && 4 + (size_t)frame_size(p->in + p->in_pos) > want)
        want = 4 + (size_t)frame_size(p->in + p->in_pos);
    if (p->in_pos > 0 && p->in_capacity - p->in_pos < want) {
        memmove(p->in, p->in + p->in_pos, left);
        p->in_pos = 0;
        p->in_size = left;
    }
    if (p->in_capacity < want) {
        p->in = mem_realloc(p->in, want);
        p->in_capacity = want;
    }
    const ssize_t n = recv(p->fd, p->in + p->in_size, p->in_capacity - p->in_size, 0);
    if (n == 0)
        die("the server closed the connection");
    if (n < 0 && errno != EAGAIN)
        die("recv: %s", strerror(errno));
    p->in_size += n > 0 ? (size_t)n : 0;
    return n > 0;
}

bool peer_next(struct peer *p, struct slice *frame)
{
    const size_t left = p->in_size - p->in_pos;
    if (left < 4 || left - 4 < frame_size(p->in + p->in_pos))
        return false;
    *frame = slice_of(p->in + p->in_pos + 4, frame_size(p->in + p->in_pos));
    p->in_pos += 4 + frame->size;
    return true;
}

struct slice peer_frame(struct peer *p)
{
    struct slice frame;
    while (!peer_next(p, &frame))
        if (!peer_receive(p) && !wait_for(p->fd, false, REPLY_TIMEOUT_MS))
            die("no answer within %d s", REPLY_TIMEOUT_MS / 1000);
    return frame;
}

/* --- requests --- */

static void append_request(struct buf *out, uint64_t correlation_id, Sluice__Request *r)
{
    r->has_correlation_id = true;
    r->correlation_id = correlation_id;
    const size_t size = sluice__request__get_packed_size(r);
    uint8_t *p = buf_reserve(out, 4 + size);
    p = write_u32_be(p, (uint32_t)size);
    sluice__request__pack(r, p);
    out->size += 4 + size;
}

void append_batch(struct buf *out, const struct batch_shape *shape)
{
    struct rng rng;
    rng_init(&rng, 42);
    uint8_t *value = mem_alloc((size_t)shape->record_bytes + 8);
    for (int64_t i = 0; i < shape->record_bytes; i += 8)
        write_u64(value + i, rng_u64(&rng));

    struct buf records = {0};
    for (int64_t i = 0; i < shape->records; i++) {
        const struct record r = {.offset_delta = (uint32_t)i,
                                 .value = slice_of(value, (size_t)shape->record_bytes)};
        write_u64(value, rng_u64(&rng));
        record_write(buf_reserve(&records, record_size(&r)), &r);
        records.size += record_size(&r);
    }
    const int64_t now_ms = (int64_t)time(NULL) * 1000;
    struct batch b = {.record_count = (uint32_t)shape->records,
                      .last_offset_delta = (uint32_t)shape->records - 1,
                      .base_timestamp = now_ms,
                      .max_timestamp = now_ms,
                      .producer_id = -1,
                      .producer_epoch = -1,
                      .base_sequence = -1,
                      .records = buf_slice(&records)};
    b.batch_crc = batch_crc(&b);
    b.header_crc = batch_header_crc(0, 0, b.batch_crc);
    batch_write_header(&b, buf_reserve(out, BATCH_HEADER_SIZE));
    out->size += BATCH_HEADER_SIZE;
    buf_append(out, records.data, records.size);
    buf_deinit(&records);
    mem_free(value);
}

void append_produce(struct buf *out, uint64_t correlation_id, const char *topic, uint32_t partition,
                    int acks, struct slice batch)
{
    Sluice__ProducePartition part = SLUICE__PRODUCE_PARTITION__INIT;
    part.has_partition = true;
    part.partition = partition;
    part.has_batches = true;
    part.batches = (ProtobufCBinaryData){batch.size, (uint8_t *)(uintptr_t)batch.data};
    Sluice__ProduceTopic t = SLUICE__PRODUCE_TOPIC__INIT;
    t.name = (char *)(uintptr_t)topic;
    t.n_partition = 1;
    t.partition = &(Sluice__ProducePartition *){&part};
    Sluice__ProduceRequest produce = SLUICE__PRODUCE_REQUEST__INIT;
    produce.has_acks = true;
    produce.acks = acks;
    produce.n_topic = 1;
    produce.topic = &(Sluice__ProduceTopic *){&t};
    Sluice__Request r = SLUICE__REQUEST__INIT;
    r.body_case = SLUICE__REQUEST__BODY_PRODUCE;
    r.produce = &produce;
    append_request(out, correlation_id, &r);
}

void append_fetch(struct buf *out, uint64_t correlation_id, const char *topic, uint32_t partition,
                  int64_t offset, uint32_t max_bytes, uint32_t max_wait_ms)
{
    Sluice__FetchPartition part = SLUICE__FETCH_PARTITION__INIT;
    part.has_partition = true;
    part.partition = partition;
    part.has_fetch_offset = true;
    part.fetch_offset = offset;
    part.has_max_bytes = true;
    part.max_bytes = max_bytes;
    Sluice__FetchTopic t = SLUICE__FETCH_TOPIC__INIT;
    t.name = (char *)(uintptr_t)topic;
    t.n_partition = 1;
    t.partition = &(Sluice__FetchPartition *){&part};
    Sluice__FetchRequest fetch = SLUICE__FETCH_REQUEST__INIT;
    fetch.has_max_wait_ms = true;
    fetch.max_wait_ms = max_wait_ms;
    fetch.has_max_bytes = true;
    fetch.max_bytes = max_bytes;
    fetch.n_topic = 1;
    fetch.topic = &(Sluice__FetchTopic *){&t};
    Sluice__Request r = SLUICE__REQUEST__INIT;
    r.body_case = SLUICE__REQUEST__BODY_FETCH;
    r.fetch = &fetch;
    append_request(out, correlation_id, &r);
}

void append_create_topic(struct buf *out, const char *topic, int32_t partitions,
                         const char *config_name, const char *config_value)
{
    Sluice__Property property = SLUICE__PROPERTY__INIT;
    property.key = (char *)(uintptr_t)config_name;
    property.value = (char *)(uintptr_t)config_value;
    Sluice__NewTopic t = SLUICE__NEW_TOPIC__INIT;
    t.name = (char *)(uintptr_t)topic;
    t.has_partitions = true;
    t.partitions = partitions;
    t.n_config = config_name ? 1 : 0;
    t.config = &(Sluice__Property *){&property};
    Sluice__CreateTopicsRequest create = SLUICE__CREATE_TOPICS_REQUEST__INIT;
    create.n_topic = 1;
    create.topic = &(Sluice__NewTopic *){&t};
    Sluice__Request r = SLUICE__REQUEST__INIT;
    r.body_case = SLUICE__REQUEST__BODY_CREATE_TOPICS;
    r.create_topics = &create;
    append_request(out, 0, &r);
}

/* --- responses --- */

static void check_error(const Sluice__Error *e)
{
    if (e && e->code)
        die("the server refused: %d %s", e->code, e->message ? e->message : "");
}

static void check_produce(const Sluice__ProduceResponse *r)
{
    for (size_t t = 0; t < r->n_topic; t++)
        for (size_t i = 0; i < r->topic[t]->n_partition; i++)
            check_error(r->topic[t]->partition[i]->error);
}

static void check_fetch(const Sluice__FetchResponse *r)
{
    for (size_t t = 0; t < r->n_topic; t++)
        for (size_t i = 0; i < r->topic[t]->n_partition; i++)
            check_error(r->topic[t]->partition[i]->error);
}

static void check_topics(const Sluice__TopicsResponse *r)
{
    for (size_t t = 0; t < r->n_topic; t++)
        check_error(r->topic[t]->error);
}

static bool is_for_now(const Sluice__Error *e)
{
    return e && e->code &&
           (e->class_ == SLUICE__ERROR_CLASS__CLASS_RETRY ||
            e->class_ == SLUICE__ERROR_CLASS__CLASS_REROUTE);
}

bool is_refused_for_now(struct slice frame)
{
    bool refused = false;
    Sluice__Response *r = sluice__response__unpack(NULL, frame.size, frame.data);
    if (!r)
        die("the response of %zu bytes is not a sluice.Response", frame.size);
    if (r->body_case == SLUICE__RESPONSE__BODY_PRODUCE)
        refused = is_for_now(r->produce->topic[0]->partition[0]->error);
    else if (r->body_case == SLUICE__RESPONSE__BODY_FETCH)
        refused = is_for_now(r->fetch->topic[0]->partition[0]->error);
    sluice__response__free_unpacked(r, NULL);
    return refused;
}

void check_response(const struct peer *p, struct slice frame)
{
    if (p->is_floor)
        return;
    Sluice__Response *r = sluice__response__unpack(NULL, frame.size, frame.data);
    if (!r)
        die("the response of %zu bytes is not a sluice.Response", frame.size);
    check_error(r->error);
    if (r->body_case == SLUICE__RESPONSE__BODY_PRODUCE)
        check_produce(r->produce);
    else if (r->body_case == SLUICE__RESPONSE__BODY_FETCH)
        check_fetch(r->fetch);
    else if (r->body_case == SLUICE__RESPONSE__BODY_CREATE_TOPICS)
        check_topics(r->create_topics);
    sluice__response__free_unpacked(r, NULL);
}

/* --- life --- */

static void hello(struct peer *p)
{
    Sluice__HelloRequest h = SLUICE__HELLO_REQUEST__INIT;
    h.has_min_version = h.has_max_version = true;
    h.min_version = h.max_version = 1;
    h.software = (char *)(uintptr_t) "sluice-bench";
    Sluice__Request r = SLUICE__REQUEST__INIT;
    r.body_case = SLUICE__REQUEST__BODY_HELLO;
    r.hello = &h;
    struct buf out = {0};
    append_request(&out, 0, &r);
    peer_send(p, buf_slice(&out));
    buf_deinit(&out);
    check_response(p, peer_frame(p));
}

void peer_open_at(struct peer *p, const char *address, bool is_floor)
{
    *p = (struct peer){.fd = connect_to(address), .is_floor = is_floor};
    if (!is_floor)
        hello(p);
}

void peer_open(struct peer *p, const struct words *w)
{
    peer_open_at(p, word_need(w, "to"), word_int(w, "floor", 0) != 0);
}

void peer_close(struct peer *p)
{
    close(p->fd);
    mem_free(p->in);
    *p = (struct peer){.fd = -1};
}
