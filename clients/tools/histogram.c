/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/tools/histogram.h"

#include <math.h>
#include <stddef.h>

enum { SUB_COUNT = 1 << HISTOGRAM_SUB_BITS };

/*
 * Values below 2 * SUB_COUNT are their own index. Above, with the highest bit at
 * SUB_BITS + shift, the top SUB_BITS + 1 bits of the value select the bucket.
 */
static size_t index_of(uint64_t v)
{
    if (v < 2 * SUB_COUNT)
        return (size_t)v;
    const unsigned shift = 63u - (unsigned)__builtin_clzll(v) - HISTOGRAM_SUB_BITS;
    return (size_t)(shift * SUB_COUNT + (v >> shift));
}

/* The largest value that falls into the bucket. */
static int64_t top_of(size_t index)
{
    if (index < 2 * SUB_COUNT)
        return (int64_t)index;
    const uint64_t shift = index / SUB_COUNT - 1;
    const uint64_t head = index - shift * SUB_COUNT;
    return (int64_t)(((head + 1) << shift) - 1);
}

void histogram_record(struct histogram *h, int64_t value)
{
    if (value < 0)
        value = 0;
    if (value > h->max)
        h->max = value;
    h->count++;
    h->buckets[index_of((uint64_t)value)]++;
}

void histogram_merge(struct histogram *h, const struct histogram *other)
{
    h->count += other->count;
    if (other->max > h->max)
        h->max = other->max;
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++)
        h->buckets[i] += other->buckets[i];
}

int64_t histogram_percentile(const struct histogram *h, double share)
{
    /* A shade less, so that 0.007 of 20,000 is 140 in spite of binary fractions. */
    uint64_t wanted = (uint64_t)ceil(share * (double)h->count * (1 - 1e-12));
    if (wanted == 0)
        wanted = 1;
    uint64_t seen = 0;
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += h->buckets[i];
        if (seen >= wanted)
            return top_of(i) < h->max ? top_of(i) : h->max;
    }
    return h->max;
}
