/* SPDX-License-Identifier: Apache-2.0 */
#include "metad/coord/nodes.h"

#include <string.h>

#include "metad/coord/coord.h"
#include "proto/base/mem.h"
#include "proto/schema/cluster.pb-c.h"
#include "proto/wire/msg.h"
#include "tests/support/test.h"

static const struct uuid topic_id = {{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}};

static struct topic *make_topic(uint32_t partitions, uint32_t replicas)
{
    static const int32_t ids[] = {0, 2147483647, 7};
    static const struct property configs[] = {{"durability", "fsync"}, {"retention.ms", "-1"}};
    struct partition_state *states = mem_zalloc(partitions * sizeof *states);
    for (uint32_t i = 0; i < partitions; i++)
        states[i] = (struct partition_state){.leader = i % 2 ? NO_BROKER : ids[0],
                                             .leader_epoch = 70000 + (int32_t)i,
                                             .leader_incarnation = i % 2 ? 0 : 12345,
                                             .last_leader = ids[0],
                                             .partition_epoch = 80000,
                                             .controller_epoch = 9,
                                             .nonce = UINT64_MAX - i,
                                             .replicas = ids,
                                             .isr = ids,
                                             .eligible = &ids[replicas - 1],
                                             .replica_count = replicas,
                                             .isr_count = replicas > 1 ? replicas - 1 : 1,
                                             .eligible_count = replicas > 1};
    struct topic *t = topic_new(&(struct topic){.id = topic_id,
                                                .name = "orders",
                                                .node_version = 3,
                                                .min_insync_replicas = 1,
                                                .partition_count = partitions,
                                                .partitions = states,
                                                .configs = configs,
                                                .config_count = 2});
    mem_free(states);
    return t;
}

static void assert_same_topic(const struct topic *a, const struct topic *b)
{
    assert_string_equal(a->name, b->name);
    assert_int_equal(a->min_insync_replicas, b->min_insync_replicas);
    assert_int_equal(a->partition_count, b->partition_count);
    assert_int_equal(a->config_count, b->config_count);
    for (uint32_t i = 0; i < a->config_count; i++) {
        assert_string_equal(a->configs[i].key, b->configs[i].key);
        assert_string_equal(a->configs[i].value, b->configs[i].value);
    }
    for (uint32_t i = 0; i < a->partition_count; i++) {
        const struct partition_state *p = &a->partitions[i];
        const struct partition_state *q = &b->partitions[i];
        assert_int_equal(p->leader, q->leader);
        assert_int_equal(p->leader_epoch, q->leader_epoch);
        assert_int_equal(p->leader_incarnation, q->leader_incarnation);
        assert_int_equal(p->last_leader, q->last_leader);
        assert_int_equal(p->partition_epoch, q->partition_epoch);
        assert_int_equal(p->controller_epoch, q->controller_epoch);
        assert_int_equal(p->nonce, q->nonce);
        assert_int_equal(p->replica_count, q->replica_count);
        assert_memory_equal(p->replicas, q->replicas, p->replica_count * sizeof(int32_t));
        assert_int_equal(p->isr_count, q->isr_count);
        assert_memory_equal(p->isr, q->isr, p->isr_count * sizeof(int32_t));
        assert_int_equal(p->eligible_count, q->eligible_count);
        assert_true(p->eligible_count == 0 || p->eligible[0] == q->eligible[0]);
    }
}

static void topics_come_back_as_they_were(void **state)
{
    (void)state;
    static const struct {
        uint32_t partitions, replicas;
    } rows[] = {{1, 1}, {3, 3}, {1000, 3}, {10000, 3}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct topic *t = make_topic(rows[i].partitions, rows[i].replicas);
        struct topic *back;
        struct buf node = {0};
        const char *what = "";
        nodes_pack_topic(t, &node);
        assert_true(node.size < COORD_DATA_MAX);
        const err e = nodes_unpack_topic(buf_slice(&node), &topic_id, 3, &back, &what);
        if (e != OK)
            fail_msg("%u partitions: %s", rows[i].partitions, what);
        assert_int_equal(back->node_version, 3);
        assert_same_topic(t, back);
        topic_unref(t);
        topic_unref(back);
        buf_deinit(&node);
    }
}

/* --- nodes that somebody else wrote -------------------------------------------------- */

/* A valid one to spoil. */
struct spoiled {
    Sluice__TopicNode node;
    Sluice__PartitionNode partition;
    Sluice__PartitionNode *partitions[1];
    Sluice__Property config[2];
    Sluice__Property *configs[2];
    int32_t replicas[20], isr[20], eligible[20];
    uint8_t id[16];
};

static void make_valid(struct spoiled *s)
{
    memset(s, 0, sizeof *s);
    sluice__topic_node__init(&s->node);
    sluice__partition_node__init(&s->partition);
    memcpy(s->id, topic_id.bytes, 16);
    s->node.name = (char *)(uintptr_t) "orders";
    s->node.has_topic_id = 1;
    s->node.topic_id = (ProtobufCBinaryData){.len = 16, .data = s->id};
    s->node.has_min_insync_replicas = 1;
    s->node.min_insync_replicas = 1;
    s->node.n_partition = 1;
    s->node.partition = s->partitions;
    s->partitions[0] = &s->partition;
    for (int32_t i = 0; i < 20; i++)
        s->replicas[i] = s->isr[i] = i;
    s->eligible[0] = 2;
    s->partition.n_replica = 3;
    s->partition.replica = s->replicas;
    s->partition.n_isr = 2;
    s->partition.isr = s->isr;
    s->partition.eligible = s->eligible;
    s->partition.n_eligible = 1;
    s->partition.has_leader = 1;
    s->partition.leader = 1;
    s->partition.has_leader_epoch = 1;
    for (int i = 0; i < 2; i++) {
        sluice__property__init(&s->config[i]);
        s->config[i].key = (char *)(uintptr_t)(i ? "b" : "a");
        s->config[i].value = (char *)(uintptr_t) "v";
        s->configs[i] = &s->config[i];
    }
    s->node.n_config = 2;
    s->node.config = s->configs;
}

static err unpack_spoiled(const struct spoiled *s)
{
    struct buf node = {0};
    struct topic *t;
    const char *what = NULL;
    msg_pack(&s->node, &node);
    const err e = nodes_unpack_topic(buf_slice(&node), &topic_id, 0, &t, &what);
    if (e == OK)
        topic_unref(t);
    else
        assert_non_null(what);
    buf_deinit(&node);
    return e;
}

#define SPOIL(change)                                                                              \
    do {                                                                                           \
        struct spoiled s;                                                                          \
        make_valid(&s);                                                                            \
        change;                                                                                    \
        assert_err(unpack_spoiled(&s), E_CORRUPT);                                                 \
    } while (0)

static void topics_that_others_could_not_rely_on_are_refused(void **state)
{
    (void)state;
    struct spoiled valid;
    make_valid(&valid);
    assert_ok(unpack_spoiled(&valid));
    SPOIL(s.id[3]++);
    SPOIL(s.node.topic_id.len = 15);
    SPOIL(s.node.has_topic_id = 0);
    SPOIL(s.node.name = NULL);
    SPOIL(s.node.name = (char *)(uintptr_t) "../../etc");
    SPOIL(s.node.min_insync_replicas = 0);
    SPOIL(s.node.min_insync_replicas = 17);
    SPOIL(s.node.n_partition = 0);
    SPOIL(s.config[1].key = (char *)(uintptr_t) "a");
    SPOIL(s.config[1].key = (char *)(uintptr_t) "A");
    SPOIL(s.config[0].value = NULL);
    SPOIL(s.partition.n_replica = 0);
    SPOIL(s.partition.n_replica = 17);
    SPOIL(s.replicas[0] = -1);
    SPOIL(s.replicas[1] = 0);
    SPOIL(s.isr[0] = 9);
    SPOIL(s.isr[1] = 0);
    SPOIL(s.eligible[0] = 9);
    SPOIL(s.eligible[0] = 1);
    SPOIL(s.partition.leader = 2);
    SPOIL(s.partition.leader = 9);
    SPOIL(s.partition.leader_epoch = -1);
    SPOIL(s.partition.leader_epoch = INT32_MAX);
    SPOIL(s.partition.has_leader_epoch = 0);
}

static void cut_and_flipped_bytes_do_not_crash(void **state)
{
    (void)state;
    struct rng r = test_rng();
    struct topic *t = make_topic(5, 3);
    struct buf node = {0};
    nodes_pack_topic(t, &node);
    for (size_t size = 0; size < node.size; size++) {
        struct topic *back;
        const char *what;
        if (nodes_unpack_topic(slice_of(node.data, size), &topic_id, 0, &back, &what) == OK)
            topic_unref(back);
    }
    for (int i = 0; i < 5000; i++) {
        struct topic *back;
        const char *what;
        const size_t at = rng_below(&r, node.size);
        const uint8_t was = node.data[at];
        node.data[at] ^= (uint8_t)(1u << rng_below(&r, 8));
        if (nodes_unpack_topic(buf_slice(&node), &topic_id, 0, &back, &what) == OK)
            topic_unref(back);
        node.data[at] = was;
    }
    topic_unref(t);
    buf_deinit(&node);
}

/* --- the others ------------------------------------------------------------------------ */

static void brokers_come_back_as_they_were(void **state)
{
    (void)state;
    const struct endpoint endpoints[] = {{"CLIENT", "host.example", 9292}, {"V6", "::1", 65535}};
    const struct uuid directories[] = {{{1}}, {{2}}};
    const struct broker b = {.id = 5,
                             .incarnation = 77,
                             .rack = "r1",
                             .endpoints = endpoints,
                             .endpoint_count = 2,
                             .clean = true,
                             .directory_ids = directories,
                             .directory_count = 2};
    struct buf node = {0};
    struct broker *back;
    const char *what;
    nodes_pack_broker(&b, &node);
    assert_ok(nodes_unpack_broker(buf_slice(&node), 5, &back, &what));
    assert_int_equal(back->incarnation, 77);
    assert_string_equal(back->rack, "r1");
    assert_string_equal(back->endpoints[1].host, "::1");
    assert_int_equal(back->endpoints[1].port, 65535);
    assert_true(back->clean);
    assert_int_equal(back->directory_ids[1].bytes[0], 2);
    broker_unref(back);
    assert_err(nodes_unpack_broker(buf_slice(&node), 6, &back, &what), E_CORRUPT);
    assert_err(nodes_unpack_broker(slice_of(NULL, 0), 5, &back, &what), E_CORRUPT);
    buf_deinit(&node);
}

static void tombstones_configs_cluster_and_controller_come_back(void **state)
{
    (void)state;
    const int32_t waiting[] = {3, 1};
    const struct property configs[] = {{"a", "1"}};
    struct buf node = {0};
    const char *what;
    struct tombstone *t;
    nodes_pack_tombstone(
        &(struct tombstone){.id = topic_id, .name = "t", .waiting = waiting, .waiting_count = 2},
        &node);
    assert_ok(nodes_unpack_tombstone(buf_slice(&node), &topic_id, 4, &t, &what));
    assert_int_equal(t->waiting[1], 1);
    assert_int_equal(t->node_version, 4);
    tombstone_unref(t);

    struct broker_configs *bc;
    buf_clear(&node);
    nodes_pack_broker_configs(&(struct broker_configs){.configs = configs, .config_count = 1},
                              &node);
    assert_ok(nodes_unpack_broker_configs(buf_slice(&node), 9, 2, &bc, &what));
    assert_int_equal(bc->broker_id, 9);
    assert_string_equal(bc->configs[0].value, "1");
    broker_configs_unref(bc);

    struct cluster_identity cluster;
    buf_clear(&node);
    nodes_pack_cluster(&(struct cluster_identity){.id = "abc", .feature_level = 1}, &node);
    assert_ok(nodes_unpack_cluster(buf_slice(&node), &cluster, &what));
    assert_string_equal(cluster.id, "abc");
    assert_err(nodes_unpack_cluster(slice_of(NULL, 0), &cluster, &what), E_CORRUPT);

    struct controller_identity controller;
    buf_clear(&node);
    nodes_pack_controller(&(struct controller_identity){.broker_id = 3, .incarnation = 8}, &node);
    assert_ok(nodes_unpack_controller(buf_slice(&node), &controller, &what));
    assert_int_equal(controller.broker_id, 3);
    assert_int_equal(controller.incarnation, 8);
    assert_err(nodes_unpack_controller(slice_of(NULL, 0), &controller, &what), E_CORRUPT);
    buf_deinit(&node);
}

static void the_ring_keeps_the_newest_changes(void **state)
{
    (void)state;
    struct changes c = {0};
    struct changes back;
    const char *what;
    assert_ok(nodes_unpack_changes(slice_of(NULL, 0), &back, &what));
    assert_int_equal(back.count, 0);
    assert_false(changes_reach_back_to(&back, 0));
    for (uint64_t v = 1; v <= 700; v++) {
        const struct change ch = {
            .version = v, .broker_id = v % 3 ? NO_BROKER : (int32_t)v, .topic_id = {{(uint8_t)v}}};
        changes_add(&c, &ch);
    }
    assert_int_equal(c.count, CHANGES_MAX);
    struct buf node = {0};
    nodes_pack_changes(&c, &node);
    assert_true(node.size < 64 * 1024);
    assert_ok(nodes_unpack_changes(buf_slice(&node), &back, &what));
    assert_int_equal(back.count, CHANGES_MAX);
    assert_int_equal(back.ring[0].version, 700 - CHANGES_MAX + 1);
    assert_int_equal(back.ring[CHANGES_MAX - 1].version, 700);
    for (size_t i = 0; i < back.count; i++) {
        const uint64_t v = back.ring[i].version;
        assert_int_equal(back.ring[i].broker_id, v % 3 ? NO_BROKER : (int32_t)v);
        if (v % 3)
            assert_int_equal(back.ring[i].topic_id.bytes[0], (uint8_t)v);
    }
    assert_true(changes_reach_back_to(&back, 700 - CHANGES_MAX + 1));
    back.count--; /* never full: nothing was lost */
    assert_true(changes_reach_back_to(&back, 700 - CHANGES_MAX));
    assert_false(changes_reach_back_to(&back, 700 - CHANGES_MAX - 1));
    back.count++;
    assert_false(changes_reach_back_to(&back, 700 - CHANGES_MAX));
    buf_deinit(&node);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(topics_come_back_as_they_were),
        cmocka_unit_test(topics_that_others_could_not_rely_on_are_refused),
        cmocka_unit_test(cut_and_flipped_bytes_do_not_crash),
        cmocka_unit_test(brokers_come_back_as_they_were),
        cmocka_unit_test(tombstones_configs_cluster_and_controller_come_back),
        cmocka_unit_test(the_ring_keeps_the_newest_changes),
    };
    return TEST_MAIN(tests, NULL, NULL);
}
