/* From logits to tokens: penalties, sampling, beams. No model here: what a language model said goes in, what to
 * read next comes out. */
#ifndef VLM_PIPELINE_TEXT_H
#define VLM_PIPELINE_TEXT_H

#include "base/random.h"
#include "vlm/generate.h"

/* The tokens of one sequence: the prompt's (where the model's penalties see them), then the new ones. */
typedef struct vlm_history {
    int32_t *ids;
    size_t n, capacity, n_prompt;
} vlm_history;

bool vlm_history_push(vlm_history *history, int32_t id);

/* Tokens that end a text. */
typedef struct vlm_ends {
    const int32_t *ids;
    size_t n;
} vlm_ends;
bool vlm_is_end(vlm_ends ends, int32_t id);

/* Penalties in the reference's order (repetition, n-grams, minimum length), in place on one row of logits or
 * log-probabilities [n]. */
void vlm_logits_penalise(float *logits, size_t n, const vlm_generation *generation, const vlm_history *history, vlm_ends ends);

/* The likeliest token; of equals the first. */
int32_t vlm_logits_best(const float *logits, size_t n);
/* One token drawn after temperature, top-k, top-p and min-p; scratch [n]. */
int32_t vlm_logits_sample(const float *logits, size_t n, const vlm_generation *generation, vlm_random *random, float *scratch);

/* ---- beams ---------------------------------------------------------------------------------------------- */

typedef struct vlm_beam {
    vlm_history history;
    float score;
    bool finished; /* of the best ones: a real text, not an empty place */
} vlm_beam;

/* Does a text end here for a reason other than an end token (a stop string)? ids [n] are the new tokens. */
typedef bool vlm_stop_function(void *user, const int32_t *ids, size_t n);

/* The search of one prompt. */
typedef struct vlm_beams {
    const vlm_generation *generation;
    vlm_ends ends;
    vlm_stop_function *stops; /* set after create; NULL: none */
    void *stops_user;
    size_t n, step;    /* beams; tokens generated */
    vlm_beam *running; /* [n], best first */
    vlm_beam *best;    /* [n], best first */
    bool hopeful;      /* a running beam may still become one of the best */
    bool done;
} vlm_beams;

vlm_status vlm_beams_create(vlm_beams *beams, const vlm_generation *generation, vlm_ends ends, const int32_t *prompt, size_t n_prompt, vlm_error *error);
void vlm_beams_free(vlm_beams *beams);
/* Take one step: logits [n, vocabulary] of the running beams' next tokens (overwritten). parents [n] says which
 * beam each new running beam continues; its last token is what the model reads next. */
vlm_status vlm_beams_step(vlm_beams *beams, float *logits, size_t vocabulary, size_t *parents, vlm_error *error);

#endif
