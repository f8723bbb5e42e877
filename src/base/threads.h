/* One pool of threads, made once. Work is cut into tasks by size alone, never by the number of threads,
 * so that results do not depend on it. */
#ifndef VLM_BASE_THREADS_H
#define VLM_BASE_THREADS_H

#include <stddef.h>

#include "vlm/error.h"

typedef struct vlm_threads vlm_threads;

/* One call of a task: index counts 0..n_tasks-1 in no fixed order; thread is 0..n_threads-1, for scratch. */
typedef void vlm_task(void *argument, size_t index, size_t thread);

/* n_threads 0: as many as the process may run on (its affinity). The caller is thread 0. */
vlm_status vlm_threads_create(vlm_threads **threads, size_t n_threads, vlm_error *error);
void vlm_threads_free(vlm_threads *threads);
size_t vlm_threads_count(const vlm_threads *threads);

/* Run tasks 0..n_tasks-1 and return when all are done. NULL threads: in this thread. Not reentrant: a
 * task must not call it with the same pool; two callers at once are serialised. */
void vlm_threads_run(vlm_threads *threads, size_t n_tasks, vlm_task *task, void *argument);

#endif
