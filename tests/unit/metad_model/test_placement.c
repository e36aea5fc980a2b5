/* SPDX-License-Identifier: Apache-2.0 */
#include "metad/model/placement.h"

#include <stdio.h>
#include <string.h>

#include "proto/base/mem.h"
#include "tests/support/test.h"

enum { BROKERS_MAX = 12, PARTITIONS_MAX = 200, FACTOR_MAX = 5 };

static uint32_t spread(const struct placement_broker *brokers, size_t count, bool of_leaders)
{
    uint32_t least = UINT32_MAX;
    uint32_t most = 0;
    for (size_t i = 0; i < count; i++) {
        const uint32_t n = of_leaders ? brokers[i].leaders : brokers[i].replicas;
        least = n < least ? n : least;
        most = n > most ? n : most;
    }
    return most - least;
}

static void make_brokers(struct placement_broker *brokers, size_t count, size_t racks)
{
    static const char *const names[] = {"a", "b", "c", "d", "e"};
    for (size_t i = 0; i < count; i++)
        brokers[i] = (struct placement_broker){.id = (int32_t)(10 + i),
                                               .rack = racks > 0 ? names[i % racks] : ""};
}

static const struct placement_broker *by_id(const struct placement_broker *brokers, size_t count,
                                            int32_t id)
{
    for (size_t i = 0; i < count; i++)
        if (brokers[i].id == id)
            return &brokers[i];
    fail_msg("broker %d was never offered", id);
    return NULL;
}

/* Goal: whatever the shape of the cluster, no broker holds a partition twice, counts stay level,
 * and racks are all used before one is used twice. Method: random shapes, several topics one after
 * the other. */
static void any_cluster_is_filled_evenly(void **state)
{
    (void)state;
    struct rng r = test_rng();
    for (int round = 0; round < 300; round++) {
        const size_t count = 1 + rng_below(&r, BROKERS_MAX);
        const size_t racks = rng_below(&r, 2) ? 1 + rng_below(&r, 5) : 0;
        const bool has_even_racks = racks == 0 || count % racks == 0;
        struct placement_broker brokers[BROKERS_MAX];
        int32_t out[PARTITIONS_MAX * FACTOR_MAX];
        make_brokers(brokers, count, racks);
        for (int topic = 0; topic < 4; topic++) {
            const uint32_t partitions = 1 + (uint32_t)rng_below(&r, PARTITIONS_MAX);
            uint32_t factor = 1 + (uint32_t)rng_below(&r, FACTOR_MAX);
            if (factor > count)
                factor = (uint32_t)count;
            assert_ok(placement_assign(brokers, count, partitions, factor, rng_u64(&r), out));
            for (uint32_t p = 0; p < partitions; p++) {
                const int32_t *row = &out[p * factor];
                size_t racks_used = 0;
                for (uint32_t i = 0; i < factor; i++) {
                    const struct placement_broker *b = by_id(brokers, count, row[i]);
                    bool is_first_of_rack = true;
                    for (uint32_t k = 0; k < i; k++) {
                        assert_int_not_equal(row[k], row[i]);
                        is_first_of_rack &=
                            strcmp(by_id(brokers, count, row[k])->rack, b->rack) != 0;
                    }
                    racks_used += is_first_of_rack;
                }
                const size_t racks_there = racks < count ? racks : count;
                if (racks > 0)
                    assert_int_equal(racks_used, factor < racks_there ? factor : racks_there);
            }
            /* Racks of different sizes cannot be level. */
            if (has_even_racks) {
                assert_true(spread(brokers, count, false) <= (racks > 1 ? 2 : 1));
                /* Levelling replicas comes first; leaders follow as far as that leaves a choice. */
                assert_true(spread(brokers, count, true) <= 4);
            }
        }
    }
}

static void the_emptiest_broker_gets_new_partitions(void **state)
{
    (void)state;
    struct placement_broker brokers[] = {
        {.id = 1, .rack = "", .replicas = 100, .leaders = 50},
        {.id = 2, .rack = "", .replicas = 100, .leaders = 50},
        {.id = 3, .rack = "", .replicas = 0, .leaders = 0},
    };
    int32_t out[10];
    assert_ok(placement_assign(brokers, 3, 10, 1, 7, out));
    for (int i = 0; i < 10; i++)
        assert_int_equal(out[i], 3);
}

static void where_equals_begin_is_the_callers_choice(void **state)
{
    (void)state;
    struct placement_broker brokers[3];
    int32_t first, second;
    make_brokers(brokers, 3, 0);
    assert_ok(placement_assign(brokers, 3, 1, 1, 0, &first));
    make_brokers(brokers, 3, 0);
    assert_ok(placement_assign(brokers, 3, 1, 1, 1, &second));
    assert_int_not_equal(first, second);
}

static void more_replicas_than_brokers_are_refused(void **state)
{
    (void)state;
    struct placement_broker brokers[2];
    int32_t out[3];
    make_brokers(brokers, 2, 0);
    assert_err(placement_assign(brokers, 2, 1, 3, 0, out), E_INVALID_REPLICATION_FACTOR);
    assert_err(placement_assign(brokers, 2, 1, 0, 0, out), E_INVALID_REPLICATION_FACTOR);
    assert_err(placement_assign(brokers, 0, 1, 1, 0, out), E_INVALID_REPLICATION_FACTOR);
    assert_int_equal(brokers[0].replicas + brokers[1].replicas, 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_cluster_is_filled_evenly),
        cmocka_unit_test(the_emptiest_broker_gets_new_partitions),
        cmocka_unit_test(where_equals_begin_is_the_callers_choice),
        cmocka_unit_test(more_replicas_than_brokers_are_refused),
    };
    return TEST_MAIN(tests, NULL, NULL);
}
