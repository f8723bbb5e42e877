/* vlm inspect: a model's structure with shapes, parameters, types and memory. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "cli/cli.h"

static void put_size(char *out, size_t room, uint64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double value = (double)bytes;
    size_t unit = 0;
    for (; value >= 1024 && unit < 4; unit++)
        value /= 1024;
    snprintf(out, room, unit && value < 100 ? "%.1f %s" : "%.0f %s", value, units[unit]);
}

/* 1234567 -> 1,234,567 */
static void put_grouped(char *out, size_t room, uint64_t n)
{
    char digits[32];
    size_t length = (size_t)snprintf(digits, sizeof digits, "%llu", (unsigned long long)n), used = 0;
    for (size_t i = 0; i < length && used + 2 < room; i++) {
        out[used++] = digits[i];
        if ((length - i) % 3 == 1 && i + 1 < length)
            out[used++] = ',';
    }
    out[used] = 0;
}

static void put_shape(vlm_text *out, const vlm_node *node)
{
    if (node->n_dims == 0)
        return;
    for (size_t i = 0; i < node->n_dims; i++)
        vlm_text_printf(out, "%s%zu", i ? ", " : "[", node->shape[i]);
    vlm_text_puts(out, "]");
}

/* ---- the tree for people --------------------------------------------------------------------------------- */

/* The nodes in the order of the visit, parents first. */
typedef struct node_list {
    vlm_node *nodes;
    size_t n, capacity;
    bool failed;
} node_list;

static void keep_node(void *user, const vlm_node *node)
{
    node_list *t = user;
    if (t->failed || !vlm_grow(&t->nodes, &t->capacity, t->n + 1, sizeof *t->nodes)) {
        t->failed = true;
        return;
    }
    t->nodes[t->n] = *node;
    char *name = vlm_copy_text(node->name, strlen(node->name)); /* a visited name lives for the call only */
    t->nodes[t->n].name = name;
    t->failed = !name;
    t->n += name != NULL;
}

static void free_nodes(node_list *t)
{
    for (size_t i = 0; i < t->n; i++)
        free((void *)t->nodes[i].name);
    free(t->nodes);
}

/* Where the node's subtree ends. */
static size_t subtree_end(const node_list *t, size_t i)
{
    size_t end = i + 1;
    while (end < t->n && t->nodes[end].depth > t->nodes[i].depth)
        end++;
    return end;
}

/* Two numbered siblings that differ in their number alone, as the blocks of a transformer do. */
static bool are_alike(const node_list *t, size_t a, size_t b)
{
    size_t n = subtree_end(t, a) - a;
    if (b >= t->n || t->nodes[a].depth != t->nodes[b].depth || subtree_end(t, b) - b != n)
        return false;
    if (strspn(t->nodes[a].name, "0123456789") != strlen(t->nodes[a].name) || strspn(t->nodes[b].name, "0123456789") != strlen(t->nodes[b].name))
        return false;
    for (size_t i = 0; i < n; i++) {
        const vlm_node *x = &t->nodes[a + i], *y = &t->nodes[b + i];
        if ((i && strcmp(x->name, y->name) != 0) || x->depth != y->depth || x->n_dims != y->n_dims || x->n_bytes != y->n_bytes ||
            memcmp(x->shape, y->shape, x->n_dims * sizeof *x->shape) != 0)
            return false;
    }
    return true;
}

static void add_cell(vlm_table *table, const char *text)
{
    vlm_table_cell(table, text, strlen(text));
}

/* `more` siblings alike follow: their numbers join this one's, and the row counts one of them. */
static void add_row(vlm_table *table, const vlm_node *node, const vlm_node *last, size_t more)
{
    vlm_text cell = {0};
    char digits[64];
    for (size_t i = 0; i < node->depth; i++)
        vlm_text_puts(&cell, "  ");
    vlm_text_puts(&cell, node->name);
    if (more)
        vlm_text_printf(&cell, " ... %s  (%zu alike, each)", last->name, more + 1);
    table->cells.failed |= cell.failed;
    add_cell(table, cell.data ? cell.data : "");
    vlm_text_free(&cell);
    put_shape(&cell, node);
    table->cells.failed |= cell.failed;
    add_cell(table, cell.data ? cell.data : "");
    vlm_text_free(&cell);
    add_cell(table, node->dtype ? node->dtype : "");
    put_grouped(digits, sizeof digits, node->n_parameters);
    add_cell(table, digits);
    put_size(digits, sizeof digits, node->n_bytes);
    add_cell(table, digits);
}

/* The rows of nodes first .. end - 1; of siblings alike only the first is shown. */
static void add_rows(vlm_table *table, const node_list *t, size_t first, size_t end)
{
    for (size_t i = first; i < end;) {
        size_t size = subtree_end(t, i) - i, more = 0;
        while (are_alike(t, i, i + (more + 1) * size))
            more++;
        add_row(table, &t->nodes[i], &t->nodes[i + more * size], more);
        add_rows(table, t, i + 1, i + size);
        i += (more + 1) * size;
    }
}

static void print_fact(const char *name, const char *value)
{
    vlm_text line = {0};
    vlm_text_printf(&line, "%-16s", name);
    vlm_put_plain(&line, value, strlen(value));
    vlm_print_line(&line);
}

static void print_facts(const vlm_model_info *info)
{
    char value[128], grouped[64], bytes[32];
    print_fact("model", info->name);
    if (*info->family) {
        snprintf(value, sizeof value, "%s (%s)", info->family, info->layout);
        print_fact("family", value);
    }
    if (info->n_parameters) {
        put_grouped(grouped, sizeof grouped, info->n_parameters);
        print_fact("parameters", grouped);
        put_size(bytes, sizeof bytes, info->n_bytes);
        snprintf(value, sizeof value, "%s, matrices in %s", bytes, info->dtype);
        print_fact("memory", value);
    }
    if (info->embedding_size) {
        snprintf(value, sizeof value, "%zu numbers", info->embedding_size);
        print_fact("vector", value);
    }
    if (info->image_height) {
        snprintf(value, sizeof value, "%zu x %zu pixels", info->image_height, info->image_width);
        print_fact("picture", value);
    }
    if (*info->pixel_contract)
        print_fact("pixels", info->pixel_contract);
    if (info->context_length) {
        snprintf(value, sizeof value, "at most %zu tokens", info->context_length);
        print_fact("text", value);
    }
    if (info->n_labels) {
        snprintf(value, sizeof value, "%zu", info->n_labels);
        print_fact("labels", value);
    }
    if (info->parts & VLM_PART_TEXT && info->parts & VLM_PART_VISION) {
        snprintf(value, sizeof value, "%.6g", (double)info->logit_scale);
        print_fact("logit scale", value);
    }
}

/* ---- JSON -------------------------------------------------------------------------------------------------- */

typedef struct json_tree {
    vlm_text *json;
    size_t open; /* nodes whose bracket is open: depth of the next sibling + 1 */
} json_tree;

/* Close what is at the node's depth or deeper; children are an array in their parent. */
static void close_nodes(json_tree *tree, size_t depth)
{
    while (tree->open > depth) {
        vlm_put_close(tree->json, ']');
        vlm_put_close(tree->json, '}');
        tree->open--;
    }
}

static void put_node(void *user, const vlm_node *node)
{
    json_tree *tree = user;
    vlm_text *json = tree->json;
    close_nodes(tree, node->depth);
    vlm_put_open(json, '{');
    vlm_put_key(json, "name");
    vlm_put_string(json, node->name);
    vlm_put_key(json, "kind");
    vlm_put_string(json, node->kind);
    vlm_put_key(json, "shape");
    vlm_put_open(json, '[');
    for (size_t i = 0; i < node->n_dims; i++)
        vlm_put_count(json, node->shape[i]);
    vlm_put_close(json, ']');
    vlm_put_key(json, "dtype");
    vlm_put_string(json, node->dtype);
    vlm_put_key(json, "parameters");
    vlm_put_count(json, node->n_parameters);
    vlm_put_key(json, "bytes");
    vlm_put_count(json, node->n_bytes);
    vlm_put_key(json, "children");
    vlm_put_open(json, '[');
    tree->open++;
}

static void put_parts(vlm_text *json, unsigned parts)
{
    static const struct {
        unsigned part;
        const char *name;
    } names[] = {{VLM_PART_VISION, "vision"}, {VLM_PART_TEXT, "text"}, {VLM_PART_TOKENIZER, "tokenizer"}, {VLM_PART_PIXELS, "pixels"}};
    vlm_put_open(json, '[');
    for (size_t i = 0; i < 4; i++)
        if (parts & names[i].part)
            vlm_put_string(json, names[i].name);
    vlm_put_close(json, ']');
}

static void put_string_fact(vlm_text *json, const char *key, const char *value)
{
    vlm_put_key(json, key);
    vlm_put_string(json, value);
}

static void put_count_fact(vlm_text *json, const char *key, uint64_t value)
{
    vlm_put_key(json, key);
    vlm_put_count(json, value);
}

static bool print_json(const vlm_model *model)
{
    const vlm_model_info *info = vlm_model_get_info(model);
    vlm_text json = {0};
    json_tree tree = {&json, 0};
    vlm_put_open(&json, '{');
    put_string_fact(&json, "name", info->name);
    put_string_fact(&json, "family", info->family);
    put_string_fact(&json, "layout", info->layout);
    vlm_put_key(&json, "parts");
    put_parts(&json, info->parts);
    put_count_fact(&json, "parameters", info->n_parameters);
    put_count_fact(&json, "bytes", info->n_bytes);
    put_string_fact(&json, "dtype", info->dtype);
    put_count_fact(&json, "embedding_size", info->embedding_size);
    put_count_fact(&json, "image_height", info->image_height);
    put_count_fact(&json, "image_width", info->image_width);
    put_count_fact(&json, "context_length", info->context_length);
    put_count_fact(&json, "n_labels", info->n_labels);
    vlm_put_key(&json, "logit_scale");
    vlm_put_float(&json, info->logit_scale);
    vlm_put_key(&json, "logit_bias");
    vlm_put_float(&json, info->logit_bias);
    put_string_fact(&json, "pixel_contract", info->pixel_contract);
    vlm_put_key(&json, "structure");
    vlm_put_open(&json, '[');
    vlm_model_visit(model, put_node, &tree);
    close_nodes(&tree, 0);
    vlm_put_close(&json, ']');
    vlm_put_close(&json, '}');
    return vlm_print_line(&json);
}

static bool print_plain(const vlm_model *model)
{
    vlm_table table = {.n_columns = 5, .align = "lllrr"};
    static const char *const heads[] = {"structure", "shape", "type", "parameters", "memory"};
    print_facts(vlm_model_get_info(model));
    if (vlm_model_get_info(model)->n_parameters == 0)
        return vlm_flush_output();
    vlm_text empty = {0};
    node_list t = {0};
    vlm_print_line(&empty);
    for (size_t i = 0; i < 5; i++)
        add_cell(&table, heads[i]);
    vlm_model_visit(model, keep_node, &t);
    add_rows(&table, &t, 0, t.n);
    table.cells.failed |= t.failed;
    free_nodes(&t);
    return vlm_table_print(&table);
}

static int run_inspect(const vlm_verb *verb, const void *parsed)
{
    const vlm_common *common = parsed;
    vlm_model *model = NULL;
    (void)verb;
    if (common->inputs.n)
        return vlm_say_usage("'%s': a model is named with -m", common->inputs.items[0].value);
    int status = vlm_open_model(&model, common, 0);
    if (status == VLM_EXIT_OK && !(common->json ? print_json(model) : print_plain(model)))
        status = VLM_EXIT_FAILED;
    vlm_model_close(model);
    return status;
}

const vlm_verb vlm_verb_inspect = {
    "inspect", "a model's structure: shapes, parameters, types, memory",
    "[-m MODEL]",
    "Prints what the model is and its structure as a tree; of blocks that are alike the first stands for all. With --json one object: name, family, layout, parts, "
    "parameters (the number of weights, position ids not counted), bytes, dtype, embedding_size, image_height, "
    "image_width, context_length, n_labels, logit_scale, logit_bias, pixel_contract, and structure, whose nodes "
    "have name, kind, shape, dtype, parameters, bytes and children.",
    "vlm inspect\nvlm inspect --json\nvlm inspect -m openai/clip-vit-base-patch32 --dtype q8",
    NULL, sizeof(vlm_common), run_inspect};
