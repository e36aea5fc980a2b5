/* SPDX-License-Identifier: Apache-2.0 */
/* ListOffsets: the ends of partitions at once; offsets by time from a worker, which may read and
 * decompress. */
#ifndef SLUICE_SERVER_HANDLE_LIST_OFFSETS_H
#define SLUICE_SERVER_HANDLE_LIST_OFFSETS_H

#include "broker/server/lane.h"

size_t handle_list_offsets_extra(void);
void handle_list_offsets(struct lane *ln, struct request *r, const void *message);

#endif
