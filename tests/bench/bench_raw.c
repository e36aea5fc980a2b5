/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Load on a broker, or on a floor program in its place (floor=1), by
 * connections that cost as little as they can: batches and requests are
 * encoded beforehand. Every command takes to=HOST:PORT, topic=T, cpu=N (where to run) and
 * pid=P (whose CPU time to measure), and prints one JSON object.
 *
 *   topic    partitions=N config=K=V        creates the topic (to: metad), waits until it is served
 * (broker=) produce  records=, record_bytes=        a batch per request; bytes= in all, in_flight=,
 *            acks=, partitions=             round robin over partitions
 *   spread   partitions=N laps=             a batch to each partition in turn; one=1: all to the
 * first fetch    bytes=, size=, depth=          size bytes a request, depth of them under way;
 * records= and record_bytes= of the batches there tail     consumers=N, and produce's     one
 * producer, N consumers at its heels latency  rate=, count=                  producer to consumer,
 * one record at a time seek     count=, end=                   fetches of 4 KiB at random offsets
 * below end polls    count=N seconds=S              N parked fetches at the end of the topic idle
 * count=N                        N connections; then waits for stdin to end verify   records=, end=
 * reads all and checks every checksum and offset
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "proto/base/mem.h"
#include "proto/base/rng.h"
#include "proto/schema/request.pb-c.h"
#include "proto/wire/batch.h"
#include "tests/bench/bench.h"
#include "tests/bench/peer.h"

enum { WINDOW_MAX = 1024, FETCH_MIN = 4096, EVENTS = 64 };

/* --- what is measured: wall clock and the server's CPU --- */

struct meter {
    int64_t pid, start_ns, start_cpu_ns;
};

static struct meter meter_start(const struct words *w)
{
    const int64_t pid = word_int(w, "pid", 0);
    return (struct meter){pid, now_ns(), cpu_ns(pid)};
}

static void meter_print(const struct meter *m, double bytes, double records)
{
    const double seconds = (double)(now_ns() - m->start_ns) / 1e9;
    const double cpu = (double)(cpu_ns(m->pid) - m->start_cpu_ns) / 1e9;
    printf("{\"seconds\":%.4f,\"bytes\":%.0f,\"records\":%.0f,\"gbps\":%.4f,\"records_per_s\":%.0f,"
           "\"cpu_s\":%.4f,\"cpu_s_per_gb\":%.4f,\"cpu_us_per_record\":%.5f",
           seconds, bytes, records, bytes / 1e9 / seconds, records / seconds, cpu,
           bytes > 0 ? cpu / (bytes / 1e9) : 0, records > 0 ? cpu * 1e6 / records : 0);
}

/* --- a stream of produce requests, at most `window` unanswered --- */

struct stream {
    struct peer peer;
    struct buf ring;         /* `window` frames, sent over and over */
    size_t ends[WINDOW_MAX]; /* of each frame in the ring */
    int64_t sent_ns[WINDOW_MAX];
    size_t window;
    int64_t sent, answered, total; /* requests; sent: begun */
    size_t pos;                    /* in the ring, of what goes next */
    struct samples *latency;       /* may be NULL */
};

static void stream_init(struct stream *s, const struct words *w, const struct batch_shape *shape)
{
    const char *topic = word(w, "topic", "bench");
    const int64_t partitions = word_int(w, "partitions", 1);
    const int acks = (int)word_int(w, "acks", 1);
    struct buf batch = {0};
    append_batch(&batch, shape);
    s->window = (size_t)word_int(w, "in_flight", 5);
    if (s->window == 0 || s->window > WINDOW_MAX)
        die("in_flight: 1 to %d", WINDOW_MAX);
    for (size_t i = 0; i < s->window; i++) {
        append_produce(&s->ring, i, topic, (uint32_t)((int64_t)i % partitions), acks,
                       buf_slice(&batch));
        s->ends[i] = s->ring.size;
    }
    buf_deinit(&batch);
}

/* Requests that may be begun now. */
static size_t stream_room(const struct stream *s)
{
    const int64_t last =
        s->answered + (int64_t)s->window < s->total ? s->answered + (int64_t)s->window : s->total;
    return (size_t)(last - s->sent);
}

/* Sends what the window allows; false: the socket is full. */
static bool stream_push(struct stream *s)
{
    for (;;) {
        /* Frames that may go, up to the ring's end: one send for all of them. */
        const size_t first = (size_t)s->sent % s->window;
        size_t count = stream_room(s);
        if (count > s->window - first)
            count = s->window - first;
        if (count == 0)
            return true;
        const size_t end = s->ends[first + count - 1];
        const size_t n = peer_send_some(&s->peer, slice_of(s->ring.data + s->pos, end - s->pos));
        const int64_t now = s->latency && n ? now_ns() : 0;
        s->pos += n;
        for (size_t i = first; i < first + count && s->ends[i] <= s->pos; i++) {
            s->sent_ns[i] = now;
            s->sent++;
        }
        if (s->pos == s->ring.size)
            s->pos = 0;
        if (s->pos != 0 && s->pos < end)
            return false;
    }
}

static void stream_pull(struct stream *s)
{
    struct slice frame;
    if (!peer_receive(&s->peer))
        return;
    const int64_t now = s->latency ? now_ns() : 0;
    while (peer_next(&s->peer, &frame)) {
        /* The first few and a sample of the rest are read in full; an answer with an error is
         * longer, too. */
        if (s->answered < 64 || s->answered % 64 == 0 || frame.size > 100)
            check_response(&s->peer, frame);
        if (s->latency)
            samples_add(s->latency, now - s->sent_ns[(size_t)s->answered % s->window]);
        s->answered++;
    }
}

static void stream_run(struct stream *s, int64_t requests)
{
    s->total = s->answered + requests;
    while (s->answered < s->total) {
        const bool all_sent = stream_push(s);
        wait_for(s->peer.fd, !all_sent, -1);
        stream_pull(s);
    }
}

static struct batch_shape shape_of(const struct words *w)
{
    return (struct batch_shape){word_int(w, "records", 1000), word_int(w, "record_bytes", 100)};
}

/* Size of a batch of that shape, as the log keeps it. */
static size_t batch_size(const struct batch_shape *shape)
{
    struct buf b = {0};
    append_batch(&b, shape);
    const size_t size = b.size;
    buf_deinit(&b);
    return size;
}

static void run_produce(const struct words *w)
{
    pin(w);
    const struct batch_shape shape = shape_of(w);
    const int64_t bytes = word_int(w, "bytes", (int64_t)1 << 30);
    const int64_t request_bytes = shape.records * shape.record_bytes;
    int64_t requests = bytes / request_bytes;
    static struct stream s;
    struct samples latency = {0};
    stream_init(&s, w, &shape);
    peer_open(&s.peer, w);
    stream_run(&s, (int64_t)s.window * word_int(w, "laps", 2)); /* topic looked up, buffers grown */
    s.latency = &latency;
    if (requests < (int64_t)s.window)
        requests = (int64_t)s.window;
    const struct meter m = meter_start(w);
    stream_run(&s, requests);
    meter_print(&m, (double)(requests * request_bytes), (double)(requests * shape.records));
    samples_print(&latency, "ack");
    puts("}");
}

/* --- many partitions: the ring holds one frame for each --- */

static void run_spread(const struct words *w)
{
    pin(w);
    const struct batch_shape shape = shape_of(w);
    const int64_t partitions = word_int(w, "partitions", 1000);
    const int64_t laps = word_int(w, "laps", 3);
    const int64_t window = word_int(w, "in_flight", 64);
    const int acks = (int)word_int(w, "acks", 1);
    struct buf batch = {0};
    struct buf frame = {0};
    struct peer p;
    append_batch(&batch, &shape);
    peer_open(&p, w);
    int64_t answered = 0;
    struct meter m = {0};
    for (int64_t i = 0; i < partitions * laps; i++) {
        struct slice answer;
        if (i == partitions) {
            /* The first lap opens the partitions and is not measured. */
            for (; answered < i; answered++)
                check_response(&p, peer_frame(&p));
            m = meter_start(w);
        }
        buf_clear(&frame);
        append_produce(&frame, (uint64_t)i, word(w, "topic", "bench"),
                       word_int(w, "one", 0) ? 0 : (uint32_t)(i % partitions), acks,
                       buf_slice(&batch));
        peer_send(&p, buf_slice(&frame));
        while (i - answered >= window) {
            check_response(&p, peer_frame(&p));
            answered++;
        }
        for (; peer_next(&p, &answer); answered++)
            check_response(&p, answer);
    }
    for (; answered < partitions * laps; answered++)
        check_response(&p, peer_frame(&p));
    const double requests = (double)(partitions * (laps - 1));
    meter_print(&m, requests * (double)(shape.records * shape.record_bytes),
                requests * (double)shape.records);
    puts("}");
}

/* --- fetching --- */

/* Counts a frame's bytes and forgets them: what a consumer must at least do is done in recv. */
struct drain {
    int fd;
    uint8_t head[4];
    size_t head_size;
    size_t left;  /* of the frame under way */
    size_t frame; /* its size */
    bool discard; /* not even copied from the kernel */
};

/* True once a frame is through; size: without its length. False: nothing more now. */
static bool drain_some(struct drain *d, size_t *size)
{
    static uint8_t sink[1 << 18];
    for (;;) {
        ssize_t n;
        if (d->head_size < sizeof d->head) {
            n = recv(d->fd, d->head + d->head_size, sizeof d->head - d->head_size, 0);
        } else {
            n = d->discard ? recv(d->fd, NULL, d->left, MSG_TRUNC)
                           : recv(d->fd, sink, d->left < sizeof sink ? d->left : sizeof sink, 0);
        }
        if (n == 0)
            die("the server closed the connection");
        if (n < 0 && errno != EAGAIN)
            die("recv: %s", strerror(errno));
        if (n < 0)
            return false;
        if (d->head_size < sizeof d->head) {
            d->head_size += (size_t)n;
            if (d->head_size == sizeof d->head) {
                uint32_t v;
                memcpy(&v, d->head, sizeof v);
                d->left = d->frame = __builtin_bswap32(v);
            }
        } else {
            d->left -= (size_t)n;
            if (d->left == 0) {
                d->head_size = 0;
                *size = d->frame;
                return true;
            }
        }
    }
}

static void run_fetch(const struct words *w)
{
    pin(w);
    const struct batch_shape shape = shape_of(w);
    const int64_t depth = word_int(w, "depth", 4);
    const int64_t size = word_int(w, "size", 1 << 20);
    const int64_t total = word_int(w, "bytes", (int64_t)1 << 30);
    const size_t one = batch_size(&shape);
    const int64_t step = size / (int64_t)one * shape.records; /* records that an answer holds */
    if (step == 0)
        die("size= is less than a batch of %zu bytes", one);
    struct peer p;
    struct buf frame = {0};
    peer_open(&p, w);
    struct drain d = {.fd = p.fd, .discard = word_int(w, "discard", 0) != 0};
    const int64_t records_there = word_int(w, "end", INT64_MAX);
    int64_t asked = 0;
    int64_t done = 0;
    int64_t bytes = 0;
    int64_t offset = 0;
    const int64_t count = total / (step / shape.records * (int64_t)one);
    const struct meter m = meter_start(w);
    while (done < count) {
        while (asked < count && asked - done < depth) {
            if (offset + step > records_there)
                offset = 0;
            buf_clear(&frame);
            append_fetch(&frame, (uint64_t)asked, word(w, "topic", "bench"), 0, offset,
                         (uint32_t)size, 0);
            peer_send(&p, buf_slice(&frame));
            offset += step;
            asked++;
        }
        size_t n;
        while (!drain_some(&d, &n))
            wait_for(p.fd, false, -1);
        if (!p.is_floor && n < one)
            die("an answer of %zu bytes holds no batch of %zu", n, one);
        bytes += (int64_t)n;
        done++;
    }
    meter_print(&m, (double)bytes, (double)bytes / (double)one * (double)shape.records);
    puts("}");
}

static void run_seek(const struct words *w)
{
    pin(w);
    const int64_t count = word_int(w, "count", 20000);
    const int64_t end = strtoll(word_need(w, "end"), NULL, 10);
    struct rng rng;
    struct peer p;
    struct buf frame = {0};
    struct samples samples = {0};
    rng_init(&rng, 7);
    peer_open(&p, w);
    const struct meter m = meter_start(w);
    for (int64_t i = 0; i < count; i++) {
        buf_clear(&frame);
        append_fetch(&frame, (uint64_t)i, word(w, "topic", "bench"), 0,
                     (int64_t)rng_below(&rng, (uint64_t)end), FETCH_MIN, 0);
        const int64_t start = now_ns();
        peer_send(&p, buf_slice(&frame));
        const struct slice answer = peer_frame(&p);
        samples_add(&samples, now_ns() - start);
        if (i % 100 == 0)
            check_response(&p, answer);
    }
    meter_print(&m, 0, (double)count);
    samples_print(&samples, "seek");
    puts("}");
}

/* --- one producer, many at its heels ------------------------------------------------------------
 */

struct tailer {
    struct peer peer;
    struct drain drain;
    int64_t next_offset;
    int64_t bytes;
};

static void tailer_ask(struct tailer *t, const struct words *w, int64_t size)
{
    struct buf frame = {0};
    append_fetch(&frame, 0, word(w, "topic", "bench"), 0, t->next_offset, (uint32_t)size, 10000);
    peer_send(&t->peer, buf_slice(&frame));
    buf_deinit(&frame);
}

/* The end of the topic, from a fetch at its start. */
static int64_t end_offset(struct peer *p, const char *topic)
{
    struct buf frame = {0};
    append_fetch(&frame, 0, topic, 0, 0, 1, 0);
    peer_send(p, buf_slice(&frame));
    buf_deinit(&frame);
    const struct slice answer = peer_frame(p);
    check_response(p, answer);
    Sluice__Response *r = sluice__response__unpack(NULL, answer.size, answer.data);
    const int64_t end = r->fetch->topic[0]->partition[0]->high_watermark;
    sluice__response__free_unpacked(r, NULL);
    return end;
}

static void run_tail(const struct words *w)
{
    pin(w);
    const struct batch_shape shape = shape_of(w);
    const size_t one = batch_size(&shape);
    const int64_t consumers = word_int(w, "consumers", 10);
    const int64_t size = word_int(w, "size", 1 << 20);
    const int64_t request_bytes = shape.records * shape.record_bytes;
    const int64_t requests = word_int(w, "bytes", (int64_t)1 << 28) / request_bytes;
    const int64_t rate = word_int(w, "rate", 0); /* requests per second; 0: as fast as they go */
    static struct stream s;
    stream_init(&s, w, &shape);
    peer_open(&s.peer, w);
    stream_run(&s, 1);
    const int64_t begin = end_offset(&s.peer, word(w, "topic", "bench"));
    const int64_t end = begin + requests * shape.records;
    struct tailer *all = mem_zalloc((size_t)consumers * sizeof *all);
    const int ep = epoll_create1(EPOLL_CLOEXEC);
    for (int64_t i = 0; i < consumers; i++) {
        peer_open(&all[i].peer, w);
        all[i].next_offset = begin;
        all[i].drain = (struct drain){.fd = all[i].peer.fd, .discard = true};
        tailer_ask(&all[i], w, size);
        epoll_ctl(ep, EPOLL_CTL_ADD, all[i].peer.fd,
                  &(struct epoll_event){EPOLLIN, {.ptr = &all[i]}});
    }
    epoll_ctl(ep, EPOLL_CTL_ADD, s.peer.fd, &(struct epoll_event){EPOLLIN, {.ptr = NULL}});
    int64_t behind = consumers;
    bool watched_out = false;
    const int64_t first = s.answered;
    const struct meter m = meter_start(w);
    while (behind > 0 || s.answered < first + requests) {
        const int64_t due = rate ? (now_ns() - m.start_ns) * rate / 1000000000 : requests;
        s.total = first + (due < requests ? due : requests);
        const bool all_sent = stream_push(&s);
        if (watched_out == all_sent) {
            watched_out = !all_sent;
            epoll_ctl(ep, EPOLL_CTL_MOD, s.peer.fd,
                      &(struct epoll_event){EPOLLIN | (watched_out ? EPOLLOUT : 0), {.ptr = NULL}});
        }
        struct epoll_event events[EVENTS];
        const int n = epoll_wait(ep, events, EVENTS, rate ? 1 : -1);
        for (int i = 0; i < n; i++) {
            struct tailer *t = events[i].data.ptr;
            size_t got;
            if (!t) {
                stream_pull(&s);
            } else if (t->next_offset < end && drain_some(&t->drain, &got)) {
                t->bytes += (int64_t)got;
                t->next_offset += (int64_t)(got / one) * shape.records;
                if (t->next_offset < end)
                    tailer_ask(t, w, size);
                else
                    behind--;
            }
        }
    }
    double bytes = 0;
    for (int64_t i = 0; i < consumers; i++)
        bytes += (double)all[i].bytes;
    meter_print(&m, bytes, bytes / (double)one * (double)shape.records);
    printf(",\"produced_bytes\":%" PRId64 "}\n", requests * request_bytes);
}

/* --- end to end --- */

static void sleep_until(int64_t at_ns, int fd)
{
    const int64_t left = at_ns - now_ns();
    if (left <= 0)
        return;
    fd_set set;
    FD_ZERO(&set);
    FD_SET(fd, &set);
    const struct timespec t = {left / 1000000000, left % 1000000000};
    pselect(fd + 1, &set, NULL, NULL, &t, NULL);
}

/* One record each 1/rate s; from just before send to just after the consumer's recv. Against a
 * floor, the echo. */
static void run_latency(const struct words *w)
{
    pin(w);
    prctl(PR_SET_TIMERSLACK, 1);
    const struct batch_shape shape = {1, word_int(w, "record_bytes", 100)};
    const int64_t count = word_int(w, "count", 5000);
    const int64_t gap_ns = 1000000000 / word_int(w, "rate", 1000);
    const int64_t warmup = count / 10;
    const char *topic = word(w, "topic", "bench");
    struct samples samples = {0};
    struct buf produce = {0};
    struct buf fetch = {0};
    struct buf batch = {0};
    struct peer producer;
    struct peer consumer;
    append_batch(&batch, &shape);
    append_produce(&produce, 0, topic, 0, (int)word_int(w, "acks", 1), buf_slice(&batch));
    peer_open(&producer, w);
    const bool is_floor = producer.is_floor;
    int64_t offset = 0;
    if (is_floor) {
        consumer = producer;
    } else {
        peer_open(&consumer, w);
        offset = end_offset(&consumer, topic);
    }
    struct meter m = meter_start(w);
    int64_t due = now_ns() + gap_ns;
    for (int64_t i = 0; i < count + warmup; i++, due += gap_ns) {
        struct slice answer;
        if (i == warmup)
            m = meter_start(w);
        if (!is_floor) {
            buf_clear(&fetch);
            append_fetch(&fetch, (uint64_t)i, topic, 0, offset + i, 1 << 20, 60000);
            peer_send(&consumer, buf_slice(&fetch));
        }
        while (now_ns() < due)
            sleep_until(due, producer.fd);
        const int64_t start = now_ns();
        peer_send(&producer, buf_slice(&produce));
        answer = peer_frame(&consumer);
        const int64_t took = now_ns() - start;
        if (i >= warmup)
            samples_add(&samples, took);
        check_response(&consumer, answer);
        if (!is_floor)
            check_response(&producer, peer_frame(&producer));
    }
    meter_print(&m, 0, (double)count);
    samples_print(&samples, "e2e");
    puts("}");
}

/* --- idle ones --- */

static void run_polls(const struct words *w)
{
    pin(w);
    const int64_t count = word_int(w, "count", 1000);
    const int64_t seconds = word_int(w, "seconds", 5);
    const uint32_t wait_ms = (uint32_t)word_int(w, "max_wait_ms", 500);
    const char *topic = word(w, "topic", "bench");
    struct peer *all = mem_zalloc((size_t)count * sizeof *all);
    struct buf frame = {0};
    const int ep = epoll_create1(EPOLL_CLOEXEC);
    int64_t end = 0;
    for (int64_t i = 0; i < count; i++) {
        peer_open(&all[i], w);
        if (i == 0)
            end = end_offset(&all[0], topic);
        buf_clear(&frame);
        append_fetch(&frame, 0, topic, 0, end, 1 << 20, wait_ms);
        peer_send(&all[i], buf_slice(&frame));
        epoll_ctl(ep, EPOLL_CTL_ADD, all[i].fd, &(struct epoll_event){EPOLLIN, {.ptr = &all[i]}});
    }
    struct meter m = meter_start(w);
    int64_t answers = 0;
    while (now_ns() - m.start_ns < seconds * 1000000000) {
        struct epoll_event events[EVENTS];
        const int n = epoll_wait(ep, events, EVENTS, 100);
        for (int i = 0; i < n; i++) {
            struct peer *p = events[i].data.ptr;
            struct slice answer;
            while (peer_receive(p))
                ;
            while (peer_next(p, &answer)) {
                check_response(p, answer);
                answers++;
                peer_send(p, buf_slice(&frame));
            }
        }
    }
    const double cores = (double)(cpu_ns(m.pid) - m.start_cpu_ns) / (double)(now_ns() - m.start_ns);
    meter_print(&m, 0, (double)answers);
    printf(",\"cores\":%.5f}\n", cores);
}

static void run_idle(const struct words *w)
{
    const int64_t count = word_int(w, "count", 1000);
    for (int64_t i = 0; i < count; i++) {
        struct peer p;
        peer_open(&p, w);
        mem_free(p.in);
    }
    printf("{\"connections\":%" PRId64 "}\n", count);
    fflush(stdout);
    while (getchar() != EOF)
        ;
}

/* --- starting --- */

/* The address behind `name ` in the ready lines; NULL: not (wholly) there. */
static const char *ready_address(const char *lines, const char *name, char out[64])
{
    char first[32];
    for (const char *line = lines; strchr(line, '\n'); line = strchr(line, '\n') + 1)
        if (sscanf(line, "%31s %63[0-9.:]", first, out) == 2 && strcmp(first, name) == 0)
            return out;
    return NULL;
}

/* Waits for the lines of broker and metad. */
static void read_ready(int fd, char *broker, char *metad)
{
    char lines[1024] = "";
    size_t size = 0;
    while (!ready_address(lines, "broker", broker) || !ready_address(lines, "metad", metad)) {
        const ssize_t n = read(fd, lines + size, sizeof lines - 1 - size);
        if (n <= 0)
            die("the broker did not become ready; it said: %s", lines);
        size += (size_t)n;
        lines[size] = 0;
    }
}

static pid_t started; /* for end_broker */

/* However this program ends, it leaves no broker behind. */
static void end_broker(void)
{
    if (started > 0)
        kill(started, SIGKILL);
}

static pid_t spawn_broker(const struct words *w, int *ready)
{
    char fd_text[16];
    char *argv[64];
    int argc = 0;
    int first = 0;
    int ends[2];
    pid_t pid;
    while (first < w->count && strcmp(w->at[first], "--") != 0)
        first++;
    if (w->count - first < 2 || w->count - first > 50)
        die("-- PROGRAM ARGUMENTS ... is missing");
    for (int i = first + 1; i < w->count; i++)
        argv[argc++] = w->at[i];
    if (pipe(ends) || fcntl(ends[0], F_SETFD, FD_CLOEXEC))
        die("pipe: %s", strerror(errno));
    snprintf(fd_text, sizeof fd_text, "%d", ends[1]);
    argv[argc++] = (char *)(uintptr_t) "--ready-fd";
    argv[argc++] = fd_text;
    argv[argc] = NULL;
    const int e = posix_spawn(&pid, argv[0], NULL, NULL, argv, environ);
    if (e)
        die("%s: %s", argv[0], strerror(e));
    started = pid;
    atexit(end_broker);
    close(ends[1]);
    *ready = ends[0];
    return pid;
}

/* Sends the request until it is not refused for now any more. */
static void ask_until_served(struct peer *p, const struct buf *frame)
{
    struct slice answer;
    for (bool again = true; again;) {
        peer_send(p, buf_slice(frame));
        answer = peer_frame(p);
        again = is_refused_for_now(answer);
        if (again)
            usleep(200);
    }
    check_response(p, answer);
}

static double ms_since(int64_t start_ns)
{
    return (double)(now_ns() - start_ns) / 1e6;
}

static void run_start(const struct words *w)
{
    char broker[64];
    char metad[64];
    int ready;
    int status;
    const char *topic = word(w, "topic", "bench");
    struct buf batch = {0};
    struct buf frame = {0};
    struct peer p;
    append_batch(&batch, &(struct batch_shape){1, 100});
    const int64_t start = now_ns();
    const pid_t pid = spawn_broker(w, &ready);
    read_ready(ready, broker, metad);
    const double ready_ms = ms_since(start);
    if (word_int(w, "create", 0)) {
        peer_open_at(&p, metad, false);
        append_create_topic(&frame, topic, 1, NULL, NULL);
        peer_send(&p, buf_slice(&frame));
        check_response(&p, peer_frame(&p));
        peer_close(&p);
        buf_clear(&frame);
    }
    peer_open_at(&p, broker, false);
    append_produce(&frame, 1, topic, 0, (int)word_int(w, "acks", 1), buf_slice(&batch));
    ask_until_served(&p, &frame);
    const double ack_ms = ms_since(start);
    const int64_t stop = now_ns();
    kill(pid, strcmp(word(w, "end", "term"), "kill") == 0 ? SIGKILL : SIGTERM);
    if (waitpid(pid, &status, 0) != pid)
        die("waitpid: %s", strerror(errno));
    started = 0;
    printf("{\"ready_ms\":%.3f,\"first_ack_ms\":%.3f,\"stop_ms\":%.3f,\"status\":%d}\n", ready_ms,
           ack_ms, ms_since(stop), status);
}

/* --- topics, verifying --- */

static void run_topic(const struct words *w)
{
    char *config = mem_strdup(word(w, "config", ""));
    char *value = strchr(config, '=');
    struct peer p;
    struct buf frame = {0};
    if (value)
        *value++ = 0;
    peer_open(&p, w);
    append_create_topic(&frame, word(w, "topic", "bench"), (int32_t)word_int(w, "partitions", 1),
                        value ? config : NULL, value);
    const int64_t start = now_ns();
    peer_send(&p, buf_slice(&frame));
    check_response(&p, peer_frame(&p));
    const double created_s = (double)(now_ns() - start) / 1e9;
    struct peer broker;
    peer_open_at(&broker, word_need(w, "broker"), false);
    for (int64_t i = 0; i < word_int(w, "partitions", 1); i++) {
        buf_clear(&frame);
        append_fetch(&frame, 0, word(w, "topic", "bench"), (uint32_t)i, 0, 1, 0);
        ask_until_served(&broker, &frame);
    }
    printf("{\"seconds\":%.4f,\"served_seconds\":%.4f}\n", created_s,
           (double)(now_ns() - start) / 1e9);
    mem_free(config);
}

static void run_verify(const struct words *w)
{
    const int64_t end = strtoll(word_need(w, "end"), NULL, 10);
    struct peer p;
    struct buf frame = {0};
    peer_open(&p, w);
    int64_t batches = 0;
    for (int64_t offset = 0; offset < end;) {
        buf_clear(&frame);
        append_fetch(&frame, 0, word(w, "topic", "bench"), 0, offset, 1 << 20, 1000);
        peer_send(&p, buf_slice(&frame));
        const struct slice answer = peer_frame(&p);
        check_response(&p, answer);
        Sluice__Response *r = sluice__response__unpack(NULL, answer.size, answer.data);
        const ProtobufCBinaryData got = r->fetch->topic[0]->partition[0]->batches;
        struct slice rest = slice_of(got.data, got.len);
        struct batch b;
        if (rest.size == 0)
            die("nothing at offset %" PRId64, offset);
        for (; batch_read_canonical(rest, &b) == OK; rest = slice_sub(rest, b.size, rest.size)) {
            struct batch_summary summary;
            if (b.base_offset > offset || batch_check_crcs(&b) ||
                batch_check_records(&b, b.records, true, &summary))
                die("the batch at offset %" PRId64 " is damaged or out of place", offset);
            offset = b.base_offset + b.last_offset_delta + 1;
            batches++;
        }
        if (rest.size > 0)
            die("an answer does not end with a whole batch, at offset %" PRId64, offset);
        sluice__response__free_unpacked(r, NULL);
    }
    printf("{\"batches\":%" PRId64 ",\"end\":%" PRId64 "}\n", batches, end);
}

int main(int argc, char **argv)
{
    static const struct command commands[] = {
        {"topic", run_topic}, {"produce", run_produce}, {"spread", run_spread},
        {"fetch", run_fetch}, {"tail", run_tail},       {"latency", run_latency},
        {"seek", run_seek},   {"polls", run_polls},     {"idle", run_idle},
        {"start", run_start}, {"verify", run_verify},   {0},
    };
    return run_command(commands, argc, argv);
}
