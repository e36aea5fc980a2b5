/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/test.h"

#include "broker/log/retention.h"

enum { SEGMENTS = 4, SIZE = 100 };

/* Four segments of ten offsets and a hundred bytes, the last active; timestamps 1000, 2000 ... ms.
 */
static struct retention_segment segments[SEGMENTS];

static struct retention_decision decide(int64_t ms, int64_t bytes, int64_t hw, int64_t now_ms,
                                        int64_t start)
{
    const struct log_conf conf = {
        .retention_ms = ms, .retention_bytes = bytes, .cleanup_delete = true};
    const struct retention_input in = {.segments = segments,
                                       .count = SEGMENTS,
                                       .start_offset = start,
                                       .high_watermark = hw,
                                       .now_ms = now_ms};
    return retention_decide(&conf, &in);
}

static int setup(void **state)
{
    (void)state;
    for (int64_t i = 0; i < SEGMENTS; i++)
        segments[i] = (struct retention_segment){.base_offset = 10 * i,
                                                 .next_offset = 10 * i + 10,
                                                 .max_timestamp = 1000 * (i + 1),
                                                 .size_bytes = SIZE,
                                                 .quiet_ms = INT64_MAX};
    return 0;
}

static void retention_keeps_all_without_limits(void **state)
{
    (void)state;
    const struct retention_decision d = decide(-1, -1, 40, INT64_MAX, 0);
    assert_int_equal(d.start_offset, 0);
    assert_false(d.roll_active);
}

static void retention_goes_by_age(void **state)
{
    (void)state;
    static const struct {
        int64_t now_ms, start;
        bool roll;
    } cases[] = {{1500, 0, false},  {1501, 10, false}, {2500, 10, false},
                 {3501, 30, false}, {4500, 30, false}, {4501, 30, true}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct retention_decision d = decide(500, -1, 40, cases[i].now_ms, 0);
        assert_int_equal(d.start_offset, cases[i].start);
        assert_int_equal(d.roll_active, cases[i].roll);
    }
}

static void retention_goes_by_size(void **state)
{
    (void)state;
    static const struct {
        int64_t bytes, start;
    } cases[] = {{400, 0}, {399, 0}, {301, 0}, {300, 10}, {299, 10}, {200, 20}, {100, 30}, {0, 30}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(decide(-1, cases[i].bytes, 40, 0, 0).start_offset, cases[i].start);
}

static void retention_stays_below_the_high_watermark(void **state)
{
    (void)state;
    for (int64_t hw = 0; hw <= 40; hw++) {
        const struct retention_decision d = decide(0, 0, hw, INT64_MAX, 0);
        assert_true(d.start_offset <= hw);
        assert_int_equal(d.start_offset, hw >= 30 ? 30 : hw / 10 * 10);
        assert_int_equal(d.roll_active, hw == 40);
    }
}

static void retention_takes_what_is_below_the_start(void **state)
{
    (void)state;
    assert_int_equal(decide(-1, -1, 40, 0, 25).start_offset, 25);
    assert_int_equal(decide(-1, 150, 40, 0, 15).start_offset, 20);
}

static void retention_does_not_follow_a_clock_that_jumps(void **state)
{
    (void)state;
    for (int i = 0; i < SEGMENTS; i++)
        segments[i].quiet_ms = i == 0 ? 600 : 400;
    assert_int_equal(decide(500, -1, 40, INT64_MAX, 0).start_offset, 10);
    segments[0].max_timestamp = INT64_MIN; /* not known: not old */
    assert_int_equal(decide(500, -1, 40, INT64_MAX, 0).start_offset, 0);
    setup(NULL);
    segments[0].max_timestamp = INT64_MAX; /* a producer's mistake */
    assert_int_equal(decide(500, -1, 40, INT64_MAX, 0).start_offset, 0);
    segments[0].max_timestamp = INT64_MIN + 1;
    assert_int_equal(decide(500, -1, 40, 0, 0).start_offset, 10);
}

static void retention_is_off_for_compacted_topics(void **state)
{
    (void)state;
    const struct log_conf conf = {.retention_ms = 0, .retention_bytes = 0};
    const struct retention_input in = {
        .segments = segments, .count = SEGMENTS, .high_watermark = 40, .now_ms = INT64_MAX};
    assert_int_equal(retention_decide(&conf, &in).start_offset, 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(retention_keeps_all_without_limits, setup),
        cmocka_unit_test_setup(retention_goes_by_age, setup),
        cmocka_unit_test_setup(retention_goes_by_size, setup),
        cmocka_unit_test_setup(retention_stays_below_the_high_watermark, setup),
        cmocka_unit_test_setup(retention_takes_what_is_below_the_start, setup),
        cmocka_unit_test_setup(retention_does_not_follow_a_clock_that_jumps, setup),
        cmocka_unit_test_setup(retention_is_off_for_compacted_topics, setup),
    };
    return TEST_MAIN(tests, NULL, NULL);
}
