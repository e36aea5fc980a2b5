/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attempts begin from a timer, never from an rpc's own callback, so that a
 * broken rpc can be replaced there.
 */
#include "metad/server/forward.h"

#include <stdio.h>

#include "proto/base/check.h"
#include "proto/base/diag.h"
#include "proto/base/mem.h"
#include "proto/base/writer.h"
#include "proto/net/rpc.h"

enum {
    CONNECT_US = 5 * 1000000,
    RETRY_US = 50 * 1000,
    INFLIGHT_BYTES_MAX = 16 * 1024 * 1024,
    WHY_MAX = 300,
};

/* A broker that was sent something. */
struct peer {
    struct peer *next;
    int32_t broker_id;
    struct address at;
    struct rpc *rpc;
};

struct forward {
    struct forwarder *fr;
    struct forward *prev, *next;
    int32_t broker_id;
    struct buf field; /* tag, length, message */
    int64_t deadline_us;
    struct timer timer;
    bool is_sent;
    bool is_cancelled; /* freed when the rpc has answered */
    forward_done_fn *done;
    void *arg;
    char why[WHY_MAX]; /* of the last attempt */
};

struct forwarder {
    struct loop *loop;
    const char *listener;
    const struct cluster *img;
    struct peer *peers;
    struct forward *forwards;
    size_t count;
    bool is_ending;
};

static void attempt(void *arg);

static void forward_free(struct forward *f)
{
    struct forwarder *fr = f->fr;
    timer_stop(fr->loop, &f->timer);
    if (f->prev != NULL)
        f->prev->next = f->next;
    else
        fr->forwards = f->next;
    if (f->next != NULL)
        f->next->prev = f->prev;
    fr->count--;
    buf_deinit(&f->field);
    mem_free(f);
}

static void end(struct forward *f, err e, const struct msg_peek *response)
{
    forward_done_fn *done = f->done;
    void *arg = f->arg;
    char why[WHY_MAX];
    memcpy(why, f->why, sizeof why);
    forward_free(f);
    done(arg, e, why, response);
}

/* --- peers ----------------------------------------------------------------------- */

/* NULL: the image does not know where; why is set. */
static const struct endpoint *locate(struct forward *f, int32_t broker_id)
{
    const struct forwarder *fr = f->fr;
    const struct broker *b = fr->img != NULL ? cluster_broker(fr->img, broker_id) : NULL;
    const struct endpoint *at = b != NULL ? broker_endpoint(b, fr->listener) : NULL;
    if (b == NULL)
        snprintf(f->why, sizeof f->why, "broker %d is not registered now", broker_id);
    else if (at == NULL)
        snprintf(f->why, sizeof f->why, "broker %d has no listener %s", broker_id, fr->listener);
    return at;
}

static struct peer *peer_of(struct forwarder *fr, int32_t broker_id)
{
    struct peer *p = fr->peers;
    while (p != NULL && p->broker_id != broker_id)
        p = p->next;
    if (p == NULL) {
        p = MEM_NEW(struct peer);
        p->broker_id = broker_id;
        p->next = fr->peers;
        fr->peers = p;
    }
    return p;
}

/* An rpc to that endpoint that is not broken. */
static struct rpc *connect_peer(struct forwarder *fr, struct peer *p, const struct endpoint *to)
{
    struct address at = {.port = to->port};
    snprintf(at.host, sizeof at.host, "%s", to->host);
    const bool has_moved = at.port != p->at.port || strcmp(at.host, p->at.host) != 0;
    if (p->rpc != NULL && has_moved) {
        rpc_free(p->rpc);
        p->rpc = NULL;
    }
    p->at = at;
    if (p->rpc == NULL) {
        const struct rpc_opts opts = {.to = at,
                                      .client_id = "metad",
                                      .connect_timeout_us = CONNECT_US,
                                      .inflight_bytes_max = INFLIGHT_BYTES_MAX};
        p->rpc = rpc_new(fr->loop, &opts);
    } else if (rpc_is_broken(p->rpc)) {
        rpc_reconnect(p->rpc);
    }
    return p->rpc;
}

/* --- attempts -------------------------------------------------------------------- */

static void again(struct forward *f)
{
    const int64_t left = f->deadline_us - loop_now_us(f->fr->loop);
    timer_start(f->fr->loop, &f->timer, left < RETRY_US ? (left > 0 ? left : 0) : RETRY_US, attempt,
                f);
}

static bool is_not_controller(const struct msg_peek *response)
{
    struct msg_error error;
    return response->error.size > 0 && msg_read_error(response->error, &error) == OK &&
           error.code == E_NOT_CONTROLLER;
}

static void on_answer(void *arg, err e, struct slice frame)
{
    struct forward *f = arg;
    struct msg_peek response;
    f->is_sent = false;
    if (f->is_cancelled) {
        forward_free(f);
        return;
    }
    if (f->fr->is_ending) {
        end(f, E_CANCELLED, NULL);
        return;
    }
    if (e == OK && msg_peek_response(frame, &response) != OK) {
        snprintf(f->why, sizeof f->why, "the broker's answer cannot be read");
        end(f, E_UNKNOWN, NULL);
    } else if (e == OK && !is_not_controller(&response)) {
        end(f, OK, &response);
    } else if (e == OK) {
        snprintf(f->why, sizeof f->why, "the broker that was the controller is not any more");
        again(f);
    } else if (e == E_TIMED_OUT) {
        snprintf(f->why, sizeof f->why,
                 "the broker did not answer in the time allowed; the "
                 "outcome is unknown");
        end(f, E_TIMED_OUT, NULL);
    } else {
        snprintf(f->why, sizeof f->why, "the connection to the broker failed");
        again(f);
    }
}

static void attempt(void *arg)
{
    struct forward *f = arg;
    struct forwarder *fr = f->fr;
    const int64_t left = f->deadline_us - loop_now_us(fr->loop);
    if (left <= 0) {
        end(f, E_TIMED_OUT, NULL);
        return;
    }
    int32_t broker_id = f->broker_id;
    if (broker_id == FORWARD_TO_CONTROLLER)
        broker_id = fr->img != NULL ? cluster_controller(fr->img) : NO_BROKER;
    if (broker_id == NO_BROKER) {
        snprintf(f->why, sizeof f->why, "no controller is elected now");
        again(f);
        return;
    }
    const struct endpoint *to = locate(f, broker_id);
    if (to == NULL && f->broker_id != FORWARD_TO_CONTROLLER) {
        end(f, E_BROKER_NOT_AVAILABLE, NULL);
        return;
    }
    if (to == NULL) {
        again(f);
        return;
    }
    struct rpc *rpc = connect_peer(fr, peer_of(fr, broker_id), to);
    const struct rpc_piece piece = {.data = buf_slice(&f->field)};
    f->is_sent = true;
    rpc_send(rpc, &piece, 1, left, on_answer, f);
}

struct forward *forward_begin(struct forwarder *fr, int32_t broker_id, uint32_t api,
                              const void *message, int64_t timeout_us, forward_done_fn *done,
                              void *arg)
{
    if (fr->count >= FORWARDS_MAX)
        return NULL;
    struct forward *f = MEM_NEW(struct forward);
    f->fr = fr;
    f->broker_id = broker_id;
    f->done = done;
    f->arg = arg;
    f->deadline_us = loop_now_us(fr->loop) + timeout_us;
    const size_t size = protobuf_c_message_get_packed_size(message);
    uint8_t *p = buf_reserve(&f->field, 2 * VARINT_MAX + size);
    uint8_t *end_of_head = write_varint(write_tag(p, api, 2), size);
    f->field.size = (size_t)(end_of_head - p);
    msg_pack(message, &f->field);
    f->next = fr->forwards;
    if (f->next != NULL)
        f->next->prev = f;
    fr->forwards = f;
    fr->count++;
    timer_start(fr->loop, &f->timer, 0, attempt, f);
    return f;
}

void forward_cancel(struct forward *f)
{
    if (f->is_sent)
        f->is_cancelled = true;
    else
        forward_free(f);
}

/* --- life ------------------------------------------------------------------------ */

struct forwarder *forwarder_new(struct loop *l, const char *listener)
{
    struct forwarder *fr = MEM_NEW(struct forwarder);
    fr->loop = l;
    fr->listener = listener;
    return fr;
}

void forwarder_free(struct forwarder *fr)
{
    fr->is_ending = true;
    while (fr->peers != NULL) {
        struct peer *p = fr->peers;
        fr->peers = p->next;
        if (p->rpc != NULL)
            rpc_free(p->rpc); /* ends what was sent */
        mem_free(p);
    }
    while (fr->forwards != NULL)
        end(fr->forwards, E_CANCELLED, NULL);
    cluster_unref(fr->img);
    mem_free(fr);
}

/* A connection to a broker that went, or to the wrong place, is not used again; it goes with the
 * forwarder. */
void forwarder_set_image(struct forwarder *fr, const struct cluster *img)
{
    cluster_unref(fr->img);
    fr->img = cluster_ref(img);
}

size_t forwarder_under_way(const struct forwarder *fr)
{
    return fr->count;
}
