/* What a model is made of: its info, and its parameters as a tree of the names that its checkpoint gave them. */
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "pipeline/model.h"

/* ---- info --------------------------------------------------------------------------------------------- */

/* Position ids are buffers, not weights; the reference does not count them. */
static bool is_weight(const vlm_entry *entry)
{
    size_t length = strlen(entry->name);
    return !(length >= 12 && strcmp(entry->name + length - 12, "position_ids") == 0);
}

static uint64_t count_weights(const vlm_model *model)
{
    uint64_t n = 0;
    for (size_t c = 0; c < model->n_checkpoints; c++)
        for (size_t i = 0; i < vlm_checkpoint_count(model->checkpoints[c]); i++) {
            const vlm_entry *entry = vlm_checkpoint_at(model->checkpoints[c], i);
            n += is_weight(entry) ? entry->n : 0;
        }
    return n;
}

static uint64_t tensor_bytes(const vlm_tensor *tensor)
{
    if (tensor->packed)
        return vlm_packed_bytes(vlm_kernels_get(), tensor->type, tensor->shape[0], tensor->shape[1]);
    return (uint64_t)vlm_tensor_count(tensor) * vlm_dtype_size(tensor->type);
}

static float scalar(const vlm_tensor *tensor, float fallback)
{
    return tensor && tensor->data ? vlm_tensor_floats(tensor)[0] : fallback;
}

static size_t context_length(const vlm_model *model)
{
    size_t tower = model->network && model->network->text ? model->network->text->context_length : 0;
    if (model->max_tokens && (!tower || model->max_tokens < tower))
        return model->max_tokens;
    const vlm_language *language = model->network ? model->network->language : NULL;
    if (language && !tower)
        return language->context_length == SIZE_MAX ? 0 : language->context_length;
    return tower ? tower : model->tokenizer ? vlm_tokenizer_max_length(model->tokenizer) : 0;
}

void vlm_model_describe(vlm_model *model, vlm_dtype dtype)
{
    const vlm_network *network = model->network;
    const vlm_vision_tower *vision = network ? network->vision : NULL;
    const vlm_text_tower *text = network ? network->text : NULL;
    model->info = (vlm_model_info){
        .name = model->path ? model->path : "embedded",
        .family = network ? network->family : "",
        .layout = model->layout,
        .dtype = vlm_dtype_name(dtype),
        .parts = (vision ? VLM_PART_VISION : 0u) | (text ? VLM_PART_TEXT : 0u) | (model->tokenizer ? VLM_PART_TOKENIZER : 0u) |
                 (network && network->language ? VLM_PART_LANGUAGE : 0u) | (model->pixel_line[0] ? VLM_PART_PIXELS : 0u),
        .n_threads = vlm_threads_count(model->threads),
        .embedding_size = vision ? vision->embedding : text ? text->embedding : 0,
        .image_height = vision ? vision->image_height : 0,
        .image_width = vision ? vision->image_width : 0,
        .context_length = context_length(model),
        .n_labels = network ? network->n_labels : 0,
        .n_parameters = count_weights(model),
        .logit_scale = network ? expf(scalar(network->logit_scale, 0)) : 1,
        .logit_bias = network ? scalar(network->logit_bias, 0) : 0,
        .pixel_contract = model->pixel_line,
    };
    for (size_t i = 0; network && i < network->n_parameters_listed; i++)
        model->info.n_bytes += tensor_bytes(network->parameters[i].tensor);
}

const vlm_model_info *vlm_model_get_info(const vlm_model *model)
{
    return &model->info;
}

const char *vlm_model_label(const vlm_model *model, size_t i)
{
    return model->network && i < model->network->n_labels ? model->network->labels[i] : NULL;
}

/* ---- the tree ------------------------------------------------------------------------------------------ */

/* A tensor of the checkpoint, as the tree shows it. */
typedef struct leaf {
    const char *name;
    const vlm_parameter *parameter;
    size_t n_dims, shape[VLM_MAX_DIMS];
    uint64_t n, bytes;
} leaf;

/* Names in natural order: numbers by value, so that block 2 stands before block 10. */
static int compare_names(const char *a, const char *b)
{
    while (*a && *b) {
        if (isdigit((unsigned char)*a) && isdigit((unsigned char)*b)) {
            char *end_a, *end_b;
            unsigned long long x = strtoull(a, &end_a, 10), y = strtoull(b, &end_b, 10);
            if (x != y)
                return x < y ? -1 : 1;
            a = end_a;
            b = end_b;
        } else if (*a != *b) {
            return (unsigned char)*a < (unsigned char)*b ? -1 : 1;
        } else {
            a++;
            b++;
        }
    }
    return (*a != 0) - (*b != 0);
}

static int compare_leaves(const void *a, const void *b)
{
    return compare_names(((const leaf *)a)->name, ((const leaf *)b)->name);
}

static size_t list_leaves(const vlm_network *network, leaf *leaves)
{
    size_t n = 0;
    for (size_t i = 0; i < network->n_parameters_listed; i++) {
        const vlm_parameter *p = &network->parameters[i];
        uint64_t whole = vlm_tensor_count(p->tensor), bytes = tensor_bytes(p->tensor);
        size_t rows = 0;
        for (size_t j = 0; j < p->n_parts; j++)
            rows += p->rows[j];
        for (size_t j = 0; j < p->n_parts; j++, n++) {
            leaf *l = &leaves[n];
            *l = (leaf){.name = p->names[j], .parameter = p, .n_dims = p->n_dims, .n = p->n_parts > 1 && rows ? whole / rows * p->rows[j] : whole};
            memcpy(l->shape, p->shape, sizeof l->shape);
            l->bytes = whole ? bytes * l->n / whole : 0;
        }
    }
    qsort(leaves, n, sizeof *leaves, compare_leaves);
    return n;
}

/* "block" for a number; else by the weight that stands directly below. */
static const char *group_kind(const leaf *leaves, size_t n, size_t prefix, const char *component)
{
    if (isdigit((unsigned char)component[0]))
        return "block";
    for (size_t i = 0; i < n; i++)
        if (strcmp(leaves[i].name + prefix, "weight") == 0) {
            vlm_parameter_kind kind = leaves[i].parameter->kind;
            return kind == VLM_PARAMETER_EMBEDDING ? "embedding" : kind == VLM_PARAMETER_VECTOR ? "norm" : "linear";
        }
    return "part";
}

static void sum_leaves(vlm_node *node, const leaf *leaves, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        node->n_parameters += leaves[i].n;
        node->n_bytes += leaves[i].bytes;
    }
}

/* The n leaves share their first `prefix` characters. Groups by the next component of their names. */
static void visit_level(const leaf *leaves, size_t n, size_t prefix, size_t depth, vlm_visit_function *visit, void *user)
{
    for (size_t i = 0, end; i < n; i = end) {
        const char *rest = leaves[i].name + prefix, *dot = strchr(rest, '.');
        size_t length = dot ? (size_t)(dot - rest) : strlen(rest);
        char component[128];
        if (length >= sizeof component)
            length = sizeof component - 1;
        memcpy(component, rest, length);
        component[length] = 0;
        for (end = i + 1; dot && end < n && strncmp(leaves[end].name + prefix, rest, (size_t)(dot - rest) + 1) == 0; end++)
            ;
        vlm_node node = {.depth = depth, .name = component, .dtype = vlm_dtype_name(leaves[i].parameter->tensor->type)};
        sum_leaves(&node, leaves + i, end - i);
        size_t below = prefix + (dot ? (size_t)(dot - rest) + 1 : 0);
        node.kind = dot ? group_kind(leaves + i, end - i, below, component) : "parameter";
        if (!dot) {
            node.n_dims = leaves[i].n_dims;
            memcpy(node.shape, leaves[i].shape, sizeof node.shape);
        }
        visit(user, &node);
        if (dot)
            visit_level(leaves + i, end - i, below, depth + 1, visit, user);
    }
}

void vlm_model_visit(const vlm_model *model, vlm_visit_function *visit, void *user)
{
    const vlm_network *network = model->network;
    vlm_node root = {.name = model->info.name, .kind = "part", .dtype = model->info.dtype, .n_parameters = model->info.n_parameters, .n_bytes = model->info.n_bytes};
    visit(user, &root);
    leaf *leaves = network ? vlm_alloc_zero(network->n_parameters_listed * VLM_MAX_PARTS, sizeof *leaves) : NULL;
    if (leaves)
        visit_level(leaves, list_leaves(network, leaves), 0, 1, visit, user);
    free(leaves);
}
