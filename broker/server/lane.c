/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/server/lane.h"

#include "proto/base/check.h"

void lane_init(struct lane *ln, struct loop *loop, struct partition_table *table,
               struct exec *readers, struct lane_metrics metrics)
{
    *ln = (struct lane){.loop = loop, .table = table, .readers = readers, .metrics = metrics};
    admit_ctx_init(&ln->admit);
}

void lane_deinit(struct lane *ln)
{
    CHECK(ln->run.p == NULL);
    if (ln->last.p)
        partition_unref(ln->last.p);
    admit_ctx_deinit(&ln->admit);
}
