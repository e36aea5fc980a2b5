/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a log may forget: whole closed segments, oldest first, that are older
 * than retention.ms by their own records' timestamps, beyond retention.bytes, or
 * below the start offset. A pure decision; log_manager.c acts on it.
 *
 * Guarantees: never at or above the high watermark (rule D8); the active segment
 * only after it was closed by a roll, which is asked for when all its records
 * are too old. A clock that jumped ahead deletes no segment that was written to
 * within the retention time by the monotonic clock (mutant M41): `quiet_ms`.
 */
#ifndef SLUICE_LOG_RETENTION_H
#define SLUICE_LOG_RETENTION_H

#include "broker/log/log.h"

struct retention_segment {
    int64_t base_offset;
    int64_t next_offset;
    int64_t max_timestamp; /* ms; INT64_MIN: unknown, or no records */
    uint64_t size_bytes;
    int64_t quiet_ms; /* since this process last appended to it; INT64_MAX: it never did */
};

struct retention_input {
    const struct retention_segment *segments; /* ascending; the last is the active one */
    size_t count;
    int64_t start_offset;
    int64_t high_watermark;
    int64_t now_ms; /* wall clock */
};

struct retention_decision {
    int64_t start_offset; /* raise to this; the present one: nothing goes */
    bool roll_active;     /* close it first, and decide again */
};
struct retention_decision retention_decide(const struct log_conf *conf,
                                           const struct retention_input *in);

#endif
