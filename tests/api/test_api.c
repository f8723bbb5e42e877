/* The public interface as a stranger uses it: only include/vlm, and misuse is an error. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <math.h>

#include "vlm/vlm.h"

#define GOLDEN VLM_SOURCE_FOLDER "/tests/golden/models/"

static vlm_model *open_model(const char *name, vlm_model_options options)
{
    vlm_model *model = NULL;
    vlm_error error = {0};
    if (vlm_model_open(&model, name, &options, &error) != VLM_OK)
        fail_msg("%s", error.message);
    return model;
}

/* Random pixels for a model, the same ones each time. */
static float *make_pixels(const vlm_model_info *info, size_t n)
{
    size_t count = n * 3 * info->image_height * info->image_width;
    float *pixels = malloc(count * sizeof *pixels);
    uint32_t x = 12345;
    for (size_t i = 0; i < count; i++) {
        x = x * 1664525 + 1013904223;
        pixels[i] = (float)(x >> 8) * 0x1p-23f - 1;
    }
    return pixels;
}

static void test_a_vector_does_not_depend_on_batch_or_threads(void **state)
{
    (void)state;
    static const char *const dtypes[] = {"f32", "f16", "bf16", "q8"};
    enum { N = 64 };
    for (size_t d = 0; d < 4; d++) {
        float *first = NULL;
        for (size_t threads = 1; threads <= 3; threads++) {
            vlm_model *model = open_model(GOLDEN "clip-tiny", (vlm_model_options){.parts = VLM_PART_VISION, .n_threads = threads, .dtype = dtypes[d]});
            const vlm_model_info *info = vlm_model_get_info(model);
            size_t size = info->embedding_size, picture = 3 * info->image_height * info->image_width;
            float *pixels = make_pixels(info, N), *vectors = malloc(N * size * sizeof *vectors);
            for (size_t batch = 1; batch <= N; batch = batch * 3 + 1) {
                for (size_t i = 0; i < N; i += batch)
                    assert_int_equal(vlm_embed_pixels(model, pixels + i * picture, N - i < batch ? N - i : batch, info->image_height, info->image_width, 0, vectors + i * size, NULL), VLM_OK);
                if (!first) {
                    first = malloc(N * size * sizeof *first);
                    memcpy(first, vectors, N * size * sizeof *first);
                }
                assert_memory_equal(first, vectors, N * size * sizeof *first);
            }
            free(pixels);
            free(vectors);
            vlm_model_close(model);
        }
        free(first);
    }
}

static void test_a_text_vector_does_not_depend_on_its_neighbours(void **state)
{
    (void)state;
    vlm_model *model = open_model(GOLDEN "clip-tiny", (vlm_model_options){.parts = VLM_PART_TEXT | VLM_PART_TOKENIZER});
    static const char *const texts[] = {"a cat", "two dogs in the snow, at night, under a tree, beside a house, far away from here", "x"};
    size_t size = vlm_model_get_info(model)->embedding_size;
    float *together = malloc(3 * size * sizeof *together), *alone = malloc(size * sizeof *alone);
    bool cut[3];
    assert_int_equal(vlm_embed_texts(model, texts, NULL, 3, 0, together, cut, NULL), VLM_OK);
    assert_false(cut[0]);
    assert_true(cut[1]);
    for (size_t i = 0; i < 3; i++) {
        double length = 0;
        assert_int_equal(vlm_embed_texts(model, texts + i, NULL, 1, 0, alone, NULL, NULL), VLM_OK);
        assert_memory_equal(alone, together + i * size, size * sizeof *alone);
        for (size_t j = 0; j < size; j++)
            length += (double)alone[j] * alone[j];
        assert_true(fabs(length - 1) < 1e-6); /* a unit vector, to a few roundings of float32 */
    }
    free(together);
    free(alone);
    vlm_model_close(model);
}

static void test_a_part_that_was_not_opened_is_named(void **state)
{
    (void)state;
    vlm_model *model = open_model(GOLDEN "clip-tiny", (vlm_model_options){.parts = VLM_PART_TOKENIZER});
    vlm_error error = {0};
    const char *text = "a cat";
    float vector[64];
    assert_int_equal(vlm_embed_texts(model, &text, NULL, 1, 0, vector, NULL, &error), VLM_ERR_ARGUMENT);
    assert_non_null(strstr(error.message, "text tower"));
    vlm_tokens tokens;
    assert_int_equal(vlm_tokenize(model, text, 5, &tokens, &error), VLM_OK);
    assert_true(tokens.n > 2);
    vlm_tokens_free(&tokens);
    vlm_model_close(model);
}

static void test_opening_what_is_not_there_says_so(void **state)
{
    (void)state;
    vlm_model *model = (vlm_model *)1;
    vlm_error error = {0};
    assert_int_not_equal(vlm_model_open(&model, "/nowhere/at/all", NULL, &error), VLM_OK);
    assert_null(model);
    assert_non_null(strstr(error.message, "/nowhere/at/all"));
    assert_int_equal(vlm_model_open(&model, GOLDEN "clip-tiny", &(vlm_model_options){.dtype = "f64"}, &error), VLM_ERR_ARGUMENT);
    assert_int_equal(vlm_model_open(&model, GOLDEN "vit-bare-tiny", &(vlm_model_options){.parts = VLM_PART_TEXT}, &error), VLM_ERR_UNSUPPORTED);
    vlm_model_close(NULL);
    vlm_image_free(NULL);
}

static void test_ids_beyond_the_table_are_refused(void **state)
{
    (void)state;
    vlm_model *model = open_model(GOLDEN "clip-tiny", (vlm_model_options){.parts = VLM_PART_TEXT});
    vlm_error error = {0};
    float vector[64];
    int32_t ids[40] = {1, 1 << 20};
    assert_int_equal(vlm_embed_tokens(model, ids, (size_t[]){0, 2}, 1, 0, vector, &error), VLM_ERR_MISMATCH);
    ids[1] = -1;
    assert_int_equal(vlm_embed_tokens(model, ids, (size_t[]){0, 2}, 1, 0, vector, &error), VLM_ERR_MISMATCH);
    assert_int_equal(vlm_embed_tokens(model, ids, (size_t[]){0, 0}, 1, 0, vector, &error), VLM_ERR_ARGUMENT);
    assert_int_equal(vlm_embed_tokens(model, ids, (size_t[]){0, 40}, 1, 0, vector, &error), VLM_ERR_ARGUMENT);
    ids[1] = 2;
    assert_int_equal(vlm_embed_tokens(model, ids, (size_t[]){0, 2}, 1, 0, vector, &error), VLM_OK); /* and the model still works */
    vlm_model_close(model);
}

typedef struct watcher {
    size_t calls, stop_at;
    uint64_t last, total;
    char message[512];
} watcher;

static bool watch(void *user, const char *what, uint64_t done, uint64_t total)
{
    watcher *w = user;
    assert_string_equal(what, "loading");
    assert_true(done >= w->last && done <= total);
    w->last = done;
    w->total = total;
    return ++w->calls != w->stop_at;
}

static void listen(void *user, const char *message)
{
    watcher *w = user;
    snprintf(w->message, sizeof w->message, "%s", message);
}

static void test_loading_tells_how_far_it_is_and_can_be_stopped(void **state)
{
    (void)state;
    watcher w = {0};
    vlm_model *model = open_model(GOLDEN "clip-tiny", (vlm_model_options){.progress = watch, .log = listen, .user = &w});
    assert_true(w.calls > 10 && w.last > w.total / 2);
    assert_string_equal(w.message, ""); /* every tensor of it is used */
    vlm_model_close(model);
    vlm_error error = {0};
    w = (watcher){.stop_at = 3};
    assert_int_equal(vlm_model_open(&model, GOLDEN "clip-tiny", &(vlm_model_options){.progress = watch, .user = &w}, &error), VLM_ERR_CANCELLED);
    assert_null(model);
    assert_int_equal(w.calls, 3);
}

static void test_tensors_that_nothing_uses_are_told_of(void **state)
{
    (void)state;
    watcher w = {0};
    vlm_model *model = open_model(GOLDEN "vit-bare-tiny", (vlm_model_options){.log = listen, .user = &w});
    if (!strstr(w.message, "pooler"))
        fail_msg("the bare ViT's pooler is not used; told: \"%s\"", w.message);
    vlm_model_close(model);
}

typedef struct tree_sum {
    uint64_t root, leaves;
} tree_sum;

static void add_node(void *user, const vlm_node *node)
{
    tree_sum *sum = user;
    if (node->depth == 0)
        sum->root = node->n_parameters;
    if (strcmp(node->kind, "parameter") == 0)
        sum->leaves += node->n_parameters;
}

static void test_the_tree_of_weights_adds_up(void **state)
{
    (void)state;
    static const char *const names[] = {GOLDEN "clip-tiny", GOLDEN "openclip-tiny", GOLDEN "vit-tiny", GOLDEN "st-multilingual-tiny"};
    for (size_t i = 0; i < 4; i++) {
        vlm_model *model = open_model(names[i], (vlm_model_options){0});
        tree_sum sum = {0};
        vlm_model_visit(model, add_node, &sum);
        assert_true(sum.root > 1000);
        assert_int_equal(sum.root, sum.leaves);
        vlm_model_close(model);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_vector_does_not_depend_on_batch_or_threads),
        cmocka_unit_test(test_a_text_vector_does_not_depend_on_its_neighbours),
        cmocka_unit_test(test_a_part_that_was_not_opened_is_named),
        cmocka_unit_test(test_opening_what_is_not_there_says_so),
        cmocka_unit_test(test_ids_beyond_the_table_are_refused),
        cmocka_unit_test(test_loading_tells_how_far_it_is_and_can_be_stopped),
        cmocka_unit_test(test_tensors_that_nothing_uses_are_told_of),
        cmocka_unit_test(test_the_tree_of_weights_adds_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
