/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of the metadata server, shared by the files of this folder. */
#ifndef SLUICE_METAD_METAD_PRIV_H
#define SLUICE_METAD_METAD_PRIV_H

#include <stdatomic.h>

#include "metad/server/forward.h"
#include "metad/server/metad.h"

/* A Metadata request that waits: for a version, or for topics being created. In its request's extra
 * bytes. */
struct metadata_wait {
    struct metad *m;
    struct request *r;
    const void *message;
    struct metadata_wait *prev, *next;
    struct timer deadline;
    uint64_t min_version;
    bool watches;
    uint64_t watch_version;
    struct forward *creating; /* NULL: nothing is being created */
    bool wants_creation;      /* of what is missing, once an image tells what is */
    bool was_created;         /* or tried */
    const void *created;      /* its TopicsResponse; NULL: it failed as a whole */
};

struct metad {
    struct metad_opts opts;
    struct loop *loop;
    struct service *service;
    struct forwarder *forwarder;
    struct subscription subscription;
    const struct cluster *img; /* NULL: none yet */
    struct address bound[METAD_LISTENERS_MAX];
    struct topic_config_values topic_defaults;
    char cluster_id[64]; /* as Hello tells it */
    struct metadata_wait *waits;
    void (*stopped)(void *arg);
    void *stopped_arg;
    /* For any thread. */
    _Atomic bool is_serving;
    _Atomic bool has_image;
    _Atomic uint64_t version;
    _Atomic uint32_t topics, partitions, brokers;
    _Atomic size_t waiting;
};

enum {
    WAITS_MAX = 100 * 1000,  /* Metadata requests that wait, in all */
    WAIT_MS_MAX = 5 * 60000, /* the longest wait that a client is granted */
    AUTO_CREATE_MS = 10000,
};

/* --- handle_metadata.c */
void handle_metadata(void *user, struct request *r, const void *message);
/* A new image is in m->img: answers those that waited for it. */
void metadata_image_changed(struct metad *m);

/* --- handle_admin.c: create and delete topics, create partitions, alter configs */
void handle_admin(void *user, struct request *r, const void *message);

/* --- handle_describe_configs.c */
void handle_describe_configs(void *user, struct request *r, const void *message);

#endif
