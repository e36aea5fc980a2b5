/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/lib/client.h"

#include <stdio.h>
#include <string.h>
#include <utlist.h>

#include "clients/lib/backoff.h"
#include "proto/base/check.h"
#include "proto/base/diag.h"
#include "proto/base/limits.h"
#include "proto/base/writer.h"
#include "proto/schema/metadata.pb-c.h"

enum {
    METADATA_BYTES_MAX = 256 * MIB, /* of an unpacked answer */
    NODES_MAX = 10000,              /* brokers ever heard of; more are not believed */
    WATCH_WAIT_MS = 30000
};

struct client {
    struct loop *loop;
    const struct settings *settings;
    struct rng *rng;
    const struct client_events *events;
    void *user;
    struct link metad;
    struct node *nodes;   /* by id */
    struct topic *topics; /* by name */
    struct call *calls;
    struct deferred pump;
    bool is_closing;

    struct call refresh, watch;
    bool is_refreshing, is_watching;
    bool refresh_is_partial;
    bool wants_refresh;     /* as soon as the one under way is answered */
    bool metadata_is_fresh; /* since the last change of wanted topics and the last reconnect */
    uint64_t version;       /* of the last answer; 0: none */
    unsigned refresh_failures;
    int64_t refreshed_at_us;
    struct timer refresh_timer;
    err problem_code; /* why metadata did not come */
    enum err_class problem_class;
    size_t refusals;    /* in a row, by metads that could be asked */
    char *problem_text; /* where, and what it was */
};

static void pump_soon(struct client *cl)
{
    if (!cl->is_closing)
        loop_defer(cl->loop, &cl->pump);
}

/* --- nodes -------------------------------------------------------------------------------------
 */

const char *node_text(const struct node *n, char text[NODE_TEXT])
{
    char address[ADDRESS_TEXT];
    snprintf(text, NODE_TEXT, "broker %d at %s", n->id, address_text(&n->address, address));
    return text;
}

static void on_node_change(void *user, struct link *k)
{
    struct node *n = user;
    struct client *cl = n->client;
    (void)k;
    if (cl->is_closing)
        return;
    /* A broker that went away may have lost its leaderships. */
    if (n->link.failures == 1)
        client_refresh(cl);
    cl->events->on_node(cl->user, n);
}

static struct node *node_find(struct client *cl, int32_t id)
{
    struct node *n;
    HASH_FIND(hh, cl->nodes, &id, sizeof id, n);
    return n;
}

void client_learn_broker(struct client *cl, int32_t id, struct slice host, uint16_t port)
{
    struct address address = {.port = port};
    if (host.size == 0 || host.size >= sizeof address.host || port == 0)
        return;
    memcpy(address.host, host.data, host.size);
    struct node *n = node_find(cl, id);
    if (!n) {
        if (HASH_COUNT(cl->nodes) >= NODES_MAX)
            return;
        n = MEM_NEW(struct node);
        *n = (struct node){.id = id, .address = address, .client = cl};
        link_init(&n->link, cl->loop, cl->settings, cl->rng, &n->address, 1, on_node_change, n);
        HASH_ADD(hh, cl->nodes, id, sizeof n->id, n);
    } else if (n->address.port != port || strcmp(n->address.host, address.host)) {
        n->address = address;
        link_reset(&n->link, E_NETWORK);
    }
}

struct node *client_leader(struct client *cl, const struct topic *t, int32_t partition)
{
    if (partition >= t->partition_count || t->leaders[partition].id < 0)
        return NULL;
    return node_find(cl, t->leaders[partition].id);
}

/* --- topics ------------------------------------------------------------------------------------
 */

struct topic *client_want_topic(struct client *cl, const char *name)
{
    struct topic *t;
    HASH_FIND_STR(cl->topics, name, t);
    if (!t) {
        t = MEM_NEW(struct topic);
        t->name = mem_strdup(name);
        HASH_ADD_KEYPTR(hh, cl->topics, t->name, strlen(t->name), t);
        cl->metadata_is_fresh = false;
        client_refresh(cl);
    }
    t->wants++;
    return t;
}

static void topic_free(struct client *cl, struct topic *t)
{
    HASH_DEL(cl->topics, t);
    mem_free(t->name);
    mem_free(t->error_text);
    mem_free(t->leaders);
    mem_free(t);
}

void client_unwant_topic(struct client *cl, struct topic *t)
{
    CHECK(t->wants > 0);
    if (--t->wants == 0)
        topic_free(cl, t);
}

static void topic_set_error(struct topic *t, err code, enum err_class class_, const char *text)
{
    mem_free(t->error_text);
    t->error = code;
    t->error_class = class_;
    t->error_text = text ? mem_strdup(text) : NULL;
}

static void topic_set_partitions(struct topic *t, int32_t count)
{
    if (count == t->partition_count)
        return;
    t->leaders = mem_realloc(t->leaders, (size_t)(count ? count : 1) * sizeof *t->leaders);
    for (int32_t i = t->partition_count; i < count; i++)
        t->leaders[i] = (struct leader){.id = -1, .epoch = -1};
    t->partition_count = count;
}

static void leader_update(struct topic *t, int32_t partition, int32_t id, int32_t epoch)
{
    struct leader *now = &t->leaders[partition];
    if (epoch >= now->epoch)
        *now = (struct leader){.id = id, .epoch = epoch};
}

void client_hint_leader(struct client *cl, struct topic *t, int32_t partition, int32_t leader_id,
                        struct slice host, uint16_t port, int32_t leader_epoch)
{
    if (partition < 0 || partition >= t->partition_count || leader_id < 0 ||
        leader_epoch <= t->leaders[partition].epoch)
        return;
    client_learn_broker(cl, leader_id, host, port);
    leader_update(t, partition, leader_id, leader_epoch);
}

static void topic_apply(struct topic *t, const Sluice__TopicInfo *info)
{
    t->is_known = true;
    const Sluice__Error *e = info->error;
    if (e && e->has_code && e->code != OK) {
        const struct wire_error w =
            wire_error_result(err_from_wire(e->code), (enum err_class)e->class_, slice_of(NULL, 0));
        topic_set_error(t, w.code, w.err_class, e->message);
        return;
    }
    topic_set_error(t, OK, CLASS_NONE, NULL);
    struct uuid id = {0};
    const bool has_id = info->has_topic_id && info->topic_id.len == sizeof id.bytes;
    if (has_id)
        memcpy(id.bytes, info->topic_id.data, sizeof id.bytes);
    if (has_id != t->has_id || memcmp(&id, &t->id, sizeof id)) {
        /* Another topic of that name: nothing of the old one holds, epochs neither. */
        topic_set_partitions(t, 0);
        t->id = id;
        t->has_id = has_id;
    }
    int32_t count = 0;
    for (size_t i = 0; i < info->n_partition; i++) {
        const Sluice__PartitionInfo *p = info->partition[i];
        if (p->partition < TOPIC_PARTITIONS_MAX && (int32_t)p->partition >= count)
            count = (int32_t)p->partition + 1;
    }
    topic_set_partitions(t, count);
    for (size_t i = 0; i < info->n_partition; i++) {
        const Sluice__PartitionInfo *p = info->partition[i];
        if (p->partition < TOPIC_PARTITIONS_MAX)
            leader_update(t, (int32_t)p->partition, p->has_leader ? p->leader : -1,
                          p->has_leader_epoch ? p->leader_epoch : 0);
    }
}

static void problem_set(struct client *cl, const struct wire_error *w, size_t address_at)
{
    char text[ADDRESS_TEXT];
    mem_free(cl->problem_text);
    cl->problem_code = w->code;
    cl->problem_class = w->err_class;
    cl->problem_text = NULL;
    const struct slice what = w->message.size ? w->message : slice_str(err_text(w->code));
    if (w->code)
        cl->problem_text =
            mem_printf("metad at %s: %.*s", address_text(&cl->metad.addresses[address_at], text),
                       (int)what.size, (const char *)what.data);
}

const char *client_metad_text(const struct client *cl, char text[NODE_TEXT])
{
    char address[ADDRESS_TEXT];
    snprintf(text, NODE_TEXT, "metad at %s", address_text(link_address(&cl->metad), address));
    return text;
}

void client_explain(const struct client *cl, const struct topic *t, struct buf *out)
{
    char text[NODE_TEXT];
    if (t && t->is_known && t->error)
        buf_append_str(out, t->error_text ? t->error_text : err_text(t->error));
    else if (cl->problem_code)
        buf_append_str(out, cl->problem_text);
    else
        buf_printf(out, "no answer yet from %s", client_metad_text(cl, text));
}

struct wire_error client_topic_error(const struct client *cl, const struct topic *t)
{
    struct wire_error w = wire_error_of(OK);
    if (t->is_known && t->error) {
        w.code = t->error;
        w.err_class = t->error_class;
    } else if (!t->is_known && cl->refusals >= cl->metad.address_count) {
        w.code = cl->problem_code;
        w.err_class = cl->problem_class;
    }
    return w;
}

/* --- calls -------------------------------------------------------------------------------------
 */

void call_encode(uint32_t api, const ProtobufCMessage *body, struct buf *out)
{
    const size_t size = protobuf_c_message_get_packed_size(body);
    uint8_t *p = buf_reserve(out, 2 * VARINT_MAX);
    out->size += (size_t)(write_varint(write_tag(p, api, 2), size) - p);
    msg_pack(body, out);
}

struct wire_error call_answer(uint32_t api, err e, struct slice response, struct slice *body)
{
    struct msg_peek peek;
    if (e)
        return wire_error_of(e == E_CANCELLED ? E_NETWORK : e);
    if (msg_peek_response(response, &peek))
        return wire_error_of(E_CORRUPT);
    if (peek.error.size)
        return wire_error_read(peek.error);
    if (peek.body_field != api)
        return wire_error_of(E_CORRUPT);
    *body = peek.body;
    return wire_error_of(OK);
}

static void call_end(struct call *c, const struct wire_error *error, struct slice response)
{
    struct client *cl = c->client;
    DL_DELETE(cl->calls, c);
    timer_stop(cl->loop, &c->timer);
    buf_deinit(&c->field);
    c->done(c, error, response);
}

/* The last failure is why it took too long. */
static void on_call_deadline(struct call *c)
{
    struct client *cl = c->client;
    struct buf text = {0};
    struct wire_error error = wire_error_of(E_TIMED_OUT);
    buf_printf(&text, "not done in time; ");
    if (c->last.code && (c->last.code != SLUICE_E_NETWORK || !cl->problem_code))
        buf_printf(&text, "the last try: %s", c->last.text);
    else
        client_explain(cl, NULL, &text);
    error.message = buf_slice(&text);
    call_end(c, &error, slice_of(NULL, 0));
    buf_deinit(&text);
}

static void call_arm(struct call *c, int64_t delay_us);

static void on_call_timer(void *arg)
{
    struct call *c = arg;
    if (loop_now_us(c->client->loop) >= c->deadline_us) {
        on_call_deadline(c);
        return;
    }
    c->waits = false;
    call_arm(c, INT64_MAX);
    pump_soon(c->client);
}

/* The timer of a call that is not sent is its next moment: its retry, if it waits for one, else its
 * deadline. One that is sent has the deadline of its request. */
static void call_arm(struct call *c, int64_t delay_us)
{
    struct client *cl = c->client;
    if (c->deadline_us == INT64_MAX && delay_us == INT64_MAX)
        return;
    const int64_t left_us =
        c->deadline_us == INT64_MAX ? INT64_MAX : c->deadline_us - loop_now_us(cl->loop);
    timer_start(cl->loop, &c->timer, delay_us < left_us ? delay_us : left_us, on_call_timer, c);
}

static void on_call_answer(void *arg, err e, struct slice response)
{
    struct call *c = arg;
    struct client *cl = c->client;
    struct slice body = {0};
    const struct wire_error error = call_answer(c->api, e, response, &body);
    c->is_sent = false;
    if (cl->is_closing)
        return; /* client_free ends it */
    if (e == E_TIMED_OUT)
        link_reset(&cl->metad, E_TIMED_OUT);
    /* Not a metad: perhaps another of the addresses is. */
    const bool is_elsewhere =
        error.code == E_WRONG_ROLE && c->failures + 1 < cl->metad.address_count;
    if (is_elsewhere)
        link_reset(&cl->metad, E_WRONG_ROLE);
    if (c->once || !(is_elsewhere || class_is_retriable(error.err_class))) {
        call_end(c, &error, body);
        return;
    }
    char text[NODE_TEXT];
    problem_wire(&c->last, &error, api_name(c->api), client_metad_text(cl, text));
    c->failures++;
    if (loop_now_us(cl->loop) >= c->deadline_us) {
        on_call_deadline(c);
        return;
    }
    c->waits = true;
    call_arm(c, backoff_us(cl->settings->retry_backoff_us, cl->settings->retry_backoff_max_us,
                           c->failures, cl->rng));
}

static void call_send(struct client *cl, struct call *c)
{
    const int64_t left_us =
        c->deadline_us == INT64_MAX ? INT64_MAX : c->deadline_us - loop_now_us(cl->loop);
    const int64_t answer_us = cl->settings->request_timeout_us + c->answer_us;
    const struct rpc_piece piece = {.data = buf_slice(&c->field)};
    c->is_sent = true;
    timer_stop(cl->loop, &c->timer);
    link_send(&cl->metad, &piece, 1, left_us < answer_us ? (left_us > 0 ? left_us : 1) : answer_us,
              on_call_answer, c);
}

void client_call(struct client *cl, struct call *c)
{
    c->client = cl;
    c->is_sent = c->waits = false;
    c->failures = 0;
    problem_none(&c->last);
    c->timer = (struct timer){0};
    DL_APPEND(cl->calls, c);
    call_arm(c, INT64_MAX);
    pump_soon(cl);
}

/* --- metadata ----------------------------------------------------------------------------------
 */

/* A topic that was never there may be created; one that was has been deleted on purpose. */
static bool is_stranger(const struct topic *t)
{
    return !t->has_id;
}

static size_t strangers(const struct client *cl)
{
    size_t count = 0;
    for (const struct topic *t = cl->topics; t; t = t->hh.next)
        count += is_stranger(t);
    return count;
}

/* Topics that were never there, to be created, or all; watch_version 0: answer at once. */
static void metadata_encode(struct client *cl, bool creates, uint64_t watch_version,
                            struct buf *out)
{
    Sluice__MetadataRequest m = SLUICE__METADATA_REQUEST__INIT;
    const size_t count = HASH_COUNT(cl->topics);
    m.topic = mem_alloc((count + 1) * sizeof *m.topic);
    for (struct topic *t = cl->topics; t; t = t->hh.next) {
        if (!creates || is_stranger(t))
            m.topic[m.n_topic++] = t->name;
    }
    m.has_allow_auto_topic_creation = m.allow_auto_topic_creation = creates;
    m.has_watch_version = watch_version > 0;
    m.watch_version = watch_version;
    m.has_max_wait_ms = watch_version > 0;
    m.max_wait_ms = WATCH_WAIT_MS;
    call_encode(API_METADATA, &m.base, out);
    mem_free(m.topic);
}

static bool is_everything_known(const struct client *cl)
{
    for (const struct topic *t = cl->topics; t; t = t->hh.next) {
        if (!t->is_known || t->error)
            return false;
    }
    return true;
}

static void on_refresh_due(void *arg)
{
    client_refresh(arg);
}

/* When to ask again without being asked to. */
static void refresh_plan(struct client *cl)
{
    const struct settings *s = cl->settings;
    int64_t wait_us = s->metadata_max_age_us;
    if (!cl->topics)
        return;
    if (is_everything_known(cl) && cl->metadata_is_fresh)
        cl->refresh_failures = 0;
    else
        wait_us = backoff_us(s->retry_backoff_us, s->retry_backoff_max_us, ++cl->refresh_failures,
                             cl->rng);
    timer_start(cl->loop, &cl->refresh_timer, wait_us, on_refresh_due, cl);
}

static err metadata_apply(struct client *cl, struct slice body)
{
    struct arena arena;
    arena_init(&arena, METADATA_BYTES_MAX);
    void *message;
    const char *what = "";
    const err e = msg_unpack(&sluice__metadata_response__descriptor, body, &arena, &message, &what);
    if (e) {
        struct wire_error w = wire_error_of(E_CORRUPT);
        w.message = slice_str(what);
        problem_set(cl, &w, cl->metad.at);
        arena_deinit(&arena);
        return E_CORRUPT;
    }
    const Sluice__MetadataResponse *m = message;
    cl->version = m->version;
    for (size_t i = 0; i < m->n_broker; i++) {
        const Sluice__BrokerInfo *b = m->broker[i];
        if (b->has_id && b->host)
            client_learn_broker(cl, b->id, slice_str(b->host), (uint16_t)b->port);
    }
    for (size_t i = 0; i < m->n_topic; i++) {
        struct topic *t = NULL;
        if (m->topic[i]->name)
            HASH_FIND_STR(cl->topics, m->topic[i]->name, t);
        if (t)
            topic_apply(t, m->topic[i]);
    }
    arena_deinit(&arena);
    cl->problem_code = OK;
    return OK;
}

static void on_refreshed(struct call *c, const struct wire_error *error, struct slice response)
{
    struct client *cl = c->client;
    cl->is_refreshing = false;
    if (cl->is_closing)
        return;
    if (error->code && error->code != E_NETWORK)
        problem_set(cl, error, cl->metad.at);
    if (!error->code || class_is_retriable(error->err_class)) {
        cl->refusals = 0;
    } else {
        cl->refusals++;
        link_reset(&cl->metad, error->code);
    }
    cl->metadata_is_fresh = !error->code && metadata_apply(cl, response) == OK;
    cl->refreshed_at_us = loop_now_us(cl->loop);
    if (cl->refresh_is_partial) {
        cl->metadata_is_fresh = false; /* the version is of all topics, what was told is not */
        cl->refreshed_at_us = 0;
        client_refresh(cl);
    }
    refresh_plan(cl);
    cl->events->on_metadata(cl->user);
    pump_soon(cl);
}

static void on_watched(struct call *c, const struct wire_error *error, struct slice response)
{
    struct client *cl = c->client;
    const uint64_t before = cl->version;
    cl->is_watching = false;
    if (cl->is_closing)
        return;
    if (error->code || metadata_apply(cl, response)) {
        /* The connection broke, or metad cannot answer: see what is true first. */
        cl->metadata_is_fresh = false;
        client_refresh(cl);
    } else if (cl->version != before) {
        refresh_plan(cl);
        cl->events->on_metadata(cl->user);
    }
    pump_soon(cl);
}

static void refresh_send(struct client *cl)
{
    cl->wants_refresh = false;
    cl->is_refreshing = true;
    /* Topics wanted from here on are not part of it. */
    cl->refresh = (struct call){
        .api = API_METADATA, .deadline_us = INT64_MAX, .done = on_refreshed, .once = true};
    /* A request that may create names no topic that was deleted: then another follows, for all. */
    const size_t unknown = strangers(cl);
    const bool creates = cl->settings->auto_create && unknown > 0 && !cl->refresh_is_partial;
    cl->refresh_is_partial = creates && unknown < HASH_COUNT(cl->topics);
    metadata_encode(cl, creates, 0, &cl->refresh.field);
    client_call(cl, &cl->refresh);
}

static void watch_send(struct client *cl)
{
    cl->is_watching = true;
    cl->watch = (struct call){.api = API_METADATA,
                              .deadline_us = INT64_MAX,
                              .done = on_watched,
                              .once = true,
                              .answer_us = (int64_t)WATCH_WAIT_MS * 1000};
    metadata_encode(cl, false, cl->version, &cl->watch.field);
    client_call(cl, &cl->watch);
}

void client_refresh(struct client *cl)
{
    cl->wants_refresh = true;
    pump_soon(cl);
}

/* Refreshes that errors ask for come no faster than the retry backoff. */
static bool may_refresh(struct client *cl)
{
    if (!cl->topics || cl->is_refreshing || !cl->wants_refresh)
        return false;
    const int64_t wait_us =
        cl->refreshed_at_us + cl->settings->retry_backoff_us - loop_now_us(cl->loop);
    if (wait_us <= 0 || cl->refreshed_at_us == 0)
        return true;
    /* A topic nobody asked about before cannot wait. */
    for (const struct topic *t = cl->topics; t; t = t->hh.next) {
        if (!t->is_known && cl->refresh_failures == 0)
            return true;
    }
    timer_start(cl->loop, &cl->refresh_timer, wait_us, on_refresh_due, cl);
    return false;
}

/* --- the pump: sends what waits for metad
 * ---------------------------------------------------------- */

static void pump(struct deferred *d)
{
    struct client *cl = (struct client *)((char *)d - offsetof(struct client, pump));
    if (cl->is_closing)
        return;
    if (may_refresh(cl))
        refresh_send(cl);
    if (cl->topics && cl->version && cl->metadata_is_fresh && !cl->is_watching &&
        !cl->is_refreshing)
        watch_send(cl);
    if (!cl->calls || !link_is_usable(&cl->metad))
        return;
    for (struct call *c = cl->calls; c; c = c->next) {
        if (!c->is_sent && !c->waits)
            call_send(cl, c);
    }
}

static void on_metad_change(void *user, struct link *k)
{
    struct client *cl = user;
    if (cl->is_closing)
        return;
    if (k->is_ready)
        cl->problem_code = OK;
    if (k->why && k->why != cl->problem_code) {
        struct wire_error w = wire_error_of(k->why);
        if (k->why_errno)
            w.message = slice_str(strerrordesc_np(k->why_errno));
        problem_set(cl, &w, k->why_at);
    }
    pump_soon(cl);
}

/* --- life --------------------------------------------------------------------------------------
 */

struct client *client_new(struct loop *l, const struct settings *settings, struct rng *rng,
                          const struct client_events *events, void *user)
{
    struct client *cl = MEM_NEW(struct client);
    *cl = (struct client){.loop = l,
                          .settings = settings,
                          .rng = rng,
                          .events = events,
                          .user = user,
                          .pump = {.fn = pump}};
    link_init(&cl->metad, l, settings, rng, settings->bootstrap, settings->bootstrap_count,
              on_metad_change, cl);
    return cl;
}

void client_free(struct client *cl)
{
    cl->is_closing = true;
    link_deinit(&cl->metad);
    struct node *n, *next_node;
    HASH_ITER(hh, cl->nodes, n, next_node)
    {
        HASH_DEL(cl->nodes, n);
        link_deinit(&n->link);
        mem_free(n);
    }
    const struct wire_error cancelled = wire_error_of(E_CANCELLED);
    while (cl->calls)
        call_end(cl->calls, &cancelled, slice_of(NULL, 0));
    struct topic *t, *next_topic;
    HASH_ITER(hh, cl->topics, t, next_topic)
    topic_free(cl, t);
    timer_stop(cl->loop, &cl->refresh_timer);
    mem_free(cl->problem_text);
    mem_free(cl);
}

struct loop *client_loop(const struct client *cl)
{
    return cl->loop;
}

const struct settings *client_settings(const struct client *cl)
{
    return cl->settings;
}
