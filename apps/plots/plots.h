/* Pictures of results, drawn with cairo: PNG or SVG, as the path's extension says. Each is drawn in memory and
 * written at once, so that no half picture is ever seen. */
#ifndef VLM_PLOTS_H
#define VLM_PLOTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vlm/error.h"

/* True when path ends in .png or .svg. */
bool vlm_plot_can_write(const char *path);

/* A picture to show: rgb [height, width, 3]; NULL: nothing is shown in its place. */
typedef struct vlm_plot_image {
    const uint8_t *rgb;
    size_t width, height;
} vlm_plot_image;

/* Thumbnails of at most VLM_PLOT_THUMBNAIL pixels a side look sharp. */
enum { VLM_PLOT_THUMBNAIL = 320 };

/* The matrix cosine [n_images, n_texts] with a column an image, its thumbnail above, and a row a text, its
 * words left. */
vlm_status vlm_plot_similarity(const char *path, const vlm_plot_image *images, size_t n_images, const char *const *texts,
                               size_t n_texts, const float *cosine, vlm_error *error);

/* counts [n, n]: rows are what it was, columns what it was taken for. */
vlm_status vlm_plot_confusion(const char *path, const char *const *labels, size_t n, const uint64_t *counts, vlm_error *error);

/* A curve: points (x, y) in order; points that are not finite are left out. */
typedef struct vlm_plot_series {
    const char *name;
    const double *x, *y;
    size_t n;
} vlm_plot_series;

/* Curves over a common x, one panel below the other: panels[i] names the panel that series i is drawn in,
 * counted from 0; the title of a panel is the names of its series. A noisy series of many points is drawn
 * pale, with its running mean over it. */
vlm_status vlm_plot_curve(const char *path, const char *title, const char *x_name, const vlm_plot_series *series,
                          const size_t *panels, size_t n_series, vlm_error *error);

/* The curve of a training log: JSON lines with "step" and any of "loss", "accuracy", "lr" and others; every key
 * with numbers becomes a series. Lines that are no objects are an error that names the line. */
vlm_status vlm_plot_training(const char *path, const char *title, const char *log_path, vlm_error *error);

#endif
