/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Randomness, the fifth door: whoever needs a random number is handed a
 * `struct rng`, so that a simulated world can seed it. xoshiro256** by
 * Blackman and Vigna (public domain), seeded through splitmix64. Not for
 * secrets. Home thread: its owner's.
 */
#ifndef SLUICE_BASE_RNG_H
#define SLUICE_BASE_RNG_H

#include <stdint.h>

struct rng {
    uint64_t s[4];
};

void rng_init(struct rng *r, uint64_t seed);
/* Seeded from the kernel; production only. */
void rng_init_from_system(struct rng *r);
uint64_t rng_u64(struct rng *r);
/* Even over [0, bound); bound > 0. */
uint64_t rng_below(struct rng *r, uint64_t bound);

/* A 16-byte identity (topic, cluster, directory): random, never all zero. */
struct uuid {
    uint8_t bytes[16];
};

enum { UUID_TEXT = 33 }; /* 32 hex digits and a NUL */

struct uuid rng_uuid(struct rng *r);
void uuid_text(const struct uuid *u, char text[UUID_TEXT]);

#endif
