/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sluice perf consume: how fast records are read, from the beginning on.
 * Partitions are dealt out to the consumers; all count towards one goal.
 */
#include "clients/tools/clock.h"
#include "clients/tools/commands.h"
#include "clients/tools/interrupt.h"
#include "clients/tools/perf.h"
#include "proto/base/limits.h"
#include "proto/base/mem.h"

enum { WAIT_MS = 100 /* between two looks whether the others reached the goal */ };

static const struct option options[] = {
    {.name = "records",
     .kind = OPTION_NUMBER,
     .value = "N",
     .min = 1,
     .max = 1000000000000,
     .fallback = "1000000",
     .help = "How many records, all consumers together"},
    {.name = "consumers",
     .kind = OPTION_NUMBER,
     .value = "N",
     .min = 1,
     .max = PERF_WORKERS_MAX,
     .fallback = "1",
     .help = "How many consumers, each a process; at most one per partition"},
    PERF_PROPERTY_OPTION,
    {0},
};

struct reader_state {
    struct perf *perf;
    struct perf_result *result;
    sluice_consumer *consumer;
};

static void wake(void *consumer)
{
    sluice_consumer_wakeup(consumer);
}

static int assign(struct reader_state *r, size_t worker, int32_t count)
{
    struct sluice_topic_partition *const mine = mem_alloc(sizeof *mine * (size_t)count);
    size_t n = 0;
    for (size_t i = worker; i < (size_t)count; i += r->perf->workers)
        mine[n++] = (struct sluice_topic_partition){
            .topic = r->perf->topic, .partition = (int32_t)i, .offset = SLUICE_OFFSET_BEGINNING};
    struct sluice_error error;
    const int code = sluice_consumer_assign(r->consumer, mine, n, &error);
    mem_free(mine);
    return code == SLUICE_OK ? EXIT_DONE : cli_fail_error(r->perf->cli, &error);
}

/* Takes what is still wanted of the messages that came. */
static void count_messages(struct reader_state *r, const struct sluice_poll *polled)
{
    struct perf_shared *const shared = r->perf->shared;
    const uint64_t before = atomic_fetch_add(&shared->total, polled->message_count);
    const uint64_t left = before < r->perf->records ? r->perf->records - before : 0;
    const size_t taken = polled->message_count < left ? polled->message_count : (size_t)left;
    uint64_t bytes = 0;
    for (size_t i = 0; i < taken; i++)
        bytes += polled->messages[i].key_size + polled->messages[i].value_size;
    if (taken == 0)
        return;
    atomic_fetch_add(&shared->bytes, bytes);
    atomic_fetch_add_explicit(&r->result->records, taken, memory_order_relaxed);
    r->result->ended_ns = clock_ns();
}

static int find_failure(struct reader_state *r, const struct sluice_poll *polled)
{
    for (size_t i = 0; i < polled->event_count; i++) {
        const struct sluice_event *const e = &polled->events[i];
        if (e->type == SLUICE_EVENT_ERROR && e->error->error_class != SLUICE_CLASS_RETRY &&
            e->error->error_class != SLUICE_CLASS_REROUTE)
            return cli_fail_error(r->perf->cli, e->error);
    }
    return EXIT_DONE;
}

static int read_all(struct reader_state *r)
{
    struct sluice_error error;
    uint64_t seen = 0;
    int64_t seen_at = r->result->started_ns;
    while (interrupt_count() == 0) {
        const uint64_t total = atomic_load(&r->perf->shared->total);
        if (total >= r->perf->records)
            return EXIT_DONE;
        if (total > seen) {
            seen = total;
            seen_at = clock_ns();
        } else if (clock_ns() - seen_at > r->perf->cli->timeout_ms * 1000000) {
            return EXIT_DONE; /* nobody gets any more; the summary says how many there were */
        }
        struct sluice_poll polled = {0};
        const int code = sluice_consumer_poll(r->consumer, WAIT_MS, &polled, &error);
        if (code == SLUICE_E_CANCELLED)
            continue;
        if (code != SLUICE_OK)
            return cli_fail_error(r->perf->cli, &error);
        count_messages(r, &polled);
        if (find_failure(r, &polled) != EXIT_DONE)
            return EXIT_FAILED;
    }
    return EXIT_FAILED;
}

static int32_t partitions_of_topic(struct reader_state *r)
{
    struct sluice_error error;
    int32_t count;
    if (sluice_consumer_partitions(r->consumer, r->perf->topic, r->perf->cli->timeout_ms, &count,
                                   &error) == SLUICE_OK)
        return count;
    cli_report_error(r->perf->cli, &error);
    return -1;
}

static int run_worker(struct perf *p, size_t worker)
{
    struct reader_state r = {.perf = p, .result = &p->shared->results[worker]};
    struct sluice_error error;
    sluice_config *const config = cli_config(p->cli, SLUICE_CONSUMER);
    const int code = sluice_consumer_new(config, &r.consumer, &error);
    sluice_config_free(config);
    if (code != SLUICE_OK)
        return cli_fail_error(p->cli, &error);
    interrupt_wakes(wake, r.consumer);
    const int32_t count = partitions_of_topic(&r);
    int status = EXIT_FAILED;
    if (count > 0) {
        r.result->started_ns = perf_ready(p);
        status = assign(&r, worker, count);
        if (status == EXIT_DONE)
            status = read_all(&r);
    }
    interrupt_wakes(NULL, NULL);
    sluice_consumer_close(r.consumer, 0, NULL);
    return status;
}

static int run(struct cli *cli)
{
    if (!cli_load_settings(cli, SLUICE_CONSUMER))
        return EXIT_FAILED;
    struct perf p = {
        .cli = cli,
        .topic = cli->args->operands[0],
        .records = (uint64_t)args_number(cli->args, "records"),
        .workers = (size_t)args_number(cli->args, "consumers"),
        .roles = SLUICE_CONSUMER,
    };
    const int32_t partitions = cli_partition_count(cli, p.topic);
    if (partitions < 0)
        return EXIT_FAILED;
    if (p.workers > (size_t)partitions)
        return cli_usage(cli,
                         "--consumers %zu: topic %s has %d partition%s, and each consumer needs "
                         "one of its own",
                         p.workers, p.topic, partitions, partitions == 1 ? "" : "s");
    return perf_run(&p, run_worker);
}

const struct command perf_consume_command = {
    .group = "perf",
    .name = "consume",
    .operands = "TOPIC",
    .operands_min = 1,
    .operands_max = 1,
    .summary = "Measure how fast records are read, from the beginning of all partitions on",
    .details =
        "Time runs from the assignment to the last record; latency is not measured (null). If "
        "nothing more comes for --timeout, it reports what there was and fails. MB are 10^6 "
        "bytes of keys and values.",
    .examples = "  sluice perf consume orders --records 5000000 --consumers 2\n",
    .options = options,
    .run = run,
};
