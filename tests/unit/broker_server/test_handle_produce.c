/* SPDX-License-Identifier: Apache-2.0 */
/* Produce requests: which answer comes when, and never too early. */
#include "tests/unit/broker_server/handlers_world.h"

enum { SLOW_US = 50 * 1000 }; /* a flush */

static int setup(void **state)
{
    *state = handlers_world_new(SLOW_US);
    return 0;
}

static int teardown(void **state)
{
    handlers_world_free(*state);
    return 0;
}

static uint64_t put_one(struct client *x, int32_t acks, uint32_t timeout_ms, uint32_t partition,
                        uint32_t records)
{
    struct made_batch m;
    const struct part part = {
        .topic = 1, .partition = partition, .batches = batch_bytes(&m, records)};
    return put_produce(x, acks, timeout_ms, &part, 1);
}

static int64_t log_end(struct handlers_world *h, uint8_t topic, uint32_t partition)
{
    struct partition *p;
    struct partition_ends ends;
    assert_ok(find(&h->t, topic, partition, &p));
    partition_ends(p, &ends);
    partition_unref(p);
    return ends.log_end_offset;
}

/* --- acks ----------------------------------------------------------------------------- */

static void acks_decide_when_it_is_answered(void **state)
{
    struct handlers_world *h = *state;
    const uint64_t none = put_one(&h->c, 0, 1000, 0, 2);
    const uint64_t leader = put_one(&h->c, 1, 1000, 0, 3);
    const uint64_t all = put_one(&h->c, -1, 1000, 0, 4);
    exchange(h, &h->c);
    assert_int_equal(produced(&h->c, leader, 0)->base_offset, 2);
    assert_int_equal(produced(&h->c, leader, 0)->last_offset, 4);
    assert_null(answer_to(&h->c, all));
    pass(&h->t.w, SLOW_US - 200);
    assert_null(answer_to(&h->c, all)); /* not durable yet */
    pass(&h->t.w, 400);
    assert_int_equal(produced(&h->c, all, 0)->base_offset, 5);
    assert_int_equal(produced(&h->c, all, 0)->last_offset, 8);
    assert_null(answer_to(&h->c, none));
    assert_int_equal(log_end(h, 1, 0), 9);
}

static void a_refused_request_without_acks_closes(void **state)
{
    struct handlers_world *h = *state;
    struct made_batch m;
    const struct part part = {.topic = 9, .batches = batch_bytes(&m, 1)};
    put_produce(&h->c, 0, 1000, &part, 1);
    exchange(h, &h->c);
    pass(&h->t.w, 100);
    assert_true(h->c.is_closed);
}

static void page_cache_needs_no_flush(void **state)
{
    struct handlers_world *h = *state;
    static const struct property set = {"durability", "page-cache"};
    struct shape s = ours;
    s.configs = &set;
    s.config_count = 1;
    apply_topic(&h->t, 1, &s);
    const uint64_t id = put_one(&h->c, -1, 1000, 0, 1);
    exchange(h, &h->c);
    assert_null(produced(&h->c, id, 0)->error);
}

/* --- runs ------------------------------------------------------------------------------- */

static void what_comes_together_is_written_together(void **state)
{
    struct handlers_world *h = *state;
    uint64_t ids[20];
    for (int i = 0; i < 20; i++)
        ids[i] = put_one(&h->c, 1, 1000, 0, 2);
    exchange(h, &h->c);
    for (int i = 0; i < 20; i++)
        assert_int_equal(produced(&h->c, ids[i], 0)->base_offset, 2 * i);
    assert_int_equal(counted(h->counters.writes), 1);
    assert_int_equal(counted(h->counters.batches_in), 20);
}

static void runs_end_where_partition_or_acks_change(void **state)
{
    struct handlers_world *h = *state;
    static const struct {
        int32_t acks;
        uint32_t partition;
    } in[] = {{1, 0}, {1, 0}, {-1, 0}, {-1, 1}, {1, 1}, {1, 0}};
    uint64_t ids[6];
    for (int i = 0; i < 6; i++)
        ids[i] = put_one(&h->c, in[i].acks, 1000, in[i].partition, 1);
    flush_requests(&h->c);
    world_settle(&h->t.w);
    static const int64_t offsets[] = {0, 1, 2, 0, 1, 3};
    for (int i = 0; i < 6; i++)
        assert_int_equal(produced(&h->c, ids[i], 0)->base_offset, offsets[i]);
    assert_int_equal(counted(h->counters.writes), 5);
}

static void a_refused_batch_does_not_disturb_its_neighbours(void **state)
{
    struct handlers_world *h = *state;
    struct made_batch bad;
    struct part part = {.topic = 1, .batches = batch_bytes(&bad, 1)};
    bad.bytes[BATCH_HEADER_SIZE + 4] ^= 1;
    const uint64_t before = put_one(&h->c, 1, 1000, 0, 1);
    const uint64_t refused = put_produce(&h->c, 1, 1000, &part, 1);
    const uint64_t after = put_one(&h->c, 1, 1000, 0, 1);
    exchange(h, &h->c);
    assert_int_equal(produced(&h->c, before, 0)->base_offset, 0);
    assert_int_equal(produced(&h->c, after, 0)->base_offset, 1);
    const Sluice__ProducePartitionResult *r = produced(&h->c, refused, 0);
    assert_err(error_code(r->error), E_CORRUPT);
    assert_non_null(strstr(r->error->message, "batch_crc"));
    assert_int_equal(log_end(h, 1, 0), 2);
    assert_int_equal(counted(h->counters.writes), 1);
}

/* More batches than a run holds, in one wake-up. */
static void a_run_that_is_full_is_written(void **state)
{
    struct handlers_world *h = *state;
    struct made_batch m;
    struct buf many = {0};
    const struct slice one = batch_bytes(&m, 1);
    uint64_t ids[4];
    for (int i = 0; i < ADMIT_BATCHES_MAX; i++)
        buf_append(&many, one.data, one.size);
    const struct part part = {.topic = 1, .batches = buf_slice(&many)};
    for (int i = 0; i < 4; i++)
        ids[i] = put_produce(&h->c, 1, 1000, &part, 1);
    flush_requests(&h->c);
    pass(&h->t.w, 1000);
    for (int i = 0; i < 4; i++)
        assert_int_equal(produced(&h->c, ids[i], 0)->base_offset, i * ADMIT_BATCHES_MAX);
    buf_append(&many, one.data, one.size);
    const struct part more = {.topic = 1, .batches = buf_slice(&many)};
    const uint64_t refused = put_produce(&h->c, 1, 1000, &more, 1);
    flush_requests(&h->c);
    pass(&h->t.w, 1000);
    assert_err(error_code(produced(&h->c, refused, 0)->error), E_INVALID_RECORD);
    buf_deinit(&many);
}

/* --- several partitions ------------------------------------------------------------------- */

static void partitions_are_answered_in_the_order_asked(void **state)
{
    struct handlers_world *h = *state;
    struct made_batch m[4];
    const struct part parts[] = {
        {.topic = 1, .partition = 1, .batches = batch_bytes(&m[0], 1)},
        {.topic = 9, .partition = 0, .batches = batch_bytes(&m[1], 1)},
        {.topic = 1, .by_id = true, .partition = 0, .batches = batch_bytes(&m[2], 2)},
        {.topic = 1, .partition = 7, .batches = batch_bytes(&m[3], 1)},
    };
    const uint64_t id = put_produce(&h->c, -1, 1000, parts, 4);
    exchange(h, &h->c);
    assert_null(answer_to(&h->c, id)); /* two of them wait */
    world_settle(&h->t.w);
    assert_null(produced(&h->c, id, 0)->error);
    assert_err(error_code(produced(&h->c, id, 1)->error), E_UNKNOWN_TOPIC_OR_PARTITION);
    assert_int_equal(produced(&h->c, id, 2)->last_offset, 1);
    assert_err(error_code(produced(&h->c, id, 3)->error), E_UNKNOWN_TOPIC_OR_PARTITION);
    const Sluice__ProduceResponse *r = answer_to(&h->c, id)->produce;
    assert_string_equal(r->topic[0]->name, "topic-1");
    assert_string_equal(r->topic[1]->name, "topic-9");
    assert_null(r->topic[2]->name);
    assert_int_equal(r->topic[2]->topic_id.len, 16);
    assert_non_null(strstr(r->topic[3]->partition[0]->error->message, "no partition 7: it has 2"));
}

/*
 * Of two partitions that a request waits for, one ends its wait with an error, the other is still
 * waiting when the time is over: both must be told as they are, above all the first.
 */
static void a_failed_wait_is_not_forgotten_when_time_is_over(void **state)
{
    struct handlers_world *h = *state;
    struct made_batch m[2];
    apply_topic(&h->t, 2, &ours);
    world_settle(&h->t.w);
    const struct part parts[] = {{.topic = 1, .batches = batch_bytes(&m[0], 1)},
                                 {.topic = 2, .batches = batch_bytes(&m[1], 1)}};
    const uint64_t id = put_produce(&h->c, -1, 20, parts, 2);
    exchange(h, &h->c);
    struct shape lost = ours;
    lost.leader = OTHER;
    lost.leader_epoch = 1;
    apply_topic(&h->t, 1, &lost);
    pass(&h->t.w, 10 * 1000);
    assert_null(answer_to(&h->c, id));
    pass(&h->t.w, 15 * 1000);
    assert_err(error_code(produced(&h->c, id, 0)->error), E_NOT_LEADER);
    assert_err(error_code(produced(&h->c, id, 1)->error), E_TIMED_OUT);
    assert_non_null(strstr(produced(&h->c, id, 0)->error->message, "outcome is unknown"));
    assert_non_null(strstr(produced(&h->c, id, 1)->error->message, "outcome is unknown"));
    world_settle(&h->t.w);
}

/* --- waits that end otherwise ------------------------------------------------------------- */

static void time_is_over(void **state)
{
    struct handlers_world *h = *state;
    const uint64_t at_once = put_one(&h->c, -1, 0, 0, 1);
    const uint64_t soon = put_one(&h->c, -1, 20, 0, 1);
    const uint64_t never = put_one(&h->c, -1, UINT32_MAX, 0, 1);
    exchange(h, &h->c);
    assert_err(error_code(produced(&h->c, at_once, 0)->error), E_TIMED_OUT);
    assert_null(answer_to(&h->c, soon));
    pass(&h->t.w, 21 * 1000);
    assert_err(error_code(produced(&h->c, soon, 0)->error), E_TIMED_OUT);
    world_settle(&h->t.w);
    assert_null(produced(&h->c, never, 0)->error);
    assert_int_equal(log_end(h, 1, 0), 3); /* all of them are there */
}

/* Both ends of a wait fall into one turn: the timer comes first, and finds that it came too late.
 */
static void time_is_over_when_it_is_confirmed(void **state)
{
    struct handlers_world *h = *state;
    const uint64_t id = put_one(&h->c, -1, SLOW_US / 1000, 0, 1);
    flush_requests(&h->c);
    world_settle(&h->t.w);
    assert_null(produced(&h->c, id, 0)->error);
}

static void a_failed_flush_is_told(void **state)
{
    struct handlers_world *h = *state;
    const uint64_t first = put_one(&h->c, -1, 1000, 0, 1);
    exchange(h, &h->c);
    fail_from(&h->t.w, 0, FAKE_FAIL);
    world_settle(&h->t.w);
    assert_err(error_code(produced(&h->c, first, 0)->error), E_STORAGE);
    assert_non_null(strstr(produced(&h->c, first, 0)->error->message, "outcome is unknown"));
    const uint64_t second = put_one(&h->c, -1, 1000, 0, 1);
    exchange(h, &h->c);
    assert_err(error_code(produced(&h->c, second, 0)->error), E_STORAGE);
    assert_non_null(strstr(produced(&h->c, second, 0)->error->message, "topic-1"));
}

static void a_full_disk_is_told(void **state)
{
    struct handlers_world *h = *state;
    fill(h, 1, 0, 1, 1);
    fake_fsio_set_full(h->t.w.fs, true);
    const uint64_t id = put_one(&h->c, -1, 1000, 0, 1);
    exchange(h, &h->c);
    assert_err(error_code(produced(&h->c, id, 0)->error), E_NO_SPACE);
    assert_int_equal(produced(&h->c, id, 0)->error->class_, CLASS_RETRY);
    assert_non_null(strstr(produced(&h->c, id, 0)->error->message, "nothing was appended"));
}

static void a_deleted_topic_ends_the_wait(void **state)
{
    struct handlers_world *h = *state;
    const uint64_t id = put_one(&h->c, -1, 10000, 0, 1);
    exchange(h, &h->c);
    apply_deletion(&h->t, 1);
    pass(&h->t.w, 10);
    assert_err(error_code(produced(&h->c, id, 0)->error), E_UNKNOWN_TOPIC_OR_PARTITION);
    const uint64_t after = put_one(&h->c, -1, 10000, 0, 1);
    exchange(h, &h->c);
    assert_err(error_code(produced(&h->c, after, 0)->error), E_UNKNOWN_TOPIC_OR_PARTITION);
}

static void whoever_leaves_is_not_waited_for(void **state)
{
    struct handlers_world *h = *state;
    struct client other;
    connect_client(h, &other);
    put_one(&other, -1, 10000, 0, 1);
    put_one(&other, -1, 10000, 1, 1);
    exchange(h, &other);
    leave(h, &other);
    assert_int_equal(partition_table_waiting(h->t.table), 0);
    world_settle(&h->t.w);
    assert_int_equal(log_end(h, 1, 0), 1);
}

static void stopping_tells_who_waits(void **state)
{
    struct handlers_world *h = *state;
    const uint64_t id = put_one(&h->c, -1, 10000, 0, 1);
    exchange(h, &h->c);
    service_stop(h->service);
    pass(&h->t.w, 100);
    assert_err(error_code(produced(&h->c, id, 0)->error), E_SHUTTING_DOWN);
    assert_non_null(strstr(produced(&h->c, id, 0)->error->message, "outcome is unknown"));
    world_settle(&h->t.w);
    assert_true(h->is_stopped);
    assert_true(h->c.is_closed);
}

/* --- refusals --------------------------------------------------------------------------------- */

static void requests_that_make_no_sense(void **state)
{
    struct handlers_world *h = *state;
    const uint64_t acks = put_one(&h->c, 2, 1000, 0, 1);
    const uint64_t nothing = put_produce(&h->c, -1, 1000, NULL, 0);
    const struct part empty = {.topic = 1};
    const uint64_t no_batches = put_produce(&h->c, -1, 1000, &empty, 1);
    exchange(h, &h->c);
    assert_refused(&h->c, acks, E_INVALID_REQUIRED_ACKS, "acks is 2");
    assert_int_equal(answer_to(&h->c, nothing)->produce->n_topic, 0);
    assert_err(error_code(produced(&h->c, no_batches, 0)->error), E_INVALID_RECORD);
}

static void epochs_are_checked(void **state)
{
    struct handlers_world *h = *state;
    struct made_batch m;
    struct shape s = ours;
    s.leader_epoch = 5;
    apply_topic(&h->t, 1, &s);
    static const struct {
        int32_t epoch;
        err expected;
    } cases[] = {{4, E_FENCED_LEADER_EPOCH}, {5, OK}, {6, E_UNKNOWN_LEADER_EPOCH}};
    uint64_t ids[3];
    for (int i = 0; i < 3; i++) {
        const struct part part = {
            .topic = 1, .has_epoch = true, .epoch = cases[i].epoch, .batches = batch_bytes(&m, 1)};
        ids[i] = put_produce(&h->c, -1, 1000, &part, 1);
    }
    flush_requests(&h->c);
    world_settle(&h->t.w);
    for (int i = 0; i < 3; i++)
        assert_err(error_code(produced(&h->c, ids[i], 0)->error), cases[i].expected);
    assert_int_equal(log_end(h, 1, 0), 1);
}

static void a_topic_that_was_made_again_is_another(void **state)
{
    struct handlers_world *h = *state;
    struct shape again = ours;
    const uint64_t before = put_one(&h->c, 1, 1000, 0, 5);
    exchange(h, &h->c);
    assert_null(produced(&h->c, before, 0)->error);
    apply_deletion(&h->t, 1);
    again.named = 1;
    apply_topic(&h->t, 2, &again);
    world_settle(&h->t.w);
    const uint64_t after = put_one(&h->c, 1, 1000, 0, 1);
    exchange(h, &h->c);
    assert_int_equal(produced(&h->c, after, 0)->base_offset, 0);
}

static void the_leader_is_named(void **state)
{
    struct handlers_world *h = *state;
    const struct endpoint at[] = {{"INTERNAL", "inside", 1}, {"CLIENT", "elsewhere", 4711}};
    const struct broker other = {.id = OTHER, .rack = "", .endpoints = at, .endpoint_count = 2};
    struct shape s = ours;
    s.leader = OTHER;
    s.leader_epoch = 8;
    struct cluster_edit *e = edit(&h->t);
    cluster_edit_broker(e, broker_new(&other));
    cluster_edit_topic(e, make_topic(1, &s));
    apply(&h->t, e);
    const uint64_t id = put_one(&h->c, 1, 1000, 0, 1);
    exchange(h, &h->c);
    const Sluice__ProducePartitionResult *r = produced(&h->c, id, 0);
    assert_err(error_code(r->error), E_NOT_LEADER);
    assert_int_equal(r->leader_id, OTHER);
    assert_string_equal(r->leader_host, "elsewhere"); /* of the listener we came through */
    assert_int_equal(r->leader_port, 4711);
    assert_int_equal(r->leader_epoch, 8);
}

static void stamped_time_is_told(void **state)
{
    struct handlers_world *h = *state;
    static const struct property set = {"message.timestamp.type", "LogAppendTime"};
    struct shape s = ours;
    s.configs = &set;
    s.config_count = 1;
    apply_topic(&h->t, 1, &s);
    const uint64_t first = put_one(&h->c, 1, 1000, 0, 1);
    const uint64_t second = put_one(&h->c, 1, 1000, 0, 1);
    exchange(h, &h->c);
    const int64_t stamped = produced(&h->c, first, 0)->log_append_time_ms;
    assert_int_equal(produced(&h->c, second, 0)->log_append_time_ms, stamped);
    pass(&h->t.w, 5000);
    const uint64_t later = put_one(&h->c, 1, 1000, 0, 1);
    exchange(h, &h->c);
    assert_in_range(produced(&h->c, later, 0)->log_append_time_ms - stamped, 5, 6);
}

static void changed_rules_hold_from_the_next_batch_on(void **state)
{
    struct handlers_world *h = *state;
    static const struct property set = {"max.message.bytes", "100"};
    struct shape s = ours;
    const uint64_t before = put_one(&h->c, 1, 1000, 0, 3);
    exchange(h, &h->c);
    s.configs = &set;
    s.config_count = 1;
    apply_topic(&h->t, 1, &s);
    const uint64_t after = put_one(&h->c, 1, 1000, 0, 3);
    exchange(h, &h->c);
    assert_null(produced(&h->c, before, 0)->error);
    assert_err(error_code(produced(&h->c, after, 0)->error), E_MESSAGE_TOO_LARGE);
}

int main(int argc, char **argv)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(acks_decide_when_it_is_answered),
        T(a_refused_request_without_acks_closes),
        T(page_cache_needs_no_flush),
        T(what_comes_together_is_written_together),
        T(runs_end_where_partition_or_acks_change),
        T(a_refused_batch_does_not_disturb_its_neighbours),
        T(a_run_that_is_full_is_written),
        T(partitions_are_answered_in_the_order_asked),
        T(a_failed_wait_is_not_forgotten_when_time_is_over),
        T(time_is_over),
        T(time_is_over_when_it_is_confirmed),
        T(a_failed_flush_is_told),
        T(a_full_disk_is_told),
        T(a_deleted_topic_ends_the_wait),
        T(whoever_leaves_is_not_waited_for),
        T(stopping_tells_who_waits),
        T(requests_that_make_no_sense),
        T(epochs_are_checked),
        T(a_topic_that_was_made_again_is_another),
        T(the_leader_is_named),
        T(stamped_time_is_told),
        T(changed_rules_hold_from_the_next_batch_on),
    };
    return TEST_MAIN(tests, NULL, NULL);
}
