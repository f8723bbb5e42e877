/* Tokenizers with every allocation failing in turn: open, encode, decode. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "oom.h"

#include "tokens/tokenizer.h"

#define MODELS VLM_SOURCE_FOLDER "/tests/golden/models/"
enum { MOST = 3000 };

static const char text[] = "A photo of a caf\xc3\xa9, \xf0\x9f\x98\x80 and 12 dogs!";

/* There and back; the same ids as with all the memory, or no ids at all. */
static vlm_status use(const vlm_tokenizer *tokenizer, vlm_error *error)
{
    vlm_ids ids = {0};
    vlm_text back = {0};
    vlm_status status = vlm_tokenizer_encode(tokenizer, text, sizeof text - 1, true, &ids, error);
    if (status != VLM_OK)
        assert_int_equal(ids.count, 0);
    else
        status = vlm_tokenizer_decode(tokenizer, ids.data, ids.count, true, &back, error);
    vlm_ids_free(&ids);
    vlm_text_free(&back);
    return status;
}

static vlm_status open_and_use(void *argument, vlm_error *error)
{
    vlm_tokenizer *tokenizer = NULL;
    vlm_status status = vlm_tokenizer_open(&tokenizer, argument, error);
    if (status == VLM_OK)
        status = use(tokenizer, error);
    vlm_tokenizer_close(tokenizer);
    return status;
}

static void test_opening_and_using_a_tokenizer(void **state)
{
    (void)state;
    oom_run("tokenizer.json", open_and_use, MODELS "clip-tiny", MOST);
    oom_run("vocab.json and merges.txt", open_and_use, MODELS "clip-tiny-gelu-bin", MOST);
    oom_run("a multilingual one", open_and_use, MODELS "st-multilingual-tiny/0_Transformer", MOST);
}

static vlm_status use_open(void *argument, vlm_error *error)
{
    return use(argument, error);
}

static void test_using_an_open_tokenizer(void **state)
{
    (void)state;
    static const char *const folders[] = {MODELS "clip-tiny", MODELS "st-multilingual-tiny/0_Transformer", MODELS "siglip-tiny"};
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        vlm_tokenizer *tokenizer;
        vlm_error error = {0};
        if (vlm_tokenizer_open(&tokenizer, folders[i], &error) != VLM_OK)
            fail_msg("%s", error.message);
        oom_run(folders[i], use_open, tokenizer, MOST);
        vlm_tokenizer_close(tokenizer);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_opening_and_using_a_tokenizer),
        cmocka_unit_test(test_using_an_open_tokenizer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
