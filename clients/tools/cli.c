/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/tools/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/base/conf.h"
#include "proto/base/limits.h"
#include "proto/base/mem.h"

enum { FLUSH_BYTES = 256 * KIB, CONFIG_FILE_MAX = MIB };

static const char DEFAULT_BOOTSTRAP[] = "localhost:9290";

void cli_init(struct cli *cli, const struct args *args)
{
    *cli = (struct cli){
        .args = args,
        .is_json = strcmp(args_text(args, "output"), "json") == 0,
        .timeout_ms = args_number(args, "timeout"),
    };
}

void cli_deinit(struct cli *cli)
{
    buf_deinit(&cli->out);
    sluice_config_free(cli->config);
}

/* --- output ------------------------------------------------------------------------------------
 */

bool cli_flush(struct cli *cli)
{
    size_t done = 0;
    while (done < cli->out.size && !cli->is_reader_gone && !cli->is_output_failed) {
        const ssize_t n = write(STDOUT_FILENO, cli->out.data + done, cli->out.size - done);
        if (n >= 0) {
            done += (size_t)n;
        } else if (errno == EPIPE) {
            cli->is_reader_gone = true;
        } else if (errno == EAGAIN) {
            struct pollfd fd = {.fd = STDOUT_FILENO, .events = POLLOUT};
            poll(&fd, 1, -1);
        } else if (errno != EINTR) {
            cli->is_output_failed = true;
            cli_fail(cli, "cannot write to standard output: %s", strerror(errno));
        }
    }
    buf_clear(&cli->out);
    return !cli->is_reader_gone && !cli->is_output_failed;
}

bool cli_flush_if_large(struct cli *cli)
{
    return cli->out.size < FLUSH_BYTES || cli_flush(cli);
}

bool cli_is_reader_gone(struct cli *cli)
{
    struct pollfd fd = {.fd = STDOUT_FILENO};
    if (poll(&fd, 1, 0) == 1 && (fd.revents & POLLERR))
        cli->is_reader_gone = true;
    return cli->is_reader_gone;
}

/* --- messages ------------------------------------------------------------------------------------
 */

static void say_who(const struct cli *cli)
{
    const struct args *const a = cli->args;
    const struct command *const c = a->command;
    fprintf(stderr, "%s%s%s%s%s: ", a->set->program, c && c->group ? " " : "",
            c && c->group ? c->group : "", c ? " " : "", c ? c->name : "");
}

static void say(const struct cli *cli, const char *format, va_list list)
{
    say_who(cli);
    vfprintf(stderr, format, list);
    fputc('\n', stderr);
}

int cli_fail(const struct cli *cli, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    say(cli, format, list);
    va_end(list);
    return EXIT_FAILED;
}

void cli_note(const struct cli *cli, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    say(cli, format, list);
    va_end(list);
}

int cli_usage(const struct cli *cli, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    say(cli, format, list);
    va_end(list);
    const struct command *const c = cli->args->command;
    fprintf(stderr, "Try: %s %s%s%s --help\n", cli->args->set->program, c->group ? c->group : "",
            c->group ? " " : "", c->name);
    return EXIT_USAGE;
}

static const struct advice {
    int32_t code;
    const char *text;
} ADVICE[] = {
    {SLUICE_E_UNKNOWN_TOPIC_OR_PARTITION,
     "`sluice topic list` shows what there is, `sluice topic create NAME` makes a topic."},
    {SLUICE_E_UNKNOWN_TOPIC_ID,
     "The topic was deleted meanwhile; `sluice topic list` shows what there is."},
    {SLUICE_E_TOPIC_EXISTS, "Choose another name, or leave it alone with --if-not-exists."},
    {SLUICE_E_INVALID_TOPIC,
     "A name is 1 to 200 letters, digits, '.', '_' and '-', not '.' or '..'."},
    {SLUICE_E_INVALID_REPLICATION_FACTOR,
     "At most as many replicas as brokers: `sluice broker list` shows them."},
    {SLUICE_E_INVALID_CONFIG,
     "`sluice config describe` of a topic or broker shows the keys and their values."},
    {SLUICE_E_TIMED_OUT,
     "Is the cluster up and reachable (`sluice cluster describe`)? --timeout MS waits longer."},
    {SLUICE_E_NETWORK,
     "Is a cluster running there? --bootstrap HOST:PORT or SLUICE_BOOTSTRAP names "
     "another; `sluice-broker --standalone` starts one on this machine."},
    {SLUICE_E_BROKER_NOT_AVAILABLE,
     "`sluice broker list` shows the brokers that are registered now."},
    {SLUICE_E_LEADER_NOT_AVAILABLE,
     "`sluice topic describe NAME` shows which partitions have a leader."},
    {SLUICE_E_OFFSET_OUT_OF_RANGE,
     "`sluice topic describe NAME --offsets` shows what the partitions hold."},
    {SLUICE_E_MESSAGE_TOO_LARGE, "Send smaller records, or raise max.message.bytes of the topic "
                                 "(`sluice config alter`) and max.request.size (--property)."},
    {SLUICE_E_NO_SPACE,
     "Free space on the broker's disk, or shorten retention (`sluice config alter`)."},
    {SLUICE_E_NOT_ENOUGH_REPLICAS,
     "`sluice topic describe NAME` shows which replicas are in sync."},
    {SLUICE_E_OVERLOADED, "Try again later, or raise the limit that is named."},
    {SLUICE_E_NOT_READY, "Try again in a moment."},
    {SLUICE_E_SHUTTING_DOWN, "Try again when it is back."},
    {SLUICE_E_COORDINATION,
     "Look at the brokers' diagnostics: the coordination service is not answering."},
    {SLUICE_E_STORAGE, "Look at the broker's diagnostics: a disk failed or its data is damaged."},
    {SLUICE_E_UNSUPPORTED_VERSION,
     "Client and cluster are too far apart; `sluice --version` tells this one's."},
};

const char *cli_advice(int32_t code)
{
    for (size_t i = 0; i < sizeof ADVICE / sizeof *ADVICE; i++)
        if (ADVICE[i].code == code)
            return ADVICE[i].text;
    return NULL;
}

void cli_report_error(const struct cli *cli, const struct sluice_error *error)
{
    say_who(cli);
    fprintf(stderr, "%s\n", error->text[0] ? error->text : sluice_code_name(error->code));
    const char *const advice = cli_advice(error->code);
    if (advice)
        fprintf(stderr, "%s\n", advice);
}

int cli_fail_error(const struct cli *cli, const struct sluice_error *error)
{
    cli_report_error(cli, error);
    return EXIT_FAILED;
}

/* --- the cluster ---------------------------------------------------------------------------------
 */

/* A whole small file; false: reported. */
static bool read_config_file(const struct cli *cli, const char *path, struct buf *out)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        cli_fail(cli, "--config %s: cannot open it: %s", path, strerror(errno));
        return false;
    }
    ssize_t n;
    do {
        n = read(fd, buf_reserve(out, 64 * KIB), 64 * KIB);
        if (n > 0)
            out->size += (size_t)n;
    } while ((n > 0 && out->size <= CONFIG_FILE_MAX) || (n < 0 && errno == EINTR));
    const int failure = errno;
    close(fd);
    if (n < 0)
        cli_fail(cli, "--config %s: cannot read it: %s", path, strerror(failure));
    else if (out->size > CONFIG_FILE_MAX)
        cli_fail(cli, "--config %s: larger than 1 MiB, which no configuration is", path);
    else
        return true;
    return false;
}

static char *slice_dup(struct slice s)
{
    return mem_printf("%.*s", (int)s.size, (const char *)s.data);
}

static bool load_config_file(struct cli *cli, const char *path)
{
    struct buf text = {0};
    bool is_good = read_config_file(cli, path, &text);
    struct properties p = {.rest = buf_slice(&text)};
    while (is_good) {
        struct slice key;
        struct slice value;
        const err e = properties_next(&p, &key, &value);
        if (e == E_END)
            break;
        if (e != OK) {
            cli_fail(cli, "--config %s: line %u is not key=value", path, p.line);
            is_good = false;
            break;
        }
        char *const k = slice_dup(key);
        char *const v = slice_dup(value);
        sluice_config_set(cli->config, k, v);
        mem_free(k);
        mem_free(v);
    }
    buf_deinit(&text);
    return is_good;
}

static bool has_option(const struct cli *cli, const char *name)
{
    for (const struct option *o = cli->args->command->options; o && o->name; o++)
        if (strcmp(o->name, name) == 0)
            return true;
    return false;
}

static void set_properties(struct cli *cli)
{
    struct cli_properties p = cli_properties(cli, "property");
    for (size_t i = 0; i < p.count; i++)
        sluice_config_set(cli->config, p.items[i].key, p.items[i].value);
    cli_properties_free(&p);
}

bool cli_config(struct cli *cli)
{
    if (cli->config)
        return true;
    cli->config = sluice_config_new();
    sluice_config_set(cli->config, "client.id", "sluice-cli");
    const char *const path = args_text(cli->args, "config-file");
    if (path && !load_config_file(cli, path))
        return false;
    const char *bootstrap = args_text(cli->args, "bootstrap");
    if (!bootstrap)
        bootstrap = sluice_config_get(cli->config, "bootstrap.servers");
    if (!bootstrap)
        bootstrap = getenv("SLUICE_BOOTSTRAP");
    if (!bootstrap || !*bootstrap)
        bootstrap = DEFAULT_BOOTSTRAP;
    sluice_config_set(cli->config, "bootstrap.servers", bootstrap);
    if (has_option(cli, "property"))
        set_properties(cli);
    cli->bootstrap = sluice_config_get(cli->config, "bootstrap.servers");
    return true;
}

sluice_admin *cli_admin(struct cli *cli)
{
    struct sluice_error error;
    sluice_admin *admin;
    if (!cli_config(cli))
        return NULL;
    if (sluice_admin_new(cli->config, &admin, &error) != SLUICE_OK) {
        cli_report_error(cli, &error);
        return NULL;
    }
    return admin;
}

int32_t cli_partition_count(struct cli *cli, const char *topic)
{
    struct sluice_error error;
    struct sluice_cluster *cluster = NULL;
    sluice_admin *const admin = cli_admin(cli);
    if (!admin)
        return -1;
    int32_t count = -1;
    if (sluice_admin_describe(admin, &topic, 1, cli->timeout_ms, &cluster, &error) == SLUICE_OK)
        count = (int32_t)cluster->topics[0].partition_count;
    else
        cli_report_error(cli, &error);
    sluice_cluster_free(cluster);
    sluice_admin_free(admin);
    return count;
}

struct cli_properties cli_properties(const struct cli *cli, const char *option)
{
    struct cli_properties p = {.items = mem_alloc(sizeof *p.items * (cli->args->given_count + 1))};
    size_t cursor = 0;
    for (const char *text; (text = args_next(cli->args, option, &cursor));) {
        const size_t key_size = strcspn(text, "=");
        p.items[p.count].key = mem_printf("%.*s", (int)key_size, text);
        p.items[p.count].value = mem_strdup(text + key_size + 1);
        p.count++;
    }
    return p;
}

void cli_properties_free(struct cli_properties *p)
{
    for (size_t i = 0; i < p->count; i++) {
        mem_free((char *)p->items[i].key);
        mem_free((char *)p->items[i].value);
    }
    mem_free(p->items);
    *p = (struct cli_properties){0};
}
