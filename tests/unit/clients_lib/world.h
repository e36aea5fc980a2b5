/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of this room share: a fake cluster and clients on it, all in
 * one thread and virtual time. A blocking call turns the world until it returns.
 */
#ifndef SLUICE_TESTS_CLIENTS_LIB_WORLD_H
#define SLUICE_TESTS_CLIENTS_LIB_WORLD_H

#include "tests/support/test.h"

#include <stdio.h>
#include <string.h>

#include "clients/lib/admin_priv.h"
#include "clients/lib/consumer_priv.h"
#include "clients/lib/producer_priv.h"
#include "proto/base/mem.h"
#include "proto/wire/batch.h"
#include "tests/support/fake_broker.h"
#include "tests/support/fake_loop.h"

enum { SECOND = 1000 * 1000, BROKERS_MAX = 4 };

struct world {
    struct fake_world *w;
    struct loop *servers, *clients;
    struct fake_cluster *fc;
    struct fake_broker *brokers[BROKERS_MAX];
    sluice_config *config;      /* of the clients under test */
    sluice_config *fill_config; /* of producers that only prepare */
    struct sluice_error error;
};

static inline void world_turn(void *arg, int64_t timeout_us)
{
    struct world *w = arg;
    fake_world_run(w->w, timeout_us < 500 ? timeout_us : 500);
}

static inline void world_bootstrap(struct world *w)
{
    char list[256] = "";
    for (size_t i = 0; i < BROKERS_MAX; i++) {
        if (w->brokers[i])
            snprintf(list + strlen(list), sizeof list - strlen(list), "%s127.0.0.1:%u",
                     list[0] ? "," : "", (unsigned)fake_broker_port(w->brokers[i]));
    }
    sluice_config_set(w->config, "bootstrap.servers", list);
    sluice_config_set(w->fill_config, "bootstrap.servers", list);
}

static inline struct world *world_new(size_t brokers)
{
    struct world *w = MEM_NEW(struct world);
    static const struct fake_opts opts = {.latency_us = 50};
    w->w = fake_world_new(&opts);
    w->servers = fake_world_loop(w->w, "servers");
    w->clients = fake_world_loop(w->w, "clients");
    w->fc = fake_cluster_new(test_seed());
    w->config = sluice_config_new();
    w->fill_config = sluice_config_new();
    for (size_t i = 0; i < brokers; i++)
        w->brokers[i] = fake_broker_new(w->fc, w->servers, (uint16_t)(7001 + i));
    world_bootstrap(w);
    return w;
}

/* Turns the world until condition holds; virtual time costs nothing, so a deadline is generous. */
#define world_until(world, condition)                                                              \
    do {                                                                                           \
        const int64_t end_us_ = fake_world_now_us((world)->w) + INT64_C(300) * SECOND;             \
        while (!(condition)) {                                                                     \
            assert_true(fake_world_now_us((world)->w) < end_us_);                                  \
            fake_world_run((world)->w, 500);                                                       \
        }                                                                                          \
    } while (0)

static inline void world_stop_broker(struct world *w, size_t i)
{
    fake_broker_stop(w->brokers[i]);
    world_until(w, fake_broker_is_stopped(w->brokers[i]));
    fake_broker_free(w->brokers[i]);
    w->brokers[i] = NULL;
}

static inline void world_free(struct world *w)
{
    for (size_t i = 0; i < BROKERS_MAX; i++) {
        if (w->brokers[i])
            world_stop_broker(w, i);
    }
    fake_world_run(w->w, SECOND);
    fake_cluster_free(w->fc);
    loop_free(w->clients);
    loop_free(w->servers);
    fake_world_free(w->w);
    sluice_config_free(w->config);
    sluice_config_free(w->fill_config);
    mem_free(w);
}

#define assert_sluice(world, call)                                                                 \
    do {                                                                                           \
        if ((call) != SLUICE_OK)                                                                   \
            fail_msg("%s: %s", #call, (world)->error.text);                                        \
    } while (0)

/* --- producers whose deliveries are collected ------------------------------------------------- */

enum { DELIVERIES_MAX = 20000 };
struct told {
    int32_t code, partition;
    int64_t offset;
    uintptr_t number;
};
struct teller {
    struct told all[DELIVERIES_MAX];
    size_t count, failed;
    char text[1024]; /* of the last failure */
};

static inline void teller_tell(void *user, const struct sluice_delivery *d)
{
    struct teller *t = user;
    assert_true(t->count < DELIVERIES_MAX);
    t->all[t->count++] = (struct told){.code = d->error ? d->error->code : 0,
                                       .partition = d->partition,
                                       .offset = d->offset,
                                       .number = (uintptr_t)d->opaque};
    if (!d->error)
        return;
    t->failed++;
    snprintf(t->text, sizeof t->text, "%s", d->error->text);
}

static inline sluice_producer *world_filler(struct world *w)
{
    sluice_producer *p;
    assert_sluice(w, producer_new_driven(w->clients, world_turn, w, test_seed(), w->fill_config,
                                         NULL, &p, &w->error));
    return p;
}

static inline sluice_producer *world_producer(struct world *w, struct teller *t)
{
    sluice_producer *p;
    const struct sluice_producer_callbacks callbacks = {.on_delivery = teller_tell, .user = t};
    assert_sluice(w, producer_new_driven(w->clients, world_turn, w, test_seed(), w->config,
                                         t ? &callbacks : NULL, &p, &w->error));
    return p;
}

static inline sluice_consumer *world_consumer(struct world *w)
{
    sluice_consumer *c;
    assert_sluice(
        w, consumer_new_driven(w->clients, world_turn, w, test_seed(), w->config, &c, &w->error));
    return c;
}

/* Sends "NUMBER" with that number as its opaque. */
static inline void world_send(struct world *w, sluice_producer *p, const char *topic,
                              int32_t partition, uintptr_t number)
{
    char value[32];
    const struct sluice_record r = {
        .topic = topic,
        .value = value,
        .value_size = (size_t)snprintf(value, sizeof value, "%06u", (unsigned)number),
        .opaque = (void *)number};
    assert_sluice(w, sluice_producer_send_to(p, partition, &r, 60000, &w->error));
}

/* The values of a partition's log in order, as numbers; returns how many. */
static inline size_t world_log(struct world *w, const struct fake_partition *p, uintptr_t *out,
                               size_t max)
{
    size_t count = 0;
    struct codec_ctx *x = codec_ctx_new();
    (void)w;
    for (struct slice rest = buf_slice(&p->log); rest.size;) {
        struct batch b;
        struct buf plain = {0};
        struct record_view v;
        assert_ok(batch_read_canonical(rest, &b));
        assert_ok(codec_decompress(x, (enum batch_codec)(b.attributes & BATCH_CODEC_MASK),
                                   b.records, 64 << 20, &plain));
        struct reader r = reader_init(buf_slice(&plain));
        while (record_next(&r, &v) == OK) {
            uintptr_t number = 0;
            for (size_t i = 0; i < v.value.size && i < 6; i++)
                number = number * 10 + (uintptr_t)(v.value.data[i] - '0');
            assert_true(count < max);
            out[count++] = number;
        }
        buf_deinit(&plain);
        rest = slice_sub(rest, b.size, SIZE_MAX);
    }
    codec_ctx_free(x);
    return count;
}

#endif
