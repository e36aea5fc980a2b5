/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Work is done in rounds. A round reads /changes, then what has to be read (all
 * of it, or what the ring names), into an edit, and publishes. Within a round
 * READS_MAX operations are under way at most. What goes wrong with the
 * connection ends the round without an image; another one follows.
 *
 * Invariants: 1. One round at a time; its edit is NULL until /changes was read.
 * 2. The watch on /changes is set, or a round is coming that will set it.
 * 3. Versions of published images only grow.
 * 4. A node that does not decode leaves what was known of it as it was.
 */
#include "metad/follow/follower.h"

#include <inttypes.h>
#include <stdatomic.h>

#include "metad/coord/nodes.h"
#include "metad/coord/paths.h"
#include "proto/base/check.h"
#include "proto/base/diag.h"
#include "proto/base/mem.h"

enum {
    READS_MAX = 256,
    GONE_BACK_US = 1000 * 1000,
    RECHECK_US = 10 * 1000 * 1000, /* rule C5: a missed notification must be harmless */
};

struct follower;

/* One thing to read in a round; kept until its end. */
struct task {
    struct task *next; /* waiting */
    struct task *all_next;
    struct follower *f;
    const struct task_kind *kind;
    struct path path;
    struct uuid topic_id;
    int32_t broker_id;
};

struct task_kind {
    bool is_list;
    /* Data, or E_NOT_FOUND. */
    void (*take)(struct follower *f, const struct task *t, err e, struct slice data,
                 int32_t version);
    void (*take_list)(struct follower *f, const struct coord_children *children);
};

struct follower {
    struct session *session;
    struct session_member member;
    struct loop *loop;
    struct coord *coord;
    const struct cluster *image; /* NULL: none yet */
    struct subscription *subscriptions;
    int64_t contact_us;

    bool is_watching;
    bool is_dirty;  /* another round is needed */
    bool must_sync; /* and must see what others wrote, and read all */
    struct timer again;
    struct timer recheck;

    /* The round. */
    bool in_round;
    bool has_failed;
    struct cluster_edit *edit;
    struct task *waiting;
    struct task *all;
    size_t reading;  /* operations under way */
    bool is_missing; /* there is no /changes: no broker has been here yet */
    bool has_gone_back;
};

static void begin_round(void *arg);
static void advance(struct follower *f);

static void arm_recheck(struct follower *f);

static void recheck(void *arg)
{
    struct follower *f = arg;
    arm_recheck(f);
    if (!f->in_round && !timer_is_running(&f->again))
        begin_round(f);
}

static void arm_recheck(struct follower *f)
{
    timer_start(f->loop, &f->recheck, RECHECK_US, recheck, f);
}

/* --- tasks --------------------------------------------------------------------------------------
 */

static struct task *add_task(struct follower *f, const struct task_kind *kind, struct path path)
{
    struct task *t = MEM_NEW(struct task);
    t->f = f;
    t->kind = kind;
    t->path = path;
    t->next = f->waiting;
    f->waiting = t;
    t->all_next = f->all;
    f->all = t;
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
        diag(DIAG_ERROR, "follower", "a node of the coordination store is damaged; it is ignored",
             "path=%s why=%s", t->path.text, DIAG_STR(what));
}

static void take_cluster(struct follower *f, const struct task *t, err e, struct slice data,
                         int32_t version)
{
    struct cluster_identity cluster;
    const char *what;
    (void)version;
    if (e != OK)
        return;
    if (nodes_unpack_cluster(data, &cluster, &what) == OK)
        cluster_edit_id(f->edit, cluster.id);
    else
        report_corrupt(t, what);
}

static void take_controller(struct follower *f, const struct task *t, err e, struct slice data,
                            int32_t version)
{
    struct controller_identity controller = {.broker_id = NO_BROKER};
    const char *what;
    (void)version;
    if (e == OK && nodes_unpack_controller(data, &controller, &what) != OK)
        report_corrupt(t, what);
    cluster_edit_controller(f->edit, controller.broker_id);
}

static void take_broker(struct follower *f, const struct task *t, err e, struct slice data,
                        int32_t version)
{
    struct broker *b;
    const char *what;
    (void)version;
    if (e != OK)
        cluster_edit_drop_broker(f->edit, t->broker_id);
    else if (nodes_unpack_broker(data, t->broker_id, &b, &what) == OK)
        cluster_edit_broker(f->edit, b);
    else
        report_corrupt(t, what);
}

static void take_broker_configs(struct follower *f, const struct task *t, err e, struct slice data,
                                int32_t version)
{
    struct broker_configs *bc;
    const char *what;
    if (e != OK)
        cluster_edit_drop_broker_configs(f->edit, t->broker_id);
    else if (nodes_unpack_broker_configs(data, t->broker_id, version, &bc, &what) == OK)
        cluster_edit_broker_configs(f->edit, bc);
    else
        report_corrupt(t, what);
}

static void add_tombstone_task(struct follower *f, const struct uuid *id);

static void take_topic(struct follower *f, const struct task *t, err e, struct slice data,
                       int32_t version)
{
    struct topic *topic;
    const char *what;
    if (e == E_NOT_FOUND) {
        cluster_edit_drop_topic(f->edit, &t->topic_id);
        add_tombstone_task(f, &t->topic_id); /* deleted, or its tombstone changed */
        return;
    }
    if (nodes_unpack_topic(data, &t->topic_id, version, &topic, &what) == OK)
        cluster_edit_topic(f->edit, topic);
    else
        report_corrupt(t, what);
}

static void take_tombstone(struct follower *f, const struct task *t, err e, struct slice data,
                           int32_t version)
{
    struct tombstone *tombstone;
    const char *what;
    if (e == E_NOT_FOUND)
        cluster_edit_drop_tombstone(f->edit, &t->topic_id);
    else if (nodes_unpack_tombstone(data, &t->topic_id, version, &tombstone, &what) == OK)
        cluster_edit_tombstone(f->edit, tombstone);
    else
        report_corrupt(t, what);
}

static const struct task_kind read_cluster = {.take = take_cluster};
static const struct task_kind read_controller = {.take = take_controller};
static const struct task_kind read_broker = {.take = take_broker};
static const struct task_kind read_broker_configs = {.take = take_broker_configs};
static const struct task_kind read_topic = {.take = take_topic};
static const struct task_kind read_tombstone = {.take = take_tombstone};

static void add_topic_task(struct follower *f, const struct uuid *id)
{
    add_task(f, &read_topic, path_of_topic(id))->topic_id = *id;
}

static void add_tombstone_task(struct follower *f, const struct uuid *id)
{
    add_task(f, &read_tombstone, path_of_tombstone(id))->topic_id = *id;
}

static void add_broker_task(struct follower *f, int32_t id)
{
    add_task(f, &read_broker, path_of_broker(id))->broker_id = id;
}

static void add_broker_configs_task(struct follower *f, int32_t id)
{
    add_task(f, &read_broker_configs, path_of_broker_configs(id))->broker_id = id;
}

static void list_brokers_done(struct follower *f, const struct coord_children *children)
{
    int32_t id;
    for (size_t i = 0; i < children->count; i++)
        if (path_parse_broker(children->names[i], &id) == OK)
            add_broker_task(f, id);
}

static void list_broker_configs_done(struct follower *f, const struct coord_children *children)
{
    int32_t id;
    for (size_t i = 0; i < children->count; i++)
        if (path_parse_broker(children->names[i], &id) == OK)
            add_broker_configs_task(f, id);
}

static void list_topics_done(struct follower *f, const struct coord_children *children)
{
    struct uuid id;
    for (size_t i = 0; i < children->count; i++)
        if (path_parse_topic(children->names[i], &id) == OK)
            add_topic_task(f, &id);
}

static void list_tombstones_done(struct follower *f, const struct coord_children *children)
{
    struct uuid id;
    for (size_t i = 0; i < children->count; i++)
        if (path_parse_topic(children->names[i], &id) == OK)
            add_tombstone_task(f, &id);
}

static const struct task_kind list_brokers = {.is_list = true, .take_list = list_brokers_done};
static const struct task_kind list_broker_configs = {.is_list = true,
                                                     .take_list = list_broker_configs_done};
static const struct task_kind list_topics = {.is_list = true, .take_list = list_topics_done};
static const struct task_kind list_tombstones = {.is_list = true,
                                                 .take_list = list_tombstones_done};

static void on_task_data(void *arg, err e, struct slice data, const struct coord_stat *stat)
{
    struct task *t = arg;
    struct follower *f = t->f;
    f->reading--;
    if (e != OK && e != E_NOT_FOUND)
        f->has_failed = true;
    if (!f->has_failed)
        t->kind->take(f, t, e, data, stat != NULL ? stat->version : 0);
    advance(f);
}

static void on_task_list(void *arg, err e, const struct coord_children *children)
{
    struct task *t = arg;
    struct follower *f = t->f;
    f->reading--;
    if (e != OK)
        f->has_failed = true; /* also if it is not there: a cluster in the making */
    if (!f->has_failed)
        t->kind->take_list(f, children);
    advance(f);
}

/* --- publishing
 * ------------------------------------------------------------------------------------ */

static void deliver(struct mail *m)
{
    struct subscription *sub =
        (struct subscription *)((char *)m - offsetof(struct subscription, mail));
    atomic_store(&sub->posted, false);
    const struct cluster *img = atomic_exchange(&sub->pending, NULL);
    if (img == NULL)
        return;
    sub->on_image(sub->arg, img);
    cluster_unref(img);
}

static void send_image(struct subscription *sub, const struct cluster *img)
{
    cluster_unref(atomic_exchange(&sub->pending, cluster_ref(img)));
    if (!atomic_exchange(&sub->posted, true))
        loop_post(sub->home, &sub->mail);
}

static void publish(struct follower *f, struct cluster *img)
{
    if (f->image != NULL)
        CHECK(cluster_version(img) >= cluster_version(f->image)); /* invariant 3 */
    cluster_unref(f->image);
    f->image = img;
    for (struct subscription *sub = f->subscriptions; sub != NULL; sub = sub->next)
        send_image(sub, img);
}

/* --- rounds
 * ------------------------------------------------------------------------------------------- */

static void drop_tasks(struct follower *f)
{
    while (f->all != NULL) {
        struct task *t = f->all;
        f->all = t->all_next;
        mem_free(t);
    }
    f->waiting = NULL;
}

static void round_again(struct follower *f, int64_t delay_us)
{
    if (session_is_live(f->session))
        timer_start(f->loop, &f->again, delay_us, begin_round, f);
}

static void on_changes_fired(void *arg);

static void on_changes_exist(void *arg, err e, const struct coord_stat *stat)
{
    struct follower *f = arg;
    (void)stat;
    if (e != E_NOT_FOUND && !f->in_round) /* else the watch will tell */
        round_again(f, e == OK ? 0 : session_retry_us(f->session));
}

static void wait_for_changes(struct follower *f)
{
    const struct coord_watch watch = {.fn = on_changes_fired, .arg = f};
    coord_exists(f->coord, PATH_CHANGES, &watch, on_changes_exist, f);
}

static void end_round(struct follower *f)
{
    f->in_round = false;
    struct cluster_edit *edit = f->edit;
    f->edit = NULL;
    drop_tasks(f);
    if (f->has_failed) {
        if (edit != NULL)
            cluster_edit_free(edit);
        f->is_dirty = true;
        if (f->is_missing)
            wait_for_changes(f);
        else
            round_again(f, f->has_gone_back ? GONE_BACK_US : session_retry_us(f->session));
        return;
    }
    f->must_sync = false;
    if (edit != NULL)
        publish(f, cluster_edit_finish(edit));
    if (f->is_dirty)
        round_again(f, 0);
}

static void start_reading(struct follower *f, struct task *t)
{
    f->reading++;
    if (t->kind->is_list)
        coord_children(f->coord, t->path.text, NULL, on_task_list, t);
    else
        coord_get(f->coord, t->path.text, NULL, on_task_data, t);
}

static void advance(struct follower *f)
{
    while (!f->has_failed && f->waiting != NULL && f->reading < READS_MAX) {
        struct task *t = f->waiting;
        f->waiting = t->next;
        start_reading(f, t);
    }
    if (f->reading == 0)
        end_round(f);
}

static void read_all(struct follower *f, uint64_t version)
{
    f->edit = cluster_edit_new(NULL);
    cluster_edit_version(f->edit, version);
    add_task(f, &list_tombstones, fixed_path(PATH_DELETED));
    add_task(f, &list_topics, fixed_path(PATH_TOPICS));
    add_task(f, &list_broker_configs, fixed_path(PATH_BROKER_CONFIGS));
    add_task(f, &list_brokers, fixed_path(PATH_BROKER_IDS));
    add_task(f, &read_controller, fixed_path(PATH_CONTROLLER));
    add_task(f, &read_cluster, fixed_path(PATH_CLUSTER));
}

static bool is_later_in_ring(const struct changes *c, size_t at)
{
    const struct change *ch = &c->ring[at];
    for (size_t i = at + 1; i < c->count; i++)
        if (c->ring[i].broker_id == ch->broker_id &&
            (ch->broker_id != NO_BROKER ||
             memcmp(&c->ring[i].topic_id, &ch->topic_id, sizeof ch->topic_id) == 0))
            return true;
    return false;
}

static void read_changed(struct follower *f, const struct changes *c, uint64_t version)
{
    const uint64_t seen = cluster_version(f->image);
    bool has_brokers = false;
    f->edit = cluster_edit_new(f->image);
    cluster_edit_version(f->edit, version);
    for (size_t i = 0; i < c->count; i++) {
        const struct change *ch = &c->ring[i];
        if (ch->version <= seen || is_later_in_ring(c, i))
            continue;
        if (ch->broker_id == NO_BROKER) {
            add_topic_task(f, &ch->topic_id);
            continue;
        }
        has_brokers = true;
        add_broker_task(f, ch->broker_id);
        add_broker_configs_task(f, ch->broker_id);
    }
    if (has_brokers)
        add_task(f, &read_controller, fixed_path(PATH_CONTROLLER));
}

static void report_gone_back(const struct follower *f, uint64_t version)
{
    static struct diag_limit limit = {.interval_ms = 10000};
    if (diag_allowed(&limit))
        diag(DIAG_ERROR, "follower", "the coordination store went back; its state is not taken",
             "version=%" PRIu64 " known=%" PRIu64, version, cluster_version(f->image));
}

static void decide_reading(struct follower *f, struct slice data, uint64_t version)
{
    struct changes changes;
    const char *what = NULL;
    const uint64_t seen = f->image != NULL ? cluster_version(f->image) : 0;
    if (f->image != NULL && version < seen) {
        report_gone_back(f, version);
        f->has_gone_back = true;
        f->has_failed = true;
        return;
    }
    if (f->image != NULL && version == seen && !f->must_sync)
        return; /* nothing new */
    if (nodes_unpack_changes(data, &changes, &what) != OK)
        diag(DIAG_ERROR, "follower", "/changes is damaged; everything is read", "why=%s",
             DIAG_STR(what));
    if (f->image == NULL || f->must_sync || !changes_reach_back_to(&changes, seen))
        read_all(f, version);
    else
        read_changed(f, &changes, version);
}

static void on_changes_fired(void *arg)
{
    struct follower *f = arg;
    f->is_watching = false;
    f->is_dirty = true;
    if (!f->in_round)
        round_again(f, 0);
}

static void on_changes(void *arg, err e, struct slice data, const struct coord_stat *stat)
{
    struct follower *f = arg;
    f->reading--;
    if (e == OK) {
        f->is_watching = true;
        f->contact_us = loop_now_us(f->loop);
        decide_reading(f, data, (uint64_t)stat->version);
    } else {
        f->is_missing = e == E_NOT_FOUND;
        f->has_failed = true;
    }
    advance(f);
}

static void read_changes(struct follower *f)
{
    const struct coord_watch watch = {.fn = on_changes_fired, .arg = f};
    f->reading++;
    f->is_dirty = false;
    coord_get(f->coord, PATH_CHANGES, f->is_watching ? NULL : &watch, on_changes, f);
}

static void on_synced(void *arg, err e)
{
    struct follower *f = arg;
    f->reading--;
    if (e == OK)
        read_changes(f);
    else
        f->has_failed = true;
    advance(f);
}

static void begin_round(void *arg)
{
    struct follower *f = arg;
    CHECK(!f->in_round);
    f->in_round = true;
    f->has_failed = false;
    f->is_missing = false;
    f->has_gone_back = false;
    if (!f->must_sync) {
        read_changes(f);
        return;
    }
    f->reading++;
    coord_sync(f->coord, on_synced, f);
}

/* --- life
 * ------------------------------------------------------------------------------------------------
 */

static void on_begin(void *arg)
{
    struct follower *f = arg;
    f->is_watching = false;
    f->must_sync = true;
    timer_stop(f->loop, &f->again);
    arm_recheck(f);
    if (!f->in_round)
        begin_round(f);
}

static void on_lost(void *arg)
{
    struct follower *f = arg;
    timer_stop(f->loop, &f->again);
    timer_stop(f->loop, &f->recheck);
}

struct follower *follower_new(struct session *s)
{
    struct follower *f = MEM_NEW(struct follower);
    f->session = s;
    f->loop = session_loop(s);
    f->coord = session_coord(s);
    f->contact_us = INT64_MIN;
    f->member = (struct session_member){.on_begin = on_begin, .on_lost = on_lost, .arg = f};
    session_join(s, &f->member);
    return f;
}

void follower_free(struct follower *f)
{
    for (struct subscription *sub = f->subscriptions; sub != NULL; sub = sub->next)
        cluster_unref(atomic_exchange(&sub->pending, NULL));
    timer_stop(f->loop, &f->again);
    timer_stop(f->loop, &f->recheck);
    drop_tasks(f);
    if (f->edit != NULL)
        cluster_edit_free(f->edit);
    cluster_unref(f->image);
    mem_free(f);
}

void follower_subscribe(struct follower *f, struct subscription *sub)
{
    sub->mail.fn = deliver;
    atomic_store(&sub->pending, NULL);
    atomic_store(&sub->posted, false);
    sub->next = f->subscriptions;
    f->subscriptions = sub;
    if (f->image != NULL)
        send_image(sub, f->image);
}

const struct cluster *follower_image(const struct follower *f)
{
    return f->image;
}

int64_t follower_contact_us(const struct follower *f)
{
    return f->contact_us;
}
