/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Brokers with session, registration, follower and controller on a model of
 * ZooKeeper, in virtual time.
 */
#include "broker/controller/controller.h"

#include <stdio.h>

#include "metad/follow/follower.h"
#include "metad/follow/registration.h"
#include "proto/base/diag.h"
#include "proto/base/limits.h"
#include "proto/schema/configs.pb-c.h"
#include "proto/schema/topic_admin.pb-c.h"
#include "tests/unit/metad_follow/follow_world.h"

enum { BROKERS_MAX = 5, RESULTS_MAX = 1200 };

struct member {
    struct world *w;
    struct process p;
    int32_t id;
    struct registration *reg;
    struct follower *f;
    struct subscription sub;
    struct controller *controller;
    const struct cluster *img;
    struct endpoint endpoint;
    char cluster_id[64];
    uint64_t incarnation_seen;
    bool is_running;
};

struct cluster_world {
    struct world *w;
    struct member members[BROKERS_MAX];
    struct topic_config_values defaults;
};

static void prepare(void *user, const char *cluster_id, uint64_t incarnation)
{
    struct member *m = user;
    snprintf(m->cluster_id, sizeof m->cluster_id, "%s", cluster_id);
    m->incarnation_seen = incarnation;
    registration_prepared(m->reg, OK);
}

static void on_registered(void *user, const char *cluster_id, uint64_t incarnation)
{
    struct member *m = user;
    (void)cluster_id;
    controller_stand(m->controller, incarnation);
}

static void on_refused(void *user, err e, const char *why)
{
    (void)user;
    fail_msg("a broker was refused: %s %s", err_name(e), why);
}

static int32_t epoch_of(const struct cluster *img, const char *name, uint32_t partition)
{
    const struct topic *t = cluster_topic_named(img, slice_str(name));
    return t != NULL && partition < t->partition_count ? t->partitions[partition].leader_epoch : -1;
}

static void epochs_do_not_fall(void *arg, const struct topic *old, const struct topic *new_)
{
    (void)arg;
    for (uint32_t i = 0; old != NULL && new_ != NULL && i < old->partition_count; i++) {
        assert_true(new_->partitions[i].leader_epoch >= old->partitions[i].leader_epoch);
        assert_true(new_->partitions[i].partition_epoch >= old->partitions[i].partition_epoch);
    }
}

static void on_image(void *arg, const struct cluster *img)
{
    struct member *m = arg;
    if (m->img != NULL)
        cluster_diff_topics(m->img, img, epochs_do_not_fall, NULL);
    cluster_unref(m->img);
    m->img = cluster_ref(img);
}

static err check_broker_configs(void *user, const struct property *set, size_t count,
                                struct buf *why)
{
    (void)user;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(set[i].key, "good") == 0)
            continue;
        buf_printf(why, "%s: no such key. ", set[i].key);
        return E_INVALID_CONFIG;
    }
    return OK;
}

static void member_start(struct cluster_world *cw, struct member *m)
{
    m->p = process_start(cw->w);
    m->endpoint = (struct endpoint){"CLIENT", "host", (uint16_t)(9000 + m->id)};
    m->f = follower_new(m->p.session);
    m->sub = (struct subscription){.home = cw->w->l, .on_image = on_image, .arg = m};
    follower_subscribe(m->f, &m->sub);
    m->controller =
        controller_new(&(struct controller_opts){.session = m->p.session,
                                                 .broker_id = m->id,
                                                 .default_partitions = 2,
                                                 .default_replication_factor = 1,
                                                 .defaults = &cw->defaults,
                                                 .check_broker_configs = check_broker_configs});
    m->reg = registration_new(&(struct registration_opts){.session = m->p.session,
                                                          .broker_id = m->id,
                                                          .rack = "",
                                                          .endpoints = &m->endpoint,
                                                          .endpoint_count = 1,
                                                          .cluster_id = m->cluster_id,
                                                          .incarnation_seen = m->incarnation_seen,
                                                          .user = m,
                                                          .prepare = prepare,
                                                          .on_registered = on_registered,
                                                          .on_refused = on_refused});
    m->is_running = true;
}

/* Without a goodbye the session lives on for a while. */
static void member_stop(struct member *m)
{
    process_stop(&m->p);
    controller_free(m->controller);
    registration_free(m->reg);
    follower_free(m->f);
    cluster_unref(m->img);
    m->img = NULL;
    m->is_running = false;
}

static struct member *elected(struct cluster_world *cw)
{
    for (int i = 0; i < BROKERS_MAX; i++)
        if (cw->members[i].is_running && controller_is_elected(cw->members[i].controller))
            return &cw->members[i];
    return NULL;
}

static bool all_see(struct cluster_world *cw)
{
    for (int i = 0; i < BROKERS_MAX; i++) {
        const struct member *m = &cw->members[i];
        if (m->is_running && (m->img == NULL ||
                              cluster_version(m->img) != (uint64_t)version_of(cw->w, PATH_CHANGES)))
            return false;
    }
    return true;
}

static void settle(struct cluster_world *cw)
{
    world_until(cw->w, elected(cw) != NULL && controller_backlog(elected(cw)->controller) == 0 &&
                           all_see(cw));
    fake_world_run(cw->w->fake, 200000);
    world_until(cw->w, all_see(cw));
}

static int setup_brokers(void **state, int count)
{
    struct cluster_world *cw = MEM_NEW(struct cluster_world);
    void *w;
    diag_set_level(DIAG_ERROR);
    world_setup(&w);
    cw->w = w;
    topic_config_values_init(&cw->defaults);
    for (int i = 0; i < BROKERS_MAX; i++)
        cw->members[i] = (struct member){.w = cw->w, .id = i + 1};
    for (int i = 0; i < count; i++)
        member_start(cw, &cw->members[i]);
    settle(cw);
    world_until(cw->w, cluster_broker_count(cw->members[0].img) == (uint32_t)count);
    *state = cw;
    return 0;
}

static int setup_one(void **state)
{
    return setup_brokers(state, 1);
}

static int setup_three(void **state)
{
    return setup_brokers(state, 3);
}

static int teardown(void **state)
{
    struct cluster_world *cw = *state;
    void *w = cw->w;
    for (int i = 0; i < BROKERS_MAX; i++)
        if (cw->members[i].is_running)
            member_stop(&cw->members[i]);
    mem_free(cw);
    return world_teardown(&w);
}

/* --- requests ------------------------------------------------------------------------- */

struct outcome {
    bool is_done;
    err e;
    char why[300];
    size_t count;
    err errors[RESULTS_MAX];
    char text[400]; /* of the last error */
    uint64_t version;
};

static void take_error(struct outcome *o, const Sluice__Error *error)
{
    assert_true(o->count < RESULTS_MAX);
    o->errors[o->count++] = error != NULL ? err_from_wire(error->code) : OK;
    if (error != NULL)
        snprintf(o->text, sizeof o->text, "%s", error->message);
}

static void on_topics(void *arg, err e, const char *why, const void *response)
{
    struct outcome *o = arg;
    const Sluice__TopicsResponse *res = response;
    assert_false(o->is_done);
    o->is_done = true;
    o->e = e;
    snprintf(o->why, sizeof o->why, "%s", why);
    if (e != OK)
        return;
    for (size_t i = 0; i < res->n_topic; i++)
        take_error(o, res->topic[i]->error);
    o->version = res->version;
}

static void on_configs(void *arg, err e, const char *why, const void *response)
{
    struct outcome *o = arg;
    const Sluice__AlterConfigsResponse *res = response;
    assert_false(o->is_done);
    o->is_done = true;
    o->e = e;
    snprintf(o->why, sizeof o->why, "%s", why);
    if (e != OK)
        return;
    for (size_t i = 0; i < res->n_result; i++)
        take_error(o, res->result[i]->error);
    o->version = res->version;
}

static char *str(const char *s)
{
    return (char *)(uintptr_t)s;
}

static void finish(struct cluster_world *cw, struct outcome *o)
{
    world_until(cw->w, o->is_done);
}

/* One topic; partitions and factor 0: the defaults. */
static void create_begin(struct cluster_world *cw, struct outcome *o, const char *name,
                         int32_t partitions, int32_t factor, const char *key, const char *value)
{
    /* The message must stay until it is answered. */
    struct messages {
        Sluice__CreateTopicsRequest req;
        Sluice__NewTopic topic, *topics[1];
        Sluice__Property config, *configs[1];
        char name[64];
    } *m = MEM_NEW(struct messages);
    sluice__create_topics_request__init(&m->req);
    sluice__new_topic__init(&m->topic);
    sluice__property__init(&m->config);
    snprintf(m->name, sizeof m->name, "%s", name);
    m->topic.name = m->name;
    m->topic.has_partitions = partitions != 0;
    m->topic.partitions = partitions;
    m->topic.has_replication_factor = factor != 0;
    m->topic.replication_factor = factor;
    m->config.key = str(key);
    m->config.value = str(value);
    m->configs[0] = &m->config;
    m->topic.config = m->configs;
    m->topic.n_config = key != NULL;
    m->topics[0] = &m->topic;
    m->req.topic = m->topics;
    m->req.n_topic = 1;
    *o = (struct outcome){0};
    controller_submit(elected(cw)->controller, API_CREATE_TOPICS, m, on_topics, o);
    finish(cw, o);
    mem_free(m);
}

static err create(struct cluster_world *cw, const char *name, int32_t partitions, int32_t factor)
{
    struct outcome o;
    create_begin(cw, &o, name, partitions, factor, NULL, NULL);
    return o.e != OK ? o.e : o.errors[0];
}

static err delete_topic(struct cluster_world *cw, const char *name)
{
    Sluice__DeleteTopicsRequest req = SLUICE__DELETE_TOPICS_REQUEST__INIT;
    char *names[] = {str(name)};
    struct outcome o = {0};
    req.topic = names;
    req.n_topic = 1;
    controller_submit(elected(cw)->controller, API_DELETE_TOPICS, &req, on_topics, &o);
    finish(cw, &o);
    return o.e != OK ? o.e : o.errors[0];
}

static const struct topic *topic_in(struct cluster_world *cw, const char *name)
{
    settle(cw);
    return cluster_topic_named(elected(cw)->img, slice_str(name));
}

/* --- election ----------------------------------------------------------------------------- */

static void one_broker_is_elected_and_everybody_knows(void **state)
{
    struct cluster_world *cw = *state;
    unsigned count = 0;
    for (int i = 0; i < 3; i++) {
        count += controller_is_elected(cw->members[i].controller);
        assert_int_equal(cluster_controller(cw->members[i].img), elected(cw)->id);
        assert_int_equal(cluster_broker_count(cw->members[i].img), 3);
    }
    assert_int_equal(count, 1);
    assert_int_equal(controller_epoch(elected(cw)->controller), 1);
    assert_int_equal(version_of(cw->w, PATH_CONTROLLER_EPOCH), 1);
}

static void another_takes_over_with_the_next_epoch(void **state)
{
    struct cluster_world *cw = *state;
    struct member *first = elected(cw);
    assert_ok(create(cw, "before", 1, 3));
    coord_model_cut(first->p.c);
    world_until(cw->w, version_of(cw->w, PATH_CONTROLLER_EPOCH) == 2);
    assert_true(controller_is_elected(first->controller)); /* it has not heard, and may not write */
    member_stop(first);
    world_until(cw->w, elected(cw) != NULL);
    assert_int_equal(controller_epoch(elected(cw)->controller), 2);
    assert_non_null(topic_in(cw, "before"));
    assert_ok(create(cw, "after", 1, 2));
    for (int i = 0; i < 3; i++) {
        if (!cw->members[i].is_running)
            continue;
        assert_int_equal(cluster_controller(cw->members[i].img), elected(cw)->id);
        assert_int_equal(cluster_broker_count(cw->members[i].img), 2);
    }
}

static void set_true(void *arg)
{
    *(bool *)arg = true;
}

static void a_clean_stop_gives_the_office_up_at_once(void **state)
{
    struct cluster_world *cw = *state;
    struct member *first = elected(cw);
    bool has_left = false;
    const int64_t began = fake_world_now_us(cw->w->fake);
    controller_leave(first->controller, set_true, &has_left);
    world_until(cw->w, has_left);
    world_until(cw->w, elected(cw) != NULL);
    assert_true(elected(cw) != first);
    assert_true(fake_world_now_us(cw->w->fake) - began < 1000000);
}

/* Rule C2. */
static void a_lost_answer_to_the_election_is_read_back(void **state)
{
    struct cluster_world *cw = *state;
    static const enum coord_model_loss losses[] = {LOSS_BEFORE_EFFECT, LOSS_AFTER_EFFECT};
    for (int i = 0; i < 2; i++) {
        struct member *m = &cw->members[0];
        const int32_t before = version_of(cw->w, PATH_CONTROLLER_EPOCH);
        member_stop(m);
        member_start(cw, m);
        coord_model_lose_next_write(m->p.c, losses[i], PATH_CONTROLLER);
        world_until(cw->w, elected(cw) != NULL);
        assert_int_equal(controller_epoch(m->controller), before + 1);
        assert_int_equal(version_of(cw->w, PATH_CONTROLLER_EPOCH), before + 1);
        assert_ok(create(cw, i == 0 ? "a" : "b", 1, 1));
    }
}

/* Rule C4, mutant M15: what an old controller still wants to write must not be written. */
static void a_controller_that_was_replaced_resigns_with_its_next_write(void **state)
{
    struct cluster_world *cw = *state;
    struct member *m = elected(cw);
    const int32_t changes = version_of(cw->w, PATH_CHANGES);
    poke(cw->w, COORD_SET, PATH_CONTROLLER_EPOCH, slice_of(NULL, 0), 1);
    struct outcome o;
    create_begin(cw, &o, "t", 1, 1, NULL, NULL);
    assert_err(o.e, E_NOT_CONTROLLER);
    assert_int_equal(version_of(cw->w, PATH_CHANGES), changes);
    assert_false(controller_is_elected(m->controller));
    /* It stands again and wins a new epoch. */
    world_until(cw->w, controller_is_elected(m->controller));
    assert_int_equal(controller_epoch(m->controller), 3);
    assert_ok(create(cw, "t", 1, 1));
}

/* --- topics --------------------------------------------------------------------------------- */

static void a_topic_is_created_with_defaults(void **state)
{
    struct cluster_world *cw = *state;
    struct outcome o;
    create_begin(cw, &o, "orders", 0, 0, "retention.ms", "5");
    assert_ok(o.e);
    assert_ok(o.errors[0]);
    world_until(cw->w, all_see(cw));
    const struct cluster *img = cw->members[0].img;
    assert_true(cluster_version(img) >= o.version);
    assert_true(o.version > 0);
    const struct topic *t = cluster_topic_named(img, slice_str("orders"));
    assert_int_equal(t->partition_count, 2);
    assert_int_equal(t->min_insync_replicas, 1);
    assert_string_equal(topic_config(t, "retention.ms"), "5");
    for (uint32_t i = 0; i < 2; i++) {
        const struct partition_state *p = &t->partitions[i];
        assert_int_equal(p->leader, 1);
        assert_int_equal(p->leader_incarnation, 1);
        assert_int_equal(p->leader_epoch, 0);
        assert_int_equal(p->isr_count, 1);
        assert_int_equal(p->controller_epoch, 1);
        assert_true(p->nonce != 0);
    }
}

static void replicas_are_spread_and_the_minimum_follows(void **state)
{
    struct cluster_world *cw = *state;
    assert_ok(create(cw, "wide", 30, 3));
    const struct topic *t = topic_in(cw, "wide");
    unsigned leaders[4] = {0};
    assert_int_equal(t->min_insync_replicas, 2);
    for (uint32_t i = 0; i < 30; i++) {
        assert_int_equal(t->partitions[i].isr_count, 3);
        leaders[t->partitions[i].leader]++;
    }
    for (int i = 1; i <= 3; i++)
        assert_int_equal(leaders[i], 10);
}

static void bad_topics_are_refused_with_a_sentence(void **state)
{
    struct cluster_world *cw = *state;
    assert_ok(create(cw, "a.b", 1, 1));
    static const struct {
        const char *name;
        int32_t partitions, factor;
        const char *key, *value;
        err expected;
        const char *phrase;
    } rows[] = {
        {"", 1, 1, NULL, NULL, E_INVALID_TOPIC, "empty"},
        {"a/b", 1, 1, NULL, NULL, E_INVALID_TOPIC, "\"a/b\""},
        {"..", 1, 1, NULL, NULL, E_INVALID_TOPIC, "'..'"},
        {"a.b", 1, 1, NULL, NULL, E_TOPIC_EXISTS, "a.b exists"},
        {"a_b", 1, 1, NULL, NULL, E_INVALID_TOPIC, "only by '.' and '_'"},
        {"c", -1, 1, NULL, NULL, E_INVALID_PARTITIONS, "-1 partitions"},
        {"c", 10001, 1, NULL, NULL, E_INVALID_PARTITIONS, "10001"},
        {"c", 2147483647, 1, NULL, NULL, E_INVALID_PARTITIONS, "2147483647"},
        {"c", 1, -1, NULL, NULL, E_INVALID_REPLICATION_FACTOR, "-1"},
        {"c", 1, 2, NULL, NULL, E_INVALID_REPLICATION_FACTOR, "only 1 broker is registered"},
        {"c", 1, 17, NULL, NULL, E_INVALID_REPLICATION_FACTOR, "17"},
        {"c", 1, 1, "retention.ms", "x", E_INVALID_CONFIG, "retention.ms"},
        {"c", 1, 1, "no.such", "1", E_INVALID_CONFIG, "no.such"},
    };
    const int32_t changes = version_of(cw->w, PATH_CHANGES);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct outcome o;
        create_begin(cw, &o, rows[i].name, rows[i].partitions, rows[i].factor, rows[i].key,
                     rows[i].value);
        assert_ok(o.e);
        assert_err(o.errors[0], rows[i].expected);
        assert_non_null(strstr(o.text, rows[i].phrase));
    }
    assert_int_equal(version_of(cw->w, PATH_CHANGES), changes);
}

static void assignments_are_taken_as_they_are_or_refused(void **state)
{
    struct cluster_world *cw = *state;
    static const struct {
        int32_t brokers[2][3];
        size_t counts[2];
        err expected;
    } rows[] = {
        {{{3, 1}, {2, 3}}, {2, 2}, OK},
        {{{1, 1}, {2, 3}}, {2, 2}, E_INVALID_REPLICA_ASSIGNMENT},
        {{{1, 2}, {3}}, {2, 1}, E_INVALID_REPLICA_ASSIGNMENT},
        {{{1, 9}, {2, 3}}, {2, 2}, E_INVALID_REPLICA_ASSIGNMENT},
        {{{1, -5}, {2, 3}}, {2, 2}, E_INVALID_REPLICA_ASSIGNMENT},
        {{{0}, {0}}, {0, 0}, E_INVALID_REPLICATION_FACTOR},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        Sluice__CreateTopicsRequest req = SLUICE__CREATE_TOPICS_REQUEST__INIT;
        Sluice__NewTopic nt = SLUICE__NEW_TOPIC__INIT;
        Sluice__NewTopic *topics[] = {&nt};
        Sluice__ReplicaAssignment assignments[2];
        Sluice__ReplicaAssignment *list[2];
        char name[8];
        snprintf(name, sizeof name, "t%zu", i);
        for (size_t k = 0; k < 2; k++) {
            list[k] = &assignments[k];
            sluice__replica_assignment__init(list[k]);
            list[k]->n_broker = rows[i].counts[k];
            list[k]->broker = (int32_t *)(uintptr_t)rows[i].brokers[k];
        }
        nt.name = name;
        nt.n_assignment = 2;
        nt.assignment = list;
        req.n_topic = 1;
        req.topic = topics;
        struct outcome o = {0};
        controller_submit(elected(cw)->controller, API_CREATE_TOPICS, &req, on_topics, &o);
        finish(cw, &o);
        assert_err(o.errors[0], rows[i].expected);
        nt.has_partitions = 1;
        nt.partitions = 2;
        snprintf(name, sizeof name, "u%zu", i);
        o = (struct outcome){0};
        controller_submit(elected(cw)->controller, API_CREATE_TOPICS, &req, on_topics, &o);
        finish(cw, &o);
        assert_err(o.errors[0], E_INVALID_REQUEST);
    }
    const struct topic *t = topic_in(cw, "t0");
    assert_int_equal(t->partitions[0].leader, 3);
    assert_int_equal(t->partitions[1].replicas[1], 3);
}

static void validation_writes_nothing(void **state)
{
    struct cluster_world *cw = *state;
    Sluice__CreateTopicsRequest req = SLUICE__CREATE_TOPICS_REQUEST__INIT;
    Sluice__NewTopic good = SLUICE__NEW_TOPIC__INIT;
    Sluice__NewTopic bad = SLUICE__NEW_TOPIC__INIT;
    Sluice__NewTopic *topics[] = {&good, &bad};
    const int32_t changes = version_of(cw->w, PATH_CHANGES);
    good.name = str("good");
    bad.name = str("b a d");
    req.topic = topics;
    req.n_topic = 2;
    req.has_validate_only = 1;
    req.validate_only = 1;
    struct outcome o = {0};
    controller_submit(elected(cw)->controller, API_CREATE_TOPICS, &req, on_topics, &o);
    finish(cw, &o);
    assert_ok(o.errors[0]);
    assert_err(o.errors[1], E_INVALID_TOPIC);
    assert_int_equal(version_of(cw->w, PATH_CHANGES), changes);
}

static void many_topics_of_one_request_are_all_told_in_order(void **state)
{
    struct cluster_world *cw = *state;
    enum { COUNT = 1000 };
    static Sluice__NewTopic topics[COUNT];
    static Sluice__NewTopic *list[COUNT];
    static char names[COUNT][16];
    Sluice__CreateTopicsRequest req = SLUICE__CREATE_TOPICS_REQUEST__INIT;
    for (int i = 0; i < COUNT; i++) {
        sluice__new_topic__init(&topics[i]);
        snprintf(names[i], sizeof names[i], i % 10 == 9 ? "bad name %d" : "t-%d", i);
        topics[i].name = names[i];
        list[i] = &topics[i];
    }
    snprintf(names[500], sizeof names[500], "t-0"); /* twice in one request */
    req.topic = list;
    req.n_topic = COUNT;
    static struct outcome o;
    o = (struct outcome){0};
    controller_submit(elected(cw)->controller, API_CREATE_TOPICS, &req, on_topics, &o);
    finish(cw, &o);
    assert_int_equal(o.count, COUNT);
    for (int i = 0; i < COUNT; i++)
        assert_err(o.errors[i], i % 10 == 9 ? E_INVALID_TOPIC : i == 500 ? E_TOPIC_EXISTS : OK);
    settle(cw);
    assert_int_equal(cluster_topic_count(elected(cw)->img), COUNT - COUNT / 10 - 1);
}

static void a_topic_of_ten_thousand_partitions_is_possible(void **state)
{
    struct cluster_world *cw = *state;
    assert_ok(create(cw, "huge", TOPIC_PARTITIONS_MAX, 3));
    const struct topic *t = topic_in(cw, "huge");
    assert_int_equal(t->partition_count, TOPIC_PARTITIONS_MAX);
}

static void a_deleted_topic_leaves_a_tombstone_until_all_have_confirmed(void **state)
{
    struct cluster_world *cw = *state;
    assert_ok(create(cw, "t", 4, 2));
    const struct uuid id = topic_in(cw, "t")->id;
    assert_ok(delete_topic(cw, "t"));
    assert_null(topic_in(cw, "t"));
    const struct tombstone *stone = cluster_tombstone(elected(cw)->img, &id);
    assert_non_null(stone);
    assert_int_equal(stone->waiting_count, 3);
    assert_string_equal(stone->name, "t");
    controller_confirm_deleted(elected(cw)->controller, 2, &id);
    controller_confirm_deleted(elected(cw)->controller, 2, &id);
    settle(cw);
    assert_int_equal(cluster_tombstone(elected(cw)->img, &id)->waiting_count, 2);
    /* The name is free at once, under another id. */
    assert_ok(create(cw, "t", 1, 1));
    assert_memory_not_equal(&topic_in(cw, "t")->id, &id, sizeof id);
    controller_confirm_deleted(elected(cw)->controller, 1, &id);
    controller_confirm_deleted(elected(cw)->controller, 3, &id);
    settle(cw);
    assert_null(cluster_tombstone(elected(cw)->img, &id));
    assert_int_equal(version_of(cw->w, path_of_tombstone(&id).text), -1);
    assert_non_null(topic_in(cw, "t"));
    assert_err(delete_topic(cw, "nothing"), E_UNKNOWN_TOPIC_OR_PARTITION);
}

static void topics_are_deleted_by_id_too(void **state)
{
    struct cluster_world *cw = *state;
    assert_ok(create(cw, "t", 1, 1));
    struct uuid id = topic_in(cw, "t")->id;
    struct uuid wrong = id;
    wrong.bytes[0]++;
    ProtobufCBinaryData ids[] = {{16, wrong.bytes}, {16, id.bytes}, {3, id.bytes}, {0, NULL}};
    Sluice__DeleteTopicsRequest req = SLUICE__DELETE_TOPICS_REQUEST__INIT;
    req.topic_id = ids;
    req.n_topic_id = 4;
    struct outcome o = {0};
    controller_submit(elected(cw)->controller, API_DELETE_TOPICS, &req, on_topics, &o);
    finish(cw, &o);
    assert_err(o.errors[0], E_UNKNOWN_TOPIC_ID);
    assert_ok(o.errors[1]);
    assert_err(o.errors[2], E_UNKNOWN_TOPIC_ID);
    assert_err(o.errors[3], E_UNKNOWN_TOPIC_ID);
    assert_null(topic_in(cw, "t"));
}

static err grow(struct cluster_world *cw, const char *name, int32_t total)
{
    Sluice__CreatePartitionsRequest req = SLUICE__CREATE_PARTITIONS_REQUEST__INIT;
    Sluice__PartitionsOf of = SLUICE__PARTITIONS_OF__INIT;
    Sluice__PartitionsOf *list[] = {&of};
    of.name = str(name);
    of.has_total = 1;
    of.total = total;
    req.n_topic = 1;
    req.topic = list;
    struct outcome o = {0};
    controller_submit(elected(cw)->controller, API_CREATE_PARTITIONS, &req, on_topics, &o);
    finish(cw, &o);
    return o.errors[0];
}

static void partitions_are_added_never_taken(void **state)
{
    struct cluster_world *cw = *state;
    assert_ok(create(cw, "t", 3, 2));
    assert_ok(grow(cw, "t", 10));
    const struct topic *t = topic_in(cw, "t");
    assert_int_equal(t->partition_count, 10);
    for (uint32_t i = 0; i < 10; i++) {
        assert_int_equal(t->partitions[i].replica_count, 2);
        assert_true(t->partitions[i].leader != NO_BROKER);
    }
    assert_err(grow(cw, "t", 10), E_INVALID_PARTITIONS);
    assert_err(grow(cw, "t", 9), E_INVALID_PARTITIONS);
    assert_err(grow(cw, "t", -1), E_INVALID_PARTITIONS);
    assert_err(grow(cw, "t", 10001), E_INVALID_PARTITIONS);
    assert_err(grow(cw, "no", 3), E_UNKNOWN_TOPIC_OR_PARTITION);
}

/* --- configs ------------------------------------------------------------------------------------
 */

static struct outcome alter(struct cluster_world *cw, int32_t type, const char *name,
                            const char *key, const char *value, const char *deleted)
{
    Sluice__AlterConfigsRequest req = SLUICE__ALTER_CONFIGS_REQUEST__INIT;
    Sluice__AlterConfigsOf of = SLUICE__ALTER_CONFIGS_OF__INIT;
    Sluice__AlterConfigsOf *list[] = {&of};
    Sluice__ConfigResource resource = SLUICE__CONFIG_RESOURCE__INIT;
    Sluice__Property property = SLUICE__PROPERTY__INIT;
    Sluice__Property *set[] = {&property};
    char *deletes[] = {str(deleted)};
    resource.has_type = 1;
    resource.type = type;
    resource.name = str(name);
    property.key = str(key);
    property.value = str(value);
    of.resource = &resource;
    of.n_set = key != NULL;
    of.set = set;
    of.n_delete_ = deleted != NULL;
    of.delete_ = deletes;
    req.n_alteration = 1;
    req.alteration = list;
    struct outcome o = {0};
    controller_submit(elected(cw)->controller, API_ALTER_CONFIGS, &req, on_configs, &o);
    finish(cw, &o);
    return o;
}

enum { TOPIC = 1, BROKER = 2 };

static void configs_of_topics_are_set_and_taken_back(void **state)
{
    struct cluster_world *cw = *state;
    assert_ok(create(cw, "t", 1, 1));
    assert_ok(alter(cw, TOPIC, "t", "segment.ms", "7", NULL).errors[0]);
    assert_ok(alter(cw, TOPIC, "t", "retention.ms", "5", NULL).errors[0]);
    assert_ok(alter(cw, TOPIC, "t", "segment.ms", "8", NULL).errors[0]);
    const struct topic *t = topic_in(cw, "t");
    assert_int_equal(t->config_count, 2);
    assert_string_equal(topic_config(t, "segment.ms"), "8");
    assert_ok(alter(cw, TOPIC, "t", NULL, NULL, "segment.ms").errors[0]);
    assert_null(topic_config(topic_in(cw, "t"), "segment.ms"));
    const int32_t changes = version_of(cw->w, PATH_CHANGES);
    assert_ok(alter(cw, TOPIC, "t", "retention.ms", "5", NULL).errors[0]);
    assert_int_equal(version_of(cw->w, PATH_CHANGES), changes); /* nothing to write */
    assert_err(alter(cw, TOPIC, "t", "retention.ms", "-9", NULL).errors[0], E_INVALID_CONFIG);
    assert_err(alter(cw, TOPIC, "t", "x", "1", NULL).errors[0], E_INVALID_CONFIG);
    assert_err(alter(cw, TOPIC, "t", NULL, NULL, "x").errors[0], E_INVALID_CONFIG);
    assert_err(alter(cw, TOPIC, "t", "segment.ms", "1", "segment.ms").errors[0], E_INVALID_CONFIG);
    assert_err(alter(cw, TOPIC, "no", "segment.ms", "1", NULL).errors[0],
               E_UNKNOWN_TOPIC_OR_PARTITION);
    assert_err(alter(cw, 9, "t", "segment.ms", "1", NULL).errors[0], E_INVALID_REQUEST);
}

static void another_minimum_raises_the_partition_epochs(void **state)
{
    struct cluster_world *cw = *state;
    assert_ok(create(cw, "t", 2, 3));
    const uint32_t before = topic_in(cw, "t")->partitions[1].partition_epoch;
    assert_ok(alter(cw, TOPIC, "t", "min.insync.replicas", "3", NULL).errors[0]);
    assert_int_equal(topic_in(cw, "t")->min_insync_replicas, 3);
    assert_int_equal(topic_in(cw, "t")->partitions[1].partition_epoch, before + 1);
    assert_ok(alter(cw, TOPIC, "t", "min.insync.replicas", "9", NULL).errors[0]);
    assert_int_equal(topic_in(cw, "t")->min_insync_replicas, 3);
    assert_int_equal(topic_in(cw, "t")->partitions[1].partition_epoch, before + 1);
    assert_ok(alter(cw, TOPIC, "t", NULL, NULL, "min.insync.replicas").errors[0]);
    assert_int_equal(topic_in(cw, "t")->min_insync_replicas, 2);
}

static void configs_of_brokers_are_kept(void **state)
{
    struct cluster_world *cw = *state;
    assert_ok(alter(cw, BROKER, "1", "good", "5", NULL).errors[0]);
    settle(cw);
    assert_string_equal(cluster_broker_configs(elected(cw)->img, 1)->configs[0].value, "5");
    assert_ok(alter(cw, BROKER, "1", "good", "6", NULL).errors[0]);
    settle(cw);
    assert_string_equal(cluster_broker_configs(elected(cw)->img, 1)->configs[0].value, "6");
    assert_ok(alter(cw, BROKER, "1", NULL, NULL, "good").errors[0]);
    settle(cw);
    assert_int_equal(cluster_broker_configs(elected(cw)->img, 1)->config_count, 0);
    assert_err(alter(cw, BROKER, "1", "bad", "5", NULL).errors[0], E_INVALID_CONFIG);
    assert_err(alter(cw, BROKER, "2", "good", "5", NULL).errors[0], E_BROKER_NOT_AVAILABLE);
    assert_err(alter(cw, BROKER, "one", "good", "5", NULL).errors[0], E_INVALID_REQUEST);
}

/* --- brokers come and go
 * -------------------------------------------------------------------------- */

static void leaders_move_when_a_broker_dies_and_it_returns_to_the_set_as_a_follower(void **state)
{
    struct cluster_world *cw = *state;
    assert_ok(create(cw, "t", 6, 3));
    settle(cw);
    struct member *victim = NULL;
    for (int i = 0; i < 3; i++)
        if (&cw->members[i] != elected(cw))
            victim = &cw->members[i];
    member_stop(victim);
    world_until(cw->w, cluster_broker(elected(cw)->img, victim->id) == NULL);
    const struct topic *t = topic_in(cw, "t");
    for (uint32_t i = 0; i < 6; i++) {
        const struct partition_state *p = &t->partitions[i];
        assert_true(p->leader != NO_BROKER);
        assert_int_not_equal(p->leader, victim->id);
        assert_false(partition_has_isr(p, victim->id));
        assert_int_equal(p->isr_count, 2);
        assert_int_equal(p->leader_epoch, p->replicas[0] == victim->id ? 1 : 0);
    }
    member_start(cw, victim);
    world_until(cw->w, cluster_broker(elected(cw)->img, victim->id) != NULL);
    settle(cw);
    /* Its way back into the set is by following: rule L6. */
    assert_false(partition_has_isr(&topic_in(cw, "t")->partitions[0], victim->id));
}

static void a_broker_that_bounced_leads_under_its_new_life(void **state)
{
    struct cluster_world *cw = *state;
    assert_ok(create(cw, "t", 2, 1));
    member_stop(&cw->members[0]);
    member_start(cw, &cw->members[0]);
    world_until(cw->w, elected(cw) != NULL);
    settle(cw);
    world_until(cw->w, epoch_of(elected(cw)->img, "t", 1) == 1);
    const struct partition_state *p = &topic_in(cw, "t")->partitions[1];
    assert_int_equal(p->leader, 1);
    assert_int_equal(p->leader_incarnation, 2);
    assert_int_equal(p->isr_count, 1);
}

/* Mutant M17: a leader is elected for one life of a broker. */
static void a_stale_incarnation_fails_the_write_and_is_looked_at_again(void **state)
{
    struct cluster_world *cw = *state;
    struct member *other = &cw->members[elected(cw) == &cw->members[0] ? 1 : 0];
    const struct path path = path_of_broker_epoch(other->id);
    /* Another process of that id is just registering: the epoch is raised, its node not there yet.
     */
    poke(cw->w, COORD_SET, path.text, slice_of(NULL, 0), version_of(cw->w, path.text));
    struct outcome o;
    create_begin(cw, &o, "t", 30, 3, NULL, NULL);
    assert_err(o.errors[0], E_COORDINATION);
    assert_null(topic_in(cw, "t"));
}

/* --- lost answers, and hands other than ours
 * --------------------------------------------------------- */

static void a_lost_answer_is_settled_by_reading_back(void **state)
{
    struct cluster_world *cw = *state;
    static const enum coord_model_loss losses[] = {LOSS_BEFORE_EFFECT, LOSS_AFTER_EFFECT};
    char name[16];
    for (int i = 0; i < 20; i++) {
        snprintf(name, sizeof name, "t-%d", i);
        coord_model_lose_next_write(elected(cw)->p.c, losses[i % 2], PATH_CHANGES);
        assert_ok(create(cw, name, 1, 1));
        assert_non_null(topic_in(cw, name));
        assert_int_equal(cluster_topic_count(elected(cw)->img), i + 1);
    }
    assert_int_equal(controller_epoch(elected(cw)->controller), 1);
}

/* /changes moved by one, as mine would have moved it, but it was the write of another controller.
 */
static void anothers_write_is_not_taken_for_ones_own(void **state)
{
    struct cluster_world *cw = *state;
    struct member *m = elected(cw);
    const struct uuid theirs = numbered_id(1);
    Sluice__CreateTopicsRequest req = SLUICE__CREATE_TOPICS_REQUEST__INIT;
    Sluice__NewTopic nt = SLUICE__NEW_TOPIC__INIT;
    Sluice__NewTopic *list[] = {&nt};
    nt.name = str("mine");
    req.topic = list;
    req.n_topic = 1;
    struct outcome o = {0};
    coord_model_lose_next_write(m->p.c, LOSS_BEFORE_EFFECT, PATH_CHANGES);
    controller_submit(m->controller, API_CREATE_TOPICS, &req, on_topics, &o);
    world_until(cw->w, coord_state(m->p.c) != COORD_CONNECTED);
    coord_model_cut(m->p.c);
    poke(cw->w, COORD_SET, PATH_CONTROLLER_EPOCH, slice_of(NULL, 0), 1);
    poke_change(cw->w, &theirs, NO_BROKER);
    coord_model_heal(m->p.c);
    finish(cw, &o);
    assert_true(o.e == E_NOT_CONTROLLER || o.errors[0] == E_TIMED_OUT);
    world_until(cw->w, elected(cw) != NULL);
    assert_null(topic_in(cw, "mine"));
}

static void another_hand_in_the_tree_is_noticed(void **state)
{
    struct cluster_world *cw = *state;
    assert_ok(create(cw, "t", 1, 1));
    const struct uuid id = topic_in(cw, "t")->id;
    const struct path path = path_of_topic(&id);
    struct slice data;
    struct coord_stat stat;
    struct buf copy = {0};
    assert_ok(coord_model_peek(cw->w->model, path.text, &data, &stat));
    buf_append(&copy, data.data, data.size);
    poke(cw->w, COORD_SET, path.text, buf_slice(&copy), stat.version);
    assert_ok(alter(cw, TOPIC, "t", "retention.ms", "5", NULL).errors[0]);
    assert_string_equal(topic_config(topic_in(cw, "t"), "retention.ms"), "5");
    poke_change(cw->w, &id, NO_BROKER);
    assert_ok(alter(cw, TOPIC, "t", "retention.ms", "6", NULL).errors[0]);
    assert_string_equal(topic_config(topic_in(cw, "t"), "retention.ms"), "6");
    buf_deinit(&copy);
}

static void without_the_store_requests_end_in_their_time(void **state)
{
    struct cluster_world *cw = *state;
    coord_model_cut(elected(cw)->p.c);
    Sluice__CreateTopicsRequest req = SLUICE__CREATE_TOPICS_REQUEST__INIT;
    Sluice__NewTopic nt = SLUICE__NEW_TOPIC__INIT;
    Sluice__NewTopic *list[] = {&nt};
    nt.name = str("first");
    req.topic = list;
    req.n_topic = 1;
    req.has_timeout_ms = 1;
    req.timeout_ms = 1000;
    struct outcome first = {0};
    struct outcome second = {0};
    struct member *m = elected(cw);
    controller_submit(m->controller, API_CREATE_TOPICS, &req, on_topics, &first);
    fake_world_run(cw->w->fake, 10000);
    Sluice__CreateTopicsRequest req2 = req;
    Sluice__NewTopic nt2 = nt;
    Sluice__NewTopic *list2[] = {&nt2};
    nt2.name = str("second");
    req2.topic = list2;
    controller_submit(m->controller, API_CREATE_TOPICS, &req2, on_topics, &second);
    world_until(cw->w, second.is_done);
    assert_err(second.errors[0], E_TIMED_OUT);
    /* What was sent is settled with the session at the latest. */
    world_until(cw->w, first.is_done || fake_world_now_us(cw->w->fake) > 60 * 1000000);
    coord_model_heal(m->p.c);
    world_until(cw->w, first.is_done);
    world_until(cw->w, elected(cw) != NULL);
    assert_ok(create(cw, "third", 1, 1));
}

static void who_is_not_the_controller_says_so(void **state)
{
    struct cluster_world *cw = *state;
    Sluice__CreateTopicsRequest req = SLUICE__CREATE_TOPICS_REQUEST__INIT;
    struct outcome o = {0};
    for (int i = 0; i < 3; i++) {
        if (&cw->members[i] == elected(cw))
            continue;
        o = (struct outcome){0};
        controller_submit(cw->members[i].controller, API_CREATE_TOPICS, &req, on_topics, &o);
        assert_true(o.is_done);
        assert_err(o.e, E_NOT_CONTROLLER);
    }
}

/* Goal: in any weather what was acknowledged is there, what was refused is not, names are unique,
 * epochs never fall (on_image), and in the end every partition has a live leader in its set.
 * Method: random requests, losses, expiries and restarts on three brokers, then peace. */
static void the_cluster_survives_any_weather(void **state)
{
    struct cluster_world *cw = *state;
    enum { NAMES = 12 };
    enum { ABSENT, PRESENT, UNKNOWN } expected[NAMES] = {ABSENT};
    struct coord_model_opts *opts = coord_model_opts_of(cw->w->model);
    opts->lag_us_max = 200000;
    char name[16];
    for (int step = 0; step < 150; step++) {
        struct rng *r = &cw->w->rng;
        struct member *m = &cw->members[rng_below(r, 3)];
        opts->loss_per_million = rng_below(r, 2) ? 30000 : 0;
        if (rng_below(r, 12) == 0)
            coord_model_expire(m->p.c);
        if (rng_below(r, 15) == 0) {
            member_stop(m);
            member_start(cw, m);
        }
        fake_world_run(cw->w->fake, (int64_t)rng_below(r, 1000000));
        world_until(cw->w, elected(cw) != NULL);
        const size_t n = rng_below(r, NAMES);
        snprintf(name, sizeof name, "t-%zu", n);
        if (rng_below(r, 2)) {
            const err e = create(cw, name, 3, 1 + (int32_t)rng_below(r, 2));
            if (e == OK || e == E_TOPIC_EXISTS) {
                assert_true(e == OK ? expected[n] != PRESENT : expected[n] != ABSENT);
                expected[n] = PRESENT;
            } else if (e == E_TIMED_OUT) {
                expected[n] = UNKNOWN;
            } else {
                assert_true(e == E_NOT_CONTROLLER || e == E_COORDINATION ||
                            e == E_INVALID_REPLICATION_FACTOR);
            }
        } else {
            const err e = delete_topic(cw, name);
            if (e == OK || e == E_UNKNOWN_TOPIC_OR_PARTITION) {
                assert_true(e == OK ? expected[n] != ABSENT : expected[n] != PRESENT);
                expected[n] = ABSENT;
            } else if (e == E_TIMED_OUT) {
                expected[n] = UNKNOWN;
            } else {
                assert_true(e == E_NOT_CONTROLLER || e == E_COORDINATION);
            }
        }
    }
    opts->loss_per_million = 0;
    for (int i = 0; i < 3; i++)
        world_until(cw->w, registration_incarnation(cw->members[i].reg) > 0);
    settle(cw);
    world_until(cw->w, elected(cw) != NULL && cluster_broker_count(elected(cw)->img) == 3);
    settle(cw);
    const struct cluster *img = elected(cw)->img;
    for (size_t n = 0; n < NAMES; n++) {
        snprintf(name, sizeof name, "t-%zu", n);
        const struct topic *t = cluster_topic_named(img, slice_str(name));
        if (expected[n] != UNKNOWN)
            assert_int_equal(t != NULL, expected[n] == PRESENT);
        for (uint32_t i = 0; t != NULL && i < t->partition_count; i++) {
            const struct partition_state *p = &t->partitions[i];
            assert_true(p->leader != NO_BROKER);
            assert_true(partition_has_isr(p, p->leader));
            assert_int_equal(p->leader_incarnation, cluster_broker(img, p->leader)->incarnation);
        }
    }
}

#define ONE(test) cmocka_unit_test_setup_teardown(test, setup_one, teardown)
#define THREE(test) cmocka_unit_test_setup_teardown(test, setup_three, teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        THREE(one_broker_is_elected_and_everybody_knows),
        THREE(another_takes_over_with_the_next_epoch),
        THREE(a_clean_stop_gives_the_office_up_at_once),
        ONE(a_lost_answer_to_the_election_is_read_back),
        ONE(a_controller_that_was_replaced_resigns_with_its_next_write),
        ONE(a_topic_is_created_with_defaults),
        THREE(replicas_are_spread_and_the_minimum_follows),
        ONE(bad_topics_are_refused_with_a_sentence),
        THREE(assignments_are_taken_as_they_are_or_refused),
        ONE(validation_writes_nothing),
        ONE(many_topics_of_one_request_are_all_told_in_order),
        THREE(a_topic_of_ten_thousand_partitions_is_possible),
        THREE(a_deleted_topic_leaves_a_tombstone_until_all_have_confirmed),
        ONE(topics_are_deleted_by_id_too),
        THREE(partitions_are_added_never_taken),
        ONE(configs_of_topics_are_set_and_taken_back),
        THREE(another_minimum_raises_the_partition_epochs),
        ONE(configs_of_brokers_are_kept),
        THREE(leaders_move_when_a_broker_dies_and_it_returns_to_the_set_as_a_follower),
        ONE(a_broker_that_bounced_leads_under_its_new_life),
        THREE(a_stale_incarnation_fails_the_write_and_is_looked_at_again),
        ONE(a_lost_answer_is_settled_by_reading_back),
        ONE(anothers_write_is_not_taken_for_ones_own),
        ONE(another_hand_in_the_tree_is_noticed),
        ONE(without_the_store_requests_end_in_their_time),
        THREE(who_is_not_the_controller_says_so),
        THREE(the_cluster_survives_any_weather),
    };
    return TEST_MAIN(tests, NULL, NULL);
}
