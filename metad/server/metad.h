/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The metadata server: answers Metadata from the cluster image, at once or when
 * the image is new enough (long poll), checks admin requests and forwards them
 * to the controller, describes configs. Stateless: all it knows it follows.
 *
 * It runs alone (`sluice-metad`, main.c) or inside `sluice-broker --standalone`,
 * where it shares session, follower and loop with the broker but keeps its own
 * listeners.
 *
 * Threads: metad_new, _listen, _start, _stop, _free on the loop given to it
 * (or before it runs); health and metrics from any thread.
 */
#ifndef SLUICE_METAD_METAD_H
#define SLUICE_METAD_METAD_H

#include "metad/follow/follower.h"
#include "metad/model/topic_configs.h"
#include "proto/base/buf.h"
#include "proto/net/service.h"

struct metad;

enum { METAD_LISTENERS_MAX = 8 };
struct metad_listener {
    const char
        *name; /* clients that come through it are given the brokers' endpoints of this name */
    struct address at;
};

/* What metad needs to know of the configuration; metad_conf.h reads it from the daemon's table. */
struct metad_opts {
    struct loop *loop;
    struct session *session; /* on the same loop */
    struct follower *follower;
    struct rng *rng;
    const struct metad_listener *listeners; /* kept */
    size_t listener_count;
    const char *inter_broker_listener; /* where admin requests are forwarded to; kept */
    bool auto_create_topics; /* a client that allows it may create topics by asking for them */
    const struct topic_config_values
        *topic_defaults; /* shown by describe_configs; kept; NULL: those of the table */
    size_t connections_max, connections_per_address_max; /* 0: no limit */
};

struct metad *metad_new(const struct metad_opts *opts);
/* Opens the listeners; on failure why names the address. */
err metad_start(struct metad *m, struct buf *why) MUST_USE;
/* The address that listener i is bound to. */
const struct address *metad_bound(const struct metad *m, size_t i);
/* Answers what waits, closes the connections, then done. */
void metad_stop(struct metad *m, void (*done)(void *arg), void *arg);
/* After done (or when the loop does not run any more) and before the follower is freed. */
void metad_free(struct metad *m);

/* true: an image is there and clients are served; else why gets a sentence. Any thread. */
bool metad_is_ready(const struct metad *m, struct buf *why);
/* Prometheus text; appends. Any thread. */
void metad_metrics(const struct metad *m, struct buf *out);

#endif
