/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the hand-written parsers of this folder share, on top of reader.h: tags
 * and lengths of at most five bytes (as the stock runtimes read them), fields
 * that may come once, the cap on unknown ones, UTF-8. Failures are sticky in
 * the reader. Not for other folders. Threads: any.
 */
#ifndef SLUICE_WIRE_WIRE_H
#define SLUICE_WIRE_WIRE_H

#include "proto/base/limits.h"
#include "proto/base/reader.h"

enum wire_type { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

/* A tag as it reads: number and wire type. For case labels and comparisons. */
#define WIRE_TAG(number, type) ((uint32_t)(number) << 3 | (uint32_t)(type))

/* A varint below 2^32, in at most five bytes. */
static inline uint32_t wire_varint32(struct reader *r)
{
    if (r->at < r->end && *r->at < 0x80)
        return *r->at++;
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 35 && r->at < r->end; shift += 7) {
        const uint8_t b = *r->at++;
        v |= (uint64_t)(b & 0x7f) << shift;
        if (b < 0x80 && v <= UINT32_MAX)
            return (uint32_t)v;
        if (b < 0x80)
            break;
    }
    reader_fail(r);
    return 0;
}

/* The next tag. Fails, and returns 0, on field number 0, which no field has. */
static inline uint32_t wire_tag(struct reader *r)
{
    const uint32_t tag = wire_varint32(r);
    if (tag >> 3)
        return tag;
    reader_fail(r);
    return 0;
}

/* A length and that many bytes: the value of a string, bytes or message field. */
static inline struct slice wire_prefixed(struct reader *r)
{
    const uint32_t size = wire_varint32(r);
    return reader_bytes(r, size);
}

/* Passes over a field's value; groups fail. */
static inline void wire_skip(struct reader *r, uint32_t tag)
{
    switch (tag & 7) {
    case WIRE_VARINT:
        reader_varint(r);
        break;
    case WIRE_FIXED64:
        reader_bytes(r, 8);
        break;
    case WIRE_BYTES:
        wire_prefixed(r);
        break;
    case WIRE_FIXED32:
        reader_bytes(r, 4);
        break;
    default:
        reader_fail(r);
    }
}

/* Notes that a singular field with a number below 32 was seen; fails the second time. */
static inline void wire_once(struct reader *r, uint32_t *seen, uint32_t tag)
{
    const uint32_t bit = UINT32_C(1) << (tag >> 3);
    if (*seen & bit)
        reader_fail(r);
    *seen |= bit;
}

/* Passes over a field this build does not know, of which there may be MESSAGE_UNKNOWN_MAX. last is
 * the highest number it does know: a known number with another wire type is malformed. */
static inline void wire_unknown(struct reader *r, uint32_t tag, bool known, uint32_t *count)
{
    if (known || ++*count > MESSAGE_UNKNOWN_MAX)
        reader_fail(r);
    else
        wire_skip(r, tag);
}

/* Well-formed UTF-8 without NUL: no overlong forms, no surrogates, nothing above U+10FFFF. */
bool wire_is_text(struct slice s) __attribute__((pure));

#endif
