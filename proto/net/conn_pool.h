/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that the connections of one loop pass around: receive buffers, and
 * chunks and pieces of queued output. A connection that has nothing to say or
 * to hear holds none of it. Private to conn.c. Threads: the loop's.
 */
#ifndef SLUICE_NET_CONN_POOL_H
#define SLUICE_NET_CONN_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    IN_BYTES = 256 * 1024, /* a receive buffer; measured: docs/decisions/receive-buffer.md */
    IN_LENT_MAX = 16,      /* receive buffers that connections may keep between wake-ups */
    IN_SPARE_MAX = 4,      /* unused ones that are kept */
    CHUNK_BYTES = 16 * 1024 - 64,
    CHUNK_SPARE_MAX = 64,
    PIECE_SPARE_MAX = 1024
};

/* Output that was copied, back to back. */
struct chunk {
    struct chunk *next; /* spare */
    unsigned refs;      /* pieces in it, and the connection that still fills it */
    size_t capacity, fill;
    uint8_t data[];
};

/* A run of output: part of a chunk, or borrowed. */
struct piece {
    struct piece *next;
    const uint8_t *data;
    size_t size;
    struct chunk *chunk; /* NULL: borrowed */
    void (*release)(void *arg);
    void *arg;
};

struct conn_pool {
    uint8_t *in_spare[IN_SPARE_MAX];
    unsigned in_spare_count;
    unsigned in_lent;
    struct chunk *chunk_spare;
    unsigned chunk_spare_count;
    struct piece *piece_spare;
    unsigned piece_spare_count;
};

void conn_pool_deinit(struct conn_pool *p);

uint8_t *in_get(struct conn_pool *p);
void in_put(struct conn_pool *p, uint8_t *in);

/* With one reference and room for at least size bytes. */
struct chunk *chunk_get(struct conn_pool *p, size_t size);
void chunk_unref(struct conn_pool *p, struct chunk *ch);

/* Its fields undefined. */
struct piece *piece_get(struct conn_pool *p);
/* Puts the piece away, gives up its chunk, then calls its release. */
void piece_end(struct conn_pool *p, struct piece *pc);

#endif
