/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/wire/frame.h"
#include "proto/wire/msg.h"
#include "tests/support/test.h"

static void a_length_is_four_bytes_big_endian(void **state)
{
    (void)state;
    const uint8_t bytes[] = {0x00, 0x01, 0x02, 0x03, 0xff};
    size_t length = 0;
    for (size_t size = 0; size < 4; size++)
        assert_err(frame_read_length(slice_of(bytes, size), 1 << 20, &length), E_WOULD_BLOCK);
    assert_ok(frame_read_length(slice_of(bytes, 5), 0x010203, &length));
    assert_int_equal(length, 0x010203);
    uint8_t back[4];
    assert_ptr_equal(frame_write_length(back, length), back + 4);
    assert_memory_equal(back, bytes, 4);
}

static void empty_and_long_frames_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"00 00 00 00", "00 01 02 04", "80 00 00 00", "ff ff ff ff",
                                      "47 45 54 20"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        uint8_t bytes[4];
        size_t length = 77;
        assert_int_equal(test_unhex(bad[i], bytes, sizeof bytes), 4);
        assert_err(frame_read_length(slice_of(bytes, 4), 0x010203, &length), E_INVALID_REQUEST);
        assert_int_equal(length, 77);
    }
    expect_assert_failure(frame_write_length((uint8_t[4]){0}, 0));
}

static void heads_are_as_long_as_announced_and_peek_back(void **state)
{
    (void)state;
    static const uint64_t ids[] = {0, 1, 127, 128, UINT64_MAX};
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        uint8_t bytes[64];
        size_t length;
        struct msg_peek m;
        uint8_t *p = frame_response_head_write(bytes, ids[i], API_FETCH, 3);
        assert_int_equal(p - bytes, frame_response_head_size(ids[i], API_FETCH, 3));
        memcpy(p, "\x0a\x01\x00", 3);
        assert_ok(frame_read_length(slice_of(bytes, 4), sizeof bytes, &length));
        assert_int_equal(length, p + 3 - bytes - 4);
        assert_ok(msg_peek_response(slice_of(bytes + 4, length), &m));
        assert_int_equal(m.correlation_id, ids[i]);
        assert_int_equal(m.body_field, API_FETCH);
        assert_slice_equal(m.body, slice_of("\x0a\x01\x00", 3));

        p = frame_request_head_write(bytes, ids[i], slice_str("me"), 2);
        assert_int_equal(p - bytes, frame_request_head_size(ids[i], slice_str("me")));
        memcpy(p, "\x52\x00", 2); /* an empty hello */
        assert_ok(frame_read_length(slice_of(bytes, 4), sizeof bytes, &length));
        assert_int_equal(length, p + 2 - bytes - 4);
        assert_ok(msg_peek_request(slice_of(bytes + 4, length), &m));
        assert_int_equal(m.correlation_id, ids[i]);
        assert_slice_equal(m.client_id, slice_str("me"));
        assert_int_equal(m.body_field, API_HELLO);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_length_is_four_bytes_big_endian),
        cmocka_unit_test(empty_and_long_frames_are_refused),
        cmocka_unit_test(heads_are_as_long_as_announced_and_peek_back),
    };
    return TEST_MAIN(tests, NULL, NULL);
}
