/* From the "model" of a config to a network that can be trained and a config.json that transformers reads. */
#include "train/model_config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/file.h"
#include "formats/json.h"
#include "models/init.h"
#include "vlm/vlm.h"

static bool set_default(json_t *object, const char *key, json_t *value)
{
    if (json_object_get(object, key)) {
        json_decref(value);
        return true;
    }
    return json_object_set_new(object, key, value) == 0;
}

/* The text tower's sizes and special tokens from the tokenizer, where the config leaves them out. */
static vlm_status complete_text(json_t *model, const char *where, const vlm_tokenizer *tokenizer, vlm_error *error)
{
    static const struct {
        const char *key;
        vlm_special token;
    } specials[] = {{"bos_token_id", VLM_TOKEN_BOS}, {"eos_token_id", VLM_TOKEN_EOS}, {"pad_token_id", VLM_TOKEN_PAD}};
    json_t *text = json_object_get(model, "text_config");
    bool fine = text || json_object_set_new(model, "text_config", text = json_object()) == 0;
    fine = fine && set_default(text, "vocab_size", json_integer((json_int_t)vlm_tokenizer_size(tokenizer)));
    for (size_t i = 0; i < sizeof specials / sizeof *specials && fine; i++) {
        int64_t id = vlm_tokenizer_special(tokenizer, specials[i].token);
        if (id < 0 && specials[i].token == VLM_TOKEN_BOS)
            id = vlm_tokenizer_id(tokenizer, "<|startoftext|>", 15);
        else if (id < 0)
            id = vlm_tokenizer_id(tokenizer, "<|endoftext|>", 13);
        if (id >= 0)
            fine = set_default(text, specials[i].key, json_integer(id));
    }
    size_t vocabulary;
    if (!fine)
        return vlm_fail_memory(error, 1024, "config.json");
    vlm_status status = vlm_json_get_size(&vocabulary, text, "vocab_size", 0, where, error);
    if (status == VLM_OK && vocabulary < vlm_tokenizer_size(tokenizer))
        status = vlm_fail(error, VLM_ERR_MISMATCH, "%s: model.text_config.vocab_size is %zu, the tokenizer has %zu tokens; leave it out to take the tokenizer's", where,
                          vocabulary, vlm_tokenizer_size(tokenizer));
    return status;
}

static vlm_status complete_labels(json_t *model, const char *const *labels, size_t n, vlm_error *error)
{
    json_t *names = json_object(), *numbers = json_object();
    bool fine = names && numbers;
    for (size_t i = 0; i < n && fine; i++) {
        char key[24];
        snprintf(key, sizeof key, "%zu", i);
        json_t *label = json_string(labels[i]);
        if (!label) {
            vlm_fail(error, VLM_ERR_FORMAT, "the class \"%s\" is not named in UTF-8", labels[i]);
            json_decref(names);
            json_decref(numbers);
            return VLM_ERR_FORMAT;
        }
        fine = json_object_set_new(names, key, label) == 0 && json_object_set_new(numbers, labels[i], json_integer((json_int_t)i)) == 0;
    }
    json_object_del(model, "num_labels"); /* id2label says it */
    fine = json_object_set_new(model, "id2label", names) == 0 && fine;
    fine = json_object_set_new(model, "label2id", numbers) == 0 && fine;
    return fine ? VLM_OK : vlm_fail_memory(error, n * 64, "config.json");
}

vlm_status vlm_complete_model(json_t **out, const json_t *base, const char *where, const vlm_tokenizer *tokenizer, const char *const *labels, size_t n_labels, vlm_error *error)
{
    json_t *model = *out = json_deep_copy(base);
    bool clip = tokenizer != NULL;
    if (!model)
        return vlm_fail_memory(error, 4096, "config.json");
    bool two_towers = json_object_get(model, "vision_config") || json_object_get(model, "text_config") || clip;
    bool fine = set_default(model, "model_type", json_string(two_towers ? "clip" : "vit"));
    fine = fine && json_object_set_new(model, "architectures", json_pack("[s]", clip ? "CLIPModel" : "ViTForImageClassification")) == 0;
    json_object_del(model, "torch_dtype");
    fine = fine && json_object_set_new(model, "dtype", json_string("float32")) == 0;
    const char *type = json_string_value(json_object_get(model, "model_type"));
    vlm_status status = fine ? VLM_OK : vlm_fail_memory(error, 4096, "config.json");
    if (status == VLM_OK && (!type || strcmp(type, clip ? "clip" : "vit") != 0))
        status = vlm_fail(error, VLM_ERR_UNSUPPORTED, "%s: model_type \"%s\"; \"%s\" is what is trained here", where, type ? type : "", clip ? "clip" : "vit");
    if (status == VLM_OK && clip)
        status = complete_text(model, where, tokenizer, error);
    if (status == VLM_OK && n_labels)
        status = complete_labels(model, labels, n_labels, error);
    if (status != VLM_OK) {
        json_decref(model);
        *out = NULL;
    }
    return status;
}

vlm_status vlm_model_image_size(size_t *height, size_t *width, const json_t *model, const char *where, vlm_error *error)
{
    const json_t *vision = json_object_get(model, "vision_config"), *owner = json_is_object(vision) ? vision : model;
    const json_t *size = json_object_get(owner, "image_size");
    if (json_is_array(size) && json_array_size(size) == 2) {
        *height = (size_t)json_integer_value(json_array_get(size, 0));
        *width = (size_t)json_integer_value(json_array_get(size, 1));
    } else {
        vlm_status status = vlm_json_get_size(height, owner, "image_size", 224, where, error);
        if (status != VLM_OK)
            return status;
        *width = *height;
    }
    if (*height < 1 || *width < 1 || *height > 1 << 14 || *width > 1 << 14)
        return vlm_fail(error, VLM_ERR_ARGUMENT, "%s: image_size is %zu x %zu; 1 to 16384 is wanted", where, *height, *width);
    return VLM_OK;
}

/* ---- the network ------------------------------------------------------------------------------------------ */

/* Copy what both have, in the order in which a family binds it. */
static vlm_status copy_values(vlm_network *to, const vlm_network *from, const char *where, vlm_error *error)
{
    for (size_t i = 0; i < to->n_parameters_listed; i++) {
        vlm_tensor *target = to->parameters[i].tensor;
        if (to->vision && (target == to->vision->classifier.weight || target == to->vision->classifier.bias))
            continue;
        const vlm_tensor *source = i < from->n_parameters_listed ? from->parameters[i].tensor : NULL;
        if (!source || vlm_tensor_count(source) != vlm_tensor_count(target))
            return vlm_fail(error, VLM_ERR_MISMATCH, "%s: %s is of another size than this run's; leave \"model\" out of the config to take the checkpoint's", where, target->name);
        memcpy(target->data, source->data, vlm_tensor_count(target) * sizeof(float));
    }
    return VLM_OK;
}

static bool same_labels(const vlm_network *a, const vlm_network *b)
{
    bool same = a->n_labels == b->n_labels;
    for (size_t i = 0; i < a->n_labels && same; i++)
        same = strcmp(a->labels[i], b->labels[i]) == 0;
    return same;
}

/* The values of a folder's checkpoint, read by its own config. */
static vlm_status take_values(vlm_network *network, const char *folder, const vlm_network_options *options, vlm_error *error)
{
    vlm_checkpoint *checkpoint = NULL;
    vlm_network *from = NULL;
    json_t *config = NULL;
    char *path = vlm_join_path(folder, "config.json");
    vlm_status status = path ? vlm_json_read(&config, path, error) : vlm_fail_memory(error, strlen(folder), "a path");
    if (status == VLM_OK)
        status = vlm_checkpoint_open(&checkpoint, folder, error);
    if (status == VLM_OK)
        status = vlm_network_create(&from, config, checkpoint, options, path, error);
    if (status == VLM_OK)
        status = copy_values(network, from, path, error);
    if (status == VLM_OK && network->vision && network->vision->classifier.weight && from->vision->classifier.weight && same_labels(network, from)) {
        const vlm_linear *source = &from->vision->classifier, *target = &network->vision->classifier;
        memcpy(target->weight->data, source->weight->data, vlm_tensor_count(target->weight) * sizeof(float));
        memcpy(target->bias->data, source->bias->data, vlm_tensor_count(target->bias) * sizeof(float));
    }
    vlm_network_free(from);
    vlm_checkpoint_close(checkpoint);
    json_decref(config);
    free(path);
    return status;
}

vlm_status vlm_make_network(vlm_network **network, const json_t *model, const char *from, const vlm_train_config *config, vlm_threads *threads, vlm_error *error)
{
    vlm_network_options options = {.dtype = VLM_F32, .train = true, .threads = threads};
    vlm_status status = vlm_network_create(network, model, NULL, &options, config->where, error);
    if (status != VLM_OK)
        return status;
    vlm_network_initialise(*network, &(vlm_initialisation){config->seed, config->logit_scale, config->sine_positions});
    if (from)
        status = take_values(*network, from, &options, error);
    if (status != VLM_OK) {
        vlm_network_free(*network);
        *network = NULL;
    }
    return status;
}
