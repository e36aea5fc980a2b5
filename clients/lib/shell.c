/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/lib/shell.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "proto/base/check.h"

static void init(struct shell *s, struct loop *l)
{
    s->loop = l;
    s->resolver = NULL;
    s->thread = NULL;
    atomic_init(&s->in_callback, false);
    atomic_init(&s->changes, 0);
    atomic_init(&s->waiters, 0);
    atomic_init(&s->wakeups, 0);
    atomic_init(&s->woken, false);
}

err shell_init(struct shell *s, const char *name)
{
    struct loop_backend *backend;
    const err e = loop_epoll_backend(&backend);
    if (e)
        return e;
    init(s, loop_new(backend, name));
    s->resolver = exec_new("sluice-names", 1);
    loop_set_resolver(s->loop, s->resolver);
    return OK;
}

void shell_drive(struct shell *s, struct loop *l, void (*turn)(void *arg, int64_t timeout_us),
                 void *arg)
{
    init(s, l);
    s->turn = turn;
    s->turn_arg = arg;
}

void shell_start(struct shell *s)
{
    s->thread = loop_thread_start(s->loop);
}

void shell_stop(struct shell *s)
{
    if (s->thread)
        loop_thread_stop(s->thread);
    s->thread = NULL;
}

void shell_settle(struct shell *s)
{
    loop_turn(s->loop, 0);
}

void shell_deinit(struct shell *s)
{
    CHECK(!s->thread);
    if (!s->resolver)
        return;
    exec_free(s->resolver);
    /* What the workers posted is freed by its own callbacks. */
    shell_settle(s);
    loop_free(s->loop);
}

/* --- waiting ------------------------------------------------------------------------------------
 */

err shell_begin(struct shell *s, struct shell_call *call, int64_t timeout_ms)
{
    CHECK(timeout_ms >= 0);
    *call = (struct shell_call){.timeout_ms = timeout_ms,
                                .may_block = timeout_ms > 0,
                                .wakeups = atomic_load_explicit(&s->wakeups, memory_order_relaxed)};
    if (!call->may_block)
        return OK;
    if (atomic_load_explicit(&s->in_callback, memory_order_relaxed) && loop_is_current(s->loop))
        return E_NOT_PERMITTED;
    if (atomic_load(&s->woken) && atomic_exchange(&s->woken, false))
        return E_CANCELLED;
    return OK;
}

int64_t shell_deadline_us(struct shell *s, struct shell_call *call)
{
    if (call->may_block && call->deadline_us == 0) {
        const int64_t now_us = loop_clock_us(s->loop), timeout_ms = call->timeout_ms;
        call->deadline_us =
            timeout_ms > (INT64_MAX - now_us) / 1000 ? INT64_MAX : now_us + timeout_ms * 1000;
    }
    return call->deadline_us;
}

static int64_t left_us(struct shell *s, struct shell_call *call)
{
    return call->may_block ? shell_deadline_us(s, call) - loop_clock_us(s->loop) : 0;
}

int64_t shell_left_ms(struct shell *s, struct shell_call *call)
{
    const int64_t us = left_us(s, call);
    return us > 0 ? (us + 999) / 1000 : 0;
}

static void futex_wait(_Atomic uint32_t *word, uint32_t seen, int64_t timeout_us)
{
    const struct timespec ts = {.tv_sec = timeout_us / 1000000,
                                .tv_nsec = timeout_us % 1000000 * 1000};
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, seen, &ts, NULL, 0);
}

static void futex_wake(_Atomic uint32_t *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

err shell_wait(struct shell *s, struct shell_call *call, uint32_t seen)
{
    const int64_t timeout_us = left_us(s, call);
    if (timeout_us <= 0)
        return E_TIMED_OUT;
    if (s->resolver) {
        /* Announced before the futex looks at the word: whoever changes it after that sees a
         * waiter. */
        atomic_fetch_add(&s->waiters, 1);
        futex_wait(&s->changes, seen, timeout_us);
        atomic_fetch_sub(&s->waiters, 1);
    } else if (shell_look(s) == seen) {
        s->turn(s->turn_arg, timeout_us);
    }
    if (atomic_load(&s->wakeups) != call->wakeups) {
        atomic_store(&s->woken, false);
        return E_CANCELLED;
    }
    return OK;
}

void shell_notify(struct shell *s)
{
    atomic_fetch_add(&s->changes, 1);
    if (atomic_load(&s->waiters))
        futex_wake(&s->changes);
}

void shell_wakeup(struct shell *s)
{
    const int saved = errno;
    atomic_store(&s->woken, true);
    atomic_fetch_add(&s->wakeups, 1);
    atomic_fetch_add(&s->changes, 1);
    futex_wake(&s->changes);
    errno = saved;
}

void shell_callback_begin(struct shell *s)
{
    atomic_store(&s->in_callback, true);
}

void shell_callback_end(struct shell *s)
{
    atomic_store(&s->in_callback, false);
}
