/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads nodes of the coordination tree into an edit of the cluster image: all
 * of them, or those that changed. At most READING_INFLIGHT operations are under
 * way. A node that does not decode is reported, and leaves what the edit had.
 *
 * Threads: the coord's loop.
 */
#ifndef SLUICE_FOLLOW_READING_H
#define SLUICE_FOLLOW_READING_H

#include "metad/coord/coord.h"
#include "metad/model/cluster.h"

enum { READING_INFLIGHT = 256 };

struct reading;

/* done: once, after reading_start, with OK or with the first error of the connection; then the edit
 * holds a part. edit: the caller's, until done. */
struct reading *reading_new(struct coord *coord, struct cluster_edit *edit,
                            void (*done)(void *arg, err e), void *arg);
/* In done, after it, or after coord_close. */
void reading_free(struct reading *rd);

void reading_add_all(struct reading *rd);
/* The topic, or if it is gone its tombstone. */
void reading_add_topic(struct reading *rd, const struct uuid *id);
/* All that are registered now; the others go from the edit. */
void reading_add_brokers(struct reading *rd);
void reading_add_broker_configs(struct reading *rd, int32_t id);
void reading_add_controller(struct reading *rd);
/* At least one must have been added. */
void reading_start(struct reading *rd);

#endif
