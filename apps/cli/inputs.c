/* Inputs from the command line: pictures (a folder means its pictures) and texts (a file means its lines). */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/memory.h"
#include "cli/cli.h"

bool vlm_has_extension(const char *path, const char *extension)
{
    const char *slash = strrchr(path, '/'), *dot = strrchr(slash ? slash : path, '.');
    return dot && strcasecmp(dot + 1, extension) == 0;
}

/* ---- pictures -------------------------------------------------------------------------------------------- */

/* bmp and what follows it cannot be read yet. They are pictures all the same: said by name, not passed over. */
static const char *const extensions[] = {"jpg", "jpeg", "jpe", "jfif", "png", "apng", "webp", "gif", "tif", "tiff",
                                         "bmp", "heic", "heif", "avif", "jxl"};

static bool begins_like_picture(const char *path)
{
    static const struct {
        const char *bytes;
        size_t n;
    } beginnings[] = {{"\xff\xd8\xff", 3}, {"\x89PNG\r\n\x1a\n", 8}, {"GIF8", 4}, {"II*", 4}, {"MM\0*", 4}};
    char head[12] = {0};
    FILE *file = fopen(path, "rb");
    if (!file)
        return false;
    size_t n = fread(head, 1, sizeof head, file);
    fclose(file);
    for (size_t i = 0; i < sizeof beginnings / sizeof *beginnings; i++)
        if (n >= beginnings[i].n && memcmp(head, beginnings[i].bytes, beginnings[i].n) == 0)
            return true;
    return n == 12 && memcmp(head, "RIFF", 4) == 0 && memcmp(head + 8, "WEBP", 4) == 0;
}

/* A picture by its extension, so that a broken one is noticed; any other file by its first bytes. */
static bool is_picture(const char *path)
{
    struct stat info;
    bool found = stat(path, &info) == 0;
    for (size_t i = 0; i < sizeof extensions / sizeof *extensions; i++)
        if (vlm_has_extension(path, extensions[i]))
            return !found || S_ISREG(info.st_mode); /* not found: a link into nowhere is a broken picture */
    return found && S_ISREG(info.st_mode) && begins_like_picture(path);
}

/* Takes name and error, which may be NULL for error. */
static bool add_input(vlm_inputs *inputs, char *name, char *error)
{
    if (!name || !vlm_grow(&inputs->items, &inputs->capacity, inputs->n + 1, sizeof *inputs->items)) {
        free(name);
        free(error);
        return false;
    }
    inputs->items[inputs->n++] = (vlm_input){name, error};
    return true;
}

static bool add_bad_input(vlm_inputs *inputs, const char *name, const char *message)
{
    char *error = vlm_copy_text(message, strlen(message));
    return error && add_input(inputs, vlm_copy_text(name, strlen(name)), error);
}

static bool add_folder(vlm_inputs *inputs, const char *folder)
{
    char **names = NULL;
    size_t n = 0, before = inputs->n;
    vlm_error error = {0};
    if (vlm_list_folder(&names, &n, folder, &error) != VLM_OK)
        return add_bad_input(inputs, folder, error.message);
    size_t length = strlen(folder);
    while (length > 1 && folder[length - 1] == '/')
        length--;
    char *base = vlm_copy_text(folder, length);
    bool good = base != NULL;
    for (size_t i = 0; i < n; i++) {
        char *path = good ? vlm_join_path(base, names[i]) : NULL;
        if (good && (!path || is_picture(path)))
            good = add_input(inputs, path, NULL);
        else
            free(path);
        free(names[i]);
    }
    free(names);
    free(base);
    if (good && inputs->n == before) {
        vlm_text message = {0};
        vlm_text_printf(&message, "%s: there is no picture in this folder (JPEG, PNG, WebP, GIF or TIFF)", folder);
        good = !message.failed && add_bad_input(inputs, folder, message.data);
        vlm_text_free(&message);
    }
    return good;
}

int vlm_expand_inputs(vlm_inputs *inputs, const vlm_list *list)
{
    for (size_t i = 0; i < list->n; i++) {
        const char *value = list->items[i].value;
        bool good = vlm_is_folder(value) ? add_folder(inputs, value)
                                         : add_input(inputs, vlm_copy_text(value, strlen(value)), NULL);
        if (!good)
            return vlm_say_memory();
    }
    return VLM_EXIT_OK;
}

void vlm_free_inputs(vlm_inputs *inputs)
{
    for (size_t i = 0; i < inputs->n; i++) {
        free(inputs->items[i].name);
        free(inputs->items[i].error);
    }
    free(inputs->items);
    *inputs = (vlm_inputs){0};
}

/* ---- texts ----------------------------------------------------------------------------------------------- */

/* While texts are collected their places are offsets, since the buffer moves as it grows. */
static bool add_text(vlm_texts *texts, const char *bytes, size_t length)
{
    size_t capacity = texts->capacity;
    if (!vlm_grow(&texts->lengths, &capacity, texts->n + 1, sizeof *texts->lengths))
        return false;
    capacity = texts->capacity;
    if (!vlm_grow(&texts->items, &capacity, texts->n + 1, sizeof *texts->items))
        return false;
    texts->capacity = capacity;
    vlm_text_append(&texts->bytes, bytes, length);
    vlm_text_append(&texts->bytes, "", 1);
    texts->lengths[texts->n++] = length;
    return !texts->bytes.failed;
}

static void place_texts(vlm_texts *texts)
{
    size_t offset = 0;
    for (size_t i = 0; i < texts->n; i++) {
        texts->items[i] = texts->bytes.data + offset;
        offset += texts->lengths[i] + 1;
    }
}

static vlm_status read_file(vlm_text *content, const char *path, vlm_error *error)
{
    char block[65536];
    bool standard = strcmp(path, "-") == 0;
    FILE *file = standard ? stdin : fopen(path, "rb");
    errno = file ? 0 : errno;
    size_t n;
    while (file && (n = fread(block, 1, sizeof block, file)) > 0)
        vlm_text_append(content, block, n);
    vlm_status status = VLM_OK;
    if (!file || ferror(file)) {
        status = error->status = VLM_ERR_IO;
        snprintf(error->message, sizeof error->message, "%s: cannot read: %s", standard ? "stdin" : path, strerror(errno));
    } else if (content->failed) {
        status = error->status = VLM_ERR_MEMORY;
        snprintf(error->message, sizeof error->message, "%s: out of memory while reading it", path);
    }
    if (file && !standard)
        fclose(file);
    return status;
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool add_word(vlm_texts *words, const char *bytes, size_t length)
{
    while (length && is_space(bytes[length - 1]))
        length--;
    while (length && is_space(*bytes)) {
        bytes++;
        length--;
    }
    return length == 0 || add_text(words, bytes, length);
}

/* The last line needs no newline; a byte order mark is no part of the first; \r\n ends a line too. */
static bool add_lines(vlm_texts *texts, const vlm_text *content, bool words)
{
    const char *line = content->data, *end = line + content->length;
    if (content->length >= 3 && memcmp(line, "\xef\xbb\xbf", 3) == 0)
        line += 3;
    while (line && line < end) {
        const char *stop = memchr(line, '\n', (size_t)(end - line));
        size_t length = (size_t)((stop ? stop : end) - line);
        size_t kept = length && line[length - 1] == '\r' ? length - 1 : length;
        if (!(words ? add_word(texts, line, kept) : add_text(texts, line, kept)))
            return false;
        line += length + 1;
    }
    return true;
}

int vlm_gather_texts(vlm_texts *texts, const vlm_list *list, bool json)
{
    int status = VLM_EXIT_OK;
    bool good = true;
    for (size_t i = 0; good && i < list->n; i++) {
        const vlm_list_item *item = &list->items[i];
        if (!item->option || strcmp(item->option->name, "file") != 0) {
            good = add_text(texts, item->value, strlen(item->value));
            continue;
        }
        vlm_text content = {0};
        vlm_error error = {0};
        if (read_file(&content, item->value, &error) == VLM_OK) {
            good = add_lines(texts, &content, false);
        } else {
            vlm_report_bad_input(item->value, error.message, json);
            status = VLM_EXIT_FAILED;
        }
        vlm_text_free(&content);
    }
    if (!good)
        return vlm_say_memory();
    place_texts(texts);
    return status;
}

int vlm_read_words(vlm_texts *words, const char *path)
{
    vlm_text content = {0};
    vlm_error error = {0};
    int status = VLM_EXIT_OK;
    if (read_file(&content, path, &error) != VLM_OK)
        status = vlm_say_error(&error);
    else if (!add_lines(words, &content, true))
        status = vlm_say_memory();
    vlm_text_free(&content);
    place_texts(words);
    return status;
}

int vlm_split_words(vlm_texts *words, const char *list)
{
    bool good = true;
    while (good && *list) {
        size_t length = strcspn(list, ",");
        good = add_word(words, list, length);
        list += length + (list[length] == ',');
    }
    place_texts(words);
    return good ? VLM_EXIT_OK : vlm_say_memory();
}

void vlm_free_texts(vlm_texts *texts)
{
    vlm_text_free(&texts->bytes);
    free(texts->items);
    free(texts->lengths);
    *texts = (vlm_texts){0};
}
