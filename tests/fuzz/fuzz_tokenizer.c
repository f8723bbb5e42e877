/* A hostile tokenizer.json and a hostile text: the input is the file up to its first byte 0xff, the text behind.
 * Whatever opens must encode the text or say why not, and what it encodes must decode. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tokens/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *stop = size ? memchr(data, 0xff, size) : NULL;
    size_t length = stop ? (size_t)(stop - data) : size;
    const char *text = stop ? (const char *)stop + 1 : "a b";
    size_t text_length = stop ? size - length - 1 : 3;
    vlm_tokenizer *tokenizer;
    vlm_error error = {0};
    if (vlm_tokenizer_parse(&tokenizer, (const char *)data, length, NULL, 0, "fuzz", &error) != VLM_OK) {
        if (!error.message[0] || tokenizer)
            abort();
        return 0;
    }
    vlm_ids ids = {0};
    vlm_text decoded = {0};
    if (vlm_tokenizer_encode(tokenizer, text, text_length, true, &ids, &error) == VLM_OK)
        vlm_tokenizer_decode(tokenizer, ids.data, ids.count, true, &decoded, &error);
    vlm_text_free(&decoded);
    vlm_ids_free(&ids);
    vlm_tokenizer_close(tokenizer);
    return 0;
}
