/* Scenes composed of drawings: repeatable, honest captions, and tables that are wrong are refused by name.
 * The drawings are made here: squares of one colour, with a transparent rim of another. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "formats/png_write.h"
#include "train/scenes.h"

enum { SIDE = 48, RIM = 4, HEIGHT = 40, WIDTH = 56 };

static char folder[128];

/* [SIDE, SIDE]: a rim that is transparent but magenta underneath, inside it the left half one colour and the
 * right half another. */
static void write_drawing(const char *name, const uint8_t left[3], const uint8_t right[3])
{
    uint8_t pixels[SIDE * SIDE * 4];
    char path[256];
    for (size_t y = 0; y < SIDE; y++)
        for (size_t x = 0; x < SIDE; x++) {
            uint8_t *p = pixels + 4 * (y * SIDE + x);
            const bool inside = x >= RIM && y >= RIM && x < SIDE - RIM && y < SIDE - RIM;
            const uint8_t magenta[3] = {255, 0, 255};
            memcpy(p, !inside ? magenta : x < SIDE / 2 ? left : right, 3);
            p[3] = inside ? 255 : 0;
        }
    snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_int_equal(vlm_write_png(path, pixels, SIDE, SIDE, SIDE * 4, 4, NULL), VLM_OK);
}

static void write_table(const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s/drawings.tsv", folder);
    assert_int_equal(vlm_write_file(path, text, strlen(text), NULL), VLM_OK);
}

static const char TABLE[] = "concept\tname\tcategory\tkeywords\tartist\tset\tsplit\tmirror\tfile\n"
                            "1\tred box\tbox\tcrimson,cube\ta\tone\ttrain\tyes\tred.png\n"
                            "2\tblue box\tbox\tsky\ta\tone\ttrain\tyes\tblue.png\n"
                            "2\tblue box\tbox\tsky\ta\ttwo\ttrain\tyes\tblue.png\n"
                            "3\torange arrow\tsign\t\ta\tone\ttrain\tno\thalves.png\n"
                            "1\tred box\tbox\t\tb\tother\ttest\tyes\tred.png\n";

static int set_up(void **state)
{
    static const uint8_t red[] = {255, 0, 0}, blue[] = {0, 0, 255};
    (void)state;
    snprintf(folder, sizeof folder, "%s/scenes-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    if (!mkdtemp(folder))
        return -1;
    write_drawing("red.png", red, red);
    write_drawing("blue.png", blue, blue);
    write_drawing("halves.png", red, blue);
    write_table(TABLE);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    char **names, path[512];
    size_t n;
    if (vlm_list_folder(&names, &n, folder, NULL) == VLM_OK) {
        for (size_t i = 0; i < n; i++) {
            snprintf(path, sizeof path, "%s/%s", folder, names[i]);
            unlink(path);
            free(names[i]);
        }
        free(names);
    }
    return rmdir(folder);
}

static vlm_status try_open(vlm_dataset **dataset, const char *settings, vlm_error *error)
{
    json_t *json = json_loads(settings, 0, NULL);
    assert_non_null(json);
    vlm_data_options options = {.path = folder, .settings = json, .where = "test", .image_height = HEIGHT, .image_width = WIDTH};
    vlm_status status = vlm_dataset_open_scenes(dataset, &options, error);
    json_decref(json);
    return status;
}

static vlm_dataset *open_scenes(const char *settings)
{
    vlm_dataset *dataset;
    vlm_error error = {0};
    if (try_open(&dataset, settings, &error) != VLM_OK)
        fail_msg("%s", error.message);
    return dataset;
}

typedef struct scene {
    float pixels[3][HEIGHT][WIDTH];
    vlm_text caption;
    int32_t group;
} scene;

static void draw(scene *out, const vlm_dataset *dataset, size_t item, uint64_t index, double progress)
{
    vlm_sample sample = {.pixels = &out->pixels[0][0][0]};
    vlm_sample_key key = {.seed = 7, .index = index, .item = item, .progress = progress};
    vlm_error error = {0};
    if (dataset->sample(dataset, &key, &sample, &error) != VLM_OK)
        fail_msg("%s", error.message);
    out->caption = sample.caption;
    out->group = sample.group;
}

/* The mean column of the pixels that are mostly this channel; -1: none. */
static double mean_column(const scene *s, size_t channel)
{
    double sum = 0, n = 0;
    for (size_t y = 0; y < HEIGHT; y++)
        for (size_t x = 0; x < WIDTH; x++)
            if (s->pixels[channel][y][x] > 0.8 && s->pixels[(channel + 1) % 3][y][x] < 0.2 && s->pixels[(channel + 2) % 3][y][x] < 0.2) {
                sum += (double)x;
                n++;
            }
    return n ? sum / n : -1;
}

static void test_a_sample_follows_from_its_seed_and_index_alone(void **state)
{
    (void)state;
    vlm_dataset *dataset = open_scenes("{}");
    static scene a, b, other;
    for (uint64_t i = 0; i < 50; i++) {
        draw(&a, dataset, i % 3, i, 0.7);
        draw(&other, dataset, i % 3, i + 1000, 0.7);
        draw(&b, dataset, i % 3, i, 0.7);
        assert_memory_equal(a.pixels, b.pixels, sizeof a.pixels);
        assert_string_equal(a.caption.data, b.caption.data);
        assert_memory_not_equal(a.pixels, other.pixels, sizeof a.pixels);
        vlm_text_free(&a.caption);
        vlm_text_free(&b.caption);
        vlm_text_free(&other.caption);
    }
    vlm_dataset_close(dataset);
}

static void test_every_pixel_of_a_scene_is_written_and_within_0_and_1(void **state)
{
    (void)state;
    vlm_dataset *dataset = open_scenes("{\"style\": 1, \"two_objects\": 0.5, \"rotation\": 60, \"shear\": 0.5}");
    static scene s;
    for (uint64_t i = 0; i < 300; i++) {
        for (size_t k = 0; k < 3 * HEIGHT * WIDTH; k++)
            (&s.pixels[0][0][0])[k] = NAN;
        draw(&s, dataset, i % 3, i, (double)i / 300);
        for (size_t k = 0; k < 3 * HEIGHT * WIDTH; k++)
            assert_true((&s.pixels[0][0][0])[k] >= 0 && (&s.pixels[0][0][0])[k] <= 1);
        vlm_text_free(&s.caption);
    }
    vlm_dataset_close(dataset);
}

static void test_a_caption_is_the_same_when_nothing_is_drawn(void **state)
{
    (void)state;
    vlm_dataset *dataset = open_scenes("{}");
    static scene s;
    for (uint64_t i = 0; i < 200; i++) {
        vlm_sample words = {0};
        vlm_sample_key key = {.seed = 7, .index = i, .item = i % 3, .progress = 1};
        draw(&s, dataset, i % 3, i, 1);
        assert_int_equal(dataset->sample(dataset, &key, &words, NULL), VLM_OK);
        assert_string_equal(words.caption.data, s.caption.data);
        vlm_text_free(&words.caption);
        vlm_text_free(&s.caption);
    }
    vlm_dataset_close(dataset);
}

static void test_a_clean_drawing_stands_in_the_middle_of_white_without_a_colored_rim(void **state)
{
    (void)state;
    vlm_dataset *dataset = open_scenes("{\"clean\": true, \"captions\": \"name\"}");
    static scene s;
    draw(&s, dataset, 0, 0, 1);
    assert_string_equal(s.caption.data, "red box");
    assert_true(fabs(mean_column(&s, 0) - (WIDTH - 1) / 2.0) < 0.01);
    for (size_t y = 0; y < HEIGHT; y++)
        for (size_t x = 0; x < WIDTH; x++) { /* between white and red: the magenta under the rim never shows */
            assert_float_equal(s.pixels[0][y][x], 1, 1e-5);
            assert_float_equal(s.pixels[1][y][x], s.pixels[2][y][x], 1e-5);
        }
    assert_float_equal(s.pixels[1][0][0], 1, 1e-5);
    assert_float_equal(s.pixels[1][HEIGHT / 2][WIDTH / 2], 0, 1e-5);
    vlm_text_free(&s.caption);
    vlm_dataset_close(dataset);
}

static void test_a_caption_tells_which_of_two_objects_is_left(void **state)
{
    (void)state;
    vlm_dataset *dataset = open_scenes("{\"two_objects\": 1, \"ramp\": 0, \"sets\": [\"one\"]}");
    static scene s;
    size_t compared = 0;
    for (uint64_t i = 0; i < 400; i++) {
        draw(&s, dataset, i % 2, i, 1);
        assert_int_equal(s.group, -1);
        const char *left = strstr(s.caption.data, " left of "), *right = strstr(s.caption.data, " right of ");
        const char *red = strstr(s.caption.data, "red box"), *blue = strstr(s.caption.data, "blue box");
        double red_at = mean_column(&s, 0), blue_at = mean_column(&s, 2);
        if ((left || right) && red && blue && red_at >= 0 && blue_at >= 0) {
            bool red_first = red < blue;
            /* On coloured backgrounds other pixels may count as red or blue too: only clear cases. */
            if (fabs(red_at - blue_at) > 12) {
                assert_int_equal(left ? red_first : !red_first, red_at < blue_at);
                compared++;
            }
        }
        vlm_text_free(&s.caption);
    }
    assert_true(compared > 20);
    vlm_dataset_close(dataset);
}

static void test_what_may_not_be_mirrored_is_not(void **state)
{
    (void)state;
    static scene s;
    vlm_dataset *dataset = open_scenes("{\"mirror\": 1, \"two_objects\": 0, \"rotation\": 0, \"ramp_from\": 0, \"ramp\": 1, \"captions\": \"name\"}");
    for (uint64_t i = 0; i < 40; i++) {
        draw(&s, dataset, 2, i, 0);
        double red = mean_column(&s, 0), blue = mean_column(&s, 2);
        assert_string_equal(s.caption.data, "orange arrow");
        if (red >= 0 && blue >= 0)
            assert_true(red < blue);
        vlm_text_free(&s.caption);
    }
    vlm_dataset_close(dataset);
    write_table("name\tmirror\tfile\nhalves\tyes\thalves.png\n");
    dataset = open_scenes("{\"mirror\": 1, \"two_objects\": 0, \"rotation\": 0, \"ramp_from\": 0, \"ramp\": 1}");
    write_table(TABLE);
    size_t mirrored = 0;
    for (uint64_t i = 0; i < 40; i++) {
        draw(&s, dataset, 0, i, 0);
        mirrored += mean_column(&s, 0) > mean_column(&s, 2) && mean_column(&s, 2) >= 0;
        vlm_text_free(&s.caption);
    }
    assert_true(mirrored > 30);
    vlm_dataset_close(dataset);
}

static void test_the_beginning_of_a_run_is_plain_and_grows(void **state)
{
    (void)state;
    vlm_dataset *dataset = open_scenes("{\"two_objects\": 1, \"ramp\": 0.5, \"ramp_from\": 0}");
    static scene s;
    size_t early = 0, late = 0;
    for (uint64_t i = 0; i < 200; i++) {
        draw(&s, dataset, i % 3, i, 0);
        early += s.group < 0;
        vlm_text_free(&s.caption);
        draw(&s, dataset, i % 3, i, 0.25);
        late += s.group < 0;
        vlm_text_free(&s.caption);
    }
    assert_int_equal(early, 0);
    assert_in_range(late, 60, 140); /* half of 200, five standard deviations of 7 either way */
    vlm_dataset_close(dataset);
}

static void test_negatives_of_a_batch_are_different_concepts(void **state)
{
    (void)state;
    vlm_dataset *dataset = open_scenes("{}");
    static const char *const names[] = {"red box", "blue box", "orange arrow"};
    for (uint64_t batch = 0; batch < 20; batch++) {
        bool seen[3] = {false};
        for (size_t place = 0; place < 3; place++) {
            vlm_sample sample = {0};
            vlm_sample_key key = {.seed = 7, .index = batch * 16};
            assert_int_equal(dataset->negative(dataset, &key, place, &sample, NULL), VLM_OK);
            assert_in_range(sample.group, 0, 2);
            assert_string_equal(sample.caption.data, names[sample.group]);
            assert_false(seen[sample.group]);
            seen[sample.group] = true;
            vlm_text_free(&sample.caption);
        }
    }
    vlm_dataset_close(dataset);
}

static void test_splits_and_sets_choose_rows(void **state)
{
    (void)state;
    vlm_dataset *dataset = open_scenes("{}");
    assert_int_equal(dataset->n_items, 3);
    assert_int_equal(vlm_scenes_concept(dataset, 1).n_drawings, 2);
    assert_string_equal(vlm_scenes_concept(dataset, 1).name, "blue box");
    vlm_dataset_close(dataset);
    dataset = open_scenes("{\"split\": \"test\"}");
    assert_int_equal(dataset->n_items, 1);
    assert_string_equal(vlm_scenes_concept(dataset, 0).key, "1");
    vlm_dataset_close(dataset);
    dataset = open_scenes("{\"sets\": [\"two\"]}");
    assert_int_equal(dataset->n_items, 1);
    vlm_dataset_close(dataset);
}

static void assert_refused(const char *settings, const char *table, vlm_status wanted, const char *says)
{
    vlm_dataset *dataset;
    vlm_error error = {0};
    write_table(table);
    assert_int_equal(try_open(&dataset, settings, &error), wanted);
    assert_null(dataset);
    if (!strstr(error.message, says))
        fail_msg("\"%s\" does not say \"%s\"", error.message, says);
    write_table(TABLE);
}

static void test_wrong_tables_and_settings_are_refused_by_name(void **state)
{
    (void)state;
    assert_refused("{}", "name\tpicture\nbox\tred.png\n", VLM_ERR_FORMAT, "\"file\"");
    assert_refused("{}", "name\tfile\nbox\n", VLM_ERR_FORMAT, ":2");
    assert_refused("{}", "name\tfile\nbox\tabsent.png\n", VLM_ERR_IO, "absent.png");
    assert_refused("{}", "name\tfile\n", VLM_ERR_ARGUMENT, "no drawing");
    assert_refused("{}", "", VLM_ERR_ARGUMENT, "no drawing");
    assert_refused("{\"split\": \"dev\"}", TABLE, VLM_ERR_ARGUMENT, "dev");
    assert_refused("{\"twins\": 1}", TABLE, VLM_ERR_ARGUMENT, "twins");
    assert_refused("{\"mirror\": 2}", TABLE, VLM_ERR_FORMAT, "mirror");
    assert_refused("{\"scale\": [1, 0.5]}", TABLE, VLM_ERR_FORMAT, "scale");
    assert_refused("{\"scale\": 1}", TABLE, VLM_ERR_FORMAT, "scale");
    assert_refused("{\"captions\": \"long\"}", TABLE, VLM_ERR_FORMAT, "long");
    assert_refused("{\"sets\": \"one\"}", TABLE, VLM_ERR_FORMAT, "sets");
}

static void test_a_folder_with_a_table_of_drawings_is_known(void **state)
{
    (void)state;
    assert_true(vlm_scenes_detect(folder));
    assert_false(vlm_scenes_detect("/"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_sample_follows_from_its_seed_and_index_alone),
        cmocka_unit_test(test_every_pixel_of_a_scene_is_written_and_within_0_and_1),
        cmocka_unit_test(test_a_caption_is_the_same_when_nothing_is_drawn),
        cmocka_unit_test(test_a_clean_drawing_stands_in_the_middle_of_white_without_a_colored_rim),
        cmocka_unit_test(test_a_caption_tells_which_of_two_objects_is_left),
        cmocka_unit_test(test_what_may_not_be_mirrored_is_not),
        cmocka_unit_test(test_the_beginning_of_a_run_is_plain_and_grows),
        cmocka_unit_test(test_negatives_of_a_batch_are_different_concepts),
        cmocka_unit_test(test_splits_and_sets_choose_rows),
        cmocka_unit_test(test_wrong_tables_and_settings_are_refused_by_name),
        cmocka_unit_test(test_a_folder_with_a_table_of_drawings_is_known),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
