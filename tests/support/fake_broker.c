/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/fake_broker.h"

#include <string.h>

#include "proto/base/mem.h"
#include "proto/net/service.h"
#include "proto/schema/delete_records.pb-c.h"
#include "proto/schema/hello.pb-c.h"
#include "proto/schema/list_offsets.pb-c.h"
#include "proto/schema/metadata.pb-c.h"
#include "proto/schema/topic_admin.pb-c.h"
#include "proto/wire/batch.h"
#include "proto/wire/codec.h"
#include "proto/wire/fetch.h"
#include "proto/wire/produce.h"
#include "proto/wire/record.h"
#include "tests/support/test.h"

enum { PARTS_MAX = 1024, API_COUNT = API_END };

struct fault {
    struct fault *next;
    bool is_fetch;
    const struct fake_partition *p;
    enum fake_fault kind;
    err e;
    unsigned times;
};

/* A request that waits: for data, for a change, or for its delay to pass. */
struct parked {
    struct parked *next;
    struct fake_broker *b;
    struct request *r;
    struct timer timer;
    void (*finish)(struct parked *k, bool is_late);
    struct buf body;        /* fetch: the request again */
    uint64_t watch_version; /* metadata */
    char **topics;
    size_t topic_count;
    struct buf answer; /* produce: what to write */
    const struct fake_partition *parts[PARTS_MAX];
    size_t part_count;
    bool hangs_up;
};

struct fake_broker {
    struct fake_broker *next;
    struct fake_cluster *fc;
    struct loop *l;
    struct service *service;
    int32_t id;
    uint16_t port;
    bool is_stopped;
};

struct fake_cluster {
    struct rng rng;
    struct fake_topic *topics;
    struct fake_broker *brokers;
    struct fault *faults;
    struct parked *parked;
    uint64_t version;
    int64_t delay_us;
    unsigned most_under_way;
    unsigned requests[API_COUNT];
    bool is_mute, auto_create;
    err refusal; /* of metadata */
    int32_t next_id;
    struct codec_ctx *codec;
};

/* --- the cluster ------------------------------------------------------------------------------ */

struct fake_cluster *fake_cluster_new(uint64_t seed)
{
    struct fake_cluster *fc = MEM_NEW(struct fake_cluster);
    rng_init(&fc->rng, seed);
    fc->version = 1;
    fc->next_id = 1;
    fc->codec = codec_ctx_new();
    return fc;
}

static void topic_free(struct fake_topic *t)
{
    for (int32_t i = 0; i < t->partition_count; i++)
        buf_deinit(&t->partitions[i].log);
    mem_free(t->partitions);
    mem_free(t->name);
    mem_free(t);
}

void fake_cluster_free(struct fake_cluster *fc)
{
    assert_null(fc->brokers);
    assert_null(fc->parked);
    while (fc->topics) {
        struct fake_topic *t = fc->topics;
        fc->topics = t->next;
        topic_free(t);
    }
    while (fc->faults) {
        struct fault *f = fc->faults;
        fc->faults = f->next;
        mem_free(f);
    }
    codec_ctx_free(fc->codec);
    mem_free(fc);
}

struct fake_topic *fake_cluster_find(struct fake_cluster *fc, const char *name)
{
    struct fake_topic *t = fc->topics;
    while (t && strcmp(t->name, name))
        t = t->next;
    return t;
}

struct fake_topic *fake_cluster_topic(struct fake_cluster *fc, const char *name, int32_t partitions)
{
    struct fake_topic *t = MEM_NEW(struct fake_topic);
    *t = (struct fake_topic){.next = fc->topics,
                             .name = mem_strdup(name),
                             .id = rng_uuid(&fc->rng),
                             .partition_count = partitions,
                             .partitions = mem_zalloc((size_t)partitions * sizeof *t->partitions)};
    const int32_t brokers = fc->next_id - 1;
    for (int32_t i = 0; i < partitions; i++)
        t->partitions[i] = (struct fake_partition){.topic = t,
                                                   .partition = (uint32_t)i,
                                                   .leader = brokers ? i % brokers + 1 : 1,
                                                   .leader_epoch = 1};
    fc->topics = t;
    fake_cluster_changed(fc);
    return t;
}

void fake_cluster_delete(struct fake_cluster *fc, const char *name)
{
    for (struct fake_topic **at = &fc->topics; *at; at = &(*at)->next) {
        struct fake_topic *t = *at;
        if (strcmp(t->name, name))
            continue;
        *at = t->next;
        topic_free(t);
        break;
    }
    fake_cluster_changed(fc);
}

void fake_cluster_move(struct fake_cluster *fc, struct fake_partition *p, int32_t leader, bool tell)
{
    p->leader = leader;
    p->leader_epoch++;
    if (tell)
        fake_cluster_changed(fc);
}

void fake_cluster_fault(struct fake_cluster *fc, bool is_fetch, const struct fake_partition *p,
                        enum fake_fault kind, err e, unsigned times)
{
    struct fault *f = MEM_NEW(struct fault), **end = &fc->faults;
    *f = (struct fault){.is_fetch = is_fetch, .p = p, .kind = kind, .e = e, .times = times};
    while (*end)
        end = &(*end)->next;
    *end = f;
}

void fake_cluster_delay(struct fake_cluster *fc, int64_t us)
{
    fc->delay_us = us;
}

unsigned fake_cluster_most_under_way(const struct fake_cluster *fc)
{
    return fc->most_under_way;
}

unsigned fake_cluster_requests(const struct fake_cluster *fc, uint32_t api)
{
    return fc->requests[api];
}

void fake_cluster_mute_metadata(struct fake_cluster *fc, bool mute)
{
    fc->is_mute = mute;
}

void fake_cluster_refuse_metadata(struct fake_cluster *fc, err e)
{
    fc->refusal = e;
}

void fake_cluster_auto_create(struct fake_cluster *fc, bool on)
{
    fc->auto_create = on;
}

/* The fault that strikes now, NULL: none. */
static const struct fault *fault_next(struct fake_cluster *fc, bool is_fetch,
                                      const struct fake_partition *p)
{
    for (struct fault *f = fc->faults; f; f = f->next) {
        if (f->times == 0 || f->is_fetch != is_fetch || (f->p && f->p != p))
            continue;
        f->times--;
        return f;
    }
    return NULL;
}

/* --- parked requests ----------------------------------------------------------------------------
 */

static void on_parked_due(void *arg)
{
    struct parked *k = arg;
    k->finish(k, true);
}

static void on_parked_cancel(void *arg, struct request *r)
{
    struct parked *k = arg;
    (void)r;
    k->finish(k, true);
}

static struct parked *park(struct fake_broker *b, struct request *r, int64_t us,
                           void (*finish)(struct parked *k, bool is_late))
{
    struct parked *k = MEM_NEW(struct parked);
    k->next = b->fc->parked;
    k->b = b;
    k->r = r;
    k->finish = finish;
    b->fc->parked = k;
    timer_start(b->l, &k->timer, us, on_parked_due, k);
    service_on_cancel(r, on_parked_cancel, k);
    return k;
}

static void unpark(struct parked *k)
{
    for (struct parked **at = &k->b->fc->parked; *at; at = &(*at)->next) {
        if (*at == k) {
            *at = k->next;
            break;
        }
    }
    timer_stop(k->b->l, &k->timer);
    service_on_cancel(k->r, NULL, NULL);
    for (size_t i = 0; i < k->topic_count; i++)
        mem_free(k->topics[i]);
    mem_free(k->topics);
    buf_deinit(&k->body);
    buf_deinit(&k->answer);
    mem_free(k);
}

/* Each parked request gets one look; those it finishes leave the list. */
static void look_again(struct fake_cluster *fc)
{
    struct parked *all[256];
    size_t count = 0;
    for (struct parked *k = fc->parked; k && count < 256; k = k->next)
        all[count++] = k;
    for (size_t i = 0; i < count; i++) {
        bool is_there = false;
        for (struct parked *k = fc->parked; k; k = k->next)
            is_there |= k == all[i];
        if (is_there)
            all[i]->finish(all[i], false);
    }
}

void fake_cluster_changed(struct fake_cluster *fc)
{
    fc->version++;
    look_again(fc);
}

/* --- metadata
 * -------------------------------------------------------------------------------------- */

static void topic_describe(struct arena *a, struct fake_topic *t, const char *name,
                           Sluice__TopicInfo *out)
{
    sluice__topic_info__init(out);
    out->name = arena_printf(a, "%s", name);
    if (!t) {
        Sluice__Error *e = arena_alloc(a, sizeof *e);
        sluice__error__init(e);
        e->has_code = true;
        e->code = E_UNKNOWN_TOPIC_OR_PARTITION;
        out->error = e;
        return;
    }
    out->has_topic_id = true;
    out->topic_id = (ProtobufCBinaryData){.len = 16, .data = t->id.bytes};
    out->n_partition = (size_t)t->partition_count;
    out->partition = arena_alloc(a, (out->n_partition + 1) * sizeof *out->partition);
    Sluice__PartitionInfo *all = arena_alloc(a, (out->n_partition + 1) * sizeof *all);
    for (int32_t i = 0; i < t->partition_count; i++) {
        const struct fake_partition *p = &t->partitions[i];
        sluice__partition_info__init(&all[i]);
        all[i].has_partition = all[i].has_leader_epoch = true;
        all[i].partition = p->partition;
        all[i].leader_epoch = p->leader_epoch;
        all[i].has_leader = p->leader >= 0;
        all[i].leader = p->leader;
        out->partition[i] = &all[i];
    }
}

static void metadata_reply(struct fake_broker *b, struct request *r, char **names, size_t count)
{
    struct fake_cluster *fc = b->fc;
    struct arena *a = &r->arena;
    Sluice__MetadataResponse m = SLUICE__METADATA_RESPONSE__INIT;
    m.has_version = true;
    m.version = fc->version;
    m.cluster_id = (char *)(uintptr_t) "fake";
    size_t brokers = 0, topics = 0;
    for (struct fake_broker *o = fc->brokers; o; o = o->next)
        brokers++;
    for (struct fake_topic *t = fc->topics; t; t = t->next)
        topics++;
    m.broker = arena_alloc(a, (brokers + 1) * sizeof *m.broker);
    for (struct fake_broker *o = fc->brokers; o; o = o->next) {
        Sluice__BrokerInfo *info = arena_alloc(a, sizeof *info);
        sluice__broker_info__init(info);
        info->has_id = info->has_port = true;
        info->id = o->id;
        info->port = o->port;
        info->host = (char *)(uintptr_t) "127.0.0.1";
        m.broker[m.n_broker++] = info;
    }
    const size_t most = names ? count : topics;
    m.topic = arena_alloc(a, (most + 1) * sizeof *m.topic);
    Sluice__TopicInfo *infos = arena_alloc(a, (most + 1) * sizeof *infos);
    struct fake_topic *all = fc->topics;
    for (size_t i = 0; i < most; i++) {
        struct fake_topic *t = names ? fake_cluster_find(fc, names[i]) : all;
        topic_describe(a, t, names ? names[i] : t->name, &infos[i]);
        m.topic[m.n_topic++] = &infos[i];
        all = names ? NULL : all->next;
    }
    service_reply_message(r, &m);
}

static void metadata_finish(struct parked *k, bool is_late)
{
    if (k->b->fc->is_mute && service_conn(k->r))
        return;
    if (!is_late && k->b->fc->version <= k->watch_version)
        return;
    metadata_reply(k->b, k->r, k->topics, k->topic_count);
    unpark(k);
}

static void handle_metadata(void *user, struct request *r, const void *message)
{
    struct fake_broker *b = user;
    struct fake_cluster *fc = b->fc;
    const Sluice__MetadataRequest *m = message;
    fc->requests[API_METADATA]++;
    if (fc->refusal) {
        service_reply_error(r, fc->refusal, "refused by the test");
        return;
    }
    for (size_t i = 0; i < m->n_topic; i++) {
        if (fc->auto_create && m->allow_auto_topic_creation && !fake_cluster_find(fc, m->topic[i]))
            fake_cluster_topic(fc, m->topic[i], 1);
    }
    const bool waits = m->has_watch_version && fc->version <= m->watch_version;
    if (!waits && !fc->is_mute) {
        metadata_reply(b, r, m->all_topics ? NULL : m->topic, m->n_topic);
        return;
    }
    struct parked *k =
        park(b, r, (int64_t)(waits ? m->max_wait_ms : 3600 * 1000) * 1000, metadata_finish);
    k->watch_version = waits ? m->watch_version : 0;
    k->topics = mem_alloc((m->n_topic + 1) * sizeof *k->topics);
    for (size_t i = 0; i < m->n_topic; i++)
        k->topics[k->topic_count++] = mem_strdup(m->topic[i]);
}

/* --- produce
 * ------------------------------------------------------------------------------------------- */

static struct fake_partition *partition_find(struct fake_cluster *fc, struct slice name,
                                             uint32_t partition)
{
    for (struct fake_topic *t = fc->topics; t; t = t->next) {
        if (slice_eq(name, slice_str(t->name)) && partition < (uint32_t)t->partition_count)
            return &t->partitions[partition];
    }
    return NULL;
}

static err place_check(const struct fake_broker *b, const struct fake_partition *p,
                       struct slice topic_id, int32_t leader_epoch)
{
    if (!p)
        return E_UNKNOWN_TOPIC_OR_PARTITION;
    if (topic_id.size && !slice_eq(topic_id, slice_of(p->topic->id.bytes, 16)))
        return E_INCONSISTENT_TOPIC_ID;
    if (p->leader != b->id)
        return E_NOT_LEADER;
    if (leader_epoch >= 0 && leader_epoch < p->leader_epoch)
        return E_FENCED_LEADER_EPOCH;
    return OK;
}

/* What a client sends must be right: the test fails otherwise. */
static void batch_append(struct fake_cluster *fc, struct fake_partition *p,
                         const struct batch *from)
{
    struct batch b = *from;
    struct batch_summary summary;
    struct buf plain = {0};
    assert_true(b.is_canonical);
    assert_ok(batch_check_crcs(&b));
    assert_int_equal(b.topic_crc, batch_topic_crc(&p->topic->id, p->partition));
    assert_true(b.record_count > 0);
    assert_ok(codec_decompress(fc->codec, (enum batch_codec)(b.attributes & BATCH_CODEC_MASK),
                               b.records, codec_limit(b.records.size), &plain));
    assert_ok(batch_check_records(&b, buf_slice(&plain), true, &summary));
    assert_int_equal(summary.max_timestamp_seen, b.max_timestamp);
    buf_deinit(&plain);
    b.base_offset = p->high;
    b.leader_epoch = p->leader_epoch;
    b.header_crc = batch_header_crc(b.base_offset, b.leader_epoch, b.batch_crc);
    batch_write_header(&b, buf_reserve(&p->log, BATCH_HEADER_SIZE));
    p->log.size += BATCH_HEADER_SIZE;
    buf_append(&p->log, b.records.data, b.records.size);
    p->high += b.last_offset_delta + 1;
}

static void batches_append(struct fake_cluster *fc, struct fake_partition *p, struct slice batches)
{
    while (batches.size) {
        struct batch b;
        assert_ok(batch_read(batches, &b));
        batch_append(fc, p, &b);
        batches = slice_sub(batches, b.size, SIZE_MAX);
    }
    p->produces++;
}

static void produce_finish(struct parked *k, bool is_late)
{
    struct conn *c = service_conn(k->r);
    if (!is_late)
        return;
    if (c && k->hangs_up)
        conn_close(c);
    else if (c)
        conn_write(c, k->answer.data, k->answer.size);
    struct request *r = k->r;
    unpark(k);
    service_finish(r, OK);
}

static void under_way_note(struct fake_cluster *fc)
{
    for (const struct parked *k = fc->parked; k; k = k->next) {
        for (size_t i = 0; i < k->part_count; i++) {
            unsigned count = 0;
            for (const struct parked *o = fc->parked; o; o = o->next) {
                for (size_t j = 0; j < o->part_count; j++)
                    count += o->parts[j] == k->parts[i];
            }
            fc->most_under_way = count > fc->most_under_way ? count : fc->most_under_way;
        }
    }
}

static void handle_produce(void *user, struct request *r, struct slice body)
{
    struct fake_broker *b = user;
    struct fake_cluster *fc = b->fc;
    struct produce_request q;
    struct produce_cursor cursor;
    struct produce_part part;
    static struct produce_result results[PARTS_MAX];
    static const struct fake_partition *parts[PARTS_MAX];
    size_t count = 0;
    bool is_silent = false, hangs_up = false;
    fc->requests[API_PRODUCE]++;
    assert_ok(produce_parse(body, &q));
    produce_begin(&cursor, &q);
    while (produce_next(&cursor, &part)) {
        struct fake_partition *p = partition_find(fc, part.topic_name, part.partition);
        const struct fault *f = fault_next(fc, false, p);
        err e =
            f && f->kind == FAKE_ERROR ? f->e : place_check(b, p, part.topic_id, part.leader_epoch);
        assert_true(count < PARTS_MAX);
        struct produce_result *result = &results[count];
        *result = (struct produce_result){.topic_name = part.topic_name,
                                          .topic_id = part.topic_id,
                                          .first_of_topic = part.first_of_topic,
                                          .partition = part.partition,
                                          .log_append_time_ms = -1,
                                          .log_start_offset = -1,
                                          .leader_id = -1,
                                          .leader_epoch = -1};
        if (!e) {
            result->base_offset = p->high;
            batches_append(fc, p, part.batches);
            result->last_offset = p->high - 1;
            e = f && f->kind == FAKE_DONE_AND_ERROR ? f->e : OK;
        }
        if (f && f->kind == FAKE_DONE_AND_SILENT)
            is_silent = true;
        if (f && f->kind == FAKE_DONE_AND_HANG_UP)
            hangs_up = true;
        if (e == E_NOT_LEADER) {
            for (struct fake_broker *o = fc->brokers; o; o = o->next) {
                if (o->id != p->leader)
                    continue;
                result->leader_id = o->id;
                result->leader_host = slice_str("127.0.0.1");
                result->leader_port = o->port;
                result->leader_epoch = p->leader_epoch;
            }
        }
        result->error = e;
        parts[count++] = p;
    }
    if (q.acks == 0) {
        service_finish(r, OK);
    } else {
        /* Answers are made now, while the names are there, and sent later. */
        struct parked *k = park(b, r,
                                is_silent  ? INT64_C(3600) * 1000000
                                : hangs_up ? 0
                                           : fc->delay_us,
                                produce_finish);
        const size_t size = produce_response_size(r->correlation_id, results, count);
        produce_response_write(buf_reserve(&k->answer, size), r->correlation_id, results, count);
        k->answer.size = size;
        k->hangs_up = hangs_up;
        memcpy(k->parts, parts, count * sizeof *parts);
        k->part_count = count;
        under_way_note(fc);
    }
    look_again(fc);
}

/* --- fetch
 * -------------------------------------------------------------------------------------------------
 */

/* Whole batches from the one that holds offset on, at most max bytes but at least one. */
static struct slice log_read(const struct fake_partition *p, int64_t offset, size_t max)
{
    struct slice rest = buf_slice(&p->log), out = {0};
    while (rest.size) {
        struct batch b;
        assert_ok(batch_read_canonical(rest, &b));
        if (b.base_offset + b.last_offset_delta >= offset) {
            if (out.size && out.size + b.size > max)
                break;
            out = out.size ? slice_of(out.data, out.size + b.size) : slice_of(b.start, b.size);
        }
        rest = slice_sub(rest, b.size, SIZE_MAX);
    }
    return out;
}

static void fetch_finish(struct parked *k, bool is_late)
{
    struct fake_broker *b = k->b;
    struct fake_cluster *fc = b->fc;
    struct conn *c = service_conn(k->r);
    struct fetch_request q;
    struct fetch_cursor cursor;
    struct fetch_part part;
    static struct fetch_result results[PARTS_MAX];
    static size_t sizes[PARTS_MAX];
    static bool damaged[PARTS_MAX];
    size_t count = 0, bytes = 0;
    bool has_error = false;
    assert_ok(fetch_parse(buf_slice(&k->body), &q));
    fetch_begin(&cursor, &q);
    while (c && fetch_next(&cursor, &part)) {
        struct fake_partition *p = partition_find(fc, part.topic_name, part.partition);
        err e = place_check(b, p, part.topic_id, part.leader_epoch);
        if (!e && (part.fetch_offset < p->low || part.fetch_offset > p->high))
            e = E_OFFSET_OUT_OF_RANGE;
        const struct fault *f = !e && part.fetch_offset == p->high ? NULL : fault_next(fc, true, p);
        if (f && f->kind == FAKE_ERROR)
            e = f->e;
        damaged[count] = f && f->kind == FAKE_DAMAGED;
        results[count] = (struct fetch_result){.topic_name = part.topic_name,
                                               .topic_id = part.topic_id,
                                               .first_of_topic = part.first_of_topic,
                                               .partition = part.partition,
                                               .error = e,
                                               .high_watermark = p ? p->high : -1,
                                               .log_start_offset = p ? p->low : -1,
                                               .leader_id = -1,
                                               .leader_epoch = -1};
        if (!e)
            results[count].batches = log_read(
                p, part.fetch_offset,
                part.max_bytes < q.max_bytes - bytes ? part.max_bytes : q.max_bytes - bytes);
        bytes += results[count].batches.size;
        has_error |= e != OK;
        count++;
    }
    if (!is_late && !has_error && bytes < q.min_bytes)
        return;
    if (c && count) {
        struct buf heads = {0};
        fetch_response_heads(
            k->r->correlation_id, results, count,
            buf_reserve(&heads, fetch_heads_size(k->r->correlation_id, results, count)), sizes);
        const uint8_t *at = heads.data;
        for (size_t i = 0; i < count; i++) {
            conn_write(c, at, sizes[i]);
            at += sizes[i];
            if (damaged[i] && results[i].batches.size) {
                uint8_t *copy = conn_write_space(c, results[i].batches.size);
                memcpy(copy, results[i].batches.data, results[i].batches.size);
                copy[BATCH_HEADER_SIZE] ^= 0x40;
            } else {
                conn_write(c, results[i].batches.data, results[i].batches.size);
            }
        }
        buf_deinit(&heads);
    }
    struct request *r = k->r;
    unpark(k);
    service_finish(r, OK);
}

static void handle_fetch(void *user, struct request *r, struct slice body)
{
    struct fake_broker *b = user;
    struct fetch_request q;
    b->fc->requests[API_FETCH]++;
    assert_ok(fetch_parse(body, &q));
    struct parked *k = park(b, r, (int64_t)q.max_wait_ms * 1000, fetch_finish);
    buf_append(&k->body, body.data, body.size);
    fetch_finish(k, false);
}

/* --- offsets
 * ------------------------------------------------------------------------------------------------
 */

static int64_t offset_at(struct fake_cluster *fc, const struct fake_partition *p, int64_t time_ms,
                         int64_t *found_ms)
{
    *found_ms = -1;
    if (time_ms == -1)
        return p->high;
    if (time_ms == -2)
        return p->low;
    for (struct slice rest = buf_slice(&p->log); rest.size;) {
        struct batch b;
        assert_ok(batch_read_canonical(rest, &b));
        struct buf plain = {0};
        assert_ok(codec_decompress(fc->codec, (enum batch_codec)(b.attributes & BATCH_CODEC_MASK),
                                   b.records, codec_limit(b.records.size), &plain));
        struct reader records = reader_init(buf_slice(&plain));
        struct record_view v;
        while (record_next(&records, &v) == OK) {
            if (b.base_timestamp + v.timestamp_delta >= time_ms &&
                b.base_offset + v.offset_delta >= p->low) {
                *found_ms = b.base_timestamp + v.timestamp_delta;
                buf_deinit(&plain);
                return b.base_offset + v.offset_delta;
            }
        }
        buf_deinit(&plain);
        rest = slice_sub(rest, b.size, SIZE_MAX);
    }
    return -1;
}

static Sluice__Error *error_of(struct arena *a, err e)
{
    if (!e)
        return NULL;
    Sluice__Error *m = arena_alloc(a, sizeof *m);
    sluice__error__init(m);
    m->has_code = true;
    m->code = (int32_t)e;
    return m;
}

static void handle_list_offsets(void *user, struct request *r, const void *message)
{
    struct fake_broker *b = user;
    const Sluice__ListOffsetsRequest *m = message;
    struct arena *a = &r->arena;
    Sluice__ListOffsetsResponse answer = SLUICE__LIST_OFFSETS_RESPONSE__INIT;
    b->fc->requests[API_LIST_OFFSETS]++;
    answer.topic = arena_alloc(a, (m->n_topic + 1) * sizeof *answer.topic);
    for (size_t i = 0; i < m->n_topic; i++) {
        const Sluice__ListOffsetsTopic *t = m->topic[i];
        Sluice__ListOffsetsTopicResult *out = arena_alloc(a, sizeof *out);
        sluice__list_offsets_topic_result__init(out);
        out->name = t->name;
        out->partition = arena_alloc(a, (t->n_partition + 1) * sizeof *out->partition);
        for (size_t k = 0; k < t->n_partition; k++) {
            const struct fake_partition *p =
                partition_find(b->fc, slice_str(t->name), t->partition[k]->partition);
            const err e = place_check(b, p, slice_of(t->topic_id.data, t->topic_id.len), -1);
            Sluice__ListOffsetsPartitionResult *result = arena_alloc(a, sizeof *result);
            sluice__list_offsets_partition_result__init(result);
            result->has_partition = result->has_offset = result->has_timestamp = true;
            result->partition = t->partition[k]->partition;
            result->error = error_of(a, e);
            if (!e)
                result->offset =
                    offset_at(b->fc, p, t->partition[k]->timestamp, &result->timestamp);
            out->partition[out->n_partition++] = result;
        }
        answer.topic[answer.n_topic++] = out;
    }
    service_reply_message(r, &answer);
}

static void handle_delete_records(void *user, struct request *r, const void *message)
{
    struct fake_broker *b = user;
    const Sluice__DeleteRecordsRequest *m = message;
    struct arena *a = &r->arena;
    Sluice__DeleteRecordsResponse answer = SLUICE__DELETE_RECORDS_RESPONSE__INIT;
    answer.topic = arena_alloc(a, (m->n_topic + 1) * sizeof *answer.topic);
    for (size_t i = 0; i < m->n_topic; i++) {
        const Sluice__DeleteRecordsTopic *t = m->topic[i];
        Sluice__DeleteRecordsTopicResult *out = arena_alloc(a, sizeof *out);
        sluice__delete_records_topic_result__init(out);
        out->name = t->name;
        out->partition = arena_alloc(a, (t->n_partition + 1) * sizeof *out->partition);
        for (size_t k = 0; k < t->n_partition; k++) {
            struct fake_partition *p =
                partition_find(b->fc, slice_str(t->name), t->partition[k]->partition);
            const err e = place_check(b, p, slice_of(NULL, 0), -1);
            Sluice__DeleteRecordsPartitionResult *result = arena_alloc(a, sizeof *result);
            sluice__delete_records_partition_result__init(result);
            result->has_partition = true;
            result->partition = t->partition[k]->partition;
            result->error = error_of(a, e);
            if (!e) {
                p->low =
                    t->partition[k]->before_offset < 0 ? p->high : t->partition[k]->before_offset;
                result->has_log_start_offset = true;
                result->log_start_offset = p->low;
            }
            out->partition[out->n_partition++] = result;
        }
        answer.topic[answer.n_topic++] = out;
    }
    service_reply_message(r, &answer);
}

/* --- topics
 * ---------------------------------------------------------------------------------------------------
 */

static void topics_reply(struct fake_broker *b, struct request *r, char **names, const err *errors,
                         size_t count)
{
    struct arena *a = &r->arena;
    Sluice__TopicsResponse answer = SLUICE__TOPICS_RESPONSE__INIT;
    answer.has_version = true;
    answer.version = b->fc->version;
    answer.topic = arena_alloc(a, (count + 1) * sizeof *answer.topic);
    for (size_t i = 0; i < count; i++) {
        Sluice__TopicResult *t = arena_alloc(a, sizeof *t);
        sluice__topic_result__init(t);
        t->name = names[i];
        t->error = error_of(a, errors[i]);
        answer.topic[answer.n_topic++] = t;
    }
    service_reply_message(r, &answer);
}

static void handle_create_topics(void *user, struct request *r, const void *message)
{
    struct fake_broker *b = user;
    const Sluice__CreateTopicsRequest *m = message;
    char **names = arena_alloc(&r->arena, (m->n_topic + 1) * sizeof *names);
    err *errors = arena_alloc(&r->arena, (m->n_topic + 1) * sizeof *errors);
    b->fc->requests[API_CREATE_TOPICS]++;
    for (size_t i = 0; i < m->n_topic; i++) {
        names[i] = m->topic[i]->name;
        errors[i] = fake_cluster_find(b->fc, names[i]) ? E_TOPIC_EXISTS : OK;
        if (!errors[i] && !m->validate_only)
            fake_cluster_topic(b->fc, names[i],
                               m->topic[i]->has_partitions ? m->topic[i]->partitions : 1);
    }
    topics_reply(b, r, names, errors, m->n_topic);
}

static void handle_delete_topics(void *user, struct request *r, const void *message)
{
    struct fake_broker *b = user;
    const Sluice__DeleteTopicsRequest *m = message;
    err *errors = arena_alloc(&r->arena, (m->n_topic + 1) * sizeof *errors);
    for (size_t i = 0; i < m->n_topic; i++) {
        errors[i] = fake_cluster_find(b->fc, m->topic[i]) ? OK : E_UNKNOWN_TOPIC_OR_PARTITION;
        if (!errors[i])
            fake_cluster_delete(b->fc, m->topic[i]);
    }
    topics_reply(b, r, m->topic, errors, m->n_topic);
}

/* --- a broker
 * ---------------------------------------------------------------------------------------------------
 */

static const struct service_api apis[] = {
    {.api = API_METADATA,
     .frame_bytes_max = 1 << 20,
     .request = &sluice__metadata_request__descriptor,
     .handle = handle_metadata},
    {.api = API_PRODUCE, .frame_bytes_max = 100 << 20, .handle_raw = handle_produce},
    {.api = API_FETCH, .frame_bytes_max = 1 << 20, .handle_raw = handle_fetch},
    {.api = API_LIST_OFFSETS,
     .frame_bytes_max = 1 << 20,
     .request = &sluice__list_offsets_request__descriptor,
     .handle = handle_list_offsets},
    {.api = API_DELETE_RECORDS,
     .frame_bytes_max = 1 << 20,
     .request = &sluice__delete_records_request__descriptor,
     .handle = handle_delete_records},
    {.api = API_CREATE_TOPICS,
     .frame_bytes_max = 1 << 20,
     .request = &sluice__create_topics_request__descriptor,
     .handle = handle_create_topics},
    {.api = API_DELETE_TOPICS,
     .frame_bytes_max = 1 << 20,
     .request = &sluice__delete_topics_request__descriptor,
     .handle = handle_delete_topics},
};

static void fill_hello(void *user, Sluice__HelloResponse *hello)
{
    const struct fake_broker *b = user;
    hello->role = (char *)(uintptr_t) "broker";
    hello->has_broker_id = true;
    hello->broker_id = b->id;
}

static void on_stopped(void *user)
{
    struct fake_broker *b = user;
    b->is_stopped = true;
}

struct fake_broker *fake_broker_new(struct fake_cluster *fc, struct loop *l, uint16_t port)
{
    struct fake_broker *b = MEM_NEW(struct fake_broker);
    *b = (struct fake_broker){.next = fc->brokers, .fc = fc, .l = l, .id = fc->next_id++};
    struct service_opts opts;
    service_opts_init(&opts);
    opts.loops = &b->l;
    opts.loop_count = 1;
    opts.apis = apis;
    opts.api_count = sizeof apis / sizeof apis[0];
    opts.user = b;
    opts.fill_hello = fill_hello;
    opts.on_stopped = on_stopped;
    b->service = service_new(&opts);
    const struct address at = {.host = "127.0.0.1", .port = port};
    struct address bound = {0};
    assert_ok(service_listen(b->service, "CLIENT", &at, &bound));
    b->port = bound.port ? bound.port : port;
    fc->brokers = b;
    return b;
}

void fake_broker_stop(struct fake_broker *b)
{
    for (struct fake_broker **at = &b->fc->brokers; *at; at = &(*at)->next) {
        if (*at == b) {
            *at = b->next;
            break;
        }
    }
    service_stop(b->service);
}

bool fake_broker_is_stopped(const struct fake_broker *b)
{
    return b->is_stopped;
}

void fake_broker_free(struct fake_broker *b)
{
    assert_true(b->is_stopped);
    service_free(b->service);
    mem_free(b);
}

uint16_t fake_broker_port(const struct fake_broker *b)
{
    return b->port;
}

int32_t fake_broker_id(const struct fake_broker *b)
{
    return b->id;
}
