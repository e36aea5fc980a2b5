/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a data directory remembers of each partition between checkpoints of
 * nothing else: the flushed point (rule E2), the start offset and the high
 * watermark, in one file of fixed slots, `points`.
 *
 * Guarantees: each slot has two copies, in different pages, written in turn and
 * each with its checksum, so that a torn write leaves the older one. A put is
 * one small write: it survives kill -9 at once and power loss after points_sync.
 * What is recorded is never ahead of the truth: it is written after what it
 * tells of became durable, or, for values that go down, synced before.
 * Why slots and not a file per kind: docs/decisions/points-file.md.
 * Threads: any for different slots; a slot's puts are ordered by its log's lock.
 */
#ifndef SLUICE_LOG_POINTS_H
#define SLUICE_LOG_POINTS_H

#include "broker/log/fsio.h"
#include "proto/base/rng.h"

/* A place in a log: offset of the next record, and where in which segment it would stand. */
struct log_place {
    int64_t offset;
    int64_t base; /* of the segment */
    uint32_t pos;
    int32_t epoch; /* of the last batch below; -1: none */
};

struct point {
    struct uuid topic_id;
    uint32_t partition;
    bool is_resetting;   /* a log_reset to start_offset was begun: finish it */
    bool was_power_lost; /* the machine stopped while there were unflushed appends; until cleared */
    int64_t loss_from,
        loss_to; /* durable records that are gone (rule E2), until cleared; equal: none */
    struct log_place flushed;
    struct log_place
        written; /* written, if not yet durable; trusted only within one boot of the machine */
    int64_t start_offset;
    int64_t high_watermark;
};

enum { POINT_SIZE = 128, POINTS_PER_PAGE = 4096 / POINT_SIZE, POINTS_MAX = 1 << 20 };

/* Reads dir/points without changing it: every slot that is taken, its newest copy. E_NOT_FOUND. */
typedef void points_fn(void *arg, uint32_t slot, uint64_t seq, const struct point *p);
err points_read(const struct fsio *io, const char *dir, points_fn *fn, void *arg) MUST_USE;

struct points;
/* Opens or creates dir/points and reads it. */
err points_open(struct points **out, const struct fsio *io, const char *dir) MUST_USE;
void points_close(struct points *t);
/* What was found, by slot. false: the slot is free or damaged. */
uint32_t points_slots(const struct points *t);
bool points_found(const struct points *t, uint32_t slot, struct point *out);
/* Drops what points_found tells; the slots stay taken. */
void points_forget_found(struct points *t);

/* A free slot, taken; its blocks are there for later puts. E_OVERLOADED: POINTS_MAX are. */
err points_take(struct points *t, uint32_t *slot) MUST_USE;
err points_put(struct points *t, uint32_t slot, const struct point *p) MUST_USE;
/* Both copies gone; the slot is free again. */
err points_release(struct points *t, uint32_t slot) MUST_USE;
err points_sync(struct points *t) MUST_USE;

/* Pure, for tests: one copy. E_CORRUPT. */
void point_encode(const struct point *p, uint64_t seq, uint8_t out[POINT_SIZE]);
err point_decode(const uint8_t in[POINT_SIZE], struct point *p, uint64_t *seq) MUST_USE;

#define POINTS_FILE "points"

#endif
