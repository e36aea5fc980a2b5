/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All logs of a broker, in all its data directories.
 *
 *   log_manager_new     locks the directories, reads who they belong to    (quick, blocks)
 *   ... cluster id, broker id and incarnation are checked and recorded      (before registering)
 *   log_manager_start   recovers the partitions in parallel, then `fn`      (workers)
 *   ... find, create, delete; flushing, checkpoints and retention run by themselves
 *   log_manager_close   flushes all, writes the clean marker last, then `fn`
 *   log_manager_free
 *
 * Guarantees: one broker per data directory; a directory that fails is fenced
 * alone; nothing is deleted but what log_manager_delete was asked for (rule E4).
 * Threads: the home loop, unless a function says otherwise. Callbacks run there.
 */
#ifndef SLUICE_LOG_LOG_MANAGER_H
#define SLUICE_LOG_LOG_MANAGER_H

#include "broker/log/fsio.h"
#include "broker/log/log.h"
#include "proto/net/exec.h"

struct log_manager;

typedef void log_dir_failed_fn(void *arg, const char *path, err e);

struct log_manager_opts {
    const struct fsio *io; /* fsio_posix() */
    struct loop *home;
    struct exec *workers; /* recovery, creation, retention; each directory's flusher is its own */
    struct rng *rng;      /* directory ids */
    const char *const *dirs;
    size_t dir_count;
    struct log_conf default_conf; /* of partitions found on disk, until log_set_conf */
    /* NULL: exec_new. For simulators: a directory's flusher, one thread; the manager frees it. */
    struct exec *(*new_exec)(void *arg, const char *name);
    void *new_exec_arg;
    /* 0: by log_manager_run_checkpoint and log_manager_run_retention only. */
    uint32_t checkpoint_interval_ms;
    uint32_t retention_interval_ms;
    /* A directory was fenced, once each; also when it cannot be opened at the start. May be NULL.
     */
    log_dir_failed_fn *dir_failed;
    void *dir_failed_arg;
};

/* What the data directories know of themselves. */
struct log_manager_identity {
    bool has_cluster_id;
    struct uuid cluster_id;
    int32_t broker_id;   /* -1: not assigned yet */
    int64_t incarnation; /* the lowest of all directories (rule E2: one may have been rolled back);
                            -1: none */
    bool was_clean;      /* every directory has its clean marker (rule D6) */
    bool same_boot;      /* the machine has not restarted since the last stop */
    size_t dir_count;    /* those that could be opened; their ids: */
    const struct uuid *dir_ids;
};

/* E_EXISTS: another broker holds a directory. E_STORAGE: no directory can be used.
 * E_INCONSISTENT_CLUSTER_ID: directories of different clusters or brokers. E_UNSUPPORTED_VERSION:
 * written by a newer Sluice. Each with a diag line that names the directory. */
err log_manager_new(const struct log_manager_opts *opts, struct log_manager **out) MUST_USE;
const struct log_manager_identity *log_manager_identity(const struct log_manager *m);
/* Durable in every directory when it returns; blocks for some fsyncs. cluster_id: refused
 * (E_INCONSISTENT_CLUSTER_ID) if another is recorded; incarnation: must not be lower than the
 * recorded one (E_STALE_BROKER_EPOCH). Write the incarnation before it is registered. */
err log_manager_set_identity(struct log_manager *m, const struct uuid *cluster_id,
                             int32_t broker_id, int64_t incarnation) MUST_USE;

typedef void log_manager_fn(void *arg, err e);
/* fn: every partition of every usable directory is known and recovered. E_STORAGE: no directory is
 * left. */
void log_manager_start(struct log_manager *m, log_manager_fn *fn, void *arg);

/* NULL: not here. */
struct log *log_manager_find(const struct log_manager *m, const struct uuid *topic_id,
                             uint32_t partition);
typedef void log_each_fn(void *arg, struct log *g);
void log_manager_each(const struct log_manager *m, log_each_fn *fn, void *arg);
size_t log_manager_count(const struct log_manager *m);

/* Creates the partition's directory, durably, in the data directory with the fewest partitions.
 * Requests of one turn share their fsyncs, so ask for all at once. g: NULL on errors. E_EXISTS: it
 * is here already (g is it). E_STORAGE, E_NO_SPACE. */
typedef void log_created_fn(void *arg, struct log *g, err e);
void log_manager_create(struct log_manager *m, const struct log_identity *id,
                        const struct log_conf *conf, log_created_fn *fn, void *arg);
/* The log is gone at once (E_UNKNOWN_TOPIC_OR_PARTITION to whoever still uses it), its directory
 * renamed durably when fn is called (fn may be NULL), and removed file_delete_delay_ms later (rule
 * E4). Views stay valid. */
void log_manager_delete(struct log_manager *m, struct log *g, log_manager_fn *fn, void *arg);

/* Now, on the workers; fn (may be NULL) when done. One that is under way is followed by another. */
void log_manager_run_checkpoint(struct log_manager *m, log_manager_fn *fn, void *arg);
void log_manager_run_retention(struct log_manager *m, log_manager_fn *fn, void *arg);

struct log_manager_stats {
    size_t dirs;
    size_t dirs_fenced;
    size_t logs;
    uint64_t size_bytes;
    uint64_t flushes;        /* group commits */
    uint64_t flushed_logs;   /* logs in them */
    uint64_t flush_us_total; /* time in fdatasync and syncfs */
};
/* Any thread. Sizes are as of the last checkpoint run. */
void log_manager_stats(const struct log_manager *m, struct log_manager_stats *out);

/* Appends are refused from now on (E_SHUTTING_DOWN), all is flushed, and the clean marker written,
 * last. */
void log_manager_close(struct log_manager *m, log_manager_fn *fn, void *arg);
/* After close's fn, or to end as a crash would: without a marker. Logs that are still referenced
 * stay readable until released. */
void log_manager_free(struct log_manager *m);

#endif
