/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Greedy, one replica at a time: of the brokers that do not hold the partition
 * yet, in a rack that does not either (once no such rack is left, in any), the
 * one with the fewest replicas; among equals in a fixed order that begins
 * elsewhere each time. Then the chosen one that leads least goes in front.
 * Without racks the counts of replicas end at most one apart, if they began so.
 */
#include "metad/model/placement.h"

#include <stdbool.h>
#include <string.h>

#include "proto/base/check.h"
#include "proto/base/mem.h"

enum { REPLICATION_FACTOR_MAX = 16 };

static bool same_rack(const struct placement_broker *a, const struct placement_broker *b)
{
    return a->rack[0] != '\0' && strcmp(a->rack, b->rack) == 0;
}

static bool holds(struct placement_broker *const *chosen, size_t count,
                  const struct placement_broker *b)
{
    for (size_t i = 0; i < count; i++)
        if (chosen[i] == b)
            return true;
    return false;
}

static bool rack_holds(struct placement_broker *const *chosen, size_t count,
                       const struct placement_broker *b)
{
    for (size_t i = 0; i < count; i++)
        if (same_rack(chosen[i], b))
            return true;
    return false;
}

/* Whether a is the better choice: a rack of its own first, then few replicas, then few leaders. */
static bool is_better(struct placement_broker *const *chosen, size_t count,
                      const struct placement_broker *a, const struct placement_broker *b)
{
    const bool a_shares = rack_holds(chosen, count, a);
    const bool b_shares = rack_holds(chosen, count, b);
    if (a_shares != b_shares)
        return b_shares;
    if (a->replicas != b->replicas)
        return a->replicas < b->replicas;
    return a->leaders < b->leaders;
}

static struct placement_broker *best(struct placement_broker *brokers, size_t broker_count,
                                     uint64_t turn, struct placement_broker *const *chosen,
                                     size_t count)
{
    struct placement_broker *found = NULL;
    for (size_t k = 0; k < broker_count; k++) {
        struct placement_broker *b = &brokers[(turn + k) % broker_count];
        if (holds(chosen, count, b))
            continue;
        if (found == NULL || is_better(chosen, count, b, found))
            found = b;
    }
    CHECK(found != NULL);
    return found;
}

static void lead_by_least(struct placement_broker **chosen, size_t count)
{
    size_t least = 0;
    for (size_t i = 1; i < count; i++)
        if (chosen[i]->leaders < chosen[least]->leaders)
            least = i;
    struct placement_broker *leader = chosen[least];
    memmove(&chosen[1], &chosen[0], least * sizeof chosen[0]);
    chosen[0] = leader;
}

err placement_assign(struct placement_broker *brokers, size_t broker_count, uint32_t partitions,
                     uint32_t replication_factor, uint64_t turn, int32_t *out)
{
    if (replication_factor < 1 || replication_factor > broker_count ||
        replication_factor > REPLICATION_FACTOR_MAX)
        return E_INVALID_REPLICATION_FACTOR;
    turn %= broker_count;
    for (uint32_t p = 0; p < partitions; p++) {
        struct placement_broker *chosen[REPLICATION_FACTOR_MAX];
        for (size_t i = 0; i < replication_factor; i++) {
            chosen[i] = best(brokers, broker_count, turn + p, chosen, i);
            chosen[i]->replicas++;
        }
        lead_by_least(chosen, replication_factor);
        chosen[0]->leaders++;
        for (size_t i = 0; i < replication_factor; i++)
            *out++ = chosen[i]->id;
    }
    return OK;
}
