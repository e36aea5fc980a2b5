/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a codec is to codec.c, and how the streaming ones grow their output
 * under a limit. Not for other folders. Threads: as codec.h.
 */
#ifndef SLUICE_WIRE_CODEC_PRIV_H
#define SLUICE_WIRE_CODEC_PRIV_H

#include "proto/base/buf.h"
#include "proto/base/err.h"

struct codec_ops {
    const char *name;
    int level_min, level_max,
        level_default; /* the codec's own numbers; min above max: it has none */
    /* *state: the codec's own, NULL at first, kept between calls. Both append to out; codec.c takes
     * back what was appended when they fail. Decoding: E_CORRUPT, E_MESSAGE_TOO_LARGE. */
    err (*compress)(void **state, int level, struct slice in, struct buf *out);
    err (*decompress)(void **state, struct slice in, size_t limit, struct buf *out);
    void (*free)(void *state); /* may be NULL */
};

extern const struct codec_ops codec_gzip, codec_snappy, codec_lz4, codec_zstd;

/*
 * Where a decoder writes next. While the limit is not reached: room at the end
 * of out. Then a single byte elsewhere, for an end of stream may still follow
 * without output; a byte written there is one too many.
 */
struct codec_room {
    uint8_t *data;
    size_t size;
};
struct codec_window {
    struct buf *out;
    size_t left; /* of the limit */
    size_t step; /* to ask for next; grows */
    uint8_t beyond;
};
struct codec_window codec_window(struct buf *out, size_t limit, size_t expected);
struct codec_room codec_room(struct codec_window *w);
/* size bytes of the room were written. E_MESSAGE_TOO_LARGE. */
err codec_wrote(struct codec_window *w, size_t size) MUST_USE;

#endif
