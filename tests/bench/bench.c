/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/bench.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "proto/base/mem.h"

void die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(1);
}

const char *word(const struct words *w, const char *key, const char *fallback)
{
    const size_t size = strlen(key);
    for (int i = 0; i < w->count; i++)
        if (strncmp(w->at[i], key, size) == 0 && w->at[i][size] == '=')
            return w->at[i] + size + 1;
    return fallback;
}

int64_t word_int(const struct words *w, const char *key, int64_t fallback)
{
    const char *text = word(w, key, NULL);
    if (!text)
        return fallback;
    char *end;
    const int64_t v = strtoll(text, &end, 10);
    if (end == text || *end)
        die("%s=%s is not a number", key, text);
    return v;
}

const char *word_need(const struct words *w, const char *key)
{
    const char *text = word(w, key, NULL);
    if (!text)
        die("%s= is missing", key);
    return text;
}

int run_command(const struct command *commands, int argc, char **argv)
{
    for (const struct command *c = commands; c->name; c++) {
        if (argc > 1 && strcmp(c->name, argv[1]) == 0) {
            c->run(&(struct words){argc - 2, argv + 2});
            return 0;
        }
    }
    fprintf(stderr, "usage: %s COMMAND key=value ...; commands:", argv[0]);
    for (const struct command *c = commands; c->name; c++)
        fprintf(stderr, " %s", c->name);
    fputc('\n', stderr);
    return 2;
}

int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int64_t cpu_ns(int64_t pid)
{
    if (!pid)
        return 0;
    char path[128];
    int64_t sum = 0;
    snprintf(path, sizeof path, "/proc/%" PRId64 "/task", pid);
    DIR *tasks = opendir(path);
    if (!tasks)
        die("process %" PRId64 " is gone", pid);
    for (const struct dirent *e; (e = readdir(tasks));) {
        snprintf(path, sizeof path, "/proc/%" PRId64 "/task/%.20s/schedstat", pid, e->d_name);
        FILE *f = e->d_name[0] == '.' ? NULL : fopen(path, "r");
        int64_t ns;
        if (f && fscanf(f, "%" SCNd64, &ns) == 1)
            sum += ns;
        if (f)
            fclose(f);
    }
    closedir(tasks);
    return sum;
}

void pin(const struct words *w)
{
    const int64_t cpu = word_int(w, "cpu", -1);
    if (cpu < 0)
        return;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)cpu, &set);
    if (sched_setaffinity(0, sizeof set, &set))
        die("cpu=%" PRId64 ": %s", cpu, strerror(errno));
}

void warm_memory(size_t bytes)
{
    uint8_t *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        die("cannot map %zu bytes: %s", bytes, strerror(errno));
    for (size_t at = 0; at < bytes; at += 4096)
        p[at] = 1;
    munmap(p, bytes);
}

void samples_add(struct samples *s, int64_t ns)
{
    if (s->count == s->capacity) {
        s->capacity = s->capacity ? 2 * s->capacity : 4096;
        s->at = mem_realloc(s->at, s->capacity * sizeof *s->at);
    }
    s->at[s->count++] = ns;
}

static int by_value(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a;
    const int64_t y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static double percentile_us(const struct samples *s, double p)
{
    const size_t i = (size_t)(p * (double)s->count);
    return s->count ? (double)s->at[i < s->count ? i : s->count - 1] / 1e3 : 0;
}

void samples_print(struct samples *s, const char *name)
{
    if (s->count)
        qsort(s->at, s->count, sizeof *s->at, by_value);
    printf(",\"%s_p50_us\":%.1f,\"%s_p99_us\":%.1f,\"%s_p999_us\":%.1f,\"%s_max_us\":%.1f", name,
           percentile_us(s, 0.5), name, percentile_us(s, 0.99), name, percentile_us(s, 0.999), name,
           percentile_us(s, 1));
}

void set_nonblocking(int fd)
{
    if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK))
        die("O_NONBLOCK: %s", strerror(errno));
}

static void set_nodelay(int fd)
{
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int)))
        die("TCP_NODELAY: %s", strerror(errno));
}

int listen_and_tell(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof a;
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, size) || listen(fd, 512) ||
        getsockname(fd, (struct sockaddr *)&a, &size))
        die("cannot listen on loopback: %s", strerror(errno));
    set_nodelay(fd); /* inherited by what is accepted */
    printf("127.0.0.1:%u\n", ntohs(a.sin_port));
    fflush(stdout);
    return fd;
}

int connect_to(const char *address)
{
    struct sockaddr_in a = {.sin_family = AF_INET};
    char host[64];
    unsigned port;
    if (sscanf(address, "%63[0-9.]:%u", host, &port) != 2 || port > 65535 ||
        inet_pton(AF_INET, host, &a.sin_addr) != 1)
        die("%s is not IPv4:port", address);
    a.sin_port = htons((uint16_t)port);
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof a))
        die("cannot connect to %s: %s", address, strerror(errno));
    set_nodelay(fd);
    set_nonblocking(fd);
    return fd;
}

bool wait_for(int fd, bool writable, int timeout_ms)
{
    struct pollfd p = {.fd = fd, .events = (short)(POLLIN | (writable ? POLLOUT : 0))};
    const int n = poll(&p, 1, timeout_ms);
    if (n < 0 && errno != EINTR)
        die("poll: %s", strerror(errno));
    return n > 0;
}
