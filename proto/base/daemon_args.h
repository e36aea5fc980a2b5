/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line that all daemons share:
 *
 *   --config FILE  --set KEY=VALUE ...  --ready-fd N  --standalone
 *   --help  --help-config  --version
 *
 * and the order of configuration sources: file, environment, --set.
 */
#ifndef SLUICE_BASE_DAEMON_ARGS_H
#define SLUICE_BASE_DAEMON_ARGS_H

#include "proto/base/conf.h"

struct daemon_program {
    const char *name;                                  /* "sluice-broker" */
    const char *summary;                               /* one line for --help */
    const struct conf_table *const *tables;            /* NULL-ended */
    const struct conf_table *const *standalone_tables; /* NULL: knows no --standalone */
    /* Adds what is wrong with values that the tables cannot judge, so that it is reported with all
     * the rest. A value that is wrong by its table reads as its default. May be NULL. */
    void (*check)(struct conf *c, bool standalone);
};

struct daemon_args {
    struct conf *conf; /* the caller's to conf_free */
    bool standalone;
    int ready_fd; /* -1: not asked for */
};

/*
 * Fills *out and returns -1: go on. Otherwise what was asked for was printed,
 * or what is wrong (all of it, on stderr), and the program exits with what is
 * returned: 0, or 2 for usage and configuration; *out is untouched.
 */
int daemon_args_parse(const struct daemon_program *program, int argc, char **argv,
                      struct daemon_args *out) MUST_USE;

/* Reports what conf_problem added after daemon_args_parse, in the same form. Returns 2, or -1 if
 * there is nothing. */
int daemon_args_report(const struct daemon_program *program, const struct conf *c);

#endif
