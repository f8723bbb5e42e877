/* WebP by libwebp: lossy and lossless, with and without alpha; of an animation the first frame.
 * file bytes -> RGB or RGBA, as Pillow 13 gives it: the frame on a canvas of zeros.
 * Trap: libwebp's simple decoder refuses animations; the demuxer finds the frame in both kinds of files. */
#include <stdlib.h>
#include <string.h>
#include <webp/decode.h>
#include <webp/demux.h>

#include "base/fail.h"
#include "formats/picture.h"

static int find_orientation(const WebPDemuxer *demuxer)
{
    WebPChunkIterator chunk;
    int orientation = 0;
    if (WebPDemuxGetChunk(demuxer, "EXIF", 1, &chunk)) {
        orientation = vlm_exif_orientation(chunk.chunk.bytes, chunk.chunk.size);
        WebPDemuxReleaseChunkIterator(&chunk);
    }
    if (!orientation && WebPDemuxGetChunk(demuxer, "XMP ", 1, &chunk)) {
        orientation = vlm_xmp_orientation(chunk.chunk.bytes, chunk.chunk.size);
        WebPDemuxReleaseChunkIterator(&chunk);
    }
    return orientation;
}

static vlm_status decode_frame(vlm_image *image, const WebPIterator *frame, const vlm_picture_source *source, vlm_error *error)
{
    size_t bytes = vlm_image_mode_bytes(image->mode), stride = image->width * bytes, total = stride * image->height;
    size_t x = (size_t)frame->x_offset, y = (size_t)frame->y_offset, width = (size_t)frame->width, height = (size_t)frame->height;
    if (frame->x_offset < 0 || frame->y_offset < 0 || x + width > image->width || y + height > image->height)
        return vlm_fail(error, VLM_ERR_FORMAT, "%s: WebP: a frame of %zu x %zu at %zu, %zu lies outside the canvas of %zu x %zu", source->name, width, height, x, y, image->width,
                        image->height);
    if (width != image->width || height != image->height)
        memset(image->data, 0, total);
    WebPDecoderConfig config;
    if (!WebPInitDecoderConfig(&config))
        return vlm_fail(error, VLM_ERR_UNSUPPORTED, "%s: the installed libwebp is not the one this program was built for", source->name);
    config.output.colorspace = image->mode == VLM_IMAGE_RGBA ? MODE_RGBA : MODE_RGB;
    config.output.is_external_memory = 1;
    config.output.u.RGBA.rgba = image->data + y * stride + x * bytes;
    config.output.u.RGBA.stride = (int)stride;
    config.output.u.RGBA.size = total - (y * stride + x * bytes);
    VP8StatusCode code = WebPDecode(frame->fragment.bytes, frame->fragment.size, &config);
    WebPFreeDecBuffer(&config.output);
    if (code == VP8_STATUS_OUT_OF_MEMORY)
        return vlm_fail_memory(error, total, source->name);
    if (code != VP8_STATUS_OK)
        return vlm_fail(error, VLM_ERR_FORMAT, "%s: WebP: %s", source->name, code == VP8_STATUS_NOT_ENOUGH_DATA ? "the picture is truncated" : "the picture's data is broken (or memory ran out: libwebp does not always say which)");
    return VLM_OK;
}

vlm_status vlm_picture_read_webp(vlm_image **image, const vlm_picture_source *source, vlm_error *error)
{
    *image = NULL;
    WebPData data = {source->bytes, source->size};
    WebPBitstreamFeatures features;
    WebPDemuxer *demuxer = WebPDemux(&data);
    if (!demuxer || WebPGetFeatures(source->bytes, source->size, &features) != VP8_STATUS_OK) {
        WebPDemuxDelete(demuxer);
        return vlm_fail(error, VLM_ERR_FORMAT, "%s: truncated or broken WebP (or no memory for its chunks); %zu bytes found", source->name, source->size);
    }
    vlm_image *fresh = NULL;
    WebPIterator frame;
    vlm_status status = vlm_picture_create(&fresh, WebPDemuxGetI(demuxer, WEBP_FF_CANVAS_WIDTH), WebPDemuxGetI(demuxer, WEBP_FF_CANVAS_HEIGHT),
                                           features.has_alpha ? VLM_IMAGE_RGBA : VLM_IMAGE_RGB, "WebP", source, error);
    if (status == VLM_OK && WebPDemuxGetFrame(demuxer, 1, &frame)) {
        status = decode_frame(fresh, &frame, source, error);
        WebPDemuxReleaseIterator(&frame);
    } else if (status == VLM_OK) {
        status = vlm_fail(error, VLM_ERR_FORMAT, "%s: WebP without a picture", source->name);
    }
    int orientation = find_orientation(demuxer);
    WebPDemuxDelete(demuxer);
    if (status != VLM_OK) {
        vlm_image_free(fresh);
        return status;
    }
    if (orientation)
        fresh->orientation = orientation;
    *image = fresh;
    return VLM_OK;
}
