/* SPDX-License-Identifier: Apache-2.0 */
#include "metad/follow/registration.h"

#include <stdio.h>

#include "tests/unit/metad_follow/follow_world.h"

static const struct endpoint endpoints[] = {{"CLIENT", "b.example", 9292}};

/* A broker as registration sees it. */
struct member {
    struct process p;
    struct registration *reg;
    unsigned prepared, registered;
    uint64_t prepared_incarnation, incarnation;
    char cluster_id[64];
    err refused;
    char why[512];
    err prepare_with;
    bool is_slow; /* prepare is answered by the test */
};

static void prepare(void *user, const char *cluster_id, uint64_t incarnation)
{
    struct member *m = user;
    (void)cluster_id;
    m->prepared++;
    m->prepared_incarnation = incarnation;
    if (!m->is_slow)
        registration_prepared(m->reg, m->prepare_with);
}

static void on_registered(void *user, const char *cluster_id, uint64_t incarnation)
{
    struct member *m = user;
    m->registered++;
    m->incarnation = incarnation;
    snprintf(m->cluster_id, sizeof m->cluster_id, "%s", cluster_id);
    assert_int_equal(m->prepared_incarnation, incarnation);
}

static void on_refused(void *user, err e, const char *why)
{
    struct member *m = user;
    m->refused = e;
    snprintf(m->why, sizeof m->why, "%s", why);
}

static void member_start(struct world *w, struct member *m, int32_t id, const char *cluster_id,
                         uint64_t seen)
{
    const bool is_slow = m->is_slow;
    const err prepare_with = m->prepare_with;
    *m = (struct member){.is_slow = is_slow, .prepare_with = prepare_with};
    m->p = process_start(w);
    m->reg = registration_new(&(struct registration_opts){.session = m->p.session,
                                                          .broker_id = id,
                                                          .rack = "",
                                                          .endpoints = endpoints,
                                                          .endpoint_count = 1,
                                                          .clean = true,
                                                          .cluster_id = cluster_id,
                                                          .incarnation_seen = seen,
                                                          .user = m,
                                                          .prepare = prepare,
                                                          .on_registered = on_registered,
                                                          .on_refused = on_refused});
}

static void member_stop(struct member *m)
{
    process_stop(&m->p);
    registration_free(m->reg);
}

static void the_first_broker_makes_the_cluster(void **state)
{
    struct world *w = *state;
    struct member m = {0};
    member_start(w, &m, 7, "", 0);
    world_until(w, m.registered);
    assert_int_equal(m.incarnation, 1);
    assert_int_equal(registration_incarnation(m.reg), 1);
    assert_int_equal(strlen(m.cluster_id), 32);
    for (unsigned i = 0; i < paths_skeleton_count; i++)
        assert_true(version_of(w, paths_skeleton[i]) >= 0);
    struct slice data;
    struct coord_stat stat;
    struct broker *b;
    const char *what;
    assert_ok(coord_model_peek(w->model, "/brokers/ids/7", &data, &stat));
    assert_int_equal(stat.owner_session, coord_session(m.p.c));
    assert_ok(nodes_unpack_broker(data, 7, &b, &what));
    assert_int_equal(b->incarnation, 1);
    assert_string_equal(b->endpoints[0].host, "b.example");
    broker_unref(b);
    member_stop(&m);
    assert_int_equal(version_of(w, "/brokers/ids/7"), -1);
}

static void an_unfinished_skeleton_is_completed(void **state)
{
    struct world *w = *state;
    struct member m = {0};
    for (unsigned i = 0; i < 3; i++)
        poke(w, COORD_CREATE, paths_skeleton[i], slice_of(NULL, 0), 0);
    member_start(w, &m, 7, "", 0);
    world_until(w, m.registered);
    for (unsigned i = 0; i < paths_skeleton_count; i++)
        assert_true(version_of(w, paths_skeleton[i]) >= 0);
    member_stop(&m);
}

static void brokers_that_start_together_make_one_cluster(void **state)
{
    struct world *w = *state;
    struct member m[4];
    memset(m, 0, sizeof m);
    for (int32_t i = 0; i < 4; i++)
        member_start(w, &m[i], i, "", 0);
    for (int i = 0; i < 4; i++) {
        world_until(w, m[i].registered);
        assert_string_equal(m[i].cluster_id, m[0].cluster_id);
    }
    for (int i = 0; i < 4; i++)
        member_stop(&m[i]);
}

static void every_life_has_a_higher_incarnation(void **state)
{
    struct world *w = *state;
    char cluster_id[64] = "";
    for (uint64_t life = 1; life <= 5; life++) {
        struct member m = {0};
        member_start(w, &m, 7, cluster_id, life - 1);
        world_until(w, m.registered);
        assert_int_equal(m.incarnation, life);
        memcpy(cluster_id, m.cluster_id, sizeof cluster_id);
        member_stop(&m);
    }
}

static void a_lost_session_registers_again(void **state)
{
    struct world *w = *state;
    struct member m = {0};
    member_start(w, &m, 7, "", 0);
    world_until(w, m.registered);
    coord_model_expire(m.p.c);
    world_until(w, registration_incarnation(m.reg) == 0);
    world_until(w, m.registered == 2);
    assert_int_equal(m.incarnation, 2);
    member_stop(&m);
}

/* Rule 5.4: an answer that was lost is found by reading back; nobody registers twice. */
static void a_lost_answer_is_found_again(void **state)
{
    struct world *w = *state;
    static const enum coord_model_loss losses[] = {LOSS_BEFORE_EFFECT, LOSS_AFTER_EFFECT};
    static const char *const paths[] = {PATH_CLUSTER, "/brokers/epoch/7", "/brokers/ids/7"};
    struct member m = {0};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        for (size_t k = 0; k < 2; k++) {
            const uint64_t before = m.incarnation;
            char cluster_id[64];
            memcpy(cluster_id, m.cluster_id, sizeof cluster_id);
            member_start(w, &m, 7, cluster_id, before);
            coord_model_lose_next_write(m.p.c, losses[k], paths[i]);
            world_until(w, m.registered);
            assert_int_equal(m.registered, 1);
            assert_int_equal(m.incarnation, version_of(w, "/brokers/epoch/7"));
            assert_int_equal(m.incarnation, before + 1);
            member_stop(&m);
        }
    }
}

static void an_own_ghost_is_replaced(void **state)
{
    struct world *w = *state;
    struct member first = {0};
    struct member second = {0};
    member_start(w, &first, 7, "", 0);
    world_until(w, first.registered);
    /* Killed: its session lives on for a while. The directories remember its incarnation. */
    coord_model_cut(first.p.c);
    member_start(w, &second, 7, first.cluster_id, 1);
    const int64_t began = fake_world_now_us(w->fake);
    world_until(w, second.registered);
    assert_true(fake_world_now_us(w->fake) - began < 2000000);
    assert_int_equal(second.incarnation, 2);
    struct slice data;
    struct coord_stat stat;
    assert_ok(coord_model_peek(w->model, "/brokers/ids/7", &data, &stat));
    assert_int_equal(stat.owner_session, coord_session(second.p.c));
    member_stop(&first);
    member_stop(&second);
}

static void another_live_process_of_the_id_is_not_pushed_out(void **state)
{
    struct world *w = *state;
    struct member first = {0};
    struct member second = {0};
    member_start(w, &first, 7, "", 0);
    world_until(w, first.registered);
    member_start(w, &second, 7, "", 0); /* other, empty directories */
    world_until(w, second.refused != OK);
    assert_err(second.refused, E_EXISTS);
    assert_non_null(strstr(second.why, "b.example"));
    assert_int_equal(second.registered, 0);
    assert_int_equal(version_of(w, "/brokers/epoch/7"), 1);
    member_stop(&second);
    member_stop(&first);
}

static void a_dead_process_of_the_id_is_waited_for(void **state)
{
    struct world *w = *state;
    struct member first = {0};
    struct member second = {0};
    member_start(w, &first, 7, "", 0);
    world_until(w, first.registered);
    coord_model_cut(first.p.c);
    member_start(w, &second, 7, "", 0); /* a new machine with empty directories */
    world_until(w, second.registered);
    assert_int_equal(second.incarnation, 2);
    member_stop(&first);
    member_stop(&second);
}

static void directories_of_another_cluster_are_refused(void **state)
{
    struct world *w = *state;
    struct member m = {0};
    member_start(w, &m, 7, "0123", 0);
    world_until(w, m.refused != OK);
    assert_err(m.refused, E_INCONSISTENT_CLUSTER_ID);
    assert_int_equal(version_of(w, PATH_CLUSTER), -1);
    member_stop(&m);
    poke_skeleton(w, "4567");
    member_start(w, &m, 7, "0123", 0);
    world_until(w, m.refused != OK);
    assert_err(m.refused, E_INCONSISTENT_CLUSTER_ID);
    assert_non_null(strstr(m.why, "0123"));
    assert_non_null(strstr(m.why, "4567"));
    member_stop(&m);
}

/* Rule Z9. */
static void a_store_that_went_back_is_refused(void **state)
{
    struct world *w = *state;
    struct member m = {0};
    poke_skeleton(w, "c");
    poke(w, COORD_CREATE, "/brokers/epoch/7", slice_of(NULL, 0), 0);
    poke(w, COORD_SET, "/brokers/epoch/7", slice_of(NULL, 0), 0);
    member_start(w, &m, 7, "c", 3);
    world_until(w, m.refused != OK);
    assert_err(m.refused, E_STALE_BROKER_EPOCH);
    member_stop(&m);
    /* Prepared and never registered is no such thing. */
    member_start(w, &m, 7, "c", 2);
    world_until(w, m.registered);
    assert_int_equal(m.incarnation, 2);
    member_stop(&m);
    /* A store that lost the broker altogether. */
    member_start(w, &m, 8, "c", 5);
    world_until(w, m.refused != OK);
    assert_err(m.refused, E_STALE_BROKER_EPOCH);
    member_stop(&m);
}

static void a_newer_feature_level_and_damaged_nodes_are_refused(void **state)
{
    struct world *w = *state;
    struct member m = {0};
    struct buf node = {0};
    poke_skeleton(w, "c");
    poke(w, COORD_SET, PATH_CLUSTER, slice_str("rubbish"), 0);
    member_start(w, &m, 7, "", 0);
    world_until(w, m.refused != OK);
    assert_err(m.refused, E_CORRUPT);
    member_stop(&m);
    nodes_pack_cluster(&(struct cluster_identity){.id = "c", .feature_level = 2}, &node);
    poke(w, COORD_SET, PATH_CLUSTER, buf_slice(&node), 1);
    member_start(w, &m, 7, "", 0);
    world_until(w, m.refused != OK);
    assert_err(m.refused, E_UNSUPPORTED_VERSION);
    member_stop(&m);
    buf_deinit(&node);
}

static void nothing_is_registered_before_it_is_written_down(void **state)
{
    struct world *w = *state;
    struct member m = {.is_slow = true};
    member_start(w, &m, 7, "", 0);
    world_until(w, m.prepared);
    fake_world_run(w->fake, 1000000);
    assert_int_equal(version_of(w, "/brokers/ids/7"), -1);
    assert_int_equal(version_of(w, "/brokers/epoch/7"), 0);
    registration_prepared(m.reg, OK);
    world_until(w, m.registered);
    member_stop(&m);
    m.is_slow = false;
    m.prepare_with = E_STORAGE;
    member_start(w, &m, 8, "", 0);
    world_until(w, m.refused != OK);
    assert_err(m.refused, E_STORAGE);
    assert_int_equal(version_of(w, "/brokers/ids/8"), -1);
    member_stop(&m);
}

static void a_session_lost_while_preparing_begins_anew(void **state)
{
    struct world *w = *state;
    struct member m = {.is_slow = true};
    member_start(w, &m, 7, "", 0);
    world_until(w, m.prepared == 1);
    coord_model_expire(m.p.c);
    world_until(w, m.prepared == 2);
    registration_prepared(m.reg, OK); /* of the first */
    fake_world_run(w->fake, 1000000);
    assert_int_equal(m.registered, 0);
    registration_prepared(m.reg, OK);
    world_until(w, m.registered);
    assert_int_equal(m.incarnation, 1);
    member_stop(&m);
}

static void set_true(void *arg)
{
    *(bool *)arg = true;
}

static void a_clean_stop_takes_the_registration_back(void **state)
{
    struct world *w = *state;
    struct member m = {0};
    bool is_done = false;
    member_start(w, &m, 7, "", 0);
    world_until(w, m.registered);
    coord_model_lose_next_write(m.p.c, LOSS_AFTER_EFFECT, "/brokers/ids/7");
    registration_withdraw(m.reg, set_true, &is_done);
    assert_int_equal(registration_incarnation(m.reg), 0);
    world_until(w, is_done);
    assert_int_equal(version_of(w, "/brokers/ids/7"), -1);
    assert_int_equal(version_of(w, "/brokers/epoch/7"), 1);
    member_stop(&m);
}

/* Goal: in a bad network, with sessions that end, brokers come to be registered under incarnations
 * that only grow, and the node says what the broker believes. Method: random losses and expiries,
 * then peace. */
static void registrations_survive_a_bad_network(void **state)
{
    struct world *w = *state;
    enum { BROKERS = 3 };
    struct member m[BROKERS];
    memset(m, 0, sizeof m);
    coord_model_opts_of(w->model)->loss_per_million = 200000;
    coord_model_opts_of(w->model)->lag_us_max = 200000;
    for (int32_t i = 0; i < BROKERS; i++)
        member_start(w, &m[i], i, "", 0);
    for (int step = 0; step < 60; step++) {
        const uint64_t which = rng_below(&w->rng, BROKERS);
        const uint64_t before = m[which].incarnation;
        if (rng_below(&w->rng, 3) == 0)
            coord_model_expire(m[which].p.c);
        fake_world_run(w->fake, (int64_t)rng_below(&w->rng, 2000000));
        assert_true(m[which].incarnation >= before);
        for (int i = 0; i < BROKERS; i++)
            assert_int_equal(m[i].refused, OK);
    }
    coord_model_opts_of(w->model)->loss_per_million = 0;
    for (int32_t i = 0; i < BROKERS; i++) {
        struct slice data;
        struct coord_stat stat;
        struct broker *b;
        const char *what;
        world_until(w, registration_incarnation(m[i].reg) > 0);
        assert_ok(coord_model_peek(w->model, path_of_broker(i).text, &data, &stat));
        assert_int_equal(stat.owner_session, coord_session(m[i].p.c));
        assert_ok(nodes_unpack_broker(data, i, &b, &what));
        assert_int_equal(b->incarnation, m[i].incarnation);
        assert_int_equal(b->incarnation, version_of(w, path_of_broker_epoch(i).text));
        broker_unref(b);
    }
    for (int i = 0; i < BROKERS; i++)
        member_stop(&m[i]);
}

#define WORLD(test) cmocka_unit_test_setup_teardown(test, world_setup, world_teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        WORLD(the_first_broker_makes_the_cluster),
        WORLD(an_unfinished_skeleton_is_completed),
        WORLD(brokers_that_start_together_make_one_cluster),
        WORLD(every_life_has_a_higher_incarnation),
        WORLD(a_lost_session_registers_again),
        WORLD(a_lost_answer_is_found_again),
        WORLD(an_own_ghost_is_replaced),
        WORLD(another_live_process_of_the_id_is_not_pushed_out),
        WORLD(a_dead_process_of_the_id_is_waited_for),
        WORLD(directories_of_another_cluster_are_refused),
        WORLD(a_store_that_went_back_is_refused),
        WORLD(a_newer_feature_level_and_damaged_nodes_are_refused),
        WORLD(nothing_is_registered_before_it_is_written_down),
        WORLD(a_session_lost_while_preparing_begins_anew),
        WORLD(a_clean_stop_takes_the_registration_back),
        WORLD(registrations_survive_a_bad_network),
    };
    return TEST_MAIN(tests, NULL, NULL);
}
