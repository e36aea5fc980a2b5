/* SPDX-License-Identifier: Apache-2.0 */
/* Metad's insides, for the files of this folder. Everything lives on one loop. */
#ifndef SLUICE_METAD_METAD_PRIV_H
#define SLUICE_METAD_METAD_PRIV_H

#include <stdatomic.h>

#include "metad/server/metad.h"

struct forwarder;
struct parked;

struct metad {
    struct metad_opts opts;
    struct service *service;
    struct address bound[METAD_LISTENERS_MAX];
    struct subscription subscription;
    const struct cluster *image; /* the newest; NULL: none yet */
    struct parked *parked;       /* metadata requests that wait for an image */
    struct forwarder *forwarder;
    atomic_bool has_image;
    atomic_uint_fast64_t image_version;
    atomic_uint_fast64_t parked_count;
    void (*on_stopped)(void *arg);
    void *on_stopped_arg;
};

/* handle_metadata.c */
size_t handle_metadata_extra(void);
void handle_metadata(void *user, struct request *r, const void *message);
/* A newer image: those that waited for it are answered. */
void handle_metadata_image(struct metad *m);

/* handle_admin.c: requests that are the controller's, or another broker's, to answer */
size_t handle_admin_extra(void);
void handle_admin(void *user, struct request *r, struct slice body);
void handle_admin_describe(void *user, struct request *r, struct slice body);

#endif
