/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/tools/histogram.h"
#include "tests/support/test.h"

#include <stdlib.h>
#include <string.h>

static struct histogram h, other;

static int start(void **state)
{
    (void)state;
    memset(&h, 0, sizeof h);
    memset(&other, 0, sizeof other);
    return 0;
}

static void nothing_gives_zero(void **state)
{
    (void)state;
    assert_int_equal(histogram_percentile(&h, 0.5), 0);
    assert_int_equal(histogram_percentile(&h, 1), 0);
}

static void small_values_are_exact(void **state)
{
    (void)state;
    for (int v = 1; v <= 200; v++)
        histogram_record(&h, v);
    assert_int_equal(histogram_percentile(&h, 0.5), 100);
    assert_int_equal(histogram_percentile(&h, 0.95), 190);
    assert_int_equal(histogram_percentile(&h, 0.001), 1);
    assert_int_equal(histogram_percentile(&h, 1), 200);
    assert_int_equal(h.count, 200);
}

static void extremes_fit(void **state)
{
    (void)state;
    histogram_record(&h, INT64_MAX);
    histogram_record(&h, -5);
    assert_int_equal(histogram_percentile(&h, 0.5), 0);
    assert_int_equal(histogram_percentile(&h, 1), INT64_MAX);
    assert_int_equal(h.max, INT64_MAX);
}

static int compare(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a;
    const int64_t y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Goal: a percentile is never below the truth and at most 0.8 % above it. Method: random values of
 * random magnitudes in two histograms, added, against the sorted values. */
static void percentiles_are_close_to_the_truth(void **state)
{
    (void)state;
    enum { COUNT = 20000 };
    static int64_t values[COUNT];
    struct rng rng = test_rng();
    for (size_t i = 0; i < COUNT; i++) {
        values[i] = (int64_t)(rng_u64(&rng) >> (1 + rng_below(&rng, 62)));
        histogram_record(i % 3 ? &h : &other, values[i]);
    }
    histogram_merge(&h, &other);
    assert_int_equal(h.count, COUNT);
    qsort(values, COUNT, sizeof *values, compare);
    assert_int_equal(h.max, values[COUNT - 1]);
    for (int permille = 1; permille <= 1000; permille++) {
        const int64_t truth = values[(size_t)permille * COUNT / 1000 - 1];
        const int64_t told = histogram_percentile(&h, permille / 1000.0);
        assert_true(told >= truth);
        assert_true((double)(told - truth) <= 0.008 * (double)truth);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(nothing_gives_zero, start),
        cmocka_unit_test_setup(small_values_are_exact, start),
        cmocka_unit_test_setup(extremes_fit, start),
        cmocka_unit_test_setup(percentiles_are_close_to_the_truth, start),
    };
    return TEST_MAIN(tests, NULL, NULL);
}
