/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DescribeConfigs: topics from the image and the table of topic configs;
 * brokers are asked themselves, each once per resource, and the answer goes out
 * when the last of them has told.
 */
#include <stdlib.h>

#include "metad/server/metad_priv.h"
#include "proto/base/diag.h"
#include "proto/base/limits.h"
#include "proto/schema/configs.pb-c.h"

enum { RESOURCES_MAX = 1000, BROKER_TIMEOUT_US = 10 * 1000000 };

struct describe;

/* One resource that a broker was asked for. */
struct asked {
    struct describe *d;
    size_t index;
    struct forward *forward;
};

/* In the request's arena. */
struct describe {
    struct metad *m;
    struct request *r;
    const Sluice__DescribeConfigsRequest *req;
    Sluice__ConfigsOf *results;
    struct asked *asked;
    size_t open;
};

static char *mutable(const char *s)
{
    return (char *)(uintptr_t)s;
}

static void fail(struct describe *d, size_t index, err e, const char *text)
{
    Sluice__Error *error = arena_alloc(&d->r->arena, sizeof *error);
    if (error == NULL)
        return;
    sluice__error__init(error);
    error->has_code = 1;
    error->code = err_wire_code(e);
    error->has_class_ = 1;
    error->class_ = (int32_t)err_wire_class(e);
    error->message = arena_printf(&d->r->arena, "%s", text);
    d->results[index].error = error;
}

static void reply(struct describe *d)
{
    Sluice__DescribeConfigsResponse res = SLUICE__DESCRIBE_CONFIGS_RESPONSE__INIT;
    const size_t count = d->req->n_resource;
    res.result = mem_alloc((count + 1) * sizeof *res.result);
    for (size_t i = 0; i < count; i++)
        res.result[i] = &d->results[i];
    res.n_result = count;
    service_on_cancel(d->r, NULL, NULL);
    Sluice__ConfigsOf **list = res.result;
    service_reply_message(d->r, &res);
    mem_free(list);
}

/* --- topics ---------------------------------------------------------------------- */

static int32_t source_of(const struct metad *m, const struct topic *t, enum topic_config config)
{
    const struct topic_config_def *def = topic_config_def(config);
    if (topic_config(t, def->key) != NULL)
        return SLUICE__CONFIG_SOURCE__SOURCE_TOPIC;
    if (m->topic_defaults.v[config] != def->def)
        return SLUICE__CONFIG_SOURCE__SOURCE_STATIC_BROKER;
    return SLUICE__CONFIG_SOURCE__SOURCE_DEFAULT;
}

static bool fill_entry(struct describe *d, Sluice__ConfigEntry *entry, const struct topic *t,
                       enum topic_config config, int64_t value)
{
    struct buf text = {0};
    const struct topic_config_def *def = topic_config_def(config);
    sluice__config_entry__init(entry);
    topic_config_print(config, value, &text);
    entry->key = mutable(def->key);
    entry->value = arena_printf(&d->r->arena, "%.*s", (int)text.size, (const char *)text.data);
    buf_deinit(&text);
    entry->has_source = 1;
    entry->source = source_of(d->m, t, config);
    entry->has_read_only = 1;
    entry->doc = mutable(def->doc);
    return entry->value != NULL;
}

static void describe_topic(struct describe *d, size_t index)
{
    struct metad *m = d->m;
    const char *name = d->req->resource[index]->name;
    const struct topic *t = name != NULL ? cluster_topic_named(m->img, slice_str(name)) : NULL;
    if (t == NULL) {
        struct buf why = {0};
        buf_printf(&why, "topic %s does not exist", name != NULL ? DIAG_STR(name) : "\"\"");
        buf_append(&why, "", 1);
        fail(d, index, E_UNKNOWN_TOPIC_OR_PARTITION, (const char *)why.data);
        buf_deinit(&why);
        return;
    }
    struct topic_config_values values;
    topic_config_values_of(t, &m->topic_defaults, &values);
    values.v[TOPIC_MIN_INSYNC_REPLICAS] = t->min_insync_replicas;
    Sluice__ConfigEntry **list = arena_alloc(&d->r->arena, TOPIC_CONFIG_COUNT * sizeof *list);
    Sluice__ConfigEntry *entries = arena_alloc(&d->r->arena, TOPIC_CONFIG_COUNT * sizeof *entries);
    if (list == NULL || entries == NULL) {
        fail(d, index, E_OVERLOADED, "too many resources are described at once");
        return;
    }
    for (unsigned i = 0; i < TOPIC_CONFIG_COUNT; i++) {
        list[i] = &entries[i];
        if (!fill_entry(d, list[i], t, (enum topic_config)i, values.v[i]))
            return;
    }
    d->results[index].n_entry = TOPIC_CONFIG_COUNT;
    d->results[index].entry = list;
}

/* --- brokers --------------------------------------------------------------------- */

static void take_broker_answer(struct describe *d, size_t index, const struct msg_peek *response)
{
    void *message;
    struct msg_error error;
    if (response->error.size > 0 && msg_read_error(response->error, &error) == OK) {
        const char *text = arena_printf(&d->r->arena, "%.*s", (int)error.message.size,
                                        (const char *)error.message.data);
        fail(d, index, error.code, text != NULL ? text : "");
        return;
    }
    const Sluice__DescribeConfigsResponse *res = NULL;
    if (msg_unpack(&sluice__describe_configs_response__descriptor, response->body, &d->r->arena,
                   &message, NULL) == OK)
        res = message;
    if (res == NULL || res->n_result != 1)
        fail(d, index, E_UNKNOWN, "the broker's answer cannot be read");
    else
        d->results[index] = *res->result[0];
    d->results[index].resource = d->req->resource[index];
}

static void on_broker_told(void *arg, err e, const char *why, const struct msg_peek *response)
{
    struct asked *as = arg;
    struct describe *d = as->d;
    as->forward = NULL;
    if (e == OK)
        take_broker_answer(d, as->index, response);
    else
        fail(d, as->index, e == E_CANCELLED ? E_SHUTTING_DOWN : e, why);
    if (--d->open == 0)
        reply(d);
}

static void describe_broker(struct describe *d, size_t index)
{
    Sluice__ConfigResource *resource = d->req->resource[index];
    const char *name = resource->name != NULL ? resource->name : "";
    char *rest;
    const long id = strtol(name, &rest, 10);
    if (name[0] < '0' || name[0] > '9' || *rest != '\0' || id > BROKER_ID_MAX) {
        fail(d, index, E_INVALID_REQUEST, "a broker is named by its number");
        return;
    }
    Sluice__DescribeConfigsRequest one = SLUICE__DESCRIBE_CONFIGS_REQUEST__INIT;
    one.n_resource = 1;
    one.resource = &resource;
    struct asked *as = &d->asked[index];
    as->d = d;
    as->index = index;
    as->forward = forward_begin(d->m->forwarder, (int32_t)id, API_DESCRIBE_CONFIGS, &one,
                                BROKER_TIMEOUT_US, on_broker_told, as);
    if (as->forward != NULL)
        d->open++;
    else
        fail(d, index, E_OVERLOADED, "too many requests to brokers are under way");
}

static void on_cancel(void *arg, struct request *r)
{
    struct describe *d = arg;
    for (size_t i = 0; i < d->req->n_resource; i++)
        if (d->asked[i].forward != NULL)
            forward_cancel(d->asked[i].forward);
    service_reply_error(r, E_SHUTTING_DOWN, "this server is shutting down");
}

void handle_describe_configs(void *user, struct request *r, const void *message)
{
    struct metad *m = user;
    const Sluice__DescribeConfigsRequest *req = message;
    const size_t count = req->n_resource;
    if (m->img == NULL) {
        service_reply_error(r, E_NOT_READY,
                            "this metadata server has not read the cluster's state yet");
        return;
    }
    if (count > RESOURCES_MAX) {
        service_reply_error(r, E_INVALID_REQUEST, "%zu resources; at most %d are described at once",
                            count, RESOURCES_MAX);
        return;
    }
    struct describe *d = arena_alloc(&r->arena, sizeof *d);
    Sluice__ConfigsOf *results = arena_alloc(&r->arena, (count + 1) * sizeof *results);
    struct asked *asked = arena_alloc(&r->arena, (count + 1) * sizeof *asked);
    if (d == NULL || results == NULL || asked == NULL) {
        service_reply_error(r, E_OVERLOADED, "no memory for %zu resources", count);
        return;
    }
    memset(asked, 0, (count + 1) * sizeof *asked);
    *d = (struct describe){
        .m = m, .r = r, .req = req, .results = results, .asked = asked, .open = 1};
    for (size_t i = 0; i < count; i++) {
        sluice__configs_of__init(&results[i]);
        results[i].resource = req->resource[i];
        if (req->resource[i]->type == SLUICE__CONFIG_RESOURCE_TYPE__RESOURCE_TOPIC)
            describe_topic(d, i);
        else if (req->resource[i]->type == SLUICE__CONFIG_RESOURCE_TYPE__RESOURCE_BROKER)
            describe_broker(d, i);
        else
            fail(d, i, E_INVALID_REQUEST, "a resource is neither a topic nor a broker");
    }
    if (--d->open == 0)
        reply(d);
    else
        service_on_cancel(r, on_cancel, d);
}
