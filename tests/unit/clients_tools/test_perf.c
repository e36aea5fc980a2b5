/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/tools/perf.h"
#include "tests/support/test.h"

#include <ctype.h>
#include <string.h>

static void shares_add_up_and_differ_by_one_at_most(void **state)
{
    (void)state;
    for (uint64_t n = 1; n < 200; n++)
        for (size_t workers = 1; workers <= PERF_WORKERS_MAX; workers++) {
            uint64_t sum = 0;
            for (size_t i = 0; i < workers; i++) {
                const uint64_t share = perf_share(n, i, workers);
                assert_in_range(share, n / workers, n / workers + 1);
                sum += share;
            }
            assert_int_equal(sum, n);
        }
}

static void payloads_are_printable_and_neighbours_differ(void **state)
{
    (void)state;
    struct perf_payload p;
    perf_payload_init(&p, 100);
    for (uint64_t i = 0; i < 200000; i++) {
        const uint8_t *const a = perf_payload_at(&p, i);
        assert_true(isprint(a[0]));
        assert_true(isprint(a[p.size - 1]));
        assert_memory_not_equal(a, perf_payload_at(&p, i + 1), p.size);
    }
    perf_payload_deinit(&p);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shares_add_up_and_differ_by_one_at_most),
        cmocka_unit_test(payloads_are_printable_and_neighbours_differ),
    };
    return TEST_MAIN(tests, NULL, NULL);
}
