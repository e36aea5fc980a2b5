/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/tools/progress.h"
#include "tests/support/test.h"

static void the_bar_fills_from_left_to_right(void **state)
{
    (void)state;
    const struct {
        double share;
        const char *bar;
    } cases[] = {{0, "          "},    {0.05, "          "}, {0.1, ">         "},
                 {0.55, "====>     "}, {0.99, "========> "}, {1, "=========="},
                 {1.5, "=========="}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[11];
        progress_bar(text, 10, cases[i].share);
        assert_string_equal(text, cases[i].bar);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_bar_fills_from_left_to_right),
    };
    return TEST_MAIN(tests, NULL, NULL);
}
