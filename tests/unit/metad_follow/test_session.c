/* SPDX-License-Identifier: Apache-2.0 */
#include "metad/follow/session.h"

#include <stdio.h>

#include "tests/unit/metad_follow/follow_world.h"

struct listener {
    char *seen;
    char begin, lost;
};

static void append(char *seen, char c)
{
    const size_t size = strlen(seen);
    seen[size] = c;
    seen[size + 1] = '\0';
}

static void on_begin(void *arg)
{
    struct listener *ln = arg;
    append(ln->seen, ln->begin);
}

static void on_lost(void *arg)
{
    struct listener *ln = arg;
    append(ln->seen, ln->lost);
}

static void members_begin_in_order_and_are_fenced_in_reverse(void **state)
{
    struct world *w = *state;
    char seen[64] = "";
    struct listener a = {seen, 'a', 'A'};
    struct listener b = {seen, 'b', 'B'};
    struct session_member ma = {.on_begin = on_begin, .on_lost = on_lost, .arg = &a};
    struct session_member mb = {.on_begin = on_begin, .on_lost = on_lost, .arg = &b};
    struct process p = process_start(w);
    session_join(p.session, &ma);
    session_join(p.session, &mb);
    world_until(w, strcmp(seen, "ab") == 0);
    assert_true(session_is_live(p.session));
    assert_int_equal(session_number(p.session), 1);
    coord_model_expire(p.c);
    world_until(w, session_number(p.session) == 2);
    assert_string_equal(seen, "abBAab");
    process_stop(&p);
}

static void who_joins_later_begins_too(void **state)
{
    struct world *w = *state;
    char seen[64] = "";
    struct listener a = {seen, 'a', 'A'};
    struct session_member ma = {.on_begin = on_begin, .on_lost = on_lost, .arg = &a};
    struct process p = process_start(w);
    world_until(w, session_is_live(p.session));
    session_join(p.session, &ma);
    assert_string_equal(seen, "");
    world_until(w, strcmp(seen, "a") == 0);
    process_stop(&p);
}

static void a_lost_connection_is_not_a_lost_session(void **state)
{
    struct world *w = *state;
    char seen[64] = "";
    struct listener a = {seen, 'a', 'A'};
    struct session_member ma = {.on_begin = on_begin, .on_lost = on_lost, .arg = &a};
    struct process p = process_start(w);
    session_join(p.session, &ma);
    world_until(w, session_is_live(p.session));
    coord_model_cut(p.c);
    fake_world_run(w->fake, 1000000);
    coord_model_heal(p.c);
    world_until(w, coord_state(p.c) == COORD_CONNECTED);
    assert_string_equal(seen, "a");
    process_stop(&p);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(members_begin_in_order_and_are_fenced_in_reverse,
                                        world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(who_joins_later_begins_too, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(a_lost_connection_is_not_a_lost_session, world_setup,
                                        world_teardown),
    };
    return TEST_MAIN(tests, NULL, NULL);
}
