/* Models of every layout with every allocation failing in turn: open, embed a picture, embed a text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "oom.h"

#include "vlm/vlm.h"

#define MODELS VLM_SOURCE_FOLDER "/tests/golden/models/"
#define PICTURE MODELS "clip-tiny/reference/1-puppy.png"
enum { MOST = 3000, LARGEST_VECTOR = 4096 };

typedef struct job {
    const char *name;
    unsigned parts;
    vlm_model *model;
    const vlm_image *image;
    float wanted[2][LARGEST_VECTOR]; /* what it gives with all the memory */
} job;

static vlm_status open_and_close(void *argument, vlm_error *error)
{
    const job *j = argument;
    vlm_model_options options = {.parts = j->parts, .n_threads = 1};
    vlm_model *model = NULL;
    vlm_status status = vlm_model_open(&model, j->name, &options, error);
    if (status == VLM_OK)
        assert_int_equal(vlm_model_get_info(model)->parts, j->parts); /* a part that was lost is no success */
    else
        assert_null(model);
    vlm_model_close(model);
    return status;
}

static vlm_status embed(void *argument, vlm_error *error)
{
    job *j = argument;
    float vector[LARGEST_VECTOR];
    const char *text = "a puppy on the grass";
    size_t size = vlm_model_get_info(j->model)->embedding_size;
    vlm_status status = VLM_OK;
    if (j->parts & VLM_PART_VISION) {
        status = vlm_embed_images(j->model, &j->image, 1, 0, vector, error);
        if (status == VLM_OK)
            assert_memory_equal(vector, j->wanted[0], size * sizeof *vector);
    }
    if (status == VLM_OK && j->parts & VLM_PART_TEXT) {
        status = vlm_embed_texts(j->model, &text, NULL, 1, 0, vector, NULL, error);
        if (status == VLM_OK)
            assert_memory_equal(vector, j->wanted[1], size * sizeof *vector);
    }
    return status;
}

static void run_model(const char *name, unsigned parts, const vlm_image *image)
{
    static job j;
    vlm_error error = {0};
    vlm_model_options options = {.parts = parts, .n_threads = 1};
    const char *text = "a puppy on the grass";
    j = (job){.name = name, .parts = parts, .image = image};
    oom_run(name, open_and_close, &j, MOST);
    if (vlm_model_open(&j.model, name, &options, &error) != VLM_OK ||
        (parts & VLM_PART_VISION && vlm_embed_images(j.model, &image, 1, 0, j.wanted[0], &error) != VLM_OK) ||
        (parts & VLM_PART_TEXT && vlm_embed_texts(j.model, &text, NULL, 1, 0, j.wanted[1], NULL, &error) != VLM_OK))
        fail_msg("%s: %s", name, error.message);
    oom_run("embed", embed, &j, MOST);
    vlm_model_close(j.model);
}

static void test_opening_a_model_and_embedding_with_it(void **state)
{
    (void)state;
    const unsigned vision = VLM_PART_VISION | VLM_PART_PIXELS, text = VLM_PART_TEXT | VLM_PART_TOKENIZER;
    vlm_image *image;
    assert_int_equal(vlm_image_open(&image, PICTURE, NULL, NULL), VLM_OK);
    run_model(MODELS "clip-tiny", vision | text, image);
    run_model(MODELS "clip-tiny-gelu-bin", vision | text, image);
    run_model(MODELS "openclip-tiny", vision | text, image);
    run_model(MODELS "st-multilingual-tiny", text, image);
    run_model(MODELS "siglip-tiny", vision | text, image);
    run_model(MODELS "vit-bare-tiny", vision, image);
    vlm_image_free(image);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_opening_a_model_and_embedding_with_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
