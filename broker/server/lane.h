/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A lane: what the broker keeps per network loop, so that the hot path shares
 * nothing but partitions: scratch for admission, the partition last used, and
 * the run of produced batches that one wake-up brought together.
 *
 * Home thread: its loop's.
 */
#ifndef SLUICE_SERVER_LANE_H
#define SLUICE_SERVER_LANE_H

#include "broker/replica/admit.h"
#include "broker/replica/partition.h"
#include "broker/replica/partition_table.h"
#include "broker/server/server_metrics.h"
#include "proto/net/exec.h"
#include "proto/net/service.h"

enum { RUN_BATCHES_MAX = 2 * ADMIT_BATCHES_MAX }; /* there is always room for one more request's */

struct produce_op;

/* Batches for one partition that go to its log in one write, and who sent them. */
struct produce_run {
    struct partition *p; /* NULL: the run is empty */
    bool all;            /* acks=-1; requests of either kind do not share a run */
    int32_t claimed_epoch;
    size_t batch_count, item_count;
    struct log_batch batches[RUN_BATCHES_MAX];
    struct run_item {
        struct produce_op *op;
        uint32_t slot;
        uint32_t batch_count;
    } items[RUN_BATCHES_MAX];
};

struct lane {
    struct loop *loop;
    struct partition_table *table; /* borrowed */
    struct exec *readers;          /* borrowed: cold reads and searches */
    struct lane_metrics metrics;
    struct admit_ctx admit;
    int64_t wall_ms; /* of this wake-up; 0: not read yet */
    struct produce_run run;
    /* The partition last produced to and its rules: most requests of a wake-up are for the same
     * one. If it is deleted its files stay open until the next produce. */
    struct {
        struct partition *p;    /* referenced; NULL: none */
        uint32_t table_version; /* rules change with it, too */
        struct admit_rules rules;
    } last;
};

void lane_init(struct lane *ln, struct loop *loop, struct partition_table *table,
               struct exec *readers, struct lane_metrics metrics);
void lane_deinit(struct lane *ln);

#endif
