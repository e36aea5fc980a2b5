/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/tools/progress.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "clients/tools/clock.h"

enum { REDRAW_NS = 100000000, BAR_WIDTH = 30 };

void progress_start(struct progress *p, uint64_t total)
{
    const int64_t now = clock_ns();
    *p = (struct progress){
        .is_on = total > 0 && isatty(STDERR_FILENO),
        .total = total,
        .started_ns = now,
        .drawn_ns = now - REDRAW_NS,
    };
}

void progress_bar(char *text, size_t width, double share)
{
    const size_t full = share >= 1 ? width : (size_t)(share * (double)width);
    memset(text, ' ', width);
    memset(text, '=', full);
    if (full < width && full > 0)
        text[full - 1] = '>';
    text[width] = '\0';
}

void progress_show(struct progress *p, uint64_t done, uint64_t records)
{
    if (!p->is_on)
        return;
    const int64_t now = clock_ns();
    if (now - p->drawn_ns < REDRAW_NS)
        return;
    p->drawn_ns = now;
    char bar[BAR_WIDTH + 1];
    const double share = done >= p->total ? 1 : (double)done / (double)p->total;
    const double seconds = (double)(now - p->started_ns + 1) / 1e9;
    progress_bar(bar, BAR_WIDTH, share);
    fprintf(stderr, "\r[%s] %3.0f %%  %llu records  %.1f MB/s \x1b[K", bar, share * 100,
            (unsigned long long)records, (double)done / 1e6 / seconds);
    fflush(stderr);
}

void progress_end(struct progress *p)
{
    if (p->is_on)
        fputs("\r\x1b[K", stderr);
    p->is_on = false;
}
