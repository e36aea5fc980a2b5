/* SPDX-License-Identifier: Apache-2.0 */
#include "metad/coord/paths.h"

#include <string.h>

#include "tests/support/test.h"

static void names_of_topics_go_both_ways(void **state)
{
    (void)state;
    struct rng r = test_rng();
    for (int i = 0; i < 100; i++) {
        const struct uuid id = rng_uuid(&r);
        struct uuid back;
        const struct path p = path_of_topic(&id);
        assert_memory_equal(p.text, "/topics/", 8);
        assert_ok(path_parse_topic(p.text + 8, &back));
        assert_memory_equal(&id, &back, sizeof id);
    }
}

static void names_of_brokers_go_both_ways(void **state)
{
    (void)state;
    static const int32_t ids[] = {0, 1, 42, INT32_MAX};
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        int32_t back;
        assert_ok(path_parse_broker(strrchr(path_of_broker(ids[i]).text, '/') + 1, &back));
        assert_int_equal(back, ids[i]);
    }
    assert_string_equal(path_of_broker_epoch(7).text, "/brokers/epoch/7");
    assert_string_equal(path_of_broker_configs(7).text, "/configs/brokers/7");
}

static void other_names_are_refused(void **state)
{
    (void)state;
    static const char *const brokers[] = {"", "-1", "01", "1a", " 1", "2147483648", "99999999999"};
    static const char *const topics[] = {
        "",
        "0123456789abcdef0123456789abcde",
        "0123456789abcdef0123456789abcdef0",
        "0123456789ABCDEF0123456789abcdef",
        "0123456789abcdef0123456789abcdeg",
    };
    int32_t id;
    struct uuid topic;
    for (size_t i = 0; i < sizeof brokers / sizeof brokers[0]; i++)
        assert_err(path_parse_broker(brokers[i], &id), E_CORRUPT);
    for (size_t i = 0; i < sizeof topics / sizeof topics[0]; i++)
        assert_err(path_parse_topic(topics[i], &topic), E_CORRUPT);
}

static void parents_of_the_skeleton_come_first(void **state)
{
    (void)state;
    for (unsigned i = 0; i < paths_skeleton_count; i++) {
        const char *path = paths_skeleton[i];
        const size_t above = (size_t)(strrchr(path, '/') - path);
        bool is_there = above == 0;
        for (unsigned k = 0; k < i; k++)
            is_there |=
                strlen(paths_skeleton[k]) == above && memcmp(paths_skeleton[k], path, above) == 0;
        assert_true(is_there);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_of_topics_go_both_ways),
        cmocka_unit_test(names_of_brokers_go_both_ways),
        cmocka_unit_test(other_names_are_refused),
        cmocka_unit_test(parents_of_the_skeleton_come_first),
    };
    return TEST_MAIN(tests, NULL, NULL);
}
