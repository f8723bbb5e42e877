/* xoshiro256**, seeded by splitmix64; distributions in double, so that libm alone decides their last bit. */
#include "base/random.h"

#include <math.h>

static uint64_t splitmix64(uint64_t *x)
{
    uint64_t z = *x += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

void vlm_random_seed(vlm_random *random, uint64_t seed)
{
    for (int i = 0; i < 4; i++)
        random->state[i] = splitmix64(&seed);
}

void vlm_random_seed_stream(vlm_random *random, uint64_t seed, uint64_t stream)
{
    uint64_t mixed = splitmix64(&seed) ^ (stream + 1) * 0xd1342543de82ef95u;
    vlm_random_seed(random, mixed);
}

static uint64_t rotate(uint64_t x, int k)
{
    return x << k | x >> (64 - k);
}

uint64_t vlm_random_u64(vlm_random *random)
{
    uint64_t *s = random->state, result = rotate(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate(s[3], 45);
    return result;
}

uint64_t vlm_random_below(vlm_random *random, uint64_t n)
{
    uint64_t threshold = -n % n, x;
    do
        x = vlm_random_u64(random);
    while (x < threshold);
    return x % n;
}

float vlm_random_uniform(vlm_random *random)
{
    return (float)(vlm_random_u64(random) >> 40) * 0x1p-24f;
}

float vlm_random_normal(vlm_random *random)
{
    double u = ((double)(vlm_random_u64(random) >> 11) + 0.5) * 0x1p-53;
    double v = (double)(vlm_random_u64(random) >> 11) * 0x1p-53;
    return (float)(sqrt(-2 * log(u)) * cos(6.283185307179586 * v));
}

void vlm_random_permutation(vlm_random *random, size_t *order, size_t n)
{
    for (size_t i = 0; i < n; i++)
        order[i] = i;
    for (size_t i = n; i > 1; i--) {
        size_t j = (size_t)vlm_random_below(random, i), swap = order[i - 1];
        order[i - 1] = order[j];
        order[j] = swap;
    }
}
