/* Pictures: every format and mode gives Pillow's pixels, upright; what is cut, broken or too large is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>
#include <zlib.h>

#include "base/file.h"
#include "formats/npy.h"
#include "formats/png_write.h"
#include "pipeline/image.h"

#define GOLDEN VLM_SOURCE_FOLDER "/tests/golden/pixels/"

static uint32_t crc_of_rgb(const vlm_image *image, vlm_alpha alpha)
{
    uint8_t *rgb;
    assert_int_equal(vlm_image_to_rgb(&rgb, image, alpha, NULL), VLM_OK);
    uint32_t crc = (uint32_t)crc32(0, rgb, (unsigned)(image->width * image->height * 3));
    free(rgb);
    return crc;
}

/* Calls visit for each picture of the golden list. */
static void for_each_picture(void (*visit)(const char *path, const char *mode, unsigned width, unsigned height, uint32_t white, uint32_t dropped))
{
    FILE *file = fopen(GOLDEN "pictures.txt", "r");
    assert_non_null(file);
    char line[256], name[64], mode[16], path[512];
    unsigned width, height, white, dropped, n = 0;
    while (fgets(line, sizeof line, file))
        if (line[0] != '#' && sscanf(line, "%63s %15s %u %u %x %x", name, mode, &width, &height, &white, &dropped) == 6) {
            snprintf(path, sizeof path, "%s%s", GOLDEN, name);
            visit(path, mode, width, height, white, dropped);
            n++;
        }
    fclose(file);
    assert_true(n > 40);
}

static void check_pixels(const char *path, const char *mode, unsigned width, unsigned height, uint32_t white, uint32_t dropped)
{
    vlm_image *image;
    vlm_error error = {0};
    if (vlm_image_open(&image, path, NULL, &error) != VLM_OK)
        fail_msg("%s", error.message);
    if (image->width != width || image->height != height)
        fail_msg("%s: %zu x %zu, wanted %u x %u", path, image->width, image->height, width, height);
    if (strncmp(mode, "I;16", 4) != 0 && strcmp(vlm_image_mode_name(image->mode), mode) != 0)
        fail_msg("%s: mode %s, wanted %s", path, vlm_image_mode_name(image->mode), mode);
    if (crc_of_rgb(image, VLM_ALPHA_WHITE) != white)
        fail_msg("%s differs on white", path);
    if (crc_of_rgb(image, VLM_ALPHA_DROP) != dropped)
        fail_msg("%s differs without its alpha", path);
    vlm_image_free(image);
}

static void test_every_format_and_mode_gives_the_pixels_of_pillow(void **state)
{
    (void)state;
    for_each_picture(check_pixels);
}

static void test_eight_orientations_are_one_upright_picture(void **state)
{
    (void)state;
    uint32_t first = 0;
    for (int orientation = 1; orientation <= 8; orientation++) {
        char path[512];
        snprintf(path, sizeof path, GOLDEN "upright_%d.png", orientation);
        vlm_image *image;
        assert_int_equal(vlm_image_open(&image, path, NULL, NULL), VLM_OK);
        assert_int_equal(image->orientation, orientation);
        assert_int_equal(vlm_image_width(image), 11);
        assert_int_equal(vlm_image_height(image), 7);
        uint32_t crc = crc_of_rgb(image, VLM_ALPHA_DROP);
        if (orientation == 1)
            first = crc;
        assert_int_equal(crc, first);
        vlm_image_free(image);
    }
}

/* Cut anywhere, a picture is refused with its name, or (behind its last pixel) it is whole. */
static void check_cuts(const char *path, const char *mode, unsigned width, unsigned height, uint32_t white, uint32_t dropped)
{
    (void)mode, (void)width, (void)height, (void)dropped;
    vlm_mapping file;
    assert_int_equal(vlm_map_file(&file, path, NULL), VLM_OK);
    vlm_image *whole;
    assert_int_equal(vlm_image_open(&whole, path, NULL, NULL), VLM_OK);
    size_t refused = 0;
    for (size_t size = 0; size < file.size; size++) {
        uint8_t *bytes = malloc(size ? size : 1); /* its own block, so that a sanitizer sees a read behind it */
        memcpy(bytes, file.data, size);
        vlm_image *image;
        vlm_error error = {0};
        if (vlm_image_decode(&image, bytes, size, "cut", NULL, &error) != VLM_OK) {
            assert_null(image);
            assert_non_null(strstr(error.message, "cut"));
            refused++;
        } else {
            bool lost_exif = image->orientation != whole->orientation; /* it stood behind the pixels */
            if (!lost_exif && crc_of_rgb(image, VLM_ALPHA_WHITE) != white)
                fail_msg("%s cut to %zu of %zu bytes gives another picture", path, size, file.size);
            vlm_image_free(image);
        }
        free(bytes);
    }
    if (refused < file.size / 2) /* an animation's other frame may be missing */
        fail_msg("%s: only %zu of %zu cuts are refused", path, refused, file.size);
    vlm_image_free(whole);
    vlm_unmap(&file);
}

static void test_a_cut_picture_is_refused_or_whole(void **state)
{
    (void)state;
    for_each_picture(check_cuts);
}

/* A PNG's head that claims a size, and nothing behind it. */
static size_t make_png_head(uint8_t out[33], uint32_t width, uint32_t height)
{
    static const uint8_t start[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n', 0, 0, 0, 13, 'I', 'H', 'D', 'R'};
    memcpy(out, start, 16);
    for (int i = 0; i < 4; i++) {
        out[16 + i] = (uint8_t)(width >> (24 - 8 * i));
        out[20 + i] = (uint8_t)(height >> (24 - 8 * i));
    }
    memcpy(out + 24, "\x08\x06\0\0\0", 5);
    uint32_t crc = (uint32_t)crc32(0, out + 12, 17);
    for (int i = 0; i < 4; i++)
        out[29 + i] = (uint8_t)(crc >> (24 - 8 * i));
    return 33;
}

static void test_a_picture_of_60000_by_60000_is_refused_before_it_is_allocated(void **state)
{
    (void)state;
    uint8_t bytes[64];
    size_t size = make_png_head(bytes, 60000, 60000);
    memcpy(bytes + size, "\0\0\0\0IDAT\x35\xaf\x06\x1e", 12); /* libpng wants to see pixels coming */
    vlm_image *image;
    vlm_error error = {0};
    struct rusage before, after;
    getrusage(RUSAGE_SELF, &before);
    assert_int_equal(vlm_image_decode(&image, bytes, size + 12, "huge.png", NULL, &error), VLM_ERR_LIMIT);
    getrusage(RUSAGE_SELF, &after);
    assert_true(after.ru_maxrss - before.ru_maxrss < 64 * 1024);
    assert_non_null(strstr(error.message, "60000 x 60000"));
    assert_non_null(strstr(error.message, "268435456"));
}

static void test_the_limit_is_the_callers(void **state)
{
    (void)state;
    vlm_image *image;
    vlm_error error = {0};
    vlm_image_limits limits = {.max_pixels = 76};
    assert_int_equal(vlm_image_open(&image, GOLDEN "upright_1.png", &limits, &error), VLM_ERR_LIMIT);
    limits.max_pixels = 77;
    assert_int_equal(vlm_image_open(&image, GOLDEN "upright_1.png", &limits, &error), VLM_OK);
    vlm_image_free(image);
}

static void test_what_is_no_picture_is_named(void **state)
{
    (void)state;
    vlm_image *image;
    vlm_error error = {0};
    assert_int_equal(vlm_image_decode(&image, "hello", 5, "letter.txt", NULL, &error), VLM_ERR_UNSUPPORTED);
    assert_non_null(strstr(error.message, "letter.txt"));
    assert_int_equal(vlm_image_decode(&image, "", 0, "empty", NULL, &error), VLM_ERR_FORMAT);
    assert_int_equal(vlm_image_open(&image, "/nowhere/at/all.png", NULL, &error), VLM_ERR_IO);
    assert_int_equal(vlm_image_open(&image, "/", NULL, &error), VLM_ERR_IO);
}

/* A progressive JPEG whose last scan is there ten thousand times: a small file, hours of work. */
static void test_a_jpeg_of_endless_scans_is_refused(void **state)
{
    (void)state;
    vlm_mapping file;
    assert_int_equal(vlm_map_file(&file, GOLDEN "jpeg_1.jpg", NULL), VLM_OK);
    size_t scan = 0;
    for (size_t i = 0; i + 1 < file.size; i++)
        if (file.data[i] == 0xff && file.data[i + 1] == 0xda)
            scan = i;
    assert_true(scan > 0);
    size_t length = file.size - 2 - scan, times = 10000;
    uint8_t *bytes = malloc(scan + length * times + 2);
    memcpy(bytes, file.data, scan);
    for (size_t i = 0; i < times; i++)
        memcpy(bytes + scan + i * length, file.data + scan, length);
    memcpy(bytes + scan + times * length, "\xff\xd9", 2);
    vlm_image *image;
    vlm_error error = {0};
    assert_int_equal(vlm_image_decode(&image, bytes, scan + length * times + 2, "scans.jpg", NULL, &error), VLM_ERR_LIMIT);
    assert_non_null(strstr(error.message, "scans"));
    free(bytes);
    vlm_unmap(&file);
}

static void test_a_thumbnail_keeps_the_proportions(void **state)
{
    (void)state;
    vlm_image *image;
    assert_int_equal(vlm_image_open(&image, GOLDEN "upright_6.png", NULL, NULL), VLM_OK);
    uint8_t *rgb;
    size_t width, height;
    assert_int_equal(vlm_image_thumbnail(image, 22, 40, &rgb, &width, &height, NULL), VLM_OK);
    assert_int_equal(width, 22);
    assert_int_equal(height, 14);
    free(rgb);
    assert_int_equal(vlm_image_thumbnail(image, 40, 1, &rgb, &width, &height, NULL), VLM_OK);
    assert_int_equal(width, 2);
    assert_int_equal(height, 1);
    free(rgb);
    assert_int_equal(vlm_image_thumbnail(image, 0, 1, &rgb, &width, &height, NULL), VLM_ERR_ARGUMENT);
    vlm_image_free(image);
}

/* ---- Files that we write ------------------------------------------------------------------------------- */

static char folder[] = "/tmp/vlm-test-image-XXXXXX";

static const char *in_folder(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void test_a_written_png_reads_back(void **state)
{
    (void)state;
    uint8_t data[5 * 16], kinds[] = {1, 3, 4};
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 37);
    for (int k = 0; k < 3; k++) {
        size_t channels = kinds[k], stride = 16; /* wider than three pixels need */
        assert_int_equal(vlm_write_png(in_folder("a.png"), data, 3, 5, stride, channels, NULL), VLM_OK);
        vlm_image *image;
        assert_int_equal(vlm_image_open(&image, in_folder("a.png"), NULL, NULL), VLM_OK);
        assert_int_equal(vlm_image_mode_bytes(image->mode), channels);
        for (size_t y = 0; y < 5; y++)
            assert_memory_equal(image->data + y * 3 * channels, data + y * stride, 3 * channels);
        vlm_image_free(image);
    }
    assert_int_equal(vlm_write_png(in_folder("b.png"), data, 3, 5, 16, 2, NULL), VLM_ERR_ARGUMENT);
    assert_int_equal(vlm_write_png("/nowhere/b.png", data, 3, 5, 16, 3, NULL), VLM_ERR_IO);
    assert_false(vlm_file_exists(in_folder("b.png")));
    unlink(in_folder("a.png"));
}

static void test_a_written_npy_reads_back_and_has_numpys_bytes(void **state)
{
    (void)state;
    float values[6] = {0, 1, -2.5f, 3e38f, 1e-40f, 7}, *back;
    size_t shape[2] = {2, 3}, got[VLM_NPY_DIMS], n_dims;
    assert_int_equal(vlm_npy_save(in_folder("a.npy"), values, shape, 2, NULL), VLM_OK);
    vlm_mapping file;
    assert_int_equal(vlm_map_file(&file, in_folder("a.npy"), NULL), VLM_OK);
    assert_int_equal(file.size, 128 + 24); /* as numpy.save pads it */
    assert_memory_equal(file.data, "\x93NUMPY\x01\0v\0{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), } ", 70);
    assert_int_equal(file.data[127], '\n');
    vlm_unmap(&file);
    assert_int_equal(vlm_npy_load(&back, got, &n_dims, in_folder("a.npy"), NULL), VLM_OK);
    assert_int_equal(n_dims, 2);
    assert_memory_equal(got, shape, sizeof shape);
    assert_memory_equal(back, values, sizeof values);
    free(back);
    unlink(in_folder("a.npy"));
}

static void test_a_growing_npy_counts_its_rows(void **state)
{
    (void)state;
    vlm_npy_writer npy;
    size_t shape[2] = {0, 3}, got[VLM_NPY_DIMS], n_dims;
    float row[3] = {1, 2, 3}, *back;
    assert_int_equal(vlm_npy_open(&npy, in_folder("g.npy"), shape, 2, 1, NULL), VLM_OK);
    for (int i = 0; i < 1234; i++)
        assert_int_equal(vlm_npy_write(&npy, row, 3, NULL), VLM_OK);
    assert_false(vlm_file_exists(in_folder("g.npy")));
    assert_int_equal(vlm_npy_close(&npy, NULL), VLM_OK);
    assert_int_equal(vlm_npy_load(&back, got, &n_dims, in_folder("g.npy"), NULL), VLM_OK);
    assert_int_equal(got[0], 1234);
    assert_int_equal(got[1], 3);
    assert_memory_equal(back + 1233 * 3, row, sizeof row);
    free(back);
    unlink(in_folder("g.npy"));
    vlm_error error = {0};
    assert_int_equal(vlm_npy_open(&npy, in_folder("g.npy"), shape, 2, 1, NULL), VLM_OK);
    assert_int_equal(vlm_npy_write(&npy, row, 2, NULL), VLM_OK);
    assert_int_equal(vlm_npy_close(&npy, &error), VLM_ERR_MISMATCH);
    assert_false(vlm_file_exists(in_folder("g.npy")));
}

static void write_npy(const char *header, const void *values, size_t size)
{
    char bytes[512] = "\x93NUMPY\x01";
    size_t length = strlen(header);
    bytes[8] = (char)length;
    memcpy(bytes + 10, header, length);
    memcpy(bytes + 10 + length, values, size);
    assert_int_equal(vlm_write_file(in_folder("h.npy"), bytes, 10 + length + size, NULL), VLM_OK);
}

static void test_npy_of_other_types_and_orders_is_read(void **state)
{
    (void)state;
    float *back;
    size_t shape[VLM_NPY_DIMS], n_dims;
    write_npy("{'descr': '>i2', 'fortran_order': True, 'shape': (2, 3), }\n", "\0\1\0\2\0\3\0\4\0\5\xff\xfe", 12);
    assert_int_equal(vlm_npy_load(&back, shape, &n_dims, in_folder("h.npy"), NULL), VLM_OK);
    float wanted[6] = {1, 3, 5, 2, 4, -2};
    assert_memory_equal(back, wanted, sizeof wanted);
    free(back);
    static const char *const broken[] = {
        "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999, 2), }\n",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296), }\n",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (4,), }\n",
        "{'descr': '<c8', 'fortran_order': False, 'shape': (1,), }\n",
        "{'descr': '<f4', 'fortran_order': False, 'shape': 3",
        "",
    };
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        vlm_error error = {0};
        write_npy(broken[i], "\0\0\0\0\0\0\0\0", 8);
        assert_int_not_equal(vlm_npy_load(&back, shape, &n_dims, in_folder("h.npy"), &error), VLM_OK);
        assert_null(back);
        assert_non_null(strstr(error.message, "h.npy"));
    }
    unlink(in_folder("h.npy"));
}

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : 1;
}

static int remove_folder(void **state)
{
    (void)state;
    return rmdir(folder); /* fails when a temporary file was left */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_format_and_mode_gives_the_pixels_of_pillow),
        cmocka_unit_test(test_eight_orientations_are_one_upright_picture),
        cmocka_unit_test(test_a_cut_picture_is_refused_or_whole),
        cmocka_unit_test(test_a_picture_of_60000_by_60000_is_refused_before_it_is_allocated),
        cmocka_unit_test(test_the_limit_is_the_callers),
        cmocka_unit_test(test_what_is_no_picture_is_named),
        cmocka_unit_test(test_a_jpeg_of_endless_scans_is_refused),
        cmocka_unit_test(test_a_thumbnail_keeps_the_proportions),
        cmocka_unit_test(test_a_written_png_reads_back),
        cmocka_unit_test(test_a_written_npy_reads_back_and_has_numpys_bytes),
        cmocka_unit_test(test_a_growing_npy_counts_its_rows),
        cmocka_unit_test(test_npy_of_other_types_and_orders_is_read),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
