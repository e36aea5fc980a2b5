/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A data directory that somebody damaged: the input is a list of changes to
 * the files of a small good one. Then it is opened, read, appended to, crashed
 * and opened again. What must hold, whatever the damage:
 *
 *   no crash, no endless walk; what is read are whole batches with right
 *   header checksums, in order; every batch that is read with a right payload
 *   checksum is one that was written there; appends go on at the end; a second
 *   opening finds the same end; and if no record file was touched and the
 *   points were not, nothing is lost.
 */
#include <stdio.h>
#include <stdlib.h>

#include "broker/log/log_verify.h"
#include "broker/log/names.h"
#include "proto/base/diag.h"
#include "tests/unit/broker_log/log_world.h"

/* Fuzzers link nothing of tests/support. */
#include "tests/support/fake_fsio.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { BATCHES = 24, FILES_MAX = 64 };

static uint32_t written[BATCHES]; /* checksums, by offset */

#define must(held) ((held) ? (void)0 : failed(__LINE__, #held))

static void failed(int line, const char *what)
{
    fprintf(stderr, "line %d: %s\n", line, what);
    abort();
}

static void drop_line(void *arg, const char *line, size_t size)
{
    (void)arg;
    (void)line;
    (void)size;
}

/* --- the good directory, made once ---------------------------------------------- */

struct image {
    char *path;
    uint8_t *bytes;
    size_t size;
};

static struct image images[2][FILES_MAX]; /* after a crash; after a clean stop */
static size_t image_counts[2];
static size_t image_set;

static void keep_image(void *arg, const char *path, struct slice bytes)
{
    (void)arg;
    struct image *i = &images[image_set][image_counts[image_set]++];
    must(image_counts[image_set] <= FILES_MAX);
    i->path = mem_strdup(path);
    i->size = bytes.size;
    i->bytes = mem_alloc(bytes.size + 1);
    memcpy(i->bytes, bytes.data, bytes.size);
}

static void make_images(void)
{
    struct world w;
    world_init(&w, 1);
    must(world_start(&w) == OK);
    must(world_create(&w, 0) == OK);
    struct log *g = world_log(&w, 0);
    for (uint32_t i = 0; i < BATCHES; i++) {
        static struct made_batch m;
        int64_t offset;
        make_batch(&m, 1, 300 + i, 1000 + 10 * (int64_t)(i % 7), i);
        log_lock(g);
        must(log_append(g, &m.batch, 1, (int32_t)i / 8, &offset) == OK);
        log_unlock(g);
        written[offset] = m.batch.batch_crc;
        if (i == BATCHES - 4) {
            must(world_flush(&w) == OK);
            must(log_dir_checkpoint(w.dir, w.logs, w.count) == OK);
        }
    }
    log_lock(g);
    must(log_raise_start(g, 3) == OK);
    log_unlock(g);
    fake_fsio_each(w.fs, WORLD_DIR, keep_image, NULL);
    must(world_close(&w) == OK);
    image_set = 1;
    fake_fsio_each(w.fs, WORLD_DIR, keep_image, NULL);
    world_deinit(&w);
}

/* --- damage ------------------------------------------------------------------------ */

struct input {
    const uint8_t *at, *end;
};

static uint8_t take(struct input *in)
{
    return in->at < in->end ? *in->at++ : 0;
}

static bool holds_records(const char *path)
{
    return name_has_suffix(path, ".log");
}

/* *is_serious: records, points or identity may be gone by it. */
static void damage(struct fake_fsio *fs, struct input *in, size_t set, bool *is_serious)
{
    const struct image *i = &images[set][take(in) % image_counts[set]];
    if (!fake_fsio_has(fs, i->path))
        return;
    const struct slice now = fake_fsio_get(fs, i->path);
    const size_t pos = now.size ? ((size_t)take(in) << 8 | take(in)) % now.size : 0;
    uint8_t *copy = mem_alloc(now.size + 600);
    size_t size = now.size;
    memcpy(copy, now.data, size);
    switch (take(in) % 7) {
    case 0:
        if (size)
            copy[pos] = (uint8_t)(copy[pos] ^ (take(in) | 1));
        break;
    case 1:
        size = pos;
        break;
    case 2: {
        const size_t n = take(in);
        memset(copy + pos, 0, n < size - pos ? n : size - pos);
        break;
    }
    case 3: {
        const size_t n = take(in) * 2u;
        memset(copy + size, take(in), n);
        size += n;
        break;
    }
    case 4: { /* bytes of another place */
        const size_t n = take(in), from = size ? ((size_t)take(in) << 4) % size : 0;
        for (size_t k = 0; k < n && pos + k < size && from + k < size; k++)
            copy[pos + k] = now.data[from + k];
        break;
    }
    case 5: { /* another file's bytes */
        const struct image *other = &images[set][take(in) % image_counts[set]];
        size = other->size < now.size + 600 ? other->size : now.size + 600;
        memcpy(copy, other->bytes, size);
        break;
    }
    default:
        size = SIZE_MAX;
        break;
    }
    if (holds_records(i->path) || name_has_suffix(i->path, "/points") ||
        name_has_suffix(i->path, "/partition") || name_has_suffix(i->path, "/meta"))
        *is_serious = true;
    if (size == SIZE_MAX)
        fake_fsio_remove(fs, i->path);
    else
        fake_fsio_put(fs, i->path, slice_of(copy, size));
    mem_free(copy);
}

/* --- what must hold -------------------------------------------------------------------- */

/* Reads from the start to the end as a consumer does, stepping over what is damaged. */
static void read_log(struct log *g, bool is_serious)
{
    int64_t offset = log_start_offset(g);
    const int64_t end = log_end_offset(g);
    unsigned steps = 0;
    while (offset < end) {
        must(++steps < 10000);
        struct log_view v;
        const err e = world_read(g, offset, 700, &v);
        if (e != OK) {
            must(is_serious);
            must(e == E_CORRUPT || e == E_STORAGE || e == E_UNSUPPORTED_VERSION);
            offset++;
            continue;
        }
        if (v.bytes.size == 0) {
            must(is_serious);
            log_view_release(&v);
            offset++;
            continue;
        }
        int64_t last = -1;
        for (struct slice left = v.bytes; left.size;) {
            struct batch b;
            const err read = batch_read_canonical(left, &b);
            must(read == OK || is_serious);
            if (read != OK)
                break;
            must(b.base_offset > last || is_serious);
            last = b.base_offset + b.last_offset_delta;
            const bool is_right = batch_check_crcs(&b) == OK;
            must(is_right || is_serious);
            if (is_right && b.base_offset < BATCHES && !is_serious)
                must(b.batch_crc == written[b.base_offset]);
            left = slice_sub(left, b.size, left.size);
        }
        offset = v.next_offset > offset ? v.next_offset : offset + 1;
        log_view_release(&v);
    }
}

static void search(struct log *g, bool is_serious)
{
    for (int64_t t = 990; t < 1080; t += 7) {
        struct log_found f;
        const err e = log_find_timestamp(g, t, INT64_MAX, &f);
        if (e == OK && !is_serious)
            must(f.timestamp >= t && f.offset >= log_start_offset(g));
        if (!is_serious)
            must(e == (t > 1060 ? E_NOT_FOUND : OK));
    }
}

static void use(struct world *w, bool is_serious)
{
    for (size_t i = 0; i < w->count; i++) {
        struct log *g = w->logs[i];
        if (g->unusable != OK) {
            must(is_serious);
            continue;
        }
        must(log_start_offset(g) <= log_end_offset(g));
        must(log_flushed_offset(g) <= log_end_offset(g));
        if (!is_serious) {
            must(log_start_offset(g) == 3);
            must(log_end_offset(g) == BATCHES);
            must(!log_loss(g).is_lossy);
        }
        read_log(g, is_serious);
        search(g, is_serious);
        int32_t epoch;
        int64_t end;
        log_lock(g);
        const err e = log_epoch_end(g, 1, &epoch, &end);
        log_unlock(g);
        if (!is_serious)
            must(e == OK && epoch == 1 && end == 16);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!image_counts[0]) {
        diag_set_sink(drop_line, NULL);
        make_images();
    }
    struct input in = {.at = data, .end = data + size};
    const size_t set = take(&in) & 1;
    const bool is_kill = take(&in) & 1;
    struct world w;
    world_init(&w, 7);
    for (size_t i = 0; i < image_counts[set]; i++)
        fake_fsio_put(w.fs, images[set][i].path,
                      slice_of(images[set][i].bytes, images[set][i].size));
    bool is_serious = false;
    for (int n = 0; n < 6 && in.at < in.end; n++)
        damage(w.fs, &in, set, &is_serious);
    fake_fsio_crash(w.fs, is_kill ? FAKE_KILL : FAKE_LOSE_ALL, &w.rng);

    struct log_verify_report report;
    err_ignore(log_verify(w.io, WORLD_DIR, NULL, NULL, &report), "it only must survive");

    err e = world_start(&w);
    must(e == OK || is_serious);
    if (e == OK) {
        must(w.count == 1 || is_serious);
        use(&w, is_serious);
        int64_t ends[WORLD_LOGS_MAX];
        const size_t count = w.count;
        for (size_t i = 0; i < w.count; i++)
            /* One that was closed cleanly is looked at when it is used; -1: that showed damage. */
            ends[i] = w.logs[i]->unusable == OK ? log_end_offset(w.logs[i]) : -1;
        world_stop(&w);
        fake_fsio_crash(w.fs, FAKE_KILL, &w.rng);
        e = world_start(&w);
        must(e == OK);
        must(w.count == count);
        for (size_t i = 0; i < w.count; i++) {
            struct log *g = w.logs[i];
            int64_t offset;
            const int64_t now = log_end_offset(g);
            must(g->unusable != OK || ends[i] < 0 || now == ends[i]);
            e = world_append(g, 1, 20, 1, 1, INT32_MAX, &offset);
            must(e == OK || is_serious);
            must(e != OK || offset == now);
        }
        must(world_flush(&w) == OK || is_serious);
        e = world_close(&w);
        must(e == OK || is_serious);
    }
    world_deinit(&w);
    return 0;
}
