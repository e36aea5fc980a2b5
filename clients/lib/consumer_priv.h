/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The consumer, inside: what the application's thread (consumer.c) and the loop
 * (fetcher.c) share. A feed is an assigned partition. The loop locates it (an
 * offset for "the end", "at noon"), fetches ahead into chunks, and queues them;
 * poll takes a chunk, makes views of its records, and gives it back at the next poll.
 *
 * `mutex` guards everything but what is marked as one side's own. Lists, by what they are for:
 *   deliver  something for poll: chunks, an event, or an end that was reached
 *   todo     something for the loop: to locate, or to fetch
 *   blocked  the same, but a leader, a connection, memory or time is missing
 */
#ifndef SLUICE_CLIENTS_CONSUMER_PRIV_H
#define SLUICE_CLIENTS_CONSUMER_PRIV_H

#include "clients/lib/client.h"
#include "clients/lib/shell.h"
#include "proto/base/limits.h"
#include "proto/base/reader.h"
#include "proto/wire/codec.h"

/* Batches of one partition, as they were fetched: whole ones. */
struct chunk {
    struct chunk *next;
    size_t capacity, size;
    uint8_t bytes[];
};

/* A batch's records, decompressed. */
struct decoded {
    struct decoded *next;
    struct buf buf;
};

/* What poll will tell of a feed, once it has given out all that was queued before. */
struct feed_event {
    enum sluice_event_type type;
    int64_t from;
    struct sluice_error error;
};

enum { FEED_KEY = TOPIC_NAME_MAX + 16 };

struct feed {
    char key[FEED_KEY];     /* "topic/partition" */
    const char *topic_name; /* interned: outlives the feed, as views may */
    int32_t partition;
    bool is_assigned; /* false: the loop frees it as soon as no request has it */
    bool is_paused;
    bool is_stopped; /* by an error, until it is sought */
    uint32_t epoch;  /* raised by each seek: answers to older requests are dropped */

    /* Where it is. */
    bool is_located;
    int64_t sought; /* not located: SLUICE_OFFSET_*, or milliseconds */
    bool sought_is_time;
    bool has_reset_from; /* it was out of range, and poll has to tell */
    int64_t reset_from;
    struct sluice_error reset_error;
    int64_t position;         /* of the next record to give out */
    int64_t fetch_at;         /* of the next to fetch */
    int64_t low, high;        /* -1: not known */
    struct feed_event *event; /* not yet told; owned */

    struct chunk *first, *last;
    size_t queued; /* bytes of these */

    bool is_delivering; /* on that list */
    struct feed *deliver_prev, *deliver_next;
    enum feed_place { FEED_NOWHERE, FEED_TODO, FEED_BLOCKED } place;
    struct feed *prev, *next; /* there */

    /* The loop's. */
    struct topic *topic; /* NULL: not asked for yet */
    struct uuid topic_id;
    bool has_topic_id;
    bool is_busy; /* a request has it */
    unsigned failures;
    int64_t retry_at_us;

    /* The application's. */
    struct chunk *current;
    size_t at; /* of the batch behind the present one, in the chunk */
    bool is_in_batch;
    int64_t base_offset, base_timestamp, end_offset, append_timestamp;
    int32_t leader_epoch;
    bool is_append_time;
    struct reader records;
    struct decoded *decoded;
    int64_t corrupt_at;  /* where a damaged batch was met once; -1 */
    int64_t end_told_at; /* -1 */
    UT_hash_handle hh;
};

struct feed_list {
    struct feed *first, *last;
};

/* A topic whose partitions somebody asked for. */
struct interest {
    char *name;
    bool is_wanted;
    unsigned waiters;
    int32_t partition_count; /* 0: not known */
    err error;
    enum err_class error_class;
    char *explanation;
    struct topic *topic; /* the loop's */
    UT_hash_handle hh;
};

struct interned {
    UT_hash_handle hh;
    char name[];
};

struct fetch_outlet;

struct sluice_consumer {
    struct shell shell;
    struct settings settings;

    pthread_mutex_t mutex;
    struct feed *feeds; /* by key; also those that are no longer assigned */
    size_t feed_count;  /* assigned */
    struct feed_list deliver, todo, blocked;
    struct interest *interests;
    bool interests_changed;
    struct mail mail;
    bool is_posted;
    struct chunk *free; /* chunks to use again */
    size_t free_bytes;
    size_t queued, reserved; /* bytes of chunks fetched, and of requests under way */
    struct sluice_consumer_stats stats;

    /* --- the application's ------------------------------------------------------------- */
    struct interned *names;
    struct sluice_message *messages;
    size_t message_count;
    struct sluice_event *events;
    size_t event_count, event_capacity;
    struct feed_event **told; /* what events point to */
    struct chunk *retired;    /* what the views of the last poll point to */
    struct decoded *retired_decoded, *free_decoded;
    size_t decoded_bytes; /* in this poll */
    struct codec_ctx *codec;

    /* --- the loop's --------------------------------------------------------------------- */
    struct client *client;
    struct rng rng;
    struct deferred pump;
    struct timer timer;
    int64_t retry_at_us; /* of the first blocked feed that waits for time alone; INT64_MAX: none */
    struct fetch_outlet *outlets;
    bool is_closing;
};

/* --- feed.c: lists and small changes; with the mutex ---------------------------------------- */
void feed_to(struct sluice_consumer *c, struct feed *f, enum feed_place place);
void feed_unblock_all(struct sluice_consumer *c);
void feed_deliver(struct sluice_consumer *c, struct feed *f);
void feed_undeliver(struct sluice_consumer *c, struct feed *f);
/* Should more of it be fetched now? Leaders and connections aside. */
bool feed_wants_fetch(const struct sluice_consumer *c, const struct feed *f);
/* What to ask for at a time: max.partition.fetch.bytes, or an even share of queued.max.bytes where
 * that is less, so that fetches parked for idle partitions leave room for the others. */
size_t feed_answer_bytes(const struct sluice_consumer *c);
bool feed_wants_locate(const struct feed *f);
/* Forgets where it was and what was fetched. Views given out stay good. */
void feed_seek(struct sluice_consumer *c, struct feed *f, int64_t sought, bool is_time);
/* The place that was sought is at this offset. */
void feed_located(struct sluice_consumer *c, struct feed *f, int64_t offset);
/* The position is not within what is there: as auto.offset.reset says. low, high: -1 if not known.
 */
void feed_reset(struct sluice_consumer *c, struct feed *f, const struct wire_error *why,
                int64_t low, int64_t high);
/* An error for poll to tell; stops the feed if it must. */
void feed_fail(struct sluice_consumer *c, struct feed *f, const struct wire_error *why,
               const char *tried, const char *where, bool stop);
/* Frees what it has, not the struct. */
void feed_deinit(struct sluice_consumer *c, struct feed *f);

struct chunk *chunk_take(struct sluice_consumer *c, size_t size);
/* Back to the pool; counts as queued no more. */
void chunk_give(struct sluice_consumer *c, struct chunk *chunk);

/* --- fetcher.c ------------------------------------------------------------------------------- */
void fetcher_init(struct sluice_consumer *c);
void fetcher_on_mail(struct mail *m);
/* After the loop's thread ended. */
void fetcher_deinit(struct sluice_consumer *c);

/* --- consumer.c: as producer_new_driven ------------------------------------------------------- */
int consumer_new_driven(struct loop *l, void (*turn)(void *arg, int64_t timeout_us), void *arg,
                        uint64_t seed, const sluice_config *config, sluice_consumer **out,
                        struct sluice_error *error);

#endif
