/* Pictures: file bytes to an upright picture in memory. JPEG, PNG, WebP, GIF and TIFF (first frame), known by
 * their content. EXIF orientation is applied. */
#ifndef VLM_IMAGE_H
#define VLM_IMAGE_H

#include <stddef.h>
#include <stdint.h>

#include "vlm/error.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct vlm_image vlm_image;

typedef struct vlm_image_limits {
    uint64_t max_pixels; /* refused above, before anything is allocated; 0: the default, 2^28 */
} vlm_image_limits;

/* limits NULL: the defaults. Free with vlm_image_free (NULL allowed).
 * Errors: VLM_ERR_IO, _FORMAT (truncated or broken: never a half-grey picture), _UNSUPPORTED, _LIMIT, _MEMORY. */
VLM_API vlm_status vlm_image_open(vlm_image **image, const char *path, const vlm_image_limits *limits, vlm_error *error);
/* The same from memory; `name` is what errors call it. The bytes are not kept. */
VLM_API vlm_status vlm_image_decode(vlm_image **image, const void *bytes, size_t size, const char *name, const vlm_image_limits *limits, vlm_error *error);
VLM_API void vlm_image_free(vlm_image *image);

/* Upright size. */
VLM_API size_t vlm_image_width(const vlm_image *image);
VLM_API size_t vlm_image_height(const vlm_image *image);
/* An sRGB thumbnail for people: the picture on white, fitted into width x height with its proportions kept,
 * 3 bytes a pixel, *out_width x *out_height of it. Fresh memory (free()). */
VLM_API vlm_status vlm_image_thumbnail(const vlm_image *image, size_t width, size_t height, uint8_t **rgb, size_t *out_width, size_t *out_height, vlm_error *error);

#ifdef __cplusplus
}
#endif
#endif
