/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of follow share: a model of ZooKeeper in virtual time, and
 * processes that have a client and a session with it.
 */
#ifndef SLUICE_TESTS_METAD_FOLLOW_FOLLOW_WORLD_H
#define SLUICE_TESTS_METAD_FOLLOW_FOLLOW_WORLD_H

#include "tests/support/test.h"

#include <stdio.h>
#include <string.h>

#include "metad/coord/model.h"
#include "metad/coord/nodes.h"
#include "metad/coord/paths.h"
#include "metad/follow/session.h"
#include "proto/base/mem.h"
#include "tests/support/fake_loop.h"

struct world {
    struct rng rng;
    struct fake_world *fake;
    struct loop *l;
    struct coord_model *model;
};

#define world_until(w, condition)                                                                  \
    do {                                                                                           \
        const int64_t give_up_ = fake_world_now_us((w)->fake) + 600 * INT64_C(1000000);            \
        while (!(condition) && fake_world_now_us((w)->fake) < give_up_)                            \
            if (!fake_world_step((w)->fake))                                                       \
                break;                                                                             \
        assert_true(condition);                                                                    \
    } while (0)

static inline int world_setup(void **state)
{
    struct world *w = MEM_NEW(struct world);
    struct coord_model_opts opts;
    coord_model_opts_init(&opts);
    w->rng = test_rng();
    w->fake = fake_world_new(NULL);
    w->l = fake_world_loop(w->fake, "test");
    w->model = coord_model_new(&w->rng, &opts);
    *state = w;
    return 0;
}

static inline int world_teardown(void **state)
{
    struct world *w = *state;
    coord_model_free(w->model);
    loop_free(w->l);
    fake_world_free(w->fake);
    mem_free(w);
    return 0;
}

/* A client and its session. */
struct process {
    struct coord *c;
    struct session *session;
};

static inline struct process process_start(struct world *w)
{
    struct process p = {.c = coord_model_connect(w->model, w->l)};
    p.session = session_new(w->l, p.c, &w->rng);
    return p;
}

static inline void process_stop(struct process *p)
{
    session_free(p->session);
    coord_close(p->c);
}

/* --- what others write ---------------------------------------------------------------- */

static inline void poke(struct world *w, enum coord_op_kind kind, const char *path,
                        struct slice data, int32_t version)
{
    const struct coord_op op = {.kind = kind, .path = path, .data = data, .version = version};
    assert_ok(coord_model_poke(w->model, &op, 1));
}

static inline int32_t version_of(struct world *w, const char *path)
{
    struct slice data;
    struct coord_stat stat;
    return coord_model_peek(w->model, path, &data, &stat) == OK ? stat.version : -1;
}

static inline void poke_skeleton(struct world *w, const char *cluster_id)
{
    struct cluster_identity identity = {.feature_level = 1};
    struct buf node = {0};
    for (unsigned i = 0; i < paths_skeleton_count; i++)
        poke(w, COORD_CREATE, paths_skeleton[i], slice_of(NULL, 0), 0);
    memcpy(identity.id, cluster_id, strlen(cluster_id) + 1);
    nodes_pack_cluster(&identity, &node);
    poke(w, COORD_CREATE, PATH_CLUSTER, buf_slice(&node), 0);
    buf_deinit(&node);
}

static inline struct uuid numbered_id(uint32_t number)
{
    struct uuid id = {{0}};
    memcpy(id.bytes, &number, sizeof number);
    id.bytes[15] = 1;
    return id;
}

/* The topic, with this leader epoch, created or set; and its announcement. */
static inline void poke_topic(struct world *w, uint32_t number, int32_t leader_epoch)
{
    static const int32_t ids[] = {1};
    const struct uuid id = numbered_id(number);
    const struct path path = path_of_topic(&id);
    char name[32];
    snprintf(name, sizeof name, "topic-%u", number);
    const struct partition_state p = {.leader = 1,
                                      .leader_epoch = leader_epoch,
                                      .leader_incarnation = 1,
                                      .replicas = ids,
                                      .replica_count = 1,
                                      .isr = ids,
                                      .isr_count = 1};
    struct topic *t = topic_new(&(struct topic){
        .id = id, .name = name, .min_insync_replicas = 1, .partition_count = 1, .partitions = &p});
    struct buf node = {0};
    nodes_pack_topic(t, &node);
    const int32_t version = version_of(w, path.text);
    poke(w, version < 0 ? COORD_CREATE : COORD_SET, path.text, buf_slice(&node),
         version < 0 ? 0 : version);
    buf_deinit(&node);
    topic_unref(t);
}

static inline void poke_change(struct world *w, const struct uuid *topic_id, int32_t broker_id)
{
    struct changes c;
    struct slice data;
    struct coord_stat stat;
    const char *what;
    struct buf node = {0};
    assert_ok(coord_model_peek(w->model, PATH_CHANGES, &data, &stat));
    assert_ok(nodes_unpack_changes(data, &c, &what));
    struct change ch = {.version = (uint64_t)stat.version + 1, .broker_id = broker_id};
    if (topic_id != NULL)
        ch.topic_id = *topic_id;
    changes_add(&c, &ch);
    nodes_pack_changes(&c, &node);
    poke(w, COORD_SET, PATH_CHANGES, buf_slice(&node), stat.version);
    buf_deinit(&node);
}

static inline void poke_announced_topic(struct world *w, uint32_t number, int32_t leader_epoch)
{
    const struct uuid id = numbered_id(number);
    poke_topic(w, number, leader_epoch);
    poke_change(w, &id, NO_BROKER);
}

#endif
