/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The office. Rules C2 (election), C6 (first fence, then read again, then act).
 *
 * Invariant: operations of one office never overlap with those of the next. A
 * resigned controller waits (is_draining) until all its answers are there, so
 * that no callback has to ask whose it is.
 */
#include "broker/controller/controller.h"

#include <stdatomic.h>

#include "broker/controller/controller_priv.h"
#include "metad/follow/reading.h"
#include "proto/base/check.h"
#include "proto/base/diag.h"

static void stand(void *arg);
static void read_everything(void *arg);

static void ask(struct controller *c)
{
    c->outstanding++;
}

static void give_up_office(struct controller *c);

bool office_is_concerned(struct controller *c)
{
    CHECK(c->outstanding > 0);
    c->outstanding--;
    if (!c->is_draining)
        return true;
    if (c->outstanding == 0) {
        c->is_draining = false;
        if (c->is_leaving)
            give_up_office(c);
        else
            stand(c);
    }
    return false;
}

/* --- standing -------------------------------------------------------------------- */

static void stand_later(struct controller *c)
{
    c->is_asking = false;
    timer_start(c->loop, &c->again, session_retry_us(c->opts.session), stand, c);
}

static void elected(struct controller *c, int32_t epoch_version)
{
    c->is_asking = false;
    c->office = OFFICE_READING;
    c->has_read = false;
    c->epoch_version = epoch_version;
    diag(DIAG_INFO, "controller", "elected", "broker=%d epoch=%d", c->opts.broker_id,
         epoch_version);
    read_everything(c);
}

static void on_elected(void *arg, err e, size_t failed)
{
    struct controller *c = arg;
    (void)failed;
    if (!office_is_concerned(c))
        return;
    if (e == OK)
        elected(c, c->tried_epoch);
    else
        stand_later(c); /* another was first, or the answer was lost: looking again tells */
}

static void try_election(struct controller *c, int32_t epoch_version)
{
    struct buf controller = {0};
    struct buf epoch = {0};
    const struct path mine = path_of_broker_epoch(c->opts.broker_id);
    nodes_pack_controller(&(struct controller_identity){.broker_id = c->opts.broker_id,
                                                        .incarnation = c->incarnation},
                          &controller);
    nodes_pack_controller_epoch(c->opts.broker_id, &epoch);
    const struct coord_op ops[] = {
        {.kind = COORD_CHECK, .path = mine.text, .version = (int32_t)c->incarnation},
        {.kind = COORD_CREATE,
         .path = PATH_CONTROLLER,
         .data = buf_slice(&controller),
         .ephemeral = true},
        {.kind = COORD_SET,
         .path = PATH_CONTROLLER_EPOCH,
         .data = buf_slice(&epoch),
         .version = epoch_version},
    };
    c->tried_epoch = epoch_version + 1;
    ask(c);
    coord_multi(c->coord, ops, sizeof ops / sizeof ops[0], on_elected, c);
    buf_deinit(&controller);
    buf_deinit(&epoch);
}

static void on_epoch(void *arg, err e, struct slice data, const struct coord_stat *stat)
{
    struct controller *c = arg;
    (void)data;
    if (!office_is_concerned(c))
        return;
    if (e == OK)
        try_election(c, stat->version);
    else
        stand_later(c);
}

static void on_own_gone(void *arg, err e)
{
    struct controller *c = arg;
    (void)e;
    if (office_is_concerned(c))
        stand_later(c);
}

/* Rule C2: /controller is of my session. I won if the epoch is the one I tried. */
static void on_epoch_of_mine(void *arg, err e, struct slice data, const struct coord_stat *stat)
{
    struct controller *c = arg;
    (void)data;
    if (!office_is_concerned(c))
        return;
    if (e != OK) {
        stand_later(c);
    } else if (stat->version == c->tried_epoch) {
        elected(c, c->tried_epoch);
    } else {
        ask(c);
        coord_delete(c->coord, PATH_CONTROLLER, 0, on_own_gone, c);
    }
}

static void on_controller(void *arg, err e, const struct coord_stat *stat)
{
    struct controller *c = arg;
    if (!office_is_concerned(c))
        return;
    if (e == OK && stat->owner_session != coord_session(c->coord)) {
        c->is_asking = false; /* the watch tells when that one goes */
    } else if (e == OK) {
        ask(c);
        coord_get(c->coord, PATH_CONTROLLER_EPOCH, NULL, on_epoch_of_mine, c);
    } else if (e == E_NOT_FOUND) {
        ask(c);
        coord_get(c->coord, PATH_CONTROLLER_EPOCH, NULL, on_epoch, c);
    } else {
        stand_later(c);
    }
}

static void on_controller_changed(void *arg)
{
    struct controller *c = arg;
    if (c->office == OFFICE_STANDING)
        stand(c);
}

static void stand(void *arg)
{
    struct controller *c = arg;
    if (c->incarnation == 0 || c->is_leaving || c->is_draining || c->is_asking)
        return;
    if (timer_is_running(&c->again))
        timer_stop(c->loop, &c->again);
    const struct coord_watch watch = {.fn = on_controller_changed, .arg = c};
    c->office = OFFICE_STANDING;
    c->is_asking = true;
    ask(c);
    coord_exists(c->coord, PATH_CONTROLLER, &watch, on_controller, c);
}

void controller_stand(struct controller *c, uint64_t incarnation)
{
    CHECK(incarnation > 0);
    CHECK(incarnation <= INT32_MAX);
    c->incarnation = incarnation;
    if (c->office == OFFICE_NONE)
        stand(c);
}

/* --- reading everything ---------------------------------------------------------- */

static void read_later(struct controller *c)
{
    timer_start(c->loop, &c->again, session_retry_us(c->opts.session), read_everything, c);
}

static void drop_reading(struct controller *c)
{
    if (c->reading != NULL)
        reading_free(c->reading);
    if (c->reading_edit != NULL)
        cluster_edit_free(c->reading_edit);
    c->reading = NULL;
    c->reading_edit = NULL;
}

static void on_read(void *arg, err e)
{
    struct controller *c = arg;
    if (!office_is_concerned(c)) {
        drop_reading(c);
        return;
    }
    if (e != OK) {
        drop_reading(c);
        read_later(c);
        return;
    }
    cluster_unref(c->img);
    c->img = cluster_edit_finish(c->reading_edit);
    c->reading_edit = NULL;
    drop_reading(c);
    c->has_read = true;
    brokers_observe(c);
}

static void on_changes(void *arg, err e, struct slice data, const struct coord_stat *stat)
{
    struct controller *c = arg;
    const char *what;
    if (!office_is_concerned(c))
        return;
    if (e != OK) {
        read_later(c);
        return;
    }
    if (nodes_unpack_changes(data, &c->changes, &what) != OK)
        diag(DIAG_ERROR, "controller", "/changes is damaged; it begins anew", "why=%s", what);
    c->reading_edit = cluster_edit_new(NULL);
    cluster_edit_version(c->reading_edit, (uint64_t)stat->version);
    c->reading = reading_new(c->coord, c->reading_edit, on_read, c);
    reading_add_all(c->reading);
    ask(c);
    reading_start(c->reading);
}

static void on_synced(void *arg, err e)
{
    struct controller *c = arg;
    if (!office_is_concerned(c))
        return;
    if (e != OK) {
        read_later(c);
        return;
    }
    ask(c);
    coord_get(c->coord, PATH_CHANGES, NULL, on_changes, c);
}

static void read_everything(void *arg)
{
    struct controller *c = arg;
    ask(c);
    coord_sync(c->coord, on_synced, c);
}

void office_read_again(struct controller *c, const char *why)
{
    diag(DIAG_WARN, "controller", "reading everything again", "why=%s", DIAG_STR(why));
    c->office = OFFICE_READING;
    c->has_read = false;
    read_later(c);
}

void office_begin(struct controller *c)
{
    c->office = OFFICE_HELD;
    c->must_announce = true;
    atomic_store(&c->epoch, (uint32_t)c->epoch_version);
    diag(DIAG_INFO, "controller", "acting", "broker=%d epoch=%d topics=%u partitions=%u brokers=%u",
         c->opts.broker_id, c->epoch_version, cluster_topic_count(c->img),
         cluster_partition_count(c->img), cluster_broker_count(c->observed));
    writes_kick(c);
}

/* --- resigning ------------------------------------------------------------------- */

static void forget_office(struct controller *c)
{
    c->office = OFFICE_NONE;
    c->is_asking = false;
    atomic_store(&c->epoch, 0);
    timer_stop(c->loop, &c->again);
    brokers_reset(c);
    cluster_unref(c->img);
    c->img = NULL;
    c->is_draining = c->outstanding > 0;
}

void office_resign(struct controller *c, const char *why)
{
    diag(DIAG_WARN, "controller", "resigned", "broker=%d epoch=%d why=%s", c->opts.broker_id,
         c->epoch_version, DIAG_STR(why));
    forget_office(c);
    writes_abandon(c, E_NOT_CONTROLLER, "this broker is not the controller any more");
    if (!c->is_draining)
        stand(c);
}

static void on_begin(void *arg)
{
    (void)arg; /* the broker registers first, then controller_stand */
}

/* The operations of the old session have ended. */
static void on_lost(void *arg)
{
    struct controller *c = arg;
    c->incarnation = 0;
    c->tried_epoch = 0;
    forget_office(c);
    writes_abandon(c, E_NOT_CONTROLLER, "this broker lost its session");
    if (c->is_leaving && !c->is_draining)
        give_up_office(c);
}

/* --- leaving --------------------------------------------------------------------- */

static void told_left(struct controller *c)
{
    void (*done)(void *) = c->left;
    c->left = NULL;
    if (done != NULL)
        done(c->left_arg);
}

static void on_given_up(void *arg, err e)
{
    struct controller *c = arg;
    (void)e; /* an end of the session does the same */
    c->outstanding--;
    told_left(c);
}

static void give_up_office(struct controller *c)
{
    if (c->epoch_version == 0 || c->incarnation == 0) {
        told_left(c);
        return;
    }
    c->epoch_version = 0;
    ask(c);
    coord_delete(c->coord, PATH_CONTROLLER, 0, on_given_up, c);
}

void controller_leave(struct controller *c, void (*done)(void *arg), void *arg)
{
    const bool had_office = c->office == OFFICE_READING || c->office == OFFICE_HELD;
    c->is_leaving = true;
    c->left = done;
    c->left_arg = arg;
    if (!had_office)
        c->epoch_version = 0;
    forget_office(c);
    writes_abandon(c, E_NOT_CONTROLLER, "this broker is shutting down");
    if (!c->is_draining)
        give_up_office(c);
}

/* --- life ------------------------------------------------------------------------ */

struct controller *controller_new(const struct controller_opts *opts)
{
    struct controller *c = MEM_NEW(struct controller);
    c->opts = *opts;
    c->loop = session_loop(opts->session);
    c->coord = session_coord(opts->session);
    c->member = (struct session_member){.on_begin = on_begin, .on_lost = on_lost, .arg = c};
    writes_init(c);
    session_join(opts->session, &c->member);
    return c;
}

void controller_free(struct controller *c)
{
    timer_stop(c->loop, &c->again);
    writes_deinit(c);
    drop_reading(c);
    brokers_reset(c);
    cluster_unref(c->img);
    mem_free(c);
}

bool controller_is_elected(const struct controller *c)
{
    return atomic_load(&c->epoch) != 0;
}

uint32_t controller_epoch(const struct controller *c)
{
    return atomic_load(&c->epoch);
}

size_t controller_backlog(const struct controller *c)
{
    return atomic_load(&c->queued);
}
