/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/log/index_file.h"

#include <string.h>

#include "proto/base/check.h"
#include "proto/base/mem.h"

enum { ENTRY_MAX = 16 };

static err open_file(const struct index_file *x, unsigned flags, struct fsio_file **out)
{
    char path[FSIO_PATH_MAX], name[SEGMENT_NAME_MAX];
    return x->io->open(x->io, fsio_path(path, x->dir, segment_name(name, x->base_offset, x->kind)),
                       flags, out);
}

static void unmap(struct index_file *x)
{
    if (x->map)
        x->io->unmap(x->io, x->map, x->map_size);
    x->map = NULL;
    x->map_size = 0;
}

/* All that the file may grow to; bytes behind its end are never touched. */
static err map(struct index_file *x, struct fsio_file *f)
{
    const size_t used = (size_t)x->count * x->entry_size;
    const size_t size = used > x->bytes_max ? used : x->bytes_max;
    unmap(x);
    const err e = x->io->map(x->io, f, size, &x->map);
    if (e == OK)
        x->map_size = size;
    return e;
}

void index_file_init(struct index_file *x, const struct index_file *constants)
{
    *x = *constants;
    CHECK(x->entry_size <= ENTRY_MAX);
    CHECK(x->count == 0);
    CHECK(!x->map);
}

void index_file_deinit(struct index_file *x)
{
    unmap(x);
    mem_free(x->pending);
    x->pending = NULL;
    x->pending_count = 0;
    x->count = 0;
}

static bool is_zero(const uint8_t *entry, size_t size)
{
    return entry[0] == 0 && memcmp(entry, entry + 1, size - 1) == 0;
}

/* By pread: where the disk cannot read a page, a mapping would raise a signal. */
static err count_entries(struct index_file *x, struct fsio_file *f, uint32_t slots)
{
    uint32_t low = 0, high = slots;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        uint8_t entry[ENTRY_MAX];
        size_t got;
        const err e =
            x->io->pread(x->io, f, entry, x->entry_size, (uint64_t)middle * x->entry_size, &got);
        if (e != OK)
            return e;
        if (got < x->entry_size || is_zero(entry, x->entry_size))
            high = middle;
        else
            low = middle + 1;
    }
    x->count = low;
    return OK;
}

err index_file_load(struct index_file *x)
{
    if (x->is_loaded)
        return OK;
    CHECK(index_file_count(x) == 0);
    struct fsio_file *f;
    err e = open_file(x, 0, &f);
    if (e == E_NOT_FOUND) {
        x->is_loaded = true;
        return OK;
    }
    if (e != OK)
        return e;
    uint64_t size = 0;
    e = x->io->size(x->io, f, &size);
    if (e == OK && size <= UINT32_MAX) /* else not one of ours: no entries */
        e = count_entries(x, f, (uint32_t)size / x->entry_size);
    if (e == OK && x->count > 0)
        e = map(x, f);
    if (e == OK && x->count > 0)
        e = x->io->populate(x->io, x->map, (size_t)x->count * x->entry_size);
    x->io->close(x->io, f);
    if (e != OK)
        index_file_deinit(x);
    x->is_loaded = e == OK;
    return e;
}

bool index_file_is_full(const struct index_file *x)
{
    return !x->is_broken && (index_file_count(x) + 1) * (uint64_t)x->entry_size > x->bytes_max;
}

const uint8_t *index_file_at(struct index_file *x, uint32_t i)
{
    CHECK(i < index_file_count(x));
    if (i >= x->count)
        return x->pending + (size_t)(i - x->count) * x->entry_size;
    const size_t end = (size_t)(i + 1) * x->entry_size;
    if (end > x->map_size) {
        struct fsio_file *f;
        if (open_file(x, 0, &f) != OK)
            return NULL;
        const err e = map(x, f);
        x->io->close(x->io, f);
        if (e != OK)
            return NULL;
    }
    return x->map + end - x->entry_size;
}

static err write_pending(struct index_file *x)
{
    struct fsio_file *f;
    err e = open_file(x, FSIO_WRITE | FSIO_CREATE, &f);
    if (e != OK)
        return e;
    if (x->count == 0) {
        /* New, or of a life that was not taken over: from nothing to zeros. */
        e = x->io->ftruncate(x->io, f, 0);
        if (e == OK)
            e = x->io->ftruncate(x->io, f, x->bytes_max);
    }
    if (e == OK)
        e = fsio_pwrite(x->io, f, x->pending, (size_t)x->pending_count * x->entry_size,
                        (uint64_t)x->count * x->entry_size);
    x->io->close(x->io, f);
    return e;
}

void index_file_spill(struct index_file *x)
{
    if (x->pending_count == 0 || x->is_broken)
        return;
    if (write_pending(x) == OK)
        x->count += x->pending_count;
    else
        x->is_broken = true; /* what is pending is forgotten: searches walk further */
    x->pending_count = 0;
}

void index_file_add(struct index_file *x, const uint8_t *entry)
{
    if (x->is_broken || index_file_is_full(x))
        return;
    if (index_file_will_spill(x))
        index_file_spill(x);
    if (x->is_broken)
        return;
    x->is_loaded = true;
    if (!x->pending)
        x->pending = mem_alloc(INDEX_PENDING_BYTES);
    memcpy(x->pending + (size_t)x->pending_count * x->entry_size, entry, x->entry_size);
    x->pending_count++;
}

static err resize(const struct index_file *x, uint64_t size, uint64_t then)
{
    struct fsio_file *f;
    err e = open_file(x, FSIO_WRITE, &f);
    if (e != OK)
        return e;
    e = x->io->ftruncate(x->io, f, size);
    if (e == OK && then > size)
        e = x->io->ftruncate(x->io, f, then);
    x->io->close(x->io, f);
    return e;
}

void index_file_truncate(struct index_file *x, uint32_t count)
{
    if (count >= index_file_count(x))
        return;
    if (count >= x->count) {
        x->pending_count = (uint16_t)(count - x->count);
        return;
    }
    x->pending_count = 0;
    x->count = count;
    /* Cut and grown again: what lies behind reads as zeros, as in a new file. */
    if (resize(x, (uint64_t)count * x->entry_size, x->bytes_max) != OK)
        x->is_broken = true;
}

void index_file_seal(struct index_file *x)
{
    index_file_spill(x);
    /* A file that stays too large still reads well: zeros end it. */
    if (x->count > 0 && !x->is_broken)
        err_ignore(resize(x, (uint64_t)x->count * x->entry_size, 0), "see above");
}

void index_file_settle(struct index_file *x)
{
    index_file_spill(x);
    mem_free(x->pending);
    x->pending = NULL;
    unmap(x);
}
