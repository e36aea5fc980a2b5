/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of a log, shared by log*.c, recovery.c, flusher.c and log_dir.c. */
#ifndef SLUICE_LOG_LOG_PRIV_H
#define SLUICE_LOG_LOG_PRIV_H

#include <pthread.h>
#include <stdatomic.h>

#include "broker/log/epoch_cache.h"
#include "broker/log/log.h"
#include "broker/log/log_dir.h"
#include "broker/log/segment.h"

/* Where the last batches of the active segment begin: a ring, so that whoever follows the tail is
 * served without a look at index or file. */
enum { RECENT_MAX = 64 };
struct recent_batch {
    int64_t base_offset;
    uint32_t pos;
};
struct recent {
    uint32_t count; /* <= RECENT_MAX */
    uint32_t next;  /* where the next one goes */
    struct recent_batch batches[RECENT_MAX];
};

/* What is known of a log without its files. Recovery finds it, the clean marker keeps it. */
struct log_summary {
    int64_t start_offset;
    struct log_place end; /* base: of the active segment */
    struct log_place flushed;
    int64_t high_watermark;
    uint64_t size_bytes;
    uint32_t segment_count;
};

/*
 * Not loaded: only the summary is there, no file was opened since the start (thousands of idle
 * partitions cost nothing). Loaded: the segments are listed and the epochs read; files open as
 * they are used.
 */
struct log {
    pthread_mutex_t lock; /* guards all below but the constants */
    _Atomic uint32_t refs;

    /* Constant. */
    struct log_dir *dir; /* a reference */
    const struct fsio *io;
    struct log_identity id;
    char *path;
    uint32_t slot; /* in the points file */

    struct log_conf conf;
    err unusable; /* OK, or what every use is answered with */
    bool is_loaded;
    bool is_closing; /* no more appends */
    bool is_flush_queued;
    bool names_are_new;  /* a segment was created or removed since its directory was synced */
    bool point_is_stale; /* something in it changed since it was put */
    bool was_power_lost; /* an unclean stop, and another boot since */
    struct log_summary sum;
    struct segment
        *segments; /* ascending; the last is the active one; empty: see log_ensure_active */
    uint32_t segment_capacity; /* sum.segment_count of them are used */
    struct epoch_cache epochs;
    int32_t begun_epoch; /* -1, or one that began at the end before the epochs were read */
    struct recent *recent;
    uint32_t truncations;
    uint64_t bytes_since_point; /* appended since the written place was recorded */
    bool was_used;              /* since the last settling */
    bool has_grown;             /* since the last checkpoint */
    uint8_t idle_runs;
    struct log_loss loss;
    log_flushed_fn *flushed_fn;
    void *flushed_arg;
    struct log *next_queued; /* flusher's */
};

/* All [locked] unless said otherwise. */

/* Not locked, for log_dir: takes nothing, copies. */
struct log *log_new(struct log_dir *d, const struct log_identity *id, uint32_t slot,
                    const struct log_conf *conf, const struct log_summary *sum);
static inline struct segment_dir log_segment_dir(const struct log *g)
{
    return (struct segment_dir){.io = g->io, .path = g->path};
}
struct segment_opts log_segment_opts(const struct log *g);
static inline struct segment *log_active(struct log *g)
{
    return &g->segments[g->sum.segment_count - 1];
}
/* How much of a segment to map: all that it may grow to. */
size_t log_map_bytes(const struct log *g, const struct segment *seg);

err log_ensure_loaded(struct log *g) MUST_USE;
/* Refuses what may not be written to. */
err log_check_writable(const struct log *g) MUST_USE;
/* A new active segment at the end. */
err log_roll(struct log *g) MUST_USE;
/* The segment that holds, or would hold, an offset; the first if it is below all. */
struct segment *log_segment_of(struct log *g, int64_t offset);
/* Records the log's places and marks in its slot. E_STORAGE fences. */
err log_put_point(struct log *g) MUST_USE;
void log_schedule_flush(struct log *g);
/* Cuts to a place, which is a batch boundary; later segments go. Any failure fences. */
err log_cut_to(struct log *g, const struct log_place *place) MUST_USE;
/* Renames the files of whole segments below the start offset to .deleted, the first `max` at most;
 * the start must be durable (points_sync). bases: theirs. A failure fences. */
err log_drop_below_start(struct log *g, int64_t *bases, size_t max, size_t *dropped) MUST_USE;
/* Removes the epochs' file, durably. Not locked. */
err log_remove_epochs(const struct fsio *io, const char *path) MUST_USE;
void log_recent_push(struct log *g, int64_t base_offset, uint32_t pos);
void log_recent_cut(struct log *g, int64_t end_offset);
/* The newest of the recent batches at or below an offset, or at or below a position and an offset.
 * NULL: none. */
const struct recent_batch *log_recent_at(const struct log *g, int64_t offset);
const struct recent_batch *log_recent_floor(const struct log *g, uint32_t pos, int64_t offset);

/* Retention, compaction and closing use these; not locked. */
/* Prepares the segment with that base outside of the lock. E_NOT_FOUND: it is gone. */
err log_prepare_segment(struct log *g, int64_t base_offset) MUST_USE;
/* A checkpoint, in steps for many logs at once; see log_dir_checkpoint. Not locked; worker. */
struct log_staged {
    struct log *log;
    struct fsio_file *file; /* the epochs' new file, not yet synced; NULL: the old one will do */
    uint32_t truncations;
};
err log_stage_epochs(struct log *g, struct log_staged *staged) MUST_USE;
err log_commit_staged(struct log_staged *staged) MUST_USE;
void log_drop_staged(struct log_staged *staged);
/* Also notes that the active segment grew. */
err log_put_stale_point(struct log *g) MUST_USE;
/* [locked] Index entries that are only in memory go to their files. */
void log_spill_indexes(struct log *g);
/* To be called now and then: a log that was idle for some time frees what it need not hold. */
void log_settle(struct log *g);
/* For good: every later use is answered with e. Views stay valid. */
void log_end(struct log *g, err e);
/* Its directory may have another name, or be gone. */
bool log_has_ended(struct log *g);

/* The identity file. */
#define PARTITION_FILE "partition"
void partition_file_format(const struct log_identity *id, struct buf *out);
/* topic: TOPIC_NAME_MAX + 1 bytes, to which out->topic then points. */
err partition_file_read(const struct fsio *io, const char *dir, char *topic,
                        struct log_identity *out) MUST_USE;

#endif
