/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Protobuf messages from and to bytes, safely: nothing is unpacked by
 * protobuf-c before the pre-scan has walked it (prescan.h), and only into an
 * arena with a byte budget, for the library trusts its input (docs/protocol.md).
 * The hot messages, produce and fetch, have their own parsers (produce.h,
 * fetch.h in this folder) that give views into the frame. Threads: any.
 */
#ifndef SLUICE_WIRE_MSG_H
#define SLUICE_WIRE_MSG_H

#include <protobuf-c/protobuf-c.h>

#include "proto/base/buf.h"
#include "proto/base/err.h"
#include "proto/base/mem.h"
#include "proto/base/slice.h"

/* Pre-scans and unpacks into the arena (which also bounds it); the message lives as long as the
 * arena. E_INVALID_REQUEST: malformed, too deep, too many elements, a singular field twice, over
 * the budget. *what (may be NULL): a static sentence that says which. A limit of 8 MiB holds
 * whatever passes the pre-scan in a frame of CONTROL_FRAME_BYTES_MAX; a larger one admits more
 * elements, one for each 512 bytes. */
err msg_unpack(const ProtobufCMessageDescriptor *type, struct slice bytes, struct arena *arena,
               void **out, const char **what) MUST_USE;
/* Appends the serialized message. */
void msg_pack(const void *message, struct buf *out);

/* What can be known of a frame before its body is unpacked: the first look. */
struct msg_peek {
    uint64_t correlation_id;
    struct slice client_id; /* Request */
    struct slice error;     /* Response: a serialized Error, empty if none */
    uint32_t body_field;    /* the oneof's field number; 0: none */
    struct slice body;      /* its serialized message */
};
err msg_peek_request(struct slice frame, struct msg_peek *out) MUST_USE;
err msg_peek_response(struct slice frame, struct msg_peek *out) MUST_USE;

/* A serialized sluice.Error, as in msg_peek.error. The message is a view, or the code's own text if
 * there was none. */
struct msg_error {
    err code;             /* E_UNKNOWN if this build does not know it; then the class decides */
    enum err_class class; /* as sent */
    struct slice message;
};
err msg_read_error(struct slice bytes, struct msg_error *out) MUST_USE;
/* An Error to be packed: number and class of e. text: kept, never changed. */
struct Sluice__Error;
void msg_fill_error(struct Sluice__Error *out, err e, const char *text);

/* Field numbers of the oneofs in request.proto. */
enum api {
    API_HELLO = 10,
    API_PRODUCE,
    API_FETCH,
    API_LIST_OFFSETS,
    API_METADATA,
    API_CREATE_TOPICS,
    API_DELETE_TOPICS,
    API_CREATE_PARTITIONS,
    API_DESCRIBE_CONFIGS,
    API_ALTER_CONFIGS,
    API_DELETE_RECORDS,
    API_END
};
/* "produce" ...; NULL for others. */
const char *api_name(uint32_t body_field);

#endif
