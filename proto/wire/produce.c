/* SPDX-License-Identifier: Apache-2.0 */
/* Field numbers and their meaning: proto/schema/produce.proto. */
#include "proto/wire/produce.h"

#include "proto/base/check.h"
#include "proto/wire/frame.h"
#include "proto/wire/msg.h"
#include "proto/wire/topics.h"

enum { REQUEST_ACKS = 1, REQUEST_TIMEOUT_MS, REQUEST_TOPIC };
enum { PART_PARTITION = 1, PART_LEADER_EPOCH, PART_BATCHES };
enum { RESPONSE_TOPIC = 1 };
enum {
    RESULT_PARTITION = 1,
    RESULT_ERROR,
    RESULT_BASE_OFFSET,
    RESULT_LAST_OFFSET,
    RESULT_LOG_APPEND_TIME_MS,
    RESULT_LOG_START_OFFSET,
    RESULT_LEADER_ID,
    RESULT_LEADER_HOST,
    RESULT_LEADER_PORT,
    RESULT_LEADER_EPOCH,
};
enum { ACKS_DEFAULT = -1, TIMEOUT_MS_DEFAULT = 30000 };

/* --- request, reading ------------------------------------------------------------------------ */

static err read_part(struct slice bytes, struct wire_budget *left, struct produce_part *out)
{
    struct reader r = reader_init(bytes);
    uint32_t seen = 0;
    out->partition = 0;
    out->leader_epoch = -1;
    out->batches = slice_of(NULL, 0);
    while (!reader_done(&r)) {
        const uint32_t tag = wire_tag(&r);
        if (tag >> 3 <= PART_BATCHES)
            wire_once(&r, &seen, tag);
        switch (tag) {
        case WIRE_TAG(PART_PARTITION, WIRE_VARINT):
            out->partition = (uint32_t)reader_varint(&r);
            break;
        case WIRE_TAG(PART_LEADER_EPOCH, WIRE_VARINT):
            out->leader_epoch = (int32_t)reader_varint(&r);
            break;
        case WIRE_TAG(PART_BATCHES, WIRE_BYTES):
            out->batches = wire_prefixed(&r);
            break;
        default:
            wire_unknown(&r, tag, PART_BATCHES, left);
        }
    }
    return reader_end(&r);
}

static err check_part(struct slice bytes, struct wire_budget *left)
{
    struct produce_part part;
    return read_part(bytes, left, &part);
}

err produce_parse(struct slice body, struct produce_request *out)
{
    struct produce_request req = {
        .acks = ACKS_DEFAULT, .timeout_ms = TIMEOUT_MS_DEFAULT, .topics = body};
    struct reader r = reader_init(body);
    struct wire_budget left = WIRE_BUDGET;
    uint32_t seen = 0;
    while (!reader_done(&r)) {
        const uint32_t tag = wire_tag(&r);
        if (tag >> 3 < REQUEST_TOPIC)
            wire_once(&r, &seen, tag);
        switch (tag) {
        case WIRE_TAG(REQUEST_ACKS, WIRE_VARINT):
            req.acks = (int32_t)reader_varint(&r);
            break;
        case WIRE_TAG(REQUEST_TIMEOUT_MS, WIRE_VARINT):
            req.timeout_ms = (uint32_t)reader_varint(&r);
            break;
        case WIRE_TAG(REQUEST_TOPIC, WIRE_BYTES):
            wire_element(&r, &left);
            if (topics_check(wire_prefixed(&r), check_part, &left, &req.partition_count) != OK)
                return E_INVALID_REQUEST;
            break;
        default:
            wire_unknown(&r, tag, REQUEST_TOPIC, &left);
        }
    }
    if (r.failed)
        return E_INVALID_REQUEST;
    *out = req;
    return OK;
}

void produce_begin(struct produce_cursor *cur, const struct produce_request *req)
{
    *cur = (struct produce_cursor){.topics = reader_init(req->topics)};
}

bool produce_next(struct produce_cursor *cur, struct produce_part *out)
{
    struct produce_part *part = &cur->part;
    struct topic_identity identity = {part->topic_name, part->topic_id};
    struct wire_budget left = WIRE_BUDGET;
    struct slice bytes;
    const err e = topics_next(&cur->topics, REQUEST_TOPIC, &cur->partitions, &identity,
                              &part->first_of_topic, &bytes);
    if (e == E_END)
        return false;
    CHECK(e == OK); /* produce_parse saw it all */
    CHECK(read_part(bytes, &left, part) == OK);
    part->topic_name = identity.name;
    part->topic_id = identity.id;
    *out = *part;
    return true;
}

/* --- request, writing ------------------------------------------------------------------------ */

static bool part_is_first(const void *items, size_t i)
{
    return ((const struct produce_part *)items)[i].first_of_topic;
}

static struct topic_identity part_identity(const void *items, size_t i)
{
    const struct produce_part *part = (const struct produce_part *)items + i;
    return (struct topic_identity){part->topic_name, part->topic_id};
}

static void put_part(struct wire_out *o, const void *items, size_t i)
{
    const struct produce_part *part = (const struct produce_part *)items + i;
    wire_put_uint(o, PART_PARTITION, part->partition);
    if (part->leader_epoch != -1)
        wire_put_int(o, PART_LEADER_EPOCH, part->leader_epoch);
    wire_put_prefix(o, PART_BATCHES, part->batches.size);
    wire_put_elsewhere(o, part->batches.size);
}

static struct topics_row part_row(const struct produce_part *parts, size_t count)
{
    return (struct topics_row){.items = parts,
                               .count = count,
                               .topic_field = REQUEST_TOPIC,
                               .is_first = part_is_first,
                               .identity = part_identity,
                               .put = put_part};
}

static void put_request_fields(struct wire_out *o, int32_t acks, uint32_t timeout_ms)
{
    if (acks != ACKS_DEFAULT)
        wire_put_int(o, REQUEST_ACKS, acks);
    if (timeout_ms != TIMEOUT_MS_DEFAULT)
        wire_put_uint(o, REQUEST_TIMEOUT_MS, timeout_ms);
}

size_t produce_head_size_max(void)
{
    enum { PREFIX = 1 + 5, INT = 1 + VARINT_MAX };
    return PREFIX + 2 * INT + PREFIX + PREFIX + TOPIC_NAME_MAX + PREFIX + TOPIC_ID_SIZE + PREFIX +
           2 * INT + PREFIX;
}

void produce_request_heads(int32_t acks, uint32_t timeout_ms, const struct produce_part *parts,
                           size_t count, uint8_t *heads, size_t *head_sizes)
{
    const struct topics_row row = part_row(parts, count);
    struct wire_out body = {0};
    put_request_fields(&body, acks, timeout_ms);
    wire_put_elsewhere(&body, topics_size(&row));

    struct wire_out o = {.p = heads};
    wire_put_prefix(&o, API_PRODUCE, body.size);
    put_request_fields(&o, acks, timeout_ms);
    for (size_t i = 0; i < count; i++) {
        const uint8_t *head = i == 0 ? heads : o.p;
        CHECK(parts[i].topic_name.size <= TOPIC_NAME_MAX);
        CHECK(parts[i].topic_id.size <= TOPIC_ID_SIZE);
        topics_put(&o, &row, i);
        head_sizes[i] = (size_t)(o.p - head);
    }
}

/* --- response, writing ----------------------------------------------------------------------- */

static bool result_is_first(const void *items, size_t i)
{
    return ((const struct produce_result *)items)[i].first_of_topic;
}

static struct topic_identity result_identity(const void *items, size_t i)
{
    const struct produce_result *result = (const struct produce_result *)items + i;
    return (struct topic_identity){result->topic_name, result->topic_id};
}

static void put_result(struct wire_out *o, const void *items, size_t i)
{
    const struct produce_result *result = (const struct produce_result *)items + i;
    wire_put_uint(o, RESULT_PARTITION, result->partition);
    if (result->error != OK) {
        wire_put_error(o, RESULT_ERROR, result->error, result->error_message);
    } else {
        wire_put_int(o, RESULT_BASE_OFFSET, result->base_offset);
        wire_put_int(o, RESULT_LAST_OFFSET, result->last_offset);
    }
    if (result->log_append_time_ms != -1)
        wire_put_int(o, RESULT_LOG_APPEND_TIME_MS, result->log_append_time_ms);
    if (result->log_start_offset != -1)
        wire_put_int(o, RESULT_LOG_START_OFFSET, result->log_start_offset);
    wire_put_leader(o, RESULT_LEADER_ID, result->leader_id, result->leader_host,
                    result->leader_port);
    if (result->leader_epoch != -1)
        wire_put_int(o, RESULT_LEADER_EPOCH, result->leader_epoch);
}

static struct topics_row result_row(const struct produce_result *results, size_t count)
{
    return (struct topics_row){.items = results,
                               .count = count,
                               .topic_field = RESPONSE_TOPIC,
                               .is_first = result_is_first,
                               .identity = result_identity,
                               .put = put_result};
}

size_t produce_response_size(uint64_t correlation_id, const struct produce_result *results,
                             size_t count)
{
    const struct topics_row row = result_row(results, count);
    const size_t body = topics_size(&row);
    return frame_response_head_size(correlation_id, API_PRODUCE, body) + body;
}

uint8_t *produce_response_write(uint8_t *p, uint64_t correlation_id,
                                const struct produce_result *results, size_t count)
{
    const struct topics_row row = result_row(results, count);
    const size_t body = topics_size(&row);
    struct wire_out o = {.p = frame_response_head_write(p, correlation_id, API_PRODUCE, body)};
    for (size_t i = 0; i < count; i++)
        topics_put(&o, &row, i);
    return o.p;
}

/* --- response, reading ----------------------------------------------------------------------- */

void produce_response_begin(struct produce_response_cursor *cur, struct slice body)
{
    *cur = (struct produce_response_cursor){.topics = reader_init(body)};
}

static void read_result_error(struct reader *r, struct produce_result *out)
{
    struct msg_error error;
    if (msg_read_error(wire_prefixed(r), &error) != OK) {
        reader_fail(r);
        return;
    }
    out->error = error.code;
    out->error_class = error.class;
    out->error_message = error.message;
}

static void read_result_field(struct reader *r, uint32_t tag, struct produce_result *out,
                              struct wire_budget *left)
{
    switch (tag) {
    case WIRE_TAG(RESULT_PARTITION, WIRE_VARINT):
        out->partition = (uint32_t)reader_varint(r);
        break;
    case WIRE_TAG(RESULT_ERROR, WIRE_BYTES):
        read_result_error(r, out);
        break;
    case WIRE_TAG(RESULT_BASE_OFFSET, WIRE_VARINT):
        out->base_offset = (int64_t)reader_varint(r);
        break;
    case WIRE_TAG(RESULT_LAST_OFFSET, WIRE_VARINT):
        out->last_offset = (int64_t)reader_varint(r);
        break;
    case WIRE_TAG(RESULT_LOG_APPEND_TIME_MS, WIRE_VARINT):
        out->log_append_time_ms = (int64_t)reader_varint(r);
        break;
    case WIRE_TAG(RESULT_LOG_START_OFFSET, WIRE_VARINT):
        out->log_start_offset = (int64_t)reader_varint(r);
        break;
    case WIRE_TAG(RESULT_LEADER_ID, WIRE_VARINT):
        out->leader_id = (int32_t)reader_varint(r);
        break;
    case WIRE_TAG(RESULT_LEADER_HOST, WIRE_BYTES):
        out->leader_host = wire_text(r);
        break;
    case WIRE_TAG(RESULT_LEADER_PORT, WIRE_VARINT):
        out->leader_port = (uint16_t)reader_varint(r);
        break;
    case WIRE_TAG(RESULT_LEADER_EPOCH, WIRE_VARINT):
        out->leader_epoch = (int32_t)reader_varint(r);
        break;
    default:
        wire_unknown(r, tag, RESULT_LEADER_EPOCH, left);
    }
}

err produce_response_next(struct produce_response_cursor *cur, struct produce_result *out)
{
    struct topic_identity identity = {cur->topic_name, cur->topic_id};
    struct slice bytes;
    struct produce_result result = {.base_offset = -1,
                                    .last_offset = -1,
                                    .log_append_time_ms = -1,
                                    .log_start_offset = -1,
                                    .leader_id = -1,
                                    .leader_epoch = -1};
    const err e = topics_next(&cur->topics, RESPONSE_TOPIC, &cur->partitions, &identity,
                              &result.first_of_topic, &bytes);
    if (e != OK)
        return e;
    struct reader r = reader_init(bytes);
    struct wire_budget left = WIRE_BUDGET;
    uint32_t seen = 0;
    while (!reader_done(&r)) {
        const uint32_t tag = wire_tag(&r);
        if (tag >> 3 <= RESULT_LEADER_EPOCH)
            wire_once(&r, &seen, tag);
        read_result_field(&r, tag, &result, &left);
    }
    if (r.failed) {
        reader_fail(&cur->partitions);
        return E_CORRUPT;
    }
    cur->topic_name = result.topic_name = identity.name;
    cur->topic_id = result.topic_id = identity.id;
    *out = result;
    return OK;
}
