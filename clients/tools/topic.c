/* SPDX-License-Identifier: Apache-2.0 */
/* sluice topic create | list | describe | alter | delete */
#include <string.h>

#include "clients/tools/cli.h"
#include "clients/tools/commands.h"
#include "clients/tools/json.h"
#include "clients/tools/table.h"
#include "proto/base/limits.h"
#include "proto/base/mem.h"

/* --- create ------------------------------------------------------------------------- */

static const struct option create_options[] = {
    {.name = "partitions",
     .kind = OPTION_NUMBER,
     .value = "N",
     .min = 1,
     .max = TOPIC_PARTITIONS_MAX,
     .help = "Number of partitions; it can grow later, never shrink (default: the cluster's "
             "num.partitions)"},
    {.name = "replication-factor",
     .kind = OPTION_NUMBER,
     .value = "N",
     .min = 1,
     .max = INT16_MAX,
     .help = "On how many brokers each partition lies (default: the cluster's "
             "default.replication.factor)"},
    {.name = "config",
     .kind = OPTION_PAIRS,
     .value = "KEY=VALUE",
     .help = "A config of the topic, such as retention.ms=3600000; may be given again"},
    {.name = "if-not-exists",
     .kind = OPTION_FLAG,
     .help = "Leave a topic of that name as it is, without an error"},
    {0},
};

static void print_created(struct cli *cli, const struct sluice_topic_result *t, bool is_new)
{
    if (!cli->is_json) {
        if (is_new)
            buf_printf(&cli->out, "topic %s created: %d partition%s, replication factor %d\n",
                       t->name, t->partitions, t->partitions == 1 ? "" : "s",
                       t->replication_factor);
        else
            buf_printf(&cli->out, "topic %s exists already and was left as it is\n", t->name);
        return;
    }
    struct json j = json_to(&cli->out);
    json_begin(&j, '{');
    json_member_str(&j, "topic", t->name);
    json_member_bool(&j, "created", is_new);
    if (is_new) {
        json_member_str(&j, "id", t->id);
        json_member_int(&j, "partitions", t->partitions);
        json_member_int(&j, "replication_factor", t->replication_factor);
    }
    json_end(&j, '}');
    buf_append(&cli->out, "\n", 1);
}

static int run_create(struct cli *cli)
{
    sluice_admin *const admin = cli_admin(cli);
    if (!admin)
        return EXIT_FAILED;
    struct cli_properties configs = cli_properties(cli, "config");
    const struct sluice_new_topic topic = {
        .name = cli->args->operands[0],
        .partitions = (int32_t)args_number(cli->args, "partitions"),
        .replication_factor = (int32_t)args_number(cli->args, "replication-factor"),
        .configs = configs.items,
        .config_count = configs.count,
    };
    struct sluice_error error;
    struct sluice_topic_results *results = NULL;
    const int code =
        sluice_admin_create_topics(admin, &topic, 1, false, cli->timeout_ms, &results, &error);
    int status = EXIT_DONE;
    if (code == SLUICE_OK)
        print_created(cli, &results->topics[0], true);
    else if (code == SLUICE_E_TOPIC_EXISTS && args_has(cli->args, "if-not-exists"))
        print_created(cli, &(struct sluice_topic_result){.name = topic.name}, false);
    else
        status = cli_fail_error(cli, &error);
    sluice_topic_results_free(results);
    cli_properties_free(&configs);
    sluice_admin_free(admin);
    return status;
}

const struct command topic_create_command = {
    .group = "topic",
    .name = "create",
    .operands = "NAME",
    .operands_min = 1,
    .operands_max = 1,
    .summary = "Create a topic",
    .examples = "  sluice topic create orders --partitions 6\n"
                "  sluice topic create clicks --config retention.ms=86400000 --config "
                "durability=page-cache\n",
    .options = create_options,
    .run = run_create,
};

/* --- list --------------------------------------------------------------------------- */

static void print_list_json(struct cli *cli, const struct sluice_cluster *cluster)
{
    struct json j = json_to(&cli->out);
    json_begin(&j, '[');
    for (size_t i = 0; i < cluster->topic_count; i++) {
        const struct sluice_topic *const t = &cluster->topics[i];
        json_begin(&j, '{');
        json_member_str(&j, "name", t->name);
        json_member_str(&j, "id", t->id);
        json_member_int(&j, "partitions", (int64_t)t->partition_count);
        json_member_int(&j, "replication_factor", t->replication_factor);
        json_member_bool(&j, "internal", t->internal);
        json_end(&j, '}');
    }
    json_end(&j, ']');
    buf_append(&cli->out, "\n", 1);
}

static void print_list_table(struct cli *cli, const struct sluice_cluster *cluster)
{
    static const char *const columns[] = {"NAME", ">PARTITIONS", ">REPLICATION", "ID", NULL};
    struct table t;
    table_init(&t, columns);
    for (size_t i = 0; i < cluster->topic_count; i++) {
        const struct sluice_topic *const topic = &cluster->topics[i];
        table_cell(&t, "%s", topic->name);
        table_cell(&t, "%zu", topic->partition_count);
        table_cell(&t, "%u", topic->replication_factor);
        table_cell(&t, "%s", topic->id);
    }
    table_write(&t, &cli->out);
    table_deinit(&t);
}

static int run_list(struct cli *cli)
{
    sluice_admin *const admin = cli_admin(cli);
    if (!admin)
        return EXIT_FAILED;
    struct sluice_error error;
    struct sluice_cluster *cluster = NULL;
    int status = EXIT_DONE;
    if (sluice_admin_describe(admin, NULL, 0, cli->timeout_ms, &cluster, &error) != SLUICE_OK)
        status = cli_fail_error(cli, &error);
    else if (cli->is_json)
        print_list_json(cli, cluster);
    else
        print_list_table(cli, cluster);
    sluice_cluster_free(cluster);
    sluice_admin_free(admin);
    return status;
}

const struct command topic_list_command = {
    .group = "topic",
    .name = "list",
    .operands = "",
    .summary = "List all topics",
    .run = run_list,
};

/* --- describe ----------------------------------------------------------------------- */

static const struct option describe_options[] = {
    {.name = "offsets",
     .kind = OPTION_FLAG,
     .help = "Ask the leaders for the first offset and the end (high watermark) of each partition"},
    {0},
};

/* Ends of the partitions of one topic; -1: not known. */
struct ends {
    int64_t *first;
    int64_t *last;
};

static int ask_ends(struct cli *cli, sluice_admin *admin, const struct sluice_topic *t,
                    int64_t time, int64_t *offsets)
{
    struct sluice_topic_partition *const asked =
        mem_alloc(sizeof *asked * (t->partition_count + 1));
    for (size_t i = 0; i < t->partition_count; i++) {
        asked[i] = (struct sluice_topic_partition){
            .topic = t->name, .partition = t->partitions[i].partition, .offset = time};
        offsets[i] = -1;
    }
    struct sluice_error error;
    struct sluice_offset_results *results = NULL;
    int status = EXIT_DONE;
    if (sluice_admin_list_offsets(admin, asked, t->partition_count, cli->timeout_ms, &results,
                                  &error) != SLUICE_OK)
        status = cli_fail_error(cli, &error);
    for (size_t i = 0; results && i < results->count && i < t->partition_count; i++)
        if (!results->offsets[i].error)
            offsets[i] = results->offsets[i].offset;
    sluice_offset_results_free(results);
    mem_free(asked);
    return status;
}

static void id_list(struct buf *out, const int32_t *ids, size_t count)
{
    buf_clear(out);
    for (size_t i = 0; i < count; i++)
        buf_printf(out, "%s%d", i ? "," : "", ids[i]);
    if (count == 0)
        buf_append_str(out, "none");
    buf_append(out, "", 1);
}

static void cell_ids(struct table *t, struct buf *scratch, const int32_t *ids, size_t count)
{
    id_list(scratch, ids, count);
    table_cell(t, "%s", (const char *)scratch->data);
}

static void cell_offset(struct table *t, int64_t offset)
{
    if (offset < 0)
        table_cell(t, "?");
    else
        table_cell(t, "%lld", (long long)offset);
}

static void describe_table(struct cli *cli, const struct sluice_topic *topic,
                           const struct ends *ends)
{
    static const char *const plain[] = {">PARTITION", ">LEADER", ">EPOCH",
                                        "REPLICAS",   "IN-SYNC", NULL};
    static const char *const with_ends[] = {">PARTITION", ">LEADER", ">EPOCH", "REPLICAS",
                                            "IN-SYNC",    ">FIRST",  ">END",   NULL};
    buf_printf(&cli->out,
               "topic %s  id %s  partitions %zu  replication factor %u  min in-sync %u\n",
               topic->name, topic->id, topic->partition_count, topic->replication_factor,
               topic->min_insync_replicas);
    for (size_t i = 0; i < topic->config_count; i++)
        buf_printf(&cli->out, "%s%s=%s", i ? "  " : "configs ", topic->configs[i].key,
                   topic->configs[i].value);
    if (topic->config_count > 0)
        buf_append(&cli->out, "\n", 1);

    struct table t;
    struct buf scratch = {0};
    table_init(&t, ends->first ? with_ends : plain);
    for (size_t i = 0; i < topic->partition_count; i++) {
        const struct sluice_partition *const p = &topic->partitions[i];
        table_cell(&t, "%d", p->partition);
        if (p->leader < 0)
            table_cell(&t, "none");
        else
            table_cell(&t, "%d", p->leader);
        table_cell(&t, "%d", p->leader_epoch);
        cell_ids(&t, &scratch, p->replicas, p->replica_count);
        cell_ids(&t, &scratch, p->isr, p->isr_count);
        if (ends->first) {
            cell_offset(&t, ends->first[i]);
            cell_offset(&t, ends->last[i]);
        }
    }
    table_write(&t, &cli->out);
    buf_deinit(&scratch);
    table_deinit(&t);
}

static void json_ids(struct json *j, const char *key, const int32_t *ids, size_t count)
{
    json_key(j, key);
    json_begin(j, '[');
    for (size_t i = 0; i < count; i++)
        json_int(j, ids[i]);
    json_end(j, ']');
}

static void json_offset(struct json *j, const char *key, int64_t offset)
{
    json_key(j, key);
    if (offset < 0)
        json_null(j);
    else
        json_int(j, offset);
}

static void describe_json(struct json *j, const struct sluice_topic *topic, const struct ends *ends)
{
    json_begin(j, '{');
    json_member_str(j, "name", topic->name);
    json_member_str(j, "id", topic->id);
    json_member_bool(j, "internal", topic->internal);
    json_member_int(j, "replication_factor", topic->replication_factor);
    json_member_int(j, "min_insync_replicas", topic->min_insync_replicas);
    json_key(j, "configs");
    json_begin(j, '{');
    for (size_t i = 0; i < topic->config_count; i++)
        json_member_str(j, topic->configs[i].key, topic->configs[i].value);
    json_end(j, '}');
    json_key(j, "partitions");
    json_begin(j, '[');
    for (size_t i = 0; i < topic->partition_count; i++) {
        const struct sluice_partition *const p = &topic->partitions[i];
        json_begin(j, '{');
        json_member_int(j, "partition", p->partition);
        json_key(j, "leader");
        if (p->leader < 0)
            json_null(j);
        else
            json_int(j, p->leader);
        json_member_int(j, "leader_epoch", p->leader_epoch);
        json_member_int(j, "partition_epoch", p->partition_epoch);
        json_ids(j, "replicas", p->replicas, p->replica_count);
        json_ids(j, "isr", p->isr, p->isr_count);
        json_ids(j, "eligible", p->eligible, p->eligible_count);
        if (ends->first) {
            json_offset(j, "first_offset", ends->first[i]);
            json_offset(j, "end_offset", ends->last[i]);
        }
        json_end(j, '}');
    }
    json_end(j, ']');
    json_end(j, '}');
}

static int describe_topic(struct cli *cli, sluice_admin *admin, const struct sluice_topic *topic,
                          struct json *j)
{
    struct ends ends = {0};
    int status = EXIT_DONE;
    if (args_has(cli->args, "offsets")) {
        ends.first = mem_alloc(sizeof *ends.first * (topic->partition_count + 1));
        ends.last = mem_alloc(sizeof *ends.last * (topic->partition_count + 1));
        status = ask_ends(cli, admin, topic, SLUICE_TIME_EARLIEST, ends.first);
        const int second = ask_ends(cli, admin, topic, SLUICE_TIME_LATEST, ends.last);
        status = status == EXIT_DONE ? second : status;
    }
    if (cli->is_json)
        describe_json(j, topic, &ends);
    else
        describe_table(cli, topic, &ends);
    mem_free(ends.first);
    mem_free(ends.last);
    return status;
}

static int run_describe(struct cli *cli)
{
    sluice_admin *const admin = cli_admin(cli);
    if (!admin)
        return EXIT_FAILED;
    struct sluice_error error;
    struct sluice_cluster *cluster = NULL;
    const size_t count = cli->args->operand_count;
    int status = EXIT_DONE;
    const int code = sluice_admin_describe(admin, count ? cli->args->operands : NULL, count,
                                           cli->timeout_ms, &cluster, &error);
    if (code != SLUICE_OK && !cluster)
        status = cli_fail_error(cli, &error);
    struct json j = json_to(&cli->out);
    if (cli->is_json)
        json_begin(&j, '[');
    size_t shown = 0;
    for (size_t i = 0; cluster && i < cluster->topic_count; i++) {
        if (cluster->topics[i].error) {
            status = cli_fail_error(cli, cluster->topics[i].error);
            continue;
        }
        if (!cli->is_json && shown++ > 0)
            buf_append(&cli->out, "\n", 1);
        if (describe_topic(cli, admin, &cluster->topics[i], &j) != EXIT_DONE)
            status = EXIT_FAILED;
    }
    if (cli->is_json) {
        json_end(&j, ']');
        buf_append(&cli->out, "\n", 1);
    }
    sluice_cluster_free(cluster);
    sluice_admin_free(admin);
    return status;
}

const struct command topic_describe_command = {
    .group = "topic",
    .name = "describe",
    .operands = "[NAME...]",
    .operands_max = SIZE_MAX,
    .summary = "Show partitions, leaders, replicas and configs of topics (all, if none is named)",
    .examples = "  sluice topic describe orders --offsets\n",
    .options = describe_options,
    .run = run_describe,
};

/* --- alter, delete ------------------------------------------------------------------ */

static void print_done(struct cli *cli, const char *topic, const char *what, const char *key,
                       int64_t n)
{
    if (!cli->is_json) {
        if (key)
            buf_printf(&cli->out, "topic %s has %lld %s now\n", topic, (long long)n, key);
        else
            buf_printf(&cli->out, "topic %s %s\n", topic, what);
        return;
    }
    struct json j = json_to(&cli->out);
    json_begin(&j, '{');
    json_member_str(&j, "topic", topic);
    if (key)
        json_member_int(&j, key, n);
    else
        json_member_bool(&j, what, true);
    json_end(&j, '}');
    buf_append(&cli->out, "\n", 1);
}

static const struct option alter_options[] = {
    {.name = "partitions",
     .kind = OPTION_NUMBER,
     .value = "N",
     .min = 1,
     .max = TOPIC_PARTITIONS_MAX,
     .help = "The number of partitions after the change, more than now"},
    {0},
};

static int run_alter(struct cli *cli)
{
    if (!args_has(cli->args, "partitions"))
        return cli_usage(cli, "--partitions N says how many partitions there shall be; configs are "
                              "changed by `sluice config alter`");
    sluice_admin *const admin = cli_admin(cli);
    if (!admin)
        return EXIT_FAILED;
    struct sluice_error error;
    const char *const name = cli->args->operands[0];
    const int32_t total = (int32_t)args_number(cli->args, "partitions");
    int status = EXIT_DONE;
    if (sluice_admin_create_partitions(admin, name, total, false, cli->timeout_ms, &error) !=
        SLUICE_OK)
        status = cli_fail_error(cli, &error);
    else
        print_done(cli, name, NULL, "partitions", total);
    sluice_admin_free(admin);
    return status;
}

const struct command topic_alter_command = {
    .group = "topic",
    .name = "alter",
    .operands = "NAME",
    .operands_min = 1,
    .operands_max = 1,
    .summary = "Raise the number of partitions of a topic",
    .details = "Records keep their places; a key may belong to another partition from then on.",
    .examples = "  sluice topic alter orders --partitions 12\n",
    .options = alter_options,
    .run = run_alter,
};

static int run_delete(struct cli *cli)
{
    sluice_admin *const admin = cli_admin(cli);
    if (!admin)
        return EXIT_FAILED;
    struct sluice_error error;
    const char *const name = cli->args->operands[0];
    int status = EXIT_DONE;
    if (sluice_admin_delete_topics(admin, &name, 1, cli->timeout_ms, NULL, &error) != SLUICE_OK)
        status = cli_fail_error(cli, &error);
    else
        print_done(cli, name, "deleted", NULL, 0);
    sluice_admin_free(admin);
    return status;
}

const struct command topic_delete_command = {
    .group = "topic",
    .name = "delete",
    .operands = "NAME",
    .operands_min = 1,
    .operands_max = 1,
    .summary = "Delete a topic and all its records",
    .run = run_delete,
};
