/* Training data: every source, what is wrong is refused by name, and a sample depends on its number alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "train_data.h"

#include "train/augment.h"
#include "train/batch.h"
#include "train/data_files.h"

static const uint8_t red[3] = {220, 20, 30}, blue[3] = {20, 40, 230};

static vlm_status open_data(vlm_dataset **dataset, const char *path, const char *settings, const char *augmentation, bool labels, vlm_error *error)
{
    json_t *parsed = settings ? json_loads(settings, JSON_DECODE_ANY, NULL) : NULL, *changes = augmentation ? json_loads(augmentation, JSON_DECODE_ANY, NULL) : NULL;
    vlm_data_options options = {.path = path, .settings = parsed, .augmentation = changes, .where = "config", .image_height = 12, .image_width = 16, .labels = labels};
    vlm_status status = vlm_dataset_open(dataset, &options, error);
    json_decref(parsed);
    json_decref(changes);
    return status;
}

static void expect_refused(const char *path, const char *settings, const char *augmentation, bool labels, const char *words)
{
    vlm_dataset *dataset;
    vlm_error error = {0};
    vlm_status status = open_data(&dataset, path, settings, augmentation, labels, &error);
    if (status == VLM_OK || !strstr(error.message, words))
        fail_msg("%s: status %d, \"%s\"; an error with \"%s\" is wanted", path, status, error.message, words);
    assert_null(dataset);
}

static vlm_dataset *open_well(const char *path, const char *settings, const char *augmentation, bool labels)
{
    vlm_dataset *dataset;
    vlm_error error = {0};
    if (open_data(&dataset, path, settings, augmentation, labels, &error) != VLM_OK)
        fail_msg("%s", error.message);
    return dataset;
}

/* Caption of sample `index`, which is item `item`; no picture is read. */
static void expect_caption(const vlm_dataset *dataset, size_t item, uint64_t index, const char *wanted)
{
    vlm_sample sample = {0};
    vlm_sample_key key = {.seed = 1, .index = index, .item = item};
    assert_int_equal(dataset->sample(dataset, &key, &sample, NULL), VLM_OK);
    assert_string_equal(sample.caption.data, wanted);
    vlm_text_free(&sample.caption);
}

static void test_a_folder_with_captions_beside(void **state)
{
    (void)state;
    mkdir(path_of("cap"), 0777);
    mkdir(path_of("cap/b"), 0777);
    write_picture(path_of("cap/a.png"), red, 1);
    write_text(path_of("cap/a.txt"), "  a red square \r\n\n");
    write_picture(path_of("cap/b/x.PNG"), blue, 2);
    write_text(path_of("cap/b/x.txt"), "one\ntwo\nthree");
    write_text(path_of("cap/notes.md"), "not a picture");
    vlm_dataset *dataset = open_well(path_of("cap"), NULL, NULL, false);
    assert_int_equal(dataset->n_items, 2);
    expect_caption(dataset, 0, 0, "a red square");
    size_t counts[3] = {0};
    for (uint64_t i = 0; i < 60; i++) {
        vlm_sample sample = {0};
        vlm_sample_key key = {.seed = 9, .index = i, .item = 1};
        assert_int_equal(dataset->sample(dataset, &key, &sample, NULL), VLM_OK);
        counts[sample.caption.data[0] == 'o' ? 0 : sample.caption.data[1] == 'w' ? 1 : 2]++;
        vlm_text_free(&sample.caption);
    }
    assert_true(counts[0] > 5 && counts[1] > 5 && counts[2] > 5);
    vlm_dataset_close(dataset);
    write_picture(path_of("cap/c.png"), red, 1);
    expect_refused(path_of("cap"), NULL, NULL, false, "cap/c.png has no captions beside it");
    write_text(path_of("cap/c.txt"), "\n \n");
    expect_refused(path_of("cap"), NULL, NULL, false, "c.txt: no caption in it");
    expect_refused(path_of("cap"), "{\"kinds\": \"folder\"}", NULL, false, "\"kinds\" is no key of \"data\"");
    expect_refused(path_of("cap"), "{\"kind\": \"tar\"}", NULL, false, "data.kind \"tar\" is not known");
    expect_refused(path_of("missing"), NULL, NULL, false, "no such file or folder");
    mkdir(path_of("empty"), 0777);
    expect_refused(path_of("empty"), NULL, NULL, false, "there are no pictures");
}

static void test_tables_as_rfc_4180_writes_them(void **state)
{
    (void)state;
    write_text(path_of("t.csv"), "\xef\xbb\xbfid,title,filepath\r\n1,\"a \"\"big\"\", red\nsquare\",a.png\r\n\r\n2,plain,/abs/b.png\n3,last,c.png");
    vlm_dataset *dataset = open_well(path_of("t.csv"), NULL, NULL, false);
    const vlm_file_dataset *files = (const vlm_file_dataset *)dataset;
    assert_int_equal(dataset->n_items, 3);
    expect_caption(dataset, 0, 0, "a \"big\", red\nsquare");
    expect_caption(dataset, 2, 0, "last");
    assert_string_equal(files->items[0].path, path_of("a.png"));
    assert_string_equal(files->items[1].path, "/abs/b.png");
    vlm_dataset_close(dataset);
    write_text(path_of("t.tsv"), "image\ttext\nx.png\ta, b\n");
    dataset = open_well(path_of("t.tsv"), "{\"image_column\": \"image\", \"caption_column\": \"text\", \"root\": \"/pictures\"}", NULL, false);
    expect_caption(dataset, 0, 0, "a, b");
    assert_string_equal(((const vlm_file_dataset *)dataset)->items[0].path, "/pictures/x.png");
    vlm_dataset_close(dataset);
    write_text(path_of("l.csv"), "filepath;label\na.png;zebra\nb.png;ant\nc.png;zebra\n");
    dataset = open_well(path_of("l.csv"), "{\"separator\": \";\"}", NULL, true);
    assert_int_equal(dataset->n_labels, 2);
    assert_string_equal(dataset->labels[0], "ant");
    assert_int_equal(((const vlm_file_dataset *)dataset)->items[0].label, 1);
    assert_int_equal(((const vlm_file_dataset *)dataset)->items[1].label, 0);
    vlm_dataset_close(dataset);
}

static void test_broken_tables_are_refused_by_line(void **state)
{
    (void)state;
    static const struct {
        const char *text, *words;
    } bad[] = {
        {"", "the table is empty"},
        {"filepath,title\n", "there are no pictures"},
        {"file,title\na.png,b\n", "no column \"filepath\""},
        {"filepath,caption\na.png,b\n", "no column \"title\""},
        {"filepath,title\na.png,b\nc.png\n", "line 3 has 1 fields, 2 are wanted"},
        {"filepath,title\na.png,\"b\nc.png,d\n", "line 2: a quote is opened and never closed"},
        {"filepath,title\na.png,\n", "line 2: the field \"title\" is empty"},
        {"filepath,title\n,b\n", "line 2: the field \"filepath\" is empty"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        write_text(path_of("bad.csv"), bad[i].text);
        expect_refused(path_of("bad.csv"), NULL, NULL, false, bad[i].words);
    }
    vlm_write_file(path_of("bad.csv"), "filepath,title\na.png,b\0c\n", 25, NULL);
    expect_refused(path_of("bad.csv"), NULL, NULL, false, "holds a NUL byte");
    expect_refused(path_of("bad.csv"), "{\"separator\": \"ab\"}", NULL, false, "is not one character");
}

static void test_a_folder_for_each_class(void **state)
{
    (void)state;
    static const char *const classes[] = {"b", "a", "c"};
    mkdir(path_of("cls"), 0777);
    for (unsigned i = 0; i < 3; i++) {
        mkdir(path_of("cls/%s", classes[i]), 0777);
        for (unsigned j = 0; j <= i; j++)
            write_picture(path_of("cls/%s/%u.png", classes[i], j), red, j);
    }
    write_text(path_of("cls/readme.txt"), "no class");
    vlm_dataset *dataset = open_well(path_of("cls"), NULL, NULL, true);
    assert_int_equal(dataset->n_items, 6);
    assert_int_equal(dataset->n_labels, 3);
    assert_string_equal(dataset->labels[1], "b");
    vlm_sample sample = {0};
    vlm_sample_key key = {.item = 2}; /* a, a, b, c, c, c */
    assert_int_equal(dataset->sample(dataset, &key, &sample, NULL), VLM_OK);
    assert_int_equal(sample.label, 1);
    vlm_text_free(&sample.caption);
    vlm_dataset_close(dataset);
}

static void test_the_shuffle_is_a_permutation_of_any_size(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 2, 3, 4, 5, 17, 64, 1000, 1336};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        size_t n = sizes[s], same = 0;
        char *seen = calloc(n, 1);
        for (size_t i = 0; i < n; i++) {
            size_t at = vlm_shuffle(7, 3, i, n);
            assert_true(at < n && !seen[at]);
            seen[at] = 1;
            same += at == vlm_shuffle(7, 4, i, n);
        }
        if (n >= 1000 && same > n / 50) /* another epoch is another order: about one place in n agrees */
            fail_msg("%zu of %zu places are the same in two epochs", same, n);
        free(seen);
    }
}

/* ---- augmentation ----------------------------------------------------------------------------------------- */

static void augment_to(float *pixels, const char *config, uint64_t seed)
{
    vlm_augmentation augmentation;
    vlm_image *image;
    vlm_random random;
    json_t *parsed = config ? json_loads(config, JSON_DECODE_ANY, NULL) : NULL;
    assert_int_equal(vlm_augmentation_parse(&augmentation, parsed, "config", NULL), VLM_OK);
    json_decref(parsed);
    assert_int_equal(vlm_image_open(&image, path_of("one.png"), NULL, NULL), VLM_OK);
    vlm_random_seed(&random, seed);
    assert_int_equal(vlm_augment(pixels, 12, 16, &augmentation, image, &random, NULL), VLM_OK);
    vlm_image_free(image);
    for (size_t i = 0; i < 3 * 12 * 16; i++)
        assert_true(pixels[i] >= 0 && pixels[i] <= 1);
}

static void test_augmentation_follows_its_seed(void **state)
{
    (void)state;
    enum { N = 3 * 12 * 16 };
    float a[N], b[N], c[N];
    static const char all[] = "{\"scale\": [0.3, 0.9], \"flip\": 0.5, \"color_jitter\": [0.4, 0.4, 0.4, 0.2], \"color_jitter_prob\": 1}";
    write_picture(path_of("one.png"), red, 3);
    augment_to(a, all, 1);
    augment_to(b, all, 1);
    augment_to(c, all, 2);
    assert_memory_equal(a, b, sizeof a);
    assert_memory_not_equal(a, c, sizeof a);
    augment_to(a, "false", 1);
    augment_to(b, "false", 2);
    assert_memory_equal(a, b, sizeof a);
    augment_to(b, "{\"scale\": [1, 1], \"ratio\": [1.3333333, 1.3333334], \"flip\": 1}", 1);
    augment_to(c, "{\"scale\": [1, 1], \"ratio\": [1.3333333, 1.3333334], \"flip\": 0}", 1);
    for (size_t row = 0; row < 3 * 12; row++) /* a flip is the mirror image */
        for (size_t x = 0; x < 16; x++)
            assert_true(b[row * 16 + x] == c[row * 16 + 15 - x]);
    augment_to(a, "{\"gray_scale_prob\": 1}", 5);
    assert_memory_equal(a, a + 192, 192 * sizeof *a);
    assert_memory_equal(a, a + 384, 192 * sizeof *a);
}

static void test_augmentation_that_makes_no_sense_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *config, *words;
    } bad[] = {
        {"{\"crop\": 1}", "\"crop\" is no key"},  {"{\"scale\": [0.9]}", "augmentation.scale"},      {"{\"scale\": [0.9, 0.1]}", "must rise"},
        {"{\"flip\": 2}", "augmentation.flip"},   {"{\"color_jitter\": [1, 1, 1, 0.6]}", "hue"},     {"7", "neither an object nor false"},
        {"{\"ratio\": [0, 1]}", "must rise"},     {"{\"scale\": [0.5, -1]}", "augmentation.scale"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        vlm_augmentation augmentation;
        vlm_error error = {0};
        json_t *parsed = json_loads(bad[i].config, JSON_DECODE_ANY, NULL);
        if (vlm_augmentation_parse(&augmentation, parsed, "config", &error) == VLM_OK || !strstr(error.message, bad[i].words))
            fail_msg("%s: \"%s\"; \"%s\" is wanted", bad[i].config, error.message, bad[i].words);
        json_decref(parsed);
    }
}

/* ---- batches ------------------------------------------------------------------------------------------------ */

static void test_a_batch_is_the_same_on_any_number_of_threads(void **state)
{
    (void)state;
    mkdir(path_of("many"), 0777);
    for (unsigned i = 0; i < 7; i++) {
        mkdir(path_of("many/%u", i % 3), 0777);
        write_picture(path_of("many/%u/%u.png", i % 3, i), i % 2 ? red : blue, i);
    }
    vlm_dataset *dataset = open_well(path_of("many"), NULL, "{\"flip\": 0.5}", true);
    vlm_batch_options options = {.batch = 5, .steps = 4, .seed = 3, .mean = {0.5, 0.5, 0.5}, .std = {0.5, 0.25, 0.5}};
    float first[4][5 * 3 * 12 * 16];
    int32_t labels[4][5];
    for (size_t n_threads = 1; n_threads <= 3; n_threads++) {
        vlm_threads *threads;
        vlm_batch_maker *maker;
        const vlm_batch *batch;
        assert_int_equal(vlm_threads_create(&threads, n_threads, NULL), VLM_OK);
        assert_int_equal(vlm_batch_maker_create(&maker, dataset, NULL, &options, threads, NULL), VLM_OK);
        for (size_t i = 0; i < 4; i++) {
            size_t step = n_threads == 2 ? 3 - i : i; /* in any order of steps too */
            assert_int_equal(vlm_batch_make(maker, step, &batch, NULL), VLM_OK);
            assert_int_equal(batch->n_texts, 0);
            if (n_threads == 1) {
                memcpy(first[step], batch->pixels, sizeof first[0]);
                memcpy(labels[step], batch->labels, sizeof labels[0]);
            }
            assert_memory_equal(first[step], batch->pixels, sizeof first[0]);
            assert_memory_equal(labels[step], batch->labels, sizeof labels[0]);
        }
        vlm_batch_maker_free(maker);
        vlm_threads_free(threads);
    }
    assert_memory_not_equal(first[0], first[1], sizeof first[0]);
    vlm_dataset_close(dataset);
}

static void test_a_broken_picture_is_named(void **state)
{
    (void)state;
    mkdir(path_of("broken"), 0777);
    mkdir(path_of("broken/x"), 0777);
    write_text(path_of("broken/x/bad.png"), "\x89PNG\r\n\x1a\nnothing more");
    vlm_dataset *dataset = open_well(path_of("broken"), NULL, NULL, true);
    vlm_batch_options options = {.batch = 3, .std = {1, 1, 1}};
    vlm_batch_maker *maker;
    const vlm_batch *batch;
    vlm_error error = {0};
    assert_int_equal(vlm_batch_maker_create(&maker, dataset, NULL, &options, NULL, NULL), VLM_OK);
    assert_int_not_equal(vlm_batch_make(maker, 0, &batch, &error), VLM_OK);
    assert_non_null(strstr(error.message, "broken/x/bad.png"));
    vlm_batch_maker_free(maker);
    vlm_dataset_close(dataset);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_folder_with_captions_beside),
        cmocka_unit_test(test_tables_as_rfc_4180_writes_them),
        cmocka_unit_test(test_broken_tables_are_refused_by_line),
        cmocka_unit_test(test_a_folder_for_each_class),
        cmocka_unit_test(test_the_shuffle_is_a_permutation_of_any_size),
        cmocka_unit_test(test_augmentation_follows_its_seed),
        cmocka_unit_test(test_augmentation_that_makes_no_sense_is_refused),
        cmocka_unit_test(test_a_batch_is_the_same_on_any_number_of_threads),
        cmocka_unit_test(test_a_broken_picture_is_named),
    };
    return cmocka_run_group_tests(tests, make_test_folder, remove_test_folder);
}
