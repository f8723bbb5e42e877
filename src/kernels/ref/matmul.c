/* y[m, n] = x[m, k] * w[n, k]^T for weights of a plain type (f32, f16, bf16), in C.
 * A panel is PANEL columns of w, k-major: [k][PANEL] values of the type, so that the innermost loop runs over
 * columns and every sum is one chain over ascending k. Weights become float32 a chunk of k at a time. */
#include <stdint.h>
#include <string.h>

#include "kernels/ref/ref.h"

enum { PANEL = 8, CHUNK = 64, ROWS = 16 };

static size_t round_up(size_t n, size_t multiple)
{
    return (n + multiple - 1) / multiple * multiple;
}

static size_t panel_bytes_f32(size_t k)
{
    return round_up(k * PANEL * sizeof(float), 64);
}

static size_t panel_bytes_half(size_t k)
{
    return round_up(k * PANEL * sizeof(uint16_t), 64);
}

static size_t panel_bytes(vlm_dtype type, size_t k)
{
    return type == VLM_F32 ? panel_bytes_f32(k) : panel_bytes_half(k);
}

static float load_value(const void *values, vlm_dtype type, size_t i)
{
    float value;
    vlm_convert_to_f32(&value, (const char *)values + i * vlm_dtype_size(type), type, 1);
    return value;
}

static void store_value(void *values, vlm_dtype type, size_t i, float value)
{
    if (type == VLM_F32)
        ((float *)values)[i] = value;
    else
        ((uint16_t *)values)[i] = type == VLM_F16 ? vlm_f32_to_f16(value) : vlm_f32_to_bf16(value);
}

static void pack(void *panels, vlm_dtype to, const void *w, vlm_dtype from, size_t row_stride, size_t k_stride,
                 size_t n, size_t k)
{
    for (size_t n0 = 0; n0 < n; n0 += PANEL) {
        char *panel = (char *)panels + n0 / PANEL * panel_bytes(to, k);
        size_t columns = n - n0 < PANEL ? n - n0 : PANEL;
        memset(panel, 0, panel_bytes(to, k));
        for (size_t j = 0; j < k; j++)
            for (size_t c = 0; c < columns; c++)
                store_value(panel, to, j * PANEL + c, load_value(w, from, (n0 + c) * row_stride + j * k_stride));
    }
}

static void pack_f32(void *panels, const void *w, vlm_dtype from, size_t row_stride, size_t k_stride, size_t n, size_t k)
{
    pack(panels, VLM_F32, w, from, row_stride, k_stride, n, k);
}

static void pack_f16(void *panels, const void *w, vlm_dtype from, size_t row_stride, size_t k_stride, size_t n, size_t k)
{
    pack(panels, VLM_F16, w, from, row_stride, k_stride, n, k);
}

static void pack_bf16(void *panels, const void *w, vlm_dtype from, size_t row_stride, size_t k_stride, size_t n, size_t k)
{
    pack(panels, VLM_BF16, w, from, row_stride, k_stride, n, k);
}

static void unpack_row(float *out, const void *panels, vlm_dtype type, size_t row, size_t k)
{
    const char *panel = (const char *)panels + row / PANEL * panel_bytes(type, k);
    for (size_t j = 0; j < k; j++)
        out[j] = load_value(panel, type, j * PANEL + row % PANEL);
}

static void unpack_row_f32(float *out, const void *panels, size_t row, size_t k)
{
    unpack_row(out, panels, VLM_F32, row, k);
}

static void unpack_row_f16(float *out, const void *panels, size_t row, size_t k)
{
    unpack_row(out, panels, VLM_F16, row, k);
}

static void unpack_row_bf16(float *out, const void *panels, size_t row, size_t k)
{
    unpack_row(out, panels, VLM_BF16, row, k);
}

void vlm_finish_row_ref(float *y, const float *sums, const vlm_epilogue *epilogue, size_t row, size_t column0, size_t n)
{
    for (size_t c = 0; c < n; c++) {
        float s = sums[c];
        if (epilogue) {
            if (epilogue->bias)
                s += epilogue->bias[column0 + c];
            s = vlm_activation_ref(s, epilogue->activation);
            if (epilogue->residual)
                s += epilogue->residual[row * epilogue->ld_residual + column0 + c];
            if (epilogue->accumulate)
                s += y[c];
        }
        y[c] = s;
    }
}

/* One panel against up to ROWS rows of x. */
static void multiply_tile(float *y, size_t ldy, const float *x, size_t x_row, size_t x_k, const void *panel,
                          vlm_dtype type, size_t rows, size_t row0, size_t columns, size_t column0, size_t k,
                          const vlm_epilogue *epilogue)
{
    float sums[ROWS][PANEL] = {{0}}, w[CHUNK][PANEL];
    size_t value_size = vlm_dtype_size(type);
    for (size_t k0 = 0; k0 < k; k0 += CHUNK) {
        size_t depth = k - k0 < CHUNK ? k - k0 : CHUNK;
        vlm_convert_to_f32(w[0], (const char *)panel + k0 * PANEL * value_size, type, depth * PANEL);
        for (size_t r = 0; r < rows; r++)
            for (size_t j = 0; j < depth; j++)
                for (size_t c = 0; c < PANEL; c++)
                    sums[r][c] += x[r * x_row + (k0 + j) * x_k] * w[j][c];
    }
    for (size_t r = 0; r < rows; r++)
        vlm_finish_row_ref(y + r * ldy, sums[r], epilogue, row0 + r, column0, columns);
}

static void multiply(float *y, size_t ldy, const float *x, size_t x_row, size_t x_k, const void *panels, vlm_dtype type,
                     size_t m, size_t n, size_t k, const vlm_epilogue *epilogue)
{
    for (size_t n0 = 0; n0 < n; n0 += PANEL) {
        const char *panel = (const char *)panels + n0 / PANEL * panel_bytes(type, k);
        size_t columns = n - n0 < PANEL ? n - n0 : PANEL;
        for (size_t m0 = 0; m0 < m; m0 += ROWS)
            multiply_tile(y + m0 * ldy + n0, ldy, x + m0 * x_row, x_row, x_k, panel, type, m - m0 < ROWS ? m - m0 : ROWS,
                          m0, columns, n0, k, epilogue);
    }
}

static void multiply_f32(float *y, size_t ldy, const void *x, size_t x_row, size_t x_k, const void *panels, size_t m,
                         size_t n, size_t k, const vlm_epilogue *epilogue)
{
    multiply(y, ldy, x, x_row, x_k, panels, VLM_F32, m, n, k, epilogue);
}

static void multiply_f16(float *y, size_t ldy, const void *x, size_t x_row, size_t x_k, const void *panels, size_t m,
                         size_t n, size_t k, const vlm_epilogue *epilogue)
{
    multiply(y, ldy, x, x_row, x_k, panels, VLM_F16, m, n, k, epilogue);
}

static void multiply_bf16(float *y, size_t ldy, const void *x, size_t x_row, size_t x_k, const void *panels, size_t m,
                          size_t n, size_t k, const vlm_epilogue *epilogue)
{
    multiply(y, ldy, x, x_row, x_k, panels, VLM_BF16, m, n, k, epilogue);
}

void vlm_fill_matmul_ref(vlm_kernels *table)
{
    table->matmul[VLM_F32] = (vlm_matmul_kernel){.panel = PANEL, .panel_bytes = panel_bytes_f32, .pack = pack_f32,
                                                 .unpack_row = unpack_row_f32, .multiply = multiply_f32};
    table->matmul[VLM_F16] = (vlm_matmul_kernel){.panel = PANEL, .panel_bytes = panel_bytes_half, .pack = pack_f16,
                                                 .unpack_row = unpack_row_f16, .multiply = multiply_f16};
    table->matmul[VLM_BF16] = (vlm_matmul_kernel){.panel = PANEL, .panel_bytes = panel_bytes_half, .pack = pack_bf16,
                                                  .unpack_row = unpack_row_bf16, .multiply = multiply_bf16};
}
