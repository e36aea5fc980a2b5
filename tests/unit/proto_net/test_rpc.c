/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/proto_net/net.h"

#include <errno.h>
#include <stdatomic.h>

#include "proto/net/rpc.h"
#include "proto/schema/request.pb-c.h"
#include "proto/wire/frame.h"
#include "proto/wire/msg.h"

/* --- a server that answers as the test says ------------------------------- */

struct asked {
    uint64_t id;
    uint32_t api;
    struct buf body;
};

struct host {
    struct net *n;
    struct sock *door;
    struct address at;
    struct conn *c;
    struct asked asked[64];
    size_t count;
    uint32_t version;
    bool is_silent; /* to Hello */
    unsigned accepted;
    char client_id[32];
};

static void answer(struct host *h, const Sluice__Response *response)
{
    struct buf b = {0};
    msg_pack(response, &b);
    frame_write_length(conn_write_space(h->c, FRAME_PREFIX_SIZE), b.size);
    conn_write(h->c, b.data, b.size);
    buf_deinit(&b);
}

static void answer_hello(struct host *h, uint64_t id)
{
    Sluice__Response response = SLUICE__RESPONSE__INIT;
    Sluice__HelloResponse hello = SLUICE__HELLO_RESPONSE__INIT;
    response.has_correlation_id = hello.has_version = hello.has_broker_id = true;
    response.correlation_id = id;
    response.body_case = SLUICE__RESPONSE__BODY_HELLO;
    response.hello = &hello;
    hello.version = h->version;
    hello.role = (char *)(uintptr_t) "broker";
    hello.broker_id = 7;
    hello.cluster_id = (char *)(uintptr_t) "c1";
    answer(h, &response);
}

static void answer_error(struct host *h, uint64_t id, int32_t code)
{
    Sluice__Response response = SLUICE__RESPONSE__INIT;
    Sluice__Error error = SLUICE__ERROR__INIT;
    response.has_correlation_id = error.has_code = true;
    response.correlation_id = id;
    response.error = &error;
    error.code = code;
    error.message = (char *)(uintptr_t) "because";
    answer(h, &response);
}

static void on_request(struct conn *c, uint8_t *data, size_t size)
{
    struct host *h = conn_user(c);
    struct msg_peek peek;
    assert_ok(msg_peek_request(slice_of(data, size), &peek));
    if (peek.body_field == API_HELLO) {
        snprintf(h->client_id, sizeof h->client_id, "%.*s", (int)peek.client_id.size,
                 (const char *)peek.client_id.data);
        assert_int_equal(h->count, 0);
        if (!h->is_silent)
            answer_hello(h, peek.correlation_id);
        return;
    }
    struct asked *a = &h->asked[h->count++];
    a->id = peek.correlation_id;
    a->api = peek.body_field;
    buf_clear(&a->body);
    buf_append(&a->body, peek.body.data, peek.body.size);
}

static void on_nothing(struct conn *c)
{
    (void)c;
}

static void on_host_closed(struct conn *c, err why)
{
    struct host *h = conn_user(c);
    (void)why;
    if (h->c == c)
        h->c = NULL;
}

static void on_door(void *arg, struct sock *door, unsigned events)
{
    static const struct conn_handler handler = {on_nothing, on_request, on_nothing, on_host_closed};
    static const struct conn_limits limits = {.frame_bytes_max = 1 << 24, .out_bytes_max = 1 << 24};
    struct host *h = arg;
    struct sock *s;
    struct address peer;
    (void)events;
    if (sock_accept(door, &s, &peer))
        return;
    h->accepted++;
    h->count = 0;
    h->c = conn_new(h->n->l, s, &peer, &handler, &limits, h);
}

static struct host *host_start(struct net *n)
{
    struct host *h = MEM_NEW(struct host);
    const struct address any = {.host = "127.0.0.1"};
    h->n = n;
    h->version = 1;
    assert_ok(sock_listen(n->l, &any, on_door, h, &h->door, &h->at));
    return h;
}

static void host_stop(struct host *h)
{
    if (h->c)
        conn_close(h->c);
    net_until(h->n, atomic_load(&conn_stats(h->n->l)->connections) == 0);
    sock_close(h->door);
    for (size_t i = 0; i < 64; i++)
        buf_deinit(&h->asked[i].body);
    mem_free(h);
}

/* --- the asking side: a record of what was called ------------------------- */

struct caller {
    struct rpc *r;
    int ready, broken;
    err why;
    size_t waiting_when_broken;
    bool reconnects;
};

static void on_ready(void *user)
{
    struct caller *k = user;
    k->ready++;
}

static void on_broken(void *user, err why)
{
    struct caller *k = user;
    k->broken++;
    k->why = why;
    k->waiting_when_broken = rpc_waiting(k->r);
    if (k->reconnects)
        rpc_reconnect(k->r);
}

static const struct rpc_events events = {on_ready, on_broken};

static struct rpc_opts opts_to(const struct address *to, struct caller *k)
{
    *k = (struct caller){0};
    return (struct rpc_opts){.to = *to,
                             .client_id = "tester",
                             .connect_timeout_us = 5000000,
                             .inflight_bytes_max = 100,
                             .events = &events,
                             .user = k};
}

struct call {
    int done;
    err e;
    size_t response_size;
    uint64_t id; /* of the response */
    struct rpc *frees;
    struct rpc *resends;
    int *order, place;
};

static void on_done(void *arg, err e, struct slice response)
{
    struct call *call = arg;
    struct msg_peek peek;
    call->done++;
    call->e = e;
    call->response_size = response.size;
    if (call->order)
        call->place = ++*call->order;
    if (!e) {
        assert_ok(msg_peek_response(response, &peek));
        call->id = peek.correlation_id;
    }
    if (call->resends) {
        static const struct rpc_piece piece = {.data = {(const uint8_t *)"\x72\x00", 2}};
        struct rpc *r = call->resends;
        call->resends = NULL;
        rpc_send(r, &piece, 1, 0, on_done, call);
    }
    if (call->frees)
        rpc_free(call->frees);
}

/* A Metadata request (field 14) of `size` bytes of unknown fields... as a body the peek accepts. */
static void send_some(struct rpc *r, struct call *call, int64_t timeout_us)
{
    static const struct rpc_piece piece = {.data = {(const uint8_t *)"\x72\x00", 2}};
    rpc_send(r, &piece, 1, timeout_us, call ? on_done : NULL, call);
}

static void requests_queue_behind_hello_and_answers_find_them(void **state)
{
    struct net *n = *state;
    struct host *h = host_start(n);
    struct caller k;
    const struct rpc_opts opts = opts_to(&h->at, &k);
    struct call calls[3] = {{0}};
    k.r = rpc_new(n->l, &opts);
    for (int i = 0; i < 3; i++)
        send_some(k.r, &calls[i], 0);
    send_some(k.r, NULL, 0); /* nobody waits */
    assert_int_equal(rpc_waiting(k.r), 3);
    net_until(n, h->count == 4 && k.ready);
    assert_true(rpc_is_ready(k.r));
    assert_string_equal(h->client_id, "tester");
    assert_string_equal(rpc_peer(k.r)->role, "broker");
    assert_string_equal(rpc_peer(k.r)->cluster_id, "c1");
    assert_int_equal(rpc_peer(k.r)->broker_id, 7);
    answer_error(h, h->asked[2].id, 7);
    answer_error(h, h->asked[0].id, 7);
    answer_error(h, h->asked[2].id, 7); /* twice: the second is dropped */
    answer_error(h, 12345, 7);          /* nobody's */
    net_until(n, calls[0].done);
    assert_int_equal(calls[2].done, 1);
    assert_int_equal(calls[1].done, 0);
    assert_int_equal(calls[0].id, h->asked[0].id);
    assert_int_equal(calls[2].id, h->asked[2].id);
    answer_error(h, h->asked[3].id, 7);
    answer_error(h, h->asked[1].id, 7);
    net_until(n, calls[1].done);
    assert_int_equal(rpc_waiting(k.r), 0);
    rpc_free(k.r);
    assert_int_equal(k.broken, 0);
    host_stop(h);
}

static int released;

static void on_released(void *arg)
{
    (void)arg;
    released++;
}

static void pieces_are_written_one_after_another(void **state)
{
    struct net *n = *state;
    struct host *h = host_start(n);
    struct caller k;
    const struct rpc_opts opts = opts_to(&h->at, &k);
    struct call call = {0};
    static uint8_t large[100000];
    memset(large, 'L', sizeof large);
    released = 0;
    k.r = rpc_new(n->l, &opts);
    /* Field 11, 100,009 bytes: a field 5 of 5 bytes, a field 6 of 100,000. */
    const struct rpc_piece pieces[] = {
        {.data = slice_of("\x5a\xab\x8d\x06\x2a\x05", 6)},
        {.data = slice_str("small")},
        {.data = slice_of("\x32\xa0\x8d\x06", 4)},
        {.data = slice_of(large, sizeof large), .release = on_released},
    };
    rpc_send(k.r, pieces, 4, 0, on_done, &call);
    assert_true(rpc_is_full(k.r));
    net_until(n, h->count == 1);
    assert_int_equal(released, 1);
    assert_int_equal(h->asked[0].api, API_PRODUCE);
    assert_int_equal(h->asked[0].body.size, 100011);
    assert_memory_equal(h->asked[0].body.data, "\x2a\x05small\x32\xa0\x8d\x06LL", 13);
    answer_error(h, h->asked[0].id, 7);
    net_until(n, call.done);
    assert_false(rpc_is_full(k.r));
    rpc_free(k.r);
    host_stop(h);
}

static void deadlines_end_requests_and_leave_the_connection(void **state)
{
    struct net *n = *state;
    struct host *h = host_start(n);
    struct caller k;
    const struct rpc_opts opts = opts_to(&h->at, &k);
    struct call late = {0}, later = {0}, never = {0};
    k.r = rpc_new(n->l, &opts);
    send_some(k.r, &later, 60000);
    send_some(k.r, &late, 20000);
    send_some(k.r, &never, 0);
    const int64_t from = loop_clock_us(n->l);
    net_until(n, late.done);
    assert_true(loop_clock_us(n->l) - from >= 20000);
    assert_err(late.e, E_TIMED_OUT);
    assert_int_equal(late.response_size, 0);
    if (n->w) /* a busy machine may take us past both */
        assert_int_equal(later.done, 0);
    net_until(n, later.done);
    assert_true(loop_clock_us(n->l) - from >= 60000);
    net_until(n, h->count == 3);
    answer_error(h, h->asked[1].id, 7); /* too late */
    answer_error(h, h->asked[2].id, 7);
    net_until(n, never.done);
    assert_err(never.e, OK);
    assert_int_equal(late.done, 1);
    assert_false(rpc_is_broken(k.r));
    rpc_free(k.r);
    host_stop(h);
}

static void a_broken_connection_ends_all_in_order_and_can_be_made_anew(void **state)
{
    struct net *n = *state;
    struct host *h = host_start(n);
    struct caller k;
    const struct rpc_opts opts = opts_to(&h->at, &k);
    int order = 0;
    struct call calls[20];
    memset(calls, 0, sizeof calls);
    k.r = rpc_new(n->l, &opts);
    for (int i = 0; i < 20; i++) {
        calls[i].order = &order;
        send_some(k.r, &calls[i], 10000000);
    }
    net_until(n, h->count == 20);
    answer_error(h, h->asked[0].id, 7); /* a free slot in front of the others */
    net_until(n, calls[0].done);
    calls[0].done = 0;
    send_some(k.r, &calls[0], 0);
    net_until(n, h->count == 21);
    conn_close(h->c);
    net_until(n, k.broken);
    assert_err(k.why, E_NETWORK);
    assert_int_equal(k.waiting_when_broken, 0);
    assert_true(rpc_is_broken(k.r));
    for (int i = 0; i < 20; i++) {
        assert_int_equal(calls[i].done, 1);
        assert_err(calls[i].e, E_NETWORK);
        assert_int_equal(calls[i].place, i ? i + 1 : 21);
    }
    /* While broken: later, not at once. */
    struct call lost = {0}, found = {0};
    released = 0;
    rpc_send(k.r, &(struct rpc_piece){.data = slice_str("x"), .release = on_released}, 1, 0,
             on_done, &lost);
    assert_int_equal(released, 1);
    assert_int_equal(lost.done, 0);
    rpc_reconnect(k.r);
    send_some(k.r, &found, 0);
    net_until(n, h->accepted == 2 && h->count == 1 && lost.done);
    assert_err(lost.e, E_NETWORK);
    assert_int_equal(lost.done, 1);
    answer_error(h, h->asked[0].id, 7);
    net_until(n, found.done);
    assert_err(found.e, OK);
    rpc_free(k.r);
    host_stop(h);
}

static void refusals_are_told_by_their_code(void **state)
{
    struct net *n = *state;
    struct host *h = host_start(n);
    struct caller k;
    const struct rpc_opts opts = opts_to(&h->at, &k);
    struct call call = {0};
    /* Nobody listens. */
    struct rpc_opts closed = opts;
    closed.to.port = 1;
    k.r = rpc_new(n->l, &closed);
    send_some(k.r, &call, 0);
    net_until(n, k.broken);
    assert_err(k.why, E_NETWORK);
    assert_int_equal(rpc_errno(k.r), ECONNREFUSED);
    assert_err(call.e, E_NETWORK);
    rpc_free(k.r);
    /* The door is full: a word with id 0. */
    k = (struct caller){0};
    h->is_silent = true;
    k.r = rpc_new(n->l, &opts);
    send_some(k.r, &call, 0);
    net_until(n, h->count == 1);
    answer_error(h, 0, E_OVERLOADED);
    net_until(n, k.broken);
    assert_err(k.why, E_OVERLOADED);
    assert_err(call.e, E_NETWORK);
    rpc_free(k.r);
    h->is_silent = false;
    /* Another version. */
    k = (struct caller){0};
    h->version = 99;
    k.r = rpc_new(n->l, &opts);
    send_some(k.r, &call, 0);
    net_until(n, k.broken);
    assert_err(k.why, E_UNSUPPORTED_VERSION);
    assert_err(call.e, E_UNSUPPORTED_VERSION);
    assert_int_equal(k.ready, 0);
    assert_int_equal(call.done, 3);
    rpc_free(k.r);
    host_stop(h);
}

static void who_does_not_speak_our_protocol_is_left(void **state)
{
    struct net *n = *state;
    static const struct slice rubbish[] = {{(const uint8_t *)"HTTP/1.1 400 Bad\r\n", 18},
                                           {(const uint8_t *)"\0\0\0\3\xff\xff\xff", 7},
                                           {(const uint8_t *)"\0\0\0\2\x08\x01", 6}};
    for (size_t i = 0; i < sizeof rubbish / sizeof *rubbish; i++) {
        struct host *h = host_start(n);
        struct caller k;
        const struct rpc_opts opts = opts_to(&h->at, &k);
        struct call call = {0};
        h->is_silent = true;
        k.r = rpc_new(n->l, &opts);
        send_some(k.r, &call, 0);
        net_until(n, h->count == 1);
        conn_write(h->c, rubbish[i].data, rubbish[i].size);
        net_until(n, k.broken);
        assert_err(k.why, E_CORRUPT);
        assert_err(call.e, E_NETWORK);
        rpc_free(k.r);
        host_stop(h);
    }
}

static void hello_has_a_deadline(void **state)
{
    struct net *n = *state;
    struct host *h = host_start(n);
    struct caller k;
    struct rpc_opts opts = opts_to(&h->at, &k);
    struct call call = {0};
    opts.connect_timeout_us = 30000;
    h->is_silent = true;
    k.r = rpc_new(n->l, &opts);
    send_some(k.r, &call, 0);
    net_until(n, k.broken);
    assert_err(k.why, E_TIMED_OUT);
    assert_err(call.e, E_NETWORK);
    rpc_free(k.r);
    host_stop(h);
}

static void freeing_cancels_also_from_within_a_callback(void **state)
{
    struct net *n = *state;
    struct host *h = host_start(n);
    struct caller k;
    const struct rpc_opts opts = opts_to(&h->at, &k);
    struct call first = {0}, second = {0}, third = {0};
    k.r = rpc_new(n->l, &opts);
    send_some(k.r, &first, 0);
    send_some(k.r, &second, 10000);
    first.frees = k.r;
    net_until(n, h->count == 2);
    answer_error(h, h->asked[0].id, 7);
    answer_error(h, h->asked[1].id, 7);
    net_until(n, second.done);
    assert_err(first.e, OK);
    assert_err(second.e, E_CANCELLED);
    net_some_turns(n);
    /* When it breaks, and what a callback sends again is cancelled too. */
    k = (struct caller){0};
    first = second = (struct call){0};
    k.r = rpc_new(n->l, &opts);
    second.resends = k.r;
    send_some(k.r, &second, 0);
    send_some(k.r, &first, 0);
    send_some(k.r, &third, 0);
    first.frees = k.r;
    net_until(n, h->count == 3);
    conn_close(h->c);
    net_until(n, third.done);
    assert_err(first.e, E_NETWORK);
    assert_err(third.e, E_CANCELLED);
    assert_int_equal(second.done, 2);
    assert_err(second.e, E_CANCELLED);
    assert_int_equal(k.broken, 0);
    net_some_turns(n);
    assert_int_equal(first.done + third.done, 2);
    host_stop(h);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        OVER_BOTH(requests_queue_behind_hello_and_answers_find_them),
        OVER_BOTH(pieces_are_written_one_after_another),
        OVER_BOTH(deadlines_end_requests_and_leave_the_connection),
        OVER_BOTH(a_broken_connection_ends_all_in_order_and_can_be_made_anew),
        OVER_BOTH(refusals_are_told_by_their_code),
        OVER_BOTH(who_does_not_speak_our_protocol_is_left),
        OVER_BOTH(hello_has_a_deadline),
        OVER_BOTH(freeing_cancels_also_from_within_a_callback),
    };
    return TEST_MAIN(tests, NULL, NULL);
}
