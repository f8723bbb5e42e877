/* Optimisers: AdamW for everything, or Muon for the blocks' matrices and AdamW for the rest.
 * Gradients of all parameters lie in one block, so that clearing and norms are one sweep; the moments in another. */
#ifndef VLM_TRAIN_OPTIMIZER_H
#define VLM_TRAIN_OPTIMIZER_H

#include "formats/checkpoint.h"
#include "kernels/kernels.h"
#include "models/network.h"

typedef struct vlm_optimizer_options {
    bool muon;                /* for parameters of kind VLM_PARAMETER_MATRIX */
    double beta1, beta2, eps; /* of AdamW */
    double decay;             /* AdamW's, of matrices and tables; never of vectors and scalars */
    double muon_momentum, muon_decay;
    vlm_dtype muon_type;      /* of the products inside Newton-Schulz: VLM_F32 or VLM_BF16 */
} vlm_optimizer_options;

typedef struct vlm_optimizer vlm_optimizer;

/* Make the gradients and moments of a network opened for training; its tensors' grad point into the
 * optimiser from here on. The network must outlive it. */
vlm_status vlm_optimizer_create(vlm_optimizer **optimizer, vlm_network *network, const vlm_optimizer_options *options, vlm_threads *threads, vlm_error *error);
void vlm_optimizer_free(vlm_optimizer *optimizer);

/* Before a backward pass. */
void vlm_optimizer_clear_gradients(vlm_optimizer *optimizer);
/* The norm of all gradients together. The same bits for any number of threads. */
double vlm_optimizer_gradient_norm(vlm_optimizer *optimizer);

/* One step. step counts from 1; gradient_scale multiplies every gradient first (clipping). */
void vlm_optimizer_step(vlm_optimizer *optimizer, size_t step, double rate, double muon_rate, double gradient_scale);

/* The moments as entries of a checkpoint, borrowed until the optimiser is freed: *entries [*n]. */
void vlm_optimizer_entries(const vlm_optimizer *optimizer, const vlm_entry **entries, size_t *n);
/* Take the moments from a checkpoint that holds such entries. VLM_ERR_MISMATCH names what does not fit. */
vlm_status vlm_optimizer_load(vlm_optimizer *optimizer, const vlm_checkpoint *checkpoint, vlm_error *error);

#endif
