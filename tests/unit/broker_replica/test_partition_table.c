/* SPDX-License-Identifier: Apache-2.0 */
/* Images become partitions that open, change and go. */
#include "tests/unit/broker_replica/table_world.h"

static int setup_dirs(void **state, size_t dirs)
{
    struct table_world *f = MEM_NEW(struct table_world);
    table_world_init(f, dirs);
    *state = f;
    return 0;
}

static int setup(void **state)
{
    return setup_dirs(state, 1);
}

static int setup_two(void **state)
{
    return setup_dirs(state, 2);
}

static int teardown(void **state)
{
    table_world_deinit(*state);
    mem_free(*state);
    return 0;
}

/* --- coming -------------------------------------------------------------------------- */

static void a_topic_opens(void **state)
{
    struct table_world *f = *state;
    struct partition *p;
    assert_err(look(f, 1, 0), E_NOT_READY); /* no image yet */
    assert_null(partition_table_image(f->table));
    apply_topic(f, 1, &ours);
    const uint32_t opening = partition_table_version(f->table);
    assert_err(look(f, 1, 0), E_NOT_READY);
    assert_int_equal(f->settled, 0);
    world_settle(&f->w);
    assert_int_not_equal(partition_table_version(f->table), opening);
    assert_int_equal(f->settled, 1);
    assert_int_equal(f->settled_version, 1);
    assert_ok(find(f, 1, 1, &p));
    assert_string_equal(partition_identity(p)->topic, "topic-1");
    assert_int_equal(partition_identity(p)->partition, 1);
    partition_unref(p);
    assert_ok(produce(f, 1, 0));
    assert_int_equal(dirs_on_disk(f), 2);
}

static void partitions_are_found_by_name_and_by_id(void **state)
{
    struct table_world *f = *state;
    const struct uuid id = id_of(1), wrong = id_of(3), unknown = id_of(2);
    const struct shape theirs = {
        .partitions = 1, .leader = OTHER, .incarnation = 3, .replica = OTHER};
    struct partition *p;
    apply_topic(f, 1, &ours);
    apply_topic(f, 3, &theirs);
    world_settle(&f->w);
    const struct slice name = slice_str("topic-1"), none = {0};
    const struct slice right_id = slice_of(id.bytes, 16), wrong_id = slice_of(wrong.bytes, 16);
    const struct slice unknown_id = slice_of(unknown.bytes, 16);
    const struct {
        struct partition_name name;
        err expected;
    } cases[] = {
        {{name, none, 0}, OK},
        {{none, right_id, 1}, OK},
        {{name, right_id, 1}, OK},
        {{name, wrong_id, 0}, E_INCONSISTENT_TOPIC_ID},
        {{none, unknown_id, 0}, E_UNKNOWN_TOPIC_ID},
        {{slice_str("nobody"), none, 0}, E_UNKNOWN_TOPIC_OR_PARTITION},
        {{name, none, 2}, E_UNKNOWN_TOPIC_OR_PARTITION},
        {{name, none, UINT32_MAX}, E_UNKNOWN_TOPIC_OR_PARTITION},
        {{slice_str("topic-3"), none, 0}, E_NOT_LEADER},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const err e = partition_table_find(f->table, &cases[i].name, &p);
        assert_err(e, cases[i].expected);
        if (e == OK)
            partition_unref(p);
    }
    assert_int_equal(dirs_on_disk(f), 2); /* nothing of the other broker's */
}

static void logs_on_disk_are_opened_not_made(void **state)
{
    struct table_world *f = *state;
    struct shape again = ours;
    apply_topic(f, 1, &ours);
    world_settle(&f->w);
    assert_ok(produce(f, 1, 0));
    world_settle(&f->w);
    restart(f, FAKE_KILL);
    again.leader_epoch = 1;
    again.incarnation = LIFE;
    apply_topic(f, 1, &again);
    assert_int_equal(f->settled, 2); /* at once: no log had to be created */
    struct partition *p;
    struct partition_ends ends;
    assert_ok(find(f, 1, 0, &p));
    partition_ends(p, &ends);
    partition_unref(p);
    assert_int_equal(ends.log_end_offset, 1);
    assert_int_equal(ends.leader_epoch, 1);
}

static void partitions_are_added(void **state)
{
    struct table_world *f = *state;
    struct shape more = ours;
    apply_topic(f, 1, &ours);
    world_settle(&f->w);
    more.partitions = 5;
    apply_topic(f, 1, &more);
    assert_ok(produce(f, 1, 1)); /* those that were there are not disturbed */
    assert_err(look(f, 1, 4), E_NOT_READY);
    world_settle(&f->w);
    for (uint32_t i = 0; i < 5; i++)
        assert_ok(produce(f, 1, i));
}

/* --- roles --------------------------------------------------------------------------- */

static void an_election_of_an_earlier_life_is_not_ours(void **state)
{
    struct table_world *f = *state;
    struct shape s = ours;
    s.incarnation = LIFE - 1;
    apply_topic(f, 1, &s);
    world_settle(&f->w);
    assert_err(produce(f, 1, 0), E_NOT_LEADER);
    s.leader_epoch = 1;
    s.incarnation = LIFE + 1; /* registered again meanwhile: the same process */
    apply_topic(f, 1, &s);
    assert_ok(produce(f, 1, 0));
    s.leader_epoch = 2;
    s.leader = NO_BROKER;
    apply_topic(f, 1, &s);
    assert_err(produce(f, 1, 0), E_LEADER_NOT_AVAILABLE);
}

static void a_partition_that_was_moved_away_does_not_lead(void **state)
{
    struct table_world *f = *state;
    struct shape s = ours;
    apply_topic(f, 1, &s);
    world_settle(&f->w);
    s.replica = s.leader = OTHER;
    s.leader_epoch = 1;
    apply_topic(f, 1, &s);
    assert_err(produce(f, 1, 0), E_NOT_LEADER);
    assert_int_equal(dirs_on_disk(f), 2); /* rule E4: nothing is deleted for that */
}

/* --- going ------------------------------------------------------------------------------ */

static void a_deleted_topic_ends_its_waits_and_then_its_logs(void **state)
{
    struct table_world *f = *state;
    struct partition *p;
    struct partition_appended done;
    struct wait x;
    bool parked = false;
    apply_topic(f, 1, &ours);
    world_settle(&f->w);
    assert_ok(find(f, 1, 0, &p));
    assert_ok(append(p, 1, true, -1, &done));
    wait_begin(&f->w, &x);
    assert_ok(partition_wait_confirmed(p, &x.waiter, &x.group, 1, done.leader_epoch, &parked));
    assert_true(parked);

    apply_deletion(f, 1);
    assert_err(look(f, 1, 0), E_UNKNOWN_TOPIC_OR_PARTITION);
    assert_err(append(p, 1, true, -1, &done), E_UNKNOWN_TOPIC_OR_PARTITION);
    assert_int_equal(f->deleted_count, 0); /* not before it is durable */
    pass(&f->w, 1);
    assert_int_equal(x.fired, 1);
    assert_err(x.waiter.result, E_UNKNOWN_TOPIC_OR_PARTITION);
    world_settle(&f->w);
    assert_int_equal(f->deleted_count, 1);
    assert_int_equal(dirs_on_disk(f), 0);
    partition_unref(p);
}

static void nothing_is_deleted_without_a_tombstone_that_waits_for_us(void **state)
{
    struct table_world *f = *state;
    static const int32_t others[] = {OTHER};
    const struct uuid id = id_of(1);
    apply_topic(f, 1, &ours);
    world_settle(&f->w);
    struct cluster_edit *e = edit(f);
    cluster_edit_drop_topic(e, &id);
    apply(f, e);
    world_settle(&f->w);
    assert_int_equal(dirs_on_disk(f), 2);
    e = edit(f);
    add_tombstone(e, 1, others, 1);
    apply(f, e);
    world_settle(&f->w);
    assert_int_equal(dirs_on_disk(f), 2);
    assert_int_equal(f->deleted_count, 0);
}

static void a_tombstone_of_another_life_is_honoured(void **state)
{
    struct table_world *f = *state;
    static const int32_t waiting[] = {ME};
    apply_topic(f, 1, &ours);
    world_settle(&f->w);
    restart(f, FAKE_LOSE_ALL);
    assert_int_equal(dirs_on_disk(f), 2);
    struct cluster_edit *e = edit(f);
    add_tombstone(e, 1, waiting, 1);
    apply(f, e);
    world_settle(&f->w);
    assert_int_equal(dirs_on_disk(f), 0);
    assert_int_equal(f->deleted_count, 1);
}

static void a_deletion_waits_for_a_creation_under_way(void **state)
{
    struct table_world *f = *state;
    apply_topic(f, 1, &ours);
    pass(&f->w, WORK_US / 2);
    apply_deletion(f, 1);
    assert_int_equal(f->deleted_count, 0);
    world_settle(&f->w);
    assert_int_equal(f->deleted_count, 1);
    assert_int_equal(dirs_on_disk(f), 0);
    assert_int_equal(log_manager_count(f->w.logs), 0);
    assert_int_equal(f->settled_version, 2);
}

static void a_deletion_is_confirmed_once_and_when_it_is_durable(void **state)
{
    struct table_world *f = *state;
    static const int32_t waiting[] = {ME};
    apply_topic(f, 1, &ours);
    world_settle(&f->w);
    apply_deletion(f, 1);
    struct cluster_edit *e = edit(f);
    add_tombstone(e, 1, waiting, 1); /* the other broker has confirmed meanwhile */
    apply(f, e);
    assert_int_equal(f->deleted_count, 0);
    world_settle(&f->w);
    assert_int_equal(f->deleted_count, 1);
}

/* --- what fails -------------------------------------------------------------------------- */

static void a_creation_without_space_is_tried_again(void **state)
{
    struct table_world *f = *state;
    fake_fsio_set_full(f->w.fs, true);
    apply_topic(f, 1, &ours);
    world_settle(&f->w);
    assert_err(look(f, 1, 0), E_NO_SPACE);
    assert_int_equal(f->settled, 1);
    pass(&f->w, 12 * SECOND_US);
    assert_err(look(f, 1, 0), E_NO_SPACE);
    fake_fsio_set_full(f->w.fs, false);
    pass(&f->w, 12 * SECOND_US);
    assert_ok(produce(f, 1, 0));
    assert_ok(produce(f, 1, 1));
}

static void fence(struct table_world *f, uint8_t topic)
{
    assert_ok(produce(f, topic, 0));
    fail_from(&f->w, 0, FAKE_FAIL);
    world_settle(&f->w);
    assert_int_equal(f->w.failed_dirs, 1);
}

static void without_a_directory_creations_fail_at_once(void **state)
{
    struct table_world *f = *state;
    apply_topic(f, 1, &ours);
    world_settle(&f->w);
    fence(f, 1);
    apply_topic(f, 2, &ours);
    assert_err(look(f, 2, 0), E_STORAGE);
    assert_err(look(f, 2, 1), E_STORAGE);
    assert_int_equal(f->settled_version, 2);
    partition_table_reconfigure(f->table);
    assert_err(look(f, 2, 0), E_STORAGE);
    assert_err(produce(f, 1, 0), E_STORAGE);
    assert_ok(look(f, 1, 0));
}

static void an_empty_log_takes_no_other_ones_place(void **state)
{
    struct table_world *f = *state;
    struct shape s = ours;
    s.partitions = 4;
    apply_topic(f, 1, &s);
    world_settle(&f->w);
    for (uint32_t i = 0; i < s.partitions; i++)
        assert_ok(produce(f, 1, i));
    world_settle(&f->w);
    close_table(f);
    world_close(&f->w);
    fake_fsio_crash(f->w.fs, FAKE_KILL, &f->w.rng);
    /* One of the two directories cannot be opened any more. */
    const char *operation;
    fail_from(&f->w, 2, FAKE_FAIL);
    world_open(&f->w);
    assert_true(fake_fsio_has_faulted(f->w.fs, &operation));
    assert_string_equal(operation, "mkdir");
    assert_int_equal(f->w.failed_dirs, 1);
    open_table(f);
    s.leader_epoch = 1;
    apply_topic(f, 1, &s);
    apply_topic(f, 2, &ours);
    world_settle(&f->w);
    unsigned missing = 0;
    for (uint32_t i = 0; i < s.partitions; i++) {
        const err e = produce(f, 1, i);
        missing += e == E_STORAGE;
        assert_true(e == OK || e == E_STORAGE);
    }
    assert_int_equal(missing, 2);
    assert_ok(produce(f, 2, 0)); /* what is new finds room */
}

static void a_log_that_is_gone_begins_anew_if_no_directory_is_missing(void **state)
{
    struct table_world *f = *state;
    struct shape s = ours;
    s.leader_epoch = 4;
    apply_topic(f, 1, &s);
    world_settle(&f->w);
    assert_ok(produce(f, 1, 0));
}

/* --- configs ---------------------------------------------------------------------------- */

static struct admit_rules rules_of(struct table_world *f, uint8_t n)
{
    struct partition *p;
    assert_ok(find(f, n, 0, &p));
    const struct admit_rules rules = partition_rules(p);
    partition_unref(p);
    return rules;
}

static struct log_conf log_conf_of(struct table_world *f, uint8_t n)
{
    const struct uuid id = id_of(n);
    struct log *g = log_manager_find(f->w.logs, &id, 0);
    log_lock(g);
    const struct log_conf conf = *log_get_conf(g);
    log_unlock(g);
    return conf;
}

static void configs_reach_partitions_while_they_run(void **state)
{
    struct table_world *f = *state;
    static const struct property set[] = {{"cleanup.policy", "compact,delete"},
                                          {"compression.type", "zstd"},
                                          {"durability", "page-cache"},
                                          {"max.message.bytes", "1234"},
                                          {"message.timestamp.after.max.ms", "77"},
                                          {"message.timestamp.before.max.ms", "66"},
                                          {"message.timestamp.type", "LogAppendTime"},
                                          {"retention.bytes", "55"},
                                          {"retention.ms", "44"},
                                          {"segment.bytes", "2097152"},
                                          {"segment.ms", "33"}};
    struct shape s = ours;
    apply_topic(f, 1, &s);
    world_settle(&f->w);
    struct admit_rules rules = rules_of(f, 1);
    const struct uuid id = id_of(1);
    assert_memory_equal(&rules.topic_id, &id, sizeof id);
    assert_int_equal(rules.partition, 0);
    assert_false(rules.keys_required || rules.has_codec || rules.log_append_time);
    assert_true(log_conf_of(f, 1).fsync);
    assert_false(log_conf_of(f, 1).cleanup_compact);

    s.configs = set;
    s.config_count = sizeof set / sizeof set[0];
    apply_topic(f, 1, &s);
    rules = rules_of(f, 1);
    assert_int_equal(rules.batch_bytes_max, 1234);
    assert_int_equal(rules.timestamp_after_ms_max, 77);
    assert_int_equal(rules.timestamp_before_ms_max, 66);
    assert_true(rules.log_append_time && rules.keys_required && rules.has_codec);
    assert_int_equal(rules.codec, CODEC_ZSTD);
    const struct log_conf conf = log_conf_of(f, 1);
    assert_false(conf.fsync);
    assert_true(conf.cleanup_compact && conf.cleanup_delete);
    assert_int_equal(conf.retention_bytes, 55);
    assert_int_equal(conf.retention_ms, 44);
    assert_int_equal(conf.segment_bytes, 2097152);
    assert_int_equal(conf.segment_ms, 33);
}

static void compression_types_are_codecs(void **state)
{
    struct table_world *f = *state;
    static const struct {
        const char *type;
        bool has_codec;
        enum batch_codec codec;
    } cases[] = {{"producer", false, CODEC_NONE}, {"uncompressed", true, CODEC_NONE},
                 {"gzip", true, CODEC_GZIP},      {"snappy", true, CODEC_SNAPPY},
                 {"lz4", true, CODEC_LZ4},        {"zstd", true, CODEC_ZSTD}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct property set = {"compression.type", cases[i].type};
        struct shape s = ours;
        s.configs = &set;
        s.config_count = 1;
        apply_topic(f, 1, &s);
        world_settle(&f->w);
        const struct admit_rules rules = rules_of(f, 1);
        assert_int_equal(rules.has_codec, cases[i].has_codec);
        if (rules.has_codec)
            assert_int_equal(rules.codec, cases[i].codec);
    }
}

static void new_defaults_reach_topics_that_set_nothing(void **state)
{
    struct table_world *f = *state;
    static const struct property set[] = {{"max.message.bytes", "1234"}};
    struct shape s = ours;
    apply_topic(f, 1, &s);
    s.configs = set;
    s.config_count = 1;
    apply_topic(f, 2, &s);
    world_settle(&f->w);
    f->defaults.v[TOPIC_MAX_MESSAGE_BYTES] = 999;
    assert_int_not_equal(rules_of(f, 1).batch_bytes_max, 999);
    const uint32_t before = partition_table_version(f->table);
    partition_table_reconfigure(f->table);
    assert_int_not_equal(partition_table_version(f->table), before);
    assert_int_equal(rules_of(f, 1).batch_bytes_max, 999);
    assert_int_equal(rules_of(f, 2).batch_bytes_max, 1234);
}

/* --- the end ------------------------------------------------------------------------------- */

static void stopping_refuses_first_and_then_tells_all(void **state)
{
    struct table_world *f = *state;
    struct partition *p;
    struct partition_appended done;
    struct wait x;
    bool parked = false;
    apply_topic(f, 1, &ours);
    world_settle(&f->w);
    assert_ok(find(f, 1, 0, &p));
    assert_ok(append(p, 1, true, -1, &done));
    wait_begin(&f->w, &x);
    assert_ok(partition_wait_confirmed(p, &x.waiter, &x.group, 2, done.leader_epoch, &parked));
    assert_true(parked);
    const uint32_t before = partition_table_version(f->table);
    partition_table_refuse(f->table);
    assert_int_not_equal(partition_table_version(f->table), before);
    assert_err(look(f, 1, 0), E_SHUTTING_DOWN);
    assert_int_equal(partition_table_waiting(f->table), 1);
    assert_ok(append(p, 1, true, -1, &done)); /* who has it may finish */
    world_settle(&f->w);
    assert_int_equal(x.fired, 1);
    assert_err(x.waiter.result, OK);
    assert_int_equal(partition_table_waiting(f->table), 0);

    wait_begin(&f->w, &x);
    assert_ok(partition_wait_readable(p, &x.waiter, &x.group, 2, &parked));
    partition_table_stop(f->table);
    pass(&f->w, 1);
    assert_err(x.waiter.result, E_SHUTTING_DOWN);
    assert_int_equal(x.fired, 1);
    apply_topic(f, 2, &ours); /* too late */
    partition_table_reconfigure(f->table);
    assert_err(look(f, 2, 0), E_SHUTTING_DOWN);
    partition_unref(p);
}

static void stopping_while_logs_are_made(void **state)
{
    struct table_world *f = *state;
    apply_topic(f, 1, &ours);
    pass(&f->w, WORK_US / 2);
    partition_table_stop(f->table);
    world_settle(&f->w);
    assert_int_equal(f->settled, 0);
    assert_err(look(f, 1, 0), E_SHUTTING_DOWN);
}

/*
 * Goal: whatever order topics come, grow, change and go in, and however far the workers have got,
 * the table ends up with what the latest image says, and the disk with nothing else.
 * Method: random changes at random moments; then all may end. Images are skipped at times, as a
 * slow follower does (rule C5).
 */
static void any_order_of_images_ends_as_the_latest_says(void **state)
{
    struct table_world *f = *state;
    struct rng *rng = &f->w.rng;
    uint32_t partitions[TOPICS_MAX] = {0}; /* 0: not there */
    bool is_dead[TOPICS_MAX] = {0};
    struct cluster_edit *e = edit(f);
    for (int step = 0; step < 200; step++) {
        const uint8_t n = (uint8_t)rng_below(rng, TOPICS_MAX);
        if (partitions[n] > 0 && rng_below(rng, 3) == 0) {
            static const int32_t waiting[] = {ME};
            const struct uuid id = id_of(n);
            cluster_edit_drop_topic(e, &id);
            add_tombstone(e, n, waiting, 1);
            partitions[n] = 0;
            is_dead[n] = true;
        } else if (!is_dead[n]) {
            struct shape s = ours;
            partitions[n] += partitions[n] < 8 ? 1 + (uint32_t)rng_below(rng, 2) : 0;
            partitions[n] = partitions[n] < 8 ? partitions[n] : 8;
            s.partitions = partitions[n];
            cluster_edit_topic(e, make_topic(n, &s));
        }
        if (rng_below(rng, 4) == 0)
            continue; /* the next image has both */
        apply(f, e);
        e = edit(f);
        pass(&f->w, (int64_t)rng_below(rng, 3 * WORK_US));
    }
    apply(f, e);
    world_settle(&f->w);

    unsigned expected = 0, gone = 0;
    for (uint8_t n = 0; n < TOPICS_MAX; n++) {
        for (uint32_t i = 0; i < partitions[n]; i++)
            assert_ok(produce(f, n, i));
        assert_err(look(f, n, partitions[n]), E_UNKNOWN_TOPIC_OR_PARTITION);
        expected += partitions[n];
        gone += is_dead[n];
    }
    assert_int_equal(dirs_on_disk(f), expected);
    assert_int_equal(log_manager_count(f->w.logs), expected);
    assert_int_equal(f->deleted_count, gone);
    assert_int_equal(f->settled_version, f->version);
}

int main(int argc, char **argv)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_topic_opens),
        T(partitions_are_found_by_name_and_by_id),
        T(logs_on_disk_are_opened_not_made),
        T(partitions_are_added),
        T(an_election_of_an_earlier_life_is_not_ours),
        T(a_partition_that_was_moved_away_does_not_lead),
        T(a_deleted_topic_ends_its_waits_and_then_its_logs),
        T(nothing_is_deleted_without_a_tombstone_that_waits_for_us),
        T(a_tombstone_of_another_life_is_honoured),
        T(a_deletion_waits_for_a_creation_under_way),
        T(a_deletion_is_confirmed_once_and_when_it_is_durable),
        T(a_creation_without_space_is_tried_again),
        T(without_a_directory_creations_fail_at_once),
        cmocka_unit_test_setup_teardown(an_empty_log_takes_no_other_ones_place, setup_two,
                                        teardown),
        T(a_log_that_is_gone_begins_anew_if_no_directory_is_missing),
        T(configs_reach_partitions_while_they_run),
        T(compression_types_are_codecs),
        T(new_defaults_reach_topics_that_set_nothing),
        T(stopping_refuses_first_and_then_tells_all),
        T(stopping_while_logs_are_made),
        T(any_order_of_images_ends_as_the_latest_says),
    };
    return TEST_MAIN(tests, NULL, NULL);
}
