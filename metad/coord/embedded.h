/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The embedded store: coord.h on a SQLite file, for one process on one machine.
 *
 * The tree is held in memory and read from there; a write is applied to it,
 * committed to the file by a worker (WAL, synchronous=FULL: durable), and only
 * then answered. What is asked while a commit runs waits and goes together into
 * the next one. Ephemeral nodes are never written: they are gone at the next
 * open, and its session is another one. The session never expires.
 *
 * One process at a time: the file stays locked while it is open.
 *
 * A commit that finds the disk full is taken back and answered with
 * E_COORDINATION, to be asked again; any other failure of the file is final
 * (COORD_FAILED).
 */
#ifndef SLUICE_COORD_EMBEDDED_H
#define SLUICE_COORD_EMBEDDED_H

#include "metad/coord/coord.h"
#include "proto/base/buf.h"

/* Opens or creates the file, reads it whole (blocking: at start only). why gets a sentence that
 * names the file. E_EXISTS: another process has it open. E_CORRUPT: it is damaged, or not one of
 * ours. E_UNSUPPORTED_VERSION: a newer version wrote it. E_STORAGE: it cannot be opened or written.
 */
err coord_embedded_open(struct loop *l, const char *path, struct coord **out,
                        struct buf *why) MUST_USE;

#endif
