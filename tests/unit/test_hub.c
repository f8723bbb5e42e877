/* Model names: files and folders as they are, hub names by the layout of huggingface_hub's cache. */
#include <fcntl.h>
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
#include "formats/hub.h"

#define HOME VLM_BUILD_FOLDER "/test_hub_files"
#define CACHE HOME "/cache"
#define CLIP CACHE "/models--openai--clip"

static const char *const folders[] = {
    HOME, CACHE, CLIP, CLIP "/refs", CLIP "/refs/pr", CLIP "/snapshots", CLIP "/snapshots/aaaa", CLIP "/snapshots/bbbb",
    CACHE "/models--sentence-transformers--clip-ViT-B-32", CACHE "/models--sentence-transformers--clip-ViT-B-32/snapshots",
    CACHE "/models--sentence-transformers--clip-ViT-B-32/snapshots/cccc",
    CACHE "/models--gpt2", CACHE "/models--gpt2/snapshots", CACHE "/models--gpt2/snapshots/dddd",
    HOME "/.cache", HOME "/.cache/huggingface", HOME "/.cache/huggingface/hub", HOME "/.cache/huggingface/hub/models--a--b",
    HOME "/.cache/huggingface/hub/models--a--b/snapshots", HOME "/.cache/huggingface/hub/models--a--b/snapshots/eeee"};
enum { N_FOLDERS = sizeof folders / sizeof *folders };

static const char *const files[] = {CLIP "/refs/main", CLIP "/refs/pr/1", CLIP "/refs/evil", CLIP "/refs/gone"};
static const char *const contents[] = {"aaaa", "bbbb\n", "../../../..", "ffff"};
enum { N_FILES = sizeof files / sizeof *files };

static int set_up(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_FOLDERS; i++)
        mkdir(folders[i], 0755);
    for (size_t i = 0; i < N_FILES; i++)
        if (vlm_write_file(files[i], contents[i], strlen(contents[i]), NULL) != VLM_OK)
            return -1;
    unsetenv("HUGGINGFACE_HUB_CACHE");
    unsetenv("HF_HOME");
    unsetenv("XDG_CACHE_HOME");
    setenv("HF_HUB_CACHE", CACHE, 1);
    setenv("HOME", HOME, 1);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_FILES; i++)
        unlink(files[i]);
    for (size_t i = N_FOLDERS; i > 0; i--)
        rmdir(folders[i - 1]);
    return 0;
}

static void expect(const char *model, const char *wanted)
{
    char *path;
    vlm_error error = {0};
    if (vlm_hub_resolve(&path, model, &error) != VLM_OK)
        fail_msg("%s: %s", model, error.message);
    assert_string_equal(path, wanted);
    free(path);
}

static void expect_refused(const char *model, const char *words)
{
    char *path;
    vlm_error error = {0};
    vlm_status status = vlm_hub_resolve(&path, model, &error);
    assert_null(path);
    if (status == VLM_OK || !strstr(error.message, words))
        fail_msg("%s: \"%s\", wanted \"%s\"", model, error.message, words);
}

static void test_a_path_that_exists_is_itself(void **state)
{
    (void)state;
    expect(CACHE, CACHE);
    expect(CLIP "/refs/main", CLIP "/refs/main");
}

static void test_a_name_is_the_snapshot_of_main(void **state)
{
    (void)state;
    expect("openai/clip", CLIP "/snapshots/aaaa");
    expect("hf-hub:openai/clip", CLIP "/snapshots/aaaa");
}

static void test_a_revision_is_a_ref_or_a_commit(void **state)
{
    (void)state;
    expect("openai/clip@main", CLIP "/snapshots/aaaa");
    expect("openai/clip@pr/1", CLIP "/snapshots/bbbb");
    expect("openai/clip@bbbb", CLIP "/snapshots/bbbb");
}

static void test_without_main_the_newest_snapshot_is_taken(void **state)
{
    (void)state;
    const struct timespec old[2] = {{1000, 0}, {1000, 0}}, new[2] = {{2000, 0}, {2000, 0}};
    unlink(CLIP "/refs/main");
    assert_int_equal(utimensat(AT_FDCWD, CLIP "/snapshots/aaaa", old, 0), 0);
    assert_int_equal(utimensat(AT_FDCWD, CLIP "/snapshots/bbbb", new, 0), 0);
    expect("openai/clip", CLIP "/snapshots/bbbb");
    assert_int_equal(utimensat(AT_FDCWD, CLIP "/snapshots/bbbb", old, 0), 0);
    assert_int_equal(utimensat(AT_FDCWD, CLIP "/snapshots/aaaa", new, 0), 0);
    expect("openai/clip", CLIP "/snapshots/aaaa");
    expect_refused("openai/clip@main", "not its revision main");
}

static void test_a_name_without_an_owner_may_be_sentence_transformers(void **state)
{
    (void)state;
    expect("clip-ViT-B-32", CACHE "/models--sentence-transformers--clip-ViT-B-32/snapshots/cccc");
    expect("sentence-transformers/clip-ViT-B-32", CACHE "/models--sentence-transformers--clip-ViT-B-32/snapshots/cccc");
    expect("gpt2", CACHE "/models--gpt2/snapshots/dddd");
}

static void test_the_environment_names_the_cache_in_its_order(void **state)
{
    (void)state;
    static const char hub[] = HOME "/.cache/huggingface/hub/models--a--b/snapshots/eeee";
    expect_refused("a/b", CACHE);
    setenv("HF_HUB_CACHE", "", 1); /* empty is not set */
    expect("a/b", hub);
    setenv("HF_HUB_CACHE", "~/cache", 1);
    expect("openai/clip", CLIP "/snapshots/aaaa");
    unsetenv("HF_HUB_CACHE");
    setenv("HF_HOME", HOME "/.cache/huggingface", 1);
    setenv("HOME", "/nowhere", 1);
    expect("a/b", hub);
    unsetenv("HF_HOME");
    setenv("XDG_CACHE_HOME", HOME "/.cache", 1);
    expect("a/b", hub);
    setenv("HUGGINGFACE_HUB_CACHE", CACHE, 1);
    expect("openai/clip", CLIP "/snapshots/aaaa");
    unsetenv("HUGGINGFACE_HUB_CACHE");
    unsetenv("XDG_CACHE_HOME");
    expect_refused("a/b", "/nowhere/.cache/huggingface/hub");
}

static void test_a_name_that_is_not_there_says_where_was_looked_and_what_to_do(void **state)
{
    (void)state;
    expect_refused("openai/other", CACHE " (as models--openai--other)");
    expect_refused("openai/other@v1", "hf download openai/other");
    expect_refused("openai/clip@v2", "not its revision v2");
    expect_refused("openai/clip@gone", "not its revision gone"); /* a ref to a snapshot that was deleted */
    expect_refused("", "empty model name");
}

static void test_names_that_lead_out_of_the_cache_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"../openai/clip", "openai/../clip", "openai/..", "a/b/c", "/nowhere/model", "openai//clip", "/clip",
                                      "clip/", ".hidden", "a--b", "a..b", "a b", "a\nb", "-a", "a.", "openai/clip@", "openai/clip@../main",
                                      "openai/clip@a/../../b", "openai/clip@/etc", "~/model", "hf-hub:"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        expect_refused(bad[i], "not a name that the hub allows");
    char longest[200];
    memset(longest, 'a', sizeof longest - 1);
    longest[sizeof longest - 1] = 0;
    expect_refused(longest, "not a name that the hub allows");
    expect_refused("openai/clip@evil", "not its revision evil"); /* a ref whose content leads out */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_path_that_exists_is_itself),
        TEST(test_a_name_is_the_snapshot_of_main),
        TEST(test_a_revision_is_a_ref_or_a_commit),
        TEST(test_without_main_the_newest_snapshot_is_taken),
        TEST(test_a_name_without_an_owner_may_be_sentence_transformers),
        TEST(test_the_environment_names_the_cache_in_its_order),
        TEST(test_a_name_that_is_not_there_says_where_was_looked_and_what_to_do),
        TEST(test_names_that_lead_out_of_the_cache_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
