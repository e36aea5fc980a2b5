/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log of one partition: segments with consecutive offsets, of which the
 * last is appended to.
 *
 * Guarantees: a batch is wholly present or absent after recovery; offsets from
 * the start offset to the end are dense as the batches say; what was flushed
 * before a crash is there after it; bytes, once written, never change.
 *
 * Threads: a log has one lock, which is also its partition's lock: functions
 * marked [locked] need it, from any thread. Under it nothing slower than
 * `write` happens. Views of a read stay valid without the lock until released.
 * Not here: who leads, the high watermark, who waits (broker/replica/).
 */
#ifndef SLUICE_LOG_LOG_H
#define SLUICE_LOG_LOG_H

#include <stdbool.h>

#include "proto/base/err.h"
#include "proto/base/rng.h"
#include "proto/base/slice.h"
#include "proto/wire/batch.h"

struct log;
struct log_dir;

/* What a topic's configs say to its logs. Values; a change replaces them whole. */
struct log_conf {
    uint32_t segment_bytes;
    int64_t segment_ms;
    uint32_t index_interval_bytes;
    uint32_t index_bytes_max; /* segment.index.bytes */
    int64_t retention_ms;     /* -1: none */
    int64_t retention_bytes;  /* -1: none */
    int64_t file_delete_delay_ms;
    bool fsync;          /* durability=fsync; false: page-cache */
    bool cleanup_delete; /* cleanup.policy has delete */
    bool cleanup_compact;
    bool preallocate;
};

struct log_identity {
    const char *topic;
    uint32_t partition;
    struct uuid topic_id;
};

/* Counted: the manager holds one reference, whoever keeps a pointer beyond a callback another. Any
 * thread. */
struct log *log_ref(struct log *g);
void log_unref(struct log *g);
void log_lock(struct log *g);
void log_unlock(struct log *g);
const struct log_identity *log_identity(const struct log *g);
void log_set_conf(struct log *g, const struct log_conf *conf); /* [locked] */
const struct log_conf *log_get_conf(const struct log *g);      /* [locked] */

/* --- ends [locked] ----------------------------------------------------------- */
int64_t log_start_offset(const struct log *g);
int64_t log_end_offset(const struct log *g);     /* of the next record */
int64_t log_flushed_offset(const struct log *g); /* below it all is durable */
uint64_t log_size_bytes(const struct log *g);
size_t log_segment_count(const struct log *g);
/* The epoch of the last batch, -1 if there is none; and the end of an epoch for divergence (rule
 * F3): the largest epoch <= asked that the log has, and its end offset; -1 and the start offset if
 * it has none. */
int32_t log_last_epoch(const struct log *g);
err log_epoch_end(struct log *g, int32_t asked, int32_t *epoch, int64_t *end_offset) MUST_USE;
/* Rule L1: remembers that the epoch starts at the log's end. */
err log_begin_epoch(struct log *g, int32_t epoch) MUST_USE;

/* Counts truncations: what was said of ends before the last one is void. */
uint32_t log_truncation_count(const struct log *g);
/* The high watermark, noted so that a checkpoint records it and retention stays below it (rule D8);
 * never lowered but by truncation. At the start: the recorded one, a lower bound (rule L2). */
void log_note_high_watermark(struct log *g, int64_t offset);
int64_t log_noted_high_watermark(const struct log *g);

/* What recovery found missing (rule E2). */
struct log_loss {
    bool is_lossy;      /* durable data is gone: may not lead while another can */
    bool dropped_bytes; /* bytes that were never durable were cut: elected last */
    int64_t from, to;   /* lossy: offsets that may be lost, [from, to) */
};
struct log_loss log_loss(const struct log *g);
/* It was repaired from a leader, or whoever decides took it as it is: forgets the loss, durably
 * with the next checkpoint. */
err log_clear_loss(struct log *g) MUST_USE;
struct uuid log_dir_id_of(const struct log *g); /* of its data directory; any thread */

/* --- append [locked] --------------------------------------------------------- */
/* A batch to append. header (canonical, all fields but offset, epoch and header CRC final) is
 * stamped in place; it may stand right in front of the records in memory, then both go as one
 * piece. */
struct log_batch {
    uint8_t *header;
    struct slice records;
    uint32_t last_offset_delta;
    uint32_t batch_crc;
    int64_t max_timestamp;
};
/*
 * Leader: assigns offsets from the log end on, in one write (more if a roll falls between).
 * first_offset: of batches[0]; the others follow. On an fsync log this schedules a flush.
 * E_NO_SPACE: cut back to where it was; nothing was appended. E_STORAGE: the directory is fenced
 * (rules L8, D7).
 */
err log_append(struct log *g, const struct log_batch *batches, size_t count, int32_t leader_epoch,
               int64_t *first_offset) MUST_USE;
/* Follower: canonical batches with offsets, as the leader's file has them; each CRC is checked
 * before anything is written (rule F6). E_CORRUPT, E_OUT_OF_ORDER_SEQUENCE for an offset that is
 * not the next. */
err log_append_as_is(struct log *g, struct slice batches) MUST_USE;
/* Rules D4, F4. Lowers the flushed end first; what was cut is gone durably when this returns OK. */
err log_truncate(struct log *g, int64_t end_offset) MUST_USE;
/* Everything goes; the log is empty and begins at offset. */
err log_reset(struct log *g, int64_t offset) MUST_USE;
/* Raises the start offset (records delete, followers), at most to the end; whole segments below it
 * go later. Survives kill -9 when this returns, and power loss after the next checkpoint. */
err log_raise_start(struct log *g, int64_t offset) MUST_USE;

/* --- read -------------------------------------------------------------------- */
/* Bytes of a mapped segment: whole batches, the first holds the offset asked for. */
struct log_view {
    struct slice bytes;      /* empty: nothing below max_offset yet */
    int64_t next_offset;     /* behind the last batch */
    struct segment_ref *ref; /* keeps the mapping; NULL with empty bytes */
};
struct log_read_opts {
    int64_t offset;
    int64_t max_offset; /* high watermark: nothing at or above it is returned */
    size_t max_bytes;
    bool at_least_one; /* a first batch larger than max_bytes is returned all the same */
    bool may_block; /* false: E_WOULD_BLOCK if pages would have to come from disk; see log_warm */
};
/* [locked] E_OFFSET_OUT_OF_RANGE: below the start or above the end. E_CORRUPT: a damaged batch
 * (rule S7). */
err log_read(struct log *g, const struct log_read_opts *opts, struct log_view *out) MUST_USE;
void log_view_release(struct log_view *v); /* any thread; not needed for empty views */
/* Not locked, on a worker: brings what such a read will touch into the page cache. Best effort. */
void log_warm(struct log *g, const struct log_read_opts *opts);

/* The first record at or after a timestamp (ms); E_NOT_FOUND. Not locked, on a worker: it may read
 * and decompress. Timestamp -3: the record with the largest timestamp. Nothing at or above
 * max_offset is found. */
struct log_found {
    int64_t offset;
    int64_t timestamp;
    int32_t leader_epoch;
};
err log_find_timestamp(struct log *g, int64_t timestamp, int64_t max_offset,
                       struct log_found *out) MUST_USE;

/* --- flushing ---------------------------------------------------------------- */
/* Called on the directory's home loop, not locked, whenever the flushed offset rose, and once with
 * an error when the directory is fenced. One call may still be under way on that loop when another
 * thread changes it: free arg by mail to that loop. */
typedef void log_flushed_fn(void *arg, struct log *g, err e);
void log_on_flushed(struct log *g, log_flushed_fn *fn, void *arg); /* [locked] */

#endif
