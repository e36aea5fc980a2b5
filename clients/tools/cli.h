/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every command is given: its parsed line, where to print, how to fail.
 *
 * Standard output is written through `out`, in large pieces; a reader that
 * went away (EPIPE) ends a command quietly, any other error of it is a
 * failure. Standard error gets one message per failure: what, where, and what
 * to do. Threads: the main thread.
 */
#ifndef SLUICE_TOOLS_CLI_H
#define SLUICE_TOOLS_CLI_H

#include <sluice/sluice.h>
#include <stdbool.h>
#include <stdint.h>

#include "clients/tools/args.h"
#include "proto/base/buf.h"
#include "proto/base/slice.h"

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

struct cli {
    const struct args *args;
    bool is_json;
    int64_t timeout_ms;
    struct buf out;                   /* to standard output, see cli_flush */
    bool is_reader_gone;              /* standard output is a pipe that nobody reads any more */
    bool is_output_failed;            /* standard output failed otherwise; was reported */
    struct sluice_property *settings; /* see cli_load_settings */
    size_t setting_count;
};

void cli_init(struct cli *cli, const struct args *args);
void cli_deinit(struct cli *cli);

/* --- output ------------------------------------------------------------------------- */

/* Writes what is in out. False: nobody takes it any more, the command should end. */
bool cli_flush(struct cli *cli);
/* The same, once a good deal has gathered. */
bool cli_flush_if_large(struct cli *cli);
/* Whether the reader of standard output went away; asks the kernel. */
bool cli_is_reader_gone(struct cli *cli);

/* --- messages on standard error ----------------------------------------------------- */

/* "sluice topic create: ..." Returns EXIT_FAILED. */
int cli_fail(const struct cli *cli, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* What the library said, and what to do about it. Returns EXIT_FAILED. */
int cli_fail_error(const struct cli *cli, const struct sluice_error *error);
/* The same for an error of a part of the whole ("topic x"). */
void cli_report_error(const struct cli *cli, const struct sluice_error *error);
/* The line is wrong in a way the tables cannot express. Returns EXIT_USAGE. */
int cli_usage(const struct cli *cli, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Something worth knowing that is no failure. */
void cli_note(const struct cli *cli, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* What to do about an error, a sentence; NULL: nothing useful is known. */
const char *cli_advice(int32_t code);

/* --- the cluster -------------------------------------------------------------------- */

/*
 * Settings of client handles: --config FILE, then --bootstrap (or the file's
 * bootstrap.servers, SLUICE_BOOTSTRAP, localhost:9290), then --property of commands that
 * have it, which must be keys of these roles (of enum sluice_role). A file may hold keys of
 * all roles; each handle gets those it knows. False: reported.
 */
bool cli_load_settings(struct cli *cli, unsigned roles);
void cli_set(struct cli *cli, const char *key, const char *value);
const char *cli_get(const struct cli *cli, const char *key); /* NULL: not set */
/* For a handle of one role; freed by the caller. */
sluice_config *cli_config(const struct cli *cli, enum sluice_role role);

/* An admin handle, NULL: reported. Freed by the caller. Loads the settings if nobody did. */
sluice_admin *cli_admin(struct cli *cli);
/* How many partitions a topic has, as the metadata says now; -1: there is no such topic, or it
 * could not be asked; reported. */
int32_t cli_partition_count(struct cli *cli, const char *topic);
/* Says that a topic has no such partition. Returns EXIT_FAILED. */
int cli_fail_partition(const struct cli *cli, const char *topic, int32_t count, int32_t partition);

/* Collected KEY=VALUE options as properties; the array and its strings are freed by
 * cli_properties_free. */
struct cli_properties {
    struct sluice_property *items;
    size_t count;
};
struct cli_properties cli_properties(const struct cli *cli, const char *option);
void cli_properties_free(struct cli_properties *p);

#endif
