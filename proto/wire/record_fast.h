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

/* One of three bytes and more. */
struct record_fast_long {
    uint64_t value;
    unsigned size; /* 0: more than RECORD_FAST_VARINT bytes */
};
struct record_fast_long record_fast_long(const uint8_t *p);

/* A varint of at most RECORD_FAST_VARINT bytes at *p, all of which may be read; false: longer. */
static inline __attribute__((always_inline)) bool record_fast_varint(const uint8_t **p,
                                                                     uint64_t *out)
{
    const uint8_t *q = *p;
    if (q[0] < 0x80) {
        *p = q + 1;
        *out = q[0];
        return true;
    }
    if (q[1] < 0x80) {
        *p = q + 2;
        *out = (q[0] & 0x7f) | (uint64_t)q[1] << 7;
        return true;
    }
    const struct record_fast_long v = record_fast_long(q);
    *p = q + v.size;
    *out = v.value;
    return v.size != 0;
}

/* If the next byte is that tag: the bytes field with it. False: malformed, or too long for here. */
static inline __attribute__((always_inline)) bool
record_fast_bytes(const uint8_t **p, const uint8_t *end, uint8_t tag, struct slice *out)
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

/*
 * Reads the record at p, in input that ends at input_end; returns where it
 * ends. NULL: not that easy, *out is as it was. All by value, so that a caller's
 * loop keeps it in registers.
 */
static inline __attribute__((always_inline)) const uint8_t *
record_fast(const uint8_t *p, const uint8_t *input_end, struct record_view *out)
{
    uint64_t size, offset_delta, timestamp_delta = 0;
    if ((size_t)(input_end - p) < RECORD_FAST_SLACK || *p++ != WIRE_TAG(1, WIRE_BYTES) ||
        !record_fast_varint(&p, &size))
        return NULL;
    if (size + RECORD_FAST_SLACK > (size_t)(input_end - p))
        return NULL;
    const uint8_t *end = p + size;

    if (*p++ != WIRE_TAG(1, WIRE_VARINT) || !record_fast_varint(&p, &offset_delta) ||
        offset_delta > UINT32_MAX)
        return NULL;
    if (*p == WIRE_TAG(2, WIRE_VARINT)) {
        ++p;
        if (!record_fast_varint(&p, &timestamp_delta))
            return NULL;
    }
    if (p > end)
        return NULL;
    struct slice key, value;
    if (!record_fast_bytes(&p, end, WIRE_TAG(3, WIRE_BYTES), &key) ||
        !record_fast_bytes(&p, end, WIRE_TAG(4, WIRE_BYTES), &value))
        return NULL;
    const struct slice headers = slice_of(p, (size_t)(end - p));
    while (p != end) {
        /* Nothing but headers; what is in them, record_next_header knows. */
        struct slice header;
        if (!record_fast_bytes(&p, end, WIRE_TAG(5, WIRE_BYTES), &header) || !header.data)
            return NULL;
    }
    *out = (struct record_view){(uint32_t)offset_delta, zigzag_decode(timestamp_delta), key, value,
                                headers};
    return end;
}

#endif
