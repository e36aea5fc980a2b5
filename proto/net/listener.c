/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections are counted in a `gate`, which outlives the listener as long as
 * one of them does. It has the only lock in this folder besides the workers';
 * it is taken once when a connection comes and once when it goes.
 */
#include "proto/net/listener.h"

#include <pthread.h>
#include <stdio.h>
#include <uthash.h>

#include "proto/base/check.h"
#include "proto/base/diag.h"
#include "proto/base/mem.h"
#include "proto/net/conn_priv.h"
#include "proto/schema/request.pb-c.h"
#include "proto/wire/frame.h"
#include "proto/wire/msg.h"

enum {
    ACCEPTS_PER_TURN = 64,
    REFUSALS_MAX = 64, /* being said at a time; more are closed without a word */
    BACK_OFF_US = 100 * 1000
};

/* Connections from one address. */
struct place {
    UT_hash_handle hh;
    size_t connections;
    char host[64];
};

struct gate {
    pthread_mutex_t lock; /* guards all of it */
    size_t refs;          /* the listener and the tickets */
    struct place *places;
    size_t connections, refusals;
    uint64_t refused;
    size_t per_loop[]; /* connections */
};

/* What a connection gives back when it goes. */
struct ticket {
    struct gate *gate;
    struct place *place; /* NULL: of a refusal */
    size_t index;        /* of its loop */
};

struct listener {
    struct loop *l;
    struct sock *s;
    struct listener_opts opts;
    struct gate *gate;
    struct timer back_off;
    bool is_short; /* of descriptors */
};

/* On its way to its loop. */
struct arrival {
    struct mail mail;
    struct loop *l;
    struct sock *s;
    struct ticket *ticket;
    struct address peer;
    const struct conn_handler *handler;
    const struct conn_limits *limits;
    void (*on_accept)(void *user, struct conn *c);
    void *user;
};

/* --- the gate ------------------------------------------------------------- */

static void gate_unref_locked(struct gate *g)
{
    const bool last = --g->refs == 0;
    pthread_mutex_unlock(&g->lock);
    if (!last)
        return;
    CHECK(!g->places);
    pthread_mutex_destroy(&g->lock);
    mem_free(g);
}

static void on_gone(void *arg)
{
    struct ticket *t = arg;
    struct gate *g = t->gate;
    pthread_mutex_lock(&g->lock);
    if (t->place) {
        g->connections--;
        g->per_loop[t->index]--;
        if (--t->place->connections == 0) {
            HASH_DEL(g->places, t->place);
            mem_free(t->place);
        }
    } else {
        g->refusals--;
    }
    gate_unref_locked(g);
    mem_free(t);
}

static size_t least_loaded(const struct gate *g, size_t loop_count)
{
    size_t best = 0;
    for (size_t i = 1; i < loop_count; i++)
        if (g->per_loop[i] < g->per_loop[best])
            best = i;
    return best;
}

/* NULL: over a limit, which *limit names. */
static struct ticket *gate_enter(struct gate *g, const struct listener_opts *opts,
                                 const struct address *peer, const char **limit)
{
    struct ticket *t = NULL;
    struct place *place;
    char host[sizeof place->host];
    snprintf(host, sizeof host, "%.*s", (int)sizeof host - 1, peer->host);
    pthread_mutex_lock(&g->lock);
    HASH_FIND_STR(g->places, host, place);
    if (opts->connections_max && g->connections >= opts->connections_max) {
        *limit = "the listener has as many connections as it may";
    } else if (place && opts->connections_per_address_max &&
               place->connections >= opts->connections_per_address_max) {
        *limit = "this address has as many connections as it may";
    } else {
        if (!place) {
            place = MEM_NEW(struct place);
            memcpy(place->host, host, sizeof host);
            HASH_ADD_STR(g->places, host, place);
        }
        t = MEM_NEW(struct ticket);
        *t = (struct ticket){g, place, least_loaded(g, opts->loop_count)};
        place->connections++;
        g->connections++;
        g->per_loop[t->index]++;
        g->refs++;
    }
    g->refused += !t;
    pthread_mutex_unlock(&g->lock);
    return t;
}

/* NULL: too many refusals are being said already. */
static struct ticket *gate_enter_refused(struct gate *g)
{
    struct ticket *t = NULL;
    pthread_mutex_lock(&g->lock);
    if (g->refusals < REFUSALS_MAX) {
        g->refusals++;
        g->refs++;
        t = MEM_NEW(struct ticket);
        t->gate = g;
    }
    pthread_mutex_unlock(&g->lock);
    return t;
}

/* --- refusing ------------------------------------------------------------- */

static void ignore_frame(struct conn *c, uint8_t *data, size_t size)
{
    (void)c;
    (void)data;
    (void)size;
}

static void ignore_event(struct conn *c)
{
    (void)c;
}

static void ignore_closed(struct conn *c, err why)
{
    (void)c;
    (void)why;
}

/* A frame that any client of the protocol reads. */
static void write_refusal(struct conn *c, const char *text)
{
    Sluice__Error error = SLUICE__ERROR__INIT;
    Sluice__Response response = SLUICE__RESPONSE__INIT;
    error.has_code = error.has_class_ = true;
    error.code = err_wire_code(E_OVERLOADED);
    error.class_ = (int32_t)err_wire_class(E_OVERLOADED);
    error.message = (char *)(uintptr_t)text;
    response.error = &error;
    struct buf b = {0};
    msg_pack(&response, &b);
    frame_write_length(conn_write_space(c, FRAME_PREFIX_SIZE), b.size);
    conn_write(c, b.data, b.size);
    buf_deinit(&b);
}

static void refuse(struct listener *ls, struct sock *s, const struct address *peer,
                   const char *text)
{
    static const struct conn_handler handler = {ignore_event, ignore_frame, ignore_event,
                                                ignore_closed};
    static const struct conn_limits limits = {.frame_bytes_max = 1, .write_stall_us = 1000 * 1000};
    static struct diag_limit limit = {.interval_ms = 1000};
    if (diag_allowed(&limit))
        diag(DIAG_WARN, "net", "refused a connection", "peer=%s reason=\"%s\"", peer->host, text);
    struct ticket *t = gate_enter_refused(ls->gate);
    if (!t) {
        sock_close(s);
        return;
    }
    struct conn *c = conn_new(ls->l, s, peer, &handler, &limits, NULL);
    conn_set_gone(c, on_gone, t);
    write_refusal(c, text);
    conn_close_after_flush(c);
}

/* --- accepting ------------------------------------------------------------ */

static void on_arrival(struct mail *m)
{
    struct arrival *a = (struct arrival *)m;
    struct conn *c = conn_new(a->l, a->s, &a->peer, a->handler, a->limits, NULL);
    conn_set_gone(c, on_gone, a->ticket);
    a->on_accept(a->user, c);
    mem_free(a);
}

static void welcome(struct listener *ls, struct sock *s, const struct address *peer)
{
    const struct listener_opts *opts = &ls->opts;
    const char *limit;
    struct ticket *t = gate_enter(ls->gate, opts, peer, &limit);
    if (!t) {
        refuse(ls, s, peer, limit);
        return;
    }
    struct arrival *a = MEM_NEW(struct arrival);
    *a = (struct arrival){.mail = {.fn = on_arrival},
                          .l = opts->loops[t->index],
                          .s = s,
                          .ticket = t,
                          .peer = *peer,
                          .handler = opts->handler,
                          .limits = opts->limits,
                          .on_accept = opts->on_accept,
                          .user = opts->user};
    if (a->l == ls->l)
        on_arrival(&a->mail);
    else
        loop_post(a->l, &a->mail);
}

static void on_back_off_over(void *arg)
{
    struct listener *ls = arg;
    sock_want(ls->s, SOCK_READABLE);
}

static void back_off(struct listener *ls)
{
    if (!ls->is_short)
        diag(DIAG_WARN, "net", "out of descriptors: accepting no connections for now",
             "connections=%zu advice=\"raise the limit of open files\"", listener_connections(ls));
    ls->is_short = true;
    sock_want(ls->s, 0);
    timer_start(ls->l, &ls->back_off, BACK_OFF_US, on_back_off_over, ls);
}

static void on_acceptable(void *arg, struct sock *s, unsigned events)
{
    struct listener *ls = arg;
    (void)events;
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        struct sock *accepted;
        struct address peer;
        const err e = sock_accept(s, &accepted, &peer);
        if (e == E_OVERLOADED)
            back_off(ls);
        if (e)
            return;
        if (ls->is_short)
            diag(DIAG_INFO, "net", "accepting connections again", NULL);
        ls->is_short = false;
        welcome(ls, accepted, &peer);
    }
}

err listener_open(struct loop *l, const struct address *at, const struct listener_opts *opts,
                  struct listener **out, struct address *bound)
{
    CHECK(opts->loop_count > 0);
    struct listener *ls = MEM_NEW(struct listener);
    const err e = sock_listen(l, at, on_acceptable, ls, &ls->s, bound);
    if (e) {
        mem_free(ls);
        return e;
    }
    ls->l = l;
    ls->opts = *opts;
    const size_t loops_size = opts->loop_count * sizeof *opts->loops;
    ls->opts.loops = memcpy(mem_alloc(loops_size), opts->loops, loops_size);
    ls->gate = mem_zalloc(sizeof *ls->gate + opts->loop_count * sizeof ls->gate->per_loop[0]);
    ls->gate->refs = 1;
    CHECK(pthread_mutex_init(&ls->gate->lock, NULL) == 0);
    *out = ls;
    return OK;
}

void listener_close(struct listener *ls)
{
    if (!ls)
        return;
    timer_stop(ls->l, &ls->back_off);
    sock_close(ls->s);
    pthread_mutex_lock(&ls->gate->lock);
    gate_unref_locked(ls->gate);
    mem_free((void *)(uintptr_t)ls->opts.loops);
    mem_free(ls);
}

size_t listener_connections(const struct listener *ls)
{
    pthread_mutex_lock(&ls->gate->lock);
    const size_t n = ls->gate->connections;
    pthread_mutex_unlock(&ls->gate->lock);
    return n;
}

uint64_t listener_refused(const struct listener *ls)
{
    pthread_mutex_lock(&ls->gate->lock);
    const uint64_t n = ls->gate->refused;
    pthread_mutex_unlock(&ls->gate->lock);
    return n;
}
