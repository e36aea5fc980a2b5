/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All partitions of this broker, found by topic name or id; and the place
 * where a change of the cluster image becomes a change of what this broker
 * holds: logs are created, opened, reconfigured, deleted, roles taken and
 * given up. Level-triggered: only the latest image counts (rule C5). A log is
 * deleted only on a tombstone that waits for this broker (rule E4). One that could not be
 * created for want of space is tried again by and by.
 *
 * Threads: home is also the loop of the log directories. On any: partition_table_find,
 * _version, _image, _each and _waiting; the rest there.
 */
#ifndef SLUICE_REPLICA_PARTITION_TABLE_H
#define SLUICE_REPLICA_PARTITION_TABLE_H

#include "broker/log/log_manager.h"
#include "broker/replica/partition.h"
#include "metad/model/cluster.h"
#include "metad/model/topic_configs.h"

struct partition_table;

struct partition_table_opts {
    struct loop *home;
    struct log_manager *logs; /* borrowed */
    int32_t broker_id;
    const struct topic_config_values
        *defaults; /* kept: the broker's own; see partition_table_reconfigure */
    /* Nothing is left here of a topic whose tombstone waits for this broker (rule E4). May come
     * again for the same topic. */
    void (*on_deleted)(void *user, const struct uuid *topic_id);
    /* Every partition the image gives this broker is open; once per image that changed something.
     * May be NULL. */
    void (*on_settled)(void *user, uint64_t version);
    void *user;
};

struct partition_table *partition_table_new(const struct partition_table_opts *opts);
/* From now on finds answer E_SHUTTING_DOWN; what waits goes on. */
void partition_table_refuse(struct partition_table *t);
/* Partitions in which somebody waits for a confirmation. */
size_t partition_table_waiting(struct partition_table *t);
/* All partitions stop with E_SHUTTING_DOWN; waiting requests are told. */
void partition_table_stop(struct partition_table *t);
/* Stopped, and nobody uses a partition any more. No callback of the log manager may follow. */
void partition_table_free(struct partition_table *t);

/* The first of this process, once it is registered; before any image is applied. */
void partition_table_set_incarnation(struct partition_table *t, uint64_t incarnation);
/* Acts on the difference between what is held and the image. References it. */
void partition_table_apply(struct partition_table *t, const struct cluster *image);
/* The broker's defaults changed: every partition takes its configs anew. */
void partition_table_reconfigure(struct partition_table *t);

/* What topics get that set nothing themselves. */
struct log_conf partition_table_default_conf(const struct topic_config_values *defaults);

/* How a request names a partition. */
struct partition_name {
    struct slice topic;    /* empty: by id */
    struct slice topic_id; /* 16 bytes; empty: by name */
    uint32_t partition;
};
/*
 * Gives a reference. E_UNKNOWN_TOPIC_OR_PARTITION, E_UNKNOWN_TOPIC_ID, E_INCONSISTENT_TOPIC_ID: as
 * the image says; E_NOT_LEADER: another broker's; E_NOT_READY: being opened; E_STORAGE: could not
 * be.
 */
err partition_table_find(struct partition_table *t, const struct partition_name *name,
                         struct partition **out) MUST_USE;
/* Rises whenever a find might answer differently, or a partition's rules have changed. */
uint32_t partition_table_version(const struct partition_table *t);
/* The latest image applied; gives a reference. For hints about leaders. NULL before the first. */
struct cluster *partition_table_image(struct partition_table *t);

/* Calls fn for each open partition, sorted by nothing. On any thread; fn must not call the table.
 */
void partition_table_each(struct partition_table *t, void (*fn)(void *arg, struct partition *p),
                          void *arg);

#endif
