/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration of a handle: the table of keys (settings.c, the source of
 * the manual) and their values, checked all at once. Threads: a loaded
 * settings does not change.
 */
#ifndef SLUICE_CLIENTS_SETTINGS_H
#define SLUICE_CLIENTS_SETTINGS_H

#include <sluice/sluice.h>

#include "proto/net/loop.h"
#include "proto/wire/batch.h"

enum reset_policy { RESET_EARLIEST, RESET_LATEST, RESET_NONE };

/* Times are microseconds, sizes bytes. */
struct settings {
    struct address *bootstrap;
    size_t bootstrap_count;
    char *client_id;
    int64_t request_timeout_us;
    int64_t connect_timeout_us;
    int64_t retry_backoff_us, retry_backoff_max_us;
    int64_t reconnect_backoff_us, reconnect_backoff_max_us;
    int64_t metadata_max_age_us;
    int64_t
        api_timeout_ms; /* what SLUICE_TIMEOUT_DEFAULT is: max.block.ms or default.api.timeout.ms */
    bool auto_create;

    struct {
        int32_t acks;
        size_t batch_size, buffer_memory, request_size_max;
        int64_t linger_us, delivery_timeout_us;
        int32_t retries, inflight_max;
        enum batch_codec codec;
        int codec_level;
        bool adaptive;
    } producer;

    struct {
        enum reset_policy reset;
        uint32_t fetch_min_bytes, fetch_wait_ms, fetch_max_bytes, partition_max_bytes;
        size_t queued_max_bytes;
        size_t poll_records_max;
        bool check_crcs, tell_end;
    } consumer;
};

/* SLUICE_OK, or SLUICE_E_CONFIG naming everything that is wrong. tried: "create producer" ... */
int settings_load(const sluice_config *config, enum sluice_role role, struct settings *out,
                  struct sluice_error *error);
void settings_deinit(struct settings *s);

#endif
