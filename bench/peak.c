/* What the machine gives at this moment: float32 multiply-adds a second, and bytes read from memory a second,
 * with N threads. Every figure of bench/run.py stands beside these two.
 * Usage: peak THREADS   (built by run.py with -O3 -march=native) */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#if defined(__AVX512F__)
enum { LANES = 16 };
#else
enum { LANES = 8 };
#endif
typedef float vector __attribute__((vector_size(LANES * 4)));
enum { CHAINS = 12 }; /* enough to hide 4 cycles of latency in 2 units */

static const size_t n_bytes = (size_t)256 << 20; /* a thread; beyond any cache */
static pthread_barrier_t barrier;

typedef struct job {
    double flops, bytes, seconds_flops, seconds_bytes;
    float sink;
} job;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void multiply_add(job *j)
{
    vector a[CHAINS], m, c;
    for (int l = 0; l < LANES; l++) {
        m[l] = 0.999f;
        c[l] = 0.001f * (float)l;
    }
    for (int i = 0; i < CHAINS; i++)
        a[i] = c + (float)i;
    double t = now();
    const long rounds = 60000000;
    for (long r = 0; r < rounds; r++)
        for (int i = 0; i < CHAINS; i++)
            a[i] = a[i] * m + c;
    j->seconds_flops = now() - t;
    j->flops = 2.0 * LANES * CHAINS * (double)rounds;
    for (int i = 0; i < CHAINS; i++)
        j->sink += a[i][0];
}

static void read_memory(job *j, const char *memory)
{
    double best = 1e30;
    for (int pass = 0; pass < 3; pass++) {
        const size_t quarter = n_bytes / 4; /* four streams */
        vector s[4] = {{0}};
        double t = now();
        for (size_t i = 0; i < quarter; i += sizeof(vector) * 4)
            for (int k = 0; k < 4; k++)
                for (int l = 0; l < 4; l++)
                    s[l] += *(const vector *)(memory + (size_t)k * quarter + i + (size_t)l * sizeof(vector));
        double seconds = now() - t;
        if (seconds < best)
            best = seconds;
        j->sink += s[0][0] + s[1][0] + s[2][0] + s[3][0];
    }
    j->seconds_bytes = best;
    j->bytes = (double)n_bytes;
}

static void *work(void *argument)
{
    job *j = argument;
    char *memory = mmap(NULL, n_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        exit(1);
    madvise(memory, n_bytes, MADV_HUGEPAGE);
    memset(memory, 0, n_bytes);
    pthread_barrier_wait(&barrier);
    multiply_add(j);
    pthread_barrier_wait(&barrier);
    read_memory(j, memory);
    munmap(memory, n_bytes);
    return NULL;
}

int main(int argc, char **argv)
{
    int n = argc > 1 ? atoi(argv[1]) : 1;
    if (n < 1 || n > 256)
        return 2;
    pthread_t threads[256];
    job jobs[256] = {{0}};
    pthread_barrier_init(&barrier, NULL, (unsigned)n);
    for (int i = 0; i < n; i++)
        if (pthread_create(&threads[i], NULL, work, &jobs[i]))
            return 1;
    double gflops = 0, gbytes = 0;
    float sink = 0;
    for (int i = 0; i < n; i++) {
        pthread_join(threads[i], NULL);
        gflops += jobs[i].flops / jobs[i].seconds_flops * 1e-9;
        gbytes += jobs[i].bytes / jobs[i].seconds_bytes * 1e-9;
        sink += jobs[i].sink;
    }
    printf("{\"threads\": %d, \"gflops\": %.1f, \"gbytes_per_second\": %.1f, \"lanes\": %d, \"sink\": %g}\n", n, gflops, gbytes, LANES, (double)(sink > 1e30f));
    return 0;
}
