/* SPDX-License-Identifier: Apache-2.0 */
#include "metad/model/election.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/test.h"

/* Ids in text: "1,2,3". */
static uint32_t parse_ids(const char *text, int32_t *out)
{
    uint32_t count = 0;
    for (const char *at = text; *at != '\0';) {
        char *end;
        out[count++] = (int32_t)strtol(at, &end, 10);
        at = *end == ',' ? end + 1 : end;
    }
    return count;
}

static const char *print_ids(const int32_t *ids, uint32_t count, char *out, size_t size)
{
    size_t at = 0;
    out[0] = '\0';
    for (uint32_t i = 0; i < count; i++)
        at += (size_t)snprintf(out + at, size - at, "%s%d", i ? "," : "", ids[i]);
    return out;
}

struct row {
    const char *name;
    const char *replicas, *isr, *eligible;
    int32_t leader;
    uint64_t incarnation;
    uint32_t min_insync;
    const char *live; /* those not named in other_life or lossy have incarnation 1 */
    const char *other_life, *lossy;
    /* Expected; isr NULL: nothing changes. */
    int32_t new_leader;
    const char *new_isr, *new_eligible;
    bool has_new_epoch;
};

static const struct row rows[] = {
    {"all well", "1,2,3", "1,2,3", "", 1, 1, 2, "1,2,3", "", "", 0, NULL, NULL, false},
    {"a follower dies", "1,2,3", "1,2,3", "", 1, 1, 2, "1,2", "", "", 1, "1,2", "", false},
    {"the leader dies: the next replica leads", "1,2,3", "1,2,3", "", 1, 1, 2, "2,3", "", "", 2,
     "2,3", "", true},
    {"C8: the preferred one first", "3,1,2", "1,2,3", "", 1, 1, 2, "2,3", "", "", 3, "2,3", "",
     true},
    {"E1: below the minimum the dead stay eligible", "1,2,3", "1,2", "", 1, 1, 2, "1", "", "", 1,
     "1", "2", false},
    {"no minimum to fall below", "1,2", "1,2", "", 1, 1, 1, "1", "", "", 1, "1", "", false},
    {"C9: the last one stays in sync, nobody leads", "1,2,3", "1", "2", 1, 1, 2, "3", "", "", -1,
     "1", "2", true},
    {"C9: all die at once and all stay", "1,2,3", "1,2", "", 1, 1, 2, "", "", "", -1, "1,2", "",
     true},
    {"C9: one of them returns and leads", "1,2,3", "1,2", "", -1, 0, 2, "2", "", "", 2, "2", "1",
     true},
    {"C8: an eligible one leads where nobody in sync lives", "1,2,3", "1", "2", 1, 1, 2, "2,3", "",
     "", 2, "2", "1", true},
    {"offline stays offline", "1,2,3", "1", "", -1, 0, 2, "2,3", "", "", 0, NULL, NULL, false},
    {"another life of the leader: elected anew, by the order of replicas", "2,1,3", "1,2,3", "", 1,
     1, 2, "1,2,3", "1", "", 2, "1,2,3", "", true},
    {"another life of the only one", "1", "1", "", 1, 1, 1, "1", "1", "", 1, "1", "", true},
    {"another life of a follower changes nothing", "1,2", "1,2", "", 1, 1, 1, "1,2", "2", "", 0,
     NULL, NULL, false},
    {"E3: a lossy follower leaves the set, and is not eligible", "1,2,3", "1,2", "", 1, 1, 2,
     "1,2,3", "", "2", 1, "1", "", false},
    {"E3: a lossy leader is replaced", "1,2,3", "1,2,3", "", 1, 1, 2, "1,2,3", "1", "1", 2, "2,3",
     "", true},
    {"E3: a lossy one is not eligible any more", "1,2,3", "1", "2", 1, 1, 2, "1,2", "", "2", 1, "1",
     "", false},
    {"E3: a lossy last one does not lead", "1,2", "1", "", 1, 1, 1, "1", "1", "1", -1, "", "",
     true},
    {"E3: a single replica leads, lossy or not", "1", "1", "", 1, 1, 1, "1", "1", "1", 1, "1", "",
     true},
    {"E1: an eligible one that leads alone may be enough", "1,2,3", "", "3,2", -1, 0, 1, "2,3", "",
     "", 2, "2", "", true},
    {"eligible ones are forgotten when the set is large enough again", "1,2,3", "1,2", "3", 1, 1, 2,
     "1,2,3", "", "", 1, "1,2", "", false},
};

static void partitions_follow_the_living(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct row *w = &rows[i];
        int32_t replicas[8], isr[8], eligible[8], ids[8];
        struct live_broker live[8];
        struct partition_state p = {.leader = w->leader,
                                    .leader_epoch = 5,
                                    .leader_incarnation = w->incarnation,
                                    .last_leader = w->leader < 0 ? 1 : w->leader,
                                    .partition_epoch = 9,
                                    .replicas = replicas,
                                    .isr = isr,
                                    .eligible = eligible};
        p.replica_count = parse_ids(w->replicas, replicas);
        p.isr_count = parse_ids(w->isr, isr);
        p.eligible_count = parse_ids(w->eligible, eligible);
        const uint32_t count = parse_ids(w->live, ids);
        for (uint32_t k = 0; k < count; k++) {
            char text[12];
            snprintf(text, sizeof text, "%d", ids[k]);
            live[k] = (struct live_broker){.id = ids[k],
                                           .incarnation = strstr(w->other_life, text) ? 2 : 1,
                                           .lossy = strstr(w->lossy, text) != NULL};
        }
        const struct live_brokers all = {.brokers = live, .count = count};
        struct election out;
        const bool changed = election_update(&p, &all, w->min_insync, &out);
        char text[64];
        print_message("%s\n", w->name);
        assert_int_equal(changed, w->new_isr != NULL);
        if (!changed)
            continue;
        assert_int_equal(out.state.leader, w->new_leader);
        assert_string_equal(print_ids(out.state.isr, out.state.isr_count, text, sizeof text),
                            w->new_isr);
        assert_string_equal(
            print_ids(out.state.eligible, out.state.eligible_count, text, sizeof text),
            w->new_eligible);
        assert_int_equal(out.state.leader_epoch, w->has_new_epoch ? 6 : 5);
        assert_int_equal(out.state.partition_epoch, 10);
        const struct live_broker *b = live_broker_find(&all, out.state.leader);
        assert_int_equal(out.state.leader_incarnation, b != NULL ? b->incarnation : 0);
        /* Level-triggered: there is nothing more to do. */
        struct election again;
        assert_false(election_update(&out.state, &all, w->min_insync, &again));
    }
}

static bool has(const int32_t *ids, uint32_t count, int32_t id)
{
    for (uint32_t i = 0; i < count; i++)
        if (ids[i] == id)
            return true;
    return false;
}

/* Goal: through any history of deaths, returns and losses the rules hold that no data may be lost
 * by: who leads is in sync; whoever is elected was in sync or eligible, is alive and not lossy;
 * epochs never fall; the set never loses its last member by death. Method: random histories of one
 * partition. */
static void rules_hold_through_any_history(void **state)
{
    (void)state;
    struct rng r = test_rng();
    for (int round = 0; round < 2000; round++) {
        const uint32_t n = 2 + (uint32_t)rng_below(&r, 4);
        const uint32_t min_insync = 1 + (uint32_t)rng_below(&r, n);
        int32_t replicas[8];
        struct live_broker brokers[8];
        uint64_t lives[8];
        for (uint32_t i = 0; i < n; i++) {
            replicas[i] = (int32_t)i;
            lives[i] = 1;
            brokers[i] = (struct live_broker){.id = (int32_t)i, .incarnation = 1};
        }
        struct live_brokers live = {.brokers = brokers, .count = n};
        struct election now;
        election_begin(replicas, n, &live, &now);
        assert_int_equal(now.state.leader, 0);
        for (int step = 0; step < 30; step++) {
            size_t count = 0;
            for (uint32_t i = 0; i < n; i++) {
                if (rng_below(&r, 3) == 0)
                    continue;
                if (rng_below(&r, 4) == 0)
                    lives[i]++;
                brokers[count++] = (struct live_broker){
                    .id = (int32_t)i, .incarnation = lives[i], .lossy = rng_below(&r, 12) == 0};
            }
            live.count = count;
            struct partition_state before = now.state;
            int32_t isr[REPLICAS_MAX], eligible[REPLICAS_MAX];
            memcpy(isr, now.isr, sizeof isr);
            memcpy(eligible, now.eligible, sizeof eligible);
            before.isr = isr;
            before.eligible = eligible;
            struct election next;
            if (!election_update(&before, &live, min_insync, &next))
                continue;
            const struct partition_state *s = &next.state;
            assert_true(s->leader_epoch >= before.leader_epoch);
            assert_true(s->leader_epoch > before.leader_epoch || s->leader == before.leader);
            assert_int_equal(s->partition_epoch, before.partition_epoch + 1);
            bool lost_by_loss = false;
            for (uint32_t i = 0; i < before.isr_count; i++) {
                const struct live_broker *b = live_broker_find(&live, isr[i]);
                lost_by_loss |= b != NULL && b->lossy;
            }
            if (before.isr_count > 0 && !lost_by_loss)
                assert_true(s->isr_count > 0);
            if (s->leader != NO_BROKER) {
                const struct live_broker *b = live_broker_find(&live, s->leader);
                assert_non_null(b);
                assert_false(b->lossy);
                assert_int_equal(s->leader_incarnation, b->incarnation);
                assert_true(has(s->isr, s->isr_count, s->leader));
                assert_true(has(isr, before.isr_count, s->leader) ||
                            has(eligible, before.eligible_count, s->leader));
            }
            for (uint32_t i = 0; i < s->isr_count; i++)
                assert_false(has(s->eligible, s->eligible_count, s->isr[i]));
            assert_true(s->eligible_count == 0 || s->isr_count < min_insync);
            now.state = next.state;
            memcpy(now.isr, next.isr, sizeof now.isr);
            memcpy(now.eligible, next.eligible, sizeof now.eligible);
            now.state.isr = now.isr;
            now.state.eligible = now.eligible;
        }
    }
}

static void the_preferred_leader_takes_over_when_it_is_in_sync(void **state)
{
    (void)state;
    const int32_t replicas[] = {1, 2};
    const struct live_broker brokers[] = {{.id = 1, .incarnation = 4}, {.id = 2, .incarnation = 1}};
    const struct live_brokers live = {.brokers = brokers, .count = 2};
    struct partition_state p = {.leader = 2,
                                .leader_epoch = 3,
                                .leader_incarnation = 1,
                                .replicas = replicas,
                                .replica_count = 2,
                                .isr = replicas,
                                .isr_count = 2};
    struct election out;
    assert_true(election_prefer(&p, &live, &out));
    assert_int_equal(out.state.leader, 1);
    assert_int_equal(out.state.leader_epoch, 4);
    assert_int_equal(out.state.leader_incarnation, 4);
    assert_false(election_prefer(&out.state, &live, &out));
    p.isr = &replicas[1];
    p.isr_count = 1;
    assert_false(election_prefer(&p, &live, &out));
}

static void a_new_partition_begins_with_all_in_sync(void **state)
{
    (void)state;
    const int32_t replicas[] = {3, 1, 2};
    const struct live_broker brokers[] = {
        {.id = 1, .incarnation = 7}, {.id = 2, .incarnation = 8}, {.id = 3, .incarnation = 9}};
    const struct live_brokers live = {.brokers = brokers, .count = 3};
    struct election out;
    election_begin(replicas, 3, &live, &out);
    assert_int_equal(out.state.leader, 3);
    assert_int_equal(out.state.leader_incarnation, 9);
    assert_int_equal(out.state.leader_epoch, 0);
    assert_int_equal(out.state.isr_count, 3);
    assert_int_equal(out.state.eligible_count, 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(partitions_follow_the_living),
        cmocka_unit_test(rules_hold_through_any_history),
        cmocka_unit_test(the_preferred_leader_takes_over_when_it_is_in_sync),
        cmocka_unit_test(a_new_partition_begins_with_all_in_sync),
    };
    return TEST_MAIN(tests, NULL, NULL);
}
