/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/log/names.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "proto/base/check.h"

static const char *const suffixes[SEGMENT_FILE_KINDS] = {".log", ".index", ".timeindex"};

const char *partition_name(char name[PARTITION_NAME_MAX], const struct log_identity *id)
{
    const uint8_t *u = id->topic_id.bytes;
    const int n = snprintf(name, PARTITION_NAME_MAX, "%s-%" PRIu32 ".%02x%02x%02x%02x", id->topic,
                           id->partition, u[0], u[1], u[2], u[3]);
    CHECK(n > 0);
    CHECK(n < PARTITION_NAME_MAX);
    return name;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Digits only, no sign, no leading zero but for 0 itself. */
static bool parse_number(const char *from, const char *to, uint64_t max, uint64_t *out)
{
    if (from == to || (*from == '0' && to - from > 1))
        return false;
    uint64_t v = 0;
    for (; from < to; from++) {
        if (*from < '0' || *from > '9' || v > max / 10)
            return false;
        v = v * 10 + (uint64_t)(*from - '0');
    }
    *out = v;
    return v <= max;
}

bool partition_name_parse(const char *name, struct partition_name *out)
{
    /* From the end: a topic's name may hold dots and dashes of its own. */
    const char *dot = strrchr(name, '.');
    if (!dot || strlen(dot) != 9)
        return false;
    const char *dash = dot;
    while (dash > name && *dash != '-')
        dash--;
    const size_t topic_size = (size_t)(dash - name);
    uint64_t partition;
    if (topic_size == 0 || topic_size > TOPIC_NAME_MAX ||
        !parse_number(dash + 1, dot, UINT32_MAX, &partition))
        return false;

    struct partition_name parsed = {.partition = (uint32_t)partition};
    for (size_t i = 0; i < sizeof parsed.id_prefix; i++) {
        const int high = hex_digit(dot[1 + 2 * i]), low = hex_digit(dot[2 + 2 * i]);
        if (high < 0 || low < 0)
            return false;
        parsed.id_prefix[i] = (uint8_t)(high << 4 | low);
    }
    memcpy(parsed.topic, name, topic_size);
    *out = parsed;
    return true;
}

const char *segment_name(char name[SEGMENT_NAME_MAX], int64_t base_offset, enum segment_file kind)
{
    CHECK(base_offset >= 0);
    snprintf(name, SEGMENT_NAME_MAX, "%020" PRId64 "%s", base_offset, suffixes[kind]);
    return name;
}

bool segment_name_parse(const char *name, int64_t *base_offset, enum segment_file *kind)
{
    uint64_t v = 0;
    for (int i = 0; i < 20; i++) {
        if (name[i] < '0' || name[i] > '9' || v > INT64_MAX / 10)
            return false;
        v = v * 10 + (uint64_t)(name[i] - '0');
    }
    if (v > INT64_MAX)
        return false;
    for (int k = 0; k < SEGMENT_FILE_KINDS; k++) {
        if (strcmp(name + 20, suffixes[k]) == 0) {
            *base_offset = (int64_t)v;
            *kind = (enum segment_file)k;
            return true;
        }
    }
    return false;
}

bool name_has_suffix(const char *name, const char *suffix)
{
    const size_t n = strlen(name), s = strlen(suffix);
    return n > s && strcmp(name + n - s, suffix) == 0;
}
