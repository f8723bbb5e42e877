/* Resizing 8-bit pictures with the arithmetic of the libraries that the models were trained with.
 * Both work in two passes, across and down, each an integer dot product rounded back to a byte; they differ
 * in the weights, their precision and the order of the passes. */
#ifndef VLM_PIPELINE_RESIZE_H
#define VLM_PIPELINE_RESIZE_H

#include <stddef.h>
#include <stdint.h>

#include "base/threads.h"
#include "vlm/error.h"

/* Pillow's numbers, as in its Image.resize(resample=). */
typedef enum vlm_filter {
    VLM_FILTER_NEAREST = 0,
    VLM_FILTER_LANCZOS = 1,
    VLM_FILTER_BILINEAR = 2,
    VLM_FILTER_BICUBIC = 3,
    VLM_FILTER_BOX = 4,
    VLM_FILTER_HAMMING = 5
} vlm_filter;

/* What to resize to what. Only the window of the result is computed (what a crop keeps of it); the bytes
 * are those of the whole. */
typedef struct vlm_resize_job {
    const uint8_t *in; /* [in_height, in_width, channels] */
    size_t in_width, in_height, channels; /* 1 to 4 bytes a pixel */
    size_t width, height;                 /* of the whole result */
    size_t left, top, window_width, window_height;
    vlm_filter filter;
} vlm_resize_job;

/* out [window_height, window_width, channels].
 * As Pillow 13.0's Image.resize on a picture whose bands are bytes. */
vlm_status vlm_resize_pillow(uint8_t *out, const vlm_resize_job *job, vlm_threads *threads, vlm_error *error);
/* The same for mode I;16: in and out are uint16_t, channels is 1. */
vlm_status vlm_resize_pillow_16(uint16_t *out, const vlm_resize_job *job, vlm_error *error);
/* As torchvision 0.29's v2 resize with antialias on an uint8 tensor, on a CPU with AVX2 or better. Box and
 * Hamming are VLM_ERR_UNSUPPORTED, as there. */
vlm_status vlm_resize_torchvision(uint8_t *out, const vlm_resize_job *job, vlm_threads *threads, vlm_error *error);

/* ---- What the two share (resize.c) -------------------------------------------------------------------- */

/* For each of n places of the result: the weights of `count[i]` inputs from `first[i]` on. A result is
 * clip((sum + half) >> precision) in int32_t. */
typedef struct vlm_resize_weights {
    size_t n, taps; /* room for `taps` weights each */
    int precision;
    int32_t *first, *count, *weights; /* [n], [n], [n, taps] */
} vlm_resize_weights;

typedef double vlm_filter_function(double x);

/* Weights of places begin .. begin + n - 1 of an axis of `size` made from in_size, in double, each place's sum
 * scaled to 1; then to be rounded to int32_t by the caller. values [n, taps]. */
vlm_status vlm_resize_weights_create(vlm_resize_weights *weights, double **values, size_t in_size, size_t size, size_t begin, size_t n, vlm_filter_function *filter, double support, vlm_error *error);
void vlm_resize_weights_free(vlm_resize_weights *weights);

double vlm_filter_bilinear(double x);
double vlm_filter_bicubic(double x);
double vlm_filter_lanczos(double x);

/* Both passes; down first when asked, across first otherwise. A NULL side is not resized, only cut. The
 * weights' `first` are used up. */
vlm_status vlm_resize_passes(uint8_t *out, const vlm_resize_job *job, const vlm_resize_weights *across, const vlm_resize_weights *down, int down_first, vlm_threads *threads, vlm_error *error);
/* out[y][x] = in[rows[y]][columns[x]]. */
void vlm_resize_pick(uint8_t *out, const vlm_resize_job *job, const size_t *rows, const size_t *columns);

#endif
