/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/test.h"

#include "tests/unit/broker_log/log_world.h"

static struct world w;

static int setup(void **state)
{
    (void)state;
    world_init(&w, 1);
    assert_ok(world_start(&w));
    assert_ok(world_create(&w, 0));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    world_deinit(&w);
    return 0;
}

static void log_assigns_offsets_and_reads_back(void **state)
{
    (void)state;
    struct log *g = world_log(&w, 0);
    int64_t offset, expected = 0;
    for (uint32_t i = 0; i < 100; i++) {
        assert_ok(world_append(g, i % 5 + 1, 50, 1000 + i, i, 3, &offset));
        assert_int_equal(offset, expected);
        expected += i % 5 + 1;
    }
    assert_int_equal(log_end_offset(g), expected);
    assert_true(log_segment_count(g) > 5);
    const char *why = "";
    if (!world_read_all(g, NULL, NULL, &why))
        fail_msg("%s", why);
}

static void log_appends_a_row_in_one_write(void **state)
{
    (void)state;
    struct log *g = world_log(&w, 0);
    static struct made_batch m[8];
    struct log_batch batches[8];
    int64_t offset;
    for (uint32_t i = 0; i < 8; i++) {
        make_batch(&m[i], 2, 20, 5, i);
        batches[i] = m[i].batch;
    }
    assert_ok(world_append(g, 1, 10, 1, 1, 1, &offset));
    const uint64_t before = fake_fsio_ops(w.fs);
    log_lock(g);
    assert_ok(log_append(g, batches, 8, 1, &offset));
    log_unlock(g);
    assert_int_equal(fake_fsio_ops(w.fs) - before, 1);
    assert_int_equal(offset, 1);
    assert_int_equal(log_end_offset(g), 17);
}

static void log_raises_flushed_end_only_by_a_flush(void **state)
{
    (void)state;
    struct log *g = world_log(&w, 0);
    int64_t offset;
    assert_ok(world_append(g, 10, 10, 1, 1, 1, &offset));
    assert_int_equal(log_flushed_offset(g), 0);
    assert_ok(world_flush(&w));
    assert_int_equal(log_flushed_offset(g), 10);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(log_assigns_offsets_and_reads_back, setup, teardown),
        cmocka_unit_test_setup_teardown(log_appends_a_row_in_one_write, setup, teardown),
        cmocka_unit_test_setup_teardown(log_raises_flushed_end_only_by_a_flush, setup, teardown),
    };
    return TEST_MAIN(tests, NULL, NULL);
}
