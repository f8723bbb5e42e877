/* Muon (Jordan et al. 2024): momentum, and five steps of a quintic Newton-Schulz iteration that bring all
 * singular values near 1: X <- a X + (b A + c A A) X with A = X X^T, on the short side of the matrix.
 * One call is one matrix in one thread: a training step has dozens of them, and a matrix with its scratch
 * stays in the second cache.
 * Trap: the iteration is only defined for a norm below 1, and a matrix of zeros must stay zero. */
#include "train/muon.h"

#include <math.h>
#include <string.h>

enum { STEPS = 5, BLOCK = 64 };
static const float A1 = 3.4445f, A3 = -4.7750f, A5 = 2.0315f;

typedef struct muon {
    const vlm_kernels *kernels;
    const vlm_matmul_kernel *kernel;
    size_t short_side, long_side;
    float *x;          /* [short, long] */
    float *a, *b;      /* [short, short] */
    void *panels;      /* of x either way, or of a */
    void *prepared;    /* rows of x, a or b where the kernel wants them converted */
} muon;

static size_t round_up(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

static size_t largest(size_t a, size_t b, size_t c)
{
    size_t most = a > b ? a : b;
    return most > c ? most : c;
}

static size_t packed(const vlm_matmul_kernel *kernel, size_t n, size_t k)
{
    return (n + kernel->panel - 1) / kernel->panel * kernel->panel_bytes(k);
}

/* Lay the scratch out; returns its bytes. */
static size_t lay_out(muon *m, const vlm_kernels *kernels, vlm_dtype type, size_t rows, size_t columns, char *scratch)
{
    m->kernels = kernels;
    m->kernel = &kernels->matmul[type];
    size_t s = m->short_side = rows < columns ? rows : columns, l = m->long_side = rows < columns ? columns : rows;
    size_t at = 0;
    m->x = (float *)(scratch + at);
    at += round_up(s * l * sizeof(float));
    m->a = (float *)(scratch + at);
    at += round_up(s * s * sizeof(float));
    m->b = (float *)(scratch + at);
    at += round_up(s * s * sizeof(float));
    m->panels = scratch + at;
    at += round_up(largest(packed(m->kernel, s, l), packed(m->kernel, s, s), packed(m->kernel, l, s)));
    m->prepared = scratch + at;
    if (m->kernel->prepared_bytes)
        at += round_up(s * largest(m->kernel->prepared_bytes(l), m->kernel->prepared_bytes(s), 0));
    return at;
}

size_t vlm_muon_scratch_bytes(const vlm_kernels *kernels, vlm_dtype type, size_t rows, size_t columns)
{
    muon m;
    static char nothing[1];
    return lay_out(&m, kernels, type, rows, columns, nothing);
}

/* Rows of x as the kernel takes them. */
static const void *prepare(const muon *m, const float *x, size_t rows, size_t k)
{
    if (!m->kernel->prepare)
        return x;
    m->kernel->prepare(m->prepared, x, k, rows, k);
    return m->prepared;
}

/* y [s, s] = x x^T for x [s, k], which is in the panels already: what is left of the diagonal, by blocks, and its
 * mirror image. The sums are the same from either side, to the last bit. */
static void symmetric_product(const muon *m, float *y, const float *x, size_t k)
{
    size_t s = m->short_side, row_bytes = m->kernel->prepare ? m->kernel->prepared_bytes(k) : k * sizeof(float);
    const char *left = prepare(m, x, s, k);
    for (size_t row = 0; row < s; row += BLOCK) {
        size_t rows = s - row < BLOCK ? s - row : BLOCK, columns = row + rows;
        m->kernel->multiply(y + row * s, s, left + row * row_bytes, k, 1, m->panels, rows, columns, k, NULL);
        for (size_t i = row; i < columns; i++)
            for (size_t j = 0; j < row; j++)
                y[j * s + i] = y[i * s + j];
    }
}

static void newton_schulz(const muon *m)
{
    size_t s = m->short_side, l = m->long_side;
    float norm = (float)sqrt(m->kernels->sum_squares(m->x, s * l));
    m->kernels->scale(m->x, 1 / (norm + 1e-7f), s * l);
    for (int i = 0; i < STEPS; i++) {
        m->kernel->pack(m->panels, m->x, VLM_F32, l, 1, s, l);
        symmetric_product(m, m->a, m->x, l);
        m->kernel->pack(m->panels, m->a, VLM_F32, s, 1, s, s); /* a is symmetric: a^T a is a a */
        symmetric_product(m, m->b, m->a, s);
        m->kernels->scale(m->b, A5, s * s);
        m->kernels->axpy(m->b, A3, m->a, s * s);
        m->kernel->pack(m->panels, m->x, VLM_F32, 1, l, l, s); /* before x is scaled in place */
        m->kernels->scale(m->x, A1, s * l);
        m->kernel->multiply(m->x, l, prepare(m, m->b, s, s), s, 1, m->panels, s, l, s, &(vlm_epilogue){.accumulate = true});
    }
}

void vlm_muon_step(const vlm_kernels *kernels, vlm_dtype type, float *w, float *momentum, const float *grad, size_t rows,
                   size_t columns, float scale, float rate, float b, float decay, void *scratch)
{
    muon m;
    lay_out(&m, kernels, type, rows, columns, scratch);
    bool flip = rows > columns;
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < columns; j++) {
            size_t at = i * columns + j;
            float g = grad[at] * scale;
            momentum[at] = b * momentum[at] + (1 - b) * g;
            m.x[flip ? j * rows + i : at] = b * momentum[at] + (1 - b) * g;
        }
    newton_schulz(&m);
    float keep = 1 - rate * decay, step = rate * (flip ? sqrtf((float)rows / (float)columns) : 1);
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < columns; j++)
            w[i * columns + j] = keep * w[i * columns + j] - step * m.x[flip ? j * rows + i : i * columns + j];
}
