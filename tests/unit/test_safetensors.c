/* safetensors: what the format's library accepts is read, what it refuses is refused by name, and what we write
 * is byte for byte what it writes. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "formats/checkpoint.h"
#include "formats/safetensors.h"

#define GOLDEN VLM_SOURCE_FOLDER "/tests/golden/formats/"

/* A file in memory: the header's text, and data_size bytes 0, 1, 2 ... behind it. */
static unsigned char *make_file(size_t *size, const char *header, size_t data_size)
{
    size_t length = strlen(header);
    *size = 8 + length + data_size;
    unsigned char *bytes = malloc(*size);
    for (int i = 0; i < 8; i++)
        bytes[i] = (unsigned char)((uint64_t)length >> (8 * i));
    memcpy(bytes + 8, header, length);
    for (size_t i = 0; i < data_size; i++)
        bytes[8 + length + i] = (unsigned char)i;
    return bytes;
}

static void expect_refused(const char *header, size_t data_size, vlm_status status, const char *words)
{
    size_t size;
    unsigned char *bytes = make_file(&size, header, data_size);
    vlm_checkpoint *checkpoint;
    vlm_error error = {0};
    vlm_status found = vlm_checkpoint_open_memory(&checkpoint, bytes, size, "file", &error);
    if (found != status || !strstr(error.message, words))
        fail_msg("%s: status %d, \"%s\"; wanted %d, \"%s\"", header, found, error.message, status, words);
    assert_null(checkpoint);
    free(bytes);
}

static void test_tensors_are_found_where_the_header_says(void **state)
{
    (void)state;
    size_t size;
    unsigned char *bytes = make_file(&size, "{\"__metadata__\":{\"format\":\"pt\",\"a\":\"b\"},\"z\":{\"dtype\":\"F32\",\"shape\":[2,1],"
        "\"data_offsets\":[4,12]},\"a\":{\"dtype\":\"BF16\",\"shape\":[2],\"data_offsets\":[0,4],\"extra\":null}}   ", 12);
    vlm_checkpoint *checkpoint;
    assert_int_equal(vlm_checkpoint_open_memory(&checkpoint, bytes, size, "file", NULL), VLM_OK);
    assert_int_equal(vlm_checkpoint_count(checkpoint), 2);
    assert_int_equal(vlm_checkpoint_bytes(checkpoint), 12);
    const vlm_entry *a = vlm_checkpoint_at(checkpoint, 0), *z = vlm_checkpoint_find(checkpoint, "z");
    assert_string_equal(a->name, "a");
    assert_int_equal(a->type, VLM_BF16);
    assert_ptr_equal(a->data, bytes + size - 12);
    assert_ptr_equal(z->data, bytes + size - 8);
    assert_int_equal(z->type, VLM_F32);
    assert_int_equal(z->n_dims, 2);
    assert_int_equal(z->shape[0], 2);
    assert_int_equal(z->n, 2);
    assert_int_equal(z->bytes, 8);
    assert_null(vlm_checkpoint_find(checkpoint, "b"));
    assert_null(vlm_checkpoint_at(checkpoint, 2));
    assert_string_equal(vlm_checkpoint_metadata(checkpoint, "format"), "pt");
    assert_null(vlm_checkpoint_metadata(checkpoint, "b"));
    vlm_checkpoint_close(checkpoint);
    free(bytes);
}

static void test_a_file_without_tensors_is_empty_and_well(void **state)
{
    (void)state;
    size_t size;
    unsigned char *bytes = make_file(&size, "{}", 0);
    vlm_checkpoint *checkpoint;
    assert_int_equal(vlm_checkpoint_open_memory(&checkpoint, bytes, size, "file", NULL), VLM_OK);
    assert_int_equal(vlm_checkpoint_count(checkpoint), 0);
    assert_null(vlm_checkpoint_find(checkpoint, "a"));
    vlm_checkpoint_close(checkpoint);
    free(bytes);
}

static void test_scalars_and_empty_tensors_are_tensors(void **state)
{
    (void)state;
    size_t size;
    unsigned char *bytes = make_file(&size, "{\"s\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[0,8]},"
        "\"e\":{\"dtype\":\"F32\",\"shape\":[5,0],\"data_offsets\":[8,8]},\"f\":{\"dtype\":\"F16\",\"shape\":[0],\"data_offsets\":[0,0]}}", 8);
    vlm_checkpoint *checkpoint;
    assert_int_equal(vlm_checkpoint_open_memory(&checkpoint, bytes, size, "file", NULL), VLM_OK);
    const vlm_entry *s = vlm_checkpoint_find(checkpoint, "s"), *e = vlm_checkpoint_find(checkpoint, "e");
    assert_int_equal(s->n_dims, 0);
    assert_int_equal(s->n, 1);
    assert_int_equal(e->n, 0);
    assert_int_equal(e->shape[0], 5);
    assert_non_null(e->data);
    vlm_checkpoint_close(checkpoint);
    free(bytes);
}

static void test_types_we_do_not_compute_with_are_listed_and_refused_when_wanted(void **state)
{
    (void)state;
    vlm_checkpoint *checkpoint;
    vlm_error error = {0};
    const vlm_entry *entry;
    assert_int_equal(vlm_checkpoint_open(&checkpoint, GOLDEN "foreign.safetensors", &error), VLM_OK);
    entry = vlm_checkpoint_find(checkpoint, "foreign.1");
    assert_int_equal(entry->type, VLM_DTYPES);
    assert_string_equal(entry->type_name, "F8_E4M3");
    assert_int_equal(entry->bytes, 24);
    assert_int_equal(vlm_checkpoint_get(&entry, checkpoint, "foreign.1", &error), VLM_ERR_UNSUPPORTED);
    assert_non_null(strstr(error.message, "foreign.1"));
    assert_non_null(strstr(error.message, "F8_E4M3"));
    assert_int_equal(vlm_checkpoint_get(&entry, checkpoint, "nowhere", &error), VLM_ERR_MISMATCH);
    assert_non_null(strstr(error.message, "nowhere"));
    vlm_checkpoint_close(checkpoint);
}

static void test_four_bit_types_are_counted_in_bits(void **state)
{
    (void)state;
    size_t size;
    unsigned char *bytes = make_file(&size, "{\"a\":{\"dtype\":\"F4\",\"shape\":[6],\"data_offsets\":[0,3]}}", 3);
    vlm_checkpoint *checkpoint;
    assert_int_equal(vlm_checkpoint_open_memory(&checkpoint, bytes, size, "file", NULL), VLM_OK);
    assert_int_equal(vlm_checkpoint_at(checkpoint, 0)->bytes, 3);
    vlm_checkpoint_close(checkpoint);
    free(bytes);
    expect_refused("{\"a\":{\"dtype\":\"F4\",\"shape\":[5],\"data_offsets\":[0,3]}}", 3, VLM_ERR_FORMAT, "contradict");
}

static void test_offsets_must_lie_inside_the_file(void **state)
{
    (void)state;
    expect_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 7, VLM_ERR_FORMAT, "tensor a ends at byte 8");
    expect_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,0]}}", 8, VLM_ERR_FORMAT, "[begin, end]");
    expect_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[-8,0]}}", 8, VLM_ERR_FORMAT, "not a size");
    expect_refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[9223372036854775807],\"data_offsets\":[1,9223372036854775807]}}", 8, VLM_ERR_FORMAT, "ends at byte");
}

static void test_sizes_must_be_what_shape_and_type_make(void **state)
{
    (void)state;
    expect_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,8]}}", 8, VLM_ERR_FORMAT, "contradict");
    expect_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,8]}}", 8, VLM_ERR_FORMAT, "contradict");
    /* 2^62 * 4 elements wrap to 0; 2^61 elements of 8 bytes too */
    expect_refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[4611686018427387904,4],\"data_offsets\":[0,0]}}", 0, VLM_ERR_FORMAT, "contradict");
    expect_refused("{\"a\":{\"dtype\":\"I64\",\"shape\":[2305843009213693952],\"data_offsets\":[0,0]}}", 0, VLM_ERR_FORMAT, "contradict");
    expect_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[-2],\"data_offsets\":[0,8]}}", 8, VLM_ERR_FORMAT, "not a size");
    expect_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[2.0],\"data_offsets\":[0,8]}}", 8, VLM_ERR_FORMAT, "not a size");
    expect_refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,1]}}", 1, VLM_ERR_UNSUPPORTED, "at most 8");
}

static void test_tensors_must_tile_the_data(void **state)
{
    (void)state;
    expect_refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[2,6]}}", 6,
                   VLM_ERR_FORMAT, "overlap");
    expect_refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[4,6]}}", 6,
                   VLM_ERR_FORMAT, "holes");
    expect_refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}", 5, VLM_ERR_FORMAT, "4 bytes of tensors are described, 5");
    expect_refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[1,5]}}", 5, VLM_ERR_FORMAT, "overlap nor leave holes");
    expect_refused("{}", 1, VLM_ERR_FORMAT, "described");
}

static void test_the_header_must_be_what_the_format_says(void **state)
{
    (void)state;
    expect_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]},\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}", 4,
                   VLM_ERR_FORMAT, "a key that stands twice");
    expect_refused("{\"a\":{\"dtype\":\"F33\",\"shape\":[],\"data_offsets\":[0,4]}}", 4, VLM_ERR_UNSUPPORTED, "F33");
    expect_refused("{\"a\":{\"shape\":[],\"data_offsets\":[0,4]}}", 4, VLM_ERR_FORMAT, "no \"dtype\"");
    expect_refused("{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4, VLM_ERR_FORMAT, "\"shape\" is not an array");
    expect_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[]}}", 4, VLM_ERR_FORMAT, "\"data_offsets\" is not an array");
    expect_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0]}}", 4, VLM_ERR_FORMAT, "[begin, end]");
    expect_refused("{\"a\":3}", 0, VLM_ERR_FORMAT, "no \"dtype\"");
    expect_refused("{\"__metadata__\":{\"a\":1}}", 0, VLM_ERR_FORMAT, "not a string");
    expect_refused("{\"__metadata__\":[]}", 0, VLM_ERR_FORMAT, "__metadata__");
    expect_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}} x", 4, VLM_ERR_FORMAT, "not valid JSON");
    expect_refused("{\"a\xff\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}", 4, VLM_ERR_FORMAT, "not valid JSON");
    expect_refused("{\"a\\u0000b\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}", 4, VLM_ERR_FORMAT, "not valid JSON");
    expect_refused("[]", 0, VLM_ERR_FORMAT, "neither");
}

static void test_a_header_longer_than_the_file_or_the_limit_is_refused(void **state)
{
    (void)state;
    vlm_entry_list list = {0};
    vlm_error error = {0};
    unsigned char bytes[16] = {200, 0, 0, 0, 0, 0, 0, 0, '{', '}'};
    assert_int_equal(vlm_safetensors_read(&list, bytes, sizeof bytes, "file", &error), VLM_ERR_FORMAT);
    assert_non_null(strstr(error.message, "200 bytes, the file 16"));
    bytes[3] = 6; /* 100,663,496 */
    assert_int_equal(vlm_safetensors_read(&list, bytes, sizeof bytes, "file", &error), VLM_ERR_LIMIT);
    memset(bytes, 0xff, 8);
    assert_int_equal(vlm_safetensors_read(&list, bytes, sizeof bytes, "file", &error), VLM_ERR_LIMIT);
    assert_int_equal(vlm_safetensors_read(&list, bytes, 7, "file", &error), VLM_ERR_FORMAT);
    vlm_entry_list_free(&list);
}

static void test_a_file_cut_anywhere_is_refused(void **state)
{
    (void)state;
    vlm_mapping file;
    assert_int_equal(vlm_map_file(&file, GOLDEN "plain.safetensors", NULL), VLM_OK);
    for (size_t size = 0; size < file.size; size++) {
        unsigned char *cut = malloc(size + 1); /* a block of its own, so that a sanitizer sees a read past it */
        memcpy(cut, file.data, size);
        vlm_checkpoint *checkpoint;
        assert_int_equal(vlm_checkpoint_open_memory(&checkpoint, cut, size, "file", NULL), VLM_ERR_FORMAT);
        free(cut);
    }
    vlm_unmap(&file);
}

static void test_writing_what_was_read_gives_the_bytes_of_the_reference(void **state)
{
    (void)state;
    const char *path = VLM_BUILD_FOLDER "/test_safetensors.safetensors";
    vlm_checkpoint *checkpoint;
    assert_int_equal(vlm_checkpoint_open(&checkpoint, GOLDEN "plain.safetensors", NULL), VLM_OK);
    static const char *const metadata[][2] = {{"format", "pt"}};
    vlm_error error = {0};
    if (vlm_safetensors_write(path, vlm_checkpoint_at(checkpoint, 0), vlm_checkpoint_count(checkpoint), metadata, 1, &error) != VLM_OK)
        fail_msg("%s", error.message);
    vlm_mapping ours, theirs;
    assert_int_equal(vlm_map_file(&ours, path, NULL), VLM_OK);
    assert_int_equal(vlm_map_file(&theirs, GOLDEN "plain.safetensors", NULL), VLM_OK);
    assert_int_equal(ours.size, theirs.size);
    assert_memory_equal(ours.data, theirs.data, ours.size);
    vlm_unmap(&ours);
    vlm_unmap(&theirs);
    vlm_checkpoint_close(checkpoint);
    unlink(path);
}

static void test_what_cannot_be_written_leaves_no_file(void **state)
{
    (void)state;
    const char *path = VLM_BUILD_FOLDER "/test_safetensors_bad.safetensors";
    float value = 1;
    vlm_error error = {0};
    vlm_entry good = {.name = "a", .type = VLM_F32, .data = &value};
    vlm_entry two[] = {good, {.name = "a", .type = VLM_I32, .data = &value}};
    assert_int_equal(vlm_safetensors_write(path, two, 2, NULL, 0, &error), VLM_ERR_ARGUMENT);
    assert_non_null(strstr(error.message, "two tensors are named a"));
    vlm_entry packed = {.name = "p", .type = VLM_Q8, .data = &value};
    assert_int_equal(vlm_safetensors_write(path, &packed, 1, NULL, 0, &error), VLM_ERR_UNSUPPORTED);
    vlm_entry reserved = {.name = "__metadata__", .type = VLM_F32, .data = &value};
    assert_int_equal(vlm_safetensors_write(path, &reserved, 1, NULL, 0, &error), VLM_ERR_ARGUMENT);
    vlm_entry broken = {.name = "\xff", .type = VLM_F32, .data = &value};
    assert_int_equal(vlm_safetensors_write(path, &broken, 1, NULL, 0, &error), VLM_ERR_ARGUMENT);
    vlm_entry huge = {.name = "h", .type = VLM_F32, .n_dims = 2, .shape = {SIZE_MAX / 2, 4}, .data = &value};
    assert_int_equal(vlm_safetensors_write(path, &huge, 1, NULL, 0, &error), VLM_ERR_ARGUMENT);
    assert_false(vlm_file_exists(path));
    assert_int_equal(vlm_safetensors_write("/nowhere/at/all.safetensors", &good, 1, NULL, 0, &error), VLM_ERR_IO);
    assert_non_null(strstr(error.message, "/nowhere/at/all.safetensors"));
}

/* A limit on the size of files stands for the full disk: the write fails in the middle, as there. */
static void test_a_full_disk_leaves_the_old_file_and_no_other(void **state)
{
    (void)state;
    const char *folder = VLM_BUILD_FOLDER "/test_safetensors_full", *path = VLM_BUILD_FOLDER "/test_safetensors_full/a.safetensors";
    mkdir(folder, 0755);
    assert_int_equal(vlm_write_file(path, "old", 3, NULL), VLM_OK);
    size_t n = 1 << 20;
    float *values = calloc(n, sizeof *values);
    vlm_entry entry = {.name = "a", .type = VLM_F32, .n_dims = 1, .shape = {n}, .data = values};
    struct rlimit before, small;
    getrlimit(RLIMIT_FSIZE, &before);
    small = (struct rlimit){1 << 16, before.rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &small);
    vlm_error error = {0};
    vlm_status status = vlm_safetensors_write(path, &entry, 1, NULL, 0, &error);
    setrlimit(RLIMIT_FSIZE, &before);
    assert_int_equal(status, VLM_ERR_IO);
    assert_non_null(strstr(error.message, path));
    vlm_mapping old;
    assert_int_equal(vlm_map_file(&old, path, NULL), VLM_OK);
    assert_int_equal(old.size, 3);
    vlm_unmap(&old);
    unlink(path);
    assert_int_equal(rmdir(folder), 0); /* a temporary file left behind would keep it */
    free(values);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tensors_are_found_where_the_header_says),
        cmocka_unit_test(test_a_file_without_tensors_is_empty_and_well),
        cmocka_unit_test(test_scalars_and_empty_tensors_are_tensors),
        cmocka_unit_test(test_types_we_do_not_compute_with_are_listed_and_refused_when_wanted),
        cmocka_unit_test(test_four_bit_types_are_counted_in_bits),
        cmocka_unit_test(test_offsets_must_lie_inside_the_file),
        cmocka_unit_test(test_sizes_must_be_what_shape_and_type_make),
        cmocka_unit_test(test_tensors_must_tile_the_data),
        cmocka_unit_test(test_the_header_must_be_what_the_format_says),
        cmocka_unit_test(test_a_header_longer_than_the_file_or_the_limit_is_refused),
        cmocka_unit_test(test_a_file_cut_anywhere_is_refused),
        cmocka_unit_test(test_writing_what_was_read_gives_the_bytes_of_the_reference),
        cmocka_unit_test(test_what_cannot_be_written_leaves_no_file),
        cmocka_unit_test(test_a_full_disk_leaves_the_old_file_and_no_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
