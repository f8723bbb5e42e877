/* The learning rate of a step, as a part of the full rate. */
#ifndef VLM_TRAIN_SCHEDULE_H
#define VLM_TRAIN_SCHEDULE_H

#include <stddef.h>

typedef enum vlm_schedule_kind {
    VLM_SCHEDULE_COSINE,  /* half a cosine from the end of the warm-up to the last step */
    VLM_SCHEDULE_LINEAR,  /* constant, then a line to zero over the last `decay_part` of the steps */
    VLM_SCHEDULE_CONSTANT
} vlm_schedule_kind;

typedef struct vlm_schedule {
    vlm_schedule_kind kind;
    size_t steps, warm_up; /* warm_up: the rate rises as (step + 1) / warm_up */
    double decay_part;     /* of VLM_SCHEDULE_LINEAR: 0 < decay_part <= 1 */
} vlm_schedule;

/* step counts from 0. As open_clip's cosine_lr, const_lr and const_lr_cooldown. */
double vlm_schedule_factor(const vlm_schedule *schedule, size_t step);

#endif
