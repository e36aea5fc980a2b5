/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Steps, each an operation whose answer leads to the next:
 *
 *   /cluster there? -no-> make the skeleton and /cluster -> again
 *     -> /brokers/epoch/<id> there? -no-> make it -> again
 *     -> /brokers/ids/<id> there? free, mine (a lost answer: done), a ghost, or another's
 *     -> prepare (the owner writes the incarnation down)
 *     -> multi { set the epoch at its version, [delete the ghost,] create the id }
 *
 * An answer that says nothing (no contact) leads back to the first step after a
 * while: all that was done is found again. A lost session stops the timer; its
 * operations have ended by then.
 */
#include "metad/follow/registration.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "metad/coord/nodes.h"
#include "metad/coord/paths.h"
#include "proto/base/check.h"
#include "proto/base/diag.h"
#include "proto/base/mem.h"

enum { TAKEN_WAIT_US_MIN = 1000 * 1000 };

enum state { IDLE, WORKING, PREPARING, REGISTERED, REFUSED, WITHDRAWN };

struct registration {
    struct registration_opts opts;
    struct session_member member;
    struct loop *loop;
    struct coord *coord;
    enum state state;
    char cluster_id[NODES_CLUSTER_ID_BYTES];
    size_t skeleton_at;
    int32_t epoch_version;       /* as read; the incarnation will be one more */
    int32_t ghost_version;       /* of the node to replace; -1: there is none */
    uint64_t incarnation;        /* 0: not registered */
    uint64_t incarnation_before; /* the last that this process or its directories had */
    unsigned preparing;          /* calls that were not answered by registration_prepared */
    int64_t taken_since_us;      /* 0: the id is not taken by another process */
    struct timer again;
    void (*withdrawn)(void *arg);
    void *withdrawn_arg;
};

static void read_cluster(void *arg);

static void retry(struct registration *reg)
{
    timer_start(reg->loop, &reg->again, session_retry_us(reg->opts.session), read_cluster, reg);
}

static void refuse(struct registration *reg, err e, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void refuse(struct registration *reg, err e, const char *format, ...)
{
    char why[512];
    va_list args;
    va_start(args, format);
    vsnprintf(why, sizeof why, format, args);
    va_end(args);
    reg->state = REFUSED;
    diag(DIAG_ERROR, "registration", "refused", "broker=%d error=%s why=%s", reg->opts.broker_id,
         err_name(e), DIAG_STR(why));
    reg->opts.on_refused(reg->opts.user, e, why);
}

/* Registered, or on the way to it. */
static bool is_working(const struct registration *reg)
{
    return reg->state == WORKING;
}

/* --- registering ----------------------------------------------------------------- */

static void registered(struct registration *reg, uint64_t incarnation)
{
    reg->state = REGISTERED;
    reg->incarnation = incarnation;
    reg->incarnation_before = incarnation;
    reg->taken_since_us = 0;
    diag(DIAG_INFO, "registration", "registered", "broker=%d incarnation=%" PRIu64 " cluster=%s",
         reg->opts.broker_id, incarnation, DIAG_STR(reg->cluster_id));
    reg->opts.on_registered(reg->opts.user, reg->cluster_id, incarnation);
}

static void on_written(void *arg, err e, size_t failed)
{
    struct registration *reg = arg;
    (void)failed;
    if (!is_working(reg))
        return;
    if (e == OK)
        registered(reg, (uint64_t)reg->epoch_version + 1);
    else
        retry(reg); /* whatever it was, reading again tells */
}

static void write_registration(struct registration *reg)
{
    const struct path epoch_path = path_of_broker_epoch(reg->opts.broker_id);
    const struct path id_path = path_of_broker(reg->opts.broker_id);
    struct buf node = {0};
    nodes_pack_broker(&(struct broker){.id = reg->opts.broker_id,
                                       .incarnation = (uint64_t)reg->epoch_version + 1,
                                       .rack = reg->opts.rack,
                                       .endpoints = reg->opts.endpoints,
                                       .endpoint_count = reg->opts.endpoint_count,
                                       .clean = reg->opts.clean,
                                       .directory_ids = reg->opts.directory_ids,
                                       .directory_count = reg->opts.directory_count},
                      &node);
    struct coord_op ops[3];
    size_t count = 0;
    ops[count++] = (struct coord_op){
        .kind = COORD_SET, .path = epoch_path.text, .version = reg->epoch_version};
    if (reg->ghost_version >= 0)
        ops[count++] = (struct coord_op){
            .kind = COORD_DELETE, .path = id_path.text, .version = reg->ghost_version};
    ops[count++] = (struct coord_op){
        .kind = COORD_CREATE, .path = id_path.text, .data = buf_slice(&node), .ephemeral = true};
    coord_multi(reg->coord, ops, count, on_written, reg);
    buf_deinit(&node);
}

void registration_prepared(struct registration *reg, err e)
{
    CHECK(reg->preparing > 0);
    reg->preparing--;
    if (reg->preparing > 0 || reg->state != PREPARING)
        return; /* of an earlier session */
    reg->state = WORKING;
    if (e == OK)
        write_registration(reg);
    else
        refuse(reg, e, "the incarnation cannot be written to the data directories: %s",
               err_text(e));
}

/* The owner writes down what is about to be registered. */
static void prepare(struct registration *reg, int32_t ghost_version)
{
    reg->ghost_version = ghost_version;
    reg->state = PREPARING;
    reg->preparing++;
    reg->opts.prepare(reg->opts.user, reg->cluster_id, (uint64_t)reg->epoch_version + 1);
}

/* Another process of this id: its session may be about to end. */
static void wait_for_other(struct registration *reg, const struct broker *other)
{
    const int64_t now = loop_now_us(reg->loop);
    int64_t allowed = coord_session_timeout_us(reg->coord);
    if (allowed < TAKEN_WAIT_US_MIN)
        allowed = TAKEN_WAIT_US_MIN;
    if (reg->taken_since_us == 0)
        reg->taken_since_us = now;
    if (now - reg->taken_since_us <= allowed) {
        retry(reg);
        return;
    }
    const struct endpoint *at = other->endpoint_count > 0 ? &other->endpoints[0] : NULL;
    refuse(reg, E_EXISTS,
           "broker.id %d is taken by a broker that is registered now, at %s:%u, incarnation "
           "%" PRIu64 ": give this one another id, or stop that one",
           reg->opts.broker_id, at != NULL ? at->host : "an unknown address",
           at != NULL ? at->port : 0u, other->incarnation);
}

static void on_id(void *arg, err e, struct slice data, const struct coord_stat *stat)
{
    struct registration *reg = arg;
    if (!is_working(reg))
        return;
    if (e == E_NOT_FOUND) {
        prepare(reg, -1);
        return;
    }
    if (e != OK) {
        retry(reg);
        return;
    }
    struct broker *there;
    const char *what;
    if (nodes_unpack_broker(data, reg->opts.broker_id, &there, &what) != OK) {
        refuse(reg, E_CORRUPT, "%s/%d does not hold a broker: %s", PATH_BROKER_IDS,
               reg->opts.broker_id, what);
        return;
    }
    const bool is_mine = stat->owner_session == coord_session(reg->coord);
    if (is_mine && there->incarnation == (uint64_t)reg->epoch_version)
        registered(reg, there->incarnation); /* the answer to my own write was lost */
    else if (is_mine || there->incarnation <= reg->incarnation_before)
        prepare(reg, stat->version);
    else
        wait_for_other(reg, there);
    broker_unref(there);
}

static void on_epoch_made(void *arg, err e)
{
    struct registration *reg = arg;
    if (!is_working(reg))
        return;
    if (e == OK || e == E_EXISTS)
        read_cluster(reg);
    else
        retry(reg);
}

static void on_epoch(void *arg, err e, struct slice data, const struct coord_stat *stat)
{
    struct registration *reg = arg;
    (void)data;
    if (!is_working(reg))
        return;
    if (e == E_NOT_FOUND && reg->opts.incarnation_seen <= 1) {
        coord_create(reg->coord, path_of_broker_epoch(reg->opts.broker_id).text, slice_of(NULL, 0),
                     false, on_epoch_made, reg);
        return;
    }
    if (e != OK && e != E_NOT_FOUND) {
        retry(reg);
        return;
    }
    const uint64_t known = e == OK ? (uint64_t)stat->version : 0;
    /* The directories may know the one that was prepared last and never registered. */
    if (known + 1 < reg->opts.incarnation_seen) {
        refuse(reg, E_STALE_BROKER_EPOCH,
               "the data directories know incarnation %" PRIu64
               " of broker %d, the coordination store only %" PRIu64
               ": the store went back to an older state, or is another cluster's",
               reg->opts.incarnation_seen, reg->opts.broker_id, known);
        return;
    }
    reg->epoch_version = stat->version;
    coord_get(reg->coord, path_of_broker(reg->opts.broker_id).text, NULL, on_id, reg);
}

/* --- the cluster ----------------------------------------------------------------- */

static void on_cluster_made(void *arg, err e)
{
    struct registration *reg = arg;
    if (!is_working(reg))
        return;
    if (e == OK || e == E_EXISTS)
        read_cluster(reg); /* whose id it is is read, not assumed */
    else
        retry(reg);
}

static void pack_cluster(struct registration *reg, struct buf *node)
{
    struct cluster_identity identity = {.feature_level = FEATURE_LEVEL};
    const struct uuid id = rng_uuid(session_rng(reg->opts.session));
    uuid_text(&id, identity.id);
    nodes_pack_cluster(&identity, node);
}

/* Node by node, where a part of it was there already. /cluster comes last: who finds it finds all.
 */
static void complete_skeleton(struct registration *reg);

static void on_skeleton_made(void *arg, err e)
{
    struct registration *reg = arg;
    if (!is_working(reg))
        return;
    if (e != OK && e != E_EXISTS) {
        retry(reg);
        return;
    }
    reg->skeleton_at++;
    complete_skeleton(reg);
}

static void complete_skeleton(struct registration *reg)
{
    struct buf node = {0};
    if (reg->skeleton_at < paths_skeleton_count) {
        coord_create(reg->coord, paths_skeleton[reg->skeleton_at], slice_of(NULL, 0), false,
                     on_skeleton_made, reg);
        return;
    }
    pack_cluster(reg, &node);
    coord_create(reg->coord, PATH_CLUSTER, buf_slice(&node), false, on_cluster_made, reg);
    buf_deinit(&node);
}

static void on_all_made(void *arg, err e, size_t failed)
{
    struct registration *reg = arg;
    (void)failed;
    if (!is_working(reg))
        return;
    if (e == E_EXISTS) {
        reg->skeleton_at = 0;
        complete_skeleton(reg);
    } else {
        on_cluster_made(reg, e);
    }
}

/* All at once: the usual case. */
static void make_cluster(struct registration *reg)
{
    struct coord_op ops[32];
    struct buf node = {0};
    size_t count = 0;
    CHECK(paths_skeleton_count < sizeof ops / sizeof ops[0]);
    for (unsigned i = 0; i < paths_skeleton_count; i++)
        ops[count++] = (struct coord_op){.kind = COORD_CREATE, .path = paths_skeleton[i]};
    pack_cluster(reg, &node);
    ops[count++] =
        (struct coord_op){.kind = COORD_CREATE, .path = PATH_CLUSTER, .data = buf_slice(&node)};
    coord_multi(reg->coord, ops, count, on_all_made, reg);
    buf_deinit(&node);
}

static void check_cluster(struct registration *reg, struct slice data)
{
    struct cluster_identity cluster;
    const char *what;
    if (nodes_unpack_cluster(data, &cluster, &what) != OK) {
        refuse(reg, E_CORRUPT, "%s does not hold a cluster: %s", PATH_CLUSTER, what);
        return;
    }
    if (cluster.feature_level > FEATURE_LEVEL) {
        refuse(reg, E_UNSUPPORTED_VERSION,
               "the cluster is at feature level %u, this version knows %d: upgrade this broker",
               cluster.feature_level, FEATURE_LEVEL);
        return;
    }
    const char *mine = reg->opts.cluster_id;
    if (mine[0] != '\0' && strcmp(mine, cluster.id) != 0) {
        refuse(reg, E_INCONSISTENT_CLUSTER_ID,
               "the data directories belong to cluster %s, the coordination store to cluster %s",
               mine, cluster.id);
        return;
    }
    memcpy(reg->cluster_id, cluster.id, sizeof reg->cluster_id);
    coord_get(reg->coord, path_of_broker_epoch(reg->opts.broker_id).text, NULL, on_epoch, reg);
}

static void on_cluster(void *arg, err e, struct slice data, const struct coord_stat *stat)
{
    struct registration *reg = arg;
    (void)stat;
    if (!is_working(reg))
        return;
    if (e == OK) {
        check_cluster(reg, data);
    } else if (e != E_NOT_FOUND) {
        retry(reg);
    } else if (reg->opts.cluster_id[0] != '\0') {
        refuse(reg, E_INCONSISTENT_CLUSTER_ID,
               "the data directories belong to cluster %s, but the coordination store is empty",
               reg->opts.cluster_id);
    } else {
        make_cluster(reg);
    }
}

static void read_cluster(void *arg)
{
    struct registration *reg = arg;
    coord_get(reg->coord, PATH_CLUSTER, NULL, on_cluster, reg);
}

/* --- life ------------------------------------------------------------------------ */

static void on_begin(void *arg)
{
    struct registration *reg = arg;
    if (reg->state != IDLE)
        return; /* refused, or withdrawn */
    reg->state = WORKING;
    reg->taken_since_us = 0;
    read_cluster(reg);
}

static void on_lost(void *arg)
{
    struct registration *reg = arg;
    timer_stop(reg->loop, &reg->again);
    reg->incarnation = 0;
    if (reg->state == WORKING || reg->state == PREPARING || reg->state == REGISTERED)
        reg->state = IDLE;
    if (reg->state == WITHDRAWN && reg->withdrawn != NULL) {
        void (*done)(void *) = reg->withdrawn;
        reg->withdrawn = NULL;
        done(reg->withdrawn_arg);
    }
}

struct registration *registration_new(const struct registration_opts *opts)
{
    struct registration *reg = MEM_NEW(struct registration);
    reg->opts = *opts;
    reg->loop = session_loop(opts->session);
    reg->coord = session_coord(opts->session);
    reg->incarnation_before = opts->incarnation_seen;
    reg->member = (struct session_member){.on_begin = on_begin, .on_lost = on_lost, .arg = reg};
    session_join(opts->session, &reg->member);
    return reg;
}

void registration_free(struct registration *reg)
{
    timer_stop(reg->loop, &reg->again);
    mem_free(reg);
}

uint64_t registration_incarnation(const struct registration *reg)
{
    return reg->incarnation;
}

static void withdraw(void *arg);

static void on_gone(void *arg, err e)
{
    struct registration *reg = arg;
    if (reg->withdrawn == NULL)
        return;
    if (e == E_NETWORK || e == E_OVERLOADED) {
        timer_start(reg->loop, &reg->again, session_retry_us(reg->opts.session), withdraw, reg);
        return;
    }
    void (*done)(void *) = reg->withdrawn;
    reg->withdrawn = NULL;
    done(reg->withdrawn_arg);
}

/* Ephemeral nodes are created and deleted, never set: the version is 0. */
static void withdraw(void *arg)
{
    struct registration *reg = arg;
    coord_delete(reg->coord, path_of_broker(reg->opts.broker_id).text, 0, on_gone, reg);
}

void registration_withdraw(struct registration *reg, void (*done)(void *arg), void *arg)
{
    const bool was_registered = reg->state == REGISTERED;
    timer_stop(reg->loop, &reg->again);
    reg->state = WITHDRAWN;
    reg->incarnation = 0;
    if (!was_registered) {
        done(arg);
        return;
    }
    reg->withdrawn = done;
    reg->withdrawn_arg = arg;
    withdraw(reg);
}
