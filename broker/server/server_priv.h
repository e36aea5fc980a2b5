/* SPDX-License-Identifier: Apache-2.0 */
/* The broker's insides, for server.c and server_metrics.c. */
#ifndef SLUICE_SERVER_SERVER_PRIV_H
#define SLUICE_SERVER_SERVER_PRIV_H

#include <stdatomic.h>

#include "broker/controller/controller.h"
#include "broker/server/api_table.h"
#include "broker/server/server.h"
#include "metad/follow/follower.h"
#include "metad/follow/registration.h"
#include "metad/server/metad.h"
#include "metad/server/metad_conf.h"
#include "proto/net/http.h"

enum server_state { SERVER_STARTING, SERVER_READY, SERVER_STOPPING, SERVER_STOPPED };

struct server {
    struct server_opts opts;
    struct broker_conf conf;
    struct topic_config_values topic_defaults;
    struct loop *home; /* loops[0] */
    enum server_state state;
    bool has_failed;

    struct exec *workers; /* recovery, directories */
    struct exec *readers; /* cold reads, searches */
    struct log_manager *logs;
    struct coord *coord;
    struct session *session;
    struct follower *follower;
    struct subscription subscription;
    struct registration *registration;
    struct endpoint endpoints[BROKER_LISTENERS_MAX];
    /* 0: not registered yet. Set after cluster_id, which does not change from then on: Hello is
     * answered on every loop. */
    _Atomic uint64_t incarnation;
    struct controller *controller;
    struct partition_table *table;

    struct handlers handlers;
    struct byte_budget budget;
    struct service *service;
    struct address bound[BROKER_LISTENERS_MAX];
    char cluster_id[UUID_TEXT];
    struct metad_conf metad_conf;
    struct metad *metad; /* standalone */
    struct metrics *metrics;
    struct http *http;
    struct address http_bound;

    /* Incarnation and cluster id on their way to the directories. */
    struct exec_job identity_job;
    struct uuid identity_cluster;
    uint64_t identity_incarnation;
    err identity_result;

    struct timer drain; /* stopping: until nothing waits for a flush */
    int64_t drain_until_us;
};

#endif
