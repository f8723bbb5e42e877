/* Any bytes as a PyTorch checkpoint: a zip archive or an old stream when they look like one, else the pickle of
 * an archive with eight storages. Refused, or every byte of every tensor can be read.
 * seeds: tests/golden/formats/zip.bin tests/golden/formats/stream.pth tests/golden/formats/deflated.pt tests/golden/formats/script.pt */
#include "fuzz.h"

#include "../make_zip.h"
#include "formats/checkpoint.h"
#include "formats/pickle.h"

static void open_bytes(const void *bytes, size_t size)
{
    vlm_checkpoint *checkpoint;
    vlm_error error = {0};
    vlm_status status = vlm_checkpoint_open_memory(&checkpoint, bytes, size, "file", &error);
    CHECK((status == VLM_OK) == !error.message[0] && (status == VLM_OK) == (checkpoint != NULL));
    for (size_t i = 0; status == VLM_OK && i < vlm_checkpoint_count(checkpoint); i++)
        touch(vlm_checkpoint_at(checkpoint, i)->data, vlm_checkpoint_at(checkpoint, i)->bytes);
    vlm_checkpoint_close(checkpoint);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const unsigned char storage[1024];
    if (vlm_pickle_detect(data, size)) {
        open_bytes(data, size);
        return 0;
    }
    archive zip = {0};
    add_member(&zip, "a/data.pkl", data, size);
    for (char key = '0'; key < '8'; key++)
        add_member(&zip, (char[]){'a', '/', 'd', 'a', 't', 'a', '/', key, 0}, storage, sizeof storage);
    end_archive(&zip);
    if (!zip.bytes.failed)
        open_bytes(zip.bytes.data, zip.bytes.length);
    vlm_text_free(&zip.bytes);
    return 0;
}
