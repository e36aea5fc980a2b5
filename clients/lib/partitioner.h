/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which partition a record goes to. With a key: murmur2(key) as Kafka's Java
 * client, so that keys land alike. Without: one partition for `batch.size`
 * bytes, then another (the sticky rule). Pure functions. Threads: any.
 */
#ifndef SLUICE_CLIENTS_PARTITIONER_H
#define SLUICE_CLIENTS_PARTITIONER_H

#include <stdbool.h>

#include "proto/base/rng.h"
#include "proto/base/slice.h"

/* 32-bit MurmurHash2 with Kafka's seed. */
uint32_t murmur2(struct slice key);
/* partition_count > 0. */
int32_t partition_for_key(struct slice key, int32_t partition_count);

/* A partition as the sticky rule sees it. */
struct partition_load {
    int32_t partition;
    uint32_t waiting; /* batches in its queue */
};
/* Draws one of count > 0: evenly, or adaptive: in proportion to how much less is waiting than where
 * most is. Sorts nothing, changes nothing. */
int32_t partition_draw(const struct partition_load *loads, size_t count, bool adaptive,
                       struct rng *rng);

#endif
