/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compression of a batch's records, whole. gzip is RFC 1952, snappy the raw
 * block format, lz4 one frame, zstd one frame. Decoding is bounded: it never
 * writes more than it was allowed to, whatever the input claims, and refuses
 * concatenated frames and trailing bytes. Threads: a codec_ctx has one user.
 */
#ifndef SLUICE_WIRE_CODEC_H
#define SLUICE_WIRE_CODEC_H

#include "proto/base/buf.h"
#include "proto/base/err.h"
#include "proto/wire/batch.h"

/* Codec state that is worth keeping (zstd and lz4 contexts, z_streams): at most some 16 MiB, in use
 * only after such input came. One per thread or owner. */
struct codec_ctx;
struct codec_ctx *codec_ctx_new(void);
void codec_ctx_free(struct codec_ctx *x);

/* Appends the compressed form of in. level: the codec's own (gzip 1-9, lz4 1-12, zstd 1-22, the
 * others ignore it), CODEC_LEVEL_DEFAULT for its default. E_INVALID_CONFIG: no such level.
 * E_NO_MEMORY. */
enum { CODEC_LEVEL_DEFAULT = -1000 };
err codec_compress(struct codec_ctx *x, enum batch_codec codec, int level, struct slice in,
                   struct buf *out) MUST_USE;
/* Appends the decoded form, at most limit bytes. E_CORRUPT: malformed. E_MESSAGE_TOO_LARGE: over
 * limit. CODEC_NONE copies. */
err codec_decompress(struct codec_ctx *x, enum batch_codec codec, struct slice in, size_t limit,
                     struct buf *out) MUST_USE;
/* What a compressed size may decode to (limits.h). A producer whose records shrink further than
 * that sends them uncompressed, or the broker refuses the batch. */
size_t codec_limit(size_t compressed_size);

/* "none", "gzip", ...; CODEC by name: E_UNSUPPORTED_COMPRESSION. */
const char *codec_name(enum batch_codec codec);
err codec_by_name(const char *name, enum batch_codec *out) MUST_USE;

#endif
