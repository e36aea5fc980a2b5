/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/lib/partitioner.h"

#include <string.h>

#include "proto/base/check.h"

uint32_t murmur2(struct slice key)
{
    const uint32_t m = 0x5bd1e995;
    const uint8_t *p = key.data;
    size_t left = key.size;
    uint32_t h = 0x9747b28c ^ (uint32_t)key.size;
    for (; left >= 4; left -= 4, p += 4) {
        uint32_t k;
        memcpy(&k, p, sizeof k);
        k *= m;
        k ^= k >> 24;
        h = h * m ^ k * m;
    }
    if (left > 2)
        h ^= (uint32_t)p[2] << 16;
    if (left > 1)
        h ^= (uint32_t)p[1] << 8;
    if (left > 0)
        h = (h ^ p[0]) * m;
    h ^= h >> 13;
    h *= m;
    return h ^ h >> 15;
}

int32_t partition_for_key(struct slice key, int32_t partition_count)
{
    CHECK(partition_count > 0);
    return (int32_t)(murmur2(key) & 0x7fffffff) % partition_count;
}

int32_t partition_draw(const struct partition_load *loads, size_t count, bool adaptive,
                       struct rng *rng)
{
    CHECK(count > 0);
    if (!adaptive)
        return loads[rng_below(rng, count)].partition;
    uint32_t most = 0;
    for (size_t i = 0; i < count; i++)
        most = loads[i].waiting > most ? loads[i].waiting : most;
    uint64_t total = 0;
    for (size_t i = 0; i < count; i++)
        total += (uint64_t)most + 1 - loads[i].waiting;
    uint64_t ticket = rng_below(rng, total);
    /* The ticket is below the sum of the weights. */
    for (size_t i = 0;; i++) {
        CHECK(i < count);
        const uint64_t weight = (uint64_t)most + 1 - loads[i].waiting;
        if (ticket < weight)
            return loads[i].partition;
        ticket -= weight;
    }
}
