/* The insides of a tokenizer: five parts in the order that text meets them.
 *   added tokens    cut out of the raw text, or of the normalized one        added.c
 *   normalizer      text -> text                                            normalize.c
 *   pre-tokenizer   text -> pieces that tokens never cross                  pretokenize.c
 *   model           piece -> ids                                            bpe.c, wordpiece.c, unigram.c
 *   post-processor  puts the special tokens around; decoder goes back       postprocess.c, decode.c
 * Everything here is filled by the loaders (load.c, folder.c, openclip.c) and then only read. */
#ifndef VLM_TOKENS_ENGINE_H
#define VLM_TOKENS_ENGINE_H

#include <jansson.h>

#include "tokens/regex.h"
#include "tokens/tokenizer.h"
#include "tokens/vocabulary.h"

/* Longest token that is accepted, in bytes: it bounds the work for each position of a text. */
enum { VLM_TOKEN_LIMIT = 4096 };

/* --- a text on its way ------------------------------------------------------------------------------ */

/* A stretch of the text being worked on. The metaspace scheme "first" asks whether a piece begins where the
 * original text did, so the normalizers carry that along: `first` says that this piece does, `head` how many
 * of its leading bytes come from the first character of the original. */
typedef struct vlm_span {
    size_t start, length, head;
    bool first;
} vlm_span;

typedef struct vlm_match {
    size_t start, end;
    bool is_match;
} vlm_match;

/* Scratch of one encode call. */
typedef struct vlm_work {
    vlm_text text, other;       /* the text, and the next one while a step writes it */
    vlm_span *spans, *other_spans;
    size_t n_spans, n_other, spans_capacity, other_capacity;
    vlm_match *matches;
    size_t n_matches, matches_capacity;
    vlm_matcher matcher;        /* PCRE2's scratch */
    void *model;                /* the model's own scratch, see vlm_model_scratch */
    size_t model_capacity;
    vlm_error *error;
} vlm_work;

void vlm_work_free(vlm_work *work);
bool vlm_work_push_span(vlm_work *work, vlm_span span);      /* onto other_spans */
bool vlm_work_push_match(vlm_work *work, size_t start, size_t end, bool is_match);
void vlm_work_swap_text(vlm_work *work);
void vlm_work_swap_spans(vlm_work *work);
vlm_status vlm_work_memory(vlm_work *work); /* "out of memory while tokenizing" */
/* At least `bytes` of scratch for the model, kept between pieces; NULL when out of memory. */
void *vlm_work_model(vlm_work *work, size_t bytes);

/* --- normalizers ------------------------------------------------------------------------------------ */

typedef enum vlm_normalizer_kind {
    VLM_NORMALIZE_NFC,
    VLM_NORMALIZE_NFD,
    VLM_NORMALIZE_NFKC,
    VLM_NORMALIZE_NFKD,
    VLM_NORMALIZE_LOWERCASE,
    VLM_NORMALIZE_STRIP,
    VLM_NORMALIZE_STRIP_ACCENTS,
    VLM_NORMALIZE_REPLACE,
    VLM_NORMALIZE_PREPEND,
    VLM_NORMALIZE_APPEND,
    VLM_NORMALIZE_BERT,
    VLM_NORMALIZE_PRECOMPILED,
    VLM_NORMALIZE_NMT,
    VLM_NORMALIZE_BYTE_LEVEL
} vlm_normalizer_kind;

typedef struct vlm_normalizer {
    vlm_normalizer_kind kind;
    bool strip_left, strip_right;
    bool clean_text, chinese, strip_accents, lowercase; /* Bert */
    vlm_pattern *pattern;                               /* Replace */
    char *content;                                      /* Replace, Prepend, Append */
    size_t content_length;
    uint32_t *units; /* Precompiled: a Darts double array and the strings that its values point into */
    size_t n_units;
    char *strings;
    size_t strings_length;
} vlm_normalizer;

/* Sequences are flattened: a list in order. */
typedef struct vlm_normalizers {
    vlm_normalizer *items;
    size_t count, capacity;
} vlm_normalizers;

/* GPT-2's visible stand-in for a byte, its inverse (-1: none), and a run of bytes written with them. */
uint32_t vlm_byte_character(unsigned char byte);
int vlm_character_byte(uint32_t c);
void vlm_append_bytes_visible(vlm_text *out, const char *text, size_t length);

/* {"pattern": {"String": ...}} or {"pattern": {"Regex": ...}}. */
vlm_status vlm_pattern_load(vlm_pattern **out, const json_t *json, const char *where, vlm_error *error);

vlm_status vlm_normalizers_load(vlm_normalizers *list, const json_t *json, const char *where, vlm_error *error);
void vlm_normalizers_free(vlm_normalizers *list);
/* work->text as a whole; *head as in vlm_span. */
vlm_status vlm_normalize(const vlm_normalizers *list, vlm_work *work, size_t *head);

/* --- pre-tokenizers --------------------------------------------------------------------------------- */

typedef enum vlm_split_behavior {
    VLM_SPLIT_REMOVED,
    VLM_SPLIT_ISOLATED,
    VLM_SPLIT_MERGED_WITH_PREVIOUS,
    VLM_SPLIT_MERGED_WITH_NEXT,
    VLM_SPLIT_CONTIGUOUS
} vlm_split_behavior;

typedef enum vlm_pretokenizer_kind {
    VLM_PRETOKENIZE_SPLIT,    /* by a pattern: Split, Whitespace */
    VLM_PRETOKENIZE_CLASS,    /* by a class of characters: WhitespaceSplit, Punctuation, Digits, delimiter */
    VLM_PRETOKENIZE_BYTES,    /* ByteLevel */
    VLM_PRETOKENIZE_METASPACE,
    VLM_PRETOKENIZE_SCRIPTS,
    VLM_PRETOKENIZE_LENGTH    /* FixedLength */
} vlm_pretokenizer_kind;

typedef enum vlm_prepend { VLM_PREPEND_ALWAYS, VLM_PREPEND_FIRST, VLM_PREPEND_NEVER } vlm_prepend;

typedef struct vlm_pretokenizer {
    vlm_pretokenizer_kind kind;
    vlm_pattern *pattern;
    bool invert;
    vlm_split_behavior behavior;
    bool (*is_member)(uint32_t c); /* the class; NULL: the delimiter itself */
    uint32_t delimiter;
    bool prefix_space;
    vlm_prepend prepend;
    bool split;
    char mark[4]; /* Metaspace's replacement in UTF-8 */
    size_t mark_length;
    size_t length;
} vlm_pretokenizer;

typedef struct vlm_pretokenizers {
    vlm_pretokenizer *items;
    size_t count, capacity;
} vlm_pretokenizers;

vlm_status vlm_pretokenizers_load(vlm_pretokenizers *list, const json_t *json, const char *where, vlm_error *error);
/* Metaspace's mark and scheme, for the pre-tokenizer and the decoder. */
vlm_status vlm_metaspace_load(uint32_t *mark, vlm_prepend *prepend, const json_t *json, const char *where, vlm_error *error);
void vlm_pretokenizers_free(vlm_pretokenizers *list);
/* work->text and work->spans, in place. */
vlm_status vlm_pretokenize(const vlm_pretokenizers *list, vlm_work *work);

/* --- models ----------------------------------------------------------------------------------------- */

typedef enum vlm_model_kind { VLM_MODEL_BPE, VLM_MODEL_WORDPIECE, VLM_MODEL_WORDLEVEL, VLM_MODEL_UNIGRAM } vlm_model_kind;

typedef struct vlm_merge {
    uint64_t pair; /* left id << 32 | right id; all ones: an empty slot */
    uint32_t rank, id;
} vlm_merge;

enum { VLM_CHARACTER_TABLE = 512, VLM_NO_ID = -1 };

typedef struct vlm_token_model {
    vlm_model_kind kind;
    vlm_vocabulary vocabulary;
    char *unk, *prefix, *suffix; /* unk_token, continuing_subword_prefix, end_of_word_suffix; NULL: none */
    size_t unk_length, prefix_length, suffix_length;
    int64_t unk_id;     /* VLM_NO_ID when there is none */
    bool fuse_unk, byte_fallback, ignore_merges;
    int64_t byte_ids[256]; /* <0x00>... for byte_fallback */
    vlm_merge *merges;     /* BPE: open addressing, merges_mask + 1 slots */
    size_t merges_mask, n_merges;
    uint32_t last_merged;  /* the token of the last merge that was read */
    /* BPE: ids of the characters below 512 alone, [not first][last]; the rest is looked up. */
    int32_t character_ids[2][2][VLM_CHARACTER_TABLE];
    /* OpenCLIP: pieces that are one token as they are, its two special tokens; NULL ends the list. */
    const char *const *whole;
    size_t max_word;    /* WordPiece: characters */
    size_t max_token;   /* bytes of the longest token */
    double *scores;     /* Unigram, by id */
    double unk_score;
    uint32_t *sorted;   /* Unigram: ids in byte order of their tokens */
    size_t n_sorted;
    uint32_t first_byte[257]; /* Unigram: where each first byte begins in sorted */
} vlm_token_model;

/* The big parts (vocab, merges) as raw JSON or text, the small ones as parsed JSON. */
typedef struct vlm_bytes {
    const char *data;
    size_t length;
} vlm_bytes;

typedef enum vlm_merges_form { VLM_MERGES_JSON, VLM_MERGES_TEXT } vlm_merges_form;

/* options: the "model" object without its vocab and merges. */
vlm_status vlm_model_load(vlm_token_model *model, const json_t *options, vlm_bytes vocab, vlm_bytes merges, vlm_merges_form form, const char *where, vlm_error *error);
void vlm_model_free(vlm_token_model *model);
/* Append the ids of work->text[start, start + length). */
vlm_status vlm_model_encode(const vlm_token_model *model, vlm_work *work, const char *piece, size_t length, vlm_ids *ids);

vlm_status vlm_bpe_prepare(vlm_token_model *model, const char *where, vlm_error *error);
vlm_status vlm_bpe_add_merge(vlm_token_model *model, const char *left, size_t left_length, const char *right, size_t right_length, const char *where, vlm_error *error);
bool vlm_bpe_reserve(vlm_token_model *model, size_t n_merges);
vlm_status vlm_bpe_encode(const vlm_token_model *model, vlm_work *work, const char *piece, size_t length, vlm_ids *ids);
vlm_status vlm_wordpiece_encode(const vlm_token_model *model, vlm_work *work, const char *piece, size_t length, vlm_ids *ids);
vlm_status vlm_wordlevel_encode(const vlm_token_model *model, vlm_work *work, const char *piece, size_t length, vlm_ids *ids);
vlm_status vlm_unigram_prepare(vlm_token_model *model, const char *where, vlm_error *error);
vlm_status vlm_unigram_encode(const vlm_token_model *model, vlm_work *work, const char *piece, size_t length, vlm_ids *ids);

/* --- added tokens ----------------------------------------------------------------------------------- */

typedef struct vlm_added_token {
    uint32_t id;
    char *content, *normal; /* as written, and normalized (the same pointer when it does not change) */
    size_t length, normal_length;
    bool single_word, lstrip, rstrip, normalized, special;
} vlm_added_token;

typedef struct vlm_trie_node {
    int32_t child, sibling; /* first child, next sibling; -1: none */
    int32_t token;          /* index into tokens, -1: no token ends here */
    unsigned char byte;
} vlm_trie_node;

typedef struct vlm_trie {
    vlm_trie_node *nodes;
    size_t count, capacity;
    int32_t roots[256];
} vlm_trie;

typedef struct vlm_added {
    vlm_added_token *tokens;
    size_t count, capacity;
    vlm_vocabulary index;         /* content -> place in tokens */
    uint32_t *by_id;              /* place in tokens + 1 of the last one with this id; 0: none */
    size_t by_id_capacity;
    size_t end;                   /* largest id + 1 */
    vlm_trie raw, normal;         /* those matched before and after normalization */
} vlm_added;

/* Add one, or change the properties of the one with this content. The id is the model's for this string,
 * else the next free one, as the reference counts. */
vlm_status vlm_added_add(vlm_tokenizer *tokenizer, const vlm_added_token *token, vlm_error *error);
/* Normalize and build the tries; call once when all are in. */
vlm_status vlm_added_prepare(vlm_tokenizer *tokenizer, vlm_error *error);
void vlm_added_free(vlm_added *added);
const vlm_added_token *vlm_added_by_content(const vlm_added *added, const char *content, size_t length);
const vlm_added_token *vlm_added_by_id(const vlm_added *added, uint32_t id);

/* The next added token in text[from, length); false when there is none. *start and *end include the white
 * space that lstrip and rstrip take; `taken` is where the previous match ended. *resume is where to go on.
 * *start >= *end: others have taken all of its text, and it does not count. */
bool vlm_added_find(const vlm_added *added, const vlm_trie *trie, const char *text, size_t length, size_t from, size_t taken, size_t *start, size_t *end, size_t *resume, const vlm_added_token **token);

/* --- post-processor and decoder --------------------------------------------------------------------- */

typedef struct vlm_template_piece {
    bool is_text;
    bool is_special; /* left out without special tokens */
    uint32_t id;
} vlm_template_piece;

typedef struct vlm_template {
    bool present;
    vlm_template_piece *items;
    size_t count, capacity;
} vlm_template;

vlm_status vlm_template_load(vlm_template *out, const json_t *json, const char *where, vlm_error *error);
bool vlm_template_push(vlm_template *out, bool is_text, uint32_t id);
void vlm_template_free(vlm_template *out);

typedef enum vlm_decoder_kind {
    VLM_DECODE_BYTE_LEVEL,
    VLM_DECODE_WORDPIECE,
    VLM_DECODE_METASPACE,
    VLM_DECODE_BPE,
    VLM_DECODE_REPLACE,
    VLM_DECODE_FUSE,
    VLM_DECODE_BYTE_FALLBACK,
    VLM_DECODE_STRIP
} vlm_decoder_kind;

typedef struct vlm_decoder {
    vlm_decoder_kind kind;
    char *content; /* WordPiece's prefix, BPE's suffix, Replace's replacement */
    size_t content_length;
    bool cleanup, prepend;
    uint32_t character; /* Metaspace, Strip */
    size_t start, stop;
    vlm_pattern *pattern;
} vlm_decoder;

typedef struct vlm_decoders {
    vlm_decoder *items;
    size_t count, capacity;
    bool present;
} vlm_decoders;

vlm_status vlm_decoders_load(vlm_decoders *list, const json_t *json, const char *where, vlm_error *error);
void vlm_decoders_free(vlm_decoders *list);

/* --- the whole -------------------------------------------------------------------------------------- */

/* OpenCLIP's cleaning of a text before it is tokenized (get_clean_fn of open_clip.tokenizer). */
typedef enum vlm_clean { VLM_CLEAN_NONE, VLM_CLEAN_WHITESPACE, VLM_CLEAN_LOWER, VLM_CLEAN_CANONICALIZE } vlm_clean;

struct vlm_tokenizer {
    vlm_clean clean;
    vlm_normalizers normalizers;
    vlm_pretokenizers pretokenizers;
    vlm_token_model model;
    vlm_added added;
    vlm_template template;
    vlm_decoders decoders;
    const char *decode_suffix; /* CLIP: replaced by a space after decoding; static, NULL: nothing */
    bool decode_strip;         /* and the result stripped */
    int64_t special[VLM_TOKEN_SPECIALS];
    size_t max_length;
};

/* A folder's tokenizer.json, or what an older form means, before the engine is built. Owned: json parts. */
vlm_status vlm_tokenizer_build(vlm_tokenizer **out, const json_t *small, vlm_bytes vocab, vlm_bytes merges, vlm_merges_form form, const char *where, vlm_error *error);
/* Cut the model's vocab and merges out of a tokenizer.json: *small is the rest, parsed; the two ranges point
 * into the text. */
vlm_status vlm_tokenizer_cut(json_t **small, vlm_bytes *vocab, vlm_bytes *merges, const char *text, size_t length, const char *where, vlm_error *error);

/* Python's errors="replace" for text that is not UTF-8: appended to out. */
void vlm_text_append_valid(vlm_text *out, const char *text, size_t length);
/* OpenCLIP's cleaning, appended to out; text must be UTF-8. */
vlm_status vlm_openclip_clean(vlm_text *out, const char *text, size_t length, vlm_clean clean, vlm_error *error);

#endif
