/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an answer says of a partition: its name, as it was asked for; and, when it
 * is not to be had here, what is wrong and who leads it (off the hot path).
 * Strings live as long as the request's arena and the partition.
 */
#ifndef SLUICE_SERVER_WHEREABOUTS_H
#define SLUICE_SERVER_WHEREABOUTS_H

#include "broker/replica/partition_table.h"
#include "proto/base/mem.h"

/* The name to answer with. Given out by the partition if there is one; else copied: an answer may
 * outlive the frame that asked. */
struct partition_name answer_name(const struct partition_name *asked, const struct partition *p,
                                  struct arena *arena);

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
