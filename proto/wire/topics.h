/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What produce and fetch have in common: both ask and answer with topics that
 * hold partitions, `repeated Topic { name = 1; topic_id = 2; repeated Partition
 * partition = 3; }`, and both report errors. Not for other folders. Threads: any.
 */
#ifndef SLUICE_WIRE_TOPICS_H
#define SLUICE_WIRE_TOPICS_H

#include "proto/wire/wire.h"

enum { TOPIC_ID_SIZE = 16 };

struct topic_identity {
    struct slice name; /* empty: absent */
    struct slice id;   /* TOPIC_ID_SIZE bytes or empty */
};

/* Reads one partition's message (to check it). */
typedef err topics_partition_fn(struct slice partition, struct wire_budget *left);

/* Walks a Topic whole: its own fields, and each partition with check. */
err topics_check(struct slice topic, topics_partition_fn *check, struct wire_budget *left,
                 size_t *partition_count) MUST_USE;

/*
 * The next partition's message. topics runs over the message in which Topic is
 * field topic_field, partitions over a Topic; identity and *first are set when
 * a topic begins. A topic without partitions is passed over. E_END, E_CORRUPT.
 */
err topics_next(struct reader *topics, uint32_t topic_field, struct reader *partitions,
                struct topic_identity *identity, bool *first, struct slice *partition) MUST_USE;

/* Puts item i's own message, the Partition. */
typedef void topics_put_fn(struct wire_out *o, const void *items, size_t i);
/* A row of partitions, in which some begin a topic. */
struct topics_row {
    const void *items;
    size_t count;
    bool (*is_first)(const void *items, size_t i);
    struct topic_identity (*identity)(const void *items, size_t i);
    topics_put_fn *put;
    uint32_t topic_field;
};
/* Puts everything in front of item i's own message, and the message: a Topic's tag and length if it
 * begins one, its names, tag and length of the partition. */
void topics_put(struct wire_out *o, const struct topics_row *row, size_t i);
/* Of all topics, tags and lengths among them. */
size_t topics_size(const struct topics_row *row);

/* sluice.Error (msg_read_error reads it). An empty message is replaced by the code's own text. */
void wire_put_error(struct wire_out *o, uint32_t number, err code, struct slice message);

/* Where the leader is, in answers: id, host and port in fields number to number + 2, or nothing if
 * id is -1. */
void wire_put_leader(struct wire_out *o, uint32_t number, int32_t id, struct slice host,
                     uint16_t port);

#endif
