/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One zstd frame: no skippable frames, no dictionary, nothing behind it. A frame
 * that says its size is decoded in one go, into memory of that size and with
 * no window; one that does not is streamed with a window of at most
 * 2^WINDOW_LOG_MAX bytes.
 */
#include <zstd.h>

#include "proto/base/check.h"
#include "proto/base/mem.h"
#include "proto/wire/codec_priv.h"

enum { WINDOW_LOG_MAX = 23, LEVEL_MAX = 22, LEVEL_DEFAULT = 3 };

struct zstd {
    ZSTD_CCtx *out;
    ZSTD_DCtx *in;
};

static struct zstd *state_of(void **state)
{
    if (!*state)
        *state = MEM_NEW(struct zstd);
    return *state;
}

static err compress(void **state, int level, struct slice in, struct buf *out)
{
    struct zstd *z = state_of(state);
    if (!z->out && !(z->out = ZSTD_createCCtx()))
        return E_NO_MEMORY;
    const size_t bound = ZSTD_compressBound(in.size);
    const size_t size =
        ZSTD_compressCCtx(z->out, buf_reserve(out, bound), bound, in.data, in.size, level);
    if (ZSTD_isError(size))
        return E_NO_MEMORY; /* all else was ruled out by the bound */
    out->size += size;
    return OK;
}

static err decode_whole(ZSTD_DCtx *dctx, struct slice in, size_t size, struct buf *out)
{
    const size_t wrote =
        ZSTD_decompressDCtx(dctx, buf_reserve(out, size ? size : 1), size, in.data, in.size);
    if (ZSTD_isError(wrote) || wrote != size)
        return E_CORRUPT;
    out->size += size;
    return OK;
}

static err decode_stream(ZSTD_DCtx *dctx, struct slice in, size_t limit, struct buf *out)
{
    ZSTD_inBuffer input = {.src = in.data, .size = in.size};
    struct codec_window w = codec_window(out, limit, in.size * 4);
    for (;;) {
        const struct codec_room room = codec_room(&w);
        ZSTD_outBuffer output = {.dst = room.data, .size = room.size};
        const size_t more = ZSTD_decompressStream(dctx, &output, &input);
        if (ZSTD_isError(more))
            return E_CORRUPT;
        const err e = codec_wrote(&w, output.pos);
        if (e != OK)
            return e;
        if (more == 0)
            return input.pos == input.size ? OK : E_CORRUPT;
        if (output.pos < output.size && input.pos == input.size)
            return E_CORRUPT; /* cut short */
    }
}

static bool is_frame(struct slice in)
{
    const uint32_t magic = ZSTD_MAGICNUMBER;
    return in.size >= sizeof magic && memcmp(in.data, &magic, sizeof magic) == 0;
}

static err decompress(void **state, struct slice in, size_t limit, struct buf *out)
{
    struct zstd *z = state_of(state);
    if (!z->in) {
        z->in = ZSTD_createDCtx();
        if (!z->in)
            return E_NO_MEMORY;
        CHECK(!ZSTD_isError(ZSTD_DCtx_setParameter(z->in, ZSTD_d_windowLogMax, WINDOW_LOG_MAX)));
    }
    if (!is_frame(in) || ZSTD_findFrameCompressedSize(in.data, in.size) != in.size)
        return E_CORRUPT;
    const unsigned long long size = ZSTD_getFrameContentSize(in.data, in.size);
    if (size == ZSTD_CONTENTSIZE_ERROR)
        return E_CORRUPT;
    CHECK(!ZSTD_isError(ZSTD_DCtx_reset(z->in, ZSTD_reset_session_only)));
    if (size == ZSTD_CONTENTSIZE_UNKNOWN)
        return decode_stream(z->in, in, limit, out);
    return size > limit ? E_MESSAGE_TOO_LARGE : decode_whole(z->in, in, (size_t)size, out);
}

static void free_state(void *state)
{
    struct zstd *z = state;
    ZSTD_freeCCtx(z->out);
    ZSTD_freeDCtx(z->in);
    mem_free(z);
}

const struct codec_ops codec_zstd = {
    .name = "zstd",
    .level_min = 1,
    .level_max = LEVEL_MAX,
    .level_default = LEVEL_DEFAULT,
    .compress = compress,
    .decompress = decompress,
    .free = free_state,
};
