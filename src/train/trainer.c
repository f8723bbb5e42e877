/* One step: batch -> loss -> gradients -> clipped -> weights. CLIP by contrast (Radford et al. 2021, fig. 3)
 * or a ViT with labels; the forward passes are those of inference, recorded.
 * Trap: the temperature is clamped after the step, as open_clip does it, not inside the loss. */
#include "train/trainer.h"

#include <math.h>
#include <stdlib.h>

#include "base/fail.h"
#include "base/memory.h"

static const double LARGEST_LOG_SCALE = 4.605170185988092; /* ln 100 */

vlm_status vlm_trainer_create(vlm_trainer **out, const vlm_train_config *config, vlm_network *network, vlm_threads *threads, vlm_error *error)
{
    vlm_trainer *trainer = *out = vlm_alloc_zero(1, sizeof *trainer);
    if (!trainer)
        return vlm_fail_memory(error, sizeof *trainer, "a trainer");
    trainer->config = config;
    trainer->threads = threads;
    trainer->network = network;
    trainer->clip = network->text != NULL;
    vlm_context_init(&trainer->context, threads);
    trainer->context.product = config->precision;
    vlm_status status = vlm_optimizer_create(&trainer->optimizer, network, &config->optimizer, threads, error);
    if (status != VLM_OK) {
        vlm_trainer_free(trainer);
        *out = NULL;
    }
    return status;
}

void vlm_trainer_free(vlm_trainer *trainer)
{
    if (!trainer)
        return;
    vlm_optimizer_free(trainer->optimizer);
    vlm_context_free(&trainer->context);
    free(trainer);
}

static vlm_tensor *clip_loss(vlm_context *context, const vlm_network *network, const vlm_batch *batch)
{
    const vlm_vision_tower *vision = network->vision;
    vlm_spans spans = {batch->n_texts, batch->starts};
    vlm_tensor *images = vlm_op_unit(context, vlm_vision_forward(context, vision, batch->pixels, batch->n, vision->image_height, vision->image_width));
    vlm_tensor *texts = vlm_op_unit(context, vlm_text_forward(context, network->text, batch->ids, spans));
    return vlm_op_contrastive_loss(context, images, texts, network->logit_scale, batch->groups);
}

static vlm_tensor *label_loss(vlm_context *context, const vlm_network *network, const vlm_batch *batch, double smoothing)
{
    const vlm_vision_tower *vision = network->vision;
    vlm_tensor *features = vlm_vision_forward(context, vision, batch->pixels, batch->n, vision->image_height, vision->image_width);
    vlm_tensor *logits = vlm_op_linear(context, features, &vision->classifier, VLM_ACT_NONE, NULL);
    return vlm_op_cross_entropy(context, logits, batch->labels, (float)smoothing);
}

vlm_status vlm_trainer_gradients(vlm_trainer *trainer, const vlm_batch *batch, vlm_step_result *result, vlm_error *error)
{
    vlm_context *context = &trainer->context;
    vlm_optimizer_clear_gradients(trainer->optimizer);
    vlm_context_begin(context, VLM_PASS_RECORD);
    vlm_tensor *loss = trainer->clip ? clip_loss(context, trainer->network, batch)
                                     : label_loss(context, trainer->network, batch, trainer->config->label_smoothing);
    vlm_context_backward(context, loss, 1);
    if (vlm_context_failed(context))
        return vlm_fail(error, context->error.status, "%s", context->error.message);
    result->loss = vlm_tensor_floats(loss)[0];
    result->gradient_norm = vlm_optimizer_gradient_norm(trainer->optimizer);
    return VLM_OK;
}

static void clamp_scale(vlm_tensor *log_scale)
{
    float *value = vlm_tensor_floats(log_scale);
    *value = *value < 0 ? 0 : *value > (float)LARGEST_LOG_SCALE ? (float)LARGEST_LOG_SCALE : *value;
}

vlm_status vlm_trainer_update(vlm_trainer *trainer, size_t step, vlm_step_result *result, vlm_error *error)
{
    const vlm_train_config *config = trainer->config;
    if (!isfinite(result->loss) || !isfinite(result->gradient_norm))
        return vlm_fail(error, VLM_ERR_LIMIT, "step %zu: the loss is %g and the norm of its gradient %g; the weights are as before this step. Is the rate too high?",
                        step + 1, result->loss, result->gradient_norm);
    double factor = vlm_schedule_factor(&config->schedule, step), clip = 1;
    if (config->gradient_clip > 0)
        clip = config->gradient_clip / (result->gradient_norm + 1e-6);
    result->rate = config->rate * factor;
    vlm_optimizer_step(trainer->optimizer, step + 1, result->rate, config->muon_rate * factor, clip < 1 ? clip : 1);
    if (trainer->network->logit_scale) {
        clamp_scale(trainer->network->logit_scale);
        result->temperature = 1 / exp((double)vlm_tensor_floats(trainer->network->logit_scale)[0]);
    }
    return VLM_OK;
}
