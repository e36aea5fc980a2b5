/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/proto_net/net.h"

#include <errno.h>
#include <stdatomic.h>

#include "proto/net/conn.h"
#include "proto/net/conn_pool.h"

/* --- the server's side: one record of what happened to a connection ------- */

struct server;
struct session {
    struct server *server;
    struct conn *c;    /* NULL: not yet, or closed */
    struct buf frames; /* as they came, with their lengths */
    size_t frame_count, end_count, since_end;
    int opened, closed;
    err why;
    int error;
};

enum { SESSIONS_MAX = 64 };

struct server {
    struct net *n;
    struct sock *door;
    struct address at;
    struct conn_limits limits;
    struct session sessions[SESSIONS_MAX];
    size_t count;
    /* What on_frame does besides. */
    void (*react)(struct session *s, uint8_t *data, size_t size);
    void (*react_end)(struct session *s);
};

static void on_open(struct conn *c)
{
    struct session *s = conn_user(c);
    s->opened++;
}

static void on_frame(struct conn *c, uint8_t *data, size_t size)
{
    struct session *s = conn_user(c);
    uint32_t length = __builtin_bswap32((uint32_t)size);
    assert_int_equal(s->closed, 0);
    buf_append(&s->frames, &length, sizeof length);
    buf_append(&s->frames, data, size);
    s->frame_count++;
    s->since_end++;
    if (s->server->react)
        s->server->react(s, data, size);
    data[0] ^= 0xff; /* they are ours to change */
}

static void on_frames_end(struct conn *c)
{
    struct session *s = conn_user(c);
    assert_int_not_equal(s->since_end, 0);
    s->since_end = 0;
    s->end_count++;
    if (s->server->react_end)
        s->server->react_end(s);
}

static void on_closed(struct conn *c, err why)
{
    struct session *s = conn_user(c);
    assert_int_equal(s->since_end, 0);
    s->closed++;
    s->why = why;
    s->error = conn_errno(c);
    s->c = NULL;
    /* Too late, and harmless. */
    conn_write(c, "x", 1);
    memset(conn_write_space(c, 100000), 1, 100000);
    conn_close(c);
    conn_close_after_flush(c);
}

static const struct conn_handler handler = {on_open, on_frame, on_frames_end, on_closed};

static void on_door(void *arg, struct sock *door, unsigned events)
{
    struct server *sv = arg;
    struct sock *s;
    struct address peer;
    (void)events;
    if (sock_accept(door, &s, &peer))
        return;
    assert_true(sv->count < SESSIONS_MAX);
    struct session *session = &sv->sessions[sv->count++];
    *session = (struct session){.server = sv};
    session->c = conn_new(sv->n->l, s, &peer, &handler, &sv->limits, session);
}

static struct server *server_start(struct net *n)
{
    struct server *sv = MEM_NEW(struct server);
    sv->n = n;
    sv->limits = (struct conn_limits){.frame_bytes_max = 8 * 1024 * 1024, .out_bytes_max = 1 << 20};
    const struct address any = {.host = "127.0.0.1"};
    assert_ok(sock_listen(n->l, &any, on_door, sv, &sv->door, &sv->at));
    return sv;
}

static void server_stop(struct server *sv)
{
    sock_close(sv->door);
    for (size_t i = 0; i < sv->count; i++) {
        struct session *s = &sv->sessions[i];
        if (s->c)
            conn_close(s->c);
    }
    loop_turn(sv->n->l, 0);
    for (size_t i = 0; i < sv->count; i++) {
        assert_int_equal(sv->sessions[i].closed, 1);
        buf_deinit(&sv->sessions[i].frames);
    }
    assert_int_equal(atomic_load(&conn_stats(sv->n->l)->connections), 0);
    assert_int_equal(atomic_load(&conn_stats(sv->n->l)->opened),
                     atomic_load(&conn_stats(sv->n->l)->closed));
    mem_free(sv);
}

/* A peer that is connected, and its session. */
static struct session *meet(struct server *sv, struct peer *p)
{
    const size_t index = sv->count;
    peer_connect(sv->n, p, &sv->at);
    net_until(sv->n, sv->count > index);
    return &sv->sessions[index];
}

static void add_frame(struct buf *b, size_t size, uint8_t first)
{
    const uint32_t length = __builtin_bswap32((uint32_t)size);
    buf_append(b, &length, sizeof length);
    uint8_t *p = buf_reserve(b, size);
    for (size_t i = 0; i < size; i++)
        p[i] = (uint8_t)(first + i * 7);
    b->size += size;
}

static void echo(struct session *s, uint8_t *data, size_t size)
{
    const uint32_t length = __builtin_bswap32((uint32_t)size);
    conn_write(s->c, &length, sizeof length);
    conn_write(s->c, data, size);
}

/* --- frames in ------------------------------------------------------------ */

static void frames_split_anywhere_come_whole(void **state)
{
    struct server *sv = server_start(*state);
    struct peer p;
    struct buf b = {0};
    struct session *s = meet(sv, &p);
    add_frame(&b, 1, 1);
    add_frame(&b, 5, 2);
    add_frame(&b, 40, 3);
    for (size_t cut = 0; cut <= b.size; cut++) {
        buf_clear(&s->frames);
        const uint64_t before = atomic_load(&conn_stats(sv->n->l)->bytes_in);
        peer_send(&p, b.data, cut);
        net_until(sv->n, atomic_load(&conn_stats(sv->n->l)->bytes_in) == before + cut);
        peer_send(&p, b.data + cut, b.size - cut);
        net_until(sv->n, s->frames.size == b.size);
        assert_slice_equal(buf_slice(&s->frames), buf_slice(&b));
    }
    buf_deinit(&b);
    peer_close(&p);
    server_stop(sv);
}

static void bytes_that_trickle_make_frames(void **state)
{
    struct net *n = *state;
    fake_world_opts(n->w)->read_bytes_max = 1;
    struct server *sv = server_start(n);
    struct peer p;
    struct buf b = {0};
    struct session *s = meet(sv, &p);
    add_frame(&b, 3, 1);
    add_frame(&b, 5000, 2); /* more than is kept in memory of its own */
    add_frame(&b, 1, 3);
    peer_send(&p, b.data, b.size);
    net_until(n, s->frames.size == b.size);
    assert_slice_equal(buf_slice(&s->frames), buf_slice(&b));
    buf_deinit(&b);
    peer_close(&p);
    server_stop(sv);
}

static void frames_of_one_wake_up_end_together(void **state)
{
    struct server *sv = server_start(*state);
    struct peer p;
    struct buf b = {0};
    struct session *s = meet(sv, &p);
    for (unsigned i = 0; i < 1000; i++)
        add_frame(&b, 1 + i % 100, (uint8_t)i);
    peer_send(&p, b.data, b.size);
    net_until(sv->n, s->frame_count == 1000);
    assert_slice_equal(buf_slice(&s->frames), buf_slice(&b));
    if (sv->n->w)
        assert_int_equal(s->end_count, 1);
    else
        assert_true(s->end_count < 100);
    buf_deinit(&b);
    peer_close(&p);
    server_stop(sv);
}

static uint8_t *first_frame;
static uint8_t first_byte;

static void keep_first(struct session *s, uint8_t *data, size_t size)
{
    (void)size;
    if (s->frame_count == 1) {
        first_frame = data;
        first_byte = data[0];
    }
}

static void look_at_first(struct session *s)
{
    assert_int_equal(*first_frame, first_byte ^ 0xff); /* on_frame changed it, nobody else */
    s->server->react_end = NULL;
}

static void frames_stay_where_they_are_until_the_end(void **state)
{
    struct server *sv = server_start(*state);
    struct peer p;
    struct buf b = {0};
    struct session *s = meet(sv, &p);
    sv->react = keep_first;
    sv->react_end = look_at_first;
    for (int i = 0; i < 100; i++)
        add_frame(&b, 1000, (uint8_t)i);
    peer_send(&p, b.data, b.size);
    net_until(sv->n, s->frame_count == 100);
    assert_null(sv->react_end);
    buf_deinit(&b);
    peer_close(&p);
    server_stop(sv);
}

static void long_frames_grow_in_memory_of_their_own(void **state)
{
    struct server *sv = server_start(*state);
    struct byte_budget budget = {.limit = 16 * 1024 * 1024};
    sv->limits.budget = &budget;
    sv->react = echo;
    struct peer p;
    struct buf b = {0};
    struct session *s = meet(sv, &p);
    add_frame(&b, 10, 1);
    add_frame(&b, IN_BYTES - 4, 1);
    add_frame(&b, IN_BYTES - 3, 2);
    add_frame(&b, 3 * 1024 * 1024 + 17, 3);
    add_frame(&b, 100, 4);
    add_frame(&b, 1024 * 1024, 5);
    peer_send(&p, b.data, b.size);
    net_until(sv->n, s->frames.size == b.size && p.got.size == b.size);
    assert_slice_equal(buf_slice(&s->frames), buf_slice(&b));
    assert_slice_equal(buf_slice(&p.got), buf_slice(&b));
    net_until(sv->n, atomic_load(&budget.used) == 0);
    buf_deinit(&b);
    peer_close(&p);
    server_stop(sv);
}

/* More connections hold half a frame than the loop lends buffers. */
static void half_frames_of_many_wait_side_by_side(void **state)
{
    struct server *sv = server_start(*state);
    static struct peer peers[IN_LENT_MAX + 9];
    enum { COUNT = IN_LENT_MAX + 9 };
    struct buf b = {0};
    const size_t cut = 30000;
    for (unsigned i = 0; i < COUNT; i++) {
        meet(sv, &peers[i]);
        buf_clear(&b);
        add_frame(&b, 20000, (uint8_t)i);
        add_frame(&b, 100000, (uint8_t)i);
        peer_send(&peers[i], b.data, cut);
    }
    for (unsigned i = 0; i < COUNT; i++)
        net_until(sv->n, sv->sessions[i].frame_count == 1);
    for (unsigned i = 0; i < COUNT; i++) {
        buf_clear(&b);
        add_frame(&b, 20000, (uint8_t)i);
        add_frame(&b, 100000, (uint8_t)i);
        add_frame(&b, 5, 0);
        for (size_t at = cut; at < b.size; at += 9000)
            peer_send(&peers[i], b.data + at, b.size - at < 9000 ? b.size - at : 9000);
        net_until(sv->n, sv->sessions[i].frames.size == b.size);
        assert_slice_equal(buf_slice(&sv->sessions[i].frames), buf_slice(&b));
        peer_close(&peers[i]);
    }
    buf_deinit(&b);
    server_stop(sv);
}

static void a_length_of_nothing_or_too_much_closes_after_what_was_before(void **state)
{
    struct server *sv = server_start(*state);
    static const char *const bad[] = {"\0\0\0\0",
                                      "\0\x80\0\1",
                                      "\x80\0\0\0",
                                      "\xff\xff\xff\xff",
                                      "\x7f\xff\xff\xff",
                                      "GET / HTTP/1.1\r\n\r\n",
                                      "\x16\x03\x01\x02\0\x01\0"};
    sv->react = echo;
    sv->limits.frame_bytes_max = 0x800000;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct peer p;
        struct buf b = {0};
        struct session *s = meet(sv, &p);
        add_frame(&b, 9, 1);
        const size_t good = b.size;
        buf_append(&b, bad[i], 4 + strlen(bad[i]) / 5 * 3);
        peer_send(&p, b.data, b.size);
        net_until(sv->n, p.has_ended);
        assert_slice_equal(buf_slice(&p.got), slice_of(b.data, good));
        peer_close(&p);
        net_until(sv->n, s->closed);
        assert_err(s->why, E_INVALID_REQUEST);
        assert_int_equal(s->frame_count, 1);
        buf_deinit(&b);
    }
    server_stop(sv);
}

static void raise_limit(struct session *s, uint8_t *data, size_t size)
{
    (void)data;
    (void)size;
    conn_set_frame_bytes_max(s->c, 1000);
}

static void the_limit_that_a_frame_sets_holds_for_the_next(void **state)
{
    struct server *sv = server_start(*state);
    sv->limits.frame_bytes_max = 10;
    sv->react = raise_limit;
    struct peer p, q;
    struct buf b = {0};
    struct session *s = meet(sv, &p);
    add_frame(&b, 10, 1);
    add_frame(&b, 1000, 2);
    peer_send(&p, b.data, b.size);
    net_until(sv->n, s->frame_count == 2);
    struct session *t = meet(sv, &q);
    peer_send(&q, b.data + 14, b.size - 14);
    net_until(sv->n, q.has_ended);
    peer_close(&q);
    net_until(sv->n, t->closed);
    assert_int_equal(t->frame_count, 0);
    buf_deinit(&b);
    peer_close(&p);
    server_stop(sv);
}

/* --- the peer goes -------------------------------------------------------- */

static void a_peer_may_close_at_any_byte(void **state)
{
    struct server *sv = server_start(*state);
    struct buf b = {0};
    add_frame(&b, 3, 1);
    add_frame(&b, 9, 2);
    for (size_t cut = 0; cut <= b.size; cut++) {
        struct peer p;
        struct session *s = meet(sv, &p);
        peer_send(&p, b.data, cut);
        peer_close(&p);
        net_until(sv->n, s->closed);
        assert_err(s->why, E_END);
        assert_int_equal(s->error, 0);
        assert_int_equal(s->frame_count, (cut >= 7) + (cut >= 20));
        buf_deinit(&s->frames);
    }
    buf_deinit(&b);
    server_stop(sv);
}

static void a_peer_that_ended_its_side_gets_its_answers(void **state)
{
    struct server *sv = server_start(*state);
    struct peer p;
    struct buf b = {0};
    struct session *s = meet(sv, &p);
    sv->react = echo;
    for (int i = 0; i < 200; i++)
        add_frame(&b, 5000, (uint8_t)i);
    peer_send(&p, b.data, b.size);
    net_until(sv->n, p.unsent.size == 0);
    sock_shutdown(p.s);
    net_until(sv->n, p.has_ended);
    assert_slice_equal(buf_slice(&p.got), buf_slice(&b));
    net_until(sv->n, s->closed);
    assert_err(s->why, E_END);
    buf_deinit(&b);
    peer_close(&p);
    server_stop(sv);
}

static void a_reset_is_told_with_its_errno(void **state)
{
    struct server *sv = server_start(*state);
    struct peer p;
    struct session *s = meet(sv, &p);
    conn_hold(s->c);
    conn_write(s->c, "unread", 6);
    p.is_deaf = true;
    peer_want(&p);
    net_until(sv->n, conn_out_bytes(s->c) == 0);
    net_some_turns(sv->n);
    peer_close(&p); /* with bytes unread: a reset */
    net_until(sv->n, s->closed);
    assert_err(s->why, E_NETWORK);
    assert_int_equal(s->error, ECONNRESET);
    server_stop(sv);
}

/* --- output --------------------------------------------------------------- */

enum { ANSWER = 64 * 1024 };

static void answer_much(struct session *s, uint8_t *data, size_t size)
{
    (void)size;
    memset(conn_write_space(s->c, ANSWER), data[0], ANSWER);
}

/* Invariant: whatever a peer asks without reading, we hold at most the limit and one answer. */
static void who_does_not_read_is_not_read(void **state)
{
    struct server *sv = server_start(*state);
    struct byte_budget budget = {.limit = SIZE_MAX};
    enum { ASKED = 600 };
    struct peer p;
    struct buf b = {0};
    sv->limits.out_bytes_max = 4 * ANSWER;
    sv->limits.budget = &budget;
    struct session *s = meet(sv, &p);
    sv->react = answer_much;
    p.is_deaf = true;
    peer_want(&p);
    for (unsigned i = 0; i < ASKED; i++)
        add_frame(&b, 100, (uint8_t)i);
    peer_send(&p, b.data, b.size);
    size_t answered = 0;
    do {
        answered = s->frame_count;
        net_some_turns(sv->n);
        assert_true(conn_out_bytes(s->c) <= 5 * ANSWER);
    } while (s->frame_count != answered);
    assert_true(answered < ASKED);
    assert_int_equal(atomic_load(&budget.used), conn_out_bytes(s->c));
    peer_listen_to(&p);
    net_until(sv->n, p.got.size == (size_t)ASKED * ANSWER);
    for (size_t i = 0; i < ASKED; i++)
        assert_int_equal(p.got.data[i * ANSWER + i], (uint8_t)i);
    assert_int_equal(atomic_load(&budget.used), 0);
    buf_deinit(&b);
    peer_close(&p);
    server_stop(sv);
}

struct loan {
    size_t size;
    int released;
    uint8_t *data;
};

static void on_released(void *arg)
{
    struct loan *loan = arg;
    loan->released++;
    mem_free(loan->data);
    loan->data = NULL;
}

static void lend(struct conn *c, struct loan *loan, size_t size, uint8_t fill)
{
    *loan = (struct loan){.size = size, .data = mem_alloc(size)};
    memset(loan->data, fill, size);
    conn_write_borrowed(c, slice_of(loan->data, size), on_released, loan);
}

static void borrowed_and_copied_output_keeps_its_order(void **state)
{
    struct server *sv = server_start(*state);
    enum { LOANS = 700 };
    static struct loan loans[LOANS];
    struct peer p;
    struct session *s = meet(sv, &p);
    size_t total = 0;
    for (unsigned i = 0; i < LOANS; i++) {
        const size_t size = i % 50 == 0 ? 90000 : 1 + i;
        conn_write(s->c, "<", 1);
        lend(s->c, &loans[i], size, (uint8_t)i);
        conn_write(s->c, ">>", 2);
        total += size + 3;
    }
    assert_int_equal(conn_out_bytes(s->c), total);
    net_until(sv->n, p.got.size == total);
    assert_int_equal(conn_out_bytes(s->c), 0);
    size_t at = 0;
    for (unsigned i = 0; i < LOANS; i++) {
        assert_int_equal(loans[i].released, 1);
        assert_int_equal(p.got.data[at], '<');
        assert_int_equal(p.got.data[at + 1], (uint8_t)i);
        assert_int_equal(p.got.data[at + loans[i].size], (uint8_t)i);
        at += loans[i].size + 3;
        assert_memory_equal(p.got.data + at - 2, ">>", 2);
    }
    peer_close(&p);
    server_stop(sv);
}

static void what_was_borrowed_is_released_once_when_the_connection_goes(void **state)
{
    struct server *sv = server_start(*state);
    static struct loan loans[40];
    struct peer p;
    struct session *s = meet(sv, &p);
    p.is_deaf = true;
    peer_want(&p);
    for (unsigned i = 0; i < 39; i++)
        lend(s->c, &loans[i], 1 << 20, (uint8_t)i);
    net_some_turns(sv->n);
    assert_int_equal(loans[38].released, 0);
    conn_close(s->c);
    lend(s->c, &loans[39], 10, 0); /* closing: at once */
    assert_int_equal(loans[39].released, 1);
    net_until(sv->n, s->closed);
    assert_err(s->why, E_CANCELLED);
    for (unsigned i = 0; i < 40; i++)
        assert_int_equal(loans[i].released, 1);
    peer_close(&p);
    server_stop(sv);
}

static void close_on_release(void *arg)
{
    conn_close(arg);
}

static void a_release_may_close_the_connection(void **state)
{
    struct server *sv = server_start(*state);
    struct peer p;
    struct session *s = meet(sv, &p);
    conn_write_borrowed(s->c, slice_str("first"), close_on_release, s->c);
    conn_write(s->c, "second", 6);
    net_until(sv->n, s->closed);
    assert_err(s->why, E_CANCELLED);
    peer_close(&p);
    server_stop(sv);
}

/* --- holding -------------------------------------------------------------- */

static void hold_each(struct session *s, uint8_t *data, size_t size)
{
    (void)data;
    (void)size;
    conn_hold(s->c);
}

static void a_held_connection_is_handed_nothing(void **state)
{
    struct server *sv = server_start(*state);
    struct peer p;
    struct buf b = {0};
    struct session *s = meet(sv, &p);
    sv->react = hold_each;
    for (unsigned i = 0; i < 20; i++)
        add_frame(&b, 1 + i * 1000, (uint8_t)i);
    peer_send(&p, b.data, b.size);
    for (unsigned i = 1; i <= 20; i++) {
        net_until(sv->n, s->frame_count == i);
        net_some_turns(sv->n);
        assert_int_equal(s->frame_count, i);
        assert_int_equal(s->end_count, i);
        conn_unhold(s->c);
    }
    assert_slice_equal(buf_slice(&s->frames), buf_slice(&b));
    buf_deinit(&b);
    peer_close(&p);
    net_until(sv->n, s->closed);
    server_stop(sv);
}

/* --- closing -------------------------------------------------------------- */

static void close_at_second(struct session *s, uint8_t *data, size_t size)
{
    (void)data;
    (void)size;
    if (s->frame_count == 2)
        conn_close(s->c);
}

static void closing_in_a_frame_is_the_last_frame(void **state)
{
    struct server *sv = server_start(*state);
    struct peer p;
    struct buf b = {0};
    struct session *s = meet(sv, &p);
    sv->react = close_at_second;
    for (unsigned i = 0; i < 5; i++)
        add_frame(&b, 10, (uint8_t)i);
    peer_send(&p, b.data, b.size);
    net_until(sv->n, s->closed);
    assert_err(s->why, E_CANCELLED);
    assert_int_equal(s->frame_count, 2);
    assert_true(s->end_count >= 1); /* who collected the first frame can still use it */
    buf_deinit(&b);
    peer_close(&p);
    server_stop(sv);
}

static void echo_and_leave(struct session *s, uint8_t *data, size_t size)
{
    if (conn_is_closing(s->c))
        return;
    for (int i = 0; i < 300; i++)
        echo(s, data, size);
    conn_close_after_flush(s->c);
    assert_true(conn_is_closing(s->c));
    echo(s, data, size);
}

/* The peer has more to say than we listen to: without care that would end in a reset, which would
 * take our last words with it. */
static void closing_after_flush_says_all_even_to_who_keeps_talking(void **state)
{
    struct server *sv = server_start(*state);
    struct peer p;
    struct buf b = {0};
    struct session *s = meet(sv, &p);
    sv->react = echo_and_leave;
    for (unsigned i = 0; i < 50; i++)
        add_frame(&b, 10000, 0);
    peer_send(&p, b.data, b.size);
    net_until(sv->n, p.has_ended);
    assert_int_equal(p.got.size, 300 * 10004);
    assert_int_equal(s->frame_count, 1);
    peer_close(&p);
    net_until(sv->n, s->closed);
    assert_err(s->why, E_CANCELLED);
    buf_deinit(&b);
    server_stop(sv);
}

/* Method: a loop of its own is freed with one connection closed and one in its last words. */
static void freeing_the_loop_ends_what_is_closing(void **state)
{
    struct net *n = *state;
    struct server *sv = server_start(n);
    struct net other = {.w = n->w};
    struct session closed = {.server = sv}, leaving = {.server = sv};
    struct loan loan;
    if (n->w) {
        other.l = fake_world_loop(n->w, "other");
    } else {
        struct loop_backend *b;
        assert_ok(loop_epoll_backend(&b));
        other.l = loop_new(b, "other");
    }
    closed.c = conn_connect(other.l, &sv->at, &handler, &sv->limits, &closed);
    leaving.c = conn_connect(other.l, &sv->at, &handler, &sv->limits, &leaving);
    for (int i = 0; i < 1000 && closed.opened + leaving.opened < 2; i++)
        loop_turn(other.l, 1000);
    assert_int_equal(leaving.opened, 1);
    lend(leaving.c, &loan, 64 << 20, 1); /* more than any window takes */
    conn_close_after_flush(leaving.c);
    loop_turn(other.l, 0);
    conn_close(closed.c);
    assert_int_equal(leaving.closed + closed.closed + loan.released, 0);
    loop_free(other.l);
    assert_int_equal(leaving.closed, 1);
    assert_int_equal(closed.closed, 1);
    assert_int_equal(loan.released, 1);
    net_until(n, sv->count == 2 && sv->sessions[0].closed && sv->sessions[1].closed);
    server_stop(sv);
}

/* --- connecting ----------------------------------------------------------- */

static void a_client_connects_and_what_it_wrote_before_is_sent(void **state)
{
    struct server *sv = server_start(*state);
    struct session client = {.server = sv};
    struct buf b = {0};
    add_frame(&b, 100, 1);
    sv->react = echo;
    client.c = conn_connect(sv->n->l, &sv->at, &handler, &sv->limits, &client);
    conn_write(client.c, b.data, b.size);
    net_until(sv->n, sv->count && sv->sessions[0].frame_count == 1);
    assert_int_equal(client.opened, 1);
    assert_slice_equal(buf_slice(&sv->sessions[0].frames), buf_slice(&b));
    conn_close(client.c);
    net_until(sv->n, client.closed);
    net_until(sv->n, sv->sessions[0].closed);
    buf_deinit(&client.frames);
    buf_deinit(&b);
    server_stop(sv);
}

static void a_refused_connection_is_told_with_its_errno(void **state)
{
    struct server *sv = server_start(*state);
    struct session client = {.server = sv}, gone = {.server = sv};
    struct loan loan;
    struct address closed = sv->at;
    gone.c = conn_connect(sv->n->l, &sv->at, &handler, &sv->limits, &gone);
    conn_close(gone.c);
    closed.port = 1;
    client.c = conn_connect(sv->n->l, &closed, &handler, &sv->limits, &client);
    lend(client.c, &loan, 10, 1);
    net_until(sv->n, client.closed && gone.closed);
    assert_err(client.why, E_NETWORK);
    assert_int_equal(client.error, ECONNREFUSED);
    assert_int_equal(client.opened, 0);
    assert_int_equal(loan.released, 1);
    assert_err(gone.why, E_CANCELLED);
    assert_int_equal(gone.opened, 0);
    net_some_turns(sv->n);
    server_stop(sv);
}

/* --- deadlines, in virtual time ------------------------------------------- */

enum { SECOND = 1000 * 1000 };

/* Runs until s is closed and says after how many seconds that was. */
static double closed_after(struct server *sv, const struct session *s)
{
    const int64_t from = fake_world_now_us(sv->n->w);
    for (int i = 0; i < 10000 && !s->closed; i++)
        fake_world_run(sv->n->w, SECOND / 10);
    assert_int_equal(s->closed, 1);
    return (double)(fake_world_now_us(sv->n->w) - from) / SECOND;
}

static void assert_between(double x, double low, double high)
{
    if (x < low || x > high)
        fail_msg("%g is not between %g and %g", x, low, high);
}

static void the_idle_go_and_the_waiting_stay(void **state)
{
    struct server *sv = server_start(*state);
    sv->limits.idle_us = 600LL * SECOND;
    struct peer p, q, r;
    struct session *idle = meet(sv, &p), *busy = meet(sv, &q), *held = meet(sv, &r);
    conn_busy(busy->c);
    conn_hold(held->c);
    struct buf b = {0};
    add_frame(&b, 10, 0);
    fake_world_run(sv->n->w, 300LL * SECOND);
    peer_send(&p, b.data, b.size);
    assert_between(closed_after(sv, idle), 600, 602);
    assert_err(idle->why, E_TIMED_OUT);
    fake_world_run(sv->n->w, 600LL * SECOND);
    assert_int_equal(busy->closed + held->closed, 0);
    conn_unbusy(busy->c);
    conn_unhold(held->c);
    assert_between(closed_after(sv, busy), 600, 602);
    assert_between(closed_after(sv, held), 0, 1);
    buf_deinit(&b);
    peer_close(&p);
    peer_close(&q);
    peer_close(&r);
    server_stop(sv);
}

static void a_frame_has_its_time_however_steadily_it_trickles(void **state)
{
    struct server *sv = server_start(*state);
    sv->limits.assembly_us = 30LL * SECOND;
    struct peer p, q;
    struct session *slow = meet(sv, &p), *held = meet(sv, &q);
    struct buf b = {0};
    add_frame(&b, 100, 0);
    peer_send(&q, b.data, 20);
    fake_world_run(sv->n->w, SECOND);
    conn_hold(held->c);
    peer_send(&p, b.data, b.size); /* one whole, in time */
    double seconds = 0;
    for (size_t i = 0; i < 90 && !slow->closed; i++, seconds += 1) {
        peer_send(&p, b.data + i, 1);
        fake_world_run(sv->n->w, SECOND);
    }
    assert_between(seconds, 30, 32);
    assert_err(slow->why, E_TIMED_OUT);
    assert_int_equal(slow->frame_count, 1);
    assert_int_equal(held->closed, 0);
    conn_unhold(held->c); /* its time begins anew: it was us who did not read */
    assert_between(closed_after(sv, held), 29, 32);
    buf_deinit(&b);
    peer_close(&p);
    peer_close(&q);
    server_stop(sv);
}

static void output_must_move(void **state)
{
    struct server *sv = server_start(*state);
    sv->limits.write_stall_us = 30LL * SECOND;
    sv->limits.idle_us = 5LL * SECOND; /* not while output waits */
    struct peer p, q;
    struct session *s = meet(sv, &p), *leaving = meet(sv, &q);
    p.is_deaf = q.is_deaf = true;
    peer_want(&p);
    peer_want(&q);
    memset(conn_write_space(s->c, 1 << 20), 0, 1 << 20);
    memset(conn_write_space(leaving->c, 1 << 20), 0, 1 << 20);
    conn_close_after_flush(leaving->c);
    assert_between(closed_after(sv, s), 30, 32);
    assert_err(s->why, E_TIMED_OUT);
    assert_between(closed_after(sv, leaving), 0, 1);
    peer_close(&p);
    peer_close(&q);
    server_stop(sv);
}

static void who_does_not_end_is_left_after_a_moment(void **state)
{
    struct server *sv = server_start(*state);
    struct peer p;
    struct session *s = meet(sv, &p);
    conn_close_after_flush(s->c);
    assert_between(closed_after(sv, s), 0.9, 3);
    assert_true(p.has_ended);
    peer_close(&p);
    server_stop(sv);
}

static void short_deadlines_are_looked_at_often(void **state)
{
    struct server *sv = server_start(*state);
    struct peer p;
    sv->limits.idle_us = SECOND / 2;
    struct session *s = meet(sv, &p);
    assert_between(closed_after(sv, s), 0.4, 0.8);
    peer_close(&p);
    server_stop(sv);
}

/* --- the budget ----------------------------------------------------------- */

static void long_frames_wait_for_the_budget(void **state)
{
    struct server *sv = server_start(*state);
    struct byte_budget budget = {.limit = 2 * 1024 * 1024 + 512 * 1024};
    sv->limits.budget = &budget;
    sv->limits.assembly_us = 3600LL * SECOND;
    struct peer p[3];
    struct session *s[3];
    struct buf b = {0};
    add_frame(&b, 2 * 1024 * 1024, 9);
    for (int i = 0; i < 3; i++) {
        s[i] = meet(sv, &p[i]);
        peer_send(&p[i], b.data, b.size - 1);
    }
    /* Not all of them fit, but one gets whole. */
    fake_world_run(sv->n->w, 10LL * SECOND);
    assert_true(atomic_load(&budget.used) <= budget.limit + b.size);
    size_t unsent = 0;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(s[i]->frame_count + (size_t)s[i]->closed, 0);
        unsent += p[i].unsent.size;
    }
    assert_true(unsent > 1024 * 1024);
    /* Whoever is through makes room for the next. */
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 3; i++)
            if (p[i].unsent.size == 0 && s[i]->frame_count == 0)
                peer_send(&p[i], b.data + b.size - 1, 1);
        fake_world_run(sv->n->w, 10LL * SECOND);
    }
    for (int i = 0; i < 3; i++) {
        assert_slice_equal(buf_slice(&s[i]->frames), buf_slice(&b));
        peer_close(&p[i]);
    }
    fake_world_run(sv->n->w, SECOND);
    assert_int_equal(atomic_load(&budget.used), 0);
    buf_deinit(&b);
    server_stop(sv);
}

static void the_starved_have_a_deadline_too(void **state)
{
    struct server *sv = server_start(*state);
    struct byte_budget budget = {.limit = 1024 * 1024};
    sv->limits.budget = &budget;
    sv->limits.assembly_us = 30LL * SECOND;
    struct peer p, q;
    struct buf b = {0};
    add_frame(&b, 2 * 1024 * 1024, 9);
    struct session *s = meet(sv, &p), *t = meet(sv, &q);
    peer_send(&p, b.data, b.size);
    peer_send(&q, b.data, b.size);
    net_until(sv->n, s->frame_count + t->frame_count == 1);
    /* Again: now one is favoured and stays a half, so the other starves. */
    peer_send(&p, b.data, b.size - 1);
    peer_send(&q, b.data, b.size - 1);
    assert_between(closed_after(sv, s), 29, 33);
    assert_between(closed_after(sv, t), 0, 2);
    assert_err(s->why, E_TIMED_OUT);
    assert_int_equal(atomic_load(&budget.used), 0);
    buf_deinit(&b);
    peer_close(&p);
    peer_close(&q);
    server_stop(sv);
}

/* --- all together --------------------------------------------------------- */

static struct rng chance;
static struct timer unhold_timer;

static void on_unhold(void *arg)
{
    struct session *s = arg;
    if (s->c)
        conn_unhold(s->c);
}

static void echo_somehow(struct session *s, uint8_t *data, size_t size)
{
    const uint32_t length = __builtin_bswap32((uint32_t)size);
    if (rng_below(&chance, 3) == 0) {
        uint8_t *p = conn_write_space(s->c, sizeof length + size);
        memcpy(p, &length, sizeof length);
        memcpy(p + sizeof length, data, size);
    } else {
        uint8_t *copy = memcpy(mem_alloc(size), data, size);
        conn_write(s->c, &length, sizeof length);
        conn_write_borrowed(s->c, slice_of(copy, size), mem_free, copy);
    }
    if (rng_below(&chance, 20) == 0 && !timer_is_running(&unhold_timer)) {
        conn_hold(s->c);
        timer_start(s->server->n->l, &unhold_timer, (int64_t)rng_below(&chance, 2000), on_unhold,
                    s);
    }
}

/* Goal: whatever the sizes of frames, reads, writes and windows, and however often the server
 * holds, each byte comes back once and in order.
 * Method: a stream of random frames, sent in random cuts, echoed by copies and loans. */
static void any_stream_comes_back_as_it_was(void **state)
{
    struct net *n = *state;
    chance = test_rng();
    struct server *sv = server_start(n);
    for (int round = 0; round < 20; round++) {
        static const size_t sizes[] = {2, 100, 5000, 70000, 600000};
        if (n->w)
            *fake_world_opts(n->w) =
                (struct fake_opts){.latency_us = (int64_t)rng_below(&chance, 500),
                                   .window_bytes = 100 + rng_below(&chance, 300000),
                                   .read_bytes_max = 100 + rng_below(&chance, 300000)};
        struct peer p;
        struct session *s = meet(sv, &p);
        struct buf b = {0};
        sv->react = echo_somehow;
        sv->limits.out_bytes_max = 1 + rng_below(&chance, 300000);
        while (b.size < 1500000)
            add_frame(&b, 1 + rng_below(&chance, sizes[rng_below(&chance, 5)]), (uint8_t)b.size);
        for (size_t at = 0; at < b.size;) {
            size_t cut = 1 + rng_below(&chance, sizes[rng_below(&chance, 5)]);
            cut = cut < b.size - at ? cut : b.size - at;
            peer_send(&p, b.data + at, cut);
            at += cut;
            if (rng_below(&chance, 4) == 0)
                net_turn(n);
        }
        net_until(n, p.got.size == b.size);
        assert_slice_equal(buf_slice(&p.got), buf_slice(&b));
        assert_slice_equal(buf_slice(&s->frames), buf_slice(&b));
        if (timer_is_running(&unhold_timer)) {
            timer_stop(n->l, &unhold_timer);
            on_unhold(s);
        }
        peer_close(&p);
        net_until(n, s->closed);
        buf_deinit(&s->frames);
        buf_deinit(&b);
    }
    server_stop(sv);
}

/* Goal: of any bytes, exactly the frames before the first impossible length come, and it closes
 * there, whatever the sizes of reads.
 * Method: random lengths, mostly small, some of them 0, at the limit or above, then rubbish. */
static void rubbish_is_cut_where_it_stops_making_sense(void **state)
{
    struct net *n = *state;
    chance = test_rng();
    struct server *sv = server_start(n);
    for (int round = 0; round < 300; round++) {
        enum { LIMIT = 2000 };
        struct peer p;
        struct buf b = {0};
        fake_world_opts(n->w)->read_bytes_max = 1 + rng_below(&chance, 3000);
        sv->limits.frame_bytes_max = LIMIT;
        sv->react = NULL;
        sv->count = 0; /* the places of earlier rounds again */
        struct session *s = meet(sv, &p);
        while (rng_below(&chance, 15)) {
            static const uint64_t spread[] = {3, 50, LIMIT - 2, LIMIT};
            add_frame(&b, 1 + rng_below(&chance, spread[rng_below(&chance, 4)]), (uint8_t)b.size);
        }
        const size_t good = b.size;
        const uint32_t bad[] = {0, LIMIT + 1, UINT32_MAX, (uint32_t)rng_u64(&chance) | 1u << 31};
        const uint32_t length = __builtin_bswap32(bad[rng_below(&chance, 4)]);
        buf_append(&b, &length, sizeof length);
        for (uint64_t i = rng_below(&chance, 100); i > 0; i--)
            buf_append(&b, &(uint8_t){(uint8_t)rng_u64(&chance)}, 1);
        peer_send(&p, b.data, b.size);
        net_until(n, p.has_ended);
        assert_slice_equal(buf_slice(&s->frames), slice_of(b.data, good));
        peer_close(&p);
        net_until(n, s->closed);
        assert_err(s->why, E_INVALID_REQUEST);
        buf_deinit(&s->frames);
        buf_deinit(&b);
    }
    server_stop(sv);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        OVER_BOTH(frames_split_anywhere_come_whole),
        OVER_MEMORY(bytes_that_trickle_make_frames),
        OVER_BOTH(frames_of_one_wake_up_end_together),
        OVER_BOTH(frames_stay_where_they_are_until_the_end),
        OVER_BOTH(long_frames_grow_in_memory_of_their_own),
        OVER_BOTH(half_frames_of_many_wait_side_by_side),
        OVER_BOTH(a_length_of_nothing_or_too_much_closes_after_what_was_before),
        OVER_BOTH(the_limit_that_a_frame_sets_holds_for_the_next),
        OVER_BOTH(a_peer_may_close_at_any_byte),
        OVER_BOTH(a_peer_that_ended_its_side_gets_its_answers),
        OVER_BOTH(a_reset_is_told_with_its_errno),
        OVER_BOTH(who_does_not_read_is_not_read),
        OVER_BOTH(borrowed_and_copied_output_keeps_its_order),
        OVER_BOTH(what_was_borrowed_is_released_once_when_the_connection_goes),
        OVER_BOTH(a_release_may_close_the_connection),
        OVER_BOTH(a_held_connection_is_handed_nothing),
        OVER_BOTH(closing_in_a_frame_is_the_last_frame),
        OVER_BOTH(closing_after_flush_says_all_even_to_who_keeps_talking),
        OVER_BOTH(freeing_the_loop_ends_what_is_closing),
        OVER_BOTH(a_client_connects_and_what_it_wrote_before_is_sent),
        OVER_BOTH(a_refused_connection_is_told_with_its_errno),
        OVER_MEMORY(the_idle_go_and_the_waiting_stay),
        OVER_MEMORY(a_frame_has_its_time_however_steadily_it_trickles),
        OVER_MEMORY(output_must_move),
        OVER_MEMORY(who_does_not_end_is_left_after_a_moment),
        OVER_MEMORY(short_deadlines_are_looked_at_often),
        OVER_MEMORY(long_frames_wait_for_the_budget),
        OVER_MEMORY(the_starved_have_a_deadline_too),
        OVER_BOTH(any_stream_comes_back_as_it_was),
        OVER_MEMORY(rubbish_is_cut_where_it_stops_making_sense),
    };
    return TEST_MAIN(tests, NULL, NULL);
}
