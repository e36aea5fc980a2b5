/* SPDX-License-Identifier: Apache-2.0 */
/* The requests that are not the hot path: offsets, deleted records, this broker's configs. */
#include "tests/unit/broker_server/handlers_world.h"

enum { LATEST = -1, EARLIEST = -2, NEWEST = -3 };

static int setup(void **state)
{
    *state = handlers_world_new(0);
    return 0;
}

static int teardown(void **state)
{
    handlers_world_free(*state);
    return 0;
}

static const Sluice__ListOffsetsPartitionResult *listed(const struct client *x, uint64_t id,
                                                        size_t nth)
{
    const Sluice__Response *r = answer_to(x, id);
    assert_non_null(r);
    assert_null(r->error);
    assert_true(nth < r->list_offsets->n_topic);
    return r->list_offsets->topic[nth]->partition[0];
}

static const Sluice__DeleteRecordsPartitionResult *deleted(const struct client *x, uint64_t id,
                                                           size_t nth)
{
    const Sluice__Response *r = answer_to(x, id);
    assert_non_null(r);
    assert_null(r->error);
    assert_true(nth < r->delete_records->n_topic);
    return r->delete_records->topic[nth]->partition[0];
}

/* --- list offsets ----------------------------------------------------------------------- */

static void ends_are_told_at_once(void **state)
{
    struct handlers_world *h = *state;
    fill(h, 1, 0, 2, 2);
    const struct part parts[] = {{.topic = 1, .offset = LATEST},
                                 {.topic = 1, .by_id = true, .offset = EARLIEST}};
    const uint64_t id = put_list_offsets(&h->c, parts, 2);
    exchange(h, &h->c);
    assert_int_equal(listed(&h->c, id, 0)->offset, 4);
    assert_int_equal(listed(&h->c, id, 0)->timestamp, -1);
    assert_int_equal(listed(&h->c, id, 1)->offset, 0);
    const Sluice__ListOffsetsResponse *r = answer_to(&h->c, id)->list_offsets;
    assert_string_equal(r->topic[0]->name, "topic-1");
    assert_null(r->topic[1]->name);
    assert_int_equal(r->topic[1]->topic_id.len, 16);
}

static void times_are_searched_on_a_worker(void **state)
{
    struct handlers_world *h = *state;
    fill(h, 1, 0, 2, 2); /* all records are of time 1000 */
    const struct part parts[] = {{.topic = 1, .offset = 900},
                                 {.topic = 1, .offset = 1001},
                                 {.topic = 1, .offset = NEWEST},
                                 {.topic = 1, .offset = LATEST},
                                 {.topic = 9, .offset = 900}};
    const uint64_t id = put_list_offsets(&h->c, parts, 5);
    exchange(h, &h->c);
    assert_null(answer_to(&h->c, id));
    pass(&h->t.w, WARM_US);
    assert_int_equal(listed(&h->c, id, 0)->offset, 0);
    assert_int_equal(listed(&h->c, id, 0)->timestamp, 1000);
    assert_int_equal(listed(&h->c, id, 1)->offset, -1);
    assert_null(listed(&h->c, id, 1)->error);
    assert_int_equal(listed(&h->c, id, 2)->timestamp, 1000);
    assert_int_equal(listed(&h->c, id, 3)->offset, 4);
    assert_err(error_code(listed(&h->c, id, 4)->error), E_UNKNOWN_TOPIC_OR_PARTITION);
}

static void the_latest_waits_for_what_was_shown_before(void **state)
{
    struct handlers_world *h = *state;
    struct partition *p;
    struct partition_appended done;
    struct shape s = ours;
    assert_ok(find(&h->t, 1, 0, &p));
    assert_ok(append(p, 3, false, -1, &done));
    partition_unref(p);
    s.leader_epoch = 1;
    apply_topic(&h->t, 1, &s); /* leads anew, with three records that are not confirmed */
    const struct part parts[] = {{.topic = 1, .offset = LATEST}, {.topic = 1, .offset = EARLIEST}};
    const uint64_t early = put_list_offsets(&h->c, parts, 2);
    exchange(h, &h->c);
    assert_err(error_code(listed(&h->c, early, 0)->error), E_OFFSET_NOT_AVAILABLE);
    assert_int_equal(listed(&h->c, early, 0)->error->class_, CLASS_RETRY);
    assert_int_equal(listed(&h->c, early, 1)->offset, 0);
    world_settle(&h->t.w);
    const uint64_t later = put_list_offsets(&h->c, parts, 2);
    exchange(h, &h->c);
    assert_int_equal(listed(&h->c, later, 0)->offset, 3);
}

static void list_offsets_refusals(void **state)
{
    struct handlers_world *h = *state;
    struct shape s = ours;
    s.leader_epoch = 4;
    apply_topic(&h->t, 1, &s);
    const struct part parts[] = {{.topic = 1, .offset = -4},
                                 {.topic = 1, .has_epoch = true, .epoch = 3, .offset = LATEST},
                                 {.topic = 1, .has_epoch = true, .epoch = 5, .offset = LATEST},
                                 {.topic = 1, .partition = 2, .offset = LATEST}};
    const uint64_t id = put_list_offsets(&h->c, parts, 4);
    const uint64_t nothing = put_list_offsets(&h->c, NULL, 0);
    exchange(h, &h->c);
    assert_err(error_code(listed(&h->c, id, 0)->error), E_INVALID_REQUEST);
    assert_non_null(strstr(listed(&h->c, id, 0)->error->message, "timestamp -4"));
    assert_err(error_code(listed(&h->c, id, 1)->error), E_FENCED_LEADER_EPOCH);
    assert_err(error_code(listed(&h->c, id, 2)->error), E_UNKNOWN_LEADER_EPOCH);
    assert_err(error_code(listed(&h->c, id, 3)->error), E_UNKNOWN_TOPIC_OR_PARTITION);
    assert_int_equal(answer_to(&h->c, nothing)->list_offsets->n_topic, 0);
}

static void leaving_during_a_search(void **state)
{
    struct handlers_world *h = *state;
    struct client other;
    const struct part part = {.topic = 1, .offset = 5};
    connect_client(h, &other);
    put_list_offsets(&other, &part, 1);
    exchange(h, &other);
    apply_deletion(&h->t, 1);
    leave(h, &other);
    pass(&h->t.w, WARM_US);
    assert_int_equal(service_connections(h->service), 1);
}

/* --- delete records ----------------------------------------------------------------------- */

static void records_are_deleted(void **state)
{
    struct handlers_world *h = *state;
    fill(h, 1, 0, 2, 2);
    fill(h, 1, 1, 3, 2);
    const struct part parts[] = {{.topic = 1, .offset = 1},
                                 {.topic = 1, .by_id = true, .partition = 1, .offset = -1}};
    const uint64_t id = put_delete_records(&h->c, parts, 2);
    const struct part start = {.topic = 1, .offset = EARLIEST};
    const uint64_t list = put_list_offsets(&h->c, &start, 1);
    exchange(h, &h->c);
    assert_int_equal(deleted(&h->c, id, 0)->log_start_offset, 1);
    assert_int_equal(deleted(&h->c, id, 1)->log_start_offset, 6);
    assert_int_equal(listed(&h->c, list, 0)->offset, 1);
}

static void delete_records_refusals(void **state)
{
    struct handlers_world *h = *state;
    fill(h, 1, 0, 1, 2);
    const struct part parts[] = {{.topic = 1, .offset = 3},
                                 {.topic = 1, .offset = -2},
                                 {.topic = 1, .offset = INT64_MIN},
                                 {.topic = 9, .offset = 1},
                                 {.topic = 1, .offset = 2}};
    const uint64_t id = put_delete_records(&h->c, parts, 5);
    exchange(h, &h->c);
    assert_err(error_code(deleted(&h->c, id, 0)->error), E_OFFSET_OUT_OF_RANGE);
    assert_non_null(strstr(deleted(&h->c, id, 0)->error->message, "high watermark is 2"));
    assert_err(error_code(deleted(&h->c, id, 1)->error), E_OFFSET_OUT_OF_RANGE);
    assert_err(error_code(deleted(&h->c, id, 2)->error), E_INVALID_REQUEST);
    assert_non_null(strstr(deleted(&h->c, id, 2)->error->message, "before_offset is missing"));
    assert_err(error_code(deleted(&h->c, id, 3)->error), E_UNKNOWN_TOPIC_OR_PARTITION);
    assert_int_equal(deleted(&h->c, id, 4)->log_start_offset, 2);
}

/* --- this broker's configs ------------------------------------------------------------------- */

static uint64_t put_describe(struct client *x, int32_t type, const char *const *names, size_t count)
{
    Sluice__ConfigResource resources[PARTS_MAX], *list[PARTS_MAX];
    Sluice__DescribeConfigsRequest describe = SLUICE__DESCRIBE_CONFIGS_REQUEST__INIT;
    Sluice__Request r = SLUICE__REQUEST__INIT;
    assert_true(count <= PARTS_MAX);
    for (size_t i = 0; i < count; i++) {
        sluice__config_resource__init(&resources[i]);
        list[i] = &resources[i];
        resources[i].has_type = true;
        resources[i].type = type;
        resources[i].name = (char *)(uintptr_t)names[i];
    }
    describe.n_resource = count;
    describe.resource = list;
    r.body_case = SLUICE__REQUEST__BODY_DESCRIBE_CONFIGS;
    r.describe_configs = &describe;
    return put_request(x, &r);
}

static const Sluice__ConfigEntry *entry(const Sluice__ConfigsOf *of, const char *key)
{
    for (size_t i = 0; i < of->n_entry; i++)
        if (strcmp(of->entry[i]->key, key) == 0)
            return of->entry[i];
    fail_msg("no entry %s", key);
    return NULL;
}

static void the_broker_describes_itself(void **state)
{
    struct handlers_world *h = *state;
    static const char *const names[] = {"1"};
    conf_set(h->conf, "broker.rack=r1", CONF_ARGUMENT, "--set");
    assert_ok(conf_override(h->conf, "log.retention.ms", "777", NULL));
    const uint64_t id =
        put_describe(&h->c, SLUICE__CONFIG_RESOURCE_TYPE__RESOURCE_BROKER, names, 1);
    flush_requests(&h->c);
    pass(&h->t.w, 100);
    const Sluice__ConfigsOf *of = answer_to(&h->c, id)->describe_configs->result[0];
    assert_null(of->error);
    struct conf_view view;
    size_t keys = 0;
    while (conf_at(h->conf, keys, &view))
        keys++;
    assert_int_equal(of->n_entry, keys);
    const Sluice__ConfigEntry *e = entry(of, "log.retention.ms");
    assert_string_equal(e->value, "777");
    assert_int_equal(e->source, SLUICE__CONFIG_SOURCE__SOURCE_DYNAMIC_BROKER);
    assert_false(e->read_only);
    e = entry(of, "broker.rack");
    assert_string_equal(e->value, "r1");
    assert_int_equal(e->source, SLUICE__CONFIG_SOURCE__SOURCE_STATIC_BROKER);
    assert_true(e->read_only);
    e = entry(of, "num.partitions");
    assert_int_equal(e->source, SLUICE__CONFIG_SOURCE__SOURCE_DEFAULT);
    assert_null(entry(of, "http.listener")->value);
}

static void others_are_not_described(void **state)
{
    struct handlers_world *h = *state;
    static const char *const names[] = {"2", "1", "1", "1x"};
    static const char *const topics[] = {"topic-1"};
    const uint64_t id =
        put_describe(&h->c, SLUICE__CONFIG_RESOURCE_TYPE__RESOURCE_BROKER, names, 4);
    const uint64_t topic =
        put_describe(&h->c, SLUICE__CONFIG_RESOURCE_TYPE__RESOURCE_TOPIC, topics, 1);
    flush_requests(&h->c);
    pass(&h->t.w, 100);
    Sluice__ConfigsOf **of = answer_to(&h->c, id)->describe_configs->result;
    assert_non_null(strstr(of[0]->error->message, "this is broker 1"));
    assert_null(of[1]->error);
    assert_non_null(strstr(of[2]->error->message, "twice"));
    assert_int_equal(of[2]->n_entry, 0);
    assert_non_null(of[3]->error);
    assert_non_null(
        strstr(answer_to(&h->c, topic)->describe_configs->result[0]->error->message, "metad"));
}

/* --- what this server does not answer ----------------------------------------------------------
 */

static void metadata_is_asked_elsewhere(void **state)
{
    struct handlers_world *h = *state;
    Sluice__MetadataRequest metadata = SLUICE__METADATA_REQUEST__INIT;
    Sluice__Request r = SLUICE__REQUEST__INIT;
    r.body_case = SLUICE__REQUEST__BODY_METADATA;
    r.metadata = &metadata;
    const uint64_t id = put_request(&h->c, &r);
    exchange(h, &h->c);
    assert_refused(&h->c, id, E_WRONG_ROLE, "etadata");
}

int main(int argc, char **argv)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(ends_are_told_at_once),
        T(times_are_searched_on_a_worker),
        T(the_latest_waits_for_what_was_shown_before),
        T(list_offsets_refusals),
        T(leaving_during_a_search),
        T(records_are_deleted),
        T(delete_records_refusals),
        T(the_broker_describes_itself),
        T(others_are_not_described),
        T(metadata_is_asked_elsewhere),
    };
    return TEST_MAIN(tests, NULL, NULL);
}
