/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/server/api_table.h"

#include "broker/server/handle_delete_records.h"
#include "broker/server/handle_describe_broker.h"
#include "broker/server/handle_fetch.h"
#include "broker/server/handle_list_offsets.h"
#include "broker/server/handle_produce.h"
#include "proto/base/limits.h"
#include "proto/schema/request.pb-c.h"

static struct lane *lane_of(void *user, const struct request *r)
{
    return &((struct handlers *)user)->lanes[service_loop_index(r)];
}

static void produce(void *user, struct request *r, struct slice body)
{
    handle_produce(lane_of(user, r), r, body);
}

static void fetch(void *user, struct request *r, struct slice body)
{
    handle_fetch(lane_of(user, r), r, body);
}

static void list_offsets(void *user, struct request *r, const void *message)
{
    handle_list_offsets(lane_of(user, r), r, message);
}

static void delete_records(void *user, struct request *r, const void *message)
{
    handle_delete_records(lane_of(user, r), r, message);
}

static void describe_configs(void *user, struct request *r, const void *message)
{
    struct handlers *h = user;
    pthread_mutex_lock(&h->conf_lock);
    handle_describe_broker(h->conf, h->broker_id, r, message);
    pthread_mutex_unlock(&h->conf_lock);
}

static void admin(void *user, struct request *r, const void *message)
{
    controller_serve(((struct handlers *)user)->controller, r, message);
}

const struct service_api api_table[] = {
    {.api = API_PRODUCE, .frame_bytes_max = FRAME_BYTES_MAX, .handle_raw = produce},
    {.api = API_FETCH, .frame_bytes_max = CONTROL_FRAME_BYTES_MAX, .handle_raw = fetch},
    {.api = API_LIST_OFFSETS,
     .frame_bytes_max = CONTROL_FRAME_BYTES_MAX,
     .request = &sluice__list_offsets_request__descriptor,
     .handle = list_offsets},
    {.api = API_DELETE_RECORDS,
     .frame_bytes_max = CONTROL_FRAME_BYTES_MAX,
     .request = &sluice__delete_records_request__descriptor,
     .handle = delete_records},
    {.api = API_DESCRIBE_CONFIGS,
     .frame_bytes_max = CONTROL_FRAME_BYTES_MAX,
     .request = &sluice__describe_configs_request__descriptor,
     .handle = describe_configs},
    {.api = API_CREATE_TOPICS,
     .frame_bytes_max = CONTROL_FRAME_BYTES_MAX,
     .request = &sluice__create_topics_request__descriptor,
     .handle = admin},
    {.api = API_DELETE_TOPICS,
     .frame_bytes_max = CONTROL_FRAME_BYTES_MAX,
     .request = &sluice__delete_topics_request__descriptor,
     .handle = admin},
    {.api = API_CREATE_PARTITIONS,
     .frame_bytes_max = CONTROL_FRAME_BYTES_MAX,
     .request = &sluice__create_partitions_request__descriptor,
     .handle = admin},
    {.api = API_ALTER_CONFIGS,
     .frame_bytes_max = CONTROL_FRAME_BYTES_MAX,
     .request = &sluice__alter_configs_request__descriptor,
     .handle = admin},
};
const size_t api_table_count = sizeof api_table / sizeof api_table[0];

size_t api_extra_bytes(void)
{
    size_t most = handle_produce_extra();
    if (handle_fetch_extra() > most)
        most = handle_fetch_extra();
    if (handle_list_offsets_extra() > most)
        most = handle_list_offsets_extra();
    return most;
}

void api_frames_end(void *user, size_t index)
{
    handle_produce_end(&((struct handlers *)user)->lanes[index]);
}
