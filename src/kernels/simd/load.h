/* Reading matrices of any plain type (f32, f16, bf16) and any strides as vectors of floats: for packing weights.
 * Needs the ISA's simd.h before it. */
#ifndef VLM_KERNELS_SIMD_LOAD_H
#define VLM_KERNELS_SIMD_LOAD_H

#define ALWAYS_INLINE inline __attribute__((always_inline))

static ALWAYS_INLINE size_t plain_size(vlm_dtype type)
{
    return type == VLM_F32 ? sizeof(float) : sizeof(uint16_t);
}

static ALWAYS_INLINE vf load_as(vlm_dtype type, const char *p)
{
    return type == VLM_F32 ? vf_load((const float *)p) : type == VLM_F16 ? vf_load_f16(p) : vf_load_bf16(p);
}

static ALWAYS_INLINE vf load_as_n(vlm_dtype type, const char *p, size_t count)
{
    return type == VLM_F32   ? vf_load_n((const float *)p, count)
           : type == VLM_F16 ? vf_load_f16_n(p, count)
                             : vf_load_bf16_n(p, count);
}

static ALWAYS_INLINE void store_as(vlm_dtype type, char *p, vf v)
{
    if (type == VLM_F32)
        vf_store((float *)p, v);
    else if (type == VLM_F16)
        vf_store_f16(p, v);
    else
        vf_store_bf16(p, v);
}

/* A matrix to pack: value (row, j) at element row * row_stride + j * k_stride. */
typedef struct plain_matrix {
    const char *values;
    vlm_dtype type;
    size_t row_stride, k_stride;
    size_t n, k;
} plain_matrix;

static inline const char *value_at(const plain_matrix *w, size_t row, size_t j)
{
    return w->values + (row * w->row_stride + j * w->k_stride) * plain_size(w->type);
}

/* columns[i] = VF_LANES columns from `row` on at k = j + i, for `depth` <= VF_LANES values of k; zeros past n. */
static ALWAYS_INLINE void load_block(vf columns[VF_LANES], const plain_matrix *w, vlm_dtype type, size_t row, size_t j,
                                     size_t depth)
{
    size_t count = row < w->n ? (w->n - row < VF_LANES ? w->n - row : VF_LANES) : 0;
    if (w->row_stride == 1) {
        for (size_t i = 0; i < depth; i++)
            columns[i] = count == VF_LANES ? load_as(type, value_at(w, row, j + i))
                                           : load_as_n(type, value_at(w, row, j + i), count);
    } else if (w->k_stride == 1) {
        for (size_t c = 0; c < VF_LANES; c++)
            columns[c] = c >= count          ? vf_zero()
                         : depth == VF_LANES ? load_as(type, value_at(w, row + c, j))
                                             : load_as_n(type, value_at(w, row + c, j), depth);
        vf_transpose(columns);
    } else {
        for (size_t i = 0; i < depth; i++) {
            float gathered[VF_LANES] = {0};
            for (size_t c = 0; c < count; c++)
                vlm_convert_to_f32(&gathered[c], value_at(w, row + c, j + i), type, 1);
            columns[i] = vf_load(gathered);
        }
    }
}

#endif
