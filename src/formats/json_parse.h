/* The parser behind vlm_json_parse, for those who want its faults apart. */
#ifndef VLM_FORMATS_JSON_PARSE_H
#define VLM_FORMATS_JSON_PARSE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

typedef struct vlm_json_fault {
    const char *reason; /* static storage; NULL: out of memory */
    size_t offset, line, column; /* of the byte where it was noticed: from 0, from 1, from 1 */
} vlm_json_fault;

/* An object or an array of text[0..length), as RFC 8259 defines it, UTF-8; release with json_decref. NULL: fault
 * says why. A string may hold NUL, a key may not. An integer beyond 64 bits is a real number, as the
 * 1000000000000000019884624838656 of many a tokenizer_config.json must be. unique: a key twice in one object is a
 * fault; otherwise the last one counts, as in Python. */
json_t *vlm_json_build(const char *text, size_t length, bool unique, vlm_json_fault *fault);

#endif
