/* Folders of checkpoints: which file is taken, shards and their index, and what stands where a checkpoint should. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "formats/checkpoint.h"
#include "formats/safetensors.h"

#define FOLDER VLM_BUILD_FOLDER "/test_checkpoint_files"
#define GOLDEN VLM_SOURCE_FOLDER "/tests/golden/formats/"

static void clean(void)
{
    char **names;
    size_t count;
    if (vlm_list_folder(&names, &count, FOLDER, NULL) != VLM_OK)
        return;
    for (size_t i = 0; i < count; i++) {
        char *path = vlm_join_path(FOLDER, names[i]);
        unlink(path);
        free(path);
        free(names[i]);
    }
    free(names);
}

static int set_up(void **state)
{
    (void)state;
    mkdir(FOLDER, 0755);
    clean();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    clean();
    return rmdir(FOLDER);
}

/* A safetensors file of scalars: names in a row, values counted from `first`. */
static void write_scalars(const char *file, const char *names, float first)
{
    vlm_entry entries[8];
    float values[8];
    char letters[8][2];
    size_t n = strlen(names);
    for (size_t i = 0; i < n; i++) {
        letters[i][0] = names[i];
        letters[i][1] = 0;
        values[i] = first + (float)i;
        entries[i] = (vlm_entry){.name = letters[i], .type = VLM_F32, .data = &values[i]};
    }
    char *path = vlm_join_path(FOLDER, file);
    assert_int_equal(vlm_safetensors_write(path, entries, n, NULL, 0, NULL), VLM_OK);
    free(path);
}

static void write_text(const char *file, const char *text)
{
    char *path = vlm_join_path(FOLDER, file);
    assert_int_equal(vlm_write_file(path, text, strlen(text), NULL), VLM_OK);
    free(path);
}

static float value_of(const vlm_checkpoint *checkpoint, const char *name)
{
    const vlm_entry *entry = vlm_checkpoint_find(checkpoint, name);
    float value = -1;
    if (entry)
        memcpy(&value, entry->data, sizeof value);
    return value;
}

static void expect_refused(const char *path, vlm_status status, const char *words)
{
    vlm_checkpoint *checkpoint;
    vlm_error error = {0};
    vlm_status found = vlm_checkpoint_open(&checkpoint, path, &error);
    if (found != status || !strstr(error.message, words))
        fail_msg("%s: status %d, \"%s\"; wanted %d, \"%s\"", path, found, error.message, status, words);
    assert_null(checkpoint);
}

static void test_a_folder_means_its_first_known_file(void **state)
{
    (void)state;
    write_scalars("open_clip_model.safetensors", "a", 2);
    write_text("pytorch_model.bin", "not looked at");
    vlm_checkpoint *checkpoint;
    assert_true(vlm_checkpoint_exists(FOLDER));
    assert_int_equal(vlm_checkpoint_open(&checkpoint, FOLDER, NULL), VLM_OK);
    assert_float_equal(value_of(checkpoint, "a"), 2, 0);
    assert_string_equal(vlm_checkpoint_path(checkpoint), FOLDER "/open_clip_model.safetensors");
    vlm_checkpoint_close(checkpoint);
    write_scalars("model.safetensors", "a", 1);
    assert_int_equal(vlm_checkpoint_open(&checkpoint, FOLDER "/", NULL), VLM_OK);
    assert_float_equal(value_of(checkpoint, "a"), 1, 0);
    vlm_checkpoint_close(checkpoint);
}

static void test_a_folder_without_a_checkpoint_says_what_was_looked_for(void **state)
{
    (void)state;
    assert_false(vlm_checkpoint_exists(FOLDER));
    expect_refused(FOLDER, VLM_ERR_IO, "looked for model.safetensors, ");
    expect_refused(FOLDER, VLM_ERR_IO, "open_clip_pytorch_model.bin");
    expect_refused(FOLDER "/nowhere", VLM_ERR_IO, FOLDER "/nowhere");
}

static void test_named_candidates_are_tried_in_their_order(void **state)
{
    (void)state;
    static const char *const names[] = {"adapter.safetensors", "weights.safetensors"};
    vlm_checkpoint *checkpoint;
    vlm_error error = {0};
    write_scalars("weights.safetensors", "a", 7);
    assert_int_equal(vlm_checkpoint_open_named(&checkpoint, FOLDER, names, 2, &error), VLM_OK);
    assert_float_equal(value_of(checkpoint, "a"), 7, 0);
    vlm_checkpoint_close(checkpoint);
    assert_int_equal(vlm_checkpoint_open_named(&checkpoint, FOLDER, names, 1, &error), VLM_ERR_IO);
    assert_non_null(strstr(error.message, "looked for adapter.safetensors"));
    assert_int_equal(vlm_checkpoint_open_named(&checkpoint, FOLDER "/none", names, 2, &error), VLM_ERR_IO);
    assert_non_null(strstr(error.message, "no such folder"));
}

static void test_shards_are_one_checkpoint(void **state)
{
    (void)state;
    write_scalars("one.safetensors", "ac", 1);
    write_scalars("two.safetensors", "bd", 10);
    write_text("model.safetensors.index.json", "{\"metadata\":{\"total_size\":16},\"weight_map\":{\"a\":\"one.safetensors\",\"b\":"
               "\"two.safetensors\",\"c\":\"one.safetensors\"}}");
    vlm_checkpoint *checkpoint;
    assert_int_equal(vlm_checkpoint_open(&checkpoint, FOLDER, NULL), VLM_OK);
    assert_int_equal(vlm_checkpoint_count(checkpoint), 4); /* d is in no index, but is there */
    assert_float_equal(value_of(checkpoint, "a"), 1, 0);
    assert_float_equal(value_of(checkpoint, "c"), 2, 0);
    assert_float_equal(value_of(checkpoint, "b"), 10, 0);
    assert_float_equal(value_of(checkpoint, "d"), 11, 0);
    vlm_checkpoint_close(checkpoint);
    assert_int_equal(vlm_checkpoint_open(&checkpoint, FOLDER "/model.safetensors.index.json", NULL), VLM_OK);
    vlm_checkpoint_close(checkpoint);
}

static void test_the_index_decides_between_two_shards_that_hold_a_tensor(void **state)
{
    (void)state;
    write_scalars("one.safetensors", "ab", 1);
    write_scalars("two.safetensors", "ab", 10);
    write_text("model.safetensors.index.json", "{\"weight_map\":{\"a\":\"one.safetensors\",\"b\":\"two.safetensors\"}}");
    vlm_checkpoint *checkpoint;
    assert_int_equal(vlm_checkpoint_open(&checkpoint, FOLDER, NULL), VLM_OK);
    assert_float_equal(value_of(checkpoint, "a"), 1, 0);
    assert_float_equal(value_of(checkpoint, "b"), 11, 0);
    vlm_checkpoint_close(checkpoint);
    write_scalars("two.safetensors", "bz", 10);
    write_scalars("one.safetensors", "az", 1);
    expect_refused(FOLDER, VLM_ERR_FORMAT, "two tensors are named z");
}

static void test_a_tensor_missing_from_its_shard_is_an_error(void **state)
{
    (void)state;
    write_scalars("one.safetensors", "a", 1);
    write_text("model.safetensors.index.json", "{\"weight_map\":{\"a\":\"one.safetensors\",\"q\":\"one.safetensors\"}}");
    expect_refused(FOLDER, VLM_ERR_MISMATCH, "tensor q is not in its shard one.safetensors");
    write_text("model.safetensors.index.json", "{\"weight_map\":{\"a\":\"gone.safetensors\"}}");
    expect_refused(FOLDER, VLM_ERR_IO, "gone.safetensors");
}

static void test_a_shard_outside_the_folder_is_refused_by_name(void **state)
{
    (void)state;
    static const char *const outside[] = {"../outside.safetensors", "/etc/passwd", "..", ".", "", "below/one.safetensors", "..\\\\x"};
    write_scalars("one.safetensors", "a", 1);
    for (size_t i = 0; i < sizeof outside / sizeof *outside; i++) {
        char index[256];
        snprintf(index, sizeof index, "{\"weight_map\":{\"a\":\"%s\"}}", outside[i]);
        write_text("model.safetensors.index.json", index);
        expect_refused(FOLDER, VLM_ERR_FORMAT, "plain file name");
    }
    write_text("model.safetensors.index.json", "{\"weight_map\":{\"a\":3}}");
    expect_refused(FOLDER, VLM_ERR_FORMAT, "plain file name");
}

/* A hub cache's snapshot holds links to ../../blobs/HASH: the name is plain, and that is what counts. */
static void test_links_as_a_hub_cache_has_them_are_followed(void **state)
{
    (void)state;
    write_scalars("blob", "a", 3);
    assert_int_equal(symlink("../test_checkpoint_files/blob", FOLDER "/one.safetensors"), 0);
    write_text("model.safetensors.index.json", "{\"weight_map\":{\"a\":\"one.safetensors\"}}");
    vlm_checkpoint *checkpoint;
    assert_int_equal(vlm_checkpoint_open(&checkpoint, FOLDER, NULL), VLM_OK);
    assert_float_equal(value_of(checkpoint, "a"), 3, 0);
    vlm_checkpoint_close(checkpoint);
}

static void test_an_index_that_is_no_index_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"{}", "{\"weight_map\":{}}", "{\"weight_map\":[]}", "[]"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        write_text("pytorch_model.bin.index.json", bad[i]);
        expect_refused(FOLDER, VLM_ERR_FORMAT, "weight_map");
    }
    write_text("pytorch_model.bin.index.json", "{");
    expect_refused(FOLDER, VLM_ERR_FORMAT, "not valid JSON");
}

static void test_what_stands_in_place_of_a_checkpoint_is_named(void **state)
{
    (void)state;
    static const char *const contents[][2] = {{"", "empty"},
                                              {"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "git lfs pull"},
                                              {"<!DOCTYPE html><html>", "web page"},
                                              {"GGUF\3\0\0\0", "GGUF"},
                                              {"some text that is nothing", "neither a safetensors file"}};
    for (size_t i = 0; i < sizeof contents / sizeof *contents; i++) {
        write_text("model.safetensors", contents[i][0]);
        expect_refused(FOLDER, i == 3 ? VLM_ERR_UNSUPPORTED : VLM_ERR_FORMAT, contents[i][1]);
        expect_refused(FOLDER "/model.safetensors", i == 3 ? VLM_ERR_UNSUPPORTED : VLM_ERR_FORMAT, "model.safetensors: ");
    }
}

static void test_content_decides_not_the_name(void **state)
{
    (void)state;
    write_scalars("weights.pth", "a", 5);
    vlm_checkpoint *checkpoint;
    assert_int_equal(vlm_checkpoint_open(&checkpoint, FOLDER "/weights.pth", NULL), VLM_OK);
    assert_float_equal(value_of(checkpoint, "a"), 5, 0);
    vlm_checkpoint_close(checkpoint);
}

static void test_tensors_are_listed_in_the_byte_order_of_their_names(void **state)
{
    (void)state;
    vlm_checkpoint *checkpoint;
    assert_int_equal(vlm_checkpoint_open(&checkpoint, GOLDEN "zip.bin", NULL), VLM_OK);
    size_t bytes = 0;
    for (size_t i = 0; i < vlm_checkpoint_count(checkpoint); i++) {
        const vlm_entry *entry = vlm_checkpoint_at(checkpoint, i);
        if (i)
            assert_true(strcmp(vlm_checkpoint_at(checkpoint, i - 1)->name, entry->name) < 0);
        assert_ptr_equal(vlm_checkpoint_find(checkpoint, entry->name), entry);
        assert_int_equal(entry->bytes, entry->n * vlm_dtype_size(entry->type));
        bytes += entry->bytes;
    }
    assert_int_equal(vlm_checkpoint_bytes(checkpoint), bytes);
    vlm_checkpoint_close(checkpoint);
    vlm_checkpoint_close(NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_folder_means_its_first_known_file),
        TEST(test_a_folder_without_a_checkpoint_says_what_was_looked_for),
        TEST(test_named_candidates_are_tried_in_their_order),
        TEST(test_shards_are_one_checkpoint),
        TEST(test_the_index_decides_between_two_shards_that_hold_a_tensor),
        TEST(test_a_tensor_missing_from_its_shard_is_an_error),
        TEST(test_a_shard_outside_the_folder_is_refused_by_name),
        TEST(test_links_as_a_hub_cache_has_them_are_followed),
        TEST(test_an_index_that_is_no_index_is_refused),
        TEST(test_what_stands_in_place_of_a_checkpoint_is_named),
        TEST(test_content_decides_not_the_name),
        TEST(test_tensors_are_listed_in_the_byte_order_of_their_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
