/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What all bench programs share: words of the command line (key=value), the
 * clock, CPU time of other processes, samples and their percentiles, sockets.
 * Bench programs are tools: they end with a sentence on stderr when something
 * is wrong, and print one JSON object on stdout.
 */
#ifndef SLUICE_TESTS_BENCH_BENCH_H
#define SLUICE_TESTS_BENCH_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void die(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

/* --- words: prog COMMAND key=value ... --- */
struct words {
    int count;
    char **at;
};
/* Falls back where the key is not given; word_need ends the program instead. */
const char *word(const struct words *w, const char *key, const char *fallback);
int64_t word_int(const struct words *w, const char *key, int64_t fallback);
const char *word_need(const struct words *w, const char *key);

struct command {
    const char *name;
    void (*run)(const struct words *w);
};
/* Picks argv[1]; the table ends with a NULL name. */
int run_command(const struct command *commands, int argc, char **argv);

/* --- time, processors, memory --- */
int64_t now_ns(void);
/* On-CPU time of all threads of a process, from /proc/PID/task/.../schedstat. pid 0: nobody, 0. */
int64_t cpu_ns(int64_t pid);
/* word cpu=N: run there and nowhere else. */
void pin(const struct words *w);
/* Touches that much memory and frees it, so that the host has given it to this machine. */
void warm_memory(size_t bytes);

/* --- samples: nanoseconds --- */
struct samples {
    int64_t *at;
    size_t count, capacity;
};
void samples_add(struct samples *s, int64_t ns);
/* ,"NAME_p50_us":...,"NAME_p99_us":...,"NAME_p999_us":...,"NAME_max_us":...; sorts. */
void samples_print(struct samples *s, const char *name);

/* --- sockets --- */
/* Listens on a free port of 127.0.0.1 and prints it, alone, on a line of stdout. */
int listen_and_tell(void);
/* host:port, without delay, not blocking. */
int connect_to(const char *address);
void set_nonblocking(int fd);
/* Waits until fd is readable, or also writable; false after timeout_ms. */
bool wait_for(int fd, bool writable, int timeout_ms);

#endif
