/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/tools/lines.h"
#include "proto/base/buf.h"
#include "tests/support/test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* A descriptor that gives these bytes. */
static int file_of(const void *data, size_t size)
{
    char path[512];
    snprintf(path, sizeof path, "%s/lines", test_dir());
    const int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, size), (ssize_t)size);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    return fd;
}

static void assert_lines(struct slice input, const char *const *expected)
{
    struct lines l;
    const int fd = file_of(input.data, input.size);
    lines_init(&l, fd, -1, 1000);
    struct slice line;
    for (; *expected; expected++) {
        assert_ok(lines_next(&l, &line));
        assert_slice_equal(line, slice_str(*expected));
    }
    assert_err(lines_next(&l, &line), E_END);
    assert_err(lines_next(&l, &line), E_END);
    lines_deinit(&l);
    close(fd);
}

static void a_last_line_needs_no_newline(void **state)
{
    (void)state;
    assert_lines(slice_str("a\nb\n"), (const char *const[]){"a", "b", NULL});
    assert_lines(slice_str("a\nb"), (const char *const[]){"a", "b", NULL});
    assert_lines(slice_str(""), (const char *const[]){NULL});
    assert_lines(slice_str("\n"), (const char *const[]){"", NULL});
    assert_lines(slice_str("\n\na\n\n"), (const char *const[]){"", "", "a", "", NULL});
    assert_lines(slice_str("a\r\n"), (const char *const[]){"a\r", NULL});
}

static void too_long_a_line_is_refused(void **state)
{
    (void)state;
    enum { LIMIT = 1000000 };
    static char text[3 * LIMIT];
    memset(text, 'x', sizeof text);
    text[LIMIT] = '\n';
    int fd = file_of(text, sizeof text);
    struct lines l;
    struct slice line;
    lines_init(&l, fd, -1, LIMIT);
    assert_ok(lines_next(&l, &line));
    assert_int_equal(line.size, LIMIT);
    assert_err(lines_next(&l, &line), E_MESSAGE_TOO_LARGE);
    lines_deinit(&l);
    close(fd);
}

static void a_descriptor_that_fails_is_told(void **state)
{
    (void)state;
    struct lines l;
    struct slice line;
    const int fd = open(test_dir(), O_RDONLY);
    lines_init(&l, fd, -1, 1000);
    assert_err(lines_next(&l, &line), E_STORAGE);
    assert_int_equal(l.errnum, EISDIR);
    lines_deinit(&l);
    close(fd);
}

static void reading_stops_when_told(void **state)
{
    (void)state;
    int input[2];
    int stop[2];
    assert_int_equal(pipe(input), 0);
    assert_int_equal(pipe(stop), 0);
    struct lines l;
    struct slice line;
    lines_init(&l, input[0], stop[0], 1000);
    assert_int_equal(write(input[1], "one\ntwo", 7), 7);
    assert_ok(lines_next(&l, &line));
    assert_slice_equal(line, slice_str("one"));
    assert_int_equal(write(stop[1], "x", 1), 1);
    assert_err(lines_next(&l, &line), E_CANCELLED);
    lines_deinit(&l);
    for (int i = 0; i < 2; i++) {
        close(input[i]);
        close(stop[i]);
    }
}

/* Goal: lines of every length, also around the buffer's size, come out as they went in. Method:
 * random lines, some very long, compared with the text they were cut from. */
static void lines_of_every_length_come_whole(void **state)
{
    (void)state;
    struct rng rng = test_rng();
    struct buf text = {0};
    for (int i = 0; i < 400; i++) {
        const size_t size = rng_below(&rng, 1u << rng_below(&rng, 20));
        uint8_t *const p = buf_reserve(&text, size + 1);
        for (size_t k = 0; k < size; k++) {
            const uint8_t c = (uint8_t)rng_u64(&rng);
            p[k] = c == '\n' ? 0 : c;
        }
        p[size] = '\n';
        text.size += size + 1;
    }
    const int fd = file_of(text.data, text.size);
    struct lines l;
    lines_init(&l, fd, -1, 1u << 20);
    size_t pos = 0;
    struct slice line;
    err e;
    while ((e = lines_next(&l, &line)) == OK) {
        const uint8_t *const end = memchr(text.data + pos, '\n', text.size - pos);
        assert_non_null(end);
        assert_slice_equal(line, slice_of(text.data + pos, (size_t)(end - text.data) - pos));
        pos += line.size + 1;
    }
    assert_err(e, E_END);
    assert_int_equal(pos, text.size);
    lines_deinit(&l);
    close(fd);
    buf_deinit(&text);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_last_line_needs_no_newline),
        cmocka_unit_test(too_long_a_line_is_refused),
        cmocka_unit_test(a_descriptor_that_fails_is_told),
        cmocka_unit_test(reading_stops_when_told),
        cmocka_unit_test(lines_of_every_length_come_whole),
    };
    return TEST_MAIN(tests, NULL, NULL);
}
