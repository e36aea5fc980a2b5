/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client library, used as an application uses it: one thread, the public
 * header alone. to=HOST:PORT is metad's address.
 *
 *   send     records=N record_bytes=   time inside sluice_producer_send, and until all were
 * acknowledged consume  records=N                 time of polling them, every value's bytes touched
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sluice/sluice.h"
#include "tests/bench/bench.h"

static sluice_config *config_of(const struct words *w)
{
    sluice_config *c = sluice_config_new();
    sluice_config_set(c, "bootstrap.servers", word_need(w, "to"));
    for (int i = 0; i < w->count; i++) {
        /* set:KEY=VALUE */
        char key[128];
        const char *equals = strchr(w->at[i], '=');
        if (strncmp(w->at[i], "set:", 4) != 0 || !equals)
            continue;
        snprintf(key, sizeof key, "%.*s", (int)(equals - w->at[i] - 4), w->at[i] + 4);
        sluice_config_set(c, key, equals + 1);
    }
    return c;
}

static void must(int code, const char *what, const struct sluice_error *e)
{
    if (code != SLUICE_OK)
        die("%s: %s", what, e->text);
}

static uint64_t delivered;
static uint64_t failed;

static void on_delivery(void *user, const struct sluice_delivery *d)
{
    (void)user;
    delivered++;
    failed += d->error != NULL;
}

static void run_send(const struct words *w)
{
    pin(w);
    const int64_t records = word_int(w, "records", 1000000);
    const size_t size = (size_t)word_int(w, "record_bytes", 100);
    const int64_t pause =
        word_int(w, "stride", 1000); /* records between two readings of the clock */
    const char *topic = word(w, "topic", "bench");
    struct sluice_error error;
    sluice_config *config = config_of(w);
    sluice_producer *producer;
    const struct sluice_producer_callbacks callbacks = {.on_delivery = on_delivery};
    must(sluice_producer_new(config, &callbacks, &producer, &error), "producer", &error);
    char *value = calloc(1, size + 8);
    const struct sluice_record record = {.topic = topic, .value = value, .value_size = size};
    must(sluice_producer_send(producer, &record, 10000, &error), "send", &error);
    must(sluice_producer_flush(producer, 10000, &error), "flush", &error);

    /* Strides that waited for memory are slow: the median is the path of a send itself. */
    struct samples strides = {0};
    const int64_t start = now_ns();
    for (int64_t i = 0; i < records; i += pause) {
        const int64_t before = now_ns();
        for (int64_t j = 0; j < pause; j++)
            must(sluice_producer_send(producer, &record, 60000, &error), "send", &error);
        samples_add(&strides, now_ns() - before);
    }
    const double sent_s = (double)(now_ns() - start) / 1e9;
    must(sluice_producer_flush(producer, 60000, &error), "flush", &error);
    const double acked_s = (double)(now_ns() - start) / 1e9;
    struct sluice_producer_stats stats;
    sluice_producer_stats(producer, &stats);
    must(sluice_producer_close(producer, 10000, &error), "close", &error);
    if (failed)
        die("%" PRIu64 " records were not delivered", failed);
    if (stats.records_acked != delivered)
        die("%" PRIu64 " callbacks for %" PRIu64 " records", delivered, stats.records_acked);
    const double n = (double)(strides.count * (size_t)pause);
    printf(
        "{\"records\":%.0f,\"send_s\":%.4f,\"acked_s\":%.4f,\"send_ns\":%.1f,\"acked_mrps\":%.3f,"
        "\"batches\":%" PRIu64 ",\"memory_waits\":%" PRIu64,
        n, sent_s, acked_s, sent_s * 1e9 / n, n / acked_s / 1e6, stats.batches, stats.memory_waits);
    samples_print(&strides, "stride");
    printf(",\"stride\":%" PRId64 "}\n", pause);
    sluice_config_free(config);
    free(value);
}

static void run_consume(const struct words *w)
{
    pin(w);
    const int64_t records = word_int(w, "records", 1000000);
    struct sluice_error error;
    sluice_config *config = config_of(w);
    sluice_consumer *consumer;
    must(sluice_consumer_new(config, &consumer, &error), "consumer", &error);
    const struct sluice_topic_partition from = {.topic = word(w, "topic", "bench"),
                                                .offset = SLUICE_OFFSET_BEGINNING};
    const int64_t start = now_ns();
    must(sluice_consumer_assign(consumer, &from, 1, &error), "assign", &error);
    int64_t seen = 0;
    uint64_t sum = 0;
    int64_t next = -1;
    while (seen < records) {
        struct sluice_poll p;
        must(sluice_consumer_poll(consumer, 10000, &p, &error), "poll", &error);
        if (p.message_count == 0)
            die("only %" PRId64 " records came", seen);
        for (size_t i = 0; i < p.message_count; i++) {
            const struct sluice_message *m = &p.messages[i];
            if (next >= 0 && m->offset != next)
                die("offset %" PRId64 " came instead of %" PRId64, m->offset, next);
            next = m->offset + 1;
            sum += m->value_size + (m->value_size ? *(const uint8_t *)m->value : 0);
        }
        seen += (int64_t)p.message_count;
    }
    const double seconds = (double)(now_ns() - start) / 1e9;
    must(sluice_consumer_close(consumer, 10000, &error), "close", &error);
    printf("{\"records\":%" PRId64 ",\"seconds\":%.4f,\"mrps\":%.3f,\"sum\":%" PRIu64 "}\n", seen,
           seconds, (double)seen / seconds / 1e6, sum);
    sluice_config_free(config);
}

int main(int argc, char **argv)
{
    static const struct command commands[] = {{"send", run_send}, {"consume", run_consume}, {0}};
    return run_command(commands, argc, argv);
}
