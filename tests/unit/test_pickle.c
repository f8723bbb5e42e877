/* PyTorch checkpoints: every container that torch writes gives the same tensors, and a pickle that does anything
 * but build tensors is refused by the name of what it calls. The goldens come from tools/make_format_goldens.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>
#include <zlib.h>

#include "base/file.h"
#include "base/text.h"
#include "formats/checkpoint.h"
#include "formats/json.h"
#include "make_zip.h"

#define GOLDEN VLM_SOURCE_FOLDER "/tests/golden/formats/"

/* The status and message of a checkpoint of this pickle and one storage "0" of 64 bytes. */
static vlm_status open_pickle(const void *pickle, size_t size, vlm_error *error)
{
    archive zip = {0};
    unsigned char storage[64] = {0};
    add_member(&zip, "a/data.pkl", pickle, size);
    add_member(&zip, "a/data/0", storage, sizeof storage);
    end_archive(&zip);
    vlm_checkpoint *checkpoint;
    *error = (vlm_error){0};
    vlm_status status = vlm_checkpoint_open_memory(&checkpoint, zip.bytes.data, zip.bytes.length, "file", error);
    vlm_checkpoint_close(checkpoint);
    vlm_text_free(&zip.bytes);
    return status;
}

static void expect_refused(const void *pickle, size_t size, vlm_status status, const char *words)
{
    vlm_error error;
    vlm_status found = open_pickle(pickle, size, &error);
    if (found != status || !strstr(error.message, words))
        fail_msg("status %d, \"%s\"; wanted %d, \"%s\"", found, error.message, status, words);
}
#define EXPECT_REFUSED(pickle, status, words) expect_refused(pickle, sizeof pickle - 1, status, words)

/* A pickle of {"w": _rebuild_tensor_v2(storage, offset, size, stride)}, the last three as given: opcodes. */
#define STORAGE(elements) "(X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0" "0X\3\0\0\0cpu" elements "tQ"
#define TENSOR_OF(storage, rest) "\x80\2}X\1\0\0\0wctorch._utils\n_rebuild_tensor_v2\n(" storage rest "\x89}tRs."
#define TENSOR(rest) TENSOR_OF(STORAGE("K\20"), rest)

/* --- what torch writes --------------------------------------------------------------------------------- */

static void compare_with_expected(const char *name, const json_t *rows)
{
    vlm_checkpoint *checkpoint;
    vlm_error error = {0};
    char path[512];
    snprintf(path, sizeof path, GOLDEN "%s", name);
    if (vlm_checkpoint_open(&checkpoint, path, &error) != VLM_OK)
        fail_msg("%s", error.message);
    if (vlm_checkpoint_count(checkpoint) != json_array_size(rows))
        fail_msg("%s: %zu tensors, wanted %zu", name, vlm_checkpoint_count(checkpoint), json_array_size(rows));
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i), *shape = json_object_get(row, "shape");
        const vlm_entry *entry = vlm_checkpoint_at(checkpoint, i);
        assert_string_equal(entry->name, json_string_value(json_object_get(row, "name")));
        assert_string_equal(entry->type_name, json_string_value(json_object_get(row, "type")));
        assert_int_equal(entry->n_dims, json_array_size(shape));
        for (size_t d = 0; d < entry->n_dims; d++)
            assert_int_equal(entry->shape[d], json_integer_value(json_array_get(shape, d)));
        if ((json_int_t)crc32_z(0, entry->data, entry->bytes) != json_integer_value(json_object_get(row, "crc")))
            fail_msg("%s: tensor %s: other bytes", name, entry->name);
    }
    vlm_checkpoint_close(checkpoint);
}

static void test_every_layout_gives_the_tensors_that_were_saved(void **state)
{
    (void)state;
    json_t *expected, *rows;
    const char *name;
    assert_int_equal(vlm_json_read(&expected, GOLDEN "expected.json", NULL), VLM_OK);
    assert_int_equal(json_object_size(expected), 9);
    json_object_foreach(expected, name, rows)
        compare_with_expected(name, rows);
    json_decref(expected);
}

static void test_stored_tensors_are_used_where_they_lie(void **state)
{
    (void)state;
    vlm_mapping file;
    vlm_checkpoint *checkpoint;
    assert_int_equal(vlm_map_file(&file, GOLDEN "zip.bin", NULL), VLM_OK);
    assert_int_equal(vlm_checkpoint_open_memory(&checkpoint, file.data, file.size, "file", NULL), VLM_OK);
    const unsigned char *whole = vlm_checkpoint_find(checkpoint, "whole")->data, *rows = vlm_checkpoint_find(checkpoint, "rows")->data;
    const unsigned char *transposed = vlm_checkpoint_find(checkpoint, "transposed")->data;
    assert_true(whole >= file.data && whole < file.data + file.size);
    assert_int_equal((size_t)(whole - file.data) % 64, 0); /* torch aligns its storages */
    assert_ptr_equal(rows, whole + 6 * sizeof(float));
    assert_ptr_equal(vlm_checkpoint_find(checkpoint, "tied")->data, whole);
    assert_false(transposed >= file.data && transposed < file.data + file.size);
    vlm_checkpoint_close(checkpoint);
    vlm_unmap(&file);
}

static void expect_file_refused(const char *name, vlm_status status, const char *words)
{
    vlm_checkpoint *checkpoint;
    vlm_error error = {0};
    char path[512];
    snprintf(path, sizeof path, GOLDEN "%s", name);
    vlm_status found = vlm_checkpoint_open(&checkpoint, path, &error);
    assert_null(checkpoint);
    if (found != status || !strstr(error.message, words) || !strstr(error.message, name))
        fail_msg("%s: status %d, \"%s\"; wanted %d, \"%s\"", name, found, error.message, status, words);
}

static void test_a_pickle_that_calls_something_is_refused_by_its_name(void **state)
{
    (void)state;
    expect_file_refused("attack.bin", VLM_ERR_UNSUPPORTED, "calls posix.system");
    expect_file_refused("module.bin", VLM_ERR_UNSUPPORTED, "calls torch.nn.modules.linear.Linear");
    EXPECT_REFUSED("\x80\2cos\nsystem\n(X\1\0\0\0atR.", VLM_ERR_UNSUPPORTED, "calls os.system");
    EXPECT_REFUSED("\x80\4\x8c\2os\x8c\6system\x93.", VLM_ERR_UNSUPPORTED, "calls os.system");
    EXPECT_REFUSED("\x80\2" "cbuiltins\neval\n.", VLM_ERR_UNSUPPORTED, "calls builtins.eval");
    EXPECT_REFUSED("\x80\2" "ctorch\nFloatStorage.__init__\n.", VLM_ERR_UNSUPPORTED, "FloatStorage.__init__");
    EXPECT_REFUSED("ios\nsystem\n.", VLM_ERR_UNSUPPORTED, "opcode 0x69");
}

static void test_a_file_without_tensors_says_what_it_holds(void **state)
{
    (void)state;
    expect_file_refused("nothing.bin", VLM_ERR_FORMAT, "the keys epoch, lr");
    EXPECT_REFUSED("\x80\2K\1.", VLM_ERR_FORMAT, "no dictionary of tensors");
    EXPECT_REFUSED("\x80\2}.", VLM_ERR_FORMAT, "no dictionary of tensors");
}

static void test_values_that_differ_from_their_bytes_are_refused(void **state)
{
    (void)state;
    expect_file_refused("conjugated.bin", VLM_ERR_UNSUPPORTED, "resolve_conj");
}

/* --- hostile tensors ----------------------------------------------------------------------------------- */

static void test_the_pickles_of_this_test_are_well_formed(void **state)
{
    (void)state;
    vlm_error error;
    static const char good[] = TENSOR("K\0(K\4K\4t(K\4K\1t"), whole[] = TENSOR("K\17(K\1t(K\1t");
    assert_int_equal(open_pickle(good, sizeof good - 1, &error), VLM_OK);
    assert_int_equal(open_pickle(whole, sizeof whole - 1, &error), VLM_OK);
}

static void test_a_tensor_must_lie_inside_its_storage(void **state)
{
    (void)state;
    EXPECT_REFUSED(TENSOR("K\20(K\1t(K\1t"), VLM_ERR_FORMAT, "tensor w reaches beyond its storage of 16");
    EXPECT_REFUSED(TENSOR("K\1(K\4K\4t(K\4K\1t"), VLM_ERR_FORMAT, "reaches beyond");
    EXPECT_REFUSED(TENSOR("K\0(K\4K\4t(K\5K\1t"), VLM_ERR_FORMAT, "reaches beyond");
    EXPECT_REFUSED(TENSOR("K\0(K\2t(\x8a\10\0\0\0\0\0\0\0\x40t"), VLM_ERR_FORMAT, "reaches beyond");
    /* 2^62 elements in each of two dimensions of stride 0 */
    EXPECT_REFUSED(TENSOR("K\0(\x8a\10\0\0\0\0\0\0\0\x40\x8a\10\0\0\0\0\0\0\0\x40t(K\0K\0t"), VLM_ERR_FORMAT, "reaches beyond");
    EXPECT_REFUSED(TENSOR("\x8a\10\xff\xff\xff\xff\xff\xff\xff\x7f(K\2t(K\1t"), VLM_ERR_FORMAT, "reaches beyond");
}

static void test_negative_and_odd_sizes_are_refused(void **state)
{
    (void)state;
    EXPECT_REFUSED(TENSOR("J\xff\xff\xff\xff(K\1t(K\1t"), VLM_ERR_FORMAT, "not what they should be");
    EXPECT_REFUSED(TENSOR("K\0(J\xff\xff\xff\xfft(K\1t"), VLM_ERR_FORMAT, "not what they should be");
    EXPECT_REFUSED(TENSOR("K\0(K\1t(J\xff\xff\xff\xfft"), VLM_ERR_FORMAT, "not what they should be");
    EXPECT_REFUSED(TENSOR("K\0(K\1t(K\1K\1t"), VLM_ERR_FORMAT, "not what they should be");
    EXPECT_REFUSED(TENSOR("K\0(K\1K\1K\1K\1K\1K\1K\1K\1K\1t(K\1K\1K\1K\1K\1K\1K\1K\1K\1t"), VLM_ERR_FORMAT, "at most 8");
    EXPECT_REFUSED(TENSOR("K\0K\1K\1"), VLM_ERR_FORMAT, "not what they should be");
    EXPECT_REFUSED(TENSOR_OF("K\1", "K\0(K\1t(K\1t"), VLM_ERR_FORMAT, "not what they should be");
}

static void test_a_view_that_unfolds_to_gigabytes_is_refused(void **state)
{
    (void)state;
    EXPECT_REFUSED(TENSOR("K\0(J\0\0\0\x40t(K\0t"), VLM_ERR_LIMIT, "tensor w is a view that would unfold to 4294967296 bytes");
}

static void test_a_storage_must_be_in_the_archive_and_large_enough(void **state)
{
    (void)state;
    EXPECT_REFUSED(TENSOR_OF(STORAGE("K\21"), "K\0(K\1t(K\1t"), VLM_ERR_FORMAT, "has 64 bytes, too few for 17 elements of 4");
    EXPECT_REFUSED(TENSOR_OF(STORAGE("\x8a\10\0\0\0\0\0\0\0\x40"), "K\0(K\1t(K\1t"), VLM_ERR_FORMAT, "too few");
    EXPECT_REFUSED(TENSOR_OF(STORAGE("J\xff\xff\xff\xff"), "K\0(K\1t(K\1t"), VLM_ERR_FORMAT, "persistent id");
    EXPECT_REFUSED("\x80\2(X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0" "9X\3\0\0\0cpuK\1tQ.", VLM_ERR_FORMAT, "storage 9 is not in the archive");
    EXPECT_REFUSED("\x80\2(X\7\0\0\0storagectorch\nFloatStorage\nX\12\0\0\0../../evilX\3\0\0\0cpuK\1tQ.", VLM_ERR_FORMAT, "not in the archive");
    EXPECT_REFUSED("\x80\2(X\6\0\0\0moduleK\1K\1K\1K\1tQ.", VLM_ERR_FORMAT, "not a storage");
}

static void test_names_that_are_no_text_are_refused(void **state)
{
    (void)state;
    EXPECT_REFUSED("\x80\2}X\2\0\0\0a\0ctorch._utils\n_rebuild_tensor_v2\n(" STORAGE("K\20") "K\0))\x89}tRs.", VLM_ERR_FORMAT, "not UTF-8");
    EXPECT_REFUSED("\x80\2}X\2\0\0\0\xff\xff" "ctorch._utils\n_rebuild_tensor_v2\n(" STORAGE("K\20") "K\0))\x89}tRs.", VLM_ERR_FORMAT, "not UTF-8");
    EXPECT_REFUSED("\x80\2}K\1ctorch._utils\n_rebuild_tensor_v2\n(" STORAGE("K\20") "K\0))\x89}tRs.", VLM_ERR_FORMAT, "not text");
}

static void test_a_tensor_named_twice_is_refused(void **state)
{
    (void)state;
    static const char twice[] = "\x80\2}(X\1\0\0\0wctorch._utils\n_rebuild_tensor_v2\n(" STORAGE("K\20") "K\0))\x89}tRq\0X\1\0\0\0wh\0u.";
    expect_refused(twice, sizeof twice - 1, VLM_ERR_FORMAT, "two tensors are named w");
}

/* --- hostile machines ---------------------------------------------------------------------------------- */

static void test_a_damaged_pickle_is_refused_where_it_breaks(void **state)
{
    (void)state;
    EXPECT_REFUSED("", VLM_ERR_FORMAT, "ends too soon");
    EXPECT_REFUSED("\x80", VLM_ERR_FORMAT, "ends too soon");
    EXPECT_REFUSED("\x80\2X\377\377\377\377abc", VLM_ERR_FORMAT, "ends too soon");
    EXPECT_REFUSED("\x80\2\x8d\377\377\377\377\377\377\377\377abc", VLM_ERR_FORMAT, "ends too soon");
    EXPECT_REFUSED(".", VLM_ERR_FORMAT, "nothing on the stack");
    EXPECT_REFUSED("t.", VLM_ERR_FORMAT, "no mark");
    EXPECT_REFUSED("K\1(\x85.", VLM_ERR_FORMAT, "nothing on the stack"); /* a tuple of what lies below a mark */
    EXPECT_REFUSED("h\0.", VLM_ERR_FORMAT, "never remembered");
    EXPECT_REFUSED("K\1K\2R.", VLM_ERR_FORMAT, "not a function");
    EXPECT_REFUSED("K\1K\2a.", VLM_ERR_FORMAT, "no container");
    EXPECT_REFUSED("}(K\1u.", VLM_ERR_FORMAT, "without its value");
    EXPECT_REFUSED("cnames", VLM_ERR_FORMAT, "a name without an end");
    EXPECT_REFUSED("P1\n.", VLM_ERR_UNSUPPORTED, "opcode 0x50");
}

static void test_a_memo_index_beyond_reason_allocates_nothing(void **state)
{
    (void)state;
    EXPECT_REFUSED("K\1r\377\377\377\377.", VLM_ERR_LIMIT, "remembers more");
}

/* d = {}; d["a"] = d: nothing may follow that circle. The same for a module in itself. */
static void test_values_that_contain_themselves_end(void **state)
{
    (void)state;
    EXPECT_REFUSED("\x80\2}q\0X\12\0\0\0state_dicth\0s.", VLM_ERR_FORMAT, "no dictionary of tensors");
    EXPECT_REFUSED("\x80\2" "c__torch__.M\nM\n)\x81q\0}X\1\0\0\0ah\0sb.", VLM_ERR_LIMIT, "modules inside modules");
}

/* Each level holds the one below twice: 2^60 paths through 60 modules. */
static void test_a_module_shared_by_many_paths_is_bounded(void **state)
{
    (void)state;
    vlm_text pickle = {0};
    static const char start[] = "\x80\2" "c__torch__.M\nM\nq\0)\x81q\1";
    vlm_text_append(&pickle, start, sizeof start - 1);
    for (int i = 1; i <= 60; i++) {
        vlm_text_append(&pickle, "h\0)\x81", 4);
        vlm_text_append(&pickle, "}(X\1\0\0\0ah", 9);
        put_number(&pickle, (uint64_t)i, 1);
        vlm_text_append(&pickle, "X\1\0\0\0bh", 7);
        put_number(&pickle, (uint64_t)i, 1);
        vlm_text_append(&pickle, "ubq", 3);
        put_number(&pickle, (uint64_t)i + 1, 1);
    }
    vlm_text_puts(&pickle, ".");
    expect_refused(pickle.data, pickle.length, VLM_ERR_LIMIT, "modules inside modules");
    vlm_text_free(&pickle);
}

static void test_a_pickle_that_only_stacks_is_bounded(void **state)
{
    (void)state;
    size_t size = (size_t)20 << 20;
    char *pickle = malloc(size);
    memset(pickle, 'N', size);
    expect_refused(pickle, size, VLM_ERR_LIMIT, "stacks more than");
    memset(pickle, '(', size);
    expect_refused(pickle, size, VLM_ERR_LIMIT, "stacks more than");
    memset(pickle, '}', size);
    expect_refused(pickle, size, VLM_ERR_LIMIT, "builds more than");
    free(pickle);
}

static void test_a_file_cut_anywhere_is_refused(void **state)
{
    (void)state;
    static const char *const names[] = {GOLDEN "zip.bin", GOLDEN "stream.pth", GOLDEN "deflated.pt"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        vlm_mapping file;
        assert_int_equal(vlm_map_file(&file, names[i], NULL), VLM_OK);
        for (size_t size = 0; size < file.size; size++) {
            unsigned char *cut = malloc(size + 1);
            memcpy(cut, file.data, size);
            vlm_checkpoint *checkpoint;
            if (vlm_checkpoint_open_memory(&checkpoint, cut, size, "file", NULL) == VLM_OK)
                fail_msg("%s: its first %zu bytes are taken for the whole", names[i], size);
            free(cut);
        }
        vlm_unmap(&file);
    }
}

/* Every byte changed to three others: read or refused, never out of bounds (the sanitizers watch). */
static void test_a_changed_byte_does_no_harm(void **state)
{
    (void)state;
    static const char *const names[] = {GOLDEN "zip.bin", GOLDEN "stream.pth", GOLDEN "deflated.pt", GOLDEN "script.pt"};
    static const unsigned char masks[] = {0x01, 0x80, 0xff};
    size_t refused = 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        vlm_mapping file;
        assert_int_equal(vlm_map_file(&file, names[i], NULL), VLM_OK);
        unsigned char *changed = malloc(file.size);
        memcpy(changed, file.data, file.size);
        for (size_t at = 0; at < file.size; at++)
            for (size_t k = 0; k < sizeof masks; k++) {
                changed[at] ^= masks[k];
                vlm_checkpoint *checkpoint;
                vlm_error error = {0};
                if (vlm_checkpoint_open_memory(&checkpoint, changed, file.size, "file", &error) != VLM_OK) {
                    assert_true(error.message[0]);
                    refused++;
                }
                for (size_t t = 0; checkpoint && t < vlm_checkpoint_count(checkpoint); t++) {
                    const vlm_entry *entry = vlm_checkpoint_at(checkpoint, t);
                    crc32_z(0, entry->data, entry->bytes);
                }
                vlm_checkpoint_close(checkpoint);
                changed[at] ^= masks[k];
            }
        free(changed);
        vlm_unmap(&file);
    }
    assert_true(refused > 1000);
}

/* --- the archive --------------------------------------------------------------------------------------- */

static void expect_archive_refused(archive *zip, vlm_status status, const char *words)
{
    end_archive(zip);
    vlm_checkpoint *checkpoint;
    vlm_error error = {0};
    vlm_status found = vlm_checkpoint_open_memory(&checkpoint, zip->bytes.data, zip->bytes.length, "file", &error);
    if (found != status || !strstr(error.message, words))
        fail_msg("status %d, \"%s\"; wanted %d, \"%s\"", found, error.message, status, words);
    vlm_text_free(&zip->bytes);
}

static void test_archives_that_torch_did_not_write_are_refused(void **state)
{
    (void)state;
    archive other = {0}, twice = {0}, big = {0}, deep = {0};
    add_member(&other, "picture.png", "abc", 3);
    expect_archive_refused(&other, VLM_ERR_FORMAT, "no data.pkl");
    add_member(&twice, "a/data.pkl", "N.", 2);
    add_member(&twice, "a/data.pkl", "N.", 2);
    expect_archive_refused(&twice, VLM_ERR_FORMAT, "two zip members are named a/data.pkl");
    add_member(&big, "a/data.pkl", "N.", 2);
    add_member(&big, "a/byteorder", "big", 3);
    expect_archive_refused(&big, VLM_ERR_UNSUPPORTED, "another byte order");
    add_member(&deep, "a/b/data.pkl", "N.", 2);
    expect_archive_refused(&deep, VLM_ERR_FORMAT, "no data.pkl");
}

static void test_a_zip64_archive_is_read(void **state)
{
    (void)state;
    static const char pickle[] = TENSOR("K\0(K\4K\4t(K\4K\1t");
    unsigned char storage[64] = {1, 2, 3};
    archive zip = {0};
    add_member(&zip, "a/data.pkl", pickle, sizeof pickle - 1);
    size_t offset = zip.bytes.length;
    add_member(&zip, "a/data/0", storage, sizeof storage);
    /* the last record again, its sizes and place in an extra field */
    zip.directory.length -= 46 + 8;
    vlm_text_append(&zip.directory, "PK\1\2\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\377\377\377\377\377\377\377\377\10\0", 30);
    put_number(&zip.directory, 4 + 28, 2);
    put_number(&zip.directory, 0, 10);
    put_number(&zip.directory, 0xffffffff, 4);
    vlm_text_puts(&zip.directory, "a/data/0");
    vlm_text_append(&zip.directory, "\1\0\34\0", 4);
    put_number(&zip.directory, sizeof storage, 8);
    put_number(&zip.directory, sizeof storage, 8);
    put_number(&zip.directory, offset, 8);
    put_number(&zip.directory, 0, 4);
    size_t start = zip.bytes.length, length = zip.directory.length;
    vlm_text_append(&zip.bytes, zip.directory.data, length);
    size_t record = zip.bytes.length;
    vlm_text_append(&zip.bytes, "PK\6\6\54\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 24);
    put_number(&zip.bytes, 2, 8);
    put_number(&zip.bytes, 2, 8);
    put_number(&zip.bytes, length, 8);
    put_number(&zip.bytes, start, 8);
    vlm_text_append(&zip.bytes, "PK\6\7\0\0\0\0", 8);
    put_number(&zip.bytes, record, 8);
    put_number(&zip.bytes, 1, 4);
    vlm_text_append(&zip.bytes, "PK\5\6\0\0\0\0\377\377\377\377\377\377\377\377\377\377\377\377\0\0", 22);
    vlm_checkpoint *checkpoint;
    vlm_error error = {0};
    if (vlm_checkpoint_open_memory(&checkpoint, zip.bytes.data, zip.bytes.length, "file", &error) != VLM_OK)
        fail_msg("%s", error.message);
    assert_memory_equal(vlm_checkpoint_find(checkpoint, "w")->data, storage, sizeof storage);
    vlm_checkpoint_close(checkpoint);
    vlm_text_free(&zip.bytes);
    vlm_text_free(&zip.directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_layout_gives_the_tensors_that_were_saved),
        cmocka_unit_test(test_stored_tensors_are_used_where_they_lie),
        cmocka_unit_test(test_a_pickle_that_calls_something_is_refused_by_its_name),
        cmocka_unit_test(test_a_file_without_tensors_says_what_it_holds),
        cmocka_unit_test(test_values_that_differ_from_their_bytes_are_refused),
        cmocka_unit_test(test_the_pickles_of_this_test_are_well_formed),
        cmocka_unit_test(test_a_tensor_must_lie_inside_its_storage),
        cmocka_unit_test(test_negative_and_odd_sizes_are_refused),
        cmocka_unit_test(test_a_view_that_unfolds_to_gigabytes_is_refused),
        cmocka_unit_test(test_a_storage_must_be_in_the_archive_and_large_enough),
        cmocka_unit_test(test_names_that_are_no_text_are_refused),
        cmocka_unit_test(test_a_tensor_named_twice_is_refused),
        cmocka_unit_test(test_a_damaged_pickle_is_refused_where_it_breaks),
        cmocka_unit_test(test_a_memo_index_beyond_reason_allocates_nothing),
        cmocka_unit_test(test_values_that_contain_themselves_end),
        cmocka_unit_test(test_a_module_shared_by_many_paths_is_bounded),
        cmocka_unit_test(test_a_pickle_that_only_stacks_is_bounded),
        cmocka_unit_test(test_a_file_cut_anywhere_is_refused),
        cmocka_unit_test(test_a_changed_byte_does_no_harm),
        cmocka_unit_test(test_archives_that_torch_did_not_write_are_refused),
        cmocka_unit_test(test_a_zip64_archive_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
