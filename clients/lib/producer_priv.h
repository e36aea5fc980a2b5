/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The producer, inside: what application threads (producer.c) and the loop
 * (sender.c) share. `mutex` guards the fields up to the mark; the rest is the
 * loop's. Application threads put records into the accumulator and post `mail`
 * when the loop has something to do that it does not know of; the loop takes
 * parcels out, seals and sends them, and tells how they ended.
 */
#ifndef SLUICE_CLIENTS_PRODUCER_PRIV_H
#define SLUICE_CLIENTS_PRODUCER_PRIV_H

#include "clients/lib/accumulator.h"
#include "clients/lib/client.h"
#include "clients/lib/partitioner.h"
#include "clients/lib/shell.h"
#include "proto/wire/codec.h"

/* A topic that was sent to. Freed with the producer, or once nobody waits for a topic that does not
 * exist. */
struct target {
    char *name;
    bool is_ready;  /* lanes are there */
    bool is_wanted; /* the loop has asked for it */
    unsigned waiters;
    /* Why it is not ready: final if the class says so. */
    err error;
    enum err_class error_class;
    char *explanation;
    struct lane **lanes; /* by partition; a lane never moves */
    int32_t lane_count;
    /* The sticky rule. */
    int32_t sticky; /* -1: to be drawn */
    size_t sticky_left;
    struct partition_load *loads; /* lane_count of them: scratch */
    struct topic *topic;          /* the loop's */
    UT_hash_handle hh;
};

struct outlet;

struct sluice_producer {
    struct shell shell;
    struct settings settings;
    struct sluice_producer_callbacks callbacks;

    pthread_mutex_t mutex;
    struct accumulator acc;
    struct target *targets; /* by name */
    struct target *last;    /* found last */
    struct mail mail;
    bool is_posted;
    bool targets_changed; /* one is new, or nobody waits for it any more */
    bool is_closed;       /* what callbacks send now is refused */
    bool has_failed;      /* since the last flush that told */
    struct sluice_error first_failure;
    struct sluice_producer_stats stats;
    struct rng rng; /* of the partitioner */
    /* --- the loop's ------------------------------------------------------------------ */
    struct client *client;
    struct rng loop_rng;
    struct codec_ctx *codec;
    struct buf compressed;
    struct deferred pump;
    struct timer timer;  /* linger, retries, delivery timeouts */
    int64_t retry_at_us; /* of the first blocked lane that waits for time alone; INT64_MAX: none */
    struct outlet *outlets;
    struct parcel *released; /* acks=0: written, to be told */
    bool is_closing;
};

/* --- sender.c: on the loop, or when no loop runs ------------------------------------------- */
void sender_init(struct sluice_producer *p);
void sender_on_mail(struct mail *m);
/* After the loop's thread ended: fails what is left, and frees everything of the loop's. */
void sender_deinit(struct sluice_producer *p);

/* --- producer.c ------------------------------------------------------------------------------- */
/* On a loop that somebody else turns (shell_drive): for tests and simulators. Made and closed
 * between turns. */
int producer_new_driven(struct loop *l, void (*turn)(void *arg, int64_t timeout_us), void *arg,
                        uint64_t seed, const sluice_config *config,
                        const struct sluice_producer_callbacks *callbacks, sluice_producer **out,
                        struct sluice_error *error);
void target_free(struct target *t);

#endif
