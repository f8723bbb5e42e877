/* Any bytes as a safetensors file: refused, or every byte of every tensor can be read.
 * seeds: tests/golden/formats/plain.safetensors tests/golden/formats/foreign.safetensors */
#include "fuzz.h"

#include "formats/checkpoint.h"
#include "formats/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    vlm_entry_list list = {0};
    vlm_error error = {0};
    vlm_status status = vlm_safetensors_read(&list, data, size, "file", &error);
    CHECK((status == VLM_OK) == !error.message[0]);
    for (size_t i = 0; status == VLM_OK && i < list.count; i++)
        touch(list.items[i].data, list.items[i].bytes);
    vlm_entry_list_free(&list);
    return 0;
}
