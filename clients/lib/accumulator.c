/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/lib/accumulator.h"

#include "proto/base/check.h"
#include "proto/wire/batch.h"

void accumulator_init(struct accumulator *a, const struct settings *s, bool has_opaques)
{
    *a = (struct accumulator){
        .batch_size = s->producer.batch_size,
        .memory_max = s->producer.buffer_memory,
        .linger_us = s->producer.linger_us,
        .has_opaques = has_opaques,
        /* Without retries nothing can be overtaken; acks=0 knows none. */
        .inflight_max = s->producer.retries == 0 || s->producer.acks == 0
                            ? (unsigned)s->producer.inflight_max
                            : 1,
        .next_seq = 1,
    };
}

/* --- memory ------------------------------------------------------------------------------------
 *
 * Parcels come in sizes: batch_size, or a power of two from PARCEL_SIZE_MIN on that is less. Each
 * size has its list of free ones, and the one freed last, whose memory is warm, goes out first. The
 * more lanes are in use, the smaller their parcels: each lane shall have one that fills and one
 * that is under way, and half of the memory to spare.
 */
enum { PARCEL_SIZE_MIN = 2048, PARCELS_PER_LANE = 4 };

static size_t memory_of(size_t capacity)
{
    return sizeof(struct parcel) + capacity;
}

static size_t size_of_class(const struct accumulator *a, unsigned c)
{
    const size_t size = (size_t)PARCEL_SIZE_MIN << c;
    return size < a->batch_size ? size : a->batch_size;
}

/* Of those kept: the largest that is at most size, at least the smallest. */
static unsigned class_for(const struct accumulator *a, size_t size)
{
    unsigned c = 0;
    while (c + 1 < PARCEL_CLASSES && size_of_class(a, c) < a->batch_size &&
           size_of_class(a, c + 1) <= size)
        c++;
    return c;
}

static struct parcel *free_take(struct accumulator *a, unsigned c)
{
    struct parcel *p = a->free[c];
    if (p) {
        a->free[c] = p->next;
        a->cached -= memory_of(p->capacity);
    }
    return p;
}

static void cache_shrink(struct accumulator *a, size_t size_max)
{
    for (unsigned c = PARCEL_CLASSES; c-- > 0;) {
        while (a->cached > size_max && a->free[c])
            mem_free(free_take(a, c));
    }
}

void accumulator_deinit(struct accumulator *a)
{
    CHECK(!a->oldest);
    CHECK(a->used == 0);
    CHECK(a->lanes_in_use == 0);
    cache_shrink(a, 0);
}

static struct parcel *memory_take(struct accumulator *a, size_t size, unsigned c)
{
    if (size > a->memory_max - a->used)
        return NULL;
    struct parcel *p = size == size_of_class(a, c) ? free_take(a, c) : NULL;
    if (!p) {
        cache_shrink(a, a->memory_max - a->used - size);
        p = mem_alloc(size);
    }
    a->used += size;
    CHECK(a->used + a->cached <= a->memory_max);
    *p = (struct parcel){.capacity = size - sizeof *p, .base_offset = -1, .log_append_time_ms = -1};
    return p;
}

/* need: of header, record and opaque pointer. */
static struct parcel *parcel_alloc(struct accumulator *a, size_t need)
{
    unsigned c = class_for(a, a->memory_max / (PARCELS_PER_LANE * (a->lanes_in_use + 1)));
    struct parcel *p = NULL;
    while (memory_of(need) > size_of_class(a, c) && size_of_class(a, c) < a->batch_size)
        c++;
    if (memory_of(need) > size_of_class(a, c))
        return memory_take(a, memory_of(need), c);
    /* Where that is too much now, a smaller one is better than to wait. */
    do
        p = memory_take(a, size_of_class(a, c), c);
    while (!p && c-- > 0 && memory_of(need) <= size_of_class(a, c));
    return p;
}

static void parcel_free(struct accumulator *a, struct parcel *p)
{
    const size_t size = memory_of(p->capacity);
    const unsigned c = class_for(a, size);
    CHECK(a->used >= size);
    CHECK(p->borrowed == 0);
    mem_free(p->error);
    a->used -= size;
    if (size == size_of_class(a, c)) {
        p->next = a->free[c];
        a->free[c] = p;
        a->cached += size;
    } else {
        mem_free(p);
    }
}

/* --- lists -------------------------------------------------------------------------------------
 */

static struct lane_list *list_of(struct accumulator *a, enum lane_place place)
{
    return place == LANE_READY ? &a->ready : &a->blocked;
}

static void lane_move(struct accumulator *a, struct lane *lane, enum lane_place place)
{
    if (lane->place == place)
        return;
    if (lane->place != LANE_NOWHERE) {
        struct lane_list *from = list_of(a, lane->place);
        *(lane->prev ? &lane->prev->next : &from->first) = lane->next;
        *(lane->next ? &lane->next->prev : &from->last) = lane->prev;
    }
    lane->place = place;
    if (place == LANE_NOWHERE)
        return;
    struct lane_list *to = list_of(a, place);
    lane->prev = to->last;
    lane->next = NULL;
    *(to->last ? &to->last->next : &to->first) = lane;
    to->last = lane;
}

static void linger_begin(struct accumulator *a, struct parcel *p)
{
    p->is_lingering = true;
    p->prev = a->last_lingering;
    p->next_lingering = NULL;
    *(a->last_lingering ? &a->last_lingering->next_lingering : &a->first_lingering) = p;
    a->last_lingering = p;
}

static void linger_end(struct accumulator *a, struct parcel *p)
{
    if (!p->is_lingering)
        return;
    p->is_lingering = false;
    *(p->prev ? &p->prev->next_lingering : &a->first_lingering) = p->next_lingering;
    *(p->next_lingering ? &p->next_lingering->prev : &a->last_lingering) = p->prev;
}

static bool is_sendable(const struct parcel *p)
{
    return p && (p->is_closed || p->is_due);
}

void accumulator_consider(struct accumulator *a, struct lane *lane)
{
    if (lane->place == LANE_NOWHERE && lane->in_flight < a->inflight_max &&
        is_sendable(lane->unsent))
        lane_move(a, lane, LANE_READY);
}

static void parcel_due(struct accumulator *a, struct parcel *p)
{
    linger_end(a, p);
    p->is_due = true;
    accumulator_consider(a, p->lane);
}

static void parcel_close(struct accumulator *a, struct parcel *p)
{
    linger_end(a, p);
    p->is_closed = true;
}

/* --- adding records ----------------------------------------------------------------------------
 */

static size_t opaques_size(const struct accumulator *a, uint32_t count)
{
    return a->has_opaques ? count * sizeof(void *) : 0;
}

static struct parcel *parcel_begin(struct accumulator *a, struct lane *lane, const struct record *r,
                                   int64_t timestamp_ms, int64_t now_us)
{
    const struct record first = {
        .key = r->key, .value = r->value, .headers = r->headers, .header_count = r->header_count};
    struct parcel *p =
        parcel_alloc(a, BATCH_HEADER_SIZE + record_size(&first) + opaques_size(a, 1));
    if (!p)
        return NULL;
    p->lane = lane;
    p->seq = a->next_seq++;
    p->created_us = now_us;
    p->base_timestamp = p->max_timestamp = timestamp_ms;
    p->used = BATCH_HEADER_SIZE;
    p->prev_of_all = a->newest;
    *(a->newest ? &a->newest->next_of_all : &a->oldest) = p;
    a->newest = p;
    a->lanes_in_use += !lane->first;
    *(lane->last ? &lane->last->next : &lane->first) = p;
    lane->last = p;
    if (!lane->unsent)
        lane->unsent = p;
    lane->count++;
    return p;
}

/* False: it is closed, or full. */
static bool parcel_add(struct accumulator *a, struct parcel *p, const struct record *r,
                       int64_t timestamp_ms, void *opaque, size_t *size)
{
    struct record whole = *r;
    whole.offset_delta = p->record_count;
    if (p->is_closed ||
        __builtin_sub_overflow(timestamp_ms, p->base_timestamp, &whole.timestamp_delta))
        return false;
    *size = record_size(&whole);
    const size_t taken = p->used + opaques_size(a, p->record_count + 1);
    if (taken > p->capacity || *size > p->capacity - taken)
        return false;
    record_write(p->bytes + p->used, &whole);
    p->used += *size;
    p->record_count++;
    if (a->has_opaques)
        memcpy(p->bytes + p->capacity - opaques_size(a, p->record_count), &opaque, sizeof opaque);
    if (timestamp_ms > p->max_timestamp)
        p->max_timestamp = timestamp_ms;
    return true;
}

bool accumulator_add(struct accumulator *a, struct lane *lane, const struct record *r,
                     int64_t timestamp_ms, void *opaque, size_t *size)
{
    return lane->last && parcel_add(a, lane->last, r, timestamp_ms, opaque, size);
}

err accumulator_open(struct accumulator *a, struct lane *lane, const struct record *r,
                     int64_t timestamp_ms, void *opaque, int64_t now_us, size_t *size, bool *wake)
{
    struct parcel *p = lane->last;
    const bool may_send = lane->in_flight < a->inflight_max;
    if (p && !p->is_closed) {
        parcel_close(a, p);
        accumulator_consider(a, lane);
        *wake |= may_send;
    }
    p = parcel_begin(a, lane, r, timestamp_ms, now_us);
    if (!p)
        return memory_of(BATCH_HEADER_SIZE + record_size(r) + opaques_size(a, 1)) > a->memory_max
                   ? E_MESSAGE_TOO_LARGE
                   : E_WOULD_BLOCK;
    CHECK(parcel_add(a, p, r, timestamp_ms, opaque, size));
    if (a->linger_us == 0 || a->flushing || a->starving) {
        parcel_due(a, p);
        *wake |= may_send;
    } else {
        /* Whoever is behind another in this list is due later: the sender's timer is set. */
        *wake |= !a->first_lingering;
        linger_begin(a, p);
    }
    return OK;
}

/* --- sending ------------------------------------------------------------------------------------
 */

void accumulator_make_due(struct accumulator *a, int64_t now_us)
{
    const bool all = a->flushing || a->starving;
    while (a->first_lingering && (all || a->first_lingering->created_us + a->linger_us <= now_us))
        parcel_due(a, a->first_lingering);
}

int64_t accumulator_next_due_us(const struct accumulator *a)
{
    return a->first_lingering ? a->first_lingering->created_us + a->linger_us : INT64_MAX;
}

struct lane *accumulator_next_ready(struct accumulator *a)
{
    struct lane *lane = a->ready.first;
    if (lane)
        lane_move(a, lane, LANE_NOWHERE);
    return lane;
}

void accumulator_block(struct accumulator *a, struct lane *lane)
{
    lane_move(a, lane, LANE_BLOCKED);
}

void accumulator_unblock_all(struct accumulator *a)
{
    while (a->blocked.first)
        lane_move(a, a->blocked.first, LANE_READY);
}

size_t accumulator_peek_size(const struct accumulator *a, const struct lane *lane)
{
    return lane->in_flight < a->inflight_max && is_sendable(lane->unsent) ? lane->unsent->used : 0;
}

size_t accumulator_take(struct accumulator *a, struct lane *lane, size_t size_max,
                        struct parcel **first, size_t *size)
{
    CHECK(lane->in_flight < a->inflight_max);
    CHECK(is_sendable(lane->unsent));
    size_t count = 0;
    *first = lane->unsent;
    *size = 0;
    for (struct parcel *p = lane->unsent; is_sendable(p); p = p->next) {
        if (count && (*size + p->used > size_max || p->seq < lane->solo_below))
            break;
        parcel_close(a, p);
        p->is_in_flight = true;
        p->attempts++;
        *size += p->used;
        count++;
        lane->unsent = p->next;
        if (p->seq < lane->solo_below)
            break;
    }
    lane->in_flight++;
    return count;
}

void accumulator_give_back(struct accumulator *a, struct lane *lane, struct parcel *first,
                           size_t count)
{
    struct parcel *p = first;
    for (size_t i = 0; i < count; i++, p = p->next) {
        CHECK(p->is_in_flight);
        p->is_in_flight = false;
    }
    CHECK(lane->in_flight > 0);
    lane->in_flight--;
    lane->unsent = first;
    for (const struct parcel *q = lane->first; q != first; q = q->next)
        CHECK(q->is_done); /* invariant 2 */
    accumulator_consider(a, lane);
}

void accumulator_finish(struct accumulator *a, struct lane *lane, struct parcel *first,
                        size_t count)
{
    struct parcel *p = first;
    for (size_t i = 0; i < count; i++, p = p->next) {
        CHECK(p->is_in_flight);
        p->is_in_flight = false;
        p->is_done = true;
    }
    CHECK(lane->in_flight > 0);
    lane->in_flight--;
    accumulator_consider(a, lane);
}

void accumulator_fail(struct accumulator *a, struct parcel *p)
{
    struct lane *lane = p->lane;
    CHECK(!p->is_in_flight);
    parcel_close(a, p);
    p->is_done = true;
    while (lane->unsent && lane->unsent->is_done)
        lane->unsent = lane->unsent->next;
    if (!lane->unsent)
        lane_move(a, lane, LANE_NOWHERE);
}

struct parcel *accumulator_collect(struct accumulator *a, struct lane *lane)
{
    struct parcel *done = lane->first, *last = NULL;
    while (lane->first && lane->first->is_done) {
        last = lane->first;
        lane->first = last->next;
        lane->count--;
    }
    if (!last)
        return NULL;
    last->next = NULL;
    if (!lane->first) {
        lane->last = NULL;
        a->lanes_in_use--;
    }
    return done;
}

void accumulator_release(struct accumulator *a, struct parcel *p)
{
    *(p->prev_of_all ? &p->prev_of_all->next_of_all : &a->oldest) = p->next_of_all;
    *(p->next_of_all ? &p->next_of_all->prev_of_all : &a->newest) = p->prev_of_all;
    parcel_free(a, p);
}
