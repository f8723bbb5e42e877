/* Learning a vocabulary: merges in the right order, the same file each time, a file that opens. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "formats/json.h"
#include "tokens/tokenizer.h"

static vlm_text train(const vlm_bpe_text *texts, size_t n, size_t size, uint64_t min_count)
{
    vlm_text json = {0};
    vlm_error error = {0};
    if (vlm_bpe_train(&json, texts, n, size, min_count, &error) != VLM_OK)
        fail_msg("%s", error.message);
    return json;
}

static vlm_tokenizer *open_trained(const vlm_text *json)
{
    vlm_tokenizer *tokenizer;
    vlm_error error = {0};
    if (vlm_tokenizer_parse(&tokenizer, json->data, json->length, NULL, 0, "trained", &error) != VLM_OK)
        fail_msg("%s", error.message);
    return tokenizer;
}

static void test_the_most_frequent_pair_is_merged_first(void **state)
{
    (void)state;
    const vlm_bpe_text texts[] = {{"Low LOW low", 11, 1}, {"lower", 5, 2}, {"newest", 6, 6}, {"widest", 6, 3}};
    vlm_text json = train(texts, 4, 514 + 3, 1);
    json_t *root;
    assert_int_equal(vlm_json_parse(&root, json.data, json.length, "trained", NULL), VLM_OK);
    const json_t *merges = json_object_get(json_object_get(root, "model"), "merges");
    /* "e s" and "s t</w>" are seen 9 times each: the smaller left token first. Then "e w", "n e" and "w est</w>"
     * 6 times each. */
    static const char *const wanted[][2] = {{"e", "s"}, {"es", "t</w>"}, {"e", "w"}};
    assert_int_equal(json_array_size(merges), 3);
    for (size_t i = 0; i < 3; i++) {
        assert_string_equal(json_string_value(json_array_get(json_array_get(merges, i), 0)), wanted[i][0]);
        assert_string_equal(json_string_value(json_array_get(json_array_get(merges, i), 1)), wanted[i][1]);
    }
    json_decref(root);
    vlm_text_free(&json);
}

static void test_a_trained_vocabulary_opens_and_comes_back(void **state)
{
    (void)state;
    const vlm_bpe_text texts[] = {{"a photo of a cat", 16, 9}, {"a photo of a \"dog\" \\ \xc3\xa9t\xc3\xa9 \xf0\x9f\x98\x80", 31, 5}};
    vlm_text json = train(texts, 2, 560, 1);
    vlm_tokenizer *tokenizer = open_trained(&json);
    vlm_ids ids = {0};
    vlm_text text = {0};
    assert_int_equal(vlm_tokenizer_encode(tokenizer, "A Photo of a cat \xf0\x9f\x98\x80", 21, true, &ids, NULL), VLM_OK);
    assert_int_equal(ids.count, 8);
    assert_int_equal(ids.data[0], vlm_tokenizer_id(tokenizer, "<|startoftext|>", 15));
    assert_int_equal(ids.data[7], vlm_tokenizer_size(tokenizer) - 1);
    assert_int_equal(vlm_tokenizer_decode(tokenizer, ids.data, ids.count, true, &text, NULL), VLM_OK);
    assert_string_equal(text.data, "a</w>photo</w>of</w>a</w>cat</w>\xf0\x9f\x98\x80</w>");
    vlm_text_free(&text);
    vlm_ids_free(&ids);
    vlm_tokenizer_close(tokenizer);
    vlm_text_free(&json);
}

/* Counting all pairs anew before each merge is slow and plainly right. */
static void test_merges_are_those_of_counting_anew(void **state)
{
    (void)state;
    enum { WORDS = 60, LONGEST = 9 };
    char words[WORDS][LONGEST + 1];
    vlm_bpe_text texts[WORDS];
    vlm_random random;
    vlm_random_seed(&random, 5);
    for (size_t i = 0; i < WORDS; i++) {
        size_t n = 1 + (size_t)vlm_random_below(&random, LONGEST);
        for (size_t j = 0; j < n; j++)
            words[i][j] = (char)('a' + vlm_random_below(&random, 3));
        texts[i] = (vlm_bpe_text){words[i], n, 1 + vlm_random_below(&random, 4)};
    }
    vlm_text json = train(texts, WORDS, 514 + 80, 2);
    vlm_tokenizer *tokenizer = open_trained(&json);
    json_t *root;
    assert_int_equal(vlm_json_parse(&root, json.data, json.length, "trained", NULL), VLM_OK);
    const json_t *merges = json_object_get(json_object_get(root, "model"), "merges");
    static uint32_t symbols[WORDS][LONGEST];
    size_t counts[WORDS];
    for (size_t i = 0; i < WORDS; i++) {
        counts[i] = texts[i].length;
        for (size_t j = 0; j < counts[i]; j++) {
            char token[8] = {words[i][j]};
            if (j + 1 == counts[i])
                strcat(token, "</w>");
            symbols[i][j] = (uint32_t)vlm_tokenizer_id(tokenizer, token, strlen(token));
        }
    }
    for (size_t m = 0; m <= json_array_size(merges); m++) {
        uint64_t best = 0, best_key = 0;
        for (size_t i = 0; i < WORDS; i++)
            for (size_t j = 0; j + 1 < counts[i]; j++) {
                uint64_t key = (uint64_t)symbols[i][j] << 32 | symbols[i][j + 1], total = 0;
                for (size_t k = 0; k < WORDS; k++)
                    for (size_t l = 0; l + 1 < counts[k]; l++)
                        total += ((uint64_t)symbols[k][l] << 32 | symbols[k][l + 1]) == key ? texts[k].count : 0;
                if (total > best || (total == best && key < best_key)) {
                    best = total;
                    best_key = key;
                }
            }
        if (m == json_array_size(merges)) {
            assert_true(best < 2 || vlm_tokenizer_size(tokenizer) == 514 + 80);
            break;
        }
        const char *left = json_string_value(json_array_get(json_array_get(merges, m), 0)), *right = json_string_value(json_array_get(json_array_get(merges, m), 1));
        assert_int_equal(vlm_tokenizer_id(tokenizer, left, strlen(left)), best_key >> 32);
        assert_int_equal(vlm_tokenizer_id(tokenizer, right, strlen(right)), best_key & 0xffffffff);
        char joined[64];
        strcpy(joined, left);
        strcat(joined, right);
        uint32_t id = (uint32_t)vlm_tokenizer_id(tokenizer, joined, strlen(joined));
        for (size_t i = 0; i < WORDS; i++) {
            size_t n = 0;
            for (size_t j = 0; j < counts[i]; n++) {
                bool here = j + 1 < counts[i] && ((uint64_t)symbols[i][j] << 32 | symbols[i][j + 1]) == best_key;
                symbols[i][n] = here ? id : symbols[i][j];
                j += here ? 2 : 1;
            }
            counts[i] = n;
        }
    }
    json_decref(root);
    vlm_tokenizer_close(tokenizer);
    vlm_text_free(&json);
}

static void test_a_vocabulary_too_small_for_the_bytes_is_refused(void **state)
{
    (void)state;
    vlm_text json = {0};
    vlm_error error = {0};
    assert_int_equal(vlm_bpe_train(&json, NULL, 0, 100, 1, &error), VLM_ERR_ARGUMENT);
    assert_non_null(strstr(error.message, "514"));
    json = train(NULL, 0, 514, 1);
    vlm_tokenizer *tokenizer = open_trained(&json);
    assert_int_equal(vlm_tokenizer_size(tokenizer), 514);
    vlm_tokenizer_close(tokenizer);
    vlm_text_free(&json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_most_frequent_pair_is_merged_first),
        cmocka_unit_test(test_a_trained_vocabulary_opens_and_comes_back),
        cmocka_unit_test(test_merges_are_those_of_counting_anew),
        cmocka_unit_test(test_a_vocabulary_too_small_for_the_bytes_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
