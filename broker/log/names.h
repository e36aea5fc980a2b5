/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of the log's files and directories, written and read back. Pure.
 *
 *   <topic>-<partition>.<first 8 hex digits of the topic id>/
 *       <base offset, 20 digits>.log .index .timeindex    (.deleted behind those on their way out)
 */
#ifndef SLUICE_LOG_NAMES_H
#define SLUICE_LOG_NAMES_H

#include <stdbool.h>

#include "broker/log/log.h"
#include "proto/base/limits.h"

enum {
    PARTITION_NAME_MAX = TOPIC_NAME_MAX + 32, /* NUL included, and room for .deleted */
    SEGMENT_NAME_MAX = 48
};

#define DELETED_SUFFIX ".deleted"
#define TMP_SUFFIX ".tmp"

/* Into the caller's buffer, returned. */
const char *partition_name(char name[PARTITION_NAME_MAX], const struct log_identity *id);
/* What a directory's name tells. Not a name of ours: false. */
struct partition_name {
    char topic[TOPIC_NAME_MAX + 1];
    uint32_t partition;
    uint8_t id_prefix[4];
};
bool partition_name_parse(const char *name, struct partition_name *out);

enum segment_file { SEGMENT_LOG, SEGMENT_INDEX, SEGMENT_TIME_INDEX, SEGMENT_FILE_KINDS };
const char *segment_name(char name[SEGMENT_NAME_MAX], int64_t base_offset, enum segment_file kind);
bool segment_name_parse(const char *name, int64_t *base_offset, enum segment_file *kind);

bool name_has_suffix(const char *name, const char *suffix);

#endif
