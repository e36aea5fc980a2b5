/* SPDX-License-Identifier: Apache-2.0 */
/* sluice log verify: checks a data directory or the directory of one partition. */
#include "broker/log/log_verify.h"

#include "broker/log/fsio.h"
#include "clients/tools/cli.h"
#include "clients/tools/commands.h"
#include "clients/tools/json.h"

struct verify {
    struct cli *cli;
    struct json json;
};

static const char *kind_word(enum log_finding_kind kind)
{
    static const char *const words[] = {[LOG_FINDING_NOTE] = "note",
                                        [LOG_FINDING_DOUBT] = "doubt",
                                        [LOG_FINDING_DAMAGE] = "damage"};
    return words[kind];
}

static void json_place(struct json *j, int64_t v)
{
    if (v >= 0)
        json_int(j, v);
    else
        json_null(j);
}

static void on_finding(void *arg, const struct log_finding *f)
{
    struct verify *const v = arg;
    struct buf *const out = &v->cli->out;
    if (!v->cli->is_json) {
        buf_printf(out, "%s: %s", kind_word(f->kind), f->path);
        if (f->pos >= 0)
            buf_printf(out, " at %lld", (long long)f->pos);
        if (f->offset >= 0)
            buf_printf(out, " (offset %lld)", (long long)f->offset);
        buf_printf(out, ": %s\n", f->text);
    } else {
        json_begin(&v->json, '{');
        json_member_str(&v->json, "kind", kind_word(f->kind));
        json_member_str(&v->json, "path", f->path);
        json_key(&v->json, "position");
        json_place(&v->json, f->pos);
        json_key(&v->json, "offset");
        json_place(&v->json, f->offset);
        json_member_str(&v->json, "error", f->error == OK ? NULL : err_name(f->error));
        json_member_str(&v->json, "text", f->text);
        json_end(&v->json, '}');
    }
    cli_flush_if_large(v->cli);
}

static void print_json_report(struct json *j, const struct log_verify_report *r)
{
    json_member_int(j, "partitions", (int64_t)r->partitions);
    json_member_int(j, "segments", (int64_t)r->segments);
    json_member_int(j, "batches", (int64_t)r->batches);
    json_member_int(j, "records", (int64_t)r->records);
    json_member_int(j, "bytes", (int64_t)r->bytes);
    json_member_int(j, "notes", (int64_t)r->notes);
    json_member_int(j, "doubts", (int64_t)r->doubts);
    json_member_int(j, "damages", (int64_t)r->damages);
}

static void print_report(struct buf *out, const struct log_verify_report *r)
{
    buf_printf(
        out, "%zu partition%s, %zu segment%s, %llu batches, %llu records, %.1f MB: ", r->partitions,
        r->partitions == 1 ? "" : "s", r->segments, r->segments == 1 ? "" : "s",
        (unsigned long long)r->batches, (unsigned long long)r->records, (double)r->bytes / 1e6);
    if (r->damages + r->doubts + r->notes == 0)
        buf_append_str(out, "all is well\n");
    else
        buf_printf(out, "%zu damage%s, %zu doubt%s, %zu note%s\n", r->damages,
                   r->damages == 1 ? "" : "s", r->doubts, r->doubts == 1 ? "" : "s", r->notes,
                   r->notes == 1 ? "" : "s");
}

static int run(struct cli *cli)
{
    const char *const path = cli->args->operands[0];
    struct verify v = {.cli = cli, .json = json_to(&cli->out)};
    struct log_verify_report report = {0};
    if (cli->is_json) {
        json_begin(&v.json, '{');
        json_member_str(&v.json, "path", path);
        json_key(&v.json, "findings");
        json_begin(&v.json, '[');
    }
    const err e = log_verify(fsio_posix(), path, on_finding, &v, &report);
    if (cli->is_json) {
        json_end(&v.json, ']');
        print_json_report(&v.json, &report);
        json_member_str(&v.json, "error", e == OK ? NULL : err_name(e));
        json_end(&v.json, '}');
        buf_append(&cli->out, "\n", 1);
    } else if (e == OK) {
        print_report(&cli->out, &report);
    }
    if (e == E_NOT_FOUND)
        return cli_fail(cli,
                        "%s: neither a data directory nor the directory of a partition; give "
                        "what data.dirs of the broker names, or TOPIC-PARTITION.ID below it",
                        path);
    if (e != OK)
        return cli_fail(cli, "%s: could not be read to its end: %s (%s)", path, err_text(e),
                        err_name(e));
    return report.damages + report.doubts == 0 ? EXIT_DONE : EXIT_FAILED;
}

const struct command log_verify_command = {
    .group = "log",
    .name = "verify",
    .operands = "DIR",
    .operands_min = 1,
    .operands_max = 1,
    .summary = "Check every file of a data directory, or of one partition, without changing any",
    .details =
        "A note is legal and worth knowing, such as a tail that recovery will cut; a doubt is a "
        "file "
        "that the broker rebuilds by itself; damage is lost or wrong records. Fails on doubts and "
        "damages. While a broker writes, the ends of its files may look torn.",
    .examples = "  sluice log verify /var/lib/sluice\n",
    .run = run,
};
