/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Batches, records and compressed payloads from anywhere; the first byte says
 * which. Besides surviving: the lenient and the strict reader agree where both
 * read, verdicts and values are protobuf-c's, a rewritten header reads back,
 * decoding keeps its limit, and what decodes can be encoded and decoded again.
 */
#include <stdlib.h>

#include "proto/base/limits.h"
#include "proto/base/mem.h"
#include "proto/base/writer.h"
#include "proto/schema/log.pb-c.h"
#include "proto/wire/batch.h"
#include "proto/wire/codec.h"
#include "proto/wire/prescan.h"
#include "proto/wire/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool held)
{
    if (!held)
        abort();
}

static bool same_fields(const struct batch *a, const struct batch *b)
{
    return a->base_offset == b->base_offset && a->leader_epoch == b->leader_epoch &&
           a->header_crc == b->header_crc && a->batch_crc == b->batch_crc &&
           a->attributes == b->attributes && a->record_count == b->record_count &&
           a->last_offset_delta == b->last_offset_delta && a->base_timestamp == b->base_timestamp &&
           a->max_timestamp == b->max_timestamp && a->producer_id == b->producer_id &&
           a->producer_epoch == b->producer_epoch && a->base_sequence == b->base_sequence &&
           a->topic_crc == b->topic_crc && slice_eq(a->records, b->records);
}

/* b, written anew, is b. */
static void rewrite(const struct batch *b)
{
    struct buf bytes = {0};
    struct batch again;
    batch_write_header(b, buf_reserve(&bytes, batch_canonical_size(b)));
    bytes.size = BATCH_HEADER_SIZE;
    buf_append(&bytes, b->records.data, b->records.size);
    must(batch_read_canonical(buf_slice(&bytes), &again) == OK);
    must(same_fields(b, &again));
    must(batch_crc(b) == batch_crc(&again));
    batch_stamp(bytes.data, 7, 8, batch_crc(&again));
    must(batch_read_canonical(buf_slice(&bytes), &again) == OK);
    must(batch_check_crcs(&again) == OK);
    must(again.base_offset == 7 && again.leader_epoch == 8);
    buf_deinit(&bytes);
}

static void segment(struct slice bytes)
{
    for (;;) {
        struct batch b = {0}, canonical = {0};
        const err e = batch_read(bytes, &b), c = batch_read_canonical(bytes, &canonical);
        must(c != OK || e == OK);
        must((c == E_END) == (e == E_END));
        must(c != E_WOULD_BLOCK || e == E_WOULD_BLOCK || canonical.size == 0);
        if (e == E_WOULD_BLOCK)
            must(b.size == 0 || b.size > bytes.size);
        if (e != OK)
            return;
        must(b.is_canonical == (c == OK));
        must(c != OK || same_fields(&b, &canonical));
        must(b.size > 0 && b.size <= bytes.size && b.start == bytes.data);
        rewrite(&b);
        bytes = slice_sub(bytes, b.size, SIZE_MAX);
    }
}

static int64_t signed_or(bool has, int64_t v, int64_t otherwise)
{
    return has ? v : otherwise;
}

static void must_be_same(const struct batch *b, const Sluice__RecordBatch *m)
{
    must((uint64_t)b->base_offset == m->base_offset &&
         (uint32_t)b->leader_epoch == m->leader_epoch);
    must(b->has_header_crc == m->has_header_crc && b->header_crc == m->header_crc);
    must(b->has_batch_crc == m->has_batch_crc && b->batch_crc == m->batch_crc);
    must(b->attributes == m->attributes && b->record_count == m->record_count);
    must(b->last_offset_delta == m->last_offset_delta && b->topic_crc == m->topic_crc);
    must(b->base_timestamp == m->base_timestamp && b->max_timestamp == m->max_timestamp);
    must(b->producer_id == signed_or(m->has_producer_id, m->producer_id, -1));
    must(b->producer_epoch == signed_or(m->has_producer_epoch, m->producer_epoch, -1));
    must(b->base_sequence == signed_or(m->has_base_sequence, m->base_sequence, -1));
    must(slice_eq(b->records, slice_of(m->records.data, m->records.len)));
}

/* A RecordBatch of any encoding, judged by protobuf-c too. */
static void batch(struct slice message)
{
    struct buf bytes = {0};
    buf_reserve(&bytes, 1 + VARINT_MAX);
    bytes.size = (size_t)(write_varint(write_tag(bytes.data, 1, 2), message.size) - bytes.data);
    buf_append(&bytes, message.data, message.size);

    Sluice__RecordBatch *m = prescan(&sluice__record_batch__descriptor, message, NULL) == OK
                                 ? sluice__record_batch__unpack(NULL, message.size, message.data)
                                 : NULL;
    struct batch b;
    const err e = batch_read(buf_slice(&bytes), &b);
    const bool possible =
        m && m->leader_epoch <= INT32_MAX && m->base_offset <= INT64_MAX - UINT32_MAX - 1;
    must((e == OK || e == E_UNSUPPORTED_VERSION) == possible);
    if (possible)
        must((e == OK) == (m->attributes >> 24 == BATCH_VERSION));
    if (e == OK) {
        must_be_same(&b, m);
        rewrite(&b);
    }
    if (m)
        sluice__record_batch__free_unpacked(m, NULL);
    buf_deinit(&bytes);
}

/* The records as the rules want them: none missing, none in excess. */
static bool keep_the_rules(const Sluice__Records *m, const struct batch *b, bool strict)
{
    uint64_t lowest = 0;
    if (!m || m->n_record != b->record_count || m->base.n_unknown_fields)
        return false;
    for (size_t i = 0; i < m->n_record; i++) {
        const Sluice__Record *r = m->record[i];
        if (!r->has_offset_delta || (strict ? r->offset_delta != lowest : r->offset_delta < lowest))
            return false;
        lowest = (uint64_t)r->offset_delta + 1;
        if (r->timestamp_delta > b->max_timestamp - b->base_timestamp)
            return false;
    }
    return strict ? lowest == (uint64_t)b->last_offset_delta + 1
                  : lowest <= (uint64_t)b->last_offset_delta + 1;
}

static void records(struct slice bytes)
{
    const char *what = NULL;
    Sluice__Records *m = prescan(&sluice__records__descriptor, bytes, &what) == OK
                             ? sluice__records__unpack(NULL, bytes.size, bytes.data)
                             : NULL;
    const uint32_t last = m && m->n_record ? m->record[m->n_record - 1]->offset_delta : 9;
    const struct batch b = {
        .record_count = m ? (uint32_t)m->n_record : 1,
        .last_offset_delta = last,
        .base_timestamp = 1000,
        .max_timestamp = 1000000,
    };
    /* The pre-scan's caps are for messages that get unpacked. */
    const bool capped = what && strstr(what, "too many");
    for (int strict = 0; strict < 2 && !capped; strict++) {
        struct batch_summary s;
        const bool good = batch_check_records(&b, bytes, strict, &s) == OK;
        must(good == keep_the_rules(m, &b, strict));
        if (good)
            must(s.max_timestamp_seen <= b.max_timestamp && s.max_timestamp_offset_delta <= last);
    }
    if (m)
        sluice__records__free_unpacked(m, NULL);
}

static struct codec_ctx *ctx;

static void compressed(enum batch_codec codec, struct slice bytes)
{
    const size_t limit = codec_limit(bytes.size);
    struct buf plain = {0}, packed = {0}, again = {0};
    if (codec_decompress(ctx, codec, bytes, limit, &plain) == OK) {
        must(plain.size <= limit);
        if (plain.size > 0)
            must(codec_decompress(ctx, codec, bytes, plain.size - 1, &again) ==
                 E_MESSAGE_TOO_LARGE);
        must(codec_decompress(ctx, codec, bytes, plain.size, &again) == OK);
        must(slice_eq(buf_slice(&plain), buf_slice(&again)));
        must(codec_compress(ctx, codec, CODEC_LEVEL_DEFAULT, buf_slice(&plain), &packed) == OK);
        buf_clear(&again);
        must(codec_decompress(ctx, codec, buf_slice(&packed), plain.size, &again) == OK);
        must(slice_eq(buf_slice(&plain), buf_slice(&again)));
    } else {
        must(plain.size == 0);
    }
    buf_deinit(&plain);
    buf_deinit(&packed);
    buf_deinit(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    if (!ctx)
        ctx = codec_ctx_new(); /* kept: a context must survive whatever came before */
    const struct slice rest = slice_of(data + 1, size - 1);
    switch (data[0] % 8) {
    case 0:
        segment(rest);
        break;
    case 1:
        batch(rest);
        break;
    case 2:
    case 7:
        records(rest);
        break;
    default:
        compressed((enum batch_codec)(CODEC_GZIP + data[0] % 8 - 3), rest);
    }
    return 0;
}
