/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A data directory in a fake file system, without threads: for tests of the
 * log and of what a crash leaves of it. Flushing happens in flusher_run_now.
 */
#ifndef SLUICE_TESTS_LOG_WORLD_H
#define SLUICE_TESTS_LOG_WORLD_H

#include <stdio.h>
#include <stdlib.h>

#include "broker/log/flusher.h"
#include "broker/log/log_priv.h"
#include "proto/base/check.h"
#include "proto/base/mem.h"
#include "proto/wire/record.h"
#include "tests/support/fake_fsio.h"

#define WORLD_DIR "/data"
#define UNUSED __attribute__((unused))

enum { WORLD_LOGS_MAX = 16, WORLD_BATCH_MAX = 64 * 1024 };

struct world {
    struct fake_fsio *fs;
    const struct fsio *io;
    struct rng rng;
    struct log_conf conf;
    struct log_dir *dir;
    struct log *logs[WORLD_LOGS_MAX];
    size_t count;
    unsigned fences;
};

static UNUSED const struct log_conf small_conf = {
    .segment_bytes = 4096,
    .segment_ms = 7 * 86400 * (int64_t)1000,
    .index_interval_bytes = 512,
    .index_bytes_max = 4096,
    .retention_ms = -1,
    .retention_bytes = -1,
    .file_delete_delay_ms = 60000,
    .fsync = true,
    .cleanup_delete = true,
};

static UNUSED struct log_identity world_id(uint32_t n)
{
    return (struct log_identity){
        .topic = "orders.eu-1",
        .partition = n,
        .topic_id = {{0xab, 0xcd, 0x01, 0x23, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}}};
}

static UNUSED void world_init(struct world *w, uint64_t seed)
{
    *w = (struct world){.fs = fake_fsio_new(), .conf = small_conf};
    w->io = fake_fsio_io(w->fs);
    rng_init(&w->rng, seed);
}

static UNUSED void world_on_fenced(void *arg, struct log_dir *d, err e)
{
    (void)d;
    (void)e;
    ((struct world *)arg)->fences++;
}

/* Opens the directory and all that is in it. On failure nothing is open. */
static UNUSED err world_start(struct world *w)
{
    const struct log_dir_opts opts = {
        .io = w->io, .path = WORLD_DIR, .rng = &w->rng, .fenced = world_on_fenced, .fenced_arg = w};
    w->count = 0;
    w->fences = 0;
    err e = log_dir_open(&w->dir, &opts);
    if (e != OK) {
        w->dir = NULL;
        return e;
    }
    e = log_dir_scan(w->dir);
    for (size_t i = 0; e == OK && i < log_dir_found_count(w->dir); i++) {
        CHECK(w->count < WORLD_LOGS_MAX);
        e = log_dir_recover(w->dir, i, &w->conf, &w->logs[w->count]);
        if (e == OK)
            w->count++;
        else if (e == E_NOT_FOUND)
            e = OK;
    }
    if (e == OK)
        e = log_dir_begin(w->dir, w->logs, w->count);
    return e;
}

/* Ends as a crash does. */
static UNUSED void world_stop(struct world *w)
{
    for (size_t i = 0; i < w->count; i++)
        log_unref(w->logs[i]);
    w->count = 0;
    if (w->dir) {
        log_dir_stop(w->dir);
        log_dir_unref(w->dir);
    }
    w->dir = NULL;
}

static UNUSED void world_deinit(struct world *w)
{
    world_stop(w);
    fake_fsio_free(w->fs);
}

static UNUSED err world_create(struct world *w, uint32_t partition)
{
    const struct log_identity id = world_id(partition);
    struct log *g;
    err e = log_dir_create(w->dir, &id, &w->conf, &g);
    if (e != OK)
        return e;
    w->logs[w->count++] = g;
    e = log_dir_sync_created(w->dir, &g, 1);
    return e;
}

static UNUSED struct log *world_log(const struct world *w, uint32_t partition)
{
    for (size_t i = 0; i < w->count; i++) {
        if (w->logs[i]->id.partition == partition)
            return w->logs[i];
    }
    return NULL;
}

/* The clean end: as log_manager does it. */
static UNUSED err world_close(struct world *w)
{
    for (size_t i = 0; i < w->count; i++) {
        log_lock(w->logs[i]);
        w->logs[i]->is_closing = true;
        log_unlock(w->logs[i]);
    }
    err e = log_dir_flush_all(w->dir, w->logs, w->count);
    if (e == OK)
        e = log_dir_checkpoint(w->dir, w->logs, w->count);
    if (e == OK)
        e = log_dir_write_marker(w->dir, w->logs, w->count);
    return e;
}

static UNUSED err world_flush(struct world *w)
{
    return flusher_run_now(log_dir_flusher(w->dir));
}

/* --- batches ----------------------------------------------------------------- */

struct made_batch {
    uint8_t bytes[WORLD_BATCH_MAX]; /* canonical; offset and epoch not stamped */
    size_t size;
    struct log_batch batch; /* within */
};

/* count records with values of value_size bytes that tell of `tag`; timestamps from ts on, one
 * apart. */
static UNUSED void make_batch(struct made_batch *m, uint32_t count, size_t value_size, int64_t ts,
                              uint64_t tag)
{
    static char value[WORLD_BATCH_MAX];
    uint8_t *p = m->bytes + BATCH_HEADER_SIZE;
    CHECK(count * (value_size + 32) + BATCH_HEADER_SIZE < sizeof m->bytes);
    for (uint32_t i = 0; i < count; i++) {
        for (size_t n = 0; n < value_size; n++)
            value[n] = (char)('a' + (tag * 31 + i * 7 + n) % 26);
        const struct record r = {
            .offset_delta = i, .timestamp_delta = i, .value = slice_of(value, value_size)};
        p = record_write(p, &r);
    }
    struct batch b = {
        .record_count = count,
        .last_offset_delta = count - 1,
        .base_timestamp = ts,
        .max_timestamp = ts + count - 1,
        .producer_id = -1,
        .producer_epoch = -1,
        .base_sequence = -1,
        .records =
            slice_of(m->bytes + BATCH_HEADER_SIZE, (size_t)(p - (m->bytes + BATCH_HEADER_SIZE))),
    };
    b.batch_crc = batch_crc(&b);
    batch_write_header(&b, m->bytes);
    m->size = BATCH_HEADER_SIZE + b.records.size;
    m->batch = (struct log_batch){.header = m->bytes,
                                  .records = b.records,
                                  .last_offset_delta = b.last_offset_delta,
                                  .batch_crc = b.batch_crc,
                                  .max_timestamp = b.max_timestamp};
}

/* Appends one such batch as leader; its first offset, or an error. */
static UNUSED err world_append(struct log *g, uint32_t count, size_t value_size, int64_t ts,
                               uint64_t tag, int32_t epoch, int64_t *offset)
{
    static struct made_batch m;
    make_batch(&m, count, value_size, ts, tag);
    log_lock(g);
    const err e = log_append(g, &m.batch, 1, epoch, offset);
    log_unlock(g);
    return e;
}

/* --- reading back ------------------------------------------------------------ */

static UNUSED err world_read(struct log *g, int64_t offset, size_t max_bytes, struct log_view *v)
{
    log_lock(g);
    const struct log_read_opts opts = {.offset = offset,
                                       .max_offset = INT64_MAX,
                                       .max_bytes = max_bytes,
                                       .at_least_one = true,
                                       .may_block = true};
    const err e = log_read(g, &opts, v);
    log_unlock(g);
    return e;
}

typedef bool world_batch_fn(void *arg, const struct batch *b);

/* Reads all from the start on; every batch whole, right and next to the one before. false: not so,
 * and why. */
static UNUSED bool world_read_all(struct log *g, world_batch_fn *fn, void *arg, const char **why)
{
    log_lock(g);
    int64_t offset = log_start_offset(g);
    const int64_t end = log_end_offset(g);
    log_unlock(g);
    bool is_first = true;
    int32_t epoch = -1;
    while (offset < end) {
        struct log_view v;
        const err e = world_read(g, offset, 1500, &v);
        if (e != OK) {
            *why = err_name(e);
            return false;
        }
        int64_t next = offset;
        for (struct slice left = v.bytes; left.size;) {
            struct batch b;
            *why = NULL;
            if (batch_read_canonical(left, &b) != OK)
                *why = "not a batch";
            else if (batch_check_crcs(&b) != OK)
                *why = "a checksum is wrong";
            else if (is_first ? b.base_offset > next : b.base_offset != next)
                *why = "not dense";
            else if (b.leader_epoch < epoch)
                *why = "an epoch went back";
            else if (fn && !fn(arg, &b))
                *why = "not what was written";
            if (*why) {
                log_view_release(&v);
                return false;
            }
            epoch = b.leader_epoch;
            next = b.base_offset + b.last_offset_delta + 1;
            left = slice_sub(left, b.size, left.size);
            is_first = false;
        }
        const bool has_moved = v.bytes.size > 0 && v.next_offset == next && next > offset;
        log_view_release(&v);
        if (!has_moved) {
            *why = "a read did not get on";
            return false;
        }
        offset = next;
    }
    *why = "the end is not the log's";
    return offset == end;
}

#endif
