/* Pictures changed at random on their way into training, and the plain way for measuring. */
#ifndef VLM_TRAIN_AUGMENT_H
#define VLM_TRAIN_AUGMENT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/random.h"
#include "pipeline/image.h"

typedef struct vlm_augmentation {
    bool random;                         /* false: short side resized, centre cropped; nothing else applies */
    double scale[2], ratio[2];           /* of the crop: part of the area, width / height */
    double flip;                         /* probability of a horizontal flip */
    double jitter[4], jitter_probability; /* brightness, contrast, saturation, hue */
    double gray_probability;
} vlm_augmentation;

/* From the config's "augmentation": an object, false, or NULL (open_clip's default: crops of 0.9 to 1). */
vlm_status vlm_augmentation_parse(vlm_augmentation *augmentation, const json_t *config, const char *where, vlm_error *error);

/* pixels [3, height, width], 0..1. All that is random comes from `random`. */
vlm_status vlm_augment(float *pixels, size_t height, size_t width, const vlm_augmentation *augmentation, const vlm_image *image, vlm_random *random, vlm_error *error);

#endif
