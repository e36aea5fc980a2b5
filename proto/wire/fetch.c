/* SPDX-License-Identifier: Apache-2.0 */
/* Field numbers and their meaning: proto/schema/fetch.proto. */
#include "proto/wire/fetch.h"

#include "proto/base/check.h"
#include "proto/wire/frame.h"
#include "proto/wire/msg.h"
#include "proto/wire/topics.h"

enum { REQUEST_MAX_WAIT_MS = 1, REQUEST_MIN_BYTES, REQUEST_MAX_BYTES, REQUEST_TOPIC };
enum { PART_PARTITION = 1, PART_FETCH_OFFSET, PART_MAX_BYTES, PART_LEADER_EPOCH };
enum { RESPONSE_TOPIC = 1 };
enum {
    RESULT_PARTITION = 1,
    RESULT_ERROR,
    RESULT_HIGH_WATERMARK,
    RESULT_LOG_START_OFFSET,
    RESULT_LEADER_ID,
    RESULT_LEADER_HOST,
    RESULT_LEADER_PORT,
    RESULT_LEADER_EPOCH,
    RESULT_BATCHES = 15,
};
enum {
    MAX_WAIT_MS_DEFAULT = 500,
    MIN_BYTES_DEFAULT = 1,
    MAX_BYTES_DEFAULT = 50 * MIB,
    PART_MAX_BYTES_DEFAULT = 1 * MIB,
};

/* --- request, reading ------------------------------------------------------------------------ */

static err read_part(struct slice bytes, struct wire_budget *left, struct fetch_part *out)
{
    struct reader r = reader_init(bytes);
    uint32_t seen = 0;
    out->partition = 0;
    out->fetch_offset = 0;
    out->max_bytes = PART_MAX_BYTES_DEFAULT;
    out->leader_epoch = -1;
    while (!reader_done(&r)) {
        const uint32_t tag = wire_tag(&r);
        if (tag >> 3 <= PART_LEADER_EPOCH)
            wire_once(&r, &seen, tag);
        switch (tag) {
        case WIRE_TAG(PART_PARTITION, WIRE_VARINT):
            out->partition = (uint32_t)reader_varint(&r);
            break;
        case WIRE_TAG(PART_FETCH_OFFSET, WIRE_VARINT):
            out->fetch_offset = (int64_t)reader_varint(&r);
            break;
        case WIRE_TAG(PART_MAX_BYTES, WIRE_VARINT):
            out->max_bytes = (uint32_t)reader_varint(&r);
            break;
        case WIRE_TAG(PART_LEADER_EPOCH, WIRE_VARINT):
            out->leader_epoch = (int32_t)reader_varint(&r);
            break;
        default:
            wire_unknown(&r, tag, PART_LEADER_EPOCH, left);
        }
    }
    return reader_end(&r);
}

static err check_part(struct slice bytes, struct wire_budget *left)
{
    struct fetch_part part;
    return read_part(bytes, left, &part);
}

err fetch_parse(struct slice body, struct fetch_request *out)
{
    struct fetch_request req = {.max_wait_ms = MAX_WAIT_MS_DEFAULT,
                                .min_bytes = MIN_BYTES_DEFAULT,
                                .max_bytes = MAX_BYTES_DEFAULT,
                                .topics = body};
    struct reader r = reader_init(body);
    struct wire_budget left = WIRE_BUDGET;
    uint32_t seen = 0;
    while (!reader_done(&r)) {
        const uint32_t tag = wire_tag(&r);
        if (tag >> 3 < REQUEST_TOPIC)
            wire_once(&r, &seen, tag);
        switch (tag) {
        case WIRE_TAG(REQUEST_MAX_WAIT_MS, WIRE_VARINT):
            req.max_wait_ms = (uint32_t)reader_varint(&r);
            break;
        case WIRE_TAG(REQUEST_MIN_BYTES, WIRE_VARINT):
            req.min_bytes = (uint32_t)reader_varint(&r);
            break;
        case WIRE_TAG(REQUEST_MAX_BYTES, WIRE_VARINT):
            req.max_bytes = (uint32_t)reader_varint(&r);
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

void fetch_begin(struct fetch_cursor *cur, const struct fetch_request *req)
{
    *cur = (struct fetch_cursor){.topics = reader_init(req->topics)};
}

bool fetch_next(struct fetch_cursor *cur, struct fetch_part *out)
{
    struct fetch_part *part = &cur->part;
    struct topic_identity identity = {part->topic_name, part->topic_id};
    struct wire_budget left = WIRE_BUDGET;
    struct slice bytes;
    const err e = topics_next(&cur->topics, REQUEST_TOPIC, &cur->partitions, &identity,
                              &part->first_of_topic, &bytes);
    if (e == E_END)
        return false;
    CHECK(e == OK); /* fetch_parse saw it all */
    CHECK(read_part(bytes, &left, part) == OK);
    part->topic_name = identity.name;
    part->topic_id = identity.id;
    *out = *part;
    return true;
}

/* --- request, writing ------------------------------------------------------------------------ */

static bool part_is_first(const void *items, size_t i)
{
    return ((const struct fetch_part *)items)[i].first_of_topic;
}

static struct topic_identity part_identity(const void *items, size_t i)
{
    const struct fetch_part *part = (const struct fetch_part *)items + i;
    return (struct topic_identity){part->topic_name, part->topic_id};
}

static void put_part(struct wire_out *o, const void *items, size_t i)
{
    const struct fetch_part *part = (const struct fetch_part *)items + i;
    wire_put_uint(o, PART_PARTITION, part->partition);
    wire_put_int(o, PART_FETCH_OFFSET, part->fetch_offset);
    wire_put_uint(o, PART_MAX_BYTES, part->max_bytes);
    if (part->leader_epoch != -1)
        wire_put_int(o, PART_LEADER_EPOCH, part->leader_epoch);
}

static struct topics_row part_row(const struct fetch_part *parts, size_t count)
{
    return (struct topics_row){.items = parts,
                               .count = count,
                               .topic_field = REQUEST_TOPIC,
                               .is_first = part_is_first,
                               .identity = part_identity,
                               .put = put_part};
}

static void put_request_fields(struct wire_out *o, const struct fetch_request *req)
{
    wire_put_uint(o, REQUEST_MAX_WAIT_MS, req->max_wait_ms);
    wire_put_uint(o, REQUEST_MIN_BYTES, req->min_bytes);
    wire_put_uint(o, REQUEST_MAX_BYTES, req->max_bytes);
}

static void put_request(struct wire_out *o, const struct fetch_request *req,
                        const struct topics_row *row)
{
    struct wire_out body = {0};
    put_request_fields(&body, req);
    wire_put_elsewhere(&body, topics_size(row));

    wire_put_prefix(o, API_FETCH, body.size);
    put_request_fields(o, req);
    for (size_t i = 0; i < row->count; i++)
        topics_put(o, row, i);
}

size_t fetch_request_size(const struct fetch_request *req, const struct fetch_part *parts,
                          size_t count)
{
    const struct topics_row row = part_row(parts, count);
    struct wire_out size = {0};
    put_request(&size, req, &row);
    return size.size;
}

uint8_t *fetch_request_write(uint8_t *p, const struct fetch_request *req,
                             const struct fetch_part *parts, size_t count)
{
    const struct topics_row row = part_row(parts, count);
    struct wire_out o = {.p = p};
    put_request(&o, req, &row);
    return o.p;
}

/* --- response, writing ----------------------------------------------------------------------- */

static bool result_is_first(const void *items, size_t i)
{
    return ((const struct fetch_result *)items)[i].first_of_topic;
}

static struct topic_identity result_identity(const void *items, size_t i)
{
    const struct fetch_result *result = (const struct fetch_result *)items + i;
    return (struct topic_identity){result->topic_name, result->topic_id};
}

static void put_result(struct wire_out *o, const void *items, size_t i)
{
    const struct fetch_result *result = (const struct fetch_result *)items + i;
    wire_put_uint(o, RESULT_PARTITION, result->partition);
    if (result->error != OK)
        wire_put_error(o, RESULT_ERROR, result->error, result->error_message);
    if (result->high_watermark != -1)
        wire_put_int(o, RESULT_HIGH_WATERMARK, result->high_watermark);
    if (result->log_start_offset != -1)
        wire_put_int(o, RESULT_LOG_START_OFFSET, result->log_start_offset);
    wire_put_leader(o, RESULT_LEADER_ID, result->leader_id, result->leader_host,
                    result->leader_port);
    if (result->leader_epoch != -1)
        wire_put_int(o, RESULT_LEADER_EPOCH, result->leader_epoch);
    if (result->batches.size) {
        wire_put_prefix(o, RESULT_BATCHES, result->batches.size);
        wire_put_elsewhere(o, result->batches.size);
    }
}

static struct topics_row result_row(const struct fetch_result *results, size_t count)
{
    return (struct topics_row){.items = results,
                               .count = count,
                               .topic_field = RESPONSE_TOPIC,
                               .is_first = result_is_first,
                               .identity = result_identity,
                               .put = put_result};
}

size_t fetch_heads_size(uint64_t correlation_id, const struct fetch_result *results, size_t count)
{
    const struct topics_row row = result_row(results, count);
    const size_t body = topics_size(&row);
    size_t elsewhere = 0;
    for (size_t i = 0; i < count; i++)
        elsewhere += results[i].batches.size;
    return frame_response_head_size(correlation_id, API_FETCH, body) + body - elsewhere;
}

void fetch_response_heads(uint64_t correlation_id, const struct fetch_result *results, size_t count,
                          uint8_t *heads, size_t *head_sizes)
{
    const struct topics_row row = result_row(results, count);
    struct wire_out o = {
        .p = frame_response_head_write(heads, correlation_id, API_FETCH, topics_size(&row))};
    for (size_t i = 0; i < count; i++) {
        const uint8_t *head = i == 0 ? heads : o.p;
        topics_put(&o, &row, i);
        head_sizes[i] = (size_t)(o.p - head);
    }
}

/* --- response, reading ----------------------------------------------------------------------- */

void fetch_response_begin(struct fetch_response_cursor *cur, struct slice body)
{
    *cur = (struct fetch_response_cursor){.topics = reader_init(body)};
}

static void read_result_error(struct reader *r, struct fetch_result *out)
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

static void read_result_field(struct reader *r, uint32_t tag, struct fetch_result *out,
                              struct wire_budget *left)
{
    switch (tag) {
    case WIRE_TAG(RESULT_PARTITION, WIRE_VARINT):
        out->partition = (uint32_t)reader_varint(r);
        break;
    case WIRE_TAG(RESULT_ERROR, WIRE_BYTES):
        read_result_error(r, out);
        break;
    case WIRE_TAG(RESULT_HIGH_WATERMARK, WIRE_VARINT):
        out->high_watermark = (int64_t)reader_varint(r);
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
    case WIRE_TAG(RESULT_BATCHES, WIRE_BYTES):
        out->batches = wire_prefixed(r);
        break;
    default:
        wire_unknown(r, tag, tag >> 3 == RESULT_BATCHES ? RESULT_BATCHES : RESULT_LEADER_EPOCH,
                     left);
    }
}

err fetch_response_next(struct fetch_response_cursor *cur, struct fetch_result *out)
{
    struct topic_identity identity = {cur->topic_name, cur->topic_id};
    struct slice bytes;
    struct fetch_result result = {
        .high_watermark = -1, .log_start_offset = -1, .leader_id = -1, .leader_epoch = -1};
    const err e = topics_next(&cur->topics, RESPONSE_TOPIC, &cur->partitions, &identity,
                              &result.first_of_topic, &bytes);
    if (e != OK)
        return e;
    struct reader r = reader_init(bytes);
    struct wire_budget left = WIRE_BUDGET;
    uint32_t seen = 0;
    while (!reader_done(&r)) {
        const uint32_t tag = wire_tag(&r);
        if (tag >> 3 <= RESULT_LEADER_EPOCH || tag >> 3 == RESULT_BATCHES)
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
