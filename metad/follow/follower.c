/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Work is done in rounds. A round reads /changes, then what has to be read (all
 * of it, or what the ring names), into an edit, and publishes. What goes wrong
 * with the connection ends the round without an image; another one follows.
 *
 * Invariants: 1. One round at a time; its edit is NULL until /changes was read.
 * 2. The watch on /changes is set, or a round is coming that will set it.
 * 3. Versions of published images only grow.
 */
#include "metad/follow/follower.h"

#include <inttypes.h>
#include <stdatomic.h>

#include "metad/coord/nodes.h"
#include "metad/coord/paths.h"
#include "metad/follow/reading.h"
#include "proto/base/check.h"
#include "proto/base/diag.h"
#include "proto/base/mem.h"

enum {
    GONE_BACK_US = 1000 * 1000,
    RECHECK_US = 10 * 1000 * 1000, /* rule C5: a missed notification must be harmless */
};

struct follower {
    struct session *session;
    struct session_member member;
    struct loop *loop;
    struct coord *coord;
    const struct cluster *image; /* NULL: none yet */
    struct subscription *subscriptions;
    int64_t contact_us;

    bool is_watching;
    bool is_dirty;  /* another round is needed */
    bool must_sync; /* and must see what others wrote, and read all */
    struct timer again;
    struct timer recheck;

    /* The round. */
    bool in_round;
    bool has_failed;
    struct cluster_edit *edit;
    struct reading *reading;
    bool is_missing; /* there is no /changes: no broker has been here yet */
    bool has_gone_back;
};

static void begin_round(void *arg);
static void arm_recheck(struct follower *f);

static void recheck(void *arg)
{
    struct follower *f = arg;
    arm_recheck(f);
    if (!f->in_round && !timer_is_running(&f->again))
        begin_round(f);
}

static void arm_recheck(struct follower *f)
{
    timer_start(f->loop, &f->recheck, RECHECK_US, recheck, f);
}

/* --- publishing ------------------------------------------------------------------ */

static void deliver(struct mail *m)
{
    struct subscription *sub =
        (struct subscription *)((char *)m - offsetof(struct subscription, mail));
    atomic_store(&sub->posted, false);
    const struct cluster *img = atomic_exchange(&sub->pending, NULL);
    if (img == NULL)
        return;
    sub->on_image(sub->arg, img);
    cluster_unref(img);
}

static void send_image(struct subscription *sub, const struct cluster *img)
{
    cluster_unref(atomic_exchange(&sub->pending, cluster_ref(img)));
    if (!atomic_exchange(&sub->posted, true))
        loop_post(sub->home, &sub->mail);
}

static void publish(struct follower *f, struct cluster *img)
{
    if (f->image != NULL)
        CHECK(cluster_version(img) >= cluster_version(f->image)); /* invariant 3 */
    cluster_unref(f->image);
    f->image = img;
    for (struct subscription *sub = f->subscriptions; sub != NULL; sub = sub->next)
        send_image(sub, img);
}

/* --- rounds ---------------------------------------------------------------------- */

static void round_again(struct follower *f, int64_t delay_us)
{
    if (session_is_live(f->session))
        timer_start(f->loop, &f->again, delay_us, begin_round, f);
}

static void on_changes_fired(void *arg);

static void on_changes_exist(void *arg, err e, const struct coord_stat *stat)
{
    struct follower *f = arg;
    (void)stat;
    if (e != E_NOT_FOUND && !f->in_round) /* else the watch will tell */
        round_again(f, e == OK ? 0 : session_retry_us(f->session));
}

static void wait_for_changes(struct follower *f)
{
    const struct coord_watch watch = {.fn = on_changes_fired, .arg = f};
    coord_exists(f->coord, PATH_CHANGES, &watch, on_changes_exist, f);
}

static void end_round(struct follower *f)
{
    f->in_round = false;
    struct cluster_edit *edit = f->edit;
    f->edit = NULL;
    if (f->reading != NULL)
        reading_free(f->reading);
    f->reading = NULL;
    if (f->has_failed) {
        if (edit != NULL)
            cluster_edit_free(edit);
        f->is_dirty = true;
        if (f->is_missing)
            wait_for_changes(f);
        else
            round_again(f, f->has_gone_back ? GONE_BACK_US : session_retry_us(f->session));
        return;
    }
    f->must_sync = false;
    if (edit != NULL)
        publish(f, cluster_edit_finish(edit));
    if (f->is_dirty)
        round_again(f, 0);
}

static void fail_round(struct follower *f)
{
    f->has_failed = true;
    end_round(f);
}

static void on_read(void *arg, err e)
{
    struct follower *f = arg;
    if (e == OK)
        end_round(f);
    else
        fail_round(f);
}

static void begin_reading(struct follower *f, const struct cluster *base, uint64_t version)
{
    f->edit = cluster_edit_new(base);
    cluster_edit_version(f->edit, version);
    f->reading = reading_new(f->coord, f->edit, on_read, f);
}

static void read_all(struct follower *f, uint64_t version)
{
    begin_reading(f, NULL, version);
    reading_add_all(f->reading);
    reading_start(f->reading);
}

static bool is_later_in_ring(const struct changes *c, size_t at)
{
    const struct change *ch = &c->ring[at];
    for (size_t i = at + 1; i < c->count; i++)
        if (c->ring[i].broker_id == ch->broker_id &&
            (ch->broker_id != NO_BROKER ||
             memcmp(&c->ring[i].topic_id, &ch->topic_id, sizeof ch->topic_id) == 0))
            return true;
    return false;
}

/* What the ring names since the image's version. */
static void read_changed(struct follower *f, const struct changes *c, uint64_t version)
{
    const uint64_t seen = cluster_version(f->image);
    bool has_brokers = false;
    begin_reading(f, f->image, version);
    for (size_t i = 0; i < c->count; i++) {
        const struct change *ch = &c->ring[i];
        if (ch->version <= seen || is_later_in_ring(c, i))
            continue;
        if (ch->broker_id == NO_BROKER) {
            reading_add_topic(f->reading, &ch->topic_id);
        } else {
            has_brokers = true;
            reading_add_broker_configs(f->reading, ch->broker_id);
        }
    }
    if (has_brokers)
        reading_add_brokers(f->reading);
    reading_add_controller(f->reading);
    reading_start(f->reading);
}

static void report_gone_back(const struct follower *f, uint64_t version)
{
    static struct diag_limit limit = {.interval_ms = 10000};
    if (diag_allowed(&limit))
        diag(DIAG_ERROR, "follower", "the coordination store went back; its state is not taken",
             "version=%" PRIu64 " known=%" PRIu64, version, cluster_version(f->image));
}

static void decide_reading(struct follower *f, struct slice data, uint64_t version)
{
    struct changes changes;
    const char *what = NULL;
    const uint64_t seen = f->image != NULL ? cluster_version(f->image) : 0;
    if (f->image != NULL && version < seen) {
        report_gone_back(f, version);
        f->has_gone_back = true;
        fail_round(f);
        return;
    }
    if (f->image != NULL && version == seen && !f->must_sync) {
        end_round(f);
        return;
    }
    if (nodes_unpack_changes(data, &changes, &what) != OK)
        diag(DIAG_ERROR, "follower", "/changes is damaged; everything is read", "why=%s",
             DIAG_STR(what));
    if (f->image == NULL || f->must_sync || !changes_reach_back_to(&changes, seen))
        read_all(f, version);
    else
        read_changed(f, &changes, version);
}

static void on_changes_fired(void *arg)
{
    struct follower *f = arg;
    f->is_watching = false;
    f->is_dirty = true;
    if (!f->in_round)
        round_again(f, 0);
}

static void on_changes(void *arg, err e, struct slice data, const struct coord_stat *stat)
{
    struct follower *f = arg;
    if (e != OK) {
        f->is_missing = e == E_NOT_FOUND;
        fail_round(f);
        return;
    }
    f->is_watching = true;
    f->contact_us = loop_now_us(f->loop);
    decide_reading(f, data, (uint64_t)stat->version);
}

static void read_changes(struct follower *f)
{
    const struct coord_watch watch = {.fn = on_changes_fired, .arg = f};
    f->is_dirty = false;
    coord_get(f->coord, PATH_CHANGES, f->is_watching ? NULL : &watch, on_changes, f);
}

static void on_synced(void *arg, err e)
{
    struct follower *f = arg;
    if (e == OK)
        read_changes(f);
    else
        fail_round(f);
}

static void begin_round(void *arg)
{
    struct follower *f = arg;
    CHECK(!f->in_round);
    f->in_round = true;
    f->has_failed = false;
    f->is_missing = false;
    f->has_gone_back = false;
    if (f->must_sync)
        coord_sync(f->coord, on_synced, f);
    else
        read_changes(f);
}

/* --- life ------------------------------------------------------------------------ */

static void on_begin(void *arg)
{
    struct follower *f = arg;
    f->is_watching = false;
    f->must_sync = true;
    timer_stop(f->loop, &f->again);
    arm_recheck(f);
    if (!f->in_round)
        begin_round(f);
}

static void on_lost(void *arg)
{
    struct follower *f = arg;
    timer_stop(f->loop, &f->again);
    timer_stop(f->loop, &f->recheck);
}

struct follower *follower_new(struct session *s)
{
    struct follower *f = MEM_NEW(struct follower);
    f->session = s;
    f->loop = session_loop(s);
    f->coord = session_coord(s);
    f->contact_us = INT64_MIN;
    f->member = (struct session_member){.on_begin = on_begin, .on_lost = on_lost, .arg = f};
    session_join(s, &f->member);
    return f;
}

void follower_free(struct follower *f)
{
    for (struct subscription *sub = f->subscriptions; sub != NULL; sub = sub->next)
        cluster_unref(atomic_exchange(&sub->pending, NULL));
    timer_stop(f->loop, &f->again);
    timer_stop(f->loop, &f->recheck);
    if (f->reading != NULL)
        reading_free(f->reading);
    if (f->edit != NULL)
        cluster_edit_free(f->edit);
    cluster_unref(f->image);
    mem_free(f);
}

void follower_subscribe(struct follower *f, struct subscription *sub)
{
    sub->mail.fn = deliver;
    atomic_store(&sub->pending, NULL);
    atomic_store(&sub->posted, false);
    sub->next = f->subscriptions;
    f->subscriptions = sub;
    if (f->image != NULL)
        send_image(sub, f->image);
}

void follower_unsubscribe(struct follower *f, struct subscription *sub)
{
    struct subscription **at = &f->subscriptions;
    while (*at != sub) {
        CHECK(*at != NULL);
        at = &(*at)->next;
    }
    *at = sub->next;
    cluster_unref(atomic_exchange(&sub->pending, NULL));
}

const struct cluster *follower_image(const struct follower *f)
{
    return f->image;
}

int64_t follower_contact_us(const struct follower *f)
{
    return f->contact_us;
}
