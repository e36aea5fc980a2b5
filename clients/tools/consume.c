/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sluice consume: records to standard output.
 *
 * The path of a record: a view from the library's fetched batch, formatted into
 * cli->out, written in large pieces; what is in out is written before every wait, so
 * that a reader behind a pipe sees each record at once when few come and the fewest
 * system calls when many do. No allocation per record.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "clients/tools/cli.h"
#include "clients/tools/commands.h"
#include "clients/tools/format.h"
#include "clients/tools/interrupt.h"
#include "clients/tools/json.h"
#include "proto/base/diag.h"
#include "proto/base/limits.h"
#include "proto/base/mem.h"

enum { WAIT_MS = 1000 /* between two looks whether the reader of our output is still there */ };

static const struct option options[] = {
    {.name = "from-beginning", .kind = OPTION_FLAG, .help = "The same as --offset earliest"},
    {.name = "offset",
     .kind = OPTION_TEXT,
     .value = "PLACE",
     .help = "Where to begin: an offset (with --partition, unless there is but one), earliest, "
             "latest, or time:MS, the first record that is not older than MS milliseconds since "
             "1970 (default: latest)"},
    {.name = "partition",
     .kind = OPTION_NUMBER,
     .value = "N",
     .min = 0,
     .max = TOPIC_PARTITIONS_MAX - 1,
     .help = "Read this partition only (default: all)"},
    {.name = "group",
     .kind = OPTION_TEXT,
     .value = "G",
     .help = "Read as a member of a consumer group: not supported by this version"},
    {.name = "max-messages",
     .kind = OPTION_NUMBER,
     .value = "N",
     .min = 1,
     .max = INT64_MAX,
     .help = "Stop after N records (default: go on until Ctrl-C)"},
    {.name = "exit-at-end",
     .kind = OPTION_FLAG,
     .help = "Stop when everything that is there was read"},
    {.name = "format",
     .kind = OPTION_TEXT,
     .value = "FMT",
     .help = "What to print for a record (default: %v\\n)"},
    {.name = "property",
     .kind = OPTION_PAIRS,
     .value = "KEY=VALUE",
     .help = "Any config of a consumer, such as fetch.max.bytes=1000000; may be given again"},
    {0},
};

struct consume {
    struct cli *cli;
    sluice_consumer *consumer;
    const char *topic;
    struct format format;
    int64_t start; /* an offset or SLUICE_OFFSET_*; of no meaning with is_time */
    bool is_time;
    int64_t time_ms;
    struct sluice_topic_partition *partitions;
    size_t partition_count;
    bool *is_ended; /* by place in partitions */
    size_t ended_count;
    uint64_t records;
    uint64_t records_max;
    bool is_done;
    int status;
};

static void wake_consumer(void *consumer)
{
    sluice_consumer_wakeup(consumer);
}

/* --- what to read ------------------------------------------------------------------- */

/* False: reported as wrong usage. */
static bool parse_start(struct consume *c)
{
    const struct cli *const cli = c->cli;
    const char *const text = args_text(cli->args, "offset");
    if (text && args_has(cli->args, "from-beginning")) {
        cli_usage(cli, "--from-beginning and --offset exclude each other");
        return false;
    }
    c->start = args_has(cli->args, "from-beginning") ? SLUICE_OFFSET_BEGINNING : SLUICE_OFFSET_END;
    if (!text || strcmp(text, "latest") == 0)
        return true;
    if (strcmp(text, "earliest") == 0) {
        c->start = SLUICE_OFFSET_BEGINNING;
        return true;
    }
    if (strncmp(text, "time:", 5) == 0 && parse_int64(text + 5, &c->time_ms) && c->time_ms >= 0) {
        c->is_time = true;
        return true;
    }
    if (parse_int64(text, &c->start) && c->start >= 0)
        return true;
    cli_usage(cli,
              "--offset: %s is not an offset, earliest, latest or time:MS (milliseconds since "
              "1970)",
              diag_str(text, strlen(text)));
    return false;
}

static bool check_usage(struct consume *c)
{
    if (args_has(c->cli->args, "group")) {
        cli_usage(c->cli, "--group: groups are not supported by this version; without it, consume "
                          "reads all partitions of the topic by itself");
        return false;
    }
    if (c->cli->is_json && args_has(c->cli->args, "format")) {
        cli_usage(c->cli, "--format and --output json exclude each other");
        return false;
    }
    struct buf message = {0};
    const char *const text = args_text(c->cli->args, "format");
    const err e = format_compile(&c->format, text ? text : "%v\\n", &message);
    if (e != OK)
        cli_usage(c->cli, "%.*s", (int)message.size, (const char *)message.data);
    buf_deinit(&message);
    return e == OK && parse_start(c);
}

static void configure(struct consume *c)
{
    if (args_has(c->cli->args, "exit-at-end"))
        cli_set(c->cli, "enable.partition.eof", "true");
    /* Somebody who names an offset wants that one or to be told. */
    if (c->start >= 0 && !cli_get(c->cli, "auto.offset.reset"))
        cli_set(c->cli, "auto.offset.reset", "none");
}

static bool choose_partitions(struct consume *c, int32_t count)
{
    const struct args *const a = c->cli->args;
    const bool is_one = args_has(a, "partition");
    const int32_t chosen = is_one ? (int32_t)args_number(a, "partition") : 0;
    if (chosen >= count) {
        c->status = cli_fail_partition(c->cli, c->topic, count, chosen);
        return false;
    }
    if (c->start >= 0 && !is_one && count > 1) {
        c->status = cli_usage(c->cli,
                              "--offset %lld of which partition? Topic %s has %d; choose one "
                              "with --partition",
                              (long long)c->start, c->topic, count);
        return false;
    }
    c->partition_count = is_one ? 1 : (size_t)count;
    c->partitions = mem_alloc(sizeof *c->partitions * c->partition_count);
    c->is_ended = mem_zalloc(sizeof *c->is_ended * c->partition_count);
    for (size_t i = 0; i < c->partition_count; i++)
        c->partitions[i] = (struct sluice_topic_partition){
            .topic = c->topic,
            .partition = is_one ? chosen : (int32_t)i,
            .offset = c->is_time ? SLUICE_OFFSET_END : c->start,
        };
    return true;
}

static bool assign(struct consume *c)
{
    struct sluice_error error;
    int code = sluice_consumer_assign(c->consumer, c->partitions, c->partition_count, &error);
    for (size_t i = 0; code == SLUICE_OK && c->is_time && i < c->partition_count; i++)
        code = sluice_consumer_seek_time(c->consumer, c->topic, c->partitions[i].partition,
                                         c->time_ms, &error);
    if (code != SLUICE_OK)
        c->status = cli_fail_error(c->cli, &error);
    return code == SLUICE_OK;
}

/* --- printing ----------------------------------------------------------------------- */

static void header_at(const struct format_record *r, size_t i, struct slice *name,
                      struct slice *value)
{
    size_t pos = 0;
    struct sluice_header_view view = {0};
    for (size_t k = 0; k <= i; k++)
        if (!sluice_header_next(r->arg, &pos, &view))
            break;
    *name = slice_of(view.key, view.key_size);
    *value = slice_of(view.value, view.value_size);
}

static size_t count_headers(const struct sluice_message *m)
{
    size_t count = 0;
    size_t pos = 0;
    struct sluice_header_view view;
    while (m->headers_size > 0 && sluice_header_next(m, &pos, &view))
        count++;
    return count;
}

static void print_formatted(struct consume *c, const struct sluice_message *m)
{
    const struct format_record record = {
        .topic = m->topic,
        .partition = (uint32_t)m->partition,
        .offset = m->offset,
        .timestamp = m->timestamp_ms,
        .key = slice_of(m->key, m->key_size),
        .value = slice_of(m->value, m->value_size),
        .header_count = count_headers(m),
        .header = header_at,
        .arg = m,
    };
    format_write(&c->format, &record, &c->cli->out);
}

static void print_json(struct consume *c, const struct sluice_message *m)
{
    struct json j = json_to(&c->cli->out);
    json_begin(&j, '{');
    json_member_str(&j, "topic", m->topic);
    json_member_int(&j, "partition", m->partition);
    json_member_int(&j, "offset", m->offset);
    json_member_int(&j, "timestamp", m->timestamp_ms);
    json_key(&j, "key");
    json_bytes(&j, slice_of(m->key, m->key_size));
    json_key(&j, "value");
    json_bytes(&j, slice_of(m->value, m->value_size));
    json_key(&j, "headers");
    json_begin(&j, '[');
    size_t pos = 0;
    struct sluice_header_view view;
    while (m->headers_size > 0 && sluice_header_next(m, &pos, &view)) {
        json_begin(&j, '{');
        json_key(&j, "key");
        json_bytes(&j, slice_of(view.key, view.key_size));
        json_key(&j, "value");
        json_bytes(&j, slice_of(view.value, view.value_size));
        json_end(&j, '}');
    }
    json_end(&j, ']');
    json_end(&j, '}');
    buf_append(&c->cli->out, "\n", 1);
}

static void print_messages(struct consume *c, const struct sluice_poll *polled)
{
    for (size_t i = 0; i < polled->message_count && !c->is_done; i++) {
        if (c->cli->is_json)
            print_json(c, &polled->messages[i]);
        else
            print_formatted(c, &polled->messages[i]);
        c->is_done = ++c->records == c->records_max || !cli_flush_if_large(c->cli);
    }
}

/* --- events ------------------------------------------------------------------------- */

static void on_end(struct consume *c, int32_t partition)
{
    for (size_t i = 0; i < c->partition_count; i++)
        if (c->partitions[i].partition == partition && !c->is_ended[i]) {
            c->is_ended[i] = true;
            c->is_done = ++c->ended_count == c->partition_count;
        }
}

static bool heals_by_itself(const struct sluice_error *error)
{
    return error->error_class == SLUICE_CLASS_RETRY || error->error_class == SLUICE_CLASS_REROUTE;
}

static void on_event(struct consume *c, const struct sluice_event *event)
{
    switch (event->type) {
    case SLUICE_EVENT_END:
        on_end(c, event->partition);
        break;
    case SLUICE_EVENT_RESET:
        cli_note(c->cli, "partition %d: offset %lld is not there; going on at %lld",
                 event->partition, (long long)event->from, (long long)event->offset);
        break;
    case SLUICE_EVENT_ERROR:
        if (heals_by_itself(event->error)) {
            cli_note(c->cli, "%s; trying again", event->error->text);
            break;
        }
        cli_flush(c->cli);
        c->status = cli_fail_error(c->cli, event->error);
        c->is_done = true;
        break;
    }
}

/* --- the loop ----------------------------------------------------------------------- */

/* What is fetched already comes without waiting; before a wait all output is written. */
static int poll_records(struct consume *c, struct sluice_poll *polled, struct sluice_error *error)
{
    const int code = sluice_consumer_poll(c->consumer, 0, polled, error);
    if (code != SLUICE_OK || polled->message_count > 0 || polled->event_count > 0)
        return code;
    if (!cli_flush(c->cli) || cli_is_reader_gone(c->cli)) {
        c->is_done = true;
        return SLUICE_OK;
    }
    return sluice_consumer_poll(c->consumer, WAIT_MS, polled, error);
}

static void consume_records(struct consume *c)
{
    while (!c->is_done && interrupt_count() == 0) {
        struct sluice_error error;
        struct sluice_poll polled = {0};
        const int code = poll_records(c, &polled, &error);
        if (code == SLUICE_E_CANCELLED)
            continue;
        if (code != SLUICE_OK) {
            cli_flush(c->cli);
            c->status = cli_fail_error(c->cli, &error);
            return;
        }
        print_messages(c, &polled);
        for (size_t i = 0; i < polled.event_count && !c->is_done; i++)
            on_event(c, &polled.events[i]);
    }
}

static void say_goodbye(struct consume *c)
{
    const bool is_from_end = c->start == SLUICE_OFFSET_END && !c->is_time;
    cli_flush(c->cli);
    if (c->records == 0 && is_from_end && args_has(c->cli->args, "exit-at-end"))
        cli_note(c->cli, "read from the end on, where nothing was; --from-beginning reads what is "
                         "there");
    else if (isatty(STDERR_FILENO))
        cli_note(c->cli, "%llu records", (unsigned long long)c->records);
}

static void run_with_consumer(struct consume *c)
{
    const int32_t count = cli_partition_count(c->cli, c->topic);
    if (count < 0) {
        c->status = EXIT_FAILED;
        return;
    }
    if (!choose_partitions(c, count) || !assign(c))
        return;
    if (isatty(STDERR_FILENO) && isatty(STDOUT_FILENO) && !args_has(c->cli->args, "exit-at-end"))
        cli_note(c->cli, "reading %s; Ctrl-C ends",
                 c->start == SLUICE_OFFSET_END && !c->is_time
                     ? "new records (--from-beginning for all)"
                     : "records");
    consume_records(c);
    say_goodbye(c);
}

static int open_consumer(struct consume *c)
{
    struct sluice_error error;
    configure(c);
    sluice_config *const config = cli_config(c->cli, SLUICE_CONSUMER);
    const int code = sluice_consumer_new(config, &c->consumer, &error);
    sluice_config_free(config);
    return code == SLUICE_OK ? EXIT_DONE : cli_fail_error(c->cli, &error);
}

static int run(struct cli *cli)
{
    struct consume c = {
        .cli = cli,
        .topic = cli->args->operands[0],
        .records_max = (uint64_t)args_number(cli->args, "max-messages"),
    };
    if (!check_usage(&c)) {
        format_deinit(&c.format);
        return EXIT_USAGE;
    }
    c.status = cli_load_settings(cli, SLUICE_CONSUMER) ? EXIT_DONE : EXIT_FAILED;
    if (c.status == EXIT_DONE)
        c.status = open_consumer(&c);
    if (c.status == EXIT_DONE) {
        interrupt_wakes(wake_consumer, c.consumer);
        interrupt_catch();
        run_with_consumer(&c);
        interrupt_wakes(NULL, NULL);
        sluice_consumer_close(c.consumer, 0, NULL);
    }
    format_deinit(&c.format);
    mem_free(c.partitions);
    mem_free(c.is_ended);
    return c.status;
}

const struct command consume_command = {
    .name = "consume",
    .operands = "TOPIC",
    .operands_min = 1,
    .operands_max = 1,
    .summary = "Print records as they come",
    .details =
        "Prints values as lines, until Ctrl-C, --max-messages or --exit-at-end. Order is kept "
        "within "
        "a partition. With --output json: one JSON object a line; what is not UTF-8 is "
        "{\"base64\": \"...\"}.\n"
        "\n"
        "In --format:\n"
        "  %v value    %k key        %o offset    %p partition    %t timestamp (ms since 1970)\n"
        "  %T topic    %h headers (name=value,...)    %V %K size of value, key (-1: none)\n"
        "  %% a percent sign;  \\n \\t \\r \\0 \\\\ \\xHH as in C;  a missing key or value prints "
        "nothing\n"
        "\n"
        "Exit status 0 also after Ctrl-C and when the reader of the output goes away.",
    .examples = "  sluice consume orders --from-beginning --exit-at-end\n"
                "  sluice consume orders --offset time:1735689600000 --format '%t %k %v\\n'\n"
                "  sluice consume orders --partition 0 --offset 42 --max-messages 1\n",
    .options = options,
    .run = run,
};
