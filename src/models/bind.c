/* Binding: checkpoint tensors to a network's weights, checked against the config before a byte is used.
 * Trap: q, k and v stand in three tensors but are one matrix here; when their rows do not fill whole panels
 * they are stacked as float32 first and packed together. */
#include "models/bind.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/memory.h"
#include "base/text.h"
#include "formats/json.h"
#include "vlm/vlm.h"

void vlm_binder_fail(vlm_binder *binder, vlm_status status, const char *format, ...)
{
    if (vlm_binder_failed(binder))
        return;
    char message[sizeof binder->error->message];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    binder->status = vlm_fail(binder->error, status, "%s", message);
}

void *vlm_binder_alloc(vlm_binder *binder, size_t count, size_t size)
{
    void *block = vlm_binder_failed(binder) ? NULL : vlm_arena_alloc_zero(&binder->network->arena, count, size);
    if (!block)
        vlm_binder_fail(binder, VLM_ERR_MEMORY, "out of memory: %zu values of %zu bytes wanted for the model", count, size);
    return block;
}

const char *vlm_binder_name(vlm_binder *binder, const char *format, ...)
{
    char name[512];
    size_t length = strlen(binder->prefix);
    if (length >= sizeof name / 2)
        length = 0;
    memcpy(name, binder->prefix, length);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(name + length, sizeof name - length, format, arguments);
    va_end(arguments);
    char *copy = vlm_binder_alloc(binder, strlen(name) + 1, 1);
    return copy ? strcpy(copy, name) : "";
}

bool vlm_binder_has(const vlm_binder *binder, const char *name)
{
    return binder->weights && vlm_checkpoint_find(binder->weights, name);
}

/* ---- tensors ------------------------------------------------------------------------------------------ */

static void describe_shape(char *text, size_t size, size_t n_dims, const size_t *shape)
{
    size_t at = 0;
    at += (size_t)snprintf(text, size, "[");
    for (size_t i = 0; i < n_dims && at < size; i++)
        at += (size_t)snprintf(text + at, size - at, "%s%zu", i ? ", " : "", shape[i]);
    if (at < size)
        snprintf(text + at, size - at, "]");
}

static size_t product(size_t n_dims, const size_t *shape)
{
    size_t n = 1;
    for (size_t i = 0; i < n_dims; i++)
        if (!vlm_multiply(n, shape[i], &n))
            return SIZE_MAX;
    return n;
}

/* The entry of that name if its shape is as wanted, leading and inner ones left aside ([1, 1, 768] is [768]). */
static const vlm_entry *find_entry(vlm_binder *binder, const char *name, size_t n_dims, const size_t *shape)
{
    const vlm_entry *entry = NULL;
    if (vlm_binder_failed(binder))
        return NULL;
    binder->status = vlm_checkpoint_get(&entry, binder->weights, name, binder->error);
    if (vlm_binder_failed(binder))
        return NULL;
    size_t found[VLM_ENTRY_DIMS], wanted[VLM_ENTRY_DIMS], n_found = 0, n_wanted = 0;
    for (size_t i = 0; i < entry->n_dims; i++)
        if (entry->shape[i] != 1)
            found[n_found++] = entry->shape[i];
    for (size_t i = 0; i < n_dims; i++)
        if (shape[i] != 1)
            wanted[n_wanted++] = shape[i];
    if (n_found == n_wanted && memcmp(found, wanted, n_found * sizeof *found) == 0 && entry->type <= VLM_F64 && entry->type != VLM_Q8 && entry->type != VLM_Q4)
        return entry;
    char is[128], should[128];
    describe_shape(is, sizeof is, entry->n_dims, entry->shape);
    describe_shape(should, sizeof should, n_dims, shape);
    if (entry->type > VLM_F64)
        vlm_binder_fail(binder, VLM_ERR_UNSUPPORTED, "%s: %s holds %s; floating point numbers are wanted", vlm_checkpoint_path(binder->weights), name, entry->type_name);
    else
        vlm_binder_fail(binder, VLM_ERR_MISMATCH, "%s: %s has the shape %s, %s says %s; do the checkpoint and this config belong together?",
                        vlm_checkpoint_path(binder->weights), name, is, binder->where, should);
    return NULL;
}

static vlm_tensor *new_tensor(vlm_binder *binder, vlm_dtype type, size_t n_dims, const size_t *shape, const char *name)
{
    vlm_tensor *tensor = vlm_binder_alloc(binder, 1, sizeof *tensor);
    if (!tensor)
        return NULL;
    tensor->type = type;
    tensor->owner = VLM_OWNED_BY_MODEL;
    tensor->wants_grad = binder->options->train;
    tensor->n_dims = n_dims;
    memcpy(tensor->shape, shape, n_dims * sizeof *shape);
    tensor->name = name;
    return tensor;
}

static void list_parameter(vlm_binder *binder, const vlm_parameter *parameter)
{
    vlm_network *network = binder->network;
    if (vlm_binder_failed(binder))
        return;
    if (!vlm_grow(&network->parameters, &network->parameters_capacity, network->n_parameters_listed + 1, sizeof *parameter)) {
        vlm_binder_fail(binder, VLM_ERR_MEMORY, "out of memory: the list of parameters");
        return;
    }
    network->parameters[network->n_parameters_listed++] = *parameter;
    network->parameters[network->n_parameters_listed - 1].in_vision = binder->in_vision;
}

vlm_tensor *vlm_bind_values(vlm_binder *binder, vlm_parameter_kind kind, size_t n_parts, const char *const *names, size_t n_dims, const size_t *shape)
{
    if (vlm_binder_failed(binder))
        return NULL;
    vlm_parameter parameter = {.kind = kind, .n_parts = n_parts, .n_dims = n_dims};
    size_t count = product(n_dims, shape), whole[VLM_MAX_DIMS] = {0}, total;
    if (!vlm_multiply(count, n_parts, &total) || total > SIZE_MAX / sizeof(float)) {
        vlm_binder_fail(binder, VLM_ERR_LIMIT, "%s: %s is beyond memory", binder->where, names[0]);
        return NULL;
    }
    memcpy(whole, shape, n_dims * sizeof *shape);
    whole[0] *= n_parts;
    const vlm_entry *entries[VLM_MAX_PARTS] = {0};
    for (size_t i = 0; i < n_parts && binder->weights; i++)
        if (!(entries[i] = find_entry(binder, names[i], n_dims, shape)))
            return NULL; /* before any memory is taken */
    vlm_tensor *tensor = new_tensor(binder, VLM_F32, n_dims, whole, names[0]);
    if (tensor)
        tensor->data = vlm_binder_alloc(binder, total, sizeof(float));
    if (vlm_binder_failed(binder))
        return NULL;
    for (size_t i = 0; i < n_parts; i++) {
        parameter.names[i] = names[i];
        parameter.rows[i] = shape[0];
        if (binder->weights)
            vlm_convert_to_f32(vlm_tensor_floats(tensor) + i * count, entries[i]->data, entries[i]->type, count);
    }
    memcpy(parameter.shape, shape, n_dims * sizeof *shape);
    parameter.tensor = tensor;
    list_parameter(binder, &parameter);
    return tensor;
}

vlm_tensor *vlm_bind_unequal(vlm_binder *binder, const char *const *names, const size_t *lengths, size_t n_parts)
{
    vlm_tensor *whole = NULL;
    size_t total = 0, at = 0;
    for (size_t i = 0; i < n_parts; i++)
        total += lengths[i];
    float *values = vlm_binder_alloc(binder, total, sizeof *values);
    for (size_t i = 0; i < n_parts && !vlm_binder_failed(binder); at += lengths[i++]) {
        vlm_tensor *part = vlm_bind_values(binder, VLM_PARAMETER_VECTOR, 1, &names[i], 1, &lengths[i]);
        if (part)
            memcpy(values + at, part->data, lengths[i] * sizeof *values);
    }
    if (!vlm_binder_failed(binder) && (whole = new_tensor(binder, VLM_F32, 1, &total, names[0])))
        whole->data = values;
    return whole;
}

vlm_tensor *vlm_bind_table(vlm_binder *binder, const char *name, size_t rows, size_t width)
{
    const size_t shape[2] = {rows, width};
    const vlm_entry *entry = binder->weights ? find_entry(binder, name, 2, shape) : NULL;
    if (!entry || binder->options->train || (entry->type != VLM_F32 && entry->type != VLM_F16 && entry->type != VLM_BF16))
        return vlm_bind_values(binder, VLM_PARAMETER_EMBEDDING, 1, &name, 2, shape);
    vlm_tensor *tensor = new_tensor(binder, entry->type, 2, shape, name);
    if (!tensor)
        return NULL;
    tensor->owner = VLM_OWNED_BY_FILE;
    tensor->data = (void *)entry->data;
    vlm_parameter parameter = {.tensor = tensor, .kind = VLM_PARAMETER_EMBEDDING, .n_parts = 1, .names = {name}, .rows = {rows}, .n_dims = 2, .shape = {rows, width}};
    list_parameter(binder, &parameter);
    return tensor;
}

/* ---- matrices ------------------------------------------------------------------------------------------ */

typedef struct pack_job {
    const vlm_matmul_kernel *kernel;
    char *panels;
    const char *data;
    vlm_dtype from;
    size_t n, k, row_stride, k_stride, group; /* group: panels a task */
} pack_job;

static void pack_group(void *argument, size_t index, size_t thread)
{
    (void)thread;
    const pack_job *job = argument;
    size_t panel = job->kernel->panel, row = index * job->group * panel;
    size_t rows = job->n - row < job->group * panel ? job->n - row : job->group * panel;
    job->kernel->pack(job->panels + index * job->group * job->kernel->panel_bytes(job->k), job->data + row * job->row_stride * vlm_dtype_size(job->from),
                      job->from, job->row_stride, job->k_stride, rows, job->k);
}

static void pack_rows(vlm_binder *binder, const vlm_matmul_kernel *kernel, char *panels, const void *data, vlm_dtype from, size_t n, size_t k, bool transposed)
{
    pack_job job = {kernel, panels, data, from, n, k, transposed ? 1 : k, transposed ? n : 1, 2};
    vlm_threads_run(binder->options->threads, (n + kernel->panel * job.group - 1) / (kernel->panel * job.group), pack_group, &job);
}

/* All parts as float32 rows [n, k]. */
static void read_rows(float *out, const vlm_entry *const *entries, const vlm_matrix_source *source)
{
    for (size_t i = 0; i < source->n_parts; i++) {
        size_t rows = source->rows[i], k = source->k;
        if (!source->transposed) {
            vlm_convert_to_f32(out, entries[i]->data, entries[i]->type, rows * k);
        } else {
            size_t size = vlm_dtype_size(entries[i]->type);
            for (size_t j = 0; j < k; j++)
                for (size_t r = 0; r < rows; r++)
                    vlm_convert_to_f32(out + r * k + j, (const char *)entries[i]->data + (j * rows + r) * size, entries[i]->type, 1);
        }
        out += rows * k;
    }
}

static bool plain_type(vlm_dtype type)
{
    return type == VLM_F32 || type == VLM_F16 || type == VLM_BF16;
}

static void pack_matrix(vlm_binder *binder, vlm_tensor *tensor, const vlm_entry *const *entries, const vlm_matrix_source *source, size_t n)
{
    const vlm_matmul_kernel *kernel = &vlm_kernels_get()->matmul[tensor->type];
    tensor->data = vlm_arena_alloc(&binder->network->arena, vlm_packed_bytes(vlm_kernels_get(), tensor->type, n, source->k), 1);
    if (!tensor->data) {
        vlm_binder_fail(binder, VLM_ERR_MEMORY, "out of memory: %zu bytes wanted for %s", vlm_packed_bytes(vlm_kernels_get(), tensor->type, n, source->k), source->names[0]);
        return;
    }
    tensor->packed = true;
    bool direct = true; /* parts begin at panels and are of a type that pack reads */
    for (size_t i = 0; i < source->n_parts; i++)
        direct = direct && plain_type(entries[i]->type) && (i + 1 == source->n_parts || source->rows[i] % kernel->panel == 0);
    if (direct) {
        char *panels = tensor->data;
        for (size_t i = 0; i < source->n_parts; i++) {
            pack_rows(binder, kernel, panels, entries[i]->data, entries[i]->type, source->rows[i], source->k, source->transposed);
            panels += source->rows[i] / kernel->panel * kernel->panel_bytes(source->k);
        }
        return;
    }
    float *rows = vlm_alloc(n * source->k, sizeof *rows); /* the product was checked by the caller */
    if (!rows) {
        vlm_binder_fail(binder, VLM_ERR_MEMORY, "out of memory: %zu values wanted to load %s", n * source->k, source->names[0]);
        return;
    }
    read_rows(rows, entries, source);
    pack_rows(binder, kernel, tensor->data, rows, VLM_F32, n, source->k, false);
    free(rows);
}

/* Tell how much has been read; a false answer stops the loading. */
static void report_progress(vlm_binder *binder, const vlm_entry *const *entries, size_t n)
{
    for (size_t i = 0; i < n && binder->weights; i++)
        binder->bytes_read += entries[i]->bytes;
    uint64_t total = binder->weights ? vlm_checkpoint_bytes(binder->weights) : 0;
    if (!vlm_binder_failed(binder) && total && binder->options->progress &&
        !binder->options->progress(binder->options->user, "loading", binder->bytes_read < total ? binder->bytes_read : total, total))
        vlm_binder_fail(binder, VLM_ERR_CANCELLED, "%s: loading was stopped", binder->where);
}

vlm_tensor *vlm_bind_matrix(vlm_binder *binder, const vlm_matrix_source *source)
{
    if (vlm_binder_failed(binder))
        return NULL;
    const vlm_entry *entries[VLM_MAX_PARTS] = {0};
    vlm_entry moved;
    vlm_parameter parameter = {.kind = source->kind, .n_parts = source->n_parts, .transposed = source->transposed};
    size_t n = 0, values;
    for (size_t i = 0; i < source->n_parts; i++) {
        size_t plain[2] = {source->transposed ? source->k : source->rows[i], source->transposed ? source->rows[i] : source->k};
        parameter.n_dims = source->n_dims ? source->n_dims : 2;
        memcpy(parameter.shape, source->n_dims ? source->shape : plain, parameter.n_dims * sizeof *plain);
        parameter.names[i] = source->names[i];
        parameter.rows[i] = source->rows[i];
        n += source->rows[i];
        if (binder->weights && !(entries[i] = find_entry(binder, source->names[i], parameter.n_dims, parameter.shape)))
            return NULL;
    }
    if (source->first_row && entries[0]) {
        moved = *entries[0];
        moved.data = (const char *)moved.data + source->first_row * source->k * vlm_dtype_size(moved.type);
        entries[0] = &moved;
    }
    if (!vlm_multiply(n, source->k, &values) || values > SIZE_MAX / 8) {
        vlm_binder_fail(binder, VLM_ERR_LIMIT, "%s: %s is beyond memory", binder->where, source->names[0]);
        return NULL;
    }
    vlm_dtype type = binder->options->train ? VLM_F32 : binder->options->dtype;
    if (source->kind == VLM_PARAMETER_EDGE && type == VLM_Q8)
        type = VLM_F16; /* the ends of a tower are a hundredth of its work and all of its pictures */
    vlm_tensor *tensor = new_tensor(binder, type, 2, (size_t[]){n, source->k}, source->names[0]);
    if (!tensor)
        return NULL;
    if (binder->options->train) {
        tensor->data = vlm_binder_alloc(binder, values, sizeof(float));
        if (tensor->data && binder->weights)
            read_rows(tensor->data, entries, source);
    } else {
        pack_matrix(binder, tensor, entries, source, n);
    }
    parameter.tensor = tensor;
    list_parameter(binder, &parameter);
    report_progress(binder, entries, source->n_parts);
    return vlm_binder_failed(binder) ? NULL : tensor;
}

/* ---- layers ------------------------------------------------------------------------------------------- */

static const char *suffixed(vlm_binder *binder, const char *name, const char *suffix)
{
    const char *prefix = binder->prefix;
    binder->prefix = ""; /* the name has it already */
    const char *whole = vlm_binder_name(binder, "%s%s", name, suffix);
    binder->prefix = prefix;
    return whole;
}

vlm_linear vlm_bind_linear(vlm_binder *binder, vlm_parameter_kind kind, const char *name, size_t n, size_t k, bool bias)
{
    vlm_matrix_source source = {.kind = kind, .n_parts = 1, .names = {suffixed(binder, name, ".weight")}, .rows = {n}, .k = k};
    vlm_linear linear = {.weight = vlm_bind_matrix(binder, &source)};
    if (bias)
        linear.bias = vlm_bind_values(binder, VLM_PARAMETER_VECTOR, 1, (const char *[]){suffixed(binder, name, ".bias")}, 1, &n);
    return linear;
}

vlm_norm vlm_bind_norm(vlm_binder *binder, const char *name, size_t n, double eps)
{
    const char *gain = suffixed(binder, name, ".weight"), *bias = suffixed(binder, name, ".bias");
    if (binder->weights && !vlm_binder_has(binder, gain) && vlm_binder_has(binder, suffixed(binder, name, ".gamma"))) {
        gain = suffixed(binder, name, ".gamma");
        bias = suffixed(binder, name, ".beta");
    }
    return (vlm_norm){vlm_bind_values(binder, VLM_PARAMETER_VECTOR, 1, &gain, 1, &n),
                      vlm_bind_values(binder, VLM_PARAMETER_VECTOR, 1, &bias, 1, &n), (float)eps};
}

vlm_norm vlm_bind_rms(vlm_binder *binder, const char *name, size_t width, double eps)
{
    return (vlm_norm){vlm_bind_values(binder, VLM_PARAMETER_VECTOR, 1, &name, 1, &width), NULL, (float)eps};
}

vlm_linear vlm_bind_stacked(vlm_binder *binder, const char *a, const char *b, const char *c, size_t n, size_t k, bool bias)
{
    const char *parts[VLM_MAX_PARTS] = {a, b, c}, *biases[VLM_MAX_PARTS];
    vlm_matrix_source source = {.kind = VLM_PARAMETER_MATRIX, .n_parts = c ? 3 : 2, .k = k};
    for (size_t i = 0; i < source.n_parts; i++) {
        source.names[i] = suffixed(binder, parts[i], ".weight");
        biases[i] = suffixed(binder, parts[i], ".bias");
        source.rows[i] = n;
    }
    vlm_linear linear = {.weight = vlm_bind_matrix(binder, &source)};
    if (bias)
        linear.bias = vlm_bind_values(binder, VLM_PARAMETER_VECTOR, source.n_parts, biases, 1, &n);
    return linear;
}

void vlm_bind_blocks(vlm_binder *binder, vlm_transformer *body, const char *format, const vlm_block_names *names, double eps, bool qkv_bias)
{
    body->blocks = vlm_binder_alloc(binder, body->n_blocks, sizeof *body->blocks);
    size_t width = body->width;
    for (size_t i = 0; i < body->n_blocks && !vlm_binder_failed(binder); i++) {
        char number[24], at[256];
        snprintf(number, sizeof number, "%zu", i);
        const char *hole = strstr(format, "{}");
        snprintf(at, sizeof at, "%.*s%s%s", (int)(hole - format), format, number, hole + 2);
        vlm_block *block = &body->blocks[i];
        block->norm1 = vlm_bind_norm(binder, vlm_binder_name(binder, "%s%s", at, names->norm1), width, eps);
        block->qkv = vlm_bind_stacked(binder, vlm_binder_name(binder, "%s%s", at, names->q), vlm_binder_name(binder, "%s%s", at, names->k),
                                      vlm_binder_name(binder, "%s%s", at, names->v), width, width, qkv_bias);
        block->out = vlm_bind_linear(binder, VLM_PARAMETER_MATRIX, vlm_binder_name(binder, "%s%s", at, names->out), width, width, true);
        block->norm2 = vlm_bind_norm(binder, vlm_binder_name(binder, "%s%s", at, names->norm2), width, eps);
        block->up = vlm_bind_linear(binder, VLM_PARAMETER_MATRIX, vlm_binder_name(binder, "%s%s", at, names->up), body->hidden, width, true);
        block->down = vlm_bind_linear(binder, VLM_PARAMETER_MATRIX, vlm_binder_name(binder, "%s%s", at, names->down), width, body->hidden, true);
    }
}

/* ---- configs ------------------------------------------------------------------------------------------ */

size_t vlm_config_size(vlm_binder *binder, const json_t *config, const char *key, size_t fallback, size_t most)
{
    size_t value = 0;
    if (vlm_binder_failed(binder))
        return 1;
    binder->status = vlm_json_get_size(&value, config, key, fallback, binder->where, binder->error);
    if (!vlm_binder_failed(binder) && (value < 1 || value > most))
        vlm_binder_fail(binder, VLM_ERR_FORMAT, "%s: \"%s\" is %zu; 1 to %zu is wanted", binder->where, key, value, most);
    return vlm_binder_failed(binder) ? 1 : value;
}

double vlm_config_number(vlm_binder *binder, const json_t *config, const char *key, double fallback)
{
    double value = fallback;
    if (!vlm_binder_failed(binder))
        binder->status = vlm_json_get_double(&value, config, key, fallback, binder->where, binder->error);
    return value;
}

vlm_activation vlm_config_activation(vlm_binder *binder, const json_t *config, const char *key, vlm_activation fallback)
{
    static const struct {
        const char *name;
        vlm_activation kind;
    } known[] = {{"gelu", VLM_ACT_GELU}, {"gelu_python", VLM_ACT_GELU}, {"quick_gelu", VLM_ACT_QUICK_GELU}, {"gelu_new", VLM_ACT_GELU_TANH},
                 {"gelu_fast", VLM_ACT_GELU_TANH}, {"gelu_pytorch_tanh", VLM_ACT_GELU_TANH}, {"relu", VLM_ACT_RELU}, {"silu", VLM_ACT_SILU},
                 {"swish", VLM_ACT_SILU}, {"tanh", VLM_ACT_TANH}};
    const char *name = NULL;
    if (vlm_binder_failed(binder))
        return fallback;
    binder->status = vlm_json_get_string(&name, config, key, NULL, binder->where, binder->error);
    if (vlm_binder_failed(binder) || !name)
        return fallback;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(name, known[i].name) == 0)
            return known[i].kind;
    vlm_binder_fail(binder, VLM_ERR_UNSUPPORTED, "%s: \"%s\" is \"%s\"; gelu, quick_gelu, gelu_new, gelu_pytorch_tanh, relu, silu and tanh are known", binder->where, key, name);
    return fallback;
}

void vlm_config_pair(vlm_binder *binder, const json_t *config, const char *key, size_t fallback, size_t most, size_t *height, size_t *width)
{
    const json_t *value = json_object_get(config, key);
    if (json_is_array(value) && json_array_size(value) == 2 && json_is_integer(json_array_get(value, 0)) && json_is_integer(json_array_get(value, 1))) {
        json_int_t h = json_integer_value(json_array_get(value, 0)), w = json_integer_value(json_array_get(value, 1));
        if (h < 1 || w < 1 || h > (json_int_t)most || w > (json_int_t)most) {
            vlm_binder_fail(binder, VLM_ERR_FORMAT, "%s: \"%s\" is [%lld, %lld]; 1 to %zu is wanted", binder->where, key, (long long)h, (long long)w, most);
            h = w = 1;
        }
        *height = (size_t)h;
        *width = (size_t)w;
        return;
    }
    *height = *width = vlm_config_size(binder, config, key, fallback, most);
}

void vlm_config_check_body(vlm_binder *binder, const vlm_transformer *body, const char *which)
{
    if (!vlm_binder_failed(binder) && body->width % body->n_heads)
        vlm_binder_fail(binder, VLM_ERR_FORMAT, "%s: %s has %zu heads for a width of %zu; the heads must divide it", binder->where, which, body->n_heads, body->width);
}

size_t vlm_vision_tokens(const vlm_vision_tower *tower)
{
    return (tower->image_height / tower->patch) * (tower->image_width / tower->patch);
}

vlm_vision_tower *vlm_new_vision(vlm_binder *binder)
{
    binder->in_vision = true;
    return binder->network->vision = vlm_binder_alloc(binder, 1, sizeof *binder->network->vision);
}

vlm_text_tower *vlm_new_text(vlm_binder *binder)
{
    binder->in_vision = false;
    return binder->network->text = vlm_binder_alloc(binder, 1, sizeof *binder->network->text);
}

vlm_language *vlm_new_language(vlm_binder *binder)
{
    binder->in_vision = false;
    vlm_language *language = binder->network->language = vlm_binder_alloc(binder, 1, sizeof *language);
    if (language)
        language->head_scale = 1;
    return language;
}

void vlm_bind_head(vlm_binder *binder, vlm_language *language, const char *name, const char *table)
{
    vlm_matrix_source source = {.kind = VLM_PARAMETER_MATRIX, .n_parts = 1, .names = {name && vlm_binder_has(binder, name) ? name : table}, .rows = {language->vocabulary}, .k = language->embedding};
    language->head.weight = vlm_bind_matrix(binder, &source);
}
