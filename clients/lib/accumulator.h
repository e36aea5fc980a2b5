/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The producer's records that are not delivered yet: parcels (batches being
 * filled, waiting, or under way) in a lane per partition, in memory of a fixed
 * size.
 *
 * Invariants, all kept here:
 *   1. A lane's parcels are in the order of sending; those under way are in front. A parcel leaves
 * only from the front, so outcomes are told in the order of sending.
 *   2. At most `inflight_max` requests of a lane are under way. With 1, what has to be sent again
 * is in front of all else: nothing overtakes it.
 *   3. The memory of all parcels is never above `memory_max`.
 *   4. Only the last parcel of a lane is open; a closed one is never written to but to seal it.
 *   5. A lane that has something to send, and may, is on the list `ready` or `blocked`.
 *
 * A parcel is one piece of memory: this struct, the batch's header, records
 * growing up, and the records' opaque pointers growing down from the end.
 *
 * No clock, no thread, no lock: the producer's mutex guards all of it.
 */
#ifndef SLUICE_CLIENTS_ACCUMULATOR_H
#define SLUICE_CLIENTS_ACCUMULATOR_H

#include "clients/lib/settings.h"
#include "proto/base/err.h"
#include "proto/base/mem.h"
#include "proto/wire/record.h"

struct lane;

struct parcel {
    struct parcel *next;                      /* in its lane, or in a list of those that ended */
    struct parcel *prev_of_all, *next_of_all; /* by age */
    struct parcel *prev, *next_lingering;     /* by age */
    struct lane *lane;
    uint64_t seq;       /* of all parcels of the producer */
    int64_t created_us; /* when the first record came */
    int64_t base_timestamp, max_timestamp;
    uint32_t record_count;
    size_t used;       /* bytes of header and records */
    size_t capacity;   /* of bytes[] */
    bool is_closed;    /* takes no more records */
    bool is_due;       /* need not wait for more records */
    bool is_lingering; /* on that list */
    bool is_in_flight;
    bool is_done;      /* delivered or given up; waits for those in front */
    unsigned borrowed; /* pieces that a connection still holds: must not change, nor be freed */
    unsigned attempts;
    /* Sealed: header written, records compressed. Again if the topic got another id. */
    bool is_sealed;
    uint32_t topic_crc;
    size_t wire_size;
    /* The outcome. */
    int64_t base_offset, log_append_time_ms; /* -1: not known */
    struct sluice_error *error;              /* NULL: delivered; owned */
    uint8_t bytes[];
};

enum lane_place { LANE_NOWHERE, LANE_READY, LANE_BLOCKED };

struct lane {
    void *topic; /* the producer's */
    int32_t partition;
    bool has_leader;
    struct parcel *first, *last;
    struct parcel *unsent; /* the first that is not under way */
    uint32_t count;
    unsigned in_flight; /* requests */
    unsigned failures;  /* in a row */
    int64_t retry_at_us;
    uint64_t solo_below; /* parcels below this seq go one by one: one of them made a request fail */
    enum lane_place place;
    struct lane *prev, *next; /* there */
};

enum { PARCEL_CLASSES = 17 }; /* sizes of parcels that are kept: accumulator.c */

struct lane_list {
    struct lane *first, *last;
};

struct accumulator {
    size_t batch_size, memory_max;
    int64_t linger_us;
    unsigned inflight_max;
    bool has_opaques;    /* deliveries are told */
    size_t used, cached; /* bytes of parcels; of free ones that are kept */
    struct parcel *free[PARCEL_CLASSES];
    size_t lanes_in_use; /* that have parcels */
    uint64_t next_seq;
    struct parcel *oldest, *newest;                  /* all parcels */
    struct parcel *first_lingering, *last_lingering; /* open ones, by age: the first is due first */
    struct lane_list ready, blocked;
    unsigned flushing; /* calls that want everything sent at once */
    unsigned starving; /* calls that wait for memory */
};

void accumulator_init(struct accumulator *a, const struct settings *s, bool has_opaques);
/* All parcels must have been released. */
void accumulator_deinit(struct accumulator *a);

/* Adds a record (without deltas) to its lane's open parcel. False: there is none, or it is full. */
bool accumulator_add(struct accumulator *a, struct lane *lane, const struct record *r,
                     int64_t timestamp_ms, void *opaque, size_t *size);
/*
 * After that: closes the open parcel and adds the record to a new one. E_WOULD_BLOCK: no memory
 * now. E_MESSAGE_TOO_LARGE: never. *wake is set if the sender has something to do that it does not
 * know of; it is not cleared.
 */
err accumulator_open(struct accumulator *a, struct lane *lane, const struct record *r,
                     int64_t timestamp_ms, void *opaque, int64_t now_us, size_t *size,
                     bool *wake) MUST_USE;
/* The opaque pointer of the i-th record. */
static inline void *parcel_opaque(const struct parcel *p, uint32_t i)
{
    void *opaque;
    memcpy(&opaque, p->bytes + p->capacity - (i + 1) * sizeof opaque, sizeof opaque);
    return opaque;
}

/* Marks what has lingered long enough, or all of it if somebody flushes or starves. */
void accumulator_make_due(struct accumulator *a, int64_t now_us);
/* When the next parcel becomes due; INT64_MAX: none. */
int64_t accumulator_next_due_us(const struct accumulator *a);

/* The sender's side of a lane. */
struct lane *accumulator_next_ready(struct accumulator *a); /* takes it off the list; NULL: none */
void accumulator_block(struct accumulator *a,
                       struct lane *lane); /* something is missing: unblock brings it back */
void accumulator_unblock_all(struct accumulator *a);
/* May a lane that is on no list be sent from? Puts it on `ready` then. */
void accumulator_consider(struct accumulator *a, struct lane *lane);
/* Takes parcels from the front for one request: as many as fit in size_max, at least one. They are
 * chained by next; returns how many, *first the first, *size their bytes. */
size_t accumulator_take(struct accumulator *a, struct lane *lane, size_t size_max,
                        struct parcel **first, size_t *size);
/* Would take find anything, and how large is its first parcel? 0: nothing. */
size_t accumulator_peek_size(const struct accumulator *a, const struct lane *lane);
/* A request of the lane ended; count parcels from first on must be sent again. */
void accumulator_give_back(struct accumulator *a, struct lane *lane, struct parcel *first,
                           size_t count);
/* The same, but they ended, with the outcome in each. */
void accumulator_finish(struct accumulator *a, struct lane *lane, struct parcel *first,
                        size_t count);
/* Fails a parcel that is not under way, and takes it for done. */
void accumulator_fail(struct accumulator *a, struct parcel *p);
/* Takes the done parcels from the lane's front, chained by next. They still count as undelivered.
 */
struct parcel *accumulator_collect(struct accumulator *a, struct lane *lane);
/* A collected parcel's memory is free again. */
void accumulator_release(struct accumulator *a, struct parcel *p);

#endif
