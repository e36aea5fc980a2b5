/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/test.h"

#include <ctype.h>
#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "proto/base/check.h"
#include "proto/base/mem.h"

/* Memory that lives as long as the program, reachable so that the leak checker stays silent. */
struct kept {
    struct kept *next;
    void *data;
};

static struct kept *directories;
static struct kept *files;
static uint64_t seed;
static pthread_t main_thread;

static void keep(struct kept **list, void *data)
{
    struct kept *k = MEM_NEW(struct kept);
    *k = (struct kept){.next = *list, .data = data};
    *list = k;
}

static void check_to_cmocka(const char *expression, const char *file, int line)
{
    if (pthread_equal(pthread_self(), main_thread))
        mock_assert(0, expression, file, line);
}

void test_begin(int argc, char **argv)
{
    main_thread = pthread_self();
    check_set_hook(check_to_cmocka);
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);

    const char *text = getenv("SEED");
    if (text) {
        seed = strtoull(text, NULL, 0);
    } else {
        struct rng r;
        rng_init_from_system(&r);
        seed = rng_u64(&r) >> 32;
    }
    printf("SEED=%" PRIu64 "\n", seed);
    fflush(stdout);
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

int test_end(int failed)
{
    for (const struct kept *k = directories; k; k = k->next) {
        if (failed)
            fprintf(stderr, "kept: %s\n", (const char *)k->data);
        else
            nftw(k->data, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    }
    return failed ? 1 : 0;
}

uint64_t test_seed(void)
{
    return seed;
}

struct rng test_rng(void)
{
    struct rng r;
    rng_init(&r, seed);
    return r;
}

const char *test_dir(void)
{
    const char *parent = getenv("TMPDIR");
    char *path = mem_printf("%s/sluice-test-XXXXXX", parent && *parent ? parent : "/tmp");
    if (!mkdtemp(path))
        fail_msg("cannot make %s: %s", path, strerror(errno));
    keep(&directories, path);
    return path;
}

int64_t test_now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int64_t test_deadline_ms(int64_t allowed_ms)
{
    const char *slow = getenv("TEST_SLOW");
    const double factor = slow ? strtod(slow, NULL) : 1;
    return test_now_ms() + (int64_t)((double)allowed_ms * (factor > 0 ? factor : 1));
}

void test_pause(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
}

void test_assert_err(err actual, err expected, const char *file, int line)
{
    if (actual == expected)
        return;
    print_error("%s, expected %s\n", err_name(actual), err_name(expected));
    _fail(file, line);
}

void test_assert_slices(struct slice a, struct slice b, const char *file, int line)
{
    if (slice_eq(a, b))
        return;
    size_t at = 0;
    while (at < a.size && at < b.size && a.data[at] == b.data[at])
        at++;
    print_error("%zu bytes and %zu bytes differ at byte %zu\n", a.size, b.size, at);
    _fail(file, line);
}

size_t test_unhex(const char *text, uint8_t *out, size_t size_max)
{
    size_t size = 0;
    for (;;) {
        while (isspace((unsigned char)*text))
            text++;
        if (!*text)
            return size;
        unsigned byte;
        if (size == size_max || sscanf(text, "%2x", &byte) != 1 ||
            !isxdigit((unsigned char)text[1]))
            fail_msg("bad or too long hex at \"%.8s\"", text);
        out[size++] = (uint8_t)byte;
        text += 2;
    }
}

struct slice test_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        fail_msg("cannot open %s: %s", path, strerror(errno));
    uint8_t *data = NULL;
    size_t size = 0;
    for (size_t n = 1; n > 0; size += n) {
        data = mem_realloc(data, size + 65536);
        n = fread(data + size, 1, 65536, f);
    }
    fclose(f);
    keep(&files, data);
    return slice_of(data, size);
}
