/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/test.h"

#include <string.h>

#include "clients/lib/accumulator.h"
#include "proto/wire/batch.h"

enum { LANES = 3, CHUNK = 1024 };

struct bench {
    struct settings settings;
    struct accumulator a;
    struct lane lanes[LANES];
    bool wake;
};

static struct bench *bench_new(int64_t linger_us, size_t memory, int32_t retries, bool has_opaques)
{
    struct bench *b = MEM_NEW(struct bench);
    b->settings.producer.batch_size = CHUNK;
    b->settings.producer.buffer_memory = memory;
    b->settings.producer.linger_us = linger_us;
    b->settings.producer.inflight_max = 5;
    b->settings.producer.retries = retries;
    b->settings.producer.acks = -1;
    accumulator_init(&b->a, &b->settings, has_opaques);
    for (int i = 0; i < LANES; i++)
        b->lanes[i].partition = i;
    return b;
}

static err add(struct bench *b, int lane, size_t value_size, uintptr_t opaque, int64_t now_us)
{
    static const uint8_t value[CHUNK * 4];
    const struct record r = {.value = slice_of(value, value_size)};
    size_t size;
    b->wake = false;
    if (accumulator_add(&b->a, &b->lanes[lane], &r, 1000, (void *)opaque, &size))
        return OK;
    return accumulator_open(&b->a, &b->lanes[lane], &r, 1000, (void *)opaque, now_us, &size,
                            &b->wake);
}

static void end(struct bench *b, struct parcel *first, size_t count)
{
    struct lane *lane = first->lane;
    accumulator_finish(&b->a, lane, first, count);
    struct parcel *done = accumulator_collect(&b->a, lane);
    while (done) {
        struct parcel *next = done->next;
        accumulator_release(&b->a, done);
        done = next;
    }
}

static void bench_free(struct bench *b)
{
    b->a.flushing = 1;
    accumulator_make_due(&b->a, 0);
    accumulator_unblock_all(&b->a);
    for (struct lane *lane; (lane = accumulator_next_ready(&b->a));) {
        struct parcel *first;
        size_t size;
        const size_t count = accumulator_take(&b->a, lane, SIZE_MAX, &first, &size);
        end(b, first, count);
    }
    accumulator_deinit(&b->a);
    mem_free(b);
}

static void the_sender_is_woken_only_when_there_is_news(void **state)
{
    (void)state;
    struct bench *b = bench_new(5000, 1 << 20, 10, true);
    assert_ok(add(b, 0, 100, 0, 0));
    assert_true(b->wake); /* linger is to be armed */
    assert_ok(add(b, 0, 100, 1, 10));
    assert_false(b->wake);
    assert_ok(add(b, 1, 100, 2, 20));
    assert_false(b->wake); /* due after the first, which is armed */
    unsigned wakes = 0, records = 2;
    for (; wakes == 0; records++) {
        assert_ok(add(b, 0, 100, 3, 30));
        wakes += b->wake;
    }
    assert_in_range(records, 5, 10); /* full */
    assert_ptr_equal(b->a.ready.first, &b->lanes[0]);
    /* Under way: another full one is no news, for the answer is waited for. */
    struct parcel *first;
    size_t size;
    struct lane *lane = accumulator_next_ready(&b->a);
    assert_int_equal(accumulator_take(&b->a, lane, SIZE_MAX, &first, &size), 1);
    for (int i = 0; i < 20; i++) {
        assert_ok(add(b, 0, 100, 4, 40));
        assert_false(b->wake);
    }
    assert_null(accumulator_next_ready(&b->a));
    end(b, first, 1);
    assert_ptr_equal(b->a.ready.first, &b->lanes[0]);
    bench_free(b);
}

static void linger_makes_due_in_order_of_age(void **state)
{
    (void)state;
    struct bench *b = bench_new(5000, 1 << 20, 10, false);
    assert_int_equal(accumulator_next_due_us(&b->a), INT64_MAX);
    assert_ok(add(b, 2, 10, 0, 100));
    assert_ok(add(b, 1, 10, 0, 200));
    assert_int_equal(accumulator_next_due_us(&b->a), 5100);
    accumulator_make_due(&b->a, 5099);
    assert_null(b->a.ready.first);
    accumulator_make_due(&b->a, 5100);
    assert_ptr_equal(b->a.ready.first, &b->lanes[2]);
    assert_int_equal(accumulator_next_due_us(&b->a), 5200);
    /* A due parcel goes on filling until it is taken. */
    assert_ok(add(b, 2, 10, 0, 6000));
    struct parcel *first;
    size_t size;
    assert_int_equal(
        accumulator_take(&b->a, accumulator_next_ready(&b->a), SIZE_MAX, &first, &size), 1);
    assert_int_equal(first->record_count, 2);
    end(b, first, 1);
    bench_free(b);
}

static void memory_is_never_exceeded_and_comes_back(void **state)
{
    (void)state;
    enum { MEMORY = 8 * CHUNK };
    struct bench *b = bench_new(5000, MEMORY, 10, true);
    struct rng rng = test_rng();
    for (int round = 0; round < 2000; round++) {
        const int lane = (int)rng_below(&rng, LANES);
        const size_t size =
            rng_below(&rng, 10) == 0 ? CHUNK + rng_below(&rng, 2 * CHUNK) : rng_below(&rng, 300);
        const err e = add(b, lane, size, 0, round);
        assert_in_range(b->a.used + b->a.cached, 0, MEMORY);
        if (e == OK)
            continue;
        assert_err(e, E_WOULD_BLOCK);
        b->a.starving++;
        accumulator_make_due(&b->a, 0);
        struct lane *ready = accumulator_next_ready(&b->a);
        assert_non_null(ready); /* who starves is helped by sending what is there */
        struct parcel *first;
        size_t bytes;
        const size_t count =
            accumulator_take(&b->a, ready, 1 + rng_below(&rng, 4 * CHUNK), &first, &bytes);
        b->a.starving--;
        end(b, first, count);
    }
    bench_free(b);
    b = bench_new(0, 2 * CHUNK, 10, true);
    assert_err(add(b, 0, 3 * CHUNK, 0, 0), E_MESSAGE_TOO_LARGE);
    bench_free(b);
}

static void many_lanes_share_the_memory(void **state)
{
    /* Goal: more lanes than memory has batches still fill batches of many records. */
    (void)state;
    enum { MANY = 400, ROUNDS = 10, MEMORY = 4 << 20 };
    struct bench *b = bench_new(5000, MEMORY, 10, true);
    b->settings.producer.batch_size = 128 << 10;
    accumulator_init(&b->a, &b->settings, true);
    struct lane *lanes = mem_zalloc(MANY * sizeof *lanes);
    static const uint8_t value[100];
    const struct record r = {.value = slice_of(value, sizeof value)};
    for (int i = 0; i < ROUNDS * MANY; i++) {
        size_t size;
        struct lane *lane = &lanes[i % MANY];
        if (!accumulator_add(&b->a, lane, &r, 1, NULL, &size))
            assert_ok(accumulator_open(&b->a, lane, &r, 1, NULL, i, &size, &b->wake));
        assert_in_range(b->a.used + b->a.cached, 0, MEMORY);
    }
    assert_int_equal(b->a.lanes_in_use, MANY);
    for (int i = 0; i < MANY; i++)
        assert_int_equal(lanes[i].first->record_count, ROUNDS);
    b->a.flushing = 1;
    accumulator_make_due(&b->a, 0);
    for (struct lane *lane; (lane = accumulator_next_ready(&b->a));) {
        struct parcel *first;
        size_t size;
        const size_t count = accumulator_take(&b->a, lane, SIZE_MAX, &first, &size);
        end(b, first, count);
    }
    assert_int_equal(b->a.lanes_in_use, 0);
    accumulator_deinit(&b->a);
    mem_free(lanes);
    mem_free(b);
}

static void given_back_parcels_are_in_front(void **state)
{
    (void)state;
    struct bench *b = bench_new(0, 1 << 20, 10, true);
    for (uintptr_t i = 0; i < 40; i++)
        assert_ok(add(b, 0, 100, i, 0));
    struct parcel *first, *again;
    size_t size;
    struct lane *lane = accumulator_next_ready(&b->a);
    const size_t count = accumulator_take(&b->a, lane, 2 * CHUNK, &first, &size);
    assert_int_equal(count, 2);
    assert_null(accumulator_next_ready(&b->a)); /* one request at a time */
    accumulator_give_back(&b->a, lane, first, count);
    assert_ptr_equal(accumulator_next_ready(&b->a), lane);
    assert_int_equal(accumulator_take(&b->a, lane, SIZE_MAX, &again, &size), lane->count);
    assert_ptr_equal(again, first);
    assert_int_equal(again->attempts, 2);
    /* The opaque pointers are there, in order. */
    uintptr_t expected = 0;
    for (const struct parcel *p = again; p; p = p->next) {
        for (uint32_t i = 0; i < p->record_count; i++)
            assert_int_equal((uintptr_t)parcel_opaque(p, i), expected++);
    }
    assert_int_equal(expected, 40);
    end(b, again, lane->count);
    bench_free(b);
}

static void without_retries_lanes_overlap_and_end_in_order(void **state)
{
    (void)state;
    struct bench *b = bench_new(0, 1 << 20, 0, true);
    for (uintptr_t i = 0; i < 40; i++)
        assert_ok(add(b, 0, 100, i, 0));
    struct lane *lane = &b->lanes[0];
    struct parcel *taken[5];
    size_t size;
    for (int i = 0; i < 5; i++) {
        assert_ptr_equal(accumulator_next_ready(&b->a), lane);
        assert_int_equal(accumulator_take(&b->a, lane, 1, &taken[i], &size), 1);
        accumulator_consider(&b->a, lane);
    }
    /* The third is answered first: nothing is told before the two in front. */
    accumulator_finish(&b->a, lane, taken[2], 1);
    assert_null(accumulator_collect(&b->a, lane));
    accumulator_finish(&b->a, lane, taken[0], 1);
    struct parcel *done = accumulator_collect(&b->a, lane);
    assert_ptr_equal(done, taken[0]);
    assert_null(done->next);
    accumulator_release(&b->a, done);
    accumulator_finish(&b->a, lane, taken[1], 1);
    done = accumulator_collect(&b->a, lane);
    assert_ptr_equal(done, taken[1]);
    assert_ptr_equal(done->next, taken[2]);
    accumulator_release(&b->a, taken[1]);
    accumulator_release(&b->a, taken[2]);
    end(b, taken[3], 1);
    end(b, taken[4], 1);
    bench_free(b);
}

static void parcels_marked_solo_go_alone(void **state)
{
    (void)state;
    struct bench *b = bench_new(0, 1 << 20, 10, true);
    for (uintptr_t i = 0; i < 30; i++)
        assert_ok(add(b, 0, 100, i, 0));
    struct lane *lane = accumulator_next_ready(&b->a);
    lane->solo_below = lane->first->next->next->seq;
    struct parcel *first;
    size_t size;
    assert_int_equal(accumulator_take(&b->a, lane, SIZE_MAX, &first, &size), 1);
    end(b, first, 1);
    assert_int_equal(
        accumulator_take(&b->a, accumulator_next_ready(&b->a), SIZE_MAX, &first, &size), 1);
    end(b, first, 1);
    assert_int_equal(
        accumulator_take(&b->a, accumulator_next_ready(&b->a), SIZE_MAX, &first, &size),
        lane->count);
    end(b, first, lane->count);
    bench_free(b);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_sender_is_woken_only_when_there_is_news),
        cmocka_unit_test(linger_makes_due_in_order_of_age),
        cmocka_unit_test(memory_is_never_exceeded_and_comes_back),
        cmocka_unit_test(many_lanes_share_the_memory),
        cmocka_unit_test(given_back_parcels_are_in_front),
        cmocka_unit_test(without_retries_lanes_overlap_and_end_in_order),
        cmocka_unit_test(parcels_marked_solo_go_alone),
    };
    return TEST_MAIN(tests, NULL, NULL);
}
