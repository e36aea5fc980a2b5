/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Admin requests: CreateTopics, DeleteTopics, CreatePartitions, AlterConfigs.
 * They were checked to be well formed; what they ask for the controller checks,
 * for it alone knows the state that will hold when they are carried out.
 */
#include "metad/server/metad_priv.h"
#include "proto/base/check.h"
#include "proto/schema/configs.pb-c.h"
#include "proto/schema/topic_admin.pb-c.h"

enum { TIMEOUT_MS_MAX = 10 * 60000 };

static uint32_t timeout_ms_of(uint32_t api, const void *message)
{
    switch (api) {
    case API_CREATE_TOPICS:
        return ((const Sluice__CreateTopicsRequest *)message)->timeout_ms;
    case API_DELETE_TOPICS:
        return ((const Sluice__DeleteTopicsRequest *)message)->timeout_ms;
    case API_CREATE_PARTITIONS:
        return ((const Sluice__CreatePartitionsRequest *)message)->timeout_ms;
    case API_ALTER_CONFIGS:
        return ((const Sluice__AlterConfigsRequest *)message)->timeout_ms;
    default:
        CHECK(false); /* the table names these four */
        return 0;
    }
}

/* In the request's extra bytes. */
struct admin {
    struct request *r;
    struct forward *forward;
};

static void on_done(void *arg, err e, const char *why, const struct msg_peek *response)
{
    struct admin *ad = arg;
    if (e == OK)
        service_reply_forwarded(ad->r, response);
    else if (e == E_CANCELLED)
        service_reply_error(ad->r, E_SHUTTING_DOWN, "this server is shutting down");
    else
        service_reply_error(ad->r, e, "the controller could not be asked: %s", why);
}

static void on_cancel(void *arg, struct request *r)
{
    struct admin *ad = arg;
    forward_cancel(ad->forward);
    service_reply_error(r, E_SHUTTING_DOWN, "this server is shutting down; the outcome is unknown");
}

void handle_admin(void *user, struct request *r, const void *message)
{
    struct metad *m = user;
    struct admin *ad = service_extra(r);
    uint32_t timeout_ms = timeout_ms_of(r->api, message);
    if (timeout_ms > TIMEOUT_MS_MAX)
        timeout_ms = TIMEOUT_MS_MAX;
    ad->r = r;
    ad->forward = forward_begin(m->forwarder, FORWARD_TO_CONTROLLER, r->api, message,
                                (int64_t)timeout_ms * 1000, on_done, ad);
    if (ad->forward == NULL)
        service_reply_error(r, E_OVERLOADED, "%d requests to brokers are under way already",
                            FORWARDS_MAX);
    else
        service_on_cancel(r, on_cancel, ad);
}
