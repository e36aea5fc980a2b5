/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shell between application threads and a handle's loop: the background
 * thread that runs it, and the only wait of the client. What a handle does is a
 * state machine on its loop; a blocking call looks at what that left under the
 * handle's mutex and, as long as it is not what it wants, waits here:
 *
 *     struct shell_call call;
 *     err e = shell_begin(s, &call, timeout_ms);
 *     pthread_mutex_lock(&mutex);
 *     while (!e && !condition) {
 *         const uint32_t seen = shell_look(s);
 *         pthread_mutex_unlock(&mutex);
 *         e = shell_wait(s, &call, seen);
 *         pthread_mutex_lock(&mutex);
 *     }
 *
 * and whoever changes the condition calls shell_notify. There is one wait for
 * all conditions of a handle: a futex that counts changes, so that
 * shell_wakeup is safe in signal handlers.
 *
 * Without a thread (shell_drive) the loop is somebody else's, and waiting
 * turns it: tests and simulators run everything in one thread.
 */
#ifndef SLUICE_CLIENTS_SHELL_H
#define SLUICE_CLIENTS_SHELL_H

#include <pthread.h>
#include <stdatomic.h>

#include "proto/net/exec.h"
#include "proto/net/loop.h"

struct shell {
    struct loop *loop;
    struct exec *resolver;                       /* NULL: driven */
    struct loop_thread *thread;                  /* NULL: not started, or driven */
    void (*turn)(void *arg, int64_t timeout_us); /* driven: instead of a wait */
    void *turn_arg;
    atomic_bool in_callback;  /* the thread inside the loop is calling the application */
    _Atomic uint32_t changes; /* the futex */
    _Atomic uint32_t waiters;
    _Atomic uint32_t wakeups; /* shell_wakeup calls, to tell those who wait now */
    atomic_bool woken;        /* one that nobody has seen yet */
};

/* The loop runs on a new thread, named so, once shell_start is called; until then everything on it
 * may be made. E_STORAGE: no descriptors left. */
err shell_init(struct shell *s, const char *name) MUST_USE;
void shell_start(struct shell *s);
/* On a loop that the caller turns; turn lets it, and all it talks to, do something, and returns
 * after timeout_us. */
void shell_drive(struct shell *s, struct loop *l, void (*turn)(void *arg, int64_t timeout_us),
                 void *arg);
/* Ends the thread: what is on the loop may be freed after it, by the caller. */
void shell_stop(struct shell *s);
/* After the thread ended: what was closed lets go of all it has. */
void shell_settle(struct shell *s);
/* Frees the loop, unless it is driven. */
void shell_deinit(struct shell *s);

struct shell_call {
    int64_t timeout_ms;
    int64_t deadline_us; /* 0: not asked for yet, for most calls need no clock; INT64_MAX: none
                            worth the name */
    bool may_block;
    uint32_t wakeups;
};
/* Any application thread. timeout_ms >= 0. E_CANCELLED: woken up before; then the wakeup is used
 * up. E_NOT_PERMITTED: from a callback, with a timeout that is not 0. */
err shell_begin(struct shell *s, struct shell_call *call, int64_t timeout_ms) MUST_USE;
/* To be read before the condition is looked at, with its mutex held. */
static inline uint32_t shell_look(struct shell *s)
{
    return atomic_load_explicit(&s->changes, memory_order_acquire);
}
/* Waits for a change since `seen`. E_TIMED_OUT, E_CANCELLED. */
err shell_wait(struct shell *s, struct shell_call *call, uint32_t seen) MUST_USE;
int64_t shell_deadline_us(struct shell *s, struct shell_call *call);
int64_t shell_left_ms(struct shell *s, struct shell_call *call);
/* Any thread. */
void shell_notify(struct shell *s);
/* Any thread and signal handlers. */
void shell_wakeup(struct shell *s);
/* Around calls of the application's functions, on the loop. */
void shell_callback_begin(struct shell *s);
void shell_callback_end(struct shell *s);

#endif
