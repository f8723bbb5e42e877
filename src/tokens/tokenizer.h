/* Tokenizers: text -> ids -> text, as the hub's tokenizer.json defines it.
 * One engine; older forms (vocab.json + merges.txt, vocab.txt, OpenCLIP's merges) become the same structure.
 * Must give the ids of transformers 5.23 (tokenizers 0.23) and open_clip 3.3, byte for byte.
 * A tokenizer does not change once it is open: any number of threads may encode and decode with it.
 * Text is UTF-8 and may hold NUL bytes. Bytes that are not UTF-8 count as U+FFFD, one for each maximal
 * ill-formed part, which is what Python's errors="replace" gives the reference. */
#ifndef VLM_TOKENS_TOKENIZER_H
#define VLM_TOKENS_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"
#include "vlm/error.h"

typedef struct vlm_tokenizer vlm_tokenizer;

/* A growing list of ids. Start with {0}; release with vlm_ids_free. */
typedef struct vlm_ids {
    uint32_t *data;
    size_t count, capacity;
} vlm_ids;

bool vlm_ids_push(vlm_ids *ids, uint32_t id); /* false: out of memory */
void vlm_ids_free(vlm_ids *ids);

/* Open what a transformers folder holds: tokenizer.json, else vocab.json + merges.txt, else vocab.txt, with
 * tokenizer_config.json (else config.json's model_type) saying which class they belong to. A folder with
 * these files alone is enough. None of them: an error that lists what was looked for. */
vlm_status vlm_tokenizer_open(vlm_tokenizer **tokenizer, const char *folder, vlm_error *error);

/* Open what an OpenCLIP folder means. open_clip_config.json's text_cfg decides: with hf_tokenizer_name it is
 * the folder's transformers tokenizer behind OpenCLIP's cleaning (tokenizer_kwargs.clean, "whitespace" when
 * unsaid); without, OpenCLIP's own tokenizer on bpe_simple_vocab_16e6.txt.gz of the folder, or on the copy
 * inside this library. folder NULL: that copy, cleaned as OpenCLIP does by default ("lower"). */
vlm_status vlm_tokenizer_open_openclip(vlm_tokenizer **tokenizer, const char *folder, vlm_error *error);

/* The same from the bytes of a tokenizer.json; `name` is what errors call it. config: the bytes of a
 * tokenizer_config.json that names the special tokens, or NULL. */
vlm_status vlm_tokenizer_parse(vlm_tokenizer **tokenizer, const char *json, size_t length, const char *config, size_t config_length, const char *name, vlm_error *error);
void vlm_tokenizer_close(vlm_tokenizer *tokenizer); /* NULL is allowed */

/* Append the ids of text[0..length) to ids, neither cut nor padded. add_special: with the special tokens of
 * the template (CLIP's start and end, BERT's [CLS] and [SEP], OPT's </s>). On failure ids keeps what it had. */
vlm_status vlm_tokenizer_encode(const vlm_tokenizer *tokenizer, const char *text, size_t length, bool add_special, vlm_ids *ids, vlm_error *error);

/* Append the text of ids to text, as the reference's decode without clean-up of spaces; skip_special leaves
 * special tokens out. An id that is not in the vocabulary is an error. */
vlm_status vlm_tokenizer_decode(const vlm_tokenizer *tokenizer, const uint32_t *ids, size_t count, bool skip_special, vlm_text *text, vlm_error *error);

/* The string of an id as the vocabulary writes it (a byte-level space is U+0120), borrowed from the
 * tokenizer; NULL when there is none. It may hold NUL bytes: length (NULL allowed) is its size. */
const char *vlm_tokenizer_token(const vlm_tokenizer *tokenizer, uint32_t id, size_t *length);
/* The id of exactly this token; -1 when there is none. */
int64_t vlm_tokenizer_id(const vlm_tokenizer *tokenizer, const char *token, size_t length);
/* The largest id + 1: what an embedding matrix must at least have. */
size_t vlm_tokenizer_size(const vlm_tokenizer *tokenizer);
bool vlm_tokenizer_is_special(const vlm_tokenizer *tokenizer, uint32_t id);

typedef enum vlm_special {
    VLM_TOKEN_BOS, /* bos_token; OpenCLIP's <start_of_text> */
    VLM_TOKEN_EOS, /* eos_token; OpenCLIP's <end_of_text> */
    VLM_TOKEN_PAD,
    VLM_TOKEN_UNK,
    VLM_TOKEN_SEP,
    VLM_TOKEN_CLS,
    VLM_TOKEN_MASK,
    VLM_TOKEN_SPECIALS
} vlm_special;

/* The id that the configuration (or the class's default) names; -1 when it names none. */
int64_t vlm_tokenizer_special(const vlm_tokenizer *tokenizer, vlm_special which);
/* model_max_length of tokenizer_config.json, 77 (or context_length) for OpenCLIP's; 0 when unsaid. */
size_t vlm_tokenizer_max_length(const vlm_tokenizer *tokenizer);

/* --- training --------------------------------------------------------------------------------------- */

typedef struct vlm_bpe_text {
    const char *text;
    size_t length;
    uint64_t count; /* how often it occurs */
} vlm_bpe_text;

/* Learn a CLIP-style byte-level BPE (lower case, `</w>`, CLIP's word pattern) and append its tokenizer.json:
 * 512 byte tokens, up to vocab_size - 514 merges, <|startoftext|>, <|endoftext|>. The most frequent pair is
 * merged first, the smaller (left, right) token ids on a tie: the same texts give the same file. A pair seen
 * less than min_count times is not merged. vocab_size is at least 514. */
vlm_status vlm_bpe_train(vlm_text *json, const vlm_bpe_text *texts, size_t n_texts, size_t vocab_size, uint64_t min_count, vlm_error *error);

#endif
