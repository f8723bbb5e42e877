/* The similarity matrix as a picture: thumbnails above, captions left, values in coloured cells, the best text
 * of each picture in bold. Colours span the values that are there: cosines of CLIP lie close together. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/memory.h"
#include "plots/canvas.h"
#include "plots/plots.h"

/* Sizes in points. Cells shrink as there are more of them. */
typedef struct layout {
    size_t n_images, n_texts;
    double cell_width, cell_height, gap, margin;
    double caption_width, caption_size, value_size;
    double thumbnail_height; /* of the tallest */
    double left, top;        /* of the cells */
} layout;

static double between(double low, double value, double high)
{
    return fmin(fmax(value, low), high);
}

/* A picture fits a cell's width and a square. */
static double thumbnail_scale(const layout *l, const vlm_plot_image *image)
{
    return image->rgb && image->width && image->height ? l->cell_width / fmax((double)image->width, (double)image->height) : 0;
}

/* How wide the captions are on a line each, up to a share of the page beyond which they wrap. */
static double widest_caption(const layout *l, const char *const *texts)
{
    cairo_surface_t *surface = cairo_image_surface_create(CAIRO_FORMAT_A8, 1, 1);
    cairo_t *cr = cairo_create(surface);
    double widest = 0;
    vlm_set_font(cr, l->caption_size, false);
    for (size_t i = 0; i < l->n_texts; i++) {
        vlm_text label = {0};
        vlm_clean_label(&label, texts[i]);
        if (!label.failed && label.data)
            widest = fmax(widest, vlm_measure_text(cr, label.data));
        vlm_text_free(&label);
    }
    cairo_destroy(cr);
    cairo_surface_destroy(surface);
    return between(40, widest + 2, 250);
}

static layout plan(const vlm_plot_image *images, size_t n_images, const char *const *texts, size_t n_texts)
{
    layout l = {.n_images = n_images, .n_texts = n_texts, .margin = 28};
    l.cell_width = between(24, 1500 / (double)n_images, 152);
    l.cell_height = between(20, 1100 / (double)n_texts, 76);
    l.gap = l.cell_width > 60 ? 4 : 2;
    l.value_size = fmin(19, fmin(0.24 * l.cell_width, 0.42 * l.cell_height));
    l.caption_size = between(9, 0.5 * l.cell_height, 15);
    l.caption_width = widest_caption(&l, texts);
    for (size_t i = 0; i < n_images; i++)
        l.thumbnail_height = fmax(l.thumbnail_height, thumbnail_scale(&l, &images[i]) * (double)images[i].height);
    l.left = l.margin + l.caption_width + 16;
    l.top = l.margin + (l.thumbnail_height > 0 ? l.thumbnail_height + 10 : 0);
    return l;
}

static double cell_x(const layout *l, size_t i)
{
    return l->left + (double)i * (l->cell_width + l->gap);
}

static double cell_y(const layout *l, size_t j)
{
    return l->top + (double)j * (l->cell_height + l->gap);
}

/* ---- thumbnails -------------------------------------------------------------------------------------------------- */

static cairo_surface_t *make_surface(const vlm_plot_image *image)
{
    cairo_surface_t *surface = cairo_image_surface_create(CAIRO_FORMAT_RGB24, (int)image->width, (int)image->height);
    unsigned char *data = cairo_image_surface_get_data(surface);
    int stride = cairo_image_surface_get_stride(surface);
    for (size_t y = 0; data && y < image->height; y++)
        for (size_t x = 0; x < image->width; x++) {
            const uint8_t *rgb = image->rgb + 3 * (y * image->width + x);
            uint32_t pixel = (uint32_t)rgb[0] << 16 | (uint32_t)rgb[1] << 8 | rgb[2];
            memcpy(data + (size_t)stride * y + 4 * x, &pixel, sizeof pixel);
        }
    if (data)
        cairo_surface_mark_dirty(surface);
    return surface;
}

/* Bottom on the matrix, centred over its column. */
static void draw_thumbnail(cairo_t *cr, const layout *l, const vlm_plot_image *image, size_t i)
{
    double scale = thumbnail_scale(l, image), width = scale * (double)image->width, height = scale * (double)image->height;
    if (scale <= 0)
        return;
    cairo_surface_t *surface = make_surface(image);
    double x = cell_x(l, i) + (l->cell_width - width) / 2, y = l->top - 10 - height, radius = l->cell_width > 60 ? 6 : 2;
    cairo_save(cr);
    vlm_rounded_rectangle(cr, x, y, width, height, radius);
    cairo_clip(cr);
    cairo_translate(cr, x, y);
    cairo_scale(cr, scale, scale);
    cairo_set_source_surface(cr, surface, 0, 0);
    cairo_pattern_set_extend(cairo_get_source(cr), CAIRO_EXTEND_PAD);
    cairo_pattern_set_filter(cairo_get_source(cr), CAIRO_FILTER_GOOD);
    cairo_paint(cr);
    cairo_restore(cr);
    vlm_rounded_rectangle(cr, x + 0.25, y + 0.25, width - 0.5, height - 0.5, radius);
    cairo_set_source_rgba(cr, 0, 0, 0, 0.18); /* a white picture needs an edge */
    cairo_set_line_width(cr, 0.5);
    cairo_stroke(cr);
    cairo_surface_destroy(surface);
}

/* ---- captions ---------------------------------------------------------------------------------------------------- */

/* The part of text that fits on a line: whole words, or characters of a word that is too long. */
static size_t line_length(cairo_t *cr, char *text, double width)
{
    size_t fits = 0, first = 0;
    for (size_t end = 1; text[end - 1]; end++) {
        bool character = ((unsigned char)text[end] & 0xc0) != 0x80;
        if (!character)
            continue;
        char held = text[end];
        text[end] = 0;
        bool wide = vlm_measure_text(cr, text) > width;
        text[end] = held;
        if (wide)
            break;
        first = end;
        if (held == ' ' || held == 0)
            fits = end;
    }
    return fits ? fits : first ? first : strlen(text);
}

/* Right-aligned lines around the middle of the row, as many as it holds; what is left over is cut. */
static void draw_caption(cairo_t *cr, const layout *l, const char *caption, size_t j)
{
    enum { MOST = 8 };
    vlm_text label = {0}, lines[MOST] = {{0}};
    double spacing = 1.25 * l->caption_size, right = l->left - 16;
    size_t room = (size_t)between(1, floor((l->cell_height + l->gap) / spacing), MOST), n = 0;
    vlm_clean_label(&label, caption);
    for (char *rest = label.failed || !label.data ? "" : label.data; n < room;) {
        rest += strspn(rest, " ");
        if (!*rest)
            break;
        size_t length = n + 1 == room ? strlen(rest) : line_length(cr, rest, l->caption_width);
        char held = rest[length];
        rest[length] = 0;
        vlm_fit_label(cr, &lines[n++], rest, l->caption_width);
        rest[length] = held;
        rest += length;
    }
    double y = cell_y(l, j) + l->cell_height / 2 - spacing * ((double)n - 1) / 2;
    for (size_t i = 0; i < n; i++, y += spacing) {
        if (!lines[i].failed && lines[i].data)
            vlm_draw_text(cr, right, y, 1, lines[i].data);
        vlm_text_free(&lines[i]);
    }
    vlm_text_free(&label);
}

/* ---- cells -------------------------------------------------------------------------------------------------------- */

static void find_range(double *low, double *high, const float *values, size_t n)
{
    *low = INFINITY;
    *high = -INFINITY;
    for (size_t i = 0; i < n; i++) {
        *low = fmin(*low, (double)values[i]);
        *high = fmax(*high, (double)values[i]);
    }
}

static void draw_column(cairo_t *cr, const layout *l, const float *values, size_t i, double low, double high)
{
    size_t best = 0;
    for (size_t j = 1; j < l->n_texts; j++)
        best = values[j] > values[best] ? j : best;
    for (size_t j = 0; j < l->n_texts; j++) {
        double x = cell_x(l, i), y = cell_y(l, j);
        vlm_color color = vlm_viridis(high > low ? ((double)values[j] - low) / (high - low) : 0.5);
        char digits[32];
        vlm_set_color(cr, color);
        vlm_rounded_rectangle(cr, x, y, l->cell_width, l->cell_height, l->cell_width > 60 ? 6 : 2);
        cairo_fill(cr);
        if (l->value_size < 6.5)
            continue; /* too small to read: the colour says it */
        snprintf(digits, sizeof digits, "%.2f", (double)values[j]);
        vlm_set_color(cr, vlm_contrast(color));
        vlm_set_font(cr, l->value_size, j == best && l->n_texts > 1);
        vlm_draw_text(cr, x + l->cell_width / 2, y + l->cell_height / 2, 0.5, digits);
    }
}

vlm_status vlm_plot_similarity(const char *path, const vlm_plot_image *images, size_t n_images, const char *const *texts,
                               size_t n_texts, const float *cosine, vlm_error *error)
{
    layout l = plan(images, n_images, texts, n_texts);
    vlm_canvas canvas;
    vlm_status status = vlm_canvas_open(&canvas, path, cell_x(&l, n_images) - l.gap + l.margin, cell_y(&l, n_texts) - l.gap + l.margin, error);
    if (status != VLM_OK)
        return status;
    double low, high;
    find_range(&low, &high, cosine, n_images * n_texts);
    for (size_t i = 0; i < n_images; i++) {
        draw_thumbnail(canvas.cr, &l, &images[i], i);
        draw_column(canvas.cr, &l, cosine + i * n_texts, i, low, high);
    }
    vlm_set_color(canvas.cr, vlm_ink);
    vlm_set_font(canvas.cr, l.caption_size, false);
    for (size_t j = 0; j < n_texts; j++)
        draw_caption(canvas.cr, &l, texts[j], j);
    return vlm_canvas_close(&canvas, error);
}
