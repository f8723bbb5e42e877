/* Whole runs on pictures made here: learning, resuming bit for bit, stopping, and configs that are wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "train_data.h"

#include "formats/checkpoint.h"
#include "formats/json.h"
#include "train/config.h"
#include "vlm/train.h"
#include "vlm/vlm.h"

static const char *const names[] = {"red", "green", "blue", "white"};
static const uint8_t colors[][3] = {{230, 20, 20}, {20, 220, 30}, {30, 30, 235}, {250, 250, 250}};

static const char clip_model[] = "{\"projection_dim\": 32, \"vision_config\": {\"image_size\": 24, \"patch_size\": 8, \"hidden_size\": 32, \"num_hidden_layers\": 2, "
                                 "\"num_attention_heads\": 2, \"intermediate_size\": 64}, \"text_config\": {\"max_position_embeddings\": 10, \"hidden_size\": 32, "
                                 "\"num_hidden_layers\": 1, \"num_attention_heads\": 2, \"intermediate_size\": 64}}";
static const char vit_model[] = "{\"image_size\": 24, \"patch_size\": 8, \"hidden_size\": 32, \"num_hidden_layers\": 2, \"num_attention_heads\": 2, \"intermediate_size\": 64}";

static int make_data(void **state)
{
    if (make_test_folder(state) != 0)
        return -1;
    mkdir(path_of("cap"), 0777);
    mkdir(path_of("cls"), 0777);
    for (unsigned i = 0; i < 16; i++) {
        char caption[64];
        const char *name = names[i % 4];
        snprintf(caption, sizeof caption, "a %s square\nsomething %s\n", name, name);
        write_picture(path_of("cap/%02u.png", i), colors[i % 4], i);
        write_text(path_of("cap/%02u.txt", i), caption);
        mkdir(path_of("cls/%s", name), 0777);
        write_picture(path_of("cls/%s/%u.png", name, i), colors[i % 4], i);
    }
    return 0;
}

static const char *write_config(const char *model, const char *rest, const char *train)
{
    static char text[4096], path[256];
    snprintf(text, sizeof text, "{%s%s%s \"train\": {%s}}", model ? "\"model\": " : "", model ? model : "", model ? "," : "", train);
    if (rest)
        snprintf(text, sizeof text, "{\"model\": %s, %s, \"train\": {%s}}", model, rest, train);
    snprintf(path, sizeof path, "%s", path_of("config.json"));
    write_text(path, text);
    return path;
}

static const char *clip_config(const char *train)
{
    return write_config(clip_model, "\"tokenizer\": {\"bpe\": 540}, \"pixels\": {\"image_mean\": [0.5, 0.5, 0.5], \"image_std\": [0.5, 0.5, 0.5]}", train);
}

typedef struct watcher {
    double first_loss, last_loss;
    size_t calls, saves, last_step, stop_at;
} watcher;

static bool watch(void *user, const vlm_train_progress *progress)
{
    watcher *w = user;
    if (!w->calls++)
        w->first_loss = progress->loss;
    w->last_loss = progress->loss;
    w->last_step = progress->step;
    w->saves += progress->saved;
    return !w->stop_at || progress->step < w->stop_at;
}

static watcher train_well(bool clip, vlm_train_options options, size_t stop_at)
{
    watcher w = {.stop_at = stop_at};
    vlm_error error = {0};
    options.data = options.data ? options.data : path_of(clip ? "cap" : "cls");
    vlm_status status = clip ? vlm_train_clip(&options, watch, &w, &error) : vlm_train_vit(&options, watch, &w, &error);
    if (status != VLM_OK)
        fail_msg("%s", error.message);
    return w;
}

static void expect_same_file(const char *a, const char *b)
{
    vlm_mapping x, y;
    assert_int_equal(vlm_map_file(&x, a, NULL), VLM_OK);
    assert_int_equal(vlm_map_file(&y, b, NULL), VLM_OK);
    assert_int_equal(x.size, y.size);
    assert_memory_equal(x.data, y.data, x.size);
    vlm_unmap(&x);
    vlm_unmap(&y);
}

static void expect_refused(bool clip, vlm_train_options options, vlm_status wanted, const char *words)
{
    vlm_error error = {0};
    options.data = options.data ? options.data : path_of(clip ? "cap" : "cls");
    vlm_status status = clip ? vlm_train_clip(&options, NULL, NULL, &error) : vlm_train_vit(&options, NULL, NULL, &error);
    if (status != wanted || !strstr(error.message, words))
        fail_msg("status %d, \"%s\"; %d with \"%s\" is wanted", status, error.message, wanted, words);
}

/* Muon, several positives, flips and jitter: everything that has a state. */
static const char all_at_once[] = "\"batch\": 6, \"steps\": 20, \"optimizer\": \"muon\", \"rate\": 0.002, \"seed\": 4, \"positives\": \"captions\", \"checkpoint_every\": 7";

static void test_a_resumed_run_equals_an_uninterrupted_one(void **state)
{
    (void)state;
    const char *config = clip_config(all_at_once);
    watcher whole = train_well(true, (vlm_train_options){.config = config, .output = path_of("whole"), .n_threads = 1}, 0);
    assert_int_equal(whole.saves, 3);
    train_well(true, (vlm_train_options){.config = config, .output = path_of("parts"), .n_threads = 2}, 10);
    write_text(path_of("parts/optimizer-00000099.safetensors"), "left by a run that was killed while writing");
    FILE *log = fopen(path_of("parts/log.jsonl"), "a"); /* lines after the checkpoint, the last one cut short */
    fputs("{\"step\": 11, \"loss\": 1}\n{\"step\": 12, \"lo", log);
    fclose(log);
    watcher rest = train_well(true, (vlm_train_options){.config = config, .output = path_of("parts"), .resume = true, .n_threads = 3}, 0);
    assert_int_equal(rest.last_step, 20);
    expect_same_file(path_of("whole/model.safetensors"), path_of("parts/model.safetensors"));
    expect_same_file(path_of("whole/optimizer-00000020.safetensors"), path_of("parts/optimizer-00000020.safetensors"));
    expect_same_file(path_of("whole/state.json"), path_of("parts/state.json"));
    assert_false(vlm_file_exists(path_of("parts/optimizer-00000099.safetensors")));
    assert_false(vlm_file_exists(path_of("parts/optimizer-00000010.safetensors")));
    vlm_mapping lines;
    size_t n = 0;
    assert_int_equal(vlm_map_file(&lines, path_of("parts/log.jsonl"), NULL), VLM_OK);
    for (size_t i = 0; i < lines.size; i++)
        n += lines.data[i] == '\n';
    vlm_unmap(&lines);
    assert_int_equal(n, 20);
}

static void test_a_run_that_is_done_stays_as_it_is(void **state)
{
    (void)state;
    const char *config = clip_config(all_at_once);
    vlm_train_options options = {.config = config, .output = path_of("whole"), .resume = true};
    watcher again = train_well(true, options, 0);
    assert_int_equal(again.calls, 0);
    options.resume = false;
    expect_refused(true, options, VLM_ERR_ARGUMENT, "holds a run at step 20");
    options.resume = true;
    options.batch = 5;
    expect_refused(true, options, VLM_ERR_MISMATCH, "batch 6 and seed 4");
}

static void test_clip_learns_and_its_folder_is_a_model(void **state)
{
    (void)state;
    const char *config = clip_config("\"batch\": 12, \"steps\": 60, \"optimizer\": \"muon\", \"rate\": 0.003, \"positives\": \"captions\", \"positions\": \"sines\", \"checkpoint_every\": 0");
    watcher w = train_well(true, (vlm_train_options){.config = config, .output = path_of("learned")}, 0);
    assert_int_equal(w.saves, 1);
    vlm_model *model;
    vlm_error error = {0};
    if (vlm_model_open(&model, path_of("learned"), NULL, &error) != VLM_OK)
        fail_msg("%s", error.message);
    assert_int_equal(vlm_model_get_info(model)->embedding_size, 32);
    float pictures[4 * 32], texts[4 * 32];
    static const char *const captions[] = {"a red square", "a green square", "a blue square", "a white square"};
    vlm_image *images[4];
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(vlm_image_open(&images[i], path_of("cap/%02u.png", i), NULL, NULL), VLM_OK);
    assert_int_equal(vlm_embed_images(model, (const vlm_image *const *)images, 4, 0, pictures, &error), VLM_OK);
    assert_int_equal(vlm_embed_texts(model, captions, NULL, 4, 0, texts, NULL, &error), VLM_OK);
    for (size_t i = 0; i < 4; i++) {
        size_t best = 0;
        float most = -2;
        for (size_t j = 0; j < 4; j++) {
            float cosine = 0;
            for (size_t d = 0; d < 32; d++)
                cosine += pictures[i * 32 + d] * texts[j * 32 + d];
            if (cosine > most) {
                most = cosine;
                best = j;
            }
        }
        assert_int_equal(best, i);
        vlm_image_free(images[i]);
    }
    vlm_model_close(model);
}

static void test_vit_learns_labels(void **state)
{
    (void)state;
    const char *config = write_config(vit_model, NULL, "\"batch\": 8, \"steps\": 40, \"rate\": 0.003, \"decay\": 0.01, \"label_smoothing\": 0.05, \"checkpoint_every\": 0");
    watcher w = train_well(false, (vlm_train_options){.config = config, .output = path_of("vit")}, 0);
    assert_true(w.last_loss < 0.5 * w.first_loss);
    vlm_model *model;
    vlm_error error = {0};
    if (vlm_model_open(&model, path_of("vit"), NULL, &error) != VLM_OK)
        fail_msg("%s", error.message);
    assert_int_equal(vlm_model_get_info(model)->n_labels, 4);
    assert_string_equal(vlm_model_label(model, 0), "blue");
    vlm_image *image;
    float logits[4];
    assert_int_equal(vlm_image_open(&image, path_of("cls/green/1.png"), NULL, NULL), VLM_OK);
    assert_int_equal(vlm_classify_images(model, (const vlm_image *const *)&image, 1, logits, &error), VLM_OK);
    assert_true(logits[1] > logits[0] && logits[1] > logits[2] && logits[1] > logits[3]);
    vlm_image_free(image);
    vlm_model_close(model);
}

static void test_a_run_begins_from_a_model(void **state)
{
    (void)state;
    const char *config = write_config(NULL, NULL, "\"batch\": 6, \"steps\": 2, \"rate\": 0, \"checkpoint_every\": 0");
    train_well(true, (vlm_train_options){.config = config, .output = path_of("from"), .init = path_of("learned")}, 0);
    vlm_checkpoint *a, *b; /* a rate of zero leaves every weight where it was, decay included */
    assert_int_equal(vlm_checkpoint_open(&a, path_of("learned"), NULL), VLM_OK);
    assert_int_equal(vlm_checkpoint_open(&b, path_of("from"), NULL), VLM_OK);
    assert_int_equal(vlm_checkpoint_count(a), vlm_checkpoint_count(b));
    for (size_t i = 0; i < vlm_checkpoint_count(a); i++) {
        const vlm_entry *x = vlm_checkpoint_at(a, i), *y = vlm_checkpoint_at(b, i);
        assert_string_equal(x->name, y->name);
        assert_memory_equal(x->data, y->data, x->bytes);
    }
    vlm_checkpoint_close(a);
    vlm_checkpoint_close(b);
    expect_same_file(path_of("learned/tokenizer.json"), path_of("from/tokenizer.json"));
    mkdir(path_of("other"), 0777); /* a ViT for other classes: its head begins anew */
    mkdir(path_of("other/x"), 0777);
    mkdir(path_of("other/y"), 0777);
    write_picture(path_of("other/x/1.png"), colors[0], 1);
    write_picture(path_of("other/y/1.png"), colors[1], 2);
    train_well(false, (vlm_train_options){.data = path_of("other"), .config = config, .output = path_of("vit2"), .init = path_of("vit")}, 0);
}

static void test_bf16_products_learn_too(void **state)
{
    (void)state;
    const char *config = clip_config("\"batch\": 12, \"steps\": 30, \"optimizer\": \"muon\", \"rate\": 0.003, \"precision\": \"bf16\", \"muon_precision\": \"bf16\", \"checkpoint_every\": 0");
    watcher w = train_well(true, (vlm_train_options){.config = config, .output = path_of("bf16"), .n_threads = 1}, 0);
    assert_true(w.last_loss < w.first_loss);
    train_well(true, (vlm_train_options){.config = config, .output = path_of("bf16-3"), .n_threads = 3}, 0);
    expect_same_file(path_of("bf16/model.safetensors"), path_of("bf16-3/model.safetensors"));
}

static void test_dumps_hold_batches_and_gradients(void **state)
{
    (void)state;
    vlm_checkpoint *dump;
    const char *config = clip_config("\"batch\": 5, \"steps\": 3, \"checkpoint_every\": 0");
    train_well(true, (vlm_train_options){.config = config, .output = path_of("dumped"), .dump = path_of("dump.safetensors"), .dump_steps = 2}, 0);
    assert_int_equal(vlm_checkpoint_open(&dump, path_of("dump.safetensors"), NULL), VLM_OK);
    assert_int_equal(vlm_checkpoint_find(dump, "step.1.pixels")->n, 5 * 3 * 24 * 24);
    assert_int_equal(vlm_checkpoint_find(dump, "step.0.ids")->shape[0], 5);
    assert_non_null(vlm_checkpoint_find(dump, "step.1.gradient.vision_model.encoder.layers.1.self_attn.v_proj.weight"));
    assert_null(vlm_checkpoint_find(dump, "step.2.loss"));
    vlm_checkpoint_close(dump);
}

static void test_configs_that_are_wrong_are_refused_by_key(void **state)
{
    (void)state;
    static const struct {
        const char *train, *words;
    } bad[] = {
        {"\"batchs\": 3", "\"batchs\" is no key of \"train\""},
        {"\"batch\": 0", "train.batch is 0"},
        {"\"batch\": \"many\"", "\"batch\" is a string"},
        {"\"batch\": 4", "neither train.steps nor train.epochs"},
        {"\"steps\": 4, \"epochs\": 2", "both steps and epochs"},
        {"\"steps\": 4, \"optimizer\": \"sgd\"", "train.optimizer is \"sgd\"; adamw or muon is wanted"},
        {"\"steps\": 4, \"schedule\": \"step\"", "train.schedule is \"step\"; cosine, linear or constant is wanted"},
        {"\"steps\": 4, \"betas\": [0.9]", "train.betas"},
        {"\"steps\": 4, \"betas\": [0.9, 1]", "train.betas"},
        {"\"steps\": 4, \"rate\": -1", "train.rate is -1"},
        {"\"steps\": 4, \"precision\": \"f8\"", "train.precision"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const char *config = clip_config(bad[i].train);
        vlm_error error = {0};
        vlm_train_options options = {.data = path_of("cap"), .config = config, .output = path_of("never")};
        vlm_status status = vlm_train_clip(&options, NULL, NULL, &error);
        if (status == VLM_OK || !strstr(error.message, bad[i].words))
            fail_msg("%s: \"%s\"; \"%s\" is wanted", bad[i].train, error.message, bad[i].words);
    }
    vlm_train_options options = {.config = write_config(NULL, NULL, "\"steps\": 2"), .output = path_of("never")};
    expect_refused(true, options, VLM_ERR_ARGUMENT, "\"model\" is missing");
    options.config = write_config(clip_model, NULL, "\"steps\": 2");
    expect_refused(true, options, VLM_ERR_ARGUMENT, "\"tokenizer\" is missing");
    options.config = write_config(clip_model, "\"tokenizer\": {\"bpe\": 100}", "\"steps\": 2");
    expect_refused(true, options, VLM_ERR_ARGUMENT, "tokenizer.bpe is 100");
    options.config = write_config(clip_model, "\"pixels\": {\"image_std\": [1, 0, 1]}", "\"steps\": 2");
    expect_refused(true, options, VLM_ERR_ARGUMENT, "pixels.image_std");
    options.config = write_config(clip_model, "\"extra\": {}", "\"steps\": 2");
    expect_refused(true, options, VLM_ERR_ARGUMENT, "\"extra\" is no key of \"config\"");
    options.config = write_config(clip_model, NULL, "\"steps\": 2");
    expect_refused(false, options, VLM_ERR_UNSUPPORTED, "model_type");
    write_text(path_of("a-file"), "x");
    options.output = path_of("a-file");
    expect_refused(true, options, VLM_ERR_IO, "is no folder");
    assert_false(vlm_file_exists(path_of("never/model.safetensors")));
}

static void test_a_loss_that_is_no_number_ends_the_run(void **state)
{
    (void)state;
    const char *config = clip_config("\"batch\": 6, \"steps\": 30, \"rate\": 900, \"decay\": 900, \"gradient_clip\": 0, \"warm_up\": 0, \"checkpoint_every\": 0");
    expect_refused(true, (vlm_train_options){.config = config, .output = path_of("diverged")}, VLM_ERR_LIMIT, "Is the rate too high?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_resumed_run_equals_an_uninterrupted_one),
        cmocka_unit_test(test_a_run_that_is_done_stays_as_it_is),
        cmocka_unit_test(test_clip_learns_and_its_folder_is_a_model),
        cmocka_unit_test(test_vit_learns_labels),
        cmocka_unit_test(test_a_run_begins_from_a_model),
        cmocka_unit_test(test_bf16_products_learn_too),
        cmocka_unit_test(test_dumps_hold_batches_and_gradients),
        cmocka_unit_test(test_configs_that_are_wrong_are_refused_by_key),
        cmocka_unit_test(test_a_loss_that_is_no_number_ends_the_run),
    };
    return cmocka_run_group_tests(tests, make_data, remove_test_folder);
}
