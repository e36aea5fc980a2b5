/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stream is two socks that point at each other; what is sent lies in the
 * receiver's queue, with the time it arrives. A turn is told until when it
 * could wait: if that is not now and no socket is ready, the loop is quiet. When all
 * are quiet in one round, time goes on.
 */
#include "tests/support/fake_loop.h"

#include <errno.h>
#include <string.h>

#include "proto/base/check.h"
#include "proto/base/mem.h"
#include "proto/net/loop_backend.h"

struct fake_backend {
    struct loop_backend base;
    struct fake_world *w;
    struct fake_backend *next;
    struct fake_sock *socks;
    struct fake_sock *at; /* the next to dispatch; moved on when that one is closed */
    bool is_quiet;
};

struct bytes {
    struct bytes *next;
    int64_t at_us;
    size_t size, used;
    uint8_t data[];
};

struct fake_sock {
    struct sock base;
    struct fake_world *w;
    struct fake_backend *home; /* NULL: accepted, not adopted */
    struct fake_sock *prev, *next;
    struct fake_sock *peer; /* NULL: listener, or gone */
    struct bytes *in, **in_end;
    size_t in_size;
    int64_t end_us;    /* when the peer's end arrives; INT64_MAX: it did not end */
    int64_t opens_us;  /* connecting until then; 0: not connecting */
    int64_t breaks_us; /* when `error` strikes; INT64_MAX: never */
    unsigned wants;
    int error;
    /* Listener: */
    uint16_t port;
    struct fake_sock *waiting, **waiting_end; /* accepted by the world, linked by next */
};

struct fake_exec {
    struct exec base;
    struct fake_world *w;
    struct fake_exec *next;
    int64_t duration_us, free_us; /* free_us: when the last job ends */
    struct mail *first, **end;    /* jobs, through their mail */
    int64_t *due;
    size_t count, capacity;
};

struct fake_world {
    struct fake_opts opts;
    int64_t now_us;
    struct fake_backend *loops;
    struct fake_exec *execs;
    uint16_t next_port;
};

enum { WINDOW_BYTES = 256 * 1024, FIRST_PORT = 40000 };

static const struct loop_backend_ops ops;

static struct fake_sock *sock_of(struct sock *s)
{
    return (struct fake_sock *)s;
}

static int64_t sooner(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* --- what is ready, and when something will be ---------------------------- */

static bool is_broken(const struct fake_sock *s)
{
    return s->breaks_us <= s->w->now_us;
}

static size_t window(const struct fake_sock *s)
{
    const size_t most = s->w->opts.window_bytes ? s->w->opts.window_bytes : WINDOW_BYTES;
    return s->peer && s->peer->in_size < most ? most - s->peer->in_size : 0;
}

static unsigned ready(const struct fake_sock *s)
{
    const int64_t now = s->w->now_us;
    if (is_broken(s))
        return SOCK_CLOSED;
    if (s->opens_us)
        return s->opens_us <= now ? SOCK_WRITABLE : 0;
    unsigned events = 0;
    if (s->port ? s->waiting != NULL : (s->in && s->in->at_us <= now) || s->end_us <= now)
        events |= SOCK_READABLE;
    if (!s->port && (window(s) || !s->peer))
        events |= SOCK_WRITABLE;
    return events & s->wants;
}

/* When this sock may become ready by the passing of time. */
static int64_t next_us(const struct fake_sock *s)
{
    int64_t at = sooner(s->breaks_us, s->end_us);
    if (s->opens_us)
        at = sooner(at, s->opens_us);
    if (s->in)
        at = sooner(at, s->in->at_us);
    return at > s->w->now_us ? at : INT64_MAX;
}

/* --- socks ---------------------------------------------------------------- */

static struct fake_sock *sock_new(struct fake_world *w)
{
    struct fake_sock *s = MEM_NEW(struct fake_sock);
    s->base.ops = &ops;
    s->w = w;
    s->in_end = &s->in;
    s->waiting_end = &s->waiting;
    s->end_us = s->breaks_us = INT64_MAX;
    return s;
}

static void settle_at(struct fake_sock *s, struct fake_backend *b)
{
    s->base.backend = &b->base;
    s->home = b;
    s->prev = NULL;
    s->next = b->socks;
    if (s->next)
        s->next->prev = s;
    b->socks = s;
}

static void leave_home(struct fake_sock *s)
{
    struct fake_backend *b = s->home;
    if (!b)
        return;
    if (b->at == s)
        b->at = s->next;
    if (s->prev)
        s->prev->next = s->next;
    else
        b->socks = s->next;
    if (s->next)
        s->next->prev = s->prev;
}

static err fake_listen(struct loop_backend *base, const struct address *at, struct sock **out,
                       struct address *bound)
{
    struct fake_backend *b = (struct fake_backend *)base;
    const uint16_t port = at->port ? at->port : b->w->next_port++;
    for (const struct fake_backend *o = b->w->loops; o; o = o->next)
        for (const struct fake_sock *s = o->socks; s; s = s->next)
            if (s->port == port)
                return E_NETWORK;
    struct fake_sock *s = sock_new(b->w);
    s->port = port;
    s->wants = SOCK_READABLE;
    settle_at(s, b);
    if (bound) {
        *bound = *at;
        bound->port = port;
    }
    *out = &s->base;
    return OK;
}

static struct fake_sock *listener_at(const struct fake_world *w, uint16_t port)
{
    for (const struct fake_backend *b = w->loops; b; b = b->next)
        for (struct fake_sock *s = b->socks; s; s = s->next)
            if (s->port == port)
                return s;
    return NULL;
}

static err fake_connect(struct loop_backend *base, const struct address *to, struct sock **out)
{
    struct fake_backend *b = (struct fake_backend *)base;
    struct fake_sock *s = sock_new(b->w);
    struct fake_sock *door = listener_at(b->w, to->port);
    settle_at(s, b);
    *out = &s->base;
    s->opens_us = b->w->now_us + b->w->opts.latency_us;
    if (!door) {
        s->breaks_us = s->opens_us;
        s->error = ECONNREFUSED;
        return OK;
    }
    struct fake_sock *other = sock_new(b->w);
    s->peer = other;
    other->peer = s;
    *door->waiting_end = other;
    door->waiting_end = &other->next;
    return OK;
}

static err fake_accept(struct sock *base, struct sock **out, struct address *peer)
{
    struct fake_sock *door = sock_of(base);
    struct fake_sock *s = door->waiting;
    if (!s)
        return E_WOULD_BLOCK;
    door->waiting = s->next;
    if (!door->waiting)
        door->waiting_end = &door->waiting;
    s->next = NULL;
    *peer = (struct address){.host = "fake"};
    *out = &s->base;
    return OK;
}

static void fake_adopt(struct loop_backend *b, struct sock *s)
{
    settle_at(sock_of(s), (struct fake_backend *)b);
}

static int fake_error(struct sock *s)
{
    return sock_of(s)->error;
}

static void fake_want(struct sock *s, unsigned events)
{
    sock_of(s)->wants = events;
}

static size_t take(struct fake_sock *s, uint8_t *to, size_t room)
{
    size_t moved = 0;
    while (moved < room && s->in && s->in->at_us <= s->w->now_us) {
        struct bytes *b = s->in;
        const size_t n = b->size - b->used < room - moved ? b->size - b->used : room - moved;
        memcpy(to + moved, b->data + b->used, n);
        b->used += n;
        moved += n;
        s->in_size -= n;
        if (b->used < b->size)
            break;
        s->in = b->next;
        if (!s->in)
            s->in_end = &s->in;
        mem_free(b);
    }
    return moved;
}

static err fake_readv(struct sock *base, const struct iovec *iov, int count, size_t *moved)
{
    struct fake_sock *s = sock_of(base);
    size_t most = s->w->opts.read_bytes_max ? s->w->opts.read_bytes_max : SIZE_MAX;
    size_t total = 0;
    if (is_broken(s))
        return E_NETWORK;
    for (int i = 0; i < count && most > total; i++)
        total +=
            take(s, iov[i].iov_base, iov[i].iov_len < most - total ? iov[i].iov_len : most - total);
    if (total) {
        *moved = total;
        return OK;
    }
    return !s->in && s->end_us <= s->w->now_us ? E_END : E_WOULD_BLOCK;
}

static void give(struct fake_sock *to, const uint8_t *data, size_t size)
{
    struct bytes *b = mem_alloc(sizeof *b + size);
    *b = (struct bytes){.at_us = to->w->now_us + to->w->opts.latency_us, .size = size};
    memcpy(b->data, data, size);
    *to->in_end = b;
    to->in_end = &b->next;
    to->in_size += size;
}

static err fake_writev(struct sock *base, const struct iovec *iov, int count, size_t *moved)
{
    struct fake_sock *s = sock_of(base);
    size_t total = 0;
    if (!is_broken(s) && !s->peer)
        fake_sock_break(base, EPIPE);
    if (is_broken(s))
        return E_NETWORK;
    for (int i = 0; i < count && window(s); i++) {
        const size_t n = iov[i].iov_len < window(s) ? iov[i].iov_len : window(s);
        if (n)
            give(s->peer, iov[i].iov_base, n);
        total += n;
        if (n < iov[i].iov_len)
            break;
    }
    if (total == 0)
        return E_WOULD_BLOCK;
    *moved = total;
    return OK;
}

static void fake_shutdown(struct sock *base)
{
    struct fake_sock *s = sock_of(base);
    if (s->peer && s->peer->end_us == INT64_MAX)
        s->peer->end_us = s->w->now_us + s->w->opts.latency_us;
}

static void fake_close(struct sock *base)
{
    struct fake_sock *s = sock_of(base);
    /* As TCP: bytes that nobody read make the end a reset. */
    if (s->peer && s->in) {
        s->peer->breaks_us = s->w->now_us + s->w->opts.latency_us;
        s->peer->error = ECONNRESET;
    }
    fake_shutdown(base);
    if (s->peer)
        s->peer->peer = NULL;
    leave_home(s);
    for (struct bytes *b = s->in, *next; b; b = next) {
        next = b->next;
        mem_free(b);
    }
    for (struct fake_sock *other = s->waiting, *next; other; other = next) {
        next = other->next;
        fake_close(&other->base);
    }
    mem_free(s);
}

void fake_sock_break(struct sock *base, int error)
{
    struct fake_sock *s = sock_of(base);
    s->breaks_us = s->w->now_us;
    s->error = error;
    if (s->peer) {
        s->peer->breaks_us = s->w->now_us;
        s->peer->error = error;
    }
}

/* --- the loop's backend --------------------------------------------------- */

static int64_t fake_clock_us(const struct loop_backend *b)
{
    return ((const struct fake_backend *)b)->w->now_us;
}

static int64_t fake_wall_ms(const struct loop_backend *b)
{
    return INT64_C(1700000000000) + fake_clock_us(b) / 1000;
}

static void fake_wait(struct loop_backend *base, int64_t until_us)
{
    struct fake_backend *b = (struct fake_backend *)base;
    b->is_quiet = until_us > b->w->now_us;
    for (const struct fake_sock *s = b->socks; s && b->is_quiet; s = s->next)
        b->is_quiet = !ready(s);
}

static void fake_dispatch(struct loop_backend *base)
{
    struct fake_backend *b = (struct fake_backend *)base;
    for (struct fake_sock *s = b->socks; s; s = b->at) {
        b->at = s->next;
        const unsigned events = ready(s);
        if (!events)
            continue;
        if (s->opens_us) {
            s->opens_us = 0;
            s->wants = 0;
        }
        s->base.fn(s->base.arg, &s->base, events);
    }
    b->at = NULL;
}

static void fake_wake(struct loop_backend *b)
{
    ((struct fake_backend *)b)->is_quiet = false;
}

static void fake_free(struct loop_backend *base)
{
    struct fake_backend *b = (struct fake_backend *)base;
    struct fake_backend **at = &b->w->loops;
    CHECK(!b->socks);
    while (*at != b)
        at = &(*at)->next;
    *at = b->next;
    mem_free(b);
}

static const struct loop_backend_ops ops = {
    .clock_us = fake_clock_us,
    .wall_ms = fake_wall_ms,
    .wait = fake_wait,
    .dispatch = fake_dispatch,
    .wake = fake_wake,
    .free = fake_free,
    .listen = fake_listen,
    .accept = fake_accept,
    .adopt = fake_adopt,
    .connect = fake_connect,
    .error = fake_error,
    .want = fake_want,
    .readv = fake_readv,
    .writev = fake_writev,
    .shutdown = fake_shutdown,
    .close = fake_close,
};

struct loop *fake_world_loop(struct fake_world *w, const char *name)
{
    struct fake_backend *b = MEM_NEW(struct fake_backend);
    b->base.ops = &ops;
    b->w = w;
    /* Last, so that loops turn in the order they were made. */
    struct fake_backend **at = &w->loops;
    while (*at)
        at = &(*at)->next;
    *at = b;
    return loop_new(&b->base, name);
}

/* --- workers -------------------------------------------------------------- */

static void fake_submit(struct exec *base, struct exec_job *job)
{
    struct fake_exec *e = (struct fake_exec *)base;
    if (e->count == e->capacity) {
        e->capacity = e->capacity ? e->capacity * 2 : 16;
        e->due = mem_realloc(e->due, e->capacity * sizeof *e->due);
    }
    e->free_us = (e->free_us > e->w->now_us ? e->free_us : e->w->now_us) + e->duration_us;
    e->due[e->count++] = e->free_us;
    job->mail.next = NULL;
    *e->end = &job->mail;
    e->end = &job->mail.next;
}

static size_t fake_backlog(const struct exec *e)
{
    return ((const struct fake_exec *)e)->count;
}

static void run_first(struct fake_exec *e)
{
    struct exec_job *job = (struct exec_job *)((char *)e->first - offsetof(struct exec_job, mail));
    e->first = job->mail.next;
    if (!e->first)
        e->end = &e->first;
    e->count--;
    memmove(e->due, e->due + 1, e->count * sizeof *e->due);
    job->run(job);
    exec_job_finish(job);
}

static void fake_exec_free(struct exec *base)
{
    struct fake_exec *e = (struct fake_exec *)base;
    struct fake_exec **at = &e->w->execs;
    while (e->first)
        run_first(e);
    while (*at != e)
        at = &(*at)->next;
    *at = e->next;
    mem_free(e->due);
    mem_free(e);
}

struct exec *fake_world_exec(struct fake_world *w, int64_t duration_us)
{
    static const struct exec_ops exec_ops = {fake_submit, fake_backlog, fake_exec_free};
    struct fake_exec *e = MEM_NEW(struct fake_exec);
    e->base.ops = &exec_ops;
    e->w = w;
    e->duration_us = duration_us;
    e->end = &e->first;
    e->next = w->execs;
    w->execs = e;
    return &e->base;
}

/* --- the world ------------------------------------------------------------ */

struct fake_world *fake_world_new(const struct fake_opts *opts)
{
    struct fake_world *w = MEM_NEW(struct fake_world);
    if (opts)
        w->opts = *opts;
    w->now_us = 1000000;
    w->next_port = FIRST_PORT;
    return w;
}

void fake_world_free(struct fake_world *w)
{
    CHECK(!w->loops);
    CHECK(!w->execs);
    mem_free(w);
}

struct fake_opts *fake_world_opts(struct fake_world *w)
{
    return &w->opts;
}

int64_t fake_world_now_us(const struct fake_world *w)
{
    return w->now_us;
}

static int64_t world_next_us(const struct fake_world *w)
{
    int64_t next = INT64_MAX;
    for (const struct fake_exec *e = w->execs; e; e = e->next)
        if (e->count)
            next = sooner(next, e->due[0]);
    for (const struct fake_backend *b = w->loops; b; b = b->next) {
        next = sooner(next, loop_next_due_us(b->base.loop));
        for (const struct fake_sock *s = b->socks; s; s = s->next)
            next = sooner(next, next_us(s));
    }
    return next;
}

static bool round_of_turns(struct fake_world *w)
{
    bool quiet = true;
    for (struct fake_exec *e = w->execs; e; e = e->next)
        for (; e->count && e->due[0] <= w->now_us; quiet = false)
            run_first(e);
    for (struct fake_backend *b = w->loops; b; b = b->next) {
        loop_turn(b->base.loop, -1);
        quiet = quiet && b->is_quiet;
    }
    return !quiet;
}

/* A round, and if it was quiet on to the next moment, at most until limit_us. */
static bool step(struct fake_world *w, int64_t limit_us)
{
    if (round_of_turns(w))
        return true;
    const int64_t next = world_next_us(w);
    if (next > limit_us || next == INT64_MAX)
        return false;
    if (next > w->now_us)
        w->now_us = next;
    return true;
}

bool fake_world_step(struct fake_world *w)
{
    return step(w, INT64_MAX);
}

void fake_world_run(struct fake_world *w, int64_t us)
{
    const int64_t end = w->now_us + us;
    while (step(w, end))
        ;
    w->now_us = end;
}
