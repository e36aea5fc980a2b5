/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/wire/codec.h"

#include "proto/base/check.h"
#include "proto/base/limits.h"
#include "proto/base/mem.h"
#include "proto/wire/codec_priv.h"

enum {
    LEVEL_NONE_MIN = 1,
    LEVEL_NONE_MAX = 0,
    STEP_MIN = 16 * KIB,
    STEP_MAX = 4 * MIB,
    FIRST_MAX = 64 * MIB
};

static err copy_in(void **state, int level, struct slice in, struct buf *out)
{
    (void)state;
    (void)level;
    buf_append(out, in.data, in.size);
    return OK;
}

static err copy_out(void **state, struct slice in, size_t limit, struct buf *out)
{
    if (in.size > limit)
        return E_MESSAGE_TOO_LARGE;
    return copy_in(state, CODEC_LEVEL_DEFAULT, in, out);
}

static const struct codec_ops codec_none = {
    .name = "none",
    .level_min = LEVEL_NONE_MIN,
    .level_max = LEVEL_NONE_MAX,
    .compress = copy_in,
    .decompress = copy_out,
};

static const struct codec_ops *const codecs[] = {
    [CODEC_NONE] = &codec_none, [CODEC_GZIP] = &codec_gzip, [CODEC_SNAPPY] = &codec_snappy,
    [CODEC_LZ4] = &codec_lz4,   [CODEC_ZSTD] = &codec_zstd,
};
enum { CODEC_COUNT = sizeof codecs / sizeof codecs[0] };

struct codec_ctx {
    void *states[CODEC_COUNT];
};

struct codec_ctx *codec_ctx_new(void)
{
    return MEM_NEW(struct codec_ctx);
}

void codec_ctx_free(struct codec_ctx *x)
{
    if (!x)
        return;
    for (int i = 0; i < CODEC_COUNT; i++)
        if (x->states[i])
            codecs[i]->free(x->states[i]);
    mem_free(x);
}

err codec_compress(struct codec_ctx *x, enum batch_codec codec, int level, struct slice in,
                   struct buf *out)
{
    if ((unsigned)codec >= CODEC_COUNT)
        return E_UNSUPPORTED_COMPRESSION;
    const struct codec_ops *ops = codecs[codec];
    const bool has_levels = ops->level_min <= ops->level_max;
    if (level == CODEC_LEVEL_DEFAULT || !has_levels)
        level = ops->level_default;
    else if (level < ops->level_min || level > ops->level_max)
        return E_INVALID_CONFIG;
    const size_t size = out->size;
    const err e = ops->compress(&x->states[codec], level, in, out);
    if (e != OK)
        out->size = size;
    return e;
}

err codec_decompress(struct codec_ctx *x, enum batch_codec codec, struct slice in, size_t limit,
                     struct buf *out)
{
    if ((unsigned)codec >= CODEC_COUNT)
        return E_UNSUPPORTED_COMPRESSION;
    if (in.size == 0 && codec != CODEC_NONE)
        return E_CORRUPT; /* none of the formats is that short */
    const size_t size = out->size;
    const err e = codecs[codec]->decompress(&x->states[codec], in, limit, out);
    if (e != OK)
        out->size = size;
    DCHECK(out->size - size <= limit);
    return e;
}

size_t codec_limit(size_t compressed_size)
{
    const size_t most = FRAME_BYTES_MAX;
    if (compressed_size > (most - DECODED_SLACK) / DECODED_RATIO)
        return most;
    return compressed_size * DECODED_RATIO + DECODED_SLACK;
}

const char *codec_name(enum batch_codec codec)
{
    return (unsigned)codec < CODEC_COUNT ? codecs[codec]->name : "unknown";
}

err codec_by_name(const char *name, enum batch_codec *out)
{
    for (int i = 0; i < CODEC_COUNT; i++) {
        if (strcmp(codecs[i]->name, name) == 0) {
            *out = (enum batch_codec)i;
            return OK;
        }
    }
    return E_UNSUPPORTED_COMPRESSION;
}

struct codec_window codec_window(struct buf *out, size_t limit, size_t expected)
{
    const size_t step = expected < STEP_MIN ? STEP_MIN : expected;
    return (struct codec_window){
        .out = out, .left = limit, .step = step < FIRST_MAX ? step : FIRST_MAX};
}

struct codec_room codec_room(struct codec_window *w)
{
    if (w->left == 0)
        return (struct codec_room){&w->beyond, 1};
    const size_t size = w->step < w->left ? w->step : w->left;
    return (struct codec_room){buf_reserve(w->out, size), size};
}

err codec_wrote(struct codec_window *w, size_t size)
{
    if (w->left == 0)
        return size ? E_MESSAGE_TOO_LARGE : OK;
    w->out->size += size;
    w->left -= size;
    w->step = w->step < STEP_MAX / 2 ? w->step * 2 : STEP_MAX;
    return OK;
}
