/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client whose servers answer with whatever the input says: a producer, a
 * consumer and an admin, in one thread and virtual time. They must survive, end each
 * call by its deadline, tell each record once, and free all they had.
 *
 * The input is a row of answers, [kind][size, 2 bytes, little endian][bytes], given in the order in
 * which requests come; behind the last no request is answered. Hello always is.
 */
#include <stdlib.h>
#include <string.h>

#include "clients/lib/admin_priv.h"
#include "clients/lib/consumer_priv.h"
#include "clients/lib/producer_priv.h"
#include "proto/base/diag.h"
#include "proto/base/mem.h"
#include "proto/base/writer.h"
#include "proto/net/conn.h"
#include "proto/wire/fetch.h"
#include "proto/wire/produce.h"
#include "tests/support/fake_loop.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PORT = 7001, CONNS_MAX = 64, RECORDS = 3, SECOND = 1000 * 1000 };

/* What an answer is made of; the rest of the kind's byte is ignored. */
enum kind {
    RIGHT, /* what a broker would say; bytes are the batches of a fetch */
    BODY,  /* bytes are the message */
    RAW,   /* bytes are the fields behind the correlation id */
    HANG_UP,
    KINDS
};

struct server {
    struct fake_world *w;
    struct loop *l;
    struct sock *listener;
    struct conn *conns[CONNS_MAX];
    struct slice answers;
    size_t told;
};

static void must(bool held)
{
    if (!held)
        abort();
}

/* --- answers -------------------------------------------------------------------------------- */

static void put_field(struct buf *b, uint32_t number, struct slice s)
{
    uint8_t *p = buf_reserve(b, 2 * VARINT_MAX);
    b->size += (size_t)(write_varint(write_tag(p, number, 2), s.size) - p);
    buf_append(b, s.data, s.size);
}

static void put_uint(struct buf *b, uint32_t number, uint64_t v)
{
    uint8_t *p = buf_reserve(b, 2 * VARINT_MAX);
    b->size += (size_t)(write_varint(write_tag(p, number, 0), v) - p);
}

/* Topic t, one partition, led by broker 1: this server. */
static void right_metadata(struct buf *out)
{
    struct buf broker = {0}, topic = {0}, partition = {0};
    put_uint(&broker, 1, 1);
    put_field(&broker, 2, slice_str("127.0.0.1"));
    put_uint(&broker, 3, PORT);
    put_uint(&partition, 1, 0);
    put_uint(&partition, 2, 1);
    put_uint(&partition, 3, 1);
    put_field(&topic, 1, slice_str("t"));
    put_field(&topic, 2, slice_str("0123456789abcdef"));
    put_field(&topic, 5, buf_slice(&partition));
    put_uint(out, 1, 7);
    put_field(out, 4, buf_slice(&broker));
    put_field(out, 5, buf_slice(&topic));
    buf_deinit(&broker);
    buf_deinit(&topic);
    buf_deinit(&partition);
}

/* One topic, one partition whose fields are given. */
static void right_partition(struct buf *out, struct slice fields)
{
    struct buf topic = {0};
    put_field(&topic, 1, slice_str("t"));
    put_field(&topic, 3, fields);
    put_field(out, 1, buf_slice(&topic));
    buf_deinit(&topic);
}

static void right_body(uint32_t api, struct slice bytes, struct buf *out)
{
    struct buf fields = {0};
    put_uint(&fields, 1, 0);
    if (api == API_METADATA) {
        right_metadata(out);
    } else if (api == API_PRODUCE) {
        put_uint(&fields, 3, 0);
        put_uint(&fields, 4, 0);
        right_partition(out, buf_slice(&fields));
    } else if (api == API_FETCH) {
        put_uint(&fields, 3, 100);
        put_uint(&fields, 4, 0);
        put_field(&fields, 15, bytes);
        right_partition(out, buf_slice(&fields));
    } else {
        put_uint(&fields, 3, 0);
        right_partition(out, buf_slice(&fields));
    }
    buf_deinit(&fields);
}

static void answer(struct conn *c, uint64_t id, struct slice fields)
{
    struct buf b = {0};
    put_uint(&b, 1, id);
    buf_append(&b, fields.data, fields.size);
    write_u32_be(conn_write_space(c, 4), (uint32_t)b.size);
    conn_write(c, b.data, b.size);
    buf_deinit(&b);
}

static void answer_body(struct conn *c, uint64_t id, uint32_t api, struct slice body)
{
    struct buf fields = {0};
    put_field(&fields, api, body);
    answer(c, id, buf_slice(&fields));
    buf_deinit(&fields);
}

static bool answer_next(struct server *s, unsigned *kind, struct slice *bytes)
{
    if (s->answers.size < 3)
        return false;
    const uint8_t *p = s->answers.data;
    *kind = p[0] % KINDS;
    *bytes = slice_sub(s->answers, 3, p[1] | (size_t)p[2] << 8);
    s->answers = slice_sub(s->answers, 3 + bytes->size, SIZE_MAX);
    return true;
}

static void on_frame(struct conn *c, uint8_t *data, size_t size)
{
    struct server *s = conn_user(c);
    struct msg_peek m;
    struct slice bytes;
    struct buf body = {0};
    unsigned kind;
    must(msg_peek_request(slice_of(data, size), &m) == OK);
    if (m.body_field == API_HELLO) {
        put_uint(&body, 1, 1);
        answer_body(c, m.correlation_id, API_HELLO, buf_slice(&body));
    } else if (answer_next(s, &kind, &bytes)) {
        if (kind == HANG_UP) {
            conn_close(c);
        } else if (kind == RAW) {
            answer(c, m.correlation_id, bytes);
        } else if (kind == BODY) {
            answer_body(c, m.correlation_id, m.body_field, bytes);
        } else {
            right_body(m.body_field, bytes, &body);
            answer_body(c, m.correlation_id, m.body_field, buf_slice(&body));
        }
    }
    buf_deinit(&body);
}

/* --- the server's connections ------------------------------------------------------------------
 */

static void on_open(struct conn *c)
{
    (void)c;
}

static void on_closed(struct conn *c, err why)
{
    struct server *s = conn_user(c);
    (void)why;
    for (size_t i = 0; i < CONNS_MAX; i++) {
        if (s->conns[i] == c)
            s->conns[i] = NULL;
    }
}

static const struct conn_handler handler = {
    .on_open = on_open, .on_frame = on_frame, .on_frames_end = on_open, .on_closed = on_closed};
static const struct conn_limits limits = {.frame_bytes_max = 1 << 20, .out_bytes_max = SIZE_MAX};

static void on_listener(void *arg, struct sock *listener, unsigned events)
{
    struct server *s = arg;
    struct sock *sock;
    struct address peer;
    (void)events;
    while (sock_accept(listener, &sock, &peer) == OK) {
        struct conn *c = conn_new(s->l, sock, &peer, &handler, &limits, s);
        size_t i = 0;
        while (i < CONNS_MAX && s->conns[i])
            i++;
        must(i < CONNS_MAX);
        s->conns[i] = c;
    }
}

/* --- the clients
 * ---------------------------------------------------------------------------------- */

static void turn(void *arg, int64_t timeout_us)
{
    struct server *s = arg;
    fake_world_run(s->w, timeout_us < 5000 ? timeout_us : 5000);
}

static void on_delivery(void *user, const struct sluice_delivery *d)
{
    (void)d;
    ((struct server *)user)->told++;
}

static void run_producer(struct server *s, struct loop *l, sluice_config *config)
{
    sluice_producer *p;
    const struct sluice_producer_callbacks callbacks = {.on_delivery = on_delivery, .user = s};
    size_t sent = 0;
    must(producer_new_driven(l, turn, s, 1, config, &callbacks, &p, NULL) == SLUICE_OK);
    for (int i = 0; i < RECORDS; i++) {
        const struct sluice_record r = {.topic = "t", .value = "value", .value_size = 5};
        sent += sluice_producer_send(p, &r, 300, NULL) == SLUICE_OK;
    }
    sluice_producer_close(p, 700, NULL);
    must(s->told == sent);
}

static void run_consumer(struct server *s, struct loop *l, sluice_config *config)
{
    sluice_consumer *c;
    const struct sluice_topic_partition tp = {.topic = "t", .offset = SLUICE_OFFSET_BEGINNING};
    must(consumer_new_driven(l, turn, s, 1, config, &c, NULL) == SLUICE_OK);
    must(sluice_consumer_assign(c, &tp, 1, NULL) == SLUICE_OK);
    int64_t before = 0;
    for (int i = 0; i < 8; i++) {
        struct sluice_poll poll;
        must(sluice_consumer_poll(c, 150, &poll, NULL) == SLUICE_OK);
        for (size_t k = 0; k < poll.message_count; k++) {
            const struct sluice_message *m = &poll.messages[k];
            struct sluice_header_view h;
            size_t pos = 0;
            must(m->offset >= before);
            before = m->offset + 1;
            while (sluice_header_next(m, &pos, &h))
                ;
        }
        if (poll.event_count)
            before = 0;
    }
    sluice_consumer_close(c, 0, NULL);
}

static void run_admin(struct server *s, struct loop *l, sluice_config *config)
{
    sluice_admin *a;
    struct sluice_cluster *cluster;
    struct sluice_configs_results *configs;
    const struct sluice_topic_partition tp = {.topic = "t", .offset = SLUICE_TIME_LATEST};
    const struct sluice_new_topic topic = {.name = "t"};
    const struct sluice_resource resource = {.type = SLUICE_RESOURCE_TOPIC, .name = "t"};
    must(admin_new_driven(l, turn, s, 1, config, &a, NULL) == SLUICE_OK);
    sluice_admin_describe(a, NULL, 0, 200, &cluster, NULL);
    sluice_cluster_free(cluster);
    sluice_admin_list_offsets(a, &tp, 1, 200, NULL, NULL);
    sluice_admin_create_topics(a, &topic, 1, false, 200, NULL, NULL);
    sluice_admin_describe_configs(a, &resource, 1, 200, &configs, NULL);
    sluice_configs_results_free(configs);
    sluice_admin_free(a);
}

/* The first byte picks which client. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const runs[])(struct server * s, struct loop * l,
                                sluice_config * config) = {run_producer, run_consumer, run_admin};
    if (size == 0)
        return 0;
    diag_set_level(DIAG_ERROR);
    struct server s = {.w = fake_world_new(NULL), .answers = slice_of(data + 1, size - 1)};
    s.l = fake_world_loop(s.w, "server");
    struct loop *l = fake_world_loop(s.w, "client");
    struct address bound;
    must(sock_listen(s.l, &(struct address){.host = "127.0.0.1", .port = PORT}, on_listener, &s,
                     &s.listener, &bound) == OK);
    sluice_config *config = sluice_config_new();
    sluice_config_set(config, "bootstrap.servers", "127.0.0.1:7001");
    runs[data[0] % 3](&s, l, config);
    sluice_config_free(config);
    for (size_t i = 0; i < CONNS_MAX; i++) {
        if (s.conns[i])
            conn_close(s.conns[i]);
    }
    sock_close(s.listener);
    fake_world_run(s.w, SECOND);
    loop_free(l);
    loop_free(s.l);
    fake_world_free(s.w);
    return 0;
}
