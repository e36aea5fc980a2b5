/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Topic names: 1 to 200 of [a-zA-Z0-9._-], not `.` or `..`; a name is refused
 * where it differs from an existing one only by `.` and `_`, which metric
 * names cannot tell apart; names that begin with `__` are internal.
 */
#ifndef SLUICE_MODEL_NAMES_H
#define SLUICE_MODEL_NAMES_H

#include <stdbool.h>

#include "proto/base/slice.h"

/* NULL: valid; else what is wrong, to stand behind the name in a sentence ("is longer than 200
 * characters"). */
const char *topic_name_fault(struct slice name);
bool topic_name_is_internal(struct slice name);
/* Equal, or different only by `.` and `_`. */
bool topic_names_collide(struct slice a, struct slice b);
/* Equal for names that collide. */
uint64_t topic_name_hash(struct slice name);

#endif
