/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Metadata: answered from the image when it is new enough (min_version,
 * watch_version), and after topics that the client allows to be created were
 * created. Till then the request waits in its own extra bytes, in m->waits,
 * with a deadline; it leaves that list exactly once, right before it is answered.
 */
#include "metad/model/names.h"
#include "metad/server/metad_priv.h"
#include "proto/base/check.h"
#include "proto/base/diag.h"
#include "proto/schema/metadata.pb-c.h"
#include "proto/schema/topic_admin.pb-c.h"

static char *mutable(const char *s)
{
    return (char *)(uintptr_t)s;
}

/* --- building the answer: everything points into the image or the request's arena ---- */

struct answer {
    const struct cluster *img;
    struct arena *arena;
    const char *listener;
    const struct metadata_wait *wait;
    bool is_too_large;
};

static void *room(struct answer *a, size_t count, size_t item)
{
    void *p = arena_alloc(a->arena, count * item + 1);
    a->is_too_large |= p == NULL;
    return p;
}

static char *keep(struct answer *a, struct buf *text)
{
    char *kept = arena_printf(a->arena, "%.*s", (int)text->size, (const char *)text->data);
    buf_deinit(text);
    a->is_too_large |= kept == NULL;
    return kept;
}

static void fill_brokers(struct answer *a, Sluice__MetadataResponse *res)
{
    const uint32_t count = cluster_broker_count(a->img);
    res->broker = room(a, count, sizeof *res->broker);
    Sluice__BrokerInfo *infos = room(a, count, sizeof *infos);
    if (a->is_too_large)
        return;
    res->n_broker = count;
    for (uint32_t i = 0; i < count; i++) {
        const struct broker *b = cluster_broker_at(a->img, i);
        const struct endpoint *at = broker_endpoint(b, a->listener);
        Sluice__BrokerInfo *info = res->broker[i] = &infos[i];
        sluice__broker_info__init(info);
        info->has_id = 1;
        info->id = b->id;
        info->has_incarnation = 1;
        info->incarnation = b->incarnation;
        info->rack = b->rack[0] != '\0' ? mutable(b->rack) : NULL;
        if (at == NULL)
            continue; /* it does not serve clients of this listener */
        info->host = mutable(at->host);
        info->has_port = 1;
        info->port = at->port;
    }
}

static void fill_partition(Sluice__PartitionInfo *info, uint32_t number,
                           const struct partition_state *p)
{
    sluice__partition_info__init(info);
    info->has_partition = 1;
    info->partition = number;
    info->has_leader = p->leader != NO_BROKER;
    info->leader = p->leader;
    info->has_leader_epoch = 1;
    info->leader_epoch = p->leader_epoch;
    info->has_partition_epoch = 1;
    info->partition_epoch = p->partition_epoch;
    info->n_replica = p->replica_count;
    info->replica = (int32_t *)(uintptr_t)p->replicas;
    info->n_isr = p->isr_count;
    info->isr = (int32_t *)(uintptr_t)p->isr;
    info->n_eligible = p->eligible_count;
    info->eligible = (int32_t *)(uintptr_t)p->eligible;
}

static void fill_topic(struct answer *a, Sluice__TopicInfo *info, const struct topic *t)
{
    info->name = mutable(t->name);
    info->has_topic_id = 1;
    info->topic_id =
        (ProtobufCBinaryData){.len = sizeof t->id.bytes, .data = (uint8_t *)(uintptr_t)t->id.bytes};
    info->has_internal = 1;
    info->internal = t->internal;
    info->has_min_insync_replicas = 1;
    info->min_insync_replicas = t->min_insync_replicas;
    Sluice__PartitionInfo **partitions = room(a, t->partition_count, sizeof *partitions);
    Sluice__PartitionInfo *infos = room(a, t->partition_count, sizeof *infos);
    Sluice__Property **configs = room(a, t->config_count, sizeof *configs);
    Sluice__Property *properties = room(a, t->config_count, sizeof *properties);
    if (a->is_too_large)
        return;
    for (uint32_t i = 0; i < t->partition_count; i++) {
        partitions[i] = &infos[i];
        fill_partition(&infos[i], i, &t->partitions[i]);
    }
    for (uint32_t i = 0; i < t->config_count; i++) {
        configs[i] = &properties[i];
        sluice__property__init(&properties[i]);
        properties[i].key = mutable(t->configs[i].key);
        properties[i].value = mutable(t->configs[i].value);
    }
    info->n_partition = t->partition_count;
    info->partition = partitions;
    info->n_config = t->config_count;
    info->config = configs;
}

/* Why the topic could not be created by itself; NULL: nothing is known. */
static Sluice__Error *creation_error(const struct answer *a, const char *name)
{
    const Sluice__TopicsResponse *created = a->wait->created;
    for (size_t i = 0; created != NULL && i < created->n_topic; i++)
        if (created->topic[i]->name != NULL && strcmp(created->topic[i]->name, name) == 0)
            return created->topic[i]->error;
    return NULL;
}

static Sluice__Error *error_new(struct answer *a, err e, struct buf *text)
{
    Sluice__Error *error = room(a, 1, sizeof *error);
    char *message = keep(a, text);
    if (error == NULL)
        return NULL;
    sluice__error__init(error);
    error->has_code = 1;
    error->code = err_wire_code(e);
    error->has_class_ = 1;
    error->class_ = (int32_t)err_wire_class(e);
    error->message = message;
    return error;
}

static void fill_named(struct answer *a, Sluice__TopicInfo *info, const char *name)
{
    const struct topic *t = cluster_topic_named(a->img, slice_str(name));
    if (t != NULL) {
        fill_topic(a, info, t);
        return;
    }
    struct buf why = {0};
    const char *fault = topic_name_fault(slice_str(name));
    info->name = mutable(name);
    info->error = creation_error(a, name);
    if (info->error != NULL)
        return;
    if (fault != NULL)
        buf_printf(&why, "topic name %s %s", DIAG_STR(name), fault);
    else
        buf_printf(&why, "topic %s does not exist", name);
    info->error =
        error_new(a, fault != NULL ? E_INVALID_TOPIC : E_UNKNOWN_TOPIC_OR_PARTITION, &why);
}

static void fill_by_id(struct answer *a, Sluice__TopicInfo *info, const ProtobufCBinaryData *id)
{
    const struct topic *t;
    const struct slice bytes = id->len > 0 ? slice_of(id->data, id->len) : slice_of("", 1);
    const err e = cluster_resolve(a->img, slice_of(NULL, 0), bytes, &t);
    if (e == OK) {
        fill_topic(a, info, t);
        return;
    }
    struct buf why = {0};
    buf_append_str(&why, "no topic has that id");
    info->has_topic_id = 1;
    info->topic_id = *id;
    info->error = error_new(a, e, &why);
}

static void fill_topics(struct answer *a, const Sluice__MetadataRequest *req,
                        Sluice__MetadataResponse *res)
{
    const size_t count =
        req->all_topics ? cluster_topic_count(a->img) : req->n_topic + req->n_topic_id;
    res->topic = room(a, count, sizeof *res->topic);
    Sluice__TopicInfo *infos = room(a, count, sizeof *infos);
    if (a->is_too_large)
        return;
    struct cluster_cursor cur = {0};
    for (size_t i = 0; i < count; i++) {
        res->topic[i] = &infos[i];
        sluice__topic_info__init(&infos[i]);
        if (req->all_topics)
            fill_topic(a, &infos[i], cluster_next_topic(a->img, &cur));
        else if (i < req->n_topic)
            fill_named(a, &infos[i], req->topic[i]);
        else
            fill_by_id(a, &infos[i], &req->topic_id[i - req->n_topic]);
        if (a->is_too_large)
            return;
    }
    res->n_topic = count;
}

static void answer(struct metadata_wait *wait)
{
    struct request *r = wait->r;
    const struct cluster *img = wait->m->img;
    struct answer a = {
        .img = img, .arena = &r->arena, .listener = service_listener(r), .wait = wait};
    Sluice__MetadataResponse res = SLUICE__METADATA_RESPONSE__INIT;
    res.has_version = 1;
    res.version = cluster_version(img);
    res.cluster_id = mutable(cluster_id(img));
    res.has_controller_id = cluster_controller(img) != NO_BROKER;
    res.controller_id = cluster_controller(img);
    fill_brokers(&a, &res);
    if (!a.is_too_large)
        fill_topics(&a, wait->message, &res);
    if (a.is_too_large)
        service_reply_error(r, E_OVERLOADED,
                            "the answer to this Metadata request needs too much memory: name "
                            "fewer topics at once");
    else
        service_reply_message(r, &res);
}

/* --- waiting --------------------------------------------------------------------- */

/* Out of the list; right before it is answered. */
static void leave(struct metadata_wait *wait)
{
    struct metad *m = wait->m;
    timer_stop(m->loop, &wait->deadline);
    service_on_cancel(wait->r, NULL, NULL);
    if (wait->creating != NULL)
        forward_cancel(wait->creating);
    wait->creating = NULL;
    if (wait->prev != NULL)
        wait->prev->next = wait->next;
    else
        m->waits = wait->next;
    if (wait->next != NULL)
        wait->next->prev = wait->prev;
    atomic_fetch_sub(&m->waiting, 1);
}

static bool is_due(const struct metadata_wait *wait)
{
    const struct cluster *img = wait->m->img;
    if (img == NULL || wait->creating != NULL || cluster_version(img) < wait->min_version)
        return false;
    return !wait->watches || cluster_version(img) > wait->watch_version;
}

static void on_deadline(void *arg)
{
    struct metadata_wait *wait = arg;
    const struct cluster *img = wait->m->img;
    leave(wait);
    if (img == NULL)
        service_reply_error(wait->r, E_NOT_READY,
                            "this metadata server has not read the cluster's state yet");
    else if (cluster_version(img) < wait->min_version)
        service_reply_error(wait->r, E_TIMED_OUT,
                            "the cluster's state is at version %llu, version %llu is asked for",
                            (unsigned long long)cluster_version(img),
                            (unsigned long long)wait->min_version);
    else
        answer(wait);
}

static void on_cancel(void *arg, struct request *r)
{
    struct metadata_wait *wait = arg;
    leave(wait);
    service_reply_error(r, E_SHUTTING_DOWN, "this server is shutting down");
}

/* E_OVERLOADED is answered here. */
static void enter(struct metadata_wait *wait, uint32_t max_wait_ms)
{
    struct metad *m = wait->m;
    if (atomic_load(&m->waiting) >= WAITS_MAX) {
        if (wait->creating != NULL)
            forward_cancel(wait->creating);
        service_reply_error(wait->r, E_OVERLOADED, "%d Metadata requests are waiting already",
                            WAITS_MAX);
        return;
    }
    if (max_wait_ms > WAIT_MS_MAX)
        max_wait_ms = WAIT_MS_MAX;
    if (wait->wants_creation && max_wait_ms < AUTO_CREATE_MS)
        max_wait_ms = AUTO_CREATE_MS;
    wait->prev = NULL;
    wait->next = m->waits;
    if (wait->next != NULL)
        wait->next->prev = wait;
    m->waits = wait;
    atomic_fetch_add(&m->waiting, 1);
    timer_start(m->loop, &wait->deadline, (int64_t)max_wait_ms * 1000, on_deadline, wait);
    service_on_cancel(wait->r, on_cancel, wait);
}

/* --- topics that are created by being asked for ---------------------------------- */

static bool is_creatable(const struct metad *m, const char *name)
{
    const struct slice s = slice_str(name);
    return topic_name_fault(s) == NULL && !topic_name_is_internal(s) &&
           cluster_topic_named(m->img, s) == NULL;
}

static void on_created(void *arg, err e, const char *why, const struct msg_peek *response)
{
    struct metadata_wait *wait = arg;
    void *created = NULL;
    wait->creating = NULL;
    if (e == OK && response->body.size > 0 &&
        msg_unpack(&sluice__topics_response__descriptor, response->body, &wait->r->arena, &created,
                   NULL) == OK) {
        const Sluice__TopicsResponse *res = created;
        wait->created = created;
        if (res->version > wait->min_version)
            wait->min_version = res->version;
    } else if (e != OK) {
        diag(DIAG_WARN, "metad", "topics that were asked for could not be created",
             "error=%s why=%s", err_name(e), DIAG_STR(why));
    }
    if (!is_due(wait))
        return; /* till the image shows them */
    leave(wait);
    answer(wait);
}

/* Once per request, when an image is there to tell what is missing. */
static void create_missing(struct metadata_wait *wait)
{
    struct metad *m = wait->m;
    if (!wait->wants_creation || m->img == NULL)
        return;
    wait->was_created = true;
    const Sluice__MetadataRequest *req = wait->message;
    Sluice__CreateTopicsRequest create = SLUICE__CREATE_TOPICS_REQUEST__INIT;
    Sluice__NewTopic *topics = mem_alloc((req->n_topic + 1) * sizeof *topics);
    create.topic = mem_alloc((req->n_topic + 1) * sizeof *create.topic);
    for (size_t i = 0; i < req->n_topic; i++) {
        if (!is_creatable(m, req->topic[i]))
            continue;
        Sluice__NewTopic *nt = create.topic[create.n_topic] = &topics[create.n_topic];
        create.n_topic++;
        sluice__new_topic__init(nt);
        nt->name = req->topic[i];
    }
    create.has_timeout_ms = 1;
    create.timeout_ms = AUTO_CREATE_MS;
    if (create.n_topic > 0)
        wait->creating = forward_begin(m->forwarder, FORWARD_TO_CONTROLLER, API_CREATE_TOPICS,
                                       &create, (int64_t)AUTO_CREATE_MS * 1000, on_created, wait);
    mem_free(create.topic);
    mem_free(topics);
}

void metadata_image_changed(struct metad *m)
{
    for (struct metadata_wait *wait = m->waits, *next; wait != NULL; wait = next) {
        next = wait->next;
        if (!wait->was_created)
            create_missing(wait);
        if (!is_due(wait))
            continue;
        leave(wait);
        answer(wait);
    }
}

void handle_metadata(void *user, struct request *r, const void *message)
{
    struct metad *m = user;
    const Sluice__MetadataRequest *req = message;
    struct metadata_wait *wait = service_extra(r);
    *wait = (struct metadata_wait){
        .m = m,
        .r = r,
        .message = message,
        .min_version = req->min_version,
        .watches = req->has_watch_version,
        .watch_version = req->watch_version,
        .wants_creation = m->opts.auto_create_topics && req->allow_auto_topic_creation,
    };
    create_missing(wait);
    if (is_due(wait))
        answer(wait);
    else
        enter(wait, req->max_wait_ms);
}
