/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The controller: one broker of the cluster, elected, the only writer of the
 * state of topics and partitions. Every broker has a `struct controller`; it
 * stands for election whenever the broker is registered, and acts while elected.
 *
 * Elected (rule C2) by one multi: create /controller, raise /controller_epoch.
 * It then reads everything, and from then on knows the tree because nobody
 * else writes it. Every write (rule C4) is one multi: check /controller_epoch,
 * check /brokers/epoch/<b> of every new leader and added in-sync replica, set or
 * create the topic, set /changes. A failed check of the epoch means resign at
 * once; any other: read again, decide again. A lost answer is read back by the
 * version of /changes before anything else is written.
 *
 * Work waits in a bounded queue (E_OVERLOADED over CONTROLLER_QUEUE_MAX); one
 * multi is under way at a time and carries what is queued for different topics.
 *
 * Threads: the session's loop; controller_serve on any loop of a service.
 */
#ifndef SLUICE_CONTROLLER_CONTROLLER_H
#define SLUICE_CONTROLLER_CONTROLLER_H

#include "metad/follow/session.h"
#include "metad/model/cluster.h"
#include "metad/model/topic_configs.h"
#include "proto/net/service.h"

enum { CONTROLLER_QUEUE_MAX = 16 * 1024 };

struct controller;

struct controller_opts {
    struct session *session;
    int32_t broker_id;
    /* num.partitions, default.replication.factor, and the broker's values for min.insync.replicas
     * ... */
    int32_t default_partitions;
    int32_t default_replication_factor;
    const struct topic_config_values *defaults; /* kept */
    /* Checks configs of a broker that are to be set at run time: E_INVALID_CONFIG with all bad keys
     * in why. value NULL in a property: the key is taken back. NULL: no broker config can change at
     * run time. */
    err (*check_broker_configs)(void *user, const struct property *set, size_t count,
                                struct buf *why);
    void *user;
};

struct controller *controller_new(const struct controller_opts *opts);
/* After coord_close. */
void controller_free(struct controller *c);
/* The broker is registered under this incarnation: stand for election. Again after each
 * registration. */
void controller_stand(struct controller *c, uint64_t incarnation);
/* A clean stop: no new work, finish what is under way, give the office up; then done. */
void controller_leave(struct controller *c, void (*done)(void *arg), void *arg);
bool controller_is_elected(const struct controller *c);
/* Its epoch (the version of /controller_epoch); 0 if it is not elected. */
uint32_t controller_epoch(const struct controller *c);
size_t controller_backlog(const struct controller *c);

/* Takes a request of API_CREATE_TOPICS, API_DELETE_TOPICS, API_CREATE_PARTITIONS or
 * API_ALTER_CONFIGS, decoded, and answers it: with E_NOT_CONTROLLER if that is another broker now.
 * Any loop: this is what the broker's rows of the service table call. user of the row is the
 * broker's business. */
void controller_serve(struct controller *c, struct request *r, const void *message);

/* The same without a connection: message and what it points to must stay until done, which comes
 * once, on the session's loop, with a TopicsResponse (AlterConfigsResponse for that api), or with
 * an error and a sentence. */
typedef void controller_done_fn(void *arg, err e, const char *why, const void *response);
void controller_submit(struct controller *c, uint32_t api, const void *message,
                       controller_done_fn *done, void *arg);

/* A broker deleted what it had of a deleted topic: when all have, the tombstone goes. May be told
 * again and again (the broker repeats it while its image shows the tombstone waiting for it).
 * Session's loop. */
void controller_confirm_deleted(struct controller *c, int32_t broker_id,
                                const struct uuid *topic_id);

#endif
