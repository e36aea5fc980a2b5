/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A table for people: a header line, columns as wide as their widest cell,
 * two spaces between them, no trailing spaces. Cells show control characters
 * as '?' so that a value from the cluster cannot drive a terminal.
 */
#ifndef SLUICE_TOOLS_TABLE_H
#define SLUICE_TOOLS_TABLE_H

#include <stddef.h>

#include "proto/base/buf.h"

struct table {
    const char *const *columns; /* a name that begins with '>' is a column aligned right */
    size_t column_count;
    struct buf text;    /* the cells, each NUL-terminated */
    struct buf offsets; /* size_t each, into text */
};

/* columns: NULL-terminated, kept. */
void table_init(struct table *t, const char *const *columns);
void table_deinit(struct table *t);
/* The next cell; rows fill from left to right. */
void table_cell(struct table *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Every row must be full. */
void table_write(const struct table *t, struct buf *out);

#endif
