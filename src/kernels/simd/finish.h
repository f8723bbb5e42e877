/* The end of a product: bias, activation and residual on a tile's sums, on any ISA. Needs the ISA's simd.h before it. */
#ifndef VLM_KERNELS_SIMD_FINISH_H
#define VLM_KERNELS_SIMD_FINISH_H

#include "kernels/simd/math.h"

enum { PANEL = VF_PANEL_VECTORS * VF_LANES }; /* columns of w in a panel */

/* Where a tile's results go, and what happens on the way. */
typedef struct tile_out {
    float *y; /* the tile's first element */
    size_t ldy;
    size_t row, column; /* its place in the whole product: for bias and residual */
    size_t columns;     /* valid ones from here to the end of the matrix */
    const vlm_epilogue *epilogue;
    /* The tile's share of fetching the next panel from memory into the second-level cache while this one is used:
     * the first cache line, and how many at a time. */
    const char *ahead;
    size_t lines;
} tile_out;

/* The lines that a tile will write, asked for while it computes: a result of a large product is in no cache, and with
 * few steps of k the stores would wait for it. */
static inline void fetch_results(const tile_out *out, size_t rows)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t v = 0; v < VF_PANEL_VECTORS; v += 64 / sizeof(float) / VF_LANES)
            __builtin_prefetch(out->y + r * out->ldy + v * VF_LANES, 1, 3);
}

static inline vf finish(vf s, const vlm_epilogue *e, const float *bias, const float *residual, const float *y, size_t count)
{
    if (bias)
        s = vf_add(s, vf_load_n(bias, count));
    s = vf_activate(s, e->activation);
    if (residual)
        s = vf_add(s, vf_load_n(residual, count));
    return e->accumulate ? vf_add(s, vf_load_n(y, count)) : s;
}

/* sums: [rows][vectors * VF_LANES]. Apart from the tile, so that its code exists once for all tiles. */
static __attribute__((noinline)) void finish_tile(const tile_out *out, const float *sums, size_t rows, size_t vectors)
{
    const vlm_epilogue *e = out->epilogue;
    for (size_t r = 0; r < rows; r++) {
        for (size_t v = 0; v < vectors && v * VF_LANES < out->columns; v++) {
            size_t column = v * VF_LANES, left = out->columns - column, count = left < VF_LANES ? left : VF_LANES;
            float *y = out->y + r * out->ldy + column;
            vf s = vf_load(sums + (r * vectors + v) * VF_LANES);
            if (e)
                s = finish(s, e, e->bias ? e->bias + out->column + column : NULL,
                           e->residual ? e->residual + (out->row + r) * e->ld_residual + out->column + column : NULL, y,
                           count);
            if (count == VF_LANES)
                vf_store(y, s);
            else
                vf_store_n(y, s, count);
        }
    }
}

#endif
