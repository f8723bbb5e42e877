/* Tokenizers of runs. A learned one is a byte-level BPE as CLIP's, from captions drawn as training draws them. */
#include "train/words.h"

#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/file.h"
#include "base/memory.h"
#include "formats/json.h"

static const char *const files[] = {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.json", "merges.txt", "vocab.txt"};

/* ---- learning ----------------------------------------------------------------------------------------- */

typedef struct captions {
    vlm_bpe_text *texts;
    size_t n, capacity;
    vlm_arena bytes;
} captions;

/* n captions as the first n samples of a run have them. */
static vlm_status draw_captions(captions *list, const vlm_dataset *dataset, uint64_t seed, size_t n, vlm_error *error)
{
    vlm_sample sample = {0};
    vlm_status status = VLM_OK;
    for (size_t i = 0; i < n && status == VLM_OK; i++) {
        vlm_sample_key key = {.seed = seed, .index = i, .epoch = i / dataset->n_items, .progress = (double)i / (double)n};
        key.item = vlm_shuffle(seed, key.epoch, i % dataset->n_items, dataset->n_items);
        sample.caption.length = 0;
        status = dataset->sample(dataset, &key, &sample, error);
        if (status != VLM_OK)
            break;
        char *copy = vlm_arena_copy_text(&list->bytes, sample.caption.data ? sample.caption.data : "", sample.caption.length);
        if (!copy || !vlm_grow(&list->texts, &list->capacity, list->n + 1, sizeof *list->texts))
            status = vlm_fail_memory(error, sample.caption.length, "captions for the tokenizer");
        else
            list->texts[list->n++] = (vlm_bpe_text){copy, sample.caption.length, 1};
    }
    vlm_text_free(&sample.caption);
    return status;
}

static vlm_status learn(vlm_words *words, const vlm_train_config *config, const vlm_dataset *dataset, vlm_error *error)
{
    static const char *const keys[] = {"bpe", "captions", "min_count"};
    size_t size = 0, n = 0, min_count = 0;
    captions list = {0};
    vlm_status status = vlm_config_check_keys(config->tokenizer, keys, 3, "tokenizer", config->where, error);
    if (status == VLM_OK)
        status = vlm_json_get_size(&size, config->tokenizer, "bpe", 2048, config->where, error);
    if (status == VLM_OK)
        status = vlm_json_get_size(&n, config->tokenizer, "captions", 8 * dataset->n_items, config->where, error);
    if (status == VLM_OK)
        status = vlm_json_get_size(&min_count, config->tokenizer, "min_count", 2, config->where, error);
    if (status == VLM_OK && (size < 514 || size > (size_t)1 << 20))
        status = vlm_fail(error, VLM_ERR_ARGUMENT, "%s: tokenizer.bpe is %zu; 514 to 1048576 is wanted", config->where, size);
    if (status == VLM_OK)
        status = draw_captions(&list, dataset, config->seed, n, error);
    if (status == VLM_OK)
        status = vlm_bpe_train(&words->json, list.texts, list.n, size, min_count, error);
    if (status == VLM_OK)
        status = vlm_tokenizer_parse(&words->tokenizer, words->json.data, words->json.length, NULL, 0, "the learned tokenizer", error);
    free(list.texts);
    vlm_arena_free(&list.bytes);
    return status;
}

/* ---- opening and saving ---------------------------------------------------------------------------------- */

static vlm_status open_folder(vlm_words *words, const char *path, vlm_error *error)
{
    const char *slash = strrchr(path, '/');
    size_t length = strlen(path);
    if (!vlm_is_folder(path) && vlm_file_exists(path)) /* the file itself: its folder is meant */
        length = slash ? (size_t)(slash - path) + (slash == path) : 0;
    words->folder = vlm_copy_text(length ? path : ".", length ? length : 1);
    return words->folder ? vlm_tokenizer_open(&words->tokenizer, words->folder, error) : vlm_fail_memory(error, length, "a path");
}

vlm_status vlm_words_open(vlm_words *words, const vlm_train_config *config, const char *folder, const vlm_dataset *dataset, vlm_error *error)
{
    *words = (vlm_words){0};
    const json_t *wanted = config->tokenizer, *path = json_is_object(wanted) ? json_object_get(wanted, "path") : wanted;
    vlm_status status;
    if (folder) /* a checkpoint's ids belong to its own tokenizer */
        status = open_folder(words, folder, error);
    else if (json_is_string(path))
        status = open_folder(words, json_string_value(path), error);
    else if (json_is_object(wanted))
        status = learn(words, config, dataset, error);
    else
        status = vlm_fail(error, VLM_ERR_ARGUMENT, "%s: \"tokenizer\" is missing; the folder of one is wanted, or {\"bpe\": 2048} to learn one from the captions", config->where);
    if (status != VLM_OK)
        vlm_words_close(words);
    return status;
}

void vlm_words_close(vlm_words *words)
{
    vlm_tokenizer_close(words->tokenizer);
    free(words->folder);
    vlm_text_free(&words->json);
    *words = (vlm_words){0};
}

static vlm_status copy_file(const char *from_folder, const char *to_folder, const char *name, vlm_error *error)
{
    char *from = vlm_join_path(from_folder, name), *to = vlm_join_path(to_folder, name);
    vlm_mapping file = {0};
    vlm_status status = from && to ? VLM_OK : vlm_fail_memory(error, strlen(to_folder), "a path");
    if (status == VLM_OK && vlm_file_exists(from)) {
        status = vlm_map_file(&file, from, error);
        if (status == VLM_OK)
            status = vlm_write_file(to, file.data, file.size, error);
        vlm_unmap(&file);
    }
    free(from);
    free(to);
    return status;
}

static vlm_status write_text(const char *folder, const char *name, const char *text, size_t length, vlm_error *error)
{
    char *path = vlm_join_path(folder, name);
    vlm_status status = path ? vlm_write_file(path, text, length, error) : vlm_fail_memory(error, strlen(folder), "a path");
    free(path);
    return status;
}

vlm_status vlm_words_save(const vlm_words *words, const char *folder, size_t context_length, vlm_error *error)
{
    vlm_status status = VLM_OK;
    if (words->folder) {
        for (size_t i = 0; i < sizeof files / sizeof *files && status == VLM_OK; i++)
            status = copy_file(words->folder, folder, files[i], error);
        return status;
    }
    vlm_text config = {0};
    vlm_text_printf(&config, "{\n  \"bos_token\": \"<|startoftext|>\",\n  \"eos_token\": \"<|endoftext|>\",\n  \"model_max_length\": %zu,\n"
                             "  \"pad_token\": \"<|endoftext|>\",\n  \"tokenizer_class\": \"PreTrainedTokenizerFast\",\n  \"unk_token\": \"<|endoftext|>\"\n}\n", context_length);
    status = config.failed ? vlm_fail_memory(error, 256, "tokenizer_config.json") : write_text(folder, "tokenizer_config.json", config.data, config.length, error);
    vlm_text_free(&config);
    return status == VLM_OK ? write_text(folder, "tokenizer.json", words->json.data, words->json.length, error) : status;
}
