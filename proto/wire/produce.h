/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Produce messages without protobuf-c: requests as views into the frame (the
 * batches are never copied), responses written straight into the output.
 * protobuf-c would copy every `bytes` field. Same schema, same rules as the
 * pre-scan: a singular field twice, a group or a bad length is refused.
 */
#ifndef SLUICE_WIRE_PRODUCE_H
#define SLUICE_WIRE_PRODUCE_H

#include "proto/base/buf.h"
#include "proto/base/err.h"
#include "proto/base/reader.h"
#include "proto/base/slice.h"

struct produce_request {
    int32_t acks;
    uint32_t timeout_ms;
    struct slice topics;    /* for produce_next */
    size_t partition_count; /* in all topics; all were checked to be well formed */
};
/* body: a serialized ProduceRequest. Walks it whole. */
err produce_parse(struct slice body, struct produce_request *out) MUST_USE;

/* One partition at a time, in order. */
struct produce_part {
    bool first_of_topic;
    struct slice topic_name; /* empty: absent */
    struct slice topic_id;   /* 16 bytes or empty */
    uint32_t partition;
    int32_t leader_epoch; /* -1: absent */
    struct slice batches; /* a serialized Segment */
};
struct produce_cursor {
    struct reader topics;
    struct reader partitions;
    struct produce_part part;
};
void produce_begin(struct produce_cursor *cur, const struct produce_request *req);
/* false: no more. */
bool produce_next(struct produce_cursor *cur, struct produce_part *out);

/* The answer for one partition. */
struct produce_result {
    struct slice topic_name; /* empty: absent */
    struct slice topic_id;
    bool first_of_topic;
    uint32_t partition;
    err error;
    enum err_class
        error_class; /* reading: as it came; E_UNKNOWN is handled by it. Writing: not used */
    struct slice error_message;       /* writing: empty means the error's own text */
    int64_t base_offset, last_offset; /* written when error is OK */
    int64_t log_append_time_ms;       /* -1: not written */
    int64_t log_start_offset;         /* -1: not written */
    int32_t leader_id;                /* -1: not written, nor the two below */
    struct slice leader_host;
    uint16_t leader_port;
    int32_t leader_epoch; /* -1: not written */
};
/* Bytes of the whole frame (length prefix, Response, ProduceResponse) and how to write it. */
size_t produce_response_size(uint64_t correlation_id, const struct produce_result *results,
                             size_t count);
uint8_t *produce_response_write(uint8_t *p, uint64_t correlation_id,
                                const struct produce_result *results, size_t count);

/* Client side: the body field (tag, length, ProduceRequest) in front of, and between, batches that
 * stay where they are: for each part the head bytes to send before its batches. heads must have
 * room for produce_head_size_max() bytes each; sizes go to head_sizes. part.batches need only have
 * its size. */
size_t produce_head_size_max(void);
void produce_request_heads(int32_t acks, uint32_t timeout_ms, const struct produce_part *parts,
                           size_t count, uint8_t *heads, size_t *head_sizes);

/* Client side: walks the serialized ProduceResponse (msg_peek.body). Views into it. E_END after the
 * last. */
struct produce_response_cursor {
    struct reader topics;
    struct reader partitions;
    struct slice topic_name, topic_id;
};
void produce_response_begin(struct produce_response_cursor *cur, struct slice body);
err produce_response_next(struct produce_response_cursor *cur, struct produce_result *out) MUST_USE;

#endif
