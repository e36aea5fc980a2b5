/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Offset to position, sparse: an entry every index.interval.bytes, 8 bytes:
 * a batch's base offset less the segment's, and its position, both u32,
 * ascending. The batch at position 0 has no entry, so no entry is all zero.
 */
#ifndef SLUICE_LOG_OFFSET_INDEX_H
#define SLUICE_LOG_OFFSET_INDEX_H

#include "broker/log/index_file.h"

enum { OFFSET_ENTRY_SIZE = 8 };

struct offset_entry {
    uint32_t rel_offset;
    uint32_t pos;
};

struct offset_entry offset_entry_decode(const uint8_t bytes[OFFSET_ENTRY_SIZE]);
void offset_index_add(struct index_file *x, struct offset_entry entry);
/* The last entry at or below a relative offset, or at or below a position. false: none. */
bool offset_index_floor(struct index_file *x, uint32_t rel_offset, struct offset_entry *out);
bool offset_index_floor_pos(struct index_file *x, uint32_t pos, struct offset_entry *out);
bool offset_index_last(struct index_file *x, struct offset_entry *out);
/* Entries at or above a position go. */
void offset_index_truncate(struct index_file *x, uint32_t pos);
/* Whether all entries ascend and lie below these bounds. Reads them all. */
bool offset_index_is_sound(struct index_file *x, uint32_t pos_max);

#endif
