/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The consumer's loop side. One pass of the pump, at the end of a turn in which
 * anything changed: every feed on `todo` goes into a request to its leader (one
 * ListOffsets and one Fetch per broker and pass), or is blocked, or needs nothing.
 *
 * A broker may hold several fetches at a time: those that wait for idle
 * partitions must not delay one that was just read empty. A partition is in
 * one of them at most.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clients/lib/backoff.h"
#include "clients/lib/consumer_priv.h"
#include "proto/base/check.h"
#include "proto/schema/list_offsets.pb-c.h"
#include "proto/wire/batch.h"
#include "proto/wire/fetch.h"

enum {
    FETCHES_MAX = 5,          /* to one broker at a time */
    ANSWER_BYTES = 4 * MIB,   /* enough for throughput, and soon there */
    FAILURES_BEFORE_TOLD = 5, /* in a row: what heals sooner is nobody's concern */
    ANSWER_ARENA_BYTES = 8 * MIB,
};

/* A feed in a request. */
struct entry {
    struct feed *feed;
    uint32_t epoch;
    size_t reserved;
};

struct request_of_feeds {
    struct request_of_feeds *next; /* made in this pass */
    struct sluice_consumer *c;
    struct fetch_outlet *outlet;
    struct entry *entries;
    size_t count, capacity;
};

/* A broker, as the fetcher sees it. */
struct fetch_outlet {
    struct fetch_outlet *next;
    struct node *node;
    unsigned fetches;
    struct request_of_feeds *fetch, *locate; /* being made in this pass */
};

static void pump_soon(sluice_consumer *c)
{
    if (!c->is_closing)
        loop_defer(c->shell.loop, &c->pump);
}

/* With the mutex: feeds that miss something are looked at again. */
static void unblock(sluice_consumer *c)
{
    feed_unblock_all(c);
    c->retry_at_us = INT64_MAX;
}

static void where_of(const struct feed *f, const struct node *n, char *text, size_t size)
{
    char node[NODE_TEXT];
    snprintf(text, size, "topic %s partition %d%s%s", f->topic_name, f->partition, n ? ", " : "",
             n ? node_text(n, node) : "");
}

/* --- requests
 * ---------------------------------------------------------------------------------------- */

static struct request_of_feeds *request_new(sluice_consumer *c, struct fetch_outlet *o)
{
    struct request_of_feeds *r = MEM_NEW(struct request_of_feeds);
    *r = (struct request_of_feeds){.c = c, .outlet = o};
    return r;
}

static void request_add(struct request_of_feeds *r, struct feed *f, size_t reserved)
{
    if (r->count == r->capacity) {
        r->capacity = r->capacity ? 2 * r->capacity : 4;
        r->entries = mem_realloc(r->entries, r->capacity * sizeof *r->entries);
    }
    r->entries[r->count++] = (struct entry){.feed = f, .epoch = f->epoch, .reserved = reserved};
    f->is_busy = true;
    r->c->reserved += reserved;
}

static void request_free(struct request_of_feeds *r)
{
    mem_free(r->entries);
    mem_free(r);
}

/* Partitions of a topic together. */
static int entry_order(const void *a, const void *b)
{
    const struct feed *f = ((const struct entry *)a)->feed, *g = ((const struct entry *)b)->feed;
    if (f->topic != g->topic)
        return strcmp(f->topic_name, g->topic_name);
    return f->partition < g->partition ? -1 : f->partition > g->partition;
}

static int32_t epoch_of(const struct feed *f)
{
    return f->partition < f->topic->partition_count ? f->topic->leaders[f->partition].epoch : -1;
}

static struct slice id_of(const struct feed *f)
{
    return f->has_topic_id ? slice_of(f->topic_id.bytes, sizeof f->topic_id.bytes)
                           : slice_of(NULL, 0);
}

/* --- outcomes: with the mutex
 * ------------------------------------------------------------------------- */

/* Of an entry whose request ended. NULL: the feed went elsewhere meanwhile. */
static struct feed *entry_end(sluice_consumer *c, const struct entry *e)
{
    struct feed *f = e->feed;
    CHECK(c->reserved >= e->reserved);
    CHECK(f->is_busy);
    c->reserved -= e->reserved;
    f->is_busy = false;
    feed_to(c, f, FEED_TODO);
    return f->is_assigned && f->epoch == e->epoch ? f : NULL;
}

/* Worth another try: later. The application hears of it if it lasts. */
static void feed_try_again(sluice_consumer *c, struct feed *f, const struct wire_error *why,
                           const char *tried, const struct node *n)
{
    const struct settings *s = &c->settings;
    f->failures++;
    f->retry_at_us = loop_now_us(c->shell.loop) +
                     backoff_us(s->retry_backoff_us, s->retry_backoff_max_us, f->failures, &c->rng);
    if (f->failures != FAILURES_BEFORE_TOLD)
        return;
    char where[320];
    where_of(f, n, where, sizeof where);
    feed_fail(c, f, why, tried, where, false);
}

static void feed_error(sluice_consumer *c, struct feed *f, const struct wire_error *why,
                       const char *tried, const struct node *n)
{
    char where[320];
    if (class_is_retriable(why->err_class)) {
        feed_try_again(c, f, why, tried, n);
        return;
    }
    where_of(f, n, where, sizeof where);
    feed_fail(c, f, why, tried, where, true);
}

static bool wants_refresh(const struct wire_error *w)
{
    return w->err_class == CLASS_REROUTE || w->err_class == CLASS_STORAGE;
}

/* --- fetch
 * -----------------------------------------------------------------------------------------------
 */

/* How far whole batches go, and the offset behind the last. E_CORRUPT: not one.
 * E_UNSUPPORTED_VERSION: the first is of a format that this library does not know. */
static err batches_measure(struct slice batches, int64_t fetch_at, size_t *size,
                           int64_t *next_offset)
{
    size_t at = 0;
    int64_t next = fetch_at;
    err e = OK;
    while (at < batches.size) {
        struct batch b;
        e = batch_read_canonical(slice_sub(batches, at, SIZE_MAX), &b);
        if (e)
            break;
        at += b.size;
        next = b.base_offset + b.last_offset_delta + 1;
    }
    if (at == 0 && e == E_UNSUPPORTED_VERSION)
        return e;
    if (at == 0 || next <= fetch_at)
        return E_CORRUPT;
    *size = at;
    *next_offset = next;
    return OK;
}

static void feed_take(sluice_consumer *c, struct feed *f, const struct fetch_result *r,
                      const struct node *n)
{
    size_t size;
    int64_t next_offset;
    const err e = batches_measure(r->batches, f->fetch_at, &size, &next_offset);
    if (e) {
        const struct wire_error why = wire_error_of(e);
        feed_error(c, f, &why, "fetch", n);
        return;
    }
    struct chunk *chunk = chunk_take(c, size);
    memcpy(chunk->bytes, r->batches.data, size);
    *(f->last ? &f->last->next : &f->first) = chunk;
    f->last = chunk;
    f->queued += size;
    f->fetch_at = next_offset;
    f->failures = 0;
    c->stats.fetched += size;
    feed_deliver(c, f);
}

static void feed_answer(sluice_consumer *c, struct feed *f, const struct fetch_result *r,
                        const struct node *n)
{
    const struct wire_error why = wire_error_result(r->error, r->error_class, r->error_message);
    if (r->log_start_offset >= 0)
        f->low = r->log_start_offset;
    if (r->high_watermark >= 0)
        f->high = r->high_watermark;
    if (r->error == E_OFFSET_OUT_OF_RANGE)
        feed_reset(c, f, &why, r->log_start_offset, r->high_watermark);
    else if (r->error)
        feed_error(c, f, &why, "fetch", n);
    else if (r->batches.size)
        feed_take(c, f, r, n);
    else {
        f->failures = 0;
        if (c->settings.consumer.tell_end)
            feed_deliver(c, f);
    }
}

static bool is_about(const struct fetch_result *r, const struct feed *f)
{
    return r->partition == (uint32_t)f->partition &&
           (!r->topic_name.size || slice_eq(r->topic_name, slice_str(f->topic_name)));
}

/* Results come in the order of the request. With the mutex. True: leaders are to be asked for. */
static bool fetch_apply(struct request_of_feeds *q, const struct wire_error *failed,
                        struct slice body)
{
    sluice_consumer *c = q->c;
    struct fetch_response_cursor cursor;
    struct fetch_result r;
    struct wire_error why = *failed;
    bool refresh = wants_refresh(failed);
    fetch_response_begin(&cursor, body);
    for (size_t i = 0; i < q->count; i++) {
        struct feed *f = q->entries[i].feed;
        if (!why.code && (fetch_response_next(&cursor, &r) || !is_about(&r, f)))
            why = wire_error_of(E_CORRUPT);
        if (!why.code && r.error) {
            refresh |= wants_refresh(&(struct wire_error){.err_class = err_class(r.error)});
            if (r.leader_id >= 0 && f->topic)
                client_hint_leader(c->client, f->topic, f->partition, r.leader_id, r.leader_host,
                                   r.leader_port, r.leader_epoch);
        }
        f = entry_end(c, &q->entries[i]);
        if (f && why.code)
            feed_error(c, f, &why, "fetch", q->outlet->node);
        else if (f)
            feed_answer(c, f, &r, q->outlet->node);
    }
    return refresh;
}

static void on_fetched(void *arg, err e, struct slice response)
{
    struct request_of_feeds *q = arg;
    sluice_consumer *c = q->c;
    struct slice body = {0};
    const struct wire_error error = call_answer(API_FETCH, e, response, &body);
    q->outlet->fetches--;
    pthread_mutex_lock(&c->mutex);
    unblock(c); /* first: those that waited come before those that were just served */
    const bool refresh = fetch_apply(q, &error, body);
    pthread_mutex_unlock(&c->mutex);
    if (!c->is_closing) {
        if (e == E_TIMED_OUT)
            link_reset(&q->outlet->node->link, E_TIMED_OUT);
        if (refresh)
            client_refresh(c->client);
        shell_notify(&c->shell);
        pump_soon(c);
    }
    request_free(q);
}

/* Whether this is the end is what the application waits to hear: a fetch that parks would keep it
 * waiting. */
static bool asks_for_end(const sluice_consumer *c, const struct feed *f)
{
    return c->settings.consumer.tell_end && f->end_told_at != f->fetch_at && f->high != f->fetch_at;
}

static void fetch_send(struct request_of_feeds *q)
{
    sluice_consumer *c = q->c;
    const struct settings *s = &c->settings;
    struct fetch_part *parts = mem_alloc(q->count * sizeof *parts);
    qsort(q->entries, q->count, sizeof *q->entries, entry_order);
    const struct topic *before = NULL;
    uint64_t bytes = 0, most = s->consumer.partition_max_bytes > ANSWER_BYTES
                                   ? s->consumer.partition_max_bytes
                                   : ANSWER_BYTES;
    bool waits = true;
    for (size_t i = 0; i < q->count; i++) {
        const struct feed *f = q->entries[i].feed;
        parts[i] = (struct fetch_part){.first_of_topic = f->topic != before,
                                       .topic_name = slice_str(f->topic_name),
                                       .topic_id = id_of(f),
                                       .partition = (uint32_t)f->partition,
                                       .fetch_offset = f->fetch_at,
                                       .max_bytes = (uint32_t)q->entries[i].reserved,
                                       .leader_epoch = epoch_of(f)};
        before = f->topic;
        waits &= !asks_for_end(c, f);
        bytes += q->entries[i].reserved;
    }
    most = most < s->consumer.fetch_max_bytes ? most : s->consumer.fetch_max_bytes;
    const struct fetch_request request = {
        .max_wait_ms = waits ? s->consumer.fetch_wait_ms : 0,
        .min_bytes = s->consumer.fetch_min_bytes,
        .max_bytes = (uint32_t)(bytes < most ? bytes : most),
    };
    const size_t size = fetch_request_size(&request, parts, q->count);
    uint8_t *field = mem_alloc(size);
    fetch_request_write(field, &request, parts, q->count);
    q->outlet->fetches++;
    c->stats.fetches++;
    const struct rpc_piece piece = {.data = slice_of(field, size)};
    link_send(&q->outlet->node->link, &piece, 1, s->request_timeout_us, on_fetched, q);
    mem_free(field);
    mem_free(parts);
}

/* --- locate: offsets of ends and times
 * --------------------------------------------------------------------- */

static const Sluice__ListOffsetsPartitionResult *result_at(const Sluice__ListOffsetsResponse *m,
                                                           size_t i)
{
    for (size_t t = 0; t < m->n_topic; t++) {
        if (i < m->topic[t]->n_partition)
            return m->topic[t]->partition[i];
        i -= m->topic[t]->n_partition;
    }
    return NULL;
}

static void located(sluice_consumer *c, struct feed *f, const Sluice__ListOffsetsPartitionResult *r,
                    const struct node *n)
{
    if (r->error && r->error->code) {
        const struct wire_error why =
            wire_error_result(err_from_wire(r->error->code), (enum err_class)r->error->class_,
                              slice_str(r->error->message ? r->error->message : ""));
        feed_error(c, f, &why, "list offsets", n);
    } else if (r->offset >= 0) {
        feed_located(c, f, r->offset);
    } else if (f->sought_is_time) {
        /* Nothing is that young: wait for what comes. */
        f->sought_is_time = false;
        f->sought = SLUICE_OFFSET_END;
    } else {
        const struct wire_error why = wire_error_of(E_CORRUPT);
        feed_try_again(c, f, &why, "list offsets", n);
    }
}

static bool locate_apply(struct request_of_feeds *q, const struct wire_error *failed,
                         const Sluice__ListOffsetsResponse *m)
{
    sluice_consumer *c = q->c;
    bool refresh = wants_refresh(failed);
    for (size_t i = 0; i < q->count; i++) {
        const Sluice__ListOffsetsPartitionResult *r = m ? result_at(m, i) : NULL;
        struct feed *f = entry_end(c, &q->entries[i]);
        const bool is_answer = r && f && r->partition == (uint32_t)f->partition;
        const struct wire_error why = failed->code ? *failed : wire_error_of(E_CORRUPT);
        if (r && r->error && r->error->code)
            refresh |= class_is_retriable(err_class(err_from_wire(r->error->code)));
        if (f && is_answer)
            located(c, f, r, q->outlet->node);
        else if (f)
            feed_error(c, f, &why, "list offsets", q->outlet->node);
    }
    return refresh;
}

static void on_located(void *arg, err e, struct slice response)
{
    struct request_of_feeds *q = arg;
    sluice_consumer *c = q->c;
    struct slice body = {0};
    struct wire_error error = call_answer(API_LIST_OFFSETS, e, response, &body);
    struct arena arena;
    arena_init(&arena, ANSWER_ARENA_BYTES);
    void *m = NULL;
    if (!error.code &&
        msg_unpack(&sluice__list_offsets_response__descriptor, body, &arena, &m, NULL))
        error = wire_error_of(E_CORRUPT);
    pthread_mutex_lock(&c->mutex);
    unblock(c);
    const bool refresh = locate_apply(q, &error, m);
    pthread_mutex_unlock(&c->mutex);
    arena_deinit(&arena);
    if (!c->is_closing) {
        if (e == E_TIMED_OUT)
            link_reset(&q->outlet->node->link, E_TIMED_OUT);
        if (refresh)
            client_refresh(c->client);
        shell_notify(&c->shell);
        pump_soon(c);
    }
    request_free(q);
}

/* -1 and -2 mean the ends there as here. */
static int64_t time_of(const sluice_consumer *c, const struct feed *f)
{
    if (f->sought_is_time || f->sought != SLUICE_OFFSET_DEFAULT)
        return f->sought;
    return c->settings.consumer.reset == RESET_EARLIEST ? SLUICE_OFFSET_BEGINNING
                                                        : SLUICE_OFFSET_END;
}

static void locate_send(struct request_of_feeds *q)
{
    sluice_consumer *c = q->c;
    const size_t n = q->count;
    qsort(q->entries, n, sizeof *q->entries, entry_order);
    Sluice__ListOffsetsPartition *partitions = mem_alloc(n * sizeof *partitions),
                                 **partition_at = mem_alloc(n * sizeof *partition_at);
    Sluice__ListOffsetsTopic *topics = mem_alloc(n * sizeof *topics),
                             **topic_at = mem_alloc(n * sizeof *topic_at);
    Sluice__ListOffsetsRequest m = SLUICE__LIST_OFFSETS_REQUEST__INIT;
    m.topic = topic_at;
    for (size_t i = 0; i < n; i++) {
        const struct feed *f = q->entries[i].feed;
        sluice__list_offsets_partition__init(&partitions[i]);
        partitions[i].has_partition = partitions[i].has_timestamp = true;
        partitions[i].partition = (uint32_t)f->partition;
        partitions[i].timestamp = time_of(c, f);
        partitions[i].has_leader_epoch = epoch_of(f) >= 0;
        partitions[i].leader_epoch = epoch_of(f);
        partition_at[i] = &partitions[i];
        if (i == 0 || q->entries[i - 1].feed->topic != f->topic) {
            Sluice__ListOffsetsTopic *t = &topics[m.n_topic];
            sluice__list_offsets_topic__init(t);
            t->name = (char *)(uintptr_t)f->topic_name;
            t->has_topic_id = f->has_topic_id;
            t->topic_id = (ProtobufCBinaryData){.len = sizeof f->topic_id.bytes,
                                                .data = (uint8_t *)(uintptr_t)f->topic_id.bytes};
            t->partition = &partition_at[i];
            topic_at[m.n_topic++] = t;
        }
        topics[m.n_topic - 1].n_partition++;
    }
    struct buf field = {0};
    call_encode(API_LIST_OFFSETS, &m.base, &field);
    const struct rpc_piece piece = {.data = buf_slice(&field)};
    link_send(&q->outlet->node->link, &piece, 1, c->settings.request_timeout_us, on_located, q);
    buf_deinit(&field);
    mem_free(partitions);
    mem_free(partition_at);
    mem_free(topics);
    mem_free(topic_at);
}

/* --- the pump
 * -------------------------------------------------------------------------------------------------
 */

struct pass {
    int64_t now_us;
    bool needs_leader;
    struct request_of_feeds *fetches, *locates;
};

static struct fetch_outlet *outlet_of(sluice_consumer *c, struct node *n)
{
    if (!n->user) {
        struct fetch_outlet *o = MEM_NEW(struct fetch_outlet);
        *o = (struct fetch_outlet){.next = c->outlets, .node = n};
        c->outlets = o;
        n->user = o;
    }
    return n->user;
}

/* Another topic of that name: where we were means nothing there. */
static void topic_check(sluice_consumer *c, struct feed *f)
{
    const struct topic *t = f->topic;
    if (!t->is_known || t->error || !t->has_id)
        return;
    const bool is_other = f->has_topic_id && memcmp(&f->topic_id, &t->id, sizeof t->id);
    f->topic_id = t->id;
    f->has_topic_id = true;
    if (!is_other || f->is_stopped)
        return;
    f->low = f->high = -1;
    if (!f->is_located)
        return;
    struct wire_error why = wire_error_of(E_UNKNOWN_TOPIC_ID);
    why.message = slice_str("the topic was deleted and created again");
    feed_reset(c, f, &why, -1, -1);
}

/* A topic, or partition, that does not exist: it may come to exist, so it is told and not given up.
 */
static void missing_tell(sluice_consumer *c, struct feed *f)
{
    const struct topic *t = f->topic;
    struct wire_error why = wire_error_of(E_UNKNOWN_TOPIC_OR_PARTITION);
    if (t->is_known && t->error) {
        why = wire_error_result(t->error, t->error_class,
                                slice_str(t->error_text ? t->error_text : ""));
    } else if (t->is_known && f->partition < t->partition_count) {
        why = wire_error_of(E_LEADER_NOT_AVAILABLE);
    } else if (!t->is_known) {
        return; /* metad's answer is under way, and tried again by itself */
    }
    feed_error(c, f, &why, "fetch", NULL);
}

static void retry_note(sluice_consumer *c, const struct feed *f)
{
    if (f->retry_at_us > loop_now_us(c->shell.loop) && f->retry_at_us < c->retry_at_us)
        c->retry_at_us = f->retry_at_us;
}

/* Where to send a request for it; NULL: nowhere now. */
static struct fetch_outlet *route(sluice_consumer *c, struct feed *f, struct pass *pass)
{
    if (f->retry_at_us > pass->now_us) {
        retry_note(c, f);
        return NULL;
    }
    struct node *n = client_leader(c->client, f->topic, f->partition);
    if (!n) {
        missing_tell(c, f);
        retry_note(c, f);
        pass->needs_leader = true;
        return NULL;
    }
    return link_is_usable(&n->link) ? outlet_of(c, n) : NULL;
}

static bool fetch_join(sluice_consumer *c, struct feed *f, struct fetch_outlet *o,
                       struct pass *pass)
{
    const size_t need = feed_answer_bytes(c);
    if (c->queued + c->reserved + need > c->settings.consumer.queued_max_bytes)
        return false;
    if (!o->fetch) {
        if (o->fetches >= FETCHES_MAX)
            return false;
        o->fetch = request_new(c, o);
        o->fetch->next = pass->fetches;
        pass->fetches = o->fetch;
    }
    request_add(o->fetch, f, need);
    return true;
}

static void locate_join(sluice_consumer *c, struct feed *f, struct fetch_outlet *o,
                        struct pass *pass)
{
    if (!o->locate) {
        o->locate = request_new(c, o);
        o->locate->next = pass->locates;
        pass->locates = o->locate;
    }
    request_add(o->locate, f, 0);
}

/* False: something is missing. */
static bool feed_advance(sluice_consumer *c, struct feed *f, struct pass *pass)
{
    topic_check(c, f);
    const bool locates = feed_wants_locate(f);
    if (!locates && !feed_wants_fetch(c, f))
        return true;
    if (locates && f->sought == SLUICE_OFFSET_DEFAULT && !f->sought_is_time &&
        c->settings.consumer.reset == RESET_NONE) {
        struct wire_error why = wire_error_of(E_OFFSET_OUT_OF_RANGE);
        why.message = slice_str("there is no position, and auto.offset.reset is none");
        feed_error(c, f, &why, "locate", NULL);
        return true;
    }
    struct fetch_outlet *o = route(c, f, pass);
    if (!o)
        return f->is_stopped;
    if (!locates)
        return fetch_join(c, f, o, pass);
    locate_join(c, f, o, pass);
    return true;
}

static void feed_free(sluice_consumer *c, struct feed *f)
{
    HASH_DEL(c->feeds, f);
    feed_deinit(c, f);
    if (f->topic)
        client_unwant_topic(c->client, f->topic);
    mem_free(f);
}

static void pass_fill(sluice_consumer *c, struct pass *pass)
{
    struct feed *f;
    /* What an advance puts back on the list is for this pass too. */
    while ((f = c->todo.first)) {
        feed_to(c, f, FEED_NOWHERE);
        if (!f->is_assigned) {
            if (!f->is_busy)
                feed_free(c, f);
            continue;
        }
        if (!f->topic)
            f->topic = client_want_topic(c->client, f->topic_name);
        if (!feed_advance(c, f, pass))
            feed_to(c, f, FEED_BLOCKED);
    }
    for (struct fetch_outlet *o = c->outlets; o; o = o->next)
        o->fetch = o->locate = NULL;
}

static void on_timer(void *arg)
{
    sluice_consumer *c = arg;
    pthread_mutex_lock(&c->mutex);
    unblock(c);
    pthread_mutex_unlock(&c->mutex);
    pump_soon(c);
}

static void pump(struct deferred *d)
{
    sluice_consumer *c = (sluice_consumer *)((char *)d - offsetof(sluice_consumer, pump));
    if (c->is_closing)
        return;
    struct pass pass = {.now_us = loop_now_us(c->shell.loop)};
    pthread_mutex_lock(&c->mutex);
    pass_fill(c, &pass);
    for (struct request_of_feeds *q; (q = pass.fetches);) {
        pass.fetches = q->next;
        fetch_send(q);
    }
    for (struct request_of_feeds *q; (q = pass.locates);) {
        pass.locates = q->next;
        locate_send(q);
    }
    const bool has_news = c->deliver.first != NULL;
    pthread_mutex_unlock(&c->mutex);
    if (c->retry_at_us != INT64_MAX)
        timer_start(c->shell.loop, &c->timer, c->retry_at_us - pass.now_us, on_timer, c);
    if (pass.needs_leader)
        client_refresh(c->client);
    if (has_news)
        shell_notify(&c->shell);
}

/* --- topics
 * -----------------------------------------------------------------------------------------------------
 */

static void interest_update(sluice_consumer *c, struct interest *i)
{
    const struct topic *t = i->topic;
    if (t->is_known && !t->error && t->partition_count) {
        i->partition_count = t->partition_count;
        return;
    }
    struct buf text = {0};
    client_explain(c->client, t, &text);
    mem_free(i->explanation);
    i->explanation = mem_printf("%.*s", (int)text.size, (const char *)text.data);
    buf_deinit(&text);
    const struct wire_error why = client_topic_error(c->client, t);
    i->error = why.code;
    i->error_class = why.err_class;
}

static void interest_free(sluice_consumer *c, struct interest *i)
{
    HASH_DEL(c->interests, i);
    if (i->topic)
        client_unwant_topic(c->client, i->topic);
    mem_free(i->explanation);
    mem_free(i->name);
    mem_free(i);
}

/* With the mutex: asks for topics that are new, forgets those that nobody waits for any more. */
static void interests_review(sluice_consumer *c)
{
    struct interest *i, *next;
    if (!c->interests_changed)
        return;
    c->interests_changed = false;
    HASH_ITER(hh, c->interests, i, next)
    {
        if (i->waiters == 0) {
            interest_free(c, i);
        } else if (!i->is_wanted) {
            i->is_wanted = true;
            i->topic = client_want_topic(c->client, i->name);
            interest_update(c, i);
        }
    }
}

static void on_metadata(void *user)
{
    sluice_consumer *c = user;
    pthread_mutex_lock(&c->mutex);
    for (struct interest *i = c->interests; i; i = i->hh.next) {
        if (i->topic)
            interest_update(c, i);
    }
    /* Topics that were created again concern idle feeds too. */
    for (struct feed *f = c->feeds; f; f = f->hh.next) {
        if (f->place == FEED_NOWHERE && f->topic)
            feed_to(c, f, FEED_TODO);
    }
    unblock(c);
    pthread_mutex_unlock(&c->mutex);
    shell_notify(&c->shell);
    pump_soon(c);
}

static void on_node(void *user, struct node *n)
{
    sluice_consumer *c = user;
    (void)n;
    pthread_mutex_lock(&c->mutex);
    unblock(c);
    pthread_mutex_unlock(&c->mutex);
    pump_soon(c);
}

void fetcher_on_mail(struct mail *m)
{
    sluice_consumer *c = (sluice_consumer *)((char *)m - offsetof(sluice_consumer, mail));
    if (c->is_closing)
        return;
    pthread_mutex_lock(&c->mutex);
    c->is_posted = false;
    interests_review(c);
    unblock(c);
    pthread_mutex_unlock(&c->mutex);
    shell_notify(&c->shell);
    pump_soon(c);
}

/* --- life
 * ---------------------------------------------------------------------------------------------------------
 */

static const struct client_events events = {.on_metadata = on_metadata, .on_node = on_node};

void fetcher_init(sluice_consumer *c)
{
    c->pump.fn = pump;
    c->retry_at_us = INT64_MAX;
    c->client = client_new(c->shell.loop, &c->settings, &c->rng, &events, c);
}

void fetcher_deinit(sluice_consumer *c)
{
    c->is_closing = true;
    timer_stop(c->shell.loop, &c->timer);
    /* Topics are the client's: nothing of ours may ask for them after it. */
    struct feed *f, *next_feed;
    HASH_ITER(hh, c->feeds, f, next_feed)
    f->is_assigned = false;
    client_free(c->client);
    shell_settle(&c->shell);
    HASH_ITER(hh, c->feeds, f, next_feed)
    {
        CHECK(!f->is_busy);
        HASH_DEL(c->feeds, f);
        feed_deinit(c, f);
        mem_free(f);
    }
    struct interest *i, *next;
    HASH_ITER(hh, c->interests, i, next)
    {
        i->topic = NULL;
        interest_free(c, i);
    }
    while (c->outlets) {
        struct fetch_outlet *o = c->outlets;
        c->outlets = o->next;
        mem_free(o);
    }
}
