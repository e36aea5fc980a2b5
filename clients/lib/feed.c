/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "clients/lib/consumer_priv.h"
#include "proto/base/check.h"

/* Of a partition, in answers of max.partition.fetch.bytes: enough to have the next at hand, little
 * enough for the cache to hold it until it is read. */
enum { FETCH_AHEAD = 4, CHUNK_BYTES_MIN = 16 * KIB, ANSWER_BYTES_MIN = KIB };

/* --- lists -------------------------------------------------------------------------------------
 */

static struct feed_list *list_of(struct sluice_consumer *c, enum feed_place place)
{
    return place == FEED_TODO ? &c->todo : &c->blocked;
}

void feed_to(struct sluice_consumer *c, struct feed *f, enum feed_place place)
{
    if (f->place == place)
        return;
    if (f->place != FEED_NOWHERE) {
        struct feed_list *from = list_of(c, f->place);
        *(f->prev ? &f->prev->next : &from->first) = f->next;
        *(f->next ? &f->next->prev : &from->last) = f->prev;
    }
    f->place = place;
    if (place == FEED_NOWHERE)
        return;
    struct feed_list *to = list_of(c, place);
    f->prev = to->last;
    f->next = NULL;
    *(to->last ? &to->last->next : &to->first) = f;
    to->last = f;
}

void feed_unblock_all(struct sluice_consumer *c)
{
    while (c->blocked.first)
        feed_to(c, c->blocked.first, FEED_TODO);
}

void feed_deliver(struct sluice_consumer *c, struct feed *f)
{
    if (f->is_delivering || f->is_paused || !f->is_assigned)
        return;
    f->is_delivering = true;
    f->deliver_prev = c->deliver.last;
    f->deliver_next = NULL;
    *(c->deliver.last ? &c->deliver.last->deliver_next : &c->deliver.first) = f;
    c->deliver.last = f;
}

void feed_undeliver(struct sluice_consumer *c, struct feed *f)
{
    if (!f->is_delivering)
        return;
    f->is_delivering = false;
    *(f->deliver_prev ? &f->deliver_prev->deliver_next : &c->deliver.first) = f->deliver_next;
    *(f->deliver_next ? &f->deliver_next->deliver_prev : &c->deliver.last) = f->deliver_prev;
}

/* --- chunks -------------------------------------------------------------------------------------
 */

/* One of the free ones that is large enough, else a new one: page faults of new memory cost more
 * than the copy. */
struct chunk *chunk_take(struct sluice_consumer *c, size_t size)
{
    struct chunk *chunk = NULL;
    for (struct chunk **at = &c->free; *at; at = &(*at)->next) {
        if ((*at)->capacity >= size) {
            chunk = *at;
            *at = chunk->next;
            c->free_bytes -= chunk->capacity;
            break;
        }
    }
    if (!chunk) {
        const size_t usual = c->settings.consumer.partition_max_bytes;
        size_t capacity = CHUNK_BYTES_MIN;
        while (capacity < size)
            capacity *= 2;
        if (capacity > usual && size <= usual)
            capacity = usual;
        chunk = mem_alloc(sizeof *chunk + capacity);
        chunk->capacity = capacity;
    }
    chunk->next = NULL;
    chunk->size = size;
    c->queued += size;
    return chunk;
}

void chunk_give(struct sluice_consumer *c, struct chunk *chunk)
{
    CHECK(c->queued >= chunk->size);
    c->queued -= chunk->size;
    if (c->queued + c->free_bytes + chunk->capacity > c->settings.consumer.queued_max_bytes) {
        mem_free(chunk);
        return;
    }
    chunk->next = c->free;
    c->free = chunk;
    c->free_bytes += chunk->capacity;
}

/* --- what a feed needs
 * ---------------------------------------------------------------------------- */

bool feed_wants_locate(const struct feed *f)
{
    return f->is_assigned && !f->is_stopped && !f->is_located && !f->is_busy;
}

static size_t share_of(const struct sluice_consumer *c)
{
    return c->settings.consumer.queued_max_bytes / (c->feed_count ? c->feed_count : 1);
}

size_t feed_answer_bytes(const struct sluice_consumer *c)
{
    const size_t share = share_of(c) > ANSWER_BYTES_MIN ? share_of(c) : ANSWER_BYTES_MIN;
    const size_t usual = c->settings.consumer.partition_max_bytes;
    return usual < share ? usual : share;
}

bool feed_wants_fetch(const struct sluice_consumer *c, const struct feed *f)
{
    if (!f->is_assigned || f->is_stopped || f->is_paused || !f->is_located || f->is_busy ||
        f->event)
        return false;
    const size_t ahead = (size_t)FETCH_AHEAD * c->settings.consumer.partition_max_bytes;
    const size_t max = share_of(c) < ahead ? share_of(c) : ahead;
    return f->queued == 0 || f->queued + feed_answer_bytes(c) <= max;
}

/* Views of the last poll may point into what was being read. */
static void drop_fetched(struct sluice_consumer *c, struct feed *f)
{
    while (f->first) {
        struct chunk *chunk = f->first;
        f->first = chunk->next;
        chunk_give(c, chunk);
    }
    f->last = NULL;
    f->queued = 0;
    if (f->current) {
        f->current->next = c->retired;
        c->retired = f->current;
        f->current = NULL;
    }
    if (f->decoded) {
        f->decoded->next = c->retired_decoded;
        c->retired_decoded = f->decoded;
        f->decoded = NULL;
    }
    f->is_in_batch = false;
}

static void event_drop(struct feed *f)
{
    mem_free(f->event);
    f->event = NULL;
}

void feed_seek(struct sluice_consumer *c, struct feed *f, int64_t sought, bool is_time)
{
    f->epoch++;
    f->is_stopped = false;
    f->has_reset_from = false;
    f->failures = 0;
    f->retry_at_us = 0;
    f->corrupt_at = f->end_told_at = -1;
    drop_fetched(c, f);
    event_drop(f);
    feed_undeliver(c, f);
    f->is_located = !is_time && sought >= 0;
    f->sought = sought;
    f->sought_is_time = is_time;
    if (f->is_located)
        f->position = f->fetch_at = sought;
    feed_to(c, f, FEED_TODO);
}

void feed_located(struct sluice_consumer *c, struct feed *f, int64_t offset)
{
    f->is_located = true;
    f->fetch_at = offset;
    f->failures = 0;
    if (!f->has_reset_from) {
        f->position = offset;
        feed_to(c, f, FEED_TODO);
        return;
    }
    /* Poll has to give out what is queued, and to tell of the jump, before anything from there on
     * is read. */
    f->has_reset_from = false;
    event_drop(f);
    f->event = MEM_NEW(struct feed_event);
    *f->event = (struct feed_event){
        .type = SLUICE_EVENT_RESET, .from = f->reset_from, .error = f->reset_error};
    feed_deliver(c, f);
}

void feed_reset(struct sluice_consumer *c, struct feed *f, const struct wire_error *why,
                int64_t low, int64_t high)
{
    static const int64_t places[] = {
        [RESET_EARLIEST] = SLUICE_OFFSET_BEGINNING, [RESET_LATEST] = SLUICE_OFFSET_END};
    char where[sizeof f->reset_error.where];
    snprintf(where, sizeof where, "topic %s partition %d offset %lld", f->topic_name, f->partition,
             (long long)f->fetch_at);
    f->epoch++;
    if (c->settings.consumer.reset == RESET_NONE) {
        feed_fail(c, f, why, "fetch", where, true);
        return;
    }
    f->is_located = false;
    f->sought = places[c->settings.consumer.reset];
    f->sought_is_time = false;
    f->has_reset_from = true;
    f->reset_from = f->fetch_at;
    problem_wire(&f->reset_error, why, "fetch", where);
    const int64_t offset = c->settings.consumer.reset == RESET_EARLIEST ? low : high;
    if (offset >= 0)
        feed_located(c, f, offset);
    else
        feed_to(c, f, FEED_TODO);
}

void feed_fail(struct sluice_consumer *c, struct feed *f, const struct wire_error *why,
               const char *tried, const char *where, bool stop)
{
    f->is_stopped |= stop;
    if (f->event && !stop)
        return;
    event_drop(f);
    f->event = MEM_NEW(struct feed_event);
    f->event->type = SLUICE_EVENT_ERROR;
    problem_wire(&f->event->error, why, tried, where);
    feed_deliver(c, f);
}

void feed_deinit(struct sluice_consumer *c, struct feed *f)
{
    feed_undeliver(c, f);
    feed_to(c, f, FEED_NOWHERE);
    drop_fetched(c, f);
    event_drop(f);
}
