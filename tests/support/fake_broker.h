/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A cluster that lives in a test: brokers that are metadata daemons too, over
 * proto/net, with partitions in memory, and with faults on demand. It checks what clients
 * send as strictly as a broker (checksums, counts, topic checks) and fails the test otherwise. All
 * on the loops it is given; with tests/support/fake_loop.h everything happens in one thread and
 * virtual time.
 */
#ifndef SLUICE_TESTS_SUPPORT_FAKE_BROKER_H
#define SLUICE_TESTS_SUPPORT_FAKE_BROKER_H

#include "proto/base/buf.h"
#include "proto/base/rng.h"
#include "proto/net/loop.h"

struct fake_cluster;
struct fake_broker;

struct fake_partition {
    struct fake_topic *topic;
    uint32_t partition;
    int32_t leader; /* -1: none */
    int32_t leader_epoch;
    int64_t low, high;
    struct buf log;    /* canonical batches, from offset 0 on: low only hides */
    uint64_t produces; /* requests that were appended */
};

struct fake_topic {
    struct fake_topic *next;
    char *name;
    struct uuid id;
    int32_t partition_count;
    struct fake_partition *partitions;
};

/* What happens to a produce or fetch of one partition. */
enum fake_fault {
    FAKE_ERROR,            /* nothing is done, and the error answered */
    FAKE_DONE_AND_ERROR,   /* done, and the error answered */
    FAKE_DONE_AND_SILENT,  /* done, never answered */
    FAKE_DONE_AND_HANG_UP, /* done, and the connection closed */
    FAKE_DAMAGED           /* fetch: a bit of the records is wrong */
};

struct fake_cluster *fake_cluster_new(uint64_t seed);
void fake_cluster_free(struct fake_cluster *fc);
/* Creates it, led by the brokers in turn. */
struct fake_topic *fake_cluster_topic(struct fake_cluster *fc, const char *name,
                                      int32_t partitions);
struct fake_topic *fake_cluster_find(struct fake_cluster *fc, const char *name);
void fake_cluster_delete(struct fake_cluster *fc, const char *name);
/* Another leader and epoch; metadata changes if tell, else brokers only know. */
void fake_cluster_move(struct fake_cluster *fc, struct fake_partition *p, int32_t leader,
                       bool tell);
/* Something changed: parked watches are answered. */
void fake_cluster_changed(struct fake_cluster *fc);
/* The next `times` produces (or fetches) of a partition (NULL: of any). */
void fake_cluster_fault(struct fake_cluster *fc, bool is_fetch, const struct fake_partition *p,
                        enum fake_fault fault, err e, unsigned times);
/* Answers of produces wait that long from now on. */
void fake_cluster_delay(struct fake_cluster *fc, int64_t us);
/* Of produces and of one partition under way at one time; the largest there ever was. */
unsigned fake_cluster_most_under_way(const struct fake_cluster *fc);
unsigned fake_cluster_requests(const struct fake_cluster *fc, uint32_t api);
/* Metadata is not answered as long. */
void fake_cluster_mute_metadata(struct fake_cluster *fc, bool mute);
/* Metadata is answered so; OK: no more. */
void fake_cluster_refuse_metadata(struct fake_cluster *fc, err e);
void fake_cluster_auto_create(struct fake_cluster *fc, bool on);

/* A broker with ids 1, 2, ... on l; a free port, or this one. */
struct fake_broker *fake_broker_new(struct fake_cluster *fc, struct loop *l, uint16_t port);
/* Leaves the cluster and closes its connections; free it once that is done. */
void fake_broker_stop(struct fake_broker *b);
bool fake_broker_is_stopped(const struct fake_broker *b);
void fake_broker_free(struct fake_broker *b);
uint16_t fake_broker_port(const struct fake_broker *b);
int32_t fake_broker_id(const struct fake_broker *b);

#endif
