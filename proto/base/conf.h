/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Configuration: a program's keys stand in tables (name, type, default, bounds,
 * documentation); a conf holds one value for each, and where it came from.
 *
 *   struct conf *c = conf_new(tables);              defaults
 *   conf_read_file(c, "broker.properties");         key=value lines
 *   conf_read_environment(c, environ);              SLUICE_LOG_SEGMENT_BYTES=...
 *   conf_set(c, "log.segment.bytes=1048576", ...);  --set: wins over all
 *   if (conf_check(c)) ... print conf_problems(c), exit 2
 *
 * Later sources win over earlier ones. Mistakes are collected, never acted on
 * at once, so that all are reported together, each with its place. Tables are
 * also the source of the manual (conf_manual) and may check single values that
 * come from elsewhere (conf_check_value), such as a topic's configs.
 *
 * Numbers are plain digits as in Kafka: no 1GiB. Lists are separated by commas.
 * Threads: a loaded conf may be read from any thread; changes are its owner's.
 */
#ifndef SLUICE_BASE_CONF_H
#define SLUICE_BASE_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/buf.h"
#include "proto/base/err.h"
#include "proto/base/slice.h"

enum conf_type { CONF_INT, CONF_INT64, CONF_BOOL, CONF_STRING, CONF_LIST, CONF_ENUM };

enum conf_flags {
    CONF_DYNAMIC = 1, /* may be changed while the program runs */
};

/* A row of a table. */
struct conf_key {
    const char *name; /* "log.segment.bytes": lower case, digits, dots */
    enum conf_type type;
    const char *fallback; /* the default as text, must be valid; NULL: not set */
    int64_t min, max; /* of a number, of a list's length, of a string's length; equal: no bounds */
    const char *choices; /* of an enum: "fsync|page-cache" */
    unsigned flags;
    const char *doc; /* for the manual: sentences, Markdown allowed */
};

/* Ends with a row whose name is NULL. */
struct conf_table {
    const char *title;
    const struct conf_key *keys;
};

/* Where a value came from. Those after the default are static, but for CLUSTER. */
enum conf_source { CONF_DEFAULT, CONF_FILE, CONF_ENVIRONMENT, CONF_ARGUMENT, CONF_CLUSTER };

struct conf;

/* Of up to eight tables, ended by NULL, which are kept; a name in two of them is the first's. */
struct conf *conf_new(const struct conf_table *const *tables);
void conf_free(struct conf *c);

/* --- sources: mistakes become problems ------------------------------------- */

/* A properties file: key=value a line, # in front of comments, blanks around key and value dropped.
 */
void conf_read_file(struct conf *c, const char *path);
/* The same from memory; `name` is what problems call it. */
void conf_read_text(struct conf *c, const char *name, struct slice text);
/* environ, NULL-ended. A SLUICE_ variable that is no key is ignored unless it nearly is one:
 * orchestrators put variables of their own into the same name space. */
void conf_read_environment(struct conf *c, char *const *environment);
/* One "key=value"; `where` is what problems call its place: "--set". */
void conf_set(struct conf *c, const char *assignment, enum conf_source source, const char *where);
/* A mistake in a value, or between values, that the table cannot know: "KEY from WHERE: ...". */
void conf_problem(struct conf *c, const char *key, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* E_CONFIG if there are problems. */
err conf_check(const struct conf *c) MUST_USE;
/* A line for each, "" if there are none. Borrowed until c changes. */
const char *conf_problems(const struct conf *c);

/* --- changes while running --------------------------------------------------- */

/* Lays a value from the cluster over the static one; NULL takes it off again. E_INVALID_CONFIG with
 * a sentence in *why (may be NULL): no such key, not dynamic, not valid. Pointers got for that key
 * before are invalid. */
err conf_override(struct conf *c, const char *key, const char *value, struct buf *why) MUST_USE;

/* --- values: asking for a key that no table has, or by another type, is a CHECK -- */

bool conf_is_set(const struct conf *c, const char *key); /* false: no default and no value */
int32_t conf_int(const struct conf *c, const char *key);
int64_t conf_int64(const struct conf *c, const char *key);
bool conf_bool(const struct conf *c, const char *key);
const char *conf_string(const struct conf *c, const char *key); /* NULL: not set */
int conf_enum(const struct conf *c, const char *key); /* place among the choices, from 0 */

struct conf_list {
    const char *const *items;
    size_t count;
};
struct conf_list conf_list(const struct conf *c, const char *key);

/* --- looking at tables and values ----------------------------------------------- */

/* The value as text, NULL if not set, and where it is from ("broker.properties:12"; "default"). */
struct conf_view {
    const struct conf_key *key;
    const char *value;
    enum conf_source source;
    const char *where;
};
/* The i-th key in the order of the tables; false behind the last. */
bool conf_at(const struct conf *c, size_t i, struct conf_view *out);
/* false: no table has that key. */
bool conf_find(const struct conf *c, const char *key, struct conf_view *out);

/* The row of that name in a table of rows, or NULL. */
const struct conf_key *conf_key_find(const struct conf_key *keys, struct slice name);
/* The name in the table nearest to a misspelt one, NULL if none is near. */
const char *conf_key_suggest(const struct conf_key *keys, struct slice name);
/* E_INVALID_CONFIG: value does not suit key; a sentence is appended to *why (may be NULL). */
err conf_check_value(const struct conf_key *key, struct slice value, struct buf *why) MUST_USE;
/* Appends the table as Markdown: the source of docs/configuration.md. */
void conf_manual(const struct conf_table *table, struct buf *out);

/* --- properties, the format ------------------------------------------------------ */

struct properties {
    struct slice rest;
    unsigned line; /* of what properties_next returned, from 1 */
};
/* The next key and value, trimmed. E_END. E_INVALID_CONFIG: the line is not key=value; the next
 * call goes on behind it. */
err properties_next(struct properties *p, struct slice *key, struct slice *value) MUST_USE;

#endif
