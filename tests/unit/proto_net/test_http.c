/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/proto_net/net.h"

#include <ctype.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "proto/net/http.h"
#include "proto/net/notify.h"

static void hello(void *user, struct http_response *out)
{
    buf_printf(&out->body, "hello %s", (const char *)user);
    out->content_type = "text/x-test";
}

static void sorry(void *user, struct http_response *out)
{
    (void)user;
    out->status = 503;
}

static void large(void *user, struct http_response *out)
{
    (void)user;
    memset(buf_reserve(&out->body, 5000000), 'x', 5000000);
    out->body.size = 5000000;
}

static const struct http_route routes[] = {
    {"GET", "/hello", hello}, {"GET", "/sorry", sorry}, {"GET", "/large", large}};

/* Sends text and returns what came back, as a string that p owns. */
static const char *ask(struct net *n, struct peer *p, const struct address *at, const char *text)
{
    peer_connect(n, p, at);
    peer_send(p, text, strlen(text));
    net_until(n, p->has_ended || p->is_broken);
    buf_append(&p->got, "", 1);
    return (const char *)p->got.data;
}

static void assert_begins(const char *text, const char *with)
{
    if (strncmp(text, with, strlen(with)) != 0)
        fail_msg("not %s: %.200s", with, text);
}

struct site {
    struct http *h;
    struct address at;
};

static struct site site_start(struct net *n)
{
    struct site site;
    const struct address any = {.host = "127.0.0.1"};
    assert_ok(http_start(n->l, &any, routes, sizeof routes / sizeof *routes,
                         (void *)(uintptr_t) "you", &site.h, &site.at));
    return site;
}

static void a_route_answers(void **state)
{
    struct net *n = *state;
    struct site site = site_start(n);
    struct peer p;
    const char *text =
        ask(n, &p, &site.at, "GET /hello?x=1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_begins(text, "HTTP/1.1 200 ");
    assert_non_null(strstr(text, "text/x-test"));
    assert_string_equal(strstr(text, "\r\n\r\n") + 4, "hello you");
    peer_close(&p);
    text = ask(n, &p, &site.at, "HEAD /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_begins(text, "HTTP/1.1 200 ");
    assert_non_null(strstr(text, "Content-Length: 9"));
    assert_string_equal(strstr(text, "\r\n\r\n") + 4, "");
    peer_close(&p);
    text = ask(n, &p, &site.at, "GET /sorry HTTP/1.0\r\n\r\n");
    assert_non_null(strstr(text, " 503 "));
    peer_close(&p);
    http_stop(site.h);
}

static void a_large_body_arrives_while_the_loop_turns(void **state)
{
    struct net *n = *state;
    struct site site = site_start(n);
    struct peer p;
    const char *text = ask(n, &p, &site.at, "GET /large HTTP/1.0\r\n\r\n");
    assert_int_equal(strlen(strstr(text, "\r\n\r\n") + 4), 5000000);
    peer_close(&p);
    http_stop(site.h);
}

static void other_paths_methods_and_rubbish_are_refused(void **state)
{
    struct net *n = *state;
    struct site site = site_start(n);
    static const struct {
        const char *ask, *answer;
    } cases[] = {
        {"GET / HTTP/1.0\r\n\r\n", " 404 "},
        {"GET /hello/ HTTP/1.0\r\n\r\n", " 404 "},
        {"DELETE /hello HTTP/1.0\r\n\r\n", " 405 "},
        {"POST /hello HTTP/1.0\r\nContent-Length: 5\r\n\r\nabcde", " 405 "},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct peer p;
        assert_non_null(strstr(ask(n, &p, &site.at, cases[i].ask), cases[i].answer));
        peer_close(&p);
    }
    struct peer p;
    ask(n, &p, &site.at, "\x01\x02\x03 rubbish\r\n\r\n\r\n");
    peer_close(&p);
    assert_begins(ask(n, &p, &site.at, "GET /hello HTTP/1.0\r\n\r\n"), "HTTP/1.");
    peer_close(&p);
    http_stop(site.h);
}

static void stopping_closes_what_is_open(void **state)
{
    struct net *n = *state;
    struct site site = site_start(n);
    struct peer p;
    peer_connect(n, &p, &site.at);
    peer_send(&p, "GET /hel", 8);
    net_some_turns(n);
    http_stop(site.h);
    net_until(n, p.has_ended || p.is_broken);
    peer_close(&p);
}

static void a_taken_port_is_told(void **state)
{
    struct net *n = *state;
    struct site site = site_start(n);
    struct http *second;
    assert_err(http_start(n->l, &site.at, routes, 1, NULL, &second, NULL), E_NETWORK);
    http_stop(site.h);
}

static void the_manager_is_told_where_there_is_one(void **state)
{
    (void)state;
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    char text[64] = "";
    snprintf(at.sun_path, sizeof at.sun_path, "%s/notify", test_dir());
    const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    unsetenv("NOTIFY_SOCKET");
    notify_manager("READY=1");
    assert_int_equal(recv(fd, text, sizeof text, 0), -1);
    setenv("NOTIFY_SOCKET", at.sun_path, 1);
    notify_manager("READY=1");
    assert_int_equal(recv(fd, text, sizeof text, 0), 7);
    assert_string_equal(text, "READY=1");
    close(fd);
    notify_manager("STOPPING=1"); /* nobody there: a warning, no more */
    unsetenv("NOTIFY_SOCKET");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        OVER_LOOPBACK(a_route_answers),
        OVER_LOOPBACK(a_large_body_arrives_while_the_loop_turns),
        OVER_LOOPBACK(other_paths_methods_and_rubbish_are_refused),
        OVER_LOOPBACK(stopping_closes_what_is_open),
        OVER_LOOPBACK(a_taken_port_is_told),
        cmocka_unit_test(the_manager_is_told_where_there_is_one),
    };
    return TEST_MAIN(tests, NULL, NULL);
}
