/* SPDX-License-Identifier: Apache-2.0 */
/* The admin, inside: for tests and simulators. */
#ifndef SLUICE_CLIENTS_ADMIN_PRIV_H
#define SLUICE_CLIENTS_ADMIN_PRIV_H

#include "clients/lib/shell.h"
#include "clients/lib/spread.h"

/* As producer_new_driven. */
int admin_new_driven(struct loop *l, void (*turn)(void *arg, int64_t timeout_us), void *arg,
                     uint64_t seed, const sluice_config *config, sluice_admin **out,
                     struct sluice_error *error);

#endif
