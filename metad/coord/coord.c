/* SPDX-License-Identifier: Apache-2.0 */
#include "metad/coord/coord.h"

#include <string.h>

#include "metad/coord/coord_request.h"
#include "proto/base/check.h"
#include "proto/base/mem.h"

/* --- requests -------------------------------------------------------------------- */

/* A function pointer kept under another type until its own request calls it. */
typedef void erased_fn(void);

static bool is_path(const char *path)
{
    const size_t size = strlen(path);
    if (path[0] != '/' || size > COORD_PATH_MAX)
        return false;
    return size == 1 || (path[size - 1] != '/' && strstr(path, "//") == NULL);
}

/* Everything in one allocation: the request, its operations, their paths and data. */
static struct coord_request *request_new(struct coord *c, enum coord_request_kind kind,
                                         const char *path, const struct coord_op *ops, size_t count)
{
    size_t bytes = sizeof(struct coord_request) + count * sizeof *ops;
    if (path != NULL) {
        CHECK(is_path(path));
        bytes += strlen(path) + 1;
    }
    for (size_t i = 0; i < count; i++) {
        CHECK(is_path(ops[i].path));
        bytes += strlen(ops[i].path) + 1 + ops[i].data.size;
    }
    struct coord_request *req = mem_alloc(bytes);
    *req = (struct coord_request){.coord = c, .kind = kind, .op_count = count, .failed = count};
    req->ops = (struct coord_op *)(req + 1);
    uint8_t *at = (uint8_t *)(req->ops + count);
    if (path != NULL) {
        req->path = memcpy(at, path, strlen(path) + 1);
        at += strlen(path) + 1;
    }
    for (size_t i = 0; i < count; i++) {
        struct coord_op *op = &req->ops[i];
        *op = ops[i];
        op->path = memcpy(at, ops[i].path, strlen(ops[i].path) + 1);
        at += strlen(ops[i].path) + 1;
        if (op->data.size > 0)
            memcpy(at, op->data.data, op->data.size);
        op->data.data = at;
        at += op->data.size;
    }
    return req;
}

void coord_request_drop(struct coord_request *req)
{
    buf_deinit(&req->data);
    mem_free(req);
}

void coord_request_finish(struct coord_request *req, err result)
{
    req->result = result;
    CHECK(req->coord->inflight > 0);
    req->coord->inflight--;
    req->answer(req);
    coord_request_drop(req);
}

void coord_queue_init(struct coord_queue *q)
{
    q->head = NULL;
    q->tail = &q->head;
}

void coord_queue_push(struct coord_queue *q, struct coord_request *req)
{
    req->next = NULL;
    *q->tail = req;
    q->tail = &req->next;
}

struct coord_request *coord_queue_pop(struct coord_queue *q)
{
    struct coord_request *req = q->head;
    if (req == NULL)
        return NULL;
    q->head = req->next;
    if (q->head == NULL)
        q->tail = &q->head;
    return req;
}

void coord_queue_drop(struct coord_queue *q)
{
    struct coord_request *req;
    while ((req = coord_queue_pop(q)) != NULL)
        coord_request_drop(req);
}

/* --- handing over, or refusing in the next turn ---------------------------------- */

static void finish_refused(void *arg)
{
    struct coord *c = arg;
    struct coord_request *req = c->refused;
    c->refused = NULL;
    c->refused_tail = &c->refused;
    while (req != NULL) {
        struct coord_request *next = req->next;
        coord_request_finish(req, req->result);
        req = next;
    }
}

static void refuse(struct coord_request *req, err e)
{
    struct coord *c = req->coord;
    req->result = e;
    req->next = NULL;
    *c->refused_tail = req;
    c->refused_tail = &req->next;
    if (!timer_is_running(&c->refusing))
        timer_start(c->loop, &c->refusing, 0, finish_refused, c);
}

static void submit(struct coord_request *req, void (*answer)(struct coord_request *),
                   erased_fn *done, void *arg)
{
    struct coord *c = req->coord;
    DCHECK(loop_is_current(c->loop));
    req->answer = answer;
    req->done = done;
    req->arg = arg;
    size_t bytes = 0;
    for (size_t i = 0; i < req->op_count; i++)
        bytes += req->ops[i].data.size;
    if (c->inflight++ >= COORD_INFLIGHT_MAX)
        refuse(req, E_OVERLOADED);
    else if (bytes > COORD_DATA_MAX)
        refuse(req, E_MESSAGE_TOO_LARGE);
    else
        c->backend->submit(c, req);
}

static void answer_done(struct coord_request *req)
{
    ((coord_done_fn *)req->done)(req->arg, req->result);
}

static void answer_stat(struct coord_request *req)
{
    ((coord_stat_fn *)req->done)(req->arg, req->result, req->result == OK ? &req->stat : NULL);
}

static void answer_data(struct coord_request *req)
{
    const struct slice data = req->result == OK ? buf_slice(&req->data) : slice_of(NULL, 0);
    ((coord_data_fn *)req->done)(req->arg, req->result, data,
                                 req->result == OK ? &req->stat : NULL);
}

static void answer_children(struct coord_request *req)
{
    coord_children_fn *done = (coord_children_fn *)req->done;
    if (req->result != OK) {
        done(req->arg, req->result, NULL);
        return;
    }
    const char **names = mem_alloc((req->child_count + 1) * sizeof *names);
    const char *at = (const char *)req->data.data;
    for (size_t i = 0; i < req->child_count; i++, at += strlen(at) + 1)
        names[i] = at;
    const struct coord_children children = {.count = req->child_count, .names = names};
    done(req->arg, OK, &children);
    mem_free(names);
}

static void answer_multi(struct coord_request *req)
{
    ((coord_multi_fn *)req->done)(req->arg, req->result, req->failed);
}

/* --- asking ---------------------------------------------------------------------- */

static struct coord_request *read_new(struct coord *c, enum coord_request_kind kind,
                                      const char *path, const struct coord_watch *watch)
{
    struct coord_request *req = request_new(c, kind, path, NULL, 0);
    req->has_watch = watch != NULL;
    if (watch != NULL)
        req->watch = *watch;
    return req;
}

void coord_get(struct coord *c, const char *path, const struct coord_watch *watch,
               coord_data_fn *done, void *arg)
{
    submit(read_new(c, REQUEST_GET, path, watch), answer_data, (erased_fn *)done, arg);
}

void coord_exists(struct coord *c, const char *path, const struct coord_watch *watch,
                  coord_stat_fn *done, void *arg)
{
    submit(read_new(c, REQUEST_EXISTS, path, watch), answer_stat, (erased_fn *)done, arg);
}

void coord_children(struct coord *c, const char *path, const struct coord_watch *watch,
                    coord_children_fn *done, void *arg)
{
    submit(read_new(c, REQUEST_CHILDREN, path, watch), answer_children, (erased_fn *)done, arg);
}

void coord_create(struct coord *c, const char *path, struct slice data, bool ephemeral,
                  coord_done_fn *done, void *arg)
{
    const struct coord_op op = {
        .kind = COORD_CREATE, .path = path, .data = data, .ephemeral = ephemeral};
    submit(request_new(c, REQUEST_WRITE, NULL, &op, 1), answer_done, (erased_fn *)done, arg);
}

void coord_set(struct coord *c, const char *path, struct slice data, int32_t version,
               coord_stat_fn *done, void *arg)
{
    CHECK(version >= 0);
    const struct coord_op op = {.kind = COORD_SET, .path = path, .data = data, .version = version};
    submit(request_new(c, REQUEST_WRITE, NULL, &op, 1), answer_stat, (erased_fn *)done, arg);
}

void coord_delete(struct coord *c, const char *path, int32_t version, coord_done_fn *done,
                  void *arg)
{
    CHECK(version >= 0);
    const struct coord_op op = {.kind = COORD_DELETE, .path = path, .version = version};
    submit(request_new(c, REQUEST_WRITE, NULL, &op, 1), answer_done, (erased_fn *)done, arg);
}

void coord_multi(struct coord *c, const struct coord_op *ops, size_t count, coord_multi_fn *done,
                 void *arg)
{
    CHECK(count > 0);
    CHECK(count <= COORD_MULTI_MAX);
    for (size_t i = 0; i < count; i++)
        CHECK(ops[i].version >= 0);
    submit(request_new(c, REQUEST_WRITE, NULL, ops, count), answer_multi, (erased_fn *)done, arg);
}

void coord_sync(struct coord *c, coord_done_fn *done, void *arg)
{
    submit(request_new(c, REQUEST_SYNC, "/", NULL, 0), answer_done, (erased_fn *)done, arg);
}

/* --- the session ----------------------------------------------------------------- */

void coord_init(struct coord *c, const struct coord_backend *backend, struct loop *l)
{
    *c = (struct coord){.backend = backend, .loop = l};
    c->refused_tail = &c->refused;
}

void coord_tell(struct coord *c, enum coord_state state)
{
    if (c->on_state != NULL)
        c->on_state(c->on_state_arg, state);
}

enum coord_state coord_state(const struct coord *c)
{
    return c->backend->state(c);
}

uint64_t coord_session(const struct coord *c)
{
    return c->backend->session(c);
}

int64_t coord_session_timeout_us(const struct coord *c)
{
    return c->backend->session_timeout_us(c);
}

void coord_on_state(struct coord *c, coord_state_fn *fn, void *arg)
{
    c->on_state = fn;
    c->on_state_arg = arg;
}

void coord_renew(struct coord *c)
{
    CHECK(coord_state(c) == COORD_EXPIRED);
    c->backend->renew(c);
}

void coord_close(struct coord *c)
{
    timer_stop(c->loop, &c->refusing);
    while (c->refused != NULL) {
        struct coord_request *req = c->refused;
        c->refused = req->next;
        coord_request_drop(req);
    }
    c->backend->close(c);
}
