/* SPDX-License-Identifier: Apache-2.0 */
#include "metad/coord/nodes.h"

#include <string.h>

#include "metad/model/election.h"
#include "metad/model/names.h"
#include "proto/base/check.h"
#include "proto/base/limits.h"
#include "proto/base/mem.h"
#include "proto/schema/cluster.pb-c.h"
#include "proto/wire/msg.h"

enum {
    /* Room for what a node of COORD_DATA_MAX bytes can unpack to, and for its value while it is
       made. */
    UNPACK_BYTES_MAX = 64 * MIB,
    ENDPOINTS_MAX = 64,
    DIRECTORIES_MAX = 1024,
    CONFIGS_MAX = 1000,
};

/* Unpacks into an arena that the caller deinits whatever comes out. */
static err unpack(const ProtobufCMessageDescriptor *type, struct slice data, struct arena *arena,
                  void **out, const char **what)
{
    arena_init(arena, UNPACK_BYTES_MAX);
    return msg_unpack(type, data, arena, out, what) == OK ? OK : E_CORRUPT;
}

static err fail(const char **what, const char *phrase)
{
    *what = phrase;
    return E_CORRUPT;
}

static void *room(struct arena *arena, size_t count, size_t item)
{
    return count > 0 ? arena_alloc(arena, count * item) : (void *)arena;
}

/* A string for protobuf-c, which does not change what it packs. */
static char *text(const char *s)
{
    return (char *)(uintptr_t)s;
}

/* --- pieces ---------------------------------------------------------------------- */

static err unpack_properties(Sluice__Property *const *from, size_t count, struct arena *arena,
                             struct property **out, const char **what)
{
    if (count > CONFIGS_MAX)
        return fail(what, "it has too many configs");
    struct property *props = room(arena, count, sizeof *props);
    if (props == NULL)
        return fail(what, "it is too large");
    for (size_t i = 0; i < count; i++) {
        if (from[i]->key == NULL || from[i]->value == NULL)
            return fail(what, "a config has no key or no value");
        if (i > 0 && strcmp(from[i - 1]->key, from[i]->key) >= 0)
            return fail(what, "its configs are not sorted");
        props[i] = (struct property){.key = from[i]->key, .value = from[i]->value};
    }
    *out = props;
    return OK;
}

static Sluice__Property **pack_properties(const struct property *props, size_t count)
{
    Sluice__Property **list = mem_alloc((count + 1) * (sizeof *list + sizeof **list));
    Sluice__Property *items = (Sluice__Property *)(list + count + 1);
    for (size_t i = 0; i < count; i++) {
        list[i] = &items[i];
        sluice__property__init(list[i]);
        list[i]->key = text(props[i].key);
        list[i]->value = text(props[i].value);
    }
    return list;
}

static bool has(const int32_t *ids, size_t count, int32_t id)
{
    for (size_t i = 0; i < count; i++)
        if (ids[i] == id)
            return true;
    return false;
}

/* All from `among` (NULL: any broker id), none twice. */
static bool are_members(const int32_t *ids, size_t count, const int32_t *among, size_t among_count)
{
    for (size_t i = 0; i < count; i++) {
        if (ids[i] < 0 || has(ids, i, ids[i]))
            return false;
        if (among != NULL && !has(among, among_count, ids[i]))
            return false;
    }
    return true;
}

static bool is_uuid(ProtobufCBinaryData bytes, const struct uuid *id)
{
    return bytes.len == sizeof id->bytes && memcmp(bytes.data, id->bytes, bytes.len) == 0;
}

/* --- topics ---------------------------------------------------------------------- */

static const char *partition_fault(const Sluice__PartitionNode *p)
{
    if (p->n_replica == 0 || p->n_replica > REPLICAS_MAX ||
        !are_members(p->replica, p->n_replica, NULL, 0))
        return "the replicas of a partition are not valid";
    if (p->n_isr > REPLICAS_MAX || !are_members(p->isr, p->n_isr, p->replica, p->n_replica))
        return "the in-sync replicas of a partition are not valid";
    if (p->n_eligible > REPLICAS_MAX ||
        !are_members(p->eligible, p->n_eligible, p->replica, p->n_replica))
        return "the eligible replicas of a partition are not valid";
    for (size_t i = 0; i < p->n_eligible; i++)
        if (has(p->isr, p->n_isr, p->eligible[i]))
            return "a replica is both in sync and eligible";
    if (p->has_leader && !has(p->isr, p->n_isr, p->leader))
        return "the leader of a partition is not in sync";
    /* One more must be possible. */
    if (!p->has_leader_epoch || p->leader_epoch < 0 || p->leader_epoch == INT32_MAX)
        return "the leader epoch of a partition is not valid";
    return NULL;
}

static struct partition_state partition_of(const Sluice__PartitionNode *p)
{
    return (struct partition_state){
        .leader = p->has_leader ? p->leader : NO_BROKER,
        .leader_epoch = p->leader_epoch,
        .leader_incarnation = p->leader_incarnation,
        .last_leader = p->has_last_leader ? p->last_leader : NO_BROKER,
        .partition_epoch = p->partition_epoch,
        .controller_epoch = p->controller_epoch,
        .nonce = p->nonce,
        .replicas = p->replica,
        .isr = p->isr,
        .eligible = p->eligible,
        .replica_count = (uint32_t)p->n_replica,
        .isr_count = (uint32_t)p->n_isr,
        .eligible_count = (uint32_t)p->n_eligible,
    };
}

static err topic_of(const Sluice__TopicNode *node, struct arena *arena, const struct uuid *id,
                    int32_t node_version, struct topic **out, const char **what)
{
    if (!node->has_topic_id || !is_uuid(node->topic_id, id))
        return fail(what, "its topic id is not that of its path");
    if (node->name == NULL || topic_name_fault(slice_str(node->name)) != NULL)
        return fail(what, "its name is not a topic name");
    if (node->min_insync_replicas < 1 || node->min_insync_replicas > REPLICAS_MAX)
        return fail(what, "its min.insync.replicas is not valid");
    if (node->n_partition < 1 || node->n_partition > TOPIC_PARTITIONS_MAX)
        return fail(what, "its number of partitions is not valid");
    struct property *configs;
    const err e = unpack_properties(node->config, node->n_config, arena, &configs, what);
    if (e != OK)
        return e;
    struct partition_state *partitions = room(arena, node->n_partition, sizeof *partitions);
    if (partitions == NULL)
        return fail(what, "it is too large");
    for (size_t i = 0; i < node->n_partition; i++) {
        const char *fault = partition_fault(node->partition[i]);
        if (fault != NULL)
            return fail(what, fault);
        partitions[i] = partition_of(node->partition[i]);
    }
    *out = topic_new(&(struct topic){
        .id = *id,
        .name = node->name,
        .node_version = node_version,
        .min_insync_replicas = node->min_insync_replicas,
        .internal = topic_name_is_internal(slice_str(node->name)),
        .partition_count = (uint32_t)node->n_partition,
        .partitions = partitions,
        .configs = configs,
        .config_count = (uint32_t)node->n_config,
    });
    return OK;
}

err nodes_unpack_topic(struct slice data, const struct uuid *id, int32_t node_version,
                       struct topic **out, const char **what)
{
    struct arena arena;
    void *node;
    err e = unpack(&sluice__topic_node__descriptor, data, &arena, &node, what);
    if (e == OK)
        e = topic_of(node, &arena, id, node_version, out, what);
    arena_deinit(&arena);
    return e;
}

static void fill_partition(Sluice__PartitionNode *node, const struct partition_state *p)
{
    sluice__partition_node__init(node);
    node->n_replica = p->replica_count;
    node->replica = (int32_t *)(uintptr_t)p->replicas;
    node->n_isr = p->isr_count;
    node->isr = (int32_t *)(uintptr_t)p->isr;
    node->n_eligible = p->eligible_count;
    node->eligible = (int32_t *)(uintptr_t)p->eligible;
    node->has_leader = p->leader != NO_BROKER;
    node->leader = p->leader;
    node->has_leader_epoch = 1;
    node->leader_epoch = p->leader_epoch;
    node->has_leader_incarnation = p->leader != NO_BROKER;
    node->leader_incarnation = p->leader_incarnation;
    node->has_last_leader = p->last_leader != NO_BROKER;
    node->last_leader = p->last_leader;
    node->has_partition_epoch = 1;
    node->partition_epoch = p->partition_epoch;
    node->has_controller_epoch = 1;
    node->controller_epoch = p->controller_epoch;
    node->has_nonce = 1;
    node->nonce = p->nonce;
}

void nodes_pack_topic(const struct topic *t, struct buf *out)
{
    Sluice__TopicNode node = SLUICE__TOPIC_NODE__INIT;
    struct uuid id = t->id;
    node.name = text(t->name);
    node.has_topic_id = 1;
    node.topic_id = (ProtobufCBinaryData){.len = sizeof id.bytes, .data = id.bytes};
    node.n_config = t->config_count;
    node.config = pack_properties(t->configs, t->config_count);
    node.has_min_insync_replicas = 1;
    node.min_insync_replicas = t->min_insync_replicas;
    node.n_partition = t->partition_count;
    node.partition = mem_alloc(t->partition_count * sizeof *node.partition);
    Sluice__PartitionNode *partitions = mem_alloc(t->partition_count * sizeof *partitions);
    for (uint32_t i = 0; i < t->partition_count; i++) {
        node.partition[i] = &partitions[i];
        fill_partition(&partitions[i], &t->partitions[i]);
    }
    msg_pack(&node, out);
    mem_free(partitions);
    mem_free(node.partition);
    mem_free(node.config);
}

/* --- tombstones ------------------------------------------------------------------ */

void nodes_pack_tombstone(const struct tombstone *t, struct buf *out)
{
    Sluice__TombstoneNode node = SLUICE__TOMBSTONE_NODE__INIT;
    struct uuid id = t->id;
    node.name = text(t->name);
    node.has_topic_id = 1;
    node.topic_id = (ProtobufCBinaryData){.len = sizeof id.bytes, .data = id.bytes};
    node.n_waiting = t->waiting_count;
    node.waiting = (int32_t *)(uintptr_t)t->waiting;
    msg_pack(&node, out);
}

static err tombstone_of(const Sluice__TombstoneNode *node, const struct uuid *id,
                        int32_t node_version, struct tombstone **out, const char **what)
{
    if (!node->has_topic_id || !is_uuid(node->topic_id, id))
        return fail(what, "its topic id is not that of its path");
    if (node->name == NULL || topic_name_fault(slice_str(node->name)) != NULL)
        return fail(what, "its name is not a topic name");
    if (!are_members(node->waiting, node->n_waiting, NULL, 0))
        return fail(what, "its list of brokers is not valid");
    *out = tombstone_new(&(struct tombstone){
        .id = *id,
        .name = node->name,
        .node_version = node_version,
        .waiting = node->waiting,
        .waiting_count = (uint32_t)node->n_waiting,
    });
    return OK;
}

err nodes_unpack_tombstone(struct slice data, const struct uuid *id, int32_t node_version,
                           struct tombstone **out, const char **what)
{
    struct arena arena;
    void *node;
    err e = unpack(&sluice__tombstone_node__descriptor, data, &arena, &node, what);
    if (e == OK)
        e = tombstone_of(node, id, node_version, out, what);
    arena_deinit(&arena);
    return e;
}

/* --- brokers --------------------------------------------------------------------- */

void nodes_pack_broker(const struct broker *b, struct buf *out)
{
    Sluice__BrokerNode node = SLUICE__BROKER_NODE__INIT;
    CHECK(b->endpoint_count <= ENDPOINTS_MAX);
    CHECK(b->directory_count <= DIRECTORIES_MAX);
    Sluice__EndpointNode endpoints[ENDPOINTS_MAX];
    Sluice__EndpointNode *list[ENDPOINTS_MAX];
    for (uint32_t i = 0; i < b->endpoint_count; i++) {
        list[i] = &endpoints[i];
        sluice__endpoint_node__init(list[i]);
        list[i]->listener = text(b->endpoints[i].listener);
        list[i]->host = text(b->endpoints[i].host);
        list[i]->has_port = 1;
        list[i]->port = b->endpoints[i].port;
    }
    ProtobufCBinaryData directories[DIRECTORIES_MAX];
    for (uint32_t i = 0; i < b->directory_count; i++)
        directories[i] =
            (ProtobufCBinaryData){.len = sizeof b->directory_ids[i].bytes,
                                  .data = (uint8_t *)(uintptr_t)b->directory_ids[i].bytes};
    node.has_id = 1;
    node.id = b->id;
    node.has_incarnation = 1;
    node.incarnation = b->incarnation;
    node.rack = b->rack[0] != '\0' ? text(b->rack) : NULL;
    node.n_endpoint = b->endpoint_count;
    node.endpoint = list;
    node.has_clean = 1;
    node.clean = b->clean;
    node.n_directory_id = b->directory_count;
    node.directory_id = directories;
    msg_pack(&node, out);
}

static err unpack_endpoints(const Sluice__BrokerNode *node, struct endpoint *out, const char **what)
{
    if (node->n_endpoint > ENDPOINTS_MAX)
        return fail(what, "it has too many endpoints");
    for (size_t i = 0; i < node->n_endpoint; i++) {
        const Sluice__EndpointNode *from = node->endpoint[i];
        if (from->listener == NULL || from->host == NULL || from->port > UINT16_MAX)
            return fail(what, "an endpoint is not valid");
        out[i] = (struct endpoint){
            .listener = from->listener, .host = from->host, .port = (uint16_t)from->port};
    }
    return OK;
}

static err broker_of(const Sluice__BrokerNode *node, struct arena *arena, int32_t id,
                     struct broker **out, const char **what)
{
    if (!node->has_id || node->id != id)
        return fail(what, "its id is not that of its path");
    /* It is the version of a node. */
    if (!node->has_incarnation || node->incarnation == 0 || node->incarnation > INT32_MAX)
        return fail(what, "its incarnation is not valid");
    struct endpoint endpoints[ENDPOINTS_MAX];
    const err e = unpack_endpoints(node, endpoints, what);
    if (e != OK)
        return e;
    if (node->n_directory_id > DIRECTORIES_MAX)
        return fail(what, "it has too many directories");
    struct uuid *directories = room(arena, node->n_directory_id, sizeof *directories);
    if (directories == NULL)
        return fail(what, "it is too large");
    for (size_t i = 0; i < node->n_directory_id; i++) {
        if (node->directory_id[i].len != sizeof directories[i].bytes)
            return fail(what, "a directory id is not valid");
        memcpy(directories[i].bytes, node->directory_id[i].data, sizeof directories[i].bytes);
    }
    *out = broker_new(&(struct broker){
        .id = id,
        .incarnation = node->incarnation,
        .rack = node->rack != NULL ? node->rack : "",
        .endpoints = endpoints,
        .endpoint_count = (uint32_t)node->n_endpoint,
        .clean = node->clean,
        .directory_ids = directories,
        .directory_count = (uint32_t)node->n_directory_id,
    });
    return OK;
}

err nodes_unpack_broker(struct slice data, int32_t id, struct broker **out, const char **what)
{
    struct arena arena;
    void *node;
    err e = unpack(&sluice__broker_node__descriptor, data, &arena, &node, what);
    if (e == OK)
        e = broker_of(node, &arena, id, out, what);
    arena_deinit(&arena);
    return e;
}

void nodes_pack_broker_configs(const struct broker_configs *bc, struct buf *out)
{
    Sluice__BrokerConfigNode node = SLUICE__BROKER_CONFIG_NODE__INIT;
    node.n_config = bc->config_count;
    node.config = pack_properties(bc->configs, bc->config_count);
    msg_pack(&node, out);
    mem_free(node.config);
}

err nodes_unpack_broker_configs(struct slice data, int32_t id, int32_t node_version,
                                struct broker_configs **out, const char **what)
{
    struct arena arena;
    void *unpacked;
    struct property *configs;
    err e = unpack(&sluice__broker_config_node__descriptor, data, &arena, &unpacked, what);
    if (e == OK) {
        const Sluice__BrokerConfigNode *node = unpacked;
        e = unpack_properties(node->config, node->n_config, &arena, &configs, what);
        if (e == OK)
            *out = broker_configs_new(
                &(struct broker_configs){.broker_id = id,
                                         .node_version = node_version,
                                         .configs = configs,
                                         .config_count = (uint32_t)node->n_config});
    }
    arena_deinit(&arena);
    return e;
}

/* --- the cluster and its controller ---------------------------------------------- */

void nodes_pack_cluster(const struct cluster_identity *c, struct buf *out)
{
    Sluice__ClusterNode node = SLUICE__CLUSTER_NODE__INIT;
    node.cluster_id = text(c->id);
    node.has_feature_level = 1;
    node.feature_level = c->feature_level;
    msg_pack(&node, out);
}

err nodes_unpack_cluster(struct slice data, struct cluster_identity *out, const char **what)
{
    struct arena arena;
    void *unpacked;
    err e = unpack(&sluice__cluster_node__descriptor, data, &arena, &unpacked, what);
    if (e == OK) {
        const Sluice__ClusterNode *node = unpacked;
        const size_t size = node->cluster_id != NULL ? strlen(node->cluster_id) : 0;
        if (size == 0 || size >= sizeof out->id) {
            e = fail(what, "its cluster id is not valid");
        } else {
            memcpy(out->id, node->cluster_id, size + 1);
            out->feature_level = node->feature_level;
        }
    }
    arena_deinit(&arena);
    return e;
}

void nodes_pack_controller(const struct controller_identity *c, struct buf *out)
{
    Sluice__ControllerNode node = SLUICE__CONTROLLER_NODE__INIT;
    node.has_broker_id = 1;
    node.broker_id = c->broker_id;
    node.has_incarnation = 1;
    node.incarnation = c->incarnation;
    msg_pack(&node, out);
}

err nodes_unpack_controller(struct slice data, struct controller_identity *out, const char **what)
{
    struct arena arena;
    void *unpacked;
    err e = unpack(&sluice__controller_node__descriptor, data, &arena, &unpacked, what);
    if (e == OK) {
        const Sluice__ControllerNode *node = unpacked;
        if (!node->has_broker_id || node->broker_id < 0)
            e = fail(what, "it names no broker");
        else
            *out = (struct controller_identity){.broker_id = node->broker_id,
                                                .incarnation = node->incarnation};
    }
    arena_deinit(&arena);
    return e;
}

void nodes_pack_controller_epoch(int32_t broker_id, struct buf *out)
{
    Sluice__ControllerEpochNode node = SLUICE__CONTROLLER_EPOCH_NODE__INIT;
    node.has_broker_id = 1;
    node.broker_id = broker_id;
    msg_pack(&node, out);
}

/* --- changes --------------------------------------------------------------------- */

void nodes_pack_changes(const struct changes *c, struct buf *out)
{
    Sluice__ChangeNode items[CHANGES_MAX];
    Sluice__ChangeNode *list[CHANGES_MAX];
    Sluice__ChangesNode node = SLUICE__CHANGES_NODE__INIT;
    CHECK(c->count <= CHANGES_MAX);
    for (size_t i = 0; i < c->count; i++) {
        const struct change *ch = &c->ring[i];
        list[i] = &items[i];
        sluice__change_node__init(list[i]);
        list[i]->has_version = 1;
        list[i]->version = ch->version;
        list[i]->has_broker_id = ch->broker_id != NO_BROKER;
        list[i]->broker_id = ch->broker_id;
        list[i]->has_topic_id = ch->broker_id == NO_BROKER;
        list[i]->topic_id = (ProtobufCBinaryData){.len = sizeof ch->topic_id.bytes,
                                                  .data = (uint8_t *)(uintptr_t)ch->topic_id.bytes};
    }
    node.n_change = c->count;
    node.change = list;
    msg_pack(&node, out);
}

static err changes_of(const Sluice__ChangesNode *node, struct changes *out, const char **what)
{
    if (node->n_change > CHANGES_MAX)
        return fail(what, "it has too many changes");
    for (size_t i = 0; i < node->n_change; i++) {
        const Sluice__ChangeNode *from = node->change[i];
        struct change *ch = &out->ring[i];
        ch->version = from->version;
        ch->broker_id = from->has_broker_id ? from->broker_id : NO_BROKER;
        if (i > 0 && ch->version < out->ring[i - 1].version)
            return fail(what, "its changes are not in order");
        if (from->has_broker_id == from->has_topic_id || (from->has_broker_id && ch->broker_id < 0))
            return fail(what, "a change is neither of a topic nor of a broker");
        if (from->has_topic_id && from->topic_id.len != sizeof ch->topic_id.bytes)
            return fail(what, "a topic id is not valid");
        if (from->has_topic_id)
            memcpy(ch->topic_id.bytes, from->topic_id.data, sizeof ch->topic_id.bytes);
    }
    out->count = node->n_change;
    return OK;
}

err nodes_unpack_changes(struct slice data, struct changes *out, const char **what)
{
    struct arena arena;
    void *node;
    out->count = 0;
    err e = unpack(&sluice__changes_node__descriptor, data, &arena, &node, what);
    if (e == OK)
        e = changes_of(node, out, what);
    if (e != OK)
        out->count = 0;
    arena_deinit(&arena);
    return e;
}

void changes_add(struct changes *c, const struct change *change)
{
    if (c->count == CHANGES_MAX)
        memmove(&c->ring[0], &c->ring[1], --c->count * sizeof c->ring[0]);
    c->ring[c->count++] = *change;
}

bool changes_reach_back_to(const struct changes *c, uint64_t version)
{
    if (c->count == 0)
        return false;
    /* A full ring may have lost others of its oldest version. */
    const uint64_t whole_from = c->ring[0].version + (c->count == CHANGES_MAX);
    return whole_from <= version + 1;
}
