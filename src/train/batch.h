/* A batch: the samples of one step, made by the pool, as the towers take them. */
#ifndef VLM_TRAIN_BATCH_H
#define VLM_TRAIN_BATCH_H

#include "tokens/tokenizer.h"
#include "train/data.h"

typedef enum vlm_positives {
    VLM_POSITIVES_GROUPS,  /* samples that the dataset puts into one group */
    VLM_POSITIVES_CAPTIONS /* and samples whose captions are the same tokens */
} vlm_positives;

typedef struct vlm_batch_options {
    size_t batch, negatives;      /* negatives: further texts, only from datasets that have them */
    size_t context_length;        /* longer texts are cut, their last token kept */
    size_t steps;                 /* of the run, for the samples' progress */
    uint64_t seed;
    double mean[3], std[3];
    vlm_positives positives;
    bool in_order;                /* items 0, 1, 2 ... instead of shuffled: for measuring */
    int32_t pad_id;
    bool pad_to_length;           /* every text has context_length tokens */
} vlm_batch_options;

typedef struct vlm_batch vlm_batch;
struct vlm_batch {
    size_t n, n_texts;  /* n_texts: n captions and then the negatives; 0 without a tokenizer */
    float *pixels;      /* [n, 3, image_height, image_width], normalised */
    int32_t *ids;
    size_t *starts;     /* [n_texts + 1]: text i is ids[starts[i]] .. */
    int32_t *groups;    /* [n_texts] */
    int32_t *labels;    /* [n] */
};

typedef struct vlm_batch_maker vlm_batch_maker;

/* tokenizer NULL: no texts (labels alone). Dataset and tokenizer are borrowed. */
vlm_status vlm_batch_maker_create(vlm_batch_maker **maker, const vlm_dataset *dataset, const vlm_tokenizer *tokenizer, const vlm_batch_options *options, vlm_threads *threads, vlm_error *error);
void vlm_batch_maker_free(vlm_batch_maker *maker);
/* The batch of a step (from 0), borrowed until the next call. The same for any number of threads. */
vlm_status vlm_batch_make(vlm_batch_maker *maker, size_t step, const vlm_batch **batch, vlm_error *error);

#endif
