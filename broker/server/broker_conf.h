/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The broker's configuration: its table of keys, and what the values mean.
 * The keys that give topics their defaults come from metad/model/topic_configs,
 * so that each exists once. Threads: the owner's; values are read at start.
 */
#ifndef SLUICE_SERVER_BROKER_CONF_H
#define SLUICE_SERVER_BROKER_CONF_H

#include "metad/model/topic_configs.h"
#include "proto/base/conf.h"
#include "proto/net/loop.h"

/* The tables; made once, for the life of the program. */
struct broker_tables;
struct broker_tables *broker_tables_new(void);
void broker_tables_free(struct broker_tables *t);
/* NULL-ended: of a broker, and of one that is metad too. */
const struct conf_table *const *broker_tables_cluster(const struct broker_tables *t);
const struct conf_table *const *broker_tables_standalone(const struct broker_tables *t);

enum { BROKER_LISTENERS_MAX = 8 };

struct broker_listener {
    char name[64];
    struct address at;         /* to bind */
    struct address advertised; /* told to clients; port 0: the bound one */
};

struct broker_conf {
    int32_t broker_id; /* -1: not set */
    struct broker_listener listeners[BROKER_LISTENERS_MAX];
    size_t listener_count;
    size_t inter_broker; /* index of the listener that brokers and metad use */
    struct conf_list data_dirs;
    const char *rack;
    bool has_http;
    struct address http;
    uint32_t network_threads, io_threads, recovery_threads;
    size_t connections_max, connections_per_address_max, inflight_max;
    size_t frame_bytes_max, queued_bytes_max;
    int64_t idle_us;
    uint32_t retention_interval_ms, checkpoint_interval_ms;
    int32_t num_partitions, default_replication_factor;
};

/* Problems between values are added to c; strings borrow from c. */
void broker_conf_read(struct conf *c, struct broker_conf *out);
/* What the broker's keys say of topics that do not say it themselves. */
void broker_conf_topic_defaults(const struct conf *c, struct topic_config_values *out);

#endif
