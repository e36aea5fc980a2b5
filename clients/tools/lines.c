/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/tools/lines.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "proto/base/check.h"
#include "proto/base/limits.h"
#include "proto/base/mem.h"

enum { READ_BYTES = 256 * KIB };

void lines_init(struct lines *l, int fd, int stop_fd, size_t size_max)
{
    *l = (struct lines){.fd = fd, .stop_fd = stop_fd, .size_max = size_max, .capacity = READ_BYTES};
    l->data = mem_alloc(l->capacity);
}

void lines_deinit(struct lines *l)
{
    mem_free(l->data);
    *l = (struct lines){0};
}

static const uint8_t *find_newline(const struct lines *l)
{
    const size_t from = l->start + l->scanned;
    return memchr(l->data + from, '\n', l->end - from);
}

/* Makes room behind end: moves what is left to the front, or grows. */
static err make_room(struct lines *l)
{
    if (l->end < l->capacity)
        return OK;
    const size_t left = l->end - l->start;
    if (l->start > 0) {
        memmove(l->data, l->data + l->start, left);
        l->start = 0;
        l->end = left;
        return OK;
    }
    if (left > l->size_max)
        return E_MESSAGE_TOO_LARGE;
    l->capacity *= 2;
    l->data = mem_realloc(l->data, l->capacity);
    return OK;
}

static err fill(struct lines *l)
{
    const err e = make_room(l);
    if (e != OK)
        return e;
    CHECK(l->end < l->capacity);
    struct pollfd fds[2] = {{.fd = l->fd, .events = POLLIN}, {.fd = l->stop_fd, .events = POLLIN}};
    if (poll(fds, 2, -1) < 0 && errno == EINTR)
        return OK;
    if (fds[1].revents)
        return E_CANCELLED;
    const ssize_t n = read(l->fd, l->data + l->end, l->capacity - l->end);
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return OK;
    if (n < 0) {
        l->errnum = errno;
        return E_STORAGE;
    }
    if (n == 0)
        l->is_at_end = true;
    l->end += (size_t)n;
    return OK;
}

err lines_next(struct lines *l, struct slice *out)
{
    for (;;) {
        const uint8_t *const newline = find_newline(l);
        const uint8_t *const start = l->data + l->start;
        if (newline || (l->is_at_end && l->start < l->end)) {
            const size_t size = newline ? (size_t)(newline - start) : l->end - l->start;
            if (size > l->size_max)
                return E_MESSAGE_TOO_LARGE;
            *out = slice_of(start, size);
            l->start += size + (newline != NULL);
            l->scanned = 0;
            return OK;
        }
        if (l->is_at_end)
            return E_END;
        l->scanned = l->end - l->start;
        const err e = fill(l);
        if (e != OK)
            return e;
    }
}
