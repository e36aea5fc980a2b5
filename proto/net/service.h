/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The answering end of the protocol, shared by broker and metad: listens,
 * spreads connections over loops, answers Hello, and turns each frame into one
 * call of a handler from the server's table, with a `struct request` that is
 * finished exactly once, now or later.
 *
 * A frame's way: peek (correlation id and body's number, nothing unpacked) ->
 * is Hello done, does the table have the api, is the frame within its limit ->
 * a raw handler gets the body's bytes, any other the message, pre-scanned and
 * unpacked into the request's arena. What is refused on the way is answered
 * here; handlers never see it.
 *
 * Requests come from a pool, so a hot handler costs no allocation. A request
 * outlives its connection: once that is gone replies go nowhere and
 * service_conn is NULL, but it must be finished all the same; on_cancel tells
 * whoever parked it.
 *
 * Bounds: connections in all and per address (more are closed at once),
 * unanswered requests per connection (then it is not read until half of them
 * are answered; those already received in that wake-up are still taken), the
 * arenas' bytes in all (E_OVERLOADED), time until Hello, and conn.h's.
 *
 * Threads: service_new, _listen, _stop and _free on the thread of loops[0] (or
 * before the loops run); everything about a request on its connection's loop.
 */
#ifndef SLUICE_NET_SERVICE_H
#define SLUICE_NET_SERVICE_H

#include "proto/base/mem.h"
#include "proto/net/conn.h"
#include "proto/wire/msg.h"

struct service;
struct request;
struct service_conn;
struct Sluice__HelloResponse;

/* One row of a server's table. */
struct service_api {
    uint32_t api;                              /* enum api; not API_HELLO */
    size_t frame_bytes_max;                    /* of this api; a longer frame is refused */
    const ProtobufCMessageDescriptor *request; /* NULL: handle_raw */
    /* message: of type `request`, in the request's arena, valid until the request is finished. */
    void (*handle)(void *user, struct request *r, const void *message);
    /* body: the serialized message, borrowed from the frame until on_frames_end has returned. */
    void (*handle_raw)(void *user, struct request *r, struct slice body);
};

struct service_opts {
    struct loop *const *loops; /* kept; connections are spread over them, loops[0] accepts */
    size_t loop_count;
    const struct service_api *apis; /* kept */
    size_t api_count;
    void *user;
    /* Role, broker id, cluster id ...; version, software and frame_bytes_max are set. On any of the
     * loops. Strings must live until it is called again. Not NULL. */
    void (*fill_hello)(void *user, struct Sluice__HelloResponse *hello);
    /* After the last frame of a connection's wake-up, while raw bodies are still there: the place
     * to append what one wake-up brought together. index: of the loop. May be NULL. */
    void (*on_frames_end)(void *user, size_t index);
    /* service_stop is through: no connection and no request is left. May be NULL. */
    void (*on_stopped)(void *user);
    const char *elsewhere; /* sentence for apis that the protocol has and the table has not
                              (E_WRONG_ROLE) */
    size_t extra_bytes;    /* of the server's own in every request (service_extra); zeroed */
    size_t connections_max, connections_per_address_max; /* 0: no limit */
    size_t inflight_max;                                 /* unanswered requests per connection */
    size_t arena_bytes_max;                              /* of all requests together */
    int64_t hello_us;          /* a connection says Hello within it, or is closed */
    struct conn_limits limits; /* of connections; frame_bytes_max: once Hello is done */
};

/* Sensible values for all limits; the rest zero. */
void service_opts_init(struct service_opts *opts);
/* Copies opts. */
struct service *service_new(const struct service_opts *opts);
/* A listener; name: kept, what service_listener returns. bound (may be NULL): with the port that
 * was free if 0 was asked. Errors: sock_listen. */
err service_listen(struct service *s, const char *name, const struct address *at,
                   struct address *bound) MUST_USE;
/* Stops listening, cancels what is parked, closes the connections when what is queued was sent, and
 * after a quarter of a second in any case; then on_stopped. */
void service_stop(struct service *s);
/* After on_stopped, or if no loop runs any more. */
void service_free(struct service *s);

/* --- requests -------------------------------------------------------------------- */
struct request {
    uint64_t correlation_id;
    uint32_t api;
    uint32_t frame_bytes;
    struct slice client_id; /* borrowed from the frame, as a raw body */
    struct arena arena;     /* the handler's too; emptied when the request is finished */
    int64_t begun_us;       /* loop time of arrival */
    /* The rest is service's. */
    struct service_conn *sc;
    struct request *prev, *next;
    void (*on_cancel)(void *arg, struct request *r);
    void *cancel_arg;
    size_t arena_charged;
};

/* The zeroed extra_bytes of this request. */
void *service_extra(struct request *r);
/* The loop this request lives on, and its index among the service's. */
struct loop *service_loop(const struct request *r);
size_t service_loop_index(const struct request *r);
/* NULL once it is closing: then there is nobody to answer. */
struct conn *service_conn(const struct request *r);
const struct address *service_peer(const struct request *r);
/* The name of the listener that the connection came through. */
const char *service_listener(const struct request *r);
/* Asks for one call of fn if the connection goes before the request is finished (or the service is
 * stopping); fn may finish it, or see to it that it is finished soon. fn NULL: no more. */
void service_on_cancel(struct request *r, void (*fn)(void *arg, struct request *r), void *arg);

/* Finishing: each of these ends the request; r is not to be touched afterwards. */

/* A body of the api's response type. */
void service_reply_message(struct request *r, const void *message);
/* The request as a whole failed; the text says what was wrong with what. */
void service_reply_error(struct request *r, err e, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Somebody else's answer as it came (forwarding), under r's correlation id. */
void service_reply_forwarded(struct request *r, const struct msg_peek *response);
/* The answer, if any, was written to service_conn(r) by the handler itself; outcome is for the
 * statistics. */
void service_finish(struct request *r, err outcome);

/* --- statistics: any thread ------------------------------------------------------ */
enum {
    SERVICE_LATENCY_BUCKETS = 24
}; /* bucket i: below 2^i microseconds, the last: all longer ones */
struct service_stats {
    uint64_t requests, errors, bytes_in;
    uint64_t latency_sum_us, latency[SERVICE_LATENCY_BUCKETS];
};
/* Sums over the loops, of one row of the table. */
void service_stats(const struct service *s, size_t row, struct service_stats *out);
size_t service_connections(const struct service *s);
/* Connections over a limit, and frames that no handler saw. On the thread of loops[0]. */
uint64_t service_refused(const struct service *s);

#endif
