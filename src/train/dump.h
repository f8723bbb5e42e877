/* What a step saw and found, for comparing with another implementation: one safetensors file with, for each
 * step i, "step.<i>.pixels" [n, 3, H, W], "step.<i>.ids" [texts, longest] (padded with -1), "step.<i>.groups",
 * "step.<i>.labels", "step.<i>.loss" and "step.<i>.gradient.<parameter>". */
#ifndef VLM_TRAIN_DUMP_H
#define VLM_TRAIN_DUMP_H

#include "train/batch.h"
#include "formats/checkpoint.h"
#include "models/network.h"

typedef struct vlm_dump {
    vlm_entry *entries;
    size_t n, capacity, n_steps;
    vlm_arena values;
} vlm_dump;

vlm_status vlm_dump_step(vlm_dump *dump, const vlm_network *network, const vlm_batch *batch, size_t height, size_t width, double loss, vlm_error *error);
vlm_status vlm_dump_write(const vlm_dump *dump, const char *path, vlm_error *error);
void vlm_dump_free(vlm_dump *dump);

#endif
