/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Metrics: counters, gauges and histograms that any thread may change, and
 * their rendering as Prometheus text. What exists for as long as the process
 * is registered once; what comes and goes (partitions, connections) is
 * written by a collector at each rendering.
 *
 * Changing one is a relaxed atomic addition or two. Where several threads
 * change one often, give each its own series (label `loop`).
 *
 * Threads: registering before others render; changing and rendering: any.
 */
#ifndef SLUICE_NET_METRICS_H
#define SLUICE_NET_METRICS_H

#include <stdatomic.h>

#include "proto/base/buf.h"

struct metrics;
struct metrics *metrics_new(void);
void metrics_free(struct metrics *m);

struct metric_label {
    const char *name;
    const char *value;
};

/* --- registered: owned by m, as long as it -------------------------------- */

struct counter {
    atomic_uint_fast64_t value;
};
static inline void counter_add(struct counter *c, uint64_t n)
{
    atomic_fetch_add_explicit(&c->value, n, memory_order_relaxed);
}

struct gauge {
    atomic_int_fast64_t value;
};
static inline void gauge_set(struct gauge *g, int64_t v)
{
    atomic_store_explicit(&g->value, v, memory_order_relaxed);
}
static inline void gauge_add(struct gauge *g, int64_t n)
{
    atomic_fetch_add_explicit(&g->value, n, memory_order_relaxed);
}

/*
 * A log-linear histogram of whole numbers (microseconds, bytes): every power
 * of two is cut into four, so that a bucket is at most a fourth of its values
 * wide. Rendered cumulated at the powers of two from 2^3 to 2^27.
 */
enum {
    HISTOGRAM_CUTS = 4,                     /* per power of two */
    HISTOGRAM_BUCKETS = 40 * HISTOGRAM_CUTS /* up to 2^41; the last takes what is above */
};
struct histogram {
    atomic_uint_fast64_t buckets[HISTOGRAM_BUCKETS];
    atomic_uint_fast64_t sum;
};
void histogram_add(struct histogram *h, uint64_t value);
uint64_t histogram_count(const struct histogram *h);
/* The upper end of the bucket that holds the q-th part (0..1) of the values; 0 if there are none.
 */
uint64_t histogram_quantile(const struct histogram *h, double q);

/*
 * name: [a-zA-Z_:][a-zA-Z0-9_:]*, with its unit last (sluice_requests_total,
 * sluice_request_seconds). Several series of one name differ in their labels;
 * help and type are those of the first. Strings are copied.
 */
struct counter *metrics_counter(struct metrics *m, const char *name, const char *help,
                                const struct metric_label *labels, size_t label_count);
struct gauge *metrics_gauge(struct metrics *m, const char *name, const char *help,
                            const struct metric_label *labels, size_t label_count);
/* unit: what one counts in the metric's unit: 1e-6 for microseconds shown as seconds. */
struct histogram *metrics_histogram(struct metrics *m, const char *name, const char *help,
                                    double unit, const struct metric_label *labels,
                                    size_t label_count);

/* --- collected at each rendering ------------------------------------------ */

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };
struct metrics_page;
typedef void metrics_collect_fn(void *arg, struct metrics_page *page);
void metrics_add_collector(struct metrics *m, metrics_collect_fn *fn, void *arg);

/* Begins a family; its samples follow. A name has one family in all. */
void metrics_family(struct metrics_page *page, const char *name, enum metric_type type,
                    const char *help);
void metrics_sample(struct metrics_page *page, const struct metric_label *labels,
                    size_t label_count, double value);
/* counts[i]: values at most bounds[i] and above those before; the last, counts[bound_count], the
 * rest. */
void metrics_sample_histogram(struct metrics_page *page, const struct metric_label *labels,
                              size_t label_count, const double *bounds, const uint64_t *counts,
                              size_t bound_count, double sum);

/* --- out ------------------------------------------------------------------ */

#define METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"
/* Appends all of it. */
void metrics_render(struct metrics *m, struct buf *out);

#endif
