/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tree of nodes in memory, with the versions, owners and watches that
 * coord.h promises: what embedded and model have in common. It knows nothing
 * of time, sessions' life or disks.
 *
 * Changes since the last tree_commit can be taken back (tree_rollback), for
 * stores that make them durable afterwards and may fail. Home thread: its owner's.
 */
#ifndef SLUICE_COORD_TREE_H
#define SLUICE_COORD_TREE_H

#include "metad/coord/coord.h"
#include "proto/base/buf.h"

struct tree;

/* With the root alone. */
struct tree *tree_new(void);
void tree_free(struct tree *t);

/* All of the operations or none, in order; on failure *failed is the one that could not be done. */
err tree_write(struct tree *t, const struct coord_op *ops, size_t count, uint64_t session,
               size_t *failed) MUST_USE;
/* For loading: a persistent node as it was stored; parents before children. E_CORRUPT: no parent,
 * or it is there. */
err tree_load(struct tree *t, const char *path, struct slice data, int32_t version) MUST_USE;
/* data: borrowed until the next change. */
err tree_get(const struct tree *t, const char *path, struct slice *data,
             struct coord_stat *stat) MUST_USE;
/* Appends the names, sorted, each ended by NUL. */
err tree_children(const struct tree *t, const char *path, struct buf *names,
                  size_t *count) MUST_USE;
size_t tree_node_count(const struct tree *t);

/* Paths of the ephemeral nodes of a session, each ended by NUL; appends. */
size_t tree_ephemerals(const struct tree *t, uint64_t session, struct buf *paths);

/* --- watches --------------------------------------------------------------------- */
enum tree_watch_kind { WATCH_NODE, WATCH_CHILDREN };
void tree_watch(struct tree *t, const char *path, enum tree_watch_kind kind,
                const struct coord_watch *watch);
/* The next watch that changes have fired, in order; false: none. */
bool tree_next_fired(struct tree *t, struct coord_watch *out);
void tree_forget_watches(struct tree *t);

/* --- taking back ----------------------------------------------------------------- */
void tree_commit(struct tree *t);
/* To where the last commit was. Watches that fired have fired. */
void tree_rollback(struct tree *t);

#endif
