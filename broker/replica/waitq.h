/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one way to wait for a partition: a queue of waiters ordered by the
 * offset they wait for. A produce waits for the high watermark to reach its
 * last record, a fetch for it to pass its position.
 *
 * A wait group ties the waiters of one request (one per partition) together:
 * it is told once, by mail on its home loop, when as many of its waiters as it
 * needs have completed (a produce needs all, a fetch any one).
 *
 * Invariants: 1. a waiter completes at most once; 2. a group's mail is posted
 * at most once per arming; 3. a queue is ordered by offset, equal offsets by
 * arrival; 4. a group that has fired lives until its mail comes.
 *
 * Threads: queue functions under the queue's lock (the partition's), from any
 * thread. Groups that fire are collected there and posted after the lock is
 * given back (wait_fired_post): no lock spans the wake-up of another thread.
 */
#ifndef SLUICE_REPLICA_WAITQ_H
#define SLUICE_REPLICA_WAITQ_H

#include "proto/base/err.h"
#include "proto/net/loop.h"

struct waitq;

struct wait_group {
    struct mail mail; /* fn: set by the owner before arming */
    struct loop *home;
    _Atomic int32_t needed; /* completions still to come; the one that makes it 0 fires */
};

/* Groups that fired under a lock, to be posted without it. Starts all zero. */
struct wait_fired {
    struct mail *first;
};

struct waiter {
    struct waiter *prev, *next;
    struct waitq *queue; /* NULL: not waiting */
    struct wait_group *group;
    int64_t offset;
    err result; /* valid once completed */
};

struct waitq {
    struct waiter *first, *last;
    size_t count;
};

/* The group fires after `needed` completions. While arming, hold one more than needed and give it
 * up with wait_group_release at the end, so that it cannot fire half armed. */
void wait_group_init(struct wait_group *g, struct loop *home, void (*fn)(struct mail *m),
                     int32_t needed);
/* Counts one completion, on the home loop, without a lock. */
void wait_group_release(struct wait_group *g);
bool wait_group_has_fired(const struct wait_group *g);
/* Without a lock. */
void wait_fired_post(struct wait_fired *fired);

void waitq_add(struct waitq *q, struct waiter *w, struct wait_group *group, int64_t offset);
/* false: it was not waiting (never added, or completed). The group is not told. */
bool waitq_remove(struct waiter *w);
/* Completes with OK all that wait for an offset <= reached. */
void waitq_complete_to(struct waitq *q, int64_t reached, struct wait_fired *fired);
/* Completes all, with e. */
void waitq_complete_all(struct waitq *q, err e, struct wait_fired *fired);

#endif
