/* SPDX-License-Identifier: Apache-2.0 */
#include "metad/model/cluster.h"

#include <stdio.h>

#include "proto/base/mem.h"
#include "tests/support/test.h"

static struct topic *make_topic(uint32_t number, const char *name, uint32_t partitions)
{
    static const int32_t ids[] = {1, 2, 3};
    struct partition_state *states = mem_zalloc(partitions * sizeof *states);
    for (uint32_t i = 0; i < partitions; i++)
        states[i] = (struct partition_state){.leader = 1,
                                             .leader_epoch = (int32_t)i,
                                             .replicas = ids,
                                             .replica_count = 3,
                                             .isr = ids,
                                             .isr_count = 2,
                                             .eligible = &ids[2],
                                             .eligible_count = 1};
    const struct property configs[] = {{"durability", "fsync"}, {"retention.ms", "1"}};
    struct topic like = {.name = name,
                         .partition_count = partitions,
                         .partitions = states,
                         .min_insync_replicas = 2,
                         .configs = configs,
                         .config_count = 2};
    memcpy(like.id.bytes, &number, sizeof number);
    like.id.bytes[15] = 1;
    struct topic *t = topic_new(&like);
    mem_free(states);
    return t;
}

static struct topic *numbered(uint32_t number)
{
    char name[32];
    snprintf(name, sizeof name, "topic-%u", number);
    return make_topic(number, name, 1);
}

static struct uuid id_of(uint32_t number)
{
    struct uuid id = {{0}};
    memcpy(id.bytes, &number, sizeof number);
    id.bytes[15] = 1;
    return id;
}

static void a_topic_is_a_copy_of_its_own(void **state)
{
    (void)state;
    char name[] = "orders";
    struct topic *t = make_topic(1, name, 3);
    name[0] = 'X';
    assert_string_equal(t->name, "orders");
    assert_string_equal(topic_config(t, "retention.ms"), "1");
    assert_null(topic_config(t, "segment.ms"));
    assert_int_equal(t->partitions[2].leader_epoch, 2);
    assert_int_equal(t->partitions[2].replicas[2], 3);
    assert_true(partition_has_isr(&t->partitions[0], 2));
    assert_false(partition_has_isr(&t->partitions[0], 3));
    assert_true(partition_has_replica(&t->partitions[0], 3));
    topic_unref(t);
}

static void topics_are_found_by_id_and_name(void **state)
{
    (void)state;
    struct cluster_edit *e = cluster_edit_new(NULL);
    cluster_edit_topic(e, make_topic(1, "a.b", 2));
    cluster_edit_topic(e, make_topic(2, "c", 3));
    struct cluster *img = cluster_edit_finish(e);
    const struct uuid one = id_of(1);
    const struct uuid three = id_of(3);
    assert_string_equal(cluster_topic(img, &one)->name, "a.b");
    assert_null(cluster_topic(img, &three));
    assert_ptr_equal(cluster_topic_named(img, slice_str("a.b")), cluster_topic(img, &one));
    assert_null(cluster_topic_named(img, slice_str("a_b")));
    assert_ptr_equal(cluster_topic_colliding(img, slice_str("a_b")), cluster_topic(img, &one));
    assert_null(cluster_topic_colliding(img, slice_str("a-b")));
    assert_int_equal(cluster_topic_count(img), 2);
    assert_int_equal(cluster_partition_count(img), 5);
    cluster_unref(img);
}

static void requests_name_topics_by_name_or_id_or_both(void **state)
{
    (void)state;
    struct cluster_edit *e = cluster_edit_new(NULL);
    cluster_edit_topic(e, make_topic(1, "a", 1));
    cluster_edit_topic(e, make_topic(2, "b", 1));
    struct cluster *img = cluster_edit_finish(e);
    const struct uuid one = id_of(1);
    const struct uuid nine = id_of(9);
    const struct slice none = slice_of(NULL, 0);
    const struct topic *t = NULL;
    assert_ok(cluster_resolve(img, slice_str("a"), none, &t));
    assert_ok(cluster_resolve(img, none, slice_of(one.bytes, 16), &t));
    assert_ok(cluster_resolve(img, slice_str("a"), slice_of(one.bytes, 16), &t));
    assert_string_equal(t->name, "a");
    assert_err(cluster_resolve(img, slice_str("b"), slice_of(one.bytes, 16), &t),
               E_INCONSISTENT_TOPIC_ID);
    assert_err(cluster_resolve(img, slice_str("z"), none, &t), E_UNKNOWN_TOPIC_OR_PARTITION);
    assert_err(cluster_resolve(img, none, none, &t), E_UNKNOWN_TOPIC_OR_PARTITION);
    assert_err(cluster_resolve(img, none, slice_of(nine.bytes, 16), &t), E_UNKNOWN_TOPIC_ID);
    assert_err(cluster_resolve(img, slice_str("a"), slice_of(one.bytes, 15), &t),
               E_UNKNOWN_TOPIC_ID);
    cluster_unref(img);
}

static void an_edit_leaves_the_old_image_as_it_was(void **state)
{
    (void)state;
    struct cluster_edit *e = cluster_edit_new(NULL);
    for (uint32_t i = 0; i < 1000; i++)
        cluster_edit_topic(e, numbered(i));
    cluster_edit_version(e, 5);
    struct cluster *old = cluster_edit_finish(e);
    e = cluster_edit_new(old);
    const struct uuid seven = id_of(7);
    const struct uuid eight = id_of(8);
    cluster_edit_drop_topic(e, &seven);
    cluster_edit_topic(e, make_topic(8, "renamed", 4));
    cluster_edit_version(e, 6);
    struct cluster *img = cluster_edit_finish(e);
    assert_non_null(cluster_topic(old, &seven));
    assert_string_equal(cluster_topic(old, &eight)->name, "topic-8");
    assert_int_equal(cluster_topic_count(old), 1000);
    assert_int_equal(cluster_version(old), 5);
    assert_null(cluster_topic(img, &seven));
    assert_null(cluster_topic_named(img, slice_str("topic-7")));
    assert_null(cluster_topic_named(img, slice_str("topic-8")));
    assert_string_equal(cluster_topic(img, &eight)->name, "renamed");
    assert_int_equal(cluster_topic_count(img), 999);
    assert_int_equal(cluster_partition_count(img), 1002);
    cluster_unref(old);
    assert_string_equal(cluster_topic(img, &eight)->name, "renamed");
    cluster_unref(img);
}

struct seen {
    uint32_t came, went, changed;
};

static void count_topic(void *arg, const struct topic *old, const struct topic *new_)
{
    struct seen *s = arg;
    s->came += old == NULL;
    s->went += new_ == NULL;
    s->changed += old != NULL && new_ != NULL;
}

static void the_difference_is_what_changed(void **state)
{
    (void)state;
    struct cluster_edit *e = cluster_edit_new(NULL);
    for (uint32_t i = 0; i < 500; i++)
        cluster_edit_topic(e, numbered(i));
    struct cluster *a = cluster_edit_finish(e);
    struct seen seen = {0};
    cluster_diff_topics(NULL, a, count_topic, &seen);
    assert_int_equal(seen.came, 500);
    e = cluster_edit_new(a);
    const struct uuid three = id_of(3);
    cluster_edit_drop_topic(e, &three);
    cluster_edit_topic(e, numbered(4));
    cluster_edit_topic(e, numbered(600));
    struct cluster *b = cluster_edit_finish(e);
    seen = (struct seen){0};
    cluster_diff_topics(a, b, count_topic, &seen);
    assert_int_equal(seen.came, 1);
    assert_int_equal(seen.went, 1);
    assert_int_equal(seen.changed, 1);
    seen = (struct seen){0};
    cluster_diff_topics(b, b, count_topic, &seen);
    assert_int_equal(seen.came + seen.went + seen.changed, 0);
    cluster_unref(a);
    cluster_unref(b);
}

/* Goal: tables stay right whatever is put in and taken out, and old images stay what they were.
 * Method: random edits against plain arrays, with some images kept. */
static void tables_agree_with_arrays(void **state)
{
    (void)state;
    enum { NUMBERS = 300, KEPT = 8 };
    struct rng r = test_rng();
    bool there[NUMBERS] = {false};
    bool kept_there[KEPT][NUMBERS];
    struct cluster *kept[KEPT] = {NULL};
    struct cluster *img = cluster_edit_finish(cluster_edit_new(NULL));
    for (int round = 0; round < 400; round++) {
        struct cluster_edit *e = cluster_edit_new(img);
        const uint64_t changes = 1 + rng_below(&r, 20);
        for (uint64_t i = 0; i < changes; i++) {
            const uint32_t n = (uint32_t)rng_below(&r, NUMBERS);
            const struct uuid id = id_of(n);
            there[n] = rng_below(&r, 2);
            if (there[n])
                cluster_edit_topic(e, numbered(n));
            else
                cluster_edit_drop_topic(e, &id);
        }
        cluster_unref(img);
        img = cluster_edit_finish(e);
        const size_t slot = rng_below(&r, KEPT);
        cluster_unref(kept[slot]);
        kept[slot] = cluster_ref(img);
        memcpy(kept_there[slot], there, sizeof there);
        const size_t check = rng_below(&r, KEPT);
        if (kept[check] == NULL)
            continue;
        uint32_t count = 0;
        for (uint32_t n = 0; n < NUMBERS; n++) {
            const struct uuid id = id_of(n);
            char name[32];
            snprintf(name, sizeof name, "topic-%u", n);
            const bool is_there = kept_there[check][n];
            assert_int_equal(cluster_topic(kept[check], &id) != NULL, is_there);
            assert_int_equal(cluster_topic_named(kept[check], slice_str(name)) != NULL, is_there);
            count += is_there;
        }
        uint32_t walked = 0;
        struct cluster_cursor cur = {0};
        while (cluster_next_topic(kept[check], &cur) != NULL)
            walked++;
        assert_int_equal(walked, count);
        assert_int_equal(cluster_topic_count(kept[check]), count);
    }
    for (size_t i = 0; i < KEPT; i++)
        cluster_unref(kept[i]);
    cluster_unref(img);
}

static void two_topics_of_one_name_do_not_break_the_tables(void **state)
{
    (void)state;
    struct cluster_edit *e = cluster_edit_new(NULL);
    const struct uuid one = id_of(1);
    cluster_edit_topic(e, make_topic(1, "same", 1));
    cluster_edit_topic(e, make_topic(2, "same", 1));
    cluster_edit_drop_topic(e, &one);
    struct cluster *img = cluster_edit_finish(e);
    const struct uuid two = id_of(2);
    assert_ptr_equal(cluster_topic_named(img, slice_str("same")), cluster_topic(img, &two));
    assert_int_equal(cluster_topic_count(img), 1);
    cluster_unref(img);
}

static void count_broker(void *arg, const struct broker *old, const struct broker *new_)
{
    struct seen *s = arg;
    s->came += old == NULL;
    s->went += new_ == NULL;
    s->changed += old != NULL && new_ != NULL;
}

static void brokers_come_and_go(void **state)
{
    (void)state;
    const struct endpoint endpoints[] = {{"CLIENT", "host", 9292}, {"INSIDE", "10.0.0.1", 1}};
    struct cluster_edit *e = cluster_edit_new(NULL);
    static const int32_t ids[] = {5, 1, 3};
    for (size_t i = 0; i < 3; i++)
        cluster_edit_broker(e, broker_new(&(struct broker){.id = ids[i],
                                                           .incarnation = 1,
                                                           .rack = "r",
                                                           .endpoints = endpoints,
                                                           .endpoint_count = 2}));
    struct cluster *a = cluster_edit_finish(e);
    assert_int_equal(cluster_broker_count(a), 3);
    assert_int_equal(cluster_broker_at(a, 0)->id, 1);
    assert_int_equal(cluster_broker_at(a, 2)->id, 5);
    assert_int_equal(broker_endpoint(cluster_broker(a, 3), "INSIDE")->port, 1);
    assert_null(broker_endpoint(cluster_broker(a, 3), "OTHER"));
    assert_null(cluster_broker(a, 2));
    e = cluster_edit_new(a);
    cluster_edit_drop_broker(e, 1);
    cluster_edit_broker(
        e, broker_new(&(struct broker){.id = 3, .incarnation = 2, .rack = "", .endpoints = NULL}));
    struct cluster *b = cluster_edit_finish(e);
    struct seen seen = {0};
    cluster_diff_brokers(a, b, count_broker, &seen);
    assert_int_equal(seen.went, 1);
    assert_int_equal(seen.changed, 1);
    assert_int_equal(seen.came, 0);
    assert_int_equal(cluster_broker(a, 3)->incarnation, 1);
    cluster_unref(a);
    cluster_unref(b);
}

static void count_tombstone(void *arg, const struct tombstone *old, const struct tombstone *new_)
{
    struct seen *s = arg;
    s->came += old == NULL;
    s->went += new_ == NULL;
}

static void tombstones_and_configs_of_brokers_are_kept(void **state)
{
    (void)state;
    const int32_t waiting[] = {1, 2};
    const struct property configs[] = {{"k", "v"}};
    struct cluster_edit *e = cluster_edit_new(NULL);
    cluster_edit_tombstone(
        e, tombstone_new(&(struct tombstone){
               .id = id_of(1), .name = "t", .waiting = waiting, .waiting_count = 2}));
    cluster_edit_broker_configs(e, broker_configs_new(&(struct broker_configs){
                                       .broker_id = 4, .configs = configs, .config_count = 1}));
    struct cluster *img = cluster_edit_finish(e);
    const struct uuid one = id_of(1);
    assert_int_equal(cluster_tombstone(img, &one)->waiting[1], 2);
    assert_string_equal(cluster_broker_configs(img, 4)->configs[0].value, "v");
    assert_null(cluster_broker_configs(img, 1));
    e = cluster_edit_new(img);
    cluster_edit_drop_tombstone(e, &one);
    cluster_edit_drop_broker_configs(e, 4);
    struct cluster *next = cluster_edit_finish(e);
    struct seen seen = {0};
    cluster_diff_tombstones(img, next, count_tombstone, &seen);
    assert_int_equal(seen.went, 1);
    assert_null(cluster_tombstone(next, &one));
    assert_null(cluster_broker_configs(next, 4));
    cluster_unref(img);
    cluster_unref(next);
}

static void a_forgotten_edit_changes_nothing(void **state)
{
    (void)state;
    struct cluster_edit *e = cluster_edit_new(NULL);
    cluster_edit_topic(e, numbered(1));
    struct cluster *img = cluster_edit_finish(e);
    e = cluster_edit_new(img);
    cluster_edit_topic(e, numbered(2));
    assert_int_equal(cluster_topic_count(cluster_edit_view(e)), 2);
    cluster_edit_free(e);
    assert_int_equal(cluster_topic_count(img), 1);
    cluster_unref(img);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_topic_is_a_copy_of_its_own),
        cmocka_unit_test(topics_are_found_by_id_and_name),
        cmocka_unit_test(requests_name_topics_by_name_or_id_or_both),
        cmocka_unit_test(an_edit_leaves_the_old_image_as_it_was),
        cmocka_unit_test(the_difference_is_what_changed),
        cmocka_unit_test(tables_agree_with_arrays),
        cmocka_unit_test(two_topics_of_one_name_do_not_break_the_tables),
        cmocka_unit_test(brokers_come_and_go),
        cmocka_unit_test(tombstones_and_configs_of_brokers_are_kept),
        cmocka_unit_test(a_forgotten_edit_changes_nothing),
    };
    return TEST_MAIN(tests, NULL, NULL);
}
