/* SPDX-License-Identifier: Apache-2.0 */
/* sluice-metad: reads its configuration, and says what this version cannot do yet. */
#include <stdio.h>

#include "metad/server/metad_conf.h"
#include "proto/base/daemon_args.h"

int main(int argc, char **argv)
{
    static const struct conf_table *const tables[] = {&metad_conf_table, &metad_daemon_conf_table,
                                                      NULL};
    static const struct daemon_program program = {
        .name = "sluice-metad",
        .summary = "answers metadata and admin requests: what clients bootstrap from",
        .tables = tables,
    };
    struct daemon_args args;
    struct metad_conf conf;
    int status = daemon_args_parse(&program, argc, argv, &args);
    if (status >= 0)
        return status;
    metad_conf_read(args.conf, &conf);
    status = daemon_args_report(&program, args.conf);
    if (status < 0) {
        fprintf(stderr,
                "sluice-metad: zookeeper.connect is not supported by this version yet, and metad "
                "alone needs it. "
                "Start sluice-broker --standalone: it is metad and broker in one process.\n");
        status = 2;
    }
    conf_free(args.conf);
    return status;
}
