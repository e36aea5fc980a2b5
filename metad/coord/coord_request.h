/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One asked operation on its way: made by coord.c, carried out by an
 * implementation, which fills in the result and finishes it. For
 * implementations only. Threads: the coord's loop.
 */
#ifndef SLUICE_COORD_COORD_REQUEST_H
#define SLUICE_COORD_COORD_REQUEST_H

#include "metad/coord/coord.h"
#include "proto/base/buf.h"

enum coord_request_kind {
    REQUEST_GET,
    REQUEST_EXISTS,
    REQUEST_CHILDREN,
    REQUEST_WRITE, /* ops, one of them unless it is a multi */
    REQUEST_SYNC
};

struct coord_request {
    struct coord_request *next;
    struct coord *coord;
    enum coord_request_kind kind;
    const char *path; /* reads */
    bool has_watch;
    struct coord_watch watch;
    struct coord_op *ops; /* writes; all in this allocation */
    size_t op_count;
    /* What the callback gets. */
    err result;
    size_t failed; /* writes: which of ops; op_count: not known */
    struct coord_stat stat;
    struct buf data; /* get: the bytes; children: the names, each ended by NUL */
    size_t child_count;
    void (*answer)(struct coord_request *req);
    void (*done)(void); /* of the type that answer knows */
    void *arg;
};

/* Calls back, then frees. */
void coord_request_finish(struct coord_request *req, err result);
/* Frees without calling back: coord_close. */
void coord_request_drop(struct coord_request *req);

/* A queue of requests, or of whatever else an implementation links by `next`. */
struct coord_queue {
    struct coord_request *head;
    struct coord_request **tail;
};
void coord_queue_init(struct coord_queue *q);
void coord_queue_push(struct coord_queue *q, struct coord_request *req);
struct coord_request *coord_queue_pop(struct coord_queue *q); /* NULL: empty */
void coord_queue_drop(struct coord_queue *q);

void coord_init(struct coord *c, const struct coord_backend *backend, struct loop *l);
/* Tells the listener, if there is one. */
void coord_tell(struct coord *c, enum coord_state state);

#endif
