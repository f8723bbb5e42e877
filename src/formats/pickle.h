/* PyTorch's .bin, .pt and .pth: tensors behind a pickle. The reader builds tensors and runs nothing. */
#ifndef VLM_FORMATS_PICKLE_H
#define VLM_FORMATS_PICKLE_H

#include <stdbool.h>
#include <stddef.h>

#include "formats/checkpoint.h"

/* Is it a zip archive, or the pickle that torch wrote before 1.6? */
bool vlm_pickle_detect(const void *bytes, size_t size);

/* Add every tensor of a saved state dict to the list: the saved dictionary itself, or what stands in it under
 * "state_dict", "model_state_dict", "model" or "module"; "module." before every name is dropped; the
 * parameters and buffers of a TorchScript module are a state dict too. Entries point into the bytes, but
 * for tensors that are not contiguous and members that are compressed, which are copied into the list's
 * arena. A pickle that names anything but tensors and their containers is refused by that name. */
vlm_status vlm_pickle_read(vlm_entry_list *list, const void *bytes, size_t size, const char *name, vlm_error *error);

#endif
