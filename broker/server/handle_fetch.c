/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of a fetch request:
 *
 *   handle_fetch   parses, finds the partitions
 *   step           reads all of them; answers, or sends the cold ones to a worker (warm), or
 *                  parks until a high watermark rises (park)
 *   on_fired, on_warm, on_timeout, on_cancel      each leads back to step, or to the end
 *
 * At any time a fetch is in one state: running (on its loop), parked (waiters, timer) or warming (a
 * job at a worker); only running may finish it.
 */
#include "broker/server/handle_fetch.h"

#include <stddef.h>

#include "broker/server/whereabouts.h"
#include "proto/base/check.h"
#include "proto/base/limits.h"
#include "proto/wire/fetch.h"

enum { WAIT_MS_MAX = 5 * 60 * 1000, ANSWER_BYTES_MAX = FRAME_BYTES_MAX / 2 };

enum fetch_state { FETCH_RUNNING, FETCH_PARKED, FETCH_WARMING };

struct fetch_slot {
    struct waiter waiter;
    struct partition *p; /* referenced; NULL: not found */
    int64_t offset;
    uint32_t max_bytes;
    int32_t claimed_epoch;
    err found; /* of the search */
    struct log_view view;
    /* So many bytes were not in memory: a worker brings them, and the next read may block on them
     * (and on no more). 0: nothing is cold. */
    size_t cold_bytes;
};

struct fetch_op {
    struct request *r;
    struct lane *lane;
    enum fetch_state state;
    bool is_over;    /* the wait is: answer with what there is */
    bool was_warmed; /* since it was last parked: what is still cold is left to the next request */
    uint32_t min_bytes, max_bytes;
    uint32_t slot_count;
    struct wait_group group;
    struct timer timer;
    struct exec_job job;
    struct fetch_slot *slots;
    struct fetch_result *results; /* one for each slot */
    size_t *head_sizes;           /* when answering */
    struct fetch_slot one_slot;   /* most requests have one */
    struct fetch_result one_result;
    size_t one_head_size;
};

size_t handle_fetch_extra(void)
{
    return sizeof(struct fetch_op);
}

static void drop_views(struct fetch_op *op)
{
    for (uint32_t i = 0; i < op->slot_count; i++) {
        if (op->slots[i].view.ref)
            log_view_release(&op->slots[i].view);
        op->slots[i].view = (struct log_view){0};
    }
}

static void finish(struct fetch_op *op, err outcome)
{
    drop_views(op);
    timer_stop(op->lane->loop, &op->timer);
    for (uint32_t i = 0; i < op->slot_count; i++)
        if (op->slots[i].p)
            partition_unref(op->slots[i].p);
    service_finish(op->r, outcome);
}

static void release_view(void *ref)
{
    struct log_view v = {.ref = ref};
    log_view_release(&v);
}

static void answer(struct fetch_op *op)
{
    struct conn *c = service_conn(op->r);
    err outcome = OK;
    const size_t size = fetch_heads_size(op->r->correlation_id, op->results, op->slot_count);
    uint8_t small[512];
    uint8_t *heads = size <= sizeof small ? small : mem_alloc(size);
    fetch_response_heads(op->r->correlation_id, op->results, op->slot_count, heads, op->head_sizes);
    uint8_t *head = heads;
    if (op->slot_count == 0)
        conn_write(c, heads, size);
    for (uint32_t i = 0; i < op->slot_count; i++) {
        struct fetch_slot *s = &op->slots[i];
        conn_write(c, head, op->head_sizes[i]);
        head += op->head_sizes[i];
        if (s->view.ref) {
            counter_add(op->lane->metrics.bytes_out, s->view.bytes.size);
            conn_write_borrowed(c, s->view.bytes, release_view, s->view.ref);
        }
        s->view = (struct log_view){0};
        if (op->results[i].error != OK)
            outcome = op->results[i].error;
    }
    if (heads != small)
        mem_free(heads);
    finish(op, outcome);
}

static void step(struct fetch_op *op);

/* --- reading ------------------------------------------------------------------- */

struct gathered {
    size_t bytes; /* of views, and those that are cold */
    size_t cold_bytes;
    bool has_error;
    bool is_cut; /* a partition has more than it was allowed to give: waiting adds nothing */
};

static void refuse(struct fetch_op *op, uint32_t slot, err e, const char *why)
{
    struct fetch_result *res = &op->results[slot];
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

static const char *out_of_range(struct fetch_op *op, const struct fetch_slot *s,
                                const struct partition_read *read)
{
    const struct log_identity *id = partition_identity(s->p);
    return arena_printf(
        &op->r->arena,
        "offset %lld is outside of what partition %u of topic %s holds: %lld to %lld can be read",
        (long long)s->offset, id->partition, id->topic, (long long)read->log_start_offset,
        (long long)read->high_watermark);
}

static void read_slot(struct fetch_op *op, uint32_t slot, struct gathered *g)
{
    struct fetch_slot *s = &op->slots[slot];
    struct fetch_result *res = &op->results[slot];
    struct partition_read read = {.high_watermark = -1, .log_start_offset = -1};
    const size_t left = g->bytes < op->max_bytes ? op->max_bytes - g->bytes : 0;
    size_t allowed = s->max_bytes < left ? s->max_bytes : left;
    const bool may_block = s->cold_bytes > 0;
    if (may_block && allowed > s->cold_bytes)
        allowed = s->cold_bytes;
    s->cold_bytes = 0;
    res->error = OK;
    err e = s->found;
    if (e == OK)
        e = partition_fetch(s->p, s->offset, allowed, g->bytes == 0, may_block, s->claimed_epoch,
                            &read);
    res->high_watermark = read.high_watermark;
    res->log_start_offset = read.log_start_offset;
    res->batches = slice_of(NULL, 0);
    if (e == OK) {
        s->view = read.view;
        res->batches = read.view.bytes;
        g->bytes += read.view.bytes.size;
        g->is_cut |= g->bytes > 0 && read.view.next_offset < read.high_watermark;
    } else if (e == E_WOULD_BLOCK) {
        s->cold_bytes = allowed > 0 ? allowed : 1;
        g->cold_bytes += s->cold_bytes;
        g->bytes += s->cold_bytes;
    } else {
        refuse(op, slot, e, e == E_OFFSET_OUT_OF_RANGE ? out_of_range(op, s, &read) : NULL);
        g->has_error = true;
    }
}

/* --- cold: a worker brings the pages, then step reads again ------------------------ */

static void run_warm(struct exec_job *job)
{
    struct fetch_op *op = (struct fetch_op *)((char *)job - offsetof(struct fetch_op, job));
    for (uint32_t i = 0; i < op->slot_count; i++) {
        const struct fetch_slot *s = &op->slots[i];
        if (s->cold_bytes)
            partition_warm(s->p, s->offset, s->cold_bytes);
    }
}

static void on_warm(struct exec_job *job)
{
    struct fetch_op *op = (struct fetch_op *)((char *)job - offsetof(struct fetch_op, job));
    op->state = FETCH_RUNNING;
    op->was_warmed = true;
    step(op);
}

static void warm(struct fetch_op *op)
{
    drop_views(op);
    counter_add(op->lane->metrics.cold_reads, 1);
    op->state = FETCH_WARMING;
    op->job = (struct exec_job){.run = run_warm, .done = on_warm, .home = op->lane->loop};
    exec_submit(op->lane->readers, &op->job);
}

/* --- waiting ------------------------------------------------------------------------- */

static void on_fired(struct mail *m)
{
    struct fetch_op *op = (struct fetch_op *)((char *)m - offsetof(struct fetch_op, group.mail));
    for (uint32_t i = 0; i < op->slot_count; i++)
        if (op->slots[i].p)
            partition_cancel_wait(op->slots[i].p, &op->slots[i].waiter);
    op->state = FETCH_RUNNING;
    step(op);
}

/* Out of the wait: now, unless on_fired is on its way and will do it. */
static void unpark(struct fetch_op *op)
{
    for (uint32_t i = 0; i < op->slot_count; i++)
        if (op->slots[i].p)
            partition_cancel_wait(op->slots[i].p, &op->slots[i].waiter);
    if (wait_group_has_fired(&op->group))
        return;
    op->state = FETCH_RUNNING;
    step(op);
}

static void on_timeout(void *arg)
{
    struct fetch_op *op = arg;
    op->is_over = true;
    if (op->state == FETCH_PARKED)
        unpark(op);
}

/* The connection has gone, or the broker is stopping. */
static void on_cancel(void *arg, struct request *r)
{
    (void)r;
    on_timeout(arg);
}

static void park(struct fetch_op *op)
{
    drop_views(op);
    op->state = FETCH_PARKED;
    op->was_warmed = false;
    wait_group_init(&op->group, op->lane->loop, on_fired, 1);
    for (uint32_t i = 0; i < op->slot_count; i++) {
        struct fetch_slot *s = &op->slots[i];
        const int64_t seen = op->results[i].high_watermark;
        const int64_t beyond = s->offset > seen ? s->offset : seen;
        bool is_parked = false;
        const err e = partition_wait_readable(s->p, &s->waiter, &op->group, beyond, &is_parked);
        if (e != OK || !is_parked) {
            /* Something is new already: the mail makes step look again. */
            wait_group_release(&op->group);
            return;
        }
    }
}

static void step(struct fetch_op *op)
{
    CHECK(op->state == FETCH_RUNNING);
    if (!service_conn(op->r)) {
        finish(op, E_CANCELLED);
        return;
    }
    struct gathered g = {0};
    for (uint32_t i = 0; i < op->slot_count; i++)
        read_slot(op, i, &g);
    const bool has_enough = g.has_error || g.is_cut || g.bytes >= op->min_bytes;
    if (g.cold_bytes > 0 && !op->was_warmed)
        warm(op);
    else if (has_enough || g.cold_bytes > 0 || op->is_over || op->slot_count == 0)
        answer(op);
    else
        park(op);
}

/* --- the request ------------------------------------------------------------------------ */

static void begin_slot(struct fetch_op *op, uint32_t slot, const struct fetch_part *part)
{
    struct fetch_slot *s = &op->slots[slot];
    const struct partition_name asked = {
        .topic = part->topic_name, .topic_id = part->topic_id, .partition = part->partition};
    *s = (struct fetch_slot){.offset = part->fetch_offset,
                             .max_bytes = part->max_bytes,
                             .claimed_epoch = part->leader_epoch};
    s->found = partition_table_find(op->lane->table, &asked, &s->p);
    const struct partition_name name = answer_name(&asked, s->p, &op->r->arena);
    op->results[slot] = (struct fetch_result){.topic_name = name.topic,
                                              .topic_id = name.topic_id,
                                              .first_of_topic = part->first_of_topic,
                                              .partition = part->partition,
                                              .high_watermark = -1,
                                              .log_start_offset = -1,
                                              .leader_id = -1,
                                              .leader_epoch = -1};
}

/* Room for many partitions, where there is one in the op itself. */
static bool make_slots(struct fetch_op *op, size_t count)
{
    struct arena *arena = &op->r->arena;
    if (count <= 1)
        return true;
    op->slots = arena_alloc(arena, count * sizeof *op->slots);
    op->results = arena_alloc(arena, count * sizeof *op->results);
    op->head_sizes = arena_alloc(arena, count * sizeof *op->head_sizes);
    return op->slots && op->results && op->head_sizes;
}

void handle_fetch(struct lane *ln, struct request *r, struct slice body)
{
    struct fetch_request req;
    if (fetch_parse(body, &req) != OK) {
        service_reply_error(r, E_INVALID_REQUEST, "the fetch request is malformed");
        return;
    }
    const uint32_t max_bytes = req.max_bytes < ANSWER_BYTES_MAX ? req.max_bytes : ANSWER_BYTES_MAX;
    struct fetch_op *op = service_extra(r);
    *op = (struct fetch_op){.r = r,
                            .lane = ln,
                            .min_bytes = req.min_bytes < max_bytes ? req.min_bytes : max_bytes,
                            .max_bytes = max_bytes,
                            .slot_count = (uint32_t)req.partition_count,
                            .is_over = req.max_wait_ms == 0,
                            .slots = &op->one_slot,
                            .results = &op->one_result,
                            .head_sizes = &op->one_head_size};
    if (!make_slots(op, req.partition_count)) {
        service_reply_error(r, E_OVERLOADED, "%zu partitions in one fetch request are too many",
                            req.partition_count);
        return;
    }
    struct fetch_cursor cur;
    struct fetch_part part;
    uint32_t slot = 0;
    fetch_begin(&cur, &req);
    while (slot < op->slot_count && fetch_next(&cur, &part))
        begin_slot(op, slot++, &part);
    CHECK(slot == op->slot_count);
    if (req.max_wait_ms > 0) {
        const uint32_t wait_ms = req.max_wait_ms < WAIT_MS_MAX ? req.max_wait_ms : WAIT_MS_MAX;
        timer_start(ln->loop, &op->timer, (int64_t)wait_ms * 1000, on_timeout, op);
    }
    service_on_cancel(r, on_cancel, op);
    step(op);
}
