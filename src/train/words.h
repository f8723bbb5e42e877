/* The tokenizer of a run: taken from a folder, or learned from the captions; with the files that keep it. */
#ifndef VLM_TRAIN_WORDS_H
#define VLM_TRAIN_WORDS_H

#include "train/config.h"

typedef struct vlm_words {
    vlm_tokenizer *tokenizer;
    char *folder;              /* its files are copied from here; NULL: learned */
    vlm_text json;             /* tokenizer.json, when learned */
} vlm_words;

/* As config->tokenizer says: a path, {"path":...}, {"bpe": size, "captions": n, "min_count": n}. folder: what to
 * take when the config says nothing (a checkpoint that is resumed or begun from), or NULL. context_length goes
 * into the files of a learned one. */
vlm_status vlm_words_open(vlm_words *words, const vlm_train_config *config, const char *folder, const vlm_dataset *dataset, vlm_error *error);
void vlm_words_close(vlm_words *words);
/* tokenizer.json and tokenizer_config.json (or the older forms) into a folder. */
vlm_status vlm_words_save(const vlm_words *words, const char *folder, size_t context_length, vlm_error *error);

#endif
