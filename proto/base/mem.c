/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *must(void *p, size_t size)
{
    if (p)
        return p;
    fprintf(stderr, "out of memory: %zu bytes could not be had\n", size);
    abort();
}

/* malloc(0) may be NULL; ask for a byte so that NULL always means failure. */
static size_t some(size_t size)
{
    return size ? size : 1;
}

void *mem_alloc(size_t size)
{
    return must(malloc(some(size)), size);
}

void *mem_zalloc(size_t size)
{
    return must(calloc(1, some(size)), size);
}

void *mem_realloc(void *p, size_t size)
{
    return must(realloc(p, some(size)), size);
}

void *mem_try_alloc(size_t size)
{
    return malloc(some(size));
}

void *mem_try_realloc(void *p, size_t size)
{
    return realloc(p, some(size));
}

void mem_free(void *p)
{
    free(p);
}

char *mem_strdup(const char *s)
{
    const size_t size = strlen(s) + 1;
    return memcpy(mem_alloc(size), s, size);
}

char *mem_printf(const char *format, ...)
{
    va_list args;
    char *s = NULL;
    va_start(args, format);
    const int n = vasprintf(&s, format, args);
    va_end(args);
    return must(n < 0 ? NULL : s, 0);
}

struct arena_block {
    struct arena_block *next;
    size_t size; /* of the space behind this header */
    size_t used;
    size_t align_; /* keeps the header a multiple of 16 */
};

enum { ARENA_BLOCK = 4096 };

_Static_assert(sizeof(struct arena_block) % 16 == 0, "allocations start 16-aligned");

void arena_init(struct arena *a, size_t limit)
{
    *a = (struct arena){.limit = limit};
}

void arena_deinit(struct arena *a)
{
    while (a->blocks) {
        struct arena_block *b = a->blocks;
        a->blocks = b->next;
        mem_free(b);
    }
    a->used = 0;
}

void arena_reset(struct arena *a)
{
    while (a->blocks && a->blocks->next) {
        struct arena_block *b = a->blocks;
        a->blocks = b->next;
        mem_free(b);
    }
    a->used = 0;
    if (!a->blocks)
        return;
    if (a->blocks->size > ARENA_BLOCK) {
        arena_deinit(a);
        return;
    }
    a->blocks->used = 0;
    a->used = a->blocks->size;
}

void *arena_alloc(struct arena *a, size_t size)
{
    if (size > a->limit)
        return NULL;
    size = (some(size) + 15) & ~(size_t)15;
    struct arena_block *b = a->blocks;
    if (!b || size > b->size - b->used) {
        const size_t want = size > ARENA_BLOCK ? size : ARENA_BLOCK;
        if (want > a->limit - a->used && size > a->limit - a->used)
            return NULL;
        b = mem_try_alloc(sizeof *b + want);
        if (!b)
            return NULL;
        *b = (struct arena_block){.next = a->blocks, .size = want};
        a->blocks = b;
        a->used = want > a->limit - a->used ? a->limit : a->used + want;
    }
    void *p = (char *)(b + 1) + b->used;
    b->used += size;
    return p;
}

char *arena_printf(struct arena *a, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    va_list again;
    va_copy(again, args);
    const int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *s = n < 0 ? NULL : arena_alloc(a, (size_t)n + 1);
    if (s)
        vsnprintf(s, (size_t)n + 1, format, again);
    va_end(again);
    return s;
}
