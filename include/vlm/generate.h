/* How text is generated: the settings of transformers' generate, with its meanings. */
#ifndef VLM_GENERATE_H
#define VLM_GENERATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vlm/error.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum vlm_early_stopping {
    VLM_EARLY_STOPPING_FALSE = 0, /* stop when no running beam is likely to beat the finished ones */
    VLM_EARLY_STOPPING_TRUE,      /* stop as soon as there are as many finished beams as beams */
    VLM_EARLY_STOPPING_NEVER      /* stop when no running beam can beat the finished ones */
} vlm_early_stopping;

/* Start from vlm_generation_defaults(). */
typedef struct vlm_generation {
    size_t max_new_tokens, min_new_tokens;
    size_t n_beams, n_best;     /* n_best <= n_beams; 1 without beams */
    float length_penalty;       /* scores are sums of log-probabilities over length^this */
    vlm_early_stopping early_stopping;
    float repetition_penalty;   /* 1: none (Keskar et al. 2019) */
    size_t no_repeat_ngram;     /* 0: none */
    bool sample;                /* else the likeliest */
    float temperature;          /* > 0 */
    size_t top_k;               /* 0: all */
    float top_p, min_p;         /* 1 and 0: all */
    uint64_t seed;
    const char *const *stop;    /* text that ends the generation, itself left out; NULL: none */
    size_t n_stop;
} vlm_generation;

VLM_API vlm_generation vlm_generation_defaults(void);
/* Settings that make no sense together, or out of range: VLM_ERR_ARGUMENT, with the setting's name. */
VLM_API vlm_status vlm_generation_check(const vlm_generation *generation, vlm_error *error);

#ifdef __cplusplus
}
#endif
#endif
