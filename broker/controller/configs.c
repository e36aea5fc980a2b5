/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is decided about configs of topics and brokers.
 */
#include "broker/controller/controller_priv.h"
#include "proto/base/diag.h"
#include "proto/base/limits.h"
#include "proto/schema/configs.pb-c.h"

/* Present ones with changes over them, sorted by key as the present ones are. */
struct merged {
    struct property *configs;
    uint32_t count;
};

static void drop_key(struct merged *m, const char *key)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < m->count; i++)
        if (strcmp(m->configs[i].key, key) != 0)
            m->configs[kept++] = m->configs[i];
    m->count = kept;
}

static void set_key(struct merged *m, const char *key, const char *value)
{
    drop_key(m, key);
    uint32_t at = m->count;
    while (at > 0 && strcmp(m->configs[at - 1].key, key) > 0) {
        m->configs[at] = m->configs[at - 1];
        at--;
    }
    m->configs[at] = (struct property){.key = key, .value = value};
    m->count++;
}

/* E_INVALID_CONFIG: a key is missing, or named twice. */
static err check_keys(const Sluice__AlterConfigsOf *a, struct buf *why)
{
    if (a->n_set + a->n_delete_ > TOPIC_CONFIGS_MAX) {
        buf_printf(why, "%zu keys; at most %d are altered at once", a->n_set + a->n_delete_,
                   TOPIC_CONFIGS_MAX);
        return E_INVALID_CONFIG;
    }
    for (size_t i = 0; i < a->n_set; i++) {
        if (a->set[i]->key == NULL || a->set[i]->value == NULL) {
            buf_append_str(why, "a config to set has no key or no value");
            return E_INVALID_CONFIG;
        }
        for (size_t k = 0; k < i; k++) {
            if (strcmp(a->set[k]->key, a->set[i]->key) != 0)
                continue;
            buf_printf(why, "%s: given more than once", DIAG_STR(a->set[i]->key));
            return E_INVALID_CONFIG;
        }
        for (size_t k = 0; k < a->n_delete_; k++) {
            if (strcmp(a->delete_[k], a->set[i]->key) != 0)
                continue;
            buf_printf(why, "%s: both set and deleted", DIAG_STR(a->set[i]->key));
            return E_INVALID_CONFIG;
        }
    }
    return OK;
}

static struct merged merge(const struct property *present, uint32_t count,
                           const Sluice__AlterConfigsOf *a)
{
    struct merged m = {.configs = mem_alloc((count + a->n_set + 1) * sizeof *m.configs),
                       .count = count};
    if (count > 0)
        memcpy(m.configs, present, count * sizeof *present);
    for (size_t i = 0; i < a->n_delete_; i++)
        drop_key(&m, a->delete_[i]);
    for (size_t i = 0; i < a->n_set; i++)
        set_key(&m, a->set[i]->key, a->set[i]->value);
    return m;
}

static bool is_same(const struct merged *m, const struct property *present, uint32_t count)
{
    if (m->count != count)
        return false;
    for (uint32_t i = 0; i < count; i++)
        if (strcmp(m->configs[i].key, present[i].key) != 0 ||
            strcmp(m->configs[i].value, present[i].value) != 0)
            return false;
    return true;
}

/* --- topics ---------------------------------------------------------------------- */

static err check_deleted_keys(const Sluice__AlterConfigsOf *a, struct buf *why)
{
    err e = OK;
    for (size_t i = 0; i < a->n_delete_; i++) {
        if (topic_config_find(a->delete_[i]) != TOPIC_CONFIG_COUNT)
            continue;
        buf_printf(why, "%s: no topic config has that name. ", DIAG_STR(a->delete_[i]));
        e = E_INVALID_CONFIG;
    }
    return e;
}

/* Another minimum is one write that clears the eligible lists and raises the partition epochs: they
 * mean "held all that was committed under the old minimum". */
static struct topic *with_configs(struct controller *c, const struct topic *t,
                                  const struct merged *m)
{
    struct topic like = *t;
    struct topic_config_values values;
    struct partition_state *states = mem_alloc(t->partition_count * sizeof *states);
    like.configs = m->configs;
    like.config_count = m->count;
    like.node_version++;
    topic_config_values_of(&like, c->opts.defaults, &values);
    like.min_insync_replicas = topic_effective_min_insync(values.v[TOPIC_MIN_INSYNC_REPLICAS],
                                                          t->partitions[0].replica_count);
    const bool has_other_minimum = like.min_insync_replicas != t->min_insync_replicas;
    for (uint32_t i = 0; i < t->partition_count; i++) {
        states[i] = t->partitions[i];
        if (!has_other_minimum)
            continue;
        states[i].eligible_count = 0;
        states[i].partition_epoch++;
        write_stamp(c, &states[i]);
    }
    like.partitions = states;
    struct topic *next = topic_new(&like);
    mem_free(states);
    return next;
}

static err alter_topic(struct controller *c, struct task *task, struct write *w,
                       const struct topic *t, struct buf *why)
{
    const Sluice__AlterConfigsOf *a = task->item;
    err e = check_deleted_keys(a, why);
    struct merged m = merge(t->configs, t->config_count, a);
    const err set_e = topic_configs_check(m.configs, m.count, why);
    if (e == OK)
        e = set_e;
    const bool changes_nothing = is_same(&m, t->configs, t->config_count);
    if (e == OK && !task_is_validation(task) && !changes_nothing)
        e = write_topic(w, with_configs(c, t, &m));
    mem_free(m.configs);
    return e;
}

err topic_configs_decide(struct controller *c, struct operation *op, struct write *w,
                         struct buf *why)
{
    struct task *task = task_of(op);
    const Sluice__AlterConfigsOf *a = task->item;
    const char *name = a->resource->name;
    const struct topic *t;
    if (name == NULL ||
        cluster_resolve(write_view(w), slice_str(name), slice_of(NULL, 0), &t) != OK) {
        buf_printf(why, "topic %s does not exist", name != NULL ? DIAG_STR(name) : "\"\"");
        return E_UNKNOWN_TOPIC_OR_PARTITION;
    }
    struct buf faults = {0};
    err e = check_keys(a, &faults);
    if (e == OK)
        e = alter_topic(c, task, w, t, &faults);
    if (e != OK && e != E_WOULD_BLOCK) {
        buf_printf(why, "topic %s: ", name);
        buf_append(why, faults.data, faults.size);
    }
    buf_deinit(&faults);
    return e;
}

/* --- brokers --------------------------------------------------------------------- */

static err check_broker_keys(const struct controller *c, const Sluice__AlterConfigsOf *a,
                             struct buf *why)
{
    struct property changes[TOPIC_CONFIGS_MAX];
    size_t count = 0;
    for (size_t i = 0; i < a->n_set; i++)
        changes[count++] = (struct property){.key = a->set[i]->key, .value = a->set[i]->value};
    for (size_t i = 0; i < a->n_delete_; i++)
        changes[count++] = (struct property){.key = a->delete_[i]};
    if (c->opts.check_broker_configs != NULL)
        return c->opts.check_broker_configs(c->opts.user, changes, count, why);
    buf_append_str(why, "no broker config can change at run time");
    return E_INVALID_CONFIG;
}

static err alter_broker(struct controller *c, struct task *task, struct write *w, int32_t id,
                        struct buf *why)
{
    const Sluice__AlterConfigsOf *a = task->item;
    err e = check_keys(a, why);
    if (e == OK)
        e = check_broker_keys(c, a, why);
    if (e != OK)
        return e;
    static const struct broker_configs none = {.node_version = -1};
    const struct broker_configs *present = cluster_broker_configs(write_view(w), id);
    if (present == NULL)
        present = &none;
    struct merged m = merge(present->configs, present->config_count, a);
    const bool changes_nothing = is_same(&m, present->configs, present->config_count);
    if (!task_is_validation(task) && !changes_nothing)
        e = write_broker_configs(w, broker_configs_new(&(struct broker_configs){
                                        .broker_id = id,
                                        .node_version = present->node_version + 1,
                                        .configs = m.configs,
                                        .config_count = m.count}));
    mem_free(m.configs);
    return e;
}

err broker_configs_decide(struct controller *c, struct operation *op, struct write *w,
                          struct buf *why)
{
    struct task *task = task_of(op);
    const Sluice__AlterConfigsOf *a = task->item;
    const char *name = a->resource->name != NULL ? a->resource->name : "";
    int32_t id;
    if (path_parse_broker(name, &id) != OK) {
        buf_printf(why, "broker %s: not a broker's number", DIAG_STR(name));
        return E_INVALID_REQUEST;
    }
    if (live_broker_find(&c->live, id) == NULL &&
        cluster_broker_configs(write_view(w), id) == NULL) {
        buf_printf(why, "broker %d is not registered now", id);
        return E_BROKER_NOT_AVAILABLE;
    }
    struct buf faults = {0};
    const err e = alter_broker(c, task, w, id, &faults);
    if (e != OK && e != E_WOULD_BLOCK) {
        buf_printf(why, "broker %d: ", id);
        buf_append(why, faults.data, faults.size);
    }
    buf_deinit(&faults);
    return e;
}
