/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/tools/interrupt.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "clients/tools/clock.h"
#include "proto/base/check.h"

enum { SIGNALS_ENDURED = 2 };

/* A signal handler can reach nothing else. */
static atomic_int signal_count;
static atomic_int event_fd = -1;
static void (*_Atomic wakeup_fn)(void *arg);
static void *_Atomic wakeup_arg;

static void on_signal(int number)
{
    const int saved = errno;
    if (atomic_fetch_add(&signal_count, 1) + 1 >= SIGNALS_ENDURED)
        signal(number, SIG_DFL);
    const uint64_t one = 1;
    const ssize_t n = write(atomic_load(&event_fd), &one, sizeof one);
    (void)n;
    void (*const wakeup)(void *) = atomic_load(&wakeup_fn);
    if (wakeup)
        wakeup(atomic_load(&wakeup_arg));
    errno = saved;
}

void interrupt_catch(void)
{
    atomic_store(&signal_count, 0);
    atomic_store(&event_fd, eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    CHECK(atomic_load(&event_fd) >= 0);
    /* No SA_RESTART: what waits elsewhere should return too. */
    struct sigaction action = {.sa_handler = on_signal};
    sigemptyset(&action.sa_mask);
    sigaddset(&action.sa_mask, SIGINT);
    sigaddset(&action.sa_mask, SIGTERM);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

void interrupt_wakes(void (*wakeup)(void *arg), void *arg)
{
    atomic_store(&wakeup_fn, NULL);
    atomic_store(&wakeup_arg, arg);
    atomic_store(&wakeup_fn, wakeup);
}

int interrupt_count(void)
{
    return atomic_load(&signal_count);
}

int interrupt_fd(void)
{
    return atomic_load(&event_fd);
}

void interrupt_sleep_until_ns(int64_t when)
{
    while (interrupt_count() == 0) {
        const int64_t left = when - clock_ns();
        if (left <= 0)
            return;
        const struct timespec t = {.tv_sec = left / 1000000000, .tv_nsec = left % 1000000000};
        struct pollfd fd = {.fd = interrupt_fd(), .events = POLLIN};
        ppoll(&fd, 1, &t, NULL);
    }
}
