/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cutting a log: at its end (truncate, undo of an append), at its start, or
 * all of it. What is recorded of the log goes down before its files do, and
 * everything is synced on the way (rules D4, F4); a failure anywhere leaves
 * nobody knowing what the disk holds, so it fences the directory.
 */
#include <string.h>

#include "broker/log/checkpoint.h"
#include "broker/log/log_priv.h"
#include "broker/log/names.h"
#include "proto/base/check.h"
#include "proto/base/diag.h"

static err fence(struct log *g, err e)
{
    log_dir_fence(g->dir, e);
    return E_STORAGE;
}

static uint64_t sum_sizes(const struct log *g)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < g->sum.segment_count; i++)
        bytes += g->segments[i].size;
    return bytes;
}

/* Segments from index n on, last first: what a crash leaves is a shorter log. */
static err remove_segments(struct log *g, uint32_t n)
{
    const struct segment_dir dir = log_segment_dir(g);
    const bool has_any = g->sum.segment_count > n;
    while (g->sum.segment_count > n) {
        struct segment *seg = log_active(g);
        const err e = segment_remove(&dir, seg->base_offset, false);
        if (e != OK)
            return e;
        segment_deinit(seg);
        g->sum.segment_count--;
    }
    return has_any ? g->io->sync_dir(g->io, g->path) : OK;
}

err log_cut_to(struct log *g, const struct log_place *place)
{
    CHECK(g->is_loaded);
    CHECK(g->sum.flushed.offset <= place->offset);
    uint32_t keep = g->sum.segment_count;
    while (keep > 0 && g->segments[keep - 1].base_offset > place->base)
        keep--;
    CHECK(keep > 0);
    CHECK(g->segments[keep - 1].base_offset == place->base);

    err e = remove_segments(g, keep);
    if (e == OK)
        e = segment_cut(log_active(g), place->pos, place->offset);
    if (e != OK)
        return fence(g, e);
    epoch_cache_truncate(&g->epochs, place->offset);
    log_recent_cut(g, place->offset);
    g->sum.end = *place;
    g->sum.size_bytes = sum_sizes(g);
    return OK;
}

/* The place of the batch boundary at or below an offset. */
static err find_place(struct log *g, int64_t offset, struct log_place *out)
{
    const struct segment_opts opts = log_segment_opts(g);
    struct segment *seg = log_segment_of(g, offset);
    err e = segment_map(seg, log_map_bytes(g, seg));
    if (e == OK)
        e = segment_prepare(seg, &opts, UINT32_MAX);
    uint32_t pos;
    int64_t base_offset;
    if (e == OK)
        e = segment_find(seg, offset, &pos, &base_offset);
    if (e != OK)
        return e;
    if (base_offset > offset)
        base_offset = offset; /* in a gap */
    *out = (struct log_place){.offset = base_offset,
                              .base = seg->base_offset,
                              .pos = pos,
                              .epoch = epoch_cache_at(&g->epochs, base_offset - 1)};
    return OK;
}

/* Rule D4: the flushed end goes down, durably, before anything is cut. */
static err lower_point(struct log *g, const struct log_place *place)
{
    g->truncations++;
    if (g->sum.flushed.offset > place->offset)
        g->sum.flushed = *place;
    if (g->sum.high_watermark > place->offset)
        g->sum.high_watermark = place->offset;
    const struct log_place end = g->sum.end;
    g->sum.end = *place; /* what is written is not to be believed beyond it */
    err e = log_put_point(g);
    g->sum.end = end;
    if (e == OK)
        e = points_sync(log_dir_points(g->dir));
    return e;
}

/* Before the cut: what the epochs' file calls complete never reaches above the flushed point, so
 * that whatever is appended there later is looked for in the batches. */
static err rewrite_epochs(struct log *g, int64_t end_offset)
{
    struct buf text = {0};
    epoch_cache_truncate(&g->epochs, end_offset);
    epoch_cache_format(&g->epochs, g->sum.flushed.offset, &text);
    const err e = checkpoint_write(g->io, g->path, EPOCH_FILE, &text);
    buf_deinit(&text);
    return e;
}

err log_truncate(struct log *g, int64_t end_offset)
{
    err e = log_check_writable(g);
    if (e == OK)
        e = log_ensure_loaded(g);
    if (e != OK || end_offset >= g->sum.end.offset)
        return e;
    if (end_offset < 0)
        return E_OFFSET_OUT_OF_RANGE;
    if (end_offset <= g->sum.start_offset)
        return log_reset(g, end_offset);

    struct log_place place;
    e = find_place(g, end_offset, &place);
    if (e != OK)
        return e;
    diag(DIAG_INFO, "log", "truncated", "dir=%s from=%lld to=%lld flushed=%lld", DIAG_STR(g->path),
         (long long)g->sum.end.offset, (long long)place.offset, (long long)g->sum.flushed.offset);
    e = lower_point(g, &place);
    if (e == OK)
        e = rewrite_epochs(g, place.offset);
    if (e == OK)
        e = log_cut_to(g, &place);
    return e == OK ? OK : fence(g, e);
}

err log_reset(struct log *g, int64_t offset)
{
    err e = log_check_writable(g);
    if (e == OK)
        e = log_ensure_loaded(g);
    if (e != OK)
        return e;
    if (offset < 0)
        return E_OFFSET_OUT_OF_RANGE;

    diag(DIAG_INFO, "log", "reset", "dir=%s from=%lld to=%lld", DIAG_STR(g->path),
         (long long)g->sum.end.offset, (long long)offset);
    /* Marked first: a crash on the way is finished by recovery, and is no loss. */
    const struct log_place place = {.offset = offset, .base = offset, .epoch = -1};
    struct point p = {.topic_id = g->id.topic_id,
                      .partition = g->id.partition,
                      .is_resetting = true,
                      .flushed = place,
                      .written = place,
                      .start_offset = offset,
                      .high_watermark = offset};
    g->truncations++;
    e = points_put(log_dir_points(g->dir), g->slot, &p);
    if (e == OK)
        e = points_sync(log_dir_points(g->dir));
    if (e == OK)
        e = remove_segments(g, 0);
    if (e == OK)
        e = log_remove_epochs(g->io, g->path);
    if (e != OK)
        return fence(g, e);

    epoch_cache_deinit(&g->epochs);
    if (g->recent)
        g->recent->count = 0;
    g->sum = (struct log_summary){
        .start_offset = offset, .end = place, .flushed = place, .high_watermark = offset};
    g->loss = (struct log_loss){0};
    g->was_power_lost = false;
    e = log_put_point(g);
    if (e == OK)
        e = points_sync(log_dir_points(g->dir));
    return e == OK ? OK : fence(g, e);
}

err log_remove_epochs(const struct fsio *io, const char *path)
{
    char file[FSIO_PATH_MAX];
    const err e = io->unlink(io, fsio_path(file, path, EPOCH_FILE));
    if (e != OK && e != E_NOT_FOUND)
        return e;
    return io->sync_dir(io, path);
}

err log_raise_start(struct log *g, int64_t offset)
{
    err e = log_check_writable(g);
    if (e != OK)
        return e;
    if (offset > g->sum.end.offset)
        return E_OFFSET_OUT_OF_RANGE;
    if (offset <= g->sum.start_offset)
        return OK;
    const int64_t start_offset = g->sum.start_offset;
    g->sum.start_offset = offset;
    e = log_put_point(g);
    if (e != OK) {
        g->sum.start_offset = start_offset;
        return e;
    }
    epoch_cache_raise_start(&g->epochs, offset);
    return OK;
}

err log_drop_below_start(struct log *g, int64_t *bases, size_t max, size_t *dropped)
{
    err e = log_ensure_loaded(g);
    if (e != OK)
        return e;
    const struct segment_dir dir = log_segment_dir(g);
    size_t n = 0;
    /* Never the active one; never what is not flushed, for that would leave a hole if it came back.
     */
    while (n < max && n + 1 < g->sum.segment_count &&
           g->segments[n + 1].base_offset <= g->sum.start_offset &&
           g->segments[n].base_offset < g->sum.flushed.base) {
        e = segment_remove(&dir, g->segments[n].base_offset, true);
        if (e != OK)
            break;
        bases[n] = g->segments[n].base_offset;
        g->sum.size_bytes -= g->segments[n].size;
        segment_deinit(&g->segments[n]);
        n++;
    }
    if (n > 0) {
        g->sum.segment_count -= (uint32_t)n;
        memmove(g->segments, g->segments + n, g->sum.segment_count * sizeof *g->segments);
        g->names_are_new = true;
    }
    *dropped = n;
    return e == OK ? OK : fence(g, e);
}
