/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/replica/partition_table.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <uthash.h>
#include <utlist.h>

#include "proto/base/check.h"
#include "proto/base/diag.h"
#include "proto/base/limits.h"

enum { RETRY_US = 5 * 1000 * 1000 };

enum slot_state { SLOT_ABSENT, SLOT_OPENING, SLOT_OPEN, SLOT_FAILED };

struct slot {
    enum slot_state state;
    err failure;         /* OK, or why the last attempt to create it failed; of SLOT_FAILED */
    struct partition *p; /* of SLOT_OPEN */
};

/* What this broker holds of a topic; only topics with a replica here have one. */
struct held_topic {
    struct uuid id;
    uint32_t count;
    struct slot *slots; /* by partition number */
    UT_hash_handle hh;
};

/* A log that is to be created, for a slot that may have gone when it is there. */
struct creation {
    struct creation *prev, *next;
    struct partition_table *table;
    struct uuid topic_id;
    uint32_t partition;
    char topic[TOPIC_NAME_MAX + 1];
    struct log_conf conf;
    struct deletion *deletion; /* the topic went meanwhile: waits for what becomes of this */
};

/* Of all logs of a topic whose tombstone waits for this broker (rule E4). */
struct deletion {
    struct deletion *prev, *next;
    struct partition_table *table;
    struct uuid topic_id;
    uint32_t pending; /* logs, creations, and one for delete_logs itself */
    bool has_failed;
};

struct partition_table {
    struct partition_table_opts opts;
    uint64_t incarnation;  /* of this process's first registration */
    pthread_rwlock_t lock; /* guards image, held and what is in it, is_refusing and is_stopped;
                              written by the home loop only */
    struct cluster *image;
    struct held_topic *held;
    _Atomic uint32_t version;
    bool is_refusing; /* finds */
    bool is_stopped;
    /* Home loop only. */
    bool has_changed;        /* since on_settled was last called */
    struct creation *wanted; /* not asked for yet: the manager may answer at once, so not locked */
    struct creation *creations; /* under way */
    struct deletion *deletions; /* under way */
    struct timer retry;         /* of creations that failed for want of space */
};

struct partition_table *partition_table_new(const struct partition_table_opts *opts)
{
    struct partition_table *t = MEM_NEW(struct partition_table);
    t->opts = *opts;
    t->version = 1;
    CHECK(pthread_rwlock_init(&t->lock, NULL) == 0);
    return t;
}

void partition_table_set_incarnation(struct partition_table *t, uint64_t incarnation)
{
    t->incarnation = incarnation;
}

static void touch(struct partition_table *t)
{
    atomic_fetch_add(&t->version, 1);
}

uint32_t partition_table_version(const struct partition_table *t)
{
    return atomic_load_explicit(&t->version, memory_order_acquire);
}

static void settle(struct partition_table *t)
{
    if (t->wanted || t->creations || t->deletions || !t->has_changed || t->is_stopped)
        return;
    t->has_changed = false;
    if (t->opts.on_settled)
        t->opts.on_settled(t->opts.user, cluster_version(t->image));
}

/* --- from the image's words to the partition's -------------------------------- */

static struct log_conf log_conf_of(const struct topic_config_values *values)
{
    const int64_t *v = values->v;
    return (struct log_conf){.segment_bytes = (uint32_t)v[TOPIC_SEGMENT_BYTES],
                             .segment_ms = v[TOPIC_SEGMENT_MS],
                             .index_interval_bytes = (uint32_t)v[TOPIC_INDEX_INTERVAL_BYTES],
                             .index_bytes_max = (uint32_t)v[TOPIC_SEGMENT_INDEX_BYTES],
                             .retention_ms = v[TOPIC_RETENTION_MS],
                             .retention_bytes = v[TOPIC_RETENTION_BYTES],
                             .file_delete_delay_ms = v[TOPIC_FILE_DELETE_DELAY_MS],
                             .fsync = v[TOPIC_DURABILITY] == DURABILITY_FSYNC,
                             .cleanup_delete = (v[TOPIC_CLEANUP_POLICY] & CLEANUP_DELETE) != 0,
                             .cleanup_compact = (v[TOPIC_CLEANUP_POLICY] & CLEANUP_COMPACT) != 0,
                             .preallocate = v[TOPIC_PREALLOCATE] != 0};
}

struct log_conf partition_table_default_conf(const struct topic_config_values *defaults)
{
    return log_conf_of(defaults);
}

static struct partition_conf conf_of(const struct partition_table *t, const struct topic *topic,
                                     uint32_t partition)
{
    static const enum batch_codec codecs[] = {
        [COMPRESSION_PRODUCER] = CODEC_NONE, [COMPRESSION_UNCOMPRESSED] = CODEC_NONE,
        [COMPRESSION_GZIP] = CODEC_GZIP,     [COMPRESSION_SNAPPY] = CODEC_SNAPPY,
        [COMPRESSION_LZ4] = CODEC_LZ4,       [COMPRESSION_ZSTD] = CODEC_ZSTD,
    };
    struct topic_config_values values;
    topic_config_values_of(topic, t->opts.defaults, &values);
    const int64_t *v = values.v;
    return (struct partition_conf){
        .log = log_conf_of(&values),
        .rules = {.topic_id = topic->id,
                  .partition = partition,
                  .batch_bytes_max = (uint32_t)v[TOPIC_MAX_MESSAGE_BYTES],
                  .log_append_time = v[TOPIC_MESSAGE_TIMESTAMP_TYPE] == TIMESTAMP_LOG_APPEND_TIME,
                  .timestamp_before_ms_max = v[TOPIC_MESSAGE_TIMESTAMP_BEFORE_MAX_MS],
                  .timestamp_after_ms_max = v[TOPIC_MESSAGE_TIMESTAMP_AFTER_MAX_MS],
                  .keys_required = (v[TOPIC_CLEANUP_POLICY] & CLEANUP_COMPACT) != 0,
                  .has_codec = v[TOPIC_COMPRESSION_TYPE] != COMPRESSION_PRODUCER,
                  .codec = codecs[v[TOPIC_COMPRESSION_TYPE]],
                  .codec_level = CODEC_LEVEL_DEFAULT},
        .min_insync_replicas = topic->min_insync_replicas};
}

static struct partition_role role_of(const struct partition_table *t,
                                     const struct partition_state *s)
{
    return (struct partition_role){
        /* Elections name a life of a broker; those of this process are from t->incarnation on
           (rule C3). */
        .is_leader = s->leader == t->opts.broker_id && s->leader_incarnation >= t->incarnation,
        .leader_id = s->leader,
        .leader_epoch = s->leader_epoch,
        .partition_epoch = s->partition_epoch,
        .isr_count = s->isr_count,
        .is_sole = s->replica_count == 1};
}

/* --- holding -------------------------------------------------------------------- */

static struct held_topic *find_held(const struct partition_table *t, const struct uuid *id)
{
    struct held_topic *h;
    HASH_FIND(hh, t->held, id, sizeof *id, h);
    return h;
}

static struct held_topic *hold(struct partition_table *t, const struct topic *topic)
{
    struct held_topic *h = find_held(t, &topic->id);
    if (!h) {
        h = MEM_NEW(struct held_topic);
        h->id = topic->id;
        HASH_ADD(hh, t->held, id, sizeof h->id, h);
    }
    if (h->count < topic->partition_count) {
        h->slots = mem_realloc(h->slots, topic->partition_count * sizeof *h->slots);
        memset(h->slots + h->count, 0, (topic->partition_count - h->count) * sizeof *h->slots);
        h->count = topic->partition_count;
    }
    return h;
}

static void assign(struct partition_table *t, struct slot *s, const struct topic *topic,
                   uint32_t partition)
{
    const struct partition_role role = role_of(t, &topic->partitions[partition]);
    const err e = partition_set_role(s->p, &role);
    if (e != OK)
        diag(DIAG_ERROR, "replica", "a partition cannot be led: its log refused the new epoch",
             "topic=%s partition=%u epoch=%d error=%s", topic->name, partition, role.leader_epoch,
             err_name(e));
}

static void open_slot(struct partition_table *t, struct slot *s, struct log *g,
                      const struct topic *topic, uint32_t partition)
{
    const struct partition_conf conf = conf_of(t, topic, partition);
    s->p = partition_new(g, &conf);
    s->state = SLOT_OPEN;
    s->failure = OK;
    assign(t, s, topic, partition);
}

/* --- creating ---------------------------------------------------------------------- */

static void deletion_put(struct deletion *d);
static void on_log_deleted(void *arg, err e);
static void on_retry(void *arg);

/* Was this partition led before, and in sync here? Then its log is missing. */
static bool was_here(const struct partition_table *t, const struct partition_state *s)
{
    const bool led_by_earlier_life =
        s->leader == t->opts.broker_id && s->leader_incarnation < t->incarnation;
    return partition_has_isr(s, t->opts.broker_id) && (s->leader_epoch > 0 || led_by_earlier_life);
}

static bool has_failed_dirs(const struct partition_table *t)
{
    struct log_manager_stats stats;
    log_manager_stats(t->opts.logs, &stats);
    return stats.dirs_fenced > 0;
}

static void fail_slot(struct partition_table *t, struct slot *s, const struct topic *topic,
                      uint32_t partition, err e)
{
    if (s->failure != e)
        diag(DIAG_ERROR, "replica", "a partition has no log here, and none can be created",
             "topic=%s partition=%u error=%s", topic->name, partition, err_name(e));
    s->state = SLOT_FAILED;
    s->failure = e;
    if (err_class(e) == CLASS_RETRY && !timer_is_running(&t->retry))
        timer_start(t->opts.home, &t->retry, RETRY_US, on_retry, t);
}

static void on_created(void *arg, struct log *g, err e)
{
    struct creation *creation = arg;
    struct partition_table *t = creation->table;
    struct deletion *deletion = creation->deletion;
    DL_DELETE(t->creations, creation);
    pthread_rwlock_wrlock(&t->lock);
    struct held_topic *h = find_held(t, &creation->topic_id);
    const struct topic *topic = cluster_topic(t->image, &creation->topic_id);
    struct slot *s = h && creation->partition < h->count ? &h->slots[creation->partition] : NULL;
    if (s && s->state == SLOT_OPENING && topic) {
        if (g)
            open_slot(t, s, g, topic, creation->partition);
        else
            fail_slot(t, s, topic, creation->partition, e);
    }
    touch(t);
    pthread_rwlock_unlock(&t->lock);
    mem_free(creation);
    if (deletion && g && !t->is_stopped)
        log_manager_delete(t->opts.logs, g, on_log_deleted, deletion);
    else if (deletion)
        deletion_put(deletion);
    settle(t);
}

/* [locked] */
static void create_log(struct partition_table *t, struct slot *s, const struct topic *topic,
                       uint32_t partition)
{
    if (was_here(t, &topic->partitions[partition])) {
        /* Rule E2. An empty log must not take the place of one in a directory that may be used
         * again. */
        if (has_failed_dirs(t)) {
            fail_slot(t, s, topic, partition, E_STORAGE);
            return;
        }
        diag(DIAG_WARN, "replica", "the log of a partition is gone; it begins anew, empty",
             "topic=%s partition=%u", topic->name, partition);
    }
    struct creation *creation = MEM_NEW(struct creation);
    const struct partition_conf conf = conf_of(t, topic, partition);
    *creation = (struct creation){
        .table = t, .topic_id = topic->id, .partition = partition, .conf = conf.log};
    snprintf(creation->topic, sizeof creation->topic, "%s", topic->name);
    DL_APPEND(t->wanted, creation);
    s->state = SLOT_OPENING;
}

/* Not locked. */
static void ask_for_logs(struct partition_table *t)
{
    while (t->wanted) {
        struct creation *c = t->wanted;
        const struct log_identity id = {
            .topic = c->topic, .partition = c->partition, .topic_id = c->topic_id};
        DL_DELETE(t->wanted, c);
        DL_APPEND(t->creations, c);
        log_manager_create(t->opts.logs, &id, &c->conf, on_created, c);
    }
}

/* --- holding and letting go ------------------------------------------------------------ */

/* [locked] */
static void update_slot(struct partition_table *t, struct slot *s, const struct topic *topic,
                        uint32_t partition)
{
    if (s->state == SLOT_OPEN) {
        const struct partition_conf conf = conf_of(t, topic, partition);
        partition_set_conf(s->p, &conf);
        assign(t, s, topic, partition);
    } else if (s->state != SLOT_OPENING) {
        struct log *g = log_manager_find(t->opts.logs, &topic->id, partition);
        if (g)
            open_slot(t, s, g, topic, partition);
        else
            create_log(t, s, topic, partition);
    }
}

/* [locked] */
static void update_topic(struct partition_table *t, const struct topic *topic)
{
    struct held_topic *h = find_held(t, &topic->id);
    for (uint32_t i = 0; i < topic->partition_count; i++) {
        const bool is_ours = partition_has_replica(&topic->partitions[i], t->opts.broker_id);
        if (is_ours)
            h = hold(t, topic);
        /* One that was taken from us still has to be told that it does not lead. */
        if (is_ours || (h && i < h->count && h->slots[i].state == SLOT_OPEN))
            update_slot(t, &h->slots[i], topic, i);
    }
}

/* [locked] */
static void drop_held(struct partition_table *t, struct held_topic *h, err e)
{
    for (uint32_t i = 0; i < h->count; i++) {
        if (h->slots[i].state != SLOT_OPEN)
            continue;
        partition_stop(h->slots[i].p, e);
        partition_unref(h->slots[i].p);
    }
    HASH_DELETE(hh, t->held, h);
    mem_free(h->slots);
    mem_free(h);
}

/* --- deleting: only what a tombstone names (rule E4) ------------------------------------ */

static void deletion_put(struct deletion *d)
{
    struct partition_table *t = d->table;
    if (--d->pending > 0)
        return;
    DL_DELETE(t->deletions, d);
    if (!d->has_failed && !t->is_stopped)
        t->opts.on_deleted(t->opts.user, &d->topic_id);
    mem_free(d);
    settle(t);
}

static void on_log_deleted(void *arg, err e)
{
    struct deletion *d = arg;
    if (e != OK)
        d->has_failed = true; /* the directory is fenced; the next start finds the tombstone */
    deletion_put(d);
}

static void note_log(void *arg, struct log *g)
{
    struct buf *found = arg;
    buf_append(found, &g, sizeof g);
}

static struct deletion *find_deletion(const struct partition_table *t, const struct uuid *topic_id)
{
    struct deletion *d;
    DL_FOREACH(t->deletions, d)
    {
        if (memcmp(&d->topic_id, topic_id, sizeof *topic_id) == 0)
            break;
    }
    return d;
}

/* What there is of it, and what is about to be. */
static void delete_logs(struct partition_table *t, const struct uuid *topic_id)
{
    if (find_deletion(t, topic_id))
        return; /* the tombstone changed while it is under way */
    struct deletion *d = MEM_NEW(struct deletion);
    *d = (struct deletion){.table = t, .topic_id = *topic_id, .pending = 1};
    DL_APPEND(t->deletions, d);
    struct creation *c;
    DL_FOREACH(t->creations, c)
    {
        if (memcmp(&c->topic_id, topic_id, sizeof *topic_id) == 0) {
            c->deletion = d;
            d->pending++;
        }
    }
    struct buf all = {0};
    log_manager_each(t->opts.logs, note_log, &all);
    for (size_t i = 0; i < all.size / sizeof(struct log *); i++) {
        struct log *g;
        memcpy(&g, all.data + i * sizeof g, sizeof g);
        if (memcmp(&log_identity(g)->topic_id, topic_id, sizeof *topic_id) != 0)
            continue;
        d->pending++;
        log_manager_delete(t->opts.logs, g, on_log_deleted, d);
    }
    buf_deinit(&all);
    deletion_put(d);
}

static bool waits_for(const struct tombstone *tomb, int32_t broker_id)
{
    for (uint32_t i = 0; i < tomb->waiting_count; i++)
        if (tomb->waiting[i] == broker_id)
            return true;
    return false;
}

/* --- applying an image --------------------------------------------------------------- */

static void on_topic_changed(void *arg, const struct topic *old, const struct topic *new_)
{
    struct partition_table *t = arg;
    if (new_) {
        update_topic(t, new_);
        return;
    }
    struct held_topic *h = find_held(t, &old->id);
    if (h)
        drop_held(t, h, E_UNKNOWN_TOPIC_OR_PARTITION);
}

static void on_tombstone_changed(void *arg, const struct tombstone *old,
                                 const struct tombstone *new_)
{
    struct partition_table *t = arg;
    (void)old;
    if (new_ && waits_for(new_, t->opts.broker_id))
        delete_logs(t, &new_->id);
}

void partition_table_apply(struct partition_table *t, const struct cluster *image)
{
    if (t->is_stopped)
        return;
    struct cluster *old = t->image;
    pthread_rwlock_wrlock(&t->lock);
    t->image = cluster_ref(image);
    cluster_diff_topics(old, image, on_topic_changed, t);
    touch(t);
    pthread_rwlock_unlock(&t->lock);
    cluster_diff_tombstones(old, image, on_tombstone_changed, t);
    cluster_unref(old);
    ask_for_logs(t);
    t->has_changed = true; /* last: what ended at once has settled nothing */
    settle(t);
}

void partition_table_reconfigure(struct partition_table *t)
{
    struct held_topic *h, *next;
    pthread_rwlock_wrlock(&t->lock);
    HASH_ITER(hh, t->held, h, next)
    {
        const struct topic *topic = cluster_topic(t->image, &h->id);
        if (topic)
            update_topic(t, topic);
    }
    touch(t);
    pthread_rwlock_unlock(&t->lock);
    ask_for_logs(t);
}

static void on_retry(void *arg)
{
    partition_table_reconfigure(arg);
}

/* --- looking up ------------------------------------------------------------------------- */

static err find_locked(const struct partition_table *t, const struct partition_name *name,
                       struct partition **out)
{
    const struct topic *topic;
    if (t->is_refusing || t->is_stopped)
        return E_SHUTTING_DOWN;
    if (!t->image)
        return E_NOT_READY;
    const err e = cluster_resolve(t->image, name->topic, name->topic_id, &topic);
    if (e != OK)
        return e;
    if (name->partition >= topic->partition_count)
        return E_UNKNOWN_TOPIC_OR_PARTITION;
    const struct held_topic *h = find_held(t, &topic->id);
    if (!h || h->slots[name->partition].state == SLOT_ABSENT)
        return E_NOT_LEADER;
    const struct slot *s = &h->slots[name->partition];
    if (s->state == SLOT_OPENING)
        return E_NOT_READY;
    if (s->state == SLOT_FAILED)
        return s->failure;
    *out = partition_ref(s->p);
    return OK;
}

err partition_table_find(struct partition_table *t, const struct partition_name *name,
                         struct partition **out)
{
    pthread_rwlock_rdlock(&t->lock);
    const err e = find_locked(t, name, out);
    pthread_rwlock_unlock(&t->lock);
    return e;
}

struct cluster *partition_table_image(struct partition_table *t)
{
    pthread_rwlock_rdlock(&t->lock);
    struct cluster *image = t->image ? cluster_ref(t->image) : NULL;
    pthread_rwlock_unlock(&t->lock);
    return image;
}

void partition_table_each(struct partition_table *t, void (*fn)(void *arg, struct partition *p),
                          void *arg)
{
    struct held_topic *h, *next;
    pthread_rwlock_rdlock(&t->lock);
    HASH_ITER(hh, t->held, h, next)
    for (uint32_t i = 0; i < h->count; i++)
        if (h->slots[i].state == SLOT_OPEN)
            fn(arg, h->slots[i].p);
    pthread_rwlock_unlock(&t->lock);
}

/* --- the end ------------------------------------------------------------------------------ */

void partition_table_refuse(struct partition_table *t)
{
    pthread_rwlock_wrlock(&t->lock);
    t->is_refusing = true;
    touch(t);
    pthread_rwlock_unlock(&t->lock);
}

static void add_waiting(void *arg, struct partition *p)
{
    *(size_t *)arg += partition_has_unconfirmed(p);
}

size_t partition_table_waiting(struct partition_table *t)
{
    size_t n = 0;
    partition_table_each(t, add_waiting, &n);
    return n;
}

void partition_table_stop(struct partition_table *t)
{
    struct held_topic *h, *next;
    pthread_rwlock_wrlock(&t->lock);
    t->is_stopped = true;
    timer_stop(t->opts.home, &t->retry);
    HASH_ITER(hh, t->held, h, next)
    drop_held(t, h, E_SHUTTING_DOWN);
    touch(t);
    pthread_rwlock_unlock(&t->lock);
}

void partition_table_free(struct partition_table *t)
{
    CHECK(t->held == NULL);
    struct creation *c, *next_creation;
    struct deletion *d, *next_deletion;
    DL_FOREACH_SAFE(t->creations, c, next_creation)
    {
        mem_free(c);
    }
    DL_FOREACH_SAFE(t->deletions, d, next_deletion)
    {
        mem_free(d);
    }
    cluster_unref(t->image);
    pthread_rwlock_destroy(&t->lock);
    mem_free(t);
}
