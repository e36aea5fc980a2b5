/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What producer, consumer and admin share on their loop: the connection to a
 * metadata daemon, what it told about brokers and topics, and links to brokers.
 *
 * Topics somebody wants are asked for at once, and then watched: a request that
 * metad answers when anything changed, so that new leaders are learnt by push. Answers
 * of brokers that know better (NOT_LEADER with a hint) are believed if their
 * leader epoch is newer; a leader epoch never goes back.
 *
 * Calls (admin requests) go the same way, are tried again where that helps, and
 * end exactly once. Threads: the loop's.
 */
#ifndef SLUICE_CLIENTS_CLIENT_H
#define SLUICE_CLIENTS_CLIENT_H

/* Its memory is ours: it aborts when there is none. */
#define uthash_malloc(size) mem_alloc(size)
#define uthash_free(p, size) mem_free(p)
#include <uthash.h>

#include "clients/lib/link.h"
#include "clients/lib/problem.h"
#include "clients/lib/settings.h"
#include "proto/base/buf.h"
#include "proto/base/mem.h"
#include "proto/wire/msg.h"

/* A broker. Lives as long as the client. */
struct node {
    int32_t id;
    struct address address;
    struct link link;
    struct client *client;
    void *user; /* the owner's, NULL at first */
    UT_hash_handle hh;
};
/* "broker 1 at 10.0.0.7:9292" */
enum { NODE_TEXT = ADDRESS_TEXT + 24 };
const char *node_text(const struct node *n, char text[NODE_TEXT]);

struct leader {
    int32_t id;    /* -1: none */
    int32_t epoch; /* -1: not known */
};

/* A topic as metad told last. */
struct topic {
    char *name;
    bool is_known; /* an answer came */
    err error;     /* OK, or why there is nothing more here */
    enum err_class error_class;
    char *error_text; /* may be NULL */
    struct uuid id;
    bool has_id;
    struct leader *leaders; /* by partition */
    int32_t partition_count;
    unsigned wants;
    UT_hash_handle hh;
};

struct client_events {
    /* Something about topics or leaders may have changed. */
    void (*on_metadata)(void *user);
    /* Requests to n may be worth a try again; or its connection broke. */
    void (*on_node)(void *user, struct node *n);
};

struct client;
/* All pointers are kept. */
struct client *client_new(struct loop *l, const struct settings *settings, struct rng *rng,
                          const struct client_events *events, void *user);
/* Calls end with E_CANCELLED, requests to brokers too, during it. */
void client_free(struct client *cl);
struct loop *client_loop(const struct client *cl);
const struct settings *client_settings(const struct client *cl);

/* --- topics ------------------------------------------------------------------ */
/* Wants it until as many unwants. The pointer is good as long. */
struct topic *client_want_topic(struct client *cl, const char *name);
void client_unwant_topic(struct client *cl, struct topic *t);
/* Ask metad again, soon: a leader was not where it should be. */
void client_refresh(struct client *cl);
/* A broker said who leads. */
void client_hint_leader(struct client *cl, struct topic *t, int32_t partition, int32_t leader_id,
                        struct slice host, uint16_t port, int32_t leader_epoch);
/* NULL: no such partition, no leader, or its broker is not known. */
struct node *client_leader(struct client *cl, const struct topic *t, int32_t partition);
/* Why a topic is not usable, OK if nothing speaks against waiting for it. Without a message. */
struct wire_error client_topic_error(const struct client *cl, const struct topic *t);
/* The same in words, for a text: "no answer from metad at ... (E_NETWORK)". */
void client_explain(const struct client *cl, const struct topic *t, struct buf *out);

/* --- calls to metad ------------------------------------------------------------ */
struct call {
    uint32_t api;
    struct buf field;    /* call_encode; freed when it is done */
    int64_t deadline_us; /* loop time; INT64_MAX: none */
    /* Exactly once. error.code OK: response is the serialized body. Both are valid during the call.
     */
    void (*done)(struct call *c, const struct wire_error *error, struct slice response);
    bool once;         /* never tried again */
    int64_t answer_us; /* how long an answer may take beyond request.timeout.ms: long polls */
    /* The client's. */
    struct client *client;
    struct call *prev, *next;
    bool is_sent, waits; /* on its way; until its backoff is over */
    unsigned failures;
    struct sluice_error last; /* why it had to be tried again; code 0: it had not */
    struct timer timer;
};
/* The oneof's field for a request body, appended: tag, length, message. */
void call_encode(uint32_t api, const ProtobufCMessage *body, struct buf *out);
/* Reads an answer's envelope. OK: *body is what came for api. */
struct wire_error call_answer(uint32_t api, err e, struct slice response, struct slice *body);
/* c lives until done. */
void client_call(struct client *cl, struct call *c);
/* Answers of describe calls know brokers too. */
void client_learn_broker(struct client *cl, int32_t id, struct slice host, uint16_t port);
/* "metad at 127.0.0.1:9290" */
const char *client_metad_text(const struct client *cl, char text[NODE_TEXT]);

#endif
