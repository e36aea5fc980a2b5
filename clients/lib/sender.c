/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The producer's loop side. One pass of the pump, at the end of a turn in which
 * anything changed:
 *
 *   due parcels -> ready lanes -> one request per broker at a time, filled up to max.request.size
 * -> sealed -> sent
 *
 * and an answer's way back: result per partition -> verdict (delivered, again,
 * alone, failed) -> parcels back to the lane's front, or done -> callbacks in the
 * order of sending -> memory free.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clients/lib/backoff.h"
#include "clients/lib/producer_priv.h"
#include "proto/base/check.h"
#include "proto/base/limits.h"
#include "proto/base/reader.h"
#include "proto/wire/batch.h"
#include "proto/wire/produce.h"

/* What a broker calls an offset may be any number: counting on from it must stay possible. */
#define OFFSET_MAX (INT64_MAX / 2)

/* Parcels of one lane in a request. */
struct part {
    struct lane *lane;
    struct parcel *first;
    size_t count, size;
};

/* A request, with one or more lanes of a broker: freed when it was answered and the connection
 * holds none of its bytes. */
struct dispatch {
    struct dispatch *next; /* of those made in one pass */
    struct sluice_producer *p;
    struct outlet *outlet;
    struct part *parts;
    size_t count, capacity;
    size_t size; /* bytes of batches, as they were before they were sealed */
    size_t parcel_count;
    unsigned references; /* the answer, and each piece that is borrowed */
};

/* A broker, as the sender sees it. */
struct outlet {
    struct outlet *next;
    struct node *node;
    int32_t inflight;      /* requests */
    struct dispatch *open; /* being filled in this pass */
};

enum verdict { DELIVERED, AGAIN, ALONE, FAILED };

static void pump_soon(sluice_producer *p)
{
    if (!p->is_closing)
        loop_defer(p->shell.loop, &p->pump);
}

/* With the mutex: lanes that miss something are looked at again. */
static void unblock(sluice_producer *p)
{
    accumulator_unblock_all(&p->acc);
    p->retry_at_us = INT64_MAX;
}

/* --- requests: making
 * -------------------------------------------------------------------------------- */

static struct outlet *outlet_of(sluice_producer *p, struct node *n)
{
    if (!n->user) {
        struct outlet *o = MEM_NEW(struct outlet);
        *o = (struct outlet){.next = p->outlets, .node = n};
        p->outlets = o;
        n->user = o;
    }
    return n->user;
}

static struct dispatch *dispatch_new(sluice_producer *p, struct outlet *o)
{
    struct dispatch *d = MEM_NEW(struct dispatch);
    *d = (struct dispatch){.p = p, .outlet = o, .references = 1};
    o->inflight++;
    o->open = d;
    return d;
}

static void dispatch_add(struct dispatch *d, struct lane *lane)
{
    if (d->count == d->capacity) {
        d->capacity = d->capacity ? 2 * d->capacity : 4;
        d->parts = mem_realloc(d->parts, d->capacity * sizeof *d->parts);
    }
    struct accumulator *a = &d->p->acc;
    const size_t max = d->p->settings.producer.request_size_max;
    struct part *part = &d->parts[d->count++];
    part->lane = lane;
    part->count =
        accumulator_take(a, lane, max > d->size ? max - d->size : 0, &part->first, &part->size);
    d->size += part->size;
    d->parcel_count += part->count;
}

/* The k-th parcel of a part, behind the one given. Without the mutex: behind the last parcel of a
 * request an application thread may just be adding another. */
static struct parcel *following(const struct part *part, size_t k, const struct parcel *parcel)
{
    return k < part->count ? parcel->next : NULL;
}

/* Partitions of a topic stand together in a request. */
static int part_order(const void *a, const void *b)
{
    const struct lane *x = ((const struct part *)a)->lane, *y = ((const struct part *)b)->lane;
    if (x->topic != y->topic)
        return (uintptr_t)x->topic < (uintptr_t)y->topic ? -1 : 1;
    return x->partition < y->partition ? -1 : x->partition > y->partition;
}

static void dispatch_unref(struct dispatch *d)
{
    CHECK(d->references > 0);
    if (--d->references)
        return;
    mem_free(d->parts);
    mem_free(d);
}

/* --- sealing: compression and checksum, by the loop alone
 * ----------------------------------------------- */

static struct target *target_of(const struct lane *lane)
{
    return lane->topic;
}

static enum batch_codec compress(sluice_producer *p, struct parcel *parcel)
{
    const enum batch_codec codec = p->settings.producer.codec;
    const struct slice records =
        slice_of(parcel->bytes + BATCH_HEADER_SIZE, parcel->used - BATCH_HEADER_SIZE);
    if (codec == CODEC_NONE)
        return CODEC_NONE;
    buf_clear(&p->compressed);
    if (codec_compress(p->codec, codec, p->settings.producer.codec_level, records,
                       &p->compressed) ||
        p->compressed.size >= records.size || records.size > codec_limit(p->compressed.size))
        return CODEC_NONE; /* what does not shrink, or shrinks more than readers believe, goes as it
                              is */
    memcpy(parcel->bytes + BATCH_HEADER_SIZE, p->compressed.data, p->compressed.size);
    parcel->wire_size = BATCH_HEADER_SIZE + p->compressed.size;
    return codec;
}

static void seal(sluice_producer *p, struct parcel *parcel)
{
    const struct target *t = target_of(parcel->lane);
    const uint32_t topic_crc =
        t->topic->has_id ? batch_topic_crc(&t->topic->id, (uint32_t)parcel->lane->partition) : 0;
    if (parcel->is_sealed && parcel->topic_crc == topic_crc)
        return;
    CHECK(parcel->borrowed == 0);
    struct batch b = {
        .record_count = parcel->record_count,
        .last_offset_delta = parcel->record_count - 1,
        .base_timestamp = parcel->base_timestamp,
        .max_timestamp = parcel->max_timestamp,
        .producer_id = -1,
        .producer_epoch = -1,
        .base_sequence = -1,
        .topic_crc = topic_crc,
    };
    if (parcel->is_sealed) {
        struct batch before;
        CHECK(batch_read_canonical(slice_of(parcel->bytes, parcel->wire_size), &before) == OK);
        b.attributes = before.attributes;
    } else {
        parcel->wire_size = parcel->used;
        b.attributes = (uint32_t)compress(p, parcel) | (uint32_t)BATCH_VERSION << 24;
    }
    b.records = slice_of(parcel->bytes + BATCH_HEADER_SIZE, parcel->wire_size - BATCH_HEADER_SIZE);
    b.batch_crc = batch_crc(&b);
    b.header_crc = batch_header_crc(b.base_offset, b.leader_epoch, b.batch_crc);
    batch_write_header(&b, parcel->bytes);
    parcel->is_sealed = true;
    parcel->topic_crc = topic_crc;
}

/* --- requests: sending
 * ------------------------------------------------------------------------------------ */

static void on_answer(void *arg, err e, struct slice response);

/* A connection let go of a parcel. */
struct loan {
    struct dispatch *d;
    struct parcel *parcel;
};

static void on_release(void *arg)
{
    struct loan *loan = arg;
    struct dispatch *d = loan->d;
    sluice_producer *p = d->p;
    CHECK(loan->parcel->borrowed > 0);
    loan->parcel->borrowed--;
    mem_free(loan);
    const bool was_last = d->references == 2;
    dispatch_unref(d);
    /* With acks=0 nothing else answers. */
    if (was_last && p->settings.producer.acks == 0)
        on_answer(d, OK, slice_of(NULL, 0));
    pthread_mutex_lock(&p->mutex);
    unblock(p);
    pthread_mutex_unlock(&p->mutex);
    pump_soon(p);
}

static size_t pieces_fill(struct dispatch *d, const size_t *head_sizes, const uint8_t *heads,
                          struct rpc_piece *pieces)
{
    size_t n = 0;
    const uint8_t *at = heads;
    for (size_t i = 0; i < d->count; i++) {
        pieces[n++] = (struct rpc_piece){.data = slice_of(at, head_sizes[i])};
        at += head_sizes[i];
        struct parcel *parcel = d->parts[i].first;
        for (size_t k = 0; k < d->parts[i].count;
             k++, parcel = following(&d->parts[i], k, parcel)) {
            struct loan *loan = MEM_NEW(struct loan);
            *loan = (struct loan){.d = d, .parcel = parcel};
            parcel->borrowed++;
            d->references++;
            pieces[n++] = (struct rpc_piece){.data = slice_of(parcel->bytes, parcel->wire_size),
                                             .release = on_release,
                                             .arg = loan};
        }
    }
    return n;
}

static void parts_fill(struct dispatch *d, struct produce_part *parts)
{
    const struct target *before = NULL;
    for (size_t i = 0; i < d->count; i++) {
        struct lane *lane = d->parts[i].lane;
        const struct target *t = target_of(lane);
        size_t size = 0;
        struct parcel *parcel = d->parts[i].first;
        for (size_t k = 0; k < d->parts[i].count;
             k++, parcel = following(&d->parts[i], k, parcel)) {
            seal(d->p, parcel);
            size += parcel->wire_size;
        }
        d->parts[i].size = size;
        parts[i] = (struct produce_part){
            .first_of_topic = t != before,
            .topic_name = slice_str(t->name),
            .topic_id = t->topic->has_id ? slice_of(t->topic->id.bytes, sizeof t->topic->id.bytes)
                                         : slice_of(NULL, 0),
            .partition = (uint32_t)lane->partition,
            .leader_epoch = lane->partition < t->topic->partition_count
                                ? t->topic->leaders[lane->partition].epoch
                                : -1,
            .batches = slice_of(NULL, size),
        };
        before = t;
    }
}

/* No answer is waited for longer than the oldest parcel may still take. */
static int64_t answer_timeout_us(const struct dispatch *d)
{
    const struct settings *s = &d->p->settings;
    int64_t oldest_us = INT64_MAX;
    for (size_t i = 0; i < d->count; i++) {
        if (d->parts[i].first->created_us < oldest_us)
            oldest_us = d->parts[i].first->created_us;
    }
    const int64_t left_us =
        oldest_us + s->producer.delivery_timeout_us - loop_now_us(d->p->shell.loop);
    const int64_t us = left_us < s->request_timeout_us ? left_us : s->request_timeout_us;
    return us > 1000 ? us : 1000;
}

static void dispatch_send(struct dispatch *d)
{
    sluice_producer *p = d->p;
    struct produce_part *parts = mem_alloc(d->count * sizeof *parts);
    size_t *head_sizes = mem_alloc(d->count * sizeof *head_sizes);
    uint8_t *heads = mem_alloc(d->count * produce_head_size_max());
    struct rpc_piece *pieces = mem_alloc((d->count + d->parcel_count) * sizeof *pieces);
    qsort(d->parts, d->count, sizeof *d->parts, part_order);
    parts_fill(d, parts);
    const int64_t timeout_us = answer_timeout_us(d);
    produce_request_heads(p->settings.producer.acks, (uint32_t)(timeout_us / 1000), parts, d->count,
                          heads, head_sizes);
    const size_t count = pieces_fill(d, head_sizes, heads, pieces);

    pthread_mutex_lock(&p->mutex);
    p->stats.requests++;
    p->stats.batches += d->parcel_count;
    for (size_t i = 0; i < d->count; i++)
        p->stats.bytes_written += d->parts[i].size;
    pthread_mutex_unlock(&p->mutex);

    const bool is_answered = p->settings.producer.acks != 0;
    link_send(&d->outlet->node->link, pieces, count, is_answered ? timeout_us : 0,
              is_answered ? on_answer : NULL, d);
    mem_free(parts);
    mem_free(head_sizes);
    mem_free(heads);
    mem_free(pieces);
}

/* --- outcomes
 * ---------------------------------------------------------------------------------------------- */

/* What happened to one part, from the wire or from its failure. */
struct outcome {
    struct wire_error error;
    int64_t base_offset, log_append_time_ms;
};

static enum verdict judge(const struct sluice_producer *p, const struct part *part,
                          const struct outcome *o)
{
    if (o->error.code == OK)
        return DELIVERED;
    /* One batch of several may be what is wrong: each is tried alone, in order. */
    if (o->error.err_class == CLASS_CALLER && part->count > 1 && p->acc.inflight_max == 1)
        return ALONE;
    if (!class_is_retriable(o->error.err_class))
        return FAILED;
    const struct parcel *first = part->first;
    const int64_t expires_us = first->created_us + p->settings.producer.delivery_timeout_us;
    /* More than one under way means that nothing is ever tried again. */
    if (p->acc.inflight_max > 1 || first->attempts > (unsigned)p->settings.producer.retries ||
        loop_now_us(p->shell.loop) >= expires_us)
        return FAILED;
    return AGAIN;
}

static struct sluice_error *failure_new(const struct lane *lane, const struct node *n,
                                        const struct wire_error *w, unsigned attempts)
{
    struct sluice_error *error = MEM_NEW(struct sluice_error);
    char node[NODE_TEXT], where[sizeof error->where], more[64];
    snprintf(where, sizeof where, "topic %.*s partition %d%s%s", TOPIC_NAME_MAX,
             target_of(lane)->name, lane->partition, n ? ", " : "", n ? node_text(n, node) : "");
    problem_wire(error, w, "produce", where);
    if (attempts > 1) {
        snprintf(more, sizeof more, ", after %u attempts", attempts);
        const size_t length = strlen(error->text);
        snprintf(error->text + length, sizeof error->text - length, "%s", more);
    }
    return error;
}

static void part_deliver(struct part *part, const struct outcome *o)
{
    int64_t offset = o->base_offset;
    struct parcel *parcel = part->first;
    for (size_t k = 0; k < part->count; k++, parcel = parcel->next) {
        parcel->base_offset = offset;
        parcel->log_append_time_ms = o->log_append_time_ms;
        if (offset >= 0)
            offset += parcel->record_count;
    }
}

static void part_fail(struct part *part, const struct node *n, const struct outcome *o)
{
    struct parcel *parcel = part->first;
    for (size_t k = 0; k < part->count; k++, parcel = parcel->next)
        parcel->error = failure_new(part->lane, n, &o->error, parcel->attempts);
}

static void part_again(sluice_producer *p, struct part *part)
{
    struct lane *lane = part->lane;
    lane->failures++;
    lane->retry_at_us = loop_now_us(p->shell.loop) + backoff_us(p->settings.retry_backoff_us,
                                                                p->settings.retry_backoff_max_us,
                                                                lane->failures, &p->loop_rng);
    p->stats.retries += part->count;
    accumulator_give_back(&p->acc, lane, part->first, part->count);
}

/* With the mutex. */
static void part_end(sluice_producer *p, struct part *part, const struct node *n,
                     const struct outcome *o)
{
    struct lane *lane = part->lane;
    const struct parcel *last = part->first;
    switch (judge(p, part, o)) {
    case DELIVERED:
        lane->failures = 0;
        part_deliver(part, o);
        accumulator_finish(&p->acc, lane, part->first, part->count);
        break;
    case AGAIN:
        part_again(p, part);
        break;
    case ALONE:
        for (size_t k = 1; k < part->count; k++)
            last = last->next;
        lane->solo_below = last->seq + 1;
        accumulator_give_back(&p->acc, lane, part->first, part->count);
        break;
    case FAILED:
        part_fail(part, n, o);
        accumulator_finish(&p->acc, lane, part->first, part->count);
        break;
    }
}

/* --- telling the application
 * -------------------------------------------------------------------------------- */

static void tell_parcel(sluice_producer *p, const struct parcel *parcel)
{
    struct sluice_delivery d = {
        .error = parcel->error,
        .topic = target_of(parcel->lane)->name,
        .partition = parcel->lane->partition,
        .offset = parcel->base_offset,
        .log_append_time_ms = parcel->log_append_time_ms,
    };
    for (uint32_t i = 0; i < parcel->record_count; i++) {
        d.opaque = parcel_opaque(parcel, i);
        p->callbacks.on_delivery(p->callbacks.user, &d);
        if (d.offset >= 0)
            d.offset++;
    }
}

/* Calls back for a chain of parcels that were collected, then frees them. Without the mutex. */
static void tell(sluice_producer *p, struct parcel *done)
{
    if (!done)
        return;
    if (p->callbacks.on_delivery) {
        shell_callback_begin(&p->shell);
        for (const struct parcel *parcel = done; parcel; parcel = parcel->next)
            tell_parcel(p, parcel);
        shell_callback_end(&p->shell);
    }
    pthread_mutex_lock(&p->mutex);
    while (done) {
        struct parcel *parcel = done;
        done = done->next;
        *(parcel->error ? &p->stats.records_failed : &p->stats.records_acked) +=
            parcel->record_count;
        if (parcel->error && !p->has_failed) {
            p->has_failed = true;
            p->first_failure = *parcel->error;
        }
        if (parcel->borrowed) {
            /* The connection still has it: freed when the pump finds that it let go. */
            parcel->next = p->released;
            p->released = parcel;
        } else {
            accumulator_release(&p->acc, parcel);
        }
    }
    pthread_mutex_unlock(&p->mutex);
    shell_notify(&p->shell);
}

/* Frees what was told while a connection still held it. With the mutex. True: some memory came
 * free. */
static bool reap(sluice_producer *p)
{
    bool freed = false;
    for (struct parcel **at = &p->released; *at;) {
        struct parcel *parcel = *at;
        if (parcel->borrowed) {
            at = &parcel->next;
            continue;
        }
        *at = parcel->next;
        accumulator_release(&p->acc, parcel);
        freed = true;
    }
    return freed;
}

/* --- answers
 * --------------------------------------------------------------------------------------------------
 */

static bool is_about(const struct produce_result *r, const struct part *part, const char *topic)
{
    return r->partition == (uint32_t)part->lane->partition &&
           (!r->topic_name.size || slice_eq(r->topic_name, slice_str(topic)));
}

/* Results come in the order of the request. One that does not is an answer to something else. */
static void outcomes_read(struct dispatch *d, struct slice body, struct outcome *outcomes)
{
    struct client *cl = d->p->client;
    struct produce_response_cursor cursor;
    struct produce_result r;
    produce_response_begin(&cursor, body);
    for (size_t i = 0; i < d->count; i++) {
        const struct part *part = &d->parts[i];
        const struct target *t = target_of(part->lane);
        if (produce_response_next(&cursor, &r) || !is_about(&r, part, t->name)) {
            for (; i < d->count; i++)
                outcomes[i].error = wire_error_of(E_CORRUPT);
            return;
        }
        outcomes[i] =
            (struct outcome){.error = wire_error_result(r.error, r.error_class, r.error_message),
                             .base_offset = r.error ? -1 : r.base_offset,
                             .log_append_time_ms = r.error ? -1 : r.log_append_time_ms};
        if (r.base_offset < 0 || r.base_offset > OFFSET_MAX)
            outcomes[i].base_offset = -1;
        if (r.error && r.leader_id >= 0)
            client_hint_leader(cl, t->topic, part->lane->partition, r.leader_id, r.leader_host,
                               r.leader_port, r.leader_epoch);
    }
}

static void outcomes_fill(struct dispatch *d, err e, struct slice response,
                          struct outcome *outcomes)
{
    struct slice body = {0};
    const bool is_answered = d->p->settings.producer.acks != 0;
    const struct wire_error error =
        is_answered ? call_answer(API_PRODUCE, e, response, &body) : wire_error_of(OK);
    for (size_t i = 0; i < d->count; i++)
        outcomes[i] = (struct outcome){.error = error, .base_offset = -1, .log_append_time_ms = -1};
    if (is_answered && error.code == OK)
        outcomes_read(d, body, outcomes);
}

static void on_answer(void *arg, err e, struct slice response)
{
    struct dispatch *d = arg;
    sluice_producer *p = d->p;
    struct node *n = d->outlet->node;
    struct outcome *outcomes = mem_alloc(d->count * sizeof *outcomes);
    outcomes_fill(d, e, response, outcomes);
    if (e == E_TIMED_OUT && !p->is_closing)
        link_reset(&n->link, E_TIMED_OUT);
    d->outlet->inflight--;

    bool must_refresh = false;
    struct parcel *done = NULL, **end = &done;
    pthread_mutex_lock(&p->mutex);
    for (size_t i = 0; i < d->count; i++) {
        must_refresh |= outcomes[i].error.err_class == CLASS_REROUTE ||
                        outcomes[i].error.err_class == CLASS_STORAGE;
        part_end(p, &d->parts[i], n, &outcomes[i]);
        *end = accumulator_collect(&p->acc, d->parts[i].lane);
        while (*end)
            end = &(*end)->next;
    }
    unblock(p);
    pthread_mutex_unlock(&p->mutex);
    mem_free(outcomes);
    dispatch_unref(d);
    tell(p, done);
    if (p->is_closing)
        return;
    if (must_refresh)
        client_refresh(p->client);
    pump_soon(p);
}

/* --- the pump
 * -------------------------------------------------------------------------------------------------
 */

/* Parcels that were not delivered in time, unless they are under way: the request's own deadline is
 * theirs. */
static struct parcel *expire(sluice_producer *p, int64_t now_us)
{
    struct parcel *done = NULL, **end = &done;
    struct parcel *next;
    for (struct parcel *parcel = p->acc.oldest; parcel; parcel = next) {
        next = parcel->next_of_all;
        if (parcel->created_us + p->settings.producer.delivery_timeout_us > now_us)
            break;
        if (parcel->is_in_flight || parcel->is_done || parcel->borrowed)
            continue;
        struct buf why = {0};
        struct target *t = target_of(parcel->lane);
        buf_printf(&why, "not delivered within delivery.timeout.ms");
        if (!client_leader(p->client, t->topic, parcel->lane->partition)) {
            buf_printf(&why, "; the partition has no leader that is known");
            if (t->topic->error) {
                buf_printf(&why, ": ");
                client_explain(p->client, t->topic, &why);
            }
        }
        struct wire_error late = wire_error_of(E_TIMED_OUT);
        late.message = buf_slice(&why);
        parcel->error =
            failure_new(parcel->lane, client_leader(p->client, t->topic, parcel->lane->partition),
                        &late, parcel->attempts);
        buf_deinit(&why);
        accumulator_fail(&p->acc, parcel);
        *end = accumulator_collect(&p->acc, parcel->lane);
        while (*end)
            end = &(*end)->next;
    }
    return done;
}

/* What one pass of the pump finds out and makes. */
struct pass {
    int64_t now_us;
    int64_t again_us; /* when time alone may change something */
    bool needs_leader;
    struct dispatch *first, **end;
};

static void pass_at(struct pass *pass, int64_t us)
{
    if (us < pass->again_us)
        pass->again_us = us;
}

/* Where a lane's parcels may be sent now; NULL: nowhere. */
static struct outlet *route(sluice_producer *p, struct lane *lane, struct pass *pass)
{
    if (lane->retry_at_us > pass->now_us) {
        if (lane->retry_at_us < p->retry_at_us)
            p->retry_at_us = lane->retry_at_us;
        return NULL;
    }
    struct node *n = client_leader(p->client, target_of(lane)->topic, lane->partition);
    if (!n) {
        pass->needs_leader = true;
        return NULL;
    }
    return lane->unsent->borrowed || !link_is_usable(&n->link) ? NULL : outlet_of(p, n);
}

/* Into the broker's open request, or a new one. False: it has as many as it may. */
static bool lane_dispatch(sluice_producer *p, struct outlet *o, struct lane *lane,
                          struct pass *pass)
{
    const size_t size = accumulator_peek_size(&p->acc, lane);
    if (o->open && o->open->size + size > p->settings.producer.request_size_max)
        o->open = NULL;
    if (!o->open) {
        if (o->inflight >= p->settings.producer.inflight_max)
            return false;
        *pass->end = dispatch_new(p, o);
        pass->end = &(*pass->end)->next;
    }
    dispatch_add(o->open, lane);
    return true;
}

/* With the mutex: takes what may be sent now. */
static void pass_fill(sluice_producer *p, struct pass *pass)
{
    struct lane *lane;
    while ((lane = accumulator_next_ready(&p->acc))) {
        if (accumulator_peek_size(&p->acc, lane) == 0)
            continue;
        struct outlet *o = route(p, lane, pass);
        if (!o || !lane_dispatch(p, o, lane, pass))
            accumulator_block(&p->acc, lane);
        else
            accumulator_consider(&p->acc, lane);
    }
    for (struct outlet *o = p->outlets; o; o = o->next)
        o->open = NULL;
}

static void on_timer(void *arg)
{
    sluice_producer *p = arg;
    pthread_mutex_lock(&p->mutex);
    unblock(p);
    pthread_mutex_unlock(&p->mutex);
    pump_soon(p);
}

static void pass_plan(sluice_producer *p, struct pass *pass)
{
    pass_at(pass, p->retry_at_us);
    pass_at(pass, accumulator_next_due_us(&p->acc));
    for (const struct parcel *parcel = p->acc.oldest; parcel; parcel = parcel->next_of_all) {
        const int64_t expires_us = parcel->created_us + p->settings.producer.delivery_timeout_us;
        if (expires_us > pass->now_us) {
            pass_at(pass, expires_us);
            break;
        }
    }
}

static void pump(struct deferred *deferred)
{
    sluice_producer *p = (sluice_producer *)((char *)deferred - offsetof(sluice_producer, pump));
    if (p->is_closing)
        return;
    struct pass pass = {.now_us = loop_now_us(p->shell.loop), .again_us = INT64_MAX};
    pass.end = &pass.first;
    pthread_mutex_lock(&p->mutex);
    const bool freed = reap(p);
    accumulator_make_due(&p->acc, pass.now_us);
    struct parcel *late = expire(p, pass.now_us);
    pass_fill(p, &pass);
    pass_plan(p, &pass);
    pthread_mutex_unlock(&p->mutex);

    if (pass.again_us != INT64_MAX)
        timer_start(p->shell.loop, &p->timer, pass.again_us - pass.now_us, on_timer, p);
    else
        timer_stop(p->shell.loop, &p->timer);
    while (pass.first) {
        struct dispatch *d = pass.first;
        pass.first = d->next;
        dispatch_send(d);
    }
    if (pass.needs_leader)
        client_refresh(p->client);
    if (freed)
        shell_notify(&p->shell);
    tell(p, late);
}

/* --- topics
 * -----------------------------------------------------------------------------------------------------
 */

static void target_explain(sluice_producer *p, struct target *t)
{
    struct buf text = {0};
    client_explain(p->client, t->topic, &text);
    mem_free(t->explanation);
    t->explanation = mem_printf("%.*s", (int)text.size, (const char *)text.data);
    buf_deinit(&text);
    const struct wire_error why = client_topic_error(p->client, t->topic);
    t->error = why.code;
    t->error_class = why.err_class;
}

static void target_grow(struct target *t, int32_t count)
{
    if (count <= t->lane_count)
        return;
    t->lanes = mem_realloc(t->lanes, (size_t)count * sizeof(struct lane *));
    t->loads = mem_realloc(t->loads, (size_t)count * sizeof *t->loads);
    for (int32_t i = t->lane_count; i < count; i++) {
        t->lanes[i] = MEM_NEW(struct lane);
        *t->lanes[i] = (struct lane){.topic = t, .partition = i};
    }
    t->lane_count = count;
}

static void target_update(sluice_producer *p, struct target *t)
{
    const struct topic *topic = t->topic;
    if (!topic->is_known || topic->error || topic->partition_count == 0) {
        if (!t->is_ready)
            target_explain(p, t);
        return;
    }
    target_grow(t, topic->partition_count);
    for (int32_t i = 0; i < t->lane_count; i++)
        t->lanes[i]->has_leader = i < topic->partition_count && topic->leaders[i].id >= 0;
    if (t->sticky >= 0 && !t->lanes[t->sticky]->has_leader)
        t->sticky = -1;
    t->is_ready = true;
}

static void on_metadata(void *user)
{
    sluice_producer *p = user;
    pthread_mutex_lock(&p->mutex);
    for (struct target *t = p->targets; t; t = t->hh.next) {
        if (t->topic)
            target_update(p, t);
    }
    unblock(p);
    pthread_mutex_unlock(&p->mutex);
    shell_notify(&p->shell);
    pump_soon(p);
}

static void on_node(void *user, struct node *n)
{
    sluice_producer *p = user;
    (void)n;
    pthread_mutex_lock(&p->mutex);
    unblock(p);
    pthread_mutex_unlock(&p->mutex);
    pump_soon(p);
}

/* With the mutex: asks for topics that are new, forgets those that nobody waits for any more. */
static void targets_review(sluice_producer *p)
{
    struct target *t, *next;
    if (!p->targets_changed)
        return;
    p->targets_changed = false;
    HASH_ITER(hh, p->targets, t, next)
    {
        if (!t->is_wanted) {
            t->is_wanted = true;
            t->topic = client_want_topic(p->client, t->name);
            target_update(p, t);
        } else if (!t->is_ready && t->waiters == 0) {
            HASH_DEL(p->targets, t);
            if (p->last == t)
                p->last = NULL;
            client_unwant_topic(p->client, t->topic);
            target_free(t);
        }
    }
}

void sender_on_mail(struct mail *m)
{
    sluice_producer *p = (sluice_producer *)((char *)m - offsetof(sluice_producer, mail));
    if (p->is_closing)
        return;
    pthread_mutex_lock(&p->mutex);
    p->is_posted = false;
    targets_review(p);
    pthread_mutex_unlock(&p->mutex);
    pump_soon(p);
}

/* --- life
 * ---------------------------------------------------------------------------------------------------------
 */

static const struct client_events events = {.on_metadata = on_metadata, .on_node = on_node};

void sender_init(sluice_producer *p)
{
    p->pump.fn = pump;
    p->retry_at_us = INT64_MAX;
    p->codec = codec_ctx_new();
    p->client = client_new(p->shell.loop, &p->settings, &p->loop_rng, &events, p);
}

static void fail_all(sluice_producer *p)
{
    struct wire_error closed = wire_error_of(E_CANCELLED);
    closed.message = slice_str("the producer was closed");
    struct parcel *done = NULL, **end = &done;
    p->is_closed = true;
    for (struct parcel *parcel = p->acc.oldest; parcel; parcel = parcel->next_of_all) {
        CHECK(!parcel->is_in_flight);
        if (!parcel->is_done) {
            parcel->error = failure_new(parcel->lane, NULL, &closed, parcel->attempts);
            accumulator_fail(&p->acc, parcel);
        }
    }
    for (const struct target *t = p->targets; t; t = t->hh.next) {
        for (int32_t i = 0; i < t->lane_count; i++) {
            *end = accumulator_collect(&p->acc, t->lanes[i]);
            while (*end)
                end = &(*end)->next;
        }
    }
    tell(p, done);
}

void sender_deinit(sluice_producer *p)
{
    p->is_closing = true;
    timer_stop(p->shell.loop, &p->timer);
    client_free(p->client);
    /* Closed connections let go of what they borrowed at the end of a turn. */
    shell_settle(&p->shell);
    reap(p);
    fail_all(p);
    CHECK(!p->released);
    while (p->outlets) {
        struct outlet *o = p->outlets;
        p->outlets = o->next;
        mem_free(o);
    }
    codec_ctx_free(p->codec);
    buf_deinit(&p->compressed);
}
