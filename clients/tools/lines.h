/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines of a descriptor, as views into one buffer that grows only for a line
 * that does not fit. The last line counts without its newline too; nothing
 * behind the last newline is no line.
 */
#ifndef SLUICE_TOOLS_LINES_H
#define SLUICE_TOOLS_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/err.h"
#include "proto/base/slice.h"

struct lines {
    int fd;
    int stop_fd;
    uint8_t *data;
    size_t capacity;
    size_t start;   /* of what was not given out yet */
    size_t end;     /* of what was read */
    size_t scanned; /* from start on: known to hold no newline */
    size_t size_max;
    bool is_at_end;
    int errnum; /* behind E_STORAGE */
};

/* Takes neither descriptor. stop_fd: readable when reading shall stop; -1: never. size_max: of a
 * line. */
void lines_init(struct lines *l, int fd, int stop_fd, size_t size_max);
void lines_deinit(struct lines *l);
/* The next line without its newline, valid until the next call. E_END. E_CANCELLED: stop_fd
 * became readable while it would have read. E_MESSAGE_TOO_LARGE: longer than size_max. E_STORAGE:
 * errnum tells. */
err lines_next(struct lines *l, struct slice *out) MUST_USE;

#endif
