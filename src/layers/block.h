/* The one transformer block: ViT, CLIP's towers, DistilBERT, OPT, Llama, GPT-2 and T5 differ in what is filled in. */
#ifndef VLM_LAYERS_BLOCK_H
#define VLM_LAYERS_BLOCK_H

#include "layers/ops.h"

typedef struct vlm_block {
    vlm_norm norm1, norm2;
    vlm_linear qkv; /* [(n_heads + 2 * n_kv_heads) * head, width]: query, key and value stacked */
    vlm_linear out, up, down;
    vlm_linear gate; /* weight NULL: a plain MLP; else down(act(gate(x)) * up(x)) */
    /* attention to an encoder's output, between self-attention and MLP; weight NULL: none */
    vlm_norm norm_cross;
    vlm_linear cross_q, cross_kv, cross_out;
} vlm_block;

typedef struct vlm_transformer {
    size_t width, n_heads, hidden, n_blocks; /* hidden: of the MLP */
    vlm_activation activation;
    bool causal;
    bool post_norm; /* the norms stand after the sums (BERT, OPT-350m), not before attention and MLP */
    /* Of language models alone; zeros are what the others have. */
    size_t n_kv_heads; /* 0: n_heads */
    size_t head;       /* 0: width / n_heads */
    float scale;       /* of the scores; 0: 1 / sqrt(head) */
    size_t window;     /* keys that a row sees at most; 0: all */
    vlm_rope rope;
    vlm_score_bias *bias; /* T5's relative positions */
    const void *bias_user;
    vlm_block *blocks;
} vlm_transformer;

/* What a language model's pass keeps between calls: the cache, and which slot each sequence has in it. */
typedef struct vlm_memory {
    vlm_kv_cache *cache;       /* of the tokens read so far; its lengths are raised by vlm_transformer_read */
    vlm_kv_cache *cross;       /* of the encoder's output, filled by vlm_transformer_fill_cross; NULL: none */
    const size_t *slots;       /* [spans.n], in both */
} vlm_memory;

static inline size_t vlm_transformer_head(const vlm_transformer *body)
{
    return body->head ? body->head : body->width / body->n_heads;
}
static inline size_t vlm_transformer_kv_heads(const vlm_transformer *body)
{
    return body->n_kv_heads ? body->n_kv_heads : body->n_heads;
}

/* x [rows, width] -> [rows, width] through all blocks; each is traced as "<trace>.block.<i>". */
vlm_tensor *vlm_transformer_forward(vlm_context *context, const vlm_transformer *body, vlm_tensor *x, vlm_spans spans, const char *trace);
/* The rows `rows` [spans.n], one of each sequence, of the same -> [spans.n, width]: what is pooled from one row needs
 * no other row of the last block's MLP. rows must live as long as the pass. */
vlm_tensor *vlm_transformer_forward_rows(vlm_context *context, const vlm_transformer *body, vlm_tensor *x, vlm_spans spans, const size_t *rows, const char *trace);

/* The same over a cache: the rows of sequence i are the tokens that follow what its slot holds. In a bidirectional
 * body (T5's encoder) a one-layer cache of length 0 serves as scratch for every block. */
vlm_tensor *vlm_transformer_read(vlm_context *context, const vlm_transformer *body, vlm_tensor *x, vlm_spans spans, const vlm_memory *memory, const char *trace);

/* Keys and values of the encoder's output x for every block that attends to it, into memory->cross. */
void vlm_transformer_fill_cross(vlm_context *context, const vlm_transformer *body, vlm_tensor *x, vlm_spans spans, const vlm_memory *memory);

#endif
