/* SPDX-License-Identifier: Apache-2.0 */
/* Fetch requests: running, parked, warming, and every way out of each. */
#include "tests/unit/broker_server/handlers_world.h"

static int setup(void **state)
{
    *state = handlers_world_new(0);
    return 0;
}

static int teardown(void **state)
{
    handlers_world_free(*state);
    return 0;
}

static uint64_t put_tail(struct client *x, uint32_t max_wait_ms, uint32_t min_bytes, int64_t offset)
{
    const struct part part = {.topic = 1, .offset = offset};
    const struct fetch_wants wants = {.max_wait_ms = max_wait_ms, .min_bytes = min_bytes};
    return put_fetch(x, &wants, &part, 1);
}

/* The bytes of a batch of so many records. */
static uint32_t size_of(uint32_t records)
{
    struct made_batch m;
    return (uint32_t)batch_bytes(&m, records).size;
}

/* --- running -------------------------------------------------------------------------- */

static void what_is_there_is_answered_at_once(void **state)
{
    struct handlers_world *h = *state;
    fill(h, 1, 0, 3, 2);
    const uint64_t id = put_tail(&h->c, 10000, 1, 2);
    exchange(h, &h->c);
    const Sluice__FetchPartitionResult *r = fetched(&h->c, id, 0);
    assert_int_equal(batches_in(r, 2), 2);
    assert_int_equal(r->high_watermark, 6);
    assert_int_equal(r->log_start_offset, 0);
    assert_string_equal(answer_to(&h->c, id)->fetch->topic[0]->name, "topic-1");
    assert_int_equal(counted(h->counters.bytes_out), 2 * size_of(2));
}

static void a_fetch_of_nothing_is_an_answer(void **state)
{
    struct handlers_world *h = *state;
    const struct fetch_wants wants = {.max_wait_ms = 10000, .min_bytes = 1};
    const uint64_t id = put_fetch(&h->c, &wants, NULL, 0);
    exchange(h, &h->c);
    assert_int_equal(answer_to(&h->c, id)->fetch->n_topic, 0);
}

static void limits_hold_but_for_the_first_batch(void **state)
{
    struct handlers_world *h = *state;
    const uint32_t one = size_of(2);
    fill(h, 1, 0, 5, 2);
    fill(h, 1, 1, 5, 2);
    const struct part small[] = {{.topic = 1, .partition = 0, .max_bytes = 1},
                                 {.topic = 1, .partition = 1, .max_bytes = 1}};
    const struct part large[] = {{.topic = 1, .partition = 0}, {.topic = 1, .partition = 1}};
    const struct fetch_wants tiny = {.min_bytes = 1, .max_bytes = 1};
    const struct fetch_wants some = {.min_bytes = 1, .max_bytes = 7 * one};
    const uint64_t by_partition = put_fetch(&h->c, &(struct fetch_wants){.min_bytes = 1}, small, 2);
    const uint64_t by_request = put_fetch(&h->c, &tiny, large, 2);
    const uint64_t shared = put_fetch(&h->c, &some, large, 2);
    exchange(h, &h->c);
    assert_int_equal(batches_in(fetched(&h->c, by_partition, 0), 0), 1);
    assert_int_equal(batches_in(fetched(&h->c, by_partition, 1), 0), 0);
    assert_int_equal(batches_in(fetched(&h->c, by_request, 0), 0), 1);
    assert_int_equal(batches_in(fetched(&h->c, by_request, 1), 0), 0);
    assert_int_equal(fetched(&h->c, by_request, 1)->high_watermark, 10);
    assert_int_equal(batches_in(fetched(&h->c, shared, 0), 0), 5);
    assert_int_equal(batches_in(fetched(&h->c, shared, 1), 0), 2);
}

/* --- parked ------------------------------------------------------------------------------- */

static void a_produce_ends_the_wait(void **state)
{
    struct handlers_world *h = *state;
    struct client other;
    struct made_batch m;
    connect_client(h, &other);
    const uint64_t id = put_tail(&h->c, 10000, 1, 0);
    exchange(h, &h->c);
    assert_null(answer_to(&h->c, id));
    const struct part part = {.topic = 1, .batches = batch_bytes(&m, 2)};
    put_produce(&other, 1, 1000, &part, 1);
    exchange(h, &other);
    assert_null(answer_to(&h->c, id)); /* appended, but not confirmed */
    pass(&h->t.w, FLUSH_US + 10);
    assert_int_equal(batches_in(fetched(&h->c, id, 0), 0), 1);
    leave(h, &other);
}

static void time_ends_the_wait(void **state)
{
    struct handlers_world *h = *state;
    const uint64_t now = put_tail(&h->c, 0, 1, 0);
    const uint64_t soon = put_tail(&h->c, 30, 1, 0);
    const uint64_t capped = put_tail(&h->c, UINT32_MAX, 1, 0);
    exchange(h, &h->c);
    assert_int_equal(batches_in(fetched(&h->c, now, 0), 0), 0);
    pass(&h->t.w, 29 * 1000);
    assert_null(answer_to(&h->c, soon));
    pass(&h->t.w, 2 * 1000);
    assert_int_equal(fetched(&h->c, soon, 0)->high_watermark, 0);
    assert_null(fetched(&h->c, soon, 0)->error);
    pass(&h->t.w, (int64_t)299 * SECOND_US);
    assert_null(answer_to(&h->c, capped));
    pass(&h->t.w, 2 * SECOND_US);
    assert_non_null(answer_to(&h->c, capped)); /* five minutes is the longest */
}

static void min_bytes_gathers_over_partitions(void **state)
{
    struct handlers_world *h = *state;
    const uint32_t one = size_of(1);
    const struct part parts[] = {{.topic = 1, .partition = 0}, {.topic = 1, .partition = 1}};
    const struct fetch_wants wants = {.max_wait_ms = 20000, .min_bytes = 4 * one};
    const uint64_t id = put_fetch(&h->c, &wants, parts, 2);
    exchange(h, &h->c);
    fill(h, 1, 0, 1, 1);
    fill(h, 1, 1, 1, 1);
    fill(h, 1, 0, 1, 1);
    assert_null(answer_to(&h->c, id));
    fill(h, 1, 1, 1, 1);
    assert_int_equal(batches_in(fetched(&h->c, id, 0), 0), 2);
    assert_int_equal(batches_in(fetched(&h->c, id, 1), 0), 2);
}

static void time_gives_what_there_is(void **state)
{
    struct handlers_world *h = *state;
    fill(h, 1, 0, 1, 1);
    const uint64_t id = put_tail(&h->c, 30, 1 << 20, 0);
    exchange(h, &h->c);
    assert_null(answer_to(&h->c, id));
    pass(&h->t.w, 31 * 1000);
    assert_int_equal(batches_in(fetched(&h->c, id, 0), 0), 1);
}

static void waiting_for_more_than_may_come_is_not_done(void **state)
{
    struct handlers_world *h = *state;
    const uint32_t one = size_of(1);
    fill(h, 1, 0, 5, 1);
    /* Its own limit cuts it: nothing that comes would make it more. */
    const struct part part = {.topic = 1, .max_bytes = 2 * one + one / 2};
    const struct fetch_wants cut = {.max_wait_ms = 10000, .min_bytes = 1 << 20};
    const uint64_t by_partition = put_fetch(&h->c, &cut, &part, 1);
    const struct part whole = {.topic = 1};
    const struct fetch_wants both = {
        .max_wait_ms = 10000, .min_bytes = UINT32_MAX, .max_bytes = 3 * one};
    const uint64_t by_request = put_fetch(&h->c, &both, &whole, 1);
    const struct fetch_wants exact = {
        .max_wait_ms = 10000, .min_bytes = UINT32_MAX, .max_bytes = 5 * one};
    const uint64_t all = put_fetch(&h->c, &exact, &whole, 1);
    exchange(h, &h->c);
    assert_int_equal(batches_in(fetched(&h->c, by_partition, 0), 0), 2);
    assert_int_equal(batches_in(fetched(&h->c, by_request, 0), 0), 3);
    assert_int_equal(batches_in(fetched(&h->c, all, 0), 0), 5);
}

/* Both ends of a wait fall into one turn: the timer comes first, and finds that it came too late.
 */
static void time_is_over_when_a_record_comes(void **state)
{
    struct handlers_world *h = *state;
    struct made_batch m;
    const uint64_t id = put_tail(&h->c, FLUSH_US / 1000, 1, 0);
    const struct part part = {.topic = 1, .batches = batch_bytes(&m, 1)};
    put_produce(&h->c, 1, 1000, &part, 1);
    exchange(h, &h->c);
    assert_null(answer_to(&h->c, id));
    pass(&h->t.w, FLUSH_US);
    assert_int_equal(batches_in(fetched(&h->c, id, 0), 0), 1);
}

static void many_wait_for_one_record(void **state)
{
    struct handlers_world *h = *state;
    uint64_t ids[100];
    for (int i = 0; i < 100; i++)
        ids[i] = put_tail(&h->c, 10000, 1, 0);
    exchange(h, &h->c);
    fill(h, 1, 0, 1, 1);
    for (int i = 0; i < 100; i++)
        assert_int_equal(batches_in(fetched(&h->c, ids[i], 0), 0), 1);
}

static void losing_the_lead_ends_the_wait(void **state)
{
    struct handlers_world *h = *state;
    struct shape lost = ours;
    const uint64_t id = put_tail(&h->c, 10000, 1, 0);
    exchange(h, &h->c);
    lost.leader = OTHER;
    lost.leader_epoch = 1;
    apply_topic(&h->t, 1, &lost);
    pass(&h->t.w, 10);
    assert_err(error_code(fetched(&h->c, id, 0)->error), E_NOT_LEADER);
}

static void a_new_epoch_fences_who_claims_the_old_one(void **state)
{
    struct handlers_world *h = *state;
    struct shape s = ours;
    const struct part part = {.topic = 1, .has_epoch = true, .epoch = 0};
    const uint64_t id =
        put_fetch(&h->c, &(struct fetch_wants){.max_wait_ms = 30, .min_bytes = 1}, &part, 1);
    exchange(h, &h->c);
    s.leader_epoch = 1;
    apply_topic(&h->t, 1, &s);
    pass(&h->t.w, 31 * 1000);
    assert_err(error_code(fetched(&h->c, id, 0)->error), E_FENCED_LEADER_EPOCH);
}

static void deleting_the_topic_ends_the_wait(void **state)
{
    struct handlers_world *h = *state;
    const uint64_t id = put_tail(&h->c, 10000, 1, 0);
    exchange(h, &h->c);
    apply_deletion(&h->t, 1);
    pass(&h->t.w, 10);
    assert_err(error_code(fetched(&h->c, id, 0)->error), E_UNKNOWN_TOPIC_OR_PARTITION);
}

static void whoever_leaves_is_forgotten(void **state)
{
    struct handlers_world *h = *state;
    struct client other;
    connect_client(h, &other);
    for (int i = 0; i < 10; i++)
        put_tail(&other, 10000, 1, 0);
    exchange(h, &other);
    leave(h, &other);
    fill(h, 1, 0, 1, 1);
    assert_int_equal(other.answered, 0);
    assert_int_equal(service_connections(h->service), 1);
}

/* The record and the hang-up come in the same turn: the wait has fired, its mail is on its way. */
static void leaving_while_the_answer_is_on_its_way(void **state)
{
    struct handlers_world *h = *state;
    struct client other;
    struct partition *p;
    struct partition_appended done;
    connect_client(h, &other);
    put_tail(&other, 10000, 1, 0);
    exchange(h, &other);
    assert_ok(find(&h->t, 1, 0, &p));
    assert_ok(append(p, 1, false, -1, &done));
    pass(&h->t.w, FLUSH_US - 1);
    conn_close(other.conn);
    pass(&h->t.w, 10);
    partition_unref(p);
    leave(h, &other);
}

static void stopping_answers_who_waits(void **state)
{
    struct handlers_world *h = *state;
    const uint64_t id = put_tail(&h->c, 100000, 1, 0);
    exchange(h, &h->c);
    service_stop(h->service);
    pass(&h->t.w, 1000);
    assert_int_equal(batches_in(fetched(&h->c, id, 0), 0), 0);
    assert_true(h->is_stopped);
    assert_true(h->c.is_closed);
}

/* --- warming -----------------------------------------------------------------------------------
 */

/* A log whose pages have to come from the disk. */
static void make_cold(struct handlers_world *h, unsigned batches)
{
    fill(h, 1, 0, batches, 2);
    fill(h, 1, 1, batches, 2);
    leave(h, &h->c);
    stop_service(h);
    service_free(h->service);
    lane_deinit(&h->lane);
    restart(&h->t, FAKE_KILL);
    lane_init(&h->lane, h->t.w.net, h->t.table, h->readers, h->counters);
    start_service(h);
    struct shape s = ours;
    s.leader_epoch = 1;
    apply_topic(&h->t, 1, &s);
    world_settle(&h->t.w);
    fake_fsio_set_cold(h->t.w.fs, true);
    connect_client(h, &h->c);
}

static void a_worker_warms_what_is_cold(void **state)
{
    struct handlers_world *h = *state;
    make_cold(h, 3);
    const uint64_t id = put_tail(&h->c, 0, 1, 0);
    exchange(h, &h->c);
    assert_null(answer_to(&h->c, id)); /* even without a wait: the loop does not block */
    pass(&h->t.w, WARM_US);
    assert_int_equal(batches_in(fetched(&h->c, id, 0), 0), 3);
    assert_int_equal(counted(h->counters.cold_reads), 1);
}

static void several_cold_partitions_share_one_trip(void **state)
{
    struct handlers_world *h = *state;
    make_cold(h, 3);
    const struct part parts[] = {{.topic = 1, .partition = 0}, {.topic = 1, .partition = 1}};
    const struct fetch_wants wants = {.max_wait_ms = 1000, .min_bytes = 1};
    const uint64_t id = put_fetch(&h->c, &wants, parts, 2);
    exchange(h, &h->c);
    pass(&h->t.w, WARM_US);
    assert_int_equal(batches_in(fetched(&h->c, id, 0), 0), 3);
    assert_int_equal(batches_in(fetched(&h->c, id, 1), 0), 3);
    assert_int_equal(counted(h->counters.cold_reads), 1);
}

static void no_more_is_warmed_than_may_be_answered(void **state)
{
    struct handlers_world *h = *state;
    const uint32_t one = size_of(2);
    make_cold(h, 5);
    const struct part parts[] = {{.topic = 1, .partition = 0}, {.topic = 1, .partition = 1}};
    const struct fetch_wants wants = {.max_wait_ms = 1000, .min_bytes = 1, .max_bytes = 2 * one};
    const uint64_t id = put_fetch(&h->c, &wants, parts, 2);
    exchange(h, &h->c);
    pass(&h->t.w, WARM_US);
    assert_int_equal(batches_in(fetched(&h->c, id, 0), 0), 2);
    assert_int_equal(batches_in(fetched(&h->c, id, 1), 0), 0);
    assert_int_equal(counted(h->counters.cold_reads), 1);
}

static void the_loop_blocks_on_no_more_than_was_warmed(void **state)
{
    struct handlers_world *h = *state;
    const uint32_t one = size_of(2);
    fill(h, 1, 1, 7, 2);
    make_cold(h, 1);
    const struct part parts[] = {{.topic = 1, .partition = 0, .max_bytes = 5 * one},
                                 {.topic = 1, .partition = 1}};
    const struct fetch_wants wants = {.max_wait_ms = 1000, .min_bytes = 1, .max_bytes = 10 * one};
    const uint64_t id = put_fetch(&h->c, &wants, parts, 2);
    exchange(h, &h->c);
    pass(&h->t.w, WARM_US);
    /* The first gave less than it might have; the second still gives what was brought for it. */
    assert_int_equal(batches_in(fetched(&h->c, id, 0), 0), 1);
    assert_int_equal(batches_in(fetched(&h->c, id, 1), 0), 5);
}

static void time_may_end_while_warming(void **state)
{
    struct handlers_world *h = *state;
    make_cold(h, 2);
    const uint64_t id = put_tail(&h->c, 1, 1 << 20, 0);
    exchange(h, &h->c);
    pass(&h->t.w, WARM_US - 100);
    assert_null(answer_to(&h->c, id));
    pass(&h->t.w, 200);
    assert_int_equal(batches_in(fetched(&h->c, id, 0), 0), 2);
}

static void leaving_while_warming(void **state)
{
    struct handlers_world *h = *state;
    struct client other;
    make_cold(h, 2);
    connect_client(h, &other);
    put_tail(&other, 1000, 1, 0);
    exchange(h, &other);
    leave(h, &other);
    assert_int_equal(service_connections(h->service), 2); /* until the worker has come back */
    pass(&h->t.w, WARM_US);
    assert_int_equal(service_connections(h->service), 1);
}

static void stopping_waits_for_the_worker(void **state)
{
    struct handlers_world *h = *state;
    make_cold(h, 2);
    put_tail(&h->c, 1000, 1, 0);
    exchange(h, &h->c);
    service_stop(h->service);
    pass(&h->t.w, 100);
    assert_false(h->is_stopped);
    pass(&h->t.w, WARM_US);
    assert_true(h->is_stopped);
}

static void a_topic_may_go_while_warming(void **state)
{
    struct handlers_world *h = *state;
    make_cold(h, 2);
    const uint64_t id = put_tail(&h->c, 1000, 1, 0);
    exchange(h, &h->c);
    apply_deletion(&h->t, 1);
    pass(&h->t.w, WARM_US);
    assert_err(error_code(fetched(&h->c, id, 0)->error), E_UNKNOWN_TOPIC_OR_PARTITION);
}

static void warm_again_after_a_wait(void **state)
{
    struct handlers_world *h = *state;
    make_cold(h, 1);
    const uint32_t one = size_of(2);
    const struct part parts[] = {{.topic = 1, .partition = 0}, {.topic = 1, .partition = 1}};
    const struct fetch_wants wants = {.max_wait_ms = 10000, .min_bytes = 3 * one};
    const uint64_t id = put_fetch(&h->c, &wants, parts, 2);
    exchange(h, &h->c);
    pass(&h->t.w, WARM_US);
    assert_null(answer_to(&h->c, id)); /* warm, but too little: parked */
    assert_int_equal(counted(h->counters.cold_reads), 1);
    fake_fsio_set_cold(h->t.w.fs, true);
    fill(h, 1, 0, 1, 2);
    assert_int_equal(batches_in(fetched(&h->c, id, 0), 0), 2);
    assert_int_equal(batches_in(fetched(&h->c, id, 1), 0), 1);
    assert_int_equal(counted(h->counters.cold_reads), 2);
}

/* --- refusals ------------------------------------------------------------------------------------
 */

static void offsets_that_are_not_there(void **state)
{
    struct handlers_world *h = *state;
    fill(h, 1, 0, 2, 2);
    for (int i = 0; i < 3; i++) {
        static const int64_t offsets[] = {-1, 5, INT64_MAX};
        const uint64_t id = put_tail(&h->c, 10000, 1, offsets[i]);
        exchange(h, &h->c);
        const Sluice__FetchPartitionResult *r = fetched(&h->c, id, 0);
        assert_err(error_code(r->error), E_OFFSET_OUT_OF_RANGE);
        assert_int_equal(r->high_watermark, 4);
        assert_int_equal(r->log_start_offset, 0);
        assert_non_null(strstr(r->error->message, "0 to 4 can be read"));
    }
}

static void one_bad_partition_answers_for_all(void **state)
{
    struct handlers_world *h = *state;
    fill(h, 1, 1, 1, 1);
    const struct part parts[] = {{.topic = 1, .partition = 0},
                                 {.topic = 9},
                                 {.topic = 1, .by_id = true, .partition = 1},
                                 {.topic = 1, .partition = 5}};
    const struct fetch_wants wants = {.max_wait_ms = 10000, .min_bytes = 1 << 20};
    const uint64_t id = put_fetch(&h->c, &wants, parts, 4);
    exchange(h, &h->c);
    assert_null(fetched(&h->c, id, 0)->error);
    assert_err(error_code(fetched(&h->c, id, 1)->error), E_UNKNOWN_TOPIC_OR_PARTITION);
    assert_int_equal(batches_in(fetched(&h->c, id, 2), 0), 1);
    assert_err(error_code(fetched(&h->c, id, 3)->error), E_UNKNOWN_TOPIC_OR_PARTITION);
    const Sluice__FetchResponse *r = answer_to(&h->c, id)->fetch;
    assert_string_equal(r->topic[1]->name, "topic-9");
    assert_null(r->topic[2]->name);
    assert_int_equal(r->topic[2]->topic_id.len, 16);
    assert_non_null(strstr(r->topic[1]->partition[0]->error->message, "does not exist"));
}

static void a_fenced_disk_is_still_read(void **state)
{
    struct handlers_world *h = *state;
    struct made_batch m;
    fill(h, 1, 0, 2, 1);
    const struct part part = {.topic = 1, .batches = batch_bytes(&m, 1)};
    put_produce(&h->c, 1, 1000, &part, 1);
    exchange(h, &h->c);
    fail_from(&h->t.w, 0, FAKE_FAIL);
    world_settle(&h->t.w);
    const uint64_t read = put_tail(&h->c, 1000, 1, 0);
    const uint64_t tail = put_tail(&h->c, 30, 1, 2);
    exchange(h, &h->c);
    assert_int_equal(batches_in(fetched(&h->c, read, 0), 0), 2);
    assert_null(answer_to(&h->c, tail));
    pass(&h->t.w, 31 * 1000);
    assert_int_equal(batches_in(fetched(&h->c, tail, 0), 2), 0);
    assert_null(fetched(&h->c, tail, 0)->error);
}

/*
 * Goal: no order of what can happen to waiting fetches loses one or answers it twice, and each says
 * what is there. Method: three clients ask, leave, come back; records are appended, the lead is
 * lost and found, pages go cold, time passes by chance. At the end all that was asked by who stayed
 * is answered.
 */
static void any_order_of_events_answers_each_once(void **state)
{
    struct handlers_world *h = *state;
    struct rng *rng = &h->t.w.rng;
    struct client clients[3];
    struct shape s = ours;
    for (int i = 0; i < 3; i++)
        connect_client(h, &clients[i]);
    for (int step = 0; step < 400; step++) {
        struct client *x = &clients[rng_below(rng, 3)];
        const struct part parts[] = {
            {.topic = 1, .offset = (int64_t)rng_below(rng, 30)},
            {.topic = 1, .partition = 1, .offset = (int64_t)rng_below(rng, 30)}};
        struct partition *p;
        struct partition_appended done;
        switch (rng_below(rng, 8)) {
        case 0:
            assert_ok(find(&h->t, 1, (uint32_t)rng_below(rng, 2), &p));
            if (append(p, 1, false, -1, &done) != OK)
                assert_int_equal(s.leader, OTHER);
            partition_unref(p);
            break;
        case 1:
            s.leader = s.leader == ME && rng_below(rng, 3) == 0 ? OTHER : ME;
            s.leader_epoch++;
            apply_topic(&h->t, 1, &s);
            break;
        case 2:
            fake_fsio_set_cold(h->t.w.fs, rng_below(rng, 2));
            break;
        case 3:
            if (rng_below(rng, 4) == 0 || x->last_id + 8 > ANSWERS_MAX) {
                leave(h, x);
                connect_client(h, x);
            }
            break;
        default: {
            const struct fetch_wants wants = {.max_wait_ms = (uint32_t)rng_below(rng, 20),
                                              .min_bytes = (uint32_t)rng_below(rng, 600)};
            put_fetch(x, &wants, parts, 1 + rng_below(rng, 2));
            flush_requests(x);
        }
        }
        pass(&h->t.w, (int64_t)rng_below(rng, 2000));
    }
    world_settle(&h->t.w);
    for (int i = 0; i < 3; i++) {
        for (uint64_t id = 2; id <= clients[i].last_id; id++) {
            assert_non_null(answer_to(&clients[i], id)); /* twice: see client_on_frame */
            assert_null(answer_to(&clients[i], id)->error);
        }
        leave(h, &clients[i]);
    }
}

int main(int argc, char **argv)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(what_is_there_is_answered_at_once),
        T(a_fetch_of_nothing_is_an_answer),
        T(limits_hold_but_for_the_first_batch),
        T(a_produce_ends_the_wait),
        T(time_ends_the_wait),
        T(min_bytes_gathers_over_partitions),
        T(time_gives_what_there_is),
        T(waiting_for_more_than_may_come_is_not_done),
        T(time_is_over_when_a_record_comes),
        T(many_wait_for_one_record),
        T(losing_the_lead_ends_the_wait),
        T(a_new_epoch_fences_who_claims_the_old_one),
        T(deleting_the_topic_ends_the_wait),
        T(whoever_leaves_is_forgotten),
        T(leaving_while_the_answer_is_on_its_way),
        T(stopping_answers_who_waits),
        T(a_worker_warms_what_is_cold),
        T(several_cold_partitions_share_one_trip),
        T(no_more_is_warmed_than_may_be_answered),
        T(the_loop_blocks_on_no_more_than_was_warmed),
        T(time_may_end_while_warming),
        T(leaving_while_warming),
        T(stopping_waits_for_the_worker),
        T(a_topic_may_go_while_warming),
        T(warm_again_after_a_wait),
        T(offsets_that_are_not_there),
        T(one_bad_partition_answers_for_all),
        T(a_fenced_disk_is_still_read),
        T(any_order_of_events_answers_each_once),
    };
    return TEST_MAIN(tests, NULL, NULL);
}
