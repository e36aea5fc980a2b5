/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/base/rng.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "proto/base/check.h"

static uint64_t rotl(uint64_t x, int k)
{
    return (x << k) | (x >> (64 - k));
}

void rng_init(struct rng *r, uint64_t seed)
{
    for (int i = 0; i < 4; i++) {
        seed += 0x9e3779b97f4a7c15;
        uint64_t z = seed;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
        z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
        r->s[i] = z ^ (z >> 31);
    }
}

void rng_init_from_system(struct rng *r)
{
    uint64_t seed = 0;
    CHECK(getrandom(&seed, sizeof seed, 0) == (ssize_t)sizeof seed);
    rng_init(r, seed);
}

uint64_t rng_u64(struct rng *r)
{
    uint64_t *s = r->s;
    const uint64_t result = rotl(s[1] * 5, 7) * 9;
    const uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return result;
}

uint64_t rng_below(struct rng *r, uint64_t bound)
{
    CHECK(bound > 0);
    /* Reject the few values that would make the remainder uneven. */
    const uint64_t reject = -bound % bound;
    uint64_t v;
    do
        v = rng_u64(r);
    while (v < reject);
    return v % bound;
}

struct uuid rng_uuid(struct rng *r)
{
    struct uuid u;
    const uint64_t high = rng_u64(r);
    const uint64_t low = rng_u64(r) | 1;
    memcpy(u.bytes, &high, 8);
    memcpy(u.bytes + 8, &low, 8);
    return u;
}

void uuid_text(const struct uuid *u, char text[UUID_TEXT])
{
    for (int i = 0; i < 16; i++)
        snprintf(text + 2 * i, 3, "%02x", u->bytes[i]);
}
