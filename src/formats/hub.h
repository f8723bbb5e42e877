/* What `-m` means: a folder, a file, or a model's name on the hub, found in the local hub cache. */
#ifndef VLM_FORMATS_HUB_H
#define VLM_FORMATS_HUB_H

#include "vlm/error.h"

/* The path that a model argument stands for, in fresh memory (free()):
 * - a folder or file that exists: itself;
 * - ORG/NAME, NAME, either with @REVISION, or hf-hub:ORG/NAME: the snapshot of that model in the hub cache, at the
 *   revision (a branch, a tag or a commit; main if none is said; the newest snapshot when the cache has no
 *   main). A NAME without ORG is also looked for as sentence-transformers/NAME.
 * The cache is the folder that huggingface_hub would use: $HF_HUB_CACHE, $HUGGINGFACE_HUB_CACHE, $HF_HOME/hub,
 * $XDG_CACHE_HOME/huggingface/hub, ~/.cache/huggingface/hub; the first that is set. Nothing is fetched. The error
 * says where was looked, and how to fill the cache. */
vlm_status vlm_hub_resolve(char **path, const char *model, vlm_error *error);

#endif
