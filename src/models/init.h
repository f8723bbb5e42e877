/* Starting values of a network that is trained from nothing. */
#ifndef VLM_MODELS_INIT_H
#define VLM_MODELS_INIT_H

#include <stdint.h>

#include "models/network.h"

typedef struct vlm_initialisation {
    uint64_t seed;
    double logit_scale;  /* the logarithm: CLIP's is ln(1 / 0.07) */
    bool sine_positions; /* the patches' position table begins as 2-D sines, not as noise */
} vlm_initialisation;

/* Fill every parameter of a network opened for training. Each draws from its own stream of the seed, so a
 * tower begins the same whatever else the network holds. */
void vlm_network_initialise(vlm_network *network, const vlm_initialisation *options);

#endif
