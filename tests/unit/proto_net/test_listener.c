/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/proto_net/net.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <unistd.h>

#include "proto/net/exec.h"
#include "proto/net/listener.h"
#include "proto/wire/frame.h"
#include "proto/wire/msg.h"

enum { LOOPS = 3 };

struct hall {
    struct loop *loops[LOOPS];
    struct loop_thread *threads[LOOPS];
    struct listener *ls;
    struct address at;
    struct conn_limits limits;
    struct conn *conns[16];
    atomic_uint accepted, closed, wrong_loop, per_loop[LOOPS];
};

static void on_frame(struct conn *c, uint8_t *data, size_t size)
{
    uint8_t prefix[FRAME_PREFIX_SIZE];
    frame_write_length(prefix, size);
    conn_write(c, prefix, sizeof prefix);
    conn_write(c, data, size);
}

static void on_nothing(struct conn *c)
{
    (void)c;
}

static void on_closed(struct conn *c, err why)
{
    struct hall *hall = conn_user(c);
    (void)why;
    atomic_fetch_add(&hall->closed, 1);
}

static void on_accept(void *user, struct conn *c)
{
    struct hall *hall = user;
    conn_set_user(c, hall);
    if (!loop_is_current(conn_loop(c)))
        atomic_fetch_add(&hall->wrong_loop, 1);
    for (int i = 0; i < LOOPS; i++)
        if (conn_loop(c) == hall->loops[i])
            atomic_fetch_add(&hall->per_loop[i], 1);
    const unsigned index = atomic_fetch_add(&hall->accepted, 1);
    if (index < 16)
        hall->conns[index] = c;
}

static const struct conn_handler handler = {on_nothing, on_frame, on_nothing, on_closed};

static struct listener_opts opts_of(struct hall *hall, struct loop *const *loops, size_t count)
{
    hall->limits = (struct conn_limits){.frame_bytes_max = 1 << 20, .out_bytes_max = 1 << 20};
    return (struct listener_opts){.loops = loops,
                                  .loop_count = count,
                                  .handler = &handler,
                                  .limits = &hall->limits,
                                  .on_accept = on_accept,
                                  .user = hall};
}

static void open_hall(struct net *n, struct hall *hall, const struct listener_opts *opts)
{
    const struct address any = {.host = "127.0.0.1"};
    assert_ok(listener_open(n->l, &any, opts, &hall->ls, &hall->at));
}

/* A peer that was answered is through the door. */
static void greet(struct net *n, struct peer *p, const struct address *at)
{
    peer_connect(n, p, at);
    peer_send(p, "\0\0\0\2hi", 6);
    net_until(n, p->got.size == 6);
}

static void connections_are_spread_over_threads(void **state)
{
    struct net *n = *state;
    struct hall *hall = MEM_NEW(struct hall);
    enum { COUNT = 30 };
    struct peer p[COUNT];
    for (int i = 0; i < LOOPS; i++) {
        struct loop_backend *b;
        assert_ok(loop_epoll_backend(&b));
        hall->loops[i] = loop_new(b, "hall");
        hall->threads[i] = loop_thread_start(hall->loops[i]);
    }
    const struct listener_opts opts = opts_of(hall, hall->loops, LOOPS);
    open_hall(n, hall, &opts);
    for (int i = 0; i < COUNT; i++)
        greet(n, &p[i], &hall->at);
    assert_int_equal(hall->accepted, COUNT);
    assert_int_equal(hall->wrong_loop, 0);
    assert_int_equal(listener_connections(hall->ls), COUNT);
    for (int i = 0; i < LOOPS; i++)
        assert_int_equal(hall->per_loop[i], COUNT / LOOPS);
    listener_close(hall->ls); /* those that are open stay */
    for (int i = 0; i < COUNT; i++) {
        peer_send(&p[i], "\0\0\0\2hi", 6);
        net_until(n, p[i].got.size == 12);
        peer_close(&p[i]);
    }
    net_until(n, atomic_load(&hall->closed) == COUNT);
    for (int i = 0; i < LOOPS; i++) {
        loop_thread_stop(hall->threads[i]);
        loop_free(hall->loops[i]);
    }
    mem_free(hall);
}

/* The refusal's bytes as a Response. */
static void assert_refused(struct net *n, struct peer *p, const struct address *at,
                           const char *text)
{
    struct msg_peek peek;
    struct msg_error error;
    size_t length;
    peer_connect(n, p, at);
    net_until(n, p->has_ended);
    assert_ok(frame_read_length(buf_slice(&p->got), 1000, &length));
    assert_int_equal(p->got.size, FRAME_PREFIX_SIZE + length);
    assert_ok(msg_peek_response(slice_of(p->got.data + FRAME_PREFIX_SIZE, length), &peek));
    assert_int_equal(peek.correlation_id, 0);
    assert_int_equal(peek.body_field, 0);
    assert_ok(msg_read_error(peek.error, &error));
    assert_err(error.code, E_OVERLOADED);
    assert_slice_equal(error.message, slice_str(text));
    peer_close(p);
}

static void over_the_limit_is_refused_until_one_goes(void **state)
{
    struct net *n = *state;
    struct hall *hall = MEM_NEW(struct hall);
    struct listener_opts opts = opts_of(hall, &n->l, 1);
    opts.connections_max = 2;
    open_hall(n, hall, &opts);
    struct peer a, b, c;
    greet(n, &a, &hall->at);
    greet(n, &b, &hall->at);
    assert_refused(n, &c, &hall->at, "the listener has as many connections as it may");
    assert_int_equal(listener_refused(hall->ls), 1);
    peer_close(&a);
    net_until(n, listener_connections(hall->ls) == 1);
    greet(n, &c, &hall->at);
    peer_close(&b);
    peer_close(&c);
    net_until(n, listener_connections(hall->ls) == 0);
    assert_int_equal(hall->closed, 3);
    listener_close(hall->ls);
    net_some_turns(n);
    mem_free(hall);
}

static void one_address_has_its_own_limit(void **state)
{
    struct net *n = *state;
    struct hall *hall = MEM_NEW(struct hall);
    struct listener_opts opts = opts_of(hall, &n->l, 1);
    opts.connections_per_address_max = 1;
    const struct address any = {.host = ""};
    assert_ok(listener_open(n->l, &any, &opts, &hall->ls, &hall->at));
    struct peer a, b, c;
    struct address first = {.host = "127.0.0.1", .port = hall->at.port};
    greet(n, &a, &first);
    assert_refused(n, &b, &first, "this address has as many connections as it may");
    if (!n->w) {
        /* The other family is another address. */
        const struct address other = {.host = "::1", .port = hall->at.port};
        greet(n, &c, &other);
        peer_close(&c);
    }
    peer_close(&a);
    net_until(n, listener_connections(hall->ls) == 0);
    greet(n, &b, &first);
    peer_close(&b);
    net_until(n, listener_connections(hall->ls) == 0);
    listener_close(hall->ls);
    net_some_turns(n);
    mem_free(hall);
}

static void a_flood_over_the_limit_leaves_nothing_behind(void **state)
{
    struct net *n = *state;
    struct hall *hall = MEM_NEW(struct hall);
    struct listener_opts opts = opts_of(hall, &n->l, 1);
    opts.connections_max = 1;
    open_hall(n, hall, &opts);
    enum { COUNT = 100 };
    struct peer first, p[COUNT];
    greet(n, &first, &hall->at);
    for (int i = 0; i < COUNT; i++)
        peer_connect(n, &p[i], &hall->at);
    net_until(n, listener_refused(hall->ls) == COUNT);
    for (int i = 0; i < COUNT; i++) {
        net_until(n, p[i].has_ended || p[i].is_broken);
        peer_close(&p[i]);
    }
    assert_int_equal(listener_connections(hall->ls), 1);
    peer_close(&first);
    net_until(n, atomic_load(&conn_stats(n->l)->connections) == 0);
    listener_close(hall->ls);
    mem_free(hall);
}

/* Method: lower the limit of descriptors to what is open now, with two connections waiting. */
static void out_of_descriptors_accepting_pauses_and_goes_on(void **state)
{
    struct net *n = *state;
    struct hall *hall = MEM_NEW(struct hall);
    const struct listener_opts opts = opts_of(hall, &n->l, 1);
    open_hall(n, hall, &opts);
    struct peer a, b;
    struct rlimit before, low;
    /* Both are connected by the kernel before the loop turns to accept them. */
    memset(&a, 0, sizeof a);
    memset(&b, 0, sizeof b);
    assert_ok(sock_connect(n->l, &hall->at, peer_events, &a, &a.s));
    assert_ok(sock_connect(n->l, &hall->at, peer_events, &b, &b.s));
    const int next_fd = open("/dev/null", O_RDONLY);
    close(next_fd);
    getrlimit(RLIMIT_NOFILE, &before);
    low = before;
    low.rlim_cur = (rlim_t)next_fd + 1;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    net_until(n, a.is_open && b.is_open);
    net_until(n, listener_connections(hall->ls) == 1);
    net_some_turns(n);
    assert_int_equal(listener_connections(hall->ls), 1);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    net_until(n, listener_connections(hall->ls) == 2);
    peer_close(&a);
    peer_close(&b);
    net_until(n, listener_connections(hall->ls) == 0);
    listener_close(hall->ls);
    net_some_turns(n);
    mem_free(hall);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        OVER_LOOPBACK(connections_are_spread_over_threads),
        OVER_BOTH(over_the_limit_is_refused_until_one_goes),
        OVER_BOTH(one_address_has_its_own_limit),
        OVER_BOTH(a_flood_over_the_limit_leaves_nothing_behind),
        OVER_LOOPBACK(out_of_descriptors_accepting_pauses_and_goes_on),
    };
    return TEST_MAIN(tests, NULL, NULL);
}
