/* SPDX-License-Identifier: Apache-2.0 */
/* DescribeConfigs of this broker: its table, with each value and where it is from. */
#ifndef SLUICE_SERVER_HANDLE_DESCRIBE_BROKER_H
#define SLUICE_SERVER_HANDLE_DESCRIBE_BROKER_H

#include "proto/base/conf.h"
#include "proto/net/service.h"

/* Under the lock that guards conf. */
void handle_describe_broker(const struct conf *conf, int32_t broker_id, struct request *r,
                            const void *message);

#endif
