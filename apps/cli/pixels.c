/* vlm pixels: what the model sees of a picture, as numbers or for the eye. */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "cli/cli.h"
#include "formats/npy.h"
#include "formats/picture.h"
#include "formats/png_write.h"

typedef struct pixels_options {
    vlm_common common;
    const char *output;
} pixels_options;

static const vlm_option options[] = {
    {"output", 'o', VLM_OPTION_TEXT, offsetof(pixels_options, output), "FILE", "Where to: .npy holds float32 [3,H,W], .png a picture.", 0, 0, NULL},
    {NULL, 0, VLM_OPTION_FLAG, 0, NULL, NULL, 0, 0, NULL}};

/* What the model's pixels make of an even picture of this level: the extreme of each channel, so that padding
 * in between (the mean colour, say) does not count. */
static vlm_status measure_level(float extreme[3], const vlm_model *model, int level, vlm_error *error)
{
    enum { SIDE = 64 };
    vlm_image *image = NULL;
    float *pixels = NULL;
    size_t shape[3];
    const vlm_picture_source source = {.name = "an even picture", .max_pixels = SIDE * SIDE};
    vlm_status status = vlm_picture_create(&image, SIDE, SIDE, VLM_IMAGE_RGB, "PNG", &source, error);
    if (status == VLM_OK) {
        memset(image->data, level, (size_t)SIDE * SIDE * 3);
        status = vlm_image_pixels(model, image, &pixels, shape, error);
    }
    for (size_t c = 0; status == VLM_OK && c < 3; c++) {
        const float *plane = pixels + c * shape[1] * shape[2];
        extreme[c] = level ? -FLT_MAX : FLT_MAX;
        for (size_t i = 0; i < shape[1] * shape[2]; i++)
            extreme[c] = level ? fmaxf(extreme[c], plane[i]) : fminf(extreme[c], plane[i]);
    }
    free(pixels);
    vlm_image_free(image);
    return status;
}

/* Undo the normalising, whatever it is, by where it puts black and white; pixels [3, h, w]. */
static vlm_status write_picture(const char *path, const vlm_model *model, const float *pixels, size_t h, size_t w, vlm_error *error)
{
    float black[3], white[3];
    vlm_status status = measure_level(black, model, 0, error);
    if (status == VLM_OK)
        status = measure_level(white, model, 255, error);
    if (status != VLM_OK)
        return status;
    uint8_t *rgb = vlm_alloc(h * w, 3);
    if (!rgb) {
        error->status = VLM_ERR_MEMORY;
        snprintf(error->message, sizeof error->message, "%s: out of memory", path);
        return VLM_ERR_MEMORY;
    }
    for (size_t c = 0; c < 3; c++) {
        float range = white[c] > black[c] ? white[c] - black[c] : 1;
        for (size_t i = 0; i < h * w; i++) {
            float level = 255 * (pixels[c * h * w + i] - black[c]) / range;
            rgb[3 * i + c] = level > 0 ? (uint8_t)(fminf(level, 255) + 0.5f) : 0;
        }
    }
    status = vlm_write_png(path, rgb, w, h, 3 * w, 3, error);
    free(rgb);
    return status;
}

static bool report(const pixels_options *o, const char *input, const size_t shape[3], const char *contract)
{
    vlm_text line = {0};
    if (o->common.json) {
        vlm_put_open(&line, '{');
        vlm_put_key(&line, "input");
        vlm_put_string(&line, input);
        vlm_put_key(&line, "output");
        vlm_put_string(&line, o->output);
        vlm_put_key(&line, "shape");
        vlm_put_open(&line, '[');
        for (size_t i = 0; i < 3; i++)
            vlm_put_count(&line, shape[i]);
        vlm_put_close(&line, ']');
        vlm_put_key(&line, "contract");
        vlm_put_string(&line, contract);
        vlm_put_close(&line, '}');
    } else {
        vlm_put_plain(&line, o->output, strlen(o->output));
        vlm_text_printf(&line, ": [%zu, %zu, %zu], %s", shape[0], shape[1], shape[2], contract);
    }
    return vlm_print_line(&line);
}

static int write_pixels(const pixels_options *o, const vlm_model *model, const char *input)
{
    vlm_image *image = NULL;
    float *pixels = NULL;
    size_t shape[3] = {0};
    vlm_error error = {0};
    vlm_status status = vlm_image_open(&image, input, NULL, &error);
    if (status == VLM_OK)
        status = vlm_image_pixels(model, image, &pixels, shape, &error);
    if (status != VLM_OK) {
        vlm_report_bad_input(input, error.message, o->common.json);
    } else {
        if (vlm_has_extension(o->output, "npy"))
            status = vlm_npy_save(o->output, pixels, shape, 3, &error);
        else
            status = write_picture(o->output, model, pixels, shape[1], shape[2], &error);
        if (status != VLM_OK)
            vlm_say_error(&error);
        else if (!report(o, input, shape, vlm_model_get_info(model)->pixel_contract))
            status = VLM_ERR_IO;
    }
    free(pixels);
    vlm_image_free(image);
    return status == VLM_OK ? VLM_EXIT_OK : VLM_EXIT_FAILED;
}

static int run_pixels(const vlm_verb *verb, const void *parsed)
{
    const pixels_options *o = parsed;
    vlm_model *model = NULL;
    (void)verb;
    if (o->common.inputs.n != 1)
        return vlm_say_usage("one picture is wanted, not %zu", o->common.inputs.n);
    if (!o->output)
        return vlm_say_usage("-o is wanted: where the pixels go, FILE.npy or FILE.png");
    if (!vlm_has_extension(o->output, "npy") && !vlm_has_extension(o->output, "png"))
        return vlm_say_usage("-o %s: the name must end in .npy or .png", o->output);
    int status = vlm_open_model(&model, &o->common, VLM_PART_PIXELS);
    if (status == VLM_EXIT_OK)
        status = write_pixels(o, model, o->common.inputs.items[0].value);
    vlm_model_close(model);
    return status;
}

const vlm_verb vlm_verb_pixels = {
    "pixels", "what the model sees of a picture",
    "IMAGE -o FILE.png|.npy",
    "Decodes, orients, resizes, crops and normalises the picture as the model's preprocessor_config.json says. "
    "NumPy gets the numbers, float32 [3,H,W]; the PNG shows them with the normalising undone. -m needs only "
    "preprocessor_config.json.",
    "vlm pixels photo.jpg -o seen.png\nvlm pixels photo.jpg -o seen.npy --json",
    options, sizeof(pixels_options), run_pixels};
