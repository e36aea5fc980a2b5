/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes JSON (RFC 8259) into a buf, compact, commas and escapes by itself.
 *
 *   json_begin(&j, '{'); json_key(&j, "name"); json_str(&j, "t"); json_end(&j, '}');
 *
 * What is not UTF-8 cannot be a JSON string: json_bytes writes it as
 * {"base64": "..."}. Nesting at most 32 deep.
 */
#ifndef SLUICE_TOOLS_JSON_H
#define SLUICE_TOOLS_JSON_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/base/buf.h"
#include "proto/base/slice.h"

struct json {
    struct buf *out;
    uint32_t has_items; /* a bit per level */
    unsigned depth;
    bool is_after_key;
};

static inline struct json json_to(struct buf *out)
{
    return (struct json){.out = out};
}

void json_begin(struct json *j, char bracket); /* '{' or '[' */
void json_end(struct json *j, char bracket);   /* '}' or ']' */
void json_key(struct json *j, const char *key);

void json_int(struct json *j, int64_t v);
void json_number(struct json *j, double v, int decimals); /* not finite: null */
void json_bool(struct json *j, bool v);
void json_null(struct json *j);
/* NULL: null. Bytes that are not UTF-8 become U+FFFD: for text that people chose. */
void json_str(struct json *j, const char *s);
/* data NULL: null. For keys and values, where bytes must survive. */
void json_bytes(struct json *j, struct slice s);

bool is_utf8(struct slice s);

/* key and value in one go. */
void json_member_int(struct json *j, const char *key, int64_t v);
void json_member_str(struct json *j, const char *key, const char *s);
void json_member_bool(struct json *j, const char *key, bool v);
void json_member_number(struct json *j, const char *key, double v, int decimals);

#endif
