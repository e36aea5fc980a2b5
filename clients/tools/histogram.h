/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counts of non-negative values in log-linear buckets: exact below 256, above
 * it each power of two is cut into 128, so that a percentile is at most 0.8 %
 * above the truth. A value without pointers: histograms of several processes
 * are written into shared memory and added up. Recording never allocates.
 */
#ifndef SLUICE_TOOLS_HISTOGRAM_H
#define SLUICE_TOOLS_HISTOGRAM_H

#include <stdint.h>

enum {
    HISTOGRAM_SUB_BITS = 7,
    HISTOGRAM_BUCKETS = (64 - HISTOGRAM_SUB_BITS) << HISTOGRAM_SUB_BITS
};

struct histogram {
    uint64_t count;
    int64_t max;
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

/* A negative value counts as 0. */
void histogram_record(struct histogram *h, int64_t value);
void histogram_merge(struct histogram *h, const struct histogram *other);
/* The value that at least this share (0 to 1) of all values do not exceed; 1 gives the maximum, no
 * values give 0. */
int64_t histogram_percentile(const struct histogram *h, double share);

#endif
