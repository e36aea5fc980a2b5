/* SPDX-License-Identifier: Apache-2.0 */
/* The `sluice` command: reads the line, prints help, or runs the command. */
#include <signal.h>
#include <stdio.h>

#include "clients/tools/cli.h"
#include "clients/tools/commands.h"
#include "clients/tools/help.h"

static int print(struct cli *cli)
{
    cli_flush(cli);
    return cli->is_output_failed ? EXIT_FAILED : EXIT_DONE;
}

static int run(struct cli *cli, const struct args *args)
{
    if (args->is_help) {
        help_write(&cli->out, args);
        return print(cli);
    }
    const int status = args->command->run(cli);
    cli_flush(cli);
    return cli->is_output_failed ? EXIT_FAILED : status;
}

static int report_usage(const struct args *args, struct buf *message)
{
    buf_append(message, "", 1);
    fprintf(stderr, "%s: %s\n", args->set->program, (const char *)message->data);
    return EXIT_USAGE;
}

int main(int argc, char **argv)
{
    /* A reader that went away shows as EPIPE where we write. */
    signal(SIGPIPE, SIG_IGN);
    struct args args;
    struct buf message = {0};
    struct cli cli = {0};
    int status;
    const err e = args_parse(&args, &sluice_commands, argc, argv, &message);
    if (args_has(&args, "version")) {
        buf_printf(&cli.out, "sluice %s\n", SLUICE_VERSION);
        status = print(&cli);
    } else if (args_has(&args, "manual")) {
        help_write_manual(&cli.out, &sluice_commands);
        status = print(&cli);
    } else if (e != OK) {
        status = report_usage(&args, &message);
    } else {
        cli_init(&cli, &args);
        status = run(&cli, &args);
    }
    cli_deinit(&cli);
    args_deinit(&args);
    buf_deinit(&message);
    return status;
}
