/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading. A read is a range of a whole-segment mapping: found by the ring of
 * recent batches, or by index and a short walk over headers, and never touched
 * otherwise. Whoever may not block asks first whether the pages are there; if
 * not, log_warm brings them on a worker.
 *
 * Rule S7: what this process did not write itself is given out only after its
 * checksums were looked at, once, and what comes from the disk again, again:
 * what is found damaged is never given out.
 */
#include <string.h>

#include "broker/log/log_priv.h"
#include "broker/log/time_index.h"
#include "proto/base/check.h"
#include "proto/base/diag.h"
#include "proto/base/limits.h"
#include "proto/wire/codec.h"
#include "proto/wire/record.h"

enum { WALK_BYTES = 64 * KIB }; /* around a range: what finding its ends may touch */

/* A range of one segment. */
struct range {
    struct segment *seg;
    uint32_t from, to;
    int64_t from_offset, next_offset;
};

static bool is_active(const struct log *g, const struct segment *seg)
{
    return seg->base_offset == g->sum.end.base;
}

/* All that can be told from memory alone: where the batch with offset begins. */
static bool find_recent(struct log *g, const struct segment *seg, int64_t offset, uint32_t *pos,
                        int64_t *base_offset)
{
    if (!is_active(g, seg))
        return false;
    const struct recent_batch *b = log_recent_at(g, offset);
    if (!b)
        return false;
    *pos = b->pos;
    *base_offset = b->base_offset;
    return true;
}

/* May these bytes be touched? Loops only touch what is in memory; workers see to it that it is. */
static err touch(const struct log *g, const struct segment *seg, uint32_t from, uint64_t to,
                 bool may_block)
{
    if (to > seg->size)
        to = seg->size;
    if (from >= to)
        return OK;
    const uint8_t *at = seg->ref->map + from;
    if (may_block)
        return g->io->populate(g->io, at, (size_t)(to - from));
    return g->io->is_resident(g->io, seg->ref->file, at, from, (size_t)(to - from)) ? OK
                                                                                    : E_WOULD_BLOCK;
}

static err prepare(struct log *g, struct segment *seg, bool may_block)
{
    const struct segment_opts opts = log_segment_opts(g);
    if (!seg->is_prepared && !may_block)
        return E_WOULD_BLOCK;
    err e = segment_map(seg, log_map_bytes(g, seg));
    if (e == OK && !seg->is_prepared)
        e = segment_prepare(seg, &opts, UINT32_MAX);
    return e;
}

static err find_start(struct log *g, const struct log_read_opts *opts, struct range *r)
{
    if (find_recent(g, r->seg, opts->offset, &r->from, &r->from_offset))
        return segment_map(r->seg, log_map_bytes(g, r->seg));
    err e = prepare(g, r->seg, opts->may_block);
    if (e != OK)
        return e;
    const uint32_t guess = segment_floor_pos(r->seg, opts->offset);
    e = touch(g, r->seg, guess, (uint64_t)guess + WALK_BYTES, opts->may_block);
    return e == OK ? segment_find(r->seg, opts->offset, &r->from, &r->from_offset) : e;
}

static err find_end(struct log *g, const struct log_read_opts *opts, int64_t max_offset,
                    struct range *r)
{
    struct segment *seg = r->seg;
    const uint32_t readable = seg->damaged_pos < seg->size ? seg->damaged_pos : seg->size;
    const uint32_t left = readable - r->from;
    const uint32_t limit = opts->max_bytes < left ? r->from + (uint32_t)opts->max_bytes : readable;
    r->to = r->from;
    r->next_offset = r->from_offset;
    if (limit == seg->size && seg->next_offset <= max_offset) {
        r->to = seg->size;
        r->next_offset = seg->next_offset;
        return OK;
    }
    if (is_active(g, seg)) {
        /* A recent batch that begins there is a boundary; exact unless older ones are not known any
         * more. */
        const struct recent_batch *b = log_recent_floor(g, limit, max_offset);
        if (b && b->pos > r->from) {
            r->to = b->pos;
            r->next_offset = b->base_offset;
            return OK;
        }
    }
    const uint32_t guess = segment_floor_limit(seg, limit, max_offset);
    const uint32_t near = guess > r->from ? guess : r->from;
    const err e = touch(g, seg, near, (uint64_t)near + BATCH_HEADER_SIZE, opts->may_block);
    if (e != OK)
        return e;
    const struct segment_span span = {
        .from = r->from, .limit = limit, .from_offset = r->from_offset, .max_offset = max_offset};
    return segment_extend(seg, &span, &r->to, &r->next_offset);
}

/* A first batch that is larger than was asked for goes alone. */
static err take_one(struct range *r, int64_t max_offset)
{
    struct batch b;
    const err e = segment_batch_at(r->seg, r->from, &b);
    if (e != OK)
        return e;
    const int64_t next = b.base_offset + b.last_offset_delta + 1;
    /* It ends above what may be given out: so it is, or its number of offsets is damaged. */
    if (next > max_offset)
        return segment_verify(r->seg, r->from, r->from + (uint32_t)b.size);
    r->to = r->from + (uint32_t)b.size;
    r->next_offset = next;
    return OK;
}

static err damaged(struct log *g, const struct range *r)
{
    static struct diag_limit limit = {.interval_ms = 1000};
    if (diag_allowed(&limit))
        diag(DIAG_ERROR, "log",
             "a batch is damaged, or of a format version this build does not know",
             "dir=%s segment=%lld pos=%u", DIAG_STR(g->path), (long long)r->seg->base_offset,
             r->seg->damaged_pos != SEGMENT_UNDAMAGED ? r->seg->damaged_pos : r->from);
    return E_CORRUPT;
}

/* A format that this build does not know cannot be told from damage here. */
static bool is_refused(err e)
{
    return e == E_CORRUPT || e == E_UNSUPPORTED_VERSION;
}

/* The range that answers a read; empty: nothing there that may be given out. */
static err find_range(struct log *g, const struct log_read_opts *opts, int64_t max_offset,
                      struct range *r)
{
    r->seg = log_segment_of(g, opts->offset);
    CHECK(r->seg);
    /* Behind the last batch of a segment that ends in a gap: the next one. */
    if (!is_active(g, r->seg) && opts->offset >= r->seg->next_offset)
        r->seg++;
    err e = find_start(g, opts, r);
    if (e == OK && r->from >= r->seg->size && !is_active(g, r->seg)) {
        r->seg++;
        e = find_start(g, opts, r);
    }
    if (e != OK || r->from >= r->seg->size) {
        r->to = r->from;
        return is_refused(e) ? damaged(g, r) : e;
    }
    if (r->from >= r->seg->damaged_pos)
        return damaged(g, r);
    e = find_end(g, opts, max_offset, r);
    if (e == OK && r->to == r->from && opts->at_least_one) {
        e = touch(g, r->seg, r->from, (uint64_t)r->from + BATCH_HEADER_SIZE, opts->may_block);
        if (e == OK)
            e = take_one(r, max_offset);
    }
    if (e == OK)
        e = touch(g, r->seg, r->from, r->to, opts->may_block);
    if (e == OK && segment_verify(r->seg, r->from, r->to) != OK) {
        /* What lies before the damage is good. */
        err_ignore(damaged(g, r), "told; the next read is refused");
        e = r->from < r->seg->damaged_pos ? find_end(g, opts, max_offset, r) : E_CORRUPT;
        return e;
    }
    return is_refused(e) ? damaged(g, r) : e;
}

err log_read(struct log *g, const struct log_read_opts *opts, struct log_view *out)
{
    if (g->unusable != OK)
        return g->unusable;
    if (opts->offset < g->sum.start_offset || opts->offset > g->sum.end.offset)
        return E_OFFSET_OUT_OF_RANGE;
    const int64_t max_offset =
        opts->max_offset < g->sum.end.offset ? opts->max_offset : g->sum.end.offset;
    if (opts->offset >= max_offset) {
        *out = (struct log_view){.next_offset = opts->offset};
        return OK;
    }
    err e = log_ensure_loaded(g);
    if (e != OK)
        return e;
    g->was_used = true;

    struct range r;
    e = find_range(g, opts, max_offset, &r);
    if (e != OK)
        return e;
    if (r.to == r.from) {
        *out = (struct log_view){.next_offset = opts->offset};
        return OK;
    }
    *out = (struct log_view){
        .bytes = slice_of(r.seg->ref->map + r.from, r.to - r.from),
        .next_offset = r.next_offset,
        .ref = segment_view_get(r.seg->ref),
    };
    return OK;
}

void log_view_release(struct log_view *v)
{
    if (v->ref)
        segment_view_put(v->ref);
    *v = (struct log_view){0};
}

/* --- on workers -------------------------------------------------------------- */

/* The segment with that base, if it is still there. [locked] */
static struct segment *segment_by_base(struct log *g, int64_t base_offset)
{
    struct segment *seg = log_segment_of(g, base_offset);
    return seg && seg->base_offset == base_offset ? seg : NULL;
}

err log_prepare_segment(struct log *g, int64_t base_offset)
{
    const struct segment_dir dir = log_segment_dir(g);
    for (;;) {
        log_lock(g);
        err e = log_ensure_loaded(g);
        const struct segment *seg = e == OK ? segment_by_base(g, base_offset) : NULL;
        if (e == OK && !seg)
            e = E_NOT_FOUND;
        if (e != OK || seg->is_prepared) {
            log_unlock(g);
            return e;
        }
        /* A twin, prepared while the log goes on, takes the segment's place unless that moved. */
        const struct segment_opts opts = log_segment_opts(g);
        const uint32_t size = seg->size;
        struct segment twin;
        segment_init(&twin, &dir, base_offset, seg->next_offset, size, &opts);
        twin.file_size = seg->file_size;
        twin.damaged_pos = seg->damaged_pos;
        twin.own_pos = seg->own_pos;
        twin.checked_from = seg->checked_from;
        twin.checked_to = seg->checked_to;
        const size_t map_bytes = log_map_bytes(g, seg);
        const uint32_t truncations = g->truncations;
        log_unlock(g);

        e = segment_map(&twin, map_bytes);
        if (e == OK && size > 0)
            e = g->io->populate(g->io, twin.ref->map, size < WALK_BYTES ? size : WALK_BYTES);
        if (e == OK)
            e = segment_prepare(&twin, &opts, UINT32_MAX);

        log_lock(g);
        struct segment *now = segment_by_base(g, base_offset);
        const bool has_moved =
            !now || now->is_prepared || now->size != size || g->truncations != truncations;
        if (e == OK && !has_moved) {
            segment_deinit(now);
            *now = twin;
        } else {
            segment_deinit(&twin);
        }
        log_unlock(g);
        if (e != OK || !has_moved)
            return e;
    }
}

/* Looks at every batch of a view; tells where the first bad one is. */
static bool find_damage(struct slice bytes, size_t *pos)
{
    for (size_t at = 0; at < bytes.size;) {
        struct batch b;
        if (batch_read_canonical(slice_sub(bytes, at, bytes.size), &b) != OK ||
            batch_check_crcs(&b) != OK) {
            *pos = at;
            return true;
        }
        at += b.size;
    }
    return false;
}

void log_warm(struct log *g, const struct log_read_opts *opts)
{
    struct log_read_opts blocking = *opts;
    blocking.may_block = true;

    log_lock(g);
    err e = log_ensure_loaded(g);
    const struct segment *seg = e == OK ? log_segment_of(g, opts->offset) : NULL;
    const int64_t base_offset = seg ? seg->base_offset : -1;
    const bool is_ready = seg && seg->is_prepared;
    log_unlock(g);
    if (!seg || (!is_ready && log_prepare_segment(g, base_offset) != OK))
        return;

    /* The range alone is found under the lock; the bytes come in without it. */
    log_lock(g);
    struct range r;
    struct log_view v = {0};
    seg = segment_by_base(g, base_offset);
    if (seg && seg->size > 0 && opts->offset < g->sum.end.offset) {
        r.seg = segment_by_base(g, base_offset);
        if (segment_map(r.seg, log_map_bytes(g, r.seg)) == OK) {
            r.from = segment_floor_pos(r.seg, opts->offset);
            const uint64_t to = (uint64_t)r.from + opts->max_bytes + (uint64_t)2 * WALK_BYTES;
            r.to = to < r.seg->size ? (uint32_t)to : r.seg->size;
            v.ref = segment_view_get(r.seg->ref);
            v.bytes = slice_of(v.ref->map + r.from, r.to - r.from);
        }
    }
    log_unlock(g);
    if (v.bytes.size)
        e = g->io->populate(g->io, v.bytes.data, v.bytes.size);
    log_view_release(&v);

    log_lock(g);
    if (e == OK)
        e = log_read(g, &blocking, &v);
    log_unlock(g);
    size_t bad;
    if (e == OK && v.bytes.size && find_damage(v.bytes, &bad)) {
        log_lock(g);
        struct segment *now = segment_by_base(g, base_offset);
        if (now && now->ref == v.ref) {
            const uint32_t pos = (uint32_t)((size_t)(v.bytes.data - v.ref->map) + bad);
            now->damaged_pos = pos < now->damaged_pos ? pos : now->damaged_pos;
            diag(DIAG_ERROR, "log", "a batch's checksum is wrong", "dir=%s segment=%lld pos=%u",
                 DIAG_STR(g->path), (long long)base_offset, pos);
        }
        log_unlock(g);
    }
    if (e == OK)
        log_view_release(&v);
}

/* --- by time ----------------------------------------------------------------- */

struct seek {
    const struct fsio *io;
    struct codec_ctx *codecs;
    int64_t start_offset, max_offset;
    int64_t timestamp; /* wanted: at or above */
    bool largest;      /* instead: the first with the largest timestamp */
};

/* The record that was looked for, in its batch. E_NOT_FOUND: it has none between the offsets. */
static err find_record(const struct batch *b, const struct seek *s, struct log_found *out)
{
    struct buf plain = {0};
    const enum batch_codec codec = b->attributes & BATCH_CODEC_MASK;
    err e = codec_decompress(s->codecs, codec, b->records, codec_limit(b->records.size), &plain);
    struct reader r = reader_init(buf_slice(&plain));
    const bool is_append_time = b->attributes & BATCH_LOG_APPEND_TIME;
    struct log_found best = {.offset = -1};
    while (e == OK) {
        struct record_view rec;
        e = record_next(&r, &rec);
        if (e != OK)
            break;
        const int64_t offset = b->base_offset + rec.offset_delta;
        const uint64_t timestamp = (uint64_t)b->base_timestamp + (uint64_t)rec.timestamp_delta;
        const struct log_found f = {.offset = offset,
                                    .timestamp =
                                        is_append_time ? b->max_timestamp : (int64_t)timestamp,
                                    .leader_epoch = b->leader_epoch};
        if (offset < s->start_offset || offset >= s->max_offset)
            continue;
        if (s->largest ? best.offset < 0 || f.timestamp > best.timestamp
                       : f.timestamp >= s->timestamp)
            best = f;
        if (!s->largest && best.offset >= 0)
            break;
    }
    buf_deinit(&plain);
    if (best.offset < 0)
        return e == OK || e == E_END ? E_NOT_FOUND : e;
    *out = best;
    return OK;
}

/* One segment's batches, from where the time index says. For the largest timestamp only the batch
 * that has it is decoded. */
static err seek_in(struct slice bytes, const struct seek *s, struct log_found *out)
{
    struct batch best;
    bool has_best = false;
    size_t ready = 0;
    for (size_t pos = 0; pos < bytes.size;) {
        struct batch b;
        err e = map_ensure(s->io, bytes, &ready, pos, BATCH_HEADER_SIZE);
        if (e == OK)
            e = batch_read_canonical(slice_sub(bytes, pos, bytes.size), &b);
        if (e != OK)
            return e == E_UNSUPPORTED_VERSION || e == E_STORAGE ? e : E_CORRUPT;
        const int64_t last_offset = b.base_offset + b.last_offset_delta;
        if (b.base_offset >= s->max_offset)
            break;
        const bool is_it = s->largest ? !has_best || b.max_timestamp > best.max_timestamp
                                      : b.max_timestamp >= s->timestamp;
        if (is_it && last_offset >= s->start_offset && b.record_count > 0) {
            e = map_ensure(s->io, bytes, &ready, pos, b.size);
            if (e == OK && !s->largest)
                e = find_record(&b, s, out);
            if (!s->largest && e != E_NOT_FOUND)
                return e;
            if (e == E_STORAGE)
                return e;
            best = b;
            has_best = true;
        }
        pos += b.size;
    }
    return s->largest && has_best ? find_record(&best, s, out) : E_NOT_FOUND;
}

/* A segment to seek in: its bytes from where the search must begin, as a view. */
struct seek_segment {
    struct log_view view;
    int64_t max_timestamp;
    int64_t next_base; /* of the following segment; INT64_MAX: none */
};

/* Where no batch before it can have the timestamp. */
static uint32_t seek_pos(struct segment *seg, const struct seek *s)
{
    struct time_entry entry;
    struct batch b;
    if (s->largest || !time_index_before(&seg->times, s->timestamp, &entry) ||
        entry.pos >= seg->size || segment_batch_at(seg, entry.pos, &b) != OK ||
        b.max_timestamp != entry.timestamp || b.base_offset != seg->base_offset + entry.rel_offset)
        return 0;
    return entry.pos;
}

static err view_for_seek(struct log *g, const struct seek *s, int64_t offset,
                         struct seek_segment *out)
{
    log_lock(g);
    err e = log_ensure_loaded(g);
    struct segment *seg = e == OK ? log_segment_of(g, offset) : NULL;
    const int64_t base_offset = seg ? seg->base_offset : -1;
    log_unlock(g);
    if (!seg)
        return e == OK ? E_NOT_FOUND : e;
    e = log_prepare_segment(g, base_offset);
    if (e != OK)
        return e;

    *out = (struct seek_segment){.max_timestamp = INT64_MIN, .next_base = INT64_MAX};
    log_lock(g);
    seg = segment_by_base(g, base_offset);
    e = seg ? segment_map(seg, log_map_bytes(g, seg)) : E_NOT_FOUND;
    if (e == OK) {
        if (!is_active(g, seg))
            out->next_base = seg[1].base_offset;
        if (seg->size > 0) {
            const uint32_t from = seek_pos(seg, s);
            out->max_timestamp = seg->max_timestamp;
            out->view.ref = segment_view_get(seg->ref);
            out->view.bytes = slice_of(seg->ref->map + from, seg->size - from);
        }
    }
    log_unlock(g);
    return e;
}

err log_find_timestamp(struct log *g, int64_t timestamp, int64_t max_offset, struct log_found *out)
{
    log_lock(g);
    err e = g->unusable;
    struct seek s = {
        .io = g->io,
        .start_offset = g->sum.start_offset,
        .max_offset = max_offset < g->sum.end.offset ? max_offset : g->sum.end.offset,
        .timestamp = timestamp,
        .largest = timestamp == -3,
    };
    log_unlock(g);
    if (e != OK)
        return e;

    s.codecs = codec_ctx_new();
    struct log_found best = {.offset = -1};
    for (int64_t offset = s.start_offset; offset < s.max_offset;) {
        struct seek_segment seg;
        e = view_for_seek(g, &s, offset, &seg);
        if (e != OK)
            break;
        struct log_found f;
        e = E_NOT_FOUND;
        if (s.largest ? best.offset < 0 || seg.max_timestamp > best.timestamp
                      : seg.max_timestamp >= timestamp)
            e = seek_in(seg.view.bytes, &s, &f);
        log_view_release(&seg.view);
        if (e == OK && (best.offset < 0 || f.timestamp > best.timestamp))
            best = f;
        if ((e == OK && !s.largest) || (e != OK && e != E_NOT_FOUND))
            break;
        offset = seg.next_base;
    }
    codec_ctx_free(s.codecs);
    if (e != OK && e != E_NOT_FOUND)
        return e;
    if (best.offset < 0)
        return E_NOT_FOUND;
    *out = best;
    return OK;
}
