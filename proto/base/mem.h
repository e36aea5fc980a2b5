/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory. mem_alloc and its kin abort on exhaustion; mem_try_alloc returns
 * NULL and is required wherever a peer or a file chose the size (which
 * limits.h then also caps). All free with mem_free. Threads: any.
 */
#ifndef SLUICE_BASE_MEM_H
#define SLUICE_BASE_MEM_H

#include <stddef.h>
#include <stdint.h>

void *mem_alloc(size_t size) __attribute__((malloc, returns_nonnull));
void *mem_zalloc(size_t size) __attribute__((malloc, returns_nonnull));
void *mem_realloc(void *p, size_t size) __attribute__((returns_nonnull));
void *mem_try_alloc(size_t size);
void *mem_try_realloc(void *p, size_t size);
void mem_free(void *p);
char *mem_strdup(const char *s) __attribute__((malloc, returns_nonnull));
/* Formats into new memory. */
char *mem_printf(const char *format, ...) __attribute__((format(printf, 1, 2), returns_nonnull));

#define MEM_NEW(type) ((type *)mem_zalloc(sizeof(type)))

/*
 * An arena: many small allocations, freed together, never more than
 * limit bytes. Blocks come from mem_try_alloc. Home thread: its user's.
 */
struct arena_block;
struct arena {
    struct arena_block *blocks;
    size_t used;  /* bytes of blocks */
    size_t limit; /* bytes */
};

void arena_init(struct arena *a, size_t limit);
void arena_deinit(struct arena *a);
/* Forgets all allocations, keeps one block for the next use. */
void arena_reset(struct arena *a);
/* Zeroed? No. Aligned to 16. NULL: over the limit, or no memory. */
void *arena_alloc(struct arena *a, size_t size);
/* Printed into the arena; NULL as arena_alloc. */
char *arena_printf(struct arena *a, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
