/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A waiting request is a slot of a table, and its correlation id is the slot's
 * index and, above it, a number that is never used twice: so an answer finds
 * its request without a search, and one that is late finds a stranger and is
 * dropped. Slots that wait are linked in the order they were sent.
 *
 * There is one timer for all deadlines. It is due at the earliest that was
 * known when it was started, and looks again then: so neither a request nor an
 * answer costs a heap operation.
 */
#include "proto/net/rpc.h"

#include <stdio.h>

#include "proto/base/check.h"
#include "proto/base/diag.h"
#include "proto/base/limits.h"
#include "proto/base/mem.h"
#include "proto/schema/request.pb-c.h"
#include "proto/wire/frame.h"
#include "proto/wire/msg.h"

enum {
    SLOT_BITS = 20,
    SLOTS_MAX = 1 << SLOT_BITS,
    NO_SLOT = SLOTS_MAX,
    HELLO_ID = 1, /* others are above SLOTS_MAX */
    HELLO_ARENA_BYTES = 64 * KIB,
    WRITE_STALL_US = 30 * 1000 * 1000
};

struct slot {
    rpc_done_fn *done; /* NULL: free */
    void *arg;
    uint64_t id;
    int64_t due_us; /* INT64_MAX: never */
    size_t bytes;
    uint32_t prev, next; /* in the order sent; next: also of the free ones */
    bool is_lost;        /* sent while broken */
};

struct rpc {
    struct loop *l;
    struct rpc_opts opts;
    struct conn *c; /* NULL: broken */
    bool is_ready;
    bool is_freed;
    unsigned depth; /* of callbacks we are in; memory goes when the last returns */
    err why;        /* of what is about to break it; OK: what the connection says */
    int error;

    struct slot *slots;
    uint32_t slot_count, free_slot;
    uint32_t first, last;
    size_t waiting, waiting_bytes;
    uint64_t sent; /* requests ever */

    struct timer hello_timer, due_timer, lost_timer;
    struct rpc_peer peer;
};

/* --- callbacks that may free us ------------------------------------------- */

static void enter(struct rpc *r)
{
    r->depth++;
}

/* False: r is gone, or as good as. */
static bool leave(struct rpc *r)
{
    const bool freed = r->is_freed;
    if (--r->depth == 0 && freed)
        mem_free(r);
    return !freed;
}

/* --- slots ---------------------------------------------------------------- */

static uint32_t slot_take(struct rpc *r)
{
    if (r->free_slot == NO_SLOT) {
        const uint32_t count = r->slot_count ? r->slot_count * 2 : 16;
        CHECK(count <= SLOTS_MAX); /* callers heed rpc_is_full long before */
        r->slots = mem_realloc(r->slots, count * sizeof *r->slots);
        for (uint32_t i = count; i-- > r->slot_count;) {
            r->slots[i] = (struct slot){.next = r->free_slot};
            r->free_slot = i;
        }
        r->slot_count = count;
    }
    const uint32_t i = r->free_slot;
    r->free_slot = r->slots[i].next;
    return i;
}

static void slot_append(struct rpc *r, uint32_t i)
{
    struct slot *s = &r->slots[i];
    s->prev = r->last;
    s->next = NO_SLOT;
    *(r->last == NO_SLOT ? &r->first : &r->slots[r->last].next) = i;
    r->last = i;
    r->waiting++;
    r->waiting_bytes += s->bytes;
}

static void slot_free(struct rpc *r, uint32_t i)
{
    struct slot *s = &r->slots[i];
    *(s->prev == NO_SLOT ? &r->first : &r->slots[s->prev].next) = s->next;
    *(s->next == NO_SLOT ? &r->last : &r->slots[s->next].prev) = s->prev;
    r->waiting--;
    r->waiting_bytes -= s->bytes;
    *s = (struct slot){.next = r->free_slot};
    r->free_slot = i;
}

/* False: r is gone. */
static bool finish(struct rpc *r, uint32_t i, err e, struct slice response)
{
    rpc_done_fn *const done = r->slots[i].done;
    void *const arg = r->slots[i].arg;
    slot_free(r, i);
    enter(r);
    done(arg, e, response);
    return leave(r);
}

static const struct slice nothing = {NULL, 0};

/* Ends what was sent up to that id: callbacks may send more, which is not meant. */
static bool finish_until(struct rpc *r, uint64_t id, err e)
{
    while (r->first != NO_SLOT && r->slots[r->first].id <= id)
        if (!finish(r, r->first, e, nothing))
            return false;
    return true;
}

static uint64_t last_id(const struct rpc *r)
{
    return r->last == NO_SLOT ? 0 : r->slots[r->last].id;
}

/* --- deadlines ------------------------------------------------------------ */

static void on_due(void *arg);

static void due_at(struct rpc *r, int64_t due_us)
{
    if (due_us == INT64_MAX || (timer_is_running(&r->due_timer) && r->due_timer.due_us <= due_us))
        return;
    timer_start(r->l, &r->due_timer, due_us - loop_now_us(r->l), on_due, r);
}

static void on_due(void *arg)
{
    struct rpc *r = arg;
    const int64_t now = loop_now_us(r->l);
    int64_t next_due = INT64_MAX;
    /* From the start again after each callback, for it may have changed the list. */
    for (uint32_t i = r->first; i != NO_SLOT;) {
        if (r->slots[i].due_us <= now) {
            if (!finish(r, i, E_TIMED_OUT, nothing))
                return;
            i = r->first;
            next_due = INT64_MAX;
            continue;
        }
        if (r->slots[i].due_us < next_due)
            next_due = r->slots[i].due_us;
        i = r->slots[i].next;
    }
    due_at(r, next_due);
}

/* --- Hello ---------------------------------------------------------------- */

static void write_hello(struct rpc *r)
{
    Sluice__HelloRequest hello = SLUICE__HELLO_REQUEST__INIT;
    Sluice__Request request = SLUICE__REQUEST__INIT;
    hello.has_min_version = hello.has_max_version = true;
    hello.min_version = PROTOCOL_VERSION_MIN;
    hello.max_version = PROTOCOL_VERSION_MAX;
    hello.software = (char *)(uintptr_t) "sluice/" SLUICE_VERSION;
    request.has_correlation_id = true;
    request.correlation_id = HELLO_ID;
    request.client_id = (char *)(uintptr_t)r->opts.client_id;
    request.body_case = SLUICE__REQUEST__BODY_HELLO;
    request.hello = &hello;
    struct buf b = {0};
    msg_pack(&request, &b);
    frame_write_length(conn_write_space(r->c, FRAME_PREFIX_SIZE), b.size);
    conn_write(r->c, b.data, b.size);
    buf_deinit(&b);
}

static void give_up(struct rpc *r, err why)
{
    if (!r->why)
        r->why = why;
    conn_close(r->c);
}

static void on_hello_late(void *arg)
{
    give_up(arg, E_TIMED_OUT);
}

static void take_text(char *to, size_t size, const char *from)
{
    snprintf(to, size, "%s", from ? from : "");
}

/* The server's sentence goes to the diagnostics, its code to whoever asks. */
static err refusal(const struct rpc *r, struct slice error)
{
    struct msg_error e;
    char text[ADDRESS_TEXT];
    if (msg_read_error(error, &e))
        return E_CORRUPT;
    diag(DIAG_WARN, "net", "the server refused us", "address=%s code=%s reason=%s",
         address_text(&r->opts.to, text), err_name(e.code),
         diag_str(e.message.data, e.message.size));
    return e.code ? e.code : E_UNKNOWN;
}

static err take_hello(struct rpc *r, const struct msg_peek *peek, struct arena *arena)
{
    Sluice__HelloResponse *hello;
    if (peek->error.size)
        return refusal(r, peek->error);
    if (peek->body_field != API_HELLO ||
        msg_unpack(&sluice__hello_response__descriptor, peek->body, arena, (void **)&hello, NULL))
        return E_CORRUPT;
    if (!hello->has_version || hello->version < PROTOCOL_VERSION_MIN ||
        hello->version > PROTOCOL_VERSION_MAX)
        return E_UNSUPPORTED_VERSION;
    take_text(r->peer.role, sizeof r->peer.role, hello->role);
    take_text(r->peer.software, sizeof r->peer.software, hello->software);
    take_text(r->peer.cluster_id, sizeof r->peer.cluster_id, hello->cluster_id);
    r->peer.broker_id = hello->has_broker_id ? hello->broker_id : -1;
    r->peer.incarnation = hello->incarnation;
    r->peer.frame_bytes_max = hello->has_frame_bytes_max ? hello->frame_bytes_max : FRAME_BYTES_MAX;
    return OK;
}

static void on_hello(struct rpc *r, const struct msg_peek *peek)
{
    struct arena arena;
    arena_init(&arena, HELLO_ARENA_BYTES);
    const err e = take_hello(r, peek, &arena);
    arena_deinit(&arena);
    if (e) {
        give_up(r, e);
        return;
    }
    r->is_ready = true;
    timer_stop(r->l, &r->hello_timer);
    if (r->opts.events && r->opts.events->on_ready)
        r->opts.events->on_ready(r->opts.user);
}

/* --- the connection ------------------------------------------------------- */

static void on_open(struct conn *c)
{
    (void)c; /* Hello is queued already, and leaves now. */
}

static void on_frame(struct conn *c, uint8_t *data, size_t size)
{
    struct rpc *r = conn_user(c);
    struct msg_peek peek;
    if (!r)
        return;
    const struct slice frame = slice_of(data, size);
    if (msg_peek_response(frame, &peek)) {
        char text[ADDRESS_TEXT];
        diag(DIAG_WARN, "net", "closed a connection: not a Response", "address=%s bytes=%zu",
             address_text(&r->opts.to, text), size);
        give_up(r, E_CORRUPT);
        return;
    }
    /* Id 0 speaks of the connection: the server's word before it closes. */
    if (peek.correlation_id == HELLO_ID || peek.correlation_id == 0) {
        if (!r->is_ready || peek.correlation_id == 0)
            on_hello(r, &peek);
        return;
    }
    const uint32_t i = peek.correlation_id & (SLOTS_MAX - 1);
    if (i < r->slot_count && r->slots[i].done && r->slots[i].id == peek.correlation_id)
        finish(r, i, OK, frame);
}

static void on_frames_end(struct conn *c)
{
    (void)c;
}

static void on_closed(struct conn *c, err why)
{
    struct rpc *r = conn_user(c);
    if (!r)
        return;
    if (!r->why)
        r->why = why == E_INVALID_REQUEST ? E_CORRUPT : why == E_TIMED_OUT ? why : E_NETWORK;
    r->error = conn_errno(c);
    r->c = NULL;
    r->is_ready = false;
    timer_stop(r->l, &r->hello_timer);
    const err broken = r->why;
    enter(r);
    if (finish_until(r, last_id(r), broken == E_UNSUPPORTED_VERSION ? broken : E_NETWORK) &&
        r->opts.events && r->opts.events->on_broken)
        r->opts.events->on_broken(r->opts.user, broken);
    leave(r);
}

static void connect_now(struct rpc *r)
{
    static const struct conn_handler handler = {on_open, on_frame, on_frames_end, on_closed};
    /* Answers are read however much is queued, or both ends could wait for each other. */
    static const struct conn_limits limits = {.frame_bytes_max = FRAME_BYTES_MAX + MIB,
                                              .out_bytes_max = SIZE_MAX,
                                              .write_stall_us = WRITE_STALL_US};
    r->why = OK;
    r->error = 0;
    r->c = conn_connect(r->l, &r->opts.to, &handler, &limits, r);
    write_hello(r);
    if (r->opts.connect_timeout_us)
        timer_start(r->l, &r->hello_timer, r->opts.connect_timeout_us, on_hello_late, r);
}

/* --- what callers call ---------------------------------------------------- */

static void on_lost(void *arg)
{
    struct rpc *r = arg;
    for (uint32_t i = r->first; i != NO_SLOT;) {
        if (!r->slots[i].is_lost) {
            i = r->slots[i].next;
            continue;
        }
        if (!finish(r, i, E_NETWORK, nothing))
            return;
        i = r->first;
    }
}

struct rpc *rpc_new(struct loop *l, const struct rpc_opts *opts)
{
    struct rpc *r = MEM_NEW(struct rpc);
    r->l = l;
    r->opts = *opts;
    r->free_slot = r->first = r->last = NO_SLOT;
    connect_now(r);
    return r;
}

void rpc_free(struct rpc *r)
{
    if (!r)
        return;
    CHECK(!r->is_freed);
    enter(r);
    if (r->c) {
        conn_set_user(r->c, NULL);
        conn_close(r->c);
        r->c = NULL;
    }
    timer_stop(r->l, &r->hello_timer);
    timer_stop(r->l, &r->due_timer);
    timer_stop(r->l, &r->lost_timer);
    finish_until(r, last_id(r), E_CANCELLED);
    CHECK(r->waiting == 0);
    r->is_freed = true;
    mem_free(r->slots);
    leave(r);
}

bool rpc_is_ready(const struct rpc *r)
{
    return r->is_ready;
}

bool rpc_is_broken(const struct rpc *r)
{
    return !r->c;
}

void rpc_reconnect(struct rpc *r)
{
    CHECK(rpc_is_broken(r));
    connect_now(r);
}

static void write_pieces(struct conn *c, const struct rpc_piece *pieces, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (pieces[i].release)
            conn_write_borrowed(c, pieces[i].data, pieces[i].release, pieces[i].arg);
        else
            conn_write(c, pieces[i].data.data, pieces[i].data.size);
}

static void release_pieces(const struct rpc_piece *pieces, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (pieces[i].release)
            pieces[i].release(pieces[i].arg);
}

void rpc_send(struct rpc *r, const struct rpc_piece *pieces, size_t count, int64_t timeout_us,
              rpc_done_fn *done, void *arg)
{
    DCHECK(loop_is_current(r->l));
    const struct slice client_id = slice_str(r->opts.client_id ? r->opts.client_id : "");
    size_t field_size = 0;
    for (size_t i = 0; i < count; i++)
        field_size += pieces[i].data.size;
    const uint32_t index = done ? slot_take(r) : 0;
    const uint64_t id = ++r->sent << SLOT_BITS | index;
    if (done) {
        r->slots[index] =
            (struct slot){.done = done,
                          .arg = arg,
                          .id = id,
                          .due_us = timeout_us ? loop_now_us(r->l) + timeout_us : INT64_MAX,
                          .bytes = field_size,
                          .is_lost = !r->c};
        slot_append(r, index);
    }
    if (!r->c) {
        release_pieces(pieces, count);
        if (done)
            timer_start(r->l, &r->lost_timer, 0, on_lost, r);
        return;
    }
    if (done)
        due_at(r, r->slots[index].due_us);
    uint8_t *head = conn_write_space(r->c, frame_request_head_size(id, client_id));
    frame_request_head_write(head, id, client_id, field_size);
    write_pieces(r->c, pieces, count);
}

size_t rpc_waiting(const struct rpc *r)
{
    return r->waiting;
}

bool rpc_is_full(const struct rpc *r)
{
    return r->waiting_bytes > r->opts.inflight_bytes_max;
}

int rpc_errno(const struct rpc *r)
{
    return r->error;
}

const struct address *rpc_address(const struct rpc *r)
{
    return &r->opts.to;
}

const struct rpc_peer *rpc_peer(const struct rpc *r)
{
    return &r->peer;
}
