/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/lib/spread.h"

#include <stdio.h>
#include <string.h>

#include "clients/lib/backoff.h"
#include "proto/base/check.h"
#include "proto/base/limits.h"
#include "proto/schema/delete_records.pb-c.h"
#include "proto/schema/list_offsets.pb-c.h"

enum { ANSWER_ARENA_BYTES = 8 * MIB, UNKNOWN_TRIES = 2 };

/* A request to one broker. */
struct question {
    struct spread *s;
    struct node *node;
    size_t *items; /* indexes */
    size_t count;
};

static const char *tried(const struct spread *s)
{
    return s->api == API_LIST_OFFSETS ? "list offsets" : "delete records";
}

static void where_of(const struct spread_item *i, const struct node *n, char *text, size_t size)
{
    char node[NODE_TEXT];
    snprintf(text, size, "topic %.*s partition %d%s%s", TOPIC_NAME_MAX, i->topic, i->partition,
             n ? ", " : "", n ? node_text(n, node) : "");
}

static void item_end(struct spread *s, struct spread_item *i, const struct wire_error *why,
                     const struct node *n)
{
    char where[sizeof i->error.where];
    where_of(i, n, where, sizeof where);
    i->is_done = true;
    if (why->code)
        problem_wire(&i->error, why, tried(s), where);
    else
        problem_none(&i->error);
}

/* An error: later again, or the end of it. The text is kept for the case that time runs out. */
static void item_error(struct spread *s, struct spread_item *i, const struct wire_error *why,
                       const struct node *n)
{
    const struct settings *settings = client_settings(s->client);
    item_end(s, i, why, n);
    if (!class_is_retriable(why->err_class))
        return;
    i->is_done = false;
    i->failures++;
    i->retry_at_us =
        loop_now_us(s->loop) +
        backoff_us(settings->retry_backoff_us, settings->retry_backoff_max_us, i->failures, s->rng);
    client_refresh(s->client);
}

/* --- the two questions
 * ----------------------------------------------------------------------------------- */

/* One topic message per item: simple, and the order of answers is that of the items. */
static void list_offsets_encode(const struct question *q, struct buf *out)
{
    const struct spread *s = q->s;
    Sluice__ListOffsetsTopic *topics = mem_alloc(q->count * sizeof *topics),
                             **topic_at = mem_alloc(q->count * sizeof *topic_at);
    Sluice__ListOffsetsPartition *parts = mem_alloc(q->count * sizeof *parts),
                                 **part_at = mem_alloc(q->count * sizeof *part_at);
    Sluice__ListOffsetsRequest m = SLUICE__LIST_OFFSETS_REQUEST__INIT;
    for (size_t k = 0; k < q->count; k++) {
        const struct spread_item *i = &s->items[q->items[k]];
        sluice__list_offsets_topic__init(&topics[k]);
        sluice__list_offsets_partition__init(&parts[k]);
        parts[k].has_partition = parts[k].has_timestamp = true;
        parts[k].partition = (uint32_t)i->partition;
        parts[k].timestamp = i->argument;
        part_at[k] = &parts[k];
        topic_at[k] = &topics[k];
        topics[k].name = (char *)(uintptr_t)i->topic;
        topics[k].partition = &part_at[k];
        topics[k].n_partition = 1;
    }
    m.topic = topic_at;
    m.n_topic = q->count;
    call_encode(s->api, &m.base, out);
    mem_free(topics);
    mem_free(topic_at);
    mem_free(parts);
    mem_free(part_at);
}

static void delete_records_encode(const struct question *q, struct buf *out)
{
    const struct spread *s = q->s;
    Sluice__DeleteRecordsTopic *topics = mem_alloc(q->count * sizeof *topics),
                               **topic_at = mem_alloc(q->count * sizeof *topic_at);
    Sluice__DeleteRecordsPartition *parts = mem_alloc(q->count * sizeof *parts),
                                   **part_at = mem_alloc(q->count * sizeof *part_at);
    Sluice__DeleteRecordsRequest m = SLUICE__DELETE_RECORDS_REQUEST__INIT;
    for (size_t k = 0; k < q->count; k++) {
        const struct spread_item *i = &s->items[q->items[k]];
        sluice__delete_records_topic__init(&topics[k]);
        sluice__delete_records_partition__init(&parts[k]);
        parts[k].has_partition = parts[k].has_before_offset = true;
        parts[k].partition = (uint32_t)i->partition;
        parts[k].before_offset = i->argument;
        part_at[k] = &parts[k];
        topic_at[k] = &topics[k];
        topics[k].name = (char *)(uintptr_t)i->topic;
        topics[k].partition = &part_at[k];
        topics[k].n_partition = 1;
    }
    m.topic = topic_at;
    m.n_topic = q->count;
    call_encode(s->api, &m.base, out);
    mem_free(topics);
    mem_free(topic_at);
    mem_free(parts);
    mem_free(part_at);
}

/* What an answer says of its k-th partition. */
struct finding {
    uint32_t partition;
    const Sluice__Error *error;
    int64_t offset, timestamp_ms;
    int32_t leader_epoch;
};

static bool list_offsets_find(const void *message, size_t k, struct finding *out)
{
    const Sluice__ListOffsetsResponse *m = message;
    for (size_t t = 0; t < m->n_topic; t++) {
        if (k < m->topic[t]->n_partition) {
            const Sluice__ListOffsetsPartitionResult *r = m->topic[t]->partition[k];
            *out = (struct finding){.partition = r->partition,
                                    .error = r->error,
                                    .offset = r->has_offset ? r->offset : -1,
                                    .timestamp_ms = r->has_timestamp ? r->timestamp : -1,
                                    .leader_epoch = r->has_leader_epoch ? r->leader_epoch : -1};
            return true;
        }
        k -= m->topic[t]->n_partition;
    }
    return false;
}

static bool delete_records_find(const void *message, size_t k, struct finding *out)
{
    const Sluice__DeleteRecordsResponse *m = message;
    for (size_t t = 0; t < m->n_topic; t++) {
        if (k < m->topic[t]->n_partition) {
            const Sluice__DeleteRecordsPartitionResult *r = m->topic[t]->partition[k];
            *out = (struct finding){.partition = r->partition,
                                    .error = r->error,
                                    .offset = r->has_log_start_offset ? r->log_start_offset : -1,
                                    .timestamp_ms = -1,
                                    .leader_epoch = -1};
            return true;
        }
        k -= m->topic[t]->n_partition;
    }
    return false;
}

static const struct kind {
    void (*encode)(const struct question *q, struct buf *out);
    const ProtobufCMessageDescriptor *answer;
    bool (*find)(const void *message, size_t k, struct finding *out);
} list_offsets = {list_offsets_encode, &sluice__list_offsets_response__descriptor,
                  list_offsets_find},
  delete_records = {delete_records_encode, &sluice__delete_records_response__descriptor,
                    delete_records_find};

static const struct kind *kind_of(const struct spread *s)
{
    return s->api == API_LIST_OFFSETS ? &list_offsets : &delete_records;
}

/* --- asking
 * ------------------------------------------------------------------------------------------------
 */

static void item_answer(struct spread *s, struct spread_item *i, const struct finding *f,
                        const struct node *n)
{
    if (f->error && f->error->code) {
        const struct wire_error why =
            wire_error_result(err_from_wire(f->error->code), (enum err_class)f->error->class_,
                              slice_str(f->error->message ? f->error->message : ""));
        item_error(s, i, &why, n);
        return;
    }
    const struct wire_error none = wire_error_of(OK);
    i->offset = f->offset;
    i->timestamp_ms = f->timestamp_ms;
    i->leader_epoch = f->leader_epoch;
    item_end(s, i, &none, n);
}

static void on_answer(void *arg, err e, struct slice response)
{
    struct question *q = arg;
    struct spread *s = q->s;
    struct slice body = {0};
    struct wire_error error = call_answer(s->api, e, response, &body);
    struct arena arena;
    arena_init(&arena, ANSWER_ARENA_BYTES);
    void *m = NULL;
    if (!error.code && msg_unpack(kind_of(s)->answer, body, &arena, &m, NULL))
        error = wire_error_of(E_CORRUPT);
    for (size_t k = 0; k < q->count; k++) {
        struct spread_item *i = &s->items[q->items[k]];
        struct finding f;
        i->is_asked = false;
        if (!error.code && kind_of(s)->find(m, k, &f) && f.partition == (uint32_t)i->partition) {
            item_answer(s, i, &f, q->node);
        } else {
            const struct wire_error why = error.code ? error : wire_error_of(E_CORRUPT);
            item_error(s, i, &why, q->node);
        }
    }
    arena_deinit(&arena);
    if (e == E_TIMED_OUT && !s->is_closed)
        link_reset(&q->node->link, E_TIMED_OUT);
    mem_free(q->items);
    mem_free(q);
    s->under_way--;
    loop_defer(s->loop, &s->pump);
}

static void question_send(struct question *q)
{
    struct spread *s = q->s;
    const int64_t left_us = s->deadline_us - loop_now_us(s->loop);
    const int64_t answer_us = client_settings(s->client)->request_timeout_us;
    const int64_t timeout_us = left_us < answer_us ? left_us : answer_us;
    struct buf field = {0};
    kind_of(s)->encode(q, &field);
    const struct rpc_piece piece = {.data = buf_slice(&field)};
    s->under_way++;
    link_send(&q->node->link, &piece, 1, timeout_us > 1000 ? timeout_us : 1000, on_answer, q);
    buf_deinit(&field);
}

/* The leader, if it can be asked now; otherwise the item notes why not. */
static struct node *leader_of(struct spread *s, struct spread_item *i)
{
    struct topic *t = i->wanted;
    struct node *n = client_leader(s->client, t, i->partition);
    if (n)
        return link_is_usable(&n->link) ? n : NULL;
    struct wire_error why = wire_error_of(E_TIMED_OUT);
    struct buf text = {0};
    if (t->is_known && t->error) {
        why = wire_error_result(t->error, t->error_class,
                                slice_str(t->error_text ? t->error_text : ""));
        /* A metad that is behind knows within some tries what another answered before. */
        if (t->error == E_UNKNOWN_TOPIC_OR_PARTITION && i->failures >= UNKNOWN_TRIES)
            why.err_class = CLASS_CALLER;
    } else if (t->is_known && i->partition >= t->partition_count) {
        why = wire_error_of(E_UNKNOWN_TOPIC_OR_PARTITION);
        why.err_class = CLASS_CALLER; /* metad knows the topic: waiting does not help */
        buf_printf(&text, "the topic has %d partitions", t->partition_count);
        why.message = buf_slice(&text);
    } else if (t->is_known) {
        why = wire_error_of(E_LEADER_NOT_AVAILABLE);
    } else {
        client_explain(s->client, t, &text);
        why.message = buf_slice(&text);
        item_end(s, i, &why, NULL);
        i->is_done = false;
        buf_deinit(&text);
        return NULL;
    }
    item_error(s, i, &why, NULL);
    buf_deinit(&text);
    return NULL;
}

static bool is_askable(const struct spread_item *i, int64_t now_us)
{
    return !i->is_done && !i->is_asked && i->retry_at_us <= now_us;
}

static void ask_from(struct spread *s, size_t first, struct node *n, int64_t now_us)
{
    struct question *q = MEM_NEW(struct question);
    *q = (struct question){.s = s, .node = n, .items = mem_alloc(s->count * sizeof *q->items)};
    for (size_t k = first; k < s->count; k++) {
        struct spread_item *i = &s->items[k];
        if (is_askable(i, now_us) && client_leader(s->client, i->wanted, i->partition) == n) {
            i->is_asked = true;
            q->items[q->count++] = k;
        }
    }
    question_send(q);
}

static void finish(struct spread *s)
{
    timer_stop(s->loop, &s->timer);
    for (size_t k = 0; k < s->count; k++) {
        struct spread_item *i = &s->items[k];
        if (!i->is_done && !i->error.code) {
            struct wire_error late = wire_error_of(E_TIMED_OUT);
            late.message = slice_str("no answer in time");
            item_end(s, i, &late, NULL);
        }
        if (!s->is_closed)
            client_unwant_topic(s->client, i->wanted);
    }
    s->done(s);
}

static void on_timer(void *arg)
{
    spread_poke(arg);
}

static void pump(struct deferred *d)
{
    struct spread *s = (struct spread *)((char *)d - offsetof(struct spread, pump));
    const int64_t now_us = loop_now_us(s->loop);
    int64_t next_us = s->deadline_us;
    bool all_done = true;
    s->is_over |= s->is_closed || now_us >= s->deadline_us;
    for (size_t k = 0; k < s->count && !s->is_over; k++) {
        struct spread_item *i = &s->items[k];
        if (is_askable(i, now_us)) {
            struct node *n = leader_of(s, i);
            if (n)
                ask_from(s, k, n, now_us);
        }
        all_done &= i->is_done;
        if (!i->is_done && i->retry_at_us > now_us && i->retry_at_us < next_us)
            next_us = i->retry_at_us;
    }
    if ((all_done || s->is_over) && s->under_way == 0)
        finish(s);
    else if (!s->is_over)
        timer_start(s->loop, &s->timer, next_us - now_us, on_timer, s);
}

void spread_start(struct spread *s, struct client *cl, struct rng *rng)
{
    s->client = cl;
    s->loop = client_loop(cl);
    s->rng = rng;
    s->pump = (struct deferred){.fn = pump};
    s->timer = (struct timer){0};
    s->under_way = 0;
    s->is_over = s->is_closed = false;
    for (size_t k = 0; k < s->count; k++) {
        s->items[k].wanted = client_want_topic(cl, s->items[k].topic);
        s->items[k].offset = s->items[k].timestamp_ms = -1;
        s->items[k].leader_epoch = -1;
    }
    spread_poke(s);
}

void spread_poke(struct spread *s)
{
    loop_defer(s->loop, &s->pump);
}

void spread_cancel(struct spread *s)
{
    s->is_closed = true;
    loop_defer(s->loop, &s->pump);
}
