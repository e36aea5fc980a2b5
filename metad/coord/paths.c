/* SPDX-License-Identifier: Apache-2.0 */
#include "metad/coord/paths.h"

#include <stdio.h>
#include <string.h>

const char *const paths_skeleton[] = {
    PATH_BROKERS, PATH_BROKER_EPOCHS, PATH_BROKER_IDS,       PATH_CONFIGS, PATH_BROKER_CONFIGS,
    PATH_TOPICS,  PATH_DELETED,       PATH_CONTROLLER_EPOCH, PATH_CHANGES,
};
const unsigned paths_skeleton_count = sizeof paths_skeleton / sizeof paths_skeleton[0];

static struct path with_number(const char *above, int32_t number)
{
    struct path p;
    snprintf(p.text, sizeof p.text, "%s/%d", above, number);
    return p;
}

static struct path with_uuid(const char *above, const struct uuid *id)
{
    struct path p;
    char text[UUID_TEXT];
    uuid_text(id, text);
    snprintf(p.text, sizeof p.text, "%s/%s", above, text);
    return p;
}

struct path path_of_broker_epoch(int32_t broker_id)
{
    return with_number(PATH_BROKER_EPOCHS, broker_id);
}

struct path path_of_broker(int32_t broker_id)
{
    return with_number(PATH_BROKER_IDS, broker_id);
}

struct path path_of_broker_configs(int32_t broker_id)
{
    return with_number(PATH_BROKER_CONFIGS, broker_id);
}

struct path path_of_topic(const struct uuid *id)
{
    return with_uuid(PATH_TOPICS, id);
}

struct path path_of_tombstone(const struct uuid *id)
{
    return with_uuid(PATH_DELETED, id);
}

err path_parse_broker(const char *name, int32_t *broker_id)
{
    int64_t id = 0;
    const size_t size = strlen(name);
    if (size == 0 || size > 10 || (name[0] == '0' && size > 1))
        return E_CORRUPT;
    for (const char *at = name; *at != '\0'; at++) {
        if (*at < '0' || *at > '9')
            return E_CORRUPT;
        id = id * 10 + (*at - '0');
    }
    if (id > INT32_MAX)
        return E_CORRUPT;
    *broker_id = (int32_t)id;
    return OK;
}

/* Lower case only: a topic has one path. */
static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

err path_parse_topic(const char *name, struct uuid *id)
{
    struct uuid parsed;
    if (strlen(name) != UUID_TEXT - 1)
        return E_CORRUPT;
    for (size_t i = 0; i < sizeof parsed.bytes; i++) {
        const int high = hex_digit(name[2 * i]);
        const int low = hex_digit(name[2 * i + 1]);
        if (high < 0 || low < 0)
            return E_CORRUPT;
        parsed.bytes[i] = (uint8_t)(high << 4 | low);
    }
    *id = parsed;
    return OK;
}
