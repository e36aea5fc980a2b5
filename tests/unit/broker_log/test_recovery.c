/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/test.h"

#include "broker/log/names.h"
#include "tests/unit/broker_log/log_world.h"

static struct world w;

static int setup(void **state)
{
    (void)state;
    world_init(&w, test_seed());
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

/* Batches of one record each. */
static void fill(uint32_t count, int32_t epoch)
{
    int64_t offset;
    for (uint32_t i = 0; i < count; i++)
        assert_ok(world_append(world_log(&w, 0), 1, 300, 1000, i, epoch, &offset));
}

static void restart(enum fake_crash how)
{
    world_stop(&w);
    fake_fsio_crash(w.fs, how, &w.rng);
    assert_ok(world_start(&w));
}

static char *path_of(int64_t base, enum segment_file kind)
{
    char name[SEGMENT_NAME_MAX], dir[PARTITION_NAME_MAX];
    const struct log_identity id = world_id(0);
    return mem_printf("%s/%s/%s", WORLD_DIR, partition_name(dir, &id),
                      segment_name(name, base, kind));
}

static void assert_reads(int64_t start, int64_t end)
{
    struct log *g = world_log(&w, 0);
    const char *why;
    assert_int_equal(log_start_offset(g), start);
    assert_int_equal(log_end_offset(g), end);
    if (!world_read_all(g, NULL, NULL, &why))
        fail_msg("%s", why);
}

/* The end of the active segment is cut, or followed by other bytes, at every position. */
static void recovery_keeps_the_longest_good_prefix(void **state)
{
    (void)state;
    fill(3, 0);
    assert_ok(world_flush(&w));
    fill(3, 0);
    world_stop(&w);
    char *path = path_of(0, SEGMENT_LOG);
    const struct slice now = fake_fsio_get(w.fs, path);
    uint8_t *bytes = mem_alloc(now.size + 600);
    const size_t size = now.size, batch = size / 6;
    memcpy(bytes, now.data, size);
    for (size_t cut = 3 * batch; cut <= size; cut += 7) {
        for (int tail = 0; tail < 3; tail++) {
            uint8_t *image = mem_alloc(size + 600);
            memcpy(image, bytes, cut);
            memset(image + cut, tail == 1 ? 0 : 0xa5, 600);
            fake_fsio_put(w.fs, path, slice_of(image, cut + (tail ? 600 : 0)));
            mem_free(image);
            fake_fsio_crash(w.fs, FAKE_LOSE_ALL, &w.rng);
            assert_ok(world_start(&w));
            assert_reads(0, (int64_t)(cut / batch));
            assert_false(log_loss(world_log(&w, 0)).is_lossy);
            assert_int_equal(log_loss(world_log(&w, 0)).dropped_bytes,
                             tail == 2 || cut % batch > 0);
            world_stop(&w);
            assert_int_equal(fake_fsio_get(w.fs, path).size, cut / batch * batch);
        }
    }
    mem_free(bytes);
    mem_free(path);
}

/* The format's promise: what a later version wrote is refused, never cut. */
static void recovery_refuses_a_later_format(void **state)
{
    (void)state;
    fill(2, 0);
    world_stop(&w);
    char *path = path_of(0, SEGMENT_LOG);
    struct batch b;
    const struct slice file = fake_fsio_get(w.fs, path);
    assert_ok(batch_read_canonical(file, &b));
    uint8_t *image = mem_alloc(file.size);
    const size_t size = file.size;
    memcpy(image, file.data, size);
    image[b.size + 34] = 1; /* attributes, bits 24 to 31 */
    fake_fsio_put(w.fs, path, slice_of(image, size));
    fake_fsio_crash(w.fs, FAKE_LOSE_ALL, &w.rng);
    assert_ok(world_start(&w));
    struct log *g = world_log(&w, 0);
    int64_t offset;
    assert_err(world_append(g, 1, 10, 1, 1, 0, &offset), E_UNSUPPORTED_VERSION);
    struct log_view v;
    assert_err(world_read(g, 0, 10, &v), E_UNSUPPORTED_VERSION);
    assert_int_equal(fake_fsio_get(w.fs, path).size, size);
    /* Garbage that only looks like it is cut as garbage is. */
    world_stop(&w);
    image[b.size + 10] ^= 1;
    fake_fsio_put(w.fs, path, slice_of(image, size));
    fake_fsio_crash(w.fs, FAKE_LOSE_ALL, &w.rng);
    assert_ok(world_start(&w));
    assert_reads(0, 1);
    mem_free(image);
    mem_free(path);
}

/* Rule E2, until somebody takes it as it is. */
static void recovery_tells_of_durable_records_that_are_gone(void **state)
{
    (void)state;
    fill(6, 0);
    assert_ok(world_flush(&w));
    assert_ok(log_dir_checkpoint(w.dir, w.logs, w.count)); /* the point is durable, too */
    world_stop(&w);
    char *path = path_of(0, SEGMENT_LOG);
    const struct slice file = fake_fsio_get(w.fs, path);
    fake_fsio_put(w.fs, path, slice_sub(file, 0, file.size / 6 * 4 + 50));
    mem_free(path);
    for (int i = 0; i < 3; i++) {
        fake_fsio_crash(w.fs, i % 2 ? FAKE_KILL : FAKE_LOSE_ALL, &w.rng);
        assert_ok(world_start(&w));
        assert_reads(0, 4);
        const struct log_loss loss = log_loss(world_log(&w, 0));
        assert_true(loss.is_lossy);
        assert_int_equal(loss.from, 4);
        assert_int_equal(loss.to, 6);
        if (i == 1) {
            fill(1, 0); /* whoever leads all the same */
            assert_ok(world_flush(&w));
            log_lock(world_log(&w, 0));
            assert_ok(log_truncate(world_log(&w, 0), 4));
            log_unlock(world_log(&w, 0));
            assert_ok(world_close(&w)); /* a clean stop does not make it whole */
        }
        if (i == 2) {
            log_lock(world_log(&w, 0));
            assert_ok(log_clear_loss(world_log(&w, 0)));
            log_unlock(world_log(&w, 0));
        }
        world_stop(&w);
    }
    fake_fsio_crash(w.fs, FAKE_KILL, &w.rng);
    assert_ok(world_start(&w));
    assert_false(log_loss(world_log(&w, 0)).is_lossy);
}

static void recovery_tells_of_segments_that_are_gone(void **state)
{
    (void)state;
    fill(40, 0);
    assert_ok(world_flush(&w));
    assert_ok(log_dir_checkpoint(w.dir, w.logs, w.count));
    struct log *g = world_log(&w, 0);
    const int64_t second = g->segments[1].base_offset;
    const int64_t last = log_active(g)->base_offset;
    world_stop(&w);
    char *path = path_of(last, SEGMENT_LOG);
    fake_fsio_remove(w.fs, path);
    mem_free(path);
    fake_fsio_crash(w.fs, FAKE_LOSE_ALL, &w.rng);
    assert_ok(world_start(&w));
    struct log_loss loss = log_loss(world_log(&w, 0));
    assert_true(loss.is_lossy);
    assert_int_equal(loss.from, last);
    assert_int_equal(loss.to, 40);
    assert_reads(0, last);
    log_lock(world_log(&w, 0));
    assert_ok(log_clear_loss(world_log(&w, 0)));
    log_unlock(world_log(&w, 0));
    assert_ok(log_dir_checkpoint(w.dir, w.logs, w.count));
    world_stop(&w);
    path = path_of(0, SEGMENT_LOG);
    fake_fsio_remove(w.fs, path);
    mem_free(path);
    fake_fsio_crash(w.fs, FAKE_LOSE_ALL, &w.rng);
    assert_ok(world_start(&w));
    loss = log_loss(world_log(&w, 0));
    assert_true(loss.is_lossy);
    assert_int_equal(loss.from, 0);
    assert_int_equal(loss.to, second);
    assert_reads(second, last);
}

/* Rule D3: without points all is looked at, and all is found. */
static void recovery_does_without_the_points(void **state)
{
    (void)state;
    fill(40, 3);
    assert_ok(world_flush(&w));
    world_stop(&w);
    fake_fsio_remove(w.fs, WORLD_DIR "/" POINTS_FILE);
    fake_fsio_crash(w.fs, FAKE_LOSE_ALL, &w.rng);
    assert_ok(world_start(&w));
    assert_reads(0, 40);
    assert_int_equal(log_last_epoch(world_log(&w, 0)), 3);
    restart(FAKE_LOSE_ALL);
    assert_reads(0, 40);
}

/* Only what is above the flushed point is read: not one byte below it. */
static void recovery_reads_only_above_the_flushed_point(void **state)
{
    (void)state;
    fill(40, 0);
    assert_ok(world_flush(&w));
    fill(1, 0);
    world_stop(&w);
    fake_fsio_crash(w.fs, FAKE_KILL, &w.rng);
    uint64_t before = fake_fsio_ops(w.fs);
    assert_ok(world_start(&w));
    const uint64_t few = fake_fsio_ops(w.fs) - before;
    for (uint32_t i = 0; i < 5; i++) {
        fill(100, 0);
        assert_ok(world_flush(&w));
    }
    fill(1, 0);
    const size_t segments = log_segment_count(world_log(&w, 0));
    world_stop(&w);
    fake_fsio_crash(w.fs, FAKE_KILL, &w.rng);
    before = fake_fsio_ops(w.fs);
    assert_ok(world_start(&w));
    /* One stat for each segment, and nothing else that grows. */
    assert_in_range(fake_fsio_ops(w.fs) - before, few, few + segments);
}

/* Within one boot of the machine what was written is in the page cache, flushed or not. */
static void recovery_believes_the_page_cache_only_within_one_boot(void **state)
{
    (void)state;
    fill(1, 0);
    assert_ok(world_flush(&w));
    w.conf.fsync = false;
    log_lock(world_log(&w, 0));
    log_set_conf(world_log(&w, 0), &w.conf);
    log_unlock(world_log(&w, 0));
    fill(29, 0);
    restart(FAKE_KILL);
    assert_reads(0, 30);
    assert_false(log_loss(world_log(&w, 0)).is_lossy);
    fill(1, 0);
    restart(FAKE_LOSE_ALL);
    assert_reads(0, 1);
    assert_true(log_loss(world_log(&w, 0)).is_lossy); /* nobody can tell what was acknowledged */
    assert_ok(world_close(&w));
    restart(FAKE_KILL);
    assert_true(log_loss(world_log(&w, 0)).is_lossy);
    w.conf.fsync = true;
    log_lock(world_log(&w, 0));
    log_set_conf(world_log(&w, 0), &w.conf);
    assert_false(log_loss(world_log(&w, 0)).is_lossy);
    log_unlock(world_log(&w, 0));
}

/* Fault S8. */
static void recovery_notices_directories_that_changed_places(void **state)
{
    (void)state;
    assert_ok(world_create(&w, 1));
    fill(3, 0);
    assert_ok(world_flush(&w));
    world_stop(&w);
    char a[PARTITION_NAME_MAX], b[PARTITION_NAME_MAX];
    const struct log_identity first = world_id(0), second = world_id(1);
    char *from = mem_printf("%s/%s", WORLD_DIR, partition_name(a, &first));
    char *to = mem_printf("%s/%s", WORLD_DIR, partition_name(b, &second));
    assert_ok(w.io->rename(w.io, from, "/tmp-name"));
    assert_ok(w.io->rename(w.io, to, from));
    assert_ok(w.io->rename(w.io, "/tmp-name", to));
    mem_free(from);
    mem_free(to);
    fake_fsio_crash(w.fs, FAKE_KILL, &w.rng);
    assert_ok(world_start(&w));
    assert_int_equal(w.count, 2);
    int64_t offset;
    assert_err(world_append(world_log(&w, 0), 1, 1, 1, 1, 0, &offset), E_STORAGE);
    assert_err(world_append(world_log(&w, 1), 1, 1, 1, 1, 0, &offset), E_STORAGE);
}

static void recovery_trusts_a_clean_marker_and_nothing_older(void **state)
{
    (void)state;
    fill(40, 2);
    assert_ok(world_close(&w));
    restart(FAKE_LOSE_ALL);
    assert_false(world_log(&w, 0)->is_loaded);
    assert_reads(0, 40);
    assert_false(fake_fsio_has(w.fs, WORLD_DIR "/clean-shutdown"));
    fill(2, 2);
    assert_ok(world_flush(&w));
    /* A marker of an earlier life is left where it should not be. */
    assert_ok(world_close(&w));
    const struct slice marker = fake_fsio_get(w.fs, WORLD_DIR "/clean-shutdown");
    uint8_t *copy = mem_alloc(marker.size);
    const size_t size = marker.size;
    memcpy(copy, marker.data, size);
    restart(FAKE_LOSE_ALL);
    struct log_dir_meta meta = *log_dir_meta(w.dir);
    meta.incarnation = 5;
    assert_ok(log_dir_set_meta(w.dir, &meta));
    fill(3, 2);
    assert_ok(world_flush(&w));
    world_stop(&w);
    fake_fsio_put(w.fs, WORLD_DIR "/clean-shutdown", slice_of(copy, size));
    mem_free(copy);
    fake_fsio_crash(w.fs, FAKE_LOSE_ALL, &w.rng);
    assert_ok(world_start(&w));
    assert_reads(0, 45);
}

/* Rule D3: indexes and epochs are as good made anew. */
static void recovery_needs_no_index_and_no_epochs_file(void **state)
{
    (void)state;
    int64_t offset;
    struct log *g = world_log(&w, 0);
    for (uint32_t i = 0; i < 60; i++)
        assert_ok(world_append(g, 1, 100 + i, 1000 + i, i, (int32_t)i / 10, &offset));
    assert_ok(world_close(&w));
    world_stop(&w);
    static const char *const suffixes[] = {".index", ".timeindex", "leader-epochs"};
    for (size_t s = 0; s < 8; s++) {
        assert_ok(world_start(&w));
        assert_ok(world_close(&w));
        world_stop(&w);
        for (size_t k = 0; k < 3; k++) {
            if (!(s >> k & 1))
                continue;
            char dir[PARTITION_NAME_MAX];
            const struct log_identity id = world_id(0);
            char *path = mem_printf("%s/%s", WORLD_DIR, partition_name(dir, &id));
            if (k == 2) {
                char *file = mem_printf("%s/%s", path, suffixes[k]);
                if (fake_fsio_has(w.fs, file))
                    fake_fsio_remove(w.fs, file);
                mem_free(file);
            } else {
                for (int64_t base = 0; base < 60; base++) {
                    char *file = path_of(base, k == 0 ? SEGMENT_INDEX : SEGMENT_TIME_INDEX);
                    if (fake_fsio_has(w.fs, file))
                        fake_fsio_put(w.fs, file, slice_str("not an index, but long enough to be"));
                    mem_free(file);
                }
            }
            mem_free(path);
        }
        assert_ok(world_start(&w));
        g = world_log(&w, 0);
        assert_reads(0, 60);
        for (int64_t t = 1000; t < 1060; t++) {
            struct log_found f;
            assert_ok(log_find_timestamp(g, t, 60, &f));
            assert_int_equal(f.offset, t - 1000);
            struct log_view v;
            assert_ok(world_read(g, t - 1000, 1, &v));
            struct batch b;
            assert_ok(batch_read_canonical(v.bytes, &b));
            assert_int_equal(b.base_offset, t - 1000);
            log_view_release(&v);
        }
        for (int32_t e = 0; e < 6; e++) {
            int32_t epoch;
            int64_t end;
            log_lock(g);
            assert_ok(log_epoch_end(g, e, &epoch, &end));
            log_unlock(g);
            assert_int_equal(epoch, e);
            assert_int_equal(end, 10 * e + 10);
        }
        assert_ok(world_close(&w));
        world_stop(&w);
    }
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        CASE(recovery_keeps_the_longest_good_prefix),
        CASE(recovery_refuses_a_later_format),
        CASE(recovery_tells_of_durable_records_that_are_gone),
        CASE(recovery_tells_of_segments_that_are_gone),
        CASE(recovery_does_without_the_points),
        CASE(recovery_reads_only_above_the_flushed_point),
        CASE(recovery_believes_the_page_cache_only_within_one_boot),
        CASE(recovery_notices_directories_that_changed_places),
        CASE(recovery_trusts_a_clean_marker_and_nothing_older),
        CASE(recovery_needs_no_index_and_no_epochs_file),
    };
    return TEST_MAIN(tests, NULL, NULL);
}
