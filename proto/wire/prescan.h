/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The walk over a message's bytes before protobuf-c may see them. protobuf-c
 * trusts its input: it recurses without limit, merges a repeated singular
 * submessage in quadratic time, and turns 2 MB of empty elements into 114 MB.
 *
 * What passes here has: well-formed fields of the types that the schema says;
 * depth at most MESSAGE_DEPTH_MAX; no groups; each singular field, and each
 * oneof, at most once; at most MESSAGE_ELEMENTS_MAX repeated elements and
 * MESSAGE_UNKNOWN_MAX unknown fields, all levels together; strings that are
 * UTF-8 without NUL. Costs one pass, no memory, no recursion. Threads: any.
 */
#ifndef SLUICE_WIRE_PRESCAN_H
#define SLUICE_WIRE_PRESCAN_H

#include <protobuf-c/protobuf-c.h>

#include "proto/base/err.h"
#include "proto/base/slice.h"

/* E_INVALID_REQUEST, and *what (may be NULL) a static sentence that says why. */
err prescan(const ProtobufCMessageDescriptor *type, struct slice bytes, const char **what) MUST_USE;
/* The same for messages that may have more elements: 10,000 partitions have 70,000. */
err prescan_large(const ProtobufCMessageDescriptor *type, struct slice bytes, uint32_t elements_max,
                  const char **what) MUST_USE;

#endif
