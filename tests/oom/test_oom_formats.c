/* Checkpoints, JSON and hub names with every allocation failing in turn. */
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

#include "oom.h"

#include "base/file.h"
#include "formats/checkpoint.h"
#include "formats/hub.h"
#include "formats/json.h"
#include "formats/safetensors.h"

#define GOLDEN VLM_SOURCE_FOLDER "/tests/golden/formats/"
#define FOLDER VLM_BUILD_FOLDER "/test_oom_files"

enum { MOST = 3000 };

static vlm_status open_and_close(void *argument, vlm_error *error)
{
    vlm_checkpoint *checkpoint;
    vlm_status status = vlm_checkpoint_open(&checkpoint, argument, error);
    if (status == VLM_OK)
        vlm_checkpoint_close(checkpoint);
    return status;
}

static void test_opening_a_checkpoint_of_any_layout(void **state)
{
    (void)state;
    static const char *const names[] = {"plain.safetensors", "foreign.safetensors", "zip.bin", "protocol5.pt",
                                        "stream.pth", "training.pt", "deflated.pt", "script.pt"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[512];
        snprintf(path, sizeof path, GOLDEN "%s", names[i]);
        oom_run(names[i], open_and_close, path, MOST);
    }
}

/* Two shards, the second a link to a golden of 13 tensors. */
static void test_opening_shards(void **state)
{
    (void)state;
    static const char index[] = "{\"weight_map\":{\"f32.weight\":\"one.safetensors\",\"foreign.0\":\"two.safetensors\"}}";
    mkdir(FOLDER, 0755);
    unlink(FOLDER "/one.safetensors");
    unlink(FOLDER "/two.safetensors");
    assert_int_equal(symlink(GOLDEN "plain.safetensors", FOLDER "/one.safetensors"), 0);
    assert_int_equal(symlink(GOLDEN "foreign.safetensors", FOLDER "/two.safetensors"), 0);
    assert_int_equal(vlm_write_file(FOLDER "/model.safetensors.index.json", index, sizeof index - 1, NULL), VLM_OK);
    oom_run("shards", open_and_close, FOLDER, MOST);
    unlink(FOLDER "/one.safetensors");
    unlink(FOLDER "/two.safetensors");
    unlink(FOLDER "/model.safetensors.index.json");
    rmdir(FOLDER);
}

static vlm_status open_bad(void *argument, vlm_error *error)
{
    vlm_checkpoint *checkpoint;
    vlm_status status = vlm_checkpoint_open(&checkpoint, argument, error);
    return status == VLM_ERR_UNSUPPORTED ? VLM_OK : status; /* refused for what it is, or for want of memory */
}

static void test_refusing_a_checkpoint(void **state)
{
    (void)state;
    oom_run("attack.bin", open_bad, GOLDEN "attack.bin", MOST);
    oom_run("conjugated.bin", open_bad, GOLDEN "conjugated.bin", MOST);
}

static vlm_status read_json(void *argument, vlm_error *error)
{
    json_t *root;
    vlm_status status = vlm_json_read(&root, argument, error);
    if (status == VLM_OK)
        json_decref(root);
    return status;
}

static void test_reading_json(void **state)
{
    (void)state;
    oom_run("expected.json", read_json, GOLDEN "expected.json", MOST);
}

static vlm_status write_checkpoint(void *argument, vlm_error *error)
{
    static const char *const metadata[][2] = {{"format", "pt"}, {"step", "3"}};
    const vlm_checkpoint *checkpoint = argument;
    return vlm_safetensors_write(VLM_BUILD_FOLDER "/test_oom.safetensors", vlm_checkpoint_at(checkpoint, 0),
                                 vlm_checkpoint_count(checkpoint), metadata, 2, error);
}

static void test_writing_a_checkpoint(void **state)
{
    (void)state;
    vlm_checkpoint *checkpoint;
    assert_int_equal(vlm_checkpoint_open(&checkpoint, GOLDEN "plain.safetensors", NULL), VLM_OK);
    oom_run("writing", write_checkpoint, checkpoint, MOST);
    vlm_checkpoint_close(checkpoint);
    unlink(VLM_BUILD_FOLDER "/test_oom.safetensors");
}

static vlm_status resolve(void *argument, vlm_error *error)
{
    char *path;
    vlm_status status = vlm_hub_resolve(&path, argument, error);
    free(path);
    return status == VLM_ERR_IO ? VLM_OK : status; /* the name is not there, which is found out with memory only */
}

static void test_resolving_a_name(void **state)
{
    (void)state;
    oom_run("a path", resolve, GOLDEN, MOST);
    oom_run("a hub name", resolve, "nobody/no-such-model", MOST);
    oom_run("a name alone", resolve, "no-such-model", MOST);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_opening_a_checkpoint_of_any_layout),
        cmocka_unit_test(test_opening_shards),
        cmocka_unit_test(test_refusing_a_checkpoint),
        cmocka_unit_test(test_reading_json),
        cmocka_unit_test(test_writing_a_checkpoint),
        cmocka_unit_test(test_resolving_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
