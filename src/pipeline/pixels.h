/* What a model wants done to a picture, read from its config, and doing it: image -> pixels [3,H,W]. */
#ifndef VLM_PIPELINE_PIXELS_H
#define VLM_PIPELINE_PIXELS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/threads.h"
#include "pipeline/image.h"
#include "pipeline/resize.h"

/* Whose order of steps and roundings. */
typedef enum vlm_pixel_reference {
    VLM_PIXELS_TRANSFORMERS_PIL,  /* XxxImageProcessor: Pillow's resize, NumPy's arithmetic */
    VLM_PIXELS_TRANSFORMERS_FAST, /* XxxImageProcessorFast: torchvision's resize on tensors */
    VLM_PIXELS_OPENCLIP           /* torchvision's transforms on Pillow images, converted to RGB after the resize */
} vlm_pixel_reference;

typedef enum vlm_resize_mode {
    VLM_RESIZE_NONE,
    VLM_RESIZE_EXACT,      /* squash to height x width */
    VLM_RESIZE_SHORTEST,   /* the short side becomes `shortest`; the long one at most `longest` unless 0 */
    VLM_RESIZE_WITHIN,     /* the largest that fits into height x width */
    VLM_RESIZE_KEEP_SHORT, /* open_clip's ResizeKeepRatio: cover height x width */
    VLM_RESIZE_KEEP_LONG   /* open_clip's ResizeKeepRatio(longest=1): fit into height x width */
} vlm_resize_mode;

typedef struct vlm_pixel_contract {
    vlm_pixel_reference reference;
    vlm_alpha alpha;
    bool pad_square; /* LLaVA: pad to a square with the mean colour before the resize */
    vlm_resize_mode resize;
    size_t resize_height, resize_width, shortest, longest;
    vlm_filter filter;
    bool crop; /* the centre of crop_height x crop_width; smaller pictures are padded */
    size_t crop_height, crop_width;
    int crop_fill; /* open_clip's fill_color; 0 elsewhere */
    bool pad;      /* at the end, zeros at the right and below, to pad_height x pad_width */
    size_t pad_height, pad_width;
    bool rescale, normalize;
    double rescale_factor, mean[3], std[3];
    size_t height, width; /* of the pixels; 0 when they depend on the picture */
} vlm_pixel_contract;

/* From a folder in the transformers layout: preprocessor_config.json, else processor_config.json with its
 * image_processor. VLM_ERR_IO when neither is there; _UNSUPPORTED names a processor that is not known. */
vlm_status vlm_pixel_contract_read(vlm_pixel_contract *contract, const char *folder, vlm_error *error);
/* The same from the parsed file; `where` is what errors call it. */
vlm_status vlm_pixel_contract_parse(vlm_pixel_contract *contract, const json_t *config, const char *where, vlm_error *error);
/* From open_clip: preprocess_cfg (NULL: its defaults) and the model's image size, which wins over its "size". */
vlm_status vlm_pixel_contract_openclip(vlm_pixel_contract *contract, const json_t *preprocess_cfg, size_t image_height, size_t image_width, const char *where, vlm_error *error);

/* One line that names all that decides the numbers ("pillow-13.0 bicubic shortest=224 crop=224x224 ..."),
 * cut to size bytes with its NUL. Equal contracts have equal lines. 512 bytes are enough. False: out of memory. */
bool vlm_pixel_contract_describe(char *line, size_t size, const vlm_pixel_contract *contract);

/* Height and width of what vlm_pixels makes of this picture. VLM_ERR_LIMIT when that is beyond reason. */
vlm_status vlm_pixels_size(size_t *height, size_t *width, const vlm_pixel_contract *contract, const vlm_image *image, vlm_error *error);
/* pixels [3, height, width], float32. threads may be NULL; the result does not depend on it. */
vlm_status vlm_pixels(float *pixels, const vlm_pixel_contract *contract, const vlm_image *image, vlm_threads *threads, vlm_error *error);

#endif
