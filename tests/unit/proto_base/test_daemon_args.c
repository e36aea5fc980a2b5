/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/base/daemon_args.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/test.h"

static const struct conf_key keys[] = {
    {"broker.id", CONF_INT, "1", .min = 0, .max = 9, .doc = "Who."},
    {"listener", CONF_STRING, "a:1", .doc = "Where."},
    {0},
};
static const struct conf_key metad_keys[] = {
    {"metad.listener", CONF_STRING, "m:1", .doc = "Where."},
    {0},
};
static const struct conf_table table = {"Broker", keys};
static const struct conf_table metad_table = {"Metad", metad_keys};
static const struct conf_table *const tables[] = {&table, NULL};
static const struct conf_table *const all_tables[] = {&table, &metad_table, NULL};
static const struct daemon_program program = {"sluice-test", "a test", tables, all_tables, NULL};
static const struct daemon_program plain = {"sluice-plain", "a test", tables, NULL, NULL};

struct outcome {
    int status;
    struct daemon_args args;
    char out[8192]; /* stdout and stderr */
};

/* Runs the parser with its output in a file. */
static struct outcome parse(const struct daemon_program *prog, const char *const *words)
{
    struct outcome o = {.args = {.ready_fd = -2}};
    char *argv[16] = {(char *)"prog"};
    int argc = 1;
    for (; words[argc - 1]; argc++)
        argv[argc] = (char *)words[argc - 1];

    char path[512];
    snprintf(path, sizeof path, "%s/out", test_dir());
    fflush(NULL);
    const int saved_out = dup(STDOUT_FILENO);
    const int saved_err = dup(STDERR_FILENO);
    const int fd = open(path, O_CREAT | O_RDWR | O_TRUNC, 0600);
    assert_true(fd >= 0);
    dup2(fd, STDOUT_FILENO);
    dup2(fd, STDERR_FILENO);
    o.status = daemon_args_parse(prog, argc, argv, &o.args);
    fflush(NULL);
    dup2(saved_out, STDOUT_FILENO);
    dup2(saved_err, STDERR_FILENO);
    close(saved_out);
    close(saved_err);
    const ssize_t n = pread(fd, o.out, sizeof o.out - 1, 0);
    assert_true(n >= 0);
    close(fd);
    return o;
}
#define PARSE(prog, ...) parse(prog, (const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL})

static void no_words_mean_defaults(void **state)
{
    (void)state;
    struct outcome o = PARSE(&program);
    assert_int_equal(o.status, -1);
    assert_false(o.args.standalone);
    assert_int_equal(o.args.ready_fd, -1);
    assert_int_equal(conf_int(o.args.conf, "broker.id"), 1);
    conf_free(o.args.conf);
}

static void set_wins_over_environment_and_file(void **state)
{
    (void)state;
    char path[512];
    snprintf(path, sizeof path, "%s/b.properties", test_dir());
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs("broker.id=2\nlistener=file:1\n", f);
    fclose(f);
    setenv("SLUICE_BROKER_ID", "3", 1);
    struct outcome o = PARSE(&program, "--config", path, "--set", "broker.id=4", "--ready-fd", "1");
    unsetenv("SLUICE_BROKER_ID");
    assert_int_equal(o.status, -1);
    assert_int_equal(conf_int(o.args.conf, "broker.id"), 4);
    assert_string_equal(conf_string(o.args.conf, "listener"), "file:1");
    assert_int_equal(o.args.ready_fd, 1);
    conf_free(o.args.conf);
}

static void standalone_brings_metads_keys(void **state)
{
    (void)state;
    struct outcome o = PARSE(&program, "--standalone", "--set", "metad.listener=x:1");
    assert_int_equal(o.status, -1);
    assert_true(o.args.standalone);
    assert_string_equal(conf_string(o.args.conf, "metad.listener"), "x:1");
    conf_free(o.args.conf);

    o = PARSE(&program, "--set", "metad.listener=x:1");
    assert_int_equal(o.status, 2);
    assert_non_null(strstr(o.out, "unknown key \"metad.listener\""));
}

static void mistakes_are_all_told_and_exit_2(void **state)
{
    (void)state;
    struct outcome o =
        PARSE(&program, "--set", "broker.id=10", "--set", "brokerid=1", "--config", "/nowhere");
    assert_int_equal(o.status, 2);
    assert_int_equal(o.args.ready_fd, -2); /* untouched */
    assert_string_equal(o.out, "sluice-test: the configuration is not valid:\n"
                               "/nowhere: cannot be opened: No such file or directory\n"
                               "--set: broker.id: 10 is above the maximum of 9\n"
                               "--set: unknown key \"brokerid\" (did you mean \"broker.id\"?)\n");
}

static void wrong_words_exit_2(void **state)
{
    (void)state;
    static const struct {
        const char *words[3];
        const char *told;
    } cases[] = {
        {{"--frobnicate"}, "--frobnicate"},
        {{"--set"}, "--set"},
        {{"start"}, "start"},
        {{"--ready-fd", "x"}, "descriptor: x"},
        {{"--ready-fd", "-1"}, "descriptor"},
        {{"--ready-fd", "999"}, "descriptor: 999"},
        {{"--ready-fd", ""}, "descriptor"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct outcome o = parse(&program, cases[i].words);
        assert_int_equal(o.status, 2);
        assert_non_null(strstr(o.out, cases[i].told));
        assert_non_null(strstr(o.out, "see sluice-test --help"));
    }
    assert_int_equal(PARSE(&plain, "--standalone").status, 2);
}

static void help_manual_and_version_exit_0(void **state)
{
    (void)state;
    struct outcome o = PARSE(&program, "--help");
    assert_int_equal(o.status, 0);
    assert_non_null(strstr(o.out, "--standalone"));
    o = PARSE(&plain, "--help");
    assert_null(strstr(o.out, "--standalone"));
    o = PARSE(&program, "--help-config");
    assert_int_equal(o.status, 0);
    assert_non_null(strstr(o.out, "### `broker.id`"));
    assert_null(strstr(o.out, "metad.listener"));
    o = PARSE(&program, "--standalone", "--help-config");
    assert_non_null(strstr(o.out, "### `metad.listener`"));
    o = PARSE(&program, "--version");
    assert_string_equal(o.out, "sluice-test " SLUICE_VERSION "\n");
}

static void later_problems_are_told_in_the_same_form(void **state)
{
    (void)state;
    struct outcome o = PARSE(&program);
    assert_int_equal(daemon_args_report(&program, o.args.conf), -1);
    conf_problem(o.args.conf, "listener", "is not host:port");
    assert_int_equal(daemon_args_report(&program, o.args.conf), 2);
    conf_free(o.args.conf);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_words_mean_defaults),
        cmocka_unit_test(set_wins_over_environment_and_file),
        cmocka_unit_test(standalone_brings_metads_keys),
        cmocka_unit_test(mistakes_are_all_told_and_exit_2),
        cmocka_unit_test(wrong_words_exit_2),
        cmocka_unit_test(help_manual_and_version_exit_0),
        cmocka_unit_test(later_problems_are_told_in_the_same_form),
    };
    return TEST_MAIN(tests, NULL, NULL);
}
