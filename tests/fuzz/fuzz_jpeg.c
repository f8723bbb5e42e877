/* Any bytes as a JPEG file.
 * seeds: tests/golden/pixels/?*.jpg */
#include "picture.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size >= 3 && memcmp(data, "\xff\xd8\xff", 3) == 0)
        fuzz_picture(data, size);
    return 0;
}
