/* The committed language models against the reference: every prompt with every kind of search, tokens, text and beam
 * scores; then all prompts of a kind together, which must change nothing.
 * tests/golden/make_language.py made the models and their reference/reference.json by transformers. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "formats/json.h"
#include "vlm/language.h"

/* Sums of at most 12 log-probabilities, each the result of float32 sums in another order than the reference's: 1e-5
 * is seen, 1e-4 is what the project promises. */
static const double score_tolerance = 1e-4;

static const char *const models[] = {"opt-tiny", "llama-tiny", "t5-tiny", "blip2-opt-tiny", "blip2-t5-tiny"};
enum { N_MODELS = sizeof models / sizeof *models, MOST_PROMPTS = 8 };

#define assert_ok(call, error)                                                                                    \
    do {                                                                                                          \
        if ((call) != VLM_OK)                                                                                     \
            fail_msg("%s", (error)->message);                                                                     \
    } while (0)

static size_t size_of(const json_t *object, const char *key, size_t fallback)
{
    const json_t *value = json_object_get(object, key);
    return value ? (size_t)json_integer_value(value) : fallback;
}

static double number_of(const json_t *object, const char *key, double fallback)
{
    const json_t *value = json_object_get(object, key);
    return value ? json_number_value(value) : fallback;
}

static vlm_generation read_settings(const json_t *settings)
{
    vlm_generation g = vlm_generation_defaults();
    g.max_new_tokens = size_of(settings, "max_new_tokens", 20);
    g.min_new_tokens = size_of(settings, "min_new_tokens", 0);
    g.n_beams = size_of(settings, "num_beams", 1);
    g.n_best = size_of(settings, "num_return_sequences", 1);
    g.no_repeat_ngram = size_of(settings, "no_repeat_ngram_size", 0);
    g.repetition_penalty = (float)number_of(settings, "repetition_penalty", 1);
    g.length_penalty = (float)number_of(settings, "length_penalty", 1);
    g.early_stopping = json_is_true(json_object_get(settings, "early_stopping")) ? VLM_EARLY_STOPPING_TRUE : VLM_EARLY_STOPPING_FALSE;
    return g;
}

static void check_written(const vlm_written *written, const json_t *wanted)
{
    const json_t *tokens = json_object_get(wanted, "tokens"), *score = json_object_get(wanted, "score");
    assert_int_equal(written->n_ids, json_array_size(tokens));
    for (size_t i = 0; i < written->n_ids; i++)
        assert_int_equal(written->ids[i], json_integer_value(json_array_get(tokens, i)));
    assert_string_equal(written->text, json_string_value(json_object_get(wanted, "text")));
    if (json_is_real(score) && !(fabs((double)written->score - json_real_value(score)) <= score_tolerance * (1 + fabs(json_real_value(score)))))
        fail_msg("score %.9g, the reference has %.9g", (double)written->score, json_real_value(score));
}

static void check_answer(const vlm_answer *answer, const json_t *item)
{
    const json_t *texts = json_object_get(item, "texts");
    assert_int_equal(answer->n, json_array_size(texts));
    for (size_t i = 0; i < answer->n; i++)
        check_written(&answer->texts[i], json_array_get(texts, i));
}

/* n items of equal settings at once. */
static void check_items(vlm_model *model, const vlm_encoded *picture, const json_t *const *items, size_t n)
{
    vlm_error error = {0};
    vlm_answer answers[MOST_PROMPTS];
    const char *prompts[MOST_PROMPTS];
    const vlm_encoded *pictures[MOST_PROMPTS];
    vlm_generation settings = read_settings(json_object_get(items[0], "settings"));
    for (size_t i = 0; i < n; i++) {
        prompts[i] = json_string_value(json_object_get(items[i], "prompt")); /* null: none */
        pictures[i] = picture;
    }
    if (picture)
        assert_ok(vlm_ask(model, pictures, prompts, n, &settings, NULL, NULL, answers, &error), &error);
    else
        assert_ok(vlm_generate(model, prompts, NULL, n, &settings, NULL, NULL, answers, &error), &error);
    for (size_t i = 0; i < n; i++) {
        check_answer(&answers[i], items[i]);
        vlm_answer_free(&answers[i]);
    }
}

static vlm_encoded *encode(vlm_model *model, const char *folder)
{
    char path[2048];
    vlm_error error = {0};
    vlm_image *image = NULL;
    vlm_encoded *picture = NULL;
    if (!(vlm_model_get_info(model)->parts & VLM_PART_VISION))
        return NULL;
    snprintf(path, sizeof path, "%s/reference/0.jpg", folder);
    assert_ok(vlm_image_open(&image, path, NULL, &error), &error);
    assert_ok(vlm_encode_images(model, (const vlm_image *const *)&image, 1, &picture, &error), &error);
    vlm_image_free(image);
    return picture;
}

static void open_golden(const char *name, vlm_model **model, char folder[1024])
{
    vlm_error error = {0};
    vlm_model_options options = {.n_threads = 2};
    snprintf(folder, 1024, "%s/tests/golden/models/%s", VLM_SOURCE_FOLDER, name);
    assert_ok(vlm_model_open(model, folder, &options, &error), &error);
}

static void test_a_model_writes_what_the_reference_writes(void **state)
{
    char folder[1024], path[2048];
    vlm_error error = {0};
    vlm_model *model = NULL;
    json_t *reference = NULL;
    open_golden(*state, &model, folder);
    snprintf(path, sizeof path, "%s/reference/reference.json", folder);
    assert_ok(vlm_json_read(&reference, path, &error), &error);
    vlm_encoded *picture = encode(model, folder);
    size_t n = json_array_size(reference);
    assert_true(n > 0);
    for (size_t i = 0; i < n; i++) {
        const json_t *item = json_array_get(reference, i), *together[MOST_PROMPTS] = {item};
        check_items(model, picture, &item, 1);
        size_t n_together = 0;
        for (size_t j = i; j < n && n_together < MOST_PROMPTS; j++)
            if (json_equal(json_object_get(item, "settings"), json_object_get(json_array_get(reference, j), "settings")))
                together[n_together++] = json_array_get(reference, j);
        check_items(model, picture, together, n_together);
    }
    vlm_encoded_free(picture);
    json_decref(reference);
    vlm_model_close(model);
}

typedef struct heard {
    char text[256];
    size_t length, calls, most_calls;
} heard;

static bool listen(void *user, size_t index, const char *text, size_t length)
{
    heard *h = user;
    assert_int_equal(index, 0);
    assert_true(h->length + length < sizeof h->text);
    memcpy(h->text + h->length, text, length);
    h->length += length;
    return ++h->calls < h->most_calls;
}

static void test_a_stream_is_the_text_in_pieces_and_can_be_stopped(void **state)
{
    char folder[1024];
    vlm_error error = {0};
    vlm_model *model = NULL;
    vlm_answer answer;
    const char *prompt = "a cat";
    vlm_generation settings = vlm_generation_defaults();
    heard h = {.most_calls = 1000};
    (void)state;
    open_golden("llama-tiny", &model, folder);
    assert_ok(vlm_generate(model, &prompt, NULL, 1, &settings, listen, &h, &answer, &error), &error);
    assert_int_equal(h.length, answer.texts[0].length);
    assert_memory_equal(h.text, answer.texts[0].text, h.length);
    vlm_answer_free(&answer);
    h = (heard){.most_calls = 2};
    assert_int_equal(vlm_generate(model, &prompt, NULL, 1, &settings, listen, &h, &answer, &error), VLM_ERR_CANCELLED);
    assert_int_equal(h.calls, 2);
    assert_int_equal(answer.n, 0);
    vlm_model_close(model);
}

static void test_a_text_that_outgrows_the_context_is_an_error(void **state)
{
    char folder[1024], longer[200];
    vlm_error error = {0};
    vlm_model *model = NULL;
    vlm_answer answer;
    vlm_generation settings = vlm_generation_defaults();
    (void)state;
    open_golden("opt-tiny", &model, folder);
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = 0;
    const char *prompt = longer; /* 200 tokens; the model has 96 positions */
    assert_int_equal(vlm_generate(model, &prompt, NULL, 1, &settings, NULL, NULL, &answer, &error), VLM_ERR_LIMIT);
    assert_non_null(strstr(error.message, "96"));
    longer[90] = 0;
    settings.min_new_tokens = settings.max_new_tokens; /* no end token before the end of the context */
    assert_int_equal(vlm_generate(model, &prompt, NULL, 1, &settings, NULL, NULL, &answer, &error), VLM_ERR_LIMIT);
    settings.min_new_tokens = settings.max_new_tokens = 6; /* the 97th is written, and never read */
    assert_ok(vlm_generate(model, &prompt, NULL, 1, &settings, NULL, NULL, &answer, &error), &error);
    assert_int_equal(answer.texts[0].n_ids, 6);
    vlm_answer_free(&answer);
    vlm_model_close(model);
}

static void test_a_kept_picture_is_the_picture_and_another_models_is_refused(void **state)
{
    char folder[1024], path[1100];
    vlm_error error = {0};
    vlm_model *model = NULL, *other = NULL;
    vlm_encoded **kept = NULL;
    size_t n = 0;
    const char *name = "car";
    (void)state;
    open_golden("blip2-opt-tiny", &model, folder);
    vlm_encoded *picture = encode(model, folder);
    snprintf(path, sizeof path, "%s/kept-picture.safetensors", VLM_BUILD_FOLDER);
    assert_ok(vlm_encoded_save((const vlm_encoded *const *)&picture, &name, 1, path, &error), &error);
    assert_ok(vlm_encoded_open(&kept, &n, model, path, &error), &error);
    assert_int_equal(n, 1);
    assert_string_equal(vlm_encoded_name(kept[0]), "car");
    vlm_encoded_free(kept[0]);
    free(kept);
    open_golden("blip2-t5-tiny", &other, folder);
    assert_int_equal(vlm_encoded_open(&kept, &n, other, path, &error), VLM_ERR_MISMATCH);
    assert_null(kept);
    remove(path);
    vlm_encoded_free(picture);
    vlm_model_close(other);
    vlm_model_close(model);
}

/* An argument is a pattern of names: `test_language '*opt*'`. */
int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    struct CMUnitTest tests[N_MODELS + 3] = {{0}};
    static char names[N_MODELS][96];
    for (size_t i = 0; i < N_MODELS; i++) {
        snprintf(names[i], sizeof names[i], "test_%s_writes_what_the_reference_writes", models[i]);
        tests[i].name = names[i];
        tests[i].test_func = test_a_model_writes_what_the_reference_writes;
        tests[i].initial_state = (void *)(uintptr_t)models[i];
    }
    tests[N_MODELS] = (struct CMUnitTest)cmocka_unit_test(test_a_stream_is_the_text_in_pieces_and_can_be_stopped);
    tests[N_MODELS + 1] = (struct CMUnitTest)cmocka_unit_test(test_a_text_that_outgrows_the_context_is_an_error);
    tests[N_MODELS + 2] = (struct CMUnitTest)cmocka_unit_test(test_a_kept_picture_is_the_picture_and_another_models_is_refused);
    return cmocka_run_group_tests_name("language", tests, NULL, NULL);
}
