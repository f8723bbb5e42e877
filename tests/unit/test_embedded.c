/* The embedded model: its files are in the library, small enough, and it knows the drawings in examples/. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "formats/checkpoint.h"
#include "models/embedded.h"
#include "vlm/vlm.h"

enum { MOST_BYTES = 8 << 20 };

static void test_the_files_are_there_and_no_others(void **state)
{
    (void)state;
    static const char *const names[] = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "preprocessor_config.json"};
    size_t total = 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const vlm_embedded_file *file = vlm_embedded_find(names[i]);
        assert_non_null(file);
        assert_string_equal(file->name, names[i]);
        assert_int_equal((uintptr_t)file->data % 64, 0);
        char path[1024];
        vlm_mapping mapping = {0};
        snprintf(path, sizeof path, VLM_SOURCE_FOLDER "/models/embedded-clip/%s", names[i]);
        assert_int_equal(vlm_map_file(&mapping, path, NULL), VLM_OK);
        assert_int_equal(mapping.size, file->size); /* a changed file rebuilds the library */
        assert_memory_equal(mapping.data, file->data, file->size);
        vlm_unmap(&mapping);
        total += file->size;
    }
    assert_true(total <= MOST_BYTES);
    assert_null(vlm_embedded_find("pytorch_model.bin"));
    assert_null(vlm_embedded_find(""));
}

static void test_the_weights_say_how_they_were_made(void **state)
{
    (void)state;
    const vlm_embedded_file *weights = vlm_embedded_find("model.safetensors");
    vlm_checkpoint *checkpoint;
    assert_int_equal(vlm_checkpoint_open_memory(&checkpoint, weights->data, weights->size, "embedded", NULL), VLM_OK);
    assert_non_null(vlm_checkpoint_metadata(checkpoint, "commit"));
    assert_non_null(strstr(vlm_checkpoint_metadata(checkpoint, "command"), "train clip"));
    vlm_checkpoint_close(checkpoint);
}

/* The name of a drawing is its file's name. Of a dozen, all are found today; one may be lost to other rounding. */
static void test_it_knows_the_drawings_of_an_artist_it_never_saw(void **state)
{
    (void)state;
    vlm_error error = {0};
    vlm_model *model;
    char **files;
    size_t n, right = 0;
    if (vlm_model_open(&model, NULL, NULL, &error) != VLM_OK)
        fail_msg("%s", error.message);
    assert_int_equal(vlm_list_folder(&files, &n, VLM_SOURCE_FOLDER "/examples/drawings", NULL), VLM_OK);
    assert_int_equal(n, 12);
    size_t d = vlm_model_get_info(model)->embedding_size;
    float *texts = malloc(n * d * sizeof *texts), *picture = malloc(d * sizeof *picture);
    const char *names[12];
    char words[12][64];
    assert_true(texts && picture);
    for (size_t i = 0; i < n; i++) {
        snprintf(words[i], sizeof words[i], "%.*s", (int)strcspn(files[i], "."), files[i]);
        for (char *c = words[i]; *c; c++)
            *c = *c == '-' ? ' ' : *c;
        names[i] = words[i];
    }
    assert_int_equal(vlm_embed_texts(model, names, NULL, n, 0, texts, NULL, &error), VLM_OK);
    for (size_t i = 0; i < n; i++) {
        vlm_image *image;
        char path[1024];
        size_t best = 0;
        float similarity[12] = {0};
        snprintf(path, sizeof path, VLM_SOURCE_FOLDER "/examples/drawings/%s", files[i]);
        assert_int_equal(vlm_image_open(&image, path, NULL, &error), VLM_OK);
        assert_int_equal(vlm_embed_images(model, (const vlm_image *const *)&image, 1, 0, picture, &error), VLM_OK);
        vlm_image_free(image);
        for (size_t j = 0; j < n; j++) {
            for (size_t k = 0; k < d; k++)
                similarity[j] += picture[k] * texts[j * d + k];
            best = similarity[j] > similarity[best] ? j : best;
        }
        right += best == i;
        free(files[i]);
    }
    assert_in_range(right, 11, 12);
    free(files);
    free(texts);
    free(picture);
    vlm_model_close(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_files_are_there_and_no_others),
        cmocka_unit_test(test_the_weights_say_how_they_were_made),
        cmocka_unit_test(test_it_knows_the_drawings_of_an_artist_it_never_saw),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
