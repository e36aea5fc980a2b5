/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A record batch (sluice.RecordBatch, proto/schema/log.proto) over bytes: the
 * fixed header parsed by hand, `records` left where they are. No allocation,
 * no descriptors, no clocks. Threads: any.
 *
 * A batch is *canonical* if it lies as the log writes it: tag and five-byte
 * length, the thirteen fixed-width fields in order, tag and five-byte length
 * of records: BATCH_HEADER_SIZE bytes, then the records. Clients may send any
 * protobuf encoding of it; the broker writes a canonical header.
 */
#ifndef SLUICE_WIRE_BATCH_H
#define SLUICE_WIRE_BATCH_H

#include "proto/base/err.h"
#include "proto/base/rng.h"
#include "proto/base/slice.h"

enum {
    BATCH_HEADER_SIZE = 93, /* canonical: everything in front of the records */
    BATCH_VERSION = 0,      /* attributes bits 24-31 */
};

enum batch_codec { CODEC_NONE, CODEC_GZIP, CODEC_SNAPPY, CODEC_LZ4, CODEC_ZSTD };
enum {
    BATCH_CODEC_MASK = 0x7,
    BATCH_LOG_APPEND_TIME = 1 << 3,
    BATCH_TRANSACTIONAL = 1 << 4,
    BATCH_CONTROL = 1 << 5,
    BATCH_DELETE_HORIZON = 1 << 6
};

struct batch {
    int64_t base_offset;
    int32_t leader_epoch;
    uint32_t header_crc;
    uint32_t batch_crc;
    uint32_t attributes;
    uint32_t record_count;
    uint32_t last_offset_delta;
    int64_t base_timestamp; /* ms */
    int64_t max_timestamp;  /* ms */
    int64_t producer_id;
    int32_t producer_epoch;
    int32_t base_sequence;
    uint32_t topic_crc;
    struct slice records;
    bool has_header_crc, has_batch_crc;
    bool is_canonical;
    const uint8_t *start; /* of its tag, in the bytes it was read from */
    size_t size;          /* there, tag and length included */
};

/*
 * Reads the batch at the start of bytes, canonical or not. E_END: nothing but
 * padding or zeros (or nothing at all). E_WOULD_BLOCK: it does not end within
 * bytes; *out has `size` if the length was there (else 0), the header's fields
 * if it is canonical and bytes has all BATCH_HEADER_SIZE of them (is_canonical
 * tells), and no records. E_CORRUPT: not a batch. E_UNSUPPORTED_VERSION: a batch
 * of a format version this build does not know. Checks shape, not checksums.
 * Of fields that a client left out, producer_id, producer_epoch and
 * base_sequence read as -1, the others as 0.
 */
err batch_read(struct slice bytes, struct batch *out) MUST_USE;
/* The same for bytes of a log, where only canonical batches are legal: quick, and stricter. */
err batch_read_canonical(struct slice bytes, struct batch *out) MUST_USE;

/* Checksums. */
uint32_t batch_header_crc(int64_t base_offset, int32_t leader_epoch, uint32_t batch_crc);
uint32_t batch_crc(const struct batch *b);
uint32_t batch_topic_crc(const struct uuid *topic_id, uint32_t partition);
/* E_CORRUPT unless both are there and right. */
err batch_check_crcs(const struct batch *b) MUST_USE;

/* Size of the whole batch in canonical form. */
static inline size_t batch_canonical_size(const struct batch *b)
{
    return BATCH_HEADER_SIZE + b->records.size;
}
/* Writes the canonical header of b (all fields as they are in b). */
void batch_write_header(const struct batch *b, uint8_t header[BATCH_HEADER_SIZE]);
/* Stamps a canonical header in place: offset, epoch, and the header's checksum. */
void batch_stamp(uint8_t header[BATCH_HEADER_SIZE], int64_t base_offset, int32_t leader_epoch,
                 uint32_t batch_crc);

/*
 * Walks the serialized, uncompressed Records and checks the rules: count as
 * announced, offset deltas 0, 1, 2 ... last_offset_delta in order (strict: a producer's
 * batch, never empty) or ascending (a compacted one), no timestamp above max (with
 * BATCH_LOG_APPEND_TIME the records' own do not count), header keys UTF-8, nothing but records.
 * E_INVALID_RECORD otherwise. One pass, no allocation; a few ns per record.
 */
struct batch_summary {
    int64_t max_timestamp_seen; /* the batch's own if it has no records or log append time */
    int64_t max_timestamp_offset_delta; /* the first record that has it */
};
err batch_check_records(const struct batch *b, struct slice records, bool strict,
                        struct batch_summary *out) MUST_USE;

#endif
