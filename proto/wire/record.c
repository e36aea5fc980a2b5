/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A record on the wire is a field of Records:
 *
 *   0x0a length  0x08 offset_delta  [0x10 timestamp_delta]  [0x1a length key]  [0x22 length value]
 * (0x2a length header)*
 *
 * timestamp_delta is zigzag-coded and left out when 0; a header is
 * 0x0a length key [0x12 length value]. That is what record_write writes; the
 * readers take any order, as protobuf does, and refuse a field that comes twice.
 */
#include "proto/wire/record.h"

#include "proto/base/writer.h"
#include "proto/wire/record_fast.h"
#include "proto/wire/wire.h"

struct record_fast_long record_fast_long(const uint8_t *p)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < RECORD_FAST_VARINT; i++) {
        v |= (uint64_t)(p[i] & 0x7f) << 7 * i;
        if (p[i] < 0x80)
            return (struct record_fast_long){v, i + 1};
    }
    return (struct record_fast_long){0, 0};
}

/* An empty field that is there has data, so that it differs from none. */
static struct slice present(struct slice s)
{
    static const uint8_t nothing;
    return s.data ? s : slice_of(&nothing, 0);
}

static void read_field(struct reader *r, uint32_t tag, const uint8_t *start, struct record_view *v)
{
    switch (tag) {
    case WIRE_TAG(1, WIRE_VARINT):
        v->offset_delta = (uint32_t)reader_varint(r);
        break;
    case WIRE_TAG(2, WIRE_VARINT):
        v->timestamp_delta = zigzag_decode(reader_varint(r));
        break;
    case WIRE_TAG(3, WIRE_BYTES):
        v->key = present(wire_prefixed(r));
        break;
    case WIRE_TAG(4, WIRE_BYTES):
        v->value = present(wire_prefixed(r));
        break;
    case WIRE_TAG(5, WIRE_BYTES):
        /* From the first header to the last; record_next_header passes over what lies between. */
        wire_prefixed(r);
        if (!v->headers.size)
            v->headers.data = start;
        v->headers.size = (size_t)(r->at - v->headers.data);
        break;
    default:
        if (tag >> 3 <= 5)
            reader_fail(r);
        else
            wire_skip(r, tag);
    }
}

static err read_record(struct slice bytes, struct record_view *out)
{
    struct reader r = reader_init(bytes);
    struct record_view v = {0};
    uint32_t seen = 0;
    while (!reader_done(&r)) {
        const uint8_t *start = r.at;
        const uint32_t tag = wire_tag(&r);
        if (tag >> 3 < 5)
            wire_once(&r, &seen, tag);
        read_field(&r, tag, start, &v);
    }
    const bool has_offset_delta = seen & 1 << 1;
    if (r.failed || !has_offset_delta)
        return E_CORRUPT;
    *out = v;
    return OK;
}

err record_next(struct reader *r, struct record_view *out)
{
    const uint8_t *next = record_fast(r->at, r->end, out);
    if (next) {
        r->at = next;
        return OK;
    }
    if (r->failed)
        return E_CORRUPT;
    if (reader_done(r))
        return E_END;
    const bool is_record = wire_tag(r) == WIRE_TAG(1, WIRE_BYTES);
    const struct slice bytes = wire_prefixed(r);
    if (is_record && !r->failed && read_record(bytes, out) == OK)
        return OK;
    reader_fail(r);
    return E_CORRUPT;
}

static err read_header(struct slice bytes, struct slice *key, struct slice *value)
{
    struct reader r = reader_init(bytes);
    struct slice k = {0}, v = {0};
    uint32_t seen = 0;
    while (!reader_done(&r)) {
        const uint32_t tag = wire_tag(&r);
        if (tag >> 3 <= 2)
            wire_once(&r, &seen, tag);
        if (tag == WIRE_TAG(1, WIRE_BYTES))
            k = present(wire_prefixed(&r));
        else if (tag == WIRE_TAG(2, WIRE_BYTES))
            v = present(wire_prefixed(&r));
        else if (tag >> 3 <= 2)
            reader_fail(&r);
        else
            wire_skip(&r, tag);
    }
    if (r.failed)
        return E_CORRUPT;
    *key = k;
    *value = v;
    return OK;
}

err record_next_header(struct reader *r, struct slice *key, struct slice *value)
{
    while (!reader_done(r)) {
        const uint32_t tag = wire_tag(r);
        if (tag != WIRE_TAG(5, WIRE_BYTES)) {
            wire_skip(r, tag);
            continue;
        }
        const struct slice bytes = wire_prefixed(r);
        if (!r->failed && read_header(bytes, key, value) == OK)
            return OK;
        reader_fail(r);
    }
    return r->failed ? E_CORRUPT : E_END;
}

static size_t bytes_field_size(struct slice s)
{
    return s.data ? 1 + varint_size(s.size) + s.size : 0;
}

static uint8_t *write_bytes_field(uint8_t *p, uint32_t number, struct slice s)
{
    if (!s.data)
        return p;
    p = write_varint(write_tag(p, number, WIRE_BYTES), s.size);
    return write_bytes(p, s.data, s.size);
}

static size_t header_size(const struct record_header *h)
{
    return bytes_field_size(present(h->key)) + bytes_field_size(h->value);
}

static size_t body_size(const struct record *r)
{
    size_t size = 1 + varint_size(r->offset_delta);
    if (r->timestamp_delta)
        size += 1 + varint_size(zigzag_encode(r->timestamp_delta));
    size += bytes_field_size(r->key) + bytes_field_size(r->value);
    for (size_t i = 0; i < r->header_count; i++) {
        const size_t header = header_size(&r->headers[i]);
        size += 1 + varint_size(header) + header;
    }
    return size;
}

size_t record_size(const struct record *r)
{
    const size_t size = body_size(r);
    return 1 + varint_size(size) + size;
}

uint8_t *record_write(uint8_t *p, const struct record *r)
{
    p = write_varint(write_tag(p, 1, WIRE_BYTES), body_size(r));
    p = write_varint(write_tag(p, 1, WIRE_VARINT), r->offset_delta);
    if (r->timestamp_delta)
        p = write_varint(write_tag(p, 2, WIRE_VARINT), zigzag_encode(r->timestamp_delta));
    p = write_bytes_field(p, 3, r->key);
    p = write_bytes_field(p, 4, r->value);
    for (size_t i = 0; i < r->header_count; i++) {
        const struct record_header *h = &r->headers[i];
        p = write_varint(write_tag(p, 5, WIRE_BYTES), header_size(h));
        p = write_bytes_field(p, 1, present(h->key));
        p = write_bytes_field(p, 2, h->value);
    }
    return p;
}
