/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who leads a partition, decided from its state and the brokers that live.
 * Pure. Rules C7, C8, C9, E1, E3 of docs/design.md; the controller writes what
 * comes out.
 */
#ifndef SLUICE_MODEL_ELECTION_H
#define SLUICE_MODEL_ELECTION_H

#include "metad/model/cluster.h"

struct live_broker {
    int32_t id;
    uint64_t incarnation;
    bool lossy; /* it registered after losing durable data, and has not caught up since (rule E2) */
};
/* Sorted by id. */
struct live_brokers {
    const struct live_broker *brokers;
    size_t count;
};
const struct live_broker *live_broker_find(const struct live_brokers *live, int32_t id);

enum { REPLICAS_MAX = 16 }; /* of a partition */

/* A state whose id lists are its own: the caller's memory. */
struct election {
    struct partition_state state;
    int32_t isr[REPLICAS_MAX], eligible[REPLICAS_MAX];
};

/*
 * The state that p should have when these brokers live; false: the one it has. The dead leave the
 * in-sync set (to `eligible` where that goes below min_insync), but if all of it is dead it stays
 * as it is, without a leader; the lossy leave both lists, unless the partition has a single
 * replica. A leader that is dead, or lives another life than the one that was elected, is replaced
 * by a live in-sync replica (the preferred one first), else by a live eligible one, else by none.
 * Epochs are raised; nonce and controller epoch are left to the caller. out->state borrows p's
 * replicas.
 */
bool election_update(const struct partition_state *p, const struct live_brokers *live,
                     uint32_t min_insync, struct election *out);

/* The preferred leader, if it is live and in sync but does not lead: for balancing. false: nothing
 * to do. */
bool election_prefer(const struct partition_state *p, const struct live_brokers *live,
                     struct election *out);

/* The first state of a new partition: everybody in sync who lives, the first of them leads.
 * replicas: 1 to REPLICAS_MAX. */
void election_begin(const int32_t *replicas, uint32_t replica_count,
                    const struct live_brokers *live, struct election *out);

#endif
