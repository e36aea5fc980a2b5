/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is in the nodes of the coordination tree: the messages of
 * proto/schema/cluster.proto, from and to the values of metad/model. Unpacking
 * checks everything that others rely on; what an operator or a defect wrote
 * there must not crash anybody. Pure. Threads: any.
 *
 * Every unpack gives E_CORRUPT, with a static phrase in *what, for bytes that
 * are not such a node.
 */
#ifndef SLUICE_COORD_NODES_H
#define SLUICE_COORD_NODES_H

#include "metad/model/cluster.h"
#include "proto/base/buf.h"

void nodes_pack_topic(const struct topic *t, struct buf *out);
err nodes_unpack_topic(struct slice data, const struct uuid *id, int32_t node_version,
                       struct topic **out, const char **what) MUST_USE;

void nodes_pack_tombstone(const struct tombstone *t, struct buf *out);
err nodes_unpack_tombstone(struct slice data, const struct uuid *id, int32_t node_version,
                           struct tombstone **out, const char **what) MUST_USE;

void nodes_pack_broker(const struct broker *b, struct buf *out);
err nodes_unpack_broker(struct slice data, int32_t id, struct broker **out,
                        const char **what) MUST_USE;

void nodes_pack_broker_configs(const struct broker_configs *bc, struct buf *out);
err nodes_unpack_broker_configs(struct slice data, int32_t id, int32_t node_version,
                                struct broker_configs **out, const char **what) MUST_USE;

enum { NODES_CLUSTER_ID_BYTES = 64 };
struct cluster_identity {
    char id[NODES_CLUSTER_ID_BYTES];
    uint32_t feature_level;
};
void nodes_pack_cluster(const struct cluster_identity *c, struct buf *out);
err nodes_unpack_cluster(struct slice data, struct cluster_identity *out,
                         const char **what) MUST_USE;

struct controller_identity {
    int32_t broker_id;
    uint64_t incarnation;
};
void nodes_pack_controller(const struct controller_identity *c, struct buf *out);
err nodes_unpack_controller(struct slice data, struct controller_identity *out,
                            const char **what) MUST_USE;
void nodes_pack_controller_epoch(int32_t broker_id, struct buf *out);

/* --- /changes: the ring of what changed last ------------------------------------- */
enum { CHANGES_MAX = 512 };
struct change {
    uint64_t version;  /* of /changes that announced it */
    int32_t broker_id; /* NO_BROKER: it is a topic */
    struct uuid topic_id;
};
struct changes {
    size_t count;
    struct change ring[CHANGES_MAX]; /* the newest last, versions never fall */
};
void nodes_pack_changes(const struct changes *c, struct buf *out);
/* Empty data is an empty ring. */
err nodes_unpack_changes(struct slice data, struct changes *out, const char **what) MUST_USE;
/* The oldest goes when the ring is full. */
void changes_add(struct changes *c, const struct change *change);
/* Whether all that changed after this version is in the ring. */
bool changes_reach_back_to(const struct changes *c, uint64_t version);

#endif
