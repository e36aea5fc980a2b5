/* SPDX-License-Identifier: Apache-2.0 */
#include "metad/server/metad.h"

#include <stdio.h>

#include "metad/server/forward.h"
#include "metad/server/metad_priv.h"
#include "proto/base/check.h"
#include "proto/base/limits.h"
#include "proto/base/mem.h"
#include "proto/schema/request.pb-c.h"

#define ADMIN(api_)                                                                                \
    {                                                                                              \
        .api = api_, .frame_bytes_max = CONTROL_FRAME_BYTES_MAX, .handle_raw = handle_admin        \
    }
static const struct service_api apis[] = {
    {.api = API_METADATA,
     .frame_bytes_max = CONTROL_FRAME_BYTES_MAX,
     .request = &sluice__metadata_request__descriptor,
     .handle = handle_metadata},
    {.api = API_DESCRIBE_CONFIGS,
     .frame_bytes_max = CONTROL_FRAME_BYTES_MAX,
     .handle_raw = handle_admin_describe},
    ADMIN(API_CREATE_TOPICS),
    ADMIN(API_DELETE_TOPICS),
    ADMIN(API_CREATE_PARTITIONS),
    ADMIN(API_ALTER_CONFIGS),
};
#undef ADMIN
enum { API_COUNT = sizeof apis / sizeof apis[0] };

static void on_image(void *arg, const struct cluster *image)
{
    struct metad *m = arg;
    const struct cluster *old = m->image;
    m->image = cluster_ref(image);
    cluster_unref(old);
    atomic_store(&m->image_version, cluster_version(image));
    atomic_store(&m->has_image, true);
    forwarder_image(m->forwarder, image);
    handle_metadata_image(m);
}

static void fill_hello(void *user, struct Sluice__HelloResponse *hello)
{
    const struct metad *m = user;
    hello->role = (char *)(uintptr_t) "metad";
    hello->cluster_id = m->image ? (char *)(uintptr_t)cluster_id(m->image) : NULL;
}

static void on_stopped(void *user)
{
    struct metad *m = user;
    m->on_stopped(m->on_stopped_arg);
}

struct metad *metad_new(const struct metad_opts *opts)
{
    struct metad *m = MEM_NEW(struct metad);
    CHECK(opts->listener_count > 0 && opts->listener_count <= METAD_LISTENERS_MAX);
    m->opts = *opts;
    m->forwarder = forwarder_new(opts->loop, opts->inter_broker_listener);
    struct service_opts service;
    service_opts_init(&service);
    service.loops = &m->opts.loop;
    service.loop_count = 1;
    service.apis = apis;
    service.api_count = API_COUNT;
    service.user = m;
    service.fill_hello = fill_hello;
    service.on_stopped = on_stopped;
    service.elsewhere =
        "metad does not answer that; ask the partition's leader, which Metadata names";
    service.extra_bytes = handle_metadata_extra() > handle_admin_extra() ? handle_metadata_extra()
                                                                         : handle_admin_extra();
    service.connections_max = opts->connections_max;
    service.connections_per_address_max = opts->connections_per_address_max;
    service.limits.frame_bytes_max = CONTROL_FRAME_BYTES_MAX;
    m->service = service_new(&service);
    m->subscription = (struct subscription){.home = opts->loop, .on_image = on_image, .arg = m};
    follower_subscribe(opts->follower, &m->subscription);
    return m;
}

err metad_start(struct metad *m, struct buf *why)
{
    for (size_t i = 0; i < m->opts.listener_count; i++) {
        const struct metad_listener *l = &m->opts.listeners[i];
        char address[ADDRESS_TEXT];
        const err e = service_listen(m->service, l->name, &l->at, &m->bound[i]);
        if (e != OK) {
            buf_printf(
                why,
                "cannot listen on %s (listener %s); choose another metad.listener or free the port",
                address_text(&l->at, address), l->name);
            return e;
        }
    }
    return OK;
}

const struct address *metad_bound(const struct metad *m, size_t i)
{
    CHECK(i < m->opts.listener_count);
    return &m->bound[i];
}

void metad_stop(struct metad *m, void (*done)(void *arg), void *arg)
{
    m->on_stopped = done;
    m->on_stopped_arg = arg;
    service_stop(m->service);
}

void metad_free(struct metad *m)
{
    follower_unsubscribe(m->opts.follower, &m->subscription);
    service_free(m->service);
    forwarder_free(m->forwarder);
    cluster_unref(m->image);
    mem_free(m);
}

bool metad_is_ready(const struct metad *m, struct buf *why)
{
    if (atomic_load(&m->has_image))
        return true;
    buf_append_str(why, "metad has no image of the cluster yet");
    return false;
}

static void one(struct buf *out, const char *name, const char *type, const char *help,
                uint64_t value)
{
    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n%s %llu\n", name, help, name, type, name,
               (unsigned long long)value);
}

void metad_metrics(const struct metad *m, struct buf *out)
{
    one(out, "sluice_metad_image_version", "gauge", "Version of the cluster image.",
        atomic_load(&m->image_version));
    one(out, "sluice_metad_waiting_requests", "gauge",
        "Metadata requests that wait for a newer image.", atomic_load(&m->parked_count));
    one(out, "sluice_metad_connections", "gauge", "Connections open.",
        service_connections(m->service));
    one(out, "sluice_metad_refused_total", "counter",
        "Connections over a limit, and frames no handler saw.", service_refused(m->service));
    buf_append_str(out, "# HELP sluice_metad_requests_total Requests taken up.\n"
                        "# TYPE sluice_metad_requests_total counter\n");
    for (size_t i = 0; i < API_COUNT; i++) {
        struct service_stats stats;
        service_stats(m->service, i, &stats);
        buf_printf(out, "sluice_metad_requests_total{api=\"%s\"} %llu\n", api_name(apis[i].api),
                   (unsigned long long)stats.requests);
    }
}
