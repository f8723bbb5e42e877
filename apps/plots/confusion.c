/* The confusion matrix as a picture: rows are what it was, columns what it was taken for, colour the share of
 * the row. Names and counts are drawn while there is room; of a large matrix the pattern alone is left. */
#include <math.h>
#include <stdio.h>

#include "base/text.h"
#include "plots/canvas.h"
#include "plots/plots.h"

typedef struct layout {
    size_t n;
    double cell, label_size, label_room, margin, left, top;
    bool names, counts;
} layout;

static layout plan(size_t n)
{
    layout l = {.n = n, .margin = 28};
    l.cell = fmin(fmax(900 / (double)n, 1), 64);
    l.names = l.cell >= 11;
    l.counts = l.cell >= 20;
    l.label_size = fmin(13, 0.62 * l.cell);
    l.label_room = l.names ? 150 : 0;
    l.left = l.margin + 26 + l.label_room;
    l.top = l.margin + 26 + l.label_room;
    return l;
}

static void draw_names(cairo_t *cr, const layout *l, const char *const *labels)
{
    vlm_set_color(cr, vlm_ink);
    vlm_set_font(cr, l->label_size, false);
    for (size_t i = 0; i < l->n; i++) {
        vlm_text label = {0};
        double middle = ((double)i + 0.5) * l->cell;
        vlm_fit_label(cr, &label, labels[i], l->label_room - 8);
        if (!label.failed && label.data) {
            vlm_draw_text(cr, l->left - 8, l->top + middle, 1, label.data);
            cairo_save(cr);
            cairo_translate(cr, l->left + middle, l->top - 8);
            cairo_rotate(cr, -acos(0));
            vlm_draw_text(cr, 0, 0, 0, label.data);
            cairo_restore(cr);
        }
        vlm_text_free(&label);
    }
}

static void draw_titles(cairo_t *cr, const layout *l)
{
    double side = (double)l->n * l->cell;
    vlm_set_color(cr, vlm_faint);
    vlm_set_font(cr, 13, true);
    vlm_draw_text(cr, l->left + side / 2, l->margin, 0.5, "taken for");
    cairo_save(cr);
    cairo_translate(cr, l->margin, l->top + side / 2);
    cairo_rotate(cr, -acos(0));
    vlm_draw_text(cr, 0, 0, 0.5, "was");
    cairo_restore(cr);
}

static void draw_row(cairo_t *cr, const layout *l, const uint64_t *counts, size_t i)
{
    double total = 0, gap = l->cell >= 11 ? 1.5 : 0, y = l->top + (double)i * l->cell;
    for (size_t j = 0; j < l->n; j++)
        total += (double)counts[j];
    for (size_t j = 0; j < l->n; j++) {
        if (counts[j] == 0 && !l->names)
            continue; /* the page's own white */
        double x = l->left + (double)j * l->cell;
        vlm_color color = vlm_blues(total > 0 ? (double)counts[j] / total : 0);
        vlm_set_color(cr, color);
        vlm_rounded_rectangle(cr, x, y, l->cell - gap, l->cell - gap, l->cell >= 20 ? 3 : 0);
        cairo_fill(cr);
        if (!l->counts || counts[j] == 0)
            continue;
        char digits[32];
        snprintf(digits, sizeof digits, "%llu", (unsigned long long)counts[j]);
        vlm_set_font(cr, 0.3 * l->cell, i == j);
        double width = vlm_measure_text(cr, digits);
        if (width > l->cell - 10)
            vlm_set_font(cr, 0.3 * l->cell * (l->cell - 10) / width, i == j);
        vlm_set_color(cr, vlm_contrast(color));
        vlm_draw_text(cr, x + (l->cell - gap) / 2, y + (l->cell - gap) / 2, 0.5, digits);
    }
}

vlm_status vlm_plot_confusion(const char *path, const char *const *labels, size_t n, const uint64_t *counts, vlm_error *error)
{
    layout l = plan(n);
    double side = (double)n * l.cell;
    vlm_canvas canvas;
    vlm_status status = vlm_canvas_open(&canvas, path, l.left + side + l.margin, l.top + side + l.margin, error);
    if (status != VLM_OK)
        return status;
    for (size_t i = 0; i < n; i++)
        draw_row(canvas.cr, &l, counts + i * n, i);
    if (!l.names) {
        vlm_set_color(canvas.cr, vlm_faint);
        cairo_set_line_width(canvas.cr, 1);
        cairo_rectangle(canvas.cr, l.left - 0.5, l.top - 0.5, side + 1, side + 1);
        cairo_stroke(canvas.cr);
    } else {
        draw_names(canvas.cr, &l, labels);
    }
    draw_titles(canvas.cr, &l);
    return vlm_canvas_close(&canvas, error);
}
