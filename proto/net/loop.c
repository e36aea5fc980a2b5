/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Timers are a binary heap by due time. The mailbox is a stack that any thread
 * pushes on and the loop takes whole and turns round.
 *
 * Who posts wakes the loop only if it sleeps: the loop says `asleep` and then
 * looks into the mailbox, the poster pushes and then looks at `asleep`, both
 * in the one order of sequentially consistent operations. So one of them sees
 * the other, and of many posters one pays for the system call.
 */
#include "proto/net/loop.h"

#include <stdatomic.h>
#include <stdio.h>

#include "proto/base/check.h"
#include "proto/base/mem.h"
#include "proto/net/loop_backend.h"

struct loop {
    struct loop_backend *backend;
    int64_t now_us;
    struct timer **heap; /* 1-based */
    size_t heap_count, heap_capacity;
    struct deferred *deferred, **deferred_end;
    struct loop_local *local;
    struct exec *resolver;
    bool in_turn;
    char name[32];
    _Atomic(const void *)
        home;       /* the thread inside loop_run or loop_turn, as the address of its `self` */
    char apart[64]; /* what other threads touch has a cache line of its own */
    _Atomic(struct mail *) mailbox; /* last posted first */
    atomic_bool asleep;
    atomic_bool stopping;
};

static _Thread_local char self;

struct loop *loop_new(struct loop_backend *backend, const char *name)
{
    struct loop *l = MEM_NEW(struct loop);
    l->backend = backend;
    backend->loop = l;
    l->deferred_end = &l->deferred;
    snprintf(l->name, sizeof l->name, "%s", name);
    return l;
}

const char *loop_name(const struct loop *l)
{
    return l->name;
}

struct loop_local **loop_local(struct loop *l)
{
    return &l->local;
}

void loop_set_resolver(struct loop *l, struct exec *e)
{
    l->resolver = e;
}

struct exec *loop_resolver(const struct loop *l)
{
    return l->resolver;
}

bool loop_is_current(const struct loop *l)
{
    const void *home = atomic_load_explicit(&l->home, memory_order_relaxed);
    return !home || home == &self;
}

int64_t loop_now_us(const struct loop *l)
{
    return l->in_turn ? l->now_us : loop_clock_us(l);
}

int64_t loop_clock_us(const struct loop *l)
{
    return l->backend->ops->clock_us(l->backend);
}

int64_t loop_wall_ms(const struct loop *l)
{
    return l->backend->ops->wall_ms(l->backend);
}

/* --- timers --------------------------------------------------------------- */

static void heap_put(struct loop *l, size_t pos, struct timer *t)
{
    l->heap[pos] = t;
    t->heap_pos = pos;
}

static void heap_up(struct loop *l, size_t pos, struct timer *t)
{
    for (; pos > 1 && l->heap[pos / 2]->due_us > t->due_us; pos /= 2)
        heap_put(l, pos, l->heap[pos / 2]);
    heap_put(l, pos, t);
}

static void heap_down(struct loop *l, size_t pos, struct timer *t)
{
    for (;;) {
        size_t child = pos * 2;
        if (child > l->heap_count)
            break;
        if (child < l->heap_count && l->heap[child + 1]->due_us < l->heap[child]->due_us)
            child++;
        if (l->heap[child]->due_us >= t->due_us)
            break;
        heap_put(l, pos, l->heap[child]);
        pos = child;
    }
    heap_put(l, pos, t);
}

/* To where it belongs, from a place that may be too low or too high. */
static void heap_move(struct loop *l, size_t pos, struct timer *t)
{
    if (pos > 1 && l->heap[pos / 2]->due_us > t->due_us)
        heap_up(l, pos, t);
    else
        heap_down(l, pos, t);
}

void timer_start(struct loop *l, struct timer *t, int64_t delay_us, void (*fn)(void *arg),
                 void *arg)
{
    DCHECK(loop_is_current(l));
    const int64_t now = loop_now_us(l);
    /* Always later than this turn, so that a timer that starts itself cannot hold it up. */
    const int64_t delay = delay_us > 1 ? delay_us : 1;
    t->due_us = delay < INT64_MAX - now ? now + delay : INT64_MAX;
    t->fn = fn;
    t->arg = arg;
    if (t->heap_pos) {
        heap_move(l, t->heap_pos, t);
        return;
    }
    if (l->heap_count + 2 > l->heap_capacity) {
        l->heap_capacity = l->heap_capacity ? l->heap_capacity * 2 : 64;
        l->heap = mem_realloc(l->heap, l->heap_capacity * sizeof *l->heap);
    }
    heap_up(l, ++l->heap_count, t);
}

void timer_stop(struct loop *l, struct timer *t)
{
    DCHECK(loop_is_current(l));
    if (!t->heap_pos)
        return;
    const size_t pos = t->heap_pos;
    t->heap_pos = 0;
    struct timer *last = l->heap[l->heap_count--];
    if (last != t)
        heap_move(l, pos, last);
}

bool timer_is_running(const struct timer *t)
{
    return t->heap_pos != 0;
}

int64_t loop_next_due_us(const struct loop *l)
{
    return l->heap_count ? l->heap[1]->due_us : INT64_MAX;
}

static void run_timers(struct loop *l)
{
    while (l->heap_count && l->heap[1]->due_us <= l->now_us) {
        struct timer *t = l->heap[1];
        timer_stop(l, t);
        t->fn(t->arg);
    }
}

/* --- mail ----------------------------------------------------------------- */

static void wake(struct loop *l)
{
    if (atomic_load(&l->asleep) && atomic_exchange(&l->asleep, false))
        l->backend->ops->wake(l->backend);
}

void loop_post(struct loop *l, struct mail *m)
{
    m->next = atomic_load_explicit(&l->mailbox, memory_order_relaxed);
    while (!atomic_compare_exchange_weak(&l->mailbox, &m->next, m))
        ;
    wake(l);
}

static void run_mail(struct loop *l)
{
    if (!atomic_load_explicit(&l->mailbox, memory_order_relaxed))
        return;
    struct mail *first = NULL;
    for (struct mail *m = atomic_exchange(&l->mailbox, NULL), *next; m; m = next) {
        next = m->next;
        m->next = first;
        first = m;
    }
    for (struct mail *m = first, *next; m; m = next) {
        next = m->next;
        m->fn(m);
    }
}

void loop_stop(struct loop *l)
{
    atomic_store(&l->stopping, true);
    wake(l);
}

/* --- deferred ------------------------------------------------------------- */

void loop_defer(struct loop *l, struct deferred *d)
{
    DCHECK(loop_is_current(l));
    if (d->queued)
        return;
    d->queued = true;
    d->next = NULL;
    *l->deferred_end = d;
    l->deferred_end = &d->next;
}

static void run_deferred(struct loop *l)
{
    while (l->deferred) {
        struct deferred *d = l->deferred;
        l->deferred = d->next;
        if (!l->deferred)
            l->deferred_end = &l->deferred;
        d->queued = false;
        d->fn(d);
    }
}

/* --- turns ---------------------------------------------------------------- */

/* Until when the loop may sleep: not at all if it has something to do already. */
static int64_t sleep_until(struct loop *l, int64_t timeout_us)
{
    if (l->deferred || timeout_us == 0)
        return 0;
    int64_t until = loop_next_due_us(l);
    if (timeout_us > 0) {
        const int64_t over = loop_clock_us(l) + timeout_us;
        until = over < until ? over : until;
    }
    atomic_store(&l->asleep, true);
    return atomic_load(&l->mailbox) || atomic_load(&l->stopping) ? 0 : until;
}

static void turn(struct loop *l, int64_t timeout_us)
{
    const struct loop_backend_ops *ops = l->backend->ops;
    ops->wait(l->backend, sleep_until(l, timeout_us));
    atomic_store_explicit(&l->asleep, false, memory_order_relaxed);
    l->now_us = ops->clock_us(l->backend);
    l->in_turn = true;
    ops->dispatch(l->backend);
    run_timers(l);
    run_mail(l);
    run_deferred(l);
    l->in_turn = false;
}

/* One thread at a time, and no turn within a turn. */
static void claim(struct loop *l)
{
    const void *before = atomic_exchange(&l->home, (const void *)&self);
    CHECK(!before);
}

void loop_turn(struct loop *l, int64_t timeout_us)
{
    claim(l);
    turn(l, timeout_us);
    atomic_store(&l->home, NULL);
}

void loop_run(struct loop *l)
{
    claim(l);
    while (!atomic_load_explicit(&l->stopping, memory_order_relaxed))
        turn(l, -1);
    atomic_store(&l->stopping, false);
    atomic_store(&l->home, NULL);
}

void loop_free(struct loop *l)
{
    if (!l)
        return;
    claim(l);
    run_deferred(l);
    if (l->local)
        l->local->free(l->local);
    l->backend->ops->free(l->backend);
    mem_free(l->heap);
    mem_free(l);
}

/* --- sockets: the backend's ----------------------------------------------- */

err sock_listen(struct loop *l, const struct address *at, sock_fn *fn, void *arg, struct sock **out,
                struct address *bound)
{
    DCHECK(loop_is_current(l));
    struct sock *s;
    const err e = l->backend->ops->listen(l->backend, at, &s, bound);
    if (e)
        return e;
    s->fn = fn;
    s->arg = arg;
    *out = s;
    return OK;
}

err sock_accept(struct sock *listener, struct sock **out, struct address *peer)
{
    return listener->ops->accept(listener, out, peer);
}

void sock_adopt(struct loop *l, struct sock *s, sock_fn *fn, void *arg)
{
    DCHECK(loop_is_current(l));
    CHECK(!s->backend);
    s->fn = fn;
    s->arg = arg;
    s->backend = l->backend;
    s->ops->adopt(l->backend, s);
}

err sock_connect(struct loop *l, const struct address *to, sock_fn *fn, void *arg,
                 struct sock **out)
{
    DCHECK(loop_is_current(l));
    struct sock *s;
    const err e = l->backend->ops->connect(l->backend, to, &s);
    if (e)
        return e;
    s->fn = fn;
    s->arg = arg;
    *out = s;
    return OK;
}

int sock_error(struct sock *s)
{
    return s->ops->error(s);
}

void sock_want(struct sock *s, unsigned events)
{
    s->ops->want(s, events);
}

err sock_readv(struct sock *s, const struct iovec *iov, int count, size_t *moved)
{
    return s->ops->readv(s, iov, count, moved);
}

err sock_writev(struct sock *s, const struct iovec *iov, int count, size_t *moved)
{
    return s->ops->writev(s, iov, count, moved);
}

void sock_shutdown(struct sock *s)
{
    s->ops->shutdown(s);
}

void sock_close(struct sock *s)
{
    s->ops->close(s);
}

struct loop_watch *loop_watch_fd(struct loop *l, int fd, void (*fn)(void *arg), void *arg)
{
    DCHECK(loop_is_current(l));
    return l->backend->ops->watch_fd(l->backend, fd, fn, arg);
}

void loop_unwatch_fd(struct loop *l, struct loop_watch *w)
{
    DCHECK(loop_is_current(l));
    l->backend->ops->unwatch_fd(l->backend, w);
}

err loop_listen_fd(struct loop *l, const struct address *at, int *fd, struct address *bound)
{
    DCHECK(loop_is_current(l));
    return l->backend->ops->listen_fd(l->backend, at, fd, bound);
}
