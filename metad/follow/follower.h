/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps the cluster image up to date from the coordination tree and hands it to
 * whoever subscribed.
 *
 * One watch, on /changes, whatever the number of topics: when it fires, the
 * node is read again with a watch, and what its ring names since the image's
 * version is read. A reader that missed more than the ring holds, and each new
 * session after a sync, reads all. Images never go back: one that would be
 * older than the last is not published, and is read again.
 *
 * Threads: the session's loop. Subscribers get images on their own loops, by
 * mail, the newest only: one that is slow skips some.
 */
#ifndef SLUICE_FOLLOW_FOLLOWER_H
#define SLUICE_FOLLOW_FOLLOWER_H

#include "metad/follow/session.h"
#include "metad/model/cluster.h"

struct follower;

struct subscription {
    struct loop *home;
    /* On home. img: borrowed for the call; reference it to keep it. */
    void (*on_image)(void *arg, const struct cluster *img);
    void *arg;
    /* The rest is the follower's. */
    struct mail mail;
    _Atomic(const struct cluster *) pending;
    _Atomic bool posted;
    struct subscription *next;
};

/* Joins the session; begins with it. */
struct follower *follower_new(struct session *s);
/* After coord_close, when no subscriber's loop runs any more. */
void follower_free(struct follower *f);

/* sub lives as long as the follower, or until follower_unsubscribe. Before the loops run, or on the
 * session's loop. The image that is there, if any, is sent at once. */
void follower_subscribe(struct follower *f, struct subscription *sub);
/* When no loop runs any more: a subscriber that goes before the follower. */
void follower_unsubscribe(struct follower *f, struct subscription *sub);
/* The newest image; NULL before the first. On the session's loop. */
const struct cluster *follower_image(const struct follower *f);
/* Since when (loop time) /changes was last known to be followed; for health. INT64_MIN: never yet.
 */
int64_t follower_contact_us(const struct follower *f);

#endif
