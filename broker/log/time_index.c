/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/log/time_index.h"

#include "proto/base/reader.h"
#include "proto/base/writer.h"

struct time_entry time_entry_decode(const uint8_t bytes[TIME_ENTRY_SIZE])
{
    struct reader r = reader_init(slice_of(bytes, TIME_ENTRY_SIZE));
    struct time_entry entry;
    entry.timestamp = (int64_t)reader_u64(&r);
    entry.rel_offset = reader_u32(&r) - 1;
    entry.pos = reader_u32(&r);
    return entry;
}

static bool entry_at(struct index_file *x, uint32_t i, struct time_entry *out)
{
    const uint8_t *p = index_file_at(x, i);
    if (!p)
        return false;
    *out = time_entry_decode(p);
    return true;
}

void time_index_add(struct index_file *x, struct time_entry entry)
{
    struct time_entry last;
    if (time_index_last(x, &last) && entry.timestamp <= last.timestamp)
        return;
    uint8_t bytes[TIME_ENTRY_SIZE];
    uint8_t *p = write_u64(bytes, (uint64_t)entry.timestamp);
    write_u32(write_u32(p, entry.rel_offset + 1), entry.pos);
    index_file_add(x, bytes);
}

bool time_index_before(struct index_file *x, int64_t timestamp, struct time_entry *out)
{
    uint32_t low = 0, high = index_file_count(x);
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        struct time_entry entry;
        if (!entry_at(x, middle, &entry))
            return false;
        if (entry.timestamp < timestamp)
            low = middle + 1;
        else
            high = middle;
    }
    return low > 0 && entry_at(x, low - 1, out);
}

bool time_index_last(struct index_file *x, struct time_entry *out)
{
    const uint32_t n = index_file_count(x);
    return n > 0 && entry_at(x, n - 1, out);
}

void time_index_truncate(struct index_file *x, uint32_t pos)
{
    uint32_t n = index_file_count(x);
    struct time_entry entry;
    while (n > 0 && (!entry_at(x, n - 1, &entry) || entry.pos >= pos))
        n--;
    index_file_truncate(x, n);
}

bool time_index_is_sound(struct index_file *x, uint32_t pos_max)
{
    struct time_entry last, entry;
    for (uint32_t i = 0; i < index_file_count(x); i++, last = entry) {
        if (!entry_at(x, i, &entry) || entry.pos >= pos_max)
            return false;
        if (i > 0 && (entry.timestamp <= last.timestamp || entry.pos <= last.pos))
            return false;
    }
    return true;
}
