/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loop's door to Linux: epoll, level-triggered, an eventfd to be woken by,
 * and a timerfd. A timeout given to epoll_wait would program the processor's
 * timer at each wait, which is dear on virtual machines; the timerfd is set
 * only when something is due earlier than it is set for, and may fire in vain.
 *
 * Every descriptor in the epoll set is a `source`; the events of one wait
 * are an array of them, from which a source that is closed meanwhile is struck
 * out, so that nothing is called for it any more.
 *
 * An outgoing socket that is not connected yet has an `attempt`: the addresses
 * that are still to be tried.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "proto/base/check.h"
#include "proto/base/diag.h"
#include "proto/base/mem.h"
#include "proto/net/exec.h"
#include "proto/net/loop_backend.h"

enum { EVENTS_MAX = 256, ACCEPT_TRIES = 16, BACKLOG = 4096 };

struct source {
    int fd;
    uint32_t events; /* registered with epoll */
    void (*fn)(struct source *src, uint32_t events);
};

struct epoll_backend {
    struct loop_backend base;
    int epoll_fd;
    struct source wake;
    struct source timer;
    int64_t set_us;  /* when the timer fires; INT64_MAX: it is not set */
    int ready, next; /* events of this wait, and the first not yet dispatched */
    struct epoll_event events[EVENTS_MAX];
};

struct attempt {
    struct addrinfo *first, *at;
    struct timer failed; /* tells of a failure that was seen during a call */
    struct resolve *resolve;
};

struct epoll_sock {
    struct sock base;
    struct source src;
    int error; /* errno of the last failure */
    struct attempt *attempt;
};

struct loop_watch {
    struct source src;
    void (*fn)(void *arg);
    void *arg;
};

static struct epoll_backend *backend_of(struct loop_backend *b)
{
    return (struct epoll_backend *)b;
}

static struct epoll_sock *sock_of(struct sock *s)
{
    return (struct epoll_sock *)s;
}

/* --- sources -------------------------------------------------------------- */

static void source_add(struct epoll_backend *b, struct source *src, uint32_t events)
{
    struct epoll_event e = {.events = events, .data.ptr = src};
    src->events = events;
    CHECK(epoll_ctl(b->epoll_fd, EPOLL_CTL_ADD, src->fd, &e) == 0);
}

static void source_change(struct epoll_backend *b, struct source *src, uint32_t events)
{
    if (src->events == events)
        return;
    struct epoll_event e = {.events = events, .data.ptr = src};
    src->events = events;
    CHECK(epoll_ctl(b->epoll_fd, EPOLL_CTL_MOD, src->fd, &e) == 0);
}

/* Its events of this wait are void. Closing the descriptor takes it out of the epoll set. */
static void source_strike(struct epoll_backend *b, const struct source *src)
{
    for (int i = b->next; i < b->ready; i++)
        if (b->events[i].data.ptr == src)
            b->events[i].data.ptr = NULL;
}

/* --- time, waiting, waking ------------------------------------------------ */

static int64_t clock_us(const struct loop_backend *b)
{
    (void)b;
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static int64_t wall_ms(const struct loop_backend *b)
{
    (void)b;
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void set_timer(struct epoll_backend *b, int64_t until_us)
{
    /* All zero would unset it, so a time that is over is the first nanosecond of all. */
    struct itimerspec t = {0};
    if (until_us != INT64_MAX)
        t.it_value = (struct timespec){until_us / 1000000, until_us % 1000000 * 1000 + 1};
    CHECK(timerfd_settime(b->timer.fd, TFD_TIMER_ABSTIME, &t, NULL) == 0);
    b->set_us = until_us;
}

static void backend_wait(struct loop_backend *base, int64_t until_us)
{
    struct epoll_backend *b = backend_of(base);
    if (until_us > 0 && until_us < b->set_us)
        set_timer(b, until_us);
    const int n = epoll_wait(b->epoll_fd, b->events, EVENTS_MAX, until_us > 0 ? -1 : 0);
    CHECK(n >= 0 || errno == EINTR);
    b->ready = n > 0 ? n : 0;
    b->next = 0;
}

/* The timers themselves are the loop's. */
static void on_timer(struct source *src, uint32_t events)
{
    (void)events;
    set_timer((struct epoll_backend *)((char *)src - offsetof(struct epoll_backend, timer)),
              INT64_MAX);
}

static void backend_dispatch(struct loop_backend *base)
{
    struct epoll_backend *b = backend_of(base);
    while (b->next < b->ready) {
        const struct epoll_event *e = &b->events[b->next++];
        struct source *src = e->data.ptr;
        if (src)
            src->fn(src, e->events);
    }
}

static void backend_wake(struct loop_backend *base)
{
    const uint64_t one = 1;
    const int saved = errno; /* we may be in a signal handler */
    while (write(backend_of(base)->wake.fd, &one, sizeof one) < 0 && errno == EINTR)
        ;
    errno = saved;
}

static void on_wake(struct source *src, uint32_t events)
{
    (void)events;
    uint64_t count;
    while (read(src->fd, &count, sizeof count) < 0 && errno == EINTR)
        ;
}

static void backend_free(struct loop_backend *base)
{
    struct epoll_backend *b = backend_of(base);
    const int fds[] = {b->timer.fd, b->wake.fd, b->epoll_fd};
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    mem_free(b);
}

/* --- addresses ------------------------------------------------------------ */

static int resolve(const struct address *a, int flags, struct addrinfo **out)
{
    char port[8];
    const struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = flags | AI_NUMERICSERV};
    snprintf(port, sizeof port, "%u", a->port);
    return getaddrinfo(a->host[0] ? a->host : NULL, port, &hints, out);
}

/* Numeric; IPv4 that came over an IPv6 socket as IPv4. */
static struct address address_of(const struct sockaddr_storage *ss)
{
    struct address a = {0};
    if (ss->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)ss;
        inet_ntop(AF_INET, &in->sin_addr, a.host, sizeof a.host);
        a.port = ntohs(in->sin_port);
    } else if (ss->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const void *)ss;
        if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr))
            inet_ntop(AF_INET, &in6->sin6_addr.s6_addr[12], a.host, sizeof a.host);
        else
            inet_ntop(AF_INET6, &in6->sin6_addr, a.host, sizeof a.host);
        a.port = ntohs(in6->sin6_port);
    }
    return a;
}

static void set_flag(int fd, int level, int option)
{
    const int on = 1;
    /* Options that make a socket faster or friendlier: without them it still works. */
    (void)setsockopt(fd, level, option, &on, sizeof on);
}

/* --- listening ------------------------------------------------------------ */

/* -1 and errno. */
static int try_listen(const struct addrinfo *ai)
{
    const int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    set_flag(fd, SOL_SOCKET, SO_REUSEADDR);
    if (ai->ai_family == AF_INET6) {
        const int off = 0;
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    }
    if (bind(fd, ai->ai_addr, ai->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    const int saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

/* Every interface is one socket for both families where there is IPv6, so that goes first. */
static int listen_any(struct addrinfo *list)
{
    int saved = EADDRNOTAVAIL;
    for (int pass = 0; pass < 2; pass++)
        for (const struct addrinfo *ai = list; ai; ai = ai->ai_next) {
            if ((ai->ai_family == AF_INET6) != (pass == 0))
                continue;
            const int fd = try_listen(ai);
            if (fd >= 0)
                return fd;
            saved = errno;
            if (saved == EADDRINUSE || saved == EACCES)
                pass = 2;
        }
    errno = saved;
    return -1;
}

static int listen_first(struct addrinfo *list)
{
    int fd = -1;
    for (const struct addrinfo *ai = list; ai && fd < 0; ai = ai->ai_next)
        fd = try_listen(ai);
    return fd;
}

static err listen_fd(struct loop_backend *b, const struct address *at, int *out,
                     struct address *bound)
{
    (void)b;
    char text[ADDRESS_TEXT];
    struct addrinfo *list;
    const int failed = resolve(at, AI_PASSIVE, &list);
    if (failed) {
        diag(DIAG_ERROR, "net", "cannot listen: the host's address is not known",
             "address=%s reason=\"%s\"", address_text(at, text),
             failed == EAI_SYSTEM ? strerror(errno) : gai_strerror(failed));
        return E_NETWORK;
    }
    const int fd = at->host[0] ? listen_first(list) : listen_any(list);
    const int saved = errno;
    freeaddrinfo(list);
    if (fd < 0) {
        diag(DIAG_ERROR, "net", "cannot listen", "address=%s errno=%d reason=\"%s\"",
             address_text(at, text), saved, strerror(saved));
        return E_NETWORK;
    }
    if (bound) {
        struct sockaddr_storage ss = {0};
        socklen_t size = sizeof ss;
        CHECK(getsockname(fd, (struct sockaddr *)&ss, &size) == 0);
        struct address a = address_of(&ss);
        memcpy(a.host, at->host, sizeof a.host);
        *bound = a;
    }
    *out = fd;
    return OK;
}

static const struct loop_backend_ops ops;

static struct epoll_sock *sock_new(struct loop_backend *b, int fd);
static void on_events(struct source *src, uint32_t events);

static err backend_listen(struct loop_backend *b, const struct address *at, struct sock **out,
                          struct address *bound)
{
    int fd;
    const err e = listen_fd(b, at, &fd, bound);
    if (e)
        return e;
    struct epoll_sock *s = sock_new(b, fd);
    source_add(backend_of(b), &s->src, EPOLLIN);
    *out = &s->base;
    return OK;
}

static err backend_accept(struct sock *listener, struct sock **out, struct address *peer)
{
    struct sockaddr_storage ss = {0};
    for (int i = 0; i < ACCEPT_TRIES; i++) {
        socklen_t size = sizeof ss;
        const int fd = accept4(sock_of(listener)->src.fd, (struct sockaddr *)&ss, &size,
                               SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            set_flag(fd, IPPROTO_TCP, TCP_NODELAY);
            *peer = address_of(&ss);
            *out = &sock_new(NULL, fd)->base;
            return OK;
        }
        if (errno == EAGAIN)
            return E_WOULD_BLOCK;
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
            return E_OVERLOADED;
        /* All else is the fate of that one connection (accept(2)): the next may be well. */
    }
    return E_WOULD_BLOCK;
}

/* --- sockets -------------------------------------------------------------- */

static struct epoll_sock *sock_new(struct loop_backend *b, int fd)
{
    struct epoll_sock *s = MEM_NEW(struct epoll_sock);
    s->base.ops = &ops;
    s->base.backend = b;
    s->src.fd = fd;
    s->src.fn = on_events;
    return s;
}

static void backend_adopt(struct loop_backend *b, struct sock *base)
{
    source_add(backend_of(b), &sock_of(base)->src, 0);
}

static void backend_want(struct sock *base, unsigned events)
{
    struct epoll_sock *s = sock_of(base);
    CHECK(!s->attempt);
    source_change(backend_of(base->backend), &s->src,
                  (events & SOCK_READABLE ? EPOLLIN : 0u) |
                      (events & SOCK_WRITABLE ? EPOLLOUT : 0u));
}

static int backend_error(struct sock *base)
{
    struct epoll_sock *s = sock_of(base);
    if (!s->error && s->src.fd >= 0) {
        socklen_t size = sizeof s->error;
        if (getsockopt(s->src.fd, SOL_SOCKET, SO_ERROR, &s->error, &size) != 0)
            s->error = errno;
    }
    return s->error;
}

static err moved_or_error(struct epoll_sock *s, ssize_t n, size_t *moved)
{
    if (n >= 0) {
        *moved = (size_t)n;
        return OK;
    }
    if (errno == EAGAIN)
        return E_WOULD_BLOCK;
    s->error = errno;
    return E_NETWORK;
}

static err backend_readv(struct sock *base, const struct iovec *iov, int count, size_t *moved)
{
    struct epoll_sock *s = sock_of(base);
    ssize_t n;
    do {
        n = count == 1 ? recv(s->src.fd, iov->iov_base, iov->iov_len, 0)
                       : readv(s->src.fd, iov, count);
    } while (n < 0 && errno == EINTR);
    return n == 0 ? E_END : moved_or_error(s, n, moved);
}

static err backend_writev(struct sock *base, const struct iovec *iov, int count, size_t *moved)
{
    struct epoll_sock *s = sock_of(base);
    const struct msghdr msg = {.msg_iov = (struct iovec *)(uintptr_t)iov,
                               .msg_iovlen = (size_t)count};
    ssize_t n;
    do {
        n = count == 1 ? send(s->src.fd, iov->iov_base, iov->iov_len, MSG_NOSIGNAL)
                       : sendmsg(s->src.fd, &msg, MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    return moved_or_error(s, n, moved);
}

static void backend_shutdown(struct sock *base)
{
    /* Fails only where the connection is gone, and then reading says so. */
    (void)shutdown(sock_of(base)->src.fd, SHUT_WR);
}

/* --- connecting ----------------------------------------------------------- */

/* One name to look up on a worker; outlives a socket that is closed meanwhile. */
struct resolve {
    struct exec_job job;
    struct epoll_sock *s; /* NULL: closed */
    struct address to;
    struct addrinfo *list;
    int failed; /* an errno */
};

static int resolve_errno(int failed)
{
    if (failed == EAI_SYSTEM)
        return errno;
    return failed == EAI_MEMORY ? ENOMEM : EHOSTUNREACH;
}

static void attempt_end(struct epoll_sock *s)
{
    struct attempt *a = s->attempt;
    if (!a)
        return;
    s->attempt = NULL;
    timer_stop(s->base.backend->loop, &a->failed);
    if (a->resolve)
        a->resolve->s = NULL;
    if (a->first)
        freeaddrinfo(a->first);
    mem_free(a);
}

static void sock_drop_fd(struct epoll_sock *s)
{
    if (s->src.fd < 0)
        return;
    if (s->base.backend)
        source_strike(backend_of(s->base.backend), &s->src);
    close(s->src.fd);
    s->src.fd = -1;
}

static void on_attempt_failed(void *arg)
{
    struct epoll_sock *s = arg;
    attempt_end(s);
    s->base.fn(s->base.arg, &s->base, SOCK_CLOSED);
}

/* True: connected, or it is under way and EPOLLOUT will tell. */
static bool connect_to(struct epoll_sock *s, const struct addrinfo *ai)
{
    s->src.fd = socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (s->src.fd < 0) {
        s->error = errno;
        return false;
    }
    set_flag(s->src.fd, IPPROTO_TCP, TCP_NODELAY);
    if (connect(s->src.fd, ai->ai_addr, ai->ai_addrlen) == 0 || errno == EINPROGRESS) {
        s->error = 0;
        source_add(backend_of(s->base.backend), &s->src, EPOLLOUT);
        return true;
    }
    s->error = errno;
    sock_drop_fd(s);
    return false;
}

/* Tries addresses until one is under way; else the callback comes, later. */
static void attempt_next(struct epoll_sock *s)
{
    struct attempt *a = s->attempt;
    while (a->at) {
        const struct addrinfo *ai = a->at;
        a->at = ai->ai_next;
        if (connect_to(s, ai))
            return;
    }
    timer_start(s->base.backend->loop, &a->failed, 0, on_attempt_failed, s);
}

static void attempt_begin(struct epoll_sock *s, struct addrinfo *list, int failed)
{
    s->attempt->first = s->attempt->at = list;
    s->error = failed;
    attempt_next(s);
}

static void resolve_run(struct exec_job *job)
{
    struct resolve *r = (struct resolve *)job;
    const int failed = resolve(&r->to, 0, &r->list);
    r->failed = failed ? resolve_errno(failed) : 0;
}

static void resolve_done(struct exec_job *job)
{
    struct resolve *r = (struct resolve *)job;
    if (r->s) {
        r->s->attempt->resolve = NULL;
        attempt_begin(r->s, r->list, r->failed);
    } else if (r->list) {
        freeaddrinfo(r->list);
    }
    mem_free(r);
}

static err backend_connect(struct loop_backend *b, const struct address *to, struct sock **out)
{
    struct epoll_sock *s = sock_new(b, -1);
    struct exec *resolver = loop_resolver(b->loop);
    struct addrinfo *list = NULL;
    s->attempt = MEM_NEW(struct attempt);
    *out = &s->base;
    int failed = resolve(to, AI_NUMERICHOST, &list);
    if (failed && resolver) {
        struct resolve *r = MEM_NEW(struct resolve);
        *r = (struct resolve){
            .job = {.run = resolve_run, .done = resolve_done, .home = b->loop}, .s = s, .to = *to};
        s->attempt->resolve = r;
        exec_submit(resolver, &r->job);
        return OK;
    }
    if (failed)
        failed = resolve(to, 0, &list);
    attempt_begin(s, list, failed ? resolve_errno(failed) : 0);
    return OK;
}

static void on_connect_events(struct epoll_sock *s)
{
    if (backend_error(&s->base)) {
        sock_drop_fd(s);
        if (s->attempt->at) {
            attempt_next(s);
            return;
        }
        attempt_end(s);
        s->base.fn(s->base.arg, &s->base, SOCK_CLOSED);
        return;
    }
    attempt_end(s);
    source_change(backend_of(s->base.backend), &s->src, 0);
    s->base.fn(s->base.arg, &s->base, SOCK_WRITABLE);
}

static void on_events(struct source *src, uint32_t events)
{
    struct epoll_sock *s = (struct epoll_sock *)((char *)src - offsetof(struct epoll_sock, src));
    if (s->attempt) {
        on_connect_events(s);
        return;
    }
    s->base.fn(s->base.arg, &s->base,
               (events & EPOLLIN ? SOCK_READABLE : 0u) | (events & EPOLLOUT ? SOCK_WRITABLE : 0u) |
                   (events & (EPOLLERR | EPOLLHUP) ? SOCK_CLOSED : 0u));
}

static void backend_close(struct sock *base)
{
    struct epoll_sock *s = sock_of(base);
    attempt_end(s);
    sock_drop_fd(s);
    mem_free(s);
}

/* --- foreign descriptors -------------------------------------------------- */

static void on_watched(struct source *src, uint32_t events)
{
    (void)events;
    struct loop_watch *w = (struct loop_watch *)((char *)src - offsetof(struct loop_watch, src));
    w->fn(w->arg);
}

static struct loop_watch *backend_watch_fd(struct loop_backend *b, int fd, void (*fn)(void *arg),
                                           void *arg)
{
    struct loop_watch *w = MEM_NEW(struct loop_watch);
    *w = (struct loop_watch){.src = {.fd = fd, .fn = on_watched}, .fn = fn, .arg = arg};
    source_add(backend_of(b), &w->src, EPOLLIN);
    return w;
}

static void backend_unwatch_fd(struct loop_backend *b, struct loop_watch *w)
{
    source_strike(backend_of(b), &w->src);
    CHECK(epoll_ctl(backend_of(b)->epoll_fd, EPOLL_CTL_DEL, w->src.fd, NULL) == 0);
    mem_free(w);
}

/* ------------------------------------------------------------------------------------------- */

static const struct loop_backend_ops ops = {
    .clock_us = clock_us,
    .wall_ms = wall_ms,
    .wait = backend_wait,
    .dispatch = backend_dispatch,
    .wake = backend_wake,
    .free = backend_free,
    .listen = backend_listen,
    .accept = backend_accept,
    .adopt = backend_adopt,
    .connect = backend_connect,
    .error = backend_error,
    .want = backend_want,
    .readv = backend_readv,
    .writev = backend_writev,
    .shutdown = backend_shutdown,
    .close = backend_close,
    .watch_fd = backend_watch_fd,
    .unwatch_fd = backend_unwatch_fd,
    .listen_fd = listen_fd,
};

err loop_epoll_backend(struct loop_backend **out)
{
    struct epoll_backend *b = MEM_NEW(struct epoll_backend);
    b->base.ops = &ops;
    b->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    b->wake = (struct source){.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), .fn = on_wake};
    b->timer = (struct source){.fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC),
                               .fn = on_timer};
    b->set_us = INT64_MAX;
    if (b->epoll_fd < 0 || b->wake.fd < 0 || b->timer.fd < 0) {
        diag(DIAG_ERROR, "net", "cannot make a loop", "errno=%d reason=\"%s\"", errno,
             strerror(errno));
        backend_free(&b->base);
        return E_STORAGE;
    }
    source_add(b, &b->wake, EPOLLIN);
    source_add(b, &b->timer, EPOLLIN);
    *out = &b->base;
    return OK;
}

int loop_send_datagram(const char *path, const void *data, size_t size)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    const size_t path_size = strlen(path);
    if (path_size >= sizeof to.sun_path)
        return ENAMETOOLONG;
    memcpy(to.sun_path, path, path_size);
    if (path[0] == '@')
        to.sun_path[0] = 0;
    const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return errno;
    const socklen_t to_size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + path_size);
    const ssize_t sent = sendto(fd, data, size, MSG_NOSIGNAL, (struct sockaddr *)&to, to_size);
    const int failed = sent < 0 ? errno : 0;
    close(fd);
    return failed;
}
