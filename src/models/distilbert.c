/* DistilBERT as a text tower: the multilingual half of sentence-transformers' CLIP. Sanh et al. 2019; Hugging
 * Face modeling_distilbert.py. The mean over the tokens and the dense layer that follow it are modules of
 * their own on the hub; models/sentence.c reads them.
 * Trap: the norms stand after the sums, and the token table is normed before the first block. */
#include "models/bind.h"

static const vlm_block_names block_names = {
    .norm1 = "sa_layer_norm",
    .q = "attention.q_lin",
    .k = "attention.k_lin",
    .v = "attention.v_lin",
    .out = "attention.out_lin",
    .norm2 = "output_layer_norm",
    .up = "ffn.lin1",
    .down = "ffn.lin2",
};

void vlm_build_distilbert(vlm_binder *binder, const json_t *config)
{
    if (vlm_binder_has(binder, "distilbert.embeddings.word_embeddings.weight"))
        binder->prefix = "distilbert.";
    vlm_text_tower *tower = vlm_new_text(binder);
    if (!tower)
        return;
    size_t width = tower->width = vlm_config_size(binder, config, "dim", 768, VLM_MOST_WIDTH);
    tower->vocabulary = vlm_config_size(binder, config, "vocab_size", 30522, VLM_MOST_TOKENS);
    tower->context_length = vlm_config_size(binder, config, "max_position_embeddings", 512, VLM_MOST_TOKENS);
    tower->body = (vlm_transformer){
        .width = width,
        .n_heads = vlm_config_size(binder, config, "n_heads", 12, VLM_MOST_WIDTH),
        .hidden = vlm_config_size(binder, config, "hidden_dim", 3072, VLM_MOST_WIDTH * 4),
        .n_blocks = vlm_config_size(binder, config, "n_layers", 6, VLM_MOST_BLOCKS),
        .activation = vlm_config_activation(binder, config, "activation", VLM_ACT_GELU),
        .post_norm = true,
    };
    vlm_config_check_body(binder, &tower->body, "the config");
    tower->pooling = VLM_POOL_MEAN;
    tower->embedding = width;
    if (vlm_binder_failed(binder))
        return;
    const char *positions = vlm_binder_name(binder, "embeddings.position_embeddings.weight");
    tower->tokens = vlm_bind_table(binder, vlm_binder_name(binder, "embeddings.word_embeddings.weight"), tower->vocabulary, width);
    tower->positions = vlm_bind_values(binder, VLM_PARAMETER_EMBEDDING, 1, &positions, 2, (size_t[]){tower->context_length, width});
    tower->before = vlm_bind_norm(binder, vlm_binder_name(binder, "embeddings.LayerNorm"), width, 1e-12);
    vlm_bind_blocks(binder, &tower->body, "transformer.layer.{}.", &block_names, 1e-12, true);
}
