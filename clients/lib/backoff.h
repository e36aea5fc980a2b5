/* SPDX-License-Identifier: Apache-2.0 */
/* How long to wait before another try: doubling, bounded, +-20 % so that many clients do not come
 * at once. */
#ifndef SLUICE_CLIENTS_BACKOFF_H
#define SLUICE_CLIENTS_BACKOFF_H

#include "proto/base/rng.h"

/* failures: in a row so far, at least 1. Microseconds. */
static inline int64_t backoff_us(int64_t first_us, int64_t max_us, unsigned failures,
                                 struct rng *rng)
{
    int64_t wait_us = first_us;
    for (unsigned i = 1; i < failures && wait_us < max_us; i++)
        wait_us *= 2;
    if (wait_us > max_us)
        wait_us = max_us;
    const int64_t spread_us = wait_us / 5;
    return wait_us - spread_us + (int64_t)rng_below(rng, 2 * (uint64_t)spread_us + 1);
}

#endif
