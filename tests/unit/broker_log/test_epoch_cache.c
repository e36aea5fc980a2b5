/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/test.h"

#include "broker/log/checkpoint.h"
#include "broker/log/epoch_cache.h"

static void assert_entries(const struct epoch_cache *c, const struct epoch_entry *e, size_t count)
{
    assert_int_equal(c->count, count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(c->entries[i].epoch, e[i].epoch);
        assert_int_equal(c->entries[i].start_offset, e[i].start_offset);
    }
}

static struct epoch_cache three(void)
{
    struct epoch_cache c = {0};
    epoch_cache_begin(&c, 0, 0);
    epoch_cache_begin(&c, 3, 10);
    epoch_cache_begin(&c, 5, 20);
    return c;
}

static void epochs_without_batches_go_when_the_next_begins(void **state)
{
    (void)state;
    struct epoch_cache c = three();
    epoch_cache_begin(&c, 6, 30);
    epoch_cache_begin(&c, 7, 30);
    epoch_cache_begin(&c, 7, 40); /* known already */
    epoch_cache_begin(&c, 2, 50); /* an older one */
    const struct epoch_entry want[] = {{0, 0}, {3, 10}, {5, 20}, {7, 30}};
    assert_entries(&c, want, 4);
    epoch_cache_deinit(&c);
}

static void epochs_answer_where_they_end(void **state)
{
    (void)state;
    struct epoch_cache c = three();
    static const struct {
        int32_t asked, epoch;
        int64_t end;
    } cases[] = {{0, 0, 10}, {1, 0, 10}, {2, 0, 10}, {3, 3, 20},
                 {4, 3, 20}, {5, 5, 25}, {9, 5, 25}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct epoch_entry e;
        assert_true(epoch_cache_end_of(&c, cases[i].asked, 25, &e));
        assert_int_equal(e.epoch, cases[i].epoch);
        assert_int_equal(e.start_offset, cases[i].end);
    }
    struct epoch_entry e;
    assert_false(epoch_cache_end_of(&c, -1, 25, &e));
    assert_int_equal(epoch_cache_at(&c, 9), 0);
    assert_int_equal(epoch_cache_at(&c, 10), 3);
    assert_int_equal(epoch_cache_at(&c, 1000), 5);
    epoch_cache_deinit(&c);
}

static void epochs_are_cut_at_both_ends(void **state)
{
    (void)state;
    struct epoch_cache c = three();
    epoch_cache_truncate(&c, 20);
    const struct epoch_entry cut[] = {{0, 0}, {3, 10}};
    assert_entries(&c, cut, 2);
    epoch_cache_raise_start(&c, 5);
    const struct epoch_entry raised[] = {{0, 5}, {3, 10}};
    assert_entries(&c, raised, 2);
    epoch_cache_raise_start(&c, 15);
    const struct epoch_entry alone[] = {{3, 15}};
    assert_entries(&c, alone, 1);
    epoch_cache_truncate(&c, 0);
    assert_int_equal(epoch_cache_last(&c), -1);
    epoch_cache_deinit(&c);
}

static void epochs_are_written_once_they_are_flushed(void **state)
{
    (void)state;
    struct epoch_cache c = three();
    struct buf b = {0};
    assert_false(epoch_cache_needs_write(&c, 0));
    assert_true(epoch_cache_needs_write(&c, 1));
    epoch_cache_format(&c, 15, &b);
    checkpoint_end(&b);
    assert_false(epoch_cache_needs_write(&c, 15));
    assert_false(epoch_cache_needs_write(&c, 20));
    assert_true(epoch_cache_needs_write(&c, 21));

    struct slice body;
    struct epoch_cache back = {0};
    int64_t valid_to;
    assert_ok(checkpoint_parse(buf_slice(&b), EPOCH_FILE, 1, &body));
    assert_ok(epoch_cache_parse(&back, body, &valid_to));
    assert_int_equal(valid_to, 15);
    const struct epoch_entry want[] = {{0, 0}, {3, 10}};
    assert_entries(&back, want, 2);
    assert_false(epoch_cache_needs_write(&back, INT64_MAX));
    epoch_cache_truncate(&back, 10);
    assert_true(epoch_cache_needs_write(&back, 0)); /* the file says more */
    epoch_cache_deinit(&back);
    epoch_cache_deinit(&c);
    buf_deinit(&b);
}

static void epochs_out_of_order_are_not_believed(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "valid_to\n",
                                      "valid_to -1\n",
                                      "valid 1\n",
                                      "valid_to 9\n1 0\n1 5\n",
                                      "valid_to 9\n2 0\n1 5\n",
                                      "valid_to 9\n1 5\n2 5\n",
                                      "valid_to 9\n1 5 6\n",
                                      "valid_to 9\n-1 5\n"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct epoch_cache c = {0};
        int64_t valid_to;
        assert_err(epoch_cache_parse(&c, slice_str(bad[i]), &valid_to), E_CORRUPT);
        assert_int_equal(c.count, 0);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(epochs_without_batches_go_when_the_next_begins),
        cmocka_unit_test(epochs_answer_where_they_end),
        cmocka_unit_test(epochs_are_cut_at_both_ends),
        cmocka_unit_test(epochs_are_written_once_they_are_flushed),
        cmocka_unit_test(epochs_out_of_order_are_not_believed),
    };
    return TEST_MAIN(tests, NULL, NULL);
}
