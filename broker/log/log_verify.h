/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a log's files without a broker: for `sluice log dump` and
 * `sluice log verify`. Opens nothing for writing, changes nothing, trusts
 * nothing. On files that a running broker writes, the tail may look torn.
 * Threads: any. Blocks.
 */
#ifndef SLUICE_LOG_LOG_VERIFY_H
#define SLUICE_LOG_LOG_VERIFY_H

#include "broker/log/fsio.h"
#include "proto/base/rng.h"
#include "proto/wire/batch.h"

/* --- one segment file, batch by batch ---------------------------------------- */
struct segment_walk;
/* E_NOT_FOUND, E_STORAGE. The base offset is read from the file's name, -1 if that is not one. */
err segment_walk_open(struct segment_walk **out, const struct fsio *io, const char *path) MUST_USE;
/* The next batch; views into a mapping, until the walk is closed. OK: its shape is good, see *crcs
 * for its checksums. E_END: end of file, or nothing but padding or zeros from here on.
 * E_WOULD_BLOCK: half a batch. E_CORRUPT: not a batch. E_UNSUPPORTED_VERSION. After anything but OK
 * the walk does not go on. */
err segment_walk_next(struct segment_walk *w, struct batch *out, err *crcs) MUST_USE;
int64_t segment_walk_base_offset(const struct segment_walk *w);
uint64_t segment_walk_pos(const struct segment_walk *w);  /* of the next batch */
uint64_t segment_walk_size(const struct segment_walk *w); /* of the file */
void segment_walk_close(struct segment_walk *w);

/* --- a directory ------------------------------------------------------------- */
enum log_finding_kind {
    LOG_FINDING_NOTE,  /* legal, worth knowing: a torn tail that recovery will cut, a preallocated
                          tail */
    LOG_FINDING_DOUBT, /* a file that can be rebuilt is wrong: index, epochs */
    LOG_FINDING_DAMAGE /* records or identity */
};
struct log_finding {
    enum log_finding_kind kind;
    const char *path;
    int64_t pos;    /* in the file; -1: all of it */
    int64_t offset; /* of the record; -1: unknown */
    err error;
    const char *text; /* one sentence */
};
typedef void log_finding_fn(void *arg, const struct log_finding *f);

struct log_verify_report {
    size_t partitions;
    size_t segments;
    uint64_t batches;
    uint64_t records;
    uint64_t bytes;
    size_t notes, doubts, damages;
};
/*
 * path: a partition directory or a data directory. Checks identity, every batch's shape and both
 * CRCs, that offsets and epochs ascend without a gap between segments, that index entries point at
 * batch starts, the leader epochs, and the data directory's own files. Findings come as they are
 * met. OK: it was all read, whatever was found. E_NOT_FOUND: neither kind of directory. E_STORAGE:
 * could not be read.
 */
err log_verify(const struct fsio *io, const char *path, log_finding_fn *fn, void *arg,
               struct log_verify_report *report) MUST_USE;

#endif
