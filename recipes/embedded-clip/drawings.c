/* Render the drawings of the recipe: icon sets as packages ship them -> PNG files and one table of them.
 * drawings CONCEPTS JOINS EMOJILIB SIZE OUT SET=FOLDER...
 *
 * CONCEPTS (code points, name, category) says which drawings are wanted; sets with a table of code points
 * (noto, fluent-emoji-flat) or with files named by them (fluent-emoji-3d) are joined by these, U+FE0F left
 * out; the others by JOINS (code points, set, drawing), made once by comparing names and read by eye.
 * OUT/drawings.tsv has a row a drawing; "split" is test for the artist that is never trained on.
 * Trap: the packages pad code points with zeros ("00a9"), the concepts do not. */
#include <cairo.h>
#include <errno.h>
#include <jansson.h>
#include <librsvg/rsvg.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <webp/decode.h>

typedef struct concept {
    char *key, *name, *category, *keywords;
} concept;

typedef struct join {
    char *key, *set, *drawing;
} join;

typedef struct icon_set {
    const char *name, *artist, *split;
    bool by_code_points; /* else by the table of joins */
} icon_set;

static const icon_set SETS[] = {
    {"noto", "google", "train", true},           {"noto-v1", "google", "train", false},
    {"fluent-emoji-flat", "microsoft", "train", true}, {"fluent-emoji-3d", "microsoft", "train", true},
    {"fxemoji", "mozilla", "train", false},      {"openclipart", "openclipart", "train", false},
    {"emojione", "emojione", "test", false},
};

static _Noreturn void die(const char *what, const char *name)
{
    fprintf(stderr, "drawings: %s: %s\n", name, what);
    exit(1);
}

static void *need(void *pointer)
{
    if (!pointer)
        die("out of memory", "allocation");
    return pointer;
}

static char *format(const char *a, const char *b, const char *c, const char *d)
{
    size_t n = strlen(a) + strlen(b) + strlen(c) + strlen(d) + 1;
    char *text = need(malloc(n));
    snprintf(text, n, "%s%s%s%s", a, b, c, d);
    return text;
}

/* Code points as the concepts write them: lower case, no U+FE0F, no leading zeros. */
static char *plain_key(const char *key)
{
    char *out = need(calloc(strlen(key) + 1, 1)), *end = out;
    while (*key) {
        size_t n = strcspn(key, "-.");
        const char *part = key;
        key += n;
        if (*key == '.') /* the file's ending */
            key += strlen(key);
        else if (*key)
            key++;
        while (n > 1 && *part == '0')
            part++, n--;
        if (n == 4 && !strncmp(part, "fe0f", 4))
            continue;
        if (end > out)
            *end++ = '-';
        memcpy(end, part, n);
        end += n;
    }
    return out;
}

/* Split a line of a TSV file in place; the fields that are missing are empty. */
static void split_fields(char *line, char **fields, size_t n)
{
    line[strcspn(line, "\r\n")] = 0;
    for (size_t i = 0; i < n; i++) {
        fields[i] = line;
        line += strcspn(line, "\t");
        if (*line)
            *line++ = 0;
    }
}

static size_t read_concepts(concept **concepts, const char *path)
{
    FILE *file = fopen(path, "r");
    if (!file)
        die(strerror(errno), path);
    size_t n = 0;
    char line[1024], *field[3];
    *concepts = NULL;
    while (fgets(line, sizeof line, file)) {
        split_fields(line, field, 3);
        *concepts = need(realloc(*concepts, (n + 1) * sizeof **concepts));
        (*concepts)[n++] = (concept){need(strdup(field[0])), need(strdup(field[1])), need(strdup(field[2])), need(strdup(""))};
    }
    fclose(file);
    return n;
}

static size_t read_joins(join **joins, const char *path)
{
    FILE *file = fopen(path, "r");
    if (!file)
        die(strerror(errno), path);
    size_t n = 0;
    char line[1024], *field[3];
    *joins = NULL;
    while (fgets(line, sizeof line, file)) {
        split_fields(line, field, 3);
        *joins = need(realloc(*joins, (n + 1) * sizeof **joins));
        (*joins)[n++] = (join){need(strdup(field[0])), need(strdup(field[1])), need(strdup(field[2]))};
    }
    fclose(file);
    return n;
}

static json_t *read_json(const char *folder, const char *name)
{
    char *path = format(folder, "/", name, "");
    json_error_t error;
    json_t *root = json_load_file(path, 0, &error);
    if (!root)
        die(error.text, path);
    free(path);
    return root;
}

/* "1f600" as UTF-8's code points in emojilib's keys: compared after both are turned into plain keys. */
static char *key_of_text(const char *text)
{
    char buffer[256], *end = buffer;
    const unsigned char *s = (const unsigned char *)text;
    while (*s && end < buffer + sizeof buffer - 16) {
        unsigned n = *s < 0x80 ? 1 : *s < 0xe0 ? 2 : *s < 0xf0 ? 3 : 4, code = n == 1 ? *s : *s & (0xff >> (n + 1));
        for (unsigned i = 1; i < n && s[i]; i++)
            code = code << 6 | (s[i] & 0x3f);
        end += sprintf(end, "%s%x", end > buffer ? "-" : "", code);
        s += n;
    }
    *end = 0;
    return plain_key(buffer);
}

/* A keyword is kept when it is made of letters: emojilib's also has ":)" and "8". */
static bool is_words(const char *text)
{
    bool letters = false;
    for (; *text; text++) {
        if ((*text >= 'a' && *text <= 'z') || (*text >= 'A' && *text <= 'Z'))
            letters = true;
        else if (*text != '_' && *text != ' ' && *text != '-' && *text != '\'')
            return false;
    }
    return letters;
}

/* emojilib: the character -> its name and keywords; the name is left out, the rest joined by commas. */
static void read_keywords(concept *concepts, size_t n, const char *path)
{
    json_error_t json_error;
    json_t *root = json_load_file(path, 0, &json_error), *words, *word;
    if (!root)
        die(json_error.text, path);
    const char *character;
    json_object_foreach(root, character, words) {
        char *key = key_of_text(character);
        for (size_t i = 0; i < n; i++) {
            if (strcmp(concepts[i].key, key))
                continue;
            size_t j;
            json_array_foreach(words, j, word) {
                const char *text = json_string_value(word);
                if (j == 0 || !text || !is_words(text))
                    continue;
                char *longer = format(concepts[i].keywords, *concepts[i].keywords ? "," : "", text, "");
                for (char *c = longer; *c; c++)
                    *c = *c == '_' ? ' ' : *c;
                free(concepts[i].keywords);
                concepts[i].keywords = longer;
            }
        }
        free(key);
    }
    json_decref(root);
}

/* Left and right, letters and signs mean something else in a mirror. */
static bool may_mirror(const concept *c)
{
    static const char *const words[] = {"left", "right", "arrow", "east", "west", "button", "clockwise", "calendar", "mahjong"};
    if (!strcmp(c->category, "Symbols"))
        return strstr(c->name, "heart") || strstr(c->name, "circle") || strstr(c->name, "square");
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strstr(c->name, words[i]))
            return false;
    return true;
}

static cairo_surface_t *square(int size)
{
    return cairo_image_surface_create(CAIRO_FORMAT_ARGB32, size, size);
}

/* NULL when librsvg cannot draw it. */
static cairo_surface_t *render_svg(const char *svg, size_t length, int size)
{
    GError *error = NULL;
    RsvgHandle *handle = rsvg_handle_new_from_data((const guint8 *)svg, length, &error);
    if (!handle) {
        g_clear_error(&error);
        return NULL;
    }
    cairo_surface_t *surface = square(size);
    cairo_t *cairo = cairo_create(surface);
    RsvgRectangle viewport = {0, 0, size, size};
    gboolean good = rsvg_handle_render_document(handle, cairo, &viewport, &error);
    cairo_destroy(cairo);
    g_object_unref(handle);
    g_clear_error(&error);
    if (good)
        return surface;
    cairo_surface_destroy(surface);
    return NULL;
}

static cairo_surface_t *scale_surface(cairo_surface_t *from, double x, double y, double side, int size)
{
    cairo_surface_t *surface = square(size);
    cairo_t *cairo = cairo_create(surface);
    cairo_scale(cairo, size / side, size / side);
    cairo_set_source_surface(cairo, from, -x, -y);
    cairo_pattern_set_filter(cairo_get_source(cairo), CAIRO_FILTER_BEST);
    cairo_paint(cairo);
    cairo_destroy(cairo);
    return surface;
}

static cairo_surface_t *render_webp(const char *path, int size)
{
    gchar *bytes;
    gsize length;
    if (!g_file_get_contents(path, &bytes, &length, NULL))
        return NULL;
    int width, height;
    uint8_t *bgra = WebPDecodeBGRA((const uint8_t *)bytes, length, &width, &height);
    g_free(bytes);
    if (!bgra)
        return NULL;
    cairo_surface_t *full = cairo_image_surface_create(CAIRO_FORMAT_ARGB32, width, height);
    unsigned char *data = cairo_image_surface_get_data(full);
    int stride = cairo_image_surface_get_stride(full);
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++)
            for (int c = 0, a = bgra[4 * ((size_t)y * width + x) + 3]; c < 4; c++) /* cairo wants premultiplied */
                data[y * stride + 4 * x + c] = c == 3 ? a : (bgra[4 * ((size_t)y * width + x) + c] * a + 127) / 255;
    cairo_surface_mark_dirty(full);
    WebPFree(bgra);
    cairo_surface_t *surface = scale_surface(full, 0, 0, width > height ? width : height, size);
    cairo_surface_destroy(full);
    return surface;
}

/* Clip art stands anywhere on its page: cut to what is drawn, made square, with a margin of 3 %. */
static cairo_surface_t *trim(cairo_surface_t *page, int size)
{
    int n = cairo_image_surface_get_width(page), stride = cairo_image_surface_get_stride(page);
    int left = n, right = -1, top = n, bottom = -1;
    const unsigned char *data = cairo_image_surface_get_data(page);
    for (int y = 0; y < n; y++)
        for (int x = 0; x < n; x++)
            if (data[y * stride + 4 * x + 3] > 8) {
                left = x < left ? x : left, right = x > right ? x : right;
                top = y < top ? y : top, bottom = y;
            }
    cairo_surface_t *surface = NULL;
    if (right >= left) {
        double side = 1.06 * (right - left > bottom - top ? right - left + 1 : bottom - top + 1);
        surface = scale_surface(page, (left + right + 1 - side) / 2, (top + bottom + 1 - side) / 2, side, size);
    }
    cairo_surface_destroy(page);
    return surface;
}

static double number(const json_t *icon, const json_t *icons, const char *key, double fallback)
{
    const json_t *value = json_object_get(icon, key);
    if (!value)
        value = json_object_get(icons, key);
    return value ? json_number_value(value) : fallback;
}

/* A drawing of an icon set: its body in an <svg> of its own. Aliases name another drawing. */
static cairo_surface_t *render_icon(const json_t *icons, const char *name, int size)
{
    const json_t *icon = json_object_get(json_object_get(icons, "icons"), name), *alias;
    for (int depth = 0; !icon && depth < 8; depth++) {
        alias = json_object_get(json_object_get(icons, "aliases"), name);
        if (!alias || !(name = json_string_value(json_object_get(alias, "parent"))))
            return NULL;
        icon = json_object_get(json_object_get(icons, "icons"), name);
    }
    const char *body = json_string_value(json_object_get(icon, "body"));
    if (!body)
        return NULL;
    char head[256];
    snprintf(head, sizeof head, "<svg xmlns=\"http://www.w3.org/2000/svg\" xmlns:xlink=\"http://www.w3.org/1999/xlink\" viewBox=\"%g %g %g %g\">",
             number(icon, icons, "left", 0), number(icon, icons, "top", 0), number(icon, icons, "width", 16), number(icon, icons, "height", 16));
    char *svg = format(head, body, "</svg>", "");
    cairo_surface_t *surface = render_svg(svg, strlen(svg), size);
    free(svg);
    return surface;
}

static cairo_surface_t *render_file(const char *folder, const char *name, int size)
{
    char *path = format(folder, "/", name, "");
    gchar *bytes = NULL;
    gsize length = 0;
    cairo_surface_t *surface = NULL;
    if (g_file_get_contents(path, &bytes, &length, NULL)) {
        surface = render_svg(bytes, length, 4 * size);
        if (surface)
            surface = trim(surface, size);
        g_free(bytes);
    }
    free(path);
    return surface;
}

typedef struct output {
    const char *folder;
    FILE *table;
    int size;
    size_t n, failed;
} output;

static void emit(output *out, const icon_set *set, const concept *c, size_t version, cairo_surface_t *surface)
{
    if (!surface) {
        out->failed++;
        return;
    }
    char number_text[24] = "";
    if (version)
        snprintf(number_text, sizeof number_text, ".%zu", version);
    char *name = format(set->name, "/", c->key, number_text), *path = format(out->folder, "/", name, ".png");
    if (cairo_surface_write_to_png(surface, path) != CAIRO_STATUS_SUCCESS)
        die("cannot be written", path);
    fprintf(out->table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s.png\n", c->key, c->name, c->category, c->keywords, set->artist, set->name, set->split, may_mirror(c) ? "yes" : "no", name);
    free(name);
    free(path);
    cairo_surface_destroy(surface);
    out->n++;
}

/* noto and fluent-emoji-flat: chars.json maps code points to the drawing's name. */
static void render_by_table(output *out, const icon_set *set, const char *folder, const concept *concepts, size_t n)
{
    json_t *icons = read_json(folder, "icons.json"), *chars = read_json(folder, "chars.json"), *value;
    const char **names = need(calloc(n, sizeof *names)), *code;
    json_object_foreach(chars, code, value) {
        char *key = plain_key(code);
        for (size_t i = 0; i < n; i++)
            if (!strcmp(concepts[i].key, key))
                names[i] = json_string_value(value);
        free(key);
    }
    for (size_t i = 0; i < n; i++)
        if (names[i])
            emit(out, set, &concepts[i], 0, render_icon(icons, names[i], out->size));
    free(names);
    json_decref(icons);
    json_decref(chars);
}

static void render_by_file_name(output *out, const icon_set *set, const char *folder, const concept *concepts, size_t n)
{
    GDir *listing = g_dir_open(folder, 0, NULL);
    if (!listing)
        die("no such folder", folder);
    const char **files = need(calloc(n, sizeof *files)), *file;
    while ((file = g_dir_read_name(listing))) {
        char *key = plain_key(file);
        for (size_t i = 0; i < n; i++)
            if (!strcmp(concepts[i].key, key))
                files[i] = g_intern_string(file);
        free(key);
    }
    g_dir_close(listing);
    for (size_t i = 0; i < n; i++)
        if (files[i]) {
            char *path = format(folder, "/", files[i], "");
            emit(out, set, &concepts[i], 0, render_webp(path, out->size));
            free(path);
        }
    free(files);
}

static void render_by_joins(output *out, const icon_set *set, const char *folder, const concept *concepts, size_t n, const join *joins, size_t n_joins)
{
    bool files = !strcmp(set->name, "openclipart");
    json_t *icons = files ? NULL : read_json(folder, "icons.json");
    for (size_t i = 0; i < n; i++) {
        size_t version = 0;
        for (size_t j = 0; j < n_joins; j++)
            if (!strcmp(joins[j].set, set->name) && !strcmp(joins[j].key, concepts[i].key)) {
                emit(out, set, &concepts[i], version, files ? render_file(folder, joins[j].drawing, out->size) : render_icon(icons, joins[j].drawing, out->size));
                version++;
            }
    }
    json_decref(icons);
}

int main(int argc, char **argv)
{
    if (argc < 7) {
        fprintf(stderr, "usage: drawings CONCEPTS JOINS EMOJILIB SIZE OUT SET=FOLDER...\n");
        return 2;
    }
    concept *concepts;
    join *joins;
    size_t n = read_concepts(&concepts, argv[1]), n_joins = read_joins(&joins, argv[2]);
    read_keywords(concepts, n, argv[3]);
    output out = {.folder = argv[5], .size = atoi(argv[4])};
    if (out.size < 16 || out.size > 1024)
        die("a size between 16 and 1024 was expected", argv[4]);
    mkdir(out.folder, 0777);
    char *partial = format(out.folder, "/", "drawings.tsv.partial", ""), *table = format(out.folder, "/", "drawings.tsv", "");
    out.table = fopen(partial, "w");
    if (!out.table)
        die(strerror(errno), partial);
    fprintf(out.table, "concept\tname\tcategory\tkeywords\tartist\tset\tsplit\tmirror\tfile\n");
    for (int a = 6; a < argc; a++) {
        char *folder = strchr(argv[a], '=');
        const icon_set *set = NULL;
        if (folder)
            *folder++ = 0;
        for (size_t i = 0; i < sizeof SETS / sizeof *SETS; i++)
            if (!strcmp(SETS[i].name, argv[a]))
                set = &SETS[i];
        if (!set || !folder)
            die("not a known set with its folder (SET=FOLDER)", argv[a]);
        char *target = format(out.folder, "/", set->name, "");
        mkdir(target, 0777);
        free(target);
        size_t before = out.n;
        if (!set->by_code_points)
            render_by_joins(&out, set, folder, concepts, n, joins, n_joins);
        else if (!strcmp(set->name, "fluent-emoji-3d"))
            render_by_file_name(&out, set, folder, concepts, n);
        else
            render_by_table(&out, set, folder, concepts, n);
        fprintf(stderr, "%-18s %5zu drawings\n", set->name, out.n - before);
    }
    if (out.failed)
        fprintf(stderr, "%zu drawings could not be rendered and are left out\n", out.failed);
    if (fclose(out.table) || rename(partial, table))
        die(strerror(errno), table);
    free(partial);
    free(table);
    return 0;
}
