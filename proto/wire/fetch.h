/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fetch messages without protobuf-c: a response is a row of small heads with
 * ranges of the log's files between them, and the reader sees the batches in
 * the received frame. See produce.h for the request's rules.
 */
#ifndef SLUICE_WIRE_FETCH_H
#define SLUICE_WIRE_FETCH_H

#include "proto/base/err.h"
#include "proto/base/reader.h"
#include "proto/base/slice.h"

struct fetch_request {
    uint32_t max_wait_ms;
    uint32_t min_bytes;
    uint32_t max_bytes;
    struct slice topics; /* for fetch_next */
    size_t partition_count;
};
err fetch_parse(struct slice body, struct fetch_request *out) MUST_USE;

struct fetch_part {
    bool first_of_topic;
    struct slice topic_name; /* empty: absent */
    struct slice topic_id;   /* 16 bytes or empty */
    uint32_t partition;
    int64_t fetch_offset;
    uint32_t max_bytes;
    int32_t leader_epoch; /* -1: absent */
};
struct fetch_cursor {
    struct reader topics;
    struct reader partitions;
    struct fetch_part part;
};
void fetch_begin(struct fetch_cursor *cur, const struct fetch_request *req);
bool fetch_next(struct fetch_cursor *cur, struct fetch_part *out);

struct fetch_result {
    struct slice topic_name;
    struct slice topic_id;
    bool first_of_topic;
    uint32_t partition;
    err error;
    enum err_class
        error_class; /* reading: as it came; E_UNKNOWN is handled by it. Writing: not used */
    struct slice error_message; /* writing: empty means the error's own text */
    int64_t high_watermark;     /* -1: not written */
    int64_t log_start_offset;   /* -1: not written */
    int32_t leader_id;          /* -1: not written, nor the two below */
    struct slice leader_host;
    uint16_t leader_port;
    int32_t leader_epoch; /* -1: not written */
    struct slice batches; /* server: only its size matters; follows its head on the wire */
};
/* heads: one buffer of fetch_heads_size() bytes; head i (the first with the frame's length and the
 * envelope) is head_sizes[i] bytes of it, in order, and is followed on the wire by
 * results[i].batches. */
size_t fetch_heads_size(uint64_t correlation_id, const struct fetch_result *results, size_t count);
void fetch_response_heads(uint64_t correlation_id, const struct fetch_result *results, size_t count,
                          uint8_t *heads, size_t *head_sizes);

/* Client side: the whole body field (tag, length, FetchRequest). */
size_t fetch_request_size(const struct fetch_request *req, const struct fetch_part *parts,
                          size_t count);
uint8_t *fetch_request_write(uint8_t *p, const struct fetch_request *req,
                             const struct fetch_part *parts, size_t count);

/* Client side: walks the serialized FetchResponse. Views into it. E_END after the last. */
struct fetch_response_cursor {
    struct reader topics;
    struct reader partitions;
    struct slice topic_name, topic_id;
};
void fetch_response_begin(struct fetch_response_cursor *cur, struct slice body);
err fetch_response_next(struct fetch_response_cursor *cur, struct fetch_result *out) MUST_USE;

#endif
