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
 * in a simulated world. Threads: broker_new and all callbacks on loops[0]'s
 * thread (or before the loops run); broker_stop there too.
 */
#ifndef SLUICE_SERVER_BROKER_H
#define SLUICE_SERVER_BROKER_H

#include "broker/log/fsio.h"
#include "broker/server/broker_conf.h"
#include "metad/coord/coord.h"
#include "proto/base/rng.h"

struct broker;

struct broker_opts {
    struct conf *conf; /* kept; dynamic keys are changed in it */
    bool is_standalone;
    struct loop *const *loops; /* kept; loops[0] is home: coordination, directories, controller */
    size_t loop_count;
    const struct fsio *io;
    struct rng *rng;
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
struct broker *broker_new(const struct broker_opts *opts);
/* A clean stop. Harmless if one is under way. */
void broker_stop(struct broker *b);
/* After on_stopped, when no loop runs any more. */
void broker_free(struct broker *b);

/* Bound addresses, in the order of broker_conf.listeners, once broker_new has returned. */
const struct address *broker_bound(const struct broker *b, size_t i);
const struct broker_conf *broker_get_conf(const struct broker *b);
/* NULL unless standalone. */
const struct metad *broker_metad(const struct broker *b);
/* NULL unless http.listener is set. */
const struct address *broker_http_bound(const struct broker *b);

#endif
