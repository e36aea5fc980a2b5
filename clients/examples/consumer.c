/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Prints all records of a topic, from the beginning to what was the end, one a line:
 * partition, offset, key, value. Ctrl-C ends it earlier. Servers are those of SLUICE_BOOTSTRAP,
 * else localhost:9290.
 *
 *     consumer [TOPIC]
 */
#include <sluice/sluice.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

static sluice_consumer *consumer;

static void on_interrupt(int signal_number)
{
    (void)signal_number;
    sluice_consumer_wakeup(consumer); /* safe in signal handlers */
}

static void print(const struct sluice_message *m)
{
    printf("%d\t%lld\t%.*s\t%.*s\n", m->partition, (long long)m->offset, (int)m->key_size,
           m->key ? (const char *)m->key : "", (int)m->value_size,
           m->value ? (const char *)m->value : "");
}

/* Polls until each partition's end was reached once. The code that ended it. */
static int read_all(int32_t partitions, struct sluice_error *error)
{
    int32_t ended = 0;
    while (ended < partitions) {
        struct sluice_poll poll;
        const int code = sluice_consumer_poll(consumer, 1000, &poll, error);
        if (code != SLUICE_OK)
            return code;
        /* Views, valid until the next poll. */
        for (size_t i = 0; i < poll.message_count; i++)
            print(&poll.messages[i]);
        for (size_t i = 0; i < poll.event_count; i++) {
            if (poll.events[i].type == SLUICE_EVENT_END)
                ended++;
            else
                fprintf(stderr, "%s\n", poll.events[i].error->text);
        }
    }
    return SLUICE_OK;
}

static int assign_all(const char *topic, int32_t partitions, struct sluice_error *error)
{
    struct sluice_topic_partition *all = calloc((size_t)partitions, sizeof *all);
    if (!all)
        abort();
    for (int32_t i = 0; i < partitions; i++)
        all[i] = (struct sluice_topic_partition){
            .topic = topic, .partition = i, .offset = SLUICE_OFFSET_BEGINNING};
    const int code = sluice_consumer_assign(consumer, all, (size_t)partitions, error);
    free(all);
    return code;
}

/* The same default as the `sluice` command. */
static const char *bootstrap(void)
{
    const char *servers = getenv("SLUICE_BOOTSTRAP");
    return servers ? servers : "localhost:9290";
}

int main(int argc, char **argv)
{
    const char *topic = argc > 1 ? argv[1] : "example";
    struct sluice_error error;
    sluice_config *config = sluice_config_new();
    sluice_config_set(config, "bootstrap.servers", bootstrap());
    sluice_config_set(config, "enable.partition.eof", "true");
    int code = sluice_consumer_new(config, &consumer, &error);
    sluice_config_free(config);
    if (code != SLUICE_OK) {
        fprintf(stderr, "%s\n", error.text);
        return 1;
    }
    signal(SIGINT, on_interrupt);

    int32_t partitions = 0;
    code = sluice_consumer_partitions(consumer, topic, SLUICE_TIMEOUT_DEFAULT, &partitions, &error);
    if (code == SLUICE_OK)
        code = assign_all(topic, partitions, &error);
    if (code == SLUICE_OK)
        code = read_all(partitions, &error);
    if (code != SLUICE_OK && code != SLUICE_E_CANCELLED)
        fprintf(stderr, "%s\n", error.text);
    signal(SIGINT, SIG_DFL);
    sluice_consumer_close(consumer, 1000, NULL);
    return code == SLUICE_OK ? 0 : 1;
}
