/* The one transformer block: ViT, CLIP's towers and DistilBERT differ in what is filled in here. */
#ifndef VLM_LAYERS_BLOCK_H
#define VLM_LAYERS_BLOCK_H

#include "layers/ops.h"

typedef struct vlm_block {
    vlm_norm norm1, norm2;
    vlm_linear qkv; /* [3 * width, width]: query, key and value stacked */
    vlm_linear out, up, down;
} vlm_block;

typedef struct vlm_transformer {
    size_t width, n_heads, hidden, n_blocks; /* hidden: of the MLP */
    vlm_activation activation;
    bool causal;
    bool post_norm; /* the norms stand after the sums (BERT), not before attention and MLP */
    vlm_block *blocks;
} vlm_transformer;

/* x [rows, width] -> [rows, width] through all blocks; each is traced as "<trace>.block.<i>". */
vlm_tensor *vlm_transformer_forward(vlm_context *context, const vlm_transformer *body, vlm_tensor *x, vlm_spans spans, const char *trace);

#endif
