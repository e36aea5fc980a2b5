/* SPDX-License-Identifier: Apache-2.0 */
/* What the model is there for: everything that goes wrong between a client and ZooKeeper. */
#include "tests/unit/metad_coord/coord_world.h"

static void a_write_lost_before_its_effect_was_not_done(void **state)
{
    struct coord_world *w = *state;
    coord_model_lose_next_write(w->c, LOSS_BEFORE_EFFECT, "");
    assert_err(do_create(w, w->c, "/a", "", false), E_NETWORK);
    world_until(w, w->state == COORD_CONNECTED);
    assert_err(do_exists(w, w->c, "/a", NULL), E_NOT_FOUND);
}

static void a_write_lost_after_its_effect_was_done(void **state)
{
    struct coord_world *w = *state;
    const uint64_t session = coord_session(w->c);
    coord_model_lose_next_write(w->c, LOSS_AFTER_EFFECT, "/a");
    assert_ok(do_create(w, w->c, "/b", "", false));
    assert_err(do_create(w, w->c, "/a", "", true), E_NETWORK);
    world_until(w, w->state == COORD_CONNECTED);
    assert_int_equal(coord_session(w->c), session);
    assert_ok(do_exists(w, w->c, "/a", NULL));
    assert_int_equal(w->stat.owner_session, session);
}

static void what_is_asked_without_contact_ends(void **state)
{
    struct coord_world *w = *state;
    coord_model_cut(w->c);
    assert_int_equal(w->state, COORD_CONNECTING);
    assert_err(do_create(w, w->c, "/a", "", false), E_NETWORK);
    coord_model_heal(w->c);
    world_until(w, w->state == COORD_CONNECTED);
    assert_ok(do_create(w, w->c, "/a", "", false));
}

static void expiry_is_learnt_only_with_contact_but_others_see_it(void **state)
{
    struct coord_world *w = *state;
    struct coord *other = coord_model_connect(w->model, w->l);
    world_until(w, coord_state(other) == COORD_CONNECTED);
    assert_ok(do_create(w, w->c, "/e", "", true));
    coord_model_cut(w->c);
    fake_world_run(w->fake, 60 * 1000000);
    assert_int_equal(w->state, COORD_CONNECTING);
    assert_ok(do_sync(w, other));
    assert_err(do_exists(w, other, "/e", NULL), E_NOT_FOUND);
    coord_model_heal(w->c);
    world_until(w, w->state == COORD_EXPIRED);
    assert_err(do_exists(w, w->c, "/e", NULL), E_COORDINATION);
    const uint64_t before = coord_session(w->c);
    coord_renew(w->c);
    world_until(w, w->state == COORD_CONNECTED);
    assert_true(coord_session(w->c) != before);
    assert_ok(do_create(w, w->c, "/e", "", true));
    coord_close(other);
}

static void a_short_cut_keeps_the_session(void **state)
{
    struct coord_world *w = *state;
    assert_ok(do_create(w, w->c, "/e", "", true));
    coord_model_cut(w->c);
    fake_world_run(w->fake, 1000000);
    coord_model_heal(w->c);
    world_until(w, w->state == COORD_CONNECTED);
    assert_int_equal(w->told[COORD_EXPIRED], 0);
    assert_ok(do_exists(w, w->c, "/e", NULL));
}

static void count_up(void *arg)
{
    (*(unsigned *)arg)++;
}

static void watches_survive_a_cut_and_end_with_the_session(void **state)
{
    struct coord_world *w = *state;
    unsigned fired = 0;
    const struct coord_watch watch = {count_up, &fired};
    const struct coord_op set = {.kind = COORD_SET, .path = "/a", .version = 0};
    assert_ok(do_create(w, w->c, "/a", "", false));
    assert_ok(do_get(w, w->c, "/a", &watch));
    coord_model_cut(w->c);
    assert_ok(coord_model_poke(w->model, &set, 1));
    fake_world_run(w->fake, 100000);
    assert_int_equal(fired, 0);
    coord_model_heal(w->c);
    world_until(w, fired == 1);
    assert_ok(do_get(w, w->c, "/a", &watch));
    coord_model_expire(w->c);
    world_until(w, w->state == COORD_EXPIRED);
    const struct coord_op again = {.kind = COORD_SET, .path = "/a", .version = 1};
    assert_ok(coord_model_poke(w->model, &again, 1));
    coord_renew(w->c);
    world_until(w, w->state == COORD_CONNECTED);
    fake_world_run(w->fake, 1000000);
    assert_int_equal(fired, 1);
}

static void reads_lag_until_synced_and_never_go_back(void **state)
{
    struct coord_world *w = *state;
    coord_model_opts_of(w->model)->lag_us_max = 10 * 1000000;
    struct coord *other = coord_model_connect(w->model, w->l);
    world_until(w, coord_state(other) == COORD_CONNECTED);
    assert_ok(do_create(w, w->c, "/a", "", false));
    bool has_lagged = false;
    int32_t last = -1;
    for (int32_t v = 0; v < 20; v++) {
        assert_ok(do_set(w, w->c, "/a", "", v));
        const err e = do_exists(w, other, "/a", NULL);
        const int32_t seen = e == OK ? w->stat.version : -1;
        assert_true(seen >= last);
        has_lagged |= seen < v + 1;
        last = seen;
    }
    assert_true(has_lagged);
    assert_ok(do_sync(w, other));
    assert_ok(do_exists(w, other, "/a", NULL));
    assert_int_equal(w->stat.version, 20);
    coord_close(other);
}

static void an_ensemble_that_is_away_ends_no_session(void **state)
{
    struct coord_world *w = *state;
    assert_ok(do_create(w, w->c, "/e", "", true));
    coord_model_set_down(w->model, true);
    fake_world_run(w->fake, 600 * (int64_t)1000000);
    assert_int_equal(w->state, COORD_CONNECTING);
    coord_model_set_down(w->model, false);
    world_until(w, w->state == COORD_CONNECTED);
    assert_ok(do_exists(w, w->c, "/e", NULL));
}

static void a_closed_client_leaves_at_once(void **state)
{
    struct coord_world *w = *state;
    struct coord *other = coord_model_connect(w->model, w->l);
    world_until(w, coord_state(other) == COORD_CONNECTED);
    unsigned fired = 0;
    const struct coord_watch watch = {count_up, &fired};
    assert_ok(do_create(w, other, "/e", "", true));
    assert_ok(do_exists(w, w->c, "/e", &watch));
    coord_close(other);
    world_until(w, fired == 1);
    assert_err(do_exists(w, w->c, "/e", NULL), E_NOT_FOUND);
}

/* Goal: with connections that break all the time, a writer that reads back before it asks again
 * never counts twice and never loses one. Method: a counter raised under its version, with random
 * losses. */
static void compare_and_set_survives_losses(void **state)
{
    struct coord_world *w = *state;
    assert_ok(do_create(w, w->c, "/counter", "", false));
    coord_model_opts_of(w->model)->loss_per_million = 200000;
    int32_t known = 0;
    for (int done = 0; done < 200;) {
        const err e = do_set(w, w->c, "/counter", "", known);
        if (e == OK) {
            known++;
            done++;
            continue;
        }
        assert_err(e, E_NETWORK);
        while (do_exists(w, w->c, "/counter", NULL) != OK)
            world_until(w, w->state == COORD_CONNECTED);
        assert_true(w->stat.version == known || w->stat.version == known + 1);
        done += w->stat.version - known;
        known = w->stat.version;
    }
    assert_int_equal(known, 200);
}

#define MODEL(test) cmocka_unit_test_setup_teardown(test, world_setup_model, world_teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        MODEL(a_write_lost_before_its_effect_was_not_done),
        MODEL(a_write_lost_after_its_effect_was_done),
        MODEL(what_is_asked_without_contact_ends),
        MODEL(expiry_is_learnt_only_with_contact_but_others_see_it),
        MODEL(a_short_cut_keeps_the_session),
        MODEL(watches_survive_a_cut_and_end_with_the_session),
        MODEL(reads_lag_until_synced_and_never_go_back),
        MODEL(an_ensemble_that_is_away_ends_no_session),
        MODEL(a_closed_client_leaves_at_once),
        MODEL(compare_and_set_survives_losses),
    };
    return TEST_MAIN(tests, NULL, NULL);
}
