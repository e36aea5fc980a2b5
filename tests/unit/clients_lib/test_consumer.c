/* SPDX-License-Identifier: Apache-2.0 */
/* The consumer against a fake cluster: what is given out, from where, and what is told. */
#include "tests/unit/clients_lib/world.h"

static uintptr_t number_of(const struct sluice_message *m)
{
    uintptr_t n = 0;
    for (size_t i = 0; i < m->value_size && i < 6; i++)
        n = n * 10 + (uintptr_t)(((const char *)m->value)[i] - '0');
    return n;
}

/* Fills a partition with 0 .. count-1. */
static void fill(struct world *w, const char *topic, int32_t partition, uintptr_t first,
                 size_t count)
{
    sluice_producer *p = world_filler(w);
    for (uintptr_t i = first; i < first + count; i++)
        world_send(w, p, topic, partition, i);
    assert_sluice(w, sluice_producer_close(p, 60000, &w->error));
}

static void assign(struct world *w, sluice_consumer *c, const char *topic, int32_t partition,
                   int64_t offset)
{
    const struct sluice_topic_partition tp = {
        .topic = topic, .partition = partition, .offset = offset};
    assert_sluice(w, sluice_consumer_assign(c, &tp, 1, &w->error));
}

/* Polls until `count` messages came; they must be first, first + 1 ... */
static void expect(struct world *w, sluice_consumer *c, uintptr_t first, size_t count)
{
    size_t got = 0;
    while (got < count) {
        struct sluice_poll poll;
        assert_sluice(w, sluice_consumer_poll(c, 60000, &poll, &w->error));
        if (poll.event_count)
            fail_msg("event %d: %s", (int)poll.events[0].type,
                     poll.events[0].error ? poll.events[0].error->text : "");
        assert_true(poll.message_count > 0);
        for (size_t i = 0; i < poll.message_count; i++) {
            assert_int_equal(number_of(&poll.messages[i]), first + got);
            got++;
        }
    }
    assert_int_equal(got, count);
}

static struct sluice_event expect_event(struct world *w, sluice_consumer *c,
                                        enum sluice_event_type type, struct sluice_error *error)
{
    struct sluice_poll poll;
    assert_sluice(w, sluice_consumer_poll(c, 60000, &poll, &w->error));
    assert_int_equal(poll.message_count, 0);
    assert_int_equal(poll.event_count, 1);
    assert_int_equal(poll.events[0].type, type);
    if (error)
        *error = *poll.events[0].error;
    return poll.events[0];
}

static void everything_comes_in_order(void **state)
{
    struct world *w = *state;
    fake_cluster_topic(w->fc, "t", 1);
    fill(w, "t", 0, 0, 5000);
    sluice_config_set(w->config, "max.poll.records", "300");
    sluice_consumer *c = world_consumer(w);
    assign(w, c, "t", 0, SLUICE_OFFSET_BEGINNING);
    expect(w, c, 0, 5000);
    int64_t position, low, high;
    assert_sluice(w, sluice_consumer_position(c, "t", 0, 0, &position, &w->error));
    assert_int_equal(position, 5000);
    assert_sluice(w, sluice_consumer_watermarks(c, "t", 0, &low, &high, &w->error));
    assert_int_equal(low, 0);
    assert_int_equal(high, 5000);
    /* Nothing there: a poll keeps its deadline. */
    struct sluice_poll poll;
    const int64_t before_us = fake_world_now_us(w->w);
    assert_sluice(w, sluice_consumer_poll(c, 300, &poll, &w->error));
    assert_int_equal(poll.message_count + poll.event_count, 0);
    assert_in_range(fake_world_now_us(w->w) - before_us, 300000, 301000);
    /* What comes later comes. */
    fill(w, "t", 0, 5000, 10);
    expect(w, c, 5000, 10);
    struct sluice_consumer_stats stats;
    sluice_consumer_stats(c, &stats);
    assert_int_equal(stats.messages, 5010);
    assert_int_equal(stats.bytes, 5010 * 6);
    assert_sluice(w, sluice_consumer_close(c, 1000, &w->error));
}

static void every_codec_is_read(void **state)
{
    struct world *w = *state;
    static const char *const codecs[] = {"none", "gzip", "snappy", "lz4", "zstd"};
    fake_cluster_topic(w->fc, "t", 1);
    for (uintptr_t i = 0; i < 5; i++) {
        sluice_config_set(w->fill_config, "compression.type", codecs[i]);
        fill(w, "t", 0, i * 1000, 1000);
    }
    sluice_config_set(w->fill_config, "compression.type", NULL);
    sluice_consumer *c = world_consumer(w);
    assign(w, c, "t", 0, SLUICE_OFFSET_BEGINNING);
    expect(w, c, 0, 5000);
    /* In the middle of a compressed batch. */
    assert_sluice(w, sluice_consumer_seek(c, "t", 0, 1717, &w->error));
    expect(w, c, 1717, 3283);
    assert_sluice(w, sluice_consumer_close(c, 1000, &w->error));
}

static void what_a_record_has_arrives(void **state)
{
    struct world *w = *state;
    fake_cluster_topic(w->fc, "t", 1);
    sluice_producer *p = world_filler(w);
    const struct sluice_header headers[] = {{.key = "trace", .value = "abc", .value_size = 3},
                                            {.key = "none"}};
    const struct sluice_record full = {.topic = "t",
                                       .key = "k",
                                       .key_size = 1,
                                       .value = "v",
                                       .value_size = 1,
                                       .timestamp_ms = 1234567,
                                       .headers = headers,
                                       .header_count = 2};
    const struct sluice_record tombstone = {
        .topic = "t", .key = "", .key_size = 0, .timestamp_ms = 1000};
    assert_sluice(w, sluice_producer_send(p, &full, 1000, &w->error));
    assert_sluice(w, sluice_producer_send(p, &tombstone, 1000, &w->error));
    assert_sluice(w, sluice_producer_close(p, 1000, &w->error));
    sluice_consumer *c = world_consumer(w);
    assign(w, c, "t", 0, SLUICE_OFFSET_BEGINNING);
    struct sluice_poll poll;
    assert_sluice(w, sluice_consumer_poll(c, 1000, &poll, &w->error));
    assert_int_equal(poll.message_count, 2);
    const struct sluice_message *m = &poll.messages[0];
    assert_string_equal(m->topic, "t");
    assert_int_equal(m->offset, 0);
    assert_int_equal(m->timestamp_ms, 1234567);
    assert_int_equal(m->leader_epoch, 1);
    assert_false(m->log_append_time);
    assert_memory_equal(m->key, "k", 1);
    struct sluice_header_view h;
    size_t pos = 0;
    assert_true(sluice_header_next(m, &pos, &h));
    assert_int_equal(h.key_size, 5);
    assert_memory_equal(h.key, "trace", 5);
    assert_memory_equal(h.value, "abc", 3);
    assert_true(sluice_header_next(m, &pos, &h));
    assert_memory_equal(h.key, "none", 4);
    assert_null(h.value);
    assert_false(sluice_header_next(m, &pos, &h));
    m = &poll.messages[1];
    assert_non_null(m->key);
    assert_int_equal(m->key_size, 0);
    assert_null(m->value);
    assert_int_equal(m->timestamp_ms, 1000);
    assert_sluice(w, sluice_consumer_close(c, 1000, &w->error));
}

static void many_partitions_of_several_brokers(void **state)
{
    struct world *w = *state;
    enum { PARTS = 7, EACH = 400 };
    fake_cluster_topic(w->fc, "a", PARTS);
    fake_cluster_topic(w->fc, "b", PARTS);
    struct sluice_topic_partition tps[2 * PARTS];
    for (int i = 0; i < 2 * PARTS; i++) {
        tps[i] = (struct sluice_topic_partition){
            .topic = i % 2 ? "a" : "b", .partition = i / 2, .offset = SLUICE_OFFSET_BEGINNING};
        fill(w, tps[i].topic, tps[i].partition, 0, EACH);
    }
    sluice_consumer *c = world_consumer(w);
    assert_sluice(w, sluice_consumer_assign(c, tps, 2 * PARTS, &w->error));
    uintptr_t next[2][PARTS] = {0};
    for (size_t got = 0; got < 2 * PARTS * EACH;) {
        struct sluice_poll poll;
        assert_sluice(w, sluice_consumer_poll(c, 60000, &poll, &w->error));
        assert_int_equal(poll.event_count, 0);
        assert_true(poll.message_count > 0);
        for (size_t i = 0; i < poll.message_count; i++, got++) {
            const struct sluice_message *m = &poll.messages[i];
            assert_int_equal(number_of(m), next[m->topic[0] - 'a'][m->partition]++);
        }
    }
    assert_sluice(w, sluice_consumer_close(c, 1000, &w->error));
}

static void places_are_found(void **state)
{
    struct world *w = *state;
    fake_cluster_topic(w->fc, "t", 1);
    sluice_producer *p = world_filler(w);
    for (uintptr_t i = 0; i < 100; i++) {
        char value[16];
        const struct sluice_record r = {
            .topic = "t",
            .value = value,
            .timestamp_ms = 10000 + (int64_t)i * 100,
            .value_size = (size_t)snprintf(value, sizeof value, "%06u", (unsigned)i)};
        assert_sluice(w, sluice_producer_send(p, &r, 1000, &w->error));
    }
    assert_sluice(w, sluice_producer_close(p, 1000, &w->error));
    sluice_consumer *c = world_consumer(w);
    assign(w, c, "t", 0, SLUICE_OFFSET_END);
    int64_t position;
    assert_sluice(w, sluice_consumer_position(c, "t", 0, 1000, &position, &w->error));
    assert_int_equal(position, 100);
    assert_sluice(w, sluice_consumer_seek_time(c, "t", 0, 12350, &w->error));
    expect(w, c, 24, 76);
    assert_sluice(w, sluice_consumer_seek(c, "t", 0, SLUICE_OFFSET_BEGINNING, &w->error));
    expect(w, c, 0, 100);
    /* Later than all: the end, and what comes. */
    assert_sluice(w, sluice_consumer_seek_time(c, "t", 0, 999999999999999, &w->error));
    assert_sluice(w, sluice_consumer_position(c, "t", 0, 1000, &position, &w->error));
    assert_int_equal(position, 100);
    fill(w, "t", 0, 100, 3);
    expect(w, c, 100, 3);
    assert_int_equal(sluice_consumer_seek(c, "t", 1, 0, &w->error), SLUICE_E_NOT_FOUND);
    assert_int_equal(sluice_consumer_seek(c, "t", 0, -9, &w->error), SLUICE_E_INVALID_REQUEST);
    assert_sluice(w, sluice_consumer_close(c, 1000, &w->error));
}

static void the_end_is_told_once_each_time(void **state)
{
    struct world *w = *state;
    fake_cluster_topic(w->fc, "t", 1);
    sluice_config_set(w->config, "enable.partition.eof", "true");
    sluice_consumer *c = world_consumer(w);
    assign(w, c, "t", 0, SLUICE_OFFSET_BEGINNING);
    const int64_t before_us = fake_world_now_us(w->w);
    assert_int_equal(expect_event(w, c, SLUICE_EVENT_END, NULL).offset, 0);
    /* At once, not when a parked fetch ends. */
    assert_true(fake_world_now_us(w->w) - before_us < SECOND / 10);
    struct sluice_poll poll;
    assert_sluice(w, sluice_consumer_poll(c, 2000, &poll, &w->error));
    assert_int_equal(poll.event_count, 0);
    fill(w, "t", 0, 0, 10);
    size_t messages = 0, events = 0;
    while (events == 0) {
        assert_sluice(w, sluice_consumer_poll(c, 60000, &poll, &w->error));
        messages += poll.message_count;
        events += poll.event_count;
    }
    assert_int_equal(messages, 10);
    assert_int_equal(poll.events[0].type, SLUICE_EVENT_END);
    assert_int_equal(poll.events[0].offset, 10);
    assert_sluice(w, sluice_consumer_close(c, 1000, &w->error));
}

static void out_of_range_is_told_and_handled(void **state)
{
    struct world *w = *state;
    struct fake_topic *t = fake_cluster_topic(w->fc, "t", 1);
    struct sluice_error error;
    fill(w, "t", 0, 0, 100);
    t->partitions[0].low = 40;
    static const char *const policies[] = {"earliest", "latest"};
    for (size_t i = 0; i < 2; i++) {
        sluice_config_set(w->config, "auto.offset.reset", policies[i]);
        sluice_consumer *c = world_consumer(w);
        assign(w, c, "t", 0, 10);
        const struct sluice_event e = expect_event(w, c, SLUICE_EVENT_RESET, &error);
        assert_int_equal(e.from, 10);
        assert_int_equal(e.offset, i ? 100 : 40);
        assert_int_equal(error.code, SLUICE_E_OFFSET_OUT_OF_RANGE);
        assert_non_null(strstr(error.text, "topic t partition 0 offset 10"));
        if (i == 0)
            expect(w, c, 40, 60);
        assert_sluice(w, sluice_consumer_close(c, 1000, &w->error));
    }
    sluice_config_set(w->config, "auto.offset.reset", "none");
    sluice_consumer *c = world_consumer(w);
    assign(w, c, "t", 0, 500);
    expect_event(w, c, SLUICE_EVENT_ERROR, &error);
    assert_int_equal(error.code, SLUICE_E_OFFSET_OUT_OF_RANGE);
    struct sluice_poll poll;
    assert_sluice(w, sluice_consumer_poll(c, 2000, &poll, &w->error));
    assert_int_equal(poll.message_count + poll.event_count, 0);
    assert_sluice(w, sluice_consumer_seek(c, "t", 0, 90, &w->error));
    expect(w, c, 90, 10);
    assign(w, c, "t", 0, SLUICE_OFFSET_DEFAULT); /* stays where it is */
    fill(w, "t", 0, 100, 1);
    expect(w, c, 100, 1);
    assert_sluice(w, sluice_consumer_assign(c, NULL, 0, &w->error));
    assign(w, c, "t", 0, SLUICE_OFFSET_DEFAULT); /* nowhere, and none says so */
    expect_event(w, c, SLUICE_EVENT_ERROR, &error);
    assert_sluice(w, sluice_consumer_close(c, 1000, &w->error));
}

static void damage_is_fetched_again_then_told(void **state)
{
    struct world *w = *state;
    struct fake_topic *t = fake_cluster_topic(w->fc, "t", 1);
    struct sluice_error error;
    fill(w, "t", 0, 0, 100);
    fake_cluster_fault(w->fc, true, &t->partitions[0], FAKE_DAMAGED, OK, 1);
    sluice_consumer *c = world_consumer(w);
    assign(w, c, "t", 0, SLUICE_OFFSET_BEGINNING);
    expect(w, c, 0, 100);
    fake_cluster_fault(w->fc, true, &t->partitions[0], FAKE_DAMAGED, OK, 2);
    assert_sluice(w, sluice_consumer_seek(c, "t", 0, 0, &w->error));
    const struct sluice_event e = expect_event(w, c, SLUICE_EVENT_ERROR, &error);
    assert_int_equal(e.offset, 0);
    assert_int_equal(error.code, SLUICE_E_CORRUPT);
    assert_int_equal(error.error_class, SLUICE_CLASS_STORAGE);
    assert_sluice(w, sluice_consumer_seek(c, "t", 0, 0, &w->error));
    expect(w, c, 0, 100);
    assert_sluice(w, sluice_consumer_close(c, 1000, &w->error));
}

static void pause_holds_and_resume_goes_on(void **state)
{
    struct world *w = *state;
    fake_cluster_topic(w->fc, "t", 2);
    fill(w, "t", 0, 0, 100);
    fill(w, "t", 1, 0, 100);
    sluice_config_set(w->config, "max.poll.records", "10");
    sluice_consumer *c = world_consumer(w);
    const struct sluice_topic_partition tps[] = {{.topic = "t", .partition = 0, .offset = 0},
                                                 {.topic = "t", .partition = 1, .offset = 0}};
    assert_sluice(w, sluice_consumer_assign(c, tps, 2, &w->error));
    struct sluice_poll poll;
    uintptr_t next[2] = {0};
    for (size_t got = 0; got < 200;) {
        if (got == 60)
            assert_sluice(w, sluice_consumer_pause(c, "t", 0, &w->error));
        assert_sluice(w, sluice_consumer_poll(c, 700, &poll, &w->error));
        if (poll.message_count == 0) {
            assert_int_equal(next[1], 100); /* all of the other one came */
            assert_true(next[0] < 100);
            assert_sluice(w, sluice_consumer_resume(c, "t", 0, &w->error));
            continue;
        }
        for (size_t i = 0; i < poll.message_count; i++, got++)
            assert_int_equal(number_of(&poll.messages[i]), next[poll.messages[i].partition]++);
    }
    assert_sluice(w, sluice_consumer_close(c, 1000, &w->error));
}

static void an_idle_partition_delays_no_other(void **state)
{
    /* Fetches of idle partitions park for 500 ms at the broker: what is read empty meanwhile is
     * asked for at once. */
    struct world *w = *state;
    fake_cluster_topic(w->fc, "t", 4); /* 0 and 3 are led by broker 1 */
    fill(w, "t", 0, 0, 3000);
    sluice_config_set(w->config, "max.partition.fetch.bytes", "1024");
    sluice_config_set(w->config, "queued.max.bytes", "4096");
    sluice_consumer *c = world_consumer(w);
    const struct sluice_topic_partition tps[] = {{.topic = "t", .partition = 0, .offset = 0},
                                                 {.topic = "t", .partition = 3, .offset = 0}};
    assert_sluice(w, sluice_consumer_assign(c, tps, 2, &w->error));
    struct sluice_poll poll;
    assert_sluice(w, sluice_consumer_poll(c, 60000, &poll, &w->error));
    const int64_t before_us = fake_world_now_us(w->w);
    int64_t position = 0;
    while (position < 3000) {
        assert_sluice(w, sluice_consumer_poll(c, 60000, &poll, &w->error));
        assert_sluice(w, sluice_consumer_position(c, "t", 0, 0, &position, &w->error));
    }
    assert_in_range(fake_world_now_us(w->w) - before_us, 0, 200000);
    assert_sluice(w, sluice_consumer_close(c, 1000, &w->error));
}

static void memory_is_bounded(void **state)
{
    struct world *w = *state;
    enum { PARTS = 50 };
    fake_cluster_topic(w->fc, "t", PARTS);
    struct sluice_topic_partition tps[PARTS];
    sluice_config_set(w->fill_config, "batch.size", "1024");
    for (int i = 0; i < PARTS; i++) {
        tps[i] = (struct sluice_topic_partition){.topic = "t", .partition = i, .offset = 0};
        fill(w, "t", i, 0, 500);
    }
    sluice_config_set(w->fill_config, "batch.size", NULL);
    sluice_config_set(w->config, "max.partition.fetch.bytes", "4096");
    sluice_config_set(w->config, "queued.max.bytes", "60000");
    sluice_config_set(w->config, "max.poll.records", "50");
    sluice_consumer *c = world_consumer(w);
    assert_sluice(w, sluice_consumer_assign(c, tps, PARTS, &w->error));
    struct sluice_consumer_stats stats;
    for (size_t got = 0; got < PARTS * 500;) {
        struct sluice_poll poll;
        fake_world_run(w->w, 1000);
        sluice_consumer_stats(c, &stats);
        assert_in_range(stats.queued, 0, 60000);
        assert_sluice(w, sluice_consumer_poll(c, 60000, &poll, &w->error));
        assert_true(poll.message_count > 0);
        got += poll.message_count;
    }
    assert_sluice(w, sluice_consumer_close(c, 1000, &w->error));
}

static void a_large_batch_comes_all_the_same(void **state)
{
    struct world *w = *state;
    fake_cluster_topic(w->fc, "t", 1);
    fill(w, "t", 0, 0, 3000); /* one batch of some 50 KB */
    sluice_config_set(w->config, "max.partition.fetch.bytes", "1024");
    sluice_config_set(w->config, "queued.max.bytes", "1024");
    sluice_consumer *c = world_consumer(w);
    assign(w, c, "t", 0, SLUICE_OFFSET_BEGINNING);
    expect(w, c, 0, 3000);
    assert_sluice(w, sluice_consumer_close(c, 1000, &w->error));
}

static void leaders_move_and_brokers_fail(void **state)
{
    struct world *w = *state;
    struct fake_topic *t = fake_cluster_topic(w->fc, "t", 1);
    struct fake_partition *p = &t->partitions[0];
    sluice_consumer *c = world_consumer(w);
    assign(w, c, "t", 0, SLUICE_OFFSET_BEGINNING);
    for (uintptr_t i = 0; i < 20; i++) {
        static const err passing[] = {E_NOT_LEADER, E_STORAGE, E_OFFSET_NOT_AVAILABLE,
                                      E_UNKNOWN_LEADER_EPOCH, E_OVERLOADED};
        if (i % 3 == 0)
            fake_cluster_move(w->fc, p, p->leader % 3 + 1, i % 2 == 0);
        if (i % 4 == 1)
            fake_cluster_fault(w->fc, true, p, FAKE_ERROR, passing[i / 4], 2);
        fill(w, "t", 0, i * 10, 10);
        expect(w, c, i * 10, 10);
    }
    assert_sluice(w, sluice_consumer_close(c, 1000, &w->error));
}

static void what_lasts_is_told_and_heals(void **state)
{
    struct world *w = *state;
    struct fake_topic *t = fake_cluster_topic(w->fc, "t", 1);
    struct sluice_error error;
    sluice_consumer *c = world_consumer(w);
    assign(w, c, "t", 0, 0);
    fill(w, "t", 0, 0, 1);
    expect(w, c, 0, 1);
    fake_cluster_move(w->fc, &t->partitions[0], -1, true);
    expect_event(w, c, SLUICE_EVENT_ERROR, &error);
    assert_int_equal(error.error_class, SLUICE_CLASS_REROUTE);
    fake_cluster_move(w->fc, &t->partitions[0], 2, true);
    fill(w, "t", 0, 1, 1);
    expect(w, c, 1, 1);
    /* A topic that does not exist is told, and read once it does. */
    assign(w, c, "none", 0, SLUICE_OFFSET_BEGINNING);
    expect_event(w, c, SLUICE_EVENT_ERROR, &error);
    assert_int_equal(error.code, SLUICE_E_UNKNOWN_TOPIC_OR_PARTITION);
    fake_cluster_topic(w->fc, "none", 1);
    fill(w, "none", 0, 0, 5);
    expect(w, c, 0, 5);
    assert_sluice(w, sluice_consumer_close(c, 1000, &w->error));
}

static void a_topic_made_again_is_a_reset(void **state)
{
    struct world *w = *state;
    struct sluice_error error;
    fake_cluster_topic(w->fc, "t", 1);
    fill(w, "t", 0, 0, 50);
    sluice_config_set(w->config, "auto.offset.reset", "earliest");
    sluice_consumer *c = world_consumer(w);
    assign(w, c, "t", 0, 0);
    expect(w, c, 0, 50);
    fake_cluster_delete(w->fc, "t");
    fake_cluster_topic(w->fc, "t", 1);
    fill(w, "t", 0, 7, 60);
    const struct sluice_event e = expect_event(w, c, SLUICE_EVENT_RESET, &error);
    assert_int_equal(e.from, 50);
    assert_int_equal(e.offset, 0);
    assert_int_equal(error.code, SLUICE_E_UNKNOWN_TOPIC_ID);
    expect(w, c, 7, 60);
    assert_sluice(w, sluice_consumer_close(c, 1000, &w->error));
}

static void assignment_is_checked_and_replaced(void **state)
{
    struct world *w = *state;
    fake_cluster_topic(w->fc, "t", 2);
    fill(w, "t", 0, 0, 10);
    fill(w, "t", 1, 100, 10);
    sluice_consumer *c = world_consumer(w);
    const struct sluice_topic_partition twice[] = {{.topic = "t", .partition = 0},
                                                   {.topic = "u", .partition = 0},
                                                   {.topic = "t", .partition = 0}};
    assert_int_equal(sluice_consumer_assign(c, twice, 3, &w->error), SLUICE_E_INVALID_REQUEST);
    assert_non_null(strstr(w->error.text, "topic t partition 0: it is given twice"));
    const struct sluice_topic_partition negative = {.topic = "t", .partition = -1};
    assert_int_equal(sluice_consumer_assign(c, &negative, 1, &w->error), SLUICE_E_INVALID_REQUEST);
    const struct sluice_topic_partition nameless = {.topic = "", .partition = 0};
    assert_int_equal(sluice_consumer_assign(c, &nameless, 1, &w->error), SLUICE_E_INVALID_TOPIC);
    assign(w, c, "t", 0, 0);
    struct sluice_poll poll;
    assert_sluice(w, sluice_consumer_poll(c, 1000, &poll, &w->error));
    assert_true(poll.message_count > 0);
    /* Views outlive the assignment, until the next poll. */
    assign(w, c, "t", 1, 0);
    assert_int_equal(number_of(&poll.messages[0]), 0);
    assert_string_equal(poll.messages[0].topic, "t");
    expect(w, c, 100, 10);
    assert_int_equal(sluice_consumer_pause(c, "t", 0, &w->error), SLUICE_E_NOT_FOUND);
    assert_sluice(w, sluice_consumer_close(c, 1000, &w->error));
}

static void partitions_and_wakeup(void **state)
{
    struct world *w = *state;
    fake_cluster_topic(w->fc, "t", 5);
    sluice_consumer *c = world_consumer(w);
    int32_t count = 0;
    assert_sluice(w, sluice_consumer_partitions(c, "t", 1000, &count, &w->error));
    assert_int_equal(count, 5);
    assert_int_equal(sluice_consumer_partitions(c, "none", 1000, &count, &w->error),
                     SLUICE_E_UNKNOWN_TOPIC_OR_PARTITION);
    sluice_consumer_wakeup(c);
    struct sluice_poll poll;
    assert_int_equal(sluice_consumer_poll(c, 1000, &poll, &w->error), SLUICE_E_CANCELLED);
    assert_sluice(w, sluice_consumer_poll(c, 1000, &poll, &w->error));
    assert_sluice(w, sluice_consumer_close(c, 1000, &w->error));
}

static int setup(void **state)
{
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
        IN_WORLD(everything_comes_in_order),
        IN_WORLD(every_codec_is_read),
        IN_WORLD(what_a_record_has_arrives),
        IN_WORLD(many_partitions_of_several_brokers),
        IN_WORLD(places_are_found),
        IN_WORLD(the_end_is_told_once_each_time),
        IN_WORLD(out_of_range_is_told_and_handled),
        IN_WORLD(damage_is_fetched_again_then_told),
        IN_WORLD(pause_holds_and_resume_goes_on),
        IN_WORLD(an_idle_partition_delays_no_other),
        IN_WORLD(memory_is_bounded),
        IN_WORLD(a_large_batch_comes_all_the_same),
        IN_WORLD(leaders_move_and_brokers_fail),
        IN_WORLD(what_lasts_is_told_and_heals),
        IN_WORLD(a_topic_made_again_is_a_reset),
        IN_WORLD(assignment_is_checked_and_replaced),
        IN_WORLD(partitions_and_wakeup),
    };
    return TEST_MAIN(tests, NULL, NULL);
}
