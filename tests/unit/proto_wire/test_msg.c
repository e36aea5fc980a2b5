/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/wire/msg.h"

#include "proto/base/limits.h"
#include "proto/base/writer.h"
#include "proto/schema/request.pb-c.h"
#include "tests/support/test.h"

static struct buf packed_hello(uint64_t correlation_id, const char *client_id)
{
    Sluice__HelloRequest hello = SLUICE__HELLO_REQUEST__INIT;
    hello.has_min_version = hello.has_max_version = 1;
    hello.min_version = hello.max_version = 1;
    hello.software = (char *)(uintptr_t) "test 1";
    Sluice__Request request = SLUICE__REQUEST__INIT;
    request.has_correlation_id = 1;
    request.correlation_id = correlation_id;
    request.client_id = (char *)(uintptr_t)client_id;
    request.body_case = SLUICE__REQUEST__BODY_HELLO;
    request.hello = &hello;
    struct buf bytes = {0};
    msg_pack(&request, &bytes);
    return bytes;
}

static void a_message_survives_packing_and_unpacking(void **state)
{
    (void)state;
    struct buf bytes = packed_hello(77, "me");
    struct arena arena;
    void *out;
    arena_init(&arena, 64 * KIB);
    assert_ok(msg_unpack(&sluice__request__descriptor, buf_slice(&bytes), &arena, &out, NULL));
    const Sluice__Request *request = out;
    assert_int_equal(request->correlation_id, 77);
    assert_string_equal(request->client_id, "me");
    assert_int_equal(request->body_case, SLUICE__REQUEST__BODY_HELLO);
    assert_string_equal(request->hello->software, "test 1");
    arena_deinit(&arena);
    buf_deinit(&bytes);
}

static void an_empty_message_unpacks(void **state)
{
    (void)state;
    struct arena arena;
    void *out = NULL;
    arena_init(&arena, 64 * KIB);
    assert_ok(msg_unpack(&sluice__request__descriptor, slice_of(NULL, 0), &arena, &out, NULL));
    assert_non_null(out);
    arena_deinit(&arena);
}

static void a_budget_that_is_too_small_is_told_at_every_size(void **state)
{
    (void)state;
    struct buf bytes = packed_hello(77, "a client id of some length");
    size_t refused = 0;
    for (size_t limit = 0; limit < 2048; limit += 16) {
        struct arena arena;
        void *out = &arena;
        const char *what = NULL;
        arena_init(&arena, limit);
        if (msg_unpack(&sluice__request__descriptor, buf_slice(&bytes), &arena, &out, &what) !=
            OK) {
            refused++;
            assert_ptr_equal(out, &arena);
            assert_non_null(strstr(what, "memory"));
        }
        arena_deinit(&arena);
    }
    assert_in_range(refused, 2, 127);
    buf_deinit(&bytes);
}

static void a_peek_finds_the_body_without_unpacking_it(void **state)
{
    (void)state;
    struct buf bytes = packed_hello(UINT64_MAX, "me");
    struct msg_peek m;
    assert_ok(msg_peek_request(buf_slice(&bytes), &m));
    assert_int_equal(m.correlation_id, UINT64_MAX);
    assert_slice_equal(m.client_id, slice_str("me"));
    assert_int_equal(m.body_field, API_HELLO);
    struct arena arena;
    void *out;
    arena_init(&arena, 64 * KIB);
    assert_ok(msg_unpack(&sluice__hello_request__descriptor, m.body, &arena, &out, NULL));
    assert_string_equal(((Sluice__HelloRequest *)out)->software, "test 1");
    arena_deinit(&arena);
    buf_deinit(&bytes);
}

static void peeks_refuse_and_take(void **state)
{
    (void)state;
    static const struct {
        const char *hex;
        bool good;
        uint32_t body_field;
    } cases[] = {
        {"", true, 0},
        {"08 05", true, 0},
        {"52 00  08 05", true, API_HELLO},    /* the body first */
        {"08 05  08 05", false, 0},           /* twice */
        {"52 00  52 00", false, 0},           /* two bodies */
        {"52 00  5a 00", false, 0},           /* two bodies */
        {"50 01", false, 0},                  /* a body that is a number */
        {"0d 01 00 00 00", false, 0},         /* a correlation id of another type */
        {"12 02 61", false, 0},               /* cut short */
        {"12 01 ff", false, 0},               /* a client id that is not text */
        {"1a 00  52 00", true, API_HELLO},    /* an unknown field */
        {"aa 01 00", true, API_END},          /* a request that this build does not know */
        {"aa 01 00  52 00", true, API_HELLO}, /* an unknown field behind the bodies, and a body */
        {"52 00  aa 01 00", true, API_HELLO},
        {"a8 01 05  52 00", true, API_HELLO},
        {"1b 1c", false, 0}, /* a group */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t bytes[64];
        struct msg_peek m = {.body_field = 99};
        const size_t size = test_unhex(cases[i].hex, bytes, sizeof bytes);
        const err e = msg_peek_request(slice_of(bytes, size), &m);
        if (e != (cases[i].good ? OK : E_INVALID_REQUEST) ||
            m.body_field != (e == OK ? cases[i].body_field : 99))
            fail_msg("%s: %s, body %u", cases[i].hex, err_name(e), m.body_field);
    }
}

static void a_client_id_has_a_limit(void **state)
{
    (void)state;
    for (size_t size = CLIENT_ID_BYTES_MAX; size <= CLIENT_ID_BYTES_MAX + 1; size++) {
        uint8_t bytes[300];
        uint8_t *p = write_varint(write_tag(bytes, 2, 2), size);
        memset(p, 'x', size);
        struct msg_peek m;
        assert_err(msg_peek_request(slice_of(bytes, (size_t)(p + size - bytes)), &m),
                   size > CLIENT_ID_BYTES_MAX ? E_INVALID_REQUEST : OK);
    }
}

static void errors_are_read_with_their_class(void **state)
{
    (void)state;
    static const struct {
        const char *hex, *message;
        err code;
        enum err_class class;
    } cases[] = {
        {"08 06 10 02 1a 02 68 69", "hi", E_NOT_LEADER, CLASS_REROUTE},
        {"08 06", NULL, E_NOT_LEADER, CLASS_REROUTE},
        {"08 b8 17 10 01", NULL, E_UNKNOWN,
         CLASS_RETRY}, /* 3000: a later version's, its class counts */
        {"08 b8 17", NULL, E_UNKNOWN, CLASS_FATAL},
        {"08 06 10 63", NULL, E_NOT_LEADER, CLASS_REROUTE}, /* a class that does not exist */
        {"", NULL, E_UNKNOWN, CLASS_FATAL},                 /* an error that does not say which */
        {"08 ff ff ff ff ff ff ff ff ff 01", NULL, E_UNKNOWN, CLASS_FATAL}, /* -1 never travels */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t bytes[32];
        struct msg_error e;
        assert_ok(
            msg_read_error(slice_of(bytes, test_unhex(cases[i].hex, bytes, sizeof bytes)), &e));
        assert_err(e.code, cases[i].code);
        assert_int_equal(e.class, cases[i].class);
        assert_slice_equal(e.message,
                           slice_str(cases[i].message ? cases[i].message : err_text(e.code)));
    }
    struct msg_error e;
    assert_err(msg_read_error(slice_of("\x08", 1), &e), E_INVALID_REQUEST);
}

static void a_response_tells_its_error(void **state)
{
    (void)state;
    uint8_t bytes[32];
    struct msg_peek m;
    const size_t size = test_unhex("08 09  12 04 08 03 10 02", bytes, sizeof bytes);
    assert_ok(msg_peek_response(slice_of(bytes, size), &m));
    assert_int_equal(m.correlation_id, 9);
    assert_int_equal(m.error.size, 4);
    assert_int_equal(m.body_field, 0);
}

/* The oneofs of the schema, the enum and the names agree. */
static void api_numbers_are_the_schemas(void **state)
{
    (void)state;
    const ProtobufCMessageDescriptor *types[] = {&sluice__request__descriptor,
                                                 &sluice__response__descriptor};
    for (int t = 0; t < 2; t++) {
        for (uint32_t api = 0; api <= API_END; api++) {
            const ProtobufCFieldDescriptor *field =
                protobuf_c_message_descriptor_get_field(types[t], api);
            const bool is_body = field && field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF;
            assert_int_equal(is_body, api_name(api) != NULL);
            if (is_body)
                assert_string_equal(api_name(api), field->name);
        }
    }
    assert_null(api_name(UINT32_MAX));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_survives_packing_and_unpacking),
        cmocka_unit_test(an_empty_message_unpacks),
        cmocka_unit_test(a_budget_that_is_too_small_is_told_at_every_size),
        cmocka_unit_test(a_peek_finds_the_body_without_unpacking_it),
        cmocka_unit_test(peeks_refuse_and_take),
        cmocka_unit_test(a_client_id_has_a_limit),
        cmocka_unit_test(errors_are_read_with_their_class),
        cmocka_unit_test(a_response_tells_its_error),
        cmocka_unit_test(api_numbers_are_the_schemas),
    };
    return TEST_MAIN(tests, NULL, NULL);
}
