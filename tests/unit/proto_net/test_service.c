/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/proto_net/net.h"

#include "proto/base/limits.h"
#include "proto/net/service.h"
#include "proto/schema/request.pb-c.h"
#include "proto/wire/frame.h"

/* --- a server with one raw api and one of messages ------------------------------------ */

enum { PARKED_MAX = 64 };

struct server {
    struct net *n;
    struct service *s;
    struct service_opts opts;
    struct address at;
    bool is_stopped;
    struct request *parked[PARKED_MAX];
    size_t parked_count;
    unsigned raw, messages, ends, cancelled;
    bool parks, finishes_on_cancel;
    struct slice raw_bodies[PARKED_MAX]; /* valid until the frames' end */
    size_t raw_at_end;
    char seen[64];
};

static void fill_hello(void *user, Sluice__HelloResponse *hello)
{
    (void)user;
    hello->role = (char *)(uintptr_t) "tester";
}

static void on_cancel(void *arg, struct request *r)
{
    struct server *sv = arg;
    sv->cancelled++;
    if (!sv->finishes_on_cancel)
        return;
    for (size_t i = 0; i < sv->parked_count; i++)
        if (sv->parked[i] == r)
            sv->parked[i] = NULL;
    service_reply_error(r, E_SHUTTING_DOWN, "over");
}

static void park(struct server *sv, struct request *r)
{
    assert_true(sv->parked_count < PARKED_MAX);
    sv->parked[sv->parked_count++] = r;
    service_on_cancel(r, on_cancel, sv);
}

static void handle_raw(void *user, struct request *r, struct slice body)
{
    struct server *sv = user;
    uint32_t *extra = service_extra(r);
    assert_int_equal(*extra, 0); /* zeroed for every request */
    *extra = 77;
    sv->raw++;
    if (sv->parks) {
        park(sv, r);
        return;
    }
    if (sv->raw_at_end < PARKED_MAX)
        sv->raw_bodies[sv->raw_at_end++] = body;
    sv->parked[sv->parked_count++] = r;
}

/* Answers what one wake-up brought: its bodies are still there. */
static void on_frames_end(void *user, size_t index)
{
    struct server *sv = user;
    assert_int_equal(index, 0);
    sv->ends++;
    if (sv->parks)
        return;
    for (size_t i = 0; i < sv->raw_at_end; i++) {
        assert_slice_equal(sv->raw_bodies[i], slice_str("\x08\x01"));
        struct request *r = sv->parked[i];
        service_reply_forwarded(
            r, &(struct msg_peek){.body_field = r->api, .body = slice_of("\x0a\x00", 2)});
    }
    sv->raw_at_end = 0;
    sv->parked_count = 0;
}

static void handle_message(void *user, struct request *r, const void *message)
{
    struct server *sv = user;
    const Sluice__MetadataRequest *req = message;
    sv->messages++;
    snprintf(sv->seen, sizeof sv->seen, "%.*s %s %s", (int)r->client_id.size,
             (const char *)r->client_id.data, req->n_topic > 0 ? req->topic[0] : "",
             service_listener(r));
    if (sv->parks) {
        park(sv, r);
        return;
    }
    if (req->n_topic > 0 && strcmp(req->topic[0], "bad") == 0) {
        service_reply_error(r, E_INVALID_TOPIC, "topic %s is %s", req->topic[0], "bad");
        return;
    }
    Sluice__MetadataResponse res = SLUICE__METADATA_RESPONSE__INIT;
    res.has_version = 1;
    res.version = 42;
    service_reply_message(r, &res);
}

static const struct service_api apis[] = {
    {.api = API_PRODUCE, .frame_bytes_max = 64 * KIB, .handle_raw = handle_raw},
    {.api = API_METADATA,
     .frame_bytes_max = 1000,
     .request = &sluice__metadata_request__descriptor,
     .handle = handle_message},
};

static void on_stopped(void *user)
{
    struct server *sv = user;
    sv->is_stopped = true;
}

static void server_prepare(struct server *sv, struct net *n)
{
    *sv = (struct server){.n = n, .finishes_on_cancel = true};
    service_opts_init(&sv->opts);
    sv->opts.loops = &n->l;
    sv->opts.loop_count = 1;
    sv->opts.apis = apis;
    sv->opts.api_count = 2;
    sv->opts.user = sv;
    sv->opts.fill_hello = fill_hello;
    sv->opts.on_frames_end = on_frames_end;
    sv->opts.on_stopped = on_stopped;
    sv->opts.elsewhere = "ask the moon";
    sv->opts.extra_bytes = sizeof(uint32_t);
    sv->opts.limits.frame_bytes_max = 100 * KIB;
}

static void server_open(struct server *sv)
{
    const struct address at = {.host = "127.0.0.1"};
    sv->s = service_new(&sv->opts);
    assert_ok(service_listen(sv->s, "LISTENER", &at, &sv->at));
}

static void server_start(struct server *sv, struct net *n)
{
    server_prepare(sv, n);
    server_open(sv);
}

static void server_stop(struct server *sv)
{
    service_stop(sv->s);
    net_until(sv->n, sv->is_stopped);
    service_free(sv->s);
}

/* The server closed it. */
static bool is_gone(const struct peer *p)
{
    return p->s == NULL || p->has_ended || p->is_broken;
}

/* --- a client ---------------------------------------------------------------------------- */

static void send_request(struct peer *p, const Sluice__Request *request)
{
    struct buf b = {0};
    uint8_t prefix[FRAME_PREFIX_SIZE];
    msg_pack(request, &b);
    frame_write_length(prefix, b.size);
    peer_send(p, prefix, sizeof prefix);
    peer_send(p, b.data, b.size);
    buf_deinit(&b);
}

static void send_hello(struct peer *p, uint32_t least, uint32_t most)
{
    Sluice__Request request = SLUICE__REQUEST__INIT;
    Sluice__HelloRequest hello = SLUICE__HELLO_REQUEST__INIT;
    hello.has_min_version = hello.has_max_version = 1;
    hello.min_version = least;
    hello.max_version = most;
    request.has_correlation_id = 1;
    request.correlation_id = 1;
    request.body_case = SLUICE__REQUEST__BODY_HELLO;
    request.hello = &hello;
    send_request(p, &request);
}

static void send_metadata(struct peer *p, uint64_t id, const char *topic)
{
    Sluice__Request request = SLUICE__REQUEST__INIT;
    Sluice__MetadataRequest metadata = SLUICE__METADATA_REQUEST__INIT;
    char *topics[] = {(char *)(uintptr_t)topic};
    metadata.n_topic = topic != NULL;
    metadata.topic = topics;
    request.has_correlation_id = 1;
    request.correlation_id = id;
    request.client_id = (char *)(uintptr_t) "me";
    request.body_case = SLUICE__REQUEST__BODY_METADATA;
    request.metadata = &metadata;
    send_request(p, &request);
}

static void send_produce(struct peer *p, uint64_t id)
{
    Sluice__Request request = SLUICE__REQUEST__INIT;
    Sluice__ProduceRequest produce = SLUICE__PRODUCE_REQUEST__INIT;
    produce.has_acks = 1;
    produce.acks = 1;
    request.has_correlation_id = 1;
    request.correlation_id = id;
    request.body_case = SLUICE__REQUEST__BODY_PRODUCE;
    request.produce = &produce;
    send_request(p, &request);
}

/* The first answer that has come, taken out; NULL: none. Freed by the caller. */
static Sluice__Response *take_answer(struct peer *p)
{
    size_t length;
    if (frame_read_length(buf_slice(&p->got), SIZE_MAX, &length) != OK ||
        p->got.size < FRAME_PREFIX_SIZE + length)
        return NULL;
    Sluice__Response *res = sluice__response__unpack(NULL, length, p->got.data + FRAME_PREFIX_SIZE);
    assert_non_null(res);
    const size_t whole = FRAME_PREFIX_SIZE + length;
    memmove(p->got.data, p->got.data + whole, p->got.size - whole);
    p->got.size -= whole;
    return res;
}

static Sluice__Response *wait_answer(struct net *n, struct peer *p)
{
    Sluice__Response *res = NULL;
    net_until(n, (res = take_answer(p)) != NULL);
    return res;
}

static void expect_error(struct net *n, struct peer *p, uint64_t id, err e, const char *phrase)
{
    Sluice__Response *res = wait_answer(n, p);
    assert_int_equal(res->correlation_id, id);
    assert_non_null(res->error);
    assert_err(err_from_wire(res->error->code), e);
    assert_int_equal(res->error->class_, err_wire_class(e));
    assert_non_null(strstr(res->error->message, phrase));
    sluice__response__free_unpacked(res, NULL);
}

static void connect_and_greet(struct server *sv, struct peer *p)
{
    peer_connect(sv->n, p, &sv->at);
    send_hello(p, 1, 1);
    Sluice__Response *res = wait_answer(sv->n, p);
    assert_int_equal(res->body_case, SLUICE__RESPONSE__BODY_HELLO);
    assert_int_equal(res->hello->version, 1);
    assert_string_equal(res->hello->role, "tester");
    assert_int_equal(res->hello->frame_bytes_max, 100 * KIB);
    sluice__response__free_unpacked(res, NULL);
}

/* --- tests --------------------------------------------------------------------------------- */

static void requests_are_answered(void **state)
{
    struct net *n = *state;
    struct server sv;
    struct peer p;
    server_start(&sv, n);
    connect_and_greet(&sv, &p);
    send_metadata(&p, UINT64_MAX, "orders");
    Sluice__Response *res = wait_answer(n, &p);
    assert_true(res->correlation_id == UINT64_MAX);
    assert_int_equal(res->body_case, SLUICE__RESPONSE__BODY_METADATA);
    assert_int_equal(res->metadata->version, 42);
    assert_string_equal(sv.seen, "me orders LISTENER");
    sluice__response__free_unpacked(res, NULL);
    send_metadata(&p, 8, "bad");
    expect_error(n, &p, 8, E_INVALID_TOPIC, "topic bad is bad");
    struct service_stats st;
    service_stats(sv.s, 1, &st);
    assert_int_equal(st.requests, 2);
    assert_int_equal(st.errors, 1);
    assert_int_equal(service_connections(sv.s), 1);
    assert_int_equal(service_refused(sv.s), 0);
    peer_close(&p);
    server_stop(&sv);
}

static void raw_bodies_of_one_wake_up_are_there_until_its_end(void **state)
{
    struct net *n = *state;
    struct server sv;
    struct peer p;
    server_start(&sv, n);
    connect_and_greet(&sv, &p);
    const unsigned ends = sv.ends;
    for (uint64_t id = 10; id < 30; id++)
        send_produce(&p, id);
    for (uint64_t id = 10; id < 30; id++) {
        Sluice__Response *res = wait_answer(n, &p);
        assert_int_equal(res->correlation_id, id);
        assert_int_equal(res->body_case, SLUICE__RESPONSE__BODY_PRODUCE);
        sluice__response__free_unpacked(res, NULL);
    }
    assert_int_equal(sv.raw, 20);
    assert_true(sv.ends - ends < 20);
    peer_close(&p);
    server_stop(&sv);
}

static void hello_comes_first(void **state)
{
    struct net *n = *state;
    struct server sv;
    struct peer p;
    server_start(&sv, n);
    peer_connect(n, &p, &sv.at);
    send_metadata(&p, 5, NULL);
    expect_error(n, &p, 5, E_NO_HELLO, "Hello");
    net_until(n, is_gone(&p));
    assert_int_equal(sv.messages, 0);
    peer_close(&p);
    connect_and_greet(&sv, &p);
    send_hello(&p, 1, 1);
    expect_error(n, &p, 1, E_INVALID_REQUEST, "Hello");
    send_metadata(&p, 6, NULL);
    sluice__response__free_unpacked(wait_answer(n, &p), NULL);
    peer_close(&p);
    server_stop(&sv);
}

static void versions_must_meet(void **state)
{
    struct net *n = *state;
    struct server sv;
    static const struct {
        uint32_t least, most;
        bool meets;
    } rows[] = {{1, 9, true},  {0, 1, true},  {2, 3, false},
                {0, 0, false}, {3, 1, false}, {0, UINT32_MAX, true}};
    server_start(&sv, n);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct peer p;
        peer_connect(n, &p, &sv.at);
        send_hello(&p, rows[i].least, rows[i].most);
        if (rows[i].meets) {
            Sluice__Response *res = wait_answer(n, &p);
            assert_null(res->error);
            assert_int_equal(res->hello->version, 1);
            sluice__response__free_unpacked(res, NULL);
        } else {
            expect_error(n, &p, 1, E_UNSUPPORTED_VERSION, "1 to 1");
            net_until(n, is_gone(&p));
        }
        peer_close(&p);
    }
    server_stop(&sv);
}

static void what_the_server_does_not_serve_is_refused_with_a_sentence(void **state)
{
    struct net *n = *state;
    struct server sv;
    struct peer p;
    server_start(&sv, n);
    connect_and_greet(&sv, &p);
    Sluice__Request request = SLUICE__REQUEST__INIT;
    Sluice__FetchRequest fetch = SLUICE__FETCH_REQUEST__INIT;
    request.has_correlation_id = 1;
    request.correlation_id = 3;
    send_request(&p, &request);
    expect_error(n, &p, 3, E_INVALID_REQUEST, "no body");
    request.body_case = SLUICE__REQUEST__BODY_FETCH;
    request.fetch = &fetch;
    send_request(&p, &request);
    expect_error(n, &p, 3, E_WRONG_ROLE, "fetch: ask the moon");
    const uint8_t unknown[] = {0, 0, 0, 6, 0x08, 4, 0xfa, 0x3f, 1, 0}; /* body 1023 */
    peer_send(&p, unknown, sizeof unknown);
    expect_error(n, &p, 4, E_INVALID_REQUEST, "1023");
    send_metadata(&p, 9, NULL); /* the connection goes on */
    sluice__response__free_unpacked(wait_answer(n, &p), NULL);
    assert_int_equal(service_refused(sv.s), 3);
    peer_close(&p);
    server_stop(&sv);
}

static void limits_of_frames_hold(void **state)
{
    struct net *n = *state;
    struct server sv;
    struct peer p;
    char topic[2000];
    server_start(&sv, n);
    memset(topic, 't', sizeof topic);
    topic[sizeof topic - 1] = '\0';
    connect_and_greet(&sv, &p);
    send_metadata(&p, 2, topic);
    expect_error(n, &p, 2, E_INVALID_REQUEST, "1000");
    assert_int_equal(sv.messages, 0);
    const uint8_t too_long[] = {0x7f, 0xff, 0xff, 0xff};
    peer_send(&p, too_long, sizeof too_long);
    net_until(n, is_gone(&p));
    peer_close(&p);
    peer_connect(n, &p, &sv.at);
    const uint8_t before_hello[] = {0, 0, 0x10, 1}; /* 4097 */
    peer_send(&p, before_hello, sizeof before_hello);
    net_until(n, is_gone(&p));
    peer_close(&p);
    server_stop(&sv);
}

static void rubbish_is_answered_and_closed(void **state)
{
    struct net *n = *state;
    struct server sv;
    static const struct {
        const char *bytes;
        size_t size;
    } rows[] = {
        {"GET / HTTP/1.1\r\n\r\n", 18},      {"\0\0\0\0", 4},
        {"\0\0\0\3\xff\xff\xff", 7},         {"\0\0\0\6\x08\x01\x52\x05\xff\xff", 10},
        {"\0\0\0\5\x52\x03\x0a\x01\x0a", 9}, {"\x16\x03\x01\x02\x00\x01\x00", 7},
    };
    server_start(&sv, n);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct peer p;
        peer_connect(n, &p, &sv.at);
        peer_send(&p, rows[i].bytes, rows[i].size);
        net_until(n, is_gone(&p));
        peer_close(&p);
    }
    struct peer p;
    connect_and_greet(&sv, &p);
    peer_close(&p);
    server_stop(&sv);
}

static void messages_that_do_not_pass_the_scan_are_refused(void **state)
{
    struct net *n = *state;
    struct server sv;
    struct peer p;
    server_start(&sv, n);
    connect_and_greet(&sv, &p);
    /* metadata { all_topics twice } */
    const uint8_t twice[] = {0, 0, 0, 8, 0x08, 7, 0x72, 4, 0x18, 1, 0x18, 1};
    peer_send(&p, twice, sizeof twice);
    expect_error(n, &p, 7, E_INVALID_REQUEST, "twice");
    assert_int_equal(sv.messages, 0);
    peer_close(&p);
    server_stop(&sv);
}

static void a_parked_request_is_answered_later_and_keeps_the_connection(void **state)
{
    struct net *n = *state;
    struct server sv;
    struct peer p;
    server_prepare(&sv, n);
    sv.opts.limits.idle_us = 20000;
    sv.parks = true;
    server_open(&sv);
    connect_and_greet(&sv, &p);
    send_metadata(&p, 5, "orders");
    net_until(n, sv.parked_count == 1);
    if (n->w)
        fake_world_run(n->w, 200000);
    sv.parks = false;
    send_metadata(&p, 6, NULL);
    Sluice__Response *res = wait_answer(n, &p);
    assert_int_equal(res->correlation_id, 6); /* it overtakes the parked one */
    sluice__response__free_unpacked(res, NULL);
    struct request *r = sv.parked[0];
    assert_non_null(service_conn(r));
    Sluice__MetadataResponse answer = SLUICE__METADATA_RESPONSE__INIT;
    service_reply_message(r, &answer);
    res = wait_answer(n, &p);
    assert_int_equal(res->correlation_id, 5);
    sluice__response__free_unpacked(res, NULL);
    net_until(n, is_gone(&p)); /* idle now */
    peer_close(&p);
    server_stop(&sv);
}

static void a_request_outlives_its_connection(void **state)
{
    struct net *n = *state;
    struct server sv;
    struct peer p;
    server_start(&sv, n);
    sv.parks = true;
    sv.finishes_on_cancel = false;
    connect_and_greet(&sv, &p);
    send_metadata(&p, 5, "orders");
    send_produce(&p, 6);
    net_until(n, sv.parked_count == 2);
    peer_close(&p);
    net_until(n, sv.cancelled == 2);
    net_some_turns(n);
    assert_int_equal(sv.cancelled, 2);
    assert_int_equal(service_connections(sv.s), 1); /* until its requests are finished */
    for (int i = 0; i < 2; i++)
        assert_null(service_conn(sv.parked[i]));
    Sluice__MetadataResponse answer = SLUICE__METADATA_RESPONSE__INIT;
    service_reply_message(sv.parked[0], &answer);
    service_finish(sv.parked[1], OK);
    assert_int_equal(service_connections(sv.s), 0);
    server_stop(&sv);
}

static void a_connection_with_too_many_requests_is_not_read(void **state)
{
    struct net *n = *state;
    struct server sv;
    struct peer p;
    server_prepare(&sv, n);
    sv.opts.inflight_max = 8;
    sv.parks = true;
    server_open(&sv);
    connect_and_greet(&sv, &p);
    for (uint64_t id = 0; id < 20; id++)
        send_metadata(&p, id, NULL);
    net_until(n, sv.parked_count >= 8);
    net_some_turns(n);
    assert_int_equal(sv.parked_count, 8);
    /* At half of it reading goes on. */
    for (size_t i = 0; i < 4; i++)
        service_reply_error(sv.parked[i], E_UNKNOWN, "later");
    net_until(n, sv.parked_count == 12);
    net_some_turns(n);
    assert_int_equal(sv.parked_count, 12);
    sv.parks = false;
    for (size_t i = 4; i < 12; i++)
        service_reply_error(sv.parked[i], E_UNKNOWN, "later");
    sv.parked_count = 0;
    for (int i = 0; i < 20; i++)
        sluice__response__free_unpacked(wait_answer(n, &p), NULL);
    peer_close(&p);
    server_stop(&sv);
}

static void too_much_memory_in_messages_is_refused(void **state)
{
    struct net *n = *state;
    struct server sv;
    struct peer p;
    server_prepare(&sv, n);
    sv.opts.arena_bytes_max = 1;
    sv.parks = true;
    server_open(&sv);
    connect_and_greet(&sv, &p);
    send_metadata(&p, 1, "first");
    net_until(n, sv.parked_count == 1);
    send_metadata(&p, 2, "second");
    expect_error(n, &p, 2, E_OVERLOADED, "memory");
    service_reply_error(sv.parked[0], E_UNKNOWN, "done");
    sv.parked_count = 0;
    expect_error(n, &p, 1, E_UNKNOWN, "done");
    send_metadata(&p, 3, "third");
    net_until(n, sv.parked_count == 1);
    peer_close(&p);
    server_stop(&sv);
}

static void stopping_cancels_and_flushes(void **state)
{
    struct net *n = *state;
    struct server sv;
    struct peer waiting, idle;
    server_start(&sv, n);
    sv.parks = true;
    connect_and_greet(&sv, &waiting);
    connect_and_greet(&sv, &idle);
    send_metadata(&waiting, 5, NULL);
    net_until(n, sv.parked_count == 1);
    service_stop(sv.s);
    expect_error(n, &waiting, 5, E_SHUTTING_DOWN, "over");
    net_until(n, is_gone(&waiting) && is_gone(&idle) && sv.is_stopped);
    struct peer late;
    late = (struct peer){0};
    assert_ok(sock_connect(n->l, &sv.at, peer_events, &late, &late.s));
    net_until(n, late.s == NULL);
    assert_false(late.is_open);
    service_free(sv.s);
    peer_close(&late);
    peer_close(&waiting);
    peer_close(&idle);
}

static void who_does_not_say_hello_in_time_is_closed(void **state)
{
    struct net *n = *state;
    struct server sv;
    struct peer silent, greeted;
    server_prepare(&sv, n);
    sv.opts.hello_us = 30000;
    server_open(&sv);
    connect_and_greet(&sv, &greeted);
    peer_connect(n, &silent, &sv.at);
    net_until(n, is_gone(&silent));
    assert_false(is_gone(&greeted));
    peer_close(&silent);
    peer_close(&greeted);
    server_stop(&sv);
}

static void requests_come_from_a_pool(void **state)
{
    struct net *n = *state;
    struct server sv;
    struct peer p;
    server_start(&sv, n);
    sv.parks = true;
    connect_and_greet(&sv, &p);
    send_produce(&p, 1);
    net_until(n, sv.parked_count == 1);
    struct request *first = sv.parked[0];
    service_finish(first, OK);
    send_produce(&p, 2);
    net_until(n, sv.parked_count == 2);
    assert_ptr_equal(sv.parked[1], first);
    service_finish(first, OK);
    peer_close(&p);
    server_stop(&sv);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        OVER_BOTH(requests_are_answered),
        OVER_BOTH(raw_bodies_of_one_wake_up_are_there_until_its_end),
        OVER_BOTH(hello_comes_first),
        OVER_MEMORY(versions_must_meet),
        OVER_MEMORY(what_the_server_does_not_serve_is_refused_with_a_sentence),
        OVER_MEMORY(limits_of_frames_hold),
        OVER_BOTH(rubbish_is_answered_and_closed),
        OVER_MEMORY(messages_that_do_not_pass_the_scan_are_refused),
        OVER_MEMORY(a_parked_request_is_answered_later_and_keeps_the_connection),
        OVER_BOTH(a_request_outlives_its_connection),
        OVER_MEMORY(a_connection_with_too_many_requests_is_not_read),
        OVER_MEMORY(too_much_memory_in_messages_is_refused),
        OVER_BOTH(stopping_cancels_and_flushes),
        OVER_MEMORY(who_does_not_say_hello_in_time_is_closed),
        OVER_MEMORY(requests_come_from_a_pool),
    };
    return TEST_MAIN(tests, NULL, NULL);
}
