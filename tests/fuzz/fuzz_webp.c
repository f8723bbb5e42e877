/* Any bytes as a WebP file.
 * seeds: tests/golden/pixels/?*.webp */
#include "picture.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size >= 12 && memcmp(data, "RIFF", 4) == 0 && memcmp(data + 8, "WEBP", 4) == 0)
        fuzz_picture(data, size);
    return 0;
}
