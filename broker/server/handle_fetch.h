/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fetch: read each partition's range, answer if that is enough, else wait for
 * one of them to grow (long poll). What is answered are the bytes of the log's
 * mapped files; what is not in the page cache is brought there by a worker first.
 */
#ifndef SLUICE_SERVER_HANDLE_FETCH_H
#define SLUICE_SERVER_HANDLE_FETCH_H

#include "broker/server/lane.h"

/* Bytes of request extra it needs. */
size_t handle_fetch_extra(void);
void handle_fetch(struct lane *ln, struct request *r, struct slice body);

#endif
