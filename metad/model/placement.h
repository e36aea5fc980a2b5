/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the replicas of new partitions go. Pure: same input, same answer.
 *
 * Each partition's replicas are on different brokers and, as far as there are
 * racks left, in different racks; brokers with few replicas come first, and the
 * first replica (the preferred leader) is the one that leads least.
 */
#ifndef SLUICE_MODEL_PLACEMENT_H
#define SLUICE_MODEL_PLACEMENT_H

#include <stddef.h>
#include <stdint.h>

#include "proto/base/err.h"

struct placement_broker {
    int32_t id;
    const char *rack;  /* empty: none; brokers without a rack count as one each */
    uint32_t replicas; /* it holds already */
    uint32_t leaders;  /* it is the preferred leader of already */
};

/*
 * out: partitions x replication_factor broker ids. The counts in brokers go up by what was placed.
 * turn: where among equals to begin (a random number spreads small topics).
 * E_INVALID_REPLICATION_FACTOR: fewer brokers than replicas, or none asked.
 */
err placement_assign(struct placement_broker *brokers, size_t broker_count, uint32_t partitions,
                     uint32_t replication_factor, uint64_t turn, int32_t *out) MUST_USE;

#endif
