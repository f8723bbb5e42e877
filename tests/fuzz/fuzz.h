/* What the fuzz targets share. A target is one file fuzz_NAME.c; its seeds are the files that a line "seeds:" of
 * its head names (globs, from the top of the repository) and those in corpus/fuzz_NAME. See run.sh. */
#ifndef TESTS_FUZZ_H
#define TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What must hold whatever the input; a finding when it does not. */
#define CHECK(condition)                                                                 \
    do {                                                                                 \
        if (!(condition)) {                                                              \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition); \
            abort();                                                                     \
        }                                                                                \
    } while (0)

/* Read every byte, so that the sanitizers see one that is not ours. */
static inline void touch(const void *bytes, size_t size)
{
    const volatile unsigned char *b = bytes;
    for (size_t i = 0; i < size; i++)
        (void)b[i];
}

#endif
