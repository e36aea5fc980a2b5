/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The text format: one HELP and TYPE line per family, then its series. A
 * histogram is three kinds of series: name_bucket with a label `le`, whose
 * values are cumulated, name_sum and name_count.
 *
 * Bucket i of a histogram, i >= 4, holds the values v with
 *   (4 + i % 4) << (i / 4 - 1)  <  v  <=  (5 + i % 4) << (i / 4 - 1),
 * the first four 0 and 1, 2, 3, 4: each power of two ends one, as `le` needs it.
 */
#include "proto/net/metrics.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "proto/base/check.h"
#include "proto/base/mem.h"

enum { SHOWN_FIRST = 3, SHOWN_LAST = 27 }; /* powers of two */

union value {
    struct counter counter;
    struct gauge gauge;
    struct histogram histogram;
};

struct series {
    struct series *next;
    char *labels; /* a="b",c="d" */
    union value *value;
};

struct family {
    struct family *next;
    char *name, *help;
    enum metric_type type;
    double unit;
    struct series *series, **series_end;
};

struct collector {
    struct collector *next;
    metrics_collect_fn *fn;
    void *arg;
};

struct metrics {
    struct family *families, **families_end;
    struct collector *collectors, **collectors_end;
};

struct metrics_page {
    struct buf *out;
    const char *family; /* the collector's present one */
};

struct metrics *metrics_new(void)
{
    struct metrics *m = MEM_NEW(struct metrics);
    m->families_end = &m->families;
    m->collectors_end = &m->collectors;
    return m;
}

static void family_free(struct family *f)
{
    for (struct series *s = f->series, *next; s; s = next) {
        next = s->next;
        mem_free(s->labels);
        mem_free(s->value);
        mem_free(s);
    }
    mem_free(f->name);
    mem_free(f->help);
    mem_free(f);
}

void metrics_free(struct metrics *m)
{
    if (!m)
        return;
    for (struct family *f = m->families, *next; f; f = next) {
        next = f->next;
        family_free(f);
    }
    for (struct collector *c = m->collectors, *next; c; c = next) {
        next = c->next;
        mem_free(c);
    }
    mem_free(m);
}

/* --- histograms ----------------------------------------------------------- */

static size_t bucket_of(uint64_t v)
{
    const uint64_t below = v ? v - 1 : 0;
    if (below < HISTOGRAM_CUTS)
        return below;
    const unsigned power = 63 - (unsigned)__builtin_clzll(below);
    const size_t i = (power - 1) * HISTOGRAM_CUTS + ((below >> (power - 2)) & 3);
    return i < HISTOGRAM_BUCKETS ? i : HISTOGRAM_BUCKETS - 1;
}

static uint64_t bucket_end(size_t i)
{
    return i < HISTOGRAM_CUTS ? i + 1 : (uint64_t)(5 + i % 4) << (i / 4 - 1);
}

/* The number of buckets that end at 2^power or below. */
static size_t buckets_to(unsigned power)
{
    return power < 2 ? power + 1 : (power - 1) * HISTOGRAM_CUTS;
}

void histogram_add(struct histogram *h, uint64_t value)
{
    atomic_fetch_add_explicit(&h->buckets[bucket_of(value)], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&h->sum, value, memory_order_relaxed);
}

uint64_t histogram_count(const struct histogram *h)
{
    uint64_t n = 0;
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++)
        n += atomic_load_explicit(&h->buckets[i], memory_order_relaxed);
    return n;
}

uint64_t histogram_quantile(const struct histogram *h, double q)
{
    const double wanted = q * (double)histogram_count(h);
    uint64_t seen = 0, end = 0;
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        const uint64_t n = atomic_load_explicit(&h->buckets[i], memory_order_relaxed);
        if (!n)
            continue;
        seen += n;
        end = bucket_end(i);
        if ((double)seen >= wanted)
            break;
    }
    return end;
}

/* --- names and labels ----------------------------------------------------- */

static bool is_name(const char *s)
{
    for (size_t i = 0; s[i]; i++) {
        const char c = s[i];
        const bool letter =
            (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == ':';
        if (!letter && (i == 0 || c < '0' || c > '9'))
            return false;
    }
    return s[0] != 0;
}

/* Quotes only in label values. */
static void append_escaped(struct buf *b, const char *s, bool quotes)
{
    for (; *s; s++) {
        if (*s == '\n')
            buf_append_str(b, "\\n");
        else if (*s == '\\' || (quotes && *s == '"'))
            buf_append(b, (const char[]){'\\', *s}, 2);
        else
            buf_append(b, s, 1);
    }
}

static void append_labels(struct buf *b, const struct metric_label *labels, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        CHECK(is_name(labels[i].name));
        buf_printf(b, "%s%s=\"", i ? "," : "", labels[i].name);
        append_escaped(b, labels[i].value, true);
        buf_append_str(b, "\"");
    }
}

static char *labels_text(const struct metric_label *labels, size_t count)
{
    struct buf b = {0};
    append_labels(&b, labels, count);
    buf_append(&b, "", 1);
    return (char *)b.data;
}

/* --- registering ---------------------------------------------------------- */

static struct family *family(struct metrics *m, const char *name, const char *help,
                             enum metric_type type, double unit)
{
    for (struct family *f = m->families; f; f = f->next) {
        if (strcmp(f->name, name) != 0)
            continue;
        CHECK(f->type == type);
        return f;
    }
    CHECK(is_name(name));
    struct family *f = MEM_NEW(struct family);
    *f = (struct family){
        .name = mem_strdup(name), .help = mem_strdup(help), .type = type, .unit = unit};
    f->series_end = &f->series;
    *m->families_end = f;
    m->families_end = &f->next;
    return f;
}

static union value *add_series(struct family *f, size_t value_size,
                               const struct metric_label *labels, size_t label_count)
{
    struct series *s = MEM_NEW(struct series);
    s->labels = labels_text(labels, label_count);
    for (const struct series *other = f->series; other; other = other->next)
        CHECK(strcmp(other->labels, s->labels) != 0);
    s->value = mem_zalloc(value_size);
    *f->series_end = s;
    f->series_end = &s->next;
    return s->value;
}

struct counter *metrics_counter(struct metrics *m, const char *name, const char *help,
                                const struct metric_label *labels, size_t label_count)
{
    struct family *f = family(m, name, help, METRIC_COUNTER, 1);
    return &add_series(f, sizeof(struct counter), labels, label_count)->counter;
}

struct gauge *metrics_gauge(struct metrics *m, const char *name, const char *help,
                            const struct metric_label *labels, size_t label_count)
{
    struct family *f = family(m, name, help, METRIC_GAUGE, 1);
    return &add_series(f, sizeof(struct gauge), labels, label_count)->gauge;
}

struct histogram *metrics_histogram(struct metrics *m, const char *name, const char *help,
                                    double unit, const struct metric_label *labels,
                                    size_t label_count)
{
    struct family *f = family(m, name, help, METRIC_HISTOGRAM, unit);
    return &add_series(f, sizeof(struct histogram), labels, label_count)->histogram;
}

void metrics_add_collector(struct metrics *m, metrics_collect_fn *fn, void *arg)
{
    struct collector *c = MEM_NEW(struct collector);
    *c = (struct collector){.fn = fn, .arg = arg};
    *m->collectors_end = c;
    m->collectors_end = &c->next;
}

/* --- rendering ------------------------------------------------------------ */

static void append_family(struct buf *b, const char *name, enum metric_type type, const char *help)
{
    static const char *const types[] = {"counter", "gauge", "histogram"};
    buf_printf(b, "# HELP %s ", name);
    append_escaped(b, help, false);
    buf_printf(b, "\n# TYPE %s %s\n", name, types[type]);
}

/* name_suffix{labels,le="..."}, as much of it as there is, and a blank. */
static void append_series(struct buf *b, const char *name, const char *suffix, const char *labels,
                          const char *le)
{
    buf_printf(b, "%s%s", name, suffix);
    if (*labels || *le)
        buf_printf(b, "{%s%s%s%s%s}", labels, *labels && *le ? "," : "", *le ? "le=\"" : "", le,
                   *le ? "\"" : "");
    buf_append_str(b, " ");
}

static void append_bucket(struct buf *b, const char *name, const char *labels, double bound,
                          uint64_t cumulated)
{
    char le[32];
    snprintf(le, sizeof le, "%.10g", bound);
    append_series(b, name, "_bucket", labels, le);
    buf_printf(b, "%" PRIu64 "\n", cumulated);
}

static void append_sum_and_count(struct buf *b, const char *name, const char *labels, double sum,
                                 uint64_t count)
{
    append_series(b, name, "_bucket", labels, "+Inf");
    buf_printf(b, "%" PRIu64 "\n", count);
    append_series(b, name, "_sum", labels, "");
    buf_printf(b, "%.15g\n", sum);
    append_series(b, name, "_count", labels, "");
    buf_printf(b, "%" PRIu64 "\n", count);
}

static void append_histogram(struct buf *b, const struct family *f, const char *labels,
                             const struct histogram *h)
{
    uint64_t cumulated = 0;
    size_t i = 0;
    for (unsigned power = SHOWN_FIRST; power <= SHOWN_LAST; power++) {
        for (; i < buckets_to(power); i++)
            cumulated += atomic_load_explicit(&h->buckets[i], memory_order_relaxed);
        append_bucket(b, f->name, labels, (double)(UINT64_C(1) << power) * f->unit, cumulated);
    }
    for (; i < HISTOGRAM_BUCKETS; i++)
        cumulated += atomic_load_explicit(&h->buckets[i], memory_order_relaxed);
    const uint64_t sum = atomic_load_explicit(&h->sum, memory_order_relaxed);
    append_sum_and_count(b, f->name, labels, (double)sum * f->unit, cumulated);
}

static void append_value(struct buf *b, const struct family *f, const struct series *s)
{
    switch (f->type) {
    case METRIC_COUNTER:
        append_series(b, f->name, "", s->labels, "");
        buf_printf(b, "%" PRIu64 "\n",
                   (uint64_t)atomic_load_explicit(&s->value->counter.value, memory_order_relaxed));
        break;
    case METRIC_GAUGE:
        append_series(b, f->name, "", s->labels, "");
        buf_printf(b, "%" PRId64 "\n",
                   (int64_t)atomic_load_explicit(&s->value->gauge.value, memory_order_relaxed));
        break;
    case METRIC_HISTOGRAM:
        append_histogram(b, f, s->labels, &s->value->histogram);
        break;
    }
}

void metrics_render(struct metrics *m, struct buf *out)
{
    for (const struct family *f = m->families; f; f = f->next) {
        append_family(out, f->name, f->type, f->help);
        for (const struct series *s = f->series; s; s = s->next)
            append_value(out, f, s);
    }
    for (const struct collector *c = m->collectors; c; c = c->next) {
        struct metrics_page page = {.out = out};
        c->fn(c->arg, &page);
    }
}

void metrics_family(struct metrics_page *page, const char *name, enum metric_type type,
                    const char *help)
{
    CHECK(is_name(name));
    page->family = name;
    append_family(page->out, name, type, help);
}

void metrics_sample(struct metrics_page *page, const struct metric_label *labels,
                    size_t label_count, double value)
{
    CHECK(page->family);
    buf_append_str(page->out, page->family);
    if (label_count) {
        buf_append_str(page->out, "{");
        append_labels(page->out, labels, label_count);
        buf_append_str(page->out, "}");
    }
    buf_printf(page->out, " %.15g\n", value);
}

void metrics_sample_histogram(struct metrics_page *page, const struct metric_label *labels,
                              size_t label_count, const double *bounds, const uint64_t *counts,
                              size_t bound_count, double sum)
{
    CHECK(page->family);
    char *text = labels_text(labels, label_count);
    uint64_t cumulated = 0;
    for (size_t i = 0; i < bound_count; i++) {
        cumulated += counts[i];
        append_bucket(page->out, page->family, text, bounds[i], cumulated);
    }
    append_sum_and_count(page->out, page->family, text, sum, cumulated + counts[bound_count]);
    mem_free(text);
}
