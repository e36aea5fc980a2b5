/* SPDX-License-Identifier: Apache-2.0 */
/* What concerns the library as a whole: its version, and where its diagnostics go. */
#include <sluice/sluice.h>

#include <stdatomic.h>

#include "proto/base/diag.h"

const char *sluice_version(void)
{
    return SLUICE_VERSION;
}

/* The application's function gets lines without their newline; diag's sink has it. */
static _Atomic(sluice_diagnostics_fn *) application_fn;

static void to_application(void *arg, const char *line, size_t size)
{
    sluice_diagnostics_fn *fn = atomic_load(&application_fn);
    if (fn)
        fn(arg, line, size && line[size - 1] == '\n' ? size - 1 : size);
}

void sluice_set_diagnostics(int level, sluice_diagnostics_fn *fn, void *arg)
{
    const int most = (int)DIAG_DEBUG;
    diag_set_level((enum diag_level)(level < 0 ? 0 : level > most ? most : level));
    atomic_store(&application_fn, fn);
    diag_set_sink(fn ? to_application : NULL, arg);
}
