/* SPDX-License-Identifier: Apache-2.0 */
#include "metad/follow/session.h"

#include "proto/base/check.h"
#include "proto/base/diag.h"
#include "proto/base/mem.h"

enum {
    RENEW_US_MAX = 500 * 1000,
    RETRY_US_MIN = 20 * 1000,
    RETRY_US_MAX = 60 * 1000,
};

struct session {
    struct loop *loop;
    struct coord *coord;
    struct rng *rng;
    struct session_member *first, *last;
    uint64_t number;
    uint64_t coord_session; /* of number */
    bool is_live;
    struct timer renewing;
    struct timer joining;
    void (*on_failed)(void *arg);
    void *on_failed_arg;
};

/* Members that join while this runs are at the end, and are told too. */
static void tell_begin(void *arg)
{
    struct session *s = arg;
    for (struct session_member *m = s->first; m != NULL && s->is_live; m = m->next) {
        if (m->has_begun)
            continue;
        m->has_begun = true;
        m->on_begin(m->arg);
    }
}

static void begin(struct session *s)
{
    s->coord_session = coord_session(s->coord);
    s->number++;
    s->is_live = true;
    diag(DIAG_INFO, "coord", "session begins", "session=%llx number=%llu",
         (unsigned long long)s->coord_session, (unsigned long long)s->number);
    tell_begin(s);
}

static void lose(struct session *s)
{
    if (!s->is_live)
        return;
    s->is_live = false;
    diag(DIAG_WARN, "coord", "session lost", "session=%llx", (unsigned long long)s->coord_session);
    for (struct session_member *m = s->last; m != NULL; m = m->prev) {
        if (!m->has_begun)
            continue;
        m->has_begun = false;
        m->on_lost(m->arg);
    }
}

static void renew(void *arg)
{
    struct session *s = arg;
    coord_renew(s->coord);
}

static void on_state(void *arg, enum coord_state state)
{
    struct session *s = arg;
    switch (state) {
    case COORD_CONNECTING:
        diag(DIAG_WARN, "coord", "no contact with the coordination service", "session=%llx",
             (unsigned long long)s->coord_session);
        break;
    case COORD_CONNECTED:
        if (!s->is_live)
            begin(s);
        else
            diag(DIAG_INFO, "coord", "contact again", "session=%llx",
                 (unsigned long long)s->coord_session);
        break;
    case COORD_EXPIRED:
        lose(s);
        timer_start(s->loop, &s->renewing, (int64_t)rng_below(s->rng, RENEW_US_MAX), renew, s);
        break;
    case COORD_FAILED:
        lose(s);
        if (s->on_failed != NULL)
            s->on_failed(s->on_failed_arg);
        break;
    }
}

struct session *session_new(struct loop *l, struct coord *coord, struct rng *rng)
{
    struct session *s = MEM_NEW(struct session);
    s->loop = l;
    s->coord = coord;
    s->rng = rng;
    coord_on_state(coord, on_state, s);
    if (coord_state(coord) == COORD_CONNECTED)
        begin(s);
    return s;
}

void session_free(struct session *s)
{
    coord_on_state(s->coord, NULL, NULL);
    timer_stop(s->loop, &s->renewing);
    timer_stop(s->loop, &s->joining);
    mem_free(s);
}

struct coord *session_coord(const struct session *s)
{
    return s->coord;
}

struct loop *session_loop(const struct session *s)
{
    return s->loop;
}

struct rng *session_rng(const struct session *s)
{
    return s->rng;
}

void session_join(struct session *s, struct session_member *m)
{
    m->has_begun = false;
    m->next = NULL;
    m->prev = s->last;
    if (s->last != NULL)
        s->last->next = m;
    else
        s->first = m;
    s->last = m;
    if (s->is_live)
        timer_start(s->loop, &s->joining, 0, tell_begin, s);
}

bool session_is_live(const struct session *s)
{
    return s->is_live;
}

uint64_t session_number(const struct session *s)
{
    return s->number;
}

int64_t session_retry_us(struct session *s)
{
    return RETRY_US_MIN + (int64_t)rng_below(s->rng, RETRY_US_MAX - RETRY_US_MIN);
}

void session_on_failed(struct session *s, void (*fn)(void *arg), void *arg)
{
    s->on_failed = fn;
    s->on_failed_arg = arg;
}
