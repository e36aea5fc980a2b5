/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The clock of the tools, for measuring and pacing: monotonic, the same in all
 * processes of the machine.
 */
#ifndef SLUICE_TOOLS_CLOCK_H
#define SLUICE_TOOLS_CLOCK_H

#include <stdint.h>

int64_t clock_ns(void);

#endif
