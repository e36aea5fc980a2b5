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
 * is sealed. Entries that were never written read as zeros.
 * Threads: its log's lock.
 */
#ifndef SLUICE_LOG_INDEX_FILE_H
#define SLUICE_LOG_INDEX_FILE_H

#include "broker/log/fsio.h"

enum { INDEX_PENDING_BYTES = 512 };

/* All zero but entry_size is an index without entries and without a file. */
struct index_file {
    struct fsio_file *file;
    const uint8_t *map;
    size_t map_size;
    uint8_t *pending;   /* INDEX_PENDING_BYTES, or NULL: entries behind those of the file */
    uint32_t count;     /* entries in the file */
    uint32_t bytes_max; /* of the file */
    uint16_t pending_count;
    uint8_t entry_size;
    bool is_broken;
};

/* Closes, frees; what is pending is lost. */
void index_file_deinit(struct index_file *x, const struct fsio *io);
/* Takes over what is in the file, if there is one: entries up to the first that is all zero. */
err index_file_load(struct index_file *x, const struct fsio *io, const char *path) MUST_USE;

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
const uint8_t *index_file_at(struct index_file *x, const struct fsio *io, uint32_t i);
/* Full: no effect. path: to create the file when the buffer spills over. */
void index_file_add(struct index_file *x, const struct fsio *io, const char *path,
                    const uint8_t *entry);
/* Writes what is pending. */
void index_file_spill(struct index_file *x, const struct fsio *io, const char *path);
/* Entries from count on go; zeroed in the file. */
void index_file_truncate(struct index_file *x, const struct fsio *io, const char *path,
                         uint32_t count);
/* Spills, and trims the file to its entries. It may still be added to. */
void index_file_seal(struct index_file *x, const struct fsio *io, const char *path);
/* Frees the buffer (after a spill) and the descriptor. */
void index_file_settle(struct index_file *x, const struct fsio *io, const char *path);

#endif
