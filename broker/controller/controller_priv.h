/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of the controller, shared by the files of this folder:
 *
 *   controller.c  the office: standing, reading, resigning, leaving
 *   brokers.c     who lives: watching /brokers/ids, and the elections that follow
 *   writes.c      the queue of operations, one multi at a time, lost answers
 *   topics.c      create, delete, add partitions: decisions
 *   configs.c     configs of topics and brokers: decisions
 *   calls.c       requests in, responses out
 */
#ifndef SLUICE_CONTROLLER_CONTROLLER_PRIV_H
#define SLUICE_CONTROLLER_CONTROLLER_PRIV_H

#include "broker/controller/controller.h"
#include "metad/coord/nodes.h"
#include "metad/coord/paths.h"
#include "metad/model/election.h"
#include "proto/base/mem.h"

/* --- operations ------------------------------------------------------------------ */

struct write;
struct operation;

/* How an operation is decided: it looks at the image as the write will leave it so far
 * (write_view), adds what is to be written, and fills in its result. OK; E_WOULD_BLOCK: it does not
 * fit, ask again with the next write; else it is refused, and why gets a sentence. May be asked
 * several times. */
typedef err decide_fn(struct controller *c, struct operation *op, struct write *w, struct buf *why);
/* Told once. OK: what it decided is written (or there was nothing to write), as of this version of
 * /changes. */
typedef void finish_fn(struct operation *op, err e, const char *why, uint64_t version);

struct operation {
    struct operation *next;
    decide_fn *decide;
    finish_fn *finish;
    int64_t deadline_us;
    unsigned attempts;
    bool is_in_write;
    err result; /* once it is decided against */
    struct buf why;
};

/* --- one write ------------------------------------------------------------------- */

/* The state after what was added so far. */
const struct cluster *write_view(const struct write *w);
/*
 * Each adds to the multi, to the image and to /changes, or gives E_WOULD_BLOCK and adds nothing.
 * Values are taken in any case; node_version is the one they will have.
 *
 * A topic brings the checks of rule C4 with it: the incarnation of every leader that it has and its
 * present state has not, and of every added in-sync replica.
 */
err write_topic(struct write *w, struct topic *t) MUST_USE;
err write_delete_topic(struct write *w, const struct topic *t) MUST_USE;
/* Nobody waiting: the node goes. */
err write_tombstone(struct write *w, struct tombstone *t) MUST_USE;
err write_broker_configs(struct write *w, struct broker_configs *bc) MUST_USE;
/* Announces that a broker came (b), or went (NULL); the nodes are the broker's own. */
void write_broker(struct write *w, int32_t broker_id, struct broker *b);
/* Marks a changed partition as written by this controller, now. */
void write_stamp(struct controller *c, struct partition_state *p);

/* --- the controller -------------------------------------------------------------- */

enum office {
    OFFICE_NONE,     /* not registered, leaving, or waiting for answers of an earlier office */
    OFFICE_STANDING, /* asks for election, or waits for the one who has it */
    OFFICE_READING,  /* elected; reads everything */
    OFFICE_HELD      /* elected and acting */
};

struct controller {
    struct controller_opts opts;
    struct loop *loop;
    struct coord *coord;
    struct session_member member;

    enum office office;
    uint64_t incarnation; /* of this broker; 0: not registered */
    bool is_leaving;
    bool is_asking;       /* a step of the election is under way */
    unsigned outstanding; /* operations of the coord under way */
    bool is_draining;     /* those are of an earlier office: nothing begins until all have ended */
    int32_t tried_epoch; /* the version that the last try to be elected would have given; 0: none */
    int32_t epoch_version; /* of /controller_epoch, ours while elected */
    struct timer again;
    _Atomic uint32_t epoch; /* for any thread; 0: not elected */

    /* What the tree holds; ours alone to change while elected. */
    struct cluster *img;
    struct changes changes;
    struct reading *reading;
    struct cluster_edit *reading_edit;
    bool has_read;

    /* brokers.c */
    struct cluster *observed; /* only its brokers: those registered now */
    struct live_brokers live; /* the same, as the elections want it */
    bool is_observing;        /* reading /brokers/ids */
    bool must_observe;        /* again, when that is done */
    bool must_compare;        /* what is observed with what is announced */
    bool must_announce;       /* that this broker is the controller now */
    struct timer observe_again;
    struct reading *observing;
    struct cluster_edit *observing_edit;
    struct uuid *stale; /* topics to look at, because a broker came or went */
    size_t stale_count;

    /* writes.c */
    struct operation *queue;
    struct operation **queue_tail;
    _Atomic size_t queued;
    struct write *write;           /* under way; NULL: none */
    uint64_t changes_version_read; /* while a lost answer is settled */
    struct timer writing;
    struct timer deadlines;

    void (*left)(void *arg); /* leaving */
    void *left_arg;
};

/* --- controller.c */
/* Every answer of the coord begins with it. false: it belongs to an earlier office, do nothing. */
bool office_is_concerned(struct controller *c);
/* Rule C4: the epoch is not ours any more. */
void office_resign(struct controller *c, const char *why);
/* Somebody else changed the tree: read it again before anything is decided. */
void office_read_again(struct controller *c, const char *why);
/* brokers.c has the first observation. */
void office_begin(struct controller *c);

/* --- brokers.c */
void brokers_observe(struct controller *c);
void brokers_reset(struct controller *c);
/* Adds to the write what follows from brokers that came or went, as far as it fits. */
void brokers_decide(struct controller *c, struct write *w);
bool brokers_have_work(const struct controller *c);
/* The write that took the work failed. */
void brokers_decide_again(struct controller *c);
/* Counts of what each live broker holds, for placement; to be freed. */
struct placement_broker *brokers_for_placement(const struct controller *c,
                                               const struct cluster *img);

/* --- writes.c */
void writes_init(struct controller *c);
void writes_kick(struct controller *c);
void writes_queue(struct controller *c, struct operation *op); /* the queue must have room */
/* The office is gone: what waits ends with e, what is under way with E_TIMED_OUT. */
void writes_abandon(struct controller *c, err e, const char *why);
/* Freed: ends everything with E_CANCELLED. */
void writes_deinit(struct controller *c);

/* --- calls.c: a request and its operations, one per topic */

struct call;
struct task {
    struct operation op;
    struct call *call;
    const void *item; /* NewTopic, PartitionsOf, AlterConfigsOf; NULL for deletions */
    /* Deletions: one of them. */
    const char *name;
    struct slice id;
    /* Results. */
    struct uuid topic_id;
    bool has_topic_id;
    const char *result_name;                /* of the item, or in the call's arena */
    int32_t partitions, replication_factor; /* 0: not told */
};
static inline struct task *task_of(struct operation *op)
{
    return (struct task *)op;
}
bool task_is_validation(const struct task *t);
bool task_is_client(const struct task *t); /* not of the cluster itself */
const char *task_keep(struct task *t, const char *text);

/* --- topics.c, configs.c */
decide_fn topic_create_decide;
decide_fn topic_delete_decide;
decide_fn topic_grow_decide;
decide_fn topic_configs_decide;
decide_fn broker_configs_decide;

#endif
