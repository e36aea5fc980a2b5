/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A world in memory for everything that stands on loops: virtual time, streams
 * between the loops of the world, workers that take virtual time. Nothing
 * sleeps, nothing depends on the machine: the same calls give the same run.
 *
 * Hosts do not matter, ports do: one listener per port. Names are not
 * resolved. There are no descriptors (loop_watch_fd).
 *
 * One thread: the world's driver turns all loops.
 */
#ifndef SLUICE_TESTS_SUPPORT_FAKE_LOOP_H
#define SLUICE_TESTS_SUPPORT_FAKE_LOOP_H

#include "proto/net/exec.h"
#include "proto/net/loop.h"

struct fake_world;

struct fake_opts {
    int64_t latency_us;    /* of bytes, ends and connecting */
    size_t window_bytes;   /* sent and not yet read, per direction; 0: 256 KiB */
    size_t read_bytes_max; /* one read moves at most so many; 0: no limit */
};

struct fake_world *fake_world_new(const struct fake_opts *opts);
/* Loops and workers are freed before it. */
void fake_world_free(struct fake_world *w);
/* May be changed at any time. */
struct fake_opts *fake_world_opts(struct fake_world *w);
int64_t fake_world_now_us(const struct fake_world *w);

struct loop *fake_world_loop(struct fake_world *w, const char *name);
/* Workers: a job runs duration_us after it was submitted, one at a time. Free with exec_free. */
struct exec *fake_world_exec(struct fake_world *w, int64_t duration_us);

/* One turn of every loop; then, if none had anything to do, on to the next moment at which one
 * has. False: there is none. */
bool fake_world_step(struct fake_world *w);
/* Steps until that much time has passed (it passes also if nothing happens). */
void fake_world_run(struct fake_world *w, int64_t us);

/* The connection of s breaks as by a reset: both ends fail with errno. */
void fake_sock_break(struct sock *s, int error);

#endif
