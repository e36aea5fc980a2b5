/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Floors: the least any broker must do, with nothing of a broker in it.
 *
 *   receive dir=D [fsync=1]   server: frames -> CRC-32C -> file -> 16-byte answers; all frames of a
 *                             wake-up together: one recv, one write, one send
 *   serve dir=D bytes=N       server: answers any frame with `size` bytes of a warm file
 *                             (written from a mapping), size=N
 *   echo                      server: answers a frame with itself
 *   disk dir=D                append and fdatasync, buffered append, over new and old blocks
 *   crc, walk                 processor: CRC-32C, walking the records of a batch
 *   warm bytes=N              touches memory so that the host gives it to this machine
 *
 * Servers print their address, then serve connections one thread, by epoll,
 * until they are killed.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/base/crc32c.h"
#include "proto/base/mem.h"
#include "proto/base/writer.h"
#include "proto/wire/batch.h"
#include "proto/wire/record.h"
#include "tests/bench/bench.h"
#include "tests/bench/peer.h"

enum { BUFFER = 1 << 20, CONNS_MAX = 1024, ANSWERS_MAX = 4096, ANSWER = 16, EVENTS = 64 };

/* --- the servers' frame --- */

struct link {
    int fd;
    uint8_t *in;
    size_t size, pos;
    struct slice out; /* borrowed, still to be sent */
    uint64_t served;
};

struct server {
    const struct words *words;
    int epoll;
    int file;
    const uint8_t *map;
    size_t map_size, answer_size;
    bool fsync;
    void (*on_frames)(struct server *s, struct link *k);
    struct link links[CONNS_MAX];
};

static size_t frame_at(const struct link *k, size_t pos)
{
    uint32_t v;
    if (k->size - pos < 4)
        return 0;
    memcpy(&v, k->in + pos, 4);
    const size_t size = 4 + (size_t)__builtin_bswap32(v);
    return size <= k->size - pos ? size : 0;
}

/* Keeps the unfinished frame; moves it to the front only when the buffer ends. */
static void keep_rest(struct link *k)
{
    if (k->pos == k->size) {
        k->pos = k->size = 0;
    } else if (BUFFER - k->size < BUFFER / 4) {
        memmove(k->in, k->in + k->pos, k->size - k->pos);
        k->size -= k->pos;
        k->pos = 0;
    }
}

static void watch(struct server *s, struct link *k, int op, uint32_t events)
{
    struct epoll_event e = {.events = events, .data.u32 = (uint32_t)k->fd};
    if (epoll_ctl(s->epoll, op, k->fd, &e))
        die("epoll_ctl: %s", strerror(errno));
}

static void push(struct server *s, struct link *k)
{
    while (k->out.size > 0) {
        const ssize_t n = write(k->fd, k->out.data, k->out.size);
        if (n < 0 && errno == EAGAIN) {
            watch(s, k, EPOLL_CTL_MOD, EPOLLOUT);
            return;
        }
        if (n < 0)
            die("write: %s", strerror(errno));
        k->out = slice_sub(k->out, (size_t)n, k->out.size);
    }
}

static void on_readable(struct server *s, struct link *k)
{
    const ssize_t n = recv(k->fd, k->in + k->size, BUFFER - k->size, 0);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0) {
        close(k->fd);
        k->fd = -1;
        return;
    }
    k->size += (size_t)n;
    s->on_frames(s, k);
    keep_rest(k);
}

static void on_writable(struct server *s, struct link *k)
{
    push(s, k);
    if (k->out.size == 0) {
        watch(s, k, EPOLL_CTL_MOD, EPOLLIN);
        s->on_frames(s, k);
        keep_rest(k);
    }
}

static void accept_link(struct server *s, int listener)
{
    const int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0 || fd >= CONNS_MAX)
        die("accept: %s", fd < 0 ? strerror(errno) : "too many");
    struct link *k = &s->links[fd];
    if (!k->in)
        k->in = mem_alloc(BUFFER);
    *k = (struct link){.fd = fd, .in = k->in};
    watch(s, k, EPOLL_CTL_ADD, EPOLLIN);
}

static void serve_for_ever(struct server *s)
{
    const int listener = listen_and_tell();
    s->epoll = epoll_create1(EPOLL_CLOEXEC);
    struct link l = {.fd = listener};
    watch(s, &l, EPOLL_CTL_ADD, EPOLLIN);
    for (;;) {
        struct epoll_event events[EVENTS];
        const int n = epoll_wait(s->epoll, events, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            struct link *k = &s->links[events[i].data.u32];
            if ((int)events[i].data.u32 == listener)
                accept_link(s, listener);
            else if (events[i].events & EPOLLOUT)
                on_writable(s, k);
            else
                on_readable(s, k);
        }
    }
}

static struct server *server_new(const struct words *w,
                                 void (*on_frames)(struct server *, struct link *))
{
    pin(w);
    struct server *s = mem_zalloc(sizeof *s);
    s->words = w;
    s->on_frames = on_frames;
    return s;
}

static int open_file(const struct words *w, const char *name, int flags)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", word_need(w, "dir"), name);
    const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | flags, 0600);
    if (fd < 0)
        die("%s: %s", path, strerror(errno));
    return fd;
}

static void write_all(int fd, const void *data, size_t size)
{
    for (const uint8_t *p = data; size > 0;) {
        const ssize_t n = write(fd, p, size);
        if (n <= 0)
            die("write: %s", strerror(errno));
        p += n;
        size -= (size_t)n;
    }
}

/* --- receive --- */

static void receive_frames(struct server *s, struct link *k)
{
    static uint8_t answers[ANSWERS_MAX * ANSWER];
    const size_t start = k->pos;
    size_t count = 0;
    for (size_t n; count < ANSWERS_MAX && (n = frame_at(k, k->pos)) > 0; count++) {
        uint8_t *a = answers + count * ANSWER;
        a = write_u32_be(a, ANSWER - 4);
        a = write_u32(a, crc32c(0, k->in + k->pos + 4, n - 4));
        write_u64(a, k->served++);
        k->pos += n;
    }
    if (!count)
        return;
    write_all(s->file, k->in + start, k->pos - start);
    if (s->fsync && fdatasync(s->file))
        die("fdatasync: %s", strerror(errno));
    write_all(k->fd, answers, count * ANSWER); /* far below what a socket holds */
}

static void run_receive(const struct words *w)
{
    struct server *s = server_new(w, receive_frames);
    s->file = open_file(w, "received", O_TRUNC | O_APPEND);
    s->fsync = word_int(w, "fsync", 0) != 0;
    serve_for_ever(s);
}

/* --- serve --- */

static void serve_frames(struct server *s, struct link *k)
{
    size_t n;
    while (k->out.size == 0 && (n = frame_at(k, k->pos)) > 0) {
        k->pos += n;
        const size_t places = s->map_size / s->answer_size;
        const uint8_t *from = s->map + (k->served++ % places) * s->answer_size;
        k->out = slice_of(from, s->answer_size);
        push(s, k);
    }
}

static void run_serve(const struct words *w)
{
    struct server *s = server_new(w, serve_frames);
    s->answer_size = (size_t)word_int(w, "size", 1 << 20);
    s->map_size = (size_t)word_int(w, "bytes", 1 << 30);
    const int fd = open_file(w, "served", O_TRUNC);
    uint8_t *answer = mem_zalloc(s->answer_size);
    write_u32_be(answer, (uint32_t)s->answer_size - 4);
    for (size_t done = 0; done + s->answer_size <= s->map_size; done += s->answer_size)
        write_all(fd, answer, s->answer_size);
    s->map_size -= s->map_size % s->answer_size;
    s->map = mmap(NULL, s->map_size, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
    if (s->map == MAP_FAILED)
        die("mmap: %s", strerror(errno));
    serve_for_ever(s);
}

/* --- echo --- */

static void echo_frames(struct server *s, struct link *k)
{
    (void)s;
    const size_t start = k->pos;
    for (size_t n; (n = frame_at(k, k->pos)) > 0;)
        k->pos += n;
    if (k->pos > start)
        write_all(k->fd, k->in + start, k->pos - start);
}

static void run_echo(const struct words *w)
{
    serve_for_ever(server_new(w, echo_frames));
}

/* --- disk --- */

enum pattern { APPEND, OVERWRITE };

/* Writes of `size` until `total`; each followed by fdatasync if durable. Returns seconds. */
static double disk_run(const struct words *w, enum pattern pattern, size_t size, size_t total,
                       bool durable, struct samples *samples)
{
    uint8_t *data = mem_alloc(size);
    memset(data, 0x5a, size);
    const int fd = open_file(w, "disk", O_TRUNC);
    if (pattern == OVERWRITE) {
        for (size_t at = 0; at < total; at += size)
            write_all(fd, data, size);
        if (durable && fsync(fd))
            die("fsync: %s", strerror(errno));
        lseek(fd, 0, SEEK_SET);
    }
    const int64_t start = now_ns();
    for (size_t at = 0; at < total; at += size) {
        const int64_t before = now_ns();
        write_all(fd, data, size);
        if (durable && fdatasync(fd))
            die("fdatasync: %s", strerror(errno));
        if (samples)
            samples_add(samples, now_ns() - before);
    }
    const double seconds = (double)(now_ns() - start) / 1e9;
    if (ftruncate(fd, 0))
        die("ftruncate: %s", strerror(errno));
    close(fd);
    mem_free(data);
    return seconds;
}

static void run_disk(const struct words *w)
{
    pin(w);
    const size_t mib = 1 << 20;
    const size_t scale = (size_t)word_int(w, "scale", 8);
    struct samples append = {0};
    struct samples overwrite = {0};
    disk_run(w, APPEND, 4096, scale * 128 * 4096, true, &append);
    disk_run(w, OVERWRITE, 4096, scale * 128 * 4096, true, &overwrite);
    const size_t bulk = scale * 64 * mib;
    const double append_s = disk_run(w, APPEND, mib, bulk, true, NULL);
    const double overwrite_s = disk_run(w, OVERWRITE, mib, bulk, true, NULL);
    const double buffered_s = disk_run(w, APPEND, mib, bulk, false, NULL);
    const double cached_s = disk_run(w, OVERWRITE, mib, bulk, false, NULL);
    const double gb = (double)bulk / 1e9;
    printf("{\"append_1m_gbps\":%.3f,\"overwrite_1m_gbps\":%.3f,\"buffered_append_gbps\":%.3f,"
           "\"buffered_overwrite_gbps\":%.3f",
           gb / append_s, gb / overwrite_s, gb / buffered_s, gb / cached_s);
    samples_print(&append, "append_4k");
    samples_print(&overwrite, "overwrite_4k");
    puts("}");
}

/* --- processor --- */

static void run_crc(const struct words *w)
{
    pin(w);
    const size_t size = (size_t)word_int(w, "size", 100000);
    const size_t total = (size_t)word_int(w, "bytes", (int64_t)4 << 30);
    uint8_t *data = mem_zalloc(size);
    uint32_t crc = 0;
    const int64_t start = now_ns();
    for (size_t done = 0; done < total; done += size)
        crc = crc32c(crc, data, size);
    printf("{\"crc_gbps\":%.2f,\"crc\":%u}\n", (double)total / (double)(now_ns() - start), crc);
}

static void run_walk(const struct words *w)
{
    pin(w);
    const struct batch_shape shape = {word_int(w, "records", 1000),
                                      word_int(w, "record_bytes", 100)};
    const int64_t rounds = word_int(w, "rounds", 20000);
    struct buf bytes = {0};
    append_batch(&bytes, &shape);
    struct batch b;
    if (batch_read_canonical(buf_slice(&bytes), &b))
        die("our own batch cannot be read");
    uint64_t seen = 0;
    const int64_t start = now_ns();
    for (int64_t i = 0; i < rounds; i++) {
        struct reader r = reader_init(b.records);
        struct record_view v;
        while (record_next(&r, &v) == OK)
            seen += v.value.size;
    }
    const double walk_s = (double)(now_ns() - start) / 1e9;
    struct batch_summary summary;
    const int64_t begin = now_ns();
    for (int64_t i = 0; i < rounds; i++)
        if (batch_check_records(&b, b.records, true, &summary))
            die("our own batch is not valid");
    const double check_s = (double)(now_ns() - begin) / 1e9;
    const double count = (double)(rounds * shape.records);
    printf("{\"walk_mrps\":%.1f,\"check_mrps\":%.1f,\"bytes\":%" PRIu64 "}\n", count / walk_s / 1e6,
           count / check_s / 1e6, seen);
}

static void run_warm(const struct words *w)
{
    const int64_t start = now_ns();
    warm_memory((size_t)word_int(w, "bytes", (int64_t)3 << 30));
    printf("{\"seconds\":%.2f}\n", (double)(now_ns() - start) / 1e9);
}

int main(int argc, char **argv)
{
    static const struct command commands[] = {
        {"receive", run_receive}, {"serve", run_serve}, {"echo", run_echo}, {"disk", run_disk},
        {"crc", run_crc},         {"walk", run_walk},   {"warm", run_warm}, {0},
    };
    return run_command(commands, argc, argv);
}
