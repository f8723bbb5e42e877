/* Turn prompts into texts: read the prompts, then token after token, all unfinished texts together in one pass.
 * prompts [n] (visual rows and ids) -> answers [n].
 * Matches transformers 5.23's generate: greedy, sampling and beams; text.c holds its rules.
 * A slot of the cache belongs to one prompt and beam. A prompt is read once, into its first slot, and copied to the
 * other beams'; when beams change places, the slot stays with the first continuation of its beam, and only further
 * ones are copied, from where the prompt ends.
 * Trap: what is written must not depend on the batch: a prompt is cut into blocks by its own length alone. */
#include "pipeline/generate.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/memory.h"

enum {
    ROWS_AT_ONCE = 512,      /* of prompts, in a pass; also the length of a prompt's blocks */
    SEQUENCES_AT_ONCE = 32   /* prompts times beams */
};

/* ---- a pass -------------------------------------------------------------------------------------------- */

vlm_tensor *vlm_run_forward(vlm_context *context, vlm_forward_function *forward, const void *batch, vlm_error *error)
{
    vlm_tensor *result = NULL;
    vlm_context_begin(context, VLM_PASS_MEASURE);
    forward(context, batch);
    if (!vlm_context_failed(context) && vlm_context_reserve(context)) {
        vlm_context_begin(context, VLM_PASS_COMPUTE);
        result = forward(context, batch);
    }
    if (!vlm_context_failed(context))
        return result;
    if (error)
        *error = context->error;
    return NULL;
}

/* Rows of several sequences, laid out for a pass. */
typedef struct reading {
    const vlm_language *language;
    const vlm_memory *memory;  /* with this reading's slots */
    const vlm_memory *scratch; /* not NULL: through the encoder, into the cross cache */
    int32_t *ids;              /* [n_rows] */
    const float **visual;      /* [n_rows]: the row itself; NULL: the token table's */
    size_t *starts, *slots, *wanted, *order; /* [n + 1], [n], [n], [n]: 0, 1, 2 ... */
    size_t n, n_rows;
} reading;

static void free_reading(reading *r)
{
    free(r->ids);
    free(r->visual);
    free(r->starts);
    free(r->slots);
    free(r->wanted);
    free(r->order);
}

static vlm_status create_reading(reading *r, const vlm_language *language, size_t n, size_t rows, vlm_error *error)
{
    *r = (reading){.language = language};
    r->ids = vlm_alloc(rows, sizeof *r->ids);
    r->visual = vlm_alloc(rows, sizeof *r->visual);
    r->starts = vlm_alloc_zero(n + 1, sizeof *r->starts);
    r->slots = vlm_alloc(n, sizeof *r->slots);
    r->wanted = vlm_alloc(n, sizeof *r->wanted);
    r->order = vlm_alloc(n, sizeof *r->order);
    if (r->ids && r->visual && r->starts && r->slots && r->wanted && r->order) {
        for (size_t i = 0; i < n; i++)
            r->order[i] = i;
        return VLM_OK;
    }
    free_reading(r);
    return vlm_fail_memory(error, rows * sizeof *r->visual, "the rows of a pass");
}

static void clear_reading(reading *r)
{
    r->n = r->n_rows = 0;
}

static void add_id(reading *r, int32_t id)
{
    r->visual[r->n_rows] = NULL;
    r->ids[r->n_rows++] = id;
}

/* Rows first .. last - 1 of a prompt: its picture's, then its ids'. */
static void add_prompt_rows(reading *r, const vlm_language *language, const vlm_prompt *prompt, size_t first, size_t last)
{
    for (size_t i = first; i < last; i++) {
        add_id(r, i < prompt->n_visual ? 0 : prompt->ids[i - prompt->n_visual]);
        if (i < prompt->n_visual)
            r->visual[r->n_rows - 1] = prompt->visual + i * language->embedding;
    }
}

/* The rows since the last sequence ended are a sequence in this slot; the logits of its last row are wanted. */
static void end_sequence(reading *r, size_t slot)
{
    r->wanted[r->n] = r->n_rows - 1;
    r->slots[r->n++] = slot;
    r->starts[r->n] = r->n_rows;
}

static vlm_tensor *forward_reading(vlm_context *context, const void *argument)
{
    const reading *r = argument;
    const vlm_language *language = r->language;
    vlm_spans spans = {r->n, r->starts};
    vlm_tensor *x = vlm_language_embed(context, language, r->ids, r->n_rows);
    for (size_t i = 0; i < r->n_rows && !vlm_context_idle(context); i++)
        if (r->visual[i])
            memcpy(vlm_tensor_floats(x) + i * language->embedding, r->visual[i], language->embedding * sizeof(float));
    if (!r->scratch)
        return vlm_language_read(context, language, x, spans, r->memory, r->wanted, r->n);
    x = vlm_language_encode(context, language, x, spans, r->scratch);
    vlm_transformer_fill_cross(context, &language->body, x, spans, r->memory);
    return x;
}

/* ---- a text as it grows -------------------------------------------------------------------------------- */

typedef struct writing {
    const vlm_prompt *prompt;
    size_t index;         /* among all prompts of the call */
    size_t n_rows;        /* of the cache that the prompt takes */
    vlm_history history;  /* of greedy and sampling */
    vlm_beams beams;
    size_t *slots, *parents, *spare; /* [n_beams] */
    vlm_random random;
    vlm_text text;        /* so far, without beams */
    size_t n_sent;        /* bytes of it that were streamed */
    bool done;
} writing;

typedef struct session {
    const vlm_writer_setup *setup;
    vlm_kv_cache cache, cross;
    vlm_memory memory;
    reading reading;
    writing *texts; /* [n] */
    size_t n, n_beams;
    float *scratch; /* [n_beams or 2, vocabulary]: a prompt's logits for each beam, or sampling's */
    vlm_error *error;
} session;

/* The text of ids, special tokens and those without a name (a table is often larger than its vocabulary) left out. */
static vlm_status decode(const session *s, const int32_t *ids, size_t n, vlm_text *text)
{
    vlm_ids known = {0};
    bool good = true;
    text->length = 0;
    for (size_t i = 0; i < n && good; i++)
        if (vlm_tokenizer_token(s->setup->tokenizer, (uint32_t)ids[i], NULL))
            good = vlm_ids_push(&known, (uint32_t)ids[i]);
    vlm_status status = good ? vlm_tokenizer_decode(s->setup->tokenizer, known.data, known.count, true, text, s->error) : VLM_OK;
    vlm_ids_free(&known);
    vlm_text_append(text, "", 0);
    return status != VLM_OK || (good && !text->failed) ? status : vlm_fail_memory(s->error, n, "a text");
}

/* Where the first stop string begins; SIZE_MAX: nowhere. */
static size_t find_stop(const vlm_generation *generation, const vlm_text *text)
{
    size_t first = SIZE_MAX;
    for (size_t i = 0; i < generation->n_stop; i++) {
        size_t length = strlen(generation->stop[i]);
        for (size_t at = 0; length && at + length <= text->length; at++)
            if (memcmp(text->data + at, generation->stop[i], length) == 0) {
                first = at < first ? at : first;
                break;
            }
    }
    return first;
}

/* Bytes of the text that later tokens cannot change: no unfinished character, no beginning of a stop string. */
static size_t settled_length(const vlm_generation *generation, const vlm_text *text)
{
    size_t settled = text->length;
    while (settled >= 3 && memcmp(text->data + settled - 3, "\xef\xbf\xbd", 3) == 0)
        settled -= 3;
    for (size_t i = 0; i < generation->n_stop; i++)
        for (size_t n = strlen(generation->stop[i]); n > 0; n--)
            if (n <= text->length && memcmp(text->data + text->length - n, generation->stop[i], n) == 0) {
                settled = text->length - n < settled ? text->length - n : settled;
                break;
            }
    return settled;
}

static vlm_status stream(const session *s, writing *w, size_t length)
{
    if (!s->setup->stream)
        return VLM_OK;
    size_t from = w->n_sent < length ? w->n_sent : length;
    bool more = s->setup->stream(s->setup->user, w->index, w->text.data ? w->text.data + from : "", length - from);
    w->n_sent = length > w->n_sent ? length : w->n_sent;
    return more ? VLM_OK : vlm_fail(s->error, VLM_ERR_CANCELLED, "generation was stopped by its callback");
}

/* ---- a step -------------------------------------------------------------------------------------------- */

/* Greedy and sampling: one more token. */
static vlm_status take_token(session *s, writing *w, float *logits)
{
    const vlm_generation *g = s->setup->generation;
    size_t vocabulary = s->setup->language->vocabulary;
    vlm_logits_penalise(logits, vocabulary, g, &w->history, s->setup->ends);
    int32_t id = g->sample ? vlm_logits_sample(logits, vocabulary, g, &w->random, s->scratch) : vlm_logits_best(logits, vocabulary);
    if (!vlm_history_push(&w->history, id))
        return vlm_fail_memory(s->error, w->history.n * sizeof id, "a text");
    size_t n_new = w->history.n - w->history.n_prompt;
    w->done = vlm_is_end(s->setup->ends, id) || n_new >= g->max_new_tokens;
    if (!w->done && !g->n_stop && !s->setup->stream)
        return VLM_OK;
    vlm_status status = decode(s, w->history.ids + w->history.n_prompt, n_new, &w->text);
    size_t stop = status == VLM_OK ? find_stop(g, &w->text) : SIZE_MAX;
    if (stop != SIZE_MAX) {
        w->text.length = stop;
        w->text.data[stop] = 0;
        w->done = true;
    }
    return status == VLM_OK ? stream(s, w, w->done ? w->text.length : settled_length(g, &w->text)) : status;
}

static bool text_stops(void *user, const int32_t *ids, size_t n)
{
    const session *s = user;
    vlm_text text = {0};
    bool stops = decode(s, ids, n, &text) == VLM_OK && find_stop(s->setup->generation, &text) != SIZE_MAX;
    vlm_text_free(&text);
    return stops;
}

/* Give each new beam a slot: its parent's, or a copy where a brother took that. */
static void move_beams(session *s, writing *w)
{
    size_t n = s->n_beams, *next = w->spare, free_slot = 0;
    for (size_t b = 0; b < n; b++)
        next[b] = SIZE_MAX;
    for (size_t parent = 0; parent < n; parent++)
        for (size_t b = 0; b < n; b++)
            if (w->parents[b] == parent) {
                next[b] = w->slots[parent];
                break;
            }
    for (size_t b = 0; b < n; b++) {
        if (next[b] != SIZE_MAX)
            continue;
        for (bool taken = true; taken; free_slot += taken) { /* the slot of a beam without continuation */
            taken = false;
            for (size_t other = 0; other < n && !taken; other++)
                taken = next[other] == w->slots[free_slot];
        }
        size_t from = w->slots[w->parents[b]], to = w->slots[free_slot];
        vlm_kv_cache_copy(&s->cache, to, from, w->n_rows, s->cache.lengths[from]);
        next[b] = to;
    }
    w->spare = w->slots;
    w->slots = next;
}

/* logits [n_beams, vocabulary] */
static vlm_status take_beams(session *s, writing *w, float *logits)
{
    vlm_status status = vlm_beams_step(&w->beams, logits, s->setup->language->vocabulary, w->parents, s->error);
    if (status != VLM_OK)
        return status;
    w->done = w->beams.done;
    if (!w->done)
        move_beams(s, w);
    return stream(s, w, 0);
}

/* What the prompt's last row said; beams begin as one. */
static vlm_status take_first(session *s, writing *w, float *logits)
{
    size_t vocabulary = s->setup->language->vocabulary;
    if (s->n_beams == 1)
        return take_token(s, w, logits);
    for (size_t b = 0; b < s->n_beams; b++)
        memcpy(s->scratch + b * vocabulary, logits, vocabulary * sizeof *logits);
    return take_beams(s, w, s->scratch);
}

static vlm_status run_reading(session *s, vlm_tensor **result)
{
    s->memory.slots = s->reading.slots;
    s->reading.memory = &s->memory;
    *result = vlm_run_forward(s->setup->context, forward_reading, &s->reading, s->error);
    return *result ? VLM_OK : s->setup->context->error.status;
}

/* One more token for every text that is not done. */
static vlm_status step(session *s)
{
    reading *r = &s->reading;
    vlm_tensor *logits;
    clear_reading(r);
    for (size_t i = 0; i < s->n; i++)
        for (size_t b = 0; b < s->n_beams && !s->texts[i].done; b++) {
            const vlm_history *history = s->n_beams == 1 ? &s->texts[i].history : &s->texts[i].beams.running[b].history;
            add_id(r, history->ids[history->n - 1]);
            end_sequence(r, s->texts[i].slots[b]);
        }
    vlm_status status = run_reading(s, &logits);
    float *row = status == VLM_OK ? vlm_tensor_floats(logits) : NULL;
    for (size_t i = 0; i < s->n && status == VLM_OK; i++) {
        if (s->texts[i].done)
            continue;
        status = s->n_beams == 1 ? take_token(s, &s->texts[i], row) : take_beams(s, &s->texts[i], row);
        row += s->n_beams * s->setup->language->vocabulary;
    }
    return status;
}

/* ---- prompts ------------------------------------------------------------------------------------------- */

/* The prompt's rows of the cache to the slots of its other beams. */
static void share_prompt(session *s, const writing *w, vlm_kv_cache *cache)
{
    for (size_t b = 1; b < s->n_beams; b++) {
        vlm_kv_cache_copy(cache, w->slots[b], w->slots[0], 0, cache->lengths[w->slots[0]]);
        cache->lengths[w->slots[b]] = cache->lengths[w->slots[0]];
    }
}

static size_t prompt_rows(const vlm_prompt *prompt)
{
    return prompt->n_visual + prompt->n_ids;
}

/* Texts first .. last - 1, of which each has one more block (or its start token) in the reading: compute, and take the
 * first token of those that are wanted. */
static vlm_status read_block(session *s, size_t first, size_t last, bool wanted)
{
    vlm_tensor *logits;
    size_t vocabulary = s->setup->language->vocabulary;
    vlm_status status = run_reading(s, &logits);
    if (status != VLM_OK || !wanted)
        return status;
    const float *rows = vlm_tensor_floats(logits);
    for (size_t i = first; i < last; i++)
        share_prompt(s, &s->texts[i], &s->cache);
    for (size_t i = first; i < last && status == VLM_OK; i++)
        status = take_first(s, &s->texts[i], (float *)rows + (i - first) * vocabulary);
    return status;
}

/* A long prompt alone, block by block: all but what fits into the last pass. */
static vlm_status read_blocks(session *s, size_t i, size_t *done)
{
    writing *w = &s->texts[i];
    vlm_status status = VLM_OK;
    for (*done = 0; w->n_rows - *done > ROWS_AT_ONCE && status == VLM_OK; *done += ROWS_AT_ONCE) {
        clear_reading(&s->reading);
        add_prompt_rows(&s->reading, s->setup->language, w->prompt, *done, *done + ROWS_AT_ONCE);
        end_sequence(&s->reading, w->slots[0]);
        status = read_block(s, i, i + 1, false);
    }
    return status;
}

/* Prompts of a decoder: as many in a pass as there are rows. */
static vlm_status read_prompts(session *s)
{
    vlm_status status = VLM_OK;
    for (size_t i = 0, last; i < s->n && status == VLM_OK; i = last) {
        size_t done;
        status = read_blocks(s, i, &done);
        clear_reading(&s->reading);
        for (last = i; last < s->n && status == VLM_OK; last++) {
            writing *w = &s->texts[last];
            size_t from = last == i ? done : 0;
            if (last > i && s->reading.n_rows + w->n_rows > ROWS_AT_ONCE)
                break;
            add_prompt_rows(&s->reading, s->setup->language, w->prompt, from, w->n_rows);
            end_sequence(&s->reading, w->slots[0]);
        }
        if (status == VLM_OK)
            status = read_block(s, i, last, true);
    }
    return status;
}

/* Texts first .. last - 1 through the encoder. */
static vlm_status encode_block(session *s, size_t first, size_t last)
{
    const vlm_transformer *encoder = &s->setup->language->encoder;
    reading *r = &s->reading;
    size_t longest = 0;
    clear_reading(r);
    for (size_t i = first; i < last; i++) {
        size_t rows = prompt_rows(s->texts[i].prompt);
        longest = rows > longest ? rows : longest;
        add_prompt_rows(r, s->setup->language, s->texts[i].prompt, 0, rows);
        end_sequence(r, s->texts[i].slots[0]);
    }
    vlm_kv_cache rows = {0};
    vlm_memory scratch = {.cache = &rows, .slots = r->order};
    vlm_tensor *result;
    vlm_status status = vlm_kv_cache_create(&rows, VLM_F32, 1, r->n, longest, vlm_transformer_kv_heads(encoder) * vlm_transformer_head(encoder), s->error);
    if (status != VLM_OK)
        return status;
    r->scratch = &scratch;
    status = run_reading(s, &result);
    r->scratch = NULL;
    vlm_kv_cache_free(&rows);
    for (size_t i = first; i < last && status == VLM_OK; i++)
        share_prompt(s, &s->texts[i], &s->cross);
    return status;
}

/* Prompts of an encoder and its decoder: encode, then the start token. */
static vlm_status encode_prompts(session *s)
{
    vlm_status status = VLM_OK;
    for (size_t i = 0, last; i < s->n && status == VLM_OK; i = last) {
        size_t rows = prompt_rows(s->texts[i].prompt);
        for (last = i + 1; last < s->n && rows + prompt_rows(s->texts[last].prompt) <= ROWS_AT_ONCE; last++)
            rows += prompt_rows(s->texts[last].prompt);
        status = encode_block(s, i, last);
    }
    clear_reading(&s->reading);
    for (size_t i = 0; i < s->n; i++) {
        add_id(&s->reading, s->setup->language->start_id);
        end_sequence(&s->reading, s->texts[i].slots[0]);
    }
    return status == VLM_OK ? read_block(s, 0, s->n, true) : status;
}

/* ---- beginning and end --------------------------------------------------------------------------------- */

/* What penalties see before the first new token. */
static vlm_status begin_history(session *s, writing *w)
{
    const vlm_prompt *prompt = w->prompt;
    bool good = true;
    if (s->setup->language->encoder.n_blocks) {
        good = vlm_history_push(&w->history, s->setup->language->start_id);
    } else {
        for (size_t i = 0; i < prompt->n_visual && prompt->visual_id >= 0 && good; i++)
            good = vlm_history_push(&w->history, prompt->visual_id);
        for (size_t i = 0; i < prompt->n_ids && good; i++)
            good = vlm_history_push(&w->history, prompt->ids[i]);
    }
    w->history.n_prompt = w->history.n;
    return good ? VLM_OK : vlm_fail_memory(s->error, prompt->n_ids * sizeof *prompt->ids, "a prompt");
}

static vlm_status begin_text(session *s, writing *w, const vlm_prompt *prompt, size_t i, size_t index)
{
    const vlm_writer_setup *setup = s->setup;
    *w = (writing){.prompt = prompt, .index = index, .n_rows = setup->language->encoder.n_blocks ? 1 : prompt_rows(prompt)};
    w->slots = vlm_alloc(s->n_beams, sizeof *w->slots);
    w->parents = vlm_alloc(s->n_beams, sizeof *w->parents);
    w->spare = vlm_alloc(s->n_beams, sizeof *w->spare);
    if (!w->slots || !w->parents || !w->spare)
        return vlm_fail_memory(s->error, s->n_beams * sizeof *w->slots, "beams");
    for (size_t b = 0; b < s->n_beams; b++)
        w->slots[b] = i * s->n_beams + b;
    vlm_random_seed_stream(&w->random, setup->generation->seed, index);
    vlm_status status = begin_history(s, w);
    if (status == VLM_OK && s->n_beams > 1)
        status = vlm_beams_create(&w->beams, setup->generation, setup->ends, w->history.ids, w->history.n, s->error);
    if (setup->generation->n_stop) {
        w->beams.stops = text_stops;
        w->beams.stops_user = s;
    }
    return status;
}

static void end_text(session *s, writing *w)
{
    free(w->slots);
    free(w->parents);
    free(w->spare);
    free(w->history.ids);
    vlm_text_free(&w->text);
    if (s->n_beams > 1)
        vlm_beams_free(&w->beams);
}

/* ids are new tokens; the text is decoded and cut before a stop string. */
static vlm_status fill_written(session *s, vlm_written *written, const int32_t *ids, size_t n, float score)
{
    vlm_text text = {0};
    vlm_status status = decode(s, ids, n, &text);
    size_t stop = status == VLM_OK ? find_stop(s->setup->generation, &text) : SIZE_MAX;
    if (stop != SIZE_MAX)
        text.length = stop;
    written->ids = status == VLM_OK ? vlm_alloc(n, sizeof *written->ids) : NULL;
    written->text = status == VLM_OK ? vlm_copy_text(text.length ? text.data : "", text.length) : NULL;
    written->length = text.length;
    written->score = score;
    vlm_text_free(&text);
    if (status != VLM_OK)
        return status;
    if (!written->ids || !written->text)
        return vlm_fail_memory(s->error, n * sizeof *ids, "a text");
    memcpy(written->ids, ids, n * sizeof *ids);
    written->n_ids = n;
    return VLM_OK;
}

static vlm_status fill_answer(session *s, writing *w, vlm_answer *answer)
{
    size_t n = s->n_beams > 1 ? s->setup->generation->n_best : 1;
    vlm_status status = VLM_OK;
    answer->texts = vlm_alloc_zero(n, sizeof *answer->texts);
    if (!answer->texts)
        return vlm_fail_memory(s->error, n * sizeof *answer->texts, "a text");
    answer->n = n;
    for (size_t i = 0; i < n && status == VLM_OK; i++) {
        const vlm_history *history = s->n_beams > 1 ? &w->beams.best[i].history : &w->history;
        status = fill_written(s, &answer->texts[i], history->ids + history->n_prompt, history->n - history->n_prompt, s->n_beams > 1 ? w->beams.best[i].score : 0);
    }
    if (status != VLM_OK || s->n_beams == 1 || !s->setup->stream)
        return status;
    bool more = s->setup->stream(s->setup->user, w->index, answer->texts[0].text, answer->texts[0].length);
    return more ? VLM_OK : vlm_fail(s->error, VLM_ERR_CANCELLED, "generation was stopped by its callback");
}

/* Caches with room for the longest prompt and what may follow it; the last token is never read. */
static vlm_status create_caches(session *s, const vlm_prompt *prompts)
{
    const vlm_language *language = s->setup->language;
    size_t width = vlm_transformer_kv_heads(&language->body) * vlm_transformer_head(&language->body), slots = s->n * s->n_beams, longest = 1;
    for (size_t i = 0; i < s->n; i++)
        longest = prompt_rows(&prompts[i]) > longest ? prompt_rows(&prompts[i]) : longest;
    bool encodes = language->encoder.n_blocks > 0;
    size_t capacity = (encodes ? 1 : longest) + s->setup->generation->max_new_tokens - 1;
    capacity = capacity < language->context_length ? capacity : language->context_length;
    vlm_status status = vlm_kv_cache_create(&s->cache, s->setup->cache_type, language->body.n_blocks, slots, capacity, width, s->error);
    if (status == VLM_OK && encodes)
        status = vlm_kv_cache_create(&s->cross, s->setup->cache_type, language->body.n_blocks, slots, longest, width, s->error);
    s->memory = (vlm_memory){.cache = &s->cache, .cross = encodes ? &s->cross : NULL};
    return status;
}

static vlm_status open_session(session *s, const vlm_prompt *prompts, size_t first)
{
    const vlm_language *language = s->setup->language;
    size_t rows = ROWS_AT_ONCE, sequences = s->n * s->n_beams;
    for (size_t i = 0; i < s->n; i++)
        rows = prompt_rows(&prompts[i]) > rows ? prompt_rows(&prompts[i]) : rows;
    s->texts = vlm_alloc_zero(s->n, sizeof *s->texts);
    s->scratch = vlm_alloc(language->vocabulary, (s->n_beams > 2 ? s->n_beams : 2) * sizeof *s->scratch);
    vlm_status status = s->texts && s->scratch ? VLM_OK : vlm_fail_memory(s->error, language->vocabulary * sizeof *s->scratch, "logits");
    if (status == VLM_OK)
        status = create_reading(&s->reading, language, sequences, rows > sequences ? rows : sequences, s->error);
    if (status == VLM_OK)
        status = create_caches(s, prompts);
    for (size_t i = 0; i < s->n && status == VLM_OK; i++)
        status = begin_text(s, &s->texts[i], &prompts[i], i, first + i);
    return status;
}

static void close_session(session *s)
{
    for (size_t i = 0; i < s->n && s->texts; i++)
        end_text(s, &s->texts[i]);
    free(s->texts);
    free(s->scratch);
    free_reading(&s->reading);
    vlm_kv_cache_free(&s->cache);
    vlm_kv_cache_free(&s->cross);
}

static bool all_done(const session *s)
{
    for (size_t i = 0; i < s->n; i++)
        if (!s->texts[i].done)
            return false;
    return true;
}

/* n prompts together; first is the number of the first one. */
static vlm_status write_together(const vlm_writer_setup *setup, const vlm_prompt *prompts, size_t n, size_t first, vlm_answer *answers, vlm_error *error)
{
    session s = {.setup = setup, .n = n, .n_beams = setup->generation->n_beams, .error = error};
    vlm_status status = open_session(&s, prompts, first);
    if (status == VLM_OK)
        status = setup->language->encoder.n_blocks ? encode_prompts(&s) : read_prompts(&s);
    while (status == VLM_OK && !all_done(&s))
        status = step(&s);
    for (size_t i = 0; i < n && status == VLM_OK; i++)
        status = fill_answer(&s, &s.texts[i], &answers[i]);
    close_session(&s);
    return status;
}

static vlm_status check_prompt(const vlm_writer_setup *setup, const vlm_prompt *prompt, vlm_error *error)
{
    size_t rows = prompt_rows(prompt), most = setup->language->context_length;
    if (!rows)
        return vlm_fail(error, VLM_ERR_ARGUMENT, "an empty prompt, and a model without a begin token: nothing to continue");
    if (rows > most)
        return vlm_fail(error, VLM_ERR_LIMIT, "the prompt has %zu tokens; the model takes at most %zu", rows, most);
    return VLM_OK;
}

void vlm_answer_free(vlm_answer *answer)
{
    for (size_t i = 0; i < answer->n; i++) {
        free(answer->texts[i].text);
        free(answer->texts[i].ids);
    }
    free(answer->texts);
    *answer = (vlm_answer){0};
}

vlm_status vlm_write_texts(const vlm_writer_setup *setup, const vlm_prompt *prompts, size_t n, vlm_answer *answers, vlm_error *error)
{
    size_t at_once = setup->generation->n_beams < SEQUENCES_AT_ONCE ? SEQUENCES_AT_ONCE / setup->generation->n_beams : 1;
    vlm_status status = vlm_generation_check(setup->generation, error);
    memset(answers, 0, n * sizeof *answers);
    for (size_t i = 0; i < n && status == VLM_OK; i++)
        status = check_prompt(setup, &prompts[i], error);
    for (size_t i = 0; i < n && status == VLM_OK; i += at_once)
        status = write_together(setup, prompts + i, n - i < at_once ? n - i : at_once, i, answers + i, error);
    for (size_t i = 0; i < n && status != VLM_OK; i++)
        vlm_answer_free(&answers[i]);
    return status;
}
