/* Kernels: the inner loops, as a table. Pointers and sizes in; no allocation, threads, files or errors.
 *
 * kernels/ref defines what is correct; the folder of each ISA repeats its file names. The table is filled
 * once from what the CPU has (isa.def); call sites never name an ISA.
 *
 * Contract of every slot: sizes may be any number, 0 included. Nothing outside the stated ranges is read
 * (a packed panel's padding is part of the panel) or written. No alignment is needed but for packed
 * panels and prepared rows, which are at multiples of 64 bytes. Outputs do not alias inputs unless the
 * slot says so.
 *
 * The one rule that training and batching lean on: an element of a product depends on its row of x, its
 * column of w and k alone. Not on m, n, its place in a tile or who computes it. So every element is one
 * chain of fused multiply-adds over ascending k (per group for q8), whatever the tile. Between ISAs results
 * differ by rounding. */
#ifndef VLM_KERNELS_H
#define VLM_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/dtype.h"

enum { VLM_Q8_GROUP = 64 }; /* values along k that share one scale, in weights and in activations */

typedef enum vlm_activation {
    VLM_ACT_NONE = 0,
    VLM_ACT_GELU,       /* x * Phi(x), by erf */
    VLM_ACT_GELU_TANH,  /* the tanh form */
    VLM_ACT_QUICK_GELU, /* x * sigmoid(1.702 x) */
    VLM_ACT_RELU,
    VLM_ACT_SILU, /* x * sigmoid(x) */
    VLM_ACT_TANH,
    VLM_ACTIVATIONS
} vlm_activation;

/* What happens to a finished sum s before it is stored: s += bias[column]; s = activation(s);
 * s += residual[row, column]; then y = s, or y += s when accumulating. NULL pointers are skipped. */
typedef struct vlm_epilogue {
    const float *bias;     /* [n] */
    const float *residual; /* [m, n] with row stride ld_residual; may be y itself */
    size_t ld_residual;
    vlm_activation activation;
    bool accumulate;
} vlm_epilogue;

/* The product y[m, n] = x[m, k] * w[n, k]^T for one type of weights.
 * w is packed once into panels of `panel` columns (its rows n, padded with zeros): panel p holds columns
 * p*panel .. and stands at byte p * panel_bytes(k). What is inside a panel is the ISA's own affair. */
typedef struct vlm_matmul_kernel {
    size_t panel;                     /* columns in a panel */
    size_t (*panel_bytes)(size_t k);  /* a multiple of 64 */
    /* Pack n rows of k values; value (i, j) stands at element i * row_stride + j * k_stride of w, which
     * is of a plain type (f32, f16, bf16) and may be unaligned (it lies in a file). Either stride may be
     * 1: both a matrix and its transpose are packed at the speed of memory. */
    void (*pack)(void *panels, const void *w, vlm_dtype from, size_t row_stride, size_t k_stride, size_t n, size_t k);
    /* Row j of w back to float32 (embedding look-up in a packed matrix, tests). */
    void (*unpack_row)(float *out, const void *panels, size_t row, size_t k);
    /* Bytes of one prepared row of x, a multiple of 64; NULL: x is used as it is. */
    size_t (*prepared_bytes)(size_t k);
    /* Convert m rows of x (contiguous along k, row stride ldx) to what multiply wants (bf16; int8 by groups). */
    void (*prepare)(void *prepared, const float *x, size_t ldx, size_t m, size_t k);
    /* y[m, n] of row stride ldy; epilogue NULL: the plain product. x: the prepared rows (row r at byte r * prepared_bytes(k), strides ignored),
     * or floats at x[row * x_row + j * x_k] where there is no prepare. panels: the first of ceil(n / panel);
     * a call may start at any panel of a larger matrix. */
    void (*multiply)(float *y, size_t ldy, const void *x, size_t x_row, size_t x_k, const void *panels, size_t m,
                     size_t n, size_t k, const vlm_epilogue *epilogue);
} vlm_matmul_kernel;

typedef struct vlm_kernels {
    const char *isa;

    vlm_matmul_kernel matmul[VLM_Q4 + 1]; /* by vlm_dtype: f32, f16, bf16, q8 (q4 is empty for now: panel 0) */

    /* y = (x - mean) / sqrt(var + eps) * gain + bias for each of `rows` rows of n; y may be x. mean and
     * rstd [rows] are kept for the backward pass when not NULL. Sums in two passes: the variance of
     * x - mean, not a difference of squares. */
    void (*layernorm)(float *y, const float *x, const float *gain, const float *bias, float eps, size_t rows,
                      size_t n, float *mean, float *rstd);
    /* dx += the gradient by x; dgain += , dbias += over the rows. Any of the three may be NULL. */
    void (*layernorm_backward)(float *dx, float *dgain, float *dbias, const float *dy, const float *x,
                               const float *gain, const float *mean, const float *rstd, size_t rows, size_t n);
    /* y = x / sqrt(mean(x^2) + eps) * gain; y may be x. */
    void (*rmsnorm)(float *y, const float *x, const float *gain, float eps, size_t rows, size_t n);

    /* x[i] = exp(scale * x[i] - max) / sum, in place, for `rows` rows of n with stride ld. A row of
     * -infinity alone becomes zeros. */
    void (*softmax)(float *x, size_t rows, size_t n, size_t ld, float scale);
    /* ds = scale * p * (dp - sum(p * dp)) by rows, into dp in place. */
    void (*softmax_backward)(float *dp, const float *p, size_t rows, size_t n, size_t ld, float scale);

    /* y = f(x); y may be x. */
    void (*activate)(float *y, const float *x, size_t n, vlm_activation kind);
    /* dx += dy * f'(x). */
    void (*activate_backward)(float *dx, const float *x, const float *dy, size_t n, vlm_activation kind);

    void (*add)(float *y, const float *a, const float *b, size_t n);      /* y = a + b; y may be a or b */
    void (*multiply)(float *y, const float *a, const float *b, size_t n); /* y = a * b; y may be a or b */
    void (*axpy)(float *y, float a, const float *x, size_t n);            /* y += a * x */
    void (*scale)(float *x, float a, size_t n);                           /* x *= a */
    float (*dot)(const float *a, const float *b, size_t n);
    double (*sum_squares)(const float *x, size_t n); /* summed in double: gradient norms of 1e8 values */
    float (*max)(const float *x, size_t n);          /* -infinity when n is 0 */

    /* n values; in may be unaligned. */
    void (*f16_to_f32)(float *out, const void *in, size_t n);
    void (*bf16_to_f32)(float *out, const void *in, size_t n);
    void (*f32_to_f16)(void *out, const float *in, size_t n);
    void (*f32_to_bf16)(void *out, const float *in, size_t n);

    /* One AdamW step (Loshchilov and Hutter 2019; torch.optim.AdamW): w *= 1 - rate * decay;
     * m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2; w -= rate * (m / c1) / (sqrt(v / c2) + eps),
     * with g = grad * grad_scale, c1 = 1 - b1^step, c2 = 1 - b2^step. */
    void (*adamw)(float *w, float *m, float *v, const float *grad, size_t n, float grad_scale, float rate, float b1,
                  float b2, float eps, float decay, float c1, float c2);
} vlm_kernels;

/* The table for this CPU, filled on first use. VLM_ISA=c|avx2|avx512|neon in the environment lowers it
 * (a name that this CPU or build lacks is ignored). Never NULL; static storage. */
const vlm_kernels *vlm_kernels_get(void);
/* Row i of isa.def as compiled in; NULL past the end. *usable says whether this CPU runs it. For tests. */
const vlm_kernels *vlm_kernels_at(size_t i, const char **name, bool *usable);

#endif
