/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The handlers behind a real service, on a network loop of their own, over
 * partitions in memory; and a client that speaks the protocol through protobuf-c.
 * All in one thread and virtual time: bytes take a microsecond, a flush
 * flush_us, a cold read WARM_US.
 */
#ifndef SLUICE_TESTS_HANDLERS_WORLD_H
#define SLUICE_TESTS_HANDLERS_WORLD_H

#include "tests/unit/broker_replica/table_world.h"

#include "broker/server/api_table.h"
#include "broker/server/broker_conf.h"
#include "proto/base/limits.h"
#include "proto/schema/hello.pb-c.h"
#include "proto/schema/request.pb-c.h"
#include "proto/wire/frame.h"

enum { WARM_US = 3000, ANSWERS_MAX = 256, PARTS_MAX = 16, LISTENER_PORT = 9000 };

/* --- the client -------------------------------------------------------------------- */

struct client {
    struct conn *conn;
    struct buf unsent; /* frames that go in one write */
    uint64_t last_id;
    unsigned answered;
    Sluice__Response *answers[ANSWERS_MAX]; /* by correlation id */
    bool is_open, is_closed;
};

struct handlers_world {
    struct table_world t;
    struct loop *far; /* the client's */
    struct exec *readers;
    struct metrics *metrics;
    struct lane_metrics counters;
    struct lane lane;
    struct broker_tables *tables;
    struct conf *conf;
    struct handlers handlers;
    struct service *service;
    struct address at;
    bool is_stopped;
    struct client c;
};

static void client_on_open(struct conn *c)
{
    ((struct client *)conn_user(c))->is_open = true;
}

static void client_on_frame(struct conn *c, uint8_t *data, size_t size)
{
    struct client *x = conn_user(c);
    Sluice__Response *r = sluice__response__unpack(NULL, size, data);
    assert_non_null(r);
    assert_true(r->correlation_id <= x->last_id);
    assert_null(x->answers[r->correlation_id]); /* answered once */
    x->answers[r->correlation_id] = r;
    x->answered++;
}

static void client_on_frames_end(struct conn *c)
{
    (void)c;
}

static void client_on_closed(struct conn *c, err why)
{
    struct client *x = conn_user(c);
    (void)why;
    x->conn = NULL;
    x->is_closed = true;
}

/* Packs a request for the next flush_requests; gives its id. */
static UNUSED uint64_t put_request(struct client *x, Sluice__Request *r)
{
    assert_true(x->last_id + 1 < ANSWERS_MAX);
    r->has_correlation_id = true;
    r->correlation_id = ++x->last_id;
    const size_t size = sluice__request__get_packed_size(r);
    uint8_t *p = buf_reserve(&x->unsent, FRAME_PREFIX_SIZE + size);
    p = frame_write_length(p, size);
    sluice__request__pack(r, p);
    x->unsent.size += FRAME_PREFIX_SIZE + size;
    return r->correlation_id;
}

/* All that was put, in one write: the broker sees it in one wake-up. */
static UNUSED void flush_requests(struct client *x)
{
    conn_write(x->conn, x->unsent.data, x->unsent.size);
    buf_clear(&x->unsent);
}

static UNUSED void connect_client(struct handlers_world *h, struct client *x)
{
    static const struct conn_handler handler = {.on_open = client_on_open,
                                                .on_frame = client_on_frame,
                                                .on_frames_end = client_on_frames_end,
                                                .on_closed = client_on_closed};
    static const struct conn_limits limits = {.frame_bytes_max = FRAME_BYTES_MAX,
                                              .out_bytes_max = 64 * MIB};
    *x = (struct client){0};
    x->conn = conn_connect(h->far, &h->at, &handler, &limits, x);
    pass(&h->t.w, 100);
    assert_true(x->is_open);
    Sluice__HelloRequest hello = SLUICE__HELLO_REQUEST__INIT;
    Sluice__Request r = SLUICE__REQUEST__INIT;
    r.body_case = SLUICE__REQUEST__BODY_HELLO;
    r.hello = &hello;
    const uint64_t id = put_request(x, &r);
    flush_requests(x);
    pass(&h->t.w, 100);
    assert_non_null(x->answers[id]);
}

static UNUSED void leave(struct handlers_world *h, struct client *x)
{
    if (x->conn)
        conn_close(x->conn);
    pass(&h->t.w, 100);
    for (size_t i = 0; i < ANSWERS_MAX; i++)
        if (x->answers[i])
            sluice__response__free_unpacked(x->answers[i], NULL);
    buf_deinit(&x->unsent);
    *x = (struct client){.is_closed = true};
}

/* NULL: not answered (yet). */
static UNUSED const Sluice__Response *answer_to(const struct client *x, uint64_t id)
{
    return x->answers[id];
}

/* --- requests: each part in a topic element of its own ------------------------------- */

struct part {
    uint8_t topic;
    bool by_id; /* else by name */
    uint32_t partition;
    bool has_epoch;
    int32_t epoch;
    struct slice batches; /* produce */
    int64_t offset;       /* fetch, delete records; list offsets: the timestamp */
    uint32_t max_bytes;   /* fetch; 0: the default */
};

static UNUSED char *part_name(const struct part *p, char text[TOPIC_TEXT])
{
    snprintf(text, TOPIC_TEXT, "topic-%u", p->topic);
    return p->by_id ? NULL : text;
}

static UNUSED ProtobufCBinaryData part_id(const struct part *p, struct uuid *id)
{
    *id = id_of(p->topic);
    return (ProtobufCBinaryData){.len = p->by_id ? sizeof *id : 0, .data = id->bytes};
}

/* Storage for a message tree, on the stack. */
#define TREE(kind)                                                                                 \
    Sluice__##kind##Topic topics[PARTS_MAX], *topic_list[PARTS_MAX];                               \
    Sluice__##kind##Partition parts_[PARTS_MAX], *part_list[PARTS_MAX];                            \
    char names[PARTS_MAX][TOPIC_TEXT];                                                             \
    struct uuid ids[PARTS_MAX];                                                                    \
    assert_true(count <= PARTS_MAX)

#define TREE_PART(lower, i)                                                                        \
    do {                                                                                           \
        sluice__##lower##_topic__init(&topics[i]);                                                 \
        sluice__##lower##_partition__init(&parts_[i]);                                             \
        topic_list[i] = &topics[i];                                                                \
        part_list[i] = &parts_[i];                                                                 \
        topics[i].name = part_name(&parts[i], names[i]);                                           \
        topics[i].topic_id = part_id(&parts[i], &ids[i]);                                          \
        topics[i].has_topic_id = parts[i].by_id;                                                   \
        topics[i].n_partition = 1;                                                                 \
        topics[i].partition = &part_list[i];                                                       \
        parts_[i].has_partition = true;                                                            \
        parts_[i].partition = parts[i].partition;                                                  \
    } while (0)

static UNUSED uint64_t put_produce(struct client *x, int32_t acks, uint32_t timeout_ms,
                                   const struct part *parts, size_t count)
{
    TREE(Produce);
    Sluice__ProduceRequest produce = SLUICE__PRODUCE_REQUEST__INIT;
    Sluice__Request r = SLUICE__REQUEST__INIT;
    for (size_t i = 0; i < count; i++) {
        TREE_PART(produce, i);
        parts_[i].has_leader_epoch = parts[i].has_epoch;
        parts_[i].leader_epoch = parts[i].epoch;
        parts_[i].has_batches = true;
        parts_[i].batches = (ProtobufCBinaryData){
            .len = parts[i].batches.size, .data = (uint8_t *)(uintptr_t)parts[i].batches.data};
    }
    produce.has_acks = produce.has_timeout_ms = true;
    produce.acks = acks;
    produce.timeout_ms = timeout_ms;
    produce.n_topic = count;
    produce.topic = topic_list;
    r.body_case = SLUICE__REQUEST__BODY_PRODUCE;
    r.produce = &produce;
    return put_request(x, &r);
}

struct fetch_wants {
    uint32_t max_wait_ms, min_bytes, max_bytes; /* the latter 0: the default */
};

static UNUSED uint64_t put_fetch(struct client *x, const struct fetch_wants *wants,
                                 const struct part *parts, size_t count)
{
    TREE(Fetch);
    Sluice__FetchRequest fetch = SLUICE__FETCH_REQUEST__INIT;
    Sluice__Request r = SLUICE__REQUEST__INIT;
    for (size_t i = 0; i < count; i++) {
        TREE_PART(fetch, i);
        parts_[i].has_leader_epoch = parts[i].has_epoch;
        parts_[i].leader_epoch = parts[i].epoch;
        parts_[i].has_fetch_offset = true;
        parts_[i].fetch_offset = parts[i].offset;
        parts_[i].has_max_bytes = parts[i].max_bytes > 0;
        parts_[i].max_bytes = parts[i].max_bytes;
    }
    fetch.has_max_wait_ms = fetch.has_min_bytes = true;
    fetch.max_wait_ms = wants->max_wait_ms;
    fetch.min_bytes = wants->min_bytes;
    fetch.has_max_bytes = wants->max_bytes > 0;
    fetch.max_bytes = wants->max_bytes;
    fetch.n_topic = count;
    fetch.topic = topic_list;
    r.body_case = SLUICE__REQUEST__BODY_FETCH;
    r.fetch = &fetch;
    return put_request(x, &r);
}

static UNUSED uint64_t put_list_offsets(struct client *x, const struct part *parts, size_t count)
{
    TREE(ListOffsets);
    Sluice__ListOffsetsRequest list = SLUICE__LIST_OFFSETS_REQUEST__INIT;
    Sluice__Request r = SLUICE__REQUEST__INIT;
    for (size_t i = 0; i < count; i++) {
        TREE_PART(list_offsets, i);
        parts_[i].has_leader_epoch = parts[i].has_epoch;
        parts_[i].leader_epoch = parts[i].epoch;
        parts_[i].has_timestamp = true;
        parts_[i].timestamp = parts[i].offset;
    }
    list.n_topic = count;
    list.topic = topic_list;
    r.body_case = SLUICE__REQUEST__BODY_LIST_OFFSETS;
    r.list_offsets = &list;
    return put_request(x, &r);
}

static UNUSED uint64_t put_delete_records(struct client *x, const struct part *parts, size_t count)
{
    TREE(DeleteRecords);
    Sluice__DeleteRecordsRequest delete = SLUICE__DELETE_RECORDS_REQUEST__INIT;
    Sluice__Request r = SLUICE__REQUEST__INIT;
    for (size_t i = 0; i < count; i++) {
        TREE_PART(delete_records, i);
        parts_[i].has_before_offset = parts[i].offset != INT64_MIN; /* that: leave it out */
        parts_[i].before_offset = parts[i].offset;
    }
    delete.n_topic = count;
    delete.topic = topic_list;
    r.body_case = SLUICE__REQUEST__BODY_DELETE_RECORDS;
    r.delete_records = &delete;
    return put_request(x, &r);
}

/* --- answers --------------------------------------------------------------------------- */

static UNUSED err error_code(const Sluice__Error *e)
{
    return e ? err_from_wire(e->code) : OK;
}

/* The request as a whole was refused so; a sentence says why. */
static UNUSED void assert_refused(const struct client *x, uint64_t id, err e, const char *text)
{
    const Sluice__Response *r = answer_to(x, id);
    assert_non_null(r);
    assert_err(error_code(r->error), e);
    assert_non_null(strstr(r->error->message, text));
}

static UNUSED const Sluice__ProducePartitionResult *produced(const struct client *x, uint64_t id,
                                                             size_t nth)
{
    const Sluice__Response *r = answer_to(x, id);
    assert_non_null(r);
    assert_null(r->error);
    assert_int_equal(r->body_case, SLUICE__RESPONSE__BODY_PRODUCE);
    assert_true(nth < r->produce->n_topic);
    return r->produce->topic[nth]->partition[0];
}

static UNUSED const Sluice__FetchPartitionResult *fetched(const struct client *x, uint64_t id,
                                                          size_t nth)
{
    const Sluice__Response *r = answer_to(x, id);
    assert_non_null(r);
    assert_null(r->error);
    assert_int_equal(r->body_case, SLUICE__RESPONSE__BODY_FETCH);
    assert_true(nth < r->fetch->n_topic);
    return r->fetch->topic[nth]->partition[0];
}

/* Batches in a fetched answer; asserts that they are whole, and begin at the offset. */
static UNUSED unsigned batches_in(const Sluice__FetchPartitionResult *p, int64_t offset)
{
    struct slice left = slice_of(p->batches.data, p->batches.len);
    unsigned count = 0;
    while (left.size) {
        struct batch b;
        assert_ok(batch_read_canonical(left, &b));
        assert_ok(batch_check_crcs(&b));
        assert_int_equal(b.base_offset, offset);
        offset = b.base_offset + b.last_offset_delta + 1;
        left = slice_sub(left, b.size, left.size);
        count++;
    }
    return count;
}

/* --- the world --------------------------------------------------------------------------- */

static void world_fill_hello(void *user, struct Sluice__HelloResponse *hello)
{
    (void)user;
    hello->has_broker_id = true;
    hello->broker_id = ME;
}

static void world_on_stopped(void *user)
{
    struct handlers *handlers = user;
    struct handlers_world *h =
        (struct handlers_world *)((char *)handlers - offsetof(struct handlers_world, handlers));
    h->is_stopped = true;
}

static UNUSED void start_service(struct handlers_world *h)
{
    struct service_opts opts;
    service_opts_init(&opts);
    opts.loops = &h->t.w.net;
    opts.loop_count = 1;
    opts.apis = api_table;
    opts.api_count = api_table_count;
    opts.user = &h->handlers;
    opts.fill_hello = world_fill_hello;
    opts.on_frames_end = api_frames_end;
    opts.on_stopped = world_on_stopped;
    opts.extra_bytes = api_extra_bytes();
    opts.limits.frame_bytes_max = FRAME_BYTES_MAX;
    h->is_stopped = false;
    h->service = service_new(&opts);
    h->at = (struct address){.host = "here", .port = LISTENER_PORT};
    assert_ok(service_listen(h->service, "CLIENT", &h->at, &h->at));
}

/* Everything that waits is cancelled; connections end. */
static UNUSED void stop_service(struct handlers_world *h)
{
    service_stop(h->service);
    world_settle(&h->t.w);
    assert_true(h->is_stopped);
}

static UNUSED struct handlers_world *handlers_world_new(int64_t flush_us)
{
    struct handlers_world *h = MEM_NEW(struct handlers_world);
    table_world_init(&h->t, 1);
    if (flush_us) {
        close_table(&h->t);
        world_close(&h->t.w);
        h->t.w.flush_us = flush_us;
        world_open(&h->t.w);
        open_table(&h->t);
    }
    h->far = fake_world_loop(h->t.w.time, "far");
    h->readers = fake_world_exec(h->t.w.time, WARM_US);
    h->metrics = metrics_new();
    h->counters = lane_metrics_new(h->metrics, 0);
    lane_init(&h->lane, h->t.w.net, h->t.table, h->readers, h->counters);
    h->tables = broker_tables_new();
    h->conf = conf_new(broker_tables_standalone(h->tables));
    h->handlers = (struct handlers){.lanes = &h->lane, .conf = h->conf, .broker_id = ME};
    pthread_mutex_init(&h->handlers.conf_lock, NULL);
    start_service(h);
    apply_topic(&h->t, 1, &ours);
    world_settle(&h->t.w);
    connect_client(h, &h->c);
    return h;
}

static UNUSED void handlers_world_free(struct handlers_world *h)
{
    leave(h, &h->c);
    if (!h->is_stopped)
        stop_service(h);
    service_free(h->service);
    lane_deinit(&h->lane);
    exec_free(h->readers);
    loop_free(h->far);
    table_world_deinit(&h->t);
    metrics_free(h->metrics);
    conf_free(h->conf);
    broker_tables_free(h->tables);
    pthread_mutex_destroy(&h->handlers.conf_lock);
    mem_free(h);
}

static UNUSED struct slice batch_bytes(struct made_batch *m, uint32_t records)
{
    make_batch(m, records);
    return slice_of(m->bytes, BATCH_HEADER_SIZE + m->batch.records.size);
}

static UNUSED uint64_t counted(const struct counter *c)
{
    return atomic_load(&c->value);
}

/* Appends and confirms without a client. */
static UNUSED void fill(struct handlers_world *h, uint8_t topic, uint32_t partition,
                        unsigned batches, uint32_t records)
{
    struct partition *p;
    struct partition_appended done;
    assert_ok(find(&h->t, topic, partition, &p));
    for (unsigned i = 0; i < batches; i++)
        assert_ok(append(p, records, true, -1, &done));
    partition_unref(p);
    world_settle(&h->t.w);
}

/* Short enough that nothing but the exchange itself happens. */
static UNUSED void exchange(struct handlers_world *h, struct client *x)
{
    flush_requests(x);
    pass(&h->t.w, 10);
}

#endif
