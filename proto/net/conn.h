/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection: frames in, bytes out, on one loop for life. Used by servers
 * (accepted) and clients (connected) alike.
 *
 * In: bytes go from the socket to a buffer that is borrowed from the loop only
 * while a frame is incomplete, so that an idle connection holds none. A long
 * frame's memory grows as its bytes arrive, against `budget`; over it the
 * connection stops reading until others let go. All frames of one wake-up are handed over one
 * by one, then `on_frames_end`: whoever wants to answer or append them together does it there.
 *
 * Out: conn_write* queue; everything queued in a turn leaves in one writev at
 * its end. Back-pressure is by not reading: while more than out_bytes_max are
 * queued, or somebody holds the connection, nothing is read, and frames that
 * were read already wait.
 *
 * Closing: conn_close unregisters at once; on_closed comes once, at the end of
 * the turn, as the last callback, then the conn is gone. A peer that ends its
 * sending side has closed the connection, except that it is sent what is queued.
 * Threads: home loop only.
 */
#ifndef SLUICE_NET_CONN_H
#define SLUICE_NET_CONN_H

#include "proto/base/buf.h"
#include "proto/base/slice.h"
#include "proto/net/loop.h"

struct conn;

/* Bytes that many connections may hold together; `used` may pass `limit` by one frame per loop, so
 * that some frame always gets whole, and by queued output, which is only counted. Threads: any. */
struct byte_budget {
    _Atomic size_t used;
    size_t limit;
};

struct conn_limits {
    size_t frame_bytes_max; /* a longer frame closes; conn_set_frame_bytes_max changes it (hello) */
    size_t out_bytes_max;   /* queued output above which reading stops */
    int64_t idle_us;        /* nothing moved and nothing held: close; 0: never */
    int64_t assembly_us;    /* a begun frame must be complete; 0: never */
    int64_t write_stall_us; /* queued output must move; 0: never */
    struct byte_budget *budget; /* for incomplete long frames and queued output; may be NULL */
};

struct conn_handler {
    /* Connected (client side only). */
    void (*on_open)(struct conn *c);
    /* One frame without its length. The bytes are the receiver's to change and stay valid until
     * on_frames_end returns. May call conn_close. */
    void (*on_frame)(struct conn *c, uint8_t *data, size_t size);
    /* After the last frame of a wake-up, if there was one; also if one of them closed. */
    void (*on_frames_end)(struct conn *c);
    /* Last callback. why: E_END the peer closed, E_NETWORK (see conn_errno), E_TIMED_OUT a
     * deadline, E_INVALID_REQUEST a frame empty or too long, E_OVERLOADED no memory for one,
     * E_CANCELLED conn_close. */
    void (*on_closed)(struct conn *c, err why);
};

/* Takes s. handler and limits: kept, not copied. */
struct conn *conn_new(struct loop *l, struct sock *s, const struct address *peer,
                      const struct conn_handler *handler, const struct conn_limits *limits,
                      void *user);
/* Starts to connect; on_open or on_closed follows. */
struct conn *conn_connect(struct loop *l, const struct address *to,
                          const struct conn_handler *handler, const struct conn_limits *limits,
                          void *user);
void conn_close(struct conn *c);
/* Closes once all that is queued was sent (or the write stall deadline passed); reads nothing more.
 */
void conn_close_after_flush(struct conn *c);

void *conn_user(const struct conn *c);
void conn_set_user(struct conn *c, void *user);
struct loop *conn_loop(const struct conn *c);
const struct address *conn_peer(const struct conn *c);
int conn_errno(const struct conn *c);
bool conn_is_closing(const struct conn *c);
void conn_set_frame_bytes_max(struct conn *c, size_t bytes);

/* Stop reading and handing over, and no idle or assembly deadline, until as many unholds. */
void conn_hold(struct conn *c);
void conn_unhold(struct conn *c);
/* Like hold but reading goes on: somebody waits for an answer (long poll), so the connection is not
 * idle. */
void conn_busy(struct conn *c);
void conn_unbusy(struct conn *c);

/* --- output: a no-op on a closing connection (releases are still called) --- */
/* Copies. */
void conn_write(struct conn *c, const void *data, size_t size);
/* size bytes of the output buffer to fill in before the turn ends and before the next conn_write*.
 */
uint8_t *conn_write_space(struct conn *c, size_t size);
/* Borrows data until release(arg), called once when it was written or dropped. For ranges of mapped
 * files. */
void conn_write_borrowed(struct conn *c, struct slice data, void (*release)(void *arg), void *arg);
size_t conn_out_bytes(const struct conn *c);

/* Counters of all connections of a loop. The first call is made on it, or before it runs; the
 * counters are read on any thread. */
struct net_stats {
    _Atomic uint64_t bytes_in, bytes_out, connections, opened, closed;
};
const struct net_stats *conn_stats(const struct loop *l);

#endif
