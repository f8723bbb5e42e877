/* Inside a picture: what a decoder fills and what src/pipeline/pixels.c reads. The public face is vlm/image.h.
 * A picture keeps the mode that Pillow would give it, since the reference's conversions to RGB depend on it. */
#ifndef VLM_PIPELINE_IMAGE_H
#define VLM_PIPELINE_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vlm/image.h"

typedef enum vlm_image_mode {
    VLM_IMAGE_1,    /* 1 byte a pixel, 0 or 255 */
    VLM_IMAGE_L,    /* 1 byte: grey */
    VLM_IMAGE_LA,   /* 2 bytes: grey, alpha */
    VLM_IMAGE_P,    /* 1 byte: index into palette */
    VLM_IMAGE_RGB,  /* 3 bytes */
    VLM_IMAGE_RGBA, /* 4 bytes, alpha not premultiplied */
    VLM_IMAGE_CMYK, /* 4 bytes, 255 is full ink */
    VLM_IMAGE_I16,  /* 2 bytes: grey, a uint16_t of the machine's order */
    VLM_IMAGE_MODES
} vlm_image_mode;

typedef enum vlm_transparency {
    VLM_TRANSPARENCY_NONE,
    VLM_TRANSPARENCY_KEY,    /* one grey level, index or colour is transparent: key[0..2] */
    VLM_TRANSPARENCY_PALETTE /* every palette entry has its own alpha: palette[i][3] */
} vlm_transparency;

struct vlm_image {
    size_t width, height; /* upright */
    vlm_image_mode mode;
    uint8_t *data;           /* [height, width, bytes a pixel], rows follow each other without padding */
    uint8_t palette[256][4]; /* mode P: red, green, blue, alpha; entries that the file lacks are 0, 0, 0, 255 */
    size_t n_palette;        /* entries that the file has */
    vlm_transparency transparency;
    uint16_t key[3];
    int orientation;    /* EXIF's, 1 to 8, as it stood in the file; it has been applied */
    const char *format; /* "JPEG", "PNG", ...: static storage */
};

/* Bytes a pixel of a mode, and its name in Pillow ("RGBA"). */
size_t vlm_image_mode_bytes(vlm_image_mode mode);
const char *vlm_image_mode_name(vlm_image_mode mode);

/* A picture of the size with its data allocated and not cleared; every other field zero, orientation 1.
 * Refuses what is larger than limits (NULL: the defaults) before allocating. */
vlm_status vlm_image_create(vlm_image **image, size_t width, size_t height, vlm_image_mode mode, const vlm_image_limits *limits, const char *name, vlm_error *error);

typedef enum vlm_alpha {
    VLM_ALPHA_DROP, /* Pillow's convert("RGB"): what open_clip does; a colour under full transparency shows */
    VLM_ALPHA_WHITE /* laid on white: what transformers' image processors do */
} vlm_alpha;

/* The picture as RGB bytes [height, width, 3] into rgb, converted as Pillow 13 does. */
vlm_status vlm_image_to_rgb(uint8_t *rgb, const vlm_image *image, vlm_alpha alpha, vlm_error *error);

#endif
