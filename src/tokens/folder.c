/* A folder's files -> a tokenizer: tokenizer.json, or vocab.json + merges.txt, or vocab.txt, as the class that
 * the folder names would build it.
 * Matches AutoTokenizer of transformers 5.23. Trap: for a class with its own constructor (CLIP, GPT-2, RoBERTa,
 * BERT, Llama, Qwen2) that release takes only the vocabulary, the merges and the post-processor out of
 * tokenizer.json and builds the rest anew from tokenizer_config.json; so does this. */
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/file.h"
#include "base/memory.h"
#include "formats/json.h"
#include "tokens/engine.h"
#include "tokens/scan.h"

typedef enum tokenizer_class { FAMILY_FILE, FAMILY_CLIP, FAMILY_GPT2, FAMILY_ROBERTA, FAMILY_BERT, FAMILY_LLAMA, FAMILY_QWEN2, FAMILY_OTHER } tokenizer_class;

static const char *const special_names[VLM_TOKEN_SPECIALS] = {
    [VLM_TOKEN_BOS] = "bos_token", [VLM_TOKEN_EOS] = "eos_token", [VLM_TOKEN_PAD] = "pad_token", [VLM_TOKEN_UNK] = "unk_token",
    [VLM_TOKEN_SEP] = "sep_token", [VLM_TOKEN_CLS] = "cls_token", [VLM_TOKEN_MASK] = "mask_token",
};

/* The order in which the reference adds them to a vocabulary that lacks them. */
static const vlm_special special_order[VLM_TOKEN_SPECIALS] = {VLM_TOKEN_BOS, VLM_TOKEN_EOS, VLM_TOKEN_UNK, VLM_TOKEN_SEP, VLM_TOKEN_PAD, VLM_TOKEN_CLS, VLM_TOKEN_MASK};

/* Each class's default special tokens: bos, eos, pad, unk, sep, cls, mask. */
static const char *const family_specials[][VLM_TOKEN_SPECIALS] = {
    [FAMILY_CLIP] = {"<|startoftext|>", "<|endoftext|>", "<|endoftext|>", "<|endoftext|>", NULL, NULL, NULL},
    [FAMILY_GPT2] = {"<|endoftext|>", "<|endoftext|>", NULL, "<|endoftext|>", NULL, NULL, NULL},
    [FAMILY_ROBERTA] = {"<s>", "</s>", "<pad>", "<unk>", "</s>", "<s>", "<mask>"},
    [FAMILY_BERT] = {NULL, NULL, "[PAD]", "[UNK]", "[SEP]", "[CLS]", "[MASK]"},
    [FAMILY_LLAMA] = {"<s>", "</s>", NULL, "<unk>", NULL, NULL, NULL},
    [FAMILY_QWEN2] = {NULL, "<|endoftext|>", "<|endoftext|>", "<|endoftext|>", NULL, NULL, NULL},
    [FAMILY_FILE] = {NULL, NULL, NULL, NULL, NULL, NULL, NULL},
    [FAMILY_OTHER] = {NULL, NULL, NULL, NULL, NULL, NULL, NULL},
};

/* What the classes' constructors put around vocabulary and merges. %s: true or false; Llama's: the scheme. */
static const char clip_parts[] =
    "{\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFC\"},{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"\\\\s+\"},\"content\":\" \"},{\"type\":\"Lowercase\"}]},"
    "\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"Regex\":\"<\\\\|startoftext\\\\|>|<\\\\|endoftext\\\\|>|'s|'t|'re|'ve|'m|'ll|'d|[\\\\p{L}]+|[\\\\p{N}]|[^\\\\s\\\\p{L}\\\\p{N}]+\"},"
    "\"behavior\":\"Removed\",\"invert\":true},{\"type\":\"ByteLevel\",\"add_prefix_space\":false}]},"
    "\"decoder\":{\"type\":\"ByteLevel\"},\"model\":{\"type\":\"BPE\",\"end_of_word_suffix\":\"</w>\"}}";
static const char gpt2_parts[] =
    "{\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":%s},\"decoder\":{\"type\":\"ByteLevel\"},\"model\":{\"type\":\"BPE\"}}";
static const char bert_parts[] =
    "{\"normalizer\":{\"type\":\"BertNormalizer\",\"clean_text\":true,\"handle_chinese_chars\":%s,\"lowercase\":%s%s},"
    "\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"},\"decoder\":{\"type\":\"WordPiece\",\"prefix\":\"##\",\"cleanup\":true},\"model\":{\"type\":\"WordPiece\"}}";
static const char llama_parts[] =
    "{\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"\\u2581\",\"prepend_scheme\":\"%s\",\"split\":false},"
    "\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\",\"pattern\":{\"String\":\"\\u2581\"},\"content\":\" \"},{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"}%s]},"
    "\"model\":{\"type\":\"BPE\",\"fuse_unk\":true,\"byte_fallback\":true}}";
static const char qwen2_parts[] =
    "{\"normalizer\":{\"type\":\"NFC\"},\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}| ?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+\"},"
    "\"behavior\":\"Isolated\",\"invert\":false},{\"type\":\"ByteLevel\",\"add_prefix_space\":%s,\"use_regex\":false}]},\"decoder\":{\"type\":\"ByteLevel\"},\"model\":{\"type\":\"BPE\"}}";

/* --- which class -------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    tokenizer_class family;
} classes[] = {
    {"CLIPTokenizer", FAMILY_CLIP}, {"GPT2Tokenizer", FAMILY_GPT2}, {"RobertaTokenizer", FAMILY_ROBERTA}, {"BartTokenizer", FAMILY_ROBERTA},
    {"LEDTokenizer", FAMILY_ROBERTA}, {"LongformerTokenizer", FAMILY_ROBERTA}, {"MvpTokenizer", FAMILY_ROBERTA}, {"BertTokenizer", FAMILY_BERT},
    {"ConvBertTokenizer", FAMILY_BERT}, {"DistilBertTokenizer", FAMILY_BERT}, {"DPRContextEncoderTokenizer", FAMILY_BERT}, {"DPRQuestionEncoderTokenizer", FAMILY_BERT},
    {"DPRReaderTokenizer", FAMILY_BERT}, {"ElectraTokenizer", FAMILY_BERT}, {"LayoutLMTokenizer", FAMILY_BERT}, {"LxmertTokenizer", FAMILY_BERT},
    {"MobileBertTokenizer", FAMILY_BERT}, {"SqueezeBertTokenizer", FAMILY_BERT}, {"LlamaTokenizer", FAMILY_LLAMA}, {"Qwen2Tokenizer", FAMILY_QWEN2},
    {"PreTrainedTokenizer", FAMILY_FILE}, {"TokenizersBackend", FAMILY_FILE}, {"PythonBackend", FAMILY_FILE},
};

/* The class that goes with a model_type; space-separated. */
static const struct {
    tokenizer_class family;
    const char *model_types;
} registered[] = {
    {FAMILY_CLIP, " aimv2 clip clip_text_model clipseg groupvit omdet-turbo oneformer owlv2 owlvit sam3 sam3_video xclip "},
    {FAMILY_GPT2, " blip-2 codegen dbrx emu3 gpt2 gpt_neo gptj hyperclovax_vision_v2 instructblip instructblipvideo jais2 opt phi starcoder2 "},
    {FAMILY_ROBERTA, " bart bridgetower clap data2vec-text ibert lilt longformer mega mra roberta roberta-prelayernorm "},
    {FAMILY_BERT, " align bark bert blip bros chinese_clip convbert distilbert electra ernie flava git grounding-dino layoutlm megatron-bert mm-grounding-dino nezha nomic_bert qdqbert realm retribert squeezebert tvp vilt visual_bert "},
    {FAMILY_LLAMA, " idefics idefics2 "},
    {FAMILY_QWEN2, " audioflamingo3 colqwen2 cosmos3_omni dots3_note fun_asr_nano hunyuan_vl internvl moss_transcribe_diarize ovis2 qianfan_ocr qwen2 qwen2_5_omni qwen2_5_vl qwen2_audio qwen2_moe qwen2_vl qwen3 qwen3_asr qwen3_moe qwen3_next qwen3_omni_moe qwen3_vl qwen3_vl_moe "},
    {FAMILY_FILE, " EvollaModel arctic aria beam bigbird_pegasus camembertv2-base canary chatlm cohere_asr ernie4_5 ernie4_5_moe flex_olmo fuyu glm glm4 glm4_moe glm4_moe_lite glm4v glm4v_moe glm_image glmasr got_ocr2 gpt_bigcode gradium_phonon_tts granite granitemoe granitemoehybrid granitemoeshared h2ovl_chat hyperclovax hyperclovax_vlm internlm2 internlm3 iquestcoder jamba kimi_k25 kimi_linear kosmos-2 llava llava_next mimo_v2_flash minicpm3 minicpm_ocr minicpmv minicpmv4_6 minicpmv4_7 minimax_m2 ministral ministral3 mistral mistral3 mistral_large4 mixtral modernbert modernbert-decoder molmo molmo2 nemo_speechlm nemotron nvfp4 nystromformer olmo2 olmo3 olmo_hybrid opencua openvla paddleocr_vl pegasus_x persimmon phi3 phi3_v phimoe pix2struct pixtral pocket_tts smolvlm stablelm step3_vl umt5 vipllava voxtral voxtral_realtime xlm-roberta-xl "},
};

/* Folders whose tokenizer_class is known to be wrong: the model_type decides. */
static const char distrusted[] = " hyperclovax_vision_v2 qwen2 ";

static bool has_word(const char *words, const char *word)
{
    char spaced[128];
    size_t n = strlen(word);
    if (n + 3 > sizeof spaced || strchr(word, ' '))
        return false;
    spaced[0] = ' ';
    memcpy(spaced + 1, word, n);
    memcpy(spaced + 1 + n, " ", 2);
    return strstr(words, spaced) != NULL;
}

/* FAMILY_OTHER: a class of the reference's that is not built here. */
static tokenizer_class family_of_class(const char *name)
{
    size_t n = strlen(name);
    if (n > 4 && strcmp(name + n - 4, "Fast") == 0)
        n -= 4;
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++)
        if (strlen(classes[i].name) == n && memcmp(classes[i].name, name, n) == 0)
            return classes[i].family;
    return FAMILY_OTHER;
}

static tokenizer_class family_of_type(const char *model_type)
{
    for (size_t i = 0; i < sizeof registered / sizeof *registered; i++)
        if (has_word(registered[i].model_types, model_type))
            return registered[i].family;
    return FAMILY_OTHER;
}

static bool has_byte_level(const json_t *part)
{
    const char *type = json_string_value(json_object_get(part, "type"));
    if (type && strcmp(type, "ByteLevel") == 0)
        return true;
    const json_t *items = json_object_get(part, "pretokenizers");
    if (!items)
        items = json_object_get(part, "decoders");
    for (size_t i = 0; i < json_array_size(items); i++) {
        type = json_string_value(json_object_get(json_array_get(items, i), "type"));
        if (type && strcmp(type, "ByteLevel") == 0)
            return true;
    }
    return false;
}

static tokenizer_class choose_family(const json_t *config, const json_t *model_config, const json_t *small)
{
    const char *hub = json_string_value(json_object_get(config, "tokenizer_class"));
    const char *type = json_string_value(json_object_get(model_config, "model_type"));
    if (!hub)
        hub = json_string_value(json_object_get(model_config, "tokenizer_class"));
    tokenizer_class by_type = type ? family_of_type(type) : FAMILY_OTHER;
    if (!hub)
        return by_type;
    tokenizer_class by_class = family_of_class(hub);
    if (by_class == FAMILY_LLAMA && small && (has_byte_level(json_object_get(small, "pre_tokenizer")) || has_byte_level(json_object_get(small, "decoder"))))
        return FAMILY_FILE;
    if (type && by_type == FAMILY_FILE)
        return FAMILY_FILE;
    if (type && by_type != by_class && has_word(distrusted, type))
        return by_type;
    return by_class;
}

/* --- what the files say ------------------------------------------------------------------------------- */

/* All of a folder that matters, read. */
typedef struct sources {
    const char *folder;
    json_t *config;       /* tokenizer_config.json with special_tokens_map.json merged in; an object always */
    json_t *model_config; /* config.json or NULL */
    json_t *added;        /* added_tokens.json or NULL */
    json_t *small;        /* tokenizer.json without vocab and merges, or NULL */
    vlm_mapping tokenizer_file, vocab_file, merges_file;
    vlm_text vocab_json;  /* vocab.txt as JSON */
    vlm_bytes vocab, merges;
    vlm_merges_form form;
    char *where;          /* the file that errors name */
} sources;

static void sources_free(sources *s)
{
    json_decref(s->config);
    json_decref(s->model_config);
    json_decref(s->added);
    json_decref(s->small);
    vlm_unmap(&s->tokenizer_file);
    vlm_unmap(&s->vocab_file);
    vlm_unmap(&s->merges_file);
    vlm_text_free(&s->vocab_json);
    free(s->where);
}

static vlm_status join(char **path, const char *folder, const char *name, vlm_error *error)
{
    *path = vlm_join_path(folder, name);
    return *path ? VLM_OK : vlm_fail_memory(error, strlen(folder), "opening a tokenizer");
}

/* An object from a file that may be missing. */
static vlm_status read_optional(json_t **out, const char *folder, const char *name, vlm_error *error)
{
    char *path;
    vlm_status status = join(&path, folder, name, error);
    if (status == VLM_OK && vlm_file_exists(path)) {
        status = vlm_json_read(out, path, error);
        if (status == VLM_OK && !json_is_object(*out))
            status = vlm_fail(error, VLM_ERR_FORMAT, "%s: an object is wanted", path);
    }
    free(path);
    return status;
}

static vlm_status map_optional(vlm_mapping *out, const char *folder, const char *name, bool *found, vlm_error *error)
{
    char *path;
    vlm_status status = join(&path, folder, name, error);
    *found = status == VLM_OK && vlm_file_exists(path);
    if (*found)
        status = vlm_map_file(out, path, error);
    free(path);
    return status;
}

/* special_tokens_map.json counts only where tokenizer_config.json has no added_tokens_decoder, and then more
 * than tokenizer_config.json. */
static vlm_status merge_special_map(sources *s, vlm_error *error)
{
    json_t *map = NULL;
    if (json_object_get(s->config, "added_tokens_decoder"))
        return VLM_OK;
    vlm_status status = read_optional(&map, s->folder, "special_tokens_map.json", error);
    if (status == VLM_OK && map && json_object_update(s->config, map) != 0)
        status = vlm_fail_memory(error, 64, "opening a tokenizer");
    json_decref(map);
    if (status == VLM_OK)
        status = read_optional(&s->added, s->folder, "added_tokens.json", error);
    return status;
}

/* vocab.txt: a token a line, white space at the line's end not part of it; its number is its line. */
static vlm_status vocab_text(vlm_text *out, const vlm_mapping *file, const char *where, vlm_error *error)
{
    const char *at = (const char *)file->data, *end = at + file->size;
    if (!vlm_utf8_valid(at ? at : "", file->size))
        return vlm_fail(error, VLM_ERR_FORMAT, "%s: not UTF-8", where);
    vlm_text_puts(out, "{");
    for (size_t line = 0; at < end; line++) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        const char *next = stop ? stop + 1 : end;
        size_t n = (size_t)((stop ? stop : end) - at);
        while (n > 0 && (at[n - 1] == ' ' || (at[n - 1] >= 9 && at[n - 1] <= 13)))
            n--;
        vlm_text_puts(out, line ? ",\"" : "\"");
        vlm_text_put_json(out, at, n);
        vlm_text_printf(out, "\":%zu", line);
        at = next;
    }
    vlm_text_puts(out, "}");
    return out->failed ? vlm_fail_memory(error, file->size, where) : VLM_OK;
}

static vlm_status read_tokenizer_file(sources *s, vlm_error *error)
{
    return vlm_tokenizer_cut(&s->small, &s->vocab, &s->merges, s->tokenizer_file.size ? (const char *)s->tokenizer_file.data : "", s->tokenizer_file.size, s->where, error);
}

/* vocab.json and merges.txt, or vocab.txt, as the family has them. */
static vlm_status read_bare(sources *s, tokenizer_class family, vlm_error *error)
{
    bool vocab = false, merges = false, words = false;
    vlm_mapping text = {0};
    vlm_status status = map_optional(&s->vocab_file, s->folder, "vocab.json", &vocab, error);
    if (status == VLM_OK)
        status = map_optional(&s->merges_file, s->folder, "merges.txt", &merges, error);
    if (status == VLM_OK)
        status = map_optional(&text, s->folder, "vocab.txt", &words, error);
    bool wants_words = family == FAMILY_BERT;
    bool wants_merges = family == FAMILY_CLIP || family == FAMILY_GPT2 || family == FAMILY_ROBERTA || family == FAMILY_QWEN2;
    if (status == VLM_OK && !(vocab || words))
        status = vlm_fail(error, VLM_ERR_IO, "%s: no tokenizer: looked for tokenizer.json, vocab.json with merges.txt, and vocab.txt", s->folder);
    else if (status == VLM_OK && !wants_words && !wants_merges)
        status = vlm_fail(error, VLM_ERR_UNSUPPORTED, "%s: %s without a tokenizer.json, and neither tokenizer_class of tokenizer_config.json nor model_type of config.json names a class that is built from it (CLIP, GPT2, Roberta, Qwen2 or Bert)", s->folder, vocab ? "vocab.json" : "vocab.txt");
    else if (status == VLM_OK && wants_words && !words)
        status = vlm_fail(error, VLM_ERR_IO, "%s: no vocab.txt or tokenizer.json, which a BERT tokenizer is made from", s->folder);
    else if (status == VLM_OK && wants_merges && !(vocab && merges))
        status = vlm_fail(error, VLM_ERR_IO, "%s: no %s, which belongs to %s", s->folder, vocab ? "merges.txt" : "vocab.json", vocab ? "vocab.json" : "merges.txt");
    if (status == VLM_OK && wants_words) {
        status = vocab_text(&s->vocab_json, &text, s->where, error);
        s->vocab = (vlm_bytes){s->vocab_json.data, s->vocab_json.length};
    } else if (status == VLM_OK) {
        s->vocab = (vlm_bytes){s->vocab_file.size ? (const char *)s->vocab_file.data : "", s->vocab_file.size};
        s->merges = (vlm_bytes){s->merges_file.size ? (const char *)s->merges_file.data : "", s->merges_file.size};
        s->form = VLM_MERGES_TEXT;
    }
    vlm_unmap(&text);
    return status;
}

/* --- what the class makes of it ------------------------------------------------------------------------ */

static bool option(const json_t *config, const char *key, bool fallback)
{
    const json_t *value = json_object_get(config, key);
    return json_is_boolean(value) ? json_is_true(value) : fallback;
}

static const char *truth(bool value)
{
    return value ? "true" : "false";
}

/* A special token of the configuration: its string, from a string or {"content": ...}; the class's default
 * when the key is missing, NULL when it is null. */
static const char *special_content(const json_t *config, tokenizer_class family, vlm_special which, size_t *length)
{
    const json_t *value = json_object_get(config, special_names[which]);
    if (json_is_object(value))
        value = json_object_get(value, "content");
    const char *content = json_is_string(value) ? json_string_value(value) : value ? NULL : family_specials[family][which];
    *length = json_is_string(value) ? json_string_length(value) : content ? strlen(content) : 0;
    return content;
}

static vlm_status write_parts(vlm_text *out, tokenizer_class family, const json_t *config)
{
    const json_t *accents = json_object_get(config, "strip_accents"), *space = json_object_get(config, "add_prefix_space");
    bool prefix = !json_is_false(space);
    switch (family) {
    case FAMILY_CLIP:
        vlm_text_puts(out, clip_parts);
        break;
    case FAMILY_GPT2:
    case FAMILY_ROBERTA:
        vlm_text_printf(out, gpt2_parts, truth(json_is_true(space)));
        break;
    case FAMILY_BERT:
        vlm_text_printf(out, bert_parts, truth(option(config, "tokenize_chinese_chars", true)), truth(option(config, "do_lower_case", true)), json_is_boolean(accents) ? json_is_true(accents) ? ",\"strip_accents\":true" : ",\"strip_accents\":false" : "");
        break;
    case FAMILY_LLAMA:
        vlm_text_printf(out, llama_parts, !prefix ? "never" : json_is_true(json_object_get(config, "legacy")) ? "always" : "first", prefix ? ",{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}" : "");
        break;
    case FAMILY_QWEN2:
        vlm_text_printf(out, qwen2_parts, truth(json_is_true(space)));
        break;
    case FAMILY_FILE:
    case FAMILY_OTHER:
        break;
    }
    return out->failed ? VLM_ERR_MEMORY : VLM_OK;
}

/* Replace small by what the class's constructor would make, but for the post-processor. */
static vlm_status rebuild_parts(sources *s, tokenizer_class family, vlm_error *error)
{
    vlm_text text = {0};
    json_t *parts = NULL;
    vlm_status status = write_parts(&text, family, s->config);
    if (status != VLM_OK)
        status = vlm_fail_memory(error, text.length, s->where);
    else
        status = vlm_json_parse(&parts, text.data, text.length, s->where, error);
    size_t length;
    const char *unk = special_content(s->config, family, VLM_TOKEN_UNK, &length);
    json_t *processor = json_object_get(s->small, "post_processor");
    bool ok = true;
    if (status == VLM_OK && unk && (family == FAMILY_CLIP || family == FAMILY_BERT))
        ok = json_object_set_new(json_object_get(parts, "model"), "unk_token", json_stringn(unk, length)) == 0;
    if (status == VLM_OK && ok && processor && family != FAMILY_CLIP && family != FAMILY_ROBERTA && family != FAMILY_BERT)
        ok = json_object_set(parts, "post_processor", processor) == 0;
    /* tokenizer.json's added tokens count where tokenizer_config.json has none of its own. */
    json_t *added = json_object_get(s->small, "added_tokens");
    if (status == VLM_OK && ok && added && !json_object_get(s->config, "added_tokens_decoder"))
        ok = json_object_set(parts, "added_tokens", added) == 0;
    if (status == VLM_OK && !ok)
        status = vlm_fail_memory(error, text.length, s->where);
    vlm_text_free(&text);
    if (status != VLM_OK) {
        json_decref(parts);
        return status;
    }
    json_decref(s->small);
    s->small = parts;
    return VLM_OK;
}

/* --- added tokens of the configuration ----------------------------------------------------------------- */

static bool is_named_special(const json_t *config, tokenizer_class family, const char *content, size_t length)
{
    for (int which = 0; which < VLM_TOKEN_SPECIALS; which++) {
        size_t n;
        const char *special = special_content(config, family, (vlm_special)which, &n);
        if (special && n == length && memcmp(special, content, n) == 0)
            return true;
    }
    return false;
}

/* A string (a special token) or {"content": ..., "lstrip": ...}. */
static vlm_status add_value(vlm_tokenizer *tokenizer, const json_t *value, bool special, vlm_error *error)
{
    const json_t *content = json_is_object(value) ? json_object_get(value, "content") : value;
    if (!json_is_string(content))
        return VLM_OK;
    bool is_special = special || !json_is_object(value) || json_is_true(json_object_get(value, "special"));
    vlm_added_token token = {
        .content = (char *)(uintptr_t)json_string_value(content), /* only read */
        .length = json_string_length(content),
        .single_word = json_is_true(json_object_get(value, "single_word")),
        .lstrip = json_is_true(json_object_get(value, "lstrip")),
        .rstrip = json_is_true(json_object_get(value, "rstrip")),
        .normalized = option(value, "normalized", !is_special),
        .special = is_special,
    };
    return vlm_added_add(tokenizer, &token, error);
}

typedef struct numbered {
    long long id;
    const char *content; /* of added_tokens.json */
    const json_t *value; /* of added_tokens_decoder */
} numbered;

static int compare_numbered(const void *a, const void *b)
{
    const numbered *x = a, *y = b;
    return x->id < y->id ? -1 : x->id > y->id;
}

/* added_tokens_decoder {"id": {...}}, else added_tokens.json {"token": id}, by rising id. */
static vlm_status add_numbered(vlm_tokenizer *tokenizer, const sources *s, tokenizer_class family, vlm_error *error)
{
    json_t *decoder = json_object_get(s->config, "added_tokens_decoder");
    json_t *source = decoder ? decoder : s->added;
    size_t n = json_object_size(source), count = 0;
    if (n == 0)
        return VLM_OK;
    numbered *list = vlm_alloc(n, sizeof *list);
    if (!list)
        return vlm_fail_memory(error, n * sizeof *list, s->where);
    const char *key;
    json_t *value;
    json_object_foreach(source, key, value)
    {
        if (decoder)
            list[count++] = (numbered){strtoll(key, NULL, 10), NULL, value};
        else
            list[count++] = (numbered){json_integer_value(value), key, value};
    }
    qsort(list, count, sizeof *list, compare_numbered);
    vlm_status status = VLM_OK;
    for (size_t i = 0; i < count && status == VLM_OK; i++) {
        const json_t *content = json_object_get(list[i].value, "content");
        if (list[i].content) {
            size_t length = strlen(list[i].content);
            bool special = is_named_special(s->config, family, list[i].content, length);
            vlm_added_token token = {.content = (char *)(uintptr_t)list[i].content, .length = length, .normalized = !special, .special = special};
            status = vlm_added_add(tokenizer, &token, error);
        } else {
            bool special = json_is_string(content) && is_named_special(s->config, family, json_string_value(content), json_string_length(content));
            status = add_value(tokenizer, list[i].value, special, error);
        }
    }
    free(list);
    return status;
}

/* The reference's tokens_to_add: a value is left out when its content was an added token before, or when the
 * same value (not only the same content) is in the list. Later ones change what earlier ones said. */
typedef struct additions {
    vlm_tokenizer *tokenizer;
    size_t n_before;
    json_t *list;
    vlm_error *error;
} additions;

static vlm_status add_if_new(additions *all, json_t *value)
{
    const json_t *content = json_is_object(value) ? json_object_get(value, "content") : value;
    if (!json_is_string(content))
        return VLM_OK;
    for (size_t i = 0; i < all->n_before; i++) {
        const vlm_added_token *old = &all->tokenizer->added.tokens[i];
        if (old->length == json_string_length(content) && memcmp(old->content, json_string_value(content), old->length) == 0)
            return VLM_OK;
    }
    for (size_t i = 0; i < json_array_size(all->list); i++)
        if (json_equal(json_array_get(all->list, i), value))
            return VLM_OK;
    if (json_array_append(all->list, value) != 0)
        return vlm_fail_memory(all->error, 64, "opening a tokenizer");
    return add_value(all->tokenizer, value, true, all->error);
}

static vlm_status add_named(additions *all, const json_t *config, tokenizer_class family)
{
    vlm_status status = VLM_OK;
    for (size_t i = 0; i < VLM_TOKEN_SPECIALS && status == VLM_OK; i++) {
        json_t *value = json_object_get(config, special_names[special_order[i]]);
        const char *fallback = family_specials[family][special_order[i]];
        if (value) {
            status = add_if_new(all, value);
        } else if (fallback) {
            json_t *string = json_string(fallback);
            status = string ? add_if_new(all, string) : vlm_fail_memory(all->error, 64, "opening a tokenizer");
            json_decref(string);
        }
    }
    return status;
}

static bool is_other_special(const char *key)
{
    size_t n = strlen(key);
    for (size_t i = 0; i < VLM_TOKEN_SPECIALS; i++)
        if (strcmp(key, special_names[i]) == 0)
            return false;
    return n > 6 && strcmp(key + n - 6, "_token") == 0;
}

/* Special tokens by name, the class's defaults, other "..._token" keys, then the lists of extra ones. */
static vlm_status add_specials(vlm_tokenizer *tokenizer, const sources *s, tokenizer_class family, vlm_error *error)
{
    additions all = {tokenizer, tokenizer->added.count, json_array(), error};
    vlm_status status = all.list ? add_named(&all, s->config, family) : vlm_fail_memory(error, 64, "opening a tokenizer");
    const char *key;
    json_t *value;
    json_object_foreach(s->config, key, value)
    {
        if (status == VLM_OK && is_other_special(key))
            status = add_if_new(&all, value);
    }
    json_t *extra = json_object_get(s->config, "extra_special_tokens");
    if (!json_array_size(extra) && !json_object_size(extra))
        extra = json_object_get(s->config, "additional_special_tokens");
    for (size_t i = 0; i < json_array_size(extra) && status == VLM_OK; i++)
        status = add_if_new(&all, json_array_get(extra, i));
    if (json_is_object(extra))
        json_object_foreach(extra, key, value)
        {
            if (status == VLM_OK)
                status = add_if_new(&all, value);
        }
    json_decref(all.list);
    return status;
}

static void resolve_specials(vlm_tokenizer *tokenizer, const json_t *config, tokenizer_class family)
{
    for (int which = 0; which < VLM_TOKEN_SPECIALS; which++) {
        size_t length;
        const char *content = special_content(config, family, (vlm_special)which, &length);
        tokenizer->special[which] = content ? vlm_tokenizer_id(tokenizer, content, length) : -1;
    }
    const json_t *length = json_object_get(config, "model_max_length");
    if (json_is_integer(length) && json_integer_value(length) > 0 && json_integer_value(length) < 1000000000)
        tokenizer->max_length = (size_t)json_integer_value(length);
}

/* [first] text [last]; -1 leaves one out. */
static vlm_status set_template(vlm_tokenizer *tokenizer, int64_t first, int64_t last, vlm_error *error)
{
    vlm_template_free(&tokenizer->template);
    tokenizer->template.present = true;
    bool ok = first < 0 || vlm_template_push(&tokenizer->template, false, (uint32_t)first);
    ok = ok && vlm_template_push(&tokenizer->template, true, 0);
    ok = ok && (last < 0 || vlm_template_push(&tokenizer->template, false, (uint32_t)last));
    return ok ? VLM_OK : vlm_fail_memory(error, 64, "opening a tokenizer");
}

static vlm_status finish(vlm_tokenizer *tokenizer, const sources *s, tokenizer_class family, bool from_file, vlm_error *error)
{
    vlm_status status = add_numbered(tokenizer, s, family, error);
    if (status == VLM_OK)
        status = add_specials(tokenizer, s, family, error);
    if (status == VLM_OK)
        status = vlm_added_prepare(tokenizer, error);
    if (status != VLM_OK)
        return status;
    resolve_specials(tokenizer, s->config, family);
    const int64_t *id = tokenizer->special;
    if (family == FAMILY_CLIP) {
        tokenizer->decode_suffix = "</w>";
        tokenizer->decode_strip = true;
        return set_template(tokenizer, id[VLM_TOKEN_BOS], id[VLM_TOKEN_EOS], error);
    }
    if (family == FAMILY_ROBERTA || family == FAMILY_BERT)
        return set_template(tokenizer, id[VLM_TOKEN_CLS], id[VLM_TOKEN_SEP], error);
    if (!from_file) /* the flags count only where there is no tokenizer.json */
        return set_template(tokenizer, option(s->config, "add_bos_token", false) ? id[VLM_TOKEN_BOS] : -1, option(s->config, "add_eos_token", false) ? id[VLM_TOKEN_EOS] : -1, error);
    return VLM_OK;
}

static vlm_status build(vlm_tokenizer **out, sources *s, bool from_file, vlm_error *error)
{
    tokenizer_class family = choose_family(s->config, s->model_config, s->small);
    vlm_status status = VLM_OK;
    if (!from_file)
        status = read_bare(s, family, error);
    if (status == VLM_OK && family != FAMILY_FILE && family != FAMILY_OTHER)
        status = rebuild_parts(s, family, error);
    if (status == VLM_OK)
        status = vlm_tokenizer_build(out, s->small, s->vocab, s->merges, s->form, s->where, error);
    if (status == VLM_OK)
        status = finish(*out, s, family, from_file, error);
    return status;
}

vlm_status vlm_tokenizer_open(vlm_tokenizer **tokenizer, const char *folder, vlm_error *error)
{
    sources s = {.folder = folder};
    bool found = false;
    *tokenizer = NULL;
    if (!vlm_is_folder(folder))
        return vlm_fail(error, VLM_ERR_IO, "%s: not a folder; a tokenizer is opened from the folder of its files", folder);
    vlm_status status = read_optional(&s.config, folder, "tokenizer_config.json", error);
    if (status == VLM_OK && !s.config && !(s.config = json_object()))
        status = vlm_fail_memory(error, 64, "opening a tokenizer");
    if (status == VLM_OK)
        status = read_optional(&s.model_config, folder, "config.json", error);
    if (status == VLM_OK)
        status = merge_special_map(&s, error);
    if (status == VLM_OK)
        status = map_optional(&s.tokenizer_file, folder, "tokenizer.json", &found, error);
    if (status == VLM_OK && !(s.where = found ? vlm_join_path(folder, "tokenizer.json") : vlm_copy_text(folder, strlen(folder))))
        status = vlm_fail_memory(error, strlen(folder), "opening a tokenizer");
    if (status == VLM_OK && found)
        status = read_tokenizer_file(&s, error);
    if (status == VLM_OK)
        status = build(tokenizer, &s, found, error);
    if (status != VLM_OK) {
        vlm_tokenizer_close(*tokenizer);
        *tokenizer = NULL;
    }
    sources_free(&s);
    return status;
}

vlm_status vlm_tokenizer_parse(vlm_tokenizer **tokenizer, const char *json, size_t length, const char *config, size_t config_length, const char *name, vlm_error *error)
{
    sources s = {.folder = name};
    vlm_status status = VLM_OK;
    *tokenizer = NULL;
    s.tokenizer_file = (vlm_mapping){.data = (const unsigned char *)json, .size = length};
    s.where = vlm_copy_text(name, strlen(name));
    if (!s.where)
        status = vlm_fail_memory(error, strlen(name), "opening a tokenizer");
    if (status == VLM_OK && config)
        status = vlm_json_parse(&s.config, config, config_length, name, error);
    if (status == VLM_OK && !s.config && !(s.config = json_object()))
        status = vlm_fail_memory(error, 64, "opening a tokenizer");
    if (status == VLM_OK)
        status = read_tokenizer_file(&s, error);
    if (status == VLM_OK)
        status = build(tokenizer, &s, true, error);
    if (status != VLM_OK) {
        vlm_tokenizer_close(*tokenizer);
        *tokenizer = NULL;
    }
    sources_free(&s);
    return status;
}
