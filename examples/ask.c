/* ask MODEL PICTURE QUESTION: a picture and a question to an answer.
 *     cc ask.c -o ask $(pkg-config --cflags --libs vlm) && ./ask Salesforce/blip2-opt-2.7b car.png "what is it?" */
#include <stdio.h>
#include <stdlib.h>

#include <vlm/language.h>

int main(int argc, char **argv)
{
    vlm_error error = {0};
    vlm_model *model = NULL;
    vlm_image *image = NULL;
    vlm_encoded *picture = NULL;
    vlm_answer answer = {0};
    vlm_generation settings = vlm_generation_defaults();
    if (argc != 4)
        return 2;
    char *prompt = NULL;
    vlm_status status = vlm_model_open(&model, argv[1], NULL, &error);
    if (status == VLM_OK)
        status = vlm_image_open(&image, argv[2], NULL, &error);
    if (status == VLM_OK) /* once a picture, however many questions follow */
        status = vlm_encode_images(model, (const vlm_image *const *)&image, 1, &picture, &error);
    if (status == VLM_OK && !(prompt = vlm_question_prompt(model, argv[3])))
        status = VLM_ERR_MEMORY;
    if (status == VLM_OK)
        status = vlm_ask(model, (const vlm_encoded *const *)&picture, (const char *const *)&prompt, 1, &settings, NULL, NULL, &answer, &error);
    if (status == VLM_OK)
        puts(answer.texts[0].text);
    else
        fprintf(stderr, "%s\n", error.message);
    vlm_answer_free(&answer);
    free(prompt);
    vlm_encoded_free(picture);
    vlm_image_free(image);
    vlm_model_close(model);
    return status == VLM_OK ? 0 : 1;
}
