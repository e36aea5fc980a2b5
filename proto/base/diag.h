/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Diagnostics: one line per event on stderr,
 *
 *   2026-01-02T03:04:05.678Z warn  log "segment cut" topic=t partition=0 pos=42
 *
 * time, level, component, message, fields. `fields` is a printf format of
 * key=value pairs; strings that a peer or a file chose go through DIAG_STR,
 * which quotes and escapes them. Payloads are never logged. Threads: any.
 *
 * Levels: error: a person must act; warn: degraded, will heal; info: state
 * changes; debug.
 */
#ifndef SLUICE_BASE_DIAG_H
#define SLUICE_BASE_DIAG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum diag_level { DIAG_ERROR, DIAG_WARN, DIAG_INFO, DIAG_DEBUG };

/* Lines above this level are dropped; default DIAG_INFO. */
void diag_set_level(enum diag_level level);
bool diag_is_on(enum diag_level level);

/* Where lines go; NULL restores stderr. The line ends with a newline. */
typedef void diag_sink(void *arg, const char *line, size_t size);
void diag_set_sink(diag_sink *sink, void *arg);

void diag(enum diag_level level, const char *component, const char *message, const char *fields,
          ...) __attribute__((format(printf, 4, 5)));

/* Escapes s (C-style, at most 256 bytes shown, quoted) into a per-thread ring of
 * eight strings: valid until the eighth next call on this thread. */
const char *diag_str(const void *s, size_t size);
#define DIAG_STR(s) diag_str((s), strlen(s))

/* At most one line per interval from each use; tells how many were dropped:
 *   static struct diag_limit limit = {.interval_ms = 1000};
 *   if (diag_allowed(&limit)) diag(...);
 */
struct diag_limit {
    uint32_t interval_ms;
    _Atomic uint64_t next_ms;
    _Atomic uint32_t dropped;
};
bool diag_allowed(struct diag_limit *limit);

#endif
