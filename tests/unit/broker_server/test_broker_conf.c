/* SPDX-License-Identifier: Apache-2.0 */
/* What the broker's keys mean together: listeners, advertised addresses, defaults of topics. */
#include "broker/server/broker_conf.h"
#include "tests/support/test.h"

#include <stdio.h>
#include <string.h>

struct fixture {
    struct broker_tables *tables;
    struct conf *conf;
    struct broker_conf read;
};

static int setup(void **state)
{
    static struct fixture f;
    f.tables = broker_tables_new();
    f.conf = conf_new(broker_tables_standalone(f.tables));
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    conf_free(f->conf);
    broker_tables_free(f->tables);
    return 0;
}

static void set(struct fixture *f, const char *assignment)
{
    conf_set(f->conf, assignment, CONF_ARGUMENT, "--set");
}

/* As main does: the tables' own checks first. */
static const char *read_conf(struct fixture *f)
{
    assert_ok(conf_check(f->conf));
    broker_conf_read(f->conf, &f->read);
    return conf_problems(f->conf);
}

static void expect_problem(struct fixture *f, const char *text)
{
    const char *problems = read_conf(f);
    assert_err(conf_check(f->conf), E_CONFIG);
    if (!strstr(problems, text))
        fail_msg("\"%s\" is not in:\n%s", text, problems);
}

static unsigned lines_of(const char *text)
{
    unsigned count = 0;
    for (; *text; text++)
        count += *text == '\n';
    return count;
}

static void assert_address(const struct address *at, const char *host, uint16_t port)
{
    assert_string_equal(at->host, host);
    assert_int_equal(at->port, port);
}

/* --- listeners ------------------------------------------------------------------------ */

static void without_a_word_there_is_one_local_listener(void **state)
{
    struct fixture *f = *state;
    assert_string_equal(read_conf(f), "");
    assert_int_equal(f->read.listener_count, 1);
    assert_string_equal(f->read.listeners[0].name, "CLIENT");
    assert_address(&f->read.listeners[0].at, "127.0.0.1", 9292);
    assert_address(&f->read.listeners[0].advertised, "127.0.0.1", 9292);
    assert_int_equal(f->read.inter_broker, 0);
    assert_int_equal(f->read.broker_id, -1);
    assert_false(f->read.has_http);
    assert_true(f->read.network_threads >= 1);
    assert_string_equal(f->read.rack, "");
}

static void the_shorthand_may_be_advertised_elsewhere(void **state)
{
    struct fixture *f = *state;
    set(f, "listener=0.0.0.0:7");
    set(f, "advertised.listener=broker.example:77");
    assert_string_equal(read_conf(f), "");
    assert_address(&f->read.listeners[0].at, "0.0.0.0", 7);
    assert_address(&f->read.listeners[0].advertised, "broker.example", 77);
}

static void several_listeners(void **state)
{
    struct fixture *f = *state;
    set(f, "listeners=IN://10.0.0.1:1, OUT://[::]:2 ,LOCAL://127.0.0.1:0");
    set(f, "advertised.listeners=OUT://out.example:22");
    set(f, "inter.broker.listener.name=LOCAL");
    assert_string_equal(read_conf(f), "");
    assert_int_equal(f->read.listener_count, 3);
    assert_string_equal(f->read.listeners[1].name, "OUT");
    assert_address(&f->read.listeners[0].advertised, "10.0.0.1", 1);
    assert_address(&f->read.listeners[1].at, "::", 2);
    assert_address(&f->read.listeners[1].advertised, "out.example", 22);
    assert_address(&f->read.listeners[2].advertised, "127.0.0.1", 0);
    assert_int_equal(f->read.inter_broker, 2);
}

static void all_interfaces_are_no_address_for_clients(void **state)
{
    struct fixture *f = *state;
    static const char *const all[] = {"listener=0.0.0.0:1", "listener=:1", "listener=[::]:1"};
    for (size_t i = 0; i < 3; i++) {
        set(f, all[i]);
        expect_problem(f, "advertised.listener");
        conf_free(f->conf);
        f->conf = conf_new(broker_tables_standalone(f->tables));
    }
    set(f, "listeners=A://0.0.0.0:1,B://127.0.0.1:2");
    expect_problem(f, "must be set for listener A");
}

static void mistakes_in_listeners_are_all_told(void **state)
{
    struct fixture *f = *state;
    set(f, "listeners=A://127.0.0.1:1,nonsense,B://host,A://127.0.0.1:2,://x:1");
    set(f, "advertised.listeners=C://h:1,A:/h:1");
    set(f, "inter.broker.listener.name=D");
    const char *problems = read_conf(f);
    static const char *const told[] = {"\"nonsense\" is not NAME://HOST:PORT",
                                       "\"host\" is not HOST:PORT",
                                       "the name A is given twice",
                                       "\"://x:1\" is not NAME",
                                       "C is not among `listeners`",
                                       "\"A:/h:1\" is not NAME",
                                       "no listener is called D"};
    for (size_t i = 0; i < sizeof told / sizeof told[0]; i++)
        if (!strstr(problems, told[i]))
            fail_msg("\"%s\" is not in:\n%s", told[i], problems);
    assert_int_equal(lines_of(problems), sizeof told / sizeof told[0]);
}

static void one_mistake_is_one_line(void **state)
{
    struct fixture *f = *state;
    set(f, "listener=nowhere");
    expect_problem(f, "listener");
    assert_int_equal(lines_of(conf_problems(f->conf)), 1);
}

static void the_shorthand_and_the_list_exclude_each_other(void **state)
{
    struct fixture *f = *state;
    set(f, "listeners=A://127.0.0.1:1");
    set(f, "listener=127.0.0.1:2");
    set(f, "advertised.listener=h:2");
    expect_problem(f, "listener");
    assert_non_null(strstr(conf_problems(f->conf), "advertised.listener"));
}

static void a_name_that_is_too_long(void **state)
{
    struct fixture *f = *state;
    char text[128];
    snprintf(text, sizeof text, "listeners=%064d://127.0.0.1:1", 7);
    set(f, text);
    expect_problem(f, "NAME://HOST:PORT");
}

static void http_is_an_address(void **state)
{
    struct fixture *f = *state;
    set(f, "http.listener=127.0.0.1:0");
    assert_string_equal(read_conf(f), "");
    assert_true(f->read.has_http);
    assert_address(&f->read.http, "127.0.0.1", 0);
    set(f, "http.listener=here");
    expect_problem(f, "http.listener");
}

static void numbers_are_taken_over(void **state)
{
    struct fixture *f = *state;
    set(f, "broker.id=17");
    set(f, "num.network.threads=5");
    set(f, "connections.max.idle.ms=3");
    set(f, "max.connections=11");
    set(f, "max.connections.per.ip=12");
    set(f, "max.inflight.requests.per.connection=13");
    set(f, "queued.max.request.bytes=1048577");
    set(f, "socket.request.max.bytes=65537");
    set(f, "data.dirs=/x, /y");
    assert_string_equal(read_conf(f), "");
    assert_int_equal(f->read.broker_id, 17);
    assert_int_equal(f->read.network_threads, 5);
    assert_int_equal(f->read.idle_us, 3000);
    assert_int_equal(f->read.connections_max, 11);
    assert_int_equal(f->read.connections_per_address_max, 12);
    assert_int_equal(f->read.inflight_max, 13);
    assert_int_equal(f->read.queued_bytes_max, 1048577);
    assert_int_equal(f->read.frame_bytes_max, 65537);
    assert_int_equal(f->read.data_dirs.count, 2);
    assert_string_equal(f->read.data_dirs.items[1], "/y");
}

/* --- defaults of topics ------------------------------------------------------------------ */

/* Every key that gives topics a default is a key of the broker, dynamic, and has the value that a
 * topic gets if nobody says anything. */
static void topic_defaults_have_a_key_each(void **state)
{
    struct fixture *f = *state;
    struct topic_config_values plain, of_broker;
    unsigned keys = 0;
    read_conf(f);
    topic_config_values_init(&plain);
    broker_conf_topic_defaults(f->conf, &of_broker);
    for (int i = 0; i < TOPIC_CONFIG_COUNT; i++) {
        const struct topic_config_def *def = topic_config_def((enum topic_config)i);
        struct conf_view view;
        assert_int_equal(of_broker.v[i], plain.v[i]);
        if (!def->broker_key)
            continue;
        assert_true(conf_find(f->conf, def->broker_key, &view));
        assert_true(view.key->flags & CONF_DYNAMIC);
        keys++;
    }
    assert_true(keys > 10);
}

static void the_brokers_keys_are_the_topics_defaults(void **state)
{
    struct fixture *f = *state;
    struct topic_config_values v;
    set(f, "log.retention.ms=123");
    set(f, "log.segment.bytes=2097152");
    set(f, "log.cleanup.policy=compact");
    set(f, "compression.type=lz4");
    assert_string_equal(read_conf(f), "");
    broker_conf_topic_defaults(f->conf, &v);
    assert_int_equal(v.v[TOPIC_RETENTION_MS], 123);
    assert_int_equal(v.v[TOPIC_SEGMENT_BYTES], 2097152);
    assert_int_equal(v.v[TOPIC_CLEANUP_POLICY], CLEANUP_COMPACT);
    assert_int_equal(v.v[TOPIC_COMPRESSION_TYPE], COMPRESSION_LZ4);
    assert_ok(conf_override(f->conf, "log.retention.ms", "456", NULL));
    broker_conf_topic_defaults(f->conf, &v);
    assert_int_equal(v.v[TOPIC_RETENTION_MS], 456);
    assert_ok(conf_override(f->conf, "log.retention.ms", NULL, NULL));
    broker_conf_topic_defaults(f->conf, &v);
    assert_int_equal(v.v[TOPIC_RETENTION_MS], 123);
}

/* What a table of plain types cannot check, because a topic's config is a set or a ratio. */
static void defaults_that_topics_would_refuse(void **state)
{
    struct fixture *f = *state;
    set(f, "log.cleanup.policy=burn");
    expect_problem(f, "log.cleanup.policy");
    assert_non_null(strstr(conf_problems(f->conf), "burn"));
}

static void only_a_standalone_broker_has_metads_keys(void **state)
{
    struct fixture *f = *state;
    struct conf *cluster = conf_new(broker_tables_cluster(f->tables));
    struct conf_view view;
    assert_false(conf_find(cluster, "metad.listener", &view));
    assert_true(conf_find(f->conf, "metad.listener", &view));
    assert_true(conf_find(cluster, "listener", &view));
    conf_free(cluster);
}

int main(int argc, char **argv)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(without_a_word_there_is_one_local_listener),
        T(the_shorthand_may_be_advertised_elsewhere),
        T(several_listeners),
        T(all_interfaces_are_no_address_for_clients),
        T(mistakes_in_listeners_are_all_told),
        T(one_mistake_is_one_line),
        T(the_shorthand_and_the_list_exclude_each_other),
        T(a_name_that_is_too_long),
        T(http_is_an_address),
        T(numbers_are_taken_over),
        T(topic_defaults_have_a_key_each),
        T(the_brokers_keys_are_the_topics_defaults),
        T(defaults_that_topics_would_refuse),
        T(only_a_standalone_broker_has_metads_keys),
    };
    return TEST_MAIN(tests, NULL, NULL);
}
