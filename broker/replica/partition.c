/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/replica/partition.h"

#include <stdatomic.h>

#include "proto/base/check.h"
#include "proto/base/diag.h"

struct partition {
    struct log *log; /* its lock guards all below that is not atomic */
    _Atomic uint32_t references;
    struct partition_conf conf;
    struct partition_role role;
    int64_t high_watermark;
    int64_t epoch_start;      /* the log's end when this leadership began */
    struct waitq unconfirmed; /* produces, for the high watermark to reach their end */
    struct waitq unread;      /* fetches, for it to pass their position */
    err failed;               /* OK, or why nothing can be confirmed any more */
    err stopped;              /* OK: not */
};

/* What this replica vouches for: durable records, or written ones where the topic says so. */
static int64_t own_progress(const struct partition *p)
{
    return p->conf.log.fsync ? log_flushed_offset(p->log) : log_end_offset(p->log);
}

/* [locked] Rule L3. The in-sync set is this replica alone until followers fetch (is_leader implies
 * it is in it). */
static void advance(struct partition *p, struct wait_fired *fired)
{
    if (!p->role.is_leader || p->role.isr_count < p->conf.min_insync_replicas)
        return;
    const int64_t to = own_progress(p);
    if (to <= p->high_watermark)
        return;
    CHECK(to <= log_end_offset(p->log));
    p->high_watermark = to;
    log_note_high_watermark(p->log, to);
    waitq_complete_to(&p->unconfirmed, to, fired);
    waitq_complete_to(&p->unread, to, fired);
}

/* [locked] */
static void end_waits(struct partition *p, err e, struct wait_fired *fired)
{
    waitq_complete_all(&p->unconfirmed, e, fired);
    waitq_complete_all(&p->unread, e, fired);
}

static void on_flushed(void *arg, struct log *g, err e)
{
    struct partition *p = arg;
    struct wait_fired fired = {0};
    log_lock(g);
    advance(p, &fired);
    if (e != OK) {
        p->failed = e;
        waitq_complete_all(&p->unconfirmed, e, &fired);
    }
    log_unlock(g);
    wait_fired_post(&fired);
}

struct partition *partition_new(struct log *log, const struct partition_conf *conf)
{
    struct partition *p = MEM_NEW(struct partition);
    p->log = log_ref(log);
    p->references = 1;
    p->conf = *conf;
    p->role = (struct partition_role){.leader_id = -1, .leader_epoch = -1};
    log_lock(log);
    log_set_conf(log, &conf->log);
    /* Rule L2: the recorded one is a lower bound. */
    p->high_watermark = log_noted_high_watermark(log);
    if (p->high_watermark < log_start_offset(log))
        p->high_watermark = log_start_offset(log);
    CHECK(p->high_watermark <= log_end_offset(log));
    log_on_flushed(log, on_flushed, p);
    log_unlock(log);
    return p;
}

struct partition *partition_ref(struct partition *p)
{
    atomic_fetch_add(&p->references, 1);
    return p;
}

void partition_unref(struct partition *p)
{
    if (atomic_fetch_sub(&p->references, 1) == 1) {
        CHECK(p->unconfirmed.count == 0);
        CHECK(p->unread.count == 0);
        log_unref(p->log);
        mem_free(p);
    }
}

const struct log_identity *partition_identity(const struct partition *p)
{
    return log_identity(p->log);
}

struct log *partition_log(const struct partition *p)
{
    return p->log;
}

void partition_set_conf(struct partition *p, const struct partition_conf *conf)
{
    struct wait_fired fired = {0};
    log_lock(p->log);
    p->conf = *conf;
    if (p->stopped == OK) {
        log_set_conf(p->log, &conf->log);
        advance(p, &fired);
    }
    log_unlock(p->log);
    wait_fired_post(&fired);
}

struct admit_rules partition_rules(struct partition *p)
{
    log_lock(p->log);
    const struct admit_rules rules = p->conf.rules;
    log_unlock(p->log);
    return rules;
}

/* [locked] Rule E2: nobody else could lead; what may be lost is told once, and no more held against
 * the log. */
static err own_up(struct partition *p)
{
    const struct log_loss loss = log_loss(p->log);
    const struct log_identity *id = log_identity(p->log);
    if (!loss.is_lossy)
        return OK;
    diag(DIAG_ERROR, "replica",
         "records that were durable may be lost; there is no other replica to have them from",
         "topic=%s partition=%u from=%lld to=%lld", id->topic, id->partition, (long long)loss.from,
         (long long)loss.to);
    return log_clear_loss(p->log);
}

err partition_set_role(struct partition *p, const struct partition_role *role)
{
    struct wait_fired fired = {0};
    err e = OK;
    log_lock(p->log);
    const bool is_old = role->leader_epoch < p->role.leader_epoch ||
                        (role->leader_epoch == p->role.leader_epoch &&
                         role->partition_epoch < p->role.partition_epoch);
    if (p->stopped == OK && !is_old) {
        const bool has_begun = p->role.is_leader && role->leader_epoch == p->role.leader_epoch;
        if (role->is_leader && !has_begun) {
            e = log_begin_epoch(p->log, role->leader_epoch);
            p->epoch_start = log_end_offset(p->log);
            if (e == OK && role->is_sole)
                e = own_up(p);
        }
        p->role = *role;
        if (e != OK)
            p->role.is_leader = false;
        if (p->role.is_leader)
            advance(p, &fired);
        else
            end_waits(p, E_NOT_LEADER, &fired);
    }
    log_unlock(p->log);
    wait_fired_post(&fired);
    return e;
}

void partition_get_role(struct partition *p, struct partition_role *out)
{
    log_lock(p->log);
    *out = p->role;
    log_unlock(p->log);
}

void partition_stop(struct partition *p, err e)
{
    struct wait_fired fired = {0};
    log_lock(p->log);
    p->stopped = e;
    p->role.is_leader = false;
    log_on_flushed(p->log, NULL, NULL);
    end_waits(p, e, &fired);
    log_unlock(p->log);
    wait_fired_post(&fired);
}

/* [locked] */
static err check_leader(const struct partition *p, int32_t claimed_epoch)
{
    if (p->stopped != OK)
        return p->stopped;
    if (claimed_epoch > p->role.leader_epoch)
        return E_UNKNOWN_LEADER_EPOCH;
    if (!p->role.is_leader)
        return p->role.leader_id < 0 ? E_LEADER_NOT_AVAILABLE : E_NOT_LEADER;
    if (claimed_epoch >= 0 && claimed_epoch < p->role.leader_epoch)
        return E_FENCED_LEADER_EPOCH;
    return OK;
}

err partition_check_leader(struct partition *p, int32_t claimed_epoch)
{
    log_lock(p->log);
    const err e = check_leader(p, claimed_epoch);
    log_unlock(p->log);
    return e;
}

err partition_append(struct partition *p, const struct partition_append *what,
                     struct partition_appended *out)
{
    struct wait_fired fired = {0};
    log_lock(p->log);
    err e = check_leader(p, what->claimed_epoch);
    if (e == OK && what->all && p->role.isr_count < p->conf.min_insync_replicas)
        e = E_NOT_ENOUGH_REPLICAS; /* rule L5 */
    if (e == OK)
        e = log_append(p->log, what->batches, what->count, p->role.leader_epoch, &out->base_offset);
    if (e == OK) {
        advance(p, &fired);
        out->high_watermark = p->high_watermark;
        out->log_start_offset = log_start_offset(p->log);
        out->leader_epoch = p->role.leader_epoch;
    }
    log_unlock(p->log);
    wait_fired_post(&fired);
    return e;
}

err partition_wait_confirmed(struct partition *p, struct waiter *w, struct wait_group *group,
                             int64_t offset, int32_t leader_epoch, bool *parked)
{
    log_lock(p->log);
    err e = check_leader(p, -1);
    if (e == OK && leader_epoch != p->role.leader_epoch)
        e = E_NOT_LEADER; /* it may have been cut meanwhile, and others be at its offset */
    *parked = e == OK && p->high_watermark < offset;
    if (*parked && p->failed != OK) {
        *parked = false;
        e = p->failed;
    }
    if (*parked)
        waitq_add(&p->unconfirmed, w, group, offset);
    log_unlock(p->log);
    return e;
}

err partition_wait_readable(struct partition *p, struct waiter *w, struct wait_group *group,
                            int64_t offset, bool *parked)
{
    log_lock(p->log);
    const err e = check_leader(p, -1);
    *parked = e == OK && p->high_watermark <= offset;
    if (*parked)
        waitq_add(&p->unread, w, group, offset + 1);
    log_unlock(p->log);
    return e;
}

bool partition_cancel_wait(struct partition *p, struct waiter *w)
{
    log_lock(p->log);
    const bool was_waiting = waitq_remove(w);
    log_unlock(p->log);
    return was_waiting;
}

bool partition_has_unconfirmed(struct partition *p)
{
    log_lock(p->log);
    const bool has = p->unconfirmed.count > 0;
    log_unlock(p->log);
    return has;
}

err partition_fetch(struct partition *p, int64_t offset, size_t max_bytes, bool at_least_one,
                    bool may_block, int32_t claimed_epoch, struct partition_read *out)
{
    log_lock(p->log);
    err e = check_leader(p, claimed_epoch);
    if (e == OK) {
        out->view = (struct log_view){.next_offset = offset};
        out->high_watermark = p->high_watermark;
        out->log_start_offset = log_start_offset(p->log);
        out->leader_epoch = p->role.leader_epoch;
        /* Between high watermark and log end: nothing to read yet, not out of range (rule L2). */
        const bool is_ahead = offset >= p->high_watermark && offset <= log_end_offset(p->log);
        const bool wants_none = max_bytes == 0 && !at_least_one &&
                                offset >= log_start_offset(p->log) && offset < p->high_watermark;
        if (!is_ahead && !wants_none) {
            const struct log_read_opts opts = {.offset = offset,
                                               .max_offset = p->high_watermark,
                                               .max_bytes = max_bytes,
                                               .at_least_one = at_least_one,
                                               .may_block = may_block};
            e = log_read(p->log, &opts, &out->view);
        }
    }
    log_unlock(p->log);
    return e;
}

void partition_warm(struct partition *p, int64_t offset, size_t max_bytes)
{
    log_lock(p->log);
    const int64_t high_watermark = p->high_watermark;
    log_unlock(p->log);
    const struct log_read_opts opts = {.offset = offset,
                                       .max_offset = high_watermark,
                                       .max_bytes = max_bytes,
                                       .at_least_one = true,
                                       .may_block = true};
    log_warm(p->log, &opts);
}

void partition_ends(struct partition *p, struct partition_ends *out)
{
    log_lock(p->log);
    *out = (struct partition_ends){.log_start_offset = log_start_offset(p->log),
                                   .high_watermark = p->high_watermark,
                                   .log_end_offset = log_end_offset(p->log),
                                   .flushed_offset = log_flushed_offset(p->log),
                                   .size_bytes = log_size_bytes(p->log),
                                   .segment_count = log_segment_count(p->log),
                                   .leader_epoch = p->role.leader_epoch,
                                   .is_leader = p->role.is_leader,
                                   .is_settled = p->high_watermark >= p->epoch_start};
    log_unlock(p->log);
}

err partition_delete_records(struct partition *p, int64_t before_offset, int64_t *start_offset)
{
    log_lock(p->log);
    err e = check_leader(p, -1);
    if (e == OK && before_offset == -1)
        before_offset = p->high_watermark;
    if (e == OK && (before_offset < 0 || before_offset > p->high_watermark))
        e = E_OFFSET_OUT_OF_RANGE;
    if (e == OK && before_offset > log_start_offset(p->log))
        e = log_raise_start(p->log, before_offset);
    if (e == OK)
        *start_offset = log_start_offset(p->log);
    log_unlock(p->log);
    return e;
}
