/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The conformance suite of coord.h: every implementation passes every case. An
 * implementation is a setup; those of the model run with and without delays.
 */
#include "tests/unit/metad_coord/coord_world.h"

static void a_node_is_created_read_set_and_deleted(void **state)
{
    struct coord_world *w = *state;
    assert_ok(do_create(w, w->c, "/a", "one", false));
    assert_ok(do_get(w, w->c, "/a", NULL));
    assert_data(w, "one");
    assert_int_equal(w->stat.version, 0);
    assert_int_equal(w->stat.owner_session, 0);
    assert_ok(do_set(w, w->c, "/a", "two", 0));
    assert_int_equal(w->stat.version, 1);
    assert_ok(do_get(w, w->c, "/a", NULL));
    assert_data(w, "two");
    assert_int_equal(w->stat.version, 1);
    assert_ok(do_delete(w, w->c, "/a", 1));
    assert_err(do_get(w, w->c, "/a", NULL), E_NOT_FOUND);
    assert_err(do_exists(w, w->c, "/a", NULL), E_NOT_FOUND);
}

static void versions_guard_every_change(void **state)
{
    struct coord_world *w = *state;
    assert_ok(do_create(w, w->c, "/a", "", false));
    assert_err(do_set(w, w->c, "/a", "x", 1), E_BAD_VERSION);
    assert_ok(do_set(w, w->c, "/a", "x", 0));
    assert_err(do_set(w, w->c, "/a", "y", 0), E_BAD_VERSION);
    assert_err(do_delete(w, w->c, "/a", 0), E_BAD_VERSION);
    assert_ok(do_get(w, w->c, "/a", NULL));
    assert_data(w, "x");
    assert_ok(do_delete(w, w->c, "/a", 1));
    /* A node made again begins at 0. */
    assert_ok(do_create(w, w->c, "/a", "", false));
    assert_ok(do_exists(w, w->c, "/a", NULL));
    assert_int_equal(w->stat.version, 0);
}

static void what_is_not_there_is_told(void **state)
{
    struct coord_world *w = *state;
    assert_err(do_set(w, w->c, "/no", "x", 0), E_NOT_FOUND);
    assert_err(do_delete(w, w->c, "/no", 0), E_NOT_FOUND);
    assert_err(do_children(w, w->c, "/no", NULL), E_NOT_FOUND);
    assert_err(do_create(w, w->c, "/no/child", "", false), E_NOT_FOUND);
    assert_ok(do_create(w, w->c, "/a", "", false));
    assert_err(do_create(w, w->c, "/a", "", false), E_EXISTS);
    assert_err(do_create(w, w->c, "/a", "", true), E_EXISTS);
    assert_err(do_create(w, w->c, "/", "", false), E_EXISTS);
}

static void children_are_sorted_names(void **state)
{
    struct coord_world *w = *state;
    static const char *const paths[] = {"/p", "/p/b", "/p/a", "/p/ab", "/p/a/deep", "/q"};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++)
        assert_ok(do_create(w, w->c, paths[i], "", false));
    assert_ok(do_children(w, w->c, "/p", NULL));
    assert_string_equal(w->names, "a ab b");
    assert_ok(do_children(w, w->c, "/p/b", NULL));
    assert_string_equal(w->names, "");
    assert_ok(do_children(w, w->c, "/", NULL));
    assert_string_equal(w->names, "p q");
}

static void a_node_with_children_stays(void **state)
{
    struct coord_world *w = *state;
    assert_ok(do_create(w, w->c, "/p", "", false));
    assert_ok(do_create(w, w->c, "/p/c", "", false));
    assert_err(do_delete(w, w->c, "/p", 0), E_NOT_PERMITTED);
    assert_ok(do_delete(w, w->c, "/p/c", 0));
    assert_ok(do_delete(w, w->c, "/p", 0));
}

static void an_ephemeral_node_has_its_session_and_no_children(void **state)
{
    struct coord_world *w = *state;
    assert_ok(do_create(w, w->c, "/e", "me", true));
    assert_ok(do_exists(w, w->c, "/e", NULL));
    assert_true(w->stat.owner_session != 0);
    assert_int_equal(w->stat.owner_session, coord_session(w->c));
    assert_err(do_create(w, w->c, "/e/c", "", false), E_NOT_PERMITTED);
    assert_ok(do_delete(w, w->c, "/e", 0));
}

static void a_multi_is_done_whole(void **state)
{
    struct coord_world *w = *state;
    assert_ok(do_create(w, w->c, "/guard", "", false));
    assert_ok(do_create(w, w->c, "/old", "", false));
    const struct coord_op ops[] = {
        {.kind = COORD_CHECK, .path = "/guard", .version = 0},
        {.kind = COORD_CREATE, .path = "/new", .data = slice_str("n")},
        {.kind = COORD_CREATE, .path = "/new/child", .data = slice_str("c")},
        {.kind = COORD_SET, .path = "/new", .data = slice_str("m"), .version = 0},
        {.kind = COORD_DELETE, .path = "/old", .version = 0},
        {.kind = COORD_CREATE, .path = "/old", .data = slice_str("again"), .ephemeral = true},
    };
    assert_ok(do_multi(w, w->c, ops, sizeof ops / sizeof ops[0]));
    assert_ok(do_get(w, w->c, "/new", NULL));
    assert_data(w, "m");
    assert_int_equal(w->stat.version, 1);
    assert_ok(do_get(w, w->c, "/old", NULL));
    assert_data(w, "again");
    assert_int_equal(w->stat.version, 0);
    assert_int_equal(w->stat.owner_session, coord_session(w->c));
}

static void a_multi_that_fails_changes_nothing_and_names_the_operation(void **state)
{
    struct coord_world *w = *state;
    assert_ok(do_create(w, w->c, "/guard", "", false));
    assert_ok(do_create(w, w->c, "/a", "old", false));
    struct coord_op ops[] = {
        {.kind = COORD_SET, .path = "/a", .data = slice_str("new"), .version = 0},
        {.kind = COORD_CREATE, .path = "/b"},
        {.kind = COORD_DELETE, .path = "/guard", .version = 0},
        {.kind = COORD_CHECK, .path = "/a", .version = 7},
        {.kind = COORD_CREATE, .path = "/c"},
    };
    static const struct {
        enum coord_op_kind kind;
        const char *path;
        int32_t version;
        err expected;
    } fourth[] = {
        {COORD_CHECK, "/a", 7, E_BAD_VERSION},    {COORD_CHECK, "/none", 0, E_NOT_FOUND},
        {COORD_CREATE, "/a", 0, E_EXISTS},        {COORD_CREATE, "/none/c", 0, E_NOT_FOUND},
        {COORD_SET, "/a", 0, E_BAD_VERSION},      {COORD_DELETE, "/none", 0, E_NOT_FOUND},
        {COORD_DELETE, "/guard", 0, E_NOT_FOUND}, {COORD_CREATE, "/b", 0, E_EXISTS},
    };
    for (size_t i = 0; i < sizeof fourth / sizeof fourth[0]; i++) {
        ops[3].kind = fourth[i].kind;
        ops[3].path = fourth[i].path;
        ops[3].version = fourth[i].version;
        assert_err(do_multi(w, w->c, ops, 5), fourth[i].expected);
        assert_int_equal(w->failed, 3);
        assert_ok(do_get(w, w->c, "/a", NULL));
        assert_data(w, "old");
        assert_int_equal(w->stat.version, 0);
        assert_err(do_exists(w, w->c, "/b", NULL), E_NOT_FOUND);
        assert_ok(do_exists(w, w->c, "/guard", NULL));
    }
}

static void count_up(void *arg)
{
    (*(unsigned *)arg)++;
}

static void a_get_watch_fires_once_for_a_set(void **state)
{
    struct coord_world *w = *state;
    unsigned fired = 0;
    const struct coord_watch watch = {count_up, &fired};
    assert_ok(do_create(w, w->c, "/a", "", false));
    assert_ok(do_get(w, w->c, "/a", &watch));
    assert_int_equal(fired, 0);
    assert_ok(do_set(w, w->c, "/a", "1", 0));
    world_until(w, fired == 1);
    assert_ok(do_set(w, w->c, "/a", "2", 1));
    assert_ok(do_sync(w, w->c));
    assert_int_equal(fired, 1);
}

static void a_get_watch_fires_for_a_deletion_and_is_not_set_on_nothing(void **state)
{
    struct coord_world *w = *state;
    unsigned fired = 0;
    unsigned never = 0;
    const struct coord_watch watch = {count_up, &fired};
    const struct coord_watch never_watch = {count_up, &never};
    assert_err(do_get(w, w->c, "/a", &never_watch), E_NOT_FOUND);
    assert_ok(do_create(w, w->c, "/a", "", false));
    assert_ok(do_get(w, w->c, "/a", &watch));
    assert_ok(do_delete(w, w->c, "/a", 0));
    world_until(w, fired == 1);
    assert_int_equal(never, 0);
}

static void an_exists_watch_fires_for_creation_set_and_deletion(void **state)
{
    struct coord_world *w = *state;
    unsigned fired = 0;
    const struct coord_watch watch = {count_up, &fired};
    assert_err(do_exists(w, w->c, "/a", &watch), E_NOT_FOUND);
    assert_ok(do_create(w, w->c, "/a", "", false));
    world_until(w, fired == 1);
    assert_ok(do_exists(w, w->c, "/a", &watch));
    assert_ok(do_set(w, w->c, "/a", "", 0));
    world_until(w, fired == 2);
    assert_ok(do_exists(w, w->c, "/a", &watch));
    assert_ok(do_delete(w, w->c, "/a", 1));
    world_until(w, fired == 3);
}

static void a_children_watch_fires_for_coming_and_going_but_not_for_data(void **state)
{
    struct coord_world *w = *state;
    unsigned fired = 0;
    const struct coord_watch watch = {count_up, &fired};
    assert_ok(do_create(w, w->c, "/p", "", false));
    assert_ok(do_children(w, w->c, "/p", &watch));
    assert_ok(do_set(w, w->c, "/p", "data", 0));
    assert_ok(do_sync(w, w->c));
    assert_int_equal(fired, 0);
    assert_ok(do_create(w, w->c, "/p/c", "", false));
    world_until(w, fired == 1);
    assert_ok(do_children(w, w->c, "/p", &watch));
    assert_ok(do_set(w, w->c, "/p/c", "data", 0));
    assert_ok(do_create(w, w->c, "/p/c/deep", "", false));
    assert_ok(do_sync(w, w->c));
    assert_int_equal(fired, 1);
    assert_ok(do_delete(w, w->c, "/p/c/deep", 0));
    assert_ok(do_delete(w, w->c, "/p/c", 1));
    world_until(w, fired == 2);
    assert_ok(do_children(w, w->c, "/p", &watch));
    assert_ok(do_delete(w, w->c, "/p", 1));
    world_until(w, fired == 3);
}

static void a_multi_fires_watches_and_a_failed_one_does_not(void **state)
{
    struct coord_world *w = *state;
    unsigned fired = 0;
    const struct coord_watch watch = {count_up, &fired};
    assert_ok(do_create(w, w->c, "/a", "", false));
    assert_ok(do_get(w, w->c, "/a", &watch));
    struct coord_op ops[] = {
        {.kind = COORD_SET, .path = "/a", .version = 0},
        {.kind = COORD_CHECK, .path = "/a", .version = 9},
    };
    assert_err(do_multi(w, w->c, ops, 2), E_BAD_VERSION);
    assert_ok(do_sync(w, w->c));
    assert_int_equal(fired, 0);
    ops[1].version = 1;
    assert_ok(do_multi(w, w->c, ops, 2));
    world_until(w, fired == 1);
}

struct order {
    struct coord_world *w;
    char seen[64];
    size_t count;
};
struct place {
    struct order *o;
    char letter;
};

static void note(struct place *p)
{
    p->o->seen[p->o->count++] = p->letter;
}

static void note_done(void *arg, err e)
{
    (void)e;
    note(arg);
}

static void note_data(void *arg, err e, struct slice data, const struct coord_stat *stat)
{
    (void)e;
    (void)data;
    (void)stat;
    note(arg);
}

static void note_stat(void *arg, err e, const struct coord_stat *stat)
{
    (void)e;
    (void)stat;
    note(arg);
}

static void note_fired(void *arg)
{
    note(arg);
}

static void answers_come_in_order_and_never_inside_the_call(void **state)
{
    struct coord_world *w = *state;
    struct order o = {.w = w};
    struct place places[] = {{&o, 'a'}, {&o, 'b'}, {&o, 'c'}, {&o, 'd'}, {&o, 'e'}};
    coord_create(w->c, "/a", slice_str("1"), false, note_done, &places[0]);
    coord_get(w->c, "/a", NULL, note_data, &places[1]);
    coord_set(w->c, "/a", slice_str("2"), 0, note_stat, &places[2]);
    coord_create(w->c, "/a", slice_str(""), false, note_done, &places[3]);
    coord_sync(w->c, note_done, &places[4]);
    assert_int_equal(o.count, 0);
    world_until(w, o.count == 5);
    assert_string_equal(o.seen, "abcde");
}

static void a_watch_is_told_before_the_answer_that_shows_the_change(void **state)
{
    struct coord_world *w = *state;
    struct order o = {.w = w};
    struct place places[] = {{&o, 'r'}, {&o, 'w'}, {&o, 's'}, {&o, 'g'}};
    const struct coord_watch watch = {note_fired, &places[1]};
    assert_ok(do_create(w, w->c, "/a", "", false));
    coord_get(w->c, "/a", &watch, note_data, &places[0]);
    coord_set(w->c, "/a", slice_str("2"), 0, note_stat, &places[2]);
    coord_get(w->c, "/a", NULL, note_data, &places[3]);
    world_until(w, o.count == 4);
    assert_string_equal(o.seen, "rwsg");
}

static void a_read_shows_what_was_asked_before_it_and_nothing_after(void **state)
{
    struct coord_world *w = *state;
    coord_create(w->c, "/a", slice_str("1"), false, world_done, w);
    coord_get(w->c, "/a", NULL, world_data, w);
    w->is_done = false;
    struct order o = {.w = w};
    struct place last = {&o, 'x'};
    coord_set(w->c, "/a", slice_str("2"), 0, note_stat, &last);
    world_until(w, o.count == 1);
    assert_data(w, "1");
}

static void ask_again(void *arg, err e)
{
    struct place *p = arg;
    struct coord *c = p->o->w->c;
    assert_ok(e);
    note(p);
    if (p->o->count == 1)
        coord_delete(c, "/a", 0, ask_again, p);
    else if (p->o->count == 2)
        coord_create(c, "/a", slice_str("again"), false, ask_again, p);
}

static void callbacks_may_ask_again(void **state)
{
    struct coord_world *w = *state;
    struct order o = {.w = w};
    struct place p = {&o, 'a'};
    coord_create(w->c, "/a", slice_str(""), false, ask_again, &p);
    world_until(w, o.count == 3);
    assert_ok(do_get(w, w->c, "/a", NULL));
    assert_data(w, "again");
}

static void data_may_be_empty_and_large(void **state)
{
    struct coord_world *w = *state;
    const size_t size = COORD_DATA_MAX;
    char *bytes = mem_alloc(size + 1);
    memset(bytes, 'x', size);
    assert_ok(do_create(w, w->c, "/empty", "", false));
    assert_ok(do_get(w, w->c, "/empty", NULL));
    assert_int_equal(w->data.size, 0);
    w->is_done = false;
    coord_create(w->c, "/large", slice_of(bytes, size), false, world_done, w);
    assert_ok(world_wait(w));
    assert_ok(do_get(w, w->c, "/large", NULL));
    assert_slice_equal(buf_slice(&w->data), slice_of(bytes, size));
    w->is_done = false;
    coord_create(w->c, "/larger", slice_of(bytes, size + 1), false, world_done, w);
    assert_err(world_wait(w), E_MESSAGE_TOO_LARGE);
    mem_free(bytes);
}

static void count_outcome(void *arg, err e)
{
    unsigned *answers = arg;
    assert_true(e == OK || e == E_OVERLOADED);
    answers[e != OK]++;
}

static void too_many_operations_are_refused_not_lost(void **state)
{
    struct coord_world *w = *state;
    enum { ASKED = COORD_INFLIGHT_MAX + 50 };
    unsigned answers[2] = {0, 0};
    for (int i = 0; i < ASKED; i++)
        coord_sync(w->c, count_outcome, answers);
    world_until(w, answers[0] + answers[1] == ASKED);
    assert_int_equal(answers[0], COORD_INFLIGHT_MAX);
    assert_int_equal(answers[1], 50);
}

static void closing_drops_what_is_unanswered(void **state)
{
    struct coord_world *w = *state;
    unsigned fired = 0;
    const struct coord_watch watch = {count_up, &fired};
    assert_ok(do_create(w, w->c, "/a", "", false));
    w->is_done = false;
    for (int i = 0; i < 20; i++)
        coord_get(w->c, "/a", &watch, world_data, w);
    coord_set(w->c, "/a", slice_str("x"), 0, world_stat, w);
    coord_close(w->c);
    w->c = NULL;
    for (int i = 0; i < 5; i++)
        world_turn(w);
    assert_false(w->is_done);
    assert_int_equal(fired, 0);
}

/* Goal: whatever is asked in whatever order, each implementation is the same tree. Method: random
 * operations, some in multis, against a table of what should be there. */
static void any_history_gives_the_same_tree(void **state)
{
    struct coord_world *w = *state;
    enum { NODES = 6 };
    static const char *const paths[NODES] = {"/a", "/b", "/a/a", "/a/b", "/b/a", "/a/a/a"};
    static const int parents[NODES] = {-1, -1, 0, 0, 1, 2};
    struct rng r = test_rng();
    int32_t versions[NODES];
    for (int i = 0; i < NODES; i++)
        versions[i] = -1;
    for (int step = 0; step < 300; step++) {
        struct coord_op ops[3];
        int32_t next[NODES];
        size_t expected_failed = 0;
        err expected = OK;
        const size_t count = 1 + rng_below(&r, 3);
        memcpy(next, versions, sizeof next);
        for (size_t i = 0; i < count; i++) {
            const int n = (int)rng_below(&r, NODES);
            const bool is_right = rng_below(&r, 8) != 0;
            const int32_t version = is_right && next[n] >= 0 ? next[n] : (int32_t)rng_below(&r, 3);
            ops[i] = (struct coord_op){
                .kind = (enum coord_op_kind)rng_below(&r, 4), .path = paths[n], .version = version};
            if (expected != OK)
                continue;
            bool has_children = false;
            for (int k = 0; k < NODES; k++)
                has_children |= parents[k] == n && next[k] >= 0;
            err e = OK;
            if (ops[i].kind == COORD_CREATE) {
                if (next[n] >= 0)
                    e = E_EXISTS;
                else if (parents[n] >= 0 && next[parents[n]] < 0)
                    e = E_NOT_FOUND;
                else
                    next[n] = 0;
            } else if (next[n] < 0) {
                e = E_NOT_FOUND;
            } else if (next[n] != version) {
                e = E_BAD_VERSION;
            } else if (ops[i].kind == COORD_SET) {
                next[n]++;
            } else if (ops[i].kind == COORD_DELETE) {
                if (has_children)
                    e = E_NOT_PERMITTED;
                else
                    next[n] = -1;
            }
            expected = e;
            expected_failed = i;
        }
        assert_err(do_multi(w, w->c, ops, count), expected);
        if (expected == OK)
            memcpy(versions, next, sizeof versions);
        else
            assert_int_equal(w->failed, expected_failed);
    }
    for (int n = 0; n < NODES; n++) {
        assert_err(do_exists(w, w->c, paths[n], NULL), versions[n] >= 0 ? OK : E_NOT_FOUND);
        if (versions[n] >= 0)
            assert_int_equal(w->stat.version, versions[n]);
    }
}

#define EVERYWHERE(test)                                                                           \
    {#test " (embedded)", test, world_setup_embedded, world_teardown, NULL},                       \
        {#test " (model)", test, world_setup_model, world_teardown, NULL},                         \
    {                                                                                              \
#test " (lagging model)", test, world_setup_lagging_model, world_teardown, NULL            \
    }

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        EVERYWHERE(a_node_is_created_read_set_and_deleted),
        EVERYWHERE(versions_guard_every_change),
        EVERYWHERE(what_is_not_there_is_told),
        EVERYWHERE(children_are_sorted_names),
        EVERYWHERE(a_node_with_children_stays),
        EVERYWHERE(an_ephemeral_node_has_its_session_and_no_children),
        EVERYWHERE(a_multi_is_done_whole),
        EVERYWHERE(a_multi_that_fails_changes_nothing_and_names_the_operation),
        EVERYWHERE(a_get_watch_fires_once_for_a_set),
        EVERYWHERE(a_get_watch_fires_for_a_deletion_and_is_not_set_on_nothing),
        EVERYWHERE(an_exists_watch_fires_for_creation_set_and_deletion),
        EVERYWHERE(a_children_watch_fires_for_coming_and_going_but_not_for_data),
        EVERYWHERE(a_multi_fires_watches_and_a_failed_one_does_not),
        EVERYWHERE(answers_come_in_order_and_never_inside_the_call),
        EVERYWHERE(a_watch_is_told_before_the_answer_that_shows_the_change),
        EVERYWHERE(a_read_shows_what_was_asked_before_it_and_nothing_after),
        EVERYWHERE(callbacks_may_ask_again),
        EVERYWHERE(data_may_be_empty_and_large),
        EVERYWHERE(too_many_operations_are_refused_not_lost),
        EVERYWHERE(closing_drops_what_is_unanswered),
        EVERYWHERE(any_history_gives_the_same_tree),
    };
    return TEST_MAIN(tests, NULL, NULL);
}
