/* Random resized crop, flip, colour jitter, grey: image -> pixels [3, H, W], 0..1.
 * The distributions are torchvision's (RandomResizedCrop, ColorJitter, Grayscale) as open_clip's
 * augmentation_cfg asks for them; the random numbers are ours.
 * Trap: jitter clips after each of its steps, so their order, which is random too, shows. */
#include "train/augment.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/memory.h"
#include "pipeline/resize.h"
#include "train/data.h"

static vlm_status read_numbers(double *values, size_t n, const json_t *object, const char *key, const char *where, vlm_error *error)
{
    const json_t *list = json_object_get(object, key);
    if (!list || json_is_null(list))
        return VLM_OK;
    bool good = json_is_array(list) && json_array_size(list) == n;
    for (size_t i = 0; good && i < n; i++) {
        good = json_is_number(json_array_get(list, i)) && json_number_value(json_array_get(list, i)) >= 0;
        values[i] = good ? json_number_value(json_array_get(list, i)) : 0;
    }
    return good ? VLM_OK : vlm_fail(error, VLM_ERR_FORMAT, "%s: augmentation.%s: a list of %zu numbers that are not negative is wanted", where, key, n);
}

static vlm_status read_probability(double *value, const json_t *object, const char *key, const char *where, vlm_error *error)
{
    const json_t *found = json_object_get(object, key);
    if (!found || json_is_null(found))
        return VLM_OK;
    *value = json_number_value(found);
    return json_is_number(found) && *value >= 0 && *value <= 1 ? VLM_OK : vlm_fail(error, VLM_ERR_FORMAT, "%s: augmentation.%s: a number from 0 to 1 is wanted", where, key);
}

vlm_status vlm_augmentation_parse(vlm_augmentation *a, const json_t *config, const char *where, vlm_error *error)
{
    static const char *const keys[] = {"scale", "ratio", "flip", "color_jitter", "color_jitter_prob", "gray_scale_prob"};
    *a = (vlm_augmentation){.random = !json_is_false(config), .scale = {0.9, 1}, .ratio = {0.75, 4.0 / 3}};
    if (!config || json_is_null(config) || json_is_boolean(config))
        return VLM_OK;
    if (!json_is_object(config))
        return vlm_fail(error, VLM_ERR_FORMAT, "%s: \"augmentation\" is neither an object nor false", where);
    vlm_status status = vlm_config_check_keys(config, keys, sizeof keys / sizeof *keys, "augmentation", where, error);
    if (status == VLM_OK)
        status = read_numbers(a->scale, 2, config, "scale", where, error);
    if (status == VLM_OK)
        status = read_numbers(a->ratio, 2, config, "ratio", where, error);
    if (status == VLM_OK)
        status = read_numbers(a->jitter, 4, config, "color_jitter", where, error);
    if (status == VLM_OK)
        status = read_probability(&a->flip, config, "flip", where, error);
    if (status == VLM_OK)
        status = read_probability(&a->jitter_probability, config, "color_jitter_prob", where, error);
    if (status == VLM_OK)
        status = read_probability(&a->gray_probability, config, "gray_scale_prob", where, error);
    if (status == VLM_OK && (a->scale[0] <= 0 || a->scale[0] > a->scale[1] || a->scale[1] > 1 || a->ratio[0] <= 0 || a->ratio[0] > a->ratio[1]))
        status = vlm_fail(error, VLM_ERR_FORMAT, "%s: augmentation: scale must rise within 0..1, ratio must rise above 0", where);
    if (status == VLM_OK && a->jitter[3] > 0.5)
        status = vlm_fail(error, VLM_ERR_FORMAT, "%s: augmentation.color_jitter: hue is at most 0.5", where);
    return status;
}

static double between(vlm_random *random, double low, double high)
{
    return low + (high - low) * (double)vlm_random_uniform(random);
}

typedef struct crop {
    size_t left, top, width, height;
} crop;

/* The largest centred crop of the wanted proportions: resized, it is what resize and centre crop give but
 * for rounding. */
static crop centre_crop(size_t width, size_t height, double ratio)
{
    crop c = {0, 0, width, height};
    if ((double)width > ratio * (double)height)
        c.width = (size_t)lround(ratio * (double)height);
    else
        c.height = (size_t)lround((double)width / ratio);
    c.width = c.width ? c.width : 1;
    c.height = c.height ? c.height : 1;
    c.left = (width - c.width) / 2;
    c.top = (height - c.height) / 2;
    return c;
}

static crop random_crop(size_t width, size_t height, const vlm_augmentation *a, vlm_random *random)
{
    double area = (double)width * (double)height, ratio = (double)width / (double)height;
    for (int tries = 0; tries < 10; tries++) {
        double target = area * between(random, a->scale[0], a->scale[1]);
        double proportion = exp(between(random, log(a->ratio[0]), log(a->ratio[1])));
        size_t w = (size_t)lround(sqrt(target * proportion)), h = (size_t)lround(sqrt(target / proportion));
        if (w > 0 && w <= width && h > 0 && h <= height)
            return (crop){(size_t)vlm_random_below(random, width - w + 1), (size_t)vlm_random_below(random, height - h + 1), w, h};
    }
    return centre_crop(width, height, ratio < a->ratio[0] ? a->ratio[0] : ratio > a->ratio[1] ? a->ratio[1] : ratio);
}

/* ---- colours: planes r, g, b of n values in 0..1 ------------------------------------------------------- */

static float clip(float x)
{
    return x < 0 ? 0 : x > 1 ? 1 : x;
}

static float luma(const float *p, size_t i, size_t n)
{
    return 0.2989f * p[i] + 0.587f * p[n + i] + 0.114f * p[2 * n + i];
}

static void brightness(float *p, size_t n, float factor)
{
    for (size_t i = 0; i < 3 * n; i++)
        p[i] = clip(p[i] * factor);
}

static void contrast(float *p, size_t n, float factor)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += luma(p, i, n);
    float mean = n ? (float)(sum / (double)n) : 0;
    for (size_t i = 0; i < 3 * n; i++)
        p[i] = clip(mean + factor * (p[i] - mean));
}

static void saturation(float *p, size_t n, float factor)
{
    for (size_t i = 0; i < n; i++) {
        float grey = luma(p, i, n);
        for (size_t c = 0; c < 3; c++)
            p[c * n + i] = clip(grey + factor * (p[c * n + i] - grey));
    }
}

static float hue_channel(float hue, float value, float range, float offset)
{
    float k = fmodf(offset + hue * 6, 6), t = k < 4 - k ? k : 4 - k;
    return value - range * (t < 0 ? 0 : t > 1 ? 1 : t);
}

static void hue(float *p, size_t n, float shift)
{
    for (size_t i = 0; i < n; i++) {
        float r = p[i], g = p[n + i], b = p[2 * n + i];
        float high = fmaxf(r, fmaxf(g, b)), low = fminf(r, fminf(g, b)), range = high - low, h = 0;
        if (range > 0)
            h = high == r ? (g - b) / range : high == g ? 2 + (b - r) / range : 4 + (r - g) / range;
        h = h / 6 + shift;
        h -= floorf(h);
        p[i] = hue_channel(h, high, range, 5);
        p[n + i] = hue_channel(h, high, range, 3);
        p[2 * n + i] = hue_channel(h, high, range, 1);
    }
}

static void jitter(float *p, size_t n, const vlm_augmentation *a, vlm_random *random)
{
    size_t order[4];
    vlm_random_permutation(random, order, 4);
    for (int i = 0; i < 4; i++) {
        double strength = a->jitter[order[i]];
        double low = strength < 1 ? 1 - strength : 0, factor = between(random, low, 1 + strength), turn = between(random, -strength, strength);
        if (strength <= 0)
            continue;
        switch (order[i]) {
        case 0: brightness(p, n, (float)factor); break;
        case 1: contrast(p, n, (float)factor); break;
        case 2: saturation(p, n, (float)factor); break;
        default: hue(p, n, (float)turn); break;
        }
    }
}

static void grey(float *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        p[i] = p[n + i] = p[2 * n + i] = luma(p, i, n);
}

/* ---- the whole ------------------------------------------------------------------------------------------ */

/* The crop of the picture as bytes of its own, with the slack that the resize may read. */
static uint8_t *cut(const uint8_t *rgb, size_t width, const crop *c)
{
    uint8_t *out = vlm_alloc(c->width * c->height * 3, 1);
    for (size_t y = 0; out && y < c->height; y++)
        memcpy(out + y * c->width * 3, rgb + ((c->top + y) * width + c->left) * 3, c->width * 3);
    return out;
}

static void to_planes(float *pixels, const uint8_t *rgb, size_t height, size_t width, bool flip)
{
    size_t n = height * width;
    for (size_t y = 0; y < height; y++)
        for (size_t x = 0; x < width; x++) {
            const uint8_t *p = rgb + (y * width + (flip ? width - 1 - x : x)) * 3;
            for (size_t c = 0; c < 3; c++)
                pixels[c * n + y * width + x] = (float)p[c] / 255;
        }
}

vlm_status vlm_augment(float *pixels, size_t height, size_t width, const vlm_augmentation *a, const vlm_image *image, vlm_random *random, vlm_error *error)
{
    uint8_t *rgb = NULL, *part = NULL, *small = NULL;
    vlm_status status = vlm_image_to_rgb(&rgb, image, VLM_ALPHA_WHITE, error);
    if (status != VLM_OK)
        return status;
    size_t n = height * width;
    crop c = a->random ? random_crop(image->width, image->height, a, random) : centre_crop(image->width, image->height, (double)width / (double)height);
    part = cut(rgb, image->width, &c);
    small = vlm_alloc(n * 3, 1);
    if (!part || !small) {
        status = vlm_fail_memory(error, c.width * c.height * 3, "a crop of a picture");
    } else {
        vlm_resize_job job = {.in = part, .in_width = c.width, .in_height = c.height, .channels = 3, .width = width, .height = height,
                              .window_width = width, .window_height = height, .filter = VLM_FILTER_BICUBIC};
        status = vlm_resize_pillow(small, &job, NULL, error);
    }
    if (status == VLM_OK) {
        to_planes(pixels, small, height, width, a->random && (double)vlm_random_uniform(random) < a->flip);
        if (a->random && (double)vlm_random_uniform(random) < a->jitter_probability)
            jitter(pixels, n, a, random);
        if (a->random && (double)vlm_random_uniform(random) < a->gray_probability)
            grey(pixels, n);
    }
    free(small);
    free(part);
    free(rgb);
    return status;
}
