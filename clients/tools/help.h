/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Help and the manual page, printed from the tables of args.h.
 */
#ifndef SLUICE_TOOLS_HELP_H
#define SLUICE_TOOLS_HELP_H

#include "clients/tools/args.h"
#include "proto/base/buf.h"

/* Of the command that a names, else of its group, else of the program. */
void help_write(struct buf *out, const struct args *a);

/* The manual page in troff's man macros: docs/man/sluice.1. */
void help_write_manual(struct buf *out, const struct command_set *set);

#endif
