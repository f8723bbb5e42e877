/* The embedded model: a small CLIP in the transformers layout, whose files lie inside the library, so that the
 * program sees something without a download. How it was made: recipes/embedded-clip, docs/embedded-clip.md. */
#ifndef VLM_MODELS_EMBEDDED_H
#define VLM_MODELS_EMBEDDED_H

#include <stddef.h>

typedef struct vlm_embedded_file {
    const char *name; /* as in a model's folder: "config.json" */
    const unsigned char *data; /* at a multiple of 64 bytes; static storage, read-only */
    size_t size;
} vlm_embedded_file;

/* One of config.json, model.safetensors, tokenizer.json, tokenizer_config.json, preprocessor_config.json.
 * NULL: there is no file of that name, or the library was built without models/embedded-clip. */
const vlm_embedded_file *vlm_embedded_find(const char *name);

#endif
