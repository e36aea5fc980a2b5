/* SPDX-License-Identifier: Apache-2.0 */
/* One partition over its log: when records are confirmed and can be read, and who is told what. */
#include "tests/unit/broker_replica/replica_world.h"

struct fixture {
    struct world w;
    struct log *log;
    struct partition_conf conf;
    struct partition *p;
};

static const struct log_identity identity = {
    .topic = "orders", .partition = 3, .topic_id = {{9, 8, 7}}};

static struct partition_role leads(int32_t epoch, uint32_t partition_epoch, uint32_t isr_count)
{
    return (struct partition_role){.is_leader = true,
                                   .leader_id = 1,
                                   .leader_epoch = epoch,
                                   .partition_epoch = partition_epoch,
                                   .isr_count = isr_count};
}

static err set_role(struct fixture *f, struct partition_role role)
{
    return partition_set_role(f->p, &role);
}

static void on_created(void *arg, struct log *g, err e)
{
    assert_ok(e);
    ((struct fixture *)arg)->log = g;
}

static int setup(void **state)
{
    struct fixture *f = MEM_NEW(struct fixture);
    world_init(&f->w, 1);
    f->conf = (struct partition_conf){.log = world_log_conf, .min_insync_replicas = 1};
    log_manager_create(f->w.logs, &identity, &f->conf.log, on_created, f);
    world_settle(&f->w);
    f->p = partition_new(f->log, &f->conf);
    assert_ok(set_role(f, leads(1, 1, 1)));
    *state = f;
    return 0;
}

static void drop(struct fixture *f)
{
    if (!f->p)
        return;
    partition_stop(f->p, E_SHUTTING_DOWN);
    partition_unref(f->p);
    f->p = NULL;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    drop(f);
    world_settle(&f->w);
    world_deinit(&f->w);
    mem_free(f);
    return 0;
}

static void restart(struct fixture *f, enum fake_crash how)
{
    drop(f);
    world_restart(&f->w, how);
    f->log = log_manager_find(f->w.logs, &identity.topic_id, identity.partition);
    assert_non_null(f->log);
    f->p = partition_new(f->log, &f->conf);
}

static struct partition_ends ends(struct fixture *f)
{
    struct partition_ends e;
    partition_ends(f->p, &e);
    return e;
}

static struct partition_appended append_ok(struct fixture *f, uint32_t records)
{
    struct partition_appended done;
    assert_ok(append(f->p, records, true, -1, &done));
    return done;
}

/* Waits as a produce does that appended up to `end` in that epoch. */
static err confirm(struct fixture *f, struct wait *x, int64_t end, int32_t epoch, bool *parked)
{
    wait_begin(&f->w, x);
    return partition_wait_confirmed(f->p, &x->waiter, &x->group, end, epoch, parked);
}

static void confirm_parks(struct fixture *f, struct wait *x, int64_t end, int32_t epoch)
{
    bool parked = false;
    assert_ok(confirm(f, x, end, epoch, &parked));
    assert_true(parked);
}

static void read_parks(struct fixture *f, struct wait *x, int64_t offset)
{
    bool parked = false;
    wait_begin(&f->w, x);
    assert_ok(partition_wait_readable(f->p, &x->waiter, &x->group, offset, &parked));
    assert_true(parked);
}

static void expect_end(struct fixture *f, const struct wait *x, err e)
{
    pass(&f->w, 1);
    assert_int_equal(x->fired, 1);
    assert_err(x->waiter.result, e);
}

/* --- when a record is confirmed ------------------------------------------------------- */

static void nothing_is_confirmed_before_the_flush(void **state)
{
    struct fixture *f = *state;
    struct wait produce, fetch;
    const struct partition_appended done = append_ok(f, 5);
    assert_int_equal(done.base_offset, 0);
    assert_int_equal(done.high_watermark, 0);
    assert_int_equal(done.leader_epoch, 1);
    confirm_parks(f, &produce, 5, 1);
    read_parks(f, &fetch, 0);
    pass(&f->w, FLUSH_US - 1);
    assert_int_equal(produce.fired, 0);
    assert_int_equal(fetch.fired, 0);
    assert_int_equal(ends(f).high_watermark, 0);
    assert_int_equal(ends(f).log_end_offset, 5);
    assert_true(partition_has_unconfirmed(f->p));

    pass(&f->w, 2);
    expect_end(f, &produce, OK);
    expect_end(f, &fetch, OK);
    assert_int_equal(ends(f).high_watermark, 5);
    assert_false(partition_has_unconfirmed(f->p));
    world_settle(&f->w);
    assert_int_equal(produce.fired, 1);
}

static void a_later_append_waits_for_the_next_flush(void **state)
{
    struct fixture *f = *state;
    struct wait first, second;
    append_ok(f, 2);
    confirm_parks(f, &first, 2, 1);
    pass(&f->w, FLUSH_US);
    append_ok(f, 3);
    confirm_parks(f, &second, 5, 1);
    expect_end(f, &first, OK);
    assert_int_equal(ends(f).high_watermark, 2);
    assert_int_equal(second.fired, 0);
    world_settle(&f->w);
    expect_end(f, &second, OK);
}

static void page_cache_confirms_at_once(void **state)
{
    struct fixture *f = *state;
    struct wait fetch, x;
    bool parked = true;
    f->conf.log.fsync = false;
    partition_set_conf(f->p, &f->conf);
    read_parks(f, &fetch, 0);
    assert_int_equal(append_ok(f, 4).high_watermark, 4);
    expect_end(f, &fetch, OK);
    assert_ok(confirm(f, &x, 4, 1, &parked));
    assert_false(parked);
}

static void high_watermark_follows_durability_when_it_changes(void **state)
{
    struct fixture *f = *state;
    struct wait first, second;
    append_ok(f, 1);
    confirm_parks(f, &first, 1, 1);
    f->conf.log.fsync = false;
    partition_set_conf(f->p, &f->conf);
    expect_end(f, &first, OK);
    assert_int_equal(append_ok(f, 1).high_watermark, 2);
    /* Back: what was shown stays shown, what is new waits for the disk. */
    f->conf.log.fsync = true;
    partition_set_conf(f->p, &f->conf);
    assert_int_equal(ends(f).high_watermark, 2);
    assert_int_equal(append_ok(f, 1).high_watermark, 2);
    confirm_parks(f, &second, 3, 1);
    world_settle(&f->w);
    expect_end(f, &second, OK);
    assert_int_equal(ends(f).flushed_offset, 3);
}

static void the_log_learns_of_durability(void **state)
{
    struct fixture *f = *state;
    f->conf.log.fsync = false;
    partition_set_conf(f->p, &f->conf);
    append_ok(f, 2);
    world_settle(&f->w);
    assert_int_equal(ends(f).flushed_offset, 0); /* nobody asked for a flush */
}

static void too_few_in_sync_freezes_the_high_watermark(void **state)
{
    struct fixture *f = *state;
    struct partition_appended done;
    struct wait x;
    f->conf.min_insync_replicas = 2;
    partition_set_conf(f->p, &f->conf);
    assert_err(append(f->p, 1, true, -1, &done), E_NOT_ENOUGH_REPLICAS);
    assert_int_equal(ends(f).log_end_offset, 0);
    assert_ok(append(f->p, 1, false, -1, &done));
    confirm_parks(f, &x, 1, 1);
    world_settle(&f->w);
    assert_int_equal(ends(f).flushed_offset, 1);
    assert_int_equal(ends(f).high_watermark, 0);
    assert_int_equal(x.fired, 0);
    assert_ok(set_role(f, leads(1, 2, 2)));
    expect_end(f, &x, OK);
    assert_int_equal(ends(f).high_watermark, 1);
}

static void what_is_reached_is_not_waited_for(void **state)
{
    struct fixture *f = *state;
    struct wait x;
    bool parked = true;
    append_ok(f, 2);
    world_settle(&f->w);
    assert_ok(confirm(f, &x, 2, 1, &parked));
    assert_false(parked);
    parked = true;
    wait_begin(&f->w, &x);
    assert_ok(partition_wait_readable(f->p, &x.waiter, &x.group, 1, &parked));
    assert_false(parked);
    assert_false(partition_cancel_wait(f->p, &x.waiter));
}

static void a_fetch_ahead_of_the_high_watermark_waits_for_its_own_position(void **state)
{
    struct fixture *f = *state;
    struct wait at, ahead;
    append_ok(f, 2);
    read_parks(f, &at, 1);
    read_parks(f, &ahead, 2);
    world_settle(&f->w);
    expect_end(f, &at, OK);
    assert_int_equal(ahead.fired, 0);
    append_ok(f, 1);
    world_settle(&f->w);
    expect_end(f, &ahead, OK);
}

static void a_cancelled_wait_is_not_told(void **state)
{
    struct fixture *f = *state;
    struct wait produce, fetch;
    append_ok(f, 1);
    confirm_parks(f, &produce, 1, 1);
    read_parks(f, &fetch, 0);
    assert_true(partition_cancel_wait(f->p, &produce.waiter));
    assert_true(partition_cancel_wait(f->p, &fetch.waiter));
    assert_false(partition_cancel_wait(f->p, &produce.waiter));
    world_settle(&f->w);
    assert_int_equal(produce.fired + fetch.fired, 0);
}

/* --- failing disks ---------------------------------------------------------------------- */

static void a_failed_flush_ends_all_confirmation(void **state)
{
    struct fixture *f = *state;
    struct partition_appended done;
    struct partition_read read;
    struct wait confirmed, early, late, fetch;
    bool parked = true;
    append_ok(f, 2);
    world_settle(&f->w);
    append_ok(f, 3);
    confirm_parks(f, &early, 5, 1);
    read_parks(f, &fetch, 2);
    fail_from(&f->w, 0, FAKE_FAIL);
    world_settle(&f->w);
    assert_true(fake_fsio_has_faulted(f->w.fs, NULL));
    expect_end(f, &early, E_STORAGE);
    assert_int_equal(f->w.failed_dirs, 1);

    /* Who comes late hears of it, too: nothing will ever wake them. */
    assert_err(confirm(f, &late, 5, 1, &parked), E_STORAGE);
    assert_false(parked);
    parked = true;
    assert_ok(confirm(f, &confirmed, 2, 1, &parked));
    assert_false(parked);
    assert_err(append(f->p, 1, true, -1, &done), E_STORAGE);

    /* What was durable can be read, and readers go on waiting. */
    assert_ok(partition_fetch(f->p, 0, 4096, true, true, -1, &read));
    assert_int_equal(read.view.next_offset, 2);
    log_view_release(&read.view);
    assert_int_equal(ends(f).high_watermark, 2);
    assert_int_equal(fetch.fired, 0);
    assert_true(partition_cancel_wait(f->p, &fetch.waiter));
}

static void a_full_disk_appends_nothing_and_resumes(void **state)
{
    struct fixture *f = *state;
    struct partition_appended done;
    struct partition_read read;
    append_ok(f, 2);
    world_settle(&f->w);
    fake_fsio_set_full(f->w.fs, true);
    assert_err(append(f->p, 1, true, -1, &done), E_NO_SPACE);
    assert_int_equal(ends(f).log_end_offset, 2);
    assert_ok(partition_fetch(f->p, 0, 4096, true, true, -1, &read));
    assert_int_equal(read.view.next_offset, 2);
    log_view_release(&read.view);
    fake_fsio_set_full(f->w.fs, false);
    assert_int_equal(append_ok(f, 1).base_offset, 2);
    world_settle(&f->w);
    assert_int_equal(ends(f).high_watermark, 3);
}

/* --- roles and epochs -------------------------------------------------------------------- */

static void losing_the_lead_ends_all_waits(void **state)
{
    struct fixture *f = *state;
    struct partition_appended done;
    struct wait produce, fetch;
    append_ok(f, 1);
    confirm_parks(f, &produce, 1, 1);
    read_parks(f, &fetch, 0);
    assert_ok(
        set_role(f, (struct partition_role){.leader_id = 2, .leader_epoch = 2, .isr_count = 1}));
    expect_end(f, &produce, E_NOT_LEADER);
    expect_end(f, &fetch, E_NOT_LEADER);
    assert_err(append(f->p, 1, true, -1, &done), E_NOT_LEADER);
    world_settle(&f->w);
    assert_int_equal(ends(f).high_watermark, 0); /* a follower's comes from its leader */
    assert_int_equal(produce.fired, 1);
    assert_ok(set_role(f, (struct partition_role){.leader_id = -1, .leader_epoch = 3}));
    assert_err(append(f->p, 1, true, -1, &done), E_LEADER_NOT_AVAILABLE);
    assert_false(ends(f).is_leader);
}

static void a_record_of_an_ended_epoch_is_not_waited_for(void **state)
{
    struct fixture *f = *state;
    struct wait x;
    bool parked = true;
    const struct partition_appended done = append_ok(f, 1);
    assert_ok(set_role(f, (struct partition_role){.leader_id = 2, .leader_epoch = 2}));
    assert_ok(set_role(f, leads(3, 1, 1)));
    world_settle(&f->w);
    /* Even if the high watermark has passed its offset: others may be there. */
    assert_err(confirm(f, &x, 1, done.leader_epoch, &parked), E_NOT_LEADER);
    assert_false(parked);
}

static void claimed_epochs_are_checked(void **state)
{
    struct fixture *f = *state;
    struct partition_appended done;
    struct partition_read read;
    assert_ok(set_role(f, leads(5, 1, 1)));
    assert_err(append(f->p, 1, true, 4, &done), E_FENCED_LEADER_EPOCH);
    assert_err(append(f->p, 1, true, 6, &done), E_UNKNOWN_LEADER_EPOCH);
    assert_ok(append(f->p, 1, true, 5, &done));
    assert_err(partition_fetch(f->p, 0, 100, true, true, 4, &read), E_FENCED_LEADER_EPOCH);
    assert_err(partition_check_leader(f->p, 6), E_UNKNOWN_LEADER_EPOCH);
    assert_ok(partition_check_leader(f->p, -1));
}

static void older_roles_are_ignored(void **state)
{
    struct fixture *f = *state;
    struct partition_role now;
    assert_ok(set_role(f, leads(5, 7, 1)));
    assert_ok(set_role(f, (struct partition_role){.leader_id = 2, .leader_epoch = 4}));
    assert_ok(set_role(
        f, (struct partition_role){.leader_id = 2, .leader_epoch = 5, .partition_epoch = 6}));
    partition_get_role(f->p, &now);
    assert_true(now.is_leader);
    assert_int_equal(now.leader_epoch, 5);
    assert_int_equal(now.partition_epoch, 7);
}

static void an_epoch_that_the_log_refuses_is_never_led(void **state)
{
    struct fixture *f = *state;
    struct partition_appended done;
    assert_ok(set_role(f, leads(5, 1, 1)));
    append_ok(f, 1);
    world_settle(&f->w);
    restart(f, FAKE_KILL);
    /* The store that names leaders was set back (fault Z9); it says so again with every image. */
    assert_err(set_role(f, leads(3, 1, 1)), E_FENCED_LEADER_EPOCH);
    assert_err(set_role(f, leads(3, 1, 1)), E_FENCED_LEADER_EPOCH);
    assert_err(set_role(f, leads(3, 2, 1)), E_FENCED_LEADER_EPOCH);
    assert_false(ends(f).is_leader);
    assert_err(append(f->p, 1, true, -1, &done), E_NOT_LEADER);
    assert_ok(set_role(f, leads(6, 1, 1)));
    append_ok(f, 1);
}

static void a_new_epoch_of_the_same_leader_keeps_waiters(void **state)
{
    struct fixture *f = *state;
    struct wait x;
    append_ok(f, 1);
    confirm_parks(f, &x, 1, 1);
    assert_ok(set_role(f, leads(2, 1, 1)));
    world_settle(&f->w);
    expect_end(f, &x, OK);
}

static void stopping_is_for_good(void **state)
{
    struct fixture *f = *state;
    struct partition_appended done;
    struct partition_read read;
    struct wait produce, fetch, late;
    bool parked = true;
    append_ok(f, 1);
    confirm_parks(f, &produce, 1, 1);
    read_parks(f, &fetch, 0);
    partition_stop(f->p, E_UNKNOWN_TOPIC_OR_PARTITION);
    expect_end(f, &produce, E_UNKNOWN_TOPIC_OR_PARTITION);
    expect_end(f, &fetch, E_UNKNOWN_TOPIC_OR_PARTITION);
    world_settle(&f->w); /* the flush tells nobody */
    assert_int_equal(produce.fired, 1);
    assert_ok(set_role(f, leads(9, 1, 1)));
    assert_err(confirm(f, &late, 1, 1, &parked), E_UNKNOWN_TOPIC_OR_PARTITION);
    assert_err(append(f->p, 1, true, -1, &done), E_UNKNOWN_TOPIC_OR_PARTITION);
    assert_err(partition_fetch(f->p, 0, 100, true, true, -1, &read), E_UNKNOWN_TOPIC_OR_PARTITION);
}

/* --- what is recorded ------------------------------------------------------------------------ */

static void a_restart_begins_below_the_end_and_catches_up(void **state)
{
    struct fixture *f = *state;
    append_ok(f, 3);
    world_settle(&f->w);
    log_lock(f->log);
    assert_int_equal(log_noted_high_watermark(f->log), 3);
    log_unlock(f->log);
    append_ok(f, 2);
    restart(f, FAKE_KILL);
    assert_false(ends(f).is_leader);
    assert_true(ends(f).high_watermark <= 5);
    assert_ok(set_role(f, leads(2, 1, 1)));
    world_settle(&f->w); /* recovery has the tail flushed */
    assert_int_equal(ends(f).high_watermark, 5);
    assert_true(ends(f).is_settled);
}

static void the_latest_offset_is_settled_when_the_epochs_start_is_confirmed(void **state)
{
    struct fixture *f = *state;
    assert_true(ends(f).is_settled);
    append_ok(f, 3);
    assert_ok(set_role(f, leads(2, 1, 1)));
    assert_false(ends(f).is_settled);
    world_settle(&f->w);
    assert_true(ends(f).is_settled);
    append_ok(f, 1);
    assert_true(ends(f).is_settled);
}

/*
 * Goal: whatever is answered as confirmed on a topic with durability=fsync is there after a power
 * cut, and consumers were shown nothing that is not.
 * Method: random appends, waits, flushes that get any way; then the machine loses what was not
 * synced, as chance says.
 */
static void what_was_confirmed_survives_a_power_cut(void **state)
{
    struct fixture *f = *state;
    int32_t epoch = 1;
    for (int round = 0; round < 60; round++) {
        int64_t confirmed = ends(f).high_watermark;
        const uint64_t steps = rng_below(&f->w.rng, 12);
        for (uint64_t i = 0; i < steps; i++) {
            struct wait x;
            bool parked = false;
            const struct partition_appended done =
                append_ok(f, 1 + (uint32_t)rng_below(&f->w.rng, 5));
            const int64_t end = ends(f).log_end_offset;
            assert_ok(confirm(f, &x, end, done.leader_epoch, &parked));
            pass(&f->w, (int64_t)rng_below(&f->w.rng, 2 * FLUSH_US));
            if (parked ? x.fired && x.waiter.result == OK : true)
                confirmed = end;
            partition_cancel_wait(f->p, &x.waiter);
        }
        const int64_t shown = ends(f).high_watermark;
        assert_true(shown >= confirmed);
        assert_true(shown <= ends(f).flushed_offset);
        restart(f, rng_below(&f->w.rng, 2) ? FAKE_LOSE_ALL : FAKE_LOSE_SOME);
        assert_ok(set_role(f, leads(++epoch, 1, 1)));
        assert_true(ends(f).log_end_offset >= shown);
        world_settle(&f->w);
        assert_int_equal(ends(f).high_watermark, ends(f).log_end_offset);
    }
}

/* --- reading ------------------------------------------------------------------------------------
 */

static void fetches_see_only_what_is_confirmed(void **state)
{
    struct fixture *f = *state;
    struct partition_read read;
    append_ok(f, 2);
    world_settle(&f->w);
    append_ok(f, 2);
    assert_ok(partition_fetch(f->p, 0, 1 << 20, true, true, -1, &read));
    assert_int_equal(read.view.next_offset, 2);
    assert_int_equal(read.high_watermark, 2);
    assert_int_equal(read.leader_epoch, 1);
    log_view_release(&read.view);
    /* From the high watermark to the log's end there is nothing yet; beyond it is nonsense. */
    for (int64_t offset = 2; offset <= 4; offset++) {
        assert_ok(partition_fetch(f->p, offset, 1 << 20, true, true, -1, &read));
        assert_int_equal(read.view.bytes.size, 0);
        assert_int_equal(read.view.next_offset, offset);
    }
    assert_err(partition_fetch(f->p, 5, 1 << 20, true, true, -1, &read), E_OFFSET_OUT_OF_RANGE);
    assert_int_equal(read.high_watermark, 2);
    assert_int_equal(read.log_start_offset, 0);
    assert_err(partition_fetch(f->p, -1, 1 << 20, true, true, -1, &read), E_OFFSET_OUT_OF_RANGE);
}

static void nothing_wanted_is_nothing_read(void **state)
{
    struct fixture *f = *state;
    struct partition_read read;
    append_ok(f, 2);
    world_settle(&f->w);
    restart(f, FAKE_KILL);
    assert_ok(set_role(f, leads(2, 1, 1)));
    fake_fsio_set_cold(f->w.fs, true);
    assert_ok(partition_fetch(f->p, 0, 0, false, false, -1, &read));
    assert_int_equal(read.view.bytes.size, 0);
    assert_err(partition_fetch(f->p, 9, 0, false, false, -1, &read), E_OFFSET_OUT_OF_RANGE);
}

static void cold_records_are_warmed_first(void **state)
{
    struct fixture *f = *state;
    struct partition_read read;
    append_ok(f, 2);
    world_settle(&f->w);
    restart(f, FAKE_KILL);
    assert_ok(set_role(f, leads(2, 1, 1)));
    world_settle(&f->w);
    fake_fsio_set_cold(f->w.fs, true);
    assert_err(partition_fetch(f->p, 0, 4096, true, false, -1, &read), E_WOULD_BLOCK);
    partition_warm(f->p, 0, 4096);
    assert_ok(partition_fetch(f->p, 0, 4096, true, true, -1, &read));
    assert_int_equal(read.view.next_offset, 2);
    log_view_release(&read.view);
}

static void deleting_records_raises_the_start(void **state)
{
    struct fixture *f = *state;
    struct partition_read read;
    int64_t start = -1;
    append_ok(f, 4);
    world_settle(&f->w);
    append_ok(f, 2);
    assert_err(partition_delete_records(f->p, 5, &start), E_OFFSET_OUT_OF_RANGE);
    assert_err(partition_delete_records(f->p, -2, &start), E_OFFSET_OUT_OF_RANGE);
    assert_ok(partition_delete_records(f->p, 3, &start));
    assert_int_equal(start, 3);
    assert_ok(partition_delete_records(f->p, 1, &start));
    assert_int_equal(start, 3);
    assert_err(partition_fetch(f->p, 2, 100, true, true, -1, &read), E_OFFSET_OUT_OF_RANGE);
    assert_ok(partition_delete_records(f->p, -1, &start));
    assert_int_equal(start, 4);
    assert_ok(set_role(f, (struct partition_role){.leader_id = 2, .leader_epoch = 2}));
    assert_err(partition_delete_records(f->p, -1, &start), E_NOT_LEADER);
}

static void rules_follow_the_configs(void **state)
{
    struct fixture *f = *state;
    f->conf.rules.batch_bytes_max = 77;
    partition_set_conf(f->p, &f->conf);
    assert_int_equal(partition_rules(f->p).batch_bytes_max, 77);
}

int main(int argc, char **argv)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(nothing_is_confirmed_before_the_flush),
        T(a_later_append_waits_for_the_next_flush),
        T(page_cache_confirms_at_once),
        T(high_watermark_follows_durability_when_it_changes),
        T(the_log_learns_of_durability),
        T(too_few_in_sync_freezes_the_high_watermark),
        T(what_is_reached_is_not_waited_for),
        T(a_fetch_ahead_of_the_high_watermark_waits_for_its_own_position),
        T(a_cancelled_wait_is_not_told),
        T(a_failed_flush_ends_all_confirmation),
        T(a_full_disk_appends_nothing_and_resumes),
        T(losing_the_lead_ends_all_waits),
        T(a_record_of_an_ended_epoch_is_not_waited_for),
        T(claimed_epochs_are_checked),
        T(older_roles_are_ignored),
        T(an_epoch_that_the_log_refuses_is_never_led),
        T(a_new_epoch_of_the_same_leader_keeps_waiters),
        T(stopping_is_for_good),
        T(a_restart_begins_below_the_end_and_catches_up),
        T(the_latest_offset_is_settled_when_the_epochs_start_is_confirmed),
        T(what_was_confirmed_survives_a_power_cut),
        T(fetches_see_only_what_is_confirmed),
        T(nothing_wanted_is_nothing_read),
        T(cold_records_are_warmed_first),
        T(deleting_records_raises_the_start),
        T(rules_follow_the_configs),
    };
    return TEST_MAIN(tests, NULL, NULL);
}
