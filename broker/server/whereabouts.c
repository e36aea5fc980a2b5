/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/server/whereabouts.h"

#include "proto/base/diag.h"

static struct slice keep(struct arena *a, struct slice s)
{
    void *copy = s.size ? arena_alloc(a, s.size) : NULL;
    return copy ? slice_of(memcpy(copy, s.data, s.size), s.size) : slice_of(NULL, 0);
}

struct partition_name answer_name(const struct partition_name *asked, const struct partition *p,
                                  struct arena *arena)
{
    struct partition_name name = {.partition = asked->partition};
    if (!p) {
        name.topic = keep(arena, asked->topic);
        name.topic_id = keep(arena, asked->topic_id);
        return name;
    }
    const struct log_identity *id = partition_identity(p);
    if (asked->topic.size)
        name.topic = slice_str(id->topic);
    if (asked->topic_id.size)
        name.topic_id = slice_of(id->topic_id.bytes, sizeof id->topic_id.bytes);
    return name;
}

static const char *quoted_topic(const struct partition_name *name)
{
    return name->topic.size ? diag_str(name->topic.data, name->topic.size) : "of that id";
}

/* NULL: the error's own text must do. */
static const char *sentence(struct arena *arena, const struct cluster *image,
                            const struct partition_name *name, err e)
{
    const struct topic *topic = NULL;
    if (image && cluster_resolve(image, name->topic, name->topic_id, &topic) != OK)
        topic = NULL;
    switch ((int)e) {
    case E_UNKNOWN_TOPIC_OR_PARTITION:
        if (topic)
            return arena_printf(arena, "topic %s has no partition %u: it has %u, from 0 on",
                                quoted_topic(name), name->partition, topic->partition_count);
        return arena_printf(arena, "topic %s does not exist", quoted_topic(name));
    case E_INCONSISTENT_TOPIC_ID:
        return arena_printf(
            arena,
            "topic %s has another id now: it was deleted and created again; refresh metadata",
            quoted_topic(name));
    case E_NOT_READY:
        return arena_printf(arena, "partition %u of topic %s is being opened", name->partition,
                            quoted_topic(name));
    case E_STORAGE:
        return arena_printf(arena, "the disk that holds partition %u of topic %s failed",
                            name->partition, quoted_topic(name));
    case E_NO_SPACE:
        return arena_printf(
            arena, "the disk that holds partition %u of topic %s is full; nothing was appended",
            name->partition, quoted_topic(name));
    case E_NOT_LEADER:
        return arena_printf(arena, "this broker does not lead partition %u of topic %s",
                            name->partition, quoted_topic(name));
    default:
        return arena_printf(arena, "partition %u of topic %s: %s", name->partition,
                            quoted_topic(name), err_text(e));
    }
}

struct whereabouts whereabouts(struct partition_table *t, struct arena *arena,
                               const struct partition_name *name, const char *listener, err e,
                               const char *why)
{
    struct whereabouts w = {.why = why, .leader_id = -1, .leader_epoch = -1};
    struct cluster *image = partition_table_image(t);
    const struct topic *topic = NULL;
    if (!w.why)
        w.why = sentence(arena, image, name, e);
    if (!w.why)
        w.why = err_text(e);
    if (image && err_class(e) == CLASS_REROUTE &&
        cluster_resolve(image, name->topic, name->topic_id, &topic) == OK &&
        name->partition < topic->partition_count) {
        const struct partition_state *s = &topic->partitions[name->partition];
        const struct broker *b = s->leader == NO_BROKER ? NULL : cluster_broker(image, s->leader);
        const struct endpoint *at = b ? broker_endpoint(b, listener) : NULL;
        char *host = at ? arena_printf(arena, "%s", at->host) : NULL;
        w.leader_epoch = s->leader_epoch;
        if (host) {
            w.leader_id = s->leader;
            w.leader_host = slice_str(host);
            w.leader_port = at->port;
        }
    }
    cluster_unref(image);
    return w;
}
