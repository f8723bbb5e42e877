/* Rows from tables and back: patches, class token and positions, token look-up, gather, mean.
 * The gathers of ViT (Dosovitskiy et al. 2021, eq. 1) and of the text towers; backward beside each. */
#include <string.h>

#include "layers/ops.h"

/* ---- patches ------------------------------------------------------------------------------------------ */

typedef struct patches_job {
    const float *pixels;
    float *out;
    size_t height, width, patch, rows, columns; /* rows, columns: of patches */
} patches_job;

/* A task is one row of patches of one picture. */
static void cut_patches(void *argument, size_t first, size_t last, size_t thread)
{
    (void)thread;
    const patches_job *job = argument;
    size_t p = job->patch, plane = job->height * job->width, length = 3 * p * p;
    for (size_t i = first; i < last; i++) {
        size_t picture = i / job->rows, row = i % job->rows;
        float *out = job->out + i * job->columns * length;
        const float *in = job->pixels + picture * 3 * plane + row * p * job->width;
        for (size_t column = 0; column < job->columns; column++, out += length)
            for (size_t c = 0; c < 3; c++)
                for (size_t y = 0; y < p; y++)
                    memcpy(out + (c * p + y) * p, in + c * plane + y * job->width + column * p, p * sizeof *out);
    }
}

vlm_tensor *vlm_op_patches(vlm_context *context, const float *pixels, size_t n, size_t height, size_t width, size_t patch)
{
    if (vlm_context_failed(context))
        return NULL;
    patches_job job = {pixels, NULL, height, width, patch, height / patch, width / patch};
    vlm_tensor *y = vlm_context_matrix(context, n * job.rows * job.columns, 3 * patch * patch);
    if (vlm_context_idle(context))
        return y;
    job.out = y->data;
    vlm_parallel(context, n * job.rows, 1, cut_patches, &job);
    return y;
}

/* ---- class token and positions ------------------------------------------------------------------------- */

typedef struct assemble_saved {
    vlm_tensor *patches, *class_token, *positions, *y;
    size_t n;
} assemble_saved;

static void assemble_backward(vlm_context *context, void *argument)
{
    assemble_saved *saved = argument;
    if (!saved->y->grad)
        return;
    size_t width = vlm_tensor_columns(saved->y), p = vlm_tensor_rows(saved->patches) / saved->n, lead = saved->class_token ? 1 : 0, t = p + lead;
    float *dpatches = saved->patches->wants_grad ? vlm_grad_zeroed(context, saved->patches) : NULL;
    float *dclass = lead && saved->class_token->wants_grad ? vlm_grad_zeroed(context, saved->class_token) : NULL;
    float *dpositions = saved->positions && saved->positions->wants_grad ? vlm_grad_zeroed(context, saved->positions) : NULL;
    if (vlm_context_failed(context))
        return;
    for (size_t i = 0; i < saved->n; i++) {
        const float *dy = saved->y->grad + i * t * width;
        if (dclass)
            context->kernels->add(dclass, dclass, dy, width);
        if (dpositions)
            context->kernels->add(dpositions, dpositions, dy, t * width);
        if (dpatches)
            context->kernels->add(dpatches + i * p * width, dpatches + i * p * width, dy + lead * width, p * width);
    }
}

vlm_tensor *vlm_op_assemble(vlm_context *context, vlm_tensor *patches, size_t n, vlm_tensor *class_token, vlm_tensor *positions)
{
    if (vlm_context_failed(context))
        return NULL;
    size_t width = vlm_tensor_columns(patches), p = vlm_tensor_rows(patches) / n, lead = class_token ? 1 : 0, t = p + lead;
    if (positions && vlm_tensor_count(positions) != t * width)
        return vlm_context_fail(context, VLM_ERR_MISMATCH, "%s: %zu values, %zu positions of %zu are wanted", positions->name,
                                vlm_tensor_count(positions), t, width);
    vlm_tensor *y = vlm_context_matrix(context, n * t, width);
    if (vlm_context_idle(context))
        return y;
    for (size_t i = 0; i < n; i++) {
        float *out = vlm_tensor_floats(y) + i * t * width;
        if (lead)
            memcpy(out, class_token->data, width * sizeof *out);
        memcpy(out + lead * width, vlm_tensor_floats(patches) + i * p * width, p * width * sizeof *out);
        if (positions)
            context->kernels->add(out, out, positions->data, t * width);
    }
    bool wants = patches->wants_grad || (class_token && class_token->wants_grad) || (positions && positions->wants_grad);
    if (vlm_recording(context) && wants) {
        y->wants_grad = true;
        vlm_context_record(context, assemble_backward, &(assemble_saved){patches, class_token, positions, y, n}, sizeof(assemble_saved));
    }
    return y;
}

/* ---- tokens ------------------------------------------------------------------------------------------- */

typedef struct embed_saved {
    const int32_t *ids;
    vlm_spans spans;
    vlm_tensor *tokens, *positions, *y;
    size_t offset;
} embed_saved;

static void embed_backward(vlm_context *context, void *argument)
{
    embed_saved *saved = argument;
    if (!saved->y->grad)
        return;
    size_t width = vlm_tensor_columns(saved->y);
    float *dtokens = saved->tokens->wants_grad ? vlm_grad_zeroed(context, saved->tokens) : NULL;
    float *dpositions = saved->positions && saved->positions->wants_grad ? vlm_grad_zeroed(context, saved->positions) : NULL;
    if (vlm_context_failed(context))
        return;
    for (size_t s = 0; s < saved->spans.n; s++)
        for (size_t i = saved->spans.starts[s]; i < saved->spans.starts[s + 1]; i++) {
            const float *dy = saved->y->grad + i * width;
            size_t position = i - saved->spans.starts[s] + saved->offset;
            if (dtokens)
                context->kernels->add(dtokens + (size_t)saved->ids[i] * width, dtokens + (size_t)saved->ids[i] * width, dy, width);
            if (dpositions)
                context->kernels->add(dpositions + position * width, dpositions + position * width, dy, width);
        }
}

/* Row `row` of a table of any plain type. */
static void read_row(const vlm_kernels *kernels, float *out, const vlm_tensor *table, size_t row)
{
    size_t width = vlm_tensor_columns(table);
    const char *data = (const char *)table->data + row * width * vlm_dtype_size(table->type);
    switch (table->type) {
    case VLM_F16: kernels->f16_to_f32(out, data, width); break;
    case VLM_BF16: kernels->bf16_to_f32(out, data, width); break;
    default: memcpy(out, data, width * sizeof *out); break;
    }
}

vlm_tensor *vlm_op_embed(vlm_context *context, const int32_t *ids, vlm_spans spans, vlm_tensor *tokens, vlm_tensor *positions, size_t offset)
{
    if (vlm_context_failed(context))
        return NULL;
    size_t width = vlm_tensor_columns(tokens), rows = spans.starts[spans.n];
    vlm_tensor *y = vlm_context_matrix(context, rows, width);
    if (vlm_context_idle(context))
        return y;
    for (size_t s = 0; s < spans.n; s++) {
        size_t length = spans.starts[s + 1] - spans.starts[s];
        if (positions && length + offset > positions->shape[0])
            return vlm_context_fail(context, VLM_ERR_LIMIT, "a text of %zu tokens; the model takes at most %zu", length, positions->shape[0] - offset);
        for (size_t i = spans.starts[s]; i < spans.starts[s + 1]; i++) {
            if (ids[i] < 0 || (size_t)ids[i] >= tokens->shape[0])
                return vlm_context_fail(context, VLM_ERR_MISMATCH, "token id %ld: the embedding table has %zu rows; do tokenizer and weights belong together?",
                                        (long)ids[i], tokens->shape[0]);
            float *out = vlm_tensor_floats(y) + i * width;
            read_row(context->kernels, out, tokens, (size_t)ids[i]);
            if (positions)
                context->kernels->add(out, out, vlm_tensor_floats(positions) + (i - spans.starts[s] + offset) * width, width);
        }
    }
    if (vlm_recording(context) && (tokens->wants_grad || (positions && positions->wants_grad))) {
        y->wants_grad = true;
        vlm_context_record(context, embed_backward, &(embed_saved){ids, spans, tokens, positions, y, offset}, sizeof(embed_saved));
    }
    return y;
}

/* ---- gather and mean ----------------------------------------------------------------------------------- */

typedef struct gather_saved {
    vlm_tensor *x, *y;
    const size_t *index;
} gather_saved;

static void gather_backward(vlm_context *context, void *argument)
{
    gather_saved *saved = argument;
    if (!saved->y->grad)
        return;
    size_t width = vlm_tensor_columns(saved->x), n = vlm_tensor_rows(saved->y);
    float *dx = vlm_grad_zeroed(context, saved->x);
    for (size_t i = 0; dx && i < n; i++)
        context->kernels->add(dx + saved->index[i] * width, dx + saved->index[i] * width, saved->y->grad + i * width, width);
}

vlm_tensor *vlm_op_gather(vlm_context *context, vlm_tensor *x, const size_t *index, size_t n)
{
    if (vlm_context_failed(context))
        return NULL;
    size_t width = vlm_tensor_columns(x);
    vlm_tensor *y = vlm_context_matrix(context, n, width);
    if (vlm_context_idle(context))
        return y;
    for (size_t i = 0; i < n; i++)
        memcpy(vlm_tensor_floats(y) + i * width, vlm_tensor_floats(x) + index[i] * width, width * sizeof(float));
    if (vlm_recording(context) && x->wants_grad) {
        size_t *copy = vlm_context_bytes(context, n * sizeof *copy);
        if (!copy)
            return NULL;
        memcpy(copy, index, n * sizeof *copy);
        y->wants_grad = true;
        vlm_context_record(context, gather_backward, &(gather_saved){x, y, copy}, sizeof(gather_saved));
    }
    return y;
}

typedef struct merge_saved {
    vlm_tensor *a, *b, *y;
    const size_t *order;
} merge_saved;

static void merge_backward(vlm_context *context, void *argument)
{
    merge_saved *saved = argument;
    if (!saved->y->grad)
        return;
    size_t width = vlm_tensor_columns(saved->y), rows = vlm_tensor_rows(saved->y), rows_a = vlm_tensor_rows(saved->a);
    float *da = saved->a->wants_grad ? vlm_grad_zeroed(context, saved->a) : NULL, *db = saved->b->wants_grad ? vlm_grad_zeroed(context, saved->b) : NULL;
    for (size_t i = 0; i < rows && !vlm_context_failed(context); i++) {
        size_t from = saved->order[i];
        float *grad = from < rows_a ? da ? da + from * width : NULL : db ? db + (from - rows_a) * width : NULL;
        if (grad)
            context->kernels->add(grad, grad, saved->y->grad + i * width, width);
    }
}

vlm_tensor *vlm_op_merge(vlm_context *context, vlm_tensor *a, vlm_tensor *b, const size_t *order, size_t n)
{
    if (vlm_context_failed(context))
        return NULL;
    size_t width = vlm_tensor_columns(a), rows_a = vlm_tensor_rows(a);
    if (vlm_tensor_columns(b) != width)
        return vlm_context_fail(context, VLM_ERR_MISMATCH, "rows of %zu and of %zu values cannot be merged", width, vlm_tensor_columns(b));
    vlm_tensor *y = vlm_context_matrix(context, n, width);
    if (vlm_context_idle(context))
        return y;
    for (size_t i = 0; i < n; i++)
        memcpy(vlm_tensor_floats(y) + i * width, order[i] < rows_a ? vlm_tensor_floats(a) + order[i] * width : vlm_tensor_floats(b) + (order[i] - rows_a) * width, width * sizeof(float));
    if (vlm_recording(context) && (a->wants_grad || b->wants_grad)) {
        y->wants_grad = true;
        vlm_context_record(context, merge_backward, &(merge_saved){a, b, y, order}, sizeof(merge_saved));
    }
    return y;
}

typedef struct mean_saved {
    vlm_tensor *x, *y;
    vlm_spans spans;
} mean_saved;

static void mean_backward(vlm_context *context, void *argument)
{
    mean_saved *saved = argument;
    if (!saved->y->grad)
        return;
    size_t width = vlm_tensor_columns(saved->x);
    float *dx = vlm_grad_zeroed(context, saved->x);
    for (size_t s = 0; dx && s < saved->spans.n; s++) {
        size_t first = saved->spans.starts[s], last = saved->spans.starts[s + 1];
        for (size_t i = first; i < last; i++)
            context->kernels->axpy(dx + i * width, 1 / (float)(last - first), saved->y->grad + s * width, width);
    }
}

vlm_tensor *vlm_op_mean(vlm_context *context, vlm_tensor *x, vlm_spans spans)
{
    if (vlm_context_failed(context))
        return NULL;
    size_t width = vlm_tensor_columns(x);
    vlm_tensor *y = vlm_context_matrix(context, spans.n, width);
    if (vlm_context_idle(context))
        return y;
    for (size_t s = 0; s < spans.n; s++) {
        float *out = vlm_tensor_floats(y) + s * width;
        size_t first = spans.starts[s], last = spans.starts[s + 1];
        memset(out, 0, width * sizeof *out);
        for (size_t i = first; i < last; i++)
            context->kernels->add(out, out, vlm_tensor_floats(x) + i * width, width);
        context->kernels->scale(out, last > first ? 1 / (float)(last - first) : 0, width);
    }
    if (vlm_recording(context) && x->wants_grad) {
        y->wants_grad = true;
        vlm_context_record(context, mean_backward, &(mean_saved){x, y, spans}, sizeof(mean_saved));
    }
    return y;
}
