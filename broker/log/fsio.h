/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files: the second of the five doors. Nothing else in Sluice opens, reads,
 * writes or maps a file of the log. In production it opens to Linux
 * (fsio_posix), in tests to a model that loses power (tests/support/fake_fsio).
 *
 * Guarantees are POSIX's, stated once: a write may be lost until fdatasync
 * returned OK, a name (create, rename, unlink, mkdir) until sync_dir of its
 * directory did. A failed fdatasync, fsync, syncfs or sync_dir must never be
 * tried again (rule D7): the kernel has forgotten what it could not write.
 *
 * Errors: E_NO_SPACE (ENOSPC, EDQUOT), E_NOT_FOUND, E_EXISTS, E_WOULD_BLOCK
 * (lock), E_STORAGE for all else; the implementation emits the one diag line,
 * except for E_NOT_FOUND, E_EXISTS and E_WOULD_BLOCK, which callers expect.
 * Threads: any, also one file from several.
 */
#ifndef SLUICE_LOG_FSIO_H
#define SLUICE_LOG_FSIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "proto/base/err.h"

struct fsio_file;

enum {
    FSIO_WRITE = 1,  /* else read only */
    FSIO_CREATE = 2, /* if it is not there */
    FSIO_EXCL = 4,   /* with FSIO_CREATE: E_EXISTS if it is */
    FSIO_TRUNC = 8
};

enum { FSIO_IOV_MAX = 1024, FSIO_PATH_MAX = 4096 };

struct fsio_entry {
    const char *name; /* until the callback returns; never "." or ".." */
    bool is_dir;
};
typedef void fsio_list_fn(void *arg, const struct fsio_entry *entry);

struct fsio_space {
    uint64_t bytes_total;
    uint64_t bytes_free; /* for an ordinary user */
};

struct fsio {
    void *ctx;
    err (*open)(const struct fsio *io, const char *path, unsigned flags, struct fsio_file **out);
    void (*close)(const struct fsio *io, struct fsio_file *f);
    /* All of it, or an error; *written tells how much got there, also on errors. */
    err (*pwritev)(const struct fsio *io, struct fsio_file *f, const struct iovec *iov, int count,
                   uint64_t pos, size_t *written);
    /* *got < size only at the end of the file. */
    err (*pread)(const struct fsio *io, struct fsio_file *f, void *data, size_t size, uint64_t pos,
                 size_t *got);
    err (*size)(const struct fsio *io, struct fsio_file *f, uint64_t *out);
    err (*fdatasync)(const struct fsio *io, struct fsio_file *f);
    err (*fsync)(const struct fsio *io, struct fsio_file *f);
    /* All of the file system that holds f. */
    err (*syncfs)(const struct fsio *io, struct fsio_file *f);
    err (*ftruncate)(const struct fsio *io, struct fsio_file *f, uint64_t size);
    /* Blocks for the first `size` bytes; the file grows to that, with zeros. */
    err (*fallocate)(const struct fsio *io, struct fsio_file *f, uint64_t size);
    /* Exclusive, until the file is closed or the process ends. E_WOULD_BLOCK: another holds it. */
    err (*lock)(const struct fsio *io, struct fsio_file *f);
    /* Read-only and shared: shows later writes. May be larger than the file; bytes behind its end
     * must not be touched. Stays valid after close. */
    err (*map)(const struct fsio *io, struct fsio_file *f, size_t size, const uint8_t **out);
    void (*unmap)(const struct fsio *io, const uint8_t *map, size_t size);
    /* Are these bytes, which begin at pos in f and at `at` in a mapping of it, all in memory? */
    bool (*is_resident)(const struct fsio *io, struct fsio_file *f, const uint8_t *at, uint64_t pos,
                        size_t size);
    /* Brings them there; blocks. E_STORAGE: they cannot be read, and touching them would be fatal.
     */
    err (*populate)(const struct fsio *io, const uint8_t *at, size_t size);
    err (*stat_size)(const struct fsio *io, const char *path, uint64_t *out);
    err (*rename)(const struct fsio *io, const char *from, const char *to); /* replaces */
    err (*unlink)(const struct fsio *io, const char *path);
    err (*mkdir)(const struct fsio *io, const char *path); /* E_EXISTS */
    err (*rmdir)(const struct fsio *io, const char *path);
    err (*list)(const struct fsio *io, const char *path, fsio_list_fn *fn, void *arg);
    err (*sync_dir)(const struct fsio *io, const char *path);
    err (*space)(const struct fsio *io, const char *path, struct fsio_space *out);
    /* Monotonic: how long file operations take. */
    int64_t (*clock_us)(const struct fsio *io);
};

/* Linux. A constant: nothing to free. */
const struct fsio *fsio_posix(void);

/* --- what callers do with it ------------------------------------------------- */
/* One piece. */
err fsio_pwrite(const struct fsio *io, struct fsio_file *f, const void *data, size_t size,
                uint64_t pos) MUST_USE;
/* The whole file, at most size_max bytes, in new memory (mem_free), which ends with a NUL that does
 * not count. E_NOT_FOUND; E_CORRUPT: larger. Works for files without a size, such as /proc's. */
err fsio_read_file(const struct fsio *io, const char *path, size_t size_max, char **data,
                   size_t *size) MUST_USE;
/* Rule D5: writes path.tmp, fsyncs it, renames it to path, fsyncs the directory. */
err fsio_replace_file(const struct fsio *io, const char *dir, const char *name, const void *data,
                      size_t size) MUST_USE;
/* dir/name into a buffer of FSIO_PATH_MAX, returned. Paths were checked when the data directory was
 * opened. */
const char *fsio_path(char path[FSIO_PATH_MAX], const char *dir, const char *name);

#endif
