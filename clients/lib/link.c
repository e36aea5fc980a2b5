/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/lib/link.h"

#include "clients/lib/backoff.h"
#include "proto/base/check.h"
#include "proto/base/diag.h"
#include "proto/base/limits.h"

static void on_retry_due(void *arg)
{
    struct link *k = arg;
    k->on_change(k->user, k);
}

static void note_failure(struct link *k, err why)
{
    const struct settings *s = k->settings;
    char text[ADDRESS_TEXT];
    /* Servers close connections that were idle for long: nobody's concern. */
    const bool is_orderly = k->is_ready && why == E_NETWORK && k->rpc && rpc_errno(k->rpc) == 0;
    const enum diag_level level = is_orderly ? DIAG_DEBUG : DIAG_WARN;
    if (k->failures == 0 || k->is_ready)
        diag(level, "client", "connection lost", "server=%s error=%s",
             address_text(link_address(k), text), err_name(why));
    k->is_ready = false;
    k->why = why;
    k->why_errno = k->rpc ? rpc_errno(k->rpc) : 0;
    k->why_at = k->at;
    k->failures++;
    k->at = (k->at + 1) % k->address_count;
    /* Another server is tried at once, each of them once. */
    const unsigned rounds = (k->failures - 1) / (unsigned)k->address_count + 1;
    const bool next_is_fresh = k->failures % k->address_count != 0;
    const int64_t wait_us = next_is_fresh ? 0
                                          : backoff_us(s->reconnect_backoff_us,
                                                       s->reconnect_backoff_max_us, rounds, k->rng);
    k->retry_at_us = loop_now_us(k->loop) + wait_us;
    timer_start(k->loop, &k->retry, wait_us, on_retry_due, k);
}

static void on_ready(void *user)
{
    struct link *k = user;
    char text[ADDRESS_TEXT];
    diag(DIAG_DEBUG, "client", "connected", "server=%s", address_text(link_address(k), text));
    k->is_ready = true;
    k->failures = 0;
    k->why = OK;
    k->on_change(k->user, k);
}

static void on_broken(void *user, err why)
{
    struct link *k = user;
    note_failure(k, why);
    k->on_change(k->user, k);
}

static const struct rpc_events events = {.on_ready = on_ready, .on_broken = on_broken};

static void on_reset(struct deferred *d)
{
    struct link *k = (struct link *)((char *)d - offsetof(struct link, resetting));
    if (!k->rpc || rpc_is_broken(k->rpc))
        return;
    struct rpc *rpc = k->rpc;
    k->rpc = NULL;
    rpc_free(rpc);
    note_failure(k, k->reset_why);
    k->on_change(k->user, k);
}

void link_init(struct link *k, struct loop *l, const struct settings *settings, struct rng *rng,
               const struct address *addresses, size_t address_count,
               void (*on_change)(void *user, struct link *k), void *user)
{
    CHECK(address_count > 0);
    *k = (struct link){.loop = l,
                       .settings = settings,
                       .rng = rng,
                       .addresses = addresses,
                       .address_count = address_count,
                       .at = rng_below(rng, address_count),
                       .resetting = {.fn = on_reset},
                       .on_change = on_change,
                       .user = user};
}

static void drop_rpc(struct link *k)
{
    struct rpc *rpc = k->rpc;
    k->rpc = NULL;
    k->is_ready = false;
    if (rpc)
        rpc_free(rpc);
}

void link_deinit(struct link *k)
{
    CHECK(!k->resetting.queued);
    timer_stop(k->loop, &k->retry);
    drop_rpc(k);
}

bool link_is_usable(struct link *k)
{
    if (k->resetting.queued)
        return false;
    if (k->rpc && !rpc_is_broken(k->rpc))
        return true;
    if (loop_now_us(k->loop) < k->retry_at_us)
        return false;
    drop_rpc(k);
    timer_stop(k->loop, &k->retry);
    k->rpc =
        rpc_new(k->loop, &(struct rpc_opts){.to = *link_address(k),
                                            .client_id = k->settings->client_id,
                                            .connect_timeout_us = k->settings->connect_timeout_us,
                                            .inflight_bytes_max = FRAME_BYTES_MAX,
                                            .events = &events,
                                            .user = k});
    return true;
}

void link_send(struct link *k, const struct rpc_piece *pieces, size_t count, int64_t timeout_us,
               rpc_done_fn *done, void *arg)
{
    CHECK(k->rpc);
    rpc_send(k->rpc, pieces, count, timeout_us, done, arg);
}

void link_reset(struct link *k, err why)
{
    k->reset_why = why;
    loop_defer(k->loop, &k->resetting);
}

const struct address *link_address(const struct link *k)
{
    return &k->addresses[k->at];
}
