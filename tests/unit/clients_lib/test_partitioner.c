/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/test.h"

#include "clients/lib/partitioner.h"

/* Kafka's own test vectors: org.apache.kafka.common.utils.UtilsTest. */
static void murmur2_is_kafkas(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        int32_t hash;
    } golden[] = {
        {"21", -973932308},
        {"foobar", -790332482},
        {"a-little-bit-long-string", -985981536},
        {"a-little-bit-longer-string", -1486304829},
        {"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971},
        {"abc", 479470107},
    };
    for (size_t i = 0; i < sizeof golden / sizeof golden[0]; i++)
        assert_int_equal((int32_t)murmur2(slice_str(golden[i].key)), golden[i].hash);
}

static void keys_go_where_kafkas_go(void **state)
{
    (void)state;
    /* toPositive(murmur2(key)) % n: the sign bit is dropped, not the number negated. */
    assert_int_equal(partition_for_key(slice_str("21"), 12), (-973932308 & 0x7fffffff) % 12);
    assert_int_equal(partition_for_key(slice_str("abc"), 12), 479470107 % 12);
    assert_int_equal(partition_for_key(slice_str("abc"), 1), 0);
    assert_in_range(partition_for_key(slice_of("", 0), 7), 0, 6);
}

static void draws_spread_evenly_or_by_load(void **state)
{
    (void)state;
    enum { DRAWS = 30000 };
    const struct partition_load loads[] = {{.partition = 4, .waiting = 0},
                                           {.partition = 7, .waiting = 9},
                                           {.partition = 9, .waiting = 4}};
    struct rng rng = test_rng();
    unsigned even[10] = {0}, adaptive[10] = {0};
    for (int i = 0; i < DRAWS; i++) {
        even[partition_draw(loads, 3, false, &rng)]++;
        adaptive[partition_draw(loads, 3, true, &rng)]++;
    }
    assert_in_range(even[4], DRAWS / 3 - 900, DRAWS / 3 + 900);
    assert_in_range(even[7], DRAWS / 3 - 900, DRAWS / 3 + 900);
    /* Weights 10, 1 and 6 of 17. */
    assert_in_range(adaptive[4], DRAWS * 10 / 17 - 900, DRAWS * 10 / 17 + 900);
    assert_in_range(adaptive[7], DRAWS / 17 - 400, DRAWS / 17 + 400);
    assert_int_equal(adaptive[4] + adaptive[7] + adaptive[9], DRAWS);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(murmur2_is_kafkas),
        cmocka_unit_test(keys_go_where_kafkas_go),
        cmocka_unit_test(draws_spread_evenly_or_by_load),
    };
    return TEST_MAIN(tests, NULL, NULL);
}
