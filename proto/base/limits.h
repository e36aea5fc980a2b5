/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every hard limit that a peer, a file or a user can run into, in one place.
 * What is configurable has its default here and its bounds in the daemon's
 * table of keys.
 */
#ifndef SLUICE_BASE_LIMITS_H
#define SLUICE_BASE_LIMITS_H

enum {
    KIB = 1024,
    MIB = 1024 * KIB,

    PROTOCOL_VERSION_MIN = 1,
    PROTOCOL_VERSION_MAX = 1,

    FRAME_BYTES_MAX = 100 * MIB, /* socket.request.max.bytes, default and ceiling */
    FRAME_BYTES_BEFORE_HELLO = 4 * KIB,
    CONTROL_FRAME_BYTES_MAX = 1 * MIB, /* requests other than produce and fetch */
    MESSAGE_DEPTH_MAX = 8,
    MESSAGE_UNKNOWN_MAX = 64,        /* unknown fields in one frame */
    MESSAGE_ELEMENTS_MAX = 16 * KIB, /* repeated elements in one frame, all together */
    CLIENT_ID_BYTES_MAX = 255,

    BATCH_BYTES_DEFAULT = MIB + 12, /* max.message.bytes */
    BATCH_RECORDS_MAX = 10 * 1000 * 1000,
    DECODED_SLACK = MIB, /* a batch may decode to 16 times its size and this */
    DECODED_RATIO = 16,

    TOPIC_NAME_MAX = 200,
    TOPIC_PARTITIONS_MAX = 10000,
    TOPIC_CONFIGS_MAX = 100,
    BROKER_ID_MAX = 0x7fffffff,

    SEGMENT_BYTES_MIN = MIB,
    SEGMENT_BYTES_MAX = 0x7fff0000 /* below 2 GiB: positions are 32 bits */
};

#endif
