/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/test.h"

#include "broker/log/checkpoint.h"
#include "proto/base/mem.h"
#include "tests/support/fake_fsio.h"

static void checkpoint_is_read_back_only_whole(void **state)
{
    (void)state;
    struct buf b = {0};
    checkpoint_begin(&b, "test", 3);
    buf_append_str(&b, "one 1\ntwo 2\n");
    checkpoint_end(&b);
    struct slice body;
    assert_ok(checkpoint_parse(buf_slice(&b), "test", 3, &body));
    assert_slice_equal(body, slice_str("one 1\ntwo 2\n"));
    assert_err(checkpoint_parse(buf_slice(&b), "other", 3, &body), E_CORRUPT);
    assert_err(checkpoint_parse(buf_slice(&b), "test", 2, &body), E_UNSUPPORTED_VERSION);
    for (size_t size = 0; size < b.size; size++)
        assert_err(checkpoint_parse(slice_of(b.data, size), "test", 3, &body), E_CORRUPT);
    for (size_t bit = 0; bit < 8 * b.size; bit++) {
        b.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_err(checkpoint_parse(buf_slice(&b), "test", 3, &body), E_CORRUPT);
        b.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    buf_append_str(&b, "\n");
    assert_err(checkpoint_parse(buf_slice(&b), "test", 3, &body), E_CORRUPT);
    buf_deinit(&b);
}

static void words_stick_at_the_first_mistake(void **state)
{
    (void)state;
    struct slice body = slice_str("7 -7 x\n00ff 12\n\n9223372036854775808\n1 \nab");
    struct words w;
    assert_true(words_line(&body, &w));
    assert_int_equal(words_i64(&w, 0, 10), 7);
    assert_int_equal(words_i64(&w, -10, 10), -7);
    assert_slice_equal(words_next(&w), slice_str("x"));
    assert_ok(words_end(&w));
    assert_int_equal(words_i64(&w, 3, 10), 3);
    assert_err(words_end(&w), E_CORRUPT);
    assert_true(words_line(&body, &w));
    words_hex32(&w); /* too short */
    assert_int_equal(words_i64(&w, 0, 100), 0);
    assert_err(words_end(&w), E_CORRUPT);
    assert_true(words_line(&body, &w));
    assert_ok(words_end(&w));
    assert_true(words_line(&body, &w));
    words_i64(&w, 0, INT64_MAX);
    assert_err(words_end(&w), E_CORRUPT);
    assert_true(words_line(&body, &w));
    assert_int_equal(words_i64(&w, 0, 1), 1);
    assert_true(words_line(&body, &w));
    assert_slice_equal(words_next(&w), slice_str("ab"));
    assert_false(words_line(&body, &w));
}

static void checkpoint_is_old_or_new_after_any_crash(void **state)
{
    (void)state;
    struct rng rng = test_rng();
    for (int round = 0; round < 200; round++) {
        struct fake_fsio *w = fake_fsio_new();
        const struct fsio *io = fake_fsio_io(w);
        struct buf b = {0};
        assert_ok(io->mkdir(io, "/d"));
        assert_ok(io->sync_dir(io, "/"));
        checkpoint_begin(&b, "t", 1);
        buf_append_str(&b, "old\n");
        assert_ok(checkpoint_write(io, "/d", "f", &b));
        buf_clear(&b);
        checkpoint_begin(&b, "t", 1);
        for (int i = 0; i < 200; i++)
            buf_append_str(&b, "new\n");
        fake_fsio_fault_at(w, fake_fsio_ops(w) + rng_below(&rng, 6), FAKE_DIE);
        const err written = checkpoint_write(io, "/d", "f", &b);
        const bool was_reported = written == OK && !fake_fsio_is_dead(w);
        buf_deinit(&b);
        fake_fsio_crash(w, FAKE_LOSE_SOME, &rng);
        char *data;
        struct slice body;
        assert_ok(checkpoint_read(io, "/d", "f", "t", 1, &data, &body));
        const bool is_new = body.data[0] == 'n';
        assert_int_equal(body.size, is_new ? 800 : 4);
        assert_true(is_new || !was_reported);
        mem_free(data);
        fake_fsio_free(w);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(checkpoint_is_read_back_only_whole),
        cmocka_unit_test(words_stick_at_the_first_mistake),
        cmocka_unit_test(checkpoint_is_old_or_new_after_any_crash),
    };
    return TEST_MAIN(tests, NULL, NULL);
}
