/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A segment: one data file of whole batches with consecutive offsets from
 * base_offset on, and its two sparse indexes.
 *
 * Guarantees: bytes below `size` are whole batches and never change; indexes
 * are hints, each entry is checked against the batch it points at; the file and
 * its mapping live as long as anyone has a reference (struct segment_ref).
 * Threads: its log's lock, but for the functions on segment_ref. Not here: when
 * to roll, flushing, what is durable (log.h, flusher.h).
 */
#ifndef SLUICE_LOG_SEGMENT_H
#define SLUICE_LOG_SEGMENT_H

#include <stdatomic.h>

#include "broker/log/index_file.h"
#include "broker/log/log.h"

/* Where a segment's files are. */
struct segment_dir {
    const struct fsio *io;
    const char *path;
};

/* The kernel's side of a segment: counted. */
struct segment_ref {
    _Atomic uint32_t refs;
    _Atomic uint32_t views; /* readers; while there are any, no byte is cut from under them */
    const struct fsio *io;
    struct fsio_file *file;
    const uint8_t *map; /* NULL until first read; its log's lock */
    size_t map_size;
};
struct segment_ref *segment_ref_get(struct segment_ref *ref);
void segment_ref_put(struct segment_ref *ref);
/* A reference that is counted as a view, too. */
struct segment_ref *segment_view_get(struct segment_ref *ref);
void segment_view_put(struct segment_ref *ref);

/* For walks over mapped bytes that may have to come from the disk, where a failure would be a
 * signal: brings bytes[pos, pos + size) in, a megabyte ahead. *ready: how far it got; starts as 0.
 * E_STORAGE. */
err map_ensure(const struct fsio *io, struct slice bytes, size_t *ready, size_t pos,
               size_t size) MUST_USE;

enum { SEGMENT_UNDAMAGED = UINT32_MAX };

struct segment {
    struct segment_dir dir;
    int64_t base_offset;
    int64_t next_offset;  /* behind the last batch */
    uint32_t size;        /* of whole batches, bytes */
    uint32_t file_size;   /* larger than size: a preallocated tail */
    uint32_t indexed_pos; /* of the last batch with an index entry */
    uint32_t damaged_pos; /* from here on a checksum was found wrong; SEGMENT_UNDAMAGED */
    uint32_t own_pos;     /* from here on this process wrote it */
    uint32_t checked_from, checked_to; /* before own_pos: checksums were looked at here */
    int64_t first_timestamp;
    int64_t max_timestamp;            /* valid if is_prepared */
    uint32_t max_rel_offset, max_pos; /* of the first batch that has it */
    int64_t last_append_us; /* by fsio's clock, no finer than a checkpoint; 0: not in this process's
                               life */
    bool is_prepared;       /* the indexes were made or checked by this process */
    struct segment_ref *ref; /* NULL: not open */
    struct index_file offsets, times;
};

struct segment_opts {
    uint32_t index_interval_bytes;
    uint32_t index_bytes_max;
    uint32_t preallocate_bytes; /* 0: none */
};

/* A file that exists, not opened yet. dir->path must outlive it. size: of its batches, as far as is
 * known. */
void segment_init(struct segment *seg, const struct segment_dir *dir, int64_t base_offset,
                  int64_t next_offset, uint32_t size, const struct segment_opts *opts);
/* A new, empty one. E_NO_SPACE, E_STORAGE (also if the file exists: nothing may be overwritten). */
err segment_create(struct segment *seg, const struct segment_dir *dir, int64_t base_offset,
                   const struct segment_opts *opts) MUST_USE;
/* Forgets; the files stay. */
void segment_deinit(struct segment *seg);

/* Has a file to write to or map; opens it. */
err segment_open(struct segment *seg) MUST_USE;
/* At least `size` bytes of it are mapped; map_bytes: how much to map if it must. */
err segment_map(struct segment *seg, size_t map_bytes) MUST_USE;
/* Makes sure the indexes are sound and reach the end: checks the old ones, walks what lies behind
 * their last entry, all of it if they are in doubt. Blocks on the disk. E_WOULD_BLOCK: more than
 * batches_max to walk (what was walked need not be again). E_CORRUPT: bytes that are no batch. */
err segment_prepare(struct segment *seg, const struct segment_opts *opts,
                    uint32_t batches_max) MUST_USE;

/* Appends whole batches at size; bytes: their sum. On failure the file is cut back to size;
 * *is_intact: that worked, or was not needed. segment_note each batch afterwards. */
err segment_write(struct segment *seg, const struct iovec *iov, int count, size_t bytes,
                  bool *is_intact) MUST_USE;
struct segment_batch {
    int64_t base_offset;
    int64_t max_timestamp;
    uint32_t last_offset_delta;
    uint32_t size;
};
/* The batch at seg->size is there: size, next offset, timestamps and indexes follow. */
void segment_note(struct segment *seg, const struct segment_opts *opts,
                  const struct segment_batch *b);

/* Cuts at a batch boundary, in memory and in the file (in place, or into a new file while there are
 * views); synced when it returns. next_offset: what begins there. */
err segment_cut(struct segment *seg, uint32_t pos, int64_t next_offset) MUST_USE;
/* No more appends for now: trims data file and indexes. May fail without harm. */
void segment_seal(struct segment *seg);
/* Index entries in memory go to their files. */
void segment_spill(struct segment *seg);
/* Closes what is open and not in use. */
void segment_settle(struct segment *seg);

/* Removes the files, or renames them to .deleted (`later`). Data file first: an index alone is
 * nothing. */
err segment_remove(const struct segment_dir *dir, int64_t base_offset, bool later) MUST_USE;

/* A sealed segment's indexes, made durable; or removed, for they may be torn. */
err segment_sync_indexes(const struct segment_dir *dir, int64_t base_offset) MUST_USE;
err segment_drop_indexes(const struct segment_dir *dir, int64_t base_offset) MUST_USE;

/* --- positions; the segment is mapped and prepared --------------------------- */
/* The batch at a position below size. E_CORRUPT: shape or header checksum is wrong, or it does not
 * end within. */
err segment_batch_at(const struct segment *seg, uint32_t pos, struct batch *out) MUST_USE;
/* Looks at the checksums of the batches from a boundary on that neither this process wrote nor were
 * looked at before (rule S7). E_CORRUPT: damaged_pos is set. */
err segment_verify(struct segment *seg, uint32_t from, uint32_t to) MUST_USE;
/* The first batch that ends above offset, by index and walk: *pos is size if there is none.
 * E_CORRUPT: the walk met damage; damaged_pos is set. */
err segment_find(struct segment *seg, int64_t offset, uint32_t *pos, int64_t *base_offset) MUST_USE;
/* What the index alone says, without a look at the data: at or below where segment_find will begin
 * to walk, and where segment_extend will. */
uint32_t segment_floor_pos(struct segment *seg, int64_t offset);
uint32_t segment_floor_limit(struct segment *seg, uint32_t limit, int64_t max_offset);
/* From a batch boundary at `from` (its base offset from_offset) on: the last boundary <= limit, and
 * the offset that begins there; `from` itself if the first batch reaches over it. */
struct segment_span {
    uint32_t from;
    uint32_t limit; /* bytes; <= size */
    int64_t from_offset;
    int64_t max_offset; /* no batch at or above it */
};
err segment_extend(struct segment *seg, const struct segment_span *span, uint32_t *end,
                   int64_t *end_offset) MUST_USE;

#endif
