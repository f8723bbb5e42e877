/* OpenCLIP's tokenizers: its own, on the merges of bpe_simple_vocab_16e6.txt.gz, or a transformers one behind
 * its cleaning. Matches open_clip 3.3 (factory.get_tokenizer, tokenizer.SimpleTokenizer, HFTokenizer).
 * Trap: its two special tokens count in a text only where its word pattern finds them whole ("!<start_of_text>"
 * is punctuation and words), so they are pieces of the model here and not added tokens. And U+0345 falls
 * through its case-insensitive pattern: it is a mark, and its capital a letter. */
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/fail.h"
#include "base/file.h"
#include "base/memory.h"
#include "formats/json.h"
#include "tokens/engine.h"
#include "tokens/scan.h"

static const char merges_name[] = "bpe_simple_vocab_16e6.txt.gz";

enum {
    MERGES = 49152 - 256 - 2, /* of the 262,144 that the file lists */
    MERGES_BYTES = 8 << 20    /* what their text may take */
};

__asm__(".pushsection .rodata\n"
        ".global vlm_openclip_merges\n.hidden vlm_openclip_merges\n"
        ".global vlm_openclip_merges_end\n.hidden vlm_openclip_merges_end\n"
        "vlm_openclip_merges:\n.incbin \"" VLM_TOKENS_DATA "/bpe_simple_vocab_16e6.txt.gz\"\n"
        "vlm_openclip_merges_end:\n.byte 0\n"
        ".popsection\n");
extern const unsigned char vlm_openclip_merges[] __attribute__((visibility("hidden")));
extern const unsigned char vlm_openclip_merges_end[] __attribute__((visibility("hidden")));

static const char *const specials[] = {"<start_of_text>", "<end_of_text>", NULL};

static const char parts[] =
    "{\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(?i:<start_of_text>|<end_of_text>|'s|'t|'re|'ve|'m|'ll|'d|[\\\\p{L}]+|[\\\\p{N}]|[^\\\\s\\\\p{L}\\\\p{N}\\\\u0345]+)\"},"
    "\"behavior\":\"Removed\",\"invert\":true},{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}]},"
    "\"decoder\":{\"type\":\"ByteLevel\"},\"model\":{\"type\":\"BPE\",\"end_of_word_suffix\":\"</w>\"}}";

/* Unpack the first MERGES + 1 lines (the first is a title), each with its newline; no more than needed. */
static vlm_status unpack(vlm_text *out, const unsigned char *data, size_t size, const char *where, vlm_error *error)
{
    z_stream stream = {0};
    size_t lines = 0;
    int code = inflateInit2(&stream, 15 + 32);
    if (code != Z_OK)
        return vlm_fail_memory(error, 1 << 16, where);
    stream.next_in = (Bytef *)(uintptr_t)data;
    stream.avail_in = size < UINT32_MAX ? (uInt)size : UINT32_MAX;
    while (code == Z_OK && lines <= MERGES && out->length < MERGES_BYTES && !out->failed) {
        char block[1 << 16];
        stream.next_out = (Bytef *)block;
        stream.avail_out = sizeof block;
        code = inflate(&stream, Z_NO_FLUSH);
        size_t n = sizeof block - stream.avail_out, used = 0;
        for (; used < n && lines <= MERGES; used++)
            lines += block[used] == '\n';
        vlm_text_append(out, block, used);
    }
    inflateEnd(&stream);
    if (out->failed || code == Z_MEM_ERROR)
        return vlm_fail_memory(error, MERGES_BYTES, where);
    if (lines <= MERGES)
        return vlm_fail(error, VLM_ERR_FORMAT, "%s: %zu lines could be unpacked; %d with merges are wanted", where, lines, MERGES + 1);
    return VLM_OK;
}

/* 256 byte characters in GPT-2's order (the visible ones first), the same ending a word, one token a merge, the
 * specials. */
static void write_vocab(vlm_text *out, const char *merges, size_t length)
{
    size_t id = 0;
    vlm_text_puts(out, "{");
    for (int ending = 0; ending < 2; ending++)
        for (int invisible = 0; invisible < 2; invisible++)
            for (unsigned b = 0; b < 256; b++) {
                uint32_t c = vlm_byte_character((unsigned char)b);
                vlm_text token = {0};
                if ((c >= 256) != invisible)
                    continue;
                vlm_text_put_utf8(&token, c);
                vlm_text_puts(out, id ? ",\"" : "\"");
                vlm_text_put_json(out, token.data ? token.data : "", token.length);
                vlm_text_printf(out, "%s\":%zu", ending ? "</w>" : "", id++);
                out->failed = out->failed || token.failed;
                vlm_text_free(&token);
            }
    for (const char *at = merges, *end = merges + length; at < end;) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        const char *space = stop ? memchr(at, ' ', (size_t)(stop - at)) : NULL;
        if (!space)
            break;
        vlm_text_puts(out, ",\"");
        vlm_text_put_json(out, at, (size_t)(space - at));
        vlm_text_put_json(out, space + 1, (size_t)(stop - space - 1));
        vlm_text_printf(out, "\":%zu", id++);
        at = stop + 1;
    }
    for (size_t i = 0; specials[i]; i++)
        vlm_text_printf(out, ",\"%s\":%zu", specials[i], id++);
    vlm_text_puts(out, "}");
}

static vlm_status build(vlm_tokenizer **out, const unsigned char *data, size_t size, const char *where, vlm_error *error)
{
    vlm_text merges = {0}, vocab = {0};
    json_t *small = NULL;
    vlm_status status = unpack(&merges, data, size, where, error);
    const char *first = status == VLM_OK ? (const char *)memchr(merges.data, '\n', merges.length) + 1 : NULL;
    size_t length = status == VLM_OK ? merges.length - (size_t)(first - merges.data) : 0;
    if (status == VLM_OK && !vlm_utf8_valid(merges.data, merges.length))
        status = vlm_fail(error, VLM_ERR_FORMAT, "%s: its merges are not UTF-8", where);
    if (status == VLM_OK) {
        write_vocab(&vocab, first, length);
        status = vocab.failed ? vlm_fail_memory(error, vocab.length, where) : vlm_json_parse(&small, parts, sizeof parts - 1, where, error);
    }
    if (status == VLM_OK)
        status = vlm_tokenizer_build(out, small, (vlm_bytes){vocab.data, vocab.length}, (vlm_bytes){first, length}, VLM_MERGES_TEXT, where, error);
    json_decref(small);
    vlm_text_free(&merges);
    vlm_text_free(&vocab);
    if (status != VLM_OK)
        return status;
    vlm_tokenizer *tokenizer = *out;
    int64_t start = vlm_tokenizer_id(tokenizer, specials[0], strlen(specials[0])), end = vlm_tokenizer_id(tokenizer, specials[1], strlen(specials[1]));
    tokenizer->model.whole = specials;
    for (size_t i = 0; i < tokenizer->pretokenizers.count; i++)
        if (tokenizer->pretokenizers.items[i].pattern)
            vlm_pattern_set_newest(tokenizer->pretokenizers.items[i].pattern);
    tokenizer->special[VLM_TOKEN_BOS] = start;
    tokenizer->special[VLM_TOKEN_EOS] = end;
    tokenizer->special[VLM_TOKEN_PAD] = 0; /* OpenCLIP pads with zeros */
    tokenizer->decode_suffix = "</w>";
    tokenizer->template.present = true;
    if (!vlm_template_push(&tokenizer->template, false, (uint32_t)start) || !vlm_template_push(&tokenizer->template, true, 0) || !vlm_template_push(&tokenizer->template, false, (uint32_t)end))
        return vlm_fail_memory(error, 64, where);
    return VLM_OK;
}

/* --- the folder's configuration ------------------------------------------------------------------------ */

static vlm_status read_text_config(json_t **root, const json_t **text, const char *folder, vlm_error *error)
{
    char *path = vlm_join_path(folder, "open_clip_config.json");
    vlm_status status = VLM_OK;
    if (!path)
        return vlm_fail_memory(error, strlen(folder), "opening a tokenizer");
    if (vlm_file_exists(path))
        status = vlm_json_read(root, path, error);
    const json_t *model = json_object_get(*root, "model_cfg");
    *text = json_object_get(model ? model : *root, "text_cfg");
    free(path);
    return status;
}

static vlm_status read_clean(vlm_clean *clean, const json_t *options, vlm_clean fallback, const char *folder, vlm_error *error)
{
    static const char *const names[] = {[VLM_CLEAN_WHITESPACE] = "whitespace", [VLM_CLEAN_LOWER] = "lower", [VLM_CLEAN_CANONICALIZE] = "canonicalize"};
    const json_t *value = json_object_get(options, "clean");
    *clean = fallback;
    if (!value)
        return VLM_OK;
    for (size_t i = VLM_CLEAN_WHITESPACE; i <= VLM_CLEAN_CANONICALIZE; i++)
        if (json_is_string(value) && strcmp(json_string_value(value), names[i]) == 0) {
            *clean = (vlm_clean)i;
            return VLM_OK;
        }
    return vlm_fail(error, VLM_ERR_UNSUPPORTED, "%s: open_clip_config.json: tokenizer_kwargs.clean is not whitespace, lower or canonicalize", folder);
}

static vlm_status open_own(vlm_tokenizer **tokenizer, const char *folder, vlm_error *error)
{
    size_t size = (size_t)(vlm_openclip_merges_end - vlm_openclip_merges);
    char *path = folder ? vlm_join_path(folder, merges_name) : NULL;
    vlm_mapping file = {0};
    vlm_status status;
    if (folder && !path)
        return vlm_fail_memory(error, strlen(folder), "opening a tokenizer");
    if (path && vlm_file_exists(path)) {
        status = vlm_map_file(&file, path, error);
        if (status == VLM_OK)
            status = build(tokenizer, file.data, file.size, path, error);
        vlm_unmap(&file);
    } else {
        status = build(tokenizer, vlm_openclip_merges, size, merges_name, error);
    }
    free(path);
    return status;
}

vlm_status vlm_tokenizer_open_openclip(vlm_tokenizer **tokenizer, const char *folder, vlm_error *error)
{
    json_t *root = NULL;
    const json_t *text = NULL;
    vlm_clean clean = VLM_CLEAN_LOWER;
    size_t length = 77;
    *tokenizer = NULL;
    vlm_status status = folder ? read_text_config(&root, &text, folder, error) : VLM_OK;
    const char *name = json_string_value(json_object_get(text, "hf_tokenizer_name"));
    bool hub = name && *name;
    if (status == VLM_OK)
        status = vlm_json_get_size(&length, text, "context_length", 77, "open_clip_config.json", error);
    if (status == VLM_OK)
        status = read_clean(&clean, json_object_get(text, "tokenizer_kwargs"), hub ? VLM_CLEAN_WHITESPACE : VLM_CLEAN_LOWER, folder, error);
    if (status == VLM_OK)
        status = hub ? vlm_tokenizer_open(tokenizer, folder, error) : open_own(tokenizer, folder, error);
    if (status == VLM_OK) {
        (*tokenizer)->clean = clean;
        (*tokenizer)->max_length = length;
    } else {
        vlm_tokenizer_close(*tokenizer);
        *tokenizer = NULL;
    }
    json_decref(root);
    return status;
}
