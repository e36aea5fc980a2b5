/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store keeps the tree as the leader has it, and the transactions behind
 * it. Every client has a server of its own: a second tree that applies the same
 * transactions, each no earlier than the client's lag allows, and fires the
 * client's watches. A write goes to the leader's tree; the client's server
 * catches up with it before it answers, as in ZooKeeper.
 *
 * Between client and server lie two queues in order, one each way, with delays.
 *
 * Invariants: 1. applied <= count of transactions, and never falls: reads do not
 * go back. 2. What lies in the queue to the server has had no effect. 3. While
 * the link is down both queues are empty, but for watches that fired.
 */
#include "metad/coord/model.h"

#include <string.h>

#include "metad/coord/coord_request.h"
#include "metad/coord/tree.h"
#include "proto/base/check.h"
#include "proto/base/mem.h"

/* A transaction as it was done, for the servers to repeat. */
struct txn {
    struct coord_op *ops;
    size_t op_count;
    uint64_t session;
    int64_t at_us;
};

/* What travels: a request, there or back, or a watch that fired. */
struct item {
    struct item *next;
    int64_t due_us;
    struct coord_request *req; /* NULL: a watch */
    struct coord_watch watch;
};

struct lane {
    struct item *head;
    struct item **tail;
    int64_t last_due_us;
};

struct client {
    struct coord coord;
    struct coord_model *model;
    struct client *next;
    enum coord_state state;
    uint64_t session;
    bool session_is_dead; /* known to the ensemble */
    bool is_cut;
    struct tree *server;
    size_t applied;       /* transactions of the model that the server has */
    int64_t apply_due_us; /* of the next one; 0: not decided */
    struct lane to_server, to_client;
    struct timer turn; /* whatever is due next on either lane, or by lag */
    struct timer connect;
    struct timer expiry;       /* runs while there is no contact */
    struct coord_queue unsent; /* asked without contact; end soon */
    struct timer unsent_end;
    bool loses_next;
    enum coord_model_loss loses_when;
    char loses_prefix[COORD_PATH_MAX + 1];
};

struct coord_model {
    struct rng *rng;
    struct coord_model_opts opts;
    struct tree *leader;
    struct txn *txns;
    size_t txn_count, txn_capacity;
    struct client *clients;
    uint64_t last_session;
    bool is_down;
};

void coord_model_opts_init(struct coord_model_opts *opts)
{
    *opts = (struct coord_model_opts){
        .latency_us_max = 500,
        .session_timeout_us = 6000000,
        .reconnect_us_max = 100000,
    };
}

struct coord_model *coord_model_new(struct rng *rng, const struct coord_model_opts *opts)
{
    struct coord_model *m = MEM_NEW(struct coord_model);
    m->rng = rng;
    m->opts = *opts;
    m->leader = tree_new();
    return m;
}

struct coord_model_opts *coord_model_opts_of(struct coord_model *m)
{
    return &m->opts;
}

void coord_model_free(struct coord_model *m)
{
    CHECK(m->clients == NULL);
    for (size_t i = 0; i < m->txn_count; i++)
        mem_free(m->txns[i].ops);
    mem_free(m->txns);
    tree_free(m->leader);
    mem_free(m);
}

/* From 1 to max, or 1. */
static int64_t some_time(struct coord_model *m, int64_t max)
{
    return max > 1 ? 1 + (int64_t)rng_below(m->rng, (uint64_t)max) : 1;
}

static bool happens(struct coord_model *m, uint32_t per_million)
{
    return per_million > 0 && rng_below(m->rng, 1000000) < per_million;
}

/* --- lanes ----------------------------------------------------------------------- */

static void lane_init(struct lane *ln)
{
    *ln = (struct lane){0};
    ln->tail = &ln->head;
}

static void lane_push(struct lane *ln, struct item *it, int64_t due_us)
{
    if (due_us < ln->last_due_us)
        due_us = ln->last_due_us;
    ln->last_due_us = due_us;
    it->due_us = due_us;
    it->next = NULL;
    *ln->tail = it;
    ln->tail = &it->next;
}

static struct item *lane_pop(struct lane *ln)
{
    struct item *it = ln->head;
    if (it == NULL)
        return NULL;
    ln->head = it->next;
    if (ln->head == NULL)
        ln->tail = &ln->head;
    return it;
}

static void drop_item(struct item *it)
{
    if (it->req != NULL)
        coord_request_drop(it->req);
    mem_free(it);
}

static struct item *item_new(struct coord_request *req, const struct coord_watch *watch)
{
    struct item *it = MEM_NEW(struct item);
    it->req = req;
    if (watch != NULL)
        it->watch = *watch;
    return it;
}

/* --- transactions ---------------------------------------------------------------- */

static struct coord_op *copy_ops(const struct coord_op *ops, size_t count)
{
    size_t bytes = count * sizeof *ops;
    for (size_t i = 0; i < count; i++)
        bytes += strlen(ops[i].path) + 1 + ops[i].data.size;
    struct coord_op *copy = mem_alloc(bytes);
    uint8_t *at = (uint8_t *)(copy + count);
    for (size_t i = 0; i < count; i++) {
        copy[i] = ops[i];
        const size_t size = strlen(ops[i].path) + 1;
        copy[i].path = memcpy(at, ops[i].path, size);
        at += size;
        if (ops[i].data.size > 0)
            memcpy(at, ops[i].data.data, ops[i].data.size);
        copy[i].data.data = at;
        at += ops[i].data.size;
    }
    return copy;
}

static void client_wake(struct client *cl);

static err commit(struct coord_model *m, const struct coord_op *ops, size_t count, uint64_t session,
                  int64_t now_us, size_t *failed)
{
    const err e = tree_write(m->leader, ops, count, session, failed);
    if (e != OK)
        return e;
    tree_commit(m->leader);
    if (m->txn_count == m->txn_capacity) {
        m->txn_capacity = m->txn_capacity ? m->txn_capacity * 2 : 64;
        m->txns = mem_realloc(m->txns, m->txn_capacity * sizeof m->txns[0]);
    }
    m->txns[m->txn_count++] = (struct txn){
        .ops = copy_ops(ops, count), .op_count = count, .session = session, .at_us = now_us};
    for (struct client *cl = m->clients; cl != NULL; cl = cl->next)
        client_wake(cl);
    return OK;
}

static void send_fired(struct client *cl)
{
    struct coord_watch watch;
    const int64_t now = loop_now_us(cl->coord.loop);
    while (tree_next_fired(cl->server, &watch))
        lane_push(&cl->to_client, item_new(NULL, &watch),
                  now + some_time(cl->model, cl->model->opts.latency_us_max));
}

static void apply_next(struct client *cl)
{
    const struct txn *x = &cl->model->txns[cl->applied++];
    size_t failed;
    const err e = tree_write(cl->server, x->ops, x->op_count, x->session, &failed);
    CHECK(e == OK); /* the same tree, the same operations */
    tree_commit(cl->server);
    cl->apply_due_us = 0;
    send_fired(cl);
}

static void catch_up(struct client *cl)
{
    while (cl->applied < cl->model->txn_count)
        apply_next(cl);
}

/* When the client's server will apply its next transaction; INT64_MAX: there is none. */
static int64_t next_apply_us(struct client *cl)
{
    if (cl->applied == cl->model->txn_count)
        return INT64_MAX;
    if (cl->apply_due_us == 0) {
        const int64_t lag = cl->model->opts.lag_us_max;
        const int64_t at = cl->model->txns[cl->applied].at_us;
        cl->apply_due_us = at + (lag > 0 ? (int64_t)rng_below(cl->model->rng, (uint64_t)lag) : 0);
    }
    return cl->apply_due_us;
}

/* --- the link -------------------------------------------------------------------- */

static void try_connect(void *arg);
static void expire_session(void *arg);

static bool is_reachable(const struct client *cl)
{
    return !cl->is_cut && !cl->model->is_down;
}

static void connect_soon(struct client *cl)
{
    timer_start(cl->coord.loop, &cl->connect,
                some_time(cl->model, cl->model->opts.reconnect_us_max), try_connect, cl);
}

/* Everything unanswered ends with E_NETWORK; watches that fired wait for the next contact. */
static void fail_unanswered(struct client *cl)
{
    struct item *back = cl->to_client.head;
    struct item *there = cl->to_server.head;
    lane_init(&cl->to_client);
    lane_init(&cl->to_server);
    struct item *lists[] = {back, there};
    for (size_t i = 0; i < 2; i++) {
        for (struct item *it = lists[i]; it != NULL;) {
            struct item *next = it->next;
            if (it->req == NULL) {
                lane_push(&cl->to_client, it, 0);
            } else {
                coord_request_finish(it->req, E_NETWORK);
                mem_free(it);
            }
            it = next;
        }
    }
}

static void lose_link(struct client *cl)
{
    if (cl->state != COORD_CONNECTED)
        return;
    cl->state = COORD_CONNECTING;
    if (!cl->session_is_dead)
        timer_start(cl->coord.loop, &cl->expiry, cl->model->opts.session_timeout_us, expire_session,
                    cl);
    connect_soon(cl);
    fail_unanswered(cl);
    coord_tell(&cl->coord, COORD_CONNECTING);
}

static void end_session(struct coord_model *m, uint64_t session, int64_t now_us)
{
    struct buf paths = {0};
    const size_t count = tree_ephemerals(m->leader, session, &paths);
    const char *path = (const char *)paths.data;
    for (size_t i = 0; i < count; i++, path += strlen(path) + 1) {
        struct slice data;
        struct coord_stat stat;
        err e = tree_get(m->leader, path, &data, &stat);
        CHECK(e == OK);
        const struct coord_op op = {.kind = COORD_DELETE, .path = path, .version = stat.version};
        size_t failed;
        e = commit(m, &op, 1, 0, now_us, &failed);
        CHECK(e == OK); /* ephemeral nodes have no children */
    }
    buf_deinit(&paths);
}

static void expire_session(void *arg)
{
    struct client *cl = arg;
    if (cl->session_is_dead || cl->session == 0)
        return;
    if (cl->model->is_down) {
        /* An ensemble that is away counts nobody's time; it begins anew when it is back. */
        timer_start(cl->coord.loop, &cl->expiry, cl->model->opts.session_timeout_us, expire_session,
                    cl);
        return;
    }
    cl->session_is_dead = true;
    end_session(cl->model, cl->session, loop_now_us(cl->coord.loop));
}

static void end_unsent(void *arg)
{
    struct client *cl = arg;
    struct coord_queue ended = {0};
    coord_queue_init(&ended);
    struct coord_request *req;
    while ((req = coord_queue_pop(&cl->unsent)) != NULL)
        coord_queue_push(&ended, req);
    while ((req = coord_queue_pop(&ended)) != NULL)
        coord_request_finish(req, req->result);
}

static void try_connect(void *arg)
{
    struct client *cl = arg;
    if (!is_reachable(cl)) {
        connect_soon(cl);
        return;
    }
    if (cl->session_is_dead) {
        cl->state = COORD_EXPIRED;
        tree_forget_watches(cl->server);
        struct item *it;
        fail_unanswered(cl);
        end_unsent(cl);
        while ((it = lane_pop(&cl->to_client)) != NULL)
            drop_item(it); /* watches end with the session */
        coord_tell(&cl->coord, COORD_EXPIRED);
        return;
    }
    timer_stop(cl->coord.loop, &cl->expiry);
    if (cl->session == 0)
        cl->session = ++cl->model->last_session;
    cl->state = COORD_CONNECTED;
    coord_tell(&cl->coord, COORD_CONNECTED);
    client_wake(cl);
}

/* --- carrying out ---------------------------------------------------------------- */

static void do_write(struct client *cl, struct coord_request *req)
{
    req->failed = req->op_count;
    size_t failed = req->op_count;
    req->result = commit(cl->model, req->ops, req->op_count, cl->session,
                         loop_now_us(cl->coord.loop), &failed);
    catch_up(cl); /* its own server has it before it answers; a refusal, too, is as of now */
    req->failed = failed;
    const struct coord_op *last = &req->ops[req->op_count - 1];
    if (req->result == OK && last->kind == COORD_SET)
        req->stat.version = last->version + 1;
}

static void do_read(struct client *cl, struct coord_request *req)
{
    struct slice data;
    req->result = tree_get(cl->server, req->path, &data, &req->stat);
    if (req->result == OK && req->kind == REQUEST_GET)
        buf_append(&req->data, data.data, data.size);
    if (req->result == OK && req->kind == REQUEST_CHILDREN)
        req->result = tree_children(cl->server, req->path, &req->data, &req->child_count);
    const bool watches_missing = req->kind == REQUEST_EXISTS && req->result == E_NOT_FOUND;
    if (req->has_watch && (req->result == OK || watches_missing))
        tree_watch(cl->server, req->path,
                   req->kind == REQUEST_CHILDREN ? WATCH_CHILDREN : WATCH_NODE, &req->watch);
}

static bool touches(const struct coord_request *req, const char *prefix)
{
    for (size_t i = 0; i < req->op_count; i++)
        if (strncmp(req->ops[i].path, prefix, strlen(prefix)) == 0)
            return true;
    return false;
}

/* Whether, and when, this operation breaks the connection. */
static bool is_lost(struct client *cl, const struct coord_request *req, enum coord_model_loss *when)
{
    if (cl->loses_next && req->kind == REQUEST_WRITE && touches(req, cl->loses_prefix)) {
        cl->loses_next = false;
        *when = cl->loses_when;
        return true;
    }
    if (!happens(cl->model, cl->model->opts.loss_per_million))
        return false;
    *when = rng_below(cl->model->rng, 2) ? LOSS_BEFORE_EFFECT : LOSS_AFTER_EFFECT;
    return true;
}

/* At the server. false: the connection broke. */
static bool carry_out(struct client *cl, struct item *it)
{
    struct coord_request *req = it->req;
    enum coord_model_loss when = LOSS_BEFORE_EFFECT;
    const bool lost = is_lost(cl, req, &when);
    if (!lost || when == LOSS_AFTER_EFFECT) {
        if (cl->session_is_dead)
            req->result = E_NETWORK;
        else if (req->kind == REQUEST_WRITE)
            do_write(cl, req);
        else if (req->kind == REQUEST_SYNC)
            catch_up(cl);
        else
            do_read(cl, req);
    }
    lane_push(&cl->to_client, it,
              loop_now_us(cl->coord.loop) + some_time(cl->model, cl->model->opts.latency_us_max));
    if (lost || cl->session_is_dead) {
        lose_link(cl);
        return false;
    }
    return true;
}

static void deliver(struct item *it)
{
    if (it->req != NULL)
        coord_request_finish(it->req, it->req->result);
    else
        it->watch.fn(it->watch.arg);
    mem_free(it);
}

static int64_t next_due_us(struct client *cl)
{
    int64_t due = next_apply_us(cl);
    if (cl->state != COORD_CONNECTED)
        return due;
    if (cl->to_server.head != NULL && cl->to_server.head->due_us < due)
        due = cl->to_server.head->due_us;
    if (cl->to_client.head != NULL && cl->to_client.head->due_us < due)
        due = cl->to_client.head->due_us;
    return due;
}

/* One thing that is due, then the timer again: callbacks may do anything, also to this client. */
static void take_turn(void *arg)
{
    struct client *cl = arg;
    const int64_t now = loop_now_us(cl->coord.loop);
    if (next_apply_us(cl) <= now)
        apply_next(cl);
    if (cl->state == COORD_CONNECTED && cl->to_server.head != NULL &&
        cl->to_server.head->due_us <= now && !carry_out(cl, lane_pop(&cl->to_server)))
        return;
    struct item *it = NULL;
    if (cl->state == COORD_CONNECTED && cl->to_client.head != NULL &&
        cl->to_client.head->due_us <= now)
        it = lane_pop(&cl->to_client);
    client_wake(cl);
    if (it != NULL)
        deliver(it);
}

static void client_wake(struct client *cl)
{
    const int64_t due = next_due_us(cl);
    if (due == INT64_MAX)
        return;
    const int64_t now = loop_now_us(cl->coord.loop);
    timer_start(cl->coord.loop, &cl->turn, due > now ? due - now : 0, take_turn, cl);
}

/* --- backend --------------------------------------------------------------------- */

static struct client *self(const struct coord *c)
{
    return (struct client *)(uintptr_t)c;
}

static void model_submit(struct coord *c, struct coord_request *req)
{
    struct client *cl = self(c);
    const int64_t delay = some_time(cl->model, cl->model->opts.latency_us_max);
    if (cl->state == COORD_CONNECTED) {
        lane_push(&cl->to_server, item_new(req, NULL), loop_now_us(c->loop) + delay);
        client_wake(cl);
        return;
    }
    req->result = cl->state == COORD_EXPIRED ? E_COORDINATION : E_NETWORK;
    coord_queue_push(&cl->unsent, req);
    if (!timer_is_running(&cl->unsent_end))
        timer_start(c->loop, &cl->unsent_end, delay, end_unsent, cl);
}

static enum coord_state model_state(const struct coord *c)
{
    return self(c)->state;
}

static uint64_t model_session(const struct coord *c)
{
    return self(c)->session;
}

static int64_t model_session_timeout_us(const struct coord *c)
{
    return self(c)->model->opts.session_timeout_us;
}

static void model_renew(struct coord *c)
{
    struct client *cl = self(c);
    cl->state = COORD_CONNECTING;
    cl->session = 0;
    cl->session_is_dead = false;
    connect_soon(cl);
}

static void drop_lane(struct lane *ln)
{
    struct item *it;
    while ((it = lane_pop(ln)) != NULL)
        drop_item(it);
}

static void model_close(struct coord *c)
{
    struct client *cl = self(c);
    struct timer *const timers[] = {&cl->turn, &cl->connect, &cl->expiry, &cl->unsent_end};
    for (size_t i = 0; i < sizeof timers / sizeof timers[0]; i++)
        timer_stop(c->loop, timers[i]);
    struct client **at = &cl->model->clients;
    while (*at != cl)
        at = &(*at)->next;
    *at = cl->next;
    if (cl->session != 0 && !cl->session_is_dead)
        end_session(cl->model, cl->session, loop_now_us(c->loop));
    drop_lane(&cl->to_server);
    drop_lane(&cl->to_client);
    coord_queue_drop(&cl->unsent);
    tree_free(cl->server);
    mem_free(cl);
}

static const struct coord_backend backend = {
    .submit = model_submit,
    .state = model_state,
    .session = model_session,
    .session_timeout_us = model_session_timeout_us,
    .renew = model_renew,
    .close = model_close,
};

struct coord *coord_model_connect(struct coord_model *m, struct loop *l)
{
    struct client *cl = MEM_NEW(struct client);
    coord_init(&cl->coord, &backend, l);
    cl->model = m;
    cl->server = tree_new();
    lane_init(&cl->to_server);
    lane_init(&cl->to_client);
    coord_queue_init(&cl->unsent);
    cl->next = m->clients;
    m->clients = cl;
    catch_up(cl);
    connect_soon(cl);
    return &cl->coord;
}

/* --- faults ---------------------------------------------------------------------- */

void coord_model_lose_next_write(struct coord *c, enum coord_model_loss when,
                                 const char *path_prefix)
{
    struct client *cl = self(c);
    CHECK(strlen(path_prefix) <= COORD_PATH_MAX);
    cl->loses_next = true;
    cl->loses_when = when;
    memcpy(cl->loses_prefix, path_prefix, strlen(path_prefix) + 1);
}

void coord_model_cut(struct coord *c)
{
    struct client *cl = self(c);
    cl->is_cut = true;
    lose_link(cl);
}

void coord_model_heal(struct coord *c)
{
    self(c)->is_cut = false;
}

void coord_model_expire(struct coord *c)
{
    struct client *cl = self(c);
    expire_session(cl);
    lose_link(cl);
}

void coord_model_set_down(struct coord_model *m, bool down)
{
    m->is_down = down;
    for (struct client *cl = m->clients; down && cl != NULL; cl = cl->next)
        lose_link(cl);
}

err coord_model_poke(struct coord_model *m, const struct coord_op *ops, size_t count)
{
    size_t failed;
    const int64_t now = m->clients != NULL ? loop_now_us(m->clients->coord.loop) : 0;
    return commit(m, ops, count, 0, now, &failed);
}

err coord_model_peek(struct coord_model *m, const char *path, struct slice *data,
                     struct coord_stat *stat)
{
    return tree_get(m->leader, path, data, stat);
}
