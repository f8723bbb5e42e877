/* Tables of pictures: CSV as RFC 4180 writes it, or the same with tabs, with a header row.
 * Columns "filepath" and "title" (open_clip's names) or as the config says; a path is relative to the table.
 * Trap: a quoted field may hold separators, quotes (doubled) and line ends. */
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/file.h"
#include "base/memory.h"
#include "formats/json.h"
#include "train/data_files.h"

typedef struct table {
    const char *path, *at, *end;
    char separator;
    size_t line;       /* of the row that was read last, from 1 */
    size_t next_line;
    vlm_text fields;   /* of the row, each with a 0 byte after it */
    size_t *starts;    /* of field i in fields; [n + 1] */
    size_t n, capacity;
} table;

static bool begin_field(table *t)
{
    if (!vlm_grow(&t->starts, &t->capacity, t->n + 2, sizeof *t->starts))
        return false;
    t->starts[t->n++] = t->fields.length;
    return true;
}

/* The rest of a quoted field, from behind its first quote. */
static vlm_status read_quoted(table *t, vlm_error *error)
{
    for (; t->at < t->end; t->at++) {
        if (*t->at == '"' && (++t->at == t->end || *t->at != '"'))
            return VLM_OK;
        t->next_line += *t->at == '\n';
        vlm_text_append(&t->fields, t->at, 1);
    }
    return vlm_fail(error, VLM_ERR_FORMAT, "%s: line %zu: a quote is opened and never closed", t->path, t->line);
}

/* One row into fields; t->n is 0 at the end of the file. */
static vlm_status read_row(table *t, vlm_error *error)
{
    t->n = t->fields.length = 0;
    while (t->at < t->end && (*t->at == '\n' || *t->at == '\r')) { /* empty lines */
        t->next_line += *t->at == '\n';
        t->at++;
    }
    t->line = t->next_line;
    if (t->at == t->end)
        return VLM_OK;
    for (bool more = true; more;) {
        if (!begin_field(t))
            return vlm_fail_memory(error, t->n, "a table's row");
        if (t->at < t->end && *t->at == '"') {
            t->at++;
            vlm_status status = read_quoted(t, error);
            if (status != VLM_OK)
                return status;
        }
        const char *first = t->at;
        while (t->at < t->end && *t->at != t->separator && *t->at != '\n' && *t->at != '\r')
            t->at++;
        vlm_text_append(&t->fields, first, (size_t)(t->at - first));
        vlm_text_append(&t->fields, "", 1);
        more = t->at < t->end && *t->at == t->separator;
        t->at += more;
    }
    if (t->fields.failed)
        return vlm_fail_memory(error, t->fields.length, "a table's row");
    t->starts[t->n] = t->fields.length;
    for (size_t i = 0; i < t->n; i++)
        if (t->starts[i] + strlen(t->fields.data + t->starts[i]) + 1 != t->starts[i + 1])
            return vlm_fail(error, VLM_ERR_FORMAT, "%s: line %zu holds a NUL byte; text in UTF-8 is wanted", t->path, t->line);
    return VLM_OK;
}

static const char *field(const table *t, size_t i)
{
    return t->fields.data + t->starts[i];
}

static vlm_status find_column(size_t *column, const table *t, const char *name, const char *key, vlm_error *error)
{
    for (*column = 0; *column < t->n; ++*column)
        if (strcmp(field(t, *column), name) == 0)
            return VLM_OK;
    return vlm_fail(error, VLM_ERR_FORMAT, "%s: the header has no column \"%s\"; name it in data.%s", t->path, name, key);
}

typedef struct columns {
    const char *picture, *text, *folder;
    bool labels;
} columns;

static vlm_status add_row(vlm_file_dataset *dataset, const table *t, const columns *names, size_t picture, size_t text, vlm_error *error)
{
    size_t most = picture > text ? picture : text;
    if (t->n <= most)
        return vlm_fail(error, VLM_ERR_FORMAT, "%s: line %zu has %zu fields, %zu are wanted", t->path, t->line, t->n, most + 1);
    const char *words = field(t, text);
    if (!*field(t, picture) || !*words)
        return vlm_fail(error, VLM_ERR_FORMAT, "%s: line %zu: the field \"%s\" is empty", t->path, t->line, *words ? names->picture : names->text);
    vlm_status status = vlm_file_dataset_add(dataset, names->folder, field(t, picture), error);
    if (status == VLM_OK && names->labels)
        status = vlm_file_dataset_label(dataset, words, strlen(words), &dataset->items[dataset->n_items - 1].label, error);
    else if (status == VLM_OK)
        status = vlm_file_dataset_add_caption(dataset, words, strlen(words), error);
    return status;
}

static vlm_status read_table(vlm_file_dataset *dataset, table *t, const columns *names, vlm_error *error)
{
    size_t picture = 0, text = 0;
    if (t->end - t->at >= 3 && memcmp(t->at, "\xef\xbb\xbf", 3) == 0)
        t->at += 3;
    vlm_status status = read_row(t, error);
    if (status == VLM_OK && !t->n)
        status = vlm_fail(error, VLM_ERR_FORMAT, "%s: the table is empty; a header row is wanted", t->path);
    if (status == VLM_OK)
        status = find_column(&picture, t, names->picture, "image_column", error);
    if (status == VLM_OK)
        status = find_column(&text, t, names->text, names->labels ? "label_column" : "caption_column", error);
    while (status == VLM_OK) {
        status = read_row(t, error);
        if (status != VLM_OK || !t->n)
            break;
        status = add_row(dataset, t, names, picture, text, error);
    }
    return status;
}

/* The folder of a path, in the dataset's memory: "" for a bare name. */
static char *folder_of(vlm_file_dataset *dataset, const char *path)
{
    const char *slash = strrchr(path, '/');
    size_t length = slash == path ? 1 : slash ? (size_t)(slash - path) : 0;
    return vlm_arena_copy_text(&dataset->texts, path, length);
}

static vlm_status read_settings(columns *names, char *separator, const vlm_data_options *options, vlm_error *error)
{
    static const char *const keys[] = {"kind", "image_column", "caption_column", "label_column", "separator", "root"};
    const char *kind, *written, *root;
    size_t n = strlen(options->path);
    vlm_status status = vlm_config_check_keys(options->settings, keys, sizeof keys / sizeof *keys, "data", options->where, error);
    if (status == VLM_OK)
        status = vlm_json_get_string(&kind, options->settings, "kind", "auto", options->where, error);
    if (status == VLM_OK)
        status = vlm_json_get_string(&names->picture, options->settings, "image_column", "filepath", options->where, error);
    if (status == VLM_OK)
        status = vlm_json_get_string(&names->text, options->settings, options->labels ? "label_column" : "caption_column", options->labels ? "label" : "title", options->where, error);
    if (status == VLM_OK)
        status = vlm_json_get_string(&written, options->settings, "separator", NULL, options->where, error);
    if (status == VLM_OK)
        status = vlm_json_get_string(&root, options->settings, "root", NULL, options->where, error);
    if (status != VLM_OK)
        return status;
    bool tabs = strcmp(kind, "tsv") == 0 || (strcmp(kind, "csv") != 0 && n > 4 && strcmp(options->path + n - 4, ".tsv") == 0);
    if (written && (strlen(written) != 1 || strchr("\"\r\n", *written)))
        return vlm_fail(error, VLM_ERR_ARGUMENT, "%s: data.separator \"%s\" is not one character that can separate", options->where, written);
    *separator = written ? *written : tabs ? '\t' : ',';
    names->folder = root;
    names->labels = options->labels;
    return VLM_OK;
}

vlm_status vlm_dataset_open_table(vlm_dataset **out, const vlm_data_options *options, vlm_error *error)
{
    columns names;
    char separator = ',';
    vlm_mapping file = {0};
    vlm_file_dataset *dataset = NULL;
    *out = NULL;
    vlm_status status = read_settings(&names, &separator, options, error);
    if (status == VLM_OK)
        status = vlm_file_dataset_create(&dataset, options, error);
    if (status == VLM_OK)
        status = vlm_map_file(&file, options->path, error);
    if (status == VLM_OK && !names.folder && !(names.folder = folder_of(dataset, options->path)))
        status = vlm_fail_memory(error, strlen(options->path), "a table's folder");
    if (status == VLM_OK) {
        const char *text = file.size ? (const char *)file.data : "";
        table t = {.path = options->path, .at = text, .end = text + file.size, .separator = separator, .next_line = 1};
        status = read_table(dataset, &t, &names, error);
        vlm_text_free(&t.fields);
        free(t.starts);
    }
    if (status == VLM_OK)
        status = vlm_file_dataset_finish(dataset, options->path, error);
    vlm_unmap(&file);
    if (status == VLM_OK)
        *out = &dataset->base;
    else if (dataset)
        dataset->base.close(&dataset->base);
    return status;
}
