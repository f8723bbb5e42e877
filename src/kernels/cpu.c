/* CPU tests for isa.def. cpuid says what the CPU has; xgetbv says which registers the system saves when it
 * switches tasks. Both are needed: a virtual machine or an old kernel may hide the second. */
#include "kernels/cpu.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <stdint.h>

enum {
    LEAF1_ECX_FMA = 1 << 12,
    LEAF1_ECX_OSXSAVE = 1 << 27,
    LEAF1_ECX_AVX = 1 << 28,
    LEAF1_ECX_F16C = 1 << 29,
    LEAF7_EBX_AVX2 = 1 << 5,
    LEAF7_EBX_AVX512F = 1 << 16,
    LEAF7_EBX_AVX512DQ = 1 << 17,
    LEAF7_EBX_AVX512BW = 1 << 30,
    LEAF7_ECX_AVX512VNNI = 1 << 11,
    LEAF7_1_EAX_AVX512BF16 = 1 << 5,
    XCR0_YMM = 0x06, /* xmm and the upper halves of ymm */
    XCR0_ZMM = 0xe6  /* and mask registers, upper halves of zmm0-15, zmm16-31 */
};
#define LEAF7_EBX_AVX512VL (1u << 31)

typedef struct cpu_words {
    uint32_t leaf1_ecx, leaf7_ebx, leaf7_ecx, leaf7_1_eax, xcr0;
} cpu_words;

static cpu_words read_cpu(void)
{
    cpu_words words = {0};
    uint32_t eax, ebx, ecx, edx;
    if (!__get_cpuid(1, &eax, &ebx, &words.leaf1_ecx, &edx))
        return words;
    if (__get_cpuid_count(7, 0, &eax, &words.leaf7_ebx, &words.leaf7_ecx, &edx) && eax >= 1)
        __get_cpuid_count(7, 1, &words.leaf7_1_eax, &ebx, &ecx, &edx);
    if (words.leaf1_ecx & LEAF1_ECX_OSXSAVE)
        __asm__("xgetbv" : "=a"(words.xcr0), "=d"(edx) : "c"(0));
    return words;
}

static bool has(uint32_t word, uint32_t bits)
{
    return (word & bits) == bits;
}

bool vlm_cpu_has_avx2(void)
{
    cpu_words words = read_cpu();
    return has(words.leaf1_ecx, LEAF1_ECX_FMA | LEAF1_ECX_AVX | LEAF1_ECX_F16C) &&
           has(words.leaf7_ebx, LEAF7_EBX_AVX2) && has(words.xcr0, XCR0_YMM);
}

bool vlm_cpu_has_avx512(void)
{
    cpu_words words = read_cpu();
    return vlm_cpu_has_avx2() &&
           has(words.leaf7_ebx, LEAF7_EBX_AVX512F | LEAF7_EBX_AVX512DQ | LEAF7_EBX_AVX512BW | LEAF7_EBX_AVX512VL) &&
           has(words.leaf7_ecx, LEAF7_ECX_AVX512VNNI) && has(words.xcr0, XCR0_ZMM);
}

bool vlm_cpu_has_avx512bf16(void)
{
    return vlm_cpu_has_avx512() && has(read_cpu().leaf7_1_eax, LEAF7_1_EAX_AVX512BF16);
}
#endif
