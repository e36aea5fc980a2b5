/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sends requests on to brokers: to the controller, whoever that is (asking
 * again within the time allowed when it is another one, or the connection
 * broke), or to one broker. One connection per broker, made when first needed.
 *
 * A request whose connection broke may have been done: asked again, a creation
 * may then be told that the topic exists.
 *
 * Threads: the loop it was made with.
 */
#ifndef SLUICE_METAD_FORWARD_H
#define SLUICE_METAD_FORWARD_H

#include "metad/model/cluster.h"
#include "proto/base/buf.h"
#include "proto/net/loop.h"
#include "proto/wire/msg.h"

struct forwarder;
struct forward;

enum {
    FORWARD_TO_CONTROLLER = -1,
    FORWARDS_MAX = 4096, /* under way; more are refused with E_OVERLOADED */
};

/* OK: the answer as it came (it may hold an error of its own). Else why says what was tried. Valid
 * during the call. */
typedef void forward_done_fn(void *arg, err e, const char *why, const struct msg_peek *response);

/* listener: of the brokers, to connect to; kept. */
struct forwarder *forwarder_new(struct loop *l, const char *listener);
/* Ends everything with E_CANCELLED. */
void forwarder_free(struct forwarder *fr);
/* Where brokers are. References it. */
void forwarder_set_image(struct forwarder *fr, const struct cluster *img);
size_t forwarder_under_way(const struct forwarder *fr);

/* message: of api's request type, copied. done comes later, once. NULL: too many are under way,
 * done will not come. */
struct forward *forward_begin(struct forwarder *fr, int32_t broker_id, uint32_t api,
                              const void *message, int64_t timeout_us, forward_done_fn *done,
                              void *arg);
/* done will not come any more. */
void forward_cancel(struct forward *f);

#endif
