/* SPDX-License-Identifier: Apache-2.0 */
/* The manager on the real file system, with its threads. */
#include "tests/support/test.h"

#include <unistd.h>

#include "broker/log/log_manager.h"
#include "tests/unit/broker_log/log_world.h"

struct host {
    struct loop *loop;
    struct exec *workers;
    struct log_manager *m;
    struct rng rng;
    const char *dirs[2];
    unsigned failed_dirs;
};

static void on_dir_failed(void *arg, const char *path, err e)
{
    (void)path;
    (void)e;
    ((struct host *)arg)->failed_dirs++;
}

static void host_init(struct host *h, size_t dirs)
{
    struct loop_backend *backend;
    *h = (struct host){.rng = test_rng()};
    assert_ok(loop_epoll_backend(&backend));
    h->loop = loop_new(backend, "test");
    h->workers = exec_new("work", 2);
    for (size_t i = 0; i < dirs; i++)
        h->dirs[i] = test_dir();
}

static err host_open(struct host *h, size_t dirs)
{
    const struct log_manager_opts opts = {.io = fsio_posix(),
                                          .home = h->loop,
                                          .workers = h->workers,
                                          .rng = &h->rng,
                                          .dirs = h->dirs,
                                          .dir_count = dirs,
                                          .default_conf = small_conf,
                                          .dir_failed = on_dir_failed,
                                          .dir_failed_arg = h};
    return log_manager_new(&opts, &h->m);
}

struct outcome {
    bool is_there;
    err e;
    struct log *g;
};

static void on_end(void *arg, err e)
{
    *(struct outcome *)arg = (struct outcome){.is_there = true, .e = e};
}

static void on_created(void *arg, struct log *g, err e)
{
    *(struct outcome *)arg = (struct outcome){.is_there = true, .e = e, .g = g};
}

static void wait_for(struct host *h, const struct outcome *o)
{
    const int64_t deadline = test_deadline_ms(20000);
    while (!o->is_there && test_now_ms() < deadline)
        loop_turn(h->loop, 10000);
    assert_true(o->is_there);
}

static void host_start(struct host *h)
{
    struct outcome o = {0};
    log_manager_start(h->m, on_end, &o);
    wait_for(h, &o);
    assert_ok(o.e);
}

static struct log *host_create(struct host *h, uint32_t partition)
{
    struct outcome o = {0};
    const struct log_identity id = world_id(partition);
    log_manager_create(h->m, &id, &small_conf, on_created, &o);
    wait_for(h, &o);
    assert_ok(o.e);
    return o.g;
}

static void host_close(struct host *h)
{
    struct outcome o = {0};
    log_manager_close(h->m, on_end, &o);
    wait_for(h, &o);
    assert_ok(o.e);
}

/* As kill -9: nothing is told to anybody. */
static void host_kill(struct host *h)
{
    log_manager_free(h->m);
    h->m = NULL;
    for (int i = 0; i < 50; i++)
        loop_turn(h->loop, 1000);
}

static void host_deinit(struct host *h)
{
    log_manager_free(h->m);
    exec_free(h->workers);
    for (int i = 0; i < 10; i++)
        loop_turn(h->loop, 0);
    loop_free(h->loop);
}

static void host_checkpoint(struct host *h)
{
    struct outcome o = {0};
    log_manager_run_checkpoint(h->m, on_end, &o);
    wait_for(h, &o);
}

static void host_retention(struct host *h)
{
    struct outcome o = {0};
    log_manager_run_retention(h->m, on_end, &o);
    wait_for(h, &o);
}

static const struct uuid cluster = {{1, 2, 3}};

static struct log *find(const struct host *h, uint32_t partition)
{
    const struct log_identity id = world_id(partition);
    return log_manager_find(h->m, &id.topic_id, partition);
}

static void wait_flushed(struct host *h, struct log *g, int64_t offset)
{
    const int64_t deadline = test_deadline_ms(20000);
    int64_t flushed = -1;
    while (flushed < offset && test_now_ms() < deadline) {
        loop_turn(h->loop, 1000);
        log_lock(g);
        flushed = log_flushed_offset(g);
        log_unlock(g);
    }
    assert_true(flushed >= offset);
}

static void manager_opens_what_it_closed_cleanly(void **state)
{
    (void)state;
    struct host h;
    int64_t offset;
    host_init(&h, 1);
    assert_ok(host_open(&h, 1));
    assert_int_equal(log_manager_identity(h.m)->broker_id, -1);
    assert_ok(log_manager_set_identity(h.m, &cluster, 7, 1));
    host_start(&h);
    for (uint32_t p = 0; p < 5; p++) {
        struct log *g = host_create(&h, p);
        for (uint32_t i = 0; i < 20 * p; i++)
            assert_ok(world_append(g, 1, 400, 1000, i, 2, &offset));
    }
    host_close(&h);
    host_kill(&h);

    assert_ok(host_open(&h, 1));
    const struct log_manager_identity *id = log_manager_identity(h.m);
    assert_true(id->was_clean);
    assert_true(id->same_boot);
    assert_int_equal(id->broker_id, 7);
    assert_int_equal(id->incarnation, 1);
    assert_err(log_manager_set_identity(h.m, &cluster, 7, 0), E_STALE_BROKER_EPOCH);
    assert_err(log_manager_set_identity(h.m, &(struct uuid){{9}}, 7, 2), E_INCONSISTENT_CLUSTER_ID);
    assert_ok(log_manager_set_identity(h.m, &cluster, 7, 2));
    host_start(&h);
    assert_int_equal(log_manager_count(h.m), 5);
    for (uint32_t p = 0; p < 5; p++) {
        struct log *g = find(&h, p);
        const char *why;
        assert_non_null(g);
        assert_false(g->is_loaded);
        assert_int_equal(log_end_offset(g), 20 * p);
        assert_int_equal(log_last_epoch(g), p ? 2 : -1);
        if (!world_read_all(g, NULL, NULL, &why))
            fail_msg("%s", why);
        assert_ok(world_append(g, 1, 400, 1000, 1, 3, &offset));
        assert_int_equal(offset, 20 * p);
        wait_flushed(&h, g, 20 * p + 1);
    }
    host_kill(&h);

    assert_ok(host_open(&h, 1));
    assert_false(log_manager_identity(h.m)->was_clean);
    host_start(&h);
    for (uint32_t p = 0; p < 5; p++) {
        const char *why;
        assert_int_equal(log_end_offset(find(&h, p)), 20 * p + 1);
        assert_true(world_read_all(find(&h, p), NULL, NULL, &why));
    }
    host_deinit(&h);
}

static void manager_refuses_a_directory_in_use(void **state)
{
    (void)state;
    struct host h, other;
    host_init(&h, 1);
    host_init(&other, 0);
    other.dirs[0] = h.dirs[0];
    assert_ok(host_open(&h, 1));
    assert_err(host_open(&other, 1), E_EXISTS);
    host_deinit(&other);
    host_deinit(&h);
}

static void manager_spreads_and_deletes(void **state)
{
    (void)state;
    struct host h;
    host_init(&h, 2);
    assert_ok(host_open(&h, 2));
    host_start(&h);
    struct outcome made[9] = {0};
    for (uint32_t p = 0; p < 9; p++) {
        const struct log_identity id = world_id(p);
        log_manager_create(h.m, &id, &small_conf, on_created, &made[p]);
    }
    size_t in_first = 0;
    for (uint32_t p = 0; p < 9; p++) {
        wait_for(&h, &made[p]);
        assert_ok(made[p].e);
        const struct uuid dir = log_dir_id_of(made[p].g);
        in_first += memcmp(&dir, log_manager_identity(h.m)->dir_ids, sizeof dir) == 0;
    }
    assert_in_range(in_first, 4, 5);
    struct outcome again = {0};
    const struct log_identity id = world_id(3);
    log_manager_create(h.m, &id, &small_conf, on_created, &again);
    wait_for(&h, &again);
    assert_err(again.e, E_EXISTS);
    assert_ptr_equal(again.g, find(&h, 3));

    struct log *g = log_ref(find(&h, 3));
    int64_t offset;
    assert_ok(world_append(g, 3, 100, 1, 1, 0, &offset));
    struct log_view v;
    assert_ok(world_read(g, 0, 1000, &v));
    struct outcome gone = {0};
    log_manager_delete(h.m, g, on_end, &gone);
    assert_null(find(&h, 3));
    wait_for(&h, &gone);
    assert_ok(gone.e);
    assert_int_equal(access(g->path, F_OK), -1);
    assert_err(world_append(g, 3, 100, 1, 1, 0, &offset), E_UNKNOWN_TOPIC_OR_PARTITION);
    struct batch b;
    assert_ok(batch_read_canonical(v.bytes, &b)); /* who read still may */
    assert_ok(batch_check_crcs(&b));
    log_view_release(&v);
    log_unref(g);

    /* Deleted while the flusher and a checkpoint have it: that is no failure of the disk. */
    for (uint32_t p = 100; p < 130; p++) {
        g = host_create(&h, p);
        assert_ok(world_append(g, 3, 100, 1, 1, 0, &offset));
        struct outcome saved = {0};
        log_manager_run_checkpoint(h.m, on_end, &saved);
        gone = (struct outcome){0};
        log_manager_delete(h.m, g, on_end, &gone);
        wait_for(&h, &gone);
        wait_for(&h, &saved);
        assert_ok(gone.e);
    }
    struct log_manager_stats s;
    log_manager_stats(h.m, &s);
    assert_int_equal(s.dirs_fenced, 0);
    host_kill(&h);
    assert_ok(host_open(&h, 2));
    host_start(&h);
    assert_int_equal(log_manager_count(h.m), 8);
    host_deinit(&h);
}

static void manager_drops_what_retention_says(void **state)
{
    (void)state;
    struct host h;
    int64_t offset;
    host_init(&h, 1);
    assert_ok(host_open(&h, 1));
    host_start(&h);
    struct log *g = host_create(&h, 0);
    for (uint32_t i = 0; i < 60; i++)
        assert_ok(world_append(g, 1, 400, 1000, i, 0, &offset));
    wait_flushed(&h, g, 60);
    log_lock(g);
    const size_t segments = log_segment_count(g);
    struct log_conf conf = small_conf;
    conf.retention_bytes = 3 * 4096;
    conf.file_delete_delay_ms = 0;
    log_set_conf(g, &conf);
    log_unlock(g);
    assert_true(segments >= 6);

    host_retention(&h);
    assert_int_equal(log_start_offset(g), 0); /* nothing is below the high watermark yet */
    log_lock(g);
    log_note_high_watermark(g, 60);
    log_unlock(g);
    host_retention(&h);
    host_retention(&h); /* the delay is over at once */
    const int64_t start = log_start_offset(g);
    assert_true(start > 0);
    assert_in_range(log_segment_count(g), 3, 4);
    assert_in_range(log_size_bytes(g), 3 * 4096 - 4096, 4 * 4096);
    struct log_view v;
    assert_err(world_read(g, start - 1, 1000, &v), E_OFFSET_OUT_OF_RANGE);
    const char *why;
    assert_true(world_read_all(g, NULL, NULL, &why));

    /* Old by their timestamps: 1970. But this process wrote them just now. */
    log_lock(g);
    conf.retention_bytes = -1;
    conf.retention_ms = 3600 * 1000;
    log_set_conf(g, &conf);
    log_unlock(g);
    host_retention(&h);
    assert_int_equal(log_start_offset(g), start);
    host_close(&h);
    host_kill(&h);

    /* Another process finds them old, the active one too. */
    assert_ok(host_open(&h, 1));
    host_start(&h);
    g = find(&h, 0);
    assert_int_equal(log_start_offset(g), start);
    assert_int_equal(log_noted_high_watermark(g), 60);
    log_lock(g);
    log_set_conf(g, &conf);
    log_unlock(g);
    host_retention(&h);
    assert_int_equal(log_start_offset(g), 60);
    assert_int_equal(log_end_offset(g), 60);
    assert_ok(world_append(g, 1, 400, 1000, 1, 0, &offset));
    assert_int_equal(offset, 60);
    wait_flushed(&h, g, 61);
    host_retention(&h);
    assert_int_equal(log_segment_count(g), 1);
    host_deinit(&h);
}

static void manager_moves_the_flushed_point_of_page_cache_logs(void **state)
{
    (void)state;
    struct host h;
    int64_t offset;
    host_init(&h, 1);
    assert_ok(host_open(&h, 1));
    host_start(&h);
    struct log *g = host_create(&h, 0);
    struct log_conf conf = small_conf;
    conf.fsync = false;
    conf.segment_bytes = 1 << 20;
    log_lock(g);
    log_set_conf(g, &conf);
    log_unlock(g);
    assert_ok(world_append(g, 5, 100, 1, 1, 0, &offset));
    for (int i = 0; i < 20; i++)
        loop_turn(h.loop, 1000);
    assert_int_equal(log_flushed_offset(g), 0);
    host_checkpoint(&h);
    wait_flushed(&h, g, 5);
    host_deinit(&h);
}

static void manager_lives_on_with_one_directory_of_two(void **state)
{
    (void)state;
    struct host h;
    host_init(&h, 2);
    h.dirs[1] = "/proc/no/such/place";
    assert_ok(host_open(&h, 2));
    assert_int_equal(h.failed_dirs, 1);
    host_start(&h);
    assert_non_null(host_create(&h, 0));
    struct log_manager_stats s;
    log_manager_stats(h.m, &s);
    assert_int_equal(s.dirs, 2);
    assert_int_equal(s.dirs_fenced, 1);
    host_close(&h);
    host_deinit(&h);
}

/* --- many threads ------------------------------------------------------------- */

enum { HANDS = 3, LOGS = 3, ROUNDS = 60 };

struct hand {
    struct exec_job job;
    struct host *host;
    struct log *logs[LOGS];
    struct made_batch *batch;
    bool is_done;
};

static void work_hand(struct exec_job *job)
{
    struct hand *hand = (struct hand *)job;
    for (int i = 0; i < ROUNDS * LOGS; i++) {
        struct log *g = hand->logs[i % LOGS];
        int64_t offset;
        log_lock(g);
        if (log_append(g, &hand->batch->batch, 1, 0, &offset) != OK)
            abort();
        const struct log_read_opts opts = {.offset = offset / 2,
                                           .max_offset = INT64_MAX,
                                           .max_bytes = 3000,
                                           .at_least_one = true,
                                           .may_block = true};
        struct log_view v;
        if (log_read(g, &opts, &v) != OK)
            abort();
        log_unlock(g);
        struct batch b;
        if (batch_read_canonical(v.bytes, &b) != OK || batch_check_crcs(&b) != OK)
            abort();
        log_view_release(&v);
        struct log_found f;
        if (i % 16 == 0 && log_find_timestamp(g, 1000, INT64_MAX, &f) != OK)
            abort();
    }
}

static void hand_done(struct exec_job *job)
{
    ((struct hand *)job)->is_done = true;
}

static _Atomic unsigned flush_calls;

static void count_flushes(void *arg, struct log *g, err e)
{
    (void)arg;
    (void)g;
    if (e == OK)
        flush_calls++;
}

/* Goal: with appends, reads, searches, flushes, checkpoints and retention at once, for tsan to
 * watch. */
static void manager_serves_many_threads(void **state)
{
    (void)state;
    struct host h;
    host_init(&h, 1);
    assert_ok(host_open(&h, 1));
    host_start(&h);
    struct log *logs[LOGS];
    for (uint32_t p = 0; p < LOGS; p++) {
        logs[p] = host_create(&h, p);
        log_lock(logs[p]);
        log_on_flushed(logs[p], count_flushes, NULL);
        log_unlock(logs[p]);
    }
    struct exec *hands_exec = exec_new("hands", HANDS);
    static struct hand hands[HANDS];
    for (size_t i = 0; i < HANDS; i++) {
        hands[i] = (struct hand){.job = {.run = work_hand, .done = hand_done, .home = h.loop},
                                 .host = &h,
                                 .batch = mem_alloc(sizeof(struct made_batch))};
        memcpy(hands[i].logs, logs, sizeof logs);
        make_batch(hands[i].batch, 2, 200, 1000, i);
        exec_submit(hands_exec, &hands[i].job);
    }
    bool is_busy = true;
    const int64_t deadline = test_deadline_ms(60000);
    while (is_busy && test_now_ms() < deadline) {
        host_checkpoint(&h);
        host_retention(&h);
        is_busy = false;
        for (size_t i = 0; i < HANDS; i++)
            is_busy |= !hands[i].is_done;
    }
    assert_false(is_busy);
    exec_free(hands_exec);
    for (size_t i = 0; i < HANDS; i++)
        mem_free(hands[i].batch);
    for (size_t p = 0; p < LOGS; p++) {
        const char *why;
        wait_flushed(&h, logs[p], 2 * HANDS * ROUNDS);
        if (!world_read_all(logs[p], NULL, NULL, &why))
            fail_msg("%s", why);
    }
    assert_true(flush_calls > 0);
    host_close(&h);
    host_deinit(&h);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(manager_opens_what_it_closed_cleanly),
        cmocka_unit_test(manager_refuses_a_directory_in_use),
        cmocka_unit_test(manager_spreads_and_deletes),
        cmocka_unit_test(manager_drops_what_retention_says),
        cmocka_unit_test(manager_moves_the_flushed_point_of_page_cache_logs),
        cmocka_unit_test(manager_lives_on_with_one_directory_of_two),
        cmocka_unit_test(manager_serves_many_threads),
    };
    return TEST_MAIN(tests, NULL, NULL);
}
