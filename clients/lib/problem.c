/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/lib/problem.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "proto/wire/msg.h"

/* The public header repeats err.h's table, so that it needs no other header: here they are held
 * together. A row that is added to the table and not to the header does not compile. */
#define X(code, number, class_, text) PUBLIC_##code = SLUICE_##code,
enum public_codes { ERR_TABLE(X) };
#undef X
#define X(code, number, class_, text) static_assert((int)PUBLIC_##code == (int)code, #code);
ERR_TABLE(X)
#undef X
static_assert((int)SLUICE_CLASS_RETRY == (int)CLASS_RETRY, "classes");
static_assert((int)SLUICE_CLASS_REROUTE == (int)CLASS_REROUTE, "classes");
static_assert((int)SLUICE_CLASS_CALLER == (int)CLASS_CALLER, "classes");
static_assert((int)SLUICE_CLASS_STORAGE == (int)CLASS_STORAGE, "classes");
static_assert((int)SLUICE_CLASS_FATAL == (int)CLASS_FATAL, "classes");
static_assert((int)SLUICE_CLASS_SIGNAL == (int)CLASS_SIGNAL, "classes");
static_assert((int)SLUICE_CLASS_BUG == (int)CLASS_BUG, "classes");

const char *sluice_code_name(int32_t code)
{
    /* Numbers that never travel are not err_from_wire's. */
    return err_name(code < 0 ? (err)code : err_from_wire(code));
}

const char *sluice_class_name(enum sluice_class c)
{
    return err_class_name((enum err_class)c);
}

struct wire_error wire_error_of(err e)
{
    return (struct wire_error){.code = e, .err_class = err_class(e)};
}

struct wire_error wire_error_result(err e, enum err_class as_sent, struct slice message)
{
    const enum err_class c = e == E_UNKNOWN && as_sent != CLASS_NONE ? as_sent : err_class(e);
    return (struct wire_error){.code = e, .err_class = c, .message = message};
}

struct wire_error wire_error_read(struct slice bytes)
{
    struct msg_error e;
    if (msg_read_error(bytes, &e))
        return wire_error_of(E_CORRUPT);
    return wire_error_result(e.code, e.class, e.message);
}

bool class_is_retriable(enum err_class c)
{
    return c == CLASS_RETRY || c == CLASS_REROUTE || c == CLASS_STORAGE;
}

static void finish(struct sluice_error *error, const char *tried, const char *where,
                   const char *detail)
{
    error->name = sluice_code_name(error->code);
    error->tried = tried;
    snprintf(error->where, sizeof error->where, "%s", where);
    snprintf(error->text, sizeof error->text, "%s%s%s: %s (%s)", tried, where[0] ? ", " : "", where,
             detail, error->name);
}

int problem(struct sluice_error *error, err e, const char *tried, const char *where,
            const char *detail, ...)
{
    if (error) {
        char text[sizeof error->text];
        va_list args;
        va_start(args, detail);
        vsnprintf(text, sizeof text, detail, args);
        va_end(args);
        error->code = (int32_t)e;
        error->error_class = (enum sluice_class)err_class(e);
        finish(error, tried, where, text);
    }
    return (int)e;
}

int problem_wire(struct sluice_error *error, const struct wire_error *w, const char *tried,
                 const char *where)
{
    if (error) {
        char text[sizeof error->text];
        if (w->message.size)
            snprintf(text, sizeof text, "%.*s",
                     (int)(w->message.size < sizeof text ? w->message.size : sizeof text),
                     (const char *)w->message.data);
        else
            snprintf(text, sizeof text, "%s", err_text(w->code));
        error->code = (int32_t)w->code;
        error->error_class = (enum sluice_class)w->err_class;
        finish(error, tried, where, text);
    }
    return (int)w->code;
}

int problem_none(struct sluice_error *error)
{
    if (error)
        *error = (struct sluice_error){.name = err_name(OK), .tried = ""};
    return SLUICE_OK;
}

int problem_copy(struct sluice_error *to, const struct sluice_error *from)
{
    if (to && to != from)
        *to = *from;
    return from->code;
}
