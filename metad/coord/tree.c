/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nodes hang below their parents, sorted by name; paths are short, so a walk
 * from the root is a few binary searches. Each change leaves a step in the
 * journal that takes it back; a failed write goes back to its own beginning.
 */
#include "metad/coord/tree.h"

#include <string.h>

#include "proto/base/check.h"
#include "proto/base/mem.h"

struct node {
    char *name;
    struct node *parent; /* NULL: the root */
    struct node **children;
    size_t child_count, child_capacity;
    struct buf data;
    int32_t version;
    uint64_t owner;
};

/* Takes one change back. */
struct step {
    enum coord_op_kind kind; /* of the change */
    struct node *node;       /* create: the one to remove; delete: the one to hang in again; set */
    struct buf data;         /* set: what it was */
};

struct watch_entry {
    char *path;
    enum tree_watch_kind kind;
    struct coord_watch watch;
};

struct tree {
    struct node *root;
    size_t node_count;
    struct step *steps;
    size_t step_count, step_capacity;
    struct watch_entry *watches;
    size_t watch_count, watch_capacity;
    struct coord_watch *fired; /* from fired_next on */
    size_t fired_count, fired_capacity, fired_next;
};

/* Room for one more. */
static void *grown(void *items, size_t count, size_t *capacity, size_t item)
{
    if (count < *capacity)
        return items;
    *capacity = *capacity ? *capacity * 2 : 8;
    return mem_realloc(items, *capacity * item);
}

/* --- nodes ----------------------------------------------------------------------- */

static struct node *node_new(struct slice name)
{
    struct node *n = MEM_NEW(struct node);
    n->name = mem_alloc(name.size + 1);
    memcpy(n->name, name.data, name.size);
    n->name[name.size] = '\0';
    return n;
}

static void node_free(struct node *n)
{
    buf_deinit(&n->data);
    mem_free(n->children);
    mem_free(n->name);
    mem_free(n);
}

static int compare_name(const struct node *n, struct slice name)
{
    const size_t size = strlen(n->name);
    const int order = memcmp(n->name, name.data, size < name.size ? size : name.size);
    if (order != 0)
        return order;
    return size < name.size ? -1 : size > name.size;
}

/* Where the child is, or would be. */
static size_t child_place(const struct node *parent, struct slice name, bool *found)
{
    size_t low = 0;
    size_t high = parent->child_count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (compare_name(parent->children[middle], name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *found = low < parent->child_count && compare_name(parent->children[low], name) == 0;
    return low;
}

static void hang_in(struct tree *t, struct node *n)
{
    struct node *parent = n->parent;
    bool found;
    const size_t at = child_place(parent, slice_str(n->name), &found);
    CHECK(!found);
    parent->children = grown(parent->children, parent->child_count, &parent->child_capacity,
                             sizeof parent->children[0]);
    memmove(&parent->children[at + 1], &parent->children[at],
            (parent->child_count - at) * sizeof parent->children[0]);
    parent->children[at] = n;
    parent->child_count++;
    t->node_count++;
}

static void take_out(struct tree *t, struct node *n)
{
    struct node *parent = n->parent;
    bool found;
    const size_t at = child_place(parent, slice_str(n->name), &found);
    CHECK(found);
    parent->child_count--;
    memmove(&parent->children[at], &parent->children[at + 1],
            (parent->child_count - at) * sizeof parent->children[0]);
    t->node_count--;
}

/* NULL: no such node. */
static struct node *find(const struct tree *t, const char *path)
{
    struct node *n = t->root;
    for (const char *at = path + 1; *at != '\0' && n != NULL;) {
        const size_t size = strcspn(at, "/");
        bool found;
        const size_t place = child_place(n, slice_of(at, size), &found);
        n = found ? n->children[place] : NULL;
        at += size;
        at += *at == '/';
    }
    return n;
}

/* The node above, and the last name of the path; NULL: no such node, or path is the root. */
static struct node *find_parent(const struct tree *t, const char *path, struct slice *name)
{
    const char *slash = strrchr(path, '/');
    *name = slice_str(slash + 1);
    if (name->size == 0)
        return NULL;
    char above[COORD_PATH_MAX + 1];
    const size_t size = (size_t)(slash - path);
    if (size == 0)
        return t->root;
    memcpy(above, path, size);
    above[size] = '\0';
    return find(t, above);
}

static void free_below(struct node *n)
{
    /* Paths have at most COORD_PATH_MAX bytes, so the tree is never deeper than half of that. */
    for (size_t i = 0; i < n->child_count; i++)
        free_below(n->children[i]);
    node_free(n);
}

struct tree *tree_new(void)
{
    struct tree *t = MEM_NEW(struct tree);
    t->root = node_new(slice_str(""));
    return t;
}

void tree_free(struct tree *t)
{
    tree_commit(t);
    tree_forget_watches(t);
    free_below(t->root);
    mem_free(t->steps);
    mem_free(t->watches);
    mem_free(t->fired);
    mem_free(t);
}

size_t tree_node_count(const struct tree *t)
{
    return t->node_count;
}

/* --- the journal ----------------------------------------------------------------- */

static struct step *journal(struct tree *t, enum coord_op_kind kind, struct node *n)
{
    t->steps = grown(t->steps, t->step_count, &t->step_capacity, sizeof t->steps[0]);
    struct step *st = &t->steps[t->step_count++];
    *st = (struct step){.kind = kind, .node = n};
    return st;
}

static void take_back(struct tree *t, size_t to)
{
    while (t->step_count > to) {
        struct step *st = &t->steps[--t->step_count];
        struct node *n = st->node;
        if (st->kind == COORD_CREATE) {
            take_out(t, n);
            node_free(n);
        } else if (st->kind == COORD_DELETE) {
            hang_in(t, n);
        } else {
            buf_deinit(&n->data);
            buf_take(&n->data, &st->data);
            n->version--;
        }
    }
}

void tree_rollback(struct tree *t)
{
    take_back(t, 0);
}

void tree_commit(struct tree *t)
{
    for (size_t i = 0; i < t->step_count; i++) {
        buf_deinit(&t->steps[i].data);
        if (t->steps[i].kind == COORD_DELETE)
            node_free(t->steps[i].node);
    }
    t->step_count = 0;
}

/* --- operations ------------------------------------------------------------------ */

static err do_check(struct tree *t, const struct coord_op *op, uint64_t session)
{
    (void)session;
    const struct node *n = find(t, op->path);
    if (n == NULL)
        return E_NOT_FOUND;
    return n->version == op->version ? OK : E_BAD_VERSION;
}

static err do_create(struct tree *t, const struct coord_op *op, uint64_t session)
{
    struct slice name;
    struct node *parent = find_parent(t, op->path, &name);
    if (parent == NULL)
        return name.size == 0 ? E_EXISTS : E_NOT_FOUND;
    if (parent->owner != 0)
        return E_NOT_PERMITTED;
    if (find(t, op->path) != NULL)
        return E_EXISTS;
    struct node *n = node_new(name);
    n->parent = parent;
    n->owner = op->ephemeral ? session : 0;
    buf_append(&n->data, op->data.data, op->data.size);
    hang_in(t, n);
    journal(t, COORD_CREATE, n);
    return OK;
}

static err do_set(struct tree *t, const struct coord_op *op, uint64_t session)
{
    const err e = do_check(t, op, session);
    if (e != OK)
        return e;
    struct node *n = find(t, op->path);
    struct step *st = journal(t, COORD_SET, n);
    buf_take(&st->data, &n->data);
    buf_append(&n->data, op->data.data, op->data.size);
    n->version++;
    return OK;
}

static err do_delete(struct tree *t, const struct coord_op *op, uint64_t session)
{
    const err e = do_check(t, op, session);
    if (e != OK)
        return e;
    struct node *n = find(t, op->path);
    if (n == t->root || n->child_count > 0)
        return E_NOT_PERMITTED;
    take_out(t, n);
    journal(t, COORD_DELETE, n);
    return OK;
}

typedef err do_fn(struct tree *t, const struct coord_op *op, uint64_t session);
static do_fn *const doers[] = {
    [COORD_CHECK] = do_check,
    [COORD_CREATE] = do_create,
    [COORD_SET] = do_set,
    [COORD_DELETE] = do_delete,
};

static void fire(struct tree *t, const char *path, enum tree_watch_kind kind)
{
    size_t kept = 0;
    for (size_t i = 0; i < t->watch_count; i++) {
        struct watch_entry *w = &t->watches[i];
        if (w->kind != kind || strcmp(w->path, path) != 0) {
            t->watches[kept++] = *w;
            continue;
        }
        t->fired = grown(t->fired, t->fired_count, &t->fired_capacity, sizeof t->fired[0]);
        t->fired[t->fired_count++] = w->watch;
        mem_free(w->path);
    }
    t->watch_count = kept;
}

static void fire_for(struct tree *t, const struct coord_op *op)
{
    if (op->kind == COORD_CHECK || t->watch_count == 0)
        return;
    fire(t, op->path, WATCH_NODE);
    if (op->kind == COORD_SET)
        return;
    if (op->kind == COORD_DELETE)
        fire(t, op->path, WATCH_CHILDREN);
    char above[COORD_PATH_MAX + 1];
    const size_t size = (size_t)(strrchr(op->path, '/') - op->path);
    memcpy(above, op->path, size > 0 ? size : 1);
    above[size > 0 ? size : 1] = '\0';
    fire(t, above, WATCH_CHILDREN);
}

err tree_write(struct tree *t, const struct coord_op *ops, size_t count, uint64_t session,
               size_t *failed)
{
    const size_t begin = t->step_count;
    for (size_t i = 0; i < count; i++) {
        const err e = doers[ops[i].kind](t, &ops[i], session);
        if (e == OK)
            continue;
        take_back(t, begin);
        *failed = i;
        return e;
    }
    for (size_t i = 0; i < count; i++)
        fire_for(t, &ops[i]);
    return OK;
}

err tree_load(struct tree *t, const char *path, struct slice data, int32_t version)
{
    const struct coord_op op = {.kind = COORD_CREATE, .path = path, .data = data};
    if (do_create(t, &op, 0) != OK)
        return E_CORRUPT;
    find(t, path)->version = version;
    tree_commit(t);
    return OK;
}

err tree_get(const struct tree *t, const char *path, struct slice *data, struct coord_stat *stat)
{
    const struct node *n = find(t, path);
    if (n == NULL)
        return E_NOT_FOUND;
    *data = buf_slice(&n->data);
    *stat = (struct coord_stat){.version = n->version, .owner_session = n->owner};
    return OK;
}

err tree_children(const struct tree *t, const char *path, struct buf *names, size_t *count)
{
    const struct node *n = find(t, path);
    if (n == NULL)
        return E_NOT_FOUND;
    for (size_t i = 0; i < n->child_count; i++)
        buf_append(names, n->children[i]->name, strlen(n->children[i]->name) + 1);
    *count = n->child_count;
    return OK;
}

static void append_path(const struct node *n, struct buf *out)
{
    const struct node *chain[COORD_PATH_MAX];
    size_t depth = 0;
    for (; n->parent != NULL; n = n->parent)
        chain[depth++] = n;
    while (depth > 0)
        buf_printf(out, "/%s", chain[--depth]->name);
}

static size_t ephemerals_below(const struct node *n, uint64_t session, struct buf *paths)
{
    size_t count = 0;
    for (size_t i = 0; i < n->child_count; i++)
        count += ephemerals_below(n->children[i], session, paths);
    if (n->owner != session || n->parent == NULL)
        return count;
    append_path(n, paths);
    buf_append(paths, "", 1);
    return count + 1;
}

size_t tree_ephemerals(const struct tree *t, uint64_t session, struct buf *paths)
{
    CHECK(session != 0);
    return ephemerals_below(t->root, session, paths);
}

/* --- watches --------------------------------------------------------------------- */

void tree_watch(struct tree *t, const char *path, enum tree_watch_kind kind,
                const struct coord_watch *watch)
{
    t->watches = grown(t->watches, t->watch_count, &t->watch_capacity, sizeof t->watches[0]);
    t->watches[t->watch_count++] =
        (struct watch_entry){.path = mem_strdup(path), .kind = kind, .watch = *watch};
}

bool tree_next_fired(struct tree *t, struct coord_watch *out)
{
    if (t->fired_next == t->fired_count) {
        t->fired_next = 0;
        t->fired_count = 0;
        return false;
    }
    *out = t->fired[t->fired_next++];
    return true;
}

void tree_forget_watches(struct tree *t)
{
    for (size_t i = 0; i < t->watch_count; i++)
        mem_free(t->watches[i].path);
    t->watch_count = 0;
    t->fired_count = 0;
    t->fired_next = 0;
}
