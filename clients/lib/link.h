/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A way to one server: an rpc that is made when it is needed, and made again,
 * after a growing wait, when it broke. A link to metad has several addresses
 * and goes on to the next one each time. Threads: the loop's.
 */
#ifndef SLUICE_CLIENTS_LINK_H
#define SLUICE_CLIENTS_LINK_H

#include "clients/lib/settings.h"
#include "proto/base/rng.h"
#include "proto/net/rpc.h"

struct link {
    struct loop *loop;
    const struct settings *settings;
    struct rng *rng;
    const struct address *addresses;
    size_t address_count, at;
    struct rpc *rpc; /* NULL: not needed so far, or reset */
    bool is_ready;
    unsigned failures; /* in a row */
    err why; /* of the last failure, OK once it is ready; the errno behind it, 0: none; which
                address */
    int why_errno;
    size_t why_at;
    int64_t retry_at_us;
    struct timer retry;
    struct deferred resetting;
    err reset_why;
    /* Became ready, broke, or may be used again: requests that waited for this may be sent now. */
    void (*on_change)(void *user, struct link *k);
    void *user;
};

/* addresses, settings and rng: kept. */
void link_init(struct link *k, struct loop *l, const struct settings *settings, struct rng *rng,
               const struct address *addresses, size_t address_count,
               void (*on_change)(void *user, struct link *k), void *user);
/* Waiting requests end with E_CANCELLED, during it. */
void link_deinit(struct link *k);
/* May requests be sent? Starts to connect if it is time; otherwise on_change comes when it is. */
bool link_is_usable(struct link *k);
/* Only if usable. As rpc_send. */
void link_send(struct link *k, const struct rpc_piece *pieces, size_t count, int64_t timeout_us,
               rpc_done_fn *done, void *arg);
/* Give this connection up at the end of the turn: this server is of no use, or an answer did not
 * come in time, and what it still does with old requests must not mix with new ones. */
void link_reset(struct link *k, err why);
const struct address *link_address(const struct link *k);

#endif
