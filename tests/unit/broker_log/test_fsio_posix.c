/* SPDX-License-Identifier: Apache-2.0 */
/* The Linux side of the file door; and the model in tests/support keeps the same promises. */
#include "tests/support/test.h"

#include "broker/log/fsio.h"
#include "proto/base/mem.h"
#include "tests/support/fake_fsio.h"

struct place {
    const struct fsio *io;
    const char *dir;
};

static void in_both(void (*test)(const struct place *p))
{
    const struct place real = {.io = fsio_posix(), .dir = test_dir()};
    test(&real);
    struct fake_fsio *w = fake_fsio_new();
    const struct place fake = {.io = fake_fsio_io(w), .dir = "/d"};
    assert_ok(fake.io->mkdir(fake.io, "/d"));
    test(&fake);
    fake_fsio_free(w);
}

static const char *at(const struct place *p, const char *name)
{
    static char paths[4][FSIO_PATH_MAX];
    static unsigned next;
    return fsio_path(paths[next++ % 4], p->dir, name);
}

static void opening(const struct place *p)
{
    struct fsio_file *f, *again;
    assert_err(p->io->open(p->io, at(p, "a"), 0, &f), E_NOT_FOUND);
    assert_err(p->io->open(p->io, at(p, "no/a"), FSIO_WRITE | FSIO_CREATE, &f), E_NOT_FOUND);
    assert_ok(p->io->open(p->io, at(p, "a"), FSIO_WRITE | FSIO_CREATE | FSIO_EXCL, &f));
    assert_err(p->io->open(p->io, at(p, "a"), FSIO_WRITE | FSIO_CREATE | FSIO_EXCL, &again),
               E_EXISTS);
    assert_ok(fsio_pwrite(p->io, f, "hello", 5, 3));
    uint64_t size;
    assert_ok(p->io->size(p->io, f, &size));
    assert_int_equal(size, 8);
    assert_ok(p->io->stat_size(p->io, at(p, "a"), &size));
    assert_int_equal(size, 8);
    char back[16];
    size_t got;
    assert_ok(p->io->pread(p->io, f, back, sizeof back, 1, &got));
    assert_int_equal(got, 7);
    assert_memory_equal(back, "\0\0hello", 7);
    p->io->close(p->io, f);
    assert_ok(p->io->open(p->io, at(p, "a"), FSIO_WRITE | FSIO_TRUNC, &f));
    assert_ok(p->io->size(p->io, f, &size));
    assert_int_equal(size, 0);
    p->io->close(p->io, f);
}

static void fsio_opens_writes_and_reads(void **state)
{
    (void)state;
    in_both(opening);
}

static void writing_pieces(const struct place *p)
{
    enum { PIECES = 300 };
    static uint8_t bytes[PIECES];
    struct iovec iov[PIECES];
    struct fsio_file *f;
    size_t written, got;
    for (size_t i = 0; i < PIECES; i++) {
        bytes[i] = (uint8_t)i;
        iov[i] = (struct iovec){.iov_base = &bytes[i], .iov_len = 1};
    }
    assert_ok(p->io->open(p->io, at(p, "b"), FSIO_WRITE | FSIO_CREATE, &f));
    assert_ok(p->io->pwritev(p->io, f, iov, PIECES, 100, &written));
    assert_int_equal(written, PIECES);
    uint8_t back[PIECES];
    assert_ok(p->io->pread(p->io, f, back, PIECES, 100, &got));
    assert_int_equal(got, PIECES);
    assert_memory_equal(back, bytes, PIECES);
    p->io->close(p->io, f);
}

static void fsio_writes_pieces_as_one(void **state)
{
    (void)state;
    in_both(writing_pieces);
}

static void mapping(const struct place *p)
{
    struct fsio_file *f;
    const uint8_t *map;
    assert_ok(p->io->open(p->io, at(p, "m"), FSIO_WRITE | FSIO_CREATE, &f));
    assert_ok(fsio_pwrite(p->io, f, "abc", 3, 0));
    assert_ok(p->io->map(p->io, f, 1 << 20, &map));
    assert_memory_equal(map, "abc", 3);
    assert_ok(fsio_pwrite(p->io, f, "defg", 4, 3)); /* seen, in the same mapping */
    assert_memory_equal(map, "abcdefg", 7);
    assert_true(p->io->is_resident(p->io, f, map, 0, 7));
    assert_ok(p->io->populate(p->io, map, 7));
    p->io->close(p->io, f);
    assert_ok(p->io->unlink(p->io, at(p, "m")));
    assert_memory_equal(map, "abcdefg", 7); /* outlives name and descriptor */
    p->io->unmap(p->io, map, 1 << 20);
}

static void fsio_maps_what_is_still_written(void **state)
{
    (void)state;
    in_both(mapping);
}

static void sizes(const struct place *p)
{
    struct fsio_file *f;
    uint64_t size;
    char back[10];
    size_t got;
    assert_ok(p->io->open(p->io, at(p, "s"), FSIO_WRITE | FSIO_CREATE, &f));
    assert_ok(fsio_pwrite(p->io, f, "0123456789", 10, 0));
    assert_ok(p->io->ftruncate(p->io, f, 4));
    assert_ok(p->io->ftruncate(p->io, f, 10)); /* what comes back is zeros */
    assert_ok(p->io->pread(p->io, f, back, 10, 0, &got));
    assert_memory_equal(back, "0123\0\0\0\0\0\0", 10);
    assert_ok(p->io->fallocate(p->io, f, 100000));
    assert_ok(p->io->size(p->io, f, &size));
    assert_int_equal(size, 100000);
    assert_ok(p->io->fallocate(p->io, f, 10));
    assert_ok(p->io->size(p->io, f, &size));
    assert_int_equal(size, 100000);
    assert_ok(p->io->fdatasync(p->io, f));
    assert_ok(p->io->fsync(p->io, f));
    p->io->close(p->io, f);
}

static void fsio_cuts_and_grows_with_zeros(void **state)
{
    (void)state;
    in_both(sizes);
}

static void add_up(void *arg, const struct fsio_entry *entry)
{
    int *sum = arg;
    *sum += entry->is_dir ? 100 : 1;
    assert_string_not_equal(entry->name, ".");
    assert_string_not_equal(entry->name, "..");
}

static void names(const struct place *p)
{
    struct fsio_file *f;
    int sum = 0;
    assert_ok(p->io->mkdir(p->io, at(p, "x")));
    assert_err(p->io->mkdir(p->io, at(p, "x")), E_EXISTS);
    assert_ok(p->io->open(p->io, at(p, "x/1"), FSIO_WRITE | FSIO_CREATE, &f));
    p->io->close(p->io, f);
    assert_ok(p->io->open(p->io, at(p, "x/2"), FSIO_WRITE | FSIO_CREATE, &f));
    assert_ok(fsio_pwrite(p->io, f, "two", 3, 0));
    assert_ok(p->io->syncfs(p->io, f));
    p->io->close(p->io, f);
    assert_ok(p->io->mkdir(p->io, at(p, "x/y")));
    assert_ok(p->io->list(p->io, at(p, "x"), add_up, &sum));
    assert_int_equal(sum, 102);
    assert_ok(p->io->rename(p->io, at(p, "x/2"), at(p, "x/1"))); /* replaces */
    uint64_t size;
    assert_ok(p->io->stat_size(p->io, at(p, "x/1"), &size));
    assert_int_equal(size, 3);
    assert_err(p->io->stat_size(p->io, at(p, "x/2"), &size), E_NOT_FOUND);
    assert_err(p->io->rename(p->io, at(p, "x/2"), at(p, "x/3")), E_NOT_FOUND);
    assert_err(p->io->unlink(p->io, at(p, "x/2")), E_NOT_FOUND);
    assert_ok(p->io->unlink(p->io, at(p, "x/1")));
    assert_ok(p->io->rmdir(p->io, at(p, "x/y")));
    assert_ok(p->io->sync_dir(p->io, at(p, "x")));
    assert_ok(p->io->rmdir(p->io, at(p, "x")));
    assert_err(p->io->list(p->io, at(p, "x"), add_up, &sum), E_NOT_FOUND);
    struct fsio_space space;
    assert_ok(p->io->space(p->io, p->dir, &space));
    assert_true(space.bytes_total > space.bytes_free);
    const int64_t before = p->io->clock_us(p->io);
    assert_true(p->io->clock_us(p->io) >= before);
}

static void fsio_names_files_and_directories(void **state)
{
    (void)state;
    in_both(names);
}

static void locking(const struct place *p)
{
    struct fsio_file *a, *b;
    assert_ok(p->io->open(p->io, at(p, "lock"), FSIO_WRITE | FSIO_CREATE, &a));
    assert_ok(p->io->open(p->io, at(p, "lock"), FSIO_WRITE | FSIO_CREATE, &b));
    assert_ok(p->io->lock(p->io, a));
    assert_err(p->io->lock(p->io, b), E_WOULD_BLOCK);
    p->io->close(p->io, a);
    assert_ok(p->io->lock(p->io, b));
    p->io->close(p->io, b);
}

static void fsio_lets_one_have_a_lock(void **state)
{
    (void)state;
    in_both(locking);
}

static void whole_files(const struct place *p)
{
    char *data;
    size_t size;
    char *large = mem_alloc(300000);
    memset(large, 'x', 300000);
    assert_ok(fsio_replace_file(p->io, p->dir, "w", large, 300000));
    assert_ok(fsio_read_file(p->io, at(p, "w"), 300000, &data, &size));
    assert_int_equal(size, 300000);
    assert_memory_equal(data, large, size);
    assert_int_equal(data[size], 0);
    mem_free(data);
    assert_err(fsio_read_file(p->io, at(p, "w"), 299999, &data, &size), E_CORRUPT);
    assert_ok(fsio_replace_file(p->io, p->dir, "w", "", 0));
    assert_ok(fsio_read_file(p->io, at(p, "w"), 10, &data, &size));
    assert_int_equal(size, 0);
    mem_free(data);
    assert_ok(fsio_read_file(p->io, "/proc/sys/kernel/random/boot_id", 100, &data, &size));
    assert_int_equal(size, 37);
    mem_free(data);
    mem_free(large);
    uint64_t left;
    assert_err(p->io->stat_size(p->io, at(p, "w.tmp"), &left), E_NOT_FOUND);
}

static void fsio_replaces_and_reads_whole_files(void **state)
{
    (void)state;
    in_both(whole_files);
}

/* A device that is always full: the kernel says ENOSPC. */
static void fsio_tells_a_full_disk_from_a_failed_one(void **state)
{
    (void)state;
    const struct fsio *io = fsio_posix();
    struct fsio_file *f;
    assert_ok(io->open(io, "/dev/full", FSIO_WRITE, &f));
    assert_err(fsio_pwrite(io, f, "x", 1, 0), E_NO_SPACE);
    io->close(io, f);
    assert_err(io->open(io, "/proc/self/mem/x", 0, &f), E_STORAGE);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fsio_opens_writes_and_reads),
        cmocka_unit_test(fsio_writes_pieces_as_one),
        cmocka_unit_test(fsio_maps_what_is_still_written),
        cmocka_unit_test(fsio_cuts_and_grows_with_zeros),
        cmocka_unit_test(fsio_names_files_and_directories),
        cmocka_unit_test(fsio_lets_one_have_a_lock),
        cmocka_unit_test(fsio_replaces_and_reads_whole_files),
        cmocka_unit_test(fsio_tells_a_full_disk_from_a_failed_one),
    };
    return TEST_MAIN(tests, NULL, NULL);
}
