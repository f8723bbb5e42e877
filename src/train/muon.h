/* Muon's direction for one matrix: its momentum made orthogonal by Newton-Schulz. */
#ifndef VLM_TRAIN_MUON_H
#define VLM_TRAIN_MUON_H

#include <stddef.h>

#include "kernels/kernels.h"

/* Bytes of scratch, at a multiple of 64, for a matrix of rows x columns. */
size_t vlm_muon_scratch_bytes(const vlm_kernels *kernels, vlm_dtype type, size_t rows, size_t columns);

/* One step on w [rows, columns]: momentum = b momentum + (1 - b) g with g = scale * grad; the direction is
 * the orthogonal part of b momentum + (1 - b) g (Nesterov), and
 * w = (1 - rate * decay) w - rate * sqrt(max(1, rows / columns)) * direction. */
void vlm_muon_step(const vlm_kernels *kernels, vlm_dtype type, float *w, float *momentum, const float *grad, size_t rows,
                   size_t columns, float scale, float rate, float b, float decay, void *scratch);

#endif
