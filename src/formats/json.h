/* JSON configs, on jansson, with errors that name the file and the key. Values are borrowed from the root. */
#ifndef VLM_FORMATS_JSON_H
#define VLM_FORMATS_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "vlm/error.h"

/* Read and parse a file of at most 512 MiB (a tokenizer.json may be large). The root must be an object
 * or an array. Release with json_decref. NaN and Infinity, which Python writes, are errors. */
vlm_status vlm_json_read(json_t **root, const char *path, vlm_error *error);
/* The same from memory; `name` is what errors call it. */
vlm_status vlm_json_parse(json_t **root, const char *text, size_t length, const char *name, vlm_error *error);

/* Values of an object's key. A missing key or null gives the fallback; a wrong type, a negative number or
 * one out of range is an error that names `where` (a file) and the key. */
vlm_status vlm_json_get_size(size_t *value, const json_t *object, const char *key, size_t fallback, const char *where, vlm_error *error);
vlm_status vlm_json_get_double(double *value, const json_t *object, const char *key, double fallback, const char *where, vlm_error *error);
vlm_status vlm_json_get_bool(bool *value, const json_t *object, const char *key, bool fallback, const char *where, vlm_error *error);
/* Borrowed from the object; lives as long as the root. */
vlm_status vlm_json_get_string(const char **value, const json_t *object, const char *key, const char *fallback, const char *where, vlm_error *error);

#endif
