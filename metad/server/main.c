/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sluice-metad: the metadata server as a process of its own. It needs a
 * coordination service that several processes share, which this build does not
 * have: it says so and ends. The server itself runs in sluice-broker --standalone.
 */
#include <stdio.h>

#include "metad/server/metad_conf.h"
#include "proto/base/daemon_args.h"

enum { EXIT_CONFIG = 2 };

int main(int argc, char **argv)
{
    static const struct conf_table *const tables[] = {&metad_conf_table, &metad_daemon_conf_table,
                                                      NULL};
    static const struct daemon_program program = {
        .name = "sluice-metad",
        .summary = "the metadata server of a Sluice cluster, where clients bootstrap",
        .tables = tables,
    };
    struct daemon_args args;
    const int status = daemon_args_parse(&program, argc, argv, &args);
    if (status >= 0)
        return status;
    conf_free(args.conf);
    fputs("sluice-metad: zookeeper.connect is not supported by this build yet, so a metadata "
          "server cannot run as a process of its own; use `sluice-broker --standalone`, which "
          "serves metadata too\n",
          stderr);
    return EXIT_CONFIG;
}
