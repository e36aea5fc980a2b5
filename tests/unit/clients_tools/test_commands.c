/* SPDX-License-Identifier: Apache-2.0 */
/* The real tables of the program: consistent, and parsed as they say. */
#include "clients/tools/commands.h"
#include "clients/tools/help.h"
#include "tests/support/test.h"

#include <string.h>

static void check_option(const struct option *o)
{
    assert_non_null(o->help);
    assert_true(o->help[strlen(o->help) - 1] != '.');
    assert_true((o->kind == OPTION_FLAG) == (o->value == NULL));
    assert_true((o->kind == OPTION_CHOICE) == (o->choices != NULL));
    if (o->kind == OPTION_NUMBER)
        assert_true(o->min < o->max);
    int64_t number;
    if (o->kind == OPTION_NUMBER && o->fallback) {
        assert_true(parse_int64(o->fallback, &number));
        assert_in_range(number, o->min, o->max);
    }
}

static void every_option_is_complete_and_its_name_unique(void **state)
{
    (void)state;
    for (const struct option *o = sluice_commands.options; o->name; o++)
        check_option(o);
    for (size_t i = 0; i < sluice_commands.command_count; i++)
        for (const struct option *o = sluice_commands.commands[i]->options; o && o->name; o++) {
            check_option(o);
            for (const struct option *other = o + 1; other->name; other++)
                assert_string_not_equal(o->name, other->name);
        }
}

static void every_command_is_complete_and_in_a_group_that_is_there(void **state)
{
    (void)state;
    for (size_t i = 0; i < sluice_commands.command_count; i++) {
        const struct command *const c = sluice_commands.commands[i];
        assert_non_null(c->run);
        assert_non_null(c->summary);
        assert_non_null(c->operands);
        assert_true(c->operands_min <= c->operands_max);
        assert_true((c->operands_max == 0) == (c->operands[0] == '\0'));
        bool has_group = c->group == NULL;
        for (size_t g = 0; g < sluice_commands.group_count; g++)
            has_group |= c->group && strcmp(c->group, sluice_commands.groups[g].name) == 0;
        assert_true(has_group);
    }
}

/* The words of the design are fixed: scripts depend on them. */
static void the_fixed_lines_are_understood(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "topic create n --partitions 3 --replication-factor 2 --config a=b --config c=d "
        "--if-not-exists",
        "topic list",
        "topic describe a b c",
        "topic alter n --partitions 4",
        "topic delete n",
        "produce t --file f --key-separator s --partition 1 --acks all --compression lz4 "
        "--property a=b",
        "consume t --from-beginning --partition 1 --max-messages 5 --exit-at-end --format f",
        "consume t --offset time:5 --group g --property a=b",
        "config describe --topic t",
        "config alter --broker 1 --set a=b --delete c",
        "broker list",
        "cluster describe",
        "records delete --topic t --partition 0 --before-offset 5",
        "log dump a b",
        "log verify d",
        "perf produce t --records 1 --record-size 2 --acks 1 --batch-size 3 --linger-ms 4 "
        "--compression "
        "none --rate 5 --producers 6",
        "perf consume t --records 1 --consumers 2",
        "perf latency t --records 1 --record-size 16 --rate 5",
        "--bootstrap a:1,b:2 --config f --timeout 5 --output json topic list",
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        char line[256];
        char *argv[40] = {(char *)"sluice"};
        int argc = 1;
        assert_true(strlen(lines[i]) < sizeof line);
        strcpy(line, lines[i]);
        for (char *word = strtok(line, " "); word; word = strtok(NULL, " "))
            argv[argc++] = word;
        struct args args;
        struct buf message = {0};
        assert_ok(args_parse(&args, &sluice_commands, argc, argv, &message));
        assert_non_null(args.command);
        args_deinit(&args);
        buf_deinit(&message);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_option_is_complete_and_its_name_unique),
        cmocka_unit_test(every_command_is_complete_and_in_a_group_that_is_there),
        cmocka_unit_test(the_fixed_lines_are_understood),
    };
    return TEST_MAIN(tests, NULL, NULL);
}
