/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sluice perf produce: how fast records are sent and acknowledged.
 *
 * Latency is from the call of send (at a --rate: from the time at which the
 * record was due, so that a stall counts for every record it delayed) to its
 * acknowledgement.
 */
#include "clients/tools/clock.h"
#include "clients/tools/commands.h"
#include "clients/tools/interrupt.h"
#include "clients/tools/perf.h"
#include "proto/base/limits.h"

static const struct option options[] = {
    {.name = "records",
     .kind = OPTION_NUMBER,
     .value = "N",
     .min = 1,
     .max = 1000000000000,
     .fallback = "1000000",
     .help = "How many records, all producers together"},
    {.name = "record-size",
     .kind = OPTION_NUMBER,
     .value = "BYTES",
     .min = 1,
     .max = FRAME_BYTES_MAX,
     .fallback = "100",
     .help = "Size of a record's value"},
    {.name = "acks",
     .kind = OPTION_CHOICE,
     .value = "A",
     .choices = "0|1|all",
     .help = "0, 1 or all (default: all)"},
    {.name = "batch-size",
     .kind = OPTION_NUMBER,
     .value = "BYTES",
     .min = 1,
     .max = FRAME_BYTES_MAX,
     .help = "batch.size of the producers"},
    {.name = "linger-ms",
     .kind = OPTION_NUMBER,
     .value = "MS",
     .min = 0,
     .max = 3600000,
     .help = "linger.ms of the producers"},
    {.name = "compression",
     .kind = OPTION_CHOICE,
     .value = "CODEC",
     .choices = "none|gzip|snappy|lz4|zstd",
     .help = "none, gzip, snappy, lz4 or zstd (default: none); the values compress to a good half"},
    {.name = "rate",
     .kind = OPTION_NUMBER,
     .value = "PER_SECOND",
     .min = 1,
     .max = 1000000000,
     .help = "Records per second, all producers together (default: as fast as possible)"},
    {.name = "producers",
     .kind = OPTION_NUMBER,
     .value = "N",
     .min = 1,
     .max = PERF_WORKERS_MAX,
     .fallback = "1",
     .help = "How many producers, each a process"},
    PERF_PROPERTY_OPTION,
    {0},
};

struct sender {
    struct perf *perf;
    struct perf_result *result;
    sluice_producer *producer;
    struct perf_payload payload;
    uint64_t acked;
    double ns_per_record; /* 0: no rate */
};

static void wake(void *producer)
{
    sluice_producer_wakeup(producer);
}

/* On the library's thread, which is the only one that writes the result until the flush is over. */
static void on_delivery(void *user, const struct sluice_delivery *delivery)
{
    struct sender *const s = user;
    if (delivery->error) {
        atomic_fetch_add(&s->result->failed, 1);
        return;
    }
    histogram_record(&s->result->latency_ns, clock_ns() - (int64_t)(intptr_t)delivery->opaque);
    atomic_store_explicit(&s->result->records, ++s->acked, memory_order_relaxed);
}

/* Waits for the record's turn and gives the time from which its latency counts. */
static int64_t take_turn(const struct sender *s, uint64_t i)
{
    if (s->ns_per_record == 0)
        return clock_ns();
    const int64_t due = s->result->started_ns + (int64_t)((double)i * s->ns_per_record);
    if (due > clock_ns())
        interrupt_sleep_until_ns(due);
    return due;
}

static int send_all(struct sender *s, uint64_t count)
{
    struct sluice_error error;
    for (uint64_t i = 0;
         i < count && interrupt_count() == 0 && atomic_load(&s->result->failed) == 0; i++) {
        const int64_t from = take_turn(s, i);
        const struct sluice_record record = {
            .topic = s->perf->topic,
            .value = perf_payload_at(&s->payload, i),
            .value_size = s->payload.size,
            .opaque = (void *)(intptr_t)from,
        };
        const int code = sluice_producer_send(s->producer, &record, SLUICE_TIMEOUT_DEFAULT, &error);
        if (code != SLUICE_OK && code != SLUICE_E_CANCELLED)
            return cli_fail_error(s->perf->cli, &error);
    }
    return interrupt_count() ? EXIT_FAILED : EXIT_DONE;
}

static int flush(struct sender *s)
{
    struct sluice_error error;
    int code;
    do {
        code = sluice_producer_flush(s->producer, INT64_MAX / 2, &error);
    } while (code == SLUICE_E_CANCELLED && interrupt_count() <= 1);
    s->result->ended_ns = clock_ns();
    if (code == SLUICE_OK)
        return EXIT_DONE;
    cli_fail(s->perf->cli, "%llu records failed",
             (unsigned long long)atomic_load(&s->result->failed));
    return cli_fail_error(s->perf->cli, &error);
}

static int work(struct sender *s, uint64_t count)
{
    struct sluice_error error;
    int32_t partitions;
    if (sluice_producer_partitions(s->producer, s->perf->topic, s->perf->cli->timeout_ms,
                                   &partitions, &error) != SLUICE_OK)
        return cli_fail_error(s->perf->cli, &error);
    s->result->started_ns = perf_ready(s->perf);
    const int sent = send_all(s, count);
    const int flushed = flush(s);
    atomic_fetch_add(&s->perf->shared->bytes, s->acked * s->payload.size);
    return sent == EXIT_DONE ? flushed : sent;
}

static int run_worker(struct perf *p, size_t worker)
{
    const struct args *const a = p->cli->args;
    const int64_t rate = args_number(a, "rate");
    struct sender s = {
        .perf = p,
        .result = &p->shared->results[worker],
        .ns_per_record = rate ? 1e9 * (double)p->workers / (double)rate : 0,
    };
    struct sluice_error error;
    const struct sluice_producer_callbacks callbacks = {.on_delivery = on_delivery, .user = &s};
    sluice_config *const config = cli_config(p->cli, SLUICE_PRODUCER);
    const int code = sluice_producer_new(config, &callbacks, &s.producer, &error);
    sluice_config_free(config);
    if (code != SLUICE_OK)
        return cli_fail_error(p->cli, &error);
    interrupt_wakes(wake, s.producer);
    perf_payload_init(&s.payload, (size_t)args_number(a, "record-size"));
    const int status = work(&s, perf_share(p->records, worker, p->workers));
    interrupt_wakes(NULL, NULL);
    sluice_producer_close(s.producer, 0, NULL);
    perf_payload_deinit(&s.payload);
    return status;
}

static int run(struct cli *cli)
{
    static const char *const keys[][2] = {{"acks", "acks"},
                                          {"batch-size", "batch.size"},
                                          {"linger-ms", "linger.ms"},
                                          {"compression", "compression.type"}};
    if (!cli_load_settings(cli, SLUICE_PRODUCER))
        return EXIT_FAILED;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (args_has(cli->args, keys[i][0]))
            cli_set(cli, keys[i][1], args_text(cli->args, keys[i][0]));
    struct perf p = {
        .cli = cli,
        .topic = cli->args->operands[0],
        .records = (uint64_t)args_number(cli->args, "records"),
        .workers = (size_t)args_number(cli->args, "producers"),
        .roles = SLUICE_PRODUCER,
        .has_latency = true,
    };
    if (p.workers > p.records)
        p.workers = (size_t)p.records;
    p.bytes_wanted = p.records * (uint64_t)args_number(cli->args, "record-size");
    return perf_run(&p, run_worker);
}

const struct command perf_produce_command = {
    .group = "perf",
    .name = "produce",
    .operands = "TOPIC",
    .operands_min = 1,
    .operands_max = 1,
    .summary = "Measure how fast records are sent and acknowledged",
    .details =
        "Time runs from the first send to the last acknowledgement; latency from the send of a "
        "record, or with --rate from the moment it was due, to its acknowledgement. MB are "
        "10^6 bytes of values.",
    .examples = "  sluice perf produce orders --records 5000000 --record-size 100 --acks all\n"
                "  sluice --output json perf produce orders --rate 10000 --records 100000\n",
    .options = options,
    .run = run,
};
