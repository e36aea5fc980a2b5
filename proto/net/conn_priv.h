/* SPDX-License-Identifier: Apache-2.0 */
/* What listener.c needs of a connection besides conn.h. */
#ifndef SLUICE_NET_CONN_PRIV_H
#define SLUICE_NET_CONN_PRIV_H

#include "proto/net/conn.h"

/* Calls gone(arg) once, after on_closed. */
void conn_set_gone(struct conn *c, void (*gone)(void *arg), void *arg);

#endif
