/* Curves of a training run: one panel a quantity over a common axis of steps, noisy ones with their running mean. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/file.h"
#include "base/memory.h"
#include "formats/json.h"
#include "plots/canvas.h"
#include "plots/plots.h"

enum { MOST_PANELS = 8, MOST_SERIES = 24, MOST_POINTS = 1200, NOISY_POINTS = 80 };

static const double page_width = 780, panel_height = 210, left = 78, right = 24, top = 64, panel_gap = 54, bottom = 54;

typedef struct range {
    double low, high;
} range;

/* ---- axes ---------------------------------------------------------------------------------------------------------- */

/* 1, 2 or 5 times a power of ten, so that about `wanted` steps span the range. */
static double tick_step(range r, double wanted)
{
    double rough = (r.high - r.low) / wanted, power = pow(10, floor(log10(rough))), part = rough / power;
    return power * (part < 1.5 ? 1 : part < 3.5 ? 2 : part < 7.5 ? 5 : 10);
}

static void print_tick(char *out, size_t room, double value, double step)
{
    if (fabs(value) < 1e-9 * step)
        value = 0;
    double magnitude = fabs(value);
    if (magnitude != 0 && (magnitude < 1e-3 || magnitude >= 1e7))
        snprintf(out, room, "%.3g", value);
    else
        snprintf(out, room, "%.*f", (int)fmin(fmax(ceil(-log10(step) - 1e-9), 0), 6), value);
}

static double place(double value, range r, double start, double length)
{
    return start + length * (value - r.low) / (r.high - r.low);
}

static void line(cairo_t *cr, double x0, double y0, double x1, double y1)
{
    cairo_move_to(cr, x0, y0);
    cairo_line_to(cr, x1, y1);
    cairo_stroke(cr);
}

static void draw_axes(cairo_t *cr, double y, range xs, range ys, bool last)
{
    char digits[32];
    double width = page_width - left - right, step = tick_step(ys, 4);
    vlm_set_font(cr, 12, false);
    cairo_set_line_width(cr, 1);
    for (double v = ceil(ys.low / step - 1e-9) * step; v <= ys.high + 1e-9 * step; v += step) {
        double at = floor(place(v, ys, y + panel_height, -panel_height)) + 0.5;
        vlm_set_color(cr, vlm_grid);
        line(cr, left, at, left + width, at);
        print_tick(digits, sizeof digits, v, step);
        vlm_set_color(cr, vlm_faint);
        vlm_draw_text(cr, left - 10, at, 1, digits);
    }
    step = fmax(tick_step(xs, 7), 1);
    for (double v = ceil(xs.low / step - 1e-9) * step; v <= xs.high + 1e-9 * step; v += step) {
        double at = floor(place(v, xs, left, width)) + 0.5;
        vlm_set_color(cr, vlm_grid);
        line(cr, at, y + panel_height, at, y + panel_height + 5);
        print_tick(digits, sizeof digits, v, step);
        vlm_set_color(cr, vlm_faint);
        if (last)
            vlm_draw_text(cr, at, y + panel_height + 16, 0.5, digits);
    }
    vlm_set_color(cr, vlm_faint);
    line(cr, left, floor(y + panel_height) + 0.5, left + width, floor(y + panel_height) + 0.5);
}

/* ---- series -------------------------------------------------------------------------------------------------------- */

/* Finite points only, and at most MOST_POINTS of them, each the mean of its neighbours. */
typedef struct points {
    double *x, *y;
    size_t n, n_raw;
} points;

static void free_points(points *p)
{
    free(p->x);
    free(p->y);
    *p = (points){0};
}

static bool gather_points(points *p, const vlm_plot_series *s)
{
    *p = (points){.x = vlm_alloc(s->n + 1, sizeof(double)), .y = vlm_alloc(s->n + 1, sizeof(double))};
    if (!p->x || !p->y)
        return false;
    for (size_t i = 0; i < s->n; i++)
        if (isfinite(s->x[i]) && isfinite(s->y[i])) {
            p->x[p->n_raw] = s->x[i];
            p->y[p->n_raw++] = s->y[i];
        }
    size_t bins = p->n_raw < MOST_POINTS ? p->n_raw : MOST_POINTS;
    for (size_t b = 0; b < bins; b++) {
        size_t first = b * p->n_raw / bins, end = (b + 1) * p->n_raw / bins;
        double x = 0, y = 0;
        for (size_t i = first; i < end; i++) {
            x += p->x[i];
            y += p->y[i];
        }
        p->x[b] = x / (double)(end - first); /* b <= first: what is overwritten has been read */
        p->y[b] = y / (double)(end - first);
    }
    p->n = bins;
    return true;
}

static void widen(range *r, const double *values, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        r->low = fmin(r->low, values[i]);
        r->high = fmax(r->high, values[i]);
    }
}

/* A range to draw in: not empty, with a little air, zero kept as the floor of what is never negative. */
static range settle(range r, bool air)
{
    if (!(r.low <= r.high))
        return (range){0, 1};
    if (r.high - r.low < 1e-12 * fmax(fabs(r.low), 1e-300) || r.high == r.low)
        return (range){r.low - (r.low != 0 ? 0.5 * fabs(r.low) : 0.5), r.high + (r.high != 0 ? 0.5 * fabs(r.high) : 0.5)};
    double margin = air ? 0.06 * (r.high - r.low) : 0, low = r.low - margin;
    return (range){r.low >= 0 && (low < 0 || r.low < 0.3 * r.high) && air ? 0 : low, r.high + margin};
}

static void trace_points(cairo_t *cr, const points *p, const double *values, range xs, range ys, double y)
{
    for (size_t i = 0; i < p->n; i++)
        cairo_line_to(cr, place(p->x[i], xs, left, page_width - left - right), place(values[i], ys, y + panel_height, -panel_height));
    if (p->n == 1) /* a single point is a dot */
        cairo_rel_line_to(cr, 0.1, 0);
    cairo_stroke(cr);
}

/* The mean over a window of a fortieth of the points around each. */
static void smooth(double *out, const points *p)
{
    size_t half = p->n / 80 + 1;
    for (size_t i = 0; i < p->n; i++) {
        size_t reach = i < half ? i : half, first, end;
        reach = p->n - 1 - i < reach ? p->n - 1 - i : reach; /* even on both sides, so that the ends do not sag */
        first = i - reach;
        end = i + reach + 1;
        double sum = 0;
        for (size_t k = first; k < end; k++)
            sum += p->y[k];
        out[i] = sum / (double)(end - first);
    }
}

/* Noisy: the steps between neighbours are together much longer than the way from end to end. */
static bool is_noisy(const points *p)
{
    double way = 0, low = INFINITY, high = -INFINITY;
    for (size_t i = 0; i < p->n; i++) {
        way += i ? fabs(p->y[i] - p->y[i - 1]) : 0;
        low = fmin(low, p->y[i]);
        high = fmax(high, p->y[i]);
    }
    return p->n >= NOISY_POINTS && way > 4 * (high - low);
}

static bool draw_series(cairo_t *cr, const points *p, vlm_color color, range xs, range ys, double y)
{
    bool noisy = is_noisy(p);
    cairo_set_line_join(cr, CAIRO_LINE_JOIN_ROUND);
    cairo_set_line_cap(cr, CAIRO_LINE_CAP_ROUND);
    cairo_set_source_rgba(cr, color.r, color.g, color.b, noisy ? 0.28 : 1);
    cairo_set_line_width(cr, noisy ? 1 : p->n == 1 ? 5 : 2);
    trace_points(cr, p, p->y, xs, ys, y);
    if (!noisy)
        return true;
    double *mean = vlm_alloc(p->n, sizeof *mean);
    if (!mean)
        return false;
    smooth(mean, p);
    vlm_set_color(cr, color);
    cairo_set_line_width(cr, 2);
    trace_points(cr, p, mean, xs, ys, y);
    free(mean);
    return true;
}

/* The names of a panel's series over it, each in its colour. */
static double draw_name(cairo_t *cr, double x, double y, const char *name, vlm_color color)
{
    vlm_text label = {0};
    vlm_set_color(cr, color);
    vlm_set_font(cr, 13, true);
    vlm_fit_label(cr, &label, name, 300);
    if (!label.failed && label.data) {
        vlm_draw_text(cr, x, y - 14, 0, label.data);
        x += vlm_measure_text(cr, label.data) + 18;
    }
    vlm_text_free(&label);
    return x;
}

static bool draw_panel(cairo_t *cr, const vlm_plot_series *series, const points *all, const size_t *panels, size_t n_series,
                       size_t panel, size_t n_panels, range xs)
{
    double y = top + (double)panel * (panel_height + panel_gap), x = left;
    range ys = {INFINITY, -INFINITY};
    for (size_t i = 0; i < n_series; i++)
        if (panels[i] == panel)
            widen(&ys, all[i].y, all[i].n);
    ys = settle(ys, true);
    draw_axes(cr, y, xs, ys, panel + 1 == n_panels);
    bool good = true;
    size_t nth = 0;
    for (size_t i = 0; i < n_series; i++) {
        if (panels[i] != panel)
            continue;
        vlm_color color = vlm_accents[nth++ % 6];
        x = draw_name(cr, x, y, series[i].name, color);
        good = draw_series(cr, &all[i], color, xs, ys, y) && good;
    }
    return good;
}

vlm_status vlm_plot_curve(const char *path, const char *title, const char *x_name, const vlm_plot_series *series,
                          const size_t *panels, size_t n_series, vlm_error *error)
{
    size_t n_panels = 0;
    range xs = {INFINITY, -INFINITY};
    points *all = vlm_alloc_zero(n_series + 1, sizeof *all);
    bool good = all != NULL;
    for (size_t i = 0; good && i < n_series; i++) {
        good = gather_points(&all[i], &series[i]);
        widen(&xs, all[i].x, good ? all[i].n : 0);
        n_panels = panels[i] + 1 > n_panels ? panels[i] + 1 : n_panels;
    }
    vlm_canvas canvas;
    vlm_status status = good ? VLM_OK : vlm_fail_memory(error, n_series * sizeof *all, "drawing curves");
    if (status == VLM_OK)
        status = vlm_canvas_open(&canvas, path, page_width, top + (double)n_panels * (panel_height + panel_gap) - panel_gap + bottom, error);
    if (status == VLM_OK) {
        xs = settle(xs, false);
        for (size_t p = 0; p < n_panels; p++)
            good = draw_panel(canvas.cr, series, all, panels, n_series, p, n_panels, xs) && good;
        vlm_text label = {0};
        vlm_set_color(canvas.cr, vlm_ink);
        vlm_set_font(canvas.cr, 15, true);
        vlm_fit_label(canvas.cr, &label, title, page_width - left - right);
        vlm_draw_text(canvas.cr, left, 20, 0, label.failed || !label.data ? "" : label.data);
        vlm_text_free(&label);
        vlm_set_color(canvas.cr, vlm_faint);
        vlm_set_font(canvas.cr, 12, false);
        vlm_draw_text(canvas.cr, page_width - right, top + (double)n_panels * (panel_height + panel_gap) - panel_gap + 38, 1, x_name);
        status = vlm_canvas_close(&canvas, error);
    }
    for (size_t i = 0; all && i < n_series; i++)
        free_points(&all[i]);
    free(all);
    return status;
}

/* ---- a training log ------------------------------------------------------------------------------------------------ */

typedef struct log_series {
    char *name;
    double *x, *y;
    size_t n, x_capacity, y_capacity;
} log_series;

typedef struct training_log {
    log_series series[MOST_SERIES];
    size_t n;
} training_log;

static log_series *get_series(training_log *log, const char *name)
{
    for (size_t i = 0; i < log->n; i++)
        if (strcmp(log->series[i].name, name) == 0)
            return &log->series[i];
    char *copy = log->n < MOST_SERIES ? vlm_copy_text(name, strlen(name)) : NULL;
    if (!copy)
        return NULL;
    log->series[log->n].name = copy;
    return &log->series[log->n++];
}

static void free_log(training_log *log)
{
    for (size_t i = 0; i < log->n; i++) {
        free(log->series[i].name);
        free(log->series[i].x);
        free(log->series[i].y);
    }
}

/* Counters of time and progress say nothing as a curve. */
static bool is_counter(const char *key)
{
    static const char *const counters[] = {"step", "epoch", "seconds", "time", "samples", "seen"};
    for (size_t i = 0; i < sizeof counters / sizeof *counters; i++)
        if (strcmp(key, counters[i]) == 0)
            return true;
    return false;
}

/* The numbers of one line. A line without a step (a header, say) has no place on the axis. */
static bool take_line(training_log *log, const json_t *object)
{
    const json_t *step = json_object_get(object, "step"), *value;
    const char *key;
    if (!json_is_number(step))
        return true;
    json_object_foreach((json_t *)object, key, value) {
        if (!json_is_number(value) || is_counter(key))
            continue;
        log_series *s = get_series(log, key);
        if (!s)
            continue; /* more quantities than a page holds */
        if (!vlm_grow(&s->x, &s->x_capacity, s->n + 1, sizeof *s->x) || !vlm_grow(&s->y, &s->y_capacity, s->n + 1, sizeof *s->y))
            return false;
        s->x[s->n] = json_number_value(step);
        s->y[s->n++] = json_number_value(value);
    }
    return true;
}

static vlm_status read_log(training_log *log, const char *path, vlm_error *error)
{
    vlm_mapping file;
    vlm_status status = vlm_map_file(&file, path, error);
    const char *line_start = (const char *)file.data, *end = line_start + (status == VLM_OK ? file.size : 0);
    for (size_t number = 1; status == VLM_OK && line_start < end; number++) {
        const char *stop = memchr(line_start, '\n', (size_t)(end - line_start));
        size_t length = (size_t)((stop ? stop : end) - line_start);
        json_t *object = NULL;
        if (length && (status = vlm_json_parse(&object, line_start, length, path, error)) != VLM_OK)
            vlm_fail_prefix(error, "line %zu", number);
        else if (length && !json_is_object(object))
            status = vlm_fail(error, VLM_ERR_FORMAT, "%s: line %zu is no JSON object", path, number);
        else if (length && !take_line(log, object))
            status = vlm_fail_memory(error, length, "reading a training log");
        json_decref(object);
        line_start += length + 1;
    }
    vlm_unmap(&file);
    return status;
}

/* Quantities whose names end alike ("loss", "test_loss") share a panel. */
static const char *last_word(const char *name)
{
    const char *word = name;
    for (const char *c = name; *c; c++)
        if ((*c == '_' || *c == '.' || *c == '/' || *c == ' ') && c[1])
            word = c + 1;
    return word;
}

vlm_status vlm_plot_training(const char *path, const char *title, const char *log_path, vlm_error *error)
{
    training_log log = {0};
    vlm_plot_series series[MOST_SERIES];
    size_t panels[MOST_SERIES], n = 0, n_panels = 0;
    vlm_status status = read_log(&log, log_path, error);
    for (size_t i = 0; status == VLM_OK && i < log.n; i++) {
        const log_series *s = &log.series[i];
        size_t panel = n_panels;
        for (size_t k = 0; k < n; k++)
            if (strcmp(last_word(series[k].name), last_word(s->name)) == 0)
                panel = panels[k];
        if (panel == MOST_PANELS)
            continue;
        n_panels = panel == n_panels ? n_panels + 1 : n_panels;
        series[n] = (vlm_plot_series){s->name, s->x, s->y, s->n};
        panels[n++] = panel;
    }
    if (status == VLM_OK && n == 0)
        status = vlm_fail(error, VLM_ERR_FORMAT, "%s: no line has a step and a number to draw", log_path);
    if (status == VLM_OK)
        status = vlm_plot_curve(path, title, "step", series, panels, n, error);
    free_log(&log);
    return status;
}
