/* Networks: what a family's config and checkpoint become. Sizes, weights and the order of norms; the forward
 * passes over them are in pipeline/vit.c and pipeline/text_encoder.c, written once for all families.
 *
 * A network is opened for inference (matrices packed in the asked type, the rest float32) or for training
 * (everything float32 rows with wants_grad). Its parameters keep the names that their checkpoint gave them, so
 * that what is trained is saved under the names it was loaded by. */
#ifndef VLM_MODELS_NETWORK_H
#define VLM_MODELS_NETWORK_H

#include <jansson.h>

#include "base/arena.h"
#include "formats/checkpoint.h"
#include "layers/block.h"
#include "models/qformer.h"

typedef enum vlm_vision_pooling {
    VLM_POOL_CLASS_NORMED, /* ViT and CLIP: the class token after the last norm */
    VLM_POOL_MEAN_NORMED,  /* OpenCLIP's "avg": the mean of the patches, then the last norm */
    VLM_POOL_NORMED_MEAN,  /* OpenCLIP's "avg" with final_ln_after_pool off */
    VLM_POOL_ATTENTION     /* SigLIP: a learned query looks at all patches, then an MLP */
} vlm_vision_pooling;

typedef enum vlm_text_pooling {
    VLM_POOL_END_ID,     /* the first token equal to end_id */
    VLM_POOL_LARGEST_ID, /* CLIP's old way: the first largest id */
    VLM_POOL_LAST,       /* the last token */
    VLM_POOL_FIRST,
    VLM_POOL_MEAN
} vlm_text_pooling;

typedef struct vlm_vision_tower {
    size_t image_height, image_width, patch, width, embedding; /* embedding: of the vectors that come out */
    vlm_linear patches;                                        /* [width, 3 * patch * patch] */
    vlm_tensor *class_token, *positions;                       /* [width] or NULL; [tokens, width] or NULL */
    vlm_norm before, after;                                    /* gain NULL: none */
    vlm_transformer body;
    vlm_vision_pooling pooling;
    vlm_linear projection, classifier; /* weight NULL: none */
    /* SigLIP's attention pooling */
    vlm_tensor *probe; /* [1, width] */
    vlm_linear probe_q, probe_kv, probe_out, probe_up, probe_down;
    vlm_norm probe_norm;
} vlm_vision_tower;

typedef struct vlm_text_tower {
    size_t width, embedding, context_length, vocabulary;
    vlm_tensor *tokens, *positions; /* [vocabulary, width]; [positions, width] */
    size_t position_offset;
    vlm_norm before, after;
    vlm_transformer body;
    vlm_text_pooling pooling;
    int32_t end_id, pad_id;
    bool pad_to_length;   /* SigLIP was trained so */
    vlm_linear projection; /* weight NULL: none */
    vlm_activation projection_activation;
} vlm_text_tower;

/* A language model: a decoder, behind an encoder or alone. */
typedef struct vlm_language {
    size_t width, embedding; /* embedding: of the token table, where it is not the width (OPT-350m) */
    size_t vocabulary, context_length; /* context_length: tokens that positions exist for; SIZE_MAX: no end (T5) */
    vlm_tensor *tokens;      /* [vocabulary, embedding] */
    vlm_tensor *positions;   /* [positions, width] or NULL */
    size_t position_offset;  /* OPT begins at row 2 */
    vlm_linear project_in, project_out; /* OPT-350m; weight NULL: none */
    vlm_norm after;
    vlm_transformer body;
    vlm_linear head;         /* [vocabulary, embedding] */
    float head_scale;        /* of what goes into the head: T5 with a tied one; 1 elsewhere */
    vlm_transformer encoder; /* n_blocks 0: none */
    vlm_norm encoder_after;
    int32_t start_id;        /* that a decoder behind an encoder begins with */
} vlm_language;

/* What makes a picture part of a language model's text, or comparable with one. */
typedef struct vlm_bridge {
    vlm_qformer *qformer;
    vlm_linear language_projection;                /* queries to the language model's rows; weight NULL: none */
    vlm_linear image_projection, text_projection;  /* retrieval: into one space; weight NULL: none */
    vlm_linear matching;                           /* retrieval: [2, width], no and yes */
    int32_t image_id;                              /* the token that stands for a visual one; -1: the older layout */
    bool instructed;                               /* InstructBLIP: the Q-Former reads the question */
} vlm_bridge;

enum { VLM_MAX_PARTS = 3 };

typedef enum vlm_parameter_kind {
    VLM_PARAMETER_MATRIX,    /* of a linear layer inside a block: what Muon may step */
    VLM_PARAMETER_EDGE,      /* any other matrix: patches, projections, heads */
    VLM_PARAMETER_EMBEDDING, /* tables: tokens, positions, class token */
    VLM_PARAMETER_VECTOR,    /* gains and biases: never decayed */
    VLM_PARAMETER_SCALAR     /* the temperature */
} vlm_parameter_kind;

/* A trained tensor and where its values stand in a checkpoint: part i is `rows[i]` rows of it. */
typedef struct vlm_parameter {
    vlm_tensor *tensor;
    vlm_parameter_kind kind;
    size_t n_parts;
    const char *names[VLM_MAX_PARTS];
    size_t rows[VLM_MAX_PARTS];
    size_t n_dims, shape[VLM_MAX_DIMS]; /* of a part, as the checkpoint shapes it ([width, 3, p, p] for patches) */
    bool transposed;                    /* the checkpoint holds [k, n] */
    bool in_vision;                     /* of the vision tower (else of the text tower, or shared) */
} vlm_parameter;

typedef struct vlm_network {
    const char *family, *layout;
    vlm_vision_tower *vision; /* NULL: none was asked for, or the model has none */
    vlm_text_tower *text;
    vlm_language *language;
    vlm_bridge *bridge; /* BLIP-2 and its kin */
    vlm_tensor *logit_scale, *logit_bias; /* [1], the logarithm; NULL: none */
    char **labels;
    size_t n_labels;
    size_t n_parameters_listed, parameters_capacity;
    vlm_parameter *parameters;
    vlm_arena arena; /* everything above and the values that were made */
} vlm_network;

typedef struct vlm_network_options {
    unsigned parts;   /* VLM_PART_VISION, VLM_PART_TEXT */
    vlm_dtype dtype;  /* of the matrices, for inference */
    bool train;       /* float32 rows that want gradients */
    vlm_threads *threads; /* packs in parallel; may be NULL */
    bool (*progress)(void *user, const char *what, uint64_t done, uint64_t total); /* NULL: none; see vlm/vlm.h */
    void *user;
} vlm_network_options;

/* Build what config.json (transformers layout) describes from a checkpoint. weights NULL: for training, all
 * values zero; initialise them with vlm_network_initialise. `where` is what errors call the config. The
 * checkpoint must outlive the network (tables may point into it). */
vlm_status vlm_network_create(vlm_network **network, const json_t *config, const vlm_checkpoint *weights, const vlm_network_options *options, const char *where, vlm_error *error);
/* The same from open_clip's model_cfg ({"embed_dim":..., "vision_cfg":..., "text_cfg":...}). */
vlm_status vlm_network_create_openclip(vlm_network **network, const json_t *model_cfg, bool force_quick_gelu, const vlm_checkpoint *weights, const vlm_network_options *options, const char *where, vlm_error *error);
/* Add sentence-transformers' Dense module behind the text tower: "linear.weight", "linear.bias" of its own
 * checkpoint, which must outlive the network too. */
vlm_status vlm_network_add_dense(vlm_network *network, const json_t *config, const vlm_checkpoint *weights, const vlm_network_options *options, const char *where, vlm_error *error);
void vlm_network_free(vlm_network *network);

/* pipeline/vit.c: pixels [n, 3, height, width] -> raw vectors [n, embedding]. */
vlm_tensor *vlm_vision_forward(vlm_context *context, const vlm_vision_tower *tower, const float *pixels, size_t n, size_t height, size_t width);
/* The same up to the last norm: features [n * tokens, width] of every patch, class token first. */
vlm_tensor *vlm_vision_features(vlm_context *context, const vlm_vision_tower *tower, const float *pixels, size_t n, size_t height, size_t width, vlm_spans *spans);
/* pipeline/text_encoder.c: ids of spans.n texts -> raw vectors [spans.n, embedding]. Tokens after the one
 * that is pooled cannot matter in a causal tower: leave them out. */
vlm_tensor *vlm_text_forward(vlm_context *context, const vlm_text_tower *tower, const int32_t *ids, vlm_spans spans);

/* pipeline/llm.c: ids -> rows [rows, embedding] of the token table. */
vlm_tensor *vlm_language_embed(vlm_context *context, const vlm_language *language, const int32_t *ids, size_t n);
/* Rows of spans.n sequences, each following what its slot of memory->cache holds -> logits of the rows wanted
 * [n_wanted, vocabulary]; wanted counts rows of x. */
vlm_tensor *vlm_language_read(vlm_context *context, const vlm_language *language, vlm_tensor *x, vlm_spans spans, const vlm_memory *memory, const size_t *wanted, size_t n_wanted);
/* Rows through the encoder -> [rows, width]; scratch: a cache of one layer with room for each sequence. */
vlm_tensor *vlm_language_encode(vlm_context *context, const vlm_language *language, vlm_tensor *x, vlm_spans spans, const vlm_memory *scratch);

#endif
