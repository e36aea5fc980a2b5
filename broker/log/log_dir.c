/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The text files, in checkpoint.h's frame:
 *
 *   meta, kind meta, version 1             clean-shutdown, kind clean-shutdown, version 1
 *     cluster_id <32 hex, or ->              incarnation <n>
 *     directory_id <32 hex>                  then a line for each partition, words:
 *     broker_id <n, or -1>                   topic, partition, topic id, slot, start offset, end
 * offset, boot_id <word, or ->                   end segment, end position, end epoch, high
 * watermark, incarnation <n, or -1>                 bytes, segments
 *
 * A marker is believed only if its incarnation is the meta file's, and for a
 * partition only if its slot in the points file agrees and no loss is recorded.
 */
#include "broker/log/log_dir.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "broker/log/checkpoint.h"
#include "broker/log/flusher.h"
#include "broker/log/log_priv.h"
#include "broker/log/names.h"
#include "broker/log/recovery.h"
#include "proto/base/check.h"
#include "proto/base/diag.h"
#include "proto/base/mem.h"

#define LOCK_FILE "lock"
#define META_FILE "meta"
#define MARKER_FILE "clean-shutdown"
#define FENCED_FILE "fenced"
#define BOOT_ID_FILE "/proc/sys/kernel/random/boot_id"

enum { META_VERSION = 1, MARKER_VERSION = 1, NO_SLOT = POINTS_MAX };

/* How many files are synced one by one; above, one syncfs is cheaper (0.2 ms each against 0.5). */
enum { ONE_BY_ONE_MAX = 4 };

/* A partition's directory, found by log_dir_scan. */
struct found {
    char *name;
    bool has_point, is_marked;
    uint32_t slot;
    struct point point;
    struct log_identity id; /* marked: topic points into marker_data's copy */
    struct log_summary sum; /* marked */
};

/* What is to be removed when its time comes. */
struct doomed {
    struct doomed *next;
    int64_t due_us;
    bool is_dir;
    char path[];
};

struct log_dir {
    _Atomic uint32_t refs;
    const struct fsio *io;
    char *path;
    struct fsio_file *lock_file;
    struct points *points;
    struct log_dir_meta meta;
    char boot_id[40];    /* the machine's now */
    bool was_fenced;     /* when it was last used */
    char *marker;        /* the clean marker's text, if there is a valid one; until the scan */
    struct slice marked; /* its lines, within */
    struct found *found;
    size_t found_count, found_capacity;
    struct loop *home;
    struct flusher *flusher;
    _Atomic bool has_fresh; /* partitions whose creation may not have been synced to its end */
    _Atomic bool is_fenced;
    _Atomic int fence_error;
    struct mail fence_mail;
    void (*fenced)(void *arg, struct log_dir *d, err e);
    void *fenced_arg;
    pthread_mutex_t doomed_lock; /* guards doomed */
    struct doomed *doomed;
};

/* --- the meta file ----------------------------------------------------------- */

static const char *id_text(bool has, const struct uuid *id, char text[UUID_TEXT])
{
    if (has)
        uuid_text(id, text);
    else
        strcpy(text, "-");
    return text;
}

static err write_meta(const struct fsio *io, const char *path, const struct log_dir_meta *meta)
{
    char cluster[UUID_TEXT], directory[UUID_TEXT];
    struct buf b = {0};
    checkpoint_begin(&b, META_FILE, META_VERSION);
    buf_printf(&b,
               "cluster_id %s\ndirectory_id %s\nbroker_id %" PRId32 "\nboot_id %s\nincarnation "
               "%" PRId64 "\n",
               id_text(meta->has_cluster_id, &meta->cluster_id, cluster),
               id_text(true, &meta->directory_id, directory), meta->broker_id,
               meta->boot_id[0] ? meta->boot_id : "-", meta->incarnation);
    const err e = checkpoint_write(io, path, META_FILE, &b);
    buf_deinit(&b);
    return e;
}

static bool key_is(struct slice *body, struct words *w, const char *key)
{
    return words_line(body, w) && slice_eq(words_next(w), slice_str(key));
}

static err parse_meta(struct slice body, struct log_dir_meta *out)
{
    struct log_dir_meta m = {0};
    struct words w;
    if (!key_is(&body, &w, "cluster_id"))
        return E_CORRUPT;
    if (!slice_eq(w.left, slice_str("-"))) {
        m.has_cluster_id = true;
        m.cluster_id = words_uuid(&w);
        if (words_end(&w) != OK)
            return E_CORRUPT;
    }
    if (!key_is(&body, &w, "directory_id"))
        return E_CORRUPT;
    m.directory_id = words_uuid(&w);
    if (words_end(&w) != OK || !key_is(&body, &w, "broker_id"))
        return E_CORRUPT;
    m.broker_id = (int32_t)words_i64(&w, -1, INT32_MAX);
    if (words_end(&w) != OK || !key_is(&body, &w, "boot_id"))
        return E_CORRUPT;
    const struct slice boot = words_next(&w);
    if (words_end(&w) != OK || boot.size >= sizeof m.boot_id)
        return E_CORRUPT;
    if (!slice_eq(boot, slice_str("-")))
        memcpy(m.boot_id, boot.data, boot.size);
    if (!key_is(&body, &w, "incarnation"))
        return E_CORRUPT;
    m.incarnation = words_i64(&w, -1, INT64_MAX);
    if (words_end(&w) != OK || body.size)
        return E_CORRUPT;
    *out = m;
    return OK;
}

err log_dir_read_meta(const struct fsio *io, const char *path, struct log_dir_meta *out)
{
    char *data;
    struct slice body;
    err e = checkpoint_read(io, path, META_FILE, META_FILE, META_VERSION, &data, &body);
    if (e != OK)
        return e;
    e = parse_meta(body, out);
    mem_free(data);
    return e;
}

static void read_boot_id(struct log_dir *d)
{
    char *text;
    size_t size;
    if (fsio_read_file(d->io, BOOT_ID_FILE, 4096, &text, &size) != OK)
        return; /* unknown: never the same as before */
    while (size > 0 && (uint8_t)text[size - 1] <= ' ')
        size--;
    if (size < sizeof d->boot_id && !memchr(text, ' ', size))
        memcpy(d->boot_id, text, size);
    mem_free(text);
}

/* Whether the directory was closed cleanly in the life that its meta file tells of. */
static err read_marker(struct log_dir *d)
{
    char *data;
    struct slice body;
    const err e =
        checkpoint_read(d->io, d->path, MARKER_FILE, MARKER_FILE, MARKER_VERSION, &data, &body);
    if (e != OK)
        return e == E_NOT_FOUND || e == E_CORRUPT ? OK : e;
    struct words w;
    if (key_is(&body, &w, "incarnation") && words_i64(&w, -1, INT64_MAX) == d->meta.incarnation &&
        words_end(&w) == OK) {
        d->marker = data;
        d->marked = body;
    } else {
        mem_free(data);
    }
    return OK;
}

/* --- opening ----------------------------------------------------------------- */

static void see_partition(void *arg, const struct fsio_entry *entry)
{
    struct partition_name name;
    if (entry->is_dir && partition_name_parse(entry->name, &name))
        *(bool *)arg = true;
}

/* Makes the directory's name durable: all else hangs on it. */
static err sync_parent(const struct log_dir *d)
{
    char parent[FSIO_PATH_MAX];
    strcpy(parent, d->path);
    char *slash = strrchr(parent, '/');
    if (!slash)
        return d->io->sync_dir(d->io, ".");
    slash[slash == parent ? 1 : 0] = '\0';
    return d->io->sync_dir(d->io, parent);
}

/* A new directory gets its meta file. One that holds partitions but no meta file is another's, or
 * damaged. */
static err make_meta(struct log_dir *d, struct rng *rng)
{
    bool has_partitions = false;
    err e = d->io->list(d->io, d->path, see_partition, &has_partitions);
    if (e != OK)
        return e;
    if (has_partitions)
        return E_CORRUPT;
    e = sync_parent(d);
    if (e != OK)
        return e;
    d->meta =
        (struct log_dir_meta){.directory_id = rng_uuid(rng), .broker_id = -1, .incarnation = -1};
    return write_meta(d->io, d->path, &d->meta);
}

static err lock_dir(struct log_dir *d)
{
    char path[FSIO_PATH_MAX];
    struct fsio_file *f;
    err e = d->io->open(d->io, fsio_path(path, d->path, LOCK_FILE), FSIO_WRITE | FSIO_CREATE, &f);
    if (e != OK)
        return e;
    e = d->io->lock(d->io, f);
    if (e != OK) {
        d->io->close(d->io, f);
        return e == E_WOULD_BLOCK ? E_EXISTS : e;
    }
    d->lock_file = f;
    return OK;
}

static err open_dir(struct log_dir *d, struct rng *rng)
{
    char path[FSIO_PATH_MAX];
    uint64_t size;
    err e = d->io->mkdir(d->io, d->path);
    if (e == OK || e == E_EXISTS)
        e = lock_dir(d);
    if (e != OK)
        return e;
    e = log_dir_read_meta(d->io, d->path, &d->meta);
    if (e == E_NOT_FOUND)
        e = make_meta(d, rng);
    if (e == OK)
        e = read_marker(d);
    if (e == OK)
        e = points_open(&d->points, d->io, d->path);
    d->was_fenced = d->io->stat_size(d->io, fsio_path(path, d->path, FENCED_FILE), &size) == OK;
    return e;
}

static const char *open_failure(err e)
{
    switch ((int)e) {
    case E_EXISTS:
        return "another broker has locked it";
    case E_NOT_FOUND:
        return "the directory above it does not exist; is a disk not mounted?";
    case E_CORRUPT:
        return "its file `meta` is damaged, or missing although partitions are there";
    case E_UNSUPPORTED_VERSION:
        return "a later version of Sluice wrote its file `meta`";
    case E_NO_SPACE:
        return "it is full";
    default:
        return "see the line before";
    }
}

err log_dir_open(struct log_dir **out, const struct log_dir_opts *opts)
{
    /* Every path below it must fit: fsio_path only checks. */
    if (strlen(opts->path) + PARTITION_NAME_MAX + 2 * SEGMENT_NAME_MAX > FSIO_PATH_MAX) {
        diag(DIAG_ERROR, "log", "the path of a data directory is too long", "path=%s",
             DIAG_STR(opts->path));
        return E_CONFIG;
    }
    struct log_dir *d = MEM_NEW(struct log_dir);
    d->refs = 1;
    d->io = opts->io;
    d->path = mem_strdup(opts->path);
    d->home = opts->home;
    d->fenced = opts->fenced;
    d->fenced_arg = opts->fenced_arg;
    pthread_mutex_init(&d->doomed_lock, NULL);
    read_boot_id(d);
    const err e = open_dir(d, opts->rng);
    if (e != OK) {
        diag(DIAG_ERROR, "log", "a data directory cannot be used", "path=%s error=%s reason=%s",
             DIAG_STR(d->path), err_name(e), DIAG_STR(open_failure(e)));
        if (opts->flush_exec)
            exec_free(opts->flush_exec);
        log_dir_unref(d);
        return e == E_NOT_FOUND ? E_STORAGE : e;
    }
    d->flusher = flusher_new(d, opts->flush_exec, opts->home);
    *out = d;
    return OK;
}

static void forget_found(struct log_dir *d)
{
    for (size_t i = 0; i < d->found_count; i++) {
        union {
            const char *in;
            char *out;
        } topic = {.in = d->found[i].id.topic};
        mem_free(topic.out);
        mem_free(d->found[i].name);
    }
    mem_free(d->found);
    d->found = NULL;
    d->found_count = 0;
    mem_free(d->marker);
    d->marker = NULL;
}

void log_dir_stop(struct log_dir *d)
{
    struct flusher *f = d->flusher;
    d->flusher = NULL;
    d->fenced = NULL; /* nobody is left to tell */
    flusher_free(f);
    /* Another broker may have it from now on. */
    if (d->lock_file)
        d->io->close(d->io, d->lock_file);
    d->lock_file = NULL;
}

struct log_dir *log_dir_ref(struct log_dir *d)
{
    atomic_fetch_add_explicit(&d->refs, 1, memory_order_relaxed);
    return d;
}

void log_dir_unref(struct log_dir *d)
{
    if (!d || atomic_fetch_sub_explicit(&d->refs, 1, memory_order_acq_rel) != 1)
        return;
    log_dir_stop(d);
    forget_found(d);
    points_close(d->points);
    for (struct doomed *x = d->doomed, *next; x; x = next) {
        next = x->next;
        mem_free(x);
    }
    pthread_mutex_destroy(&d->doomed_lock);
    mem_free(d->path);
    mem_free(d);
}

const char *log_dir_path(const struct log_dir *d)
{
    return d->path;
}

const struct fsio *log_dir_io(const struct log_dir *d)
{
    return d->io;
}

struct points *log_dir_points(struct log_dir *d)
{
    return d->points;
}

struct flusher *log_dir_flusher(struct log_dir *d)
{
    return d->flusher;
}

const struct log_dir_meta *log_dir_meta(const struct log_dir *d)
{
    return &d->meta;
}

bool log_dir_is_same_boot(const struct log_dir *d)
{
    return d->boot_id[0] && strcmp(d->boot_id, d->meta.boot_id) == 0 && !d->was_fenced;
}

err log_dir_set_meta(struct log_dir *d, const struct log_dir_meta *meta)
{
    if (log_dir_is_fenced(d))
        return E_STORAGE;
    const err e = write_meta(d->io, d->path, meta);
    if (e == OK)
        d->meta = *meta;
    else if (e != E_NO_SPACE)
        log_dir_fence(d, e);
    return e;
}

/* --- fencing ----------------------------------------------------------------- */

bool log_dir_is_fenced(const struct log_dir *d)
{
    return atomic_load_explicit(&d->is_fenced, memory_order_relaxed);
}

static void tell_fenced(struct mail *m)
{
    struct log_dir *d = (struct log_dir *)((char *)m - offsetof(struct log_dir, fence_mail));
    if (d->fenced)
        d->fenced(d->fenced_arg, d, (err)atomic_load(&d->fence_error));
    log_dir_unref(d);
}

void log_dir_fence(struct log_dir *d, err e)
{
    if (atomic_exchange(&d->is_fenced, true))
        return;
    atomic_store(&d->fence_error, (int)e);
    diag(DIAG_ERROR, "log",
         "a data directory failed and is not written to any more until the broker restarts",
         "path=%s error=%s", DIAG_STR(d->path), err_name(e));
    /* The next start must not believe the page cache. If even this cannot be written, the failed
     * file system will not let it start either. */
    char path[FSIO_PATH_MAX];
    struct fsio_file *f;
    if (d->io->open(d->io, fsio_path(path, d->path, FENCED_FILE), FSIO_WRITE | FSIO_CREATE, &f) ==
        OK)
        d->io->close(d->io, f);
    log_dir_ref(d);
    d->fence_mail.fn = tell_fenced;
    if (d->home)
        loop_post(d->home, &d->fence_mail);
    else
        tell_fenced(&d->fence_mail);
}

/* --- scanning ---------------------------------------------------------------- */

static void add_found(void *arg, const struct fsio_entry *entry)
{
    struct log_dir *d = arg;
    struct partition_name name;
    if (!entry->is_dir)
        return;
    if (name_has_suffix(entry->name, DELETED_SUFFIX)) {
        log_dir_doom(d, entry->name, true, 0);
        return;
    }
    if (!partition_name_parse(entry->name, &name))
        return;
    if (d->found_count == d->found_capacity) {
        d->found_capacity = d->found_capacity ? 2 * d->found_capacity : 64;
        d->found = mem_realloc(d->found, d->found_capacity * sizeof *d->found);
    }
    d->found[d->found_count++] = (struct found){.name = mem_strdup(entry->name)};
}

/* Finds by the key that a directory's name and a point have in common: partition and id prefix. */
struct key {
    uint64_t value;
    size_t index;
};

static uint64_t key_of(const uint8_t id_prefix[4], uint32_t partition)
{
    uint32_t prefix;
    memcpy(&prefix, id_prefix, sizeof prefix);
    return (uint64_t)partition << 32 | prefix;
}

static int by_value(const void *a, const void *b)
{
    const struct key *x = a, *y = b;
    if (x->value != y->value)
        return x->value < y->value ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

static struct key *make_keys(const struct log_dir *d)
{
    struct key *keys = mem_alloc((d->found_count + 1) * sizeof *keys);
    for (size_t i = 0; i < d->found_count; i++) {
        struct partition_name name;
        CHECK(partition_name_parse(d->found[i].name, &name));
        keys[i] = (struct key){.value = key_of(name.id_prefix, name.partition), .index = i};
    }
    qsort(keys, d->found_count, sizeof *keys, by_value);
    return keys;
}

/* The first of those with a key; count: how many there are in all. */
static size_t keys_from(const struct key *keys, size_t count, uint64_t value)
{
    size_t low = 0, high = count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (keys[middle].value < value)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Gives each directory its slot. Two directories of one key (a 1 in 2^32 chance, or a forgery) get
 * none: their identity files decide. Slots without a directory tell of partitions that are gone
 * (rule E2): freed, for whoever lists the partition as a replica will miss it. */
static err match_points(struct log_dir *d, const struct key *keys)
{
    for (uint32_t slot = 0; slot < points_slots(d->points); slot++) {
        struct point p;
        if (!points_found(d->points, slot, &p))
            continue;
        const uint64_t value = key_of(p.topic_id.bytes, p.partition);
        const size_t at = keys_from(keys, d->found_count, value);
        const bool is_there = at < d->found_count && keys[at].value == value;
        const bool is_double = at + 1 < d->found_count && keys[at + 1].value == value;
        if (is_there && !is_double && !d->found[keys[at].index].has_point) {
            struct found *f = &d->found[keys[at].index];
            f->has_point = true;
            f->slot = slot;
            f->point = p;
        } else {
            const err e = points_release(d->points, slot);
            if (e != OK)
                return e;
        }
    }
    points_forget_found(d->points);
    return OK;
}

static err parse_marked(struct words *w, struct found *out, char topic[TOPIC_NAME_MAX + 1])
{
    struct found f = {.is_marked = true};
    const struct slice name = words_next(w);
    if (name.size > TOPIC_NAME_MAX ||
        memchr(name.data ? name.data : (const uint8_t *)"", 0, name.size))
        return E_CORRUPT;
    memcpy(topic, name.data ? name.data : (const uint8_t *)"", name.size);
    topic[name.size] = '\0';
    f.id.partition = (uint32_t)words_i64(w, 0, UINT32_MAX);
    f.id.topic_id = words_uuid(w);
    f.slot = (uint32_t)words_i64(w, 0, POINTS_MAX);
    struct log_summary *s = &f.sum;
    s->start_offset = words_i64(w, 0, INT64_MAX);
    s->end.offset = words_i64(w, s->start_offset, INT64_MAX);
    s->end.base = words_i64(w, 0, s->end.offset);
    s->end.pos = (uint32_t)words_i64(w, 0, UINT32_MAX);
    s->end.epoch = (int32_t)words_i64(w, -1, INT32_MAX);
    s->high_watermark = words_i64(w, 0, s->end.offset);
    s->size_bytes = (uint64_t)words_i64(w, 0, INT64_MAX);
    s->segment_count = (uint32_t)words_i64(w, 0, INT32_MAX);
    s->flushed = s->end;
    *out = f;
    return words_end(w);
}

/* A line of the marker goes to the directory it tells of, if the slot says the same. */
static void match_marked(struct log_dir *d, const struct key *keys, const struct found *m,
                         const char *topic)
{
    const uint64_t value = key_of(m->id.topic_id.bytes, m->id.partition);
    for (size_t i = keys_from(keys, d->found_count, value);
         i < d->found_count && keys[i].value == value; i++) {
        struct found *f = &d->found[keys[i].index];
        char name[PARTITION_NAME_MAX];
        const struct log_identity id = {
            .topic = topic, .partition = m->id.partition, .topic_id = m->id.topic_id};
        const struct point *p = &f->point;
        if (!f->has_point || f->slot != m->slot || p->is_resetting || p->was_power_lost ||
            p->loss_to > p->loss_from || p->flushed.offset != m->sum.end.offset ||
            memcmp(&p->topic_id, &m->id.topic_id, sizeof p->topic_id) != 0 ||
            strcmp(partition_name(name, &id), f->name) != 0)
            continue;
        f->is_marked = true;
        f->sum = m->sum;
        f->id = id;
        f->id.topic = mem_strdup(topic);
    }
}

static void match_marker(struct log_dir *d, const struct key *keys)
{
    struct words w;
    while (words_line(&d->marked, &w)) {
        struct found m;
        char topic[TOPIC_NAME_MAX + 1];
        if (parse_marked(&w, &m, topic) == OK)
            match_marked(d, keys, &m, topic);
    }
}

err log_dir_scan(struct log_dir *d)
{
    err e = d->io->list(d->io, d->path, add_found, d);
    if (e != OK)
        return e;
    struct key *keys = make_keys(d);
    e = match_points(d, keys);
    if (e == OK)
        match_marker(d, keys);
    mem_free(keys);
    return e;
}

bool log_dir_is_clean(const struct log_dir *d)
{
    return d->marker != NULL;
}

size_t log_dir_found_count(const struct log_dir *d)
{
    return d->found_count;
}

/* --- recovering -------------------------------------------------------------- */

static void see_segment(void *arg, const struct fsio_entry *entry)
{
    int64_t base;
    enum segment_file kind;
    if (segment_name_parse(entry->name, &base, &kind))
        *(bool *)arg = true;
}

/* A partition that cannot be used still is here: it must not be taken for a new, empty one. */
static struct log *unusable_log(struct log_dir *d, const struct found *f,
                                const struct log_identity *id, const struct log_conf *conf, err e)
{
    const struct log_summary none = {.end = {.epoch = -1}, .flushed = {.epoch = -1}};
    struct log *g = log_new(d, id, f->has_point ? f->slot : NO_SLOT, conf, &none);
    g->unusable = e;
    diag(DIAG_ERROR, "log", "a partition cannot be used", "dir=%s error=%s", DIAG_STR(g->path),
         err_name(e));
    return g;
}

static err take_slot(struct log_dir *d, struct found *f)
{
    if (f->has_point)
        return OK;
    return points_take(d->points, &f->slot);
}

err log_dir_recover(struct log_dir *d, size_t n, const struct log_conf *conf, struct log **out)
{
    CHECK(n < d->found_count);
    struct found *f = &d->found[n];
    if (f->is_marked) {
        *out = log_new(d, &f->id, f->slot, conf, &f->sum);
        return OK;
    }
    char path[FSIO_PATH_MAX], topic[TOPIC_NAME_MAX + 1], name[PARTITION_NAME_MAX];
    struct log_identity id;
    fsio_path(path, d->path, f->name);
    err e = partition_file_read(d->io, path, topic, &id);
    if (e == E_NOT_FOUND || e == E_CORRUPT) {
        bool has_segments = false;
        e = d->io->list(d->io, path, see_segment, &has_segments);
        if (e != OK)
            return e;
        /* Half made, and never reported as made (log_dir_sync_created): it holds nothing. */
        if (!has_segments && (!f->has_point || f->point.written.offset == 0))
            return f->has_point && points_release(d->points, f->slot) != OK ? E_STORAGE
                                                                            : E_NOT_FOUND;
        e = E_STORAGE;
    } else if (e == E_STORAGE) {
        return e;
    }
    if (e == OK &&
        (strcmp(partition_name(name, &id), f->name) != 0 ||
         (f->has_point && memcmp(&f->point.topic_id, &id.topic_id, sizeof id.topic_id) != 0)))
        e = E_STORAGE; /* two directories changed places (fault S8) */
    if (e != OK) {
        struct partition_name parsed;
        CHECK(partition_name_parse(f->name, &parsed));
        id.topic = parsed.topic;
        id.partition = parsed.partition;
        if (f->has_point)
            id.topic_id = f->point.topic_id;
        *out = unusable_log(d, f, &id, conf, e);
        return OK;
    }
    e = take_slot(d, f);
    if (e != OK)
        return e;
    /* As recovery.c's rewrite. */
    if (d->was_fenced) {
        struct buf text = {0};
        partition_file_format(&id, &text);
        e = fsio_replace_file(d->io, path, PARTITION_FILE, text.data, text.size);
        buf_deinit(&text);
        if (e != OK)
            return e;
    }
    const struct recovery r = {.io = d->io,
                               .path = path,
                               .point = f->has_point ? &f->point : NULL,
                               .was_fenced = d->was_fenced,
                               .is_same_boot = log_dir_is_same_boot(d)};
    struct recovered found;
    e = recovery_run(&r, &found);
    if (e == E_UNSUPPORTED_VERSION || e == E_CORRUPT) {
        *out = unusable_log(d, f, &id, conf, e == E_CORRUPT ? E_STORAGE : e);
        return OK;
    }
    if (e != OK)
        return e;
    struct log *g = log_new(d, &id, f->slot, conf, &found.sum);
    g->loss = found.loss;
    g->was_power_lost = (f->has_point && f->point.was_power_lost) || !log_dir_is_same_boot(d);
    g->point_is_stale = found.has_changed || g->was_power_lost;
    if (!f->has_point || f->point.written.offset == 0)
        atomic_store(&d->has_fresh, true);
    g->point_is_stale |= d->was_fenced; /* written anew, too */
    g->names_are_new = true;            /* nobody knows whether the last ones were synced */
    *out = g;
    return OK;
}

static err begin(struct log_dir *d)
{
    char path[FSIO_PATH_MAX];
    err e = d->io->unlink(d->io, fsio_path(path, d->path, MARKER_FILE));
    if (e == OK || e == E_NOT_FOUND)
        e = d->io->unlink(d->io, fsio_path(path, d->path, FENCED_FILE));
    if (e == OK || e == E_NOT_FOUND)
        e = d->io->sync_dir(d->io, d->path);
    if (e == OK && strcmp(d->meta.boot_id, d->boot_id) != 0) {
        struct log_dir_meta meta = d->meta;
        memcpy(meta.boot_id, d->boot_id, sizeof meta.boot_id);
        e = log_dir_set_meta(d, &meta);
    }
    return e;
}

err log_dir_begin(struct log_dir *d, struct log *const *logs, size_t count)
{
    /* What recovery found must be on the disk before anything is built on it: a loss that is
     * forgotten could be elected (rule E3). The boot id comes after, for it lets the next start
     * believe these points. */
    err e = OK;
    for (size_t i = 0; i < count && e == OK; i++) {
        log_lock(logs[i]);
        if (logs[i]->point_is_stale && logs[i]->unusable == OK)
            e = log_put_point(logs[i]);
        log_unlock(logs[i]);
    }
    if (e == OK && atomic_load(&d->has_fresh))
        e = d->io->syncfs(d->io, d->lock_file);
    if (e == OK && !log_dir_is_clean(d))
        e = points_sync(d->points);
    if (e == OK)
        e = begin(d);
    if (e == OK) {
        for (size_t i = 0; i < count; i++) {
            log_lock(logs[i]);
            if (logs[i]->sum.end.offset > logs[i]->sum.flushed.offset && logs[i]->unusable == OK)
                log_schedule_flush(logs[i]);
            log_unlock(logs[i]);
        }
    } else {
        log_dir_fence(d, e);
    }
    forget_found(d);
    return e;
}

/* --- partitions come and go -------------------------------------------------- */

/* A directory of that name that no log has is a creation that was never reported, and is made
 * again, unless it holds records: those nobody overwrites. */
static err make_partition_dir(struct log_dir *d, const char *path)
{
    err e = d->io->mkdir(d->io, path);
    if (e != E_EXISTS)
        return e;
    bool has_segments = false;
    e = d->io->list(d->io, path, see_segment, &has_segments);
    if (e == OK && has_segments) {
        diag(DIAG_ERROR, "log", "a new partition's directory exists and holds records", "path=%s",
             DIAG_STR(path));
        return E_EXISTS;
    }
    return e;
}

/* Not yet synced, and not by rename: nothing of it counts before log_dir_sync_created. */
static err write_identity(struct log_dir *d, const char *path, const struct log_identity *id)
{
    char file[FSIO_PATH_MAX];
    struct fsio_file *f;
    struct buf b = {0};
    partition_file_format(id, &b);
    err e = d->io->open(d->io, fsio_path(file, path, PARTITION_FILE),
                        FSIO_WRITE | FSIO_CREATE | FSIO_TRUNC, &f);
    if (e == OK) {
        e = fsio_pwrite(d->io, f, b.data, b.size, 0);
        d->io->close(d->io, f);
    }
    buf_deinit(&b);
    return e;
}

err log_dir_create(struct log_dir *d, const struct log_identity *id, const struct log_conf *conf,
                   struct log **out)
{
    if (log_dir_is_fenced(d))
        return E_STORAGE;
    char path[FSIO_PATH_MAX], name[PARTITION_NAME_MAX];
    uint32_t slot;
    err e = points_take(d->points, &slot);
    if (e == E_STORAGE)
        log_dir_fence(d, e);
    if (e != OK)
        return e;
    e = make_partition_dir(d, fsio_path(path, d->path, partition_name(name, id)));
    if (e == OK)
        e = write_identity(d, path, id);
    if (e != OK) {
        err_ignore(points_release(d->points, slot), "the slot is found free at the next start");
        if (e != E_NO_SPACE && e != E_EXISTS)
            log_dir_fence(d, e);
        return e == E_EXISTS ? E_STORAGE : e;
    }
    const struct log_summary sum = {.end = {.epoch = -1}, .flushed = {.epoch = -1}};
    struct log *g = log_new(d, id, slot, conf, &sum);
    log_lock(g);
    e = log_put_point(g);
    log_unlock(g);
    if (e != OK) {
        log_unref(g);
        return e;
    }
    *out = g;
    return OK;
}

static err sync_one_created(struct log_dir *d, const struct log *g)
{
    char path[FSIO_PATH_MAX];
    struct fsio_file *f;
    err e = d->io->open(d->io, fsio_path(path, g->path, PARTITION_FILE), FSIO_WRITE, &f);
    if (e != OK)
        return e;
    e = d->io->fsync(d->io, f);
    d->io->close(d->io, f);
    return e == OK ? d->io->sync_dir(d->io, g->path) : e;
}

err log_dir_sync_created(struct log_dir *d, struct log *const *logs, size_t count)
{
    err e = OK;
    if (count > ONE_BY_ONE_MAX)
        e = d->io->syncfs(d->io, d->lock_file);
    else
        for (size_t i = 0; i < count && e == OK; i++)
            e = sync_one_created(d, logs[i]);
    if (e == OK)
        e = d->io->sync_dir(d->io, d->path);
    if (e == OK)
        e = points_sync(d->points);
    if (e != OK)
        log_dir_fence(d, e);
    return e;
}

err log_dir_delete(struct log_dir *d, struct log *g)
{
    log_end(g, E_UNKNOWN_TOPIC_OR_PARTITION);
    if (log_dir_is_fenced(d))
        return E_STORAGE;
    char to[FSIO_PATH_MAX], name[PARTITION_NAME_MAX];
    partition_name(name, &g->id);
    CHECK(strlen(name) + sizeof DELETED_SUFFIX <= sizeof name);
    strcat(name, DELETED_SUFFIX);
    err e = d->io->rename(d->io, g->path, fsio_path(to, d->path, name));
    if (e == OK || e == E_NOT_FOUND)
        e = d->io->sync_dir(d->io, d->path);
    if (e == OK && g->slot != NO_SLOT)
        e = points_release(d->points, g->slot);
    if (e != OK)
        log_dir_fence(d, e);
    else
        log_dir_doom(d, name, true, d->io->clock_us(d->io) + g->conf.file_delete_delay_ms * 1000);
    return e;
}

void log_dir_doom(struct log_dir *d, const char *path, bool is_dir, int64_t due_us)
{
    const size_t size = strlen(path) + 1;
    struct doomed *x = mem_alloc(sizeof *x + size);
    x->due_us = due_us;
    x->is_dir = is_dir;
    memcpy(x->path, path, size);
    pthread_mutex_lock(&d->doomed_lock);
    x->next = d->doomed;
    d->doomed = x;
    pthread_mutex_unlock(&d->doomed_lock);
}

struct unlinking {
    const struct fsio *io;
    const char *dir;
    err outcome;
};

static void unlink_entry(void *arg, const struct fsio_entry *entry)
{
    struct unlinking *u = arg;
    char path[FSIO_PATH_MAX];
    if (entry->is_dir)
        return;
    const err e = u->io->unlink(u->io, fsio_path(path, u->dir, entry->name));
    if (e != OK && e != E_NOT_FOUND)
        u->outcome = e;
}

static err remove_doomed(struct log_dir *d, const struct doomed *x)
{
    char path[FSIO_PATH_MAX];
    fsio_path(path, d->path, x->path);
    if (!x->is_dir) {
        const err e = d->io->unlink(d->io, path);
        return e == E_NOT_FOUND ? OK : e;
    }
    struct unlinking u = {.io = d->io, .dir = path};
    err e = d->io->list(d->io, path, unlink_entry, &u);
    if (e == OK)
        e = u.outcome;
    if (e == OK)
        e = d->io->rmdir(d->io, path);
    return e == E_NOT_FOUND ? OK : e;
}

void log_dir_reap(struct log_dir *d, int64_t now_us)
{
    if (log_dir_is_fenced(d))
        return;
    pthread_mutex_lock(&d->doomed_lock);
    struct doomed *due = NULL, **at = &d->doomed;
    while (*at) {
        struct doomed *x = *at;
        if (x->due_us > now_us) {
            at = &x->next;
            continue;
        }
        *at = x->next;
        x->next = due;
        due = x;
    }
    pthread_mutex_unlock(&d->doomed_lock);
    for (struct doomed *x = due, *next; x; x = next) {
        next = x->next;
        if (!log_dir_is_fenced(d)) {
            const err e = remove_doomed(d, x);
            if (e != OK)
                log_dir_fence(d, e);
        }
        mem_free(x);
    }
}

/* --- the end ----------------------------------------------------------------- */

static err sync_staged(struct log_dir *d, const struct log_staged *staged, size_t count)
{
    size_t files = 0;
    for (size_t i = 0; i < count; i++)
        files += staged[i].file != NULL;
    if (files > ONE_BY_ONE_MAX)
        return d->io->syncfs(d->io, d->lock_file);
    err e = OK;
    for (size_t i = 0; i < count && e == OK; i++) {
        if (staged[i].file)
            e = d->io->fsync(d->io, staged[i].file);
    }
    return e;
}

/* So many at a time: each has a file open meanwhile. */
enum { STAGED_MAX = 512 };

static err checkpoint_epochs(struct log_dir *d, struct log *const *logs, size_t count)
{
    struct log_staged *staged = mem_alloc(STAGED_MAX * sizeof *staged);
    err e = OK;
    for (size_t from = 0; from < count && e == OK; from += STAGED_MAX) {
        const size_t to = count - from < STAGED_MAX ? count : from + STAGED_MAX;
        size_t n = 0;
        for (size_t i = from; i < to && e == OK; i++)
            e = log_stage_epochs(logs[i], &staged[n++]);
        if (e == OK)
            e = sync_staged(d, staged, n);
        for (size_t i = 0; i < n; i++) {
            if (e == OK)
                e = log_commit_staged(&staged[i]);
            else
                log_drop_staged(&staged[i]);
        }
    }
    mem_free(staged);
    return e;
}

err log_dir_checkpoint(struct log_dir *d, struct log *const *logs, size_t count)
{
    if (log_dir_is_fenced(d))
        return E_STORAGE;
    err e = OK;
    for (size_t i = 0; i < count && e == OK; i++)
        e = log_put_stale_point(logs[i]);
    if (e == OK)
        e = points_sync(d->points);
    /* Epochs after points: their file begins at the start offset, which must not go back any more.
     */
    if (e == OK)
        e = checkpoint_epochs(d, logs, count);
    if (e != OK)
        log_dir_fence(d, e);
    return e;
}

err log_dir_flush_all(struct log_dir *d, struct log *const *logs, size_t count)
{
    if (log_dir_is_fenced(d))
        return E_STORAGE;
    struct place_at {
        struct log_place end;
        uint32_t truncations;
    } *before = mem_alloc((count + 1) * sizeof *before);
    for (size_t i = 0; i < count; i++) {
        log_lock(logs[i]);
        log_spill_indexes(logs[i]);
        before[i] = (struct place_at){.end = logs[i]->sum.end, .truncations = logs[i]->truncations};
        log_unlock(logs[i]);
    }
    const err e = d->io->syncfs(d->io, d->lock_file);
    for (size_t i = 0; i < count && e == OK; i++) {
        log_lock(logs[i]);
        if (logs[i]->truncations == before[i].truncations && logs[i]->unusable == OK &&
            before[i].end.offset >= logs[i]->sum.flushed.offset) {
            logs[i]->sum.flushed = before[i].end;
            logs[i]->point_is_stale = true;
        }
        log_unlock(logs[i]);
    }
    mem_free(before);
    if (e != OK)
        log_dir_fence(d, e);
    return e;
}

err log_dir_write_marker(struct log_dir *d, struct log *const *logs, size_t count)
{
    if (log_dir_is_fenced(d))
        return E_STORAGE;
    err e = d->io->syncfs(d->io,
                          d->lock_file); /* points, indexes: all that was never synced on its own */
    if (e != OK) {
        log_dir_fence(d, e);
        return e;
    }
    struct buf b = {0};
    checkpoint_begin(&b, MARKER_FILE, MARKER_VERSION);
    buf_printf(&b, "incarnation %" PRId64 "\n", d->meta.incarnation);
    for (size_t i = 0; i < count; i++) {
        struct log *g = logs[i];
        log_lock(g);
        const struct log_summary *s = &g->sum;
        /* One that is not flushed whole, or was lossy, is left to recovery. */
        if (g->unusable == OK && s->flushed.offset == s->end.offset && !g->loss.is_lossy &&
            !g->was_power_lost) {
            char hex[UUID_TEXT];
            uuid_text(&g->id.topic_id, hex);
            buf_printf(&b,
                       "%s %" PRIu32 " %s %" PRIu32 " %" PRId64 " %" PRId64 " %" PRId64 " %" PRIu32
                       " %" PRId32 " %" PRId64 " %" PRIu64 " %" PRIu32 "\n",
                       g->id.topic, g->id.partition, hex, g->slot, s->start_offset, s->end.offset,
                       s->end.base, s->end.pos, s->end.epoch, s->high_watermark, s->size_bytes,
                       s->segment_count);
        }
        log_unlock(g);
    }
    e = checkpoint_write(d->io, d->path, MARKER_FILE, &b);
    buf_deinit(&b);
    if (e != OK && e != E_NO_SPACE)
        log_dir_fence(d, e);
    return e;
}
