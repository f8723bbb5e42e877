/* Turn pixels into one vector: patches, positions, transformer, pooling, projection.
 * pixels [n, 3, H, W] -> [n, embedding]. Matches CLIPVisionTransformer, ViTModel, SiglipVisionTransformer and
 * open_clip's VisionTransformer (Dosovitskiy et al. 2021; Radford et al. 2021; Zhai et al. 2023).
 * Trap: pixels of another size than the config's stretch the position table: bicubic, a = -0.75, no
 * antialiasing, corners not aligned, as torch's interpolate does it. */
#include <math.h>
#include <string.h>

#include "models/network.h"

/* ---- positions of another size ------------------------------------------------------------------------- */

/* Cubic convolution weights (Keys 1981, a = -0.75) of the four neighbours of a point at fraction t. */
static void cubic_weights(float weights[4], float t)
{
    const float a = -0.75f;
    float distances[4] = {t + 1, t, 1 - t, 2 - t};
    for (int i = 0; i < 4; i++) {
        float d = distances[i];
        weights[i] = i == 1 || i == 2 ? ((a + 2) * d - (a + 3)) * d * d + 1 : ((a * d - 5 * a) * d + 8 * a) * d - 4 * a;
    }
}

static size_t clamped(long i, size_t n)
{
    return i < 0 ? 0 : (size_t)i >= n ? n - 1 : (size_t)i;
}

/* table [from_h, from_w, width] -> out [to_h, to_w, width] */
static void stretch(float *out, const float *table, size_t from_h, size_t from_w, size_t to_h, size_t to_w, size_t width)
{
    float scale_y = (float)from_h / (float)to_h, scale_x = (float)from_w / (float)to_w, wy[4], wx[4];
    for (size_t y = 0; y < to_h; y++) {
        float at_y = ((float)y + 0.5f) * scale_y - 0.5f, floor_y = floorf(at_y);
        cubic_weights(wy, at_y - floor_y);
        for (size_t x = 0; x < to_w; x++, out += width) {
            float at_x = ((float)x + 0.5f) * scale_x - 0.5f, floor_x = floorf(at_x);
            cubic_weights(wx, at_x - floor_x);
            memset(out, 0, width * sizeof *out);
            for (int i = 0; i < 16; i++) {
                size_t row = clamped((long)floor_y + i / 4 - 1, from_h), column = clamped((long)floor_x + i % 4 - 1, from_w);
                const float *in = table + (row * from_w + column) * width;
                float weight = wy[i / 4] * wx[i % 4];
                for (size_t c = 0; c < width; c++)
                    out[c] += weight * in[c];
            }
        }
    }
}

/* The position table for a grid of this many patches. */
static vlm_tensor *positions_for(vlm_context *context, const vlm_vision_tower *tower, size_t rows, size_t columns)
{
    size_t from_rows = tower->image_height / tower->patch, from_columns = tower->image_width / tower->patch;
    if (!tower->positions || (rows == from_rows && columns == from_columns))
        return tower->positions;
    size_t lead = tower->class_token ? 1 : 0, width = tower->width;
    vlm_tensor *table = vlm_context_matrix(context, rows * columns + lead, width);
    if (vlm_context_idle(context))
        return table;
    memcpy(table->data, tower->positions->data, lead * width * sizeof(float));
    stretch(vlm_tensor_floats(table) + lead * width, vlm_tensor_floats(tower->positions) + lead * width, from_rows, from_columns, rows, columns, width);
    return table;
}

/* ---- pooling ------------------------------------------------------------------------------------------ */

/* n sequences of `length` rows. */
static vlm_spans even_spans(vlm_context *context, size_t n, size_t length)
{
    size_t *starts = vlm_arena_alloc(&context->headers, n + 1, sizeof *starts);
    if (!starts) {
        vlm_context_fail(context, VLM_ERR_MEMORY, "out of memory: a batch of %zu", n);
        return (vlm_spans){0};
    }
    for (size_t i = 0; i <= n; i++)
        starts[i] = i * length;
    return (vlm_spans){n, starts};
}

/* Every sequence's rows [first, length), packed. */
static vlm_tensor *rows_from(vlm_context *context, vlm_tensor *x, vlm_spans spans, size_t first)
{
    size_t length = spans.n ? spans.starts[1] : 0, kept = length - first;
    size_t *index = vlm_arena_alloc(&context->headers, spans.n * kept, sizeof *index);
    if (!index)
        return vlm_context_fail(context, VLM_ERR_MEMORY, "out of memory: a batch of %zu", spans.n);
    for (size_t i = 0; i < spans.n * kept; i++)
        index[i] = i / kept * length + first + i % kept;
    return vlm_op_gather(context, x, index, spans.n * kept);
}

static vlm_tensor *mean_of_patches(vlm_context *context, const vlm_vision_tower *tower, vlm_tensor *x, vlm_spans spans)
{
    size_t lead = tower->class_token ? 1 : 0;
    vlm_spans patches = even_spans(context, spans.n, spans.starts[1] - lead);
    return vlm_op_mean(context, rows_from(context, x, spans, lead), patches);
}

/* SigLIP: a learned query attends to all patches; an MLP with a residual follows. */
static vlm_tensor *attention_pool(vlm_context *context, const vlm_vision_tower *tower, vlm_tensor *x, vlm_spans spans)
{
    size_t *zeros = vlm_arena_alloc_zero(&context->headers, spans.n, sizeof *zeros);
    vlm_spans one_each = even_spans(context, spans.n, 1);
    if (!zeros || vlm_context_failed(context))
        return vlm_context_fail(context, VLM_ERR_MEMORY, "out of memory: a batch of %zu", spans.n);
    vlm_tensor *q = vlm_op_linear(context, vlm_op_gather(context, tower->probe, zeros, spans.n), &tower->probe_q, VLM_ACT_NONE, NULL);
    vlm_tensor *kv = vlm_op_linear(context, x, &tower->probe_kv, VLM_ACT_NONE, NULL);
    vlm_tensor *h = vlm_op_cross_attention(context, q, one_each, kv, spans, tower->body.n_heads);
    h = vlm_op_linear(context, h, &tower->probe_out, VLM_ACT_NONE, NULL);
    vlm_tensor *up = vlm_op_linear(context, vlm_op_norm(context, h, &tower->probe_norm), &tower->probe_up, tower->body.activation, NULL);
    return vlm_op_linear(context, up, &tower->probe_down, VLM_ACT_NONE, h);
}

/* All blocks, and one vector of each picture. */
static vlm_tensor *run_and_pool(vlm_context *context, const vlm_vision_tower *tower, vlm_tensor *x, vlm_spans spans)
{
    if (vlm_context_failed(context))
        return NULL;
    if (tower->pooling == VLM_POOL_CLASS_NORMED)
        return vlm_op_norm(context, vlm_transformer_forward_rows(context, &tower->body, x, spans, spans.starts, "vision"), &tower->after);
    x = vlm_transformer_forward(context, &tower->body, x, spans, "vision");
    if (vlm_context_failed(context))
        return NULL;
    switch (tower->pooling) {
    case VLM_POOL_MEAN_NORMED: return vlm_op_norm(context, mean_of_patches(context, tower, x, spans), &tower->after);
    case VLM_POOL_NORMED_MEAN: return mean_of_patches(context, tower, vlm_op_norm(context, x, &tower->after), spans);
    case VLM_POOL_ATTENTION: return attention_pool(context, tower, vlm_op_norm(context, x, &tower->after), spans);
    default: return NULL;
    }
}

/* ---- the way ------------------------------------------------------------------------------------------- */

/* Patches with class token and positions: what the first block reads. */
static vlm_tensor *embed(vlm_context *context, const vlm_vision_tower *tower, const float *pixels, size_t n, size_t height, size_t width, vlm_spans *spans)
{
    size_t rows = height / tower->patch, columns = width / tower->patch;
    if (!n || !rows || !columns)
        return vlm_context_fail(context, VLM_ERR_ARGUMENT, "%zu pictures of %zu x %zu pixels; the model cuts them into patches of %zu", n, width, height, tower->patch);
    *spans = even_spans(context, n, rows * columns + (tower->class_token ? 1 : 0));
    vlm_tensor *x = vlm_op_patches(context, pixels, n, height, width, tower->patch);
    x = vlm_op_linear(context, x, &tower->patches, VLM_ACT_NONE, NULL);
    x = vlm_op_assemble(context, x, n, tower->class_token, positions_for(context, tower, rows, columns));
    if (tower->before.gain)
        x = vlm_op_norm(context, x, &tower->before);
    if (!vlm_context_failed(context))
        vlm_context_trace(context, "vision.embeddings", x);
    return x;
}

vlm_tensor *vlm_vision_features(vlm_context *context, const vlm_vision_tower *tower, const float *pixels, size_t n, size_t height, size_t width, vlm_spans *spans)
{
    vlm_tensor *x = embed(context, tower, pixels, n, height, width, spans);
    x = vlm_transformer_forward(context, &tower->body, x, *spans, "vision");
    x = vlm_op_norm(context, x, &tower->after);
    if (!vlm_context_failed(context))
        vlm_context_trace(context, "vision.features", x);
    return x;
}

vlm_tensor *vlm_vision_forward(vlm_context *context, const vlm_vision_tower *tower, const float *pixels, size_t n, size_t height, size_t width)
{
    vlm_spans spans;
    vlm_tensor *x = embed(context, tower, pixels, n, height, width, &spans);
    x = run_and_pool(context, tower, x, spans);
    if (tower->projection.weight)
        x = vlm_op_linear(context, x, &tower->projection, VLM_ACT_NONE, NULL);
    if (!vlm_context_failed(context))
        vlm_context_trace(context, "vision.vector", x);
    return x;
}
