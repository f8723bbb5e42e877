/* Pixel contracts: read from configs as the reference reads them, and done to pictures with its numbers. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <zlib.h>

#include "base/file.h"
#include "formats/json.h"
#include "pipeline/pixels.h"

#define GOLDEN VLM_SOURCE_FOLDER "/tests/golden/pixels/"
#define CHAPTER VLM_SOURCE_FOLDER "/../shared/chapter9/" /* beside the repository, or the test is skipped */

static vlm_status parse(vlm_pixel_contract *contract, const char *text, vlm_error *error)
{
    json_t *root = json_loads(text, 0, NULL);
    assert_non_null(root);
    vlm_status status = vlm_pixel_contract_parse(contract, root, "config", error);
    json_decref(root);
    return status;
}

static void parse_openclip(vlm_pixel_contract *contract, const char *text)
{
    json_t *root = json_loads(text, 0, NULL), *size = json_object_get(root, "size");
    assert_non_null(root);
    size_t height = (size_t)json_integer_value(json_is_array(size) ? json_array_get(size, 0) : size);
    size_t width = (size_t)json_integer_value(json_is_array(size) ? json_array_get(size, 1) : size);
    assert_int_equal(vlm_pixel_contract_openclip(contract, root, height, width, "config", NULL), VLM_OK);
    json_decref(root);
}

static void test_configs_give_the_float32_of_the_reference(void **state)
{
    (void)state;
    FILE *file = fopen(GOLDEN "contracts.txt", "r");
    assert_non_null(file);
    char line[1024], library[32], name[64], path[512];
    unsigned height, width, crc, n = 0;
    int config;
    while (fgets(line, sizeof line, file)) {
        if (line[0] == '#' || sscanf(line, "%31s %63s %u %u %x %n", library, name, &height, &width, &crc, &config) != 5)
            continue;
        vlm_pixel_contract contract;
        vlm_error error = {0};
        if (strcmp(library, "openclip") == 0)
            parse_openclip(&contract, line + config);
        else if (parse(&contract, line + config, &error) != VLM_OK)
            fail_msg("%s: %s", error.message, line);
        snprintf(path, sizeof path, "%s%s", GOLDEN, name);
        vlm_image *image;
        assert_int_equal(vlm_image_open(&image, path, NULL, &error), VLM_OK);
        size_t h, w;
        assert_int_equal(vlm_pixels_size(&h, &w, &contract, image, &error), VLM_OK);
        if (h != height || w != width)
            fail_msg("%zu x %zu: %s", h, w, line);
        assert_true(contract.height == 0 || (contract.height == h && contract.width == w));
        float *pixels = malloc(h * w * 3 * sizeof *pixels);
        assert_int_equal(vlm_pixels(pixels, &contract, image, NULL, &error), VLM_OK);
        if (crc32(0, (const unsigned char *)pixels, (unsigned)(h * w * 3 * sizeof *pixels)) != crc)
            fail_msg("differs: %s", line);
        free(pixels);
        vlm_image_free(image);
        n++;
    }
    fclose(file);
    assert_true(n >= 60);
}

static void expect_line(const char *config, const char *wanted)
{
    vlm_pixel_contract contract;
    vlm_error error = {0};
    if (parse(&contract, config, &error) != VLM_OK)
        fail_msg("%s", error.message);
    char line[512];
    vlm_pixel_contract_describe(line, sizeof line, &contract);
    assert_string_equal(line, wanted);
}

#define CLIP_NUMBERS "rescale=1/255 mean=0.48145466,0.4578275,0.40821073 std=0.26862954,0.26130258,0.27577711 exif=applied"
#define HALF_NUMBERS "rescale=1/255 mean=0.5,0.5,0.5 std=0.5,0.5,0.5 exif=applied"

static void test_class_defaults_fill_what_a_config_leaves_out(void **state)
{
    (void)state;
    expect_line("{\"image_processor_type\": \"CLIPImageProcessor\"}", "transformers-5.23 pillow-13.0 bicubic shortest=224 crop=224x224 " CLIP_NUMBERS " alpha=white");
    expect_line("{\"image_processor_type\": \"CLIPImageProcessorFast\"}",
                "transformers-5.23 torchvision-0.29 bicubic shortest=224 crop=224x224 " CLIP_NUMBERS " alpha=white");
    expect_line("{\"feature_extractor_type\": \"ViTFeatureExtractor\", \"size\": 32}",
                "transformers-5.23 pillow-13.0 bilinear size=32x32 " HALF_NUMBERS " alpha=dropped");
    expect_line("{\"processor_class\": \"Blip2Processor\"}", "transformers-5.23 pillow-13.0 bicubic size=384x384 " CLIP_NUMBERS " alpha=white");
    expect_line("{\"image_processor\": {\"image_processor_type\": \"SiglipImageProcessorPil\", \"do_resize\": null}}",
                "transformers-5.23 pillow-13.0 " HALF_NUMBERS " alpha=white");
    expect_line("{\"image_processor_type\": \"LlavaImageProcessor\", \"do_pad\": true, \"do_center_crop\": false}",
                "transformers-5.23 pillow-13.0 square=mean bicubic shortest=224 " CLIP_NUMBERS " alpha=white");
}

static void test_a_line_is_cut_to_its_room(void **state)
{
    (void)state;
    vlm_pixel_contract contract;
    assert_int_equal(parse(&contract, "{\"image_processor_type\": \"CLIPImageProcessor\"}", NULL), VLM_OK);
    char line[12] = "###########";
    vlm_pixel_contract_describe(line, 10, &contract);
    assert_string_equal(line, "transform");
    assert_int_equal(line[10], '#');
}

static void test_a_config_that_makes_no_sense_is_refused_by_key(void **state)
{
    (void)state;
    static const struct {
        const char *config, *words;
        vlm_status status;
    } cases[] = {
        {"{}", "image_processor_type", VLM_ERR_UNSUPPORTED},
        {"{\"image_processor_type\": \"PixtralImageProcessor\"}", "Pixtral", VLM_ERR_UNSUPPORTED},
        {"{\"image_processor_type\": 7}", "image_processor_type", VLM_ERR_FORMAT},
        {"{\"image_processor_type\": \"CLIPImageProcessor\", \"size\": \"big\"}", "size", VLM_ERR_FORMAT},
        {"{\"image_processor_type\": \"CLIPImageProcessor\", \"size\": {\"longest_edge\": 9}}", "shortest_edge", VLM_ERR_UNSUPPORTED},
        {"{\"image_processor_type\": \"CLIPImageProcessor\", \"size\": null}", "size", VLM_ERR_FORMAT},
        {"{\"image_processor_type\": \"CLIPImageProcessor\", \"size\": -3}", "size", VLM_ERR_FORMAT},
        {"{\"image_processor_type\": \"CLIPImageProcessor\", \"size\": 2000000}", "size", VLM_ERR_LIMIT},
        {"{\"image_processor_type\": \"CLIPImageProcessor\", \"crop_size\": null}", "crop_size", VLM_ERR_FORMAT},
        {"{\"image_processor_type\": \"CLIPImageProcessor\", \"crop_size\": {\"height\": 3}}", "crop_size", VLM_ERR_FORMAT},
        {"{\"image_processor_type\": \"CLIPImageProcessor\", \"resample\": 6}", "resample", VLM_ERR_UNSUPPORTED},
        {"{\"image_processor_type\": \"CLIPImageProcessorFast\", \"resample\": 4}", "torchvision", VLM_ERR_UNSUPPORTED},
        {"{\"image_processor_type\": \"CLIPImageProcessor\", \"image_mean\": [1, 2]}", "image_mean", VLM_ERR_FORMAT},
        {"{\"image_processor_type\": \"CLIPImageProcessor\", \"image_std\": [1, 0, 1]}", "image_std", VLM_ERR_FORMAT},
        {"{\"image_processor_type\": \"CLIPImageProcessor\", \"image_mean\": null}", "image_mean", VLM_ERR_FORMAT},
        {"{\"image_processor_type\": \"CLIPImageProcessor\", \"rescale_factor\": null}", "rescale_factor", VLM_ERR_FORMAT},
        {"{\"image_processor_type\": \"CLIPImageProcessor\", \"do_resize\": \"yes\"}", "do_resize", VLM_ERR_FORMAT},
        {"[]", "object", VLM_ERR_FORMAT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        vlm_pixel_contract contract;
        vlm_error error = {0};
        vlm_status status = parse(&contract, cases[i].config, &error);
        if (status != cases[i].status || !strstr(error.message, cases[i].words))
            fail_msg("%s: %s, \"%s\"", cases[i].config, vlm_status_name(status), error.message);
    }
}

/* A picture of one row squashed by its short side would be far longer than anything should be. */
static void test_a_result_beyond_reason_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *config, *words;
    } cases[] = {
        {"{\"image_processor_type\": \"CLIPImageProcessor\", \"do_center_crop\": false}", "2^26"},
        {"{\"image_processor_type\": \"LlavaImageProcessor\", \"do_pad\": true}", "square"},
        {"{\"image_processor_type\": \"CLIPImageProcessor\", \"size\": {\"shortest_edge\": 1000000}}", "2^31"},
        {"{\"image_processor_type\": \"ViTImageProcessor\", \"size\": {\"max_height\": 9, \"max_width\": 9}}", "sides of 1"},
        {"{\"image_processor_type\": \"ViTImageProcessor\", \"do_pad\": true, \"pad_size\": 9}", "pad_size"},
    };
    uint8_t *row = calloc(3, 1 << 20);
    vlm_image wide = {.width = 1 << 20, .height = 1, .mode = VLM_IMAGE_RGB, .data = row};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        vlm_pixel_contract contract;
        vlm_error error = {0};
        size_t height, width;
        assert_int_equal(parse(&contract, cases[i].config, NULL), VLM_OK);
        assert_int_not_equal(vlm_pixels_size(&height, &width, &contract, &wide, &error), VLM_OK);
        if (!strstr(error.message, cases[i].words))
            fail_msg("%s: %s", cases[i].config, error.message);
    }
    /* With its crop the same picture is no trouble: only what the crop keeps is made. */
    vlm_pixel_contract contract;
    assert_int_equal(parse(&contract, "{\"image_processor_type\": \"CLIPImageProcessor\"}", NULL), VLM_OK);
    float *pixels = malloc(3 * 224 * 224 * sizeof *pixels);
    assert_int_equal(vlm_pixels(pixels, &contract, &wide, NULL, NULL), VLM_OK);
    assert_true(fabsf(pixels[0] - (0 - 0.48145466f) / 0.26862954f) < 1e-6f);
    free(pixels);
    free(row);
}

/* The chapter's own picture of what BLIP-2 sees of a car: each channel stretched to 0..255 by its own extremes and
 * cut to bytes. It was made in float16, which moves a value by up to one level. */
static void test_the_chapters_car_looks_as_blip2_saw_it(void **state)
{
    (void)state;
    vlm_image *seen = NULL, *car = NULL;
    if (vlm_image_open(&seen, CHAPTER "car_blip2_preprocessed_minmax.png", NULL, NULL) != VLM_OK || vlm_image_open(&car, CHAPTER "car.png", NULL, NULL) != VLM_OK) {
        vlm_image_free(seen);
        print_message("skipped: the chapter's pictures are not here\n");
        skip();
    }
    vlm_pixel_contract contract;
    assert_int_equal(parse(&contract, "{\"image_processor_type\": \"BlipImageProcessor\", \"size\": {\"height\": 224, \"width\": 224}}", NULL), VLM_OK);
    enum { N = 224 * 224 };
    float *pixels = malloc(3 * N * sizeof *pixels);
    assert_int_equal(vlm_pixels(pixels, &contract, car, NULL, NULL), VLM_OK);
    for (int c = 0; c < 3; c++) {
        float low = pixels[c * N], high = low;
        for (int i = 0; i < N; i++) {
            low = fminf(low, pixels[c * N + i]);
            high = fmaxf(high, pixels[c * N + i]);
        }
        for (int i = 0; i < N; i++)
            assert_in_range((int)((pixels[c * N + i] - low) / (high - low) * 255) - seen->data[3 * i + c] + 1, 0, 2);
    }
    free(pixels);
    vlm_image_free(seen);
    vlm_image_free(car);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_configs_give_the_float32_of_the_reference),
        cmocka_unit_test(test_class_defaults_fill_what_a_config_leaves_out),
        cmocka_unit_test(test_a_line_is_cut_to_its_room),
        cmocka_unit_test(test_a_config_that_makes_no_sense_is_refused_by_key),
        cmocka_unit_test(test_a_result_beyond_reason_is_refused),
        cmocka_unit_test(test_the_chapters_car_looks_as_blip2_saw_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
