/* Optimisers and schedules against their definitions computed in double. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "train_data.h"

#include "base/random.h"
#include "formats/safetensors.h"
#include "train/muon.h"
#include "train/optimizer.h"
#include "train/schedule.h"

/* A network of parameters alone: a matrix in three parts, a table, a bias, a scalar. */
enum { N_PARAMETERS = 4 };

typedef struct toy {
    vlm_network network;
    vlm_parameter parameters[N_PARAMETERS];
    vlm_tensor tensors[N_PARAMETERS];
    float values[N_PARAMETERS][400];
} toy;

static void make_toy(toy *t, uint64_t seed)
{
    static const struct {
        const char *name;
        vlm_parameter_kind kind;
        size_t n_dims, shape[2], parts;
    } rows[N_PARAMETERS] = {{"qkv", VLM_PARAMETER_MATRIX, 2, {39, 7}, 3}, {"table", VLM_PARAMETER_EMBEDDING, 2, {11, 5}, 1}, {"bias", VLM_PARAMETER_VECTOR, 1, {13, 0}, 1}, {"scale", VLM_PARAMETER_SCALAR, 0, {1, 0}, 1}};
    vlm_random random;
    vlm_random_seed(&random, seed);
    *t = (toy){0};
    t->network.n_parameters_listed = N_PARAMETERS;
    t->network.parameters = t->parameters;
    for (size_t i = 0; i < N_PARAMETERS; i++) {
        t->tensors[i] = (vlm_tensor){.wants_grad = true, .n_dims = rows[i].n_dims, .shape = {rows[i].shape[0], rows[i].shape[1]}, .data = t->values[i], .name = rows[i].name};
        t->parameters[i] = (vlm_parameter){.tensor = &t->tensors[i], .kind = rows[i].kind, .n_parts = rows[i].parts, .n_dims = rows[i].n_dims, .shape = {rows[i].shape[0] / rows[i].parts, rows[i].shape[1]}};
        for (size_t p = 0; p < rows[i].parts; p++) {
            t->parameters[i].names[p] = rows[i].name;
            t->parameters[i].rows[p] = rows[i].shape[0] / rows[i].parts;
        }
        for (size_t j = 0; j < vlm_tensor_count(&t->tensors[i]); j++)
            t->values[i][j] = vlm_random_normal(&random);
    }
}

static void set_gradients(toy *t, uint64_t seed)
{
    vlm_random random;
    vlm_random_seed(&random, seed);
    for (size_t i = 0; i < N_PARAMETERS; i++)
        for (size_t j = 0; j < vlm_tensor_count(&t->tensors[i]); j++)
            t->tensors[i].grad[j] = 0.3f * vlm_random_normal(&random);
}

static const vlm_optimizer_options adamw = {.beta1 = 0.9, .beta2 = 0.98, .eps = 1e-6, .decay = 0.2, .muon_momentum = 0.95, .muon_decay = 0.1};

static void test_adamw_decays_matrices_and_tables_alone(void **state)
{
    (void)state;
    toy t;
    vlm_optimizer *optimizer;
    make_toy(&t, 1);
    double w[N_PARAMETERS][400], m[N_PARAMETERS][400] = {{0}}, v[N_PARAMETERS][400] = {{0}};
    for (size_t i = 0; i < N_PARAMETERS; i++)
        for (size_t j = 0; j < 400; j++)
            w[i][j] = (double)t.values[i][j];
    assert_int_equal(vlm_optimizer_create(&optimizer, &t.network, &adamw, NULL, NULL), VLM_OK);
    for (size_t step = 1; step <= 5; step++) {
        double rate = 0.01 * (double)step, scale = 0.5, sum = 0;
        set_gradients(&t, step);
        for (size_t i = 0; i < N_PARAMETERS; i++)
            for (size_t j = 0; j < vlm_tensor_count(&t.tensors[i]); j++) {
                double g = (double)t.tensors[i].grad[j];
                sum += g * g;
                g *= scale;
                m[i][j] = 0.9 * m[i][j] + 0.1 * g;
                v[i][j] = 0.98 * v[i][j] + 0.02 * g * g;
                w[i][j] *= i < 2 ? 1 - rate * 0.2 : 1;
                w[i][j] -= rate * (m[i][j] / (1 - pow(0.9, (double)step))) / (sqrt(v[i][j] / (1 - pow(0.98, (double)step))) + 1e-6);
            }
        assert_true(fabs(vlm_optimizer_gradient_norm(optimizer) - sqrt(sum)) < 1e-6 * sqrt(sum));
        vlm_optimizer_step(optimizer, step, rate, 0, scale);
    }
    for (size_t i = 0; i < N_PARAMETERS; i++)
        for (size_t j = 0; j < vlm_tensor_count(&t.tensors[i]); j++)
            if (fabs((double)t.values[i][j] - w[i][j]) > 1e-5) /* float32 sums of 5 steps of size 0.05 on values of size 1 */
                fail_msg("%s %zu: %g, wanted %g", t.tensors[i].name, j, (double)t.values[i][j], w[i][j]);
    vlm_optimizer_clear_gradients(optimizer);
    assert_true(vlm_optimizer_gradient_norm(optimizer) == 0);
    vlm_optimizer_free(optimizer);
    assert_null(t.tensors[0].grad);
}

/* Five steps of the quintic on x [s, l], s <= l, in double. */
static void orthogonal(double *x, size_t s, size_t l)
{
    double norm = 0, a[20 * 20], b[20 * 20], y[20 * 40];
    for (size_t i = 0; i < s * l; i++)
        norm += x[i] * x[i];
    for (size_t i = 0; i < s * l; i++)
        x[i] /= sqrt(norm) + 1e-7;
    for (int step = 0; step < 5; step++) {
        for (size_t i = 0; i < s; i++)
            for (size_t j = 0; j < s; j++) {
                a[i * s + j] = 0;
                for (size_t k = 0; k < l; k++)
                    a[i * s + j] += x[i * l + k] * x[j * l + k];
            }
        for (size_t i = 0; i < s; i++)
            for (size_t j = 0; j < s; j++) {
                double square = 0;
                for (size_t k = 0; k < s; k++)
                    square += a[i * s + k] * a[k * s + j];
                b[i * s + j] = -4.7750 * a[i * s + j] + 2.0315 * square;
            }
        for (size_t i = 0; i < s; i++)
            for (size_t k = 0; k < l; k++) {
                y[i * l + k] = 3.4445 * x[i * l + k];
                for (size_t j = 0; j < s; j++)
                    y[i * l + k] += b[i * s + j] * x[j * l + k];
            }
        memcpy(x, y, s * l * sizeof *x);
    }
}

/* A step of Muon on w [rows, columns] in double. */
static void muon_in_double(double *w, double *momentum, const float *grad, size_t rows, size_t columns, double scale, double rate, double decay)
{
    double x[20 * 40];
    size_t s = rows < columns ? rows : columns, l = rows < columns ? columns : rows;
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < columns; j++) {
            double g = scale * (double)grad[i * columns + j], *m = &momentum[i * columns + j];
            *m = 0.95 * *m + 0.05 * g;
            x[rows > columns ? j * rows + i : i * columns + j] = 0.95 * *m + 0.05 * g;
        }
    orthogonal(x, s, l);
    double tall = rows > columns ? sqrt((double)rows / (double)columns) : 1;
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < columns; j++)
            w[i * columns + j] = (1 - rate * decay) * w[i * columns + j] - rate * tall * x[rows > columns ? j * rows + i : i * columns + j];
}

static void test_muon_steps_each_part_of_a_matrix_by_itself(void **state)
{
    (void)state;
    toy t;
    vlm_optimizer *optimizer;
    vlm_optimizer_options options = adamw;
    options.muon = true;
    make_toy(&t, 2);
    double w[39 * 7], momentum[39 * 7] = {0};
    for (size_t j = 0; j < 39 * 7; j++)
        w[j] = (double)t.values[0][j];
    assert_int_equal(vlm_optimizer_create(&optimizer, &t.network, &options, NULL, NULL), VLM_OK);
    for (size_t step = 1; step <= 3; step++) {
        set_gradients(&t, step);
        for (size_t part = 0; part < 3; part++)
            muon_in_double(w + part * 91, momentum + part * 91, t.tensors[0].grad + part * 91, 13, 7, 0.5, 0.02, 0.1);
        vlm_optimizer_step(optimizer, step, 0.01, 0.02, 0.5);
    }
    for (size_t j = 0; j < 39 * 7; j++)
        if (fabs((double)t.values[0][j] - w[j]) > 2e-5) /* the iteration multiplies rounding by up to 3.4^5 where values are small: 6e-8 * 500 * 0.02 */
            fail_msg("value %zu: %g, wanted %g", j, (double)t.values[0][j], w[j]);
    vlm_optimizer_free(optimizer);
}

static void test_muon_makes_singular_values_near_one_and_keeps_zeros(void **state)
{
    (void)state;
    enum { ROWS = 19, COLUMNS = 40 };
    const vlm_kernels *kernels = vlm_kernels_get();
    for (int type = 0; type < 2; type++) {
        vlm_dtype product = type ? VLM_BF16 : VLM_F32;
        float w[ROWS * COLUMNS] = {0}, momentum[ROWS * COLUMNS] = {0}, grad[ROWS * COLUMNS];
        void *scratch = aligned_alloc(64, vlm_muon_scratch_bytes(kernels, product, ROWS, COLUMNS));
        vlm_random random;
        vlm_random_seed(&random, 4);
        for (size_t i = 0; i < ROWS * COLUMNS; i++)
            grad[i] = vlm_random_normal(&random);
        vlm_muon_step(kernels, product, w, momentum, grad, ROWS, COLUMNS, 1, 1, 0.95f, 0, scratch);
        for (size_t i = 0; i < ROWS; i++) { /* w w^T: the iteration leaves singular values between 0.68 and 1.13 */
            double along = 0;
            for (size_t j = 0; j < COLUMNS; j++)
                along += (double)w[i * COLUMNS + j] * (double)w[i * COLUMNS + j];
            if (!(along > 0.45 && along < 1.4))
                fail_msg("type %d: row %zu has the square %g", type, i, along);
        }
        memset(w, 0, sizeof w);
        memset(momentum, 0, sizeof momentum);
        memset(grad, 0, sizeof grad);
        vlm_muon_step(kernels, product, w, momentum, grad, ROWS, COLUMNS, 1, 1, 0.95f, 0, scratch);
        for (size_t i = 0; i < ROWS * COLUMNS; i++)
            assert_true(w[i] == 0);
        free(scratch);
    }
}

static void test_moments_survive_a_file(void **state)
{
    (void)state;
    toy a, b;
    vlm_optimizer *first, *second;
    vlm_checkpoint *checkpoint;
    const vlm_entry *entries;
    size_t n;
    vlm_optimizer_options options = adamw;
    vlm_error error = {0};
    options.muon = true;
    make_toy(&a, 3);
    make_toy(&b, 3);
    assert_int_equal(vlm_optimizer_create(&first, &a.network, &options, NULL, NULL), VLM_OK);
    set_gradients(&a, 1);
    vlm_optimizer_step(first, 1, 0.01, 0.02, 1);
    vlm_optimizer_entries(first, &entries, &n);
    assert_int_equal(n, 1 + 2 * 3);
    assert_int_equal(vlm_safetensors_write(path_of("moments.safetensors"), entries, n, NULL, 0, NULL), VLM_OK);
    assert_int_equal(vlm_checkpoint_open(&checkpoint, path_of("moments.safetensors"), NULL), VLM_OK);
    memcpy(b.values, a.values, sizeof b.values);
    assert_int_equal(vlm_optimizer_create(&second, &b.network, &options, NULL, NULL), VLM_OK);
    assert_int_equal(vlm_optimizer_load(second, checkpoint, &error), VLM_OK);
    set_gradients(&a, 2);
    set_gradients(&b, 2);
    vlm_optimizer_step(first, 2, 0.01, 0.02, 1);
    vlm_optimizer_step(second, 2, 0.01, 0.02, 1);
    assert_memory_equal(a.values, b.values, sizeof a.values);
    vlm_optimizer_free(second);
    options.muon = false; /* another optimiser's moments are not there */
    assert_int_equal(vlm_optimizer_create(&second, &b.network, &options, NULL, NULL), VLM_OK);
    assert_int_not_equal(vlm_optimizer_load(second, checkpoint, &error), VLM_OK);
    assert_non_null(strstr(error.message, "mean.qkv"));
    vlm_checkpoint_close(checkpoint);
    vlm_optimizer_free(first);
    vlm_optimizer_free(second);
}

static void test_schedules(void **state)
{
    (void)state;
    vlm_schedule cosine = {VLM_SCHEDULE_COSINE, 100, 10, 1}, linear = {VLM_SCHEDULE_LINEAR, 100, 5, 0.3}, constant = {VLM_SCHEDULE_CONSTANT, 100, 4, 1};
    for (size_t step = 0; step < 100; step++) {
        double wanted = step < 10 ? (double)(step + 1) / 10 : 0.5 * (1 + cos(acos(-1) * ((double)step - 10) / 90));
        assert_true(fabs(vlm_schedule_factor(&cosine, step) - wanted) < 1e-12);
        wanted = step < 5 ? (double)(step + 1) / 5 : step < 70 ? 1 : 1 - ((double)step - 70) / 30;
        assert_true(fabs(vlm_schedule_factor(&linear, step) - wanted) < 1e-12);
        assert_true(fabs(vlm_schedule_factor(&constant, step) - (step < 4 ? (double)(step + 1) / 4 : 1)) < 1e-12);
    }
    assert_true(vlm_schedule_factor(&cosine, 100) == 0 && vlm_schedule_factor(&linear, 5000) == 0);
    vlm_schedule all_line = {VLM_SCHEDULE_LINEAR, 10, 4, 1}; /* the decay begins where the warm-up ends */
    assert_true(vlm_schedule_factor(&all_line, 4) == 1 && fabs(vlm_schedule_factor(&all_line, 7) - 0.5) < 1e-12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_adamw_decays_matrices_and_tables_alone),
        cmocka_unit_test(test_muon_steps_each_part_of_a_matrix_by_itself),
        cmocka_unit_test(test_muon_makes_singular_values_near_one_and_keeps_zeros),
        cmocka_unit_test(test_moments_survive_a_file),
        cmocka_unit_test(test_schedules),
    };
    return cmocka_run_group_tests(tests, make_test_folder, remove_test_folder);
}
