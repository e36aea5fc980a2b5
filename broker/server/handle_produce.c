/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of a produce request:
 *
 *   handle_produce    parses, finds and admits every partition's batches, and puts
 *                     them into the lane's run; a run is for one partition
 *   append_run        one write for the whole run; every item learns its offsets
 *   op_appended       when all partitions of a request are appended or refused:
 *                     acks 0 and 1 are done, -1 parks where the high watermark is behind
 *   on_fired          the last wait is over (confirmed, or it failed)
 *   give_up           the time is over, or the connection
 *
 * Invariants: 1. whichever of the last two ends the last wait leads to op_answer,
 * and only that; 2. with acks=-1 a partition is answered OK only if its high
 * watermark reached the end of what was appended, in the epoch it was appended in.
 */
#include "broker/server/handle_produce.h"

#include <stddef.h>

#include "broker/server/whereabouts.h"
#include "proto/base/check.h"
#include "proto/wire/produce.h"

struct produce_slot {
    struct waiter waiter;
    struct partition *p;  /* referenced: results name it; NULL: not found */
    int32_t leader_epoch; /* appended in it */
    bool waits;           /* for the high watermark */
};

struct produce_op {
    struct request *r;
    struct lane *lane;
    struct wait_group group;
    struct timer timer;
    int32_t acks;
    uint32_t timeout_ms;
    uint32_t slot_count;
    uint32_t unappended; /* slots in runs, and one for handle_produce itself */
    struct produce_slot *slots;
    struct produce_result *results; /* one for each slot */
    struct produce_slot one_slot;   /* most requests have one */
    struct produce_result one_result;
};

size_t handle_produce_extra(void)
{
    return sizeof(struct produce_op);
}

static void op_finish(struct produce_op *op)
{
    struct request *r = op->r;
    err outcome = OK;
    timer_stop(op->lane->loop, &op->timer);
    for (uint32_t i = 0; i < op->slot_count; i++)
        if (op->results[i].error != OK)
            outcome = op->results[i].error;

    struct conn *c = service_conn(r);
    if (c && op->acks == 0 && outcome != OK) {
        conn_close(c); /* the only way to tell a client that expects no answer */
    } else if (c && op->acks != 0) {
        const size_t size = produce_response_size(r->correlation_id, op->results, op->slot_count);
        produce_response_write(conn_write_space(c, size), r->correlation_id, op->results,
                               op->slot_count);
    }
    for (uint32_t i = 0; i < op->slot_count; i++)
        if (op->slots[i].p)
            partition_unref(op->slots[i].p);
    service_finish(r, outcome);
}

/* why NULL: the error and the partition say enough. */
static void refuse(struct produce_op *op, uint32_t slot, err e, const char *why)
{
    struct produce_result *res = &op->results[slot];
    const struct partition_name name = {
        .topic = res->topic_name, .topic_id = res->topic_id, .partition = res->partition};
    const struct whereabouts w =
        whereabouts(op->lane->table, &op->r->arena, &name, service_listener(op->r), e, why);
    res->error = e;
    res->error_message = slice_str(w.why);
    res->leader_id = w.leader_id;
    res->leader_host = w.leader_host;
    res->leader_port = w.leader_port;
    res->leader_epoch = w.leader_epoch;
}

/* --- waiting ----------------------------------------------------------------- */

/* It is in the log, and may or may not stay there. */
static void refuse_appended(struct produce_op *op, uint32_t slot, err e)
{
    refuse(op, slot, e,
           arena_printf(&op->r->arena,
                        "appended at offset %lld, but not confirmed (%s): the outcome is unknown",
                        (long long)op->results[slot].base_offset, err_text(e)));
}

/* Nobody waits any more: tells how each wait ended. */
static void op_answer(struct produce_op *op)
{
    for (uint32_t i = 0; i < op->slot_count; i++) {
        const struct produce_slot *s = &op->slots[i];
        if (s->waits && s->waiter.result != OK)
            refuse_appended(op, i, s->waiter.result);
    }
    op_finish(op);
}

static void on_fired(struct mail *m)
{
    op_answer((struct produce_op *)((char *)m - offsetof(struct produce_op, group.mail)));
}

/* Ends what still waits. A group of which one waiter was taken away cannot fire any more, so the op
 * ends here; if none was left, it has fired and on_fired is on its way. */
static void give_up(struct produce_op *op, err e)
{
    bool was_waiting = false;
    for (uint32_t i = 0; i < op->slot_count; i++) {
        struct produce_slot *s = &op->slots[i];
        if (!s->waits || !partition_cancel_wait(s->p, &s->waiter))
            continue;
        s->waiter.result = e;
        was_waiting = true;
    }
    if (was_waiting)
        op_answer(op);
}

static void on_timeout(void *arg)
{
    give_up(arg, E_TIMED_OUT);
}

/* The connection has gone, or the broker is stopping. */
static void on_cancel(void *arg, struct request *r)
{
    (void)r;
    give_up(arg, E_SHUTTING_DOWN);
}

static void op_appended(struct produce_op *op)
{
    uint32_t waiting = 0;
    for (uint32_t i = 0; i < op->slot_count; i++)
        waiting += op->slots[i].waits;
    if (waiting == 0) {
        op_finish(op);
        return;
    }
    wait_group_init(&op->group, op->lane->loop, on_fired, (int32_t)waiting + 1);
    for (uint32_t i = 0; i < op->slot_count; i++) {
        struct produce_slot *s = &op->slots[i];
        bool is_parked = false;
        if (!s->waits)
            continue;
        const err e =
            partition_wait_confirmed(s->p, &s->waiter, &op->group, op->results[i].last_offset + 1,
                                     s->leader_epoch, &is_parked);
        if (is_parked)
            continue; /* from now on the waiter is the partition's */
        s->waiter.result = e;
        wait_group_release(&op->group);
    }
    timer_start(op->lane->loop, &op->timer, (int64_t)op->timeout_ms * 1000, on_timeout, op);
    service_on_cancel(op->r, on_cancel, op);
    wait_group_release(&op->group);
}

static void op_put(struct produce_op *op)
{
    if (--op->unappended == 0)
        op_appended(op);
}

/* --- the run ------------------------------------------------------------------- */

static void count_run(struct lane *ln)
{
    const struct produce_run *run = &ln->run;
    uint64_t bytes = 0;
    for (size_t i = 0; i < run->batch_count; i++)
        bytes += BATCH_HEADER_SIZE + run->batches[i].records.size;
    counter_add(ln->metrics.bytes_in, bytes);
    counter_add(ln->metrics.batches_in, run->batch_count);
    counter_add(ln->metrics.writes, 1);
}

static void append_run(struct lane *ln)
{
    struct produce_run *run = &ln->run;
    if (!run->p)
        return;
    const struct partition_append what = {.batches = run->batches,
                                          .count = run->batch_count,
                                          .all = run->all,
                                          .claimed_epoch = run->claimed_epoch};
    struct partition_appended done = {0};
    const err e = partition_append(run->p, &what, &done);
    int64_t offset = done.base_offset;
    const struct log_batch *b = run->batches;
    if (e == OK)
        count_run(ln);
    for (size_t i = 0; i < run->item_count; i++) {
        struct produce_op *op = run->items[i].op;
        const uint32_t slot = run->items[i].slot;
        struct produce_result *res = &op->results[slot];
        if (e != OK) {
            refuse(op, slot, e, NULL);
            continue;
        }
        res->base_offset = offset;
        res->log_start_offset = done.log_start_offset;
        for (uint32_t k = 0; k < run->items[i].batch_count; k++, b++)
            offset += (int64_t)b->last_offset_delta + 1;
        res->last_offset = offset - 1;
        op->slots[slot].leader_epoch = done.leader_epoch;
        op->slots[slot].waits = run->all && offset > done.high_watermark;
    }
    run->p = NULL;
    const size_t items = run->item_count;
    run->batch_count = run->item_count = 0;
    for (size_t i = 0; i < items; i++)
        op_put(run->items[i].op);
}

void handle_produce_end(struct lane *ln)
{
    append_run(ln);
    admit_ctx_reset(&ln->admit);
    ln->wall_ms = 0;
}

/* Puts a slot's admitted batches, which already lie at the run's end, into the run. */
static void join_run(struct lane *ln, struct produce_op *op, uint32_t slot, int32_t claimed_epoch,
                     size_t count)
{
    struct produce_run *run = &ln->run;
    run->p = op->slots[slot].p;
    run->all = op->acks == -1;
    run->claimed_epoch = claimed_epoch;
    run->items[run->item_count++] =
        (struct run_item){.op = op, .slot = slot, .batch_count = (uint32_t)count};
    run->batch_count += count;
    op->unappended++;
}

/* A run takes batches of one partition, one kind of acks and one claimed epoch, and always has room
 * for a slot's. */
static bool fits_run(const struct produce_run *run, const struct partition *p, bool all,
                     int32_t claimed_epoch)
{
    return run->p == p && run->all == all && run->claimed_epoch == claimed_epoch &&
           run->batch_count <= RUN_BATCHES_MAX - ADMIT_BATCHES_MAX &&
           run->item_count < RUN_BATCHES_MAX;
}

/* --- the request ----------------------------------------------------------------- */

static err find(struct lane *ln, const struct produce_part *part, struct partition **out)
{
    const uint32_t version = partition_table_version(ln->table);
    if (ln->last.p && ln->last.table_version == version) {
        const struct log_identity *id = partition_identity(ln->last.p);
        const bool same_name =
            part->topic_name.size == 0 || slice_eq(part->topic_name, slice_str(id->topic));
        const bool same_id =
            part->topic_id.size == 0 ||
            slice_eq(part->topic_id, slice_of(id->topic_id.bytes, sizeof id->topic_id.bytes));
        const bool is_named = part->topic_name.size + part->topic_id.size > 0;
        if (id->partition == part->partition && same_name && same_id && is_named) {
            *out = partition_ref(ln->last.p);
            return OK;
        }
    }
    const struct partition_name name = {
        .topic = part->topic_name, .topic_id = part->topic_id, .partition = part->partition};
    const err e = partition_table_find(ln->table, &name, out);
    if (e != OK)
        return e;
    if (ln->last.p)
        partition_unref(ln->last.p);
    ln->last.p = partition_ref(*out);
    ln->last.table_version = version;
    ln->last.rules = partition_rules(*out);
    return OK;
}

static void begin_result(struct produce_op *op, uint32_t slot, const struct produce_part *part)
{
    const struct partition_name asked = {
        .topic = part->topic_name, .topic_id = part->topic_id, .partition = part->partition};
    const struct partition_name name = answer_name(&asked, op->slots[slot].p, &op->r->arena);
    op->results[slot] = (struct produce_result){.topic_name = name.topic,
                                                .topic_id = name.topic_id,
                                                .first_of_topic = part->first_of_topic,
                                                .partition = part->partition,
                                                .log_append_time_ms = -1,
                                                .log_start_offset = -1,
                                                .leader_id = -1,
                                                .leader_epoch = -1};
}

static int64_t wall_ms(struct lane *ln)
{
    if (ln->wall_ms == 0)
        ln->wall_ms = loop_wall_ms(ln->loop);
    return ln->wall_ms;
}

static void take_part(struct lane *ln, struct produce_op *op, uint32_t slot,
                      const struct produce_part *part)
{
    struct produce_slot *s = &op->slots[slot];
    struct produce_run *run = &ln->run;
    const bool all = op->acks == -1;
    err e = find(ln, part, &s->p);
    begin_result(op, slot, part);
    if (e != OK) {
        refuse(op, slot, e, NULL);
        return;
    }
    if (run->p && !fits_run(run, s->p, all, part->leader_epoch))
        append_run(ln);
    size_t count = 0;
    const char *why = NULL;
    e = admit(&ln->admit, &ln->last.rules, part->batches, wall_ms(ln),
              run->batches + run->batch_count, &count, &why);
    if (e != OK) {
        refuse(op, slot, e, arena_printf(&op->r->arena, "%s", why));
        return;
    }
    if (ln->last.rules.log_append_time)
        op->results[slot].log_append_time_ms = run->batches[run->batch_count].max_timestamp;
    join_run(ln, op, slot, part->leader_epoch, count);
}

/* Room for many partitions, where there is one in the op itself. */
static bool make_slots(struct produce_op *op, size_t count)
{
    if (count <= 1)
        return true;
    op->slots = arena_alloc(&op->r->arena, count * sizeof *op->slots);
    op->results = arena_alloc(&op->r->arena, count * sizeof *op->results);
    if (!op->slots || !op->results)
        return false;
    memset(op->slots, 0, count * sizeof *op->slots);
    return true;
}

void handle_produce(struct lane *ln, struct request *r, struct slice body)
{
    struct produce_request req;
    if (produce_parse(body, &req) != OK) {
        service_reply_error(r, E_INVALID_REQUEST, "the produce request is malformed");
        return;
    }
    if (req.acks != 0 && req.acks != 1 && req.acks != -1) {
        service_reply_error(r, E_INVALID_REQUIRED_ACKS, "acks is %d; it must be 0, 1 or -1",
                            req.acks);
        return;
    }
    struct produce_op *op = service_extra(r);
    *op = (struct produce_op){.r = r,
                              .lane = ln,
                              .acks = req.acks,
                              .timeout_ms = req.timeout_ms,
                              .slot_count = (uint32_t)req.partition_count,
                              .unappended = 1,
                              .slots = &op->one_slot,
                              .results = &op->one_result};
    if (!make_slots(op, req.partition_count)) {
        service_reply_error(r, E_OVERLOADED, "%zu partitions in one produce request are too many",
                            req.partition_count);
        return;
    }
    struct produce_cursor cur;
    struct produce_part part;
    uint32_t slot = 0;
    produce_begin(&cur, &req);
    while (slot < op->slot_count && produce_next(&cur, &part))
        take_part(ln, op, slot++, &part);
    CHECK(slot == op->slot_count);
    op_put(op);
}
