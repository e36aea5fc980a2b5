/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Invariants:
 *  1. Bytes handed to on_frame neither move nor go before on_frames_end has
 *     returned: the receive buffer changes only in make_room, before a read,
 *     and in settle, after on_frames_end.
 *  2. A connection keeps a receive buffer between wake-ups only while it holds
 *     bytes in it: more than IN_KEPT_MIN, and at most IN_LENT_MAX connections of
 *     a loop do. Others keep their few bytes in memory of their own, long frames
 *     grow in memory of their own. So a peer makes us hold little more than
 *     it sent.
 *  3. A callback may close the connection. `state` is looked at after each,
 *     and memory goes in reap only, at the end of the turn.
 *  4. The socket is asked for what we could act on (update), but lazily:
 *     readiness that cannot be used now is unwanted only when it is reported.
 *     So neither a hold nor an answer costs an epoll_ctl.
 *  5. Each borrowed piece is released once: by consume when it was written, by
 *     drop_output when it was not, or by conn_write_borrowed on a closing connection.
 */
#include "proto/net/conn.h"

#include <stdatomic.h>

#include "proto/base/check.h"
#include "proto/base/diag.h"
#include "proto/base/mem.h"
#include "proto/net/conn_pool.h"
#include "proto/net/conn_priv.h"
#include "proto/net/loop_backend.h"
#include "proto/wire/frame.h"

enum {
    IN_KEPT_MIN = 4096,
    OUT_IOV_MAX = 256,
    OUT_TURN_BYTES = 1024 * 1024, /* written per turn, for the others' sake */
    LENGTH_BYTES = FRAME_PREFIX_SIZE,
    SWEEP_MIN_US = 10 * 1000,
    STARVED_US = 10 * 1000, /* between looks whether the budget has room again */
    LINGER_US = 1000 * 1000
};

enum state {
    CONNECTING,
    OPEN,
    FLUSHING,  /* conn_close_after_flush, or the peer ended: only writes */
    LINGERING, /* all written, sending side ended: waits for the peer's end */
    CLOSED     /* no socket; reap is queued */
};

/* Received bytes from start to end. */
struct in {
    uint8_t *data; /* NULL: none */
    size_t start, end, capacity;
    bool is_pooled; /* a buffer of the pool, else memory of our own */
    bool is_lent;   /* kept since an earlier wake-up */
};

struct conn {
    struct deferred end_of_turn;

    /* What the sweep looks at, side by side. */
    struct conn *next;
    const struct conn_limits *limits;
    struct piece *out;
    int64_t moved_us;       /* last bytes, either way */
    int64_t frame_began_us; /* an incomplete frame's; 0: none */
    unsigned holds, busy;
    enum state state;
    bool has_frames;    /* whole frames wait in `in` for may_take */
    bool is_starved;    /* the budget had no room; in home->starved */
    bool is_blocked;    /* the socket took no more output */
    bool wants_reading; /* as registered, see invariant 4 */

    struct conns *home;
    struct conn *prev;
    struct sock *sock; /* NULL: CLOSED, or could not be made */
    const struct conn_handler *handler;
    void *user;

    struct in in;
    size_t in_charged; /* to the budget, for memory of our own */
    size_t frame_bytes_max;

    struct piece **out_end;
    struct chunk *filling; /* where the next copy goes */
    size_t out_bytes;
    size_t out_charged;
    int64_t out_moved_us; /* output last moved, or began to wait; 0: there is none */
    int64_t lingering_us; /* since */

    struct conn *starved_next;
    void (*gone)(void *arg);
    void *gone_arg;
    err why;
    int error; /* errno */
    struct address peer;
};

/* All connections of a loop. */
struct conns {
    struct loop_local local;
    struct loop *l;
    struct conn *first;
    struct conn *starved;
    struct conn *favoured; /* goes on over the budget, see room_for */
    struct conn_pool pool;
    struct timer sweep, retry;
    int64_t limit_us; /* the shortest deadline that any connection had */
    struct net_stats stats;
    uint8_t *scratch; /* what conn_write_space gives on a closing connection */
    size_t scratch_size;
};

_Static_assert(sizeof(struct conn) <= 768,
               "an idle connection holds at most 1 KiB, its socket included");

/* --- the loop's part ------------------------------------------------------ */

static void conns_free(struct loop_local *local);

static struct conns *conns_of(struct loop *l)
{
    struct loop_local **slot = loop_local(l);
    if (!*slot) {
        struct conns *n = MEM_NEW(struct conns);
        n->local.free = conns_free;
        n->l = l;
        n->limit_us = INT64_MAX;
        *slot = &n->local;
    }
    return (struct conns *)*slot;
}

const struct net_stats *conn_stats(const struct loop *l)
{
    return &conns_of((struct loop *)(uintptr_t)l)->stats;
}

/* Written by the loop's thread only, so no locked instruction is needed. */
static void count(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

static int64_t now_us(const struct conn *c)
{
    return loop_now_us(c->home->l);
}

/* --- budget --------------------------------------------------------------- */

static void budget_add(struct byte_budget *b, size_t bytes)
{
    if (b && bytes)
        atomic_fetch_add_explicit(&b->used, bytes, memory_order_relaxed);
}

static void budget_sub(struct byte_budget *b, size_t bytes)
{
    if (b && bytes)
        atomic_fetch_sub_explicit(&b->used, bytes, memory_order_relaxed);
}

/*
 * More memory for a long frame that has begun. Over the budget one connection of the loop is given
 * it all the same, or halves of frames could fill the budget and none ever be whole.
 */
static bool room_for(struct conn *c, size_t bytes)
{
    struct byte_budget *b = c->limits->budget;
    if (!b)
        return true;
    const size_t used = atomic_fetch_add_explicit(&b->used, bytes, memory_order_relaxed);
    if (used <= b->limit && bytes <= b->limit - used)
        return true;
    if (!c->home->favoured)
        c->home->favoured = c;
    if (c->home->favoured == c)
        return true;
    budget_sub(b, bytes);
    return false;
}

/* --- what the socket is asked for ----------------------------------------- */

/* May frames be handed over? */
static bool may_take(const struct conn *c)
{
    return c->state == OPEN && !c->holds && c->out_bytes <= c->limits->out_bytes_max;
}

static bool may_read(const struct conn *c)
{
    return c->state == LINGERING || (may_take(c) && !c->has_frames && !c->is_starved);
}

/* After anything that may have changed the answers of may_take, may_read, is_blocked. Frames that
 * wait are handed over on writability, which comes in the next turn: others have theirs first. */
static void update(struct conn *c)
{
    if (c->state == CONNECTING || c->state == CLOSED)
        return;
    if (!c->wants_reading && may_read(c)) {
        c->wants_reading = true;
        if (c->frame_began_us)
            c->frame_began_us = now_us(c);
    }
    const bool wants_writing = c->is_blocked || (c->has_frames && may_take(c));
    sock_want(c->sock,
              (c->wants_reading ? SOCK_READABLE : 0u) | (wants_writing ? SOCK_WRITABLE : 0u));
}

/* --- the end -------------------------------------------------------------- */

static void starved_remove(struct conn *c)
{
    if (!c->is_starved)
        return;
    struct conn **at = &c->home->starved;
    while (*at != c)
        at = &(*at)->starved_next;
    *at = c->starved_next;
    c->is_starved = false;
}

static void close_now(struct conn *c, err why)
{
    if (c->state == CLOSED)
        return;
    c->state = CLOSED;
    c->why = why;
    if (c->sock)
        sock_close(c->sock);
    c->sock = NULL;
    starved_remove(c);
    loop_defer(c->home->l, &c->end_of_turn);
}

/* The socket failed, or the peer is gone. */
static void close_failed(struct conn *c)
{
    c->error = sock_error(c->sock);
    const bool decided = c->state == FLUSHING || c->state == LINGERING;
    close_now(c, decided ? c->why : c->error ? E_NETWORK : E_END);
}

/* Nothing is taken from the peer any more; what is queued is still sent. */
static void close_flushed(struct conn *c, err why)
{
    if (c->state >= FLUSHING)
        return;
    if (c->state == CONNECTING || (why == E_END && !c->out)) {
        close_now(c, why);
        return;
    }
    c->state = FLUSHING;
    c->why = why;
    starved_remove(c);
    c->wants_reading = false;
    if (!c->out_moved_us)
        c->out_moved_us = now_us(c);
    loop_defer(c->home->l, &c->end_of_turn);
}

static void in_drop(struct conn *c);
static void drop_output(struct conn *c);

static void reap(struct conn *c)
{
    struct conns *n = c->home;
    in_drop(c);
    drop_output(c);
    if (c->prev)
        c->prev->next = c->next;
    else
        n->first = c->next;
    if (c->next)
        c->next->prev = c->prev;
    if (!n->first)
        timer_stop(n->l, &n->sweep);
    count(&n->stats.closed, 1);
    count(&n->stats.connections, (uint64_t)-1);
    c->handler->on_closed(c, c->why);
    if (c->gone)
        c->gone(c->gone_arg);
    mem_free(c);
}

static void conns_free(struct loop_local *local)
{
    struct conns *n = (struct conns *)local;
    while (n->first) {
        CHECK(conn_is_closing(n->first));
        close_now(n->first, n->first->why);
        reap(n->first);
    }
    conn_pool_deinit(&n->pool);
    mem_free(n->scratch);
    mem_free(n);
}

/* --- input ---------------------------------------------------------------- */

static void in_drop(struct conn *c)
{
    struct in *in = &c->in;
    if (!in->data)
        return;
    if (in->is_pooled) {
        in_put(&c->home->pool, in->data);
        c->home->pool.in_lent -= in->is_lent;
    } else {
        mem_free(in->data);
        budget_sub(c->limits->budget, c->in_charged);
        c->in_charged = 0;
        if (c->home->favoured == c)
            c->home->favoured = NULL;
    }
    *in = (struct in){0};
}

static size_t in_size(const struct in *in)
{
    return in->end - in->start;
}

/* The length of the frame that begins at start; there are LENGTH_BYTES. */
static size_t frame_size(const struct in *in)
{
    uint32_t v;
    memcpy(&v, in->data + in->start, sizeof v);
    return __builtin_bswap32(v);
}

/* The bytes from start to the end of the first frame, as far as known. */
static size_t frame_need(const struct in *in)
{
    return LENGTH_BYTES + (in_size(in) >= LENGTH_BYTES ? frame_size(in) : 0);
}

static bool has_frame(const struct in *in)
{
    return in_size(in) >= LENGTH_BYTES && in_size(in) >= frame_need(in);
}

static void starve(struct conn *c);

/* What was received moves to own memory of that capacity. Charged to the budget. */
static bool in_move_to_own(struct conn *c, size_t capacity)
{
    struct in *in = &c->in;
    const size_t size = in_size(in);
    uint8_t *data = mem_try_alloc(capacity);
    if (!data)
        return false;
    memcpy(data, in->data + in->start, size);
    in_drop(c);
    *in = (struct in){.data = data, .end = size, .capacity = capacity};
    c->in_charged = capacity;
    return true;
}

/* Own memory is full: more of it, as the budget allows. */
static bool in_grow(struct conn *c, size_t need)
{
    struct in *in = &c->in;
    CHECK(need > in->capacity);
    size_t capacity = in->capacity > SIZE_MAX / 4 ? need : in->capacity * 4;
    if (capacity > need)
        capacity = need;
    if (!room_for(c, capacity - in->capacity)) {
        starve(c);
        return false;
    }
    uint8_t *data = mem_try_realloc(in->data, capacity);
    if (!data) {
        budget_sub(c->limits->budget, capacity - in->capacity);
        close_flushed(c, E_OVERLOADED);
        return false;
    }
    in->data = data;
    in->capacity = capacity;
    c->in_charged = capacity;
    return true;
}

/* The frame is longer than a receive buffer, which is full of it. */
static bool in_begin_long(struct conn *c, size_t need)
{
    size_t capacity = need > 4 * IN_BYTES ? 4 * IN_BYTES : need;
    if (!room_for(c, capacity)) {
        starve(c);
        return false;
    }
    if (in_move_to_own(c, capacity))
        return true;
    budget_sub(c->limits->budget, capacity);
    close_flushed(c, E_OVERLOADED);
    return false;
}

static void in_borrow(struct conn *c)
{
    struct in *in = &c->in;
    uint8_t *data = in_get(&c->home->pool);
    const size_t size = in_size(in);
    if (in->data)
        memcpy(data, in->data + in->start, size);
    in_drop(c);
    *in = (struct in){.data = data, .end = size, .capacity = IN_BYTES, .is_pooled = true};
}

/* Sees to free bytes behind `end`. False: not now. */
static bool make_room(struct conn *c)
{
    struct in *in = &c->in;
    const size_t need = frame_need(in);
    if (!in->is_pooled && in_size(in) <= IN_KEPT_MIN) {
        in_borrow(c);
        return true;
    }
    if (need > in->capacity - in->start && in->start > 0) {
        memmove(in->data, in->data + in->start, in_size(in));
        in->end -= in->start;
        in->start = 0;
    }
    if (in->end < in->capacity)
        return true;
    return in->is_pooled ? in_begin_long(c, need) : in_grow(c, need);
}

/* After frames were handed over: keeps what is left in the place that is right for it. */
static void settle(struct conn *c, bool took)
{
    struct in *in = &c->in;
    struct conn_pool *pool = &c->home->pool;
    const size_t size = in_size(in);
    if (size == 0) {
        in_drop(c);
        c->frame_began_us = 0;
        return;
    }
    if (took || !c->frame_began_us)
        c->frame_began_us = now_us(c);
    if (!in->is_pooled || in->is_lent)
        return;
    if (size > IN_KEPT_MIN && pool->in_lent < IN_LENT_MAX) {
        in->is_lent = true;
        pool->in_lent++;
        return;
    }
    /* What is here must be kept somewhere: the budget is told, not asked. */
    budget_add(c->limits->budget, size);
    if (!in_move_to_own(c, size)) {
        budget_sub(c->limits->budget, size);
        close_now(c, E_OVERLOADED);
    }
}

static void refuse_frame(struct conn *c)
{
    static struct diag_limit limit = {.interval_ms = 1000};
    char text[ADDRESS_TEXT];
    if (diag_allowed(&limit))
        diag(DIAG_INFO, "net", "closed a connection: a frame is empty or too long",
             "peer=%s bytes=%zu bytes_max=%zu", address_text(&c->peer, text), frame_size(&c->in),
             c->frame_bytes_max);
    close_flushed(c, E_INVALID_REQUEST);
}

/* Hands over the frames that are whole. */
static void deliver(struct conn *c)
{
    struct in *in = &c->in;
    bool took = false;
    err e = OK;
    while (may_take(c)) {
        size_t size;
        e = frame_read_length(slice_of(in->data + in->start, in_size(in)), c->frame_bytes_max,
                              &size);
        if (e || in_size(in) - LENGTH_BYTES < size)
            break;
        uint8_t *data = in->data + in->start + LENGTH_BYTES;
        in->start += LENGTH_BYTES + size;
        took = true;
        c->handler->on_frame(c, data, size);
    }
    if (took)
        c->handler->on_frames_end(c);
    if (c->state >= FLUSHING)
        return;
    if (e == E_INVALID_REQUEST) {
        refuse_frame(c);
        return;
    }
    c->has_frames = has_frame(in);
    settle(c, took);
}

/* One read, at most one buffer full. False: nothing came. */
static bool receive(struct conn *c)
{
    if (!make_room(c))
        return false;
    struct in *in = &c->in;
    const struct iovec room = {in->data + in->end, in->capacity - in->end};
    size_t moved;
    const err e = sock_readv(c->sock, &room, 1, &moved);
    if (e == E_END)
        close_flushed(c, E_END);
    else if (e && e != E_WOULD_BLOCK)
        close_failed(c);
    if (e) {
        if (c->state < FLUSHING)
            settle(c, false);
        return false;
    }
    in->end += moved;
    c->moved_us = now_us(c);
    count(&c->home->stats.bytes_in, moved);
    deliver(c);
    return true;
}

/* What comes after we said our last is thrown away. */
static bool receive_nothing(struct conn *c)
{
    uint8_t *data = in_get(&c->home->pool);
    const struct iovec room = {data, IN_BYTES};
    size_t moved;
    const err e = sock_readv(c->sock, &room, 1, &moved);
    in_put(&c->home->pool, data);
    if (e && e != E_WOULD_BLOCK)
        close_now(c, c->why);
    return !e;
}

/* --- out of budget -------------------------------------------------------- */

static void on_retry(void *arg)
{
    struct conns *n = arg;
    struct conn *all = n->starved;
    n->starved = NULL;
    for (struct conn *c = all, *next; c; c = next) {
        next = c->starved_next;
        c->is_starved = false;
        c->wants_reading = may_read(c); /* here, for in update the frame's time would begin anew */
        update(c);
    }
}

static void starve(struct conn *c)
{
    struct conns *n = c->home;
    c->is_starved = true;
    c->starved_next = n->starved;
    n->starved = c;
    c->wants_reading = false;
    if (!timer_is_running(&n->retry))
        timer_start(n->l, &n->retry, STARVED_US, on_retry, n);
}

/* --- output --------------------------------------------------------------- */

/* Moves the budget's idea of our queue to what it is now. */
static void charge_output(struct conn *c)
{
    if (c->out_bytes > c->out_charged)
        budget_add(c->limits->budget, c->out_bytes - c->out_charged);
    else
        budget_sub(c->limits->budget, c->out_charged - c->out_bytes);
    c->out_charged = c->out_bytes;
}

static void pop_piece(struct conn *c)
{
    struct piece *pc = c->out;
    c->out = pc->next;
    if (!c->out)
        c->out_end = &c->out;
    piece_end(&c->home->pool, pc);
}

static void stop_filling(struct conn *c)
{
    if (c->filling)
        chunk_unref(&c->home->pool, c->filling);
    c->filling = NULL;
}

static void drop_output(struct conn *c)
{
    c->out_bytes = 0;
    charge_output(c);
    stop_filling(c);
    while (c->out)
        pop_piece(c);
}

/* The first `moved` queued bytes were written. */
static void consume(struct conn *c, size_t moved)
{
    c->out_bytes -= moved;
    while (c->out && moved >= c->out->size) {
        moved -= c->out->size;
        c->out->size = 0;
        pop_piece(c);
    }
    if (moved) {
        CHECK(c->out);
        c->out->data += moved;
        c->out->size -= moved;
    }
}

static int gather(const struct conn *c, struct iovec *iov, size_t bytes_max, size_t *bytes)
{
    int n = 0;
    size_t total = 0;
    for (const struct piece *pc = c->out; pc && n < OUT_IOV_MAX && total < bytes_max;
         pc = pc->next) {
        const size_t size = pc->size < bytes_max - total ? pc->size : bytes_max - total;
        iov[n++] = (struct iovec){(void *)(uintptr_t)pc->data, size};
        total += size;
    }
    *bytes = total;
    return n;
}

/* Writes what is queued, until the socket is full or it is others' turn. */
static void write_queued(struct conn *c)
{
    struct iovec iov[OUT_IOV_MAX];
    size_t written = 0;
    c->is_blocked = false;
    while (c->out && c->state < LINGERING) {
        size_t asked, moved = 0;
        if (written >= OUT_TURN_BYTES) {
            c->is_blocked = true;
            return;
        }
        const int n = gather(c, iov, OUT_TURN_BYTES - written, &asked);
        const err e = sock_writev(c->sock, iov, n, &moved);
        if (e && e != E_WOULD_BLOCK) {
            close_failed(c);
            return;
        }
        if (moved) {
            written += moved;
            count(&c->home->stats.bytes_out, moved);
            c->moved_us = c->out_moved_us = now_us(c);
            consume(c, moved);
        }
        if (moved < asked) {
            c->is_blocked = true;
            return;
        }
    }
}

static void sweep_within(struct conns *n, int64_t us);

static void linger(struct conn *c)
{
    sock_shutdown(c->sock);
    c->state = LINGERING;
    c->lingering_us = now_us(c);
    sweep_within(c->home, LINGER_US);
}

static void flush(struct conn *c)
{
    if (c->state == FLUSHING)
        in_drop(c);
    write_queued(c);
    if (c->state == CLOSED)
        return;
    charge_output(c);
    if (c->out)
        return;
    stop_filling(c);
    c->out_moved_us = 0;
    if (c->state == FLUSHING && c->why == E_END)
        close_now(c, E_END);
    else if (c->state == FLUSHING)
        linger(c);
}

/* Output came to the queue. */
static void queued(struct conn *c, size_t size)
{
    c->out_bytes += size;
    if (!c->out_moved_us)
        c->out_moved_us = now_us(c);
    if (c->state == OPEN && !c->is_blocked)
        loop_defer(c->home->l, &c->end_of_turn);
}

static struct piece *append_piece(struct conn *c, struct piece piece)
{
    struct piece *pc = piece_get(&c->home->pool);
    *pc = piece;
    *c->out_end = pc;
    c->out_end = &pc->next;
    return pc;
}

static struct piece *last_piece(struct conn *c)
{
    return c->out ? (struct piece *)((char *)c->out_end - offsetof(struct piece, next)) : NULL;
}

static uint8_t *scratch(struct conns *n, size_t size)
{
    if (size > n->scratch_size || !n->scratch) {
        n->scratch = mem_realloc(n->scratch, size);
        n->scratch_size = size;
    }
    return n->scratch;
}

uint8_t *conn_write_space(struct conn *c, size_t size)
{
    DCHECK(loop_is_current(c->home->l));
    if (c->state >= FLUSHING || size == 0)
        return scratch(c->home, size);
    struct chunk *ch = c->filling;
    if (!ch || ch->capacity - ch->fill < size) {
        stop_filling(c);
        ch = c->filling = chunk_get(&c->home->pool, size);
    }
    uint8_t *p = ch->data + ch->fill;
    ch->fill += size;
    struct piece *last = last_piece(c);
    if (last && last->chunk == ch && last->data + last->size == p) {
        last->size += size;
    } else {
        ch->refs++;
        append_piece(c, (struct piece){.data = p, .size = size, .chunk = ch});
    }
    queued(c, size);
    return p;
}

void conn_write(struct conn *c, const void *data, size_t size)
{
    if (c->state >= FLUSHING || size == 0)
        return;
    memcpy(conn_write_space(c, size), data, size);
}

void conn_write_borrowed(struct conn *c, struct slice data, void (*release)(void *arg), void *arg)
{
    DCHECK(loop_is_current(c->home->l));
    if (c->state >= FLUSHING || data.size == 0) {
        if (release)
            release(arg);
        return;
    }
    append_piece(
        c, (struct piece){.data = data.data, .size = data.size, .release = release, .arg = arg});
    queued(c, data.size);
}

size_t conn_out_bytes(const struct conn *c)
{
    return c->out_bytes;
}

/* --- deadlines ------------------------------------------------------------ */

static int64_t after(int64_t since_us, int64_t limit_us)
{
    return limit_us ? since_us + limit_us : INT64_MAX;
}

/* When c is to be closed unless something moves; INT64_MAX: not for now. */
static int64_t due_us(const struct conn *c)
{
    const struct conn_limits *limits = c->limits;
    if (c->state == LINGERING)
        return c->lingering_us + LINGER_US;
    if (c->state == CLOSED || c->state == CONNECTING)
        return INT64_MAX;
    if (c->out)
        return after(c->out_moved_us, limits->write_stall_us);
    if (c->holds)
        return INT64_MAX;
    const int64_t idle = c->busy ? INT64_MAX : after(c->moved_us, limits->idle_us);
    if (!c->frame_began_us || c->has_frames)
        return idle;
    const int64_t assembly = after(c->frame_began_us, limits->assembly_us);
    return assembly < idle ? assembly : idle;
}

/*
 * One look at every connection now and then costs less than a timer's heap operation per request.
 * The next look is when the earliest deadline of now is due, or after the shortest limit: what
 * begins in between is not due before.
 */
static void on_sweep(void *arg)
{
    struct conns *n = arg;
    const int64_t now = loop_now_us(n->l);
    int64_t next = n->limit_us;
    for (struct conn *c = n->first; c; c = c->next) {
        const int64_t due = due_us(c);
        if (due <= now)
            close_now(c, c->state >= FLUSHING ? c->why : E_TIMED_OUT);
        else if (due != INT64_MAX && due - now < next)
            next = due - now;
    }
    if (next != INT64_MAX)
        timer_start(n->l, &n->sweep, next > SWEEP_MIN_US ? next : SWEEP_MIN_US, on_sweep, n);
}

static void sweep_within(struct conns *n, int64_t us)
{
    if (!timer_is_running(&n->sweep) || n->sweep.due_us - loop_now_us(n->l) > us)
        timer_start(n->l, &n->sweep, us, on_sweep, n);
}

static void know_limit(struct conns *n, int64_t limit_us)
{
    if (limit_us && limit_us < n->limit_us)
        n->limit_us = limit_us;
}

/* --- events --------------------------------------------------------------- */

static void opened(struct conn *c)
{
    c->state = OPEN;
    c->moved_us = now_us(c);
    if (c->out) {
        c->out_moved_us = c->moved_us;
        loop_defer(c->home->l, &c->end_of_turn);
    }
    c->handler->on_open(c);
}

static void on_events(void *arg, struct sock *s, unsigned events)
{
    struct conn *c = arg;
    (void)s;
    if (c->state == CONNECTING) {
        if (events & SOCK_CLOSED)
            close_failed(c);
        else
            opened(c);
        update(c);
        return;
    }
    if (events & SOCK_WRITABLE) {
        flush(c);
        if (c->has_frames && may_take(c))
            deliver(c);
    }
    bool came = false;
    if (events & SOCK_READABLE && c->state != CLOSED) {
        if (!may_read(c))
            c->wants_reading = false;
        else
            came = c->state == LINGERING ? receive_nothing(c) : receive(c);
    }
    /* What was received before the end is taken first. */
    if (events & SOCK_CLOSED && !came && c->state != CLOSED)
        close_failed(c);
    update(c);
}

static void on_end_of_turn(struct deferred *d)
{
    struct conn *c = (struct conn *)d;
    if (c->state == CLOSED) {
        reap(c);
        return;
    }
    if (c->state != CONNECTING && !c->is_blocked)
        flush(c);
    update(c);
}

/* --- life ----------------------------------------------------------------- */

static struct conn *new_conn(struct loop *l, enum state state, const struct address *peer,
                             const struct conn_handler *handler, const struct conn_limits *limits,
                             void *user)
{
    DCHECK(loop_is_current(l));
    struct conns *n = conns_of(l);
    struct conn *c = MEM_NEW(struct conn);
    c->end_of_turn.fn = on_end_of_turn;
    c->home = n;
    c->state = state;
    c->handler = handler;
    c->limits = limits;
    c->user = user;
    c->peer = *peer;
    c->frame_bytes_max = limits->frame_bytes_max;
    c->out_end = &c->out;
    c->moved_us = loop_now_us(l);
    c->next = n->first;
    if (c->next)
        c->next->prev = c;
    n->first = c;
    know_limit(n, limits->idle_us);
    know_limit(n, limits->assembly_us);
    know_limit(n, limits->write_stall_us);
    if (n->limit_us != INT64_MAX)
        sweep_within(n, n->limit_us);
    count(&n->stats.opened, 1);
    count(&n->stats.connections, 1);
    return c;
}

struct conn *conn_new(struct loop *l, struct sock *s, const struct address *peer,
                      const struct conn_handler *handler, const struct conn_limits *limits,
                      void *user)
{
    struct conn *c = new_conn(l, OPEN, peer, handler, limits, user);
    c->sock = s;
    sock_adopt(l, s, on_events, c);
    update(c);
    return c;
}

struct conn *conn_connect(struct loop *l, const struct address *to,
                          const struct conn_handler *handler, const struct conn_limits *limits,
                          void *user)
{
    struct conn *c = new_conn(l, CONNECTING, to, handler, limits, user);
    if (sock_connect(l, to, on_events, c, &c->sock))
        close_now(c, E_NETWORK);
    return c;
}

void conn_close(struct conn *c)
{
    DCHECK(loop_is_current(c->home->l));
    close_now(c, c->state == FLUSHING || c->state == LINGERING ? c->why : E_CANCELLED);
}

void conn_close_after_flush(struct conn *c)
{
    DCHECK(loop_is_current(c->home->l));
    close_flushed(c, E_CANCELLED);
}

void conn_set_gone(struct conn *c, void (*gone)(void *arg), void *arg)
{
    c->gone = gone;
    c->gone_arg = arg;
}

void *conn_user(const struct conn *c)
{
    return c->user;
}

void conn_set_user(struct conn *c, void *user)
{
    c->user = user;
}

struct loop *conn_loop(const struct conn *c)
{
    return c->home->l;
}

const struct address *conn_peer(const struct conn *c)
{
    return &c->peer;
}

int conn_errno(const struct conn *c)
{
    return c->error;
}

bool conn_is_closing(const struct conn *c)
{
    return c->state >= FLUSHING;
}

void conn_set_frame_bytes_max(struct conn *c, size_t bytes)
{
    c->frame_bytes_max = bytes;
}

void conn_hold(struct conn *c)
{
    DCHECK(loop_is_current(c->home->l));
    c->holds++;
}

void conn_unhold(struct conn *c)
{
    DCHECK(loop_is_current(c->home->l));
    CHECK(c->holds > 0);
    if (--c->holds)
        return;
    c->moved_us = now_us(c);
    if (c->frame_began_us)
        c->frame_began_us = c->moved_us;
    if (c->state == OPEN)
        loop_defer(c->home->l, &c->end_of_turn);
}

void conn_busy(struct conn *c)
{
    DCHECK(loop_is_current(c->home->l));
    c->busy++;
}

void conn_unbusy(struct conn *c)
{
    DCHECK(loop_is_current(c->home->l));
    CHECK(c->busy > 0);
    if (--c->busy == 0)
        c->moved_us = now_us(c);
}
