/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sends requests on to brokers: to the controller, or to one by its id, over
 * one connection each, as raw bodies. What has not been sent when a connection
 * fails, or what a broker refuses because it is not the controller, is tried
 * again until its deadline, on whoever the image names then. What was sent and
 * got no answer is not: nobody knows whether it was done.
 *
 * Threads: one loop.
 */
#ifndef SLUICE_METAD_FORWARD_H
#define SLUICE_METAD_FORWARD_H

#include "metad/model/cluster.h"
#include "proto/net/rpc.h"

struct forwarder;

struct forwarder *forwarder_new(struct loop *l, const char *listener);
/* What waits ends with E_SHUTTING_DOWN. */
void forwarder_free(struct forwarder *f);
/* A newer image; borrowed for the call. */
void forwarder_image(struct forwarder *f, const struct cluster *image);

enum { FORWARD_TO_CONTROLLER = -1 };

/* response: valid during the call, with OK; else why has a sentence. */
typedef void forward_done_fn(void *arg, err e, struct slice response, const char *why);

struct forward {
    struct forward *prev, *next;
    int32_t broker_id; /* or FORWARD_TO_CONTROLLER */
    uint32_t api;
    struct slice body; /* valid until done */
    int64_t due_us;
    forward_done_fn *done;
    void *arg;
    /* The rest is forward.c's. */
    struct forwarder *f;
    struct timer timer;
    struct flight *flight; /* NULL: not sent */
};
/* fw lives until done is called, once, never inside this call. */
void forward_begin(struct forwarder *f, struct forward *fw, int64_t timeout_us);
/* Nobody wants the answer any more: done is not called. Harmless if it was not begun, or is done.
 */
void forward_cancel(struct forward *fw);

#endif
