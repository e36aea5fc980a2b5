/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/wire/prescan.h"

#include "proto/base/buf.h"
#include "proto/base/limits.h"
#include "proto/base/writer.h"
#include "proto/schema/metadata.pb-c.h"
#include "proto/schema/request.pb-c.h"
#include "proto/wire/msg.h"
#include "tests/support/test.h"

static void what_is_wrong_is_told(void **state)
{
    (void)state;
    static const struct {
        const char *hex, *what; /* what NULL: it passes */
    } cases[] = {
        {"", NULL},
        {"08 01", NULL},
        {"08 80", "cut short"},
        {"08", "cut short"},
        {"00 00", "cut short"},
        {"08 ff ff ff ff ff ff ff ff ff 02", "cut short"},
        {"08 01  08 01", "twice"},
        {"0d 00 00 00 00", "another type"},
        {"12 03 61 62", "cut short"},
        {"12 03 61 62 63", NULL},
        {"12 03 61 62 ff", "UTF-8"},
        {"12 03 61 00 63", "UTF-8"},
        {"12 82 80 80 80 00 61 62", NULL},
        {"12 82 80 80 80 80 00 61 62", "cut short"},
        {"13 14", "another type"},
        {"1b 1c", "cut short"},
        {"1c", "cut short"},
        {"1e", "cut short"},
        {"18 01", NULL}, /* unknown */
        {"52 00", NULL}, /* hello */
        {"52 00  52 00", "twice"},
        {"52 00  5a 00", "twice"}, /* hello and produce: one oneof */
        {"52 02 08 01", NULL},
        {"52 02 08", "cut short"},
        {"52 04 08 01 08 01", "twice"},
        {"52 02 22 00  22 00", NULL}, /* feature, repeated; then an unknown field */
        {"52 03 22 01 ff", "UTF-8"},
        {"7a 07  0a 05  2a 03 0a 01 05", NULL},        /* packed broker ids */
        {"7a 08  0a 06  2a 04 08 05 08 06", NULL},     /* the same, not packed */
        {"7a 07  0a 05  2a 03 0a 01 85", "cut short"}, /* a packed value cut short */
        {"7a 05  0a 03  2a 01 0a", "cut short"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t bytes[64];
        const size_t size = test_unhex(cases[i].hex, bytes, sizeof bytes);
        const char *what = NULL;
        const err e = prescan(&sluice__request__descriptor, slice_of(bytes, size), &what);
        if (e != (cases[i].what ? E_INVALID_REQUEST : OK))
            fail_msg("%s: %s (%s)", cases[i].hex, err_name(e), what ? what : "");
        if (cases[i].what && !strstr(what, cases[i].what))
            fail_msg("%s: %s", cases[i].hex, what);
        /* Whatever passes, protobuf-c takes too. */
        if (e == OK) {
            Sluice__Request *m = sluice__request__unpack(NULL, size, bytes);
            assert_non_null(m);
            sluice__request__free_unpacked(m, NULL);
        }
    }
}

/* Appends a field that holds what is in inner. */
static void wrap(struct buf *b, uint32_t number, const struct buf *inner)
{
    b->size =
        (size_t)(write_varint(write_tag(buf_reserve(b, 20), number, 2), inner->size) - b->data);
    buf_append(b, inner->data, inner->size);
}

static void fill(struct buf *b, const char *hex, size_t count)
{
    uint8_t bytes[32];
    const size_t size = test_unhex(hex, bytes, sizeof bytes);
    for (size_t i = 0; i < count; i++)
        buf_append(b, bytes, size);
}

static err unpack(const ProtobufCMessageDescriptor *type, const struct buf *b, size_t *used,
                  const char **what)
{
    struct arena arena;
    void *message;
    arena_init(&arena, 8 * MIB);
    const err e = msg_unpack(type, buf_slice(b), &arena, &message, what);
    *used = arena.used;
    arena_deinit(&arena);
    return e;
}

static void elements_of_all_levels_are_counted_together(void **state)
{
    (void)state;
    for (size_t extra = 0; extra < 2; extra++) {
        struct buf topic = {0}, request = {0};
        const char *what = NULL;
        fill(&topic, "22 00", MESSAGE_ELEMENTS_MAX / 2 - 2); /* configs */
        fill(&topic, "2a 02 0a 00", 1); /* an assignment without brokers: one */
        wrap(&request, 1, &topic);
        wrap(&request, 1, &topic);
        fill(&request, "0a 00", extra);
        assert_err(prescan(&sluice__create_topics_request__descriptor, buf_slice(&request), &what),
                   extra ? E_INVALID_REQUEST : OK);
        if (extra)
            assert_non_null(strstr(what, "elements"));
        buf_deinit(&topic);
        buf_deinit(&request);
    }
}

static void unknown_fields_of_all_levels_are_counted_together(void **state)
{
    (void)state;
    for (size_t extra = 0; extra < 2; extra++) {
        struct buf topic = {0}, request = {0};
        const char *what = NULL;
        fill(&topic, "f8 01 01", MESSAGE_UNKNOWN_MAX / 2);
        wrap(&request, 1, &topic);
        wrap(&request, 1, &topic);
        fill(&request, "fa 01 00", extra);
        assert_err(prescan(&sluice__create_topics_request__descriptor, buf_slice(&request), &what),
                   extra ? E_INVALID_REQUEST : OK);
        if (extra)
            assert_non_null(strstr(what, "unknown"));
        buf_deinit(&topic);
        buf_deinit(&request);
    }
}

/* No message of the schema nests deeper than the limit, so one that nests in itself stands in. */
static ProtobufCFieldDescriptor nested_field = {
    .name = "nested",
    .id = 1,
    .label = PROTOBUF_C_LABEL_OPTIONAL,
    .type = PROTOBUF_C_TYPE_MESSAGE,
};
static const unsigned nested_by_name[] = {0};
static const ProtobufCIntRange nested_ranges[] = {{1, 0}, {0, 1}};
static const ProtobufCMessageDescriptor nested = {
    .magic = PROTOBUF_C__MESSAGE_DESCRIPTOR_MAGIC,
    .name = "Nested",
    .sizeof_message = sizeof(ProtobufCMessage),
    .n_fields = 1,
    .fields = &nested_field,
    .fields_sorted_by_name = nested_by_name,
    .n_field_ranges = 1,
    .field_ranges = nested_ranges,
};

static void depth_ends_at_the_limit(void **state)
{
    (void)state;
    nested_field.descriptor = &nested;
    struct buf bytes = {0};
    for (int depth = 1; depth <= 300; depth++) {
        const char *what = NULL;
        assert_err(prescan(&nested, buf_slice(&bytes), &what),
                   depth <= MESSAGE_DEPTH_MAX ? OK : E_INVALID_REQUEST);
        if (depth > MESSAGE_DEPTH_MAX)
            assert_non_null(strstr(what, "deep"));
        struct buf outer = {0};
        wrap(&outer, 1, &bytes);
        buf_deinit(&bytes);
        buf_take(&bytes, &outer);
    }
    buf_deinit(&bytes);
}

/* Goal: a control frame of 1 MiB of the worst that reliability.md 6.1 lists never takes more than 8
 * MiB, and nothing at all where it is refused. Times: tests/bench. */
static void hostile_frames_stay_within_their_memory(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        const ProtobufCMessageDescriptor *type;
        const char *hex;
    } cases[] = {
        {"empty submessages", &sluice__create_topics_request__descriptor, "0a 00"},
        {"the largest submessages", &sluice__metadata_response__descriptor, "2a 00"},
        {"submessages of submessages", &sluice__create_topics_request__descriptor,
         "0a 0a 22 00 22 00 22 00 22 00 22 00"},
        {"empty strings", &sluice__metadata_request__descriptor, "0a 00"},
        {"empty bytes", &sluice__metadata_request__descriptor, "12 00"},
        {"unknown fields", &sluice__metadata_request__descriptor, "f8 01 01"},
        {"a repeated singular submessage", &sluice__request__descriptor, "7a 00"},
        {"a repeated singular number", &sluice__request__descriptor, "08 01"},
        {"packed numbers", &sluice__replica_assignment__descriptor, "0a 04 01 01 01 01"},
        {"numbers not packed", &sluice__replica_assignment__descriptor, "08 01"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t one[32];
        const size_t size = test_unhex(cases[i].hex, one, sizeof one);
        struct buf bytes = {0};
        size_t used;
        const char *what = NULL;
        fill(&bytes, cases[i].hex, CONTROL_FRAME_BYTES_MAX / size);
        assert_err(unpack(cases[i].type, &bytes, &used, &what), E_INVALID_REQUEST);
        assert_int_equal(used, 0);
        /* As many as the pre-scan lets pass. */
        buf_clear(&bytes);
        for (size_t count = MESSAGE_ELEMENTS_MAX; count > 0; count--) {
            if (count * size > CONTROL_FRAME_BYTES_MAX)
                continue;
            buf_clear(&bytes);
            fill(&bytes, cases[i].hex, count);
            if (prescan(cases[i].type, buf_slice(&bytes), NULL) == OK)
                break;
            count = count > 100 ? count - count / 100 : count;
        }
        if (unpack(cases[i].type, &bytes, &used, &what) != OK)
            fail_msg("%s: %s", cases[i].what, what);
        buf_deinit(&bytes);
    }
}

static void one_string_of_a_mebibyte_fits(void **state)
{
    (void)state;
    struct buf text = {0}, request = {0};
    size_t used;
    fill(&text, "61", CONTROL_FRAME_BYTES_MAX - 10);
    wrap(&request, 1, &text);
    assert_ok(unpack(&sluice__metadata_request__descriptor, &request, &used, NULL));
    buf_deinit(&text);
    buf_deinit(&request);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_wrong_is_told),
        cmocka_unit_test(elements_of_all_levels_are_counted_together),
        cmocka_unit_test(unknown_fields_of_all_levels_are_counted_together),
        cmocka_unit_test(depth_ends_at_the_limit),
        cmocka_unit_test(hostile_frames_stay_within_their_memory),
        cmocka_unit_test(one_string_of_a_mebibyte_fits),
    };
    return TEST_MAIN(tests, NULL, NULL);
}
