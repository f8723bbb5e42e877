/* What every plot draws with: the page, its file, colours, text. */
#include "plots/canvas.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <cairo-svg.h>

#include "base/fail.h"
#include "base/file.h"
#include "plots/plots.h"

static const double largest_side = 30000, largest_area = 1.2e8; /* pixels; cairo's own limit is 32767 a side */

const vlm_color vlm_ink = {0.13, 0.15, 0.19}, vlm_faint = {0.45, 0.48, 0.53}, vlm_grid = {0.90, 0.91, 0.93};
const vlm_color vlm_accents[6] = {{0.16, 0.42, 0.69}, {0.85, 0.37, 0.13}, {0.17, 0.58, 0.41}, {0.56, 0.35, 0.68}, {0.75, 0.23, 0.33}, {0.45, 0.45, 0.12}};

/* ---- the page and its file ------------------------------------------------------------------------------------- */

static bool has_extension(const char *path, const char *extension)
{
    size_t n = strlen(path), m = strlen(extension);
    return n > m && strcasecmp(path + n - m, extension) == 0;
}

bool vlm_plot_can_write(const char *path)
{
    return has_extension(path, ".png") || has_extension(path, ".svg");
}

static cairo_status_t append(void *closure, const unsigned char *bytes, unsigned length)
{
    vlm_text *text = closure;
    vlm_text_append(text, bytes, length);
    return text->failed ? CAIRO_STATUS_NO_MEMORY : CAIRO_STATUS_SUCCESS;
}

vlm_status vlm_canvas_open(vlm_canvas *canvas, const char *path, double width, double height, vlm_error *error)
{
    double scale = 2;
    *canvas = (vlm_canvas){.path = path, .svg = has_extension(path, ".svg")};
    width = ceil(width);
    height = ceil(height);
    if (4 * width * height > largest_area || 2 * fmax(width, height) > largest_side)
        scale = 1;
    if (!canvas->svg && (width * height > largest_area || fmax(width, height) > largest_side))
        return vlm_fail(error, VLM_ERR_LIMIT, "%s: a picture of %.0f x %.0f pixels is too large; draw fewer, or as .svg", path, width, height);
    if (canvas->svg)
        canvas->surface = cairo_svg_surface_create_for_stream(append, &canvas->bytes, width, height);
    else
        canvas->surface = cairo_image_surface_create(CAIRO_FORMAT_RGB24, (int)(scale * width), (int)(scale * height));
    canvas->cr = cairo_create(canvas->surface); /* of a failed surface too: the failure is seen at close */
    if (!canvas->svg)
        cairo_scale(canvas->cr, scale, scale);
    cairo_set_source_rgb(canvas->cr, 1, 1, 1);
    cairo_paint(canvas->cr);
    return VLM_OK;
}

vlm_status vlm_canvas_close(vlm_canvas *canvas, vlm_error *error)
{
    cairo_status_t drawn = cairo_status(canvas->cr);
    cairo_destroy(canvas->cr);
    if (drawn == CAIRO_STATUS_SUCCESS && !canvas->svg)
        drawn = cairo_surface_write_to_png_stream(canvas->surface, append, &canvas->bytes);
    cairo_surface_finish(canvas->surface);
    if (drawn == CAIRO_STATUS_SUCCESS)
        drawn = cairo_surface_status(canvas->surface);
    cairo_surface_destroy(canvas->surface);
    vlm_status status;
    if (drawn == CAIRO_STATUS_NO_MEMORY || canvas->bytes.failed)
        status = vlm_fail(error, VLM_ERR_MEMORY, "%s: out of memory while drawing it", canvas->path);
    else if (drawn != CAIRO_STATUS_SUCCESS)
        status = vlm_fail(error, VLM_ERR_IO, "%s: cannot draw it: %s", canvas->path, cairo_status_to_string(drawn));
    else
        status = vlm_write_file(canvas->path, canvas->bytes.data, canvas->bytes.length, error);
    vlm_text_free(&canvas->bytes);
    return status;
}

/* ---- colours ---------------------------------------------------------------------------------------------------- */

static vlm_color interpolate(const uint8_t (*anchors)[3], size_t n, double value)
{
    double place = fmin(fmax(value, 0), 1) * (double)(n - 1);
    size_t i = place >= (double)(n - 1) ? n - 2 : (size_t)place;
    double t = place - (double)i, c[3];
    for (size_t k = 0; k < 3; k++)
        c[k] = (anchors[i][k] * (1 - t) + anchors[i + 1][k] * t) / 255;
    return (vlm_color){c[0], c[1], c[2]};
}

vlm_color vlm_viridis(double value)
{
    static const uint8_t anchors[16][3] = {{68, 1, 84},    {72, 26, 108},  {71, 47, 125},  {65, 68, 135},  {57, 86, 140},  {49, 104, 142},
                                           {42, 120, 142}, {35, 136, 142}, {31, 152, 139}, {34, 168, 132}, {53, 183, 121}, {84, 197, 104},
                                           {122, 209, 81}, {165, 219, 54}, {210, 226, 27}, {253, 231, 37}};
    return interpolate(anchors, 16, value);
}

vlm_color vlm_blues(double value)
{
    static const uint8_t anchors[6][3] = {{247, 249, 252}, {208, 225, 242}, {148, 196, 223}, {74, 152, 201}, {24, 100, 170}, {8, 48, 107}};
    return interpolate(anchors, 6, value);
}

static double linear(double c)
{
    return c <= 0.04045 ? c / 12.92 : pow((c + 0.055) / 1.055, 2.4);
}

/* The contrast ratio of WCAG 2: (lighter + 0.05) / (darker + 0.05) of relative luminances. */
vlm_color vlm_contrast(vlm_color background)
{
    double luminance = 0.2126 * linear(background.r) + 0.7152 * linear(background.g) + 0.0722 * linear(background.b);
    bool dark = 1.05 / (luminance + 0.05) > (luminance + 0.05) / 0.05;
    return dark ? (vlm_color){1, 1, 1} : (vlm_color){0.05, 0.06, 0.08};
}

void vlm_set_color(cairo_t *cr, vlm_color color)
{
    cairo_set_source_rgb(cr, color.r, color.g, color.b);
}

/* ---- text --------------------------------------------------------------------------------------------------------- */

void vlm_set_font(cairo_t *cr, double size, bool bold)
{
    cairo_select_font_face(cr, "sans-serif", CAIRO_FONT_SLANT_NORMAL, bold ? CAIRO_FONT_WEIGHT_BOLD : CAIRO_FONT_WEIGHT_NORMAL);
    cairo_set_font_size(cr, size);
}

double vlm_measure_text(cairo_t *cr, const char *text)
{
    cairo_text_extents_t extents;
    cairo_text_extents(cr, text, &extents);
    return extents.x_advance;
}

void vlm_draw_text(cairo_t *cr, double x, double y, double align, const char *text)
{
    cairo_text_extents_t capital;
    cairo_text_extents(cr, "H", &capital);
    cairo_move_to(cr, x - align * vlm_measure_text(cr, text), y - capital.y_bearing / 2);
    cairo_show_text(cr, text);
    cairo_new_path(cr); /* text leaves the pen behind it */
}

void vlm_clean_label(vlm_text *out, const char *text)
{
    size_t n = strlen(text);
    for (size_t i = 0; i < n;) {
        unsigned c;
        i += vlm_utf8_decode(&c, text + i, n - i);
        if (c == ' ' || c < 0x20 || (c >= 0x7f && c < 0xa0)) {
            if (out->length && out->data[out->length - 1] != ' ')
                vlm_text_puts(out, " ");
        } else {
            vlm_text_put_utf8(out, c);
        }
    }
}

void vlm_fit_label(cairo_t *cr, vlm_text *out, const char *text, double width)
{
    static const char ellipsis[] = "\xe2\x80\xa6";
    size_t start = out->length;
    vlm_clean_label(out, text);
    while (!out->failed && out->length > start && vlm_measure_text(cr, out->data + start) > width) {
        size_t end = out->length;
        if (end - start > 3 && memcmp(out->data + end - 3, ellipsis, 3) == 0)
            end -= 3;
        while (end > start && ((unsigned char)out->data[--end] & 0xc0) == 0x80)
            ;
        while (end > start && out->data[end - 1] == ' ')
            end--;
        out->length = end;
        out->data[end] = 0;
        if (end > start)
            vlm_text_puts(out, ellipsis);
    }
}

void vlm_rounded_rectangle(cairo_t *cr, double x, double y, double width, double height, double radius)
{
    const double quarter = acos(0);
    radius = fmin(radius, fmin(width, height) / 2);
    cairo_new_sub_path(cr);
    cairo_arc(cr, x + width - radius, y + radius, radius, -quarter, 0);
    cairo_arc(cr, x + width - radius, y + height - radius, radius, 0, quarter);
    cairo_arc(cr, x + radius, y + height - radius, radius, quarter, 2 * quarter);
    cairo_arc(cr, x + radius, y + radius, radius, 2 * quarter, 3 * quarter);
    cairo_close_path(cr);
}
