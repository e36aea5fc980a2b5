/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Timestamp to position, sparse. An entry says: no batch up to the one that
 * was being written when it was made has a larger timestamp than this, and
 * that batch over there has it. 16 bytes: timestamp i64 (ms), the batch's base
 * offset less the segment's, plus 1 (so that no entry is all zero), u32, its
 * position u32; timestamps ascend strictly.
 *
 * So whoever looks for the first record at or after T starts at the batch of
 * the last entry below T: all before it are older. An entry that is checked
 * against its batch is a good start wherever the search found it.
 */
#ifndef SLUICE_LOG_TIME_INDEX_H
#define SLUICE_LOG_TIME_INDEX_H

#include "broker/log/index_file.h"

enum { TIME_ENTRY_SIZE = 16 };

struct time_entry {
    int64_t timestamp;
    uint32_t rel_offset;
    uint32_t pos;
};

struct time_entry time_entry_decode(const uint8_t bytes[TIME_ENTRY_SIZE]);
/* No effect unless the timestamp is above the last entry's. */
void time_index_add(struct index_file *x, struct time_entry entry);
/* The last entry below a timestamp. false: none. */
bool time_index_before(struct index_file *x, int64_t timestamp, struct time_entry *out);
bool time_index_last(struct index_file *x, struct time_entry *out);
/* Entries that point at or above a position go. */
void time_index_truncate(struct index_file *x, uint32_t pos);
bool time_index_is_sound(struct index_file *x, uint32_t pos_max);

#endif
