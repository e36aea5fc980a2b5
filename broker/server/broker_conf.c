/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/server/broker_conf.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "metad/server/metad_conf.h"
#include "proto/base/check.h"
#include "proto/base/limits.h"
#include "proto/base/mem.h"

/* clang-format off */
static const struct conf_key broker_keys[] = {
    {"broker.id", CONF_INT, NULL, 0, BROKER_ID_MAX, NULL, 0,
     "This broker's number, unique in the cluster. Not set: assigned once and kept in the data directories."},
    {"listener", CONF_STRING, "127.0.0.1:9292", 1, 300, NULL, 0,
     "Where clients and other brokers connect, HOST:PORT: shorthand for one listener named CLIENT. Port 0 takes a free one."},
    {"listeners", CONF_LIST, NULL, 1, BROKER_LISTENERS_MAX, NULL, 0,
     "Several listeners, NAME://HOST:PORT each, instead of `listener`."},
    {"advertised.listener", CONF_STRING, NULL, 1, 300, NULL, 0,
     "The address that clients are told for `listener`, where it is not the one bound."},
    {"advertised.listeners", CONF_LIST, NULL, 1, BROKER_LISTENERS_MAX, NULL, 0,
     "The addresses that clients are told for `listeners`, NAME://HOST:PORT each."},
    {"inter.broker.listener.name", CONF_STRING, NULL, 1, 63, NULL, 0,
     "The listener that metad and other brokers use. Not set: the first."},
    {"http.listener", CONF_STRING, NULL, 1, 300, NULL, 0,
     "HOST:PORT that serves `/metrics`, `/health/live` and `/health/ready` over HTTP. Not set: none."},
    {"data.dirs", CONF_LIST, "sluice-data", 1, 64, NULL, 0,
     "Directories that hold the partitions; new partitions go to the one with the fewest. One that fails is taken out of use alone."},
    {"broker.rack", CONF_STRING, NULL, 1, 255, NULL, 0,
     "Replicas of a partition are spread over racks."},
    {"num.network.threads", CONF_INT, "0", 0, 256, NULL, 0,
     "Loops that serve connections. 0: half of the machine's CPUs, at least one (docs/decisions/network-threads.md)."},
    {"num.io.threads", CONF_INT, "4", 1, 256, NULL, 0,
     "Workers for reads that must wait for a disk and for searches by time."},
    {"num.recovery.threads.per.data.dir", CONF_INT, "2", 1, 64, NULL, 0,
     "Workers per data directory that recover partitions at the start, create and delete them."},
    {"socket.request.max.bytes", CONF_INT, "104857600", 65536, FRAME_BYTES_MAX, NULL, 0,
     "The longest frame that is accepted."},
    {"max.connections", CONF_INT, "20000", 1, 10000000, NULL, 0,
     "Connections in all; more are closed at once."},
    {"max.connections.per.ip", CONF_INT, "20000", 1, 10000000, NULL, 0,
     "Connections from one address; more are closed at once."},
    {"max.inflight.requests.per.connection", CONF_INT, "1000", 1, 100000, NULL, 0,
     "Unanswered requests of one connection; it is not read beyond that until half of them are answered."},
    {"queued.max.request.bytes", CONF_INT64, "268435456", MIB, (int64_t)1 << 40, NULL, 0,
     "Bytes of incomplete frames and unsent answers of all connections together; over it connections are not read."},
    {"connections.max.idle.ms", CONF_INT64, "600000", 0, (int64_t)1 << 40, NULL, 0,
     "A connection on which nothing moved for this long is closed. 0: never."},
    {"log.retention.check.interval.ms", CONF_INT, "300000", 1, 0x7fffffff, NULL, 0,
     "How often segments are looked through for what retention drops."},
    {"log.flush.offset.checkpoint.interval.ms", CONF_INT, "60000", 1, 0x7fffffff, NULL, 0,
     "How often recovery points and high watermarks are written down."},
    {"num.partitions", CONF_INT, "1", 1, TOPIC_PARTITIONS_MAX, NULL, 0,
     "Partitions of a topic that is created without saying how many."},
    {"default.replication.factor", CONF_INT, "1", 1, 32, NULL, 0,
     "Replicas of a topic that is created without saying how many."},
    {0},
};
/* clang-format on */

static const struct conf_table broker_table = {.title = "Broker", .keys = broker_keys};

struct broker_tables {
    struct conf_key topic_rows[TOPIC_CONFIG_COUNT + 1];
    char *texts[2 * TOPIC_CONFIG_COUNT]; /* owned by the rows */
    size_t text_count;
    struct conf_table topics;
    const struct conf_table *cluster[4];
    const struct conf_table *standalone[4];
};

static char *keep(struct broker_tables *t, struct buf *text)
{
    buf_append(text, "", 1);
    char *s = mem_strdup((const char *)text->data);
    t->texts[t->text_count++] = s;
    buf_deinit(text);
    return s;
}

static struct conf_key row_of(struct broker_tables *t, enum topic_config config)
{
    static const enum conf_type types[] = {[CONFIG_INT] = CONF_INT64,
                                           [CONFIG_BOOL] = CONF_BOOL,
                                           [CONFIG_CHOICE] = CONF_ENUM,
                                           [CONFIG_SET] = CONF_STRING,
                                           [CONFIG_RATIO] = CONF_STRING};
    const struct topic_config_def *def = topic_config_def(config);
    struct conf_key row = {
        .name = def->broker_key, .type = types[def->type], .flags = CONF_DYNAMIC, .doc = def->doc};
    struct buf text = {0};
    if (def->type != CONFIG_INT || (def->def >= def->min && def->def <= def->max)) {
        topic_config_print(config, def->def, &text);
        row.fallback = keep(t, &text);
    }
    if (def->type == CONFIG_INT) {
        row.min = def->min;
        row.max = def->max;
    }
    if (def->type == CONFIG_CHOICE) {
        for (size_t i = 0; def->choices[i]; i++)
            buf_printf(&text, "%s%s", i ? "|" : "", def->choices[i]);
        row.choices = keep(t, &text);
    }
    return row;
}

struct broker_tables *broker_tables_new(void)
{
    struct broker_tables *t = MEM_NEW(struct broker_tables);
    size_t n = 0;
    for (int i = 0; i < TOPIC_CONFIG_COUNT; i++)
        if (topic_config_def((enum topic_config)i)->broker_key)
            t->topic_rows[n++] = row_of(t, (enum topic_config)i);
    t->topics = (struct conf_table){.title = "Defaults for topics", .keys = t->topic_rows};
    t->cluster[0] = t->standalone[0] = &broker_table;
    t->cluster[1] = t->standalone[1] = &t->topics;
    t->standalone[2] = &metad_conf_table;
    return t;
}

void broker_tables_free(struct broker_tables *t)
{
    for (size_t i = 0; i < t->text_count; i++)
        mem_free(t->texts[i]);
    mem_free(t);
}

const struct conf_table *const *broker_tables_cluster(const struct broker_tables *t)
{
    return t->cluster;
}

const struct conf_table *const *broker_tables_standalone(const struct broker_tables *t)
{
    return t->standalone;
}

/* --- listeners ------------------------------------------------------------------ */

static bool parse_named(struct conf *c, const char *key, const char *text, char name[64],
                        struct address *at)
{
    const char *sep = strstr(text, "://");
    if (!sep || sep == text || (size_t)(sep - text) > 63) {
        conf_problem(c, key, "\"%s\" is not NAME://HOST:PORT", text);
        return false;
    }
    memcpy(name, text, (size_t)(sep - text));
    name[sep - text] = 0;
    if (address_parse(at, sep + 3, strlen(sep + 3)) != OK) {
        conf_problem(c, key, "\"%s\" is not HOST:PORT", sep + 3);
        return false;
    }
    return true;
}

static bool parse_single(struct conf *c, const char *key, struct address *at)
{
    const char *text = conf_string(c, key);
    if (address_parse(at, text, strlen(text)) == OK)
        return true;
    conf_problem(c, key, "\"%s\" is not HOST:PORT", text);
    return false;
}

static struct broker_listener *find_listener(struct broker_conf *b, const char *name)
{
    for (size_t i = 0; i < b->listener_count; i++)
        if (strcmp(b->listeners[i].name, name) == 0)
            return &b->listeners[i];
    return NULL;
}

static void read_listener_list(struct conf *c, struct broker_conf *out)
{
    const struct conf_list list = conf_list(c, "listeners");
    for (size_t i = 0; i < list.count; i++) {
        struct broker_listener l;
        if (!parse_named(c, "listeners", list.items[i], l.name, &l.at))
            continue;
        if (find_listener(out, l.name)) {
            conf_problem(c, "listeners", "the name %s is given twice", l.name);
            continue;
        }
        l.advertised = l.at;
        out->listeners[out->listener_count++] = l;
    }
    if (!conf_is_set(c, "advertised.listeners"))
        return;
    const struct conf_list told = conf_list(c, "advertised.listeners");
    for (size_t i = 0; i < told.count; i++) {
        char name[64];
        struct address at;
        if (!parse_named(c, "advertised.listeners", told.items[i], name, &at))
            continue;
        struct broker_listener *l = find_listener(out, name);
        if (l)
            l->advertised = at;
        else
            conf_problem(c, "advertised.listeners", "%s is not among `listeners`", name);
    }
}

/* Who sets both would not know which one counts. */
static void refuse_shorthand(struct conf *c, const char *key)
{
    struct conf_view view;
    if (conf_find(c, key, &view) && view.source != CONF_DEFAULT)
        conf_problem(c, key, "is for a single listener, but `listeners` is set, too");
}

static void read_listeners(struct conf *c, struct broker_conf *out)
{
    if (conf_is_set(c, "listeners")) {
        read_listener_list(c, out);
        refuse_shorthand(c, "listener");
        refuse_shorthand(c, "advertised.listener");
    } else {
        struct broker_listener *l = &out->listeners[0];
        strcpy(l->name, "CLIENT");
        out->listener_count = parse_single(c, "listener", &l->at) ? 1 : 0;
        l->advertised = l->at;
        if (conf_is_set(c, "advertised.listener"))
            parse_single(c, "advertised.listener", &l->advertised);
    }
    for (size_t i = 0; i < out->listener_count; i++) {
        /* An address that means "all interfaces" is nothing that a client could connect to. */
        const char *host = out->listeners[i].advertised.host;
        if (host[0] == 0 || strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0)
            conf_problem(
                c, conf_is_set(c, "listeners") ? "advertised.listeners" : "advertised.listener",
                "must be set for listener %s: clients cannot connect to all interfaces",
                out->listeners[i].name);
    }
    const char *name = conf_string(c, "inter.broker.listener.name");
    struct broker_listener *l = name ? find_listener(out, name) : &out->listeners[0];
    if (l)
        out->inter_broker = (size_t)(l - out->listeners);
    else
        conf_problem(c, "inter.broker.listener.name", "no listener is called %s", name);
}

static uint32_t network_threads(const struct conf *c)
{
    const int32_t set = conf_int(c, "num.network.threads");
    const long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    if (set > 0)
        return (uint32_t)set;
    return cpus > 3 ? (uint32_t)cpus / 2 : 1;
}

void broker_conf_read(struct conf *c, struct broker_conf *out)
{
    *out = (struct broker_conf){
        .broker_id = conf_is_set(c, "broker.id") ? conf_int(c, "broker.id") : -1,
        .data_dirs = conf_list(c, "data.dirs"),
        .rack = conf_is_set(c, "broker.rack") ? conf_string(c, "broker.rack") : "",
        .has_http = conf_is_set(c, "http.listener"),
        .network_threads = network_threads(c),
        .io_threads = (uint32_t)conf_int(c, "num.io.threads"),
        .recovery_threads = (uint32_t)conf_int(c, "num.recovery.threads.per.data.dir"),
        .connections_max = (size_t)conf_int(c, "max.connections"),
        .connections_per_address_max = (size_t)conf_int(c, "max.connections.per.ip"),
        .inflight_max = (size_t)conf_int(c, "max.inflight.requests.per.connection"),
        .frame_bytes_max = (size_t)conf_int(c, "socket.request.max.bytes"),
        .queued_bytes_max = (size_t)conf_int64(c, "queued.max.request.bytes"),
        .idle_us = conf_int64(c, "connections.max.idle.ms") * 1000,
        .retention_interval_ms = (uint32_t)conf_int(c, "log.retention.check.interval.ms"),
        .checkpoint_interval_ms = (uint32_t)conf_int(c, "log.flush.offset.checkpoint.interval.ms"),
        .num_partitions = conf_int(c, "num.partitions"),
        .default_replication_factor = conf_int(c, "default.replication.factor"),
    };
    read_listeners(c, out);
    if (out->has_http)
        parse_single(c, "http.listener", &out->http);

    for (int i = 0; i < TOPIC_CONFIG_COUNT; i++) {
        const struct topic_config_def *def = topic_config_def((enum topic_config)i);
        struct conf_view view;
        struct buf why = {0};
        int64_t value;
        if (def->broker_key && conf_find(c, def->broker_key, &view) && view.value &&
            topic_config_parse((enum topic_config)i, view.value, &value, &why) != OK)
            conf_problem(c, def->broker_key, "%.*s", (int)why.size, (const char *)why.data);
        buf_deinit(&why);
    }
}

void broker_conf_topic_defaults(const struct conf *c, struct topic_config_values *out)
{
    topic_config_values_init(out);
    for (int i = 0; i < TOPIC_CONFIG_COUNT; i++) {
        const struct topic_config_def *def = topic_config_def((enum topic_config)i);
        struct conf_view view;
        struct buf ignored = {0}; /* broker_conf_read has complained */
        int64_t value;
        if (def->broker_key && conf_find(c, def->broker_key, &view) && view.value &&
            topic_config_parse((enum topic_config)i, view.value, &value, &ignored) == OK)
            out->v[i] = value;
        buf_deinit(&ignored);
    }
}
