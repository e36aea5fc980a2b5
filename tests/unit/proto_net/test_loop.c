/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/test.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "proto/base/mem.h"
#include "proto/net/exec.h"
#include "proto/net/loop.h"
#include "tests/support/fake_loop.h"

static struct loop *new_loop(const char *name)
{
    struct loop_backend *b;
    assert_ok(loop_epoll_backend(&b));
    return loop_new(b, name);
}

static bool turned(struct loop *l)
{
    loop_turn(l, 1000);
    return true;
}
#define turn_until(l, condition) assert_eventually(turned(l) && (condition), 10000)

/* --- addresses ------------------------------------------------------------ */

static void address_parse_takes_host_port_and_brackets(void **state)
{
    (void)state;
    static const struct {
        const char *text, *host;
        unsigned port;
    } good[] = {{"localhost:9290", "localhost", 9290},
                {"127.0.0.1:0", "127.0.0.1", 0},
                {":65535", "", 65535},
                {"[::1]:80", "::1", 80},
                {"a-b.example:1", "a-b.example", 1}};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct address a;
        char text[ADDRESS_TEXT];
        assert_ok(address_parse(&a, good[i].text, strlen(good[i].text)));
        assert_string_equal(a.host, good[i].host);
        assert_int_equal(a.port, good[i].port);
        assert_string_equal(address_text(&a, text), good[i].text);
    }
}

static void address_parse_refuses_the_rest(void **state)
{
    (void)state;
    static const char *const bad[] = {"",        "host",    "host:",    "host:65536", "host:-1",
                                      "host:1x", "::1:80",  "[::1]",    "[::1",       "[]:1",
                                      "a b:1",   "[::1]80", "h:00001x", "h:123456",   "h\"[:1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct address a = {.port = 7};
        assert_err(address_parse(&a, bad[i], strlen(bad[i])), E_CONFIG);
        assert_int_equal(a.port, 7);
    }
    char longest[400];
    memset(longest, 'h', sizeof longest);
    memcpy(longest + sizeof longest - 3, ":80", 3);
    struct address a;
    assert_err(address_parse(&a, longest, sizeof longest), E_CONFIG);
    assert_ok(address_parse(&a, longest + sizeof longest - 258, 258));
}

/* --- timers --------------------------------------------------------------- */

struct ticking {
    struct timer t;
    struct loop *l;
    int64_t wanted_us;
    bool fired;
    int64_t *last_us;
};

static void on_tick(void *arg)
{
    struct ticking *k = arg;
    assert_false(k->fired);
    assert_false(timer_is_running(&k->t));
    assert_true(k->wanted_us >= *k->last_us);
    assert_true(loop_now_us(k->l) >= k->wanted_us);
    *k->last_us = k->wanted_us;
    k->fired = true;
}

/* Goal: timers fire once, in the order they are due, whatever was stopped and restarted before.
 * Method: a thousand timers, started, restarted and stopped at random, then all awaited. */
static void timers_fire_in_order_of_their_due_time(void **state)
{
    (void)state;
    enum { COUNT = 1000 };
    static struct ticking k[COUNT];
    memset(k, 0, sizeof k);
    struct rng r = test_rng();
    struct loop *l = new_loop("timers");
    int64_t last_us = 0;
    for (int i = 0; i < 5 * COUNT; i++) {
        struct ticking *one = &k[rng_below(&r, COUNT)];
        one->l = l;
        one->last_us = &last_us;
        if (rng_below(&r, 4) == 0) {
            timer_stop(l, &one->t);
            assert_false(timer_is_running(&one->t));
        } else {
            timer_start(l, &one->t, (int64_t)rng_below(&r, 50000), on_tick, one);
            assert_true(timer_is_running(&one->t));
            one->wanted_us = one->t.due_us;
        }
    }
    bool expected[COUNT];
    for (int i = 0; i < COUNT; i++)
        expected[i] = timer_is_running(&k[i].t);
    turn_until(l, loop_next_due_us(l) == INT64_MAX);
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(k[i].fired, expected[i]);
    loop_free(l);
}

static void on_again(void *arg)
{
    struct ticking *k = arg;
    k->wanted_us++;
    timer_start(k->l, &k->t, 0, on_again, k);
}

static void a_timer_that_restarts_itself_does_not_hold_the_turn(void **state)
{
    (void)state;
    struct loop *l = new_loop("again");
    struct ticking k = {.l = l};
    timer_start(l, &k.t, 0, on_again, &k);
    turn_until(l, k.wanted_us == 3);
    timer_stop(l, &k.t);
    loop_free(l);
}

/* --- the order of a turn -------------------------------------------------- */

struct journal {
    struct loop *l;
    char text[16];
    struct timer timer;
    struct mail mail;
    struct deferred first, second;
};

static void note(struct journal *j, char c)
{
    j->text[strlen(j->text)] = c;
}

static void on_second(struct deferred *d)
{
    note((struct journal *)((char *)d - offsetof(struct journal, second)), 'e');
}

static void on_first(struct deferred *d)
{
    struct journal *j = (struct journal *)((char *)d - offsetof(struct journal, first));
    note(j, 'd');
    loop_defer(j->l, &j->second);
}

static void on_mail(struct mail *m)
{
    struct journal *j = (struct journal *)((char *)m - offsetof(struct journal, mail));
    note(j, 'm');
    loop_defer(j->l, &j->first);
}

static void on_journal_timer(void *arg)
{
    struct journal *j = arg;
    note(j, 't');
    loop_defer(j->l, &j->first);
    loop_post(j->l, &j->mail);
}

static void a_turn_runs_timers_then_mail_then_what_was_deferred(void **state)
{
    (void)state;
    struct journal j = {
        .l = new_loop("order"), .mail.fn = on_mail, .first.fn = on_first, .second.fn = on_second};
    timer_start(j.l, &j.timer, 0, on_journal_timer, &j);
    turn_until(j.l, j.text[0]);
    assert_string_equal(j.text, "tmde");
    loop_free(j.l);
}

static void on_nested(void *arg)
{
    struct journal *j = arg;
    expect_assert_failure(loop_turn(j->l, 0));
    note(j, 'n');
}

static void a_turn_within_a_turn_is_a_mistake(void **state)
{
    (void)state;
    struct journal j = {.l = new_loop("nested")};
    timer_start(j.l, &j.timer, 0, on_nested, &j);
    turn_until(j.l, j.text[0]);
    loop_free(j.l);
}

/* --- mail ----------------------------------------------------------------- */

enum { POSTERS = 4, POSTS = 20000 };

struct letter {
    struct mail mail;
    unsigned poster, number;
};

struct post_office {
    struct loop *l;
    unsigned next[POSTERS];
    unsigned read;
};

struct poster {
    struct post_office *office;
    unsigned number;
};

static struct post_office office;

static void on_letter(struct mail *m)
{
    struct letter *letter = (struct letter *)m;
    assert_int_equal(letter->number, office.next[letter->poster]++);
    mem_free(letter);
    if (++office.read == POSTERS * POSTS)
        loop_stop(office.l);
}

static void *post_all(void *arg)
{
    struct poster *p = arg;
    for (unsigned i = 0; i < POSTS; i++) {
        struct letter *letter = MEM_NEW(struct letter);
        *letter = (struct letter){{.fn = on_letter}, p->number, i};
        loop_post(p->office->l, &letter->mail);
    }
    return NULL;
}

/* Goal: no letter is lost or overtaken by one of the same sender, and no sleep is missed. */
static void mail_from_many_threads_comes_once_and_in_order(void **state)
{
    (void)state;
    pthread_t threads[POSTERS];
    struct poster posters[POSTERS];
    memset(&office, 0, sizeof office);
    office.l = new_loop("mail");
    for (unsigned i = 0; i < POSTERS; i++) {
        posters[i] = (struct poster){&office, i};
        assert_int_equal(pthread_create(&threads[i], NULL, post_all, &posters[i]), 0);
    }
    loop_run(office.l);
    for (unsigned i = 0; i < POSTERS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(office.read, POSTERS * POSTS);
    loop_free(office.l);
}

/* Two loops in two threads hand one letter to and fro. */
struct ping {
    struct mail mail;
    struct loop *at, *other;
    int left;
};

static void on_ping(struct mail *m)
{
    struct ping *p = (struct ping *)m;
    assert_true(loop_is_current(p->at));
    if (--p->left == 0) {
        loop_stop(p->at);
        return;
    }
    struct loop *to = p->other;
    p->other = p->at;
    p->at = to;
    loop_post(to, &p->mail);
}

static void a_letter_can_be_posted_again_by_its_reader(void **state)
{
    (void)state;
    struct loop *here = new_loop("here"), *there = new_loop("there");
    struct loop_thread *t = loop_thread_start(there);
    struct ping p = {{.fn = on_ping}, here, there, 2001};
    loop_post(here, &p.mail);
    loop_run(here);
    assert_int_equal(p.left, 0);
    loop_thread_stop(t);
    loop_free(here);
    loop_free(there);
}

static void stop_before_run_ends_the_next_run_only(void **state)
{
    (void)state;
    struct journal j = {
        .l = new_loop("stop"), .mail.fn = on_mail, .first.fn = on_first, .second.fn = on_second};
    loop_stop(j.l);
    loop_run(j.l);
    loop_post(j.l, &j.mail);
    loop_turn(j.l, 0);
    assert_string_equal(j.text, "mde");
    loop_free(j.l);
}

/* --- workers -------------------------------------------------------------- */

struct counted_job {
    struct exec_job job;
    struct counting *c;
    unsigned number;
    bool ran, done;
};

struct counting {
    atomic_uint started;
    unsigned done;
    unsigned again;
    struct exec *e;
    bool in_order;
};

static void count_run(struct exec_job *job)
{
    struct counted_job *j = (struct counted_job *)job;
    if (atomic_fetch_add(&j->c->started, 1) != j->number)
        j->c->in_order = false;
    j->ran = true;
}

static void count_done(struct exec_job *job)
{
    struct counted_job *j = (struct counted_job *)job;
    assert_true(loop_is_current(job->home));
    assert_true(j->ran);
    assert_false(j->done);
    j->done = true;
    j->c->done++;
}

static void jobs_of_one_worker_run_in_order_and_are_done_once(void **state)
{
    (void)state;
    enum { JOBS = 1000 };
    static struct counted_job jobs[JOBS];
    struct loop *l = new_loop("exec");
    struct counting c = {.e = exec_new("worker-with-a-long-name", 1), .in_order = true};
    for (unsigned i = 0; i < JOBS; i++) {
        jobs[i] = (struct counted_job){
            {.run = count_run, .done = count_done, .home = l}, &c, i, false, false};
        exec_submit(c.e, &jobs[i].job);
    }
    turn_until(l, c.done == JOBS);
    assert_true(c.in_order);
    assert_int_equal(exec_backlog(c.e), 0);
    exec_free(c.e);
    loop_free(l);
}

static void free_runs_what_was_submitted(void **state)
{
    (void)state;
    enum { JOBS = 100 };
    static struct counted_job jobs[JOBS];
    struct loop *l = new_loop("exec");
    struct counting c = {.e = exec_new("workers", 3)};
    for (unsigned i = 0; i < JOBS; i++) {
        jobs[i] = (struct counted_job){
            {.run = count_run, .done = count_done, .home = l}, &c, i, false, false};
        exec_submit(c.e, &jobs[i].job);
    }
    exec_free(c.e);
    assert_int_equal(c.started, JOBS);
    loop_turn(l, 0);
    assert_int_equal(c.done, JOBS);
    loop_free(l);
}

static void again_done(struct exec_job *job)
{
    struct counted_job *j = (struct counted_job *)job;
    j->c->done++;
    if (--j->c->again)
        exec_submit(j->c->e, job);
}

static void a_job_may_be_submitted_again_when_done(void **state)
{
    (void)state;
    struct loop *l = new_loop("exec");
    struct counting c = {.e = exec_new("workers", 2), .again = 100};
    struct counted_job j = {{.run = count_run, .done = again_done, .home = l}, &c, 0, false, false};
    exec_submit(c.e, &j.job);
    turn_until(l, c.again == 0);
    assert_int_equal(c.done, 100);
    exec_free(c.e);
    loop_free(l);
}

/* --- the world in memory ------------------------------------------------------ */

static void workers_of_a_world_take_virtual_time(void **state)
{
    (void)state;
    struct fake_world *w = fake_world_new(NULL);
    struct loop *l = fake_world_loop(w, "a"), *other = fake_world_loop(w, "b");
    struct counting c = {.e = fake_world_exec(w, 1000000), .in_order = true};
    struct counted_job jobs[3];
    for (unsigned i = 0; i < 3; i++) {
        jobs[i] =
            (struct counted_job){{.run = count_run, .done = count_done, .home = i == 1 ? other : l},
                                 &c,
                                 i,
                                 false,
                                 false};
        exec_submit(c.e, &jobs[i].job);
    }
    assert_int_equal(exec_backlog(c.e), 3);
    fake_world_run(w, 999999);
    assert_int_equal(c.done, 0);
    fake_world_run(w, 1);
    assert_int_equal(c.done, 1);
    fake_world_run(w, 2000000);
    assert_int_equal(c.done, 3);
    assert_true(c.in_order);
    assert_false(fake_world_step(w)); /* nothing will ever happen */
    exec_free(c.e);
    loop_free(l);
    loop_free(other);
    fake_world_free(w);
}

static void a_letter_between_loops_of_a_world_arrives(void **state)
{
    (void)state;
    struct fake_world *w = fake_world_new(NULL);
    struct journal j = {.l = fake_world_loop(w, "reader"),
                        .mail.fn = on_mail,
                        .first.fn = on_first,
                        .second.fn = on_second};
    struct loop *other = fake_world_loop(w, "other");
    assert_false(fake_world_step(w));
    loop_post(j.l, &j.mail);
    assert_true(fake_world_step(w));
    assert_string_equal(j.text, "mde");
    assert_false(fake_world_step(w));
    loop_free(j.l);
    loop_free(other);
    fake_world_free(w);
}

/* --- sockets -------------------------------------------------------------- */

struct ear {
    struct sock *s;
    unsigned events;
    int calls;
};

static void on_events(void *arg, struct sock *s, unsigned events)
{
    struct ear *e = arg;
    assert_ptr_equal(s, e->s);
    e->events |= events;
    e->calls++;
}

static void on_events_close(void *arg, struct sock *s, unsigned events)
{
    struct ear *e = arg;
    on_events(arg, s, events);
    sock_close(s);
    e->s = NULL;
}

static struct sock *listen_at(struct loop *l, const char *host, struct ear *ear,
                              struct address *bound)
{
    struct address at = {.port = 0};
    snprintf(at.host, sizeof at.host, "%s", host);
    assert_ok(sock_listen(l, &at, on_events, ear, &ear->s, bound));
    assert_int_not_equal(bound->port, 0);
    assert_string_equal(bound->host, host);
    return ear->s;
}

static void bytes_go_both_ways_and_end(void **state)
{
    (void)state;
    struct loop *l = new_loop("socks");
    struct ear door = {0}, client = {0}, server = {0};
    struct address at, peer;
    listen_at(l, "127.0.0.1", &door, &at);
    assert_ok(sock_connect(l, &at, on_events, &client, &client.s));
    turn_until(l, client.events && door.events);
    assert_int_equal(client.events, SOCK_WRITABLE);
    assert_ok(sock_accept(door.s, &server.s, &peer));
    assert_string_equal(peer.host, "127.0.0.1");
    struct sock *none;
    assert_err(sock_accept(door.s, &none, &peer), E_WOULD_BLOCK);
    sock_adopt(l, server.s, on_events, &server);

    uint8_t in[8];
    size_t moved;
    const struct iovec room = {in, sizeof in};
    const struct iovec out[2] = {{(void *)(uintptr_t) "he", 2}, {(void *)(uintptr_t) "llo", 3}};
    assert_err(sock_readv(server.s, &room, 1, &moved), E_WOULD_BLOCK);
    assert_ok(sock_writev(client.s, out, 2, &moved));
    assert_int_equal(moved, 5);
    loop_turn(l, 0);
    assert_int_equal(server.calls, 0); /* nothing was wanted */
    sock_want(server.s, SOCK_READABLE);
    turn_until(l, server.events == SOCK_READABLE);
    assert_ok(sock_readv(server.s, &room, 1, &moved));
    assert_slice_equal(slice_of(in, moved), slice_str("hello"));

    sock_shutdown(client.s);
    assert_ok(sock_writev(server.s, out, 1, &moved)); /* the other way is still open */
    server.events = 0;
    turn_until(l, server.events & SOCK_READABLE);
    assert_err(sock_readv(server.s, &room, 1, &moved), E_END);
    sock_close(server.s);
    sock_want(client.s, SOCK_READABLE);
    turn_until(l, client.events & SOCK_CLOSED);
    sock_close(client.s);
    sock_close(door.s);
    loop_free(l);
}

static void writing_to_a_gone_peer_is_an_error_not_a_signal(void **state)
{
    (void)state;
    struct loop *l = new_loop("gone");
    struct ear door = {0}, client = {0};
    struct sock *accepted;
    struct address at, peer;
    listen_at(l, "127.0.0.1", &door, &at);
    assert_ok(sock_connect(l, &at, on_events, &client, &client.s));
    turn_until(l, client.events && door.events);
    assert_ok(sock_accept(door.s, &accepted, &peer));
    sock_close(accepted);
    const struct iovec out[2] = {{(void *)(uintptr_t) "a", 1}, {(void *)(uintptr_t) "b", 1}};
    size_t moved;
    err e = OK;
    assert_eventually((e = sock_writev(client.s, out, 2, &moved)) != OK, 10000);
    assert_err(e, E_NETWORK);
    assert_err(sock_writev(client.s, out, 1, &moved), E_NETWORK);
    assert_int_not_equal(sock_error(client.s), 0);
    sock_close(client.s);
    sock_close(door.s);
    loop_free(l);
}

static void connecting_to_a_closed_port_is_refused(void **state)
{
    (void)state;
    struct loop *l = new_loop("refused");
    struct ear door = {0}, client = {0};
    struct address at;
    listen_at(l, "127.0.0.1", &door, &at);
    sock_close(door.s);
    assert_ok(sock_connect(l, &at, on_events, &client, &client.s));
    assert_int_equal(client.calls, 0);
    turn_until(l, client.events);
    assert_int_equal(client.events, SOCK_CLOSED);
    assert_int_equal(sock_error(client.s), ECONNREFUSED);
    sock_close(client.s);
    loop_free(l);
}

static void a_name_is_tried_address_by_address(void **state)
{
    (void)state;
    struct loop *l = new_loop("name");
    struct exec *e = exec_new("resolver", 1);
    struct ear door = {0}, client = {0}, closed = {0}, unknown = {0}, direct = {0};
    struct address at, to;
    listen_at(l, "127.0.0.1", &door, &at);
    to = at;
    snprintf(to.host, sizeof to.host, "localhost");
    assert_ok(sock_connect(l, &to, on_events, &direct, &direct.s)); /* no workers: blocking */
    loop_set_resolver(l, e);
    assert_ok(sock_connect(l, &to, on_events, &client, &client.s));
    assert_ok(sock_connect(l, &to, on_events, &closed, &closed.s));
    sock_close(closed.s); /* while it is being looked up */
    snprintf(to.host, sizeof to.host, "no-such-host.invalid");
    assert_ok(sock_connect(l, &to, on_events_close, &unknown, &unknown.s));
    turn_until(l, client.events && unknown.events && direct.events);
    assert_int_equal(client.events, SOCK_WRITABLE);
    assert_int_equal(direct.events, SOCK_WRITABLE);
    assert_int_equal(unknown.events, SOCK_CLOSED);
    assert_int_equal(closed.calls, 0);
    sock_close(client.s);
    sock_close(direct.s);
    sock_close(door.s);
    exec_free(e);
    loop_turn(l, 0);
    loop_free(l);
}

/* Both are ready in one turn; whoever is called first closes the other. */
struct rivals {
    struct sock *s[2];
    int calls;
};

static void on_rival(void *arg, struct sock *s, unsigned events)
{
    struct rivals *r = arg;
    (void)events;
    r->calls++;
    sock_close(r->s[s == r->s[0]]);
    sock_want(s, 0);
    r->s[0] = s;
}

static void a_socket_closed_within_a_turn_is_not_called_any_more(void **state)
{
    (void)state;
    struct loop *l = new_loop("struck");
    struct ear door = {0}, a = {0}, b = {0};
    struct address at, peer;
    struct rivals r = {0};
    listen_at(l, "127.0.0.1", &door, &at);
    assert_ok(sock_connect(l, &at, on_events, &a, &a.s));
    assert_ok(sock_connect(l, &at, on_events, &b, &b.s));
    turn_until(l, a.events && b.events && door.events);
    for (int i = 0; i < 2; i++) {
        assert_ok(sock_accept(door.s, &r.s[i], &peer));
        sock_adopt(l, r.s[i], on_rival, &r);
        sock_want(r.s[i], SOCK_WRITABLE);
    }
    turn_until(l, r.calls);
    loop_turn(l, 0);
    assert_int_equal(r.calls, 1);
    sock_close(r.s[0]);
    sock_close(a.s);
    sock_close(b.s);
    sock_close(door.s);
    loop_free(l);
}

static void a_port_in_use_is_told(void **state)
{
    (void)state;
    struct loop *l = new_loop("in use");
    struct ear door = {0}, second = {0};
    struct address at;
    listen_at(l, "127.0.0.1", &door, &at);
    assert_err(sock_listen(l, &at, on_events, &second, &second.s, NULL), E_NETWORK);
    struct address any;
    struct ear wide = {0};
    listen_at(l, "", &wide, &any);
    any.host[0] = 0;
    assert_err(sock_listen(l, &any, on_events, &second, &second.s, NULL), E_NETWORK);
    sock_close(wide.s);
    sock_close(door.s);
    loop_free(l);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(address_parse_takes_host_port_and_brackets),
        cmocka_unit_test(address_parse_refuses_the_rest),
        cmocka_unit_test(timers_fire_in_order_of_their_due_time),
        cmocka_unit_test(a_timer_that_restarts_itself_does_not_hold_the_turn),
        cmocka_unit_test(a_turn_runs_timers_then_mail_then_what_was_deferred),
        cmocka_unit_test(a_turn_within_a_turn_is_a_mistake),
        cmocka_unit_test(mail_from_many_threads_comes_once_and_in_order),
        cmocka_unit_test(a_letter_can_be_posted_again_by_its_reader),
        cmocka_unit_test(stop_before_run_ends_the_next_run_only),
        cmocka_unit_test(jobs_of_one_worker_run_in_order_and_are_done_once),
        cmocka_unit_test(free_runs_what_was_submitted),
        cmocka_unit_test(a_job_may_be_submitted_again_when_done),
        cmocka_unit_test(workers_of_a_world_take_virtual_time),
        cmocka_unit_test(a_letter_between_loops_of_a_world_arrives),
        cmocka_unit_test(bytes_go_both_ways_and_end),
        cmocka_unit_test(writing_to_a_gone_peer_is_an_error_not_a_signal),
        cmocka_unit_test(connecting_to_a_closed_port_is_refused),
        cmocka_unit_test(a_name_is_tried_address_by_address),
        cmocka_unit_test(a_socket_closed_within_a_turn_is_not_called_any_more),
        cmocka_unit_test(a_port_in_use_is_told),
    };
    return TEST_MAIN(tests, NULL, NULL);
}
