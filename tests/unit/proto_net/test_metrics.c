/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/test.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "proto/base/mem.h"
#include "proto/net/metrics.h"

static const char *render(struct metrics *m, struct buf *b)
{
    buf_clear(b);
    metrics_render(m, b);
    buf_append(b, "", 1);
    return (const char *)b->data;
}

static void collect(void *arg, struct metrics_page *page)
{
    (void)arg;
    const struct metric_label one = {"topic", "a\"b\\c\nd"};
    metrics_family(page, "t_end", METRIC_GAUGE, "Ends.");
    metrics_sample(page, &one, 1, 12345678901.0);
    metrics_sample(page, NULL, 0, 0.5);
    metrics_family(page, "t_wait_seconds", METRIC_HISTOGRAM, "Waits.");
    metrics_sample_histogram(page, &one, 1, (const double[]){0.5, 1}, (const uint64_t[]){1, 2, 3},
                             2, 7.25);
}

static void the_text_is_what_prometheus_reads(void **state)
{
    (void)state;
    struct metrics *m = metrics_new();
    struct buf b = {0};
    struct counter *in = metrics_counter(m, "t_bytes_total", "Bytes.\nAll.",
                                         (const struct metric_label[]){{"way", "in"}}, 1);
    struct gauge *g = metrics_gauge(m, "t_open", "Open \\ things.", NULL, 0);
    struct counter *out = metrics_counter(
        m, "t_bytes_total", "-", (const struct metric_label[]){{"way", "out"}, {"loop", "1"}}, 2);
    metrics_add_collector(m, collect, NULL);
    counter_add(in, 7);
    counter_add(in, UINT64_C(10000000000000000000));
    counter_add(out, 3);
    gauge_set(g, 5);
    gauge_add(g, -9);
    assert_string_equal(render(m, &b),
                        "# HELP t_bytes_total Bytes.\\nAll.\n"
                        "# TYPE t_bytes_total counter\n"
                        "t_bytes_total{way=\"in\"} 10000000000000000007\n"
                        "t_bytes_total{way=\"out\",loop=\"1\"} 3\n"
                        "# HELP t_open Open \\\\ things.\n"
                        "# TYPE t_open gauge\n"
                        "t_open -4\n"
                        "# HELP t_end Ends.\n"
                        "# TYPE t_end gauge\n"
                        "t_end{topic=\"a\\\"b\\\\c\\nd\"} 12345678901\n"
                        "t_end 0.5\n"
                        "# HELP t_wait_seconds Waits.\n"
                        "# TYPE t_wait_seconds histogram\n"
                        "t_wait_seconds_bucket{topic=\"a\\\"b\\\\c\\nd\",le=\"0.5\"} 1\n"
                        "t_wait_seconds_bucket{topic=\"a\\\"b\\\\c\\nd\",le=\"1\"} 3\n"
                        "t_wait_seconds_bucket{topic=\"a\\\"b\\\\c\\nd\",le=\"+Inf\"} 6\n"
                        "t_wait_seconds_sum{topic=\"a\\\"b\\\\c\\nd\"} 7.25\n"
                        "t_wait_seconds_count{topic=\"a\\\"b\\\\c\\nd\"} 6\n");
    buf_deinit(&b);
    metrics_free(m);
}

static void a_histogram_is_cumulated_at_powers_of_two(void **state)
{
    (void)state;
    struct metrics *m = metrics_new();
    struct buf b = {0};
    struct histogram *h = metrics_histogram(m, "t_seconds", "T.", 1e-6, NULL, 0);
    static const uint64_t values[] = {0, 1, 8, 9, 16, 17, 1024, 1025, 1 << 27, UINT64_C(1) << 50};
    uint64_t sum = 0;
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        histogram_add(h, values[i]);
        sum += values[i];
    }
    const char *text = render(m, &b);
    char last[64];
    snprintf(last, sizeof last, "\nt_seconds_sum %.15g\n", (double)sum * 1e-6);
    static const char *const lines[] = {"\nt_seconds_bucket{le=\"8e-06\"} 3\n",
                                        "\nt_seconds_bucket{le=\"1.6e-05\"} 5\n",
                                        "\nt_seconds_bucket{le=\"3.2e-05\"} 6\n",
                                        "\nt_seconds_bucket{le=\"0.000512\"} 6\n",
                                        "\nt_seconds_bucket{le=\"0.001024\"} 7\n",
                                        "\nt_seconds_bucket{le=\"0.002048\"} 8\n",
                                        "\nt_seconds_bucket{le=\"134.217728\"} 9\n",
                                        "\nt_seconds_bucket{le=\"+Inf\"} 10\n",
                                        "\nt_seconds_count 10\n"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        if (!strstr(text, lines[i]))
            fail_msg("missing: %s in %s", lines[i], text);
    assert_non_null(strstr(text, last));
    buf_deinit(&b);
    metrics_free(m);
}

/* Goal: a quantile is at least the value, and at most a fourth above it. */
static void a_quantile_is_near(void **state)
{
    (void)state;
    struct rng r = test_rng();
    struct metrics *m = metrics_new();
    for (int i = 0; i < 2000; i++) {
        char name[32];
        snprintf(name, sizeof name, "t_%d", i);
        struct histogram *h = metrics_histogram(m, name, "T.", 1, NULL, 0);
        const uint64_t v = i < 100 ? (uint64_t)i : rng_u64(&r) >> (24 + rng_below(&r, 40));
        assert_int_equal(histogram_quantile(h, 0.5), 0);
        histogram_add(h, v);
        const uint64_t q = histogram_quantile(h, 1);
        assert_true(q >= v);
        assert_true(q <= v + v / 4 + 1);
    }
    struct histogram *h = metrics_histogram(m, "t", "T.", 1, NULL, 0);
    for (uint64_t v = 1; v <= 1000; v++)
        histogram_add(h, v);
    assert_int_equal(histogram_count(h), 1000);
    assert_int_equal(histogram_quantile(h, 0.5), 512);
    assert_int_equal(histogram_quantile(h, 0.99), 1024);
    assert_int_equal(histogram_quantile(h, 0), 1);
    metrics_free(m);
}

static void mistakes_in_names_are_found(void **state)
{
    (void)state;
    struct metrics *m = metrics_new();
    metrics_counter(m, "t_total", "T.", NULL, 0);
    expect_assert_failure(metrics_gauge(m, "t_total", "T.", NULL, 0));
    expect_assert_failure(metrics_counter(m, "1t", "T.", NULL, 0));
    metrics_free(m);
}

static void *count_up(void *arg)
{
    for (int i = 0; i < 100000; i++)
        counter_add(arg, 1);
    return NULL;
}

static void threads_count_together(void **state)
{
    (void)state;
    struct metrics *m = metrics_new();
    struct buf b = {0};
    struct counter *c = metrics_counter(m, "t_total", "T.", NULL, 0);
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count_up, c), 0);
    render(m, &b);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    assert_non_null(strstr(render(m, &b), "t_total 300000\n"));
    buf_deinit(&b);
    metrics_free(m);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_text_is_what_prometheus_reads),
        cmocka_unit_test(a_histogram_is_cumulated_at_powers_of_two),
        cmocka_unit_test(a_quantile_is_near),
        cmocka_unit_test(mistakes_in_names_are_found),
        cmocka_unit_test(threads_count_together),
    };
    return TEST_MAIN(tests, NULL, NULL);
}
