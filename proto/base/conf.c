/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/base/conf.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/check.h"
#include "proto/base/diag.h"
#include "proto/base/limits.h"
#include "proto/base/mem.h"

enum {
    TABLES_MAX = 8,
    NAME_MAX_ = 64,          /* bytes of a key's name */
    FILE_BYTES_MAX = MIB,    /* of a properties file */
    PROBLEMS_MAX = 64 * KIB, /* bytes of text; what is beyond says nothing new */
};

/* A value as text and as what it means. */
struct value {
    char *text; /* NULL: not set */
    char *where;
    enum conf_source source;
    unsigned line; /* of a file, to report keys set twice */
    int64_t number;
    char **items; /* of a list: one allocation, the strings behind the pointers */
    size_t item_count;
};

struct slot {
    const struct conf_key *key;
    struct value value; /* from the static sources */
    struct value over;  /* from the cluster; text NULL: none */
};

struct conf {
    struct slot *slots;
    size_t count;
    struct buf problems; /* with a NUL behind */
};

/* --- text ---------------------------------------------------------------------- */

static struct slice trim(struct slice s)
{
    while (s.size > 0 && isspace(s.data[0]))
        s = slice_of(s.data + 1, s.size - 1);
    while (s.size > 0 && isspace(s.data[s.size - 1]))
        s.size--;
    return s;
}

/* Cuts the part in front of the next separator off s. */
static struct slice cut(struct slice *s, char separator)
{
    const uint8_t *end = s->size ? memchr(s->data, separator, s->size) : NULL;
    const struct slice part = slice_of(s->data, end ? (size_t)(end - s->data) : s->size);
    *s = slice_sub(*s, part.size + 1, s->size);
    return part;
}

static const char *quoted(struct slice s)
{
    return diag_str(s.data, s.size);
}

static char *copy(struct slice s)
{
    char *text = mem_alloc(s.size + 1);
    if (s.size)
        memcpy(text, s.data, s.size);
    text[s.size] = 0;
    return text;
}

/* Plain decimal digits with an optional minus, within int64_t. */
static bool parse_number(struct slice s, int64_t *out)
{
    char text[24];
    if (s.size == 0 || s.size >= sizeof text)
        return false;
    memcpy(text, s.data, s.size);
    text[s.size] = 0;
    if (!isdigit((unsigned char)text[0]) && !(text[0] == '-' && s.size > 1))
        return false;
    char *end;
    errno = 0;
    const long long v = strtoll(text, &end, 10);
    if (errno || *end || !isdigit((unsigned char)end[-1]))
        return false;
    *out = v;
    return true;
}

static const struct {
    const char *text;
    int64_t value;
} booleans[] = {{"true", 1}, {"false", 0}};

static bool parse_bool(struct slice s, int64_t *out)
{
    for (size_t i = 0; i < sizeof booleans / sizeof booleans[0]; i++)
        if (slice_eq(s, slice_str(booleans[i].text))) {
            *out = booleans[i].value;
            return true;
        }
    return false;
}

static bool parse_choice(const char *choices, struct slice s, int64_t *out)
{
    struct slice rest = slice_str(choices);
    for (int64_t i = 0; rest.size > 0; i++)
        if (slice_eq(cut(&rest, '|'), s)) {
            *out = i;
            return true;
        }
    return false;
}

static size_t list_count(struct slice s)
{
    size_t n = 0;
    if (trim(s).size == 0)
        return 0;
    for (; s.size > 0; n++)
        cut(&s, ',');
    return n;
}

static bool list_has_gap(struct slice s)
{
    if (trim(s).size == 0)
        return false;
    if (s.data[s.size - 1] == ',')
        return true;
    while (s.size > 0)
        if (trim(cut(&s, ',')).size == 0)
            return true;
    return false;
}

static void list_split(struct value *v)
{
    struct slice rest = slice_str(v->text);
    v->item_count = list_count(rest);
    v->items = mem_alloc(v->item_count * sizeof(char *) + rest.size + v->item_count);
    char *p = (char *)(v->items + v->item_count);
    for (size_t i = 0; i < v->item_count; i++) {
        const struct slice item = trim(cut(&rest, ','));
        v->items[i] = memcpy(p, item.data, item.size);
        p[item.size] = 0;
        p += item.size + 1;
    }
}

/* --- one value against its row --------------------------------------------------- */

static const char *type_name(enum conf_type type)
{
    static const char *const names[] = {
        [CONF_INT] = "int",       [CONF_INT64] = "long", [CONF_BOOL] = "boolean",
        [CONF_STRING] = "string", [CONF_LIST] = "list",  [CONF_ENUM] = "one of",
    };
    return names[type];
}

static err wrong(struct buf *why, const char *format, ...) __attribute__((format(printf, 2, 3)));
static err wrong(struct buf *why, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (why)
        buf_append_str(why, text);
    return E_INVALID_CONFIG;
}

static err check_bounds(const struct conf_key *key, int64_t v, const char *of, struct buf *why)
{
    int64_t min = key->min;
    int64_t max = key->max;
    if (min == max) {
        min = key->type == CONF_INT ? INT32_MIN : INT64_MIN;
        max = key->type == CONF_INT ? INT32_MAX : INT64_MAX;
    }
    if (v < min)
        return wrong(why, "%s%" PRId64 " is below the minimum of %" PRId64, of, v, min);
    if (v > max)
        return wrong(why, "%s%" PRId64 " is above the maximum of %" PRId64, of, v, max);
    return OK;
}

static err parse(const struct conf_key *key, struct slice s, int64_t *number, struct buf *why)
{
    *number = 0;
    if (memchr(s.data ? s.data : (const uint8_t *)"", 0, s.size))
        return wrong(why, "%s has a NUL character", quoted(s));
    switch (key->type) {
    case CONF_INT:
    case CONF_INT64:
        if (!parse_number(s, number))
            return wrong(why, "%s is not a whole number (plain digits, no unit)", quoted(s));
        return check_bounds(key, *number, "", why);
    case CONF_BOOL:
        if (!parse_bool(s, number))
            return wrong(why, "%s is neither true nor false", quoted(s));
        return OK;
    case CONF_ENUM:
        if (!parse_choice(key->choices, s, number))
            return wrong(why, "%s is not one of %s", quoted(s), key->choices);
        return OK;
    case CONF_LIST:
        if (list_has_gap(s))
            return wrong(why, "%s has an empty item", quoted(s));
        return check_bounds(key, (int64_t)list_count(s), "the number of items ", why);
    case CONF_STRING:
        return check_bounds(key, (int64_t)s.size, "the length ", why);
    }
    return E_BUG;
}

err conf_check_value(const struct conf_key *key, struct slice value, struct buf *why)
{
    int64_t ignored;
    return parse(key, value, &ignored, why);
}

/* --- names ------------------------------------------------------------------------- */

const struct conf_key *conf_key_find(const struct conf_key *keys, struct slice name)
{
    for (; keys->name; keys++)
        if (slice_eq(slice_str(keys->name), name))
            return keys;
    return NULL;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Insertions, deletions and replacements that make a of b. */
static size_t edit_distance(struct slice a, struct slice b)
{
    size_t row[NAME_MAX_ + 1];
    CHECK(b.size <= NAME_MAX_);
    for (size_t j = 0; j <= b.size; j++)
        row[j] = j;
    for (size_t i = 1; i <= a.size; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b.size; j++) {
            const size_t replaced = diagonal + (a.data[i - 1] != b.data[j - 1]);
            diagonal = row[j];
            row[j] = least(replaced, least(row[j], row[j - 1]) + 1);
        }
    }
    return row[b.size];
}

/* Near: at most a quarter of the name, at most 3 edits. */
static size_t tolerance(struct slice name)
{
    return least(name.size / 4, 3);
}

static void nearer(const char *candidate, struct slice name, const char **best, size_t *distance)
{
    if (name.size > NAME_MAX_)
        return;
    const size_t d = edit_distance(name, slice_str(candidate));
    if (d < *distance) {
        *distance = d;
        *best = candidate;
    }
}

const char *conf_key_suggest(const struct conf_key *keys, struct slice name)
{
    const char *best = NULL;
    size_t distance = tolerance(name) + 1;
    for (; keys->name; keys++)
        nearer(keys->name, name, &best, &distance);
    return best;
}

static struct slot *find(const struct conf *c, struct slice name)
{
    for (size_t i = 0; i < c->count; i++)
        if (slice_eq(slice_str(c->slots[i].key->name), name))
            return &c->slots[i];
    return NULL;
}

static const char *suggest(const struct conf *c, struct slice name)
{
    const char *best = NULL;
    size_t distance = tolerance(name) + 1;
    for (size_t i = 0; i < c->count; i++)
        nearer(c->slots[i].key->name, name, &best, &distance);
    return best;
}

/* --- problems ------------------------------------------------------------------------ */

static void problem(struct conf *c, const char *line)
{
    if (c->problems.size + strlen(line) > PROBLEMS_MAX)
        return;
    buf_append_str(&c->problems, line);
    buf_append(&c->problems, "\n", 2);
    c->problems.size--; /* the NUL stays behind the text */
}

static void problemf(struct conf *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void problemf(struct conf *c, const char *format, ...)
{
    char line[2048];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    problem(c, line);
}

void conf_problem(struct conf *c, const char *key, const char *format, ...)
{
    struct conf_view view;
    char line[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    CHECK(conf_find(c, key, &view));
    problemf(c, "%s: %s %s", view.where, key, line);
}

err conf_check(const struct conf *c)
{
    return c->problems.size ? E_CONFIG : OK;
}

const char *conf_problems(const struct conf *c)
{
    return c->problems.size ? (const char *)c->problems.data : "";
}

/* --- life ------------------------------------------------------------------------------ */

static void value_deinit(struct value *v)
{
    mem_free(v->text);
    mem_free(v->where);
    mem_free(v->items);
    *v = (struct value){0};
}

/* The text was parsed: number is its meaning. */
static void value_set(struct value *v, const struct conf_key *key, struct slice text,
                      int64_t number)
{
    value_deinit(v);
    v->text = copy(text);
    v->number = number;
    if (key->type == CONF_LIST)
        list_split(v);
}

static void slot_init(struct slot *s, const struct conf_key *key)
{
    int64_t number;
    CHECK(strlen(key->name) <= NAME_MAX_);
    CHECK(key->doc);
    s->key = key;
    if (!key->fallback)
        return;
    const struct slice fallback = slice_str(key->fallback);
    CHECK(parse(key, fallback, &number, NULL) == OK);
    value_set(&s->value, key, fallback, number);
}

struct conf *conf_new(const struct conf_table *const *tables)
{
    struct conf *c = MEM_NEW(struct conf);
    size_t room = 0;
    for (size_t t = 0; tables[t]; t++) {
        CHECK(t < TABLES_MAX);
        for (const struct conf_key *k = tables[t]->keys; k->name; k++)
            room++;
    }
    c->slots = mem_zalloc(room * sizeof *c->slots);
    for (size_t t = 0; tables[t]; t++)
        for (const struct conf_key *k = tables[t]->keys; k->name; k++)
            if (!find(c, slice_str(k->name)))
                slot_init(&c->slots[c->count++], k);
    return c;
}

void conf_free(struct conf *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->count; i++) {
        value_deinit(&c->slots[i].value);
        value_deinit(&c->slots[i].over);
    }
    mem_free(c->slots);
    buf_deinit(&c->problems);
    mem_free(c);
}

/* --- sources ------------------------------------------------------------------------------ */

struct place {
    enum conf_source source;
    const char *where;
    unsigned line; /* 0: not of a file */
};

static void assign(struct conf *c, struct slice key, struct slice text, const struct place *at)
{
    int64_t number;
    struct slot *s = find(c, key);
    if (!s) {
        const char *near = suggest(c, key);
        problemf(c, near ? "%s: unknown key %s (did you mean \"%s\"?)" : "%s: unknown key %s",
                 at->where, quoted(key), near);
        return;
    }
    struct buf why = {0};
    if (parse(s->key, text, &number, &why)) {
        problemf(c, "%s: %s: %.*s", at->where, s->key->name, (int)why.size, (char *)why.data);
    } else if (at->line && s->value.line) {
        problemf(c, "%s: %s is set twice, before on line %u", at->where, s->key->name,
                 s->value.line);
    } else {
        value_set(&s->value, s->key, text, number);
        s->value.source = at->source;
        s->value.where = mem_strdup(at->where);
        s->value.line = at->line;
    }
    buf_deinit(&why);
}

err properties_next(struct properties *p, struct slice *key, struct slice *value)
{
    while (p->rest.size > 0) {
        struct slice line = cut(&p->rest, '\n');
        p->line++;
        if (trim(line).size == 0 || trim(line).data[0] == '#')
            continue;
        const bool is_pair = memchr(line.data, '=', line.size) != NULL;
        *key = trim(cut(&line, '='));
        *value = trim(line);
        return is_pair && key->size ? OK : E_INVALID_CONFIG;
    }
    return E_END;
}

void conf_read_text(struct conf *c, const char *name, struct slice text)
{
    struct properties p = {.rest = text};
    struct slice key;
    struct slice value;
    for (size_t i = 0; i < c->count; i++)
        c->slots[i].value.line = 0; /* twice means: in one file */
    for (err e = properties_next(&p, &key, &value); e != E_END;
         e = properties_next(&p, &key, &value)) {
        char where[512];
        snprintf(where, sizeof where, "%s:%u", name, p.line);
        if (e)
            problemf(c, "%s: not a key=value line", where);
        else
            assign(c, key, value, &(struct place){CONF_FILE, where, p.line});
    }
}

/* Read at the program's start, before there are workers: the one place besides fsio that opens a
 * file. */
void conf_read_file(struct conf *c, const char *path)
{
    struct buf text = {0};
    FILE *f = fopen(path, "re");
    if (!f) {
        problemf(c, "%s: cannot be opened: %s", path, strerror(errno));
        return;
    }
    buf_reserve(&text, FILE_BYTES_MAX + 1);
    text.size = fread(text.data, 1, FILE_BYTES_MAX + 1, f);
    if (ferror(f))
        problemf(c, "%s: cannot be read: %s", path, strerror(errno));
    else if (text.size > FILE_BYTES_MAX)
        problemf(c, "%s: longer than %d bytes, which no properties file is", path, FILE_BYTES_MAX);
    else
        conf_read_text(c, path, buf_slice(&text));
    fclose(f);
    buf_deinit(&text);
}

static const char env_prefix[] = "SLUICE_";

/* LOG_SEGMENT_BYTES -> log.segment.bytes; what is too long for a key is cut. */
static struct slice key_of_variable(const char *name, size_t size, char key[NAME_MAX_ + 1])
{
    size_t n = 0;
    for (; n < size && n < NAME_MAX_ + 1; n++)
        key[n] = name[n] == '_' ? '.' : (char)tolower((unsigned char)name[n]);
    return slice_of(key, n);
}

void conf_read_environment(struct conf *c, char *const *environment)
{
    for (; *environment; environment++) {
        const char *equals = strchr(*environment, '=');
        if (!equals || strncmp(*environment, env_prefix, strlen(env_prefix)) != 0)
            continue;
        char name[NAME_MAX_ + 1];
        const char *start = *environment + strlen(env_prefix);
        const struct slice key = key_of_variable(start, (size_t)(equals - start), name);
        char where[2 * NAME_MAX_];
        snprintf(where, sizeof where, "environment %.*s",
                 (int)least((size_t)(equals - *environment), 96), *environment);
        if (find(c, key) || suggest(c, key))
            assign(c, key, slice_str(equals + 1), &(struct place){CONF_ENVIRONMENT, where, 0});
    }
}

void conf_set(struct conf *c, const char *assignment, enum conf_source source, const char *where)
{
    struct slice value = slice_str(assignment);
    if (!strchr(assignment, '=')) {
        problemf(c, "%s: %s is not key=value", where, DIAG_STR(assignment));
        return;
    }
    const struct slice key = trim(cut(&value, '='));
    assign(c, key, trim(value), &(struct place){source, where, 0});
}

err conf_override(struct conf *c, const char *key, const char *value, struct buf *why)
{
    int64_t number = 0;
    struct slot *s = find(c, slice_str(key));
    if (!s)
        return wrong(why, "there is no key %s", DIAG_STR(key));
    if (!(s->key->flags & CONF_DYNAMIC))
        return wrong(why, "%s cannot be changed while the program runs", key);
    if (!value) {
        value_deinit(&s->over);
        return OK;
    }
    const err e = parse(s->key, slice_str(value), &number, why);
    if (e)
        return e;
    value_set(&s->over, s->key, slice_str(value), number);
    s->over.source = CONF_CLUSTER;
    s->over.where = mem_strdup("cluster");
    return OK;
}

/* --- values ------------------------------------------------------------------------------ */

static const struct value *effective(const struct slot *s)
{
    return s->over.text ? &s->over : &s->value;
}

static const struct value *get(const struct conf *c, const char *key, enum conf_type type)
{
    const struct slot *s = find(c, slice_str(key));
    CHECK(s);
    CHECK(s->key->type == type);
    return effective(s);
}

static int64_t get_number(const struct conf *c, const char *key, enum conf_type type)
{
    const struct value *v = get(c, key, type);
    CHECK(v->text); /* ask conf_is_set first where there is no default */
    return v->number;
}

bool conf_is_set(const struct conf *c, const char *key)
{
    const struct slot *s = find(c, slice_str(key));
    CHECK(s);
    return effective(s)->text != NULL;
}

int32_t conf_int(const struct conf *c, const char *key)
{
    return (int32_t)get_number(c, key, CONF_INT);
}

int64_t conf_int64(const struct conf *c, const char *key)
{
    return get_number(c, key, CONF_INT64);
}

bool conf_bool(const struct conf *c, const char *key)
{
    return get_number(c, key, CONF_BOOL) != 0;
}

int conf_enum(const struct conf *c, const char *key)
{
    return (int)get_number(c, key, CONF_ENUM);
}

const char *conf_string(const struct conf *c, const char *key)
{
    return get(c, key, CONF_STRING)->text;
}

struct conf_list conf_list(const struct conf *c, const char *key)
{
    const struct value *v = get(c, key, CONF_LIST);
    return (struct conf_list){(const char *const *)v->items, v->item_count};
}

bool conf_at(const struct conf *c, size_t i, struct conf_view *out)
{
    if (i >= c->count)
        return false;
    const struct value *v = effective(&c->slots[i]);
    *out = (struct conf_view){c->slots[i].key, v->text, v->source, v->where ? v->where : "default"};
    return true;
}

bool conf_find(const struct conf *c, const char *key, struct conf_view *out)
{
    const struct slot *s = find(c, slice_str(key));
    return s && conf_at(c, (size_t)(s - c->slots), out);
}

/* --- manual ------------------------------------------------------------------------------ */

static void manual_bounds(const struct conf_key *k, struct buf *out)
{
    if (k->type == CONF_ENUM) {
        struct slice rest = slice_str(k->choices);
        for (const char *gap = " "; rest.size > 0; gap = ", ") {
            const struct slice choice = cut(&rest, '|');
            buf_printf(out, "%s`%.*s`", gap, (int)choice.size, (const char *)choice.data);
        }
    } else if (k->min != k->max) {
        static const char *const of[] = {
            [CONF_STRING] = " characters", [CONF_LIST] = " items", [CONF_ENUM] = ""};
        const char *unit = of[k->type] ? of[k->type] : "";
        const int64_t top = k->type == CONF_INT ? INT32_MAX : INT64_MAX;
        if (k->max == top)
            buf_printf(out, ", at least %" PRId64 "%s", k->min, unit);
        else
            buf_printf(out, ", %" PRId64 " to %" PRId64 "%s", k->min, k->max, unit);
    }
}

void conf_manual(const struct conf_table *table, struct buf *out)
{
    buf_printf(out, "## %s\n", table->title);
    for (const struct conf_key *k = table->keys; k->name; k++) {
        buf_printf(out, "\n### `%s`\n\n%s\n\n%s", k->name, k->doc, type_name(k->type));
        manual_bounds(k, out);
        if (!k->fallback)
            buf_append_str(out, "; not set by default");
        else if (*k->fallback)
            buf_printf(out, "; default `%s`", k->fallback);
        else
            buf_append_str(out, "; empty by default");
        buf_append_str(out, k->flags & CONF_DYNAMIC ? "; may be changed while running.\n" : ".\n");
    }
}
