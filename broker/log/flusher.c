/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One group: take the queue; under each log's lock note what must be synced
 * (references to the files, the end, the truncation count); sync without any
 * lock; under each lock raise the flushed end; on the home loop tell.
 *
 * Whether to sync file by file or all at once: both costs are measured as they
 * occur (a moving average per file, and per syncfs), and the cheaper estimate
 * wins. Every so often the other way is tried, so that neither average grows old.
 */
#include "broker/log/flusher.h"

#include <pthread.h>
#include <stdatomic.h>

#include "broker/log/log_priv.h"
#include "proto/base/check.h"
#include "proto/base/mem.h"

enum {
    SYNCFS_FILES_MIN = 4,  /* below, it is never worth it: it syncs what others wrote, too */
    TRY_OTHER_EVERY = 256, /* groups in which there was a choice */
    TRY_FILES_MAX = 64,
    AVERAGE_SHIFT = 3
};

/* A log in a group, and where it was when the group was taken. */
struct member {
    struct log *log; /* a reference */
    struct log_place end;
    uint32_t truncations;
    uint32_t first_ref, ref_count; /* in the group's refs, ascending */
    bool names_are_new;
    bool has_risen; /* its flushed end did */
};

struct sync_ref {
    struct segment_ref *ref;
    struct fsio_file *file;
    int64_t base_offset;
    bool is_sealed;
};

struct group {
    struct member *members;
    size_t count, capacity;
    struct sync_ref *refs;
    size_t ref_count, ref_capacity;
    err outcome;
};

struct flusher {
    struct log_dir *dir;
    const struct fsio *io;
    struct exec *exec; /* one thread; NULL: flusher_run_now */
    struct exec_job job;
    pthread_mutex_t lock; /* guards the three below; taken under a log's lock */
    struct log *queue;    /* linked by next_queued; each a reference */
    struct log **queue_end;
    bool is_running;
    bool is_ending;
    struct group group;         /* of the job that runs */
    int64_t file_us, syncfs_us; /* moving averages << AVERAGE_SHIFT */
    uint32_t choices;
    _Atomic uint64_t groups, logs, sync_us;
};

/* --- gathering --------------------------------------------------------------- */

static struct log *take_queue(struct flusher *f)
{
    pthread_mutex_lock(&f->lock);
    struct log *g = f->queue;
    f->queue = NULL;
    f->queue_end = &f->queue;
    pthread_mutex_unlock(&f->lock);
    return g;
}

static struct member *add_member(struct group *group)
{
    if (group->count == group->capacity) {
        group->capacity = group->capacity ? 2 * group->capacity : 16;
        group->members = mem_realloc(group->members, group->capacity * sizeof *group->members);
    }
    return &group->members[group->count++];
}

static void add_ref(struct group *group, struct sync_ref ref)
{
    if (group->ref_count == group->ref_capacity) {
        group->ref_capacity = group->ref_capacity ? 2 * group->ref_capacity : 16;
        group->refs = mem_realloc(group->refs, group->ref_capacity * sizeof *group->refs);
    }
    group->refs[group->ref_count++] = ref;
}

/* The files between the flushed place and the end. [locked] */
static err gather_files(struct group *group, struct member *m)
{
    struct log *g = m->log;
    const struct log_place *flushed = &g->sum.flushed;
    for (uint32_t i = 0; i < g->sum.segment_count; i++) {
        struct segment *seg = &g->segments[i];
        const bool is_sealed = i + 1 < g->sum.segment_count;
        if (seg->base_offset < flushed->base ||
            (seg->base_offset == flushed->base && seg->size <= flushed->pos && !is_sealed))
            continue;
        const err e = segment_open(seg);
        if (e != OK)
            return e;
        add_ref(group, (struct sync_ref){.ref = segment_ref_get(seg->ref),
                                         .file = seg->ref->file,
                                         .base_offset = seg->base_offset,
                                         .is_sealed = is_sealed});
    }
    return OK;
}

/* Takes over the queue's reference. */
static err gather_log(struct group *group, struct log *g)
{
    struct member *m = add_member(group);
    log_lock(g);
    g->is_flush_queued = false;
    *m = (struct member){.log = g,
                         .end = g->sum.end,
                         .truncations = g->truncations,
                         .first_ref = (uint32_t)group->ref_count,
                         .names_are_new = g->names_are_new && g->unusable == OK};
    err e = g->unusable == OK ? log_ensure_loaded(g) : OK;
    if (e == OK && g->is_loaded && g->unusable == OK)
        e = gather_files(group, m);
    else
        m->end = g->sum.flushed; /* nothing can be said of it */
    m->ref_count = (uint32_t)group->ref_count - m->first_ref;
    if (e == OK)
        g->names_are_new = false;
    log_unlock(g);
    return e;
}

/* --- syncing ----------------------------------------------------------------- */

static void average(int64_t *avg, int64_t sample_us)
{
    *avg += *avg ? sample_us - (*avg >> AVERAGE_SHIFT) : sample_us << AVERAGE_SHIFT;
}

static bool choose_syncfs(struct flusher *f, size_t files)
{
    if (files < SYNCFS_FILES_MIN)
        return false;
    if (f->syncfs_us == 0)
        return true; /* never measured */
    const bool all = f->syncfs_us < f->file_us * (int64_t)files;
    /* Many files one by one would hold everybody up for the sake of a figure. */
    const bool may_try = !all || files < TRY_FILES_MAX;
    return ++f->choices % TRY_OTHER_EVERY == 0 && may_try ? !all : all;
}

/* Names first: what they hold may only be called flushed if it can be found. */
static err sync_names(struct flusher *f, const struct group *group)
{
    for (size_t i = 0; i < group->count; i++) {
        if (!group->members[i].names_are_new)
            continue;
        struct log *g = group->members[i].log;
        const err e = f->io->sync_dir(f->io, g->path);
        if (e != OK && !(e == E_NOT_FOUND && log_has_ended(g)))
            return e;
    }
    return OK;
}

static err sync_files(struct flusher *f, const struct group *group)
{
    for (size_t i = 0; i < group->ref_count; i++) {
        const err e = f->io->fdatasync(f->io, group->refs[i].file);
        if (e != OK)
            return e;
    }
    return OK;
}

/* How many syncs it would be, one by one: files, and directories with new names. */
static size_t count_syncs(const struct group *group)
{
    size_t n = group->ref_count;
    for (size_t i = 0; i < group->count; i++)
        n += group->members[i].names_are_new;
    return n;
}

/* A sealed segment's indexes are synced once, with it: from then on a power cut cannot tear them.
 */
static err sync_sealed_indexes(const struct group *group)
{
    for (size_t i = 0; i < group->count; i++) {
        const struct member *m = &group->members[i];
        const struct segment_dir dir = log_segment_dir(m->log);
        for (uint32_t r = m->first_ref; r < m->first_ref + m->ref_count; r++) {
            if (!group->refs[r].is_sealed)
                continue;
            const err e = segment_sync_indexes(&dir, group->refs[r].base_offset);
            if (e != OK)
                return e;
        }
    }
    return OK;
}

static err sync_group(struct flusher *f, const struct group *group)
{
    if (log_dir_is_fenced(f->dir))
        return E_STORAGE; /* rule D7 */
    const int64_t start = f->io->clock_us(f->io);
    const size_t syncs = count_syncs(group);
    err e;
    if (group->ref_count > 0 && choose_syncfs(f, syncs)) {
        e = f->io->syncfs(f->io, group->refs[0].file);
        average(&f->syncfs_us, f->io->clock_us(f->io) - start + 1);
    } else {
        e = sync_names(f, group);
        if (e == OK)
            e = sync_files(f, group);
        if (syncs > 0)
            average(&f->file_us, (f->io->clock_us(f->io) - start) / (int64_t)syncs + 1);
        if (e == OK)
            e = sync_sealed_indexes(group);
    }
    atomic_fetch_add(&f->sync_us, (uint64_t)(f->io->clock_us(f->io) - start));
    return e;
}

/* --- the end of it ----------------------------------------------------------- */

static void raise_flushed(struct member *m)
{
    struct log *g = m->log;
    log_lock(g);
    /* Rule D4: void if the log was cut meanwhile. */
    if (g->truncations == m->truncations && m->end.offset > g->sum.flushed.offset) {
        CHECK(m->end.offset <= g->sum.end.offset);
        m->has_risen = true;
    }
    if (g->truncations == m->truncations && m->end.offset >= g->sum.flushed.offset &&
        g->is_loaded && g->unusable == OK) {
        g->sum.flushed = m->end;
        /* Rule E2: recorded after it is true; nobody waits for this to be durable. */
        err_ignore(log_put_point(g), "no space: a restart scans more; an I/O error fences");
    }
    log_unlock(g);
}

static void run_group(struct flusher *f)
{
    struct group *group = &f->group;
    group->outcome = OK;
    for (struct log *g = take_queue(f), *next; g; g = next) {
        next = g->next_queued;
        const err e = gather_log(group, g);
        if (e != OK && group->outcome == OK)
            group->outcome = e;
    }
    if (group->outcome == OK && group->count)
        group->outcome = sync_group(f, group);
    for (size_t i = 0; i < group->count && group->outcome == OK; i++)
        raise_flushed(&group->members[i]);
    for (size_t i = 0; i < group->ref_count; i++)
        segment_ref_put(group->refs[i].ref);
    group->ref_count = 0;
    if (group->outcome != OK)
        log_dir_fence(f->dir, group->outcome);
    atomic_fetch_add(&f->groups, 1);
    atomic_fetch_add(&f->logs, group->count);
}

void flusher_tell(struct log *g, err e)
{
    log_lock(g);
    log_flushed_fn *fn = g->flushed_fn;
    void *arg = g->flushed_arg;
    log_unlock(g);
    if (fn)
        fn(arg, g, e);
}

/* Of a failure, every log of the directory hears through log_dir_fence. */
static void tell_group(struct flusher *f)
{
    struct group *group = &f->group;
    for (size_t i = 0; i < group->count; i++) {
        if (group->members[i].has_risen)
            flusher_tell(group->members[i].log, OK);
        log_unref(group->members[i].log);
    }
    group->count = 0;
}

static void run_job(struct exec_job *job)
{
    run_group((struct flusher *)((char *)job - offsetof(struct flusher, job)));
}

static void destroy(struct flusher *f)
{
    for (struct log *g = take_queue(f), *next; g; g = next) {
        next = g->next_queued;
        log_unref(g);
    }
    mem_free(f->group.members);
    mem_free(f->group.refs);
    pthread_mutex_destroy(&f->lock);
    mem_free(f);
}

static void job_done(struct exec_job *job)
{
    struct flusher *f = (struct flusher *)((char *)job - offsetof(struct flusher, job));
    /* The next group starts before the callbacks of this one, which may queue more. */
    struct flusher teller = {.group = f->group};
    f->group = (struct group){0};
    pthread_mutex_lock(&f->lock);
    const bool is_ending = f->is_ending;
    const bool again = f->queue != NULL && !is_ending;
    f->is_running = again || is_ending;
    pthread_mutex_unlock(&f->lock);
    if (again)
        exec_submit(f->exec, &f->job);
    else if (is_ending)
        destroy(f);

    tell_group(&teller);
    mem_free(teller.group.members);
    mem_free(teller.group.refs);
}

/* --- outside ----------------------------------------------------------------- */

struct flusher *flusher_new(struct log_dir *dir, struct exec *exec, struct loop *home)
{
    struct flusher *f = MEM_NEW(struct flusher);
    f->dir = dir;
    f->io = log_dir_io(dir);
    pthread_mutex_init(&f->lock, NULL);
    f->queue_end = &f->queue;
    f->exec = exec;
    f->job = (struct exec_job){.run = run_job, .done = job_done, .home = home};
    return f;
}

void flusher_free(struct flusher *f)
{
    if (!f)
        return;
    pthread_mutex_lock(&f->lock);
    const bool has_mail = f->is_running;
    f->is_ending = true;
    f->is_running = true; /* so that nobody submits any more */
    pthread_mutex_unlock(&f->lock);
    if (f->exec)
        exec_free(f->exec);
    if (!has_mail)
        destroy(f);
}

void flusher_schedule(struct flusher *f, struct log *g)
{
    if (g->is_flush_queued || log_dir_is_fenced(f->dir))
        return;
    g->is_flush_queued = true;
    log_ref(g);
    g->next_queued = NULL;
    pthread_mutex_lock(&f->lock);
    *f->queue_end = g;
    f->queue_end = &g->next_queued;
    const bool starts = f->exec && !f->is_running;
    if (starts)
        f->is_running = true;
    pthread_mutex_unlock(&f->lock);
    if (starts)
        exec_submit(f->exec, &f->job);
}

err flusher_run_now(struct flusher *f)
{
    CHECK(!f->exec);
    run_group(f);
    const err e = f->group.outcome;
    tell_group(f);
    return e;
}

struct flusher_stats flusher_stats(const struct flusher *f)
{
    return (struct flusher_stats){.groups = atomic_load(&f->groups),
                                  .logs = atomic_load(&f->logs),
                                  .sync_us = atomic_load(&f->sync_us)};
}
