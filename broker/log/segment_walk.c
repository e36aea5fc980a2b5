/* SPDX-License-Identifier: Apache-2.0 */
/* The part of log_verify.h that walks one segment file. */
#include <string.h>

#include "broker/log/log_verify.h"
#include "broker/log/names.h"
#include "broker/log/segment.h"
#include "proto/base/mem.h"

struct segment_walk {
    const struct fsio *io;
    struct fsio_file *file;
    struct slice bytes; /* the mapped file */
    size_t pos, ready;
    int64_t base_offset;
    err ended; /* OK: goes on */
};

static int64_t base_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    int64_t base_offset;
    enum segment_file kind;
    return segment_name_parse(slash ? slash + 1 : path, &base_offset, &kind) ? base_offset : -1;
}

err segment_walk_open(struct segment_walk **out, const struct fsio *io, const char *path)
{
    struct fsio_file *f;
    uint64_t size;
    const uint8_t *map = NULL;
    err e = io->open(io, path, 0, &f);
    if (e != OK)
        return e;
    e = io->size(io, f, &size);
    if (e == OK && size > 0)
        e = io->map(io, f, size, &map);
    if (e != OK) {
        io->close(io, f);
        return e;
    }
    struct segment_walk *w = MEM_NEW(struct segment_walk);
    *w = (struct segment_walk){
        .io = io, .file = f, .bytes = slice_of(map, size), .base_offset = base_of(path)};
    *out = w;
    return OK;
}

/* Whether nothing but zeros follows: what was preallocated, or never written. */
static err is_rest_zero(struct segment_walk *w, bool *out)
{
    *out = true;
    for (size_t at = w->pos; at < w->bytes.size && *out;) {
        const err e = map_ensure(w->io, w->bytes, &w->ready, at, 1);
        if (e != OK)
            return e;
        const size_t end = w->ready < w->bytes.size ? w->ready : w->bytes.size;
        const uint8_t *p = w->bytes.data + at;
        *out = p[0] == 0 && memcmp(p, p + 1, end - at - 1) == 0;
        at = end;
    }
    return OK;
}

static err next(struct segment_walk *w, struct batch *out)
{
    if (w->pos == w->bytes.size)
        return E_END;
    err e = map_ensure(w->io, w->bytes, &w->ready, w->pos, BATCH_HEADER_SIZE);
    if (e != OK)
        return e;
    if (w->bytes.data[w->pos] == 0) {
        bool is_zero;
        e = is_rest_zero(w, &is_zero);
        return e != OK ? e : is_zero ? E_END : E_CORRUPT;
    }
    e = batch_read_canonical(slice_sub(w->bytes, w->pos, w->bytes.size), out);
    return e == OK ? map_ensure(w->io, w->bytes, &w->ready, w->pos, out->size) : e;
}

err segment_walk_next(struct segment_walk *w, struct batch *out, err *crcs)
{
    if (w->ended != OK)
        return w->ended;
    w->ended = next(w, out);
    if (w->ended != OK)
        return w->ended;
    *crcs = batch_check_crcs(out);
    w->pos += out->size;
    return OK;
}

int64_t segment_walk_base_offset(const struct segment_walk *w)
{
    return w->base_offset;
}

uint64_t segment_walk_pos(const struct segment_walk *w)
{
    return w->pos;
}

uint64_t segment_walk_size(const struct segment_walk *w)
{
    return w->bytes.size;
}

void segment_walk_close(struct segment_walk *w)
{
    if (!w)
        return;
    if (w->bytes.data)
        w->io->unmap(w->io, w->bytes.data, w->bytes.size);
    w->io->close(w->io, w->file);
    mem_free(w);
}
