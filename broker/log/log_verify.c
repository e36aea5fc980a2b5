/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/log/log_verify.h"

#include <stdlib.h>
#include <string.h>

#include "broker/log/epoch_cache.h"
#include "broker/log/log_dir.h"
#include "broker/log/log_priv.h"
#include "broker/log/names.h"
#include "broker/log/offset_index.h"
#include "broker/log/points.h"
#include "broker/log/time_index.h"
#include "proto/base/mem.h"

enum { INDEX_FILE_MAX = 1 << 30 };

struct verify {
    const struct fsio *io;
    log_finding_fn *fn;
    void *arg;
    struct log_verify_report report;
};

static void find(struct verify *v, struct log_finding f)
{
    static const struct {
        size_t offset;
    } counters[] = {
        [LOG_FINDING_NOTE] = {offsetof(struct log_verify_report, notes)},
        [LOG_FINDING_DOUBT] = {offsetof(struct log_verify_report, doubts)},
        [LOG_FINDING_DAMAGE] = {offsetof(struct log_verify_report, damages)},
    };
    ++*(size_t *)((char *)&v->report + counters[f.kind].offset);
    if (v->fn)
        v->fn(v->arg, &f);
}

static void find_whole(struct verify *v, enum log_finding_kind kind, const char *path, err e,
                       const char *text)
{
    find(v, (struct log_finding){
                .kind = kind, .path = path, .pos = -1, .offset = -1, .error = e, .text = text});
}

/* --- names ------------------------------------------------------------------- */

struct name_list {
    char **names;
    size_t count, capacity;
};

static void add_name(void *arg, const struct fsio_entry *entry)
{
    struct name_list *l = arg;
    if (l->count == l->capacity) {
        l->capacity = l->capacity ? 2 * l->capacity : 16;
        l->names = mem_realloc(l->names, l->capacity * sizeof *l->names);
    }
    l->names[l->count++] = mem_strdup(entry->name);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Sorted: segments by base offset, for that is how their names sort. */
static err list_names(struct verify *v, const char *path, struct name_list *out)
{
    const err e = v->io->list(v->io, path, add_name, out);
    if (e == OK && out->count > 1)
        qsort(out->names, out->count, sizeof *out->names, by_name);
    return e;
}

static void names_free(struct name_list *l)
{
    for (size_t i = 0; i < l->count; i++)
        mem_free(l->names[i]);
    mem_free(l->names);
}

static const char *last_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* --- an index against the batches it points at, in one pass ------------------ */

struct index_check {
    char path[FSIO_PATH_MAX];
    char *data;
    size_t size, entry_size, at;
    bool is_bad;
};

static err index_open(struct verify *v, struct index_check *x, const char *dir, int64_t base,
                      enum segment_file kind, size_t entry_size)
{
    char name[SEGMENT_NAME_MAX];
    *x = (struct index_check){.entry_size = entry_size};
    fsio_path(x->path, dir, segment_name(name, base, kind));
    const err e = fsio_read_file(v->io, x->path, INDEX_FILE_MAX, &x->data, &x->size);
    return e == E_NOT_FOUND ? OK : e;
}

/* The entry that is next, unless zeros end the index. */
static const uint8_t *index_entry(const struct index_check *x)
{
    static const uint8_t zeros[TIME_ENTRY_SIZE];
    if (x->is_bad || x->at + x->entry_size > x->size)
        return NULL;
    const uint8_t *entry = (const uint8_t *)x->data + x->at;
    return memcmp(entry, zeros, x->entry_size) == 0 ? NULL : entry;
}

static void index_bad(struct verify *v, struct index_check *x, const char *text)
{
    if (!x->is_bad)
        find(v, (struct log_finding){.kind = LOG_FINDING_DOUBT,
                                     .path = x->path,
                                     .pos = (int64_t)x->at,
                                     .offset = -1,
                                     .error = E_CORRUPT,
                                     .text = text});
    x->is_bad = true;
}

/* Entries that point at or before this batch are used up by it. */
static void index_meet(struct verify *v, struct index_check *x, int64_t base, uint64_t pos,
                       const struct batch *b)
{
    const bool is_time = x->entry_size == TIME_ENTRY_SIZE;
    for (const uint8_t *entry; (entry = index_entry(x)); x->at += x->entry_size) {
        struct time_entry t = {.timestamp = b->max_timestamp};
        if (is_time) {
            t = time_entry_decode(entry);
        } else {
            const struct offset_entry o = offset_entry_decode(entry);
            t.rel_offset = o.rel_offset;
            t.pos = o.pos;
        }
        if (t.pos > pos)
            return;
        if (t.pos < pos)
            index_bad(v, x, "an entry does not point at the start of a batch");
        else if (base + t.rel_offset != b->base_offset)
            index_bad(v, x, "an entry's offset is not that of its batch");
        else if (t.timestamp != b->max_timestamp)
            index_bad(v, x, "an entry's timestamp is not that of its batch");
    }
}

static void index_end(struct verify *v, struct index_check *x)
{
    if (index_entry(x))
        index_bad(v, x, "an entry points behind the last batch");
    mem_free(x->data);
}

/* --- a partition ------------------------------------------------------------- */

/* What goes from segment to segment. */
struct chain {
    int64_t next_offset; /* -1: nothing yet */
    int32_t epoch;
    struct epoch_cache epochs; /* as the batches tell */
    bool has_point;
    struct point point;
    bool is_broken; /* a segment ended early: what follows cannot be judged */
};

static void check_order(struct verify *v, struct chain *c, const char *path, uint64_t pos,
                        const struct batch *b)
{
    struct log_finding f = {.kind = LOG_FINDING_DAMAGE,
                            .path = path,
                            .pos = (int64_t)pos,
                            .offset = b->base_offset,
                            .error = E_CORRUPT};
    if (c->next_offset >= 0 && b->base_offset < c->next_offset) {
        f.text = "a batch repeats offsets of the one before";
        find(v, f);
    } else if (c->next_offset >= 0 && b->base_offset > c->next_offset) {
        f.kind = LOG_FINDING_NOTE;
        f.text = "offsets are missing before this batch: legal only in a compacted topic";
        find(v, f);
    }
    if (b->leader_epoch < c->epoch) {
        f.kind = LOG_FINDING_DAMAGE;
        f.text = "a batch's leader epoch is lower than that of the one before";
        find(v, f);
    } else {
        epoch_cache_begin(&c->epochs, b->leader_epoch, b->base_offset);
        c->epoch = b->leader_epoch;
    }
    c->next_offset = b->base_offset + b->last_offset_delta + 1;
}

/* The end of a segment that is not the end of its file. Above the flushed point of the last segment
 * that is what a crash leaves; elsewhere it is damage. */
static void check_tail(struct verify *v, struct chain *c, const char *path,
                       const struct segment_walk *w, err e, bool is_last)
{
    const uint64_t pos = segment_walk_pos(w);
    const int64_t base = segment_walk_base_offset(w);
    const struct log_place *flushed = &c->point.flushed;
    const bool is_short = c->has_point && base == flushed->base && pos < flushed->pos;
    const bool is_flushed = is_short || (c->has_point && base < flushed->base);
    struct log_finding f = {.kind = is_last && !is_flushed ? LOG_FINDING_NOTE : LOG_FINDING_DAMAGE,
                            .path = path,
                            .pos = (int64_t)pos,
                            .offset = c->next_offset,
                            .error = e};
    if (e == E_END && pos == segment_walk_size(w)) {
        if (!is_short)
            return;
        f.text = "the file is shorter than what was flushed";
    } else if (e == E_END) {
        f.text = "zeros follow the last batch";
    } else if (e == E_WOULD_BLOCK) {
        f.text = "the file ends within a batch";
    } else if (e == E_UNSUPPORTED_VERSION) {
        f.text = "a batch of a format that this version does not know; nothing behind it was read";
    } else {
        f.text = "bytes that are not a batch; nothing behind them was read";
    }
    c->is_broken = true;
    find(v, f);
}

static err check_segment(struct verify *v, struct chain *c, const char *dir, const char *name,
                         bool is_last)
{
    char path[FSIO_PATH_MAX];
    struct segment_walk *w;
    fsio_path(path, dir, name);
    err e = segment_walk_open(&w, v->io, path);
    if (e != OK)
        return e;
    const int64_t base = segment_walk_base_offset(w);
    if (c->next_offset >= 0 && base != c->next_offset && !c->is_broken)
        find(v, (struct log_finding){
                    .kind = base < c->next_offset ? LOG_FINDING_DAMAGE : LOG_FINDING_NOTE,
                    .path = path,
                    .pos = 0,
                    .offset = base,
                    .error = E_CORRUPT,
                    .text = "the segment does not begin where the one before ended"});
    c->is_broken = false;
    if (c->next_offset < base)
        c->next_offset = base;

    struct index_check offsets, times = {0};
    e = index_open(v, &offsets, dir, base, SEGMENT_INDEX, OFFSET_ENTRY_SIZE);
    if (e == OK)
        e = index_open(v, &times, dir, base, SEGMENT_TIME_INDEX, TIME_ENTRY_SIZE);
    while (e == OK) {
        struct batch b;
        err crcs;
        const uint64_t pos = segment_walk_pos(w);
        e = segment_walk_next(w, &b, &crcs);
        if (e != OK)
            break;
        if (crcs != OK)
            find(v, (struct log_finding){.kind = LOG_FINDING_DAMAGE,
                                         .path = path,
                                         .pos = (int64_t)pos,
                                         .offset = b.base_offset,
                                         .error = crcs,
                                         .text = "a batch's checksum is wrong"});
        check_order(v, c, path, pos, &b);
        index_meet(v, &offsets, base, pos, &b);
        index_meet(v, &times, base, pos, &b);
        v->report.batches++;
        v->report.records += b.record_count;
        v->report.bytes += b.size;
    }
    v->report.segments++;
    if (e != E_STORAGE && e != E_NO_MEMORY) {
        check_tail(v, c, path, w, e, is_last);
        index_end(v, &offsets);
        index_end(v, &times);
        e = OK;
    } else {
        mem_free(offsets.data);
        mem_free(times.data);
    }
    segment_walk_close(w);
    return e;
}

/* What the file of leader epochs says of the records that are there must be what they say. */
static err check_epochs(struct verify *v, const struct chain *c, const char *dir, int64_t first)
{
    char path[FSIO_PATH_MAX];
    struct epoch_cache file = {0};
    int64_t valid_to;
    const err e = epoch_cache_read(&file, v->io, dir, &valid_to);
    fsio_path(path, dir, EPOCH_FILE);
    if (e == E_CORRUPT || e == E_UNSUPPORTED_VERSION)
        find_whole(v, LOG_FINDING_DOUBT, path, e, "the leader epochs cannot be read");
    if (e != OK)
        return e == E_STORAGE ? e : OK;
    const int64_t end = valid_to < c->next_offset ? valid_to : c->next_offset;
    bool is_same = true;
    for (size_t i = 0; i < c->epochs.count; i++) {
        const struct epoch_entry *b = &c->epochs.entries[i];
        is_same &= b->start_offset >= end || epoch_cache_at(&file, b->start_offset) == b->epoch;
    }
    for (size_t i = 0; i < file.count; i++) {
        const struct epoch_entry *f = &file.entries[i];
        is_same &= f->start_offset >= end || f->start_offset < first ||
                   epoch_cache_at(&c->epochs, f->start_offset) == f->epoch;
    }
    if (!is_same)
        find_whole(v, LOG_FINDING_DOUBT, path, E_CORRUPT,
                   "the leader epochs are not those of the batches");
    epoch_cache_deinit(&file);
    return OK;
}

static void check_identity(struct verify *v, const char *dir, struct log_identity *id, char *topic,
                           bool *has_id)
{
    char path[FSIO_PATH_MAX], name[PARTITION_NAME_MAX];
    fsio_path(path, dir, PARTITION_FILE);
    const err e = partition_file_read(v->io, dir, topic, id);
    *has_id = e == OK;
    if (e != OK)
        find_whole(v, LOG_FINDING_DAMAGE, path, e,
                   e == E_NOT_FOUND ? "the partition's identity is missing"
                                    : "the partition's identity cannot be read");
    else if (strcmp(partition_name(name, id), last_name(dir)) != 0)
        find_whole(v, LOG_FINDING_DAMAGE, path, E_CORRUPT,
                   "the directory's name is not that of the partition in it");
}

struct point_wanted {
    const struct log_identity *id;
    struct chain *chain;
};

static void take_point(void *arg, uint32_t slot, uint64_t seq, const struct point *p)
{
    (void)slot;
    (void)seq;
    const struct point_wanted *w = arg;
    if (p->partition == w->id->partition &&
        memcmp(&p->topic_id, &w->id->topic_id, sizeof p->topic_id) == 0) {
        w->chain->has_point = true;
        w->chain->point = *p;
    }
}

/* The flushed point, if the data directory around it has one. */
static void find_point(struct verify *v, const char *dir, const struct log_identity *id,
                       struct chain *c)
{
    char parent[FSIO_PATH_MAX];
    strcpy(parent, dir);
    char *slash = strrchr(parent, '/');
    if (!slash)
        strcpy(parent, ".");
    else
        *slash = '\0';
    struct point_wanted wanted = {.id = id, .chain = c};
    err_ignore(points_read(v->io, parent, take_point, &wanted),
               "without a flushed point every torn tail counts as legal");
}

static err check_partition(struct verify *v, const char *dir)
{
    char topic[TOPIC_NAME_MAX + 1];
    struct log_identity id;
    struct chain c = {.next_offset = -1, .epoch = -1};
    bool has_id;
    v->report.partitions++;
    check_identity(v, dir, &id, topic, &has_id);
    if (has_id)
        find_point(v, dir, &id, &c);

    struct name_list l = {0};
    err e = list_names(v, dir, &l);
    size_t last = l.count;
    for (size_t i = 0; i < l.count; i++) {
        int64_t base;
        enum segment_file kind;
        if (segment_name_parse(l.names[i], &base, &kind) && kind == SEGMENT_LOG)
            last = i;
    }
    int64_t first = -1;
    for (size_t i = 0; i < l.count && e == OK; i++) {
        int64_t base;
        enum segment_file kind;
        if (!segment_name_parse(l.names[i], &base, &kind) || kind != SEGMENT_LOG)
            continue;
        if (first < 0)
            first = base;
        e = check_segment(v, &c, dir, l.names[i], i == last);
    }
    if (e == OK && c.has_point && first < 0 && c.point.flushed.offset > c.point.start_offset)
        find_whole(v, LOG_FINDING_DAMAGE, dir, E_CORRUPT,
                   "records were flushed, and no segment is there");
    if (e == OK && c.has_point && first > c.point.start_offset)
        find_whole(v, LOG_FINDING_DAMAGE, dir, E_CORRUPT,
                   "the first segment begins above the recorded start offset");
    if (e == OK && first >= 0)
        e = check_epochs(v, &c, dir, first);
    epoch_cache_deinit(&c.epochs);
    names_free(&l);
    return e;
}

/* --- a data directory -------------------------------------------------------- */

static err check_data_dir(struct verify *v, const char *dir)
{
    struct name_list l = {0};
    err e = list_names(v, dir, &l);
    for (size_t i = 0; i < l.count && e == OK; i++) {
        char path[FSIO_PATH_MAX];
        struct partition_name name;
        fsio_path(path, dir, l.names[i]);
        if (partition_name_parse(l.names[i], &name))
            e = check_partition(v, path);
        else if (name_has_suffix(l.names[i], DELETED_SUFFIX))
            find_whole(v, LOG_FINDING_NOTE, path, OK, "a deleted partition, soon to be removed");
        else if (strcmp(l.names[i], "fenced") == 0)
            find_whole(v, LOG_FINDING_NOTE, path, OK,
                       "an I/O error was seen; the next start looks at everything not flushed");
    }
    names_free(&l);
    return e;
}

err log_verify(const struct fsio *io, const char *path, log_finding_fn *fn, void *arg,
               struct log_verify_report *report)
{
    struct verify v = {.io = io, .fn = fn, .arg = arg};
    char clean[FSIO_PATH_MAX], file[FSIO_PATH_MAX];
    size_t size = strlen(path);
    while (size > 1 && path[size - 1] == '/')
        size--;
    if (size == 0 || size + PARTITION_NAME_MAX + 2 * SEGMENT_NAME_MAX > sizeof clean)
        return E_NOT_FOUND;
    memcpy(clean, path, size);
    clean[size] = '\0';

    struct log_dir_meta meta;
    struct partition_name name;
    uint64_t ignored;
    err e;
    if (partition_name_parse(last_name(clean), &name) ||
        io->stat_size(io, fsio_path(file, clean, PARTITION_FILE), &ignored) == OK) {
        e = io->stat_size(io, clean, &ignored);
        if (e == OK)
            e = check_partition(&v, clean);
    } else {
        e = log_dir_read_meta(io, clean, &meta);
        if (e == E_CORRUPT || e == E_UNSUPPORTED_VERSION) {
            find_whole(&v, LOG_FINDING_DAMAGE, fsio_path(file, clean, "meta"), e,
                       "the data directory's meta file cannot be read");
            e = OK;
        }
        if (e == OK)
            e = check_data_dir(&v, clean);
    }
    if (e == OK)
        *report = v.report;
    return e;
}
