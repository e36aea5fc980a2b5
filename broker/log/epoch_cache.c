/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file, in checkpoint.h's frame, kind leader-epochs, version 1:
 *
 *   valid_to 4200         entries are complete for offsets below
 *   0 0                   epoch, start offset; ascending
 *   3 1500
 */
#include "broker/log/epoch_cache.h"

#include <inttypes.h>

#include "broker/log/checkpoint.h"
#include "proto/base/check.h"
#include "proto/base/mem.h"

enum { VERSION = 1 };

void epoch_cache_deinit(struct epoch_cache *c)
{
    mem_free(c->entries);
    *c = (struct epoch_cache){0};
}

static void push(struct epoch_cache *c, struct epoch_entry entry)
{
    if (c->count == c->capacity) {
        c->capacity = c->capacity ? 2 * c->capacity : 4;
        c->entries = mem_realloc(c->entries, c->capacity * sizeof *c->entries);
    }
    c->entries[c->count++] = entry;
}

void epoch_cache_begin(struct epoch_cache *c, int32_t epoch, int64_t start_offset)
{
    if (epoch <= epoch_cache_last(c))
        return;
    epoch_cache_truncate(c, start_offset);
    push(c, (struct epoch_entry){.epoch = epoch, .start_offset = start_offset});
    c->unwritten++;
}

int32_t epoch_cache_last(const struct epoch_cache *c)
{
    return c->count ? c->entries[c->count - 1].epoch : -1;
}

/* How many entries have an epoch <= asked. */
static size_t count_to_epoch(const struct epoch_cache *c, int32_t asked)
{
    size_t low = 0, high = c->count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (c->entries[middle].epoch <= asked)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* How many entries begin at or below an offset. */
static size_t count_to_offset(const struct epoch_cache *c, int64_t offset)
{
    size_t low = 0, high = c->count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (c->entries[middle].start_offset <= offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool epoch_cache_end_of(const struct epoch_cache *c, int32_t asked, int64_t log_end,
                        struct epoch_entry *out)
{
    const size_t n = count_to_epoch(c, asked);
    if (n == 0)
        return false;
    out->epoch = c->entries[n - 1].epoch;
    out->start_offset = n < c->count ? c->entries[n].start_offset : log_end;
    return true;
}

int32_t epoch_cache_at(const struct epoch_cache *c, int64_t offset)
{
    const size_t n = count_to_offset(c, offset);
    return n ? c->entries[n - 1].epoch : -1;
}

void epoch_cache_truncate(struct epoch_cache *c, int64_t end_offset)
{
    while (c->count && c->entries[c->count - 1].start_offset >= end_offset) {
        c->count--;
        if (c->unwritten > 0)
            c->unwritten--;
        else
            c->is_dirty = true;
    }
}

void epoch_cache_raise_start(struct epoch_cache *c, int64_t start_offset)
{
    const size_t n = count_to_offset(c, start_offset);
    if (n == 0)
        return;
    const size_t gone = n - 1;
    if (gone == 0 && c->entries[0].start_offset == start_offset)
        return;
    c->count -= gone;
    memmove(c->entries, c->entries + gone, c->count * sizeof *c->entries);
    c->entries[0].start_offset = start_offset;
    if (c->unwritten >= c->count)
        c->unwritten = c->count - 1;
    c->is_dirty = true;
}

bool epoch_cache_needs_write(const struct epoch_cache *c, int64_t valid_to)
{
    return c->is_dirty ||
           (c->unwritten > 0 && c->entries[c->count - c->unwritten].start_offset < valid_to);
}

void epoch_cache_format(struct epoch_cache *c, int64_t valid_to, struct buf *out)
{
    checkpoint_begin(out, EPOCH_FILE, VERSION);
    buf_printf(out, "valid_to %" PRId64 "\n", valid_to);
    size_t n = 0;
    for (; n < c->count && c->entries[n].start_offset < valid_to; n++)
        buf_printf(out, "%" PRId32 " %" PRId64 "\n", c->entries[n].epoch,
                   c->entries[n].start_offset);
    c->unwritten = c->count - n;
    c->is_dirty = false;
}

err epoch_cache_parse(struct epoch_cache *c, struct slice body, int64_t *valid_to)
{
    CHECK(c->count == 0);
    struct words w;
    if (!words_line(&body, &w) || !slice_eq(words_next(&w), slice_str("valid_to")))
        return E_CORRUPT;
    const int64_t valid = words_i64(&w, 0, INT64_MAX);
    err e = words_end(&w);
    struct epoch_entry last = {.epoch = -1, .start_offset = -1};
    while (e == OK && words_line(&body, &w)) {
        struct epoch_entry entry;
        entry.epoch = (int32_t)words_i64(&w, 0, INT32_MAX);
        entry.start_offset = words_i64(&w, 0, INT64_MAX);
        e = words_end(&w);
        if (e == OK && (entry.epoch <= last.epoch || entry.start_offset <= last.start_offset))
            e = E_CORRUPT;
        if (e == OK)
            push(c, entry);
        last = entry;
    }
    if (e != OK) {
        epoch_cache_deinit(c);
        return e;
    }
    *valid_to = valid;
    return OK;
}

err epoch_cache_read(struct epoch_cache *c, const struct fsio *io, const char *dir,
                     int64_t *valid_to)
{
    char *data;
    struct slice body;
    err e = checkpoint_read(io, dir, EPOCH_FILE, EPOCH_FILE, VERSION, &data, &body);
    if (e != OK)
        return e;
    e = epoch_cache_parse(c, body, valid_to);
    mem_free(data);
    return e;
}
