/* From logits to tokens, without a model: penalties, sampling, settings. Beams are compared with the reference in
 * tests/golden/test_language.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <string.h>

#include <cmocka.h>

#include "pipeline/text.h"

enum { VOCABULARY = 500, LONG = 300, SHORT = 20 };

static void check_repetition(size_t n)
{
    float logits[VOCABULARY], wanted[VOCABULARY];
    int32_t ids[LONG];
    bool seen[VOCABULARY] = {0};
    vlm_random random;
    vlm_random_seed(&random, 4);
    for (size_t i = 0; i < VOCABULARY; i++)
        logits[i] = wanted[i] = vlm_random_normal(&random);
    for (size_t i = 0; i < n; i++) {
        ids[i] = (int32_t)vlm_random_below(&random, VOCABULARY / 2 + 20) - 10; /* some outside of the vocabulary, many twice */
        if (ids[i] >= 0 && !seen[ids[i]]) {
            seen[ids[i]] = true;
            wanted[ids[i]] = wanted[ids[i]] < 0 ? wanted[ids[i]] * 1.7f : wanted[ids[i]] / 1.7f;
        }
    }
    vlm_generation g = vlm_generation_defaults();
    g.repetition_penalty = 1.7f;
    vlm_history history = {ids, n, n, n};
    vlm_logits_penalise(logits, VOCABULARY, &g, &history, (vlm_ends){0});
    assert_memory_equal(logits, wanted, sizeof logits);
}

static void test_each_token_seen_is_penalised_once(void **state)
{
    (void)state;
    check_repetition(SHORT);
    check_repetition(LONG);
}

static void test_what_completes_an_ngram_again_is_forbidden(void **state)
{
    int32_t ids[] = {1, 2, 3, 1, 2};
    float logits[5] = {0};
    vlm_generation g = vlm_generation_defaults();
    vlm_history history = {ids, 5, 5, 0};
    (void)state;
    g.no_repeat_ngram = 3;
    vlm_logits_penalise(logits, 5, &g, &history, (vlm_ends){0});
    for (size_t i = 0; i < 5; i++)
        assert_true(i == 3 ? isinf(logits[i]) : logits[i] == 0);
}

static void test_an_end_token_waits_for_the_minimum_of_new_tokens(void **state)
{
    int32_t ids[] = {1, 2, 3}, end = 4;
    float logits[5] = {0};
    vlm_generation g = vlm_generation_defaults();
    vlm_history history = {ids, 3, 3, 1};
    (void)state;
    g.min_new_tokens = 2;
    vlm_logits_penalise(logits, 5, &g, &history, (vlm_ends){&end, 1});
    assert_true(logits[4] == 0);
    g.min_new_tokens = 3;
    vlm_logits_penalise(logits, 5, &g, &history, (vlm_ends){&end, 1});
    assert_true(isinf(logits[4]) && logits[4] < 0);
}

static void test_samples_are_as_frequent_as_likely_and_within_the_filters(void **state)
{
    const float logits[4] = {logf(0.5f), logf(0.3f), logf(0.15f), logf(0.05f)};
    const double whole[4] = {0.5, 0.3, 0.15, 0.05}, two[4] = {0.625, 0.375, 0, 0};
    (void)state;
    for (int kind = 0; kind < 4; kind++) {
        size_t count[4] = {0}, n = 20000;
        float scratch[8];
        vlm_random random;
        vlm_generation g = vlm_generation_defaults();
        vlm_random_seed(&random, 11);
        g.sample = true;
        g.top_k = kind == 1 ? 2 : 0;
        g.top_p = kind == 2 ? 0.7f : 1;
        g.min_p = kind == 3 ? 0.5f : 0;
        for (size_t i = 0; i < n; i++)
            count[vlm_logits_sample(logits, 4, &g, &random, scratch)]++;
        for (size_t i = 0; i < 4; i++) { /* four standard deviations of a frequency are below 0.015 */
            double wanted = kind ? two[i] : whole[i], found = (double)count[i] / (double)n;
            assert_true(wanted == 0 ? count[i] == 0 : fabs(found - wanted) < 0.015);
        }
    }
}

static void test_settings_out_of_range_are_refused_by_name(void **state)
{
    vlm_error error = {0};
    vlm_generation g = vlm_generation_defaults();
    (void)state;
    assert_int_equal(vlm_generation_check(&g, &error), VLM_OK);
    g.temperature = NAN;
    assert_int_equal(vlm_generation_check(&g, &error), VLM_ERR_ARGUMENT);
    assert_non_null(strstr(error.message, "temperature"));
    g = vlm_generation_defaults();
    g.n_best = 2;
    assert_int_equal(vlm_generation_check(&g, &error), VLM_ERR_ARGUMENT);
    g = vlm_generation_defaults();
    g.top_p = 0;
    assert_int_equal(vlm_generation_check(&g, &error), VLM_ERR_ARGUMENT);
    assert_non_null(strstr(error.message, "top_p"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_token_seen_is_penalised_once),
        cmocka_unit_test(test_what_completes_an_ngram_again_is_forbidden),
        cmocka_unit_test(test_an_end_token_waits_for_the_minimum_of_new_tokens),
        cmocka_unit_test(test_samples_are_as_frequent_as_likely_and_within_the_filters),
        cmocka_unit_test(test_settings_out_of_range_are_refused_by_name),
    };
    return cmocka_run_group_tests_name("generation", tests, NULL, NULL);
}
