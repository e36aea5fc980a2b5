/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What metad passes on: changes go to the controller, questions about a broker
 * to that broker, each as the bytes that came, once they are known to be a
 * well-formed message. Questions about topics are answered from the image.
 */
#include <stdio.h>
#include <stdlib.h>

#include "metad/server/forward.h"
#include "metad/server/metad_priv.h"
#include "proto/base/limits.h"
#include "proto/base/reader.h"
#include "proto/schema/request.pb-c.h"

enum { TIMEOUT_MS_MAX = 5 * 60 * 1000, TIMEOUT_MS_DEFAULT = 30000 };

struct admin_op {
    struct request *r;
    struct forward fw;
};

size_t handle_admin_extra(void)
{
    return sizeof(struct admin_op);
}

static const struct {
    const ProtobufCMessageDescriptor *type;
    uint32_t timeout_field; /* 0: none */
} kinds[API_END] = {
    [API_CREATE_TOPICS] = {&sluice__create_topics_request__descriptor, 2},
    [API_DELETE_TOPICS] = {&sluice__delete_topics_request__descriptor, 3},
    [API_CREATE_PARTITIONS] = {&sluice__create_partitions_request__descriptor, 2},
    [API_DESCRIBE_CONFIGS] = {&sluice__describe_configs_request__descriptor, 0},
    [API_ALTER_CONFIGS] = {&sluice__alter_configs_request__descriptor, 3},
};

/* The message's timeout_ms; it has passed the pre-scan. */
static uint32_t timeout_ms(uint32_t api, struct slice body)
{
    struct reader r = reader_init(body);
    while (!reader_done(&r)) {
        const uint64_t tag = reader_varint(&r);
        if (tag == ((uint64_t)kinds[api].timeout_field << 3)) {
            const uint64_t ms = reader_varint(&r);
            return ms < TIMEOUT_MS_MAX ? (uint32_t)ms : TIMEOUT_MS_MAX;
        }
        reader_skip(&r, tag & 7);
    }
    return TIMEOUT_MS_DEFAULT;
}

static void on_done(void *arg, err e, struct slice response, const char *why)
{
    struct admin_op *op = arg;
    struct msg_peek peek;
    if (e == OK && msg_peek_response(response, &peek) == OK)
        service_reply_forwarded(op->r, &peek);
    else if (e == OK)
        service_reply_error(op->r, E_UNKNOWN, "the broker's answer cannot be understood");
    else
        service_reply_error(op->r, e, "%s", why);
}

static void on_cancel(void *arg, struct request *r)
{
    struct admin_op *op = arg;
    forward_cancel(&op->fw);
    service_finish(r, E_CANCELLED);
}

/* The body moves to the arena: it is sent after the frame has gone. */
static void forward(struct metad *m, struct request *r, struct slice body, int32_t broker_id)
{
    struct admin_op *op = service_extra(r);
    void *copy = arena_alloc(&r->arena, body.size);
    if (!copy) {
        service_reply_error(r, E_OVERLOADED, "the request is too long to be passed on");
        return;
    }
    memcpy(copy, body.data, body.size);
    op->r = r;
    op->fw = (struct forward){.broker_id = broker_id,
                              .api = r->api,
                              .body = slice_of(copy, body.size),
                              .done = on_done,
                              .arg = op};
    service_on_cancel(r, on_cancel, op);
    forward_begin(m->forwarder, &op->fw, (int64_t)timeout_ms(r->api, body) * 1000);
}

/* False: refused. */
static bool unpack(struct request *r, struct slice body, void **message)
{
    const char *what = "malformed";
    if (msg_unpack(kinds[r->api].type, body, &r->arena, message, &what) == OK)
        return true;
    service_reply_error(r, E_INVALID_REQUEST, "the %s request is refused: %s", api_name(r->api),
                        what);
    return false;
}

void handle_admin(void *user, struct request *r, struct slice body)
{
    void *message;
    if (unpack(r, body, &message))
        forward(user, r, body, FORWARD_TO_CONTROLLER);
}

/* --- describe configs ------------------------------------------------------------ */

static char *text(const char *s)
{
    return (char *)(uintptr_t)s;
}

static char *printed(struct arena *arena, enum topic_config config, int64_t value)
{
    struct buf b = {0};
    topic_config_print(config, value, &b);
    char *s = arena_printf(arena, "%.*s", (int)b.size, (const char *)b.data);
    buf_deinit(&b);
    return s;
}

/* A topic's configs: what it sets, over what brokers give it, over the table. NULL: the arena is
 * full. */
static Sluice__ConfigEntry **topic_entries(const struct metad *m, const struct topic *t,
                                           struct arena *arena)
{
    struct topic_config_values built_in, defaults, effective;
    topic_config_values_init(&built_in);
    defaults = m->opts.topic_defaults ? *m->opts.topic_defaults : built_in;
    topic_config_values_of(t, &defaults, &effective);
    Sluice__ConfigEntry *entries = arena_alloc(arena, TOPIC_CONFIG_COUNT * sizeof *entries);
    Sluice__ConfigEntry **list = arena_alloc(arena, TOPIC_CONFIG_COUNT * sizeof *list);
    if (!entries || !list)
        return NULL;
    for (int i = 0; i < TOPIC_CONFIG_COUNT; i++) {
        const enum topic_config config = (enum topic_config)i;
        const struct topic_config_def *def = topic_config_def(config);
        Sluice__ConfigEntry *e = list[i] = &entries[i];
        sluice__config_entry__init(e);
        e->key = text(def->key);
        e->doc = text(def->doc);
        e->has_source = e->has_read_only = true;
        if (topic_config(t, def->key))
            e->source = SLUICE__CONFIG_SOURCE__SOURCE_TOPIC;
        else if (defaults.v[i] != built_in.v[i])
            e->source = SLUICE__CONFIG_SOURCE__SOURCE_STATIC_BROKER;
        else
            e->source = SLUICE__CONFIG_SOURCE__SOURCE_DEFAULT;
        /* Not the value that was set but the one that holds, stored with the topic. */
        const int64_t value =
            config == TOPIC_MIN_INSYNC_REPLICAS ? (int64_t)t->min_insync_replicas : effective.v[i];
        e->value = printed(arena, config, value);
        if (!e->value)
            return NULL;
    }
    return list;
}

static void describe_topics(struct metad *m, struct request *r,
                            const Sluice__DescribeConfigsRequest *req)
{
    struct arena *arena = &r->arena;
    Sluice__ConfigsOf *results = arena_alloc(arena, req->n_resource * sizeof *results);
    Sluice__ConfigsOf **list = arena_alloc(arena, req->n_resource * sizeof *list);
    Sluice__Error *errors = arena_alloc(arena, req->n_resource * sizeof *errors);
    bool has_room = results && list && errors;
    for (size_t i = 0; has_room && i < req->n_resource; i++) {
        Sluice__ConfigsOf *res = list[i] = &results[i];
        const char *name = req->resource[i]->name ? req->resource[i]->name : "";
        sluice__configs_of__init(res);
        res->resource = req->resource[i];
        const struct topic *t = m->image ? cluster_topic_named(m->image, slice_str(name)) : NULL;
        if (t) {
            res->entry = topic_entries(m, t, arena);
            res->n_entry = TOPIC_CONFIG_COUNT;
            has_room = res->entry != NULL;
            continue;
        }
        const err e = m->image ? E_UNKNOWN_TOPIC_OR_PARTITION : E_NOT_READY;
        sluice__error__init(&errors[i]);
        errors[i].has_code = errors[i].has_class_ = true;
        errors[i].code = err_wire_code(e);
        errors[i].class_ = (int32_t)err_wire_class(e);
        errors[i].message = arena_printf(arena, "topic \"%s\": %s", name, err_text(e));
        res->error = &errors[i];
    }
    Sluice__DescribeConfigsResponse res = SLUICE__DESCRIBE_CONFIGS_RESPONSE__INIT;
    res.n_result = req->n_resource;
    res.result = list;
    if (has_room)
        service_reply_message(r, &res);
    else
        service_reply_error(r, E_OVERLOADED,
                            "%zu resources in one request are too many; ask for fewer",
                            req->n_resource);
}

/* False: not a broker's id. */
static bool parse_broker_id(const char *name, int32_t *out)
{
    char *end = NULL;
    const long id = name && *name >= '0' && *name <= '9' ? strtol(name, &end, 10) : -1;
    if (id < 0 || id > BROKER_ID_MAX || *end)
        return false;
    *out = (int32_t)id;
    return true;
}

void handle_admin_describe(void *user, struct request *r, struct slice body)
{
    struct metad *m = user;
    void *message;
    int32_t broker_id = 0;
    size_t topics = 0;
    if (!unpack(r, body, &message))
        return;
    const Sluice__DescribeConfigsRequest *req = message;
    for (size_t i = 0; i < req->n_resource; i++)
        topics += req->resource[i]->type == SLUICE__CONFIG_RESOURCE_TYPE__RESOURCE_TOPIC;
    if (topics == req->n_resource)
        describe_topics(m, r, req);
    else if (topics > 0 || req->n_resource > 1)
        service_reply_error(r, E_INVALID_REQUEST,
                            "ask about topics and about each broker in requests of their own");
    else if (req->resource[0]->type != SLUICE__CONFIG_RESOURCE_TYPE__RESOURCE_BROKER ||
             !parse_broker_id(req->resource[0]->name, &broker_id))
        service_reply_error(r, E_INVALID_REQUEST,
                            "the resource must be a topic by name or a broker by number");
    else
        forward(m, r, body, broker_id);
}
