/* Scenes: drawings -> pictures with captions, made while training; no two alike.
 * A concept's drawing by one of its artists is turned, scaled, sheared, warped a little and laid anywhere on
 * a background; the caption is made from its name and keywords. All that is random follows from (seed,
 * index). Clutter grows over the first part of a run: a small model that sees everything at once stays on
 * the plateau of ln(batch) for long.
 * Trap: drawings are kept premultiplied, or their edges drag the colour of transparent pixels along. */
#include "train/scenes.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/file.h"
#include "base/memory.h"
#include "formats/json.h"
#include "formats/picture.h"

enum { MAX_LEVELS = 4, MAX_SPRITE = 1024, MAX_COLUMNS = 32, MIN_LEVEL = 12 };

/* A drawing at falling sizes: premultiplied RGBA, each level with a border of transparent pixels so that
 * sampling at its edge fades out without a test. */
typedef struct sprite {
    size_t width, height, n_levels;
    uint8_t *levels[MAX_LEVELS]; /* [(height >> l) + 2, (width >> l) + 2, 4]; one block */
    const char *set;
    char *path;
    bool mirror;
} sprite;

typedef struct concept {
    const char *key, *name, *category;
    const char **keywords; /* [n_keywords], in the table's text */
    size_t n_keywords;
    size_t first, n_sprites; /* its drawings stand together, those of one set together */
    size_t n_sets;
} concept;

typedef struct settings {
    double scale_low, scale_high, rotation, aspect, shear, warp, mirror, two_objects, style, ramp, ramp_from;
    bool names_only, clean;
} settings;

typedef struct scenes {
    vlm_dataset dataset;
    settings settings;
    char *table; /* the text of drawings.tsv, cut into fields in place */
    concept *concepts;
    sprite *sprites;
    size_t n_concepts, n_sprites;
} scenes;

/* ---- reading the table ------------------------------------------------------------------------------- */

enum { COL_CONCEPT, COL_NAME, COL_CATEGORY, COL_KEYWORDS, COL_SET, COL_SPLIT, COL_MIRROR, COL_FILE, N_COLUMNS };
static const char *const COLUMN_NAMES[N_COLUMNS] = {"concept", "name", "category", "keywords", "set", "split", "mirror", "file"};

typedef struct row {
    const char *field[N_COLUMNS];
    size_t line;
} row;

/* Cut one line at its tabs, in place; returns how many fields there were. */
static size_t split_line(char *line, char **fields)
{
    size_t n = 0;
    while (n < MAX_COLUMNS) {
        fields[n++] = line;
        line = strchr(line, '\t');
        if (!line)
            break;
        *line++ = 0;
    }
    return n;
}

static vlm_status read_header(int *columns, char *line, const char *path, vlm_error *error)
{
    char *fields[MAX_COLUMNS];
    size_t n = split_line(line, fields);
    for (size_t c = 0; c < N_COLUMNS; c++) {
        columns[c] = -1;
        for (size_t i = 0; i < n; i++)
            if (!strcmp(fields[i], COLUMN_NAMES[c]))
                columns[c] = (int)i;
    }
    for (size_t c = 0; c < N_COLUMNS; c++)
        if (columns[c] < 0 && (c == COL_NAME || c == COL_FILE))
            return vlm_fail(error, VLM_ERR_FORMAT, "%s: the first line names no column \"%s\"", path, COLUMN_NAMES[c]);
    return VLM_OK;
}

static bool is_wanted_set(const json_t *sets, const char *set)
{
    size_t i;
    json_t *value;
    if (!sets)
        return true;
    json_array_foreach(sets, i, value)
        if (json_is_string(value) && !strcmp(json_string_value(value), set))
            return true;
    return false;
}

static int compare_rows(const void *a, const void *b)
{
    const row *x = a, *y = b;
    int order = strcmp(x->field[COL_CONCEPT], y->field[COL_CONCEPT]);
    if (!order)
        order = strcmp(x->field[COL_SET], y->field[COL_SET]);
    return order ? order : x->line < y->line ? -1 : x->line > y->line;
}

/* The rows of the split and the sets, sorted by concept and set. Their fields lie in `text`. */
static vlm_status read_rows(row **rows, size_t *n_rows, char *text, const char *path, const char *split, const json_t *sets, vlm_error *error)
{
    static char empty[] = "", train[] = "train", yes[] = "yes";
    int columns[N_COLUMNS];
    size_t capacity = 0, line_number = 0;
    for (char *line = text, *next; line && *line; line = next) {
        next = strchr(line, '\n');
        if (next)
            *next++ = 0;
        line[strcspn(line, "\r")] = 0;
        if (++line_number == 1) {
            if (read_header(columns, line, path, error))
                return error ? error->status : VLM_ERR_FORMAT;
            continue;
        }
        if (!*line)
            continue;
        char *fields[MAX_COLUMNS];
        size_t n = split_line(line, fields);
        row r = {.line = line_number};
        for (size_t c = 0; c < N_COLUMNS; c++)
            r.field[c] = columns[c] >= 0 && (size_t)columns[c] < n ? fields[columns[c]] : c == COL_SPLIT ? train : c == COL_MIRROR ? yes : empty;
        if (!*r.field[COL_NAME] || !*r.field[COL_FILE])
            return vlm_fail(error, VLM_ERR_FORMAT, "%s:%zu: a name and a file were expected", path, line_number);
        if (!*r.field[COL_CONCEPT])
            r.field[COL_CONCEPT] = r.field[COL_NAME];
        if (strcmp(r.field[COL_SPLIT], split) || !is_wanted_set(sets, r.field[COL_SET]))
            continue;
        if (!vlm_grow(rows, &capacity, *n_rows + 1, sizeof **rows))
            return vlm_fail_memory(error, (*n_rows + 1) * sizeof **rows, "reading drawings.tsv");
        (*rows)[(*n_rows)++] = r;
    }
    if (*n_rows == 0)
        return vlm_fail(error, VLM_ERR_ARGUMENT, "%s: no drawing of the split \"%s\" and the wanted sets", path, split);
    if (*n_rows > INT32_MAX)
        return vlm_fail(error, VLM_ERR_LIMIT, "%s: %zu drawings, at most %d are possible", path, *n_rows, INT32_MAX);
    qsort(*rows, *n_rows, sizeof **rows, compare_rows);
    return VLM_OK;
}

/* Cut "fruit,red,apple pie" in place. */
static vlm_status read_keywords(concept *c, char *text, vlm_error *error)
{
    size_t capacity = 0;
    while (*text) {
        char *end = text + strcspn(text, ","), *next = *end ? end + 1 : end;
        *end = 0;
        if (*text && strcmp(text, c->name)) {
            if (!vlm_grow(&c->keywords, &capacity, c->n_keywords + 1, sizeof *c->keywords))
                return vlm_fail_memory(error, sizeof *c->keywords, "reading keywords");
            c->keywords[c->n_keywords++] = text;
        }
        text = next;
    }
    return VLM_OK;
}

static vlm_status group_rows(scenes *s, const row *rows, size_t n_rows, const char *folder, vlm_error *error)
{
    s->concepts = vlm_alloc_zero(n_rows, sizeof *s->concepts);
    s->sprites = vlm_alloc_zero(n_rows, sizeof *s->sprites);
    if (!s->concepts || !s->sprites)
        return vlm_fail_memory(error, n_rows * sizeof *s->sprites, "listing drawings");
    for (size_t i = 0; i < n_rows; i++) {
        const row *r = &rows[i];
        bool new_concept = i == 0 || strcmp(r->field[COL_CONCEPT], rows[i - 1].field[COL_CONCEPT]);
        if (new_concept) {
            concept *c = &s->concepts[s->n_concepts++];
            *c = (concept){.key = r->field[COL_CONCEPT], .name = r->field[COL_NAME], .category = r->field[COL_CATEGORY], .first = i};
            if (read_keywords(c, (char *)r->field[COL_KEYWORDS], error))
                return error ? error->status : VLM_ERR_MEMORY;
        }
        concept *c = &s->concepts[s->n_concepts - 1];
        c->n_sprites++;
        if (new_concept || strcmp(r->field[COL_SET], rows[i - 1].field[COL_SET]))
            c->n_sets++;
        sprite *p = &s->sprites[s->n_sprites++];
        p->set = r->field[COL_SET];
        p->mirror = strcmp(r->field[COL_MIRROR], "no") != 0;
        p->path = vlm_join_path(folder, r->field[COL_FILE]);
        if (!p->path)
            return vlm_fail_memory(error, strlen(r->field[COL_FILE]), "listing drawings");
    }
    return VLM_OK;
}

/* ---- drawings ---------------------------------------------------------------------------------------- */

/* One row of a picture as premultiplied RGBA. */
static bool premultiply_row(uint8_t *out, const vlm_image *image, size_t y)
{
    size_t bytes = vlm_image_mode_bytes(image->mode);
    const uint8_t *in = image->data + y * image->width * bytes;
    for (size_t x = 0; x < image->width; x++, in += bytes, out += 4) {
        unsigned alpha = 255, rgb[3];
        switch (image->mode) {
        case VLM_IMAGE_L:
        case VLM_IMAGE_LA:
            rgb[0] = rgb[1] = rgb[2] = in[0];
            alpha = image->mode == VLM_IMAGE_LA ? in[1] : 255;
            break;
        case VLM_IMAGE_P:
            for (int c = 0; c < 3; c++)
                rgb[c] = image->palette[in[0]][c];
            alpha = image->palette[in[0]][3];
            break;
        case VLM_IMAGE_RGB:
        case VLM_IMAGE_RGBA:
            for (int c = 0; c < 3; c++)
                rgb[c] = in[c];
            alpha = image->mode == VLM_IMAGE_RGBA ? in[3] : 255;
            break;
        default:
            return false;
        }
        for (int c = 0; c < 3; c++)
            out[c] = (uint8_t)((rgb[c] * alpha + 127) / 255);
        out[3] = (uint8_t)alpha;
    }
    return true;
}

static size_t level_stride(const sprite *p, size_t level)
{
    return 4 * ((p->width >> level) + 2);
}

static uint8_t *level_row(const sprite *p, size_t level, size_t y)
{
    return p->levels[level] + (y + 1) * level_stride(p, level) + 4;
}

/* The next smaller level: means of 2 x 2. */
static void halve(sprite *p, size_t level)
{
    for (size_t y = 0; y < p->height >> level; y++) {
        const uint8_t *a = level_row(p, level - 1, 2 * y), *b = level_row(p, level - 1, 2 * y + 1);
        uint8_t *out = level_row(p, level, y);
        for (size_t x = 0; x < p->width >> level; x++)
            for (int c = 0; c < 4; c++)
                out[4 * x + c] = (uint8_t)((a[8 * x + c] + a[8 * x + 4 + c] + b[8 * x + c] + b[8 * x + 4 + c] + 2) / 4);
    }
}

static vlm_status load_sprite(sprite *p, vlm_error *error)
{
    vlm_image *image = NULL;
    vlm_status status = vlm_image_open(&image, p->path, &(vlm_image_limits){.max_pixels = (uint64_t)MAX_SPRITE * MAX_SPRITE}, error);
    if (status)
        return status;
    p->width = image->width;
    p->height = image->height;
    size_t total = 0, sizes[MAX_LEVELS];
    for (p->n_levels = 0; p->n_levels < MAX_LEVELS; p->n_levels++) {
        size_t w = p->width >> p->n_levels, h = p->height >> p->n_levels;
        if (p->n_levels && (w < MIN_LEVEL || h < MIN_LEVEL))
            break;
        total += sizes[p->n_levels] = 4 * (w + 2) * (h + 2);
    }
    uint8_t *block = vlm_alloc_zero(total, 1);
    if (!block)
        status = vlm_fail_memory(error, total, p->path);
    for (size_t level = 0; block && level < p->n_levels; level++) {
        p->levels[level] = level ? p->levels[level - 1] + sizes[level - 1] : block;
        for (size_t y = 0; level == 0 && y < p->height && !status; y++)
            if (!premultiply_row(level_row(p, 0, y), image, y))
                status = vlm_fail(error, VLM_ERR_UNSUPPORTED, "%s: pixels of mode %s; drawings are grey, RGB, RGBA or palette", p->path, vlm_image_mode_name(image->mode));
        if (level)
            halve(p, level);
    }
    vlm_image_free(image);
    return status;
}

typedef struct loading {
    scenes *s;
    vlm_error *errors; /* [n_blocks] */
    size_t block;
} loading;

static void load_block(void *argument, size_t index, size_t thread)
{
    loading *l = argument;
    (void)thread;
    for (size_t i = index * l->block; i < l->s->n_sprites && i < (index + 1) * l->block; i++)
        if (load_sprite(&l->s->sprites[i], &l->errors[index]))
            return;
}

static vlm_status load_sprites(scenes *s, vlm_threads *threads, vlm_error *error)
{
    loading l = {.s = s, .block = 64};
    size_t n_blocks = (s->n_sprites + l.block - 1) / l.block;
    l.errors = vlm_alloc_zero(n_blocks, sizeof *l.errors);
    if (!l.errors)
        return vlm_fail_memory(error, n_blocks * sizeof *l.errors, "loading drawings");
    vlm_threads_run(threads, n_blocks, load_block, &l);
    vlm_status status = VLM_OK;
    for (size_t i = 0; i < n_blocks && !status; i++)
        if (l.errors[i].status)
            status = vlm_fail(error, l.errors[i].status, "%s", l.errors[i].message);
    free(l.errors);
    return status;
}

/* ---- pictures ---------------------------------------------------------------------------------------- */

typedef struct canvas {
    float *pixels; /* [3, height, width]; NULL: only the caption is wanted, nothing is drawn */
    size_t height, width;
} canvas;

typedef struct color {
    const char *name;
    float rgb[3];
} color;

static const color COLORS[] = {
    {"white", {1, 1, 1}},          {"black", {0.06f, 0.06f, 0.06f}}, {"gray", {0.5f, 0.5f, 0.5f}},     {"red", {0.86f, 0.14f, 0.14f}},
    {"orange", {0.98f, 0.55f, 0.12f}}, {"yellow", {0.98f, 0.87f, 0.2f}}, {"green", {0.2f, 0.65f, 0.25f}}, {"blue", {0.15f, 0.4f, 0.88f}},
    {"purple", {0.55f, 0.25f, 0.75f}}, {"pink", {0.98f, 0.6f, 0.75f}},   {"brown", {0.5f, 0.32f, 0.18f}},
};
enum { N_COLORS = sizeof COLORS / sizeof *COLORS };

static float between(vlm_random *random, double low, double high)
{
    return (float)(low + (high - low) * vlm_random_uniform(random));
}

static float clamp01(float x)
{
    return x < 0 ? 0 : x > 1 ? 1 : x;
}

static void random_color(float rgb[3], vlm_random *random)
{
    for (int c = 0; c < 3; c++)
        rgb[c] = vlm_random_uniform(random);
}

static void fill_plain(canvas *out, const float rgb[3])
{
    size_t n = out->height * out->width;
    for (size_t c = 0; out->pixels && c < 3; c++)
        for (size_t i = 0; i < n; i++)
            out->pixels[c * n + i] = rgb[c];
}

static void fill_gradient(canvas *out, vlm_random *random)
{
    float from[3], to[3], angle = between(random, 0, 6.2831853);
    random_color(from, random);
    random_color(to, random);
    if (!out->pixels)
        return;
    float dx = cosf(angle) / (float)out->width, dy = sinf(angle) / (float)out->height, *p = out->pixels;
    for (int c = 0; c < 3; c++)
        for (size_t y = 0; y < out->height; y++)
            for (size_t x = 0; x < out->width; x++) {
                float t = clamp01(0.5f + ((float)x - 0.5f * (float)out->width) * dx + ((float)y - 0.5f * (float)out->height) * dy);
                *p++ = from[c] + (to[c] - from[c]) * t;
            }
}

/* Smooth noise: colours on a coarse grid around a common one, bilinear in between. */
static void fill_noise(canvas *out, vlm_random *random)
{
    enum { MAX_GRID = 9 };
    float grid[3][MAX_GRID][MAX_GRID], base[3], spread = between(random, 0.1, 0.5);
    size_t n = 2 + (size_t)vlm_random_below(random, MAX_GRID - 2); /* knots along a side, at most MAX_GRID - 1 cells */
    random_color(base, random);
    for (size_t y = 0; y < n; y++)
        for (size_t x = 0; x < n; x++)
            for (int c = 0; c < 3; c++)
                grid[c][y][x] = clamp01(base[c] + spread * between(random, -1, 1));
    if (!out->pixels)
        return;
    float step_y = (float)(n - 1) / (float)out->height, step_x = (float)(n - 1) / (float)out->width, *p = out->pixels;
    for (int c = 0; c < 3; c++)
        for (size_t y = 0; y < out->height; y++) {
            float v = (float)y * step_y, line[MAX_GRID];
            size_t iv = (size_t)v;
            for (size_t x = 0; x < n; x++)
                line[x] = grid[c][iv][x] + (grid[c][iv + 1][x] - grid[c][iv][x]) * (v - (float)iv);
            for (size_t x = 0; x < out->width; x++) {
                float u = (float)x * step_x;
                size_t iu = (size_t)u;
                *p++ = line[iu] + (line[iu + 1] - line[iu]) * (u - (float)iu);
            }
        }
}

static void add_grain(canvas *out, vlm_random *random)
{
    float strength = between(random, 0.03, 0.15) * 0x1p-31f;
    size_t n = out->height * out->width;
    uint32_t state = (uint32_t)vlm_random_u64(random) | 1;
    for (size_t i = 0; out->pixels && i < n; i++) {
        state ^= state << 13, state ^= state >> 17, state ^= state << 5; /* xorshift32: good enough for grain */
        float grain = (float)(int32_t)state * strength;
        for (size_t c = 0; c < 3; c++)
            out->pixels[c * n + i] = clamp01(out->pixels[c * n + i] + grain);
    }
}

/* Returns the name of the colour when the background is of one that has a name, else NULL. */
static const char *fill_background(canvas *out, vlm_random *random, double clutter)
{
    float kind = vlm_random_uniform(random), grain = vlm_random_uniform(random), rgb[3];
    const char *name = NULL;
    if (kind < 0.35 * clutter) {
        fill_noise(out, random);
    } else if (kind < 0.65 * clutter) {
        fill_gradient(out, random);
    } else {
        const color *base = &COLORS[vlm_random_uniform(random) < 0.3f ? 0 : vlm_random_below(random, N_COLORS)];
        float jitter = base == COLORS && vlm_random_uniform(random) < 0.7f ? 0 : 0.08f;
        for (int c = 0; c < 3; c++)
            rgb[c] = clamp01(base->rgb[c] + between(random, -jitter, jitter));
        fill_plain(out, rgb);
        name = base->name;
    }
    if (grain < 0.3 * clutter)
        add_grain(out, random);
    return name;
}

/* Four lanes: red, green, blue, alpha. */
typedef float lanes __attribute__((vector_size(16)));
typedef uint8_t bytes4 __attribute__((vector_size(4)));

static inline lanes load_lanes(const uint8_t *p)
{
    bytes4 b;
    memcpy(&b, p, 4);
    return __builtin_convertvector(b, lanes);
}

typedef struct placement {
    float x, y;             /* the centre of the drawing's box on the canvas, in pixels */
    float m[4];             /* canvas offset from the centre -> the drawing's unit square: u = m0 dx + m1 dy, v = m2 dx + m3 dy */
    float reach_x, reach_y; /* half the size of the box on the canvas */
    float size;             /* pixels that the drawing's side becomes */
    float warp, phase[2], wave[2];
    float sharpness; /* bias of the level chosen, in octaves */
    lanes mix[4];    /* new colour = mix0 r + mix1 g + mix2 b + mix3 alpha */
    bool recolor;
} placement;

static const sprite *choose_sprite(const scenes *s, const concept *c, vlm_random *random)
{
    /* A set first, then a drawing of it: clip art with a dozen batteries counts no more than one artist's. */
    size_t wanted = (size_t)vlm_random_below(random, c->n_sets), i = c->first, end = c->first + c->n_sprites;
    for (; wanted; wanted--) {
        const char *set = s->sprites[i].set;
        while (i < end && !strcmp(s->sprites[i].set, set))
            i++;
    }
    size_t n = 1;
    while (i + n < end && !strcmp(s->sprites[i + n].set, s->sprites[i].set))
        n++;
    return &s->sprites[i + (size_t)vlm_random_below(random, n)];
}

/* Turn hue, change saturation and brightness, as one matrix on premultiplied colours. */
static void choose_recoloring(placement *place, vlm_random *random, double strength)
{
    double angle = 0.5 * strength * vlm_random_normal(random), gain = exp(0.2 * strength * vlm_random_normal(random));
    double saturation = vlm_random_uniform(random) < 0.1 * strength ? 0 : exp(0.3 * strength * vlm_random_normal(random));
    double lift = 0.08 * strength * vlm_random_normal(random), cosine = cos(angle), sine = sin(angle) / sqrt(3);
    place->recolor = true;
    for (int row_of = 0; row_of < 3; row_of++)
        for (int column = 0; column < 3; column++) {
            /* a rotation about the grey axis (Rodrigues), then away from or towards grey */
            double turn = (1 - cosine) / 3 + (row_of == column ? cosine : (column - row_of + 3) % 3 == 1 ? -sine : sine);
            place->mix[column][row_of] = (float)(gain * (saturation * turn + (1 - saturation) / 3));
        }
    place->mix[3] = (lanes){(float)lift * 255, (float)lift * 255, (float)lift * 255, 0} / 255;
    for (int column = 0; column < 3; column++)
        place->mix[column][3] = 0;
    place->mix[3][3] = 1;
}

/* box: the part of the canvas the drawing may stand in, as left, top, width, height in pixels; low: the smallest
 * scale, of the box; clutter: how much of the full disorder there is by now. */
static void choose_placement(placement *place, const scenes *s, const sprite *p, const float box[4], double low, double clutter, vlm_random *random)
{
    const settings *set = &s->settings;
    float side = between(random, low, set->scale_high) * (box[2] < box[3] ? box[2] : box[3]);
    double angle = set->rotation * 0.017453293 * vlm_random_normal(random), aspect = exp(0.5 * set->aspect * vlm_random_normal(random));
    double shear = set->shear * vlm_random_normal(random);
    bool mirror = vlm_random_uniform(random) < set->mirror && p->mirror;
    double longer = p->width > p->height ? (double)p->width : (double)p->height;
    double w = side * aspect * (double)p->width / longer, h = side / aspect * (double)p->height / longer;
    /* unit square -> canvas: rotation * shear * size; its inverse is what sampling needs */
    double a = cos(angle) * w * (mirror ? -1 : 1), b = (cos(angle) * shear - sin(angle)) * h;
    double c = sin(angle) * w * (mirror ? -1 : 1), d = (sin(angle) * shear + cos(angle)) * h, det = a * d - b * c;
    *place = (placement){.m = {(float)(d / det), (float)(-b / det), (float)(-c / det), (float)(a / det)}, .size = side};
    place->warp = set->warp > 0 ? between(random, 0, set->warp) : 0;
    for (int i = 0; i < 2; i++) {
        place->phase[i] = between(random, 0, 6.2831853);
        place->wave[i] = between(random, 0.5, 1.5) * 6.2831853f / side;
    }
    place->sharpness = between(random, -0.4, 0.6);
    place->reach_x = (float)(0.5 * (fabs(a) + fabs(b))) + place->warp * side + 1;
    place->reach_y = (float)(0.5 * (fabs(c) + fabs(d))) + place->warp * side + 1;
    /* Anywhere in the box; a corner may reach out of it by a little. */
    float free_x = 0.5f * (box[2] - 0.96f * (float)w), free_y = 0.5f * (box[3] - 0.96f * (float)h);
    place->x = box[0] + 0.5f * box[2] + (free_x > 0 ? free_x * between(random, -1, 1) : 0);
    place->y = box[1] + 0.5f * box[3] + (free_y > 0 ? free_y * between(random, -1, 1) : 0);
    if (set->style > 0 && vlm_random_uniform(random) < 0.7f)
        choose_recoloring(place, random, set->style * clutter);
}

/* Upright, in the middle, at 90 %. */
static placement clean_placement(const canvas *out, const sprite *p)
{
    float side = 0.9f * (float)(out->width < out->height ? out->width : out->height);
    float longer = (float)(p->width > p->height ? p->width : p->height);
    float w = side * (float)p->width / longer, h = side * (float)p->height / longer;
    return (placement){.x = 0.5f * (float)out->width, .y = 0.5f * (float)out->height, .m = {1 / w, 0, 0, 1 / h}, .reach_x = w / 2 + 1, .reach_y = h / 2 + 1, .size = side};
}

/* Which level gives about one pixel of the drawing for one of the canvas. */
static size_t choose_level(const sprite *p, const placement *place)
{
    float longer = (float)(p->width > p->height ? p->width : p->height);
    float octaves = log2f(longer / place->size) + place->sharpness;
    long level = lrintf(octaves);
    return level < 0 ? 0 : (size_t)level >= p->n_levels ? p->n_levels - 1 : (size_t)level;
}

/* Lay a drawing on the canvas: each pixel looks up its place in the drawing, bilinear. */
static void draw(canvas *out, const sprite *p, const placement *place)
{
    size_t level = choose_level(p, place), stride = level_stride(p, level), plane = out->height * out->width;
    const float w = (float)(p->width >> level), h = (float)(p->height >> level);
    const uint8_t *texels = p->levels[level];
    long x0 = (long)floorf(place->x - place->reach_x), x1 = (long)ceilf(place->x + place->reach_x);
    long y0 = (long)floorf(place->y - place->reach_y), y1 = (long)ceilf(place->y + place->reach_y);
    x0 = x0 < 0 ? 0 : x0, y0 = y0 < 0 ? 0 : y0;
    x1 = x1 > (long)out->width ? (long)out->width : x1, y1 = y1 > (long)out->height ? (long)out->height : y1;
    for (long y = y0; out->pixels && y < y1; y++) {
        float dy = (float)y + 0.5f - place->y, shift_u = place->warp ? place->warp * sinf(place->wave[0] * dy + place->phase[0]) : 0;
        float *pixel = out->pixels + (size_t)y * out->width;
        for (long x = x0; x < x1; x++) {
            float dx = (float)x + 0.5f - place->x;
            /* The wave along x is a parabola arch instead of a sine: it is computed for every pixel. */
            float t = place->wave[1] * dx * 0.31830989f + place->phase[1], arch = t - 2 * floorf(0.5f * t) - 1;
            float shift_v = place->warp * 4 * arch * (1 - fabsf(arch));
            /* +0.5 to the unit square's corner, +1 for the border, -0.5 to the pixel's centre */
            float u = (place->m[0] * dx + place->m[1] * dy + shift_u + 0.5f) * w + 0.5f;
            float v = (place->m[2] * dx + place->m[3] * dy + shift_v + 0.5f) * h + 0.5f;
            if (!(u >= 0 && v >= 0 && u < w + 1 && v < h + 1))
                continue;
            size_t iu = (size_t)u, iv = (size_t)v;
            float fu = u - (float)iu, fv = v - (float)iv;
            const uint8_t *texel = texels + iv * stride + 4 * iu;
            lanes upper = load_lanes(texel), lower = load_lanes(texel + stride);
            upper += (load_lanes(texel + 4) - upper) * fu;
            lower += (load_lanes(texel + stride + 4) - lower) * fu;
            lanes rgba = (upper + (lower - upper) * fv) * (1.0f / 255);
            if (place->recolor)
                rgba = place->mix[0] * rgba[0] + place->mix[1] * rgba[1] + place->mix[2] * rgba[2] + place->mix[3] * rgba[3];
            float rest = 1 - rgba[3];
            for (size_t c = 0; c < 3; c++)
                pixel[c * plane + (size_t)x] = clamp01(pixel[c * plane + (size_t)x] * rest + rgba[c]);
        }
    }
}

/* ---- captions ---------------------------------------------------------------------------------------- */

/* "a dog", "an apple"; plurals as they are. */
static void put_with_article(vlm_text *text, const char *name)
{
    size_t n = strlen(name);
    bool plural = n > 2 && name[n - 1] == 's' && name[n - 2] != 's';
    if (!plural)
        vlm_text_puts(text, strchr("aeiouAEIOU", name[0]) ? "an " : "a ");
    vlm_text_puts(text, name);
}

/* Up to `most` different keywords, each after a comma unless the text is empty. */
static void put_keywords(vlm_text *text, const concept *c, size_t most, vlm_random *random)
{
    size_t n = 1 + (size_t)vlm_random_below(random, most), start = (size_t)vlm_random_below(random, c->n_keywords);
    size_t step = 1 + (size_t)vlm_random_below(random, c->n_keywords);
    for (size_t i = 0; i < n && i * step < c->n_keywords; i++) {
        if (text->length)
            vlm_text_puts(text, ", ");
        vlm_text_puts(text, c->keywords[(start + i * step) % c->n_keywords]);
    }
}

static void put_caption(vlm_text *text, const scenes *s, const concept *c, const char *background, vlm_random *random)
{
    float kind = vlm_random_uniform(random), colored = vlm_random_uniform(random);
    if (s->settings.names_only || kind < 0.59f) {
        vlm_text_puts(text, c->name);
    } else if (kind < 0.74f) {
        put_with_article(text, c->name);
    } else if (kind < 0.84f || !c->n_keywords) {
        vlm_text_puts(text, "a picture of ");
        put_with_article(text, c->name);
    } else if (kind < 0.96f) {
        vlm_text_puts(text, c->name);
        put_keywords(text, c, 3, random);
    } else {
        put_keywords(text, c, 3, random);
    }
    if (background && !s->settings.names_only && colored < 0.33f)
        vlm_text_printf(text, " on %s %s background", strchr("aeiou", background[0]) ? "an" : "a", background);
}

static void put_pair_caption(vlm_text *text, const concept *a, const concept *b, bool vertical, vlm_random *random)
{
    bool swap = vlm_random_uniform(random) < 0.5f, loose = vlm_random_uniform(random) < 0.3f;
    put_with_article(text, swap ? b->name : a->name);
    if (loose)
        vlm_text_puts(text, " and ");
    else
        vlm_text_puts(text, vertical ? (swap ? " below " : " above ") : swap ? " right of " : " left of ");
    put_with_article(text, swap ? a->name : b->name);
}

/* ---- the dataset ------------------------------------------------------------------------------------- */

static void draw_one(canvas *out, const scenes *s, const concept *c, const float box[4], double low, double clutter, vlm_random *random)
{
    const sprite *p = choose_sprite(s, c, random);
    placement place;
    choose_placement(&place, s, p, box, low, clutter, random);
    draw(out, p, &place);
}

/* Two objects side by side or one above the other, each in its half. */
static void draw_pair(canvas *out, const scenes *s, size_t item, double clutter, vlm_sample *sample, vlm_random *random)
{
    const concept *a = &s->concepts[item], *b = &s->concepts[(item + 1 + (size_t)vlm_random_below(random, s->n_concepts - 1)) % s->n_concepts];
    bool vertical = vlm_random_uniform(random) < 0.5f, exchanged = vlm_random_uniform(random) < 0.5f;
    const concept *first = exchanged ? b : a, *second = exchanged ? a : b;
    float w = (float)out->width, h = (float)out->height;
    float boxes[2][4] = {{0, 0, vertical ? w : w / 2, vertical ? h / 2 : h}, {vertical ? 0 : w / 2, vertical ? h / 2 : 0, vertical ? w : w / 2, vertical ? h / 2 : h}};
    draw_one(out, s, first, boxes[0], 0.8 * s->settings.scale_high, clutter, random);
    draw_one(out, s, second, boxes[1], 0.8 * s->settings.scale_high, clutter, random);
    put_pair_caption(&sample->caption, first, second, vertical, random);
    sample->group = -1;
}

static vlm_status sample_scene(const vlm_dataset *dataset, const vlm_sample_key *key, vlm_sample *sample, vlm_error *error)
{
    const scenes *s = (const scenes *)dataset;
    const settings *set = &s->settings;
    const concept *c = &s->concepts[key->item];
    canvas out = {sample->pixels, dataset->image_height, dataset->image_width};
    vlm_random random;
    vlm_random_seed_stream(&random, key->seed, key->index);
    sample->group = sample->label = (int32_t)key->item;
    if (set->clean) {
        const sprite *p = choose_sprite(s, c, &random);
        placement place = clean_placement(&out, p);
        fill_plain(&out, (const float[3]){1, 1, 1});
        draw(&out, p, &place);
        put_caption(&sample->caption, s, c, NULL, &random);
    } else {
        double grown = set->ramp > 0 && key->progress < set->ramp ? key->progress / set->ramp : 1;
        double clutter = set->ramp_from + (1 - set->ramp_from) * grown;
        const char *background = fill_background(&out, &random, clutter);
        if (!dataset->labels && s->n_concepts > 1 && vlm_random_uniform(&random) < set->two_objects * clutter) {
            draw_pair(&out, s, key->item, clutter, sample, &random);
        } else {
            double low = set->scale_high + (set->scale_low - set->scale_high) * clutter;
            draw_one(&out, s, c, (const float[4]){0, 0, (float)out.width, (float)out.height}, low, clutter, &random);
            put_caption(&sample->caption, s, c, background, &random);
        }
    }
    if (sample->caption.failed)
        return vlm_fail_memory(error, 256, "writing a caption");
    return VLM_OK;
}

/* The name of any concept. */
static vlm_status sample_negative(const vlm_dataset *dataset, const vlm_sample_key *key, size_t place, vlm_sample *sample, vlm_error *error)
{
    const scenes *s = (const scenes *)dataset;
    vlm_random random;
    vlm_random_seed_stream(&random, key->seed ^ 0x6e65676174697665u, key->index);
    /* Distinct within a batch: a walk of odd stride from a random start. */
    size_t start = (size_t)vlm_random_below(&random, s->n_concepts);
    size_t item = (start + vlm_shuffle(key->seed, key->index, place % s->n_concepts, s->n_concepts)) % s->n_concepts;
    sample->group = sample->label = (int32_t)item;
    vlm_text_puts(&sample->caption, s->concepts[item].name);
    if (sample->caption.failed)
        return vlm_fail_memory(error, 256, "writing a caption");
    return VLM_OK;
}

static void close_scenes(vlm_dataset *dataset)
{
    scenes *s = (scenes *)dataset;
    for (size_t i = 0; s->sprites && i < s->n_sprites; i++) {
        free(s->sprites[i].levels[0]);
        free(s->sprites[i].path);
    }
    for (size_t i = 0; s->concepts && i < s->n_concepts; i++)
        free(s->concepts[i].keywords);
    free((void *)dataset->labels);
    free(s->sprites);
    free(s->concepts);
    free(s->table);
    free(s);
}

static vlm_status read_scale(settings *set, const json_t *object, const char *where, vlm_error *error)
{
    const json_t *scale = object ? json_object_get(object, "scale") : NULL;
    if (!scale)
        return VLM_OK;
    if (!json_is_array(scale) || json_array_size(scale) != 2 || !json_is_number(json_array_get(scale, 0)) || !json_is_number(json_array_get(scale, 1)))
        return vlm_fail(error, VLM_ERR_FORMAT, "%s: data.scale: two numbers were expected, such as [0.5, 1]", where);
    set->scale_low = json_number_value(json_array_get(scale, 0));
    set->scale_high = json_number_value(json_array_get(scale, 1));
    if (!(set->scale_low > 0.05 && set->scale_low <= set->scale_high && set->scale_high <= 2))
        return vlm_fail(error, VLM_ERR_FORMAT, "%s: data.scale: [%g, %g]; wanted: 0.05 < low <= high <= 2", where, set->scale_low, set->scale_high);
    return VLM_OK;
}

static vlm_status read_settings(settings *set, const json_t *object, const char *where, vlm_error *error)
{
    static const char *const known[] = {"kind", "split", "sets", "scale", "rotation", "aspect", "shear", "warp", "mirror", "two_objects", "style", "ramp", "ramp_from", "captions", "clean"};
    *set = (settings){.scale_low = 0.5, .scale_high = 1};
    const struct {
        const char *key;
        double *value, fallback, most;
    } numbers[] = {
        {"rotation", &set->rotation, 7, 180}, {"aspect", &set->aspect, 0.1, 1},  {"shear", &set->shear, 0.05, 1},
        {"warp", &set->warp, 0.03, 0.5},      {"mirror", &set->mirror, 0.3, 1},  {"two_objects", &set->two_objects, 0.1, 1},
        {"style", &set->style, 0, 1},         {"ramp", &set->ramp, 0.3, 1},      {"ramp_from", &set->ramp_from, 0.15, 1},
    };
    const char *captions = "mixed";
    vlm_status status = vlm_config_check_keys(object, known, sizeof known / sizeof *known, "data", where, error);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers && !status; i++) {
        status = vlm_json_get_double(numbers[i].value, object, numbers[i].key, numbers[i].fallback, where, error);
        if (!status && !(*numbers[i].value >= 0 && *numbers[i].value <= numbers[i].most))
            status = vlm_fail(error, VLM_ERR_FORMAT, "%s: data.%s: %g; wanted: 0 to %g", where, numbers[i].key, *numbers[i].value, numbers[i].most);
    }
    if (!status)
        status = vlm_json_get_bool(&set->clean, object, "clean", false, where, error);
    if (!status)
        status = vlm_json_get_string(&captions, object, "captions", "mixed", where, error);
    if (!status && strcmp(captions, "mixed") && strcmp(captions, "name"))
        status = vlm_fail(error, VLM_ERR_FORMAT, "%s: data.captions: \"%s\"; there are \"mixed\" and \"name\"", where, captions);
    set->names_only = !status && !strcmp(captions, "name");
    return status ? status : read_scale(set, object, where, error);
}

/* The whole table as text of our own. */
static vlm_status read_table(char **text, const char *path, vlm_error *error)
{
    vlm_mapping mapping = {0};
    vlm_status status = vlm_map_file(&mapping, path, error);
    if (status)
        return status;
    if (mapping.size && memchr(mapping.data, 0, mapping.size))
        status = vlm_fail(error, VLM_ERR_FORMAT, "%s: a NUL byte; a table of text was expected", path);
    else if (!(*text = vlm_copy_text((const char *)mapping.data, mapping.size)))
        status = vlm_fail_memory(error, mapping.size, path);
    vlm_unmap(&mapping);
    return status;
}

static vlm_status open_folder(scenes *s, const vlm_data_options *options, const char *path, vlm_error *error)
{
    row *rows = NULL;
    size_t n_rows = 0;
    const char *split = "train";
    const json_t *sets = options->settings ? json_object_get(options->settings, "sets") : NULL;
    vlm_status status = read_settings(&s->settings, options->settings, options->where, error);
    if (!status && sets && !json_is_array(sets))
        status = vlm_fail(error, VLM_ERR_FORMAT, "%s: data.sets: a list of names was expected", options->where);
    if (!status)
        status = vlm_json_get_string(&split, options->settings, "split", "train", options->where, error);
    if (!status)
        status = read_table(&s->table, path, error);
    if (!status)
        status = read_rows(&rows, &n_rows, s->table, path, split, sets, error);
    if (!status)
        status = group_rows(s, rows, n_rows, options->path, error);
    if (!status)
        status = load_sprites(s, options->threads, error);
    if (!status && options->labels) {
        const char **labels = vlm_alloc(s->n_concepts, sizeof *labels);
        for (size_t i = 0; labels && i < s->n_concepts; i++)
            labels[i] = s->concepts[i].name;
        s->dataset.labels = labels;
        s->dataset.n_labels = s->n_concepts;
        if (!labels)
            status = vlm_fail_memory(error, s->n_concepts * sizeof *labels, "listing labels");
    }
    free(rows);
    return status;
}

vlm_status vlm_dataset_open_scenes(vlm_dataset **dataset, const vlm_data_options *options, vlm_error *error)
{
    vlm_error local = {0}; /* helpers read the status back from it */
    vlm_status status;
    char *path = vlm_join_path(options->path, "drawings.tsv");
    scenes *s = vlm_alloc_zero(1, sizeof *s);
    *dataset = NULL;
    if (!path || !s) {
        free(path);
        free(s);
        return vlm_fail_memory(error, sizeof *s, "opening drawings");
    }
    s->dataset = (vlm_dataset){.image_height = options->image_height, .image_width = options->image_width, .sample = sample_scene, .negative = sample_negative, .close = close_scenes};
    if (options->image_height == 0 || options->image_width == 0 || options->image_height > 4096 || options->image_width > 4096)
        status = vlm_fail(&local, VLM_ERR_ARGUMENT, "scenes of %zu x %zu pixels; 1 to 4096 are possible", options->image_width, options->image_height);
    else
        status = open_folder(s, options, path, &local);
    s->dataset.n_items = s->n_concepts;
    if (status) {
        vlm_fail(error, status, "%s", local.message);
        close_scenes(&s->dataset);
    } else {
        *dataset = &s->dataset;
    }
    free(path);
    return status;
}

bool vlm_scenes_detect(const char *path)
{
    char *table = vlm_join_path(path, "drawings.tsv");
    bool found = table && vlm_file_exists(table);
    free(table);
    return found;
}

vlm_scene_concept vlm_scenes_concept(const vlm_dataset *dataset, size_t item)
{
    const concept *c = &((const scenes *)dataset)->concepts[item];
    return (vlm_scene_concept){c->key, c->name, c->category, c->n_sprites};
}
