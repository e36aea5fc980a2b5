/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file system in memory that can fail and lose power: the file door
 * (broker/log/fsio.h) for tests. It keeps apart what the process sees and what
 * is durable: a write is durable by sector after fdatasync, a name after
 * sync_dir of its directory.
 *
 * An operation can be made to fail, or to be the last: from then on the world
 * stands still and every operation fails. fake_fsio_crash then decides what is
 * found after a restart: what was not synced is kept, lost, or torn in any
 * subset of its 512-byte sectors and names. A failed fdatasync loses what it
 * did not write, and a later one does not bring it back, as in Linux.
 *
 * Paths are absolute. Files are at most FAKE_FILE_MAX bytes. Threads: any.
 */
#ifndef SLUICE_TESTS_SUPPORT_FAKE_FSIO_H
#define SLUICE_TESTS_SUPPORT_FAKE_FSIO_H

#include "broker/log/fsio.h"
#include "proto/base/rng.h"
#include "proto/base/slice.h"

enum { FAKE_FILE_MAX = 16 * 1024 * 1024, FAKE_SECTOR = 512 };

struct fake_fsio;
/* With an empty root and /proc's boot id. */
struct fake_fsio *fake_fsio_new(void);
void fake_fsio_free(struct fake_fsio *w);
const struct fsio *fake_fsio_io(struct fake_fsio *w);

/* --- faults ------------------------------------------------------------------ */
enum fake_fault {
    FAKE_FAIL,     /* E_STORAGE, without effect */
    FAKE_NO_SPACE, /* E_NO_SPACE from what needs space; a write gets half of its way. Else as
                      FAKE_FAIL */
    FAKE_SHORT,    /* E_STORAGE; a write gets half of its way */
    FAKE_DIE       /* it works, and is the last one */
};
/* How many operations there were so far. */
uint64_t fake_fsio_ops(const struct fake_fsio *w);
/* The operation with that number (the next one is fake_fsio_ops) does not go well. UINT64_MAX:
 * none. */
void fake_fsio_fault_at(struct fake_fsio *w, uint64_t op, enum fake_fault fault);
/* From now on no write gets space, or all do again. */
void fake_fsio_set_full(struct fake_fsio *w, bool is_full);
bool fake_fsio_is_dead(const struct fake_fsio *w);
/* Whether the fault happened, and what it hit: a static name such as "fdatasync". */
bool fake_fsio_has_faulted(const struct fake_fsio *w, const char **operation);
/* Pages that were not read yet: is_resident says no until populate. */
void fake_fsio_set_cold(struct fake_fsio *w, bool is_cold);

enum fake_crash {
    FAKE_KILL,     /* of the process alone: nothing is lost, the boot id stays */
    FAKE_LOSE_ALL, /* of the machine: what was not synced is gone */
    FAKE_LOSE_SOME /* of the machine: some of it is, as rng says */
};
/* Restarts the world. All files must have been closed, all maps unmapped. */
void fake_fsio_crash(struct fake_fsio *w, enum fake_crash how, struct rng *rng);

/* --- a look from outside; not counted, never fails --------------------------- */
/* A file's bytes as the process sees them; may be changed in place (then it is durable damage: both
 * sides). */
bool fake_fsio_has(const struct fake_fsio *w, const char *path);
struct slice fake_fsio_get(const struct fake_fsio *w, const char *path);
/* Makes or replaces a durable file, and the directories above it. */
void fake_fsio_put(struct fake_fsio *w, const char *path, struct slice bytes);
void fake_fsio_remove(struct fake_fsio *w, const char *path);
/* Every file below a directory, in order of path. */
typedef void fake_file_fn(void *arg, const char *path, struct slice bytes);
void fake_fsio_each(const struct fake_fsio *w, const char *dir, fake_file_fn *fn, void *arg);
/* A checksum of all names and bytes below a directory: did anything change? */
uint32_t fake_fsio_digest(const struct fake_fsio *w, const char *dir);

#endif
