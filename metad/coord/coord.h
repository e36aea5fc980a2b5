/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Coordination, the third door: a small tree of nodes with versions, owned by
 * sessions, watched once. Shaped so that ZooKeeper serves it as it is; every
 * implementation passes one conformance suite (tests/unit/metad_coord).
 *
 *   embedded.h   a SQLite file, one process: the one-machine default
 *   model.h      in memory, several clients, faults and virtual time: tests
 *
 * Guarantees: operations of one client take effect in the order they were
 * asked, and their callbacks come in that order, each exactly once, never
 * inside the call that asked. A read with a watch is one operation: what changes
 * after the answer fires the watch. Reads may be older than what other clients
 * wrote (coord_sync first), never older than what this client has seen.
 *
 * What the asker must expect:
 *   E_NETWORK       the connection was lost: a write may have been done or not. Read back before
 * asking again. E_COORDINATION  there is no session now: not done. E_OVERLOADED COORD_INFLIGHT_MAX
 * operations are under way: not done. Sessions decide liveness only, never safety: fence by
 * versions.
 *
 * Threads: everything on the loop that it was opened with. Paths and data are
 * copied during the call. Paths begin with `/` and are below the chroot.
 */
#ifndef SLUICE_COORD_COORD_H
#define SLUICE_COORD_COORD_H

#include "proto/base/slice.h"
#include "proto/net/loop.h"

enum {
    COORD_INFLIGHT_MAX = 16 * 1024, /* unanswered operations of one client */
    COORD_PATH_MAX = 255,
    COORD_DATA_MAX = 1000 * 1000, /* ZooKeeper's own limit is a little above */
    COORD_MULTI_MAX = 1024        /* operations in one multi */
};

struct coord;

enum coord_state {
    COORD_CONNECTING, /* no contact now; the session may live or not */
    COORD_CONNECTED,
    COORD_EXPIRED, /* final for this session: its ephemeral nodes are or will be gone; see
                      coord_renew */
    COORD_FAILED   /* final: the store is damaged or refuses us; a person must act */
};
typedef void coord_state_fn(void *arg, enum coord_state state);

struct coord_stat {
    int32_t version;        /* of the data: 0 when created, one more with each set */
    uint64_t owner_session; /* of an ephemeral node; 0: persistent */
};
struct coord_children {
    size_t count;
    const char *const *names; /* sorted; without the parent's path */
};

/* Results are valid during the callback. stat and data only with OK. */
typedef void coord_done_fn(void *arg, err e);
typedef void coord_stat_fn(void *arg, err e, const struct coord_stat *stat);
typedef void coord_data_fn(void *arg, err e, struct slice data, const struct coord_stat *stat);
typedef void coord_children_fn(void *arg, err e, const struct coord_children *children);
/* failed: the operation whose check failed (with its error), or the count of operations if it is
 * not known. */
typedef void coord_multi_fn(void *arg, err e, size_t failed);

/* Fires at most once: something changed, read again. It does not fire for the end of a session,
 * which ends all watches. */
struct coord_watch {
    void (*fn)(void *arg);
    void *arg;
};

enum coord_op_kind { COORD_CHECK, COORD_CREATE, COORD_SET, COORD_DELETE };
struct coord_op {
    enum coord_op_kind kind;
    const char *path;
    struct slice data; /* create, set */
    int32_t version;   /* check, set, delete: what it must be; there is no unconditional write */
    bool ephemeral;    /* create */
};

/* --- asking -------------------------------------------------------------------------
 * E_NOT_FOUND: no such node, or no parent. E_EXISTS. E_BAD_VERSION. E_NOT_PERMITTED: delete of a
 * node with children, or create below an ephemeral one. E_MESSAGE_TOO_LARGE: more than
 * COORD_DATA_MAX bytes. */

/* watch (may be NULL) is set when the answer is OK: fires on set and delete. */
void coord_get(struct coord *c, const char *path, const struct coord_watch *watch,
               coord_data_fn *done, void *arg);
/* watch is set on OK and on E_NOT_FOUND: fires on create, set and delete. */
void coord_exists(struct coord *c, const char *path, const struct coord_watch *watch,
                  coord_stat_fn *done, void *arg);
/* watch is set on OK: fires when a child comes or goes, or the node itself goes. */
void coord_children(struct coord *c, const char *path, const struct coord_watch *watch,
                    coord_children_fn *done, void *arg);
void coord_create(struct coord *c, const char *path, struct slice data, bool ephemeral,
                  coord_done_fn *done, void *arg);
void coord_set(struct coord *c, const char *path, struct slice data, int32_t version,
               coord_stat_fn *done, void *arg);
void coord_delete(struct coord *c, const char *path, int32_t version, coord_done_fn *done,
                  void *arg);
/* All or nothing, in order. After an OK the version of a set node is the one asked for plus one. */
void coord_multi(struct coord *c, const struct coord_op *ops, size_t count, coord_multi_fn *done,
                 void *arg);
/* Reads asked after it see what any client had written before it was answered. */
void coord_sync(struct coord *c, coord_done_fn *done, void *arg);

/* --- the session ----------------------------------------------------------------- */
enum coord_state coord_state(const struct coord *c);
/* 0: never connected. Another one after each coord_renew. */
uint64_t coord_session(const struct coord *c);
/* As the service granted it; 0: sessions do not expire. */
int64_t coord_session_timeout_us(const struct coord *c);
/* Told of every change of state, from the first COORD_CONNECTED on. One listener (see
 * metad/follow/session.h). Before COORD_EXPIRED is told, all that is unanswered ends with
 * E_NETWORK. */
void coord_on_state(struct coord *c, coord_state_fn *fn, void *arg);
/* After COORD_EXPIRED: begins a new session. */
void coord_renew(struct coord *c);
/* Ends the session at once (its ephemeral nodes go) and frees. No callback comes any more, not even
 * for what is unanswered. May block for seconds: at the end of a process only. */
void coord_close(struct coord *c);

/* --- for implementations (coord_request.h) --------------------------------------- */
struct coord_request;
struct coord_backend {
    void (*submit)(struct coord *c, struct coord_request *req); /* takes req */
    enum coord_state (*state)(const struct coord *c);
    uint64_t (*session)(const struct coord *c);
    int64_t (*session_timeout_us)(const struct coord *c);
    void (*renew)(struct coord *c);
    void (*close)(struct coord *c); /* drops what is unanswered, frees */
};
/* The head of every implementation's own struct. */
struct coord {
    const struct coord_backend *backend;
    struct loop *loop;
    coord_state_fn *on_state;
    void *on_state_arg;
    size_t inflight;
    struct coord_request *refused; /* answered in the next turn */
    struct coord_request **refused_tail;
    struct timer refusing;
};

#endif
