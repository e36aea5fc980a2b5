/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sluice produce: one record per line.
 *
 * Stops at the first record that the library refuses or that turns out to have
 * failed: what was read by then is flushed and counted, so that whoever feeds it
 * knows where to go on. Memory is bounded by the producer's buffer.memory and one line.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clients/tools/cli.h"
#include "clients/tools/commands.h"
#include "clients/tools/interrupt.h"
#include "clients/tools/json.h"
#include "clients/tools/lines.h"
#include "clients/tools/progress.h"
#include "proto/base/check.h"
#include "proto/base/diag.h"
#include "proto/base/limits.h"

enum {
    LOOK_EVERY = 1024,       /* records between two looks at failures and the progress bar */
    TOPIC_WAIT_MS_MAX = 5000 /* for a topic that the cluster may create by itself */
};

static const struct option options[] = {
    {.name = "file",
     .kind = OPTION_TEXT,
     .value = "F",
     .help = "Read this file, not standard input"},
    {.name = "key-separator",
     .kind = OPTION_TEXT,
     .value = "S",
     .help = "What stands in front of the first S of a line is the record's key; every line must "
             "have one. \\t is a tab"},
    {.name = "partition",
     .kind = OPTION_NUMBER,
     .value = "N",
     .min = 0,
     .max = TOPIC_PARTITIONS_MAX - 1,
     .help = "Send everything to this partition (default: by key, else spread)"},
    {.name = "acks",
     .kind = OPTION_CHOICE,
     .value = "0|1|all",
     .choices = "0|1|all",
     .help = "Who must have a record before it counts as sent: nobody, the leader, all replicas in "
             "sync, on disk (default: all)"},
    {.name = "compression",
     .kind = OPTION_CHOICE,
     .value = "CODEC",
     .choices = "none|gzip|snappy|lz4|zstd",
     .help = "none, gzip, snappy, lz4 or zstd (default: none)"},
    {.name = "property",
     .kind = OPTION_PAIRS,
     .value = "KEY=VALUE",
     .help = "Any other config of a producer, such as linger.ms=50; may be given again"},
    {0},
};

struct produce {
    struct cli *cli;
    sluice_producer *producer;
    const char *topic;
    struct slice separator; /* empty: no keys */
    int32_t partition;      /* -1: let the library choose */
    int fd;
    struct lines lines;
    struct progress progress;
    uint64_t lines_read;
    uint64_t bytes_read;
    int status;
};

static void wake_producer(void *producer)
{
    sluice_producer_wakeup(producer);
}

static struct slice separator_of(const struct cli *cli)
{
    const char *const text = args_text(cli->args, "key-separator");
    if (!text)
        return slice_of(NULL, 0);
    return strcmp(text, "\\t") == 0 ? slice_str("\t") : slice_str(text);
}

static void configure(struct cli *cli)
{
    const char *const acks = args_text(cli->args, "acks");
    if (acks)
        cli_set(cli, "acks", acks);
    const char *const codec = args_text(cli->args, "compression");
    if (codec)
        cli_set(cli, "compression.type", codec);
}

/* Splits at the first separator; false: the line has none. */
static bool split_key(const struct produce *p, struct slice line, struct sluice_record *record)
{
    record->value = line.data;
    record->value_size = line.size;
    if (p->separator.size == 0)
        return true;
    const uint8_t *const at = memmem(line.data, line.size, p->separator.data, p->separator.size);
    if (!at)
        return false;
    record->key = line.data;
    record->key_size = (size_t)(at - line.data);
    record->value = at + p->separator.size;
    record->value_size = line.size - record->key_size - p->separator.size;
    return true;
}

/* False: reading stops here; status and message are out, or it is a signal's doing. */
static bool send_line(struct produce *p, struct slice line)
{
    struct sluice_record record = {.topic = p->topic};
    if (!split_key(p, line, &record)) {
        p->status = cli_fail(
            p->cli, "line %llu has no key separator %s; lines look like KEY%.*sVALUE",
            (unsigned long long)p->lines_read, diag_str(p->separator.data, p->separator.size),
            (int)p->separator.size, (const char *)p->separator.data);
        return false;
    }
    struct sluice_error error;
    int code;
    do {
        code = p->partition < 0
                   ? sluice_producer_send(p->producer, &record, SLUICE_TIMEOUT_DEFAULT, &error)
                   : sluice_producer_send_to(p->producer, p->partition, &record,
                                             SLUICE_TIMEOUT_DEFAULT, &error);
        /* Woken by the first signal: this line was read, so it is still to be sent. */
    } while (code == SLUICE_E_CANCELLED && interrupt_count() <= 1);
    if (code == SLUICE_OK)
        return true;
    p->status = EXIT_FAILED;
    if (code != SLUICE_E_CANCELLED) {
        cli_fail(p->cli, "line %llu (%zu bytes) was not sent", (unsigned long long)p->lines_read,
                 line.size);
        cli_report_error(p->cli, &error);
    }
    return false;
}

/* Between records: whether to go on. */
static bool look_around(struct produce *p)
{
    struct sluice_producer_stats stats;
    progress_show(&p->progress, p->bytes_read, p->lines_read);
    sluice_producer_stats(p->producer, &stats);
    return stats.records_failed == 0;
}

static void read_and_send(struct produce *p)
{
    while (interrupt_count() == 0) {
        struct slice line;
        const err e = lines_next(&p->lines, &line);
        if (e == E_END || e == E_CANCELLED)
            return;
        p->lines_read++;
        if (e == E_MESSAGE_TOO_LARGE) {
            p->status = cli_fail(p->cli, "line %llu is longer than %d bytes; nothing takes that",
                                 (unsigned long long)p->lines_read, FRAME_BYTES_MAX);
            return;
        }
        if (e != OK) {
            p->lines_read--;
            p->status = cli_fail(p->cli, "cannot read line %llu: %s",
                                 (unsigned long long)p->lines_read + 1, strerror(p->lines.errnum));
            return;
        }
        p->bytes_read += line.size + 1;
        if (!send_line(p, line))
            return;
        if (p->lines_read % LOOK_EVERY == 0 && !look_around(p))
            return;
    }
}

/* Waits until everything sent has ended one way or the other; a second signal ends the wait. */
static void finish(struct produce *p)
{
    struct sluice_error error;
    struct sluice_producer_stats stats;
    int code;
    do {
        code = sluice_producer_flush(p->producer, INT64_MAX / 2, &error);
    } while (code == SLUICE_E_CANCELLED && interrupt_count() <= 1);
    progress_end(&p->progress);
    sluice_producer_stats(p->producer, &stats);
    const unsigned long long acked = stats.records_acked;
    const unsigned long long missing = p->lines_read - stats.records_acked;
    const bool is_pending = stats.records_sent > stats.records_acked + stats.records_failed;
    if (code != SLUICE_OK && code != SLUICE_E_CANCELLED)
        cli_report_error(p->cli, &error);
    if (interrupt_count() > 0)
        p->status = cli_fail(p->cli, "interrupted before the end of the input");
    if (missing > 0)
        p->status = cli_fail(p->cli, "%llu of %llu records were not acknowledged%s", missing,
                             acked + missing,
                             is_pending ? "; whether all of them are stored is not known" : "");
    if (code != SLUICE_OK)
        p->status = EXIT_FAILED;
    if (p->cli->is_json) {
        struct json j = json_to(&p->cli->out);
        json_begin(&j, '{');
        json_member_str(&j, "topic", p->topic);
        json_member_int(&j, "records", (int64_t)p->lines_read);
        json_member_int(&j, "acknowledged", (int64_t)acked);
        json_member_int(&j, "failed", (int64_t)missing);
        json_end(&j, '}');
        buf_append(&p->cli->out, "\n", 1);
    } else if (p->status != EXIT_DONE || isatty(STDERR_FILENO)) {
        cli_note(p->cli, "%llu records acknowledged", acked);
    }
}

/* The topic must be there, or come to be there because the cluster creates topics by itself. */
static bool find_topic(struct produce *p)
{
    struct sluice_error error;
    const int64_t timeout_ms =
        args_has(p->cli->args, "timeout") || p->cli->timeout_ms < TOPIC_WAIT_MS_MAX
            ? p->cli->timeout_ms
            : TOPIC_WAIT_MS_MAX;
    int32_t count;
    const int code = sluice_producer_partitions(p->producer, p->topic, timeout_ms, &count, &error);
    if (code != SLUICE_OK) {
        if (code != SLUICE_E_CANCELLED)
            cli_report_error(p->cli, &error);
        return false;
    }
    if (p->partition >= count) {
        cli_fail_partition(p->cli, p->topic, count, p->partition);
        return false;
    }
    return true;
}

static bool open_input(struct produce *p)
{
    const char *const path = args_text(p->cli->args, "file");
    p->fd = STDIN_FILENO;
    if (path && strcmp(path, "-") != 0)
        p->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (p->fd < 0) {
        cli_fail(p->cli, "--file %s: cannot open it: %s", path, strerror(errno));
        return false;
    }
    if (p->fd == STDIN_FILENO && isatty(STDIN_FILENO) && isatty(STDERR_FILENO))
        cli_note(p->cli, "each line is a record; Ctrl-D ends");
    return true;
}

static void start_progress(struct produce *p)
{
    struct stat st;
    const bool is_known = fstat(p->fd, &st) == 0 && S_ISREG(st.st_mode);
    progress_start(&p->progress, is_known ? (uint64_t)st.st_size : 0);
}

static int run_with_producer(struct produce *p)
{
    if (!find_topic(p) || !open_input(p))
        return EXIT_FAILED;
    start_progress(p);
    lines_init(&p->lines, p->fd, interrupt_fd(), FRAME_BYTES_MAX);
    read_and_send(p);
    finish(p);
    lines_deinit(&p->lines);
    if (p->fd != STDIN_FILENO)
        close(p->fd);
    return p->status;
}

static int run(struct cli *cli)
{
    struct produce p = {
        .cli = cli,
        .topic = cli->args->operands[0],
        .separator = separator_of(cli),
        .partition =
            args_has(cli->args, "partition") ? (int32_t)args_number(cli->args, "partition") : -1,
    };
    if (!cli_load_settings(cli, SLUICE_PRODUCER))
        return EXIT_FAILED;
    configure(cli);
    struct sluice_error error;
    sluice_config *const config = cli_config(cli, SLUICE_PRODUCER);
    const int code = sluice_producer_new(config, NULL, &p.producer, &error);
    sluice_config_free(config);
    if (code != SLUICE_OK)
        return cli_fail_error(cli, &error);
    interrupt_wakes(wake_producer, p.producer);
    interrupt_catch();
    const int status = run_with_producer(&p);
    interrupt_wakes(NULL, NULL);
    /* All is flushed, or was given up. */
    sluice_producer_close(p.producer, 0, NULL);
    return status;
}

const struct command produce_command = {
    .name = "produce",
    .operands = "TOPIC",
    .operands_min = 1,
    .operands_max = 1,
    .summary = "Send lines of standard input, or of a file, as records",
    .details =
        "A record's value is a line without its newline; a last line without one counts. An empty "
        "line is an empty value.\n"
        "\n"
        "Exit status 0 means that every line was acknowledged. It stops at the first record that "
        "fails and says how many were acknowledged and how many were not. Ctrl-C stops reading and "
        "waits for what was sent; a second Ctrl-C does not wait. With --output json "
        "the counts are printed as one object.",
    .examples = "  sluice produce words --file /usr/share/dict/words\n"
                "  tail -f app.log | sluice produce logs --compression zstd\n"
                "  printf 'alice:1\\nbob:2\\n' | sluice produce scores --key-separator :\n",
    .options = options,
    .run = run,
};
