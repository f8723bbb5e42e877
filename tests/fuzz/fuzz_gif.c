/* Any bytes as a GIF file.
 * seeds: tests/golden/pixels/?*.gif */
#include "picture.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size >= 6 && memcmp(data, "GIF8", 4) == 0)
        fuzz_picture(data, size);
    return 0;
}
