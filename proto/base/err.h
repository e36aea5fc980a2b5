/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every error of Sluice, in one table: name, wire number, class, text. Wire
 * numbers are Kafka's where the meaning is the same (docs/protocol.md); those
 * from 1000 on are Sluice's own; negative ones never travel.
 *
 * A fallible function returns `err`, is MUST_USE, and leaves its
 * out-parameters untouched on failure. The function that sees errno emits the
 * one diag line; those above pass the code on silently.
 */
#ifndef SLUICE_BASE_ERR_H
#define SLUICE_BASE_ERR_H

#include <stdint.h>

#define MUST_USE __attribute__((warn_unused_result))

/* What to do about an error. The first six travel (sluice.ErrorClass). */
enum err_class {
    CLASS_NONE = 0,
    CLASS_RETRY = 1,   /* the same again, later */
    CLASS_REROUTE = 2, /* refresh metadata first */
    CLASS_CALLER = 3,  /* the request is wrong */
    CLASS_STORAGE = 4, /* a disk failed, or what it holds is damaged */
    CLASS_FATAL = 5,   /* this connection or client cannot go on */
    CLASS_SIGNAL = 6,  /* would block, end of data: control flow, never sent, never logged */
    CLASS_BUG = 7      /* ours; travels as FATAL */
};

/* clang-format off */
#define ERR_TABLE(X)                                                                                          \
    X(OK,                          0, NONE,    "no error")                                                    \
    X(E_UNKNOWN,                1000, FATAL,   "the server failed in a way it did not foresee")               \
    X(E_OFFSET_OUT_OF_RANGE,       1, CALLER,  "the offset is outside of what the partition holds")           \
    X(E_CORRUPT,                   2, RETRY,   "the data does not match its checksum or format")              \
    X(E_UNKNOWN_TOPIC_OR_PARTITION, 3, REROUTE, "no such topic or partition here")                            \
    X(E_LEADER_NOT_AVAILABLE,      5, REROUTE, "the partition has no leader now")                             \
    X(E_NOT_LEADER,                6, REROUTE, "this broker does not lead the partition")                     \
    X(E_TIMED_OUT,                 7, RETRY,   "the time allowed is over; the outcome may be unknown")        \
    X(E_BROKER_NOT_AVAILABLE,      8, REROUTE, "no such broker is registered now")                            \
    X(E_MESSAGE_TOO_LARGE,        10, CALLER,  "the batch is larger than the topic accepts")                  \
    X(E_NETWORK,                  13, REROUTE, "the connection failed")                                       \
    X(E_INVALID_TOPIC,            17, CALLER,  "the topic name is not valid")                                 \
    X(E_NOT_ENOUGH_REPLICAS,      19, RETRY,   "fewer in-sync replicas than min.insync.replicas; not appended") \
    X(E_NOT_ENOUGH_REPLICAS_AFTER_APPEND, 20, RETRY, "appended, but in-sync replicas fell below the minimum; outcome unknown") \
    X(E_INVALID_REQUIRED_ACKS,    21, CALLER,  "acks must be 0, 1 or -1")                                     \
    X(E_INVALID_TIMESTAMP,        32, CALLER,  "a record's timestamp is outside of what the topic accepts")   \
    X(E_UNSUPPORTED_VERSION,      35, FATAL,   "no common protocol version")                                  \
    X(E_TOPIC_EXISTS,             36, CALLER,  "a topic of that name exists")                                 \
    X(E_INVALID_PARTITIONS,       37, CALLER,  "the number of partitions is not valid")                       \
    X(E_INVALID_REPLICATION_FACTOR, 38, CALLER, "the replication factor is not valid")                        \
    X(E_INVALID_REPLICA_ASSIGNMENT, 39, CALLER, "the replica assignment is not valid")                        \
    X(E_INVALID_CONFIG,           40, CALLER,  "a config is not valid")                                       \
    X(E_NOT_CONTROLLER,           41, REROUTE, "this broker is not the controller")                           \
    X(E_INVALID_REQUEST,          42, CALLER,  "the request is not valid")                                    \
    X(E_POLICY_VIOLATION,         44, CALLER,  "the request is against a policy of the cluster")              \
    X(E_OUT_OF_ORDER_SEQUENCE,    45, FATAL,   "a batch of this producer is missing before this one")         \
    X(E_STORAGE,                  56, STORAGE, "the disk failed")                                             \
    X(E_FENCED_LEADER_EPOCH,      74, REROUTE, "the leader epoch is older than the partition's")              \
    X(E_UNKNOWN_LEADER_EPOCH,     75, RETRY,   "the leader epoch is newer than this broker knows")            \
    X(E_UNSUPPORTED_COMPRESSION,  76, CALLER,  "the codec is not known or not accepted")                      \
    X(E_STALE_BROKER_EPOCH,       77, FATAL,   "the broker's incarnation is older than the registered one")   \
    X(E_OFFSET_NOT_AVAILABLE,     78, RETRY,   "the end of the partition is not known yet")                   \
    X(E_INVALID_RECORD,           87, CALLER,  "a record or batch breaks the format's rules")                 \
    X(E_UNKNOWN_TOPIC_ID,        100, REROUTE, "no topic has that id here")                                   \
    X(E_INCONSISTENT_TOPIC_ID,   103, REROUTE, "topic name and topic id do not belong together")              \
    X(E_INCONSISTENT_CLUSTER_ID, 104, FATAL,   "that is another cluster")                                     \
    X(E_NO_SPACE,               1001, RETRY,   "the disk of the partition is full")                           \
    X(E_OVERLOADED,             1002, RETRY,   "a limit of the server is reached")                            \
    X(E_SHUTTING_DOWN,          1003, REROUTE, "the server is shutting down")                                 \
    X(E_NOT_READY,              1004, RETRY,   "the server is still starting")                                \
    X(E_NO_HELLO,               1005, FATAL,   "the first request of a connection must be Hello")             \
    X(E_WRONG_ROLE,             1006, CALLER,  "this server does not answer that request")                    \
    X(E_WRONG_PARTITION,        1007, CALLER,  "the batch was made for another topic or partition")           \
    X(E_NOT_PERMITTED,          1008, CALLER,  "the operation is not permitted here")                         \
    X(E_COORDINATION,           1009, RETRY,   "the coordination service cannot be reached")                  \
    X(E_WOULD_BLOCK,              -1, SIGNAL,  "would block")                                                 \
    X(E_END,                      -2, SIGNAL,  "end of data")                                                 \
    X(E_CANCELLED,                -3, SIGNAL,  "cancelled")                                                   \
    X(E_NOT_FOUND,                -4, SIGNAL,  "not found")                                                   \
    X(E_EXISTS,                   -5, SIGNAL,  "exists")                                                      \
    X(E_BAD_VERSION,              -6, SIGNAL,  "another version is there")                                    \
    X(E_NO_MEMORY,                -7, SIGNAL,  "out of memory")                                               \
    X(E_CONFIG,                   -8, CALLER,  "the configuration is not valid")                              \
    X(E_BUG,                      -9, BUG,     "a defect of Sluice")
/* clang-format on */

typedef enum err {
#define X(name, number, class_, text) name = number,
    ERR_TABLE(X)
#undef X
} err;

/* "E_CORRUPT", the class, the text. A number that is not in the table reads as
 * E_UNKNOWN (its class comes with the wire error). Static strings. */
const char *err_name(err e);
enum err_class err_class(err e);
const char *err_text(err e);
const char *err_class_name(enum err_class c);

/* The wire number as an err; E_UNKNOWN if this version does not know it. */
err err_from_wire(int32_t number);
/* The class that travels: SIGNAL and BUG become FATAL. */
enum err_class err_wire_class(err e);
int32_t err_wire_code(err e);

/* ENOSPC and EDQUOT are E_NO_SPACE, ENOMEM is E_NO_MEMORY, ENOENT E_NOT_FOUND,
 * EEXIST E_EXISTS, EAGAIN E_WOULD_BLOCK; all else is E_STORAGE. For files. */
err err_from_errno(int errnum);

/* Deliberate neglect of a MUST_USE result, with its reason. */
static inline void err_ignore(err e, const char *why)
{
    (void)e;
    (void)why;
}

#endif
