/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How `sluice consume --format` prints a record. Compiled once, then written
 * per record without allocation beyond what `out` already holds.
 *
 *   %v value  %k key  %o offset  %p partition  %t timestamp (ms)  %T topic
 *   %h headers (name=value, joined by commas)
 *   %V %K size of value, key in bytes (-1: none)  %% a percent sign
 *   \n \t \r \0 \\ and \xHH, as in C
 *
 * A record without key or value prints nothing for it.
 */
#ifndef SLUICE_TOOLS_FORMAT_H
#define SLUICE_TOOLS_FORMAT_H

#include <stddef.h>
#include <stdint.h>

#include "proto/base/buf.h"
#include "proto/base/err.h"
#include "proto/base/slice.h"

struct format_part {
    char field; /* 0: literal text, else the letter behind the percent sign */
    struct slice text;
};

struct format {
    struct format_part *parts;
    size_t count;
    struct buf literals;
};

struct format_record {
    const char *topic;
    uint32_t partition;
    int64_t offset;
    int64_t timestamp;
    struct slice key, value; /* data NULL: none */
    size_t header_count;
    /* Gives header i. */
    void (*header)(const struct format_record *r, size_t i, struct slice *name,
                   struct slice *value);
    const void *arg; /* for header */
};

/* E_CONFIG: message says which character is wrong and what is possible. text is not kept. */
err format_compile(struct format *f, const char *text, struct buf *message) MUST_USE;
void format_deinit(struct format *f);
/* Appends. */
void format_write(const struct format *f, const struct format_record *r, struct buf *out);

#endif
