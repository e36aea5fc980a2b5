/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of this process's session with the coordination service, told to
 * everything that depends on it, in a fixed order (rule C6): when it is lost
 * every member fences what it holds in memory (on_lost, last member first);
 * when a new one is there every member reads again and then acts (on_begin,
 * first member first). A lost session is replaced by a new one after a little
 * random time, so that a cluster does not come back all at once.
 *
 * A mere loss of connection is told to nobody here: operations end with
 * E_NETWORK and are asked again, with session_retry_us between.
 *
 * Threads: the loop of the coord.
 */
#ifndef SLUICE_FOLLOW_SESSION_H
#define SLUICE_FOLLOW_SESSION_H

#include "metad/coord/coord.h"
#include "proto/base/rng.h"

struct session;

struct session_member {
    void (*on_begin)(void *arg); /* a new session: nothing that was read or owned before holds */
    void (*on_lost)(void *arg);  /* expired: nothing that was owned is owned any more */
    void *arg;
    struct session_member *next, *prev; /* these and has_begun are the session's */
    bool has_begun;
};

/* Takes neither; coord must outlive it. rng: kept. */
struct session *session_new(struct loop *l, struct coord *coord, struct rng *rng);
/* Stops telling; members need not be removed. Before coord_close. */
void session_free(struct session *s);
struct coord *session_coord(const struct session *s);
struct loop *session_loop(const struct session *s);
struct rng *session_rng(const struct session *s);

/* At the end of the order. If a session is there, on_begin comes in the next turn. */
void session_join(struct session *s, struct session_member *m);
/* Between on_begin and on_lost. */
bool session_is_live(const struct session *s);
/* Grows by one with each session: what was asked in another one is recognised by it. */
uint64_t session_number(const struct session *s);
/* How long to wait before asking again what ended with E_NETWORK, E_COORDINATION or E_OVERLOADED:
 * some tens of milliseconds, random. */
int64_t session_retry_us(struct session *s);
/* COORD_FAILED was told: the process should end. fn: once. */
void session_on_failed(struct session *s, void (*fn)(void *arg), void *arg);

#endif
