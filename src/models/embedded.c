/* The files of models/embedded-clip, put into the library by the assembler (.incbin), which needs no generated
 * source and takes no time. VLM_EMBEDDED_FOLDER is set by CMake when they are there. */
#include "models/embedded.h"

#include <stddef.h>

#ifdef VLM_EMBEDDED_FOLDER

#include <pthread.h>
#include <string.h>

#define EMBED(symbol, file)                                                                                                     \
    __asm__(".pushsection .rodata\n"                                                                                            \
            ".balign 64\n"                                                                                                      \
            ".global vlm_embedded_" #symbol "\n.hidden vlm_embedded_" #symbol "\n"                                              \
            ".global vlm_embedded_" #symbol "_end\n.hidden vlm_embedded_" #symbol "_end\n"                                      \
            "vlm_embedded_" #symbol ":\n.incbin \"" VLM_EMBEDDED_FOLDER "/" file "\"\n"                                         \
            "vlm_embedded_" #symbol "_end:\n.byte 0\n"                                                                          \
            ".popsection\n");                                                                                                   \
    extern const unsigned char vlm_embedded_##symbol[] __attribute__((visibility("hidden")));                                   \
    extern const unsigned char vlm_embedded_##symbol##_end[] __attribute__((visibility("hidden")))

EMBED(config, "config.json");
EMBED(weights, "model.safetensors");
EMBED(tokenizer, "tokenizer.json");
EMBED(tokenizer_config, "tokenizer_config.json");
EMBED(preprocessor, "preprocessor_config.json");

static vlm_embedded_file files[] = {
    {"config.json", vlm_embedded_config, 0},
    {"model.safetensors", vlm_embedded_weights, 0},
    {"tokenizer.json", vlm_embedded_tokenizer, 0},
    {"tokenizer_config.json", vlm_embedded_tokenizer_config, 0},
    {"preprocessor_config.json", vlm_embedded_preprocessor, 0},
};
static pthread_once_t sizes_known = PTHREAD_ONCE_INIT;

/* The linker knows the sizes, not the compiler: they cannot stand in the table above. */
static void fill_sizes(void)
{
    const unsigned char *const ends[] = {vlm_embedded_config_end, vlm_embedded_weights_end, vlm_embedded_tokenizer_end,
                                         vlm_embedded_tokenizer_config_end, vlm_embedded_preprocessor_end};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        files[i].size = (size_t)(ends[i] - files[i].data);
}

const vlm_embedded_file *vlm_embedded_find(const char *name)
{
    pthread_once(&sizes_known, fill_sizes);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        if (!strcmp(files[i].name, name))
            return &files[i];
    return NULL;
}

#else

const vlm_embedded_file *vlm_embedded_find(const char *name)
{
    (void)name;
    return NULL;
}

#endif
