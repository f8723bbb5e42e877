/* Any bytes as a TIFF file.
 * seeds: tests/golden/pixels/?*.tiff */
#include "picture.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size >= 4 && (memcmp(data, "II", 2) == 0 || memcmp(data, "MM", 2) == 0))
        fuzz_picture(data, size);
    return 0;
}
