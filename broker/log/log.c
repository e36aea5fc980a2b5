/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Life and ends of a log; loading it on its first use; its active segment; its
 * slot in the points file. Appending, reading and cutting are in files of
 * their own: log_append.c, log_read.c, log_truncate.c.
 */
#include "broker/log/log.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "broker/log/checkpoint.h"
#include "broker/log/flusher.h"
#include "broker/log/log_priv.h"
#include "broker/log/names.h"
#include "proto/base/check.h"
#include "proto/base/diag.h"
#include "proto/base/limits.h"
#include "proto/base/mem.h"

enum { IDLE_RUNS = 12 }; /* checkpoint runs without a use, until files are closed */

/* --- life -------------------------------------------------------------------- */

struct log *log_new(struct log_dir *d, const struct log_identity *id, uint32_t slot,
                    const struct log_conf *conf, const struct log_summary *sum)
{
    char name[PARTITION_NAME_MAX];
    struct log *g = MEM_NEW(struct log);
    pthread_mutex_init(&g->lock, NULL);
    g->refs = 1;
    g->dir = log_dir_ref(d);
    g->io = log_dir_io(d);
    g->id = *id;
    g->id.topic = mem_strdup(id->topic);
    g->path = mem_printf("%s/%s", log_dir_path(d), partition_name(name, id));
    g->slot = slot;
    g->conf = *conf;
    g->sum = *sum;
    g->begun_epoch = -1;
    return g;
}

static void free_segments(struct log *g)
{
    for (uint32_t i = 0; g->segments && i < g->sum.segment_count; i++)
        segment_deinit(&g->segments[i]);
    mem_free(g->segments);
    g->segments = NULL;
    g->segment_capacity = 0;
}

struct log *log_ref(struct log *g)
{
    atomic_fetch_add_explicit(&g->refs, 1, memory_order_relaxed);
    return g;
}

void log_unref(struct log *g)
{
    if (!g || atomic_fetch_sub_explicit(&g->refs, 1, memory_order_acq_rel) != 1)
        return;
    free_segments(g);
    epoch_cache_deinit(&g->epochs);
    mem_free(g->recent);
    struct log_dir *d = g->dir;
    pthread_mutex_destroy(&g->lock);
    union {
        const char *in;
        char *out;
    } topic = {.in = g->id.topic};
    mem_free(topic.out);
    mem_free(g->path);
    mem_free(g);
    log_dir_unref(d);
}

void log_lock(struct log *g)
{
    pthread_mutex_lock(&g->lock);
}

void log_unlock(struct log *g)
{
    pthread_mutex_unlock(&g->lock);
}

const struct log_identity *log_identity(const struct log *g)
{
    return &g->id;
}

void log_set_conf(struct log *g, const struct log_conf *conf)
{
    g->conf = *conf;
}

void log_on_flushed(struct log *g, log_flushed_fn *fn, void *arg)
{
    g->flushed_fn = fn;
    g->flushed_arg = arg;
}

const struct log_conf *log_get_conf(const struct log *g)
{
    return &g->conf;
}

void log_end(struct log *g, err e)
{
    CHECK(e != OK);
    log_lock(g);
    g->unusable = e;
    /* Whoever still has the log, or a view, keeps no more of the disk than that. */
    free_segments(g);
    g->sum.segment_count = 0;
    g->is_loaded = false;
    log_unlock(g);
}

bool log_has_ended(struct log *g)
{
    log_lock(g);
    const bool has_ended = g->unusable != OK;
    log_unlock(g);
    return has_ended;
}

/* --- ends -------------------------------------------------------------------- */

int64_t log_start_offset(const struct log *g)
{
    return g->sum.start_offset;
}

int64_t log_end_offset(const struct log *g)
{
    return g->sum.end.offset;
}

int64_t log_flushed_offset(const struct log *g)
{
    return g->sum.flushed.offset;
}

uint64_t log_size_bytes(const struct log *g)
{
    return g->sum.size_bytes;
}

size_t log_segment_count(const struct log *g)
{
    return g->sum.segment_count;
}

int32_t log_last_epoch(const struct log *g)
{
    return g->sum.end.epoch;
}

uint32_t log_truncation_count(const struct log *g)
{
    return g->truncations;
}

struct uuid log_dir_id_of(const struct log *g)
{
    return log_dir_meta(g->dir)->directory_id;
}

void log_note_high_watermark(struct log *g, int64_t offset)
{
    CHECK(offset <= g->sum.end.offset);
    if (offset > g->sum.high_watermark) {
        g->sum.high_watermark = offset;
        g->point_is_stale = true;
    }
}

int64_t log_noted_high_watermark(const struct log *g)
{
    return g->sum.high_watermark;
}

struct log_loss log_loss(const struct log *g)
{
    struct log_loss loss = g->loss;
    /* Rule E2, last case: nobody can tell what a page-cache topic lost when the machine stopped. */
    if (g->was_power_lost && !g->conf.fsync && !loss.is_lossy) {
        loss.is_lossy = true;
        loss.from = g->sum.end.offset;
        loss.to = g->sum.end.offset;
    }
    return loss;
}

err log_clear_loss(struct log *g)
{
    const struct log_loss loss = g->loss;
    const bool was_power_lost = g->was_power_lost;
    g->loss = (struct log_loss){0};
    g->was_power_lost = false;
    const err e = log_put_point(g);
    if (e != OK) {
        g->loss = loss;
        g->was_power_lost = was_power_lost;
    }
    return e;
}

err log_begin_epoch(struct log *g, int32_t epoch)
{
    const err e = log_check_writable(g);
    if (e != OK)
        return e;
    if (epoch < g->sum.end.epoch)
        return E_FENCED_LEADER_EPOCH; /* the store that names leaders was set back (fault Z9) */
    if (g->is_loaded)
        epoch_cache_begin(&g->epochs, epoch, g->sum.end.offset);
    else if (epoch > g->begun_epoch)
        g->begun_epoch = epoch; /* the end cannot move before the log is loaded */
    return OK;
}

err log_epoch_end(struct log *g, int32_t asked, int32_t *epoch, int64_t *end_offset)
{
    const err e = log_ensure_loaded(g);
    if (e != OK)
        return e;
    struct epoch_entry entry = {.epoch = -1, .start_offset = g->sum.start_offset};
    epoch_cache_end_of(&g->epochs, asked, g->sum.end.offset, &entry);
    *epoch = entry.epoch;
    *end_offset = entry.start_offset;
    return OK;
}

/* --- its identity file: kind partition, version 1 ---------------------------- */

void partition_file_format(const struct log_identity *id, struct buf *out)
{
    char hex[UUID_TEXT];
    uuid_text(&id->topic_id, hex);
    checkpoint_begin(out, PARTITION_FILE, 1);
    buf_printf(out, "topic %s\npartition %" PRIu32 "\ntopic_id %s\n", id->topic, id->partition,
               hex);
    checkpoint_end(out);
}

static bool key_is(struct slice *body, struct words *w, const char *key)
{
    return words_line(body, w) && slice_eq(words_next(w), slice_str(key));
}

err partition_file_read(const struct fsio *io, const char *dir, char *topic,
                        struct log_identity *out)
{
    char *data;
    struct slice body;
    err e = checkpoint_read(io, dir, PARTITION_FILE, PARTITION_FILE, 1, &data, &body);
    if (e != OK)
        return e;
    struct words w;
    struct log_identity id = {.topic = topic};
    e = E_CORRUPT;
    if (key_is(&body, &w, "topic")) {
        const struct slice name = words_next(&w);
        if (words_end(&w) == OK && name.size <= TOPIC_NAME_MAX &&
            !memchr(name.data, 0, name.size)) {
            memcpy(topic, name.data, name.size);
            topic[name.size] = '\0';
            e = OK;
        }
    }
    if (e == OK && key_is(&body, &w, "partition")) {
        id.partition = (uint32_t)words_i64(&w, 0, UINT32_MAX);
        e = words_end(&w);
    } else {
        e = E_CORRUPT;
    }
    if (e == OK && key_is(&body, &w, "topic_id")) {
        id.topic_id = words_uuid(&w);
        e = words_end(&w);
    } else {
        e = E_CORRUPT;
    }
    mem_free(data);
    if (e == OK)
        *out = id;
    return e;
}

/* --- loading ----------------------------------------------------------------- */

struct segment_opts log_segment_opts(const struct log *g)
{
    return (struct segment_opts){
        .index_interval_bytes = g->conf.index_interval_bytes,
        .index_bytes_max = g->conf.index_bytes_max,
        .preallocate_bytes = g->conf.preallocate ? g->conf.segment_bytes : 0,
    };
}

size_t log_map_bytes(const struct log *g, const struct segment *seg)
{
    const bool is_active = seg->base_offset == g->sum.end.base;
    return is_active && g->conf.segment_bytes > seg->size ? g->conf.segment_bytes : seg->size;
}

static struct segment *add_segment(struct log *g)
{
    if (g->sum.segment_count == g->segment_capacity || !g->segments) {
        g->segment_capacity = g->sum.segment_count ? 2 * g->sum.segment_count : 1;
        g->segments = mem_realloc(g->segments, g->segment_capacity * sizeof *g->segments);
    }
    return &g->segments[g->sum.segment_count++];
}

static err unusable(struct log *g, err e, const char *why)
{
    diag(DIAG_ERROR, "log", "a partition cannot be used", "dir=%s reason=%s", DIAG_STR(g->path),
         DIAG_STR(why));
    g->unusable = e;
    return e;
}

static void add_listed(void *arg, const struct fsio_entry *entry)
{
    struct log *g = arg;
    int64_t base;
    enum segment_file kind;
    if (!segment_name_parse(entry->name, &base, &kind) || kind != SEGMENT_LOG)
        return;
    const struct segment_opts opts = log_segment_opts(g);
    const struct segment_dir dir = log_segment_dir(g);
    segment_init(add_segment(g), &dir, base, base, 0, &opts);
}

static int by_base(const void *a, const void *b)
{
    const struct segment *x = a, *y = b;
    return x->base_offset < y->base_offset ? -1 : x->base_offset > y->base_offset;
}

/* Sizes and ends of the listed segments; they must lead up to the end that is known. */
static err measure_segments(struct log *g)
{
    const uint32_t count = g->sum.segment_count;
    if (count > 1)
        qsort(g->segments, count, sizeof *g->segments, by_base);
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct segment *seg = &g->segments[i];
        const bool is_last = i == count - 1;
        char path[FSIO_PATH_MAX], name[SEGMENT_NAME_MAX];
        uint64_t size;
        const err e = g->io->stat_size(
            g->io, fsio_path(path, g->path, segment_name(name, seg->base_offset, SEGMENT_LOG)),
            &size);
        if (e != OK)
            return e;
        if (size > SEGMENT_BYTES_MAX)
            return E_CORRUPT;
        seg->file_size = (uint32_t)size;
        seg->size = is_last ? g->sum.end.pos : (uint32_t)size;
        seg->own_pos = seg->size;
        seg->next_offset = is_last ? g->sum.end.offset : g->segments[i + 1].base_offset;
        if (seg->size > seg->file_size)
            return E_CORRUPT;
        bytes += seg->size;
    }
    if (count > 0 && g->segments[0].base_offset > g->sum.start_offset)
        return E_CORRUPT;
    if (count == 0 ? g->sum.end.pos > 0 || g->sum.end.offset > g->sum.start_offset
                   : g->segments[count - 1].base_offset != g->sum.end.base)
        return E_CORRUPT;
    g->sum.size_bytes = bytes;
    return OK;
}

/* The epoch of a segment's first batch; what is behind the last segment has the log's last one. */
static err first_epoch(struct log *g, struct segment *seg, int32_t *epoch)
{
    struct batch b;
    if (seg == g->segments + g->sum.segment_count || seg->size == 0) {
        *epoch = g->sum.end.epoch;
        return OK;
    }
    err e = segment_map(seg, log_map_bytes(g, seg));
    size_t ready = 0;
    if (e == OK)
        e = map_ensure(g->io, slice_of(seg->ref->map, seg->size), &ready, 0, BATCH_HEADER_SIZE);
    if (e == OK)
        e = segment_batch_at(seg, 0, &b);
    if (e == OK)
        *epoch = b.leader_epoch;
    return e;
}

static err walk_epochs_in(struct log *g, struct segment *seg, int64_t valid_to)
{
    size_t ready = 0;
    err e = segment_map(seg, log_map_bytes(g, seg));
    for (uint32_t pos = 0; e == OK && pos < seg->size;) {
        struct batch b;
        e = map_ensure(g->io, slice_of(seg->ref->map, seg->size), &ready, pos, BATCH_HEADER_SIZE);
        if (e == OK)
            e = segment_batch_at(seg, pos, &b);
        if (e != OK)
            break;
        if (b.base_offset + b.last_offset_delta >= valid_to)
            epoch_cache_begin(&g->epochs, b.leader_epoch, b.base_offset);
        pos += (uint32_t)b.size;
    }
    return e;
}

/* Adds to the epochs what the batches from valid_to on say. Epochs ascend: a segment that begins
 * with the epoch that the next one begins with has no other, and need not be walked. */
static err walk_epochs(struct log *g, int64_t valid_to)
{
    int32_t epoch, next;
    struct segment *seg = log_segment_of(g, valid_to);
    err e = seg ? first_epoch(g, seg, &epoch) : OK;
    for (; e == OK && seg && seg < g->segments + g->sum.segment_count; seg++, epoch = next) {
        e = first_epoch(g, seg + 1, &next);
        if (e == OK && epoch != next)
            e = walk_epochs_in(g, seg, valid_to);
        else if (e == OK && seg->size > 0)
            epoch_cache_begin(&g->epochs, epoch, seg->base_offset);
    }
    return e;
}

static err load_epochs(struct log *g)
{
    int64_t valid_to = 0;
    err e = epoch_cache_read(&g->epochs, g->io, g->path, &valid_to);
    if (e != OK && e != E_NOT_FOUND && e != E_CORRUPT)
        return e;
    epoch_cache_truncate(&g->epochs, g->sum.end.offset);
    /* Epochs ascend: if the last one is that of the last batch, none is missing (rule D3). */
    e = OK;
    if (epoch_cache_last(&g->epochs) != g->sum.end.epoch) {
        if (epoch_cache_last(&g->epochs) > g->sum.end.epoch) {
            epoch_cache_deinit(&g->epochs);
            valid_to = 0;
        }
        e = walk_epochs(g, valid_to);
    }
    epoch_cache_raise_start(&g->epochs, g->sum.start_offset);
    if (g->begun_epoch >= 0)
        epoch_cache_begin(&g->epochs, g->begun_epoch, g->sum.end.offset);
    return e;
}

static err check_identity(struct log *g)
{
    char topic[TOPIC_NAME_MAX + 1];
    struct log_identity id;
    const err e = partition_file_read(g->io, g->path, topic, &id);
    if (e != OK)
        return e == E_NOT_FOUND ? E_CORRUPT : e;
    return strcmp(id.topic, g->id.topic) == 0 && id.partition == g->id.partition &&
                   memcmp(&id.topic_id, &g->id.topic_id, sizeof id.topic_id) == 0
               ? OK
               : E_CORRUPT;
}

err log_ensure_loaded(struct log *g)
{
    if (g->is_loaded || g->unusable != OK)
        return g->unusable;

    err e = check_identity(g);
    if (e != OK)
        return unusable(g, e == E_CORRUPT ? E_STORAGE : e,
                        "the file `partition` is missing, damaged or of another partition");
    g->sum.segment_count = 0;
    e = g->io->list(g->io, g->path, add_listed, g);
    if (e == OK)
        e = measure_segments(g);
    if (e != OK)
        return unusable(g, E_STORAGE, "its files are not those that its end was recorded with");
    e = load_epochs(g);
    if (e == E_UNSUPPORTED_VERSION)
        return unusable(g, E_STORAGE, "a batch has a format version that this build does not know");
    if (e != OK)
        return unusable(g, e == E_CORRUPT ? E_STORAGE : e,
                        "the leader epochs are lost and the batches are damaged");
    g->is_loaded = true;
    return OK;
}

/* --- segments ---------------------------------------------------------------- */

struct segment *log_segment_of(struct log *g, int64_t offset)
{
    uint32_t low = 0, high = g->sum.segment_count;
    if (high == 0)
        return NULL;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (g->segments[middle].base_offset <= offset)
            low = middle + 1;
        else
            high = middle;
    }
    return &g->segments[low ? low - 1 : 0];
}

err log_check_writable(const struct log *g)
{
    if (g->unusable != OK)
        return g->unusable;
    if (log_dir_is_fenced(g->dir))
        return E_STORAGE;
    return g->is_closing ? E_SHUTTING_DOWN : OK;
}

err log_roll(struct log *g)
{
    CHECK(g->is_loaded);
    const struct segment_dir dir = log_segment_dir(g);
    const struct segment_opts opts = log_segment_opts(g);
    if (g->sum.segment_count > 0) {
        CHECK(log_active(g)->size > 0);
        segment_seal(log_active(g));
        if (log_active(g)->last_append_us || g->has_grown)
            log_active(g)->last_append_us = g->io->clock_us(g->io);
    }
    struct segment seg;
    const err e = segment_create(&seg, &dir, g->sum.end.offset, &opts);
    if (e != OK) {
        if (e != E_NO_SPACE)
            log_dir_fence(g->dir, e);
        return e;
    }
    *add_segment(g) = seg;
    g->sum.end.base = seg.base_offset;
    g->sum.end.pos = 0;
    g->names_are_new = true;
    if (g->recent)
        g->recent->count = 0;
    if (g->sum.segment_count > 1)
        log_schedule_flush(g); /* what was sealed need not wait for the next checkpoint */
    return OK;
}

void log_schedule_flush(struct log *g)
{
    struct flusher *f = log_dir_flusher(g->dir);
    if (f)
        flusher_schedule(f, g);
}

err log_put_point(struct log *g)
{
    if (log_dir_is_fenced(g->dir))
        return E_STORAGE;
    const struct point p = {
        .topic_id = g->id.topic_id,
        .partition = g->id.partition,
        .was_power_lost = g->was_power_lost,
        .loss_from = g->loss.is_lossy ? g->loss.from : 0,
        .loss_to = g->loss.is_lossy ? g->loss.to : 0,
        .flushed = g->sum.flushed,
        .written = g->sum.end,
        .start_offset = g->sum.start_offset,
        .high_watermark = g->sum.high_watermark,
    };
    const err e = points_put(log_dir_points(g->dir), g->slot, &p);
    if (e == OK) {
        g->bytes_since_point = 0;
        g->point_is_stale = false;
    } else if (e != E_NO_SPACE) {
        log_dir_fence(g->dir, e);
    }
    return e;
}

/* --- the recent batches ------------------------------------------------------ */

void log_recent_push(struct log *g, int64_t base_offset, uint32_t pos)
{
    if (!g->recent)
        g->recent = MEM_NEW(struct recent);
    struct recent *r = g->recent;
    r->batches[r->next] = (struct recent_batch){.base_offset = base_offset, .pos = pos};
    r->next = (r->next + 1) % RECENT_MAX;
    if (r->count < RECENT_MAX)
        r->count++;
}

static const struct recent_batch *recent_nth(const struct recent *r, uint32_t n)
{
    return &r->batches[(r->next + RECENT_MAX - r->count + n) % RECENT_MAX];
}

void log_recent_cut(struct log *g, int64_t end_offset)
{
    struct recent *r = g->recent;
    while (r && r->count > 0 && recent_nth(r, r->count - 1)->base_offset >= end_offset) {
        r->next = (r->next + RECENT_MAX - 1) % RECENT_MAX;
        r->count--;
    }
}

const struct recent_batch *log_recent_floor(const struct log *g, uint32_t pos, int64_t offset)
{
    const struct recent *r = g->recent;
    uint32_t low = 0, high = r ? r->count : 0;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        const struct recent_batch *b = recent_nth(r, middle);
        if (b->base_offset <= offset && b->pos <= pos)
            low = middle + 1;
        else
            high = middle;
    }
    return low ? recent_nth(r, low - 1) : NULL;
}

const struct recent_batch *log_recent_at(const struct log *g, int64_t offset)
{
    return log_recent_floor(g, UINT32_MAX, offset);
}

/* --- for the workers --------------------------------------------------------- */

/*
 * The epochs' file is a cache (rule D3), replaced as rule D5 asks, but in two steps, so that many
 * logs share one sync between them: staged beside the old file, synced by the caller, moved into
 * its place.
 */
#define EPOCH_TMP EPOCH_FILE ".staged" TMP_SUFFIX

err log_stage_epochs(struct log *g, struct log_staged *staged)
{
    struct buf text = {0};
    *staged = (struct log_staged){.log = g};
    log_lock(g);
    const bool is_writable = log_check_writable(g) == OK || g->is_closing; /* a checkpoint, too */
    if (is_writable && g->unusable == OK && g->is_loaded &&
        epoch_cache_needs_write(&g->epochs, g->sum.flushed.offset)) {
        epoch_cache_format(&g->epochs, g->sum.flushed.offset, &text);
        checkpoint_end(&text);
        staged->truncations = g->truncations;
    }
    log_unlock(g);
    if (text.size == 0)
        return OK;

    char path[FSIO_PATH_MAX];
    err e = g->io->open(g->io, fsio_path(path, g->path, EPOCH_TMP),
                        FSIO_WRITE | FSIO_CREATE | FSIO_TRUNC, &staged->file);
    if (e == OK)
        e = fsio_pwrite(g->io, staged->file, text.data, text.size, 0);
    buf_deinit(&text);
    if (e != OK)
        log_drop_staged(staged);
    if (e == E_NOT_FOUND && log_has_ended(g))
        e = OK;
    return e == E_NO_SPACE ? OK : e;
}

void log_drop_staged(struct log_staged *staged)
{
    struct log *g = staged->log;
    if (staged->file)
        g->io->close(g->io, staged->file);
    staged->file = NULL;
    log_lock(g);
    g->epochs.is_dirty = true; /* again next time */
    log_unlock(g);
}

err log_commit_staged(struct log_staged *staged)
{
    struct log *g = staged->log;
    if (!staged->file)
        return OK;
    char from[FSIO_PATH_MAX], to[FSIO_PATH_MAX];
    err e = OK;
    log_lock(g);
    /* After a truncation the staged file may be another's, and what it tells is void. */
    if (g->truncations == staged->truncations && g->unusable == OK)
        e = g->io->rename(g->io, fsio_path(from, g->path, EPOCH_TMP),
                          fsio_path(to, g->path, EPOCH_FILE));
    log_unlock(g);
    g->io->close(g->io, staged->file);
    staged->file = NULL;
    return e == E_NOT_FOUND ? E_STORAGE : e;
}

err log_put_stale_point(struct log *g)
{
    log_lock(g);
    if (g->has_grown && g->is_loaded && g->sum.segment_count)
        log_active(g)->last_append_us = g->io->clock_us(g->io);
    g->has_grown = false;
    const err e = g->point_is_stale && g->unusable == OK ? log_put_point(g) : OK;
    log_unlock(g);
    return e == E_NO_SPACE ? OK : e;
}

void log_spill_indexes(struct log *g)
{
    for (uint32_t i = 0; g->is_loaded && i < g->sum.segment_count; i++)
        segment_spill(&g->segments[i]);
}

void log_settle(struct log *g)
{
    log_lock(g);
    if (g->was_used)
        g->idle_runs = 0;
    else if (g->idle_runs < IDLE_RUNS)
        g->idle_runs++;
    if (g->is_loaded && g->idle_runs == IDLE_RUNS && g->sum.flushed.offset == g->sum.end.offset) {
        for (uint32_t i = 0; i < g->sum.segment_count; i++)
            segment_settle(&g->segments[i]);
        mem_free(g->recent);
        g->recent = NULL;
    }
    g->was_used = false;
    log_unlock(g);
}
