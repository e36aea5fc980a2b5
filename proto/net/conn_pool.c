/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/net/conn_pool.h"

#include "proto/base/check.h"
#include "proto/base/mem.h"

void conn_pool_deinit(struct conn_pool *p)
{
    CHECK(p->in_lent == 0);
    while (p->in_spare_count)
        mem_free(p->in_spare[--p->in_spare_count]);
    for (struct chunk *ch = p->chunk_spare, *next; ch; ch = next) {
        next = ch->next;
        mem_free(ch);
    }
    for (struct piece *pc = p->piece_spare, *next; pc; pc = next) {
        next = pc->next;
        mem_free(pc);
    }
}

uint8_t *in_get(struct conn_pool *p)
{
    return p->in_spare_count ? p->in_spare[--p->in_spare_count] : mem_alloc(IN_BYTES);
}

void in_put(struct conn_pool *p, uint8_t *in)
{
    if (p->in_spare_count < IN_SPARE_MAX)
        p->in_spare[p->in_spare_count++] = in;
    else
        mem_free(in);
}

struct chunk *chunk_get(struct conn_pool *p, size_t size)
{
    struct chunk *ch = p->chunk_spare;
    if (size <= CHUNK_BYTES && ch) {
        p->chunk_spare = ch->next;
        p->chunk_spare_count--;
    } else {
        const size_t capacity = size > CHUNK_BYTES ? size : CHUNK_BYTES;
        ch = mem_alloc(sizeof *ch + capacity);
        ch->capacity = capacity;
    }
    ch->refs = 1;
    ch->fill = 0;
    return ch;
}

void chunk_unref(struct conn_pool *p, struct chunk *ch)
{
    CHECK(ch->refs > 0);
    if (--ch->refs)
        return;
    if (ch->capacity > CHUNK_BYTES || p->chunk_spare_count == CHUNK_SPARE_MAX) {
        mem_free(ch);
        return;
    }
    ch->next = p->chunk_spare;
    p->chunk_spare = ch;
    p->chunk_spare_count++;
}

struct piece *piece_get(struct conn_pool *p)
{
    struct piece *pc = p->piece_spare;
    if (!pc)
        return mem_alloc(sizeof *pc);
    p->piece_spare = pc->next;
    p->piece_spare_count--;
    return pc;
}

void piece_end(struct conn_pool *p, struct piece *pc)
{
    void (*const release)(void *arg) = pc->release;
    void *const arg = pc->arg;
    if (pc->chunk)
        chunk_unref(p, pc->chunk);
    if (p->piece_spare_count == PIECE_SPARE_MAX) {
        mem_free(pc);
    } else {
        pc->next = p->piece_spare;
        p->piece_spare = pc;
        p->piece_spare_count++;
    }
    if (release)
        release(arg);
}
