/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Invariants: 1. A request is in its connection's list from its first byte
 * handed to a handler until it is finished, and counts against inflight_max.
 * 2. A service_conn lives until its conn is closed and its list is empty.
 * 3. Everything of a lane is touched on its loop only, but for the statistics,
 * which others read.
 */
#include "proto/net/service.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>

#include "proto/base/check.h"
#include "proto/base/diag.h"
#include "proto/base/limits.h"
#include "proto/base/writer.h"
#include "proto/net/listener.h"
#include "proto/schema/hello.pb-c.h"
#include "proto/wire/frame.h"

enum {
    POOL_MAX = 1024,             /* spare requests of a lane */
    ARENA_KEEP_BYTES = 64 * KIB, /* a larger arena is given back, not pooled */
    ARENA_PER_FRAME_BYTE = 8,
    ARENA_BYTES_MIN = 2 * MIB, /* thousands of short names are a legal request */
    HELLO_ARENA_BYTES = 64 * KIB,
    ARENA_HANDLER_BYTES = 64 * MIB, /* for what a handler builds its answer from */
    ERROR_TEXT_MAX = 2000,
    STOP_GRACE_US = 250 * 1000,
    NO_ROW = 0xff,
};

/* One writer, its lane. */
struct row_stats {
    _Atomic uint64_t requests, errors, bytes_in, latency_sum_us;
    _Atomic uint64_t latency[SERVICE_LATENCY_BUCKETS];
};

struct lane {
    struct service *s;
    struct loop *loop;
    size_t index;
    struct service_conn *conns;
    struct request *pool; /* by next */
    size_t pooled;
    struct arena hello_arena;
    struct row_stats *stats; /* by row */
    _Atomic uint64_t refused;
    bool is_stopping;
    struct mail stop, stopped;
    struct timer stop_grace;
};

struct service_listener {
    struct service_listener *next;
    struct service *s;
    const char *name;
    struct listener *listener;
};

struct service_conn {
    struct conn *conn; /* NULL: closed */
    struct lane *lane;
    const char *listener;
    struct service_conn *prev, *next;
    struct request *requests;
    size_t inflight;
    struct timer hello_deadline;
    struct address peer;
    bool said_hello, is_held, is_busy, is_leaving;
};

struct service {
    struct service_opts opts;
    uint8_t row_of[API_END];
    struct service_listener *listeners;
    struct conn_handler handler;
    struct conn_limits limits; /* before hello */
    _Atomic size_t arena_bytes, connections;
    size_t lanes_running;
    bool is_stopping;
    struct lane lanes[];
};

static void bump(_Atomic uint64_t *counter, uint64_t by)
{
    const uint64_t now = atomic_load_explicit(counter, memory_order_relaxed);
    atomic_store_explicit(counter, now + by, memory_order_relaxed);
}

/* --- errors on the wire ---------------------------------------------------------- */

/* Writes a whole frame: Response { correlation_id, error }. */
static void write_error(struct conn *c, uint64_t correlation_id, err e, struct slice text)
{
    const uint64_t code = (uint64_t)(int64_t)err_wire_code(e);
    const uint64_t class = (uint64_t)err_wire_class(e);
    const size_t error_size =
        1 + varint_size(code) + 1 + varint_size(class) + 1 + varint_size(text.size) + text.size;
    const size_t size = 1 + varint_size(correlation_id) + 1 + varint_size(error_size) + error_size;
    uint8_t *p = conn_write_space(c, FRAME_PREFIX_SIZE + size);
    p = frame_write_length(p, size);
    p = write_varint(write_tag(p, 1, 0), correlation_id);
    p = write_varint(write_tag(p, 2, 2), error_size);
    p = write_varint(write_tag(p, 1, 0), code);
    p = write_varint(write_tag(p, 2, 0), class);
    p = write_varint(write_tag(p, 3, 2), text.size);
    write_bytes(p, text.data, text.size);
}

/* A text that does not fit is cut at a character's end: strings are UTF-8. */
static struct slice print_text(char buffer[ERROR_TEXT_MAX], const char *format, va_list args)
    __attribute__((format(printf, 2, 0)));

static struct slice print_text(char buffer[ERROR_TEXT_MAX], const char *format, va_list args)
{
    const int printed = vsnprintf(buffer, ERROR_TEXT_MAX, format, args);
    CHECK(printed >= 0);
    size_t size = (size_t)printed;
    if (size >= ERROR_TEXT_MAX) {
        size = ERROR_TEXT_MAX - 1;
        while (size > 0 && ((uint8_t)buffer[size] & 0xc0) == 0x80)
            size--;
    }
    return slice_of(buffer, size);
}

/* --- requests -------------------------------------------------------------------- */

static size_t request_bytes(const struct service *s)
{
    return sizeof(struct request) + s->opts.extra_bytes;
}

void *service_extra(struct request *r)
{
    return r + 1;
}

static struct request *request_begin(struct service_conn *sc, const struct msg_peek *peek,
                                     size_t frame_bytes)
{
    struct lane *ln = sc->lane;
    struct request *r = ln->pool;
    if (r != NULL) {
        ln->pool = r->next;
        ln->pooled--;
    } else {
        r = mem_zalloc(request_bytes(ln->s));
        arena_init(&r->arena, 0);
    }
    memset(r + 1, 0, ln->s->opts.extra_bytes);
    r->correlation_id = peek->correlation_id;
    r->api = peek->body_field;
    r->frame_bytes = (uint32_t)frame_bytes;
    r->client_id = peek->client_id;
    r->arena.limit = ARENA_HANDLER_BYTES;
    r->arena_charged = 0;
    r->begun_us = loop_now_us(ln->loop);
    r->sc = sc;
    r->on_cancel = NULL;
    r->prev = NULL;
    r->next = sc->requests;
    if (r->next != NULL)
        r->next->prev = r;
    sc->requests = r;
    if (++sc->inflight >= ln->s->opts.inflight_max && !sc->is_held && sc->conn != NULL) {
        sc->is_held = true;
        conn_hold(sc->conn);
    }
    return r;
}

static void count_finished(struct lane *ln, const struct request *r, err outcome)
{
    struct row_stats *st = &ln->stats[ln->s->row_of[r->api]];
    const int64_t took = loop_clock_us(ln->loop) - r->begun_us;
    const uint64_t us = took > 0 ? (uint64_t)took : 0;
    size_t bucket = us > 0 ? (size_t)(64 - __builtin_clzll(us)) : 0;
    if (bucket >= SERVICE_LATENCY_BUCKETS)
        bucket = SERVICE_LATENCY_BUCKETS - 1;
    bump(&st->requests, 1);
    bump(&st->errors, outcome != OK);
    bump(&st->bytes_in, r->frame_bytes);
    bump(&st->latency_sum_us, us);
    bump(&st->latency[bucket], 1);
}

static void conn_forget(struct service_conn *sc);

static void relax_conn(struct service_conn *sc)
{
    if (sc->is_held && sc->inflight <= sc->lane->s->opts.inflight_max / 2) {
        sc->is_held = false;
        conn_unhold(sc->conn);
    }
    if (sc->inflight > 0)
        return;
    if (sc->is_busy) {
        sc->is_busy = false;
        conn_unbusy(sc->conn);
    }
    if (sc->is_leaving)
        conn_close_after_flush(sc->conn);
}

void service_finish(struct request *r, err outcome)
{
    struct service_conn *sc = r->sc;
    struct lane *ln = sc->lane;
    DCHECK(loop_is_current(ln->loop));
    count_finished(ln, r, outcome);
    if (r->prev != NULL)
        r->prev->next = r->next;
    else
        sc->requests = r->next;
    if (r->next != NULL)
        r->next->prev = r->prev;
    sc->inflight--;
    if (r->arena_charged > 0)
        atomic_fetch_sub_explicit(&ln->s->arena_bytes, r->arena_charged, memory_order_relaxed);
    if (r->arena.blocks != NULL)
        arena_reset(&r->arena);
    if (r->arena.used > ARENA_KEEP_BYTES)
        arena_deinit(&r->arena);
    if (ln->pooled < POOL_MAX) {
        r->next = ln->pool;
        ln->pool = r;
        ln->pooled++;
    } else {
        arena_deinit(&r->arena);
        mem_free(r);
    }
    if (sc->conn != NULL)
        relax_conn(sc);
    else if (sc->inflight == 0)
        conn_forget(sc);
}

struct loop *service_loop(const struct request *r)
{
    return r->sc->lane->loop;
}

size_t service_loop_index(const struct request *r)
{
    return r->sc->lane->index;
}

struct conn *service_conn(const struct request *r)
{
    struct conn *c = r->sc->conn;
    return c != NULL && !conn_is_closing(c) ? c : NULL;
}

const struct address *service_peer(const struct request *r)
{
    return &r->sc->peer;
}

const char *service_listener(const struct request *r)
{
    return r->sc->listener;
}

void service_on_cancel(struct request *r, void (*fn)(void *arg, struct request *r), void *arg)
{
    r->on_cancel = fn;
    r->cancel_arg = arg;
}

/* A cancelled request may be finished at once, and others with it: begin anew after each. */
static void cancel_requests(struct service_conn *sc)
{
    for (;;) {
        struct request *r = sc->requests;
        while (r != NULL && r->on_cancel == NULL)
            r = r->next;
        if (r == NULL)
            return;
        void (*fn)(void *arg, struct request *r) = r->on_cancel;
        r->on_cancel = NULL;
        fn(r->cancel_arg, r);
    }
}

/* --- replies --------------------------------------------------------------------- */

void service_reply_message(struct request *r, const void *message)
{
    struct conn *c = service_conn(r);
    const size_t size = protobuf_c_message_get_packed_size(message);
    if (size > FRAME_BYTES_MAX - 64) {
        service_reply_error(r, E_INVALID_REQUEST,
                            "the answer would have %zu bytes, more than a frame may have (%d): ask "
                            "for less at once",
                            size, FRAME_BYTES_MAX);
        return;
    }
    if (c != NULL) {
        const size_t head = frame_response_head_size(r->correlation_id, r->api, size);
        uint8_t *p = conn_write_space(c, head + size);
        p = frame_response_head_write(p, r->correlation_id, r->api, size);
        protobuf_c_message_pack(message, p);
    }
    service_finish(r, OK);
}

void service_reply_error(struct request *r, err e, const char *format, ...)
{
    CHECK(e != OK);
    struct conn *c = service_conn(r);
    if (c != NULL) {
        char buffer[ERROR_TEXT_MAX];
        va_list args;
        va_start(args, format);
        write_error(c, r->correlation_id, e, print_text(buffer, format, args));
        va_end(args);
    }
    service_finish(r, e);
}

/* Appends a length-delimited field. */
static uint8_t *write_field(uint8_t *p, uint32_t number, struct slice bytes)
{
    p = write_varint(write_tag(p, number, 2), bytes.size);
    return write_bytes(p, bytes.data, bytes.size);
}

static size_t field_size(uint32_t number, struct slice bytes)
{
    return varint_size((uint64_t)number << 3) + varint_size(bytes.size) + bytes.size;
}

void service_reply_forwarded(struct request *r, const struct msg_peek *response)
{
    struct conn *c = service_conn(r);
    const bool failed = response->error.size > 0;
    if (c != NULL) {
        const uint32_t number = failed ? 2 : response->body_field;
        const struct slice bytes = failed ? response->error : response->body;
        const size_t size = 1 + varint_size(r->correlation_id) + field_size(number, bytes);
        uint8_t *p = conn_write_space(c, FRAME_PREFIX_SIZE + size);
        p = frame_write_length(p, size);
        p = write_varint(write_tag(p, 1, 0), r->correlation_id);
        write_field(p, number, bytes);
    }
    service_finish(r, failed ? E_UNKNOWN : OK);
}

/* --- frames in ------------------------------------------------------------------- */

/* Answered without a handler. */
static void refuse(struct service_conn *sc, uint64_t correlation_id, err e, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

static void refuse(struct service_conn *sc, uint64_t correlation_id, err e, const char *format, ...)
{
    char buffer[ERROR_TEXT_MAX];
    va_list args;
    va_start(args, format);
    write_error(sc->conn, correlation_id, e, print_text(buffer, format, args));
    va_end(args);
    bump(&sc->lane->refused, 1);
    if (err_class(e) == CLASS_FATAL)
        conn_close_after_flush(sc->conn);
}

static void answer_hello(struct service_conn *sc, const struct msg_peek *peek, uint32_t version)
{
    const struct service *s = sc->lane->s;
    Sluice__HelloResponse hello = SLUICE__HELLO_RESPONSE__INIT;
    char software[] = "sluice " SLUICE_VERSION;
    hello.has_version = 1;
    hello.version = version;
    hello.software = software;
    hello.has_frame_bytes_max = 1;
    hello.frame_bytes_max = (uint32_t)s->opts.limits.frame_bytes_max;
    s->opts.fill_hello(s->opts.user, &hello);
    const size_t size = protobuf_c_message_get_packed_size(&hello.base);
    const size_t head = frame_response_head_size(peek->correlation_id, API_HELLO, size);
    uint8_t *p = conn_write_space(sc->conn, head + size);
    p = frame_response_head_write(p, peek->correlation_id, API_HELLO, size);
    protobuf_c_message_pack(&hello.base, p);
}

static void take_hello(struct service_conn *sc, const struct msg_peek *peek)
{
    struct lane *ln = sc->lane;
    if (sc->said_hello) {
        refuse(sc, peek->correlation_id, E_INVALID_REQUEST, "Hello was said on this connection");
        return;
    }
    void *message;
    const char *what;
    arena_reset(&ln->hello_arena);
    if (msg_unpack(&sluice__hello_request__descriptor, peek->body, &ln->hello_arena, &message,
                   &what) != OK) {
        refuse(sc, peek->correlation_id, E_INVALID_REQUEST, "Hello: %s", what);
        conn_close_after_flush(sc->conn);
        return;
    }
    const Sluice__HelloRequest *hello = message;
    const uint32_t least = hello->has_min_version ? hello->min_version : PROTOCOL_VERSION_MIN;
    const uint32_t most = hello->has_max_version ? hello->max_version : least;
    if (least > PROTOCOL_VERSION_MAX || most < PROTOCOL_VERSION_MIN || least > most) {
        refuse(sc, peek->correlation_id, E_UNSUPPORTED_VERSION,
               "protocol versions %u to %u are asked for, this server speaks %d to %d", least, most,
               PROTOCOL_VERSION_MIN, PROTOCOL_VERSION_MAX);
        return;
    }
    sc->said_hello = true;
    timer_stop(ln->loop, &sc->hello_deadline);
    conn_set_frame_bytes_max(sc->conn, ln->s->opts.limits.frame_bytes_max);
    answer_hello(sc, peek, most < PROTOCOL_VERSION_MAX ? most : PROTOCOL_VERSION_MAX);
}

/* NULL: refused. */
static const struct service_api *admit(struct service_conn *sc, const struct msg_peek *peek,
                                       size_t size)
{
    const struct service *s = sc->lane->s;
    const uint32_t api = peek->body_field;
    const uint64_t id = peek->correlation_id;
    if (!sc->said_hello) {
        refuse(sc, id, E_NO_HELLO, "the first request of a connection must be Hello");
        return NULL;
    }
    if (api == 0) {
        refuse(sc, id, E_INVALID_REQUEST, "the request has no body");
        return NULL;
    }
    if (api >= API_END) {
        refuse(sc, id, E_INVALID_REQUEST, "body field %u is no request of protocol version %d", api,
               PROTOCOL_VERSION_MAX);
        return NULL;
    }
    if (s->row_of[api] == NO_ROW) {
        refuse(sc, id, E_WRONG_ROLE, "%s: %s",
               api_name(api) != NULL ? api_name(api) : "this request", s->opts.elsewhere);
        return NULL;
    }
    const struct service_api *row = &s->opts.apis[s->row_of[api]];
    if (size > row->frame_bytes_max) {
        refuse(sc, id, E_INVALID_REQUEST, "a %s request of %zu bytes; the limit is %zu",
               api_name(api), size, row->frame_bytes_max);
        return NULL;
    }
    if (sc->lane->is_stopping) {
        refuse(sc, id, E_SHUTTING_DOWN, "this server is shutting down");
        return NULL;
    }
    return row;
}

/* Into the request's arena, charged against what all requests may hold. */
static void take_message(const struct service_api *row, struct request *r, struct slice body)
{
    struct service *s = r->sc->lane->s;
    if (atomic_load_explicit(&s->arena_bytes, memory_order_relaxed) >= s->opts.arena_bytes_max) {
        service_reply_error(r, E_OVERLOADED, "the requests under way hold %zu bytes of memory",
                            s->opts.arena_bytes_max);
        return;
    }
    void *message;
    const char *what;
    const size_t affordable = ARENA_PER_FRAME_BYTE * body.size;
    r->arena.limit = affordable > ARENA_BYTES_MIN ? affordable : ARENA_BYTES_MIN;
    const err e = msg_unpack(row->request, body, &r->arena, &message, &what);
    r->arena.limit = ARENA_HANDLER_BYTES;
    r->arena_charged = r->arena.used;
    atomic_fetch_add_explicit(&s->arena_bytes, r->arena_charged, memory_order_relaxed);
    if (e != OK) {
        service_reply_error(r, e, "%s request: %s", api_name(r->api), what);
        return;
    }
    row->handle(s->opts.user, r, message);
}

static void on_frame(struct conn *c, uint8_t *data, size_t size)
{
    struct service_conn *sc = conn_user(c);
    struct msg_peek peek;
    if (msg_peek_request(slice_of(data, size), &peek) != OK) {
        refuse(sc, 0, E_INVALID_REQUEST, "a frame of %zu bytes is not a Request", size);
        conn_close_after_flush(c);
        return;
    }
    if (peek.body_field == API_HELLO) {
        take_hello(sc, &peek);
        return;
    }
    const struct service_api *row = admit(sc, &peek, size);
    if (row == NULL)
        return;
    struct request *r = request_begin(sc, &peek, size);
    if (row->request == NULL)
        row->handle_raw(sc->lane->s->opts.user, r, peek.body);
    else
        take_message(row, r, peek.body);
}

static void on_frames_end(struct conn *c)
{
    struct service_conn *sc = conn_user(c);
    const struct service *s = sc->lane->s;
    if (s->opts.on_frames_end != NULL)
        s->opts.on_frames_end(s->opts.user, sc->lane->index);
    if (sc->inflight > 0 && !sc->is_busy) {
        sc->is_busy = true;
        conn_busy(c);
    }
}

/* --- connections ----------------------------------------------------------------- */

static void lane_stopped(struct mail *m);

static void conn_forget(struct service_conn *sc)
{
    struct lane *ln = sc->lane;
    atomic_fetch_sub_explicit(&ln->s->connections, 1, memory_order_relaxed);
    if (sc->prev != NULL)
        sc->prev->next = sc->next;
    else
        ln->conns = sc->next;
    if (sc->next != NULL)
        sc->next->prev = sc->prev;
    mem_free(sc);
    if (ln->is_stopping && ln->conns == NULL) {
        timer_stop(ln->loop, &ln->stop_grace);
        ln->stopped.fn = lane_stopped;
        loop_post(ln->s->lanes[0].loop, &ln->stopped);
    }
}

static void on_closed(struct conn *c, err why)
{
    (void)why;
    struct service_conn *sc = conn_user(c);
    timer_stop(sc->lane->loop, &sc->hello_deadline);
    sc->conn = NULL;
    sc->inflight++; /* holds sc while others are told */
    cancel_requests(sc);
    if (--sc->inflight == 0)
        conn_forget(sc);
}

static void hello_is_late(void *arg)
{
    struct service_conn *sc = arg;
    bump(&sc->lane->refused, 1);
    conn_close(sc->conn);
}

static struct lane *lane_of(struct service *s, const struct loop *l)
{
    size_t i = 0;
    while (s->lanes[i].loop != l)
        i++;
    CHECK(i < s->opts.loop_count);
    return &s->lanes[i];
}

static void on_accept(void *user, struct conn *c)
{
    struct service_listener *sl = user;
    struct service_conn *sc = MEM_NEW(struct service_conn);
    struct lane *ln = lane_of(sl->s, conn_loop(c));
    sc->conn = c;
    sc->lane = ln;
    sc->listener = sl->name;
    sc->peer = *conn_peer(c);
    sc->next = ln->conns;
    if (sc->next != NULL)
        sc->next->prev = sc;
    ln->conns = sc;
    conn_set_user(c, sc);
    atomic_fetch_add_explicit(&sl->s->connections, 1, memory_order_relaxed);
    if (sl->s->opts.hello_us > 0)
        timer_start(ln->loop, &sc->hello_deadline, sl->s->opts.hello_us, hello_is_late, sc);
}

/* --- life ------------------------------------------------------------------------ */

void service_opts_init(struct service_opts *opts)
{
    *opts = (struct service_opts){
        .elsewhere = "this server does not answer it",
        .inflight_max = 1024,
        .arena_bytes_max = 256 * (size_t)MIB,
        .hello_us = 5 * 1000000,
        .limits = {.frame_bytes_max = CONTROL_FRAME_BYTES_MAX,
                   .out_bytes_max = 4 * MIB,
                   .idle_us = 10 * 60 * INT64_C(1000000),
                   .assembly_us = 30 * 1000000,
                   .write_stall_us = 30 * 1000000},
    };
}

struct service *service_new(const struct service_opts *opts)
{
    CHECK(opts->loop_count > 0);
    CHECK(opts->inflight_max > 0);
    CHECK(opts->fill_hello != NULL);
    CHECK(opts->api_count < NO_ROW);
    struct service *s = mem_zalloc(sizeof *s + opts->loop_count * sizeof s->lanes[0]);
    s->opts = *opts;
    s->opts.extra_bytes = (opts->extra_bytes + 15) / 16 * 16;
    s->limits = opts->limits;
    s->limits.frame_bytes_max = FRAME_BYTES_BEFORE_HELLO;
    s->handler = (struct conn_handler){
        .on_frame = on_frame, .on_frames_end = on_frames_end, .on_closed = on_closed};
    memset(s->row_of, NO_ROW, sizeof s->row_of);
    for (size_t i = 0; i < opts->api_count; i++) {
        CHECK(opts->apis[i].api > API_HELLO);
        CHECK(opts->apis[i].api < API_END);
        s->row_of[opts->apis[i].api] = (uint8_t)i;
    }
    for (size_t i = 0; i < opts->loop_count; i++) {
        struct lane *ln = &s->lanes[i];
        ln->s = s;
        ln->loop = opts->loops[i];
        ln->index = i;
        ln->stats = mem_zalloc((opts->api_count + 1) * sizeof ln->stats[0]);
        arena_init(&ln->hello_arena, HELLO_ARENA_BYTES);
    }
    return s;
}

err service_listen(struct service *s, const char *name, const struct address *at,
                   struct address *bound)
{
    struct service_listener *sl = MEM_NEW(struct service_listener);
    sl->s = s;
    sl->name = name;
    const struct listener_opts opts = {
        .loops = s->opts.loops,
        .loop_count = s->opts.loop_count,
        .handler = &s->handler,
        .limits = &s->limits,
        .on_accept = on_accept,
        .user = sl,
        .connections_max = s->opts.connections_max,
        .connections_per_address_max = s->opts.connections_per_address_max,
    };
    const err e = listener_open(s->opts.loops[0], at, &opts, &sl->listener, bound);
    if (e != OK) {
        mem_free(sl);
        return e;
    }
    sl->next = s->listeners;
    s->listeners = sl;
    return OK;
}

static void lane_stopped(struct mail *m)
{
    struct lane *ln = (struct lane *)((char *)m - offsetof(struct lane, stopped));
    struct service *s = ln->s;
    if (--s->lanes_running == 0 && s->opts.on_stopped != NULL)
        s->opts.on_stopped(s->opts.user);
}

/* Peers that do not take what is queued for them do not hold up a stop for ever. */
static void on_stop_grace(void *arg)
{
    struct lane *ln = arg;
    for (struct service_conn *sc = ln->conns; sc != NULL; sc = sc->next)
        if (sc->conn != NULL)
            conn_close(sc->conn);
}

static void stop_lane(struct mail *m)
{
    struct lane *ln = (struct lane *)((char *)m - offsetof(struct lane, stop));
    ln->is_stopping = true;
    if (ln->conns == NULL) {
        ln->stopped.fn = lane_stopped;
        loop_post(ln->s->lanes[0].loop, &ln->stopped);
        return;
    }
    for (struct service_conn *sc = ln->conns, *next; sc != NULL; sc = next) {
        next = sc->next;
        if (sc->conn == NULL)
            continue;
        cancel_requests(sc);
        sc->is_leaving = true;
        if (sc->inflight > 0)
            continue;
        /* Who is owed nothing is not waited for. */
        if (conn_out_bytes(sc->conn) > 0)
            conn_close_after_flush(sc->conn);
        else
            conn_close(sc->conn);
    }
    timer_start(ln->loop, &ln->stop_grace, STOP_GRACE_US, on_stop_grace, ln);
}

void service_stop(struct service *s)
{
    if (s->is_stopping)
        return;
    s->is_stopping = true;
    for (struct service_listener *sl = s->listeners; sl != NULL; sl = sl->next)
        listener_close(sl->listener);
    s->lanes_running = s->opts.loop_count;
    for (size_t i = 0; i < s->opts.loop_count; i++) {
        s->lanes[i].stop.fn = stop_lane;
        loop_post(s->lanes[i].loop, &s->lanes[i].stop);
    }
}

static void lane_deinit(struct lane *ln)
{
    while (ln->pool != NULL) {
        struct request *r = ln->pool;
        ln->pool = r->next;
        arena_deinit(&r->arena);
        mem_free(r);
    }
    arena_deinit(&ln->hello_arena);
    mem_free(ln->stats);
}

void service_free(struct service *s)
{
    for (struct service_listener *sl = s->listeners, *next; sl != NULL; sl = next) {
        next = sl->next;
        if (!s->is_stopping)
            listener_close(sl->listener);
        mem_free(sl);
    }
    for (size_t i = 0; i < s->opts.loop_count; i++)
        lane_deinit(&s->lanes[i]);
    mem_free(s);
}

/* --- statistics ------------------------------------------------------------------ */

static uint64_t get(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

void service_stats(const struct service *s, size_t row, struct service_stats *out)
{
    CHECK(row < s->opts.api_count);
    *out = (struct service_stats){0};
    for (size_t i = 0; i < s->opts.loop_count; i++) {
        const struct row_stats *st = &s->lanes[i].stats[row];
        out->requests += get(&st->requests);
        out->errors += get(&st->errors);
        out->bytes_in += get(&st->bytes_in);
        out->latency_sum_us += get(&st->latency_sum_us);
        for (size_t b = 0; b < SERVICE_LATENCY_BUCKETS; b++)
            out->latency[b] += get(&st->latency[b]);
    }
}

size_t service_connections(const struct service *s)
{
    return atomic_load_explicit(&s->connections, memory_order_relaxed);
}

uint64_t service_refused(const struct service *s)
{
    uint64_t count = 0;
    for (const struct service_listener *sl = s->listeners; !s->is_stopping && sl != NULL;
         sl = sl->next)
        count += listener_refused(sl->listener);
    for (size_t i = 0; i < s->opts.loop_count; i++)
        count += get(&s->lanes[i].refused);
    return count;
}
