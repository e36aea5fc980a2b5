/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/replica/waitq.h"
#include "tests/support/test.h"

static struct loop *loop;
static int fired_count;

static void on_fired(struct mail *m)
{
    (void)m;
    fired_count++;
}

static int setup(void **state)
{
    struct loop_backend *backend;
    (void)state;
    assert_ok(loop_epoll_backend(&backend));
    loop = loop_new(backend, "test");
    fired_count = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    loop_free(loop);
    return 0;
}

static void completes_in_order_and_only_what_was_reached(void **state)
{
    (void)state;
    enum { N = 50 };
    struct waitq q = {0};
    struct waiter w[N] = {0};
    struct wait_group g[N];
    struct wait_fired fired = {0};
    struct rng rng = test_rng();
    int64_t offset[N];
    for (int i = 0; i < N; i++) {
        offset[i] = (int64_t)rng_below(&rng, 20);
        wait_group_init(&g[i], loop, on_fired, 1);
        waitq_add(&q, &w[i], &g[i], offset[i]);
    }
    for (int64_t reached = -1; reached < 21; reached++) {
        waitq_complete_to(&q, reached, &fired);
        int expected = 0;
        for (int i = 0; i < N; i++) {
            assert_int_equal(wait_group_has_fired(&g[i]), offset[i] <= reached);
            expected += offset[i] > reached;
        }
        assert_int_equal(q.count, expected);
    }
    assert_int_equal(fired_count, 0); /* nothing is told before it is posted */
    wait_fired_post(&fired);
    loop_turn(loop, 0);
    assert_int_equal(fired_count, N);
}

static void group_fires_once_when_all_or_any_completed(void **state)
{
    (void)state;
    struct waitq q = {0};
    struct wait_fired fired = {0};
    struct waiter all[3] = {0}, any[3] = {0};
    struct wait_group of_all, of_any;
    wait_group_init(&of_all, loop, on_fired, 3);
    wait_group_init(&of_any, loop, on_fired, 1);
    for (int i = 0; i < 3; i++) {
        waitq_add(&q, &all[i], &of_all, i);
        waitq_add(&q, &any[i], &of_any, i);
    }
    waitq_complete_to(&q, 0, &fired);
    assert_true(wait_group_has_fired(&of_any));
    assert_false(wait_group_has_fired(&of_all));
    waitq_complete_all(&q, E_NOT_LEADER, &fired);
    assert_true(wait_group_has_fired(&of_all));
    assert_err(all[0].result, OK);
    assert_err(all[2].result, E_NOT_LEADER);
    wait_fired_post(&fired);
    loop_turn(loop, 0);
    assert_int_equal(fired_count, 2);
    assert_false(waitq_remove(&all[0]));
}

static void removed_waiter_never_completes(void **state)
{
    (void)state;
    struct waitq q = {0};
    struct wait_fired fired = {0};
    struct waiter w[3] = {0};
    struct wait_group g;
    wait_group_init(&g, loop, on_fired, 4);
    for (int i = 0; i < 3; i++)
        waitq_add(&q, &w[i], &g, i);
    assert_true(waitq_remove(&w[1]));
    assert_false(waitq_remove(&w[1]));
    waitq_complete_to(&q, 10, &fired);
    assert_false(wait_group_has_fired(&g));
    wait_group_release(&g); /* for the removed one */
    assert_false(wait_group_has_fired(&g));
    wait_group_release(&g); /* for the arming */
    assert_true(wait_group_has_fired(&g));
    loop_turn(loop, 0);
    assert_int_equal(fired_count, 1);
}

int main(int argc, char **argv)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(completes_in_order_and_only_what_was_reached),
        T(group_fires_once_when_all_or_any_completed),
        T(removed_waiter_never_completes),
    };
    return TEST_MAIN(tests, NULL, NULL);
}
