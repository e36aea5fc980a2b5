/* SPDX-License-Identifier: Apache-2.0 */
/* sluice-broker: arguments, the doors to Linux, signals, and the order of the end. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "broker/log/fsio.h"
#include "broker/server/server.h"
#include "metad/coord/embedded.h"
#include "metad/server/metad.h"
#include "metad/server/metad_conf.h"
#include "proto/base/check.h"
#include "proto/base/daemon_args.h"
#include "proto/base/diag.h"
#include "proto/base/mem.h"
#include "proto/net/exec.h"
#include "proto/net/notify.h"
#include "proto/net/process.h"

enum { LOOPS_MAX = 256, EXIT_USAGE = 2 };

struct program {
    struct daemon_args args;
    struct rng rng;
    struct loop *loops[LOOPS_MAX];
    size_t loop_count;
    struct exec *net; /* its threads run all loops but the first, which is ours */
    struct net_job {
        struct exec_job job;
        struct loop *loop;
    } net_jobs[LOOPS_MAX];
    struct server *server;
    int signals; /* a signalfd */
    struct loop_watch *watch;
    bool is_stopping;
    bool has_failed;
};

/* --- coordination --------------------------------------------------------------- */

static err open_coord(void *user, struct coord **out)
{
    struct program *pr = user;
    const struct conf_list dirs = conf_list(pr->args.conf, "data.dirs");
    char *path = mem_printf("%s/coordination.sqlite", dirs.items[0]);
    struct buf why = {0};
    const err e = coord_embedded_open(pr->loops[0], path, out, &why);
    if (e != OK)
        diag(DIAG_ERROR, "coord", "the coordination store cannot be opened", "why=%.*s",
             (int)why.size, (const char *)why.data);
    buf_deinit(&why);
    mem_free(path);
    return e;
}

/* --- workers --------------------------------------------------------------------- */

static struct exec *new_exec(void *user, const char *name, unsigned threads)
{
    (void)user;
    return exec_new(name, threads);
}

/* --- ready ------------------------------------------------------------------------- */

static void tell_address(struct buf *text, const char *name, const struct address *at)
{
    char address[ADDRESS_TEXT];
    buf_printf(text, "%s %s\n", name, address_text(at, address));
}

/* One of several listeners: "broker.INSIDE". */
static void tell_named(struct buf *text, const char *role, const char *listener,
                       const struct address *at)
{
    char *name = mem_printf("%s.%s", role, listener);
    tell_address(text, name, at);
    mem_free(name);
}

static void tell_metad(struct buf *text, struct conf *c, const struct metad *metad)
{
    struct metad_conf conf;
    metad_conf_read(c, &conf);
    tell_address(text, "metad", metad_bound(metad, 0));
    for (size_t i = 0; i < conf.listener_count && conf.listener_count > 1; i++)
        tell_named(text, "metad", conf.listeners[i].name, metad_bound(metad, i));
}

static void tell_ready_fd(struct program *pr, const struct buf *text)
{
    size_t pos = 0;
    while (pos < text->size) {
        const ssize_t n = write(pr->args.ready_fd, text->data + pos, text->size - pos);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break; /* whoever asked is gone */
        pos += (size_t)n;
    }
    close(pr->args.ready_fd);
    pr->args.ready_fd = -1;
}

static void on_ready(void *user)
{
    struct program *pr = user;
    struct buf text = {0};
    char address[ADDRESS_TEXT];
    const struct broker_conf *conf = server_get_conf(pr->server);
    const struct metad *metad = server_metad(pr->server);
    if (metad)
        tell_metad(&text, pr->args.conf, metad);
    tell_address(&text, "broker", server_bound(pr->server, conf->inter_broker));
    for (size_t i = 0; i < conf->listener_count && conf->listener_count > 1; i++)
        tell_named(&text, "broker", conf->listeners[i].name, server_bound(pr->server, i));
    if (server_http_bound(pr->server))
        tell_address(&text, "http", server_http_bound(pr->server));
    diag(DIAG_INFO, "broker", "ready", "broker=%d listener=%s", conf->broker_id,
         address_text(server_bound(pr->server, conf->inter_broker), address));
    if (metad)
        diag(DIAG_INFO, "metad", "ready; clients bootstrap here", "bootstrap=%s",
             address_text(metad_bound(metad, 0), address));
    if (pr->args.ready_fd >= 0)
        tell_ready_fd(pr, &text);
    notify_manager("READY=1");
    buf_deinit(&text);
}

/* --- the end -------------------------------------------------------------------------- */

static void on_stopped(void *user, bool failed)
{
    struct program *pr = user;
    pr->has_failed = failed;
    for (size_t i = 0; i < pr->loop_count; i++)
        loop_stop(pr->loops[i]);
}

static void on_signal(void *arg)
{
    struct program *pr = arg;
    struct signalfd_siginfo info;
    while (read(pr->signals, &info, sizeof info) == (ssize_t)sizeof info) {
        if (pr->is_stopping) {
            diag(DIAG_WARN, "broker", "second signal: ending at once; the next start will recover",
                 " ");
            _exit(128 + (int)info.ssi_signo);
        }
        pr->is_stopping = true;
        notify_manager("STOPPING=1");
        if (pr->server)
            server_stop(pr->server);
    }
}

static void watch_signals(struct program *pr)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0); /* before any thread is made: all inherit it */
    signal(SIGPIPE, SIG_IGN);
    pr->signals = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    CHECK(pr->signals >= 0);
}

/* --- loops ------------------------------------------------------------------------------ */

static void run_loop(struct exec_job *job)
{
    loop_run(((struct net_job *)job)->loop);
}

static void forget(struct exec_job *job)
{
    (void)job;
}

static void start_loops(struct program *pr)
{
    if (pr->loop_count == 1)
        return;
    pr->net = exec_new("sluice-net", (unsigned)pr->loop_count - 1);
    for (size_t i = 1; i < pr->loop_count; i++) {
        pr->net_jobs[i] = (struct net_job){
            .job = {.run = run_loop, .done = forget, .home = pr->loops[0]}, .loop = pr->loops[i]};
        exec_submit(pr->net, &pr->net_jobs[i].job);
    }
}

static bool make_loops(struct program *pr, uint32_t count)
{
    for (uint32_t i = 0; i < count && i < LOOPS_MAX; i++) {
        char name[16];
        struct loop_backend *backend;
        snprintf(name, sizeof name, "sluice-net-%u", i);
        if (loop_epoll_backend(&backend) != OK)
            return false;
        pr->loops[pr->loop_count++] = loop_new(backend, name);
    }
    return true;
}

/* --- the program -------------------------------------------------------------------------- */

static void check_conf(struct conf *c, bool standalone)
{
    struct broker_conf broker;
    struct metad_conf metad;
    broker_conf_read(c, &broker);
    if (standalone)
        metad_conf_read(c, &metad);
}

static int run(struct program *pr, const struct broker_conf *conf)
{
    if (!make_loops(pr, conf->network_threads)) {
        diag(DIAG_ERROR, "broker",
             "no descriptors are left for the network loops; raise the limit of open files", " ");
        return 1;
    }
    const struct server_opts opts = {.conf = pr->args.conf,
                                     .is_standalone = pr->args.standalone,
                                     .loops = pr->loops,
                                     .loop_count = pr->loop_count,
                                     .io = fsio_posix(),
                                     .rng = &pr->rng,
                                     .new_exec = new_exec,
                                     .open_coord = open_coord,
                                     .on_ready = on_ready,
                                     .on_stopped = on_stopped,
                                     .user = pr};
    pr->server = server_new(&opts);
    if (!pr->server)
        return 1;
    pr->watch = loop_watch_fd(pr->loops[0], pr->signals, on_signal, pr);
    start_loops(pr);
    loop_run(pr->loops[0]);
    if (pr->net)
        exec_free(pr->net);
    loop_unwatch_fd(pr->loops[0], pr->watch);
    server_free(pr->server);
    return pr->has_failed ? 1 : 0;
}

int main(int argc, char **argv)
{
    static struct program pr; /* large, and there is one */
    struct broker_tables *tables = broker_tables_new();
    const struct daemon_program program = {
        .name = "sluice-broker",
        .summary = "stores partitions of topics and serves produce and fetch",
        .tables = broker_tables_cluster(tables),
        .standalone_tables = broker_tables_standalone(tables),
        .check = check_conf,
    };
    int status = daemon_args_parse(&program, argc, argv, &pr.args);
    if (status < 0) {
        struct broker_conf conf;
        broker_conf_read(pr.args.conf, &conf);
        if (!pr.args.standalone) {
            fprintf(stderr,
                    "sluice-broker: this version runs alone only: start it with --standalone. "
                    "Clusters on ZooKeeper are not supported yet.\n");
            status = EXIT_USAGE;
        }
        if (status < 0) {
            watch_signals(&pr);
            process_raise_descriptor_limit();
            rng_init_from_system(&pr.rng);
            status = run(&pr, &conf);
            for (size_t i = 0; i < pr.loop_count; i++)
                loop_free(pr.loops[i]);
            close(pr.signals);
        }
        conf_free(pr.args.conf);
    }
    broker_tables_free(tables);
    return status;
}
