/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who lives. /brokers/ids is watched; each time it changes it is read whole
 * (brokers are few). What was announced in /changes and what is observed differ
 * by the brokers that came and went; the topics that have replicas there are
 * looked at again, level-triggered, until nothing changes any more.
 */
#include <stdlib.h>

#include "broker/controller/controller_priv.h"
#include "metad/follow/reading.h"
#include "metad/model/placement.h"
#include "proto/base/check.h"
#include "proto/base/diag.h"

/* --- observing ------------------------------------------------------------------- */

static void observe(void *arg);

static void drop_observing(struct controller *c)
{
    if (c->observing != NULL)
        reading_free(c->observing);
    if (c->observing_edit != NULL)
        cluster_edit_free(c->observing_edit);
    c->observing = NULL;
    c->observing_edit = NULL;
}

static void refill_live(struct controller *c)
{
    const uint32_t count = cluster_broker_count(c->observed);
    struct live_broker *brokers = mem_zalloc((count + 1) * sizeof *brokers);
    for (uint32_t i = 0; i < count; i++) {
        const struct broker *b = cluster_broker_at(c->observed, i);
        brokers[i] = (struct live_broker){.id = b->id, .incarnation = b->incarnation};
    }
    mem_free((void *)(uintptr_t)c->live.brokers);
    c->live = (struct live_brokers){.brokers = brokers, .count = count};
}

static bool is_announced(const struct cluster *img, const struct broker *b)
{
    const struct broker *known = cluster_broker(img, b->id);
    return known != NULL && known->incarnation == b->incarnation;
}

/* Every topic: which ones are concerned is told by the election. */
static void mark_all_stale(struct controller *c)
{
    struct cluster_cursor cur = {0};
    const struct topic *t;
    mem_free(c->stale);
    c->stale_count = 0;
    c->stale = mem_alloc((cluster_topic_count(c->img) + 1) * sizeof c->stale[0]);
    while ((t = cluster_next_topic(c->img, &cur)) != NULL)
        c->stale[c->stale_count++] = t->id;
}

static void observed(struct controller *c)
{
    cluster_unref(c->observed);
    c->observed = cluster_edit_finish(c->observing_edit);
    c->observing_edit = NULL;
    drop_observing(c);
    c->is_observing = false;
    refill_live(c);
    c->must_compare = true;
    mark_all_stale(c);
    if (c->must_observe)
        brokers_observe(c);
    if (c->office == OFFICE_HELD)
        writes_kick(c);
    else if (c->has_read)
        office_begin(c);
}

static void observe_later(struct controller *c)
{
    drop_observing(c);
    timer_start(c->loop, &c->observe_again, session_retry_us(c->opts.session), observe, c);
}

static void on_read(void *arg, err e)
{
    struct controller *c = arg;
    if (!office_is_concerned(c)) {
        drop_observing(c);
        return;
    }
    if (e == OK)
        observed(c);
    else
        observe_later(c);
}

static void on_fired(void *arg)
{
    struct controller *c = arg;
    if (c->office == OFFICE_HELD || c->office == OFFICE_READING)
        brokers_observe(c);
}

static void on_watched(void *arg, err e, const struct coord_children *children)
{
    struct controller *c = arg;
    (void)children; /* read below, with the brokers' nodes */
    if (!office_is_concerned(c))
        return;
    if (e != OK) {
        observe_later(c);
        return;
    }
    c->observing_edit = cluster_edit_new(NULL);
    c->observing = reading_new(c->coord, c->observing_edit, on_read, c);
    reading_add_brokers(c->observing);
    c->outstanding++;
    reading_start(c->observing);
}

static void observe(void *arg)
{
    struct controller *c = arg;
    const struct coord_watch watch = {.fn = on_fired, .arg = c};
    c->must_observe = false;
    c->outstanding++;
    coord_children(c->coord, PATH_BROKER_IDS, &watch, on_watched, c);
}

void brokers_observe(struct controller *c)
{
    if (c->is_observing) {
        c->must_observe = true;
        return;
    }
    c->is_observing = true;
    observe(c);
}

void brokers_reset(struct controller *c)
{
    /* What is being read is dropped by its own answer. */
    if (c->outstanding == 0)
        drop_observing(c);
    timer_stop(c->loop, &c->observe_again);
    c->is_observing = false;
    c->must_observe = false;
    c->must_compare = false;
    c->must_announce = false;
    cluster_unref(c->observed);
    c->observed = NULL;
    mem_free((void *)(uintptr_t)c->live.brokers);
    c->live = (struct live_brokers){0};
    mem_free(c->stale);
    c->stale = NULL;
    c->stale_count = 0;
}

/* --- deciding -------------------------------------------------------------------- */

static void announce(void *arg, const struct broker *old, const struct broker *new_)
{
    struct write *w = arg;
    if (new_ != NULL && is_announced(write_view(w), new_))
        return;
    const int32_t id = new_ != NULL ? new_->id : old->id;
    diag(DIAG_INFO, "controller", new_ == NULL ? "broker went" : "broker came",
         "broker=%d incarnation=%llu", id,
         (unsigned long long)(new_ != NULL ? new_->incarnation : old->incarnation));
    write_broker(w, id, new_ != NULL ? broker_ref(new_) : NULL);
}

/* The topic as the live brokers want it; NULL: as it is. */
static struct topic *reelect(struct controller *c, const struct topic *t)
{
    struct topic *next = NULL;
    struct election *elections = mem_alloc(t->partition_count * sizeof *elections);
    struct partition_state *states = mem_alloc(t->partition_count * sizeof *states);
    size_t changed = 0;
    for (uint32_t i = 0; i < t->partition_count; i++) {
        states[i] = t->partitions[i];
        if (!election_update(&t->partitions[i], &c->live, t->min_insync_replicas, &elections[i]))
            continue;
        write_stamp(c, &elections[i].state);
        states[i] = elections[i].state;
        changed++;
    }
    if (changed > 0) {
        struct topic like = *t;
        like.partitions = states;
        like.node_version++;
        next = topic_new(&like);
        diag(DIAG_INFO, "controller", "leaders elected", "topic=%s partitions=%zu", t->name,
             changed);
    }
    mem_free(states);
    mem_free(elections);
    return next;
}

bool brokers_have_work(const struct controller *c)
{
    return c->must_compare || c->must_announce || c->stale_count > 0;
}

void brokers_decide_again(struct controller *c)
{
    c->must_compare = true;
    c->must_announce = true;
    mark_all_stale(c);
}

void brokers_decide(struct controller *c, struct write *w)
{
    const struct cluster *before = cluster_ref(c->img);
    cluster_diff_brokers(before, c->observed, announce, w);
    cluster_unref(before);
    c->must_compare = false;
    if (c->must_announce) {
        const struct broker *self = cluster_broker(c->observed, c->opts.broker_id);
        write_broker(w, c->opts.broker_id, self != NULL ? broker_ref(self) : NULL);
        c->must_announce = false;
    }
    while (c->stale_count > 0) {
        const struct topic *t = cluster_topic(write_view(w), &c->stale[c->stale_count - 1]);
        struct topic *next = t != NULL ? reelect(c, t) : NULL;
        if (next != NULL && write_topic(w, next) != OK)
            return; /* it does not fit: next time */
        c->stale_count--;
    }
}

/* --- placement ------------------------------------------------------------------- */

static struct placement_broker *find(struct placement_broker *brokers, size_t count, int32_t id)
{
    size_t low = 0;
    size_t high = count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (brokers[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < count && brokers[low].id == id ? &brokers[low] : NULL;
}

struct placement_broker *brokers_for_placement(const struct controller *c,
                                               const struct cluster *img)
{
    const size_t count = c->live.count;
    struct placement_broker *brokers = mem_zalloc((count + 1) * sizeof *brokers);
    for (size_t i = 0; i < count; i++)
        brokers[i] = (struct placement_broker){
            .id = c->live.brokers[i].id, .rack = cluster_broker_at(c->observed, (uint32_t)i)->rack};
    struct cluster_cursor cur = {0};
    const struct topic *t;
    while ((t = cluster_next_topic(img, &cur)) != NULL) {
        for (uint32_t i = 0; i < t->partition_count; i++) {
            const struct partition_state *p = &t->partitions[i];
            for (uint32_t k = 0; k < p->replica_count; k++) {
                struct placement_broker *b = find(brokers, count, p->replicas[k]);
                if (b == NULL)
                    continue;
                b->replicas++;
                b->leaders += k == 0;
            }
        }
    }
    return brokers;
}
