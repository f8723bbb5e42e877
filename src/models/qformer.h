/* The Q-Former: learned queries that look at a picture's features, and what they are projected to. */
#ifndef VLM_MODELS_QFORMER_H
#define VLM_MODELS_QFORMER_H

#include "layers/ops.h"

typedef struct vlm_qformer_block {
    vlm_linear qkv, out; /* self-attention of queries and text together */
    vlm_norm norm;
    vlm_linear cross_q, cross_kv, cross_out; /* of the queries to the picture; weight NULL: not in this block */
    vlm_norm cross_norm;
    vlm_linear query_up, query_down; /* the queries' own MLP */
    vlm_norm query_norm;
    vlm_linear text_up, text_down; /* the text's; weight NULL: the model takes none */
    vlm_norm text_norm;
} vlm_qformer_block;

typedef struct vlm_qformer {
    size_t width, n_heads, n_blocks, hidden, n_queries, image_width; /* image_width: of the features */
    vlm_activation activation;
    vlm_tensor *queries;            /* [n_queries, width] */
    vlm_tensor *tokens, *positions; /* of the text; NULL: the model takes none */
    vlm_norm before;
    vlm_qformer_block *blocks;
} vlm_qformer;

/* pipeline/qformer.c: features [n pictures' rows, image_width] (NULL: text alone) and ids of n texts (NULL: queries alone) -> hidden
 * states, a sequence a picture or text: its n_queries queries first, then its text. Rows of *out_spans, which
 * lives as long as the pass. */
vlm_tensor *vlm_qformer_forward(vlm_context *context, const vlm_qformer *qformer, vlm_tensor *features, vlm_spans feature_spans, const int32_t *ids, vlm_spans text_spans, vlm_spans *out_spans);

#endif
