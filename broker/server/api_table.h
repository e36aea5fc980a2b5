/* SPDX-License-Identifier: Apache-2.0 */
/* What the broker answers: one row per API, and the file that handles it. */
#ifndef SLUICE_SERVER_API_TABLE_H
#define SLUICE_SERVER_API_TABLE_H

#include <pthread.h>

#include "broker/controller/controller.h"
#include "broker/server/lane.h"
#include "proto/base/conf.h"

/* What handlers reach; user of the service. */
struct handlers {
    struct lane *lanes; /* by index of the loop */
    struct controller *controller;
    const struct conf *conf;
    pthread_mutex_t conf_lock; /* guards conf: dynamic keys change at run time */
    int32_t broker_id;
};

extern const struct service_api api_table[];
extern const size_t api_table_count;
/* Bytes that requests carry for handlers. */
size_t api_extra_bytes(void);
/* For service_opts.on_frames_end. */
void api_frames_end(void *user, size_t index);

#endif
