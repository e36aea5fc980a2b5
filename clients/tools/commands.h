/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All commands of `sluice`, each defined with its options in the file named
 * after its first word (log and perf: after both).
 */
#ifndef SLUICE_TOOLS_COMMANDS_H
#define SLUICE_TOOLS_COMMANDS_H

#include "clients/tools/args.h"

extern const struct command topic_create_command;
extern const struct command topic_list_command;
extern const struct command topic_describe_command;
extern const struct command topic_alter_command;
extern const struct command topic_delete_command;
extern const struct command produce_command;
extern const struct command consume_command;
extern const struct command config_describe_command;
extern const struct command config_alter_command;
extern const struct command broker_list_command;
extern const struct command cluster_describe_command;
extern const struct command records_delete_command;
extern const struct command log_dump_command;
extern const struct command log_verify_command;
extern const struct command perf_produce_command;
extern const struct command perf_consume_command;
extern const struct command perf_latency_command;

extern const struct command_set sluice_commands;

#endif
