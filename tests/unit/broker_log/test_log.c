/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/test.h"

#include "broker/log/names.h"
#include "tests/unit/broker_log/log_world.h"

static struct world w;

static int setup(void **state)
{
    (void)state;
    world_init(&w, 1);
    assert_ok(world_start(&w));
    assert_ok(world_create(&w, 0));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    world_deinit(&w);
    return 0;
}

static void log_assigns_offsets_and_reads_back(void **state)
{
    (void)state;
    struct log *g = world_log(&w, 0);
    int64_t offset, expected = 0;
    for (uint32_t i = 0; i < 100; i++) {
        assert_ok(world_append(g, i % 5 + 1, 50, 1000 + i, i, 3, &offset));
        assert_int_equal(offset, expected);
        expected += i % 5 + 1;
    }
    assert_int_equal(log_end_offset(g), expected);
    assert_true(log_segment_count(g) > 5);
    const char *why = "";
    if (!world_read_all(g, NULL, NULL, &why))
        fail_msg("%s", why);
}

static void log_appends_a_row_in_one_write(void **state)
{
    (void)state;
    struct log *g = world_log(&w, 0);
    static struct made_batch m[8];
    struct log_batch batches[8];
    int64_t offset;
    for (uint32_t i = 0; i < 8; i++) {
        make_batch(&m[i], 2, 20, 5, i);
        batches[i] = m[i].batch;
    }
    assert_ok(world_append(g, 1, 10, 1, 1, 1, &offset));
    const uint64_t before = fake_fsio_ops(w.fs);
    log_lock(g);
    assert_ok(log_append(g, batches, 8, 1, &offset));
    log_unlock(g);
    assert_int_equal(fake_fsio_ops(w.fs) - before, 1);
    assert_int_equal(offset, 1);
    assert_int_equal(log_end_offset(g), 17);
}

static void log_raises_flushed_end_only_by_a_flush(void **state)
{
    (void)state;
    struct log *g = world_log(&w, 0);
    int64_t offset;
    assert_ok(world_append(g, 10, 10, 1, 1, 1, &offset));
    assert_int_equal(log_flushed_offset(g), 0);
    assert_ok(world_flush(&w));
    assert_int_equal(log_flushed_offset(g), 10);
}

/* --- reading ------------------------------------------------------------------ */

static err read_as(struct log *g, const struct log_read_opts *opts, struct log_view *v)
{
    log_lock(g);
    const err e = log_read(g, opts, v);
    log_unlock(g);
    return e;
}

static size_t count_batches(struct slice bytes)
{
    size_t n = 0;
    for (struct batch b; bytes.size; n++) {
        assert_ok(batch_read_canonical(bytes, &b));
        bytes = slice_sub(bytes, b.size, bytes.size);
    }
    return n;
}

/* One batch of two records after the other, 40 of them, in several segments. */
static struct log *forty(void)
{
    struct log *g = world_log(&w, 0);
    int64_t offset;
    for (uint32_t i = 0; i < 40; i++)
        assert_ok(world_append(g, 2, 150, 1000 + 10 * (int64_t)i, i, 1, &offset));
    return g;
}

/* Every offset, every bound: the range begins with the batch that holds the offset, ends below the
 * high watermark and within the bytes, and is as large as can be. */
static void log_reads_exactly_what_may_be_read(void **state)
{
    (void)state;
    struct log *g = forty();
    for (int pass = 0; pass < 2; pass++) {
        for (int64_t offset = 0; offset < 80; offset++) {
            for (int64_t max = offset; max <= 80; max += 3) {
                for (size_t bytes = 0; bytes < 3000; bytes += 407) {
                    struct log_view v;
                    const struct log_read_opts opts = {
                        .offset = offset, .max_offset = max, .max_bytes = bytes, .may_block = true};
                    assert_ok(read_as(g, &opts, &v));
                    if (v.bytes.size == 0) {
                        log_view_release(&v);
                        continue;
                    }
                    struct batch b;
                    assert_ok(batch_read_canonical(v.bytes, &b));
                    assert_in_range(offset, b.base_offset, b.base_offset + 1);
                    assert_true(v.next_offset <= max);
                    assert_true(v.bytes.size <= bytes);
                    assert_int_equal(v.next_offset,
                                     b.base_offset + 2 * (int64_t)count_batches(v.bytes));
                    const struct segment *seg = log_segment_of(g, offset);
                    assert_true(v.next_offset == seg->next_offset || v.next_offset + 2 > max ||
                                v.bytes.size + b.size > bytes);
                    log_view_release(&v);
                }
            }
        }
        /* Again without the ring of recent batches. */
        mem_free(g->recent);
        g->recent = NULL;
    }
}

static void log_returns_one_batch_that_is_too_large_if_asked(void **state)
{
    (void)state;
    struct log *g = forty();
    struct log_view v;
    struct log_read_opts opts = {.offset = 7, .max_offset = 80, .max_bytes = 1, .may_block = true};
    assert_ok(read_as(g, &opts, &v));
    assert_int_equal(v.bytes.size, 0);
    assert_null(v.ref);
    assert_int_equal(v.next_offset, 7);
    opts.at_least_one = true;
    assert_ok(read_as(g, &opts, &v));
    assert_int_equal(count_batches(v.bytes), 1);
    assert_int_equal(v.next_offset, 8);
    log_view_release(&v);
    opts.max_offset = 7;
    assert_ok(read_as(g, &opts, &v));
    assert_int_equal(v.bytes.size, 0);
}

static void log_refuses_offsets_it_does_not_have(void **state)
{
    (void)state;
    struct log *g = forty();
    struct log_view v;
    assert_err(world_read(g, 81, 100, &v), E_OFFSET_OUT_OF_RANGE);
    assert_err(world_read(g, -1, 100, &v), E_OFFSET_OUT_OF_RANGE);
    assert_ok(world_read(g, 80, 100, &v));
    assert_int_equal(v.bytes.size, 0);
    log_lock(g);
    assert_ok(log_raise_start(g, 5));
    assert_ok(log_raise_start(g, 3)); /* lower: no effect */
    assert_err(log_raise_start(g, 81), E_OFFSET_OUT_OF_RANGE);
    log_unlock(g);
    assert_err(world_read(g, 4, 100, &v), E_OFFSET_OUT_OF_RANGE);
    assert_ok(world_read(g, 5, 100, &v));
    log_view_release(&v);
}

static void log_does_not_wait_for_the_disk_on_a_loop(void **state)
{
    (void)state;
    struct log *g = forty();
    struct log_view v;
    const struct log_read_opts opts = {.offset = 3, .max_offset = 80, .max_bytes = 500};
    fake_fsio_set_cold(w.fs, true);
    assert_err(read_as(g, &opts, &v), E_WOULD_BLOCK);
    log_warm(g, &opts);
    assert_ok(read_as(g, &opts, &v));
    assert_int_equal(count_batches(v.bytes), 1);
    log_view_release(&v);
}

static char *segment_path(const struct log *g, int64_t base)
{
    char name[SEGMENT_NAME_MAX];
    return mem_printf("%s/%s", g->path, segment_name(name, base, SEGMENT_LOG));
}

/* Rule S7. */
static void log_never_gives_out_what_is_found_damaged(void **state)
{
    (void)state;
    struct log *g = forty();
    char *path = segment_path(g, 0);
    const struct slice file = fake_fsio_get(w.fs, path);
    struct batch b;
    assert_ok(batch_read_canonical(file, &b));
    union {
        const uint8_t *in;
        uint8_t *out;
    } at = {.in = file.data + 2 * b.size + BATCH_HEADER_SIZE + 20};
    *at.out ^= 1;
    const struct log_read_opts opts = {.offset = 0, .max_offset = 80, .max_bytes = 4000};
    struct log_view v;
    fake_fsio_set_cold(w.fs, true);
    assert_err(read_as(g, &opts, &v), E_WOULD_BLOCK);
    log_warm(g, &opts);
    assert_ok(read_as(g, &opts, &v));
    assert_int_equal(v.bytes.size, 2 * b.size);
    log_view_release(&v);
    assert_err(world_read(g, 4, 4000, &v), E_CORRUPT);
    assert_ok(world_read(g, 20, 4000, &v)); /* other segments are well */
    log_view_release(&v);
    mem_free(path);
}

static void log_finds_records_by_time(void **state)
{
    (void)state;
    struct log *g = forty();
    struct log_found f;
    for (int64_t t = 990; t <= 1395; t++) {
        const err e = log_find_timestamp(g, t, 80, &f);
        if (t > 1391) {
            assert_err(e, E_NOT_FOUND);
            continue;
        }
        assert_ok(e);
        const int64_t i = t <= 1000 ? 0 : (t - 1000) / 10, rest = t <= 1000 ? 0 : (t - 1000) % 10;
        const int64_t want = rest <= 1 ? 2 * i + rest : 2 * (i + 1);
        assert_int_equal(f.offset, want);
        assert_int_equal(f.timestamp, 1000 + 10 * (want / 2) + want % 2);
        assert_int_equal(f.leader_epoch, 1);
    }
    assert_err(log_find_timestamp(g, 1390, 78, &f), E_NOT_FOUND); /* not below the high watermark */
    assert_ok(log_find_timestamp(g, -3, 80, &f));
    assert_int_equal(f.offset, 79);
    assert_ok(log_find_timestamp(g, -3, 40, &f));
    assert_int_equal(f.offset, 39);
    assert_err(log_find_timestamp(g, -3, 0, &f), E_NOT_FOUND);
    log_lock(g);
    assert_ok(log_raise_start(g, 13));
    log_unlock(g);
    assert_ok(log_find_timestamp(g, 0, 80, &f));
    assert_int_equal(f.offset, 13);
}

/* Goal: the index finds what a walk over everything finds, whatever the timestamps. */
static void log_finds_by_time_as_a_full_scan_does(void **state)
{
    (void)state;
    struct log *g = world_log(&w, 0);
    struct rng rng = test_rng();
    int64_t first[120], offset;
    for (uint32_t i = 0; i < 120; i++) {
        first[i] = (int64_t)rng_below(&rng, 500) - 100;
        assert_ok(world_append(g, 1, 60, first[i], i, 0, &offset));
    }
    for (int64_t t = -101; t < 405; t++) {
        if (t == -3)
            continue; /* asks for the largest */
        int64_t want = 0;
        while (want < 120 && first[want] < t)
            want++;
        struct log_found f;
        const err e = log_find_timestamp(g, t, 120, &f);
        assert_err(e, want == 120 ? E_NOT_FOUND : OK);
        if (e == OK)
            assert_int_equal(f.offset, want);
    }
}

/* --- cutting ------------------------------------------------------------------- */

static void log_truncates_at_a_batch_boundary(void **state)
{
    (void)state;
    struct log *g = forty();
    assert_ok(world_flush(&w));
    int64_t offset;
    assert_ok(world_append(g, 2, 20, 5, 5, 4, &offset));
    for (int64_t to = 81; to > 10; to -= 7) {
        log_lock(g);
        const uint32_t truncations = log_truncation_count(g);
        assert_ok(log_truncate(g, to));
        assert_int_equal(log_end_offset(g), to / 2 * 2);
        assert_true(log_flushed_offset(g) <= to);
        assert_int_equal(log_truncation_count(g), truncations + 1);
        assert_int_equal(log_last_epoch(g), 1);
        log_unlock(g);
        const char *why;
        if (!world_read_all(g, NULL, NULL, &why))
            fail_msg("%s", why);
    }
    offset = log_end_offset(g);
    int64_t at;
    assert_ok(world_append(g, 3, 100, 9, 9, 5, &at));
    assert_int_equal(at, offset);
    assert_ok(world_flush(&w));
    assert_int_equal(log_flushed_offset(g), offset + 3);
}

static void log_keeps_what_is_being_read_when_it_truncates(void **state)
{
    (void)state;
    struct log *g = forty();
    struct log_view v;
    assert_ok(world_read(g, 78, 100, &v));
    uint8_t *before = mem_alloc(v.bytes.size);
    memcpy(before, v.bytes.data, v.bytes.size);
    const struct segment *seg = log_segment_of(g, 78);
    const int64_t base = seg->base_offset;
    log_lock(g);
    assert_ok(log_truncate(g, base + 2));
    log_unlock(g);
    int64_t offset;
    for (uint32_t i = 0; i < 10; i++)
        assert_ok(world_append(g, 1, 400, 9, 90 + i, 2, &offset));
    assert_memory_equal(before, v.bytes.data, v.bytes.size);
    mem_free(before);
    log_view_release(&v);
    const char *why;
    assert_true(world_read_all(g, NULL, NULL, &why));
}

/* A file door that runs something in the middle of the next sync of a file. */
static void (*in_next_sync)(void);
static const struct fsio *plain_io;

static err hooked_fdatasync(const struct fsio *io, struct fsio_file *f)
{
    (void)io;
    void (*fn)(void) = in_next_sync;
    in_next_sync = NULL;
    if (fn)
        fn();
    return plain_io->fdatasync(plain_io, f);
}

static void cut_and_go_on(void)
{
    struct log *g = world_log(&w, 0);
    log_lock(g);
    assert_ok(log_truncate(g, 10));
    log_unlock(g);
    int64_t offset;
    for (uint32_t i = 0; i < 20; i++)
        assert_ok(world_append(g, 1, 100, 1, i, 2, &offset));
}

/* Rule D4: the completion tells of bytes that are gone, whatever stands there now. */
static void log_voids_a_flush_that_a_truncation_overtook(void **state)
{
    (void)state;
    plain_io = w.io;
    struct fsio hooked = *w.io;
    hooked.fdatasync = hooked_fdatasync;
    world_stop(&w);
    w.io = &hooked;
    assert_ok(world_start(&w));
    struct log *g = world_log(&w, 0);
    int64_t offset;
    for (uint32_t i = 0; i < 20; i++)
        assert_ok(world_append(g, 1, 10, 1, i, 1, &offset));
    in_next_sync = cut_and_go_on;
    assert_ok(world_flush(&w));
    assert_int_equal(log_end_offset(g), 30);
    assert_int_equal(log_flushed_offset(g), 0); /* though the old end, 20, was synced */
    assert_ok(world_flush(&w));
    assert_int_equal(log_flushed_offset(g), 30);
    world_stop(&w);
    w.io = plain_io;
}

static void log_answers_where_epochs_end(void **state)
{
    (void)state;
    struct log *g = world_log(&w, 0);
    int64_t offset, end;
    int32_t epoch;
    log_lock(g);
    assert_ok(log_epoch_end(g, 5, &epoch, &end));
    assert_int_equal(epoch, -1);
    assert_int_equal(end, 0);
    log_unlock(g);
    for (int32_t e = 1; e < 6; e += 2) {
        assert_ok(world_append(g, 10, 10, 1, 1, e, &offset));
        assert_ok(world_append(g, 10, 10, 1, 1, e, &offset));
    }
    log_lock(g);
    assert_ok(log_begin_epoch(g, 8));
    assert_int_equal(log_last_epoch(g), 5);
    static const struct {
        int32_t asked, epoch;
        int64_t end;
    } cases[] = {{0, -1, 0}, {1, 1, 20}, {2, 1, 20}, {3, 3, 40},
                 {7, 5, 60}, {8, 8, 60}, {9, 8, 60}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_ok(log_epoch_end(g, cases[i].asked, &epoch, &end));
        assert_int_equal(epoch, cases[i].epoch);
        assert_int_equal(end, cases[i].end);
    }
    log_unlock(g);
    assert_err(world_append(g, 1, 10, 1, 1, 4, &offset), E_FENCED_LEADER_EPOCH);
}

static void log_resets_to_any_offset(void **state)
{
    (void)state;
    struct log *g = forty();
    int64_t offset;
    static const int64_t to[] = {1000, 0, 30};
    for (size_t i = 0; i < sizeof to / sizeof to[0]; i++) {
        log_lock(g);
        assert_ok(log_reset(g, to[i]));
        assert_int_equal(log_start_offset(g), to[i]);
        assert_int_equal(log_end_offset(g), to[i]);
        assert_int_equal(log_flushed_offset(g), to[i]);
        assert_int_equal(log_last_epoch(g), -1);
        assert_int_equal(log_size_bytes(g), 0);
        log_unlock(g);
        assert_ok(world_append(g, 2, 10, 1, 1, 0, &offset));
        assert_int_equal(offset, to[i]);
    }
}

/* --- followers -------------------------------------------------------------------- */

static void log_takes_a_leaders_bytes_as_they_are(void **state)
{
    (void)state;
    struct log *leader = forty();
    assert_ok(world_create(&w, 1));
    struct log *g = world_log(&w, 1);
    while (log_end_offset(g) < 80) {
        struct log_view v;
        assert_ok(world_read(leader, log_end_offset(g), 1700, &v));
        log_lock(g);
        assert_ok(log_append_as_is(g, v.bytes));
        assert_int_equal(log_end_offset(g), v.next_offset);
        assert_err(log_append_as_is(g, v.bytes), E_OUT_OF_ORDER_SEQUENCE);
        log_unlock(g);
        log_view_release(&v);
    }
    const char *why;
    assert_true(world_read_all(g, NULL, NULL, &why));
    assert_int_equal(log_last_epoch(g), 1);
}

/* Rule F6: every bit counts, and nothing of a bad row is written. */
static void log_checks_a_leaders_bytes_before_it_writes(void **state)
{
    (void)state;
    struct log *leader = forty();
    assert_ok(world_create(&w, 1));
    struct log *g = world_log(&w, 1);
    struct log_view v;
    assert_ok(world_read(leader, 0, 900, &v));
    uint8_t *copy = mem_alloc(v.bytes.size);
    memcpy(copy, v.bytes.data, v.bytes.size);
    const size_t size = v.bytes.size;
    log_view_release(&v);
    log_lock(g);
    for (size_t bit = 0; bit < 8 * size; bit += 5) {
        copy[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_not_equal(log_append_as_is(g, slice_of(copy, size)), OK);
        assert_int_equal(log_end_offset(g), 0);
        copy[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (size_t cut = 1; cut < size; cut += 13)
        if (log_append_as_is(g, slice_of(copy, cut)) == OK)
            fail_msg("half a batch was taken");
    assert_ok(log_append_as_is(g, slice_of(copy, size)));
    log_unlock(g);
    mem_free(copy);
}

/* --- trouble ------------------------------------------------------------------------- */

static void log_resumes_when_a_full_disk_has_space_again(void **state)
{
    (void)state;
    struct log *g = forty();
    static struct made_batch m[20];
    struct log_batch row[20];
    int64_t offset;
    for (uint32_t i = 0; i < 20; i++) {
        make_batch(&m[i], 1, 500, 1, i);
        row[i] = m[i].batch;
    }
    /* Full from the nth write on: of one call, and of rolls within it. */
    for (uint64_t n = 0; n < 12; n++) {
        const int64_t end = log_end_offset(g);
        fake_fsio_fault_at(w.fs, fake_fsio_ops(w.fs) + n, FAKE_NO_SPACE);
        log_lock(g);
        const err e = log_append(g, row, 20, 1, &offset);
        log_unlock(g);
        const char *operation = "";
        fake_fsio_has_faulted(w.fs, &operation);
        if (log_dir_is_fenced(w.dir)) {
            /* What needs no space failed: that is no full disk. */
            assert_err(e, E_STORAGE);
            teardown(NULL);
            setup(NULL);
            g = forty();
            continue;
        }
        if (e != OK) {
            assert_err(e, E_NO_SPACE);
            assert_int_equal(log_end_offset(g), end);
            char *path = segment_path(g, log_active(g)->base_offset);
            assert_int_equal(fake_fsio_get(w.fs, path).size, log_active(g)->size);
            mem_free(path);
        }
        const char *why;
        if (!world_read_all(g, NULL, NULL, &why))
            fail_msg("after a full disk at %s: %s", operation, why);
        fake_fsio_fault_at(w.fs, UINT64_MAX, FAKE_FAIL);
        assert_ok(world_append(g, 1, 10, 1, 1, 1, &offset));
    }
    fake_fsio_set_full(w.fs, true);
    assert_err(world_append(g, 1, 10, 1, 1, 1, &offset), E_NO_SPACE);
    assert_err(world_append(g, 1, 10, 1, 1, 1, &offset), E_NO_SPACE);
    fake_fsio_set_full(w.fs, false);
    assert_ok(world_append(g, 1, 10, 1, 1, 1, &offset));
    assert_int_equal(w.fences, 0);
}

static unsigned told_errors;

static void count_errors(void *arg, struct log *g, err e)
{
    (void)arg;
    (void)g;
    told_errors += e != OK;
}

/* Rule D7. */
static void log_refuses_everything_after_a_failed_sync(void **state)
{
    (void)state;
    struct log *g = forty();
    int64_t offset;
    log_lock(g);
    log_on_flushed(g, count_errors, NULL);
    log_unlock(g);
    fake_fsio_fault_at(w.fs, fake_fsio_ops(w.fs), FAKE_FAIL);
    assert_err(world_flush(&w), E_STORAGE);
    assert_int_equal(w.fences, 1);
    const uint64_t ops = fake_fsio_ops(w.fs);
    assert_err(world_append(g, 1, 10, 1, 1, 1, &offset), E_STORAGE);
    log_lock(g);
    assert_err(log_truncate(g, 0), E_STORAGE);
    assert_err(log_begin_epoch(g, 9), E_STORAGE);
    log_unlock(g);
    assert_err(world_flush(&w), OK); /* nothing is queued any more */
    assert_int_equal(fake_fsio_ops(w.fs), ops);
    assert_int_equal(log_flushed_offset(g), 0);
    const char *why;
    assert_true(world_read_all(g, NULL, NULL, &why)); /* reads go on */
}

static void log_rolls_by_size_time_and_index(void **state)
{
    (void)state;
    struct log *g = world_log(&w, 0);
    int64_t offset;
    assert_ok(world_append(g, 1, 10, 1000, 1, 0, &offset));
    log_lock(g);
    struct log_conf conf = small_conf;
    conf.segment_ms = 500;
    conf.index_interval_bytes = 1;
    conf.index_bytes_max = 4 * 16;
    log_set_conf(g, &conf);
    log_unlock(g);
    assert_ok(world_append(g, 1, 10, 1500, 1, 0, &offset));
    assert_int_equal(log_segment_count(g), 1);
    assert_ok(world_append(g, 1, 10, 1501, 1, 0, &offset));
    assert_int_equal(log_segment_count(g), 2);
    for (uint32_t i = 0; i < 5; i++)
        assert_ok(world_append(g, 1, 10, 1501 + i, 1, 0, &offset));
    assert_int_equal(log_segment_count(g), 3); /* four time entries are all it can have */
    assert_ok(world_append(g, 1, 8000, 1501, 1, 0, &offset)); /* larger than a segment: alone */
    assert_ok(world_append(g, 1, 10, 1501, 1, 0, &offset));
    assert_int_equal(log_segment_count(g), 5);
}

static void log_reads_back_from_preallocated_segments(void **state)
{
    (void)state;
    struct log *g = world_log(&w, 0);
    int64_t offset;
    log_lock(g);
    struct log_conf conf = small_conf;
    conf.preallocate = true;
    log_set_conf(g, &conf);
    log_unlock(g);
    for (uint32_t i = 0; i < 30; i++)
        assert_ok(world_append(g, 1, 500, 1000, i, 0, &offset));
    char *path = segment_path(g, log_active(g)->base_offset);
    assert_int_equal(fake_fsio_get(w.fs, path).size, 4096);
    mem_free(path);
    path = segment_path(g, 0);
    assert_true(fake_fsio_get(w.fs, path).size < 4096); /* trimmed */
    mem_free(path);
    const char *why;
    assert_true(world_read_all(g, NULL, NULL, &why));
    world_stop(&w);
    fake_fsio_crash(w.fs, FAKE_KILL, &w.rng);
    assert_ok(world_start(&w));
    assert_int_equal(log_end_offset(world_log(&w, 0)), 30);
    assert_false(log_loss(world_log(&w, 0)).dropped_bytes);
    assert_true(world_read_all(world_log(&w, 0), NULL, NULL, &why));
}

/* An idle log holds neither files nor buffers, and goes on as if nothing had been. */
static void log_settles_when_it_is_idle(void **state)
{
    (void)state;
    struct log *g = forty();
    assert_ok(world_flush(&w));
    for (int i = 0; i < 20; i++)
        log_settle(g);
    assert_null(g->recent);
    for (uint32_t i = 0; i < g->sum.segment_count; i++)
        assert_null(g->segments[i].ref);
    int64_t offset;
    assert_ok(world_append(g, 2, 150, 2000, 77, 1, &offset));
    assert_int_equal(offset, 80);
    const char *why;
    assert_true(world_read_all(g, NULL, NULL, &why));
    struct log_found f;
    assert_ok(log_find_timestamp(g, 2000, 82, &f));
    assert_int_equal(f.offset, 80);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        CASE(log_assigns_offsets_and_reads_back),
        CASE(log_appends_a_row_in_one_write),
        CASE(log_raises_flushed_end_only_by_a_flush),
        CASE(log_reads_exactly_what_may_be_read),
        CASE(log_returns_one_batch_that_is_too_large_if_asked),
        CASE(log_refuses_offsets_it_does_not_have),
        CASE(log_does_not_wait_for_the_disk_on_a_loop),
        CASE(log_never_gives_out_what_is_found_damaged),
        CASE(log_finds_records_by_time),
        CASE(log_finds_by_time_as_a_full_scan_does),
        CASE(log_truncates_at_a_batch_boundary),
        CASE(log_keeps_what_is_being_read_when_it_truncates),
        CASE(log_voids_a_flush_that_a_truncation_overtook),
        CASE(log_answers_where_epochs_end),
        CASE(log_resets_to_any_offset),
        CASE(log_takes_a_leaders_bytes_as_they_are),
        CASE(log_checks_a_leaders_bytes_before_it_writes),
        CASE(log_resumes_when_a_full_disk_has_space_again),
        CASE(log_refuses_everything_after_a_failed_sync),
        CASE(log_rolls_by_size_time_and_index),
        CASE(log_reads_back_from_preallocated_segments),
        CASE(log_settles_when_it_is_idle),
    };
    return TEST_MAIN(tests, NULL, NULL);
}
