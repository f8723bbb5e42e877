/* The harness of the kernels: every slot of every ISA that this CPU runs, against the C reference.
 *
 *   test_kernels                 check; says which ISAs ran and which could not; exit 1 on a difference
 *   test_kernels --bench [TYPE]  time the slots at the shapes of real networks instead (of another ISA: VLM_ISA=name)
 *
 * Sizes are odd on purpose and derive from the panel. Inputs end at a page without access, outputs lie between NaN
 * margins, so that a stray read or write is seen. Needs nothing but src/kernels and libc, so that it also runs in an
 * emulator (check_neon.sh). Random numbers come from a printed seed: test_kernels --seed N tries others. */
#define _GNU_SOURCE
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"
#include "kernels/kernels.h"

/* --- memory that notices ---------------------------------------------------------------------------------- */

enum { MARGIN = 64, MAX_BLOCKS = 64 };

typedef struct block {
    void *pages;
    size_t size;
} block;

static block blocks[MAX_BLOCKS];
static size_t n_blocks;

/* `bytes` that end right before a page that cannot be touched. */
static void *guarded(size_t bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), size = (bytes + page - 1) / page * page + page;
    char *pages = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED || n_blocks == MAX_BLOCKS || mprotect(pages + size - page, page, PROT_NONE) != 0) {
        fprintf(stderr, "test_kernels: no memory for %zu bytes\n", bytes);
        exit(2);
    }
    blocks[n_blocks++] = (block){pages, size};
    return pages + size - page - bytes;
}

static void release_all(void)
{
    while (n_blocks) {
        n_blocks--;
        munmap(blocks[n_blocks].pages, blocks[n_blocks].size);
    }
}

static float margin_value(void)
{
    uint32_t bits = 0x7fc0da7a; /* a quiet NaN that no arithmetic makes */
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static void fill_margin(float *values, size_t n)
{
    for (size_t i = 0; i < n; i++)
        values[i] = margin_value();
}

static bool is_margin(const float *values, size_t n)
{
    float wanted = margin_value();
    for (size_t i = 0; i < n; i++)
        if (memcmp(&values[i], &wanted, sizeof wanted) != 0)
            return false;
    return true;
}

/* n floats between margins, all of them the margin's NaN; the end of the second margin is guarded too. */
static __attribute__((noinline)) float *output(size_t n)
{
    float *values = guarded((MARGIN + n + MARGIN) * sizeof *values);
    fill_margin(values, MARGIN + n + MARGIN);
    return values + MARGIN;
}

static bool output_margins_intact(const float *values, size_t n)
{
    return is_margin(values - MARGIN, MARGIN) && is_margin(values + n, MARGIN);
}

/* --- random numbers and verdicts ---------------------------------------------------------------------------- */

static uint64_t random_state;

static uint32_t random_u32(void)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    uint32_t x = (uint32_t)(random_state >> 33);
    return x ^ x >> 15;
}

static float random_float(void)
{
    return (float)(random_u32() & 0xffffff) / 0x1p23f - 1.0f;
}

static float *random_input(size_t n, float size)
{
    float *values = guarded(n * sizeof *values);
    for (size_t i = 0; i < n; i++)
        values[i] = size * random_float();
    return values;
}

static const char *isa;
static size_t n_failures, n_checks;

static void verdict(bool good, const char *slot, const char *what, size_t a, size_t b, size_t c)
{
    n_checks++;
    if (good)
        return;
    if (n_failures++ < 40)
        printf("FAIL %s %s: %s (%zu, %zu, %zu)\n", isa, slot, what, a, b, c);
}

/* |got - wanted| <= relative * |wanted| + absolute; NaN equals NaN, and infinities are equal by sign. */
static bool near(float got, float wanted, double relative, double absolute)
{
    if (isnan(wanted) || isnan(got))
        return isnan(wanted) && isnan(got);
    if (isinf(wanted) || isinf(got))
        return got == wanted;
    return fabs((double)got - wanted) <= relative * fabs((double)wanted) + absolute;
}

static bool all_near(const float *got, const float *wanted, size_t n, double relative, double absolute)
{
    for (size_t i = 0; i < n; i++) {
        if (!near(got[i], wanted[i], relative, absolute)) {
            printf("  at %zu of %zu: got %.9g, wanted %.9g\n", i, n, (double)got[i], (double)wanted[i]);
            return false;
        }
    }
    return true;
}

static bool same_bits(const void *a, const void *b, size_t bytes)
{
    return memcmp(a, b, bytes) == 0;
}

/* --- products ------------------------------------------------------------------------------------------------ */

static const vlm_kernels *reference;

static const vlm_dtype product_types[] = {VLM_F32, VLM_F16, VLM_BF16, VLM_Q8};

static size_t panels_bytes(const vlm_matmul_kernel *kernel, size_t n, size_t k)
{
    return (n + kernel->panel - 1) / kernel->panel * kernel->panel_bytes(k);
}

/* Value (row, j) of w[n, k] stands at element row * row_stride + j * k_stride of values[size], of type `type`. */
typedef struct stored_matrix {
    void *values;
    vlm_dtype type;
    size_t row_stride, k_stride;
} stored_matrix;

/* w as a type in one of three orders: rows, columns, or with gaps in both directions. Odd address: files are so. */
static stored_matrix store_matrix(const float *w, size_t n, size_t k, vlm_dtype type, int order)
{
    stored_matrix m = {NULL, type, order == 0 ? k : order == 1 ? 1 : 2 * k + 3, order == 0 ? 1 : order == 1 ? n : 2};
    size_t size = vlm_dtype_size(type), count = n && k ? (n - 1) * m.row_stride + (k - 1) * m.k_stride + 1 : 0;
    m.values = guarded(count * size + 1);
    memset(m.values, 0xff, count * size + 1);
    m.values = (char *)m.values + 1;
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < k; j++) {
            char *at = (char *)m.values + (i * m.row_stride + j * m.k_stride) * size;
            uint16_t half = type == VLM_F16 ? vlm_f32_to_f16(w[i * k + j]) : vlm_f32_to_bf16(w[i * k + j]);
            memcpy(at, type == VLM_F32 ? (const void *)&w[i * k + j] : &half, size);
        }
    }
    return m;
}

static void *pack(const vlm_matmul_kernel *kernel, const stored_matrix *m, size_t n, size_t k)
{
    void *panels = guarded(panels_bytes(kernel, n, k));
    memset(panels, 0xa5, panels_bytes(kernel, n, k));
    kernel->pack(panels, m->values, m->type, m->row_stride, m->k_stride, n, k);
    return panels;
}

static void *pack_f32(const vlm_matmul_kernel *kernel, const float *w, size_t n, size_t k)
{
    stored_matrix m = {(void *)w, VLM_F32, k, 1};
    return pack(kernel, &m, n, k);
}

/* x as the kernel wants it: prepared when it has a prepare slot, itself otherwise. */
static const void *prepare(const vlm_matmul_kernel *kernel, const float *x, size_t m, size_t k)
{
    if (!kernel->prepare)
        return x;
    void *prepared = guarded(m * kernel->prepared_bytes(k));
    memset(prepared, 0xa5, m * kernel->prepared_bytes(k));
    kernel->prepare(prepared, x, k, m, k);
    return prepared;
}

static void check_pack(const vlm_kernels *kernels, vlm_dtype type, size_t n, size_t k)
{
    const vlm_matmul_kernel *kernel = &kernels->matmul[type], *ref = &reference->matmul[type];
    const char *slot = vlm_dtype_name(type);
    static const vlm_dtype sources[] = {VLM_F32, VLM_F16, VLM_BF16};
    verdict(kernel->panel_bytes(k) % 64 == 0, slot, "panel_bytes is no multiple of 64", n, k, 0);
    for (size_t s = 0; s < 3; s++) {
        float *w = random_input(n * k, 2.0f);
        stored_matrix rows = store_matrix(w, n, k, sources[s], 0), columns = store_matrix(w, n, k, sources[s], 1);
        stored_matrix gaps = store_matrix(w, n, k, sources[s], 2);
        void *a = pack(kernel, &rows, n, k), *b = pack(kernel, &columns, n, k), *c = pack(kernel, &gaps, n, k);
        size_t bytes = panels_bytes(kernel, n, k);
        verdict(same_bits(a, b, bytes) && same_bits(a, c, bytes), slot, "pack differs between orders (n, k, source)", n, k,
                sources[s]);
        void *r = pack(ref, &rows, n, k);
        bool equal = true;
        for (size_t i = 0; i < n; i++) {
            float *got = output(k), *wanted = guarded(k * sizeof(float));
            kernel->unpack_row(got, a, i, k);
            ref->unpack_row(wanted, r, i, k);
            equal = equal && same_bits(got, wanted, k * sizeof(float)) && output_margins_intact(got, k);
            n_blocks -= 2; /* these two alone: a row a time would fill the list */
            for (size_t f = 0; f < 2; f++)
                munmap(blocks[n_blocks + f].pages, blocks[n_blocks + f].size);
        }
        verdict(equal, slot, "unpack_row differs from C (n, k, source)", n, k, sources[s]);
        release_all();
    }
}

static vlm_epilogue some_epilogue(size_t which, const float *bias, const float *residual, size_t ld)
{
    return (vlm_epilogue){.bias = which & 1 ? bias : NULL,
                          .residual = which & 2 ? residual : NULL,
                          .ld_residual = ld,
                          .activation = (vlm_activation)(which / 4 % VLM_ACTIVATIONS),
                          .accumulate = which / 4 / VLM_ACTIVATIONS % 2};
}

/* Every sum is a chain of k roundings, so it is at most k * 2^-24 * sum |x w| off, in C and in the ISA; activations
 * have slopes up to 1.13 and add 1e-6 of their own. */
static double product_tolerance(const float *x, const float *w, size_t k)
{
    double size = 0;
    for (size_t j = 0; j < k; j++)
        size += fabs((double)x[j] * w[j]);
    return 2.5 * (double)(k + 8) * 0x1p-24 * size + 2e-6;
}

static void check_product(const vlm_kernels *kernels, vlm_dtype type, size_t m, size_t n, size_t k, size_t which)
{
    const vlm_matmul_kernel *kernel = &kernels->matmul[type], *ref = &reference->matmul[type];
    const size_t ld = n + 5;
    float *x = random_input(m * k, 1.5f), *w = random_input(n * k, 0.5f), *bias = random_input(n, 1.0f);
    float *residual = random_input(m ? (m - 1) * ld + n : 0, 1.0f), *start = random_input(m * ld, 1.0f);
    if (type == VLM_BF16 && kernel->prepare) /* x is rounded there; C takes it as it is */
        for (size_t i = 0; i < m * k; i++)
            x[i] = vlm_bf16_to_f32(vlm_f32_to_bf16(x[i]));
    vlm_epilogue epilogue = some_epilogue(which, bias, residual, ld);
    float *got = output(m * ld), *wanted = output(m * ld);
    for (size_t i = 0; i < m; i++)
        for (size_t c = 0; c < n; c++)
            got[i * ld + c] = wanted[i * ld + c] = start[i * ld + c];
    kernel->multiply(got, ld, prepare(kernel, x, m, k), k, 1, pack_f32(kernel, w, n, k), m, n, k, which ? &epilogue : NULL);
    ref->multiply(wanted, ld, prepare(ref, x, m, k), k, 1, pack_f32(ref, w, n, k), m, n, k, which ? &epilogue : NULL);
    bool good = true, gaps = output_margins_intact(got, m * ld);
    for (size_t i = 0; i < m; i++) {
        for (size_t c = 0; c < n && good; c++)
            good = near(got[i * ld + c], wanted[i * ld + c], 2e-6, product_tolerance(x + i * k, w + c * k, k));
        gaps = gaps && is_margin(got + i * ld + n, ld - n);
    }
    verdict(good, vlm_dtype_name(type), "the product differs from C (m, n, k)", m, n, k);
    verdict(gaps, vlm_dtype_name(type), "the product wrote outside (m, n, k)", m, n, k);
    release_all();
}

/* Elements must not depend on m, n, strides, or their place: whole against pieces, bit for bit. */
static void check_invariance(const vlm_kernels *kernels, vlm_dtype type, size_t m, size_t n, size_t k)
{
    const vlm_matmul_kernel *kernel = &kernels->matmul[type];
    const char *slot = vlm_dtype_name(type);
    float *x = random_input(m * k, 1.0f), *w = random_input(n * k, 1.0f), *bias = random_input(n, 1.0f);
    float *whole = output(m * n), *pieces = output(m * n);
    const char *panels = pack_f32(kernel, w, n, k), *prepared = prepare(kernel, x, m, k);
    const size_t x_bytes = kernel->prepare ? kernel->prepared_bytes(k) : k * sizeof(float);
    vlm_epilogue epilogue = {.bias = bias, .activation = VLM_ACT_GELU};
    kernel->multiply(whole, n, prepared, k, 1, panels, m, n, k, &epilogue);
    for (size_t height = 1; height <= m; height = height * 2 + 1) {
        for (size_t row = 0; row < m; row += height)
            kernel->multiply(pieces + row * n, n, prepared + row * x_bytes, k, 1, panels, m - row < height ? m - row : height,
                             n, k, &epilogue);
        verdict(same_bits(whole, pieces, m * n * sizeof(float)), slot, "rows apart differ (m, n, height)", m, n, height);
    }
    for (size_t width = kernel->panel; width < n; width += kernel->panel) {
        for (size_t c = 0; c < n; c += width) {
            vlm_epilogue part = {.bias = bias + c, .activation = VLM_ACT_GELU};
            kernel->multiply(pieces + c, n, prepared, k, 1, panels + c / kernel->panel * kernel->panel_bytes(k), m,
                             n - c < width ? n - c : width, k, &part);
        }
        verdict(same_bits(whole, pieces, m * n * sizeof(float)), slot, "columns apart differ (m, n, width)", m, n, width);
    }
    for (size_t order = 0; order < 2 && !kernel->prepare; order++) { /* x transposed, then with gaps both ways */
        size_t x_row = order ? 3 : 1, x_k = order ? 3 * m + 1 : m;
        float *moved = random_input(m && k ? (m - 1) * x_row + (k - 1) * x_k + 1 : 0, 1.0f);
        for (size_t i = 0; i < m; i++)
            for (size_t j = 0; j < k; j++)
                moved[i * x_row + j * x_k] = x[i * k + j];
        kernel->multiply(pieces, n, moved, x_row, x_k, panels, m, n, k, &epilogue);
        verdict(same_bits(whole, pieces, m * n * sizeof(float)), slot, "strides of x matter (m, n, k)", m, n, k);
    }
    release_all();
}

/* In place: the residual may be y itself. */
static void check_residual_in_place(const vlm_kernels *kernels, vlm_dtype type, size_t m, size_t n, size_t k)
{
    const vlm_matmul_kernel *kernel = &kernels->matmul[type];
    float *x = random_input(m * k, 1.0f), *w = random_input(n * k, 1.0f), *residual = random_input(m * n, 1.0f);
    float *apart = output(m * n), *in_place = output(m * n);
    memcpy(in_place, residual, m * n * sizeof(float));
    const void *panels = pack_f32(kernel, w, n, k), *prepared = prepare(kernel, x, m, k);
    vlm_epilogue epilogue = {.residual = residual, .ld_residual = n};
    kernel->multiply(apart, n, prepared, k, 1, panels, m, n, k, &epilogue);
    epilogue.residual = in_place;
    kernel->multiply(in_place, n, prepared, k, 1, panels, m, n, k, &epilogue);
    verdict(same_bits(apart, in_place, m * n * sizeof(float)), vlm_dtype_name(type), "a residual in place differs (m, n, k)",
            m, n, k);
    release_all();
}

/* Large and small values side by side; one NaN must spoil its row and no other. */
static void check_extremes(const vlm_kernels *kernels, vlm_dtype type)
{
    const vlm_matmul_kernel *kernel = &kernels->matmul[type];
    const size_t m = 5, n = kernel->panel + 3, k = 130;
    float *x = random_input(m * k, 1.0f), *w = random_input(n * k, 1.0f), *y = output(m * n);
    for (size_t j = 0; j < k; j++) {
        x[0 * k + j] *= 1e30f;
        x[1 * k + j] *= 1e-42f; /* below the smallest normal: the group's scale has no inverse */
        x[2 * k + j] = 0;
    }
    x[3 * k + 70] = NAN;
    kernel->multiply(y, n, prepare(kernel, x, m, k), k, 1, pack_f32(kernel, w, n, k), m, n, k, NULL);
    bool big = true, small = true, zero = true, spoilt = true, fine = true;
    for (size_t c = 0; c < n; c++) {
        big = big && isfinite(y[c]);
        small = small && fabsf(y[n + c]) < 1e-38f;
        zero = zero && y[2 * n + c] == 0;
        spoilt = spoilt && isnan(y[3 * n + c]);
        fine = fine && isfinite(y[4 * n + c]) && fabsf(y[4 * n + c]) < (float)k;
    }
    verdict(big && small && zero && fine, vlm_dtype_name(type), "extreme rows are wrong (big, small, zero)", big, small, zero);
    verdict(spoilt, vlm_dtype_name(type), "a NaN in x was lost", 0, 0, 0);
    release_all();
}

static void check_products(const vlm_kernels *kernels)
{
    size_t which = 0;
    for (size_t t = 0; t < sizeof product_types / sizeof *product_types; t++) {
        vlm_dtype type = product_types[t];
        size_t panel = kernels->matmul[type].panel;
        const size_t ns[] = {0, 1, panel - 1, panel, panel + 1, 2 * panel + 3, 4 * panel, 5 * panel + 7};
        const size_t ms[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 13, 14, 15, 29, 50};
        const size_t ks[] = {0, 1, 2, 3, 5, 63, 64, 65, 127, 130, 200, 257};
        for (size_t a = 0; a < sizeof ns / sizeof *ns; a++) {
            for (size_t c = 0; c < sizeof ks / sizeof *ks; c++) {
                if (ns[a] < 3 * panel)
                    check_pack(kernels, type, ns[a], ks[c]);
                for (size_t b = 0; b < sizeof ms / sizeof *ms; b++)
                    check_product(kernels, type, ms[b], ns[a], ks[c], which++ % 56);
            }
        }
        check_product(kernels, type, 31, panel + 1, 4500, 1); /* rows in several blocks */
        check_invariance(kernels, type, 37, 5 * panel + 3, 197);
        check_invariance(kernels, type, 31, 2 * panel + 3, 4500);
        check_residual_in_place(kernels, type, 9, 2 * panel + 1, 77);
        check_extremes(kernels, type);
    }
}

/* --- rows and vectors ----------------------------------------------------------------------------------------- */

static const size_t lengths[] = {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 50, 63, 64, 65, 77, 127, 197, 768, 1023};
enum { N_LENGTHS = sizeof lengths / sizeof *lengths };

static float *copy_to_output(const float *values, size_t n)
{
    float *out = output(n);
    memcpy(out, values, n * sizeof *out);
    return out;
}

static float *copy_to_input(const float *values, size_t n)
{
    float *in = guarded(n * sizeof *in);
    memcpy(in, values, n * sizeof *in);
    return in;
}

/* `shift` stands for rows far from zero: the variance of x - mean, not a difference of squares. A mean of 1000 has
 * an error of 1000 * 2^-24 in float, that over a deviation of 0.6: 1e-4. */
static void check_layernorm(const vlm_kernels *kernels, size_t rows, size_t n, float shift)
{
    float *x = random_input(rows * n, 1.0f), *gain = random_input(n, 1.0f), *bias = random_input(n, 1.0f);
    for (size_t i = 0; i < rows * n; i++)
        x[i] += shift;
    float *y = output(rows * n), *mean = output(rows), *rstd = output(rows), *in_place = copy_to_output(x, rows * n);
    float *y_c = output(rows * n), *mean_c = output(rows), *rstd_c = output(rows);
    kernels->layernorm(y, x, gain, bias, 1e-5f, rows, n, mean, rstd);
    kernels->layernorm(in_place, in_place, gain, bias, 1e-5f, rows, n, NULL, NULL);
    reference->layernorm(y_c, x, gain, bias, 1e-5f, rows, n, mean_c, rstd_c);
    /* the mean of shifted values is off by a few roundings of the shift, which 1 / deviation and gain magnify */
    double magnified = 0;
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < n; i++)
            magnified = fmax(magnified, (double)rstd_c[r] * fabs((double)gain[i]));
    double tolerance = 4e-6 + 8 * 0x1p-24 * fabs((double)shift) * magnified;
    verdict(all_near(y, y_c, rows * n, 4e-6, tolerance), "layernorm", "differs from C (rows, n)", rows, n, 0);
    verdict(all_near(mean, mean_c, rows, 4e-7, 1e-7) && all_near(rstd, rstd_c, rows, shift == 0 ? 4e-6 : 1e-3, 1e-7), "layernorm",
            "mean or rstd differ (rows, n)", rows, n, 0);
    verdict(same_bits(y, in_place, rows * n * sizeof(float)), "layernorm", "in place differs (rows, n)", rows, n, 0);
    verdict(output_margins_intact(y, rows * n) && output_margins_intact(mean, rows) && output_margins_intact(rstd, rows),
            "layernorm", "wrote outside (rows, n)", rows, n, 0);
    release_all();
}

static void check_layernorm_backward(const vlm_kernels *kernels, size_t rows, size_t n)
{
    float *x = random_input(rows * n, 1.0f), *gain = random_input(n, 1.0f), *dy = random_input(rows * n, 1.0f);
    float *mean = random_input(rows, 0.1f), *rstd = random_input(rows, 1.0f), *start = random_input(rows * n + n, 1.0f);
    float *dx = copy_to_output(start, rows * n), *dx_c = copy_to_output(start, rows * n);
    float *dgain = copy_to_output(start, n), *dgain_c = copy_to_output(start, n);
    float *dbias = copy_to_output(start, n), *dbias_c = copy_to_output(start, n);
    float *alone = copy_to_output(start, rows * n);
    kernels->layernorm_backward(dx, dgain, dbias, dy, x, gain, mean, rstd, rows, n);
    kernels->layernorm_backward(alone, NULL, NULL, dy, x, gain, mean, rstd, rows, n);
    reference->layernorm_backward(dx_c, dgain_c, dbias_c, dy, x, gain, mean, rstd, rows, n);
    verdict(all_near(dx, dx_c, rows * n, 4e-6, 4e-6), "layernorm_backward", "dx differs from C (rows, n)", rows, n, 0);
    verdict(all_near(dgain, dgain_c, n, 4e-6, 4e-6), "layernorm_backward", "dgain differs from C (rows, n)", rows, n, 0);
    verdict(all_near(dbias, dbias_c, n, 4e-6, 4e-6), "layernorm_backward", "dbias differs from C (rows, n)", rows, n, 0);
    verdict(same_bits(dx, alone, rows * n * sizeof(float)), "layernorm_backward", "dx alone differs (rows, n)", rows, n, 0);
    verdict(output_margins_intact(dx, rows * n) && output_margins_intact(dgain, n) && output_margins_intact(dbias, n),
            "layernorm_backward", "wrote outside (rows, n)", rows, n, 0);
    kernels->layernorm_backward(NULL, dgain, dbias, dy, x, gain, mean, rstd, rows, n);
    release_all();
}

static void check_rmsnorm(const vlm_kernels *kernels, size_t rows, size_t n)
{
    float *x = random_input(rows * n, 3.0f), *gain = random_input(n, 1.0f);
    float *y = copy_to_output(x, rows * n), *y_c = output(rows * n);
    kernels->rmsnorm(y, y, gain, 1e-6f, rows, n);
    reference->rmsnorm(y_c, x, gain, 1e-6f, rows, n);
    verdict(all_near(y, y_c, rows * n, 2e-6, 1e-9) && output_margins_intact(y, rows * n), "rmsnorm", "differs from C (rows, n)",
            rows, n, 0);
    release_all();
}

/* kind 0: usual scores; 1: every second masked; 2: row 1 masked everywhere; 3: huge; 4: equal */
static void check_softmax(const vlm_kernels *kernels, size_t rows, size_t n, int kind)
{
    const size_t ld = n + 3;
    float *x = random_input(rows * ld, kind == 3 ? 1e30f : 20.0f), scale = kind == 4 ? 0 : 0.35f;
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < n; i++)
            if ((kind == 1 && i % 2) || (kind == 2 && r == 1))
                x[r * ld + i] = -INFINITY;
    float *y = output(rows * ld), *y_c = output(rows * ld);
    for (size_t r = 0; r < rows; r++) {
        memcpy(y + r * ld, x + r * ld, n * sizeof *x);
        memcpy(y_c + r * ld, x + r * ld, n * sizeof *x);
    }
    kernels->softmax(y, rows, n, ld, scale);
    reference->softmax(y_c, rows, n, ld, scale);
    bool good = true, gaps = output_margins_intact(y, rows * ld);
    for (size_t r = 0; r < rows; r++) {
        good = good && all_near(y + r * ld, y_c + r * ld, n, 1e-6, 1e-40);
        gaps = gaps && is_margin(y + r * ld + n, ld - n);
    }
    verdict(good, "softmax", "differs from C (rows, n, kind)", rows, n, (size_t)kind);
    verdict(gaps, "softmax", "wrote outside (rows, n, kind)", rows, n, (size_t)kind);
    float *dp = random_input(rows * ld, 1.0f), *got = output(rows * ld), *wanted = output(rows * ld);
    float *p = copy_to_input(y_c, rows ? (rows - 1) * ld + n : 0);
    for (size_t r = 0; r < rows; r++) {
        memcpy(got + r * ld, dp + r * ld, n * sizeof *x);
        memcpy(wanted + r * ld, dp + r * ld, n * sizeof *x);
    }
    kernels->softmax_backward(got, p, rows, n, ld, 0.125f);
    reference->softmax_backward(wanted, p, rows, n, ld, 0.125f);
    good = true, gaps = output_margins_intact(got, rows * ld);
    for (size_t r = 0; r < rows; r++) {
        good = good && all_near(got + r * ld, wanted + r * ld, n, 1e-6, 1e-7);
        gaps = gaps && is_margin(got + r * ld + n, ld - n);
    }
    verdict(good && gaps, "softmax_backward", "differs from C (rows, n, kind)", rows, n, (size_t)kind);
    release_all();
}

static const float special_values[] = {0.0f,   -0.0f,  1e-40f, -1e-40f, 1e-20f, -1e-20f, 1e30f,      -1e30f, 88.8f,
                                       -88.8f, 104.0f, -104.f, 3e38f,   -3e38f, NAN,     0.6249999f, 0.625f, -0.625f,
                                       9.0f,   -9.0f,  -5.0f,  -6.5f,   -7.5f,  -13.0f,  -16.0f};
enum { N_SPECIAL = sizeof special_values / sizeof *special_values };

/* The exact value in double is the reference. In the gates' exponents x up to 20 is rounded: 20 * 2^-24 of the result,
 * and in GELU's far tail (math.h) 2e-11 absolutely. */
static void check_activation(const vlm_kernels *kernels, size_t n, vlm_activation kind)
{
    float *x = random_input(n, random_u32() % 2 ? 4.0f : 20.0f), *dy = random_input(n, 1.0f), *start = random_input(n, 1.0f);
    for (size_t i = 0; i < N_SPECIAL && n > N_SPECIAL; i++)
        x[(i * 7) % n] = special_values[i];
    float *y = copy_to_output(x, n), *y_c = output(n), *dx = copy_to_output(start, n), *dx_c = copy_to_output(start, n);
    kernels->activate(y, y, n, kind);
    reference->activate(y_c, x, n, kind);
    verdict(all_near(y, y_c, n, 2e-6, 2e-11) && output_margins_intact(y, n), "activate", "differs from C (n, kind)", n, kind, 0);
    kernels->activate_backward(dx, x, dy, n, kind);
    reference->activate_backward(dx_c, x, dy, n, kind);
    verdict(all_near(dx, dx_c, n, 1e-6, 1e-6) && output_margins_intact(dx, n), "activate_backward", "differs from C (n, kind)", n,
            kind, 0);
    release_all();
}

static void check_vectors(const vlm_kernels *kernels, size_t n)
{
    float *a = random_input(n, 1.0f), *b = random_input(n, 1.0f);
    float *y = output(n), *y_c = output(n);
    kernels->add(y, a, b, n);
    reference->add(y_c, a, b, n);
    verdict(same_bits(y, y_c, n * sizeof *y) && output_margins_intact(y, n), "add", "differs from C (n)", n, 0, 0);
    kernels->multiply(y, a, b, n);
    reference->multiply(y_c, a, b, n);
    verdict(same_bits(y, y_c, n * sizeof *y) && output_margins_intact(y, n), "multiply", "differs from C (n)", n, 0, 0);
    kernels->axpy(y, 0.3f, a, n);
    reference->axpy(y_c, 0.3f, a, n);
    verdict(all_near(y, y_c, n, 1e-6, 1e-7) && output_margins_intact(y, n), "axpy", "differs from C (n)", n, 0, 0);
    kernels->scale(y, 0.7f, n);
    reference->scale(y_c, 0.7f, n);
    verdict(all_near(y, y_c, n, 1e-6, 1e-7) && output_margins_intact(y, n), "scale", "differs from C (n)", n, 0, 0);
    verdict(near(kernels->dot(a, b, n), reference->dot(a, b, n), 0, 1e-7 * (double)(n + 8)), "dot", "differs from C (n)", n, 0, 0);
    verdict(fabs(kernels->sum_squares(a, n) - reference->sum_squares(a, n)) <= 1e-12 * (double)(n + 1), "sum_squares",
            "differs from C (n)", n, 0, 0);
    verdict(kernels->max(a, n) == reference->max(a, n), "max", "differs from C (n)", n, 0, 0);
    release_all();
}

static void check_sum_squares_is_wide(const vlm_kernels *kernels)
{
    float *x = random_input(100, 1.0f);
    x[3] = 1e30f; /* its square is no float */
    verdict(near((float)(kernels->sum_squares(x, 100) * 1e-50), 1e10f, 1e-6, 0), "sum_squares", "overflows", 0, 0, 0);
    release_all();
}

/* Every 16-bit pattern widens as in C, and floats round as in C: halves, ties, overflow, subnormals. */
static void check_conversions(const vlm_kernels *kernels)
{
    enum { ALL = 65536, SOME = 1999 };
    uint16_t *halves = guarded(ALL * sizeof *halves);
    for (size_t i = 0; i < ALL; i++)
        halves[i] = (uint16_t)i;
    float *got = output(ALL), *wanted = output(ALL);
    kernels->f16_to_f32(got, halves, ALL);
    reference->f16_to_f32(wanted, halves, ALL);
    bool good = true;
    for (size_t i = 0; i < ALL; i++)
        good = good && (same_bits(&got[i], &wanted[i], 4) || (isnan(got[i]) && isnan(wanted[i])));
    verdict(good, "f16_to_f32", "differs from C", 0, 0, 0);
    kernels->bf16_to_f32(got, halves, ALL);
    reference->bf16_to_f32(wanted, halves, ALL);
    verdict(same_bits(got, wanted, ALL * sizeof *got), "bf16_to_f32", "differs from C", 0, 0, 0);
    verdict(output_margins_intact(got, ALL), "f16_to_f32", "wrote outside", 0, 0, 0);
    release_all();
    for (size_t n = 0; n < SOME; n += n < 70 ? 1 : 619) {
        float *in = guarded(n * sizeof *in);
        for (size_t i = 0; i < n; i++) { /* any bits, ties between two halves, and the edges of f16 */
            uint32_t bits = random_u32() << 1 ^ random_u32();
            uint32_t tie = (random_u32() & 0xbfff) << 16 | 0x8000, f16 = 0x33000000 + (random_u32() % 0x15000000 & 0xfffff000);
            memcpy(&in[i], i % 3 == 0 ? &bits : i % 3 == 1 ? &tie : &f16, sizeof bits);
        }
        for (int type = 0; type < 2; type++) {
            uint16_t *to = (uint16_t *)output(n), *to_c = (uint16_t *)output(n);
            (type ? kernels->f32_to_bf16 : kernels->f32_to_f16)(to, in, n);
            (type ? reference->f32_to_bf16 : reference->f32_to_f16)(to_c, in, n);
            good = true;
            for (size_t i = 0; i < n; i++) {
                bool nan = type ? (to[i] & 0x7fff) > 0x7f80 : (to[i] & 0x7fff) > 0x7c00;
                good = good && (isnan(in[i]) ? nan : to[i] == to_c[i]);
            }
            verdict(good, type ? "f32_to_bf16" : "f32_to_f16", "differs from C (n)", n, 0, 0);
            verdict(same_bits(to + n, to_c + n, n * sizeof *to), type ? "f32_to_bf16" : "f32_to_f16", "wrote outside (n)", n, 0, 0);
        }
        /* widening a piece, from an odd address, to the last byte before the page's end */
        char *packed = guarded(2 * n + 1);
        memset(packed, 0x3c, 2 * n + 1);
        float *wide = output(n);
        kernels->f16_to_f32(wide, packed + 1, n);
        kernels->bf16_to_f32(wide, packed + 1, n);
        verdict(output_margins_intact(wide, n), "f16_to_f32", "wrote outside (n)", n, 0, 0);
        release_all();
    }
}

static void check_adamw(const vlm_kernels *kernels, size_t n)
{
    float *w = random_input(n, 1.0f), *m = random_input(n, 0.1f), *v = random_input(n, 0.1f), *g = random_input(n, 3.0f);
    for (size_t i = 0; i < n; i++)
        v[i] = i % 5 ? fabsf(v[i]) : 0;
    if (n > 5)
        g[5] = m[5] = 0; /* 0 / (0 + eps) */
    float *a[3] = {copy_to_output(w, n), copy_to_output(m, n), copy_to_output(v, n)};
    float *c[3] = {copy_to_output(w, n), copy_to_output(m, n), copy_to_output(v, n)};
    for (int step = 1; step < 4; step++) {
        float c1 = 1 - powf(0.9f, (float)step), c2 = 1 - powf(0.98f, (float)step);
        kernels->adamw(a[0], a[1], a[2], g, n, 0.5f, 1e-2f, 0.9f, 0.98f, 1e-6f, 0.2f, c1, c2);
        reference->adamw(c[0], c[1], c[2], g, n, 0.5f, 1e-2f, 0.9f, 0.98f, 1e-6f, 0.2f, c1, c2);
    }
    bool good = true; /* absolute: a few roundings of weights of order 1, which may cancel */
    for (int i = 0; i < 3; i++)
        good = good && all_near(a[i], c[i], n, 2e-6, 1e-6) && output_margins_intact(a[i], n);
    verdict(good, "adamw", "differs from C (n)", n, 0, 0);
    release_all();
}

/* Nothing to do must touch nothing: every pointer here is where no access is allowed. */
static void check_empty(const vlm_kernels *kernels)
{
    float *none = guarded(0);
    kernels->layernorm(none, none, none, none, 1e-5f, 0, 16, none, none);
    kernels->layernorm_backward(none, none, none, none, none, none, none, none, 0, 16);
    kernels->rmsnorm(none, none, none, 1e-5f, 0, 16);
    kernels->softmax(none, 0, 16, 16, 1);
    kernels->softmax(none, 3, 0, 0, 1);
    kernels->softmax_backward(none, none, 3, 0, 0, 1);
    for (int kind = 0; kind < VLM_ACTIVATIONS; kind++) {
        kernels->activate(none, none, 0, (vlm_activation)kind);
        kernels->activate_backward(none, none, none, 0, (vlm_activation)kind);
    }
    kernels->add(none, none, none, 0);
    kernels->multiply(none, none, none, 0);
    kernels->axpy(none, 1, none, 0);
    kernels->scale(none, 1, 0);
    kernels->adamw(none, none, none, none, 0, 1, 1, 1, 1, 1, 1, 1, 1);
    verdict(kernels->dot(none, none, 0) == 0 && kernels->sum_squares(none, 0) == 0 && kernels->max(none, 0) == -INFINITY, "dot",
            "of nothing is wrong", 0, 0, 0);
    release_all();
}

static void check_rows_and_vectors(const vlm_kernels *kernels)
{
    check_empty(kernels);
    for (size_t i = 0; i < N_LENGTHS; i++) {
        size_t n = lengths[i];
        for (size_t rows = 1; rows <= 3; rows += 2) {
            check_layernorm(kernels, rows, n, 0);
            check_layernorm(kernels, rows, n, 1000);
            check_layernorm_backward(kernels, rows, n);
            check_rmsnorm(kernels, rows, n);
            for (int kind = 0; kind < 5; kind++)
                check_softmax(kernels, rows, n, kind);
        }
        for (int kind = 0; kind < VLM_ACTIVATIONS; kind++)
            check_activation(kernels, n, (vlm_activation)kind);
        check_vectors(kernels, n);
        check_adamw(kernels, n);
    }
    for (int kind = 0; kind < VLM_ACTIVATIONS; kind++)
        check_activation(kernels, 50000, (vlm_activation)kind);
    check_sum_squares_is_wide(kernels);
    check_conversions(kernels);
}

/* A table with an empty slot would crash its first user. */
static void check_complete(const vlm_kernels *kernels)
{
    for (size_t t = 0; t < sizeof product_types / sizeof *product_types; t++) {
        const vlm_matmul_kernel *kernel = &kernels->matmul[product_types[t]];
        bool pair = (kernel->prepare != NULL) == (kernel->prepared_bytes != NULL);
        verdict(kernel->panel && kernel->panel_bytes && kernel->pack && kernel->unpack_row && kernel->multiply && pair,
                vlm_dtype_name(product_types[t]), "the slots are incomplete", 0, 0, 0);
    }
    verdict(strcmp(kernels->isa, isa) == 0, "isa", "the name differs", 0, 0, 0);
}

static int check_all(void)
{
    const vlm_kernels *kernels;
    const char *name;
    bool usable;
    size_t n_run = 0;
    for (size_t i = 0; (kernels = vlm_kernels_at(i, &name, &usable)) != NULL; i++)
        if (strcmp(name, "c") == 0)
            reference = kernels;
    for (size_t i = 0; (kernels = vlm_kernels_at(i, &name, &usable)) != NULL; i++) {
        if (!usable) {
            printf("%-11s NOT RUN: this CPU lacks it\n", name);
            continue;
        }
        size_t checks = n_checks, failures = n_failures;
        isa = name;
        check_complete(kernels);
        check_products(kernels);
        check_rows_and_vectors(kernels);
        printf("%-11s ran: %zu checks, %zu failed\n", name, n_checks - checks, n_failures - failures);
        fflush(stdout);
        n_run++;
    }
    return n_failures || n_run == 0 ? 1 : 0;
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--bench") == 0) {
        bench_all(vlm_kernels_get(), argc > 2 ? argv[2] : NULL);
        return 0;
    }
    random_state = argc > 2 && strcmp(argv[1], "--seed") == 0 ? strtoull(argv[2], NULL, 10) : 1;
    printf("seed %llu\n", (unsigned long long)random_state);
    return check_all();
}
