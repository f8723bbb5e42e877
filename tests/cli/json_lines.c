/* Reads JSON lines from stdin, each of which must be one object, and prints a line of values for each.
 * usage: json_lines PATH...      the values, tabs between: keys and indices between dots, # the number of
 *                                elements ("vector.#", "labels.0.label"); "-" where there is none
 *        json_lines --floats KEY the array's numbers as float32 bytes, nothing between them
 * A program may print "5e-1" or "0.5": what counts is what a reader gets. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void print_value(const json_t *value)
{
    if (json_is_string(value))
        printf("%s", json_string_value(value));
    else if (json_is_integer(value))
        printf("%" JSON_INTEGER_FORMAT, json_integer_value(value));
    else if (json_is_real(value))
        printf("%.9g", json_real_value(value));
    else if (!value)
        printf("-");
    else {
        char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
        printf("%s", text ? text : "?");
        free(text);
    }
}

static void print_path(const json_t *value, const char *path)
{
    char key[256];
    while (*path && value) {
        size_t n = strcspn(path, ".");
        snprintf(key, sizeof key, "%.*s", (int)n, path);
        path += n + (path[n] == '.');
        if (strcmp(key, "#") == 0) {
            printf("%zu", json_array_size(value));
            return;
        }
        value = json_is_array(value) ? json_array_get(value, strtoul(key, NULL, 10)) : json_object_get(value, key);
    }
    print_value(value);
}

static int print_floats(const json_t *array)
{
    size_t i;
    const json_t *item;
    json_array_foreach((json_t *)array, i, item) {
        float value = (float)json_number_value(item);
        if (!json_is_number(item) || fwrite(&value, sizeof value, 1, stdout) != 1)
            return 1;
    }
    return 0;
}

int main(int argc, char **argv)
{
    char *line = NULL;
    size_t capacity = 0, number = 0;
    ssize_t length;
    int status = 0, floats = argc == 3 && strcmp(argv[1], "--floats") == 0;
    while (status == 0 && (length = getline(&line, &capacity, stdin)) >= 0) {
        json_error_t error;
        json_t *object = json_loadb(line, (size_t)length, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
        number++;
        if (!json_is_object(object) || line[length - 1] != '\n') {
            fprintf(stderr, "line %zu is not one JSON object and a newline: %s\n%s\n", number, object ? "" : error.text, line);
            status = 1;
        } else if (floats) {
            status = print_floats(json_object_get(object, argv[2]));
        } else {
            for (int i = 1; i < argc; i++) {
                print_path(object, argv[i]);
                putchar(i + 1 < argc ? '\t' : '\n');
            }
        }
        json_decref(object);
    }
    free(line);
    return status;
}
