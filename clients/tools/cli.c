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
#include "proto/base/diag.h"
#include "proto/base/limits.h"
#include "proto/base/mem.h"

enum { FLUSH_BYTES = 256 * KIB, CONFIG_FILE_MAX = MIB };

static const char DEFAULT_BOOTSTRAP[] = "localhost:9290";

/* A line of the library's diagnostics without time and level: `connection lost (server=...)`. */
static void on_diagnostics(void *arg, const char *line, size_t size)
{
    const struct args *const a = arg;
    const char *const start = memchr(line, '"', size);
    const size_t left = start ? size - (size_t)(start + 1 - line) : 0;
    const char *const end = start ? memchr(start + 1, '"', left) : NULL;
    if (!end) {
        fprintf(stderr, "%s: %.*s\n", a->set->program, (int)size, line);
        return;
    }
    const int fields = (int)(size - (size_t)(end + 1 - line));
    fprintf(stderr, "%s: %.*s%s%.*s%s\n", a->set->program, (int)(end - start - 1), start + 1,
            fields > 1 ? " (" : "", fields > 1 ? fields - 1 : 0, end + 2, fields > 1 ? ")" : "");
}

void cli_init(struct cli *cli, const struct args *args)
{
    sluice_set_diagnostics(1, on_diagnostics, (void *)args);
    *cli = (struct cli){
        .args = args,
        .is_json = strcmp(args_text(args, "output"), "json") == 0,
        .timeout_ms = args_number(args, "timeout"),
    };
}

void cli_deinit(struct cli *cli)
{
    buf_deinit(&cli->out);
    for (size_t i = 0; i < cli->setting_count; i++) {
        mem_free((char *)cli->settings[i].key);
        mem_free((char *)cli->settings[i].value);
    }
    mem_free(cli->settings);
}

/* --- output ------------------------------------------------------------------------- */

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

/* --- messages ----------------------------------------------------------------------- */

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

#define ADVICE_REACH                                                                               \
    "Is a cluster running there? --bootstrap HOST:PORT or SLUICE_BOOTSTRAP names another, "        \
    "`sluice-broker --standalone` starts one on this machine, --timeout MS waits longer."

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
    {SLUICE_E_TIMED_OUT, ADVICE_REACH},
    {SLUICE_E_NETWORK, ADVICE_REACH},
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

/* --- settings ----------------------------------------------------------------------- */

const char *cli_get(const struct cli *cli, const char *key)
{
    for (size_t i = 0; i < cli->setting_count; i++)
        if (strcmp(cli->settings[i].key, key) == 0)
            return cli->settings[i].value;
    return NULL;
}

void cli_set(struct cli *cli, const char *key, const char *value)
{
    for (size_t i = 0; i < cli->setting_count; i++) {
        struct sluice_property *const p = &cli->settings[i];
        if (strcmp(p->key, key) != 0)
            continue;
        mem_free((char *)p->value);
        p->value = mem_strdup(value);
        return;
    }
    cli->settings = mem_realloc(cli->settings, (cli->setting_count + 1) * sizeof *cli->settings);
    cli->settings[cli->setting_count++] =
        (struct sluice_property){.key = mem_strdup(key), .value = mem_strdup(value)};
}

static const struct sluice_config_key *find_key(const char *name)
{
    size_t count;
    const struct sluice_config_key *const keys = sluice_config_keys(&count);
    for (size_t i = 0; i < count; i++)
        if (strcmp(keys[i].key, name) == 0)
            return &keys[i];
    return NULL;
}

static const char *suggest_key(const char *name, unsigned roles)
{
    enum { KEYS_MAX = 128 };
    const char *names[KEYS_MAX];
    size_t name_count = 0;
    size_t count;
    const struct sluice_config_key *const keys = sluice_config_keys(&count);
    for (size_t i = 0; i < count && name_count < KEYS_MAX; i++)
        if (keys[i].roles & roles)
            names[name_count++] = keys[i].key;
    return args_suggest(name, names, name_count);
}

/* Takes a setting over if a client of one of these roles knows its key. False: reported. */
static bool accept_setting(struct cli *cli, const char *from, const char *key, const char *value,
                           unsigned roles)
{
    const struct sluice_config_key *const known = find_key(key);
    if (known && (known->roles & roles)) {
        cli_set(cli, key, value);
        return true;
    }
    const char *const close = known ? NULL : suggest_key(key, roles);
    cli_fail(cli, "%s: %s %s%s%s%s", from, diag_str(key, strlen(key)),
             known ? "means nothing to this command" : "is no key of a client",
             close ? "; did you mean " : "", close ? close : "", close ? "?" : "");
    return false;
}

static char *slice_dup(struct slice s)
{
    return mem_printf("%.*s", (int)s.size, (const char *)s.data);
}

static bool load_file(struct cli *cli, const char *path)
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
        char *const from = mem_printf("--config %s: line %u", path, p.line);
        is_good = accept_setting(cli, from, k, v, SLUICE_PRODUCER | SLUICE_CONSUMER | SLUICE_ADMIN);
        mem_free(from);
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

static bool load_properties(struct cli *cli, unsigned roles)
{
    struct cli_properties p = cli_properties(cli, "property");
    bool is_good = true;
    for (size_t i = 0; i < p.count && is_good; i++)
        is_good = accept_setting(cli, "--property", p.items[i].key, p.items[i].value, roles);
    cli_properties_free(&p);
    return is_good;
}

bool cli_load_settings(struct cli *cli, unsigned roles)
{
    const char *const path = args_text(cli->args, "config-file");
    cli_set(cli, "client.id", "sluice-cli");
    if (path && !load_file(cli, path))
        return false;
    const char *bootstrap = args_text(cli->args, "bootstrap");
    if (!bootstrap)
        bootstrap = cli_get(cli, "bootstrap.servers");
    if (!bootstrap)
        bootstrap = getenv("SLUICE_BOOTSTRAP");
    if (!bootstrap || !*bootstrap)
        bootstrap = DEFAULT_BOOTSTRAP;
    /* It may be a setting's own text. */
    char *const chosen = mem_strdup(bootstrap);
    cli_set(cli, "bootstrap.servers", chosen);
    mem_free(chosen);
    return !has_option(cli, "property") || load_properties(cli, roles);
}

sluice_config *cli_config(const struct cli *cli, enum sluice_role role)
{
    sluice_config *const config = sluice_config_new();
    for (size_t i = 0; i < cli->setting_count; i++) {
        const struct sluice_config_key *const known = find_key(cli->settings[i].key);
        if (known && (known->roles & role))
            sluice_config_set(config, cli->settings[i].key, cli->settings[i].value);
    }
    return config;
}

/* --- the cluster -------------------------------------------------------------------- */

sluice_admin *cli_admin(struct cli *cli)
{
    if (cli->setting_count == 0 && !cli_load_settings(cli, SLUICE_ADMIN))
        return NULL;
    struct sluice_error error;
    sluice_admin *admin = NULL;
    sluice_config *const config = cli_config(cli, SLUICE_ADMIN);
    if (sluice_admin_new(config, &admin, &error) != SLUICE_OK)
        cli_report_error(cli, &error);
    sluice_config_free(config);
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

int cli_fail_partition(const struct cli *cli, const char *topic, int32_t count, int32_t partition)
{
    if (count == 1)
        return cli_fail(cli, "topic %s has only partition 0, no %d", topic, partition);
    return cli_fail(cli, "topic %s has partitions 0 to %d, no %d", topic, count - 1, partition);
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
