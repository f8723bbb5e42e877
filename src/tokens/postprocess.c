/* Post-processors: the special tokens around a text, as one template of ids with a place for the text.
 * Matches tokenizers 0.23 (processors/) for one sequence; pairs are not the product's. */
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/memory.h"
#include "tokens/engine.h"

bool vlm_template_push(vlm_template *out, bool is_text, uint32_t id)
{
    if (!vlm_grow(&out->items, &out->capacity, out->count + 1, sizeof *out->items))
        return false;
    out->items[out->count++] = (vlm_template_piece){is_text, !is_text, id};
    return true;
}

void vlm_template_free(vlm_template *out)
{
    free(out->items);
    *out = (vlm_template){0};
}

static vlm_status push(vlm_template *out, bool is_text, const json_t *id, const char *where, vlm_error *error)
{
    json_int_t value = is_text ? 0 : json_integer_value(id);
    if (!is_text && (!json_is_integer(id) || value < 0 || value >= VLM_VOCABULARY_LIMIT))
        return vlm_fail(error, VLM_ERR_FORMAT, "%s: post_processor: a special token without a valid id", where);
    return vlm_template_push(out, is_text, (uint32_t)value) ? VLM_OK : vlm_fail_memory(error, 16, where);
}

/* {"cls": ["[CLS]", 101], "sep": ["[SEP]", 102]} */
static vlm_status load_around(vlm_template *out, const json_t *json, const char *where, vlm_error *error)
{
    vlm_status status = push(out, false, json_array_get(json_object_get(json, "cls"), 1), where, error);
    if (status == VLM_OK)
        status = push(out, true, NULL, where, error);
    if (status == VLM_OK)
        status = push(out, false, json_array_get(json_object_get(json, "sep"), 1), where, error);
    return status;
}

/* One piece of "single": {"SpecialToken": {"id": ...}} or {"Sequence": {"id": "A"}}. */
static vlm_status load_piece(vlm_template *out, const json_t *piece, const json_t *tokens, const char *where, vlm_error *error)
{
    const json_t *special = json_object_get(piece, "SpecialToken"), *sequence = json_object_get(piece, "Sequence");
    if (sequence) {
        const char *id = json_string_value(json_object_get(sequence, "id"));
        if (!id || strcmp(id, "A") != 0)
            return vlm_fail(error, VLM_ERR_FORMAT, "%s: post_processor: the template for one text names another than A", where);
        return push(out, true, NULL, where, error);
    }
    const char *name = json_string_value(json_object_get(special, "id"));
    const json_t *ids = name ? json_object_get(json_object_get(tokens, name), "ids") : NULL;
    if (!json_is_array(ids))
        return vlm_fail(error, VLM_ERR_FORMAT, "%s: post_processor: a special token that special_tokens does not explain", where);
    vlm_status status = VLM_OK;
    for (size_t i = 0; i < json_array_size(ids) && status == VLM_OK; i++)
        status = push(out, false, json_array_get(ids, i), where, error);
    return status;
}

static vlm_status load(vlm_template *out, const json_t *json, const char *where, vlm_error *error, int depth)
{
    if (!json || json_is_null(json))
        return VLM_OK;
    const char *type = json_string_value(json_object_get(json, "type"));
    if (!type)
        return vlm_fail(error, VLM_ERR_FORMAT, "%s: a post-processor without a type", where);
    if (strcmp(type, "ByteLevel") == 0) /* offsets only */
        return VLM_OK;
    vlm_status status = VLM_OK;
    if (strcmp(type, "Sequence") == 0) {
        const json_t *items = json_object_get(json, "processors");
        if (!json_is_array(items) || depth > 16)
            return vlm_fail(error, VLM_ERR_FORMAT, "%s: a post-processor sequence without its list, or nested too deep", where);
        for (size_t i = 0; i < json_array_size(items) && status == VLM_OK; i++)
            status = load(out, json_array_get(items, i), where, error, depth + 1);
        return status;
    }
    if (out->present)
        return vlm_fail(error, VLM_ERR_UNSUPPORTED, "%s: two post-processors that add tokens, one behind the other", where);
    out->present = true;
    if (strcmp(type, "RobertaProcessing") == 0 || strcmp(type, "BertProcessing") == 0)
        return load_around(out, json, where, error);
    if (strcmp(type, "TemplateProcessing") != 0)
        return vlm_fail(error, VLM_ERR_UNSUPPORTED, "%s: unknown post-processor \"%.60s\"", where, type);
    const json_t *single = json_object_get(json, "single"), *tokens = json_object_get(json, "special_tokens");
    if (!json_is_array(single))
        return vlm_fail(error, VLM_ERR_FORMAT, "%s: post_processor: no template for one text", where);
    for (size_t i = 0; i < json_array_size(single) && status == VLM_OK; i++)
        status = load_piece(out, json_array_get(single, i), tokens, where, error);
    return status;
}

vlm_status vlm_template_load(vlm_template *out, const json_t *json, const char *where, vlm_error *error)
{
    return load(out, json, where, error, 0);
}
