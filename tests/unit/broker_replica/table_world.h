/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A table of partitions over logs in memory, and the images it is given. This
 * broker is 1, in its life 10; a topic is a small number, which makes its name
 * and id.
 */
#ifndef SLUICE_TESTS_TABLE_WORLD_H
#define SLUICE_TESTS_TABLE_WORLD_H

#include "tests/unit/broker_replica/replica_world.h"

#include "broker/replica/partition_table.h"

enum { ME = 1, OTHER = 2, LIFE = 10, TOPICS_MAX = 24, TOPIC_TEXT = 32 };

struct table_world {
    struct world w;
    struct topic_config_values defaults;
    struct partition_table *table;
    struct cluster *image; /* the latest */
    uint64_t version;
    unsigned settled;
    uint64_t settled_version;
    struct uuid deleted[TOPICS_MAX]; /* told by on_deleted, in order */
    unsigned deleted_count;
};

static UNUSED struct uuid id_of(uint8_t n)
{
    return (struct uuid){{n, 0xaa, 0xbb, 0xcc}};
}

static const char *name_of(uint8_t n)
{
    static char names[4][TOPIC_TEXT];
    static int next;
    char *name = names[next++ % 4];
    snprintf(name, TOPIC_TEXT, "topic-%u", n);
    return name;
}

static UNUSED void on_deleted(void *user, const struct uuid *topic_id)
{
    struct table_world *f = user;
    assert_true(f->deleted_count < TOPICS_MAX);
    f->deleted[f->deleted_count++] = *topic_id;
}

static UNUSED void on_settled(void *user, uint64_t version)
{
    struct table_world *f = user;
    f->settled++;
    f->settled_version = version;
}

static UNUSED void open_table(struct table_world *f)
{
    const struct partition_table_opts opts = {.home = f->w.home,
                                              .logs = f->w.logs,
                                              .broker_id = ME,
                                              .defaults = &f->defaults,
                                              .on_deleted = on_deleted,
                                              .on_settled = on_settled,
                                              .user = f};
    f->table = partition_table_new(&opts);
    partition_table_set_incarnation(f->table, LIFE);
}

static UNUSED void close_table(struct table_world *f)
{
    partition_table_stop(f->table);
    world_settle(&f->w);
    partition_table_free(f->table);
    f->table = NULL;
    cluster_unref(f->image);
    f->image = NULL;
}

static UNUSED void restart(struct table_world *f, enum fake_crash how)
{
    close_table(f);
    world_restart(&f->w, how);
    open_table(f);
}

static UNUSED void table_world_init(struct table_world *f, size_t dirs)
{
    *f = (struct table_world){0};
    world_init(&f->w, dirs);
    topic_config_values_init(&f->defaults);
    f->defaults.v[TOPIC_SEGMENT_BYTES] = world_log_conf.segment_bytes; /* they must fit memory */
    open_table(f);
}

static UNUSED void table_world_deinit(struct table_world *f)
{
    if (f->table)
        close_table(f);
    world_deinit(&f->w);
}

/* --- images ------------------------------------------------------------------------- */

/* What a topic is to look like; one replica each unless said. */
struct shape {
    uint8_t named; /* as that one; 0: as itself */
    uint32_t partitions;
    int32_t leader;
    int32_t leader_epoch;
    uint64_t incarnation;
    int32_t replica;
    const struct property *configs;
    uint32_t config_count;
};

static UNUSED const struct shape ours = {
    .partitions = 2, .leader = ME, .incarnation = LIFE, .replica = ME};

static UNUSED struct topic *make_topic(uint8_t n, const struct shape *s)
{
    struct partition_state states[8];
    assert_true(s->partitions <= 8);
    for (uint32_t i = 0; i < s->partitions; i++)
        states[i] = (struct partition_state){.leader = s->leader,
                                             .leader_epoch = s->leader_epoch,
                                             .leader_incarnation = s->incarnation,
                                             .partition_epoch = (uint32_t)s->leader_epoch,
                                             .replicas = &s->replica,
                                             .replica_count = 1,
                                             .isr = &s->replica,
                                             .isr_count = 1};
    const struct topic like = {.id = id_of(n),
                               .name = name_of(s->named ? s->named : n),
                               .min_insync_replicas = 1,
                               .partition_count = s->partitions,
                               .partitions = states,
                               .configs = s->configs,
                               .config_count = s->config_count};
    return topic_new(&like);
}

static UNUSED struct cluster_edit *edit(struct table_world *f)
{
    struct cluster_edit *e = cluster_edit_new(f->image);
    cluster_edit_version(e, ++f->version);
    return e;
}

static UNUSED void apply(struct table_world *f, struct cluster_edit *e)
{
    struct cluster *next = cluster_edit_finish(e);
    cluster_unref(f->image);
    f->image = next;
    partition_table_apply(f->table, next);
}

static UNUSED void apply_topic(struct table_world *f, uint8_t n, const struct shape *s)
{
    struct cluster_edit *e = edit(f);
    cluster_edit_topic(e, make_topic(n, s));
    apply(f, e);
}

static UNUSED void add_tombstone(struct cluster_edit *e, uint8_t n, const int32_t *waiting,
                                 uint32_t count)
{
    const struct tombstone like = {
        .id = id_of(n), .name = name_of(n), .waiting = waiting, .waiting_count = count};
    cluster_edit_tombstone(e, tombstone_new(&like));
}

static UNUSED void apply_deletion(struct table_world *f, uint8_t n)
{
    static const int32_t waiting[] = {OTHER, ME};
    const struct uuid id = id_of(n);
    struct cluster_edit *e = edit(f);
    cluster_edit_drop_topic(e, &id);
    add_tombstone(e, n, waiting, 2);
    apply(f, e);
}

/* --- looking ------------------------------------------------------------------------- */

static UNUSED err find(struct table_world *f, uint8_t n, uint32_t partition, struct partition **out)
{
    const struct partition_name name = {.topic = slice_str(name_of(n)), .partition = partition};
    return partition_table_find(f->table, &name, out);
}

static UNUSED err look(struct table_world *f, uint8_t n, uint32_t partition)
{
    struct partition *p;
    const err e = find(f, n, partition, &p);
    if (e == OK)
        partition_unref(p);
    return e;
}

/* As a client's append would be answered. */
static UNUSED err produce(struct table_world *f, uint8_t n, uint32_t partition)
{
    struct partition *p;
    struct partition_appended done;
    err e = find(f, n, partition, &p);
    if (e != OK)
        return e;
    e = append(p, 1, true, -1, &done);
    partition_unref(p);
    return e;
}

static UNUSED void count_file(void *arg, const char *path, struct slice bytes)
{
    (void)bytes;
    if (strstr(path, "/partition") && !strstr(path, ".deleted/"))
        (*(unsigned *)arg)++;
}

/* Partitions' directories that are not on their way out. */
static UNUSED unsigned dirs_on_disk(struct table_world *f)
{
    unsigned count = 0;
    for (size_t i = 0; i < f->w.dir_count; i++)
        fake_fsio_each(f->w.fs, world_dirs[i], count_file, &count);
    return count;
}

#endif
