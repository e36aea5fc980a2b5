/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/server/handle_list_offsets.h"

#include <stddef.h>

#include "broker/server/whereabouts.h"
#include "proto/schema/list_offsets.pb-c.h"

enum { TIMESTAMP_LATEST = -1, TIMESTAMP_EARLIEST = -2, TIMESTAMP_MAX = -3 };

/* One partition that is asked about, and its answer. */
struct asked {
    struct partition *p; /* referenced; NULL: not found */
    int64_t timestamp;
    int64_t high_watermark; /* the search ends there */
    bool by_time;
    err error;
    const char *why;
    struct log_found found;
};

struct list_op {
    struct request *r;
    struct lane *lane;
    const Sluice__ListOffsetsRequest *req; /* in the request's arena */
    struct asked *asked;                   /* in the order of the request */
    size_t count;
    struct exec_job job;
};

size_t handle_list_offsets_extra(void)
{
    return sizeof(struct list_op);
}

static struct partition_name name_of(const Sluice__ListOffsetsTopic *t,
                                     const Sluice__ListOffsetsPartition *p)
{
    return (struct partition_name){.topic = t->name ? slice_str(t->name) : slice_of(NULL, 0),
                                   .topic_id = slice_of(t->topic_id.data, t->topic_id.len),
                                   .partition = p->partition};
}

static void ask(struct list_op *op, struct asked *a, const struct partition_name *name,
                const Sluice__ListOffsetsPartition *p)
{
    const int32_t claimed_epoch = p->has_leader_epoch ? p->leader_epoch : -1;
    *a = (struct asked){.timestamp = p->has_timestamp ? p->timestamp : TIMESTAMP_LATEST};
    a->error = partition_table_find(op->lane->table, name, &a->p);
    if (a->error != OK)
        a->p = NULL;
    else
        a->error = partition_check_leader(a->p, claimed_epoch);
    if (a->error != OK)
        return;
    struct partition_ends ends;
    partition_ends(a->p, &ends);
    a->high_watermark = ends.high_watermark;
    a->found = (struct log_found){.timestamp = -1, .leader_epoch = ends.leader_epoch};
    if (!ends.is_settled && a->timestamp != TIMESTAMP_EARLIEST) {
        a->error = E_OFFSET_NOT_AVAILABLE;
    } else if (a->timestamp == TIMESTAMP_LATEST) {
        a->found.offset = ends.high_watermark;
    } else if (a->timestamp == TIMESTAMP_EARLIEST) {
        a->found.offset = ends.log_start_offset;
    } else if (a->timestamp >= 0 || a->timestamp == TIMESTAMP_MAX) {
        a->by_time = true;
    } else {
        a->error = E_INVALID_REQUEST;
        a->why = arena_printf(&op->r->arena,
                              "timestamp %lld: it must be 0 or more, or -1 (latest), -2 (earliest) "
                              "or -3 (newest record)",
                              (long long)a->timestamp);
    }
}

static void answer_one(struct list_op *op, const struct partition_name *name, const struct asked *a,
                       Sluice__ListOffsetsPartitionResult *res, Sluice__Error *error)
{
    sluice__list_offsets_partition_result__init(res);
    res->has_partition = true;
    res->partition = name->partition;
    if (a->error == OK) {
        res->has_offset = res->has_timestamp = res->has_leader_epoch = true;
        res->offset = a->found.offset;
        res->timestamp = a->found.timestamp;
        res->leader_epoch = a->found.leader_epoch;
        return;
    }
    const struct whereabouts w = whereabouts(op->lane->table, &op->r->arena, name,
                                             service_listener(op->r), a->error, a->why);
    msg_fill_error(error, a->error, w.why);
    res->error = error;
}

/* Messages live in the request's arena; so does everything they point to. */
static void answer(struct list_op *op)
{
    const Sluice__ListOffsetsRequest *req = op->req;
    struct arena *arena = &op->r->arena;
    Sluice__ListOffsetsResponse res;
    sluice__list_offsets_response__init(&res);
    Sluice__ListOffsetsTopicResult *topics = arena_alloc(arena, req->n_topic * sizeof *topics);
    Sluice__ListOffsetsTopicResult **topic_list =
        arena_alloc(arena, req->n_topic * sizeof *topic_list);
    Sluice__ListOffsetsPartitionResult *parts = arena_alloc(arena, op->count * sizeof *parts);
    Sluice__ListOffsetsPartitionResult **part_list =
        arena_alloc(arena, op->count * sizeof *part_list);
    Sluice__Error *errors = arena_alloc(arena, op->count * sizeof *errors);
    const bool has_room = topics && topic_list && parts && part_list && errors;
    size_t n = 0;
    for (size_t i = 0; has_room && i < req->n_topic; i++) {
        const Sluice__ListOffsetsTopic *t = req->topic[i];
        topic_list[i] = &topics[i];
        sluice__list_offsets_topic_result__init(&topics[i]);
        topics[i].name = t->name;
        topics[i].has_topic_id = t->has_topic_id;
        topics[i].topic_id = t->topic_id;
        topics[i].n_partition = t->n_partition;
        topics[i].partition = part_list + n;
        for (size_t k = 0; k < t->n_partition; k++, n++) {
            const struct partition_name name = name_of(t, t->partition[k]);
            part_list[n] = &parts[n];
            answer_one(op, &name, &op->asked[n], &parts[n], &errors[n]);
        }
    }
    for (size_t i = 0; i < op->count; i++)
        if (op->asked[i].p)
            partition_unref(op->asked[i].p);
    res.n_topic = req->n_topic;
    res.topic = topic_list;
    if (has_room)
        service_reply_message(op->r, &res);
    else
        service_reply_error(op->r, E_OVERLOADED, "%zu partitions in one request are too many",
                            op->count);
}

/* --- by time, on a worker ---------------------------------------------------- */

static void run_search(struct exec_job *job)
{
    struct list_op *op = (struct list_op *)((char *)job - offsetof(struct list_op, job));
    for (size_t i = 0; i < op->count; i++) {
        struct asked *a = &op->asked[i];
        if (!a->by_time || a->error != OK)
            continue;
        const err e =
            log_find_timestamp(partition_log(a->p), a->timestamp, a->high_watermark, &a->found);
        if (e == E_NOT_FOUND)
            a->found.offset = a->found.timestamp = -1;
        else
            a->error = e;
    }
}

static void on_searched(struct exec_job *job)
{
    answer((struct list_op *)((char *)job - offsetof(struct list_op, job)));
}

void handle_list_offsets(struct lane *ln, struct request *r, const void *message)
{
    const Sluice__ListOffsetsRequest *req = message;
    struct list_op *op = service_extra(r);
    size_t count = 0;
    for (size_t i = 0; i < req->n_topic; i++)
        count += req->topic[i]->n_partition;
    *op = (struct list_op){.r = r, .lane = ln, .req = req, .count = count};
    op->asked = arena_alloc(&r->arena, count * sizeof *op->asked);
    if (!op->asked) {
        service_reply_error(r, E_OVERLOADED, "%zu partitions in one request are too many", count);
        return;
    }
    bool by_time = false;
    size_t n = 0;
    for (size_t i = 0; i < req->n_topic; i++)
        for (size_t k = 0; k < req->topic[i]->n_partition; k++, n++) {
            const struct partition_name name = name_of(req->topic[i], req->topic[i]->partition[k]);
            ask(op, &op->asked[n], &name, req->topic[i]->partition[k]);
            by_time |= op->asked[n].by_time;
        }
    if (!by_time) {
        answer(op);
        return;
    }
    op->job = (struct exec_job){.run = run_search, .done = on_searched, .home = ln->loop};
    exec_submit(ln->readers, &op->job);
}
