/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where things are in the coordination tree (docs/design.md has the table).
 */
#ifndef SLUICE_COORD_PATHS_H
#define SLUICE_COORD_PATHS_H

#include "proto/base/err.h"
#include "proto/base/rng.h"

#define PATH_CLUSTER "/cluster"
#define PATH_BROKERS "/brokers"
#define PATH_BROKER_EPOCHS "/brokers/epoch"
#define PATH_BROKER_IDS "/brokers/ids"
#define PATH_CONFIGS "/configs"
#define PATH_BROKER_CONFIGS "/configs/brokers"
#define PATH_CONTROLLER "/controller"
#define PATH_CONTROLLER_EPOCH "/controller_epoch"
#define PATH_TOPICS "/topics"
#define PATH_DELETED "/deleted"
#define PATH_CHANGES "/changes"

/* The persistent nodes that every cluster has, parents first, without /cluster, which is created
 * last. */
extern const char *const paths_skeleton[];
extern const unsigned paths_skeleton_count;

struct path {
    char text[64];
};
struct path path_of_broker_epoch(int32_t broker_id);
struct path path_of_broker(int32_t broker_id);
struct path path_of_broker_configs(int32_t broker_id);
struct path path_of_topic(const struct uuid *id);
struct path path_of_tombstone(const struct uuid *id);

/* The names of children back. E_CORRUPT: not such a name. */
err path_parse_broker(const char *name, int32_t *broker_id) MUST_USE;
err path_parse_topic(const char *name, struct uuid *id) MUST_USE;

#endif
