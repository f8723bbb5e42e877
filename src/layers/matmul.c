/* The one way to multiply: y[m, n] = x[m, k] * w[n, k]^T with w in panels, split over the pool.
 * An element is one chain of sums over k whatever the split (kernels.h), so the cut may follow the shape and
 * the number of threads without changing a bit.
 * Trap: with few rows the work is reading w, so tasks are cut by panels only; with many rows it is
 * arithmetic, so both are cut and a task's rows of x stay in the second cache. */
#include "layers/ops.h"

enum { ROWS_IN_CACHE = 168, TASKS_PER_THREAD = 4, PREPARED_TOGETHER = 16 };

typedef struct matmul_job {
    const vlm_matmul_kernel *kernel;
    float *y;
    size_t ldy;
    const char *x;
    size_t x_row, x_k, x_row_bytes; /* x_row_bytes: from one row to the next */
    const char *panels;
    size_t panel_bytes, m, n, k, block_m, block_n, blocks_m;
    const vlm_epilogue *epilogue;
} matmul_job;

static void multiply_block(void *argument, size_t index, size_t thread)
{
    (void)thread;
    const matmul_job *job = argument;
    size_t row = index % job->blocks_m * job->block_m, column = index / job->blocks_m * job->block_n;
    size_t rows = job->m - row < job->block_m ? job->m - row : job->block_m;
    size_t columns = job->n - column < job->block_n ? job->n - column : job->block_n;
    vlm_epilogue epilogue = {0};
    if (job->epilogue) {
        epilogue = *job->epilogue;
        if (epilogue.bias)
            epilogue.bias += column;
        if (epilogue.residual)
            epilogue.residual += row * epilogue.ld_residual + column;
    }
    job->kernel->multiply(job->y + row * job->ldy + column, job->ldy, job->x + row * job->x_row_bytes, job->x_row,
                          job->x_k, job->panels + column / job->kernel->panel * job->panel_bytes, rows, columns, job->k, &epilogue);
}

typedef struct prepare_job {
    const vlm_matmul_kernel *kernel;
    char *prepared;
    const float *x;
    size_t x_row, x_k, k, row_bytes;
    float *rows; /* per thread [PREPARED_TOGETHER, k], where x is not contiguous along k; else NULL */
} prepare_job;

/* out [n, k] contiguous, from values in any order; by squares, so that both sides use whole cache lines. */
static void collect_rows(float *out, const float *x, size_t x_row, size_t x_k, size_t n, size_t k)
{
    for (size_t first = 0; first < k; first += PREPARED_TOGETHER) {
        size_t last = k - first < PREPARED_TOGETHER ? k : first + PREPARED_TOGETHER;
        for (size_t i = 0; i < n; i++)
            for (size_t j = first; j < last; j++)
                out[i * k + j] = x[i * x_row + j * x_k];
    }
}

static void prepare_rows(void *argument, size_t first, size_t last, size_t thread)
{
    const prepare_job *job = argument;
    const float *x = job->x + first * job->x_row;
    size_t ldx = job->x_row;
    if (job->rows) {
        float *rows = job->rows + thread * PREPARED_TOGETHER * job->k;
        collect_rows(rows, x, job->x_row, job->x_k, last - first, job->k);
        x = rows;
        ldx = job->k;
    }
    job->kernel->prepare(job->prepared + first * job->row_bytes, x, ldx, last - first, job->k);
}

/* The rows of x as the kernel wants them, in the pass's memory; NULL when measuring or failed. */
static char *prepare(vlm_context *context, const vlm_matmul_kernel *kernel, const float *x, size_t x_row, size_t x_k, size_t m, size_t k)
{
    prepare_job job = {kernel, NULL, x, x_row, x_k, k, kernel->prepared_bytes(k), NULL};
    job.prepared = vlm_context_bytes(context, m * job.row_bytes);
    if (x_k != 1)
        job.rows = vlm_context_floats(context, vlm_threads_count(context->threads) * PREPARED_TOGETHER * k);
    if (!vlm_context_idle(context))
        vlm_parallel(context, m, job.rows ? PREPARED_TOGETHER : 64, prepare_rows, &job);
    return job.prepared;
}

static size_t divide_up(size_t a, size_t b)
{
    return (a + b - 1) / b;
}

void vlm_matmul(vlm_context *context, float *y, size_t ldy, const float *x, size_t x_row, size_t x_k, vlm_dtype type,
                const void *panels, size_t m, size_t n, size_t k, const vlm_epilogue *epilogue)
{
    if (vlm_context_failed(context) || !m || !n)
        return;
    const vlm_matmul_kernel *kernel = &context->kernels->matmul[type];
    matmul_job job = {kernel, y, ldy, (const char *)x, x_row, x_k, x_row * sizeof(float), panels, kernel->panel_bytes(k), m, n, k,
                      .epilogue = epilogue};
    vlm_scope scope = vlm_scope_open(context);
    if (kernel->prepare) {
        job.x_row_bytes = kernel->prepared_bytes(k);
        job.x = prepare(context, kernel, x, x_row, x_k, m, k);
    }
    if (!vlm_context_idle(context)) {
        size_t threads = vlm_threads_count(context->threads), n_panels = divide_up(n, kernel->panel);
        job.blocks_m = divide_up(m, ROWS_IN_CACHE);
        job.block_m = divide_up(m, job.blocks_m);
        job.blocks_m = divide_up(m, job.block_m);
        size_t wanted = divide_up(threads > 1 ? threads * TASKS_PER_THREAD : 1, job.blocks_m);
        size_t group = divide_up(n_panels, wanted);
        if (group > 4)
            group = divide_up(group, 4) * 4; /* kernels read several panels side by side when rows are few */
        if (job.blocks_m > 1 && group > 8)
            group = 8;
        job.block_n = group * kernel->panel;
        vlm_threads_run(context->threads, job.blocks_m * divide_up(n_panels, group), multiply_block, &job);
    }
    vlm_scope_close(context, scope);
}

size_t vlm_packed_bytes(const vlm_kernels *kernels, vlm_dtype type, size_t n, size_t k)
{
    const vlm_matmul_kernel *kernel = &kernels->matmul[type];
    return divide_up(n, kernel->panel) * kernel->panel_bytes(k);
}

typedef struct pack_job {
    const vlm_matmul_kernel *kernel;
    char *panels;
    const float *w;
    size_t row_stride, k_stride, n, k;
} pack_job;

static void pack_panels(void *argument, size_t first, size_t last, size_t thread)
{
    (void)thread;
    const pack_job *job = argument;
    size_t row = first * job->kernel->panel, end = last * job->kernel->panel;
    job->kernel->pack(job->panels + first * job->kernel->panel_bytes(job->k), job->w + row * job->row_stride, VLM_F32,
                      job->row_stride, job->k_stride, (end < job->n ? end : job->n) - row, job->k);
}

void *vlm_pack(vlm_context *context, vlm_dtype type, const float *w, size_t row_stride, size_t k_stride, size_t n, size_t k)
{
    const vlm_matmul_kernel *kernel = &context->kernels->matmul[type];
    char *panels = vlm_context_bytes(context, vlm_packed_bytes(context->kernels, type, n, k));
    if (!panels)
        return NULL;
    pack_job job = {kernel, panels, w, row_stride, k_stride, n, k};
    size_t n_panels = divide_up(n, kernel->panel);
    vlm_parallel(context, n_panels, divide_up(n_panels, 8), pack_panels, &job);
    return panels;
}
