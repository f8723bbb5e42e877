/* The two passes of a resize, as Pillow and PyTorch have them: bytes in, integer weights, bytes out.
 * Integer arithmetic, so neither vectors nor threads change a bit of it.
 * Trap: the rounding to bytes between the passes makes their order visible. */
#include "pipeline/resize.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/memory.h"

/* The inner loops are plain C that wants 32-bit vector products, which x86 has since SSE4.1: compiled twice,
 * chosen when the program is loaded. Not a kernel slot, as the result is the same by definition.
 * (ThreadSanitizer is not up yet when it would be chosen, and crashes.) */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_THREAD__)
#define FOR_EACH_CPU __attribute__((target_clones("avx2", "default")))
#else
#define FOR_EACH_CPU
#endif

enum { TASK_ROWS = 16, CHUNK = 256 };

/* ---- Weights ------------------------------------------------------------------------------------------- */

double vlm_filter_bilinear(double x)
{
    x = x < 0 ? -x : x;
    return x < 1 ? 1 - x : 0;
}

/* Keys's cubic convolution with a = -0.5. */
double vlm_filter_bicubic(double x)
{
    const double a = -0.5;
    x = x < 0 ? -x : x;
    if (x < 1)
        return ((a + 2) * x - (a + 3)) * x * x + 1;
    if (x < 2)
        return (((x - 5) * x + 8) * x - 4) * a;
    return 0;
}

static double sinc(double x)
{
    if (x == 0)
        return 1;
    x *= 3.14159265358979323846;
    return sin(x) / x;
}

double vlm_filter_lanczos(double x)
{
    return x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0;
}

void vlm_resize_weights_free(vlm_resize_weights *weights)
{
    free(weights->first);
    free(weights->count);
    free(weights->weights);
    *weights = (vlm_resize_weights){0};
}

vlm_status vlm_resize_weights_create(vlm_resize_weights *weights, double **values, size_t in_size, size_t size, size_t begin, size_t n, vlm_filter_function *filter, double support, vlm_error *error)
{
    *weights = (vlm_resize_weights){.n = n};
    *values = NULL;
    double scale = (double)in_size / (double)size, stretch = scale < 1 ? 1 : scale, narrow = 1 / stretch;
    support *= stretch;
    weights->taps = (size_t)ceil(support) * 2 + 1;
    size_t total;
    if (!vlm_multiply(n, weights->taps, &total))
        return vlm_fail_memory(error, SIZE_MAX, "a resize");
    weights->first = vlm_alloc(n, sizeof *weights->first);
    weights->count = vlm_alloc(n, sizeof *weights->count);
    weights->weights = vlm_alloc(total, sizeof *weights->weights);
    *values = vlm_alloc(total, sizeof **values);
    if (!weights->first || !weights->count || !weights->weights || !*values) {
        vlm_resize_weights_free(weights);
        free(*values);
        *values = NULL;
        return vlm_fail_memory(error, total * sizeof **values, "a resize");
    }
    for (size_t i = 0; i < n; i++) {
        double center = ((double)(begin + i) + 0.5) * scale, sum = 0, *w = *values + i * weights->taps;
        double low = center - support + 0.5, high = center + support + 0.5;
        size_t first = low < 0 ? 0 : (size_t)low, last = high > (double)in_size ? in_size : (size_t)high, count = last - first;
        if (count > weights->taps)
            count = weights->taps;
        for (size_t t = 0; t < count; t++) {
            w[t] = filter(((double)(t + first) - center + 0.5) * narrow);
            sum += w[t];
        }
        for (size_t t = 0; t < count && sum != 0; t++)
            w[t] /= sum;
        for (size_t t = count; t < weights->taps; t++)
            w[t] = 0;
        weights->first[i] = (int32_t)first;
        weights->count[i] = (int32_t)count;
    }
    return VLM_OK;
}

/* ---- Passes -------------------------------------------------------------------------------------------- */

static inline uint8_t clip(int32_t x)
{
    return x < 0 ? 0 : x > 255 ? 255 : (uint8_t)x;
}

typedef struct resize_pass {
    uint8_t *out;
    const uint8_t *in;
    size_t in_stride, out_stride, rows; /* strides in bytes; rows of the result */
    size_t channels;
    const vlm_resize_weights *weights;
    size_t row_bytes; /* across: of an input row */
    int32_t *wide;    /* across: [threads, row_bytes + 4], a row's bytes widened */
} resize_pass;

typedef int32_t lanes4 __attribute__((vector_size(16)));

/* One row, its bytes widened to `in`: a pixel is one load of four numbers, of which those beyond its channels
 * (the next pixel's) are summed up and dropped. Loading bytes and widening them here is four times slower. */
static inline void row_across(uint8_t *out, const int32_t *in, const vlm_resize_weights *weights, size_t channels)
{
    int32_t half = 1 << (weights->precision - 1);
    for (size_t x = 0; x < weights->n; x++) {
        const int32_t *w = weights->weights + x * weights->taps, *p = in + (size_t)weights->first[x] * channels;
        lanes4 even = {half, half, half, half}, odd = {0, 0, 0, 0}, a, b;
        int32_t count = weights->count[x], t = 0;
        for (; t + 2 <= count; t += 2, p += 2 * channels) {
            memcpy(&a, p, sizeof a);
            memcpy(&b, p + channels, sizeof b);
            even += a * w[t];
            odd += b * w[t + 1];
        }
        if (t < count) {
            memcpy(&a, p, sizeof a);
            even += a * w[t];
        }
        even = (even + odd) >> weights->precision;
        for (size_t c = 0; c < channels; c++)
            out[x * channels + c] = clip(even[c]);
    }
}

/* A single channel has its taps side by side. */
static inline void row_across_grey(uint8_t *out, const int32_t *in, const vlm_resize_weights *weights)
{
    for (size_t x = 0; x < weights->n; x++) {
        const int32_t *w = weights->weights + x * weights->taps, *p = in + weights->first[x];
        int32_t sum = 1 << (weights->precision - 1);
        for (int32_t t = 0; t < weights->count[x]; t++)
            sum += p[t] * w[t];
        out[x] = clip(sum >> weights->precision);
    }
}

FOR_EACH_CPU static void across_rows(const resize_pass *pass, size_t begin, size_t end, int32_t *wide)
{
    for (size_t y = begin; y < end; y++) {
        uint8_t *out = pass->out + y * pass->out_stride;
        const uint8_t *in = pass->in + y * pass->in_stride;
        for (size_t i = 0; i < pass->row_bytes; i++)
            wide[i] = in[i];
        switch (pass->channels) {
        case 1: row_across_grey(out, wide, pass->weights); break;
        case 2: row_across(out, wide, pass->weights, 2); break;
        case 3: row_across(out, wide, pass->weights, 3); break;
        default: row_across(out, wide, pass->weights, 4); break;
        }
    }
}

/* Rows of the result from columns of the input: a chunk of a row at a time, so that the sums stay in cache. */
FOR_EACH_CPU static void down_rows(const resize_pass *pass, size_t begin, size_t end)
{
    const vlm_resize_weights *weights = pass->weights;
    int32_t sums[CHUNK], half = 1 << (weights->precision - 1);
    for (size_t y = begin; y < end; y++)
        for (size_t x = 0; x < pass->out_stride; x += CHUNK) {
            size_t n = pass->out_stride - x < CHUNK ? pass->out_stride - x : CHUNK;
            const uint8_t *in = pass->in + (size_t)weights->first[y] * pass->in_stride + x;
            const int32_t *w = weights->weights + y * weights->taps;
            for (size_t i = 0; i < n; i++)
                sums[i] = half;
            for (int32_t t = 0; t < weights->count[y]; t++, in += pass->in_stride)
                for (size_t i = 0; i < n; i++)
                    sums[i] += in[i] * w[t];
            uint8_t *out = pass->out + y * pass->out_stride + x;
            for (size_t i = 0; i < n; i++)
                out[i] = clip(sums[i] >> weights->precision);
        }
}

static void across_task(void *argument, size_t index, size_t thread)
{
    const resize_pass *pass = argument;
    size_t begin = index * TASK_ROWS, end = begin + TASK_ROWS;
    across_rows(pass, begin, end < pass->rows ? end : pass->rows, pass->wide + thread * (pass->row_bytes + 4));
}

static void down_task(void *argument, size_t index, size_t thread)
{
    const resize_pass *pass = argument;
    size_t begin = index * TASK_ROWS, end = begin + TASK_ROWS;
    (void)thread;
    down_rows(pass, begin, end < pass->rows ? end : pass->rows);
}

static size_t n_tasks(size_t rows)
{
    return (rows + TASK_ROWS - 1) / TASK_ROWS;
}

/* Let the weights count from the first input that any of them touches; returns how many they touch. */
static size_t count_from_first(const vlm_resize_weights *weights, size_t *first)
{
    int32_t low = weights->first[0], high = low;
    for (size_t i = 0; i < weights->n; i++) {
        int32_t end = weights->first[i] + weights->count[i];
        low = weights->first[i] < low ? weights->first[i] : low;
        high = end > high ? end : high;
    }
    for (size_t i = 0; i < weights->n; i++)
        weights->first[i] -= low;
    *first = (size_t)low;
    return (size_t)(high - low);
}

static vlm_status run_across(resize_pass *pass, vlm_threads *threads, vlm_error *error)
{
    size_t room;
    if (vlm_multiply(vlm_threads_count(threads), pass->row_bytes + 4, &room))
        pass->wide = vlm_alloc_zero(room, sizeof *pass->wide);
    if (!pass->wide)
        return vlm_fail_memory(error, room * sizeof *pass->wide, "a resize");
    vlm_threads_run(threads, n_tasks(pass->rows), across_task, pass);
    free(pass->wide);
    return VLM_OK;
}

static vlm_status run_down(resize_pass *pass, vlm_threads *threads)
{
    vlm_threads_run(threads, n_tasks(pass->rows), down_task, pass);
    return VLM_OK;
}

static void copy_window(uint8_t *out, const vlm_resize_job *job)
{
    size_t bytes = job->window_width * job->channels;
    for (size_t y = 0; y < job->window_height; y++)
        memcpy(out + y * bytes, job->in + ((job->top + y) * job->in_width + job->left) * job->channels, bytes);
}

static vlm_status run_both(resize_pass *wide, resize_pass *tall, size_t between_rows, size_t between_stride, int down_first, vlm_threads *threads, vlm_error *error)
{
    size_t total;
    uint8_t *between = vlm_multiply(between_rows, between_stride, &total) ? vlm_alloc(total, 1) : NULL;
    if (!between)
        return vlm_fail_memory(error, total, "a resize");
    resize_pass *first = down_first ? tall : wide, *second = down_first ? wide : tall;
    second->out = first->out;
    first->out = between;
    first->out_stride = between_stride;
    first->rows = between_rows;
    second->in = between;
    second->in_stride = between_stride;
    vlm_status status = down_first ? run_down(tall, threads) : run_across(wide, threads, error);
    if (status == VLM_OK)
        status = down_first ? run_across(wide, threads, error) : run_down(tall, threads);
    free(between);
    return status;
}

vlm_status vlm_resize_passes(uint8_t *out, const vlm_resize_job *job, const vlm_resize_weights *across, const vlm_resize_weights *down, int down_first, vlm_threads *threads, vlm_error *error)
{
    /* The part of the input that matters: as it is where a side keeps its size, else what the weights touch. */
    size_t left = job->left, top = job->top, columns = job->window_width, rows = job->window_height;
    if (across)
        columns = count_from_first(across, &left);
    if (down)
        rows = count_from_first(down, &top);
    size_t stride = job->in_width * job->channels, out_stride = job->window_width * job->channels;
    resize_pass wide = {.channels = job->channels, .in_stride = stride, .out_stride = out_stride, .out = out, .rows = job->window_height};
    wide.in = job->in + top * stride + left * job->channels;
    wide.row_bytes = columns * job->channels;
    resize_pass tall = wide;
    wide.weights = across;
    tall.weights = down;
    if (across && down)
        return run_both(&wide, &tall, down_first ? job->window_height : rows, down_first ? wide.row_bytes : out_stride, down_first, threads, error);
    if (across)
        return run_across(&wide, threads, error);
    if (down)
        return run_down(&tall, threads);
    copy_window(out, job);
    return VLM_OK;
}

void vlm_resize_pick(uint8_t *out, const vlm_resize_job *job, const size_t *rows, const size_t *columns)
{
    for (size_t y = 0; y < job->window_height; y++) {
        const uint8_t *in = job->in + rows[y] * job->in_width * job->channels;
        for (size_t x = 0; x < job->window_width; x++, out += job->channels)
            memcpy(out, in + columns[x] * job->channels, job->channels);
    }
}
