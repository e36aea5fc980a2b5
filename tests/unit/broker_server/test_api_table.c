/* SPDX-License-Identifier: Apache-2.0 */
/* The table against the schema: every request that a broker must answer, read as what it is. */
#include "broker/server/api_table.h"
#include "tests/support/test.h"

#include "broker/server/handle_fetch.h"
#include "broker/server/handle_list_offsets.h"
#include "broker/server/handle_produce.h"
#include "proto/base/limits.h"
#include "proto/schema/request.pb-c.h"

static const struct service_api *row_of(uint32_t api)
{
    for (size_t i = 0; i < api_table_count; i++)
        if (api_table[i].api == api)
            return &api_table[i];
    return NULL;
}

static void every_request_of_the_protocol_has_a_row_or_is_metads(void **state)
{
    (void)state;
    for (uint32_t api = API_HELLO + 1; api < API_END; api++)
        assert_int_equal(row_of(api) != NULL, api != API_METADATA);
}

static void no_request_has_two_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < api_table_count; i++)
        assert_ptr_equal(row_of(api_table[i].api), &api_table[i]);
}

static void rows_read_what_the_schema_says(void **state)
{
    (void)state;
    for (size_t i = 0; i < api_table_count; i++) {
        const struct service_api *row = &api_table[i];
        const ProtobufCFieldDescriptor *field =
            protobuf_c_message_descriptor_get_field(&sluice__request__descriptor, row->api);
        assert_non_null(field);
        assert_string_equal(field->name, api_name(row->api));
        const bool is_raw = row->api == API_PRODUCE || row->api == API_FETCH;
        assert_ptr_equal(row->request, is_raw ? NULL : field->descriptor);
        assert_int_equal(row->handle_raw != NULL, is_raw);
        assert_int_equal(row->handle != NULL, !is_raw);
        /* Only produce carries data. */
        assert_int_equal(row->frame_bytes_max, row->api == API_PRODUCE
                                                   ? (size_t)FRAME_BYTES_MAX
                                                   : (size_t)CONTROL_FRAME_BYTES_MAX);
    }
}

static void requests_have_room_for_any_handler(void **state)
{
    (void)state;
    assert_true(api_extra_bytes() >= handle_produce_extra());
    assert_true(api_extra_bytes() >= handle_fetch_extra());
    assert_true(api_extra_bytes() >= handle_list_offsets_extra());
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_request_of_the_protocol_has_a_row_or_is_metads),
        cmocka_unit_test(no_request_has_two_rows),
        cmocka_unit_test(rows_read_what_the_schema_says),
        cmocka_unit_test(requests_have_room_for_any_handler),
    };
    return TEST_MAIN(tests, NULL, NULL);
}
