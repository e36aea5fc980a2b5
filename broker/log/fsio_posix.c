/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file door opened to Linux. Each function that sees errno emits the one
 * diag line, with path and operation; expected errors (not there, exists,
 * locked) are silent, a full disk is told once in a while.
 */
#include "broker/log/fsio.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "proto/base/diag.h"
#include "proto/base/mem.h"

enum { PAGE = 4096, RESIDENT_PAGES = 1024 };

struct fsio_file {
    int fd;
    char path[]; /* for diag lines */
};

static err failed(const char *operation, const char *path, int errnum)
{
    const err e = err_from_errno(errnum);
    if (e == E_NOT_FOUND || e == E_EXISTS || e == E_WOULD_BLOCK)
        return e;
    static struct diag_limit full = {.interval_ms = 10000};
    if (e != E_NO_SPACE)
        diag(DIAG_ERROR, "fsio", "a file operation failed", "operation=%s path=%s error=%s",
             operation, DIAG_STR(path), DIAG_STR(strerror(errnum)));
    else if (diag_allowed(&full))
        diag(DIAG_WARN, "fsio", "no space left", "operation=%s path=%s error=%s", operation,
             DIAG_STR(path), DIAG_STR(strerror(errnum)));
    return e;
}

static err open_(const struct fsio *io, const char *path, unsigned flags, struct fsio_file **out)
{
    (void)io;
    const int how = (flags & FSIO_WRITE ? O_RDWR : O_RDONLY) | (flags & FSIO_CREATE ? O_CREAT : 0) |
                    (flags & FSIO_EXCL ? O_EXCL : 0) | (flags & FSIO_TRUNC ? O_TRUNC : 0);
    int fd;
    do {
        fd = open(path, how | O_CLOEXEC | O_NOCTTY, 0640);
    } while (fd < 0 && errno == EINTR);
    if (fd < 0)
        return failed("open", path, errno);
    const size_t size = strlen(path) + 1;
    struct fsio_file *f = mem_alloc(sizeof *f + size);
    f->fd = fd;
    memcpy(f->path, path, size);
    *out = f;
    return OK;
}

static void close_(const struct fsio *io, struct fsio_file *f)
{
    (void)io;
    /* What close could report, fdatasync reported before. */
    close(f->fd);
    mem_free(f);
}

static err pwritev_(const struct fsio *io, struct fsio_file *f, const struct iovec *iov, int count,
                    uint64_t pos, size_t *written)
{
    (void)io;
    struct iovec rest[FSIO_IOV_MAX]; /* written to only if the kernel takes a part */
    size_t done = 0, taken = 0;
    for (;;) {
        while (count > 0 && taken >= iov->iov_len) {
            taken -= iov->iov_len;
            iov++;
            count--;
        }
        if (count == 0)
            break;
        if (taken > 0) {
            memmove(rest, iov, (size_t)count * sizeof *iov);
            rest[0].iov_base = (char *)rest[0].iov_base + taken;
            rest[0].iov_len -= taken;
            iov = rest;
            taken = 0;
        }
        const ssize_t n = pwritev(f->fd, iov, count, (off_t)(pos + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            const int errnum = n < 0 ? errno : EIO;
            *written = done;
            return failed("write", f->path, errnum);
        }
        done += (size_t)n;
        taken = (size_t)n;
    }
    *written = done;
    return OK;
}

static err pread_(const struct fsio *io, struct fsio_file *f, void *data, size_t size, uint64_t pos,
                  size_t *got)
{
    (void)io;
    size_t done = 0;
    while (done < size) {
        const ssize_t n = pread(f->fd, (char *)data + done, size - done, (off_t)(pos + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return failed("read", f->path, errno);
        if (n == 0)
            break;
        done += (size_t)n;
    }
    *got = done;
    return OK;
}

static err size_(const struct fsio *io, struct fsio_file *f, uint64_t *out)
{
    (void)io;
    struct stat st;
    if (fstat(f->fd, &st) != 0)
        return failed("fstat", f->path, errno);
    *out = (uint64_t)st.st_size;
    return OK;
}

/* None of the four below is tried again on EINTR's cousins: rule D7. */
static err fdatasync_(const struct fsio *io, struct fsio_file *f)
{
    (void)io;
    return fdatasync(f->fd) == 0 ? OK : failed("fdatasync", f->path, errno);
}

static err fsync_(const struct fsio *io, struct fsio_file *f)
{
    (void)io;
    return fsync(f->fd) == 0 ? OK : failed("fsync", f->path, errno);
}

static err syncfs_(const struct fsio *io, struct fsio_file *f)
{
    (void)io;
    return syncfs(f->fd) == 0 ? OK : failed("syncfs", f->path, errno);
}

static err sync_dir_(const struct fsio *io, const char *path)
{
    (void)io;
    const int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return failed("open directory", path, errno);
    const err e = fsync(fd) == 0 ? OK : failed("fsync directory", path, errno);
    close(fd);
    return e;
}

static err ftruncate_(const struct fsio *io, struct fsio_file *f, uint64_t size)
{
    (void)io;
    int rc;
    do {
        rc = ftruncate(f->fd, (off_t)size);
    } while (rc != 0 && errno == EINTR);
    return rc == 0 ? OK : failed("ftruncate", f->path, errno);
}

static err fallocate_(const struct fsio *io, struct fsio_file *f, uint64_t size)
{
    (void)io;
    int rc;
    do {
        rc = fallocate(f->fd, 0, 0, (off_t)size);
    } while (rc != 0 && errno == EINTR);
    if (rc == 0)
        return OK;
    /* A file system without it: sparse is all that can be had. */
    if (errno == EOPNOTSUPP)
        return ftruncate_(io, f, size);
    return failed("fallocate", f->path, errno);
}

static err lock_(const struct fsio *io, struct fsio_file *f)
{
    (void)io;
    int rc;
    do {
        rc = flock(f->fd, LOCK_EX | LOCK_NB);
    } while (rc != 0 && errno == EINTR);
    return rc == 0 ? OK : failed("flock", f->path, errno);
}

static err map_(const struct fsio *io, struct fsio_file *f, size_t size, const uint8_t **out)
{
    (void)io;
    void *map = mmap(NULL, size, PROT_READ, MAP_SHARED, f->fd, 0);
    if (map == MAP_FAILED)
        return failed("mmap", f->path, errno);
    *out = map;
    return OK;
}

static void unmap_(const struct fsio *io, const uint8_t *map, size_t size)
{
    (void)io;
    union {
        const uint8_t *in;
        void *out;
    } at = {.in = map};
    munmap(at.out, size);
}

/* The whole pages around a range. */
static void *pages_of(const uint8_t *at, size_t *size)
{
    const uintptr_t from = (uintptr_t)at & ~(uintptr_t)(PAGE - 1);
    const uintptr_t to = ((uintptr_t)at + *size + PAGE - 1) & ~(uintptr_t)(PAGE - 1);
    *size = to - from;
    return (void *)from;
}

/* By the mapping's pages: works everywhere, about 0.1 us for each that was not touched yet. */
static bool is_mapped_resident(const uint8_t *at, size_t size)
{
    unsigned char pages[RESIDENT_PAGES];
    char *from = pages_of(at, &size);
    while (size > 0) {
        const size_t part =
            size < (size_t)PAGE * RESIDENT_PAGES ? size : (size_t)PAGE * RESIDENT_PAGES;
        if (mincore(from, part, pages) != 0)
            return false;
        for (size_t i = 0; i < part / PAGE; i++) {
            if (!(pages[i] & 1))
                return false;
        }
        from += part;
        size -= part;
    }
    return true;
}

/* cachestat, since Linux 6.5, counts the cached pages of a range of a file: five times as fast. */
#ifndef SYS_cachestat
#define SYS_cachestat 451
#endif
struct cachestat_range_ {
    uint64_t pos, size;
};
struct cachestat_ {
    uint64_t cached, dirty, writeback, evicted, recently_evicted;
};

static bool is_resident_(const struct fsio *io, struct fsio_file *f, const uint8_t *at,
                         uint64_t pos, size_t size)
{
    (void)io;
    static _Atomic bool is_missing;
    if (!atomic_load_explicit(&is_missing, memory_order_relaxed)) {
        const uint64_t first = pos / PAGE, last = (pos + size + PAGE - 1) / PAGE;
        const struct cachestat_range_ range = {.pos = first * PAGE, .size = (last - first) * PAGE};
        struct cachestat_ c;
        if (syscall(SYS_cachestat, f->fd, &range, &c, 0) == 0)
            return c.cached >= last - first;
        atomic_store_explicit(&is_missing, true, memory_order_relaxed);
    }
    return is_mapped_resident(at, size);
}

static err populate_(const struct fsio *io, const uint8_t *at, size_t size)
{
    (void)io;
    void *from = pages_of(at, &size);
    while (madvise(from, size, MADV_POPULATE_READ) != 0) {
        if (errno == EINTR || errno == EAGAIN)
            continue;
        if (errno != EINVAL)
            return failed("read", "(a mapped segment)", errno == EFAULT ? EIO : errno);
        madvise(from, size, MADV_WILLNEED); /* before Linux 5.14 */
        break;
    }
    return OK;
}

static err stat_size_(const struct fsio *io, const char *path, uint64_t *out)
{
    (void)io;
    struct stat st;
    if (stat(path, &st) != 0)
        return failed("stat", path, errno);
    *out = (uint64_t)st.st_size;
    return OK;
}

static err rename_(const struct fsio *io, const char *from, const char *to)
{
    (void)io;
    return rename(from, to) == 0 ? OK : failed("rename", from, errno);
}

static err unlink_(const struct fsio *io, const char *path)
{
    (void)io;
    return unlink(path) == 0 ? OK : failed("unlink", path, errno);
}

static err mkdir_(const struct fsio *io, const char *path)
{
    (void)io;
    return mkdir(path, 0750) == 0 ? OK : failed("mkdir", path, errno);
}

static err rmdir_(const struct fsio *io, const char *path)
{
    (void)io;
    return rmdir(path) == 0 ? OK : failed("rmdir", path, errno);
}

static err list_(const struct fsio *io, const char *path, fsio_list_fn *fn, void *arg)
{
    (void)io;
    DIR *d = opendir(path);
    if (!d)
        return failed("open directory", path, errno);
    errno = 0;
    for (struct dirent *entry = readdir(d); entry; errno = 0, entry = readdir(d)) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        bool is_dir = entry->d_type == DT_DIR;
        if (entry->d_type == DT_UNKNOWN) {
            struct stat st;
            is_dir = fstatat(dirfd(d), entry->d_name, &st, 0) == 0 && S_ISDIR(st.st_mode);
        }
        fn(arg, &(struct fsio_entry){.name = entry->d_name, .is_dir = is_dir});
    }
    const int errnum = errno;
    closedir(d);
    return errnum ? failed("read directory", path, errnum) : OK;
}

static err space_(const struct fsio *io, const char *path, struct fsio_space *out)
{
    (void)io;
    struct statvfs v;
    if (statvfs(path, &v) != 0)
        return failed("statvfs", path, errno);
    *out = (struct fsio_space){.bytes_total = (uint64_t)v.f_blocks * v.f_frsize,
                               .bytes_free = (uint64_t)v.f_bavail * v.f_frsize};
    return OK;
}

static int64_t clock_us_(const struct fsio *io)
{
    (void)io;
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

const struct fsio *fsio_posix(void)
{
    static const struct fsio io = {
        .open = open_,
        .close = close_,
        .pwritev = pwritev_,
        .pread = pread_,
        .size = size_,
        .fdatasync = fdatasync_,
        .fsync = fsync_,
        .syncfs = syncfs_,
        .ftruncate = ftruncate_,
        .fallocate = fallocate_,
        .lock = lock_,
        .map = map_,
        .unmap = unmap_,
        .is_resident = is_resident_,
        .populate = populate_,
        .stat_size = stat_size_,
        .rename = rename_,
        .unlink = unlink_,
        .mkdir = mkdir_,
        .rmdir = rmdir_,
        .list = list_,
        .sync_dir = sync_dir_,
        .space = space_,
        .clock_us = clock_us_,
    };
    return &io;
}
