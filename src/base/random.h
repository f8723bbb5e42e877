/* Random numbers that are the same on every machine: xoshiro256** (Blackman and Vigna), seeded by splitmix64.
 * The state is four words, so that a checkpoint can keep it. */
#ifndef VLM_BASE_RANDOM_H
#define VLM_BASE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

typedef struct vlm_random {
    uint64_t state[4];
} vlm_random;

void vlm_random_seed(vlm_random *random, uint64_t seed);
/* A generator for (seed, stream): the i-th sample of a run has its own, whatever thread makes it. */
void vlm_random_seed_stream(vlm_random *random, uint64_t seed, uint64_t stream);
uint64_t vlm_random_u64(vlm_random *random);
/* 0 <= x < n, without bias; n > 0. */
uint64_t vlm_random_below(vlm_random *random, uint64_t n);
/* [0, 1), 24 bits. */
float vlm_random_uniform(vlm_random *random);
/* Mean 0, standard deviation 1 (Box-Muller, one of the pair). */
float vlm_random_normal(vlm_random *random);
/* A permutation of 0..n-1 into order (Fisher-Yates). */
void vlm_random_permutation(vlm_random *random, size_t *order, size_t n);

#endif
