/* PNG by libpng: every colour type and depth, interlaced or not.
 * file bytes -> the mode Pillow 13 gives: 1, L, LA, P, RGB, RGBA, I;16. Sixteen bits keep their high byte,
 * except grey without alpha; transparency stays an entry beside the pixels.
 * Trap: the key of tRNS is compared as it stands in the file, unscaled, to pixels scaled to 8 bits: so does
 * Pillow.
 * Trap: setjmp. All that must survive a longjmp lives in `decoder`, never in a local. */
#include <png.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/memory.h"
#include "formats/picture.h"

typedef struct decoder {
    jmp_buf on_error;
    const vlm_picture_source *source;
    size_t offset;
    png_structp png;
    png_infop info;
    vlm_image *image;
    uint8_t *row;    /* one row as it stands in the file */
    uint8_t **rows;  /* interlaced files: all of them */
    uint8_t *buffer; /* ... and their bytes */
    int depth, colour;
    bool in_trailer; /* behind the pixels broken chunks are no error, cut ones are, as in Pillow */
    vlm_error *error;
    vlm_status status;
} decoder;

/* libpng says so only in words: "Out of memory", "insufficient memory to ...". */
static bool is_out_of_memory(const char *reason)
{
    return strstr(reason, "emory") != NULL;
}

static void stop(png_structp png, png_const_charp reason)
{
    decoder *d = png_get_error_ptr(png);
    bool memory = is_out_of_memory(reason);
    if (d->status == VLM_OK && (memory || !d->in_trailer))
        d->status = vlm_fail(d->error, memory ? VLM_ERR_MEMORY : VLM_ERR_FORMAT, "%s: PNG: %s", d->source->name, reason);
    longjmp(d->on_error, 1);
}

/* Warnings are ignored, but for a chunk that libpng drops for want of memory: it may be the orientation. */
static void hear_warning(png_structp png, png_const_charp reason)
{
    decoder *d = png_get_error_ptr(png);
    if (d->status == VLM_OK && is_out_of_memory(reason))
        d->status = vlm_fail(d->error, VLM_ERR_MEMORY, "%s: PNG: %s", d->source->name, reason);
}

static void read_bytes(png_structp png, png_bytep out, size_t n)
{
    decoder *d = png_get_io_ptr(png);
    if (n > d->source->size - d->offset) {
        if (!(d->in_trailer && n == 8)) /* a chunk's head: no chunk at all is no loss there */
            d->status = vlm_fail(d->error, VLM_ERR_FORMAT, "%s: truncated PNG: %zu bytes found, more are wanted", d->source->name, d->source->size);
        png_error(png, "truncated");
    }
    memcpy(out, d->source->bytes + d->offset, n);
    d->offset += n;
}

static void note_palette(decoder *d)
{
    png_colorp colours;
    int n = 0;
    if (!png_get_PLTE(d->png, d->info, &colours, &n))
        return;
    d->image->n_palette = (size_t)n;
    for (int i = 0; i < n; i++) {
        d->image->palette[i][0] = colours[i].red;
        d->image->palette[i][1] = colours[i].green;
        d->image->palette[i][2] = colours[i].blue;
    }
}

/* A palette with one entry fully transparent and the others opaque is noted as a key, as Pillow does. */
static void note_palette_alpha(decoder *d, const uint8_t *alpha, int n)
{
    int transparent = 0, others = 0;
    for (int i = 0; i < n; i++) {
        transparent += alpha[i] == 0;
        others += alpha[i] != 0 && alpha[i] != 255;
        d->image->palette[i][3] = alpha[i];
    }
    if (transparent || others)
        d->image->transparency = VLM_TRANSPARENCY_PALETTE;
}

static void note_transparency(decoder *d)
{
    png_bytep alpha = NULL;
    int n = 0;
    png_color_16p key = NULL;
    if (!png_get_tRNS(d->png, d->info, &alpha, &n, &key))
        return;
    switch (d->image->mode) {
    case VLM_IMAGE_P:
        if (alpha)
            note_palette_alpha(d, alpha, n);
        return;
    case VLM_IMAGE_1:
        d->image->key[0] = key->gray ? 255 : 0;
        break;
    case VLM_IMAGE_L:
    case VLM_IMAGE_I16:
        d->image->key[0] = key->gray;
        break;
    case VLM_IMAGE_RGB:
        d->image->key[0] = key->red;
        d->image->key[1] = key->green;
        d->image->key[2] = key->blue;
        break;
    default:
        return;
    }
    d->image->transparency = VLM_TRANSPARENCY_KEY;
}

static vlm_status read_header(decoder *d)
{
    png_set_crc_action(d->png, PNG_CRC_DEFAULT, PNG_CRC_DEFAULT);
    png_set_user_limits(d->png, 0x7fffffff, 0x7fffffff); /* ours is on their product, below */
    png_set_chunk_malloc_max(d->png, 64 << 20);          /* of a compressed profile or text */
    png_set_chunk_cache_max(d->png, 256);
    png_read_info(d->png, d->info);
    d->depth = png_get_bit_depth(d->png, d->info);
    d->colour = png_get_color_type(d->png, d->info);
    vlm_image_mode mode = VLM_IMAGE_P;
    switch (d->colour) {
    case PNG_COLOR_TYPE_GRAY: mode = d->depth == 1 ? VLM_IMAGE_1 : d->depth == 16 ? VLM_IMAGE_I16 : VLM_IMAGE_L; break;
    case PNG_COLOR_TYPE_GRAY_ALPHA: mode = d->depth == 16 ? VLM_IMAGE_RGBA : VLM_IMAGE_LA; break;
    case PNG_COLOR_TYPE_RGB: mode = VLM_IMAGE_RGB; break;
    case PNG_COLOR_TYPE_RGB_ALPHA: mode = VLM_IMAGE_RGBA; break;
    default: break;
    }
    if (d->status != VLM_OK) /* a warning about memory */
        return d->status;
    d->status = vlm_picture_create(&d->image, png_get_image_width(d->png, d->info), png_get_image_height(d->png, d->info), mode, "PNG", d->source, d->error);
    if (d->status != VLM_OK)
        return d->status;
    if (mode == VLM_IMAGE_P)
        note_palette(d);
    note_transparency(d);
    return VLM_OK;
}

/* One row of the file, a byte or two a sample, into the picture's mode. */
static void store_row(decoder *d, const uint8_t *in, size_t y)
{
    size_t width = d->image->width, bytes = vlm_image_mode_bytes(d->image->mode);
    uint8_t *out = d->image->data + y * width * bytes;
    if (d->image->mode == VLM_IMAGE_I16) {
        for (size_t x = 0; x < width; x++) {
            uint16_t v = (uint16_t)(in[2 * x] << 8 | in[2 * x + 1]);
            memcpy(out + 2 * x, &v, 2);
        }
    } else if (d->depth == 16 && d->colour == PNG_COLOR_TYPE_GRAY_ALPHA) {
        for (size_t x = 0; x < width; x++) {
            out[4 * x] = out[4 * x + 1] = out[4 * x + 2] = in[4 * x];
            out[4 * x + 3] = in[4 * x + 2];
        }
    } else if (d->depth == 16) {
        for (size_t i = 0; i < width * bytes; i++)
            out[i] = in[2 * i];
    } else if (d->depth < 8 && d->colour == PNG_COLOR_TYPE_GRAY) {
        uint8_t scale = d->depth == 1 ? 255 : d->depth == 2 ? 85 : 17;
        for (size_t x = 0; x < width; x++)
            out[x] = (uint8_t)(in[x] * scale);
    } else {
        memcpy(out, in, width * bytes);
    }
}

static vlm_status read_rows(decoder *d)
{
    png_set_packing(d->png); /* a sample of 1, 2 or 4 bits becomes a byte, unscaled */
    int passes = png_set_interlace_handling(d->png);
    png_read_update_info(d->png, d->info);
    size_t height = d->image->height, row_bytes = png_get_rowbytes(d->png, d->info);
    if (passes == 1) {
        d->row = vlm_alloc(row_bytes, 1);
        if (!d->row)
            return d->status = vlm_fail_memory(d->error, row_bytes, d->source->name);
        for (size_t y = 0; y < height; y++) {
            png_read_row(d->png, d->row, NULL);
            store_row(d, d->row, y);
        }
        return VLM_OK;
    }
    d->rows = vlm_alloc(height, sizeof *d->rows);
    d->buffer = vlm_alloc(height, row_bytes);
    if (!d->rows || !d->buffer)
        return d->status = vlm_fail_memory(d->error, height * row_bytes, d->source->name);
    for (size_t y = 0; y < height; y++)
        d->rows[y] = d->buffer + y * row_bytes;
    png_read_image(d->png, d->rows);
    for (size_t y = 0; y < height; y++)
        store_row(d, d->rows[y], y);
    return VLM_OK;
}

/* ImageMagick's older way to keep EXIF: a text chunk "\nexif\n   length\nhexadecimal digits". */
static int raw_profile_orientation(const char *text, size_t size)
{
    unsigned char bytes[4096]; /* the first directory is near the start */
    size_t n = 0, lines = 0, i = 0;
    for (; i < size && lines < 3; i++)
        lines += text[i] == '\n';
    int high = -1;
    for (; i < size && n < sizeof bytes; i++) {
        char c = text[i];
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
        if (digit < 0)
            continue;
        if (high < 0) {
            high = digit;
        } else {
            bytes[n++] = (unsigned char)(high << 4 | digit);
            high = -1;
        }
    }
    return vlm_exif_orientation(bytes, n);
}

static int find_orientation(decoder *d)
{
    png_uint_32 size = 0;
    png_bytep exif = NULL;
    int orientation = 0;
    if (png_get_eXIf_1(d->png, d->info, &size, &exif))
        orientation = vlm_exif_orientation(exif, size);
    png_textp texts = NULL;
    int n = 0;
    png_get_text(d->png, d->info, &texts, &n);
    for (int i = 0; i < n && !exif && !orientation; i++)
        if (strcmp(texts[i].key, "Raw profile type exif") == 0)
            orientation = raw_profile_orientation(texts[i].text, texts[i].compression > 0 ? texts[i].itxt_length : texts[i].text_length);
    for (int i = 0; i < n && !orientation; i++)
        if (strcmp(texts[i].key, "XML:com.adobe.xmp") == 0)
            orientation = vlm_xmp_orientation((const unsigned char *)texts[i].text, texts[i].compression > 0 ? texts[i].itxt_length : texts[i].text_length);
    return orientation;
}

static void read_all(decoder *d)
{
    if (setjmp(d->on_error))
        return;
    if (read_header(d) == VLM_OK)
        read_rows(d);
}

/* EXIF and text may stand after the pixels. */
static void read_trailer(decoder *d)
{
    d->in_trailer = true;
    if (setjmp(d->on_error) == 0)
        png_read_end(d->png, d->info);
    if (d->status == VLM_OK && setjmp(d->on_error) == 0) {
        int orientation = find_orientation(d);
        if (orientation)
            d->image->orientation = orientation;
    }
}

vlm_status vlm_picture_read_png(vlm_image **image, const vlm_picture_source *source, vlm_error *error)
{
    *image = NULL;
    decoder *d = calloc(1, sizeof *d);
    if (!d)
        return vlm_fail_memory(error, sizeof *d, source->name);
    d->source = source;
    d->error = error;
    d->png = png_create_read_struct(PNG_LIBPNG_VER_STRING, d, stop, hear_warning);
    d->info = d->png ? png_create_info_struct(d->png) : NULL;
    if (d->info) {
        png_set_read_fn(d->png, d, read_bytes);
        read_all(d);
        if (d->status == VLM_OK)
            read_trailer(d);
    } else {
        d->status = vlm_fail_memory(error, sizeof *d, source->name);
    }
    png_destroy_read_struct(d->png ? &d->png : NULL, d->info ? &d->info : NULL, NULL);
    free(d->row);
    free(d->rows);
    free(d->buffer);
    vlm_status status = d->status;
    if (status == VLM_OK)
        *image = d->image;
    else
        vlm_image_free(d->image);
    free(d);
    return status;
}
