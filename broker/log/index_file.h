/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file behind a sparse index: entries of one size, appended through a
 * small buffer, written by pwrite, read through a mapping. What the entries
 * mean is said in offset_index.h and time_index.h.
 *
 * A cache: an entry is believed only after the batch it points at was looked
 * at, so a lost, torn or stale entry makes a search slower, never wrong. That
 * is why nothing here is synced, and why a write that fails only ends the
 * indexing of this segment (is_broken), never an append.
 * The file is created sparse at its maximal size and trimmed when the segment
 * is sealed. Entries that were never written read as zeros. It is open only
 * while it is worked on: thousands of partitions need no descriptors for it.
 * Threads: its log's lock.
 */
#ifndef SLUICE_LOG_INDEX_FILE_H
#define SLUICE_LOG_INDEX_FILE_H

#include "broker/log/fsio.h"
#include "broker/log/names.h"

enum { INDEX_PENDING_BYTES = 512 };

struct index_file {
    /* Constant. */
    const struct fsio *io;
    const char *dir; /* its partition's; outlives it */
    int64_t base_offset;
    enum segment_file kind;
    uint32_t bytes_max; /* of the file */
    uint16_t entry_size;

    uint16_t pending_count;
    uint8_t *pending; /* INDEX_PENDING_BYTES, or NULL: entries behind those of the file */
    uint32_t count;   /* entries in the file */
    bool is_loaded;   /* what was in the file before is taken over */
    bool is_broken;
    const uint8_t *map;
    size_t map_size;
};

/* Without entries; what the file may hold is ignored, and overwritten, unless loaded. */
void index_file_init(struct index_file *x, const struct index_file *constants);
/* What is pending is lost. */
void index_file_deinit(struct index_file *x);
/* Takes over what is in the file, if there is one: entries up to the first that is all zero. */
err index_file_load(struct index_file *x) MUST_USE;

static inline uint32_t index_file_count(const struct index_file *x)
{
    return x->count + x->pending_count;
}
bool index_file_is_full(const struct index_file *x);
/* Whether the next entry makes the buffer spill over. */
static inline bool index_file_will_spill(const struct index_file *x)
{
    return ((uint32_t)x->pending_count + 1) * x->entry_size > INDEX_PENDING_BYTES;
}
/* entry i < count; maps the file if it must. NULL: it could not. */
const uint8_t *index_file_at(struct index_file *x, uint32_t i);
/* Full, or broken: no effect. */
void index_file_add(struct index_file *x, const uint8_t *entry);
/* Writes what is pending. */
void index_file_spill(struct index_file *x);
/* Entries from count on go; zeroed in the file. */
void index_file_truncate(struct index_file *x, uint32_t count);
/* Spills, and trims the file to its entries. It may still be added to. */
void index_file_seal(struct index_file *x);
/* Spills, and frees the buffer and the mapping. */
void index_file_settle(struct index_file *x);

#endif
