/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The asking end of the protocol, over one connection: says Hello, numbers
 * requests, matches answers, keeps deadlines. Used by the client library, by
 * metad (to forward to the controller) and by brokers among themselves.
 *
 * Requests queue while the connection is being made, behind Hello, and are sent without waiting
 * for its answer. Each request's callback comes exactly once, never from within rpc_send. When the
 * connection breaks every waiting request ends with E_NETWORK, in the order they were sent; whoever
 * holds the rpc decides about a new one (rpc_reconnect). A request that is sent while broken
 * ends the same way in the next turn. A request that timed out is forgotten, the connection
 * is not: an answer that comes after all is dropped.
 * Callbacks may call anything here, rpc_free too. Threads: home loop only.
 */
#ifndef SLUICE_NET_RPC_H
#define SLUICE_NET_RPC_H

#include "proto/net/conn.h"

struct rpc;

/* body is a Response as it came (without the frame's length), valid during the call; empty unless
 * OK. E_TIMED_OUT, E_NETWORK, E_CANCELLED (rpc_free), E_UNSUPPORTED_VERSION. */
typedef void rpc_done_fn(void *arg, err e, struct slice response);

struct rpc_events {
    void (*on_ready)(void *user); /* Hello is done */
    /* After all waiting requests were told. why: E_NETWORK (and rpc_errno), E_TIMED_OUT (no Hello
     * in time), E_UNSUPPORTED_VERSION, E_CORRUPT (not our protocol), or what the server refused us
     * with. */
    void (*on_broken)(void *user, err why);
};

struct rpc_opts {
    struct address to;
    const char *client_id;           /* kept */
    int64_t connect_timeout_us;      /* until Hello is answered */
    size_t inflight_bytes_max;       /* above it rpc_is_full says so; advisory */
    const struct rpc_events *events; /* may be NULL */
    void *user;
};

struct rpc *rpc_new(struct loop *l, const struct rpc_opts *opts);
/* No callback comes after it, except E_CANCELLED to the waiting requests, during it. */
void rpc_free(struct rpc *r);
bool rpc_is_ready(const struct rpc *r);
bool rpc_is_broken(const struct rpc *r);
/* Once broken: a new connection to the same address. */
void rpc_reconnect(struct rpc *r);

/*
 * Sends a request whose body (the oneof's field, tag and length included) is
 * given as pieces that are written one after another: rpc adds the frame length,
 * correlation id and client id. Pieces with a release are borrowed until then,
 * the others copied. timeout_us 0: none. done NULL: no answer will come (acks=0).
 */
struct rpc_piece {
    struct slice data;
    void (*release)(void *arg);
    void *arg;
};
void rpc_send(struct rpc *r, const struct rpc_piece *pieces, size_t count, int64_t timeout_us,
              rpc_done_fn *done, void *arg);
size_t rpc_waiting(const struct rpc *r);
/* Requests that wait for an answer hold more than inflight_bytes_max. */
bool rpc_is_full(const struct rpc *r);
/* Once broken: the errno behind it; 0: none. */
int rpc_errno(const struct rpc *r);
const struct address *rpc_address(const struct rpc *r);

/* Who answered Hello; meaningful once ready. */
struct rpc_peer {
    char role[16]; /* "broker", "metad" */
    char software[64];
    char cluster_id[64];
    int32_t broker_id; /* -1: none */
    uint64_t incarnation;
    size_t frame_bytes_max;
};
const struct rpc_peer *rpc_peer(const struct rpc *r);

#endif
