/* The ground: errors, arena, numbers, files, threads, random numbers, text. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <math.h>
#include <stdatomic.h>

#include "base/arena.h"
#include "base/dtype.h"
#include "base/fail.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/random.h"
#include "base/text.h"
#include "base/threads.h"

static void test_a_message_is_one_printable_line(void **state)
{
    (void)state;
    vlm_error error;
    assert_int_equal(vlm_fail(&error, VLM_ERR_FORMAT, "name \x1b[31m\n%s", "x"), VLM_ERR_FORMAT);
    assert_string_equal(error.message, "name ?[31m?x");
    assert_int_equal(vlm_fail(NULL, VLM_ERR_IO, "x"), VLM_ERR_IO);
    vlm_fail_prefix(&error, "file %d", 7);
    assert_string_equal(error.message, "file 7: name ?[31m?x");
}

static void test_a_long_message_is_cut_at_a_whole_character(void **state)
{
    (void)state;
    vlm_error error;
    char text[2000];
    for (size_t shift = 0; shift < 4; shift++) {
        memset(text, 'a', shift);
        for (size_t i = shift; i + 4 < sizeof text; i += 4)
            memcpy(text + i, "\xf0\x9f\x98\x80", 4);
        text[shift + (sizeof text - shift - 1) / 4 * 4 - 4] = 0;
        vlm_fail(&error, VLM_ERR_FORMAT, "%s", text);
        assert_true(strlen(error.message) > 1000);
        assert_true(vlm_utf8_valid(error.message, strlen(error.message)));
    }
}

static void test_an_overflowing_size_is_no_allocation(void **state)
{
    (void)state;
    vlm_arena arena = {0};
    assert_null(vlm_alloc(SIZE_MAX / 2, 3));
    assert_null(vlm_alloc_zero(SIZE_MAX / 2, 3));
    assert_null(vlm_alloc_aligned(SIZE_MAX / 2, 3));
    assert_null(vlm_alloc_aligned(SIZE_MAX - 10, 1));
    assert_null(vlm_resize(NULL, SIZE_MAX / 2, 3));
    assert_null(vlm_arena_alloc(&arena, SIZE_MAX / 2, 3));
    assert_null(vlm_arena_alloc(&arena, SIZE_MAX - 10, 1));
    vlm_arena_free(&arena);
}

static void test_an_arena_gives_back_what_came_after_a_mark(void **state)
{
    (void)state;
    vlm_arena arena = {0};
    char *first = vlm_arena_alloc(&arena, 100, 1);
    memset(first, 1, 100);
    vlm_arena_mark mark = vlm_arena_get_mark(&arena);
    void *second = vlm_arena_alloc(&arena, 1000, 1);
    for (int i = 0; i < 50; i++)
        memset(vlm_arena_alloc(&arena, 100000, 1), 2, 100000);
    vlm_arena_rewind(&arena, mark);
    assert_ptr_equal(vlm_arena_alloc(&arena, 1000, 1), second);
    assert_int_equal((uintptr_t)second % VLM_ALIGNMENT, 0);
    for (int i = 0; i < 100; i++)
        assert_int_equal(first[i], 1);
    vlm_arena_free(&arena);
}

static void test_an_arena_settles_on_one_chunk(void **state)
{
    (void)state;
    vlm_arena arena = {0};
    void *last[3] = {0};
    for (int pass = 0; pass < 3; pass++) {
        vlm_arena_rewind(&arena, (vlm_arena_mark){0});
        for (int i = 0; i < 20; i++) {
            last[pass] = vlm_arena_alloc(&arena, 300000, 1);
            memset(last[pass], i, 300000);
        }
    }
    assert_ptr_equal(last[1], last[2]);
    vlm_arena_free(&arena);
}

static void test_every_half_survives_the_way_through_float(void **state)
{
    (void)state;
    for (unsigned h = 0; h < 0x10000; h++) {
        float f = vlm_f16_to_f32((uint16_t)h), b = vlm_bf16_to_f32((uint16_t)h);
        if (isnan(f))
            assert_true(isnan(vlm_f16_to_f32(vlm_f32_to_f16(f))));
        else
            assert_int_equal(vlm_f32_to_f16(f), h);
        if (isnan(b))
            assert_true(isnan(vlm_bf16_to_f32(vlm_f32_to_bf16(b))));
        else
            assert_int_equal(vlm_f32_to_bf16(b), h);
    }
}

static void test_halves_round_to_the_nearest_even(void **state)
{
    (void)state;
    assert_int_equal(vlm_f32_to_f16(1 + 0x1p-11f), 0x3c00); /* a tie: down to even */
    assert_int_equal(vlm_f32_to_f16(1 + 3 * 0x1p-11f), 0x3c02);
    assert_int_equal(vlm_f32_to_f16(65519.996f), 0x7bff);
    assert_int_equal(vlm_f32_to_f16(65520), 0x7c00);
    assert_int_equal(vlm_f32_to_f16(0x1p-25f), 0);
    assert_int_equal(vlm_f32_to_f16(0x1.8p-25f), 1);
    assert_int_equal(vlm_f32_to_bf16(1 + 0x1p-8f), 0x3f80);
    assert_int_equal(vlm_f32_to_bf16(1 + 3 * 0x1p-8f), 0x3f82);
}

static void test_a_file_appears_whole_or_not_at_all(void **state)
{
    (void)state;
    char folder[] = "/tmp/vlm-test-XXXXXX", path[64], name[64];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/out.txt", folder);
    vlm_error error;
    vlm_writer writer;
    assert_int_equal(vlm_writer_open(&writer, path, &error), VLM_OK);
    fputs("half", writer.stream);
    fflush(writer.stream);
    assert_false(vlm_file_exists(path));
    vlm_writer_abort(&writer);
    assert_false(vlm_file_exists(path));
    assert_int_equal(vlm_write_file(path, "whole", 5, &error), VLM_OK);
    assert_int_equal(chmod(path, 0640), 0);
    assert_int_equal(vlm_write_file(path, "again", 5, &error), VLM_OK);
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0640);
    vlm_mapping file;
    assert_int_equal(vlm_map_file(&file, path, &error), VLM_OK);
    assert_int_equal(file.size, 5);
    assert_memory_equal(file.data, "again", 5);
    vlm_unmap(&file);
    char **names;
    size_t count;
    assert_int_equal(vlm_list_folder(&names, &count, folder, &error), VLM_OK);
    assert_int_equal(count, 1); /* and nothing left beside it */
    free(names[0]);
    free(names);
    snprintf(name, sizeof name, "%s/missing/out.txt", folder);
    assert_int_equal(vlm_write_file(name, "x", 1, &error), VLM_ERR_IO);
    assert_non_null(strstr(error.message, "missing/out.txt"));
    assert_int_equal(vlm_write_file(folder, "x", 1, &error), VLM_ERR_IO);
    unlink(path);
    rmdir(folder);
}

static void test_a_device_is_written_to_and_not_replaced(void **state)
{
    (void)state;
    vlm_error error;
    assert_int_equal(vlm_write_file("/dev/null", "x", 1, &error), VLM_OK);
    struct stat info;
    assert_int_equal(stat("/dev/null", &info), 0);
    assert_true(S_ISCHR(info.st_mode));
    assert_int_equal(vlm_write_file("/dev/full", "x", 1, &error), VLM_ERR_IO);
}

static void test_mapping_refuses_what_is_no_file(void **state)
{
    (void)state;
    vlm_mapping file;
    vlm_error error;
    assert_int_equal(vlm_map_file(&file, "/tmp", &error), VLM_ERR_IO);
    assert_int_equal(vlm_map_file(&file, "/dev/zero", &error), VLM_ERR_IO);
    assert_int_equal(vlm_map_file(&file, "/nowhere/at/all", &error), VLM_ERR_IO);
    assert_non_null(strstr(error.message, "/nowhere/at/all"));
}

typedef struct counting {
    atomic_int hits[1000];
} counting;

static void count_hit(void *argument, size_t index, size_t thread)
{
    (void)thread;
    atomic_fetch_add(&((counting *)argument)->hits[index], 1);
}

static void test_every_task_runs_once_on_any_number_of_threads(void **state)
{
    (void)state;
    for (size_t n = 1; n <= 5; n++) {
        vlm_threads *threads;
        assert_int_equal(vlm_threads_create(&threads, n, NULL), VLM_OK);
        assert_int_equal(vlm_threads_count(threads), n);
        counting *counts = calloc(1, sizeof *counts);
        for (int round = 0; round < 300; round++) {
            vlm_threads_run(threads, (size_t)round, count_hit, counts);
            if (round == 150)
                usleep(1000); /* long enough for the workers to sleep */
        }
        for (int i = 0; i < 1000; i++)
            assert_int_equal(atomic_load(&counts->hits[i]), i < 299 ? 299 - i : 0);
        free(counts);
        vlm_threads_free(threads);
    }
}

static void test_random_numbers_are_the_same_everywhere(void **state)
{
    (void)state;
    vlm_random a, b;
    vlm_random_seed(&a, 1);
    assert_true(vlm_random_u64(&a) == 0xb3f2af6d0fc710c5u); /* xoshiro256** seeded by splitmix64(1) */
    vlm_random_seed_stream(&a, 5, 0);
    vlm_random_seed_stream(&b, 5, 1);
    assert_true(vlm_random_u64(&a) != vlm_random_u64(&b));
    double sum = 0, squares = 0;
    for (int i = 0; i < 100000; i++) {
        double x = vlm_random_normal(&a);
        sum += x;
        squares += x * x;
    }
    assert_true(fabs(sum / 100000) < 0.02 && fabs(squares / 100000 - 1) < 0.03); /* six standard errors */
    size_t order[100], seen[100] = {0};
    vlm_random_permutation(&a, order, 100);
    for (size_t i = 0; i < 100; i++)
        seen[order[i]]++;
    for (size_t i = 0; i < 100; i++)
        assert_int_equal(seen[i], 1);
}

static void test_broken_utf8_becomes_one_replacement_a_maximal_part(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t parts;
    } cases[] = {{"\xff", 1}, {"\xc0\x80", 2}, {"\xe2\x82", 1}, {"\xf0\x9f\x98", 1}, {"\xed\xa0\x80", 3}, {"\xf4\x90\x80\x80", 4}, {"\xe2\x28\xa1", 3}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t parts = 0, length = strlen(cases[i].bytes);
        for (size_t at = 0; at < length; parts++) {
            unsigned c;
            at += vlm_utf8_decode(&c, cases[i].bytes + at, length - at);
        }
        assert_int_equal(parts, cases[i].parts); /* what Python's errors="replace" makes of them */
        assert_false(vlm_utf8_valid(cases[i].bytes, length));
    }
    assert_true(vlm_utf8_valid("\xef\xbf\xbd", 3));
}

static void test_every_code_point_survives_utf8(void **state)
{
    (void)state;
    for (unsigned c = 0; c < 0x110000; c++) {
        if (c >= 0xd800 && c < 0xe000)
            continue;
        vlm_text text = {0};
        unsigned back;
        vlm_text_put_utf8(&text, c);
        assert_int_equal(vlm_utf8_decode(&back, text.data, text.length), text.length);
        assert_int_equal(back, c);
        vlm_text_free(&text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_message_is_one_printable_line),
        cmocka_unit_test(test_a_long_message_is_cut_at_a_whole_character),
        cmocka_unit_test(test_an_overflowing_size_is_no_allocation),
        cmocka_unit_test(test_an_arena_gives_back_what_came_after_a_mark),
        cmocka_unit_test(test_an_arena_settles_on_one_chunk),
        cmocka_unit_test(test_every_half_survives_the_way_through_float),
        cmocka_unit_test(test_halves_round_to_the_nearest_even),
        cmocka_unit_test(test_a_file_appears_whole_or_not_at_all),
        cmocka_unit_test(test_a_device_is_written_to_and_not_replaced),
        cmocka_unit_test(test_mapping_refuses_what_is_no_file),
        cmocka_unit_test(test_every_task_runs_once_on_any_number_of_threads),
        cmocka_unit_test(test_random_numbers_are_the_same_everywhere),
        cmocka_unit_test(test_broken_utf8_becomes_one_replacement_a_maximal_part),
        cmocka_unit_test(test_every_code_point_survives_utf8),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
