/* What the picture targets share: any bytes as a picture that begins like their format. Refused with a sentence,
 * or every byte of it can be read, it has an RGB, and it goes through a pixel contract. */
#ifndef TESTS_FUZZ_PICTURE_H
#define TESTS_FUZZ_PICTURE_H

#include <string.h>

#include "fuzz.h"

#include "pipeline/pixels.h"

static inline void fuzz_picture(const uint8_t *data, size_t size)
{
    static const vlm_pixel_contract contract = {.reference = VLM_PIXELS_OPENCLIP,
                                                .resize = VLM_RESIZE_SHORTEST,
                                                .shortest = 8,
                                                .filter = VLM_FILTER_BICUBIC,
                                                .crop = true,
                                                .crop_height = 8,
                                                .crop_width = 8,
                                                .normalize = true,
                                                .std = {1, 1, 1}};
    vlm_image_limits limits = {.max_pixels = 1 << 18};
    vlm_image *image = NULL;
    vlm_error error = {0};
    vlm_status status = vlm_image_decode(&image, data, size, "file", &limits, &error);
    CHECK((status == VLM_OK) == (image != NULL) && (status == VLM_OK) == !error.message[0]);
    if (status != VLM_OK)
        return;
    CHECK(image->width * image->height <= limits.max_pixels);
    touch(image->data, image->width * image->height * vlm_image_mode_bytes(image->mode));
    uint8_t *rgb = NULL;
    float pixels[3 * 8 * 8];
    CHECK(vlm_image_to_rgb(&rgb, image, VLM_ALPHA_WHITE, &error) == VLM_OK);
    touch(rgb, image->width * image->height * 3);
    free(rgb);
    if (vlm_pixels(pixels, &contract, image, NULL, &error) == VLM_OK)
        touch(pixels, sizeof pixels);
    vlm_image_free(image);
}

#endif
