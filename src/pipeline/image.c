/* file bytes -> image: find the format by its first bytes, decode, turn upright; and image -> RGB.
 * The conversions are Pillow 13's (src/libImaging/Convert.c, AlphaComposite.c, ImageOps.exif_transpose).
 * Trap: transparency is not always a band: a palette's entries or one key colour may be transparent. */
#include "pipeline/image.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/file.h"
#include "base/memory.h"
#include "pipeline/resize.h"

static const uint64_t default_max_pixels = (uint64_t)1 << 28;

typedef vlm_status read_function(vlm_image **image, const vlm_picture_source *source, vlm_error *error);

static read_function *find_reader(const unsigned char *p, size_t size)
{
    if (size >= 3 && memcmp(p, "\xff\xd8\xff", 3) == 0)
        return vlm_picture_read_jpeg;
    if (size >= 8 && memcmp(p, "\x89PNG\r\n\x1a\n", 8) == 0)
        return vlm_picture_read_png;
    if (size >= 12 && memcmp(p, "RIFF", 4) == 0 && memcmp(p + 8, "WEBP", 4) == 0)
        return vlm_picture_read_webp;
    if (size >= 6 && (memcmp(p, "GIF87a", 6) == 0 || memcmp(p, "GIF89a", 6) == 0))
        return vlm_picture_read_gif;
    if (size >= 4 && (memcmp(p, "II*\0", 4) == 0 || memcmp(p, "MM\0*", 4) == 0 || memcmp(p, "II+\0", 4) == 0 || memcmp(p, "MM\0+", 4) == 0))
        return vlm_picture_read_tiff;
    return NULL;
}

/* ---- Orientation -------------------------------------------------------------------------------------- */

/* Where pixel (0, 0) of the upright picture lies in the file's, and the steps to its right and lower
 * neighbours, in pixels. */
typedef struct walk_plan {
    ptrdiff_t start, right, down;
} walk_plan;

static walk_plan plan_walk(int orientation, ptrdiff_t w, ptrdiff_t h)
{
    switch (orientation) {
    case 2: return (walk_plan){w - 1, -1, w};
    case 3: return (walk_plan){h * w - 1, -1, -w};
    case 4: return (walk_plan){(h - 1) * w, 1, -w};
    case 5: return (walk_plan){0, w, 1};
    case 6: return (walk_plan){(h - 1) * w, -w, 1};
    case 7: return (walk_plan){h * w - 1, -w, -1};
    default: return (walk_plan){w - 1, w, -1}; /* 8 */
    }
}

static inline void walk_pixels(uint8_t *out, const uint8_t *in, walk_plan walk, size_t width, size_t height, size_t bytes)
{
    for (size_t y = 0; y < height; y++) {
        const uint8_t *p = in + (walk.start + (ptrdiff_t)y * walk.down) * (ptrdiff_t)bytes;
        for (size_t x = 0; x < width; x++, out += bytes, p += walk.right * (ptrdiff_t)bytes)
            memcpy(out, p, bytes);
    }
}

static vlm_status turn_upright(vlm_image *image, const char *name, vlm_error *error)
{
    if (image->orientation < 2)
        return VLM_OK;
    bool sideways = image->orientation >= 5;
    size_t width = sideways ? image->height : image->width, height = sideways ? image->width : image->height;
    size_t bytes = vlm_image_mode_bytes(image->mode), total = width * height * bytes;
    uint8_t *data = vlm_alloc(total, 1);
    if (!data)
        return vlm_fail_memory(error, total, name);
    walk_plan walk = plan_walk(image->orientation, (ptrdiff_t)image->width, (ptrdiff_t)image->height);
    switch (bytes) {
    case 1: walk_pixels(data, image->data, walk, width, height, 1); break;
    case 2: walk_pixels(data, image->data, walk, width, height, 2); break;
    case 3: walk_pixels(data, image->data, walk, width, height, 3); break;
    default: walk_pixels(data, image->data, walk, width, height, 4); break;
    }
    free(image->data);
    image->data = data;
    image->width = width;
    image->height = height;
    return VLM_OK;
}

/* ---- Opening ------------------------------------------------------------------------------------------ */

vlm_status vlm_image_decode(vlm_image **image, const void *bytes, size_t size, const char *name, const vlm_image_limits *limits, vlm_error *error)
{
    *image = NULL;
    name = name ? name : "picture";
    vlm_picture_source source = {bytes, size, name, limits && limits->max_pixels ? limits->max_pixels : default_max_pixels};
    read_function *read = find_reader(bytes, size);
    if (size == 0)
        return vlm_fail(error, VLM_ERR_FORMAT, "%s: an empty file; a JPEG, PNG, WebP, GIF or TIFF picture is wanted", name);
    if (!read)
        return vlm_fail(error, VLM_ERR_UNSUPPORTED, "%s: not a picture that is known here (JPEG, PNG, WebP, GIF or TIFF, by content)", name);
    vlm_status status = read(image, &source, error);
    if (status == VLM_OK)
        status = turn_upright(*image, name, error);
    if (status != VLM_OK) {
        vlm_image_free(*image);
        *image = NULL;
    }
    return status;
}

vlm_status vlm_image_open(vlm_image **image, const char *path, const vlm_image_limits *limits, vlm_error *error)
{
    *image = NULL;
    vlm_mapping file;
    vlm_status status = vlm_map_file(&file, path, error);
    if (status != VLM_OK)
        return status;
    status = vlm_image_decode(image, file.data, file.size, path, limits, error);
    vlm_unmap(&file);
    return status;
}

void vlm_image_free(vlm_image *image)
{
    if (image)
        free(image->data);
    free(image);
}

size_t vlm_image_width(const vlm_image *image)
{
    return image->width;
}

size_t vlm_image_height(const vlm_image *image)
{
    return image->height;
}

/* ---- To RGB ------------------------------------------------------------------------------------------- */

/* (a * b + 127.5) / 255, as Pillow's MULDIV255. */
static inline unsigned multiply_255(unsigned a, unsigned b)
{
    unsigned t = a * b + 128;
    return ((t >> 8) + t) >> 8;
}

/* A colour under alpha on white, as Image.alpha_composite: 7 more bits of precision. */
static inline uint8_t on_white(unsigned colour, unsigned alpha)
{
    unsigned under = alpha * 128, t = colour * under + 255 * (255 * 128 - under) + (0x80 << 7);
    return (uint8_t)((((t >> 8) + t) >> 8) >> 7);
}

/* One pixel's colour and alpha. The key is compared in 8 bits, after the conversion, as there. */
static inline void read_pixel(uint8_t out[4], const vlm_image *image, const uint8_t *p, bool keyed)
{
    out[3] = 255;
    switch (image->mode) {
    case VLM_IMAGE_LA:
        out[3] = p[1];
        out[0] = out[1] = out[2] = p[0];
        break;
    case VLM_IMAGE_P:
        memcpy(out, image->palette[*p], 4);
        return;
    case VLM_IMAGE_RGB:
        memcpy(out, p, 3);
        break;
    case VLM_IMAGE_RGBA:
        memcpy(out, p, 4);
        break;
    case VLM_IMAGE_CMYK:
        for (int i = 0; i < 3; i++) {
            int nk = 255 - p[3], v = nk - (int)multiply_255(p[i], (unsigned)nk);
            out[i] = (uint8_t)(v < 0 ? 0 : v);
        }
        break;
    case VLM_IMAGE_I16: {
        uint16_t v;
        memcpy(&v, p, 2);
        out[0] = out[1] = out[2] = v > 255 ? 255 : (uint8_t)v;
        break;
    }
    default:
        out[0] = out[1] = out[2] = p[0];
    }
    bool grey = image->mode != VLM_IMAGE_RGB;
    if (keyed && out[0] == (image->key[0] & 255) && out[1] == (image->key[grey ? 0 : 1] & 255) && out[2] == (image->key[grey ? 0 : 2] & 255))
        out[3] = 0;
}

void vlm_image_rows_to_rgb(uint8_t *rgb, const vlm_image *image, size_t first, size_t n, vlm_alpha alpha)
{
    size_t bytes = vlm_image_mode_bytes(image->mode), total = n * image->width;
    const uint8_t *p = image->data + first * image->width * bytes;
    bool keyed = image->transparency == VLM_TRANSPARENCY_KEY, white = alpha == VLM_ALPHA_WHITE;
    if (image->mode == VLM_IMAGE_RGB && !(keyed && white)) {
        memcpy(rgb, p, total * 3);
        return;
    }
    for (size_t i = 0; i < total; i++, p += bytes, rgb += 3) {
        uint8_t pixel[4];
        read_pixel(pixel, image, p, keyed);
        for (int c = 0; c < 3; c++)
            rgb[c] = white && pixel[3] != 255 ? on_white(pixel[c], pixel[3]) : pixel[c];
    }
}

vlm_status vlm_image_to_rgb(uint8_t **rgb, const vlm_image *image, vlm_alpha alpha, vlm_error *error)
{
    size_t total;
    *rgb = NULL;
    if (vlm_multiply(image->width * image->height, 3, &total))
        *rgb = vlm_alloc(total, 1);
    if (!*rgb)
        return vlm_fail_memory(error, total, "a picture in RGB");
    vlm_image_rows_to_rgb(*rgb, image, 0, image->height, alpha);
    return VLM_OK;
}

/* ---- Thumbnail ---------------------------------------------------------------------------------------- */

static size_t fit(size_t size, double ratio, size_t limit)
{
    double scaled = floor((double)size * ratio + 0.5);
    return scaled < 1 ? 1 : scaled > (double)limit ? limit : (size_t)scaled;
}

vlm_status vlm_image_thumbnail(const vlm_image *image, size_t width, size_t height, uint8_t **rgb, size_t *out_width, size_t *out_height, vlm_error *error)
{
    *rgb = NULL;
    if (width == 0 || height == 0)
        return vlm_fail(error, VLM_ERR_ARGUMENT, "a thumbnail of %zu x %zu pixels; at least 1 x 1 is wanted", width, height);
    double across = (double)width / (double)image->width, down = (double)height / (double)image->height, ratio = across < down ? across : down;
    *out_width = fit(image->width, ratio, width);
    *out_height = fit(image->height, ratio, height);
    size_t total;
    if (!vlm_multiply(*out_width, *out_height, &total) || total > default_max_pixels)
        return vlm_fail(error, VLM_ERR_LIMIT, "a thumbnail of %zu x %zu pixels; at most 2^28 pixels are made", *out_width, *out_height);
    uint8_t *whole;
    vlm_status status = vlm_image_to_rgb(&whole, image, VLM_ALPHA_WHITE, error);
    if (status != VLM_OK)
        return status;
    *rgb = vlm_alloc(total * 3, 1);
    vlm_resize_job job = {.in = whole,
                          .in_width = image->width,
                          .in_height = image->height,
                          .channels = 3,
                          .width = *out_width,
                          .height = *out_height,
                          .window_width = *out_width,
                          .window_height = *out_height,
                          .filter = VLM_FILTER_BICUBIC};
    status = *rgb ? vlm_resize_pillow(*rgb, &job, NULL, error) : vlm_fail_memory(error, total * 3, "a thumbnail");
    free(whole);
    if (status != VLM_OK) {
        free(*rgb);
        *rgb = NULL;
    }
    return status;
}
