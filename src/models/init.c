/* Starting values, as CLIP's (Radford et al. 2021; initialize_parameters in the authors' code): normal, with
 * query, key and value at width^-1/2, what writes to the residual stream at (2 * width * blocks)^-1/2 and the
 * MLP's first layer at (2 * width)^-1/2. Biases 0, gains 1. A classifier begins at 0.02, as ViT's.
 * Trap: the authors' code applies that rule to the text tower alone and leaves the vision tower's blocks to
 * the framework; both towers have it here. */
#include "models/init.h"

#include <math.h>

#include "base/random.h"

typedef struct stream {
    uint64_t seed, next;
} stream;

static void fill_normal(stream *s, const vlm_tensor *tensor, double std)
{
    if (!tensor)
        return;
    vlm_random random;
    vlm_random_seed_stream(&random, s->seed, s->next++);
    float *values = vlm_tensor_floats(tensor);
    for (size_t i = 0; i < vlm_tensor_count(tensor); i++)
        values[i] = (float)std * vlm_random_normal(&random);
}

static void fill(const vlm_tensor *tensor, float value)
{
    for (size_t i = 0; tensor && i < vlm_tensor_count(tensor); i++)
        vlm_tensor_floats(tensor)[i] = value;
}

static void start_linear(stream *s, const vlm_linear *linear, double std)
{
    fill_normal(s, linear->weight, std);
    fill(linear->bias, 0);
}

static void start_norm(const vlm_norm *norm)
{
    fill(norm->gain, 1);
    fill(norm->bias, 0);
}

static void start_body(stream *s, const vlm_transformer *body)
{
    double width = (double)body->width, attention = pow(width, -0.5);
    double residual = attention * pow(2.0 * (double)body->n_blocks, -0.5), mlp = pow(2 * width, -0.5);
    for (size_t i = 0; i < body->n_blocks; i++) {
        const vlm_block *block = &body->blocks[i];
        start_norm(&block->norm1);
        start_norm(&block->norm2);
        start_linear(s, &block->qkv, attention);
        start_linear(s, &block->out, residual);
        start_linear(s, &block->up, mlp);
        start_linear(s, &block->down, residual);
    }
}

/* Half of a row says where the patch stands across, half where down, in sines and cosines of falling
 * frequency (He et al. 2022); the row of the class token is left as it is. */
static void sine_positions(const vlm_vision_tower *tower)
{
    size_t columns = tower->image_width / tower->patch, rows = tower->image_height / tower->patch, width = tower->width;
    size_t lead = tower->class_token ? 1 : 0, quarter = width / 4;
    float *table = vlm_tensor_floats(tower->positions);
    for (size_t i = 0; i < rows * columns; i++)
        for (size_t j = 0; j < 4 * quarter; j++) {
            double place = (double)(j / (2 * quarter) ? i / columns : i % columns);
            double frequency = pow(10000, -(double)(j % quarter) / (double)quarter);
            double angle = place * frequency;
            table[(lead + i) * width + j] = (float)(j / quarter % 2 ? cos(angle) : sin(angle));
        }
}

static void start_vision(stream *s, const vlm_vision_tower *tower, bool sines)
{
    double scale = pow((double)tower->width, -0.5);
    start_linear(s, &tower->patches, pow((double)(3 * tower->patch * tower->patch), -0.5));
    fill_normal(s, tower->class_token, scale);
    fill_normal(s, tower->positions, scale);
    if (sines && tower->positions)
        sine_positions(tower);
    start_norm(&tower->before);
    start_body(s, &tower->body);
    start_norm(&tower->after);
    start_linear(s, &tower->projection, scale);
    start_linear(s, &tower->classifier, 0.02);
    fill_normal(s, tower->probe, scale);
    start_linear(s, &tower->probe_q, scale);
    start_linear(s, &tower->probe_kv, scale);
    start_linear(s, &tower->probe_out, scale);
    start_linear(s, &tower->probe_up, scale);
    start_linear(s, &tower->probe_down, scale);
    start_norm(&tower->probe_norm);
}

static void start_text(stream *s, const vlm_text_tower *tower)
{
    fill_normal(s, tower->tokens, 0.02);
    fill_normal(s, tower->positions, 0.01);
    start_norm(&tower->before);
    start_body(s, &tower->body);
    start_norm(&tower->after);
    start_linear(s, &tower->projection, pow((double)tower->width, -0.5));
}

void vlm_network_initialise(vlm_network *network, const vlm_initialisation *options)
{
    stream vision = {options->seed, 0}, text = {options->seed, 1 << 20};
    if (network->vision)
        start_vision(&vision, network->vision, options->sine_positions);
    if (network->text)
        start_text(&text, network->text);
    fill(network->logit_scale, (float)options->logit_scale);
    fill(network->logit_bias, 0);
}
