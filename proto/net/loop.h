/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loop: time, timers, sockets, and what other threads send. The first of
 * the five doors: nothing else in Sluice reads a clock, touches a socket or
 * waits. In production it opens to epoll (loop_epoll.c); a simulator gives its
 * own `struct loop_backend`, and the same code runs in virtual time.
 *
 * One turn of a loop: poll the backend, run socket events, run due timers, run
 * mail, run what was deferred (last: so that everything a turn produced is
 * sent at once). Callbacks run to completion on the loop's thread.
 *
 * Threads: a loop has one home thread, that of loop_run; everything here is
 * for that thread only, except loop_post, loop_stop and what says otherwise.
 */
#ifndef SLUICE_NET_LOOP_H
#define SLUICE_NET_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "proto/base/err.h"

struct loop;
struct loop_backend;

/* production: loop_epoll_backend(). Takes the backend. */
struct loop *loop_new(struct loop_backend *backend, const char *name);
/* An epoll backend. E_STORAGE: no descriptors left. */
err loop_epoll_backend(struct loop_backend **out) MUST_USE;
/* Runs what is deferred, so that what was closed before is gone; connections that are still saying
 * their last end here, others must be closed. Nothing may be posted any more; mail that was not
 * read is forgotten. */
void loop_free(struct loop *l);
const char *loop_name(const struct loop *l);
/* Runs turns until loop_stop. */
void loop_run(struct loop *l);
/* One turn that waits at most timeout_us for something to do (-1: for ever). For drivers and tests.
 */
void loop_turn(struct loop *l, int64_t timeout_us);
/* When the next timer is due, INT64_MAX if none. For simulators. */
int64_t loop_next_due_us(const struct loop *l);
/* Any thread, signal handlers too. */
void loop_stop(struct loop *l);
/* Is this the home thread? Yes, too, while no thread turns the loop: for start-up and tests. */
bool loop_is_current(const struct loop *l);

/* Monotonic; loop_now_us is read once a turn, loop_clock_us at each call. */
int64_t loop_now_us(const struct loop *l);
int64_t loop_clock_us(const struct loop *l);
/* ms since the epoch: for timestamps of records and retention, never for safety or timers. */
int64_t loop_wall_ms(const struct loop *l);

/* --- timers: embedded in what they serve; all zero is a stopped timer ----- */
struct timer {
    int64_t due_us;  /* those due at the same time fire in no promised order */
    size_t heap_pos; /* 1-based; 0: not running */
    void (*fn)(void *arg);
    void *arg;
};
/* Starts, or starts anew, to fire once after delay_us; never in the turn that starts it. */
void timer_start(struct loop *l, struct timer *t, int64_t delay_us, void (*fn)(void *arg),
                 void *arg);
void timer_stop(struct loop *l, struct timer *t);
bool timer_is_running(const struct timer *t);

/* --- mail: from any thread to the loop; the message owns its data --------- */
struct mail {
    struct mail *next;
    void (*fn)(struct mail *m); /* on the loop's thread; m may be freed or posted again by it */
};
/* Any thread. In order per posting thread. One wake-up serves many posts. m must not be in a
 * mailbox. What is posted during a turn's mail waits for the next turn. */
void loop_post(struct loop *l, struct mail *m);

/* --- deferred: once, at the end of this turn ------------------------------ */
struct deferred {
    struct deferred *next;
    void (*fn)(struct deferred *d);
    bool queued;
};
/* No effect if already queued. One deferred by another deferred still runs in this turn. */
void loop_defer(struct loop *l, struct deferred *d);

/* --- addresses ------------------------------------------------------------ */
struct address {
    char host[256]; /* name, IPv4, or IPv6 without brackets; empty: all interfaces */
    uint16_t port;
};
/* HOST:PORT, [V6]:PORT, :PORT. E_CONFIG: neither. */
err address_parse(struct address *out, const char *text, size_t size) MUST_USE;
/* host:port, in brackets where needed; into a caller's buffer of ADDRESS_TEXT bytes, returned. */
enum { ADDRESS_TEXT = 280 };
const char *address_text(const struct address *a, char text[ADDRESS_TEXT]);

/* --- sockets: streams ----------------------------------------------------- */
enum { SOCK_READABLE = 1, SOCK_WRITABLE = 2, SOCK_CLOSED = 4 };
struct sock;
typedef void sock_fn(void *arg, struct sock *s, unsigned events);

/* Numeric addresses and names; names are resolved blocking, so at start-up only. bound (may be
 * NULL) has the port that port 0 became. E_NETWORK: cannot be bound. The listener is wanted
 * READABLE. */
err sock_listen(struct loop *l, const struct address *at, sock_fn *fn, void *arg, struct sock **out,
                struct address *bound) MUST_USE;
/* The next waiting connection, still without a loop; E_WOULD_BLOCK: none; E_OVERLOADED: out of
 * descriptors. */
err sock_accept(struct sock *listener, struct sock **out, struct address *peer) MUST_USE;
/* Gives an accepted socket its home; l may be another loop than the listener's, but the call is
 * made on l. Nothing is wanted yet. */
void sock_adopt(struct loop *l, struct sock *s, sock_fn *fn, void *arg);
/* Names are resolved by these workers; without, blocking. Kept; may be NULL. */
struct exec;
void loop_set_resolver(struct loop *l, struct exec *e);
/* Starts to connect, to each address of a name in turn; one SOCK_WRITABLE or SOCK_CLOSED (then
 * sock_error) tells the end, never during the call. After SOCK_WRITABLE nothing is wanted until
 * sock_want. */
err sock_connect(struct loop *l, const struct address *to, sock_fn *fn, void *arg,
                 struct sock **out) MUST_USE;
/* The errno behind SOCK_CLOSED, 0: orderly. ECONNREFUSED and ECONNRESET are what suspicion is made
 * of. */
int sock_error(struct sock *s);
/* Which events are wanted; level-triggered. SOCK_CLOSED always comes. */
void sock_want(struct sock *s, unsigned events);
/* Bytes moved. E_WOULD_BLOCK, E_END (read only: the peer is done), E_NETWORK. */
err sock_readv(struct sock *s, const struct iovec *iov, int count, size_t *moved) MUST_USE;
err sock_writev(struct sock *s, const struct iovec *iov, int count, size_t *moved) MUST_USE;
/* Ends our sending side: the peer reads E_END behind what was sent. */
void sock_shutdown(struct sock *s);
/* Frees s; no callback comes after this. */
void sock_close(struct sock *s);

/* --- descriptors of libraries that bring their own epoll set (HTTP) ------- */
struct loop_watch;
struct loop_watch *loop_watch_fd(struct loop *l, int fd, void (*fn)(void *arg), void *arg);
void loop_unwatch_fd(struct loop *l, struct loop_watch *w);
/* A listening, non-blocking descriptor for such a library, as sock_listen. The caller closes it. */
err loop_listen_fd(struct loop *l, const struct address *at, int *fd,
                   struct address *bound) MUST_USE;

/* One datagram to a Unix socket, "@" first for the abstract namespace; never blocks, any thread,
 * needs no loop. 0, or an errno. */
int loop_send_datagram(const char *path, const void *data, size_t size);

#endif
