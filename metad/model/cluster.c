/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tables are open-addressed and cut into shards by the low bits of the hash.
 * Shards are counted: images share those that are alike. An edit owns a shard
 * alone exactly if the count is one; else it copies before it writes.
 *
 * Invariants: 1. every topic of the id table is in the name table, unless two
 * topics claim one name (only a damaged store does that: the later one wins the
 * name). 2. A shard is at most half full. 3. NULL is an empty shard.
 */
#include "metad/model/cluster.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "metad/model/names.h"
#include "proto/base/check.h"
#include "proto/base/mem.h"

enum { SHARDS = 256, SHARD_CAPACITY_MIN = 4 };

/* --- deep copies in one allocation: values first, then the ids, then the strings ---- */

struct packer {
    uint8_t *at;
};

static void *pack_array(struct packer *pk, const void *from, size_t count, size_t item)
{
    uint8_t *to = pk->at;
    if (count > 0)
        memcpy(to, from, count * item);
    pk->at += count * item;
    return to;
}

static const char *pack_string(struct packer *pk, const char *s)
{
    return pack_array(pk, s, strlen(s) + 1, 1);
}

static size_t properties_bytes(const struct property *props, size_t count)
{
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++)
        bytes += strlen(props[i].key) + strlen(props[i].value) + 2;
    return bytes;
}

static void pack_property_strings(struct packer *pk, struct property *props, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        props[i].key = pack_string(pk, props[i].key);
        props[i].value = pack_string(pk, props[i].value);
    }
}

/* --- topics ---------------------------------------------------------------------- */

struct topic *topic_new(const struct topic *like)
{
    size_t ids = 0;
    for (uint32_t i = 0; i < like->partition_count; i++) {
        const struct partition_state *p = &like->partitions[i];
        ids += (size_t)p->replica_count + p->isr_count + p->eligible_count;
    }
    const size_t bytes = sizeof *like + like->partition_count * sizeof *like->partitions +
                         like->config_count * sizeof *like->configs + ids * sizeof(int32_t) +
                         properties_bytes(like->configs, like->config_count) + strlen(like->name) +
                         1;
    struct topic *t = mem_alloc(bytes);
    memcpy(t, like, sizeof *t);
    atomic_init(&t->refs, 1);
    struct packer pk = {.at = (uint8_t *)(t + 1)};
    struct partition_state *partitions =
        pack_array(&pk, like->partitions, like->partition_count, sizeof *partitions);
    struct property *configs = pack_array(&pk, like->configs, like->config_count, sizeof *configs);
    for (uint32_t i = 0; i < like->partition_count; i++) {
        struct partition_state *p = &partitions[i];
        p->replicas = pack_array(&pk, p->replicas, p->replica_count, sizeof(int32_t));
        p->isr = pack_array(&pk, p->isr, p->isr_count, sizeof(int32_t));
        p->eligible = pack_array(&pk, p->eligible, p->eligible_count, sizeof(int32_t));
    }
    pack_property_strings(&pk, configs, like->config_count);
    t->name = pack_string(&pk, like->name);
    t->partitions = partitions;
    t->configs = configs;
    CHECK(pk.at == (uint8_t *)t + bytes);
    return t;
}

/* Counting is not a change of the value. */
static void ref(const _Atomic uint32_t *refs)
{
    atomic_fetch_add_explicit((_Atomic uint32_t *)(uintptr_t)refs, 1, memory_order_relaxed);
}

static bool unref_is_last(const _Atomic uint32_t *refs)
{
    _Atomic uint32_t *r = (_Atomic uint32_t *)(uintptr_t)refs;
    return atomic_fetch_sub_explicit(r, 1, memory_order_acq_rel) == 1;
}

static void unref(const _Atomic uint32_t *refs, const void *value)
{
    if (unref_is_last(refs))
        mem_free((void *)(uintptr_t)value);
}

struct topic *topic_ref(const struct topic *t)
{
    ref(&t->refs);
    return (struct topic *)(uintptr_t)t;
}

void topic_unref(const struct topic *t)
{
    unref(&t->refs, t);
}

const char *topic_config(const struct topic *t, const char *key)
{
    for (uint32_t i = 0; i < t->config_count; i++)
        if (strcmp(t->configs[i].key, key) == 0)
            return t->configs[i].value;
    return NULL;
}

static bool ids_have(const int32_t *ids, uint32_t count, int32_t id)
{
    for (uint32_t i = 0; i < count; i++)
        if (ids[i] == id)
            return true;
    return false;
}

bool partition_has_replica(const struct partition_state *p, int32_t broker_id)
{
    return ids_have(p->replicas, p->replica_count, broker_id);
}

bool partition_has_isr(const struct partition_state *p, int32_t broker_id)
{
    return ids_have(p->isr, p->isr_count, broker_id);
}

/* --- brokers, their configs, tombstones ------------------------------------------ */

struct broker *broker_new(const struct broker *like)
{
    size_t bytes = sizeof *like + like->endpoint_count * sizeof *like->endpoints +
                   like->directory_count * sizeof *like->directory_ids + strlen(like->rack) + 1;
    for (uint32_t i = 0; i < like->endpoint_count; i++)
        bytes += strlen(like->endpoints[i].listener) + strlen(like->endpoints[i].host) + 2;
    struct broker *b = mem_alloc(bytes);
    memcpy(b, like, sizeof *b);
    atomic_init(&b->refs, 1);
    struct packer pk = {.at = (uint8_t *)(b + 1)};
    struct endpoint *endpoints =
        pack_array(&pk, like->endpoints, like->endpoint_count, sizeof *endpoints);
    b->directory_ids =
        pack_array(&pk, like->directory_ids, like->directory_count, sizeof *b->directory_ids);
    for (uint32_t i = 0; i < like->endpoint_count; i++) {
        endpoints[i].listener = pack_string(&pk, endpoints[i].listener);
        endpoints[i].host = pack_string(&pk, endpoints[i].host);
    }
    b->rack = pack_string(&pk, like->rack);
    b->endpoints = endpoints;
    CHECK(pk.at == (uint8_t *)b + bytes);
    return b;
}

struct broker *broker_ref(const struct broker *b)
{
    ref(&b->refs);
    return (struct broker *)(uintptr_t)b;
}

void broker_unref(const struct broker *b)
{
    unref(&b->refs, b);
}

const struct endpoint *broker_endpoint(const struct broker *b, const char *listener)
{
    for (uint32_t i = 0; i < b->endpoint_count; i++)
        if (strcmp(b->endpoints[i].listener, listener) == 0)
            return &b->endpoints[i];
    return NULL;
}

struct broker_configs *broker_configs_new(const struct broker_configs *like)
{
    const size_t bytes = sizeof *like + like->config_count * sizeof *like->configs +
                         properties_bytes(like->configs, like->config_count);
    struct broker_configs *bc = mem_alloc(bytes);
    memcpy(bc, like, sizeof *bc);
    atomic_init(&bc->refs, 1);
    struct packer pk = {.at = (uint8_t *)(bc + 1)};
    struct property *configs = pack_array(&pk, like->configs, like->config_count, sizeof *configs);
    pack_property_strings(&pk, configs, like->config_count);
    bc->configs = configs;
    return bc;
}

void broker_configs_unref(const struct broker_configs *bc)
{
    unref(&bc->refs, bc);
}

struct tombstone *tombstone_new(const struct tombstone *like)
{
    const size_t ids = like->waiting_count * sizeof *like->waiting;
    struct tombstone *t = mem_alloc(sizeof *like + ids + strlen(like->name) + 1);
    memcpy(t, like, sizeof *t);
    atomic_init(&t->refs, 1);
    struct packer pk = {.at = (uint8_t *)(t + 1)};
    t->waiting = pack_array(&pk, like->waiting, like->waiting_count, sizeof *t->waiting);
    t->name = pack_string(&pk, like->name);
    return t;
}

void tombstone_unref(const struct tombstone *t)
{
    unref(&t->refs, t);
}

/* --- sharded tables -------------------------------------------------------------- */

struct entry {
    uint64_t hash;
    const void *value; /* NULL: empty */
};

struct shard {
    _Atomic uint32_t refs;
    uint32_t count;
    uint32_t capacity; /* a power of two, at least twice the count */
    struct entry entries[];
};

struct table {
    struct shard *shards[SHARDS];
};

/* What a table's values are. Every value begins with its count of references. */
typedef bool same_key_fn(const void *a, const void *b);

static void value_ref(const void *value)
{
    ref((const _Atomic uint32_t *)value);
}

static void value_unref(const void *value)
{
    unref((const _Atomic uint32_t *)value, value);
}

static uint64_t uuid_hash(const struct uuid *id)
{
    uint64_t h;
    memcpy(&h, id->bytes, sizeof h);
    h *= 0x9e3779b97f4a7c15;
    return h ^ h >> 32;
}

static uint32_t slot_of(const struct shard *s, uint64_t hash)
{
    return (uint32_t)(hash >> 8) & (s->capacity - 1);
}

static struct shard *shard_new(uint32_t capacity)
{
    struct shard *s = mem_zalloc(sizeof *s + capacity * sizeof s->entries[0]);
    atomic_init(&s->refs, 1);
    s->capacity = capacity;
    return s;
}

static void shard_unref(struct shard *s)
{
    if (s == NULL || !unref_is_last(&s->refs))
        return;
    for (uint32_t i = 0; i < s->capacity; i++)
        if (s->entries[i].value != NULL)
            value_unref(s->entries[i].value);
    mem_free(s);
}

/* Takes the value's reference. */
static void shard_put_new(struct shard *s, uint64_t hash, const void *value)
{
    uint32_t i = slot_of(s, hash);
    while (s->entries[i].value != NULL)
        i = (i + 1) & (s->capacity - 1);
    s->entries[i] = (struct entry){.hash = hash, .value = value};
    s->count++;
}

static struct entry *shard_find(const struct shard *s, uint64_t hash, same_key_fn *same,
                                const void *key)
{
    if (s == NULL)
        return NULL;
    for (uint32_t i = slot_of(s, hash);; i = (i + 1) & (s->capacity - 1)) {
        const struct entry *en = &s->entries[i];
        if (en->value == NULL)
            return NULL;
        if (en->hash == hash && same(en->value, key))
            return (struct entry *)(uintptr_t)en;
    }
}

static const void *table_get(const struct table *tb, uint64_t hash, same_key_fn *same,
                             const void *key)
{
    const struct entry *en = shard_find(tb->shards[hash % SHARDS], hash, same, key);
    return en != NULL ? en->value : NULL;
}

/* The shard of this hash, owned alone and with room for one more. */
static struct shard *table_own_shard(struct table *tb, uint64_t hash)
{
    struct shard **at = &tb->shards[hash % SHARDS];
    struct shard *old = *at;
    if (old == NULL)
        return *at = shard_new(SHARD_CAPACITY_MIN);
    const bool has_room = (old->count + 1) * 2 <= old->capacity;
    if (has_room && atomic_load_explicit(&old->refs, memory_order_acquire) == 1)
        return old;
    struct shard *s = shard_new(has_room ? old->capacity : old->capacity * 2);
    for (uint32_t i = 0; i < old->capacity; i++) {
        const struct entry *en = &old->entries[i];
        if (en->value == NULL)
            continue;
        value_ref(en->value);
        shard_put_new(s, en->hash, en->value);
    }
    shard_unref(old);
    return *at = s;
}

/* Takes the value's reference. */
static void table_put(struct table *tb, uint64_t hash, same_key_fn *same, const void *value)
{
    struct shard *s = table_own_shard(tb, hash);
    struct entry *en = shard_find(s, hash, same, value);
    if (en == NULL) {
        shard_put_new(s, hash, value);
        return;
    }
    value_unref(en->value);
    en->value = value;
}

static void table_drop(struct table *tb, uint64_t hash, same_key_fn *same, const void *key)
{
    if (shard_find(tb->shards[hash % SHARDS], hash, same, key) == NULL)
        return;
    struct shard *s = table_own_shard(tb, hash);
    struct entry *en = shard_find(s, hash, same, key);
    CHECK(en != NULL);
    value_unref(en->value);
    s->count--;
    /* Those behind it in the same run move up, so that no search ends early. */
    const uint32_t mask = s->capacity - 1;
    uint32_t hole = (uint32_t)(en - s->entries);
    for (uint32_t i = (hole + 1) & mask; s->entries[i].value != NULL; i = (i + 1) & mask) {
        const uint32_t home = slot_of(s, s->entries[i].hash);
        if (((i - home) & mask) < ((i - hole) & mask))
            continue; /* it would end up before its home */
        s->entries[hole] = s->entries[i];
        hole = i;
    }
    s->entries[hole] = (struct entry){0};
}

static void table_share(struct table *to, const struct table *from)
{
    *to = *from;
    for (size_t i = 0; i < SHARDS; i++)
        if (to->shards[i] != NULL)
            ref(&to->shards[i]->refs);
}

static void table_deinit(struct table *tb)
{
    for (size_t i = 0; i < SHARDS; i++)
        shard_unref(tb->shards[i]);
}

static const void *table_next(const struct table *tb, struct cluster_cursor *cur)
{
    for (; cur->shard < SHARDS; cur->shard++, cur->slot = 0) {
        const struct shard *s = tb->shards[cur->shard];
        while (s != NULL && cur->slot < s->capacity) {
            const void *value = s->entries[cur->slot++].value;
            if (value != NULL)
                return value;
        }
    }
    return NULL;
}

typedef void diff_fn(void *arg, const void *old, const void *new_);

static void table_diff(const struct table *from, const struct table *to, same_key_fn *same,
                       diff_fn *fn, void *arg)
{
    for (size_t i = 0; i < SHARDS; i++) {
        const struct shard *a = from->shards[i];
        const struct shard *b = to->shards[i];
        if (a == b)
            continue;
        for (uint32_t k = 0; a != NULL && k < a->capacity; k++) {
            const struct entry *en = &a->entries[k];
            if (en->value != NULL && shard_find(b, en->hash, same, en->value) == NULL)
                fn(arg, en->value, NULL);
        }
        for (uint32_t k = 0; b != NULL && k < b->capacity; k++) {
            const struct entry *en = &b->entries[k];
            if (en->value == NULL)
                continue;
            const struct entry *old = shard_find(a, en->hash, same, en->value);
            if (old == NULL || old->value != en->value)
                fn(arg, old != NULL ? old->value : NULL, en->value);
        }
    }
}

/* --- keys ------------------------------------------------------------------------ */

static bool topic_has_id(const void *value, const void *key)
{
    const struct topic *t = value;
    return memcmp(&t->id, key, sizeof t->id) == 0;
}

static bool topics_same_id(const void *a, const void *b)
{
    return topic_has_id(a, &((const struct topic *)b)->id);
}

static bool topics_same_name(const void *a, const void *b)
{
    return strcmp(((const struct topic *)a)->name, ((const struct topic *)b)->name) == 0;
}

static bool topic_has_name(const void *value, const void *key)
{
    const struct topic *t = value;
    return slice_eq(slice_str(t->name), *(const struct slice *)key);
}

static bool topic_has_colliding_name(const void *value, const void *key)
{
    const struct topic *t = value;
    return topic_names_collide(slice_str(t->name), *(const struct slice *)key);
}

static bool tombstone_has_id(const void *value, const void *key)
{
    const struct tombstone *t = value;
    return memcmp(&t->id, key, sizeof t->id) == 0;
}

static bool tombstones_same_id(const void *a, const void *b)
{
    return tombstone_has_id(a, &((const struct tombstone *)b)->id);
}

/* --- sorted lists of counted values, copied whole: brokers are few --------------- */

struct list {
    const void **items;
    uint32_t count;
};

static int32_t broker_key(const void *item)
{
    return ((const struct broker *)item)->id;
}

static int32_t broker_configs_key(const void *item)
{
    return ((const struct broker_configs *)item)->broker_id;
}

typedef int32_t list_key_fn(const void *item);

/* Where id is, or would be. */
static uint32_t list_find(const struct list *l, list_key_fn *key, int32_t id)
{
    uint32_t low = 0;
    uint32_t high = l->count;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (key(l->items[middle]) < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static const void *list_get(const struct list *l, list_key_fn *key, int32_t id)
{
    const uint32_t i = list_find(l, key, id);
    return i < l->count && key(l->items[i]) == id ? l->items[i] : NULL;
}

static void list_drop(struct list *l, list_key_fn *key, int32_t id)
{
    const uint32_t i = list_find(l, key, id);
    if (i >= l->count || key(l->items[i]) != id)
        return;
    value_unref(l->items[i]);
    l->count--;
    memmove(&l->items[i], &l->items[i + 1], (l->count - i) * sizeof l->items[0]);
}

static void list_put(struct list *l, list_key_fn *key, const void *item)
{
    list_drop(l, key, key(item));
    const uint32_t i = list_find(l, key, key(item));
    l->items = mem_realloc(l->items, (l->count + 1) * sizeof l->items[0]);
    memmove(&l->items[i + 1], &l->items[i], (l->count - i) * sizeof l->items[0]);
    l->items[i] = item;
    l->count++;
}

static void list_share(struct list *to, const struct list *from)
{
    to->count = from->count;
    to->items = mem_alloc((from->count + 1) * sizeof to->items[0]);
    for (uint32_t i = 0; i < from->count; i++) {
        to->items[i] = from->items[i];
        value_ref(to->items[i]);
    }
}

static void list_deinit(struct list *l)
{
    for (uint32_t i = 0; i < l->count; i++)
        value_unref(l->items[i]);
    mem_free(l->items);
}

/* --- images ---------------------------------------------------------------------- */

enum { CLUSTER_ID_BYTES = 64 };

struct cluster {
    _Atomic uint32_t refs;
    uint64_t version;
    char id[CLUSTER_ID_BYTES];
    int32_t controller;
    uint32_t topic_count;
    uint32_t partition_count;
    struct table topics;
    struct table names;
    struct table tombstones;
    struct list brokers;
    struct list broker_configs;
};

struct cluster_edit {
    struct cluster *img;
};

struct cluster *cluster_ref(const struct cluster *img)
{
    ref(&img->refs);
    return (struct cluster *)(uintptr_t)img;
}

void cluster_unref(const struct cluster *img)
{
    if (img == NULL || !unref_is_last(&img->refs))
        return;
    struct cluster *dead = (struct cluster *)(uintptr_t)img;
    table_deinit(&dead->topics);
    table_deinit(&dead->names);
    table_deinit(&dead->tombstones);
    list_deinit(&dead->brokers);
    list_deinit(&dead->broker_configs);
    mem_free(dead);
}

uint64_t cluster_version(const struct cluster *img)
{
    return img->version;
}

const char *cluster_id(const struct cluster *img)
{
    return img->id;
}

int32_t cluster_controller(const struct cluster *img)
{
    return img->controller;
}

uint32_t cluster_topic_count(const struct cluster *img)
{
    return img->topic_count;
}

uint32_t cluster_partition_count(const struct cluster *img)
{
    return img->partition_count;
}

const struct topic *cluster_topic(const struct cluster *img, const struct uuid *id)
{
    return table_get(&img->topics, uuid_hash(id), topic_has_id, id);
}

const struct topic *cluster_topic_named(const struct cluster *img, struct slice name)
{
    return table_get(&img->names, topic_name_hash(name), topic_has_name, &name);
}

const struct topic *cluster_topic_colliding(const struct cluster *img, struct slice name)
{
    return table_get(&img->names, topic_name_hash(name), topic_has_colliding_name, &name);
}

const struct tombstone *cluster_tombstone(const struct cluster *img, const struct uuid *id)
{
    return table_get(&img->tombstones, uuid_hash(id), tombstone_has_id, id);
}

err cluster_resolve(const struct cluster *img, struct slice name, struct slice id,
                    const struct topic **out)
{
    const struct topic *t = NULL;
    if (id.size > 0) {
        struct uuid key;
        if (id.size != sizeof key.bytes)
            return E_UNKNOWN_TOPIC_ID;
        memcpy(key.bytes, id.data, sizeof key.bytes);
        t = cluster_topic(img, &key);
        if (t == NULL)
            return E_UNKNOWN_TOPIC_ID;
        if (name.size > 0 && !slice_eq(slice_str(t->name), name))
            return E_INCONSISTENT_TOPIC_ID;
    } else {
        t = cluster_topic_named(img, name);
        if (t == NULL)
            return E_UNKNOWN_TOPIC_OR_PARTITION;
    }
    *out = t;
    return OK;
}

uint32_t cluster_broker_count(const struct cluster *img)
{
    return img->brokers.count;
}

const struct broker *cluster_broker_at(const struct cluster *img, uint32_t index)
{
    CHECK(index < img->brokers.count);
    return img->brokers.items[index];
}

const struct broker *cluster_broker(const struct cluster *img, int32_t id)
{
    return list_get(&img->brokers, broker_key, id);
}

const struct broker_configs *cluster_broker_configs(const struct cluster *img, int32_t id)
{
    return list_get(&img->broker_configs, broker_configs_key, id);
}

const struct topic *cluster_next_topic(const struct cluster *img, struct cluster_cursor *cur)
{
    return table_next(&img->topics, cur);
}

const struct tombstone *cluster_next_tombstone(const struct cluster *img,
                                               struct cluster_cursor *cur)
{
    return table_next(&img->tombstones, cur);
}

static const struct cluster empty_image = {.controller = NO_BROKER};

struct topic_differ {
    void (*fn)(void *arg, const struct topic *old, const struct topic *new_);
    void *arg;
};

static void differ_topic(void *arg, const void *old, const void *new_)
{
    const struct topic_differ *d = arg;
    d->fn(d->arg, old, new_);
}

void cluster_diff_topics(const struct cluster *from, const struct cluster *to,
                         void (*fn)(void *arg, const struct topic *old, const struct topic *new_),
                         void *arg)
{
    struct topic_differ d = {.fn = fn, .arg = arg};
    table_diff(from != NULL ? &from->topics : &empty_image.topics, &to->topics, topics_same_id,
               differ_topic, &d);
}

struct tombstone_differ {
    void (*fn)(void *arg, const struct tombstone *old, const struct tombstone *new_);
    void *arg;
};

static void differ_tombstone(void *arg, const void *old, const void *new_)
{
    const struct tombstone_differ *d = arg;
    d->fn(d->arg, old, new_);
}

void cluster_diff_tombstones(const struct cluster *from, const struct cluster *to,
                             void (*fn)(void *arg, const struct tombstone *old,
                                        const struct tombstone *new_),
                             void *arg)
{
    struct tombstone_differ d = {.fn = fn, .arg = arg};
    table_diff(from != NULL ? &from->tombstones : &empty_image.tombstones, &to->tombstones,
               tombstones_same_id, differ_tombstone, &d);
}

void cluster_diff_brokers(const struct cluster *from, const struct cluster *to,
                          void (*fn)(void *arg, const struct broker *old,
                                     const struct broker *new_),
                          void *arg)
{
    if (from == NULL)
        from = &empty_image;
    for (uint32_t i = 0; i < from->brokers.count; i++) {
        const struct broker *old = cluster_broker_at(from, i);
        if (cluster_broker(to, old->id) == NULL)
            fn(arg, old, NULL);
    }
    for (uint32_t i = 0; i < to->brokers.count; i++) {
        const struct broker *b = cluster_broker_at(to, i);
        const struct broker *old = cluster_broker(from, b->id);
        if (old != b)
            fn(arg, old, b);
    }
}

/* --- edits ----------------------------------------------------------------------- */

struct cluster_edit *cluster_edit_new(const struct cluster *base)
{
    if (base == NULL)
        base = &empty_image;
    struct cluster *img = MEM_NEW(struct cluster);
    atomic_init(&img->refs, 1);
    img->version = base->version;
    memcpy(img->id, base->id, sizeof img->id);
    img->controller = base->controller;
    img->topic_count = base->topic_count;
    img->partition_count = base->partition_count;
    table_share(&img->topics, &base->topics);
    table_share(&img->names, &base->names);
    table_share(&img->tombstones, &base->tombstones);
    list_share(&img->brokers, &base->brokers);
    list_share(&img->broker_configs, &base->broker_configs);
    struct cluster_edit *e = MEM_NEW(struct cluster_edit);
    e->img = img;
    return e;
}

void cluster_edit_version(struct cluster_edit *e, uint64_t version)
{
    e->img->version = version;
}

void cluster_edit_id(struct cluster_edit *e, const char *id)
{
    const size_t size = strlen(id);
    CHECK(size < CLUSTER_ID_BYTES);
    memcpy(e->img->id, id, size + 1);
}

void cluster_edit_controller(struct cluster_edit *e, int32_t broker_id)
{
    e->img->controller = broker_id;
}

void cluster_edit_drop_topic(struct cluster_edit *e, const struct uuid *id)
{
    struct cluster *img = e->img;
    const struct topic *t = cluster_topic(img, id);
    if (t == NULL)
        return;
    const uint64_t hash = topic_name_hash(slice_str(t->name));
    img->topic_count--;
    img->partition_count -= t->partition_count;
    const struct slice name = slice_str(t->name);
    if (cluster_topic_named(img, name) == t) /* invariant 1: the name may be another's */
        table_drop(&img->names, hash, topic_has_name, &name);
    const struct uuid key = *id; /* id may be t's own */
    table_drop(&img->topics, uuid_hash(&key), topic_has_id, &key);
}

void cluster_edit_topic(struct cluster_edit *e, struct topic *t)
{
    struct cluster *img = e->img;
    cluster_edit_drop_topic(e, &t->id);
    table_put(&img->names, topic_name_hash(slice_str(t->name)), topics_same_name, topic_ref(t));
    table_put(&img->topics, uuid_hash(&t->id), topics_same_id, t);
    img->topic_count++;
    img->partition_count += t->partition_count;
}

void cluster_edit_tombstone(struct cluster_edit *e, struct tombstone *t)
{
    table_put(&e->img->tombstones, uuid_hash(&t->id), tombstones_same_id, t);
}

void cluster_edit_drop_tombstone(struct cluster_edit *e, const struct uuid *id)
{
    const struct uuid key = *id;
    table_drop(&e->img->tombstones, uuid_hash(&key), tombstone_has_id, &key);
}

void cluster_edit_broker(struct cluster_edit *e, struct broker *b)
{
    list_put(&e->img->brokers, broker_key, b);
}

void cluster_edit_drop_broker(struct cluster_edit *e, int32_t id)
{
    list_drop(&e->img->brokers, broker_key, id);
}

void cluster_edit_broker_configs(struct cluster_edit *e, struct broker_configs *bc)
{
    list_put(&e->img->broker_configs, broker_configs_key, bc);
}

void cluster_edit_drop_broker_configs(struct cluster_edit *e, int32_t id)
{
    list_drop(&e->img->broker_configs, broker_configs_key, id);
}

const struct cluster *cluster_edit_view(const struct cluster_edit *e)
{
    return e->img;
}

struct cluster *cluster_edit_finish(struct cluster_edit *e)
{
    struct cluster *img = e->img;
    mem_free(e);
    return img;
}

void cluster_edit_free(struct cluster_edit *e)
{
    cluster_unref(e->img);
    mem_free(e);
}
