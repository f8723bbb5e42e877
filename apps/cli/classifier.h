/* A classifier of pictures: a model's own head, or the texts of labels (zero-shot). */
#ifndef VLM_CLI_CLASSIFIER_H
#define VLM_CLI_CLASSIFIER_H

#include "cli/cli.h"
#include "plots/plots.h"

typedef struct vlm_classifier {
    const vlm_model *model; /* borrowed */
    const vlm_texts *labels; /* borrowed; NULL: the model's head */
    size_t n_labels, size;  /* of a picture's values: the vector, or the logits of the head */
    float *texts;           /* [n_labels, size], unit rows; NULL: the head */
    double *probabilities;  /* [n_labels] of the last picture ranked */
    double *scores;         /* [n_labels]: their logits */
    size_t *order;          /* [n_labels]: likeliest first, equal ones in the order of the labels */
} vlm_classifier;

/* These return an exit status; what is wrong has been said. Free with vlm_classifier_free in any case. */
int vlm_classifier_use_head(vlm_classifier *classifier, const vlm_model *model);
int vlm_classifier_use_texts(vlm_classifier *classifier, vlm_model *model, const vlm_texts *labels, const vlm_list *templates);
void vlm_classifier_free(vlm_classifier *classifier);

const char *vlm_classifier_label(const vlm_classifier *classifier, size_t i);
/* What vlm_run_pictures must compute for vlm_classifier_rank. */
unsigned vlm_classifier_flags(const vlm_classifier *classifier);
/* Fill probabilities and order from a picture's values. */
void vlm_classifier_rank(const vlm_classifier *classifier, const float *values);

/* The names of the folders in a folder, in byte order. */
int vlm_list_classes(vlm_texts *classes, const char *folder);
/* Classify folder/class/... for every class, print accuracy, top-5 and confusion, draw it when output is given. */
int vlm_evaluate(vlm_classifier *classifier, vlm_model *model, const vlm_texts *classes, const char *folder, bool json,
                 const char *output);

#endif
