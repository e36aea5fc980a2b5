/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests in, responses out. A call is one request: it puts an operation per
 * topic (or resource) into the queue and answers when the last of them is told.
 *
 * controller_serve brings a request from the loop of its connection to the
 * controller's loop and its answer, serialized, back: by mail, both ways.
 */
#include <stdatomic.h>

#include "broker/controller/controller_priv.h"
#include "proto/base/check.h"
#include "proto/base/diag.h"
#include "proto/base/limits.h"
#include "proto/schema/configs.pb-c.h"
#include "proto/schema/topic_admin.pb-c.h"

enum { CALL_ARENA_BYTES = 16 * MIB };

struct call {
    struct controller *c;
    const struct call_kind *kind;
    const void *message;
    controller_done_fn *done;
    void *arg;
    bool is_validation, is_client;
    struct arena arena;
    uint64_t version;
    size_t open; /* tasks that were not told yet */
    size_t count;
    struct task tasks[];
};

struct call_kind {
    uint32_t api;
    size_t (*count)(const void *message);
    uint32_t (*timeout_ms)(const void *message);
    bool (*is_validation)(const void *message);
    void (*fill)(struct call *call);
    void (*answer)(struct call *call);
};

bool task_is_validation(const struct task *t)
{
    return t->call->is_validation;
}

bool task_is_client(const struct task *t)
{
    return t->call->is_client;
}

const char *task_keep(struct task *t, const char *text)
{
    const char *kept = arena_printf(&t->call->arena, "%s", text);
    return kept != NULL ? kept : "";
}

/* --- answers --------------------------------------------------------------------- */

static char *mutable(const char *s)
{
    return (char *)(uintptr_t)s;
}

/* NULL: it was done. */
static Sluice__Error *error_of(struct task *t)
{
    if (t->op.result == OK)
        return NULL;
    Sluice__Error *error = arena_alloc(&t->call->arena, sizeof *error);
    if (error == NULL)
        return NULL;
    sluice__error__init(error);
    error->has_code = 1;
    error->code = err_wire_code(t->op.result);
    error->has_class_ = 1;
    error->class_ = (int32_t)err_wire_class(t->op.result);
    error->message = (char *)t->op.why.data;
    return error;
}

static void answer_topics(struct call *call)
{
    Sluice__TopicsResponse response = SLUICE__TOPICS_RESPONSE__INIT;
    Sluice__TopicResult *results = mem_alloc((call->count + 1) * sizeof *results);
    Sluice__TopicResult **list = mem_alloc((call->count + 1) * sizeof *list);
    for (size_t i = 0; i < call->count; i++) {
        struct task *t = &call->tasks[i];
        Sluice__TopicResult *r = list[i] = &results[i];
        sluice__topic_result__init(r);
        r->name = mutable(t->result_name);
        r->error = error_of(t);
        const bool is_done = t->op.result == OK;
        r->has_topic_id = is_done && t->has_topic_id;
        r->topic_id =
            (ProtobufCBinaryData){.len = sizeof t->topic_id.bytes, .data = t->topic_id.bytes};
        r->has_partitions = is_done && t->partitions > 0;
        r->partitions = t->partitions;
        r->has_replication_factor = is_done && t->replication_factor > 0;
        r->replication_factor = t->replication_factor;
    }
    response.n_topic = call->count;
    response.topic = list;
    response.has_version = call->version > 0;
    response.version = call->version;
    call->done(call->arg, OK, "", &response);
    mem_free(list);
    mem_free(results);
}

static void answer_configs(struct call *call)
{
    Sluice__AlterConfigsResponse response = SLUICE__ALTER_CONFIGS_RESPONSE__INIT;
    Sluice__ConfigsOf *results = mem_alloc((call->count + 1) * sizeof *results);
    Sluice__ConfigsOf **list = mem_alloc((call->count + 1) * sizeof *list);
    for (size_t i = 0; i < call->count; i++) {
        const Sluice__AlterConfigsOf *a = call->tasks[i].item;
        list[i] = &results[i];
        sluice__configs_of__init(list[i]);
        list[i]->resource = a->resource;
        list[i]->error = error_of(&call->tasks[i]);
    }
    response.n_result = call->count;
    response.result = list;
    response.has_version = call->version > 0;
    response.version = call->version;
    call->done(call->arg, OK, "", &response);
    mem_free(list);
    mem_free(results);
}

/* --- kinds ----------------------------------------------------------------------- */

static size_t create_count(const void *message)
{
    return ((const Sluice__CreateTopicsRequest *)message)->n_topic;
}

static uint32_t create_timeout_ms(const void *message)
{
    return ((const Sluice__CreateTopicsRequest *)message)->timeout_ms;
}

static bool create_is_validation(const void *message)
{
    return ((const Sluice__CreateTopicsRequest *)message)->validate_only;
}

static void create_fill(struct call *call)
{
    const Sluice__CreateTopicsRequest *m = call->message;
    for (size_t i = 0; i < call->count; i++) {
        call->tasks[i].op.decide = topic_create_decide;
        call->tasks[i].item = m->topic[i];
        call->tasks[i].result_name = m->topic[i]->name;
    }
}

static size_t delete_count(const void *message)
{
    const Sluice__DeleteTopicsRequest *m = message;
    return m->n_topic + m->n_topic_id;
}

static uint32_t delete_timeout_ms(const void *message)
{
    return ((const Sluice__DeleteTopicsRequest *)message)->timeout_ms;
}

static bool is_never_validation(const void *message)
{
    (void)message;
    return false;
}

static void delete_fill(struct call *call)
{
    const Sluice__DeleteTopicsRequest *m = call->message;
    for (size_t i = 0; i < call->count; i++) {
        struct task *t = &call->tasks[i];
        t->op.decide = topic_delete_decide;
        if (i < m->n_topic) {
            t->name = m->topic[i];
            t->result_name = m->topic[i];
        } else {
            const ProtobufCBinaryData *id = &m->topic_id[i - m->n_topic];
            /* An empty id names nothing; one byte does not either, and is told so. */
            t->id = id->len > 0 ? slice_of(id->data, id->len) : slice_of("", 1);
        }
    }
}

static size_t grow_count(const void *message)
{
    return ((const Sluice__CreatePartitionsRequest *)message)->n_topic;
}

static uint32_t grow_timeout_ms(const void *message)
{
    return ((const Sluice__CreatePartitionsRequest *)message)->timeout_ms;
}

static bool grow_is_validation(const void *message)
{
    return ((const Sluice__CreatePartitionsRequest *)message)->validate_only;
}

static void grow_fill(struct call *call)
{
    const Sluice__CreatePartitionsRequest *m = call->message;
    for (size_t i = 0; i < call->count; i++) {
        call->tasks[i].op.decide = topic_grow_decide;
        call->tasks[i].item = m->topic[i];
        call->tasks[i].result_name = m->topic[i]->name;
    }
}

static size_t alter_count(const void *message)
{
    return ((const Sluice__AlterConfigsRequest *)message)->n_alteration;
}

static uint32_t alter_timeout_ms(const void *message)
{
    return ((const Sluice__AlterConfigsRequest *)message)->timeout_ms;
}

static bool alter_is_validation(const void *message)
{
    return ((const Sluice__AlterConfigsRequest *)message)->validate_only;
}

static err no_resource_decide(struct controller *c, struct operation *op, struct write *w,
                              struct buf *why)
{
    (void)c;
    (void)op;
    (void)w;
    buf_append_str(why, "an alteration names neither a topic nor a broker");
    return E_INVALID_REQUEST;
}

static decide_fn *alter_decide(const Sluice__AlterConfigsOf *a)
{
    const int32_t type = a->resource != NULL ? a->resource->type : 0;
    if (type == SLUICE__CONFIG_RESOURCE_TYPE__RESOURCE_TOPIC)
        return topic_configs_decide;
    if (type == SLUICE__CONFIG_RESOURCE_TYPE__RESOURCE_BROKER)
        return broker_configs_decide;
    return no_resource_decide;
}

static void alter_fill(struct call *call)
{
    const Sluice__AlterConfigsRequest *m = call->message;
    for (size_t i = 0; i < call->count; i++) {
        call->tasks[i].op.decide = alter_decide(m->alteration[i]);
        call->tasks[i].item = m->alteration[i];
    }
}

static const struct call_kind kinds[] = {
    {API_CREATE_TOPICS, create_count, create_timeout_ms, create_is_validation, create_fill,
     answer_topics},
    {API_DELETE_TOPICS, delete_count, delete_timeout_ms, is_never_validation, delete_fill,
     answer_topics},
    {API_CREATE_PARTITIONS, grow_count, grow_timeout_ms, grow_is_validation, grow_fill,
     answer_topics},
    {API_ALTER_CONFIGS, alter_count, alter_timeout_ms, alter_is_validation, alter_fill,
     answer_configs},
};

static const struct call_kind *kind_of(uint32_t api)
{
    size_t i = 0;
    while (kinds[i].api != api) {
        i++;
        CHECK(i < sizeof kinds / sizeof kinds[0]);
    }
    return &kinds[i];
}

/* --- calls ----------------------------------------------------------------------- */

static void call_free(struct call *call)
{
    for (size_t i = 0; i < call->count; i++)
        buf_deinit(&call->tasks[i].op.why);
    arena_deinit(&call->arena);
    mem_free(call);
}

/* E_NOT_CONTROLLER and the like are of the whole request: whoever asked asks elsewhere. */
static err common_error(const struct call *call)
{
    const err e = call->count > 0 ? call->tasks[0].op.result : OK;
    if (e != E_NOT_CONTROLLER && e != E_CANCELLED)
        return OK;
    for (size_t i = 1; i < call->count; i++)
        if (call->tasks[i].op.result != e)
            return OK;
    return e;
}

static void call_answer(struct call *call)
{
    const err e = common_error(call);
    if (e != OK)
        call->done(call->arg, e, (const char *)call->tasks[0].op.why.data, NULL);
    else
        call->kind->answer(call);
    call_free(call);
}

static void task_told(struct operation *op, err e, const char *why, uint64_t version)
{
    struct task *t = task_of(op);
    struct call *call = t->call;
    op->result = e;
    buf_deinit(&op->why);
    buf_append(&op->why, why, strlen(why) + 1);
    if (version > call->version) /* a refusal, too, is as of a version */
        call->version = version;
    if (--call->open == 0)
        call_answer(call);
}

static void submit(struct controller *c, uint32_t api, const void *message, bool is_client,
                   controller_done_fn *done, void *arg)
{
    const struct call_kind *kind = kind_of(api);
    const size_t count = kind->count(message);
    if (c->is_leaving || (c->office != OFFICE_HELD && c->office != OFFICE_READING)) {
        done(arg, E_NOT_CONTROLLER, "this broker is not the controller now", NULL);
        return;
    }
    if (count > CONTROLLER_QUEUE_MAX - atomic_load(&c->queued)) {
        done(arg, E_OVERLOADED, "the controller has too much to do", NULL);
        return;
    }
    struct call *call = mem_zalloc(sizeof *call + count * sizeof call->tasks[0]);
    call->c = c;
    call->kind = kind;
    call->message = message;
    call->done = done;
    call->arg = arg;
    call->is_validation = kind->is_validation(message);
    call->is_client = is_client;
    call->count = count;
    call->open = count;
    arena_init(&call->arena, CALL_ARENA_BYTES);
    kind->fill(call);
    if (count == 0) {
        call_answer(call);
        return;
    }
    const int64_t deadline = loop_now_us(c->loop) + (int64_t)kind->timeout_ms(message) * 1000;
    for (size_t i = 0; i < count; i++) {
        struct task *t = &call->tasks[i];
        t->call = call;
        t->op.finish = task_told;
        t->op.deadline_us = deadline;
        writes_queue(c, &t->op);
    }
}

void controller_submit(struct controller *c, uint32_t api, const void *message,
                       controller_done_fn *done, void *arg)
{
    submit(c, api, message, false, done, arg);
}

/* --- requests of connections ----------------------------------------------------- */

struct visit {
    struct mail mail;
    struct controller *c;
    struct request *r;
    struct loop *home;
    uint32_t api;
    const void *message; /* in the request's arena */
    err result;
    struct buf answer; /* the serialized response, or the sentence */
};

static void visit_back(struct mail *m)
{
    struct visit *v = (struct visit *)m;
    if (v->result == OK)
        service_reply_forwarded(
            v->r, &(struct msg_peek){.body_field = v->api, .body = buf_slice(&v->answer)});
    else
        service_reply_error(v->r, v->result, "%.*s", (int)v->answer.size,
                            (const char *)v->answer.data);
    buf_deinit(&v->answer);
    mem_free(v);
}

static void visit_done(void *arg, err e, const char *why, const void *response)
{
    struct visit *v = arg;
    /* E_CANCELLED does not travel; to the asker it is the same as a broker that went away. */
    v->result = e == E_CANCELLED ? E_NOT_CONTROLLER : e;
    if (e == OK)
        msg_pack(response, &v->answer);
    else
        buf_append_str(&v->answer, why);
    v->mail.fn = visit_back;
    loop_post(v->home, &v->mail);
}

static void visit_arrived(struct mail *m)
{
    struct visit *v = (struct visit *)m;
    submit(v->c, v->api, v->message, true, visit_done, v);
}

void controller_serve(struct controller *c, struct request *r, const void *message)
{
    struct visit *v = MEM_NEW(struct visit);
    v->c = c;
    v->r = r;
    v->home = service_loop(r);
    v->api = r->api;
    v->message = message;
    v->mail.fn = visit_arrived;
    loop_post(c->loop, &v->mail);
}

/* --- confirmed deletions --------------------------------------------------------- */

struct confirmation {
    struct operation op;
    int32_t broker_id;
    struct uuid topic_id;
};

static err confirm_decide(struct controller *c, struct operation *op, struct write *w,
                          struct buf *why)
{
    (void)c;
    (void)why;
    const struct confirmation *cf = (struct confirmation *)op;
    const struct tombstone *t = cluster_tombstone(write_view(w), &cf->topic_id);
    if (t == NULL)
        return OK;
    int32_t *waiting = mem_alloc((t->waiting_count + 1) * sizeof *waiting);
    uint32_t count = 0;
    for (uint32_t i = 0; i < t->waiting_count; i++)
        if (t->waiting[i] != cf->broker_id)
            waiting[count++] = t->waiting[i];
    err e = OK;
    if (count < t->waiting_count)
        e = write_tombstone(w,
                            tombstone_new(&(struct tombstone){.id = t->id,
                                                              .name = t->name,
                                                              .node_version = t->node_version + 1,
                                                              .waiting = waiting,
                                                              .waiting_count = count}));
    mem_free(waiting);
    return e;
}

/* Not done is not lost: the broker confirms again while it sees the tombstone. */
static void confirm_told(struct operation *op, err e, const char *why, uint64_t version)
{
    (void)version;
    if (e != OK)
        diag(DIAG_DEBUG, "controller", "a confirmed deletion was not written", "error=%s why=%s",
             err_name(e), DIAG_STR(why));
    mem_free(op);
}

void controller_confirm_deleted(struct controller *c, int32_t broker_id,
                                const struct uuid *topic_id)
{
    if (c->office != OFFICE_HELD || atomic_load(&c->queued) >= CONTROLLER_QUEUE_MAX)
        return;
    struct confirmation *cf = MEM_NEW(struct confirmation);
    cf->op.decide = confirm_decide;
    cf->op.finish = confirm_told;
    cf->op.deadline_us = INT64_MAX;
    cf->broker_id = broker_id;
    cf->topic_id = *topic_id;
    writes_queue(c, &cf->op);
}
