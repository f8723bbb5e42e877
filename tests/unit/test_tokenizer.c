/* Tokenizers against goldens of the reference (tests/live/tokens.py --golden), and what the goldens cannot say:
 * older forms, errors by name, hostile files and texts, many threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "formats/json.h"
#include "tokens/regex.h"
#include "tokens/tokenizer.h"

#define GOLDEN VLM_SOURCE_FOLDER "/tests/golden/tokens"

/* --- helpers ------------------------------------------------------------------------------------------- */

static vlm_tokenizer *parse(const char *json)
{
    vlm_tokenizer *tokenizer;
    vlm_error error = {0};
    if (vlm_tokenizer_parse(&tokenizer, json, strlen(json), NULL, 0, "test.json", &error) != VLM_OK)
        fail_msg("%s", error.message);
    return tokenizer;
}

static void assert_refused(const char *json, vlm_status status, const char *because)
{
    vlm_tokenizer *tokenizer;
    vlm_error error = {0};
    assert_int_equal(vlm_tokenizer_parse(&tokenizer, json, strlen(json), NULL, 0, "test.json", &error), status);
    assert_null(tokenizer);
    if (!strstr(error.message, because))
        fail_msg("\"%s\" does not say \"%s\"", error.message, because);
}

static void print_ids(vlm_text *out, const uint32_t *ids, size_t n)
{
    for (size_t i = 0; i < n; i++)
        vlm_text_printf(out, i ? " %u" : "%u", ids[i]);
}

static void assert_ids(const vlm_tokenizer *tokenizer, const char *text, size_t length, const char *wanted)
{
    vlm_ids ids = {0};
    vlm_error error = {0};
    vlm_text found = {0};
    if (vlm_tokenizer_encode(tokenizer, text, length, true, &ids, &error) != VLM_OK)
        fail_msg("%s", error.message);
    print_ids(&found, ids.data, ids.count);
    assert_string_equal(found.data ? found.data : "", wanted);
    vlm_text_free(&found);
    vlm_ids_free(&ids);
}

static void check_rows(const vlm_tokenizer *tokenizer, const char *path)
{
    json_t *rows;
    vlm_error error = {0};
    size_t i;
    json_t *row;
    if (vlm_json_read(&rows, path, &error) != VLM_OK)
        fail_msg("%s", error.message);
    assert_true(json_array_size(rows) > 0);
    json_array_foreach(rows, i, row)
    {
        const json_t *text = json_object_get(row, "text"), *ids = json_object_get(row, "ids");
        vlm_text wanted = {0};
        for (size_t j = 0; j < json_array_size(ids); j++)
            vlm_text_printf(&wanted, j ? " %lld" : "%lld", (long long)json_integer_value(json_array_get(ids, j)));
        assert_ids(tokenizer, json_string_value(text), json_string_length(text), wanted.data ? wanted.data : "");
        vlm_text_free(&wanted);
    }
    json_decref(rows);
}

static void check_folder(const char *name)
{
    char path[512];
    vlm_tokenizer *tokenizer;
    vlm_error error = {0};
    snprintf(path, sizeof path, GOLDEN "/%s", name);
    if (vlm_tokenizer_open(&tokenizer, path, &error) != VLM_OK)
        fail_msg("%s", error.message);
    snprintf(path, sizeof path, GOLDEN "/%s/texts.json", name);
    check_rows(tokenizer, path);
    vlm_tokenizer_close(tokenizer);
}

/* A fresh folder with files "name", "content", ..., NULL. */
static char folder[] = "/tmp/vlm-tokenizer-XXXXXX";

static void write_folder(const char *name, ...)
{
    va_list files;
    strcpy(folder, "/tmp/vlm-tokenizer-XXXXXX");
    assert_non_null(mkdtemp(folder));
    va_start(files, name);
    for (; name; name = va_arg(files, const char *)) {
        const char *content = va_arg(files, const char *);
        char path[256];
        snprintf(path, sizeof path, "%s/%s", folder, name);
        assert_int_equal(vlm_write_file(path, content, strlen(content), NULL), VLM_OK);
    }
    va_end(files);
}

static void remove_folder(void)
{
    char **names;
    size_t count;
    assert_int_equal(vlm_list_folder(&names, &count, folder, NULL), VLM_OK);
    for (size_t i = 0; i < count; i++) {
        char path[512];
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        unlink(path);
        free(names[i]);
    }
    free(names);
    rmdir(folder);
}

static vlm_tokenizer *open_folder(void)
{
    vlm_tokenizer *tokenizer;
    vlm_error error = {0};
    if (vlm_tokenizer_open(&tokenizer, folder, &error) != VLM_OK)
        fail_msg("%s", error.message);
    return tokenizer;
}

/* --- goldens ------------------------------------------------------------------------------------------- */

static void test_bpe_gives_the_ids_of_the_reference(void **state)
{
    (void)state;
    check_folder("bpe-0");
    check_folder("bpe-1");
    check_folder("bpe-2");
}

static void test_wordpiece_gives_the_ids_of_the_reference(void **state)
{
    (void)state;
    check_folder("wordpiece-0");
    check_folder("wordpiece-1");
}

static void test_unigram_gives_the_ids_of_the_reference(void **state)
{
    (void)state;
    check_folder("unigram-0");
    check_folder("unigram-1");
}

static void test_wordlevel_gives_the_ids_of_the_reference(void **state)
{
    (void)state;
    check_folder("wordlevel-0");
}

static void test_openclip_cleans_and_tokenizes_as_the_reference(void **state)
{
    (void)state;
    vlm_tokenizer *tokenizer;
    assert_int_equal(vlm_tokenizer_open_openclip(&tokenizer, NULL, NULL), VLM_OK);
    check_rows(tokenizer, GOLDEN "/openclip.json");
    assert_int_equal(vlm_tokenizer_size(tokenizer), 49408);
    assert_int_equal(vlm_tokenizer_special(tokenizer, VLM_TOKEN_EOS), 49407);
    assert_int_equal(vlm_tokenizer_max_length(tokenizer), 77);
    vlm_tokenizer_close(tokenizer);
}

/* --- older forms --------------------------------------------------------------------------------------- */

#define GPT2_VOCAB "{\"a\":0,\"b\":1,\"\\u0120\":2,\"ab\":3,\"\\u0120ab\":4,\"</s>\":5,\"<pad>\":6,\"<unk>\":7,\"<\":8,\"u\":9,\"n\":10,\"k\":11,\">\":12}"
#define GPT2_MERGES "#version: 0.2\na b\n\xc4\xa0 ab\n"

static void test_an_opt_folder_begins_with_its_end_token(void **state)
{
    (void)state;
    write_folder("vocab.json", GPT2_VOCAB, "merges.txt", GPT2_MERGES, "config.json", "{\"model_type\":\"opt\"}", "tokenizer_config.json",
                 "{\"tokenizer_class\":\"GPT2Tokenizer\",\"add_bos_token\":true,\"bos_token\":\"</s>\",\"eos_token\":\"</s>\",\"unk_token\":\"</s>\",\"pad_token\":\"<pad>\"}", NULL);
    vlm_tokenizer *tokenizer = open_folder();
    assert_ids(tokenizer, "ab ab</s>a<pad>", 15, "5 3 4 5 0 6");
    /* <unk> is in the vocabulary, but no special token of this folder. */
    assert_ids(tokenizer, "<unk>", 5, "5 8 9 10 11 12");
    vlm_tokenizer_close(tokenizer);
    remove_folder();
}

static void test_a_gpt2_folder_without_a_configuration_adds_its_end_token(void **state)
{
    (void)state;
    write_folder("vocab.json", GPT2_VOCAB, "merges.txt", GPT2_MERGES, "config.json", "{\"model_type\":\"gpt2\"}", NULL);
    vlm_tokenizer *tokenizer = open_folder();
    assert_ids(tokenizer, "ab<|endoftext|>", 15, "3 13");
    assert_int_equal(vlm_tokenizer_special(tokenizer, VLM_TOKEN_BOS), 13);
    vlm_tokenizer_close(tokenizer);
    remove_folder();
}

static void test_a_clip_folder_lowers_the_case_and_ends_words(void **state)
{
    (void)state;
    write_folder("vocab.json", "{\"a\":0,\"b\":1,\"a</w>\":2,\"b</w>\":3,\"ab</w>\":4,\"<|startoftext|>\":5,\"<|endoftext|>\":6}", "merges.txt", "#version: 0.2\na b</w>\n", "config.json", "{\"model_type\":\"clip\"}", NULL);
    vlm_tokenizer *tokenizer = open_folder();
    assert_ids(tokenizer, "AB  b\nA", 7, "5 4 3 2 6");
    vlm_text text = {0};
    assert_int_equal(vlm_tokenizer_decode(tokenizer, (const uint32_t[]){5, 4, 3, 2, 6}, 5, true, &text, NULL), VLM_OK);
    assert_string_equal(text.data, "ab b a");
    vlm_text_free(&text);
    vlm_tokenizer_close(tokenizer);
    remove_folder();
}

static void test_a_bert_folder_heeds_its_options(void **state)
{
    (void)state;
    const char *vocab = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\ncafe\nCaf\xc3\xa9\n##s\n!\n\xe7\x8c\xab\n";
    write_folder("vocab.txt", vocab, "config.json", "{\"model_type\":\"bert\"}", NULL);
    vlm_tokenizer *tokenizer = open_folder();
    assert_ids(tokenizer, "Caf\xc3\xa9s!\xe7\x8c\xab\xe7\x8c\xab", 13, "2 5 7 8 9 9 3");
    vlm_tokenizer_close(tokenizer);
    remove_folder();
    write_folder("vocab.txt", vocab, "tokenizer_config.json", "{\"tokenizer_class\":\"BertTokenizer\",\"do_lower_case\":false,\"tokenize_chinese_chars\":false}", NULL);
    tokenizer = open_folder();
    assert_ids(tokenizer, "Caf\xc3\xa9s!\xe7\x8c\xab\xe7\x8c\xab", 13, "2 6 7 8 1 3");
    vlm_tokenizer_close(tokenizer);
    remove_folder();
}

static void test_an_openclip_folder_may_stand_on_a_transformers_tokenizer(void **state)
{
    (void)state;
    write_folder("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n<\nb\n>\n", "tokenizer_config.json", "{\"tokenizer_class\":\"BertTokenizer\"}", "open_clip_config.json",
                 "{\"model_cfg\":{\"text_cfg\":{\"hf_tokenizer_name\":\"a/b\",\"context_length\":64}}}", NULL);
    vlm_tokenizer *tokenizer;
    assert_int_equal(vlm_tokenizer_open_openclip(&tokenizer, folder, NULL), VLM_OK);
    assert_ids(tokenizer, "&lt;b&gt;", 9, "2 5 6 7 3");
    assert_int_equal(vlm_tokenizer_max_length(tokenizer), 64);
    vlm_tokenizer_close(tokenizer);
    remove_folder();
}

/* --- texts --------------------------------------------------------------------------------------------- */

#define BYTES_JSON \
    "{\"added_tokens\":[],\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":true},\"decoder\":{\"type\":\"ByteLevel\"}," \
    "\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"\\u00ef\":1,\"\\u00bf\":2,\"\\u00bd\":3,\"\\u0100\":4,\"b\":5,\"\\u00ef\\u00bf\":6,\"aa\":7,\"aaaa\":8},\"merges\":[\"\\u00ef \\u00bf\",[\"a\",\"a\"],[\"aa\",\"aa\"]]}}"

static void test_broken_utf8_counts_as_replacement_characters(void **state)
{
    (void)state;
    vlm_tokenizer *tokenizer = parse(BYTES_JSON);
    assert_ids(tokenizer, "a\xff" "b", 3, "0 6 3 5");
    assert_ids(tokenizer, "\xe2\x82", 2, "6 3");
    assert_ids(tokenizer, "\xc0\x80", 2, "6 3 6 3");
    vlm_tokenizer_close(tokenizer);
}

static void test_a_text_may_hold_nul_bytes(void **state)
{
    (void)state;
    vlm_tokenizer *tokenizer = parse(BYTES_JSON);
    assert_ids(tokenizer, "a\0b", 3, "0 4 5");
    assert_ids(tokenizer, "", 0, "");
    vlm_tokenizer_close(tokenizer);
}

static void test_a_word_of_a_megabyte_takes_a_moment(void **state)
{
    (void)state;
    enum { LENGTH = 1 << 20 };
    vlm_tokenizer *tokenizer = parse(BYTES_JSON);
    char *text = malloc(LENGTH);
    assert_non_null(text);
    memset(text, 'a', LENGTH);
    vlm_ids ids = {0};
    clock_t begin = clock();
    assert_int_equal(vlm_tokenizer_encode(tokenizer, text, LENGTH, true, &ids, NULL), VLM_OK);
    /* Quadratic time would be hours; this takes 0.2 s, and 5 s with sanitizers on a busy machine. */
    assert_true((double)(clock() - begin) / CLOCKS_PER_SEC < 30);
    assert_int_equal(ids.count, LENGTH / 4);
    assert_int_equal(ids.data[LENGTH / 4 - 1], 8);
    vlm_ids_free(&ids);
    vlm_tokenizer_close(tokenizer);
    free(text);
}

static void test_ids_are_appended_and_kept_on_failure(void **state)
{
    (void)state;
    vlm_tokenizer *tokenizer = parse("{\"model\":{\"type\":\"WordLevel\",\"unk_token\":\"<unk>\",\"vocab\":{\"a\":0}}}");
    vlm_ids ids = {0};
    vlm_error error = {0};
    assert_int_equal(vlm_tokenizer_encode(tokenizer, "a", 1, true, &ids, NULL), VLM_OK);
    assert_int_equal(vlm_tokenizer_encode(tokenizer, "b", 1, true, &ids, &error), VLM_ERR_FORMAT);
    assert_non_null(strstr(error.message, "<unk>"));
    assert_int_equal(ids.count, 1);
    vlm_ids_free(&ids);
    vlm_tokenizer_close(tokenizer);
}

static void test_decoding_an_id_without_token_is_an_error(void **state)
{
    (void)state;
    vlm_tokenizer *tokenizer = parse(BYTES_JSON);
    vlm_text text = {0};
    vlm_error error = {0};
    assert_int_equal(vlm_tokenizer_decode(tokenizer, (const uint32_t[]){99}, 1, false, &text, &error), VLM_ERR_ARGUMENT);
    assert_non_null(strstr(error.message, "99"));
    assert_null(vlm_tokenizer_token(tokenizer, 99, NULL));
    vlm_text_free(&text);
    vlm_tokenizer_close(tokenizer);
}

static void *encode_many(void *argument)
{
    const vlm_tokenizer *tokenizer = argument;
    size_t wrong = 0;
    for (int i = 0; i < 300; i++) {
        vlm_ids ids = {0};
        if (vlm_tokenizer_encode(tokenizer, "a photo of a cat", 16, true, &ids, NULL) != VLM_OK || ids.count != 7 || ids.data[2] != 1125)
            wrong++;
        vlm_ids_free(&ids);
    }
    return (void *)(uintptr_t)wrong;
}

static void test_threads_share_a_tokenizer(void **state)
{
    (void)state;
    vlm_tokenizer *tokenizer;
    pthread_t threads[4];
    assert_int_equal(vlm_tokenizer_open_openclip(&tokenizer, NULL, NULL), VLM_OK);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, encode_many, tokenizer), 0);
    for (size_t i = 0; i < 4; i++) {
        void *wrong;
        pthread_join(threads[i], &wrong);
        assert_null(wrong);
    }
    vlm_tokenizer_close(tokenizer);
}

/* --- what is refused ------------------------------------------------------------------------------------ */

static void test_a_folder_without_a_tokenizer_says_what_was_looked_for(void **state)
{
    (void)state;
    vlm_tokenizer *tokenizer;
    vlm_error error = {0};
    write_folder("config.json", "{\"model_type\":\"clip\"}", NULL);
    assert_int_equal(vlm_tokenizer_open(&tokenizer, folder, &error), VLM_ERR_IO);
    assert_non_null(strstr(error.message, "tokenizer.json"));
    assert_non_null(strstr(error.message, "vocab.txt"));
    assert_null(tokenizer);
    remove_folder();
    assert_int_equal(vlm_tokenizer_open(&tokenizer, "/no/such/folder", &error), VLM_ERR_IO);
}

static void test_a_bare_vocabulary_of_an_unknown_class_is_refused(void **state)
{
    (void)state;
    vlm_tokenizer *tokenizer;
    vlm_error error = {0};
    write_folder("vocab.json", GPT2_VOCAB, "merges.txt", GPT2_MERGES, NULL);
    assert_int_equal(vlm_tokenizer_open(&tokenizer, folder, &error), VLM_ERR_UNSUPPORTED);
    assert_non_null(strstr(error.message, "tokenizer_class"));
    remove_folder();
}

static void test_merges_of_another_vocabulary_are_named(void **state)
{
    (void)state;
    assert_refused("{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[\"a b\"]}}", VLM_ERR_MISMATCH, "\"a\" with \"b\"");
}

static void test_hostile_files_are_refused_by_name(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "", "[]", "{", "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,}}}", "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":-1}}}", "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":99999999999}}}",
        "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\\ud800\":0}}}", "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\xff\":0}}}", "{\"model\":{\"type\":\"BPE\",\"vocab\":{}}}",
        "{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",0]],\"unk_id\":7}}", "{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",1e999]]}}", "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0}}} x",
        "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0}},\"normalizer\":{}}", "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0}},\"normalizer\":{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"/////w==\"}}",
        "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0}},\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"x\"}}],\"special_tokens\":{}}}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_refused(bad[i], VLM_ERR_FORMAT, "test.json");
    assert_refused("{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":4000000000}}}", VLM_ERR_LIMIT, "4000000000");
    assert_refused("{\"model\":{\"type\":\"BPE\",\"dropout\":0.1,\"vocab\":{\"a\":0}}}", VLM_ERR_UNSUPPORTED, "dropout");
    assert_refused("{\"model\":{\"type\":\"Other\",\"vocab\":{\"a\":0}}}", VLM_ERR_UNSUPPORTED, "Other");
    assert_refused("{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0}},\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(a\"},\"behavior\":\"Isolated\",\"invert\":false}}", VLM_ERR_UNSUPPORTED, "regular expression");
}

static void test_a_hostile_pattern_ends_in_an_error(void **state)
{
    (void)state;
    vlm_tokenizer *tokenizer = parse("{\"model\":{\"type\":\"WordLevel\",\"unk_token\":\"a\",\"vocab\":{\"a\":0}},"
                                     "\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(a|a)*(a|a)*(a|a)*[bc]\"},\"behavior\":\"Isolated\",\"invert\":false}}");
    char text[200];
    memset(text, 'a', sizeof text);
    vlm_ids ids = {0};
    vlm_error error = {0};
    assert_int_equal(vlm_tokenizer_encode(tokenizer, text, sizeof text, true, &ids, &error), VLM_ERR_LIMIT);
    vlm_ids_free(&ids);
    vlm_tokenizer_close(tokenizer);
}

/* --- patterns ------------------------------------------------------------------------------------------- */

static void assert_matches(const char *regex, const char *text, const char *wanted)
{
    vlm_pattern *pattern;
    vlm_matcher matcher = {0};
    vlm_error error = {0};
    vlm_text found = {0};
    if (vlm_pattern_regex(&pattern, regex, strlen(regex), "test", &error) != VLM_OK || vlm_pattern_find_all(pattern, &matcher, text, strlen(text), &error) != VLM_OK)
        fail_msg("%s", error.message);
    for (size_t i = 0; i < matcher.n_found; i++)
        vlm_text_printf(&found, "[%.*s]", (int)(matcher.found[i].end - matcher.found[i].start), text + matcher.found[i].start);
    assert_string_equal(found.data ? found.data : "", wanted);
    vlm_text_free(&found);
    vlm_matcher_free(&matcher);
    vlm_pattern_free(pattern);
}

static void test_patterns_mean_what_oniguruma_means(void **state)
{
    (void)state;
    assert_matches("\\h+", "xfaz", "[fa]");
    assert_matches("[a-z&&[^aeiou]]+", "banana", "[b][n][n]");
    assert_matches("[^(\\s|[.,])]+", "ab,c (d)", "[ab][c][d]");
    assert_matches("^b$", "a\nb\nc", "[b]");
    assert_matches("(?m:a.b)", "a\nb", "[a\nb]");
    assert_matches("a(?i)b|c", "aB C aC", "[aB][aC]");
    assert_matches("a{2}+", "aaaaa", "[aaaa]");
    assert_matches("a{,2}b", "aaab", "[aab]");
    assert_matches("x*", "axb", "[][x][]");
    assert_matches("\\p{Han}", "\xe3\x80\x81\xe7\x8c\xab", "[\xe7\x8c\xab]");
    assert_matches("\\s", "a\xe1\xa0\x8e\xe2\x80\x83", "[\xe2\x80\x83]");
    assert_matches("\\w+", "a_\xcc\x81\xe2\x80\xbf-", "[a_\xcc\x81\xe2\x80\xbf]");
    assert_matches("\\u3042", "\xe3\x81\x82", "[\xe3\x81\x82]");
    /* U+1DF25 and U+11F50 came with Unicode 15. */
    assert_matches("\\p{L}+|\\p{N}", "\xf0\x9d\xbc\xa5\xf0\x91\xbd\x90", "[\xf0\x9d\xbc\xa5][\xf0\x91\xbd\x90]");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bpe_gives_the_ids_of_the_reference),
        cmocka_unit_test(test_wordpiece_gives_the_ids_of_the_reference),
        cmocka_unit_test(test_unigram_gives_the_ids_of_the_reference),
        cmocka_unit_test(test_wordlevel_gives_the_ids_of_the_reference),
        cmocka_unit_test(test_openclip_cleans_and_tokenizes_as_the_reference),
        cmocka_unit_test(test_an_opt_folder_begins_with_its_end_token),
        cmocka_unit_test(test_a_gpt2_folder_without_a_configuration_adds_its_end_token),
        cmocka_unit_test(test_a_clip_folder_lowers_the_case_and_ends_words),
        cmocka_unit_test(test_a_bert_folder_heeds_its_options),
        cmocka_unit_test(test_an_openclip_folder_may_stand_on_a_transformers_tokenizer),
        cmocka_unit_test(test_broken_utf8_counts_as_replacement_characters),
        cmocka_unit_test(test_a_text_may_hold_nul_bytes),
        cmocka_unit_test(test_a_word_of_a_megabyte_takes_a_moment),
        cmocka_unit_test(test_ids_are_appended_and_kept_on_failure),
        cmocka_unit_test(test_decoding_an_id_without_token_is_an_error),
        cmocka_unit_test(test_threads_share_a_tokenizer),
        cmocka_unit_test(test_a_folder_without_a_tokenizer_says_what_was_looked_for),
        cmocka_unit_test(test_a_bare_vocabulary_of_an_unknown_class_is_refused),
        cmocka_unit_test(test_merges_of_another_vocabulary_are_named),
        cmocka_unit_test(test_hostile_files_are_refused_by_name),
        cmocka_unit_test(test_a_hostile_pattern_ends_in_an_error),
        cmocka_unit_test(test_patterns_mean_what_oniguruma_means),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
