/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of this room share: a loop that is either real (epoll and
 * loopback) or in memory and virtual time, so that the same test runs over
 * both; and peers, raw streams that send and collect what the test says.
 */
#ifndef SLUICE_TESTS_PROTO_NET_NET_H
#define SLUICE_TESTS_PROTO_NET_NET_H

#include "tests/support/test.h"

#include <stdio.h>
#include <string.h>

#include "proto/base/buf.h"
#include "proto/base/mem.h"
#include "proto/net/loop.h"
#include "tests/support/fake_loop.h"

struct net {
    struct loop *l;
    struct fake_world *w; /* NULL: real */
};

static inline int net_setup_real(void **state)
{
    struct net *n = MEM_NEW(struct net);
    struct loop_backend *b;
    assert_ok(loop_epoll_backend(&b));
    n->l = loop_new(b, "test");
    *state = n;
    return 0;
}

static inline int net_setup_fake(void **state)
{
    struct net *n = MEM_NEW(struct net);
    n->w = fake_world_new(NULL);
    n->l = fake_world_loop(n->w, "test");
    *state = n;
    return 0;
}

static inline int net_teardown(void **state)
{
    struct net *n = *state;
    loop_turn(n->l, 0);
    loop_free(n->l);
    if (n->w)
        fake_world_free(n->w);
    mem_free(n);
    return 0;
}

#define OVER_BOTH(test)                                                                            \
    {#test " (loopback)", test, net_setup_real, net_teardown, NULL},                               \
    {                                                                                              \
#test " (memory)", test, net_setup_fake, net_teardown, NULL                                \
    }
#define OVER_MEMORY(test)                                                                          \
    {                                                                                              \
#test, test, net_setup_fake, net_teardown, NULL                                            \
    }
#define OVER_LOOPBACK(test)                                                                        \
    {                                                                                              \
#test, test, net_setup_real, net_teardown, NULL                                            \
    }

/* False: nothing will happen any more. */
static inline bool net_turn(struct net *n)
{
    if (n->w)
        return fake_world_step(n->w);
    loop_turn(n->l, 1000);
    return true;
}

/* In memory no time needs to pass, so a second of it is for ever. */
#define net_until(n, condition)                                                                    \
    do {                                                                                           \
        const int64_t late_ms_ = test_deadline_ms(20000);                                          \
        while (!(condition))                                                                       \
            if (!net_turn(n) || test_now_ms() > late_ms_)                                          \
                fail_msg("never came: %s", #condition);                                            \
    } while (0)

/* Some turns, for what must not happen. */
static inline void net_some_turns(struct net *n)
{
    for (int i = 0; i < 5; i++) {
        if (n->w)
            fake_world_run(n->w, 1000);
        else
            loop_turn(n->l, 2000);
    }
}

/* --- peers ---------------------------------------------------------------- */

struct peer {
    struct sock *s;
    struct buf got, unsent;
    bool is_open, is_deaf, has_ended, is_broken;
};

static inline void peer_push(struct peer *p)
{
    while (p->unsent.size && p->is_open) {
        const struct iovec out = {p->unsent.data, p->unsent.size};
        size_t moved;
        if (sock_writev(p->s, &out, 1, &moved))
            break;
        memmove(p->unsent.data, p->unsent.data + moved, p->unsent.size - moved);
        p->unsent.size -= moved;
    }
}

static inline void peer_want(struct peer *p)
{
    if (p->is_open)
        sock_want(p->s, (p->is_deaf || p->has_ended ? 0u : SOCK_READABLE) |
                            (p->unsent.size ? SOCK_WRITABLE : 0u));
}

/* False: nothing more to read. */
static inline bool peer_read(struct peer *p)
{
    const struct iovec in = {buf_reserve(&p->got, 65536), 65536};
    size_t moved = 0;
    const err e = sock_readv(p->s, &in, 1, &moved);
    p->got.size += moved;
    p->has_ended |= e == E_END;
    p->is_broken |= e == E_NETWORK;
    return !e;
}

static inline void peer_events(void *arg, struct sock *s, unsigned events)
{
    struct peer *p = arg;
    if (!p->is_open && events & SOCK_WRITABLE)
        p->is_open = true;
    if (events & SOCK_READABLE)
        peer_read(p);
    if (events & SOCK_CLOSED) {
        while (!p->is_deaf && peer_read(p))
            ;
        sock_close(s);
        p->s = NULL;
        p->is_open = false;
        return;
    }
    peer_push(p);
    peer_want(p);
}

static inline void peer_connect(struct net *n, struct peer *p, const struct address *to)
{
    *p = (struct peer){0};
    assert_ok(sock_connect(n->l, to, peer_events, p, &p->s));
    net_until(n, p->is_open);
}

static inline void peer_send(struct peer *p, const void *data, size_t size)
{
    buf_append(&p->unsent, data, size);
    peer_push(p);
    peer_want(p);
}

static inline void peer_listen_to(struct peer *p)
{
    p->is_deaf = false;
    peer_want(p);
}

static inline void peer_close(struct peer *p)
{
    if (p->s)
        sock_close(p->s);
    buf_deinit(&p->got);
    buf_deinit(&p->unsent);
    *p = (struct peer){0};
}

#endif
