/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small durable text files, replaced whole (rule D5: written, fsynced,
 * renamed, directory fsynced): a partition's identity and leader epochs, a
 * directory's meta file and clean marker. `cat` shows them.
 *
 *   sluice-<kind> <version>
 *   ... lines ...
 *   crc32c <8 hex digits, of everything above>
 *
 * A file that is cut, emptied or changed is E_CORRUPT: never read in part
 * (rule D3). Parsing is a pure function. Threads: any, one writer per file.
 */
#ifndef SLUICE_LOG_CHECKPOINT_H
#define SLUICE_LOG_CHECKPOINT_H

#include "broker/log/fsio.h"
#include "proto/base/buf.h"
#include "proto/base/rng.h"
#include "proto/base/slice.h"

enum { CHECKPOINT_BYTES_MAX = 64 * 1024 * 1024 };

/* Starts a file; the caller appends its lines, checkpoint_write ends it. */
void checkpoint_begin(struct buf *b, const char *kind, unsigned version);
/* Adds the checksum and replaces dir/name. E_NO_SPACE, E_STORAGE. */
err checkpoint_write(const struct fsio *io, const char *dir, const char *name,
                     struct buf *b) MUST_USE;
/* The same bytes, without a file. */
void checkpoint_end(struct buf *b);

/* body: the lines between the first and the last, within bytes. E_CORRUPT; E_UNSUPPORTED_VERSION: a
 * newer version, whole and with a good checksum. */
err checkpoint_parse(struct slice bytes, const char *kind, unsigned version_max,
                     struct slice *body) MUST_USE;
/* Reads dir/name; gives *data (mem_free), in which body lies. E_NOT_FOUND and as above. */
err checkpoint_read(const struct fsio *io, const char *dir, const char *name, const char *kind,
                    unsigned version_max, char **data, struct slice *body) MUST_USE;

/* --- lines and the words in them: a sticky cursor ---------------------------- */
struct words {
    struct slice left;
    bool failed;
};
/* The next line of body, without its newline. false: no more. */
bool words_line(struct slice *body, struct words *out);
struct slice words_next(struct words *w); /* up to a blank; empty: failed */
int64_t words_i64(struct words *w, int64_t min, int64_t max);
uint32_t words_hex32(struct words *w);
struct uuid words_uuid(struct words *w);
/* OK: every word was there and nothing is left. */
err words_end(const struct words *w) MUST_USE;

#endif
