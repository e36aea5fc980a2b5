/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A properties file from anywhere. Besides surviving: what is accepted holds
 * its bounds, is found again under its key, and written out as text and read
 * anew means the same.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "proto/base/conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct conf_key keys[] = {
    {"n", CONF_INT, "5", .min = 1, .max = 1000, .doc = "d"},
    {"wide", CONF_INT64, NULL, .doc = "d"},
    {"flag", CONF_BOOL, "false", .doc = "d"},
    {"text", CONF_STRING, "", .min = 0, .max = 50, .doc = "d"},
    {"dirs", CONF_LIST, "/a", .min = 1, .max = 4, .doc = "d", .flags = CONF_DYNAMIC},
    {"mode", CONF_ENUM, "one", .choices = "one|two|three", .doc = "d"},
    {0},
};
static const struct conf_table table = {"Keys", keys};
static const struct conf_table *const tables[] = {&table, NULL};

static void must(bool held)
{
    if (!held)
        abort();
}

static void check_bounds(const struct conf *c)
{
    must(conf_int(c, "n") >= 1 && conf_int(c, "n") <= 1000);
    must(strlen(conf_string(c, "text")) <= 50);
    must(conf_enum(c, "mode") >= 0 && conf_enum(c, "mode") < 3);
    const struct conf_list dirs = conf_list(c, "dirs");
    must(dirs.count >= 1 && dirs.count <= 4);
    for (size_t i = 0; i < dirs.count; i++)
        must(dirs.items[i][0] != 0);
}

static void check_same(const struct conf *a, const struct conf *b)
{
    struct conf_view x;
    struct conf_view y;
    for (size_t i = 0; conf_at(a, i, &x); i++) {
        must(conf_at(b, i, &y));
        must((x.value == NULL) == (y.value == NULL));
        must(!x.value || strcmp(x.value, y.value) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct conf *c = conf_new(tables);
    conf_read_text(c, "fuzz", slice_of(data, size));
    check_bounds(c);
    must((conf_check(c) == OK) == (conf_problems(c)[0] == 0));

    struct buf text = {0};
    struct conf_view v;
    for (size_t i = 0; conf_at(c, i, &v); i++)
        if (v.value)
            buf_printf(&text, "%s=%s\n", v.key->name, v.value);
    struct conf *again = conf_new(tables);
    conf_read_text(again, "again", buf_slice(&text));
    must(conf_check(again) == OK);
    check_same(c, again);
    buf_deinit(&text);
    conf_free(again);
    conf_free(c);
    return 0;
}
