/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Admission: what a produced `batches` field must fulfil before any of it is
 * appended, and its way into the form that the log writes. A pure function
 * over bytes; it writes into the frame (canonical headers are stamped in
 * place) and into an arena (headers of batches that came in another encoding).
 *
 * Checked: shape, format version, size, codec, attributes a client may set,
 * topic check, CRC, record count, offset deltas, timestamps, keys on compacted
 * topics. Uncompressed batches without a CRC get theirs here. Records are
 * never rewritten unless the topic demands another codec.
 *
 * Threads: one user per admit_ctx.
 */
#ifndef SLUICE_REPLICA_ADMIT_H
#define SLUICE_REPLICA_ADMIT_H

#include "broker/log/log.h"
#include "proto/base/mem.h"
#include "proto/wire/codec.h"

/* What a partition demands. Values; from the topic's effective configs. */
struct admit_rules {
    struct uuid topic_id;
    uint32_t partition;
    uint32_t batch_bytes_max;        /* max.message.bytes */
    bool log_append_time;            /* message.timestamp.type */
    int64_t timestamp_before_ms_max; /* message.timestamp.before.max.ms */
    int64_t timestamp_after_ms_max;  /* message.timestamp.after.max.ms */
    bool keys_required;              /* cleanup.policy has compact */
    bool has_codec;                  /* compression.type is not `producer` */
    enum batch_codec codec;
    int codec_level;
};

struct admit_ctx {
    struct codec_ctx *codecs;
    struct buf decoded; /* scratch */
    struct arena
        arena; /* what admitted batches need until they are appended; admit_ctx_reset ends it */
};
void admit_ctx_init(struct admit_ctx *x);
void admit_ctx_deinit(struct admit_ctx *x);
void admit_ctx_reset(struct admit_ctx *x);

enum { ADMIT_BATCHES_MAX = 256 }; /* in one partition of one request */

/*
 * Admits all batches of one partition, or none. out has room for
 * ADMIT_BATCHES_MAX. They borrow `segment` and the arena. On failure *why is
 * a sentence about which batch and what (static or in the arena).
 */
err admit(struct admit_ctx *x, const struct admit_rules *rules, struct slice segment,
          int64_t now_ms, struct log_batch *out, size_t *count, const char **why) MUST_USE;

#endif
