/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A metad on a model of the coordination service, with brokers that answer as
 * the test says, and clients; all in one thread and virtual time.
 */
#include "metad/server/metad.h"

#include <stdio.h>

#include "metad/follow/follower.h"
#include "proto/base/diag.h"
#include "proto/base/limits.h"
#include "proto/base/writer.h"
#include "proto/net/rpc.h"
#include "proto/schema/request.pb-c.h"
#include "tests/unit/metad_follow/follow_world.h"

enum { BROKERS = 2, ANSWERS_MAX = 300 };

struct fake_controller {
    struct service *service;
    struct loop *loop;
    struct address at;
    err refuses; /* with this; OK: answers */
    bool is_silent;
    struct request *kept;
    unsigned asked;
    uint64_t version; /* in answers */
    char seen[64];    /* the first topic or resource asked for */
};

struct metad_world {
    struct world *w;
    struct process p;
    struct follower *f;
    struct metad *m;
    struct fake_controller brokers[BROKERS];
    struct rpc *rpc;
    bool is_stopped;
};

/* --- brokers -------------------------------------------------------------------------- */

static void fill_hello(void *user, Sluice__HelloResponse *hello)
{
    (void)user;
    (void)hello;
}

static bool refuse_or_keep(struct fake_controller *b, struct request *r)
{
    b->asked++;
    if (b->refuses != OK) {
        service_reply_error(r, b->refuses, "as the test says");
        return true;
    }
    if (b->is_silent)
        b->kept = r;
    return b->is_silent;
}

static void handle_create(void *user, struct request *r, const void *message)
{
    struct fake_controller *b = user;
    const Sluice__CreateTopicsRequest *req = message;
    snprintf(b->seen, sizeof b->seen, "%s", req->n_topic > 0 ? req->topic[0]->name : "");
    if (refuse_or_keep(b, r))
        return;
    Sluice__TopicsResponse res = SLUICE__TOPICS_RESPONSE__INIT;
    Sluice__TopicResult result = SLUICE__TOPIC_RESULT__INIT;
    Sluice__TopicResult *results[] = {&result};
    result.name = b->seen;
    res.n_topic = 1;
    res.topic = results;
    res.has_version = 1;
    res.version = b->version;
    service_reply_message(r, &res);
}

static void handle_describe(void *user, struct request *r, const void *message)
{
    struct fake_controller *b = user;
    const Sluice__DescribeConfigsRequest *req = message;
    snprintf(b->seen, sizeof b->seen, "%s", req->resource[0]->name);
    if (refuse_or_keep(b, r))
        return;
    Sluice__DescribeConfigsResponse res = SLUICE__DESCRIBE_CONFIGS_RESPONSE__INIT;
    Sluice__ConfigsOf of = SLUICE__CONFIGS_OF__INIT;
    Sluice__ConfigsOf *results[] = {&of};
    of.resource = req->resource[0];
    res.n_result = 1;
    res.result = results;
    service_reply_message(r, &res);
}

static const struct service_api broker_apis[] = {
    {.api = API_CREATE_TOPICS,
     .frame_bytes_max = MIB,
     .request = &sluice__create_topics_request__descriptor,
     .handle = handle_create},
    {.api = API_DESCRIBE_CONFIGS,
     .frame_bytes_max = MIB,
     .request = &sluice__describe_configs_request__descriptor,
     .handle = handle_describe},
};

static void broker_start(struct metad_world *mw, int i)
{
    struct fake_controller *b = &mw->brokers[i];
    struct service_opts opts;
    const struct address at = {.host = "127.0.0.1"};
    b->loop = mw->w->l;
    service_opts_init(&opts);
    opts.loops = &b->loop;
    opts.loop_count = 1;
    opts.apis = broker_apis;
    opts.api_count = 2;
    opts.user = b;
    opts.fill_hello = fill_hello;
    b->service = service_new(&opts);
    assert_ok(service_listen(b->service, "INSIDE", &at, &b->at));
    const struct endpoint endpoints[] = {{"INSIDE", "127.0.0.1", b->at.port},
                                         {"CLIENT", "public.example", (uint16_t)(100 + i)}};
    struct buf node = {0};
    const struct path path = path_of_broker(i + 1);
    nodes_pack_broker(&(struct broker){.id = i + 1,
                                       .incarnation = 7,
                                       .rack = "r",
                                       .endpoints = endpoints,
                                       .endpoint_count = 2},
                      &node);
    poke(mw->w, COORD_CREATE, path.text, buf_slice(&node), 0);
    poke_change(mw->w, NULL, i + 1);
    buf_deinit(&node);
}

static void poke_controller(struct metad_world *mw, int32_t id)
{
    struct buf node = {0};
    const int32_t version = version_of(mw->w, PATH_CONTROLLER);
    nodes_pack_controller(&(struct controller_identity){.broker_id = id}, &node);
    poke(mw->w, version < 0 ? COORD_CREATE : COORD_SET, PATH_CONTROLLER, buf_slice(&node),
         version < 0 ? 0 : version);
    poke_change(mw->w, NULL, id);
    buf_deinit(&node);
}

static void settle(struct metad_world *mw)
{
    world_until(mw->w,
                follower_image(mw->f) != NULL && cluster_version(follower_image(mw->f)) ==
                                                     (uint64_t)version_of(mw->w, PATH_CHANGES));
    fake_world_run(mw->w->fake, 1000); /* the mail to metad */
}

/* --- a metad ---------------------------------------------------------------------------- */

static struct rpc *client_new(struct metad_world *mw)
{
    return rpc_new(mw->w->l, &(struct rpc_opts){.to = *metad_bound(mw->m, 0),
                                                .client_id = "client",
                                                .connect_timeout_us = 1000000,
                                                .inflight_bytes_max = MIB});
}

static const struct metad_listener listeners[] = {{"CLIENT", {.host = "127.0.0.1"}},
                                                  {"INSIDE", {.host = "127.0.0.1"}}};

static void metad_begin(struct metad_world *mw)
{
    struct buf why = {0};
    mw->p = process_start(mw->w);
    mw->f = follower_new(mw->p.session);
    mw->m = metad_new(&(struct metad_opts){.loop = mw->w->l,
                                           .session = mw->p.session,
                                           .follower = mw->f,
                                           .rng = &mw->w->rng,
                                           .listeners = listeners,
                                           .listener_count = 2,
                                           .inter_broker_listener = "INSIDE",
                                           .auto_create_topics = true});
    assert_false(metad_is_ready(mw->m, &why));
    assert_true(why.size > 0);
    buf_deinit(&why);
    assert_ok(metad_start(mw->m, &why));
    mw->rpc = client_new(mw);
}

static int setup(void **state)
{
    struct metad_world *mw = MEM_NEW(struct metad_world);
    void *w;
    diag_set_level(DIAG_ERROR);
    world_setup(&w);
    mw->w = w;
    poke_skeleton(mw->w, "abc");
    for (int i = 0; i < BROKERS; i++)
        broker_start(mw, i);
    poke_controller(mw, 1);
    metad_begin(mw);
    settle(mw);
    *state = mw;
    return 0;
}

static void set_true(void *arg)
{
    *(bool *)arg = true;
}

static int teardown(void **state)
{
    struct metad_world *mw = *state;
    void *w = mw->w;
    if (mw->rpc != NULL)
        rpc_free(mw->rpc);
    if (!mw->is_stopped)
        metad_stop(mw->m, set_true, &mw->is_stopped);
    world_until(mw->w, mw->is_stopped);
    metad_free(mw->m);
    for (int i = 0; i < BROKERS; i++) {
        struct fake_controller *b = &mw->brokers[i];
        if (b->kept != NULL)
            service_finish(b->kept, OK);
        service_stop(b->service);
    }
    fake_world_run(mw->w->fake, 1000000);
    for (int i = 0; i < BROKERS; i++)
        service_free(mw->brokers[i].service);
    process_stop(&mw->p);
    follower_free(mw->f);
    mem_free(mw);
    return world_teardown(&w);
}

/* --- asking -------------------------------------------------------------------------------- */

struct answer {
    bool is_done;
    err e;
    Sluice__Response *res;
};

static void on_answer(void *arg, err e, struct slice frame)
{
    struct answer *a = arg;
    assert_false(a->is_done);
    a->is_done = true;
    a->e = e;
    if (e == OK)
        a->res = sluice__response__unpack(NULL, frame.size, frame.data);
}

static void ask(struct rpc *rpc, struct answer *a, uint32_t api, const void *message)
{
    struct buf field = {0};
    const size_t size = protobuf_c_message_get_packed_size(message);
    uint8_t *p = buf_reserve(&field, 20);
    field.size = (size_t)(write_varint(write_tag(p, api, 2), size) - p);
    msg_pack(message, &field);
    *a = (struct answer){0};
    const struct rpc_piece piece = {.data = buf_slice(&field)};
    rpc_send(rpc, &piece, 1, 0, on_answer, a);
    buf_deinit(&field);
}

static void answer_free(struct answer *a)
{
    if (a->res != NULL)
        sluice__response__free_unpacked(a->res, NULL);
    *a = (struct answer){0};
}

static void wait_for(struct metad_world *mw, struct answer *a)
{
    world_until(mw->w, a->is_done);
    assert_ok(a->e);
    assert_non_null(a->res);
}

static const Sluice__MetadataResponse *metadata(struct metad_world *mw, struct answer *a,
                                                const Sluice__MetadataRequest *req)
{
    ask(mw->rpc, a, API_METADATA, req);
    wait_for(mw, a);
    assert_null(a->res->error);
    assert_int_equal(a->res->body_case, SLUICE__RESPONSE__BODY_METADATA);
    return a->res->metadata;
}

static void expect_error(struct metad_world *mw, struct answer *a, err e, const char *phrase)
{
    wait_for(mw, a);
    assert_non_null(a->res->error);
    assert_err(err_from_wire(a->res->error->code), e);
    if (strstr(a->res->error->message, phrase) == NULL)
        fail_msg("\"%s\" says nothing of \"%s\"", a->res->error->message, phrase);
    answer_free(a);
}

/* --- metadata --------------------------------------------------------------------------------- */

static void brokers_are_told_with_the_endpoint_of_the_clients_listener(void **state)
{
    struct metad_world *mw = *state;
    struct answer a;
    Sluice__MetadataRequest req = SLUICE__METADATA_REQUEST__INIT;
    const Sluice__MetadataResponse *res = metadata(mw, &a, &req);
    assert_string_equal(res->cluster_id, "abc");
    assert_int_equal(res->controller_id, 1);
    assert_int_equal(res->version, version_of(mw->w, PATH_CHANGES));
    assert_int_equal(res->n_broker, 2);
    assert_string_equal(res->broker[1]->host, "public.example");
    assert_int_equal(res->broker[1]->port, 101);
    assert_int_equal(res->broker[1]->incarnation, 7);
    assert_int_equal(res->n_topic, 0);
    answer_free(&a);
    struct rpc *inside = rpc_new(mw->w->l, &(struct rpc_opts){.to = *metad_bound(mw->m, 1),
                                                              .client_id = "c",
                                                              .connect_timeout_us = 1000000});
    ask(inside, &a, API_METADATA, &req);
    wait_for(mw, &a);
    assert_string_equal(a.res->metadata->broker[0]->host, "127.0.0.1");
    assert_int_equal(a.res->metadata->broker[0]->port, mw->brokers[0].at.port);
    answer_free(&a);
    rpc_free(inside);
}

static void topics_are_told_by_name_by_id_or_all(void **state)
{
    struct metad_world *mw = *state;
    struct answer a;
    for (uint32_t i = 0; i < 3; i++)
        poke_announced_topic(mw->w, i, (int32_t)i);
    settle(mw);
    Sluice__MetadataRequest req = SLUICE__METADATA_REQUEST__INIT;
    struct uuid id = numbered_id(2);
    char *names[] = {(char *)(uintptr_t) "topic-1", (char *)(uintptr_t) "none",
                     (char *)(uintptr_t) "b/d"};
    ProtobufCBinaryData ids[] = {{16, id.bytes}, {3, id.bytes}};
    req.n_topic = 3;
    req.topic = names;
    req.n_topic_id = 2;
    req.topic_id = ids;
    const Sluice__MetadataResponse *res = metadata(mw, &a, &req);
    assert_int_equal(res->n_topic, 5);
    assert_string_equal(res->topic[0]->name, "topic-1");
    assert_null(res->topic[0]->error);
    assert_int_equal(res->topic[0]->partition[0]->leader, 1);
    assert_int_equal(res->topic[0]->partition[0]->leader_epoch, 1);
    assert_int_equal(res->topic[0]->partition[0]->n_isr, 1);
    assert_err(err_from_wire(res->topic[1]->error->code), E_UNKNOWN_TOPIC_OR_PARTITION);
    assert_err(err_from_wire(res->topic[2]->error->code), E_INVALID_TOPIC);
    assert_string_equal(res->topic[3]->name, "topic-2");
    assert_err(err_from_wire(res->topic[4]->error->code), E_UNKNOWN_TOPIC_ID);
    answer_free(&a);
    req = (Sluice__MetadataRequest)SLUICE__METADATA_REQUEST__INIT;
    req.has_all_topics = 1;
    req.all_topics = 1;
    assert_int_equal(metadata(mw, &a, &req)->n_topic, 3);
    answer_free(&a);
}

static void a_client_reads_its_own_writes(void **state)
{
    struct metad_world *mw = *state;
    struct answer a;
    Sluice__MetadataRequest req = SLUICE__METADATA_REQUEST__INIT;
    const uint64_t version = (uint64_t)version_of(mw->w, PATH_CHANGES);
    req.has_min_version = 1;
    req.min_version = version + 2;
    ask(mw->rpc, &a, API_METADATA, &req);
    fake_world_run(mw->w->fake, 1000000);
    assert_false(a.is_done);
    poke_announced_topic(mw->w, 1, 0);
    fake_world_run(mw->w->fake, 1000000);
    assert_false(a.is_done);
    poke_announced_topic(mw->w, 2, 0);
    wait_for(mw, &a);
    assert_int_equal(a.res->metadata->version, version + 2);
    answer_free(&a);
    req.min_version = version + 100;
    req.has_max_wait_ms = 1;
    req.max_wait_ms = 500;
    ask(mw->rpc, &a, API_METADATA, &req);
    expect_error(mw, &a, E_TIMED_OUT, "version");
}

static void a_watch_ends_with_news_or_with_its_time(void **state)
{
    struct metad_world *mw = *state;
    struct answer a;
    Sluice__MetadataRequest req = SLUICE__METADATA_REQUEST__INIT;
    const uint64_t version = (uint64_t)version_of(mw->w, PATH_CHANGES);
    req.has_watch_version = 1;
    req.watch_version = version;
    req.has_max_wait_ms = 1;
    req.max_wait_ms = 2000;
    const int64_t began = fake_world_now_us(mw->w->fake);
    ask(mw->rpc, &a, API_METADATA, &req);
    wait_for(mw, &a);
    assert_int_equal(a.res->metadata->version, version); /* no news */
    assert_true(fake_world_now_us(mw->w->fake) - began >= 2000000);
    answer_free(&a);
    ask(mw->rpc, &a, API_METADATA, &req);
    fake_world_run(mw->w->fake, 100000);
    assert_false(a.is_done);
    poke_announced_topic(mw->w, 1, 0);
    wait_for(mw, &a);
    assert_int_equal(a.res->metadata->version, version + 1);
    answer_free(&a);
    req.watch_version = 0; /* long past: at once */
    assert_int_equal(metadata(mw, &a, &req)->version, version + 1);
    answer_free(&a);
    req.watch_version = UINT64_MAX;
    req.max_wait_ms = 0;
    ask(mw->rpc, &a, API_METADATA, &req);
    world_until(mw->w, a.is_done);
    answer_free(&a);
}

static void every_watcher_is_answered_once(void **state)
{
    struct metad_world *mw = *state;
    static struct answer answers[ANSWERS_MAX];
    Sluice__MetadataRequest req = SLUICE__METADATA_REQUEST__INIT;
    req.has_watch_version = 1;
    req.watch_version = (uint64_t)version_of(mw->w, PATH_CHANGES);
    for (int i = 0; i < ANSWERS_MAX; i++)
        ask(mw->rpc, &answers[i], API_METADATA, &req);
    fake_world_run(mw->w->fake, 100000);
    for (int i = 0; i < 5; i++)
        poke_announced_topic(mw->w, 1, i);
    settle(mw);
    for (int i = 0; i < ANSWERS_MAX; i++) {
        wait_for(mw, &answers[i]); /* on_answer checks that it comes once */
        answer_free(&answers[i]);
    }
}

static void watchers_that_go_leave_nothing(void **state)
{
    struct metad_world *mw = *state;
    struct answer a;
    Sluice__MetadataRequest req = SLUICE__METADATA_REQUEST__INIT;
    req.has_watch_version = 1;
    req.watch_version = (uint64_t)version_of(mw->w, PATH_CHANGES);
    ask(mw->rpc, &a, API_METADATA, &req);
    fake_world_run(mw->w->fake, 100000);
    rpc_free(mw->rpc);
    assert_err(a.e, E_CANCELLED);
    mw->rpc = NULL;
    fake_world_run(mw->w->fake, 100000);
    struct buf text = {0};
    metad_metrics(mw->m, &text);
    buf_append(&text, "", 1);
    assert_non_null(strstr((const char *)text.data, "sluice_metad_waiting_requests 0\n"));
    assert_non_null(strstr((const char *)text.data, "sluice_metad_connections 0\n"));
    buf_deinit(&text);
    poke_announced_topic(mw->w, 1, 0);
    settle(mw);
}

static void stopping_ends_what_waits(void **state)
{
    struct metad_world *mw = *state;
    struct answer a;
    Sluice__MetadataRequest req = SLUICE__METADATA_REQUEST__INIT;
    req.has_watch_version = 1;
    req.watch_version = (uint64_t)version_of(mw->w, PATH_CHANGES);
    ask(mw->rpc, &a, API_METADATA, &req);
    fake_world_run(mw->w->fake, 100000);
    metad_stop(mw->m, set_true, &mw->is_stopped);
    world_until(mw->w, mw->is_stopped && a.is_done);
    answer_free(&a);
}

/* A frame may name a large topic thousands of times: refused, not built. */
static void an_answer_that_would_be_too_large_is_refused(void **state)
{
    struct metad_world *mw = *state;
    enum { NAMES = 16000, PARTITIONS = 500 };
    static char *names[NAMES];
    static const int32_t ids[] = {1};
    struct answer a;
    const struct uuid id = numbered_id(77);
    const struct path path = path_of_topic(&id);
    struct partition_state *states = mem_zalloc(PARTITIONS * sizeof *states);
    for (int i = 0; i < PARTITIONS; i++)
        states[i] = (struct partition_state){
            .leader = 1, .replicas = ids, .replica_count = 1, .isr = ids, .isr_count = 1};
    struct topic *t = topic_new(&(struct topic){.id = id,
                                                .name = "big",
                                                .min_insync_replicas = 1,
                                                .partition_count = PARTITIONS,
                                                .partitions = states});
    struct buf node = {0};
    nodes_pack_topic(t, &node);
    poke(mw->w, COORD_CREATE, path.text, buf_slice(&node), 0);
    poke_change(mw->w, &id, NO_BROKER);
    settle(mw);
    Sluice__MetadataRequest req = SLUICE__METADATA_REQUEST__INIT;
    for (int i = 0; i < NAMES; i++)
        names[i] = (char *)(uintptr_t) "big";
    req.n_topic = NAMES;
    req.topic = names;
    ask(mw->rpc, &a, API_METADATA, &req);
    expect_error(mw, &a, E_OVERLOADED, "fewer topics");
    req.n_topic = 3;
    assert_int_equal(metadata(mw, &a, &req)->topic[2]->n_partition, PARTITIONS);
    answer_free(&a);
    buf_deinit(&node);
    topic_unref(t);
    mem_free(states);
}

static void without_an_image_it_says_so(void **state)
{
    struct metad_world mw = {0};
    void *w;
    struct answer a;
    (void)state;
    world_setup(&w);
    mw.w = w;
    metad_begin(&mw);
    Sluice__MetadataRequest req = SLUICE__METADATA_REQUEST__INIT;
    req.has_max_wait_ms = 1;
    req.max_wait_ms = 100;
    ask(mw.rpc, &a, API_METADATA, &req);
    expect_error(&mw, &a, E_NOT_READY, "image");
    req.max_wait_ms = 60000;
    ask(mw.rpc, &a, API_METADATA, &req);
    fake_world_run(mw.w->fake, 1000000);
    assert_false(a.is_done);
    poke_skeleton(mw.w, "abc");
    wait_for(&mw, &a);
    assert_string_equal(a.res->metadata->cluster_id, "abc");
    answer_free(&a);
    struct buf why = {0};
    assert_true(metad_is_ready(mw.m, &why));
    buf_deinit(&why);
    rpc_free(mw.rpc);
    metad_stop(mw.m, set_true, &mw.is_stopped);
    world_until(mw.w, mw.is_stopped);
    metad_free(mw.m);
    process_stop(&mw.p);
    follower_free(mw.f);
    world_teardown(&w);
}

/* --- creating by asking
 * ---------------------------------------------------------------------------- */

static void a_missing_topic_is_created_if_the_client_allows_it(void **state)
{
    struct metad_world *mw = *state;
    struct answer a;
    Sluice__MetadataRequest req = SLUICE__METADATA_REQUEST__INIT;
    char *names[] = {(char *)(uintptr_t) "topic-5"};
    req.n_topic = 1;
    req.topic = names;
    const Sluice__MetadataResponse *res = metadata(mw, &a, &req);
    assert_non_null(res->topic[0]->error);
    assert_int_equal(mw->brokers[0].asked, 0);
    answer_free(&a);
    req.has_allow_auto_topic_creation = 1;
    req.allow_auto_topic_creation = 1;
    mw->brokers[0].version = (uint64_t)version_of(mw->w, PATH_CHANGES) + 1;
    ask(mw->rpc, &a, API_METADATA, &req);
    world_until(mw->w, mw->brokers[0].asked == 1);
    assert_string_equal(mw->brokers[0].seen, "topic-5");
    fake_world_run(mw->w->fake, 100000);
    assert_false(a.is_done); /* till the image shows it */
    poke_announced_topic(mw->w, 5, 3);
    wait_for(mw, &a);
    assert_null(a.res->metadata->topic[0]->error);
    assert_int_equal(a.res->metadata->topic[0]->partition[0]->leader_epoch, 3);
    answer_free(&a);
    /* Names that are none, and internal ones, are not even tried. */
    names[0] = (char *)(uintptr_t) "__internal";
    res = metadata(mw, &a, &req);
    assert_non_null(res->topic[0]->error);
    assert_int_equal(mw->brokers[0].asked, 1);
    answer_free(&a);
}

/* --- admin requests
 * ----------------------------------------------------------------------------------- */

static void ask_create(struct metad_world *mw, struct answer *a, const char *name,
                       uint32_t timeout_ms)
{
    Sluice__CreateTopicsRequest req = SLUICE__CREATE_TOPICS_REQUEST__INIT;
    Sluice__NewTopic topic = SLUICE__NEW_TOPIC__INIT;
    Sluice__NewTopic *topics[] = {&topic};
    topic.name = (char *)(uintptr_t)name;
    req.n_topic = 1;
    req.topic = topics;
    req.has_timeout_ms = 1;
    req.timeout_ms = timeout_ms;
    ask(mw->rpc, a, API_CREATE_TOPICS, &req);
}

static void admin_requests_go_to_the_controller(void **state)
{
    struct metad_world *mw = *state;
    struct answer a;
    mw->brokers[0].version = 99;
    ask_create(mw, &a, "orders", 5000);
    wait_for(mw, &a);
    assert_int_equal(a.res->body_case, SLUICE__RESPONSE__BODY_CREATE_TOPICS);
    assert_int_equal(a.res->create_topics->version, 99);
    assert_string_equal(a.res->create_topics->topic[0]->name, "orders");
    assert_int_equal(mw->brokers[1].asked, 0);
    answer_free(&a);
    mw->brokers[0].refuses = E_POLICY_VIOLATION; /* passed on as it came */
    ask_create(mw, &a, "orders", 5000);
    expect_error(mw, &a, E_POLICY_VIOLATION, "as the test says");
}

static void another_controller_is_found(void **state)
{
    struct metad_world *mw = *state;
    struct answer a;
    mw->brokers[0].refuses = E_NOT_CONTROLLER;
    ask_create(mw, &a, "orders", 60000);
    fake_world_run(mw->w->fake, 2000000);
    assert_false(a.is_done);
    assert_true(mw->brokers[0].asked > 1);
    poke_controller(mw, 2);
    wait_for(mw, &a);
    assert_null(a.res->error);
    assert_int_equal(mw->brokers[1].asked, 1);
    answer_free(&a);
}

static void a_request_that_finds_no_controller_ends_in_its_time(void **state)
{
    struct metad_world *mw = *state;
    struct answer a;
    mw->brokers[0].refuses = E_NOT_CONTROLLER;
    const int64_t began = fake_world_now_us(mw->w->fake);
    ask_create(mw, &a, "orders", 1000);
    wait_for(mw, &a);
    assert_non_null(a.res->error);
    assert_true(fake_world_now_us(mw->w->fake) - began < 3000000);
    answer_free(&a);
    mw->brokers[0].refuses = OK;
    mw->brokers[0].is_silent = true;
    ask_create(mw, &a, "orders", 1000);
    expect_error(mw, &a, E_TIMED_OUT, "not known");
}

/* What was sent and got no answer may have been done: it is not sent again. */
static void a_request_is_not_sent_twice(void **state)
{
    struct metad_world *mw = *state;
    struct answer a;
    mw->brokers[0].is_silent = true;
    ask_create(mw, &a, "orders", 60000);
    world_until(mw->w, mw->brokers[0].kept != NULL);
    conn_close(service_conn(mw->brokers[0].kept));
    expect_error(mw, &a, E_NETWORK, "not known");
    fake_world_run(mw->w->fake, 1000000);
    assert_int_equal(mw->brokers[0].asked, 1);
}

static void clients_that_go_and_stops_leave_forwards_alone(void **state)
{
    struct metad_world *mw = *state;
    struct answer a;
    mw->brokers[0].is_silent = true;
    ask_create(mw, &a, "orders", 60000);
    world_until(mw->w, mw->brokers[0].kept != NULL);
    rpc_free(mw->rpc);
    mw->rpc = NULL;
    fake_world_run(mw->w->fake, 100000);
    Sluice__TopicsResponse res = SLUICE__TOPICS_RESPONSE__INIT;
    service_reply_message(mw->brokers[0].kept, &res);
    mw->brokers[0].kept = NULL;
    fake_world_run(mw->w->fake, 100000);
    mw->rpc = client_new(mw);
    ask_create(mw, &a, "orders", 60000);
    world_until(mw->w, mw->brokers[0].kept != NULL);
    metad_stop(mw->m, set_true, &mw->is_stopped);
    world_until(mw->w, mw->is_stopped && a.is_done);
    answer_free(&a);
}

static void what_metad_does_not_serve_says_where_to_go(void **state)
{
    struct metad_world *mw = *state;
    struct answer a;
    Sluice__ProduceRequest produce = SLUICE__PRODUCE_REQUEST__INIT;
    Sluice__FetchRequest fetch = SLUICE__FETCH_REQUEST__INIT;
    ask(mw->rpc, &a, API_PRODUCE, &produce);
    expect_error(mw, &a, E_WRONG_ROLE, "leader");
    ask(mw->rpc, &a, API_FETCH, &fetch);
    expect_error(mw, &a, E_WRONG_ROLE, "leader");
}

/* --- configs
 * -------------------------------------------------------------------------------------------- */

static void ask_describe(struct metad_world *mw, struct answer *a, int32_t type, const char *name)
{
    Sluice__DescribeConfigsRequest req = SLUICE__DESCRIBE_CONFIGS_REQUEST__INIT;
    Sluice__ConfigResource resource = SLUICE__CONFIG_RESOURCE__INIT;
    Sluice__ConfigResource *resources[] = {&resource};
    resource.has_type = 1;
    resource.type = type;
    resource.name = (char *)(uintptr_t)name;
    req.n_resource = 1;
    req.resource = resources;
    ask(mw->rpc, a, API_DESCRIBE_CONFIGS, &req);
}

static void configs_of_topics_are_described_whole(void **state)
{
    struct metad_world *mw = *state;
    struct answer a;
    poke_announced_topic(mw->w, 1, 0);
    settle(mw);
    ask_describe(mw, &a, SLUICE__CONFIG_RESOURCE_TYPE__RESOURCE_TOPIC, "topic-1");
    wait_for(mw, &a);
    const Sluice__ConfigsOf *of = a.res->describe_configs->result[0];
    assert_int_equal(of->n_entry, TOPIC_CONFIG_COUNT);
    bool has_retention = false;
    for (size_t i = 0; i < of->n_entry; i++) {
        assert_non_null(of->entry[i]->value);
        assert_int_equal(of->entry[i]->source, SLUICE__CONFIG_SOURCE__SOURCE_DEFAULT);
        if (strcmp(of->entry[i]->key, "retention.ms") == 0) {
            assert_string_equal(of->entry[i]->value, "604800000");
            has_retention = true;
        }
        if (strcmp(of->entry[i]->key, "min.insync.replicas") == 0)
            assert_string_equal(of->entry[i]->value, "1");
    }
    assert_true(has_retention);
    answer_free(&a);
    ask_describe(mw, &a, SLUICE__CONFIG_RESOURCE_TYPE__RESOURCE_TOPIC, "none");
    wait_for(mw, &a);
    assert_err(err_from_wire(a.res->describe_configs->result[0]->error->code),
               E_UNKNOWN_TOPIC_OR_PARTITION);
    answer_free(&a);
}

static void configs_of_brokers_are_asked_of_them(void **state)
{
    struct metad_world *mw = *state;
    struct answer a;
    ask_describe(mw, &a, SLUICE__CONFIG_RESOURCE_TYPE__RESOURCE_BROKER, "2");
    wait_for(mw, &a);
    assert_null(a.res->error);
    assert_string_equal(a.res->describe_configs->result[0]->resource->name, "2");
    assert_int_equal(mw->brokers[1].asked, 1);
    assert_int_equal(mw->brokers[0].asked, 0);
    answer_free(&a);
    static const char *const wrong[] = {"", "x", "-1", "1x", "99999999999"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        ask_describe(mw, &a, SLUICE__CONFIG_RESOURCE_TYPE__RESOURCE_BROKER, wrong[i]);
        expect_error(mw, &a, E_INVALID_REQUEST, "broker");
    }
}

#define WORLD(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        WORLD(brokers_are_told_with_the_endpoint_of_the_clients_listener),
        WORLD(topics_are_told_by_name_by_id_or_all),
        WORLD(a_client_reads_its_own_writes),
        WORLD(a_watch_ends_with_news_or_with_its_time),
        WORLD(every_watcher_is_answered_once),
        WORLD(watchers_that_go_leave_nothing),
        WORLD(stopping_ends_what_waits),
        WORLD(an_answer_that_would_be_too_large_is_refused),
        cmocka_unit_test(without_an_image_it_says_so),
        WORLD(a_missing_topic_is_created_if_the_client_allows_it),
        WORLD(admin_requests_go_to_the_controller),
        WORLD(another_controller_is_found),
        WORLD(a_request_that_finds_no_controller_ends_in_its_time),
        WORLD(a_request_is_not_sent_twice),
        WORLD(clients_that_go_and_stops_leave_forwards_alone),
        WORLD(what_metad_does_not_serve_says_where_to_go),
        WORLD(configs_of_topics_are_described_whole),
        WORLD(configs_of_brokers_are_asked_of_them),
    };
    return TEST_MAIN(tests, NULL, NULL);
}
