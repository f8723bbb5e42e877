/* Every op's backward pass against finite differences of its forward pass, at odd sizes and on several threads.
 * The loss is the sum of output * fixed random weights, taken in double. Central differences in float32 with a
 * step of 1e-2 relative to inputs of size 1 err by about 1e-4 (rounding 6e-8 * sum / 2e-2, and the third
 * derivative * 1e-4 / 6), so the tolerance is 2e-3 of the gradient's largest value. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/random.h"
#include "layers/block.h"
#include "layers/ops.h"

enum { MOST_INPUTS = 16 };
static const double STEP = 1e-2, TOLERANCE = 2e-3;

typedef struct problem problem;
typedef vlm_tensor *forward_function(vlm_context *context, problem *p);

struct problem {
    vlm_tensor inputs[MOST_INPUTS];
    size_t n_inputs;
    forward_function *forward;
    int kind; /* what the forward function makes of it */
    vlm_spans spans, other_spans;
    const int32_t *ids;
    vlm_random random;
};

static void check_memory(const void *p)
{
    if (!p)
        abort();
}

/* An input of values of size 1 that is differentiated. */
static vlm_tensor *add_input(problem *p, size_t n_dims, size_t a, size_t b)
{
    vlm_tensor *tensor = &p->inputs[p->n_inputs++];
    *tensor = (vlm_tensor){.type = VLM_F32, .owner = VLM_OWNED_BY_MODEL, .wants_grad = true, .n_dims = n_dims, .shape = {a, b}, .name = "input"};
    size_t n = vlm_tensor_count(tensor);
    float *values = tensor->data = malloc(n * sizeof(float) + 1);
    check_memory(values);
    for (size_t i = 0; i < n; i++)
        values[i] = 0.5f * vlm_random_normal(&p->random);
    tensor->grad = calloc(n + 1, sizeof(float));
    check_memory(tensor->grad);
    return tensor;
}

static double weight(size_t i)
{
    return sin(1.7 * (double)i + 0.3);
}

static double loss_of(vlm_context *context, problem *p)
{
    vlm_context_begin(context, VLM_PASS_RECORD);
    vlm_tensor *y = p->forward(context, p);
    if (!y)
        fail_msg("%s", context->error.message);
    double sum = 0;
    for (size_t i = 0; i < vlm_tensor_count(y); i++)
        sum += weight(i) * (double)vlm_tensor_floats(y)[i];
    return sum;
}

/* The output's gradient is set by hand and the tape run, as vlm_context_backward does for a loss. */
static void gradients_of(vlm_context *context, problem *p)
{
    vlm_context_begin(context, VLM_PASS_RECORD);
    vlm_tensor *y = p->forward(context, p);
    assert_non_null(y);
    float *grad = vlm_grad_zeroed(context, y);
    for (size_t i = 0; i < vlm_tensor_count(y); i++)
        grad[i] = (float)weight(i);
    for (vlm_tape_entry *entry = context->tape; entry; entry = entry->before)
        entry->backward(context, entry->saved);
    if (vlm_context_failed(context))
        fail_msg("%s", context->error.message);
}

static void compare_input(vlm_context *context, problem *p, size_t index)
{
    vlm_tensor *input = &p->inputs[index];
    size_t n = vlm_tensor_count(input), stride = n > 40 ? n / 40 : 1;
    double largest = 1e-3;
    float *values = input->data;
    for (size_t i = 0; i < n; i++)
        if (fabs((double)input->grad[i]) > largest)
            largest = fabs((double)input->grad[i]);
    for (size_t i = index % stride; i < n; i += stride) {
        float kept = values[i];
        values[i] = kept + (float)STEP;
        double above = loss_of(context, p);
        values[i] = kept - (float)STEP;
        double below = loss_of(context, p), step = (double)(kept + (float)STEP) - (double)(kept - (float)STEP);
        values[i] = kept;
        double error = fabs((above - below) / step - (double)input->grad[i]);
        if (!(error <= TOLERANCE * largest))
            fail_msg("input %zu, value %zu of %zu: the gradient is %g, finite differences say %g (largest gradient %g)", index, i, n, (double)input->grad[i],
                     (above - below) / step, largest);
    }
}

static void check(problem *p)
{
    vlm_threads *threads;
    vlm_context context;
    vlm_error error = {0};
    assert_int_equal(vlm_threads_create(&threads, 3, &error), VLM_OK);
    vlm_context_init(&context, threads);
    gradients_of(&context, p);
    float *copies[MOST_INPUTS];
    for (size_t i = 0; i < p->n_inputs; i++) {
        size_t bytes = vlm_tensor_count(&p->inputs[i]) * sizeof(float);
        copies[i] = malloc(bytes + 1);
        check_memory(copies[i]);
        memcpy(copies[i], p->inputs[i].grad, bytes);
    }
    for (size_t i = 0; i < p->n_inputs; i++)
        compare_input(&context, p, i);
    /* a second pass adds to what is there: twice the gradient, to the last bit */
    gradients_of(&context, p);
    for (size_t i = 0; i < p->n_inputs; i++)
        for (size_t j = 0; j < vlm_tensor_count(&p->inputs[i]); j++)
            if (fabs((double)p->inputs[i].grad[j] - 2 * (double)copies[i][j]) > 1e-5 * (1 + fabs((double)copies[i][j])))
                fail_msg("input %zu, value %zu: twice %g became %g", i, j, (double)copies[i][j], (double)p->inputs[i].grad[j]);
    /* one thread: the same bits */
    vlm_threads_free(threads);
    context.threads = NULL;
    for (size_t i = 0; i < p->n_inputs; i++)
        memset(p->inputs[i].grad, 0, vlm_tensor_count(&p->inputs[i]) * sizeof(float));
    gradients_of(&context, p);
    for (size_t i = 0; i < p->n_inputs; i++) {
        assert_memory_equal(p->inputs[i].grad, copies[i], vlm_tensor_count(&p->inputs[i]) * sizeof(float));
        free(copies[i]);
        free(p->inputs[i].data);
        free(p->inputs[i].grad);
    }
    vlm_context_free(&context);
}

static problem make(forward_function *forward, uint64_t seed)
{
    problem p = {.forward = forward};
    vlm_random_seed(&p.random, seed);
    return p;
}

/* ---- linear and activations --------------------------------------------------------------------------------- */

static vlm_tensor *linear(vlm_context *context, problem *p)
{
    vlm_linear layer = {&p->inputs[1], p->n_inputs > 2 ? &p->inputs[2] : NULL};
    return vlm_op_linear(context, &p->inputs[0], &layer, (vlm_activation)p->kind, p->n_inputs > 3 ? &p->inputs[3] : NULL);
}

static void linear_of(size_t rows, size_t n, size_t k, int n_inputs, vlm_activation kind)
{
    problem p = make(linear, rows * 31 + n);
    p.kind = kind;
    add_input(&p, 2, rows, k);
    add_input(&p, 2, n, k);
    if (n_inputs > 2)
        add_input(&p, 1, n, 0);
    if (n_inputs > 3)
        add_input(&p, 2, rows, n);
    check(&p);
}

static void test_linear_at_odd_sizes(void **state)
{
    (void)state;
    linear_of(1, 1, 1, 2, VLM_ACT_NONE);
    linear_of(7, 19, 33, 3, VLM_ACT_NONE);
    linear_of(65, 17, 5, 4, VLM_ACT_NONE);
}

static void test_linear_with_each_activation(void **state)
{
    (void)state;
    static const vlm_activation kinds[] = {VLM_ACT_GELU, VLM_ACT_GELU_TANH, VLM_ACT_QUICK_GELU, VLM_ACT_SILU, VLM_ACT_TANH};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        linear_of(5, 13, 9, 3 + (int)(i % 2), kinds[i]);
}

/* RELU has a kink, near which differences say nothing: values are kept away from it. */
static vlm_tensor *activate(vlm_context *context, problem *p)
{
    return vlm_op_activate(context, &p->inputs[0], (vlm_activation)p->kind);
}

static void test_relu_away_from_its_kink(void **state)
{
    (void)state;
    problem p = make(activate, 5);
    p.kind = VLM_ACT_RELU;
    float *values = add_input(&p, 2, 3, 21)->data;
    for (size_t i = 0; i < 63; i++)
        values[i] += values[i] < 0 ? -0.1f : 0.1f;
    check(&p);
}

static vlm_tensor *add(vlm_context *context, problem *p)
{
    return vlm_op_add(context, &p->inputs[0], p->n_inputs > 1 ? &p->inputs[1] : &p->inputs[0]);
}

static void test_sums_of_two_and_of_one_with_itself(void **state)
{
    (void)state;
    problem p = make(add, 6);
    add_input(&p, 2, 5, 7);
    add_input(&p, 2, 5, 7);
    check(&p);
    p = make(add, 7);
    add_input(&p, 2, 3, 11);
    check(&p);
}

/* ---- norms ---------------------------------------------------------------------------------------------------- */

static vlm_tensor *norm(vlm_context *context, problem *p)
{
    vlm_norm layer = {&p->inputs[1], &p->inputs[2], 1e-5f};
    return vlm_op_norm(context, &p->inputs[0], &layer);
}

static void test_layernorm_at_odd_sizes(void **state)
{
    (void)state;
    static const size_t sizes[][2] = {{3, 19}, {131, 33}, {1, 192}};
    for (size_t i = 0; i < 3; i++) {
        problem p = make(norm, i);
        add_input(&p, 2, sizes[i][0], sizes[i][1]);
        add_input(&p, 1, sizes[i][1], 0);
        add_input(&p, 1, sizes[i][1], 0);
        check(&p);
    }
}

static vlm_tensor *unit(vlm_context *context, problem *p)
{
    return vlm_op_unit(context, &p->inputs[0]);
}

static void test_unit_length(void **state)
{
    (void)state;
    problem p = make(unit, 8);
    add_input(&p, 2, 5, 37);
    check(&p);
}

/* ---- attention ------------------------------------------------------------------------------------------------ */

static const size_t uneven[] = {0, 1, 8, 8, 27}, even[] = {0, 5, 10}, queries[] = {0, 3, 4, 5, 9};

static vlm_tensor *attention(vlm_context *context, problem *p)
{
    return vlm_op_attention(context, &p->inputs[0], p->spans, 3, p->kind != 0);
}

static void test_attention_over_uneven_sequences(void **state)
{
    (void)state;
    for (int causal = 0; causal < 2; causal++) {
        problem p = make(attention, 10 + (uint64_t)causal);
        p.kind = causal;
        p.spans = (vlm_spans){4, uneven};
        add_input(&p, 2, 27, 3 * 3 * 5);
        check(&p);
    }
}

static void test_attention_over_more_rows_than_a_block(void **state)
{
    (void)state;
    static const size_t long_one[] = {0, 150};
    for (int causal = 0; causal < 2; causal++) {
        problem p = make(attention, 12 + (uint64_t)causal);
        p.kind = causal;
        p.spans = (vlm_spans){1, long_one};
        add_input(&p, 2, 150, 3 * 3 * 16);
        check(&p);
    }
}

static vlm_tensor *cross_attention(vlm_context *context, problem *p)
{
    return vlm_op_cross_attention(context, &p->inputs[0], p->other_spans, &p->inputs[1], p->spans, 2);
}

static void test_cross_attention(void **state)
{
    (void)state;
    static const size_t kv[] = {0, 4, 5, 11, 18};
    problem p = make(cross_attention, 14);
    p.spans = (vlm_spans){4, kv};
    p.other_spans = (vlm_spans){4, queries};
    add_input(&p, 2, 9, 14);
    add_input(&p, 2, 18, 28);
    check(&p);
}

/* ---- embeddings ------------------------------------------------------------------------------------------------ */

static vlm_tensor *assemble(vlm_context *context, problem *p)
{
    return vlm_op_assemble(context, &p->inputs[0], 3, p->kind ? &p->inputs[2] : NULL, &p->inputs[1]);
}

static void test_class_token_and_positions(void **state)
{
    (void)state;
    for (int lead = 0; lead < 2; lead++) {
        problem p = make(assemble, 15 + (uint64_t)lead);
        p.kind = lead;
        add_input(&p, 2, 3 * 5, 11);
        add_input(&p, 2, 5 + (size_t)lead, 11);
        if (lead)
            add_input(&p, 1, 11, 0);
        check(&p);
    }
}

static vlm_tensor *embed(vlm_context *context, problem *p)
{
    return vlm_op_embed(context, p->ids, p->spans, &p->inputs[0], &p->inputs[1], 2);
}

static void test_tokens_that_repeat(void **state)
{
    (void)state;
    static const int32_t ids[] = {4, 4, 0, 6, 4, 1, 1, 1, 2, 0};
    problem p = make(embed, 17);
    p.ids = ids;
    p.spans = (vlm_spans){2, even};
    add_input(&p, 2, 7, 9);
    add_input(&p, 2, 8, 9);
    check(&p);
}

static vlm_tensor *gather(vlm_context *context, problem *p)
{
    static const size_t index[] = {2, 0, 2, 6};
    return vlm_op_gather(context, &p->inputs[0], index, 4);
}

static void test_gather_of_a_row_twice(void **state)
{
    (void)state;
    problem p = make(gather, 18);
    add_input(&p, 2, 7, 5);
    check(&p);
}

static vlm_tensor *mean(vlm_context *context, problem *p)
{
    return vlm_op_mean(context, &p->inputs[0], p->spans);
}

static void test_mean_of_uneven_sequences(void **state)
{
    (void)state;
    problem p = make(mean, 19);
    p.spans = (vlm_spans){4, uneven};
    add_input(&p, 2, 27, 6);
    check(&p);
}

/* ---- losses ----------------------------------------------------------------------------------------------------- */

static vlm_tensor *contrast(vlm_context *context, problem *p)
{
    return vlm_op_contrastive_loss(context, vlm_op_unit(context, &p->inputs[0]), vlm_op_unit(context, &p->inputs[1]), &p->inputs[2], p->ids);
}

static void contrast_of(size_t pictures, size_t texts, const int32_t *groups, uint64_t seed)
{
    problem p = make(contrast, seed);
    p.ids = groups;
    add_input(&p, 2, pictures, 13);
    add_input(&p, 2, texts, 13);
    add_input(&p, 1, 1, 0);
    vlm_tensor_floats(&p.inputs[2])[0] = 1.1f;
    check(&p);
}

static void test_contrastive_loss(void **state)
{
    (void)state;
    static const int32_t groups[] = {0, 1, 0, 3, 1, 7, 8, 3, 9};
    contrast_of(1, 1, NULL, 20);
    contrast_of(7, 7, NULL, 21);
    contrast_of(5, 9, groups, 22);
}

static vlm_tensor *cross_entropy(vlm_context *context, problem *p)
{
    return vlm_op_cross_entropy(context, &p->inputs[0], p->ids, p->kind ? 0.1f : 0);
}

static void test_cross_entropy_with_and_without_smoothing(void **state)
{
    (void)state;
    static const int32_t targets[] = {3, -100, 0, 10, 3};
    for (int smooth = 0; smooth < 2; smooth++) {
        problem p = make(cross_entropy, 23);
        p.kind = smooth;
        p.ids = targets;
        add_input(&p, 2, 5, 11);
        check(&p);
    }
}

/* ---- a whole block -------------------------------------------------------------------------------------------------- */

static vlm_tensor *block(vlm_context *context, problem *p)
{
    vlm_tensor *i = p->inputs;
    vlm_block b = {.norm1 = {&i[1], &i[2], 1e-5f}, .qkv = {&i[3], &i[4]}, .out = {&i[5], &i[6]}, .norm2 = {&i[7], &i[8], 1e-5f}, .up = {&i[9], &i[10]}, .down = {&i[11], &i[12]}};
    vlm_transformer body = {.width = 10, .n_heads = 2, .hidden = 21, .n_blocks = 1, .activation = VLM_ACT_QUICK_GELU, .causal = true, .post_norm = p->kind != 0, .blocks = &b};
    return vlm_transformer_forward(context, &body, &i[0], p->spans, "test");
}

static const size_t block_shapes[][2] = {{10, 0}, {10, 0}, {30, 10}, {30, 0}, {10, 10}, {10, 0}, {10, 0}, {10, 0}, {21, 10}, {21, 0}, {10, 21}, {10, 0}};

static void test_a_block_with_norms_before_and_after(void **state)
{
    (void)state;
    for (int post = 0; post < 2; post++) {
        problem p = make(block, 30 + (uint64_t)post);
        p.kind = post;
        p.spans = (vlm_spans){2, even};
        add_input(&p, 2, 10, 10);
        for (size_t i = 0; i < 12; i++)
            add_input(&p, block_shapes[i][1] ? 2 : 1, block_shapes[i][0], block_shapes[i][1]);
        check(&p);
    }
}

/* One row of each sequence: the same numbers as picked from the whole, to the last bit, and their gradients. */
static const size_t picked[] = {3, 9};

static vlm_tensor *block_rows(vlm_context *context, problem *p)
{
    vlm_tensor *i = p->inputs;
    vlm_block b = {.norm1 = {&i[1], &i[2], 1e-5f}, .qkv = {&i[3], &i[4]}, .out = {&i[5], &i[6]}, .norm2 = {&i[7], &i[8], 1e-5f}, .up = {&i[9], &i[10]}, .down = {&i[11], &i[12]}};
    vlm_transformer body = {.width = 10, .n_heads = 2, .hidden = 21, .n_blocks = 1, .activation = VLM_ACT_GELU, .causal = p->kind != 0, .blocks = &b};
    vlm_tensor *all = vlm_transformer_forward(context, &body, &i[0], p->spans, "test");
    vlm_tensor *rows = vlm_transformer_forward_rows(context, &body, &i[0], p->spans, picked, "test");
    for (size_t row = 0; row < 2; row++)
        assert_memory_equal(vlm_tensor_floats(rows) + row * 10, vlm_tensor_floats(all) + picked[row] * 10, 10 * sizeof(float));
    return rows;
}

static void test_a_block_of_one_row_a_sequence(void **state)
{
    (void)state;
    for (int causal = 0; causal < 2; causal++) {
        problem p = make(block_rows, 50 + (uint64_t)causal);
        p.kind = causal;
        p.spans = (vlm_spans){2, even};
        add_input(&p, 2, 10, 10);
        for (size_t i = 0; i < 12; i++)
            add_input(&p, block_shapes[i][1] ? 2 : 1, block_shapes[i][0], block_shapes[i][1]);
        check(&p);
    }
}

/* A linear layer under another one that no loss reaches must not disturb it. */
static vlm_tensor *branch(vlm_context *context, problem *p)
{
    vlm_linear used = {&p->inputs[1], NULL}, unused = {&p->inputs[2], NULL};
    vlm_op_linear(context, &p->inputs[0], &unused, VLM_ACT_QUICK_GELU, NULL);
    return vlm_op_linear(context, &p->inputs[0], &used, VLM_ACT_NONE, NULL);
}

static void test_a_branch_that_leads_nowhere(void **state)
{
    (void)state;
    problem p = make(branch, 40);
    add_input(&p, 2, 4, 6);
    add_input(&p, 2, 5, 6);
    add_input(&p, 2, 3, 6);
    check(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_linear_at_odd_sizes),
        cmocka_unit_test(test_linear_with_each_activation),
        cmocka_unit_test(test_relu_away_from_its_kink),
        cmocka_unit_test(test_sums_of_two_and_of_one_with_itself),
        cmocka_unit_test(test_layernorm_at_odd_sizes),
        cmocka_unit_test(test_unit_length),
        cmocka_unit_test(test_attention_over_uneven_sequences),
        cmocka_unit_test(test_attention_over_more_rows_than_a_block),
        cmocka_unit_test(test_cross_attention),
        cmocka_unit_test(test_class_token_and_positions),
        cmocka_unit_test(test_tokens_that_repeat),
        cmocka_unit_test(test_gather_of_a_row_twice),
        cmocka_unit_test(test_mean_of_uneven_sequences),
        cmocka_unit_test(test_contrastive_loss),
        cmocka_unit_test(test_cross_entropy_with_and_without_smoothing),
        cmocka_unit_test(test_a_block_with_norms_before_and_after),
        cmocka_unit_test(test_a_block_of_one_row_a_sequence),
        cmocka_unit_test(test_a_branch_that_leads_nowhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
