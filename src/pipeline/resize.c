/* The two passes of a resize, as Pillow and PyTorch have them: bytes in, integer weights, bytes out.
 * Integer arithmetic, so neither vectors nor threads change a bit of it.
 * Trap: the rounding to bytes between the passes makes their order visible. */
#include "pipeline/resize.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/memory.h"
#include "formats/picture.h"

/* The inner loops are plain C that wants 32-bit vector products, which x86 has since SSE4.1: compiled twice,
 * chosen when the program is loaded. Not a kernel slot, as the result is the same by definition. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
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
} resize_pass;

typedef int32_t lanes4 __attribute__((vector_size(16)));
typedef uint8_t bytes4 __attribute__((vector_size(4)));

/* One row, three or four channels: a pixel is one load of four bytes (the fourth of RGB is not stored). */
static inline void row_across_wide(uint8_t *out, const uint8_t *in, const vlm_resize_weights *weights, size_t channels)
{
    int32_t half = 1 << (weights->precision - 1);
    for (size_t x = 0; x < weights->n; x++) {
        const int32_t *w = weights->weights + x * weights->taps;
        const uint8_t *p = in + (size_t)weights->first[x] * channels;
        lanes4 even = {half, half, half, half}, odd = {0, 0, 0, 0};
        int32_t count = weights->count[x], t = 0;
        bytes4 a, b;
        for (; t + 2 <= count; t += 2, p += 2 * channels) {
            memcpy(&a, p, 4);
            memcpy(&b, p + channels, 4);
            even += __builtin_convertvector(a, lanes4) * w[t];
            odd += __builtin_convertvector(b, lanes4) * w[t + 1];
        }
        if (t < count) {
            memcpy(&a, p, 4);
            even += __builtin_convertvector(a, lanes4) * w[t];
        }
        even = (even + odd) >> weights->precision;
        for (size_t c = 0; c < channels; c++)
            out[x * channels + c] = clip(even[c]);
    }
}

static inline void row_across_narrow(uint8_t *out, const uint8_t *in, const vlm_resize_weights *weights, size_t channels)
{
    int32_t half = 1 << (weights->precision - 1);
    for (size_t x = 0; x < weights->n; x++)
        for (size_t c = 0; c < channels; c++) {
            const int32_t *w = weights->weights + x * weights->taps;
            const uint8_t *p = in + (size_t)weights->first[x] * channels + c;
            int32_t sum = half;
            for (int32_t t = 0; t < weights->count[x]; t++)
                sum += p[(size_t)t * channels] * w[t];
            out[x * channels + c] = clip(sum >> weights->precision);
        }
}

FOR_EACH_CPU static void across_rows(const resize_pass *pass, size_t begin, size_t end)
{
    for (size_t y = begin; y < end; y++) {
        uint8_t *out = pass->out + y * pass->out_stride;
        const uint8_t *in = pass->in + y * pass->in_stride;
        switch (pass->channels) {
        case 1: row_across_narrow(out, in, pass->weights, 1); break;
        case 2: row_across_narrow(out, in, pass->weights, 2); break;
        case 3: row_across_wide(out, in, pass->weights, 3); break;
        default: row_across_wide(out, in, pass->weights, 4); break;
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
    (void)thread;
    across_rows(pass, begin, end < pass->rows ? end : pass->rows);
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

/* Inputs that any of the weights touch: first .. first + result - 1. */
static size_t span(const vlm_resize_weights *weights, size_t *first)
{
    int32_t low = weights->first[0], high = low;
    for (size_t i = 0; i < weights->n; i++) {
        if (weights->first[i] < low)
            low = weights->first[i];
        if (weights->first[i] + weights->count[i] > high)
            high = weights->first[i] + weights->count[i];
    }
    *first = (size_t)low;
    return (size_t)(high - low);
}

static void copy_window(uint8_t *out, const vlm_resize_job *job)
{
    size_t bytes = job->window_width * job->channels;
    for (size_t y = 0; y < job->window_height; y++)
        memcpy(out + y * bytes, job->in + ((job->top + y) * job->in_width + job->left) * job->channels, bytes);
}

vlm_status vlm_resize_passes(uint8_t *out, const vlm_resize_job *job, const vlm_resize_weights *across, const vlm_resize_weights *down, int down_first, vlm_threads *threads, vlm_error *error)
{
    size_t stride = job->in_width * job->channels, out_stride = job->window_width * job->channels;
    resize_pass wide = {.channels = job->channels, .weights = across, .in_stride = stride, .out_stride = out_stride};
    resize_pass tall = {.channels = job->channels, .weights = down, .in_stride = stride, .out_stride = out_stride, .out = out, .rows = job->window_height};
    if (!across && !down) {
        copy_window(out, job);
        return VLM_OK;
    }
    if (!down) {
        wide.in = job->in + job->top * stride;
        wide.out = out;
        wide.rows = job->window_height;
        vlm_threads_run(threads, n_tasks(wide.rows), across_task, &wide);
        return VLM_OK;
    }
    if (!across) {
        tall.in = job->in + job->left * job->channels;
        vlm_threads_run(threads, n_tasks(tall.rows), down_task, &tall);
        return VLM_OK;
    }
    size_t first_row, rows = span(down, &first_row), first_column, columns = span(across, &first_column);
    size_t between_stride = (down_first ? columns : job->window_width) * job->channels, between_rows = down_first ? job->window_height : rows;
    uint8_t *between = vlm_alloc(between_rows * between_stride + VLM_IMAGE_SLACK, 1);
    if (!between)
        return vlm_fail_memory(error, between_rows * between_stride, "a resize");
    if (down_first) {
        memset(between + between_rows * between_stride, 0, VLM_IMAGE_SLACK);
        tall.out = between;
        tall.out_stride = between_stride;
        tall.in = job->in + first_column * job->channels;
        vlm_threads_run(threads, n_tasks(tall.rows), down_task, &tall);
        /* The weights count columns of the whole input, of which `between` lacks the first. */
        for (size_t i = 0; i < across->n; i++)
            across->first[i] -= (int32_t)first_column;
        wide.in = between;
        wide.in_stride = between_stride;
        wide.out = out;
        wide.rows = job->window_height;
        vlm_threads_run(threads, n_tasks(wide.rows), across_task, &wide);
    } else {
        wide.in = job->in + first_row * stride;
        wide.out = between;
        wide.rows = rows;
        vlm_threads_run(threads, n_tasks(wide.rows), across_task, &wide);
        for (size_t i = 0; i < down->n; i++)
            down->first[i] -= (int32_t)first_row;
        tall.in = between;
        tall.in_stride = between_stride;
        vlm_threads_run(threads, n_tasks(tall.rows), down_task, &tall);
    }
    free(between);
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
