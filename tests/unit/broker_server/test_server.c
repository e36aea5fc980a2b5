/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole standalone broker, metad included, in one thread and virtual time: all five doors open to
 * models. It starts, serves, stops, and comes again, whenever it is told to and whatever fails.
 */
#include "broker/server/server.h"
#include "tests/unit/broker_server/handlers_world.h"

#include "metad/coord/model.h"

enum { LOOPS = 2, START_US = 2 * SECOND_US, STOP_US = 30 * SECOND_US };

struct host {
    struct fake_fsio *fs;
    struct fake_world *time;
    struct loop *loops[LOOPS], *far;
    struct rng rng;
    struct coord_model *store;
    struct broker_tables *tables;
    struct conf *conf;
    struct server *server;
    unsigned ready, stopped;
    bool has_failed;
    struct client c;
};

static err open_coord(void *user, struct coord **out)
{
    struct host *h = user;
    *out = coord_model_connect(h->store, h->loops[0]);
    return OK;
}

static struct exec *new_exec(void *user, const char *name, unsigned threads)
{
    struct host *h = user;
    (void)name;
    (void)threads;
    return fake_world_exec(h->time, 1 + (int64_t)rng_below(&h->rng, 2000));
}

static void on_ready(void *user)
{
    ((struct host *)user)->ready++;
}

static void on_stopped(void *user, bool failed)
{
    struct host *h = user;
    h->stopped++;
    h->has_failed = failed;
}

/* Begins to start. false: it cannot, and nothing is left of it. */
static bool launch(struct host *h)
{
    const struct server_opts opts = {.conf = h->conf,
                                     .is_standalone = true,
                                     .loops = h->loops,
                                     .loop_count = LOOPS,
                                     .io = fake_fsio_io(h->fs),
                                     .rng = &h->rng,
                                     .new_exec = new_exec,
                                     .open_coord = open_coord,
                                     .on_ready = on_ready,
                                     .on_stopped = on_stopped,
                                     .user = h};
    h->ready = h->stopped = 0;
    h->has_failed = false;
    h->server = server_new(&opts);
    return h->server != NULL;
}

static void start(struct host *h)
{
    assert_true(launch(h));
    fake_world_run(h->time, START_US);
    assert_int_equal(h->ready, 1);
    assert_int_equal(h->stopped, 0);
}

/* Waits for the end, which must come, and takes away what is left. */
static void wait_stopped(struct host *h)
{
    for (int64_t us = 0; us < STOP_US && !h->stopped; us += 1000)
        fake_world_run(h->time, 1000);
    assert_int_equal(h->stopped, 1);
    fake_world_run(h->time, SECOND_US);
    assert_int_equal(h->stopped, 1);
    server_free(h->server);
    h->server = NULL;
    /* Mail to what is gone would be read now. */
    fake_world_run(h->time, SECOND_US);
}

static void stop(struct host *h)
{
    server_stop(h->server);
    server_stop(h->server); /* a second one is harmless */
    wait_stopped(h);
}

static int setup(void **state)
{
    struct host *h = MEM_NEW(struct host);
    struct coord_model_opts opts;
    static const char *const sets[] = {"data.dirs=/data", "listener=127.0.0.1:9292",
                                       "metad.listener=127.0.0.1:9290",
                                       "log.segment.bytes=1048576"};
    h->fs = fake_fsio_new();
    h->time = fake_world_new(NULL);
    h->rng = test_rng();
    for (int i = 0; i < LOOPS; i++)
        h->loops[i] = fake_world_loop(h->time, "broker");
    h->far = fake_world_loop(h->time, "far");
    coord_model_opts_init(&opts);
    h->store = coord_model_new(&h->rng, &opts);
    h->tables = broker_tables_new();
    h->conf = conf_new(broker_tables_standalone(h->tables));
    for (size_t i = 0; i < sizeof sets / sizeof sets[0]; i++)
        conf_set(h->conf, sets[i], CONF_ARGUMENT, "--set");
    assert_ok(conf_check(h->conf));
    *state = h;
    return 0;
}

static int teardown(void **state)
{
    struct host *h = *state;
    if (h->server)
        stop(h);
    conf_free(h->conf);
    broker_tables_free(h->tables);
    coord_model_free(h->store);
    loop_free(h->far);
    for (int i = 0; i < LOOPS; i++)
        loop_free(h->loops[i]);
    fake_world_free(h->time);
    fake_fsio_free(h->fs);
    mem_free(h);
    return 0;
}

/* --- a client ----------------------------------------------------------------------------- */

static void join(struct host *h)
{
    static const struct conn_handler handler = {.on_open = client_on_open,
                                                .on_frame = client_on_frame,
                                                .on_frames_end = client_on_frames_end,
                                                .on_closed = client_on_closed};
    static const struct conn_limits limits = {.frame_bytes_max = FRAME_BYTES_MAX,
                                              .out_bytes_max = 64 * MIB};
    static const struct address at = {.host = "127.0.0.1", .port = 9292};
    Sluice__HelloRequest hello = SLUICE__HELLO_REQUEST__INIT;
    Sluice__Request r = SLUICE__REQUEST__INIT;
    h->c = (struct client){0};
    h->c.conn = conn_connect(h->far, &at, &handler, &limits, &h->c);
    fake_world_run(h->time, 100);
    r.body_case = SLUICE__REQUEST__BODY_HELLO;
    r.hello = &hello;
    put_request(&h->c, &r);
    flush_requests(&h->c);
    fake_world_run(h->time, 100);
}

static void part_from(struct host *h)
{
    if (h->c.conn)
        conn_close(h->c.conn);
    fake_world_run(h->time, 100);
    for (size_t i = 0; i < ANSWERS_MAX; i++)
        if (h->c.answers[i])
            sluice__response__free_unpacked(h->c.answers[i], NULL);
    buf_deinit(&h->c.unsent);
}

static const Sluice__HelloResponse *hello_of(const struct host *h)
{
    assert_non_null(h->c.answers[1]);
    return h->c.answers[1]->hello;
}

static void create_topic(struct host *h)
{
    char name[] = "topic-1";
    Sluice__NewTopic new_topic = SLUICE__NEW_TOPIC__INIT;
    Sluice__NewTopic *list[] = {&new_topic};
    Sluice__CreateTopicsRequest create = SLUICE__CREATE_TOPICS_REQUEST__INIT;
    Sluice__Request r = SLUICE__REQUEST__INIT;
    new_topic.name = name;
    create.n_topic = 1;
    create.topic = list;
    r.body_case = SLUICE__REQUEST__BODY_CREATE_TOPICS;
    r.create_topics = &create;
    const uint64_t id = put_request(&h->c, &r);
    flush_requests(&h->c);
    fake_world_run(h->time, SECOND_US);
    assert_non_null(answer_to(&h->c, id));
    assert_null(answer_to(&h->c, id)->error);
    assert_null(answer_to(&h->c, id)->create_topics->topic[0]->error);
}

static uint64_t put_batch(struct host *h, int32_t acks)
{
    struct made_batch m;
    const struct part part = {.topic = 1, .batches = batch_bytes(&m, 1)};
    return put_produce(&h->c, acks, 1000, &part, 1);
}

static int64_t latest(struct host *h)
{
    const struct part part = {.topic = 1, .offset = -1};
    const uint64_t id = put_list_offsets(&h->c, &part, 1);
    flush_requests(&h->c);
    fake_world_run(h->time, 1000);
    assert_non_null(answer_to(&h->c, id));
    return answer_to(&h->c, id)->list_offsets->topic[0]->partition[0]->offset;
}

/* --- tests --------------------------------------------------------------------------------- */

static void it_serves_and_remembers(void **state)
{
    struct host *h = *state;
    char cluster[64];
    start(h);
    join(h);
    snprintf(cluster, sizeof cluster, "%s", hello_of(h)->cluster_id);
    const uint64_t life = hello_of(h)->incarnation;
    assert_int_equal(strlen(cluster), 32);
    assert_int_equal(hello_of(h)->broker_id, 1);
    create_topic(h);
    const uint64_t id = put_batch(h, -1);
    flush_requests(&h->c);
    fake_world_run(h->time, SECOND_US);
    assert_int_equal(produced(&h->c, id, 0)->base_offset, 0);
    stop(h);
    assert_false(h->has_failed);
    part_from(h);

    start(h);
    join(h);
    assert_string_equal(hello_of(h)->cluster_id, cluster);
    assert_true(hello_of(h)->incarnation > life);
    assert_int_equal(latest(h), 1);
    part_from(h);
}

static void hello_says_nothing_that_is_not_known_yet(void **state)
{
    struct host *h = *state;
    assert_true(launch(h));
    join(h);
    assert_int_equal(h->ready, 0);
    assert_false(hello_of(h)->has_incarnation);
    assert_null(hello_of(h)->cluster_id);
    assert_string_equal(hello_of(h)->role, "broker");
    fake_world_run(h->time, START_US);
    assert_int_equal(h->ready, 1);
    part_from(h);
}

static void what_waits_for_a_flush_is_told_before_the_end(void **state)
{
    struct host *h = *state;
    uint64_t ids[20];
    start(h);
    join(h);
    create_topic(h);
    for (int i = 0; i < 20; i++)
        ids[i] = put_batch(h, -1);
    flush_requests(&h->c);
    fake_world_run(h->time, 1);
    assert_null(answer_to(&h->c, ids[0]));
    stop(h);
    for (int i = 0; i < 20; i++)
        assert_null(produced(&h->c, ids[i], 0)->error);
    part_from(h);
}

/*
 * Goal: a stop ends in good order, whenever it comes; what was acknowledged is there afterwards.
 * Method: SIGTERM at random moments of the start and of the load after it.
 */
static void it_stops_whenever_it_is_told_to(void **state)
{
    struct host *h = *state;
    int64_t acked = 0;
    start(h);
    join(h);
    create_topic(h);
    stop(h);
    part_from(h);
    for (int round = 0; round < 60; round++) {
        assert_true(launch(h));
        /* Half of them before it is ready. */
        fake_world_run(h->time, (int64_t)rng_below(&h->rng, 40 * 1000));
        if (h->ready) {
            uint64_t ids[8];
            join(h);
            const int64_t before = latest(h);
            assert_true(before >= acked);
            for (int i = 0; i < 8; i++)
                ids[i] = put_batch(h, i % 2 ? -1 : 1);
            flush_requests(&h->c);
            fake_world_run(h->time, (int64_t)rng_below(&h->rng, 3000));
            stop(h);
            for (int i = 0; i < 8; i++)
                if (answer_to(&h->c, ids[i]) && !produced(&h->c, ids[i], 0)->error)
                    acked = produced(&h->c, ids[i], 0)->last_offset + 1;
            part_from(h);
        } else {
            stop(h);
        }
        assert_false(h->has_failed);
    }
    start(h);
    join(h);
    assert_true(latest(h) >= acked);
    assert_true(acked > 0);
    part_from(h);
}

/*
 * Goal: whatever file operation fails on the way up, it ends in one of three ways: it does not
 * begin, it ends by itself and says that it failed, or it serves. Never a crash, never neither.
 * Method: fail each operation of a start in turn, on a directory that has a partition.
 */
static void any_file_operation_may_fail_on_the_way_up(void **state)
{
    struct host *h = *state;
    unsigned ways[3] = {0};
    start(h);
    join(h);
    create_topic(h);
    stop(h);
    part_from(h);
    bool has_faulted = true;
    for (uint64_t n = 0; has_faulted && n < 500; n++) {
        fake_fsio_fault_at(h->fs, fake_fsio_ops(h->fs) + n, FAKE_FAIL);
        if (!launch(h)) {
            ways[0]++;
            has_faulted = true;
        } else {
            fake_world_run(h->time, START_US);
            has_faulted = fake_fsio_has_faulted(h->fs, NULL);
            assert_int_equal(h->ready + h->stopped, 1);
            if (h->stopped) {
                assert_true(h->has_failed);
                ways[1]++;
                wait_stopped(h);
            } else {
                ways[2]++;
                stop(h);
            }
        }
        fake_fsio_fault_at(h->fs, UINT64_MAX, FAKE_FAIL);
        fake_world_run(h->time, SECOND_US);
        fake_fsio_crash(h->fs, FAKE_KILL, &h->rng);
    }
    assert_true(ways[0] > 0);
    assert_true(ways[2] > 0);
    start(h);
    join(h);
    assert_int_equal(latest(h), 0);
    part_from(h);
}

static void a_second_broker_on_the_same_directory_is_refused(void **state)
{
    struct host *h = *state;
    start(h);
    struct server *first = h->server;
    assert_false(launch(h));
    h->server = first;
}

static void a_port_that_is_taken(void **state)
{
    struct host *h = *state;
    struct sock *taken;
    const struct address at = {.host = "127.0.0.1", .port = 9290};
    assert_ok(sock_listen(h->far, &at, NULL, NULL, &taken, NULL));
    assert_false(launch(h));
    sock_close(taken);
    start(h);
}

int main(int argc, char **argv)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(it_serves_and_remembers),
        T(hello_says_nothing_that_is_not_known_yet),
        T(what_waits_for_a_flush_is_told_before_the_end),
        T(it_stops_whenever_it_is_told_to),
        T(any_file_operation_may_fail_on_the_way_up),
        T(a_second_broker_on_the_same_directory_is_refused),
        T(a_port_that_is_taken),
    };
    return TEST_MAIN(tests, NULL, NULL);
}
