/* The resize, byte for byte: tests/golden/pixels/resize.txt holds what Pillow and torchvision make of noise. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <zlib.h>

#include "base/random.h"
#include "base/threads.h"
#include "pipeline/resize.h"

/* The bytes that make_pixels.py makes too. Exactly n of them, so that a sanitizer sees a read behind them. */
static uint8_t *make_noise(uint32_t seed, size_t n)
{
    uint8_t *bytes = malloc(n);
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        bytes[i] = (uint8_t)(seed >> 24);
    }
    return bytes;
}

static vlm_resize_job make_job(const uint8_t *in, size_t w, size_t h, size_t channels, size_t new_w, size_t new_h, vlm_filter filter)
{
    return (vlm_resize_job){.in = in,
                            .in_width = w,
                            .in_height = h,
                            .channels = channels,
                            .width = new_w,
                            .height = new_h,
                            .window_width = new_w,
                            .window_height = new_h,
                            .filter = filter};
}

static void test_every_filter_gives_the_bytes_of_pillow_and_of_torchvision(void **state)
{
    (void)state;
    FILE *file = fopen(VLM_SOURCE_FOLDER "/tests/golden/pixels/resize.txt", "r");
    assert_non_null(file);
    char line[256], library[32];
    unsigned filter, channels, w, h, new_w, new_h, crc, pillow = 0, torchvision = 0, seed = 0;
    int previous_filter = -1;
    while (fgets(line, sizeof line, file)) {
        if (sscanf(line, "%31s %u %u %u %u %u %u %x", library, &filter, &channels, &w, &h, &new_w, &new_h, &crc) != 8)
            continue;
        /* A filter's cases are numbered from 0, and the number is the seed; both libraries share a case. */
        bool is_pillow = strcmp(library, "pillow") == 0;
        if ((int)filter != previous_filter)
            seed = 0;
        else if (is_pillow)
            seed++;
        previous_filter = (int)filter;
        uint8_t *in = make_noise(seed, (size_t)w * h * channels), *out = malloc((size_t)new_w * new_h * channels);
        vlm_resize_job job = make_job(in, w, h, channels, new_w, new_h, (vlm_filter)filter);
        vlm_error error = {0};
        vlm_status status = is_pillow ? vlm_resize_pillow(out, &job, NULL, &error) : vlm_resize_torchvision(out, &job, NULL, &error);
        assert_int_equal(status, VLM_OK);
        if (crc32(0, out, new_w * new_h * channels) != crc)
            fail_msg("differs: %s", line);
        *(is_pillow ? &pillow : &torchvision) += 1;
        free(in);
        free(out);
    }
    fclose(file);
    assert_int_equal(pillow, 6 * 18);
    assert_true(torchvision >= 60);
}

static void test_a_window_is_a_part_of_the_whole(void **state)
{
    (void)state;
    vlm_random random;
    vlm_random_seed(&random, 5);
    for (int i = 0; i < 200; i++) {
        size_t w = 1 + vlm_random_below(&random, 60), h = 1 + vlm_random_below(&random, 60), new_w = 1 + vlm_random_below(&random, 60), new_h = 1 + vlm_random_below(&random, 60);
        size_t channels = 1 + vlm_random_below(&random, 4);
        bool pillow = vlm_random_below(&random, 2);
        vlm_filter filter = (vlm_filter)vlm_random_below(&random, pillow ? 6 : 4);
        uint8_t *in = make_noise((uint32_t)i, w * h * channels), *whole = malloc(new_w * new_h * channels);
        vlm_resize_job job = make_job(in, w, h, channels, new_w, new_h, filter);
        assert_int_equal(pillow ? vlm_resize_pillow(whole, &job, NULL, NULL) : vlm_resize_torchvision(whole, &job, NULL, NULL), VLM_OK);
        job.left = vlm_random_below(&random, new_w);
        job.top = vlm_random_below(&random, new_h);
        job.window_width = 1 + vlm_random_below(&random, new_w - job.left);
        job.window_height = 1 + vlm_random_below(&random, new_h - job.top);
        uint8_t *window = malloc(job.window_width * job.window_height * channels);
        assert_int_equal(pillow ? vlm_resize_pillow(window, &job, NULL, NULL) : vlm_resize_torchvision(window, &job, NULL, NULL), VLM_OK);
        for (size_t y = 0; y < job.window_height; y++)
            assert_memory_equal(window + y * job.window_width * channels, whole + ((job.top + y) * new_w + job.left) * channels, job.window_width * channels);
        free(in);
        free(whole);
        free(window);
    }
}

static void test_threads_do_not_change_a_byte(void **state)
{
    (void)state;
    vlm_threads *threads;
    assert_int_equal(vlm_threads_create(&threads, 3, NULL), VLM_OK);
    uint8_t *in = make_noise(9, 301 * 203 * 3), *one = malloc(97 * 64 * 3), *three = malloc(97 * 64 * 3);
    vlm_resize_job job = make_job(in, 301, 203, 3, 97, 64, VLM_FILTER_BICUBIC);
    assert_int_equal(vlm_resize_pillow(one, &job, NULL, NULL), VLM_OK);
    assert_int_equal(vlm_resize_pillow(three, &job, threads, NULL), VLM_OK);
    assert_memory_equal(one, three, 97 * 64 * 3);
    free(in);
    free(one);
    free(three);
    vlm_threads_free(threads);
}

/* 13.0 goes down first here: 200 - 20 > 0 and 200 - 20 > 2 (30 - 29). Across first differs in some byte. */
static void test_the_passes_go_down_first_where_pillow_13_does(void **state)
{
    (void)state;
    uint8_t *in = make_noise(3, 30 * 200 * 3), down_first[29 * 20 * 3], across_first[29 * 20 * 3];
    vlm_resize_job job = make_job(in, 30, 200, 3, 29, 20, VLM_FILTER_BICUBIC);
    assert_int_equal(vlm_resize_pillow(down_first, &job, NULL, NULL), VLM_OK);
    vlm_resize_job across = make_job(in, 30, 200, 3, 29, 200, VLM_FILTER_BICUBIC);
    uint8_t *between = malloc(29 * 200 * 3);
    assert_int_equal(vlm_resize_pillow(between, &across, NULL, NULL), VLM_OK);
    vlm_resize_job down = make_job(between, 29, 200, 3, 29, 20, VLM_FILTER_BICUBIC);
    assert_int_equal(vlm_resize_pillow(across_first, &down, NULL, NULL), VLM_OK);
    assert_memory_not_equal(down_first, across_first, sizeof down_first);
    free(in);
    free(between);
}

static void test_torchvision_has_no_box(void **state)
{
    (void)state;
    uint8_t in[12] = {0}, out[3];
    vlm_resize_job job = make_job(in, 2, 2, 3, 1, 1, VLM_FILTER_BOX);
    vlm_error error = {0};
    assert_int_equal(vlm_resize_torchvision(out, &job, NULL, &error), VLM_ERR_UNSUPPORTED);
    assert_non_null(strstr(error.message, "box"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_filter_gives_the_bytes_of_pillow_and_of_torchvision),
        cmocka_unit_test(test_a_window_is_a_part_of_the_whole),
        cmocka_unit_test(test_threads_do_not_change_a_byte),
        cmocka_unit_test(test_the_passes_go_down_first_where_pillow_13_does),
        cmocka_unit_test(test_torchvision_has_no_box),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
