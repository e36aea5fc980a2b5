/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/wire/topics.h"

enum { TOPIC_NAME = 1, TOPIC_ID = 2, TOPIC_PARTITION = 3 };

static void read_identity(struct reader *r, uint32_t tag, struct topic_identity *identity)
{
    if (tag == WIRE_TAG(TOPIC_NAME, WIRE_BYTES)) {
        identity->name = wire_text(r);
    } else {
        identity->id = wire_prefixed(r);
        if (identity->id.size != 0 && identity->id.size != TOPIC_ID_SIZE)
            reader_fail(r);
    }
}

static bool is_identity(uint32_t tag)
{
    return tag == WIRE_TAG(TOPIC_NAME, WIRE_BYTES) || tag == WIRE_TAG(TOPIC_ID, WIRE_BYTES);
}

err topics_check(struct slice topic, topics_partition_fn *check, struct wire_budget *left,
                 size_t *partition_count)
{
    struct reader r = reader_init(topic);
    struct topic_identity identity = {0};
    uint32_t seen = 0;
    while (!reader_done(&r)) {
        const uint32_t tag = wire_tag(&r);
        if (is_identity(tag)) {
            wire_once(&r, &seen, tag);
            read_identity(&r, tag, &identity);
        } else if (tag == WIRE_TAG(TOPIC_PARTITION, WIRE_BYTES)) {
            wire_element(&r, left);
            if (check(wire_prefixed(&r), left) != OK)
                return E_CORRUPT;
            ++*partition_count;
        } else {
            wire_unknown(&r, tag, TOPIC_PARTITION, left);
        }
    }
    return reader_end(&r);
}

/* The next field of that number, past all others. E_END, E_CORRUPT. */
static err next_message(struct reader *r, uint32_t number, struct slice *out)
{
    while (!reader_done(r)) {
        const uint32_t tag = wire_tag(r);
        if (tag == WIRE_TAG(number, WIRE_BYTES)) {
            *out = wire_prefixed(r);
            return reader_end(r);
        }
        wire_skip(r, tag);
    }
    return r->failed ? E_CORRUPT : E_END;
}

/* The names of a topic, which may stand behind its partitions. */
static err find_identity(struct slice topic, struct topic_identity *out)
{
    struct topic_identity identity = {0};
    struct reader r = reader_init(topic);
    while (!reader_done(&r)) {
        const uint32_t tag = wire_tag(&r);
        if (is_identity(tag))
            read_identity(&r, tag, &identity);
        else
            wire_skip(&r, tag);
    }
    *out = identity;
    return reader_end(&r);
}

err topics_next(struct reader *topics, uint32_t topic_field, struct reader *partitions,
                struct topic_identity *identity, bool *first, struct slice *partition)
{
    *first = false;
    for (;;) {
        err e = next_message(partitions, TOPIC_PARTITION, partition);
        if (e != E_END)
            return e;
        struct slice topic;
        e = next_message(topics, topic_field, &topic);
        if (e != OK)
            return e;
        *partitions = reader_init(topic);
        if (find_identity(topic, identity) != OK) {
            reader_fail(partitions);
            return E_CORRUPT;
        }
        *first = true;
    }
}

static size_t partition_size(const struct topics_row *row, size_t i)
{
    struct wire_out count = {0};
    row->put(&count, row->items, i);
    return count.size;
}

static void put_identity(struct wire_out *o, const struct topic_identity *identity)
{
    wire_put_some(o, TOPIC_NAME, identity->name);
    wire_put_some(o, TOPIC_ID, identity->id);
}

/* Of the Topic that item i begins. */
static size_t topic_size(const struct topics_row *row, size_t i,
                         const struct topic_identity *identity)
{
    struct wire_out count = {0};
    put_identity(&count, identity);
    do {
        const size_t size = partition_size(row, i++);
        wire_put_prefix(&count, TOPIC_PARTITION, size);
        wire_put_elsewhere(&count, size);
    } while (i < row->count && !row->is_first(row->items, i));
    return count.size;
}

static bool begins_topic(const struct topics_row *row, size_t i)
{
    return i == 0 || row->is_first(row->items, i);
}

void topics_put(struct wire_out *o, const struct topics_row *row, size_t i)
{
    if (begins_topic(row, i)) {
        const struct topic_identity identity = row->identity(row->items, i);
        wire_put_prefix(o, row->topic_field, topic_size(row, i, &identity));
        put_identity(o, &identity);
    }
    wire_put_prefix(o, TOPIC_PARTITION, partition_size(row, i));
    row->put(o, row->items, i);
}

size_t topics_size(const struct topics_row *row)
{
    struct wire_out count = {0};
    for (size_t i = 0; i < row->count; i++) {
        if (!begins_topic(row, i))
            continue;
        const struct topic_identity identity = row->identity(row->items, i);
        const size_t size = topic_size(row, i, &identity);
        wire_put_prefix(&count, row->topic_field, size);
        wire_put_elsewhere(&count, size);
    }
    return count.size;
}

enum { ERROR_CODE = 1, ERROR_CLASS = 2, ERROR_MESSAGE = 3 };

static void put_error_fields(struct wire_out *o, err code, struct slice message)
{
    wire_put_int(o, ERROR_CODE, err_wire_code(code));
    wire_put_int(o, ERROR_CLASS, (int)err_wire_class(code));
    wire_put_bytes(o, ERROR_MESSAGE, message.size ? message : slice_str(err_text(code)));
}

void wire_put_error(struct wire_out *o, uint32_t number, err code, struct slice message)
{
    struct wire_out count = {0};
    put_error_fields(&count, code, message);
    wire_put_prefix(o, number, count.size);
    put_error_fields(o, code, message);
}

void wire_put_leader(struct wire_out *o, uint32_t number, int32_t id, struct slice host,
                     uint16_t port)
{
    if (id == -1)
        return;
    wire_put_int(o, number, id);
    wire_put_some(o, number + 1, host);
    if (port)
        wire_put_uint(o, number + 2, port);
}
