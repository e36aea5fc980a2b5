/* SPDX-License-Identifier: Apache-2.0 */
/* DeleteRecords: raises the start of partitions. */
#ifndef SLUICE_SERVER_HANDLE_DELETE_RECORDS_H
#define SLUICE_SERVER_HANDLE_DELETE_RECORDS_H

#include "broker/server/lane.h"

void handle_delete_records(struct lane *ln, struct request *r, const void *message);

#endif
