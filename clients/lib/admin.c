/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The admin: each function makes a request, hands it to the loop as an
 * operation, waits, and turns the answer into a result of its own memory.
 *
 * An operation belongs to the loop from when it is posted until it is done, and
 * then to whoever waits for it; if that one was woken up, or its time is over, the
 * loop frees it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "clients/lib/admin_priv.h"
#include "proto/base/check.h"
#include "proto/base/limits.h"
#include "proto/schema/configs.pb-c.h"
#include "proto/schema/metadata.pb-c.h"
#include "proto/schema/topic_admin.pb-c.h"

enum { ANSWER_BYTES_MAX = 256 * MIB };

struct operation {
    struct mail mail;
    struct operation *prev, *next; /* of those that are not done */
    struct sluice_admin *admin;
    const char *tried;
    bool is_spread;
    struct call call;
    struct spread spread;
    /* With the admin's mutex. */
    bool is_done, is_abandoned;
    struct sluice_error error;
    struct buf response;
};

struct sluice_admin {
    struct shell shell;
    struct settings settings;
    struct client *client; /* the loop's */
    struct rng rng;
    struct operation *operations; /* the loop's */
    bool is_closing;
    pthread_mutex_t mutex; /* guards version, and of operations what is said there */
    uint64_t version;      /* what this admin's changes need */
};

/* --- operations: on the loop
 * -------------------------------------------------------------------------- */

static void operation_free(struct operation *o)
{
    buf_deinit(&o->call.field);
    buf_deinit(&o->response);
    for (size_t i = 0; i < o->spread.count; i++)
        mem_free((char *)(uintptr_t)o->spread.items[i].topic);
    mem_free(o->spread.items);
    mem_free(o);
}

static void operation_done(struct operation *o)
{
    struct sluice_admin *a = o->admin;
    DL_DELETE(a->operations, o);
    pthread_mutex_lock(&a->mutex);
    o->is_done = true;
    const bool is_abandoned = o->is_abandoned;
    pthread_mutex_unlock(&a->mutex);
    if (is_abandoned)
        operation_free(o);
    shell_notify(&a->shell);
}

static void on_call_done(struct call *c, const struct wire_error *error, struct slice response)
{
    struct operation *o = (struct operation *)((char *)c - offsetof(struct operation, call));
    char where[NODE_TEXT];
    if (error->code)
        problem_wire(&o->error, error, o->tried, client_metad_text(o->admin->client, where));
    else
        buf_append(&o->response, response.data, response.size);
    operation_done(o);
}

static void on_spread_done(struct spread *s)
{
    operation_done((struct operation *)((char *)s - offsetof(struct operation, spread)));
}

static void on_operation(struct mail *m)
{
    struct operation *o = (struct operation *)m;
    struct sluice_admin *a = o->admin;
    DL_APPEND(a->operations, o);
    if (a->is_closing)
        operation_done(o);
    else if (o->is_spread)
        spread_start(&o->spread, a->client, &a->rng);
    else
        client_call(a->client, &o->call);
}

static void poke(struct sluice_admin *a)
{
    for (struct operation *o = a->operations; o; o = o->next) {
        if (o->is_spread)
            spread_poke(&o->spread);
    }
}

static void on_metadata(void *user)
{
    poke(user);
}

static void on_node(void *user, struct node *n)
{
    (void)n;
    poke(user);
}

static const struct client_events events = {.on_metadata = on_metadata, .on_node = on_node};

/* --- operations: application threads
 * -------------------------------------------------------------------- */

static struct operation *operation_new(struct sluice_admin *a, const char *tried)
{
    struct operation *o = MEM_NEW(struct operation);
    o->mail.fn = on_operation;
    o->admin = a;
    o->tried = tried;
    o->call.done = on_call_done;
    o->spread.done = on_spread_done;
    return o;
}

/* The loop gives up a little before the caller does, so that the caller hears why. */
static int64_t loop_deadline_us(struct shell *s, struct shell_call *call)
{
    const int64_t deadline_us = shell_deadline_us(s, call),
                  left_us = deadline_us - loop_clock_us(s->loop);
    const int64_t spare_us = left_us / 10 < 20000 ? left_us / 10 : 20000;
    return deadline_us == INT64_MAX ? INT64_MAX : deadline_us - spare_us;
}

/* Posts o, and waits for it. SLUICE_OK: it was answered, and is the caller's to free. Otherwise it
 * is freed. */
static int operation_run(struct operation *o, struct shell_call *call, struct sluice_error *error)
{
    struct sluice_admin *a = o->admin;
    o->call.deadline_us = o->spread.deadline_us = loop_deadline_us(&a->shell, call);
    loop_post(a->shell.loop, &o->mail);
    err e = OK;
    pthread_mutex_lock(&a->mutex);
    while (!e && !o->is_done) {
        const uint32_t seen = shell_look(&a->shell);
        pthread_mutex_unlock(&a->mutex);
        e = shell_wait(&a->shell, call, seen);
        pthread_mutex_lock(&a->mutex);
    }
    const char *tried = o->tried;
    const bool is_done = o->is_done;
    o->is_abandoned = !is_done;
    pthread_mutex_unlock(&a->mutex);
    if (!is_done)
        return problem(error, e, tried, "", "%s",
                       e == E_CANCELLED ? "woken up; it may have been done" : "no answer in time");
    if (o->error.code) {
        const int code = problem_copy(error, &o->error);
        operation_free(o);
        return code;
    }
    return SLUICE_OK;
}

static int begin(struct sluice_admin *a, struct shell_call *call, int64_t timeout_ms,
                 const char *tried, struct sluice_error *error)
{
    const err e =
        shell_begin(&a->shell, call, timeout_ms < 0 ? a->settings.api_timeout_ms : timeout_ms);
    if (e)
        return problem(error, e, tried, "", "%s",
                       e == E_CANCELLED ? "woken up"
                                        : "a call that may block was made from a callback");
    return call->may_block ? SLUICE_OK : problem(error, E_TIMED_OUT, tried, "", "the timeout is 0");
}

/* One request to metad. *message: in the result's arena. */
static int ask(struct sluice_admin *a, struct shell_call *call, const char *tried, uint32_t api,
               const ProtobufCMessage *request, const ProtobufCMessageDescriptor *answer,
               struct arena *arena, void *message, struct sluice_error *error)
{
    struct operation *o = operation_new(a, tried);
    o->call.api = api;
    call_encode(api, request, &o->call.field);
    const int code = operation_run(o, call, error);
    if (code)
        return code;
    void *unpacked;
    const char *what = "";
    const err e = msg_unpack(answer, buf_slice(&o->response), arena, &unpacked, &what);
    operation_free(o);
    if (e)
        return problem(error, E_CORRUPT, tried, "", "the answer is malformed: %s", what);
    *(void **)message = unpacked;
    return SLUICE_OK;
}

static void version_note(struct sluice_admin *a, bool has_version, uint64_t version)
{
    pthread_mutex_lock(&a->mutex);
    if (has_version && version > a->version)
        a->version = version;
    pthread_mutex_unlock(&a->mutex);
}

/* --- results: an arena with a public struct in front
 * --------------------------------------------------------- */

struct result {
    struct arena arena;
    int code; /* of the first item that failed */
    const struct sluice_error *first;
    _Alignas(16) uint8_t public[];
};

static struct result *result_new(size_t public_size)
{
    struct result *r = mem_zalloc(sizeof *r + public_size);
    arena_init(&r->arena, ANSWER_BYTES_MAX);
    return r;
}

static void result_free(struct result *r)
{
    arena_deinit(&r->arena);
    mem_free(r);
}

static void public_free(void *public)
{
    if (public)
        result_free((struct result *)((uint8_t *)public - offsetof(struct result, public)));
}

static void *result_array(struct result *r, size_t count, size_t size)
{
    void *p = arena_alloc(&r->arena, count ? count * size : 1);
    CHECK(p);
    memset(p, 0, count * size);
    return p;
}

/* The strings of an unpacked message live in the same arena. */
static const char *text_or_empty(const char *s)
{
    return s ? s : "";
}

static const struct sluice_error *result_error(struct result *r, const struct wire_error *w,
                                               const char *tried, const char *kind,
                                               const char *name)
{
    if (!w->code)
        return NULL;
    struct sluice_error *error = result_array(r, 1, sizeof *error);
    char where[sizeof error->where];
    snprintf(where, sizeof where, "%s %.*s", kind, TOPIC_NAME_MAX, name);
    problem_wire(error, w, tried, where);
    if (!r->first) {
        r->first = error;
        r->code = error->code;
    }
    return error;
}

static const struct sluice_error *item_error(struct result *r, const Sluice__Error *e,
                                             const char *tried, const char *kind, const char *name)
{
    if (!e || !e->code)
        return NULL;
    const struct wire_error w = wire_error_result(err_from_wire(e->code), (enum err_class)e->class_,
                                                  slice_str(text_or_empty(e->message)));
    return result_error(r, &w, tried, kind, name);
}

/* Gives the result to the caller, or frees it if it is not wanted; tells of the first item that
 * failed. */
static int result_give(struct result *r, void *out, struct sluice_error *error)
{
    const int code = r->first ? problem_copy(error, r->first) : problem_none(error);
    if (out)
        *(void **)out = r->public;
    else
        result_free(r);
    return code;
}

static void id_text(char text[33], ProtobufCBinaryData id)
{
    struct uuid u;
    text[0] = 0;
    if (id.len != sizeof u.bytes)
        return;
    memcpy(u.bytes, id.data, sizeof u.bytes);
    uuid_text(&u, text);
}

static void none_yet(void *out)
{
    if (out)
        *(void **)out = NULL;
}

/* --- describe
 * ---------------------------------------------------------------------------------------------------
 */

static void partition_fill(struct sluice_partition *p, const Sluice__PartitionInfo *m)
{
    *p = (struct sluice_partition){.partition = (int32_t)m->partition,
                                   .leader = m->has_leader ? m->leader : -1,
                                   .leader_epoch = m->leader_epoch,
                                   .partition_epoch = m->partition_epoch,
                                   .replicas = m->replica,
                                   .replica_count = m->n_replica,
                                   .isr = m->isr,
                                   .isr_count = m->n_isr,
                                   .eligible = m->eligible,
                                   .eligible_count = m->n_eligible};
}

static void topic_fill(struct result *r, struct sluice_topic *t, const Sluice__TopicInfo *m)
{
    struct sluice_partition *partitions = result_array(r, m->n_partition, sizeof *partitions);
    struct sluice_property *configs = result_array(r, m->n_config, sizeof *configs);
    for (size_t i = 0; i < m->n_partition; i++)
        partition_fill(&partitions[i], m->partition[i]);
    for (size_t i = 0; i < m->n_config; i++)
        configs[i] = (struct sluice_property){.key = text_or_empty(m->config[i]->key),
                                              .value = text_or_empty(m->config[i]->value)};
    *t = (struct sluice_topic){.name = text_or_empty(m->name),
                               .internal = m->internal,
                               .partitions = partitions,
                               .partition_count = m->n_partition,
                               .replication_factor =
                                   m->n_partition ? (uint32_t)m->partition[0]->n_replica : 0,
                               .min_insync_replicas = m->min_insync_replicas,
                               .configs = configs,
                               .config_count = m->n_config};
    id_text(t->id, m->topic_id);
    t->error = item_error(r, m->error, "describe", "topic", t->name);
}

static int topic_order(const void *a, const void *b)
{
    return strcmp(((const struct sluice_topic *)a)->name, ((const struct sluice_topic *)b)->name);
}

static int broker_order(const void *a, const void *b)
{
    const int32_t x = ((const struct sluice_broker *)a)->id,
                  y = ((const struct sluice_broker *)b)->id;
    return x < y ? -1 : x > y;
}

static void cluster_fill(struct result *r, struct sluice_cluster *c,
                         const Sluice__MetadataResponse *m, bool is_sorted)
{
    struct sluice_broker *brokers = result_array(r, m->n_broker, sizeof *brokers);
    struct sluice_topic *topics = result_array(r, m->n_topic, sizeof *topics);
    for (size_t i = 0; i < m->n_broker; i++)
        brokers[i] = (struct sluice_broker){.id = m->broker[i]->id,
                                            .port = (uint16_t)m->broker[i]->port,
                                            .host = text_or_empty(m->broker[i]->host),
                                            .rack = text_or_empty(m->broker[i]->rack),
                                            .incarnation = m->broker[i]->incarnation};
    for (size_t i = 0; i < m->n_topic; i++)
        topic_fill(r, &topics[i], m->topic[i]);
    qsort(brokers, m->n_broker, sizeof *brokers, broker_order);
    if (is_sorted)
        qsort(topics, m->n_topic, sizeof *topics, topic_order);
    *c = (struct sluice_cluster){.version = m->version,
                                 .cluster_id = text_or_empty(m->cluster_id),
                                 .controller_id = m->has_controller_id ? m->controller_id : -1,
                                 .brokers = brokers,
                                 .broker_count = m->n_broker,
                                 .topics = topics,
                                 .topic_count = m->n_topic};
}

int sluice_admin_describe(sluice_admin *admin, const char *const *topics, size_t count,
                          int64_t timeout_ms, struct sluice_cluster **out,
                          struct sluice_error *error)
{
    struct shell_call call;
    none_yet(out);
    int code = begin(admin, &call, timeout_ms, "describe", error);
    if (code)
        return code;
    Sluice__MetadataRequest m = SLUICE__METADATA_REQUEST__INIT;
    m.topic = (char **)(uintptr_t)topics;
    m.n_topic = count;
    m.has_all_topics = m.all_topics = !topics;
    pthread_mutex_lock(&admin->mutex);
    m.min_version = admin->version;
    pthread_mutex_unlock(&admin->mutex);
    m.has_min_version = m.min_version > 0;
    m.has_max_wait_ms = m.min_version > 0;
    m.max_wait_ms = (uint32_t)shell_left_ms(&admin->shell, &call);
    struct result *r = result_new(sizeof **out);
    Sluice__MetadataResponse *answer;
    code = ask(admin, &call, "describe", API_METADATA, &m.base,
               &sluice__metadata_response__descriptor, &r->arena, &answer, error);
    if (code) {
        result_free(r);
        return code;
    }
    cluster_fill(r, (struct sluice_cluster *)r->public, answer, !topics);
    return result_give(r, out, error);
}

void sluice_cluster_free(struct sluice_cluster *cluster)
{
    public_free(cluster);
}

/* --- topics
 * ------------------------------------------------------------------------------------------------------
 */

static void topics_fill(struct result *r, const Sluice__TopicsResponse *m, const char *tried)
{
    struct sluice_topic_results *all = (struct sluice_topic_results *)r->public;
    struct sluice_topic_result *topics = result_array(r, m->n_topic, sizeof *topics);
    for (size_t i = 0; i < m->n_topic; i++) {
        const Sluice__TopicResult *t = m->topic[i];
        topics[i] = (struct sluice_topic_result){.name = text_or_empty(t->name),
                                                 .partitions = t->partitions,
                                                 .replication_factor = t->replication_factor};
        id_text(topics[i].id, t->topic_id);
        topics[i].error = item_error(r, t->error, tried, "topic", topics[i].name);
    }
    *all = (struct sluice_topic_results){.topics = topics, .count = m->n_topic};
}

/* The three requests that are answered by a TopicsResponse. */
static int topics_ask(sluice_admin *a, struct shell_call *call, const char *tried, uint32_t api,
                      const ProtobufCMessage *request, size_t count,
                      struct sluice_topic_results **out, struct sluice_error *error)
{
    struct result *r = result_new(sizeof **out);
    Sluice__TopicsResponse *answer;
    int code = ask(a, call, tried, api, request, &sluice__topics_response__descriptor, &r->arena,
                   &answer, error);
    if (!code && answer->n_topic != count)
        code = problem(error, E_CORRUPT, tried, "", "the answer is about %zu topics instead of %zu",
                       answer->n_topic, count);
    if (code) {
        result_free(r);
        return code;
    }
    version_note(a, answer->has_version, answer->version);
    topics_fill(r, answer, tried);
    return result_give(r, out, error);
}

static uint32_t wait_ms(sluice_admin *a, struct shell_call *call)
{
    const int64_t left_ms = shell_left_ms(&a->shell, call);
    return left_ms < INT32_MAX ? (uint32_t)left_ms : INT32_MAX;
}

static Sluice__Property **properties_encode(struct arena *arena, const struct sluice_property *from,
                                            size_t count)
{
    Sluice__Property *all = arena_alloc(arena, (count + 1) * sizeof *all);
    Sluice__Property **at = arena_alloc(arena, (count + 1) * sizeof *at);
    CHECK(all && at);
    for (size_t i = 0; i < count; i++) {
        sluice__property__init(&all[i]);
        all[i].key = (char *)(uintptr_t)from[i].key;
        all[i].value = (char *)(uintptr_t)from[i].value;
        at[i] = &all[i];
    }
    return at;
}

static void new_topic_encode(struct arena *arena, const struct sluice_new_topic *from,
                             Sluice__NewTopic *to)
{
    sluice__new_topic__init(to);
    to->name = (char *)(uintptr_t)from->name;
    to->has_partitions = from->partitions != 0;
    to->partitions = from->partitions;
    to->has_replication_factor = from->replication_factor != 0;
    to->replication_factor = from->replication_factor;
    to->config = properties_encode(arena, from->configs, from->config_count);
    to->n_config = from->config_count;
    to->n_assignment = from->assignment_count;
    to->assignment = arena_alloc(arena, (from->assignment_count + 1) * sizeof *to->assignment);
    Sluice__ReplicaAssignment *all = arena_alloc(arena, (from->assignment_count + 1) * sizeof *all);
    CHECK(to->assignment && all);
    for (size_t i = 0; i < from->assignment_count; i++) {
        sluice__replica_assignment__init(&all[i]);
        all[i].broker = (int32_t *)(uintptr_t)from->assignment[i].brokers;
        all[i].n_broker = from->assignment[i].count;
        to->assignment[i] = &all[i];
    }
}

int sluice_admin_create_topics(sluice_admin *admin, const struct sluice_new_topic *topics,
                               size_t count, bool validate_only, int64_t timeout_ms,
                               struct sluice_topic_results **out, struct sluice_error *error)
{
    struct shell_call call;
    none_yet(out);
    const int code = begin(admin, &call, timeout_ms, "create topics", error);
    if (code)
        return code;
    struct arena arena;
    arena_init(&arena, ANSWER_BYTES_MAX);
    Sluice__CreateTopicsRequest m = SLUICE__CREATE_TOPICS_REQUEST__INIT;
    Sluice__NewTopic *all = arena_alloc(&arena, (count + 1) * sizeof *all);
    m.topic = arena_alloc(&arena, (count + 1) * sizeof *m.topic);
    CHECK(all && m.topic);
    m.n_topic = count;
    for (size_t i = 0; i < count; i++) {
        new_topic_encode(&arena, &topics[i], &all[i]);
        m.topic[i] = &all[i];
    }
    m.has_validate_only = m.validate_only = validate_only;
    m.has_timeout_ms = true;
    m.timeout_ms = wait_ms(admin, &call);
    const int result =
        topics_ask(admin, &call, "create topics", API_CREATE_TOPICS, &m.base, count, out, error);
    arena_deinit(&arena);
    return result;
}

int sluice_admin_delete_topics(sluice_admin *admin, const char *const *topics, size_t count,
                               int64_t timeout_ms, struct sluice_topic_results **out,
                               struct sluice_error *error)
{
    struct shell_call call;
    none_yet(out);
    const int code = begin(admin, &call, timeout_ms, "delete topics", error);
    if (code)
        return code;
    Sluice__DeleteTopicsRequest m = SLUICE__DELETE_TOPICS_REQUEST__INIT;
    m.topic = (char **)(uintptr_t)topics;
    m.n_topic = count;
    m.has_timeout_ms = true;
    m.timeout_ms = wait_ms(admin, &call);
    return topics_ask(admin, &call, "delete topics", API_DELETE_TOPICS, &m.base, count, out, error);
}

int sluice_admin_create_partitions(sluice_admin *admin, const char *topic, int32_t total,
                                   bool validate_only, int64_t timeout_ms,
                                   struct sluice_error *error)
{
    struct shell_call call;
    const int code = begin(admin, &call, timeout_ms, "create partitions", error);
    if (code)
        return code;
    Sluice__PartitionsOf of = SLUICE__PARTITIONS_OF__INIT, *of_at = &of;
    Sluice__CreatePartitionsRequest m = SLUICE__CREATE_PARTITIONS_REQUEST__INIT;
    of.name = (char *)(uintptr_t)topic;
    of.has_total = true;
    of.total = total;
    m.topic = &of_at;
    m.n_topic = 1;
    m.has_validate_only = m.validate_only = validate_only;
    m.has_timeout_ms = true;
    m.timeout_ms = wait_ms(admin, &call);
    return topics_ask(admin, &call, "create partitions", API_CREATE_PARTITIONS, &m.base, 1, NULL,
                      error);
}

void sluice_topic_results_free(struct sluice_topic_results *results)
{
    public_free(results);
}

/* --- configs
 * ------------------------------------------------------------------------------------------------------
 */

static const char *resource_kind(enum sluice_resource_type type)
{
    return type == SLUICE_RESOURCE_BROKER ? "broker" : "topic";
}

static void resource_encode(const struct sluice_resource *from, Sluice__ConfigResource *to)
{
    sluice__config_resource__init(to);
    to->has_type = true;
    to->type = (int32_t)from->type;
    to->name = (char *)(uintptr_t)from->name;
}

static void configs_fill(struct result *r, Sluice__ConfigsOf *const *from, size_t count,
                         const char *tried)
{
    struct sluice_configs_results *all = (struct sluice_configs_results *)r->public;
    struct sluice_configs *configs = result_array(r, count, sizeof *configs);
    for (size_t i = 0; i < count; i++) {
        const Sluice__ConfigsOf *m = from[i];
        struct sluice_config_entry *entries = result_array(r, m->n_entry, sizeof *entries);
        for (size_t k = 0; k < m->n_entry; k++)
            entries[k] = (struct sluice_config_entry){
                .key = text_or_empty(m->entry[k]->key),
                .value = text_or_empty(m->entry[k]->value),
                .source = (enum sluice_config_source)m->entry[k]->source,
                .read_only = m->entry[k]->read_only,
                .doc = text_or_empty(m->entry[k]->doc)};
        const struct sluice_resource resource = {
            .type =
                m->resource ? (enum sluice_resource_type)m->resource->type : SLUICE_RESOURCE_TOPIC,
            .name = m->resource ? text_or_empty(m->resource->name) : ""};
        configs[i] = (struct sluice_configs){
            .resource = resource, .entries = entries, .entry_count = m->n_entry};
        configs[i].error =
            item_error(r, m->error, tried, resource_kind(resource.type), resource.name);
    }
    *all = (struct sluice_configs_results){.configs = configs, .count = count};
}

int sluice_admin_describe_configs(sluice_admin *admin, const struct sluice_resource *resources,
                                  size_t count, int64_t timeout_ms,
                                  struct sluice_configs_results **out, struct sluice_error *error)
{
    struct shell_call call;
    none_yet(out);
    int code = begin(admin, &call, timeout_ms, "describe configs", error);
    if (code)
        return code;
    struct result *r = result_new(sizeof **out);
    Sluice__DescribeConfigsRequest m = SLUICE__DESCRIBE_CONFIGS_REQUEST__INIT;
    Sluice__ConfigResource *all = result_array(r, count, sizeof *all);
    m.resource = result_array(r, count, sizeof *m.resource);
    m.n_resource = count;
    for (size_t i = 0; i < count; i++) {
        resource_encode(&resources[i], &all[i]);
        m.resource[i] = &all[i];
    }
    Sluice__DescribeConfigsResponse *answer;
    code = ask(admin, &call, "describe configs", API_DESCRIBE_CONFIGS, &m.base,
               &sluice__describe_configs_response__descriptor, &r->arena, &answer, error);
    if (code) {
        result_free(r);
        return code;
    }
    configs_fill(r, answer->result, answer->n_result, "describe configs");
    return result_give(r, out, error);
}

int sluice_admin_alter_configs(sluice_admin *admin, const struct sluice_alteration *alterations,
                               size_t count, bool validate_only, int64_t timeout_ms,
                               struct sluice_configs_results **out, struct sluice_error *error)
{
    struct shell_call call;
    none_yet(out);
    int code = begin(admin, &call, timeout_ms, "alter configs", error);
    if (code)
        return code;
    struct result *r = result_new(sizeof **out);
    Sluice__AlterConfigsRequest m = SLUICE__ALTER_CONFIGS_REQUEST__INIT;
    Sluice__AlterConfigsOf *all = result_array(r, count, sizeof *all);
    Sluice__ConfigResource *resources = result_array(r, count, sizeof *resources);
    m.alteration = result_array(r, count, sizeof *m.alteration);
    m.n_alteration = count;
    for (size_t i = 0; i < count; i++) {
        sluice__alter_configs_of__init(&all[i]);
        resource_encode(&alterations[i].resource, &resources[i]);
        all[i].resource = &resources[i];
        all[i].set = properties_encode(&r->arena, alterations[i].set, alterations[i].set_count);
        all[i].n_set = alterations[i].set_count;
        all[i].delete_ = (char **)(uintptr_t)alterations[i].remove;
        all[i].n_delete_ = alterations[i].remove_count;
        m.alteration[i] = &all[i];
    }
    m.has_validate_only = m.validate_only = validate_only;
    m.has_timeout_ms = true;
    m.timeout_ms = wait_ms(admin, &call);
    Sluice__AlterConfigsResponse *answer;
    code = ask(admin, &call, "alter configs", API_ALTER_CONFIGS, &m.base,
               &sluice__alter_configs_response__descriptor, &r->arena, &answer, error);
    if (code) {
        result_free(r);
        return code;
    }
    version_note(admin, answer->has_version, answer->version);
    configs_fill(r, answer->result, answer->n_result, "alter configs");
    return result_give(r, out, error);
}

void sluice_configs_results_free(struct sluice_configs_results *results)
{
    public_free(results);
}

/* --- offsets and records
 * -------------------------------------------------------------------------------------------- */

static void offsets_fill(struct result *r, const struct spread *s)
{
    struct sluice_offset_results *all = (struct sluice_offset_results *)r->public;
    struct sluice_offset_result *offsets = result_array(r, s->count, sizeof *offsets);
    for (size_t i = 0; i < s->count; i++) {
        const struct spread_item *item = &s->items[i];
        char *topic = arena_printf(&r->arena, "%s", item->topic);
        CHECK(topic);
        offsets[i] = (struct sluice_offset_result){.topic = topic,
                                                   .partition = item->partition,
                                                   .leader_epoch = item->leader_epoch,
                                                   .offset = item->offset,
                                                   .timestamp_ms = item->timestamp_ms};
        if (!item->error.code)
            continue;
        struct sluice_error *error = result_array(r, 1, sizeof *error);
        *error = item->error;
        offsets[i].error = error;
        if (!r->first)
            r->first = error;
    }
    *all = (struct sluice_offset_results){.offsets = offsets, .count = s->count};
}

static int offsets_ask(sluice_admin *a, const char *tried, uint32_t api,
                       const struct sluice_topic_partition *partitions, size_t count,
                       int64_t timeout_ms, struct sluice_offset_results **out,
                       struct sluice_error *error)
{
    struct shell_call call;
    none_yet(out);
    int code = begin(a, &call, timeout_ms, tried, error);
    if (code)
        return code;
    for (size_t i = 0; i < count; i++) {
        if (partitions[i].partition < 0)
            return problem(error, E_INVALID_REQUEST, tried, "", "partition %d is negative",
                           partitions[i].partition);
    }
    struct operation *o = operation_new(a, tried);
    o->is_spread = true;
    o->spread.api = api;
    o->spread.items = mem_zalloc((count + 1) * sizeof *o->spread.items);
    o->spread.count = count;
    for (size_t i = 0; i < count; i++)
        o->spread.items[i] = (struct spread_item){.topic = mem_strdup(partitions[i].topic),
                                                  .partition = partitions[i].partition,
                                                  .argument = partitions[i].offset};
    code = operation_run(o, &call, error);
    if (code)
        return code;
    struct result *r = result_new(sizeof **out);
    offsets_fill(r, &o->spread);
    operation_free(o);
    return result_give(r, out, error);
}

int sluice_admin_list_offsets(sluice_admin *admin, const struct sluice_topic_partition *partitions,
                              size_t count, int64_t timeout_ms, struct sluice_offset_results **out,
                              struct sluice_error *error)
{
    return offsets_ask(admin, "list offsets", API_LIST_OFFSETS, partitions, count, timeout_ms, out,
                       error);
}

int sluice_admin_delete_records(sluice_admin *admin,
                                const struct sluice_topic_partition *partitions, size_t count,
                                int64_t timeout_ms, struct sluice_offset_results **out,
                                struct sluice_error *error)
{
    return offsets_ask(admin, "delete records", API_DELETE_RECORDS, partitions, count, timeout_ms,
                       out, error);
}

void sluice_offset_results_free(struct sluice_offset_results *results)
{
    public_free(results);
}

/* --- life
 * ------------------------------------------------------------------------------------------------------------
 */

static void admin_init(sluice_admin *a)
{
    pthread_mutex_init(&a->mutex, NULL);
    a->client = client_new(a->shell.loop, &a->settings, &a->rng, &events, a);
}

static void admin_deinit(sluice_admin *a)
{
    a->is_closing = true;
    /* Those that nobody waits for any more: others must have returned. */
    for (struct operation *o = a->operations; o; o = o->next) {
        if (o->is_spread)
            spread_cancel(&o->spread);
    }
    client_free(a->client);
    shell_settle(&a->shell);
    CHECK(!a->operations);
    shell_deinit(&a->shell);
    pthread_mutex_destroy(&a->mutex);
    settings_deinit(&a->settings);
    mem_free(a);
}

int sluice_admin_new(const sluice_config *config, sluice_admin **out, struct sluice_error *error)
{
    sluice_admin *a = MEM_NEW(sluice_admin);
    const int code = settings_load(config, SLUICE_ADMIN, &a->settings, error);
    if (code) {
        mem_free(a);
        return code;
    }
    const err e = shell_init(&a->shell, "sluice-admin");
    if (e) {
        settings_deinit(&a->settings);
        mem_free(a);
        return problem(error, e, "create admin", "", "no descriptors left");
    }
    rng_init_from_system(&a->rng);
    admin_init(a);
    shell_start(&a->shell);
    *out = a;
    return problem_none(error);
}

int admin_new_driven(struct loop *l, void (*turn)(void *arg, int64_t timeout_us), void *arg,
                     uint64_t seed, const sluice_config *config, sluice_admin **out,
                     struct sluice_error *error)
{
    sluice_admin *a = MEM_NEW(sluice_admin);
    const int code = settings_load(config, SLUICE_ADMIN, &a->settings, error);
    if (code) {
        mem_free(a);
        return code;
    }
    shell_drive(&a->shell, l, turn, arg);
    rng_init(&a->rng, seed);
    admin_init(a);
    *out = a;
    return problem_none(error);
}

void sluice_admin_free(sluice_admin *admin)
{
    if (!admin)
        return;
    shell_stop(&admin->shell);
    admin_deinit(admin);
}

void sluice_admin_wakeup(sluice_admin *admin)
{
    shell_wakeup(&admin->shell);
}
