/* What this CPU, and the operating system above it, can run. Asked by isa.def, once. */
#ifndef VLM_KERNELS_CPU_H
#define VLM_KERNELS_CPU_H

#include <stdbool.h>

/* AVX2, FMA and F16C, with the ymm registers saved by the system. */
bool vlm_cpu_has_avx2(void);
/* AVX-512 F, BW, DQ, VL and VNNI (Cascade Lake, Ice Lake, Zen 4 and later), with the zmm and mask registers
 * saved by the system. Skylake-X, which has no VNNI, runs the AVX2 kernels. */
bool vlm_cpu_has_avx512(void);
/* The same and BF16 (Cooper Lake, Sapphire Rapids, Zen 4 and later). */
bool vlm_cpu_has_avx512bf16(void);

#endif
