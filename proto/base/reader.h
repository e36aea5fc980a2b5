/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A sticky cursor over bytes: after the first short or malformed read every
 * later one returns zero, and reader_end tells. No check per field. Little
 * endian; the varints are protobuf's.
 */
#ifndef SLUICE_BASE_READER_H
#define SLUICE_BASE_READER_H

#include <string.h>

#include "proto/base/err.h"
#include "proto/base/slice.h"

struct reader {
    const uint8_t *at;
    const uint8_t *end;
    bool failed;
};

static inline struct reader reader_init(struct slice s)
{
    /* An empty slice may have no data, and NULL is not to be added to. */
    const uint8_t *at = s.data ? s.data : (const uint8_t *)"";
    return (struct reader){.at = at, .end = at + s.size};
}

static inline size_t reader_left(const struct reader *r)
{
    return (size_t)(r->end - r->at);
}

static inline void reader_fail(struct reader *r)
{
    r->failed = true;
    r->at = r->end;
}

static inline bool reader_done(const struct reader *r)
{
    return r->at == r->end;
}

static inline struct slice reader_bytes(struct reader *r, size_t size)
{
    if (size > reader_left(r)) {
        reader_fail(r);
        return slice_of(NULL, 0);
    }
    const struct slice s = slice_of(r->at, size);
    r->at += size;
    return s;
}

static inline uint8_t reader_u8(struct reader *r)
{
    const struct slice s = reader_bytes(r, 1);
    return s.size ? s.data[0] : 0;
}

static inline uint32_t reader_u32(struct reader *r)
{
    uint32_t v = 0;
    const struct slice s = reader_bytes(r, sizeof v);
    if (s.size)
        memcpy(&v, s.data, sizeof v);
    return v;
}

static inline uint64_t reader_u64(struct reader *r)
{
    uint64_t v = 0;
    const struct slice s = reader_bytes(r, sizeof v);
    if (s.size)
        memcpy(&v, s.data, sizeof v);
    return v;
}

/* At most ten bytes, the last at most 1. */
static inline uint64_t reader_varint(struct reader *r)
{
    if (r->at < r->end && *r->at < 0x80)
        return *r->at++;
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 70 && r->at < r->end; shift += 7) {
        const uint8_t b = *r->at++;
        if (shift == 63 && b > 1)
            break;
        v |= (uint64_t)(b & 0x7f) << shift;
        if (b < 0x80)
            return v;
    }
    reader_fail(r);
    return 0;
}

/* A varint length and that many bytes. */
static inline struct slice reader_prefixed(struct reader *r)
{
    const uint64_t size = reader_varint(r);
    if (size > reader_left(r)) {
        reader_fail(r);
        return slice_of(NULL, 0);
    }
    return reader_bytes(r, (size_t)size);
}

/* Skips the value of a protobuf field of that wire type; groups fail. */
static inline void reader_skip(struct reader *r, unsigned wire_type)
{
    switch (wire_type) {
    case 0:
        reader_varint(r);
        break;
    case 1:
        reader_bytes(r, 8);
        break;
    case 2:
        reader_prefixed(r);
        break;
    case 5:
        reader_bytes(r, 4);
        break;
    default:
        reader_fail(r);
    }
}

static inline int64_t zigzag_decode(uint64_t v)
{
    return (int64_t)(v >> 1) ^ -(int64_t)(v & 1);
}

/* OK: everything was there. E_CORRUPT: something was short or malformed. */
static inline err reader_end(const struct reader *r)
{
    return r->failed ? E_CORRUPT : OK;
}

#endif
