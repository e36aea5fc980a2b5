/* SPDX-License-Identifier: Apache-2.0 */
/* sluice broker list, sluice cluster describe */
#include "clients/tools/cli.h"
#include "clients/tools/commands.h"
#include "clients/tools/json.h"
#include "clients/tools/table.h"

typedef void print_fn(struct cli *cli, const struct sluice_cluster *cluster);

/* Asks for the cluster and hands it on. no_topics: they would not be looked at. */
static int show(struct cli *cli, bool no_topics, print_fn *table, print_fn *json)
{
    sluice_admin *const admin = cli_admin(cli);
    if (!admin)
        return EXIT_FAILED;
    static const char *const none[] = {NULL};
    struct sluice_error error;
    struct sluice_cluster *cluster = NULL;
    int status = EXIT_DONE;
    if (sluice_admin_describe(admin, no_topics ? none : NULL, 0, cli->timeout_ms, &cluster,
                              &error) != SLUICE_OK)
        status = cli_fail_error(cli, &error);
    else
        (cli->is_json ? json : table)(cli, cluster);
    sluice_cluster_free(cluster);
    sluice_admin_free(admin);
    return status;
}

/* --- broker list -------------------------------------------------------------------- */

static void brokers_table(struct cli *cli, const struct sluice_cluster *cluster)
{
    static const char *const columns[] = {">ID", "HOST", ">PORT", "RACK", "CONTROLLER", NULL};
    struct table t;
    table_init(&t, columns);
    for (size_t i = 0; i < cluster->broker_count; i++) {
        const struct sluice_broker *const b = &cluster->brokers[i];
        table_cell(&t, "%d", b->id);
        table_cell(&t, "%s", b->host);
        table_cell(&t, "%u", b->port);
        table_cell(&t, "%s", b->rack[0] ? b->rack : "-");
        table_cell(&t, "%s", b->id == cluster->controller_id ? "yes" : "no");
    }
    table_write(&t, &cli->out);
    table_deinit(&t);
}

static void json_brokers(struct json *j, const struct sluice_cluster *cluster)
{
    json_begin(j, '[');
    for (size_t i = 0; i < cluster->broker_count; i++) {
        const struct sluice_broker *const b = &cluster->brokers[i];
        json_begin(j, '{');
        json_member_int(j, "id", b->id);
        json_member_str(j, "host", b->host);
        json_member_int(j, "port", b->port);
        json_member_str(j, "rack", b->rack[0] ? b->rack : NULL);
        json_member_bool(j, "controller", b->id == cluster->controller_id);
        json_member_int(j, "incarnation", (int64_t)b->incarnation);
        json_end(j, '}');
    }
    json_end(j, ']');
}

static void brokers_json(struct cli *cli, const struct sluice_cluster *cluster)
{
    struct json j = json_to(&cli->out);
    json_brokers(&j, cluster);
    buf_append(&cli->out, "\n", 1);
}

static int run_broker_list(struct cli *cli)
{
    return show(cli, true, brokers_table, brokers_json);
}

const struct command broker_list_command = {
    .group = "broker",
    .name = "list",
    .operands = "",
    .summary = "List the brokers that are registered now",
    .run = run_broker_list,
};

/* --- cluster describe --------------------------------------------------------------- */

struct totals {
    size_t topics;
    size_t partitions;
    size_t without_leader;
    size_t under_replicated; /* fewer replicas in sync than there are */
    size_t under_minimum;    /* fewer in sync than acks=all needs */
};

static struct totals count_partitions(const struct sluice_cluster *cluster)
{
    struct totals n = {.topics = cluster->topic_count};
    for (size_t i = 0; i < cluster->topic_count; i++) {
        const struct sluice_topic *const t = &cluster->topics[i];
        n.partitions += t->partition_count;
        for (size_t k = 0; k < t->partition_count; k++) {
            const struct sluice_partition *const p = &t->partitions[k];
            n.without_leader += p->leader < 0;
            n.under_replicated += p->isr_count < p->replica_count;
            n.under_minimum += p->isr_count < t->min_insync_replicas;
        }
    }
    return n;
}

static void cluster_table(struct cli *cli, const struct sluice_cluster *cluster)
{
    const struct totals n = count_partitions(cluster);
    struct buf *const out = &cli->out;
    buf_printf(out, "cluster id                   %s\n", cluster->cluster_id);
    if (cluster->controller_id < 0)
        buf_append_str(out, "controller                   none\n");
    else
        buf_printf(out, "controller                   %d\n", cluster->controller_id);
    buf_printf(out, "metadata version             %llu\n", (unsigned long long)cluster->version);
    buf_printf(out, "brokers                      %zu\n", cluster->broker_count);
    buf_printf(out, "topics                       %zu\n", n.topics);
    buf_printf(out, "partitions                   %zu\n", n.partitions);
    buf_printf(out, "  without a leader           %zu\n", n.without_leader);
    buf_printf(out, "  not all replicas in sync   %zu\n", n.under_replicated);
    buf_printf(out, "  below min.insync.replicas  %zu\n", n.under_minimum);
    buf_append(out, "\n", 1);
    brokers_table(cli, cluster);
}

static void cluster_json(struct cli *cli, const struct sluice_cluster *cluster)
{
    const struct totals n = count_partitions(cluster);
    struct json j = json_to(&cli->out);
    json_begin(&j, '{');
    json_member_str(&j, "cluster_id", cluster->cluster_id);
    json_key(&j, "controller_id");
    if (cluster->controller_id < 0)
        json_null(&j);
    else
        json_int(&j, cluster->controller_id);
    json_member_int(&j, "metadata_version", (int64_t)cluster->version);
    json_key(&j, "brokers");
    json_brokers(&j, cluster);
    json_member_int(&j, "topics", (int64_t)n.topics);
    json_member_int(&j, "partitions", (int64_t)n.partitions);
    json_member_int(&j, "partitions_without_leader", (int64_t)n.without_leader);
    json_member_int(&j, "partitions_under_replicated", (int64_t)n.under_replicated);
    json_member_int(&j, "partitions_under_min_insync", (int64_t)n.under_minimum);
    json_end(&j, '}');
    buf_append(&cli->out, "\n", 1);
}

static int run_cluster_describe(struct cli *cli)
{
    return show(cli, false, cluster_table, cluster_json);
}

const struct command cluster_describe_command = {
    .group = "cluster",
    .name = "describe",
    .operands = "",
    .summary = "Show the cluster's id, controller, brokers, and how its partitions fare",
    .run = run_cluster_describe,
};
