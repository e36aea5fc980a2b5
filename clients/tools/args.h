/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands and their options as tables, and command lines read against them.
 * The same tables print the help and the manual page (help.h), so an option
 * exists in all three places or in none.
 *
 * Options of the program itself may stand before or after the command's
 * words; a command's own options only behind them. `--name value`,
 * `--name=value`, and `--` ends options. The last one given wins, except for
 * kinds that collect. No allocation that a user's input could make large.
 */
#ifndef SLUICE_TOOLS_ARGS_H
#define SLUICE_TOOLS_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/buf.h"
#include "proto/base/err.h"

enum option_kind {
    OPTION_FLAG,   /* takes no value */
    OPTION_TEXT,   /* anything but nothing */
    OPTION_NUMBER, /* an integer from min to max */
    OPTION_CHOICE, /* one of choices */
    OPTION_PAIRS,  /* KEY=VALUE; may be given again, collects */
    OPTION_TEXTS   /* may be given again, collects */
};

struct option {
    const char *name; /* without dashes; NULL ends a table */
    enum option_kind kind;
    const char *value;    /* what help calls the value; not for flags */
    const char *help;     /* one or two sentences without a final full stop */
    const char *fallback; /* the value if not given; NULL: none */
    const char *choices;  /* "0|1|all" */
    const char *alias;    /* another name, which help mentions */
    int64_t min, max;
};

struct cli;
/* Returns the exit status: EXIT_DONE or EXIT_FAILED, or EXIT_USAGE for what the table cannot
 * express. */
typedef int command_fn(struct cli *cli);

struct command {
    const char *group; /* "topic"; NULL for a command of one word */
    const char *name;
    const char *operands; /* as help shows them: "NAME", "[NAME...]" */
    size_t operands_min, operands_max;
    const char *summary;          /* one line */
    const char *details;          /* paragraphs, may be NULL */
    const char *examples;         /* lines of shell, may be NULL */
    const struct option *options; /* may be NULL */
    command_fn *run;
};

struct command_group {
    const char *name;
    const char *summary;
};

struct command_set {
    const char *program;
    const char *summary;
    const struct option *options; /* of the program: valid with every command */
    const struct command_group *groups;
    size_t group_count;
    const struct command *const *commands; /* in the order of the help */
    size_t command_count;
};

struct given {
    const struct option *option;
    const char *text;
    int64_t number;
};

struct args {
    const struct command_set *set;
    const struct command_group *group; /* NULL unless the first word names one */
    const struct command *command;     /* NULL: only with is_help */
    bool is_help;
    const char **operands; /* borrowed from argv */
    size_t operand_count;
    struct given *given;
    size_t given_count;
};

/*
 * Reads a command line (argv[0] is skipped). E_CONFIG: it is wrong; message then
 * says what and what to do, and *out tells how far it was understood. Either
 * way args_deinit follows. out keeps argv's strings.
 */
err args_parse(struct args *out, const struct command_set *set, int argc, char *const *argv,
               struct buf *message) MUST_USE;
void args_deinit(struct args *a);

/* By name; naming an option that neither the command nor the program has is a bug. */
bool args_has(const struct args *a, const char *name);
/* What was given, else the table's fallback, else NULL. */
const char *args_text(const struct args *a, const char *name);
/* The same; what has no fallback and was not given is 0. */
int64_t args_number(const struct args *a, const char *name);
/* Collected values in order: cursor starts at 0; NULL after the last. */
const char *args_next(const struct args *a, const char *name, size_t *cursor);

/* The closest of names to word, NULL if nothing is close enough to mean it. */
const char *args_suggest(const char *word, const char *const *names, size_t count);

/* The whole of text as a decimal integer. False: it is none, or it does not fit. */
bool parse_int64(const char *text, int64_t *out);

#endif
