/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration of the metadata server: the keys that are also those of a
 * standalone broker, and those of sluice-metad alone. Threads: the owner's.
 */
#ifndef SLUICE_METAD_METAD_CONF_H
#define SLUICE_METAD_METAD_CONF_H

#include "metad/server/metad.h"
#include "proto/base/conf.h"

enum { METAD_LISTENER_NAME_MAX = 63 };

struct metad_conf {
    struct metad_listener listeners[METAD_LISTENERS_MAX];
    size_t listener_count;
    bool auto_create_topics;
    char names[METAD_LISTENERS_MAX][METAD_LISTENER_NAME_MAX + 1]; /* of the listeners */
};

extern const struct conf_table metad_conf_table;        /* wherever metad runs */
extern const struct conf_table metad_daemon_conf_table; /* sluice-metad alone */

/* From a conf that has metad_conf_table. Problems between values are added to c. Not to be moved
 * afterwards. */
void metad_conf_read(struct conf *c, struct metad_conf *out);

#endif
