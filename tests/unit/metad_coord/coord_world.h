/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of coord share: a world in which a client of one implementation
 * lives, and operations that turn its loop until they are answered.
 */
#ifndef SLUICE_TESTS_METAD_COORD_COORD_WORLD_H
#define SLUICE_TESTS_METAD_COORD_COORD_WORLD_H

#include "tests/support/test.h"

#include <stdio.h>
#include <string.h>

#include "metad/coord/coord.h"
#include "metad/coord/embedded.h"
#include "metad/coord/model.h"
#include "proto/base/buf.h"
#include "proto/base/mem.h"
#include "tests/support/fake_loop.h"

struct coord_world {
    struct loop *l;
    struct fake_world *fake;   /* NULL: a real loop */
    struct coord_model *model; /* NULL: embedded */
    struct rng rng;
    char file[512];
    struct coord *c;
    /* The last answer. */
    bool is_done;
    err e;
    struct buf data;
    struct coord_stat stat;
    size_t failed;
    char names[4096]; /* of children, with blanks */
    enum coord_state state;
    unsigned told[4]; /* by state */
};

static inline void world_turn(struct coord_world *w)
{
    if (w->fake != NULL)
        fake_world_step(w->fake);
    else
        loop_turn(w->l, 1000);
}

#define world_until(w, condition)                                                                  \
    do {                                                                                           \
        const int64_t give_up_ = test_deadline_ms(10000);                                          \
        while (!(condition) && test_now_ms() < give_up_)                                           \
            world_turn(w);                                                                         \
        assert_true(condition);                                                                    \
    } while (0)

static inline void world_on_state(void *arg, enum coord_state state)
{
    struct coord_world *w = arg;
    w->state = state;
    w->told[state]++;
}

static inline err world_open_embedded(struct coord_world *w, struct buf *why)
{
    const err e = coord_embedded_open(w->l, w->file, &w->c, why);
    if (e == OK) {
        coord_on_state(w->c, world_on_state, w);
        world_until(w, coord_state(w->c) == COORD_CONNECTED);
    }
    return e;
}

static inline int world_setup_embedded(void **state)
{
    struct coord_world *w = MEM_NEW(struct coord_world);
    struct loop_backend *b;
    struct buf why = {0};
    assert_ok(loop_epoll_backend(&b));
    w->l = loop_new(b, "test");
    snprintf(w->file, sizeof w->file, "%s/coord.db", test_dir());
    assert_ok(world_open_embedded(w, &why));
    *state = w;
    return 0;
}

static inline struct coord_world *world_new_model(const struct coord_model_opts *opts)
{
    struct coord_world *w = MEM_NEW(struct coord_world);
    w->rng = test_rng();
    w->fake = fake_world_new(NULL);
    w->l = fake_world_loop(w->fake, "test");
    w->model = coord_model_new(&w->rng, opts);
    w->c = coord_model_connect(w->model, w->l);
    coord_on_state(w->c, world_on_state, w);
    world_until(w, coord_state(w->c) == COORD_CONNECTED);
    return w;
}

static inline int world_setup_model(void **state)
{
    struct coord_model_opts opts;
    coord_model_opts_init(&opts);
    *state = world_new_model(&opts);
    return 0;
}

static inline int world_setup_lagging_model(void **state)
{
    struct coord_model_opts opts;
    coord_model_opts_init(&opts);
    opts.lag_us_max = 50000;
    opts.latency_us_max = 20000;
    *state = world_new_model(&opts);
    return 0;
}

static inline int world_teardown(void **state)
{
    struct coord_world *w = *state;
    if (w->c != NULL)
        coord_close(w->c);
    if (w->model != NULL)
        coord_model_free(w->model);
    else
        loop_turn(w->l, 0); /* mail of a worker that was joined */
    loop_free(w->l);
    if (w->fake != NULL)
        fake_world_free(w->fake);
    buf_deinit(&w->data);
    mem_free(w);
    return 0;
}

/* --- operations that wait; on the client given --------------------------------------- */

static inline void world_done(void *arg, err e)
{
    struct coord_world *w = arg;
    w->is_done = true;
    w->e = e;
}

static inline void world_stat(void *arg, err e, const struct coord_stat *stat)
{
    struct coord_world *w = arg;
    if (stat != NULL)
        w->stat = *stat;
    world_done(w, e);
}

static inline void world_data(void *arg, err e, struct slice data, const struct coord_stat *stat)
{
    struct coord_world *w = arg;
    buf_clear(&w->data);
    buf_append(&w->data, data.data, data.size);
    world_stat(w, e, stat);
}

static inline void world_names(void *arg, err e, const struct coord_children *children)
{
    struct coord_world *w = arg;
    w->names[0] = '\0';
    for (size_t i = 0; e == OK && i < children->count; i++) {
        if (i > 0)
            strcat(w->names, " ");
        strcat(w->names, children->names[i]);
    }
    world_done(w, e);
}

static inline void world_multi(void *arg, err e, size_t failed)
{
    struct coord_world *w = arg;
    w->failed = failed;
    world_done(w, e);
}

static inline err world_wait(struct coord_world *w)
{
    world_until(w, w->is_done);
    return w->e;
}

static inline err do_create(struct coord_world *w, struct coord *c, const char *path,
                            const char *data, bool ephemeral)
{
    w->is_done = false;
    coord_create(c, path, slice_str(data), ephemeral, world_done, w);
    return world_wait(w);
}

static inline err do_set(struct coord_world *w, struct coord *c, const char *path, const char *data,
                         int32_t version)
{
    w->is_done = false;
    coord_set(c, path, slice_str(data), version, world_stat, w);
    return world_wait(w);
}

static inline err do_delete(struct coord_world *w, struct coord *c, const char *path,
                            int32_t version)
{
    w->is_done = false;
    coord_delete(c, path, version, world_done, w);
    return world_wait(w);
}

static inline err do_get(struct coord_world *w, struct coord *c, const char *path,
                         const struct coord_watch *watch)
{
    w->is_done = false;
    coord_get(c, path, watch, world_data, w);
    return world_wait(w);
}

static inline err do_exists(struct coord_world *w, struct coord *c, const char *path,
                            const struct coord_watch *watch)
{
    w->is_done = false;
    coord_exists(c, path, watch, world_stat, w);
    return world_wait(w);
}

static inline err do_children(struct coord_world *w, struct coord *c, const char *path,
                              const struct coord_watch *watch)
{
    w->is_done = false;
    coord_children(c, path, watch, world_names, w);
    return world_wait(w);
}

static inline err do_multi(struct coord_world *w, struct coord *c, const struct coord_op *ops,
                           size_t count)
{
    w->is_done = false;
    coord_multi(c, ops, count, world_multi, w);
    return world_wait(w);
}

static inline err do_sync(struct coord_world *w, struct coord *c)
{
    w->is_done = false;
    coord_sync(c, world_done, w);
    return world_wait(w);
}

#define assert_data(w, expected) assert_slice_equal(buf_slice(&(w)->data), slice_str(expected))

#endif
