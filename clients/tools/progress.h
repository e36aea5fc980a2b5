/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A progress bar on standard error, if that is a terminal and the size of the
 * whole is known. Redrawn a few times a second; cheap to call often.
 */
#ifndef SLUICE_TOOLS_PROGRESS_H
#define SLUICE_TOOLS_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct progress {
    bool is_on;
    uint64_t total; /* bytes */
    int64_t started_ns;
    int64_t drawn_ns;
};

/* total 0: not known, nothing is drawn. */
void progress_start(struct progress *p, uint64_t total);
void progress_show(struct progress *p, uint64_t done, uint64_t records);
/* Takes the bar off the screen. */
void progress_end(struct progress *p);

/* The bar alone, for a share from 0 to 1, NUL-terminated: "=====>    ". */
void progress_bar(char *text, size_t width, double share);

#endif
