/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the broker tells on /metrics. Hot counters are one set per lane, changed
 * by its loop only; everything else is collected when somebody asks.
 */
#ifndef SLUICE_SERVER_SERVER_METRICS_H
#define SLUICE_SERVER_SERVER_METRICS_H

#include "proto/net/metrics.h"

struct lane_metrics {
    struct counter *bytes_in; /* appended batches */
    struct counter *batches_in;
    struct counter *writes;     /* runs: batches_in / writes is how many went together */
    struct counter *bytes_out;  /* fetched batches */
    struct counter *cold_reads; /* fetches that a worker had to warm */
};

struct server;
struct lane_metrics lane_metrics_new(struct metrics *m, size_t loop_index);
/* Collectors for everything a started broker has. */
void server_metrics_add(struct metrics *m, struct server *b);

#endif
