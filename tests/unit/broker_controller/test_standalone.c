/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One broker on the embedded store, over a real loop: what sluice-broker
 * --standalone is made of. Its topics are there after a restart.
 */
#include <stdio.h>

#include "broker/controller/controller.h"
#include "metad/coord/embedded.h"
#include "metad/follow/follower.h"
#include "metad/follow/registration.h"
#include "proto/base/diag.h"
#include "proto/base/mem.h"
#include "proto/schema/topic_admin.pb-c.h"
#include "tests/support/test.h"

struct alone {
    struct loop *l;
    struct rng rng;
    char file[512];
    char cluster_id[64];
    uint64_t incarnation;
    struct topic_config_values defaults;
    struct coord *coord;
    struct session *session;
    struct registration *reg;
    struct follower *f;
    struct controller *controller;
    bool is_answered;
    err e;
    uint64_t version;
};

#define alone_until(a, condition)                                                                  \
    do {                                                                                           \
        const int64_t give_up_ = test_deadline_ms(10000);                                          \
        while (!(condition) && test_now_ms() < give_up_)                                           \
            loop_turn((a)->l, 1000);                                                               \
        assert_true(condition);                                                                    \
    } while (0)

static void prepare(void *user, const char *cluster_id, uint64_t incarnation)
{
    struct alone *a = user;
    snprintf(a->cluster_id, sizeof a->cluster_id, "%s", cluster_id);
    a->incarnation = incarnation;
    registration_prepared(a->reg, OK);
}

static void on_registered(void *user, const char *cluster_id, uint64_t incarnation)
{
    struct alone *a = user;
    (void)cluster_id;
    controller_stand(a->controller, incarnation);
}

static void on_refused(void *user, err e, const char *why)
{
    (void)user;
    fail_msg("refused: %s %s", err_name(e), why);
}

static void start(struct alone *a)
{
    struct buf why = {0};
    assert_ok(coord_embedded_open(a->l, a->file, &a->coord, &why));
    a->session = session_new(a->l, a->coord, &a->rng);
    a->f = follower_new(a->session);
    a->controller = controller_new(&(struct controller_opts){.session = a->session,
                                                             .broker_id = 0,
                                                             .default_partitions = 1,
                                                             .default_replication_factor = 1,
                                                             .defaults = &a->defaults});
    a->reg = registration_new(&(struct registration_opts){.session = a->session,
                                                          .rack = "",
                                                          .cluster_id = a->cluster_id,
                                                          .incarnation_seen = a->incarnation,
                                                          .user = a,
                                                          .prepare = prepare,
                                                          .on_registered = on_registered,
                                                          .on_refused = on_refused});
    alone_until(a, controller_is_elected(a->controller) && follower_image(a->f) != NULL &&
                       cluster_broker_count(follower_image(a->f)) == 1);
}

static void stop(struct alone *a)
{
    session_free(a->session);
    coord_close(a->coord);
    controller_free(a->controller);
    registration_free(a->reg);
    follower_free(a->f);
    loop_turn(a->l, 0);
}

static void on_created(void *arg, err e, const char *why, const void *response)
{
    struct alone *a = arg;
    const Sluice__TopicsResponse *res = response;
    (void)why;
    a->is_answered = true;
    a->e = e;
    a->version = e == OK ? res->version : 0;
    for (size_t i = 0; e == OK && i < res->n_topic; i++)
        assert_null(res->topic[i]->error);
}

static void create(struct alone *a, int from, int count)
{
    Sluice__CreateTopicsRequest req = SLUICE__CREATE_TOPICS_REQUEST__INIT;
    Sluice__NewTopic *topics = mem_alloc((size_t)count * sizeof *topics);
    req.topic = mem_alloc((size_t)count * sizeof *req.topic);
    req.n_topic = (size_t)count;
    for (int i = 0; i < count; i++) {
        req.topic[i] = &topics[i];
        sluice__new_topic__init(&topics[i]);
        topics[i].name = mem_printf("topic-%d", from + i);
        topics[i].has_partitions = 1;
        topics[i].partitions = 3;
    }
    a->is_answered = false;
    controller_submit(a->controller, API_CREATE_TOPICS, &req, on_created, a);
    alone_until(a, a->is_answered);
    assert_ok(a->e);
    for (int i = 0; i < count; i++)
        mem_free(topics[i].name);
    mem_free(req.topic);
    mem_free(topics);
}

static void topics_are_there_after_a_restart_under_a_new_life(void **state)
{
    (void)state;
    struct alone a = {.rng = test_rng()};
    struct loop_backend *b;
    diag_set_level(DIAG_ERROR);
    assert_ok(loop_epoll_backend(&b));
    a.l = loop_new(b, "test");
    topic_config_values_init(&a.defaults);
    snprintf(a.file, sizeof a.file, "%s/coord.db", test_dir());
    for (uint64_t life = 1; life <= 4; life++) {
        start(&a);
        assert_int_equal(registration_incarnation(a.reg), life);
        assert_int_equal(controller_epoch(a.controller), life);
        create(&a, (int)life * 1000, 50);
        alone_until(&a, cluster_version(follower_image(a.f)) >= a.version);
        assert_int_equal(cluster_topic_count(follower_image(a.f)), 50 * life);
        for (uint64_t old = 1; old <= life; old++) {
            char name[32];
            snprintf(name, sizeof name, "topic-%d", (int)old * 1000 + 49);
            const struct topic *t = cluster_topic_named(follower_image(a.f), slice_str(name));
            assert_non_null(t);
            for (uint32_t i = 0; i < t->partition_count; i++) {
                /* Elected anew in each life, and only then (rule C7). */
                assert_int_equal(t->partitions[i].leader_epoch, life - old);
                assert_int_equal(t->partitions[i].leader_incarnation, life);
                assert_int_equal(t->partitions[i].leader, 0);
            }
        }
        stop(&a);
    }
    loop_free(a.l);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(topics_are_there_after_a_restart_under_a_new_life),
    };
    return TEST_MAIN(tests, NULL, NULL);
}
