/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A frame: a length of four bytes, big-endian, and that many bytes of one
 * Request (client to server) or Response (server to client). A length of 0 is
 * no frame, one above the connection's limit is refused before a byte of it is
 * stored. Threads: any.
 */
#ifndef SLUICE_WIRE_FRAME_H
#define SLUICE_WIRE_FRAME_H

#include "proto/base/err.h"
#include "proto/base/slice.h"

enum { FRAME_PREFIX_SIZE = 4 };

/* The announced length. E_WOULD_BLOCK: the prefix is not all there. E_INVALID_REQUEST: 0 or above
 * max. */
err frame_read_length(struct slice bytes, size_t max, size_t *out) MUST_USE;
uint8_t *frame_write_length(uint8_t *p, size_t length);

/* What stands in front of a body of body_size bytes: frame length, correlation id, tag and length
 * of the body. The returned pointer is where the body goes. */
size_t frame_response_head_size(uint64_t correlation_id, uint32_t body_field, size_t body_size);
uint8_t *frame_response_head_write(uint8_t *p, uint64_t correlation_id, uint32_t body_field,
                                   size_t body_size);

/* What stands in front of a request's body field of field_size bytes, its tag and length among
 * them: frame length, correlation id, client id (empty: left out). */
size_t frame_request_head_size(uint64_t correlation_id, struct slice client_id);
uint8_t *frame_request_head_write(uint8_t *p, uint64_t correlation_id, struct slice client_id,
                                  size_t field_size);

#endif
