/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A question about partitions, asked of their leaders: split by broker, sent,
 * asked again where leaders moved or something else passes, put together. For
 * ListOffsets and DeleteRecords. Threads: the loop's.
 */
#ifndef SLUICE_CLIENTS_SPREAD_H
#define SLUICE_CLIENTS_SPREAD_H

#include "clients/lib/client.h"

struct spread_item {
    const char *topic; /* kept */
    int32_t partition;
    int64_t argument; /* a time, or an offset */
    /* The outcome: error.code is SLUICE_OK, or why not. */
    struct sluice_error error;
    int64_t offset, timestamp_ms;
    int32_t leader_epoch;
    /* The spread's. */
    struct topic *wanted;
    bool is_done, is_asked;
    unsigned failures;
    int64_t retry_at_us;
};

struct spread {
    uint32_t api; /* API_LIST_OFFSETS or API_DELETE_RECORDS */
    struct spread_item *items;
    size_t count;
    int64_t deadline_us;
    /* Every item has its outcome. Once, never within spread_start. */
    void (*done)(struct spread *s);
    /* The spread's. */
    struct client *client;
    struct loop *loop;
    struct rng *rng;
    struct deferred pump;
    struct timer timer;
    size_t under_way; /* requests */
    bool is_over;     /* the deadline passed */
    bool is_closed;   /* cancelled: the client may be gone */
};

void spread_start(struct spread *s, struct client *cl, struct rng *rng);
/* Metadata or connections changed. */
void spread_poke(struct spread *s);
/* The client is about to be freed, and the loop turned once more after that: done is called then.
 */
void spread_cancel(struct spread *s);

#endif
