/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/server/handle_delete_records.h"

#include "broker/server/whereabouts.h"
#include "proto/schema/delete_records.pb-c.h"

static err delete_one(struct lane *ln, struct request *r, const struct partition_name *name,
                      int64_t before_offset, int64_t *start_offset, const char **why)
{
    struct partition *p;
    err e = partition_table_find(ln->table, name, &p);
    if (e != OK)
        return e;
    e = partition_delete_records(p, before_offset, start_offset);
    if (e == E_OFFSET_OUT_OF_RANGE) {
        struct partition_ends ends;
        partition_ends(p, &ends);
        *why = arena_printf(&r->arena,
                            "offset %lld is not one that partition %u of topic %s can start at: "
                            "its high watermark is %lld",
                            (long long)before_offset, name->partition, partition_identity(p)->topic,
                            (long long)ends.high_watermark);
    }
    partition_unref(p);
    return e;
}

static void answer_one(struct lane *ln, struct request *r, const Sluice__DeleteRecordsTopic *t,
                       const Sluice__DeleteRecordsPartition *p,
                       Sluice__DeleteRecordsPartitionResult *res, Sluice__Error *error)
{
    const struct partition_name name = {.topic = t->name ? slice_str(t->name) : slice_of(NULL, 0),
                                        .topic_id = slice_of(t->topic_id.data, t->topic_id.len),
                                        .partition = p->partition};
    const char *why = NULL;
    sluice__delete_records_partition_result__init(res);
    res->has_partition = true;
    res->partition = p->partition;
    err e = E_INVALID_REQUEST;
    if (p->has_before_offset)
        e = delete_one(ln, r, &name, p->before_offset, &res->log_start_offset, &why);
    else
        why = "before_offset is missing";
    if (e == OK) {
        res->has_log_start_offset = true;
        return;
    }
    const struct whereabouts w =
        whereabouts(ln->table, &r->arena, &name, service_listener(r), e, why);
    msg_fill_error(error, e, w.why);
    res->error = error;
}

void handle_delete_records(struct lane *ln, struct request *r, const void *message)
{
    const Sluice__DeleteRecordsRequest *req = message;
    size_t count = 0;
    for (size_t i = 0; i < req->n_topic; i++)
        count += req->topic[i]->n_partition;
    Sluice__DeleteRecordsTopicResult *topics =
        arena_alloc(&r->arena, req->n_topic * sizeof *topics);
    Sluice__DeleteRecordsTopicResult **topic_list =
        arena_alloc(&r->arena, req->n_topic * sizeof *topic_list);
    Sluice__DeleteRecordsPartitionResult *parts = arena_alloc(&r->arena, count * sizeof *parts);
    Sluice__DeleteRecordsPartitionResult **part_list =
        arena_alloc(&r->arena, count * sizeof *part_list);
    Sluice__Error *errors = arena_alloc(&r->arena, count * sizeof *errors);
    if (!topics || !topic_list || !parts || !part_list || !errors) {
        service_reply_error(r, E_OVERLOADED, "%zu partitions in one request are too many", count);
        return;
    }
    size_t n = 0;
    for (size_t i = 0; i < req->n_topic; i++) {
        const Sluice__DeleteRecordsTopic *t = req->topic[i];
        topic_list[i] = &topics[i];
        sluice__delete_records_topic_result__init(&topics[i]);
        topics[i].name = t->name;
        topics[i].has_topic_id = t->has_topic_id;
        topics[i].topic_id = t->topic_id;
        topics[i].n_partition = t->n_partition;
        topics[i].partition = part_list + n;
        for (size_t k = 0; k < t->n_partition; k++, n++) {
            part_list[n] = &parts[n];
            answer_one(ln, r, t, t->partition[k], &parts[n], &errors[n]);
        }
    }
    Sluice__DeleteRecordsResponse res;
    sluice__delete_records_response__init(&res);
    res.n_topic = req->n_topic;
    res.topic = topic_list;
    service_reply_message(r, &res);
}
