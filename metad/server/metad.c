/* SPDX-License-Identifier: Apache-2.0 */
#include "metad/server/metad.h"

#include <inttypes.h>

#include "metad/server/metad_priv.h"
#include "proto/base/check.h"
#include "proto/base/diag.h"
#include "proto/base/limits.h"
#include "proto/schema/configs.pb-c.h"
#include "proto/schema/hello.pb-c.h"
#include "proto/schema/metadata.pb-c.h"
#include "proto/schema/topic_admin.pb-c.h"

static const struct service_api apis[] = {
    {.api = API_METADATA,
     .frame_bytes_max = CONTROL_FRAME_BYTES_MAX,
     .request = &sluice__metadata_request__descriptor,
     .handle = handle_metadata},
    {.api = API_CREATE_TOPICS,
     .frame_bytes_max = CONTROL_FRAME_BYTES_MAX,
     .request = &sluice__create_topics_request__descriptor,
     .handle = handle_admin},
    {.api = API_DELETE_TOPICS,
     .frame_bytes_max = CONTROL_FRAME_BYTES_MAX,
     .request = &sluice__delete_topics_request__descriptor,
     .handle = handle_admin},
    {.api = API_CREATE_PARTITIONS,
     .frame_bytes_max = CONTROL_FRAME_BYTES_MAX,
     .request = &sluice__create_partitions_request__descriptor,
     .handle = handle_admin},
    {.api = API_ALTER_CONFIGS,
     .frame_bytes_max = CONTROL_FRAME_BYTES_MAX,
     .request = &sluice__alter_configs_request__descriptor,
     .handle = handle_admin},
    {.api = API_DESCRIBE_CONFIGS,
     .frame_bytes_max = CONTROL_FRAME_BYTES_MAX,
     .request = &sluice__describe_configs_request__descriptor,
     .handle = handle_describe_configs},
};
enum { API_ROWS = sizeof apis / sizeof apis[0] };

static void fill_hello(void *user, Sluice__HelloResponse *hello)
{
    struct metad *m = user;
    static char role[] = "metad";
    hello->role = role;
    hello->cluster_id = m->cluster_id[0] != '\0' ? m->cluster_id : NULL;
}

static void on_image(void *arg, const struct cluster *img)
{
    struct metad *m = arg;
    cluster_unref(m->img);
    m->img = cluster_ref(img);
    const char *id = cluster_id(img);
    CHECK(strlen(id) < sizeof m->cluster_id);
    memcpy(m->cluster_id, id, strlen(id) + 1);
    forwarder_set_image(m->forwarder, img);
    atomic_store(&m->has_image, true);
    atomic_store(&m->version, cluster_version(img));
    atomic_store(&m->topics, cluster_topic_count(img));
    atomic_store(&m->partitions, cluster_partition_count(img));
    atomic_store(&m->brokers, cluster_broker_count(img));
    metadata_image_changed(m);
}

static void on_stopped(void *user)
{
    struct metad *m = user;
    if (m->stopped != NULL)
        m->stopped(m->stopped_arg);
}

struct metad *metad_new(const struct metad_opts *opts)
{
    CHECK(opts->listener_count <= METAD_LISTENERS_MAX);
    struct metad *m = MEM_NEW(struct metad);
    m->opts = *opts;
    m->loop = opts->loop;
    if (opts->topic_defaults != NULL)
        m->topic_defaults = *opts->topic_defaults;
    else
        topic_config_values_init(&m->topic_defaults);
    m->forwarder = forwarder_new(m->loop, opts->inter_broker_listener);
    struct service_opts so;
    service_opts_init(&so);
    so.loops = &m->loop;
    so.loop_count = 1;
    so.apis = apis;
    so.api_count = API_ROWS;
    so.user = m;
    so.fill_hello = fill_hello;
    so.on_stopped = on_stopped;
    so.elsewhere = "this is metad, which answers metadata and admin requests; records are produced "
                   "to, fetched from and deleted at the partition's leader, whose address Metadata "
                   "tells";
    so.extra_bytes = sizeof(struct metadata_wait);
    so.connections_max = opts->connections_max;
    so.connections_per_address_max = opts->connections_per_address_max;
    m->service = service_new(&so);
    m->subscription = (struct subscription){.home = m->loop, .on_image = on_image, .arg = m};
    follower_subscribe(opts->follower, &m->subscription);
    return m;
}

err metad_start(struct metad *m, struct buf *why)
{
    for (size_t i = 0; i < m->opts.listener_count; i++) {
        const struct metad_listener *l = &m->opts.listeners[i];
        char text[ADDRESS_TEXT];
        const err e = service_listen(m->service, l->name, &l->at, &m->bound[i]);
        if (e != OK) {
            buf_printf(why, "metad cannot listen at %s (listener %s): %s. ",
                       address_text(&l->at, text), l->name, err_text(e));
            return e;
        }
        diag(DIAG_INFO, "metad", "listening", "listener=%s at=%s", l->name,
             address_text(&m->bound[i], text));
    }
    atomic_store(&m->is_serving, true);
    return OK;
}

const struct address *metad_bound(const struct metad *m, size_t i)
{
    CHECK(i < m->opts.listener_count);
    return &m->bound[i];
}

void metad_stop(struct metad *m, void (*done)(void *arg), void *arg)
{
    m->stopped = done;
    m->stopped_arg = arg;
    atomic_store(&m->is_serving, false);
    service_stop(m->service);
}

void metad_free(struct metad *m)
{
    forwarder_free(m->forwarder);
    service_free(m->service);
    cluster_unref(m->img);
    mem_free(m);
}

/* --- looking at it: any thread --------------------------------------------------- */

bool metad_is_ready(const struct metad *m, struct buf *why)
{
    if (!atomic_load(&m->is_serving)) {
        buf_append_str(why, "metad does not serve clients (it starts, or it stops)");
        return false;
    }
    if (!atomic_load(&m->has_image)) {
        buf_append_str(why, "metad has not read the cluster's state yet");
        return false;
    }
    return true;
}

static void gauge(struct buf *out, const char *name, const char *help, uint64_t value)
{
    buf_printf(out, "# HELP %s %s\n# TYPE %s gauge\n%s %" PRIu64 "\n", name, help, name, name,
               value);
}

static void request_counters(const struct metad *m, struct buf *out, const char *name,
                             const char *help, size_t field)
{
    buf_printf(out, "# HELP %s %s\n# TYPE %s counter\n", name, help, name);
    for (size_t i = 0; i < API_ROWS; i++) {
        struct service_stats st;
        uint64_t value;
        service_stats(m->service, i, &st);
        memcpy(&value, (const char *)&st + field, sizeof value);
        buf_printf(out, "%s{api=\"%s\"} %" PRIu64 "\n", name, api_name(apis[i].api), value);
    }
}

void metad_metrics(const struct metad *m, struct buf *out)
{
    gauge(out, "sluice_metad_version", "Version of /changes that the image shows.",
          atomic_load(&m->version));
    gauge(out, "sluice_metad_topics", "Topics in the image.", atomic_load(&m->topics));
    gauge(out, "sluice_metad_partitions", "Partitions in the image.", atomic_load(&m->partitions));
    gauge(out, "sluice_metad_brokers", "Brokers that are registered.", atomic_load(&m->brokers));
    gauge(out, "sluice_metad_waiting_requests", "Metadata requests that wait for a change.",
          atomic_load(&m->waiting));
    gauge(out, "sluice_metad_connections", "Connections of clients.",
          service_connections(m->service));
    request_counters(m, out, "sluice_metad_requests_total", "Requests answered.",
                     offsetof(struct service_stats, requests));
    request_counters(m, out, "sluice_metad_request_errors_total",
                     "Requests that failed as a whole.", offsetof(struct service_stats, errors));
    request_counters(m, out, "sluice_metad_request_bytes_total", "Bytes of requests.",
                     offsetof(struct service_stats, bytes_in));
}
