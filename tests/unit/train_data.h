/* Pictures, captions and configs that the tests of training make for themselves, in a folder of their own. */
#ifndef TESTS_TRAIN_DATA_H
#define TESTS_TRAIN_DATA_H

#include <dirent.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "formats/png_write.h"

enum { PICTURE_WIDTH = 37, PICTURE_HEIGHT = 29 };

static char test_folder[128];

static const char *path_of(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A path below the test's folder, in one of 64 buffers that take turns. */
static const char *path_of(const char *format, ...)
{
    static char buffers[64][512];
    static int turn;
    char *path = buffers[turn++ % 64];
    int length = snprintf(path, sizeof buffers[0], "%s/", test_folder);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(path + length, sizeof buffers[0] - (size_t)length, format, arguments);
    va_end(arguments);
    return path;
}

static inline void write_text(const char *path, const char *text)
{
    vlm_error error = {0};
    if (vlm_write_file(path, text, strlen(text), &error) != VLM_OK) {
        fprintf(stderr, "%s\n", error.message);
        abort();
    }
}

/* A square of the colour on another, at a place that `number` gives. */
static inline void write_picture(const char *path, const uint8_t color[3], unsigned number)
{
    static uint8_t pixels[PICTURE_HEIGHT][PICTURE_WIDTH][3];
    for (unsigned y = 0; y < PICTURE_HEIGHT; y++)
        for (unsigned x = 0; x < PICTURE_WIDTH; x++)
            for (unsigned c = 0; c < 3; c++) {
                int inside = x >= 3 + number % 11 && x < 18 + number % 11 && y >= 2 + number % 7 && y < 17 + number % 7;
                pixels[y][x][c] = inside ? color[c] : (uint8_t)(40 * (number % 5) + c * 20);
            }
    if (vlm_write_png(path, &pixels[0][0][0], PICTURE_WIDTH, PICTURE_HEIGHT, PICTURE_WIDTH * 3, 3, NULL) != VLM_OK)
        abort();
}

static void remove_tree(const char *path)
{
    DIR *folder = opendir(path);
    if (!folder) {
        unlink(path);
        return;
    }
    for (struct dirent *entry; (entry = readdir(folder));) {
        char name[1024];
        snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            remove_tree(name);
    }
    closedir(folder);
    rmdir(path);
}

static int make_test_folder(void **state)
{
    (void)state;
    snprintf(test_folder, sizeof test_folder, "%s/vlm-train-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    return mkdtemp(test_folder) ? 0 : -1;
}

static int remove_test_folder(void **state)
{
    (void)state;
    remove_tree(test_folder);
    return 0;
}

#endif
