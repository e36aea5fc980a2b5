/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log's durable files, byte by byte: made by a separate program (Python
 * with a bitwise CRC-32C) from their descriptions, read by this code, and
 * written by it again. Bytes of a format version never change.
 */
#include "tests/support/test.h"

#include "broker/log/checkpoint.h"
#include "broker/log/names.h"
#include "broker/log/offset_index.h"
#include "broker/log/time_index.h"
#include "tests/unit/broker_log/log_world.h"

#include "tests/golden/broker_log/bytes.h"

#define PARTITION_DIR WORLD_DIR "/orders.eu-1-0.abcd0123"

static struct world w;

static int setup(void **state)
{
    (void)state;
    world_init(&w, 1);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    world_deinit(&w);
    return 0;
}

static void put_hex(const char *path, const char *hex)
{
    static uint8_t bytes[64 * 1024];
    fake_fsio_put(w.fs, path, slice_of(bytes, test_unhex(hex, bytes, sizeof bytes)));
}

static void put_text(const char *path, const char *text)
{
    fake_fsio_put(w.fs, path, slice_str(text));
}

static void put_directory(void)
{
    put_text(WORLD_DIR "/meta", golden_meta);
    put_hex(WORLD_DIR "/points", golden_points);
    put_text(WORLD_DIR "/clean-shutdown", golden_clean_shutdown);
    put_text(PARTITION_DIR "/partition", golden_partition);
    put_text(PARTITION_DIR "/leader-epochs", golden_leader_epochs);
    put_hex(PARTITION_DIR "/00000000000000000005.log", golden_segment);
    put_hex(PARTITION_DIR "/00000000000000000005.index", golden_index);
    put_hex(PARTITION_DIR "/00000000000000000005.timeindex", golden_timeindex);
}

static void check_log(bool is_clean)
{
    assert_ok(world_start(&w));
    assert_int_equal(w.count, 1);
    struct log *g = w.logs[0];
    assert_string_equal(g->id.topic, "orders.eu-1");
    assert_int_equal(g->id.partition, 0);
    assert_int_equal(g->is_loaded, false);
    assert_int_equal(log_start_offset(g), 6);
    assert_int_equal(log_end_offset(g), 11);
    assert_int_equal(log_flushed_offset(g), 11);
    assert_int_equal(log_noted_high_watermark(g), is_clean ? 11 : 8);
    assert_int_equal(log_last_epoch(g), 4);
    const char *why;
    if (!world_read_all(g, NULL, NULL, &why))
        fail_msg("%s", why);
    int32_t epoch;
    int64_t end;
    log_lock(g);
    assert_ok(log_epoch_end(g, 3, &epoch, &end));
    log_unlock(g);
    assert_int_equal(epoch, 2);
    assert_int_equal(end, 8);
    const struct log_dir_meta *meta = log_dir_meta(w.dir);
    assert_int_equal(meta->broker_id, 7);
    assert_int_equal(meta->incarnation, 3);
    assert_int_equal(meta->cluster_id.bytes[0], 0xc1);
    assert_int_equal(meta->directory_id.bytes[15], 0xd2);
}

static void golden_directory_is_read_after_a_clean_stop(void **state)
{
    (void)state;
    put_directory();
    check_log(true);
}

static void golden_directory_is_read_after_a_crash(void **state)
{
    (void)state;
    put_directory();
    fake_fsio_remove(w.fs, WORLD_DIR "/clean-shutdown");
    check_log(false);
}

/* The indexes are used as they are: no walk, no rebuild. */
static void golden_indexes_are_sound(void **state)
{
    (void)state;
    put_directory();
    const struct segment_dir dir = {.io = w.io, .path = PARTITION_DIR};
    const struct segment_opts opts = {.index_interval_bytes = 100, .index_bytes_max = 4096};
    struct segment seg;
    const struct slice file = fake_fsio_get(w.fs, PARTITION_DIR "/00000000000000000005.log");
    const uint32_t before = fake_fsio_digest(w.fs, PARTITION_DIR);
    segment_init(&seg, &dir, 5, 11, (uint32_t)file.size, &opts);
    assert_ok(segment_prepare(&seg, &opts, 1)); /* only the last batch is walked */
    assert_int_equal(seg.max_timestamp, 2000);
    assert_int_equal(seg.next_offset, 11);
    assert_int_equal(fake_fsio_digest(w.fs, PARTITION_DIR), before);
    struct offset_entry o;
    assert_true(offset_index_floor(&seg.offsets, 3, &o));
    assert_int_equal(o.rel_offset, 3);
    struct time_entry t;
    assert_true(time_index_before(&seg.times, 2000, &t));
    assert_int_equal(t.timestamp, 1002);
    segment_deinit(&seg);
}

/* Written again, it is the same. */
static void golden_files_are_written_as_they_were(void **state)
{
    (void)state;
    put_directory();
    check_log(true);
    assert_ok(world_close(&w));
    assert_slice_equal(fake_fsio_get(w.fs, WORLD_DIR "/clean-shutdown"),
                       slice_str(golden_clean_shutdown));
    struct log_dir_meta meta = *log_dir_meta(w.dir);
    strcpy(meta.boot_id, "11111111-2222-3333-4444-555555555555");
    assert_ok(log_dir_set_meta(w.dir, &meta));
    assert_slice_equal(fake_fsio_get(w.fs, WORLD_DIR "/meta"), slice_str(golden_meta));
    struct buf b = {0};
    partition_file_format(&w.logs[0]->id, &b);
    assert_slice_equal(buf_slice(&b), slice_str(golden_partition));
    buf_clear(&b);
    epoch_cache_format(&w.logs[0]->epochs, 11, &b);
    checkpoint_end(&b);
    assert_slice_equal(buf_slice(&b), slice_str(golden_leader_epochs_again));
    buf_deinit(&b);

    uint8_t want[2 * 4096], copy[POINT_SIZE];
    test_unhex(golden_points, want, sizeof want);
    struct point p;
    uint64_t seq;
    assert_ok(point_decode(want + 4096, &p, &seq));
    point_encode(&p, seq, copy);
    assert_memory_equal(copy, want + 4096, POINT_SIZE);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(golden_directory_is_read_after_a_clean_stop, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(golden_directory_is_read_after_a_crash, setup, teardown),
        cmocka_unit_test_setup_teardown(golden_indexes_are_sound, setup, teardown),
        cmocka_unit_test_setup_teardown(golden_files_are_written_as_they_were, setup, teardown),
    };
    return TEST_MAIN(tests, NULL, NULL);
}
