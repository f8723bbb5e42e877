/* examples/ask.c is compiled as it stands and asked about a picture; its answer is the library's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

int ask_main(int argc, char **argv);
#define main ask_main
#include "../../examples/ask.c"
#undef main

static char model_path[] = VLM_SOURCE_FOLDER "/tests/golden/models/blip2-opt-tiny", picture_path[] = VLM_SOURCE_FOLDER "/tests/golden/pictures/car.jpg";
static char question[] = "what is it?", nowhere[] = "nowhere.png", name[] = "ask";

static char *answer_of_the_library(void)
{
    vlm_error error = {0};
    vlm_model *model = NULL;
    vlm_image *image = NULL;
    vlm_encoded *picture = NULL;
    vlm_answer answer = {0};
    vlm_generation settings = vlm_generation_defaults();
    const char *prompt = "Question: what is it? Answer:";
    assert_int_equal(vlm_model_open(&model, model_path, NULL, &error), VLM_OK);
    assert_int_equal(vlm_image_open(&image, picture_path, NULL, &error), VLM_OK);
    assert_int_equal(vlm_encode_images(model, (const vlm_image *const *)&image, 1, &picture, &error), VLM_OK);
    assert_int_equal(vlm_ask(model, (const vlm_encoded *const *)&picture, &prompt, 1, &settings, NULL, NULL, &answer, &error), VLM_OK);
    char *text = strdup(answer.texts[0].text);
    vlm_answer_free(&answer);
    vlm_encoded_free(picture);
    vlm_image_free(image);
    vlm_model_close(model);
    return text;
}

static void test_the_example_prints_the_answer(void **state)
{
    char printed[4096], *arguments[] = {name, model_path, picture_path, question, NULL};
    (void)state;
    FILE *file = tmpfile();
    assert_non_null(file);
    fflush(stdout);
    int kept = dup(STDOUT_FILENO);
    assert_true(kept >= 0 && dup2(fileno(file), STDOUT_FILENO) >= 0);
    int status = ask_main(4, arguments);
    fflush(stdout);
    dup2(kept, STDOUT_FILENO);
    close(kept);
    rewind(file);
    size_t n = fread(printed, 1, sizeof printed - 1, file);
    fclose(file);
    printed[n] = 0;
    assert_int_equal(status, 0);
    char *wanted = answer_of_the_library();
    assert_int_equal(n, strlen(wanted) + 1);
    assert_memory_equal(printed, wanted, n - 1);
    free(wanted);
}

static void test_the_example_fails_without_a_picture(void **state)
{
    char *arguments[] = {name, model_path, nowhere, question, NULL};
    (void)state;
    assert_int_equal(ask_main(4, arguments), 1);
    assert_int_equal(ask_main(1, arguments), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_example_prints_the_answer),
        cmocka_unit_test(test_the_example_fails_without_a_picture),
    };
    return cmocka_run_group_tests_name("ask_example", tests, NULL, NULL);
}
