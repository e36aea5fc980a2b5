/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A partition as this broker holds it: its log, the role the cluster image
 * gives it, the high watermark, and who waits for that.
 *
 * Invariants: 1. the high watermark never goes back while a leader epoch lasts
 * and never exceeds the log end; 2. on a topic with durability=fsync it never
 * exceeds the flushed end (rule L3); 3. nothing is appended unless this broker
 * leads in its present epoch (rules L1, L8); 4. once its disk has failed nothing
 * more is confirmed, though what is durable can still be read (rule D7).
 *
 * Threads: any, unless said; one lock, the log's, inside. Counted references: the
 * table holds one, and so does every request that waits.
 */
#ifndef SLUICE_REPLICA_PARTITION_H
#define SLUICE_REPLICA_PARTITION_H

#include "broker/log/log.h"
#include "broker/replica/admit.h"
#include "broker/replica/waitq.h"

struct partition;

/* What the topic's effective configs say. Values. */
struct partition_conf {
    struct log_conf log;
    struct admit_rules rules;
    uint32_t min_insync_replicas; /* effective, from the topic's znode */
};

/* What the cluster image says. */
struct partition_role {
    bool is_leader;    /* of this process's incarnation */
    int32_t leader_id; /* -1: none */
    int32_t leader_epoch;
    uint32_t partition_epoch;
    uint32_t isr_count;
    bool is_sole; /* the only replica: it leads whatever it has lost, and says so (rule E2) */
};

/* References the log; does not lead yet. On the loop of the log directories, as partition_stop. */
struct partition *partition_new(struct log *log, const struct partition_conf *conf);
struct partition *partition_ref(struct partition *p);
void partition_unref(struct partition *p);

const struct log_identity *partition_identity(const struct partition *p);
struct log *partition_log(const struct partition *p);
void partition_set_conf(struct partition *p, const struct partition_conf *conf);
/* A copy of the rules, for admission without the lock. */
struct admit_rules partition_rules(struct partition *p);
/* Applies a newer role: lower epochs are ignored (rule C5). On losing the lead all waiters end with
 * E_NOT_LEADER. An error: the log did not begin the epoch, so this broker does not lead; the same
 * role tries again. */
err partition_set_role(struct partition *p, const struct partition_role *role) MUST_USE;
void partition_get_role(struct partition *p, struct partition_role *out);
/* For good: e to all waiters and to whoever comes later. */
void partition_stop(struct partition *p, err e);

/* --- produce ----------------------------------------------------------------- */
struct partition_append {
    const struct log_batch *batches;
    size_t count;
    bool all;              /* any of the requests is acks=-1: needs min.insync.replicas (rule L5) */
    int32_t claimed_epoch; /* the client's view; -1: none */
};
struct partition_appended {
    int64_t base_offset; /* of the first batch */
    int64_t high_watermark;
    int64_t log_start_offset;
    int32_t leader_epoch; /* appended in it */
};
err partition_append(struct partition *p, const struct partition_append *what,
                     struct partition_appended *out) MUST_USE;

/*
 * Two ways to wait, each ended by its condition, by an error, or by partition_cancel_wait. *parked
 * false: there is nothing to wait for, and w was not touched. An error: w was not parked either.
 *
 * A produce: until the high watermark reaches `offset`, the end of what was appended in
 * leader_epoch. E_NOT_LEADER: that epoch is over, and with it what is known of the record.
 * E_STORAGE: the disk failed, so that it cannot be confirmed any more.
 */
err partition_wait_confirmed(struct partition *p, struct waiter *w, struct wait_group *group,
                             int64_t offset, int32_t leader_epoch, bool *parked) MUST_USE;
/* A fetch: until the high watermark has passed `offset`. */
err partition_wait_readable(struct partition *p, struct waiter *w, struct wait_group *group,
                            int64_t offset, bool *parked) MUST_USE;
/* false: it was not waiting any more. After it, no completion of w is under way. */
bool partition_cancel_wait(struct partition *p, struct waiter *w);
/* Somebody waits for a confirmation. */
bool partition_has_unconfirmed(struct partition *p);

/* --- fetch -------------------------------------------------------------------- */
struct partition_read {
    struct log_view view;
    int64_t high_watermark;
    int64_t log_start_offset;
    int32_t leader_epoch;
};
/* The ends are set also with E_OFFSET_OUT_OF_RANGE. At the high watermark: OK and an empty view.
 * E_WOULD_BLOCK: see log_read; warm with partition_warm on a worker, then ask again with may_block.
 */
err partition_fetch(struct partition *p, int64_t offset, size_t max_bytes, bool at_least_one,
                    bool may_block, int32_t claimed_epoch, struct partition_read *out) MUST_USE;
void partition_warm(struct partition *p, int64_t offset, size_t max_bytes);

/* --- ends ---------------------------------------------------------------------- */
struct partition_ends {
    int64_t log_start_offset;
    int64_t high_watermark;
    int64_t log_end_offset;
    int64_t flushed_offset;
    uint64_t size_bytes;
    size_t segment_count;
    int32_t leader_epoch;
    bool is_leader;
    bool is_settled; /* the high watermark has reached where this leadership began (rule L2): until
                        then a former leader may have shown a higher one */
};
void partition_ends(struct partition *p, struct partition_ends *out);
/* E_OFFSET_OUT_OF_RANGE: above the high watermark. -1: the high watermark. */
err partition_delete_records(struct partition *p, int64_t before_offset,
                             int64_t *start_offset) MUST_USE;
/* The check that every client request begins with: E_NOT_LEADER, E_FENCED_LEADER_EPOCH,
 * E_UNKNOWN_LEADER_EPOCH, or what partition_stop said. */
err partition_check_leader(struct partition *p, int32_t claimed_epoch) MUST_USE;

#endif
