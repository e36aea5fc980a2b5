/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A slice borrows bytes: copied freely, nothing to free, valid as long as
 * whatever owns the bytes. An empty slice may have a NULL pointer.
 */
#ifndef SLUICE_BASE_SLICE_H
#define SLUICE_BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct slice {
    const uint8_t *data;
    size_t size;
};

static inline struct slice slice_of(const void *data, size_t size)
{
    return (struct slice){.data = (const uint8_t *)data, .size = size};
}

static inline struct slice slice_str(const char *s)
{
    return slice_of(s, strlen(s));
}

static inline bool slice_eq(struct slice a, struct slice b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

/* The part from pos on, at most size bytes. pos > s.size gives an empty slice. */
static inline struct slice slice_sub(struct slice s, size_t pos, size_t size)
{
    if (pos >= s.size)
        return slice_of(NULL, 0);
    return slice_of(s.data + pos, size < s.size - pos ? size : s.size - pos);
}

#endif
