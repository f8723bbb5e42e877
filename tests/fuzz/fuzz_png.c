/* Any bytes as a PNG file.
 * seeds: tests/golden/pixels/?*.png */
#include "picture.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size >= 8 && memcmp(data, "\x89PNG\r\n\x1a\n", 8) == 0)
        fuzz_picture(data, size);
    return 0;
}
