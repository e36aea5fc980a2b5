/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cluster image: what is known of the cluster at one version of /changes.
 * Immutable and counted; a process swaps it whole. Two images share all that
 * did not change between them (tables in shards, topics and brokers as counted
 * values), so that a change among 10,000 topics costs some twenty microseconds, and
 * the difference between two images is found without looking at the rest.
 *
 * Topics are found by id and by name, in constant time; brokers by id.
 * Threads: any, for whoever holds a reference. Pointers into an image are valid
 * as long as a reference to the image, or to the thing itself, is held.
 */
#ifndef SLUICE_MODEL_CLUSTER_H
#define SLUICE_MODEL_CLUSTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/err.h"
#include "proto/base/rng.h"
#include "proto/base/slice.h"

enum { NO_BROKER = -1 };

struct property {
    const char *key;
    const char *value;
};

/* The state of one partition (rule C3). Ids are sorted nowhere: replicas[0] is the preferred
 * leader. */
struct partition_state {
    int32_t leader; /* NO_BROKER: none */
    int32_t leader_epoch;
    uint64_t leader_incarnation;
    int32_t last_leader;
    uint32_t partition_epoch;
    uint32_t controller_epoch;
    uint64_t nonce; /* of the write that made this state */
    const int32_t *replicas;
    const int32_t *isr;
    const int32_t *eligible; /* not in sync, but holding all that is committed (rule E1) */
    uint32_t replica_count, isr_count, eligible_count;
};

/* --- topics: counted, immutable -------------------------------------------------- */
struct topic {
    _Atomic uint32_t refs;
    struct uuid id;
    const char *name;
    int32_t node_version;         /* of /topics/<id> */
    uint32_t min_insync_replicas; /* effective: the only value anybody uses */
    bool internal;
    uint32_t partition_count;
    const struct partition_state *partitions;
    const struct property *configs; /* set on the topic, sorted by key */
    uint32_t config_count;
};
/* A deep copy in one allocation, with one reference; what is the caller's in `like` stays the
 * caller's. */
struct topic *topic_new(const struct topic *like);
struct topic *topic_ref(const struct topic *t);
void topic_unref(const struct topic *t);
/* The value set on the topic, NULL if it is not set. */
const char *topic_config(const struct topic *t, const char *key);
bool partition_has_replica(const struct partition_state *p, int32_t broker_id);
bool partition_has_isr(const struct partition_state *p, int32_t broker_id);

/* --- brokers: counted, immutable ------------------------------------------------- */
struct endpoint {
    const char *listener;
    const char *host;
    uint16_t port;
};
struct broker {
    _Atomic uint32_t refs;
    int32_t id;
    uint64_t incarnation;
    const char *rack; /* empty: none */
    const struct endpoint *endpoints;
    uint32_t endpoint_count;
    bool clean;
    const struct uuid *directory_ids;
    uint32_t directory_count;
};
struct broker *broker_new(const struct broker *like);
struct broker *broker_ref(const struct broker *b);
void broker_unref(const struct broker *b);
/* NULL: the broker has no listener of that name. */
const struct endpoint *broker_endpoint(const struct broker *b, const char *listener);

/* Configs set on a broker at run time; they stay when it goes. */
struct broker_configs {
    _Atomic uint32_t refs;
    int32_t broker_id;
    int32_t node_version;           /* of /configs/brokers/<id> */
    const struct property *configs; /* sorted by key */
    uint32_t config_count;
};
struct broker_configs *broker_configs_new(const struct broker_configs *like);
void broker_configs_unref(const struct broker_configs *bc);

/* A topic whose deletion was decided (rule E4): kept until `waiting` is empty. */
struct tombstone {
    _Atomic uint32_t refs;
    struct uuid id;
    const char *name;
    int32_t node_version;   /* of /deleted/<id> */
    const int32_t *waiting; /* brokers that have not confirmed */
    uint32_t waiting_count;
};
struct tombstone *tombstone_new(const struct tombstone *like);
void tombstone_unref(const struct tombstone *t);

/* --- images ---------------------------------------------------------------------- */
struct cluster;
struct cluster *cluster_ref(const struct cluster *img);
void cluster_unref(const struct cluster *img); /* NULL is allowed */

uint64_t cluster_version(const struct cluster *img);   /* of /changes */
const char *cluster_id(const struct cluster *img);     /* empty: not known */
int32_t cluster_controller(const struct cluster *img); /* NO_BROKER: none known */
uint32_t cluster_topic_count(const struct cluster *img);
uint32_t cluster_partition_count(const struct cluster *img);

const struct topic *cluster_topic(const struct cluster *img, const struct uuid *id);
const struct topic *cluster_topic_named(const struct cluster *img, struct slice name);
/* A topic whose name differs from this one at most by `.` and `_` (names.h). */
const struct topic *cluster_topic_colliding(const struct cluster *img, struct slice name);
const struct tombstone *cluster_tombstone(const struct cluster *img, const struct uuid *id);
/* E_UNKNOWN_TOPIC_OR_PARTITION, E_UNKNOWN_TOPIC_ID, E_INCONSISTENT_TOPIC_ID: requests name a topic
 * by name, by id (16 bytes), or by both, which must then agree. Empty: not given. */
err cluster_resolve(const struct cluster *img, struct slice name, struct slice id,
                    const struct topic **out) MUST_USE;

/* Registered now, sorted by id. */
uint32_t cluster_broker_count(const struct cluster *img);
const struct broker *cluster_broker_at(const struct cluster *img, uint32_t index);
const struct broker *cluster_broker(const struct cluster *img,
                                    int32_t id); /* NULL: not registered now */
const struct broker_configs *cluster_broker_configs(const struct cluster *img,
                                                    int32_t id); /* NULL: none are set */

/* All topics, or tombstones, in no order: start with a zeroed cursor; NULL after the last. */
struct cluster_cursor {
    uint32_t shard, slot;
};
const struct topic *cluster_next_topic(const struct cluster *img, struct cluster_cursor *cur);
const struct tombstone *cluster_next_tombstone(const struct cluster *img,
                                               struct cluster_cursor *cur);

/* Calls fn for each topic (or tombstone, broker) that is not the very same in both: old NULL: it
 * came; new NULL: it went. from may be NULL: everything came. */
void cluster_diff_topics(const struct cluster *from, const struct cluster *to,
                         void (*fn)(void *arg, const struct topic *old, const struct topic *new_),
                         void *arg);
void cluster_diff_tombstones(const struct cluster *from, const struct cluster *to,
                             void (*fn)(void *arg, const struct tombstone *old,
                                        const struct tombstone *new_),
                             void *arg);
void cluster_diff_brokers(const struct cluster *from, const struct cluster *to,
                          void (*fn)(void *arg, const struct broker *old,
                                     const struct broker *new_),
                          void *arg);

/* --- the next image ---------------------------------------------------------------------
 * An edit is an image nobody else sees yet. Home thread: its owner's. */
struct cluster_edit;
/* base NULL: from the empty image. base is referenced while needed. */
struct cluster_edit *cluster_edit_new(const struct cluster *base);
void cluster_edit_version(struct cluster_edit *e, uint64_t version);
void cluster_edit_id(struct cluster_edit *e, const char *cluster_id);
void cluster_edit_controller(struct cluster_edit *e, int32_t broker_id);
/* Adds or replaces, by id. Each takes the reference. */
void cluster_edit_topic(struct cluster_edit *e, struct topic *t);
void cluster_edit_tombstone(struct cluster_edit *e, struct tombstone *t);
void cluster_edit_broker(struct cluster_edit *e, struct broker *b);
void cluster_edit_broker_configs(struct cluster_edit *e, struct broker_configs *bc);
void cluster_edit_drop_topic(struct cluster_edit *e, const struct uuid *id);
void cluster_edit_drop_tombstone(struct cluster_edit *e, const struct uuid *id);
void cluster_edit_drop_broker(struct cluster_edit *e, int32_t id);
void cluster_edit_drop_broker_configs(struct cluster_edit *e, int32_t id);
/* The edit's present state, to look at (same functions as for images); not to be referenced. */
const struct cluster *cluster_edit_view(const struct cluster_edit *e);
/* Ends the edit and gives the image, with one reference. */
struct cluster *cluster_edit_finish(struct cluster_edit *e);
void cluster_edit_free(struct cluster_edit *e); /* instead of finish: forget it */

#endif
