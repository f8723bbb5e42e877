/* What the picture decoders share: making a picture within its limit, and the orientation in EXIF and XMP. */
#include "formats/picture.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/memory.h"

static const struct {
    const char *name;
    size_t bytes;
} modes[VLM_IMAGE_MODES] = {
    [VLM_IMAGE_1] = {"1", 1},     [VLM_IMAGE_L] = {"L", 1},       [VLM_IMAGE_LA] = {"LA", 2},     [VLM_IMAGE_P] = {"P", 1},
    [VLM_IMAGE_RGB] = {"RGB", 3}, [VLM_IMAGE_RGBA] = {"RGBA", 4}, [VLM_IMAGE_CMYK] = {"CMYK", 4}, [VLM_IMAGE_I16] = {"I;16", 2},
};

size_t vlm_image_mode_bytes(vlm_image_mode mode)
{
    return modes[mode].bytes;
}

const char *vlm_image_mode_name(vlm_image_mode mode)
{
    return modes[mode].name;
}

vlm_status vlm_picture_create(vlm_image **image, uint64_t width, uint64_t height, vlm_image_mode mode, const char *format, const vlm_picture_source *source, vlm_error *error)
{
    *image = NULL;
    if (width == 0 || height == 0)
        return vlm_fail(error, VLM_ERR_FORMAT, "%s: a %s picture of %" PRIu64 " x %" PRIu64 " pixels; at least 1 x 1 is wanted", source->name, format, width, height);
    if (width > UINT32_MAX || height > UINT32_MAX || width * height > source->max_pixels)
        return vlm_fail(error, VLM_ERR_LIMIT, "%s: a %s picture of %" PRIu64 " x %" PRIu64 " pixels; at most %" PRIu64 " pixels are read", source->name, format, width,
                        height, source->max_pixels);
    size_t bytes;
    if (!vlm_multiply((size_t)width * (size_t)height, modes[mode].bytes, &bytes))
        return vlm_fail_memory(error, SIZE_MAX, source->name);
    vlm_image *fresh = vlm_alloc_zero(1, sizeof *fresh);
    uint8_t *data = fresh ? vlm_alloc(bytes, 1) : NULL;
    if (!data) {
        free(fresh);
        return vlm_fail_memory(error, bytes, source->name);
    }
    fresh->width = (size_t)width;
    fresh->height = (size_t)height;
    fresh->mode = mode;
    fresh->data = data;
    for (size_t i = 0; i < 256; i++)
        fresh->palette[i][3] = 255;
    fresh->orientation = 1;
    fresh->format = format;
    *image = fresh;
    return VLM_OK;
}

/* ---- Orientation ------------------------------------------------------------------------------------- */

static unsigned read16(const unsigned char *p, bool little)
{
    return little ? (unsigned)p[0] | (unsigned)p[1] << 8 : (unsigned)p[1] | (unsigned)p[0] << 8;
}

static uint32_t read32(const unsigned char *p, bool little)
{
    return little ? read16(p, true) | (uint32_t)read16(p + 2, true) << 16 : (uint32_t)read16(p, false) << 16 | read16(p + 2, false);
}

/* EXIF is a TIFF file: a byte order, the offset of a directory, and there 12-byte entries of tag, type,
 * count and value. Orientation is tag 274, a SHORT, or a LONG by some writers. */
int vlm_exif_orientation(const unsigned char *exif, size_t size)
{
    for (int i = 0; i < 2 && size >= 6 && memcmp(exif, "Exif\0\0", 6) == 0; i++) {
        exif += 6;
        size -= 6;
    }
    if (size < 8 || !(memcmp(exif, "II", 2) == 0 || memcmp(exif, "MM", 2) == 0))
        return 0;
    bool little = exif[0] == 'I';
    size_t directory = read32(exif + 4, little);
    if (directory > size || size - directory < 2)
        return 0;
    size_t entries = read16(exif + directory, little);
    const unsigned char *entry = exif + directory + 2;
    size_t room = (size - directory - 2) / 12;
    for (size_t i = 0; i < entries && i < room; i++, entry += 12) {
        if (read16(entry, little) != 274)
            continue;
        unsigned type = read16(entry + 2, little);
        uint32_t value = type == 3 ? read16(entry + 8, little) : type == 4 ? read32(entry + 8, little) : 0;
        return value >= 1 && value <= 8 ? (int)value : 1;
    }
    return 0;
}

/* The attribute or the element, as Pillow looks for it: tiff:Orientation="6" or <tiff:Orientation>6. */
int vlm_xmp_orientation(const unsigned char *xmp, size_t size)
{
    static const char name[] = "tiff:Orientation";
    size_t length = sizeof name - 1;
    for (size_t i = 0; i + length + 2 <= size; i++) {
        if (xmp[i] != 't' || memcmp(xmp + i, name, length) != 0)
            continue;
        const unsigned char *value = xmp + i + length;
        size_t left = size - i - length;
        value += *value == '>' ? 1 : left >= 3 && value[0] == '=' && value[1] == '"' ? 2 : 0;
        if (value == xmp + i + length || *value < '0' || *value > '9')
            continue;
        return *value >= '1' && *value <= '8' ? *value - '0' : 1;
    }
    return 0;
}
