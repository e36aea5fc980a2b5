/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames from anywhere: the peeks, the pre-scan, protobuf-c behind it. The first
 * byte picks the message and whether the rest is repeated up to a control
 * frame's size, which is how quadratic costs show. Besides surviving: views lie
 * within the frame, memory and time stay within reliability.md 6.2, and what
 * unpacks packs to bytes that unpack to the same.
 */
#include <stdlib.h>
#include <time.h>

#include "proto/base/limits.h"
#include "proto/base/mem.h"
#include "proto/schema/cluster.pb-c.h"
#include "proto/schema/request.pb-c.h"
#include "proto/wire/frame.h"
#include "proto/wire/msg.h"
#include "proto/wire/prescan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const ProtobufCMessageDescriptor *const types[] = {
    &sluice__request__descriptor,
    &sluice__response__descriptor,
    &sluice__hello_request__descriptor,
    &sluice__hello_response__descriptor,
    &sluice__list_offsets_request__descriptor,
    &sluice__list_offsets_response__descriptor,
    &sluice__metadata_request__descriptor,
    &sluice__metadata_response__descriptor,
    &sluice__create_topics_request__descriptor,
    &sluice__delete_topics_request__descriptor,
    &sluice__create_partitions_request__descriptor,
    &sluice__topics_response__descriptor,
    &sluice__describe_configs_request__descriptor,
    &sluice__describe_configs_response__descriptor,
    &sluice__alter_configs_request__descriptor,
    &sluice__delete_records_request__descriptor,
    &sluice__delete_records_response__descriptor,
    &sluice__topic_node__descriptor,
    &sluice__broker_node__descriptor,
    &sluice__changes_node__descriptor,
};
enum {
    TYPES = sizeof types / sizeof types[0],
    REPEATED = 0x80,
    MEMORY_MAX = 8 * MIB,
    MS_MAX = 250, /* 5 without sanitizers */
};

static void must(bool held)
{
    if (!held)
        abort();
}

static int64_t cpu_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void must_lie_within(struct slice part, struct slice whole)
{
    must(part.size <= whole.size);
    must(part.size == 0 ||
         (part.data >= whole.data && part.data + part.size <= whole.data + whole.size));
}

static void peek(struct slice frame)
{
    struct msg_peek m;
    if (msg_peek_request(frame, &m) == OK) {
        must_lie_within(m.client_id, frame);
        must_lie_within(m.body, frame);
        must(m.client_id.size <= CLIENT_ID_BYTES_MAX);
    }
    if (msg_peek_response(frame, &m) == OK) {
        struct msg_error e;
        must_lie_within(m.error, frame);
        must_lie_within(m.body, frame);
        if (msg_read_error(m.error, &e) == OK)
            must(e.code != OK && e.class >= CLASS_RETRY && e.class <= CLASS_FATAL);
    }
    size_t length;
    if (frame_read_length(frame, FRAME_BYTES_MAX, &length) == OK)
        must(length > 0 && length <= FRAME_BYTES_MAX);
}

/* Within a budget that may be too small for it; no matter what, it is kept. */
static void unpack_within(const ProtobufCMessageDescriptor *type, struct slice bytes, size_t limit)
{
    struct arena arena;
    void *m;
    arena_init(&arena, limit);
    err_ignore(msg_unpack(type, bytes, &arena, &m, NULL), "only its memory counts here");
    must(arena.used <= limit);
    arena_deinit(&arena);
}

static void unpack(const ProtobufCMessageDescriptor *type, struct slice bytes)
{
    struct arena arena;
    void *m, *again;
    const char *what = NULL;
    arena_init(&arena, MEMORY_MAX);
    const int64_t start_ms = cpu_ms();
    const err e = msg_unpack(type, bytes, &arena, &m, &what);
    must(cpu_ms() - start_ms <= MS_MAX);
    must((e == OK) == (what == NULL));
    if (e == OK) {
        struct buf first = {0}, second = {0};
        struct arena other;
        arena_init(&other, MEMORY_MAX);
        msg_pack(m, &first);
        must(msg_unpack(type, buf_slice(&first), &other, &again, NULL) == OK);
        msg_pack(again, &second);
        must(slice_eq(buf_slice(&first), buf_slice(&second)));
        arena_deinit(&other);
        buf_deinit(&first);
        buf_deinit(&second);
    } else {
        /* What the pre-scan lets pass fits. */
        must(prescan(type, bytes, NULL) != OK);
    }
    arena_deinit(&arena);
}

/* As many of them as a control frame holds. */
static struct slice repeated(struct slice bytes)
{
    static uint8_t frame[CONTROL_FRAME_BYTES_MAX];
    const size_t size = sizeof frame / bytes.size * bytes.size;
    memcpy(frame, bytes.data, bytes.size);
    for (size_t done = bytes.size; done < size; done *= 2)
        memcpy(frame + done, frame, done < size - done ? done : size - done);
    return slice_of(frame, size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2 || size > CONTROL_FRAME_BYTES_MAX)
        return 0;
    const ProtobufCMessageDescriptor *type = types[(data[0] & ~REPEATED) % TYPES];
    const struct slice bytes = slice_of(data + 1, size - 1);
    if (data[0] & REPEATED) {
        unpack(type, repeated(bytes));
    } else {
        peek(bytes);
        unpack_within(type, bytes, (size_t)data[1] * 64);
        unpack(type, bytes);
    }
    return 0;
}
