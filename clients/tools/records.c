/* SPDX-License-Identifier: Apache-2.0 */
/* sluice records delete */
#include "clients/tools/cli.h"
#include "clients/tools/commands.h"
#include "clients/tools/json.h"
#include "proto/base/limits.h"

static const struct option options[] = {
    {.name = "topic", .kind = OPTION_TEXT, .value = "TOPIC", .help = "The topic"},
    {.name = "partition",
     .kind = OPTION_NUMBER,
     .value = "N",
     .min = 0,
     .max = TOPIC_PARTITIONS_MAX - 1,
     .help = "The partition"},
    {.name = "before-offset",
     .kind = OPTION_NUMBER,
     .value = "O",
     .alias = "offset",
     .min = -1,
     .max = INT64_MAX,
     .help = "Records with smaller offsets go; -1: all that are acknowledged now (up to the high "
             "watermark)"},
    {0},
};

static int run(struct cli *cli)
{
    static const char *const needed[] = {"topic", "partition", "before-offset"};
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++)
        if (!args_has(cli->args, needed[i]))
            return cli_usage(cli,
                             "--%s is missing: --topic TOPIC --partition N --before-offset O are "
                             "all needed",
                             needed[i]);
    sluice_admin *const admin = cli_admin(cli);
    if (!admin)
        return EXIT_FAILED;
    const int64_t before = args_number(cli->args, "before-offset");
    const struct sluice_topic_partition asked = {
        .topic = args_text(cli->args, "topic"),
        .partition = (int32_t)args_number(cli->args, "partition"),
        .offset = before < 0 ? SLUICE_OFFSET_END : before,
    };
    struct sluice_error error;
    struct sluice_offset_results *results = NULL;
    int status = EXIT_DONE;
    if (sluice_admin_delete_records(admin, &asked, 1, cli->timeout_ms, &results, &error) !=
        SLUICE_OK) {
        status = cli_fail_error(cli, &error);
    } else if (!cli->is_json) {
        buf_printf(&cli->out, "topic %s partition %d begins at offset %lld now\n", asked.topic,
                   asked.partition, (long long)results->offsets[0].offset);
    } else {
        struct json j = json_to(&cli->out);
        json_begin(&j, '{');
        json_member_str(&j, "topic", asked.topic);
        json_member_int(&j, "partition", asked.partition);
        json_member_int(&j, "first_offset", results->offsets[0].offset);
        json_end(&j, '}');
        buf_append(&cli->out, "\n", 1);
    }
    sluice_offset_results_free(results);
    sluice_admin_free(admin);
    return status;
}

const struct command records_delete_command = {
    .group = "records",
    .name = "delete",
    .operands = "",
    .summary = "Delete the oldest records of a partition",
    .details = "The partition begins at the given offset from then on; its files go when whole "
               "segments lie below it.",
    .examples = "  sluice records delete --topic orders --partition 0 --before-offset 1000\n"
                "  sluice records delete --topic orders --partition 0 --before-offset -1\n",
    .options = options,
    .run = run,
};
