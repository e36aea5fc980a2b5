/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file: pages of 4096 bytes, 32 slots each; page 2k holds copy 0 of slots
 * 32k.., page 2k+1 their copy 1. A copy, little-endian:
 *
 *    pos size                            pos size
 *      0    4  "SPT1"                      60    8  written offset
 *      4    4  CRC-32C of 8 to 127         68    8  written segment
 *      8    8  sequence: higher is newer   76    4  written position
 *     16   16  topic id                    80    4  written epoch
 *     32    4  partition                   84    8  start offset
 *     36    4  flags: 1 resetting, 2 power lost
 *     40    8  flushed offset              92    8  high watermark
 *     48    8  flushed segment            100    8  loss from
 *     56    4  flushed position           108    8  loss to
 *    124    4  flushed epoch              116    8  zeros
 *
 * A slot is what its newest valid copy says; none valid: free. Format 1; the
 * digit in the magic is the version.
 */
#include "broker/log/points.h"

#include <pthread.h>
#include <string.h>

#include "proto/base/check.h"
#include "proto/base/crc32c.h"
#include "proto/base/mem.h"
#include "proto/base/reader.h"
#include "proto/base/writer.h"

enum { PAGE = 4096, FLAG_RESETTING = 1, FLAG_POWER_LOST = 2 };

static const char magic[4] = {'S', 'P', 'T', '1'};

struct slot {
    uint64_t seq; /* of the newest copy, which is copy seq & 1 */
    bool is_taken;
};

struct points {
    const struct fsio *io;
    struct fsio_file *file;
    pthread_mutex_t
        lock; /* guards the three below, but a taken slot's seq, which its log's lock does */
    struct slot *slots;
    uint32_t count, free_hint;
    struct point *found;
};

void point_encode(const struct point *p, uint64_t seq, uint8_t out[POINT_SIZE])
{
    memset(out, 0, POINT_SIZE);
    uint8_t *w = write_bytes(out, magic, sizeof magic) + 4;
    w = write_u64(w, seq);
    w = write_bytes(w, p->topic_id.bytes, sizeof p->topic_id.bytes);
    w = write_u32(w, p->partition);
    w = write_u32(w, (p->is_resetting ? FLAG_RESETTING : 0u) |
                         (p->was_power_lost ? FLAG_POWER_LOST : 0u));
    w = write_u64(w, (uint64_t)p->flushed.offset);
    w = write_u64(w, (uint64_t)p->flushed.base);
    w = write_u32(w, p->flushed.pos);
    w = write_u64(w, (uint64_t)p->written.offset);
    w = write_u64(w, (uint64_t)p->written.base);
    w = write_u32(w, p->written.pos);
    w = write_u32(w, (uint32_t)p->written.epoch);
    w = write_u64(w, (uint64_t)p->start_offset);
    w = write_u64(w, (uint64_t)p->high_watermark);
    w = write_u64(w, (uint64_t)p->loss_from);
    write_u64(w, (uint64_t)p->loss_to);
    write_u32(out + 124, (uint32_t)p->flushed.epoch);
    write_u32(out + 4, crc32c(0, out + 8, POINT_SIZE - 8));
}

static bool is_place(const struct log_place *l)
{
    return l->offset >= 0 && l->base >= 0 && l->base <= l->offset && l->epoch >= -1;
}

err point_decode(const uint8_t in[POINT_SIZE], struct point *p, uint64_t *seq)
{
    struct reader r = reader_init(slice_of(in, POINT_SIZE));
    if (memcmp(reader_bytes(&r, sizeof magic).data, magic, sizeof magic) != 0 ||
        reader_u32(&r) != crc32c(0, in + 8, POINT_SIZE - 8))
        return E_CORRUPT;
    struct point d = {0};
    const uint64_t s = reader_u64(&r);
    memcpy(d.topic_id.bytes, reader_bytes(&r, sizeof d.topic_id.bytes).data,
           sizeof d.topic_id.bytes);
    d.partition = reader_u32(&r);
    const uint32_t flags = reader_u32(&r);
    d.is_resetting = flags & FLAG_RESETTING;
    d.was_power_lost = flags & FLAG_POWER_LOST;
    d.flushed.offset = (int64_t)reader_u64(&r);
    d.flushed.base = (int64_t)reader_u64(&r);
    d.flushed.pos = reader_u32(&r);
    d.written.offset = (int64_t)reader_u64(&r);
    d.written.base = (int64_t)reader_u64(&r);
    d.written.pos = reader_u32(&r);
    d.written.epoch = (int32_t)reader_u32(&r);
    d.start_offset = (int64_t)reader_u64(&r);
    d.high_watermark = (int64_t)reader_u64(&r);
    d.loss_from = (int64_t)reader_u64(&r);
    d.loss_to = (int64_t)reader_u64(&r);
    reader_bytes(&r, 8);
    d.flushed.epoch = (int32_t)reader_u32(&r);
    if (reader_end(&r) != OK || !is_place(&d.flushed) || !is_place(&d.written) ||
        d.start_offset < 0 || d.high_watermark < 0 || d.loss_from < 0 || d.loss_to < d.loss_from)
        return E_CORRUPT;
    *p = d;
    *seq = s;
    return OK;
}

static uint64_t copy_pos(uint32_t slot, unsigned copy)
{
    const uint64_t page = (uint64_t)(slot / POINTS_PER_PAGE) * 2 + copy;
    return page * PAGE + (uint64_t)(slot % POINTS_PER_PAGE) * POINT_SIZE;
}

/* The newest valid copy of a slot in the file's bytes. */
static bool newest_copy(const uint8_t *data, size_t size, uint32_t slot, struct point *p,
                        uint64_t *seq)
{
    bool has_any = false;
    for (unsigned copy = 0; copy < 2; copy++) {
        const uint64_t pos = copy_pos(slot, copy);
        struct point found;
        uint64_t found_seq;
        if (pos + POINT_SIZE > size || point_decode(data + pos, &found, &found_seq) != OK)
            continue;
        /* A sequence belongs in one copy only: the other parity is damage that a checksum cannot
         * see. */
        if ((found_seq & 1) != copy || (has_any && found_seq < *seq))
            continue;
        *p = found;
        *seq = found_seq;
        has_any = true;
    }
    return has_any;
}

static uint32_t slots_in(size_t size)
{
    return (uint32_t)(size / PAGE + 2) / 2 * POINTS_PER_PAGE;
}

err points_read(const struct fsio *io, const char *dir, points_fn *fn, void *arg)
{
    char path[FSIO_PATH_MAX];
    char *data;
    size_t size;
    const err e = fsio_read_file(io, fsio_path(path, dir, POINTS_FILE), copy_pos(POINTS_MAX, 0),
                                 &data, &size);
    if (e != OK)
        return e;
    for (uint32_t slot = 0; slot < slots_in(size); slot++) {
        struct point p;
        uint64_t seq;
        if (newest_copy((const uint8_t *)data, size, slot, &p, &seq))
            fn(arg, slot, seq, &p);
    }
    mem_free(data);
    return OK;
}

err points_open(struct points **out, const struct fsio *io, const char *dir)
{
    char path[FSIO_PATH_MAX];
    struct fsio_file *f;
    err e = io->open(io, fsio_path(path, dir, POINTS_FILE), FSIO_WRITE | FSIO_CREATE, &f);
    if (e != OK)
        return e;
    char *data;
    size_t size;
    e = fsio_read_file(io, path, copy_pos(POINTS_MAX, 0), &data, &size);
    if (e != OK) {
        io->close(io, f);
        return e;
    }
    struct points *t = MEM_NEW(struct points);
    t->io = io;
    t->file = f;
    pthread_mutex_init(&t->lock, NULL);
    t->count = slots_in(size);
    t->slots = mem_zalloc(t->count * sizeof *t->slots);
    t->found = mem_zalloc(t->count * sizeof *t->found);
    for (uint32_t slot = 0; slot < t->count; slot++)
        t->slots[slot].is_taken =
            newest_copy((const uint8_t *)data, size, slot, &t->found[slot], &t->slots[slot].seq);
    mem_free(data);
    *out = t;
    return OK;
}

void points_close(struct points *t)
{
    if (!t)
        return;
    t->io->close(t->io, t->file);
    pthread_mutex_destroy(&t->lock);
    mem_free(t->slots);
    mem_free(t->found);
    mem_free(t);
}

uint32_t points_slots(const struct points *t)
{
    return t->count;
}

bool points_found(const struct points *t, uint32_t slot, struct point *out)
{
    if (!t->found || slot >= t->count || !t->slots[slot].is_taken)
        return false;
    *out = t->found[slot];
    return true;
}

void points_forget_found(struct points *t)
{
    mem_free(t->found);
    t->found = NULL;
}

/* Zeros over both copies: half of an old one must not come to life beside the new ones. */
static err clear_copies(struct points *t, uint32_t slot)
{
    static const uint8_t zeros[POINT_SIZE];
    err e = OK;
    for (unsigned copy = 0; copy < 2 && e == OK; copy++)
        e = fsio_pwrite(t->io, t->file, zeros, sizeof zeros, copy_pos(slot, copy));
    return e;
}

static void give_back(struct points *t, uint32_t slot)
{
    pthread_mutex_lock(&t->lock);
    CHECK(slot < t->count);
    t->slots[slot].is_taken = false;
    if (slot < t->free_hint)
        t->free_hint = slot;
    pthread_mutex_unlock(&t->lock);
}

err points_take(struct points *t, uint32_t *slot)
{
    err e = OK;
    pthread_mutex_lock(&t->lock);
    uint32_t i = t->free_hint;
    while (i < t->count && t->slots[i].is_taken)
        i++;
    if (i == POINTS_MAX) {
        e = E_OVERLOADED;
    } else {
        if (i == t->count) {
            const uint32_t count = t->count + POINTS_PER_PAGE;
            struct slot *larger = mem_zalloc(count * sizeof *larger);
            memcpy(larger, t->slots, t->count * sizeof *larger);
            mem_free(t->slots);
            t->slots = larger;
            t->count = count;
        }
        t->slots[i].is_taken = true;
        t->free_hint = i + 1;
    }
    pthread_mutex_unlock(&t->lock);
    if (e != OK)
        return e;
    e = clear_copies(t, i);
    if (e == OK)
        *slot = i;
    else
        give_back(t, i);
    return e;
}

static uint64_t next_seq(struct points *t, uint32_t slot)
{
    pthread_mutex_lock(&t->lock);
    CHECK(slot < t->count);
    CHECK(t->slots[slot].is_taken);
    const uint64_t seq = ++t->slots[slot].seq;
    pthread_mutex_unlock(&t->lock);
    return seq;
}

err points_put(struct points *t, uint32_t slot, const struct point *p)
{
    const uint64_t seq = next_seq(t, slot);
    uint8_t copy[POINT_SIZE];
    point_encode(p, seq, copy);
    return fsio_pwrite(t->io, t->file, copy, sizeof copy, copy_pos(slot, seq & 1));
}

err points_release(struct points *t, uint32_t slot)
{
    const err e = clear_copies(t, slot);
    if (e == OK)
        give_back(t, slot);
    return e;
}

err points_sync(struct points *t)
{
    return t->io->fdatasync(t->io, t->file);
}
