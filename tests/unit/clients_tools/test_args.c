/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/tools/args.h"
#include "clients/tools/help.h"
#include "tests/support/test.h"

#include <string.h>

/* A program as small as it can be with every kind of option. */

static int run_nothing(struct cli *cli)
{
    (void)cli;
    return 0;
}

static const struct option global_options[] = {
    {.name = "bootstrap", .kind = OPTION_TEXT, .value = "HOST:PORT", .help = "Where"},
    {.name = "output",
     .kind = OPTION_CHOICE,
     .value = "FORM",
     .choices = "table|json",
     .fallback = "table",
     .help = "How"},
    {0},
};
static const struct option create_options[] = {
    {.name = "partitions",
     .kind = OPTION_NUMBER,
     .value = "N",
     .min = 1,
     .max = 100,
     .fallback = "7",
     .help = "How many"},
    {.name = "config", .kind = OPTION_PAIRS, .value = "K=V", .help = "Configs"},
    {.name = "tag", .kind = OPTION_TEXTS, .value = "T", .help = "Tags"},
    {.name = "if-not-exists", .kind = OPTION_FLAG, .help = "Calm"},
    {.name = "before-offset",
     .kind = OPTION_NUMBER,
     .value = "O",
     .alias = "offset",
     .min = -1,
     .max = INT64_MAX,
     .help = "Offset"},
    {0},
};
static const struct command create = {
    .group = "topic",
    .name = "create",
    .operands = "NAME",
    .operands_min = 1,
    .operands_max = 1,
    .summary = "Create a topic",
    .options = create_options,
    .run = run_nothing,
};
static const struct command list = {
    .group = "topic",
    .name = "list",
    .operands = "",
    .summary = "List topics",
    .run = run_nothing,
};
static const struct command produce = {
    .name = "produce",
    .operands = "TOPIC",
    .operands_min = 1,
    .operands_max = 1,
    .summary = "Send records",
    .run = run_nothing,
};
static const struct command *const commands[] = {&create, &list, &produce};
static const struct command_group groups[] = {{"topic", "Topics"}};
static const struct command_set set = {
    .program = "prog",
    .summary = "a program",
    .options = global_options,
    .groups = groups,
    .group_count = 1,
    .commands = commands,
    .command_count = 3,
};

enum { ARGC_MAX = 32 };

/* Splits a line at blanks and parses it. */
struct parsed {
    struct args args;
    struct buf message;
    char line[256];
    err e;
};

static void parse(struct parsed *p, const char *line)
{
    *p = (struct parsed){0};
    assert_true(strlen(line) < sizeof p->line);
    strcpy(p->line, line);
    char *argv[ARGC_MAX] = {(char *)"prog"};
    int argc = 1;
    for (char *word = strtok(p->line, " "); word; word = strtok(NULL, " "))
        argv[argc++] = word;
    p->e = args_parse(&p->args, &set, argc, argv, &p->message);
    buf_append(&p->message, "", 1);
}

static void done(struct parsed *p)
{
    args_deinit(&p->args);
    buf_deinit(&p->message);
}

static void assert_refused(const char *line, const char *expected)
{
    struct parsed p;
    parse(&p, line);
    assert_err(p.e, E_CONFIG);
    if (!strstr((const char *)p.message.data, expected))
        fail_msg("\"%s\" answered \"%s\", which lacks \"%s\"", line, (const char *)p.message.data,
                 expected);
    done(&p);
}

static void options_of_the_program_stand_anywhere(void **state)
{
    (void)state;
    const char *const lines[] = {
        "--bootstrap h:1 topic create x",
        "topic --bootstrap h:1 create x",
        "topic create --bootstrap=h:1 x",
        "topic create x --bootstrap h:1",
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        struct parsed p;
        parse(&p, lines[i]);
        assert_ok(p.e);
        assert_ptr_equal(p.args.command, &create);
        assert_string_equal(args_text(&p.args, "bootstrap"), "h:1");
        assert_int_equal(p.args.operand_count, 1);
        assert_string_equal(p.args.operands[0], "x");
        done(&p);
    }
}

static void values_come_from_the_line_or_the_table(void **state)
{
    (void)state;
    struct parsed p;
    parse(&p, "topic create x");
    assert_ok(p.e);
    assert_int_equal(args_number(&p.args, "partitions"), 7);
    assert_false(args_has(&p.args, "partitions"));
    assert_int_equal(args_number(&p.args, "before-offset"), 0);
    assert_null(args_text(&p.args, "bootstrap"));
    assert_string_equal(args_text(&p.args, "output"), "table");
    assert_false(args_has(&p.args, "if-not-exists"));
    done(&p);

    parse(&p, "topic create x --partitions 3 --if-not-exists --partitions=5 --offset -1");
    assert_ok(p.e);
    assert_int_equal(args_number(&p.args, "partitions"), 5);
    assert_int_equal(args_number(&p.args, "before-offset"), -1);
    assert_true(args_has(&p.args, "before-offset"));
    assert_true(args_has(&p.args, "if-not-exists"));
    done(&p);
}

static void repeated_values_collect_in_order(void **state)
{
    (void)state;
    struct parsed p;
    parse(&p, "topic create x --config a=1 --tag t1 --config b= --config c=d=e --tag t2");
    assert_ok(p.e);
    size_t cursor = 0;
    assert_string_equal(args_next(&p.args, "config", &cursor), "a=1");
    assert_string_equal(args_next(&p.args, "config", &cursor), "b=");
    assert_string_equal(args_next(&p.args, "config", &cursor), "c=d=e");
    assert_null(args_next(&p.args, "config", &cursor));
    cursor = 0;
    assert_string_equal(args_next(&p.args, "tag", &cursor), "t1");
    assert_string_equal(args_next(&p.args, "tag", &cursor), "t2");
    assert_null(args_next(&p.args, "tag", &cursor));
    done(&p);
}

static void two_dashes_end_the_options(void **state)
{
    (void)state;
    struct parsed p;
    parse(&p, "topic create -- --partitions");
    assert_ok(p.e);
    assert_string_equal(p.args.operands[0], "--partitions");
    done(&p);
    parse(&p, "produce -");
    assert_ok(p.e);
    assert_string_equal(p.args.operands[0], "-");
    done(&p);
}

static void wrong_values_are_refused_with_what_is_possible(void **state)
{
    (void)state;
    assert_refused("topic create x --partitions many", "a whole number from 1 to 100");
    assert_refused("topic create x --partitions 0", "a whole number from 1 to 100");
    assert_refused("topic create x --partitions 101", "--partitions: \"101\"");
    assert_refused("topic create x --partitions 99999999999999999999", "a whole number");
    assert_refused("topic create x --partitions 5x", "a whole number");
    assert_refused("topic create x --partitions=", "a whole number");
    assert_refused("topic create x --partitions", "--partitions N");
    assert_refused("topic create x --if-not-exists=yes", "takes no value");
    assert_refused("topic create x --config a", "(K=V)");
    assert_refused("topic create x --config =a", "(K=V)");
    assert_refused("topic create x --output xml", "one of table, json");
    assert_refused("topic create x --output=", "one of table, json");
    assert_refused("topic create x --output tabl", "one of table, json");
}

static void near_misses_get_a_suggestion(void **state)
{
    (void)state;
    assert_refused("topik create x", "did you mean: prog topic?");
    assert_refused("topics list", "did you mean: prog topic?");
    assert_refused("topic craete x", "did you mean: prog topic create?");
    assert_refused("list", "did you mean: prog topic list?");
    assert_refused("prodcue x", "did you mean: prog produce?");
    assert_refused("topic create x --partition 3", "did you mean --partitions?");
    assert_refused("topic create x --bootstrap-server h:1", "did you mean --bootstrap?");
    assert_refused("--partitions 3 topic create x", "belongs behind the command's words");
    /* Nothing is close: no guess. */
    struct parsed p;
    parse(&p, "zzzzzzzz");
    assert_err(p.e, E_CONFIG);
    assert_null(strstr((const char *)p.message.data, "did you mean"));
    assert_non_null(strstr((const char *)p.message.data, "Try: prog --help"));
    done(&p);
}

static void too_few_and_too_many_words_are_refused(void **state)
{
    (void)state;
    assert_refused("", "which command?");
    assert_refused("topic", "topic: which command?");
    assert_refused("topic create", "NAME is missing");
    assert_refused("topic create a b", "one argument too many: \"b\"");
    assert_refused("topic list a", "Usage: prog topic list");
    assert_refused("topic create x -p 3", "no option --p");
}

static void every_level_has_help(void **state)
{
    (void)state;
    const struct {
        const char *line;
        const char *contains;
        const char *lacks;
    } cases[] = {
        {"--help", "Create a topic", "How many"},
        {"help", "Send records", "How many"},
        {"topic --help", "List topics", "Send records"},
        {"help topic", "List topics", "Send records"},
        {"topic create --help", "--partitions N", "List topics"},
        {"help topic create", "(default: 7)", "List topics"},
        {"topic create -h", "also --offset", "List topics"},
        {"--help topic create x", "--bootstrap", "List topics"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct parsed p;
        parse(&p, cases[i].line);
        assert_ok(p.e);
        assert_true(p.args.is_help);
        struct buf out = {0};
        help_write(&out, &p.args);
        buf_append(&out, "", 1);
        const char *const text = (const char *)out.data;
        assert_non_null(strstr(text, cases[i].contains));
        assert_null(strstr(text, cases[i].lacks));
        buf_deinit(&out);
        done(&p);
    }
}

static void the_manual_names_every_option(void **state)
{
    (void)state;
    struct buf out = {0};
    help_write_manual(&out, &set);
    buf_append(&out, "", 1);
    const char *const text = (const char *)out.data;
    assert_non_null(strstr(text, ".SS \"topic create NAME\""));
    assert_non_null(strstr(text, "\\-\\-if\\-not\\-exists"));
    assert_non_null(strstr(text, "\\-\\-bootstrap"));
    assert_non_null(strstr(text, "(default: 7)"));
    buf_deinit(&out);
}

static void asking_for_an_option_that_is_not_there_is_a_bug(void **state)
{
    (void)state;
    struct parsed p;
    parse(&p, "topic list");
    assert_ok(p.e);
    expect_assert_failure(args_has(&p.args, "partitions"));
    done(&p);
}

/* Goal: no command line, however odd, does more than be refused. Method: random words from the
 * vocabulary and random bytes. */
static void random_lines_do_no_harm(void **state)
{
    (void)state;
    static const char *const words[] = {
        "topic", "create",   "list", "produce",  "--partitions", "--partitions=", "3", "--",
        "-",     "--help",   "help", "--config", "a=b",          "--tag",         "=", "--=",
        "-h",    "--output", "json", "x",        "\xff\xfe",
    };
    struct rng rng = test_rng();
    for (int round = 0; round < 20000; round++) {
        char *argv[ARGC_MAX] = {(char *)"prog"};
        char random_words[ARGC_MAX][80];
        const int argc = 1 + (int)rng_below(&rng, 9);
        for (int i = 1; i < argc; i++) {
            if (rng_below(&rng, 4) > 0) {
                argv[i] = (char *)words[rng_below(&rng, sizeof words / sizeof *words)];
                continue;
            }
            const size_t size = rng_below(&rng, sizeof random_words[i]);
            for (size_t k = 0; k < size; k++)
                random_words[i][k] = (char)(1 + rng_below(&rng, 255));
            random_words[i][size] = '\0';
            argv[i] = random_words[i];
        }
        struct args args;
        struct buf message = {0};
        const err e = args_parse(&args, &set, argc, argv, &message);
        if (e == OK)
            assert_true(args.is_help || args.command);
        else
            assert_true(message.size > 0);
        args_deinit(&args);
        buf_deinit(&message);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_of_the_program_stand_anywhere),
        cmocka_unit_test(values_come_from_the_line_or_the_table),
        cmocka_unit_test(repeated_values_collect_in_order),
        cmocka_unit_test(two_dashes_end_the_options),
        cmocka_unit_test(wrong_values_are_refused_with_what_is_possible),
        cmocka_unit_test(near_misses_get_a_suggestion),
        cmocka_unit_test(too_few_and_too_many_words_are_refused),
        cmocka_unit_test(every_level_has_help),
        cmocka_unit_test(the_manual_names_every_option),
        cmocka_unit_test(asking_for_an_option_that_is_not_there_is_a_bug),
        cmocka_unit_test(random_lines_do_no_harm),
    };
    return TEST_MAIN(tests, NULL, NULL);
}
