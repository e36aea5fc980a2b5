/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/tools/commands.h"

#include <stdint.h>

static const struct option options[] = {
    {.name = "bootstrap",
     .kind = OPTION_TEXT,
     .value = "HOST:PORT,...",
     .help = "Where the cluster is (default: $SLUICE_BOOTSTRAP, else localhost:9290)"},
    {.name = "config",
     .kind = OPTION_TEXT,
     .value = "FILE",
     .alias = "config-file",
     .help =
         "Client configuration, one key=value a line. Stands in front of the words of a command "
         "that has a --config of its own"},
    {.name = "timeout",
     .kind = OPTION_NUMBER,
     .value = "MS",
     .min = 1,
     .max = 86400000,
     .fallback = "10000",
     .help = "How long one request may take, retries included, in milliseconds"},
    {.name = "output",
     .kind = OPTION_CHOICE,
     .value = "table|json",
     .choices = "table|json",
     .fallback = "table",
     .help = "For people, or for programs"},
    {.name = "help", .kind = OPTION_FLAG, .help = "Print help for the command and stop (also -h)"},
    {.name = "version", .kind = OPTION_FLAG, .help = "Print the version and stop"},
    {.name = "manual", .kind = OPTION_FLAG, .help = "Print the manual page, for troff, and stop"},
    {0},
};

static const struct command_group groups[] = {
    {"topic", "create, look at, change and delete topics"},
    {"config", "look at and change configs of topics and brokers"},
    {"broker", "look at brokers"},
    {"cluster", "look at the cluster"},
    {"records", "delete records"},
    {"log", "look into a log's files, without a broker"},
    {"perf", "measure"},
};

static const struct command *const commands[] = {
    &topic_create_command, &topic_list_command,       &topic_describe_command,
    &topic_alter_command,  &topic_delete_command,     &produce_command,
    &consume_command,      &config_describe_command,  &config_alter_command,
    &broker_list_command,  &cluster_describe_command, &records_delete_command,
    &log_dump_command,     &log_verify_command,       &perf_produce_command,
    &perf_consume_command, &perf_latency_command,
};

const struct command_set sluice_commands = {
    .program = "sluice",
    .summary = "command line of the Sluice publish/subscribe log",
    .options = options,
    .groups = groups,
    .group_count = sizeof groups / sizeof *groups,
    .commands = commands,
    .command_count = sizeof commands / sizeof *commands,
};
