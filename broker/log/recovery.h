/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a partition's files hold after a stop that was not clean (rules D2, E2,
 * D9): finds the log's end by looking at every batch above the flushed point
 * and cuts what is not whole there. Nothing below the flushed point is looked
 * at, so the time it takes does not depend on the log's size.
 *
 * Guarantees: every record that was reported flushed is kept, or reported as
 * lost; no half batch stays; offsets above the flushed point are dense; a
 * second recovery changes nothing. A batch of an unknown format version is
 * refused, never cut.
 * Threads: any, one per partition; blocks.
 */
#ifndef SLUICE_LOG_RECOVERY_H
#define SLUICE_LOG_RECOVERY_H

#include "broker/log/log_priv.h"

struct recovery {
    const struct fsio *io;
    const char *path;          /* the partition's directory */
    const struct point *point; /* NULL: nothing is recorded of it; all of it is looked at */
    bool was_fenced;   /* a sync failed: what the cache shows may not be on the disk, nor ever get
                          there */
    bool is_same_boot; /* what was written is in the page cache: start from there */
};
struct recovered {
    struct log_summary sum;
    struct log_loss loss;
    bool has_changed; /* the recorded point does not tell the truth any more */
};
/* E_UNSUPPORTED_VERSION: a format of a later Sluice; nothing was changed. E_STORAGE. E_CORRUPT:
 * nothing recorded, and nothing recognisable there. */
err recovery_run(const struct recovery *r, struct recovered *out) MUST_USE;

#endif
