/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/tools/format.h"

#include <ctype.h>
#include <string.h>

#include "proto/base/mem.h"

static const char FIELDS[] = "vkoptThVK";

static void append_int(struct buf *out, int64_t v)
{
    char digits[20];
    size_t at = sizeof digits;
    uint64_t left = v < 0 ? (uint64_t)0 - (uint64_t)v : (uint64_t)v;
    do {
        digits[--at] = (char)('0' + left % 10);
        left /= 10;
    } while (left);
    if (v < 0)
        digits[--at] = '-';
    buf_append(out, digits + at, sizeof digits - at);
}

static int hex_digit(char c)
{
    if (!isxdigit((unsigned char)c))
        return -1;
    return isdigit((unsigned char)c) ? c - '0' : tolower((unsigned char)c) - 'a' + 10;
}

/* Reads what follows a backslash; returns how many characters that took, 0: not an escape. */
static size_t read_escape(const char *s, char *out)
{
    static const char names[][2] = {
        {'n', '\n'}, {'t', '\t'}, {'r', '\r'}, {'0', '\0'}, {'\\', '\\'}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (names[i][0] == s[0]) {
            *out = names[i][1];
            return 1;
        }
    if (s[0] != 'x' || hex_digit(s[1]) < 0 || hex_digit(s[2]) < 0)
        return 0;
    *out = (char)(hex_digit(s[1]) << 4 | hex_digit(s[2]));
    return 3;
}

static err bad_format(struct buf *message, const char *text, const char *at, const char *possible)
{
    buf_printf(message, "--format: character %zu: ", (size_t)(at - text) + 1);
    if (at[1] == '\0')
        buf_printf(message, "nothing follows the %c", at[0]);
    else if (isprint((unsigned char)at[1]))
        buf_printf(message, "%c%c means nothing", at[0], at[1]);
    else
        buf_printf(message, "%c is followed by a character that means nothing", at[0]);
    buf_printf(message, "; there are %s", possible);
    return E_CONFIG;
}

err format_compile(struct format *f, const char *text, struct buf *message)
{
    const size_t size = strlen(text);
    *f = (struct format){0};
    /* Never moves again: parts point into it. */
    buf_reserve(&f->literals, size + 1);
    f->parts = mem_alloc(sizeof *f->parts * (size + 1));
    for (const char *at = text; *at;) {
        char literal = *at;
        size_t taken = 1;
        if (*at == '%' && at[1] && strchr(FIELDS, at[1])) {
            f->parts[f->count++] = (struct format_part){.field = at[1]};
            at += 2;
            continue;
        }
        if (*at == '%') {
            if (at[1] != '%') {
                const err e = bad_format(message, text, at, "%v %k %o %p %t %T %h %V %K %%");
                format_deinit(f);
                return e;
            }
            taken = 2;
        } else if (*at == '\\') {
            const size_t escape = read_escape(at + 1, &literal);
            if (escape == 0) {
                const err e = bad_format(message, text, at, "\\n \\t \\r \\0 \\\\ \\xHH");
                format_deinit(f);
                return e;
            }
            taken = 1 + escape;
        }
        const uint8_t *const start = f->literals.data + f->literals.size;
        buf_append(&f->literals, &literal, 1);
        if (f->count > 0 && f->parts[f->count - 1].field == 0)
            f->parts[f->count - 1].text.size++;
        else
            f->parts[f->count++] = (struct format_part){.text = slice_of(start, 1)};
        at += taken;
    }
    return OK;
}

void format_deinit(struct format *f)
{
    mem_free(f->parts);
    buf_deinit(&f->literals);
    *f = (struct format){0};
}

static void append_headers(struct buf *out, const struct format_record *r)
{
    for (size_t i = 0; i < r->header_count; i++) {
        struct slice name;
        struct slice value;
        r->header(r, i, &name, &value);
        if (i > 0)
            buf_append(out, ",", 1);
        buf_append(out, name.data, name.size);
        buf_append(out, "=", 1);
        buf_append(out, value.data, value.size);
    }
}

void format_write(const struct format *f, const struct format_record *r, struct buf *out)
{
    for (size_t i = 0; i < f->count; i++) {
        const struct format_part *const part = &f->parts[i];
        switch (part->field) {
        case 0:
            buf_append(out, part->text.data, part->text.size);
            break;
        case 'v':
            buf_append(out, r->value.data, r->value.size);
            break;
        case 'k':
            buf_append(out, r->key.data, r->key.size);
            break;
        case 'o':
            append_int(out, r->offset);
            break;
        case 'p':
            append_int(out, r->partition);
            break;
        case 't':
            append_int(out, r->timestamp);
            break;
        case 'T':
            buf_append_str(out, r->topic);
            break;
        case 'h':
            append_headers(out, r);
            break;
        case 'V':
            append_int(out, r->value.data ? (int64_t)r->value.size : -1);
            break;
        default: /* 'K' */
            append_int(out, r->key.data ? (int64_t)r->key.size : -1);
            break;
        }
    }
}
