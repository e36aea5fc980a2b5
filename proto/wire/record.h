/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records inside a batch, as views into it, and how to write them. Threads: any.
 */
#ifndef SLUICE_WIRE_RECORD_H
#define SLUICE_WIRE_RECORD_H

#include "proto/base/err.h"
#include "proto/base/reader.h"
#include "proto/base/slice.h"

struct record_view {
    uint32_t offset_delta;
    int64_t timestamp_delta; /* ms */
    struct slice key;        /* data NULL: none; an empty key has data */
    struct slice value;      /* data NULL: none (a tombstone) */
    struct slice headers;    /* the serialized Header fields, see record_next_header; empty: none */
};

/* r runs over uncompressed Records bytes. E_END after the last. E_CORRUPT. */
err record_next(struct reader *r, struct record_view *out) MUST_USE;
/* r starts as reader_init(view.headers). */
err record_next_header(struct reader *r, struct slice *key, struct slice *value) MUST_USE;

struct record_header {
    struct slice key;
    struct slice value; /* data NULL: none */
};
/* A record to write; offset and timestamp deltas as in record_view. */
struct record {
    uint32_t offset_delta;
    int64_t timestamp_delta;
    struct slice key, value;
    const struct record_header *headers;
    size_t header_count;
};
/* Bytes that record_write will write, its tag and length included. */
size_t record_size(const struct record *r);
uint8_t *record_write(uint8_t *p, const struct record *r);

#endif
