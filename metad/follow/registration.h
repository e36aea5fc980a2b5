/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A broker's registration (rule C1): checks or creates /cluster, then raises
 * /brokers/epoch/<id> and creates /brokers/ids/<id> in one multi. The version
 * it raised to is the broker's incarnation.
 *
 * An own ghost (an ephemeral node left by an earlier session of this broker,
 * told by an older incarnation) is replaced in the same multi; while another
 * process of the same id lives, registration is tried for one session timeout
 * and then fails, naming it. Re-registering after a lost session without a
 * restart is a new incarnation too.
 *
 * Before a registration the owner is asked to write the incarnation it is about
 * to get to its directories, durably (`prepare`); a directory that has seen a
 * later one than the store makes the registration fail (rule Z9: the store
 * went back).
 *
 * Threads: the session's loop.
 */
#ifndef SLUICE_FOLLOW_REGISTRATION_H
#define SLUICE_FOLLOW_REGISTRATION_H

#include "metad/follow/session.h"
#include "metad/model/cluster.h"

enum { FEATURE_LEVEL = 1 };

struct registration;

struct registration_opts {
    struct session *session;
    int32_t broker_id;
    const char *rack;                 /* kept; empty: none */
    const struct endpoint *endpoints; /* kept */
    uint32_t endpoint_count;
    const struct uuid *directory_ids; /* kept */
    uint32_t directory_count;
    bool clean; /* every directory had its clean marker at start */
    /* What the directories remember; empty: new ones. Another cluster's id refuses. */
    const char *cluster_id;
    uint64_t incarnation_seen; /* the highest the directories know; 0: none */
    void *user;
    /* Write this down durably in every directory (on a worker), then call registration_prepared. */
    void (*prepare)(void *user, const char *cluster_id, uint64_t incarnation);
    /* Registered. Comes again, with another incarnation, after each new session. */
    void (*on_registered)(void *user, const char *cluster_id, uint64_t incarnation);
    /* This process cannot be a member: E_INCONSISTENT_CLUSTER_ID, E_EXISTS (the id is taken by a
     * live broker), E_STALE_BROKER_EPOCH (the store is older than the directories, or a newer
     * process took the id), E_CORRUPT (a node does not decode), E_UNSUPPORTED_VERSION (the
     * cluster's feature level). why: a sentence. Final. */
    void (*on_refused)(void *user, err e, const char *why);
};

/* Joins the session; begins with it. */
struct registration *registration_new(const struct registration_opts *opts);
/* After coord_close. */
void registration_free(struct registration *reg);
/* OK, or a storage error that ends the attempt as refused. */
void registration_prepared(struct registration *reg, err e);
/* 0: not registered now. */
uint64_t registration_incarnation(const struct registration *reg);
/* Takes the registration back (a clean stop): done when the node is gone or the session lost. */
void registration_withdraw(struct registration *reg, void (*done)(void *arg), void *arg);

#endif
