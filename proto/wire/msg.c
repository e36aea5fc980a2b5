/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/wire/msg.h"

#include "proto/base/check.h"
#include "proto/schema/common.pb-c.h"
#include "proto/wire/prescan.h"
#include "proto/wire/wire.h"

/* 8 MiB, what a control frame may take, affords MESSAGE_ELEMENTS_MAX; who gives a larger arena, for
 * the state of a large cluster, may receive more. */
enum { ARENA_PER_ELEMENT = 512 };

static void *alloc_in_arena(void *arena, size_t size)
{
    return arena_alloc(arena, size);
}

static void free_in_arena(void *arena, void *p)
{
    (void)arena; /* the arena frees all at once */
    (void)p;
}

err msg_unpack(const ProtobufCMessageDescriptor *type, struct slice bytes, struct arena *arena,
               void **out, const char **what)
{
    const size_t affordable = arena->limit / ARENA_PER_ELEMENT;
    const uint32_t elements_max = affordable > UINT32_MAX ? UINT32_MAX : (uint32_t)affordable;
    const err e = prescan_large(
        type, bytes, elements_max > MESSAGE_ELEMENTS_MAX ? elements_max : MESSAGE_ELEMENTS_MAX,
        what);
    if (e != OK)
        return e;
    ProtobufCAllocator allocator = {
        .alloc = alloc_in_arena, .free = free_in_arena, .allocator_data = arena};
    /* protobuf-c takes a NULL for a failure even where there is nothing to read. */
    static const uint8_t nothing;
    void *message =
        protobuf_c_message_unpack(type, &allocator, bytes.size, bytes.size ? bytes.data : &nothing);
    if (!message) {
        if (what)
            *what = "a message needs more memory than its sender may use";
        return E_INVALID_REQUEST;
    }
    *out = message;
    return OK;
}

void msg_pack(const void *message, struct buf *out)
{
    const size_t size = protobuf_c_message_get_packed_size(message);
    uint8_t *p = buf_reserve(out, size);
    CHECK(protobuf_c_message_pack(message, p) == size);
    out->size += size;
}

enum { FIELD_CORRELATION_ID = 1, FIELD_SECOND = 2, FIELD_BODY_FIRST = 10 };

/* A known body is the body; of those this build does not know the first one may be, so that the
 * server can say so. */
static void peek_body(struct reader *r, uint32_t tag, struct msg_peek *m, struct wire_budget *left)
{
    const uint32_t number = tag >> 3;
    const bool known = number < API_END;
    if (!known)
        wire_count_unknown(r, left);
    const struct slice body = wire_prefixed(r);
    const bool had_known = m->body_field && m->body_field < API_END;
    if (known && had_known)
        reader_fail(r);
    if (known || !m->body_field) {
        m->body_field = number;
        m->body = body;
    }
}

/* Both envelopes: they differ in the second field, a string or a message. */
static err peek(struct slice frame, struct msg_peek *m, struct slice *second)
{
    struct reader r = reader_init(frame);
    struct wire_budget left = WIRE_BUDGET;
    uint32_t seen = 0;
    while (!reader_done(&r)) {
        const uint32_t tag = wire_tag(&r);
        if (tag >> 3 <= FIELD_SECOND)
            wire_once(&r, &seen, tag);
        if (tag == WIRE_TAG(FIELD_CORRELATION_ID, WIRE_VARINT))
            m->correlation_id = reader_varint(&r);
        else if (tag == WIRE_TAG(FIELD_SECOND, WIRE_BYTES))
            *second = wire_prefixed(&r);
        else if (tag >> 3 >= FIELD_BODY_FIRST && (tag & 7) == WIRE_BYTES)
            peek_body(&r, tag, m, &left);
        else
            wire_unknown(&r, tag, tag >> 3 >= FIELD_BODY_FIRST ? API_END - 1 : FIELD_SECOND, &left);
    }
    return r.failed ? E_INVALID_REQUEST : OK;
}

err msg_peek_request(struct slice frame, struct msg_peek *out)
{
    struct msg_peek m = {0};
    if (peek(frame, &m, &m.client_id) != OK)
        return E_INVALID_REQUEST;
    if (m.client_id.size > CLIENT_ID_BYTES_MAX || !wire_is_text(m.client_id))
        return E_INVALID_REQUEST;
    *out = m;
    return OK;
}

err msg_peek_response(struct slice frame, struct msg_peek *out)
{
    struct msg_peek m = {0};
    if (peek(frame, &m, &m.error) != OK)
        return E_INVALID_REQUEST;
    *out = m;
    return OK;
}

enum { ERROR_CODE = 1, ERROR_CLASS = 2, ERROR_MESSAGE = 3 };

err msg_read_error(struct slice bytes, struct msg_error *out)
{
    struct reader r = reader_init(bytes);
    struct wire_budget left = WIRE_BUDGET;
    uint32_t seen = 0;
    int32_t code = 0, class = 0;
    struct slice message = {0};
    while (!reader_done(&r)) {
        const uint32_t tag = wire_tag(&r);
        if (tag >> 3 <= ERROR_MESSAGE)
            wire_once(&r, &seen, tag);
        if (tag == WIRE_TAG(ERROR_CODE, WIRE_VARINT))
            code = (int32_t)reader_varint(&r);
        else if (tag == WIRE_TAG(ERROR_CLASS, WIRE_VARINT))
            class = (int32_t)reader_varint(&r);
        else if (tag == WIRE_TAG(ERROR_MESSAGE, WIRE_BYTES))
            message = wire_text(&r);
        else
            wire_unknown(&r, tag, ERROR_MESSAGE, &left);
    }
    if (r.failed)
        return E_INVALID_REQUEST;
    /* An error that does not say which is still one. */
    const err known = err_from_wire(code);
    out->code = known == OK ? E_UNKNOWN : known;
    out->class = class >= CLASS_RETRY && class <= CLASS_FATAL ? (enum err_class) class
                                                              : err_wire_class(out->code);
    out->message = message.size ? message : slice_str(err_text(out->code));
    return OK;
}

void msg_fill_error(struct Sluice__Error *out, err e, const char *text)
{
    sluice__error__init(out);
    out->has_code = out->has_class_ = true;
    out->code = err_wire_code(e);
    out->class_ = (int32_t)err_wire_class(e);
    out->message = (char *)(uintptr_t)text;
}

const char *api_name(uint32_t body_field)
{
    static const char *const names[] = {
        [API_HELLO] = "hello",
        [API_PRODUCE] = "produce",
        [API_FETCH] = "fetch",
        [API_LIST_OFFSETS] = "list_offsets",
        [API_METADATA] = "metadata",
        [API_CREATE_TOPICS] = "create_topics",
        [API_DELETE_TOPICS] = "delete_topics",
        [API_CREATE_PARTITIONS] = "create_partitions",
        [API_DESCRIBE_CONFIGS] = "describe_configs",
        [API_ALTER_CONFIGS] = "alter_configs",
        [API_DELETE_RECORDS] = "delete_records",
    };
    _Static_assert(sizeof names / sizeof names[0] == API_END, "a name for each");
    return body_field < API_END ? names[body_field] : NULL;
}
