/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/log/offset_index.h"

#include "proto/base/reader.h"
#include "proto/base/writer.h"

struct offset_entry offset_entry_decode(const uint8_t bytes[OFFSET_ENTRY_SIZE])
{
    struct reader r = reader_init(slice_of(bytes, OFFSET_ENTRY_SIZE));
    struct offset_entry entry;
    entry.rel_offset = reader_u32(&r);
    entry.pos = reader_u32(&r);
    return entry;
}

static bool entry_at(struct index_file *x, uint32_t i, struct offset_entry *out)
{
    const uint8_t *p = index_file_at(x, i);
    if (!p)
        return false;
    *out = offset_entry_decode(p);
    return true;
}

void offset_index_add(struct index_file *x, struct offset_entry entry)
{
    uint8_t bytes[OFFSET_ENTRY_SIZE];
    write_u32(write_u32(bytes, entry.rel_offset), entry.pos);
    index_file_add(x, bytes);
}

/* How many entries are at or below a relative offset and a position. */
static uint32_t count_to(struct index_file *x, uint32_t rel_offset, uint32_t pos)
{
    uint32_t low = 0, high = index_file_count(x);
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        struct offset_entry entry;
        if (!entry_at(x, middle, &entry))
            return 0;
        if (entry.rel_offset <= rel_offset && entry.pos <= pos)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool offset_index_floor(struct index_file *x, uint32_t rel_offset, struct offset_entry *out)
{
    const uint32_t n = count_to(x, rel_offset, UINT32_MAX);
    return n > 0 && entry_at(x, n - 1, out);
}

bool offset_index_floor_pos(struct index_file *x, uint32_t pos, struct offset_entry *out)
{
    const uint32_t n = count_to(x, UINT32_MAX, pos);
    return n > 0 && entry_at(x, n - 1, out);
}

bool offset_index_last(struct index_file *x, struct offset_entry *out)
{
    const uint32_t n = index_file_count(x);
    return n > 0 && entry_at(x, n - 1, out);
}

void offset_index_truncate(struct index_file *x, uint32_t pos)
{
    index_file_truncate(x, pos ? count_to(x, UINT32_MAX, pos - 1) : 0);
}

bool offset_index_is_sound(struct index_file *x, uint32_t pos_max)
{
    struct offset_entry last = {0}, entry;
    for (uint32_t i = 0; i < index_file_count(x); i++, last = entry) {
        if (!entry_at(x, i, &entry) || entry.rel_offset <= last.rel_offset ||
            entry.pos <= last.pos || entry.pos >= pos_max)
            return false;
    }
    return true;
}
