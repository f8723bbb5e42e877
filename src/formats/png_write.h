/* Writing PNG. */
#ifndef VLM_FORMATS_PNG_WRITE_H
#define VLM_FORMATS_PNG_WRITE_H

#include <stddef.h>
#include <stdint.h>

#include "vlm/error.h"

/* 8 bits a channel; channels 1 (grey), 3 (RGB) or 4 (RGBA); rows begin `stride` bytes apart. The file
 * appears whole or not at all. */
vlm_status vlm_write_png(const char *path, const uint8_t *data, size_t width, size_t height, size_t stride, size_t channels, vlm_error *error);

#endif
