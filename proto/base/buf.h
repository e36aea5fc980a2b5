/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A buf owns bytes and grows. All zero is an empty buf. Growth aborts on
 * exhaustion: sizes that a peer chose are capped before they come here.
 */
#ifndef SLUICE_BASE_BUF_H
#define SLUICE_BASE_BUF_H

#include <stddef.h>
#include <stdint.h>

#include "proto/base/slice.h"

struct buf {
    uint8_t *data;
    size_t size;
    size_t capacity;
};

void buf_deinit(struct buf *b);
/* Room for at least extra more bytes; returns where they go. */
uint8_t *buf_reserve(struct buf *b, size_t extra);
void buf_append(struct buf *b, const void *data, size_t size);
void buf_append_str(struct buf *b, const char *s);
void buf_printf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Moves src to dst, which must be empty; src is empty afterwards. */
void buf_take(struct buf *dst, struct buf *src);

static inline struct slice buf_slice(const struct buf *b)
{
    return slice_of(b->data, b->size);
}

static inline void buf_clear(struct buf *b)
{
    b->size = 0;
}

#endif
