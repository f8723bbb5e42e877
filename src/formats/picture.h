/* Picture files: what a decoder fills. A picture keeps the mode that Pillow would give it, since the
 * reference's conversions to RGB depend on it (src/pipeline/image.c makes them). */
#ifndef VLM_FORMATS_PICTURE_H
#define VLM_FORMATS_PICTURE_H

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
    uint8_t *data;           /* [height, width, bytes a pixel], rows without padding */
    uint8_t palette[256][4]; /* mode P: red, green, blue, alpha */
    size_t n_palette;        /* entries that the file has; the others are 0, 0, 0, 255 */
    vlm_transparency transparency;
    uint16_t key[3];
    int orientation;    /* EXIF's, 1 to 8, as it stood in the file; it has been applied */
    const char *format; /* "JPEG", "PNG", ...: static storage */
};

/* A file's bytes on their way into a decoder. */
typedef struct vlm_picture_source {
    const unsigned char *bytes;
    size_t size;
    const char *name; /* what errors call it */
    uint64_t max_pixels;
} vlm_picture_source;

/* Decoders: the first picture of the file, not yet turned upright, its orientation noted. Truncated or
 * broken data is an error. */
vlm_status vlm_picture_read_jpeg(vlm_image **image, const vlm_picture_source *source, vlm_error *error);
vlm_status vlm_picture_read_png(vlm_image **image, const vlm_picture_source *source, vlm_error *error);
vlm_status vlm_picture_read_webp(vlm_image **image, const vlm_picture_source *source, vlm_error *error);
vlm_status vlm_picture_read_gif(vlm_image **image, const vlm_picture_source *source, vlm_error *error);
vlm_status vlm_picture_read_tiff(vlm_image **image, const vlm_picture_source *source, vlm_error *error);

/* Bytes a pixel of a mode, and its name in Pillow ("RGBA"). */
size_t vlm_image_mode_bytes(vlm_image_mode mode);
const char *vlm_image_mode_name(vlm_image_mode mode);

/* A picture of the size with its data allocated and not cleared; every other field as of an opaque upright
 * one. More than max_pixels are refused before anything is allocated. */
vlm_status vlm_picture_create(vlm_image **image, uint64_t width, uint64_t height, vlm_image_mode mode, const char *format, const vlm_picture_source *source, vlm_error *error);

/* The orientation, 1 to 8, that EXIF data (a TIFF file, with or without "Exif\0\0" before it) states;
 * 0 when it states none. */
int vlm_exif_orientation(const unsigned char *exif, size_t size);
/* The same from XMP, for pictures whose EXIF is silent. */
int vlm_xmp_orientation(const unsigned char *xmp, size_t size);

#endif
