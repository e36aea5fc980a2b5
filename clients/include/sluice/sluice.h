/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libsluice: the C client of Sluice, a distributed, replicated, persistent
 * publish/subscribe log.
 *
 *   producer   sends records to topics, batched, in order per partition
 *   consumer   reads records of partitions, as views into what was fetched
 *   admin      creates, describes, changes and deletes topics; configs; offsets
 *
 * A first program:
 *
 *     struct sluice_error error;
 *     sluice_config *config = sluice_config_new();
 *     sluice_config_set(config, "bootstrap.servers", "localhost:9290");
 *
 *     sluice_producer *producer;
 *     if (sluice_producer_new(config, NULL, &producer, &error) != SLUICE_OK)
 *         errx(1, "%s", error.text);
 *     struct sluice_record record = {.topic = "greetings", .value = "hello", .value_size = 5};
 *     if (sluice_producer_send(producer, &record, SLUICE_TIMEOUT_DEFAULT, &error) != SLUICE_OK)
 *         errx(1, "%s", error.text);
 *     if (sluice_producer_close(producer, 10000, &error) != SLUICE_OK)
 *         errx(1, "%s", error.text);
 *     sluice_config_free(config);
 *
 * Handles. A handle is opaque. Each producer, consumer and admin has one
 * background thread, which does all its input and output (and another that
 * looks up host names, or sleeps); making one costs these and a few
 * connections, so make few and keep them. Nothing connects
 * before it is needed. A handle does not survive fork().
 *
 * Threads. A producer and an admin may be used from any number of threads. A
 * consumer is used by one thread at a time. The *_wakeup functions may be
 * called from any thread and from signal handlers. No handle may be used while or after it is
 * closed. Callbacks run on the handle's background thread: they must not block, and calls
 * that could block are refused there with SLUICE_E_NOT_PERMITTED.
 *
 * Time. Every call that can block takes timeout_ms, in milliseconds, and
 * returns when that is over at the latest: SLUICE_E_TIMED_OUT. 0 never blocks.
 * SLUICE_TIMEOUT_DEFAULT is the handle's own: `max.block.ms` of a producer,
 * `default.api.timeout.ms` of the others. Timestamps of records are
 * milliseconds since 1970-01-01 UTC.
 *
 * Errors. Functions that can fail return an enum sluice_code, SLUICE_OK (0) if
 * they succeeded, and fill in *error, which may be NULL. Out-parameters are not touched on
 * failure unless a function says otherwise. error->error_class tells what to
 * do; the library itself retries what is worth it until the deadline, so what
 * arrives here is final.
 *
 * Memory. Strings and arrays passed in are copied before the call returns,
 * records too. What comes out belongs to the handle or result it came from, and each function
 * says for how long it is valid. The library aborts if the machine is out of memory; what a peer
 * or a config can make it hold is bounded (`buffer.memory`, `queued.max.bytes`).
 *
 * ABI. Structs below are filled in by designated initializers: a field left
 * out is 0, and 0 always means the default. Fields are only ever added at the end,
 * with a new soname.
 */
#ifndef SLUICE_H
#define SLUICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SLUICE_API __attribute__((visibility("default")))

/* "0.1.0" */
SLUICE_API const char *sluice_version(void);

#define SLUICE_TIMEOUT_DEFAULT ((int64_t)-1)

/* === errors =============================================================== */

/* What to do about an error. */
enum sluice_class {
    SLUICE_CLASS_NONE = 0,
    SLUICE_CLASS_RETRY = 1, /* the same may succeed later */
    SLUICE_CLASS_REROUTE =
        2, /* leaders or addresses changed; the library has asked for the new ones */
    SLUICE_CLASS_CALLER = 3,  /* the call, or what it asked for, is wrong: retrying does not help */
    SLUICE_CLASS_STORAGE = 4, /* a disk of a broker failed, or what it holds is damaged */
    SLUICE_CLASS_FATAL = 5,   /* this handle cannot go on */
    SLUICE_CLASS_SIGNAL = 6,  /* not a failure: woken up, or closed */
    SLUICE_CLASS_BUG = 7      /* a defect of Sluice: please report it */
};

/* Numbers are Kafka's where the meaning is the same, Sluice's own from 1000 on; negative ones
 * arise in the library only. What a newer broker sends and this table has not arrives as
 * SLUICE_E_UNKNOWN, with the class and the text it came with. */
enum sluice_code {
    SLUICE_OK = 0,
    SLUICE_E_OFFSET_OUT_OF_RANGE = 1,
    SLUICE_E_CORRUPT = 2,
    SLUICE_E_UNKNOWN_TOPIC_OR_PARTITION = 3,
    SLUICE_E_LEADER_NOT_AVAILABLE = 5,
    SLUICE_E_NOT_LEADER = 6,
    SLUICE_E_TIMED_OUT = 7,
    SLUICE_E_BROKER_NOT_AVAILABLE = 8,
    SLUICE_E_MESSAGE_TOO_LARGE = 10,
    SLUICE_E_NETWORK = 13,
    SLUICE_E_INVALID_TOPIC = 17,
    SLUICE_E_NOT_ENOUGH_REPLICAS = 19,
    SLUICE_E_NOT_ENOUGH_REPLICAS_AFTER_APPEND = 20,
    SLUICE_E_INVALID_REQUIRED_ACKS = 21,
    SLUICE_E_INVALID_TIMESTAMP = 32,
    SLUICE_E_UNSUPPORTED_VERSION = 35,
    SLUICE_E_TOPIC_EXISTS = 36,
    SLUICE_E_INVALID_PARTITIONS = 37,
    SLUICE_E_INVALID_REPLICATION_FACTOR = 38,
    SLUICE_E_INVALID_REPLICA_ASSIGNMENT = 39,
    SLUICE_E_INVALID_CONFIG = 40,
    SLUICE_E_NOT_CONTROLLER = 41,
    SLUICE_E_INVALID_REQUEST = 42,
    SLUICE_E_POLICY_VIOLATION = 44,
    SLUICE_E_OUT_OF_ORDER_SEQUENCE = 45,
    SLUICE_E_STORAGE = 56,
    SLUICE_E_FENCED_LEADER_EPOCH = 74,
    SLUICE_E_UNKNOWN_LEADER_EPOCH = 75,
    SLUICE_E_UNSUPPORTED_COMPRESSION = 76,
    SLUICE_E_STALE_BROKER_EPOCH = 77,
    SLUICE_E_OFFSET_NOT_AVAILABLE = 78,
    SLUICE_E_INVALID_RECORD = 87,
    SLUICE_E_UNKNOWN_TOPIC_ID = 100,
    SLUICE_E_INCONSISTENT_TOPIC_ID = 103,
    SLUICE_E_INCONSISTENT_CLUSTER_ID = 104,
    SLUICE_E_UNKNOWN = 1000,
    SLUICE_E_NO_SPACE = 1001,
    SLUICE_E_OVERLOADED = 1002,
    SLUICE_E_SHUTTING_DOWN = 1003,
    SLUICE_E_NOT_READY = 1004,
    SLUICE_E_NO_HELLO = 1005,
    SLUICE_E_WRONG_ROLE = 1006,
    SLUICE_E_WRONG_PARTITION = 1007,
    SLUICE_E_NOT_PERMITTED = 1008,
    SLUICE_E_COORDINATION = 1009,
    SLUICE_E_WOULD_BLOCK = -1,
    SLUICE_E_END = -2,
    SLUICE_E_CANCELLED = -3, /* woken up (*_wakeup), or the handle was closed */
    SLUICE_E_NOT_FOUND = -4,
    SLUICE_E_EXISTS = -5,
    SLUICE_E_BAD_VERSION = -6,
    SLUICE_E_NO_MEMORY = -7,
    SLUICE_E_CONFIG = -8, /* a config key or value is wrong; text names all of them */
    SLUICE_E_BUG = -9
};

/* An open value: copy it, keep it. Everything is filled in by the call that failed. */
struct sluice_error {
    int32_t code;                  /* an enum sluice_code */
    enum sluice_class error_class; /* what to do about it */
    const char *name;              /* "E_NOT_LEADER"; static */
    const char *tried; /* what was tried: "produce", "fetch", "create topics" ...; static */
    char where[320];   /* "topic orders partition 3, broker 1 at 10.0.0.7:9292"; may be empty */
    char text[1024];   /* one line for people: all of the above and what was wrong */
};

/* "E_NOT_LEADER"; "E_UNKNOWN" for a number that is not in the table. Static. */
SLUICE_API const char *sluice_code_name(int32_t code);
/* "retry"; static. */
SLUICE_API const char *sluice_class_name(enum sluice_class c);

/*
 * What the library has to tell beside return values (connections lost and made
 * again, leaders that moved): one line each, without its newline. Process-wide. fn NULL: standard
 * error. level: 0 errors, 1 warnings (the default), 2 changes of state, 3 debugging. fn may be
 * called from any background thread.
 */
typedef void sluice_diagnostics_fn(void *arg, const char *line, size_t size);
SLUICE_API void sluice_set_diagnostics(int level, sluice_diagnostics_fn *fn, void *arg);

/* === configuration ======================================================== */

/* Strings by string keys; names are Kafka's where the meaning is the same. Values are checked when
 * a handle is made, all at once. A config may serve many handles, one after another or at the same
 * time as long as nobody changes it. */
typedef struct sluice_config sluice_config;

SLUICE_API sluice_config *sluice_config_new(void);
SLUICE_API void sluice_config_free(sluice_config *config);
/* Sets or replaces; value NULL takes the key away. Both are copied. Never fails: see *_new. */
SLUICE_API void sluice_config_set(sluice_config *config, const char *key, const char *value);
/* Valid until the key is set again; NULL: not set. */
SLUICE_API const char *sluice_config_get(const sluice_config *config, const char *key);

/* Which handles know a key. */
enum sluice_role { SLUICE_PRODUCER = 1, SLUICE_CONSUMER = 2, SLUICE_ADMIN = 4 };

/* The table of keys, from which the manual is written. Static. */
struct sluice_config_key {
    const char *key;
    unsigned roles;            /* of enum sluice_role */
    const char *default_value; /* "" if there is none */
    int64_t min, max;          /* of a number; equal: no bounds, or not a number */
    const char *choices;       /* "none|gzip|snappy|lz4|zstd"; NULL: not a choice */
    const char *doc;           /* one or two sentences */
};
SLUICE_API const struct sluice_config_key *sluice_config_keys(size_t *count);

/* Checks the config as *_new for this role would, without making anything. */
SLUICE_API int sluice_config_check(const sluice_config *config, enum sluice_role role,
                                   struct sluice_error *error);

/* === producer ============================================================= */

/*
 * Records are serialized into a batch of their partition as they are sent, in
 * memory of a fixed size (`buffer.memory`). A batch leaves when it is full
 * (`batch.size`) or `linger.ms` after its first record, together with others
 * for the same broker; compressed as a whole if `compression.type` says so.
 *
 * Order. Records sent to a partition by one thread are stored in the order in
 * which they were sent, retries included: what is to be retried is never
 * overtaken by what is behind it. For this one request per partition is under way at a time
 * (with any number of batches in it); other partitions are not held up. With `retries=0` or
 * `acks=0` up to `max.in.flight.requests.per.connection` are.
 *
 * Retries. A batch is tried again, after `retry.backoff.ms` growing to
 * `retry.backoff.max.ms`, for errors of the classes RETRY, REROUTE and STORAGE,
 * until `delivery.timeout.ms` after its first record. An answer that got lost means that
 * a batch may be stored twice: deliveries are at least once.
 *
 * Partitions. sluice_producer_send_to names one. sluice_producer_send chooses: with
 * a key, murmur2(key) as Kafka's Java client does, so that the same key goes to the same
 * partition from clients of both; without, one partition until `batch.size`
 * bytes went there, then another, the less loaded ones more often.
 */
typedef struct sluice_producer sluice_producer;

struct sluice_header {
    const char *key; /* with its NUL */
    const void *value;
    size_t value_size;
};

/* Copied by the call it is given to. */
struct sluice_record {
    const char *topic;
    const void *key; /* NULL: none. Pointer and size 0: an empty key. */
    size_t key_size;
    const void *value; /* NULL: none (a tombstone on compacted topics). */
    size_t value_size;
    int64_t timestamp_ms; /* 0: now */
    const struct sluice_header *headers;
    size_t header_count;
    void *opaque; /* for on_delivery */
};

/* How a record ended. */
struct sluice_delivery {
    const struct sluice_error
        *error;        /* NULL: delivered as `acks` demands. Valid during the callback. */
    const char *topic; /* valid during the callback */
    int32_t partition;
    int64_t offset;             /* -1: not known (failed, or acks=0) */
    int64_t log_append_time_ms; /* the broker's time, if the topic stamps its records with it; else
                                   -1 */
    void *opaque;               /* the record's */
};

/*
 * Called once for every record that sluice_producer_send* took, in the order of
 * sending within a partition: on the background thread, or, for what
 * sluice_producer_close gives up, on the thread that closes. Must not block; may
 * send, with timeout_ms 0. The memory of the record's batch is free for others
 * once the callbacks of all its records returned.
 */
typedef void sluice_delivery_fn(void *user, const struct sluice_delivery *delivery);

struct sluice_producer_callbacks {
    sluice_delivery_fn *on_delivery;
    void *user;
};

/* Does not wait for a connection. callbacks: copied; may be NULL: failures are then told by
 * sluice_producer_flush and the statistics only. SLUICE_E_CONFIG. */
SLUICE_API int sluice_producer_new(const sluice_config *config,
                                   const struct sluice_producer_callbacks *callbacks,
                                   sluice_producer **out, struct sluice_error *error);

/*
 * Takes a record for delivery. Blocks only while the topic is not known yet or `buffer.memory` is
 * used up. Errors: SLUICE_E_TIMED_OUT: memory or metadata did not become available (text tells
 * which); SLUICE_E_UNKNOWN_TOPIC_OR_PARTITION: the topic did not come to exist within timeout_ms,
 * or it has no such partition; SLUICE_E_MESSAGE_TOO_LARGE: larger than `max.request.size` or the
 * whole `buffer.memory`; SLUICE_E_CANCELLED: woken up. A refused record gets no callback.
 */
SLUICE_API int sluice_producer_send(sluice_producer *producer, const struct sluice_record *record,
                                    int64_t timeout_ms, struct sluice_error *error);
SLUICE_API int sluice_producer_send_to(sluice_producer *producer, int32_t partition,
                                       const struct sluice_record *record, int64_t timeout_ms,
                                       struct sluice_error *error);

/*
 * Sends everything at once and waits until what was sent before the call was delivered or failed,
 * its callbacks returned. If records failed since the last flush that told of it: the first one's
 * error. SLUICE_E_TIMED_OUT: some are still under way; they stay under way.
 */
SLUICE_API int sluice_producer_flush(sluice_producer *producer, int64_t timeout_ms,
                                     struct sluice_error *error);

/* How many partitions the topic has; waits until that is known. Asks for the topic to be created if
 * the cluster does that
 * (`allow.auto.create.topics`). */
SLUICE_API int sluice_producer_partitions(sluice_producer *producer, const char *topic,
                                          int64_t timeout_ms, int32_t *count,
                                          struct sluice_error *error);

/* Since the producer was made. */
struct sluice_producer_stats {
    uint64_t records_sent;   /* taken by send */
    uint64_t records_acked;  /* delivered */
    uint64_t records_failed; /* given up */
    uint64_t bytes_sent;     /* of serialized records, uncompressed */
    uint64_t bytes_written;  /* of batches handed to connections, compressed, retries included */
    uint64_t batches;        /* handed to connections, retries included */
    uint64_t requests;
    uint64_t retries;      /* batches tried again */
    uint64_t memory_waits; /* sends that had to wait for memory */
    uint64_t memory_used;  /* now, of buffer.memory */
};
SLUICE_API void sluice_producer_stats(sluice_producer *producer, struct sluice_producer_stats *out);

/* Makes the calls that block now return SLUICE_E_CANCELLED, or the next one that would block.
 * Async-signal-safe. */
SLUICE_API void sluice_producer_wakeup(sluice_producer *producer);

/* Flushes until the deadline, gives up what is left then (callbacks say SLUICE_E_CANCELLED), ends
 * the thread and frees the handle, whatever it returns: as sluice_producer_flush. timeout_ms 0
 * gives up at once. producer may be NULL. From a callback: SLUICE_E_NOT_PERMITTED, and nothing is
 * done. */
SLUICE_API int sluice_producer_close(sluice_producer *producer, int64_t timeout_ms,
                                     struct sluice_error *error);

/* === consumer ============================================================= */

/*
 * Reads partitions it is assigned, each from its position on. The background
 * thread fetches ahead, at most `queued.max.bytes` in all (one batch more, if a
 * single one is larger); sluice_consumer_poll hands out views of the records.
 * Checksums are verified (`check.crcs`), decompression is bounded.
 *
 * A position that is outside of what the partition holds, or belongs to a topic that was since
 * deleted and created again, is handled by `auto.offset.reset` (earliest, latest, none), and told
 * by an event in each case: SLUICE_EVENT_RESET or SLUICE_EVENT_ERROR.
 */
typedef struct sluice_consumer sluice_consumer;

SLUICE_API int sluice_consumer_new(const sluice_config *config, sluice_consumer **out,
                                   struct sluice_error *error);

/* Places beside offsets. */
enum {
    SLUICE_OFFSET_END = -1,       /* behind the last record */
    SLUICE_OFFSET_BEGINNING = -2, /* the first record that is there */
    SLUICE_OFFSET_DEFAULT = -3    /* where auto.offset.reset says */
};

struct sluice_topic_partition {
    const char *topic;
    int32_t partition;
    int64_t offset; /* an offset or an enumerator above */
};

/* Reads exactly these partitions from now on. What was fetched of others is dropped; one that stays
 * and is given SLUICE_OFFSET_DEFAULT keeps its position. Does not wait: whether topic and partition
 * exist shows by events. count 0: none. SLUICE_E_INVALID_REQUEST: a partition twice, or an offset
 * or number out of range. */
SLUICE_API int sluice_consumer_assign(sluice_consumer *consumer,
                                      const struct sluice_topic_partition *partitions, size_t count,
                                      struct sluice_error *error);

/* Continue at this offset or place. What was fetched already is dropped. Does not wait. The four
 * below: SLUICE_E_NOT_FOUND: not assigned. */
SLUICE_API int sluice_consumer_seek(sluice_consumer *consumer, const char *topic, int32_t partition,
                                    int64_t offset, struct sluice_error *error);
/* Continue at the first record with this timestamp or a later one; at the end if there is none. */
SLUICE_API int sluice_consumer_seek_time(sluice_consumer *consumer, const char *topic,
                                         int32_t partition, int64_t timestamp_ms,
                                         struct sluice_error *error);
/* A paused partition gives no records and is not fetched; what was fetched stays. */
SLUICE_API int sluice_consumer_pause(sluice_consumer *consumer, const char *topic,
                                     int32_t partition, struct sluice_error *error);
SLUICE_API int sluice_consumer_resume(sluice_consumer *consumer, const char *topic,
                                      int32_t partition, struct sluice_error *error);

/* The offset behind the last record given out, or where reading starts. If that place is not known
 * yet (beginning, end, time): waits for it. */
SLUICE_API int sluice_consumer_position(sluice_consumer *consumer, const char *topic,
                                        int32_t partition, int64_t timeout_ms, int64_t *offset,
                                        struct sluice_error *error);
/* The first offset that is there, and the high watermark (what is below may be read), as the last
 * answer from the leader had them; -1: none came yet. Either pointer may be NULL. */
SLUICE_API int sluice_consumer_watermarks(sluice_consumer *consumer, const char *topic,
                                          int32_t partition, int64_t *low, int64_t *high,
                                          struct sluice_error *error);

/* A record read: a view. All pointers are valid until the next sluice_consumer_poll or _close. */
struct sluice_message {
    const char *topic;
    int32_t partition;
    int32_t leader_epoch; /* of its batch */
    int64_t offset;
    int64_t timestamp_ms;
    const void *key; /* NULL: none */
    size_t key_size;
    const void *value; /* NULL: none */
    size_t value_size;
    const void *headers;  /* serialized: see sluice_header_next */
    size_t headers_size;  /* 0: none */
    bool log_append_time; /* timestamp_ms is the broker's, not the producer's */
};

struct sluice_header_view {
    const char *key; /* without a NUL */
    size_t key_size;
    const void *value; /* NULL: none */
    size_t value_size;
};
/* Walks the headers of a message: *pos is 0 for the first, and moved on. false: no more. */
SLUICE_API bool sluice_header_next(const struct sluice_message *message, size_t *pos,
                                   struct sluice_header_view *out);

enum sluice_event_type {
    SLUICE_EVENT_END = 1, /* everything below the high watermark was given out; with
                             `enable.partition.eof=true` only */
    SLUICE_EVENT_RESET =
        2, /* the position was out of range: moved from `from` to `offset` by auto.offset.reset */
    SLUICE_EVENT_ERROR =
        3 /* see error. Class CALLER, FATAL or STORAGE: the partition is stopped until it is sought
           * or assigned again; the others heal by themselves and are told once */
};

struct sluice_event {
    enum sluice_event_type type;
    int32_t partition;
    const char *topic;
    int64_t offset;                   /* the position now */
    int64_t from;                     /* RESET: the position before */
    const struct sluice_error *error; /* RESET and ERROR: why */
};

/* Views; valid until the next sluice_consumer_poll or _close. */
struct sluice_poll {
    const struct sluice_message *messages; /* of one or more partitions, those of each in order */
    size_t message_count;                  /* at most max.poll.records */
    const struct sluice_event *events;     /* each belongs behind the messages of its partition */
    size_t event_count;
};

/* Waits until there is a message or an event. Nothing within timeout_ms: SLUICE_OK and both counts
 * 0. Out of reach brokers are tried again for ever, told by events. SLUICE_E_CANCELLED: woken up;
 * nothing is lost. */
SLUICE_API int sluice_consumer_poll(sluice_consumer *consumer, int64_t timeout_ms,
                                    struct sluice_poll *out, struct sluice_error *error);

/* As sluice_producer_partitions. */
SLUICE_API int sluice_consumer_partitions(sluice_consumer *consumer, const char *topic,
                                          int64_t timeout_ms, int32_t *count,
                                          struct sluice_error *error);

struct sluice_consumer_stats {
    uint64_t messages; /* given out */
    uint64_t bytes;    /* of keys and values given out */
    uint64_t fetched;  /* bytes of batches received */
    uint64_t fetches;  /* requests */
    uint64_t queued;   /* bytes fetched and not yet given out, now */
};
SLUICE_API void sluice_consumer_stats(sluice_consumer *consumer, struct sluice_consumer_stats *out);

/* As sluice_producer_wakeup. */
SLUICE_API void sluice_consumer_wakeup(sluice_consumer *consumer);

/* Ends the thread and frees the handle and all views, whatever it returns. consumer may be NULL. */
SLUICE_API int sluice_consumer_close(sluice_consumer *consumer, int64_t timeout_ms,
                                     struct sluice_error *error);

/* === admin ================================================================ */

/*
 * Each call is one request, tried again until its deadline where that can
 * help. Calls that take several items do what they can: they return SLUICE_OK if every item
 * succeeded, else the error of the first that did not. *out, where there is one, is set whenever
 * the request was answered, also if an item failed; it is NULL otherwise. It tells of each item, in
 * the order given. out may be NULL. Results are freed by their *_free and depend on nothing else.
 *
 * What one admin changed, its later calls see. A change whose answer was lost
 * is tried again and may then report, for instance, SLUICE_E_TOPIC_EXISTS.
 */
typedef struct sluice_admin sluice_admin;

SLUICE_API int sluice_admin_new(const sluice_config *config, sluice_admin **out,
                                struct sluice_error *error);
/* Calls that block now, in other threads, must have returned. admin may be NULL. */
SLUICE_API void sluice_admin_free(sluice_admin *admin);
/* As sluice_producer_wakeup. */
SLUICE_API void sluice_admin_wakeup(sluice_admin *admin);

struct sluice_property {
    const char *key;
    const char *value;
};

/* --- the cluster, its brokers and topics ---------------------------------- */

struct sluice_broker {
    int32_t id;
    uint16_t port;
    const char *host;
    const char *rack; /* "" if it has none */
    uint64_t incarnation;
};

struct sluice_partition {
    int32_t partition;
    int32_t leader; /* -1: none */
    int32_t leader_epoch;
    uint32_t partition_epoch;
    const int32_t *replicas; /* the first is the preferred leader */
    size_t replica_count;
    const int32_t *isr;
    size_t isr_count;
    const int32_t *eligible;
    size_t eligible_count;
};

struct sluice_topic {
    const char *name;
    char id[33]; /* 32 hex digits; empty if it has none */
    bool internal;
    const struct sluice_error *error; /* NULL: none */
    const struct sluice_partition *partitions;
    size_t partition_count;
    uint32_t replication_factor;           /* of its first partition */
    uint32_t min_insync_replicas;          /* the effective value */
    const struct sluice_property *configs; /* those set on the topic itself */
    size_t config_count;
};

struct sluice_cluster {
    uint64_t version; /* of the metadata: rises with each change of the cluster */
    const char *cluster_id;
    int32_t controller_id;               /* -1: none */
    const struct sluice_broker *brokers; /* by id */
    size_t broker_count;
    const struct sluice_topic *topics;
    size_t topic_count;
};

/* Cluster, brokers and the topics named; count 0 with topics NULL: all topics, by name; count 0
 * otherwise: no topics. A missing topic is SLUICE_E_UNKNOWN_TOPIC_OR_PARTITION. */
SLUICE_API int sluice_admin_describe(sluice_admin *admin, const char *const *topics, size_t count,
                                     int64_t timeout_ms, struct sluice_cluster **out,
                                     struct sluice_error *error);
SLUICE_API void sluice_cluster_free(struct sluice_cluster *cluster);

/* --- create, grow, delete topics ------------------------------------------ */

struct sluice_replicas {
    const int32_t *brokers;
    size_t count;
};

struct sluice_new_topic {
    const char *name;
    int32_t partitions;         /* 0: the cluster's default */
    int32_t replication_factor; /* 0: the cluster's default */
    const struct sluice_property *configs;
    size_t config_count;
    const struct sluice_replicas
        *assignment; /* one per partition, instead of the two numbers above; or NULL */
    size_t assignment_count;
};

struct sluice_topic_result {
    const char *name;
    char id[33];
    const struct sluice_error *error; /* NULL: done */
    int32_t partitions;
    int32_t replication_factor;
};

struct sluice_topic_results {
    const struct sluice_topic_result *topics;
    size_t count;
};

/* validate_only: checks everything and changes nothing. Returns when the topics exist, which is
 * before every broker has heard of them; producers and consumers wait for that by themselves. */
SLUICE_API int sluice_admin_create_topics(sluice_admin *admin,
                                          const struct sluice_new_topic *topics, size_t count,
                                          bool validate_only, int64_t timeout_ms,
                                          struct sluice_topic_results **out,
                                          struct sluice_error *error);
SLUICE_API int sluice_admin_delete_topics(sluice_admin *admin, const char *const *topics,
                                          size_t count, int64_t timeout_ms,
                                          struct sluice_topic_results **out,
                                          struct sluice_error *error);
/* Raises the number of partitions to total. Keys hash to other partitions from then on. */
SLUICE_API int sluice_admin_create_partitions(sluice_admin *admin, const char *topic, int32_t total,
                                              bool validate_only, int64_t timeout_ms,
                                              struct sluice_error *error);
SLUICE_API void sluice_topic_results_free(struct sluice_topic_results *results);

/* --- configs of topics and brokers ---------------------------------------- */

enum sluice_resource_type { SLUICE_RESOURCE_TOPIC = 1, SLUICE_RESOURCE_BROKER = 2 };

struct sluice_resource {
    enum sluice_resource_type type;
    const char *name; /* topic name or broker id */
};

enum sluice_config_source {
    SLUICE_SOURCE_DEFAULT = 0,
    SLUICE_SOURCE_STATIC_BROKER = 1,  /* the broker's file, environment or --set */
    SLUICE_SOURCE_DYNAMIC_BROKER = 2, /* altered at run time */
    SLUICE_SOURCE_TOPIC = 3           /* set on the topic */
};

struct sluice_config_entry {
    const char *key;
    const char *value;
    enum sluice_config_source source;
    bool read_only; /* needs a restart of the broker */
    const char *doc;
};

struct sluice_configs {
    struct sluice_resource resource;
    const struct sluice_error *error; /* NULL: none */
    const struct sluice_config_entry *entries;
    size_t entry_count;
};

struct sluice_configs_results {
    const struct sluice_configs *configs;
    size_t count;
};

SLUICE_API int sluice_admin_describe_configs(sluice_admin *admin,
                                             const struct sluice_resource *resources, size_t count,
                                             int64_t timeout_ms,
                                             struct sluice_configs_results **out,
                                             struct sluice_error *error);
SLUICE_API void sluice_configs_results_free(struct sluice_configs_results *results);

/* Keys that are not named stay as they are. */
struct sluice_alteration {
    struct sluice_resource resource;
    const struct sluice_property *set;
    size_t set_count;
    const char *const *remove; /* back to the default */
    size_t remove_count;
};
SLUICE_API int sluice_admin_alter_configs(sluice_admin *admin,
                                          const struct sluice_alteration *alterations, size_t count,
                                          bool validate_only, int64_t timeout_ms,
                                          struct sluice_configs_results **out,
                                          struct sluice_error *error);

/* --- offsets and records --------------------------------------------------- */

struct sluice_offset_result {
    const char *topic;
    int32_t partition;
    int32_t leader_epoch; /* of the batch that holds it, or the current one for the ends; -1: not
                             known */
    int64_t offset;       /* -1: no record is that young */
    int64_t timestamp_ms; /* of that record; -1 for the ends */
    const struct sluice_error *error;
};

struct sluice_offset_results {
    const struct sluice_offset_result *offsets;
    size_t count;
};
SLUICE_API void sluice_offset_results_free(struct sluice_offset_results *results);

/* Times beside milliseconds. */
enum {
    SLUICE_TIME_LATEST = -1,       /* the high watermark */
    SLUICE_TIME_EARLIEST = -2,     /* the first record that is there */
    SLUICE_TIME_MAX_TIMESTAMP = -3 /* the record with the largest timestamp */
};
/* For each the first offset at or after a time: `offset` of the partition holds milliseconds or an
 * enumerator above. Asks the leaders. */
SLUICE_API int sluice_admin_list_offsets(sluice_admin *admin,
                                         const struct sluice_topic_partition *partitions,
                                         size_t count, int64_t timeout_ms,
                                         struct sluice_offset_results **out,
                                         struct sluice_error *error);
/* Deletes the records below `offset` of each partition; SLUICE_OFFSET_END: all below the high
 * watermark. The results' offsets are the first ones that are left. */
SLUICE_API int sluice_admin_delete_records(sluice_admin *admin,
                                           const struct sluice_topic_partition *partitions,
                                           size_t count, int64_t timeout_ms,
                                           struct sluice_offset_results **out,
                                           struct sluice_error *error);

#ifdef __cplusplus
}
#endif

#endif
