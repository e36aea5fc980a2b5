/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/log/recovery.h"

#include <stdlib.h>
#include <string.h>

#include "broker/log/names.h"
#include "proto/base/check.h"
#include "proto/base/diag.h"
#include "proto/base/limits.h"
#include "proto/base/mem.h"
#include "proto/base/reader.h"

enum {
    WINDOW = MIB,
    BATCH_BYTES_MAX = FRAME_BYTES_MAX, /* no larger one can have come in */
};

struct file_info {
    int64_t base_offset;
    uint64_t size;
};

/* The work on one partition. */
struct work {
    const struct recovery *in;
    struct segment_dir dir;
    struct file_info *files; /* ascending */
    size_t count, capacity;
    struct buf window; /* bytes of the file being scanned, from window_pos on */
    uint64_t window_pos;
    bool has_dropped; /* bytes that were no zeros were cut */
    bool has_cut;     /* anything was */
    bool has_removed; /* a file was: the directory must be synced */
};

/* --- what is there ----------------------------------------------------------- */

static void collect(void *arg, const struct fsio_entry *entry)
{
    struct work *w = arg;
    int64_t base;
    enum segment_file kind;
    char path[FSIO_PATH_MAX];
    if (name_has_suffix(entry->name, TMP_SUFFIX)) {
        err_ignore(w->dir.io->unlink(w->dir.io, fsio_path(path, w->dir.path, entry->name)),
                   "half-made; overwritten by the next one of its name");
        return;
    }
    if (!segment_name_parse(entry->name, &base, &kind) || kind != SEGMENT_LOG)
        return;
    if (w->count == w->capacity) {
        w->capacity = w->capacity ? 2 * w->capacity : 4;
        w->files = mem_realloc(w->files, w->capacity * sizeof *w->files);
    }
    w->files[w->count++] = (struct file_info){.base_offset = base};
}

static int by_base(const void *a, const void *b)
{
    const struct file_info *x = a, *y = b;
    return x->base_offset < y->base_offset ? -1 : x->base_offset > y->base_offset;
}

static const char *log_path(const struct work *w, size_t n, char path[FSIO_PATH_MAX])
{
    char name[SEGMENT_NAME_MAX];
    return fsio_path(path, w->dir.path, segment_name(name, w->files[n].base_offset, SEGMENT_LOG));
}

static err list_files(struct work *w)
{
    err e = w->dir.io->list(w->dir.io, w->dir.path, collect, w);
    if (w->count > 1)
        qsort(w->files, w->count, sizeof *w->files, by_base);
    for (size_t i = 0; i < w->count && e == OK; i++) {
        char path[FSIO_PATH_MAX];
        e = w->dir.io->stat_size(w->dir.io, log_path(w, i, path), &w->files[i].size);
        if (e == OK && w->files[i].size > SEGMENT_BYTES_MAX)
            e = E_CORRUPT;
    }
    return e;
}

static err remove_files_from(struct work *w, size_t n)
{
    while (w->count > n) {
        const struct file_info *f = &w->files[w->count - 1];
        const err e = segment_remove(&w->dir, f->base_offset, false);
        if (e != OK)
            return e;
        if (f->size > 0)
            w->has_dropped = true;
        w->has_cut = true;
        w->has_removed = true;
        w->count--;
    }
    return OK;
}

/* --- one segment ------------------------------------------------------------- */

/* At least `size` bytes from pos on, as far as the file has them. */
static err fill(struct work *w, struct fsio_file *f, uint64_t pos, size_t size, struct slice *out)
{
    if (pos >= w->window_pos && pos + size <= w->window_pos + w->window.size) {
        *out = slice_of(w->window.data + (pos - w->window_pos),
                        (size_t)(w->window_pos + w->window.size - pos));
        return OK;
    }
    if (size < WINDOW)
        size = WINDOW;
    buf_clear(&w->window);
    uint8_t *at = buf_reserve(&w->window, size);
    size_t got;
    const err e = w->dir.io->pread(w->dir.io, f, at, size, pos, &got);
    if (e != OK)
        return e;
    w->window.size = got;
    w->window_pos = pos;
    *out = buf_slice(&w->window);
    return OK;
}

/* Rule D9 and the format's promise: a header whose checksum is right but whose version is not ours
 * was written by a later Sluice, and is not ours to cut. */
static bool is_of_later_version(struct slice bytes)
{
    struct reader r = reader_init(bytes);
    reader_bytes(&r, 7);
    const int64_t base_offset = (int64_t)reader_u64(&r);
    reader_bytes(&r, 1);
    const int32_t epoch = (int32_t)reader_u32(&r);
    reader_bytes(&r, 1);
    const uint32_t header_crc = reader_u32(&r);
    reader_bytes(&r, 1);
    const uint32_t batch_crc = reader_u32(&r);
    return reader_end(&r) == OK && batch_header_crc(base_offset, epoch, batch_crc) == header_crc;
}

/* The batch at a place, whole and right. E_END: there is none. */
static err check_batch(struct work *w, struct fsio_file *f, const struct log_place *at,
                       bool is_dense, struct batch *out)
{
    struct slice bytes;
    err e = fill(w, f, at->pos, BATCH_HEADER_SIZE, &bytes);
    if (e != OK)
        return e;
    if (bytes.size == 0 || bytes.data[0] == 0)
        return E_END; /* no tag is zero: a tail that was never written (rule D9) */
    e = batch_read_canonical(bytes, out);
    if (e == E_WOULD_BLOCK && out->size > bytes.size && out->size <= BATCH_BYTES_MAX) {
        e = fill(w, f, at->pos, out->size, &bytes);
        if (e != OK)
            return e;
        e = batch_read_canonical(bytes, out);
    }
    if (e == E_UNSUPPORTED_VERSION && is_of_later_version(bytes))
        return e;
    if (e != OK || batch_check_crcs(out) != OK || out->leader_epoch < at->epoch ||
        out->base_offset < at->offset || (is_dense && out->base_offset > at->offset))
        return E_END;
    return OK;
}

/* Goes on from a place as far as the batches are right. */
static err scan_file(struct work *w, struct fsio_file *f, struct log_place *at, bool is_dense)
{
    w->window_pos = 0;
    buf_clear(&w->window);
    for (;;) {
        struct batch b;
        const err e = check_batch(w, f, at, is_dense, &b);
        if (e != OK)
            return e == E_END ? OK : e;
        at->offset = b.base_offset + b.last_offset_delta + 1;
        at->pos += (uint32_t)b.size;
        at->epoch = b.leader_epoch;
    }
}

/* Whether there is anything but zeros behind a position. */
static err has_bytes_behind(struct work *w, struct fsio_file *f, uint64_t pos, uint64_t size,
                            bool *out)
{
    *out = false;
    while (pos < size && !*out) {
        struct slice bytes;
        const err e = fill(w, f, pos, 1, &bytes);
        if (e != OK)
            return e;
        for (size_t i = 0; i < bytes.size && !*out; i++)
            *out = bytes.data[i] != 0;
        pos += bytes.size;
        if (bytes.size == 0)
            break;
    }
    return OK;
}

/* A failed sync leaves pages that look written and are not (rule D7); no later sync writes them.
 * Written anew, they are dirty again. */
static err rewrite(struct work *w, struct fsio_file *f, uint32_t from, uint32_t to)
{
    while (from < to) {
        struct slice bytes;
        err e = fill(w, f, from, 1, &bytes);
        if (e != OK)
            return e;
        bytes = slice_sub(bytes, 0, to - from);
        if (bytes.size == 0)
            return E_STORAGE;
        e = fsio_pwrite(w->dir.io, f, bytes.data, bytes.size, from);
        if (e != OK)
            return e;
        from += (uint32_t)bytes.size;
    }
    return OK;
}

/* Scans file n from a place on and cuts what is behind the last good batch. *is_whole: nothing was.
 */
static err scan_and_cut(struct work *w, size_t n, struct log_place *at, bool is_dense,
                        bool *is_whole)
{
    char path[FSIO_PATH_MAX];
    struct fsio_file *f;
    err e = w->dir.io->open(w->dir.io, log_path(w, n, path), FSIO_WRITE, &f);
    if (e != OK)
        return e == E_NOT_FOUND ? E_STORAGE : e;
    const uint32_t from = at->pos;
    e = scan_file(w, f, at, is_dense);
    if (e == OK && w->in->was_fenced)
        e = rewrite(w, f, from, at->pos);
    *is_whole = at->pos == w->files[n].size;
    if (e == OK && !*is_whole) {
        bool has_bytes;
        e = has_bytes_behind(w, f, at->pos, w->files[n].size, &has_bytes);
        if (e == OK) {
            w->has_dropped |= has_bytes;
            w->has_cut = true;
            e = w->dir.io->ftruncate(w->dir.io, f, at->pos);
        }
        /* Synced before anything is written behind it: what was cut must not come back in between.
         */
        if (e == OK)
            e = w->dir.io->fdatasync(w->dir.io, f);
        if (e == OK)
            e = segment_drop_indexes(&w->dir, w->files[n].base_offset);
        w->files[n].size = at->pos;
        w->has_removed = true;
    }
    w->dir.io->close(w->dir.io, f);
    return e;
}

/* --- the whole --------------------------------------------------------------- */

/* The file in which the scan begins; the place is moved back to where one can begin. */
static size_t first_file(const struct work *w, struct log_place *at)
{
    size_t n = w->count;
    while (n > 0 && w->files[n - 1].base_offset > at->base)
        n--;
    if (n > 0 && w->files[n - 1].base_offset == at->base && at->pos <= w->files[n - 1].size)
        return n - 1;
    /* Not as recorded: from the beginning of the last file that may hold it. */
    n = n ? n - 1 : 0;
    *at = (struct log_place){
        .offset = w->files[n].base_offset, .base = w->files[n].base_offset, .epoch = -1};
    return n;
}

static bool place_fits(const struct work *w, const struct log_place *at)
{
    for (size_t i = 0; i < w->count; i++) {
        if (w->files[i].base_offset == at->base)
            return at->pos <= w->files[i].size;
    }
    return false;
}

/* From here on the batches are looked at. */
static struct log_place scan_start(const struct work *w)
{
    const struct point *p = w->in->point;
    if (!p)
        return (struct log_place){
            .offset = w->files[0].base_offset, .base = w->files[0].base_offset, .epoch = -1};
    if (w->in->is_same_boot && p->written.offset >= p->flushed.offset && place_fits(w, &p->written))
        return p->written;
    return p->flushed;
}

static err scan(struct work *w, struct log_place *at)
{
    *at = scan_start(w);
    /* Above a flushed point no log was compacted: it has no gaps. Elsewhere it may have. */
    const bool is_dense = w->in->point && place_fits(w, at);
    for (size_t n = first_file(w, at); n < w->count; n++) {
        if (n > 0 && w->files[n].base_offset > at->base) {
            /* The next segment must begin where this one ended. */
            const int64_t base = w->files[n].base_offset;
            if (base < at->offset || (is_dense && base > at->offset))
                return remove_files_from(w, n);
            *at = (struct log_place){.offset = base, .base = base, .epoch = at->epoch};
        }
        bool is_whole;
        const err e = scan_and_cut(w, n, at, is_dense, &is_whole);
        if (e != OK)
            return e;
        if (!is_whole)
            return remove_files_from(w, n + 1);
    }
    return OK;
}

/* Indexes were never synced above the flushed point: a power cut may have torn them. */
static err drop_unsynced_indexes(struct work *w)
{
    const struct point *p = w->in->point;
    err e = OK;
    for (size_t i = 0; i < w->count && e == OK; i++) {
        if (!p || w->files[i].base_offset >= p->flushed.base)
            e = segment_drop_indexes(&w->dir, w->files[i].base_offset);
    }
    return e;
}

static void summarize(const struct work *w, const struct log_place *end, struct recovered *out)
{
    const struct point *p = w->in->point;
    struct log_summary *sum = &out->sum;
    *sum = (struct log_summary){.end = *end, .segment_count = (uint32_t)w->count};
    for (size_t i = 0; i < w->count; i++)
        sum->size_bytes += w->files[i].size;
    const int64_t first = w->count ? w->files[0].base_offset : end->offset;
    sum->start_offset = p ? p->start_offset : first;
    sum->flushed = p ? p->flushed : (struct log_place){.offset = first, .base = first, .epoch = -1};
    sum->high_watermark = p ? p->high_watermark : sum->start_offset;

    out->loss.dropped_bytes = w->has_dropped;
    if (p && end->offset < p->flushed.offset && p->flushed.offset > p->start_offset) {
        /* Rule E2. */
        out->loss.is_lossy = true;
        out->loss.from = end->offset;
        out->loss.to = p->flushed.offset;
    } else if (p && first > p->start_offset && p->flushed.offset > p->start_offset) {
        out->loss.is_lossy = true;
        out->loss.from = p->start_offset;
        out->loss.to = first;
    }
    if (sum->start_offset < first)
        sum->start_offset = first;
    if (sum->flushed.offset > end->offset || w->count == 0)
        sum->flushed = *end;
    if (sum->high_watermark > end->offset)
        sum->high_watermark = end->offset;
    if (p && p->loss_to > p->loss_from) {
        /* A loss that nobody has cleared yet. */
        out->loss.from =
            out->loss.is_lossy && out->loss.from < p->loss_from ? out->loss.from : p->loss_from;
        out->loss.to = out->loss.to > p->loss_to ? out->loss.to : p->loss_to;
        out->loss.is_lossy = true;
    }
    out->has_changed = w->has_cut || out->loss.is_lossy || !p;
}

/* No file is left, or none was ever made. */
static void summarize_empty(const struct work *w, struct recovered *out)
{
    const int64_t start = w->in->point ? w->in->point->start_offset : 0;
    const struct log_place end = {.offset = start, .base = start, .epoch = -1};
    summarize(w, &end, out);
}

/* The rest of a log_reset; also for a log whose start was raised above all that is left of it. */
static err start_over(struct work *w)
{
    const err e = remove_files_from(w, 0);
    return e == OK ? log_remove_epochs(w->dir.io, w->dir.path) : e;
}

static err run(struct work *w, struct recovered *out)
{
    const struct point *p = w->in->point;
    err e = list_files(w);
    if (e != OK)
        return e;
    if (p && p->is_resetting) {
        e = start_over(w);
        if (e != OK)
            return e;
        w->has_dropped = false;
        summarize_empty(w, out);
        out->has_changed = true;
        return OK;
    }
    if (w->count == 0) {
        summarize_empty(w, out);
        return OK;
    }
    struct log_place end;
    e = scan(w, &end);
    if (e == OK && !w->in->is_same_boot)
        e = drop_unsynced_indexes(w);
    if (e == OK && p && end.offset < p->start_offset) {
        /* All that is left is below the start. */
        e = start_over(w);
        if (e == OK)
            summarize_empty(w, out);
        out->has_changed = true;
        return e;
    }
    /* The epochs' file calls itself complete up to what was flushed. */
    if (e == OK && p && end.offset < p->flushed.offset)
        e = log_remove_epochs(w->dir.io, w->dir.path);
    if (e == OK && w->has_removed)
        e = w->dir.io->sync_dir(w->dir.io, w->dir.path);
    if (e == OK)
        summarize(w, &end, out);
    return e;
}

err recovery_run(const struct recovery *r, struct recovered *out)
{
    struct work w = {.in = r, .dir = {.io = r->io, .path = r->path}};
    struct recovered found = {0};
    const err e = run(&w, &found);
    buf_deinit(&w.window);
    mem_free(w.files);
    if (e != OK)
        return e;
    if (found.loss.is_lossy)
        diag(DIAG_ERROR, "log", "durable records are lost", "dir=%s from=%lld to=%lld",
             DIAG_STR(r->path), (long long)found.loss.from, (long long)found.loss.to);
    else if (found.loss.dropped_bytes)
        diag(DIAG_INFO, "log", "cut what was not whole and not flushed", "dir=%s end=%lld",
             DIAG_STR(r->path), (long long)found.sum.end.offset);
    *out = found;
    return OK;
}
