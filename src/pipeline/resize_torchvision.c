/* Resize as torchvision 0.29's v2 functional resize does on uint8 tensors, antialias on: PyTorch's int16
 * weights. [h, w, c] -> [H, W, c], across first.
 * Matches ATen's upsample_*2d_aa for bytes on CPUs with AVX2 or better (without, bilinear goes through float).
 * Trap: each axis has its own precision, the largest that keeps its largest weight below 2^15. */
#include <math.h>
#include <stdlib.h>

#include "base/fail.h"
#include "base/memory.h"
#include "pipeline/resize.h"

/* The largest weight of the whole axis decides, so all of it is computed even when a crop keeps a part. */
static vlm_status make_weights(vlm_resize_weights *weights, double **values, size_t in_size, size_t size, size_t begin, size_t n, vlm_filter filter, vlm_error *error)
{
    vlm_filter_function *function = filter == VLM_FILTER_BILINEAR ? vlm_filter_bilinear : filter == VLM_FILTER_BICUBIC ? vlm_filter_bicubic : vlm_filter_lanczos;
    double support = filter == VLM_FILTER_BILINEAR ? 1 : filter == VLM_FILTER_BICUBIC ? 2 : 3, largest = 0;
    vlm_resize_weights whole;
    vlm_status status = vlm_resize_weights_create(&whole, values, in_size, size, 0, size, function, support, error);
    if (status != VLM_OK)
        return status;
    for (size_t i = 0; i < size * whole.taps; i++)
        largest = (*values)[i] > largest ? (*values)[i] : largest;
    int precision = 0;
    while (precision < 22 && (int)(0.5 + largest * (1 << (precision + 1))) < 1 << 15)
        precision++;
    for (size_t i = 0; i < size * whole.taps; i++) {
        double w = (*values)[i] * (1 << precision);
        whole.weights[i] = (int16_t)(w < 0 ? w - 0.5 : w + 0.5);
    }
    whole.precision = precision;
    for (size_t i = 0; i < n; i++) {
        whole.first[i] = whole.first[begin + i];
        whole.count[i] = whole.count[begin + i];
        for (size_t t = 0; t < whole.taps; t++)
            whole.weights[i * whole.taps + t] = whole.weights[(begin + i) * whole.taps + t];
    }
    whole.n = n;
    *weights = whole;
    return VLM_OK;
}

/* nearest-exact: the middle of each place, in float32 as ATen's scales are. */
static size_t *nearest_positions(size_t in_size, size_t size, size_t begin, size_t n)
{
    size_t *positions = vlm_alloc(n, sizeof *positions);
    float scale = (float)in_size / (float)size;
    for (size_t i = 0; positions && i < n; i++) {
        size_t position = (size_t)floorf((float)(((double)(begin + i) + 0.5) * (double)scale));
        positions[i] = position < in_size ? position : in_size - 1;
    }
    return positions;
}

static vlm_status resize_nearest(uint8_t *out, const vlm_resize_job *job, vlm_error *error)
{
    size_t *columns = nearest_positions(job->in_width, job->width, job->left, job->window_width);
    size_t *rows = nearest_positions(job->in_height, job->height, job->top, job->window_height);
    vlm_status status = VLM_OK;
    if (columns && rows)
        vlm_resize_pick(out, job, rows, columns);
    else
        status = vlm_fail_memory(error, (job->window_width + job->window_height) * sizeof *rows, "a resize");
    free(columns);
    free(rows);
    return status;
}

vlm_status vlm_resize_torchvision(uint8_t *out, const vlm_resize_job *job, vlm_threads *threads, vlm_error *error)
{
    if (job->width == job->in_width && job->height == job->in_height)
        return vlm_resize_passes(out, job, NULL, NULL, 0, threads, error);
    if (job->filter == VLM_FILTER_BOX || job->filter == VLM_FILTER_HAMMING)
        return vlm_fail(error, VLM_ERR_UNSUPPORTED, "a box or Hamming resize, which torchvision does not have; Pillow's arithmetic does");
    if (job->filter == VLM_FILTER_NEAREST)
        return resize_nearest(out, job, error);
    vlm_resize_weights across = {0}, down = {0};
    double *across_values = NULL, *down_values = NULL;
    int need_across = job->width != job->in_width, need_down = job->height != job->in_height;
    vlm_status status = VLM_OK;
    if (need_across)
        status = make_weights(&across, &across_values, job->in_width, job->width, job->left, job->window_width, job->filter, error);
    if (status == VLM_OK && need_down)
        status = make_weights(&down, &down_values, job->in_height, job->height, job->top, job->window_height, job->filter, error);
    if (status == VLM_OK)
        status = vlm_resize_passes(out, job, need_across ? &across : NULL, need_down ? &down : NULL, 0, threads, error);
    free(across_values);
    free(down_values);
    vlm_resize_weights_free(&across);
    vlm_resize_weights_free(&down);
    return status;
}
