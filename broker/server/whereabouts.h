/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a client should hear when a partition is not to be had here: which one
 * it asked for, what is wrong, and who leads it. Off the hot path; strings come
 * from the arena.
 */
#ifndef SLUICE_SERVER_WHEREABOUTS_H
#define SLUICE_SERVER_WHEREABOUTS_H

#include "broker/replica/partition_table.h"
#include "proto/base/mem.h"

struct whereabouts {
    const char *why;   /* a sentence */
    int32_t leader_id; /* -1: not known, nor the rest */
    struct slice leader_host;
    uint16_t leader_port;
    int32_t leader_epoch; /* -1: not known */
};
/* why (may be NULL) is kept as the sentence if given; listener: whose address is told. */
struct whereabouts whereabouts(struct partition_table *t, struct arena *arena,
                               const struct partition_name *name, const char *listener, err e,
                               const char *why);

#endif
