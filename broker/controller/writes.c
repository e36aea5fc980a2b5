/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rule C4, in one place: every write is one multi,
 *
 *   check /controller_epoch            first: its failure ends the office
 *   check /brokers/epoch/<b> ...       new leaders, added in-sync replicas
 *   create, set, delete ...            what was decided
 *   set /changes                       last: its version orders everything
 *
 * One is under way at a time. It takes what the brokers' coming and going asks
 * for, then operations from the queue, in order, as long as they fit; each sees
 * the image as those before it leave it.
 *
 * A lost answer is settled before anything else: as long as the epoch is ours,
 * nobody else moves /changes, so its version tells whether the write was done.
 */
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>

#include "broker/controller/controller_priv.h"
#include "proto/base/check.h"
#include "proto/base/diag.h"

enum {
    ITEMS_MAX = COORD_MULTI_MAX - 8,
    BYTES_MAX = 512 * 1024,
    CHANGES_PER_WRITE_MAX = CHANGES_MAX / 2, /* so that one write does not push out all others */
    ATTEMPTS_MAX = 10,
    DEADLINE_CHECK_US = 200 * 1000,
};

struct item {
    struct coord_op op;
    char path[64];
    struct buf data;
    int32_t broker_id; /* of an incarnation's check; NO_BROKER: another one */
};

struct write {
    struct controller *c;
    struct item *items;
    size_t count, capacity;
    size_t bytes;
    size_t changes_added;
    struct cluster_edit *edit;
    struct changes changes;
    uint64_t version; /* of /changes after it */
};

const struct cluster *write_view(const struct write *w)
{
    return cluster_edit_view(w->edit);
}

void write_stamp(struct controller *c, struct partition_state *p)
{
    p->controller_epoch = (uint32_t)c->epoch_version;
    p->nonce = rng_u64(session_rng(c->opts.session));
}

/* --- adding to a write ----------------------------------------------------------- */

/* Takes data. */
static struct item *add_item(struct write *w, enum coord_op_kind kind, const char *path,
                             struct buf *data, int32_t version)
{
    if (w->count == w->capacity) {
        w->capacity = w->capacity ? w->capacity * 2 : 16;
        w->items = mem_realloc(w->items, w->capacity * sizeof w->items[0]);
    }
    struct item *it = &w->items[w->count++];
    *it = (struct item){.op = {.kind = kind, .version = version}, .broker_id = NO_BROKER};
    CHECK(strlen(path) < sizeof it->path);
    memcpy(it->path, path, strlen(path) + 1);
    if (data != NULL) {
        w->bytes += data->size;
        buf_take(&it->data, data);
    }
    return it;
}

static void add_change(struct write *w, const struct uuid *topic_id, int32_t broker_id)
{
    struct change ch = {.version = w->version, .broker_id = broker_id};
    if (topic_id != NULL)
        ch.topic_id = *topic_id;
    changes_add(&w->changes, &ch);
    w->changes_added++;
}

/* One that is still empty takes anything. */
static bool fits(const struct write *w, size_t items, size_t bytes)
{
    if (w->count <= 1)
        return true;
    return w->count + items <= ITEMS_MAX && w->bytes + bytes <= BYTES_MAX &&
           w->changes_added < CHANGES_PER_WRITE_MAX;
}

/* Brokers whose lives a topic stands on. */
struct needed {
    const struct live_broker **brokers;
    size_t count;
};

static void need(struct needed *n, const struct controller *c, int32_t broker_id)
{
    const struct live_broker *b = live_broker_find(&c->live, broker_id);
    CHECK(b != NULL); /* only the living are elected or added */
    for (size_t i = 0; i < n->count; i++)
        if (n->brokers[i] == b)
            return;
    n->brokers[n->count++] = b;
}

static void need_for_partition(struct needed *n, const struct controller *c,
                               const struct partition_state *old, const struct partition_state *p)
{
    const bool has_new_leader =
        p->leader != NO_BROKER && (old == NULL || old->leader != p->leader ||
                                   old->leader_incarnation != p->leader_incarnation);
    if (has_new_leader)
        need(n, c, p->leader);
    for (uint32_t i = 0; i < p->isr_count; i++)
        if (old == NULL || !partition_has_isr(old, p->isr[i]))
            need(n, c, p->isr[i]);
}

static bool is_checked(const struct write *w, int32_t broker_id)
{
    for (size_t i = 0; i < w->count; i++)
        if (w->items[i].broker_id == broker_id)
            return true;
    return false;
}

static void add_checks(struct write *w, const struct needed *n)
{
    for (size_t i = 0; i < n->count; i++) {
        const struct live_broker *b = n->brokers[i];
        if (is_checked(w, b->id))
            continue;
        const struct path path = path_of_broker_epoch(b->id);
        add_item(w, COORD_CHECK, path.text, NULL, (int32_t)b->incarnation)->broker_id = b->id;
    }
}

err write_topic(struct write *w, struct topic *t)
{
    const struct topic *old = cluster_topic(write_view(w), &t->id);
    struct needed n = {.brokers = mem_alloc((w->c->live.count + 1) * sizeof *n.brokers)};
    for (uint32_t i = 0; i < t->partition_count; i++) {
        const bool is_new = old == NULL || i >= old->partition_count;
        need_for_partition(&n, w->c, is_new ? NULL : &old->partitions[i], &t->partitions[i]);
    }
    struct buf node = {0};
    nodes_pack_topic(t, &node);
    if (!fits(w, n.count + 1, node.size)) {
        buf_deinit(&node);
        mem_free(n.brokers);
        topic_unref(t);
        return E_WOULD_BLOCK;
    }
    const struct path path = path_of_topic(&t->id);
    add_checks(w, &n);
    if (old == NULL)
        add_item(w, COORD_CREATE, path.text, &node, 0);
    else
        add_item(w, COORD_SET, path.text, &node, old->node_version);
    CHECK(t->node_version == (old == NULL ? 0 : old->node_version + 1));
    add_change(w, &t->id, NO_BROKER);
    cluster_edit_topic(w->edit, t);
    mem_free(n.brokers);
    return OK;
}

/* Every replica there ever was in the topic has to confirm. */
static struct tombstone *tombstone_of(const struct topic *t)
{
    size_t replicas = 0;
    for (uint32_t i = 0; i < t->partition_count; i++)
        replicas += t->partitions[i].replica_count;
    int32_t *waiting = mem_alloc((replicas + 1) * sizeof *waiting);
    uint32_t count = 0;
    for (uint32_t i = 0; i < t->partition_count; i++) {
        const struct partition_state *p = &t->partitions[i];
        for (uint32_t k = 0; k < p->replica_count; k++) {
            uint32_t at = 0;
            while (at < count && waiting[at] != p->replicas[k])
                at++;
            if (at == count)
                waiting[count++] = p->replicas[k];
        }
    }
    struct tombstone *stone = tombstone_new(&(struct tombstone){
        .id = t->id, .name = t->name, .waiting = waiting, .waiting_count = count});
    mem_free(waiting);
    return stone;
}

err write_delete_topic(struct write *w, const struct topic *t)
{
    struct tombstone *stone = tombstone_of(t);
    struct buf node = {0};
    nodes_pack_tombstone(stone, &node);
    if (!fits(w, 2, node.size)) {
        buf_deinit(&node);
        tombstone_unref(stone);
        return E_WOULD_BLOCK;
    }
    const struct uuid id = t->id;
    add_item(w, COORD_DELETE, path_of_topic(&id).text, NULL, t->node_version);
    add_item(w, COORD_CREATE, path_of_tombstone(&id).text, &node, 0);
    add_change(w, &id, NO_BROKER);
    cluster_edit_drop_topic(w->edit, &id);
    cluster_edit_tombstone(w->edit, stone);
    return OK;
}

err write_tombstone(struct write *w, struct tombstone *t)
{
    struct buf node = {0};
    nodes_pack_tombstone(t, &node);
    if (!fits(w, 1, node.size)) {
        buf_deinit(&node);
        tombstone_unref(t);
        return E_WOULD_BLOCK;
    }
    const struct path path = path_of_tombstone(&t->id);
    add_change(w, &t->id, NO_BROKER);
    if (t->waiting_count > 0) {
        add_item(w, COORD_SET, path.text, &node, t->node_version - 1);
        cluster_edit_tombstone(w->edit, t);
        return OK;
    }
    buf_deinit(&node);
    add_item(w, COORD_DELETE, path.text, NULL, t->node_version - 1);
    cluster_edit_drop_tombstone(w->edit, &t->id);
    tombstone_unref(t);
    return OK;
}

err write_broker_configs(struct write *w, struct broker_configs *bc)
{
    struct buf node = {0};
    nodes_pack_broker_configs(bc, &node);
    if (!fits(w, 1, node.size)) {
        buf_deinit(&node);
        broker_configs_unref(bc);
        return E_WOULD_BLOCK;
    }
    const bool exists = cluster_broker_configs(write_view(w), bc->broker_id) != NULL;
    const struct path path = path_of_broker_configs(bc->broker_id);
    if (exists)
        add_item(w, COORD_SET, path.text, &node, bc->node_version - 1);
    else
        add_item(w, COORD_CREATE, path.text, &node, 0);
    add_change(w, NULL, bc->broker_id);
    cluster_edit_broker_configs(w->edit, bc);
    return OK;
}

void write_broker(struct write *w, int32_t broker_id, struct broker *b)
{
    add_change(w, NULL, broker_id);
    if (b != NULL)
        cluster_edit_broker(w->edit, b);
    else
        cluster_edit_drop_broker(w->edit, broker_id);
}

/* --- a write's life -------------------------------------------------------------- */

static struct write *write_new(struct controller *c)
{
    struct write *w = MEM_NEW(struct write);
    w->c = c;
    w->edit = cluster_edit_new(c->img);
    w->changes = c->changes;
    w->version = cluster_version(c->img) + 1;
    cluster_edit_version(w->edit, w->version);
    cluster_edit_controller(w->edit, c->opts.broker_id);
    add_item(w, COORD_CHECK, PATH_CONTROLLER_EPOCH, NULL, c->epoch_version);
    return w;
}

static void write_free(struct write *w)
{
    for (size_t i = 0; i < w->count; i++)
        buf_deinit(&w->items[i].data);
    mem_free(w->items);
    if (w->edit != NULL)
        cluster_edit_free(w->edit);
    mem_free(w);
}

static void on_written(void *arg, err e, size_t failed);

static void submit(struct controller *c, struct write *w)
{
    struct buf node = {0};
    nodes_pack_changes(&w->changes, &node);
    add_item(w, COORD_SET, PATH_CHANGES, &node, (int32_t)w->version - 1);
    struct coord_op *ops = mem_alloc(w->count * sizeof *ops);
    for (size_t i = 0; i < w->count; i++) {
        ops[i] = w->items[i].op;
        ops[i].path = w->items[i].path;
        ops[i].data = buf_slice(&w->items[i].data);
    }
    c->write = w;
    c->outstanding++;
    coord_multi(c->coord, ops, w->count, on_written, c);
    mem_free(ops);
}

/* --- the queue ------------------------------------------------------------------- */

static void unlink_op(struct controller *c, struct operation **at)
{
    struct operation *op = *at;
    *at = op->next;
    if (op->next == NULL)
        c->queue_tail = at;
    atomic_fetch_sub(&c->queued, 1);
}

static void tell(struct operation *op, err e, uint64_t version)
{
    struct buf why = {0};
    buf_take(&why, &op->why);
    buf_append(&why, "", 1);
    op->finish(op, e, (const char *)why.data, version);
    buf_deinit(&why);
}

/* Ends those of which `which` is true. They are told after the queue is in order. */
static void end_some(struct controller *c, bool (*which)(const struct operation *op),
                     uint64_t version)
{
    struct operation *ended = NULL;
    struct operation **ended_tail = &ended;
    for (struct operation **at = &c->queue; *at != NULL;) {
        struct operation *op = *at;
        if (!which(op)) {
            at = &op->next;
            continue;
        }
        unlink_op(c, at);
        op->next = NULL;
        *ended_tail = op;
        ended_tail = &op->next;
    }
    while (ended != NULL) {
        struct operation *op = ended;
        ended = op->next;
        tell(op, op->result, version);
    }
}

static bool is_in_write(const struct operation *op)
{
    return op->is_in_write;
}

static bool is_refused(const struct operation *op)
{
    return !op->is_in_write && op->result != OK;
}

static bool is_any(const struct operation *op)
{
    (void)op;
    return true;
}

/* Decides as many as fit. */
static void decide_queue(struct controller *c, struct write *w)
{
    for (struct operation *op = c->queue; op != NULL; op = op->next) {
        buf_clear(&op->why);
        const err e = op->decide(c, op, w, &op->why);
        if (e == E_WOULD_BLOCK)
            return;
        op->is_in_write = e == OK;
        op->result = e;
    }
}

static void write_now(void *arg)
{
    struct controller *c = arg;
    if (c->office != OFFICE_HELD || c->write != NULL)
        return;
    struct write *w = write_new(c);
    if (brokers_have_work(c) || c->queue != NULL)
        brokers_decide(c, w);
    decide_queue(c, w);
    const bool has_nothing = w->changes_added == 0;
    const uint64_t version = has_nothing ? w->version - 1 : w->version;
    if (has_nothing)
        write_free(w);
    else
        submit(c, w);
    end_some(c, is_refused, version);
    if (has_nothing)
        end_some(c, is_in_write, version);
}

void writes_kick(struct controller *c)
{
    const bool has_work = c->queue != NULL || brokers_have_work(c);
    if (has_work && c->office == OFFICE_HELD && c->write == NULL && !timer_is_running(&c->writing))
        timer_start(c->loop, &c->writing, 0, write_now, c);
}

static bool is_late(const struct operation *op)
{
    return !op->is_in_write && op->result == E_TIMED_OUT;
}

/* What waits for longer than its asker does is not begun. */
static void check_deadlines(void *arg)
{
    struct controller *c = arg;
    const int64_t now = loop_now_us(c->loop);
    for (struct operation *op = c->queue; op != NULL; op = op->next) {
        if (op->is_in_write || op->deadline_us > now)
            continue;
        op->result = E_TIMED_OUT;
        buf_clear(&op->why);
        buf_append_str(&op->why, "the controller could not begin with it in the time allowed: the "
                                 "coordination service does not answer");
    }
    end_some(c, is_late, 0);
    if (c->queue != NULL && !timer_is_running(&c->deadlines))
        timer_start(c->loop, &c->deadlines, DEADLINE_CHECK_US, check_deadlines, c);
}

void writes_queue(struct controller *c, struct operation *op)
{
    op->next = NULL;
    op->is_in_write = false;
    op->result = OK;
    *c->queue_tail = op;
    c->queue_tail = &op->next;
    atomic_fetch_add(&c->queued, 1);
    if (!timer_is_running(&c->deadlines))
        timer_start(c->loop, &c->deadlines, DEADLINE_CHECK_US, check_deadlines, c);
    writes_kick(c);
}

/* --- outcomes -------------------------------------------------------------------- */

static void adopt(struct controller *c)
{
    struct write *w = c->write;
    const uint64_t version = w->version;
    c->write = NULL;
    cluster_unref(c->img);
    c->img = cluster_edit_finish(w->edit);
    w->edit = NULL;
    c->changes = w->changes;
    write_free(w);
    end_some(c, is_in_write, version);
    writes_kick(c);
}

static bool is_given_up(const struct operation *op)
{
    return !op->is_in_write && op->result == E_COORDINATION;
}

/* Not done: everything in it is decided again. */
static void take_back(struct controller *c)
{
    write_free(c->write);
    c->write = NULL;
    for (struct operation *op = c->queue; op != NULL; op = op->next) {
        if (!op->is_in_write)
            continue;
        op->is_in_write = false;
        op->result = OK;
        if (++op->attempts < ATTEMPTS_MAX)
            continue;
        op->result = E_COORDINATION;
        buf_clear(&op->why);
        buf_append_str(&op->why, "the coordination service refused it again and again");
    }
    brokers_decide_again(c);
    end_some(c, is_given_up, 0);
}

static void kick_later(struct controller *c)
{
    timer_start(c->loop, &c->writing, session_retry_us(c->opts.session), write_now, c);
}

/* Rule C4: which operation failed tells what happened. */
static void on_failed(struct controller *c, err e, size_t failed)
{
    const struct write *w = c->write;
    const bool is_known = failed < w->count;
    const int32_t broker_id = is_known ? w->items[failed].broker_id : NO_BROKER;
    char what[160];
    snprintf(what, sizeof what, "%s at %s", err_name(e), is_known ? w->items[failed].path : "?");
    take_back(c);
    if (is_known && failed == 0) {
        office_resign(c, what);
        return;
    }
    if (broker_id != NO_BROKER) {
        brokers_observe(c); /* it lives another life now */
        kick_later(c);
    } else if (e == E_COORDINATION || e == E_OVERLOADED) {
        kick_later(c);
    } else {
        office_read_again(c, what);
    }
}

/* --- lost answers ---------------------------------------------------------------- */

static void settle(void *arg);

static void settle_later(struct controller *c)
{
    timer_start(c->loop, &c->writing, session_retry_us(c->opts.session), settle, c);
}

static void on_settled_epoch(void *arg, err e, const struct coord_stat *stat)
{
    struct controller *c = arg;
    if (!office_is_concerned(c))
        return;
    if (e != OK) {
        settle_later(c);
        return;
    }
    if (stat->version != c->epoch_version) {
        office_resign(c, "another controller was elected");
        return;
    }
    /* The epoch was still ours after /changes was read: nobody else moved it before. */
    if (c->changes_version_read == c->write->version) {
        adopt(c);
    } else {
        const bool is_undone = c->changes_version_read + 1 == c->write->version;
        take_back(c);
        if (is_undone)
            kick_later(c);
        else
            office_read_again(c, "/changes has an unexpected version");
    }
}

static void on_settled_changes(void *arg, err e, const struct coord_stat *stat)
{
    struct controller *c = arg;
    if (!office_is_concerned(c))
        return;
    if (e != OK) {
        settle_later(c);
        return;
    }
    c->changes_version_read = (uint64_t)stat->version;
    c->outstanding++;
    coord_exists(c->coord, PATH_CONTROLLER_EPOCH, NULL, on_settled_epoch, c);
}

static void on_settle_synced(void *arg, err e)
{
    struct controller *c = arg;
    if (!office_is_concerned(c))
        return;
    if (e != OK) {
        settle_later(c);
        return;
    }
    c->outstanding++;
    coord_exists(c->coord, PATH_CHANGES, NULL, on_settled_changes, c);
}

static void settle(void *arg)
{
    struct controller *c = arg;
    c->outstanding++;
    coord_sync(c->coord, on_settle_synced, c);
}

static void on_written(void *arg, err e, size_t failed)
{
    struct controller *c = arg;
    if (!office_is_concerned(c))
        return;
    if (e == OK)
        adopt(c);
    else if (e == E_NETWORK)
        settle_later(c);
    else
        on_failed(c, e, failed);
}

/* --- the end --------------------------------------------------------------------- */

void writes_abandon(struct controller *c, err e, const char *why)
{
    timer_stop(c->loop, &c->writing);
    if (c->write != NULL)
        write_free(c->write);
    c->write = NULL;
    for (struct operation *op = c->queue; op != NULL; op = op->next) {
        op->result = op->is_in_write ? E_TIMED_OUT : e;
        buf_clear(&op->why);
        buf_printf(&op->why, "%s%s", why, op->is_in_write ? "; the outcome is unknown" : "");
    }
    end_some(c, is_any, 0);
}

void writes_init(struct controller *c)
{
    c->queue_tail = &c->queue;
}

void writes_deinit(struct controller *c)
{
    writes_abandon(c, E_CANCELLED, "the controller ends");
    timer_stop(c->loop, &c->deadlines);
}
