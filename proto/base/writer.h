/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes little-endian values and protobuf fields into memory the caller
 * sized: every function returns the position behind what it wrote.
 */
#ifndef SLUICE_BASE_WRITER_H
#define SLUICE_BASE_WRITER_H

#include <stdint.h>
#include <string.h>

enum { VARINT_MAX = 10 };

static inline uint8_t *write_u32(uint8_t *p, uint32_t v)
{
    memcpy(p, &v, sizeof v);
    return p + sizeof v;
}

static inline uint8_t *write_u64(uint8_t *p, uint64_t v)
{
    memcpy(p, &v, sizeof v);
    return p + sizeof v;
}

static inline uint8_t *write_u32_be(uint8_t *p, uint32_t v)
{
    return write_u32(p, __builtin_bswap32(v));
}

static inline uint8_t *write_bytes(uint8_t *p, const void *data, size_t size)
{
    if (size)
        memcpy(p, data, size);
    return p + size;
}

static inline uint8_t *write_varint(uint8_t *p, uint64_t v)
{
    while (v >= 0x80) {
        *p++ = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    *p++ = (uint8_t)v;
    return p;
}

/* Always five bytes, v < 2^35. */
static inline uint8_t *write_varint5(uint8_t *p, uint64_t v)
{
    for (int i = 0; i < 4; i++, v >>= 7)
        *p++ = (uint8_t)(v | 0x80);
    *p++ = (uint8_t)(v & 0x7f);
    return p;
}

static inline size_t varint_size(uint64_t v)
{
    return (size_t)(63 - __builtin_clzll(v | 1)) / 7 + 1;
}

static inline uint64_t zigzag_encode(int64_t v)
{
    return ((uint64_t)v << 1) ^ (uint64_t)(v >> 63);
}

/* A field's tag: number and wire type (0 varint, 1 fixed64, 2 bytes, 5 fixed32). */
static inline uint8_t *write_tag(uint8_t *p, uint32_t number, unsigned wire_type)
{
    return write_varint(p, (uint64_t)number << 3 | wire_type);
}

#endif
