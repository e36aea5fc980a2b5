/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Filling in struct sluice_error: what was tried, where, what was wrong. The
 * numbers and classes of the public header are those of err.h, checked when
 * this is compiled. Threads: any.
 */
#ifndef SLUICE_CLIENTS_PROBLEM_H
#define SLUICE_CLIENTS_PROBLEM_H

#include <sluice/sluice.h>

#include "proto/base/err.h"
#include "proto/base/slice.h"

/* An error as it came over the wire, or as it arose on the way there. */
struct wire_error {
    err code; /* E_UNKNOWN: not of this build's table */
    enum err_class err_class;
    struct slice message; /* borrowed; empty: err_text(code) serves */
};

/* A serialized sluice.Error. A malformed one reads as E_CORRUPT. */
struct wire_error wire_error_read(struct slice bytes);
/* What a result of a produce or fetch answer has. */
struct wire_error wire_error_result(err e, enum err_class as_sent, struct slice message);
struct wire_error wire_error_of(err e);
/* Worth another try within the deadline: RETRY, REROUTE, STORAGE. */
bool class_is_retriable(enum err_class c);

/*
 * error may be NULL. tried: static. where: printed from a format, "" for none. Returns the code, so
 * that a failing call ends with `return problem(...)`. The text reads "TRIED, WHERE: DETAIL
 * (E_NAME)".
 */
int problem(struct sluice_error *error, err e, const char *tried, const char *where,
            const char *detail, ...) __attribute__((format(printf, 5, 6)));
int problem_wire(struct sluice_error *error, const struct wire_error *w, const char *tried,
                 const char *where);
/* Nothing went wrong: clears it. */
int problem_none(struct sluice_error *error);
/* Copies if both are there; returns from->code. */
int problem_copy(struct sluice_error *to, const struct sluice_error *from);

#endif
