/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/tools/args.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/check.h"
#include "proto/base/diag.h"
#include "proto/base/mem.h"

enum { WORD_MAX = 64, NAMES_MAX = 128 };

bool parse_int64(const char *text, int64_t *out)
{
    const char *digits = text + (*text == '-' || *text == '+');
    if (!isdigit((unsigned char)*digits))
        return false;
    char *end;
    errno = 0;
    const long long v = strtoll(text, &end, 10);
    if (*end != '\0' || errno != 0)
        return false;
    *out = v;
    return true;
}

/* --- did you mean ------------------------------------------------------------------- */

static size_t min3(size_t a, size_t b, size_t c)
{
    const size_t ab = a < b ? a : b;
    return ab < c ? ab : c;
}

/* How many edits (insert, delete, replace, swap of neighbours) lie between two words. */
static size_t edit_distance(const char *a, const char *b)
{
    const size_t n = strlen(a);
    const size_t m = strlen(b);
    if (n > WORD_MAX || m > WORD_MAX)
        return WORD_MAX;
    size_t rows[3][WORD_MAX + 1];
    size_t *before = rows[0];
    size_t *above = rows[1];
    size_t *row = rows[2];
    for (size_t j = 0; j <= m; j++)
        above[j] = j;
    for (size_t i = 1; i <= n; i++) {
        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            row[j] = min3(above[j] + 1, row[j - 1] + 1, above[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                before[j - 2] + 1 < row[j])
                row[j] = before[j - 2] + 1;
        }
        size_t *const spare = before;
        before = above;
        above = row;
        row = spare;
    }
    return above[m];
}

const char *args_suggest(const char *word, const char *const *names, size_t count)
{
    const size_t size = strlen(word);
    const char *best = NULL;
    size_t best_distance = size / 3 + 2;
    for (size_t i = 0; i < count; i++) {
        const size_t common = strlen(names[i]) < size ? strlen(names[i]) : size;
        const bool is_prefix = common >= 3 && strncmp(word, names[i], common) == 0;
        const size_t distance = is_prefix ? 1 : edit_distance(word, names[i]);
        if (distance < best_distance && distance < size) {
            best_distance = distance;
            best = names[i];
        }
    }
    return best;
}

/* --- finding things in the tables --------------------------------------------------- */

static const struct option *find_in(const struct option *table, const char *name, size_t size)
{
    for (const struct option *o = table; o && o->name; o++)
        if ((strlen(o->name) == size && memcmp(o->name, name, size) == 0) ||
            (o->alias && strlen(o->alias) == size && memcmp(o->alias, name, size) == 0))
            return o;
    return NULL;
}

static const struct option *find_option(const struct args *a, const char *name, size_t size)
{
    const struct option *o = a->command ? find_in(a->command->options, name, size) : NULL;
    return o ? o : find_in(a->set->options, name, size);
}

/* Whether some other command has the option: then it merely stands in the wrong place. */
static const struct command *find_owner(const struct command_set *set, const char *name,
                                        size_t size)
{
    for (size_t i = 0; i < set->command_count; i++)
        if (find_in(set->commands[i]->options, name, size))
            return set->commands[i];
    return NULL;
}

static const struct command *find_command(const struct command_set *set, const char *group,
                                          const char *name)
{
    for (size_t i = 0; i < set->command_count; i++) {
        const struct command *const c = set->commands[i];
        const bool same_group = group ? c->group && strcmp(c->group, group) == 0 : !c->group;
        if (same_group && strcmp(c->name, name) == 0)
            return c;
    }
    return NULL;
}

static const struct command_group *find_group(const struct command_set *set, const char *name)
{
    for (size_t i = 0; i < set->group_count; i++)
        if (strcmp(set->groups[i].name, name) == 0)
            return &set->groups[i];
    return NULL;
}

/* --- what is wrong ------------------------------------------------------------------ */

static void say_command(const struct args *a, struct buf *message)
{
    if (a->group)
        buf_printf(message, "%s ", a->group->name);
    if (a->command)
        buf_printf(message, "%s ", a->command->name);
}

static void say_try_help(const struct args *a, struct buf *message)
{
    buf_printf(message, "\nTry: %s ", a->set->program);
    say_command(a, message);
    buf_append_str(message, "--help");
}

static void say_operands(const struct args *a, struct buf *message)
{
    buf_printf(message, "\nUsage: %s ", a->set->program);
    say_command(a, message);
    buf_printf(message, "%s", a->command->operands);
}

static err unknown_option(const struct args *a, const char *name, size_t size, struct buf *message)
{
    const char *names[NAMES_MAX];
    size_t count = 0;
    if (a->command)
        for (const struct option *o = a->command->options; o && o->name && count < NAMES_MAX; o++)
            names[count++] = o->name;
    for (const struct option *o = a->set->options; o && o->name && count < NAMES_MAX; o++)
        names[count++] = o->name;

    const struct command *const owner = find_owner(a->set, name, size);
    if (!a->command && owner) {
        buf_printf(message, "--%.*s belongs behind the command's words", (int)size, name);
        say_try_help(a, message);
        return E_CONFIG;
    }
    char word[WORD_MAX + 1];
    const size_t kept = size < WORD_MAX ? size : WORD_MAX;
    memcpy(word, name, kept);
    word[kept] = '\0';
    buf_printf(message, "no option --%s%s", word, size > kept ? "..." : "");
    const char *const close = args_suggest(word, names, count);
    if (close)
        buf_printf(message, "; did you mean --%s?", close);
    else if (a->command)
        say_operands(a, message);
    say_try_help(a, message);
    return E_CONFIG;
}

static err unknown_word(const struct args *a, const char *word, struct buf *message)
{
    const struct command_set *const set = a->set;
    const char *names[NAMES_MAX];
    const char *seconds[NAMES_MAX];
    const struct command *owners[NAMES_MAX];
    size_t count = 0;
    size_t second_count = 0;
    if (!a->group)
        for (size_t i = 0; i < set->group_count && count < NAMES_MAX; i++)
            names[count++] = set->groups[i].name;
    for (size_t i = 0; i < set->command_count && i < NAMES_MAX && count < NAMES_MAX; i++) {
        const struct command *const c = set->commands[i];
        const bool fits = a->group ? c->group && strcmp(c->group, a->group->name) == 0 : !c->group;
        if (fits)
            names[count++] = c->name;
        else if (!a->group) {
            owners[second_count] = c;
            seconds[second_count++] = c->name;
        }
    }
    buf_printf(message, "no command %s%s%s", a->group ? a->group->name : "", a->group ? " " : "",
               diag_str(word, strlen(word)));
    const char *const close = args_suggest(word, names, count);
    /* "sluice list": the word is right, the noun in front of it is missing. */
    const char *const second = close ? NULL : args_suggest(word, seconds, second_count);
    if (close) {
        buf_printf(message, "; did you mean: %s %s%s%s?", set->program,
                   a->group ? a->group->name : "", a->group ? " " : "", close);
    } else if (second) {
        for (size_t i = 0; i < second_count; i++)
            if (seconds[i] == second) {
                buf_printf(message, "; did you mean: %s %s %s?", set->program, owners[i]->group,
                           second);
                break;
            }
    }
    say_try_help(a, message);
    return E_CONFIG;
}

static err bad_value(const struct args *a, const struct option *o, const char *text,
                     struct buf *message)
{
    buf_printf(message, "--%s: %s is not ", o->name, diag_str(text, strlen(text)));
    switch (o->kind) {
    case OPTION_NUMBER:
        buf_printf(message, "a whole number from %lld to %lld", (long long)o->min,
                   (long long)o->max);
        break;
    case OPTION_CHOICE:
        buf_append_str(message, "one of ");
        for (const char *c = o->choices; *c; c++)
            buf_append(message, *c == '|' ? ", " : c, *c == '|' ? 2 : 1);
        break;
    case OPTION_PAIRS:
        buf_printf(message, "a key, an equals sign and a value (%s)", o->value);
        break;
    case OPTION_FLAG:
    case OPTION_TEXT:
    case OPTION_TEXTS:
        buf_append_str(message, "a value");
        break;
    }
    say_try_help(a, message);
    return E_CONFIG;
}

/* --- reading ------------------------------------------------------------------------ */

static bool is_choice(const char *choices, const char *text)
{
    const size_t size = strlen(text);
    for (const char *c = choices; size > 0;) {
        const size_t n = strcspn(c, "|");
        if (n == size && memcmp(c, text, n) == 0)
            return true;
        if (c[n] == '\0')
            return false;
        c += n + 1;
    }
    return false;
}

static bool value_fits(const struct option *o, const char *text, int64_t *number)
{
    switch (o->kind) {
    case OPTION_NUMBER:
        return parse_int64(text, number) && *number >= o->min && *number <= o->max;
    case OPTION_CHOICE:
        return is_choice(o->choices, text);
    case OPTION_PAIRS:
        return strchr(text, '=') != NULL && text[0] != '=';
    case OPTION_TEXT:
    case OPTION_TEXTS:
        return text[0] != '\0';
    case OPTION_FLAG:
        return true;
    }
    return false;
}

/* Reads the option at argv[*at], and its value, which may be the next argument. */
static err read_option(struct args *a, int argc, char *const *argv, int *at, struct buf *message)
{
    const char *const arg = argv[*at];
    if (strcmp(arg, "-h") == 0 || strcmp(arg, "--help") == 0) {
        a->is_help = true;
        return OK;
    }
    const char *const name = arg + 1 + (arg[1] == '-');
    const size_t size = strcspn(name, "=");
    const struct option *const o = arg[1] == '-' ? find_option(a, name, size) : NULL;
    if (!o)
        return unknown_option(a, name, size, message);

    const char *text = name[size] == '=' ? name + size + 1 : NULL;
    if (o->kind == OPTION_FLAG && text) {
        buf_printf(message, "--%s takes no value", o->name);
        say_try_help(a, message);
        return E_CONFIG;
    }
    if (o->kind != OPTION_FLAG && !text) {
        if (*at + 1 >= argc) {
            buf_printf(message, "--%s needs a value: --%s %s", o->name, o->name, o->value);
            say_try_help(a, message);
            return E_CONFIG;
        }
        text = argv[++*at];
    }
    int64_t number = 0;
    if (text && !value_fits(o, text, &number))
        return bad_value(a, o, text, message);
    a->given[a->given_count++] = (struct given){.option = o, .text = text, .number = number};
    return OK;
}

static err read_word(struct args *a, const char *word, struct buf *message)
{
    if (a->command) {
        if (a->operand_count == a->command->operands_max) {
            buf_printf(message, "one argument too many: %s", diag_str(word, strlen(word)));
            say_operands(a, message);
            say_try_help(a, message);
            return E_CONFIG;
        }
        a->operands[a->operand_count++] = word;
        return OK;
    }
    if (!a->group && !a->is_help && strcmp(word, "help") == 0) {
        a->is_help = true;
        return OK;
    }
    a->command = find_command(a->set, a->group ? a->group->name : NULL, word);
    if (a->command)
        return OK;
    if (!a->group)
        a->group = find_group(a->set, word);
    else
        return unknown_word(a, word, message);
    return a->group ? OK : unknown_word(a, word, message);
}

static err check_complete(const struct args *a, struct buf *message)
{
    if (a->is_help)
        return OK;
    if (!a->command) {
        if (a->group)
            buf_printf(message, "%s: which command?", a->group->name);
        else
            buf_append_str(message, "which command?");
        say_try_help(a, message);
        return E_CONFIG;
    }
    if (a->operand_count < a->command->operands_min) {
        buf_printf(message, "%s is missing", a->command->operands);
        say_operands(a, message);
        say_try_help(a, message);
        return E_CONFIG;
    }
    return OK;
}

err args_parse(struct args *out, const struct command_set *set, int argc, char *const *argv,
               struct buf *message)
{
    CHECK(argc >= 0);
    *out = (struct args){.set = set};
    out->operands = mem_alloc(sizeof *out->operands * (size_t)(argc + 1));
    out->given = mem_alloc(sizeof *out->given * (size_t)(argc + 1));
    bool is_only_words = false;
    for (int i = 1; i < argc; i++) {
        err e;
        if (!is_only_words && strcmp(argv[i], "--") == 0) {
            is_only_words = true;
            continue;
        }
        if (!is_only_words && argv[i][0] == '-' && argv[i][1] != '\0')
            e = read_option(out, argc, argv, &i, message);
        else
            e = read_word(out, argv[i], message);
        if (e != OK)
            return e;
    }
    return check_complete(out, message);
}

void args_deinit(struct args *a)
{
    mem_free(a->operands);
    mem_free(a->given);
    *a = (struct args){0};
}

/* --- asking ------------------------------------------------------------------------- */

static const struct option *known_option(const struct args *a, const char *name)
{
    const struct option *const o = find_option(a, name, strlen(name));
    CHECK(o != NULL);
    return o;
}

static const struct given *last_given(const struct args *a, const struct option *o)
{
    for (size_t i = a->given_count; i > 0; i--)
        if (a->given[i - 1].option == o)
            return &a->given[i - 1];
    return NULL;
}

bool args_has(const struct args *a, const char *name)
{
    return last_given(a, known_option(a, name)) != NULL;
}

const char *args_text(const struct args *a, const char *name)
{
    const struct option *const o = known_option(a, name);
    const struct given *const g = last_given(a, o);
    return g ? g->text : o->fallback;
}

int64_t args_number(const struct args *a, const char *name)
{
    const struct option *const o = known_option(a, name);
    CHECK(o->kind == OPTION_NUMBER);
    const struct given *const g = last_given(a, o);
    if (g)
        return g->number;
    int64_t number = 0;
    CHECK(!o->fallback || parse_int64(o->fallback, &number));
    return number;
}

const char *args_next(const struct args *a, const char *name, size_t *cursor)
{
    const struct option *const o = known_option(a, name);
    while (*cursor < a->given_count) {
        const struct given *const g = &a->given[(*cursor)++];
        if (g->option == o)
            return g->text;
    }
    return NULL;
}
