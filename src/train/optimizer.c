/* Optimiser state and its step. AdamW as torch.optim.AdamW; Muon in muon.c.
 * The work is cut into tasks once, by size alone: a matrix for Muon, a run of values for AdamW.
 * Trap: each slice begins at a cache line and the padding between slices must stay zero, since the norm is
 * taken over the whole block. */
#include "train/optimizer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/memory.h"
#include "train/muon.h"

enum { RUN = 1 << 15, LINE = VLM_ALIGNMENT / sizeof(float) };

/* Where a parameter's numbers lie. */
typedef struct slot {
    vlm_tensor *tensor;
    size_t count;
    float *m, *v; /* moments; v NULL under Muon, whose m is its momentum */
    bool decays;
} slot;

typedef struct task {
    const slot *slot;
    size_t first, count;  /* values of the slot */
    size_t rows, columns; /* of Muon's matrix; 0: AdamW */
} task;

typedef struct rates {
    double rate, muon_rate, gradient_scale, c1, c2;
} rates;

struct vlm_optimizer {
    const vlm_kernels *kernels;
    vlm_threads *threads;
    vlm_optimizer_options options;
    size_t n_slots, n_tasks, n_entries;
    slot *slots;
    task *tasks;
    vlm_entry *entries;
    vlm_arena names;
    float *gradients; /* [n_values] */
    float *moments;
    double *partial;  /* [n_values / RUN] of the norm */
    size_t n_values;
    char *scratch;    /* per thread */
    size_t scratch_bytes;
    rates now;        /* of the step under way */
};

static size_t padded(size_t count)
{
    return (count + LINE - 1) / LINE * LINE;
}

/* open_clip's rule: what has fewer than two dimensions is not decayed. */
static bool decays(const vlm_parameter *parameter)
{
    size_t wide = 0;
    for (size_t i = 0; i < parameter->n_dims; i++)
        wide += parameter->shape[i] > 1;
    bool flat = parameter->kind == VLM_PARAMETER_VECTOR || parameter->kind == VLM_PARAMETER_SCALAR;
    return !flat && parameter->n_dims >= 2 && wide >= 1 && !(parameter->kind == VLM_PARAMETER_EMBEDDING && wide < 2);
}

static bool by_muon(const vlm_optimizer *optimizer, const vlm_parameter *parameter)
{
    return optimizer->options.muon && parameter->kind == VLM_PARAMETER_MATRIX && parameter->tensor->n_dims == 2;
}

static size_t runs(size_t count)
{
    return (count + RUN - 1) / RUN;
}

static vlm_status allocate(vlm_optimizer *optimizer, const vlm_network *network, vlm_error *error)
{
    size_t n_moments = 0, n_tasks = 0;
    for (size_t i = 0; i < network->n_parameters_listed; i++) {
        const vlm_parameter *parameter = &network->parameters[i];
        size_t count = vlm_tensor_count(parameter->tensor);
        bool muon = by_muon(optimizer, parameter);
        optimizer->n_values += padded(count);
        n_moments += padded(count) * (muon ? 1 : 2);
        n_tasks += muon ? parameter->n_parts : runs(count);
        size_t columns = vlm_tensor_columns(parameter->tensor);
        for (size_t part = 0; muon && part < parameter->n_parts; part++) {
            size_t bytes = vlm_muon_scratch_bytes(optimizer->kernels, optimizer->options.muon_type, parameter->rows[part], columns);
            if (bytes > optimizer->scratch_bytes)
                optimizer->scratch_bytes = bytes;
        }
    }
    optimizer->n_slots = network->n_parameters_listed;
    optimizer->slots = vlm_alloc_zero(optimizer->n_slots, sizeof *optimizer->slots);
    optimizer->tasks = vlm_alloc_zero(n_tasks, sizeof *optimizer->tasks);
    optimizer->entries = vlm_alloc_zero(2 * optimizer->n_slots, sizeof *optimizer->entries);
    optimizer->partial = vlm_alloc_zero(runs(optimizer->n_values), sizeof *optimizer->partial);
    optimizer->gradients = vlm_alloc_aligned(optimizer->n_values, sizeof(float));
    optimizer->moments = vlm_alloc_aligned(n_moments, sizeof(float));
    optimizer->scratch = vlm_alloc_aligned(vlm_threads_count(optimizer->threads), optimizer->scratch_bytes);
    if (!optimizer->slots || !optimizer->tasks || !optimizer->entries || !optimizer->partial || !optimizer->gradients ||
        !optimizer->moments || !optimizer->scratch)
        return vlm_fail_memory(error, (optimizer->n_values + n_moments) * sizeof(float), "gradients and the optimiser's moments");
    memset(optimizer->gradients, 0, optimizer->n_values * sizeof(float));
    memset(optimizer->moments, 0, n_moments * sizeof(float));
    return VLM_OK;
}

static vlm_status add_entry(vlm_optimizer *optimizer, const char *what, const char *name, float *values, size_t count, vlm_error *error)
{
    size_t length = strlen(what) + strlen(name);
    char *full = vlm_arena_alloc(&optimizer->names, length + 1, 1);
    if (!full)
        return vlm_fail_memory(error, length + 1, "the optimiser's names");
    snprintf(full, length + 1, "%s%s", what, name);
    optimizer->entries[optimizer->n_entries++] = (vlm_entry){
        .name = full, .type = VLM_F32, .n_dims = 1, .shape = {count}, .n = count, .data = values, .bytes = count * sizeof(float)};
    return VLM_OK;
}

static vlm_status fill_slots(vlm_optimizer *optimizer, const vlm_network *network, vlm_error *error)
{
    float *gradient = optimizer->gradients, *moment = optimizer->moments;
    vlm_status status = VLM_OK;
    for (size_t i = 0; i < optimizer->n_slots && status == VLM_OK; i++) {
        const vlm_parameter *parameter = &network->parameters[i];
        slot *s = &optimizer->slots[i];
        bool muon = by_muon(optimizer, parameter);
        *s = (slot){.tensor = parameter->tensor, .count = vlm_tensor_count(parameter->tensor), .m = moment, .decays = decays(parameter)};
        parameter->tensor->grad = gradient;
        gradient += padded(s->count);
        moment += padded(s->count);
        status = add_entry(optimizer, muon ? "momentum." : "mean.", parameter->names[0], s->m, s->count, error);
        if (!muon && status == VLM_OK) {
            s->v = moment;
            moment += padded(s->count);
            status = add_entry(optimizer, "square.", parameter->names[0], s->v, s->count, error);
        }
    }
    return status;
}

static int by_cost(const void *a, const void *b)
{
    const task *x = a, *y = b;
    double cost_x = (double)x->rows * (double)x->columns, cost_y = (double)y->rows * (double)y->columns;
    if (cost_x != cost_y)
        return cost_x < cost_y ? 1 : -1;
    if (x->slot != y->slot)
        return x->slot < y->slot ? -1 : 1;
    return x->first < y->first ? -1 : x->first > y->first;
}

/* The large ones first, so that no thread is left with one at the end. */
static void cut_tasks(vlm_optimizer *optimizer, const vlm_network *network)
{
    for (size_t i = 0; i < optimizer->n_slots; i++) {
        const slot *s = &optimizer->slots[i];
        const vlm_parameter *parameter = &network->parameters[i];
        size_t columns = vlm_tensor_columns(s->tensor), first = 0;
        for (size_t part = 0; !s->v && part < parameter->n_parts; part++) {
            optimizer->tasks[optimizer->n_tasks++] = (task){s, first, parameter->rows[part] * columns, parameter->rows[part], columns};
            first += parameter->rows[part] * columns;
        }
        for (; s->v && first < s->count; first += RUN)
            optimizer->tasks[optimizer->n_tasks++] = (task){s, first, s->count - first < RUN ? s->count - first : RUN, 0, 0};
    }
    qsort(optimizer->tasks, optimizer->n_tasks, sizeof *optimizer->tasks, by_cost);
}

vlm_status vlm_optimizer_create(vlm_optimizer **out, vlm_network *network, const vlm_optimizer_options *options, vlm_threads *threads, vlm_error *error)
{
    *out = NULL;
    vlm_optimizer *optimizer = vlm_alloc_zero(1, sizeof *optimizer);
    if (!optimizer)
        return vlm_fail_memory(error, sizeof *optimizer, "the optimiser");
    optimizer->kernels = vlm_kernels_get();
    optimizer->threads = threads;
    optimizer->options = *options;
    vlm_status status = allocate(optimizer, network, error);
    if (status == VLM_OK)
        status = fill_slots(optimizer, network, error);
    if (status != VLM_OK) {
        vlm_optimizer_free(optimizer);
        return status;
    }
    cut_tasks(optimizer, network);
    *out = optimizer;
    return VLM_OK;
}

void vlm_optimizer_free(vlm_optimizer *optimizer)
{
    if (!optimizer)
        return;
    for (size_t i = 0; optimizer->slots && i < optimizer->n_slots; i++)
        if (optimizer->slots[i].tensor)
            optimizer->slots[i].tensor->grad = NULL;
    free(optimizer->slots);
    free(optimizer->tasks);
    free(optimizer->entries);
    free(optimizer->partial);
    free(optimizer->gradients);
    free(optimizer->moments);
    free(optimizer->scratch);
    vlm_arena_free(&optimizer->names);
    free(optimizer);
}

static size_t run_length(const vlm_optimizer *optimizer, size_t index)
{
    size_t first = index * RUN;
    return optimizer->n_values - first < RUN ? optimizer->n_values - first : RUN;
}

static void clear_run(void *argument, size_t index, size_t thread)
{
    (void)thread;
    vlm_optimizer *optimizer = argument;
    memset(optimizer->gradients + index * RUN, 0, run_length(optimizer, index) * sizeof(float));
}

void vlm_optimizer_clear_gradients(vlm_optimizer *optimizer)
{
    vlm_threads_run(optimizer->threads, runs(optimizer->n_values), clear_run, optimizer);
}

static void square_run(void *argument, size_t index, size_t thread)
{
    (void)thread;
    vlm_optimizer *optimizer = argument;
    optimizer->partial[index] = optimizer->kernels->sum_squares(optimizer->gradients + index * RUN, run_length(optimizer, index));
}

double vlm_optimizer_gradient_norm(vlm_optimizer *optimizer)
{
    double sum = 0;
    vlm_threads_run(optimizer->threads, runs(optimizer->n_values), square_run, optimizer);
    for (size_t i = 0; i < runs(optimizer->n_values); i++)
        sum += optimizer->partial[i];
    return sqrt(sum);
}

static void run_task(void *argument, size_t index, size_t thread)
{
    const vlm_optimizer *optimizer = argument;
    const task *t = &optimizer->tasks[index];
    const rates *now = &optimizer->now;
    const vlm_optimizer_options *options = &optimizer->options;
    float *w = vlm_tensor_floats(t->slot->tensor) + t->first, *m = t->slot->m + t->first;
    const float *grad = t->slot->tensor->grad + t->first;
    if (t->rows)
        vlm_muon_step(optimizer->kernels, options->muon_type, w, m, grad, t->rows, t->columns, (float)now->gradient_scale,
                      (float)now->muon_rate, (float)options->muon_momentum, (float)options->muon_decay,
                      optimizer->scratch + thread * optimizer->scratch_bytes);
    else
        optimizer->kernels->adamw(w, m, t->slot->v + t->first, grad, t->count, (float)now->gradient_scale, (float)now->rate,
                                  (float)options->beta1, (float)options->beta2, (float)options->eps,
                                  t->slot->decays ? (float)options->decay : 0, (float)now->c1, (float)now->c2);
}

void vlm_optimizer_step(vlm_optimizer *optimizer, size_t step, double rate, double muon_rate, double gradient_scale)
{
    const vlm_optimizer_options *options = &optimizer->options;
    optimizer->now = (rates){rate, muon_rate, gradient_scale, 1 - pow(options->beta1, (double)step), 1 - pow(options->beta2, (double)step)};
    vlm_threads_run(optimizer->threads, optimizer->n_tasks, run_task, optimizer);
}

void vlm_optimizer_entries(const vlm_optimizer *optimizer, const vlm_entry **entries, size_t *n)
{
    *entries = optimizer->entries;
    *n = optimizer->n_entries;
}

vlm_status vlm_optimizer_load(vlm_optimizer *optimizer, const vlm_checkpoint *checkpoint, vlm_error *error)
{
    for (size_t i = 0; i < optimizer->n_entries; i++) {
        const vlm_entry *wanted = &optimizer->entries[i], *found;
        vlm_status status = vlm_checkpoint_get(&found, checkpoint, wanted->name, error);
        if (status != VLM_OK)
            return status;
        if (found->type != VLM_F32 || found->n != wanted->n)
            return vlm_fail(error, VLM_ERR_MISMATCH, "%s: %s has %zu values of %s, %zu of f32 are wanted; is the config the one that began this run?",
                            vlm_checkpoint_path(checkpoint), wanted->name, found->n, found->type_name, wanted->n);
        memcpy((void *)wanted->data, found->data, wanted->bytes);
    }
    return VLM_OK;
}
