/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One lz4 frame: no skippable frames, no dictionary, nothing behind it. The
 * format's blocks are at most 4 MiB, which bounds what the decoder buffers.
 */
#include <lz4frame.h>

#include "proto/base/check.h"
#include "proto/base/limits.h"
#include "proto/base/mem.h"
#include "proto/wire/codec_priv.h"

static LZ4F_blockSizeID_t block_size_for(size_t size)
{
    static const struct {
        size_t size;
        LZ4F_blockSizeID_t id;
    } blocks[] = {{64 * KIB, LZ4F_max64KB}, {256 * KIB, LZ4F_max256KB}, {MIB, LZ4F_max1MB}};
    for (size_t i = 0; i < sizeof blocks / sizeof blocks[0]; i++)
        if (size <= blocks[i].size)
            return blocks[i].id;
    return LZ4F_max4MB;
}

static err compress(void **state, int level, struct slice in, struct buf *out)
{
    (void)state;
    const LZ4F_preferences_t prefs = {
        .frameInfo = {.blockSizeID = block_size_for(in.size), .contentSize = in.size},
        .compressionLevel = level,
    };
    const size_t bound = LZ4F_compressFrameBound(in.size, &prefs);
    const size_t size =
        LZ4F_compressFrame(buf_reserve(out, bound), bound, in.data, in.size, &prefs);
    if (LZ4F_isError(size))
        return E_NO_MEMORY; /* all else was ruled out by the bound */
    out->size += size;
    return OK;
}

static err decode(LZ4F_dctx *dctx, struct slice in, size_t limit, struct buf *out)
{
    LZ4F_frameInfo_t info;
    size_t used = in.size;
    size_t more = LZ4F_getFrameInfo(dctx, &info, in.data, &used);
    if (LZ4F_isError(more) || info.frameType != LZ4F_frame || info.dictID != 0)
        return E_CORRUPT;
    if (info.contentSize > limit)
        return E_MESSAGE_TOO_LARGE;
    struct codec_window w =
        codec_window(out, limit, info.contentSize ? (size_t)info.contentSize : in.size * 4);
    while (more != 0) {
        const struct codec_room room = codec_room(&w);
        size_t wrote = room.size, read = in.size - used;
        more = LZ4F_decompress(dctx, room.data, &wrote, in.data + used, &read, NULL);
        if (LZ4F_isError(more))
            return E_CORRUPT;
        used += read;
        const err e = codec_wrote(&w, wrote);
        if (e != OK)
            return e;
        if (more != 0 && wrote < room.size && used == in.size)
            return E_CORRUPT; /* cut short */
    }
    return used == in.size ? OK : E_CORRUPT;
}

static err decompress(void **state, struct slice in, size_t limit, struct buf *out)
{
    LZ4F_dctx *dctx = *state;
    if (!dctx && LZ4F_isError(LZ4F_createDecompressionContext(&dctx, LZ4F_VERSION)))
        return E_NO_MEMORY;
    const err e = decode(dctx, in, limit, out);
    *state = dctx;
    if (e != OK) {
        /* LZ4F_resetDecompressionContext (1.9.4) keeps the content size that the abandoned frame
         * still owed, and would then refuse the next frame that does not say its own. */
        LZ4F_freeDecompressionContext(dctx);
        *state = NULL;
    }
    return e;
}

static void free_state(void *state)
{
    LZ4F_freeDecompressionContext(state);
}

const struct codec_ops codec_lz4 = {
    .name = "lz4",
    .level_min = 1,
    .level_max = 12,
    .level_default = 0, /* lz4's own name for the quick one */
    .compress = compress,
    .decompress = decompress,
    .free = free_state,
};
