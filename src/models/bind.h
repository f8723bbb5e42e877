/* Binding: a family's config and names meet a checkpoint's tensors and become a network's weights.
 * The first failure is kept and the rest does nothing, so that a family file reads as a list of names.
 * A shape that contradicts the config is an error that names both. */
#ifndef VLM_MODELS_BIND_H
#define VLM_MODELS_BIND_H

#include "models/network.h"

typedef struct vlm_binder {
    vlm_network *network;
    const vlm_checkpoint *weights; /* NULL: zeros, for training from nothing */
    const vlm_network_options *options;
    const char *where; /* the config, for messages */
    const char *prefix; /* before every name ("" or "vit.") */
    bool in_vision;
    uint64_t bytes_read; /* of the checkpoint, for the progress callback */
    vlm_status status;
    vlm_error *error;
} vlm_binder;

static inline bool vlm_binder_failed(const vlm_binder *binder)
{
    return binder->status != VLM_OK;
}
void vlm_binder_fail(vlm_binder *binder, vlm_status status, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* prefix + the formatted name, in the network's arena; "" when the binder has failed. */
const char *vlm_binder_name(vlm_binder *binder, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool vlm_binder_has(const vlm_binder *binder, const char *name);
void *vlm_binder_alloc(vlm_binder *binder, size_t count, size_t size);

/* One matrix [sum of rows, k] from n_parts tensors of the checkpoint, stacked. */
typedef struct vlm_matrix_source {
    vlm_parameter_kind kind;
    size_t n_parts;
    const char *names[VLM_MAX_PARTS];
    size_t rows[VLM_MAX_PARTS], k;
    size_t n_dims, shape[VLM_MAX_DIMS]; /* of a part in the file; n_dims 0: [rows, k] */
    bool transposed;                    /* the file holds [k, rows] */
    size_t first_row;                   /* of a part's tensor, when its shape has more rows than are taken */
} vlm_matrix_source;

/* Packed in options->dtype for inference (EDGE matrices at least in 16 bits), float32 rows for training. */
vlm_tensor *vlm_bind_matrix(vlm_binder *binder, const vlm_matrix_source *source);
/* Float32 values of any shape: gains, biases, positions. n_parts tensors stacked; count is of them all. */
vlm_tensor *vlm_bind_values(vlm_binder *binder, vlm_parameter_kind kind, size_t n_parts, const char *const *names, size_t n_dims, const size_t *shape);
/* A table that is looked up by rows [rows, width]; stays in the file for inference where its type allows. */
vlm_tensor *vlm_bind_table(vlm_binder *binder, const char *name, size_t rows, size_t width);

/* Vectors of different lengths, stacked (biases of q, k and v with fewer key heads). */
vlm_tensor *vlm_bind_unequal(vlm_binder *binder, const char *const *names, const size_t *lengths, size_t n_parts);

/* <name>.weight [n, k] and <name>.bias (when bias). */
vlm_linear vlm_bind_linear(vlm_binder *binder, vlm_parameter_kind kind, const char *name, size_t n, size_t k, bool bias);
/* <name>.weight and <name>.bias [n]; the old names gamma and beta are taken too. */
vlm_norm vlm_bind_norm(vlm_binder *binder, const char *name, size_t n, double eps);
/* RMSNorm: the gain [n] of exactly this name, and no bias. */
vlm_norm vlm_bind_rms(vlm_binder *binder, const char *name, size_t width, double eps);
/* Three tensors <a>, <b>, <c> stacked to one linear layer of 3 n outputs (c NULL: two). */
vlm_linear vlm_bind_stacked(vlm_binder *binder, const char *a, const char *b, const char *c, size_t n, size_t k, bool bias);

/* Names of a block's tensors below a block's own prefix. */
typedef struct vlm_block_names {
    const char *norm1, *q, *k, *v, *out, *norm2, *up, *down;
} vlm_block_names;

/* body->blocks from "<format with the block's number>" + names. Sizes of body are set before. qkv_bias:
 * whether the attention inputs have one. */
void vlm_bind_blocks(vlm_binder *binder, vlm_transformer *body, const char *format, const vlm_block_names *names, double eps, bool qkv_bias);

/* --- configs -------------------------------------------------------------------------------------------- */

/* A size within [1, most], or `fallback` when the key is missing; fails the binder with the key's name. */
size_t vlm_config_size(vlm_binder *binder, const json_t *config, const char *key, size_t fallback, size_t most);
double vlm_config_number(vlm_binder *binder, const json_t *config, const char *key, double fallback);
/* hidden_act: "gelu", "quick_gelu", "gelu_new", "gelu_pytorch_tanh", "relu", "silu", "swish", "tanh". */
vlm_activation vlm_config_activation(vlm_binder *binder, const json_t *config, const char *key, vlm_activation fallback);
/* An integer or [height, width]. */
void vlm_config_pair(vlm_binder *binder, const json_t *config, const char *key, size_t fallback, size_t most, size_t *height, size_t *width);
/* Sizes that every transformer has, checked against each other (heads divide the width). */
void vlm_config_check_body(vlm_binder *binder, const vlm_transformer *body, const char *which);

enum { VLM_MOST_WIDTH = 1 << 16, VLM_MOST_BLOCKS = 1024, VLM_MOST_TOKENS = 1 << 24, VLM_MOST_PIXELS = 1 << 14 };

/* --- families: one function each, called by vlm_network_create through the rows of network.c ------------- */
void vlm_build_clip(vlm_binder *binder, const json_t *config);
void vlm_build_clip_vision(vlm_binder *binder, const json_t *config);
void vlm_build_clip_text(vlm_binder *binder, const json_t *config);
void vlm_build_vit(vlm_binder *binder, const json_t *config);
void vlm_build_siglip(vlm_binder *binder, const json_t *config);
void vlm_build_distilbert(vlm_binder *binder, const json_t *config);
void vlm_build_opt(vlm_binder *binder, const json_t *config);
void vlm_build_llama(vlm_binder *binder, const json_t *config); /* and Mistral */
void vlm_build_gpt2(vlm_binder *binder, const json_t *config);
void vlm_build_t5(vlm_binder *binder, const json_t *config);
void vlm_build_blip2(vlm_binder *binder, const json_t *config); /* and InstructBLIP */
void vlm_build_openclip(vlm_binder *binder, const json_t *model_cfg, bool force_quick_gelu);

/* Shared by CLIP and SigLIP: class token NULL without a name, positions [tokens, width]. */
size_t vlm_vision_tokens(const vlm_vision_tower *tower);
vlm_vision_tower *vlm_new_vision(vlm_binder *binder);
vlm_text_tower *vlm_new_text(vlm_binder *binder);
vlm_language *vlm_new_language(vlm_binder *binder);
/* The head: its own matrix when the checkpoint has it (NULL name: never), else the token table's. */
void vlm_bind_head(vlm_binder *binder, vlm_language *language, const char *name, const char *table);

#endif
