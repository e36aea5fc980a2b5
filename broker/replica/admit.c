/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/replica/admit.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "proto/base/limits.h"
#include "proto/wire/record.h"

enum {
    ARENA_BYTES_MAX = 64 * MIB,
    SCRATCH_KEPT_MAX = 4 * MIB,
    /* A client sets the codec; every other attribute is the leader's or waits for transactions. */
    CLIENT_ATTRIBUTES = BATCH_CODEC_MASK
};

void admit_ctx_init(struct admit_ctx *x)
{
    *x = (struct admit_ctx){.codecs = codec_ctx_new()};
    arena_init(&x->arena, ARENA_BYTES_MAX);
}

void admit_ctx_deinit(struct admit_ctx *x)
{
    codec_ctx_free(x->codecs);
    buf_deinit(&x->decoded);
    arena_deinit(&x->arena);
}

void admit_ctx_reset(struct admit_ctx *x)
{
    if (x->arena.blocks)
        arena_reset(&x->arena);
    if (x->decoded.capacity > SCRATCH_KEPT_MAX)
        buf_deinit(&x->decoded);
}

#define REFUSE(x, why, error, ...) (*(why) = explain((x), __VA_ARGS__), (error))

static const char *explain(struct admit_ctx *x, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static const char *explain(struct admit_ctx *x, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    const char *kept = arena_printf(&x->arena, "%s", text);
    return kept ? kept : "the batch was refused";
}

static err check_header(struct admit_ctx *x, const struct admit_rules *rules, const struct batch *b,
                        size_t nth, const char **why)
{
    if (batch_canonical_size(b) > rules->batch_bytes_max)
        return REFUSE(
            x, why, E_MESSAGE_TOO_LARGE,
            "batch %zu has %zu bytes, more than the topic's max.message.bytes of %" PRIu32, nth,
            batch_canonical_size(b), rules->batch_bytes_max);
    /* First, so that damage on the way, which the same batch sent again heals, is not taken for a
     * mistake of the producer. */
    if (b->has_batch_crc && batch_crc(b) != b->batch_crc)
        return REFUSE(x, why, E_CORRUPT,
                      "batch %zu does not match its batch_crc; it was damaged on its way", nth);
    const uint32_t codec = b->attributes & BATCH_CODEC_MASK;
    if (codec > CODEC_ZSTD)
        return REFUSE(x, why, E_UNSUPPORTED_COMPRESSION,
                      "batch %zu has codec %" PRIu32 ", which is none of 0 to 4", nth, codec);
    if (b->attributes & ~(uint32_t)CLIENT_ATTRIBUTES)
        return REFUSE(x, why, E_INVALID_RECORD,
                      "batch %zu has attributes 0x%" PRIx32
                      "; a producer may set only the codec in bits 0 to 2",
                      nth, b->attributes);
    if (b->record_count == 0 || b->record_count > BATCH_RECORDS_MAX)
        return REFUSE(x, why, E_INVALID_RECORD,
                      "batch %zu says it has %" PRIu32 " records; 1 to %d are allowed", nth,
                      b->record_count, BATCH_RECORDS_MAX);
    if (b->last_offset_delta != b->record_count - 1)
        return REFUSE(x, why, E_INVALID_RECORD,
                      "batch %zu has last_offset_delta %" PRIu32 " with %" PRIu32
                      " records; it must be one less",
                      nth, b->last_offset_delta, b->record_count);
    if (b->producer_id != -1 || b->producer_epoch != -1 || b->base_sequence != -1)
        return REFUSE(
            x, why, E_INVALID_RECORD,
            "batch %zu has a producer id, epoch or sequence; this version accepts only -1 (none)",
            nth);
    if (b->topic_crc != 0 && b->topic_crc != batch_topic_crc(&rules->topic_id, rules->partition))
        return REFUSE(
            x, why, E_WRONG_PARTITION,
            "batch %zu carries the topic check of another topic or partition than %" PRIu32, nth,
            rules->partition);
    if (!b->has_batch_crc && codec != CODEC_NONE)
        return REFUSE(x, why, E_CORRUPT,
                      "batch %zu is compressed and has no batch_crc; only uncompressed batches may "
                      "go without",
                      nth);
    return OK;
}

/* The records, decoded into the scratch if need be. */
static err plain_records(struct admit_ctx *x, const struct batch *b, size_t nth, struct slice *out,
                         const char **why)
{
    const enum batch_codec codec = (enum batch_codec)(b->attributes & BATCH_CODEC_MASK);
    if (codec == CODEC_NONE) {
        *out = b->records;
        return OK;
    }
    buf_clear(&x->decoded);
    const size_t limit = codec_limit(b->records.size);
    const err e = codec_decompress(x->codecs, codec, b->records, limit, &x->decoded);
    if (e == E_MESSAGE_TOO_LARGE)
        return REFUSE(x, why, e, "batch %zu decodes (%s) to more than %zu bytes", nth,
                      codec_name(codec), limit);
    if (e != OK)
        return REFUSE(x, why, E_CORRUPT, "batch %zu cannot be decoded as %s", nth,
                      codec_name(codec));
    *out = buf_slice(&x->decoded);
    return OK;
}

static bool has_keys(struct slice records)
{
    struct reader r = reader_init(records);
    struct record_view v;
    while (record_next(&r, &v) == OK)
        if (!v.key.data)
            return false;
    return true;
}

static err check_timestamps(struct admit_ctx *x, const struct admit_rules *rules,
                            const struct batch *b, int64_t now_ms, size_t nth, const char **why)
{
    if (b->base_timestamp < 0)
        return REFUSE(x, why, E_INVALID_TIMESTAMP,
                      "batch %zu begins at timestamp %" PRId64 "; it must not be negative", nth,
                      b->base_timestamp);
    if (b->max_timestamp > now_ms && b->max_timestamp - now_ms > rules->timestamp_after_ms_max)
        return REFUSE(x, why, E_INVALID_TIMESTAMP,
                      "batch %zu has timestamp %" PRId64
                      ", more than message.timestamp.after.max.ms (%" PRId64
                      ") ahead of the broker's clock (%" PRId64 ")",
                      nth, b->max_timestamp, rules->timestamp_after_ms_max, now_ms);
    if (b->base_timestamp < now_ms && now_ms - b->base_timestamp > rules->timestamp_before_ms_max)
        return REFUSE(x, why, E_INVALID_TIMESTAMP,
                      "batch %zu has timestamp %" PRId64
                      ", more than message.timestamp.before.max.ms (%" PRId64
                      ") behind the broker's clock (%" PRId64 ")",
                      nth, b->base_timestamp, rules->timestamp_before_ms_max, now_ms);
    return OK;
}

static err check_records(struct admit_ctx *x, const struct admit_rules *rules, struct batch *b,
                         struct slice plain, size_t nth, const char **why)
{
    struct batch_summary seen;
    if (!b->has_batch_crc)
        b->max_timestamp = INT64_MAX; /* such a batch may leave it to us */
    if (batch_check_records(b, plain, true, &seen) != OK)
        return REFUSE(x, why, E_INVALID_RECORD,
                      "the records of batch %zu break the rules: %" PRIu32
                      " records with offset deltas 0, 1, 2 ... and timestamps from base_timestamp "
                      "to max_timestamp were announced",
                      nth, b->record_count);
    if (!b->has_batch_crc)
        b->max_timestamp = seen.max_timestamp_seen;
    if (b->max_timestamp != seen.max_timestamp_seen)
        return REFUSE(x, why, E_INVALID_RECORD,
                      "batch %zu has max_timestamp %" PRId64 ", but its newest record %" PRId64,
                      nth, b->max_timestamp, seen.max_timestamp_seen);
    if (rules->keys_required && !has_keys(plain))
        return REFUSE(x, why, E_INVALID_RECORD,
                      "batch %zu has a record without a key; the topic is compacted", nth);
    return OK;
}

/* Gives the records the topic's codec. They move to the arena. */
static err recode(struct admit_ctx *x, const struct admit_rules *rules, struct batch *b,
                  struct slice plain, size_t nth, const char **why)
{
    struct buf out = {0};
    const err e = codec_compress(x->codecs, rules->codec, rules->codec_level, plain, &out);
    uint8_t *kept = e == OK ? arena_alloc(&x->arena, out.size) : NULL;
    if (kept) {
        memcpy(kept, out.data, out.size);
        b->records = slice_of(kept, out.size);
        b->attributes = (b->attributes & ~(uint32_t)BATCH_CODEC_MASK) | rules->codec;
        b->is_canonical = false;
    }
    buf_deinit(&out);
    if (!kept)
        return REFUSE(x, why, E_OVERLOADED,
                      "batch %zu could not be compressed with %s, which the topic demands", nth,
                      codec_name(rules->codec));
    if (batch_canonical_size(b) > rules->batch_bytes_max)
        return REFUSE(
            x, why, E_MESSAGE_TOO_LARGE,
            "batch %zu has %zu bytes as %s, more than the topic's max.message.bytes of %" PRIu32,
            nth, batch_canonical_size(b), codec_name(rules->codec), rules->batch_bytes_max);
    return OK;
}

static err admit_one(struct admit_ctx *x, const struct admit_rules *rules, struct batch *b,
                     int64_t now_ms, size_t nth, struct log_batch *out, const char **why)
{
    struct slice plain;
    err e = check_header(x, rules, b, nth, why);
    if (e == OK)
        e = plain_records(x, b, nth, &plain, why);
    if (e == OK)
        e = check_records(x, rules, b, plain, nth, why);
    if (e == OK && !rules->log_append_time)
        e = check_timestamps(x, rules, b, now_ms, nth, why);
    if (e != OK)
        return e;

    bool is_changed = !b->has_batch_crc;
    if (rules->has_codec && (b->attributes & BATCH_CODEC_MASK) != rules->codec) {
        e = recode(x, rules, b, plain, nth, why);
        if (e != OK)
            return e;
        is_changed = true;
    }
    if (rules->log_append_time) {
        b->attributes |= BATCH_LOG_APPEND_TIME;
        b->max_timestamp = now_ms;
        is_changed = true;
    }
    if (is_changed)
        b->batch_crc = batch_crc(b);

    uint8_t *header = (uint8_t *)(uintptr_t)b->start; /* the frame is ours to change */
    if (!b->is_canonical)
        header = arena_alloc(&x->arena, BATCH_HEADER_SIZE);
    if (!header)
        return REFUSE(x, why, E_OVERLOADED,
                      "the request has too many batches that are not in canonical encoding");
    if (!b->is_canonical || is_changed)
        batch_write_header(b, header);
    *out = (struct log_batch){.header = header,
                              .records = b->records,
                              .last_offset_delta = b->last_offset_delta,
                              .batch_crc = b->batch_crc,
                              .max_timestamp = b->max_timestamp};
    return OK;
}

err admit(struct admit_ctx *x, const struct admit_rules *rules, struct slice segment,
          int64_t now_ms, struct log_batch *out, size_t *count, const char **why)
{
    size_t n = 0;
    size_t pos = 0;
    if (segment.size == 0)
        return REFUSE(x, why, E_INVALID_RECORD, "the batches field is empty");
    while (pos < segment.size) {
        struct batch b;
        err e = batch_read(slice_sub(segment, pos, segment.size), &b);
        if (e == E_UNSUPPORTED_VERSION)
            return REFUSE(x, why, E_INVALID_RECORD,
                          "batch %zu has a format version this broker does not know", n);
        if (e != OK)
            return REFUSE(x, why, E_INVALID_RECORD,
                          "the bytes at %zu of %zu are not a whole record batch", pos,
                          segment.size);
        if (n == ADMIT_BATCHES_MAX)
            return REFUSE(x, why, E_INVALID_RECORD,
                          "more than %d batches for one partition in one request",
                          ADMIT_BATCHES_MAX);
        e = admit_one(x, rules, &b, now_ms, n, &out[n], why);
        if (e != OK)
            return e;
        pos += b.size;
        n++;
    }
    *count = n;
    return OK;
}
