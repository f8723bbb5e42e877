/* TIFF by libtiff: the first page; strips or tiles, contiguous or separate planes, any compression libtiff has.
 * file bytes -> the mode Pillow 13 gives: 1, L, LA, P, RGB, RGBA, CMYK, I;16; sixteen bits of colour keep their
 * high byte, premultiplied alpha is undone.
 * Trap: what a sample means hangs on five tags together; unlisted combinations are refused, not guessed. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tiffio.h>

#include "base/fail.h"
#include "base/memory.h"
#include "formats/picture.h"

enum { MAX_SAMPLES = 8 };
static const uint64_t max_block = (uint64_t)1 << 30; /* bytes of a strip or a tile, or of what libtiff allocates */

typedef struct decoder {
    const vlm_picture_source *source;
    uint64_t offset;
    TIFF *tiff;
    char reason[256]; /* libtiff's last complaint */
    bool truncated;   /* it asked for bytes behind the end; of tags it would only warn */
    uint32_t width, height;
    uint16_t bits, samples, photometric, compression, planar, format;
    bool inverted, premultiplied;
    size_t used; /* samples of a pixel that go into the picture */
    vlm_error *error;
} decoder;

/* ---- libtiff's view of memory -------------------------------------------------------------------------- */

static tmsize_t read_bytes(thandle_t handle, void *out, tmsize_t n)
{
    decoder *d = handle;
    uint64_t left = d->offset < d->source->size ? d->source->size - d->offset : 0;
    size_t step = n < 0 ? 0 : (uint64_t)n < left ? (size_t)n : (size_t)left;
    if (step)
        memcpy(out, d->source->bytes + d->offset, step);
    d->offset += step;
    d->truncated = d->truncated || (n > 0 && step < (size_t)n);
    return (tmsize_t)step;
}

static tmsize_t refuse_write(thandle_t handle, void *bytes, tmsize_t n)
{
    (void)handle, (void)bytes, (void)n;
    return -1;
}

static toff_t seek_to(thandle_t handle, toff_t offset, int whence)
{
    decoder *d = handle;
    d->offset = whence == SEEK_CUR ? d->offset + offset : whence == SEEK_END ? d->source->size + offset : offset;
    return d->offset;
}

static int do_nothing(thandle_t handle)
{
    (void)handle;
    return 0;
}

static toff_t get_size(thandle_t handle)
{
    return ((decoder *)handle)->source->size;
}

/* No mapping: libtiff then asks read_bytes for all, which notes what the file lacks. */
static int refuse_mapping(thandle_t handle, void **base, toff_t *size)
{
    (void)handle, (void)base, (void)size;
    return 0;
}

static void unmap_file(thandle_t handle, void *base, toff_t size)
{
    (void)handle, (void)base, (void)size;
}

static int keep_reason(TIFF *tiff, void *user, const char *module, const char *format, va_list arguments)
{
    (void)tiff, (void)module;
    decoder *d = user;
    vsnprintf(d->reason, sizeof d->reason, format, arguments);
    return 1;
}

static int ignore_warning(TIFF *tiff, void *user, const char *module, const char *format, va_list arguments)
{
    (void)tiff, (void)user, (void)module, (void)format, (void)arguments;
    return 1;
}

static vlm_status fail(decoder *d, const char *doing)
{
    return vlm_fail(d->error, VLM_ERR_FORMAT, "%s: TIFF: %s: %s", d->source->name, doing, *d->reason ? d->reason : "broken data");
}

/* ---- What the samples mean ----------------------------------------------------------------------------- */

static vlm_status unsupported(decoder *d)
{
    return vlm_fail(d->error, VLM_ERR_UNSUPPORTED, "%s: TIFF with photometric interpretation %u, %u samples of %u bits, sample format %u", d->source->name, d->photometric,
                    d->samples, d->bits, d->format);
}

/* The kind of the first extra sample: 0 unspecified, 1 premultiplied alpha, 2 alpha; `colours` samples come
 * before it. */
static int first_extra(decoder *d, unsigned colours, bool *has)
{
    uint16_t n = 0, *kinds = NULL;
    *has = d->samples > colours;
    if (!*has || !TIFFGetField(d->tiff, TIFFTAG_EXTRASAMPLES, &n, &kinds) || n == 0)
        return *has && colours == 3 ? 2 : 0; /* a fourth sample beside RGB without a word is alpha */
    return kinds[0] == 999 ? 2 : kinds[0];   /* Corel Draw 10 */
}

static vlm_status choose_grey(decoder *d, vlm_image_mode *mode)
{
    bool extra;
    int kind = first_extra(d, 1, &extra);
    d->inverted = d->photometric == PHOTOMETRIC_MINISWHITE;
    d->used = 1;
    if (d->bits == 16) {
        d->inverted = false; /* Pillow does not turn these round */
        *mode = VLM_IMAGE_I16;
        return d->samples == 1 ? VLM_OK : unsupported(d);
    }
    *mode = d->bits == 1 ? VLM_IMAGE_1 : VLM_IMAGE_L;
    if (!extra)
        return VLM_OK;
    if (d->bits != 8 || d->samples != 2 || d->inverted || kind == 1)
        return unsupported(d);
    if (kind == 2) {
        *mode = VLM_IMAGE_LA;
        d->used = 2;
    }
    return VLM_OK;
}

static vlm_status choose_mode(decoder *d, vlm_image_mode *mode)
{
    bool extra;
    int kind;
    if (d->format != SAMPLEFORMAT_UINT || d->samples == 0 || d->samples > MAX_SAMPLES)
        return unsupported(d);
    bool bytes = d->bits == 8 || d->bits == 16, packed = d->bits == 1 || d->bits == 2 || d->bits == 4;
    if (!bytes && !(packed && d->samples == 1))
        return unsupported(d);
    switch (d->photometric) {
    case PHOTOMETRIC_MINISWHITE:
    case PHOTOMETRIC_MINISBLACK: return choose_grey(d, mode);
    case PHOTOMETRIC_PALETTE:
        *mode = VLM_IMAGE_P;
        d->used = 1;
        return d->bits <= 8 && d->samples == 1 ? VLM_OK : unsupported(d);
    case PHOTOMETRIC_RGB:
        kind = first_extra(d, 3, &extra);
        *mode = extra && kind ? VLM_IMAGE_RGBA : VLM_IMAGE_RGB;
        d->used = extra && kind ? 4 : 3;
        d->premultiplied = kind == 1;
        return d->samples >= 3 ? VLM_OK : unsupported(d);
    case PHOTOMETRIC_SEPARATED:
        *mode = VLM_IMAGE_CMYK;
        d->used = 4;
        return d->samples >= 4 ? VLM_OK : unsupported(d);
    case PHOTOMETRIC_YCBCR:
        *mode = VLM_IMAGE_RGB;
        d->used = 3;
        return d->samples == 3 && d->bits == 8 ? VLM_OK : unsupported(d);
    default: return unsupported(d);
    }
}

static vlm_status note_palette(decoder *d, vlm_image *image)
{
    uint16_t *red, *green, *blue;
    if (!TIFFGetField(d->tiff, TIFFTAG_COLORMAP, &red, &green, &blue))
        return fail(d, "a picture of indices without their colours");
    image->n_palette = (size_t)1 << d->bits;
    for (size_t i = 0; i < image->n_palette; i++) {
        image->palette[i][0] = (uint8_t)(red[i] >> 8);
        image->palette[i][1] = (uint8_t)(green[i] >> 8);
        image->palette[i][2] = (uint8_t)(blue[i] >> 8);
    }
    return VLM_OK;
}

/* ---- Samples ------------------------------------------------------------------------------------------- */

/* n samples of a packed or wide row from `in`, `in_step` samples apart, into bytes `out_step` apart. */
static void store_samples(const decoder *d, uint8_t *out, size_t out_step, const uint8_t *in, size_t in_step, size_t n, vlm_image_mode mode)
{
    if (mode == VLM_IMAGE_I16) {
        memcpy(out, in, n * 2);
    } else if (d->bits == 16) {
        for (size_t i = 0; i < n; i++) {
            uint16_t v; /* libtiff gives the machine's order */
            memcpy(&v, in + 2 * i * in_step, 2);
            out[i * out_step] = (uint8_t)(v >> 8);
        }
    } else if (d->bits == 8) {
        uint8_t flip = d->inverted ? 255 : 0;
        for (size_t i = 0; i < n; i++)
            out[i * out_step] = in[i * in_step] ^ flip;
    } else {
        unsigned mask = (1u << d->bits) - 1, scale = mode == VLM_IMAGE_P ? 1 : 255 / mask, flip = d->inverted ? mask : 0;
        for (size_t i = 0; i < n; i++) {
            size_t bit = i * d->bits;
            out[i] = (uint8_t)((((unsigned)in[bit / 8] >> (8 - d->bits - bit % 8)) & mask) ^ flip) * (uint8_t)scale;
        }
    }
}

/* A strip or a tile that libtiff decoded, `across` pixels wide: the part inside the picture. plane counts the
 * separate planes; contiguous samples are all in plane 0. */
static void store_block(const decoder *d, vlm_image *image, const uint8_t *block, size_t x, size_t y, size_t across, size_t rows, size_t plane)
{
    size_t bytes = vlm_image_mode_bytes(image->mode), per_pixel = d->planar == PLANARCONFIG_CONTIG ? d->samples : 1;
    size_t stride = (across * per_pixel * d->bits + 7) / 8, n = image->width - x < across ? image->width - x : across;
    for (size_t r = 0; r < rows && y + r < image->height; r++) {
        uint8_t *out = image->data + ((y + r) * image->width + x) * bytes;
        const uint8_t *in = block + r * stride;
        if (d->planar == PLANARCONFIG_CONTIG)
            for (size_t s = 0; s < d->used; s++)
                store_samples(d, out + s, bytes, in + s * (d->bits / 8), per_pixel, n, image->mode);
        else if (plane < d->used)
            store_samples(d, out + plane, bytes, in, 1, n, image->mode);
    }
}

static vlm_status read_blocks(decoder *d, vlm_image *image)
{
    bool tiled = TIFFIsTiled(d->tiff);
    uint32_t across = d->width, rows = d->height;
    if (tiled) {
        if (!TIFFGetField(d->tiff, TIFFTAG_TILEWIDTH, &across) || !TIFFGetField(d->tiff, TIFFTAG_TILELENGTH, &rows))
            return fail(d, "tiles without a size");
    } else {
        TIFFGetFieldDefaulted(d->tiff, TIFFTAG_ROWSPERSTRIP, &rows);
        rows = rows > d->height ? d->height : rows;
    }
    uint64_t size = tiled ? TIFFTileSize64(d->tiff) : TIFFStripSize64(d->tiff), per_pixel = d->planar == PLANARCONFIG_CONTIG ? d->samples : 1;
    if (across == 0 || rows == 0 || size == 0 || size > max_block || size < (across * per_pixel * d->bits + 7) / 8 * rows)
        return vlm_fail(d->error, VLM_ERR_LIMIT, "%s: TIFF in blocks of %u x %u pixels, %" PRIu64 " bytes each; at most 2^30 are read", d->source->name, across, rows, size);
    uint8_t *block = vlm_alloc((size_t)size, 1);
    if (!block)
        return vlm_fail_memory(d->error, (size_t)size, d->source->name);
    size_t planes = d->planar == PLANARCONFIG_CONTIG ? 1 : d->used;
    vlm_status status = VLM_OK;
    for (size_t plane = 0; plane < planes && status == VLM_OK; plane++)
        for (size_t y = 0; y < d->height && status == VLM_OK; y += rows)
            for (size_t x = 0; x < d->width && status == VLM_OK; x += across) {
                uint32_t index = tiled ? TIFFComputeTile(d->tiff, (uint32_t)x, (uint32_t)y, 0, (uint16_t)plane) : TIFFComputeStrip(d->tiff, (uint32_t)y, (uint16_t)plane);
                size_t wanted = tiled ? (size_t)size : (across * (size_t)per_pixel * d->bits + 7) / 8 * (d->height - y < rows ? d->height - y : rows);
                tmsize_t got = tiled ? TIFFReadEncodedTile(d->tiff, index, block, (tmsize_t)size) : TIFFReadEncodedStrip(d->tiff, index, block, (tmsize_t)wanted);
                if (got < 0 || (size_t)got < wanted)
                    status = fail(d, "a strip or tile is truncated or broken");
                else
                    store_block(d, image, block, x, y, across, rows, plane);
            }
    free(block);
    return status;
}

/* Subsampled colours that JPEG does not turn into RGB itself: by libtiff's own conversion, as Pillow does. */
static vlm_status read_as_rgba(decoder *d, vlm_image *image)
{
    size_t n = image->width * image->height;
    uint32_t *rgba = vlm_alloc(n, sizeof *rgba);
    if (!rgba)
        return vlm_fail_memory(d->error, n * sizeof *rgba, d->source->name);
    vlm_status status = VLM_OK;
    if (!TIFFReadRGBAImageOriented(d->tiff, d->width, d->height, rgba, ORIENTATION_TOPLEFT, 1))
        status = fail(d, "its colours cannot be read");
    for (size_t i = 0; i < n && status == VLM_OK; i++) {
        image->data[3 * i] = (uint8_t)TIFFGetR(rgba[i]);
        image->data[3 * i + 1] = (uint8_t)TIFFGetG(rgba[i]);
        image->data[3 * i + 2] = (uint8_t)TIFFGetB(rgba[i]);
    }
    free(rgba);
    return status;
}

/* Pillow's unpackRGBa. */
static void unpremultiply(vlm_image *image)
{
    uint8_t *p = image->data;
    for (size_t i = 0; i < image->width * image->height; i++, p += 4)
        for (int c = 0; c < 3 && p[3] != 255; c++) {
            unsigned v = p[3] ? p[c] * 255u / p[3] : 0;
            p[c] = v > 255 ? 255 : (uint8_t)v;
        }
}

static void note_orientation(decoder *d, vlm_image *image)
{
    uint16_t orientation = 0;
    uint32_t size = 0;
    unsigned char *xmp = NULL;
    if (TIFFGetField(d->tiff, TIFFTAG_ORIENTATION, &orientation))
        image->orientation = orientation >= 1 && orientation <= 8 ? orientation : 1;
    else if (TIFFGetField(d->tiff, TIFFTAG_XMLPACKET, &size, &xmp) && vlm_xmp_orientation(xmp, size))
        image->orientation = vlm_xmp_orientation(xmp, size);
}

static vlm_status read_picture(decoder *d, vlm_image **image)
{
    if (!TIFFGetField(d->tiff, TIFFTAG_IMAGEWIDTH, &d->width) || !TIFFGetField(d->tiff, TIFFTAG_IMAGELENGTH, &d->height))
        return fail(d, "no picture size");
    if (!TIFFGetField(d->tiff, TIFFTAG_PHOTOMETRIC, &d->photometric))
        d->photometric = PHOTOMETRIC_MINISWHITE;
    TIFFGetFieldDefaulted(d->tiff, TIFFTAG_BITSPERSAMPLE, &d->bits);
    TIFFGetFieldDefaulted(d->tiff, TIFFTAG_SAMPLESPERPIXEL, &d->samples);
    TIFFGetFieldDefaulted(d->tiff, TIFFTAG_SAMPLEFORMAT, &d->format);
    TIFFGetFieldDefaulted(d->tiff, TIFFTAG_COMPRESSION, &d->compression);
    TIFFGetFieldDefaulted(d->tiff, TIFFTAG_PLANARCONFIG, &d->planar);
    vlm_image_mode mode = VLM_IMAGE_L;
    vlm_status status = choose_mode(d, &mode);
    if (status == VLM_OK)
        status = vlm_picture_create(image, d->width, d->height, mode, "TIFF", d->source, d->error);
    if (status != VLM_OK)
        return status;
    note_orientation(d, *image);
    if (mode == VLM_IMAGE_P && (status = note_palette(d, *image)) != VLM_OK)
        return status;
    bool jpeg = d->compression == COMPRESSION_JPEG && d->planar == PLANARCONFIG_CONTIG;
    if (d->photometric == PHOTOMETRIC_YCBCR && jpeg)
        TIFFSetField(d->tiff, TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);
    status = d->photometric == PHOTOMETRIC_YCBCR && !jpeg ? read_as_rgba(d, *image) : read_blocks(d, *image);
    if (status == VLM_OK && d->premultiplied)
        unpremultiply(*image);
    if (status == VLM_OK && d->truncated)
        status = vlm_fail(d->error, VLM_ERR_FORMAT, "%s: truncated TIFF; %zu bytes found, more are wanted", d->source->name, d->source->size);
    return status;
}

vlm_status vlm_picture_read_tiff(vlm_image **image, const vlm_picture_source *source, vlm_error *error)
{
    *image = NULL;
    decoder d = {.source = source, .error = error};
    TIFFOpenOptions *options = TIFFOpenOptionsAlloc();
    if (!options)
        return vlm_fail_memory(error, 0, source->name);
    TIFFOpenOptionsSetMaxSingleMemAlloc(options, (tmsize_t)max_block);
    TIFFOpenOptionsSetErrorHandlerExtR(options, keep_reason, &d);
    TIFFOpenOptionsSetWarningHandlerExtR(options, ignore_warning, &d);
    d.tiff = TIFFClientOpenExt(source->name, "r", &d, read_bytes, refuse_write, seek_to, do_nothing, get_size, refuse_mapping, unmap_file, options);
    TIFFOpenOptionsFree(options);
    vlm_status status = d.tiff ? read_picture(&d, image) : fail(&d, "its first directory cannot be read");
    if (d.tiff)
        TIFFClose(d.tiff);
    if (status != VLM_OK) {
        vlm_image_free(*image);
        *image = NULL;
    }
    return status;
}
