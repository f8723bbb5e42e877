/* Resize as Pillow 13.0 does (src/libImaging/Resample.c, Geometry.c), bit for bit.
 * [h, w, c] -> [H, W, c]. Weights in 22 bits of fixed point, support scaled by the ratio.
 * Trap: 13.0 goes down first when h - H > 0 and h - H > 2 (w - W); all versions before go across first.
 * Trap: nearest is a transform with its own running sum of positions, not a filter. */
#include <math.h>
#include <stdlib.h>

#include "base/fail.h"
#include "base/memory.h"
#include "pipeline/resize.h"

enum { PRECISION = 22 };

static double filter_box(double x)
{
    return x > -0.5 && x <= 0.5 ? 1 : 0;
}

static double filter_hamming(double x)
{
    x = x < 0 ? -x : x;
    if (x == 0)
        return 1;
    if (x >= 1)
        return 0;
    x *= 3.14159265358979323846;
    return sin(x) / x * (0.54f + 0.46f * cos(x)); /* single-precision constants, as there */
}

static const struct {
    vlm_filter_function *function;
    double support;
} filters[] = {
    [VLM_FILTER_LANCZOS] = {vlm_filter_lanczos, 3}, [VLM_FILTER_BILINEAR] = {vlm_filter_bilinear, 1}, [VLM_FILTER_BICUBIC] = {vlm_filter_bicubic, 2},
    [VLM_FILTER_BOX] = {filter_box, 0.5},           [VLM_FILTER_HAMMING] = {filter_hamming, 1},
};

static vlm_status make_weights(vlm_resize_weights *weights, double **values, size_t in_size, size_t size, size_t begin, size_t n, vlm_filter filter, vlm_error *error)
{
    vlm_status status = vlm_resize_weights_create(weights, values, in_size, size, begin, n, filters[filter].function, filters[filter].support, error);
    if (status != VLM_OK)
        return status;
    weights->precision = PRECISION;
    for (size_t i = 0; i < n * weights->taps; i++) {
        double w = (*values)[i] * (1 << PRECISION);
        weights->weights[i] = (int32_t)(w < 0 ? w - 0.5 : w + 0.5);
    }
    return VLM_OK;
}

/* Positions are summed up step by step in double, which is not always what one product would give. */
static size_t *nearest_positions(size_t in_size, size_t size, size_t begin, size_t n)
{
    size_t *positions = vlm_alloc(n, sizeof *positions);
    double step = (double)in_size / (double)size, at = step * 0.5;
    for (size_t i = 0; positions && i < begin + n; i++, at += step) {
        size_t position = at < (double)in_size ? (size_t)at : in_size - 1;
        if (i >= begin)
            positions[i - begin] = position;
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

/* h - H > 0 and h - H > 2 (w - W), without a sign problem. */
static int goes_down_first(const vlm_resize_job *job)
{
    long long shrink_down = (long long)job->in_height - (long long)job->height, shrink_across = (long long)job->in_width - (long long)job->width;
    return shrink_down > 0 && shrink_down > 2 * shrink_across;
}

vlm_status vlm_resize_pillow(uint8_t *out, const vlm_resize_job *job, vlm_threads *threads, vlm_error *error)
{
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
        status = vlm_resize_passes(out, job, need_across ? &across : NULL, need_down ? &down : NULL, goes_down_first(job), threads, error);
    free(across_values);
    free(down_values);
    vlm_resize_weights_free(&across);
    vlm_resize_weights_free(&down);
    return status;
}

/* ---- 16 bits ------------------------------------------------------------------------------------------- */

static uint16_t round_16(double sum)
{
    int x = (int)(sum >= 0 ? sum + 0.5F : sum - 0.5F);
    return (uint16_t)(x < 0 ? 0 : x > 65535 ? 65535 : x);
}

/* Sums in double with the unrounded weights. The results lie `out_step` apart, the inputs `in_step`, so that
 * one function goes across (steps of 1) and down (steps of a row). */
static void pass_16(uint16_t *out, size_t out_step, const uint16_t *in, size_t in_step, const vlm_resize_weights *weights, const double *values)
{
    for (size_t i = 0; i < weights->n; i++) {
        const double *w = values + i * weights->taps;
        double sum = 0;
        for (int32_t t = 0; t < weights->count[i]; t++)
            sum += in[(size_t)(weights->first[i] + t) * in_step] * w[t];
        out[i * out_step] = round_16(sum);
    }
}

/* Pillow keeps 16-bit grey pictures small in number and this slow path small in code: whole rows, no window
 * between the passes. A side that keeps its size has weights of one. */
static vlm_status passes_16(uint16_t *out, const vlm_resize_job *job, const vlm_resize_weights *across, const double *across_values, const vlm_resize_weights *down,
                            const double *down_values, vlm_error *error)
{
    const uint16_t *in = (const uint16_t *)(const void *)job->in;
    int down_first = goes_down_first(job);
    size_t width = down_first ? job->in_width : job->window_width, height = down_first ? job->window_height : job->in_height;
    uint16_t *between = vlm_alloc(width * height, sizeof *between);
    if (!between)
        return vlm_fail_memory(error, width * height * sizeof *between, "a resize");
    if (down_first) {
        for (size_t x = 0; x < width; x++)
            pass_16(between + x, width, in + x, job->in_width, down, down_values);
        for (size_t y = 0; y < height; y++)
            pass_16(out + y * job->window_width, 1, between + y * width, 1, across, across_values);
    } else {
        for (size_t y = 0; y < height; y++)
            pass_16(between + y * width, 1, in + y * job->in_width, 1, across, across_values);
        for (size_t x = 0; x < width; x++)
            pass_16(out + x, width, between + x, width, down, down_values);
    }
    free(between);
    return VLM_OK;
}

vlm_status vlm_resize_pillow_16(uint16_t *out, const vlm_resize_job *job, vlm_error *error)
{
    if (job->filter == VLM_FILTER_NEAREST) {
        vlm_resize_job bytes = *job;
        bytes.channels = 2; /* a pixel is picked whole: two bytes */
        return resize_nearest((uint8_t *)out, &bytes, error);
    }
    vlm_resize_weights across = {0}, down = {0};
    double *across_values = NULL, *down_values = NULL;
    /* The box filter's weights of an unchanged size are single ones, whatever filter was asked for. */
    vlm_filter filter_across = job->width == job->in_width ? VLM_FILTER_BOX : job->filter, filter_down = job->height == job->in_height ? VLM_FILTER_BOX : job->filter;
    vlm_status status = make_weights(&across, &across_values, job->in_width, job->width, job->left, job->window_width, filter_across, error);
    if (status == VLM_OK)
        status = make_weights(&down, &down_values, job->in_height, job->height, job->top, job->window_height, filter_down, error);
    if (status == VLM_OK)
        status = passes_16(out, job, &across, across_values, &down, down_values, error);
    free(across_values);
    free(down_values);
    vlm_resize_weights_free(&across);
    vlm_resize_weights_free(&down);
    return status;
}
