/* One pool of threads. A forward pass makes a hundred short dispatches with a few microseconds between
 * them, so that workers spin for a moment before they sleep; tasks are taken from one atomic counter.
 * Trap: a worker that wakes late must not take tasks of the next dispatch with the old function, so each
 * dispatch waits until every worker that entered has left. */
#define _GNU_SOURCE
#include "base/threads.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/memory.h"

enum { SPIN_NANOSECONDS = 60000, MOST_THREADS = 1024 };

struct vlm_threads {
    pthread_mutex_t caller; /* one dispatch at a time */
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_t *workers;
    size_t n_workers; /* threads beside the caller */
    size_t sleeping;  /* guarded by lock */
    atomic_bool stop;
    atomic_uint generation; /* counts dispatches */
    atomic_size_t running;  /* workers that have not finished this generation */
    atomic_size_t next;     /* next task */
    size_t n_tasks;
    vlm_task *task;
    void *argument;
};

typedef struct worker_start {
    vlm_threads *threads;
    size_t thread;
} worker_start;

static inline void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static long long now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void take_tasks(vlm_threads *threads, size_t thread)
{
    size_t i;
    while ((i = atomic_fetch_add_explicit(&threads->next, 1, memory_order_relaxed)) < threads->n_tasks)
        threads->task(threads->argument, i, thread);
}

/* Wait for a generation other than `seen`: spin, then sleep. */
static unsigned wait_for_work(vlm_threads *threads, unsigned seen)
{
    long long until = now_ns() + SPIN_NANOSECONDS;
    unsigned generation;
    do {
        for (int i = 0; i < 64; i++) {
            generation = atomic_load_explicit(&threads->generation, memory_order_acquire);
            if (generation != seen)
                return generation;
            relax();
        }
    } while (now_ns() < until);
    pthread_mutex_lock(&threads->lock);
    threads->sleeping++;
    while ((generation = atomic_load_explicit(&threads->generation, memory_order_acquire)) == seen)
        pthread_cond_wait(&threads->wake, &threads->lock);
    threads->sleeping--;
    pthread_mutex_unlock(&threads->lock);
    return generation;
}

static void *work(void *argument)
{
    worker_start start = *(worker_start *)argument;
    free(argument);
    unsigned seen = 0;
    for (;;) {
        seen = wait_for_work(start.threads, seen);
        if (atomic_load(&start.threads->stop))
            return NULL;
        take_tasks(start.threads, start.thread);
        atomic_fetch_sub_explicit(&start.threads->running, 1, memory_order_release);
    }
}

static void announce(vlm_threads *threads)
{
    pthread_mutex_lock(&threads->lock);
    atomic_fetch_add_explicit(&threads->generation, 1, memory_order_release);
    if (threads->sleeping)
        pthread_cond_broadcast(&threads->wake);
    pthread_mutex_unlock(&threads->lock);
}

void vlm_threads_run(vlm_threads *threads, size_t n_tasks, vlm_task *task, void *argument)
{
    if (!threads || threads->n_workers == 0 || n_tasks <= 1) {
        for (size_t i = 0; i < n_tasks; i++)
            task(argument, i, 0);
        return;
    }
    pthread_mutex_lock(&threads->caller);
    threads->n_tasks = n_tasks;
    threads->task = task;
    threads->argument = argument;
    atomic_store_explicit(&threads->next, 0, memory_order_relaxed);
    atomic_store_explicit(&threads->running, threads->n_workers, memory_order_relaxed);
    announce(threads);
    take_tasks(threads, 0);
    for (unsigned i = 0; atomic_load_explicit(&threads->running, memory_order_acquire) != 0; i++) {
        if (i < 4096)
            relax();
        else
            sched_yield(); /* more threads than cores: let the late one run */
    }
    pthread_mutex_unlock(&threads->caller);
}

static size_t usable_cpus(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) {
        int n = CPU_COUNT(&set);
        if (n > 0)
            return (size_t)n;
    }
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (size_t)n : 1;
}

vlm_status vlm_threads_create(vlm_threads **out, size_t n_threads, vlm_error *error)
{
    *out = NULL;
    if (n_threads > MOST_THREADS)
        return vlm_fail(error, VLM_ERR_ARGUMENT, "%zu threads: at most %d are allowed", n_threads, MOST_THREADS);
    if (n_threads == 0)
        n_threads = usable_cpus();
    vlm_threads *threads = vlm_alloc_zero(1, sizeof *threads);
    if (!threads)
        return vlm_fail_memory(error, sizeof *threads, "the thread pool");
    pthread_mutex_init(&threads->caller, NULL);
    pthread_mutex_init(&threads->lock, NULL);
    pthread_cond_init(&threads->wake, NULL);
    threads->workers = vlm_alloc(n_threads, sizeof *threads->workers);
    vlm_status status = threads->workers ? VLM_OK : vlm_fail_memory(error, n_threads * sizeof(pthread_t), "the thread pool");
    for (size_t i = 1; i < n_threads && status == VLM_OK; i++) {
        worker_start *start = vlm_alloc(1, sizeof *start);
        if (!start) {
            status = vlm_fail_memory(error, sizeof *start, "the thread pool");
            break;
        }
        *start = (worker_start){threads, i};
        if (pthread_create(&threads->workers[threads->n_workers], NULL, work, start) != 0) {
            free(start);
            status = vlm_fail(error, VLM_ERR_MEMORY, "cannot start thread %zu of %zu; try fewer with --threads", i + 1, n_threads);
        } else {
            threads->n_workers++;
        }
    }
    if (status != VLM_OK) {
        vlm_threads_free(threads);
        return status;
    }
    *out = threads;
    return VLM_OK;
}

void vlm_threads_free(vlm_threads *threads)
{
    if (!threads)
        return;
    atomic_store(&threads->stop, true);
    announce(threads);
    for (size_t i = 0; i < threads->n_workers; i++)
        pthread_join(threads->workers[i], NULL);
    free(threads->workers);
    pthread_cond_destroy(&threads->wake);
    pthread_mutex_destroy(&threads->lock);
    pthread_mutex_destroy(&threads->caller);
    free(threads);
}

size_t vlm_threads_count(const vlm_threads *threads)
{
    return threads ? threads->n_workers + 1 : 1;
}
