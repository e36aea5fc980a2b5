/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: whatever file operation fails or is the last before a crash, nothing
 * that was reported flushed is lost, and nothing half is found.
 *
 * Method: a script that appends, rolls, flushes, truncates, checkpoints, drops
 * old segments, resets, closes and opens again runs in a fake file system. It
 * runs again for each of its operations, which then fails in one of four ways.
 * A ledger keeps what every offset may hold and how far the log was reported
 * flushed. Then the machine loses power (or only the process dies), and the
 * directory is opened, checked, closed by another crash, and checked again.
 */
#include "tests/support/test.h"

#include "proto/base/diag.h"
#include "tests/unit/broker_log/log_world.h"

enum { OFFSETS_MAX = 2048, VARIANTS = 24, PARTITIONS = 2 };

/* What a partition may hold. */
struct ledger {
    /* Checksums of the batches that were ever written at an offset. */
    uint32_t crcs[OFFSETS_MAX][VARIANTS];
    int64_t flushed;   /* reported */
    int64_t start;     /* reported and made durable */
    int64_t start_max; /* asked for */
    bool is_created;   /* reported */
};

struct run {
    struct world w;
    struct ledger books[PARTITIONS];
    uint64_t tag;
};

static struct ledger *book(struct run *r, const struct log *g)
{
    return &r->books[g->id.partition];
}

static void write_down(struct run *r, const struct log *g, int64_t offset, uint32_t crc)
{
    assert_true(offset < OFFSETS_MAX);
    uint32_t *crcs = book(r, g)->crcs[offset];
    for (int i = 0; i < VARIANTS; i++) {
        if (crcs[i] == crc)
            return;
        if (crcs[i] == 0) {
            crcs[i] = crc;
            return;
        }
    }
    fail_msg("too many variants at one offset");
}

static void on_flushed(void *arg, struct log *g, err e)
{
    struct run *r = arg;
    if (e == OK && !fake_fsio_is_dead(r->w.fs))
        book(r, g)->flushed = log_flushed_offset(g);
}

/* What was cut for good may not be found again, from an offset on. */
static void strike_out(struct run *r, const struct log *g, int64_t offset)
{
    for (; offset < OFFSETS_MAX; offset++)
        memset(book(r, g)->crcs[offset], 0, sizeof book(r, g)->crcs[offset]);
}

/* --- the script's steps; each goes on whatever happens, as a broker would ---- */

static void append(struct run *r, uint32_t partition, uint32_t batches, int32_t epoch)
{
    struct log *g = world_log(&r->w, partition);
    static struct made_batch m[4];
    struct log_batch row[4];
    if (!g || fake_fsio_is_dead(r->w.fs) || log_dir_is_fenced(r->w.dir))
        return;
    /* Before it is tried: a failed append may still be found after a crash. */
    int64_t offset = log_end_offset(g);
    for (uint32_t i = 0; i < batches; i++) {
        const uint32_t records = (uint32_t)(r->tag % 3) + 1;
        make_batch(&m[i], records, 100 + r->tag % 7 * 150, 1000 + (int64_t)r->tag, r->tag);
        row[i] = m[i].batch;
        write_down(r, g, offset, m[i].batch.batch_crc);
        offset += records;
        r->tag++;
    }
    log_lock(g);
    const int64_t end = log_end_offset(g);
    const err e = log_append(g, row, batches, epoch, &offset);
    if (e == E_NO_SPACE)
        assert_int_equal(log_end_offset(g), end);
    log_unlock(g);
}

static void flush(struct run *r)
{
    err_ignore(world_flush(&r->w), "it may be the one that fails");
}

static void truncate_to(struct run *r, uint32_t partition, int64_t offset)
{
    struct log *g = world_log(&r->w, partition);
    if (!g || offset >= log_end_offset(g))
        return;
    struct ledger *b = book(r, g);
    /* From the moment it is tried, what is above may go. */
    if (b->flushed > offset)
        b->flushed = offset;
    log_lock(g);
    if (log_truncate(g, offset) == OK && !fake_fsio_is_dead(r->w.fs))
        strike_out(r, g, log_end_offset(g));
    /* It cuts at a batch boundary at or below. */
    if (b->flushed > log_flushed_offset(g))
        b->flushed = log_flushed_offset(g);
    log_unlock(g);
}

static void checkpoint(struct run *r)
{
    if (log_dir_checkpoint(r->w.dir, r->w.logs, r->w.count) != OK || fake_fsio_is_dead(r->w.fs))
        return;
    for (size_t i = 0; i < r->w.count; i++)
        book(r, r->w.logs[i])->start = log_start_offset(r->w.logs[i]);
}

static void raise_start(struct run *r, uint32_t partition, int64_t offset)
{
    struct log *g = world_log(&r->w, partition);
    if (!g || offset > log_end_offset(g))
        return;
    if (book(r, g)->start_max < offset)
        book(r, g)->start_max = offset;
    log_lock(g);
    err_ignore(log_raise_start(g, offset), "it may be the one that fails");
    log_unlock(g);
    checkpoint(r);
    int64_t bases[16];
    size_t dropped;
    if (log_dir_is_fenced(r->w.dir))
        return;
    log_lock(g);
    err_ignore(log_drop_below_start(g, bases, 16, &dropped), "it may be the one that fails");
    log_unlock(g);
}

static void reset_to(struct run *r, uint32_t partition, int64_t offset)
{
    struct log *g = world_log(&r->w, partition);
    if (!g)
        return;
    struct ledger *b = book(r, g);
    b->flushed = 0;
    b->start = 0;
    b->start_max = OFFSETS_MAX;
    log_lock(g);
    if (log_reset(g, offset) == OK && !fake_fsio_is_dead(r->w.fs))
        strike_out(r, g, 0);
    log_unlock(g);
}

static void create(struct run *r, uint32_t partition)
{
    const size_t before = r->w.count;
    if (!r->w.dir || world_log(&r->w, partition))
        return;
    const err e = world_create(&r->w, partition);
    if (e == OK && !fake_fsio_is_dead(r->w.fs))
        r->books[partition].is_created = true;
    if (r->w.count > before) {
        struct log *g = world_log(&r->w, partition);
        log_lock(g);
        log_on_flushed(g, on_flushed, r);
        log_unlock(g);
    }
}

static err open_world(struct run *r)
{
    const err e = world_start(&r->w);
    for (size_t i = 0; i < r->w.count; i++) {
        log_lock(r->w.logs[i]);
        log_on_flushed(r->w.logs[i], on_flushed, r);
        log_unlock(r->w.logs[i]);
    }
    return e;
}

/* A clean stop and a start in the middle. */
static void reopen(struct run *r)
{
    if (r->w.dir)
        err_ignore(world_close(&r->w), "it may be the one that fails");
    world_stop(&r->w);
    err_ignore(open_world(r), "it may be the one that fails");
}

static void script(struct run *r)
{
    err_ignore(open_world(r), "it may be the one that fails");
    if (!r->w.dir)
        return;
    create(r, 0);
    append(r, 0, 1, 0);
    flush(r);
    append(r, 0, 4, 0);
    append(r, 0, 4, 0);
    create(r, 1);
    append(r, 1, 2, 0);
    flush(r);
    append(r, 0, 4, 1);
    checkpoint(r);
    append(r, 0, 3, 1);
    append(r, 1, 3, 2);
    flush(r);
    append(r, 0, 3, 1);
    truncate_to(r, 0, 20);
    append(r, 0, 4, 3);
    flush(r);
    raise_start(r, 0, 12);
    append(r, 0, 4, 3);
    reopen(r);
    if (!r->w.dir)
        return;
    append(r, 0, 4, 4);
    append(r, 1, 4, 4);
    checkpoint(r); /* what is written is recorded, and not flushed */
    append(r, 0, 1, 4);
    flush(r);
    reopen(r);
    if (!r->w.dir)
        return;
    append(r, 0, 2, 5);
    flush(r);
    truncate_to(r, 0, 24);
    append(r, 0, 2, 6);
    flush(r);
    reset_to(r, 1, 40);
    append(r, 1, 3, 6);
    flush(r);
    reset_to(r, 1, 2);
    append(r, 1, 2, 7);
    append(r, 0, 4, 6);
}

/* --- what must hold ---------------------------------------------------------- */

struct check {
    struct run *r;
    const struct log *g;
};

/* What stands at an offset was written there, and the leader epochs know it. */
static bool was_written(void *arg, const struct batch *b)
{
    const struct check *c = arg;
    if (epoch_cache_at(&c->g->epochs, b->base_offset) != b->leader_epoch &&
        b->base_offset >= log_start_offset(c->g))
        return false;
    const uint32_t *crcs = book(c->r, c->g)->crcs[b->base_offset];
    for (int i = 0; i < VARIANTS; i++) {
        if (crcs[i] == b->batch_crc)
            return true;
    }
    return false;
}

struct seen {
    int64_t start[PARTITIONS], end[PARTITIONS];
    uint32_t crc[PARTITIONS];
};

static bool add_crc(void *arg, const struct batch *b)
{
    uint32_t *crc = arg;
    *crc = *crc * 31 + b->batch_crc;
    return true;
}

static void check_logs(struct run *r, const char *what, struct seen *seen)
{
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        struct log *g = world_log(&r->w, p);
        const struct ledger *b = &r->books[p];
        if (!g) {
            if (b->is_created)
                fail_msg("%s: partition %u is gone", what, p);
            continue;
        }
        if (g->unusable != OK)
            fail_msg("%s: partition %u: %s", what, p, err_name(g->unusable));
        const int64_t start = log_start_offset(g), end = log_end_offset(g);
        if (end < b->flushed)
            fail_msg("%s: partition %u ends at %d, flushed %d", what, p, (int)end, (int)b->flushed);
        if (log_loss(g).is_lossy)
            fail_msg("%s: partition %u claims a loss", what, p);
        if (start < b->start || start > b->start_max)
            fail_msg("%s: partition %u starts at %d, not in %d..%d", what, p, (int)start,
                     (int)b->start, (int)b->start_max);
        struct check c = {.r = r, .g = g};
        const char *why;
        if (!world_read_all(g, was_written, &c, &why))
            fail_msg("%s: partition %u: %s", what, p, why);
        seen->start[p] = start;
        seen->end[p] = end;
        seen->crc[p] = 0;
        assert_true(world_read_all(g, add_crc, &seen->crc[p], &why));
    }
}

/* A log can be gone on with after a crash, too. */
static void check_append(struct run *r)
{
    for (size_t i = 0; i < r->w.count; i++) {
        int64_t offset;
        struct log *g = r->w.logs[i];
        const int64_t end = log_end_offset(g);
        static struct made_batch m;
        make_batch(&m, 2, 30, 9000, r->tag);
        write_down(r, g, end, m.batch.batch_crc);
        assert_ok(world_append(g, 2, 30, 9000, r->tag, 90, &offset));
        assert_int_equal(offset, end);
        r->tag++;
    }
    assert_ok(world_flush(&r->w));
    for (size_t i = 0; i < r->w.count; i++)
        assert_int_equal(log_flushed_offset(r->w.logs[i]), log_end_offset(r->w.logs[i]));
}

static bool run_once(uint64_t op, enum fake_fault fault, enum fake_crash crash, uint64_t seed)
{
    static struct run r;
    memset(&r, 0, sizeof r);
    world_init(&r.w, seed);
    fake_fsio_fault_at(r.w.fs, op, fault);
    script(&r);
    const char *operation = "none";
    const bool has_faulted = fake_fsio_has_faulted(r.w.fs, &operation);
    world_stop(&r.w);

    char what[128];
    static const char *const faults[] = {"fails", "has no space", "is short", "is the last"};
    static const char *const crashes[] = {"kill", "lose all", "lose some"};
    snprintf(what, sizeof what, "operation %d (%s) %s, %s, seed %d", (int)op, operation,
             faults[fault], crashes[crash], (int)seed);
    fake_fsio_crash(r.w.fs, crash, &r.w.rng);
    err e = open_world(&r);
    if (e != OK)
        fail_msg("%s: cannot open: %s", what, err_name(e));
    struct seen first = {0}, second = {0};
    check_logs(&r, what, &first);

    /* Opened, never written to, and the power goes again: the same. */
    const bool loses = rng_below(&r.w.rng, 2);
    world_stop(&r.w);
    fake_fsio_crash(r.w.fs, loses ? FAKE_LOSE_ALL : FAKE_KILL, &r.w.rng);
    e = open_world(&r);
    if (e != OK)
        fail_msg("%s: cannot open again: %s", what, err_name(e));
    check_logs(&r, what, &second);
    if (!loses) {
        assert_memory_equal(&first, &second, sizeof first);
    }
    check_append(&r);
    world_stop(&r.w);
    fake_fsio_crash(r.w.fs, FAKE_LOSE_ALL, &r.w.rng);
    assert_ok(open_world(&r));
    check_logs(&r, what, &second);
    world_deinit(&r.w);
    return has_faulted;
}

static void every_operation(enum fake_fault fault, const enum fake_crash *crashes, size_t count)
{
    bool has_faulted = true;
    uint64_t op = 0;
    for (; has_faulted; op++) {
        for (size_t i = 0; i < count; i++)
            has_faulted = run_once(op, fault, crashes[i], test_seed() + op * 31 + i);
    }
    assert_true(op > 100); /* the script did reach its end */
}

static void log_survives_death_at_every_operation(void **state)
{
    (void)state;
    static const enum fake_crash crashes[] = {FAKE_KILL,      FAKE_LOSE_ALL,  FAKE_LOSE_SOME,
                                              FAKE_LOSE_SOME, FAKE_LOSE_SOME, FAKE_LOSE_SOME};
    every_operation(FAKE_DIE, crashes, sizeof crashes / sizeof crashes[0]);
}

static void log_survives_failure_of_every_operation(void **state)
{
    (void)state;
    static const enum fake_crash crashes[] = {FAKE_KILL, FAKE_LOSE_ALL, FAKE_LOSE_SOME};
    every_operation(FAKE_FAIL, crashes, sizeof crashes / sizeof crashes[0]);
}

static void log_survives_short_writes(void **state)
{
    (void)state;
    static const enum fake_crash crashes[] = {FAKE_KILL, FAKE_LOSE_SOME};
    every_operation(FAKE_SHORT, crashes, sizeof crashes / sizeof crashes[0]);
}

static void log_survives_a_full_disk_at_every_operation(void **state)
{
    (void)state;
    static const enum fake_crash crashes[] = {FAKE_KILL, FAKE_LOSE_SOME};
    every_operation(FAKE_NO_SPACE, crashes, sizeof crashes / sizeof crashes[0]);
}

/* Thousands of expected failures would be thousands of lines. */
static void drop_line(void *arg, const char *line, size_t size)
{
    (void)arg;
    (void)line;
    (void)size;
}

int main(int argc, char **argv)
{
    diag_set_sink(drop_line, NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(log_survives_death_at_every_operation),
        cmocka_unit_test(log_survives_failure_of_every_operation),
        cmocka_unit_test(log_survives_short_writes),
        cmocka_unit_test(log_survives_a_full_disk_at_every_operation),
    };
    return TEST_MAIN(tests, NULL, NULL);
}
