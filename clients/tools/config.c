/* SPDX-License-Identifier: Apache-2.0 */
/* sluice config describe | alter */
#include <stdlib.h>

#include "clients/tools/cli.h"
#include "clients/tools/commands.h"
#include "clients/tools/json.h"
#include "clients/tools/table.h"
#include "proto/base/limits.h"
#include "proto/base/mem.h"

#define RESOURCE_OPTIONS                                                                           \
    {.name = "topic", .kind = OPTION_TEXT, .value = "TOPIC", .help = "Configs of this topic"},     \
    {                                                                                              \
        .name = "broker", .kind = OPTION_NUMBER, .value = "ID", .min = 0, .max = BROKER_ID_MAX,    \
        .help = "Configs of this broker"                                                           \
    }

/* False: neither or both were given, which was reported. */
static bool find_resource(const struct cli *cli, struct sluice_resource *out)
{
    if (args_has(cli->args, "topic") == args_has(cli->args, "broker")) {
        cli_usage(cli, "whose configs? --topic TOPIC or --broker ID, one of them");
        return false;
    }
    const bool is_topic = args_has(cli->args, "topic");
    *out = (struct sluice_resource){
        .type = is_topic ? SLUICE_RESOURCE_TOPIC : SLUICE_RESOURCE_BROKER,
        .name = args_text(cli->args, is_topic ? "topic" : "broker"),
    };
    return true;
}

static const char *resource_word(const struct sluice_resource *r)
{
    return r->type == SLUICE_RESOURCE_TOPIC ? "topic" : "broker";
}

static const char *source_word(enum sluice_config_source source)
{
    static const char *const words[] = {
        [SLUICE_SOURCE_DEFAULT] = "default",
        [SLUICE_SOURCE_STATIC_BROKER] = "broker-file",
        [SLUICE_SOURCE_DYNAMIC_BROKER] = "broker-dynamic",
        [SLUICE_SOURCE_TOPIC] = "topic",
    };
    return (size_t)source < sizeof words / sizeof *words ? words[source] : "other";
}

/* --- describe ----------------------------------------------------------------------- */

static const struct option describe_options[] = {
    RESOURCE_OPTIONS,
    {.name = "changed", .kind = OPTION_FLAG, .help = "Leave out what has its built-in default"},
    {0},
};

static bool is_shown(const struct cli *cli, const struct sluice_config_entry *e)
{
    return !args_has(cli->args, "changed") || e->source != SLUICE_SOURCE_DEFAULT;
}

static void describe_table(struct cli *cli, const struct sluice_configs *c)
{
    static const char *const columns[] = {"KEY", "VALUE", "SOURCE", "CHANGE", NULL};
    struct table t;
    table_init(&t, columns);
    for (size_t i = 0; i < c->entry_count; i++) {
        const struct sluice_config_entry *const e = &c->entries[i];
        if (!is_shown(cli, e))
            continue;
        table_cell(&t, "%s", e->key);
        table_cell(&t, "%s", e->value);
        table_cell(&t, "%s", source_word(e->source));
        table_cell(&t, "%s", e->read_only ? "restart" : "any time");
    }
    table_write(&t, &cli->out);
    table_deinit(&t);
}

static void describe_json(struct cli *cli, const struct sluice_configs *c)
{
    struct json j = json_to(&cli->out);
    json_begin(&j, '{');
    json_member_str(&j, resource_word(&c->resource), c->resource.name);
    json_key(&j, "configs");
    json_begin(&j, '[');
    for (size_t i = 0; i < c->entry_count; i++) {
        const struct sluice_config_entry *const e = &c->entries[i];
        if (!is_shown(cli, e))
            continue;
        json_begin(&j, '{');
        json_member_str(&j, "key", e->key);
        json_member_str(&j, "value", e->value);
        json_member_str(&j, "source", source_word(e->source));
        json_member_bool(&j, "read_only", e->read_only);
        json_member_str(&j, "doc", e->doc);
        json_end(&j, '}');
    }
    json_end(&j, ']');
    json_end(&j, '}');
    buf_append(&cli->out, "\n", 1);
}

static int run_describe(struct cli *cli)
{
    struct sluice_resource resource;
    if (!find_resource(cli, &resource))
        return EXIT_USAGE;
    sluice_admin *const admin = cli_admin(cli);
    if (!admin)
        return EXIT_FAILED;
    struct sluice_error error;
    struct sluice_configs_results *results = NULL;
    int status = EXIT_DONE;
    if (sluice_admin_describe_configs(admin, &resource, 1, cli->timeout_ms, &results, &error) !=
        SLUICE_OK)
        status = cli_fail_error(cli, &error);
    else if (cli->is_json)
        describe_json(cli, &results->configs[0]);
    else
        describe_table(cli, &results->configs[0]);
    sluice_configs_results_free(results);
    sluice_admin_free(admin);
    return status;
}

const struct command config_describe_command = {
    .group = "config",
    .name = "describe",
    .operands = "",
    .summary = "Show the configs of a topic or broker and where each value comes from",
    .examples = "  sluice config describe --topic orders\n"
                "  sluice config describe --broker 1 --changed\n",
    .options = describe_options,
    .run = run_describe,
};

/* --- alter -------------------------------------------------------------------------- */

static const struct option alter_options[] = {
    RESOURCE_OPTIONS,
    {.name = "set",
     .kind = OPTION_PAIRS,
     .value = "KEY=VALUE",
     .help = "Set a config; may be given again"},
    {.name = "delete",
     .kind = OPTION_TEXTS,
     .value = "KEY",
     .help = "Go back to the default; may be given again"},
    {0},
};

static void print_altered(struct cli *cli, const struct sluice_alteration *a)
{
    if (!cli->is_json) {
        for (size_t i = 0; i < a->set_count; i++)
            buf_printf(&cli->out, "%s %s: %s set to %s\n", resource_word(&a->resource),
                       a->resource.name, a->set[i].key, a->set[i].value);
        for (size_t i = 0; i < a->remove_count; i++)
            buf_printf(&cli->out, "%s %s: %s back to its default\n", resource_word(&a->resource),
                       a->resource.name, a->remove[i]);
        return;
    }
    struct json j = json_to(&cli->out);
    json_begin(&j, '{');
    json_member_str(&j, resource_word(&a->resource), a->resource.name);
    json_key(&j, "set");
    json_begin(&j, '{');
    for (size_t i = 0; i < a->set_count; i++)
        json_member_str(&j, a->set[i].key, a->set[i].value);
    json_end(&j, '}');
    json_key(&j, "deleted");
    json_begin(&j, '[');
    for (size_t i = 0; i < a->remove_count; i++)
        json_str(&j, a->remove[i]);
    json_end(&j, ']');
    json_end(&j, '}');
    buf_append(&cli->out, "\n", 1);
}

static int run_alter(struct cli *cli)
{
    struct sluice_resource resource;
    if (!find_resource(cli, &resource))
        return EXIT_USAGE;
    if (!args_has(cli->args, "set") && !args_has(cli->args, "delete"))
        return cli_usage(cli, "what shall change? --set KEY=VALUE or --delete KEY");
    sluice_admin *const admin = cli_admin(cli);
    if (!admin)
        return EXIT_FAILED;

    struct cli_properties set = cli_properties(cli, "set");
    const char **const remove = mem_alloc(sizeof *remove * (cli->args->given_count + 1));
    size_t remove_count = 0;
    size_t cursor = 0;
    for (const char *key; (key = args_next(cli->args, "delete", &cursor));)
        remove[remove_count++] = key;
    const struct sluice_alteration alteration = {
        .resource = resource,
        .set = set.items,
        .set_count = set.count,
        .remove = remove,
        .remove_count = remove_count,
    };
    struct sluice_error error;
    int status = EXIT_DONE;
    if (sluice_admin_alter_configs(admin, &alteration, 1, false, cli->timeout_ms, NULL, &error) !=
        SLUICE_OK)
        status = cli_fail_error(cli, &error);
    else
        print_altered(cli, &alteration);
    mem_free(remove);
    cli_properties_free(&set);
    sluice_admin_free(admin);
    return status;
}

const struct command config_alter_command = {
    .group = "config",
    .name = "alter",
    .operands = "",
    .summary = "Change configs of a topic or broker while it runs",
    .details = "Keys that are not named stay as they are.",
    .examples = "  sluice config alter --topic orders --set retention.ms=3600000 --delete "
                "segment.bytes\n",
    .options = alter_options,
    .run = run_alter,
};
