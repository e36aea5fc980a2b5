/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sluice log dump: what segment files hold, batch by batch. Reads the files
 * themselves, needs no broker, trusts nothing in them.
 */
#include "broker/log/fsio.h"
#include "broker/log/log_verify.h"
#include "clients/tools/cli.h"
#include "clients/tools/commands.h"
#include "clients/tools/json.h"
#include "proto/base/reader.h"
#include "proto/wire/codec.h"
#include "proto/wire/record.h"

static const struct option options[] = {
    {.name = "records", .kind = OPTION_FLAG, .help = "Print the records of each batch too"},
    {0},
};

struct dump {
    struct cli *cli;
    struct json json;
    struct codec_ctx *codec;
    struct buf decoded;
    bool has_records;
    bool is_damaged; /* the file being dumped */
};

/* --- one batch, as values ----------------------------------------------------------- */

static int64_t last_offset(const struct batch *b)
{
    return (int64_t)((uint64_t)b->base_offset + b->last_offset_delta);
}

/* Sequences wrap at 2^31. */
static int64_t last_sequence(const struct batch *b)
{
    if (b->base_sequence < 0)
        return -1;
    return ((int64_t)b->base_sequence + b->last_offset_delta) & INT32_MAX;
}

static const char *codec_word(const struct batch *b)
{
    const uint32_t codec = b->attributes & BATCH_CODEC_MASK;
    return codec <= CODEC_ZSTD ? codec_name((enum batch_codec)codec) : "unknown";
}

static const char *timestamp_word(const struct batch *b)
{
    return b->attributes & BATCH_LOG_APPEND_TIME ? "log-append" : "create";
}

/* --- text --------------------------------------------------------------------------- */

static void text_batch(struct buf *out, const struct batch *b, uint64_t pos, bool is_valid)
{
    buf_printf(out, "batch offsets=%lld..%lld records=%u pos=%llu size=%zu codec=%s",
               (long long)b->base_offset, (long long)last_offset(b), b->record_count,
               (unsigned long long)pos, b->size, codec_word(b));
    buf_printf(out, " timestamps=%lld..%lld(%s) leader-epoch=%d", (long long)b->base_timestamp,
               (long long)b->max_timestamp, timestamp_word(b), b->leader_epoch);
    buf_printf(out, " producer=%lld producer-epoch=%d sequences=%d..%lld",
               (long long)b->producer_id, b->producer_epoch, b->base_sequence,
               (long long)last_sequence(b));
    if (b->attributes & BATCH_TRANSACTIONAL)
        buf_append_str(out, " transactional");
    if (b->attributes & BATCH_CONTROL)
        buf_append_str(out, " control");
    if (b->attributes & BATCH_DELETE_HORIZON)
        buf_append_str(out, " delete-horizon");
    buf_printf(out, " crc=%08x header-crc=%08x topic-crc=%08x %s\n", b->batch_crc, b->header_crc,
               b->topic_crc, is_valid ? "valid" : "INVALID");
}

/* A key or value in quotes, or base64 of what is no text. */
static void text_bytes(struct buf *out, const char *name, struct slice s)
{
    struct json j = json_to(out);
    buf_printf(out, " %s=", name);
    json_bytes(&j, s);
}

static void text_record(struct buf *out, const struct batch *b, const struct record_view *r)
{
    buf_printf(out, "  record offset=%lld timestamp=%lld",
               (long long)((uint64_t)b->base_offset + r->offset_delta),
               (long long)((uint64_t)b->base_timestamp + (uint64_t)r->timestamp_delta));
    text_bytes(out, "key", r->key);
    text_bytes(out, "value", r->value);
    struct reader headers = reader_init(r->headers);
    struct slice key;
    struct slice value;
    while (record_next_header(&headers, &key, &value) == OK) {
        text_bytes(out, "header", key);
        text_bytes(out, "is", value);
    }
    buf_append(out, "\n", 1);
}

/* --- JSON --------------------------------------------------------------------------- */

static void json_batch(struct json *j, const struct batch *b, uint64_t pos, bool is_valid)
{
    json_member_int(j, "base_offset", b->base_offset);
    json_member_int(j, "last_offset", last_offset(b));
    json_member_int(j, "record_count", b->record_count);
    json_member_int(j, "position", (int64_t)pos);
    json_member_int(j, "size", (int64_t)b->size);
    json_member_str(j, "codec", codec_word(b));
    json_member_int(j, "base_timestamp", b->base_timestamp);
    json_member_int(j, "max_timestamp", b->max_timestamp);
    json_member_str(j, "timestamp_type", timestamp_word(b));
    json_member_int(j, "leader_epoch", b->leader_epoch);
    json_member_int(j, "producer_id", b->producer_id);
    json_member_int(j, "producer_epoch", b->producer_epoch);
    json_member_int(j, "base_sequence", b->base_sequence);
    json_member_int(j, "last_sequence", last_sequence(b));
    json_member_bool(j, "transactional", (b->attributes & BATCH_TRANSACTIONAL) != 0);
    json_member_bool(j, "control", (b->attributes & BATCH_CONTROL) != 0);
    json_member_bool(j, "delete_horizon", (b->attributes & BATCH_DELETE_HORIZON) != 0);
    json_member_int(j, "batch_crc", b->batch_crc);
    json_member_int(j, "header_crc", b->header_crc);
    json_member_int(j, "topic_crc", b->topic_crc);
    json_member_bool(j, "valid", is_valid);
}

static void json_record(struct json *j, const struct batch *b, const struct record_view *r)
{
    json_begin(j, '{');
    json_member_int(j, "offset", (int64_t)((uint64_t)b->base_offset + r->offset_delta));
    json_member_int(j, "timestamp",
                    (int64_t)((uint64_t)b->base_timestamp + (uint64_t)r->timestamp_delta));
    json_key(j, "key");
    json_bytes(j, r->key);
    json_key(j, "value");
    json_bytes(j, r->value);
    json_key(j, "headers");
    json_begin(j, '[');
    struct reader headers = reader_init(r->headers);
    struct slice key;
    struct slice value;
    while (record_next_header(&headers, &key, &value) == OK) {
        json_begin(j, '{');
        json_key(j, "key");
        json_bytes(j, key);
        json_key(j, "value");
        json_bytes(j, value);
        json_end(j, '}');
    }
    json_end(j, ']');
    json_end(j, '}');
}

/* --- files -------------------------------------------------------------------------- */

static void dump_records(struct dump *d, const char *path, const struct batch *b, uint64_t pos)
{
    const uint32_t codec = b->attributes & BATCH_CODEC_MASK;
    struct slice records = b->records;
    err e = OK;
    if (codec > CODEC_ZSTD)
        e = E_UNSUPPORTED_COMPRESSION;
    else if (codec != CODEC_NONE) {
        buf_clear(&d->decoded);
        e = codec_decompress(d->codec, (enum batch_codec)codec, records, codec_limit(records.size),
                             &d->decoded);
        records = buf_slice(&d->decoded);
    }
    struct reader r = reader_init(records);
    struct record_view view;
    while (e == OK && (e = record_next(&r, &view)) == OK) {
        if (d->cli->is_json)
            json_record(&d->json, b, &view);
        else
            text_record(&d->cli->out, b, &view);
        if (!cli_flush_if_large(d->cli))
            return;
    }
    if (e == E_END)
        return;
    d->is_damaged = true;
    cli_fail(d->cli, "%s: batch at %llu: records cannot be read: %s (%s)", path,
             (unsigned long long)pos, err_text(e), err_name(e));
}

static void dump_batch(struct dump *d, const char *path, const struct batch *b, uint64_t pos,
                       bool is_valid)
{
    if (!d->cli->is_json) {
        text_batch(&d->cli->out, b, pos, is_valid);
        if (d->has_records)
            dump_records(d, path, b, pos);
        return;
    }
    json_begin(&d->json, '{');
    json_batch(&d->json, b, pos, is_valid);
    if (d->has_records) {
        json_key(&d->json, "records");
        json_begin(&d->json, '[');
        dump_records(d, path, b, pos);
        json_end(&d->json, ']');
    }
    json_end(&d->json, '}');
}

/* What stands behind the last batch, in a word for programs and a sentence for people. */
static const struct ending {
    err error;
    const char *word;
    const char *sentence; /* NULL: nothing to say */
    bool is_damage;
} ENDINGS[] = {
    {E_END, "end", NULL, false},
    {E_WOULD_BLOCK, "torn",
     "half a batch: a broker is writing it, or died doing so (recovery cuts it)", false},
    {E_UNSUPPORTED_VERSION, "unsupported", "a batch of a format that this version does not know",
     true},
    {E_CORRUPT, "corrupt", "not a batch; nothing behind it can be read", true},
};

static const struct ending *ending_of(err e)
{
    for (size_t i = 0; i < sizeof ENDINGS / sizeof *ENDINGS; i++)
        if (ENDINGS[i].error == e)
            return &ENDINGS[i];
    return &ENDINGS[sizeof ENDINGS / sizeof *ENDINGS - 1];
}

static void dump_ending(struct dump *d, const char *path, const struct segment_walk *w, err e)
{
    const struct ending *const ending = ending_of(e);
    const unsigned long long pos = segment_walk_pos(w);
    const unsigned long long left = segment_walk_size(w) - pos;
    if (ending->sentence)
        cli_note(d->cli, "%s: at %llu, %llu bytes before the end: %s", path, pos, left,
                 ending->sentence);
    if (ending->is_damage)
        d->is_damaged = true;
    if (!d->cli->is_json) {
        if (e == E_END && left > 0)
            buf_printf(&d->cli->out, "padding pos=%llu size=%llu\n", pos, left);
        return;
    }
    json_member_int(&d->json, "end_position", (int64_t)pos);
    json_member_int(&d->json, "bytes_behind", (int64_t)left);
    json_member_str(&d->json, "ending", ending->word);
}

static void dump_batches(struct dump *d, const char *path, struct segment_walk *w)
{
    struct batch b;
    err crcs;
    err e;
    if (d->cli->is_json) {
        json_key(&d->json, "batches");
        json_begin(&d->json, '[');
    }
    uint64_t pos = segment_walk_pos(w);
    while ((e = segment_walk_next(w, &b, &crcs)) == OK) {
        if (crcs != OK) {
            d->is_damaged = true;
            cli_fail(d->cli, "%s: batch at %llu (offset %lld): a checksum is wrong", path,
                     (unsigned long long)pos, (long long)b.base_offset);
        }
        dump_batch(d, path, &b, pos, crcs == OK);
        pos = segment_walk_pos(w);
        if (!cli_flush_if_large(d->cli))
            break;
    }
    if (d->cli->is_json)
        json_end(&d->json, ']');
    if (e != OK)
        dump_ending(d, path, w, e);
}

/* False: the file could not be opened or is damaged; reported. */
static bool dump_file(struct dump *d, const char *path)
{
    struct segment_walk *w;
    const err e = segment_walk_open(&w, fsio_posix(), path);
    if (e != OK) {
        cli_fail(d->cli, "%s: %s", path,
                 e == E_NOT_FOUND ? "there is no such file" : "it cannot be read as a segment");
        return false;
    }
    d->is_damaged = false;
    if (d->cli->is_json) {
        json_begin(&d->json, '{');
        json_member_str(&d->json, "path", path);
        json_member_int(&d->json, "base_offset", segment_walk_base_offset(w));
        json_member_int(&d->json, "size", (int64_t)segment_walk_size(w));
    } else {
        buf_printf(&d->cli->out, "segment %s size=%llu\n", path,
                   (unsigned long long)segment_walk_size(w));
    }
    dump_batches(d, path, w);
    if (d->cli->is_json)
        json_end(&d->json, '}');
    segment_walk_close(w);
    return !d->is_damaged;
}

static int run(struct cli *cli)
{
    struct dump d = {
        .cli = cli,
        .json = json_to(&cli->out),
        .codec = codec_ctx_new(),
        .has_records = args_has(cli->args, "records"),
    };
    int status = EXIT_DONE;
    if (cli->is_json)
        json_begin(&d.json, '[');
    for (size_t i = 0; i < cli->args->operand_count && !cli->is_reader_gone; i++)
        if (!dump_file(&d, cli->args->operands[i]))
            status = EXIT_FAILED;
    if (cli->is_json) {
        json_end(&d.json, ']');
        buf_append(&cli->out, "\n", 1);
    }
    buf_deinit(&d.decoded);
    codec_ctx_free(d.codec);
    return status;
}

const struct command log_dump_command = {
    .group = "log",
    .name = "dump",
    .operands = "FILE...",
    .operands_min = 1,
    .operands_max = SIZE_MAX,
    .summary = "Print the batches of segment files, and their records",
    .details =
        "Reads DATADIR/TOPIC-PARTITION.ID/*.log, with or without a broker running. Fails if a "
        "file is damaged; half a batch at the end of a file is not damage.",
    .examples = "  sluice log dump data/orders-0.1f2e3d4c/00000000000000000000.log --records\n",
    .options = options,
    .run = run,
};
