/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is decided about topics: create, delete, add partitions.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "broker/controller/controller_priv.h"
#include "metad/model/names.h"
#include "metad/model/placement.h"
#include "proto/base/check.h"
#include "proto/base/diag.h"
#include "proto/base/limits.h"
#include "proto/schema/topic_admin.pb-c.h"

/* A topic's node must fit into one operation with room for what goes with it; 10,000 partitions of
 * three replicas do. */
enum { TOPIC_NODE_BYTES_MAX = 900 * 1000 };

/* Partitions in the making: their replicas, row after row, and their first states. */
struct making {
    int32_t *replicas;
    struct election *elections;
    struct partition_state *states; /* of the whole topic */
};

static void making_free(struct making *mk)
{
    mem_free(mk->replicas);
    mem_free(mk->elections);
    mem_free(mk->states);
}

static err place(struct controller *c, const struct write *w, uint32_t partitions, uint32_t factor,
                 int32_t *out)
{
    struct placement_broker *brokers = brokers_for_placement(c, write_view(w));
    const err e = placement_assign(brokers, c->live.count, partitions, factor,
                                   rng_u64(session_rng(c->opts.session)), out);
    mem_free(brokers);
    return e;
}

/* First states for partitions whose replicas stand in rows of mk. */
static void begin_partitions(struct controller *c, struct making *mk, uint32_t count,
                             uint32_t factor, struct partition_state *out)
{
    mk->elections = mem_alloc(count * sizeof *mk->elections);
    for (uint32_t i = 0; i < count; i++) {
        election_begin(&mk->replicas[i * factor], factor, &c->live, &mk->elections[i]);
        write_stamp(c, &mk->elections[i].state);
        out[i] = mk->elections[i].state;
    }
}

static err check_size(const struct topic *t, struct buf *why)
{
    struct buf node = {0};
    nodes_pack_topic(t, &node);
    const size_t size = node.size;
    buf_deinit(&node);
    if (size <= TOPIC_NODE_BYTES_MAX)
        return OK;
    buf_printf(why,
               "topic %s: %u partitions with their replicas need %zu bytes of metadata, more than "
               "the %d that "
               "one topic may have",
               t->name, t->partition_count, size, TOPIC_NODE_BYTES_MAX);
    return E_INVALID_PARTITIONS;
}

static err check_partition_count(const char *name, int64_t count, struct buf *why)
{
    if (count >= 1 && count <= TOPIC_PARTITIONS_MAX)
        return OK;
    buf_printf(why, "topic %s: %" PRId64 " partitions; a topic has 1 to %d", name, count,
               TOPIC_PARTITIONS_MAX);
    return E_INVALID_PARTITIONS;
}

static err check_factor(const struct controller *c, const char *name, int64_t factor,
                        struct buf *why)
{
    if (factor >= 1 && factor <= REPLICAS_MAX && (uint64_t)factor <= c->live.count)
        return OK;
    buf_printf(why, "topic %s: replication factor %" PRId64, name, factor);
    if (factor < 1 || factor > REPLICAS_MAX)
        buf_printf(why, "; it is 1 to %d", REPLICAS_MAX);
    else
        buf_printf(why, ", but only %zu broker%s registered", c->live.count,
                   c->live.count == 1 ? " is" : "s are");
    return E_INVALID_REPLICATION_FACTOR;
}

/* --- create ---------------------------------------------------------------------- */

static err check_name(struct controller *c, const struct task *t, const struct write *w,
                      const char *name, struct buf *why)
{
    (void)c;
    const struct slice s = slice_str(name);
    const char *fault = topic_name_fault(s);
    if (fault != NULL) {
        buf_printf(why, "topic name %s %s", DIAG_STR(name), fault);
        return E_INVALID_TOPIC;
    }
    if (topic_name_is_internal(s) && task_is_client(t)) {
        buf_printf(why, "topic name %s: names that begin with __ are the cluster's own", name);
        return E_INVALID_TOPIC;
    }
    if (cluster_topic_named(write_view(w), s) != NULL) {
        buf_printf(why, "topic %s exists", name);
        return E_TOPIC_EXISTS;
    }
    const struct topic *other = cluster_topic_colliding(write_view(w), s);
    if (other != NULL) {
        buf_printf(why,
                   "topic name %s differs from topic %s only by '.' and '_', which metrics cannot "
                   "tell apart",
                   name, other->name);
        return E_INVALID_TOPIC;
    }
    return OK;
}

/* Replicas as they were asked for, all of one count. */
static err take_assignment(const struct controller *c, const Sluice__NewTopic *nt,
                           struct making *mk, uint32_t *factor, struct buf *why)
{
    if (nt->has_partitions || nt->has_replication_factor) {
        buf_printf(why, "topic %s: give either an assignment, or partitions and replication factor",
                   nt->name);
        return E_INVALID_REQUEST;
    }
    const size_t replicas = nt->assignment[0]->n_broker;
    const err e = check_factor(c, nt->name, (int64_t)replicas, why);
    if (e != OK)
        return e;
    mk->replicas = mem_alloc(nt->n_assignment * replicas * sizeof *mk->replicas);
    for (size_t i = 0; i < nt->n_assignment; i++) {
        const Sluice__ReplicaAssignment *row = nt->assignment[i];
        if (row->n_broker != replicas) {
            buf_printf(why, "topic %s: partition %zu is assigned %zu replicas, partition 0 %zu",
                       nt->name, i, row->n_broker, replicas);
            return E_INVALID_REPLICA_ASSIGNMENT;
        }
        for (size_t k = 0; k < replicas; k++) {
            for (size_t before = 0; before < k; before++) {
                if (row->broker[before] != row->broker[k])
                    continue;
                buf_printf(why, "topic %s: partition %zu is assigned twice to broker %d", nt->name,
                           i, row->broker[k]);
                return E_INVALID_REPLICA_ASSIGNMENT;
            }
            if (live_broker_find(&c->live, row->broker[k]) == NULL) {
                buf_printf(why,
                           "topic %s: partition %zu is assigned to broker %d, which is not "
                           "registered now",
                           nt->name, i, row->broker[k]);
                return E_INVALID_REPLICA_ASSIGNMENT;
            }
            mk->replicas[i * replicas + k] = row->broker[k];
        }
    }
    *factor = (uint32_t)replicas;
    return OK;
}

static err choose_replicas(struct controller *c, const struct write *w, const Sluice__NewTopic *nt,
                           struct making *mk, uint32_t *partitions, uint32_t *factor,
                           struct buf *why)
{
    const int64_t count = nt->n_assignment > 0 ? (int64_t)nt->n_assignment
                          : nt->has_partitions ? nt->partitions
                                               : c->opts.default_partitions;
    err e = check_partition_count(nt->name, count, why);
    if (e != OK)
        return e;
    *partitions = (uint32_t)count;
    if (nt->n_assignment > 0)
        return take_assignment(c, nt, mk, factor, why);
    const int64_t asked =
        nt->has_replication_factor ? nt->replication_factor : c->opts.default_replication_factor;
    e = check_factor(c, nt->name, asked, why);
    if (e != OK)
        return e;
    *factor = (uint32_t)asked;
    mk->replicas = mem_alloc((size_t)count * *factor * sizeof *mk->replicas);
    return place(c, w, *partitions, *factor, mk->replicas);
}

static int compare_keys(const void *a, const void *b)
{
    return strcmp(((const struct property *)a)->key, ((const struct property *)b)->key);
}

/* Sorted, checked. NULL: refused. */
static struct property *take_configs(const Sluice__NewTopic *nt, struct buf *why)
{
    struct property *configs = mem_alloc((nt->n_config + 1) * sizeof *configs);
    for (size_t i = 0; i < nt->n_config; i++)
        configs[i] =
            (struct property){.key = nt->config[i]->key != NULL ? nt->config[i]->key : "",
                              .value = nt->config[i]->value != NULL ? nt->config[i]->value : ""};
    struct buf faults = {0};
    const err e = topic_configs_check(configs, nt->n_config, &faults);
    if (e != OK) {
        buf_printf(why, "topic %s: ", nt->name);
        buf_append(why, faults.data, faults.size);
        mem_free(configs);
        configs = NULL;
    } else {
        qsort(configs, nt->n_config, sizeof *configs, compare_keys);
    }
    buf_deinit(&faults);
    return configs;
}

static int64_t set_min_insync(const struct controller *c, const struct topic *t)
{
    struct topic_config_values values;
    topic_config_values_of(t, c->opts.defaults, &values);
    return values.v[TOPIC_MIN_INSYNC_REPLICAS];
}

static struct uuid fresh_topic_id(struct controller *c, const struct write *w)
{
    struct uuid id;
    do
        id = rng_uuid(session_rng(c->opts.session));
    while (cluster_topic(write_view(w), &id) != NULL ||
           cluster_tombstone(write_view(w), &id) != NULL);
    return id;
}

static void tell_topic(struct task *task, const struct topic *t)
{
    task->topic_id = t->id;
    task->has_topic_id = true;
    task->partitions = (int32_t)t->partition_count;
    task->replication_factor = (int32_t)t->partitions[0].replica_count;
}

static err create(struct controller *c, struct task *task, struct write *w, struct making *mk,
                  struct buf *why)
{
    const Sluice__NewTopic *nt = task->item;
    uint32_t partitions;
    uint32_t factor;
    err e = choose_replicas(c, w, nt, mk, &partitions, &factor, why);
    if (e != OK)
        return e;
    struct property *configs = take_configs(nt, why);
    if (configs == NULL)
        return E_INVALID_CONFIG;
    mk->states = mem_alloc(partitions * sizeof *mk->states);
    begin_partitions(c, mk, partitions, factor, mk->states);
    struct topic like = {
        .id = fresh_topic_id(c, w),
        .name = nt->name,
        .internal = topic_name_is_internal(slice_str(nt->name)),
        .partition_count = partitions,
        .partitions = mk->states,
        .configs = configs,
        .config_count = (uint32_t)nt->n_config,
    };
    like.min_insync_replicas = topic_effective_min_insync(set_min_insync(c, &like), factor);
    e = check_size(&like, why);
    if (e == OK) {
        tell_topic(task, &like);
        task->has_topic_id = !task_is_validation(task);
        if (!task_is_validation(task))
            e = write_topic(w, topic_new(&like));
    }
    mem_free(configs);
    return e;
}

err topic_create_decide(struct controller *c, struct operation *op, struct write *w,
                        struct buf *why)
{
    struct task *task = task_of(op);
    const Sluice__NewTopic *nt = task->item;
    struct making mk = {0};
    if (nt->name == NULL) {
        buf_append_str(why, "a topic to create has no name");
        return E_INVALID_TOPIC;
    }
    err e = check_name(c, task, w, nt->name, why);
    if (e == OK)
        e = create(c, task, w, &mk, why);
    making_free(&mk);
    return e;
}

/* --- delete ---------------------------------------------------------------------- */

err topic_delete_decide(struct controller *c, struct operation *op, struct write *w,
                        struct buf *why)
{
    (void)c;
    struct task *task = task_of(op);
    const struct topic *t;
    const struct slice name = task->name != NULL ? slice_str(task->name) : slice_of(NULL, 0);
    const err e = cluster_resolve(write_view(w), name, task->id, &t);
    if (e != OK) {
        if (task->name != NULL)
            buf_printf(why, "topic %s does not exist", DIAG_STR(task->name));
        else
            buf_append_str(why, "no topic has that id");
        return e;
    }
    if (t->internal && task_is_client(task)) {
        buf_printf(why, "topic %s is the cluster's own and cannot be deleted", t->name);
        return E_INVALID_TOPIC;
    }
    task->topic_id = t->id;
    task->has_topic_id = true;
    if (task->result_name == NULL)
        task->result_name = task_keep(task, t->name);
    return write_delete_topic(w, t);
}

/* --- add partitions -------------------------------------------------------------- */

static err grow(struct controller *c, struct task *task, struct write *w, const struct topic *t,
                uint32_t total, struct making *mk, struct buf *why)
{
    const uint32_t added = total - t->partition_count;
    const uint32_t factor = t->partitions[0].replica_count;
    err e = check_factor(c, t->name, factor, why);
    if (e != OK)
        return e;
    mk->replicas = mem_alloc((size_t)added * factor * sizeof *mk->replicas);
    e = place(c, w, added, factor, mk->replicas);
    if (e != OK)
        return e;
    mk->states = mem_alloc(total * sizeof *mk->states);
    memcpy(mk->states, t->partitions, t->partition_count * sizeof *mk->states);
    begin_partitions(c, mk, added, factor, mk->states + t->partition_count);
    struct topic like = *t;
    like.partitions = mk->states;
    like.partition_count = total;
    like.node_version++;
    e = check_size(&like, why);
    if (e != OK)
        return e;
    tell_topic(task, &like);
    return task_is_validation(task) ? OK : write_topic(w, topic_new(&like));
}

err topic_grow_decide(struct controller *c, struct operation *op, struct write *w, struct buf *why)
{
    struct task *task = task_of(op);
    const Sluice__PartitionsOf *po = task->item;
    const struct topic *t;
    const struct slice name = po->name != NULL ? slice_str(po->name) : slice_of(NULL, 0);
    err e = cluster_resolve(write_view(w), name, slice_of(NULL, 0), &t);
    if (e != OK) {
        buf_printf(why, "topic %s does not exist", po->name != NULL ? DIAG_STR(po->name) : "\"\"");
        return e;
    }
    e = check_partition_count(t->name, po->total, why);
    if (e != OK)
        return e;
    if ((uint32_t)po->total <= t->partition_count) {
        buf_printf(why,
                   "topic %s has %u partitions; their number can only be raised, not set to %d",
                   t->name, t->partition_count, po->total);
        return E_INVALID_PARTITIONS;
    }
    struct making mk = {0};
    e = grow(c, task, w, t, (uint32_t)po->total, &mk, why);
    making_free(&mk);
    return e;
}
