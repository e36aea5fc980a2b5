/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CHECK: a mistake of ours crashes, in every build. DCHECK: the same for walks
 * that cost too much, in the debug variant only. Never for anything that a
 * peer, a file or ZooKeeper can influence.
 */
#ifndef SLUICE_BASE_CHECK_H
#define SLUICE_BASE_CHECK_H

typedef void check_hook(const char *expression, const char *file, int line);

/* What a failed CHECK calls before it aborts; tests point it at cmocka's
 * mock_assert, which does not return. NULL restores the default. */
void check_set_hook(check_hook *hook);

void check_failed(const char *expression, const char *file, int line)
    __attribute__((noreturn, cold));

#define CHECK(x) ((x) ? (void)0 : check_failed(#x, __FILE__, __LINE__))

#ifdef SLUICE_DEBUG
#define DCHECK(x) CHECK(x)
#else
#define DCHECK(x) ((void)sizeof(!(x)))
#endif

#endif
