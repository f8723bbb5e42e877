/* GIF by giflib: the first frame on its canvas.
 * file bytes -> P, or L when there is no palette or it is the plain grey ramp, as Pillow 13 has it; what the
 * frame does not cover is the transparent index, else index 0.
 * Trap: a frame may reach beyond the screen: then the screen grows, as in Pillow. */
#include <gif_lib.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "formats/picture.h"

typedef struct decoder {
    const vlm_picture_source *source;
    size_t offset;
    GifFileType *gif;
    int transparent; /* index, or -1 */
    vlm_error *error;
} decoder;

static int read_bytes(GifFileType *gif, GifByteType *out, int n)
{
    decoder *d = gif->UserData;
    size_t left = d->source->size - d->offset, step = n < 0 ? 0 : (size_t)n < left ? (size_t)n : left;
    memcpy(out, d->source->bytes + d->offset, step);
    d->offset += step;
    return (int)step;
}

static vlm_status fail(decoder *d, int code)
{
    /* giflib calls a palette that it cannot allocate a missing screen. */
    bool no_palette = code == D_GIF_ERR_NO_SCRN_DSCR && d->offset >= 13 && d->offset < d->source->size;
    if (code == D_GIF_ERR_NOT_ENOUGH_MEM || no_palette)
        return vlm_fail_memory(d->error, 0, d->source->name);
    const char *reason = GifErrorString(code);
    if (d->offset == d->source->size)
        reason = "the file is truncated";
    return vlm_fail(d->error, VLM_ERR_FORMAT, "%s: GIF: %s", d->source->name, reason ? reason : "broken data");
}

/* Of a chain of extension blocks only the graphic control's transparent index matters. */
static int read_extension(decoder *d)
{
    int code;
    GifByteType *block;
    if (DGifGetExtension(d->gif, &code, &block) == GIF_ERROR)
        return GIF_ERROR;
    if (code == GRAPHICS_EXT_FUNC_CODE && block && block[0] >= 4 && (block[1] & 1))
        d->transparent = block[4];
    while (block)
        if (DGifGetExtensionNext(d->gif, &block) == GIF_ERROR)
            return GIF_ERROR;
    return GIF_OK;
}

/* Up to and with the first frame's descriptor. */
static vlm_status find_frame(decoder *d)
{
    for (;;) {
        GifRecordType type;
        if (DGifGetRecordType(d->gif, &type) == GIF_ERROR)
            return fail(d, d->gif->Error);
        if (type == TERMINATE_RECORD_TYPE)
            return vlm_fail(d->error, VLM_ERR_FORMAT, "%s: GIF without a picture", d->source->name);
        if (type == EXTENSION_RECORD_TYPE && read_extension(d) == GIF_ERROR)
            return fail(d, d->gif->Error);
        if (type == IMAGE_DESC_RECORD_TYPE)
            return DGifGetImageDesc(d->gif) == GIF_ERROR ? fail(d, d->gif->Error) : VLM_OK;
    }
}

static bool is_grey_ramp(const ColorMapObject *map)
{
    for (int i = 0; i < map->ColorCount; i++)
        if (map->Colors[i].Red != i || map->Colors[i].Green != i || map->Colors[i].Blue != i)
            return false;
    return true;
}

static vlm_status read_frame(decoder *d, vlm_image *image)
{
    static const size_t starts[] = {0, 4, 2, 1}, steps[] = {8, 8, 4, 2};
    const GifImageDesc *frame = &d->gif->Image;
    size_t width = (size_t)frame->Width, height = (size_t)frame->Height;
    uint8_t *origin = image->data + (size_t)frame->Top * image->width + (size_t)frame->Left;
    memset(image->data, d->transparent >= 0 ? d->transparent : 0, image->width * image->height);
    if (width == 0 || height == 0)
        return vlm_fail(d->error, VLM_ERR_FORMAT, "%s: GIF: a frame of %zu x %zu pixels", d->source->name, width, height);
    for (int pass = 0; pass < (frame->Interlace ? 4 : 1); pass++)
        for (size_t y = frame->Interlace ? starts[pass] : 0; y < height; y += frame->Interlace ? steps[pass] : 1)
            if (DGifGetLine(d->gif, origin + y * image->width, (int)width) == GIF_ERROR)
                return fail(d, d->gif->Error);
    return VLM_OK;
}

static vlm_status read_picture(decoder *d, vlm_image **image)
{
    vlm_status status = find_frame(d);
    if (status != VLM_OK)
        return status;
    const GifImageDesc *frame = &d->gif->Image;
    const ColorMapObject *map = frame->ColorMap ? frame->ColorMap : d->gif->SColorMap;
    uint64_t right = (uint64_t)frame->Left + (uint64_t)frame->Width, bottom = (uint64_t)frame->Top + (uint64_t)frame->Height;
    uint64_t width = (uint64_t)d->gif->SWidth, height = (uint64_t)d->gif->SHeight;
    bool has_palette = map && !is_grey_ramp(map);
    status = vlm_picture_create(image, right > width ? right : width, bottom > height ? bottom : height, has_palette ? VLM_IMAGE_P : VLM_IMAGE_L, "GIF", d->source, d->error);
    if (status != VLM_OK)
        return status;
    for (int i = 0; has_palette && i < map->ColorCount && i < 256; i++) {
        (*image)->palette[i][0] = map->Colors[i].Red;
        (*image)->palette[i][1] = map->Colors[i].Green;
        (*image)->palette[i][2] = map->Colors[i].Blue;
        (*image)->n_palette++;
    }
    if (d->transparent >= 0 && has_palette) {
        (*image)->transparency = VLM_TRANSPARENCY_PALETTE;
        (*image)->palette[d->transparent][3] = 0;
    } else if (d->transparent >= 0) {
        (*image)->transparency = VLM_TRANSPARENCY_KEY;
        (*image)->key[0] = (uint16_t)d->transparent;
    }
    return read_frame(d, *image);
}

vlm_status vlm_picture_read_gif(vlm_image **image, const vlm_picture_source *source, vlm_error *error)
{
    *image = NULL;
    decoder d = {.source = source, .transparent = -1, .error = error};
    int code = 0;
    d.gif = DGifOpen(&d, read_bytes, &code);
    if (!d.gif)
        return fail(&d, code);
    vlm_status status = read_picture(&d, image);
    DGifCloseFile(d.gif, &code);
    if (status != VLM_OK) {
        vlm_image_free(*image);
        *image = NULL;
    }
    return status;
}
