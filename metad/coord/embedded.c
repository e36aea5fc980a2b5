/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file:
 *
 *   PRAGMA application_id  'SLCO', so that no other database is taken for one
 *   PRAGMA user_version    1, the format
 *   node(path TEXT PRIMARY KEY, data BLOB, version INTEGER)  persistent nodes
 *   session(number INTEGER)  one row: raised by each open
 *
 * Requests are taken in batches: a batch is applied to the tree in order, the
 * paths it changed are committed in one transaction on the worker, then it is
 * answered in order. Invariant: while the worker runs, loop side does not touch
 * the database, and does not apply anything to the tree.
 */
#include "metad/coord/embedded.h"

#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "metad/coord/coord_request.h"
#include "metad/coord/tree.h"
#include "proto/base/check.h"
#include "proto/base/diag.h"
#include "proto/base/mem.h"
#include "proto/net/exec.h"

enum {
    APPLICATION_ID = 0x534c434f,
    FORMAT_VERSION = 1,
    BATCH_REQUESTS_MAX = 1024,
};

/* What the worker writes for one path: the node as the batch left it. */
struct change {
    char *path;
    struct buf data;
    int32_t version;
    bool gone;
};

/* Watches that a request of the batch fired; told right before it is answered. */
struct fired {
    const struct coord_request *by;
    struct coord_watch watch;
};

/* Outlives a store that is closed while its mail is on the way. */
struct commit_job {
    struct exec_job job;
    struct embedded *em; /* NULL: closed */
};

struct embedded {
    struct coord coord;
    char *path;
    enum coord_state state;
    uint64_t session;
    struct tree *tree;
    struct coord_queue waiting;
    struct coord_queue batch;
    struct fired *fired;
    size_t fired_count, fired_capacity;
    struct timer wake;
    bool is_answering; /* callbacks may ask, but do not begin a batch */

    /* The worker's while is_committing. */
    bool is_committing;
    struct exec *exec;
    struct commit_job *commit_job;
    sqlite3 *db;
    sqlite3_stmt *begin, *commit, *rollback, *put, *drop;
    struct change *changes;
    size_t change_count, change_capacity;
    int outcome; /* a SQLite result code */
};

/* --- the database ---------------------------------------------------------------- */

static err classify(int code)
{
    switch (code & 0xff) {
    case SQLITE_OK:
    case SQLITE_DONE:
    case SQLITE_ROW:
        return OK;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return E_EXISTS;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return E_CORRUPT;
    case SQLITE_FULL:
        return E_NO_SPACE;
    default:
        return E_STORAGE;
    }
}

static int step_once(sqlite3_stmt *statement)
{
    const int code = sqlite3_step(statement);
    sqlite3_reset(statement);
    return code == SQLITE_DONE || code == SQLITE_ROW ? SQLITE_OK : code;
}

static int write_change(struct embedded *em, const struct change *ch)
{
    sqlite3_stmt *st = ch->gone ? em->drop : em->put;
    sqlite3_bind_text(st, 1, ch->path, -1, SQLITE_STATIC);
    if (!ch->gone) {
        sqlite3_bind_blob(st, 2, ch->data.size > 0 ? (const void *)ch->data.data : "",
                          (int)ch->data.size, SQLITE_STATIC);
        sqlite3_bind_int(st, 3, ch->version);
    }
    const int code = step_once(st);
    sqlite3_clear_bindings(st);
    return code;
}

/* On the worker. */
static void run_commit(struct exec_job *job)
{
    struct embedded *em = ((struct commit_job *)job)->em;
    int code = step_once(em->begin);
    for (size_t i = 0; code == SQLITE_OK && i < em->change_count; i++)
        code = write_change(em, &em->changes[i]);
    if (code == SQLITE_OK)
        code = step_once(em->commit);
    if (code != SQLITE_OK && !sqlite3_get_autocommit(em->db))
        step_once(em->rollback);
    em->outcome = code;
}

/* --- batches --------------------------------------------------------------------- */

static void note_change(struct embedded *em, const char *path)
{
    for (size_t i = em->change_count; i > 0; i--)
        if (strcmp(em->changes[i - 1].path, path) == 0)
            return;
    if (em->change_count == em->change_capacity) {
        em->change_capacity = em->change_capacity ? em->change_capacity * 2 : 16;
        em->changes = mem_realloc(em->changes, em->change_capacity * sizeof em->changes[0]);
    }
    em->changes[em->change_count++] = (struct change){.path = mem_strdup(path)};
}

/* The state in which the batch leaves the changed paths. Ephemeral nodes are not for the file:
 * there they are gone, for a persistent one may have been in their place. */
static void fill_changes(struct embedded *em)
{
    for (size_t i = 0; i < em->change_count; i++) {
        struct change *ch = &em->changes[i];
        struct slice data;
        struct coord_stat stat;
        ch->gone = tree_get(em->tree, ch->path, &data, &stat) != OK || stat.owner_session != 0;
        if (ch->gone)
            continue;
        ch->version = stat.version;
        buf_append(&ch->data, data.data, data.size);
    }
}

static void clear_changes(struct embedded *em)
{
    for (size_t i = 0; i < em->change_count; i++) {
        mem_free(em->changes[i].path);
        buf_deinit(&em->changes[i].data);
    }
    em->change_count = 0;
}

static void collect_fired(struct embedded *em, const struct coord_request *by)
{
    struct coord_watch watch;
    while (tree_next_fired(em->tree, &watch)) {
        if (em->fired_count == em->fired_capacity) {
            em->fired_capacity = em->fired_capacity ? em->fired_capacity * 2 : 8;
            em->fired = mem_realloc(em->fired, em->fired_capacity * sizeof em->fired[0]);
        }
        em->fired[em->fired_count++] = (struct fired){.by = by, .watch = watch};
    }
}

static void apply_write(struct embedded *em, struct coord_request *req)
{
    size_t failed = req->op_count;
    req->result = tree_write(em->tree, req->ops, req->op_count, em->session, &failed);
    req->failed = failed;
    if (req->result != OK)
        return;
    const struct coord_op *last = &req->ops[req->op_count - 1];
    req->stat.version = last->kind == COORD_SET ? last->version + 1 : 0;
    for (size_t i = 0; i < req->op_count; i++)
        if (req->ops[i].kind != COORD_CHECK)
            note_change(em, req->ops[i].path);
    collect_fired(em, req);
}

static void apply_read(struct embedded *em, struct coord_request *req)
{
    struct slice data;
    req->result = tree_get(em->tree, req->path, &data, &req->stat);
    if (req->result == OK && req->kind == REQUEST_GET)
        buf_append(&req->data, data.data, data.size);
    if (req->result == OK && req->kind == REQUEST_CHILDREN)
        req->result = tree_children(em->tree, req->path, &req->data, &req->child_count);
    const bool watches_missing = req->kind == REQUEST_EXISTS && req->result == E_NOT_FOUND;
    if (req->has_watch && (req->result == OK || watches_missing))
        tree_watch(em->tree, req->path, req->kind == REQUEST_CHILDREN ? WATCH_CHILDREN : WATCH_NODE,
                   &req->watch);
}

static void answer_batch(struct embedded *em)
{
    size_t told = 0;
    struct coord_request *req;
    em->is_answering = true;
    while ((req = coord_queue_pop(&em->batch)) != NULL) {
        for (; told < em->fired_count && em->fired[told].by == req; told++)
            em->fired[told].watch.fn(em->fired[told].watch.arg);
        coord_request_finish(req, req->result);
    }
    em->fired_count = 0;
    em->is_answering = false;
}

static void wake_soon(struct embedded *em);

/* The commit failed: the tree goes back, nothing of the batch holds. */
static void fail_batch(struct embedded *em)
{
    const err e = classify(em->outcome);
    const bool is_final = e != E_NO_SPACE;
    diag(is_final ? DIAG_ERROR : DIAG_WARN, "coord", "the embedded store cannot be written",
         "file=%s error=%s", DIAG_STR(em->path), DIAG_STR(sqlite3_errstr(em->outcome)));
    tree_rollback(em->tree);
    if (is_final)
        em->state = COORD_FAILED;
    for (struct coord_request *req = em->batch.head; req != NULL; req = req->next)
        req->result = is_final ? E_NETWORK : E_COORDINATION;
}

static void commit_done(struct exec_job *job)
{
    struct embedded *em = ((struct commit_job *)job)->em;
    if (em == NULL) {
        mem_free(job);
        return;
    }
    em->is_committing = false;
    clear_changes(em);
    if (em->outcome == SQLITE_OK)
        tree_commit(em->tree);
    else
        fail_batch(em);
    answer_batch(em);
    if (em->state == COORD_FAILED)
        coord_tell(&em->coord, COORD_FAILED);
    wake_soon(em);
}

static void take_batch(struct embedded *em)
{
    for (size_t i = 0; i < BATCH_REQUESTS_MAX; i++) {
        struct coord_request *req = coord_queue_pop(&em->waiting);
        if (req == NULL)
            break;
        coord_queue_push(&em->batch, req);
        if (em->state == COORD_FAILED)
            req->result = E_COORDINATION;
        else if (req->kind == REQUEST_WRITE)
            apply_write(em, req);
        else if (req->kind == REQUEST_SYNC)
            req->result = OK;
        else
            apply_read(em, req);
    }
}

/* Timer: begins the session, then one batch after the other. */
static void wake(void *arg)
{
    struct embedded *em = arg;
    if (em->state == COORD_CONNECTING) {
        em->state = COORD_CONNECTED;
        coord_tell(&em->coord, COORD_CONNECTED);
    }
    if (em->is_committing)
        return;
    take_batch(em);
    fill_changes(em);
    if (em->change_count == 0) {
        tree_commit(em->tree);
        answer_batch(em);
        wake_soon(em);
        return;
    }
    em->is_committing = true;
    exec_submit(em->exec, &em->commit_job->job);
}

static void wake_soon(struct embedded *em)
{
    const bool has_work = em->waiting.head != NULL || em->state == COORD_CONNECTING;
    if (has_work && !em->is_committing && !em->is_answering && !timer_is_running(&em->wake))
        timer_start(em->coord.loop, &em->wake, 0, wake, em);
}

/* --- backend --------------------------------------------------------------------- */

static struct embedded *self(const struct coord *c)
{
    return (struct embedded *)(uintptr_t)c;
}

static void embedded_submit(struct coord *c, struct coord_request *req)
{
    struct embedded *em = self(c);
    coord_queue_push(&em->waiting, req);
    wake_soon(em);
}

static enum coord_state embedded_state(const struct coord *c)
{
    return self(c)->state;
}

static uint64_t embedded_session(const struct coord *c)
{
    return self(c)->session;
}

static int64_t embedded_session_timeout_us(const struct coord *c)
{
    (void)c;
    return 0;
}

static void embedded_renew(struct coord *c)
{
    (void)c;
    CHECK(false); /* it never expires */
}

static void close_db(struct embedded *em)
{
    sqlite3_stmt *const all[] = {em->begin, em->commit, em->rollback, em->put, em->drop};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        sqlite3_finalize(all[i]);
    sqlite3_close(em->db);
}

static void embedded_free(struct embedded *em)
{
    if (em->exec != NULL)
        exec_free(em->exec); /* a commit under way ends first */
    if (em->is_committing)
        em->commit_job->em = NULL;
    else
        mem_free(em->commit_job);
    close_db(em);
    clear_changes(em);
    coord_queue_drop(&em->waiting);
    coord_queue_drop(&em->batch);
    tree_free(em->tree);
    mem_free(em->fired);
    mem_free(em->changes);
    mem_free(em->path);
    mem_free(em);
}

static void embedded_close(struct coord *c)
{
    struct embedded *em = self(c);
    timer_stop(c->loop, &em->wake);
    embedded_free(em);
}

static const struct coord_backend backend = {
    .submit = embedded_submit,
    .state = embedded_state,
    .session = embedded_session,
    .session_timeout_us = embedded_session_timeout_us,
    .renew = embedded_renew,
    .close = embedded_close,
};

/* --- opening --------------------------------------------------------------------- */

static int run(struct embedded *em, const char *sql)
{
    return sqlite3_exec(em->db, sql, NULL, NULL, NULL);
}

static int query_int(struct embedded *em, const char *sql, int64_t *out)
{
    sqlite3_stmt *st;
    int code = sqlite3_prepare_v2(em->db, sql, -1, &st, NULL);
    if (code != SQLITE_OK)
        return code;
    code = sqlite3_step(st);
    if (code == SQLITE_ROW)
        *out = sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    return code == SQLITE_ROW ? SQLITE_OK : code == SQLITE_DONE ? SQLITE_CORRUPT : code;
}

/* One of ours, of this format; or new, and then made. */
static err check_format(struct embedded *em, struct buf *why)
{
    int64_t application = 0;
    int64_t version = 0;
    int64_t pages = 0;
    int code = query_int(em, "PRAGMA application_id", &application);
    if (code == SQLITE_OK)
        code = query_int(em, "PRAGMA user_version", &version);
    if (code == SQLITE_OK)
        code = query_int(em, "SELECT count(*) FROM sqlite_schema", &pages);
    if (code != SQLITE_OK)
        return classify(code);
    if (application == 0 && version == 0 && pages == 0) {
        char sql[512];
        snprintf(sql, sizeof sql,
                 "BEGIN;"
                 "CREATE TABLE node(path TEXT PRIMARY KEY NOT NULL, data BLOB NOT NULL,"
                 " version INTEGER NOT NULL) WITHOUT ROWID;"
                 "CREATE TABLE session(number INTEGER NOT NULL);"
                 "INSERT INTO session VALUES(0);"
                 "PRAGMA application_id=%d; PRAGMA user_version=%d;"
                 "COMMIT",
                 APPLICATION_ID, FORMAT_VERSION);
        return classify(run(em, sql));
    }
    if (application != APPLICATION_ID) {
        buf_printf(why, "%s: not a coordination store of Sluice. ", em->path);
        return E_CORRUPT;
    }
    if (version != FORMAT_VERSION) {
        buf_printf(why, "%s: format %" PRId64 "; this version knows %d. ", em->path, version,
                   FORMAT_VERSION);
        return E_UNSUPPORTED_VERSION;
    }
    return OK;
}

static err load_row(struct embedded *em, sqlite3_stmt *st, struct buf *why)
{
    const char *path = (const char *)sqlite3_column_text(st, 0);
    const struct slice data =
        slice_of(sqlite3_column_blob(st, 1), (size_t)sqlite3_column_bytes(st, 1));
    const int64_t version = sqlite3_column_int64(st, 2);
    const bool is_sound = path != NULL && path[0] == '/' && strlen(path) <= COORD_PATH_MAX &&
                          version >= 0 && version < INT32_MAX && data.size <= COORD_DATA_MAX;
    if (is_sound && tree_load(em->tree, path, data, (int32_t)version) == OK)
        return OK;
    buf_printf(why, "%s: node %s is damaged. ", em->path,
               path != NULL ? DIAG_STR(path) : "without a path");
    return E_CORRUPT;
}

/* A parent sorts before its children. */
static err load_nodes(struct embedded *em, struct buf *why)
{
    sqlite3_stmt *st;
    int code = sqlite3_prepare_v2(em->db, "SELECT path, data, version FROM node ORDER BY path", -1,
                                  &st, NULL);
    if (code != SQLITE_OK)
        return classify(code);
    err e = OK;
    while (e == OK && (code = sqlite3_step(st)) == SQLITE_ROW)
        e = load_row(em, st, why);
    sqlite3_finalize(st);
    return e != OK ? e : classify(code);
}

static err prepare_all(struct embedded *em)
{
    const struct {
        sqlite3_stmt **to;
        const char *sql;
    } all[] = {
        {&em->begin, "BEGIN IMMEDIATE"},
        {&em->commit, "COMMIT"},
        {&em->rollback, "ROLLBACK"},
        {&em->put, "INSERT OR REPLACE INTO node(path, data, version) VALUES(?, ?, ?)"},
        {&em->drop, "DELETE FROM node WHERE path = ?"},
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        const int code =
            sqlite3_prepare_v3(em->db, all[i].sql, -1, SQLITE_PREPARE_PERSISTENT, all[i].to, NULL);
        if (code != SQLITE_OK)
            return classify(code);
    }
    return OK;
}

static err open_db(struct embedded *em, struct buf *why)
{
    const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    int code = sqlite3_open_v2(em->path, &em->db, flags, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_extended_result_codes(em->db, 1);
    /* The exclusive mode takes the lock with the first access and keeps it. */
    if (code == SQLITE_OK)
        code = run(em, "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL;"
                       "PRAGMA synchronous=FULL; BEGIN EXCLUSIVE; COMMIT");
    err e = classify(code);
    if (e == OK)
        e = check_format(em, why);
    if (e == OK)
        e = classify(run(em, "UPDATE session SET number = number + 1"));
    int64_t session = 0;
    if (e == OK)
        e = classify(query_int(em, "SELECT number FROM session", &session));
    em->session = (uint64_t)session;
    if (e == OK)
        e = load_nodes(em, why);
    if (e == OK)
        e = prepare_all(em);
    return e;
}

static void explain(const struct embedded *em, err e, struct buf *why)
{
    if (why->size > 0)
        return;
    if (e == E_EXISTS)
        buf_printf(why,
                   "%s: another process has the coordination store open; only one sluice-broker "
                   "may run on a data directory. ",
                   em->path);
    else
        buf_printf(why, "%s: the coordination store cannot be opened: %s. ", em->path,
                   em->db != NULL ? sqlite3_errmsg(em->db) : "out of memory");
}

err coord_embedded_open(struct loop *l, const char *path, struct coord **out, struct buf *why)
{
    struct embedded *em = MEM_NEW(struct embedded);
    coord_init(&em->coord, &backend, l);
    em->path = mem_strdup(path);
    em->tree = tree_new();
    em->commit_job = MEM_NEW(struct commit_job);
    em->commit_job->em = em;
    em->commit_job->job = (struct exec_job){.run = run_commit, .done = commit_done, .home = l};
    coord_queue_init(&em->waiting);
    coord_queue_init(&em->batch);
    const err e = open_db(em, why);
    if (e != OK) {
        explain(em, e, why);
        embedded_free(em);
        return e;
    }
    em->exec = exec_new("coord", 1);
    wake_soon(em);
    *out = &em->coord;
    return OK;
}
