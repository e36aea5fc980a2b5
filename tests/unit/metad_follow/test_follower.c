/* SPDX-License-Identifier: Apache-2.0 */
#include "metad/follow/follower.h"

#include <stdio.h>

#include "tests/unit/metad_follow/follow_world.h"

struct reader {
    struct process p;
    struct follower *f;
    struct subscription sub;
    const struct cluster *img;
    unsigned images;
};

static void on_image(void *arg, const struct cluster *img)
{
    struct reader *r = arg;
    if (r->img != NULL)
        assert_true(cluster_version(img) >= cluster_version(r->img));
    cluster_unref(r->img);
    r->img = cluster_ref(img);
    r->images++;
}

static void reader_start(struct world *w, struct reader *r)
{
    *r = (struct reader){.p = process_start(w)};
    r->f = follower_new(r->p.session);
    r->sub = (struct subscription){.home = w->l, .on_image = on_image, .arg = r};
    follower_subscribe(r->f, &r->sub);
}

static void reader_stop(struct reader *r)
{
    process_stop(&r->p);
    follower_free(r->f);
    cluster_unref(r->img);
}

/* -1: no such topic in the image. */
static int32_t epoch_in_image(const struct reader *r, uint32_t number)
{
    const struct uuid id = numbered_id(number);
    const struct topic *t = r->img != NULL ? cluster_topic(r->img, &id) : NULL;
    return t != NULL ? t->partitions[0].leader_epoch : -1;
}

static bool is_at(const struct reader *r, struct world *w)
{
    return r->img != NULL && cluster_version(r->img) == (uint64_t)version_of(w, PATH_CHANGES);
}

static void everything_is_read_at_first(void **state)
{
    struct world *w = *state;
    struct reader r;
    struct buf node = {0};
    poke_skeleton(w, "abc");
    for (uint32_t i = 0; i < 700; i++)
        poke_topic(w, i, (int32_t)i);
    const int32_t waiting[] = {1};
    const struct uuid dead = numbered_id(9000);
    nodes_pack_tombstone(
        &(struct tombstone){.id = dead, .name = "dead", .waiting = waiting, .waiting_count = 1},
        &node);
    poke(w, COORD_CREATE, path_of_tombstone(&dead).text, buf_slice(&node), 0);
    buf_clear(&node);
    nodes_pack_broker(&(struct broker){.id = 3, .incarnation = 4, .rack = ""}, &node);
    poke(w, COORD_CREATE, path_of_broker(3).text, buf_slice(&node), 0);
    buf_clear(&node);
    const struct property configs[] = {{"k", "v"}};
    nodes_pack_broker_configs(&(struct broker_configs){.configs = configs, .config_count = 1},
                              &node);
    poke(w, COORD_CREATE, path_of_broker_configs(3).text, buf_slice(&node), 0);
    buf_clear(&node);
    nodes_pack_controller(&(struct controller_identity){.broker_id = 3, .incarnation = 4}, &node);
    poke(w, COORD_CREATE, PATH_CONTROLLER, buf_slice(&node), 0);
    reader_start(w, &r);
    world_until(w, r.images == 1);
    assert_int_equal(cluster_topic_count(r.img), 700);
    assert_int_equal(epoch_in_image(&r, 699), 699);
    assert_string_equal(cluster_id(r.img), "abc");
    assert_int_equal(cluster_controller(r.img), 3);
    assert_int_equal(cluster_broker(r.img, 3)->incarnation, 4);
    assert_string_equal(cluster_broker_configs(r.img, 3)->configs[0].value, "v");
    assert_int_equal(cluster_tombstone(r.img, &dead)->waiting[0], 1);
    reader_stop(&r);
    buf_deinit(&node);
}

static void a_store_without_a_cluster_is_waited_for(void **state)
{
    struct world *w = *state;
    struct reader r;
    reader_start(w, &r);
    fake_world_run(w->fake, 60 * 1000000);
    assert_int_equal(r.images, 0);
    assert_int_equal(follower_contact_us(r.f), INT64_MIN);
    poke_skeleton(w, "abc");
    world_until(w, r.images == 1);
    reader_stop(&r);
}

static void what_changes_is_read_again(void **state)
{
    struct world *w = *state;
    struct reader r;
    poke_skeleton(w, "abc");
    for (uint32_t i = 0; i < 50; i++)
        poke_topic(w, i, 0);
    reader_start(w, &r);
    world_until(w, r.images == 1);
    const struct uuid untouched = numbered_id(30);
    const struct topic *before = topic_ref(cluster_topic(r.img, &untouched));
    poke_announced_topic(w, 7, 5);
    poke_announced_topic(w, 100, 1);
    world_until(w, is_at(&r, w));
    assert_int_equal(epoch_in_image(&r, 7), 5);
    assert_int_equal(epoch_in_image(&r, 100), 1);
    assert_ptr_equal(cluster_topic(r.img, &untouched), before);
    topic_unref(before);
    reader_stop(&r);
}

static void a_deleted_topic_leaves_and_its_tombstone_comes_and_goes(void **state)
{
    struct world *w = *state;
    struct reader r;
    struct buf node = {0};
    const int32_t waiting[] = {1};
    const struct uuid id = numbered_id(1);
    poke_skeleton(w, "abc");
    poke_topic(w, 1, 0);
    reader_start(w, &r);
    world_until(w, r.images == 1);
    poke(w, COORD_DELETE, path_of_topic(&id).text, slice_of(NULL, 0), 0);
    nodes_pack_tombstone(
        &(struct tombstone){.id = id, .name = "topic-1", .waiting = waiting, .waiting_count = 1},
        &node);
    poke(w, COORD_CREATE, path_of_tombstone(&id).text, buf_slice(&node), 0);
    poke_change(w, &id, NO_BROKER);
    world_until(w, is_at(&r, w));
    assert_null(cluster_topic(r.img, &id));
    assert_non_null(cluster_tombstone(r.img, &id));
    poke(w, COORD_DELETE, path_of_tombstone(&id).text, slice_of(NULL, 0), 0);
    poke_change(w, &id, NO_BROKER);
    world_until(w, is_at(&r, w));
    assert_null(cluster_tombstone(r.img, &id));
    reader_stop(&r);
    buf_deinit(&node);
}

static void brokers_come_and_go_and_the_controller_is_known(void **state)
{
    struct world *w = *state;
    struct reader r;
    struct buf node = {0};
    poke_skeleton(w, "abc");
    reader_start(w, &r);
    world_until(w, r.images == 1);
    for (int32_t i = 1; i <= 2; i++) {
        buf_clear(&node);
        nodes_pack_broker(&(struct broker){.id = i, .incarnation = 1, .rack = ""}, &node);
        poke(w, COORD_CREATE, path_of_broker(i).text, buf_slice(&node), 0);
    }
    buf_clear(&node);
    nodes_pack_controller(&(struct controller_identity){.broker_id = 2}, &node);
    poke(w, COORD_CREATE, PATH_CONTROLLER, buf_slice(&node), 0);
    poke_change(w, NULL, 2); /* one is announced, all are read */
    world_until(w, is_at(&r, w));
    assert_int_equal(cluster_broker_count(r.img), 2);
    assert_int_equal(cluster_controller(r.img), 2);
    poke(w, COORD_DELETE, path_of_broker(1).text, slice_of(NULL, 0), 0);
    poke(w, COORD_DELETE, PATH_CONTROLLER, slice_of(NULL, 0), 0);
    poke_change(w, NULL, 2);
    world_until(w, is_at(&r, w));
    assert_null(cluster_broker(r.img, 1));
    assert_int_equal(cluster_controller(r.img), NO_BROKER);
    reader_stop(&r);
    buf_deinit(&node);
}

static void who_missed_more_than_the_ring_reads_all(void **state)
{
    struct world *w = *state;
    struct reader r;
    poke_skeleton(w, "abc");
    poke_announced_topic(w, 1, 0);
    reader_start(w, &r);
    world_until(w, is_at(&r, w));
    coord_model_cut(r.p.c);
    poke_announced_topic(w, 1, 1);
    for (uint32_t i = 0; i < CHANGES_MAX + 10; i++)
        poke_announced_topic(w, 2, (int32_t)i);
    coord_model_heal(r.p.c);
    world_until(w, is_at(&r, w));
    assert_int_equal(epoch_in_image(&r, 1), 1); /* its change fell out of the ring */
    assert_int_equal(epoch_in_image(&r, 2), CHANGES_MAX + 9);
    reader_stop(&r);
}

static void a_new_session_reads_all_after_a_sync(void **state)
{
    struct world *w = *state;
    struct reader r;
    poke_skeleton(w, "abc");
    reader_start(w, &r);
    world_until(w, r.images == 1);
    coord_model_opts_of(w->model)->lag_us_max = 30 * 1000000;
    coord_model_expire(r.p.c);
    poke_announced_topic(w, 1, 0);
    world_until(w, is_at(&r, w));
    assert_int_equal(epoch_in_image(&r, 1), 0);
    reader_stop(&r);
}

static void a_damaged_node_leaves_what_was_known(void **state)
{
    struct world *w = *state;
    struct reader r;
    const struct uuid one = numbered_id(1);
    poke_skeleton(w, "abc");
    poke_announced_topic(w, 1, 4);
    reader_start(w, &r);
    world_until(w, is_at(&r, w));
    poke(w, COORD_SET, path_of_topic(&one).text, slice_str("rubbish"), 0);
    poke_change(w, &one, NO_BROKER);
    world_until(w, is_at(&r, w));
    assert_int_equal(epoch_in_image(&r, 1), 4);
    poke(w, COORD_SET, PATH_CHANGES, slice_str("\xff\xff"), version_of(w, PATH_CHANGES));
    world_until(w, is_at(&r, w));
    reader_stop(&r);
}

static void a_store_that_went_back_is_not_followed(void **state)
{
    struct world *w = *state;
    struct reader r;
    poke_skeleton(w, "abc");
    poke_announced_topic(w, 1, 0);
    poke_announced_topic(w, 1, 1);
    reader_start(w, &r);
    world_until(w, is_at(&r, w));
    poke(w, COORD_DELETE, PATH_CHANGES, slice_of(NULL, 0), 2);
    poke(w, COORD_CREATE, PATH_CHANGES, slice_of(NULL, 0), 0);
    fake_world_run(w->fake, 60 * 1000000);
    assert_int_equal(cluster_version(r.img), 2);
    assert_int_equal(epoch_in_image(&r, 1), 1);
    reader_stop(&r);
}

static void late_subscribers_get_the_image_that_is_there(void **state)
{
    struct world *w = *state;
    struct reader r;
    struct reader late = {0};
    poke_skeleton(w, "abc");
    reader_start(w, &r);
    world_until(w, r.images == 1);
    late.sub = (struct subscription){.home = w->l, .on_image = on_image, .arg = &late};
    follower_subscribe(r.f, &late.sub);
    assert_int_equal(late.images, 0);
    world_until(w, late.images == 1);
    assert_ptr_equal(late.img, r.img);
    cluster_unref(late.img);
    reader_stop(&r);
}

static void slow_subscribers_skip_images(void **state)
{
    struct world *w = *state;
    struct reader r;
    struct loop *other = fake_world_loop(w->fake, "other");
    poke_skeleton(w, "abc");
    reader_start(w, &r);
    struct reader slow = {0};
    slow.sub = (struct subscription){.home = other, .on_image = on_image, .arg = &slow};
    follower_subscribe(r.f, &slow.sub);
    world_until(w, r.images == 1);
    for (int32_t i = 0; i < 20; i++) {
        poke_announced_topic(w, 1, i);
        fake_world_run(w->fake, 50000);
    }
    world_until(w, is_at(&r, w) && is_at(&slow, w));
    assert_int_equal(epoch_in_image(&slow, 1), 19);
    cluster_unref(slow.img);
    reader_stop(&r);
    loop_free(other);
}

/* Goal: with connections that break, sessions that end and servers that lag, every reader ends at
 * the state that is there, and none ever goes back (on_image checks). Method: random changes and
 * faults, then peace. */
static void readers_converge_through_any_weather(void **state)
{
    struct world *w = *state;
    enum { READERS = 3, TOPICS = 20 };
    struct reader readers[READERS];
    int32_t epochs[TOPICS];
    for (int i = 0; i < TOPICS; i++)
        epochs[i] = -1;
    poke_skeleton(w, "abc");
    coord_model_opts_of(w->model)->loss_per_million = 50000;
    coord_model_opts_of(w->model)->lag_us_max = 500000;
    for (int i = 0; i < READERS; i++)
        reader_start(w, &readers[i]);
    for (int step = 0; step < 300; step++) {
        const uint32_t n = (uint32_t)rng_below(&w->rng, TOPICS);
        struct coord *c = readers[rng_below(&w->rng, READERS)].p.c;
        if (epochs[n] >= 0 && rng_below(&w->rng, 4) == 0) {
            const struct uuid id = numbered_id(n);
            const struct path path = path_of_topic(&id);
            poke(w, COORD_DELETE, path.text, slice_of(NULL, 0), version_of(w, path.text));
            poke_change(w, &id, NO_BROKER);
            epochs[n] = -1;
        } else {
            epochs[n] = step;
            poke_announced_topic(w, n, step);
        }
        if (rng_below(&w->rng, 10) == 0)
            coord_model_cut(c);
        if (rng_below(&w->rng, 20) == 0)
            coord_model_expire(c);
        if (rng_below(&w->rng, 5) == 0)
            for (int i = 0; i < READERS; i++)
                coord_model_heal(readers[i].p.c);
        fake_world_run(w->fake, (int64_t)rng_below(&w->rng, 300000));
    }
    coord_model_opts_of(w->model)->loss_per_million = 0;
    for (int i = 0; i < READERS; i++) {
        coord_model_heal(readers[i].p.c);
        world_until(w, is_at(&readers[i], w));
        for (uint32_t n = 0; n < TOPICS; n++)
            assert_int_equal(epoch_in_image(&readers[i], n), epochs[n]);
    }
    for (int i = 0; i < READERS; i++)
        reader_stop(&readers[i]);
}

#define WORLD(test) cmocka_unit_test_setup_teardown(test, world_setup, world_teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        WORLD(everything_is_read_at_first),
        WORLD(a_store_without_a_cluster_is_waited_for),
        WORLD(what_changes_is_read_again),
        WORLD(a_deleted_topic_leaves_and_its_tombstone_comes_and_goes),
        WORLD(brokers_come_and_go_and_the_controller_is_known),
        WORLD(who_missed_more_than_the_ring_reads_all),
        WORLD(a_new_session_reads_all_after_a_sync),
        WORLD(a_damaged_node_leaves_what_was_known),
        WORLD(a_store_that_went_back_is_not_followed),
        WORLD(late_subscribers_get_the_image_that_is_there),
        WORLD(slow_subscribers_skip_images),
        WORLD(readers_converge_through_any_weather),
    };
    return TEST_MAIN(tests, NULL, NULL);
}
