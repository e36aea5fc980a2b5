/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/tools/table.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "proto/base/check.h"
#include "proto/base/mem.h"

enum { GAP = 2 };

void table_init(struct table *t, const char *const *columns)
{
    *t = (struct table){.columns = columns};
    while (columns[t->column_count])
        t->column_count++;
    CHECK(t->column_count > 0);
}

void table_deinit(struct table *t)
{
    buf_deinit(&t->text);
    buf_deinit(&t->offsets);
}

void table_cell(struct table *t, const char *format, ...)
{
    const size_t start = t->text.size;
    buf_append(&t->offsets, &start, sizeof start);
    va_list list;
    va_start(list, format);
    va_list again;
    va_copy(again, list);
    const int size = vsnprintf(NULL, 0, format, list);
    CHECK(size >= 0);
    char *const cell = (char *)buf_reserve(&t->text, (size_t)size + 1);
    vsnprintf(cell, (size_t)size + 1, format, again);
    va_end(again);
    va_end(list);
    for (int i = 0; i < size; i++)
        if ((unsigned char)cell[i] < 0x20 || cell[i] == 0x7f)
            cell[i] = '?';
    t->text.size += (size_t)size + 1;
}

static const char *cell_at(const struct table *t, size_t index)
{
    size_t start;
    memcpy(&start, t->offsets.data + index * sizeof start, sizeof start);
    return (const char *)t->text.data + start;
}

/* Characters, not bytes: continuation bytes of UTF-8 take no place. */
static size_t width_of(const char *s)
{
    size_t width = 0;
    for (; *s; s++)
        width += ((unsigned char)*s & 0xc0) != 0x80;
    return width;
}

static void write_cell(struct buf *out, const char *text, size_t width, bool is_right, bool is_last)
{
    const size_t fill = width - width_of(text);
    for (size_t i = 0; is_right && i < fill; i++)
        buf_append(out, " ", 1);
    buf_append_str(out, text);
    if (is_last) {
        while (out->size > 0 && out->data[out->size - 1] == ' ')
            out->size--;
        buf_append(out, "\n", 1);
        return;
    }
    for (size_t i = is_right ? fill : 0; i < fill + GAP; i++)
        buf_append(out, " ", 1);
}

void table_write(const struct table *t, struct buf *out)
{
    const size_t columns = t->column_count;
    const size_t cells = t->offsets.size / sizeof(size_t);
    CHECK(cells % columns == 0);
    size_t *const widths = mem_zalloc(columns * sizeof *widths);
    for (size_t c = 0; c < columns; c++)
        widths[c] = width_of(t->columns[c] + (t->columns[c][0] == '>'));
    for (size_t i = 0; i < cells; i++) {
        const size_t width = width_of(cell_at(t, i));
        if (width > widths[i % columns])
            widths[i % columns] = width;
    }
    for (size_t c = 0; c < columns; c++) {
        const bool is_right = t->columns[c][0] == '>';
        write_cell(out, t->columns[c] + is_right, widths[c], is_right, c + 1 == columns);
    }
    for (size_t i = 0; i < cells; i++) {
        const size_t c = i % columns;
        write_cell(out, cell_at(t, i), widths[c], t->columns[c][0] == '>', c + 1 == columns);
    }
    mem_free(widths);
}
