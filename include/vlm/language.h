/* Words from words, and words about pictures: language models, and BLIP-2 on top of them.
 *
 *     vlm_encoded *picture = NULL;
 *     vlm_answer answer = {0};
 *     vlm_generation settings = vlm_generation_defaults();
 *     char *prompt = vlm_question_prompt(model, "what is in the picture?");
 *     if (prompt && vlm_encode_images(model, (const vlm_image *const *)&image, 1, &picture, &error) == VLM_OK &&
 *         vlm_ask(model, (const vlm_encoded *const *)&picture, (const char *const *)&prompt, 1, &settings, NULL, NULL,
 *                 &answer, &error) == VLM_OK)
 *         puts(answer.texts[0].text);
 *     vlm_answer_free(&answer);
 *     vlm_encoded_free(picture);
 *     free(prompt);
 *
 * The model is opened with VLM_PART_LANGUAGE and VLM_PART_TOKENIZER, and for pictures VLM_PART_VISION and
 * VLM_PART_PIXELS. */
#ifndef VLM_LANGUAGE_H
#define VLM_LANGUAGE_H

#include "vlm/generate.h"
#include "vlm/vlm.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One text as it was generated. */
typedef struct vlm_written {
    char *text;    /* UTF-8 without special tokens, NUL-terminated; cut before a stop string */
    size_t length; /* bytes of text */
    int32_t *ids;  /* [n_ids] the new tokens, the end token included where one was reached */
    size_t n_ids;
    float score;   /* of beams: the sum of log-probabilities over length^length_penalty; 0 elsewhere */
} vlm_written;

typedef struct vlm_answer {
    vlm_written *texts; /* [n] best first; n is n_best of the settings */
    size_t n;
} vlm_answer;
VLM_API void vlm_answer_free(vlm_answer *answer);

/* Called as text grows: new bytes of the text for prompt `index`, whole characters only, never part of a stop
 * string. With beams, whose text is known only at the end, length is 0 until then. Return false to stop: the call
 * ends with VLM_ERR_CANCELLED. */
typedef bool vlm_stream_function(void *user, size_t index, const char *text, size_t length);

/* Continue n prompts, UTF-8, lengths in bytes (NULL: NUL-terminated); answers [n] are filled, each to be freed with
 * vlm_answer_free. What is written for a prompt does not depend on the others. A text that would outgrow the
 * model's context is VLM_ERR_LIMIT. stream NULL: none. On failure no answer is left. */
VLM_API vlm_status vlm_generate(vlm_model *model, const char *const *prompts, const size_t *lengths, size_t n, const vlm_generation *settings,
                                vlm_stream_function *stream, void *user, vlm_answer *answers, vlm_error *error);

/* A picture as the language model will see it: the Q-Former's output, or for InstructBLIP, whose Q-Former reads the
 * instruction too, the vision features. Immutable. */
typedef struct vlm_encoded vlm_encoded;

/* encoded [n]; each to be freed with vlm_encoded_free (NULL allowed). On failure none is left. */
VLM_API vlm_status vlm_encode_images(vlm_model *model, const vlm_image *const *images, size_t n, vlm_encoded **encoded, vlm_error *error);
VLM_API void vlm_encoded_free(vlm_encoded *encoded);
/* What it was made from, as vlm_encoded_save was told; "" before. */
VLM_API const char *vlm_encoded_name(const vlm_encoded *encoded);
/* Keep n encoded pictures of one model in a file (safetensors), and read them back without the vision model; names
 * [n] are kept with them. pictures [*n]: free each with vlm_encoded_free, and the array with free(). A file that was
 * cut is VLM_ERR_FORMAT, one of another model VLM_ERR_MISMATCH. */
VLM_API vlm_status vlm_encoded_save(const vlm_encoded *const *pictures, const char *const *names, size_t n, const char *path, vlm_error *error);
VLM_API vlm_status vlm_encoded_open(vlm_encoded ***pictures, size_t *n, const vlm_model *model, const char *path, vlm_error *error);

/* The family's prompt for a question: "Question: ... Answer:" for BLIP-2, the question itself for InstructBLIP. In
 * fresh memory (free()); NULL: out of memory. */
VLM_API char *vlm_question_prompt(const vlm_model *model, const char *question);

/* As vlm_generate, each prompt about its picture. prompts[i] NULL: no words, a caption. */
VLM_API vlm_status vlm_ask(vlm_model *model, const vlm_encoded *const *pictures, const char *const *prompts, size_t n, const vlm_generation *settings,
                           vlm_stream_function *stream, void *user, vlm_answer *answers, vlm_error *error);

/* How well n texts fit a picture, by a BLIP-2 made for retrieval: itc [n], the best query's cosine; itm [n], the
 * probability of a match. Texts are cut to 32 tokens, the end token kept; cut [n] (NULL allowed) says which. */
VLM_API vlm_status vlm_match(vlm_model *model, const vlm_image *image, const char *const *texts, size_t n, float *itc, float *itm, bool *cut, vlm_error *error);

#ifdef __cplusplus
}
#endif
#endif
