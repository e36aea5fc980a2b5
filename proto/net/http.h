/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small HTTP server for metrics and health: GET and HEAD, a table of routes,
 * whole bodies. libmicrohttpd speaks the protocol, driven by the loop.
 *
 * Threads: home loop only; handlers run there and must not block.
 */
#ifndef SLUICE_NET_HTTP_H
#define SLUICE_NET_HTTP_H

#include "proto/base/buf.h"
#include "proto/net/loop.h"

struct http;

struct http_response {
    unsigned status;          /* 200 unless set */
    const char *content_type; /* static; text/plain unless set */
    struct buf body;          /* taken */
};

struct http_route {
    const char *method; /* "GET"; serves HEAD too */
    const char *path;   /* whole, without the query */
    void (*handle)(void *user, struct http_response *out);
};

/* routes: kept. bound may be NULL. E_NETWORK: cannot listen there. */
err http_start(struct loop *l, const struct address *at, const struct http_route *routes,
               size_t route_count, void *user, struct http **out, struct address *bound) MUST_USE;
void http_stop(struct http *h);

#endif
