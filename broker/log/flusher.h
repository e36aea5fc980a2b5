/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Group commit for one data directory (rule D4): logs that have something to
 * be made durable queue up; one worker takes all that wait, syncs their files
 * in order, raises their flushed ends and tells them on the home loop. While it
 * syncs, the next group gathers.
 *
 * Guarantees: a flushed end is raised only after fdatasync (or syncfs) of every
 * segment below it, of the directory if a name in it is new, and never if the
 * log was truncated meanwhile. A failed sync is final: the directory is fenced
 * (rule D7), and every log hears of it once.
 * Above a number of files that it measures as it goes, one syncfs replaces the
 * many fdatasyncs. Threads: any, unless said.
 */
#ifndef SLUICE_LOG_FLUSHER_H
#define SLUICE_LOG_FLUSHER_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/base/err.h"

struct flusher;
struct log;
struct log_dir;
struct loop;
struct exec;

/* Takes exec (one thread). NULL: nothing runs by itself, see flusher_run_now. */
struct flusher *flusher_new(struct log_dir *dir, struct exec *exec, struct loop *home);
/* Ends its thread; what waits is not flushed. On the home loop, which must turn once more if a
 * group was under way: its callbacks come then, and the memory goes. */
void flusher_free(struct flusher *f);
/* The log is locked. It will be flushed to where its end is when the group is taken. */
void flusher_schedule(struct flusher *f, struct log *g);
/* Flushes what waits, on this thread, callbacks included. For tests, and for closing when nothing
 * else runs. */
err flusher_run_now(struct flusher *f);

/* Calls what log_on_flushed set. Home loop, not locked. */
void flusher_tell(struct log *g, err e);

struct flusher_stats {
    uint64_t groups;
    uint64_t logs;
    uint64_t sync_us;
};
struct flusher_stats flusher_stats(const struct flusher *f);

#endif
