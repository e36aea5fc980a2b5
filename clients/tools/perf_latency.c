/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sluice perf latency: how long a record takes from producer to consumer.
 *
 * Two processes share a clock: worker 1 sends at a rate, worker 0 reads. A value begins with the
 * run's number and the time at which the record was due, 8 bytes each, so that a
 * stall counts for every record it delayed, and records of others are told apart.
 */
#include <string.h>
#include <unistd.h>

#include "clients/tools/clock.h"
#include "clients/tools/commands.h"
#include "clients/tools/interrupt.h"
#include "clients/tools/perf.h"
#include "proto/base/limits.h"
#include "proto/base/mem.h"
#include "proto/base/rng.h"

enum { STAMP_BYTES = 16, WAIT_MS = 100 };

static const struct option options[] = {
    {.name = "records",
     .kind = OPTION_NUMBER,
     .value = "N",
     .min = 1,
     .max = 1000000000,
     .fallback = "10000",
     .help = "How many records (one more warms up)"},
    {.name = "record-size",
     .kind = OPTION_NUMBER,
     .value = "BYTES",
     .min = STAMP_BYTES,
     .max = FRAME_BYTES_MAX,
     .fallback = "100",
     .help = "Size of a record's value, at least 16"},
    {.name = "rate",
     .kind = OPTION_NUMBER,
     .value = "PER_SECOND",
     .min = 1,
     .max = 10000000,
     .fallback = "1000",
     .help = "Records per second"},
    {.name = "acks",
     .kind = OPTION_CHOICE,
     .value = "A",
     .choices = "0|1|all",
     .help = "0, 1 or all (default: all)"},
    {.name = "linger-ms",
     .kind = OPTION_NUMBER,
     .value = "MS",
     .min = 0,
     .max = 3600000,
     .fallback = "0",
     .help = "linger.ms of the producer"},
    PERF_PROPERTY_OPTION,
    {0},
};

struct stamp {
    uint64_t run;
    int64_t due_ns;
};
_Static_assert(sizeof(struct stamp) == STAMP_BYTES, "written as it lies in memory");

/* Of this run; set before the fork. */
struct latency {
    struct perf perf;
    uint64_t run;
};

static struct latency *latency_of(struct perf *p)
{
    return (struct latency *)p; /* its first member */
}

/* --- the reader --------------------------------------------------------------------- */

static void wake_consumer(void *consumer)
{
    sluice_consumer_wakeup(consumer);
}

/* All partitions, from where their ends are now. */
static int start_at_end(struct perf *p, sluice_consumer *consumer)
{
    struct sluice_error error;
    int32_t count;
    int code = sluice_consumer_partitions(consumer, p->topic, p->cli->timeout_ms, &count, &error);
    if (code != SLUICE_OK)
        return cli_fail_error(p->cli, &error);
    struct sluice_topic_partition *const all = mem_alloc(sizeof *all * (size_t)(count + 1));
    for (int32_t i = 0; i < count; i++)
        all[i] = (struct sluice_topic_partition){
            .topic = p->topic, .partition = i, .offset = SLUICE_OFFSET_END};
    code = sluice_consumer_assign(consumer, all, (size_t)count, &error);
    for (int32_t i = 0; code == SLUICE_OK && i < count; i++) {
        int64_t offset;
        code = sluice_consumer_position(consumer, p->topic, i, p->cli->timeout_ms, &offset, &error);
    }
    mem_free(all);
    return code == SLUICE_OK ? EXIT_DONE : cli_fail_error(p->cli, &error);
}

static void take_messages(struct perf *p, struct perf_result *result,
                          const struct sluice_poll *polled)
{
    const int64_t now = clock_ns();
    for (size_t i = 0; i < polled->message_count; i++) {
        const struct sluice_message *const m = &polled->messages[i];
        struct stamp stamp;
        if (m->value_size < sizeof stamp)
            continue;
        memcpy(&stamp, m->value, sizeof stamp);
        if (stamp.run != latency_of(p)->run)
            continue;
        histogram_record(&result->latency_ns, now - stamp.due_ns);
        atomic_fetch_add(&result->records, 1);
        atomic_fetch_add(&p->shared->bytes, m->value_size);
        result->ended_ns = now;
    }
}

static int read_all(struct perf *p, struct perf_result *result, sluice_consumer *consumer)
{
    struct sluice_error error;
    int64_t heard_ns = clock_ns();
    while (atomic_load(&result->records) < p->records) {
        struct sluice_poll polled = {0};
        const int code = sluice_consumer_poll(consumer, WAIT_MS, &polled, &error);
        if (code != SLUICE_OK && code != SLUICE_E_CANCELLED)
            return cli_fail_error(p->cli, &error);
        take_messages(p, result, &polled);
        /* The sender's clock ticks too: with a slow rate nothing may come for a while. */
        const int64_t sent = (int64_t)atomic_load(&p->shared->total);
        if (polled.message_count > 0 || (int64_t)atomic_load(&result->records) >= sent)
            heard_ns = clock_ns();
        const bool is_sender_gone = p->shared->results[1].ended_ns > 0;
        if (is_sender_gone && (int64_t)atomic_load(&result->records) >= sent)
            return EXIT_DONE;
        if (clock_ns() - heard_ns > p->cli->timeout_ms * 1000000)
            return cli_fail(p->cli, "%llu of %lld records sent did not arrive within %lld ms",
                            (unsigned long long)sent - atomic_load(&result->records),
                            (long long)sent, (long long)p->cli->timeout_ms);
    }
    return EXIT_DONE;
}

static int run_reader(struct perf *p, struct perf_result *result)
{
    struct sluice_error error;
    sluice_consumer *consumer;
    sluice_config *const config = cli_config(p->cli, SLUICE_CONSUMER);
    const int code = sluice_consumer_new(config, &consumer, &error);
    sluice_config_free(config);
    if (code != SLUICE_OK)
        return cli_fail_error(p->cli, &error);
    interrupt_wakes(wake_consumer, consumer);
    int status = start_at_end(p, consumer);
    if (status == EXIT_DONE) {
        result->started_ns = perf_ready(p);
        status = read_all(p, result, consumer);
    }
    interrupt_wakes(NULL, NULL);
    sluice_consumer_close(consumer, 0, NULL);
    return status;
}

/* --- the sender --------------------------------------------------------------------- */

static void wake_producer(void *producer)
{
    sluice_producer_wakeup(producer);
}

static int send_stamped(struct perf *p, sluice_producer *producer, uint8_t *value, size_t size,
                        const struct stamp *stamp)
{
    memcpy(value, stamp, sizeof *stamp);
    struct sluice_error error;
    const struct sluice_record record = {.topic = p->topic, .value = value, .value_size = size};
    if (sluice_producer_send(producer, &record, SLUICE_TIMEOUT_DEFAULT, &error) == SLUICE_OK)
        return EXIT_DONE;
    return cli_fail_error(p->cli, &error);
}

static int flush(struct perf *p, sluice_producer *producer)
{
    struct sluice_error error;
    if (sluice_producer_flush(producer, p->cli->timeout_ms, &error) == SLUICE_OK)
        return EXIT_DONE;
    return cli_fail_error(p->cli, &error);
}

static int send_all(struct perf *p, sluice_producer *producer, uint8_t *value, size_t size)
{
    const struct stamp warm_up = {.run = ~latency_of(p)->run};
    if (send_stamped(p, producer, value, size, &warm_up) != EXIT_DONE ||
        flush(p, producer) != EXIT_DONE)
        return EXIT_FAILED;
    const double interval_ns = 1e9 / (double)args_number(p->cli->args, "rate");
    const int64_t start = perf_ready(p);
    for (uint64_t i = 0; i < p->records; i++) {
        const struct stamp stamp = {
            .run = latency_of(p)->run,
            .due_ns = start + (int64_t)((double)i * interval_ns),
        };
        interrupt_sleep_until_ns(stamp.due_ns);
        if (interrupt_count() > 0)
            return EXIT_FAILED;
        if (send_stamped(p, producer, value, size, &stamp) != EXIT_DONE)
            return EXIT_FAILED;
        atomic_fetch_add(&p->shared->total, 1);
    }
    return flush(p, producer);
}

static int run_sender(struct perf *p, struct perf_result *result)
{
    struct sluice_error error;
    sluice_producer *producer;
    sluice_config *const config = cli_config(p->cli, SLUICE_PRODUCER);
    const int code = sluice_producer_new(config, NULL, &producer, &error);
    sluice_config_free(config);
    if (code != SLUICE_OK)
        return cli_fail_error(p->cli, &error);
    interrupt_wakes(wake_producer, producer);
    const size_t size = (size_t)args_number(p->cli->args, "record-size");
    struct perf_payload payload;
    perf_payload_init(&payload, size);
    const int status = send_all(p, producer, payload.data, size);
    interrupt_wakes(NULL, NULL);
    /* The reader takes this as: no more come. */
    result->ended_ns = clock_ns();
    sluice_producer_close(producer, 0, NULL);
    perf_payload_deinit(&payload);
    return status;
}

static int run_worker(struct perf *p, size_t worker)
{
    struct perf_result *const result = &p->shared->results[worker];
    return worker == 0 ? run_reader(p, result) : run_sender(p, result);
}

static int run(struct cli *cli)
{
    if (!cli_load_settings(cli, SLUICE_PRODUCER | SLUICE_CONSUMER))
        return EXIT_FAILED;
    if (args_has(cli->args, "acks"))
        cli_set(cli, "acks", args_text(cli->args, "acks"));
    cli_set(cli, "linger.ms", args_text(cli->args, "linger-ms"));
    struct rng rng;
    rng_init_from_system(&rng);
    struct latency latency = {
        .perf =
            {
                .cli = cli,
                .topic = cli->args->operands[0],
                .records = (uint64_t)args_number(cli->args, "records"),
                .workers = 2,
                .roles = SLUICE_PRODUCER | SLUICE_CONSUMER,
                .has_latency = true,
            },
        .run = rng_u64(&rng),
    };
    latency.perf.bytes_wanted =
        latency.perf.records * (uint64_t)args_number(cli->args, "record-size");
    return perf_run(&latency.perf, run_worker);
}

const struct command perf_latency_command = {
    .group = "perf",
    .name = "latency",
    .operands = "TOPIC",
    .operands_min = 1,
    .operands_max = 1,
    .summary = "Measure how long a record takes from producer to consumer",
    .details = "One process sends at a rate, another reads all partitions; latency runs from the "
               "moment a record was due to be sent until the consumer has it.",
    .examples = "  sluice perf latency orders --records 10000 --rate 1000 --record-size 100\n",
    .options = options,
    .run = run,
};
