/* Pictures to PNG by libpng, written so that no half file is ever seen. */
#include "formats/png_write.h"

#include <png.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/file.h"

typedef struct encoder {
    jmp_buf on_error;
    png_structp png;
    png_infop info;
    vlm_writer file;
    const char *path;
    vlm_error *error;
    vlm_status status;
} encoder;

static void stop(png_structp png, png_const_charp reason)
{
    encoder *e = png_get_error_ptr(png);
    e->status = vlm_fail(e->error, strstr(reason, "emory") ? VLM_ERR_MEMORY : VLM_ERR_IO, "%s: PNG cannot be written: %s", e->path, reason);
    longjmp(e->on_error, 1);
}

static void ignore_warning(png_structp png, png_const_charp reason)
{
    (void)png, (void)reason;
}

static void write_rows(encoder *e, const uint8_t *data, size_t width, size_t height, size_t stride, int colour)
{
    if (setjmp(e->on_error))
        return;
    png_init_io(e->png, e->file.stream);
    png_set_IHDR(e->png, e->info, (png_uint_32)width, (png_uint_32)height, 8, colour, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_write_info(e->png, e->info);
    for (size_t y = 0; y < height; y++)
        png_write_row(e->png, data + y * stride);
    png_write_end(e->png, e->info);
}

vlm_status vlm_write_png(const char *path, const uint8_t *data, size_t width, size_t height, size_t stride, size_t channels, vlm_error *error)
{
    int colour = channels == 1 ? PNG_COLOR_TYPE_GRAY : channels == 3 ? PNG_COLOR_TYPE_RGB : PNG_COLOR_TYPE_RGB_ALPHA;
    if ((channels != 1 && channels != 3 && channels != 4) || width == 0 || height == 0 || width > 0x7fffffff || height > 0x7fffffff)
        return vlm_fail(error, VLM_ERR_ARGUMENT, "%s: a PNG of %zu x %zu pixels with %zu channels; 1, 3 or 4 channels are wanted", path, width, height, channels);
    encoder *e = calloc(1, sizeof *e);
    if (!e)
        return vlm_fail_memory(error, sizeof *e, path);
    e->path = path;
    e->error = error;
    e->status = vlm_writer_open(&e->file, path, error);
    if (e->status == VLM_OK) {
        e->png = png_create_write_struct(PNG_LIBPNG_VER_STRING, e, stop, ignore_warning);
        e->info = e->png ? png_create_info_struct(e->png) : NULL;
        if (e->info)
            write_rows(e, data, width, height, stride, colour);
        else
            e->status = vlm_fail_memory(error, 0, path);
        png_destroy_write_struct(e->png ? &e->png : NULL, e->info ? &e->info : NULL);
    }
    if (e->status == VLM_OK)
        e->status = vlm_writer_commit(&e->file, error);
    vlm_writer_abort(&e->file);
    vlm_status status = e->status;
    free(e);
    return status;
}
