/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The least client that speaks Sluice: frames over one socket that does not
 * block, messages by protobuf-c, batches encoded beforehand, so that the server
 * is what is measured. A peer may also be a floor program, which takes the same
 * frames, says no hello, and answers with frames of any content.
 */
#ifndef SLUICE_TESTS_BENCH_PEER_H
#define SLUICE_TESTS_BENCH_PEER_H

#include "proto/base/buf.h"
#include "proto/base/slice.h"

struct words;

struct peer {
    int fd;
    bool is_floor;
    uint8_t *in; /* what was received and not yet taken */
    size_t in_size, in_capacity, in_pos;
};

/* Words: to=HOST:PORT, floor=1. Says hello to a real server. */
void peer_open(struct peer *p, const struct words *w);
void peer_open_at(struct peer *p, const char *address, bool is_floor);
void peer_close(struct peer *p);

/* Sends all, waiting where it must. */
void peer_send(struct peer *p, struct slice bytes);
/* As much as goes now; returns how much. */
size_t peer_send_some(struct peer *p, struct slice bytes);
/* One recv; false: nothing is there now. Ends the program if the peer closed. */
bool peer_receive(struct peer *p);
/* The next whole frame without its length, valid until peer_receive; false: none yet. */
bool peer_next(struct peer *p, struct slice *frame);
/* Waits for it. */
struct slice peer_frame(struct peer *p);

/* --- requests, as whole frames appended to out ------------------------------ */
struct batch_shape {
    int64_t records;
    int64_t record_bytes; /* of the value; there is no key */
};
/* A serialized, canonical batch with checksums, of random bytes. */
void append_batch(struct buf *out, const struct batch_shape *shape);
void append_produce(struct buf *out, uint64_t correlation_id, const char *topic, uint32_t partition,
                    int acks, struct slice batch);
void append_fetch(struct buf *out, uint64_t correlation_id, const char *topic, uint32_t partition,
                  int64_t offset, uint32_t max_bytes, uint32_t max_wait_ms);
void append_create_topic(struct buf *out, const char *topic, int32_t partitions,
                         const char *config_name, const char *config_value);

/* Whether the response is refused for now, as a partition is that is still being opened (classes
 * retry and refresh). */
bool is_refused_for_now(struct slice frame);
/* Ends the program unless the response (of a produce, a fetch or topic requests) reports success
 * throughout. */
void check_response(const struct peer *p, struct slice frame);

#endif
