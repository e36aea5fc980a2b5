/* SPDX-License-Identifier: Apache-2.0 */
#include "metad/model/names.h"

#include "proto/base/limits.h"

static bool is_name_byte(uint8_t b)
{
    return (b >= 'a' && b <= 'z') || (b >= 'A' && b <= 'Z') || (b >= '0' && b <= '9') || b == '.' ||
           b == '_' || b == '-';
}

const char *topic_name_fault(struct slice name)
{
    if (name.size == 0)
        return "is empty";
    if (name.size > TOPIC_NAME_MAX)
        return "is longer than 200 characters";
    for (size_t i = 0; i < name.size; i++)
        if (!is_name_byte(name.data[i]))
            return "has a character other than letters, digits, '.', '_' and '-'";
    if (slice_eq(name, slice_str(".")) || slice_eq(name, slice_str("..")))
        return "must not be '.' or '..'";
    return NULL;
}

bool topic_name_is_internal(struct slice name)
{
    return name.size >= 2 && name.data[0] == '_' && name.data[1] == '_';
}

static uint8_t folded(uint8_t b)
{
    return b == '.' ? '_' : b;
}

bool topic_names_collide(struct slice a, struct slice b)
{
    if (a.size != b.size)
        return false;
    for (size_t i = 0; i < a.size; i++)
        if (folded(a.data[i]) != folded(b.data[i]))
            return false;
    return true;
}

/* FNV-1a with a last stir, so that low and high bits are equally good. */
uint64_t topic_name_hash(struct slice name)
{
    uint64_t h = 0xcbf29ce484222325;
    for (size_t i = 0; i < name.size; i++)
        h = (h ^ folded(name.data[i])) * 0x100000001b3;
    h ^= h >> 32;
    h *= 0x9e3779b97f4a7c15;
    return h ^ h >> 29;
}
