/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/fake_fsio.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "proto/base/check.h"
#include "proto/base/crc32c.h"
#include "proto/base/mem.h"

enum { SECTORS = FAKE_FILE_MAX / FAKE_SECTOR, NAME_SIZE = 256 };

struct inode;
struct entry {
    char name[NAME_SIZE];
    struct inode *inode;
};
struct names {
    struct entry *entries;
    size_t count, capacity;
};

struct inode {
    uint32_t refs; /* names (both kinds), descriptors, mappings */
    bool is_dir;
    bool is_locked;
    /* A file. */
    uint8_t *bytes; /* as the process sees them; reserved whole, so that mappings are this memory */
    uint64_t size;
    uint8_t *disk; /* durable */
    uint64_t disk_size;
    uint8_t *dirty; /* a flag for each sector */
    /* A directory. */
    struct names now, durable;
};

struct fsio_file {
    struct inode *inode;
    bool holds_lock;
};

struct mapping {
    const uint8_t *at;
    struct inode *inode;
};

struct fake_fsio {
    struct fsio io;
    pthread_mutex_t lock;
    struct inode *root;
    uint64_t ops, fault_op;
    enum fake_fault fault;
    bool has_faulted, is_dead, is_full, is_cold;
    const char *faulted;
    int64_t now_us;
    unsigned boots;
    struct mapping *mappings;
    size_t mapping_count, mapping_capacity, open_count;
};

/* --- inodes ------------------------------------------------------------------ */

static struct inode *inode_new(bool is_dir)
{
    struct inode *n = MEM_NEW(struct inode);
    n->is_dir = is_dir;
    if (!is_dir) {
        n->bytes = mmap(NULL, FAKE_FILE_MAX, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        CHECK(n->bytes != MAP_FAILED);
        n->dirty = mmap(NULL, SECTORS, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        CHECK(n->dirty != MAP_FAILED);
    }
    return n;
}

static struct inode *ref(struct inode *n)
{
    n->refs++;
    return n;
}

static void names_clear(struct names *t);

static void unref(struct inode *n)
{
    CHECK(n->refs > 0);
    if (--n->refs > 0)
        return;
    names_clear(&n->now);
    names_clear(&n->durable);
    if (!n->is_dir) {
        munmap(n->bytes, FAKE_FILE_MAX);
        munmap(n->dirty, SECTORS);
    }
    mem_free(n->disk);
    mem_free(n);
}

static size_t names_at(const struct names *t, const char *name)
{
    size_t i = 0;
    while (i < t->count && strcmp(t->entries[i].name, name) != 0)
        i++;
    return i;
}

static struct inode *names_get(const struct names *t, const char *name)
{
    const size_t i = names_at(t, name);
    return i < t->count ? t->entries[i].inode : NULL;
}

static void names_remove(struct names *t, const char *name)
{
    const size_t i = names_at(t, name);
    if (i == t->count)
        return;
    struct inode *n = t->entries[i].inode;
    memmove(t->entries + i, t->entries + i + 1, (t->count - i - 1) * sizeof *t->entries);
    t->count--;
    unref(n);
}

/* Kept in order, so that a listing is the same in every run. */
static void names_set(struct names *t, const char *name, struct inode *n)
{
    ref(n);
    names_remove(t, name);
    if (t->count == t->capacity) {
        t->capacity = t->capacity ? 2 * t->capacity : 8;
        t->entries = mem_realloc(t->entries, t->capacity * sizeof *t->entries);
    }
    size_t i = t->count++;
    for (; i > 0 && strcmp(t->entries[i - 1].name, name) > 0; i--)
        t->entries[i] = t->entries[i - 1];
    CHECK(strlen(name) < NAME_SIZE);
    strcpy(t->entries[i].name, name);
    t->entries[i].inode = n;
}

static void names_clear(struct names *t)
{
    for (size_t i = 0; i < t->count; i++)
        unref(t->entries[i].inode);
    mem_free(t->entries);
    *t = (struct names){0};
}

static void names_copy(struct names *to, const struct names *from)
{
    struct names copy = {0};
    for (size_t i = 0; i < from->count; i++)
        names_set(&copy, from->entries[i].name, from->entries[i].inode);
    names_clear(to);
    *to = copy;
}

/* --- paths ------------------------------------------------------------------- */

/* The directory that holds, or would hold, the last name of a path. NULL: there is none. */
static struct inode *parent_of(const struct fake_fsio *w, const char *path, char name[NAME_SIZE])
{
    struct inode *n = w->root;
    name[0] = '\0';
    CHECK(*path == '/');
    while (*path) {
        while (*path == '/')
            path++;
        const size_t size = strcspn(path, "/");
        if (size == 0)
            break;
        if (name[0]) {
            n = names_get(&n->now, name);
            if (!n || !n->is_dir)
                return NULL;
        }
        CHECK(size < NAME_SIZE);
        memcpy(name, path, size);
        name[size] = '\0';
        path += size;
    }
    return n;
}

static struct inode *lookup(const struct fake_fsio *w, const char *path)
{
    char name[NAME_SIZE];
    struct inode *parent = parent_of(w, path, name);
    if (!parent)
        return NULL;
    return name[0] ? names_get(&parent->now, name) : parent;
}

/* --- bytes ------------------------------------------------------------------- */

static void mark_dirty(struct inode *n, uint64_t from, uint64_t to)
{
    for (uint64_t s = from / FAKE_SECTOR; s * FAKE_SECTOR < to; s++)
        n->dirty[s] = 1;
}

static void resize(struct inode *n, uint64_t size)
{
    CHECK(size <= FAKE_FILE_MAX);
    if (size < n->size) {
        memset(n->bytes + size, 0, n->size - size);
        mark_dirty(n, size, n->size);
    } else {
        mark_dirty(n, n->size, size);
    }
    n->size = size;
}

static void write_bytes_at(struct inode *n, const void *data, size_t size, uint64_t pos)
{
    CHECK(pos + size <= FAKE_FILE_MAX);
    if (pos + size > n->size)
        resize(n, pos + size);
    memcpy(n->bytes + pos, data, size);
    mark_dirty(n, pos, pos + size);
}

static void set_disk_size(struct inode *n, uint64_t size)
{
    if (size != n->disk_size) {
        n->disk = mem_realloc(n->disk, size + 1);
        if (size > n->disk_size)
            memset(n->disk + n->disk_size, 0, size - n->disk_size);
        n->disk_size = size;
    }
}

static uint64_t sector_end(uint64_t s, uint64_t size)
{
    return (s + 1) * FAKE_SECTOR < size ? (s + 1) * FAKE_SECTOR : size;
}

static void sync_bytes(struct inode *n)
{
    const uint64_t old_size = n->disk_size;
    set_disk_size(n, n->size);
    const uint64_t max = old_size > n->size ? old_size : n->size;
    for (uint64_t s = 0; s * FAKE_SECTOR < max; s++) {
        const uint64_t from = s * FAKE_SECTOR, to = sector_end(s, n->size);
        if (n->dirty[s] && to > from)
            memcpy(n->disk + from, n->bytes + from, to - from);
        n->dirty[s] = 0;
    }
}

/* What a failed sync did not write is clean from then on, and lost. */
static void lose_bytes(struct inode *n)
{
    const uint64_t max = n->disk_size > n->size ? n->disk_size : n->size;
    for (uint64_t s = 0; s * FAKE_SECTOR < max; s++)
        n->dirty[s] = 0;
}

/* --- faults ------------------------------------------------------------------ */

enum gate { GO, GO_AND_DIE, FAIL, FAIL_HALF, FAIL_NO_SPACE };

/* Counts an operation and says how it goes. needs_space: it may fail for lack of it. */
static enum gate pass(struct fake_fsio *w, const char *operation, bool needs_space)
{
    if (w->is_dead)
        return FAIL;
    const bool is_it = w->ops++ == w->fault_op;
    if (is_it) {
        w->has_faulted = true;
        w->faulted = operation;
        switch (w->fault) {
        case FAKE_FAIL:
            return FAIL;
        case FAKE_SHORT:
            return FAIL_HALF;
        case FAKE_NO_SPACE:
            return needs_space ? FAIL_NO_SPACE : FAIL;
        case FAKE_DIE:
            w->is_dead = true;
            return GO_AND_DIE;
        }
    }
    return w->is_full && needs_space ? FAIL_NO_SPACE : GO;
}

static bool is_go(enum gate g)
{
    return g == GO || g == GO_AND_DIE;
}

static err gate_err(enum gate g)
{
    return g == FAIL_NO_SPACE ? E_NO_SPACE : E_STORAGE;
}

static struct fake_fsio *enter(const struct fsio *io)
{
    struct fake_fsio *w = io->ctx;
    pthread_mutex_lock(&w->lock);
    return w;
}

static err leave(struct fake_fsio *w, err e)
{
    pthread_mutex_unlock(&w->lock);
    return e;
}

/* --- the door ---------------------------------------------------------------- */

static err fake_open(const struct fsio *io, const char *path, unsigned flags,
                     struct fsio_file **out)
{
    struct fake_fsio *w = enter(io);
    char name[NAME_SIZE];
    struct inode *parent = parent_of(w, path, name);
    struct inode *n = parent ? names_get(&parent->now, name) : NULL;
    const bool creates = !n && flags & FSIO_CREATE;
    const enum gate g = pass(w, "open", creates);
    if (!is_go(g))
        return leave(w, gate_err(g));
    if (n && flags & FSIO_CREATE && flags & FSIO_EXCL)
        return leave(w, E_EXISTS);
    if (!n && (!creates || !parent))
        return leave(w, E_NOT_FOUND);
    if (n && n->is_dir)
        return leave(w, E_STORAGE);
    if (!n) {
        n = inode_new(false);
        names_set(&parent->now, name, n);
    }
    if (flags & FSIO_TRUNC)
        resize(n, 0);
    struct fsio_file *f = MEM_NEW(struct fsio_file);
    f->inode = ref(n);
    w->open_count++;
    *out = f;
    return leave(w, OK);
}

static void fake_close(const struct fsio *io, struct fsio_file *f)
{
    struct fake_fsio *w = enter(io);
    if (f->holds_lock)
        f->inode->is_locked = false;
    unref(f->inode);
    mem_free(f);
    w->open_count--;
    leave(w, OK);
}

static err fake_pwritev(const struct fsio *io, struct fsio_file *f, const struct iovec *iov,
                        int count, uint64_t pos, size_t *written)
{
    struct fake_fsio *w = enter(io);
    size_t total = 0;
    for (int i = 0; i < count; i++)
        total += iov[i].iov_len;
    const enum gate g = pass(w, "write", true);
    size_t allowed = is_go(g) ? total : g == FAIL ? 0 : total / 2;
    size_t done = 0;
    for (int i = 0; i < count && done < allowed; i++) {
        const size_t part = iov[i].iov_len < allowed - done ? iov[i].iov_len : allowed - done;
        write_bytes_at(f->inode, iov[i].iov_base, part, pos + done);
        done += part;
    }
    *written = done;
    return leave(w, is_go(g) ? OK : gate_err(g));
}

static err fake_pread(const struct fsio *io, struct fsio_file *f, void *data, size_t size,
                      uint64_t pos, size_t *got)
{
    struct fake_fsio *w = enter(io);
    const enum gate g = pass(w, "read", false);
    if (!is_go(g))
        return leave(w, gate_err(g));
    const struct inode *n = f->inode;
    *got = pos >= n->size ? 0 : size < n->size - pos ? size : (size_t)(n->size - pos);
    if (*got)
        memcpy(data, n->bytes + pos, *got);
    return leave(w, OK);
}

static err fake_size(const struct fsio *io, struct fsio_file *f, uint64_t *out)
{
    struct fake_fsio *w = enter(io);
    const enum gate g = pass(w, "size", false);
    if (is_go(g))
        *out = f->inode->size;
    return leave(w, is_go(g) ? OK : gate_err(g));
}

static err sync_file(const struct fsio *io, struct fsio_file *f, const char *operation)
{
    struct fake_fsio *w = enter(io);
    const enum gate g = pass(w, operation, false);
    if (is_go(g))
        sync_bytes(f->inode);
    else if (!w->is_dead)
        lose_bytes(f->inode);
    return leave(w, is_go(g) ? OK : gate_err(g));
}

static err fake_fdatasync(const struct fsio *io, struct fsio_file *f)
{
    return sync_file(io, f, "fdatasync");
}

static err fake_fsync(const struct fsio *io, struct fsio_file *f)
{
    return sync_file(io, f, "fsync");
}

static void sync_tree(struct inode *n)
{
    if (!n->is_dir) {
        sync_bytes(n);
        return;
    }
    names_copy(&n->durable, &n->now);
    for (size_t i = 0; i < n->now.count; i++)
        sync_tree(n->now.entries[i].inode);
}

static err fake_syncfs(const struct fsio *io, struct fsio_file *f)
{
    (void)f;
    struct fake_fsio *w = enter(io);
    const enum gate g = pass(w, "syncfs", false);
    if (is_go(g))
        sync_tree(w->root);
    return leave(w, is_go(g) ? OK : gate_err(g));
}

static err fake_ftruncate(const struct fsio *io, struct fsio_file *f, uint64_t size)
{
    struct fake_fsio *w = enter(io);
    const enum gate g = pass(w, "ftruncate", false);
    if (is_go(g))
        resize(f->inode, size);
    return leave(w, is_go(g) ? OK : gate_err(g));
}

static err fake_fallocate(const struct fsio *io, struct fsio_file *f, uint64_t size)
{
    struct fake_fsio *w = enter(io);
    const enum gate g = pass(w, "fallocate", true);
    if (is_go(g) && size > f->inode->size)
        resize(f->inode, size);
    return leave(w, is_go(g) ? OK : gate_err(g));
}

static err fake_lock(const struct fsio *io, struct fsio_file *f)
{
    struct fake_fsio *w = enter(io);
    const enum gate g = pass(w, "lock", false);
    if (!is_go(g))
        return leave(w, gate_err(g));
    if (f->inode->is_locked)
        return leave(w, E_WOULD_BLOCK);
    f->inode->is_locked = true;
    f->holds_lock = true;
    return leave(w, OK);
}

static err fake_map(const struct fsio *io, struct fsio_file *f, size_t size, const uint8_t **out)
{
    struct fake_fsio *w = enter(io);
    const enum gate g = pass(w, "map", false);
    if (!is_go(g))
        return leave(w, gate_err(g));
    CHECK(size > 0);
    CHECK(size <= FAKE_FILE_MAX);
    if (w->mapping_count == w->mapping_capacity) {
        w->mapping_capacity = w->mapping_capacity ? 2 * w->mapping_capacity : 16;
        w->mappings = mem_realloc(w->mappings, w->mapping_capacity * sizeof *w->mappings);
    }
    w->mappings[w->mapping_count++] =
        (struct mapping){.at = f->inode->bytes, .inode = ref(f->inode)};
    *out = f->inode->bytes;
    return leave(w, OK);
}

static void fake_unmap(const struct fsio *io, const uint8_t *map, size_t size)
{
    (void)size;
    struct fake_fsio *w = enter(io);
    size_t i = 0;
    while (i < w->mapping_count && w->mappings[i].at != map)
        i++;
    CHECK(i < w->mapping_count);
    unref(w->mappings[i].inode);
    w->mappings[i] = w->mappings[--w->mapping_count];
    leave(w, OK);
}

static bool fake_is_resident(const struct fsio *io, struct fsio_file *f, const uint8_t *at,
                             uint64_t pos, size_t size)
{
    (void)f;
    (void)pos;
    (void)at;
    (void)size;
    struct fake_fsio *w = enter(io);
    const bool is_resident = !w->is_cold;
    leave(w, OK);
    return is_resident;
}

static err fake_populate(const struct fsio *io, const uint8_t *at, size_t size)
{
    (void)at;
    (void)size;
    struct fake_fsio *w = enter(io);
    const enum gate g = pass(w, "populate", false);
    if (is_go(g))
        w->is_cold = false;
    return leave(w, is_go(g) ? OK : gate_err(g));
}

static err fake_stat_size(const struct fsio *io, const char *path, uint64_t *out)
{
    struct fake_fsio *w = enter(io);
    const enum gate g = pass(w, "stat", false);
    if (!is_go(g))
        return leave(w, gate_err(g));
    const struct inode *n = lookup(w, path);
    if (!n)
        return leave(w, E_NOT_FOUND);
    *out = n->size;
    return leave(w, OK);
}

static err fake_rename(const struct fsio *io, const char *from, const char *to)
{
    struct fake_fsio *w = enter(io);
    char from_name[NAME_SIZE], to_name[NAME_SIZE];
    const enum gate g = pass(w, "rename", true);
    if (!is_go(g))
        return leave(w, gate_err(g));
    struct inode *from_dir = parent_of(w, from, from_name);
    struct inode *to_dir = parent_of(w, to, to_name);
    struct inode *n = from_dir ? names_get(&from_dir->now, from_name) : NULL;
    if (!n || !to_dir)
        return leave(w, E_NOT_FOUND);
    names_set(&to_dir->now, to_name, n);
    names_remove(&from_dir->now, from_name);
    return leave(w, OK);
}

static err fake_unlink(const struct fsio *io, const char *path)
{
    struct fake_fsio *w = enter(io);
    char name[NAME_SIZE];
    const enum gate g = pass(w, "unlink", false);
    if (!is_go(g))
        return leave(w, gate_err(g));
    struct inode *dir = parent_of(w, path, name);
    const struct inode *n = dir ? names_get(&dir->now, name) : NULL;
    if (!n)
        return leave(w, E_NOT_FOUND);
    if (n->is_dir)
        return leave(w, E_STORAGE);
    names_remove(&dir->now, name);
    return leave(w, OK);
}

static err fake_mkdir(const struct fsio *io, const char *path)
{
    struct fake_fsio *w = enter(io);
    char name[NAME_SIZE];
    const enum gate g = pass(w, "mkdir", true);
    if (!is_go(g))
        return leave(w, gate_err(g));
    struct inode *dir = parent_of(w, path, name);
    if (!dir)
        return leave(w, E_NOT_FOUND);
    if (names_get(&dir->now, name))
        return leave(w, E_EXISTS);
    names_set(&dir->now, name, inode_new(true));
    return leave(w, OK);
}

static err fake_rmdir(const struct fsio *io, const char *path)
{
    struct fake_fsio *w = enter(io);
    char name[NAME_SIZE];
    const enum gate g = pass(w, "rmdir", false);
    if (!is_go(g))
        return leave(w, gate_err(g));
    struct inode *dir = parent_of(w, path, name);
    const struct inode *n = dir ? names_get(&dir->now, name) : NULL;
    if (!n)
        return leave(w, E_NOT_FOUND);
    if (!n->is_dir || n->now.count > 0)
        return leave(w, E_STORAGE);
    names_remove(&dir->now, name);
    return leave(w, OK);
}

static err fake_list(const struct fsio *io, const char *path, fsio_list_fn *fn, void *arg)
{
    struct fake_fsio *w = enter(io);
    const enum gate g = pass(w, "list", false);
    if (!is_go(g))
        return leave(w, gate_err(g));
    const struct inode *n = lookup(w, path);
    if (!n || !n->is_dir)
        return leave(w, n ? E_STORAGE : E_NOT_FOUND);
    /* A copy: fn may unlink. */
    struct names copy = {0};
    names_copy(&copy, &n->now);
    leave(w, OK);
    for (size_t i = 0; i < copy.count; i++)
        fn(arg, &(struct fsio_entry){.name = copy.entries[i].name,
                                     .is_dir = copy.entries[i].inode->is_dir});
    enter(io);
    names_clear(&copy);
    return leave(w, OK);
}

static err fake_sync_dir(const struct fsio *io, const char *path)
{
    struct fake_fsio *w = enter(io);
    const enum gate g = pass(w, "sync_dir", false);
    if (!is_go(g))
        return leave(w, gate_err(g));
    struct inode *n = lookup(w, path);
    if (!n || !n->is_dir)
        return leave(w, E_STORAGE);
    names_copy(&n->durable, &n->now);
    return leave(w, OK);
}

static err fake_space(const struct fsio *io, const char *path, struct fsio_space *out)
{
    (void)path;
    struct fake_fsio *w = enter(io);
    const enum gate g = pass(w, "space", false);
    if (is_go(g))
        *out = (struct fsio_space){.bytes_total = 1 << 30, .bytes_free = w->is_full ? 0 : 1 << 29};
    return leave(w, is_go(g) ? OK : gate_err(g));
}

static int64_t fake_clock_us(const struct fsio *io)
{
    struct fake_fsio *w = enter(io);
    const int64_t now_us = w->now_us += 10;
    leave(w, OK);
    return now_us;
}

/* --- the world --------------------------------------------------------------- */

static void put_boot_id(struct fake_fsio *w)
{
    char text[64];
    snprintf(text, sizeof text, "00000000-0000-0000-0000-%012u\n", w->boots);
    fake_fsio_put(w, "/proc/sys/kernel/random/boot_id", slice_str(text));
}

struct fake_fsio *fake_fsio_new(void)
{
    struct fake_fsio *w = MEM_NEW(struct fake_fsio);
    pthread_mutex_init(&w->lock, NULL);
    w->io = (struct fsio){
        .ctx = w,
        .open = fake_open,
        .close = fake_close,
        .pwritev = fake_pwritev,
        .pread = fake_pread,
        .size = fake_size,
        .fdatasync = fake_fdatasync,
        .fsync = fake_fsync,
        .syncfs = fake_syncfs,
        .ftruncate = fake_ftruncate,
        .fallocate = fake_fallocate,
        .lock = fake_lock,
        .map = fake_map,
        .unmap = fake_unmap,
        .is_resident = fake_is_resident,
        .populate = fake_populate,
        .stat_size = fake_stat_size,
        .rename = fake_rename,
        .unlink = fake_unlink,
        .mkdir = fake_mkdir,
        .rmdir = fake_rmdir,
        .list = fake_list,
        .sync_dir = fake_sync_dir,
        .space = fake_space,
        .clock_us = fake_clock_us,
    };
    w->root = ref(inode_new(true));
    w->fault_op = UINT64_MAX;
    put_boot_id(w);
    return w;
}

void fake_fsio_free(struct fake_fsio *w)
{
    CHECK(w->open_count == 0);
    CHECK(w->mapping_count == 0);
    unref(w->root);
    mem_free(w->mappings);
    pthread_mutex_destroy(&w->lock);
    mem_free(w);
}

const struct fsio *fake_fsio_io(struct fake_fsio *w)
{
    return &w->io;
}

uint64_t fake_fsio_ops(const struct fake_fsio *w)
{
    return w->ops;
}

void fake_fsio_fault_at(struct fake_fsio *w, uint64_t op, enum fake_fault fault)
{
    w->fault_op = op;
    w->fault = fault;
    w->has_faulted = false;
}

void fake_fsio_set_full(struct fake_fsio *w, bool is_full)
{
    w->is_full = is_full;
}

bool fake_fsio_is_dead(const struct fake_fsio *w)
{
    return w->is_dead;
}

bool fake_fsio_has_faulted(const struct fake_fsio *w, const char **operation)
{
    if (w->has_faulted && operation)
        *operation = w->faulted;
    return w->has_faulted;
}

void fake_fsio_set_cold(struct fake_fsio *w, bool is_cold)
{
    w->is_cold = is_cold;
}

/* --- after a crash ----------------------------------------------------------- */

/* How much of a file's unsynced sectors is kept: none, all, those up to one, those from one on, or
 * any. */
struct tearing {
    enum fake_crash how;
    struct rng *rng;
};

static bool coin(const struct tearing *t)
{
    return t->how == FAKE_LOSE_SOME && rng_below(t->rng, 2);
}

static void crash_file(struct inode *n, const struct tearing *t)
{
    uint64_t size = n->disk_size;
    if (t->how == FAKE_LOSE_SOME && n->size != n->disk_size) {
        const uint64_t low = n->size < n->disk_size ? n->size : n->disk_size;
        const uint64_t high = n->size < n->disk_size ? n->disk_size : n->size;
        switch (rng_below(t->rng, 3)) {
        case 0:
            size = n->size;
            break;
        case 1:
            size = low + rng_below(t->rng, high - low + 1);
            break;
        default:
            break;
        }
    }
    const uint64_t dirty_end = size < n->size ? size : n->size;
    const unsigned shape = t->how == FAKE_LOSE_SOME ? (unsigned)rng_below(t->rng, 5) : 0;
    const uint64_t sectors = (dirty_end + FAKE_SECTOR - 1) / FAKE_SECTOR;
    const uint64_t at = sectors && t->how == FAKE_LOSE_SOME ? rng_below(t->rng, sectors) : 0;
    set_disk_size(n, size);
    for (uint64_t s = 0; s < sectors; s++) {
        const bool is_kept = shape == 1 || (shape == 2 && s < at) || (shape == 3 && s >= at) ||
                             (shape == 4 && coin(t));
        const uint64_t from = s * FAKE_SECTOR, to = sector_end(s, dirty_end);
        if (n->dirty[s] && is_kept)
            memcpy(n->disk + from, n->bytes + from, to - from);
    }
    lose_bytes(n);
    memset(n->bytes, 0, n->size > size ? n->size : size);
    if (size)
        memcpy(n->bytes, n->disk, size);
    n->size = size;
}

static void crash_dir(struct inode *dir, const struct tearing *t)
{
    struct names all = {0}, chosen = {0};
    for (size_t i = 0; i < dir->durable.count; i++)
        names_set(&all, dir->durable.entries[i].name, dir->durable.entries[i].inode);
    for (size_t i = 0; i < dir->now.count; i++)
        names_set(&all, dir->now.entries[i].name, dir->now.entries[i].inode);
    for (size_t i = 0; i < all.count; i++) {
        const char *name = all.entries[i].name;
        struct inode *now = names_get(&dir->now, name);
        struct inode *durable = names_get(&dir->durable, name);
        struct inode *n = now == durable || coin(t) ? now : durable;
        if (n)
            names_set(&chosen, name, n);
    }
    names_clear(&all);
    names_copy(&dir->now, &chosen);
    names_copy(&dir->durable, &chosen);
    for (size_t i = 0; i < chosen.count; i++) {
        struct inode *n = chosen.entries[i].inode;
        if (n->is_dir)
            crash_dir(n, t);
        else
            crash_file(n, t);
    }
    names_clear(&chosen);
}

void fake_fsio_crash(struct fake_fsio *w, enum fake_crash how, struct rng *rng)
{
    CHECK(w->open_count == 0);
    CHECK(w->mapping_count == 0);
    const struct tearing t = {.how = how, .rng = rng};
    if (how != FAKE_KILL) /* the kernel lives on, with all that it has not written yet */
        crash_dir(w->root, &t);
    w->is_dead = false;
    w->fault_op = UINT64_MAX;
    w->is_full = false;
    if (how != FAKE_KILL)
        w->boots++;
    put_boot_id(w);
}

/* --- from outside ------------------------------------------------------------ */

bool fake_fsio_has(const struct fake_fsio *w, const char *path)
{
    return lookup(w, path) != NULL;
}

struct slice fake_fsio_get(const struct fake_fsio *w, const char *path)
{
    const struct inode *n = lookup(w, path);
    CHECK(n && !n->is_dir);
    return slice_of(n->bytes, n->size);
}

void fake_fsio_put(struct fake_fsio *w, const char *path, struct slice bytes)
{
    struct inode *dir = w->root;
    for (const char *at = path + 1;;) {
        char name[NAME_SIZE];
        const size_t size = strcspn(at, "/");
        CHECK(size > 0 && size < NAME_SIZE);
        memcpy(name, at, size);
        name[size] = '\0';
        const bool is_last = at[size] == '\0';
        struct inode *n = names_get(&dir->now, name);
        if (is_last) {
            n = inode_new(
                false); /* filled first: bytes may be those of the file that it replaces */
            if (bytes.size)
                write_bytes_at(n, bytes.data, bytes.size, 0);
            sync_bytes(n);
        } else if (!n) {
            n = inode_new(true);
        }
        ref(n);
        names_set(&dir->now, name, n);
        names_set(&dir->durable, name, n);
        unref(n);
        if (is_last)
            return;
        CHECK(n->is_dir);
        dir = n;
        at += size + 1;
    }
}

void fake_fsio_remove(struct fake_fsio *w, const char *path)
{
    char name[NAME_SIZE];
    struct inode *dir = parent_of(w, path, name);
    CHECK(dir);
    names_remove(&dir->now, name);
    names_remove(&dir->durable, name);
}

static void each(const struct inode *dir, const char *path, fake_file_fn *fn, void *arg)
{
    for (size_t i = 0; i < dir->now.count; i++) {
        const struct entry *entry = &dir->now.entries[i];
        char *full = mem_printf("%s/%s", path, entry->name);
        if (entry->inode->is_dir)
            each(entry->inode, full, fn, arg);
        else
            fn(arg, full, slice_of(entry->inode->bytes, entry->inode->size));
        mem_free(full);
    }
}

void fake_fsio_each(const struct fake_fsio *w, const char *dir, fake_file_fn *fn, void *arg)
{
    const struct inode *n = lookup(w, dir);
    if (n)
        each(n, dir, fn, arg);
}

static void add_digest(void *arg, const char *path, struct slice bytes)
{
    uint32_t *crc = arg;
    const uint64_t size = bytes.size;
    *crc = crc32c(*crc, path, strlen(path));
    *crc = crc32c(*crc, &size, sizeof size);
    *crc = crc32c(*crc, bytes.data, bytes.size);
}

uint32_t fake_fsio_digest(const struct fake_fsio *w, const char *dir)
{
    uint32_t crc = 0;
    fake_fsio_each(w, dir, add_digest, &crc);
    return crc;
}
