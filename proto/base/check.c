/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/base/check.h"

#include <stdio.h>
#include <stdlib.h>

static check_hook *hook;

void check_set_hook(check_hook *h)
{
    hook = h;
}

void check_failed(const char *expression, const char *file, int line)
{
    if (hook)
        hook(expression, file, line);
    fprintf(stderr, "%s:%d: CHECK failed: %s. This is a defect of Sluice; please report it.\n",
            file, line, expression);
    abort();
}
