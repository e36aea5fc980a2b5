/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A model of ZooKeeper in memory, for tests and simulation: one store, several
 * clients, each behind a connection of its own with delays, losses and a server
 * that lags behind the others; sessions that expire while their owner cannot
 * hear of it. Time is the loops' (virtual in tests), chance the rng's: a run is
 * its seed.
 *
 * As in ZooKeeper: a client's operations keep their order; writes take effect
 * at one place at once; reads come from the client's server, which may be
 * behind, but not behind what the client has seen; what a broken connection
 * leaves unanswered may have been done; expiry is learnt after reconnecting only.
 *
 * Threads: one; the loops of all clients run on it.
 */
#ifndef SLUICE_COORD_MODEL_H
#define SLUICE_COORD_MODEL_H

#include "metad/coord/coord.h"
#include "proto/base/rng.h"

struct coord_model;

struct coord_model_opts {
    int64_t latency_us_max;     /* each way; at least a microsecond */
    int64_t lag_us_max;         /* how far a client's server may be behind */
    int64_t session_timeout_us; /* without contact for so long: expired */
    int64_t reconnect_us_max;   /* after a broken connection */
    uint32_t loss_per_million; /* of operations that break the connection, half of them before their
                                  effect */
};
/* Small, without faults. */
void coord_model_opts_init(struct coord_model_opts *opts);
/* rng: kept. opts: copied; change them any time through the pointer that coord_model_opts_of
 * returns. */
struct coord_model *coord_model_new(struct rng *rng, const struct coord_model_opts *opts);
struct coord_model_opts *coord_model_opts_of(struct coord_model *m);
/* All clients must be closed. */
void coord_model_free(struct coord_model *m);
/* A new client with a session of its own, connecting. coord_close ends it. */
struct coord *coord_model_connect(struct coord_model *m, struct loop *l);

/* --- faults ---------------------------------------------------------------------- */
enum coord_model_loss { LOSS_BEFORE_EFFECT, LOSS_AFTER_EFFECT };
/* The connection breaks at the next write of this client whose operations touch a path that begins
 * so ("": any). */
void coord_model_lose_next_write(struct coord *c, enum coord_model_loss when,
                                 const char *path_prefix);
/* No contact until coord_model_heal; the session goes on counting. */
void coord_model_cut(struct coord *c);
void coord_model_heal(struct coord *c);
/* Ends the session now; the client hears of it when it has contact. */
void coord_model_expire(struct coord *c);
/* The whole ensemble is away, and back. */
void coord_model_set_down(struct coord_model *m, bool down);
/* What an operator or another process does: at once, in the name of nobody. */
err coord_model_poke(struct coord_model *m, const struct coord_op *ops, size_t count) MUST_USE;
/* The node as the leader has it; E_NOT_FOUND. data: until the next change. */
err coord_model_peek(struct coord_model *m, const char *path, struct slice *data,
                     struct coord_stat *stat) MUST_USE;

#endif
