/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The data file is a serialized sluice.Segment (proto/schema/log.proto): batch
 * after batch, canonical (proto/wire/batch.c has the byte table), format
 * version 0. Behind them there may be zeros, which a preallocated or a torn
 * file ends with (rule D9). Valid: each batch's checksums are right, the first
 * begins at the file's base offset or above, and each later one where the one
 * before ended or above (compaction leaves gaps).
 */
#include "broker/log/segment.h"

#include <string.h>

#include "broker/log/names.h"
#include "broker/log/offset_index.h"
#include "broker/log/time_index.h"
#include "proto/base/check.h"
#include "proto/base/diag.h"
#include "proto/base/limits.h"
#include "proto/base/mem.h"

/* --- segment_ref ------------------------------------------------------------- */

static struct segment_ref *ref_new(const struct fsio *io, struct fsio_file *file)
{
    struct segment_ref *ref = MEM_NEW(struct segment_ref);
    ref->refs = 1;
    ref->io = io;
    ref->file = file;
    return ref;
}

struct segment_ref *segment_ref_get(struct segment_ref *ref)
{
    atomic_fetch_add_explicit(&ref->refs, 1, memory_order_relaxed);
    return ref;
}

void segment_ref_put(struct segment_ref *ref)
{
    if (!ref || atomic_fetch_sub_explicit(&ref->refs, 1, memory_order_acq_rel) != 1)
        return;
    CHECK(atomic_load(&ref->views) == 0);
    if (ref->map)
        ref->io->unmap(ref->io, ref->map, ref->map_size);
    ref->io->close(ref->io, ref->file);
    mem_free(ref);
}

struct segment_ref *segment_view_get(struct segment_ref *ref)
{
    atomic_fetch_add_explicit(&ref->views, 1, memory_order_relaxed);
    return segment_ref_get(ref);
}

void segment_view_put(struct segment_ref *ref)
{
    atomic_fetch_sub_explicit(&ref->views, 1, memory_order_release);
    segment_ref_put(ref);
}

err map_ensure(const struct fsio *io, struct slice bytes, size_t *ready, size_t pos, size_t size)
{
    size_t end = size > bytes.size - pos ? bytes.size : pos + size;
    if (end <= *ready)
        return OK;
    const size_t from = pos > *ready ? pos : *ready;
    if (end - from < MIB)
        end = bytes.size - from < MIB ? bytes.size : from + MIB;
    const err e = io->populate(io, bytes.data + from, end - from);
    if (e == OK)
        *ready = end;
    return e;
}

/* --- life -------------------------------------------------------------------- */

struct segment_path {
    char text[FSIO_PATH_MAX];
};

static const char *path_of(const struct segment_dir *dir, int64_t base_offset,
                           enum segment_file kind, struct segment_path *path)
{
    char name[SEGMENT_NAME_MAX];
    return fsio_path(path->text, dir->path, segment_name(name, base_offset, kind));
}

void segment_init(struct segment *seg, const struct segment_dir *dir, int64_t base_offset,
                  int64_t next_offset, uint32_t size, const struct segment_opts *opts)
{
    *seg = (struct segment){
        .dir = *dir,
        .base_offset = base_offset,
        .next_offset = next_offset,
        .size = size,
        .file_size = size,
        .damaged_pos = SEGMENT_UNDAMAGED,
        .own_pos = size,
        .first_timestamp = INT64_MIN,
        .max_timestamp = INT64_MIN,
    };
    struct index_file index = {.io = dir->io,
                               .dir = dir->path,
                               .base_offset = base_offset,
                               .kind = SEGMENT_INDEX,
                               .bytes_max = opts->index_bytes_max,
                               .entry_size = OFFSET_ENTRY_SIZE};
    index_file_init(&seg->offsets, &index);
    index.kind = SEGMENT_TIME_INDEX;
    index.entry_size = TIME_ENTRY_SIZE;
    index_file_init(&seg->times, &index);
}

static err remove_file(const struct segment_dir *dir, int64_t base_offset, enum segment_file kind,
                       bool later)
{
    struct segment_path path, to;
    path_of(dir, base_offset, kind, &path);
    err e;
    if (later) {
        memcpy(&to, &path, sizeof to);
        CHECK(strlen(to.text) + sizeof DELETED_SUFFIX <= sizeof to.text);
        strcat(to.text, DELETED_SUFFIX);
        e = dir->io->rename(dir->io, path.text, to.text);
    } else {
        e = dir->io->unlink(dir->io, path.text);
    }
    return e == E_NOT_FOUND ? OK : e;
}

err segment_remove(const struct segment_dir *dir, int64_t base_offset, bool later)
{
    err e = OK;
    for (int kind = 0; kind < SEGMENT_FILE_KINDS && e == OK; kind++)
        e = remove_file(dir, base_offset, (enum segment_file)kind, later);
    return e;
}

err segment_create(struct segment *seg, const struct segment_dir *dir, int64_t base_offset,
                   const struct segment_opts *opts)
{
    struct segment_path path;
    struct fsio_file *f;
    err e = dir->io->open(dir->io, path_of(dir, base_offset, SEGMENT_LOG, &path),
                          FSIO_WRITE | FSIO_CREATE | FSIO_EXCL, &f);
    if (e == E_EXISTS) {
        diag(DIAG_ERROR, "log", "a new segment's file exists already", "path=%s",
             DIAG_STR(path.text));
        return E_STORAGE;
    }
    if (e == OK && opts->preallocate_bytes) {
        e = dir->io->fallocate(dir->io, f, opts->preallocate_bytes);
        if (e != OK) {
            dir->io->close(dir->io, f);
            err_ignore(dir->io->unlink(dir->io, path.text), "an empty file is a good segment, too");
        }
    }
    /* Indexes of a segment that was here before would be stale. */
    if (e == OK) {
        e = segment_drop_indexes(dir, base_offset);
        if (e != OK)
            dir->io->close(dir->io, f);
    }
    if (e != OK)
        return e == E_NOT_FOUND ? E_STORAGE : e;
    segment_init(seg, dir, base_offset, base_offset, 0, opts);
    seg->file_size = opts->preallocate_bytes;
    seg->is_prepared = true;
    seg->ref = ref_new(dir->io, f);
    return OK;
}

void segment_deinit(struct segment *seg)
{
    index_file_deinit(&seg->offsets);
    index_file_deinit(&seg->times);
    segment_ref_put(seg->ref);
    seg->ref = NULL;
}

static err missing(const char *path)
{
    diag(DIAG_ERROR, "log", "a segment's file is gone", "path=%s", DIAG_STR(path));
    return E_STORAGE;
}

err segment_open(struct segment *seg)
{
    if (seg->ref)
        return OK;
    struct segment_path path;
    struct fsio_file *f;
    const err e = seg->dir.io->open(
        seg->dir.io, path_of(&seg->dir, seg->base_offset, SEGMENT_LOG, &path), FSIO_WRITE, &f);
    if (e != OK)
        return e == E_NOT_FOUND ? missing(path.text) : e;
    seg->ref = ref_new(seg->dir.io, f);
    return OK;
}

err segment_map(struct segment *seg, size_t map_bytes)
{
    if (seg->ref && seg->ref->map && seg->ref->map_size >= seg->size)
        return OK;
    if (map_bytes < seg->size)
        map_bytes = seg->size;
    if (map_bytes == 0)
        return OK;
    if (seg->ref && seg->ref->map) {
        /* It outgrew its mapping; whoever reads from that keeps it. */
        segment_ref_put(seg->ref);
        seg->ref = NULL;
    }
    err e = segment_open(seg);
    if (e != OK)
        return e;
    const uint8_t *map;
    e = seg->dir.io->map(seg->dir.io, seg->ref->file, map_bytes, &map);
    if (e != OK)
        return e == E_NO_MEMORY ? E_STORAGE : e;
    seg->ref->map = map;
    seg->ref->map_size = map_bytes;
    return OK;
}

/* --- append ------------------------------------------------------------------ */

err segment_write(struct segment *seg, const struct iovec *iov, int count, size_t bytes,
                  bool *is_intact)
{
    *is_intact = true;
    err e = segment_open(seg);
    if (e != OK)
        return e;
    CHECK(bytes <= SEGMENT_BYTES_MAX - seg->size);
    size_t written;
    e = seg->dir.io->pwritev(seg->dir.io, seg->ref->file, iov, count, seg->size, &written);
    if (e == OK) {
        if (seg->size + bytes > seg->file_size)
            seg->file_size = seg->size + (uint32_t)bytes;
        return OK;
    }
    /* Half a batch must not stay (rule L8); a preallocated tail goes with it. */
    if (seg->dir.io->ftruncate(seg->dir.io, seg->ref->file, seg->size) == OK)
        seg->file_size = seg->size;
    else
        *is_intact = false;
    return e;
}

/*
 * The two indexes go together: what the time index has on disk never reaches less far than the
 * offset index, so that a walk from the last offset entry on finds every timestamp that the time
 * index may be missing.
 */
static void add_entries(struct segment *seg, struct offset_entry entry)
{
    if (seg->times.is_broken || seg->offsets.is_broken) {
        seg->times.is_broken = true;
        seg->offsets.is_broken = true;
        return;
    }
    if (index_file_is_full(&seg->times) || index_file_is_full(&seg->offsets))
        return;
    const struct time_entry time = {
        .timestamp = seg->max_timestamp, .rel_offset = seg->max_rel_offset, .pos = seg->max_pos};
    time_index_add(&seg->times, time);
    if (index_file_will_spill(&seg->offsets))
        index_file_spill(&seg->times);
    if (seg->times.is_broken)
        return;
    offset_index_add(&seg->offsets, entry);
    seg->indexed_pos = entry.pos;
}

void segment_note(struct segment *seg, const struct segment_opts *opts,
                  const struct segment_batch *b)
{
    CHECK(b->base_offset >= seg->next_offset);
    const uint32_t pos = seg->size;
    const uint32_t rel_offset = (uint32_t)(b->base_offset - seg->base_offset);
    if (seg->first_timestamp == INT64_MIN)
        seg->first_timestamp = b->max_timestamp;
    if (b->max_timestamp > seg->max_timestamp) {
        seg->max_timestamp = b->max_timestamp;
        seg->max_rel_offset = rel_offset;
        seg->max_pos = pos;
    }
    if (pos - seg->indexed_pos >= opts->index_interval_bytes && pos > 0)
        add_entries(seg, (struct offset_entry){.rel_offset = rel_offset, .pos = pos});
    seg->size = pos + b->size;
    if (seg->size > seg->file_size)
        seg->file_size = seg->size;
    seg->next_offset = b->base_offset + b->last_offset_delta + 1;
}

/* --- positions --------------------------------------------------------------- */

err segment_batch_at(const struct segment *seg, uint32_t pos, struct batch *out)
{
    CHECK(pos < seg->size);
    CHECK(seg->ref->map_size >= seg->size);
    const err e = batch_read_canonical(slice_of(seg->ref->map + pos, seg->size - pos), out);
    if (e == E_UNSUPPORTED_VERSION)
        return e;
    if (e != OK ||
        batch_header_crc(out->base_offset, out->leader_epoch, out->batch_crc) != out->header_crc)
        return E_CORRUPT;
    return OK;
}

/* Whether an index entry tells of a batch that is there. */
static bool entry_holds(const struct segment *seg, struct offset_entry entry)
{
    struct batch b;
    return entry.pos < seg->size && segment_batch_at(seg, entry.pos, &b) == OK &&
           b.base_offset == seg->base_offset + entry.rel_offset;
}

/* An entry that does not hold puts the whole index in doubt (rule D3). */
static void doubt(struct segment *seg)
{
    struct segment_path path;
    diag(DIAG_WARN, "log", "an index is wrong and is made anew", "segment=%s",
         DIAG_STR(path_of(&seg->dir, seg->base_offset, SEGMENT_LOG, &path)));
    offset_index_truncate(&seg->offsets, 0);
    time_index_truncate(&seg->times, 0);
    seg->indexed_pos = 0;
    seg->is_prepared = false;
}

static uint32_t rel_offset_of(const struct segment *seg, int64_t offset)
{
    const int64_t rel = offset - seg->base_offset;
    return rel > UINT32_MAX ? UINT32_MAX : (uint32_t)rel;
}

/* Nothing is given out from here on. What this process wrote is in memory: that it is damaged is
 * found again by whoever looks again. */
static err note_damage(struct segment *seg, uint32_t pos, err e)
{
    if (e == E_CORRUPT && pos < seg->damaged_pos && pos < seg->own_pos)
        seg->damaged_pos = pos;
    return e;
}

/* The first batch in a range whose checksums are wrong; `to` if there is none. */
static uint32_t first_damage(const struct segment *seg, uint32_t from, uint32_t to)
{
    while (from < to) {
        struct batch b;
        if (segment_batch_at(seg, from, &b) != OK || batch_check_crcs(&b) != OK)
            return from;
        from += (uint32_t)b.size;
    }
    return to;
}

err segment_verify(struct segment *seg, uint32_t from, uint32_t to)
{
    if (to > seg->own_pos)
        to = seg->own_pos;
    if (from >= seg->checked_from && from <= seg->checked_to)
        from = seg->checked_to;
    if (from >= to)
        return OK;
    const uint32_t good = first_damage(seg, from, to);
    if (from != seg->checked_to)
        seg->checked_from = from;
    seg->checked_to = good;
    return good == to ? OK : note_damage(seg, good, E_CORRUPT);
}

err segment_find(struct segment *seg, int64_t offset, uint32_t *pos, int64_t *base_offset)
{
    if (offset < seg->base_offset)
        offset = seg->base_offset; /* in a gap before it */
    uint32_t at = 0;
    struct offset_entry entry;
    if (offset_index_floor(&seg->offsets, rel_offset_of(seg, offset), &entry)) {
        if (entry_holds(seg, entry))
            at = entry.pos;
        else
            doubt(seg);
    }
    uint32_t before = at;
    while (at < seg->size) {
        struct batch b, last;
        err e = segment_batch_at(seg, at, &b);
        /* A gap may be one, or a batch whose number of offsets is damaged. */
        if (e == OK && b.base_offset > offset && before < at &&
            (segment_batch_at(seg, before, &last) != OK || batch_check_crcs(&last) != OK)) {
            at = before;
            e = E_CORRUPT;
        }
        if (e != OK)
            return note_damage(seg, at, e);
        if (b.base_offset + b.last_offset_delta + 1 > offset) {
            *pos = at;
            *base_offset = b.base_offset;
            return OK;
        }
        before = at;
        at += (uint32_t)b.size;
    }
    *pos = seg->size;
    *base_offset = seg->next_offset;
    return OK;
}

uint32_t segment_floor_pos(struct segment *seg, int64_t offset)
{
    struct offset_entry entry;
    if (offset < seg->base_offset ||
        !offset_index_floor(&seg->offsets, rel_offset_of(seg, offset), &entry) ||
        entry.pos >= seg->size)
        return 0;
    return entry.pos;
}

uint32_t segment_floor_limit(struct segment *seg, uint32_t limit, int64_t max_offset)
{
    struct offset_entry entry;
    const uint32_t by_offset = segment_floor_pos(seg, max_offset);
    if (!offset_index_floor_pos(&seg->offsets, limit, &entry))
        return 0;
    return entry.pos < by_offset ? entry.pos : by_offset;
}

err segment_extend(struct segment *seg, const struct segment_span *span, uint32_t *end,
                   int64_t *end_offset)
{
    CHECK(span->limit <= seg->size);
    uint32_t at = span->from;
    int64_t next = span->from_offset;

    /* Jump by the index: to the last entry that is below both bounds. */
    struct offset_entry by_pos, by_offset;
    if (offset_index_floor_pos(&seg->offsets, span->limit, &by_pos) &&
        offset_index_floor(&seg->offsets, rel_offset_of(seg, span->max_offset), &by_offset)) {
        const struct offset_entry entry = by_pos.pos < by_offset.pos ? by_pos : by_offset;
        if (entry.pos > at) {
            if (entry_holds(seg, entry)) {
                at = entry.pos;
                next = seg->base_offset + entry.rel_offset;
            } else {
                doubt(seg);
            }
        }
    }
    while (at < span->limit) {
        struct batch b;
        const err e = segment_batch_at(seg, at, &b);
        if (e != OK && at == span->from)
            return note_damage(seg, at, e);
        if (e != OK)
            break; /* what is before it is good; the next read meets it */
        if (b.size > span->limit - at || b.base_offset >= span->max_offset ||
            b.base_offset + b.last_offset_delta >= span->max_offset)
            break;
        at += (uint32_t)b.size;
        next = b.base_offset + b.last_offset_delta + 1;
    }
    *end = at;
    *end_offset = next;
    return OK;
}

/* --- preparing --------------------------------------------------------------- */

static bool load_indexes(struct segment *seg)
{
    return index_file_load(&seg->offsets) == OK && index_file_load(&seg->times) == OK &&
           offset_index_is_sound(&seg->offsets, seg->size) &&
           time_index_is_sound(&seg->times, seg->size);
}

/* The largest timestamp that the time index knows, if its batch agrees. */
static bool take_time(struct segment *seg)
{
    struct time_entry entry;
    struct batch b;
    if (!time_index_last(&seg->times, &entry) || segment_batch_at(seg, entry.pos, &b) != OK ||
        b.base_offset != seg->base_offset + entry.rel_offset || b.max_timestamp != entry.timestamp)
        return false;
    seg->max_timestamp = entry.timestamp;
    seg->max_rel_offset = entry.rel_offset;
    seg->max_pos = entry.pos;
    return true;
}

/* Where the indexes end, if they can be believed; else they are emptied and it is 0. */
static struct offset_entry take_indexes(struct segment *seg)
{
    struct offset_entry last = {0};
    seg->max_timestamp = INT64_MIN;
    const bool is_sound = load_indexes(seg);
    if (is_sound && !offset_index_last(&seg->offsets, &last)) {
        /* A time index that got to the disk alone tells nothing that the walk will not. */
        time_index_truncate(&seg->times, 0);
        return last;
    }
    if (!is_sound || !entry_holds(seg, last) || !take_time(seg)) {
        doubt(seg);
        last = (struct offset_entry){0};
    }
    return last;
}

/* Walks from a boundary to the end, which is at end_offset, as if the batches were being appended;
 * at most so many. */
static err walk(struct segment *seg, const struct segment_opts *opts, uint32_t from,
                int64_t end_offset, uint32_t batches_max)
{
    const uint32_t size = seg->size;
    const struct slice bytes = slice_of(seg->ref->map, size);
    size_t ready = 0;
    uint32_t at = from;
    err e = OK;
    while (e == OK && at < size) {
        struct batch b;
        seg->size = size;
        e = batches_max-- > 0 ? map_ensure(seg->dir.io, bytes, &ready, at, BATCH_HEADER_SIZE)
                              : E_WOULD_BLOCK;
        if (e == OK)
            e = segment_batch_at(seg, at, &b);
        if (e == OK &&
            (b.base_offset < seg->next_offset || b.base_offset + b.last_offset_delta >= end_offset))
            e = E_CORRUPT;
        if (e != OK) {
            note_damage(seg, at, e);
            break;
        }
        seg->size = at;
        segment_note(seg, opts,
                     &(struct segment_batch){.base_offset = b.base_offset,
                                             .max_timestamp = b.max_timestamp,
                                             .last_offset_delta = b.last_offset_delta,
                                             .size = (uint32_t)b.size});
        at += (uint32_t)b.size;
    }
    seg->size = size;
    return e;
}

err segment_prepare(struct segment *seg, const struct segment_opts *opts, uint32_t batches_max)
{
    if (seg->is_prepared)
        return OK;
    err e = segment_map(seg, seg->size);
    if (e != OK)
        return e;

    const int64_t next_offset = seg->next_offset;
    if (seg->size > 0) {
        struct batch first;
        if (segment_batch_at(seg, 0, &first) == OK)
            seg->first_timestamp = first.max_timestamp;
        const struct offset_entry last = take_indexes(seg);
        seg->indexed_pos = last.pos;
        seg->next_offset = seg->base_offset + last.rel_offset;
        e = walk(seg, opts, last.pos, next_offset, batches_max);
    }
    if (e == OK && seg->next_offset < next_offset)
        diag(DIAG_ERROR, "log", "records are missing behind a segment: a file is gone or was cut",
             "dir=%s segment=%lld from=%lld to=%lld", DIAG_STR(seg->dir.path),
             (long long)seg->base_offset, (long long)seg->next_offset, (long long)next_offset);
    /* What lies before damage can be read all the same. */
    if (e == E_CORRUPT && seg->damaged_pos != SEGMENT_UNDAMAGED)
        e = OK;
    /* What the log knows of its end is better founded than a walk over what may be damaged. */
    seg->next_offset = next_offset;
    seg->is_prepared = e == OK;
    return e;
}

/* --- cutting, sealing -------------------------------------------------------- */

/* The prefix in a new file, which takes the old one's name: those who read keep the old one. */
static err cut_by_copy(struct segment *seg, uint32_t pos)
{
    struct segment_path path, tmp;
    path_of(&seg->dir, seg->base_offset, SEGMENT_LOG, &path);
    memcpy(&tmp, &path, sizeof tmp);
    CHECK(strlen(tmp.text) + sizeof TMP_SUFFIX <= sizeof tmp.text);
    strcat(tmp.text, TMP_SUFFIX);

    struct fsio_file *f;
    err e = seg->dir.io->open(seg->dir.io, tmp.text, FSIO_WRITE | FSIO_CREATE | FSIO_TRUNC, &f);
    if (e != OK)
        return e;
    e = fsio_pwrite(seg->dir.io, f, seg->ref->map, pos, 0);
    if (e == OK)
        e = seg->dir.io->fsync(seg->dir.io, f);
    if (e == OK)
        e = seg->dir.io->rename(seg->dir.io, tmp.text, path.text);
    if (e != OK) {
        seg->dir.io->close(seg->dir.io, f);
        return e;
    }
    segment_ref_put(seg->ref);
    seg->ref = ref_new(seg->dir.io, f);
    return seg->dir.io->sync_dir(seg->dir.io, seg->dir.path);
}

static err cut_in_place(struct segment *seg, uint32_t pos)
{
    err e = segment_open(seg);
    if (e == OK)
        e = seg->dir.io->ftruncate(seg->dir.io, seg->ref->file, pos);
    return e == OK ? seg->dir.io->fdatasync(seg->dir.io, seg->ref->file) : e;
}

err segment_cut(struct segment *seg, uint32_t pos, int64_t next_offset)
{
    CHECK(pos <= seg->size);
    const bool has_views =
        seg->ref && atomic_load_explicit(&seg->ref->views, memory_order_acquire) > 0;
    const err e = has_views ? cut_by_copy(seg, pos) : cut_in_place(seg, pos);
    if (e != OK)
        return e;

    offset_index_truncate(&seg->offsets, pos);
    time_index_truncate(&seg->times, pos);
    seg->size = pos;
    seg->file_size = pos;
    seg->next_offset = next_offset;
    if (seg->damaged_pos >= pos)
        seg->damaged_pos = SEGMENT_UNDAMAGED;
    if (seg->own_pos > pos)
        seg->own_pos = pos;
    if (seg->checked_to > pos)
        seg->checked_from = seg->checked_to = 0;
    struct offset_entry last = {0};
    seg->indexed_pos = offset_index_last(&seg->offsets, &last) ? last.pos : 0;
    if (pos == 0)
        seg->first_timestamp = INT64_MIN;
    if (seg->max_pos >= pos && seg->max_timestamp != INT64_MIN) {
        /* The largest timestamp went; what remains is found by segment_prepare. */
        seg->max_timestamp = INT64_MIN;
        seg->is_prepared = pos == 0;
    }
    return OK;
}

void segment_seal(struct segment *seg)
{
    if (seg->is_prepared && seg->size > 0) {
        const struct time_entry time = {.timestamp = seg->max_timestamp,
                                        .rel_offset = seg->max_rel_offset,
                                        .pos = seg->max_pos};
        time_index_add(&seg->times, time);
    }
    index_file_seal(&seg->times);
    index_file_seal(&seg->offsets);
    if (seg->file_size > seg->size && segment_open(seg) == OK &&
        seg->dir.io->ftruncate(seg->dir.io, seg->ref->file, seg->size) == OK)
        seg->file_size = seg->size;
}

void segment_spill(struct segment *seg)
{
    index_file_spill(&seg->times);
    index_file_spill(&seg->offsets);
}

void segment_settle(struct segment *seg)
{
    index_file_settle(&seg->times);
    index_file_settle(&seg->offsets);
    if (seg->ref && atomic_load_explicit(&seg->ref->refs, memory_order_acquire) == 1) {
        segment_ref_put(seg->ref);
        seg->ref = NULL;
    }
}

err segment_sync_indexes(const struct segment_dir *dir, int64_t base_offset)
{
    static const enum segment_file kinds[] = {SEGMENT_TIME_INDEX, SEGMENT_INDEX};
    err e = OK;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0] && e == OK; i++) {
        struct segment_path path;
        struct fsio_file *f;
        e = dir->io->open(dir->io, path_of(dir, base_offset, kinds[i], &path), FSIO_WRITE, &f);
        if (e == OK) {
            e = dir->io->fdatasync(dir->io, f);
            dir->io->close(dir->io, f);
        } else if (e == E_NOT_FOUND) {
            e = OK; /* a short segment has none */
        }
    }
    return e;
}

err segment_drop_indexes(const struct segment_dir *dir, int64_t base_offset)
{
    const err e = remove_file(dir, base_offset, SEGMENT_INDEX, false);
    return e == OK ? remove_file(dir, base_offset, SEGMENT_TIME_INDEX, false) : e;
}
