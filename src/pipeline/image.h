/* A picture in memory, for those who make pixels of it. The public face is vlm/image.h. */
#ifndef VLM_PIPELINE_IMAGE_H
#define VLM_PIPELINE_IMAGE_H

#include "formats/picture.h"

typedef enum vlm_alpha {
    VLM_ALPHA_DROP, /* Pillow's convert("RGB"): what open_clip does; a colour under full transparency shows */
    VLM_ALPHA_WHITE /* laid on white: what transformers' image processors do */
} vlm_alpha;

/* Rows first .. first + n - 1 as RGB bytes [n, width, 3], converted as Pillow 13 does. */
void vlm_image_rows_to_rgb(uint8_t *rgb, const vlm_image *image, size_t first, size_t n, vlm_alpha alpha);
/* The whole picture [height, width, 3] in fresh memory (free()). */
vlm_status vlm_image_to_rgb(uint8_t **rgb, const vlm_image *image, vlm_alpha alpha, vlm_error *error);

#endif
