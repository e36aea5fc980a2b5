/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/wire/wire.h"

/* How many of the eight bytes at p, from the first on, are plain: 1 to 0x7f. */
static size_t plain_bytes(const uint8_t *p)
{
    uint64_t w;
    memcpy(&w, p, sizeof w);
    const uint64_t low = UINT64_C(0x0101010101010101), high = low << 7;
    /* A byte borrows from the next only if it is 0 itself: the lowest mark is exact. */
    const uint64_t marks = (w | (w - low)) & high;
    return marks ? (size_t)__builtin_ctzll(marks) / 8 : 8;
}

/*
 * The sequences of more than one byte, by their first (The Unicode Standard,
 * table 3-7): how many follow, and the narrower range of the second where it
 * has one.
 */
static size_t sequence_size(const uint8_t *p, size_t left)
{
    const uint8_t first = p[0];
    size_t size;
    uint8_t low = 0x80, high = 0xbf;
    if (first >= 0xc2 && first <= 0xdf) {
        size = 2;
    } else if (first >= 0xe0 && first <= 0xef) {
        size = 3;
        low = first == 0xe0 ? 0xa0 : low;
        high = first == 0xed ? 0x9f : high;
    } else if (first >= 0xf0 && first <= 0xf4) {
        size = 4;
        low = first == 0xf0 ? 0x90 : low;
        high = first == 0xf4 ? 0x8f : high;
    } else {
        return 0;
    }
    if (size > left || p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < size; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    return size;
}

bool wire_is_text(struct slice s)
{
    const uint8_t *p = s.data;
    size_t left = s.size;
    while (left) {
        size_t step = left >= 8 ? plain_bytes(p) : (size_t)(*p && *p < 0x80);
        if (!step)
            step = sequence_size(p, left);
        if (!step)
            return false;
        p += step;
        left -= step;
    }
    return true;
}
