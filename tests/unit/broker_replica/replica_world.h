/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Logs in a file system in memory, under a manager whose workers and loops live
 * in virtual time: what the tests of partitions and of their table stand on.
 * Nothing is flushed, created or told until time passes (pass, world_settle).
 */
#ifndef SLUICE_TESTS_REPLICA_WORLD_H
#define SLUICE_TESTS_REPLICA_WORLD_H

#include "tests/support/test.h"

#include <stdio.h>
#include <string.h>

#include "broker/log/log_manager.h"
#include "broker/replica/partition.h"
#include "proto/base/mem.h"
#include "proto/wire/record.h"
#include "tests/support/fake_fsio.h"
#include "tests/support/fake_loop.h"

#define UNUSED __attribute__((unused))

enum { DIRS = 2, FLUSH_US = 1000, WORK_US = 2000, SECOND_US = 1000000 };

struct world {
    struct fake_fsio *fs;
    struct fake_world *time;
    struct loop *home, *net; /* of the directories; of a connection */
    struct exec *workers;
    struct log_manager *logs;
    struct rng rng;
    size_t dir_count;
    int64_t flush_us; /* what a flush takes, from world_open on */
    err started;      /* E_WOULD_BLOCK: not yet */
    unsigned failed_dirs;
};

static const char *const world_dirs[DIRS] = {"/a", "/b"};

static UNUSED const struct log_conf world_log_conf = {
    .segment_bytes = 1 << 20,
    .segment_ms = 7 * 86400 * (int64_t)1000,
    .index_interval_bytes = 4096,
    .index_bytes_max = 64 * 1024,
    .retention_ms = -1,
    .retention_bytes = -1,
    .file_delete_delay_ms = 60000,
    .fsync = true,
    .cleanup_delete = true,
};

static UNUSED void pass(struct world *w, int64_t us)
{
    fake_world_run(w->time, us);
}

/* Long enough for all that was begun. */
static UNUSED void world_settle(struct world *w)
{
    pass(w, SECOND_US / 2);
}

static struct exec *world_new_exec(void *arg, const char *name)
{
    (void)name;
    const struct world *w = arg;
    return fake_world_exec(w->time, w->flush_us);
}

static void world_on_failed(void *arg, const char *path, err e)
{
    (void)path;
    (void)e;
    ((struct world *)arg)->failed_dirs++;
}

static void world_on_started(void *arg, err e)
{
    ((struct world *)arg)->started = e;
}

/* Opens the directories and recovers what is in them. */
static UNUSED void world_open(struct world *w)
{
    const struct log_manager_opts opts = {.io = fake_fsio_io(w->fs),
                                          .home = w->home,
                                          .workers = w->workers,
                                          .rng = &w->rng,
                                          .dirs = world_dirs,
                                          .dir_count = w->dir_count,
                                          .default_conf = world_log_conf,
                                          .new_exec = world_new_exec,
                                          .new_exec_arg = w,
                                          .dir_failed = world_on_failed,
                                          .dir_failed_arg = w};
    w->started = E_WOULD_BLOCK;
    assert_ok(log_manager_new(&opts, &w->logs));
    log_manager_start(w->logs, world_on_started, w);
    world_settle(w);
    assert_ok(w->started);
}

static UNUSED void world_init(struct world *w, size_t dir_count)
{
    *w = (struct world){
        .fs = fake_fsio_new(), .rng = test_rng(), .dir_count = dir_count, .flush_us = FLUSH_US};
    w->time = fake_world_new(NULL);
    w->home = fake_world_loop(w->time, "home");
    w->net = fake_world_loop(w->time, "net");
    w->workers = fake_world_exec(w->time, WORK_US);
    world_open(w);
}

/* The manager ends as at a kill; nobody may hold a log. */
static UNUSED void world_close(struct world *w)
{
    log_manager_free(w->logs);
    w->logs = NULL;
    world_settle(w);
}

static UNUSED void world_deinit(struct world *w)
{
    if (w->logs)
        world_close(w);
    exec_free(w->workers);
    loop_free(w->net);
    loop_free(w->home);
    fake_world_free(w->time);
    fake_fsio_free(w->fs);
}

static UNUSED void world_restart(struct world *w, enum fake_crash how)
{
    world_close(w);
    fake_fsio_crash(w->fs, how, &w->rng);
    world_open(w);
}

/* --- operations of the file system that are counted from outside -------------------------- */

static UNUSED void fail_from(struct world *w, uint64_t in, enum fake_fault fault)
{
    fake_fsio_fault_at(w->fs, fake_fsio_ops(w->fs) + in, fault);
}

/* --- batches -------------------------------------------------------------------------------- */

enum { BATCH_BYTES_MAX = 4096 };

struct made_batch {
    uint8_t bytes[BATCH_BYTES_MAX];
    struct log_batch batch;
};

static UNUSED const struct log_batch *make_batch(struct made_batch *m, uint32_t records)
{
    uint8_t *const first = m->bytes + BATCH_HEADER_SIZE;
    uint8_t *p = first;
    for (uint32_t i = 0; i < records; i++) {
        const struct record r = {.offset_delta = i, .value = slice_str("a value")};
        assert_true((size_t)(p - m->bytes) + record_size(&r) <= sizeof m->bytes);
        p = record_write(p, &r);
    }
    struct batch b = {.record_count = records,
                      .last_offset_delta = records - 1,
                      .base_timestamp = 1000,
                      .max_timestamp = 1000,
                      .producer_id = -1,
                      .producer_epoch = -1,
                      .base_sequence = -1,
                      .records = slice_of(first, (size_t)(p - first))};
    b.batch_crc = batch_crc(&b);
    batch_write_header(&b, m->bytes);
    m->batch = (struct log_batch){.header = m->bytes,
                                  .records = b.records,
                                  .last_offset_delta = b.last_offset_delta,
                                  .batch_crc = b.batch_crc,
                                  .max_timestamp = b.max_timestamp};
    return &m->batch;
}

/* Appends one batch; claimed_epoch as in partition_append. */
static UNUSED err append(struct partition *p, uint32_t records, bool all, int32_t claimed_epoch,
                         struct partition_appended *out)
{
    static struct made_batch m;
    const struct partition_append what = {
        .batches = make_batch(&m, records), .count = 1, .all = all, .claimed_epoch = claimed_epoch};
    return partition_append(p, &what, out);
}

/* --- waiting -------------------------------------------------------------------------------- */

/* One waiter in a group of its own, and how often its mail came. */
struct wait {
    struct wait_group group; /* first: on_wait_fired goes from its mail to it */
    struct waiter waiter;
    unsigned fired;
};

static void on_wait_fired(struct mail *m)
{
    ((struct wait *)(void *)m)->fired++;
}

static UNUSED void wait_begin(struct world *w, struct wait *x)
{
    *x = (struct wait){0};
    wait_group_init(&x->group, w->net, on_wait_fired, 1);
}

#endif
