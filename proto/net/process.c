/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/net/process.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

static double resident_bytes(void)
{
    unsigned long long size = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (!f)
        return 0;
    if (fscanf(f, "%llu %llu", &size, &resident) != 2)
        resident = 0;
    fclose(f);
    return (double)resident * (double)sysconf(_SC_PAGESIZE);
}

static double entries(const char *path)
{
    DIR *d = opendir(path);
    double n = 0;
    if (!d)
        return 0;
    for (const struct dirent *e = readdir(d); e; e = readdir(d))
        n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

static double seconds(struct timeval t)
{
    return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

static void one(struct metrics_page *page, const char *name, enum metric_type type,
                const char *help, double value)
{
    metrics_family(page, name, type, help);
    metrics_sample(page, NULL, 0, value);
}

static void collect(void *arg, struct metrics_page *page)
{
    (void)arg;
    struct rusage usage = {0};
    struct rlimit files = {0};
    getrusage(RUSAGE_SELF, &usage);
    getrlimit(RLIMIT_NOFILE, &files);
    one(page, "process_resident_memory_bytes", METRIC_GAUGE, "Resident memory.", resident_bytes());
    one(page, "process_cpu_seconds_total", METRIC_COUNTER, "User and system CPU time.",
        seconds(usage.ru_utime) + seconds(usage.ru_stime));
    one(page, "process_open_fds", METRIC_GAUGE, "Open descriptors.", entries("/proc/self/fd") - 1);
    one(page, "process_max_fds", METRIC_GAUGE, "The limit of open descriptors.",
        (double)files.rlim_cur);
    one(page, "process_threads", METRIC_GAUGE, "Threads.", entries("/proc/self/task"));
}

void process_add_metrics(struct metrics *m)
{
    metrics_add_collector(m, collect, NULL);
}

uint64_t process_raise_descriptor_limit(void)
{
    struct rlimit files = {0};
    getrlimit(RLIMIT_NOFILE, &files);
    if (files.rlim_cur < files.rlim_max) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
        getrlimit(RLIMIT_NOFILE, &files);
    }
    return files.rlim_cur;
}
