/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/test.h"

#include "broker/log/names.h"

static void names_of_partitions_are_read_back(void **state)
{
    (void)state;
    static const char *const topics[] = {"a", "a.b-c_d", "x-1", "-", "..."};
    for (size_t i = 0; i < sizeof topics / sizeof topics[0]; i++) {
        const struct log_identity id = {
            .topic = topics[i], .partition = 4294967295u, .topic_id = {{0xde, 0xad, 0xbe, 0x0f}}};
        char name[PARTITION_NAME_MAX];
        struct partition_name p;
        assert_true(partition_name_parse(partition_name(name, &id), &p));
        assert_string_equal(p.topic, topics[i]);
        assert_int_equal(p.partition, 4294967295u);
        assert_memory_equal(p.id_prefix, id.topic_id.bytes, 4);
    }
}

static void names_of_others_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "a",
                                      "a-1",
                                      "a-1.0000000",
                                      "a-1.000000000",
                                      "a-1.0000000g",
                                      "a-1.0000000A",
                                      "-1.00000000",
                                      "a-.00000000",
                                      "a-01.00000000",
                                      "a-4294967296.00000000",
                                      "a-1x.00000000",
                                      "a-1.00000000.deleted",
                                      "meta",
                                      "points"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct partition_name p;
        if (partition_name_parse(bad[i], &p))
            fail_msg("%s was taken", bad[i]);
    }
    char longest[TOPIC_NAME_MAX + 32];
    struct partition_name p;
    memset(longest, 'x', sizeof longest);
    strcpy(longest + TOPIC_NAME_MAX, "-1.00000000");
    assert_true(partition_name_parse(longest, &p));
    memset(longest, 'x', sizeof longest);
    strcpy(longest + TOPIC_NAME_MAX + 1, "-1.00000000");
    assert_false(partition_name_parse(longest, &p));
}

static void names_of_segments_are_read_back(void **state)
{
    (void)state;
    static const int64_t bases[] = {0, 1, 1234567890123, INT64_MAX};
    for (size_t i = 0; i < sizeof bases / sizeof bases[0]; i++) {
        for (int k = 0; k < SEGMENT_FILE_KINDS; k++) {
            char name[SEGMENT_NAME_MAX];
            int64_t base;
            enum segment_file kind;
            segment_name(name, bases[i], (enum segment_file)k);
            assert_true(segment_name_parse(name, &base, &kind));
            assert_int_equal(base, bases[i]);
            assert_int_equal(kind, k);
        }
    }
    int64_t base;
    enum segment_file kind;
    assert_false(segment_name_parse("0000000000000000000.log", &base, &kind));
    assert_false(segment_name_parse("000000000000000000000.log", &base, &kind));
    assert_false(segment_name_parse("09223372036854775808.log", &base, &kind));
    assert_false(segment_name_parse("00000000000000000000.log.deleted", &base, &kind));
    assert_false(segment_name_parse("00000000000000000000", &base, &kind));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_of_partitions_are_read_back),
        cmocka_unit_test(names_of_others_are_refused),
        cmocka_unit_test(names_of_segments_are_read_back),
    };
    return TEST_MAIN(tests, NULL, NULL);
}
