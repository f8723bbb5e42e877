/* A picture as it is kept between its encoding and the questions about it. */
#ifndef VLM_PIPELINE_ENCODED_H
#define VLM_PIPELINE_ENCODED_H

#include "vlm/language.h"

struct vlm_encoded {
    float *rows; /* [n_rows, width]: the Q-Former's output, or the vision features (InstructBLIP) */
    size_t n_rows, width;
    char *name;     /* NULL: none */
    char model[17]; /* whose: a fingerprint of the weights that made it, in hexadecimal */
};

/* Copies the rows. */
vlm_status vlm_encoded_create(vlm_encoded **encoded, const vlm_model *model, const float *rows, size_t n_rows, size_t width, vlm_error *error);
/* VLM_ERR_MISMATCH when it was made by another model. */
vlm_status vlm_encoded_check(const vlm_encoded *encoded, const vlm_model *model, vlm_error *error);

#endif
