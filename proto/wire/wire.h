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
#include "proto/base/writer.h"

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

/* What all levels of one message together may still hold; counted down. */
struct wire_budget {
    uint32_t elements; /* of repeated fields */
    uint32_t unknown;  /* fields */
};
#define WIRE_BUDGET ((struct wire_budget){MESSAGE_ELEMENTS_MAX, MESSAGE_UNKNOWN_MAX})

static inline void wire_element(struct reader *r, struct wire_budget *left)
{
    if (left->elements == 0)
        reader_fail(r);
    else
        left->elements--;
}

static inline void wire_count_unknown(struct reader *r, struct wire_budget *left)
{
    if (left->unknown == 0)
        reader_fail(r);
    else
        left->unknown--;
}

/* The default case of a parser whose fields are numbered 1 to last: passes over a field it does not
 * know; a known number can only come here with another wire type than its own, which is malformed.
 */
static inline void wire_unknown(struct reader *r, uint32_t tag, uint32_t last,
                                struct wire_budget *left)
{
    if (tag >> 3 <= last)
        reader_fail(r);
    wire_count_unknown(r, left);
    wire_skip(r, tag);
}

/* Well-formed UTF-8 without NUL: no overlong forms, no surrogates, nothing above U+10FFFF. */
bool wire_is_text(struct slice s) __attribute__((pure));
/* A string field's value: fails unless it is text. */
static inline struct slice wire_text(struct reader *r)
{
    const struct slice s = wire_prefixed(r);
    if (!wire_is_text(s))
        reader_fail(r);
    return s;
}

/*
 * The writing end. An encoder runs twice over the same code, first with p NULL
 * to learn the size, then to write, so that the two cannot differ.
 */
struct wire_out {
    uint8_t *p;  /* where the next byte goes; NULL: only counting */
    size_t size; /* so far, with what wire_put_elsewhere announced */
};

/* Integers of any sign: pass a negative one as int64_t, as protobuf does. */
static inline void wire_put_uint(struct wire_out *o, uint32_t number, uint64_t v)
{
    if (o->p)
        o->p = write_varint(write_tag(o->p, number, WIRE_VARINT), v);
    o->size += varint_size(number << 3) + varint_size(v);
}

static inline void wire_put_int(struct wire_out *o, uint32_t number, int64_t v)
{
    wire_put_uint(o, number, (uint64_t)v);
}

/* Tag and length of a bytes, string or message field whose value follows. */
static inline void wire_put_prefix(struct wire_out *o, uint32_t number, size_t size)
{
    if (o->p)
        o->p = write_varint(write_tag(o->p, number, WIRE_BYTES), size);
    o->size += varint_size(number << 3) + varint_size(size);
}

/* Bytes that belong to the message but are sent from where they are. */
static inline void wire_put_elsewhere(struct wire_out *o, size_t size)
{
    o->size += size;
}

static inline void wire_put_bytes(struct wire_out *o, uint32_t number, struct slice s)
{
    wire_put_prefix(o, number, s.size);
    if (o->p)
        o->p = write_bytes(o->p, s.data, s.size);
    o->size += s.size;
}

/* The same unless it is empty. */
static inline void wire_put_some(struct wire_out *o, uint32_t number, struct slice s)
{
    if (s.size)
        wire_put_bytes(o, number, s);
}

#endif
