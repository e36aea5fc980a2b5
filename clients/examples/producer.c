/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sends records to a topic and tells how each of them ended.
 *
 *     producer [TOPIC [COUNT]]
 *
 * Servers are those of SLUICE_BOOTSTRAP, else localhost:9290. Exit status 0 only if every record
 * was acknowledged.
 */
#include <sluice/sluice.h>

#include <stdio.h>
#include <stdlib.h>

/* Called by the producer's background thread, in the order of sending within a partition. */
static void on_delivery(void *user, const struct sluice_delivery *delivery)
{
    long *acknowledged = user;
    if (delivery->error)
        fprintf(stderr, "record %ld: %s\n", (long)(intptr_t)delivery->opaque,
                delivery->error->text);
    else
        ++*acknowledged;
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
    const long count = argc > 2 ? atol(argv[2]) : 1000;
    long acknowledged = 0;
    struct sluice_error error;

    sluice_config *config = sluice_config_new();
    sluice_config_set(config, "bootstrap.servers", bootstrap());
    sluice_config_set(config, "compression.type", "zstd");
    sluice_config_set(config, "linger.ms", "10");

    sluice_producer *producer;
    const struct sluice_producer_callbacks callbacks = {.on_delivery = on_delivery,
                                                        .user = &acknowledged};
    int code = sluice_producer_new(config, &callbacks, &producer, &error);
    sluice_config_free(config);
    if (code != SLUICE_OK) {
        fprintf(stderr, "%s\n", error.text);
        return 1;
    }

    for (long i = 0; i < count && code == SLUICE_OK; i++) {
        char key[32], value[64];
        const struct sluice_record record = {
            .topic = topic,
            .key = key,
            .key_size = (size_t)snprintf(key, sizeof key, "key-%ld", i % 10),
            .value = value,
            .value_size = (size_t)snprintf(value, sizeof value, "record %ld", i),
            .opaque = (void *)(intptr_t)i,
        };
        code = sluice_producer_send(producer, &record, SLUICE_TIMEOUT_DEFAULT, &error);
    }
    if (code != SLUICE_OK)
        fprintf(stderr, "%s\n", error.text);

    /* Waits for what is under way, then frees the producer, whatever comes. */
    if (sluice_producer_close(producer, 30000, &error) != SLUICE_OK)
        fprintf(stderr, "%s\n", error.text);
    printf("%ld of %ld records acknowledged\n", acknowledged, count);
    return acknowledged == count ? 0 : 1;
}
