/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nodes of the coordination tree as anybody may have left them. The first byte
 * picks the kind. Besides surviving: what unpacks is what the rest of the code
 * relies on (its CHECKs walk it), and packs to bytes that unpack to the same.
 */
#include <stdlib.h>
#include <string.h>

#include "metad/coord/nodes.h"
#include "metad/model/election.h"
#include "proto/base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct uuid topic_id = {
    {'t', 'o', 'p', 'i', 'c', '-', 'i', 'd', '-', 'o', 'f', '-', '1', '6', 'b', 'y'}};

static void must(bool held)
{
    if (!held)
        abort();
}

/* Packed, unpacked and packed again: the same bytes. */
static void topic_is_stable(const struct topic *t)
{
    struct buf once = {0};
    struct buf twice = {0};
    struct topic *back;
    const char *what;
    nodes_pack_topic(t, &once);
    must(nodes_unpack_topic(buf_slice(&once), &topic_id, 5, &back, &what) == OK);
    nodes_pack_topic(back, &twice);
    must(slice_eq(buf_slice(&once), buf_slice(&twice)));
    topic_unref(back);
    buf_deinit(&once);
    buf_deinit(&twice);
}

/* Elections work on whatever unpacked, with anybody alive. */
static void topic_is_electable(const struct topic *t, uint8_t choice)
{
    struct live_broker brokers[8];
    struct live_brokers live = {.brokers = brokers};
    for (int32_t i = 0; i < 8; i++)
        if (choice >> i & 1)
            brokers[live.count++] =
                (struct live_broker){.id = i, .incarnation = 3, .lossy = choice % 3 == 0};
    for (uint32_t i = 0; i < t->partition_count; i++) {
        struct election first, second;
        const struct partition_state *p = &t->partitions[i];
        if (!election_update(p, &live, t->min_insync_replicas, &first))
            continue;
        must(first.state.leader_epoch >= p->leader_epoch);
        must(!election_update(&first.state, &live, t->min_insync_replicas, &second));
    }
}

static void try_topic(struct slice bytes)
{
    struct topic *t;
    const char *what = NULL;
    if (nodes_unpack_topic(bytes, &topic_id, 5, &t, &what) != OK) {
        must(what != NULL);
        return;
    }
    struct cluster_edit *e = cluster_edit_new(NULL);
    cluster_edit_topic(e, topic_ref(t));
    must(cluster_topic_named(cluster_edit_view(e), slice_str(t->name)) == t);
    cluster_edit_free(e);
    topic_is_stable(t);
    topic_is_electable(t, bytes.size > 0 ? bytes.data[bytes.size - 1] : 0);
    topic_unref(t);
}

static void try_tombstone(struct slice bytes)
{
    struct tombstone *t;
    struct buf again = {0};
    const char *what = NULL;
    if (nodes_unpack_tombstone(bytes, &topic_id, 5, &t, &what) != OK) {
        must(what != NULL);
        return;
    }
    nodes_pack_tombstone(t, &again);
    tombstone_unref(t);
    must(nodes_unpack_tombstone(buf_slice(&again), &topic_id, 5, &t, &what) == OK);
    tombstone_unref(t);
    buf_deinit(&again);
}

static void try_broker(struct slice bytes)
{
    struct broker *b;
    struct buf again = {0};
    const char *what = NULL;
    if (nodes_unpack_broker(bytes, 1, &b, &what) != OK) {
        must(what != NULL);
        return;
    }
    nodes_pack_broker(b, &again);
    broker_unref(b);
    must(nodes_unpack_broker(buf_slice(&again), 1, &b, &what) == OK);
    broker_unref(b);
    buf_deinit(&again);
}

static void try_broker_configs(struct slice bytes)
{
    struct broker_configs *bc;
    const char *what = NULL;
    if (nodes_unpack_broker_configs(bytes, 1, 2, &bc, &what) == OK)
        broker_configs_unref(bc);
    else
        must(what != NULL);
}

static void try_small(struct slice bytes)
{
    struct cluster_identity cluster;
    struct controller_identity controller;
    const char *what;
    if (nodes_unpack_cluster(bytes, &cluster, &what) == OK)
        must(strlen(cluster.id) > 0);
    if (nodes_unpack_controller(bytes, &controller, &what) == OK)
        must(controller.broker_id >= 0);
}

static void try_changes(struct slice bytes)
{
    struct changes c;
    struct changes back;
    struct buf again = {0};
    const char *what = NULL;
    if (nodes_unpack_changes(bytes, &c, &what) != OK) {
        must(what != NULL && c.count == 0);
        return;
    }
    nodes_pack_changes(&c, &again);
    must(nodes_unpack_changes(buf_slice(&again), &back, &what) == OK);
    must(back.count == c.count);
    const struct change one = {.version = UINT64_MAX, .broker_id = 1};
    changes_add(&c, &one);
    must(c.ring[c.count - 1].version == UINT64_MAX);
    changes_reach_back_to(&c, 7);
    buf_deinit(&again);
}

static void (*const tries[])(struct slice bytes) = {
    try_topic, try_tombstone, try_broker, try_broker_configs, try_small, try_changes,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    tries[data[0] % (sizeof tries / sizeof tries[0])](slice_of(data + 1, size - 1));
    return 0;
}
