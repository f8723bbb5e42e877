/* Turn logits into tokens: penalties, sampling, beam search, stop rules.
 * logits [vocabulary] (or [beams, vocabulary]) -> the next token(s).
 * Matches transformers 5.23's logits processors and GenerationMixin._beam_search, scores included.
 * Traps: beams work on log-probabilities, penalties included, that are not normalised again; a step keeps
 * (1 + number of end tokens, at least 2) candidates a beam; a text is finished only if it is among the best n of
 * them; a length counts the end token. */
#include "pipeline/text.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/memory.h"

static const float NOTHING = -1e9f; /* what the reference takes for "no score" */

vlm_generation vlm_generation_defaults(void)
{
    return (vlm_generation){.max_new_tokens = 20, .n_beams = 1, .n_best = 1, .length_penalty = 1, .repetition_penalty = 1, .temperature = 1, .top_p = 1};
}

vlm_status vlm_generation_check(const vlm_generation *g, vlm_error *error)
{
    if (g->max_new_tokens < 1 || g->max_new_tokens > 1 << 24)
        return vlm_fail(error, VLM_ERR_ARGUMENT, "max_new_tokens is %zu; at least 1 is wanted", g->max_new_tokens);
    if (g->min_new_tokens > g->max_new_tokens)
        return vlm_fail(error, VLM_ERR_ARGUMENT, "min_new_tokens %zu is more than max_new_tokens %zu", g->min_new_tokens, g->max_new_tokens);
    if (g->n_beams < 1 || g->n_beams > 1024 || g->n_best < 1 || g->n_best > g->n_beams)
        return vlm_fail(error, VLM_ERR_ARGUMENT, "%zu best of %zu beams; 1 to 1024 beams, and no more texts than beams, are wanted", g->n_best, g->n_beams);
    if (!(g->repetition_penalty > 0) || !isfinite(g->repetition_penalty))
        return vlm_fail(error, VLM_ERR_ARGUMENT, "repetition_penalty is %g; a number above 0 is wanted", (double)g->repetition_penalty);
    if (!(g->temperature > 0) || !isfinite(g->temperature))
        return vlm_fail(error, VLM_ERR_ARGUMENT, "temperature is %g; a number above 0 is wanted (greedy is without sampling)", (double)g->temperature);
    if (!(g->top_p > 0 && g->top_p <= 1) || !(g->min_p >= 0 && g->min_p <= 1))
        return vlm_fail(error, VLM_ERR_ARGUMENT, "top_p is %g and min_p %g; a share of 1 is wanted", (double)g->top_p, (double)g->min_p);
    if (!isfinite(g->length_penalty))
        return vlm_fail(error, VLM_ERR_ARGUMENT, "length_penalty is not a number");
    if (g->sample && g->n_beams > 1)
        return vlm_fail(error, VLM_ERR_UNSUPPORTED, "sampling within beams is not computed; choose one of the two");
    return VLM_OK;
}

bool vlm_history_push(vlm_history *history, int32_t id)
{
    if (!vlm_grow(&history->ids, &history->capacity, history->n + 1, sizeof *history->ids))
        return false;
    history->ids[history->n++] = id;
    return true;
}

bool vlm_is_end(vlm_ends ends, int32_t id)
{
    for (size_t i = 0; i < ends.n; i++)
        if (ends.ids[i] == id)
            return true;
    return false;
}

/* ---- penalties ------------------------------------------------------------------------------------------ */

static bool occurs(const int32_t *ids, size_t n, int32_t id)
{
    for (size_t i = 0; i < n; i++)
        if (ids[i] == id)
            return true;
    return false;
}

/* Each token seen, once: divided when positive, multiplied when negative. A table of those that were keeps long
 * prompts cheap; without memory for it the tokens before are searched. */
static void penalise_repetition(float *logits, size_t n, float penalty, const vlm_history *history)
{
    bool *seen = history->n > 64 ? vlm_alloc_zero(n, sizeof *seen) : NULL;
    for (size_t i = 0; i < history->n; i++) {
        int32_t id = history->ids[i];
        if (id < 0 || (size_t)id >= n || (seen ? seen[id] : occurs(history->ids, i, id)))
            continue;
        logits[id] = logits[id] < 0 ? logits[id] * penalty : logits[id] / penalty;
        if (seen)
            seen[id] = true;
    }
    free(seen);
}

/* What would complete an n-gram that has been is forbidden. */
static void forbid_ngrams(float *logits, size_t n, size_t size, const vlm_history *history)
{
    if (history->n + 1 < size)
        return;
    const int32_t *last = history->ids + history->n - (size - 1);
    for (size_t i = 0; i + size <= history->n; i++)
        if (memcmp(history->ids + i, last, (size - 1) * sizeof *last) == 0) {
            int32_t id = history->ids[i + size - 1];
            if (id >= 0 && (size_t)id < n)
                logits[id] = -INFINITY;
        }
}

void vlm_logits_penalise(float *logits, size_t n, const vlm_generation *generation, const vlm_history *history, vlm_ends ends)
{
    if (generation->repetition_penalty != 1)
        penalise_repetition(logits, n, generation->repetition_penalty, history);
    if (generation->no_repeat_ngram)
        forbid_ngrams(logits, n, generation->no_repeat_ngram, history);
    for (size_t i = 0; history->n - history->n_prompt < generation->min_new_tokens && i < ends.n; i++)
        if (ends.ids[i] >= 0 && (size_t)ends.ids[i] < n)
            logits[ends.ids[i]] = -INFINITY;
}

/* ---- one token ------------------------------------------------------------------------------------------ */

int32_t vlm_logits_best(const float *logits, size_t n)
{
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (logits[i] > logits[best])
            best = i;
    return (int32_t)best;
}

static int compare_descending(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x < y) - (x > y);
}

/* The smallest logit that top-k, top-p and min-p leave; `sorted` [n] is scratch. */
static float find_threshold(const float *logits, size_t n, const vlm_generation *g, float *sorted)
{
    float lowest = -INFINITY;
    memcpy(sorted, logits, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, compare_descending);
    size_t kept = g->top_k && g->top_k < n ? g->top_k : n;
    if (kept < n)
        lowest = sorted[kept - 1];
    double sum = 0, before = 0;
    for (size_t i = 0; i < kept; i++)
        sum += exp((double)(sorted[i] - sorted[0]));
    if (g->top_p < 1) /* keep while what stands before is less than top_p; always the first */
        for (size_t i = 0; i < kept && (i == 0 || before < (double)g->top_p * sum); i++) {
            lowest = sorted[i];
            before += exp((double)(sorted[i] - sorted[0]));
        }
    if (g->min_p > 0) {
        float bound = sorted[0] + logf(g->min_p);
        lowest = bound > lowest ? bound : lowest;
    }
    return lowest;
}

int32_t vlm_logits_sample(const float *logits, size_t n, const vlm_generation *g, vlm_random *random, float *scratch)
{
    float *warm = scratch, *sorted = scratch + n;
    for (size_t i = 0; i < n; i++)
        warm[i] = logits[i] / g->temperature;
    float lowest = find_threshold(warm, n, g, sorted), highest = sorted[0];
    double total = 0;
    for (size_t i = 0; i < n; i++)
        total += warm[i] >= lowest ? exp((double)(warm[i] - highest)) : 0;
    double at = ((double)(vlm_random_u64(random) >> 11) + 0.5) * 0x1p-53 * total;
    int32_t last = vlm_logits_best(logits, n);
    for (size_t i = 0; i < n; i++) {
        double p = warm[i] >= lowest ? exp((double)(warm[i] - highest)) : 0;
        if (p <= 0)
            continue;
        last = (int32_t)i;
        at -= p;
        if (at < 0)
            break;
    }
    return last;
}

/* ---- beams ---------------------------------------------------------------------------------------------- */

/* A continuation: beam, token, and the sum of log-probabilities. */
typedef struct candidate {
    size_t beam;
    int32_t id;
    float score;
    bool ends;
} candidate;

static bool copy_history(vlm_history *to, const vlm_history *from)
{
    if (!vlm_grow(&to->ids, &to->capacity, from->n + 1, sizeof *to->ids))
        return false;
    memcpy(to->ids, from->ids, from->n * sizeof *to->ids);
    to->n = from->n;
    to->n_prompt = from->n_prompt;
    return true;
}

vlm_status vlm_beams_create(vlm_beams *beams, const vlm_generation *generation, vlm_ends ends, const int32_t *prompt, size_t n_prompt, vlm_error *error)
{
    *beams = (vlm_beams){.generation = generation, .ends = ends, .n = generation->n_beams, .hopeful = true};
    vlm_history history = {(int32_t *)prompt, n_prompt, n_prompt, n_prompt};
    beams->running = vlm_alloc_zero(beams->n, sizeof *beams->running);
    beams->best = vlm_alloc_zero(beams->n, sizeof *beams->best);
    bool good = beams->running && beams->best;
    for (size_t i = 0; good && i < beams->n; i++) {
        good = copy_history(&beams->running[i].history, &history) && copy_history(&beams->best[i].history, &history);
        beams->running[i].score = i ? NOTHING : 0; /* all are the same text: one of them counts */
        beams->best[i].score = NOTHING;
    }
    if (good)
        return VLM_OK;
    vlm_beams_free(beams);
    return vlm_fail_memory(error, generation->n_beams * n_prompt * sizeof *prompt, "beams");
}

static void free_beams(vlm_beam *list, size_t n)
{
    for (size_t i = 0; list && i < n; i++)
        free(list[i].history.ids);
    free(list);
}

void vlm_beams_free(vlm_beams *beams)
{
    free_beams(beams->running, beams->n);
    free_beams(beams->best, beams->n);
    *beams = (vlm_beams){0};
}

static void to_log_probabilities(float *logits, size_t n)
{
    float highest = logits[0];
    for (size_t i = 1; i < n; i++)
        highest = logits[i] > highest ? logits[i] : highest;
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += exp((double)(logits[i] - highest));
    float shift = highest + (float)log(sum);
    for (size_t i = 0; i < n; i++)
        logits[i] -= shift;
}

/* Insert into a list of at most `most`, kept best first; of equals the earlier stays ahead. */
static void insert(candidate *list, size_t *n, size_t most, candidate c)
{
    if (*n == most && !(c.score > list[most - 1].score))
        return;
    size_t at = *n < most ? (*n)++ : most - 1;
    for (; at > 0 && c.score > list[at - 1].score; at--)
        list[at] = list[at - 1];
    list[at] = c;
}

static size_t find_candidates(const vlm_beams *beams, float *logits, size_t vocabulary, candidate *list, size_t most)
{
    size_t n = 0;
    for (size_t b = 0; b < beams->n; b++) {
        float *row = logits + b * vocabulary;
        to_log_probabilities(row, vocabulary);
        vlm_logits_penalise(row, vocabulary, beams->generation, &beams->running[b].history, beams->ends);
        for (size_t i = 0; i < vocabulary; i++)
            insert(list, &n, most, (candidate){b, (int32_t)i, row[i] + beams->running[b].score, false});
    }
    return n;
}

/* Which candidates end here? False: out of memory. */
static bool mark_ends(const vlm_beams *beams, candidate *list, size_t n)
{
    bool last = beams->step + 1 >= beams->generation->max_new_tokens, good = true;
    vlm_history text = {0};
    for (size_t i = 0; i < n && good; i++) {
        list[i].ends = last || vlm_is_end(beams->ends, list[i].id);
        if (list[i].ends || !beams->stops)
            continue;
        good = copy_history(&text, &beams->running[list[i].beam].history) && vlm_history_push(&text, list[i].id);
        list[i].ends = good && beams->stops(beams->stops_user, text.ids + text.n_prompt, text.n - text.n_prompt);
    }
    free(text.ids);
    return good;
}

/* A new beam: the candidate's parent's tokens and its own. */
static bool extend(vlm_beam *beam, const vlm_beams *beams, const candidate *c, float score)
{
    beam->score = score;
    return copy_history(&beam->history, &beams->running[c->beam].history) && vlm_history_push(&beam->history, c->id);
}

static bool all_finished(const vlm_beams *beams)
{
    for (size_t i = 0; i < beams->n; i++)
        if (!beams->best[i].finished)
            return false;
    return true;
}

/* The best n of what was best and what has just ended among the first n candidates. */
static bool update_best(vlm_beams *beams, const candidate *list, size_t n_list)
{
    float length = powf((float)(beams->step + 1), beams->generation->length_penalty);
    bool full = all_finished(beams) && beams->generation->early_stopping == VLM_EARLY_STOPPING_TRUE;
    for (size_t i = 0; i < n_list && i < beams->n; i++) {
        float score = list[i].score / length;
        if (!list[i].ends || full || !beams->hopeful)
            continue; /* the reference takes a billion away from these, which is below every empty place */
        if (!(score > beams->best[beams->n - 1].score))
            continue;
        vlm_beam worst = beams->best[beams->n - 1];
        if (!extend(&worst, beams, &list[i], score))
            return false;
        worst.finished = true;
        size_t at = beams->n - 1;
        for (; at > 0 && score > beams->best[at - 1].score; at--)
            beams->best[at] = beams->best[at - 1];
        beams->best[at] = worst;
    }
    return true;
}

/* The first n candidates that do not end run on. When too few are left, ended ones fill the places with a score
 * that keeps them there. */
static bool choose_running(vlm_beams *beams, candidate *list, size_t n_list, size_t *parents)
{
    vlm_beam *next = vlm_alloc_zero(beams->n, sizeof *next);
    size_t n = 0;
    bool good = next != NULL;
    for (int ended = 0; ended < 2; ended++)
        for (size_t i = 0; good && i < n_list && n < beams->n; i++)
            if (list[i].ends == (ended == 1)) {
                parents[n] = list[i].beam;
                good = extend(&next[n++], beams, &list[i], ended ? list[i].score + NOTHING : list[i].score);
            }
    if (!good) {
        free_beams(next, next ? beams->n : 0);
        return false;
    }
    free_beams(beams->running, beams->n);
    beams->running = next;
    return true;
}

/* May a running beam still become one of the best, as the reference estimates it? */
static bool may_improve(const vlm_beams *beams)
{
    const vlm_generation *g = beams->generation;
    size_t length = g->early_stopping == VLM_EARLY_STOPPING_NEVER && g->length_penalty > 0 ? g->max_new_tokens : beams->step;
    float possible = beams->running[0].score / powf((float)length, g->length_penalty);
    float worst = beams->best[0].score;
    for (size_t i = 1; i < beams->n; i++)
        worst = beams->best[i].score < worst ? beams->best[i].score : worst;
    for (size_t i = 0; i < beams->n; i++)
        if (possible > (beams->best[i].finished ? worst : NOTHING))
            return true;
    return false;
}

vlm_status vlm_beams_step(vlm_beams *beams, float *logits, size_t vocabulary, size_t *parents, vlm_error *error)
{
    size_t per_beam = beams->ends.n + 1 > 2 ? beams->ends.n + 1 : 2, most = per_beam * beams->n;
    candidate *list = vlm_alloc(most, sizeof *list);
    if (!list)
        return vlm_fail_memory(error, most * sizeof *list, "beams");
    size_t n = find_candidates(beams, logits, vocabulary, list, most);
    bool all_end = true, good = mark_ends(beams, list, n);
    for (size_t i = 0; i < n; i++)
        all_end = all_end && list[i].ends;
    good = good && n >= beams->n && update_best(beams, list, n) && choose_running(beams, list, n, parents);
    free(list);
    if (!good)
        return n < beams->n ? vlm_fail(error, VLM_ERR_ARGUMENT, "%zu beams of a vocabulary of %zu tokens", beams->n, vocabulary) : vlm_fail_memory(error, beams->n * sizeof *beams->best, "beams");
    beams->step++;
    beams->hopeful = beams->hopeful && may_improve(beams);
    beams->done = !beams->hopeful || all_end || (all_finished(beams) && beams->generation->early_stopping == VLM_EARLY_STOPPING_TRUE);
    return VLM_OK;
}
