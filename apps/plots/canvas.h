/* A page to draw on, PNG or SVG, and the few things that every plot draws. Lengths are points; a PNG has two
 * pixels a point, so that it looks sharp on today's screens. */
#ifndef VLM_PLOTS_CANVAS_H
#define VLM_PLOTS_CANVAS_H

#include <cairo.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/text.h"
#include "vlm/error.h"

typedef struct vlm_color {
    double r, g, b;
} vlm_color;

extern const vlm_color vlm_ink, vlm_faint, vlm_grid, vlm_accents[6];

typedef struct vlm_canvas {
    cairo_t *cr;
    cairo_surface_t *surface;
    const char *path;
    bool svg;
    vlm_text bytes; /* the file, as cairo writes it */
} vlm_canvas;

/* A white page. VLM_ERR_LIMIT when no picture of that size can be made. */
vlm_status vlm_canvas_open(vlm_canvas *canvas, const char *path, double width, double height, vlm_error *error);
/* Write the file. Frees the canvas in any case. */
vlm_status vlm_canvas_close(vlm_canvas *canvas, vlm_error *error);

/* Viridis (van der Walt and Smith, 2015), 0..1. */
vlm_color vlm_viridis(double value);
/* White to a deep blue, 0..1. */
vlm_color vlm_blues(double value);
/* Black or white, whichever is read more easily on the colour. */
vlm_color vlm_contrast(vlm_color background);
void vlm_set_color(cairo_t *cr, vlm_color color);

void vlm_set_font(cairo_t *cr, double size, bool bold);
/* align 0: x is the left end, 0.5: the middle, 1: the right end; y is the middle of the capitals. The text must
 * have gone through vlm_clean_label. */
void vlm_draw_text(cairo_t *cr, double x, double y, double align, const char *text);
double vlm_measure_text(cairo_t *cr, const char *text);
/* Valid UTF-8 on one line, since cairo refuses anything else, each run of white space one space. Append to out. */
void vlm_clean_label(vlm_text *out, const char *text);
/* The same, cut with an ellipsis to the width. */
void vlm_fit_label(cairo_t *cr, vlm_text *out, const char *text, double width);
void vlm_rounded_rectangle(cairo_t *cr, double x, double y, double width, double height, double radius);

#endif
