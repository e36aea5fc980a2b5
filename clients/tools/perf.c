/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/tools/perf.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clients/tools/clock.h"
#include "clients/tools/interrupt.h"
#include "clients/tools/json.h"
#include "clients/tools/progress.h"
#include "proto/base/check.h"
#include "proto/base/mem.h"
#include "proto/base/rng.h"

enum { LOOK_MS = 100, PAYLOAD_VARIETY = 65536 };

/* --- payload ------------------------------------------------------------------------ */

void perf_payload_init(struct perf_payload *p, size_t size)
{
    static const char letters[] = "etaoinshrdlu cmf";
    struct rng rng;
    rng_init(&rng, size);
    *p = (struct perf_payload){.size = size, .data = mem_alloc(size + PAYLOAD_VARIETY)};
    for (size_t i = 0; i < size + PAYLOAD_VARIETY; i++)
        p->data[i] = (uint8_t)letters[rng_below(&rng, sizeof letters - 1)];
}

void perf_payload_deinit(struct perf_payload *p)
{
    mem_free(p->data);
}

const uint8_t *perf_payload_at(const struct perf_payload *p, uint64_t i)
{
    return p->data + i * 61 % PAYLOAD_VARIETY;
}

uint64_t perf_share(uint64_t n, size_t worker, size_t workers)
{
    return n / workers + (worker < n % workers);
}

/* --- workers ------------------------------------------------------------------------ */

/* What the signal handler of the parent needs. */
struct children {
    pid_t pids[PERF_WORKERS_MAX];
    size_t count;
};

static void stop_children(void *arg)
{
    const struct children *const children = arg;
    for (size_t i = 0; i < children->count; i++)
        kill(children->pids[i], SIGTERM);
}

/* Pipes whose end of file tells something: all are ready or gone; all may go; all are gone. */
struct pipes {
    int ready[2];
    int go[2];
    int alive[2];
};

static bool pipes_open(struct pipes *pipes)
{
    return pipe2(pipes->ready, O_CLOEXEC) == 0 && pipe2(pipes->go, O_CLOEXEC) == 0 &&
           pipe2(pipes->alive, O_CLOEXEC) == 0;
}

static void run_child(struct perf *p, perf_worker_fn *fn, size_t worker, const struct pipes *pipes)
{
    /* A group of its own: Ctrl-C reaches the parent, which passes it on once. */
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    interrupt_wakes(NULL, NULL);
    interrupt_catch();
    close(pipes->ready[0]);
    close(pipes->go[1]);
    close(pipes->alive[0]);
    p->ready_fd = pipes->ready[1];
    p->go_fd = pipes->go[0];
    exit(fn(p, worker));
}

int64_t perf_ready(struct perf *p)
{
    close(p->ready_fd);
    char byte;
    while (read(p->go_fd, &byte, 1) < 0 && errno == EINTR && interrupt_count() == 0)
        continue;
    return clock_ns();
}

static void wait_for_end_of_file(int fd)
{
    char byte;
    ssize_t n;
    do {
        n = read(fd, &byte, 1);
    } while (n > 0 || (n < 0 && errno == EINTR));
}

static void watch(const struct perf *p, int alive_fd)
{
    struct progress progress;
    progress_start(&progress, p->bytes_wanted);
    struct pollfd fd = {.fd = alive_fd, .events = POLLIN};
    while (poll(&fd, 1, LOOK_MS) != 1 || !(fd.revents & POLLHUP)) {
        uint64_t records = 0;
        for (size_t i = 0; i < p->workers; i++)
            records += atomic_load(&p->shared->results[i].records);
        progress_show(&progress, p->bytes_wanted / p->records * records, records);
    }
    progress_end(&progress);
}

static int reap(const struct perf *p, const struct children *children)
{
    int worst = EXIT_DONE;
    for (size_t i = 0; i < children->count; i++) {
        int status;
        while (waitpid(children->pids[i], &status, 0) < 0 && errno == EINTR)
            continue;
        if (WIFSIGNALED(status))
            cli_fail(p->cli, "a worker was ended by signal %d (%s)", WTERMSIG(status),
                     strsignal(WTERMSIG(status)));
        if (!WIFEXITED(status) || WEXITSTATUS(status) != EXIT_DONE)
            worst = EXIT_FAILED;
    }
    return worst;
}

static int run_workers(struct perf *p, perf_worker_fn *fn)
{
    struct pipes pipes;
    struct children children = {0};
    if (!pipes_open(&pipes))
        return cli_fail(p->cli, "no pipe: %s", strerror(errno));
    interrupt_wakes(stop_children, &children);
    interrupt_catch();
    bool is_forked = true;
    for (size_t i = 0; i < p->workers && is_forked; i++) {
        const pid_t pid = fork();
        if (pid == 0)
            run_child(p, fn, i, &pipes);
        if (pid > 0)
            children.pids[children.count++] = pid;
        is_forked = pid > 0;
    }
    if (!is_forked) {
        cli_fail(p->cli, "cannot start a worker: %s", strerror(errno));
        stop_children(&children);
    }
    close(pipes.ready[1]);
    close(pipes.go[0]);
    close(pipes.alive[1]);
    wait_for_end_of_file(pipes.ready[0]);
    close(pipes.go[1]);
    watch(p, pipes.alive[0]);
    const int status = reap(p, &children);
    interrupt_wakes(NULL, NULL);
    close(pipes.ready[0]);
    close(pipes.alive[0]);
    return is_forked ? status : EXIT_FAILED;
}

/* --- summary ------------------------------------------------------------------------ */

struct summary {
    uint64_t records;
    uint64_t bytes;
    double seconds;
    struct histogram latency_ns;
};

static void sum_up(const struct perf *p, struct summary *s)
{
    *s = (struct summary){.bytes = atomic_load(&p->shared->bytes)};
    int64_t started = INT64_MAX;
    int64_t ended = 0;
    for (size_t i = 0; i < p->workers; i++) {
        struct perf_result *const r = &p->shared->results[i];
        s->records += atomic_load(&r->records);
        histogram_merge(&s->latency_ns, &r->latency_ns);
        const int64_t worker_ended = atomic_load(&r->ended_ns);
        if (r->started_ns > 0 && worker_ended > 0) {
            started = r->started_ns < started ? r->started_ns : started;
            ended = worker_ended > ended ? worker_ended : ended;
        }
    }
    s->seconds = ended > started ? (double)(ended - started) / 1e9 : 0;
}

static const struct percentile {
    const char *json;
    const char *text;
    double share;
} PERCENTILES[] = {{"p50", "p50", 0.5},
                   {"p95", "p95", 0.95},
                   {"p99", "p99", 0.99},
                   {"p99_9", "p99.9", 0.999},
                   {"max", "max", 1}};
enum { PERCENTILE_COUNT = sizeof PERCENTILES / sizeof *PERCENTILES };

static double per_second(double n, double seconds)
{
    return seconds > 0 ? n / seconds : 0;
}

static double latency_ms(const struct summary *s, size_t i)
{
    return (double)histogram_percentile(&s->latency_ns, PERCENTILES[i].share) / 1e6;
}

static void print_json(const struct perf *p, const struct summary *s)
{
    struct json j = json_to(&p->cli->out);
    json_begin(&j, '{');
    json_member_int(&j, "records", (int64_t)s->records);
    json_member_int(&j, "bytes", (int64_t)s->bytes);
    json_member_number(&j, "seconds", s->seconds, 6);
    json_member_number(&j, "records_per_second", per_second((double)s->records, s->seconds), 1);
    json_member_number(&j, "mb_per_second", per_second((double)s->bytes / 1e6, s->seconds), 3);
    json_key(&j, "latency_ms");
    if (p->has_latency) {
        json_begin(&j, '{');
        for (size_t i = 0; i < PERCENTILE_COUNT; i++)
            json_member_number(&j, PERCENTILES[i].json, latency_ms(s, i), 3);
        json_end(&j, '}');
    } else {
        json_null(&j);
    }
    json_end(&j, '}');
    buf_append(&p->cli->out, "\n", 1);
}

static void print_line(const struct perf *p, const struct summary *s)
{
    struct buf *const out = &p->cli->out;
    buf_printf(out, "%llu records, %.1f MB in %.3f s: %.0f records/s, %.2f MB/s",
               (unsigned long long)s->records, (double)s->bytes / 1e6, s->seconds,
               per_second((double)s->records, s->seconds),
               per_second((double)s->bytes / 1e6, s->seconds));
    for (size_t i = 0; p->has_latency && i < PERCENTILE_COUNT; i++)
        buf_printf(out, "%s %s %.3f", i ? "," : "; latency ms", PERCENTILES[i].text,
                   latency_ms(s, i));
    buf_append(out, "\n", 1);
}

/* What every worker would stumble over is reported once, here. */
static bool can_start(const struct perf *p)
{
    static const enum sluice_role roles[] = {SLUICE_PRODUCER, SLUICE_CONSUMER};
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++) {
        struct sluice_error error;
        if (!(p->roles & roles[i]))
            continue;
        sluice_config *const config = cli_config(p->cli, roles[i]);
        const int code = sluice_config_check(config, roles[i], &error);
        sluice_config_free(config);
        if (code != SLUICE_OK) {
            cli_report_error(p->cli, &error);
            return false;
        }
    }
    return cli_partition_count(p->cli, p->topic) > 0;
}

int perf_run(struct perf *p, perf_worker_fn *fn)
{
    CHECK(p->workers >= 1);
    CHECK(p->workers <= PERF_WORKERS_MAX);
    CHECK(p->records >= 1);
    if (!can_start(p))
        return EXIT_FAILED;
    p->shared =
        mmap(NULL, sizeof *p->shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (p->shared == MAP_FAILED)
        return cli_fail(p->cli, "no shared memory: %s", strerror(errno));
    int status = run_workers(p, fn);
    struct summary *const s = MEM_NEW(struct summary);
    sum_up(p, s);
    if (s->records > 0 || status == EXIT_DONE)
        (p->cli->is_json ? print_json : print_line)(p, s);
    if (s->records < p->records && status == EXIT_DONE)
        status = cli_fail(p->cli, "%llu of %llu records only", (unsigned long long)s->records,
                          (unsigned long long)p->records);
    mem_free(s);
    munmap(p->shared, sizeof *p->shared);
    return status;
}
