/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One data directory: who it belongs to, what it remembers of its partitions,
 * and whether it may still be written to.
 *
 *   lock             flock: one broker at a time
 *   meta             cluster, directory, broker and boot id, incarnation (rule D5)
 *   points           flushed points, start offsets, high watermarks (points.h)
 *   clean-shutdown   the marker: written last, removed before the first write (rule D6)
 *   fenced           an I/O error was seen: the page cache cannot be believed at the next start
 *   <partition>/     names.h; <partition>.deleted/ on its way out (rule E4)
 *
 * Guarantees: after an I/O error the directory is fenced for the rest of this
 * process's life (rules D7, L8): nothing is written any more, reads go on.
 * Threads: said at each function. Counted: each log holds a reference.
 */
#ifndef SLUICE_LOG_LOG_DIR_H
#define SLUICE_LOG_LOG_DIR_H

#include "broker/log/fsio.h"
#include "broker/log/log.h"
#include "broker/log/points.h"
#include "proto/net/exec.h"

struct log_dir;
struct flusher;

struct log_dir_meta {
    bool has_cluster_id;
    struct uuid cluster_id;
    struct uuid directory_id;
    int32_t broker_id;   /* -1: none */
    int64_t incarnation; /* -1: none */
    char boot_id[40];    /* of the machine's life in which it was last written to; empty: unknown */
};

struct log_dir_opts {
    const struct fsio *io;
    const char *path;
    /* Both NULL in tests: flushing happens in flusher_run_now, callbacks where they arise. */
    struct loop *home;
    struct exec *flush_exec; /* one thread; taken */
    struct rng *rng;         /* for the id of a new directory; used only in log_dir_open */
    /* Once, when it is fenced, on the home loop (without one: by whoever fenced it). */
    void (*fenced)(void *arg, struct log_dir *d, err e);
    void *fenced_arg;
};

/* Locks it and reads, or makes, its meta file. E_EXISTS: another broker holds it. E_CORRUPT: its
 * meta file is damaged, or gone while partitions are there. E_UNSUPPORTED_VERSION, E_STORAGE,
 * E_NO_SPACE. */
err log_dir_open(struct log_dir **out, const struct log_dir_opts *opts) MUST_USE;
/* Ends flushing; see flusher_free. What was scheduled is not flushed. */
void log_dir_stop(struct log_dir *d);
struct log_dir *log_dir_ref(struct log_dir *d);
void log_dir_unref(struct log_dir *d);
/* Reads a directory's meta file without opening the directory. E_NOT_FOUND, E_CORRUPT. */
err log_dir_read_meta(const struct fsio *io, const char *path, struct log_dir_meta *out) MUST_USE;
const char *log_dir_path(const struct log_dir *d);
const struct fsio *log_dir_io(const struct log_dir *d);
struct points *log_dir_points(struct log_dir *d);
const struct log_dir_meta *log_dir_meta(const struct log_dir *d);
/* Whether the machine still lives the life in which the directory was last written to, and no error
 * was seen. */
bool log_dir_is_same_boot(const struct log_dir *d);
/* Durable when it returns. One thread. */
err log_dir_set_meta(struct log_dir *d, const struct log_dir_meta *meta) MUST_USE;

/* --- start: scan, recover each, begin ---------------------------------------- */
/* Finds out what is there. Not yet written to. */
err log_dir_scan(struct log_dir *d) MUST_USE;
/* Was closed cleanly; until log_dir_begin. */
bool log_dir_is_clean(const struct log_dir *d);
size_t log_dir_found_count(const struct log_dir *d);
/* Makes the log of the nth find, recovered; any thread, different n at once. After a clean stop it
 * touches no file. E_NOT_FOUND: that find is no partition. E_STORAGE. A log that cannot be used
 * (format version, damage) is OK, and says so when used. */
err log_dir_recover(struct log_dir *d, size_t n, const struct log_conf *conf,
                    struct log **out) MUST_USE;
/* All recovered: from here on it is written to. Removes the marker, durably (rule D6). */
err log_dir_begin(struct log_dir *d, struct log *const *logs, size_t count) MUST_USE;

/* --- life -------------------------------------------------------------------- */
/* Makes a partition's directory, durable only after log_dir_sync_created. E_EXISTS. */
err log_dir_create(struct log_dir *d, const struct log_identity *id, const struct log_conf *conf,
                   struct log **out) MUST_USE;
err log_dir_sync_created(struct log_dir *d, struct log *const *logs, size_t count) MUST_USE;
/* Ends the log's use and renames its directory, durably. */
err log_dir_delete(struct log_dir *d, struct log *g) MUST_USE;
/* Removes what log_dir_delete, or retention, left to be removed and whose time has come. */
void log_dir_reap(struct log_dir *d, int64_t now_us);
/* path, relative to the directory, goes at due_us. Any thread. */
void log_dir_doom(struct log_dir *d, const char *path, bool is_dir, int64_t due_us);

bool log_dir_is_fenced(const struct log_dir *d); /* any thread */
/* Any thread, locked or not. */
void log_dir_fence(struct log_dir *d, err e);
struct flusher *log_dir_flusher(struct log_dir *d); /* NULL after log_dir_stop */

/* Records of these logs what changed since the last time: leader epochs, points; durable when it
 * returns. A failure fences. Worker. */
err log_dir_checkpoint(struct log_dir *d, struct log *const *logs, size_t count) MUST_USE;
/* Makes all that was appended so far durable, with one sync, and raises the flushed ends. The logs
 * take no more appends. */
err log_dir_flush_all(struct log_dir *d, struct log *const *logs, size_t count) MUST_USE;
/* Clean end: all logs are closed (log_close) and flushed; writes the marker, last. */
err log_dir_write_marker(struct log_dir *d, struct log *const *logs, size_t count) MUST_USE;

#endif
