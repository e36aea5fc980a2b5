/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/net/exec.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>

#include "proto/base/check.h"
#include "proto/base/mem.h"

enum { THREAD_NAME = 16 }; /* the kernel's, with its NUL */

/* Signals are for the thread that main runs; ours inherit a mask without any. */
static pthread_t start(void *(*fn)(void *), void *arg, const char *name)
{
    char short_name[THREAD_NAME];
    sigset_t all, before;
    pthread_t thread;
    sigfillset(&all);
    CHECK(pthread_sigmask(SIG_SETMASK, &all, &before) == 0);
    const int failed = pthread_create(&thread, NULL, fn, arg);
    CHECK(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
    CHECK(!failed);
    snprintf(short_name, sizeof short_name, "%s", name);
    pthread_setname_np(thread, short_name);
    return thread;
}

/* --- workers -------------------------------------------------------------- */

struct pool {
    struct exec base;
    pthread_mutex_t lock; /* guards the next five */
    pthread_cond_t wanted;
    struct mail *first, **end; /* jobs, through their mail */
    unsigned sleeping;
    bool stopping;
    atomic_size_t backlog;
    unsigned thread_count;
    pthread_t threads[];
};

static struct exec_job *job_of(struct mail *m)
{
    return (struct exec_job *)((char *)m - offsetof(struct exec_job, mail));
}

/* The next job, NULL when there will be none. */
static struct exec_job *next_job(struct pool *p)
{
    pthread_mutex_lock(&p->lock);
    while (!p->first && !p->stopping) {
        p->sleeping++;
        pthread_cond_wait(&p->wanted, &p->lock);
        p->sleeping--;
    }
    struct mail *m = p->first;
    if (m) {
        p->first = m->next;
        if (!p->first)
            p->end = &p->first;
    }
    pthread_mutex_unlock(&p->lock);
    return m ? job_of(m) : NULL;
}

static void *work(void *arg)
{
    struct pool *p = arg;
    for (struct exec_job *job; (job = next_job(p));) {
        job->run(job);
        atomic_fetch_sub(&p->backlog, 1);
        exec_job_finish(job);
    }
    return NULL;
}

static void pool_submit(struct exec *e, struct exec_job *job)
{
    struct pool *p = (struct pool *)e;
    job->mail.next = NULL;
    atomic_fetch_add(&p->backlog, 1);
    pthread_mutex_lock(&p->lock);
    CHECK(!p->stopping);
    *p->end = &job->mail;
    p->end = &job->mail.next;
    const bool wake = p->sleeping > 0;
    pthread_mutex_unlock(&p->lock);
    if (wake)
        pthread_cond_signal(&p->wanted);
}

static size_t pool_backlog(const struct exec *e)
{
    return atomic_load(&((const struct pool *)e)->backlog);
}

static void pool_free(struct exec *e)
{
    struct pool *p = (struct pool *)e;
    pthread_mutex_lock(&p->lock);
    p->stopping = true;
    pthread_mutex_unlock(&p->lock);
    pthread_cond_broadcast(&p->wanted);
    for (unsigned i = 0; i < p->thread_count; i++)
        CHECK(pthread_join(p->threads[i], NULL) == 0);
    CHECK(!p->first);
    pthread_cond_destroy(&p->wanted);
    pthread_mutex_destroy(&p->lock);
    mem_free(p);
}

struct exec *exec_new(const char *name, unsigned threads)
{
    static const struct exec_ops ops = {pool_submit, pool_backlog, pool_free};
    CHECK(threads >= 1);
    struct pool *p = mem_zalloc(sizeof *p + threads * sizeof *p->threads);
    p->base.ops = &ops;
    p->end = &p->first;
    CHECK(pthread_mutex_init(&p->lock, NULL) == 0);
    CHECK(pthread_cond_init(&p->wanted, NULL) == 0);
    for (; p->thread_count < threads; p->thread_count++)
        p->threads[p->thread_count] = start(work, p, name);
    return &p->base;
}

/* --- the door ------------------------------------------------------------- */

void exec_free(struct exec *e)
{
    if (e)
        e->ops->free(e);
}

void exec_submit(struct exec *e, struct exec_job *job)
{
    e->ops->submit(e, job);
}

size_t exec_backlog(const struct exec *e)
{
    return e->ops->backlog(e);
}

static void on_finished(struct mail *m)
{
    struct exec_job *job = job_of(m);
    job->done(job);
}

void exec_job_finish(struct exec_job *job)
{
    job->mail.fn = on_finished;
    loop_post(job->home, &job->mail);
}

/* --- threads of loops ----------------------------------------------------- */

struct loop_thread {
    struct loop *l;
    pthread_t thread;
};

static void *run_loop(void *arg)
{
    loop_run(arg);
    return NULL;
}

struct loop_thread *loop_thread_start(struct loop *l)
{
    struct loop_thread *t = MEM_NEW(struct loop_thread);
    t->l = l;
    t->thread = start(run_loop, l, loop_name(l));
    return t;
}

void loop_thread_stop(struct loop_thread *t)
{
    if (!t)
        return;
    loop_stop(t->l);
    CHECK(pthread_join(t->thread, NULL) == 0);
    mem_free(t);
}
