/* SPDX-License-Identifier: Apache-2.0 */
/* The producer as applications see it: sluice.h describes it. What happens on the loop is in
 * sender.c. */
#include "clients/lib/producer_priv.h"

#include <stdio.h>
#include <string.h>

#include "proto/base/check.h"
#include "proto/base/limits.h"

/* Records with more headers take an allocation. */
enum { HEADERS_ON_STACK = 16 };

/* --- life --------------------------------------------------------------------------------------
 */

static void producer_init(sluice_producer *p, const struct sluice_producer_callbacks *callbacks)
{
    if (callbacks)
        p->callbacks = *callbacks;
    pthread_mutex_init(&p->mutex, NULL);
    accumulator_init(&p->acc, &p->settings, p->callbacks.on_delivery != NULL);
    p->mail.fn = sender_on_mail;
    sender_init(p);
}

static void producer_free(sluice_producer *p)
{
    sender_deinit(p);
    accumulator_deinit(&p->acc);
    struct target *t, *next;
    HASH_ITER(hh, p->targets, t, next)
    {
        HASH_DEL(p->targets, t);
        target_free(t);
    }
    shell_deinit(&p->shell);
    pthread_mutex_destroy(&p->mutex);
    settings_deinit(&p->settings);
    mem_free(p);
}

int sluice_producer_new(const sluice_config *config,
                        const struct sluice_producer_callbacks *callbacks, sluice_producer **out,
                        struct sluice_error *error)
{
    sluice_producer *p = MEM_NEW(sluice_producer);
    const int code = settings_load(config, SLUICE_PRODUCER, &p->settings, error);
    if (code) {
        mem_free(p);
        return code;
    }
    const err e = shell_init(&p->shell, "sluice-producer");
    if (e) {
        settings_deinit(&p->settings);
        mem_free(p);
        return problem(error, e, "create producer", "", "no descriptors left");
    }
    rng_init_from_system(&p->rng);
    rng_init(&p->loop_rng, rng_u64(&p->rng));
    producer_init(p, callbacks);
    shell_start(&p->shell);
    *out = p;
    return problem_none(error);
}

int producer_new_driven(struct loop *l, void (*turn)(void *arg, int64_t timeout_us), void *arg,
                        uint64_t seed, const sluice_config *config,
                        const struct sluice_producer_callbacks *callbacks, sluice_producer **out,
                        struct sluice_error *error)
{
    sluice_producer *p = MEM_NEW(sluice_producer);
    const int code = settings_load(config, SLUICE_PRODUCER, &p->settings, error);
    if (code) {
        mem_free(p);
        return code;
    }
    shell_drive(&p->shell, l, turn, arg);
    rng_init(&p->rng, seed);
    rng_init(&p->loop_rng, rng_u64(&p->rng));
    producer_init(p, callbacks);
    *out = p;
    return problem_none(error);
}

/* --- shared by the calls ------------------------------------------------------------------------
 */

/* Call with the mutex; post_unlock posts if it said so, after letting go of it. */
static bool must_post(sluice_producer *p, bool wake)
{
    if (!wake || p->is_posted)
        return false;
    p->is_posted = true;
    return true;
}

static void post_unlock(sluice_producer *p, bool wake)
{
    const bool post = must_post(p, wake);
    pthread_mutex_unlock(&p->mutex);
    if (post)
        loop_post(p->shell.loop, &p->mail);
}

/* Waits, with the mutex let go meanwhile; the loop is told first if wake. */
static err wait_unlocked(sluice_producer *p, struct shell_call *call, bool wake)
{
    const uint32_t seen = shell_look(&p->shell);
    post_unlock(p, wake);
    const err e = shell_wait(&p->shell, call, seen);
    pthread_mutex_lock(&p->mutex);
    return e;
}

static int64_t timeout_of(const sluice_producer *p, int64_t timeout_ms)
{
    return timeout_ms < 0 ? p->settings.api_timeout_ms : timeout_ms;
}

static int refuse(struct sluice_error *error, err e, const char *tried, const char *topic,
                  const char *detail)
{
    char where[TOPIC_NAME_MAX + 16];
    snprintf(where, sizeof where, "topic %.*s", TOPIC_NAME_MAX, topic);
    if (e == E_NOT_PERMITTED)
        detail = "a call that may block was made from a callback";
    else if (e == E_CANCELLED)
        detail = "woken up, or the producer is being closed";
    return problem(error, e, tried, where, "%s", detail);
}

/* --- topics
 * --------------------------------------------------------------------------------------- */

void target_free(struct target *t)
{
    for (int32_t i = 0; i < t->lane_count; i++)
        mem_free(t->lanes[i]);
    mem_free(t->lanes);
    mem_free(t->loads);
    mem_free(t->explanation);
    mem_free(t->name);
    mem_free(t);
}

static struct target *target_find(sluice_producer *p, const char *name)
{
    struct target *t = p->last;
    if (t && strcmp(t->name, name) == 0)
        return t;
    HASH_FIND_STR(p->targets, name, t);
    if (!t) {
        t = MEM_NEW(struct target);
        t->name = mem_strdup(name);
        t->sticky = -1;
        HASH_ADD_KEYPTR(hh, p->targets, t->name, strlen(t->name), t);
        p->targets_changed = true;
    }
    p->last = t;
    return t;
}

/* What cannot become right by waiting. */
static bool is_hopeless(const struct target *t)
{
    return t->error && !class_is_retriable(t->error_class);
}

static int target_refuse(const struct target *t, err e, const char *tried,
                         struct sluice_error *error)
{
    if (e == E_TIMED_OUT && t->error)
        e = t->error;
    char detail[sizeof error->text];
    snprintf(detail, sizeof detail, "its partitions are not known: %s",
             t->explanation ? t->explanation : "no answer yet");
    return refuse(error, e, tried, t->name, detail);
}

/* Waits, if the call may, until the topic has lanes. With the mutex. SLUICE_OK: *out. */
static int target_await(sluice_producer *p, const char *name, struct shell_call *call,
                        const char *tried, struct target **out, struct sluice_error *error)
{
    struct target *t = target_find(p, name);
    if (t->is_ready) {
        *out = t;
        return SLUICE_OK;
    }
    err e = OK;
    t->waiters++;
    while (!e && !t->is_ready && !is_hopeless(t))
        e = wait_unlocked(p, call, !t->is_wanted);
    t->waiters--;
    if (t->is_ready) {
        *out = t;
        return SLUICE_OK;
    }
    const int code = target_refuse(t, e ? e : E_TIMED_OUT, tried, error);
    /* The loop drops what nobody waits for. */
    p->targets_changed = true;
    if (must_post(p, true))
        loop_post(p->shell.loop, &p->mail);
    return code;
}

/* --- partitions
 * ------------------------------------------------------------------------------------ */

static int32_t sticky_draw(sluice_producer *p, struct target *t)
{
    size_t count = 0;
    for (int32_t i = 0; i < t->lane_count; i++) {
        if (t->lanes[i]->has_leader)
            t->loads[count++] =
                (struct partition_load){.partition = i, .waiting = t->lanes[i]->count};
    }
    /* None has a leader: any will do, its records wait for one. */
    for (int32_t i = 0; count == 0 && i < t->lane_count; i++)
        t->loads[i] = (struct partition_load){.partition = i};
    return partition_draw(t->loads, count ? count : (size_t)t->lane_count,
                          p->settings.producer.adaptive, &p->rng);
}

static struct lane *lane_for(sluice_producer *p, struct target *t, struct slice key)
{
    if (key.data)
        return t->lanes[partition_for_key(key, t->lane_count)];
    if (t->sticky < 0 || t->sticky_left == 0) {
        t->sticky = t->lane_count == 1 ? 0 : sticky_draw(p, t);
        t->sticky_left = p->settings.producer.batch_size;
    }
    return t->lanes[t->sticky];
}

static void sticky_note(struct target *t, struct slice key, size_t size)
{
    if (!key.data)
        t->sticky_left -= size < t->sticky_left ? size : t->sticky_left;
}

/* --- sending
 * ------------------------------------------------------------------------------------------ */

static int too_large(struct sluice_error *error, const char *topic, size_t size, const char *limit,
                     size_t max)
{
    char detail[160];
    snprintf(detail, sizeof detail, "the record is %zu bytes, %s is %zu", size, limit, max);
    return refuse(error, E_MESSAGE_TOO_LARGE, "send", topic, detail);
}

/* With the mutex, and lets go of it. partition -1: to be chosen. */
static int send_locked(sluice_producer *p, int32_t partition, const struct sluice_record *record,
                       const struct record *r, struct shell_call *call, struct sluice_error *error)
{
    struct target *t;
    int code = target_await(p, record->topic, call, "send", &t, error);
    if (code == SLUICE_OK && p->is_closed) {
        code = refuse(error, E_CANCELLED, "send", record->topic, "");
    } else if (code == SLUICE_OK && partition >= t->lane_count) {
        char detail[96];
        snprintf(detail, sizeof detail, "partition %d: it has %d", partition, t->lane_count);
        code = refuse(error, E_UNKNOWN_TOPIC_OR_PARTITION, "send", record->topic, detail);
    }
    if (code) {
        pthread_mutex_unlock(&p->mutex);
        return code;
    }
    bool wake = false;
    for (;;) {
        struct lane *lane = partition < 0 ? lane_for(p, t, r->key) : t->lanes[partition];
        const int64_t timestamp_ms =
            record->timestamp_ms ? record->timestamp_ms : loop_wall_ms(p->shell.loop);
        size_t size;
        err e = OK;
        if (!accumulator_add(&p->acc, lane, r, timestamp_ms, record->opaque, &size))
            e = accumulator_open(&p->acc, lane, r, timestamp_ms, record->opaque,
                                 loop_clock_us(p->shell.loop), &size, &wake);
        if (e == OK) {
            if (partition < 0)
                sticky_note(t, r->key, size);
            p->stats.records_sent++;
            p->stats.bytes_sent += size;
            post_unlock(p, wake);
            return SLUICE_OK;
        }
        if (e == E_WOULD_BLOCK) {
            p->stats.memory_waits += call->may_block;
            p->acc.starving++;
            accumulator_make_due(&p->acc, 0);
            e = wait_unlocked(p, call, true);
            p->acc.starving--;
            wake = false;
        }
        if (e == OK)
            continue;
        post_unlock(p, wake);
        if (e == E_MESSAGE_TOO_LARGE)
            return too_large(error, record->topic, record_size(r), "buffer.memory",
                             p->settings.producer.buffer_memory);
        return refuse(error, e, "send", record->topic,
                      "buffer.memory is used up by records that are not delivered");
    }
}

static int send_record(sluice_producer *p, int32_t partition, const struct sluice_record *record,
                       int64_t timeout_ms, const struct record *r, struct sluice_error *error)
{
    struct shell_call call;
    const err e = shell_begin(&p->shell, &call, timeout_of(p, timeout_ms));
    if (e)
        return refuse(error, e, "send", record->topic, "");
    const size_t size_max = p->settings.producer.request_size_max;
    if (r->key.size > size_max || r->value.size > size_max || record_size(r) > size_max)
        return too_large(error, record->topic, record_size(r), "max.request.size", size_max);
    pthread_mutex_lock(&p->mutex);
    return send_locked(p, partition, record, r, &call, error);
}

/* A slice of the record; size 0 with a pointer is an empty one. */
static struct slice slice_given(const void *data, size_t size)
{
    return slice_of(data, data ? size : 0);
}

static int send_with_headers(sluice_producer *p, int32_t partition,
                             const struct sluice_record *record, int64_t timeout_ms,
                             struct record *r, struct sluice_error *error)
{
    struct record_header some[HEADERS_ON_STACK];
    const size_t count = record->header_count;
    struct record_header *headers =
        count <= HEADERS_ON_STACK ? some : mem_alloc(count * sizeof *headers);
    for (size_t i = 0; i < count; i++) {
        const struct sluice_header *h = &record->headers[i];
        headers[i] = (struct record_header){.key = slice_str(h->key),
                                            .value = slice_given(h->value, h->value_size)};
    }
    r->headers = headers;
    r->header_count = count;
    const int code = send_record(p, partition, record, timeout_ms, r, error);
    if (headers != some)
        mem_free(headers);
    return code;
}

static int send_any(sluice_producer *p, int32_t partition, const struct sluice_record *record,
                    int64_t timeout_ms, struct sluice_error *error)
{
    struct record r = {.key = slice_given(record->key, record->key_size),
                       .value = slice_given(record->value, record->value_size)};
    if (record->timestamp_ms < 0)
        return refuse(error, E_INVALID_TIMESTAMP, "send", record->topic,
                      "the timestamp is negative");
    if (record->header_count)
        return send_with_headers(p, partition, record, timeout_ms, &r, error);
    return send_record(p, partition, record, timeout_ms, &r, error);
}

int sluice_producer_send(sluice_producer *producer, const struct sluice_record *record,
                         int64_t timeout_ms, struct sluice_error *error)
{
    return send_any(producer, -1, record, timeout_ms, error);
}

int sluice_producer_send_to(sluice_producer *producer, int32_t partition,
                            const struct sluice_record *record, int64_t timeout_ms,
                            struct sluice_error *error)
{
    if (partition < 0)
        return refuse(error, E_UNKNOWN_TOPIC_OR_PARTITION, "send", record->topic,
                      "the partition is negative");
    return send_any(producer, partition, record, timeout_ms, error);
}

/* --- the other calls
 * ---------------------------------------------------------------------------------- */

static int flush_result(sluice_producer *p, err e, uint64_t below, struct sluice_error *error)
{
    const bool all = !p->acc.oldest || p->acc.oldest->seq >= below;
    if (!all && e == E_TIMED_OUT)
        return problem(error, e, "flush", "", "records are still under way");
    if (!all)
        return problem(error, e, "flush", "", "%s", e == E_CANCELLED ? "woken up" : err_text(e));
    if (!p->has_failed)
        return problem_none(error);
    p->has_failed = false;
    return problem_copy(error, &p->first_failure);
}

int sluice_producer_flush(sluice_producer *producer, int64_t timeout_ms, struct sluice_error *error)
{
    sluice_producer *p = producer;
    struct shell_call call;
    err e = shell_begin(&p->shell, &call, timeout_of(p, timeout_ms));
    if (e)
        return problem(error, e, "flush", "", "%s", e == E_CANCELLED ? "woken up" : err_text(e));
    pthread_mutex_lock(&p->mutex);
    const uint64_t below = p->acc.next_seq;
    p->acc.flushing++;
    accumulator_make_due(&p->acc, 0);
    while (!e && p->acc.oldest && p->acc.oldest->seq < below)
        e = wait_unlocked(p, &call, true);
    p->acc.flushing--;
    const int code = flush_result(p, e, below, error);
    pthread_mutex_unlock(&p->mutex);
    return code;
}

int sluice_producer_partitions(sluice_producer *producer, const char *topic, int64_t timeout_ms,
                               int32_t *count, struct sluice_error *error)
{
    sluice_producer *p = producer;
    struct shell_call call;
    const err e = shell_begin(&p->shell, &call, timeout_of(p, timeout_ms));
    if (e)
        return refuse(error, e, "describe partitions", topic, "");
    pthread_mutex_lock(&p->mutex);
    struct target *t;
    const int code = target_await(p, topic, &call, "describe partitions", &t, error);
    if (code == SLUICE_OK)
        *count = t->lane_count;
    pthread_mutex_unlock(&p->mutex);
    return code;
}

void sluice_producer_stats(sluice_producer *producer, struct sluice_producer_stats *out)
{
    pthread_mutex_lock(&producer->mutex);
    *out = producer->stats;
    out->memory_used = producer->acc.used;
    pthread_mutex_unlock(&producer->mutex);
}

void sluice_producer_wakeup(sluice_producer *producer)
{
    shell_wakeup(&producer->shell);
}

int sluice_producer_close(sluice_producer *producer, int64_t timeout_ms, struct sluice_error *error)
{
    if (!producer)
        return problem_none(error);
    if (loop_is_current(producer->shell.loop) && atomic_load(&producer->shell.in_callback))
        return problem(error, E_NOT_PERMITTED, "close producer", "",
                       "a callback cannot close its own handle");
    const int code = sluice_producer_flush(producer, timeout_ms, error);
    shell_stop(&producer->shell);
    producer_free(producer);
    return code;
}
