/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Figures of this process for /metrics, under Prometheus' usual names: resident
 * memory, CPU seconds, open descriptors and their limit, threads.
 */
#ifndef SLUICE_NET_PROCESS_H
#define SLUICE_NET_PROCESS_H

#include "proto/net/metrics.h"

void process_add_metrics(struct metrics *m);
/* Raises the soft limit of descriptors to the hard one; returns what it is now. */
uint64_t process_raise_descriptor_limit(void);

#endif
