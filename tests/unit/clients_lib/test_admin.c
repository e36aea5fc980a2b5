/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/clients_lib/world.h"

static sluice_admin *world_admin(struct world *w)
{
    sluice_admin *a;
    assert_sluice(
        w, admin_new_driven(w->clients, world_turn, w, test_seed(), w->config, &a, &w->error));
    return a;
}

static void topics_are_created_described_and_deleted(void **state)
{
    struct world *w = *state;
    sluice_admin *a = world_admin(w);
    const struct sluice_property config = {.key = "retention.ms", .value = "1000"};
    const struct sluice_new_topic topics[] = {
        {.name = "b", .partitions = 3, .configs = &config, .config_count = 1}, {.name = "a"}};
    struct sluice_topic_results *made;
    assert_sluice(w, sluice_admin_create_topics(a, topics, 2, false, 1000, &made, &w->error));
    assert_int_equal(made->count, 2);
    assert_string_equal(made->topics[0].name, "b");
    assert_null(made->topics[0].error);
    sluice_topic_results_free(made);
    struct sluice_cluster *cluster;
    assert_sluice(w, sluice_admin_describe(a, NULL, 0, 1000, &cluster, &w->error));
    assert_int_equal(cluster->broker_count, 3);
    assert_int_equal(cluster->brokers[0].id, 1);
    assert_int_equal(cluster->brokers[2].port, 7003);
    assert_int_equal(cluster->topic_count, 2);
    assert_string_equal(cluster->topics[0].name, "a"); /* by name */
    assert_int_equal(cluster->topics[1].partition_count, 3);
    assert_int_equal(cluster->topics[1].partitions[2].leader, 3);
    assert_int_equal(strlen(cluster->topics[1].id), 32);
    sluice_cluster_free(cluster);
    /* Of several the one that fails is told, and the others done. */
    const struct sluice_new_topic more[] = {{.name = "c"}, {.name = "a"}};
    assert_int_equal(sluice_admin_create_topics(a, more, 2, false, 1000, &made, &w->error),
                     SLUICE_E_TOPIC_EXISTS);
    assert_non_null(strstr(w->error.text, "create topics, topic a: "));
    assert_null(made->topics[0].error);
    assert_int_equal(made->topics[1].error->code, SLUICE_E_TOPIC_EXISTS);
    sluice_topic_results_free(made);
    assert_non_null(fake_cluster_find(w->fc, "c"));
    assert_sluice(w, sluice_admin_create_topics(a, &(struct sluice_new_topic){.name = "d"}, 1, true,
                                                1000, NULL, &w->error));
    assert_null(fake_cluster_find(w->fc, "d"));
    const char *const names[] = {"a", "none"};
    assert_int_equal(sluice_admin_delete_topics(a, names, 2, 1000, NULL, &w->error),
                     SLUICE_E_UNKNOWN_TOPIC_OR_PARTITION);
    assert_null(fake_cluster_find(w->fc, "a"));
    assert_int_equal(sluice_admin_describe(a, names, 1, 1000, &cluster, &w->error),
                     SLUICE_E_UNKNOWN_TOPIC_OR_PARTITION);
    assert_non_null(cluster); /* there was an answer: it says which */
    assert_non_null(cluster->topics[0].error);
    sluice_cluster_free(cluster);
    sluice_admin_free(a);
}

static void offsets_are_asked_of_the_leaders(void **state)
{
    struct world *w = *state;
    enum { PARTS = 5 };
    struct fake_topic *t = fake_cluster_topic(w->fc, "t", PARTS);
    struct sluice_topic_partition tps[PARTS];
    sluice_producer *p = world_filler(w);
    for (int i = 0; i < PARTS; i++) {
        tps[i] = (struct sluice_topic_partition){
            .topic = "t", .partition = i, .offset = SLUICE_TIME_LATEST};
        for (int k = 0; k <= i; k++)
            world_send(w, p, "t", i, (uintptr_t)k);
    }
    assert_sluice(w, sluice_producer_close(p, 1000, &w->error));
    sluice_admin *a = world_admin(w);
    struct sluice_offset_results *r;
    assert_sluice(w, sluice_admin_list_offsets(a, tps, PARTS, 1000, &r, &w->error));
    assert_int_equal(r->count, PARTS);
    for (int i = 0; i < PARTS; i++) {
        assert_int_equal(r->offsets[i].partition, i);
        assert_int_equal(r->offsets[i].offset, i + 1);
    }
    sluice_offset_results_free(r);
    tps[4].offset = 3;
    for (int i = 0; i < 4; i++)
        tps[i].offset = SLUICE_OFFSET_END;
    assert_sluice(w, sluice_admin_delete_records(a, tps, PARTS, 1000, &r, &w->error));
    assert_int_equal(r->offsets[4].offset, 3);
    assert_int_equal(r->offsets[2].offset, 3);
    sluice_offset_results_free(r);
    assert_int_equal(t->partitions[4].low, 3);
    /* A leader that moved is found; one that is not there is waited for, and named. */
    for (int i = 0; i < PARTS; i++)
        tps[i].offset = SLUICE_TIME_EARLIEST;
    fake_cluster_move(w->fc, &t->partitions[1], 3, false);
    assert_sluice(w, sluice_admin_list_offsets(a, tps, PARTS, 5000, &r, &w->error));
    assert_int_equal(r->offsets[1].offset, 2);
    sluice_offset_results_free(r);
    fake_cluster_move(w->fc, &t->partitions[2], -1, true);
    const int64_t before_us = fake_world_now_us(w->w);
    assert_int_equal(sluice_admin_list_offsets(a, tps, PARTS, 1000, &r, &w->error),
                     SLUICE_E_LEADER_NOT_AVAILABLE);
    assert_in_range(fake_world_now_us(w->w) - before_us, 900000, 1002000);
    assert_non_null(strstr(w->error.text, "topic t partition 2"));
    assert_null(r->offsets[3].error);
    sluice_offset_results_free(r);
    tps[0].partition = 99;
    assert_int_equal(sluice_admin_list_offsets(a, tps, 1, 1000, NULL, &w->error),
                     SLUICE_E_UNKNOWN_TOPIC_OR_PARTITION);
    assert_non_null(strstr(w->error.text, "has 5 partitions"));
    tps[0].topic = "none";
    const int64_t asked_us = fake_world_now_us(w->w);
    assert_int_equal(sluice_admin_list_offsets(a, tps, 1, 60000, NULL, &w->error),
                     SLUICE_E_UNKNOWN_TOPIC_OR_PARTITION);
    assert_true(fake_world_now_us(w->w) - asked_us < SECOND);
    sluice_admin_free(a);
}

static void calls_survive_a_dead_metad_and_keep_deadlines(void **state)
{
    struct world *w = *state;
    fake_cluster_topic(w->fc, "t", 1);
    sluice_admin *a = world_admin(w);
    struct sluice_cluster *cluster;
    for (size_t i = 0; i < 3; i++) {
        assert_sluice(w, sluice_admin_describe(a, NULL, 0, 5000, &cluster, &w->error));
        sluice_cluster_free(cluster);
        world_stop_broker(w, i);
    }
    const int64_t before_us = fake_world_now_us(w->w);
    assert_int_equal(sluice_admin_describe(a, NULL, 0, 1500, &cluster, &w->error),
                     SLUICE_E_TIMED_OUT);
    assert_in_range(fake_world_now_us(w->w) - before_us, 1400000, 1502000);
    assert_null(cluster);
    assert_non_null(strstr(w->error.text, "127.0.0.1:700"));
    assert_int_equal(sluice_admin_describe(a, NULL, 0, 0, &cluster, &w->error), SLUICE_E_TIMED_OUT);
    sluice_admin_wakeup(a);
    assert_int_equal(sluice_admin_describe(a, NULL, 0, 1000, &cluster, &w->error),
                     SLUICE_E_CANCELLED);
    sluice_admin_free(a);
}

static void wake(void *admin)
{
    sluice_admin_wakeup(admin);
}

static void abandoned_calls_are_freed(void **state)
{
    struct world *w = *state;
    fake_cluster_topic(w->fc, "t", 1);
    sluice_admin *a = world_admin(w);
    struct sluice_cluster *cluster;
    struct timer timer = {0};
    const struct sluice_topic_partition tp = {.topic = "t", .offset = SLUICE_TIME_LATEST};
    /* Woken up in the middle; the answer comes later, or the admin is freed first. The leak checker
     * is the judge. */
    for (int i = 0; i < 2; i++) {
        fake_cluster_mute_metadata(w->fc, true);
        timer_start(w->clients, &timer, 50000, wake, a);
        assert_int_equal(sluice_admin_describe(a, NULL, 0, 1000, &cluster, &w->error),
                         SLUICE_E_CANCELLED);
        timer_start(w->clients, &timer, 50000, wake, a);
        assert_int_equal(sluice_admin_list_offsets(a, &tp, 1, 1000, NULL, &w->error),
                         SLUICE_E_CANCELLED);
        fake_cluster_mute_metadata(w->fc, false);
        if (i == 0)
            fake_world_run(w->w, 5 * SECOND);
    }
    sluice_admin_free(a);
}

static int setup(void **state)
{
    *state = world_new(3);
    return 0;
}

static int teardown(void **state)
{
    world_free(*state);
    return 0;
}

#define IN_WORLD(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        IN_WORLD(topics_are_created_described_and_deleted),
        IN_WORLD(offsets_are_asked_of_the_leaders),
        IN_WORLD(calls_survive_a_dead_metad_and_keep_deadlines),
        IN_WORLD(abandoned_calls_are_freed),
    };
    return TEST_MAIN(tests, NULL, NULL);
}
