/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/base/err.h"

#include <errno.h>
#include <stddef.h>

struct entry {
    err code;
    enum err_class class_;
    const char *name;
    const char *text;
};

static const struct entry table[] = {
#define X(name, number, class_, text) {name, CLASS_##class_, #name, text},
    ERR_TABLE(X)
#undef X
};

static const struct entry *find(int32_t code)
{
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if ((int32_t)table[i].code == code)
            return &table[i];
    return find(E_UNKNOWN);
}

const char *err_name(err e)
{
    return find(e)->name;
}

enum err_class err_class(err e)
{
    return find(e)->class_;
}

const char *err_text(err e)
{
    return find(e)->text;
}

const char *err_class_name(enum err_class c)
{
    static const char *const names[] = {"none",    "retry", "refresh metadata", "caller",
                                        "storage", "fatal", "signal",           "bug"};
    return (size_t)c < sizeof names / sizeof names[0] ? names[c] : "fatal";
}

err err_from_wire(int32_t number)
{
    return number < 0 ? E_UNKNOWN : find(number)->code;
}

enum err_class err_wire_class(err e)
{
    const enum err_class c = err_class(e);
    return c == CLASS_SIGNAL || c == CLASS_BUG ? CLASS_FATAL : c;
}

int32_t err_wire_code(err e)
{
    return e < 0 ? (int32_t)E_UNKNOWN : (int32_t)e;
}

err err_from_errno(int errnum)
{
    switch (errnum) {
    case 0:
        return OK;
    case ENOSPC:
    case EDQUOT:
        return E_NO_SPACE;
    case ENOMEM:
        return E_NO_MEMORY;
    case ENOENT:
        return E_NOT_FOUND;
    case EEXIST:
        return E_EXISTS;
    case EAGAIN:
        return E_WOULD_BLOCK;
    default:
        return E_STORAGE;
    }
}
