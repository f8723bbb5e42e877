/* Encoded pictures and their files: safetensors with a tensor a picture, "picture.0" and so on, the
 * pictures' names in its metadata, and there the fingerprint of the model: FNV-1a (64 bits) over the checkpoint's learned queries and what projects them. That is
 * of the weights as they lie in the file, so that it does not depend on the type they are computed in, and needs
 * nothing of the vision tower. */
#include "pipeline/encoded.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/memory.h"
#include "formats/safetensors.h"
#include "pipeline/model.h"

static const char metadata_key[] = "vlm.model";

static void fingerprint(char out[17], const vlm_model *model)
{
    static const char *const names[] = {"query_tokens", "qformer.layernorm.weight", "qformer.layernorm.bias", "language_projection.weight", "language_projection.bias"};
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t c = 0; c < model->n_checkpoints; c++)
        for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
            const vlm_entry *entry = vlm_checkpoint_find(model->checkpoints[c], names[i]);
            const unsigned char *bytes = entry ? entry->data : NULL;
            for (size_t j = 0; entry && j < entry->bytes; j++)
                hash = (hash ^ bytes[j]) * UINT64_C(0x100000001b3);
        }
    snprintf(out, 17, "%016" PRIx64, hash);
}

vlm_status vlm_encoded_create(vlm_encoded **out, const vlm_model *model, const float *rows, size_t n_rows, size_t width, vlm_error *error)
{
    vlm_encoded *encoded = *out = vlm_alloc_zero(1, sizeof *encoded);
    size_t n = n_rows * width;
    if (encoded)
        encoded->rows = vlm_alloc(n, sizeof *encoded->rows);
    if (!encoded || !encoded->rows) {
        vlm_encoded_free(encoded);
        *out = NULL;
        return vlm_fail_memory(error, n * sizeof *rows, "a picture");
    }
    encoded->n_rows = n_rows;
    encoded->width = width;
    memcpy(encoded->rows, rows, n * sizeof *rows);
    fingerprint(encoded->model, model);
    return VLM_OK;
}

void vlm_encoded_free(vlm_encoded *encoded)
{
    if (!encoded)
        return;
    free(encoded->rows);
    free(encoded->name);
    free(encoded);
}

const char *vlm_encoded_name(const vlm_encoded *encoded)
{
    return encoded->name ? encoded->name : "";
}

vlm_status vlm_encoded_check(const vlm_encoded *encoded, const vlm_model *model, vlm_error *error)
{
    char own[17];
    const vlm_qformer *qformer = model->network->bridge->qformer;
    bool instructed = model->network->bridge->instructed;
    fingerprint(own, model);
    if (strcmp(own, encoded->model) != 0)
        return vlm_fail(error, VLM_ERR_MISMATCH, "the picture was encoded by another model (%s) than %s (%s); encode it again", encoded->model, model->info.name, own);
    if (encoded->width != (instructed ? qformer->image_width : qformer->width) || (!instructed && encoded->n_rows != qformer->n_queries) || !encoded->n_rows)
        return vlm_fail(error, VLM_ERR_MISMATCH, "the picture has %zu rows of %zu numbers; %s does not make such", encoded->n_rows, encoded->width, model->info.name);
    return VLM_OK;
}

vlm_status vlm_encoded_save(const vlm_encoded *const *pictures, const char *const *names, size_t n, const char *path, vlm_error *error)
{
    vlm_entry *entries = vlm_alloc_zero(n, sizeof *entries);
    const char *(*metadata)[2] = vlm_alloc(n + 2, sizeof *metadata);
    char (*keys)[32] = vlm_alloc(n + 1, sizeof *keys);
    vlm_status status = entries && metadata && keys ? VLM_OK : vlm_fail_memory(error, n * sizeof *entries, path);
    for (size_t i = 0; i < n && status == VLM_OK; i++) {
        const vlm_encoded *p = pictures[i];
        snprintf(keys[i], sizeof keys[i], "picture.%zu", i);
        entries[i] = (vlm_entry){.name = keys[i], .type = VLM_F32, .n_dims = 2, .shape = {p->n_rows, p->width}, .n = p->n_rows * p->width, .data = p->rows,
                                 .bytes = p->n_rows * p->width * sizeof(float)};
        metadata[i + 2][0] = keys[i];
        metadata[i + 2][1] = names[i];
        if (strcmp(p->model, pictures[0]->model) != 0)
            status = vlm_fail(error, VLM_ERR_MISMATCH, "%s: the pictures were encoded by different models", path);
    }
    if (status == VLM_OK && !n)
        status = vlm_fail(error, VLM_ERR_ARGUMENT, "%s: no picture to keep", path);
    if (status == VLM_OK) {
        metadata[0][0] = "format";
        metadata[0][1] = "pt";
        metadata[1][0] = metadata_key;
        metadata[1][1] = pictures[0]->model;
        status = vlm_safetensors_write(path, entries, n, (const char *const (*)[2])metadata, n + 2, error);
    }
    free(entries);
    free(metadata);
    free(keys);
    return status;
}

static vlm_status read_picture(vlm_encoded **encoded, const vlm_model *model, const vlm_checkpoint *file, const char *whose, size_t i, vlm_error *error)
{
    char key[32];
    snprintf(key, sizeof key, "picture.%zu", i);
    const vlm_entry *entry = vlm_checkpoint_find(file, key);
    const char *name = vlm_checkpoint_metadata(file, key);
    if (!entry || entry->type != VLM_F32 || entry->n_dims != 2)
        return vlm_fail(error, VLM_ERR_FORMAT, "%s: not encoded pictures; `vlm encode` makes such a file", vlm_checkpoint_path(file));
    vlm_status status = vlm_encoded_create(encoded, model, entry->data, entry->shape[0], entry->shape[1], error);
    if (status != VLM_OK)
        return status;
    memcpy((*encoded)->model, whose, sizeof (*encoded)->model - 1);
    (*encoded)->name = vlm_copy_text(name ? name : "", name ? strlen(name) : 0);
    if (!(*encoded)->name)
        return vlm_fail_memory(error, 1, "a picture");
    if (vlm_encoded_check(*encoded, model, error) != VLM_OK)
        return vlm_fail_prefix(error, "%s", vlm_checkpoint_path(file));
    return VLM_OK;
}

vlm_status vlm_encoded_open(vlm_encoded ***pictures, size_t *n, const vlm_model *model, const char *path, vlm_error *error)
{
    vlm_checkpoint *file = NULL;
    vlm_error local;
    error = error ? error : &local;
    *pictures = NULL;
    *n = 0;
    if (!model->network || !model->network->bridge)
        return vlm_fail(error, VLM_ERR_UNSUPPORTED, "%s: not a model that encodes pictures", model->info.name);
    vlm_status status = vlm_checkpoint_open(&file, path, error);
    if (status != VLM_OK)
        return status;
    const char *whose = vlm_checkpoint_metadata(file, metadata_key);
    size_t count = vlm_checkpoint_count(file);
    if (!count || !whose || strlen(whose) != 16)
        status = vlm_fail(error, VLM_ERR_FORMAT, "%s: not encoded pictures; `vlm encode` makes such a file", path);
    vlm_encoded **list = status == VLM_OK ? vlm_alloc_zero(count, sizeof *list) : NULL;
    if (status == VLM_OK && !list)
        status = vlm_fail_memory(error, count * sizeof *list, path);
    for (size_t i = 0; i < count && status == VLM_OK; i++)
        status = read_picture(&list[i], model, file, whose, i, error);
    for (size_t i = 0; list && i < count && status != VLM_OK; i++)
        vlm_encoded_free(list[i]);
    if (status != VLM_OK)
        free(list);
    *pictures = status == VLM_OK ? list : NULL;
    *n = status == VLM_OK ? count : 0;
    vlm_checkpoint_close(file);
    return status;
}
