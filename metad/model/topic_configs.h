/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configs of topics: one table with key, type, default, bounds, unit, the
 * broker's key that gives the default for all topics, and a sentence for the
 * manual. Everything that knows a topic config knows it from here.
 *
 * Values are int64 whatever the type: numbers as they are, a boolean as 0 or 1,
 * a choice as its index, a set of choices as bits, a ratio in millionths.
 * Threads: any; all pure.
 */
#ifndef SLUICE_MODEL_TOPIC_CONFIGS_H
#define SLUICE_MODEL_TOPIC_CONFIGS_H

#include "metad/model/cluster.h"
#include "proto/base/buf.h"

enum topic_config {
    TOPIC_CLEANUP_POLICY,   /* bits: CLEANUP_* */
    TOPIC_COMPRESSION_TYPE, /* index: COMPRESSION_* */
    TOPIC_DELETE_RETENTION_MS,
    TOPIC_DURABILITY, /* index: DURABILITY_* */
    TOPIC_FILE_DELETE_DELAY_MS,
    TOPIC_INDEX_INTERVAL_BYTES,
    TOPIC_MAX_COMPACTION_LAG_MS,
    TOPIC_MAX_MESSAGE_BYTES,
    TOPIC_MESSAGE_TIMESTAMP_AFTER_MAX_MS,
    TOPIC_MESSAGE_TIMESTAMP_BEFORE_MAX_MS,
    TOPIC_MESSAGE_TIMESTAMP_TYPE, /* index: TIMESTAMP_* */
    TOPIC_MIN_CLEANABLE_DIRTY_RATIO,
    TOPIC_MIN_COMPACTION_LAG_MS,
    TOPIC_MIN_INSYNC_REPLICAS, /* 0: by replication factor, see topic_effective_min_insync */
    TOPIC_PREALLOCATE,
    TOPIC_RETENTION_BYTES, /* -1: no limit; per partition */
    TOPIC_RETENTION_MS,    /* -1: no limit */
    TOPIC_SEGMENT_BYTES,
    TOPIC_SEGMENT_INDEX_BYTES,
    TOPIC_SEGMENT_JITTER_MS,
    TOPIC_SEGMENT_MS,
    TOPIC_CONFIG_COUNT
};
enum { CLEANUP_DELETE = 1, CLEANUP_COMPACT = 2 };
enum {
    COMPRESSION_PRODUCER,
    COMPRESSION_UNCOMPRESSED,
    COMPRESSION_GZIP,
    COMPRESSION_SNAPPY,
    COMPRESSION_LZ4,
    COMPRESSION_ZSTD
};
enum { DURABILITY_FSYNC, DURABILITY_PAGE_CACHE };
enum { TIMESTAMP_CREATE_TIME, TIMESTAMP_LOG_APPEND_TIME };

enum config_type { CONFIG_INT, CONFIG_BOOL, CONFIG_CHOICE, CONFIG_SET, CONFIG_RATIO };

struct topic_config_def {
    const char *key;
    enum config_type type;
    const char *unit; /* "ms", "bytes", "" */
    int64_t def, min, max;
    const char *const *choices; /* of CHOICE and SET; ends with NULL */
    const char *broker_key;     /* NULL: the broker has no such default */
    const char *doc;
};
const struct topic_config_def *topic_config_def(enum topic_config config);
/* TOPIC_CONFIG_COUNT: no such key. */
enum topic_config topic_config_find(const char *key);
enum topic_config topic_config_find_broker_key(const char *broker_key);

/* E_INVALID_CONFIG appends a sentence to why that names key, value and what is allowed. */
err topic_config_parse(enum topic_config config, const char *value, int64_t *out,
                       struct buf *why) MUST_USE;
/* As a user would write it; appends. */
void topic_config_print(enum topic_config config, int64_t value, struct buf *out);
/* Unknown keys, bad values, keys given twice: all of them, a sentence each; then what fits
 * together. */
err topic_configs_check(const struct property *set, size_t count, struct buf *why) MUST_USE;

/* --- effective values ------------------------------------------------------------ */
struct topic_config_values {
    int64_t v[TOPIC_CONFIG_COUNT];
};
/* Those of the table. A broker then sets what its own keys say. */
void topic_config_values_init(struct topic_config_values *values);
/* The topic's values over the defaults. Values that do not parse (another version wrote them) leave
 * the default. */
void topic_config_values_of(const struct topic *t, const struct topic_config_values *defaults,
                            struct topic_config_values *out);
/* min(set value, replication factor); by default 2 from three replicas on, else 1. */
uint32_t topic_effective_min_insync(int64_t set_value, uint32_t replication_factor);

#endif
