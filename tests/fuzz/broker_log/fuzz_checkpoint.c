/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The small durable files from anywhere: identity, leader epochs, points; the
 * first byte says which. Besides surviving: what is taken is well formed by
 * its own rules, and written again it reads back the same. Since a random
 * input hardly has a right checksum, the rest is also parsed as a body.
 */
#include <stdio.h>
#include <stdlib.h>

#include "broker/log/checkpoint.h"
#include "broker/log/epoch_cache.h"
#include "broker/log/names.h"
#include "broker/log/points.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define must(held) ((held) ? (void)0 : failed(__LINE__, #held))

static void failed(int line, const char *what)
{
    fprintf(stderr, "line %d: %s\n", line, what);
    abort();
}

static void try_epochs(struct slice body)
{
    struct epoch_cache c = {0}, again = {0};
    int64_t valid_to, valid_again;
    if (epoch_cache_parse(&c, body, &valid_to) == OK) {
        struct epoch_entry last = {.epoch = -1, .start_offset = -1};
        for (size_t i = 0; i < c.count; i++) {
            must(c.entries[i].epoch > last.epoch);
            must(c.entries[i].start_offset > last.start_offset);
            last = c.entries[i];
        }
        struct buf b = {0};
        struct slice back;
        epoch_cache_truncate(&c, INT64_MAX);
        epoch_cache_format(&c, INT64_MAX, &b);
        checkpoint_end(&b);
        must(checkpoint_parse(buf_slice(&b), EPOCH_FILE, 1, &back) == OK);
        must(epoch_cache_parse(&again, back, &valid_again) == OK);
        must(again.count == c.count);
        for (size_t i = 0; i < c.count; i++)
            must(again.entries[i].epoch == c.entries[i].epoch &&
                 again.entries[i].start_offset == c.entries[i].start_offset);
        /* However it is cut, it stays in order. */
        const int64_t at = (int64_t)(body.size * 7919 % 100000);
        epoch_cache_truncate(&c, at);
        epoch_cache_raise_start(&c, at / 2);
        epoch_cache_begin(&c, epoch_cache_last(&c) < INT32_MAX ? epoch_cache_last(&c) + 1 : 0, at);
        for (size_t i = 1; i < c.count; i++)
            must(c.entries[i].start_offset > c.entries[i - 1].start_offset);
        buf_deinit(&b);
    }
    epoch_cache_deinit(&c);
    epoch_cache_deinit(&again);
}

static void try_frame(struct slice bytes)
{
    struct slice body;
    if (checkpoint_parse(bytes, EPOCH_FILE, 1, &body) == OK) {
        must(body.data >= bytes.data);
        must(body.data + body.size <= bytes.data + bytes.size);
        try_epochs(body);
    }
}

static void try_point(struct slice bytes)
{
    struct point p;
    uint64_t seq;
    uint8_t copy[POINT_SIZE];
    if (bytes.size < POINT_SIZE)
        return;
    if (point_decode(bytes.data, &p, &seq) == OK) {
        must(p.flushed.base <= p.flushed.offset);
        must(p.start_offset >= 0);
        struct point again;
        uint64_t seq_again;
        point_encode(&p, seq, copy);
        must(point_decode(copy, &again, &seq_again) == OK);
        must(seq == seq_again);
        must(again.flushed.offset == p.flushed.offset && again.loss_to == p.loss_to);
    }
}

static void try_words(struct slice body)
{
    struct words w;
    while (words_line(&body, &w)) {
        const int64_t n = words_i64(&w, -5, 1000);
        must(n >= -5 && n <= 1000);
        words_hex32(&w);
        words_uuid(&w);
        words_next(&w);
        must(words_end(&w) == OK || w.failed || w.left.size > 0);
    }
}

static void try_names(struct slice bytes)
{
    char text[300];
    struct partition_name p;
    if (bytes.size >= sizeof text)
        return;
    memcpy(text, bytes.data, bytes.size);
    text[bytes.size] = '\0';
    if (partition_name_parse(text, &p)) {
        struct log_identity id = {.topic = p.topic, .partition = p.partition};
        char name[PARTITION_NAME_MAX];
        memcpy(id.topic_id.bytes, p.id_prefix, sizeof p.id_prefix);
        must(strcmp(partition_name(name, &id), text) == 0);
    }
    int64_t base;
    enum segment_file kind;
    if (segment_name_parse(text, &base, &kind)) {
        char name[SEGMENT_NAME_MAX];
        must(strcmp(segment_name(name, base, kind), text) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const tries[])(struct slice) = {try_frame, try_epochs, try_point, try_words,
                                                  try_names};
    if (size == 0)
        return 0;
    /* A copy of its own, so that reading beyond it is seen. */
    uint8_t *bytes = malloc(size);
    memcpy(bytes, data + 1, size - 1);
    tries[data[0] % (sizeof tries / sizeof tries[0])](slice_of(bytes, size - 1));
    free(bytes);
    return 0;
}
