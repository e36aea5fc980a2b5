/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A forward is either queued (it waits, with its timer, for its broker's
 * connection, or for a broker) or sent (its flight is under way, with a timeout
 * of its own).
 */
#include "metad/server/forward.h"

#include <stdio.h>
#include <uthash.h>

#include "proto/base/check.h"
#include "proto/base/mem.h"
#include "proto/base/writer.h"
#include "proto/wire/msg.h"

enum { RETRY_US = 20 * 1000, CONNECT_US = 5 * 1000 * 1000, INFLIGHT_BYTES = 16 * 1024 * 1024 };

/* An rpc request under way; outlives a forward that was cancelled. */
struct flight {
    struct forward *fw; /* NULL: cancelled */
};

/* A connection to a broker. */
struct peer {
    int32_t id;
    struct forwarder *f;
    struct address at;
    struct rpc *rpc;
    UT_hash_handle hh;
};

struct forwarder {
    struct loop *l;
    const char *listener;
    struct cluster *image;
    struct peer *peers;
    struct forward *first; /* all that is not done */
};

static void on_timer(void *arg);

struct forwarder *forwarder_new(struct loop *l, const char *listener)
{
    struct forwarder *f = MEM_NEW(struct forwarder);
    f->l = l;
    f->listener = listener;
    return f;
}

static void forget(struct forward *fw)
{
    struct forwarder *f = fw->f;
    timer_stop(f->l, &fw->timer);
    if (fw->flight)
        fw->flight->fw = NULL;
    fw->flight = NULL;
    if (fw->prev)
        fw->prev->next = fw->next;
    else
        f->first = fw->next;
    if (fw->next)
        fw->next->prev = fw->prev;
    fw->f = NULL;
}

static void finish(struct forward *fw, err e, struct slice response, const char *why)
{
    forget(fw);
    fw->done(fw->arg, e, response, why);
}

static void peer_free(struct peer *p)
{
    HASH_DEL(p->f->peers, p);
    rpc_free(p->rpc);
    mem_free(p);
}

void forwarder_free(struct forwarder *f)
{
    struct peer *p, *next;
    while (f->first)
        finish(f->first, E_SHUTTING_DOWN, slice_of(NULL, 0), "metad is shutting down");
    HASH_ITER(hh, f->peers, p, next)
    peer_free(p);
    cluster_unref(f->image);
    mem_free(f);
}

void forwarder_image(struct forwarder *f, const struct cluster *image)
{
    struct cluster *old = f->image;
    f->image = cluster_ref(image);
    cluster_unref(old);
    struct peer *p, *next;
    /* Who moved or left is connected anew when it is needed. */
    HASH_ITER(hh, f->peers, p, next)
    {
        const struct broker *b = cluster_broker(image, p->id);
        const struct endpoint *at = b ? broker_endpoint(b, f->listener) : NULL;
        const bool is_same = at && at->port == p->at.port && strcmp(at->host, p->at.host) == 0;
        if (!is_same && rpc_waiting(p->rpc) == 0)
            peer_free(p);
    }
}

/* What waits for a connection need not wait for its timer. */
static void on_ready(void *user)
{
    struct forwarder *f = user;
    for (struct forward *fw = f->first; fw; fw = fw->next)
        if (!fw->flight)
            timer_start(f->l, &fw->timer, 0, on_timer, fw);
}

static void on_broken(void *user, err why)
{
    (void)user;
    (void)why; /* timers see to it */
}

static const struct rpc_events events = {.on_ready = on_ready, .on_broken = on_broken};

/* NULL: nobody to ask now; *why says so. */
static struct peer *peer_for(struct forwarder *f, const struct forward *fw, const char **why)
{
    int32_t id = fw->broker_id;
    struct peer *p;
    if (!f->image) {
        *why = "metad has no image of the cluster yet";
        return NULL;
    }
    if (id == FORWARD_TO_CONTROLLER)
        id = cluster_controller(f->image);
    const struct broker *b = id == NO_BROKER ? NULL : cluster_broker(f->image, id);
    const struct endpoint *at = b ? broker_endpoint(b, f->listener) : NULL;
    if (!at) {
        *why = id == NO_BROKER ? "no controller is elected now"
               : b ? "the broker has no listener that metad may use (inter.broker.listener.name)"
                   : "that broker is not registered now";
        return NULL;
    }
    HASH_FIND_INT(f->peers, &id, p);
    if (p)
        return p;
    p = MEM_NEW(struct peer);
    p->id = id;
    p->f = f;
    p->at.port = at->port;
    snprintf(p->at.host, sizeof p->at.host, "%s", at->host);
    const struct rpc_opts opts = {.to = p->at,
                                  .client_id = "metad",
                                  .connect_timeout_us = CONNECT_US,
                                  .inflight_bytes_max = INFLIGHT_BYTES,
                                  .events = &events,
                                  .user = f};
    p->rpc = rpc_new(f->l, &opts);
    HASH_ADD_INT(f->peers, id, p);
    return p;
}

static bool is_worth_retrying(struct slice response)
{
    struct msg_peek peek;
    struct msg_error error;
    return msg_peek_response(response, &peek) == OK && peek.error.size > 0 &&
           msg_read_error(peek.error, &error) == OK &&
           (error.code == E_NOT_CONTROLLER || error.code == E_NOT_READY ||
            error.code == E_SHUTTING_DOWN);
}

static void retry_later(struct forward *fw)
{
    timer_start(fw->f->l, &fw->timer, RETRY_US, on_timer, fw);
}

static void on_answer(void *arg, err e, struct slice response)
{
    struct flight *flight = arg;
    struct forward *fw = flight->fw;
    mem_free(flight);
    if (!fw)
        return;
    fw->flight = NULL;
    if (e == OK && is_worth_retrying(response) && loop_now_us(fw->f->l) < fw->due_us)
        retry_later(fw);
    else if (e == OK)
        finish(fw, OK, response, NULL);
    else
        finish(fw, e == E_TIMED_OUT ? E_TIMED_OUT : E_NETWORK, response,
               "the broker that was to do it did not answer; whether it was done is not known: "
               "look before asking again");
}

static void send_now(struct forward *fw, struct peer *p)
{
    uint8_t head[2 * VARINT_MAX];
    uint8_t *end = write_varint(write_tag(head, fw->api, 2), fw->body.size);
    const struct rpc_piece pieces[] = {{.data = slice_of(head, (size_t)(end - head))},
                                       {.data = fw->body}};
    const int64_t left_us = fw->due_us - loop_now_us(fw->f->l);
    fw->flight = MEM_NEW(struct flight);
    fw->flight->fw = fw;
    timer_stop(fw->f->l, &fw->timer);
    rpc_send(p->rpc, pieces, 2, left_us > 0 ? left_us : 1, on_answer, fw->flight);
}

/* A broker that is asked by its number and is not registered: waiting would not bring it. */
static bool is_nobody(const struct forward *fw)
{
    return fw->broker_id != FORWARD_TO_CONTROLLER && fw->f->image &&
           !cluster_broker(fw->f->image, fw->broker_id);
}

static void on_timer(void *arg)
{
    struct forward *fw = arg;
    const char *why = "the broker cannot be connected to";
    struct peer *p = peer_for(fw->f, fw, &why);
    if (p && rpc_is_broken(p->rpc))
        rpc_reconnect(p->rpc);
    if (p && rpc_is_ready(p->rpc))
        send_now(fw, p);
    else if (loop_now_us(fw->f->l) >= fw->due_us || (!p && is_nobody(fw)))
        finish(fw, p ? E_NETWORK : E_BROKER_NOT_AVAILABLE, slice_of(NULL, 0), why);
    else
        timer_start(fw->f->l, &fw->timer, RETRY_US, on_timer, fw); /* or on_ready, sooner */
}

void forward_begin(struct forwarder *f, struct forward *fw, int64_t timeout_us)
{
    fw->f = f;
    fw->prev = NULL;
    fw->next = f->first;
    if (fw->next)
        fw->next->prev = fw;
    f->first = fw;
    fw->flight = NULL;
    fw->due_us = loop_now_us(f->l) + timeout_us;
    timer_start(f->l, &fw->timer, 0, on_timer, fw);
}

void forward_cancel(struct forward *fw)
{
    if (fw->f)
        forget(fw);
}
