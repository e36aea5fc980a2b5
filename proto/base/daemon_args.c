/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/base/daemon_args.h"

#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SETS_MAX = 256, EXIT_USAGE = 2 };

enum option_id {
    OPT_CONFIG = 1,
    OPT_SET,
    OPT_READY_FD,
    OPT_STANDALONE,
    OPT_HELP,
    OPT_HELP_CONFIG,
    OPT_VERSION
};

static const struct option options[] = {
    {"config", required_argument, NULL, OPT_CONFIG},
    {"set", required_argument, NULL, OPT_SET},
    {"ready-fd", required_argument, NULL, OPT_READY_FD},
    {"standalone", no_argument, NULL, OPT_STANDALONE},
    {"help", no_argument, NULL, OPT_HELP},
    {"help-config", no_argument, NULL, OPT_HELP_CONFIG},
    {"version", no_argument, NULL, OPT_VERSION},
    {0},
};

/* What the words say, before anything is acted on. */
struct words {
    const char *config;
    const char *sets[SETS_MAX];
    size_t set_count;
    int ready_fd;
    bool standalone;
    enum option_id print; /* OPT_HELP, OPT_HELP_CONFIG, OPT_VERSION or 0 */
};

static void print_help(const struct daemon_program *program)
{
    printf("%s: %s\n\n"
           "  --config FILE    read configuration from a properties file: key=value a line\n"
           "  --set KEY=VALUE  set one key; may be repeated, wins over file and environment\n"
           "%s"
           "  --ready-fd N     when ready, write bound addresses to descriptor N: NAME host:port a "
           "line\n"
           "  --help-config    print all keys as Markdown\n"
           "  --version, --help\n\n"
           "Every key can also be set by environment: SLUICE_LOG_SEGMENT_BYTES for "
           "log.segment.bytes.\n",
           program->name, program->summary,
           program->standalone_tables ? "  --standalone     all of Sluice in this process, no "
                                        "ZooKeeper: the one-machine log\n"
                                      : "");
}

static void print_manual(const struct conf_table *const *tables)
{
    struct buf out = {0};
    for (size_t i = 0; tables[i]; i++) {
        if (i > 0)
            buf_append_str(&out, "\n");
        conf_manual(tables[i], &out);
    }
    fwrite(out.data, 1, out.size, stdout);
    buf_deinit(&out);
}

static int usage(const struct daemon_program *program, const char *what, const char *word)
{
    fprintf(stderr, "%s: %s%s; see %s --help\n", program->name, what, word, program->name);
    return EXIT_USAGE;
}

static int parse_fd(const char *text)
{
    char *end;
    const long fd = strtol(text, &end, 10);
    return *text && !*end && fd >= 0 && fd < 1 << 20 && fcntl((int)fd, F_GETFD) >= 0 ? (int)fd : -1;
}

static int read_words(const struct daemon_program *program, int argc, char **argv, struct words *w)
{
    *w = (struct words){.ready_fd = -1};
    opterr = 0;
    optind = 1;
    for (int o; (o = getopt_long(argc, argv, "+", options, NULL)) != -1;) {
        switch (o) {
        case OPT_CONFIG:
            w->config = optarg;
            break;
        case OPT_SET:
            if (w->set_count == SETS_MAX)
                return usage(program, "too many --set; put them into a file", "");
            w->sets[w->set_count++] = optarg;
            break;
        case OPT_READY_FD:
            w->ready_fd = parse_fd(optarg);
            if (w->ready_fd < 0)
                return usage(program, "--ready-fd is not an open descriptor: ", optarg);
            break;
        case OPT_STANDALONE:
            if (!program->standalone_tables)
                return usage(program, "knows no --standalone; sluice-broker does", "");
            w->standalone = true;
            break;
        case OPT_HELP:
        case OPT_HELP_CONFIG:
        case OPT_VERSION:
            w->print = (enum option_id)o;
            break;
        default:
            return usage(program, "unknown option, or its value is missing: ", argv[optind - 1]);
        }
    }
    return optind < argc ? usage(program, "unexpected argument: ", argv[optind]) : -1;
}

static int print(const struct daemon_program *program, enum option_id what,
                 const struct conf_table *const *tables)
{
    if (what == OPT_HELP)
        print_help(program);
    else if (what == OPT_HELP_CONFIG)
        print_manual(tables);
    else
        printf("%s %s\n", program->name, SLUICE_VERSION);
    return fflush(stdout) ? EXIT_FAILURE : EXIT_SUCCESS;
}

int daemon_args_report(const struct daemon_program *program, const struct conf *c)
{
    if (conf_check(c) == OK)
        return -1;
    fprintf(stderr, "%s: the configuration is not valid:\n%s", program->name, conf_problems(c));
    return EXIT_USAGE;
}

int daemon_args_parse(const struct daemon_program *program, int argc, char **argv,
                      struct daemon_args *out)
{
    struct words w;
    const int status = read_words(program, argc, argv, &w);
    if (status >= 0)
        return status;
    const struct conf_table *const *tables =
        w.standalone ? program->standalone_tables : program->tables;
    if (w.print)
        return print(program, w.print, tables);
    struct conf *c = conf_new(tables);
    if (w.config)
        conf_read_file(c, w.config);
    conf_read_environment(c, environ);
    for (size_t i = 0; i < w.set_count; i++)
        conf_set(c, w.sets[i], CONF_ARGUMENT, "--set");
    if (program->check)
        program->check(c, w.standalone);
    const int report = daemon_args_report(program, c);
    if (report >= 0) {
        conf_free(c);
        return report;
    }
    *out = (struct daemon_args){.conf = c, .standalone = w.standalone, .ready_fd = w.ready_fd};
    return -1;
}
