/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Produce: decode, admit each partition's batches, append what one wake-up
 * brought for a partition in one write, then answer, or wait for the high
 * watermark (acks=-1).
 */
#ifndef SLUICE_SERVER_HANDLE_PRODUCE_H
#define SLUICE_SERVER_HANDLE_PRODUCE_H

#include "broker/server/lane.h"

/* Bytes of request extra it needs. */
size_t handle_produce_extra(void);
void handle_produce(struct lane *ln, struct request *r, struct slice body);
/* Appends what is gathered and answers. At the end of a wake-up's frames. */
void handle_produce_end(struct lane *ln);

#endif
