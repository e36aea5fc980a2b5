/* SPDX-License-Identifier: Apache-2.0 */
#include "metad/model/topic_configs.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "proto/base/check.h"
#include "proto/base/diag.h"
#include "proto/base/limits.h"

static const char *const cleanup_choices[] = {"delete", "compact", NULL};
static const char *const compression_choices[] = {"producer", "uncompressed", "gzip", "snappy",
                                                  "lz4",      "zstd",         NULL};
static const char *const durability_choices[] = {"fsync", "page-cache", NULL};
static const char *const timestamp_choices[] = {"CreateTime", "LogAppendTime", NULL};

#define DAYS_MS(n) ((int64_t)(n)*24 * 60 * 60 * 1000)
#define MILLION 1000000

/* clang-format off */
static const struct topic_config_def defs[TOPIC_CONFIG_COUNT] = {
    [TOPIC_CLEANUP_POLICY] = {
        "cleanup.policy", CONFIG_SET, "", CLEANUP_DELETE, 0, 0, cleanup_choices, "log.cleanup.policy",
        "What happens to old data: `delete` drops whole segments by age and size, `compact` keeps the last value of each "
        "key; both may be given. This version has no cleaner yet: `compact` asks for keys and drops nothing."},
    [TOPIC_COMPRESSION_TYPE] = {
        "compression.type", CONFIG_CHOICE, "", COMPRESSION_PRODUCER, 0, 0, compression_choices, "compression.type",
        "The codec of stored batches. `producer` keeps what the producer chose, and is the only one that never "
        "recompresses."},
    [TOPIC_DELETE_RETENTION_MS] = {
        "delete.retention.ms", CONFIG_INT, "ms", DAYS_MS(1), 0, INT64_MAX, NULL, "log.cleaner.delete.retention.ms",
        "How long a compacted topic keeps the marker of a deleted key."},
    [TOPIC_DURABILITY] = {
        "durability", CONFIG_CHOICE, "", DURABILITY_FSYNC, 0, 0, durability_choices, "log.durability",
        "`fsync`: with acks=all a record is on disk on every in-sync replica before it is acknowledged. `page-cache`: it "
        "is in their memory; a power cut of all of them at once may lose it."},
    [TOPIC_FILE_DELETE_DELAY_MS] = {
        "file.delete.delay.ms", CONFIG_INT, "ms", 60000, 0, INT64_MAX, NULL, "log.segment.delete.delay.ms",
        "How long a segment's files stay, renamed, after they left the log."},
    [TOPIC_INDEX_INTERVAL_BYTES] = {
        "index.interval.bytes", CONFIG_INT, "bytes", 4096, 0, INT32_MAX, NULL, "log.index.interval.bytes",
        "At most so many bytes of batches lie between two entries of the offset index."},
    [TOPIC_MAX_COMPACTION_LAG_MS] = {
        "max.compaction.lag.ms", CONFIG_INT, "ms", INT64_MAX, 1, INT64_MAX, NULL, "log.cleaner.max.compaction.lag.ms",
        "A record that a later one of its key replaced is compacted away at the latest after this time."},
    [TOPIC_MAX_MESSAGE_BYTES] = {
        "max.message.bytes", CONFIG_INT, "bytes", BATCH_BYTES_DEFAULT, 0, FRAME_BYTES_MAX - MIB, NULL,
        "message.max.bytes", "The largest batch of records that is accepted, after compression."},
    [TOPIC_MESSAGE_TIMESTAMP_AFTER_MAX_MS] = {
        "message.timestamp.after.max.ms", CONFIG_INT, "ms", 3600000, 0, INT64_MAX, NULL,
        "log.message.timestamp.after.max.ms",
        "How far a record's timestamp may lie ahead of the broker's clock; retention by time never fires on a record "
        "from the far future."},
    [TOPIC_MESSAGE_TIMESTAMP_BEFORE_MAX_MS] = {
        "message.timestamp.before.max.ms", CONFIG_INT, "ms", INT64_MAX, 0, INT64_MAX, NULL,
        "log.message.timestamp.before.max.ms", "How far a record's timestamp may lie behind the broker's clock."},
    [TOPIC_MESSAGE_TIMESTAMP_TYPE] = {
        "message.timestamp.type", CONFIG_CHOICE, "", TIMESTAMP_CREATE_TIME, 0, 0, timestamp_choices,
        "log.message.timestamp.type",
        "`CreateTime`: the producer's timestamps. `LogAppendTime`: the leader's clock when it appended the batch."},
    [TOPIC_MIN_CLEANABLE_DIRTY_RATIO] = {
        "min.cleanable.dirty.ratio", CONFIG_RATIO, "", MILLION / 2, 0, MILLION, NULL,
        "log.cleaner.min.cleanable.ratio",
        "A log is compacted when this part of it was not compacted yet."},
    [TOPIC_MIN_COMPACTION_LAG_MS] = {
        "min.compaction.lag.ms", CONFIG_INT, "ms", 0, 0, INT64_MAX, NULL, "log.cleaner.min.compaction.lag.ms",
        "A record stays uncompacted at least for this time."},
    [TOPIC_MIN_INSYNC_REPLICAS] = {
        "min.insync.replicas", CONFIG_INT, "", 0, 1, INT32_MAX, NULL, "min.insync.replicas",
        "So many replicas must be in sync for acks=all to be accepted, and for consumers to see new records; never more "
        "than the topic has replicas. Not set: 2 from three replicas on, else 1."},
    [TOPIC_PREALLOCATE] = {
        "preallocate", CONFIG_BOOL, "", 0, 0, 1, NULL, "log.preallocate",
        "Allocate a segment's file at its full size when it is begun."},
    [TOPIC_RETENTION_BYTES] = {
        "retention.bytes", CONFIG_INT, "bytes", -1, -1, INT64_MAX, NULL, "log.retention.bytes",
        "The oldest segments of a partition are dropped while it would still hold this much; -1: no limit."},
    [TOPIC_RETENTION_MS] = {
        "retention.ms", CONFIG_INT, "ms", DAYS_MS(7), -1, INT64_MAX, NULL, "log.retention.ms",
        "A segment is dropped when its newest record is older than this; -1: no limit."},
    [TOPIC_SEGMENT_BYTES] = {
        "segment.bytes", CONFIG_INT, "bytes", 1024 * (int64_t)MIB, SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX, NULL,
        "log.segment.bytes", "A new segment is begun before one grows beyond this."},
    [TOPIC_SEGMENT_INDEX_BYTES] = {
        "segment.index.bytes", CONFIG_INT, "bytes", 10 * MIB, 4096, INT32_MAX, NULL, "log.index.size.max.bytes",
        "The largest index of a segment; a full one begins a new segment too."},
    [TOPIC_SEGMENT_JITTER_MS] = {
        "segment.jitter.ms", CONFIG_INT, "ms", 0, 0, INT64_MAX, NULL, "log.roll.jitter.ms",
        "Up to this much is taken off segment.ms at random, so that not all partitions roll at once."},
    [TOPIC_SEGMENT_MS] = {
        "segment.ms", CONFIG_INT, "ms", DAYS_MS(7), 1, INT64_MAX, NULL, "log.roll.ms",
        "A new segment is begun when the first record of the present one is older than this."},
};
/* clang-format on */

const struct topic_config_def *topic_config_def(enum topic_config config)
{
    CHECK(config < TOPIC_CONFIG_COUNT);
    return &defs[config];
}

enum topic_config topic_config_find(const char *key)
{
    unsigned i = 0;
    while (i < TOPIC_CONFIG_COUNT && strcmp(defs[i].key, key) != 0)
        i++;
    return (enum topic_config)i;
}

enum topic_config topic_config_find_broker_key(const char *broker_key)
{
    unsigned i = 0;
    while (i < TOPIC_CONFIG_COUNT &&
           (defs[i].broker_key == NULL || strcmp(defs[i].broker_key, broker_key) != 0))
        i++;
    return (enum topic_config)i;
}

/* --- values from text ------------------------------------------------------------ */

static bool parse_int(const struct topic_config_def *d, const char *value, int64_t *out)
{
    const char *digits = value[0] == '-' ? value + 1 : value;
    if (digits[0] < '0' || digits[0] > '9')
        return false; /* strtoll would take blanks and a plus */
    char *end;
    errno = 0;
    const long long v = strtoll(value, &end, 10);
    if (*end != '\0' || errno != 0 || v < d->min || v > d->max)
        return false;
    *out = v;
    return true;
}

static bool parse_bool(const struct topic_config_def *d, const char *value, int64_t *out)
{
    (void)d;
    if (strcmp(value, "true") != 0 && strcmp(value, "false") != 0)
        return false;
    *out = value[0] == 't';
    return true;
}

static bool find_choice(const struct topic_config_def *d, struct slice value, int64_t *out)
{
    for (int64_t i = 0; d->choices[i] != NULL; i++) {
        if (!slice_eq(slice_str(d->choices[i]), value))
            continue;
        *out = i;
        return true;
    }
    return false;
}

static bool parse_choice(const struct topic_config_def *d, const char *value, int64_t *out)
{
    return find_choice(d, slice_str(value), out);
}

/* "compact,delete", blanks around the comma allowed. */
static bool parse_set(const struct topic_config_def *d, const char *value, int64_t *out)
{
    int64_t bits = 0;
    for (const char *at = value;; at++) {
        at += strspn(at, " ");
        const size_t size = strcspn(at, " ,");
        int64_t choice;
        if (!find_choice(d, slice_of(at, size), &choice))
            return false;
        bits |= (int64_t)1 << choice;
        at += size;
        at += strspn(at, " ");
        if (*at == '\0')
            break;
        if (*at != ',')
            return false;
    }
    *out = bits;
    return true;
}

/* 0.5, 1, .25: at most six places count. */
static bool parse_ratio(const struct topic_config_def *d, const char *value, int64_t *out)
{
    if (value[0] == '\0' || strlen(value) > 20 || value[strspn(value, "0123456789.")] != '\0')
        return false;
    char *end;
    const double v = strtod(value, &end);
    const double scaled = v * MILLION + 0.5;
    if (*end != '\0' || !(scaled >= (double)d->min) || !(scaled < (double)d->max + 1))
        return false;
    *out = (int64_t)scaled;
    return true;
}

/* --- values to text, and what is allowed ----------------------------------------- */

static void print_int(const struct topic_config_def *d, int64_t value, struct buf *out)
{
    (void)d;
    buf_printf(out, "%" PRId64, value);
}

static void print_bool(const struct topic_config_def *d, int64_t value, struct buf *out)
{
    (void)d;
    buf_append_str(out, value ? "true" : "false");
}

static void print_choice(const struct topic_config_def *d, int64_t value, struct buf *out)
{
    buf_append_str(out, d->choices[value]);
}

static void print_set(const struct topic_config_def *d, int64_t value, struct buf *out)
{
    const char *separator = "";
    for (int i = 0; d->choices[i] != NULL; i++) {
        if (!(value >> i & 1))
            continue;
        buf_printf(out, "%s%s", separator, d->choices[i]);
        separator = ",";
    }
}

static void print_ratio(const struct topic_config_def *d, int64_t value, struct buf *out)
{
    (void)d;
    buf_printf(out, "%g", (double)value / MILLION);
}

static void allow_int(const struct topic_config_def *d, struct buf *out)
{
    buf_printf(out, "a whole number from %" PRId64, d->min);
    if (d->max != INT64_MAX)
        buf_printf(out, " to %" PRId64, d->max);
    if (d->unit[0] != '\0')
        buf_printf(out, " (%s)", d->unit);
}

static void allow_bool(const struct topic_config_def *d, struct buf *out)
{
    (void)d;
    buf_append_str(out, "true or false");
}

static void append_choices(const struct topic_config_def *d, struct buf *out)
{
    for (int i = 0; d->choices[i] != NULL; i++)
        buf_printf(out, "%s%s", i > 0 ? ", " : "", d->choices[i]);
}

static void allow_choice(const struct topic_config_def *d, struct buf *out)
{
    buf_append_str(out, "one of ");
    append_choices(d, out);
}

static void allow_set(const struct topic_config_def *d, struct buf *out)
{
    buf_append_str(out, "one or more, with commas, of ");
    append_choices(d, out);
}

static void allow_ratio(const struct topic_config_def *d, struct buf *out)
{
    (void)d;
    buf_append_str(out, "a number from 0 to 1");
}

static const struct {
    bool (*parse)(const struct topic_config_def *d, const char *value, int64_t *out);
    void (*print)(const struct topic_config_def *d, int64_t value, struct buf *out);
    void (*allow)(const struct topic_config_def *d, struct buf *out);
} types[] = {
    [CONFIG_INT] = {parse_int, print_int, allow_int},
    [CONFIG_BOOL] = {parse_bool, print_bool, allow_bool},
    [CONFIG_CHOICE] = {parse_choice, print_choice, allow_choice},
    [CONFIG_SET] = {parse_set, print_set, allow_set},
    [CONFIG_RATIO] = {parse_ratio, print_ratio, allow_ratio},
};

err topic_config_parse(enum topic_config config, const char *value, int64_t *out, struct buf *why)
{
    const struct topic_config_def *d = topic_config_def(config);
    if (types[d->type].parse(d, value, out))
        return OK;
    buf_printf(why, "%s=%s: must be ", d->key, DIAG_STR(value));
    types[d->type].allow(d, why);
    buf_append_str(why, ". ");
    return E_INVALID_CONFIG;
}

void topic_config_print(enum topic_config config, int64_t value, struct buf *out)
{
    const struct topic_config_def *d = topic_config_def(config);
    if (config == TOPIC_MIN_INSYNC_REPLICAS && value == 0)
        return; /* not set */
    types[d->type].print(d, value, out);
}

static bool is_repeated(const struct property *set, size_t at)
{
    for (size_t i = 0; i < at; i++)
        if (strcmp(set[i].key, set[at].key) == 0)
            return true;
    return false;
}

err topic_configs_check(const struct property *set, size_t count, struct buf *why)
{
    if (count > TOPIC_CONFIGS_MAX) {
        buf_printf(why, "%zu configs: a topic has at most %d. ", count, TOPIC_CONFIGS_MAX);
        return E_INVALID_CONFIG;
    }
    err result = OK;
    struct topic_config_values values;
    topic_config_values_init(&values);
    for (size_t i = 0; i < count; i++) {
        const enum topic_config config = topic_config_find(set[i].key);
        err e = OK;
        if (config == TOPIC_CONFIG_COUNT) {
            buf_printf(why, "%s: no topic config has that name. ", DIAG_STR(set[i].key));
            e = E_INVALID_CONFIG;
        } else if (is_repeated(set, i)) {
            buf_printf(why, "%s: given more than once. ", set[i].key);
            e = E_INVALID_CONFIG;
        } else {
            e = topic_config_parse(config, set[i].value, &values.v[config], why);
        }
        if (e != OK)
            result = e;
    }
    if (result == OK &&
        values.v[TOPIC_MIN_COMPACTION_LAG_MS] > values.v[TOPIC_MAX_COMPACTION_LAG_MS]) {
        buf_append_str(why, "min.compaction.lag.ms must not be above max.compaction.lag.ms. ");
        result = E_INVALID_CONFIG;
    }
    return result;
}

/* --- effective values ------------------------------------------------------------ */

void topic_config_values_init(struct topic_config_values *values)
{
    for (size_t i = 0; i < TOPIC_CONFIG_COUNT; i++)
        values->v[i] = defs[i].def;
}

void topic_config_values_of(const struct topic *t, const struct topic_config_values *defaults,
                            struct topic_config_values *out)
{
    *out = *defaults;
    for (uint32_t i = 0; i < t->config_count; i++) {
        const enum topic_config config = topic_config_find(t->configs[i].key);
        if (config == TOPIC_CONFIG_COUNT)
            continue;
        const struct topic_config_def *d = &defs[config];
        int64_t value;
        if (types[d->type].parse(d, t->configs[i].value, &value))
            out->v[config] = value;
    }
}

uint32_t topic_effective_min_insync(int64_t set_value, uint32_t replication_factor)
{
    if (set_value <= 0)
        return replication_factor >= 3 ? 2 : 1;
    return set_value < replication_factor ? (uint32_t)set_value : replication_factor;
}
