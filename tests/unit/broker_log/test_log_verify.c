/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/test.h"

#include "broker/log/checkpoint.h"
#include "broker/log/log_verify.h"
#include "broker/log/names.h"
#include "tests/unit/broker_log/log_world.h"

static struct world w;
static char partition_path[256];

static int setup(void **state)
{
    (void)state;
    char name[PARTITION_NAME_MAX];
    const struct log_identity id = world_id(0);
    world_init(&w, 1);
    assert_ok(world_start(&w));
    assert_ok(world_create(&w, 0));
    int64_t offset;
    for (uint32_t i = 0; i < 40; i++)
        assert_ok(world_append(world_log(&w, 0), 2, 150, 1000 + i, i, (int32_t)i / 10, &offset));
    assert_ok(world_close(&w));
    world_stop(&w);
    snprintf(partition_path, sizeof partition_path, "%s/%s", WORLD_DIR, partition_name(name, &id));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    world_deinit(&w);
    return 0;
}

struct seen {
    size_t count;
    struct log_finding last;
    char path[256];
};

static void on_finding(void *arg, const struct log_finding *f)
{
    struct seen *s = arg;
    s->count++;
    s->last = *f;
    snprintf(s->path, sizeof s->path, "%s", f->path);
}

static struct log_verify_report verify(const char *path, struct seen *s)
{
    struct log_verify_report r;
    *s = (struct seen){0};
    const uint32_t before = fake_fsio_digest(w.fs, "/");
    assert_ok(log_verify(w.io, path, on_finding, s, &r));
    assert_int_equal(fake_fsio_digest(w.fs, "/"), before);
    assert_int_equal(s->count, r.notes + r.doubts + r.damages);
    return r;
}

static char *file_path(int64_t base, enum segment_file kind)
{
    char name[SEGMENT_NAME_MAX];
    return mem_printf("%s/%s", partition_path, segment_name(name, base, kind));
}

static uint8_t *mutable_bytes(const char *path, size_t *size)
{
    union {
        const uint8_t *in;
        uint8_t *out;
    } bytes;
    const struct slice s = fake_fsio_get(w.fs, path);
    bytes.in = s.data;
    *size = s.size;
    return bytes.out;
}

static void verify_finds_a_good_log_good(void **state)
{
    (void)state;
    struct seen s;
    const char *const paths[] = {WORLD_DIR, WORLD_DIR "/", partition_path};
    for (size_t i = 0; i < 3; i++) {
        const struct log_verify_report r = verify(paths[i], &s);
        assert_int_equal(s.count, 0);
        assert_int_equal(r.partitions, 1);
        assert_true(r.segments > 3);
        assert_int_equal(r.batches, 40);
        assert_int_equal(r.records, 80);
    }
    struct log_verify_report r;
    assert_err(log_verify(w.io, "/nowhere", on_finding, &s, &r), E_NOT_FOUND);
    assert_err(log_verify(w.io, "/", on_finding, &s, &r), E_NOT_FOUND);
    assert_err(log_verify(w.io, "", on_finding, &s, &r), E_NOT_FOUND);
}

/* Every byte of a segment counts. */
static void verify_finds_every_changed_byte(void **state)
{
    (void)state;
    char *path = file_path(0, SEGMENT_LOG);
    size_t size;
    uint8_t *bytes = mutable_bytes(path, &size);
    for (size_t i = 0; i < size; i += 3) {
        bytes[i] ^= 0x10;
        struct seen s;
        const struct log_verify_report r = verify(partition_path, &s);
        if (r.damages == 0)
            fail_msg("byte %d can change unseen", (int)i);
        bytes[i] ^= 0x10;
    }
    mem_free(path);
}

static void verify_doubts_indexes_and_epochs(void **state)
{
    (void)state;
    struct seen s;
    static const enum segment_file kinds[] = {SEGMENT_INDEX, SEGMENT_TIME_INDEX};
    for (size_t k = 0; k < 2; k++) {
        char *path = file_path(0, kinds[k]);
        size_t size;
        uint8_t *bytes = mutable_bytes(path, &size);
        assert_true(size >= 16);
        for (size_t i = 0; i < size; i++) {
            bytes[i] ^= 0x01;
            const struct log_verify_report r = verify(WORLD_DIR, &s);
            assert_int_equal(r.doubts, 1);
            assert_int_equal(r.damages, 0);
            assert_string_equal(s.path, path);
            bytes[i] ^= 0x01;
        }
        mem_free(path);
    }
    char *path = mem_printf("%s/%s", partition_path, EPOCH_FILE);
    fake_fsio_put(w.fs, path, slice_str("0 0\n"));
    assert_int_equal(verify(WORLD_DIR, &s).doubts, 1);
    struct epoch_cache wrong = {0};
    struct buf b = {0};
    epoch_cache_begin(&wrong, 0, 0);
    epoch_cache_begin(&wrong, 1, 22);
    epoch_cache_format(&wrong, 80, &b);
    checkpoint_end(&b);
    fake_fsio_put(w.fs, path, buf_slice(&b));
    assert_int_equal(verify(WORLD_DIR, &s).doubts, 1);
    epoch_cache_deinit(&wrong);
    buf_deinit(&b);
    mem_free(path);
}

/* A torn tail is legal above the flushed point and damage below it. */
static void verify_tells_a_torn_tail_from_a_loss(void **state)
{
    (void)state;
    struct seen s;
    assert_ok(world_start(&w));
    int64_t offset;
    assert_ok(world_append(world_log(&w, 0), 1, 200, 1, 1, 3, &offset));
    const int64_t base = log_active(world_log(&w, 0))->base_offset;
    world_stop(&w);
    char *path = file_path(base, SEGMENT_LOG);
    const struct slice file = fake_fsio_get(w.fs, path);
    fake_fsio_put(w.fs, path, slice_sub(file, 0, file.size - 10));
    struct log_verify_report r = verify(WORLD_DIR, &s);
    assert_int_equal(r.notes, 1);
    assert_int_equal(r.damages, 0);
    assert_err(s.last.error, E_WOULD_BLOCK);
    const struct slice torn = fake_fsio_get(w.fs, path);
    fake_fsio_put(w.fs, path, slice_sub(torn, 0, 400));
    r = verify(WORLD_DIR, &s);
    assert_int_equal(r.damages, 1);
    fake_fsio_remove(w.fs, path);
    mem_free(path);
    path = file_path(0, SEGMENT_LOG);
    fake_fsio_remove(w.fs, path);
    r = verify(WORLD_DIR, &s);
    assert_true(r.damages >= 1);
    mem_free(path);
}

static void verify_looks_at_identities(void **state)
{
    (void)state;
    struct seen s;
    char *path = mem_printf("%s/%s", partition_path, PARTITION_FILE);
    const struct log_identity other = world_id(9);
    struct buf b = {0};
    partition_file_format(&other, &b);
    fake_fsio_put(w.fs, path, buf_slice(&b));
    assert_int_equal(verify(WORLD_DIR, &s).damages, 1);
    fake_fsio_put(w.fs, path, slice_str("?"));
    assert_int_equal(verify(WORLD_DIR, &s).damages, 1);
    fake_fsio_remove(w.fs, path);
    assert_int_equal(verify(WORLD_DIR, &s).damages, 1);
    fake_fsio_put(w.fs, WORLD_DIR "/meta", slice_str("?"));
    assert_int_equal(verify(WORLD_DIR, &s).damages, 2);
    buf_deinit(&b);
    mem_free(path);
}

static void walk_ends_where_a_preallocated_tail_begins(void **state)
{
    (void)state;
    char *path = file_path(0, SEGMENT_LOG);
    const struct slice file = fake_fsio_get(w.fs, path);
    uint8_t *image = mem_zalloc(file.size + 5000);
    const size_t size = file.size;
    memcpy(image, file.data, size);
    for (int pass = 0; pass < 2; pass++) {
        fake_fsio_put(w.fs, path, slice_of(image, size + 5000));
        struct segment_walk *walk;
        struct batch b;
        err crcs, e;
        assert_ok(segment_walk_open(&walk, w.io, path));
        assert_int_equal(segment_walk_base_offset(walk), 0);
        while ((e = segment_walk_next(walk, &b, &crcs)) == OK)
            assert_ok(crcs);
        assert_err(e, pass == 0 ? E_END : E_CORRUPT);
        assert_int_equal(segment_walk_pos(walk), size);
        assert_int_equal(segment_walk_size(walk), size + 5000);
        segment_walk_close(walk);
        image[size + 4999] = 7;
    }
    mem_free(image);
    mem_free(path);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        CASE(verify_finds_a_good_log_good),     CASE(verify_finds_every_changed_byte),
        CASE(verify_doubts_indexes_and_epochs), CASE(verify_tells_a_torn_tail_from_a_loss),
        CASE(verify_looks_at_identities),       CASE(walk_ends_where_a_preallocated_tail_begins),
    };
    return TEST_MAIN(tests, NULL, NULL);
}
