/* Out of memory while a picture is read, made into pixels, or written: see oom.h.
 * libtiff 4.5 and libwebp 1.2 themselves fall over a NULL here and there; for their formats only our own
 * allocations fail, which the sanitizers' build does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "oom.h"

#include "base/file.h"
#include "formats/npy.h"
#include "formats/png_write.h"
#include "pipeline/pixels.h"

#define GOLDEN VLM_SOURCE_FOLDER "/tests/golden/pixels/"
enum { MOST = 400 };

static vlm_status make_pixels(void *argument, vlm_error *error)
{
    static float pixels[3 * 16 * 16];
    vlm_pixel_contract contract = {.filter = VLM_FILTER_BICUBIC,
                                   .resize = VLM_RESIZE_SHORTEST,
                                   .shortest = 16,
                                   .crop = true,
                                   .crop_height = 16,
                                   .crop_width = 16,
                                   .normalize = true,
                                   .std = {1, 1, 1},
                                   .pad_square = true,
                                   .alpha = VLM_ALPHA_WHITE};
    vlm_image *image = NULL;
    vlm_status status = vlm_image_open(&image, argument, NULL, error);
    for (int reference = 0; reference < 3 && status == VLM_OK; reference++) {
        contract.reference = (vlm_pixel_reference)reference;
        contract.pad_square = reference != VLM_PIXELS_OPENCLIP;
        status = vlm_pixels(pixels, &contract, image, NULL, error);
    }
    vlm_image_free(image);
    return status;
}

static void test_pictures_to_pixels(void **state)
{
    (void)state;
    static const char *const names[] = {"jpeg_0.jpg", "jpeg_1.jpg", "jpeg_3.jpg", "png_0_16.png", "png_3_8.png", "png_6_8.png", "upright_6.png", "gif_0.gif", "gif_2.gif"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[512];
        snprintf(path, sizeof path, "%s%s", GOLDEN, names[i]);
        oom_run(names[i], make_pixels, path, MOST);
    }
}

static void test_pictures_of_libraries_that_fall_over(void **state)
{
    (void)state;
    static const char *const names[] = {"webp_1.webp", "tiff_RGBA.tiff", "tiff_P.tiff", "tiff_jpeg.tiff"};
    if (OOM_SEES_ALL) {
        print_message("skipped: needs a build with -DVLM_SANITIZE=address, where the libraries' own allocations succeed\n");
        skip();
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[512];
        snprintf(path, sizeof path, "%s%s", GOLDEN, names[i]);
        oom_run(names[i], make_pixels, path, MOST);
    }
}

static vlm_status write_files(void *argument, vlm_error *error)
{
    static const uint8_t rgb[12];
    static const float values[4];
    size_t shape[2] = {2, 2}, got[VLM_NPY_DIMS], n_dims;
    float *back = NULL;
    (void)argument;
    vlm_status status = vlm_write_png(VLM_BUILD_FOLDER "/test_oom.png", rgb, 2, 2, 6, 3, error);
    if (status == VLM_OK)
        status = vlm_npy_save(VLM_BUILD_FOLDER "/test_oom.npy", values, shape, 2, error);
    if (status == VLM_OK)
        status = vlm_npy_load(&back, got, &n_dims, VLM_BUILD_FOLDER "/test_oom.npy", error);
    free(back);
    return status;
}

static void test_writing_pictures_and_arrays(void **state)
{
    (void)state;
    oom_run("writing", write_files, NULL, MOST);
    unlink(VLM_BUILD_FOLDER "/test_oom.png");
    unlink(VLM_BUILD_FOLDER "/test_oom.npy");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pictures_to_pixels),
        cmocka_unit_test(test_pictures_of_libraries_that_fall_over),
        cmocka_unit_test(test_writing_pictures_and_arrays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
