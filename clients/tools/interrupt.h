/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ctrl-C and SIGTERM as a flag, for commands that have something to finish.
 * Whoever waits for a descriptor waits for interrupt_fd too (a signal may be
 * delivered to another thread, or just before the wait, so EINTR is not
 * enough); a blocking call of libsluice is woken through the handle's own
 * wakeup function.
 */
#ifndef SLUICE_TOOLS_INTERRUPT_H
#define SLUICE_TOOLS_INTERRUPT_H

#include <stdint.h>

/* From now on signals are counted, from 0, instead of ending the program; the third one ends it.
 * A child process calls it again. */
void interrupt_catch(void);
/* Called with arg from the signal handler, so async-signal-safe; NULL: nothing. One at a time. */
void interrupt_wakes(void (*wakeup)(void *arg), void *arg);
/* How many came. */
int interrupt_count(void);
/* Readable from the first signal on; -1 before interrupt_catch. */
int interrupt_fd(void);
/* Until clock_ns reaches `when`, or a signal came. */
void interrupt_sleep_until_ns(int64_t when);

#endif
