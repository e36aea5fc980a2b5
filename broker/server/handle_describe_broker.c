/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/server/handle_describe_broker.h"

#include <stdio.h>

#include "proto/schema/configs.pb-c.h"

static int32_t source_of(enum conf_source source)
{
    switch (source) {
    case CONF_DEFAULT:
        return SLUICE__CONFIG_SOURCE__SOURCE_DEFAULT;
    case CONF_CLUSTER:
        return SLUICE__CONFIG_SOURCE__SOURCE_DYNAMIC_BROKER;
    case CONF_FILE:
    case CONF_ENVIRONMENT:
    case CONF_ARGUMENT:
        break;
    }
    return SLUICE__CONFIG_SOURCE__SOURCE_STATIC_BROKER;
}

static char *text(const char *s)
{
    return (char *)(uintptr_t)s;
}

/* NULL: the arena is full. */
static Sluice__ConfigEntry **entries_of(const struct conf *conf, struct arena *arena, size_t *count)
{
    struct conf_view view;
    size_t n = 0;
    while (conf_at(conf, n, &view))
        n++;
    Sluice__ConfigEntry *entries = arena_alloc(arena, n * sizeof *entries);
    Sluice__ConfigEntry **list = arena_alloc(arena, n * sizeof *list);
    if (!entries || !list)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        conf_at(conf, i, &view);
        Sluice__ConfigEntry *e = list[i] = &entries[i];
        sluice__config_entry__init(e);
        e->key = text(view.key->name);
        e->value = view.value ? arena_printf(arena, "%s", view.value) : NULL;
        e->has_source = e->has_read_only = true;
        e->source = source_of(view.source);
        e->read_only = !(view.key->flags & CONF_DYNAMIC);
        e->doc = text(view.key->doc);
    }
    *count = n;
    return list;
}

/* NULL: it is this broker, asked about for the first time (an answer is as long as the table). */
static const char *refusal(struct arena *arena, const Sluice__ConfigResource *resource,
                           int32_t broker_id, bool was_described)
{
    char own[16];
    snprintf(own, sizeof own, "%d", broker_id);
    if (!resource || !resource->name)
        return "the resource is not named";
    if (resource->type != SLUICE__CONFIG_RESOURCE_TYPE__RESOURCE_BROKER)
        return "a broker describes only brokers; ask metad about topics";
    if (strcmp(resource->name, own) != 0) {
        const char *why =
            arena_printf(arena, "this is broker %s, not the one that was asked about", own);
        return why ? why : "this is not the broker that was asked about";
    }
    if (was_described)
        return "this broker is asked about twice in one request";
    return NULL;
}

void handle_describe_broker(const struct conf *conf, int32_t broker_id, struct request *r,
                            const void *message)
{
    const Sluice__DescribeConfigsRequest *req = message;
    Sluice__ConfigsOf *results = arena_alloc(&r->arena, req->n_resource * sizeof *results);
    Sluice__ConfigsOf **list = arena_alloc(&r->arena, req->n_resource * sizeof *list);
    Sluice__Error *errors = arena_alloc(&r->arena, req->n_resource * sizeof *errors);
    Sluice__ConfigEntry **entries = NULL;
    size_t entry_count = 0;
    if (results && list && errors)
        entries = entries_of(conf, &r->arena, &entry_count);
    if (!entries) {
        service_reply_error(r, E_OVERLOADED, "%zu resources in one request are too many",
                            req->n_resource);
        return;
    }
    bool was_described = false;
    for (size_t i = 0; i < req->n_resource; i++) {
        Sluice__ConfigsOf *res = list[i] = &results[i];
        sluice__configs_of__init(res);
        res->resource = req->resource[i];
        const char *why = refusal(&r->arena, req->resource[i], broker_id, was_described);
        if (!why) {
            was_described = true;
            res->n_entry = entry_count;
            res->entry = entries;
            continue;
        }
        msg_fill_error(&errors[i], E_INVALID_REQUEST, why);
        res->error = &errors[i];
    }
    Sluice__DescribeConfigsResponse res;
    sluice__describe_configs_response__init(&res);
    res.n_result = req->n_resource;
    res.result = list;
    service_reply_message(r, &res);
}
