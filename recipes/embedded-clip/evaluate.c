/* The test of the embedded model: drawings of one artist against the names of concepts, both ways.
 * evaluate MODEL DRAWINGS TEST_CONCEPTS [OUT.json]    MODEL "-": the embedded one
 *
 * scene: one drawing at 50-95 % of the picture, turned a little, anywhere, on a random background; ROUNDS
 *        rounds of fixed seeds, averaged. clean: the drawing at 90 % on white.
 * Candidates are the test concepts that the artist has. Rank 1 needs a strictly greater similarity: a tie is
 * a miss, so that a collapsed model scores nothing.
 * Baseline: nearest of all drawings of the artists trained on (fluent's and noto's own drawings left out when
 * they are the question), by 8x8 RGB pixels and 8x8x4 edge energies. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/json.h"
#include "train/scenes.h"
#include "vlm/vlm.h"

enum { MAX_SIDE = 256, ROUNDS = 4, CELLS = 8, FEATURES = CELLS * CELLS * (3 + 4), BATCH = 64, SEED = 20151122 };

static size_t side, n_pixels; /* of the pictures: as the model wants them */

static _Noreturn void die(const char *message)
{
    fprintf(stderr, "evaluate: %s\n", message);
    exit(1);
}

static void check(vlm_status status, const vlm_error *error)
{
    if (status)
        die(error->message);
}

static void *need(void *pointer)
{
    if (!pointer)
        die("out of memory");
    return pointer;
}

/* ---- the test concepts of a set of drawings ----------------------------------------------------------- */

typedef struct test_set {
    vlm_dataset *dataset;
    size_t *items, n; /* those of the dataset that are test concepts */
} test_set;

static char **test_keys;
static size_t n_test_keys;

static void read_test_keys(const char *path)
{
    char line[256];
    FILE *file = fopen(path, "r");
    if (!file)
        die("the list of test concepts cannot be read");
    while (fgets(line, sizeof line, file)) {
        line[strcspn(line, "\r\n")] = 0;
        test_keys = need(realloc(test_keys, (n_test_keys + 1) * sizeof *test_keys));
        test_keys[n_test_keys++] = need(strdup(line));
    }
    fclose(file);
}

static bool is_test_key(const char *key)
{
    for (size_t i = 0; i < n_test_keys; i++)
        if (!strcmp(test_keys[i], key))
            return true;
    return false;
}

static test_set open_set(const char *drawings, const char *settings)
{
    vlm_error error = {0};
    json_t *json = json_loads(settings, 0, NULL);
    vlm_data_options options = {.path = drawings, .settings = json, .where = "evaluate", .image_height = side, .image_width = side};
    test_set set = {0};
    if (!json)
        die(settings);
    check(vlm_dataset_open_scenes(&set.dataset, &options, &error), &error);
    set.items = need(calloc(set.dataset->n_items, sizeof *set.items));
    for (size_t i = 0; i < set.dataset->n_items; i++)
        if (is_test_key(vlm_scenes_concept(set.dataset, i).key))
            set.items[set.n++] = i;
    json_decref(json);
    return set;
}

static void close_set(test_set *set)
{
    vlm_dataset_close(set->dataset);
    free(set->items);
}

/* Picture number `round` of an item, [3, side, side], 0..1. */
static void draw_item(float *pixels, const test_set *set, size_t item, size_t round)
{
    vlm_error error = {0};
    vlm_sample sample = {.pixels = pixels};
    vlm_sample_key key = {.seed = SEED, .index = item * ROUNDS + round, .item = item, .progress = 1};
    check(set->dataset->sample(set->dataset, &key, &sample, &error), &error);
    vlm_text_free(&sample.caption);
}

/* ---- measures ----------------------------------------------------------------------------------------- */

typedef struct recall {
    double at1, at5;
} recall;

typedef struct result {
    size_t n;
    recall to_picture, to_text; /* text to picture, picture to text */
} result;

/* Of n queries, query i answered by candidate i: similarity at s[i * row + j * column]. */
static recall measure(const float *s, size_t n, size_t row, size_t column)
{
    size_t at1 = 0, at5 = 0;
    for (size_t i = 0; i < n; i++) {
        size_t before = 0;
        for (size_t j = 0; j < n; j++)
            before += j != i && !(s[i * row + j * column] < s[i * row + i * column]);
        at1 += before < 1;
        at5 += before < 5;
    }
    return (recall){(double)at1 / (double)n, (double)at5 / (double)n};
}

static void add_round(result *total, const float *s, size_t n, size_t rounds)
{
    recall to_text = measure(s, n, n, 1), to_picture = measure(s, n, 1, n);
    double part = 1.0 / (double)rounds;
    total->n = n;
    total->to_text.at1 += part * to_text.at1;
    total->to_text.at5 += part * to_text.at5;
    total->to_picture.at1 += part * to_picture.at1;
    total->to_picture.at5 += part * to_picture.at5;
}

/* ---- the model ---------------------------------------------------------------------------------------- */

typedef struct pixel_scale {
    double mean[3], std[3];
} pixel_scale;

static void embed_pictures(vlm_model *model, const pixel_scale *scale, const test_set *set, size_t round, float *vectors)
{
    vlm_error error = {0};
    size_t d = vlm_model_get_info(model)->embedding_size;
    float *pixels = need(malloc(BATCH * n_pixels * sizeof *pixels));
    for (size_t first = 0; first < set->n; first += BATCH) {
        size_t n = set->n - first < BATCH ? set->n - first : BATCH;
        for (size_t i = 0; i < n; i++) {
            float *p = pixels + i * n_pixels;
            draw_item(p, set, set->items[first + i], round);
            for (size_t k = 0; k < n_pixels; k++)
                p[k] = (float)((p[k] - scale->mean[k / (side * side)]) / scale->std[k / (side * side)]);
        }
        check(vlm_embed_pixels(model, pixels, n, side, side, 0, vectors + first * d, &error), &error);
    }
    free(pixels);
}

static void embed_names(vlm_model *model, const test_set *set, float *vectors)
{
    vlm_error error = {0};
    const char **names = need(calloc(set->n, sizeof *names));
    for (size_t i = 0; i < set->n; i++)
        names[i] = vlm_scenes_concept(set->dataset, set->items[i]).name;
    check(vlm_embed_texts(model, names, NULL, set->n, 0, vectors, NULL, &error), &error);
    free(names);
}

/* s[i, j] = picture i . text j */
static void multiply(float *s, const float *pictures, const float *texts, size_t n, size_t d)
{
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++) {
            double sum = 0;
            for (size_t k = 0; k < d; k++)
                sum += (double)pictures[i * d + k] * texts[j * d + k];
            s[i * n + j] = (float)sum;
        }
}

/* counts [n, n]: how often picture i was taken for text j; NULL: not wanted. */
static result test_model(vlm_model *model, const pixel_scale *scale, const test_set *set, size_t rounds, size_t *counts)
{
    size_t d = vlm_model_get_info(model)->embedding_size, n = set->n;
    float *pictures = need(malloc(n * d * sizeof *pictures)), *texts = need(malloc(n * d * sizeof *texts)), *s = need(malloc(n * n * sizeof *s));
    result total = {0};
    embed_names(model, set, texts);
    for (size_t round = 0; round < rounds; round++) {
        embed_pictures(model, scale, set, round, pictures);
        multiply(s, pictures, texts, n, d);
        add_round(&total, s, n, rounds);
        for (size_t i = 0; counts && i < n; i++) {
            size_t best = 0;
            for (size_t j = 1; j < n; j++)
                best = s[i * n + j] > s[i * n + best] ? j : best;
            counts[i * n + best]++;
        }
    }
    free(pictures);
    free(texts);
    free(s);
    return total;
}

/* ---- the baseline: nearest pixels and edges ------------------------------------------------------------ */

static void unit(float *v, size_t n)
{
    double sum = 1e-12;
    for (size_t i = 0; i < n; i++)
        sum += (double)v[i] * v[i];
    for (size_t i = 0; i < n; i++)
        v[i] = (float)(v[i] / sqrt(sum));
}

/* Mean colours of 8x8 cells (how far from white), and in each cell the energy of edges in four directions;
 * each part of unit length. */
static void features(float *f, const float *pixels)
{
    float *edges = f + CELLS * CELLS * 3, grey[MAX_SIDE][MAX_SIDE];
    memset(f, 0, FEATURES * sizeof *f);
    for (size_t y = 0; y < side; y++)
        for (size_t x = 0; x < side; x++) {
            size_t place = y * CELLS / side * CELLS + x * CELLS / side;
            grey[y][x] = 0;
            for (size_t c = 0; c < 3; c++) {
                float value = pixels[(c * side + y) * side + x];
                f[3 * place + c] += 1 - value;
                grey[y][x] += value / 3;
            }
        }
    for (size_t y = 1; y + 1 < side; y++)
        for (size_t x = 1; x + 1 < side; x++) {
            float dx = grey[y][x + 1] - grey[y][x - 1], dy = grey[y + 1][x] - grey[y - 1][x];
            double angle = atan2(dy, dx) / 3.14159265358979 + 1.125; /* halves of a turn; bins around 0, 45, 90, 135 degrees */
            size_t bin = (size_t)(4 * (angle - floor(angle))) & 3;
            edges[4 * (y * CELLS / side * CELLS + x * CELLS / side) + bin] += dx * dx + dy * dy;
        }
    for (size_t i = 0; i < CELLS * CELLS * 4; i++)
        edges[i] = sqrtf(edges[i]);
    unit(f, CELLS * CELLS * 3);
    unit(edges, CELLS * CELLS * 4);
}

typedef struct templates {
    float *f; /* [n, FEATURES] */
    char **keys;
    size_t n;
} templates;

/* Every drawing of the test concepts in the given sets, clean. */
static templates make_templates(const char *drawings, const char *const *sets, size_t n_sets, const char *except)
{
    templates t = {0};
    float *pixels = need(malloc(n_pixels * sizeof *pixels));
    for (size_t i = 0; i < n_sets; i++) {
        char settings[256];
        if (!strncmp(sets[i], except, strcspn(except, "-"))) /* another hand of the same artist */
            continue;
        snprintf(settings, sizeof settings, "{\"clean\": true, \"captions\": \"name\", \"sets\": [\"%s\"]}", sets[i]);
        test_set set = open_set(drawings, settings);
        t.f = need(realloc(t.f, (t.n + set.n) * FEATURES * sizeof *t.f));
        t.keys = need(realloc(t.keys, (t.n + set.n) * sizeof *t.keys));
        for (size_t j = 0; j < set.n; j++) {
            draw_item(pixels, &set, set.items[j], 0);
            features(t.f + t.n * FEATURES, pixels);
            t.keys[t.n++] = need(strdup(vlm_scenes_concept(set.dataset, set.items[j]).key));
        }
        close_set(&set);
    }
    free(pixels);
    return t;
}

static void free_templates(templates *t)
{
    for (size_t i = 0; i < t->n; i++)
        free(t->keys[i]);
    free(t->keys);
    free(t->f);
}

/* The similarity of picture i and concept j is that of the concept's nearest drawing. */
static result test_baseline(const templates *t, const test_set *set, size_t rounds)
{
    size_t n = set->n, *owner = need(calloc(t->n + 1, sizeof *owner));
    float *s = need(malloc(n * n * sizeof *s)), *pixels = need(malloc(n_pixels * sizeof *pixels)), f[FEATURES];
    result total = {0};
    for (size_t k = 0; k < t->n; k++) {
        owner[k] = n;
        for (size_t j = 0; j < n; j++)
            if (!strcmp(t->keys[k], vlm_scenes_concept(set->dataset, set->items[j]).key))
                owner[k] = j;
    }
    for (size_t round = 0; round < rounds; round++) {
        for (size_t i = 0; i < n; i++) {
            draw_item(pixels, set, set->items[i], round);
            features(f, pixels);
            for (size_t j = 0; j < n; j++)
                s[i * n + j] = -2;
            for (size_t k = 0; k < t->n; k++) {
                float sum = 0;
                for (size_t e = 0; e < FEATURES; e++)
                    sum += f[e] * t->f[k * FEATURES + e];
                if (owner[k] < n && sum > s[i * n + owner[k]])
                    s[i * n + owner[k]] = sum;
            }
        }
        add_round(&total, s, n, rounds);
    }
    free(owner);
    free(s);
    free(pixels);
    return total;
}

/* ---- the report --------------------------------------------------------------------------------------- */

static void print_row(const char *what, const char *who, const result *r, json_t *rows)
{
    printf("| %s | %s | %zu | %.3f / %.3f | %.3f / %.3f |\n", what, who, r->n, r->to_picture.at1, r->to_picture.at5, r->to_text.at1, r->to_text.at5);
    fflush(stdout);
    json_array_append_new(rows, json_pack("{s:s, s:s, s:I, s:f, s:f, s:f, s:f}", "test", what, "by", who, "concepts", (json_int_t)r->n, "text_to_picture_r1", r->to_picture.at1,
                                          "text_to_picture_r5", r->to_picture.at5, "picture_to_text_r1", r->to_text.at1, "picture_to_text_r5", r->to_text.at5));
}

typedef struct mistake {
    size_t count, of, as;
} mistake;

static int compare_mistakes(const void *a, const void *b)
{
    const mistake *x = a, *y = b;
    return x->count != y->count ? (x->count < y->count ? 1 : -1) : x->of != y->of ? (x->of < y->of ? -1 : 1) : (x->as > y->as) - (x->as < y->as);
}

/* What is most often taken for what, and how each category fares. */
static void print_mistakes(const test_set *set, const size_t *counts, size_t most)
{
    size_t n = set->n, n_mistakes = 0;
    mistake *list = need(calloc(n * n, sizeof *list));
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++)
            if (i != j && counts[i * n + j])
                list[n_mistakes++] = (mistake){counts[i * n + j], i, j};
    qsort(list, n_mistakes, sizeof *list, compare_mistakes);
    printf("\n| drawing | taken for | scenes of %d |\n|---|---|---|\n", ROUNDS);
    for (size_t i = 0; i < n_mistakes && i < most; i++)
        printf("| %s | %s | %zu |\n", vlm_scenes_concept(set->dataset, set->items[list[i].of]).name, vlm_scenes_concept(set->dataset, set->items[list[i].as]).name, list[i].count);
    printf("\n| category | concepts | right |\n|---|---|---|\n");
    bool *done = need(calloc(n, sizeof *done));
    for (size_t i = 0; i < n; i++) {
        const char *category = vlm_scenes_concept(set->dataset, set->items[i]).category;
        size_t members = 0, right = 0;
        for (size_t j = i; j < n && !done[i]; j++)
            if (!strcmp(vlm_scenes_concept(set->dataset, set->items[j]).category, category)) {
                members++;
                right += counts[j * n + j];
                done[j] = j > i;
            }
        if (members)
            printf("| %s | %zu | %.2f |\n", category, members, (double)right / (double)(members * ROUNDS));
    }
    free(done);
    free(list);
}

static void read_scale(pixel_scale *scale, const char *folder)
{
    *scale = (pixel_scale){{0.5, 0.5, 0.5}, {0.5, 0.5, 0.5}};
    if (!folder)
        return;
    vlm_error error = {0};
    json_t *config;
    char path[4096];
    snprintf(path, sizeof path, "%s/preprocessor_config.json", folder);
    check(vlm_json_read(&config, path, &error), &error);
    for (size_t c = 0; c < 3; c++) {
        scale->mean[c] = json_number_value(json_array_get(json_object_get(config, "image_mean"), c));
        scale->std[c] = json_number_value(json_array_get(json_object_get(config, "image_std"), c));
    }
    json_decref(config);
}

int main(int argc, char **argv)
{
    static const char *const trained[] = {"noto", "noto-v1", "fluent-emoji-flat", "fluent-emoji-3d", "fxemoji", "openclipart"};
    static const struct {
        const char *set, *split, *label;
    } artists[] = {{"emojione", "test", "emojione, never seen"}, {"noto", "train", "noto, seen"}, {"fluent-emoji-3d", "train", "fluent-3d, seen"}};
    if (argc < 4) {
        fprintf(stderr, "usage: evaluate MODEL|- DRAWINGS TEST_CONCEPTS [OUT.json]\n");
        return 2;
    }
    const char *folder = strcmp(argv[1], "-") ? argv[1] : NULL;
    vlm_error error = {0};
    vlm_model *model;
    pixel_scale scale;
    json_t *rows = json_array();
    read_test_keys(argv[3]);
    read_scale(&scale, folder);
    check(vlm_model_open(&model, folder, NULL, &error), &error);
    side = vlm_model_get_info(model)->image_height;
    n_pixels = 3 * side * side;
    if (side < CELLS || side > MAX_SIDE || side != vlm_model_get_info(model)->image_width)
        die("the model's pictures are not square, or not of 8 to 256 pixels");
    printf("| test | by | concepts | text to picture r@1 / r@5 | picture to text r@1 / r@5 |\n|---|---|---|---|---|\n");
    test_set unseen = {0};
    size_t *counts = NULL;
    for (size_t a = 0; a < sizeof artists / sizeof *artists; a++)
        for (int clean = 0; clean < 2; clean++) {
            char settings[256], what[64];
            snprintf(settings, sizeof settings, "{\"split\": \"%s\", \"sets\": [\"%s\"], \"captions\": \"name\", \"two_objects\": 0, \"mirror\": 0, \"scale\": [0.5, 0.95], \"clean\": %s}", artists[a].split, artists[a].set, clean ? "true" : "false");
            snprintf(what, sizeof what, "%s: %s", clean ? "clean" : "scene", artists[a].label);
            test_set set = open_set(argv[2], settings);
            if (set.n == 0)
                die("no drawing of the test concepts");
            size_t rounds = clean ? 1 : ROUNDS;
            bool first = a == 0 && !clean;
            if (first)
                counts = need(calloc(set.n * set.n, sizeof *counts));
            result model_result = test_model(model, &scale, &set, rounds, first ? counts : NULL);
            print_row(what, "this model", &model_result, rows);
            if (a == 0) {
                templates t = make_templates(argv[2], trained, sizeof trained / sizeof *trained, artists[a].set);
                result baseline = test_baseline(&t, &set, rounds), chance = {set.n, {1.0 / (double)set.n, 5.0 / (double)set.n}, {1.0 / (double)set.n, 5.0 / (double)set.n}};
                print_row(what, "nearest pixels and edges", &baseline, rows);
                print_row(what, "chance", &chance, rows);
                free_templates(&t);
            }
            if (first)
                unseen = set;
            else
                close_set(&set);
        }
    print_mistakes(&unseen, counts, 24);
    if (argc > 4 && json_dump_file(rows, argv[4], JSON_INDENT(1)))
        die("the figures cannot be written");
    json_decref(rows);
    free(counts);
    close_set(&unseen);
    vlm_model_close(model);
    for (size_t i = 0; i < n_test_keys; i++)
        free(test_keys[i]);
    free(test_keys);
    return 0;
}
