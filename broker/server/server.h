/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The broker: owns all its parts and knows the order in which they start and
 * stop. With `standalone` it is also metad, behind metad's own listener, on the
 * embedded coordination store.
 *
 * Start: lock the data directories, open coordination, listen, recover the
 * logs, register, stand for controller, take the roles the image gives: ready.
 * Stop: no new work, let what waits for a flush end, resign, flush, write the
 * clean marker last.
 *
 * The five doors are handed in, so that the same object runs in production and
 * in a simulated world. Threads: server_new and all callbacks on loops[0]'s
 * thread (or before the loops run); server_stop there too.
 */
#ifndef SLUICE_SERVER_SERVER_H
#define SLUICE_SERVER_SERVER_H

#include "broker/log/fsio.h"
#include "broker/server/broker_conf.h"
#include "metad/coord/coord.h"
#include "proto/base/rng.h"

struct server;

struct server_opts {
    struct conf *conf; /* kept; dynamic keys are changed in it */
    bool is_standalone;
    struct loop *const *loops; /* kept; loops[0] is home: coordination, directories, controller */
    size_t loop_count;
    const struct fsio *io;
    struct rng *rng;
    /* Workers; the server frees them. */
    struct exec *(*new_exec)(void *user, const char *name, unsigned threads);
    /* Opens coordination on home, once the data directories are locked; on failure says why itself.
     */
    err (*open_coord)(void *user, struct coord **out);
    void (*on_ready)(void *user);
    /* Exactly once. failed: it could not start or go on; a diag line has said why. */
    void (*on_stopped)(void *user, bool failed);
    void *user;
};

/* Begins to start; on_ready or on_stopped follows. NULL: it cannot (a diag line says why);
 * on_stopped does not come. */
struct server *server_new(const struct server_opts *opts);
/* A clean stop. Harmless if one is under way. */
void server_stop(struct server *b);
/* After on_stopped, when no loop runs any more. */
void server_free(struct server *b);

/* Bound addresses, in the order of broker_conf.listeners, once server_new has returned. */
const struct address *server_bound(const struct server *b, size_t i);
const struct broker_conf *server_get_conf(const struct server *b);
/* NULL unless standalone. */
const struct metad *server_metad(const struct server *b);
/* NULL unless http.listener is set. */
const struct address *server_http_bound(const struct server *b);

#endif
