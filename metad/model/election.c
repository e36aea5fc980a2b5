/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rules kept here: C7 the leader epoch rises with every change of leader and
 * never otherwise falls; C8 who may lead; C9 the set never becomes empty by
 * deaths; E1 who leaves the set below the minimum stays eligible; E3 the lossy
 * leave both lists, unless there is nobody else to hold the data.
 */
#include "metad/model/election.h"

#include <string.h>

#include "proto/base/check.h"

const struct live_broker *live_broker_find(const struct live_brokers *live, int32_t id)
{
    size_t low = 0;
    size_t high = live->count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (live->brokers[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    if (low < live->count && live->brokers[low].id == id)
        return &live->brokers[low];
    return NULL;
}

static bool has(const int32_t *ids, uint32_t count, int32_t id)
{
    for (uint32_t i = 0; i < count; i++)
        if (ids[i] == id)
            return true;
    return false;
}

static bool same_ids(const int32_t *a, uint32_t a_count, const int32_t *b, uint32_t b_count)
{
    if (a_count != b_count)
        return false;
    for (uint32_t i = 0; i < a_count; i++)
        if (!has(b, b_count, a[i]))
            return false;
    return true;
}

/* With one replica there is nothing to repair from: it leads and reports what it may have lost. */
static bool is_disqualified(const struct partition_state *p, const struct live_broker *b)
{
    return b->lossy && p->replica_count > 1;
}

/* Who of the in-sync set goes: the dead and the lossy. Those that held everything committed become
 * eligible if the set falls below its minimum. Rule C9: where nobody of the set lives all its dead
 * stay in it, for each of them holds everything committed; nobody leads. */
static void update_lists(const struct partition_state *p, const struct live_brokers *live,
                         uint32_t min_insync, struct election *out)
{
    int32_t dead[REPLICAS_MAX];
    uint32_t isr_count = 0;
    uint32_t dead_count = 0;
    for (uint32_t i = 0; i < p->isr_count; i++) {
        const struct live_broker *b = live_broker_find(live, p->isr[i]);
        if (b == NULL)
            dead[dead_count++] = p->isr[i];
        else if (!is_disqualified(p, b))
            out->isr[isr_count++] = p->isr[i];
    }
    if (isr_count == 0) {
        memcpy(out->isr, dead, dead_count * sizeof dead[0]);
        isr_count = dead_count;
        dead_count = 0;
    }
    uint32_t eligible_count = 0;
    const bool keeps_eligible = isr_count < min_insync;
    for (uint32_t i = 0; keeps_eligible && i < p->eligible_count; i++) {
        const struct live_broker *b = live_broker_find(live, p->eligible[i]);
        const bool is_lossy = b != NULL && is_disqualified(p, b);
        if (!is_lossy && !has(out->isr, isr_count, p->eligible[i]))
            out->eligible[eligible_count++] = p->eligible[i];
    }
    for (uint32_t i = 0; keeps_eligible && i < dead_count; i++)
        if (!has(out->eligible, eligible_count, dead[i]))
            out->eligible[eligible_count++] = dead[i];
    out->state.isr = out->isr;
    out->state.isr_count = isr_count;
    out->state.eligible = out->eligible;
    out->state.eligible_count = eligible_count;
}

/* Rule C8, in the order of the replicas: the first is the preferred one. */
static const struct live_broker *choose(const struct partition_state *p, const int32_t *among,
                                        uint32_t among_count, const struct live_brokers *live)
{
    for (uint32_t i = 0; i < p->replica_count; i++) {
        if (!has(among, among_count, p->replicas[i]))
            continue;
        const struct live_broker *b = live_broker_find(live, p->replicas[i]);
        if (b != NULL && !is_disqualified(p, b))
            return b;
    }
    return NULL;
}

static void set_leader(struct election *out, const struct live_broker *b)
{
    struct partition_state *st = &out->state;
    st->leader = b != NULL ? b->id : NO_BROKER;
    st->leader_incarnation = b != NULL ? b->incarnation : 0;
    st->leader_epoch++;
    if (b == NULL)
        return;
    st->last_leader = b->id;
    if (has(out->isr, st->isr_count, b->id))
        return;
    /* An eligible one leads and is the whole set. The members it had, all dead, hold as much: they
     * become eligible. */
    for (uint32_t i = 0; i < st->isr_count; i++)
        if (!has(out->eligible, st->eligible_count, out->isr[i]))
            out->eligible[st->eligible_count++] = out->isr[i];
    uint32_t kept = 0;
    for (uint32_t i = 0; i < st->eligible_count; i++)
        if (out->eligible[i] != b->id)
            out->eligible[kept++] = out->eligible[i];
    st->eligible_count = kept;
    out->isr[0] = b->id;
    st->isr_count = 1;
}

static bool leader_stays(const struct partition_state *p, const struct live_brokers *live)
{
    const struct live_broker *b = live_broker_find(live, p->leader);
    return b != NULL && b->incarnation == p->leader_incarnation && !is_disqualified(p, b);
}

bool election_update(const struct partition_state *p, const struct live_brokers *live,
                     uint32_t min_insync, struct election *out)
{
    CHECK(p->replica_count <= REPLICAS_MAX);
    CHECK(p->isr_count + p->eligible_count <= REPLICAS_MAX);
    out->state = *p;
    update_lists(p, live, min_insync, out);
    if (p->leader == NO_BROKER || !leader_stays(p, live)) {
        const struct live_broker *b = choose(p, out->isr, out->state.isr_count, live);
        if (b == NULL)
            b = choose(p, out->eligible, out->state.eligible_count, live);
        if (b != NULL || p->leader != NO_BROKER)
            set_leader(out, b);
        if (out->state.isr_count >= min_insync)
            out->state.eligible_count = 0;
    }
    const struct partition_state *st = &out->state;
    const bool changed =
        st->leader_epoch != p->leader_epoch ||
        !same_ids(st->isr, st->isr_count, p->isr, p->isr_count) ||
        !same_ids(st->eligible, st->eligible_count, p->eligible, p->eligible_count);
    if (changed)
        out->state.partition_epoch++;
    return changed;
}

static void copy_lists(const struct partition_state *p, struct election *out)
{
    out->state = *p;
    for (uint32_t i = 0; i < p->isr_count; i++)
        out->isr[i] = p->isr[i];
    for (uint32_t i = 0; i < p->eligible_count; i++)
        out->eligible[i] = p->eligible[i];
    out->state.isr = out->isr;
    out->state.eligible = out->eligible;
}

bool election_prefer(const struct partition_state *p, const struct live_brokers *live,
                     struct election *out)
{
    CHECK(p->replica_count > 0);
    const int32_t preferred = p->replicas[0];
    const struct live_broker *b = live_broker_find(live, preferred);
    if (p->leader == preferred || b == NULL || is_disqualified(p, b) ||
        !partition_has_isr(p, preferred))
        return false;
    copy_lists(p, out);
    set_leader(out, b);
    out->state.partition_epoch++;
    return true;
}

void election_begin(const int32_t *replicas, uint32_t replica_count,
                    const struct live_brokers *live, struct election *out)
{
    CHECK(replica_count >= 1);
    CHECK(replica_count <= REPLICAS_MAX);
    memset(out, 0, sizeof *out);
    struct partition_state *st = &out->state;
    st->leader = NO_BROKER;
    st->last_leader = NO_BROKER;
    st->leader_epoch = -1;
    st->replicas = replicas;
    st->replica_count = replica_count;
    st->isr = out->isr;
    st->eligible = out->eligible;
    for (uint32_t i = 0; i < replica_count; i++)
        if (live_broker_find(live, replicas[i]) != NULL)
            out->isr[st->isr_count++] = replicas[i];
    set_leader(out, choose(st, out->isr, st->isr_count, live));
}
