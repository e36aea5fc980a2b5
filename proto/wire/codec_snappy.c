/* SPDX-License-Identifier: Apache-2.0 */
/* The raw block format: the decoded length stands in front and is what gets checked first. */
#include <snappy-c.h>

#include "proto/base/check.h"
#include "proto/wire/codec_priv.h"

static err compress(void **state, int level, struct slice in, struct buf *out)
{
    (void)state;
    (void)level;
    size_t size = snappy_max_compressed_length(in.size);
    char *p = (char *)buf_reserve(out, size);
    CHECK(snappy_compress((const char *)in.data, in.size, p, &size) == SNAPPY_OK);
    out->size += size;
    return OK;
}

static err decompress(void **state, struct slice in, size_t limit, struct buf *out)
{
    (void)state;
    const char *data = (const char *)in.data;
    size_t size;
    if (snappy_uncompressed_length(data, in.size, &size) != SNAPPY_OK)
        return E_CORRUPT;
    if (size > limit)
        return E_MESSAGE_TOO_LARGE;
    char *p = (char *)buf_reserve(out, size ? size : 1);
    if (snappy_uncompress(data, in.size, p, &size) != SNAPPY_OK)
        return E_CORRUPT;
    out->size += size;
    return OK;
}

const struct codec_ops codec_snappy = {
    .name = "snappy",
    .level_min = 1,
    .level_max = 0,
    .compress = compress,
    .decompress = decompress,
};
