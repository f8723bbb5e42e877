/* test_kernels --bench: the time of the slots at the shapes of real networks, beside the FMA peak of the moment.
 * One thread, in CPU time, so that a busy machine's other work counts only where it takes cache and memory.
 * Hot: the same weights again, the best of a few runs; cold: copies in turn, more than the caches hold, as a forward
 * pass reads them, the median. Products in GFLOP/s and per cent of the f32 FMA peak (bf16 and q8 may pass 100), small m
 * also in GB/s of weights. */
#ifndef VLM_TESTS_KERNELS_BENCH_H
#define VLM_TESTS_KERNELS_BENCH_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kernels/kernels.h"

enum { COLD_BYTES = 100 << 20 }; /* more than a last-level cache */

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* GFLOP/s of independent FMAs on registers, of the widest vectors that the table uses. */
#if defined(__x86_64__)
__attribute__((target("avx512f"))) static void fma_loop_512(size_t n)
{
    for (size_t i = 0; i < n; i++)
        __asm__ volatile("vfmadd231ps %%zmm0, %%zmm0, %%zmm1\n\tvfmadd231ps %%zmm0, %%zmm0, %%zmm2\n\t"
                         "vfmadd231ps %%zmm0, %%zmm0, %%zmm3\n\tvfmadd231ps %%zmm0, %%zmm0, %%zmm4\n\t"
                         "vfmadd231ps %%zmm0, %%zmm0, %%zmm5\n\tvfmadd231ps %%zmm0, %%zmm0, %%zmm6\n\t"
                         "vfmadd231ps %%zmm0, %%zmm0, %%zmm7\n\tvfmadd231ps %%zmm0, %%zmm0, %%zmm8\n\t"
                         "vfmadd231ps %%zmm0, %%zmm0, %%zmm9\n\tvfmadd231ps %%zmm0, %%zmm0, %%zmm10"
                         ::: "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10");
}

__attribute__((target("avx2,fma"))) static void fma_loop_256(size_t n)
{
    for (size_t i = 0; i < n; i++)
        __asm__ volatile("vfmadd231ps %%ymm0, %%ymm0, %%ymm1\n\tvfmadd231ps %%ymm0, %%ymm0, %%ymm2\n\t"
                         "vfmadd231ps %%ymm0, %%ymm0, %%ymm3\n\tvfmadd231ps %%ymm0, %%ymm0, %%ymm4\n\t"
                         "vfmadd231ps %%ymm0, %%ymm0, %%ymm5\n\tvfmadd231ps %%ymm0, %%ymm0, %%ymm6\n\t"
                         "vfmadd231ps %%ymm0, %%ymm0, %%ymm7\n\tvfmadd231ps %%ymm0, %%ymm0, %%ymm8\n\t"
                         "vfmadd231ps %%ymm0, %%ymm0, %%ymm9\n\tvfmadd231ps %%ymm0, %%ymm0, %%ymm10"
                         ::: "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10");
}
#endif

static double fma_peak(const vlm_kernels *kernels)
{
    double best = 0;
    for (int i = 0; i < 5; i++) {
        double start = seconds(), lanes = 0;
#if defined(__x86_64__)
        enum { N = 100000 };
        if (strncmp(kernels->isa, "avx512", 6) == 0) {
            fma_loop_512(N);
            lanes = 16;
        } else if (strcmp(kernels->isa, "avx2") == 0) {
            fma_loop_256(N);
            lanes = 8;
        }
        double speed = 2 * 10.0 * N * lanes / (seconds() - start) * 1e-9;
        best = speed > best ? speed : best;
#else
        (void)kernels, (void)start, (void)lanes;
#endif
    }
    return best;
}

static float *bench_values(size_t n)
{
    float *values = aligned_alloc(64, (n * sizeof *values + 63) / 64 * 64);
    if (!values) {
        fprintf(stderr, "test_kernels: no memory for %zu values\n", n);
        exit(2);
    }
    for (size_t i = 0; i < n; i++)
        values[i] = (float)(i * 2654435761u % 2001) / 1000.0f - 1.0f;
    return values;
}

typedef struct bench_product {
    const vlm_matmul_kernel *kernel;
    size_t m, n, k, copies, bytes; /* of packed weights */
    const float *x;
    const char *panels;
    void *prepared;
    float *y;
    vlm_epilogue epilogue;
} bench_product;

static void bench_run(const bench_product *b, size_t turn)
{
    const void *x = b->x;
    if (b->prepared) {
        b->kernel->prepare(b->prepared, b->x, b->k, b->m, b->k);
        x = b->prepared;
    }
    b->kernel->multiply(b->y, b->n, x, b->k, 1, b->panels + turn % b->copies * b->bytes, b->m, b->n, b->k, &b->epilogue);
}

static int compare_times(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static double time_of(const bench_product *b, bool cold)
{
    enum { MOST = 200 };
    double times[MOST], total = 0;
    size_t n = 0;
    while (n < 5 || (total < 0.06 && n < MOST)) {
        double start = seconds();
        bench_run(b, cold ? n : 0);
        times[n] = seconds() - start;
        total += times[n++];
    }
    qsort(times, n, sizeof *times, compare_times);
    return times[cold ? n / 2 : 0];
}

static void bench_shape(const vlm_kernels *kernels, vlm_dtype type, size_t n, size_t k)
{
    static const size_t ms[] = {1, 50, 257, 1600};
    const vlm_matmul_kernel *kernel = &kernels->matmul[type];
    bench_product b = {.kernel = kernel, .n = n, .k = k};
    b.bytes = (n + kernel->panel - 1) / kernel->panel * kernel->panel_bytes(k);
    b.copies = COLD_BYTES / b.bytes + 1;
    char *panels = aligned_alloc(64, b.copies * b.bytes);
    float *w = bench_values(n * k), *bias = bench_values(n);
    if (!panels)
        exit(2);
    double pack_time = 1e9, transposed_time = 1e9;
    for (size_t i = 0; i < b.copies || i < 3; i++) {
        double start = seconds();
        kernel->pack(panels + i % b.copies * b.bytes, w, VLM_F32, k, 1, n, k);
        double middle = seconds();
        if (i < 3)
            kernel->pack(panels + i % b.copies * b.bytes, w, VLM_F32, 1, n, n, k);
        double end = seconds();
        if (i && middle - start < pack_time) /* the first touches fresh pages */
            pack_time = middle - start;
        if (i && i < 3 && end - middle < transposed_time)
            transposed_time = end - middle;
    }
    double read = (double)(n * k * sizeof *w) * 1e-9;
    printf("%-4s n %5zu k %5zu  pack %5.1f GB/s of f32, from the transpose %5.1f\n", vlm_dtype_name(type), n, k, read / pack_time,
           read / transposed_time);
    b.panels = panels;
    for (size_t i = 0; i < sizeof ms / sizeof *ms; i++) {
        b.m = ms[i];
        float *x = bench_values(b.m * k);
        b.x = x;
        b.y = bench_values(b.m * n);
        b.prepared = kernel->prepare ? aligned_alloc(64, b.m * kernel->prepared_bytes(k)) : NULL;
        b.epilogue = (vlm_epilogue){.bias = bias};
        double work = 2e-9 * (double)b.m * (double)n * (double)k, peak = fma_peak(kernels);
        double hot = work / time_of(&b, false), cold = work / time_of(&b, true);
        printf("  m %4zu  peak %4.0f  hot %7.1f GFLOP/s %4.0f %%  cold %7.1f %4.0f %%  %5.1f GB/s\n", b.m, peak, hot,
               100 * hot / peak, cold, 100 * cold / peak, (double)b.bytes * cold / work * 1e-9);
        fflush(stdout);
        free(b.prepared);
        free(b.y);
        free(x);
    }
    free(panels);
    free(w);
    free(bias);
}

/* Values a nanosecond, best of 20, on data that the caches hold. */
static void bench_report(const char *slot, size_t n, double best)
{
    printf("%-22s %6.2f values/ns\n", slot, (double)n / best * 1e-9);
}

#define BENCH(slot, n, call)                              \
    do {                                                  \
        double best = 1e9;                                \
        for (int i = 0; i < 20; i++) {                    \
            double start = seconds();                     \
            call;                                         \
            double time = seconds() - start;              \
            best = time < best ? time : best;             \
        }                                                 \
        bench_report(slot, n, best);                      \
    } while (0)

static void bench_rows_and_vectors(const vlm_kernels *kernels)
{
    enum { ROWS = 50, N = 768, ALL = ROWS * N };
    static const char *names[VLM_ACTIVATIONS] = {"none", "gelu", "gelu_tanh", "quick_gelu", "relu", "silu", "tanh"};
    float *x = bench_values(ALL), *y = bench_values(ALL), *z = bench_values(ALL), *gain = bench_values(N);
    float *mean = bench_values(ROWS), *rstd = bench_values(ROWS), *v = bench_values(ALL);
    for (size_t i = 0; i < ALL; i++)
        v[i] = fabsf(v[i]);
    BENCH("layernorm", ALL, kernels->layernorm(y, x, gain, gain, 1e-5f, ROWS, N, mean, rstd));
    BENCH("layernorm_backward", ALL, kernels->layernorm_backward(y, gain, gain, x, z, gain, mean, rstd, ROWS, N));
    BENCH("rmsnorm", ALL, kernels->rmsnorm(y, x, gain, 1e-5f, ROWS, N));
    BENCH("softmax, rows of 50", ALL, kernels->softmax(y, ALL / 50, 50, 50, 0.125f));
    BENCH("softmax_backward", ALL, kernels->softmax_backward(y, x, ALL / 50, 50, 50, 0.125f));
    for (int kind = 1; kind < VLM_ACTIVATIONS; kind++) {
        BENCH(names[kind], ALL, kernels->activate(y, x, ALL, (vlm_activation)kind));
        BENCH("  backward", ALL, kernels->activate_backward(y, x, z, ALL, (vlm_activation)kind));
    }
    BENCH("add", ALL, kernels->add(y, x, z, ALL));
    BENCH("axpy", ALL, kernels->axpy(y, 1e-3f, x, ALL));
    BENCH("sum_squares", ALL, y[0] = (float)kernels->sum_squares(x, ALL));
    BENCH("f16_to_f32", ALL, kernels->f16_to_f32(y, x, ALL));
    BENCH("f32_to_bf16", ALL, kernels->f32_to_bf16(y, x, ALL));
    BENCH("adamw", ALL, kernels->adamw(x, y, v, z, ALL, 1, 1e-3f, 0.9f, 0.98f, 1e-6f, 0.1f, 0.1f, 0.02f));
    free(x), free(y), free(z), free(gain), free(mean), free(rstd), free(v);
}

/* type NULL: all. */
static void bench_all(const vlm_kernels *kernels, const char *type)
{
    static const size_t shapes[][2] = {{768, 768},   {2304, 768},  {3072, 768},  {768, 3072},
                                       {1408, 1408}, {2560, 2560}, {10240, 2560}};
    printf("isa %s\n", kernels->isa);
    if (!type)
        bench_rows_and_vectors(kernels);
    for (vlm_dtype t = VLM_F32; t <= VLM_Q8; t++)
        for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
            if (!type || strcmp(type, vlm_dtype_name(t)) == 0)
                bench_shape(kernels, t, shapes[i][0], shapes[i][1]);
}

#endif
