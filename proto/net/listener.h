/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A listener: accepts on one loop and hands each connection, by mail, to the
 * one of several loops that has the fewest of this listener's. Over a limit a
 * connection is refused: it is sent a Response with correlation id 0 and
 * E_OVERLOADED, and closed. Out of descriptors it stops accepting for a while;
 * those who wait stay in the kernel's queue.
 *
 * Threads: home loop, except what says otherwise.
 */
#ifndef SLUICE_NET_LISTENER_H
#define SLUICE_NET_LISTENER_H

#include "proto/net/conn.h"

struct listener;

struct listener_opts {
    struct loop *const *loops; /* of the connections; copied */
    size_t loop_count;
    const struct conn_handler *handler; /* kept, as limits */
    const struct conn_limits *limits;
    /* A new connection, on its loop: the place for conn_set_user, or conn_close. */
    void (*on_accept)(void *user, struct conn *c);
    void *user;
    size_t connections_max, connections_per_address_max; /* 0: no limit */
};

/* Errors: sock_listen. bound may be NULL. */
err listener_open(struct loop *l, const struct address *at, const struct listener_opts *opts,
                  struct listener **out, struct address *bound) MUST_USE;
/* Accepts no more. Its connections live on, and one that is on its way to its loop still arrives.
 */
void listener_close(struct listener *ls);

/* Any thread. */
size_t listener_connections(const struct listener *ls);
uint64_t listener_refused(const struct listener *ls);

#endif
