/* vlm: vision-language models in C. Pictures and words to vectors in one space, and words about pictures.
 *
 *     vlm_error error = {0};
 *     vlm_model *model = NULL;
 *     vlm_image *image = NULL;
 *     float vector[512];
 *     if (vlm_model_open(&model, "openai/clip-vit-base-patch32", NULL, &error) == VLM_OK &&
 *         vlm_image_open(&image, "car.png", NULL, &error) == VLM_OK &&
 *         vlm_embed_images(model, (const vlm_image *const *)&image, 1, 0, vector, &error) == VLM_OK)
 *         use(vector);
 *     vlm_image_free(image);
 *     vlm_model_close(model);
 *
 * A pointer that a function returns is borrowed and lives as long as the object it was asked of; a pointer
 * given back through an out argument is the caller's to free, with the function named beside it.
 * A model may be used from several threads: calls are taken one after the other. Images are immutable. */
#ifndef VLM_VLM_H
#define VLM_VLM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vlm/error.h"
#include "vlm/image.h"

#ifdef __cplusplus
extern "C" {
#endif

/* "0.1.0", and the kernels in use on this CPU: "avx512", "avx2", "neon" or "c". Static storage. */
VLM_API const char *vlm_version(void);
VLM_API const char *vlm_isa(void);

/* ---- Opening a model ------------------------------------------------------------------------------- */

typedef struct vlm_model vlm_model;

/* Parts of a model. A part that is not asked for is neither read nor needed. */
enum {
    VLM_PART_VISION = 1 << 0,    /* pictures to vectors: config, weights of the vision tower */
    VLM_PART_TEXT = 1 << 1,      /* text to vectors: config, weights of the text tower */
    VLM_PART_TOKENIZER = 1 << 2, /* text to ids */
    VLM_PART_LANGUAGE = 1 << 4,  /* a language model: text to text */
    VLM_PART_PIXELS = 1 << 3     /* picture to pixels: preprocessor_config.json or its kin */
};

/* A finished stage of a forward pass, in the order in which they are computed: name ("pixels",
 * "vision.embeddings", "vision.block.0", ..., "vision.vector"), n_dims sizes, float32 values row-major.
 * The values are borrowed for the time of the call. */
typedef void vlm_trace_function(void *user, const char *name, const size_t *shape, size_t n_dims, const float *values);

/* How far long work is: `done` of `total` (bytes while a model loads). Return false to stop it: the call then
 * fails with VLM_ERR_CANCELLED. Called from the thread that called the library. */
typedef bool vlm_progress_function(void *user, const char *what, uint64_t done, uint64_t total);
/* One line, without its end, of something that is no error but may be worth knowing. */
typedef void vlm_log_function(void *user, const char *message);

typedef struct vlm_model_options {
    unsigned parts;            /* VLM_PART_*; 0: all that the folder has */
    size_t n_threads;          /* 0: as many as the process may run on */
    const char *dtype;         /* of the matrices: "f32" (NULL too), "f16", "bf16", "q8" */
    const char *arch;          /* OpenCLIP's name of a built-in config, for a bare checkpoint file; else NULL */
    vlm_trace_function *trace; /* NULL: no trace */
    void *trace_user;
    vlm_progress_function *progress; /* while the weights are read; NULL: none */
    vlm_log_function *log;           /* tensors of the checkpoint that nothing uses ...; NULL: none */
    void *user;                      /* of progress and log */
} vlm_model_options;

/* Open `name`: a folder, a checkpoint file (with options->arch), a hub name found in the local hub cache
 * ("openai/clip-vit-base-patch32"), or NULL: the embedded model. options NULL: all defaults.
 * Errors: VLM_ERR_IO (not found), _FORMAT, _MISMATCH (the weights contradict the config), _UNSUPPORTED,
 * _MEMORY. Close with vlm_model_close (NULL allowed). */
VLM_API vlm_status vlm_model_open(vlm_model **model, const char *name, const vlm_model_options *options, vlm_error *error);
VLM_API void vlm_model_close(vlm_model *model);

typedef struct vlm_model_info {
    const char *name;   /* the resolved path, or "embedded" */
    const char *family; /* "clip", "siglip", "vit", "distilbert", or "" when only pixels or a tokenizer were opened */
    const char *layout; /* "transformers", "openclip", "sentence-transformers" */
    const char *dtype;  /* of the matrices in memory */
    unsigned parts;     /* VLM_PART_* that were opened */
    size_t n_threads;
    size_t embedding_size;  /* D of the shared space; hidden size for a bare ViT; 0 without towers */
    size_t image_height, image_width; /* pixels that the vision tower expects; 0 without one */
    size_t context_length;  /* tokens of a text at most, special tokens included; 0: no limit known */
    size_t n_labels;        /* of a classifier head; 0 without one */
    uint64_t n_parameters;  /* weights, position ids not counted */
    uint64_t n_bytes;       /* memory of the weights as they are held */
    float logit_scale;      /* exp of the learned one: probabilities are softmax(logit_scale * cosine) */
    float logit_bias;       /* SigLIP; 0 elsewhere */
    const char *pixel_contract; /* what is done to a picture, one line; "" without VLM_PART_PIXELS */
} vlm_model_info;

VLM_API const vlm_model_info *vlm_model_get_info(const vlm_model *model);
/* Label i of a classifier, from the config ("LABEL_i" when it has none); NULL past the end. */
VLM_API const char *vlm_model_label(const vlm_model *model, size_t i);

/* A node of the model's structure, visited parents first. depth 0 is the model itself. `kind` is "part",
 * "block", "linear", "norm", "embedding" or "parameter"; shape has n_dims sizes (0 dims for a group). */
typedef struct vlm_node {
    size_t depth;
    const char *name, *kind, *dtype;
    size_t n_dims, shape[4];
    uint64_t n_parameters, n_bytes; /* of the node with all below it */
} vlm_node;
typedef void vlm_visit_function(void *user, const vlm_node *node);
VLM_API void vlm_model_visit(const vlm_model *model, vlm_visit_function *visit, void *user);

/* ---- Vectors --------------------------------------------------------------------------------------- */

enum {
    VLM_EMBED_RAW = 1 << 0 /* as the model gives it; else scaled to unit length */
};

/* n pictures -> vectors [n, embedding_size]. The same bytes for a picture whatever else is in the batch
 * and whatever the number of threads. Needs VLM_PART_VISION and VLM_PART_PIXELS.
 * A bare ViT gives the class token after the last norm. */
VLM_API vlm_status vlm_embed_images(vlm_model *model, const vlm_image *const *images, size_t n, unsigned flags, float *vectors, vlm_error *error);
/* The same from pixels [n, 3, height, width], as vlm_image_pixels gives them. */
VLM_API vlm_status vlm_embed_pixels(vlm_model *model, const float *pixels, size_t n, size_t height, size_t width, unsigned flags, float *vectors, vlm_error *error);
/* n texts, UTF-8, lengths in bytes (NULL: NUL-terminated) -> vectors [n, embedding_size]. A text beyond
 * context_length is cut, its end token kept; cut (NULL allowed) [n] says which. Needs VLM_PART_TEXT and _TOKENIZER. */
VLM_API vlm_status vlm_embed_texts(vlm_model *model, const char *const *texts, const size_t *lengths, size_t n, unsigned flags, float *vectors, bool *cut, vlm_error *error);
/* n sequences of ids, one after the other, sequence i at ids[starts[i]] .. ids[starts[i + 1]] -> vectors. */
VLM_API vlm_status vlm_embed_tokens(vlm_model *model, const int32_t *ids, const size_t *starts, size_t n, unsigned flags, float *vectors, vlm_error *error);
/* n pictures -> logits [n, n_labels] of a classifier. */
VLM_API vlm_status vlm_classify_images(vlm_model *model, const vlm_image *const *images, size_t n, float *logits, vlm_error *error);

/* ---- The steps before --------------------------------------------------------------------------------- */

/* What the model sees of a picture: float32 [3, shape[1], shape[2]], in fresh memory (free()). */
VLM_API vlm_status vlm_image_pixels(const vlm_model *model, const vlm_image *image, float **pixels, size_t shape[3], vlm_error *error);

typedef struct vlm_tokens {
    int32_t *ids; /* [n]; free with vlm_tokens_free */
    size_t n;
} vlm_tokens;

/* A text's ids with the special tokens of the tokenizer's template, neither cut nor padded. */
VLM_API vlm_status vlm_tokenize(const vlm_model *model, const char *text, size_t length, vlm_tokens *tokens, vlm_error *error);
VLM_API void vlm_tokens_free(vlm_tokens *tokens);
/* The token of an id as the vocabulary writes it ("puppy</w>"); NULL when there is none. */
VLM_API const char *vlm_token_text(const vlm_model *model, int32_t id);

#ifdef __cplusplus
}
#endif
#endif
