/* The loop between a language model and text.c: prompts in, ids out. */
#ifndef VLM_PIPELINE_GENERATE_H
#define VLM_PIPELINE_GENERATE_H

#include "models/network.h"
#include "pipeline/text.h"
#include "tokens/tokenizer.h"
#include "vlm/language.h"

/* What a language model reads: a picture's rows, then ids. */
typedef struct vlm_prompt {
    const float *visual; /* [n_visual, embedding]; NULL: none */
    size_t n_visual;
    int32_t visual_id;   /* that penalties see for each visual row; -1: they see none */
    const int32_t *ids;
    size_t n_ids;
} vlm_prompt;

typedef struct vlm_writer_setup {
    const vlm_language *language;
    const vlm_tokenizer *tokenizer;
    vlm_context *context;
    const vlm_generation *generation;
    vlm_ends ends;
    vlm_dtype cache_type;
    vlm_stream_function *stream; /* NULL: none */
    void *user;
} vlm_writer_setup;

/* Continue every prompt; answers [n] are zeroed ones, and on failure what was written is freed again. Prompts are
 * read and decoded together; what is written for one does not depend on the others. */
vlm_status vlm_write_texts(const vlm_writer_setup *setup, const vlm_prompt *prompts, size_t n, vlm_answer *answers, vlm_error *error);

/* Run a forward pass: once to measure, once to compute. The result lives until the next pass; NULL: it failed. */
typedef vlm_tensor *vlm_forward_function(vlm_context *context, const void *batch);
vlm_tensor *vlm_run_forward(vlm_context *context, vlm_forward_function *forward, const void *batch, vlm_error *error);

#endif
