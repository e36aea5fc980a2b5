/* SPDX-License-Identifier: Apache-2.0 */
#include "metad/follow/reading.h"

#include <string.h>

#include "metad/coord/nodes.h"
#include "metad/coord/paths.h"
#include "proto/base/check.h"
#include "proto/base/diag.h"
#include "proto/base/mem.h"

/* One thing to read; kept until the end. */
struct task {
    struct task *next; /* waiting */
    struct task *all_next;
    struct reading *rd;
    const struct task_kind *kind;
    struct path path;
    struct uuid topic_id;
    int32_t broker_id;
};

struct task_kind {
    bool is_list;
    /* Data, or E_NOT_FOUND. */
    void (*take)(struct reading *rd, const struct task *t, err e, struct slice data,
                 int32_t version);
    void (*take_list)(struct reading *rd, const struct coord_children *children);
};

struct reading {
    struct coord *coord;
    struct cluster_edit *edit;
    void (*done)(void *arg, err e);
    void *arg;
    struct task *waiting;
    struct task *all;
    size_t under_way;
    err result;
};

/* --- tasks ----------------------------------------------------------------------- */

static struct task *add_task(struct reading *rd, const struct task_kind *kind, struct path path)
{
    struct task *t = MEM_NEW(struct task);
    t->rd = rd;
    t->kind = kind;
    t->path = path;
    t->next = rd->waiting;
    rd->waiting = t;
    t->all_next = rd->all;
    rd->all = t;
    return t;
}

static struct path fixed_path(const char *text)
{
    struct path p = {{0}};
    CHECK(strlen(text) < sizeof p.text);
    memcpy(p.text, text, strlen(text) + 1);
    return p;
}

static void report_corrupt(const struct task *t, const char *what)
{
    static struct diag_limit limit = {.interval_ms = 1000};
    if (diag_allowed(&limit))
        diag(DIAG_ERROR, "coord", "a node of the coordination store is damaged; it is ignored",
             "path=%s why=%s", t->path.text, DIAG_STR(what));
}

static void take_cluster(struct reading *rd, const struct task *t, err e, struct slice data,
                         int32_t version)
{
    struct cluster_identity cluster;
    const char *what;
    (void)version;
    if (e != OK)
        return;
    if (nodes_unpack_cluster(data, &cluster, &what) == OK)
        cluster_edit_id(rd->edit, cluster.id);
    else
        report_corrupt(t, what);
}

static void take_controller(struct reading *rd, const struct task *t, err e, struct slice data,
                            int32_t version)
{
    struct controller_identity controller = {.broker_id = NO_BROKER};
    const char *what;
    (void)version;
    if (e == OK && nodes_unpack_controller(data, &controller, &what) != OK)
        report_corrupt(t, what);
    cluster_edit_controller(rd->edit, controller.broker_id);
}

static void take_broker(struct reading *rd, const struct task *t, err e, struct slice data,
                        int32_t version)
{
    struct broker *b;
    const char *what;
    (void)version;
    if (e != OK)
        cluster_edit_drop_broker(rd->edit, t->broker_id);
    else if (nodes_unpack_broker(data, t->broker_id, &b, &what) == OK)
        cluster_edit_broker(rd->edit, b);
    else
        report_corrupt(t, what);
}

static void take_broker_configs(struct reading *rd, const struct task *t, err e, struct slice data,
                                int32_t version)
{
    struct broker_configs *bc;
    const char *what;
    if (e != OK)
        cluster_edit_drop_broker_configs(rd->edit, t->broker_id);
    else if (nodes_unpack_broker_configs(data, t->broker_id, version, &bc, &what) == OK)
        cluster_edit_broker_configs(rd->edit, bc);
    else
        report_corrupt(t, what);
}

static void add_tombstone(struct reading *rd, const struct uuid *id);

static void take_topic(struct reading *rd, const struct task *t, err e, struct slice data,
                       int32_t version)
{
    struct topic *topic;
    const char *what;
    if (e == E_NOT_FOUND) {
        cluster_edit_drop_topic(rd->edit, &t->topic_id);
        add_tombstone(rd, &t->topic_id); /* deleted, or its tombstone changed */
        return;
    }
    if (nodes_unpack_topic(data, &t->topic_id, version, &topic, &what) == OK)
        cluster_edit_topic(rd->edit, topic);
    else
        report_corrupt(t, what);
}

static void take_tombstone(struct reading *rd, const struct task *t, err e, struct slice data,
                           int32_t version)
{
    struct tombstone *tombstone;
    const char *what;
    if (e == E_NOT_FOUND)
        cluster_edit_drop_tombstone(rd->edit, &t->topic_id);
    else if (nodes_unpack_tombstone(data, &t->topic_id, version, &tombstone, &what) == OK)
        cluster_edit_tombstone(rd->edit, tombstone);
    else
        report_corrupt(t, what);
}

static const struct task_kind read_cluster = {.take = take_cluster};
static const struct task_kind read_controller = {.take = take_controller};
static const struct task_kind read_broker = {.take = take_broker};
static const struct task_kind read_broker_configs = {.take = take_broker_configs};
static const struct task_kind read_topic = {.take = take_topic};
static const struct task_kind read_tombstone = {.take = take_tombstone};

void reading_add_topic(struct reading *rd, const struct uuid *id)
{
    add_task(rd, &read_topic, path_of_topic(id))->topic_id = *id;
}

static void add_tombstone(struct reading *rd, const struct uuid *id)
{
    add_task(rd, &read_tombstone, path_of_tombstone(id))->topic_id = *id;
}

static void add_broker(struct reading *rd, int32_t id)
{
    add_task(rd, &read_broker, path_of_broker(id))->broker_id = id;
}

void reading_add_broker_configs(struct reading *rd, int32_t id)
{
    add_task(rd, &read_broker_configs, path_of_broker_configs(id))->broker_id = id;
}

static bool is_listed(const struct coord_children *children, int32_t id)
{
    int32_t listed;
    for (size_t i = 0; i < children->count; i++)
        if (path_parse_broker(children->names[i], &listed) == OK && listed == id)
            return true;
    return false;
}

static void list_brokers_done(struct reading *rd, const struct coord_children *children)
{
    const struct cluster *img = cluster_edit_view(rd->edit);
    for (uint32_t i = cluster_broker_count(img); i > 0; i--) {
        const int32_t known = cluster_broker_at(img, i - 1)->id;
        if (!is_listed(children, known))
            cluster_edit_drop_broker(rd->edit, known);
    }
    int32_t id;
    for (size_t i = 0; i < children->count; i++)
        if (path_parse_broker(children->names[i], &id) == OK)
            add_broker(rd, id);
}

static void list_broker_configs_done(struct reading *rd, const struct coord_children *children)
{
    int32_t id;
    for (size_t i = 0; i < children->count; i++)
        if (path_parse_broker(children->names[i], &id) == OK)
            reading_add_broker_configs(rd, id);
}

static void list_topics_done(struct reading *rd, const struct coord_children *children)
{
    struct uuid id;
    for (size_t i = 0; i < children->count; i++)
        if (path_parse_topic(children->names[i], &id) == OK)
            reading_add_topic(rd, &id);
}

static void list_tombstones_done(struct reading *rd, const struct coord_children *children)
{
    struct uuid id;
    for (size_t i = 0; i < children->count; i++)
        if (path_parse_topic(children->names[i], &id) == OK)
            add_tombstone(rd, &id);
}

static const struct task_kind list_brokers = {.is_list = true, .take_list = list_brokers_done};
static const struct task_kind list_broker_configs = {.is_list = true,
                                                     .take_list = list_broker_configs_done};
static const struct task_kind list_topics = {.is_list = true, .take_list = list_topics_done};
static const struct task_kind list_tombstones = {.is_list = true,
                                                 .take_list = list_tombstones_done};

static void advance(struct reading *rd);

static void on_task_data(void *arg, err e, struct slice data, const struct coord_stat *stat)
{
    struct task *t = arg;
    struct reading *rd = t->rd;
    rd->under_way--;
    if (e != OK && e != E_NOT_FOUND && rd->result == OK)
        rd->result = e;
    if (rd->result == OK)
        t->kind->take(rd, t, e, data, stat != NULL ? stat->version : 0);
    advance(rd);
}

static void on_task_list(void *arg, err e, const struct coord_children *children)
{
    struct task *t = arg;
    struct reading *rd = t->rd;
    rd->under_way--;
    if (e != OK && rd->result == OK)
        rd->result = e; /* also if it is not there: a cluster in the making */
    if (rd->result == OK)
        t->kind->take_list(rd, children);
    advance(rd);
}

/* --- the whole ------------------------------------------------------------------- */

struct reading *reading_new(struct coord *coord, struct cluster_edit *edit,
                            void (*done)(void *arg, err e), void *arg)
{
    struct reading *rd = MEM_NEW(struct reading);
    *rd = (struct reading){.coord = coord, .edit = edit, .done = done, .arg = arg};
    return rd;
}

void reading_free(struct reading *rd)
{
    while (rd->all != NULL) {
        struct task *t = rd->all;
        rd->all = t->all_next;
        mem_free(t);
    }
    mem_free(rd);
}

void reading_add_controller(struct reading *rd)
{
    add_task(rd, &read_controller, fixed_path(PATH_CONTROLLER));
}

void reading_add_brokers(struct reading *rd)
{
    add_task(rd, &list_brokers, fixed_path(PATH_BROKER_IDS));
}

void reading_add_all(struct reading *rd)
{
    add_task(rd, &list_tombstones, fixed_path(PATH_DELETED));
    add_task(rd, &list_topics, fixed_path(PATH_TOPICS));
    add_task(rd, &list_broker_configs, fixed_path(PATH_BROKER_CONFIGS));
    reading_add_brokers(rd);
    add_task(rd, &read_cluster, fixed_path(PATH_CLUSTER));
    reading_add_controller(rd);
}

static void start(struct reading *rd, struct task *t)
{
    rd->under_way++;
    if (t->kind->is_list)
        coord_children(rd->coord, t->path.text, NULL, on_task_list, t);
    else
        coord_get(rd->coord, t->path.text, NULL, on_task_data, t);
}

static void advance(struct reading *rd)
{
    while (rd->result == OK && rd->waiting != NULL && rd->under_way < READING_INFLIGHT) {
        struct task *t = rd->waiting;
        rd->waiting = t->next;
        start(rd, t);
    }
    if (rd->under_way == 0)
        rd->done(rd->arg, rd->result);
}

void reading_start(struct reading *rd)
{
    CHECK(rd->waiting != NULL);
    advance(rd);
}
