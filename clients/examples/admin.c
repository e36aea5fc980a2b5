/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Creates a topic, describes it, and deletes it again. Servers are those of SLUICE_BOOTSTRAP, else
 * localhost:9290.
 *
 *     admin [TOPIC [PARTITIONS]]
 */
#include <sluice/sluice.h>

#include <stdio.h>
#include <stdlib.h>

static void print(const struct sluice_cluster *cluster)
{
    printf("cluster %s: %zu brokers, %zu topics\n", cluster->cluster_id, cluster->broker_count,
           cluster->topic_count);
    for (size_t i = 0; i < cluster->topic_count; i++) {
        const struct sluice_topic *t = &cluster->topics[i];
        printf("topic %s: %zu partitions\n", t->name, t->partition_count);
        for (size_t k = 0; k < t->partition_count; k++)
            printf("  partition %d: leader %d, epoch %d\n", t->partitions[k].partition,
                   t->partitions[k].leader, t->partitions[k].leader_epoch);
    }
}

static int run(sluice_admin *admin, const char *name, int32_t partitions,
               struct sluice_error *error)
{
    const struct sluice_property config = {.key = "retention.ms", .value = "3600000"};
    const struct sluice_new_topic topic = {
        .name = name, .partitions = partitions, .configs = &config, .config_count = 1};
    int code =
        sluice_admin_create_topics(admin, &topic, 1, false, SLUICE_TIMEOUT_DEFAULT, NULL, error);
    if (code != SLUICE_OK)
        return code;

    /* An admin sees what it has changed. */
    struct sluice_cluster *cluster;
    code = sluice_admin_describe(admin, &name, 1, SLUICE_TIMEOUT_DEFAULT, &cluster, error);
    if (code != SLUICE_OK)
        return code;
    print(cluster);
    sluice_cluster_free(cluster);

    return sluice_admin_delete_topics(admin, &name, 1, SLUICE_TIMEOUT_DEFAULT, NULL, error);
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
    const int partitions = argc > 2 ? atoi(argv[2]) : 3;
    struct sluice_error error;
    sluice_config *config = sluice_config_new();
    sluice_config_set(config, "bootstrap.servers", bootstrap());
    sluice_admin *admin;
    int code = sluice_admin_new(config, &admin, &error);
    sluice_config_free(config);
    if (code == SLUICE_OK) {
        code = run(admin, topic, partitions, &error);
        sluice_admin_free(admin);
    }
    if (code != SLUICE_OK)
        fprintf(stderr, "%s\n", error.text);
    return code == SLUICE_OK ? 0 : 1;
}
