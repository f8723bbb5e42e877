/* JPEG by libjpeg-turbo: baseline and progressive; grey, YCbCr, RGB, CMYK and YCCK.
 * file bytes -> L, RGB or CMYK, the bytes that Pillow 13 gives (ISLOW, fancy upsampling; four components are
 * taken as Adobe's inverted ones whatever the file says, as Pillow does).
 * Trap: libjpeg fills what is missing with grey and only warns. Here the source suspends at the end of the
 * bytes instead, so a truncated file is seen as such.
 * Trap: setjmp. All that must survive a longjmp lives in `decoder`, never in a local. */
#include <stdio.h>

#include <jpeglib.h>

#include <jerror.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "formats/picture.h"

/* A progressive file may refine every coefficient of the whole picture in each of its scans: a few kB can
 * ask for hours. Encoders write about ten scans. */
enum { MAX_SCANS = 500 };
static const uint64_t max_scanned_pixels = (uint64_t)1 << 35;

typedef struct decoder {
    struct jpeg_error_mgr manager; /* first: libjpeg hands us its address */
    struct jpeg_source_mgr input;
    struct jpeg_progress_mgr progress;
    struct jpeg_decompress_struct jpeg;
    jmp_buf on_error;
    const vlm_picture_source *source;
    vlm_image *image;
    vlm_error *error;
    vlm_status status;
} decoder;

static void stop(j_common_ptr jpeg)
{
    decoder *d = (decoder *)jpeg->err;
    char reason[JMSG_LENGTH_MAX];
    jpeg->err->format_message(jpeg, reason);
    vlm_status status = VLM_ERR_FORMAT;
    switch (jpeg->err->msg_code) {
    case JERR_OUT_OF_MEMORY: status = VLM_ERR_MEMORY; break;
    case JERR_ARITH_NOTIMPL:
    case JERR_BAD_PRECISION:
    case JERR_COMPONENT_COUNT:
    case JERR_CONVERSION_NOTIMPL:
    case JERR_SOF_UNSUPPORTED:
    case JERR_NOTIMPL: status = VLM_ERR_UNSUPPORTED; break;
    default: break;
    }
    d->status = vlm_fail(d->error, status, "%s: JPEG: %s", d->source->name, reason);
    longjmp(d->on_error, 1);
}

static void ignore_message(j_common_ptr jpeg, int level)
{
    (void)jpeg, (void)level; /* warnings: Pillow decodes on, so do we */
}

static void do_nothing(j_decompress_ptr jpeg)
{
    (void)jpeg;
}

static boolean suspend(j_decompress_ptr jpeg)
{
    (void)jpeg;
    return FALSE;
}

static void skip(j_decompress_ptr jpeg, long n)
{
    if (n <= 0)
        return;
    size_t step = (unsigned long)n < jpeg->src->bytes_in_buffer ? (size_t)n : jpeg->src->bytes_in_buffer;
    jpeg->src->next_input_byte += step;
    jpeg->src->bytes_in_buffer -= step;
}

static void limit_scans(j_common_ptr jpeg)
{
    decoder *d = (decoder *)jpeg->err;
    uint64_t scans = (uint64_t)d->jpeg.input_scan_number;
    if (scans <= MAX_SCANS && scans * d->jpeg.image_width * d->jpeg.image_height <= max_scanned_pixels)
        return;
    d->status = vlm_fail(d->error, VLM_ERR_LIMIT, "%s: JPEG with %d scans or more of %u x %u pixels; at most %d scans are read, and fewer of large pictures", d->source->name,
                         d->jpeg.input_scan_number, d->jpeg.image_width, d->jpeg.image_height, MAX_SCANS);
    longjmp(d->on_error, 1);
}

static vlm_status truncated(decoder *d)
{
    return d->status = vlm_fail(d->error, VLM_ERR_FORMAT, "%s: truncated JPEG: the picture ends before row %u of %u; %zu bytes found", d->source->name, d->jpeg.output_scanline,
                                d->jpeg.image_height, d->source->size);
}

static void note_orientation(decoder *d)
{
    int orientation = 0;
    for (jpeg_saved_marker_ptr m = d->jpeg.marker_list; m && !orientation; m = m->next)
        if (m->marker == JPEG_APP0 + 1 && m->data_length > 6 && memcmp(m->data, "Exif\0\0", 6) == 0)
            orientation = vlm_exif_orientation(m->data, m->data_length);
    static const char xmp[] = "http://ns.adobe.com/xap/1.0/"; /* with its NUL */
    for (jpeg_saved_marker_ptr m = d->jpeg.marker_list; m && !orientation; m = m->next)
        if (m->marker == JPEG_APP0 + 1 && m->data_length > sizeof xmp && memcmp(m->data, xmp, sizeof xmp) == 0)
            orientation = vlm_xmp_orientation(m->data + sizeof xmp, m->data_length - sizeof xmp);
    if (orientation)
        d->image->orientation = orientation;
}

static vlm_status read_header(decoder *d)
{
    jpeg_save_markers(&d->jpeg, JPEG_APP0 + 1, 0xffff);
    if (jpeg_read_header(&d->jpeg, TRUE) != JPEG_HEADER_OK)
        return truncated(d);
    vlm_image_mode mode;
    switch (d->jpeg.num_components) {
    case 1:
        mode = VLM_IMAGE_L;
        d->jpeg.out_color_space = JCS_GRAYSCALE;
        break;
    case 3:
        mode = VLM_IMAGE_RGB;
        d->jpeg.out_color_space = JCS_RGB;
        break;
    case 4:
        mode = VLM_IMAGE_CMYK;
        d->jpeg.out_color_space = JCS_CMYK;
        break;
    default:
        return d->status = vlm_fail(d->error, VLM_ERR_UNSUPPORTED, "%s: JPEG with %d components; 1, 3 or 4 are read", d->source->name, d->jpeg.num_components);
    }
    d->status = vlm_picture_create(&d->image, d->jpeg.image_width, d->jpeg.image_height, mode, "JPEG", d->source, d->error);
    if (d->status == VLM_OK)
        note_orientation(d);
    return d->status;
}

static vlm_status read_rows(decoder *d)
{
    if (!jpeg_start_decompress(&d->jpeg))
        return truncated(d);
    size_t stride = d->image->width * vlm_image_mode_bytes(d->image->mode);
    while (d->jpeg.output_scanline < d->jpeg.output_height) {
        JSAMPROW rows[8];
        JDIMENSION n = 0;
        for (; n < 8 && d->jpeg.output_scanline + n < d->jpeg.output_height; n++)
            rows[n] = d->image->data + (d->jpeg.output_scanline + n) * stride;
        if (jpeg_read_scanlines(&d->jpeg, rows, n) == 0)
            return truncated(d);
    }
    if (d->image->mode == VLM_IMAGE_CMYK) {
        size_t n = d->image->height * stride;
        for (size_t i = 0; i < n; i++)
            d->image->data[i] = (uint8_t)~d->image->data[i];
    }
    jpeg_finish_decompress(&d->jpeg); /* a missing end marker after the last row is no loss */
    return VLM_OK;
}

vlm_status vlm_picture_read_jpeg(vlm_image **image, const vlm_picture_source *source, vlm_error *error)
{
    *image = NULL;
    decoder *d = calloc(1, sizeof *d);
    if (!d)
        return vlm_fail_memory(error, sizeof *d, source->name);
    d->source = source;
    d->error = error;
    d->jpeg.err = jpeg_std_error(&d->manager);
    d->manager.error_exit = stop;
    d->manager.emit_message = ignore_message;
    d->input = (struct jpeg_source_mgr){.next_input_byte = source->bytes,
                                        .bytes_in_buffer = source->size,
                                        .init_source = do_nothing,
                                        .fill_input_buffer = suspend,
                                        .skip_input_data = skip,
                                        .resync_to_restart = jpeg_resync_to_restart,
                                        .term_source = do_nothing};
    d->progress.progress_monitor = limit_scans;
    if (setjmp(d->on_error) == 0) {
        jpeg_create_decompress(&d->jpeg);
        d->jpeg.src = &d->input;
        d->jpeg.progress = &d->progress;
        if (read_header(d) == VLM_OK)
            read_rows(d);
    }
    jpeg_destroy_decompress(&d->jpeg);
    vlm_status status = d->status;
    if (status == VLM_OK)
        *image = d->image;
    else
        vlm_image_free(d->image);
    free(d);
    return status;
}
