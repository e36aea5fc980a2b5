/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Appending. One call's batches go to the file in as few writes as possible:
 * pieces that stand side by side in memory are one piece, and all that fits
 * the active segment is one pwritev. The end moves right behind the write,
 * before any index is touched (rule L8).
 */
#include <string.h>

#include "broker/log/log_priv.h"
#include "proto/base/check.h"
#include "proto/base/limits.h"

enum {
    IOV_MAX_ = 256,
    POINT_EVERY_BYTES = 16 * MIB, /* how much a restart after kill -9 has to look at */
    PREPARE_BATCHES_MAX = 20000   /* a walk of about a millisecond */
};

/* A row of pieces of memory. */
struct pieces {
    struct iovec iov[IOV_MAX_];
    int count;
    size_t bytes;
};

static bool pieces_add(struct pieces *p, const uint8_t *data, size_t size)
{
    union {
        const uint8_t *in;
        void *out;
    } base = {.in = data}; /* iovec knows no const */
    if (size == 0)
        return true;
    if (p->count > 0) {
        struct iovec *last = &p->iov[p->count - 1];
        if ((const uint8_t *)last->iov_base + last->iov_len == data) {
            last->iov_len += size;
            p->bytes += size;
            return true;
        }
    }
    if (p->count == IOV_MAX_)
        return false;
    p->iov[p->count++] = (struct iovec){.iov_base = base.out, .iov_len = size};
    p->bytes += size;
    return true;
}

static bool must_roll(const struct log *g, const struct segment *seg, size_t segment_size,
                      const struct segment_batch *b)
{
    if (segment_size == 0)
        return false;
    if (segment_size + b->size > g->conf.segment_bytes ||
        segment_size + b->size > SEGMENT_BYTES_MAX)
        return true;
    if (b->base_offset + b->last_offset_delta - seg->base_offset > INT32_MAX)
        return true;
    if (index_file_is_full(&seg->offsets) || index_file_is_full(&seg->times))
        return true;
    return seg->first_timestamp != INT64_MIN && b->max_timestamp > seg->first_timestamp &&
           (uint64_t)b->max_timestamp - (uint64_t)seg->first_timestamp >
               (uint64_t)g->conf.segment_ms;
}

/* An active segment whose indexes can be added to. One whose indexes are in doubt is left as it is,
 * to be prepared by whoever reads from it, and a new one begun. */
static err ensure_active(struct log *g)
{
    if (g->sum.segment_count == 0)
        return log_roll(g);
    struct segment *seg = log_active(g);
    if (seg->is_prepared && seg->damaged_pos == SEGMENT_UNDAMAGED)
        return OK;
    const struct segment_opts opts = log_segment_opts(g);
    err e = segment_map(seg, log_map_bytes(g, seg));
    if (e == OK)
        e = segment_prepare(seg, &opts, PREPARE_BATCHES_MAX);
    if (((e == E_WOULD_BLOCK || e == E_CORRUPT) && seg->size > 0) ||
        (e == OK && seg->damaged_pos != SEGMENT_UNDAMAGED))
        e = log_roll(g);
    return e;
}

/* The batches of one write, known to be there: everything follows. */
static void note(struct log *g, const struct segment_batch *b, int32_t epoch)
{
    struct segment *seg = log_active(g);
    const struct segment_opts opts = log_segment_opts(g);
    log_recent_push(g, b->base_offset, seg->size);
    segment_note(seg, &opts, b);
    if (epoch > g->sum.end.epoch) {
        epoch_cache_begin(&g->epochs, epoch, b->base_offset);
        g->sum.end.epoch = epoch;
    }
}

/* pieces are in the file. */
static void advance(struct log *g, size_t bytes, int64_t next_offset)
{
    g->sum.end.offset = next_offset;
    g->sum.end.pos += (uint32_t)bytes;
    g->sum.size_bytes += bytes;
    g->bytes_since_point += bytes;
}

/* A write failed, or a roll: everything of this call goes. */
static err undo(struct log *g, err e, const struct log_place *mark, bool is_intact)
{
    if (e != E_NO_SPACE || !is_intact) {
        log_dir_fence(g->dir, e);
        return E_STORAGE;
    }
    const bool has_moved = g->sum.end.offset != mark->offset || g->sum.end.base != mark->base;
    const err cut = has_moved ? log_cut_to(g, mark) : OK;
    return cut == OK ? e : E_STORAGE;
}

static err finish(struct log *g)
{
    g->was_used = true;
    g->has_grown = true;
    g->point_is_stale = true;
    if (g->conf.fsync)
        log_schedule_flush(g);
    if (g->bytes_since_point >= POINT_EVERY_BYTES)
        err_ignore(log_put_point(g), "a restart has more to scan; errors fence by themselves");
    return OK;
}

static struct segment_batch leader_batch(const struct log_batch *b, int64_t offset)
{
    return (struct segment_batch){.base_offset = offset,
                                  .max_timestamp = b->max_timestamp,
                                  .last_offset_delta = b->last_offset_delta,
                                  .size = (uint32_t)(BATCH_HEADER_SIZE + b->records.size)};
}

/* Stamps and gathers batches from the first on, as many as go into one write. Returns how many. */
static size_t gather(struct log *g, const struct log_batch *batches, size_t count, int32_t epoch,
                     struct pieces *p, int64_t *next_offset)
{
    const struct segment *seg = log_active(g);
    int64_t offset = g->sum.end.offset;
    size_t n = 0;
    for (; n < count; n++) {
        const struct segment_batch b = leader_batch(&batches[n], offset);
        if (must_roll(g, seg, seg->size + p->bytes, &b) || p->count + 2 > IOV_MAX_)
            break;
        batch_stamp(batches[n].header, offset, epoch, batches[n].batch_crc);
        CHECK(pieces_add(p, batches[n].header, BATCH_HEADER_SIZE));
        CHECK(pieces_add(p, batches[n].records.data, batches[n].records.size));
        offset += (int64_t)batches[n].last_offset_delta + 1;
    }
    *next_offset = offset;
    return n;
}

err log_append(struct log *g, const struct log_batch *batches, size_t count, int32_t leader_epoch,
               int64_t *first_offset)
{
    err e = log_check_writable(g);
    if (e == OK)
        e = log_ensure_loaded(g);
    if (e == OK)
        e = ensure_active(g);
    if (e != OK)
        return e;
    /* The store that names leaders was set back (fault Z9): never obeyed. */
    if (leader_epoch < g->sum.end.epoch || leader_epoch < 0)
        return E_FENCED_LEADER_EPOCH;

    const struct log_place mark = g->sum.end;
    for (size_t done = 0; done < count;) {
        struct pieces p;
        p.count = 0;
        p.bytes = 0;
        int64_t next_offset;
        bool is_intact = true;
        const size_t n = gather(g, batches + done, count - done, leader_epoch, &p, &next_offset);
        if (n == 0) {
            e = log_roll(g);
        } else {
            e = segment_write(log_active(g), p.iov, p.count, p.bytes, &is_intact);
        }
        if (e != OK)
            return undo(g, e, &mark, is_intact);
        if (n == 0)
            continue;
        int64_t offset = g->sum.end.offset;
        advance(g, p.bytes, next_offset);
        for (size_t i = done; i < done + n; i++) {
            const struct segment_batch b = leader_batch(&batches[i], offset);
            note(g, &b, leader_epoch);
            offset += (int64_t)b.last_offset_delta + 1;
        }
        done += n;
    }
    *first_offset = mark.offset;
    return finish(g);
}

/* Rule F6: all is checked before any of it is written. */
static err check_batches(const struct log *g, struct slice batches)
{
    int64_t next = g->sum.end.offset;
    int32_t epoch = g->sum.end.epoch;
    while (batches.size > 0) {
        struct batch b;
        err e = batch_read_canonical(batches, &b);
        if (e == E_WOULD_BLOCK || e == E_END)
            e = E_CORRUPT;
        if (e == OK)
            e = batch_check_crcs(&b);
        if (e != OK)
            return e;
        if (b.leader_epoch < epoch)
            return E_CORRUPT;
        /* A compacted log has gaps; any other is dense. */
        if (b.base_offset < next || (b.base_offset > next && !g->conf.cleanup_compact))
            return E_OUT_OF_ORDER_SEQUENCE;
        epoch = b.leader_epoch;
        next = b.base_offset + b.last_offset_delta + 1;
        batches = slice_sub(batches, b.size, batches.size);
    }
    return OK;
}

static struct segment_batch follower_batch(const struct batch *b)
{
    return (struct segment_batch){.base_offset = b->base_offset,
                                  .max_timestamp = b->max_timestamp,
                                  .last_offset_delta = b->last_offset_delta,
                                  .size = (uint32_t)b->size};
}

/* How many bytes of whole, checked batches go into the active segment. */
static size_t fitting(struct log *g, struct slice batches, int64_t *next_offset)
{
    const struct segment *seg = log_active(g);
    size_t at = 0;
    while (at < batches.size) {
        struct batch b;
        CHECK(batch_read_canonical(slice_sub(batches, at, batches.size), &b) == OK);
        const struct segment_batch s = follower_batch(&b);
        if (must_roll(g, seg, seg->size + at, &s))
            break;
        at += b.size;
        *next_offset = b.base_offset + b.last_offset_delta + 1;
    }
    return at;
}

err log_append_as_is(struct log *g, struct slice batches)
{
    err e = log_check_writable(g);
    if (e == OK)
        e = log_ensure_loaded(g);
    if (e == OK)
        e = check_batches(g, batches);
    if (e == OK)
        e = ensure_active(g);
    if (e != OK)
        return e;

    const struct log_place mark = g->sum.end;
    while (batches.size > 0) {
        int64_t next_offset = g->sum.end.offset;
        bool is_intact = true;
        const size_t bytes = fitting(g, batches, &next_offset);
        if (bytes == 0) {
            e = log_roll(g);
        } else {
            struct pieces p;
            p.count = 0;
            p.bytes = 0;
            CHECK(pieces_add(&p, batches.data, bytes));
            e = segment_write(log_active(g), p.iov, p.count, p.bytes, &is_intact);
        }
        if (e != OK)
            return undo(g, e, &mark, is_intact);
        if (bytes == 0)
            continue;
        advance(g, bytes, next_offset);
        for (size_t at = 0; at < bytes;) {
            struct batch b;
            CHECK(batch_read_canonical(slice_sub(batches, at, bytes - at), &b) == OK);
            const struct segment_batch s = follower_batch(&b);
            note(g, &s, b.leader_epoch);
            at += b.size;
        }
        batches = slice_sub(batches, bytes, batches.size);
    }
    return finish(g);
}
