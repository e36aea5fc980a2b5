/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every unit, golden and fault test includes, and the only way to cmocka.
 *
 *   static void log_refuses_append_at_wrong_offset(void **state) { ... }
 *
 *   int main(int argc, char **argv)
 *   {
 *       const struct CMUnitTest tests[] = {
 *           cmocka_unit_test(log_refuses_append_at_wrong_offset),
 *       };
 *       return TEST_MAIN(tests, NULL, NULL);
 *   }
 *
 * A test program takes one optional argument, a cmocka filter with * and ?:
 * build/debug/tests/unit/proto_wire/test_batch '*canonical*'.
 *
 * Environment: SEED (randomised tests; printed at the start and always the
 * same within one run), TEST_SLOW (a factor on deadlines, for sanitizers and
 * busy machines), TMPDIR.
 *
 * A failed CHECK on the main thread goes to cmocka: expect_assert_failure
 * tests it, elsewhere it fails the test. On other threads it aborts.
 */
#ifndef SLUICE_TESTS_SUPPORT_TEST_H
#define SLUICE_TESTS_SUPPORT_TEST_H

/* cmocka.h needs these first, in this order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdbool.h>

#include "proto/base/err.h"
#include "proto/base/rng.h"
#include "proto/base/slice.h"

#define TEST_MAIN(tests, setup, teardown)                                                          \
    (test_begin(argc, argv), test_end(cmocka_run_group_tests(tests, setup, teardown)))

void test_begin(int argc, char **argv);
int test_end(int failed);

/* SEED, and a generator that starts from it. */
uint64_t test_seed(void);
struct rng test_rng(void);

/*
 * A new empty directory, its path valid until the program ends. All are
 * removed when every test passed, and named on stderr when one did not.
 */
const char *test_dir(void);

/* Milliseconds of a monotonic clock, and deadlines stretched by TEST_SLOW. */
int64_t test_now_ms(void);
int64_t test_deadline_ms(int64_t allowed_ms);
void test_pause(void);

/* True as soon as condition holds, false if it still does not after deadline_ms (times TEST_SLOW).
 */
#define eventually(condition, deadline_ms)                                                         \
    __extension__({                                                                                \
        const int64_t give_up_ms_ = test_deadline_ms(deadline_ms);                                 \
        bool held_ = (condition);                                                                  \
        while (!held_ && test_now_ms() < give_up_ms_) {                                            \
            test_pause();                                                                          \
            held_ = (condition);                                                                   \
        }                                                                                          \
        held_;                                                                                     \
    })
#define assert_eventually(condition, deadline_ms) assert_true(eventually(condition, deadline_ms))

/* Errors by name in the failure's text, and slices by content. */
#define assert_err(actual, expected) test_assert_err((actual), (expected), __FILE__, __LINE__)
#define assert_ok(actual) assert_err(actual, OK)
void test_assert_err(err actual, err expected, const char *file, int line);

#define assert_slice_equal(a, b) test_assert_slices((a), (b), __FILE__, __LINE__)
void test_assert_slices(struct slice a, struct slice b, const char *file, int line);

/* "0a ff 31" as bytes; blanks are skipped. Returns how many; size_max bounds them. */
size_t test_unhex(const char *text, uint8_t *out, size_t size_max);

/* A whole file, in memory that the program keeps until it ends; fails the test if it cannot be
 * read. */
struct slice test_file(const char *path);

#endif
