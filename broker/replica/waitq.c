/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/replica/waitq.h"

#include <stdatomic.h>
#include <stddef.h>

#include "proto/base/check.h"

_Static_assert(offsetof(struct wait_group, mail) == 0, "wait_fired_post goes from mail to group");

void wait_group_init(struct wait_group *g, struct loop *home, void (*fn)(struct mail *m),
                     int32_t needed)
{
    CHECK(needed > 0);
    *g = (struct wait_group){.mail.fn = fn, .home = home, .needed = needed};
}

/* True for the one completion that fires the group. */
static bool count_down(struct wait_group *g)
{
    return atomic_fetch_sub(&g->needed, 1) == 1;
}

void wait_group_release(struct wait_group *g)
{
    if (count_down(g))
        loop_post(g->home, &g->mail);
}

bool wait_group_has_fired(const struct wait_group *g)
{
    return atomic_load(&g->needed) <= 0;
}

void wait_fired_post(struct wait_fired *fired)
{
    while (fired->first) {
        struct mail *m = fired->first;
        fired->first = m->next;
        struct wait_group *g = (struct wait_group *)m; /* mail is its first member */
        loop_post(g->home, m);
    }
}

static bool is_ordered(const struct waitq *q)
{
    for (const struct waiter *w = q->first; w && w->next; w = w->next)
        if (w->offset > w->next->offset)
            return false;
    return true;
}

void waitq_add(struct waitq *q, struct waiter *w, struct wait_group *group, int64_t offset)
{
    CHECK(w->queue == NULL);
    /* Waits come nearly in order, so the place is at or near the end. */
    struct waiter *before = q->last;
    while (before && before->offset > offset)
        before = before->prev;
    *w = (struct waiter){.prev = before, .queue = q, .group = group, .offset = offset};
    w->next = before ? before->next : q->first;
    *(w->next ? &w->next->prev : &q->last) = w;
    *(before ? &before->next : &q->first) = w;
    q->count++;
    DCHECK(is_ordered(q));
}

bool waitq_remove(struct waiter *w)
{
    struct waitq *q = w->queue;
    if (!q)
        return false;
    *(w->prev ? &w->prev->next : &q->first) = w->next;
    *(w->next ? &w->next->prev : &q->last) = w->prev;
    w->queue = NULL;
    q->count--;
    return true;
}

static void complete(struct waiter *w, err e, struct wait_fired *fired)
{
    struct wait_group *g = w->group;
    waitq_remove(w);
    w->result = e;
    if (count_down(g)) {
        g->mail.next = fired->first;
        fired->first = &g->mail;
    }
}

void waitq_complete_to(struct waitq *q, int64_t reached, struct wait_fired *fired)
{
    while (q->first && q->first->offset <= reached)
        complete(q->first, OK, fired);
}

void waitq_complete_all(struct waitq *q, err e, struct wait_fired *fired)
{
    while (q->first)
        complete(q->first, e, fired);
}
