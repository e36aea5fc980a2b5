/* SPDX-License-Identifier: Apache-2.0 */
/* RFC 1952, one member and nothing behind it; zlib does the header and the checksum at the end. */
#include <limits.h>
#include <zlib.h>

#include "proto/base/check.h"
#include "proto/base/mem.h"
#include "proto/wire/codec_priv.h"

enum { GZIP_ONLY = 16, WINDOW_BITS = 15 + GZIP_ONLY, MEMORY_LEVEL = 8 };

struct gzip {
    z_stream in, out;
    bool has_in, has_out;
    int level; /* of out */
};

static struct gzip *state_of(void **state)
{
    if (!*state)
        *state = MEM_NEW(struct gzip);
    return *state;
}

static void set_input(z_stream *z, struct slice in)
{
    /* next_in lacks const unless ZLIB_CONST is defined; zlib only reads. */
    z->next_in = (Bytef *)(uintptr_t)in.data;
    z->avail_in = (uInt)in.size;
}

static err start_compress(struct gzip *g, int level)
{
    if (g->has_out && g->level == level)
        return deflateReset(&g->out) == Z_OK ? OK : E_NO_MEMORY;
    if (g->has_out)
        deflateEnd(&g->out);
    g->out = (z_stream){0};
    g->has_out = deflateInit2(&g->out, level, Z_DEFLATED, WINDOW_BITS, MEMORY_LEVEL,
                              Z_DEFAULT_STRATEGY) == Z_OK;
    g->level = level;
    return g->has_out ? OK : E_NO_MEMORY;
}

static err compress_all(void **state, int level, struct slice in, struct buf *out)
{
    struct gzip *g = state_of(state);
    if (in.size > INT_MAX)
        return E_MESSAGE_TOO_LARGE;
    const err e = start_compress(g, level);
    if (e != OK)
        return e;
    const size_t bound = deflateBound(&g->out, (uLong)in.size);
    set_input(&g->out, in);
    g->out.next_out = buf_reserve(out, bound);
    g->out.avail_out = (uInt)bound;
    CHECK(deflate(&g->out, Z_FINISH) == Z_STREAM_END);
    out->size += bound - g->out.avail_out;
    return OK;
}

static err start_decompress(struct gzip *g)
{
    if (g->has_in)
        return inflateReset(&g->in) == Z_OK ? OK : E_NO_MEMORY;
    g->in = (z_stream){0};
    g->has_in = inflateInit2(&g->in, WINDOW_BITS) == Z_OK;
    return g->has_in ? OK : E_NO_MEMORY;
}

static err decompress(void **state, struct slice in, size_t limit, struct buf *out)
{
    struct gzip *g = state_of(state);
    if (in.size > INT_MAX)
        return E_MESSAGE_TOO_LARGE;
    err e = start_decompress(g);
    struct codec_window w = codec_window(out, limit, in.size * 4);
    set_input(&g->in, in);
    while (e == OK) {
        const struct codec_room room = codec_room(&w);
        g->in.next_out = room.data;
        g->in.avail_out = (uInt)room.size;
        const int z = inflate(&g->in, Z_NO_FLUSH);
        const size_t wrote = room.size - g->in.avail_out;
        e = codec_wrote(&w, wrote);
        if (e == OK && z == Z_STREAM_END)
            return g->in.avail_in == 0 ? OK : E_CORRUPT;
        /* With room left, no end and no error it is the input that ran out. */
        if (e == OK && (z != Z_OK || wrote < room.size))
            e = z == Z_MEM_ERROR ? E_NO_MEMORY : E_CORRUPT;
    }
    return e;
}

static void free_state(void *state)
{
    struct gzip *g = state;
    if (g->has_in)
        inflateEnd(&g->in);
    if (g->has_out)
        deflateEnd(&g->out);
    mem_free(g);
}

const struct codec_ops codec_gzip = {
    .name = "gzip",
    .level_min = 1,
    .level_max = 9,
    .level_default = 6,
    .compress = compress_all,
    .decompress = decompress,
    .free = free_state,
};
