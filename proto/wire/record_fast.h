/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The quick way over a record as every runtime writes it: fields in order, small
 * numbers in few bytes. Whatever else is legal, and the last few bytes of the
 * input, take record_next's general way: false here says nothing about the
 * record. Not for other folders. Threads: any.
 */
#ifndef SLUICE_WIRE_RECORD_FAST_H
#define SLUICE_WIRE_RECORD_FAST_H

#include "proto/wire/record.h"
#include "proto/wire/wire.h"

/*
 * How far the parser may look beyond a record's end before it notices: tag and
 * varint of offset_delta, timestamp_delta and a length. A record nearer than
 * that to the end of the input is not for the quick way.
 */
enum { RECORD_FAST_VARINT = 5, RECORD_FAST_SLACK = 3 * (1 + RECORD_FAST_VARINT) };

/* A varint of at most RECORD_FAST_VARINT bytes at *p, all of which may be read; false: longer. */
static inline bool record_fast_varint(const uint8_t **p, uint64_t *out)
{
    const uint8_t *q = *p;
    uint64_t v = *q++;
    if (v >= 0x80) {
        v &= 0x7f;
        for (unsigned shift = 7;; shift += 7) {
            const uint8_t b = *q++;
            v |= (uint64_t)(b & 0x7f) << shift;
            if (b < 0x80)
                break;
            if (shift == 7 * (RECORD_FAST_VARINT - 1))
                return false;
        }
    }
    *p = q;
    *out = v;
    return true;
}

/* If the next byte is that tag: the bytes field with it. False: malformed, or too long for here. */
static inline bool record_fast_bytes(const uint8_t **p, const uint8_t *end, uint8_t tag,
                                     struct slice *out)
{
    *out = slice_of(NULL, 0);
    if (*p == end || **p != tag)
        return true;
    uint64_t size;
    ++*p;
    if (!record_fast_varint(p, &size) || *p > end || size > (size_t)(end - *p))
        return false;
    *out = slice_of(*p, (size_t)size);
    *p += size;
    return true;
}

/* Reads the next record and passes over it; false: not that easy, r is as it was. */
static inline bool record_fast(struct reader *r, struct record_view *out)
{
    const uint8_t *p = r->at;
    uint64_t size, offset_delta, timestamp_delta = 0;
    if (reader_left(r) < RECORD_FAST_SLACK || *p++ != WIRE_TAG(1, WIRE_BYTES) ||
        !record_fast_varint(&p, &size))
        return false;
    if (size + RECORD_FAST_SLACK > (size_t)(r->end - p))
        return false;
    const uint8_t *end = p + size;

    if (*p++ != WIRE_TAG(1, WIRE_VARINT) || !record_fast_varint(&p, &offset_delta) ||
        offset_delta > UINT32_MAX)
        return false;
    if (*p == WIRE_TAG(2, WIRE_VARINT)) {
        ++p;
        if (!record_fast_varint(&p, &timestamp_delta))
            return false;
    }
    if (p > end)
        return false;
    struct record_view v;
    if (!record_fast_bytes(&p, end, WIRE_TAG(3, WIRE_BYTES), &v.key) ||
        !record_fast_bytes(&p, end, WIRE_TAG(4, WIRE_BYTES), &v.value))
        return false;
    v.headers = slice_of(p, (size_t)(end - p));
    while (p != end) {
        /* Nothing but headers; what is in them, record_next_header knows. */
        struct slice header;
        if (!record_fast_bytes(&p, end, WIRE_TAG(5, WIRE_BYTES), &header) || !header.data)
            return false;
    }
    v.offset_delta = (uint32_t)offset_delta;
    v.timestamp_delta = zigzag_decode(timestamp_delta);
    *out = v;
    r->at = end;
    return true;
}

#endif
