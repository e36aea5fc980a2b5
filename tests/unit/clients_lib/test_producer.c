/* SPDX-License-Identifier: Apache-2.0 */
/* The producer against a fake cluster: what arrives, in which order, and what is told. */
#include "tests/unit/clients_lib/world.h"

#include <stdlib.h>

static struct teller teller;

/* Everything once, in order, and told so. */
static void check_all(struct world *w, const struct fake_partition *p, size_t count)
{
    uintptr_t *log = mem_alloc((count + 1) * sizeof *log);
    assert_int_equal(world_log(w, p, log, count + 1), count);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(log[i], i);
    mem_free(log);
    assert_int_equal(teller.count, count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(teller.all[i].code, 0);
        assert_int_equal(teller.all[i].number, i);
        assert_int_equal(teller.all[i].offset, i);
    }
}

static void records_arrive_in_order_and_are_told(void **state)
{
    struct world *w = *state;
    struct fake_topic *t = fake_cluster_topic(w->fc, "t", 1);
    sluice_config_set(w->config, "batch.size", "1024");
    sluice_producer *p = world_producer(w, &teller);
    for (uintptr_t i = 0; i < 1000; i++)
        world_send(w, p, "t", 0, i);
    assert_sluice(w, sluice_producer_flush(p, 10000, &w->error));
    check_all(w, &t->partitions[0], 1000);
    struct sluice_producer_stats stats;
    sluice_producer_stats(p, &stats);
    assert_int_equal(stats.records_sent, 1000);
    assert_int_equal(stats.records_acked, 1000);
    assert_int_equal(stats.memory_used, 0);
    assert_true(stats.batches > 10);
    assert_sluice(w, sluice_producer_close(p, 1000, &w->error));
}

static void every_codec_arrives(void **state)
{
    struct world *w = *state;
    static const char *const codecs[] = {"gzip", "snappy", "lz4", "zstd"};
    for (size_t i = 0; i < 4; i++) {
        struct fake_topic *t = fake_cluster_topic(w->fc, codecs[i], 1);
        memset(&teller, 0, sizeof teller);
        sluice_config_set(w->config, "compression.type", codecs[i]);
        sluice_producer *p = world_producer(w, &teller);
        for (uintptr_t k = 0; k < 500; k++)
            world_send(w, p, codecs[i], 0, k);
        assert_sluice(w, sluice_producer_close(p, 10000, &w->error));
        check_all(w, &t->partitions[0], 500);
        struct batch b;
        assert_ok(batch_read_canonical(buf_slice(&t->partitions[0].log), &b));
        assert_int_equal(b.attributes & BATCH_CODEC_MASK, i + 1);
    }
}

static void linger_batches_and_ends(void **state)
{
    struct world *w = *state;
    struct fake_topic *t = fake_cluster_topic(w->fc, "t", 1);
    sluice_config_set(w->config, "linger.ms", "20");
    sluice_producer *p = world_producer(w, &teller);
    world_send(w, p, "t", 0, 0);
    const int64_t sent_us = fake_world_now_us(w->w);
    world_send(w, p, "t", 0, 1);
    fake_world_run(w->w, 19000);
    assert_int_equal(t->partitions[0].high, 0);
    world_until(w, teller.count == 2);
    assert_in_range(fake_world_now_us(w->w) - sent_us, 20000, 22000);
    assert_int_equal(t->partitions[0].produces, 1);
    assert_sluice(w, sluice_producer_close(p, 1000, &w->error));
}

static void no_linger_sends_at_once(void **state)
{
    struct world *w = *state;
    fake_cluster_topic(w->fc, "t", 1);
    sluice_config_set(w->config, "linger.ms", "0");
    sluice_producer *p = world_producer(w, &teller);
    int32_t count;
    assert_sluice(w, sluice_producer_partitions(p, "t", 1000, &count, &w->error));
    assert_int_equal(count, 1);
    world_send(w, p, "t", 0, 0);
    world_until(w, teller.count == 1);
    const int64_t sent_us = fake_world_now_us(w->w);
    world_send(w, p, "t", 0, 1);
    world_until(w, teller.count == 2);
    assert_in_range(fake_world_now_us(w->w) - sent_us, 0, 1500);
    assert_sluice(w, sluice_producer_close(p, 1000, &w->error));
}

static void retries_keep_order(void **state)
{
    /* Goal: whatever fails in passing, records of a partition are stored once per acknowledgement
     * and in order. Method: errors that did nothing strike every few produces while records keep
     * coming. */
    struct world *w = *state;
    struct fake_topic *t = fake_cluster_topic(w->fc, "t", 2);
    static const err passing[] = {E_NOT_ENOUGH_REPLICAS, E_NO_SPACE, E_TIMED_OUT,
                                  E_OVERLOADED,          E_STORAGE,  E_CORRUPT};
    sluice_config_set(w->config, "batch.size", "1024");
    sluice_config_set(w->config, "linger.ms", "1");
    sluice_config_set(w->config, "retry.backoff.max.ms", "100");
    sluice_producer *p = world_producer(w, &teller);
    struct rng rng = test_rng();
    for (uintptr_t i = 0; i < 3000; i++) {
        if (i % 50 == 0)
            fake_cluster_fault(w->fc, false, &t->partitions[0], FAKE_ERROR,
                               passing[rng_below(&rng, 6)], (unsigned)rng_below(&rng, 3));
        world_send(w, p, "t", 0, i);
        if (i % 20 == 0)
            fake_world_run(w->w, (int64_t)rng_below(&rng, 3000));
    }
    assert_sluice(w, sluice_producer_flush(p, 60000, &w->error));
    check_all(w, &t->partitions[0], 3000);
    assert_int_equal(fake_cluster_most_under_way(w->fc), 1);
    struct sluice_producer_stats stats;
    sluice_producer_stats(p, &stats);
    assert_true(stats.retries > 0);
    assert_sluice(w, sluice_producer_close(p, 1000, &w->error));
}

static void without_retries_requests_overlap(void **state)
{
    struct world *w = *state;
    struct fake_topic *t = fake_cluster_topic(w->fc, "t", 1);
    sluice_config_set(w->config, "batch.size", "1024");
    sluice_config_set(w->config, "max.request.size", "1024");
    sluice_config_set(w->config, "retries", "0");
    fake_cluster_delay(w->fc, 5000);
    sluice_producer *p = world_producer(w, &teller);
    for (uintptr_t i = 0; i < 1000; i++)
        world_send(w, p, "t", 0, i);
    assert_sluice(w, sluice_producer_flush(p, 60000, &w->error));
    check_all(w, &t->partitions[0], 1000);
    assert_int_equal(fake_cluster_most_under_way(w->fc), 5);
    /* And a failure is final. */
    fake_cluster_fault(w->fc, false, NULL, FAKE_ERROR, E_NOT_ENOUGH_REPLICAS, 1);
    world_send(w, p, "t", 0, 1000);
    assert_int_equal(sluice_producer_flush(p, 60000, &w->error), SLUICE_E_NOT_ENOUGH_REPLICAS);
    assert_int_equal(w->error.error_class, SLUICE_CLASS_RETRY);
    assert_non_null(strstr(w->error.text, "topic t partition 0"));
    assert_non_null(strstr(w->error.text, "broker 1 at 127.0.0.1:7001"));
    assert_sluice(w, sluice_producer_close(p, 1000, &w->error));
}

static void lost_answers_are_at_least_once(void **state)
{
    struct world *w = *state;
    struct fake_topic *t = fake_cluster_topic(w->fc, "t", 1);
    static const enum fake_fault faults[] = {FAKE_DONE_AND_HANG_UP, FAKE_DONE_AND_SILENT,
                                             FAKE_DONE_AND_ERROR};
    sluice_config_set(w->config, "request.timeout.ms", "500");
    sluice_config_set(w->config, "linger.ms", "0");
    sluice_producer *p = world_producer(w, &teller);
    for (uintptr_t i = 0; i < 3; i++) {
        fake_cluster_fault(w->fc, false, NULL, faults[i], E_NOT_ENOUGH_REPLICAS_AFTER_APPEND, 1);
        world_send(w, p, "t", 0, i);
        assert_sluice(w, sluice_producer_flush(p, 60000, &w->error));
        assert_int_equal(teller.count, i + 1);
        assert_int_equal(teller.all[i].code, 0);
    }
    uintptr_t log[10];
    assert_int_equal(world_log(w, &t->partitions[0], log, 10), 6);
    for (size_t i = 0; i < 6; i++)
        assert_int_equal(log[i], i / 2);
    assert_sluice(w, sluice_producer_close(p, 1000, &w->error));
}

static void new_leaders_are_found(void **state)
{
    struct world *w = *state;
    struct fake_topic *t = fake_cluster_topic(w->fc, "t", 1);
    struct fake_partition *q = &t->partitions[0];
    sluice_config_set(w->config, "batch.size", "1024");
    sluice_producer *p = world_producer(w, &teller);
    for (uintptr_t i = 0; i < 2000; i++) {
        /* Told by metadata's watch, by NOT_LEADER with a hint, or with none at all for a while. */
        if (i % 300 == 100)
            fake_cluster_move(w->fc, q, q->leader % 3 + 1, i % 200 == 100);
        if (i == 1500)
            fake_cluster_move(w->fc, q, -1, true);
        if (i == 1700)
            fake_cluster_move(w->fc, q, 2, true);
        world_send(w, p, "t", 0, i);
        fake_world_run(w->w, 200);
    }
    assert_sluice(w, sluice_producer_flush(p, 60000, &w->error));
    check_all(w, q, 2000);
    assert_sluice(w, sluice_producer_close(p, 1000, &w->error));
}

static void a_broker_comes_back(void **state)
{
    struct world *w = *state;
    struct fake_topic *t = fake_cluster_topic(w->fc, "t", 2); /* led by 1 and 2 */
    sluice_config_set(w->config, "linger.ms", "1");
    sluice_producer *p = world_producer(w, &teller);
    world_send(w, p, "t", 1, 0);
    assert_sluice(w, sluice_producer_flush(p, 60000, &w->error));
    world_stop_broker(w, 1);
    for (uintptr_t i = 1; i < 100; i++)
        world_send(w, p, "t", 1, i);
    assert_int_equal(sluice_producer_flush(p, 2000, &w->error), SLUICE_E_TIMED_OUT);
    /* Another id at the same place takes over the partition. */
    w->brokers[1] = fake_broker_new(w->fc, w->servers, 7002);
    fake_cluster_move(w->fc, &t->partitions[1], fake_broker_id(w->brokers[1]), true);
    assert_sluice(w, sluice_producer_flush(p, 60000, &w->error));
    check_all(w, &t->partitions[1], 100);
    assert_sluice(w, sluice_producer_close(p, 1000, &w->error));
}

static void what_is_late_is_given_up(void **state)
{
    struct world *w = *state;
    struct fake_topic *t = fake_cluster_topic(w->fc, "t", 1);
    sluice_config_set(w->config, "delivery.timeout.ms", "3000");
    sluice_config_set(w->config, "request.timeout.ms", "1000");
    sluice_producer *p = world_producer(w, &teller);
    world_send(w, p, "t", 0, 0);
    assert_sluice(w, sluice_producer_flush(p, 60000, &w->error));
    fake_cluster_move(w->fc, &t->partitions[0], -1, true);
    const int64_t sent_us = fake_world_now_us(w->w);
    world_send(w, p, "t", 0, 1);
    assert_int_equal(sluice_producer_flush(p, 60000, &w->error), SLUICE_E_TIMED_OUT);
    assert_in_range(fake_world_now_us(w->w) - sent_us, 3 * SECOND, 3 * SECOND + SECOND / 10);
    assert_non_null(strstr(w->error.text, "delivery.timeout.ms"));
    assert_non_null(strstr(w->error.text, "no leader"));
    assert_int_equal(teller.count, 2);
    assert_int_equal(teller.all[1].code, SLUICE_E_TIMED_OUT);
    /* Told once. */
    assert_sluice(w, sluice_producer_flush(p, 60000, &w->error));
    assert_sluice(w, sluice_producer_close(p, 1000, &w->error));
}

static void one_bad_batch_fails_alone(void **state)
{
    struct world *w = *state;
    struct fake_topic *t = fake_cluster_topic(w->fc, "t", 1);
    sluice_config_set(w->config, "batch.size", "1024");
    fake_cluster_delay(w->fc, 5000);
    sluice_producer *p = world_producer(w, &teller);
    world_send(w, p, "t", 0, 0);
    fake_world_run(w->w, 8000); /* under way: the rest gathers behind it */
    for (uintptr_t i = 1; i < 200; i++)
        world_send(w, p, "t", 0, i);
    /* The request with all of them is refused; then each goes alone, and the second of those is the
     * culprit. */
    world_until(w, teller.count == 1);
    fake_cluster_fault(w->fc, false, NULL, FAKE_ERROR, E_INVALID_RECORD, 1);
    world_until(w, t->partitions[0].produces == 2);
    fake_cluster_fault(w->fc, false, NULL, FAKE_ERROR, E_INVALID_RECORD, 1);
    assert_int_equal(sluice_producer_flush(p, 60000, &w->error), SLUICE_E_INVALID_RECORD);
    assert_int_equal(teller.count, 200);
    assert_true(teller.failed > 0);
    assert_true(teller.failed < 100);
    for (uintptr_t i = 0; i < 200; i++)
        assert_int_equal(teller.all[i].number, i);
    assert_sluice(w, sluice_producer_close(p, 1000, &w->error));
}

static void memory_is_bounded_and_waited_for(void **state)
{
    struct world *w = *state;
    struct fake_topic *t = fake_cluster_topic(w->fc, "t", 8);
    sluice_config_set(w->config, "batch.size", "16384");
    sluice_config_set(w->config, "buffer.memory", "65536");
    sluice_config_set(w->config, "linger.ms", "10000");
    sluice_producer *p = world_producer(w, &teller);
    char value[4000];
    memset(value, 'x', sizeof value);
    const struct sluice_record r = {.topic = "t", .value = value, .value_size = sizeof value};
    struct sluice_producer_stats stats;
    const int64_t begun_us = fake_world_now_us(w->w);
    for (int i = 0; i < 200; i++) {
        assert_sluice(w, sluice_producer_send_to(p, i % 8, &r, 5000, &w->error));
        sluice_producer_stats(p, &stats);
        assert_in_range(stats.memory_used, 1, 65536);
    }
    /* Waiting for memory does not wait for linger. */
    assert_true(stats.memory_waits > 0);
    assert_true(fake_world_now_us(w->w) - begun_us < 5 * SECOND);
    /* Without a leader memory does not come back: the call keeps its deadline. */
    for (int i = 0; i < 8; i++)
        fake_cluster_move(w->fc, &t->partitions[i], -1, true);
    int code = SLUICE_OK;
    int64_t before_us = 0;
    while (code == SLUICE_OK) {
        before_us = fake_world_now_us(w->w);
        code = sluice_producer_send_to(p, 0, &r, 250, &w->error);
    }
    assert_int_equal(code, SLUICE_E_TIMED_OUT);
    assert_non_null(strstr(w->error.text, "buffer.memory"));
    assert_in_range(fake_world_now_us(w->w) - before_us, 250000, 252000);
    before_us = fake_world_now_us(w->w);
    assert_int_equal(sluice_producer_send_to(p, 0, &r, 0, &w->error), SLUICE_E_TIMED_OUT);
    assert_int_equal(fake_world_now_us(w->w), before_us);
    const size_t told = teller.count;
    assert_int_equal(sluice_producer_close(p, 100, &w->error), SLUICE_E_TIMED_OUT);
    assert_true(teller.count > told);
    assert_int_equal(teller.all[teller.count - 1].code, SLUICE_E_CANCELLED);
}

static void large_records_have_their_own_batch(void **state)
{
    struct world *w = *state;
    struct fake_topic *t = fake_cluster_topic(w->fc, "t", 1);
    sluice_config_set(w->config, "batch.size", "2048");
    sluice_config_set(w->config, "max.request.size", "300000");
    sluice_producer *p = world_producer(w, &teller);
    char *value = mem_zalloc(400000);
    struct sluice_record r = {.topic = "t", .value = value, .value_size = 250000};
    for (int i = 0; i < 5; i++)
        assert_sluice(w, sluice_producer_send(p, &r, 5000, &w->error));
    assert_sluice(w, sluice_producer_flush(p, 60000, &w->error));
    assert_int_equal(t->partitions[0].high, 5);
    r.value_size = 400000;
    assert_int_equal(sluice_producer_send(p, &r, 5000, &w->error), SLUICE_E_MESSAGE_TOO_LARGE);
    assert_non_null(strstr(w->error.text, "max.request.size is 300000"));
    mem_free(value);
    assert_sluice(w, sluice_producer_close(p, 1000, &w->error));
}

static void keyless_records_stick_and_move(void **state)
{
    struct world *w = *state;
    struct fake_topic *t = fake_cluster_topic(w->fc, "t", 4);
    sluice_config_set(w->config, "batch.size", "1024");
    sluice_producer *p = world_producer(w, &teller);
    char value[100] = {0};
    const struct sluice_record r = {.topic = "t", .value = value, .value_size = sizeof value};
    for (int i = 0; i < 4000; i++)
        assert_sluice(w, sluice_producer_send(p, &r, 5000, &w->error));
    assert_sluice(w, sluice_producer_flush(p, 60000, &w->error));
    int64_t sum = 0;
    for (int i = 0; i < 4; i++) {
        /* All get a share, in runs: not one record after the other. */
        assert_in_range(t->partitions[i].high, 400, 2000);
        sum += t->partitions[i].high;
        struct batch b;
        assert_ok(batch_read_canonical(buf_slice(&t->partitions[i].log), &b));
        assert_true(b.record_count >= 5);
    }
    assert_int_equal(sum, 4000);
    assert_sluice(w, sluice_producer_close(p, 1000, &w->error));
}

static void keys_choose_the_partition(void **state)
{
    struct world *w = *state;
    struct fake_topic *t = fake_cluster_topic(w->fc, "t", 12);
    sluice_producer *p = world_producer(w, NULL);
    for (int i = 0; i < 10; i++) {
        const struct sluice_record r = {
            .topic = "t", .key = "abc", .key_size = 3, .value = "v", .value_size = 1};
        assert_sluice(w, sluice_producer_send(p, &r, 5000, &w->error));
    }
    assert_sluice(w, sluice_producer_flush(p, 60000, &w->error));
    assert_int_equal(t->partitions[479470107 % 12].high, 10);
    assert_sluice(w, sluice_producer_close(p, 1000, &w->error));
}

static void acks_0_needs_no_answer(void **state)
{
    struct world *w = *state;
    struct fake_topic *t = fake_cluster_topic(w->fc, "t", 1);
    sluice_config_set(w->config, "acks", "0");
    sluice_config_set(w->config, "batch.size", "1024");
    sluice_producer *p = world_producer(w, &teller);
    for (uintptr_t i = 0; i < 1000; i++)
        world_send(w, p, "t", 0, i);
    assert_sluice(w, sluice_producer_flush(p, 60000, &w->error));
    assert_int_equal(teller.count, 1000);
    assert_int_equal(teller.all[999].offset, -1);
    world_until(w, t->partitions[0].high == 1000);
    assert_sluice(w, sluice_producer_close(p, 1000, &w->error));
}

static void unknown_topics_are_waited_for_and_named(void **state)
{
    struct world *w = *state;
    sluice_producer *p = world_producer(w, &teller);
    const struct sluice_record r = {.topic = "later", .value = "v", .value_size = 1};
    int64_t before_us = fake_world_now_us(w->w);
    assert_int_equal(sluice_producer_send(p, &r, 1000, &w->error),
                     SLUICE_E_UNKNOWN_TOPIC_OR_PARTITION);
    assert_in_range(fake_world_now_us(w->w) - before_us, SECOND, SECOND + 2000);
    assert_non_null(strstr(w->error.text, "topic later"));
    fake_cluster_topic(w->fc, "later", 1);
    assert_sluice(w, sluice_producer_send(p, &r, 1000, &w->error));
    assert_int_equal(sluice_producer_send_to(p, 5, &r, 1000, &w->error),
                     SLUICE_E_UNKNOWN_TOPIC_OR_PARTITION);
    assert_non_null(strstr(w->error.text, "partition 5: it has 1"));
    fake_cluster_auto_create(w->fc, true);
    const struct sluice_record other = {.topic = "made", .value = "v", .value_size = 1};
    assert_sluice(w, sluice_producer_send(p, &other, 1000, &w->error));
    /* What was there and was deleted stays away, also when others are asked for. */
    assert_sluice(w, sluice_producer_flush(p, 1000, &w->error));
    fake_cluster_delete(w->fc, "later");
    const struct sluice_record third = {.topic = "third", .value = "v", .value_size = 1};
    assert_sluice(w, sluice_producer_send(p, &third, 1000, &w->error));
    fake_world_run(w->w, 3 * SECOND);
    assert_null(fake_cluster_find(w->fc, "later"));
    assert_sluice(w, sluice_producer_close(p, 1000, &w->error));
    assert_int_equal(fake_cluster_find(w->fc, "made")->partitions[0].high, 1);
}

static void nobody_there_is_said_in_time(void **state)
{
    struct world *w = *state;
    world_stop_broker(w, 0);
    world_stop_broker(w, 1);
    world_stop_broker(w, 2);
    sluice_producer *p = world_producer(w, &teller);
    const struct sluice_record r = {.topic = "t", .value = "v", .value_size = 1};
    const int64_t before_us = fake_world_now_us(w->w);
    assert_int_equal(sluice_producer_send(p, &r, 700, &w->error), SLUICE_E_TIMED_OUT);
    assert_in_range(fake_world_now_us(w->w) - before_us, 700000, 702000);
    assert_non_null(strstr(w->error.text, "metad at 127.0.0.1:700"));
    assert_sluice(w, sluice_producer_close(p, 1000, &w->error));
}

static void a_wrong_bootstrap_is_said_at_once(void **state)
{
    struct world *w = *state;
    fake_cluster_topic(w->fc, "t", 1);
    fake_cluster_refuse_metadata(w->fc, E_WRONG_ROLE);
    sluice_producer *p = world_producer(w, &teller);
    const struct sluice_record r = {.topic = "t", .value = "v", .value_size = 1};
    const int64_t before_us = fake_world_now_us(w->w);
    assert_int_equal(sluice_producer_send(p, &r, 30000, &w->error), SLUICE_E_WRONG_ROLE);
    assert_true(fake_world_now_us(w->w) - before_us < 2 * SECOND);
    assert_non_null(strstr(w->error.text, "refused by the test"));
    assert_non_null(strstr(w->error.text, "metad at 127.0.0.1:700"));
    /* Another try may go better. */
    fake_cluster_refuse_metadata(w->fc, OK);
    fake_world_run(w->w, 5 * SECOND);
    assert_sluice(w, sluice_producer_send(p, &r, 30000, &w->error));
    assert_sluice(w, sluice_producer_close(p, 1000, &w->error));
}

static void a_topic_made_again_is_followed(void **state)
{
    struct world *w = *state;
    fake_cluster_topic(w->fc, "t", 1);
    sluice_producer *p = world_producer(w, &teller);
    world_send(w, p, "t", 0, 0);
    assert_sluice(w, sluice_producer_flush(p, 60000, &w->error));
    fake_cluster_delete(w->fc, "t");
    world_send(w, p, "t", 0, 1);
    fake_world_run(w->w, SECOND);
    struct fake_topic *t = fake_cluster_topic(w->fc, "t", 1);
    assert_sluice(w, sluice_producer_flush(p, 60000, &w->error));
    uintptr_t log[4];
    assert_int_equal(world_log(w, &t->partitions[0], log, 4), 1);
    assert_int_equal(log[0], 1);
    assert_sluice(w, sluice_producer_close(p, 1000, &w->error));
}

static void partitions_grow(void **state)
{
    struct world *w = *state;
    struct fake_topic *t = fake_cluster_topic(w->fc, "t", 1);
    sluice_producer *p = world_producer(w, &teller);
    world_send(w, p, "t", 0, 0);
    assert_sluice(w, sluice_producer_flush(p, 60000, &w->error));
    t->partitions = mem_realloc(t->partitions, 2 * sizeof *t->partitions);
    t->partitions[1] =
        (struct fake_partition){.topic = t, .partition = 1, .leader = 2, .leader_epoch = 1};
    t->partition_count = 2;
    fake_cluster_changed(w->fc);
    fake_world_run(w->w, SECOND / 100);
    world_send(w, p, "t", 1, 1);
    assert_sluice(w, sluice_producer_flush(p, 60000, &w->error));
    assert_int_equal(t->partitions[1].high, 1);
    assert_sluice(w, sluice_producer_close(p, 1000, &w->error));
}

static void send_from_callback(void *user, const struct sluice_delivery *d)
{
    sluice_producer **p = user;
    const uintptr_t number = (uintptr_t)d->opaque;
    struct sluice_error error;
    assert_int_equal(sluice_producer_flush(*p, 1000, &error), SLUICE_E_NOT_PERMITTED);
    if (number >= 10)
        return;
    const struct sluice_record r = {
        .topic = "t", .value = "v", .value_size = 1, .opaque = (void *)(number + 1)};
    assert_int_equal(sluice_producer_send(*p, &r, 0, &error), SLUICE_OK);
}

static void callbacks_may_send_and_not_block(void **state)
{
    struct world *w = *state;
    struct fake_topic *t = fake_cluster_topic(w->fc, "t", 1);
    sluice_producer *p;
    const struct sluice_producer_callbacks callbacks = {.on_delivery = send_from_callback,
                                                        .user = &p};
    assert_sluice(
        w, producer_new_driven(w->clients, world_turn, w, 1, w->config, &callbacks, &p, &w->error));
    world_send(w, p, "t", 0, 0);
    world_until(w, t->partitions[0].high == 11);
    assert_sluice(w, sluice_producer_close(p, 1000, &w->error));
}

static void send_when_failed(void *user, const struct sluice_delivery *d)
{
    sluice_producer **p = user;
    struct sluice_error error;
    const struct sluice_record r = {.topic = "t", .value = "v", .value_size = 1};
    assert_int_equal(d->error->code, SLUICE_E_CANCELLED);
    assert_int_equal(sluice_producer_send(*p, &r, 0, &error), SLUICE_E_CANCELLED);
    teller.count++;
}

static void nothing_is_sent_while_closing(void **state)
{
    struct world *w = *state;
    struct fake_topic *t = fake_cluster_topic(w->fc, "t", 1);
    t->partitions[0].leader = -1;
    sluice_producer *p;
    const struct sluice_producer_callbacks callbacks = {.on_delivery = send_when_failed,
                                                        .user = &p};
    assert_sluice(
        w, producer_new_driven(w->clients, world_turn, w, 1, w->config, &callbacks, &p, &w->error));
    for (uintptr_t i = 0; i < 3; i++)
        world_send(w, p, "t", 0, i);
    assert_int_equal(sluice_producer_close(p, 100, &w->error), SLUICE_E_TIMED_OUT);
    assert_int_equal(teller.count, 3);
}

static void a_wakeup_ends_a_wait(void **state)
{
    struct world *w = *state;
    fake_cluster_mute_metadata(w->fc, true);
    sluice_producer *p = world_producer(w, &teller);
    sluice_producer_wakeup(p);
    const struct sluice_record r = {.topic = "t", .value = "v", .value_size = 1};
    assert_int_equal(sluice_producer_send(p, &r, 1000, &w->error), SLUICE_E_CANCELLED);
    assert_int_equal(sluice_producer_send(p, &r, 1000, &w->error), SLUICE_E_TIMED_OUT);
    fake_cluster_mute_metadata(w->fc, false);
    assert_sluice(w, sluice_producer_close(p, 1000, &w->error));
}

static int setup(void **state)
{
    memset(&teller, 0, sizeof teller);
    *state = world_new(3);
    return 0;
}

static int teardown(void **state)
{
    world_free(*state);
    return 0;
}

#define IN_WORLD(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        IN_WORLD(records_arrive_in_order_and_are_told),
        IN_WORLD(every_codec_arrives),
        IN_WORLD(linger_batches_and_ends),
        IN_WORLD(no_linger_sends_at_once),
        IN_WORLD(retries_keep_order),
        IN_WORLD(without_retries_requests_overlap),
        IN_WORLD(lost_answers_are_at_least_once),
        IN_WORLD(new_leaders_are_found),
        IN_WORLD(a_broker_comes_back),
        IN_WORLD(what_is_late_is_given_up),
        IN_WORLD(one_bad_batch_fails_alone),
        IN_WORLD(memory_is_bounded_and_waited_for),
        IN_WORLD(large_records_have_their_own_batch),
        IN_WORLD(keyless_records_stick_and_move),
        IN_WORLD(keys_choose_the_partition),
        IN_WORLD(acks_0_needs_no_answer),
        IN_WORLD(unknown_topics_are_waited_for_and_named),
        IN_WORLD(nobody_there_is_said_in_time),
        IN_WORLD(a_wrong_bootstrap_is_said_at_once),
        IN_WORLD(a_topic_made_again_is_followed),
        IN_WORLD(nothing_is_sent_while_closing),
        IN_WORLD(partitions_grow),
        IN_WORLD(callbacks_may_send_and_not_block),
        IN_WORLD(a_wakeup_ends_a_wait),
    };
    return TEST_MAIN(tests, NULL, NULL);
}
