/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Start and stop, in order. Each step ends in the callback that begins the
 * next; reading top to bottom is reading the order of events.
 *
 *   server_new      directories locked, coordination open, listeners bound
 *   on_recovered    every log is known: register
 *   on_registered   this life has a number: stand for controller, apply images
 *   on_settled      every partition has its log and its role: ready
 *
 *   server_stop     new requests are refused; what waits for a flush may end
 *   stop_serving    connections end
 *   on_served       the controller's office is given up
 *   on_left         the registration is taken back
 *   on_withdrawn    logs are flushed, the clean marker written
 *   on_closed       coordination ends: stopped
 */
#include "broker/server/server.h"

#include <stddef.h>
#include <stdio.h>

#include "broker/server/server_metrics.h"
#include "broker/server/server_priv.h"
#include "proto/base/check.h"
#include "proto/base/diag.h"
#include "proto/base/limits.h"
#include "proto/net/process.h"
#include "proto/schema/hello.pb-c.h"

enum {
    HELLO_US = 5 * 1000 * 1000,
    ASSEMBLY_US = 30 * 1000 * 1000,
    WRITE_STALL_US = 30 * 1000 * 1000,
    OUT_BYTES_MAX = 8 * MIB, /* per connection: then its requests wait */
    DRAIN_MAX_US = 2 * 1000 * 1000,
    DRAIN_STEP_US = 2 * 1000,
    STANDALONE_BROKER_ID = 1
};

/* It cannot start or go on: everything ends as at a stop, but nothing is marked clean that is not.
 */
static void fail(struct server *b)
{
    b->has_failed = true;
    server_stop(b);
}

static void on_served(void *user);

/* --- ready --------------------------------------------------------------------- */

/* Every partition that this broker alone can lead is led by its present life. */
static bool leads_all_it_should(const struct server *b, const struct cluster *image)
{
    struct cluster_cursor cur = {0};
    const struct topic *t;
    while ((t = cluster_next_topic(image, &cur)))
        for (uint32_t i = 0; i < t->partition_count; i++) {
            const struct partition_state *s = &t->partitions[i];
            const bool is_sole = s->replica_count == 1 && s->replicas[0] == b->conf.broker_id;
            if (is_sole &&
                (s->leader != b->conf.broker_id || s->leader_incarnation < b->incarnation))
                return false;
        }
    return true;
}

static void on_settled(void *user, uint64_t version)
{
    struct server *b = user;
    (void)version;
    if (b->state != SERVER_STARTING)
        return;
    struct cluster *image = partition_table_image(b->table);
    const bool is_member = cluster_broker(image, b->conf.broker_id) != NULL;
    if (is_member && cluster_controller(image) != NO_BROKER && leads_all_it_should(b, image)) {
        b->state = SERVER_READY;
        b->opts.on_ready(b->opts.user);
    }
    cluster_unref(image);
}

static void on_deleted(void *user, const struct uuid *topic_id)
{
    struct server *b = user;
    controller_confirm_deleted(b->controller, b->conf.broker_id, topic_id);
}

/* --- images ---------------------------------------------------------------------- */

/* Lays the configs that were set on this broker at run time over its own. */
static void apply_dynamic_configs(struct server *b, const struct cluster *image)
{
    const struct broker_configs *set = cluster_broker_configs(image, b->conf.broker_id);
    struct conf_view view;
    bool has_changed = false;
    pthread_mutex_lock(&b->handlers.conf_lock);
    for (size_t i = 0; conf_at(b->opts.conf, i, &view); i++) {
        const char *value = NULL;
        if (!(view.key->flags & CONF_DYNAMIC))
            continue;
        for (uint32_t k = 0; set && k < set->config_count; k++)
            if (strcmp(set->configs[k].key, view.key->name) == 0)
                value = set->configs[k].value;
        const bool was_set = view.source == CONF_CLUSTER;
        if (value ? was_set && strcmp(value, view.value) == 0 : !was_set)
            continue;
        struct buf why = {0};
        if (conf_override(b->opts.conf, view.key->name, value, &why) == OK)
            has_changed = true;
        else
            diag(DIAG_WARN, "broker", "a config set at run time is ignored", "why=%s",
                 diag_str(why.data, why.size));
        buf_deinit(&why);
    }
    if (has_changed)
        broker_conf_topic_defaults(b->opts.conf, &b->topic_defaults);
    pthread_mutex_unlock(&b->handlers.conf_lock);
    if (has_changed)
        partition_table_reconfigure(b->table);
}

static void on_image(void *arg, const struct cluster *image)
{
    struct server *b = arg;
    if (b->incarnation == 0 || b->state >= SERVER_STOPPING)
        return;
    apply_dynamic_configs(b, image);
    partition_table_apply(b->table, image);
}

/* --- registration ------------------------------------------------------------------ */

static void run_set_identity(struct exec_job *job)
{
    struct server *b = (struct server *)((char *)job - offsetof(struct server, identity_job));
    b->identity_result = log_manager_set_identity(b->logs, &b->identity_cluster, b->conf.broker_id,
                                                  (int64_t)b->identity_incarnation);
}

static void on_identity_set(struct exec_job *job)
{
    struct server *b = (struct server *)((char *)job - offsetof(struct server, identity_job));
    if (b->state < SERVER_STOPPING)
        registration_prepared(b->registration, b->identity_result);
}

static bool parse_uuid(const char *text, struct uuid *out)
{
    if (strlen(text) != UUID_TEXT - 1)
        return false;
    for (size_t i = 0; i < sizeof out->bytes; i++) {
        unsigned byte;
        if (sscanf(text + 2 * i, "%2x", &byte) != 1)
            return false;
        out->bytes[i] = (uint8_t)byte;
    }
    return true;
}

static void prepare(void *user, const char *cluster_id, uint64_t incarnation)
{
    struct server *b = user;
    if (!parse_uuid(cluster_id, &b->identity_cluster)) {
        diag(DIAG_ERROR, "broker", "the cluster id in the coordination store is not 32 hex digits",
             "cluster_id=%s", DIAG_STR(cluster_id));
        registration_prepared(b->registration, E_CORRUPT);
        return;
    }
    b->identity_incarnation = incarnation;
    b->identity_job =
        (struct exec_job){.run = run_set_identity, .done = on_identity_set, .home = b->home};
    exec_submit(b->workers, &b->identity_job);
}

static void on_registered(void *user, const char *cluster_id, uint64_t incarnation)
{
    struct server *b = user;
    if (b->state >= SERVER_STOPPING)
        return;
    if (b->incarnation == 0) {
        snprintf(b->cluster_id, sizeof b->cluster_id, "%s", cluster_id);
        partition_table_set_incarnation(b->table, incarnation);
    }
    atomic_store_explicit(&b->incarnation, incarnation, memory_order_release);
    controller_stand(b->controller, incarnation);
    const struct cluster *image = follower_image(b->follower);
    if (image)
        on_image(b, image);
}

static void on_refused(void *user, err e, const char *why)
{
    diag(DIAG_ERROR, "broker", "this broker cannot be a member of the cluster", "error=%s why=%s",
         err_name(e), DIAG_STR(why));
    fail(user);
}

static void on_session_failed(void *user)
{
    diag(DIAG_ERROR, "broker", "the coordination store failed; see the lines above", " ");
    fail(user);
}

static void on_recovered(void *arg, err e)
{
    struct server *b = arg;
    if (b->state >= SERVER_STOPPING)
        return;
    if (e != OK) {
        diag(DIAG_ERROR, "broker", "no data directory can be used", "error=%s", err_name(e));
        fail(b);
        return;
    }
    const struct log_manager_identity *id = log_manager_identity(b->logs);
    char known_cluster[UUID_TEXT] = "";
    if (id->has_cluster_id)
        uuid_text(&id->cluster_id, known_cluster);
    memcpy(b->cluster_id, known_cluster, sizeof known_cluster);
    const struct registration_opts opts = {.session = b->session,
                                           .broker_id = b->conf.broker_id,
                                           .rack = b->conf.rack,
                                           .endpoints = b->endpoints,
                                           .endpoint_count = (uint32_t)b->conf.listener_count,
                                           .directory_ids = id->dir_ids,
                                           .directory_count = (uint32_t)id->dir_count,
                                           .clean = id->was_clean,
                                           .cluster_id = b->cluster_id,
                                           .incarnation_seen =
                                               id->incarnation > 0 ? (uint64_t)id->incarnation : 0,
                                           .user = b,
                                           .prepare = prepare,
                                           .on_registered = on_registered,
                                           .on_refused = on_refused};
    b->registration = registration_new(&opts);
}

/* --- http ----------------------------------------------------------------------------- */

static void serve_metrics(void *user, struct http_response *out)
{
    struct server *b = user;
    out->content_type = METRICS_CONTENT_TYPE;
    metrics_render(b->metrics, &out->body);
    if (b->metad)
        metad_metrics(b->metad, &out->body);
}

static void serve_live(void *user, struct http_response *out)
{
    (void)user;
    buf_append_str(&out->body, "ok\n");
}

static void serve_ready(void *user, struct http_response *out)
{
    struct server *b = user;
    struct buf why = {0};
    if (b->state != SERVER_READY)
        buf_append_str(&why, b->state == SERVER_STARTING ? "still starting" : "stopping");
    else if (b->metad && !metad_is_ready(b->metad, &why) && why.size == 0)
        buf_append_str(&why, "metad is not ready");
    if (why.size) {
        out->status = 503;
        buf_append(&out->body, why.data, why.size);
        buf_append_str(&out->body, "\n");
    } else {
        buf_append_str(&out->body, "ready\n");
    }
    buf_deinit(&why);
}

static const struct http_route routes[] = {
    {"GET", "/metrics", serve_metrics},
    {"GET", "/health/live", serve_live},
    {"GET", "/health/ready", serve_ready},
};

static err start_http(struct server *b)
{
    char text[ADDRESS_TEXT];
    if (!b->conf.has_http)
        return OK;
    const err e = http_start(b->home, &b->conf.http, routes, sizeof routes / sizeof routes[0], b,
                             &b->http, &b->http_bound);
    if (e != OK)
        diag(DIAG_ERROR, "broker",
             "cannot listen for HTTP; choose another http.listener or free the port", "address=%s",
             address_text(&b->conf.http, text));
    return e;
}

/* --- start ------------------------------------------------------------------------------ */

static void fill_hello(void *user, struct Sluice__HelloResponse *hello)
{
    const struct handlers *h = user;
    const struct server *b =
        (const struct server *)((const char *)h - offsetof(struct server, handlers));
    hello->role = (char *)(uintptr_t) "broker";
    hello->has_broker_id = true;
    hello->broker_id = b->conf.broker_id;
    hello->incarnation = atomic_load_explicit(&b->incarnation, memory_order_acquire);
    hello->has_incarnation = hello->incarnation != 0;
    if (hello->has_incarnation)
        hello->cluster_id = (char *)(uintptr_t)b->cluster_id;
}

static void on_dir_failed(void *arg, const char *path, err e)
{
    (void)arg;
    diag(DIAG_ERROR, "broker", "a data directory is out of use until this broker is started again",
         "path=%s error=%s", DIAG_STR(path), err_name(e));
}

static struct exec *new_flusher(void *arg, const char *name)
{
    struct server *b = arg;
    return b->opts.new_exec(b->opts.user, name, 1);
}

static err open_logs(struct server *b)
{
    const struct log_manager_opts opts = {.io = b->opts.io,
                                          .home = b->home,
                                          .workers = b->workers,
                                          .rng = b->opts.rng,
                                          .dirs = b->conf.data_dirs.items,
                                          .dir_count = b->conf.data_dirs.count,
                                          .default_conf =
                                              partition_table_default_conf(&b->topic_defaults),
                                          .new_exec = new_flusher,
                                          .new_exec_arg = b,
                                          .checkpoint_interval_ms = b->conf.checkpoint_interval_ms,
                                          .retention_interval_ms = b->conf.retention_interval_ms,
                                          .dir_failed = on_dir_failed,
                                          .dir_failed_arg = b};
    const err e = log_manager_new(&opts, &b->logs);
    if (e != OK)
        return e;
    const int32_t known = log_manager_identity(b->logs)->broker_id;
    if (b->conf.broker_id < 0)
        b->conf.broker_id = known >= 0 ? known : STANDALONE_BROKER_ID;
    if (known >= 0 && known != b->conf.broker_id) {
        diag(DIAG_ERROR, "broker",
             "the data directories belong to another broker; set broker.id to theirs, or other "
             "data.dirs",
             "broker.id=%d theirs=%d", b->conf.broker_id, known);
        return E_CONFIG;
    }
    return OK;
}

static err listen_all(struct server *b)
{
    for (size_t i = 0; i < b->conf.listener_count; i++) {
        const struct broker_listener *l = &b->conf.listeners[i];
        char text[ADDRESS_TEXT];
        const err e = service_listen(b->service, l->name, &l->at, &b->bound[i]);
        if (e != OK) {
            diag(DIAG_ERROR, "broker", "cannot listen; choose another address or free the port",
                 "listener=%s address=%s", l->name, address_text(&l->at, text));
            return e;
        }
        b->endpoints[i] =
            (struct endpoint){.listener = l->name,
                              .host = l->advertised.host,
                              .port = l->advertised.port ? l->advertised.port : b->bound[i].port};
    }
    return OK;
}

static void make_service(struct server *b)
{
    struct service_opts opts;
    service_opts_init(&opts);
    opts.loops = b->opts.loops;
    opts.loop_count = b->opts.loop_count;
    opts.apis = api_table;
    opts.api_count = api_table_count;
    opts.user = &b->handlers;
    opts.fill_hello = fill_hello;
    opts.on_frames_end = api_frames_end;
    opts.on_stopped = on_served;
    opts.elsewhere =
        "a broker does not answer that; ask metad (metad.listener), which clients bootstrap from";
    opts.extra_bytes = api_extra_bytes();
    opts.connections_max = b->conf.connections_max;
    opts.connections_per_address_max = b->conf.connections_per_address_max;
    opts.inflight_max = b->conf.inflight_max;
    opts.hello_us = HELLO_US;
    opts.limits = (struct conn_limits){.frame_bytes_max = b->conf.frame_bytes_max,
                                       .out_bytes_max = OUT_BYTES_MAX,
                                       .idle_us = b->conf.idle_us,
                                       .assembly_us = ASSEMBLY_US,
                                       .write_stall_us = WRITE_STALL_US,
                                       .budget = &b->budget};
    b->service = service_new(&opts);
}

static void make_lanes(struct server *b)
{
    b->handlers.lanes = mem_alloc(b->opts.loop_count * sizeof *b->handlers.lanes);
    for (size_t i = 0; i < b->opts.loop_count; i++)
        lane_init(&b->handlers.lanes[i], b->opts.loops[i], b->table, b->readers,
                  lane_metrics_new(b->metrics, i));
}

static err start_metad(struct server *b)
{
    struct buf why = {0};
    if (!b->opts.is_standalone)
        return OK;
    const struct metad_opts opts = {
        .loop = b->home,
        .session = b->session,
        .follower = b->follower,
        .rng = b->opts.rng,
        .listeners = b->metad_conf.listeners,
        .listener_count = b->metad_conf.listener_count,
        .inter_broker_listener = b->conf.listeners[b->conf.inter_broker].name,
        .auto_create_topics = b->metad_conf.auto_create_topics,
        .topic_defaults = &b->topic_defaults,
        .connections_max = b->conf.connections_max,
        .connections_per_address_max = b->conf.connections_per_address_max};
    b->metad = metad_new(&opts);
    const err e = metad_start(b->metad, &why);
    if (e != OK)
        diag(DIAG_ERROR, "broker", "metad cannot start", "why=%.*s", (int)why.size,
             (const char *)why.data);
    buf_deinit(&why);
    return e;
}

static err check_broker_configs(void *user, const struct property *set, size_t count,
                                struct buf *why)
{
    struct server *b = user;
    err e = OK;
    for (size_t i = 0; i < count; i++) {
        struct conf_view view;
        if (!conf_find(b->opts.conf, set[i].key, &view)) {
            buf_printf(why, "a broker has no key %s. ", diag_str(set[i].key, strlen(set[i].key)));
            e = E_INVALID_CONFIG;
        } else if (!(view.key->flags & CONF_DYNAMIC)) {
            buf_printf(why, "%s cannot be changed while the broker runs. ", set[i].key);
            e = E_INVALID_CONFIG;
        } else if (set[i].value && conf_check_value(view.key, slice_str(set[i].value), why) != OK) {
            e = E_INVALID_CONFIG;
        }
    }
    return e;
}

/* What can fail before anything runs; false: a diag line has said why. */
static bool begin(struct server *b)
{
    if (open_logs(b) != OK || b->opts.open_coord(b->opts.user, &b->coord) != OK)
        return false;
    b->session = session_new(b->home, b->coord, b->opts.rng);
    session_on_failed(b->session, on_session_failed, b);
    b->follower = follower_new(b->session);
    b->subscription = (struct subscription){.home = b->home, .on_image = on_image, .arg = b};
    follower_subscribe(b->follower, &b->subscription);
    const struct controller_opts controller = {.session = b->session,
                                               .broker_id = b->conf.broker_id,
                                               .default_partitions = b->conf.num_partitions,
                                               .default_replication_factor =
                                                   b->conf.default_replication_factor,
                                               .defaults = &b->topic_defaults,
                                               .check_broker_configs = check_broker_configs,
                                               .user = b};
    b->controller = controller_new(&controller);
    const struct partition_table_opts table = {.home = b->home,
                                               .logs = b->logs,
                                               .broker_id = b->conf.broker_id,
                                               .defaults = &b->topic_defaults,
                                               .on_deleted = on_deleted,
                                               .on_settled = on_settled,
                                               .user = b};
    b->table = partition_table_new(&table);
    make_lanes(b);
    b->handlers.controller = b->controller;
    b->handlers.conf = b->opts.conf;
    b->handlers.broker_id = b->conf.broker_id;
    make_service(b);
    if (listen_all(b) != OK || start_metad(b) != OK || start_http(b) != OK)
        return false;
    server_metrics_add(b->metrics, b);
    log_manager_start(b->logs, on_recovered, b);
    return true;
}

struct server *server_new(const struct server_opts *opts)
{
    struct server *b = MEM_NEW(struct server);
    b->opts = *opts;
    b->home = opts->loops[0];
    broker_conf_read(opts->conf, &b->conf);
    broker_conf_topic_defaults(opts->conf, &b->topic_defaults);
    if (opts->is_standalone)
        metad_conf_read(opts->conf, &b->metad_conf);
    b->budget.limit = b->conf.queued_bytes_max;
    CHECK(pthread_mutex_init(&b->handlers.conf_lock, NULL) == 0);
    b->metrics = metrics_new();
    process_add_metrics(b->metrics);
    b->workers = opts->new_exec(opts->user, "sluice-logs",
                                b->conf.recovery_threads * (unsigned)b->conf.data_dirs.count);
    b->readers = opts->new_exec(opts->user, "sluice-read", b->conf.io_threads);
    if (begin(b))
        return b;
    server_free(b);
    return NULL;
}

/* --- stop --------------------------------------------------------------------------------- */

static void stopped(struct server *b)
{
    b->state = SERVER_STOPPED;
    b->opts.on_stopped(b->opts.user, b->has_failed);
}

static void on_closed(void *arg, err e)
{
    struct server *b = arg;
    if (e != OK)
        b->has_failed = true; /* the manager said which directory is not clean */
    stopped(b);
}

static void on_withdrawn(void *arg)
{
    struct server *b = arg;
    log_manager_close(b->logs, on_closed, b);
}

static void on_left(void *arg)
{
    struct server *b = arg;
    if (b->registration)
        registration_withdraw(b->registration, on_withdrawn, b);
    else
        on_withdrawn(b);
}

static void on_served(void *user)
{
    struct server *b = (struct server *)((char *)user - offsetof(struct server, handlers));
    partition_table_stop(b->table);
    controller_leave(b->controller, on_left, b);
}

static void on_metad_stopped(void *arg)
{
    struct server *b = arg;
    service_stop(b->service);
}

static void stop_serving(struct server *b)
{
    if (b->metad)
        metad_stop(b->metad, on_metad_stopped, b);
    else
        on_metad_stopped(b);
}

/* What was appended is flushed within a group commit or two; its producers should still hear of it.
 */
static void drain(void *arg)
{
    struct server *b = arg;
    if (partition_table_waiting(b->table) > 0 && loop_now_us(b->home) < b->drain_until_us)
        timer_start(b->home, &b->drain, DRAIN_STEP_US, drain, b);
    else
        stop_serving(b);
}

void server_stop(struct server *b)
{
    if (b->state >= SERVER_STOPPING)
        return;
    diag(DIAG_INFO, "broker", "stopping", "broker=%d", b->conf.broker_id);
    b->state = SERVER_STOPPING;
    if (b->http)
        http_stop(b->http);
    b->http = NULL;
    partition_table_refuse(b->table);
    b->drain_until_us = loop_now_us(b->home) + DRAIN_MAX_US;
    drain(b);
}

void server_free(struct server *b)
{
    if (b->http)
        http_stop(b->http);
    if (b->metad)
        metad_free(b->metad);
    if (b->service)
        service_free(b->service);
    if (b->handlers.lanes) {
        for (size_t i = 0; i < b->opts.loop_count; i++)
            lane_deinit(&b->handlers.lanes[i]);
        mem_free(b->handlers.lanes);
    }
    exec_free(b->readers);
    if (b->table) {
        partition_table_stop(b->table);
        partition_table_free(b->table);
    }
    if (b->session)
        session_free(b->session);
    if (b->coord)
        coord_close(b->coord);
    if (b->controller)
        controller_free(b->controller);
    if (b->registration)
        registration_free(b->registration);
    if (b->follower)
        follower_free(b->follower);
    exec_free(b->workers); /* who may be writing the identity still */
    if (b->logs)
        log_manager_free(b->logs);
    metrics_free(b->metrics);
    pthread_mutex_destroy(&b->handlers.conf_lock);
    mem_free(b);
}

/* --- looking at it ---------------------------------------------------------------------------- */

const struct address *server_bound(const struct server *b, size_t i)
{
    return &b->bound[i];
}

const struct broker_conf *server_get_conf(const struct server *b)
{
    return &b->conf;
}

const struct metad *server_metad(const struct server *b)
{
    return b->metad;
}

const struct address *server_http_bound(const struct server *b)
{
    return b->http ? &b->http_bound : NULL;
}
