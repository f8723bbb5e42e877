/* log.jsonl of a run: an object a step. A resumed run cuts it back to its checkpoint and appends. */
#ifndef VLM_TRAIN_LOG_H
#define VLM_TRAIN_LOG_H

#include "train/trainer.h"

typedef struct vlm_train_log vlm_train_log;

/* Lines of steps after `step` are dropped, a line that was cut short too. */
vlm_status vlm_train_log_open(vlm_train_log **log, const char *folder, size_t step, vlm_error *error);
vlm_status vlm_train_log_step(vlm_train_log *log, size_t step, const vlm_step_result *result, double samples_per_second, vlm_error *error);
vlm_status vlm_train_log_flush(vlm_train_log *log, vlm_error *error);
void vlm_train_log_close(vlm_train_log *log);
const char *vlm_train_log_path(const vlm_train_log *log);

#endif
