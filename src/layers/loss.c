/* Losses, forward and backward in one: the gradients are found with the value and wait on the tape.
 * contrastive: images [b, d], texts [t, d], log_scale [1] -> [1]. Radford et al. 2021, fig. 3; open_clip's
 * ClipLoss when every text belongs to one picture.
 * cross-entropy: logits [rows, n], targets [rows] -> [1]. torch.nn.functional.cross_entropy.
 * Sums over rows are in double: a batch of 32,768 must not lose the last pair. */
#include <math.h>
#include <string.h>

#include "layers/ops.h"

typedef struct contrastive_saved {
    vlm_tensor *images, *texts, *log_scale, *loss;
    float *dlogits; /* [b, t], of the loss by exp(log_scale) * cosine */
    const float *logits;
} contrastive_saved;

static void contrastive_backward(vlm_context *context, void *argument)
{
    contrastive_saved *saved = argument;
    if (!saved->loss->grad)
        return;
    size_t b = vlm_tensor_rows(saved->images), t = vlm_tensor_rows(saved->texts), d = vlm_tensor_columns(saved->images);
    float seed = saved->loss->grad[0], scale = expf(vlm_tensor_floats(saved->log_scale)[0]);
    if (saved->log_scale->wants_grad) { /* d logits / d log_scale = logits */
        float *grad = vlm_grad_zeroed(context, saved->log_scale);
        double sum = 0;
        for (size_t i = 0; i < b; i++)
            sum += context->kernels->dot(saved->dlogits + i * t, saved->logits + i * t, t);
        if (grad)
            grad[0] += seed * (float)sum;
    }
    context->kernels->scale(saved->dlogits, seed * scale, b * t);
    if (saved->images->wants_grad) { /* [b, d] = dlogits [b, t] texts [t, d] */
        float *grad = vlm_grad_zeroed(context, saved->images);
        void *panels = vlm_pack(context, VLM_F32, saved->texts->data, 1, d, d, t);
        if (grad && panels)
            vlm_matmul(context, grad, d, saved->dlogits, t, 1, VLM_F32, panels, b, d, t, &(vlm_epilogue){.accumulate = true});
    }
    if (saved->texts->wants_grad) { /* [t, d] = dlogits^T [t, b] images [b, d] */
        float *grad = vlm_grad_zeroed(context, saved->texts);
        void *panels = vlm_pack(context, VLM_F32, saved->images->data, 1, d, d, b);
        if (grad && panels)
            vlm_matmul(context, grad, d, saved->dlogits, 1, t, VLM_F32, panels, t, d, b, &(vlm_epilogue){.accumulate = true});
    }
}

/* Cross-entropy of one row or column of the logits against equal shares on its positives; adds
 * weight * (softmax - target) to the gradient, of the same stride, and returns the loss. */
static double one_sided(float *gradient, const float *logits, size_t n, size_t stride, float weight, const int32_t *group, size_t own, size_t n_positives)
{
    float highest = -INFINITY;
    for (size_t j = 0; j < n; j++)
        highest = logits[j * stride] > highest ? logits[j * stride] : highest;
    double sum = 0, positive = 0;
    for (size_t j = 0; j < n; j++)
        sum += exp((double)logits[j * stride] - highest);
    for (size_t j = 0; j < n; j++) {
        bool same = group ? group[j] == group[own] : j == own;
        double p = exp((double)logits[j * stride] - highest) / sum;
        gradient[j * stride] += weight * (float)(p - (same ? 1.0 / (double)n_positives : 0));
        if (same)
            positive += logits[j * stride];
    }
    return log(sum) + highest - positive / (double)n_positives;
}

static size_t count_positives(const int32_t *group, size_t n, size_t own)
{
    size_t count = 0;
    for (size_t j = 0; j < n; j++)
        count += group ? group[j] == group[own] : j == own;
    return count;
}

vlm_tensor *vlm_op_contrastive_loss(vlm_context *context, vlm_tensor *images, vlm_tensor *texts, vlm_tensor *log_scale, const int32_t *group)
{
    if (vlm_context_failed(context))
        return NULL;
    size_t b = vlm_tensor_rows(images), t = vlm_tensor_rows(texts), d = vlm_tensor_columns(images);
    if (t < b || vlm_tensor_columns(texts) != d)
        return vlm_context_fail(context, VLM_ERR_ARGUMENT, "contrastive loss of images [%zu, %zu] and texts [%zu, %zu]", b, d, t, vlm_tensor_columns(texts));
    vlm_tensor *loss = vlm_context_matrix(context, 1, 1);
    float *logits = vlm_context_floats(context, b * t), *dlogits = vlm_context_floats(context, b * t);
    void *panels = vlm_pack(context, VLM_F32, texts->data, d, 1, t, d);
    if (vlm_context_idle(context))
        return loss;
    vlm_matmul(context, logits, t, images->data, d, 1, VLM_F32, panels, b, t, d, NULL);
    context->kernels->scale(logits, expf(vlm_tensor_floats(log_scale)[0]), b * t);
    memset(dlogits, 0, b * t * sizeof *dlogits);
    double total = 0;
    float weight = 0.5f / (float)b;
    for (size_t i = 0; i < b; i++) {
        total += one_sided(dlogits + i * t, logits + i * t, t, 1, weight, group, i, count_positives(group, t, i));
        total += one_sided(dlogits + i, logits + i, b, t, weight, group, i, count_positives(group, b, i));
    }
    vlm_tensor_floats(loss)[0] = (float)(0.5 * total / (double)b);
    if (vlm_recording(context)) {
        loss->wants_grad = true;
        vlm_context_record(context, contrastive_backward, &(contrastive_saved){images, texts, log_scale, loss, dlogits, logits}, sizeof(contrastive_saved));
    }
    return loss;
}

typedef struct cross_entropy_saved {
    vlm_tensor *logits, *loss;
    const float *gradient;
} cross_entropy_saved;

static void cross_entropy_backward(vlm_context *context, void *argument)
{
    cross_entropy_saved *saved = argument;
    if (!saved->loss->grad)
        return;
    float *grad = vlm_grad_zeroed(context, saved->logits);
    if (grad)
        context->kernels->axpy(grad, saved->loss->grad[0], saved->gradient, vlm_tensor_count(saved->logits));
}

/* One row: -sum_j q_j log p_j with q = (1 - smoothing) at the target + smoothing / n everywhere. */
static double smoothed_row(float *gradient, const float *logits, size_t n, size_t target, float smoothing, double weight)
{
    float highest = -INFINITY;
    for (size_t j = 0; j < n; j++)
        highest = logits[j] > highest ? logits[j] : highest;
    double sum = 0, mean = 0;
    for (size_t j = 0; j < n; j++) {
        sum += exp((double)logits[j] - highest);
        mean += logits[j];
    }
    double total = log(sum) + highest, share = smoothing / (double)n;
    mean /= (double)n;
    for (size_t j = 0; j < n; j++)
        gradient[j] = (float)(weight * (exp((double)logits[j] - total) - share - (j == target ? 1 - (double)smoothing : 0)));
    return (1 - (double)smoothing) * (total - logits[target]) + smoothing * (total - mean);
}

vlm_tensor *vlm_op_cross_entropy(vlm_context *context, vlm_tensor *logits, const int32_t *targets, float smoothing)
{
    if (vlm_context_failed(context))
        return NULL;
    size_t rows = vlm_tensor_rows(logits), n = vlm_tensor_columns(logits), counted = 0;
    vlm_tensor *loss = vlm_context_matrix(context, 1, 1);
    float *gradient = vlm_context_floats(context, rows * n);
    if (vlm_context_idle(context))
        return loss;
    for (size_t i = 0; i < rows; i++) {
        if (targets[i] != -100 && (targets[i] < 0 || (size_t)targets[i] >= n))
            return vlm_context_fail(context, VLM_ERR_ARGUMENT, "target %ld of %zu classes", (long)targets[i], n);
        counted += targets[i] != -100;
    }
    double total = 0;
    for (size_t i = 0; i < rows; i++) {
        if (targets[i] == -100)
            memset(gradient + i * n, 0, n * sizeof *gradient);
        else
            total += smoothed_row(gradient + i * n, vlm_tensor_floats(logits) + i * n, n, (size_t)targets[i], smoothing, 1.0 / (double)counted);
    }
    vlm_tensor_floats(loss)[0] = counted ? (float)(total / (double)counted) : 0;
    if (vlm_recording(context) && logits->wants_grad) {
        loss->wants_grad = true;
        vlm_context_record(context, cross_entropy_backward, &(cross_entropy_saved){logits, loss, gradient}, sizeof(cross_entropy_saved));
    }
    return loss;
}
