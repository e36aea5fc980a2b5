/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/server/server_metrics.h"

#include <stdio.h>

#include "broker/server/server_priv.h"
#include "proto/base/limits.h"

struct lane_metrics lane_metrics_new(struct metrics *m, size_t loop_index)
{
    char index[24];
    snprintf(index, sizeof index, "%zu", loop_index);
    const struct metric_label label = {"loop", index};
    return (struct lane_metrics){
        .bytes_in = metrics_counter(m, "sluice_produced_bytes_total", "Bytes of batches appended.",
                                    &label, 1),
        .batches_in =
            metrics_counter(m, "sluice_produced_batches_total", "Batches appended.", &label, 1),
        .writes =
            metrics_counter(m, "sluice_log_writes_total", "Writes that appended them.", &label, 1),
        .bytes_out = metrics_counter(m, "sluice_fetched_bytes_total", "Bytes of batches fetched.",
                                     &label, 1),
        .cold_reads =
            metrics_counter(m, "sluice_cold_reads_total",
                            "Fetches for which a worker had to read from disk.", &label, 1),
    };
}

static void one(struct metrics_page *page, const char *name, enum metric_type type,
                const char *help, double value)
{
    metrics_family(page, name, type, help);
    metrics_sample(page, NULL, 0, value);
}

/* --- requests ------------------------------------------------------------------- */

static void collect_requests(struct server *b, struct metrics_page *page)
{
    double bounds[SERVICE_LATENCY_BUCKETS - 1];
    for (int i = 0; i < SERVICE_LATENCY_BUCKETS - 1; i++)
        bounds[i] = (double)(1u << i) / 1e6;
    struct service_stats stats[API_END];
    for (size_t i = 0; i < api_table_count; i++)
        service_stats(b->service, i, &stats[i]);

#define EACH(name, type, help, field)                                                              \
    metrics_family(page, name, type, help);                                                        \
    for (size_t i = 0; i < api_table_count; i++) {                                                 \
        const struct metric_label api = {"api", api_name(api_table[i].api)};                       \
        metrics_sample(page, &api, 1, (double)stats[i].field);                                     \
    }
    EACH("sluice_requests_total", METRIC_COUNTER, "Requests taken up.", requests)
    EACH("sluice_request_errors_total", METRIC_COUNTER, "Requests that ended with an error.",
         errors)
    EACH("sluice_request_bytes_total", METRIC_COUNTER, "Bytes of requests.", bytes_in)
#undef EACH
    metrics_family(page, "sluice_request_seconds", METRIC_HISTOGRAM,
                   "From a request's arrival to its answer.");
    for (size_t i = 0; i < api_table_count; i++) {
        const struct metric_label api = {"api", api_name(api_table[i].api)};
        metrics_sample_histogram(page, &api, 1, bounds, stats[i].latency,
                                 SERVICE_LATENCY_BUCKETS - 1,
                                 (double)stats[i].latency_sum_us / 1e6);
    }
    one(page, "sluice_connections", METRIC_GAUGE, "Connections open.",
        (double)service_connections(b->service));
    one(page, "sluice_refused_total", METRIC_COUNTER,
        "Connections over a limit, and frames no handler saw.",
        (double)service_refused(b->service));
}

static void collect_net(struct server *b, struct metrics_page *page)
{
    double in = 0, out = 0;
    for (size_t i = 0; i < b->opts.loop_count; i++) {
        const struct net_stats *s = conn_stats(b->opts.loops[i]);
        in += (double)s->bytes_in;
        out += (double)s->bytes_out;
    }
    one(page, "sluice_network_received_bytes_total", METRIC_COUNTER, "Bytes received.", in);
    one(page, "sluice_network_sent_bytes_total", METRIC_COUNTER, "Bytes sent.", out);
    one(page, "sluice_queued_bytes", METRIC_GAUGE, "Bytes of incomplete frames and unsent answers.",
        (double)b->budget.used);
}

/* --- logs --------------------------------------------------------------------------- */

static void collect_logs(struct server *b, struct metrics_page *page)
{
    struct log_manager_stats s;
    log_manager_stats(b->logs, &s);
    one(page, "sluice_data_dirs", METRIC_GAUGE, "Data directories.", (double)s.dirs);
    one(page, "sluice_data_dirs_fenced", METRIC_GAUGE,
        "Data directories out of use after an I/O error.", (double)s.dirs_fenced);
    one(page, "sluice_flushes_total", METRIC_COUNTER, "Group commits.", (double)s.flushes);
    one(page, "sluice_flushed_logs_total", METRIC_COUNTER, "Logs made durable by them.",
        (double)s.flushed_logs);
    one(page, "sluice_flush_seconds_total", METRIC_COUNTER, "Time in fdatasync and syncfs.",
        (double)s.flush_us_total / 1e6);
}

struct one_partition {
    char topic[TOPIC_NAME_MAX + 1];
    char partition[12];
    struct partition_ends ends;
};

static void note_partition(void *arg, struct partition *p)
{
    struct one_partition one_p;
    const struct log_identity *id = partition_identity(p);
    snprintf(one_p.topic, sizeof one_p.topic, "%s", id->topic);
    snprintf(one_p.partition, sizeof one_p.partition, "%u", id->partition);
    partition_ends(p, &one_p.ends);
    buf_append(arg, &one_p, sizeof one_p);
}

static void collect_partitions(struct server *b, struct metrics_page *page)
{
    struct buf found = {0};
    partition_table_each(b->table, note_partition, &found);
    const struct one_partition *all = (const struct one_partition *)(const void *)found.data;
    const size_t count = found.size / sizeof *all;

#define EACH(name, help, field)                                                                    \
    metrics_family(page, name, METRIC_GAUGE, help);                                                \
    for (size_t i = 0; i < count; i++) {                                                           \
        const struct metric_label labels[] = {{"topic", all[i].topic},                             \
                                              {"partition", all[i].partition}};                    \
        metrics_sample(page, labels, 2, (double)all[i].ends.field);                                \
    }
    EACH("sluice_partition_log_start_offset", "First offset that can be read.", log_start_offset)
    EACH("sluice_partition_log_end_offset", "Offset of the next record.", log_end_offset)
    EACH("sluice_partition_high_watermark", "Records below it can be read.", high_watermark)
    EACH("sluice_partition_flushed_offset", "Records below it are durable here.", flushed_offset)
    EACH("sluice_partition_size_bytes", "Bytes of the partition's segments.", size_bytes)
    EACH("sluice_partition_segments", "Segments of the partition.", segment_count)
    EACH("sluice_partition_is_leader", "1: this broker leads the partition.", is_leader)
#undef EACH
    one(page, "sluice_partitions", METRIC_GAUGE, "Partitions held by this broker.", (double)count);
    buf_deinit(&found);
}

static void collect(void *arg, struct metrics_page *page)
{
    struct server *b = arg;
    one(page, "sluice_broker_ready", METRIC_GAUGE, "1: the broker serves all its partitions.",
        b->state == SERVER_READY);
    one(page, "sluice_controller_is_elected", METRIC_GAUGE, "1: this broker is the controller.",
        controller_is_elected(b->controller));
    one(page, "sluice_controller_backlog", METRIC_GAUGE, "Operations that wait for the controller.",
        (double)controller_backlog(b->controller));
    collect_requests(b, page);
    collect_net(b, page);
    collect_logs(b, page);
    collect_partitions(b, page);
}

void server_metrics_add(struct metrics *m, struct server *b)
{
    metrics_add_collector(m, collect, b);
}
