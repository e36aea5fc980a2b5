/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/tools/json.h"

#include <math.h>
#include <string.h>

#include "proto/base/check.h"

enum { DEPTH_MAX = 32 };

static void before_item(struct json *j)
{
    if (j->is_after_key) {
        j->is_after_key = false;
        return;
    }
    if (j->depth == 0)
        return;
    const uint32_t bit = 1u << (j->depth - 1);
    if (j->has_items & bit)
        buf_append(j->out, ",", 1);
    j->has_items |= bit;
}

void json_begin(struct json *j, char bracket)
{
    CHECK(j->depth < DEPTH_MAX);
    before_item(j);
    buf_append(j->out, &bracket, 1);
    j->has_items &= ~(1u << j->depth);
    j->depth++;
}

void json_end(struct json *j, char bracket)
{
    CHECK(j->depth > 0);
    CHECK(!j->is_after_key);
    j->depth--;
    buf_append(j->out, &bracket, 1);
}

void json_key(struct json *j, const char *key)
{
    json_str(j, key);
    buf_append(j->out, ":", 1);
    j->is_after_key = true;
}

void json_int(struct json *j, int64_t v)
{
    before_item(j);
    buf_printf(j->out, "%lld", (long long)v);
}

void json_number(struct json *j, double v, int decimals)
{
    if (!isfinite(v)) {
        json_null(j);
        return;
    }
    before_item(j);
    buf_printf(j->out, "%.*f", decimals, v);
}

void json_bool(struct json *j, bool v)
{
    before_item(j);
    buf_append_str(j->out, v ? "true" : "false");
}

void json_null(struct json *j)
{
    before_item(j);
    buf_append_str(j->out, "null");
}

/* The size of the UTF-8 sequence at the start of s (RFC 3629), 0: there is none. */
static size_t utf8_sequence(const uint8_t *s, size_t size)
{
    static const struct {
        uint8_t first_min, first_max, second_min, second_max;
        size_t size;
    } forms[] = {
        {0x00, 0x7f, 0, 0, 1},       {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
        {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
        {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4}};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        if (s[0] < forms[i].first_min || s[0] > forms[i].first_max)
            continue;
        const size_t n = forms[i].size;
        if (n > size || (n > 1 && (s[1] < forms[i].second_min || s[1] > forms[i].second_max)))
            return 0;
        for (size_t k = 2; k < n; k++)
            if ((s[k] & 0xc0) != 0x80)
                return 0;
        return n;
    }
    return 0;
}

bool is_utf8(struct slice s)
{
    for (size_t i = 0; i < s.size;) {
        const size_t n = utf8_sequence(s.data + i, s.size - i);
        if (n == 0)
            return false;
        i += n;
    }
    return true;
}

static bool is_plain(uint8_t c)
{
    return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

static void write_escape(struct buf *out, uint8_t c)
{
    static const char names[][2] = {{'"', '"'},  {'\\', '\\'}, {'\b', 'b'}, {'\f', 'f'},
                                    {'\n', 'n'}, {'\r', 'r'},  {'\t', 't'}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if ((uint8_t)names[i][0] == c) {
            buf_append(out, "\\", 1);
            buf_append(out, &names[i][1], 1);
            return;
        }
    buf_printf(out, "\\u%04x", c);
}

static void write_string(struct buf *out, struct slice s)
{
    buf_append(out, "\"", 1);
    for (size_t i = 0; i < s.size;) {
        size_t run = 0;
        while (i + run < s.size && is_plain(s.data[i + run]))
            run++;
        buf_append(out, s.data + i, run);
        i += run;
        if (i == s.size)
            break;
        const size_t n = utf8_sequence(s.data + i, s.size - i);
        if (n == 0)
            buf_append_str(out, "\xef\xbf\xbd");
        else if (n == 1)
            write_escape(out, s.data[i]);
        else
            buf_append(out, s.data + i, n);
        i += n ? n : 1;
    }
    buf_append(out, "\"", 1);
}

static void write_base64(struct buf *out, struct slice s)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < s.size; i += 3) {
        const size_t left = s.size - i;
        const uint32_t v = (uint32_t)s.data[i] << 16 |
                           (uint32_t)(left > 1 ? s.data[i + 1] : 0) << 8 |
                           (uint32_t)(left > 2 ? s.data[i + 2] : 0);
        const char four[4] = {digits[v >> 18 & 63], digits[v >> 12 & 63],
                              left > 1 ? digits[v >> 6 & 63] : '=',
                              left > 2 ? digits[v & 63] : '='};
        buf_append(out, four, sizeof four);
    }
}

void json_str(struct json *j, const char *s)
{
    if (!s) {
        json_null(j);
        return;
    }
    before_item(j);
    write_string(j->out, slice_str(s));
}

void json_bytes(struct json *j, struct slice s)
{
    if (!s.data) {
        json_null(j);
        return;
    }
    before_item(j);
    if (is_utf8(s)) {
        write_string(j->out, s);
        return;
    }
    buf_append_str(j->out, "{\"base64\":\"");
    write_base64(j->out, s);
    buf_append_str(j->out, "\"}");
}

void json_member_int(struct json *j, const char *key, int64_t v)
{
    json_key(j, key);
    json_int(j, v);
}

void json_member_str(struct json *j, const char *key, const char *s)
{
    json_key(j, key);
    json_str(j, s);
}

void json_member_bool(struct json *j, const char *key, bool v)
{
    json_key(j, key);
    json_bool(j, v);
}

void json_member_number(struct json *j, const char *key, double v, int decimals)
{
    json_key(j, key);
    json_number(j, v, decimals);
}
