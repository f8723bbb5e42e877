/* Warm-up, then cosine, constant with a linear end, or constant. Matches open_clip's scheduler.py. */
#include "train/schedule.h"

#include <math.h>

double vlm_schedule_factor(const vlm_schedule *schedule, size_t step)
{
    if (step < schedule->warm_up)
        return (double)(step + 1) / (double)schedule->warm_up;
    if (schedule->kind == VLM_SCHEDULE_CONSTANT)
        return 1;
    size_t begin = schedule->warm_up; /* of the decay */
    if (schedule->kind == VLM_SCHEDULE_LINEAR) {
        size_t cooldown = (size_t)(schedule->decay_part * (double)schedule->steps + 0.5);
        if (schedule->steps - cooldown > begin)
            begin = schedule->steps - cooldown;
    }
    if (step < begin)
        return 1;
    if (step >= schedule->steps)
        return 0;
    double part = (double)(step - begin) / (double)(schedule->steps - begin);
    return schedule->kind == VLM_SCHEDULE_COSINE ? 0.5 * (1 + cos(3.14159265358979323846 * part)) : 1 - part;
}
