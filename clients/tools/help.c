/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/tools/help.h"

#include <string.h>

enum { LINE_WIDTH = 90, OPTION_INDENT = 28 };

static void pad(struct buf *out, size_t count)
{
    for (size_t i = 0; i < count; i++)
        buf_append(out, " ", 1);
}

/* Writes text from column `at` on, wrapped at words, later lines indented. A newline starts a line;
 * a line that begins with a space stays as it is. */
static void wrap(struct buf *out, const char *text, size_t at, size_t indent)
{
    size_t column = at;
    while (*text) {
        if (column == 0 && *text == ' ') {
            const size_t line = strcspn(text, "\n");
            buf_append(out, text, line);
            text += line;
            continue;
        }
        if (*text == '\n') {
            buf_append(out, "\n", 1);
            column = 0;
            text++;
            continue;
        }
        if (*text == ' ') {
            text++;
            continue;
        }
        const size_t word = strcspn(text, " \n");
        if (column > indent && column + 1 + word > LINE_WIDTH) {
            buf_append(out, "\n", 1);
            column = 0;
        }
        if (column == 0) {
            pad(out, indent);
            column = indent;
        } else if (column > indent) {
            buf_append(out, " ", 1);
            column++;
        }
        buf_append(out, text, word);
        column += word;
        text += word;
    }
    buf_append(out, "\n", 1);
}

static void write_options(struct buf *out, const struct option *table)
{
    for (const struct option *o = table; o && o->name; o++) {
        const size_t start = out->size;
        buf_printf(out, "  --%s%s%s", o->name, o->value ? " " : "", o->value ? o->value : "");
        size_t at = out->size - start;
        if (at + 2 > OPTION_INDENT) {
            buf_append(out, "\n", 1);
            at = 0;
        }
        pad(out, OPTION_INDENT - at);
        struct buf text = {0};
        buf_append_str(&text, o->help);
        if (o->alias)
            buf_printf(&text, " (also --%s)", o->alias);
        if (o->fallback)
            buf_printf(&text, " (default: %s)", o->fallback);
        buf_append(&text, "", 1);
        wrap(out, (const char *)text.data, OPTION_INDENT, OPTION_INDENT);
        buf_deinit(&text);
    }
}

static void write_command_line(struct buf *out, const struct command *c, size_t width)
{
    const size_t start = out->size;
    buf_printf(out, "  %s%s%s", c->group ? c->group : "", c->group ? " " : "", c->name);
    const size_t at = out->size - start;
    pad(out, at < width ? width - at : 1);
    buf_printf(out, "%s\n", c->summary);
}

static void write_program_help(struct buf *out, const struct command_set *set)
{
    buf_printf(out, "%s - %s\n\nUsage: %s [OPTION]... COMMAND ...\n\nCommands:\n", set->program,
               set->summary, set->program);
    for (size_t i = 0; i < set->command_count; i++)
        write_command_line(out, set->commands[i], 20);
    buf_append_str(out, "\nOptions, before or after the command's words:\n");
    write_options(out, set->options);
    buf_printf(out,
               "\nHelp for one command: %s COMMAND --help\n"
               "Exit status: 0 done, 1 failed, 2 usage.\n",
               set->program);
}

static void write_group_help(struct buf *out, const struct command_set *set,
                             const struct command_group *group)
{
    buf_printf(out, "%s %s - %s\n\nCommands:\n", set->program, group->name, group->summary);
    for (size_t i = 0; i < set->command_count; i++) {
        const struct command *const c = set->commands[i];
        if (c->group && strcmp(c->group, group->name) == 0)
            write_command_line(out, c, 20);
    }
    buf_printf(out, "\nHelp for one command: %s %s COMMAND --help\n", set->program, group->name);
}

/* The program's own options, in short: its help explains them. */
static void write_shared_options(struct buf *out, const struct command_set *set)
{
    struct buf text = {0};
    for (const struct option *o = set->options; o && o->name; o++)
        if (o->kind != OPTION_FLAG)
            buf_printf(&text, "--%s %s  ", o->name, o->value);
    buf_append(&text, "", 1);
    buf_printf(out, "\nOptions of every command (see %s --help):\n", set->program);
    wrap(out, (const char *)text.data, 0, 2);
    buf_deinit(&text);
}

static void write_command_help(struct buf *out, const struct command_set *set,
                               const struct command *c)
{
    buf_printf(out, "%s\n\nUsage: %s %s%s%s%s%s%s\n", c->summary, set->program,
               c->group ? c->group : "", c->group ? " " : "", c->name, c->operands[0] ? " " : "",
               c->operands, c->options ? " [OPTION]..." : "");
    if (c->details) {
        buf_append(out, "\n", 1);
        wrap(out, c->details, 0, 0);
    }
    if (c->options) {
        buf_append_str(out, "\nOptions:\n");
        write_options(out, c->options);
    }
    write_shared_options(out, set);
    if (c->examples) {
        buf_append_str(out, "\nExamples:\n");
        buf_append_str(out, c->examples);
    }
}

void help_write(struct buf *out, const struct args *a)
{
    if (a->command)
        write_command_help(out, a->set, a->command);
    else if (a->group)
        write_group_help(out, a->set, a->group);
    else
        write_program_help(out, a->set);
}

/* --- the manual page ---------------------------------------------------------------- */

/* Text for troff: backslashes and dashes escaped, no line that begins like a request. */
static void troff(struct buf *out, const char *text)
{
    bool is_line_start = true;
    for (; *text; text++) {
        if (is_line_start && (*text == '.' || *text == '\''))
            buf_append_str(out, "\\&");
        is_line_start = *text == '\n';
        if (*text == '\\')
            buf_append_str(out, "\\e");
        else if (*text == '-')
            buf_append_str(out, "\\-");
        else
            buf_append(out, text, 1);
    }
}

/* Paragraphs: an empty line separates them, a line that is indented stays a line. */
static void troff_paragraphs(struct buf *out, const char *text)
{
    while (*text) {
        const size_t size = strcspn(text, "\n");
        if (size == 0)
            buf_append_str(out, ".PP\n");
        else if (text[0] == ' ')
            buf_append_str(out, ".br\n");
        struct buf line = {0};
        buf_append(&line, text, size);
        buf_append(&line, "", 1);
        if (size > 0) {
            troff(out, (const char *)line.data);
            buf_append(out, "\n", 1);
        }
        buf_deinit(&line);
        text += size + (text[size] == '\n');
    }
}

static void troff_options(struct buf *out, const struct option *table)
{
    for (const struct option *o = table; o && o->name; o++) {
        buf_append_str(out, ".TP\n.BR ");
        troff(out, "--");
        troff(out, o->name);
        if (o->value) {
            buf_append_str(out, " \" ");
            troff(out, o->value);
            buf_append_str(out, "\"");
        }
        buf_append(out, "\n", 1);
        troff(out, o->help);
        if (o->alias) {
            buf_append_str(out, " (also ");
            troff(out, "--");
            troff(out, o->alias);
            buf_append_str(out, ")");
        }
        if (o->fallback) {
            buf_append_str(out, " (default: ");
            troff(out, o->fallback);
            buf_append_str(out, ")");
        }
        buf_append_str(out, ".\n");
    }
}

static void troff_command(struct buf *out, const struct command *c)
{
    buf_append_str(out, ".SS \"");
    if (c->group)
        buf_printf(out, "%s ", c->group);
    buf_append_str(out, c->name);
    if (c->operands[0])
        buf_printf(out, " %s", c->operands);
    buf_append_str(out, "\"\n");
    troff(out, c->summary);
    buf_append_str(out, ".\n");
    if (c->details) {
        buf_append_str(out, ".PP\n");
        troff_paragraphs(out, c->details);
    }
    troff_options(out, c->options);
    if (c->examples) {
        buf_append_str(out, ".PP\n.nf\n");
        troff(out, c->examples);
        buf_append_str(out, ".fi\n");
    }
}

void help_write_manual(struct buf *out, const struct command_set *set)
{
    buf_append_str(out, ".\\\" SPDX-License-Identifier: Apache-2.0\n"
                        ".\\\" Printed by `sluice --manual` from the tables of clients/tools.\n");
    buf_printf(out, ".TH SLUICE 1 \"\" \"Sluice %s\" \"Sluice\"\n.SH NAME\nsluice \\- ",
               SLUICE_VERSION);
    troff(out, set->summary);
    buf_append_str(out, "\n.SH SYNOPSIS\n.B sluice\n[OPTION]... COMMAND ...\n.SH OPTIONS\n"
                        "These may stand before or after the command's words.\n");
    troff_options(out, set->options);
    buf_append_str(out, ".SH COMMANDS\n");
    for (size_t i = 0; i < set->command_count; i++)
        troff_command(out, set->commands[i]);
    buf_append_str(out, ".SH EXIT STATUS\n0: done. 1: failed; standard error says what, where "
                        "and what to do. 2: the command line is wrong.\n"
                        ".SH ENVIRONMENT\n.TP\n.B SLUICE_BOOTSTRAP\nWhere the cluster is, if "
                        "\\-\\-bootstrap is not given.\n"
                        ".SH SEE ALSO\n.BR sluice\\-broker (8),\n.BR sluice\\-metad (8)\n");
}
