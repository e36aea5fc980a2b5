/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/log/fsio.h"

#include <stdio.h>

#include "proto/base/check.h"
#include "proto/base/mem.h"

err fsio_pwrite(const struct fsio *io, struct fsio_file *f, const void *data, size_t size,
                uint64_t pos)
{
    union {
        const void *in;
        void *out;
    } base = {.in = data}; /* iovec knows no const */
    const struct iovec iov = {.iov_base = base.out, .iov_len = size};
    size_t written;
    return io->pwritev(io, f, &iov, 1, pos, &written);
}

err fsio_read_file(const struct fsio *io, const char *path, size_t size_max, char **data,
                   size_t *size)
{
    struct fsio_file *f;
    err e = io->open(io, path, 0, &f);
    if (e != OK)
        return e;

    /* Until a read comes back short: what a file says of its size may be wrong or 0. */
    enum { STEP = 64 * 1024 };
    char *bytes = NULL;
    size_t used = 0, got = STEP;
    while (e == OK && got == STEP) {
        if (used > size_max) {
            e = E_CORRUPT;
            break;
        }
        char *larger = mem_try_realloc(bytes, used + STEP + 1);
        if (!larger) {
            e = E_NO_MEMORY;
            break;
        }
        bytes = larger;
        e = io->pread(io, f, bytes + used, STEP, used, &got);
        if (e == OK)
            used += got;
    }
    io->close(io, f);
    if (e == OK && used > size_max)
        e = E_CORRUPT;
    if (e != OK) {
        mem_free(bytes);
        return e;
    }
    bytes[used] = '\0';
    *data = bytes;
    *size = used;
    return OK;
}

const char *fsio_path(char path[FSIO_PATH_MAX], const char *dir, const char *name)
{
    const int n = snprintf(path, FSIO_PATH_MAX, "%s/%s", dir, name);
    CHECK(n > 0);
    CHECK(n < FSIO_PATH_MAX);
    return path;
}

err fsio_replace_file(const struct fsio *io, const char *dir, const char *name, const void *data,
                      size_t size)
{
    char path[FSIO_PATH_MAX], tmp[FSIO_PATH_MAX], tmp_name[256];
    const int n = snprintf(tmp_name, sizeof tmp_name, "%s.tmp", name);
    CHECK(n > 0 && (size_t)n < sizeof tmp_name);
    fsio_path(path, dir, name);
    fsio_path(tmp, dir, tmp_name);

    struct fsio_file *f;
    err e = io->open(io, tmp, FSIO_WRITE | FSIO_CREATE | FSIO_TRUNC, &f);
    if (e != OK)
        return e;
    e = fsio_pwrite(io, f, data, size, 0);
    if (e == OK)
        e = io->fsync(io, f);
    io->close(io, f);
    if (e == OK)
        e = io->rename(io, tmp, path);
    if (e == OK)
        return io->sync_dir(io, dir);
    err_ignore(io->unlink(io, tmp), "a leftover .tmp is overwritten by the next try");
    return e;
}
