/* SPDX-License-Identifier: Apache-2.0 */
/*
 *    pos size
 *      0    4  length of what follows, big-endian; 1 to the connection's limit
 *      4       a serialized Request or Response: 0x08 correlation_id, [0x12 length client_id |
 * error], tag and length of the body, the body
 *
 * Fields may come in any order; this is the one that is written.
 */
#include "proto/wire/frame.h"

#include "proto/base/check.h"
#include "proto/wire/wire.h"

enum { FIELD_CORRELATION_ID = 1, FIELD_CLIENT_ID = 2 };

err frame_read_length(struct slice bytes, size_t max, size_t *out)
{
    if (bytes.size < FRAME_PREFIX_SIZE)
        return E_WOULD_BLOCK;
    uint32_t length;
    memcpy(&length, bytes.data, sizeof length);
    length = __builtin_bswap32(length);
    if (length == 0 || length > max)
        return E_INVALID_REQUEST;
    *out = length;
    return OK;
}

uint8_t *frame_write_length(uint8_t *p, size_t length)
{
    CHECK(length > 0);
    CHECK(length <= UINT32_MAX);
    return write_u32_be(p, (uint32_t)length);
}

static void put_response_head(struct wire_out *o, uint64_t correlation_id, uint32_t body_field,
                              size_t body_size)
{
    wire_put_uint(o, FIELD_CORRELATION_ID, correlation_id);
    wire_put_prefix(o, body_field, body_size);
}

static size_t response_head_size(uint64_t correlation_id, uint32_t body_field, size_t body_size)
{
    struct wire_out count = {0};
    put_response_head(&count, correlation_id, body_field, body_size);
    return count.size;
}

size_t frame_response_head_size(uint64_t correlation_id, uint32_t body_field, size_t body_size)
{
    return FRAME_PREFIX_SIZE + response_head_size(correlation_id, body_field, body_size);
}

uint8_t *frame_response_head_write(uint8_t *p, uint64_t correlation_id, uint32_t body_field,
                                   size_t body_size)
{
    const size_t head = response_head_size(correlation_id, body_field, body_size);
    struct wire_out o = {.p = frame_write_length(p, head + body_size)};
    put_response_head(&o, correlation_id, body_field, body_size);
    return o.p;
}

static void put_request_head(struct wire_out *o, uint64_t correlation_id, struct slice client_id)
{
    wire_put_uint(o, FIELD_CORRELATION_ID, correlation_id);
    wire_put_some(o, FIELD_CLIENT_ID, client_id);
}

static size_t request_head_size(uint64_t correlation_id, struct slice client_id)
{
    struct wire_out count = {0};
    put_request_head(&count, correlation_id, client_id);
    return count.size;
}

size_t frame_request_head_size(uint64_t correlation_id, struct slice client_id)
{
    return FRAME_PREFIX_SIZE + request_head_size(correlation_id, client_id);
}

uint8_t *frame_request_head_write(uint8_t *p, uint64_t correlation_id, struct slice client_id,
                                  size_t field_size)
{
    struct wire_out o = {
        .p = frame_write_length(p, request_head_size(correlation_id, client_id) + field_size)};
    put_request_head(&o, correlation_id, client_id);
    return o.p;
}
