/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a loop stands on: the inside of the first door. loop.c keeps timers,
 * mail and the order of a turn; a backend tells the time, waits, and moves
 * bytes. There is one for Linux (loop_epoll.c) and one for tests in virtual
 * time (tests/support/fake_loop.c).
 *
 * A turn calls wait, then clock_us, then dispatch. wait returns when a socket
 * is ready, wake was called since the last wait, or the clock has reached
 * until_us (0: at once, INT64_MAX: never); it may return earlier, and runs no
 * callbacks. dispatch calls sock.fn for what is ready; after close
 * nothing is called for that socket, also within one dispatch.
 *
 * The functions of sockets mean what loop.h says of their sock_ namesakes.
 */
#ifndef SLUICE_NET_LOOP_BACKEND_H
#define SLUICE_NET_LOOP_BACKEND_H

#include "proto/net/loop.h"

struct loop_backend_ops {
    int64_t (*clock_us)(const struct loop_backend *b);
    int64_t (*wall_ms)(const struct loop_backend *b);
    void (*wait)(struct loop_backend *b, int64_t until_us);
    void (*dispatch)(struct loop_backend *b);
    void (*wake)(struct loop_backend *b); /* any thread, signal handlers too */
    void (*free)(struct loop_backend *b);

    err (*listen)(struct loop_backend *b, const struct address *at, struct sock **out,
                  struct address *bound);
    err (*accept)(struct sock *listener, struct sock **out, struct address *peer);
    void (*adopt)(struct loop_backend *b, struct sock *s);
    err (*connect)(struct loop_backend *b, const struct address *to, struct sock **out);
    int (*error)(struct sock *s);
    void (*want)(struct sock *s, unsigned events);
    err (*readv)(struct sock *s, const struct iovec *iov, int count, size_t *moved);
    err (*writev)(struct sock *s, const struct iovec *iov, int count, size_t *moved);
    void (*shutdown)(struct sock *s);
    void (*close)(struct sock *s);

    /* May be NULL where there are no descriptors. */
    struct loop_watch *(*watch_fd)(struct loop_backend *b, int fd, void (*fn)(void *arg),
                                   void *arg);
    void (*unwatch_fd)(struct loop_backend *b, struct loop_watch *w);
    err (*listen_fd)(struct loop_backend *b, const struct address *at, int *fd,
                     struct address *bound);
};

/* First member of a backend's own struct. */
struct loop_backend {
    const struct loop_backend_ops *ops;
    struct loop *loop; /* set by loop_new */
};

/* First member of a backend's own sockets. */
struct sock {
    const struct loop_backend_ops *ops;
    struct loop_backend *backend; /* NULL: accepted and not yet adopted */
    sock_fn *fn;
    void *arg;
};

/* What conn.c keeps per loop (pools, counters); freed with the loop, through free. */
struct loop_local {
    void (*free)(struct loop_local *local);
};
struct loop_local **loop_local(struct loop *l);

/* NULL: none was given. */
struct exec *loop_resolver(const struct loop *l);

#endif
