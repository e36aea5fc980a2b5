/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hand-written parsers of produce and fetch held against protobuf-c behind
 * the pre-scan, for unit tests and fuzzers alike. Each function says what
 * differs, or NULL if nothing does. A header, for fuzzers link no support library.
 */
#ifndef SLUICE_TESTS_SUPPORT_WIRE_ORACLE_H
#define SLUICE_TESTS_SUPPORT_WIRE_ORACLE_H

#include "proto/base/limits.h"
#include "proto/schema/fetch.pb-c.h"
#include "proto/schema/produce.pb-c.h"
#include "proto/wire/fetch.h"
#include "proto/wire/msg.h"
#include "proto/wire/produce.h"

enum { ORACLE_ARENA = 8 * MIB }; /* what a control frame may take: admits MESSAGE_ELEMENTS_MAX */

static inline bool oracle_is_text(struct slice s, const char *text)
{
    return slice_eq(s, text ? slice_str(text) : slice_of(NULL, 0));
}

static inline bool oracle_is_bytes(struct slice s, ProtobufCBinaryData b)
{
    return slice_eq(s, slice_of(b.data, b.len));
}

static inline bool oracle_is_id(ProtobufCBinaryData b)
{
    return b.len == 0 || b.len == 16;
}

/* Unpacks into the arena; NULL: refused. */
static inline void *oracle_unpack(const ProtobufCMessageDescriptor *type, struct slice body,
                                  struct arena *arena)
{
    void *m = NULL;
    return msg_unpack(type, body, arena, &m, NULL) == OK ? m : NULL;
}

static inline const char *oracle_produce_values(const struct produce_request *req,
                                                const Sluice__ProduceRequest *m)
{
    struct produce_cursor cur;
    struct produce_part part;
    size_t count = 0;
    if (req->acks != m->acks || req->timeout_ms != m->timeout_ms)
        return "acks or timeout_ms";
    produce_begin(&cur, req);
    for (size_t t = 0; t < m->n_topic; t++) {
        const Sluice__ProduceTopic *topic = m->topic[t];
        for (size_t i = 0; i < topic->n_partition; i++, count++) {
            const Sluice__ProducePartition *p = topic->partition[i];
            if (!produce_next(&cur, &part) || part.first_of_topic != (i == 0))
                return "partitions in topics";
            if (!oracle_is_text(part.topic_name, topic->name) ||
                !oracle_is_bytes(part.topic_id, topic->topic_id))
                return "names of a topic";
            if (part.partition != p->partition || !oracle_is_bytes(part.batches, p->batches))
                return "partition or batches";
            if (part.leader_epoch != (p->has_leader_epoch ? p->leader_epoch : -1))
                return "leader_epoch";
        }
    }
    return produce_next(&cur, &part) || count != req->partition_count ? "number of partitions"
                                                                      : NULL;
}

static inline const char *oracle_produce_request(struct slice body)
{
    struct arena arena;
    struct produce_request req;
    arena_init(&arena, ORACLE_ARENA);
    const Sluice__ProduceRequest *m =
        oracle_unpack(&sluice__produce_request__descriptor, body, &arena);
    bool good = m != NULL;
    for (size_t t = 0; good && t < m->n_topic; t++)
        good = oracle_is_id(m->topic[t]->topic_id);
    const char *wrong = NULL;
    if ((produce_parse(body, &req) == OK) != good)
        wrong = good ? "refused by hand" : "refused by protobuf-c";
    else if (good)
        wrong = oracle_produce_values(&req, m);
    arena_deinit(&arena);
    return wrong;
}

static inline const char *oracle_fetch_values(const struct fetch_request *req,
                                              const Sluice__FetchRequest *m)
{
    struct fetch_cursor cur;
    struct fetch_part part;
    size_t count = 0;
    if (req->max_wait_ms != m->max_wait_ms || req->min_bytes != m->min_bytes ||
        req->max_bytes != m->max_bytes)
        return "numbers of the request";
    fetch_begin(&cur, req);
    for (size_t t = 0; t < m->n_topic; t++) {
        const Sluice__FetchTopic *topic = m->topic[t];
        for (size_t i = 0; i < topic->n_partition; i++, count++) {
            const Sluice__FetchPartition *p = topic->partition[i];
            if (!fetch_next(&cur, &part) || part.first_of_topic != (i == 0))
                return "partitions in topics";
            if (!oracle_is_text(part.topic_name, topic->name) ||
                !oracle_is_bytes(part.topic_id, topic->topic_id))
                return "names of a topic";
            if (part.partition != p->partition || part.fetch_offset != p->fetch_offset)
                return "partition or fetch_offset";
            if (part.max_bytes != p->max_bytes ||
                part.leader_epoch != (p->has_leader_epoch ? p->leader_epoch : -1))
                return "max_bytes or leader_epoch";
        }
    }
    return fetch_next(&cur, &part) || count != req->partition_count ? "number of partitions" : NULL;
}

static inline const char *oracle_fetch_request(struct slice body)
{
    struct arena arena;
    struct fetch_request req;
    arena_init(&arena, ORACLE_ARENA);
    const Sluice__FetchRequest *m = oracle_unpack(&sluice__fetch_request__descriptor, body, &arena);
    bool good = m != NULL;
    for (size_t t = 0; good && t < m->n_topic; t++)
        good = oracle_is_id(m->topic[t]->topic_id);
    const char *wrong = NULL;
    if ((fetch_parse(body, &req) == OK) != good)
        wrong = good ? "refused by hand" : "refused by protobuf-c";
    else if (good)
        wrong = oracle_fetch_values(&req, m);
    arena_deinit(&arena);
    return wrong;
}

static inline bool oracle_is_error(err e, enum err_class class, struct slice message,
                                   const Sluice__Error *m)
{
    if (!m)
        return e == OK && class == CLASS_NONE && message.size == 0;
    const err known = err_from_wire(m->code);
    if (e != (known == OK ? E_UNKNOWN : known))
        return false;
    if (m->class_ >= CLASS_RETRY && m->class_ <= CLASS_FATAL && (int)class != m->class_)
        return false;
    return m->message && *m->message ? oracle_is_text(message, m->message) : message.size > 0;
}

#define ORACLE_INT(m, field) ((m)->has_##field ? (m)->field : -1)

static inline const char *oracle_produce_results(struct slice body,
                                                 const Sluice__ProduceResponse *m)
{
    struct produce_response_cursor cur;
    struct produce_result r;
    produce_response_begin(&cur, body);
    for (size_t t = 0; t < m->n_topic; t++) {
        const Sluice__ProduceTopicResult *topic = m->topic[t];
        for (size_t i = 0; i < topic->n_partition; i++) {
            const Sluice__ProducePartitionResult *p = topic->partition[i];
            if (produce_response_next(&cur, &r) != OK || r.first_of_topic != (i == 0))
                return "partitions in topics";
            if (!oracle_is_text(r.topic_name, topic->name) ||
                !oracle_is_bytes(r.topic_id, topic->topic_id))
                return "names of a topic";
            if (!oracle_is_error(r.error, r.error_class, r.error_message, p->error))
                return "error";
            if (r.partition != p->partition || r.base_offset != ORACLE_INT(p, base_offset) ||
                r.last_offset != ORACLE_INT(p, last_offset) ||
                r.log_append_time_ms != ORACLE_INT(p, log_append_time_ms) ||
                r.log_start_offset != ORACLE_INT(p, log_start_offset))
                return "numbers of a partition";
            if (r.leader_id != ORACLE_INT(p, leader_id) ||
                !oracle_is_text(r.leader_host, p->leader_host) ||
                r.leader_port != (uint16_t)p->leader_port ||
                r.leader_epoch != ORACLE_INT(p, leader_epoch))
                return "leader";
        }
    }
    return produce_response_next(&cur, &r) == E_END ? NULL : "end";
}

static inline const char *oracle_fetch_results(struct slice body, const Sluice__FetchResponse *m)
{
    struct fetch_response_cursor cur;
    struct fetch_result r;
    fetch_response_begin(&cur, body);
    for (size_t t = 0; t < m->n_topic; t++) {
        const Sluice__FetchTopicResult *topic = m->topic[t];
        for (size_t i = 0; i < topic->n_partition; i++) {
            const Sluice__FetchPartitionResult *p = topic->partition[i];
            if (fetch_response_next(&cur, &r) != OK || r.first_of_topic != (i == 0))
                return "partitions in topics";
            if (!oracle_is_text(r.topic_name, topic->name) ||
                !oracle_is_bytes(r.topic_id, topic->topic_id))
                return "names of a topic";
            if (!oracle_is_error(r.error, r.error_class, r.error_message, p->error))
                return "error";
            if (r.partition != p->partition || r.high_watermark != ORACLE_INT(p, high_watermark) ||
                r.log_start_offset != ORACLE_INT(p, log_start_offset) ||
                !oracle_is_bytes(r.batches, p->batches))
                return "numbers or batches of a partition";
            if (r.leader_id != ORACLE_INT(p, leader_id) ||
                !oracle_is_text(r.leader_host, p->leader_host) ||
                r.leader_port != (uint16_t)p->leader_port ||
                r.leader_epoch != ORACLE_INT(p, leader_epoch))
                return "leader";
        }
    }
    return fetch_response_next(&cur, &r) == E_END ? NULL : "end";
}

/*
 * The client's readers are told apart only where protobuf-c accepts: they skip
 * what they do not look at, and a response is bounded by its frame alone.
 */
static inline const char *oracle_produce_response(struct slice body)
{
    struct arena arena;
    struct produce_response_cursor cur;
    struct produce_result r;
    arena_init(&arena, ORACLE_ARENA);
    const Sluice__ProduceResponse *m =
        oracle_unpack(&sluice__produce_response__descriptor, body, &arena);
    bool good = m != NULL;
    for (size_t t = 0; good && t < m->n_topic; t++)
        good = oracle_is_id(m->topic[t]->topic_id);
    const char *wrong = good ? oracle_produce_results(body, m) : NULL;
    produce_response_begin(&cur, body);
    for (size_t left = body.size + 1; produce_response_next(&cur, &r) == OK; left--)
        if (left == 0)
            wrong = "no end";
    arena_deinit(&arena);
    return wrong;
}

static inline const char *oracle_fetch_response(struct slice body)
{
    struct arena arena;
    struct fetch_response_cursor cur;
    struct fetch_result r;
    arena_init(&arena, ORACLE_ARENA);
    const Sluice__FetchResponse *m =
        oracle_unpack(&sluice__fetch_response__descriptor, body, &arena);
    bool good = m != NULL;
    for (size_t t = 0; good && t < m->n_topic; t++)
        good = oracle_is_id(m->topic[t]->topic_id);
    const char *wrong = good ? oracle_fetch_results(body, m) : NULL;
    fetch_response_begin(&cur, body);
    for (size_t left = body.size + 1; fetch_response_next(&cur, &r) == OK; left--)
        if (left == 0)
            wrong = "no end";
    arena_deinit(&arena);
    return wrong;
}

#endif
