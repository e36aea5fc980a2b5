/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/log/checkpoint.h"

#include <inttypes.h>
#include <string.h>

#include "proto/base/crc32c.h"
#include "proto/base/mem.h"

enum { TRAILER_SIZE = sizeof "crc32c 01234567\n" - 1 };

void checkpoint_begin(struct buf *b, const char *kind, unsigned version)
{
    buf_printf(b, "sluice-%s %u\n", kind, version);
}

void checkpoint_end(struct buf *b)
{
    buf_printf(b, "crc32c %08" PRIx32 "\n", crc32c(0, b->data, b->size));
}

err checkpoint_write(const struct fsio *io, const char *dir, const char *name, struct buf *b)
{
    checkpoint_end(b);
    return fsio_replace_file(io, dir, name, b->data, b->size);
}

bool words_line(struct slice *body, struct words *out)
{
    if (body->size == 0)
        return false;
    const uint8_t *newline = memchr(body->data, '\n', body->size);
    const size_t size = newline ? (size_t)(newline - body->data) : body->size;
    *out = (struct words){.left = slice_of(body->data, size)};
    *body = slice_sub(*body, size + 1, body->size);
    return true;
}

struct slice words_next(struct words *w)
{
    const uint8_t *blank = w->left.size ? memchr(w->left.data, ' ', w->left.size) : NULL;
    const size_t size = blank ? (size_t)(blank - w->left.data) : w->left.size;
    const struct slice word = slice_of(w->left.data, size);
    w->left = slice_sub(w->left, size + 1, w->left.size);
    if (size == 0)
        w->failed = true;
    return word;
}

int64_t words_i64(struct words *w, int64_t min, int64_t max)
{
    struct slice s = words_next(w);
    const bool negative = s.size > 1 && s.data[0] == '-';
    if (negative)
        s = slice_sub(s, 1, s.size);
    uint64_t v = 0;
    for (size_t i = 0; i < s.size; i++) {
        if (s.data[i] < '0' || s.data[i] > '9' || v > INT64_MAX / 10)
            w->failed = true;
        v = v * 10 + (uint64_t)(s.data[i] - '0');
    }
    if (v > INT64_MAX)
        w->failed = true;
    const int64_t n = w->failed ? min : negative ? -(int64_t)v : (int64_t)v;
    if (n < min || n > max)
        w->failed = true;
    return w->failed ? min : n;
}

static bool unhex(struct slice s, uint8_t *out, size_t size)
{
    if (s.size != 2 * size)
        return false;
    for (size_t i = 0; i < s.size; i++) {
        const uint8_t c = s.data[i];
        const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (digit < 0)
            return false;
        out[i / 2] = (uint8_t)(i % 2 ? out[i / 2] | digit : digit << 4);
    }
    return true;
}

uint32_t words_hex32(struct words *w)
{
    uint8_t b[4] = {0};
    if (!unhex(words_next(w), b, sizeof b))
        w->failed = true;
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

struct uuid words_uuid(struct words *w)
{
    struct uuid u = {{0}};
    if (!unhex(words_next(w), u.bytes, sizeof u.bytes))
        w->failed = true;
    return u;
}

err words_end(const struct words *w)
{
    return w->failed || w->left.size ? E_CORRUPT : OK;
}

err checkpoint_parse(struct slice bytes, const char *kind, unsigned version_max, struct slice *body)
{
    if (bytes.size < TRAILER_SIZE)
        return E_CORRUPT;
    const size_t covered = bytes.size - TRAILER_SIZE;
    struct slice trailer = slice_sub(bytes, covered, TRAILER_SIZE);
    if (trailer.data[TRAILER_SIZE - 1] != '\n' || (covered && bytes.data[covered - 1] != '\n'))
        return E_CORRUPT;
    struct words w;
    if (!words_line(&trailer, &w) || !slice_eq(words_next(&w), slice_str("crc32c")))
        return E_CORRUPT;
    const uint32_t crc = words_hex32(&w);
    if (words_end(&w) != OK || crc != crc32c(0, bytes.data, covered))
        return E_CORRUPT;

    struct slice lines = slice_of(bytes.data, covered);
    if (!words_line(&lines, &w))
        return E_CORRUPT;
    const struct slice name = words_next(&w);
    const int64_t version = words_i64(&w, 1, INT32_MAX);
    if (words_end(&w) != OK || name.size < 7 || memcmp(name.data, "sluice-", 7) != 0 ||
        !slice_eq(slice_sub(name, 7, name.size), slice_str(kind)))
        return E_CORRUPT;
    if (version > (int64_t)version_max)
        return E_UNSUPPORTED_VERSION;
    *body = lines;
    return OK;
}

err checkpoint_read(const struct fsio *io, const char *dir, const char *name, const char *kind,
                    unsigned version_max, char **data, struct slice *body)
{
    char path[FSIO_PATH_MAX];
    char *bytes;
    size_t size;
    err e = fsio_read_file(io, fsio_path(path, dir, name), CHECKPOINT_BYTES_MAX, &bytes, &size);
    if (e != OK)
        return e;
    e = checkpoint_parse(slice_of(bytes, size), kind, version_max, body);
    if (e != OK)
        mem_free(bytes);
    else
        *data = bytes;
    return e;
}
