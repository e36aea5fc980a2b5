/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything slow is a job on the workers, on copies of what it needs (a row of
 * referenced logs); what comes back is applied on the home loop. A job belongs
 * to the manager and is counted: the manager's memory goes when it was freed and
 * the last one has come home.
 */
#include "broker/log/log_manager.h"

#include <stdio.h>
#include <string.h>

#include "broker/log/flusher.h"
#include "broker/log/log_dir.h"
#include "broker/log/log_priv.h"
#include "broker/log/names.h"
#include "broker/log/retention.h"
#include "proto/base/check.h"
#include "proto/base/diag.h"
#include "proto/base/mem.h"

enum {
    RECOVER_JOBS_MAX = 8, /* of one directory; the workers run as many as they are */
    RECOVER_FINDS_PER_JOB = 64,
    DROP_MAX = 64 /* segments of one log and retention run */
};

struct creation {
    struct creation *next;
    struct log_identity id; /* topic is its own */
    struct log_conf conf;
    log_created_fn *fn;
    void *arg;
    struct log *log;
    err outcome;
};

/* A data directory as the manager sees it. */
struct slot {
    struct log_manager *m;
    struct log_dir *dir; /* NULL: could not be opened */
    size_t log_count;
    bool is_told;            /* that it failed */
    struct creation *wanted; /* newest first */
    bool is_creating;
    /* While it starts: */
    struct log **recovered; /* by find; NULL: no partition */
    size_t recovered_count;
    _Atomic size_t next_find;
    _Atomic int outcome;
    size_t jobs; /* still recovering */
};

/* A run over all logs that repeats: checkpoint, retention. */
struct caller {
    struct caller *next;
    log_manager_fn *fn;
    void *arg;
};
struct routine {
    struct timer timer;
    uint32_t interval_ms;
    bool is_running;
    struct caller *running, *waiting; /* for this run's end; for the next one's */
};

struct log_manager {
    const struct fsio *io;
    struct loop *home;
    struct exec *workers;
    struct log_conf default_conf;
    log_dir_failed_fn *dir_failed;
    void *dir_failed_arg;
    struct slot *slots;
    size_t slot_count;
    struct log_manager_identity identity;
    struct uuid *dir_ids;

    struct log **table; /* open addressing, by topic id and partition; each a reference */
    size_t table_size, count;

    size_t jobs; /* under way */
    bool is_freed, is_closing;
    size_t starting; /* directories */
    log_manager_fn *started;
    void *started_arg;
    struct routine checkpoint, retention;
    struct deferred create;
    bool is_close_wanted; /* as soon as no job is under way */
    log_manager_fn *closed;
    void *closed_arg;
};

/* --- jobs -------------------------------------------------------------------- */

struct job {
    struct exec_job exec;
    struct log_manager *m;
    void (*run)(struct job *j);
    void (*done)(struct job *j); /* not after the manager was freed */
    struct slot *slot;
    struct log **logs; /* references */
    size_t count;
    struct creation *creations;
    int64_t now_ms;
    err outcome;
    log_manager_fn *fn;
    void *arg;
};

static void destroy(struct log_manager *m);
static void close_now(struct log_manager *m);
static void routine_start(struct log_manager *m, struct routine *r);

static void job_run(struct exec_job *e)
{
    struct job *j = (struct job *)e;
    j->run(j);
}

static void job_done(struct exec_job *e)
{
    struct job *j = (struct job *)e;
    struct log_manager *m = j->m;
    if (!m->is_freed)
        j->done(j);
    for (size_t i = 0; i < j->count; i++)
        log_unref(j->logs[i]);
    mem_free(j->logs);
    mem_free(j);
    m->jobs--;
    if (m->jobs > 0)
        return;
    if (m->is_freed)
        destroy(m);
    else if (m->is_close_wanted)
        close_now(m);
}

static struct job *job_new(struct log_manager *m, void (*run)(struct job *),
                           void (*done)(struct job *))
{
    struct job *j = MEM_NEW(struct job);
    j->exec = (struct exec_job){.run = job_run, .done = job_done, .home = m->home};
    j->m = m;
    j->run = run;
    j->done = done;
    j->now_ms = loop_wall_ms(m->home);
    return j;
}

static void submit(struct job *j)
{
    j->m->jobs++;
    exec_submit(j->m->workers, &j->exec);
}

/* --- the table --------------------------------------------------------------- */

static size_t hash(const struct uuid *id, uint32_t partition)
{
    uint64_t a, b;
    memcpy(&a, id->bytes, sizeof a);
    memcpy(&b, id->bytes + sizeof a, sizeof b);
    a ^= (b + partition) * 0x9e3779b97f4a7c15u;
    a ^= a >> 32;
    a *= 0xd6e8feb86659fd93u;
    return (size_t)(a ^ (a >> 32));
}

static bool is_log(const struct log *g, const struct uuid *id, uint32_t partition)
{
    return g->id.partition == partition && memcmp(&g->id.topic_id, id, sizeof *id) == 0;
}

/* Where the log is, or would go. */
static size_t table_at(const struct log_manager *m, const struct uuid *id, uint32_t partition)
{
    size_t i = hash(id, partition) & (m->table_size - 1);
    while (m->table[i] && !is_log(m->table[i], id, partition))
        i = (i + 1) & (m->table_size - 1);
    return i;
}

static void table_grow(struct log_manager *m)
{
    struct log **old = m->table;
    const size_t old_size = m->table_size;
    m->table_size = old_size ? 2 * old_size : 64;
    m->table = mem_zalloc(m->table_size * sizeof *m->table);
    for (size_t i = 0; i < old_size; i++) {
        if (old[i])
            m->table[table_at(m, &old[i]->id.topic_id, old[i]->id.partition)] = old[i];
    }
    mem_free(old);
}

/* Takes the reference. false: one of that identity is there. */
static bool table_add(struct log_manager *m, struct log *g)
{
    if (4 * (m->count + 1) > 3 * m->table_size)
        table_grow(m);
    const size_t i = table_at(m, &g->id.topic_id, g->id.partition);
    if (m->table[i])
        return false;
    m->table[i] = g;
    m->count++;
    return true;
}

/* Gives the reference. */
static void table_remove(struct log_manager *m, const struct log *g)
{
    size_t i = table_at(m, &g->id.topic_id, g->id.partition);
    CHECK(m->table[i] == g);
    m->table[i] = NULL;
    m->count--;
    /* Those behind it that would not be found any more move up. */
    for (size_t n = (i + 1) & (m->table_size - 1); m->table[n]; n = (n + 1) & (m->table_size - 1)) {
        struct log *moved = m->table[n];
        m->table[n] = NULL;
        m->table[table_at(m, &moved->id.topic_id, moved->id.partition)] = moved;
    }
}

struct log *log_manager_find(const struct log_manager *m, const struct uuid *topic_id,
                             uint32_t partition)
{
    return m->table_size ? m->table[table_at(m, topic_id, partition)] : NULL;
}

void log_manager_each(const struct log_manager *m, log_each_fn *fn, void *arg)
{
    for (size_t i = 0; i < m->table_size; i++) {
        if (m->table[i])
            fn(arg, m->table[i]);
    }
}

size_t log_manager_count(const struct log_manager *m)
{
    return m->count;
}

static struct slot *slot_of(struct log_manager *m, const struct log *g)
{
    for (size_t i = 0; i < m->slot_count; i++) {
        if (m->slots[i].dir == g->dir)
            return &m->slots[i];
    }
    return NULL;
}

/* References to all logs, or to those of one directory. */
static void take_logs(struct log_manager *m, const struct log_dir *d, struct job *j)
{
    j->logs = mem_alloc((m->count + 1) * sizeof *j->logs);
    for (size_t i = 0; i < m->table_size; i++) {
        if (m->table[i] && (!d || m->table[i]->dir == d))
            j->logs[j->count++] = log_ref(m->table[i]);
    }
}

static void create_wanted(struct deferred *d);

/* --- opening ----------------------------------------------------------------- */

static void tell_failed(struct slot *s, const char *path, err e)
{
    if (s->is_told)
        return;
    s->is_told = true;
    if (s->m->dir_failed)
        s->m->dir_failed(s->m->dir_failed_arg, path, e);
}

/* A directory was fenced: every log in it says so, once. */
static void on_fenced(void *arg, struct log_dir *d, err e)
{
    struct slot *s = arg;
    struct log_manager *m = s->m;
    if (m->is_freed)
        return;
    struct job row = {0};
    take_logs(m, d, &row);
    for (size_t i = 0; i < row.count; i++) {
        flusher_tell(row.logs[i], E_STORAGE);
        log_unref(row.logs[i]);
    }
    mem_free(row.logs);
    tell_failed(s, log_dir_path(d), e);
}

/* What all directories agree on; those that were never told anything are new. */
static err merge_identity(struct log_manager *m)
{
    struct log_manager_identity *id = &m->identity;
    *id = (struct log_manager_identity){
        .broker_id = -1, .incarnation = -1, .was_clean = true, .same_boot = true};
    bool has_incarnation = false;
    for (size_t i = 0; i < m->slot_count; i++) {
        const struct log_dir *d = m->slots[i].dir;
        if (!d)
            continue;
        const struct log_dir_meta *meta = log_dir_meta(d);
        if (meta->has_cluster_id && id->has_cluster_id &&
            memcmp(&meta->cluster_id, &id->cluster_id, sizeof id->cluster_id) != 0)
            return E_INCONSISTENT_CLUSTER_ID;
        if (meta->broker_id >= 0 && id->broker_id >= 0 && meta->broker_id != id->broker_id)
            return E_INCONSISTENT_CLUSTER_ID;
        if (meta->has_cluster_id) {
            id->has_cluster_id = true;
            id->cluster_id = meta->cluster_id;
        }
        if (meta->broker_id >= 0)
            id->broker_id = meta->broker_id;
        /* A new directory beside old ones knows of no incarnation, and holds nothing that could be
         * lost. */
        if (meta->incarnation >= 0 && (!has_incarnation || meta->incarnation < id->incarnation)) {
            id->incarnation = meta->incarnation;
            has_incarnation = true;
        }
        id->same_boot &= log_dir_is_same_boot(d);
        id->was_clean &= log_dir_is_clean(d);
        m->dir_ids[id->dir_count++] = meta->directory_id;
    }
    id->dir_ids = m->dir_ids;
    return OK;
}

static err open_dirs(struct log_manager *m, const struct log_manager_opts *opts)
{
    err first = OK;
    size_t usable = 0;
    for (size_t i = 0; i < opts->dir_count; i++) {
        struct slot *s = &m->slots[i];
        s->m = m;
        struct exec *flush_exec =
            opts->new_exec ? opts->new_exec(opts->new_exec_arg, "flush") : exec_new("flush", 1);
        const struct log_dir_opts dir_opts = {.io = opts->io,
                                              .path = opts->dirs[i],
                                              .home = opts->home,
                                              .flush_exec = flush_exec,
                                              .rng = opts->rng,
                                              .fenced = on_fenced,
                                              .fenced_arg = s};
        const err e = log_dir_open(&s->dir, &dir_opts);
        if (e == OK) {
            usable++;
            continue;
        }
        /* A directory of somebody else is a mistake to be told of; a failed one is lived with. */
        if (e != E_STORAGE && e != E_NO_SPACE)
            return e == E_CORRUPT ? E_STORAGE : e;
        if (first == OK)
            first = e;
        tell_failed(s, opts->dirs[i], e);
    }
    return usable ? OK : first == OK ? E_CONFIG : first;
}

err log_manager_new(const struct log_manager_opts *opts, struct log_manager **out)
{
    struct log_manager *m = MEM_NEW(struct log_manager);
    m->io = opts->io;
    m->home = opts->home;
    m->workers = opts->workers;
    m->default_conf = opts->default_conf;
    m->dir_failed = opts->dir_failed;
    m->dir_failed_arg = opts->dir_failed_arg;
    m->slots = mem_zalloc((opts->dir_count + 1) * sizeof *m->slots);
    m->slot_count = opts->dir_count;
    m->dir_ids = mem_zalloc((opts->dir_count + 1) * sizeof *m->dir_ids);
    m->checkpoint.interval_ms = opts->checkpoint_interval_ms;
    m->retention.interval_ms = opts->retention_interval_ms;
    m->create.fn = create_wanted;
    err e = open_dirs(m, opts);
    if (e == OK) {
        e = merge_identity(m);
        if (e != OK)
            diag(DIAG_ERROR, "log", "the data directories belong to different clusters or brokers",
                 "first=%s", DIAG_STR(opts->dirs[0]));
    }
    if (e != OK) {
        log_manager_free(m);
        return e;
    }
    *out = m;
    return OK;
}

const struct log_manager_identity *log_manager_identity(const struct log_manager *m)
{
    return &m->identity;
}

err log_manager_set_identity(struct log_manager *m, const struct uuid *cluster_id,
                             int32_t broker_id, int64_t incarnation)
{
    const struct log_manager_identity *id = &m->identity;
    if (id->has_cluster_id && memcmp(&id->cluster_id, cluster_id, sizeof *cluster_id) != 0)
        return E_INCONSISTENT_CLUSTER_ID;
    if (id->broker_id >= 0 && id->broker_id != broker_id)
        return E_INCONSISTENT_CLUSTER_ID;
    if (incarnation < id->incarnation)
        return E_STALE_BROKER_EPOCH;
    err outcome = E_STORAGE;
    for (size_t i = 0; i < m->slot_count; i++) {
        struct log_dir *d = m->slots[i].dir;
        if (!d || log_dir_is_fenced(d))
            continue;
        struct log_dir_meta meta = *log_dir_meta(d);
        meta.has_cluster_id = true;
        meta.cluster_id = *cluster_id;
        meta.broker_id = broker_id;
        meta.incarnation = incarnation;
        const err e = log_dir_set_meta(d, &meta);
        if (e == E_NO_SPACE)
            return e; /* with an older incarnation it would look rolled back */
        if (e == OK)
            outcome = OK; /* one that failed is fenced, and holds nothing any more that counts */
    }
    if (outcome == OK) {
        m->identity.has_cluster_id = true;
        m->identity.cluster_id = *cluster_id;
        m->identity.broker_id = broker_id;
        m->identity.incarnation = incarnation;
    }
    return outcome;
}

/* --- starting ---------------------------------------------------------------- */

static void slot_started(struct slot *s, err e)
{
    struct log_manager *m = s->m;
    for (size_t i = 0; i < s->recovered_count; i++) {
        struct log *g = s->recovered[i];
        if (!g)
            continue;
        if (e == OK && table_add(m, g)) {
            s->log_count++;
            continue;
        }
        if (e == OK)
            diag(DIAG_ERROR, "log", "a partition is in two data directories; this one is ignored",
                 "dir=%s", DIAG_STR(g->path));
        log_unref(g);
    }
    mem_free(s->recovered);
    s->recovered = NULL;
    s->recovered_count = 0;
    if (e != OK)
        log_dir_fence(s->dir, e);
    if (--m->starting > 0)
        return;

    size_t usable = 0;
    for (size_t i = 0; i < m->slot_count; i++)
        usable += m->slots[i].dir && !log_dir_is_fenced(m->slots[i].dir);
    routine_start(m, &m->checkpoint);
    routine_start(m, &m->retention);
    m->started(m->started_arg, usable ? OK : E_STORAGE);
}

static void run_begin(struct job *j)
{
    struct slot *s = j->slot;
    /* Only those there are, packed. */
    struct log **logs = mem_alloc((s->recovered_count + 1) * sizeof *logs);
    size_t count = 0;
    for (size_t i = 0; i < s->recovered_count; i++) {
        if (s->recovered[i])
            logs[count++] = s->recovered[i];
    }
    j->outcome = log_dir_begin(s->dir, logs, count);
    mem_free(logs);
}

static void begun(struct job *j)
{
    slot_started(j->slot, j->outcome);
}

static void run_recover(struct job *j)
{
    struct slot *s = j->slot;
    for (;;) {
        const size_t n = atomic_fetch_add(&s->next_find, 1);
        if (n >= s->recovered_count || atomic_load(&s->outcome) != OK)
            return;
        const err e = log_dir_recover(s->dir, n, &j->m->default_conf, &s->recovered[n]);
        if (e != OK && e != E_NOT_FOUND)
            atomic_store(&s->outcome, (int)e);
    }
}

static void recovered(struct job *j)
{
    struct slot *s = j->slot;
    if (--s->jobs > 0)
        return;
    const err e = (err)atomic_load(&s->outcome);
    if (e != OK) {
        slot_started(s, e);
        return;
    }
    struct job *next = job_new(j->m, run_begin, begun);
    next->slot = s;
    submit(next);
}

static void run_scan(struct job *j)
{
    j->outcome = log_dir_scan(j->slot->dir);
}

static void scanned(struct job *j)
{
    struct slot *s = j->slot;
    if (j->outcome != OK) {
        slot_started(s, j->outcome);
        return;
    }
    const size_t finds = log_dir_found_count(s->dir);
    s->recovered = mem_zalloc((finds + 1) * sizeof *s->recovered);
    s->recovered_count = finds;
    s->jobs = finds / RECOVER_FINDS_PER_JOB + 1;
    if (s->jobs > RECOVER_JOBS_MAX)
        s->jobs = RECOVER_JOBS_MAX;
    for (size_t i = 0, jobs = s->jobs; i < jobs; i++) {
        struct job *next = job_new(j->m, run_recover, recovered);
        next->slot = s;
        submit(next);
    }
}

void log_manager_start(struct log_manager *m, log_manager_fn *fn, void *arg)
{
    CHECK(!m->started);
    m->started = fn;
    m->started_arg = arg;
    for (size_t i = 0; i < m->slot_count; i++)
        m->starting += m->slots[i].dir != NULL;
    for (size_t i = 0; i < m->slot_count; i++) {
        if (!m->slots[i].dir)
            continue;
        struct job *j = job_new(m, run_scan, scanned);
        j->slot = &m->slots[i];
        submit(j);
    }
}

/* --- partitions come and go -------------------------------------------------- */

static void creation_end(struct log_manager *m, struct slot *s, struct creation *c)
{
    struct log *g = c->log;
    err e = c->outcome;
    if (e == OK) {
        CHECK(table_add(m, g));
        s->log_count++;
        if (m->is_closing) {
            log_lock(g);
            g->is_closing = true;
            log_unlock(g);
        }
    }
    if (c->fn)
        c->fn(c->arg, e == OK ? g : NULL, e);
    union {
        const char *in;
        char *out;
    } topic = {.in = c->id.topic};
    mem_free(topic.out);
    mem_free(c);
}

static void run_create(struct job *j)
{
    struct log_dir *d = j->slot->dir;
    size_t n = 0, count = 0;
    for (struct creation *c = j->creations; c; c = c->next)
        count++;
    struct log **made = mem_alloc((count + 1) * sizeof *made);
    for (struct creation *c = j->creations; c; c = c->next) {
        c->outcome = log_dir_create(d, &c->id, &c->conf, &c->log);
        if (c->outcome == OK)
            made[n++] = c->log;
    }
    const err e = n ? log_dir_sync_created(d, made, n) : OK;
    mem_free(made);
    for (struct creation *c = j->creations; c && e != OK; c = c->next) {
        if (c->outcome == OK) {
            log_unref(c->log);
            c->outcome = e;
        }
    }
}

static void created(struct job *j)
{
    j->slot->is_creating = false;
    for (struct creation *c = j->creations, *next; c; c = next) {
        next = c->next;
        creation_end(j->m, j->slot, c);
    }
    create_wanted(&j->m->create);
}

static void create_wanted(struct deferred *d)
{
    struct log_manager *m =
        (struct log_manager *)((char *)d - offsetof(struct log_manager, create));
    for (size_t i = 0; i < m->slot_count; i++) {
        struct slot *s = &m->slots[i];
        if (!s->wanted || s->is_creating)
            continue;
        struct job *j = job_new(m, run_create, created);
        j->slot = s;
        /* In the order of asking. */
        for (struct creation *c = s->wanted, *next; c; c = next) {
            next = c->next;
            c->next = j->creations;
            j->creations = c;
        }
        s->wanted = NULL;
        s->is_creating = true;
        submit(j);
    }
}

/* The usable directory with the fewest partitions. */
static struct slot *emptiest(struct log_manager *m)
{
    struct slot *best = NULL;
    size_t best_count = 0;
    for (size_t i = 0; i < m->slot_count; i++) {
        struct slot *s = &m->slots[i];
        if (!s->dir || log_dir_is_fenced(s->dir))
            continue;
        size_t count = s->log_count;
        for (const struct creation *c = s->wanted; c; c = c->next)
            count++;
        if (!best || count < best_count) {
            best = s;
            best_count = count;
        }
    }
    return best;
}

void log_manager_create(struct log_manager *m, const struct log_identity *id,
                        const struct log_conf *conf, log_created_fn *fn, void *arg)
{
    struct log *there = log_manager_find(m, &id->topic_id, id->partition);
    struct slot *s = emptiest(m);
    const err e = there ? E_EXISTS : m->is_closing ? E_SHUTTING_DOWN : s ? OK : E_STORAGE;
    if (e != OK) {
        fn(arg, there, e);
        return;
    }
    struct creation *c = MEM_NEW(struct creation);
    c->id = *id;
    c->id.topic = mem_strdup(id->topic);
    c->conf = *conf;
    c->fn = fn;
    c->arg = arg;
    c->next = s->wanted;
    s->wanted = c;
    loop_defer(m->home, &m->create);
}

static void run_delete(struct job *j)
{
    j->outcome = log_dir_delete(j->logs[0]->dir, j->logs[0]);
}

static void deleted(struct job *j)
{
    if (j->fn)
        j->fn(j->arg, j->outcome);
}

void log_manager_delete(struct log_manager *m, struct log *g, log_manager_fn *fn, void *arg)
{
    struct slot *s = slot_of(m, g);
    CHECK(s);
    table_remove(m, g);
    s->log_count--;
    log_end(g, E_UNKNOWN_TOPIC_OR_PARTITION);
    struct job *j = job_new(m, run_delete, deleted);
    j->logs = mem_alloc(sizeof *j->logs);
    j->logs[0] = g; /* the table's reference */
    j->count = 1;
    j->fn = fn;
    j->arg = arg;
    submit(j);
}

/* --- checkpoints ------------------------------------------------------------- */

/* The row's logs of one directory, packed; freed with mem_free. */
static struct log **logs_in(const struct job *j, const struct log_dir *d, size_t *count)
{
    struct log **logs = mem_alloc((j->count + 1) * sizeof *logs);
    *count = 0;
    for (size_t i = 0; i < j->count; i++) {
        if (j->logs[i]->dir == d)
            logs[(*count)++] = j->logs[i];
    }
    return logs;
}

static void run_checkpoint(struct job *j)
{
    struct log_manager *m = j->m;
    for (size_t i = 0; i < m->slot_count; i++) {
        struct log_dir *d = m->slots[i].dir;
        if (!d || log_dir_is_fenced(d))
            continue;
        size_t count;
        struct log **logs = logs_in(j, d, &count);
        err_ignore(log_dir_checkpoint(d, logs, count), "what failed has fenced");
        mem_free(logs);
        log_dir_reap(d, m->io->clock_us(m->io));
    }
    for (size_t i = 0; i < j->count; i++) {
        struct log *g = j->logs[i];
        log_settle(g);
        log_lock(g);
        /* Page-cache topics too, at this pace: so that a restart need not look at all of them. */
        if (g->unusable == OK && g->sum.flushed.offset < g->sum.end.offset)
            log_schedule_flush(g);
        log_unlock(g);
    }
}

/* --- retention --------------------------------------------------------------- */

/* What the decision needs to know. [locked] *unknown: the base of the first segment whose age is
 * not known. */
static struct retention_segment *retention_view(struct log *g, int64_t now_us)
{
    const uint32_t count = g->sum.segment_count;
    struct retention_segment *view = mem_alloc((count + 1) * sizeof *view);
    for (uint32_t i = 0; i < count; i++) {
        const struct segment *seg = &g->segments[i];
        view[i] = (struct retention_segment){
            .base_offset = seg->base_offset,
            .next_offset = seg->next_offset,
            .max_timestamp = seg->is_prepared ? seg->max_timestamp : INT64_MIN,
            .size_bytes = seg->size,
            .quiet_ms = seg->last_append_us ? (now_us - seg->last_append_us) / 1000 : INT64_MAX,
        };
    }
    if (count > 0 && g->has_grown)
        view[count - 1].quiet_ms = 0;
    return view;
}

/* One decision, acted on as far as memory and points go. *again: something changed on which another
 * may follow; *unknown: the age of that segment must be found first, -1: of none. [locked] */
static err retain_once(struct log *g, int64_t now_ms, bool *again, int64_t *unknown)
{
    struct retention_segment *view = retention_view(g, g->io->clock_us(g->io));
    const struct retention_input in = {.segments = view,
                                       .count = g->sum.segment_count,
                                       .start_offset = g->sum.start_offset,
                                       .high_watermark = g->sum.high_watermark,
                                       .now_ms = now_ms};
    const struct retention_decision d = retention_decide(&g->conf, &in);
    *again = false;
    *unknown = -1;
    err e = OK;
    if (d.roll_active) {
        e = log_roll(g);
        *again = e == OK;
    }
    if (e == OK && d.start_offset > g->sum.start_offset)
        e = log_raise_start(g, d.start_offset);
    /* The decision stopped at the first segment that stays; is it only because its age is not
     * known? */
    for (uint32_t i = 0; e == OK && i < g->sum.segment_count && g->conf.retention_ms >= 0; i++) {
        const struct segment *seg = &g->segments[i];
        if (seg->next_offset <= g->sum.start_offset || seg->size == 0)
            continue;
        if (!seg->is_prepared && seg->next_offset <= g->sum.high_watermark)
            *unknown = seg->base_offset;
        break;
    }
    mem_free(view);
    return e;
}

static void retain(struct log *g, int64_t now_ms)
{
    bool again = true;
    while (again) {
        int64_t unknown;
        log_lock(g);
        err e = log_check_writable(g);
        if (e == OK && !g->conf.cleanup_delete)
            e = E_NOT_FOUND; /* nothing to do */
        if (e == OK)
            e = log_ensure_loaded(g);
        if (e == OK)
            e = retain_once(g, now_ms, &again, &unknown);
        log_unlock(g);
        if (e != OK)
            return;
        if (unknown >= 0)
            again = log_prepare_segment(g, unknown) == OK;
    }
}

static void doom_segment(struct log *g, int64_t base_offset, int64_t due_us)
{
    for (int kind = 0; kind < SEGMENT_FILE_KINDS; kind++) {
        char dir[PARTITION_NAME_MAX], name[SEGMENT_NAME_MAX];
        char path[PARTITION_NAME_MAX + SEGMENT_NAME_MAX + sizeof DELETED_SUFFIX];
        snprintf(path, sizeof path, "%s/%s%s", partition_name(dir, &g->id),
                 segment_name(name, base_offset, (enum segment_file)kind), DELETED_SUFFIX);
        log_dir_doom(g->dir, path, false, due_us);
    }
}

/* The files, after the start offsets are durable. */
static void drop_files(struct log *g)
{
    int64_t bases[DROP_MAX];
    size_t dropped = DROP_MAX;
    while (dropped == DROP_MAX) {
        log_lock(g);
        err e = log_check_writable(g);
        const bool may_have = g->is_loaded || g->sum.segment_count > 1;
        dropped = 0;
        if (e == OK && may_have)
            e = log_drop_below_start(g, bases, DROP_MAX, &dropped);
        const int64_t delay_us = g->conf.file_delete_delay_ms * 1000;
        log_unlock(g);
        const int64_t due_us = g->io->clock_us(g->io) + delay_us;
        for (size_t i = 0; i < dropped; i++)
            doom_segment(g, bases[i], due_us);
    }
}

static void run_retention(struct job *j)
{
    struct log_manager *m = j->m;
    for (size_t i = 0; i < j->count; i++)
        retain(j->logs[i], j->now_ms);
    for (size_t i = 0; i < m->slot_count; i++) {
        struct log_dir *d = m->slots[i].dir;
        if (!d || log_dir_is_fenced(d))
            continue;
        const err e = points_sync(log_dir_points(d));
        if (e != OK)
            log_dir_fence(d, e);
    }
    for (size_t i = 0; i < j->count; i++)
        drop_files(j->logs[i]);
    for (size_t i = 0; i < m->slot_count; i++) {
        if (m->slots[i].dir)
            log_dir_reap(m->slots[i].dir, m->io->clock_us(m->io));
    }
}

/* --- routines: now and then, or when asked ----------------------------------- */

static void routine_run(struct log_manager *m, struct routine *r);

static void routine_ended(struct job *j, struct routine *r)
{
    struct log_manager *m = j->m;
    struct caller *callers = r->running;
    r->running = NULL;
    r->is_running = false;
    if (r->waiting)
        routine_run(m, r);
    else
        routine_start(m, r);
    for (struct caller *c = callers, *next; c; c = next) {
        next = c->next;
        c->fn(c->arg, OK);
        mem_free(c);
    }
}

static void checkpoint_ended(struct job *j)
{
    routine_ended(j, &j->m->checkpoint);
}

static void retention_ended(struct job *j)
{
    routine_ended(j, &j->m->retention);
}

static void routine_run(struct log_manager *m, struct routine *r)
{
    const bool is_checkpoint = r == &m->checkpoint;
    struct job *j = is_checkpoint ? job_new(m, run_checkpoint, checkpoint_ended)
                                  : job_new(m, run_retention, retention_ended);
    take_logs(m, NULL, j);
    timer_stop(m->home, &r->timer);
    r->is_running = true;
    r->running = r->waiting;
    r->waiting = NULL;
    submit(j);
}

static void checkpoint_due(void *arg)
{
    struct log_manager *m = arg;
    routine_run(m, &m->checkpoint);
}

static void retention_due(void *arg)
{
    struct log_manager *m = arg;
    routine_run(m, &m->retention);
}

static void routine_start(struct log_manager *m, struct routine *r)
{
    if (r->interval_ms && !m->is_closing && !r->is_running)
        timer_start(m->home, &r->timer, (int64_t)r->interval_ms * 1000,
                    r == &m->checkpoint ? checkpoint_due : retention_due, m);
}

static void ignore_end(void *arg, err e)
{
    (void)arg;
    (void)e;
}

static void routine_ask(struct log_manager *m, struct routine *r, log_manager_fn *fn, void *arg)
{
    struct caller *c = MEM_NEW(struct caller);
    *c = (struct caller){.next = r->waiting, .fn = fn ? fn : ignore_end, .arg = arg};
    r->waiting = c;
    if (!r->is_running)
        routine_run(m, r);
}

void log_manager_run_checkpoint(struct log_manager *m, log_manager_fn *fn, void *arg)
{
    routine_ask(m, &m->checkpoint, fn, arg);
}

void log_manager_run_retention(struct log_manager *m, log_manager_fn *fn, void *arg)
{
    routine_ask(m, &m->retention, fn, arg);
}

void log_manager_stats(const struct log_manager *m, struct log_manager_stats *out)
{
    *out = (struct log_manager_stats){.logs = m->count};
    for (size_t i = 0; i < m->slot_count; i++) {
        struct log_dir *d = m->slots[i].dir;
        out->dirs++;
        if (!d || log_dir_is_fenced(d))
            out->dirs_fenced++;
        if (!d || !log_dir_flusher(d))
            continue;
        const struct flusher_stats f = flusher_stats(log_dir_flusher(d));
        out->flushes += f.groups;
        out->flushed_logs += f.logs;
        out->flush_us_total += f.sync_us;
    }
}

/* --- the end
 * ------------------------------------------------------------------------------------------------------
 */

static err close_dir(struct job *j, struct log_dir *d)
{
    size_t count;
    struct log **logs = logs_in(j, d, &count);
    err e = log_dir_flush_all(d, logs, count);
    if (e == OK)
        e = log_dir_checkpoint(d, logs, count);
    if (e == OK)
        e = log_dir_write_marker(d, logs, count);
    mem_free(logs);
    return e;
}

static void run_close(struct job *j)
{
    struct log_manager *m = j->m;
    for (size_t i = 0; i < m->slot_count; i++) {
        struct log_dir *d = m->slots[i].dir;
        /* One that failed before has been told of. */
        const err e = d && !log_dir_is_fenced(d) ? close_dir(j, d) : OK;
        if (e != OK)
            j->outcome = e;
    }
}

static void closed(struct job *j)
{
    for (size_t i = 0; i < j->count; i++)
        flusher_tell(j->logs[i], OK); /* whoever waited for the last flush */
    if (j->fn)
        j->fn(j->arg, j->outcome);
}

/* The last: nothing else is under way any more. */
static void close_now(struct log_manager *m)
{
    struct job *j = job_new(m, run_close, closed);
    take_logs(m, NULL, j);
    j->fn = m->closed;
    j->arg = m->closed_arg;
    m->closed = NULL;
    m->is_close_wanted = false;
    submit(j);
}

void log_manager_close(struct log_manager *m, log_manager_fn *fn, void *arg)
{
    CHECK(!m->is_closing);
    m->is_closing = true;
    timer_stop(m->home, &m->checkpoint.timer);
    timer_stop(m->home, &m->retention.timer);
    for (size_t i = 0; i < m->table_size; i++) {
        if (!m->table[i])
            continue;
        log_lock(m->table[i]);
        m->table[i]->is_closing = true;
        log_unlock(m->table[i]);
    }
    m->closed = fn;
    m->closed_arg = arg;
    m->is_close_wanted = true;
    if (m->jobs == 0)
        close_now(m);
}

static void free_callers(struct caller *c)
{
    for (struct caller *next; c; c = next) {
        next = c->next;
        mem_free(c);
    }
}

static void destroy(struct log_manager *m)
{
    for (size_t i = 0; i < m->table_size; i++)
        log_unref(m->table[i]);
    for (size_t i = 0; i < m->slot_count; i++) {
        struct slot *s = &m->slots[i];
        for (size_t n = 0; n < s->recovered_count; n++)
            log_unref(s->recovered[n]);
        mem_free(s->recovered);
        if (s->dir) {
            log_dir_stop(s->dir);
            log_dir_unref(s->dir);
        }
    }
    free_callers(m->checkpoint.running);
    free_callers(m->checkpoint.waiting);
    free_callers(m->retention.running);
    free_callers(m->retention.waiting);
    mem_free(m->table);
    mem_free(m->dir_ids);
    mem_free(m->slots);
    mem_free(m);
}

void log_manager_free(struct log_manager *m)
{
    if (!m)
        return;
    timer_stop(m->home, &m->checkpoint.timer);
    timer_stop(m->home, &m->retention.timer);
    m->is_freed = true;
    if (m->jobs == 0)
        destroy(m);
}
