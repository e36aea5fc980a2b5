/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/base/diag.h"

#include <ctype.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LINE_MAX_ = 2048, STR_SHOWN = 256, STR_RING = 8 };

/* The sink is one of the three globals that house style allows. */
static _Atomic int level_max = DIAG_INFO;
static pthread_mutex_t sink_lock = PTHREAD_MUTEX_INITIALIZER; /* guards the two below */
static diag_sink *sink;
static void *sink_arg;

void diag_set_level(enum diag_level level)
{
    atomic_store(&level_max, (int)level);
}

bool diag_is_on(enum diag_level level)
{
    return (int)level <= atomic_load_explicit(&level_max, memory_order_relaxed);
}

void diag_set_sink(diag_sink *s, void *arg)
{
    pthread_mutex_lock(&sink_lock);
    sink = s;
    sink_arg = arg;
    pthread_mutex_unlock(&sink_lock);
}

static void put(const char *line, size_t size)
{
    pthread_mutex_lock(&sink_lock);
    if (sink) {
        sink(sink_arg, line, size);
    } else {
        /* Nobody is left to tell when stderr is gone. */
        while (size > 0) {
            const ssize_t n = write(STDERR_FILENO, line, size);
            if (n <= 0)
                break;
            line += n;
            size -= (size_t)n;
        }
    }
    pthread_mutex_unlock(&sink_lock);
}

void diag(enum diag_level level, const char *component, const char *message, const char *fields,
          ...)
{
    static const char *const names[] = {"error", "warn ", "info ", "debug"};
    if (!diag_is_on(level))
        return;
    struct timespec now;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    char line[LINE_MAX_];
    size_t n = strftime(line, sizeof line, "%Y-%m-%dT%H:%M:%S", &tm);
    n += (size_t)snprintf(line + n, sizeof line - n, ".%03ldZ %s %s \"%s\"", now.tv_nsec / 1000000,
                          names[level], component, message);
    if (n < sizeof line - 2 && fields && *fields) {
        line[n++] = ' ';
        va_list args;
        va_start(args, fields);
        const int m = vsnprintf(line + n, sizeof line - n, fields, args);
        va_end(args);
        n += m > 0 ? (size_t)m : 0;
    }
    if (n > sizeof line - 2)
        n = sizeof line - 2;
    line[n++] = '\n';
    put(line, n);
}

const char *diag_str(const void *s, size_t size)
{
    static _Thread_local char ring[STR_RING][STR_SHOWN * 4 + 8];
    static _Thread_local unsigned next;
    char *out = ring[next++ % STR_RING];
    char *p = out;
    const unsigned char *in = s;
    const size_t shown = size < STR_SHOWN ? size : STR_SHOWN;
    *p++ = '"';
    for (size_t i = 0; i < shown; i++) {
        if (in[i] == '"' || in[i] == '\\') {
            *p++ = '\\';
            *p++ = (char)in[i];
        } else if (in[i] < 0x7f && isprint(in[i])) {
            *p++ = (char)in[i];
        } else {
            p += sprintf(p, "\\x%02x", in[i]);
        }
    }
    *p++ = '"';
    if (shown < size)
        p = stpcpy(p, "...");
    *p = 0;
    return out;
}

bool diag_allowed(struct diag_limit *limit)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    const uint64_t now_ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
    uint64_t next = atomic_load(&limit->next_ms);
    if (now_ms < next ||
        !atomic_compare_exchange_strong(&limit->next_ms, &next, now_ms + limit->interval_ms)) {
        atomic_fetch_add(&limit->dropped, 1);
        return false;
    }
    const uint32_t dropped = atomic_exchange(&limit->dropped, 0);
    if (dropped)
        diag(DIAG_WARN, "diag", "similar lines were dropped", "count=%u", dropped);
    return true;
}
