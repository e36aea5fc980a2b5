/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/test.h"

#include "broker/log/points.h"
#include "tests/support/fake_fsio.h"

static struct fake_fsio *fs;
static const struct fsio *io;

static int setup(void **state)
{
    (void)state;
    fs = fake_fsio_new();
    io = fake_fsio_io(fs);
    assert_ok(io->mkdir(io, "/d"));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fake_fsio_free(fs);
    return 0;
}

static struct point make(uint32_t partition, int64_t offset)
{
    return (struct point){.topic_id = {{1, 2, 3}},
                          .partition = partition,
                          .flushed = {.offset = offset, .base = offset / 2, .pos = 77, .epoch = 3},
                          .written = {.offset = offset + 5, .base = 1, .pos = 99, .epoch = 4},
                          .start_offset = offset / 4,
                          .high_watermark = offset};
}

static struct points *open_points(void)
{
    struct points *t;
    assert_ok(points_open(&t, io, "/d"));
    return t;
}

static void points_keep_the_newest_of_each_slot(void **state)
{
    (void)state;
    struct points *t = open_points();
    uint32_t slots[100];
    for (uint32_t i = 0; i < 100; i++) {
        assert_ok(points_take(t, &slots[i]));
        for (int64_t n = 0; n <= i % 5; n++) {
            const struct point p = make(i, i * 100 + n);
            assert_ok(points_put(t, slots[i], &p));
        }
    }
    assert_ok(points_release(t, slots[7]));
    points_close(t);

    t = open_points();
    for (uint32_t i = 0; i < 100; i++) {
        struct point p;
        const struct point want = make(i, i * 100 + i % 5);
        assert_int_equal(points_found(t, slots[i], &p), i != 7);
        if (i != 7)
            assert_memory_equal(&p, &want, sizeof p);
    }
    uint32_t slot;
    assert_ok(points_take(t, &slot));
    assert_int_equal(slot, slots[7]);
    points_close(t);
}

static void points_survive_damage_of_one_copy(void **state)
{
    (void)state;
    struct points *t = open_points();
    uint32_t slot;
    assert_ok(points_take(t, &slot));
    for (int64_t n = 1; n <= 2; n++) {
        const struct point p = make(0, n);
        assert_ok(points_put(t, slot, &p));
    }
    points_close(t);
    static uint8_t image[2 * 4096];
    const struct slice bytes = fake_fsio_get(fs, "/d/" POINTS_FILE);
    assert_true(bytes.size <= sizeof image);
    for (size_t copy = 0; copy < 2; copy++) {
        for (size_t at = 0; at < POINT_SIZE; at++) {
            memset(image, 0, sizeof image);
            memcpy(image, bytes.data, bytes.size);
            image[copy * 4096 + at] ^= 0x40;
            fake_fsio_put(fs, "/e/" POINTS_FILE, slice_of(image, sizeof image));
            assert_ok(points_open(&t, io, "/e"));
            struct point p;
            assert_true(points_found(t, slot, &p));
            assert_int_equal(p.flushed.offset, copy == 0 ? 1 : 2);
            points_close(t);
        }
    }
}

static void points_are_never_ahead_and_never_lost_once_synced(void **state)
{
    (void)state;
    struct rng rng = test_rng();
    for (int round = 0; round < 100; round++) {
        fake_fsio_remove(fs, "/d/" POINTS_FILE);
        struct points *t = open_points();
        uint32_t slot;
        assert_ok(points_take(t, &slot));
        const int64_t synced = 1 + (int64_t)rng_below(&rng, 5);
        const int64_t last = synced + (int64_t)rng_below(&rng, 5);
        for (int64_t n = 1; n <= last; n++) {
            const struct point p = make(0, n);
            assert_ok(points_put(t, slot, &p));
            if (n == synced) {
                assert_ok(points_sync(t));
                assert_ok(io->sync_dir(io, "/d"));
                assert_ok(io->sync_dir(io, "/"));
            }
        }
        points_close(t);
        fake_fsio_crash(fs, FAKE_LOSE_SOME, &rng);
        t = open_points();
        struct point p;
        assert_true(points_found(t, slot, &p));
        assert_in_range(p.flushed.offset, synced, last);
        points_close(t);
    }
}

static void points_refuse_what_cannot_be(void **state)
{
    (void)state;
    uint8_t bytes[POINT_SIZE];
    struct point p = make(1, 8), back;
    uint64_t seq;
    point_encode(&p, 9, bytes);
    assert_ok(point_decode(bytes, &back, &seq));
    assert_int_equal(seq, 9);
    assert_memory_equal(&p, &back, sizeof p);
    p.flushed.base = 9; /* above its own offset */
    point_encode(&p, 9, bytes);
    assert_err(point_decode(bytes, &back, &seq), E_CORRUPT);
    p = make(1, 8);
    p.start_offset = -1;
    point_encode(&p, 9, bytes);
    assert_err(point_decode(bytes, &back, &seq), E_CORRUPT);
    memset(bytes, 0, sizeof bytes);
    assert_err(point_decode(bytes, &back, &seq), E_CORRUPT);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(points_keep_the_newest_of_each_slot, setup, teardown),
        cmocka_unit_test_setup_teardown(points_survive_damage_of_one_copy, setup, teardown),
        cmocka_unit_test_setup_teardown(points_are_never_ahead_and_never_lost_once_synced, setup,
                                        teardown),
        cmocka_unit_test(points_refuse_what_cannot_be),
    };
    return TEST_MAIN(tests, NULL, NULL);
}
