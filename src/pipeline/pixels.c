/* image -> pixels [3,H,W]: convert, resize, crop, normalise, as a pixel contract says.
 * Bytes until the very end: the numbers of a channel are a table of 256, so what the reference does in float32
 * is done once a level and not once a pixel. Only what the crop keeps is resized.
 * Matches transformers 5.23's PilBackend and TorchvisionBackend and open_clip 3.3's image_transform.
 * Trap: open_clip resizes in the picture's own mode (a palette by nearest, RGBA premultiplied) and converts to
 * RGB afterwards; transformers converts first. */
#include "pipeline/pixels.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/memory.h"

static const uint64_t max_pixels = (uint64_t)1 << 26;  /* of a result: 768 MiB of floats */
static const uint64_t max_square = (uint64_t)1 << 29; /* of a picture padded to a square */

/* All sizes of one picture on its way. The cropped picture's (0, 0) is the resized one's (top, left), which may
 * be negative: then the picture is padded there. */
typedef struct plan {
    size_t width, height;                 /* of what is resized */
    size_t resized_width, resized_height; /* of the result of the resize, most of which may never be made */
    size_t crop_width, crop_height;
    ptrdiff_t top, left;
    size_t out_width, out_height;
} plan;

/* ---- Sizes --------------------------------------------------------------------------------------------- */

/* The short side becomes `shortest`; with `longest`, the long one at most that (get_size_with_aspect_ratio). */
static void fit_shortest(double *height, double *width, const vlm_pixel_contract *c)
{
    double h = *height, w = *width, size = (double)c->shortest, raw = size;
    if (c->longest) {
        double low = h < w ? h : w, high = h < w ? w : h;
        if (high / low * size > (double)c->longest) {
            raw = (double)c->longest * low / high;
            size = nearbyint(raw);
        }
        if ((h <= w && h == size) || (w <= h && w == size))
            return;
        *height = w < h ? trunc(raw * h / w) : size;
        *width = w < h ? size : trunc(raw * w / h);
        return;
    }
    *height = w <= h ? trunc(size * h / w) : size;
    *width = w <= h ? size : trunc(size * w / h);
}

/* open_clip's ResizeKeepRatio. */
static void keep_ratio(double *height, double *width, const vlm_pixel_contract *c)
{
    double down = *height / (double)c->resize_height, across = *width / (double)c->resize_width;
    double ratio = (c->resize == VLM_RESIZE_KEEP_LONG) == (down > across) ? down : across;
    *height = nearbyint(*height / ratio);
    *width = nearbyint(*width / ratio);
}

static vlm_status plan_resize(plan *p, const vlm_pixel_contract *c, vlm_error *error)
{
    double height = (double)p->height, width = (double)p->width;
    switch (c->resize) {
    case VLM_RESIZE_NONE: break;
    case VLM_RESIZE_EXACT:
        height = (double)c->resize_height;
        width = (double)c->resize_width;
        break;
    case VLM_RESIZE_SHORTEST: fit_shortest(&height, &width, c); break;
    case VLM_RESIZE_WITHIN: {
        double down = (double)c->resize_height / height, across = (double)c->resize_width / width, scale = down < across ? down : across;
        height = trunc(height * scale);
        width = trunc(width * scale);
        break;
    }
    case VLM_RESIZE_KEEP_SHORT:
    case VLM_RESIZE_KEEP_LONG: keep_ratio(&height, &width, c); break;
    }
    if (!(height >= 1 && width >= 1 && height <= INT32_MAX && width <= INT32_MAX))
        return vlm_fail(error, VLM_ERR_LIMIT, "a picture of %zu x %zu pixels would be resized to %.0f x %.0f; sides of 1 to 2^31 are wanted", p->width, p->height, width, height);
    p->resized_height = (size_t)height;
    p->resized_width = (size_t)width;
    return VLM_OK;
}

/* Where the crop begins on one axis. Odd margins go three ways: NumPy's floor division; torchvision's pads of
 * margin / 2 on the left and truncation; open_clip's the same with Python's round (half to even). */
static ptrdiff_t crop_offset(vlm_pixel_reference reference, size_t size, size_t crop)
{
    ptrdiff_t margin = (ptrdiff_t)size - (ptrdiff_t)crop;
    if (margin < 0)
        return reference == VLM_PIXELS_TRANSFORMERS_PIL ? -((1 - margin) / 2) : -(-margin / 2);
    if (reference == VLM_PIXELS_OPENCLIP)
        return (ptrdiff_t)nearbyint((double)margin / 2);
    return margin / 2;
}

static vlm_status make_plan(plan *p, const vlm_pixel_contract *c, const vlm_image *image, vlm_error *error)
{
    *p = (plan){.width = image->width, .height = image->height};
    if (c->pad_square) {
        p->width = p->height = image->width > image->height ? image->width : image->height;
        if ((uint64_t)p->width * p->width > max_square)
            return vlm_fail(error, VLM_ERR_LIMIT, "a picture of %zu x %zu pixels would be padded to a square of %zu; at most 2^29 pixels are made", image->width, image->height,
                            p->width);
    }
    vlm_status status = plan_resize(p, c, error);
    if (status != VLM_OK)
        return status;
    p->crop_height = c->crop ? c->crop_height : p->resized_height;
    p->crop_width = c->crop ? c->crop_width : p->resized_width;
    p->top = crop_offset(c->reference, p->resized_height, p->crop_height);
    p->left = crop_offset(c->reference, p->resized_width, p->crop_width);
    p->out_height = c->pad && c->pad_height ? c->pad_height : p->crop_height;
    p->out_width = c->pad && c->pad_width ? c->pad_width : p->crop_width;
    if (p->out_height < p->crop_height || p->out_width < p->crop_width)
        return vlm_fail(error, VLM_ERR_MISMATCH, "a picture of %zu x %zu pixels after its resize and crop, and a pad_size of %zu x %zu, which is smaller", p->crop_width,
                        p->crop_height, p->out_width, p->out_height);
    if ((uint64_t)p->out_height * p->out_width > max_pixels)
        return vlm_fail(error, VLM_ERR_LIMIT, "a picture of %zu x %zu pixels would become %zu x %zu; at most 2^26 pixels are made", image->width, image->height, p->out_width,
                        p->out_height);
    return VLM_OK;
}

vlm_status vlm_pixels_size(size_t *height, size_t *width, const vlm_pixel_contract *contract, const vlm_image *image, vlm_error *error)
{
    plan p;
    vlm_status status = make_plan(&p, contract, image, error);
    *height = status == VLM_OK ? p.out_height : 0;
    *width = status == VLM_OK ? p.out_width : 0;
    return status;
}

/* ---- Bytes --------------------------------------------------------------------------------------------- */

/* The picture on the middle of a square of the mean colour (LLaVA). */
static vlm_status pad_square(uint8_t **square, const vlm_pixel_contract *c, const uint8_t *rgb, size_t width, size_t height, vlm_error *error)
{
    size_t side = width > height ? width : height, left = (side - width) / 2, top = (side - height) / 2, total = side * side * 3;
    *square = vlm_alloc(total, 1);
    if (!*square)
        return vlm_fail_memory(error, total, "a picture padded to a square");
    uint8_t colour[3];
    for (int i = 0; i < 3; i++)
        colour[i] = (uint8_t)(int)(c->mean[i] * 255);
    for (size_t i = 0; i < total; i++)
        (*square)[i] = colour[i % 3];
    for (size_t y = 0; y < height; y++)
        memcpy(*square + ((top + y) * side + left) * 3, rgb + y * width * 3, width * 3);
    return VLM_OK;
}

/* The part of the resized picture that the crop keeps. */
static void set_window(vlm_resize_job *job, const plan *p)
{
    job->left = p->left > 0 ? (size_t)p->left : 0;
    job->top = p->top > 0 ? (size_t)p->top : 0;
    size_t right = (size_t)(p->left + (ptrdiff_t)p->crop_width), bottom = (size_t)(p->top + (ptrdiff_t)p->crop_height);
    job->window_width = (right < p->resized_width ? right : p->resized_width) - job->left;
    job->window_height = (bottom < p->resized_height ? bottom : p->resized_height) - job->top;
}

static vlm_status alloc_window(uint8_t **window, const vlm_resize_job *job, vlm_error *error)
{
    size_t total = job->window_width * job->window_height * job->channels;
    *window = vlm_alloc(total, 1);
    return *window ? VLM_OK : vlm_fail_memory(error, total, "a resized picture");
}

/* transformers: RGB first, then the square, then the resize. */
static vlm_status window_transformers(uint8_t **window, vlm_resize_job *job, const vlm_pixel_contract *c, const vlm_image *image, vlm_threads *threads, vlm_error *error)
{
    uint8_t *converted = NULL, *square = NULL;
    vlm_status status = VLM_OK;
    job->in = image->data;
    job->channels = 3;
    if (image->mode != VLM_IMAGE_RGB || image->transparency != VLM_TRANSPARENCY_NONE) {
        status = vlm_image_to_rgb(&converted, image, c->alpha, error);
        job->in = converted;
    }
    if (status == VLM_OK && c->pad_square && image->width != image->height) {
        status = pad_square(&square, c, job->in, image->width, image->height, error);
        job->in = square;
    }
    if (status == VLM_OK)
        status = alloc_window(window, job, error);
    if (status == VLM_OK && c->reference == VLM_PIXELS_TRANSFORMERS_FAST)
        status = vlm_resize_torchvision(*window, job, threads, error);
    else if (status == VLM_OK)
        status = vlm_resize_pillow(*window, job, threads, error);
    free(converted);
    free(square);
    return status;
}

static inline uint8_t multiply_255(unsigned a, unsigned b)
{
    unsigned t = a * b + 128;
    return (uint8_t)(((t >> 8) + t) >> 8);
}

/* Colours times alpha, so that a transparent pixel's colour does not bleed into its neighbours. */
static void premultiply(uint8_t *out, const uint8_t *in, size_t n, size_t channels)
{
    for (; n; n--, in += channels, out += channels) {
        for (size_t c = 0; c + 1 < channels; c++)
            out[c] = multiply_255(in[c], in[channels - 1]);
        out[channels - 1] = in[channels - 1];
    }
}

static void unpremultiply(uint8_t *p, size_t n, size_t channels)
{
    for (; n; n--, p += channels) {
        unsigned alpha = p[channels - 1];
        for (size_t c = 0; c + 1 < channels && alpha != 0 && alpha != 255; c++) {
            unsigned v = 255u * p[c] / alpha;
            p[c] = v > 255 ? 255 : (uint8_t)v;
        }
    }
}

/* Image.resize: a picture of a mode with alpha is premultiplied for it, palettes and bits take the nearest. */
static vlm_status resize_in_mode(uint8_t *window, vlm_resize_job *job, const vlm_image *image, vlm_threads *threads, vlm_error *error)
{
    bool same = job->width == image->width && job->height == image->height;
    bool alpha = image->mode == VLM_IMAGE_LA || image->mode == VLM_IMAGE_RGBA;
    if (image->mode == VLM_IMAGE_1 || image->mode == VLM_IMAGE_P)
        job->filter = VLM_FILTER_NEAREST;
    if (image->mode == VLM_IMAGE_I16) {
        vlm_resize_job grey = *job;
        grey.channels = 1;
        return vlm_resize_pillow_16((uint16_t *)(void *)window, &grey, error);
    }
    if (!alpha || same || job->filter == VLM_FILTER_NEAREST)
        return vlm_resize_pillow(window, job, threads, error);
    size_t n = image->width * image->height;
    uint8_t *multiplied = vlm_alloc(n * job->channels, 1);
    if (!multiplied)
        return vlm_fail_memory(error, n * job->channels, "a picture times its alpha");
    premultiply(multiplied, image->data, n, job->channels);
    job->in = multiplied;
    vlm_status status = vlm_resize_pillow(window, job, threads, error);
    if (status == VLM_OK)
        unpremultiply(window, job->window_width * job->window_height, job->channels);
    free(multiplied);
    return status;
}

/* open_clip: resize in the picture's mode, then RGB. */
static vlm_status window_openclip(uint8_t **window, vlm_resize_job *job, const vlm_image *image, vlm_threads *threads, vlm_error *error)
{
    uint8_t *resized = NULL;
    job->in = image->data;
    job->channels = vlm_image_mode_bytes(image->mode);
    vlm_status status = alloc_window(&resized, job, error);
    if (status == VLM_OK)
        status = resize_in_mode(resized, job, image, threads, error);
    if (status == VLM_OK && image->mode != VLM_IMAGE_RGB) {
        vlm_image small = *image;
        small.data = resized;
        small.width = job->window_width;
        small.height = job->window_height;
        status = vlm_image_to_rgb(window, &small, VLM_ALPHA_DROP, error);
        free(resized);
    } else {
        *window = resized;
    }
    job->channels = 3;
    return status;
}

/* What stands around a picture smaller than the crop: zeros, for open_clip the fill in the picture's mode,
 * turned to RGB with it (so a CMYK picture gets a white border from 0). */
static void border_colour(uint8_t rgb[3], const vlm_pixel_contract *c, const vlm_image *image)
{
    memset(rgb, 0, 3);
    if (c->reference != VLM_PIXELS_OPENCLIP)
        return;
    uint8_t pixel[4];
    uint16_t deep = (uint16_t)c->crop_fill;
    memset(pixel, image->mode == VLM_IMAGE_1 && c->crop_fill ? 255 : c->crop_fill, sizeof pixel);
    if (image->mode == VLM_IMAGE_I16)
        memcpy(pixel, &deep, sizeof deep);
    vlm_image one = *image;
    one.data = pixel;
    one.width = one.height = 1;
    vlm_image_rows_to_rgb(rgb, &one, 0, 1, VLM_ALPHA_DROP);
}

/* ---- Numbers ------------------------------------------------------------------------------------------- */

/* What a level of a channel becomes, rounded where the reference rounds. */
static float level_value(const vlm_pixel_contract *c, int channel, int level)
{
    float x = (float)level, mean = (float)c->mean[channel], std = (float)c->std[channel];
    switch (c->reference) {
    case VLM_PIXELS_TRANSFORMERS_PIL:
        if (c->rescale)
            x = (float)((double)level * c->rescale_factor);
        break;
    case VLM_PIXELS_TRANSFORMERS_FAST:
        if (c->rescale && c->normalize) {
            float back = (float)(1.0 / c->rescale_factor);
            mean *= back;
            std *= back;
        } else if (c->rescale) {
            x *= (float)c->rescale_factor;
        }
        break;
    case VLM_PIXELS_OPENCLIP: x /= 255.0f; break;
    }
    if (c->normalize) {
        x -= mean;
        x /= std;
    }
    return x;
}

static void write_pixels(float *pixels, const vlm_pixel_contract *c, const plan *p, const vlm_resize_job *job, const uint8_t *window, const uint8_t border[3])
{
    size_t left = p->left < 0 ? (size_t)-p->left : 0, top = p->top < 0 ? (size_t)-p->top : 0;
    for (int channel = 0; channel < 3; channel++) {
        float table[256];
        for (int level = 0; level < 256; level++)
            table[level] = level_value(c, channel, level);
        float around = table[border[channel]];
        for (size_t y = 0; y < p->out_height; y++, pixels += p->out_width) {
            bool inside = y >= top && y - top < job->window_height;
            size_t x = 0, end = y < p->crop_height ? p->crop_width : 0;
            if (inside) {
                const uint8_t *in = window + (y - top) * job->window_width * 3 + channel;
                for (; x < left; x++)
                    pixels[x] = around;
                for (; x < left + job->window_width; x++, in += 3)
                    pixels[x] = table[*in];
            }
            for (; x < end; x++)
                pixels[x] = around;
            for (; x < p->out_width; x++)
                pixels[x] = 0; /* pad_size's padding comes after the normalising */
        }
    }
}

vlm_status vlm_pixels(float *pixels, const vlm_pixel_contract *contract, const vlm_image *image, vlm_threads *threads, vlm_error *error)
{
    plan p;
    vlm_status status = make_plan(&p, contract, image, error);
    if (status != VLM_OK)
        return status;
    vlm_resize_job job = {
        .in_width = p.width, .in_height = p.height, .channels = 3, .width = p.resized_width, .height = p.resized_height, .filter = contract->filter};
    set_window(&job, &p);
    uint8_t *window = NULL, border[3];
    if (contract->reference == VLM_PIXELS_OPENCLIP)
        status = window_openclip(&window, &job, image, threads, error);
    else
        status = window_transformers(&window, &job, contract, image, threads, error);
    if (status == VLM_OK) {
        border_colour(border, contract, image);
        write_pixels(pixels, contract, &p, &job, window, border);
    }
    free(window);
    return status;
}
