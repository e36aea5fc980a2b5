/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Metadata, from the image: at once, or when there is an image as new as the
 * client asks for (min_version: its own write; watch_version: any news), or
 * when max_wait_ms are over.
 *
 * A request is answered, parked (in metad's list, with a timer), or creating
 * (topics are being created for it, then it parks until the image shows them).
 */
#include <inttypes.h>
#include <stdio.h>

#include "metad/model/names.h"
#include "metad/server/forward.h"
#include "metad/server/metad_priv.h"
#include "proto/base/check.h"
#include "proto/base/limits.h"
#include "proto/schema/request.pb-c.h"

enum {
    WAIT_MS_MAX = 5 * 60 * 1000,
    CREATE_US = 30 * 1000 * 1000,
    ANSWER_BYTES_MAX = 256 * MIB, /* while it is made: 1.5 million partitions */
    PARKED_MAX = 100 * 1000,
};

struct parked {
    struct parked *prev, *next;
    bool is_parked;
    struct metad *m;
    struct request *r;
    const Sluice__MetadataRequest *req; /* in the request's arena */
    uint64_t at_least;                  /* the version to wait for */
    bool must; /* an older one will not do (min_version); else it will, after the wait (watch) */
    struct timer timer;
    int64_t due_us;
    struct forward create;
    struct buf create_body;
};

size_t handle_metadata_extra(void)
{
    return sizeof(struct parked);
}

/* --- the answer ------------------------------------------------------------------ */

static char *text(const char *s)
{
    return (char *)(uintptr_t)s;
}

/* Memory of one answer, which was counted before; what the image has is pointed to. */
static void *take(struct arena *a, size_t size)
{
    void *p = arena_alloc(a, size);
    CHECK(p);
    return p;
}

static Sluice__Error *error_of(struct arena *a, err e, const char *message)
{
    Sluice__Error *error = take(a, sizeof *error);
    sluice__error__init(error);
    error->has_code = error->has_class_ = true;
    error->code = err_wire_code(e);
    error->class_ = (int32_t)err_wire_class(e);
    error->message = text(message);
    return error;
}

static void fill_partition(Sluice__PartitionInfo *out, uint32_t number,
                           const struct partition_state *s)
{
    sluice__partition_info__init(out);
    out->has_partition = out->has_leader_epoch = out->has_partition_epoch = true;
    out->partition = number;
    out->has_leader = s->leader != NO_BROKER;
    out->leader = s->leader;
    out->leader_epoch = s->leader_epoch;
    out->partition_epoch = s->partition_epoch;
    out->n_replica = s->replica_count;
    out->replica = (int32_t *)(uintptr_t)s->replicas;
    out->n_isr = s->isr_count;
    out->isr = (int32_t *)(uintptr_t)s->isr;
    out->n_eligible = s->eligible_count;
    out->eligible = (int32_t *)(uintptr_t)s->eligible;
}

static Sluice__TopicInfo *topic_info(struct arena *a, const struct topic *t)
{
    Sluice__TopicInfo *out = take(a, sizeof *out);
    Sluice__PartitionInfo *parts = take(a, t->partition_count * sizeof *parts);
    Sluice__Property *properties = take(a, t->config_count * sizeof *properties);
    sluice__topic_info__init(out);
    out->name = text(t->name);
    out->has_topic_id = out->has_internal = out->has_min_insync_replicas = true;
    out->topic_id.data = (uint8_t *)(uintptr_t)t->id.bytes;
    out->topic_id.len = sizeof t->id.bytes;
    out->internal = t->internal;
    out->min_insync_replicas = t->min_insync_replicas;
    out->n_partition = t->partition_count;
    out->partition = take(a, t->partition_count * sizeof *out->partition);
    for (uint32_t i = 0; i < t->partition_count; i++) {
        fill_partition(&parts[i], i, &t->partitions[i]);
        out->partition[i] = &parts[i];
    }
    out->n_config = t->config_count;
    out->config = take(a, t->config_count * sizeof *out->config);
    for (uint32_t i = 0; i < t->config_count; i++) {
        sluice__property__init(&properties[i]);
        properties[i].key = text(t->configs[i].key);
        properties[i].value = text(t->configs[i].value);
        out->config[i] = &properties[i];
    }
    return out;
}

/* One that was asked for and is not there. */
static Sluice__TopicInfo *missing_info(struct arena *a, const char *name,
                                       const ProtobufCBinaryData *id, err e)
{
    Sluice__TopicInfo *out = take(a, sizeof *out);
    sluice__topic_info__init(out);
    out->name = text(name);
    if (id) {
        out->has_topic_id = true;
        out->topic_id = *id;
    }
    const char *fault = name ? topic_name_fault(slice_str(name)) : NULL;
    char *message;
    if (fault)
        message = arena_printf(a, "topic name \"%s\" %s", name, fault);
    else if (name)
        message = arena_printf(a, "topic \"%s\" does not exist", name);
    else
        message = arena_printf(a, "%s", err_text(e));
    out->error = error_of(a, fault ? E_INVALID_TOPIC : e, message ? message : err_text(e));
    return out;
}

static void fill_brokers(Sluice__MetadataResponse *res, struct arena *a,
                         const struct cluster *image, const char *listener)
{
    const uint32_t count = cluster_broker_count(image);
    res->broker = take(a, count * sizeof *res->broker);
    for (uint32_t i = 0; i < count; i++) {
        const struct broker *b = cluster_broker_at(image, i);
        const struct endpoint *at = broker_endpoint(b, listener);
        if (!at)
            continue; /* not reachable through the client's listener */
        Sluice__BrokerInfo *out = res->broker[res->n_broker++] = take(a, sizeof *out);
        sluice__broker_info__init(out);
        out->has_id = out->has_port = out->has_incarnation = true;
        out->id = b->id;
        out->host = text(at->host);
        out->port = at->port;
        out->rack = b->rack[0] ? text(b->rack) : NULL;
        out->incarnation = b->incarnation;
    }
}

static void fill_topics(Sluice__MetadataResponse *res, struct arena *a, const struct cluster *image,
                        const Sluice__MetadataRequest *req)
{
    if (req->all_topics) {
        struct cluster_cursor cur = {0};
        const struct topic *t;
        res->topic = take(a, cluster_topic_count(image) * sizeof *res->topic);
        while ((t = cluster_next_topic(image, &cur)))
            res->topic[res->n_topic++] = topic_info(a, t);
        return;
    }
    res->topic = take(a, (req->n_topic + req->n_topic_id) * sizeof *res->topic);
    for (size_t i = 0; i < req->n_topic; i++) {
        const struct topic *t = cluster_topic_named(image, slice_str(req->topic[i]));
        res->topic[res->n_topic++] =
            t ? topic_info(a, t)
              : missing_info(a, req->topic[i], NULL, E_UNKNOWN_TOPIC_OR_PARTITION);
    }
    for (size_t i = 0; i < req->n_topic_id; i++) {
        const ProtobufCBinaryData *id = &req->topic_id[i];
        struct uuid key;
        const struct topic *t = NULL;
        if (id->len == sizeof key.bytes) {
            memcpy(key.bytes, id->data, sizeof key.bytes);
            t = cluster_topic(image, &key);
        }
        res->topic[res->n_topic++] =
            t ? topic_info(a, t) : missing_info(a, NULL, id, E_UNKNOWN_TOPIC_ID);
    }
}

/* --- what it will take: a request may name a large topic again and again ------------- */

enum { ITEM_BYTES = 64 }; /* beside each struct: its pointer, and what alignment costs */

static size_t partitions_bytes(size_t partitions, size_t configs)
{
    return partitions * (sizeof(Sluice__PartitionInfo) + ITEM_BYTES) +
           configs * (sizeof(Sluice__Property) + ITEM_BYTES);
}

static size_t topic_bytes(const struct topic *t)
{
    const size_t own = sizeof(Sluice__TopicInfo) + sizeof(Sluice__Error) + 8 * ITEM_BYTES;
    return own + (t ? partitions_bytes(t->partition_count, t->config_count) : 0);
}

/* More than ANSWER_BYTES_MAX: it was not counted to the end. */
static size_t answer_bytes(const struct cluster *image, const Sluice__MetadataRequest *req)
{
    size_t bytes = cluster_broker_count(image) * (sizeof(Sluice__BrokerInfo) + ITEM_BYTES);
    struct cluster_cursor cur = {0};
    const struct topic *t;
    if (req->all_topics) {
        while (bytes <= ANSWER_BYTES_MAX && (t = cluster_next_topic(image, &cur)))
            bytes += topic_bytes(t);
        return bytes;
    }
    for (size_t i = 0; bytes <= ANSWER_BYTES_MAX && i < req->n_topic; i++) {
        const struct slice name = slice_str(req->topic[i]);
        bytes += topic_bytes(cluster_topic_named(image, name)) + name.size;
    }
    for (size_t i = 0; bytes <= ANSWER_BYTES_MAX && i < req->n_topic_id; i++) {
        const struct slice id = slice_of(req->topic_id[i].data, req->topic_id[i].len);
        const bool is_known =
            id.size > 0 && cluster_resolve(image, slice_of(NULL, 0), id, &t) == OK;
        bytes += topic_bytes(is_known ? t : NULL);
    }
    return bytes;
}

static void answer(struct metad *m, struct request *r, const Sluice__MetadataRequest *req)
{
    const struct cluster *image = m->image;
    struct arena a;
    const size_t bytes = answer_bytes(image, req);
    if (bytes > ANSWER_BYTES_MAX) {
        service_reply_error(
            r, E_OVERLOADED,
            "the answer would take more than %d bytes: ask for fewer topics at once",
            ANSWER_BYTES_MAX);
        return;
    }
    Sluice__MetadataResponse res = SLUICE__METADATA_RESPONSE__INIT;
    arena_init(&a, 2 * bytes + MIB); /* blocks are not filled to their last byte */
    res.has_version = true;
    res.version = cluster_version(image);
    res.cluster_id = text(cluster_id(image));
    res.has_controller_id = cluster_controller(image) != NO_BROKER;
    res.controller_id = cluster_controller(image);
    fill_brokers(&res, &a, image, service_listener(r));
    fill_topics(&res, &a, image, req);
    service_reply_message(r, &res);
    arena_deinit(&a);
}

/* --- waiting --------------------------------------------------------------------- */

static void unpark(struct parked *p)
{
    struct metad *m = p->m;
    timer_stop(m->opts.loop, &p->timer);
    if (!p->is_parked)
        return;
    p->is_parked = false;
    if (p->prev)
        p->prev->next = p->next;
    else
        m->parked = p->next;
    if (p->next)
        p->next->prev = p->prev;
    atomic_fetch_sub(&m->parked_count, 1);
}

static bool is_satisfied(const struct parked *p)
{
    return p->m->image && cluster_version(p->m->image) >= p->at_least;
}

static void end(struct parked *p)
{
    struct metad *m = p->m;
    unpark(p);
    buf_deinit(&p->create_body);
    if (!m->image)
        service_reply_error(p->r, E_NOT_READY, "metad has no image of the cluster yet");
    else if (p->must && !is_satisfied(p))
        service_reply_error(
            p->r, E_TIMED_OUT,
            "version %" PRIu64
            " of the cluster image was not reached within max_wait_ms; it is %" PRIu64,
            p->at_least, cluster_version(m->image));
    else
        answer(m, p->r, p->req);
}

static void on_timeout(void *arg)
{
    end(arg);
}

static void on_cancel(void *arg, struct request *r)
{
    struct parked *p = arg;
    unpark(p);
    forward_cancel(&p->create);
    buf_deinit(&p->create_body);
    service_finish(r, E_CANCELLED);
}

static void park(struct parked *p)
{
    struct metad *m = p->m;
    const int64_t left_us = p->due_us - loop_now_us(m->opts.loop);
    if (is_satisfied(p) || left_us <= 0) {
        end(p);
        return;
    }
    if (atomic_load(&m->parked_count) >= PARKED_MAX) {
        buf_deinit(&p->create_body);
        service_reply_error(p->r, E_OVERLOADED, "%d metadata requests are waiting already",
                            PARKED_MAX);
        return;
    }
    p->is_parked = true;
    p->prev = NULL;
    p->next = m->parked;
    if (p->next)
        p->next->prev = p;
    m->parked = p;
    atomic_fetch_add(&m->parked_count, 1);
    timer_start(m->opts.loop, &p->timer, left_us, on_timeout, p);
}

void handle_metadata_image(struct metad *m)
{
    struct parked *next;
    for (struct parked *p = m->parked; p; p = next) {
        next = p->next;
        if (is_satisfied(p))
            end(p);
    }
}

/* --- creating what is missing ---------------------------------------------------- */

static void on_created(void *arg, err e, struct slice response, const char *why)
{
    struct parked *p = arg;
    struct msg_peek peek;
    struct arena a;
    void *message = NULL;
    (void)why;
    arena_init(&a, 8 * MIB);
    /* Whatever went wrong, the answer says which topics are there. */
    if (e == OK && msg_peek_response(response, &peek) == OK &&
        msg_unpack(&sluice__topics_response__descriptor, peek.body, &a, &message, NULL) == OK) {
        const Sluice__TopicsResponse *res = message;
        if (res->version > p->at_least)
            p->at_least = res->version;
    }
    arena_deinit(&a);
    park(p);
}

/* True: topics are on their way. */
static bool create_missing(struct parked *p)
{
    struct metad *m = p->m;
    const Sluice__MetadataRequest *req = p->req;
    Sluice__CreateTopicsRequest create = SLUICE__CREATE_TOPICS_REQUEST__INIT;
    if (!m->opts.auto_create_topics || !req->allow_auto_topic_creation || !m->image ||
        req->n_topic == 0)
        return false;
    Sluice__NewTopic *topics = arena_alloc(&p->r->arena, req->n_topic * sizeof *topics);
    Sluice__NewTopic **list = arena_alloc(&p->r->arena, req->n_topic * sizeof *list);
    if (!topics || !list)
        return false;
    for (size_t i = 0; i < req->n_topic; i++) {
        const struct slice name = slice_str(req->topic[i]);
        if (cluster_topic_named(m->image, name) || topic_name_fault(name) ||
            topic_name_is_internal(name))
            continue;
        sluice__new_topic__init(&topics[create.n_topic]);
        topics[create.n_topic].name = req->topic[i];
        list[create.n_topic] = &topics[create.n_topic];
        create.n_topic++;
    }
    if (create.n_topic == 0)
        return false;
    create.topic = list;
    msg_pack(&create, &p->create_body);
    p->create = (struct forward){.broker_id = FORWARD_TO_CONTROLLER,
                                 .api = API_CREATE_TOPICS,
                                 .body = buf_slice(&p->create_body),
                                 .done = on_created,
                                 .arg = p};
    forward_begin(m->forwarder, &p->create, CREATE_US);
    return true;
}

void handle_metadata(void *user, struct request *r, const void *message)
{
    struct metad *m = user;
    const Sluice__MetadataRequest *req = message;
    struct parked *p = service_extra(r);
    const uint32_t wait_ms = req->max_wait_ms < WAIT_MS_MAX ? req->max_wait_ms : WAIT_MS_MAX;
    *p = (struct parked){.m = m, .r = r, .req = req};
    p->must = req->has_min_version;
    p->at_least = req->has_min_version ? req->min_version : 0;
    if (req->has_watch_version && req->watch_version >= p->at_least &&
        req->watch_version < UINT64_MAX)
        p->at_least = req->watch_version + 1;
    p->due_us = loop_now_us(m->opts.loop) + (int64_t)wait_ms * 1000;
    service_on_cancel(r, on_cancel, p);
    if (!create_missing(p))
        park(p);
}
