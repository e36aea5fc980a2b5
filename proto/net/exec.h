/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads: named workers for what may not run on a loop (fdatasync, cold
 * reads, recovery, cleaning, SQLite). The fourth door: no other thread and no
 * condition wait anywhere. A simulator gives its own backend, in which a job
 * takes virtual time.
 *
 * `run` does the blocking work, on a worker, on what the job owns. `done` runs
 * on the job's home loop, by mail, exactly once per submitted job. Jobs of one
 * exec start in order; with one thread they also end in order.
 */
#ifndef SLUICE_NET_EXEC_H
#define SLUICE_NET_EXEC_H

#include "proto/net/loop.h"

struct exec_job {
    struct mail mail; /* exec's, while submitted */
    void (*run)(struct exec_job *job);
    void (*done)(struct exec_job *job); /* may free the job or submit it again */
    struct loop *home;
};

/* The simulator's side of the door: first member of its own struct. */
struct exec {
    const struct exec_ops *ops;
};
struct exec_ops {
    void (*submit)(struct exec *e, struct exec_job *job);
    size_t (*backlog)(const struct exec *e);
    void (*free)(struct exec *e);
};
/* For backends: posts `done` to the job's home. Any thread. */
void exec_job_finish(struct exec_job *job);

/* threads >= 1. The name shows in `top -H`. */
struct exec *exec_new(const char *name, unsigned threads);
/* Runs what was submitted, then joins the threads. `done`s are posted; turn the loops to see them.
 */
void exec_free(struct exec *e);
/* Any thread. Never blocks. */
void exec_submit(struct exec *e, struct exec_job *job);
/* Jobs submitted and not yet done with run. For metrics. */
size_t exec_backlog(const struct exec *e);

/* A thread that runs a loop and is named like it. Signals are left to the other threads. */
struct loop_thread;
struct loop_thread *loop_thread_start(struct loop *l);
/* Stops the loop and joins. Not from the thread itself. */
void loop_thread_stop(struct loop_thread *t);

#endif
