/* SPDX-License-Identifier: Apache-2.0 */
/* What only the embedded store promises: it survives its process, and belongs to one at a time. */
#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proto/base/diag.h"
#include "tests/unit/metad_coord/coord_world.h"

static void reopen(struct coord_world *w)
{
    struct buf why = {0};
    coord_close(w->c);
    w->c = NULL;
    loop_turn(w->l, 0);
    assert_ok(world_open_embedded(w, &why));
}

static bool holds(const struct buf *text, const char *part)
{
    return text->size > 0 && memmem(text->data, text->size, part, strlen(part)) != NULL;
}

static void nodes_and_versions_survive_a_restart_ephemeral_ones_do_not(void **state)
{
    struct coord_world *w = *state;
    assert_ok(do_create(w, w->c, "/a", "one", false));
    assert_ok(do_create(w, w->c, "/a/b", "", false));
    assert_ok(do_set(w, w->c, "/a", "two", 0));
    assert_ok(do_create(w, w->c, "/gone", "", false));
    assert_ok(do_delete(w, w->c, "/gone", 0));
    assert_ok(do_create(w, w->c, "/e", "", true));
    const uint64_t session = coord_session(w->c);
    reopen(w);
    assert_true(coord_session(w->c) != session);
    assert_ok(do_get(w, w->c, "/a", NULL));
    assert_data(w, "two");
    assert_int_equal(w->stat.version, 1);
    assert_ok(do_children(w, w->c, "/", NULL));
    assert_string_equal(w->names, "a");
    assert_ok(do_children(w, w->c, "/a", NULL));
    assert_string_equal(w->names, "b");
    assert_err(do_set(w, w->c, "/a", "", 0), E_BAD_VERSION);
    assert_ok(do_set(w, w->c, "/a", "", 1));
}

static void a_node_that_was_ephemeral_and_is_persistent_now_survives(void **state)
{
    struct coord_world *w = *state;
    assert_ok(do_create(w, w->c, "/a", "persistent", false));
    const struct coord_op ops[] = {
        {.kind = COORD_DELETE, .path = "/a", .version = 0},
        {.kind = COORD_CREATE, .path = "/a", .data = slice_str("ephemeral"), .ephemeral = true},
    };
    assert_ok(do_multi(w, w->c, ops, 2));
    reopen(w);
    assert_err(do_exists(w, w->c, "/a", NULL), E_NOT_FOUND);
}

/* In another process, so that nothing of this one is closed properly. */
static int in_child(int (*fn)(struct coord_world *w), struct coord_world *w)
{
    fflush(NULL);
    const pid_t child = fork();
    if (child == 0)
        _exit(fn(w));
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static struct coord_world *child_world(const char *file)
{
    struct coord_world *w = MEM_NEW(struct coord_world);
    struct loop_backend *b;
    struct buf why = {0};
    if (loop_epoll_backend(&b) != OK)
        _exit(99);
    w->l = loop_new(b, "child");
    snprintf(w->file, sizeof w->file, "%s", file);
    const err e = coord_embedded_open(w->l, w->file, &w->c, &why);
    if (e != OK)
        _exit(e == E_EXISTS && holds(&why, file) ? 50 : 98);
    return w;
}

static int write_and_vanish(struct coord_world *parent)
{
    struct coord_world *w = child_world(parent->file);
    char path[16];
    for (int i = 0; i < 50; i++) {
        snprintf(path, sizeof path, "/n%d", i);
        if (do_create(w, w->c, path, "x", false) != OK)
            return 97;
    }
    coord_create(w->c, "/unanswered", slice_str("x"), false, world_done, w);
    kill(getpid(), SIGKILL);
    return 0;
}

static void what_was_answered_survives_a_kill(void **state)
{
    struct coord_world *w = *state;
    coord_close(w->c);
    w->c = NULL;
    loop_turn(w->l, 0);
    assert_int_equal(in_child(write_and_vanish, w), -1);
    struct buf why = {0};
    assert_ok(world_open_embedded(w, &why));
    char path[16];
    for (int i = 0; i < 50; i++) {
        snprintf(path, sizeof path, "/n%d", i);
        assert_ok(do_exists(w, w->c, path, NULL));
    }
}

static int open_it(struct coord_world *parent)
{
    child_world(parent->file);
    return 0;
}

static void a_second_process_is_refused_and_told_the_file(void **state)
{
    struct coord_world *w = *state;
    assert_int_equal(in_child(open_it, w), 50);
    assert_ok(do_create(w, w->c, "/a", "", false));
}

static void a_second_store_in_this_process_is_refused_too(void **state)
{
    struct coord_world *w = *state;
    struct coord *second;
    struct buf why = {0};
    assert_err(coord_embedded_open(w->l, w->file, &second, &why), E_EXISTS);
    assert_true(holds(&why, w->file));
    assert_true(holds(&why, "another process"));
    buf_deinit(&why);
}

static int fill_up(struct coord_world *parent)
{
    struct coord_world *w = child_world(parent->file);
    coord_on_state(w->c, world_on_state, w);
    if (do_create(w, w->c, "/small", "x", false) != OK)
        return 1;
    /* From now on no file grows: a disk that refuses writes. */
    const struct rlimit none = {.rlim_cur = 0, .rlim_max = 0};
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &none);
    diag_set_level(DIAG_ERROR);
    const err e = do_create(w, w->c, "/large", "y", false);
    if (e != E_NETWORK && e != E_COORDINATION)
        return 2;
    if (e == E_NETWORK && (w->state != COORD_FAILED || w->told[COORD_FAILED] != 1))
        return 3;
    if (e == E_NETWORK && do_exists(w, w->c, "/small", NULL) != E_COORDINATION)
        return 4;
    if (e == E_COORDINATION && do_exists(w, w->c, "/large", NULL) != E_NOT_FOUND)
        return 5;
    return 0;
}

static void a_disk_that_refuses_is_never_an_ok(void **state)
{
    struct coord_world *w = *state;
    coord_close(w->c);
    w->c = NULL;
    loop_turn(w->l, 0);
    assert_int_equal(in_child(fill_up, w), 0);
    struct buf why = {0};
    assert_ok(world_open_embedded(w, &why));
    assert_ok(do_exists(w, w->c, "/small", NULL));
    assert_err(do_exists(w, w->c, "/large", NULL), E_NOT_FOUND);
}

static void count_ok(void *arg, err e)
{
    assert_ok(e);
    (*(int *)arg)++;
}

static void many_writes_at_once_share_a_commit_and_all_survive(void **state)
{
    int done = 0;
    struct coord_world *w = *state;
    static char paths[2000][16];
    for (int i = 0; i < 2000; i++) {
        snprintf(paths[i], sizeof paths[i], "/n%d", i);
        coord_create(w->c, paths[i], slice_str("x"), false, count_ok, &done);
    }
    world_until(w, done == 2000);
    reopen(w);
    for (int i = 0; i < 2000; i += 97)
        assert_ok(do_exists(w, w->c, paths[i], NULL));
}

/* --- files that are not as they should be ---------------------------------------------- */

static void sql(const char *file, const char *text)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open(file, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void assert_refused(struct coord_world *w, err expected, const char *phrase)
{
    struct buf why = {0};
    struct coord *c;
    assert_err(coord_embedded_open(w->l, w->file, &c, &why), expected);
    assert_true(holds(&why, w->file));
    assert_true(holds(&why, phrase));
    buf_deinit(&why);
}

static void close_it(struct coord_world *w)
{
    coord_close(w->c);
    w->c = NULL;
    loop_turn(w->l, 0);
}

static void damaged_files_are_refused_by_name(void **state)
{
    struct coord_world *w = *state;
    close_it(w);
    sql(w->file, "INSERT INTO node VALUES('/orphan/child', x'', 0)");
    assert_refused(w, E_CORRUPT, "/orphan/child");
    sql(w->file, "DELETE FROM node; INSERT INTO node VALUES('/a', x'', -1)");
    assert_refused(w, E_CORRUPT, "/a");
    sql(w->file, "DELETE FROM node; INSERT INTO node VALUES('no slash', x'', 0)");
    assert_refused(w, E_CORRUPT, "no slash");
    sql(w->file, "DELETE FROM node; INSERT INTO node VALUES('/a//b', x'', 0)");
    assert_refused(w, E_CORRUPT, "/a//b");
    sql(w->file, "DELETE FROM node; DELETE FROM session");
    assert_refused(w, E_CORRUPT, "cannot be opened");
    sql(w->file, "PRAGMA user_version = 2");
    assert_refused(w, E_UNSUPPORTED_VERSION, "format 2");
    sql(w->file, "PRAGMA application_id = 7");
    assert_refused(w, E_CORRUPT, "not a coordination store");
}

static void rubbish_is_no_store(void **state)
{
    struct coord_world *w = *state;
    close_it(w);
    const int fd = open(w->file, O_WRONLY | O_TRUNC);
    char rubbish[8192];
    memset(rubbish, 'r', sizeof rubbish);
    assert_int_equal(write(fd, rubbish, sizeof rubbish), sizeof rubbish);
    close(fd);
    assert_refused(w, E_CORRUPT, "cannot be opened");
}

static void a_directory_that_is_not_there_is_told(void **state)
{
    struct coord_world *w = *state;
    close_it(w);
    snprintf(w->file, sizeof w->file, "%s/no/such/coord.db", test_dir());
    assert_refused(w, E_STORAGE, "cannot be opened");
}

#define EMBEDDED(test) cmocka_unit_test_setup_teardown(test, world_setup_embedded, world_teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        EMBEDDED(nodes_and_versions_survive_a_restart_ephemeral_ones_do_not),
        EMBEDDED(a_node_that_was_ephemeral_and_is_persistent_now_survives),
        EMBEDDED(what_was_answered_survives_a_kill),
        EMBEDDED(a_second_process_is_refused_and_told_the_file),
        EMBEDDED(a_second_store_in_this_process_is_refused_too),
        EMBEDDED(a_disk_that_refuses_is_never_an_ok),
        EMBEDDED(many_writes_at_once_share_a_commit_and_all_survive),
        EMBEDDED(damaged_files_are_refused_by_name),
        EMBEDDED(rubbish_is_no_store),
        EMBEDDED(a_directory_that_is_not_there_is_told),
    };
    return TEST_MAIN(tests, NULL, NULL);
}
