/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The leader epochs of one log: where each began. It answers the question that
 * diverging replicas ask (rule F3). A cache: every batch carries its epoch, so
 * the file `leader-epochs` can be rebuilt by a walk over the headers (rule D3).
 *
 * Invariants: 1. epochs and start offsets ascend strictly; 2. an epoch without
 * batches exists only as the last entry.
 * Threads: its log's lock.
 */
#ifndef SLUICE_LOG_EPOCH_CACHE_H
#define SLUICE_LOG_EPOCH_CACHE_H

#include "broker/log/fsio.h"
#include "proto/base/buf.h"
#include "proto/base/slice.h"

struct epoch_entry {
    int32_t epoch;
    int64_t start_offset;
};

/* All zero is an empty cache. */
struct epoch_cache {
    struct epoch_entry *entries;
    size_t count, capacity;
    size_t unwritten; /* so many at the end are not in the file */
    bool is_dirty;    /* it differs otherwise, too */
};

void epoch_cache_deinit(struct epoch_cache *c);
/* The epoch begins at start_offset. No effect if it, or a later one, is known already. Empty epochs
 * at or above start_offset go. */
void epoch_cache_begin(struct epoch_cache *c, int32_t epoch, int64_t start_offset);
int32_t epoch_cache_last(const struct epoch_cache *c); /* -1: none */
/* The largest epoch <= asked and where it ends (the log's end if it is the last); false: none. */
bool epoch_cache_end_of(const struct epoch_cache *c, int32_t asked, int64_t log_end,
                        struct epoch_entry *out);
/* The epoch of the record at an offset; -1: below all. */
int32_t epoch_cache_at(const struct epoch_cache *c, int64_t offset);
/* What begins at or above end_offset goes (rule F4). */
void epoch_cache_truncate(struct epoch_cache *c, int64_t end_offset);
/* The log begins at start_offset now: earlier epochs go, the one it falls into begins there. */
void epoch_cache_raise_start(struct epoch_cache *c, int64_t start_offset);

/* Entries are written once something flushed belongs to them: an epoch that only began is not worth
 * a file (rule L1), and one whose batches may vanish would be stale. valid_to: the flushed end. */
bool epoch_cache_needs_write(const struct epoch_cache *c, int64_t valid_to);
/* The file's text, which then counts as written. */
void epoch_cache_format(struct epoch_cache *c, int64_t valid_to, struct buf *out);
/* E_CORRUPT: anything is out of order. c must be empty. */
err epoch_cache_parse(struct epoch_cache *c, struct slice body, int64_t *valid_to) MUST_USE;
/* E_NOT_FOUND, E_CORRUPT (both: rebuild), E_STORAGE. */
err epoch_cache_read(struct epoch_cache *c, const struct fsio *io, const char *dir,
                     int64_t *valid_to) MUST_USE;

#define EPOCH_FILE "leader-epochs"

#endif
