/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/lib/settings.h"

#include <stdio.h>
#include <string.h>

#include "clients/lib/problem.h"
#include "proto/base/conf.h"
#include "proto/base/limits.h"
#include "proto/base/mem.h"
#include "proto/wire/codec.h"

struct pair {
    char *key, *value;
};

struct sluice_config {
    struct pair *pairs;
    size_t count;
};

sluice_config *sluice_config_new(void)
{
    return MEM_NEW(sluice_config);
}

static void pair_remove(sluice_config *config, size_t i)
{
    mem_free(config->pairs[i].key);
    mem_free(config->pairs[i].value);
    config->pairs[i] = config->pairs[--config->count];
}

void sluice_config_free(sluice_config *config)
{
    if (!config)
        return;
    while (config->count)
        pair_remove(config, config->count - 1);
    mem_free(config->pairs);
    mem_free(config);
}

static size_t pair_find(const sluice_config *config, const char *key)
{
    size_t i = 0;
    while (i < config->count && strcmp(config->pairs[i].key, key))
        i++;
    return i;
}

void sluice_config_set(sluice_config *config, const char *key, const char *value)
{
    const size_t i = pair_find(config, key);
    if (i < config->count)
        pair_remove(config, i);
    if (!value)
        return;
    config->pairs = mem_realloc(config->pairs, (config->count + 1) * sizeof *config->pairs);
    config->pairs[config->count++] =
        (struct pair){.key = mem_strdup(key), .value = mem_strdup(value)};
}

const char *sluice_config_get(const sluice_config *config, const char *key)
{
    const size_t i = pair_find(config, key);
    return i < config->count ? config->pairs[i].value : NULL;
}

/* --- the table ---------------------------------------------------------------------------------
 */

enum {
    P = SLUICE_PRODUCER,
    C = SLUICE_CONSUMER,
    A = SLUICE_ADMIN,
    MS_MAX = INT32_MAX,
};

/* key, roles, type, default, min, max, choices, doc */
/* clang-format off */
#define KEYS(X)                                                                                                        \
    X("bootstrap.servers", P | C | A, CONF_LIST, "localhost:9290", 1, 64, NULL,                                        \
      "Addresses of metadata daemons, `HOST:PORT` separated by commas. One that answers is enough; several survive "   \
      "the loss of one.")                                                                                              \
    X("client.id", P | C | A, CONF_STRING, "sluice", 0, CLIENT_ID_BYTES_MAX, NULL,                                     \
      "A name that servers show in their diagnostics.")                                                                \
    X("request.timeout.ms", P | C | A, CONF_INT, "30000", 1, MS_MAX, NULL,                                             \
      "How long an answer may take before the connection is given up and the request tried again.")                    \
    X("socket.connection.setup.timeout.ms", P | C | A, CONF_INT, "10000", 1, MS_MAX, NULL,                             \
      "How long connecting may take, until the server's Hello.")                                                       \
    X("retry.backoff.ms", P | C | A, CONF_INT, "100", 1, MS_MAX, NULL,                                                 \
      "Wait before a first retry. It doubles with each, up to `retry.backoff.max.ms`, and varies by 20 %.")            \
    X("retry.backoff.max.ms", P | C | A, CONF_INT, "1000", 1, MS_MAX, NULL, "The longest wait before a retry.")        \
    X("reconnect.backoff.ms", P | C | A, CONF_INT, "50", 1, MS_MAX, NULL,                                              \
      "As `retry.backoff.ms`, for connections to one server.")                                                         \
    X("reconnect.backoff.max.ms", P | C | A, CONF_INT, "1000", 1, MS_MAX, NULL,                                        \
      "The longest wait before a new connection.")                                                                     \
    X("metadata.max.age.ms", P | C | A, CONF_INT, "300000", 1, MS_MAX, NULL,                                           \
      "Metadata is asked for again after this time at the latest. Changes are pushed in any case.")                    \
    X("default.api.timeout.ms", C | A, CONF_INT, "60000", 0, MS_MAX, NULL,                                             \
      "What `SLUICE_TIMEOUT_DEFAULT` stands for.")                                                                     \
    X("allow.auto.create.topics", P | C, CONF_BOOL, "true", 0, 0, NULL,                                                \
      "Ask for a missing topic to be created, if the cluster does that (`auto.create.topics.enable`).")                \
    X("acks", P, CONF_ENUM, "all", 0, 0, "0|1|all|-1",                                                                 \
      "When a record counts as delivered: `all` in-sync replicas have it, as durable as the topic's `durability` "     \
      "says; `1`: the leader's page cache has it; `0`: it was written to the connection. `-1` is `all`.")              \
    X("batch.size", P, CONF_INT, "131072", 1024, 64 * MIB, NULL,                                                       \
      "Bytes of a batch at which it is full. Eight times Kafka's default: costs per batch, on both sides, are what "  \
      "limits throughput. With many partitions batches are smaller, so that `buffer.memory` serves all of them.")       \
    X("buffer.memory", P, CONF_INT64, "33554432", 64 * KIB, INT64_C(1) << 40, NULL,                                    \
      "Bytes for records that are not delivered yet. When they are used up, sending blocks.")                          \
    X("linger.ms", P, CONF_INT, "5", 0, MS_MAX, NULL,                                                                  \
      "How long a batch that is not full waits for more records. It does not wait while memory is short or a flush "   \
      "is under way.")                                                                                                 \
    X("max.block.ms", P, CONF_INT, "60000", 0, MS_MAX, NULL, "What `SLUICE_TIMEOUT_DEFAULT` stands for.")              \
    X("max.request.size", P, CONF_INT, "1048576", 1024, FRAME_BYTES_MAX / 2, NULL,                                     \
      "Bytes of the batches of a request, and of the largest record.")                                                 \
    X("max.in.flight.requests.per.connection", P, CONF_INT, "5", 1, 1000, NULL,                                        \
      "Requests to a broker that are not answered yet. For one partition it is one, unless `retries` is 0.")           \
    X("retries", P, CONF_INT, "2147483647", 0, INT32_MAX, NULL,                                                        \
      "How often a batch is tried again. `delivery.timeout.ms` is the better limit.")                                  \
    X("delivery.timeout.ms", P, CONF_INT, "120000", 1, MS_MAX, NULL,                                                   \
      "How long after sending a record it is delivered or given up. At least `linger.ms` + `request.timeout.ms`.")     \
    X("compression.type", P, CONF_ENUM, "none", 0, 0, "none|gzip|snappy|lz4|zstd",                                     \
      "The codec of batches.")                                                                                         \
    X("compression.level", P, CONF_INT, "-1", -7, 22, NULL, "The codec's own level; -1: its default.")                 \
    X("partitioner.adaptive.partitioning.enable", P, CONF_BOOL, "true", 0, 0, NULL,                                    \
      "Records without a key go more often to partitions that have less waiting.")                                     \
    X("auto.offset.reset", C, CONF_ENUM, "latest", 0, 0, "earliest|latest|none",                                       \
      "Where to read if there is no position, or if it is not within what the partition holds. `none` stops the "      \
      "partition. It is told by an event in each case.")                                                               \
    X("fetch.min.bytes", C, CONF_INT, "1", 1, FRAME_BYTES_MAX, NULL,                                                   \
      "A broker waits for that many bytes before it answers, at most `fetch.max.wait.ms`.")                            \
    X("fetch.max.wait.ms", C, CONF_INT, "500", 0, 300000, NULL, "See `fetch.min.bytes`.")                              \
    X("fetch.max.bytes", C, CONF_INT, "52428800", 1024, FRAME_BYTES_MAX, NULL,                                         \
      "Bytes of one answer. A single batch that is larger comes all the same.")                                        \
    X("max.partition.fetch.bytes", C, CONF_INT, "1048576", 1024, FRAME_BYTES_MAX, NULL,                                \
      "Bytes of one partition in one answer. A single batch that is larger comes all the same.")                       \
    X("queued.max.bytes", C, CONF_INT64, "67108864", 1024, INT64_C(1) << 40, NULL,                                     \
      "Bytes fetched ahead, of all partitions together; at least `max.partition.fetch.bytes`.")                        \
    X("max.poll.records", C, CONF_INT, "500", 1, 1000000, NULL, "Messages of one poll.")                               \
    X("check.crcs", C, CONF_BOOL, "true", 0, 0, NULL, "Verify the checksum of each batch.")                            \
    X("enable.partition.eof", C, CONF_BOOL, "false", 0, 0, NULL,                                                       \
      "Tell by an event when the end of a partition was reached.")
/* clang-format on */

#define X(key_, roles_, type_, fallback_, min_, max_, choices_, doc_)                              \
    {.key = key_,                                                                                  \
     .roles = roles_,                                                                              \
     .default_value = fallback_,                                                                   \
     .min = min_,                                                                                  \
     .max = max_,                                                                                  \
     .choices = choices_,                                                                          \
     .doc = doc_},
static const struct sluice_config_key public_keys[] = {KEYS(X)};
#undef X
#define X(key_, roles_, type_, fallback_, min_, max_, choices_, doc_)                              \
    {.name = key_,                                                                                 \
     .type = type_,                                                                                \
     .fallback = fallback_,                                                                        \
     .min = min_,                                                                                  \
     .max = max_,                                                                                  \
     .choices = choices_,                                                                          \
     .doc = doc_},
static const struct conf_key conf_keys[] = {KEYS(X)};
#undef X
enum { KEY_COUNT = sizeof public_keys / sizeof public_keys[0] };

const struct sluice_config_key *sluice_config_keys(size_t *count)
{
    *count = KEY_COUNT;
    return public_keys;
}

static size_t key_index(const char *key)
{
    size_t i = 0;
    while (i < KEY_COUNT && strcmp(public_keys[i].key, key))
        i++;
    return i;
}

static const char *const role_names[] = {
    [SLUICE_PRODUCER] = "producer", [SLUICE_CONSUMER] = "consumer", [SLUICE_ADMIN] = "admin"};
static const char *const role_tries[] = {[SLUICE_PRODUCER] = "create producer",
                                         [SLUICE_CONSUMER] = "create consumer",
                                         [SLUICE_ADMIN] = "create admin"};

/* --- values ------------------------------------------------------------------------------------
 */

/* Keys of other kinds of handles go to strays. */
static void put(struct conf *c, const struct pair *pair, enum sluice_role role, struct buf *strays)
{
    const size_t i = key_index(pair->key);
    if (i < KEY_COUNT && !(public_keys[i].roles & role)) {
        buf_printf(strays, "config: %s is not a key of a %s; ", pair->key, role_names[role]);
        return;
    }
    char *assignment = mem_printf("%s=%s", pair->key, pair->value);
    conf_set(c, assignment, CONF_ARGUMENT, "config");
    mem_free(assignment);
}

static int64_t us(const struct conf *c, const char *key)
{
    return (int64_t)conf_int(c, key) * 1000;
}

static void load_bootstrap(struct conf *c, struct settings *s)
{
    const struct conf_list list = conf_list(c, "bootstrap.servers");
    s->bootstrap = mem_alloc((list.count ? list.count : 1) * sizeof *s->bootstrap);
    for (size_t i = 0; i < list.count; i++) {
        struct address *a = &s->bootstrap[s->bootstrap_count];
        if (address_parse(a, list.items[i], strlen(list.items[i])) || !a->host[0] || !a->port)
            conf_problem(c, "bootstrap.servers", "\"%s\" is not HOST:PORT", list.items[i]);
        else
            s->bootstrap_count++;
    }
    if (list.count == 0)
        conf_problem(c, "bootstrap.servers", "names no server");
}

static void load_common(struct conf *c, struct settings *s)
{
    load_bootstrap(c, s);
    s->client_id = mem_strdup(conf_string(c, "client.id"));
    s->request_timeout_us = us(c, "request.timeout.ms");
    s->connect_timeout_us = us(c, "socket.connection.setup.timeout.ms");
    s->retry_backoff_us = us(c, "retry.backoff.ms");
    s->retry_backoff_max_us = us(c, "retry.backoff.max.ms");
    s->reconnect_backoff_us = us(c, "reconnect.backoff.ms");
    s->reconnect_backoff_max_us = us(c, "reconnect.backoff.max.ms");
    s->metadata_max_age_us = us(c, "metadata.max.age.ms");
    if (s->retry_backoff_max_us < s->retry_backoff_us)
        conf_problem(c, "retry.backoff.max.ms", "is below retry.backoff.ms");
    if (s->reconnect_backoff_max_us < s->reconnect_backoff_us)
        conf_problem(c, "reconnect.backoff.max.ms", "is below reconnect.backoff.ms");
}

static void load_producer(struct conf *c, struct settings *s)
{
    static const int32_t acks[] = {0, 1, -1, -1}; /* in the order of the choices */
    s->api_timeout_ms = conf_int(c, "max.block.ms");
    s->auto_create = conf_bool(c, "allow.auto.create.topics");
    s->producer.acks = acks[conf_enum(c, "acks")];
    s->producer.batch_size = (size_t)conf_int(c, "batch.size");
    s->producer.buffer_memory = (size_t)conf_int64(c, "buffer.memory");
    s->producer.request_size_max = (size_t)conf_int(c, "max.request.size");
    s->producer.linger_us = us(c, "linger.ms");
    s->producer.delivery_timeout_us = us(c, "delivery.timeout.ms");
    s->producer.retries = conf_int(c, "retries");
    s->producer.inflight_max = conf_int(c, "max.in.flight.requests.per.connection");
    s->producer.codec = (enum batch_codec)conf_enum(c, "compression.type");
    s->producer.codec_level = conf_int(c, "compression.level") == -1
                                  ? CODEC_LEVEL_DEFAULT
                                  : conf_int(c, "compression.level");
    s->producer.adaptive = conf_bool(c, "partitioner.adaptive.partitioning.enable");
    if (s->producer.batch_size > s->producer.request_size_max)
        conf_problem(c, "batch.size", "is above max.request.size");
    if (s->producer.batch_size > s->producer.buffer_memory / 2)
        conf_problem(c, "batch.size", "is above half of buffer.memory");
    if (s->producer.delivery_timeout_us < s->producer.linger_us + s->request_timeout_us)
        conf_problem(c, "delivery.timeout.ms", "is below linger.ms + request.timeout.ms");
}

static void load_consumer(struct conf *c, struct settings *s)
{
    s->api_timeout_ms = conf_int(c, "default.api.timeout.ms");
    s->auto_create = conf_bool(c, "allow.auto.create.topics");
    s->consumer.reset = (enum reset_policy)conf_enum(c, "auto.offset.reset");
    s->consumer.fetch_min_bytes = (uint32_t)conf_int(c, "fetch.min.bytes");
    s->consumer.fetch_wait_ms = (uint32_t)conf_int(c, "fetch.max.wait.ms");
    s->consumer.fetch_max_bytes = (uint32_t)conf_int(c, "fetch.max.bytes");
    s->consumer.partition_max_bytes = (uint32_t)conf_int(c, "max.partition.fetch.bytes");
    s->consumer.queued_max_bytes = (size_t)conf_int64(c, "queued.max.bytes");
    s->consumer.poll_records_max = (size_t)conf_int(c, "max.poll.records");
    s->consumer.check_crcs = conf_bool(c, "check.crcs");
    s->consumer.tell_end = conf_bool(c, "enable.partition.eof");
    if (s->consumer.queued_max_bytes < s->consumer.partition_max_bytes)
        conf_problem(c, "queued.max.bytes", "is below max.partition.fetch.bytes");
    if (s->request_timeout_us <= (int64_t)s->consumer.fetch_wait_ms * 1000)
        conf_problem(c, "request.timeout.ms", "is not above fetch.max.wait.ms");
}

static void load_admin(struct conf *c, struct settings *s)
{
    s->api_timeout_ms = conf_int(c, "default.api.timeout.ms");
}

static void load(struct conf *c, enum sluice_role role, struct settings *s)
{
    load_common(c, s);
    if (role == SLUICE_PRODUCER)
        load_producer(c, s);
    else if (role == SLUICE_CONSUMER)
        load_consumer(c, s);
    else
        load_admin(c, s);
}

int settings_load(const sluice_config *config, enum sluice_role role, struct settings *out,
                  struct sluice_error *error)
{
    struct conf_key keys[KEY_COUNT + 1] = {0};
    for (size_t i = 0, n = 0; i < KEY_COUNT; i++) {
        if (public_keys[i].roles & role)
            keys[n++] = conf_keys[i];
    }
    const struct conf_table table = {.title = role_names[role], .keys = keys};
    struct conf *c = conf_new((const struct conf_table *const[]){&table, NULL});
    struct buf strays = {0};
    for (size_t i = 0; i < config->count; i++)
        put(c, &config->pairs[i], role, &strays);

    struct settings s = {0};
    load(c, role, &s);
    int code = SLUICE_OK;
    if (conf_check(c) || strays.size) {
        buf_append_str(&strays, conf_problems(c));
        for (size_t i = 0; i < strays.size; i++) {
            if (strays.data[i] == '\n')
                strays.data[i] = ';';
        }
        while (strays.size && strchr("; ", strays.data[strays.size - 1]))
            strays.size--;
        settings_deinit(&s);
        code =
            problem(error, E_CONFIG, role_tries[role], "", "%.*s", (int)strays.size, strays.data);
    } else {
        *out = s;
    }
    buf_deinit(&strays);
    conf_free(c);
    return code;
}

void settings_deinit(struct settings *s)
{
    mem_free(s->bootstrap);
    mem_free(s->client_id);
    *s = (struct settings){0};
}

int sluice_config_check(const sluice_config *config, enum sluice_role role,
                        struct sluice_error *error)
{
    struct settings s;
    const int code = settings_load(config, role, &s, error);
    if (code == SLUICE_OK)
        settings_deinit(&s);
    return code;
}
