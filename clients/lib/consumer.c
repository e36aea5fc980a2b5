/* SPDX-License-Identifier: Apache-2.0 */
/* The consumer as applications see it: sluice.h describes it. What happens on the loop is in
 * fetcher.c. */
#include <stdio.h>
#include <string.h>

#include "clients/lib/consumer_priv.h"
#include "proto/base/check.h"
#include "proto/wire/batch.h"
#include "proto/wire/record.h"

enum { DECODED_KEPT = 4, DECODED_KEPT_BYTES = 8 * MIB };

/* --- life --------------------------------------------------------------------------------------
 */

static void consumer_init(sluice_consumer *c)
{
    pthread_mutex_init(&c->mutex, NULL);
    c->mail.fn = fetcher_on_mail;
    c->messages = mem_alloc(c->settings.consumer.poll_records_max * sizeof *c->messages);
    c->codec = codec_ctx_new();
    fetcher_init(c);
}

static void views_release(sluice_consumer *c);

static void decoded_free_all(struct decoded *d)
{
    while (d) {
        struct decoded *next = d->next;
        buf_deinit(&d->buf);
        mem_free(d);
        d = next;
    }
}

static void consumer_free(sluice_consumer *c)
{
    fetcher_deinit(c);
    views_release(c);
    CHECK(c->queued == 0);
    CHECK(c->reserved == 0);
    while (c->free) {
        struct chunk *chunk = c->free;
        c->free = chunk->next;
        mem_free(chunk);
    }
    decoded_free_all(c->free_decoded);
    mem_free(c->events);
    mem_free(c->told);
    mem_free(c->messages);
    struct interned *n, *next;
    HASH_ITER(hh, c->names, n, next)
    {
        HASH_DEL(c->names, n);
        mem_free(n);
    }
    codec_ctx_free(c->codec);
    shell_deinit(&c->shell);
    pthread_mutex_destroy(&c->mutex);
    settings_deinit(&c->settings);
    mem_free(c);
}

int sluice_consumer_new(const sluice_config *config, sluice_consumer **out,
                        struct sluice_error *error)
{
    sluice_consumer *c = MEM_NEW(sluice_consumer);
    const int code = settings_load(config, SLUICE_CONSUMER, &c->settings, error);
    if (code) {
        mem_free(c);
        return code;
    }
    const err e = shell_init(&c->shell, "sluice-consumer");
    if (e) {
        settings_deinit(&c->settings);
        mem_free(c);
        return problem(error, e, "create consumer", "", "no descriptors left");
    }
    rng_init_from_system(&c->rng);
    consumer_init(c);
    shell_start(&c->shell);
    *out = c;
    return problem_none(error);
}

int consumer_new_driven(struct loop *l, void (*turn)(void *arg, int64_t timeout_us), void *arg,
                        uint64_t seed, const sluice_config *config, sluice_consumer **out,
                        struct sluice_error *error)
{
    sluice_consumer *c = MEM_NEW(sluice_consumer);
    const int code = settings_load(config, SLUICE_CONSUMER, &c->settings, error);
    if (code) {
        mem_free(c);
        return code;
    }
    shell_drive(&c->shell, l, turn, arg);
    rng_init(&c->rng, seed);
    consumer_init(c);
    *out = c;
    return problem_none(error);
}

/* --- shared by the calls ------------------------------------------------------------------------
 */

/* With the mutex, and lets go of it. */
static void post_unlock(sluice_consumer *c, bool wake)
{
    const bool post = wake && !c->is_posted;
    c->is_posted |= post;
    pthread_mutex_unlock(&c->mutex);
    if (post)
        loop_post(c->shell.loop, &c->mail);
}

static err wait_unlocked(sluice_consumer *c, struct shell_call *call, bool wake)
{
    const uint32_t seen = shell_look(&c->shell);
    post_unlock(c, wake);
    const err e = shell_wait(&c->shell, call, seen);
    pthread_mutex_lock(&c->mutex);
    return e;
}

static int64_t timeout_of(const sluice_consumer *c, int64_t timeout_ms)
{
    return timeout_ms < 0 ? c->settings.api_timeout_ms : timeout_ms;
}

static int refuse(struct sluice_error *error, err e, const char *tried, const char *topic,
                  int32_t partition, const char *detail)
{
    char where[TOPIC_NAME_MAX + 40];
    if (partition >= 0)
        snprintf(where, sizeof where, "topic %.*s partition %d", TOPIC_NAME_MAX, topic, partition);
    else
        snprintf(where, sizeof where, "topic %.*s", TOPIC_NAME_MAX, topic);
    if (e == E_NOT_PERMITTED)
        detail = "a call that may block was made from a callback";
    else if (e == E_CANCELLED)
        detail = "woken up";
    return problem(error, e, tried, where, "%s", detail);
}

static bool key_of(const char *topic, int32_t partition, char key[FEED_KEY])
{
    const int size = snprintf(key, FEED_KEY, "%s/%d", topic, partition);
    return size < FEED_KEY && strlen(topic) <= TOPIC_NAME_MAX;
}

/* An assigned feed, or NULL. */
static struct feed *feed_find(sluice_consumer *c, const char *topic, int32_t partition)
{
    char key[FEED_KEY];
    struct feed *f = NULL;
    if (key_of(topic, partition, key))
        HASH_FIND_STR(c->feeds, key, f);
    return f && f->is_assigned ? f : NULL;
}

static const char *intern(sluice_consumer *c, const char *name)
{
    struct interned *n;
    HASH_FIND_STR(c->names, name, n);
    if (!n) {
        const size_t size = strlen(name) + 1;
        n = mem_zalloc(sizeof *n + size);
        memcpy(n->name, name, size);
        HASH_ADD_STR(c->names, name, n);
    }
    return n->name;
}

/* --- assignment
 * ------------------------------------------------------------------------------------ */

static err assignment_check(const struct sluice_topic_partition *p, char *detail, size_t size)
{
    char key[FEED_KEY];
    if (!key_of(p->topic, p->partition, key) || p->topic[0] == 0 || strchr(p->topic, '/')) {
        snprintf(detail, size, "the topic name is not valid");
        return E_INVALID_TOPIC;
    }
    if (p->partition < 0 || p->partition >= TOPIC_PARTITIONS_MAX) {
        snprintf(detail, size, "the partition is not within 0..%d", TOPIC_PARTITIONS_MAX - 1);
        return E_INVALID_REQUEST;
    }
    if (p->offset < SLUICE_OFFSET_DEFAULT) {
        snprintf(detail, size, "offset %lld is neither an offset nor a place",
                 (long long)p->offset);
        return E_INVALID_REQUEST;
    }
    return OK;
}

/* A mark that no two of the new assignment share. */
struct seen {
    UT_hash_handle hh;
    char key[FEED_KEY];
};

static bool has_twice(const struct sluice_topic_partition *partitions, size_t count, size_t *which)
{
    struct seen *all = mem_zalloc((count + 1) * sizeof *all), *set = NULL, *other;
    bool twice = false;
    for (size_t i = 0; i < count && !twice; i++) {
        key_of(partitions[i].topic, partitions[i].partition, all[i].key);
        HASH_FIND_STR(set, all[i].key, other);
        twice = other != NULL;
        *which = i;
        if (!twice)
            HASH_ADD_STR(set, key, &all[i]);
    }
    HASH_CLEAR(hh, set);
    mem_free(all);
    return twice;
}

static void feed_assign(sluice_consumer *c, const struct sluice_topic_partition *p, bool is_kept)
{
    char key[FEED_KEY];
    struct feed *f;
    key_of(p->topic, p->partition, key);
    HASH_FIND_STR(c->feeds, key, f);
    if (!f) {
        f = MEM_NEW(struct feed);
        memcpy(f->key, key, sizeof key);
        f->topic_name = intern(c, p->topic);
        f->partition = p->partition;
        f->low = f->high = -1;
        HASH_ADD_STR(c->feeds, key, f);
    }
    is_kept = is_kept && f->is_assigned;
    f->is_assigned = true;
    c->feed_count++;
    if (is_kept)
        return;
    f->is_paused = false;
    feed_seek(c, f, p->offset, false);
}

int sluice_consumer_assign(sluice_consumer *consumer,
                           const struct sluice_topic_partition *partitions, size_t count,
                           struct sluice_error *error)
{
    sluice_consumer *c = consumer;
    char detail[128];
    size_t twice;
    for (size_t i = 0; i < count; i++) {
        const err e = assignment_check(&partitions[i], detail, sizeof detail);
        if (e)
            return refuse(error, e, "assign", partitions[i].topic, partitions[i].partition, detail);
    }
    if (has_twice(partitions, count, &twice))
        return refuse(error, E_INVALID_REQUEST, "assign", partitions[twice].topic,
                      partitions[twice].partition, "it is given twice");
    pthread_mutex_lock(&c->mutex);
    /* Which stay is known once the new ones are in: all go, and those named again come back. */
    c->feed_count = 0;
    struct seen *all = mem_zalloc((count + 1) * sizeof *all), *named = NULL, *s;
    for (size_t i = 0; i < count; i++) {
        key_of(partitions[i].topic, partitions[i].partition, all[i].key);
        HASH_ADD_STR(named, key, &all[i]);
    }
    for (struct feed *f = c->feeds; f; f = f->hh.next) {
        HASH_FIND_STR(named, f->key, s);
        if (s || !f->is_assigned)
            continue;
        feed_seek(c, f, SLUICE_OFFSET_DEFAULT, false);
        f->is_assigned = false;
    }
    HASH_CLEAR(hh, named);
    mem_free(all);
    for (size_t i = 0; i < count; i++)
        feed_assign(c, &partitions[i], partitions[i].offset == SLUICE_OFFSET_DEFAULT);
    post_unlock(c, true);
    return problem_none(error);
}

/* --- positions
 * --------------------------------------------------------------------------------------- */

static int not_assigned(struct sluice_error *error, const char *tried, const char *topic,
                        int32_t partition)
{
    return refuse(error, E_NOT_FOUND, tried, topic, partition, "the partition is not assigned");
}

static int seek(sluice_consumer *c, const char *topic, int32_t partition, int64_t sought,
                bool is_time, struct sluice_error *error)
{
    if (sought < (is_time ? 0 : SLUICE_OFFSET_DEFAULT))
        return refuse(error, E_INVALID_REQUEST, "seek", topic, partition,
                      is_time ? "the time is negative" : "neither an offset nor a place");
    pthread_mutex_lock(&c->mutex);
    struct feed *f = feed_find(c, topic, partition);
    if (f)
        feed_seek(c, f, sought, is_time);
    post_unlock(c, f != NULL);
    return f ? problem_none(error) : not_assigned(error, "seek", topic, partition);
}

int sluice_consumer_seek(sluice_consumer *consumer, const char *topic, int32_t partition,
                         int64_t offset, struct sluice_error *error)
{
    return seek(consumer, topic, partition, offset, false, error);
}

int sluice_consumer_seek_time(sluice_consumer *consumer, const char *topic, int32_t partition,
                              int64_t timestamp_ms, struct sluice_error *error)
{
    return seek(consumer, topic, partition, timestamp_ms, true, error);
}

static bool has_news(const sluice_consumer *c, const struct feed *f)
{
    return f->current || f->first || f->event ||
           (c->settings.consumer.tell_end && f->is_located && f->position == f->high &&
            f->end_told_at != f->high);
}

static int pause_set(sluice_consumer *c, const char *topic, int32_t partition, bool is_paused,
                     const char *tried, struct sluice_error *error)
{
    pthread_mutex_lock(&c->mutex);
    struct feed *f = feed_find(c, topic, partition);
    if (f) {
        f->is_paused = is_paused;
        feed_undeliver(c, f);
        if (has_news(c, f))
            feed_deliver(c, f);
        feed_to(c, f, FEED_TODO);
    }
    post_unlock(c, f != NULL);
    return f ? problem_none(error) : not_assigned(error, tried, topic, partition);
}

int sluice_consumer_pause(sluice_consumer *consumer, const char *topic, int32_t partition,
                          struct sluice_error *error)
{
    return pause_set(consumer, topic, partition, true, "pause", error);
}

int sluice_consumer_resume(sluice_consumer *consumer, const char *topic, int32_t partition,
                           struct sluice_error *error)
{
    return pause_set(consumer, topic, partition, false, "resume", error);
}

int sluice_consumer_position(sluice_consumer *consumer, const char *topic, int32_t partition,
                             int64_t timeout_ms, int64_t *offset, struct sluice_error *error)
{
    sluice_consumer *c = consumer;
    struct shell_call call;
    err e = shell_begin(&c->shell, &call, timeout_of(c, timeout_ms));
    if (e)
        return refuse(error, e, "position", topic, partition, "");
    pthread_mutex_lock(&c->mutex);
    struct feed *f = feed_find(c, topic, partition);
    /* Nobody but this thread takes it out of the assignment. */
    while (f && !e && !f->is_located && !f->has_reset_from && !f->is_stopped)
        e = wait_unlocked(c, &call, false);
    int code = SLUICE_OK;
    if (!f)
        code = not_assigned(error, "position", topic, partition);
    else if (f->is_located || f->has_reset_from)
        *offset = f->position;
    else if (f->is_stopped && f->event)
        code = problem_copy(error, &f->event->error);
    else
        code = refuse(error, e ? e : E_INVALID_REQUEST, "position", topic, partition,
                      e ? "its leader has not told yet where that is" : "the partition is stopped");
    pthread_mutex_unlock(&c->mutex);
    return code ? code : problem_none(error);
}

int sluice_consumer_watermarks(sluice_consumer *consumer, const char *topic, int32_t partition,
                               int64_t *low, int64_t *high, struct sluice_error *error)
{
    sluice_consumer *c = consumer;
    pthread_mutex_lock(&c->mutex);
    const struct feed *f = feed_find(c, topic, partition);
    if (f && low)
        *low = f->low;
    if (f && high)
        *high = f->high;
    pthread_mutex_unlock(&c->mutex);
    return f ? problem_none(error) : not_assigned(error, "watermarks", topic, partition);
}

/* --- reading: by the application's thread alone, without the mutex
 * ------------------------------------ */

static struct decoded *decoded_take(sluice_consumer *c)
{
    struct decoded *d = c->free_decoded;
    if (!d)
        return MEM_NEW(struct decoded);
    c->free_decoded = d->next;
    buf_clear(&d->buf);
    return d;
}

static void batch_leave(sluice_consumer *c, struct feed *f)
{
    f->is_in_batch = false;
    f->position = f->end_offset;
    if (f->decoded) {
        f->decoded->next = c->retired_decoded;
        c->retired_decoded = f->decoded;
        f->decoded = NULL;
    }
}

static err records_open(sluice_consumer *c, struct feed *f, const struct batch *b)
{
    const enum batch_codec codec = (enum batch_codec)(b->attributes & BATCH_CODEC_MASK);
    if (codec == CODEC_NONE) {
        f->records = reader_init(b->records);
        return OK;
    }
    f->decoded = decoded_take(c);
    const err e = codec_decompress(c->codec, codec, b->records, codec_limit(b->records.size),
                                   &f->decoded->buf);
    c->decoded_bytes += f->decoded->buf.size;
    f->records = reader_init(buf_slice(&f->decoded->buf));
    return e;
}

/* Enters the next batch of the chunk. E_END: there is none. E_CORRUPT and what a codec says. */
static err batch_enter(sluice_consumer *c, struct feed *f)
{
    struct batch b;
    err e = batch_read_canonical(slice_of(f->current->bytes + f->at, f->current->size - f->at), &b);
    if (e)
        return e;
    f->end_offset = b.base_offset + b.last_offset_delta + 1;
    f->at += b.size;
    f->is_in_batch = true;
    f->base_offset = b.base_offset;
    f->base_timestamp = b.base_timestamp;
    f->append_timestamp = b.max_timestamp;
    f->is_append_time = b.attributes & BATCH_LOG_APPEND_TIME;
    f->leader_epoch = b.leader_epoch;
    f->records = reader_init(slice_of(NULL, 0));
    /* Fetches begin with the batch that holds the offset; and control batches are not records. */
    if (f->end_offset <= f->position) {
        f->end_offset = f->position;
        return OK;
    }
    if (c->settings.consumer.check_crcs)
        e = batch_check_crcs(&b);
    if (!e && !(b.attributes & BATCH_CONTROL))
        e = records_open(c, f, &b);
    return e;
}

/* A damaged or hostile batch may hold any two numbers. */
static int64_t sum_wrapped(int64_t a, int64_t b)
{
    return (int64_t)((uint64_t)a + (uint64_t)b);
}

/* Views of the records left in the present batch. E_END: no more there. */
static err batch_read_views(sluice_consumer *c, struct feed *f)
{
    const size_t max = c->settings.consumer.poll_records_max;
    struct sluice_message *m = &c->messages[c->message_count];
    struct record_view v;
    uint64_t bytes = 0;
    err e = OK;
    const size_t before = c->message_count;
    while (c->message_count < max && !(e = record_next(&f->records, &v))) {
        const int64_t offset = f->base_offset + v.offset_delta;
        if (offset >= f->end_offset) {
            e = E_CORRUPT;
            break;
        }
        if (offset < f->position)
            continue;
        *m++ = (struct sluice_message){
            .topic = f->topic_name,
            .partition = f->partition,
            .leader_epoch = f->leader_epoch,
            .offset = offset,
            .timestamp_ms = f->is_append_time ? f->append_timestamp
                                              : sum_wrapped(f->base_timestamp, v.timestamp_delta),
            .key = v.key.data,
            .key_size = v.key.size,
            .value = v.value.data,
            .value_size = v.value.size,
            .headers = v.headers.data,
            .headers_size = v.headers.size,
            .log_append_time = f->is_append_time,
        };
        bytes += v.key.size + v.value.size;
        f->position = offset + 1;
        c->message_count++;
    }
    c->stats.messages += c->message_count - before;
    c->stats.bytes += bytes;
    return e;
}

static bool poll_is_full(const sluice_consumer *c)
{
    return c->message_count == c->settings.consumer.poll_records_max ||
           c->decoded_bytes > c->settings.consumer.partition_max_bytes;
}

/* Reads on in the current chunk. E_END: it is done. OK: the poll is full. Others: what is there is
 * damaged. */
static err chunk_read(sluice_consumer *c, struct feed *f)
{
    while (!poll_is_full(c)) {
        if (!f->is_in_batch) {
            const err e = batch_enter(c, f);
            if (e)
                return e == E_WOULD_BLOCK ? E_CORRUPT : e;
        }
        const err e = batch_read_views(c, f);
        if (e == E_END)
            batch_leave(c, f);
        else if (e)
            return e;
    }
    return OK;
}

/* --- poll
 * -----------------------------------------------------------------------------------------------
 */

/* What the last poll gave out is not looked at any more. */
static void views_release(sluice_consumer *c)
{
    while (c->retired) {
        struct chunk *chunk = c->retired;
        c->retired = chunk->next;
        chunk_give(c, chunk);
    }
    size_t kept = 0;
    for (const struct decoded *d = c->free_decoded; d; d = d->next)
        kept++;
    while (c->retired_decoded) {
        struct decoded *d = c->retired_decoded;
        c->retired_decoded = d->next;
        if (kept++ >= DECODED_KEPT || d->buf.capacity > DECODED_KEPT_BYTES) {
            d->next = NULL;
            decoded_free_all(d);
            continue;
        }
        d->next = c->free_decoded;
        c->free_decoded = d;
    }
    for (size_t i = 0; i < c->event_count; i++)
        mem_free(c->told[i]);
    c->message_count = c->event_count = c->decoded_bytes = 0;
}

/* Takes the struct feed_event, which may be NULL. */
static void event_add(sluice_consumer *c, struct feed *f, enum sluice_event_type type,
                      struct feed_event *told)
{
    if (c->event_count == c->event_capacity) {
        c->event_capacity = c->event_capacity ? 2 * c->event_capacity : 8;
        c->events = mem_realloc(c->events, c->event_capacity * sizeof *c->events);
        c->told = mem_realloc(c->told, c->event_capacity * sizeof *c->told);
    }
    c->told[c->event_count] = told;
    c->events[c->event_count++] = (struct sluice_event){.type = type,
                                                        .partition = f->partition,
                                                        .topic = f->topic_name,
                                                        .offset = f->position,
                                                        .from = told ? told->from : f->position,
                                                        .error = told ? &told->error : NULL};
}

/* All that was fetched is given out: now what else there is to tell. */
static void feed_tell(sluice_consumer *c, struct feed *f)
{
    if (f->event) {
        struct feed_event *event = f->event;
        f->event = NULL;
        if (event->type == SLUICE_EVENT_RESET)
            f->position = f->fetch_at;
        event_add(c, f, event->type, event);
        feed_to(c, f, FEED_TODO);
    } else if (c->settings.consumer.tell_end && f->is_located && f->high >= 0 &&
               f->position >= f->high && f->end_told_at != f->position) {
        f->end_told_at = f->position;
        event_add(c, f, SLUICE_EVENT_END, NULL);
    }
}

/* Damaged on the way, perhaps: it is fetched once more. Damaged again: that is what the broker has.
 */
static void feed_damaged(sluice_consumer *c, struct feed *f, err e)
{
    const int64_t at = f->position;
    const bool is_second = f->corrupt_at == at;
    feed_seek(c, f, at, false);
    f->corrupt_at = at;
    if (!is_second)
        return;
    char where[TOPIC_NAME_MAX + 80];
    snprintf(where, sizeof where, "topic %s partition %d offset %lld", f->topic_name, f->partition,
             (long long)at);
    struct wire_error why = wire_error_of(e);
    why.err_class = CLASS_STORAGE;
    why.message = slice_str(e == E_MESSAGE_TOO_LARGE
                                ? "the batch there decompresses to more than is allowed"
                                : "the batch there is damaged; to read on, seek behind it");
    feed_fail(c, f, &why, "read", where, true);
}

/* With the mutex, which is let go of while records are read. */
static void feed_serve(sluice_consumer *c, struct feed *f)
{
    while (!poll_is_full(c)) {
        if (!f->current && f->first) {
            f->current = f->first;
            f->first = f->current->next;
            f->last = f->first ? f->last : NULL;
            f->queued -= f->current->size;
            f->at = 0;
            feed_to(c, f, FEED_TODO);
        }
        if (!f->current) {
            feed_tell(c, f);
            return;
        }
        pthread_mutex_unlock(&c->mutex);
        const err e = chunk_read(c, f);
        pthread_mutex_lock(&c->mutex);
        if (e == E_END) {
            f->current->next = c->retired;
            c->retired = f->current;
            f->current = NULL;
        } else if (e) {
            feed_damaged(c, f, e);
            return;
        }
    }
}

/* Takes from each feed that has something, in turn, until the poll is full. */
static void deliver(sluice_consumer *c)
{
    struct feed *f;
    while (!poll_is_full(c) && (f = c->deliver.first)) {
        feed_undeliver(c, f);
        feed_serve(c, f);
        if (has_news(c, f))
            feed_deliver(c, f);
    }
}

int sluice_consumer_poll(sluice_consumer *consumer, int64_t timeout_ms, struct sluice_poll *out,
                         struct sluice_error *error)
{
    sluice_consumer *c = consumer;
    struct shell_call call;
    err e = shell_begin(&c->shell, &call, timeout_of(c, timeout_ms));
    if (e)
        return problem(error, e, "poll", "", "%s", e == E_CANCELLED ? "woken up" : err_text(e));
    pthread_mutex_lock(&c->mutex);
    bool wake = c->retired && c->blocked.first; /* for which memory may have been missing */
    views_release(c);
    for (;;) {
        deliver(c);
        if (c->message_count || c->event_count || e)
            break;
        e = wait_unlocked(c, &call, wake || c->todo.first);
        wake = false;
        if (e == E_CANCELLED) {
            /* What came meanwhile is for the next poll. */
            post_unlock(c, false);
            return problem(error, e, "poll", "", "woken up");
        }
    }
    post_unlock(c, wake || c->todo.first);
    *out = (struct sluice_poll){.messages = c->messages,
                                .message_count = c->message_count,
                                .events = c->events,
                                .event_count = c->event_count};
    return problem_none(error);
}

bool sluice_header_next(const struct sluice_message *message, size_t *pos,
                        struct sluice_header_view *out)
{
    if (*pos >= message->headers_size)
        return false;
    struct reader r = reader_init(
        slice_of((const uint8_t *)message->headers + *pos, message->headers_size - *pos));
    struct slice key, value;
    if (record_next_header(&r, &key, &value))
        return false;
    *pos = message->headers_size - reader_left(&r);
    *out = (struct sluice_header_view){.key = (const char *)key.data,
                                       .key_size = key.size,
                                       .value = value.data,
                                       .value_size = value.size};
    return true;
}

/* --- the other calls
 * ---------------------------------------------------------------------------------- */

static struct interest *interest_find(sluice_consumer *c, const char *name)
{
    struct interest *i;
    HASH_FIND_STR(c->interests, name, i);
    if (!i) {
        i = MEM_NEW(struct interest);
        i->name = mem_strdup(name);
        HASH_ADD_KEYPTR(hh, c->interests, i->name, strlen(i->name), i);
    }
    return i;
}

int sluice_consumer_partitions(sluice_consumer *consumer, const char *topic, int64_t timeout_ms,
                               int32_t *count, struct sluice_error *error)
{
    sluice_consumer *c = consumer;
    struct shell_call call;
    err e = shell_begin(&c->shell, &call, timeout_of(c, timeout_ms));
    if (e)
        return refuse(error, e, "describe partitions", topic, -1, "");
    pthread_mutex_lock(&c->mutex);
    struct interest *i = interest_find(c, topic);
    i->waiters++;
    c->interests_changed = true;
    while (!e && !i->partition_count && !(i->error && !class_is_retriable(i->error_class)))
        e = wait_unlocked(c, &call, !i->is_wanted);
    i->waiters--;
    c->interests_changed = true;
    int code = SLUICE_OK;
    if (i->partition_count) {
        *count = i->partition_count;
    } else {
        if (i->error && (!e || e == E_TIMED_OUT))
            e = i->error;
        char detail[sizeof error->text];
        snprintf(detail, sizeof detail, "its partitions are not known: %s",
                 i->explanation ? i->explanation : "no answer yet");
        code = refuse(error, e, "describe partitions", topic, -1, detail);
    }
    post_unlock(c, true);
    return code ? code : problem_none(error);
}

void sluice_consumer_stats(sluice_consumer *consumer, struct sluice_consumer_stats *out)
{
    pthread_mutex_lock(&consumer->mutex);
    *out = consumer->stats;
    out->queued = consumer->queued;
    pthread_mutex_unlock(&consumer->mutex);
}

void sluice_consumer_wakeup(sluice_consumer *consumer)
{
    shell_wakeup(&consumer->shell);
}

int sluice_consumer_close(sluice_consumer *consumer, int64_t timeout_ms, struct sluice_error *error)
{
    (void)timeout_ms; /* reading leaves nothing to wait for */
    if (consumer) {
        shell_stop(&consumer->shell);
        consumer_free(consumer);
    }
    return problem_none(error);
}
