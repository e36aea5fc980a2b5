/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The public functions as applications call them, with background threads and
 * real sockets: for ThreadSanitizer above all. What they do is tested in
 * test_producer.c and test_consumer.c; here several threads do it.
 */
#include "tests/support/test.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include <sluice/sluice.h>

#include "proto/base/mem.h"
#include "proto/net/loop.h"
#include "tests/support/fake_broker.h"

enum { SENDERS = 3, EACH = 5000, PARTITIONS = 4 };

struct server {
    struct loop *l;
    pthread_t thread;
    struct fake_cluster *fc;
    struct fake_broker *b;
    sluice_config *config;
    struct sluice_error error;
};

static void *serve(void *arg)
{
    loop_run(((struct server *)arg)->l);
    return NULL;
}

static int setup(void **state)
{
    struct server *s = MEM_NEW(struct server);
    struct loop_backend *backend;
    assert_ok(loop_epoll_backend(&backend));
    s->l = loop_new(backend, "server");
    s->fc = fake_cluster_new(test_seed());
    s->b = fake_broker_new(s->fc, s->l, 0);
    fake_cluster_topic(s->fc, "t", PARTITIONS);
    char bootstrap[64];
    snprintf(bootstrap, sizeof bootstrap, "127.0.0.1:%u", (unsigned)fake_broker_port(s->b));
    s->config = sluice_config_new();
    sluice_config_set(s->config, "bootstrap.servers", bootstrap);
    assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
    *state = s;
    return 0;
}

static int teardown(void **state)
{
    struct server *s = *state;
    loop_stop(s->l);
    pthread_join(s->thread, NULL);
    fake_broker_stop(s->b);
    assert_eventually((loop_turn(s->l, 1000), fake_broker_is_stopped(s->b)), 10000);
    fake_broker_free(s->b);
    loop_turn(s->l, 0);
    fake_cluster_free(s->fc);
    loop_free(s->l);
    sluice_config_free(s->config);
    mem_free(s);
    return 0;
}

struct sender {
    sluice_producer *producer;
    pthread_t thread;
    uint32_t id;
    int failed;
};

/* Values are sender and number; each sender uses every partition. */
static void *send_many(void *arg)
{
    struct sender *s = arg;
    struct sluice_error error;
    for (uint32_t i = 0; i < EACH; i++) {
        const uint32_t value[2] = {s->id, i};
        const struct sluice_record r = {.topic = "t", .value = value, .value_size = sizeof value};
        s->failed |=
            sluice_producer_send_to(s->producer, (int32_t)(i % PARTITIONS), &r, 60000, &error);
        if (i % 1000 == 999)
            s->failed |= sluice_producer_flush(s->producer, 60000, &error);
        struct sluice_producer_stats stats;
        if (i % 100 == 0)
            sluice_producer_stats(s->producer, &stats);
    }
    return NULL;
}

static _Atomic uint64_t deliveries;

static void on_delivery(void *user, const struct sluice_delivery *d)
{
    (void)user;
    if (!d->error)
        atomic_fetch_add(&deliveries, 1);
}

static void read_back(struct server *s)
{
    sluice_consumer *c;
    struct sluice_topic_partition all[PARTITIONS];
    uint32_t next[SENDERS][PARTITIONS] = {0};
    for (int i = 0; i < PARTITIONS; i++)
        all[i] = (struct sluice_topic_partition){
            .topic = "t", .partition = i, .offset = SLUICE_OFFSET_BEGINNING};
    sluice_config *config = sluice_config_new();
    sluice_config_set(config, "bootstrap.servers",
                      sluice_config_get(s->config, "bootstrap.servers"));
    sluice_config_set(config, "max.partition.fetch.bytes", "20000");
    assert_int_equal(sluice_consumer_new(config, &c, &s->error), SLUICE_OK);
    sluice_config_free(config);
    assert_int_equal(sluice_consumer_assign(c, all, PARTITIONS, &s->error), SLUICE_OK);
    for (size_t got = 0; got < SENDERS * EACH;) {
        struct sluice_poll poll;
        assert_int_equal(sluice_consumer_poll(c, 60000, &poll, &s->error), SLUICE_OK);
        assert_true(poll.message_count > 0);
        for (size_t i = 0; i < poll.message_count; i++, got++) {
            uint32_t value[2];
            assert_int_equal(poll.messages[i].value_size, sizeof value);
            memcpy(value, poll.messages[i].value, sizeof value);
            uint32_t *expected = &next[value[0]][poll.messages[i].partition];
            assert_int_equal(value[1] / PARTITIONS, (*expected)++);
        }
    }
    assert_int_equal(sluice_consumer_close(c, 1000, &s->error), SLUICE_OK);
}

static void many_threads_send_through_one_producer(void **state)
{
    struct server *s = *state;
    struct sender senders[SENDERS];
    const struct sluice_producer_callbacks callbacks = {.on_delivery = on_delivery};
    sluice_producer *p;
    atomic_store(&deliveries, 0);
    sluice_config_set(s->config, "batch.size", "4096");
    sluice_config_set(s->config, "buffer.memory", "65536");
    sluice_config_set(s->config, "linger.ms", "1");
    assert_int_equal(sluice_producer_new(s->config, &callbacks, &p, &s->error), SLUICE_OK);
    for (uint32_t i = 0; i < SENDERS; i++) {
        senders[i] = (struct sender){.producer = p, .id = i};
        assert_int_equal(pthread_create(&senders[i].thread, NULL, send_many, &senders[i]), 0);
    }
    for (uint32_t i = 0; i < SENDERS; i++) {
        pthread_join(senders[i].thread, NULL);
        assert_int_equal(senders[i].failed, 0);
    }
    assert_int_equal(sluice_producer_close(p, 60000, &s->error), SLUICE_OK);
    assert_int_equal(atomic_load(&deliveries), SENDERS * EACH);
    read_back(s);
}

static sluice_consumer *waiting;

static void on_signal(int number)
{
    (void)number;
    sluice_consumer_wakeup(waiting);
}

static void *poll_until_woken(void *arg)
{
    struct sluice_poll poll;
    int *code = arg;
    do
        *code = sluice_consumer_poll(waiting, 60000, &poll, NULL);
    while (*code == SLUICE_OK);
    return NULL;
}

static void a_signal_handler_may_wake(void **state)
{
    struct server *s = *state;
    pthread_t thread;
    int code = 0;
    const struct sluice_topic_partition tp = {
        .topic = "t", .partition = 0, .offset = SLUICE_OFFSET_END};
    assert_int_equal(sluice_consumer_new(s->config, &waiting, &s->error), SLUICE_OK);
    assert_int_equal(sluice_consumer_assign(waiting, &tp, 1, &s->error), SLUICE_OK);
    struct sigaction action = {.sa_handler = on_signal}, before;
    assert_int_equal(sigaction(SIGUSR1, &action, &before), 0);
    assert_int_equal(pthread_create(&thread, NULL, poll_until_woken, &code), 0);
    assert_int_equal(pthread_kill(thread, SIGUSR1), 0);
    pthread_join(thread, NULL);
    assert_int_equal(code, SLUICE_E_CANCELLED);
    assert_int_equal(sigaction(SIGUSR1, &before, NULL), 0);
    assert_int_equal(sluice_consumer_close(waiting, 1000, &s->error), SLUICE_OK);
}

static void *describe_many(void *arg)
{
    struct sluice_error error;
    for (int i = 0; i < 100; i++) {
        struct sluice_cluster *cluster;
        if (sluice_admin_describe(arg, NULL, 0, 60000, &cluster, &error) != SLUICE_OK)
            return arg;
        sluice_cluster_free(cluster);
    }
    return NULL;
}

static void many_threads_share_an_admin(void **state)
{
    struct server *s = *state;
    sluice_admin *a;
    pthread_t threads[SENDERS];
    assert_int_equal(sluice_admin_new(s->config, &a, &s->error), SLUICE_OK);
    for (int i = 0; i < SENDERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, describe_many, a), 0);
    for (int i = 0; i < SENDERS; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    sluice_admin_free(a);
}

static void closing_in_the_middle_is_safe(void **state)
{
    struct server *s = *state;
    for (int i = 0; i < 20; i++) {
        sluice_producer *p;
        const struct sluice_producer_callbacks callbacks = {.on_delivery = on_delivery};
        sluice_config_set(s->config, "compression.type", i % 2 ? "lz4" : "none");
        assert_int_equal(sluice_producer_new(s->config, &callbacks, &p, &s->error), SLUICE_OK);
        const struct sluice_record r = {.topic = "t", .value = "v", .value_size = 1};
        for (int k = 0; k < 1000; k++)
            assert_int_equal(sluice_producer_send(p, &r, 60000, &s->error), SLUICE_OK);
        const int code = sluice_producer_close(p, i % 3, &s->error);
        assert_true(code == SLUICE_OK || code == SLUICE_E_TIMED_OUT);
    }
}

static void a_name_is_resolved(void **state)
{
    struct server *s = *state;
    char bootstrap[64];
    snprintf(bootstrap, sizeof bootstrap, "localhost:%u", (unsigned)fake_broker_port(s->b));
    sluice_config_set(s->config, "bootstrap.servers", bootstrap);
    sluice_consumer *c;
    int32_t count;
    assert_int_equal(sluice_consumer_new(s->config, &c, &s->error), SLUICE_OK);
    assert_int_equal(sluice_consumer_partitions(c, "t", 60000, &count, &s->error), SLUICE_OK);
    assert_int_equal(count, PARTITIONS);
    assert_int_equal(sluice_consumer_close(c, 1000, &s->error), SLUICE_OK);
}

#define WITH_SERVER(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        WITH_SERVER(many_threads_send_through_one_producer),
        WITH_SERVER(a_signal_handler_may_wake),
        WITH_SERVER(many_threads_share_an_admin),
        WITH_SERVER(closing_in_the_middle_is_safe),
        WITH_SERVER(a_name_is_resolved),
    };
    return TEST_MAIN(tests, NULL, NULL);
}
