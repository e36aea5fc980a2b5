/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libmicrohttpd without threads of its own: its epoll descriptor is watched by
 * the loop, its next deadline is a timer of the loop, and either runs it once.
 * It sends with MSG_NOSIGNAL as long as it is not told that SIGPIPE is ignored.
 */
#include "proto/net/http.h"

#include <microhttpd.h>
#include <string.h>
#include <unistd.h>

#include "proto/base/diag.h"
#include "proto/base/mem.h"

enum { CONNECTIONS_MAX = 64, CONNECTION_BYTES = 16 * 1024, IDLE_SECONDS = 30 };

struct http {
    struct loop *l;
    struct MHD_Daemon *daemon;
    struct loop_watch *watch;
    struct timer timer;
    const struct http_route *routes;
    size_t route_count;
    void *user;
};

static enum MHD_Result reply(struct MHD_Connection *connection, struct http_response *r,
                             const char *allow)
{
    /* An empty body has no memory to give away. */
    struct MHD_Response *response = MHD_create_response_from_buffer(
        r->body.size, r->body.size ? (void *)r->body.data : (void *)(uintptr_t) "",
        r->body.size ? MHD_RESPMEM_MUST_FREE : MHD_RESPMEM_PERSISTENT);
    if (!response) {
        buf_deinit(&r->body);
        return MHD_NO;
    }
    if (!r->body.size)
        buf_deinit(&r->body);
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, r->content_type);
    MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    if (allow)
        MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, allow);
    const enum MHD_Result result = MHD_queue_response(connection, r->status, response);
    MHD_destroy_response(response);
    return result;
}

static bool serves(const struct http_route *route, const char *method)
{
    if (strcmp(route->method, method) == 0)
        return true;
    return strcmp(route->method, "GET") == 0 && strcmp(method, "HEAD") == 0;
}

static enum MHD_Result answer(struct http *h, struct MHD_Connection *connection, const char *path,
                              const char *method)
{
    struct http_response r = {.status = 200, .content_type = "text/plain; charset=utf-8"};
    const char *allow = NULL;
    for (size_t i = 0; i < h->route_count; i++) {
        const struct http_route *route = &h->routes[i];
        if (strcmp(route->path, path) != 0)
            continue;
        if (serves(route, method)) {
            route->handle(h->user, &r);
            return reply(connection, &r, NULL);
        }
        allow = route->method;
    }
    r.status = allow ? 405 : 404;
    buf_append_str(&r.body,
                   allow ? "this path takes another method, see Allow\n" : "no such path\n");
    return reply(connection, &r, allow);
}

/* Called with the headers, then with each part of a body, then to answer. */
static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *path,
                                  const char *method, const char *version, const char *data,
                                  size_t *size, void **state)
{
    static char seen;
    (void)version;
    (void)data;
    if (!*state) {
        *state = &seen;
        return MHD_YES;
    }
    if (*size) {
        *size = 0; /* nobody here wants a body */
        return MHD_YES;
    }
    return answer(arg, connection, path, method);
}

static void run(void *arg)
{
    struct http *h = arg;
    MHD_UNSIGNED_LONG_LONG ms;
    MHD_run(h->daemon);
    if (MHD_get_timeout(h->daemon, &ms) != MHD_YES)
        timer_stop(h->l, &h->timer);
    else
        timer_start(h->l, &h->timer, ms > 60000 ? 60000000 : (int64_t)ms * 1000, run, h);
}

err http_start(struct loop *l, const struct address *at, const struct http_route *routes,
               size_t route_count, void *user, struct http **out, struct address *bound)
{
    int fd;
    const err e = loop_listen_fd(l, at, &fd, bound);
    if (e)
        return e;
    struct http *h = MEM_NEW(struct http);
    *h = (struct http){.l = l, .routes = routes, .route_count = route_count, .user = user};
    h->daemon =
        MHD_start_daemon(MHD_USE_EPOLL, 0, NULL, NULL, on_request, h, MHD_OPTION_LISTEN_SOCKET, fd,
                         MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX,
                         MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_BYTES,
                         MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_SECONDS, MHD_OPTION_END);
    if (!h->daemon) {
        char text[ADDRESS_TEXT];
        diag(DIAG_ERROR, "http", "cannot start the HTTP server", "address=%s",
             address_text(at, text));
        close(fd);
        mem_free(h);
        return E_NETWORK;
    }
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    h->watch = loop_watch_fd(l, info->epoll_fd, run, h);
    *out = h;
    return OK;
}

void http_stop(struct http *h)
{
    if (!h)
        return;
    timer_stop(h->l, &h->timer);
    loop_unwatch_fd(h->l, h->watch);
    MHD_stop_daemon(h->daemon); /* closes the listening descriptor too */
    mem_free(h);
}
