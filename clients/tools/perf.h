/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the `sluice perf` commands share: worker processes that start together,
 * their results in shared memory, and the summary.
 *
 * Each producer or consumer is a process of its own, as in life: it makes its
 * own handle after the fork, so nothing is shared but the machine. The parent
 * only waits. Times are clock_ns, which all processes share.
 */
#ifndef SLUICE_TOOLS_PERF_H
#define SLUICE_TOOLS_PERF_H

#include <stdatomic.h>

#include "clients/tools/cli.h"
#include "clients/tools/histogram.h"

enum { PERF_WORKERS_MAX = 64 };

/* Of one worker. */
struct perf_result {
    _Atomic uint64_t records; /* done so far */
    _Atomic uint64_t failed;
    int64_t started_ns; /* 0: it did not come that far */
    _Atomic int64_t ended_ns;
    struct histogram latency_ns;
};

struct perf_shared {
    _Atomic uint64_t total; /* for workers that share one goal */
    _Atomic uint64_t bytes;
    struct perf_result results[PERF_WORKERS_MAX];
};

struct perf {
    struct cli *cli;
    const char *topic;
    uint64_t records;      /* wanted, all workers together */
    uint64_t bytes_wanted; /* for the progress bar; 0: not known */
    size_t workers;
    unsigned roles; /* what handles the workers make: their configs are checked before */
    bool has_latency;
    struct perf_shared *shared;
    int ready_fd, go_fd; /* of a worker, see perf_ready */
};

/* In a process of its own; returns its exit status. */
typedef int perf_worker_fn(struct perf *p, size_t worker);

/* Runs the workers, waits, prints the summary. Returns the exit status: failed if a worker failed
 * or fewer records than wanted were done. */
int perf_run(struct perf *p, perf_worker_fn *fn);

/* A worker has done all that shall not be measured: waits for the others, then gives the time. */
int64_t perf_ready(struct perf *p);

/* Options as they are in all three. */
#define PERF_PROPERTY_OPTION                                                                       \
    {                                                                                              \
        .name = "property", .kind = OPTION_PAIRS, .value = "KEY=VALUE",                            \
        .help = "Any other config of the client; may be given again"                               \
    }

/* The part of n that falls to a worker. */
uint64_t perf_share(uint64_t n, size_t worker, size_t workers);

/* Bytes to send: printable, compressible to a good half. size bytes from a place that moves on with
 * i, so that neighbours differ. Made once. */
struct perf_payload {
    uint8_t *data;
    size_t size;
};
void perf_payload_init(struct perf_payload *p, size_t size);
void perf_payload_deinit(struct perf_payload *p);
const uint8_t *perf_payload_at(const struct perf_payload *p, uint64_t i);

#endif
