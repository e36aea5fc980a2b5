/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/log/index_file.h"

#include <string.h>

#include "proto/base/check.h"
#include "proto/base/mem.h"

enum { ENTRY_MAX = 16 };

static void close_file(struct index_file *x, const struct fsio *io)
{
    if (x->file)
        io->close(io, x->file);
    x->file = NULL;
}

static void unmap(struct index_file *x, const struct fsio *io)
{
    if (x->map)
        io->unmap(io, x->map, x->map_size);
    x->map = NULL;
    x->map_size = 0;
}

void index_file_deinit(struct index_file *x, const struct fsio *io)
{
    close_file(x, io);
    unmap(x, io);
    mem_free(x->pending);
    *x = (struct index_file){.entry_size = x->entry_size};
}

static bool is_zero(const uint8_t *entry, size_t size)
{
    return entry[0] == 0 && memcmp(entry, entry + 1, size - 1) == 0;
}

static bool map(struct index_file *x, const struct fsio *io, size_t size)
{
    unmap(x, io);
    if (io->map(io, x->file, size, &x->map) != OK)
        return false;
    x->map_size = size;
    return true;
}

err index_file_load(struct index_file *x, const struct fsio *io, const char *path)
{
    CHECK(!x->file);
    CHECK(x->count == 0);
    err e = io->open(io, path, FSIO_WRITE, &x->file);
    if (e == E_NOT_FOUND)
        return OK;
    uint64_t size = 0;
    if (e == OK)
        e = io->size(io, x->file, &size);
    if (e != OK)
        return e;
    if (size > UINT32_MAX)
        size = 0; /* not one of ours: no entries */
    /* By pread: where the disk cannot read a page, a mapping would raise a signal. */
    uint32_t low = 0, high = (uint32_t)size / x->entry_size;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        uint8_t entry[ENTRY_MAX];
        size_t got;
        e = io->pread(io, x->file, entry, x->entry_size, (uint64_t)middle * x->entry_size, &got);
        if (e != OK)
            return e;
        if (got < x->entry_size || is_zero(entry, x->entry_size))
            high = middle;
        else
            low = middle + 1;
    }
    x->count = low;
    if (low == 0)
        return OK;
    if (!map(x, io, low * x->entry_size > x->bytes_max ? low * x->entry_size : x->bytes_max))
        return E_STORAGE;
    return io->populate(io, x->map, (size_t)low * x->entry_size);
}

bool index_file_is_full(const struct index_file *x)
{
    return !x->is_broken && (index_file_count(x) + 1) * (uint64_t)x->entry_size > x->bytes_max;
}

const uint8_t *index_file_at(struct index_file *x, const struct fsio *io, uint32_t i)
{
    CHECK(i < index_file_count(x));
    if (i >= x->count)
        return x->pending + (size_t)(i - x->count) * x->entry_size;
    const size_t end = (size_t)(i + 1) * x->entry_size;
    if (end > x->map_size) {
        /* The file is as large as it gets from its creation on, unless it was loaded trimmed. */
        size_t size = (size_t)x->count * x->entry_size;
        if (size < x->bytes_max)
            size = x->bytes_max;
        if (!x->file || !map(x, io, size))
            return NULL;
    }
    return x->map + end - x->entry_size;
}

void index_file_spill(struct index_file *x, const struct fsio *io, const char *path)
{
    if (x->pending_count == 0 || x->is_broken)
        return;
    err e = OK;
    if (!x->file) {
        e = io->open(io, path, FSIO_WRITE | FSIO_CREATE, &x->file);
        uint64_t size = 0;
        if (e == OK)
            e = io->size(io, x->file, &size);
        if (e == OK && size < x->bytes_max)
            e = io->ftruncate(io, x->file, x->bytes_max);
    }
    if (e == OK)
        e = fsio_pwrite(io, x->file, x->pending, (size_t)x->pending_count * x->entry_size,
                        (uint64_t)x->count * x->entry_size);
    if (e == OK)
        x->count += x->pending_count;
    else
        x->is_broken = true; /* what is pending is forgotten: searches walk further */
    x->pending_count = 0;
}

void index_file_add(struct index_file *x, const struct fsio *io, const char *path,
                    const uint8_t *entry)
{
    if (x->is_broken || index_file_is_full(x))
        return;
    if (index_file_will_spill(x))
        index_file_spill(x, io, path);
    if (x->is_broken)
        return;
    if (!x->pending)
        x->pending = mem_alloc(INDEX_PENDING_BYTES);
    memcpy(x->pending + (size_t)x->pending_count * x->entry_size, entry, x->entry_size);
    x->pending_count++;
}

void index_file_truncate(struct index_file *x, const struct fsio *io, const char *path,
                         uint32_t count)
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
    if ((!x->file && io->open(io, path, FSIO_WRITE, &x->file) != OK) ||
        io->ftruncate(io, x->file, (uint64_t)count * x->entry_size) != OK ||
        io->ftruncate(io, x->file, x->bytes_max) != OK)
        x->is_broken = true;
}

void index_file_seal(struct index_file *x, const struct fsio *io, const char *path)
{
    index_file_spill(x, io, path);
    /* A file that stays too large still reads well: zeros end it. */
    if (x->file && !x->is_broken)
        err_ignore(io->ftruncate(io, x->file, (uint64_t)x->count * x->entry_size), "see above");
}

void index_file_settle(struct index_file *x, const struct fsio *io, const char *path)
{
    index_file_spill(x, io, path);
    mem_free(x->pending);
    x->pending = NULL;
    if (x->map || x->count == 0)
        close_file(x, io);
}
